package redisstore_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"pgregory.net/rapid"

	"onsale/internal/fault"
	"onsale/internal/stack/stacktest"
	"onsale/lua"
	"onsale/waitroom"
	"onsale/waitroom/redisstore"
)

// admission is one visitor let in, on Redis' clock.
type admission struct {
	at    int64 // ms
	place int64
}

// overruns returns the first window in which more were admitted than
// burst + rate·w allows.
func overruns(a []admission, rate, burst int) error {
	for i := range a {
		for j := i; j < len(a); j++ {
			w := a[j].at - a[i].at
			if n := j - i + 1; float64(n) > float64(burst)+float64(rate)*float64(w)/60000 {
				return fmt.Errorf("%d admitted within %d ms; %d a minute and a burst of %d allow %.2f",
					n, w, rate, burst, float64(burst)+float64(rate)*float64(w)/60000)
			}
		}
	}
	return nil
}

// Whatever the throttle, the arrivals and the moments of the ticks: no window
// has more admissions than the throttle allows (G4).
func TestNoWindowExceedsTheThrottle(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	rdb := client(t, "redis://"+server.Addr())
	rapid.Check(t, func(rt *rapid.T) {
		now := int64(1_800_000_000_000)
		server.SetTime(time.UnixMilli(now))
		s := wide()
		s.Throttle.RatePerMinute = rapid.IntRange(1, 5000).Draw(rt, "rate")
		s.Throttle.Burst = rapid.IntRange(1, 20).Draw(rt, "burst")
		r := newRoom(t, rdb, s, redisstore.Options{}).shopOK()
		var log []admission
		for step := range rapid.IntRange(5, 40).Draw(rt, "steps") {
			now += int64(rapid.IntRange(0, 400).Draw(rt, "ms"))
			server.SetTime(time.UnixMilli(now))
			for i := range rapid.IntRange(0, 4).Draw(rt, "arrivals") {
				if v := r.join(fmt.Sprintf("%d-%d", step, i)); v.State == waitroom.Ready {
					log = append(log, admission{at: now})
				}
			}
			for range r.tick().Admitted {
				log = append(log, admission{at: now})
			}
		}
		if err := overruns(log, s.Throttle.RatePerMinute, s.Throttle.Burst); err != nil {
			rt.Fatal(err)
		}
	})
}

// Many nodes join, tick, claim, leave and reconfigure at the same time on a real
// Redis: the throttle and the cap hold, the order is kept, nobody has two turns
// (G3, G4).
func TestManyNodesNeverExceedTheThrottle(t *testing.T) {
	t.Parallel()
	const (
		nodes    = 4
		visitors = 600
		rate     = 30_000
		burst    = 5
		most     = 40
	)
	url := stacktest.Redis(t).URL()
	s := wide()
	s.Throttle = waitroom.Throttle{RatePerMinute: rate, Burst: burst, MaxShoppers: most, Lease: time.Hour, ClaimWindow: time.Hour}
	first := newRoom(t, client(t, url), s, redisstore.Options{}).shopOK()

	var (
		mu       sync.Mutex
		log      []admission
		turns    = make(map[string]int64)
		over     atomic.Bool
		finished atomic.Int64
		wg       sync.WaitGroup
		ticking  sync.WaitGroup
	)
	// served notes a turn; several goroutines may claim the same one.
	served := func(visitor string, v waitroom.Visitor) {
		mu.Lock()
		defer mu.Unlock()
		if place, again := turns[visitor]; again {
			if place != v.Place {
				t.Errorf("%s had a turn at %d and at %d", visitor, place, v.Place)
			}
			return
		}
		turns[visitor] = v.Place
		log = append(log, admission{at: v.Admitted.UnixMilli(), place: v.Place})
		finished.Add(1)
	}
	for range nodes {
		rdb := client(t, url)
		r := &room{Store: redisstore.New(rdb), rdb: rdb, event: first.event, t: t}
		ticking.Go(func() {
			for !over.Load() {
				tick, err := r.Admit(t.Context(), r.event, 0)
				if err != nil {
					t.Errorf("Admit: %v", err)
					return
				}
				if n := tick.Ready + tick.Shopping; n > most {
					t.Errorf("%d active, the cap is %d", n, most)
				}
			}
		})
		for w := range 4 {
			wg.Go(func() {
				for i := w; i < visitors; i += 4 {
					id := fmt.Sprintf("visitor%04d", i) // every node joins everybody
					v, _, err := r.Join(t.Context(), r.event, waitroom.Join{Visitor: id})
					if err != nil {
						t.Errorf("Join: %v", err)
						return
					}
					for v.State == waitroom.Waiting && rand.IntN(3) == 0 {
						if v, err = r.see(t.Context(), r.event, id); err != nil {
							t.Errorf("Visitor: %v", err)
							return
						}
					}
				}
			})
		}
	}
	wg.Wait()
	// Everyone claims when ready, and goes, until all have been served.
	for range 8 {
		wg.Go(func() {
			for finished.Load() < visitors && !t.Failed() {
				id := fmt.Sprintf("visitor%04d", rand.IntN(visitors))
				v, err := first.Claim(t.Context(), first.event, id)
				if fault.Is(err, fault.NotYourTurn) {
					continue
				}
				if err != nil {
					t.Errorf("Claim: %v", err)
					return
				}
				served(id, v)
				done, err := first.Finish(t.Context(), first.event, id)
				if err != nil || done.State != waitroom.Done {
					t.Errorf("Finish = %+v, %v", done, err)
					return
				}
			}
		})
	}
	wg.Wait()
	over.Store(true)
	ticking.Wait()

	byPlace := make(map[int64]int64)
	for _, a := range log {
		byPlace[a.place] = a.at
	}
	if len(byPlace) != visitors {
		t.Fatalf("%d places for %d visitors", len(byPlace), visitors)
	}
	inOrder := make([]admission, 0, visitors)
	for place := int64(1); place <= visitors; place++ {
		at, ok := byPlace[place]
		if !ok {
			t.Fatalf("place %d was never served", place)
		}
		if n := len(inOrder); n > 0 && at < inOrder[n-1].at {
			t.Errorf("place %d was served before place %d", place, place-1)
		}
		inOrder = append(inOrder, admission{at: at, place: place})
	}
	if err := overruns(inOrder, rate, burst); err != nil {
		t.Error(err)
	}
	if n, err := first.rdb.ZCard(t.Context(), lua.ActiveKey(first.event)).Result(); err != nil || n != 0 {
		t.Errorf("%d are active at the end, %v", n, err)
	}
	if n := first.now(); n.Ready != 0 || n.Shopping != 0 || n.Waiting != 0 || n.Admitted != visitors || n.Joined != visitors {
		t.Errorf("room at the end: %+v", n)
	}
}
