package checkout_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"onsale/catalog"
	"onsale/checkout"
)

// smallHouse is any event, with four tickets of one price.
type smallHouse struct{}

func (smallHouse) Event(_ context.Context, id string) (catalog.Event, error) {
	return catalog.Event{ID: id}, nil
}

func (smallHouse) Layout(_ context.Context, event string) (*catalog.Layout, error) {
	return &catalog.Layout{
		Event: event, Sections: make([]catalog.Section, 1), Tiers: make([]catalog.Tier, 1), Seats: make([]catalog.Seat, 4),
		Runs: []catalog.Run{{First: 0, Count: 4}},
	}, nil
}

// shelf is a hold store: what an Inventory asks it for while it runs.
type shelf struct {
	checkout.HoldStore

	began    time.Time
	mu       sync.Mutex
	states   map[string]string    // of the event's tickets; AAAA if nothing else is said
	holds    map[string]time.Time // event → end of the hold of its first ticket
	broken   string               // the event whose sweeps fail
	instance string

	freed, looks, mended map[string][]time.Duration // event → when, from the beginning
}

func newShelf() *shelf {
	return &shelf{
		began: time.Now(), states: make(map[string]string), holds: make(map[string]time.Time), instance: "first",
		freed: make(map[string][]time.Duration), looks: make(map[string][]time.Duration), mended: make(map[string][]time.Duration),
	}
}

// at returns a copy of what was noted about an event.
func (s *shelf) at(notes map[string][]time.Duration, event string) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(notes[event])
}

func (s *shelf) note(notes map[string][]time.Duration, event string) {
	notes[event] = append(notes[event], time.Since(s.began))
}

func (s *shelf) Sweep(ctx context.Context, event string) (int, time.Duration, error) {
	if event == s.broken {
		return 0, 0, errors.New("the node of this event is down")
	}
	select {
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	case <-time.After(5 * time.Millisecond):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if end, ok := s.holds[event]; ok && !end.After(time.Now()) {
		delete(s.holds, event)
		s.note(s.freed, event)
		return 1, -1, nil
	}
	return 0, -1, nil
}

func (s *shelf) Snapshot(_ context.Context, event string) (checkout.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(s.looks, event)
	states := s.states[event]
	if states == "" {
		states = "AAAA"
	}
	snap := checkout.Snapshot{Status: []byte(states), Stock: checkout.Stock{Tiers: make([]checkout.Counts, 1)}}
	for _, b := range snap.Status {
		snap.Stock.Add(checkout.TicketState(b), 1)
		snap.Stock.Tiers[0].Add(checkout.TicketState(b), 1)
	}
	return snap, nil
}

func (s *shelf) Locked(_ context.Context, _ string, ordinals []int) ([]bool, error) {
	return make([]bool, len(ordinals)), nil
}

func (s *shelf) Settle(_ context.Context, t checkout.Settlement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(s.mended, t.Event)
	states := []byte(s.states[t.Event])
	for _, o := range t.Ordinals {
		states[o] = byte(t.To)
	}
	s.states[t.Event] = string(states)
	return nil
}

func (s *shelf) Instances(_ context.Context, events []string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Repeat([]string{s.instance}, len(events)), nil
}

func (s *shelf) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// unsold is an order store in which nobody has bought anything. It never answers
// about one event, and to nobody for a while.
type unsold struct {
	checkout.OrderStore

	hangs string
	back  time.Time
}

func (u unsold) Inventory(ctx context.Context, event string) (checkout.Truth, error) {
	if event == u.hangs {
		<-ctx.Done()
		return checkout.Truth{}, ctx.Err()
	}
	if time.Now().Before(u.back) {
		return checkout.Truth{}, errors.New("the database is down")
	}
	return checkout.Truth{States: []checkout.TicketState("AAAA"), Orders: map[int]time.Duration{}}, nil
}

// watch runs an Inventory over some events for a while of the bubble's time.
func watch(t *testing.T, s *shelf, orders unsold, d time.Duration, events ...string) {
	t.Helper()
	i, err := checkout.NewInventory(s, orders, smallHouse{}, time.Now, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := i.Run(ctx, func(context.Context) ([]string, error) { return events, nil }); err != nil {
		t.Errorf("run: %v", err)
	}
}

// freedWithinASecond holds when an event's tickets were freed against the ends of
// their holds.
func freedWithinASecond(t *testing.T, s *shelf, event string, end time.Duration) {
	t.Helper()
	freed := s.at(s.freed, event)
	if len(freed) != 1 || freed[0] < end || freed[0] > end+time.Second {
		t.Errorf("the hold of event %s, which ended after %s, was ended after %s", event, end, freed)
	}
}

// TestHoldsEndWithinASecond has many events whose holds end at any time.
func TestHoldsEndWithinASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		ends := make(map[string]time.Duration)
		var events []string
		for n := range 40 {
			event := string(rune('A' + n))
			events = append(events, event)
			ends[event] = time.Duration(n*n*3) * time.Millisecond
			s.holds[event] = s.began.Add(ends[event])
		}
		watch(t, s, unsold{}, 10*time.Second, events...)
		for event, end := range ends {
			freedWithinASecond(t, s, event, end)
		}
	})
}

// TestSweepsDoNotWaitForAnotherEvent: neither an event whose node of Redis is down
// nor one whose database hangs keeps the holds of others from ending.
func TestSweepsDoNotWaitForAnotherEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.broken = "down"
		end := 3210 * time.Millisecond
		for _, event := range []string{"hangs", "well"} {
			s.holds[event] = s.began.Add(end)
		}
		watch(t, s, unsold{hangs: "hangs"}, 10*time.Second, "down", "hangs", "well")
		freedWithinASecond(t, s, "hangs", end)
		freedWithinASecond(t, s, "well", end)
	})
}

func seconds(n ...int) []time.Duration {
	all := make([]time.Duration, len(n))
	for i, n := range n {
		all[i] = time.Duration(n) * time.Second
	}
	return all
}

// TestDifferencesAreConfirmed: what differs is looked at again a second later and
// mended if it still does; what is well is looked at every 15 seconds.
func TestDifferencesAreConfirmed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.states["wrong"] = "AASA"
		watch(t, s, unsold{}, 20*time.Second+time.Millisecond, "wrong", "well")
		if got := s.at(s.looks, "well"); !slices.Equal(got, seconds(1, 16)) {
			t.Errorf("an event that is well was audited after %s", got)
		}
		if got := s.at(s.looks, "wrong"); !slices.Equal(got, seconds(1, 2, 3, 18)) {
			t.Errorf("an event that was wrong was audited after %s", got)
		}
		if got := s.at(s.mended, "wrong"); !slices.Equal(got, seconds(2)) || s.states["wrong"] != "AAAA" {
			t.Errorf("it was mended after %s and is %s now", got, s.states["wrong"])
		}
	})
}

// TestPassingDifferencesAreLeftAlone changes which ticket differs from one audit to
// the next, as purchases under way do.
func TestPassingDifferencesAreLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.states["busy"] = "SAAA"
		var changes sync.WaitGroup
		changes.Go(func() {
			time.Sleep(time.Second + 500*time.Millisecond)
			for n := range 10 {
				s.set(func() { s.states["busy"] = []string{"ASAA", "SAAA"}[n%2] })
				time.Sleep(time.Second)
			}
		})
		watch(t, s, unsold{}, 10*time.Second+time.Millisecond, "busy")
		changes.Wait()
		if got := s.at(s.looks, "busy"); !slices.Equal(got, seconds(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)) {
			t.Errorf("it was audited after %s", got)
		}
		if got := s.at(s.mended, "busy"); len(got) > 0 {
			t.Errorf("tickets were mended after %s that no two audits found wrong", got)
		}
	})
}

// TestAnotherRedisIsAuditedAtOnce: behind a failover tickets may be missing that
// the last Redis acknowledged.
func TestAnotherRedisIsAuditedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		time.AfterFunc(5500*time.Millisecond, func() { s.set(func() { s.instance = "second" }) })
		watch(t, s, unsold{}, 12*time.Second, "one", "two")
		for _, event := range []string{"one", "two"} {
			if got := s.at(s.looks, event); !slices.Equal(got, seconds(1, 6)) {
				t.Errorf("event %s was audited after %s", event, got)
			}
		}
	})
}

// TestFailedAuditIsRepeated: an audit that was called for, and failed, is not put off
// until the next one in health.
func TestFailedAuditIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		watch(t, s, unsold{back: s.began.Add(2500 * time.Millisecond)}, 19*time.Second, "one")
		if got := s.at(s.looks, "one"); !slices.Equal(got, seconds(3, 18)) {
			t.Errorf("it was audited after %s", got)
		}
	})
}
