package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"onsale/internal/fault"
	"onsale/internal/redisconn"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
	"onsale/lua"
	"onsale/waitroom"
	"onsale/waitroom/pass"
	"onsale/waitroom/redisstore"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, stacktest.IgnoreServers()...)
}

// servers are what the conformance suite runs on: each returns what redis_url
// would be.
var servers = []struct {
	name  string
	start func(t testing.TB) string
}{
	{"miniredis", func(t testing.TB) string { return stacktest.Miniredis(t).URL() }},
	{"redis", func(t testing.TB) string { return stacktest.Redis(t).URL() }},
	{"redis with AOF", func(t testing.TB) string {
		return stacktest.OwnRedis(t, stack.RedisOptions{Dir: t.TempDir(), Fsync: "always"}).URL()
	}},
	{"cluster", func(t testing.TB) string { return stacktest.Cluster(t).URL() }},
	{"sentinel", func(t testing.TB) string { return stacktest.Sentinels(t).URL() }},
}

func client(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	c, err := redisconn.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// room is one room of one test.
type room struct {
	*redisstore.Store
	rdb   redis.UniversalClient
	event string
	t     testing.TB
}

// wide is a throttle that does not stand in the way.
func wide() waitroom.Settings {
	return waitroom.Settings{
		Name: "Test", State: waitroom.Open, Epoch: 1, Throttle: waitroom.Throttle{
			RatePerMinute: 600_000, Burst: 10_000, MaxShoppers: 10_000, Lease: time.Minute, ClaimWindow: time.Minute,
		},
		Order: waitroom.FIFO, Challenge: waitroom.ChallengeOff, Autopilot: waitroom.DefaultAutopilot(),
	}
}

// narrow admits burst visitors, and one more a minute.
func narrow(burst int) waitroom.Settings {
	s := wide()
	s.Throttle.RatePerMinute, s.Throttle.Burst = 1, burst
	return s
}

func newRoom(t testing.TB, rdb redis.UniversalClient, s waitroom.Settings, o redisstore.Options) *room {
	t.Helper()
	store := redisstore.New(rdb).WithOptions(o)
	r := &room{Store: store, rdb: rdb, event: "test-" + pass.NewVisitor(), t: t}
	s.Event = r.event
	if created, err := store.Seed(t.Context(), s, 0, 0); err != nil || !created {
		t.Fatalf("Seed = %v, %v", created, err)
	}
	t.Cleanup(func() { // t.Context() is over by now
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		forgetRoom(ctx, rdb, r.event)
	})
	return r
}

func forgetRoom(ctx context.Context, rdb redis.UniversalClient, event string) {
	rdb.Del(ctx, lua.RoomKey(event), lua.LobbyKey(event), lua.QueueKey(event), lua.ReadyKey(event), lua.ActiveKey(event),
		lua.TurnsKey(event), lua.GoneKey(event), lua.LogKey(event), lua.DirtyKey(event))
	rdb.SRem(ctx, lua.RoomsKey, event)
}

// sell says that the shop is well for the time and has so many tickets.
func (r *room) sell(well time.Duration, available, held int) {
	r.t.Helper()
	if err := r.Shop(r.t.Context(), r.event, waitroom.ShopReport{Well: well, Available: available, Held: held}); err != nil {
		r.t.Fatal(err)
	}
}

// shopOK lets the shop be well for a while.
func (r *room) shopOK() *room {
	r.t.Helper()
	r.sell(time.Hour, -1, -1)
	return r
}

func (r *room) join(visitor string) waitroom.Visitor {
	r.t.Helper()
	v, _, err := r.Join(r.t.Context(), r.event, waitroom.Join{Visitor: visitor})
	if err != nil {
		r.t.Fatalf("Join(%s): %v", visitor, err)
	}
	return v
}

func (r *room) tick() waitroom.Tick {
	r.t.Helper()
	t, err := r.Admit(r.t.Context(), r.event, 0)
	if err != nil {
		r.t.Fatalf("Admit: %v", err)
	}
	return t
}

// see looks a visitor up without them noticing.
func (r *room) see(ctx context.Context, event, visitor string) (waitroom.Visitor, error) {
	return r.Visitor(ctx, event, visitor, false)
}

func (r *room) me(visitor string) waitroom.Visitor {
	r.t.Helper()
	v, err := r.Visitor(r.t.Context(), r.event, visitor, false)
	if err != nil {
		r.t.Fatalf("Visitor(%s): %v", visitor, err)
	}
	return v
}

func (r *room) now() waitroom.Room {
	r.t.Helper()
	n, err := r.Room(r.t.Context(), r.event)
	if err != nil {
		r.t.Fatalf("Room: %v", err)
	}
	return n
}

func (r *room) configure(p waitroom.ThrottlePatch) {
	r.t.Helper()
	if err := r.Configure(r.t.Context(), r.event, waitroom.Patch{Throttle: p}, ""); err != nil {
		r.t.Fatal(err)
	}
}

func (r *room) wantState(visitor string, want waitroom.VisitorState) {
	r.t.Helper()
	if v := r.me(visitor); v.State != want {
		r.t.Errorf("%s is %q, want %q", visitor, v.State, want)
	}
}

// until polls for something that time alone brings about.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func wantFault(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Errorf("error %v, want %s", err, code)
	}
}

// general are the scores of places in the general lane.
func general(places ...int64) []int64 {
	for i := range places {
		places[i] = lua.Score(int(waitroom.General), places[i])
	}
	return places
}

func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("visitor%04d", i)
	}
	return out
}

// conformance is what every server must do.
var conformance = []struct {
	name string
	test func(t *testing.T, rdb redis.UniversalClient)
}{
	{"seeding is done once", func(t *testing.T, rdb redis.UniversalClient) {
		s := wide()
		s.Message, s.OpensAt = "hello", time.UnixMilli(1_900_000_000_123).UTC()
		s.State, s.Next, s.Cursor = waitroom.Scheduled, 12, 7
		r := newRoom(t, rdb, s, redisstore.Options{})
		s.Event = r.event
		if got := r.now().Settings; got != s {
			t.Errorf("settings are\n%+v, want\n%+v", got, s)
		}
		again := s
		again.Name = "Another"
		if created, err := r.Seed(t.Context(), again, 0, 0); err != nil || created {
			t.Errorf("second Seed = %v, %v", created, err)
		}
		if got := r.now().Settings; got != s {
			t.Errorf("the second Seed changed the room to %+v", got)
		}
		events, err := r.Rooms(t.Context())
		if err != nil || !slices.Contains(events, r.event) {
			t.Errorf("Rooms = %v, %v", events, err)
		}
	}},
	{"a room that is not there", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, wide(), redisstore.Options{})
		ctx, gone := t.Context(), "nowhere-"+r.event
		_, err := r.Room(ctx, gone)
		wantFault(t, err, fault.NotFound)
		_, err = r.Survey(ctx, gone, waitroom.Query{Front: 1})
		wantFault(t, err, fault.NotFound)
		_, _, err = r.Join(ctx, gone, waitroom.Join{Visitor: "a"})
		wantFault(t, err, fault.NotFound)
		for _, do := range []func(context.Context, string, string) (waitroom.Visitor, error){r.see, r.Claim, r.Leave, r.Finish} {
			_, err = do(ctx, gone, "a")
			wantFault(t, err, fault.NotFound)
		}
		_, err = r.Admit(ctx, gone, 0)
		wantFault(t, err, fault.NotFound)
		_, _, err = r.Change(ctx, gone, waitroom.Open, "", 0, []waitroom.State{waitroom.Paused})
		wantFault(t, err, fault.NotFound)
		wantFault(t, r.SetMessage(ctx, gone, "x"), fault.NotFound)
		wantFault(t, r.Shop(ctx, gone, waitroom.ShopReport{Available: 1}), fault.NotFound)
		rate := 5
		wantFault(t, r.Configure(ctx, gone, waitroom.Patch{Throttle: waitroom.ThrottlePatch{RatePerMinute: &rate}}, ""), fault.NotFound)
		if n, err := rdb.Keys(ctx, "wr:{"+gone+"}*").Result(); err != nil || len(n) > 0 {
			t.Errorf("keys were left behind: %v, %v", n, err)
		}
	}},
	{"joining again changes nothing", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, wide(), redisstore.Options{})
		for i, name := range names(5) {
			if v := r.join(name); v.State != waitroom.Waiting || v.Place != int64(i+1) || v.Ahead != i {
				t.Errorf("%s: %+v", name, v)
			}
		}
		first := r.join("visitor0002")
		v, outcome, err := r.Join(t.Context(), r.event, waitroom.Join{Visitor: "visitor0002"})
		if err != nil || outcome != waitroom.Found || v.Place != first.Place || v.Ahead != 2 {
			t.Errorf("joining again = %+v, %v, %v", v, outcome, err)
		}
		if n := r.now(); n.Waiting != 5 || n.Joined != 5 || n.Next != 5 {
			t.Errorf("room %+v", n)
		}
	}},
	{"first come, first served", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, wide(), redisstore.Options{Batch: 3})
		for _, name := range names(7) {
			r.join(name)
		}
		r.shopOK()
		for _, want := range []int{3, 3, 1, 0} {
			if tick := r.tick(); tick.Admitted != want || !tick.Ran {
				t.Fatalf("tick %+v, want %d admitted", tick, want)
			}
			cursor := r.now().Cursor
			for i, name := range names(7) {
				state := waitroom.Waiting
				if int64(i+1) <= cursor {
					state = waitroom.Ready
				}
				r.wantState(name, state)
			}
		}
		if n := r.now(); n.Cursor != 7 || n.Waiting != 0 || n.Ready != 7 || n.Shopping != 0 || n.Admitted != 7 {
			t.Errorf("room %+v", n)
		}
	}},
	{"nobody waits, so the next is let in at once", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, narrow(2), redisstore.Options{}).shopOK()
		for _, name := range names(2) {
			if v := r.join(name); v.State != waitroom.Ready || v.Until.Sub(v.Admitted) != time.Minute {
				t.Errorf("%s: %+v", name, v)
			}
		}
		if v := r.join("third"); v.State != waitroom.Waiting || v.Ahead != 0 || v.Place != 3 {
			t.Errorf("without tokens: %+v", v)
		}
		if v := r.join("fourth"); v.State != waitroom.Waiting || v.Ahead != 1 {
			t.Errorf("behind others: %+v", v)
		}
	}},
	{"nobody is let in past somebody who waits", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, wide(), redisstore.Options{})
		r.join("first")
		r.shopOK()
		if v := r.join("second"); v.State != waitroom.Waiting {
			t.Errorf("the second overtook the first: %+v", v)
		}
	}},
	{"the cap holds", func(t *testing.T, rdb redis.UniversalClient) {
		s := wide()
		s.Throttle.MaxShoppers = 3
		r := newRoom(t, rdb, s, redisstore.Options{})
		for _, name := range names(10) {
			r.join(name)
		}
		r.shopOK()
		if tick := r.tick(); tick.Admitted != 3 || tick.Ready != 3 {
			t.Fatalf("tick %+v", tick)
		}
		if tick := r.tick(); tick.Admitted != 0 {
			t.Fatalf("beyond the cap: %+v", tick)
		}
		if reason := r.now(); reason.Standstill() != waitroom.ReasonFull {
			t.Errorf("reason %q", reason.Standstill())
		}
		if _, err := r.Finish(t.Context(), r.event, "visitor0000"); err != nil {
			t.Fatal(err)
		}
		if tick := r.tick(); tick.Admitted != 1 {
			t.Errorf("a slot was free: %+v", tick)
		}
		less := 1
		r.configure(waitroom.ThrottlePatch{MaxShoppers: &less})
		if _, err := r.Leave(t.Context(), r.event, "visitor0001"); err != nil {
			t.Fatal(err)
		}
		if tick := r.tick(); tick.Admitted != 0 || tick.Ready != 2 {
			t.Errorf("with the cap lowered to 1: %+v", tick)
		}
	}},
	{"the bucket follows a change of the throttle", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, narrow(100), redisstore.Options{})
		for _, name := range names(20) {
			r.join(name)
		}
		r.shopOK()
		four := 4
		r.configure(waitroom.ThrottlePatch{Burst: &four})
		if tick := r.tick(); tick.Admitted != 4 {
			t.Fatalf("burst lowered to 4: %+v", tick)
		}
		hundred := 100
		r.configure(waitroom.ThrottlePatch{Burst: &hundred})
		if tick := r.tick(); tick.Admitted != 0 {
			t.Fatalf("raising the burst made tokens: %+v", tick)
		}
		rate := 600_000
		r.configure(waitroom.ThrottlePatch{RatePerMinute: &rate})
		until(t, "the new rate to work", func() bool { r.tick(); return r.now().Waiting == 0 })
	}},
	{"ticks that come too soon do nothing", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, wide(), redisstore.Options{Batch: 1})
		for _, name := range names(3) {
			r.join(name)
		}
		r.shopOK()
		if tick := r.tick(); !tick.Ran || tick.Admitted != 1 {
			t.Fatalf("first tick %+v", tick)
		}
		tick, err := r.Admit(t.Context(), r.event, time.Hour)
		if err != nil || tick.Ran || tick.Admitted != 0 || tick.Waiting != 2 || tick.Ready != 1 || tick.Cursor != 1 {
			t.Errorf("too soon: %+v, %v", tick, err)
		}
	}},
	{"the line stands while the shop is not well", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, wide(), redisstore.Options{})
		r.join("a")
		check := func(reason waitroom.Reason, admitted int) {
			t.Helper()
			tick := r.tick()
			if n := r.now(); tick.Admitted != admitted || n.Standstill() != reason {
				t.Errorf("admitted %d, reason %q; want %d, %q", tick.Admitted, n.Standstill(), admitted, reason)
			}
		}
		check(waitroom.ReasonShopDown, 0)
		r.sell(time.Hour, 0, 3)
		check(waitroom.ReasonAllHeld, 0)
		if v := r.join("b"); v.State != waitroom.Waiting {
			t.Errorf("let in though nothing can be had: %+v", v)
		}
		r.sell(time.Hour, 1, 2)
		check("", 1) // one ticket, one turn
		r.sell(0, -1, -1)
		check(waitroom.ReasonShopDown, 0)
		r.sell(20*time.Millisecond, -1, -1)
		until(t, "the shop's word to lose its worth", func() bool { n := r.now(); return n.Standstill() == waitroom.ReasonShopDown })
	}},
	{"a turn is claimed once, with one end", func(t *testing.T, rdb redis.UniversalClient) {
		s := wide()
		s.Throttle.Lease = 10 * time.Minute
		r := newRoom(t, rdb, s, redisstore.Options{}).shopOK()
		ctx := t.Context()
		_, err := r.Claim(ctx, r.event, "a")
		wantFault(t, err, fault.UnknownVisitor)
		r.join("a")
		v, err := r.Claim(ctx, r.event, "a")
		if err != nil || v.State != waitroom.Shopping || v.Until.Sub(v.Claimed) != 10*time.Minute {
			t.Fatalf("Claim = %+v, %v", v, err)
		}
		longer := time.Hour
		r.configure(waitroom.ThrottlePatch{Lease: &longer})
		again, err := r.Claim(ctx, r.event, "a")
		if err != nil || again.Until != v.Until || again.Claimed != v.Claimed || again.Place != v.Place {
			t.Errorf("claiming again = %+v, %v, want %+v", again, err, v)
		}
		if n := r.now(); n.Ready != 0 || n.Shopping != 1 {
			t.Errorf("room %+v", n)
		}
		lease, err := rdb.ZScore(ctx, lua.ActiveKey(r.event), "a").Result()
		if err != nil || int64(lease) != v.Until.UnixMilli() {
			t.Errorf("the lease in the active set is %v, %v; want %d", lease, err, v.Until.UnixMilli())
		}
		r.sell(0, -1, -1)
		r.join("b")
		_, err = r.Claim(ctx, r.event, "b")
		wantFault(t, err, fault.NotYourTurn)
	}},
	{"turns end by themselves", func(t *testing.T, rdb redis.UniversalClient) {
		s := wide()
		// All are there before the first turn ends.
		s.Throttle.ClaimWindow, s.Throttle.Lease, s.Throttle.MaxShoppers = 3*time.Second, 3*time.Second, 2
		r := newRoom(t, rdb, s, redisstore.Options{}).shopOK()
		r.join("noshow")
		longer := time.Minute
		r.configure(waitroom.ThrottlePatch{ClaimWindow: &longer})
		r.join("slow")
		if _, err := r.Claim(t.Context(), r.event, "slow"); err != nil {
			t.Fatal(err)
		}
		r.join("next")
		until(t, "both turns to end", func() bool {
			return r.me("noshow").State == waitroom.Expired && r.me("slow").State == waitroom.Expired
		})
		for _, name := range []string{"noshow", "slow"} {
			_, err := r.Claim(t.Context(), r.event, name)
			wantFault(t, err, fault.NotYourTurn)
		}
		tick := r.tick()
		if tick.Expired != 2 || tick.Admitted != 1 || tick.Ready != 1 {
			t.Errorf("tick %+v", tick)
		}
		r.wantState("next", waitroom.Ready)
		if n := r.now(); n.Ready != 1 || n.Shopping != 0 {
			t.Errorf("room %+v", n)
		}
		v, outcome, err := r.Join(t.Context(), r.event, waitroom.Join{Visitor: "noshow", Place: 1, Epoch: 1})
		if err != nil || outcome != waitroom.Placed || v.Place != 4 {
			t.Errorf("a no-show joins again with the old receipt: %+v, %v, %v; want a place at the end", v, outcome, err)
		}
	}},
	{"an ended turn nobody has reaped yet", func(t *testing.T, rdb redis.UniversalClient) {
		s := wide()
		s.Throttle.ClaimWindow, s.Throttle.MaxShoppers = 10*time.Millisecond, 1
		r := newRoom(t, rdb, s, redisstore.Options{}).shopOK()
		r.join("a")
		until(t, "the window to end", func() bool { return r.me("a").State == waitroom.Expired })
		longer := time.Minute
		r.configure(waitroom.ThrottlePatch{ClaimWindow: &longer})
		if v := r.join("a"); v.State != waitroom.Ready || v.Place != 2 {
			t.Errorf("joining again: %+v", v)
		}
		if n := r.now(); n.Ready != 1 || n.Shopping != 0 {
			t.Errorf("room %+v", n)
		}
	}},
	{"leaving and finishing", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, narrow(2), redisstore.Options{}).shopOK()
		ctx := t.Context()
		for _, name := range []string{"buyer", "leaver", "waiter", "other"} {
			r.join(name)
		}
		if _, err := r.Claim(ctx, r.event, "buyer"); err != nil {
			t.Fatal(err)
		}
		end := func(do func(context.Context, string, string) (waitroom.Visitor, error), visitor string, want waitroom.VisitorState) {
			t.Helper()
			for range 2 { // again changes nothing
				if v, err := do(ctx, r.event, visitor); err != nil || v.State != want {
					t.Errorf("%s: %+v, %v; want %q", visitor, v, err, want)
				}
				r.wantState(visitor, want)
			}
		}
		end(r.Finish, "buyer", waitroom.Done)
		end(r.Leave, "leaver", waitroom.Left)
		end(r.Leave, "waiter", waitroom.Left)
		end(r.Finish, "other", waitroom.Waiting) // has no turn to finish
		end(r.Leave, "buyer", waitroom.Done)     // it is over already
		if v := r.me("other"); v.Ahead != 0 {
			t.Errorf("other has %d ahead", v.Ahead)
		}
		if n := r.now(); n.Waiting != 1 || n.Ready != 0 || n.Shopping != 0 {
			t.Errorf("room %+v", n)
		}
		for _, do := range []func(context.Context, string, string) (waitroom.Visitor, error){r.Leave, r.Finish, r.see} {
			_, err := do(ctx, r.event, "stranger")
			wantFault(t, err, fault.UnknownVisitor)
		}
		if v := r.join("waiter"); v.Place != 5 || v.Ahead != 1 {
			t.Errorf("who left stands at the end: %+v", v)
		}
	}},
	{"a purchase that is paid after the lease", func(t *testing.T, rdb redis.UniversalClient) {
		s := wide()
		s.Throttle.Lease = 10 * time.Millisecond
		r := newRoom(t, rdb, s, redisstore.Options{}).shopOK()
		r.join("a")
		if _, err := r.Claim(t.Context(), r.event, "a"); err != nil {
			t.Fatal(err)
		}
		until(t, "the lease to end", func() bool { r.tick(); return r.me("a").State == waitroom.Expired })
		if v, err := r.Finish(t.Context(), r.event, "a"); err != nil || v.State != waitroom.Done {
			t.Errorf("Finish = %+v, %v", v, err)
		}
	}},
	{"a buyer who may buy more keeps the slot for a while", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, wide(), redisstore.Options{}).shopOK()
		ctx := t.Context()
		r.join("a")
		claimed, err := r.Claim(ctx, r.event, "a")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // again changes nothing
			v, err := r.FinishSoon(ctx, r.event, "a", 3*time.Second)
			left := v.Until.Sub(v.AsOf)
			if err != nil || v.State != waitroom.Shopping || left > 3*time.Second || !v.Claimed.Equal(claimed.Claimed) {
				t.Errorf("FinishSoon = %+v, %v; %v left", v, err, left)
			}
		}
		short := r.me("a").Until
		if v, err := r.FinishSoon(ctx, r.event, "a", time.Hour); err != nil || !v.Until.Equal(short) {
			t.Errorf("a long grace made the lease longer: %+v, %v", v, err)
		}
		until(t, "the lease to end", func() bool { r.tick(); return r.me("a").State == waitroom.Expired })
		_, err = r.FinishSoon(ctx, r.event, "stranger", time.Second)
		wantFault(t, err, fault.UnknownVisitor)
	}},
	{"the limit per address", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, wide(), redisstore.Options{})
		try := func(visitor, address string, place int64) error {
			_, _, err := r.Join(t.Context(), r.event, waitroom.Join{Visitor: visitor, Address: address, PerAddress: 3, Place: place, Epoch: 1})
			return err
		}
		for _, name := range names(3) {
			if err := try(name, "x", 0); err != nil {
				t.Fatal(err)
			}
		}
		err := try("fourth", "x", 0)
		wantFault(t, err, fault.TooMany)
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.RetryAfter <= 0 || f.RetryAfter > time.Minute {
			t.Errorf("when to come back: %v", err)
		}
		if err := try("visitor0001", "x", 0); err != nil {
			t.Errorf("somebody known is refused: %v", err)
		}
		if err := try("returning", "x", 40); err != nil {
			t.Errorf("somebody with a receipt is refused: %v", err)
		}
		if err := try("elsewhere", "y", 0); err != nil {
			t.Errorf("another address is refused: %v", err)
		}
		_, err = r.see(t.Context(), r.event, "fourth")
		wantFault(t, err, fault.UnknownVisitor)
		if ttl, err := rdb.PTTL(t.Context(), lua.JoinsKey(r.event, "x")).Result(); err != nil || ttl <= 0 || ttl > time.Minute {
			t.Errorf("the count lives for %v, %v", ttl, err)
		}
	}},
	{"a receipt restores its place", func(t *testing.T, rdb redis.UniversalClient) {
		s := wide()
		s.Next, s.Cursor = 100, 50
		r := newRoom(t, rdb, s, redisstore.Options{})
		back := func(visitor string, place, epoch int64) (waitroom.Visitor, waitroom.Outcome) {
			t.Helper()
			v, outcome, err := r.Join(t.Context(), r.event, waitroom.Join{Visitor: visitor, Place: place, Epoch: epoch})
			if err != nil {
				t.Fatal(err)
			}
			return v, outcome
		}
		if v := r.join("new"); v.Place != 101 {
			t.Errorf("a newcomer gets place %d, want 101", v.Place)
		}
		if v, outcome := back("seventy", 70, 1); v.Place != 70 || v.Ahead != 0 || outcome != waitroom.Restored {
			t.Errorf("seventy: %+v, %v", v, outcome)
		}
		if v, outcome := back("sixty", 60, 1); v.Place != 60 || v.Ahead != 0 || outcome != waitroom.Restored {
			t.Errorf("sixty: %+v, %v", v, outcome)
		}
		if v, _ := back("passed over", 40, 1); v.Place != 40 || v.Ahead != 0 {
			t.Errorf("before the cursor: %+v", v)
		}
		if v, outcome := back("seventy", 3, 1); v.Place != 70 || outcome != waitroom.Found {
			t.Errorf("a second receipt moved them: %+v", v)
		}
		if v, outcome := back("other line", 5, 2); v.Place != 102 || outcome != waitroom.Placed {
			t.Errorf("a receipt of another epoch: %+v, %v", v, outcome)
		}
		if v, _ := back("far", 5000, 1); v.Place != 5000 {
			t.Errorf("far: %+v", v)
		}
		if v := r.join("after far"); v.Place != 5001 {
			t.Errorf("a newcomer got in before a restored place: %+v", v)
		}
		r.shopOK()
		until(t, "all to be admitted", func() bool { r.tick(); return r.now().Waiting == 0 })
		if n := r.now(); n.Cursor != 5001 {
			t.Errorf("cursor %d", n.Cursor)
		}
	}},
	{"a restored room waits for those who come back, and starts with an empty bucket", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, wide(), redisstore.Options{})
		s := narrow(100)
		s.Event, s.Cursor, s.Next = r.event+"-lost", 10, 20
		if created, err := r.Seed(t.Context(), s, 50*time.Millisecond, 0); err != nil || !created {
			t.Fatal(created, err)
		}
		lost := &room{Store: r.Store, rdb: rdb, event: s.Event, t: t}
		t.Cleanup(func() {
			forgetRoom(context.Background(), rdb, s.Event)
		})
		lost.shopOK()
		lost.join("new")
		lost.tick()
		lost.wantState("new", waitroom.Waiting)
		until(t, "the return window to end", func() bool { return !lost.now().Quiet })
		if tick := lost.tick(); tick.Admitted != 0 {
			t.Errorf("the bucket was not empty: %+v", tick)
		}
		fast := 600_000
		lost.configure(waitroom.ThrottlePatch{RatePerMinute: &fast})
		until(t, "the line to move again", func() bool { lost.tick(); return lost.me("new").State == waitroom.Ready })
	}},
	{"the lobby moves first come, first served, and before anybody else", func(t *testing.T, rdb redis.UniversalClient) {
		s := wide()
		s.State = waitroom.Lobby
		r := newRoom(t, rdb, s, redisstore.Options{Move: 4}).shopOK()
		for i, name := range names(10) {
			v := r.join(name)
			if v.State != waitroom.InLobby || v.Place != 0 {
				t.Fatalf("%s: %+v", name, v)
			}
			if i == 5 {
				r.join(name) // twice
			}
		}
		if n := r.now(); n.Waiting != 10 || n.Joined != 10 {
			t.Fatalf("room %+v", n)
		}
		if _, err := r.Leave(t.Context(), r.event, "visitor0003"); err != nil {
			t.Fatal(err)
		}
		if changed, _, err := r.Change(t.Context(), r.event, waitroom.Open, "", 0, []waitroom.State{waitroom.Lobby}); err != nil || !changed {
			t.Fatal(changed, err)
		}
		if v := r.join("late"); v.State != waitroom.Waiting || v.Place != 11 {
			t.Errorf("who came after the opening: %+v", v)
		}
		if tick := r.tick(); !tick.Moving || tick.Admitted != 0 {
			t.Fatalf("in the middle of the move: %+v", tick)
		}
		r.wantState("visitor0000", waitroom.Waiting)
		r.wantState("visitor0009", waitroom.InLobby)
		// A tick that comes soon is not too soon while the lobby moves.
		if tick, err := r.Admit(t.Context(), r.event, time.Hour); err != nil || !tick.Ran || !tick.Moving {
			t.Fatalf("%+v, %v", tick, err)
		}
		last := r.tick()
		if last.Moving || last.Admitted != 10 {
			t.Fatalf("the end of the move: %+v", last)
		}
		place := int64(0)
		for _, name := range append(slices.Delete(names(10), 3, 4), "late") {
			v := r.me(name)
			if v.Place <= place || v.State != waitroom.Ready {
				t.Errorf("%s: %+v, want a place after %d", name, v, place)
			}
			place = v.Place
		}
	}},
	{"the schedule opens and closes", func(t *testing.T, rdb redis.UniversalClient) {
		now := time.Now()
		s := wide()
		s.State, s.LobbyOpensAt, s.OpensAt = waitroom.Scheduled, now.Add(20*time.Millisecond), now.Add(200*time.Millisecond)
		s.ClosesAt = now.Add(time.Hour)
		r := newRoom(t, rdb, s, redisstore.Options{})
		r.join("early")
		var seen []waitroom.State
		until(t, "the room to close", func() bool {
			r.tick()
			state := r.now().State
			if len(seen) == 0 || seen[len(seen)-1] != state {
				seen = append(seen, state)
			}
			if soon := time.Now(); state == waitroom.Open { // has been seen
				if err := r.Configure(t.Context(), r.event, waitroom.Patch{ClosesAt: &soon}, ""); err != nil {
					t.Fatal(err)
				}
			}
			return state == waitroom.Closed
		})
		if last := seen[len(seen)-2:]; last[0] != waitroom.Open {
			t.Errorf("went through %v", seen)
		}
		if n := r.now(); n.ClosedReason != "ended" || n.Waiting != 1 {
			t.Errorf("room %+v", n)
		}
	}},
	{"states allow what they should", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, wide(), redisstore.Options{}).shopOK()
		ctx := t.Context()
		to := func(state waitroom.State, reason string, from ...waitroom.State) (bool, waitroom.State) {
			t.Helper()
			changed, before, err := r.Change(ctx, r.event, state, reason, 0, from)
			if err != nil {
				t.Fatal(err)
			}
			return changed, before
		}
		if changed, before := to(waitroom.Open, "", waitroom.Paused); changed || before != waitroom.Open {
			t.Errorf("resume while open: %v, %v", changed, before)
		}
		to(waitroom.Paused, "", waitroom.Open)
		r.join("waiter")
		if tick := r.tick(); tick.Admitted != 0 {
			t.Errorf("admitted while paused: %+v", tick)
		}
		to(waitroom.Draining, "", waitroom.Paused)
		_, _, err := r.Join(ctx, r.event, waitroom.Join{Visitor: "late"})
		wantFault(t, err, fault.RoomClosed)
		if tick := r.tick(); tick.Admitted != 1 || !tick.Closed {
			t.Errorf("draining: %+v", tick)
		}
		if n := r.now(); n.State != waitroom.Closed || n.ClosedReason != "drained" {
			t.Errorf("room %+v", n)
		}
		_, _, err = r.Join(ctx, r.event, waitroom.Join{Visitor: "late"})
		wantFault(t, err, fault.RoomClosed)
		if v := r.join("waiter"); v.State != waitroom.Ready {
			t.Errorf("somebody known, in a closed room: %+v", v)
		}
		if v, err := r.Claim(ctx, r.event, "waiter"); err != nil || v.State != waitroom.Shopping {
			t.Errorf("a turn outlives the room: %+v, %v", v, err)
		}
		to(waitroom.Open, "", waitroom.Closed)
		if n := r.now(); n.State != waitroom.Open || n.ClosedReason != "" {
			t.Errorf("reopened: %+v", n)
		}
		if err := r.SetMessage(ctx, r.event, "Doors are late: \"sorry\" – 50 % of you"); err != nil {
			t.Fatal(err)
		}
		if n := r.now(); n.Message != "Doors are late: \"sorry\" – 50 % of you" {
			t.Errorf("message %q", n.Message)
		}
	}},
	{"a survey sees what single calls see", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, narrow(4), redisstore.Options{}).shopOK()
		all := names(12)
		for _, name := range all {
			r.join(name)
		}
		ctx := t.Context()
		for i, do := range []func(context.Context, string, string) (waitroom.Visitor, error){r.Claim, r.Leave, r.Finish} {
			if _, err := do(ctx, r.event, all[i]); err != nil {
				t.Fatal(err)
			}
		}
		q := waitroom.Query{Front: 3, Scores: general(1, 5, 9, 12, 99), Visitors: append(slices.Clone(all), "stranger")}
		s, err := r.Survey(ctx, r.event, q)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(s.Front, general(5, 6, 7)) || !slices.Equal(s.Ahead, []int{0, 0, 4, 7, 8}) {
			t.Errorf("front %v, ahead %v", s.Front, s.Ahead)
		}
		for i, name := range all {
			want := r.me(name)
			want.Ahead, want.AsOf = 0, s.Room.AsOf
			if s.Visitors[i] != want {
				t.Errorf("%s: survey %+v, alone %+v", name, s.Visitors[i], want)
			}
		}
		if last := s.Visitors[len(all)]; last.State != waitroom.Unknown || last.ID != "stranger" {
			t.Errorf("a stranger: %+v", last)
		}
		if s.Room.Waiting != 8 || s.Room.Ready != 1 || s.Room.Shopping != 1 {
			t.Errorf("room %+v", s.Room)
		}
	}},
	{"the pace of the line", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, narrow(3), redisstore.Options{})
		for _, name := range names(5) {
			r.join(name)
		}
		r.shopOK()
		r.tick()
		count, busy := 0, false
		for _, p := range r.now().Pace { // a slot may have ended in between
			count += p.Admitted
			busy = busy || p.Busy
		}
		n := r.now()
		if count != 3 || !busy || n.AdmittedLastMinute() != 3 {
			t.Errorf("pace %v", n.Pace)
		}
		one := 1
		r.configure(waitroom.ThrottlePatch{Burst: &one})
		if p := r.now().Pace; len(p) != 0 {
			t.Errorf("after a change of the throttle: %v", p)
		}
	}},
	{"numbers keep all their digits", func(t *testing.T, rdb redis.UniversalClient) {
		s := wide()
		s.Next, s.Cursor = 99_999_999_998, 99_999_999_997
		r := newRoom(t, rdb, s, redisstore.Options{})
		if v := r.join("a"); v.Place != 99_999_999_999 {
			t.Errorf("place %d, want 99999999999", v.Place)
		}
		stored, err := rdb.HGet(t.Context(), lua.RoomKey(r.event), "next").Result()
		if err != nil || stored != "99999999999" {
			t.Errorf("stored as %q, %v", stored, err)
		}
	}},
	{"what the nodes say of the shop", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, wide(), redisstore.Options{})
		names := []string{pass.NewVisitor(), pass.NewVisitor()}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			rdb.HDel(ctx, lua.ShopsKey, names...)
		})
		said := []waitroom.Health{{Requests: 7, P95: time.Second}, {Requests: 9, ErrorShare: 0.25, PoolShare: 0.5}}
		for i, name := range names {
			all, err := r.Health(t.Context(), name, said[i], time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range said[:i+1] { // other tests may have said something too
				if !slices.Contains(all, h) {
					t.Errorf("heard %+v, without %+v", all, h)
				}
			}
		}
	}},
	{"a code for another device is taken once", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, wide(), redisstore.Options{})
		ctx := t.Context()
		if err := r.PutHandover(ctx, r.event, "digest", "a", time.Minute, 1); err != nil {
			t.Fatal(err)
		}
		if id, err := r.TakeHandover(ctx, r.event, "digest"); id != "a" || err != nil {
			t.Errorf("taken: %q, %v", id, err)
		}
		_, err := r.TakeHandover(ctx, r.event, "digest")
		wantFault(t, err, fault.HandoverInvalid)
		wantFault(t, r.PutHandover(ctx, r.event, "another", "a", time.Minute, 1), fault.TooMany)
	}},
	{"turns outlive the store", func(t *testing.T, rdb redis.UniversalClient) {
		s := wide()
		s.Throttle.MaxShoppers = 3
		r := newRoom(t, rdb, s, redisstore.Options{}).shopOK()
		ctx := t.Context()
		for _, id := range []string{"shops", "done", "ready", "left", "waits"} {
			r.join(id)
		}
		r.tick()
		for _, id := range []string{"shops", "done"} {
			if _, err := r.Claim(ctx, r.event, id); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.Finish(ctx, r.event, "done"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Leave(ctx, r.event, "left"); err != nil {
			t.Fatal(err)
		}
		var u waitroom.Unsaved
		until(t, "the turns to be listed", func() (ok bool) { // not those of this millisecond
			var err error
			if u, err = r.Unsaved(ctx, r.event, 10); err != nil {
				t.Fatal(err)
			}
			return len(u.Turns) == 4
		})
		if err := r.Saved(ctx, r.event, u); err != nil {
			t.Fatal(err)
		}
		if again, err := r.Unsaved(ctx, r.event, 10); err != nil || len(again.Turns) != 0 {
			t.Errorf("unsaved after saving: %+v, %v", again, err)
		}
		want := make(map[string]waitroom.Visitor)
		for _, turn := range u.Turns {
			want[turn.Visitor] = r.me(turn.Visitor)
		}
		forgetRoom(ctx, rdb, r.event)
		if err := r.Restore(ctx, r.event, u.Turns); err != nil {
			t.Fatal(err)
		}
		s.Event, s.Next = r.event, 1000
		if created, err := r.Seed(ctx, s, 0, len(u.Turns)); !created || err != nil {
			t.Fatalf("Seed = %v, %v", created, err)
		}
		for id, w := range want {
			if v := r.me(id); v.State != w.State || v.Place != w.Place || !v.Until.Equal(w.Until) || !v.Claimed.Equal(w.Claimed) {
				t.Errorf("%s is\n%+v, was\n%+v", id, v, w)
			}
		}
	}},
	{"drawn places are brought once", func(t *testing.T, rdb redis.UniversalClient) {
		s := wide()
		s.State, s.Order = waitroom.Lobby, waitroom.DrawOrder
		s.Draw.Secret = waitroom.NewSecret()
		r := newRoom(t, rdb, s, redisstore.Options{})
		ctx := t.Context()
		for _, id := range names(5) {
			r.join(id)
		}
		if changed, _, err := r.Change(ctx, r.event, waitroom.Open, "", 0, []waitroom.State{waitroom.Lobby}); !changed || err != nil {
			t.Fatalf("Change = %v, %v", changed, err)
		}
		list, err := r.Gathered(ctx, r.event, 10)
		if err != nil || len(list) != 5 {
			t.Fatalf("Gathered = %v, %v", list, err)
		}
		for i := range list {
			list[i].Place = 6 - list[i].Index // a draw that turns the lobby around
		}
		for range 2 {
			if err := r.Place(ctx, r.event, list); err != nil {
				t.Fatal(err)
			}
		}
		r.tick()
		if n := r.now(); n.Moving || n.Waiting != 5 {
			t.Errorf("room %+v", n)
		}
		for i, id := range names(5) {
			if v := r.me(id); v.Place != int64(5-i) || v.Ahead != 4-i {
				t.Errorf("%s: %+v", id, v)
			}
		}
	}},
	{"news tell what happened", func(t *testing.T, rdb redis.UniversalClient) {
		r := newRoom(t, rdb, wide(), redisstore.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		heard := make(chan waitroom.News, 100)
		ready := make(chan struct{})
		var once sync.Once
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = r.News(ctx, func(n waitroom.News) {
				switch n.Event {
				case "":
					once.Do(func() { close(ready) })
				case r.event:
					heard <- n
				}
			})
		})
		defer wg.Wait()
		defer cancel()
		<-ready
		expect := func(visitors string, admitted bool) {
			t.Helper()
			for {
				select {
				case n := <-heard:
					if len(n.Visitors) == 0 && visitors != "" {
						continue // of the seeding: a cluster's masters tell each other late
					}
					if strings.Join(n.Visitors, " ") != visitors || n.Admitted != admitted {
						t.Errorf("heard %+v, want %q, %v", n, visitors, admitted)
					}
					return
				case <-time.After(time.Minute):
					t.Fatalf("heard nothing of %q", visitors)
				}
			}
		}
		r.join("a")
		r.join("b")
		r.shopOK()
		expect("", false)
		r.tick()
		expect("a b", true)
		if _, err := r.Claim(t.Context(), r.event, "a"); err != nil {
			t.Fatal(err)
		}
		expect("a", false)
		if err := r.SetMessage(t.Context(), r.event, "hi"); err != nil {
			t.Fatal(err)
		}
		expect("", false)
	}},
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			rdb := client(t, server.start(t))
			for _, c := range conformance {
				t.Run(c.name, func(t *testing.T) { c.test(t, rdb) })
			}
		})
	}
}

// A server that has forgotten the scripts is sent them again.
func TestScriptsAreSentAgain(t *testing.T) {
	t.Parallel()
	rdb := client(t, stacktest.Miniredis(t).URL())
	r := newRoom(t, rdb, wide(), redisstore.Options{}).shopOK()
	r.join("a")
	if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if v := r.join("b"); v.State != waitroom.Ready {
		t.Errorf("%+v", v)
	}
	if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	rush(t, r, 100, func(int) context.Context { return t.Context() })
	if n := r.now().Joined; n != 102 {
		t.Errorf("%d joined, want 102", n)
	}
}

// rush joins n visitors at the same time; a join may fail only by the end of
// its own context.
func rush(t *testing.T, r *room, n int, with func(i int) context.Context) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			ctx := with(i)
			_, _, err := r.Join(ctx, r.event, waitroom.Join{Visitor: fmt.Sprintf("rush%04d", i)})
			if err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
				t.Errorf("join %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// Calls that travel together fail alone: who gives up takes nobody along.
func TestCallsThatTravelTogether(t *testing.T) {
	t.Parallel()
	r := newRoom(t, client(t, stacktest.Redis(t).URL()), wide(), redisstore.Options{})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	rush(t, r, 400, func(i int) context.Context {
		if i%3 == 0 {
			return gone
		}
		return t.Context()
	})
	for i := range 400 {
		if i%3 != 0 {
			r.wantState(fmt.Sprintf("rush%04d", i), waitroom.Waiting)
		}
	}
}
