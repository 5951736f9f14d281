package checkout

import (
	"context"
	"slices"

	"onsale/catalog"
	"onsale/internal/fault"
)

// CancelRequest is a buyer's wish to be rid of an order, or of some of its tickets.
type CancelRequest struct {
	Order   string
	Tickets []string // none: all of them
}

// Cancel gives an order up for its buyer: one that is not paid, whenever they like;
// one that is, as the terms of its event allow. Its tickets are for sale again. k may
// be nil.
func (s *Service) Cancel(ctx context.Context, k *Key, r CancelRequest) (Order, error) {
	if o, answered, err := s.Answered(ctx, k); answered || err != nil {
		return o, err
	}
	var o Order
	var err error
	if len(r.Tickets) == 0 {
		o, err = s.orders.CancelOrder(ctx, k, r.Order, CancelledByBuyer)
	} else if o, err = s.orders.Order(ctx, r.Order); err == nil && !o.Status.Sold() {
		err = fault.New(fault.Conflict, "single tickets of an order that is %s cannot be cancelled", o.Status)
	}
	if err == nil && len(r.Tickets) == 0 {
		s.freed(ctx, o, 0)
		return o, nil
	}
	if err != nil && (!fault.Is(err, fault.Conflict) || !o.Status.Sold()) {
		return Order{}, err
	}
	policy, err := s.mayCancel(ctx, o)
	if err != nil {
		return Order{}, err
	}
	return s.RefundOrder(ctx, k, RefundRequest{Order: o.ID, Tickets: r.Tickets, KeepFees: policy.KeepsFees, ByBuyer: true, Actor: "the buyer"})
}

// Answered looks for the answer to a repeated request before anything is done for it
// that would find the world changed by the first one. k may be nil.
func (s *Service) Answered(ctx context.Context, k *Key) (Order, bool, error) {
	if k == nil {
		return Order{}, false, nil
	}
	if err := k.Check(); err != nil {
		return Order{}, false, err
	}
	return s.orders.Answered(ctx, *k)
}

// ExchangeRequest gives tickets of a paid order back for others of its event: those
// of a hold, or, when an operator chooses, those named.
type ExchangeRequest struct {
	Order   string
	Tickets []string
	Hold    string
	To      []string
	Reason  string
	Actor   string // "" for the buyer
}

// Exchange swaps tickets of a paid order. What is cheaper is refunded; what is dearer
// is refused. k may be nil.
func (s *Service) Exchange(ctx context.Context, k *Key, r ExchangeRequest) (Order, error) {
	if o, answered, err := s.Answered(ctx, k); answered || err != nil {
		return o, err
	}
	o, err := s.orders.Order(ctx, r.Order)
	if err != nil {
		return Order{}, err
	}
	layout, err := s.onSale(ctx, o.Event)
	if err != nil {
		return Order{}, err
	}
	x := NewExchange{Order: o.ID, Tickets: r.Tickets, Reason: r.Reason, Actor: r.Actor, Fence: MostFence, Anyone: true}
	var to []int
	if r.Actor == "" {
		x.Actor, x.Anyone, x.ByBuyer = "the buyer", false, true
		if _, err := s.mayCancel(ctx, o); err != nil {
			return Order{}, err
		}
		held, err := s.holds.Pin(ctx, o.Event, o.Visitor, r.Hold, pinFirst)
		if fault.Is(err, fault.HoldLapsed) { // it ends with the exchange: the same request may have done it just now
			if o, answered, aerr := s.Answered(ctx, k); answered || aerr != nil {
				return o, aerr
			}
		}
		if err != nil {
			return Order{}, err
		}
		to, x.Fence = held.Ordinals, held.Fence
	} else if to, err = s.choose(ctx, layout, r.To); err != nil {
		return Order{}, err
	}
	x.Items = o.itemsInstead(layout, r.Tickets, to)
	done, err := s.orders.ExchangeTickets(ctx, k, x)
	if err != nil {
		if r.Hold != "" && !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.KeyInFlight) {
			err = s.unpinned(ctx, o, r.Hold, err)
		}
		return Order{}, s.explain(ctx, err, layout, to)
	}
	s.step(StepExchanged)
	if len(done.Freed) > 0 || len(done.Items) > len(o.Items) {
		s.freed(ctx, done, -len(done.Freed))
		sold := done
		sold.Hold = r.Hold
		s.settle(ctx, sold, Sold, to, len(to))
	}
	return done, nil
}

// choose finds tickets that an operator names, none of which anybody holds.
func (s *Service) choose(ctx context.Context, layout *catalog.Layout, tickets []string) ([]int, error) {
	to := make([]int, len(tickets))
	for i, ticket := range tickets {
		o, known := layout.Ordinal(ticket)
		if !known {
			return nil, fault.New(fault.NotFound, "the event has no ticket %s", ticket)
		}
		to[i] = o
	}
	if err := checkOrdinals(layout, to); err != nil {
		return nil, err
	}
	locked, err := s.holds.Locked(ctx, layout.Event, to)
	if err != nil {
		return nil, err
	}
	var taken []int
	for i, is := range locked {
		if is {
			taken = append(taken, to[i])
		}
	}
	if len(taken) > 0 {
		return nil, s.explain(ctx, Taken(taken), layout, to)
	}
	return to, nil
}

// unpinned gives a hold back to its visitor, and returns why.
func (s *Service) unpinned(ctx context.Context, o Order, hold string, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sideEffect)
	defer cancel()
	if err := s.holds.Unpin(ctx, o.Event, o.Visitor, hold, s.opts.HoldTTL); err != nil && !fault.Is(err, fault.HoldLapsed) {
		s.log.WarnContext(ctx, "a hold was left to lapse", "hold", hold, "error", err)
	}
	return cause
}

// CancelEvent takes an event off sale for good and gives its buyers their money back,
// by and by. Doing it again changes nothing.
func (s *Service) CancelEvent(ctx context.Context, c Cancellation, actor string) (Cancellation, error) {
	if err := s.orders.CancelEvent(ctx, c, actor); err != nil {
		return Cancellation{}, err
	}
	s.step(StepCalledOff)
	return s.orders.Cancellation(ctx, c.Event)
}

// Cancellation tells how far the cancellation of an event has come; NotFound if it was
// not cancelled.
func (s *Service) Cancellation(ctx context.Context, event string) (Cancellation, error) {
	return s.orders.Cancellation(ctx, event)
}

// Discount is what a promo code took off these tickets of the order, in minor units.
func (o *Order) Discount(tickets []string) (off int64) {
	for i := range o.Items {
		if slices.Contains(tickets, o.Items[i].Ticket) {
			off += o.Items[i].Cost.Discount
		}
	}
	return off
}

// RefundOf works out what of an order that has been paid a request takes back: tickets, by
// their index in Items, and the money for them in minor units, or money alone.
// Tickets that were given back before are passed over. Nothing is given back twice:
// the money is at most what is left of the total.
func (o *Order) RefundOf(r RefundRequest) (back []int, amount int64, err error) {
	left := o.Total.Amount - o.Refunded.Amount
	if r.Amount != 0 {
		switch {
		case len(r.Tickets) > 0:
			return nil, 0, fault.New(fault.Invalid, "name either tickets or an amount")
		case r.Amount < 0 || r.Amount > left:
			return nil, 0, fault.New(fault.Conflict, "amount must be from 1 to %d, which is what is left of the order", left).With("left", left)
		}
		return nil, r.Amount, nil
	}
	for _, ticket := range r.Tickets {
		if !slices.ContainsFunc(o.Items, func(i Item) bool { return i.Ticket == ticket }) {
			return nil, 0, fault.New(fault.NotFound, "the order has no ticket %s", ticket)
		}
	}
	had := 0
	for i := range o.Items {
		item := &o.Items[i]
		if item.Returned != nil {
			continue
		}
		had++
		if len(r.Tickets) > 0 && !slices.Contains(r.Tickets, item.Ticket) {
			continue
		}
		back = append(back, i)
		amount += item.Cost.RefundOf(o.Quote.Tax, r.KeepFees)
	}
	if len(back) == had && !r.KeepFees { // the last of them take the order's own fee along
		amount += o.Quote.OrderFeeTotal
	}
	return back, min(amount, left), nil
}

// RefundOf is what goes back for a ticket: all that was paid for it, or all but its
// fee and the tax on that.
func (p ItemPrice) RefundOf(tax catalog.Tax, keepFee bool) int64 {
	if !keepFee {
		return p.Total
	}
	_, total := taxed(p.Price-p.Discount, tax)
	return min(total, p.Total)
}
