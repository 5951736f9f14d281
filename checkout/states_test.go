package checkout_test

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"onsale/checkout"
	"onsale/checkout/payment"
)

// TestStateMachinesAgree holds the state machines of the code against those that
// the database keeps.
func TestStateMachinesAgree(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, from := range checkout.OrderStatuses {
		for _, to := range checkout.OrderStatuses {
			if theirs := query[bool](h, `select order_may_become($1, $2)`, from, to); theirs != from.MayBecome(to) {
				t.Errorf("order: %s to %s is %t in the code and %t in the database", from, to, from.MayBecome(to), theirs)
			}
		}
	}
	for _, from := range checkout.PaymentStatuses {
		for _, to := range checkout.PaymentStatuses {
			if theirs := query[bool](h, `select payment_may_become($1, $2)`, from, to); theirs != from.MayBecome(to) {
				t.Errorf("payment: %s to %s is %t in the code and %t in the database", from, to, from.MayBecome(to), theirs)
			}
		}
	}
}

// TestTheDatabaseRefuses writes past the store what must never stand in the
// database, each time by breaking a purchase that is right.
func TestTheDatabaseRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	visitor := h.admit(time.Hour)
	open := h.order(visitor, h.hold(visitor, 1, 2))
	_, sold := h.bought(3, 4)
	_, other := h.bought(5)
	started := h.admit(time.Hour)
	asked := h.order(started, h.hold(started, 6))
	if _, _, _, err := h.orders.BeginPayment(t.Context(), key(), asked.ID, payment.MethodOK, "sandbox"); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ constraint, sql, id string }{
		"an order that was never paid is fulfilled": {"orders_transition", `update orders set status = 'fulfilled' where id = $1`, open.ID},
		"a paid order is open again":                {"orders_transition", `update orders set status = 'awaiting_payment' where id = $1`, sold.ID},
		"an order is paid without money":            {"orders_whole", `update orders set status = 'paid' where id = $1`, open.ID},
		"an order is paid without its tickets": {"orders_whole", `
			with p as (update payments set status = 'authorised' where order_id = $1) update orders set status = 'paid' where id = $1`, asked.ID},
		"a ticket is sold in two items": {"order_items_sold_once", `
			insert into order_items (order_id, ticket_id, price_amount, total_amount, sold)
			select $1, ticket_id, 0, 0, true from order_items where order_id = '` + other.ID + `'`, sold.ID},
		"an item's lines do not add up":    {"order_items_total", `update order_items set total_amount = total_amount - 1 where order_id = $1`, sold.ID},
		"more is given back than was paid": {"payments_refunded", `update payments set refunded_amount = amount + 1 where order_id = $1`, sold.ID},
		"nobody looks at an open payment":  {"payments_watched", `update payments set look_at = null where order_id = $1`, sold.ID},
		"two payments take money at once": {"payments_one_live", `
			insert into payments (id, order_id, attempt, gateway, method, status, amount, currency, look_at)
			select gen_random_uuid(), order_id, 2, gateway, method, 'pending', amount, currency, now() from payments where order_id = $1`, sold.ID},
		"money that was taken is voided": {"payments_transition", `
			with p as (update payments set status = 'captured', look_at = null where order_id = $1)
			update payments set status = 'declined', look_at = null where order_id = $1`, sold.ID},
		"a ticket is somebody's and free": {"tickets_state", `update tickets set status = 'available' where order_id = $1`, sold.ID},
	} {
		_, err := h.db.Exec(t.Context(), tc.sql, tc.id)
		pg, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || pg.ConstraintName != tc.constraint {
			t.Errorf("%s: got %v, want a violation of %s", name, err, tc.constraint)
		}
	}
	h.work()
	h.checkInvariants()
}
