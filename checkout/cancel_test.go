package checkout_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/waitroom/pass"
)

// terms changes what the catalog says about an event.
type terms struct {
	checkout.Catalog
	catalog.Terms
}

func (c terms) Layout(ctx context.Context, event string) (*catalog.Layout, error) {
	l, err := c.Catalog.Layout(ctx, event)
	if err != nil {
		return nil, err
	}
	changed := *l
	changed.Terms = c.Terms
	return &changed, nil
}

// cancellable lets buyers of the house cancel until so many hours before the start.
func cancellable(hours int, keepFees bool) func(*checkout.Deps) {
	return withTerms(catalog.Terms{Cancel: &catalog.CancelPolicy{UntilHours: hours, KeepsFees: keepFees}})
}

func withTerms(t catalog.Terms) func(*checkout.Deps) {
	return func(d *checkout.Deps) { d.Catalog = terms{d.Catalog, t} }
}

func (h *house) quote(o checkout.Order, tickets ...string) checkout.CancelQuote {
	h.t.Helper()
	now, err := h.Order(h.t.Context(), o.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	q, err := h.QuoteCancel(h.t.Context(), now, tickets)
	if err != nil {
		h.t.Fatal(err)
	}
	return q
}

// TestTicketsOutOfHandStay: what was scanned or passed on is neither cancelled nor
// exchanged by the buyer, who is told which; an operator gives it back all the same.
func TestTicketsOutOfHandStay(t *testing.T) {
	t.Parallel()
	h, keys := newHouse(t, cancellable(48, false)), pass.Generate()
	ctx := t.Context()
	o, list := h.fulfilled(0, 1, 2)
	h.result(keys, checkout.ScanAdmitted, checkout.Scan{Code: list[0].Code})
	next, err := h.Transfer(ctx, list[1].ID, friend)
	if err != nil {
		t.Fatal(err)
	}
	for i, says := range []string{"seat 1 was scanned", "seat 2 was passed on"} {
		one := []string{list[i].Ticket}
		for what, tickets := range map[string][]string{"alone": one, "with others": {list[2].Ticket, list[i].Ticket}} {
			_, err := h.Cancel(ctx, nil, checkout.CancelRequest{Order: o.ID, Tickets: tickets})
			if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), says) {
				t.Errorf("cancel %s: %v, want %q", what, err, says)
			}
			if q := h.quote(o, tickets...); q.Allowed || !strings.Contains(q.Why, says) || q.Back.Amount != 0 {
				t.Errorf("quote %s: %+v", what, q)
			}
		}
		hold := h.hold(o.Visitor, 5)
		_, err := h.Exchange(ctx, nil, checkout.ExchangeRequest{Order: o.ID, Tickets: one, Hold: hold.ID})
		if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), says) {
			t.Errorf("exchange: %v, want %q", err, says)
		}
		if err := h.ReleaseHold(ctx, h.event, o.Visitor, hold.ID); err != nil {
			t.Errorf("the hold is not the visitor's any more: %v", err)
		}
	}
	if _, err := h.Cancel(ctx, nil, checkout.CancelRequest{Order: o.ID}); !fault.Is(err, fault.Conflict) {
		t.Errorf("all of it: %v", err)
	}
	q := h.quote(o)
	if q.Allowed || len(q.Tickets) != 3 || q.Tickets[0].Allowed || q.Tickets[1].Allowed || !q.Tickets[2].Allowed || q.Tickets[2].Back.Amount != 4500 {
		t.Errorf("quote: %+v", q)
	}
	got, err := h.Cancel(ctx, nil, checkout.CancelRequest{Order: o.ID, Tickets: []string{list[2].Ticket}})
	if err != nil || got.Status != checkout.PartiallyRefunded || got.Refunded.Amount != 4500 {
		t.Errorf("the third: %+v, %v", got, err)
	}
	if q := h.quote(o, list[2].Ticket); q.Allowed || len(q.Tickets) != 2 {
		t.Errorf("quote of what was given back: %+v", q)
	}
	if got, err = h.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, Actor: "admin"}); err != nil || got.Status != checkout.Refunded {
		t.Errorf("an operator's refund: %+v, %v", got, err)
	}
	h.result(keys, checkout.ScanRefunded, checkout.Scan{Code: next.Code})
	h.work()
	h.checkInvariants()
}

// TestScanAgainstCancel: either may win, never both.
func TestScanAgainstCancel(t *testing.T) {
	t.Parallel()
	h, keys := newHouse(t, cancellable(48, false)), pass.Generate()
	for round := range 10 {
		o, list := h.fulfilled(round)
		text := signed(t, keys, &list[0])
		var scanned checkout.Result
		errs := together(2, func(i int) error {
			if i == 0 {
				_, err := h.Cancel(context.Background(), nil, checkout.CancelRequest{Order: o.ID, Tickets: []string{list[0].Ticket}})
				return err
			}
			r, err := h.Scan(context.Background(), keys, []checkout.Scan{{Code: text, Gate: fmt.Sprint(round), By: "test", At: time.Now()}})
			if err == nil {
				scanned = r[0].Result
			}
			return err
		})
		if errs[1] != nil {
			t.Fatal(errs[1])
		}
		switch {
		case errs[0] == nil && scanned == checkout.ScanRefunded:
		case fault.Is(errs[0], fault.Conflict) && scanned == checkout.ScanAdmitted:
		default:
			t.Errorf("round %d: cancelled %v, and the door says %s", round, errs[0], scanned)
		}
	}
	h.work()
	h.checkInvariants()
}

// TestTransferAgainstCancel: the buyer's money comes back, or the ticket is their
// friend's, never both.
func TestTransferAgainstCancel(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cancellable(48, false))
	for round := range 10 {
		o, list := h.fulfilled(round)
		errs := together(2, func(i int) error {
			var err error
			if i == 0 {
				_, err = h.Cancel(context.Background(), nil, checkout.CancelRequest{Order: o.ID})
			} else {
				_, err = h.Transfer(context.Background(), list[0].ID, friend)
			}
			return err
		})
		if (errs[0] == nil) == (errs[1] == nil) || errs[0] != nil && !fault.Is(errs[0], fault.Conflict) || errs[1] != nil && !fault.Is(errs[1], fault.Conflict) {
			t.Errorf("round %d: cancelled %v, passed on %v", round, errs[0], errs[1])
		}
	}
	h.work()
	h.checkInvariants()
}

// TestQuotesAreKept: what is promised for giving tickets up is what goes back, and the
// time until which is the terms'.
func TestQuotesAreKept(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{true, false} {
		h := newHouse(t, withTerms(catalog.Terms{
			FeePerTicket: 150, FeePerOrder: 200, Cancel: &catalog.CancelPolicy{UntilHours: 48, KeepsFees: keep},
		}))
		ctx := t.Context()
		o, list := h.fulfilled(0, 1, 2)
		q := h.quote(o)
		if !q.Allowed || q.KeepFees != keep || q.Until == nil || q.Until.Format(time.RFC3339) != "2031-04-29T19:00:00Z" {
			t.Errorf("quote: %+v", q)
		}
		two := []string{list[0].Ticket, list[2].Ticket}
		promised := h.quote(o, two...)
		got, err := h.Cancel(ctx, nil, checkout.CancelRequest{Order: o.ID, Tickets: two})
		if err != nil || got.Refunded != promised.Back || promised.Back.Amount == 0 {
			t.Errorf("promised %+v, given back %+v, %v", promised.Back, got.Refunded, err)
		}
		rest := h.quote(o)
		got, err = h.Cancel(ctx, nil, checkout.CancelRequest{Order: o.ID})
		if err != nil || got.Refunded.Amount != promised.Back.Amount+rest.Back.Amount || got.Refunded.Amount != q.Back.Amount {
			t.Errorf("promised %+v, then %+v, %+v at first; given back %+v, %v", promised.Back, rest.Back, q.Back, got.Refunded, err)
		}
		if want := map[bool]int64{true: 3 * 4500, false: 3*4650 + 200}[keep]; got.Refunded.Amount != want {
			t.Errorf("keep fees %t: %d went back, want %d", keep, got.Refunded.Amount, want)
		}
		if q := h.quote(o); q.Allowed || q.Why == "" {
			t.Errorf("quote of what is over: %+v", q)
		}
	}
	strict := newHouse(t)
	o, _ := strict.fulfilled(0)
	if q := strict.quote(o); q.Allowed || q.Until != nil || !strings.Contains(q.Why, "terms of this event") || q.Tickets[0].Allowed {
		t.Errorf("without terms: %+v", q)
	}
	late := newHouse(t, cancellable(24*365*20, false))
	o, _ = late.fulfilled(0)
	if q := late.quote(o); q.Allowed || !strings.Contains(q.Why, "could be cancelled until") {
		t.Errorf("too late: %+v", q)
	}
	visitor := late.admit(time.Hour)
	open := late.order(visitor, late.hold(visitor, 3))
	if q := late.quote(open); !q.Allowed || q.Back.Amount != 0 {
		t.Errorf("an open order: %+v", q)
	}
}
