package redisstore_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"onsale/internal/fault"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
	"onsale/lua"
	"onsale/waitroom"
	"onsale/waitroom/pass"
	"onsale/waitroom/redisstore"
)

// again asks until there is an answer; being refused must be clean.
func again(t *testing.T, what string, ask func(ctx context.Context) error) bool {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); <-time.After(5 * time.Millisecond) {
		err := ask(t.Context())
		if err == nil {
			return true
		}
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v, want unavailable or an answer", what, err)
			return false
		}
	}
	t.Errorf("%s: no answer within two minutes", what)
	return false
}

// The master dies in the middle of a rush: calls are tried again or refused
// cleanly, the line goes on at the replica, those who were there have their
// places, and nobody has two (G5).
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	servers := stacktest.Sentinels(t)
	rdb := client(t, servers.URL())
	s := wide()
	s.Throttle.RatePerMinute, s.Throttle.Burst = 0, 10
	s.Throttle.ClaimWindow = time.Hour // turns that came before are looked for at the end
	r := newRoom(t, rdb, s, redisstore.Options{}).shopOK()
	type person struct {
		id      string
		receipt waitroom.Join
	}
	var mu sync.Mutex
	var people []person
	note := func(id string, v waitroom.Visitor) {
		mu.Lock()
		defer mu.Unlock()
		people = append(people, person{id, waitroom.Join{Visitor: id, Place: v.Place, ReceiptLane: v.Lane, Epoch: v.Epoch}})
	}
	for range 200 {
		id := pass.NewVisitor()
		note(id, r.join(id))
	}
	r.tick()
	before := look(t, rdb, r.event)
	// What a master that dies has not told its replica is lost; this much it has.
	until(t, "the replica to catch up", func() bool {
		var replicas *redis.Cmd
		if _, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			p.HSet(t.Context(), lua.RoomKey(r.event), "name", "Test") // WAIT is about the writes of its connection
			replicas = p.Do(t.Context(), "WAIT", 1, 1500)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		n, err := replicas.Int()
		if err != nil {
			t.Fatal(err)
		}
		return n == 1
	})

	var over atomic.Bool
	var wg sync.WaitGroup
	var refused atomic.Int64
	for range 8 {
		wg.Go(func() {
			for !over.Load() {
				id := pass.NewVisitor()
				again(t, "join", func(ctx context.Context) error {
					v, _, err := r.Join(ctx, r.event, waitroom.Join{Visitor: id})
					if err == nil {
						note(id, v)
					} else {
						refused.Add(1)
					}
					return err
				})
			}
		})
	}
	wg.Go(func() {
		for !over.Load() {
			again(t, "tick", func(ctx context.Context) error { _, err := r.Admit(ctx, r.event, 0); return err })
		}
	})
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(people) }
	until(t, "people to join", func() bool { return count() > 300 })
	died := time.Now()
	if err := servers.Servers[0].Kill(); err != nil {
		t.Fatal(err)
	}
	gone := count()
	until(t, "the line to go on at the replica", func() bool { return count() > gone+300 })
	t.Logf("on again %v after the master died; %d calls were refused", time.Since(died).Round(10*time.Millisecond), refused.Load())
	over.Store(true)
	wg.Wait()

	// Everybody comes back with their receipt, as pages do.
	places := make(map[string]int64)
	for _, p := range people {
		again(t, "return", func(ctx context.Context) error {
			v, _, err := r.Join(ctx, r.event, p.receipt)
			if err == nil {
				if v.Place != p.receipt.Place {
					t.Errorf("%s came back to place %d, had %d", p.id, v.Place, p.receipt.Place)
				}
				places[p.id] = v.Place
			}
			return err
		})
	}
	after := look(t, rdb, r.event)
	if n := len(after.queue) + len(after.ready) + len(after.active); n != len(places) {
		t.Errorf("%d places for %d people", n, len(places))
	}
	for id := range after.turns {
		if _, waits := after.queue[id]; waits {
			t.Errorf("%s waits and has a turn", id)
		}
	}
	for id, score := range before.queue {
		if after.queue[id] != score {
			t.Errorf("%s stood at %d before, at %d after", id, score, after.queue[id])
		}
	}
	for id := range before.ready {
		if _, still := after.ready[id]; !still {
			t.Errorf("%s had a turn before and none after", id)
		}
	}
}

// One of a cluster's masters forgets its part: the rooms of the others go on, and
// its own are missing, not half there.
func TestClusterLosesOneMaster(t *testing.T) {
	t.Parallel()
	cluster := stacktest.Cluster(t)
	rdb := client(t, cluster.URL())
	var rooms []*room
	for range 60 { // of each master some, as good as certainly
		r := newRoom(t, rdb, wide(), redisstore.Options{}).shopOK()
		r.join("a")
		r.join("b")
		rooms = append(rooms, r)
	}
	one := client(t, cluster.Masters[1].URL())
	if err := one.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, r := range rooms {
		_, err := r.Admit(t.Context(), r.event, 0)
		switch _, meErr := r.see(t.Context(), r.event, "b"); {
		case err == nil:
			r.wantState("b", waitroom.Ready)
		case fault.Is(err, fault.NotFound) && fault.Is(meErr, fault.NotFound):
			lost++
		default:
			t.Errorf("a room of the lost part: %v, %v", err, meErr)
		}
	}
	if lost == 0 || lost == len(rooms) {
		t.Errorf("%d of %d rooms were lost with one of three masters", lost, len(rooms))
	}
}

// Many nodes on bad networks join, tick, claim and leave at once, while one
// forgets its scripts again and again: no window exceeds the throttle and the cap
// holds (G4), turns come in order, once each (G3), and places are given once (G5).
func TestManyNodesOnBadNetworks(t *testing.T) {
	t.Parallel()
	const (
		nodes    = 4
		visitors = 300
		rate     = 30_000
		burst    = 5
		most     = 40
	)
	// Its own, since scripts are forgotten.
	url := stacktest.OwnRedis(t, stack.RedisOptions{}).URL()
	plain := client(t, url)
	s := wide()
	s.Throttle = waitroom.Throttle{RatePerMinute: rate, Burst: burst, MaxShoppers: most, Lease: time.Hour, ClaimWindow: time.Hour}
	first := newRoom(t, plain, s, redisstore.Options{}).shopOK()
	var (
		mu      sync.Mutex
		log     []admission
		turns   = make(map[string]int64)
		over    atomic.Bool
		working sync.WaitGroup
		ticking sync.WaitGroup
		proxies []*stacktest.Proxy
	)
	served := func(id string, v waitroom.Visitor) {
		mu.Lock()
		defer mu.Unlock()
		if _, twice := turns[id]; twice {
			t.Errorf("G3: %s had two turns", id)
		}
		turns[id] = v.Place
		log = append(log, admission{at: v.Admitted.UnixMilli(), place: v.Place})
	}
	for n := range nodes {
		proxy := stacktest.NewProxy(t, url)
		proxies = append(proxies, proxy)
		rdb := client(t, proxy.URL())
		r := &room{Store: redisstore.New(rdb), rdb: rdb, event: first.event, t: t}
		ticking.Go(func() {
			for !over.Load() {
				tick, err := r.Admit(t.Context(), r.event, 0)
				if err != nil && !fault.Is(err, fault.Unavailable) {
					t.Errorf("Admit: %v", err)
				}
				if k := tick.Ready + tick.Shopping; k > most {
					t.Errorf("G4: %d are let in, the cap is %d", k, most)
				}
				proxy.Set(stacktest.Faults{LoseRequest: 0.02 * rand.Float64(), LoseReply: 0.05 * rand.Float64(), Delay: rand.N(2 * time.Millisecond)})
			}
		})
		for w := range 8 {
			working.Go(func() {
				for i := n*8 + w; i < visitors; i += nodes * 8 {
					id := pass.NewVisitor()
					var v waitroom.Visitor
					fresh := rand.IntN(2) == 0
					again(t, "join", func(ctx context.Context) (err error) {
						v, _, err = r.Join(ctx, r.event, waitroom.Join{Visitor: id, Fresh: fresh})
						fresh = false // who asks again is known
						return err
					})
					mine := v.Place
					for v.State == waitroom.Waiting && !t.Failed() {
						again(t, "visitor", func(ctx context.Context) (err error) { v, err = r.Visitor(ctx, r.event, id, true); return err })
						if v.Place != mine {
							t.Errorf("G5: %s stands at %d, was at %d", id, v.Place, mine)
						}
					}
					again(t, "claim", func(ctx context.Context) (err error) { v, err = r.Claim(ctx, r.event, id); return err })
					served(id, v)
					again(t, "finish", func(ctx context.Context) (err error) { _, err = r.Finish(ctx, r.event, id); return err })
				}
			})
		}
	}
	ticking.Go(func() {
		for !over.Load() {
			if err := plain.ScriptFlush(t.Context()).Err(); err != nil {
				t.Error(err)
			}
			proxies[rand.IntN(nodes)].Cut()
			<-time.After(50 * time.Millisecond)
		}
	})
	working.Wait()
	over.Store(true)
	ticking.Wait()

	lost := int64(0)
	for _, p := range proxies {
		lost += p.Lost()
	}
	t.Logf("%d exchanges were lost", lost)
	slices.SortFunc(log, func(a, b admission) int { return int(a.place - b.place) })
	for i := range log {
		if i > 0 && log[i].place == log[i-1].place {
			t.Errorf("G5: two had place %d", log[i].place)
		}
		if i > 0 && log[i].at < log[i-1].at {
			t.Errorf("G3: place %d was served before place %d", log[i].place, log[i-1].place)
		}
	}
	if err := overruns(log, rate, burst); err != nil {
		t.Errorf("G4: %v", err)
	}
	if n := first.now(); n.Admitted != int64(len(turns)) || len(turns) != visitors || n.Joined != visitors || n.Waiting != 0 {
		t.Errorf("%d visitors had turns; the room says %+v", len(turns), n)
	}
	if n, err := plain.ZCard(t.Context(), lua.ActiveKey(first.event)).Result(); n != 0 || err != nil {
		t.Errorf("%d shop at the end, %v", n, err)
	}
}

// The room's keys all lie in the slot of their event, whatever the event is called.
func TestOneSlotForEachRoom(t *testing.T) {
	t.Parallel()
	rdb := client(t, stacktest.Cluster(t).URL())
	for _, event := range []string{"a", "0190b0a0-0000-7000-8000-000000000001", "night:2031", strings.Repeat("x", 100)} {
		var slots []int64
		for _, key := range []string{
			lua.RoomKey(event), lua.LobbyKey(event), lua.QueueKey(event), lua.ReadyKey(event), lua.ActiveKey(event), lua.TurnsKey(event),
			lua.GoneKey(event), lua.LogKey(event), lua.DirtyKey(event), lua.JoinsKey(event, "address"), lua.NonceKey(event, "challenge"),
			lua.HandoverKey(event, "digest"), lua.HandoversKey(event, "visitor"),
		} {
			slot, err := rdb.ClusterKeySlot(t.Context(), key).Result()
			if err != nil {
				t.Fatal(err)
			}
			slots = append(slots, slot)
		}
		if slices.Min(slots) != slices.Max(slots) {
			t.Errorf("the keys of %q lie in slots %v", event, slots)
		}
	}
}
