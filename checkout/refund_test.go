package checkout_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/checkout/payment"
	"onsale/internal/fault"
)

// TestRefundByTicket gives back one ticket, then money without a ticket, then the
// rest: never more than was paid, and each ticket is for sale again at once.
func TestRefundByTicket(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	_, o := h.bought(1, 2, 3)
	ask := func(r checkout.RefundRequest) checkout.Order {
		t.Helper()
		r.Order, r.Actor = o.ID, "admin"
		got, err := h.RefundOrder(ctx, nil, r)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	one := []string{h.layout.Seats[2].ID}
	if _, err := h.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, Tickets: one}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a part of what is not captured yet: %v", err)
	}
	h.work()
	for range 2 { // the same ticket twice
		got := ask(checkout.RefundRequest{Tickets: one})
		if got.Status != checkout.PartiallyRefunded || got.Refunded.Amount != 4500 || got.Items[1].Returned == nil {
			t.Errorf("after one ticket: %+v", got)
		}
	}
	if h.live(1) != "S" || h.live(2) != "A" || h.live(3) != "S" {
		t.Errorf("live states are %s%s%s, want SAS", h.live(1), h.live(2), h.live(3))
	}
	h.bought(2) // by somebody else
	h.work()
	if got := ask(checkout.RefundRequest{Amount: 1000}); got.Refunded.Amount != 5500 || got.Items[0].Code == "" {
		t.Errorf("after an amount: %+v", got)
	}
	if _, err := h.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, Amount: 8001}); !fault.Is(err, fault.Conflict) {
		t.Errorf("more than is left: %v", err)
	}
	if _, err := h.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, Tickets: []string{h.layout.Seats[9].ID}}); !fault.Is(err, fault.NotFound) {
		t.Errorf("a ticket of nobody: %v", err)
	}
	if got := ask(checkout.RefundRequest{}); got.Status != checkout.Refunded || got.Refunded.Amount != 13500 {
		t.Errorf("after the rest: %+v", got)
	}
	h.work()
	if ours, _ := h.payment(o); ours != "refunded" {
		t.Errorf("the payment is %s", ours)
	}
	if n := query[int](h, `select sum(amount)::int from sandbox_refunds`); n != 13500 {
		t.Errorf("%d were given back, want 13500", n)
	}
	if h.live(1) != "A" || h.live(2) != "S" || h.live(3) != "A" {
		t.Errorf("live states are %s%s%s, want ASA", h.live(1), h.live(2), h.live(3))
	}
	h.checkInvariants()
}

// TestRefundKey repeats a refund of money whose answer was lost.
func TestRefundKey(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, o := h.bought(1)
	h.work()
	k := key()
	for range 3 {
		got, err := h.RefundOrder(t.Context(), &k, checkout.RefundRequest{Order: o.ID, Amount: 500, Actor: "admin"})
		if err != nil || got.Refunded.Amount != 500 {
			t.Errorf("refund: %+v, %v", got.Refunded, err)
		}
	}
	h.work()
	if n := query[int](h, `select sum(amount)::int from sandbox_refunds`); n != 500 {
		t.Errorf("%d were given back, want 500", n)
	}
}

// TestRefundOfOrder holds by any order and any sequence of refunds that no more goes
// back than was paid, and all of it in the end.
func TestRefundOfOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		layout := &catalog.Layout{Currency: "EUR", Terms: catalog.Terms{
			FeePerTicket: rapid.Int64Range(0, 500).Draw(t, "fee"), FeePerOrder: rapid.Int64Range(0, 500).Draw(t, "order fee"),
			Tax: catalog.Tax{Rate: catalog.Rate(rapid.IntRange(0, 30_000).Draw(t, "rate")), Included: rapid.Bool().Draw(t, "included")},
		}}
		n := rapid.IntRange(1, 6).Draw(t, "tickets")
		var ordinals []int
		for i := range n {
			layout.Tiers = append(layout.Tiers, catalog.Tier{Price: catalog.Money{Amount: rapid.Int64Range(0, 20_000).Draw(t, "price")}})
			layout.Sections = []catalog.Section{{}}
			layout.Seats = append(layout.Seats, catalog.Seat{ID: string(rune('a' + i)), Tier: i})
			ordinals = append(ordinals, i)
		}
		var promo *checkout.Promo
		if rapid.Bool().Draw(t, "has promo") {
			promo = &checkout.Promo{Kind: checkout.PromoAmount, Value: rapid.Int64Range(1, 30_000).Draw(t, "off")}
		}
		q := checkout.NewQuote(layout, ordinals, promo)
		o := checkout.Order{Quote: q, Items: checkout.ItemsOf(layout, ordinals, q), Total: catalog.Money{Amount: q.Total}}
		now := time.Now()
		for left := n; left > 0; {
			r := checkout.RefundRequest{KeepFees: rapid.Bool().Draw(t, "keep fees")}
			if rapid.Bool().Draw(t, "money alone") {
				if most := o.Total.Amount - o.Refunded.Amount; most > 0 {
					r.Amount = rapid.Int64Range(1, most).Draw(t, "amount")
				}
			}
			if r.Amount == 0 && left > 1 {
				r.Tickets = []string{o.Items[rapid.IntRange(0, n-1).Draw(t, "which")].Ticket}
			}
			back, amount, err := o.RefundOf(r)
			if err != nil || amount < 0 {
				t.Fatalf("%+v: %d, %v", r, amount, err)
			}
			o.Refunded.Amount += amount
			for _, i := range back {
				o.Items[i].Returned = &now
				left--
			}
			if o.Refunded.Amount > o.Total.Amount {
				t.Fatalf("%d of %d went back", o.Refunded.Amount, o.Total.Amount)
			}
		}
	})
}

// TestRepeatedWishes asks again, with the same key, for what was done: to give an order
// back and to exchange a seat.
func TestRepeatedWishes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, withTerms(catalog.Terms{Cancel: &catalog.CancelPolicy{UntilHours: 1}}))
	ctx := t.Context()
	_, o := h.bought(1)
	h.work()
	seat := func(n int) string { return h.layout.Seats[n].ID }
	k := key()
	for range 2 {
		got, err := h.Exchange(ctx, &k, checkout.ExchangeRequest{Order: o.ID, Tickets: []string{seat(1)}, To: []string{seat(3)}, Actor: "admin"})
		if err != nil || len(got.Ordinals()) != 1 || got.Ordinals()[0] != 3 {
			t.Errorf("exchange: %v, %v", got.Ordinals(), err)
		}
	}
	other := k
	other.Fingerprint = "g"
	if _, err := h.Cancel(ctx, &other, checkout.CancelRequest{Order: o.ID}); !fault.Is(err, fault.KeyReused) {
		t.Errorf("the key of another request: %v", err)
	}
	visitor := h.admit(time.Hour)
	open := h.order(visitor, h.hold(visitor, 4))
	k = key()
	for range 2 {
		if got, err := h.Cancel(ctx, &k, checkout.CancelRequest{Order: open.ID}); err != nil || got.Status != checkout.Cancelled {
			t.Errorf("cancel what is not paid: %s, %v", got.Status, err)
		}
	}
	other = k
	other.Fingerprint = "g"
	if _, err := h.Cancel(ctx, &other, checkout.CancelRequest{Order: open.ID}); !fault.Is(err, fault.KeyReused) {
		t.Errorf("the key of another cancellation: %v", err)
	}
	k = key()
	for range 2 {
		got, err := h.Cancel(ctx, &k, checkout.CancelRequest{Order: o.ID})
		if err != nil || got.Status != checkout.Refunded || got.Refunded.Amount != 4500 {
			t.Errorf("cancel: %s, %+v, %v", got.Status, got.Refunded, err)
		}
	}
	h.work()
	h.checkInvariants()
}

// TestExchange swaps seats of a paid order: for as dear ones, for cheaper ones whose
// difference goes back, and not for dearer ones or for somebody else's.
func TestExchange(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	_, o := h.bought(1, 2)
	h.bought(4)
	h.work()
	o, err := h.Order(ctx, o.ID)
	if err != nil {
		t.Fatal(err)
	}
	seat := func(n int) string { return h.layout.Seats[n].ID }
	exchange := func(from, to []string) (checkout.Order, error) {
		return h.Exchange(ctx, nil, checkout.ExchangeRequest{Order: o.ID, Tickets: from, To: to, Reason: "broken", Actor: "admin"})
	}
	oldCode := o.Items[0].Code
	got, err := exchange([]string{seat(1)}, []string{seat(3)})
	if err != nil || len(got.Ordinals()) != 2 || got.Status != checkout.Fulfilled || got.Refunded.Amount != 0 {
		t.Fatalf("as dear: %+v, %v", got, err)
	}
	if h.live(1) != "A" || h.live(2) != "S" || h.live(3) != "S" {
		t.Errorf("live states are %s%s%s, want ASS", h.live(1), h.live(2), h.live(3))
	}
	for i := range got.Items {
		item := &got.Items[i]
		if (item.Code == "") != (item.Ordinal == 1) || item.Code == oldCode {
			t.Errorf("ticket %d has the code %q", item.Ordinal, item.Code)
		}
	}
	h.bought(1)
	if _, err := exchange([]string{seat(1)}, []string{seat(5)}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a ticket that was given back: %v", err)
	}
	_, err = exchange([]string{seat(2)}, []string{seat(4)})
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.TicketsTaken {
		t.Errorf("somebody else's seat: %v", err)
	}
	holder := h.admit(time.Hour)
	h.hold(holder, 5)
	if _, err := exchange([]string{seat(2)}, []string{seat(5)}); !fault.Is(err, fault.TicketsTaken) {
		t.Errorf("a seat that somebody holds: %v", err)
	}
	if got, err = exchange([]string{seat(2)}, []string{seat(25)}); err != nil || got.Refunded.Amount != 2000 {
		t.Errorf("a cheaper one: %+v, %v", got.Refunded, err)
	}
	if _, err := exchange([]string{seat(25)}, []string{seat(6)}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a dearer one: %v", err)
	}
	h.work()
	if n := query[int](h, `select sum(amount)::int from sandbox_refunds`); n != 2000 {
		t.Errorf("%d were given back, want 2000", n)
	}
	if got, err = h.refund(o); err != nil || got.Refunded.Amount != 9000 {
		t.Errorf("everything back after all: %+v, %v", got.Refunded, err)
	}
	h.work()
	h.checkInvariants()
}

// TestCancelEvent cancels an event with orders in every state, and stops halfway:
// everybody's money goes back by itself, whoever pays at that moment included.
func TestCancelEvent(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	for seat := 10; seat < 16; seat++ {
		h.bought(seat)
	}
	h.work() // captured
	waiting, declined, asked := h.admit(time.Hour), h.admit(time.Hour), h.admit(time.Hour)
	h.order(waiting, h.hold(waiting, 1))
	second := h.order(declined, h.hold(declined, 2))
	if _, err := h.Pay(ctx, key(), second.ID, payment.MethodDeclined); err != nil {
		t.Fatal(err)
	}
	third := h.order(asked, h.hold(asked, 3))
	_, p, _, err := h.orders.BeginPayment(ctx, key(), third.ID, payment.MethodOK, "sandbox")
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.gateway.Authorise(ctx, payment.Charge{Key: p.ID, Order: third.ID, Amount: 4500, Currency: "EUR", Method: payment.MethodOK})
	if err != nil {
		t.Fatal(err)
	}
	h.bought(16)

	if _, err := h.Cancellation(ctx, h.event); !fault.Is(err, fault.NotFound) {
		t.Errorf("before: %v", err)
	}
	c, err := h.CancelEvent(ctx, checkout.Cancellation{Event: h.event, Reason: "storm"}, "admin")
	if err != nil || c.Left != 10 || c.Finished != nil {
		t.Fatalf("cancel: %+v, %v", c, err)
	}
	if _, err := h.CancelEvent(ctx, checkout.Cancellation{Event: h.event, Reason: "again"}, "admin"); err != nil {
		t.Errorf("twice: %v", err)
	}
	due, err := h.orders.Due(ctx, 0, 3) // somebody takes three and is killed
	if err != nil || len(due.CalledOff) != 3 {
		t.Errorf("due: %d, %v", len(due.CalledOff), err)
	}
	h.work()
	h.work() // the refunds
	c, err = h.Cancellation(ctx, h.event)
	if err != nil || c.Left != 0 || c.Finished == nil || c.Ended != 3 || c.Refunded != 7 || c.RefundsDone < 6 || c.GivenBack.Amount != int64(c.RefundsDone)*4500 {
		t.Errorf("in the end: %+v, %v", c, err)
	}
	if n := query[int](h, `select count(*) from sandbox_payments where status = 'authorised' or status = 'captured' and refunded < amount`); n != 0 {
		t.Errorf("%d payments are kept", n)
	}
	if n := query[int](h, `select count(*) from tickets where status <> 'available'`); n != 0 {
		t.Errorf("%d tickets are somebody's", n)
	}
	h.checkInvariants()
}

// TestOrderAfterItsEventWasCancelled: one that was being written then comes when all the
// others are at their end, and is called off as they were.
func TestOrderAfterItsEventWasCancelled(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	late := h.admit(time.Minute)
	o := h.order(late, h.hold(late, 1))
	if _, err := h.CancelEvent(ctx, checkout.Cancellation{Event: h.event, Reason: "storm"}, "admin"); err != nil {
		t.Fatal(err)
	}
	h.exec(`update event_cancellations set finished_at = now()`) // as it is if the order was not there yet
	h.work()
	h.work() // to see that it was the last
	if got, err := h.orders.Order(ctx, o.ID); err != nil || got.Status != checkout.Cancelled {
		t.Errorf("the order is %s, %v", got.Status, err)
	}
	if c, err := h.Cancellation(ctx, h.event); err != nil || c.Left != 0 || c.Finished == nil || c.Ended != 1 {
		t.Errorf("in the end: %+v, %v", c, err)
	}
	h.checkInvariants()
}

// TestComparedTooSoon: money that goes back while the gateway is asked, and what a
// gateway says right after the end, leave the last word to a later comparison.
func TestComparedTooSoon(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	_, o := h.bought(1)
	h.work()
	id := query[string](h, `select id::text from payments where order_id = $1`, o.ID)
	unchecked := func(when string) {
		t.Helper()
		if n := query[int](h, `select count(*) from payments where checked_at is null`); n != 1 {
			t.Errorf("%s: the payment was compared for good", when)
		}
		if n := query[int](h, `select count(*) from reconciliations`); n != 0 {
			t.Errorf("%s: %d differences", when, n)
		}
	}
	h.exec(`update payments set checked_at = null`)
	h.exec(`update sandbox_payments set refunded = 100`)
	if err := h.Notice(ctx, payment.Notice{ID: "evt_1", Key: id}); err != nil {
		t.Fatal(err)
	}
	unchecked("told of")
	if _, err := h.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, Amount: 100, Actor: "admin"}); err != nil {
		t.Fatal(err)
	}
	if err := h.orders.Compared(ctx, checkout.Comparison{Payment: id, Theirs: "captured", Action: "look into it", Last: true}); err != nil {
		t.Fatal(err)
	}
	unchecked("refunded meanwhile")
}

// TestBooksAreCompared finds what went wrong between the two books, and mends it.
func TestBooksAreCompared(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	compare := func(o checkout.Order) {
		t.Helper()
		id := query[string](h, `select id::text from payments where order_id = $1 order by attempt desc limit 1`, o.ID)
		if err := h.Look(ctx, id); err != nil {
			t.Fatal(err)
		}
		h.work()
	}
	cancelled := func(seat int) checkout.Order {
		visitor := h.admit(time.Hour)
		o := h.order(visitor, h.hold(visitor, seat))
		if _, err := h.Pay(ctx, key(), o.ID, payment.MethodDeclined); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Cancel(ctx, nil, checkout.CancelRequest{Order: o.ID}); err != nil {
			t.Fatal(err)
		}
		return o
	}
	theirs := `update sandbox_payments set status = $2, captured = case when $2 = 'captured' then amount else 0 end where id in (select id::text from payments where order_id = $1)`

	uncommitted := cancelled(1)
	h.exec(theirs, uncommitted.ID, "authorised")
	compare(uncommitted)
	if ours, at := h.payment(uncommitted); ours != "voided" || at != "voided" {
		t.Errorf("authorised but not committed: %s here, %s there", ours, at)
	}
	late := cancelled(2)
	h.exec(theirs, late.ID, "captured")
	compare(late)
	if n := query[int](h, `select refunded::int from sandbox_payments where id in (select id::text from payments where order_id = $1)`, late.ID); n != 4500 {
		t.Errorf("captured but cancelled: %d were given back", n)
	}
	_, unissued := h.bought(3)
	h.exec(theirs, unissued.ID, "captured")
	h.work()
	if o, err := h.Order(ctx, unissued.ID); err != nil || o.Status != checkout.Fulfilled || o.Items[0].Code == "" {
		t.Errorf("paid but not issued: %s, %v", o.Status, err)
	}
	_, fine := h.bought(4)
	h.work()
	compare(fine)
	h.exec(theirs, fine.ID, "voided")
	compare(fine)
	if n := query[int](h, `select count(*) from reconciliations where action like 'look into it%'`); n != 1 {
		t.Errorf("%d differences are left to an operator, want 1", n)
	}
	if n := query[int](h, `select count(*) from reconciliations`); n != 3 {
		t.Errorf("%d differences were found, want 3", n)
	}
}

// TestRefundsEndTogether lets the refunds of two tickets end at the same moment: all of
// the money went back, and the payment says so.
func TestRefundsEndTogether(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	var orders []checkout.Order
	for n := range 10 {
		_, o := h.bought(2*n, 2*n+1)
		orders = append(orders, o)
	}
	h.work()
	for _, o := range orders {
		var wg sync.WaitGroup
		for i := range o.Items {
			if _, err := h.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, Tickets: []string{o.Items[i].Ticket}, Actor: "admin"}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range o.Items {
			id := query[string](h, `select refund_id::text from refund_items where order_id = $1 and ticket_id = $2`, o.ID, o.Items[i].Ticket)
			wg.Go(func() {
				if err := h.orders.RefundDone(ctx, id); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if ours, _ := h.payment(o); ours != "refunded" {
			t.Errorf("all of it went back, and the payment is %s", ours)
		}
	}
}

// TestRefundOfARefundedOrder: money that is asked for of an order that gave all its
// tickets back, and kept its fees, is given back or refused, but not passed over.
func TestRefundOfARefundedOrder(t *testing.T) {
	t.Parallel()
	h := newHouse(t, withTerms(catalog.Terms{FeePerOrder: 300}))
	ctx := t.Context()
	_, o := h.bought(1)
	h.work()
	if o, err := h.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, KeepFees: true, Actor: "admin"}); err != nil || o.Status != checkout.Refunded {
		t.Fatalf("refund: %s, %v", o.Status, err)
	}
	h.work()
	got, err := h.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, Amount: 300, Actor: "admin"})
	if !fault.Is(err, fault.Conflict) && got.Refunded.Amount != 4800 {
		t.Errorf("the fee was asked for: %d of %d went back, %v", got.Refunded.Amount, got.Total.Amount, err)
	}
	if got, err := h.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, Actor: "admin"}); err != nil || got.Status != checkout.Refunded {
		t.Errorf("the whole order again: %s, %v", got.Status, err)
	}
}

// TestExchangeAfterMoneyWentBack: what cheaper seats cost less goes back as far as there
// is money left.
func TestExchangeAfterMoneyWentBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	_, o := h.bought(1)
	h.work()
	for _, back := range []int64{3500, 1000} {
		if _, err := h.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, Amount: back, Actor: "admin"}); err != nil {
			t.Fatal(err)
		}
		h.work()
		from, to := h.layout.Seats[1].ID, h.layout.Seats[25].ID // 2000 less
		if back == 1000 {
			from, to = to, h.layout.Seats[45].ID // 1500 less
		}
		got, err := h.Exchange(ctx, nil, checkout.ExchangeRequest{Order: o.ID, Tickets: []string{from}, To: []string{to}, Actor: "admin"})
		if err != nil {
			t.Fatalf("exchange when %d is left: %v", o.Total.Amount-back, err)
		}
		if back == 3500 && got.Refunded.Amount != 4500 {
			t.Errorf("%d went back, want 4500", got.Refunded.Amount)
		}
		if back == 3500 {
			break
		}
	}
	h.work()
	h.checkInvariants()
}

// TestExchangeOnOtherTerms: seats are exchanged on the terms that the order was made
// on, whatever the event's are now.
func TestExchangeOnOtherTerms(t *testing.T) {
	t.Parallel()
	const seven = 7000
	for name, now := range map[string]catalog.Terms{
		"tax on top":  {Tax: catalog.Tax{Name: "VAT", Rate: seven}},
		"no tax":      {},
		"another tax": {Tax: catalog.Tax{Name: "VAT", Rate: 19_000, Included: true}},
		"a fee":       {FeePerTicket: 300},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			of := &terms{Terms: catalog.Terms{Tax: catalog.Tax{Name: "VAT", Rate: seven, Included: true}}}
			h := newHouse(t, func(d *checkout.Deps) { of.Catalog, d.Catalog = d.Catalog, of })
			_, o := h.bought(1)
			h.work()
			of.Terms = now
			got, err := h.Exchange(t.Context(), nil, checkout.ExchangeRequest{
				Order: o.ID, Tickets: []string{h.layout.Seats[1].ID}, To: []string{h.layout.Seats[2].ID}, Actor: "admin",
			})
			if err != nil || got.Refunded.Amount != 0 || got.Price.Total != o.Total || got.Price.Tax.Amount != o.Price.Tax.Amount {
				t.Errorf("an exchange for a seat as dear: %+v, %v", got.Price, err)
			}
		})
	}
}
