package catalog

import (
	"bytes"
	"container/list"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"onsale/internal/fault"
)

// Store keeps the catalog durably. Its errors are faults: NotFound, Invalid,
// Conflict, and Unavailable when it does not answer.
type Store interface {
	Events(ctx context.Context, q Query) (Page, error)
	Event(ctx context.Context, id string) (Event, error)
	Layout(ctx context.Context, event string) (*Layout, error)
	PlanView(ctx context.Context, event string) (doc []byte, version string, err error)
	Tickets(ctx context.Context, q TicketQuery) (TicketPage, error)
	// TicketEvent finds the event and the ordinal of a ticket.
	TicketEvent(ctx context.Context, ticket string) (event string, ordinal int, err error)
	CreateEvent(ctx context.Context, e NewEvent) (Event, error)
	// UpdateEvent also returns how many are told that the event takes place at another time.
	UpdateEvent(ctx context.Context, id string, p EventPatch) (e Event, told int, err error)
	// CreateSeries creates an event for each date of a document, all or none.
	CreateSeries(ctx context.Context, e NewEvent) (Series, error)
	Series(ctx context.Context, id string) (Series, error)
	// EventDocument is the document that creates such an event.
	EventDocument(ctx context.Context, id string, withPlan bool) ([]byte, error)
}

var _ Store = (*Cache)(nil)

// Bounds of the cache.
const (
	cachedEvents   = 1000
	cachedListed   = 20_000    // events on pages, a few KB each
	cachedSeats    = 2_000_000 // in layouts, about 200 bytes each
	cachedViews    = 256 << 20 // bytes of plan views
	eventFresh     = time.Second
	unknownFresh   = 900 * time.Millisecond // what another node creates is there within a second
	firstLoad      = 10 * time.Second
	refreshPatient = 500 * time.Millisecond
)

// Cache serves the catalog from memory. Layouts and plan views never change but for
// what their event says, tiers and its layout's revision included, and are kept until room is needed; events and pages are asked for again after a
// second, by one request at a time while the others get what is there. When the
// store is down, what is known stays served however old it is. Tickets are
// never cached. All methods may be called at once.
//
// The values it returns are shared: callers must not change them.
type Cache struct {
	store   Store
	events  *shelf[Event]
	pages   *shelf[Page]
	layouts *shelf[*Layout]
	views   *shelf[planFile]
	series  *shelf[Series]

	mu      sync.Mutex
	dressed map[string]dressedLayout
}

type planFile struct {
	doc     []byte
	version string
	tiers   []viewTier // that doc has

	revision int // of the event, at least
}

// dressedLayout is a layout with the changing parts of its event filled in.
type dressedLayout struct {
	base, layout *Layout
}

// NewCache returns a cache in front of store.
func NewCache(store Store, clock func() time.Time) *Cache {
	one := func(Event) int { return 1 }
	return &Cache{
		store:   store,
		events:  newShelf(clock, eventFresh, cachedEvents, one),
		pages:   newShelf(clock, eventFresh, cachedListed, func(p Page) int { return 1 + len(p.Events) }),
		series:  newShelf(clock, eventFresh, cachedListed, func(s Series) int { return 1 + len(s.Events) }),
		layouts: newShelf(clock, 0, cachedSeats, func(l *Layout) int { return len(l.Seats) }),
		views:   newShelf(clock, 0, cachedViews, func(p planFile) int { return len(p.doc) }),
		dressed: make(map[string]dressedLayout),
	}
}

// Events is Store.Events, at most a second old.
func (c *Cache) Events(ctx context.Context, q Query) (Page, error) {
	if err := q.Check(); err != nil {
		return Page{}, err
	}
	if _, err := q.Place(); err != nil {
		return Page{}, err
	}
	key := fmt.Sprintf("%s %d %s", q.digest(), q.Limit, q.Cursor)
	return c.pages.get(ctx, key, func(ctx context.Context) (Page, error) { return c.store.Events(ctx, q) })
}

// Event is Store.Event, at most a second old.
func (c *Cache) Event(ctx context.Context, id string) (Event, error) {
	if !IsID(id) {
		return c.store.Event(ctx, id) // says that there is no such event, without asking
	}
	return c.events.get(ctx, id, func(ctx context.Context) (Event, error) { return c.store.Event(ctx, id) })
}

// Layout is the inventory of an event. Its seats never change; name, status,
// limit, terms, tiers, attributes and entrances are at most a second old.
func (c *Cache) Layout(ctx context.Context, id string) (*Layout, error) {
	if !IsID(id) {
		return c.store.Layout(ctx, id)
	}
	load := func(ctx context.Context) (*Layout, error) { return c.store.Layout(ctx, id) }
	base, err := c.layouts.get(ctx, id, load)
	if err != nil {
		return nil, err
	}
	e, err := c.Event(ctx, id)
	if fault.Is(err, fault.Unavailable) {
		return base, nil
	} else if err != nil {
		return nil, err
	}
	if base.Revision < e.LayoutRevision {
		base = c.layouts.renew(ctx, id, base, load)
	}
	return c.dress(base, e), nil
}

// dress returns base with what may have changed of its event, the same pointer
// as long as nothing does.
func (c *Cache) dress(base *Layout, e Event) *Layout {
	same := func(l *Layout) bool {
		return l.EventName == e.Name && l.Status == e.Status && l.MaxPerBuyer == e.MaxPerBuyer && l.SingleSeats == e.SingleSeats &&
			l.Terms.Same(e.Terms) && (slices.Equal(l.Tiers, e.Tiers) || len(l.Tiers) != len(e.Tiers))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.dressed[base.Event]; ok && d.base == base && same(d.layout) {
		return d.layout
	}
	if same(base) {
		delete(c.dressed, base.Event)
		return base
	}
	if len(c.dressed) >= cachedEvents {
		clear(c.dressed)
	}
	l := *base
	l.EventName, l.Status, l.MaxPerBuyer, l.SingleSeats, l.Terms = e.Name, e.Status, e.MaxPerBuyer, e.SingleSeats, e.Terms
	if len(e.Tiers) == len(l.Tiers) { // in the same order, by position
		l.Tiers = e.Tiers
	}
	c.dressed[base.Event] = dressedLayout{base, &l}
	return &l
}

// PlanView is the drawn plan of an event as compact JSON, and its version. Its tiers
// are at most a second old.
func (c *Cache) PlanView(ctx context.Context, id string) (doc []byte, version string, err error) {
	if !IsID(id) {
		return c.store.PlanView(ctx, id)
	}
	load := func(ctx context.Context) (planFile, error) {
		doc, version, err := c.store.PlanView(ctx, id)
		if err != nil {
			return planFile{}, err
		}
		return newPlanFile(id, doc, version)
	}
	v, err := c.views.get(ctx, id, load)
	if err != nil {
		return nil, "", err
	}
	e, err := c.Event(ctx, id)
	if fault.Is(err, fault.Unavailable) {
		return v.doc, v.version, nil
	} else if err != nil {
		return nil, "", err
	}
	if v.revision < e.LayoutRevision {
		v = c.views.renew(ctx, id, v, load)
	}
	if !sameTiers(v.tiers, e.Tiers) {
		v, err = c.retier(id, v, e.Tiers)
	}
	return v.doc, v.version, err
}

// retier keeps a plan with other tiers, made once for all who ask meanwhile.
func (c *Cache) retier(id string, v planFile, tiers []Tier) (planFile, error) {
	made, err, _ := c.views.flight.Do(id, func() (any, error) {
		c.views.mu.Lock()
		epoch := c.views.epoch
		c.views.mu.Unlock()
		doc, version, err := WithTiers(v.doc, tiers)
		if err != nil {
			return planFile{}, fmt.Errorf("plan view of event %s: %w", id, err)
		}
		f, err := newPlanFile(id, doc, version)
		if err == nil {
			c.views.put(id, f, nil, epoch)
		}
		return f, err
	})
	if err != nil {
		return planFile{}, err
	}
	return made.(planFile), nil
}

func newPlanFile(id string, doc []byte, version string) (planFile, error) {
	var compact bytes.Buffer
	err := json.Compact(&compact, doc)
	var tiers []viewTier
	revision := 0
	if err == nil {
		tiers, revision, err = tiersOf(doc)
	}
	if err != nil {
		return planFile{}, fmt.Errorf("plan view of event %s: %w", id, err)
	}
	return planFile{bytes.Clone(compact.Bytes()), version, tiers, revision}, nil
}

// Tickets is Store.Tickets: who has a ticket is never a matter of memory.
func (c *Cache) Tickets(ctx context.Context, q TicketQuery) (TicketPage, error) {
	return c.store.Tickets(ctx, q)
}

// TicketEvent is Store.TicketEvent.
func (c *Cache) TicketEvent(ctx context.Context, ticket string) (event string, ordinal int, err error) {
	return c.store.TicketEvent(ctx, ticket)
}

// CreateEvent is Store.CreateEvent; this node lists the event at once.
func (c *Cache) CreateEvent(ctx context.Context, e NewEvent) (Event, error) {
	created, err := c.store.CreateEvent(ctx, e)
	if err == nil {
		c.pages.clear()
		c.events.forget(created.ID)
	}
	return created, err
}

// CreateSeries is Store.CreateSeries; this node lists the events at once.
func (c *Cache) CreateSeries(ctx context.Context, e NewEvent) (Series, error) {
	created, err := c.store.CreateSeries(ctx, e)
	if err == nil {
		c.pages.clear()
		c.series.forget(created.ID)
	}
	return created, err
}

// Series is Store.Series, at most a second old.
func (c *Cache) Series(ctx context.Context, id string) (Series, error) {
	if !IsID(id) {
		return c.store.Series(ctx, id)
	}
	return c.series.get(ctx, id, func(ctx context.Context) (Series, error) { return c.store.Series(ctx, id) })
}

// UpdateEvent is Store.UpdateEvent; this node shows the change at once, others
// within a second.
func (c *Cache) UpdateEvent(ctx context.Context, id string, p EventPatch) (e Event, told int, err error) {
	e, told, err = c.store.UpdateEvent(ctx, id, p)
	if err == nil {
		c.pages.clear()
		c.series.clear()
		c.events.forget(id)
	}
	return e, told, err
}

// Changed has this node show at once what was changed of an event, or with "" of
// what events have in common; others do within a second.
func (c *Cache) Changed(event string) {
	c.pages.clear()
	c.series.clear()
	if event == "" {
		c.events.clear()
		return
	}
	c.events.forget(event)
}

// EventDocument is Store.EventDocument, never from memory.
func (c *Cache) EventDocument(ctx context.Context, id string, withPlan bool) ([]byte, error) {
	return c.store.EventDocument(ctx, id, withPlan)
}

// shelf is a bounded cache of values that are loaded by key: the least recently
// used leave first. Values older than fresh (0: never) are loaded again by one
// caller while the others get the old one, and stay when that fails.
type shelf[V any] struct {
	clock  func() time.Time
	fresh  time.Duration
	most   int
	weight func(V) int
	flight singleflight.Group

	mu    sync.Mutex
	order *list.List // of *shelved[V], most recently used first
	items map[string]*list.Element
	total int
	epoch uint64 // grows when something is forgotten
}

type shelved[V any] struct {
	key        string
	value      V
	err        error // fault.NotFound is remembered for a short while
	weight     int
	until      time.Time // zero: forever
	refreshing bool
}

func newShelf[V any](clock func() time.Time, fresh time.Duration, most int, weight func(V) int) *shelf[V] {
	return &shelf[V]{clock: clock, fresh: fresh, most: most, weight: weight, order: list.New(), items: make(map[string]*list.Element)}
}

func (s *shelf[V]) get(ctx context.Context, key string, load func(context.Context) (V, error)) (V, error) {
	s.mu.Lock()
	if el, ok := s.items[key]; ok {
		item := el.Value.(*shelved[V])
		s.order.MoveToFront(el)
		current := item.until.IsZero() || s.clock().Before(item.until)
		switch {
		case current || (item.err == nil && item.refreshing):
			v, err := item.value, item.err
			s.mu.Unlock()
			return v, err
		case item.err == nil:
			item.refreshing = true
			epoch := s.epoch
			s.mu.Unlock()
			return s.refresh(ctx, item, epoch, load)
		}
	}
	s.mu.Unlock()

	// Whoever asks first loads for all who ask meanwhile, so their leaving must
	// not end the load.
	v, err, _ := s.flight.Do(key, func() (any, error) {
		s.mu.Lock()
		epoch := s.epoch
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), firstLoad)
		defer cancel()
		v, err := load(ctx)
		s.put(key, v, err, epoch)
		return v, err
	})
	if err != nil {
		var zero V
		return zero, err
	}
	return v.(V), nil
}

// refresh loads an old value again, and does not wait long for it.
func (s *shelf[V]) refresh(ctx context.Context, item *shelved[V], epoch uint64, load func(context.Context) (V, error)) (V, error) {
	ctx, cancel := context.WithTimeout(ctx, refreshPatient)
	defer cancel()
	done := false
	defer func() { // also when load panics
		if !done {
			s.keep(item)
		}
	}()
	v, err := load(ctx)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return item.value, nil
	}
	done = true
	s.put(item.key, v, err, epoch)
	return v, err
}

// renew loads a value that its event says is old, once for all who ask meanwhile.
// When that fails, the old one stays served.
func (s *shelf[V]) renew(ctx context.Context, key string, old V, load func(context.Context) (V, error)) V {
	v, err, _ := s.flight.Do("renew "+key, func() (any, error) {
		s.mu.Lock()
		epoch := s.epoch
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), firstLoad)
		defer cancel()
		v, err := load(ctx)
		if err == nil {
			s.put(key, v, nil, epoch)
		}
		return v, err
	})
	if err != nil {
		return old
	}
	return v.(V)
}

// keep lets an old value stand for another while.
func (s *shelf[V]) keep(item *shelved[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item.refreshing = false
	item.until = s.clock().Add(s.fresh)
}

// put keeps what was loaded, unless it may be older than something that was
// forgotten meanwhile.
func (s *shelf[V]) put(key string, v V, err error, epoch uint64) {
	item := &shelved[V]{key: key, value: v, err: err, weight: 1}
	switch {
	case err == nil:
		item.weight = max(1, s.weight(v))
		if s.fresh > 0 {
			item.until = s.clock().Add(s.fresh)
		}
	case fault.Is(err, fault.NotFound):
		// Anyone can think of any number of ids: a thousand of them at most.
		item.until, item.weight = s.clock().Add(unknownFresh), max(1, s.most/1000)
	default:
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(key)
	if epoch != s.epoch {
		return
	}
	s.items[key] = s.order.PushFront(item)
	for s.total += item.weight; s.total > s.most && s.order.Len() > 1; {
		s.drop(s.order.Back().Value.(*shelved[V]).key)
	}
}

// drop needs the lock.
func (s *shelf[V]) drop(key string) {
	if el, ok := s.items[key]; ok {
		s.total -= s.order.Remove(el).(*shelved[V]).weight
		delete(s.items, key)
	}
}

func (s *shelf[V]) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	s.flight.Forget(key)
	s.drop(key)
}

func (s *shelf[V]) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	s.order.Init()
	clear(s.items)
	s.total = 0
}
