package checkout

import (
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"

	"onsale/catalog"
	"onsale/internal/fault"
)

// Hold is a timed, all-or-nothing claim of one visitor on tickets of one event.
type Hold struct {
	ID             string           `json:"hold"`
	Event          string           `json:"event"`
	ExpiresAt      time.Time        `json:"expires_at"`
	ExtensionsLeft int              `json:"extensions_left"`
	Pinned         bool             `json:"pinned"` // an order is being paid
	Tickets        []catalog.Ticket `json:"tickets"`
	Total          catalog.Money    `json:"total"`

	Ordinals []int `json:"-"`
}

// HoldRequest asks for tickets by ordinal or for the best available.
type HoldRequest struct {
	Event, Visitor string
	ID             string // repeating a request with the same id returns the same hold
	Ordinals       []int
	Best           *BestAvailable
}

// BestAvailable asks for seats next to each other, best first.
type BestAvailable struct {
	Quantity   int
	Tier       int // index into the layout's tiers, -1 for any
	Accessible bool
}

// HeldTickets is a hold as the store knows it: ordinals, no prices.
type HeldTickets struct {
	ID         string
	Ordinals   []int
	Expires    time.Time
	Extensions int
	Pinned     bool
	Fence      int64
}

// HoldStore keeps holds and the live inventory. Its errors are faults:
// PassLapsed (no lease), LimitReached, TicketsTaken (with ErrTaken in the
// chain), SoldOut, HoldLapsed, Forbidden, Conflict, and Unavailable when the
// store does not answer.
type HoldStore interface {
	// Hold makes a hold. It returns ErrNoInventory when the event's inventory
	// must be loaded first.
	Hold(ctx context.Context, r HoldRequest, ttl time.Duration, limit int) (HeldTickets, error)
	Get(ctx context.Context, event, visitor, hold string) (HeldTickets, error)
	Extend(ctx context.Context, event, visitor, hold string, ttl time.Duration, most int) (HeldTickets, error)
	// Pin keeps a hold for an order until ttl from now.
	Pin(ctx context.Context, event, visitor, hold string, ttl time.Duration) (HeldTickets, error)
	// Unpin gives a pinned hold back to its visitor for ttl from now, or until
	// the end of the lease.
	Unpin(ctx context.Context, event, visitor, hold string, ttl time.Duration) error
	Release(ctx context.Context, event, visitor, hold string) error
	// OfVisitor lists the live holds of a visitor.
	OfVisitor(ctx context.Context, event, visitor string) ([]HeldTickets, error)
	// Settle carries a decision of the order store into the live inventory.
	Settle(ctx context.Context, s Settlement) error
	// Sweep frees lapsed holds and says when the next one lapses (-1: none).
	Sweep(ctx context.Context, event string) (freed int, next time.Duration, err error)

	// Snapshot returns the status bytes and their sequence number;
	// ErrNoInventory if they are not there.
	Snapshot(ctx context.Context, event string) (status []byte, seq int64, err error)
	// Load replaces the status bytes if seq still is what it was, or if they
	// are missing (expected 0). It reports whether it did.
	Load(ctx context.Context, event string, expected int64, status []byte, runs []RunInfo, orders map[int]time.Duration) (bool, error)
	// Locked tells which of these tickets are locked by a live hold or order.
	Locked(ctx context.Context, event string, ordinals []int) ([]bool, error)
	// Changes signals whenever the event's inventory changed. Signals may be
	// lost or merged. It ends with ctx.
	Changes(ctx context.Context, event string) (<-chan struct{}, error)
}

// RunInfo is a stretch of adjacent tickets that best-available may cut from.
type RunInfo struct {
	First, Count, Tier int
	GA, Accessible     bool
}

// Settlement is what Postgres decided about tickets.
type Settlement struct {
	Event, Visitor, Hold string
	Ordinals             []int
	To                   TicketState
	Bought               int           // change of the visitor's count of bought tickets
	For                  time.Duration // how long Held lasts
}

// TicketState is one byte of the live inventory.
type TicketState byte

// The states of a ticket in the live inventory.
const (
	Available TicketState = 'A'
	Held      TicketState = 'H'
	Sold      TicketState = 'S'
	Blocked   TicketState = 'X'
)

// Hold holds tickets for a visitor with a lease: all of them or none.
func (s *Service) Hold(ctx context.Context, r HoldRequest) (Hold, error) {
	layout, err := s.onSale(ctx, r.Event)
	if err != nil {
		return Hold{}, err
	}
	if err := checkRequest(r, layout); err != nil {
		return Hold{}, err
	}
	if r.ID == "" {
		if r.ID, err = newID(); err != nil {
			return Hold{}, err
		}
	}
	held, err := s.holds.Hold(ctx, r, s.opts.HoldTTL, layout.MaxPerBuyer)
	if fault.Is(err, codeNoInventory) {
		if err = s.inventory.Rebuild(ctx, r.Event); err != nil {
			return Hold{}, err
		}
		held, err = s.holds.Hold(ctx, r, s.opts.HoldTTL, layout.MaxPerBuyer)
	}
	if err != nil {
		return Hold{}, describeTaken(err, layout)
	}
	s.metrics.holds.Inc()
	return s.describe(layout, held), nil
}

// Holds lists the visitor's live holds of an event.
func (s *Service) Holds(ctx context.Context, event, visitor string) ([]Hold, error) {
	layout, err := s.catalog.Layout(ctx, event)
	if err != nil {
		return nil, err
	}
	held, err := s.holds.OfVisitor(ctx, event, visitor)
	if err != nil {
		return nil, err
	}
	holds := make([]Hold, 0, len(held))
	for _, h := range held {
		holds = append(holds, s.describe(layout, h))
	}
	return holds, nil
}

// GetHold returns one of the visitor's holds.
func (s *Service) GetHold(ctx context.Context, event, visitor, hold string) (Hold, error) {
	return s.oneHold(ctx, event, func() (HeldTickets, error) { return s.holds.Get(ctx, event, visitor, hold) })
}

// ExtendHold gives a hold its full time again, a limited number of times and
// never past the visitor's lease.
func (s *Service) ExtendHold(ctx context.Context, event, visitor, hold string) (Hold, error) {
	return s.oneHold(ctx, event, func() (HeldTickets, error) {
		return s.holds.Extend(ctx, event, visitor, hold, s.opts.HoldTTL, s.opts.MaxExtensions)
	})
}

// ReleaseHold gives a hold back. Releasing one that is gone is not an error.
func (s *Service) ReleaseHold(ctx context.Context, event, visitor, hold string) error {
	return s.holds.Release(ctx, event, visitor, hold)
}

func (s *Service) oneHold(ctx context.Context, event string, get func() (HeldTickets, error)) (Hold, error) {
	layout, err := s.catalog.Layout(ctx, event)
	if err != nil {
		return Hold{}, err
	}
	held, err := get()
	if err != nil {
		return Hold{}, err
	}
	return s.describe(layout, held), nil
}

// onSale returns the layout of an event whose tickets may be bought now.
func (s *Service) onSale(ctx context.Context, event string) (*catalog.Layout, error) {
	layout, err := s.catalog.Layout(ctx, event)
	if err != nil {
		return nil, err
	}
	e, err := s.catalog.Event(ctx, event)
	if err != nil {
		return nil, err
	}
	if e.Status != "on_sale" {
		return nil, fault.New(fault.Conflict, "the event is not on sale: it is %s", e.Status)
	}
	return layout, nil
}

func (s *Service) describe(layout *catalog.Layout, held HeldTickets) Hold {
	h := Hold{
		ID: held.ID, Event: layout.Event, ExpiresAt: held.Expires, Pinned: held.Pinned,
		ExtensionsLeft: max(s.opts.MaxExtensions-held.Extensions, 0),
		Tickets:        make([]catalog.Ticket, 0, len(held.Ordinals)),
		Total:          catalog.Money{Currency: layout.Currency},
		Ordinals:       held.Ordinals,
	}
	for _, o := range held.Ordinals {
		if o < 0 || o >= len(layout.Seats) {
			continue // a hold of a layout that no longer exists
		}
		t := layout.Ticket(o)
		h.Tickets = append(h.Tickets, t)
		h.Total.Amount += t.Price.Amount
	}
	return h
}

func checkRequest(r HoldRequest, layout *catalog.Layout) error {
	switch {
	case (len(r.Ordinals) > 0) == (r.Best != nil):
		return fault.New(fault.Invalid, "name tickets or ask for best_available: one of the two")
	case r.Best != nil && r.Best.Quantity < 1:
		return fault.New(fault.Invalid, "best_available.quantity must be at least 1")
	case max(len(r.Ordinals), quantity(r.Best)) > layout.MaxPerBuyer:
		return fault.New(fault.LimitReached, "one buyer may have at most %d tickets of this event", layout.MaxPerBuyer).
			With("limit", layout.MaxPerBuyer)
	}
	seen := make(map[int]bool, len(r.Ordinals))
	for _, o := range r.Ordinals {
		if o < 0 || o >= len(layout.Seats) {
			return fault.New(fault.Invalid, "ordinal %d: the event's tickets are 0 to %d", o, len(layout.Seats)-1)
		}
		if seen[o] {
			return fault.New(fault.Invalid, "ticket %s is named twice", layout.Seats[o].ID)
		}
		seen[o] = true
	}
	return nil
}

func quantity(b *BestAvailable) int {
	if b == nil {
		return 0
	}
	return b.Quantity
}

// describeTaken names the taken tickets by their ids.
func describeTaken(err error, layout *catalog.Layout) error {
	taken, ok := takenOf(err)
	if !ok {
		return err
	}
	ids := make([]string, 0, len(taken))
	for _, o := range taken {
		if o >= 0 && o < len(layout.Seats) {
			ids = append(ids, layout.Seats[o].ID)
		}
	}
	detail := "one of the tickets was just taken by somebody else; none were held"
	if len(ids) > 1 {
		detail = strconv.Itoa(len(ids)) + " of the tickets were just taken by somebody else; none were held"
	}
	return fault.Wrap(err, fault.TicketsTaken, "%s", detail).With("taken", ids).With("taken_ordinals", taken)
}

// newID returns a fresh UUIDv7.
func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	return id.String(), nil
}
