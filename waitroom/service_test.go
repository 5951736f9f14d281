package waitroom_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"onsale/internal/fault"
	"onsale/waitroom"
	"onsale/waitroom/pass"
	"onsale/waitroom/redisstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const event = "0190b0a0-0000-7000-8000-000000000001"

// archive is a waitroom.Archive in memory that can be down.
type archive struct {
	mu      sync.Mutex
	down    bool
	rooms   map[string]waitroom.Checkpoint
	secrets map[string]string
	turns   map[string]waitroom.Turn // of the one room there is
	changes []waitroom.Change
	log     []waitroom.Admission
}

var _ waitroom.Archive = (*archive)(nil)

var errDown = errors.New("the archive is down")

// do runs f unless the archive is down.
func (a *archive) do(f func()) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down {
		return errDown
	}
	f()
	return nil
}

func (a *archive) Rooms(context.Context) (all []waitroom.Checkpoint, err error) {
	return all, a.do(func() {
		for _, c := range a.rooms {
			all = append(all, c)
		}
	})
}

func (a *archive) SaveRoom(_ context.Context, s waitroom.Settings) error {
	return a.do(func() { a.rooms[s.Event] = waitroom.Checkpoint{Settings: s, Lived: true} })
}

func (a *archive) Secret(_ context.Context, event, proposed string) (secret string, err error) {
	return secret, a.do(func() {
		if a.secrets[event] == "" {
			a.secrets[event] = proposed
		}
		secret = a.secrets[event]
	})
}

func (a *archive) SaveTurns(_ context.Context, _ string, _ int64, turns []waitroom.Turn) error {
	return a.do(func() {
		for _, t := range turns {
			if t.State == waitroom.Unknown {
				delete(a.turns, t.Visitor)
			} else {
				a.turns[t.Visitor] = t
			}
		}
	})
}

func (a *archive) Turns(_ context.Context, _ string, _ int64, after string, limit int) (list []waitroom.Turn, err error) {
	return list, a.do(func() {
		for _, visitor := range slices.Sorted(maps.Keys(a.turns)) {
			if visitor > after && len(list) < limit {
				list = append(list, a.turns[visitor])
			}
		}
	})
}

func (a *archive) Changed(_ context.Context, _ string, changes []waitroom.Change) error {
	return a.do(func() { a.changes = append(a.changes, changes...) })
}

func (a *archive) Admitted(_ context.Context, entries []waitroom.Admission) error {
	return a.do(func() { a.log = append(a.log, entries...) })
}

func (a *archive) setDown(down bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = down
}

func (a *archive) room() waitroom.Settings {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rooms[event].Settings
}

func (a *archive) admitted() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.log {
		n += e.Count
	}
	return n
}

// door is a Service on a miniredis of its own.
type door struct {
	*waitroom.Service
	t       testing.TB
	redis   *miniredis.Miniredis
	archive *archive
	keys    *pass.KeySet
}

func settings() waitroom.Settings {
	return waitroom.Settings{Event: event, Name: "Night", State: waitroom.Open, Epoch: 1, Throttle: waitroom.Throttle{
		RatePerMinute: 60_000, Burst: 100, MaxShoppers: 100, Lease: time.Minute, ClaimWindow: time.Minute,
	}}
}

func newDoor(t testing.TB, s waitroom.Settings, o waitroom.Options) *door {
	t.Helper()
	d := &door{
		t: t, redis: miniredis.RunT(t), keys: pass.Generate(),
		archive: &archive{
			rooms:   map[string]waitroom.Checkpoint{s.Event: {Settings: s}},
			secrets: make(map[string]string), turns: make(map[string]waitroom.Turn),
		},
	}
	rdb := redis.NewClient(&redis.Options{Addr: d.redis.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = rdb.Close() })
	var err error
	d.Service, err = waitroom.New(waitroom.Deps{
		Store: redisstore.New(rdb).WithOptions(redisstore.Options{Timeout: 10 * time.Second}), Archive: d.archive, Keys: d.keys, Now: time.Now,
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Options: o,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *door) join(r waitroom.JoinRequest) waitroom.Joined {
	d.t.Helper()
	r.Event = event
	j, err := d.Join(d.t.Context(), r)
	if err != nil {
		d.t.Fatal(err)
	}
	return j
}

func (d *door) shopOK() {
	d.t.Helper()
	if err := d.ShopOK(d.t.Context(), event, -1, -1, 0); err != nil {
		d.t.Fatal(err)
	}
}

func (d *door) tick() {
	d.t.Helper()
	if err := d.TickAll(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *door) me(visitor string) waitroom.Me {
	d.t.Helper()
	me, err := d.Me(d.t.Context(), event, visitor)
	if err != nil {
		d.t.Fatal(err)
	}
	return me
}

// state looks without being seen, and as often as it likes.
func (d *door) state(visitor string) waitroom.VisitorState {
	d.t.Helper()
	v, err := d.LookUp(d.t.Context(), event, visitor)
	if err != nil {
		d.t.Fatal(err)
	}
	return v.State
}

func wantFault(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Errorf("error %v, want %s", err, code)
	}
}

func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

func TestJourneyThroughTheRoom(t *testing.T) {
	t.Parallel()
	d := newDoor(t, settings(), waitroom.Options{})
	ctx := t.Context()
	joined := d.join(waitroom.JoinRequest{})
	if joined.State != waitroom.Waiting || *joined.Place != 1 || *joined.Ahead != 0 || joined.VisitorToken == "" ||
		joined.Receipt == nil || joined.Pass != nil || joined.ClaimBy != nil || joined.LeaseEnds != nil || joined.Wait != nil ||
		joined.Room.Reason == nil || *joined.Room.Reason != waitroom.ReasonShopDown || joined.Room.Waiting != 1 || joined.PollAfter <= 0 {
		t.Fatalf("joined: %+v", joined)
	}
	id, err := d.keys.Visitor(joined.VisitorToken, time.Now())
	if err != nil || id != joined.Visitor {
		t.Fatalf("visitor token: %q, %v", id, err)
	}
	again := d.join(waitroom.JoinRequest{Visitor: id})
	if again.VisitorToken != "" || *again.Place != 1 || *again.Receipt != *joined.Receipt {
		t.Errorf("joined again: %+v", again)
	}
	d.shopOK()
	d.tick()
	ready := d.me(id)
	if ready.State != waitroom.Ready || ready.ClaimBy == nil || ready.Pass != nil || *ready.Ahead != 0 {
		t.Errorf("ready: %+v", ready)
	}
	claimed, err := d.Claim(ctx, event, id)
	if err != nil || claimed.State != waitroom.Shopping || claimed.LeaseEnds == nil || claimed.Pass == nil {
		t.Fatalf("claimed: %+v, %v", claimed, err)
	}
	p, err := d.keys.Pass(*claimed.Pass, event, time.Now())
	if err != nil || p.Visitor != id || p.Expires.After(*claimed.LeaseEnds) {
		t.Errorf("pass: %+v, %v", p, err)
	}
	if twice, err := d.Claim(ctx, event, id); err != nil || *twice.Pass != *claimed.Pass {
		t.Errorf("claiming again gives another pass: %v", err)
	}
	if me := d.me(id); *me.Pass != *claimed.Pass {
		t.Error("asking again gives another pass")
	}
	if err := d.Finish(ctx, event, id, false); err != nil {
		t.Fatal(err)
	}
	if me := d.me(id); me.State != waitroom.Done || me.Pass != nil || me.Receipt != nil {
		t.Errorf("done: %+v", me)
	}
	if err := d.Finish(ctx, event, pass.NewVisitor(), true); err != nil {
		t.Errorf("finishing a stranger: %v", err)
	}
}

func TestWhoseReceiptIsIt(t *testing.T) {
	t.Parallel()
	d := newDoor(t, settings(), waitroom.Options{})
	d.join(waitroom.JoinRequest{})
	mine := d.join(waitroom.JoinRequest{})
	d.redis.FlushAll()
	// Without a token the receipt says who it is; the room comes back from the
	// archive on the way.
	back := d.join(waitroom.JoinRequest{Receipt: *mine.Receipt})
	if back.Visitor != mine.Visitor || *back.Place != 2 || back.VisitorToken == "" {
		t.Errorf("back: %+v", back)
	}
	other := d.join(waitroom.JoinRequest{Visitor: pass.NewVisitor(), Receipt: *mine.Receipt})
	if *other.Place != 3 {
		t.Errorf("somebody else got place %d by my receipt", *other.Place)
	}
	foreign := d.keys.SignReceipt(pass.Receipt{Visitor: pass.NewVisitor(), Event: "another", Place: 1, Epoch: 1, Lane: 4})
	for _, bad := range []string{foreign, "nonsense", mine.VisitorToken} {
		if j := d.join(waitroom.JoinRequest{Receipt: bad}); *j.Place < 4 {
			t.Errorf("receipt %q gave place %d", bad, *j.Place)
		}
	}
	_, err := d.Join(t.Context(), waitroom.JoinRequest{Event: event, Visitor: "not an id"})
	wantFault(t, err, fault.Unauthorized)
}

func TestJoinsPerAddress(t *testing.T) {
	t.Parallel()
	d := newDoor(t, settings(), waitroom.Options{JoinsPerMinute: 2})
	d.join(waitroom.JoinRequest{Address: "2001:db8::1"})
	known := d.join(waitroom.JoinRequest{Address: "2001:db8::2"})
	_, err := d.Join(t.Context(), waitroom.JoinRequest{Event: event, Address: "2001:db8::3"})
	wantFault(t, err, fault.TooMany)
	d.join(waitroom.JoinRequest{Address: "2001:db8:0:1::3"})
	d.join(waitroom.JoinRequest{Address: "2001:db8::3", Visitor: known.Visitor})
	for _, key := range d.redis.Keys() {
		if slices.Contains([]string{"2001:db8::1"}, key) {
			t.Errorf("an address is kept in %q", key)
		}
	}
}

func TestOperatorsChangeTheRoom(t *testing.T) {
	t.Parallel()
	d := newDoor(t, settings(), waitroom.Options{})
	ctx := t.Context()
	waiting := d.join(waitroom.JoinRequest{})
	state := func(want waitroom.State) {
		t.Helper()
		if room, err := d.Room(ctx, event); err != nil || room.State != want {
			t.Errorf("room is %q, %v; want %q", room.State, err, want)
		}
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	wantFault(t, d.Open(ctx, event), fault.Conflict)
	wantFault(t, d.Resume(ctx, event), fault.Conflict)
	ok(d.Pause(ctx, event))
	state(waitroom.Paused)
	wantFault(t, d.Pause(ctx, event), fault.Conflict)
	wantFault(t, d.Open(ctx, event), fault.Conflict)
	if me := d.me(waiting.Visitor); me.State != waitroom.Waiting || *me.Room.Reason != waitroom.ReasonPaused {
		t.Errorf("paused: %+v", me)
	}
	ok(d.Resume(ctx, event))
	state(waitroom.Open)
	ok(d.Message(ctx, event, "hello"))
	if me := d.me(waiting.Visitor); me.Room.Message == nil || *me.Room.Message != "hello" {
		t.Errorf("message: %+v", me.Room)
	}
	ok(d.Message(ctx, event, ""))
	if me := d.me(waiting.Visitor); me.Room.Message != nil {
		t.Errorf("message: %+v", me.Room)
	}
	for _, bad := range []string{"\x00", "a\x1bb", "\xff", string(make([]rune, 501))} {
		wantFault(t, d.Message(ctx, event, bad), fault.Invalid)
	}
	rate, wrong := 120, -1
	ok(d.Configure(ctx, event, waitroom.Patch{Throttle: waitroom.ThrottlePatch{RatePerMinute: &rate}}))
	if room, _ := d.Room(ctx, event); room.Throttle.RatePerMinute != 120 || room.Throttle.Burst != 100 {
		t.Errorf("throttle %+v", room.Throttle)
	}
	wantFault(t, d.Configure(ctx, event, waitroom.Patch{Throttle: waitroom.ThrottlePatch{RatePerMinute: &wrong, Burst: &wrong}}), fault.Invalid)
	ok(d.Configure(ctx, event, waitroom.Patch{}))
	ok(d.Drain(ctx, event, 0))
	_, err := d.Join(ctx, waitroom.JoinRequest{Event: event})
	wantFault(t, err, fault.RoomClosed)
	ok(d.Close(ctx, event, "sold_out"))
	wantFault(t, d.Close(ctx, event, "again"), fault.Conflict)
	if me := d.me(waiting.Visitor); me.State != waitroom.ShutOut || *me.Room.ClosedReason != "sold_out" || me.Wait != nil || me.Ahead != nil || me.Receipt != nil {
		t.Errorf("closed: %+v", me)
	}
	ok(d.Open(ctx, event))
	state(waitroom.Open)
	for _, err := range []error{
		d.Pause(ctx, "nowhere"), d.Message(ctx, "nowhere", "x"), d.ShopOK(ctx, "nowhere", 1, 1, 0), d.ShopDown(ctx, "nowhere"),
		d.Configure(ctx, "nowhere", waitroom.Patch{}), d.Configure(ctx, "nowhere", waitroom.Patch{Throttle: waitroom.ThrottlePatch{RatePerMinute: &rate}}),
	} {
		wantFault(t, err, fault.NotFound)
	}
}

func TestSettingsAreValidated(t *testing.T) {
	t.Parallel()
	d := newDoor(t, settings(), waitroom.Options{})
	for name, change := range map[string]func(*waitroom.Settings){
		"no event":   func(s *waitroom.Settings) { s.Event = "" },
		"a hash tag": func(s *waitroom.Settings) { s.Event = "a}{b" },
		"state":      func(s *waitroom.Settings) { s.State = "ajar" },
		"rate":       func(s *waitroom.Settings) { s.Throttle.RatePerMinute = -1 },
		"burst":      func(s *waitroom.Settings) { s.Throttle.Burst = 0 },
		"shoppers":   func(s *waitroom.Settings) { s.Throttle.MaxShoppers = 2_000_000 },
		"lease":      func(s *waitroom.Settings) { s.Throttle.Lease = time.Second },
		"window":     func(s *waitroom.Settings) { s.Throttle.ClaimWindow = 2 * time.Hour },
	} {
		s := settings()
		change(&s)
		if _, err := d.Seed(t.Context(), s); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// run runs the service until the returned function is called.
func (d *door) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				d.t.Errorf("Run: %v", err)
			}
		})
	}
	d.t.Cleanup(stop)
	return stop
}

func TestRunSeedsTicksAndCheckpoints(t *testing.T) {
	t.Parallel()
	d := newDoor(t, settings(), waitroom.Options{Tick: 5 * time.Millisecond, Checkpoint: 5 * time.Millisecond})
	stop := d.run()
	until(t, "the room to be created", func() bool { _, err := d.Room(t.Context(), event); return err == nil })
	var ids []string
	for range 5 {
		ids = append(ids, d.join(waitroom.JoinRequest{}).Visitor)
	}
	until(t, "everybody to be admitted", func() bool {
		d.shopOK()
		return !slices.ContainsFunc(ids, func(id string) bool { return d.state(id) != waitroom.Ready })
	})
	d.shopOK()
	instant := d.join(waitroom.JoinRequest{})
	if instant.State != waitroom.Ready {
		t.Errorf("nobody waited: %+v", instant)
	}
	stop()
	if got := d.archive.room(); got.Cursor != 6 || got.Next != 6 {
		t.Errorf("checkpoint %+v", got)
	}
	if n := d.archive.admitted(); n != 6 {
		t.Errorf("%d admissions in the log", n)
	}
	rooms, err := d.Rooms(t.Context())
	if err != nil || len(rooms) != 1 || rooms[0].Event != event {
		t.Errorf("Rooms = %+v, %v", rooms, err)
	}
}

// Redis loses everything in the middle of the sale: the room is rebuilt from its
// checkpoint, places come back by receipt, and nobody new gets before them (G5).
func TestPlacesSurviveTheLossOfTheStore(t *testing.T) {
	t.Parallel()
	s := settings()
	s.Throttle.RatePerMinute, s.Throttle.Burst = 1000, 2
	d := newDoor(t, s, waitroom.Options{Tick: 5 * time.Millisecond, Checkpoint: 5 * time.Millisecond, ReturnWindow: 300 * time.Millisecond})
	d.run()
	until(t, "the room to be created", func() bool { _, err := d.Room(t.Context(), event); return err == nil })
	var all []waitroom.Joined
	for range 10 {
		all = append(all, d.join(waitroom.JoinRequest{}))
	}
	d.shopOK()
	until(t, "some to be admitted, and that to be saved", func() bool { return d.archive.room().Cursor >= 2 })
	if err := d.Pause(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	until(t, "the pause to be saved", func() bool { return d.archive.room().State == waitroom.Paused })
	cursor := d.archive.room().Cursor
	d.redis.FlushAll()
	until(t, "the room to be rebuilt", func() bool {
		room, err := d.Room(t.Context(), event)
		return err == nil && room.State == waitroom.Paused && room.Cursor == cursor && room.Waiting == 0
	})
	if err := d.Resume(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	newcomer := d.join(waitroom.JoinRequest{})
	if *newcomer.Place <= 1_000_000 || newcomer.State != waitroom.Waiting {
		t.Errorf("newcomer: %+v", newcomer)
	}
	for i := len(all) - 1; i >= int(cursor); i-- { // in the wrong order
		back := d.join(waitroom.JoinRequest{Visitor: all[i].Visitor, Receipt: *all[i].Receipt})
		if *back.Place != *all[i].Place || *back.Receipt != *all[i].Receipt {
			t.Errorf("%d came back to %+v", i, back)
		}
	}
	if me := d.me(newcomer.Visitor); me.State != waitroom.Waiting || *me.Ahead != len(all)-int(cursor) {
		t.Errorf("newcomer behind those who came back: %+v", me)
	}
	until(t, "the line to move in its order", func() bool {
		d.shopOK()
		return d.state(newcomer.Visitor) == waitroom.Ready
	})
	last := time.Time{}
	for _, j := range all[cursor:] {
		v, err := d.LookUp(t.Context(), event, j.Visitor)
		if err != nil || v.State != waitroom.Ready || v.Admitted.Before(last) {
			t.Errorf("%+v, %v; the one before came at %v", v, err, last)
		}
		last = v.Admitted
	}
}

func TestArchiveIsDown(t *testing.T) {
	t.Parallel()
	d := newDoor(t, settings(), waitroom.Options{Tick: 5 * time.Millisecond, Checkpoint: 5 * time.Millisecond})
	d.run()
	until(t, "the room to be created", func() bool { _, err := d.Room(t.Context(), event); return err == nil })
	d.archive.setDown(true)
	id := d.join(waitroom.JoinRequest{}).Visitor
	until(t, "the line to move all the same", func() bool { d.shopOK(); return d.state(id) == waitroom.Ready })
	d.archive.setDown(false)
	until(t, "the log to be written after all", func() bool { return d.archive.admitted() == 1 && d.archive.room().Cursor == 1 })
}

func TestStoreIsDown(t *testing.T) {
	t.Parallel()
	d := newDoor(t, settings(), waitroom.Options{Tick: 5 * time.Millisecond, Checkpoint: 5 * time.Millisecond})
	d.run()
	until(t, "the room to be created", func() bool { _, err := d.Room(t.Context(), event); return err == nil })
	joined := d.join(waitroom.JoinRequest{})
	d.redis.Close()
	_, err := d.Join(t.Context(), waitroom.JoinRequest{Event: event})
	wantFault(t, err, fault.Unavailable)
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.RetryAfter <= 0 {
		t.Errorf("nobody is told when to come back: %v", err)
	}
	_, err = d.Me(t.Context(), event, joined.Visitor)
	wantFault(t, err, fault.Unavailable)
	if err := d.redis.Restart(); err != nil {
		t.Fatal(err)
	}
	until(t, "the line to move again", func() bool { d.shopOK(); return d.state(joined.Visitor) == waitroom.Ready })
}

func TestNewWantsItsParts(t *testing.T) {
	t.Parallel()
	if _, err := waitroom.New(waitroom.Deps{}); err == nil {
		t.Error("a service of nothing")
	}
}
