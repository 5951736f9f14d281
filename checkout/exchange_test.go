package checkout_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/lua"
	"onsale/waitroom/pass"
)

// swap asks for other tickets for an order as it is now, with the hold of its own.
func (h *house) swap(o checkout.Order, tickets []string, r checkout.HoldRequest) (checkout.ExchangeHold, error) {
	h.t.Helper()
	now, err := h.Order(h.t.Context(), o.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	r.ID = uuid.NewSHA1(uuid.NameSpaceOID, []byte(o.ID)).String()
	return h.HoldToExchange(h.t.Context(), checkout.ExchangeHoldRequest{Order: now, Tickets: tickets, HoldRequest: r})
}

// TestBuyersExchange: a buyer who is long out of the shop, and has as many tickets as one
// may, holds others, is told what comes back, and has them. The fee stays as it was.
func TestBuyersExchange(t *testing.T) {
	t.Parallel()
	h := newHouse(t, withTerms(catalog.Terms{Cancel: &catalog.CancelPolicy{UntilHours: 48}, FeePerTicket: 150}))
	ctx := t.Context()
	o, list := h.fulfilled(0, 1, 2, 3)
	if err := h.rdb.ZRem(ctx, lua.ActiveKey(h.event), o.Visitor).Err(); err != nil { // their lease is over
		t.Fatal(err)
	}
	if _, err := h.Hold(ctx, checkout.HoldRequest{Event: h.event, Visitor: o.Visitor, Ordinals: []int{9}}); !fault.Is(err, fault.PassLapsed) {
		t.Fatalf("an ordinary hold: %v", err)
	}
	terms, err := h.ExchangeTerms(ctx, o)
	if err != nil || !terms.Allowed || terms.Until == nil || len(terms.Tickets) != 4 || terms.Tickets[0].Paid.Amount != 4650 {
		t.Fatalf("terms: %+v, %v", terms, err)
	}
	give := []string{list[0].Ticket, list[1].Ticket}
	floor := slices.IndexFunc(h.layout.Sections, func(s catalog.Section) bool { return s.GA })
	mixed := checkout.HoldRequest{Ordinals: []int{9}, Areas: []checkout.AreaQuantity{{Section: floor, Quantity: 1}}}
	x, err := h.swap(o, give, mixed)
	if err != nil || x.Paid.Amount != 9300 || x.Cost.Amount != 4650+1150 || x.Back.Amount != 3500 || h.live(9) != "H" {
		t.Fatalf("held: %+v, %v", x, err)
	}
	again, err := h.swap(o, give, mixed)
	if err != nil || again.Hold.ID != x.Hold.ID || !slices.Equal(again.Hold.Ordinals, x.Hold.Ordinals) || !again.Hold.ExpiresAt.Equal(x.Hold.ExpiresAt) {
		t.Errorf("asked for again: %+v, %v", again, err)
	}
	// Others instead: what was held before is free.
	if x, err = h.swap(o, give, checkout.HoldRequest{Ordinals: []int{8, 25}}); err != nil || h.live(9) != "A" || h.live(8) != "H" || x.Back.Amount != 2000 {
		t.Fatalf("others: %+v, %v", x, err)
	}
	k := key()
	errs := together(3, func(int) error {
		_, err := h.Exchange(context.Background(), &k, checkout.ExchangeRequest{Order: o.ID, Tickets: give, Hold: x.Hold.ID})
		return err
	})
	for _, err := range errs {
		if err != nil && !fault.Is(err, fault.KeyInFlight) {
			t.Errorf("three clicks at once: %v", err)
		}
	}
	got, err := h.Exchange(ctx, &k, checkout.ExchangeRequest{Order: o.ID, Tickets: give, Hold: x.Hold.ID})
	if err != nil || got.Refunded.Amount != 2000 || len(got.Ordinals()) != 4 {
		t.Fatalf("exchanged: %+v, %v", got, err)
	}
	if states := h.live(0) + h.live(1) + h.live(8) + h.live(25); states != "AASS" {
		t.Errorf("live states are %s, want AASS", states)
	}
	if _, err := h.swap(o, give, checkout.HoldRequest{Ordinals: []int{10, 11}}); !fault.Is(err, fault.Conflict) {
		t.Errorf("tickets that were exchanged: %v", err)
	}
	h.work()
	h.checkInvariants()
}

// TestExchangeIsRefused with nothing held in the end, whatever it was.
func TestExchangeIsRefused(t *testing.T) {
	t.Parallel()
	h, keys := newHouse(t, cancellable(48, false)), pass.Generate()
	ctx := t.Context()
	o, list := h.fulfilled(30, 31, 32, 33) // at 25.00
	h.result(keys, checkout.ScanAdmitted, checkout.Scan{Code: list[0].Code})
	if _, err := h.Transfer(ctx, list[1].ID, friend); err != nil {
		t.Fatal(err)
	}
	terms, err := h.ExchangeTerms(ctx, o)
	if err != nil || !terms.Allowed || terms.Tickets[0].Allowed || terms.Tickets[1].Allowed || !terms.Tickets[2].Allowed ||
		!strings.Contains(terms.Tickets[0].Why, "scanned") || !strings.Contains(terms.Tickets[1].Why, "passed on") {
		t.Errorf("terms: %+v, %v", terms, err)
	}
	rival := h.admit(time.Hour)
	h.hold(rival, 21)
	h.bought(22)
	waiting := h.order(rival, h.hold(rival, 23))
	unpaid, err := h.ExchangeTerms(ctx, waiting)
	if err != nil || unpaid.Allowed || unpaid.Until != nil || !strings.Contains(unpaid.Why, "awaiting_payment") {
		t.Errorf("terms of what is not paid: %+v, %v", unpaid, err)
	}
	mine := []string{list[2].Ticket}
	for name, test := range map[string]struct {
		order   checkout.Order
		tickets []string
		to      []int
		code    fault.Code
		says    string
	}{
		"held by somebody":    {o, mine, []int{21}, fault.TicketsTaken, "taken"},
		"sold to somebody":    {o, mine, []int{22}, fault.TicketsTaken, "taken"},
		"dearer":              {o, mine, []int{5}, fault.Conflict, "cost more"},
		"more than given":     {o, mine, []int{24, 25}, fault.Conflict, "as many others"},
		"nothing given":       {o, nil, []int{24}, fault.Conflict, "name the tickets"},
		"nothing wanted":      {o, mine, nil, fault.Invalid, "name tickets"},
		"no ticket of it":     {o, []string{h.layout.Seats[40].ID}, []int{24}, fault.NotFound, "no ticket"},
		"scanned":             {o, []string{list[0].Ticket}, []int{24}, fault.Conflict, "scanned"},
		"passed on":           {o, []string{list[1].Ticket}, []int{24}, fault.Conflict, "passed on"},
		"not paid":            {waiting, []string{waiting.Items[0].Ticket}, []int{24}, fault.Conflict, "awaiting_payment"},
		"not a ticket at all": {o, mine, []int{6000}, fault.Invalid, "ordinal"},
	} {
		_, err := h.swap(test.order, test.tickets, checkout.HoldRequest{Ordinals: test.to})
		if !fault.Is(err, test.code) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
		if states := h.live(5) + h.live(24) + h.live(25); states != "AAA" {
			t.Errorf("%s: live states are %s", name, states)
		}
	}
	if err := h.ReleaseToExchange(ctx, o, uuid.NewString()); err != nil {
		t.Errorf("there is nothing to release: %v", err)
	}

	strict, never := newHouse(t, cancellable(24*365*50, false)), newHouse(t)
	for says, h := range map[string]*house{"could be cancelled until": strict, "do not allow it": never} {
		o, list := h.fulfilled(1)
		if terms, err := h.ExchangeTerms(ctx, o); err != nil || terms.Allowed || !strings.Contains(terms.Why, says) || (terms.Until == nil) != (h == never) {
			t.Errorf("terms: %+v, %v", terms, err)
		}
		if _, err := h.swap(o, []string{list[0].Ticket}, checkout.HoldRequest{Ordinals: []int{24}}); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), says) {
			t.Errorf("a hold: %v, want %q", err, says)
		}
		if h.live(24) != "A" {
			t.Error("a seat is held that nobody may have")
		}
	}
	h.work()
	h.checkInvariants()
}

// TestExchangeAgainstHold: of a buyer who exchanges and one in the shop who want one
// seat, one has it.
func TestExchangeAgainstHold(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cancellable(48, false))
	o, list := h.fulfilled(0)
	rival := h.admit(time.Hour)
	for round := range 10 {
		errs := together(2, func(i int) error {
			if i == 0 {
				_, err := h.swap(o, []string{list[0].Ticket}, checkout.HoldRequest{Ordinals: []int{5}})
				return err
			}
			_, err := h.Hold(context.Background(), checkout.HoldRequest{Event: h.event, Visitor: rival, ID: uuid.NewSHA1(uuid.NameSpaceURL, []byte{byte(round)}).String(), Ordinals: []int{5}})
			return err
		})
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("round %d: %v", round, errs)
		}
		for _, v := range []string{o.Visitor, rival} {
			holds, err := h.Holds(t.Context(), h.event, v)
			if err != nil {
				t.Fatal(err)
			}
			for _, hold := range holds {
				if err := h.ReleaseHold(t.Context(), h.event, v, hold.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
