package checkout

import (
	"context"
	"slices"
	"time"

	"onsale/catalog"
	"onsale/internal/fault"
)

// CaptureSoon is about how long a capture takes.
const CaptureSoon = 2 * time.Second

// ExchangeTerms is which tickets of an order its buyer may exchange now.
type ExchangeTerms struct {
	Order   string `json:"order"`
	Allowed bool   `json:"allowed"` // some of them
	Why     string `json:"why"`     // not; "" if it is
	// Until is when it ends that tickets of the event can be exchanged; nil if they
	// cannot be at all, or the order is not paid.
	Until *time.Time `json:"until"`
	// Tickets are those the order still has.
	Tickets []TicketToExchange `json:"tickets"`
}

// TicketToExchange is a ticket that the order has.
type TicketToExchange struct {
	Ticket  string        `json:"ticket"`
	Allowed bool          `json:"allowed"`
	Why     string        `json:"why"`
	Paid    catalog.Money `json:"paid"` // with its fee and tax: the others may cost as much
}

// ExchangeHold is tickets that are held for an order to be exchanged for others of it.
type ExchangeHold struct {
	Order   string        `json:"order"`
	Tickets []string      `json:"tickets"` // to be given back
	Hold    Hold          `json:"hold"`    // instead of them
	Paid    catalog.Money `json:"paid"`    // for those given back
	Cost    catalog.Money `json:"cost"`    // of the others, as the order has fees, tax and discount
	Back    catalog.Money `json:"back"`    // what is given back of the difference
}

// ExchangeHoldRequest asks for tickets instead of some of an order. Its event and
// visitor are the order's.
type ExchangeHoldRequest struct {
	Order   Order
	Tickets []string // to be given back
	// HoldRequest names them by ordinal and areas. Its ID is that of the order's hold
	// of this kind, of which it has one at most.
	HoldRequest
}

// ExchangeTerms says which tickets of an order may be exchanged.
func (s *Service) ExchangeTerms(ctx context.Context, o Order) (ExchangeTerms, error) {
	t := ExchangeTerms{Order: o.ID, Tickets: []TicketToExchange{}}
	why := o.exchangeable()
	if o.Status.Sold() {
		terms, until, err := s.cancelTerms(ctx, o)
		if err != nil {
			return ExchangeTerms{}, err
		}
		if terms != nil {
			t.Until = &until
		}
		if not := cancelsUntil(o, terms, until); not != nil {
			why = not
		}
		if _, err := s.onSale(ctx, o.Event); err != nil && why == nil {
			why = err
		}
	}
	where, err := s.whereabouts(ctx, o.ID)
	if err != nil {
		return ExchangeTerms{}, err
	}
	for i := range o.Items {
		item := &o.Items[i]
		if item.Returned != nil {
			continue
		}
		one := TicketToExchange{Ticket: item.Ticket, Paid: o.money(item.Cost.Total)}
		not := why
		if not == nil {
			not = item.GivenBack(where[item.Ticket])
		}
		if not == nil {
			one.Allowed, t.Allowed = true, true
		} else if one.Why, err = reason(not); err != nil {
			return ExchangeTerms{}, err
		}
		t.Tickets = append(t.Tickets, one)
	}
	switch {
	case t.Allowed:
	case why != nil:
		t.Why, err = reason(why)
	default:
		t.Why = "none of the tickets is in the buyer's hands any more"
	}
	return t, err
}

// HoldToExchange holds other tickets of the event for the buyer of an order, as many as
// are to be given back for them and no dearer, and says what goes back. Exchange does
// the rest. It needs no lease: who has an order has been through the waiting room, and
// gives as much back as they take. An order has one such hold at most: asking for the
// same again returns the same hold, asking for others gives up the one before.
func (s *Service) HoldToExchange(ctx context.Context, r ExchangeHoldRequest) (ExchangeHold, error) {
	o := r.Order
	r.Event, r.Visitor = o.Event, o.Visitor
	layout, err := s.onSale(ctx, o.Event)
	if err != nil {
		return ExchangeHold{}, err
	}
	if err := checkRequest(&r.HoldRequest, layout); err != nil {
		return ExchangeHold{}, err
	}
	back, err := o.ToExchange(r.Tickets, r.Quantity())
	if err != nil {
		return ExchangeHold{}, err
	}
	if _, err := s.mayCancel(ctx, o); err != nil {
		return ExchangeHold{}, err
	}
	where, err := s.whereabouts(ctx, o.ID)
	if err != nil {
		return ExchangeHold{}, err
	}
	for _, n := range back {
		if err := o.Items[n].GivenBack(where[o.Items[n].Ticket]); err != nil {
			return ExchangeHold{}, err
		}
	}
	held, err := s.holdInstead(ctx, layout, &r.HoldRequest)
	if err != nil {
		return ExchangeHold{}, err
	}
	items := o.itemsInstead(layout, r.Tickets, held.Ordinals)
	less, err := o.Less(back, items)
	if err != nil { // nobody waits for these
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sideEffect)
		defer cancel()
		if rerr := s.holds.Release(ctx, o.Event, o.Visitor, held.ID); rerr != nil {
			s.log.WarnContext(ctx, "a hold was left to lapse", "hold", held.ID, "error", rerr)
		}
		return ExchangeHold{}, err
	}
	h := ExchangeHold{Order: o.ID, Tickets: r.Tickets, Hold: s.describe(layout, held), Back: o.money(less)}
	h.Paid, h.Cost = o.money(o.paidFor(back)), o.money(costOf(items))
	return h, nil
}

// holdInstead makes the order's hold, or finds it again.
func (s *Service) holdInstead(ctx context.Context, layout *catalog.Layout, r *HoldRequest) (HeldTickets, error) {
	before, err := s.holds.Get(ctx, r.Event, r.Visitor, r.ID)
	switch {
	case err == nil && has(layout, before.Ordinals, r):
		return before, nil
	case err == nil && before.Pinned:
		return HeldTickets{}, fault.New(fault.Conflict, "an exchange of this order is under way; look at it again in a moment").After(CaptureSoon)
	case err == nil:
		err = s.holds.Release(ctx, r.Event, r.Visitor, r.ID)
	case fault.Is(err, fault.HoldLapsed):
		err = nil
	}
	if err != nil {
		return HeldTickets{}, err
	}
	w, err := wanted(r, layout, func(name string) (int, error) { return s.inventory.channelNumber(ctx, r.Event, name) })
	if err != nil {
		return HeldTickets{}, err
	}
	rules := rulesOf(layout)
	rules.Limit, rules.Leaseless = MostFence, true // as many go as come
	held, err := s.take(ctx, layout, r, w, rules)
	if err == nil && !has(layout, held.Ordinals, r) { // another request was quicker
		return HeldTickets{}, fault.New(fault.Conflict, "other tickets were chosen for this order at the same moment; look at it again")
	}
	return held, err
}

// ReleaseToExchange gives up what is held for an order. Doing it again is no error.
func (s *Service) ReleaseToExchange(ctx context.Context, o Order, hold string) error {
	return s.holds.Release(ctx, o.Event, o.Visitor, hold)
}

// has reports whether a hold has just what is asked for by ordinal and from areas.
func has(layout *catalog.Layout, held []int, r *HoldRequest) bool {
	want := make(map[int]int)
	for _, a := range r.Areas {
		want[a.Section] += a.Quantity
	}
	picked := 0
	for _, o := range held {
		switch {
		case slices.Contains(r.Ordinals, o):
			picked++
		case o < 0 || o >= len(layout.Seats):
			return false
		default:
			want[layout.Seats[o].Section]--
		}
	}
	for _, left := range want {
		if left != 0 {
			return false
		}
	}
	return picked == len(r.Ordinals)
}

// exchangeable says why no ticket of the order can be exchanged in its state, if so:
// Conflict.
func (o *Order) exchangeable() error {
	switch o.Status {
	case Fulfilled, PartiallyRefunded:
		return nil
	case Paid:
		return fault.New(fault.Conflict, "the payment is being captured; seats can be exchanged in a moment").After(CaptureSoon)
	default:
		return fault.New(fault.Conflict, "seats of an order that is %s cannot be exchanged", o.Status)
	}
}

// ToExchange finds the tickets that are given back for so many others, by their index
// in Items. Conflict if that cannot be done in this state of the order.
func (o *Order) ToExchange(tickets []string, others int) (back []int, err error) {
	if err := o.exchangeable(); err != nil {
		return nil, err
	}
	back, _, err = o.RefundOf(RefundRequest{Tickets: tickets})
	switch {
	case err != nil:
		return nil, err
	case len(tickets) == 0 || len(back) != len(tickets):
		return nil, fault.New(fault.Conflict, "name the tickets that are given back, none of which was given back before")
	case others != len(back):
		return nil, fault.New(fault.Conflict, "%d tickets are exchanged for as many others, not for %d", len(back), others)
	}
	return back, nil
}

// Less is how much goes back when tickets of the order are given for others, in minor
// units: what they cost less, as far as it has not gone back before. Conflict if the
// others are dearer.
func (o *Order) Less(back []int, others []Item) (int64, error) {
	old, price := o.paidFor(back), costOf(others)
	if price > old {
		return 0, fault.New(fault.Conflict, "the other tickets cost more; buy them and cancel these instead").With("difference", price-old)
	}
	return min(old-price, o.Total.Amount-o.Refunded.Amount), nil
}

func (o *Order) paidFor(items []int) (sum int64) {
	for _, n := range items {
		sum += o.Items[n].Cost.Total
	}
	return sum
}

func costOf(items []Item) (sum int64) {
	for i := range items {
		sum += items[i].Cost.Total
	}
	return sum
}

func (o *Order) money(amount int64) catalog.Money {
	return catalog.Money{Amount: amount, Currency: o.Total.Currency}
}

// itemsInstead are other tickets as items of the order. It has one tax and one fee per
// ticket, whatever the event's are by now, and what was taken off the tickets that are
// given back is taken off these.
func (o *Order) itemsInstead(layout *catalog.Layout, tickets []string, to []int) []Item {
	var promo *Promo
	if off := o.Discount(tickets); off > 0 {
		promo = &Promo{Kind: PromoAmount, Value: off}
	}
	same := *layout
	same.Terms.Tax = o.Quote.Tax
	if len(o.Quote.Items) > 0 {
		same.Terms.FeePerTicket = o.Quote.Items[0].Fee
	}
	return ItemsOf(layout, to, NewQuote(&same, to, promo))
}
