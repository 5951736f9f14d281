package checkout

import (
	"context"
	"slices"
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
	Total          catalog.Money    `json:"total"` // what is to be paid without a promo code
	Price          PriceView        `json:"price"`

	Ordinals []int `json:"-"`
}

// HoldRequest asks for tickets by ordinal, from areas, and for the best available
// ones: all of it makes one hold.
type HoldRequest struct {
	Event, Visitor string
	ID             string // repeating a request with the same id returns the same hold
	Ordinals       []int
	Areas          []AreaQuantity
	Best           *BestAvailable
}

// Quantity is how many tickets are asked for.
func (r *HoldRequest) Quantity() int {
	n := len(r.Ordinals)
	for _, a := range r.Areas {
		n += a.Quantity
	}
	if r.Best != nil {
		n += r.Best.Quantity
	}
	return n
}

// HoldChange adds tickets to a hold and drops others, in one step or not at all.
// Adding what it has, or dropping what it has not, changes nothing.
type HoldChange struct {
	Event, Visitor, Hold string
	Add, Drop            []int
}

// HeldTickets is a hold as the store knows it: ordinals, no prices.
type HeldTickets struct {
	ID         string
	Ordinals   []int
	Expires    time.Time
	Extensions int
	Pinned     bool
	// Fence grows with every hold of the event, and with every change of its
	// tickets: the order store refuses a claim with a lower one than a ticket
	// has seen.
	Fence int64
}

// HoldRules bound what a hold may have.
type HoldRules struct {
	Limit   int // most tickets of the event one buyer may hold and have bought
	Singles catalog.SingleSeats
	// Leaseless holds need no lease: their visitor has been through the waiting
	// room before.
	Leaseless bool
}

// HoldStore keeps holds and the live inventory. Its errors are faults:
// PassLapsed (no lease), LimitReached, TicketsTaken (a TakenError), SingleSeats (a
// SinglesError), SoldOut, HoldLapsed, Forbidden, Conflict, ErrNoInventory when the
// event's inventory must be loaded first, or is of an older layout than a hold asks for, and Unavailable when the store does
// not answer.
type HoldStore interface {
	// Hold makes a hold, or returns the one made before under this id.
	Hold(ctx context.Context, event, visitor, id string, w Wanted, ttl time.Duration, rules HoldRules) (HeldTickets, error)
	Change(ctx context.Context, c HoldChange, rules HoldRules) (HeldTickets, error)
	Get(ctx context.Context, event, visitor, hold string) (HeldTickets, error)
	Extend(ctx context.Context, event, visitor, hold string, ttl time.Duration, most int) (HeldTickets, error)
	// Pin keeps a hold for an order until ttl from now at least.
	Pin(ctx context.Context, event, visitor, hold string, ttl time.Duration) (HeldTickets, error)
	// Unpin gives a pinned hold back to its visitor for ttl from now, or until
	// the end of the lease.
	Unpin(ctx context.Context, event, visitor, hold string, ttl time.Duration) error
	Release(ctx context.Context, event, visitor, hold string) error
	// Guess adds to the wrong promo codes of a visitor that are counted since the
	// first of them, for as long as age. It returns their number and when they are
	// forgotten.
	Guess(ctx context.Context, event, visitor string, add int, age time.Duration) (n int, left time.Duration, err error)
	// OfVisitor lists the live holds of a visitor.
	OfVisitor(ctx context.Context, event, visitor string) ([]HeldTickets, error)
	// Settle carries a decision of the order store into the live inventory.
	Settle(ctx context.Context, s Settlement) error
	// Sweep frees lapsed holds and says when the next one lapses (-1: none).
	Sweep(ctx context.Context, event string) (freed int, next time.Duration, err error)

	// Stock counts the tickets, at a cost that does not depend on their number.
	Stock(ctx context.Context, event string) (Stock, error)
	// Snapshot reads all tickets at one moment.
	Snapshot(ctx context.Context, event string) (Snapshot, error)
	// Load replaces the inventory if its seq still is what it was, or if it, or a
	// part of it, is missing (expected 0). It reports whether it did. Live holds survive.
	Load(ctx context.Context, event string, expected int64, l Loading) (bool, error)
	// Reshape tells an inventory that is of an older layout what its tickets' places
	// are now. It reports whether there is an inventory, which then is of this layout
	// or a later one.
	Reshape(ctx context.Context, event string, revision int, shapes []SeatShape) (bool, error)
	// Locked tells which of these tickets are locked by a live hold.
	Locked(ctx context.Context, event string, ordinals []int) ([]bool, error)
	// Allot keeps tickets for a channel, 0 for none, and returns which. Those
	// that somebody has are left alone, or with evenTaken are allotted for when
	// they come back.
	Allot(ctx context.Context, event string, channel int, evenTaken bool, ordinals []int) ([]int, error)
	// Enter makes a visitor a member of exactly these channels.
	Enter(ctx context.Context, event, visitor string, channels []int) error
	// Instances names, for each of these events, the server that has it, "" if it
	// cannot be asked: another name means that what the last one acknowledged may
	// be lost.
	Instances(ctx context.Context, events []string) ([]string, error)
	// Changes signals whenever the event's inventory changed. Signals may be
	// lost or merged. It ends with ctx.
	Changes(ctx context.Context, event string) (<-chan struct{}, error)
}

// Snapshot is the live inventory at one moment.
type Snapshot struct {
	Status   []byte // TicketState by ordinal
	Channels []byte // number of the channel each ticket is kept for; nil if none is
	Stock    Stock  // as the store counts it
}

// Loading is an inventory to be loaded.
type Loading struct {
	Truth
	Buyers

	Shapes   []SeatShape
	Revision int   // of the layout
	Stock    Stock // what counting the states gives
}

// Settlement is what Postgres decided about tickets.
type Settlement struct {
	Event, Visitor, Hold string
	Ordinals             []int
	To                   TicketState   // Blocked is as Available: the store knows what is kept for whom
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
	if err := checkRequest(&r, layout); err != nil {
		return Hold{}, err
	}
	w, err := wanted(&r, layout, func(name string) (int, error) { return s.inventory.channelNumber(ctx, r.Event, name) })
	if err != nil {
		return Hold{}, err
	}
	if r.ID == "" {
		if r.ID, err = newID(); err != nil {
			return Hold{}, err
		}
	}
	held, err := s.take(ctx, layout, &r, w, rulesOf(layout))
	if err != nil {
		return Hold{}, err
	}
	return s.describe(layout, held), nil
}

// take makes the hold, of an inventory that is loaded first if it is missing.
func (s *Service) take(ctx context.Context, layout *catalog.Layout, r *HoldRequest, w Wanted, rules HoldRules) (HeldTickets, error) {
	hold := func() (HeldTickets, error) {
		return s.holds.Hold(ctx, r.Event, r.Visitor, r.ID, w, s.opts.HoldTTL, rules)
	}
	held, err := hold()
	if fault.Is(err, codeNoInventory) {
		if err = s.inventory.Rebuild(ctx, r.Event); err != nil {
			return HeldTickets{}, err
		}
		held, err = hold()
	}
	if err != nil {
		return HeldTickets{}, s.explain(ctx, err, layout, r.Ordinals)
	}
	s.metrics.holds.Inc()
	return held, nil
}

// ChangeHold adds tickets to a hold and drops others: all of it or nothing. The
// end of the hold stays.
func (s *Service) ChangeHold(ctx context.Context, c HoldChange) (Hold, error) {
	layout, err := s.onSale(ctx, c.Event)
	if err != nil {
		return Hold{}, err
	}
	if len(c.Add) == 0 && len(c.Drop) == 0 {
		return Hold{}, fault.New(fault.Invalid, "nothing is changed: add or drop is expected")
	}
	if len(c.Add) > layout.MaxPerBuyer {
		return Hold{}, overLimit(layout.MaxPerBuyer)
	}
	if err := checkOrdinals(layout, c.Add); err != nil {
		return Hold{}, err
	}
	if err := checkOrdinals(layout, c.Drop); err != nil {
		return Hold{}, err
	}
	held, err := s.holds.Change(ctx, c, rulesOf(layout))
	if err != nil {
		return Hold{}, s.explain(ctx, err, layout, c.Add)
	}
	return s.describe(layout, held), nil
}

func rulesOf(layout *catalog.Layout) HoldRules {
	return HoldRules{Limit: layout.MaxPerBuyer, Singles: layout.SingleSeats}
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
	if layout.Status != "on_sale" {
		return nil, fault.New(fault.Conflict, "the event is not on sale: it is %s", layout.Status)
	}
	return layout, nil
}

func (s *Service) describe(layout *catalog.Layout, held HeldTickets) Hold {
	h := Hold{
		ID: held.ID, Event: layout.Event, ExpiresAt: held.Expires, Pinned: held.Pinned,
		ExtensionsLeft: max(s.opts.MaxExtensions-held.Extensions, 0),
		Tickets:        make([]catalog.Ticket, 0, len(held.Ordinals)),
		Price:          priceOf(layout, held.Ordinals, nil),
		Ordinals:       held.Ordinals,
	}
	for _, o := range held.Ordinals {
		if o < 0 || o >= len(layout.Seats) {
			continue // a hold of a layout that no longer exists
		}
		h.Tickets = append(h.Tickets, layout.Ticket(o))
	}
	h.Total = h.Price.Total
	return h
}

func overLimit(most int) error {
	return fault.New(fault.LimitReached, "one buyer may have at most %d tickets of this event", most).With("limit", most)
}

func checkRequest(r *HoldRequest, layout *catalog.Layout) error {
	if r.Best != nil && r.Best.Quantity < 1 {
		return fault.New(fault.Invalid, "best_available.quantity must be at least 1")
	}
	for i, a := range r.Areas {
		switch {
		case a.Quantity < 1:
			return fault.New(fault.Invalid, "areas[%d].quantity must be at least 1", i)
		case a.Section < 0 || a.Section >= len(layout.Sections) || !layout.Sections[a.Section].GA:
			return fault.New(fault.Invalid, "areas[%d].section is not a general-admission section", i)
		}
	}
	if b := r.Best; b != nil {
		switch {
		case b.Accessible < 0 || b.Accessible > b.Quantity:
			return fault.New(fault.Invalid, "best_available.accessible_seats must be from 1 to the quantity")
		case b.Accessible > 0 && b.Split:
			return fault.New(fault.Invalid, "best_available.split: companions are not seated apart from accessible seats")
		case b.MinPrice < 0 || b.MaxPrice < 0 || (b.MaxPrice > 0 && b.MaxPrice < b.MinPrice):
			return fault.New(fault.Invalid, "best_available: min_price and max_price must be a range of minor units")
		}
	}
	switch n := r.Quantity(); {
	case n == 0:
		return fault.New(fault.Invalid, "name tickets, areas or ask for best_available")
	case n > layout.MaxPerBuyer:
		return overLimit(layout.MaxPerBuyer)
	}
	return checkOrdinals(layout, r.Ordinals)
}

func checkOrdinals(layout *catalog.Layout, ordinals []int) error {
	seen := make(map[int]bool, len(ordinals))
	for _, o := range ordinals {
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

// explain says why tickets are not held in words and ids, and what could be held
// instead. want are the tickets that were picked.
func (s *Service) explain(ctx context.Context, err error, layout *catalog.Layout, want []int) error {
	if singles, ok := singlesOf(err); ok {
		return describeSingles(err, layout, singles)
	}
	taken, ok := takenOf(err)
	if !ok {
		return err
	}
	f := describeTaken(err, layout)
	view, verr := s.inventory.Refresh(ctx, layout.Event)
	if verr != nil {
		return f
	}
	// Somebody may want all of their tickets elsewhere, or only those that are
	// missing: suggestions are made for the taken ones and for all.
	shape := s.inventory.shapes(layout)
	status := slices.Clone(view.Status)
	for _, o := range want { // what somebody wants besides is no suggestion instead
		if o < len(status) && !slices.Contains(taken, o) {
			status[o] = byte(Held)
		}
	}
	instead := choices(layout, alternatives(layout, shape, status, taken))
	f = f.With("alternatives", instead)
	if len(taken) < len(want) {
		f = f.With("alternatives_together", choices(layout, alternatives(layout, shape, view.Status, want)))
	}
	return f
}

// Choice is a suggestion of tickets.
type Choice struct {
	Tickets  []string `json:"tickets"`
	Ordinals []int    `json:"ordinals"`
}

func choices(layout *catalog.Layout, lists [][]int) []Choice {
	out := make([]Choice, 0, len(lists))
	for _, list := range lists {
		out = append(out, Choice{ids(layout, list), list})
	}
	return out
}

func ids(layout *catalog.Layout, ordinals []int) []string {
	list := make([]string, 0, len(ordinals))
	for _, o := range ordinals {
		if o >= 0 && o < len(layout.Seats) {
			list = append(list, layout.Seats[o].ID)
		}
	}
	return list
}

// describeTaken names the taken tickets by their ids.
func describeTaken(err error, layout *catalog.Layout) *fault.Error {
	taken, _ := takenOf(err)
	detail := "one of the tickets was just taken by somebody else; none were held"
	if len(taken) > 1 {
		detail = strconv.Itoa(len(taken)) + " of the tickets were just taken by somebody else; none were held"
	}
	return fault.Wrap(err, fault.TicketsTaken, "%s", detail).With("taken", ids(layout, taken)).With("taken_ordinals", taken)
}

func describeSingles(err error, layout *catalog.Layout, singles []int) error {
	t := layout.Ticket(singles[0])
	detail := "seat " + t.Seat + " in row " + t.Row + " would be left alone between taken seats"
	if len(singles) > 1 {
		detail = strconv.Itoa(len(singles)) + " seats would be left alone between taken seats"
	}
	return fault.Wrap(err, fault.SingleSeats, "%s; please move up or down the row by one seat", detail).
		With("singles", ids(layout, singles)).With("singles_ordinals", singles)
}

// newID returns a fresh UUIDv7.
func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	return id.String(), nil
}
