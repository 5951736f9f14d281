package checkout_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"onsale/checkout"
	"onsale/checkout/payment"
	"onsale/internal/fault"
)

// TestLimitsAfterwards: what became of an order says what of it counts towards the
// limits: its use of a promo code as long as it has a ticket or may get one, and each
// of its tickets as long as it is the buyer's. The two limits of the code agree.
func TestLimitsAfterwards(t *testing.T) {
	t.Parallel()
	h := newHouse(t, cancellable(1, false)) // at most 4 per buyer
	ctx := t.Context()
	free := 0
	seats := func(n int) (list []int) {
		for ; n > 0; n, free = n-1, free+1 {
			list = append(list, free)
		}
		return list
	}
	done := func(_ checkout.Order, err error) error { return err }
	refund := func(o checkout.Order, tickets ...int) error {
		r := checkout.RefundRequest{Order: o.ID, Actor: "admin"}
		for _, n := range tickets {
			r.Tickets = append(r.Tickets, o.Items[n].Ticket)
		}
		return done(h.RefundOrder(ctx, nil, r))
	}
	const unpaid, paid, captured = 0, 1, 2
	for name, test := range map[string]struct {
		upTo   int
		then   func(o checkout.Order) error
		counts bool // the code is used
		has    int  // tickets of the order's two
	}{
		"waits for its payment": {unpaid, nil, true, 2},
		"was declined": {unpaid, func(o checkout.Order) error {
			return done(h.Pay(ctx, key(), o.ID, payment.MethodDeclined))
		}, true, 2},
		"was not paid in time": {unpaid, func(o checkout.Order) error {
			h.exec(`update orders set pay_by = now() - interval '1 second' where id = $1`, o.ID)
			h.work()
			return nil
		}, false, 0},
		"was cancelled unpaid": {unpaid, func(o checkout.Order) error {
			return done(h.Cancel(ctx, nil, checkout.CancelRequest{Order: o.ID}))
		}, false, 0},
		"is paid":                           {paid, nil, true, 2},
		"was let go before it was captured": {paid, func(o checkout.Order) error { return refund(o) }, false, 0},
		"lost its authorisation": {paid, func(o checkout.Order) error {
			h.exec(`update sandbox_payments set status = 'voided' where id = (select id::text from payments where order_id = $1)`, o.ID)
			h.work()
			return nil
		}, false, 0},
		"is fulfilled":          {captured, nil, true, 2},
		"was refunded":          {captured, func(o checkout.Order) error { return refund(o) }, false, 0},
		"was refunded twice":    {captured, func(o checkout.Order) error { return errors.Join(refund(o), refund(o)) }, false, 0},
		"was given up by buyer": {captured, func(o checkout.Order) error { return done(h.Cancel(ctx, nil, checkout.CancelRequest{Order: o.ID})) }, false, 0},
		"gave one ticket back":  {captured, func(o checkout.Order) error { return refund(o, 0) }, true, 1},
		"gave both back, one by one": {captured, func(o checkout.Order) error {
			return errors.Join(refund(o, 0), refund(o, 1))
		}, false, 0},
		"has its money back, not its tickets": {captured, func(o checkout.Order) error {
			return done(h.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, Amount: o.Total.Amount, Actor: "admin"}))
		}, true, 2},
		"exchanged a ticket": {captured, func(o checkout.Order) error {
			return done(h.Exchange(ctx, nil, checkout.ExchangeRequest{
				Order: o.ID, Tickets: []string{o.Items[0].Ticket}, To: []string{h.layout.Seats[seats(1)[0]].ID}, Actor: "admin",
			}))
		}, true, 2},
		"exchanged a ticket, gave the other back": {captured, func(o checkout.Order) error {
			return errors.Join(done(h.Exchange(ctx, nil, checkout.ExchangeRequest{
				Order: o.ID, Tickets: []string{o.Items[0].Ticket}, To: []string{h.layout.Seats[seats(1)[0]].ID}, Actor: "admin",
			})), refund(o, 1))
		}, true, 1},
	} {
		// All places of one price, so that any is exchanged for any.
		if free+8 > 20 {
			h.exec(`update orders set pay_by = now() - interval '1 second' where status in ('awaiting_payment', 'declined')`)
			h.work()
			for _, id := range query[[]string](h, `select coalesce(array_agg(id::text), '{}') from orders where status in ('fulfilled', 'partially_refunded')`) {
				if err := refund(checkout.Order{ID: id}); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			free = 0
		}
		code := "CODE-" + strconv.Itoa(query[int](h, `select count(*) from promo_codes`))
		one, off := 1, int64(500)
		if _, err := h.CreatePromos(ctx, h.event, checkout.NewPromo{Code: code, Amount: &off, MaxUses: &one, PerBuyer: &one}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		visitor := h.admit(time.Hour)
		o, err := h.CreateOrder(ctx, key(), checkout.OrderRequest{
			Event: h.event, Visitor: visitor, Hold: h.hold(visitor, seats(2)...).ID, Buyer: buyer, Promo: code,
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if test.upTo >= paid {
			if o, err = h.Pay(ctx, key(), o.ID, payment.MethodOK); err != nil || o.Status != checkout.Paid {
				t.Fatalf("%s: pay: %s, %v", name, o.Status, err)
			}
		}
		if test.upTo == captured {
			h.work()
		}
		if test.then != nil {
			if err := test.then(o); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		used := query[int](h, `select used from promo_codes where code = $1`, code)
		if (used == 1) != test.counts {
			t.Errorf("%s: %d uses of the code are counted", name, used)
		}
		_, err = h.Promo(ctx, h.event, h.admit(time.Hour), code)
		if fault.Is(err, fault.PromoInvalid) != test.counts || err != nil && !test.counts {
			t.Errorf("%s: the code for another buyer: %v", name, err)
		}
		// With uses left, the limit per buyer speaks for itself.
		h.exec(`update promo_codes set max_uses = null where code = $1`, code)
		_, err = h.Promo(ctx, h.event, visitor, code)
		if fault.Is(err, fault.PromoInvalid) != test.counts || err != nil && !test.counts {
			t.Errorf("%s: the code for the same buyer: %v", name, err)
		}
		if had := query[int](h, `select count(*) from tickets t join users u on u.id = t.user_id where u.visitor = $1`, visitor); had != test.has {
			t.Errorf("%s: the buyer has %d tickets, want %d", name, had, test.has)
		}
		// What Redis counts for the next hold, and Postgres for the next order.
		most := seats(4 - test.has)
		again, err := h.CreateOrder(ctx, key(), checkout.OrderRequest{
			Event: h.event, Visitor: visitor, Hold: h.hold(visitor, most...).ID, Buyer: buyer, Promo: map[bool]string{false: code}[test.counts],
		})
		if err != nil {
			t.Errorf("%s: up to the limit: %v", name, err)
		} else if _, err := h.Cancel(ctx, nil, checkout.CancelRequest{Order: again.ID}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := h.Hold(ctx, checkout.HoldRequest{Event: h.event, Visitor: visitor, Ordinals: append(most, 39)}); !fault.Is(err, fault.LimitReached) {
			t.Errorf("%s: one more than the limit: %v", name, err)
		}
	}
	h.work()
	h.checkInvariants()
}
