package web

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"onsale/catalog"
	"onsale/internal/fault"
)

// Events knows events by their ids; *catalog.Cache is one.
type Events interface {
	Event(ctx context.Context, id string) (catalog.Event, error)
}

// drafts tells whose rooms are nobody's business yet. Where that cannot be known, since
// the database is away, people may stand in line: the shop sells nothing of a draft.
type drafts struct {
	events Events // nil: nobody knows
	clock  func() time.Time
	flight singleflight.Group

	mu    sync.Mutex
	known map[string]draftNow
}

type draftNow struct {
	draft bool
	until time.Time
}

const (
	draftFresh   = time.Second
	draftPatient = 300 * time.Millisecond // for an event that nobody has asked for yet
	mostDrafts   = 10_000
)

func newDrafts(events Events, clock func() time.Time) *drafts {
	return &drafts{events: events, clock: clock, known: make(map[string]draftNow)}
}

// forget has every event looked at again: an operator may have published one.
func (d *drafts) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.known)
}

func (d *drafts) has(ctx context.Context, event string) bool {
	if d.events == nil {
		return false
	}
	d.mu.Lock()
	now, ok := d.known[event]
	d.mu.Unlock()
	if ok && d.clock().Before(now.until) {
		return now.draft
	}
	looked := d.flight.DoChan(event, func() (any, error) {
		e, err := d.events.Event(context.WithoutCancel(ctx), event)
		draft := err == nil && e.Status == "draft" || now.draft && !fault.Is(err, fault.NotFound) && err != nil
		d.keep(event, draft)
		return draft, nil
	})
	if ok { // who asks for it again gets what was known, unless the answer is there
		select {
		case r := <-looked:
			return r.Val == true
		default:
			return now.draft
		}
	}
	wait := time.NewTimer(draftPatient)
	defer wait.Stop()
	select {
	case r := <-looked:
		return r.Val == true
	case <-wait.C:
		d.keep(event, false) // not everybody in a crowd waits
	case <-ctx.Done():
	}
	return false
}

func (d *drafts) keep(event string, draft bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= mostDrafts {
		clear(d.known)
	}
	d.known[event] = draftNow{draft, d.clock().Add(draftFresh)}
}

// publicRoom refuses the room of an event that is not public.
func (s *Server) publicRoom(ctx context.Context, event string) error {
	if s.drafts.has(ctx, event) {
		return fault.New(fault.NotFound, "there is no room for the event %q", event)
	}
	return nil
}
