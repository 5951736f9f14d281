package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"onsale/internal/fault"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
	"onsale/lua"
	"onsale/waitroom"
	"onsale/waitroom/pass"
	"onsale/waitroom/redisstore"
)

// faults go wrong on the wire between a node and Redis: so many of the next
// exchanges, each before the request arrives or before its reply does.
type faults struct {
	mu      sync.Mutex
	left    int
	replies bool
}

func (f *faults) set(n int, replies bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.replies = n, replies
}

// take uses one fault up, if the next is of the kind.
func (f *faults) take(reply bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 || f.replies != reply {
		return false
	}
	f.left--
	return true
}

type faultyConn struct {
	net.Conn
	f *faults
}

func (c faultyConn) Write(b []byte) (int, error) {
	if c.f.take(false) {
		_ = c.Close()
		return 0, io.ErrClosedPipe
	}
	return c.Conn.Write(b)
}

func (c faultyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b) // Redis has done what it was asked for
	if err == nil && c.f.take(true) {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

// faultyNode is a node with a clock of its own on a bad network.
type faultyNode struct {
	*waitroom.Service
	faults *faults
}

func newFaultyNode(t *testing.T, addr string, keys *pass.KeySet, now func() time.Time) faultyNode {
	t.Helper()
	f := &faults{}
	rdb := redis.NewClient(&redis.Options{
		Addr: addr, ContextTimeoutEnabled: true, MinRetryBackoff: time.Microsecond, MaxRetryBackoff: 2 * time.Microsecond,
		DisableIdentity: true, Protocol: 2, PoolSize: 2,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return faultyConn{conn, f}, err
		},
	})
	t.Cleanup(func() { _ = rdb.Close() })
	s, err := waitroom.New(waitroom.Deps{
		Store: redisstore.New(rdb), Keys: keys, Now: now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return faultyNode{s, f}
}

// lineNow is a room as Redis has it, without a node in between.
type lineNow struct {
	queue, ready, active map[string]int64
	turns                map[string]lua.RoomReply
	admitted             int64
}

func look(t testing.TB, rdb redis.UniversalClient, event string) lineNow {
	t.Helper()
	ctx := t.Context()
	set := func(key string) map[string]int64 {
		list, err := rdb.ZRangeWithScores(ctx, key, 0, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[string]int64, len(list))
		for _, z := range list {
			out[z.Member.(string)] = int64(z.Score)
		}
		return out
	}
	l := lineNow{queue: set(lua.QueueKey(event)), ready: set(lua.ReadyKey(event)), active: set(lua.ActiveKey(event)), turns: make(map[string]lua.RoomReply)}
	texts, err := rdb.HGetAll(ctx, lua.TurnsKey(event)).Result()
	if err != nil {
		t.Fatal(err)
	}
	for id, text := range texts {
		if l.turns[id], err = lua.ReadRoomTurn(text, 0); err != nil {
			t.Fatal(err)
		}
	}
	if l.admitted, err = rdb.HGet(ctx, lua.RoomKey(event), "admitted").Int64(); err != nil {
		t.Fatal(err)
	}
	return l
}

// turnsHad counts who was let in how often, and how, by looking after each step.
type turnsHad struct {
	last   map[string]string // turn of each visitor
	places map[string]int    // turns by visitor and place
	log    []admission
}

// step compares the line before and after a step and says what is against the
// guarantees G3 to G5.
func (h *turnsHad) step(before, after lineNow, now int64, most int) error {
	in := func(id string) (n int) {
		for _, set := range []map[string]int64{after.queue, after.ready, after.active} {
			if _, ok := set[id]; ok {
				n++
			}
		}
		return n
	}
	var last int64
	for id, turn := range after.turns {
		if n := in(id); n > 1 {
			return fmt.Errorf("G5: %s is in %d of queue, ready and active", id, n)
		}
		key := fmt.Sprintf("%d at %d", turn.Admitted, turn.Score)
		if turn.Admitted == 0 || key == h.last[id] {
			continue
		}
		h.last[id] = key
		h.log = append(h.log, admission{at: now})
		last = max(last, turn.Score)
		key = fmt.Sprintf("%s at %d", id, turn.Score)
		h.places[key]++
		if h.places[key] > 1+int(turn.Missed) || turn.Missed > 1 {
			return fmt.Errorf("G3: %s had %d turns, %d of them missed", key, h.places[key], turn.Missed)
		}
	}
	if int64(len(h.log)) != after.admitted {
		return fmt.Errorf("the room counts %d admissions, not %d", after.admitted, len(h.log))
	}
	for id, score := range after.queue {
		if _, waited := before.queue[id]; waited && score < last {
			return fmt.Errorf("G3: %d was let in while %s waits at %d", last, id, score)
		}
	}
	if n := len(after.ready) + len(after.active); n > most {
		return fmt.Errorf("G4: %d are let in at the same time, the cap is %d", n, most)
	}
	return nil
}

// Nodes whose clocks are wrong, on a network that loses requests and replies at
// random: no window exceeds the throttle and the cap holds (G4), the line goes in
// order and nobody has a turn twice (G3), and nobody has two places (G5).
func TestNoFaultBreaksTheGuarantees(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	rdb := client(t, "redis://"+server.Addr())
	keys := pass.Generate()
	const nodes = 3
	var (
		now  = int64(1_800_000_000_000)
		skew [nodes]time.Duration
		all  []faultyNode
	)
	for i := range nodes {
		all = append(all, newFaultyNode(t, server.Addr(), keys, func() time.Time { return time.UnixMilli(now).Add(skew[i]) }))
	}
	rapid.Check(t, func(rt *rapid.T) {
		for i := range skew {
			skew[i] = time.Duration(rapid.IntRange(-3_600_000, 3_600_000).Draw(rt, "skew ms")) * time.Millisecond
		}
		now += 3_600_000
		server.SetTime(time.UnixMilli(now))
		s := wide()
		s.Throttle = waitroom.Throttle{
			RatePerMinute: rapid.IntRange(60, 20_000).Draw(rt, "rate"), Burst: rapid.IntRange(1, 10).Draw(rt, "burst"),
			MaxShoppers: rapid.IntRange(1, 8).Draw(rt, "cap"), Lease: 10 * time.Second, ClaimWindow: 5 * time.Second, Grace: 20 * time.Second,
		}
		r := newRoom(t, rdb, s, redisstore.Options{}).shopOK()
		type person struct {
			visitor, receipt, pass string
		}
		var people []*person
		had := &turnsHad{last: make(map[string]string), places: make(map[string]int)}
		before := look(t, rdb, r.event)
		told := func(p *person, me waitroom.Me) {
			if p.visitor != "" && p.visitor != me.Visitor {
				rt.Fatalf("G5: %s became %s", p.visitor, me.Visitor)
			}
			p.visitor = me.Visitor
			if me.Receipt != nil {
				p.receipt = *me.Receipt
			}
			if me.Pass != nil {
				p.pass = *me.Pass
			}
		}
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			now += int64(rapid.IntRange(0, 3000).Draw(rt, "ms"))
			server.SetTime(time.UnixMilli(now))
			at := all[rapid.IntRange(0, nodes-1).Draw(rt, "node")]
			// More than three go wrong for the client, too.
			at.faults.set(max(rapid.IntRange(-4, 6).Draw(rt, "faults"), 0), rapid.Bool().Draw(rt, "replies"))
			what := rapid.SampledFrom([]string{"arrive", "arrive", "join", "tick", "tick", "claim", "leave", "finish", "me"}).Draw(rt, "what")
			var p *person
			if what == "arrive" || len(people) == 0 {
				p = &person{}
				people = append(people, p)
				what = "join"
			} else {
				p = people[rapid.IntRange(0, len(people)-1).Draw(rt, "who")]
			}
			var err error
			var me waitroom.Me
			ctx := t.Context()
			switch {
			case what == "tick":
				err = at.TickAll(ctx)
			case what == "join" || p.visitor == "":
				var j waitroom.Joined
				if j, err = at.Join(ctx, waitroom.JoinRequest{Event: r.event, Visitor: p.visitor, Receipt: p.receipt, Pass: p.pass}); err == nil {
					me = j.Me
				}
			case what == "claim":
				me, err = at.Claim(ctx, r.event, p.visitor)
			case what == "leave":
				me, err = at.Leave(ctx, r.event, p.visitor)
			case what == "finish":
				err = at.Finish(ctx, r.event, p.visitor, false)
			case what == "me":
				me, err = at.Me(ctx, r.event, p.visitor)
			}
			at.faults.set(0, false)
			switch fault.CodeOf(err) {
			case fault.Unavailable, fault.NotYourTurn, fault.TooMany:
			default:
				if err != nil {
					rt.Fatalf("%s: %v", what, err)
				}
			}
			if err == nil && me.Visitor != "" {
				told(p, me)
			}
			after := look(t, rdb, r.event)
			if err := had.step(before, after, now, s.Throttle.MaxShoppers); err != nil {
				rt.Fatalf("after %s: %v", what, err)
			}
			before = after
		}
		if err := overruns(had.log, s.Throttle.RatePerMinute, s.Throttle.Burst); err != nil {
			rt.Fatalf("G4: %v", err)
		}
		forgetRoom(t.Context(), rdb, r.event)
	})
}

// A server that refuses to write, or to do anything, refuses the visitor cleanly
// and changes nothing.
func TestRefusalsOfRedis(t *testing.T) {
	t.Parallel()
	for _, say := range []string{
		"LOADING Redis is loading the dataset in memory", "READONLY You can't write against a read only replica.",
		"OOM command not allowed when used memory > 'maxmemory'.", "MISCONF Redis is configured to save RDB snapshots",
		"CLUSTERDOWN The cluster is down", "MASTERDOWN Link with MASTER is down", "NOREPLICAS Not enough good replicas to write.",
		"BUSY Redis is busy running a script.", "TRYAGAIN Multiple keys request during rehashing of slot",
	} {
		word, _, _ := strings.Cut(say, " ")
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			server := miniredis.RunT(t)
			r := newRoom(t, client(t, "redis://"+server.Addr()+"?max_retries=-1"), wide(), redisstore.Options{})
			r.join("a")
			server.SetError(say)
			for what, err := range everything(r, "a") {
				if !fault.Is(err, fault.Unavailable) {
					t.Errorf("%s: %v, want unavailable", what, err)
				}
				var f *fault.Error
				if errors.As(err, &f) && f.RetryAfter <= 0 {
					t.Errorf("%s does not say when to come back", what)
				}
			}
			server.SetError("")
			r.wantState("a", waitroom.Waiting)
		})
	}
}

// everything is the error of each of the store's calls.
func everything(r *room, visitor string) map[string]error {
	ctx, event := r.t.Context(), r.event
	out := make(map[string]error)
	_, _, out["join"] = r.Join(ctx, event, waitroom.Join{Visitor: "new"})
	_, _, out["join fresh"] = r.Join(ctx, event, waitroom.Join{Visitor: "newer", Fresh: true})
	_, out["visitor"] = r.Visitor(ctx, event, visitor, true)
	_, out["claim"] = r.Claim(ctx, event, visitor)
	_, out["leave"] = r.Leave(ctx, event, visitor)
	_, out["finish"] = r.Finish(ctx, event, visitor)
	_, out["lane"] = r.SetLane(ctx, event, visitor, waitroom.Fan, waitroom.NoLane)
	_, out["admit"] = r.Admit(ctx, event, 0)
	_, out["room"] = r.Room(ctx, event)
	_, out["survey"] = r.Survey(ctx, event, waitroom.Query{Front: 1, Visitors: []string{visitor}})
	_, out["rooms"] = r.Rooms(ctx)
	_, out["seed"] = r.Seed(ctx, waitroom.Settings{Event: event}, 0, 0)
	out["restore"] = r.Restore(ctx, event, []waitroom.Turn{{Visitor: "x", State: waitroom.Done, Lane: waitroom.General, Place: 1}})
	_, out["unsaved"] = r.Unsaved(ctx, event, 10)
	out["message"] = r.SetMessage(ctx, event, "hello")
	_, _, out["change"] = r.Change(ctx, event, waitroom.Paused, "", 0, []waitroom.State{waitroom.Open})
	out["shop"] = r.Shop(ctx, event, waitroom.ShopReport{Well: time.Second})
	_, out["health"] = r.Health(ctx, "node", waitroom.Health{}, time.Second)
	out["gone"] = r.Gone(ctx, event, []string{visitor})
	out["put handover"] = r.PutHandover(ctx, event, "digest", visitor, time.Minute, 5)
	_, out["take handover"] = r.TakeHandover(ctx, event, "digest")
	return out
}

// A Redis that is out of memory, or has become a replica, changes nothing of a
// room: no script ends in its middle.
func TestNothingIsDoneHalfway(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string][2]func(ctx context.Context, rdb redis.UniversalClient) error{
		"out of memory": {
			func(ctx context.Context, rdb redis.UniversalClient) error {
				return rdb.ConfigSet(ctx, "maxmemory", "1").Err()
			},
			func(ctx context.Context, rdb redis.UniversalClient) error {
				return rdb.ConfigSet(ctx, "maxmemory", "0").Err()
			},
		},
		"read only": {
			func(ctx context.Context, rdb redis.UniversalClient) error {
				return rdb.SlaveOf(ctx, "127.0.0.1", "1").Err() // where nobody answers
			},
			func(ctx context.Context, rdb redis.UniversalClient) error { return rdb.SlaveOf(ctx, "NO", "ONE").Err() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := stacktest.OwnRedis(t, stack.RedisOptions{}).URL()
			plain := client(t, url)
			s := wide()
			s.Throttle.MaxShoppers = 2
			r := newRoom(t, client(t, url+"?max_retries=-1"), s, redisstore.Options{}).shopOK()
			for _, visitor := range []string{"shops", "ready", "waits", "left"} {
				r.join(visitor)
			}
			r.tick()
			if _, err := r.Claim(t.Context(), r.event, "shops"); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Leave(t.Context(), r.event, "left"); err != nil {
				t.Fatal(err)
			}
			dump := func() string {
				var b strings.Builder
				fmt.Fprint(&b, look(t, plain, r.event))
				fields, err := plain.HGetAll(t.Context(), lua.RoomKey(r.event)).Result()
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprint(&b, fields)
				return b.String()
			}
			before := dump()
			if err := refuse[0](t.Context(), plain); err != nil {
				t.Fatal(err)
			}
			reads := map[string]bool{"room": true, "rooms": true, "survey": true, "visitor": true, "unsaved": true, "take handover": true}
			for _, visitor := range []string{"shops", "ready", "waits", "left"} {
				for what, err := range everything(r, visitor) {
					switch code := fault.CodeOf(err); {
					case code == fault.Unavailable:
					case reads[what], err == nil && (what == "join" || what == "restore" || what == "gone"):
					case what == "claim" && code == fault.NotYourTurn, what == "finish" && err == nil && visitor != "shops" && visitor != "ready":
					case what == "claim" && err == nil && visitor == "shops", what == "leave" && err == nil && visitor == "left":
					case what == "lane" && code == fault.UnknownVisitor, what == "seed" && err == nil:
					default:
						t.Errorf("%s of who %s: %v, want unavailable", what, visitor, err)
					}
				}
				_, _, err := r.Join(t.Context(), r.event, waitroom.Join{Visitor: visitor}) // the left one anew
				if err != nil && !fault.Is(err, fault.Unavailable) {
					t.Errorf("join of who %s: %v", visitor, err)
				}
			}
			if after := dump(); after != before {
				t.Errorf("refused, but changed from\n%s to\n%s", before, after)
			}
			if err := refuse[1](t.Context(), plain); err != nil {
				t.Fatal(err)
			}
			r.join("new")
			r.wantState("waits", waitroom.Waiting)
		})
	}
}

// An operator who lets in ten lets in ten, though the reply is lost on its way.
func TestAdmitNowIsDoneOnce(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	r := newRoom(t, client(t, "redis://"+server.Addr()), narrow(1), redisstore.Options{})
	for _, name := range names(50) {
		r.join(name)
	}
	node := newFaultyNode(t, server.Addr(), pass.Generate(), time.Now)
	for turn := range 2 {
		node.faults.set(2, true)
		tick, err := node.Store.AdmitNow(t.Context(), r.event, 10)
		node.faults.set(0, false)
		if err != nil || tick.Admitted != 10 {
			t.Fatalf("%+v, %v", tick, err)
		}
		if n := r.now().Admitted; n != int64(10*(turn+1)) {
			t.Errorf("%d were let in by %d calls for 10", n, turn+1)
		}
	}
}
