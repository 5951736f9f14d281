package checkout

import (
	"context"
	"errors"
	"strings"
	"time"

	"onsale/catalog"
	"onsale/internal/fault"
)

// Whereabouts says what became of a ticket since it was issued.
type Whereabouts struct {
	Scanned  bool
	PassedOn bool // to another holder
}

// Place names the ticket as people do.
func (i *Item) Place() string {
	parts := []string{i.Section}
	if i.Row != "" {
		parts = append(parts, "row "+i.Row)
	}
	if i.Seat != "" {
		parts = append(parts, "seat "+i.Seat)
	}
	return strings.Join(parts, ", ")
}

// GivenBack says why the ticket cannot be given back by its buyer, if so: Conflict.
func (i *Item) GivenBack(w Whereabouts) error {
	switch {
	case w.PassedOn:
		return fault.New(fault.Conflict, "the ticket %s was passed on to somebody else; it cannot be given back", i.Place())
	case w.Scanned:
		return fault.New(fault.Conflict, "the ticket %s was scanned at the door; it cannot be given back", i.Place())
	}
	return nil
}

// CancelQuote is what giving an order up, or some of its tickets, would do now.
type CancelQuote struct {
	Order   string `json:"order"`
	Allowed bool   `json:"allowed"`
	Why     string `json:"why"` // not; "" if it is
	// Until is when it ends that paid orders of the event can be cancelled; nil if
	// they cannot be at all.
	Until    *time.Time    `json:"until"`
	KeepFees bool          `json:"keep_fees"`
	Back     catalog.Money `json:"back"` // what of the money is given back
	// Tickets are those the order still has, asked for or not.
	Tickets []TicketBack `json:"tickets"`
}

// TicketBack is what giving up one ticket of an order alone would do.
type TicketBack struct {
	Ticket  string        `json:"ticket"`
	Allowed bool          `json:"allowed"`
	Why     string        `json:"why"`
	Back    catalog.Money `json:"back"`
}

// QuoteCancel says what Cancel would do, without doing it. Its numbers are those of
// the refund.
func (s *Service) QuoteCancel(ctx context.Context, o Order, tickets []string) (CancelQuote, error) {
	money := func(amount int64) catalog.Money { return catalog.Money{Amount: amount, Currency: o.Total.Currency} }
	q := CancelQuote{Order: o.ID, Back: money(0), Tickets: []TicketBack{}}
	if !o.Status.Sold() {
		q.Allowed = (o.Status == AwaitingPayment || o.Status == Declined) && len(tickets) == 0
		if !q.Allowed {
			q.Why = "an order that is " + string(o.Status) + " cannot be cancelled"
		}
		return q, nil
	}
	terms, until, err := s.cancelTerms(ctx, o)
	if err != nil {
		return CancelQuote{}, err
	}
	if terms != nil {
		q.Until, q.KeepFees = &until, terms.KeepsFees
	}
	why := cancelsUntil(o, terms, until)
	where, err := s.whereabouts(ctx, o.ID)
	if err != nil {
		return CancelQuote{}, err
	}
	for i := range o.Items {
		item := &o.Items[i]
		if item.Returned != nil {
			continue
		}
		t := TicketBack{Ticket: item.Ticket, Back: money(0)}
		not := why
		if not == nil {
			not = item.GivenBack(where[item.Ticket])
		}
		if not == nil {
			_, amount, err := o.RefundOf(RefundRequest{Tickets: []string{item.Ticket}, KeepFees: q.KeepFees})
			if err != nil {
				return CancelQuote{}, err
			}
			t.Allowed, t.Back = true, money(amount)
		} else if t.Why, err = reason(not); err != nil {
			return CancelQuote{}, err
		}
		q.Tickets = append(q.Tickets, t)
	}
	back, amount, err := o.RefundOf(RefundRequest{Tickets: tickets, KeepFees: q.KeepFees})
	if err != nil {
		return CancelQuote{}, err
	}
	not := why
	if not == nil && len(back) == 0 {
		not = fault.New(fault.Conflict, "the tickets were given back before")
	}
	for _, n := range back {
		if not == nil {
			not = o.Items[n].GivenBack(where[o.Items[n].Ticket])
		}
	}
	if not != nil {
		q.Why, err = reason(not)
		return q, err
	}
	q.Allowed, q.Back = true, money(amount)
	return q, nil
}

// reason is what a fault says, for who asks whether it would be one.
func reason(err error) (string, error) {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code == fault.Conflict {
		return f.Detail, nil
	}
	return "", err
}

// whereabouts tells what became of the tickets that an order has now.
func (s *Service) whereabouts(ctx context.Context, order string) (map[string]Whereabouts, error) {
	list, err := s.orders.Admissions(ctx, order)
	if err != nil {
		return nil, err
	}
	out := make(map[string]Whereabouts, len(list))
	for i := range list {
		out[list[i].Ticket] = Whereabouts{Scanned: list[i].Scanned != nil, PassedOn: list[i].EndReason == EndTransferred}
	}
	return out, nil
}

// cancelTerms returns the terms on which paid orders of the event may be cancelled,
// nil if they may not, and until when.
func (s *Service) cancelTerms(ctx context.Context, o Order) (terms *catalog.CancelPolicy, until time.Time, err error) {
	layout, err := s.catalog.Layout(ctx, o.Event)
	if err != nil || layout.Terms.Cancel == nil {
		return nil, time.Time{}, err
	}
	e, err := s.catalog.Event(ctx, o.Event)
	if err != nil {
		return nil, time.Time{}, err
	}
	terms = layout.Terms.Cancel
	return terms, e.StartsAt.Add(-time.Duration(terms.UntilHours) * time.Hour).UTC(), nil
}

// cancelsUntil refuses what the terms do not allow now.
func cancelsUntil(o Order, terms *catalog.CancelPolicy, until time.Time) error {
	if terms == nil {
		return fault.New(fault.Conflict, "an order that is %s cannot be cancelled: the terms of this event do not allow it", o.Status)
	}
	if time.Now().After(until) {
		return fault.New(fault.Conflict, "paid orders of this event could be cancelled until %s", until.Format(time.RFC3339))
	}
	return nil
}

// mayCancel returns the terms on which the buyer may give tickets of a paid order
// back now, or why they may not.
func (s *Service) mayCancel(ctx context.Context, o Order) (*catalog.CancelPolicy, error) {
	terms, until, err := s.cancelTerms(ctx, o)
	if err == nil {
		err = cancelsUntil(o, terms, until)
	}
	return terms, err
}
