package checkout_test

import (
	"testing"
	"time"

	"onsale/checkout"
	"onsale/checkout/payment"
	"onsale/internal/fault"
)

// told counts the announcements of a type about an order, mailed its e-mails of a kind.
func (h *house) told(kind string, o checkout.Order) int {
	h.t.Helper()
	return query[int](h, `select count(*) from announcements where type = $1 and subject = $2`, kind, o.ID)
}

func (h *house) mailed(kind string, o checkout.Order) int {
	h.t.Helper()
	return query[int](h, `select count(*) from emails where kind = $1 and order_id = $2`, kind, o.ID)
}

// A sale whose transaction fails at its very last statement was never told; the one
// that settles the payment afterwards is, once.
func TestSaleThatIsRolledBackIsNotTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	visitor := h.admit(time.Hour)
	o := h.order(visitor, h.hold(visitor, 0, 1))
	h.exec(`create function fail() returns trigger language plpgsql as 'begin raise exception ''disk full''; end'`)
	h.exec(`create trigger fail before update on idempotency_keys for each row when (new.body is not null) execute function fail()`)
	if now, err := h.Pay(t.Context(), key(), o.ID, payment.MethodOK); err == nil && now.Status == checkout.Paid {
		t.Fatal("the sale was not rolled back")
	}
	if n := h.told("order.paid", o); n != 0 {
		t.Errorf("a sale that is not was told %d times", n)
	}
	h.exec(`drop trigger fail on idempotency_keys`)
	h.work()
	h.work()
	now, err := h.Order(t.Context(), o.ID)
	if err != nil || now.Status != checkout.Fulfilled {
		t.Fatalf("%s, %v", now.Status, err)
	}
	for _, kind := range []string{"order.paid", "order.fulfilled"} {
		if n := h.told(kind, o); n != 1 {
			t.Errorf("%s was told %d times", kind, n)
		}
	}
	if n := h.mailed("confirmation", o); n != 1 {
		t.Errorf("%d confirmations", n)
	}
}

// Every refund of an order is told once, with what it gives back.
func TestRefundsAreTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, o := h.bought(0, 20) // 45 and 25 euros
	h.work()
	for n, r := range []struct {
		ask  checkout.RefundRequest
		back int64
	}{
		{checkout.RefundRequest{Amount: 100}, 100},
		{checkout.RefundRequest{Amount: 100}, 100},
		{checkout.RefundRequest{Tickets: []string{o.Items[0].Ticket}}, 4500},
		{checkout.RefundRequest{Tickets: []string{o.Items[0].Ticket}}, 0}, // was given back before
		{checkout.RefundRequest{}, 2300},
		{checkout.RefundRequest{}, 0},
	} {
		before := h.told("order.refunded", o)
		r.ask.Order, r.ask.Actor = o.ID, "test"
		if _, err := h.RefundOrder(t.Context(), nil, r.ask); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		if r.back == 0 {
			if h.told("order.refunded", o) != before || h.mailed("refund", o) != before {
				t.Errorf("%d: nothing was given back, and it was told", n)
			}
			continue
		}
		told := query[int64](h, `select (payload->'amount'->>'amount')::bigint from announcements where type = 'order.refunded' order by id desc limit 1`)
		mailed := query[int64](h, `select (data->'amount'->>'amount')::bigint from emails where kind = 'refund' order by id desc limit 1`)
		if h.told("order.refunded", o) != before+1 || h.mailed("refund", o) != before+1 || told != r.back || mailed != r.back {
			t.Errorf("%d: told %d times, the last %d, mailed %d times, the last %d; want %d", n, h.told("order.refunded", o), told, h.mailed("refund", o), mailed, r.back)
		}
	}
}

// What is let go before it was taken is told as all of it.
func TestRefundBeforeTheCaptureIsTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, o := h.bought(0, 1)
	if _, err := h.RefundOrder(t.Context(), nil, checkout.RefundRequest{Order: o.ID, Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	if back := query[int64](h, `select (payload->'amount'->>'amount')::bigint from announcements where type = 'order.refunded' and subject = $1`, o.ID); back != o.Total.Amount {
		t.Errorf("told %d of %d", back, o.Total.Amount)
	}
}

// Who tried to pay is told that the order came to nothing; who gave it up is not.
func TestCancellationsThatAreTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	visitor := h.admit(time.Hour)
	lost := h.order(visitor, h.hold(visitor, 0, 1))
	h.exec(`update tickets set status = 'available', user_id = null, order_id = null, reserved_until = null where order_id = $1 and ordinal = 1`, lost.ID)
	if _, err := h.Pay(t.Context(), key(), lost.ID, payment.MethodOK); !fault.Is(err, fault.TicketsTaken) {
		t.Fatal(err)
	}
	given := h.order(visitor, h.hold(visitor, 2))
	if _, err := h.Cancel(t.Context(), nil, checkout.CancelRequest{Order: given.ID}); err != nil {
		t.Fatal(err)
	}
	for o, want := range map[string]int{lost.ID: 1, given.ID: 0} {
		order := checkout.Order{ID: o}
		if h.told("order.cancelled", order) != 1 || h.mailed("cancellation", order) != want || h.told("order.paid", order) != 0 {
			t.Errorf("told %d times, mailed %d times, want %d", h.told("order.cancelled", order), h.mailed("cancellation", order), want)
		}
	}
}
