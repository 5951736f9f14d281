package redisstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"onsale/waitroom"
	"onsale/waitroom/redisstore"
)

// A room knows for how long its slots are taken: by shoppers who finish, by turns that
// nobody claims, and by whoever still has one.
func TestStaysAreCounted(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	now := time.UnixMilli(1_800_000_000_000)
	server.SetTime(now)
	s := wide()
	s.Throttle = waitroom.Throttle{RatePerMinute: 60_000, Burst: 100, MaxShoppers: 10, Lease: time.Hour, ClaimWindow: 30 * time.Second}
	r := newRoom(t, client(t, "redis://"+server.Addr()), s, redisstore.Options{})
	r.shopOK()
	for i := range 20 {
		r.join(fmt.Sprint("v", i))
	}
	pass := func(seconds int) {
		for range seconds {
			now = now.Add(time.Second)
			server.SetTime(now)
			r.shopOK()
			r.tick()
		}
	}
	know := func(when string, taken time.Duration, ended int) {
		t.Helper()
		if n := r.now(); n.Taken != taken || n.Ended != ended {
			t.Errorf("%s: taken for %v by %d, want %v by %d", when, n.Taken, n.Ended, taken, ended)
		}
	}
	r.tick()
	know("at first", 0, 0)
	pass(10)
	know("ten have been there for ten seconds", 100*time.Second, 0)
	for i := range 2 {
		if _, err := r.Claim(t.Context(), r.event, fmt.Sprint("v", i)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Finish(t.Context(), r.event, fmt.Sprint("v", i)); err != nil {
			t.Fatal(err)
		}
	}
	pass(1) // two others take their slots
	know("two have finished", 110*time.Second, 2)
	pass(19)
	know("eight have not claimed their turn", 300*time.Second, 10)
	// A clock that goes back, as after a failover, takes nothing away.
	now = now.Add(-time.Minute)
	server.SetTime(now)
	r.tick()
	know("the clock went back", 300*time.Second, 10)
}
