package waitroom_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"onsale/internal/fault"
	"onsale/waitroom"
)

// lose empties the store and has the room rebuilt.
func (d *door) lose() {
	d.t.Helper()
	d.redis.FlushAll()
	d.tick()
}

func (d *door) seed(s waitroom.Settings) {
	d.t.Helper()
	if _, err := d.Seed(d.t.Context(), s); err != nil {
		d.t.Fatal(err)
	}
}

func (d *door) checkpoint() {
	d.t.Helper()
	// Turns that changed within this very millisecond are saved by the next one.
	<-time.After(2 * time.Millisecond)
	if err := d.Checkpoint(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *door) lookUp(visitor string) waitroom.Visitor {
	d.t.Helper()
	v, err := d.LookUp(d.t.Context(), event, visitor)
	if err != nil {
		d.t.Fatal(err)
	}
	return v
}

// at sets the store's clock.
func (d *door) at(since time.Duration) { d.redis.SetTime(time.Unix(1_900_000_000, 0).Add(since)) }

// Whoever came back to a missed turn in time waits for the second one. The loss
// does not turn this into the end of the line, however long they have waited,
// and with or without a receipt (G5).
func TestLossKeepsSecondChances(t *testing.T) {
	t.Parallel()
	s := settings()
	s.Throttle.MaxShoppers, s.Throttle.ClaimWindow, s.Throttle.Grace = 1, 5*time.Second, 10*time.Second
	d := newDoor(t, s, waitroom.Options{ReturnWindow: -1})
	d.at(0)
	d.seed(s)
	d.shopOK()
	first, behind := d.join(waitroom.JoinRequest{}), d.join(waitroom.JoinRequest{})
	d.at(6 * time.Second) // the first misses their turn, the next has it
	d.shopOK()
	d.tick()
	if d.state(first.Visitor) != waitroom.Expired || d.state(behind.Visitor) != waitroom.Ready {
		t.Fatalf("first %v, behind %v", d.state(first.Visitor), d.state(behind.Visitor))
	}
	if _, err := d.Claim(t.Context(), event, behind.Visitor); err != nil {
		t.Fatal(err)
	}
	third := d.join(waitroom.JoinRequest{})
	back := d.join(waitroom.JoinRequest{Visitor: first.Visitor})
	if back.State != waitroom.Waiting || *back.Place != *first.Place || *back.Ahead != 0 {
		t.Fatalf("a second chance: %+v", back)
	}
	d.at(50 * time.Second) // long after the grace time
	d.checkpoint()
	d.lose()
	if v := d.lookUp(first.Visitor); v.State != waitroom.Waiting || v.Place != *first.Place {
		t.Errorf("the second chance after the loss: %+v", v)
	}
	d.join(waitroom.JoinRequest{Visitor: third.Visitor, Receipt: *third.Receipt})
	again := d.join(waitroom.JoinRequest{Visitor: first.Visitor, Receipt: *back.Receipt})
	if again.State != waitroom.Waiting || *again.Place != *first.Place || *again.Ahead != 0 {
		t.Errorf("back after the loss: %+v", again)
	}
}

// What was let in before the loss counts for the throttle after it, also when no
// checkpoint knows of it (G4).
func TestLossBeforeTheFirstCheckpointKeepsTheThrottle(t *testing.T) {
	t.Parallel()
	s := settings()
	s.Throttle.RatePerMinute, s.Throttle.Burst = 60, 10
	d := newDoor(t, s, waitroom.Options{ReturnWindow: -1})
	d.at(0)
	d.seed(s)
	d.checkpoint()
	d.shopOK()
	for range 10 {
		if j := d.join(waitroom.JoinRequest{}); j.State != waitroom.Ready {
			t.Fatalf("%+v", j)
		}
	}
	d.archive.mu.Lock()
	for name, c := range d.archive.rooms { // the checkpoint of an untouched room
		c.Lived = true
		d.archive.rooms[name] = c
	}
	d.archive.mu.Unlock()
	d.lose()
	d.at(3 * time.Second)
	d.shopOK()
	for range 10 {
		d.join(waitroom.JoinRequest{})
	}
	room, err := d.Store.Room(t.Context(), event)
	if err != nil || room.Admitted > 3 {
		t.Errorf("%d were let in within 3 s after the loss, at 60 a minute: %v", room.Admitted, err)
	}
}

// A lobby that is lost right after the opening is not drawn anew: places that
// some were told already go on to hold for all (G3).
func TestLossDuringTheDraw(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d, ids := drawDoor(t, 50, nil)
	receipts := make([]string, len(ids))
	for i, id := range ids {
		receipts[i] = *d.join(waitroom.JoinRequest{Visitor: id}).Receipt
	}
	d.checkpoint()
	if err := d.Open(ctx, event); err != nil { // before the next checkpoint
		t.Fatal(err)
	}
	d.tick()
	drawn := d.room()
	told := make(map[string]int64)
	for i, id := range ids[:20] { // these were told their places
		v := d.lookUp(id)
		told[id] = v.Place
		receipts[i] = *d.join(waitroom.JoinRequest{Visitor: id}).Receipt
	}
	d.lose()
	room := d.room()
	if room.Draw != drawn.Draw {
		t.Fatalf("the draw became\n%+v, was\n%+v", room.Draw, drawn.Draw)
	}
	newcomer := d.join(waitroom.JoinRequest{})
	for i, id := range slices.Backward(ids) {
		d.join(waitroom.JoinRequest{Visitor: id, Receipt: receipts[i]})
	}
	d.tick()
	seed, err := drawn.Draw.Seed()
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		want := drawn.Draw.Base + waitroom.Permute(seed, int64(i), drawn.Draw.N) + 1
		if v := d.lookUp(id); v.Place != want || v.State != waitroom.Waiting || told[id] != 0 && told[id] != want {
			t.Errorf("visitor %d: %+v; drawn was place %d, told %d", i, v, want, told[id])
		}
	}
	if v := d.lookUp(newcomer.Visitor); v.Ahead != len(ids) {
		t.Errorf("a newcomer: %+v", v)
	}
}

// While a lobby is lost before its draw, join indexes come back by receipts, and
// nobody new gets one of them (G5).
func TestLossOfTheLobby(t *testing.T) {
	t.Parallel()
	d, ids := drawDoor(t, 20, nil)
	d.checkpoint()
	var late []waitroom.Joined // of whom no checkpoint knows
	for range 5 {
		late = append(late, d.join(waitroom.JoinRequest{}))
	}
	receipts := make([]string, len(ids))
	for i, id := range ids {
		receipts[i] = *d.join(waitroom.JoinRequest{Visitor: id}).Receipt
	}
	before := d.room()
	commitment := before.Draw.Commitment()
	d.lose()
	newcomer := d.join(waitroom.JoinRequest{})
	for i, id := range ids {
		if j := d.join(waitroom.JoinRequest{Visitor: id, Receipt: receipts[i]}); j.State != waitroom.InLobby || *j.Index != int64(i+1) {
			t.Errorf("visitor %d came back to %+v", i, j)
		}
	}
	for i, l := range late {
		if j := d.join(waitroom.JoinRequest{Visitor: l.Visitor, Receipt: *l.Receipt}); j.State != waitroom.InLobby || *j.Index != *l.Index || *l.Index != int64(21+i) {
			t.Errorf("a late one, %d, came back to %+v", i, j)
		}
	}
	if *newcomer.Index <= 25 {
		t.Errorf("a newcomer has join index %d of somebody who comes back", *newcomer.Index)
	}
	if err := d.Open(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	d.tick()
	room := d.room()
	if proof := room.Proof(); proof.Verify() != nil || proof.Commitment != commitment {
		t.Errorf("proof %+v: %v", proof, proof.Verify())
	}
	if room.Waiting != 26 {
		t.Errorf("%d wait, want 26", room.Waiting)
	}
}

// A draw that awaits its public value goes on to await it, with the same lobby.
func TestLossWhileThePublicValueIsAwaited(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d, ids := drawDoor(t, 10, func(s *waitroom.Settings) { s.Draw.PublicSource = "the lottery" })
	receipts := make([]string, len(ids))
	for i, id := range ids {
		receipts[i] = *d.join(waitroom.JoinRequest{Visitor: id}).Receipt
	}
	if err := d.Open(ctx, event); err != nil {
		t.Fatal(err)
	}
	d.tick()
	d.checkpoint()
	frozen := d.room()
	if !frozen.Awaiting {
		t.Fatalf("%+v", frozen)
	}
	d.lose()
	if room := d.room(); !room.Awaiting || room.Draw != frozen.Draw {
		t.Fatalf("after the loss %+v, before %+v", room, frozen)
	}
	for i, id := range ids[:5] {
		d.join(waitroom.JoinRequest{Visitor: id, Receipt: receipts[i]})
	}
	d.tick()
	if v := d.lookUp(ids[0]); v.State != waitroom.InLobby {
		t.Errorf("before the value is there: %+v", v)
	}
	if err := d.Draw(ctx, event, "4 8 15 16 23 42"); err != nil {
		t.Fatal(err)
	}
	d.tick()
	d.checkpoint()
	d.lose()
	for i, id := range ids {
		d.join(waitroom.JoinRequest{Visitor: id, Receipt: receipts[i]})
	}
	d.tick()
	room := d.room()
	seed, err := room.Draw.Seed()
	if err != nil || room.Draw.PublicValue == "" || room.Draw.N != frozen.Draw.N || room.Draw.Digest != frozen.Draw.Digest {
		t.Fatalf("%+v, %v", room.Draw, err)
	}
	for i, id := range ids {
		want := room.Draw.Base + waitroom.Permute(seed, int64(i), room.Draw.N) + 1
		if v := d.lookUp(id); v.Place != want || v.State != waitroom.Waiting {
			t.Errorf("visitor %d: %+v, want place %d", i, v, want)
		}
	}
}

// spoiled is a store that is emptied once more in the middle of being restored.
type spoiled struct {
	waitroom.Store

	spoil atomic.Int32 // how often yet
	flush func()
	after atomic.Bool // once the turns are back; else between two batches of them
}

func (s *spoiled) Restore(ctx context.Context, event string, turns []waitroom.Turn) error {
	if !s.after.Load() && s.spoil.Add(-1) >= 0 {
		if err := s.Store.Restore(ctx, event, turns[:len(turns)/2]); err != nil {
			return err
		}
		s.flush()
		return fault.Down(context.DeadlineExceeded, "the waiting room")
	}
	return s.Store.Restore(ctx, event, turns)
}

func (s *spoiled) Seed(ctx context.Context, settings waitroom.Settings, quiet time.Duration, turns int) (bool, error) {
	if s.after.Load() && s.spoil.Add(-1) >= 0 {
		s.flush()
	}
	return s.Store.Seed(ctx, settings, quiet, turns)
}

// Redis is emptied again while turns are being put back: no room begins without
// them, and the next try puts all of them back, with the same ends (G3).
func TestLossDuringTheRestore(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("turns are back=%t", after), func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, settings(), waitroom.Options{ReturnWindow: -1})
			d.seed(settings())
			d.shopOK()
			s := &spoiled{Store: d.Store, flush: d.redis.FlushAll}
			s.after.Store(after)
			d.Service.Store = s
			want := make(map[string]waitroom.Visitor)
			for i := range 40 {
				j := d.join(waitroom.JoinRequest{})
				var err error
				if i%4 > 0 {
					_, err = d.Claim(t.Context(), event, j.Visitor)
				}
				switch {
				case err != nil:
				case i%4 == 2:
					_, err = d.Leave(t.Context(), event, j.Visitor)
				case i%4 == 3:
					err = d.Finish(t.Context(), event, j.Visitor, false)
				}
				if err != nil {
					t.Fatal(err)
				}
				want[j.Visitor] = d.lookUp(j.Visitor)
			}
			d.checkpoint()
			s.spoil.Store(3)
			d.redis.FlushAll()
			for range 3 {
				if err := d.TickAll(t.Context()); !fault.Is(err, fault.Unavailable) {
					t.Fatalf("a spoiled restore: %v", err)
				}
				if _, err := d.Store.Room(t.Context(), event); !fault.Is(err, fault.NotFound) {
					t.Fatalf("a room without its turns: %v", err)
				}
			}
			d.tick()
			for id, w := range want {
				v := d.lookUp(id)
				if v.State != w.State || v.Place != w.Place || !v.Until.Equal(w.Until) {
					t.Errorf("%s is %s at %d until %v, was %s at %d until %v", id, v.State, v.Place, v.Until, w.State, w.Place, w.Until)
				}
			}
			room, err := d.Store.Room(t.Context(), event)
			if err != nil || room.Ready != 10 || room.Shopping != 10 {
				t.Errorf("ready %d, shopping %d: %v", room.Ready, room.Shopping, err)
			}
		})
	}
}

// Turns that a slow node puts back into a room that lives again change nothing.
func TestLateRestoreChangesNothing(t *testing.T) {
	t.Parallel()
	d := newDoor(t, settings(), waitroom.Options{ReturnWindow: -1})
	d.seed(settings())
	j := d.join(waitroom.JoinRequest{})
	turn := waitroom.Turn{
		Visitor: j.Visitor, State: waitroom.Shopping, Lane: waitroom.General, Place: 7, Until: time.Now().Add(time.Minute), Changed: time.Now(),
	}
	if err := d.Store.Restore(t.Context(), event, []waitroom.Turn{turn}); err != nil {
		t.Fatal(err)
	}
	if room, err := d.Store.Room(t.Context(), event); err != nil || room.Shopping != 0 {
		t.Errorf("%d shop: %v", room.Shopping, err)
	}
	if d.state(j.Visitor) != waitroom.Waiting {
		t.Errorf("the visitor is %s", d.state(j.Visitor))
	}
}

// countingArchive counts how often it is asked for all rooms.
type countingArchive struct {
	waitroom.Archive

	asked atomic.Int32
	found atomic.Int32 // who have found the room lost
	crowd int32        // of so many
}

// losing is a store that counts for a countingArchive who finds the room lost.
type losing struct {
	waitroom.Store

	archive *countingArchive
}

func (s losing) Join(ctx context.Context, event string, j waitroom.Join) (waitroom.Visitor, waitroom.Outcome, error) {
	v, outcome, err := s.Store.Join(ctx, event, j)
	if fault.Is(err, fault.NotFound) {
		s.archive.found.Add(1)
	}
	return v, outcome, err
}

func (a *countingArchive) Rooms(ctx context.Context) ([]waitroom.Checkpoint, error) {
	a.asked.Add(1)
	for end := time.Now().Add(time.Minute); a.found.Load() < a.crowd && time.Now().Before(end); {
		<-time.After(time.Millisecond) // a database that is asked by thousands takes long
	}
	<-time.After(20 * time.Millisecond)
	return a.Archive.Rooms(ctx)
}

// Everybody in line finds the room lost at the same time: the Archive is not
// asked by each of them.
func TestLossIsMendedOnceForAll(t *testing.T) {
	t.Parallel()
	d := newDoor(t, settings(), waitroom.Options{ReturnWindow: -1})
	a := &countingArchive{Archive: d.archive}
	d.Service.Archive = a
	d.seed(settings())
	d.checkpoint()
	a.asked.Store(0)
	a.crowd = 300
	d.Service.Store = losing{d.Store, a}
	d.redis.FlushAll()
	var wg sync.WaitGroup
	for range a.crowd {
		wg.Go(func() {
			if _, err := d.Join(t.Context(), waitroom.JoinRequest{Event: event}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := a.asked.Load(); n > 5 {
		t.Errorf("300 visitors asked the archive %d times", n)
	}
}
