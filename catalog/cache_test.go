package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"onsale/internal/fault"
)

// fakeStore holds events in memory. It can be down, and can be told to wait.
type fakeStore struct {
	mu     sync.Mutex
	events map[string]Event
	down   bool
	gate   chan struct{} // when set, loads wait for it or for the deadline

	pageGate chan struct{} // when set, pages wait for it

	eventCalls, layoutCalls, viewCalls, pageCalls atomic.Int64
}

var _ Store = (*fakeStore)(nil)

func (f *fakeStore) get(ctx context.Context, id string) (Event, error) {
	f.mu.Lock()
	gate, down := f.gate, f.down
	e, ok := f.events[id]
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return Event{}, fault.Down(ctx.Err(), "the catalog")
		}
	}
	if down {
		return Event{}, fault.Down(errors.New("connection refused"), "the catalog")
	}
	if !ok {
		return Event{}, fault.New(fault.NotFound, "no such event")
	}
	return e, nil
}

func (f *fakeStore) Event(ctx context.Context, id string) (Event, error) {
	f.eventCalls.Add(1)
	return f.get(ctx, id)
}

func (f *fakeStore) Events(ctx context.Context, _ Query) (Page, error) {
	f.pageCalls.Add(1)
	if f.pageGate != nil {
		<-f.pageGate
	}
	f.mu.Lock()
	page := Page{}
	for _, e := range f.events {
		page.Events = append(page.Events, e)
	}
	down := f.down
	f.mu.Unlock()
	if down {
		return Page{}, fault.Down(errors.New("connection refused"), "the catalog")
	}
	return page, nil
}

func (f *fakeStore) Layout(ctx context.Context, id string) (*Layout, error) {
	f.layoutCalls.Add(1)
	e, err := f.get(ctx, id)
	if err != nil {
		return nil, err
	}
	return &Layout{Event: id, EventName: e.Name, Status: e.Status, MaxPerBuyer: e.MaxPerBuyer, Seats: make([]Seat, 10)}, nil
}

func (f *fakeStore) PlanView(ctx context.Context, id string) ([]byte, string, error) {
	f.viewCalls.Add(1)
	if _, err := f.get(ctx, id); err != nil {
		return nil, "", err
	}
	return []byte(`{"version": "v1", "x": [1, 2]}`), "v1", nil
}

func (f *fakeStore) Tickets(context.Context, TicketQuery) (TicketPage, error) {
	return TicketPage{}, nil
}

func (f *fakeStore) TicketEvent(context.Context, string) (string, int, error) {
	return testID(1), 0, nil
}

func (f *fakeStore) CreateEvent(_ context.Context, e NewEvent) (Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := testID(len(f.events) + 1)
	f.events[id] = Event{ID: id, Name: e.Name}
	return f.events[id], nil
}

func (f *fakeStore) UpdateEvent(_ context.Context, id string, p EventPatch) (Event, int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.events[id]
	e.Name = *p.Name
	f.events[id] = e
	return e, 0, nil
}

func (f *fakeStore) CreateSeries(context.Context, NewEvent) (Series, error) { return Series{}, nil }

func (f *fakeStore) Series(context.Context, string) (Series, error) { return Series{}, nil }

func (f *fakeStore) EventDocument(context.Context, string, bool) ([]byte, error) {
	return []byte("{}"), nil
}

func (f *fakeStore) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func testID(n int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", n) }

// fakeClock stands still until told otherwise.
type fakeClock struct{ now atomic.Int64 }

func (c *fakeClock) time() time.Time      { return time.Unix(0, c.now.Load()) }
func (c *fakeClock) pass(d time.Duration) { c.now.Add(int64(d)) }

func newTestCache() (*Cache, *fakeStore, *fakeClock) {
	store := &fakeStore{events: map[string]Event{testID(1): {ID: testID(1), Name: "One", Status: "on_sale", MaxPerBuyer: 4}}}
	clock := &fakeClock{}
	clock.pass(time.Hour)
	return NewCache(store, clock.time), store, clock
}

func TestCacheAsksOncePerSecond(t *testing.T) {
	t.Parallel()
	cache, store, clock := newTestCache()
	ctx := t.Context()
	for range 5 {
		if e, err := cache.Event(ctx, testID(1)); err != nil || e.Name != "One" {
			t.Fatalf("got %+v, %v", e, err)
		}
	}
	store.set(func() { store.events[testID(1)] = Event{ID: testID(1), Name: "Two"} })
	clock.pass(eventFresh - 1)
	if e, _ := cache.Event(ctx, testID(1)); e.Name != "One" || store.eventCalls.Load() != 1 {
		t.Errorf("within a second: %q after %d calls", e.Name, store.eventCalls.Load())
	}
	clock.pass(1)
	if e, _ := cache.Event(ctx, testID(1)); e.Name != "Two" || store.eventCalls.Load() != 2 {
		t.Errorf("after a second: %q after %d calls", e.Name, store.eventCalls.Load())
	}
}

func TestCacheServesWhatItHasWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	cache, store, clock := newTestCache()
	ctx := t.Context()
	read := func() error {
		_, err1 := cache.Event(ctx, testID(1))
		_, err2 := cache.Layout(ctx, testID(1))
		_, _, err3 := cache.PlanView(ctx, testID(1))
		_, err4 := cache.Events(ctx, Query{})
		return errors.Join(err1, err2, err3, err4)
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	store.set(func() { store.down = true })
	for range 10 {
		clock.pass(time.Minute)
		if err := read(); err != nil {
			t.Fatalf("with the store down: %v", err)
		}
	}
	if _, err := cache.Event(ctx, testID(2)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("an event never seen, with the store down: %v", err)
	}
	store.set(func() { store.down = false })
	if _, err := cache.Event(ctx, testID(2)); !fault.Is(err, fault.NotFound) {
		t.Errorf("after the store is back, the failure is remembered: %v", err)
	}
}

func TestCacheRemembersUnknownIDsForAShortWhile(t *testing.T) {
	t.Parallel()
	cache, store, clock := newTestCache()
	ctx := t.Context()
	for range 5 {
		if _, err := cache.Event(ctx, testID(2)); !fault.Is(err, fault.NotFound) {
			t.Fatalf("got %v, want fault.NotFound", err)
		}
	}
	if n := store.eventCalls.Load(); n != 1 {
		t.Errorf("asked %d times for an unknown event", n)
	}
	if _, err := cache.CreateEvent(ctx, NewEvent{Name: "New"}); err != nil {
		t.Fatal(err)
	}
	if e, err := cache.Event(ctx, testID(2)); err != nil || e.Name != "New" {
		t.Errorf("an event created here: %+v, %v", e, err)
	}
	if _, err := cache.Layout(ctx, testID(3)); !fault.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	store.set(func() { store.events[testID(3)] = Event{ID: testID(3)} }) // by another node
	clock.pass(unknownFresh)
	if _, err := cache.Layout(ctx, testID(3)); err != nil {
		t.Errorf("an event created elsewhere: %v", err)
	}
}

func TestCacheShowsItsOwnChangesAtOnce(t *testing.T) {
	t.Parallel()
	cache, _, _ := newTestCache()
	ctx := t.Context()
	before, err := cache.Layout(ctx, testID(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cache.Events(ctx, Query{}); err != nil {
		t.Fatal(err)
	}
	name := "Renamed"
	if _, _, err := cache.UpdateEvent(ctx, testID(1), EventPatch{Name: &name}); err != nil {
		t.Fatal(err)
	}
	if e, _ := cache.Event(ctx, testID(1)); e.Name != name {
		t.Errorf("the event is still called %q", e.Name)
	}
	if p, _ := cache.Events(ctx, Query{}); p.Events[0].Name != name {
		t.Errorf("the list still says %q", p.Events[0].Name)
	}
	after, err := cache.Layout(ctx, testID(1))
	if err != nil || after.EventName != name || &after.Seats[0] != &before.Seats[0] {
		t.Errorf("the layout is %+v, %v", after, err)
	}
	if before.EventName != "One" {
		t.Error("a layout that was handed out has changed")
	}
	if again, _ := cache.Layout(ctx, testID(1)); again != after {
		t.Error("the layout is made anew at every call")
	}
}

func TestCacheLoadsOnceForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache, store, _ := newTestCache()
		gate := make(chan struct{})
		store.gate = gate
		// The first to ask goes away; the others still get their answer.
		first, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 20 {
			ctx := t.Context()
			if i == 0 {
				ctx = first
			}
			all.Go(func() {
				if l, err := cache.Layout(ctx, testID(1)); err != nil || len(l.Seats) != 10 {
					t.Errorf("got %v, %v", l, err)
				}
			})
			if i == 0 {
				synctest.Wait() // until the first has asked
			}
		}
		leave()
		close(gate)
		all.Wait()
		if n := store.layoutCalls.Load(); n != 1 {
			t.Errorf("loaded %d times", n)
		}
	})
}

// TestCacheDoesNotWaitForASlowStore lets one caller refresh an old value and
// expects the others to be served at once.
func TestCacheDoesNotWaitForASlowStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache, store, clock := newTestCache()
		ctx := t.Context()
		if _, err := cache.Event(ctx, testID(1)); err != nil {
			t.Fatal(err)
		}
		gate := make(chan struct{})
		store.set(func() {
			store.gate = gate
			store.events[testID(1)] = Event{ID: testID(1), Name: "Two"}
		})
		clock.pass(time.Minute)
		refreshed := make(chan Event)
		go func() {
			e, _ := cache.Event(ctx, testID(1))
			refreshed <- e
		}()
		synctest.Wait() // until the refresh has begun
		if e, err := cache.Event(ctx, testID(1)); err != nil || e.Name != "One" {
			t.Errorf("while it is refreshed: %+v, %v", e, err)
		}
		close(gate)
		if e := <-refreshed; e.Name != "Two" {
			t.Errorf("the one who refreshed got %q", e.Name)
		}
	})
}

// TestCacheForgetsLoadsThatBeganBeforeAChange holds a load back until an update
// is through: what it read is the old state and must not be kept.
func TestCacheForgetsLoadsThatBeganBeforeAChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache, store, _ := newTestCache()
		ctx := t.Context()
		gate := make(chan struct{})
		store.set(func() { store.gate = gate })
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = cache.Event(ctx, testID(1))
		}()
		synctest.Wait() // until the load has read the old name
		name := "Renamed"
		if _, _, err := cache.UpdateEvent(ctx, testID(1), EventPatch{Name: &name}); err != nil {
			t.Fatal(err)
		}
		close(gate)
		<-done
		if e, err := cache.Event(ctx, testID(1)); err != nil || e.Name != name {
			t.Errorf("got %q, %v", e.Name, err)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	clock := &fakeClock{}
	s := newShelf(clock.time, 0, 100, func(n int) int { return n })
	loads := 0
	get := func(key string, weight int) {
		t.Helper()
		if _, err := s.get(t.Context(), key, func(context.Context) (int, error) { loads++; return weight, nil }); err != nil {
			t.Fatal(err)
		}
	}
	get("a", 40)
	get("b", 40)
	get("a", 40) // a is now the more recently used
	get("c", 40) // b has to leave
	if loads != 3 || s.total != 80 {
		t.Fatalf("%d loads, weight %d", loads, s.total)
	}
	get("a", 40)
	if loads != 3 {
		t.Error("the more recently used one left")
	}
	get("b", 40)
	if loads != 4 {
		t.Error("the least recently used one stayed")
	}
	get("huge", 1000)
	if s.order.Len() != 1 || s.total != 1000 {
		t.Errorf("beside a huge one, %d are kept, weight %d", s.order.Len(), s.total)
	}
	for i := range 500 {
		get(fmt.Sprint(i), 1)
	}
	if s.order.Len() != 100 || len(s.items) != 100 || s.total != 100 {
		t.Errorf("%d items, %d keys, weight %d", s.order.Len(), len(s.items), s.total)
	}
	s.clear()
	if s.order.Len() != 0 || s.total != 0 {
		t.Error("clear leaves something")
	}
}

func TestCacheOfUnknownIDsIsBounded(t *testing.T) {
	t.Parallel()
	cache, _, _ := newTestCache()
	for n := range 3000 {
		if _, err := cache.Layout(t.Context(), testID(n+2)); !fault.Is(err, fault.NotFound) {
			t.Fatal(err)
		}
	}
	if n := len(cache.layouts.items); n > 1000 {
		t.Errorf("%d unknown ids are kept", n)
	}
}

func TestCacheRefusesBadInputWithoutAsking(t *testing.T) {
	t.Parallel()
	cache, store, _ := newTestCache()
	ctx := t.Context()
	if _, err := cache.Events(ctx, Query{Limit: MostEvents + 1}); !fault.Is(err, fault.Invalid) {
		t.Errorf("too large a limit: %v", err)
	}
	if _, err := cache.Events(ctx, Query{Cursor: "nonsense"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a bad cursor: %v", err)
	}
	if n := store.pageCalls.Load(); n != 0 {
		t.Errorf("asked the store %d times", n)
	}
}

func TestPlanViewIsCompact(t *testing.T) {
	t.Parallel()
	cache, store, _ := newTestCache()
	for range 3 {
		doc, version, err := cache.PlanView(t.Context(), testID(1))
		if err != nil || string(doc) != `{"version":"v1","x":[1,2]}` || version != "v1" {
			t.Fatalf("got %s, %q, %v", doc, version, err)
		}
	}
	if n := store.viewCalls.Load(); n != 1 {
		t.Errorf("loaded %d times", n)
	}
}

func TestCursors(t *testing.T) {
	t.Parallel()
	if n, err := ParseTicketCursor(TicketCursor(15999)); err != nil || n != 15999 {
		t.Errorf("15999 became %d, %v", n, err)
	}
	for _, bad := range []string{"x", "", TicketCursor(-1), Query{}.Token(EventCursor{ID: testID(1)}), strings.Repeat("A", 500)} {
		if _, err := ParseTicketCursor(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("ticket cursor %q: %v", bad, err)
		}
	}
}

// TestACrowdSearchesOnce: who asks the same, whatever their order of parameters
// or spelling of defaults, waits for one answer of the store.
func TestACrowdSearchesOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache, store, _ := newTestCache()
		release := make(chan struct{})
		store.pageGate = release
		var crowd sync.WaitGroup
		for i := range 100 {
			crowd.Go(func() {
				q := Query{Text: "lanterns", Limit: DefaultEvents}
				if i%2 == 0 {
					q.Limit, q.Sort = 0, ByRelevance
				}
				if page, err := cache.Events(t.Context(), q); err != nil || len(page.Events) != 1 {
					t.Errorf("got %+v, %v", page, err)
				}
			})
		}
		synctest.Wait()
		close(release)
		crowd.Wait()
		if n := store.pageCalls.Load(); n != 1 {
			t.Errorf("the store was asked %d times", n)
		}
	})
	cache, store, _ := newTestCache()
	for i := range 2 * cachedListed {
		if _, err := cache.Events(t.Context(), Query{Text: fmt.Sprintf("x%d", i%cachedListed)}); err != nil {
			t.Fatal(err)
		}
		if i == 9 {
			for range 5 {
				_, _ = cache.Events(t.Context(), Query{Text: "x9"})
			}
			if n := store.pageCalls.Load(); n != 10 {
				t.Fatalf("%d calls for 10 searches", n)
			}
		}
	}
	if cache.pages.total > cachedListed || len(cache.pages.items) > cachedListed/2 {
		t.Errorf("%d pages weigh %d", len(cache.pages.items), cache.pages.total)
	}
}
