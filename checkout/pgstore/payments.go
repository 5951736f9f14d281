package pgstore

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onsale/checkout"
	"onsale/internal/fault"
)

const (
	// attemptLease is how long a request may work on its attempt to pay before
	// a repeated key may take it over.
	attemptLease = 45 * time.Second
	// mostAttempts bounds the attempts to pay one order, so that nobody tries
	// out stolen cards on it.
	mostAttempts = 20
)

// errNotNow rolls back a transaction that has its answer already.
var errNotNow = errors.New("answered without a change")

// BeginPayment implements checkout.OrderStore.
func (s *Store) BeginPayment(ctx context.Context, k checkout.Key, order, method, gateway string) (o checkout.Order, p checkout.Payment, answered bool, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		answered = false
		stored, err := takeKey(ctx, tx, k, attemptLease)
		if err != nil {
			return err
		}
		if stored != nil {
			o, answered = *stored, true
			return nil
		}
		o, err = loadOrder(ctx, tx, order, true)
		if err != nil {
			return err
		}
		switch o.Status {
		case checkout.AwaitingPayment, checkout.Declined:
		case checkout.PaymentUnknown:
			answered = true
			return errNotNow // the attempt under way is the answer, for now
		case checkout.Paid, checkout.Fulfilled:
			answered = true
			return answerKey(ctx, tx, &k, 200, o)
		default:
			return fault.New(fault.Conflict, "an order that is %s cannot be paid", o.Status)
		}
		var late bool
		var event string
		var attempts int
		err = tx.QueryRow(ctx, `
			select now() >= o.pay_by, e.status, (select count(*) from payments where order_id = o.id)
			from orders o join events e on e.id = o.event_id where o.id = $1`, order).
			Scan(&late, &event, &attempts)
		switch {
		case err != nil:
			return err
		case late:
			return fault.New(fault.Conflict, "the time to pay this order is over")
		case event != "on_sale":
			return fault.New(fault.Conflict, "the event is not on sale any more: it is %s", event)
		case attempts >= mostAttempts:
			return fault.New(fault.Conflict, "%d attempts to pay this order failed; there are no more", attempts)
		}
		if err := s.voidLive(ctx, tx, order, "another attempt was started"); err != nil {
			return err
		}
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		p = checkout.Payment{ID: id.String(), Order: order, Method: method, Status: checkout.PaymentPending, Amount: o.Total}
		_, err = tx.Exec(ctx, `
			insert into payments (id, order_id, attempt, gateway, method, status, amount, currency)
			select @id, @order, coalesce(max(attempt), 0) + 1, @gateway, @method, 'pending', @amount, @currency
			from payments where order_id = @order`, pgx.NamedArgs{
			"id": p.ID, "order": order, "gateway": gateway, "method": method,
			"amount": p.Amount.Amount, "currency": p.Amount.Currency,
		})
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			update tickets set reserved_until = greatest(reserved_until, now() + $2::interval)
			where order_id = $1 and status = 'reserved'`, order, checkout.PayGrace)
		if err != nil {
			return err
		}
		if err := s.enqueue(ctx, tx, settlePayment{Payment: p.ID}, checkout.SettleAfter); err != nil {
			return err
		}
		return moveOrder(ctx, tx, &o, checkout.PaymentUnknown, "")
	})
	if errors.Is(err, errNotNow) {
		err = nil
	}
	return o, p, answered, err
}

// CommitSale implements checkout.OrderStore.
func (s *Store) CommitSale(ctx context.Context, k *checkout.Key, payment string) (o checkout.Order, err error) {
	var lost []int
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		lost = nil
		var open bool
		o, open, err = s.attempt(ctx, tx, payment)
		if err != nil {
			return err
		}
		if !open {
			return answerKey(ctx, tx, k, 200, o)
		}
		var off bool
		if err := tx.QueryRow(ctx, `select status = 'cancelled' from events where id = $1`, o.Event).Scan(&off); err != nil {
			return err
		}
		if off {
			if err := s.giveUp(ctx, tx, &o, checkout.Cancelled, "the event was cancelled before the payment was done"); err != nil {
				return err
			}
			if err := reload(ctx, tx, &o); err != nil {
				return err
			}
			return answerKey(ctx, tx, k, 200, o)
		}
		rows, err := tx.Query(ctx, `
			update tickets set status = 'purchased', reserved_until = null
			where order_id = $1 and status = 'reserved' returning ordinal`, o.ID)
		if err != nil {
			return err
		}
		mine, err := pgx.CollectRows(rows, pgx.RowTo[int])
		if err != nil {
			return err
		}
		if len(mine) != len(o.Items) {
			// Somebody else claimed a ticket after this claim had run out: no
			// sale. What is left of it goes back, and so does the money.
			lost = without(o.Ordinals(), mine)
			if err := dropKey(ctx, tx, k); err != nil {
				return err
			}
			return s.giveUp(ctx, tx, &o, checkout.Cancelled, "the claim was lost before the payment was done")
		}
		if _, err := tx.Exec(ctx, `update order_items set sold = true where order_id = $1`, o.ID); err != nil {
			return err
		}
		if err := setPayment(ctx, tx, payment, checkout.PaymentAuthorised, ""); err != nil {
			return err
		}
		if err := moveOrder(ctx, tx, &o, checkout.Paid, ""); err != nil {
			return err
		}
		if err := s.enqueue(ctx, tx, capturePayment{Payment: payment}, 0); err != nil {
			return err
		}
		o, err = loadOrder(ctx, tx, o.ID, false)
		if err != nil {
			return err
		}
		return answerKey(ctx, tx, k, 200, o)
	})
	if err == nil && len(lost) > 0 {
		err = checkout.Taken(lost)
	}
	return o, err
}

// DeclinePayment implements checkout.OrderStore.
func (s *Store) DeclinePayment(ctx context.Context, k *checkout.Key, payment, reason string) (checkout.Order, error) {
	return s.endAttempt(ctx, k, payment, checkout.PaymentDeclined, checkout.Declined, reason)
}

// FailPayment implements checkout.OrderStore.
func (s *Store) FailPayment(ctx context.Context, k *checkout.Key, payment, reason string) (checkout.Order, error) {
	return s.endAttempt(ctx, k, payment, checkout.PaymentFailed, checkout.AwaitingPayment, reason)
}

// endAttempt records an attempt that took no money.
func (s *Store) endAttempt(ctx context.Context, k *checkout.Key, payment string, to checkout.PaymentStatus, order checkout.OrderStatus, reason string) (o checkout.Order, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var open bool
		o, open, err = s.attempt(ctx, tx, payment)
		if err != nil {
			return err
		}
		if open {
			if err := setPayment(ctx, tx, payment, to, reason); err != nil {
				return err
			}
			if err := moveOrder(ctx, tx, &o, order, reason); err != nil {
				return err
			}
			if o, err = loadOrder(ctx, tx, o.ID, false); err != nil {
				return err
			}
		}
		if to == checkout.PaymentFailed {
			return dropKey(ctx, tx, k)
		}
		return answerKey(ctx, tx, k, 200, o)
	})
	return o, err
}

// RequireAction implements checkout.OrderStore.
func (s *Store) RequireAction(ctx context.Context, k *checkout.Key, payment, url string) (o checkout.Order, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var open bool
		o, open, err = s.attempt(ctx, tx, payment)
		if err != nil {
			return err
		}
		if open {
			_, err := tx.Exec(ctx, `
				update payments set status = 'requires_action', action_url = $2, updated_at = now() where id = $1`, payment, url)
			if err != nil {
				return err
			}
			if err := moveOrder(ctx, tx, &o, checkout.AwaitingPayment, "the buyer has to confirm the payment"); err != nil {
				return err
			}
			if o, err = loadOrder(ctx, tx, o.ID, false); err != nil {
				return err
			}
		}
		return answerKey(ctx, tx, k, 200, o)
	})
	return o, err
}

// attempt locks a payment's order. open tells whether the attempt still awaits
// its outcome; if not, somebody else recorded one and the order is the answer.
func (s *Store) attempt(ctx context.Context, tx pgx.Tx, payment string) (o checkout.Order, open bool, err error) {
	var order string
	err = tx.QueryRow(ctx, `select order_id from payments where id = $1`, payment).Scan(&order)
	if err != nil {
		return o, false, notFound(err, "payment")
	}
	if o, err = loadOrder(ctx, tx, order, true); err != nil {
		return o, false, err
	}
	// Read after the order is locked: every change of a payment locks it first.
	var status checkout.PaymentStatus
	if err := tx.QueryRow(ctx, `select status from payments where id = $1`, payment).Scan(&status); err != nil {
		return o, false, err
	}
	return o, status == checkout.PaymentPending || status == checkout.PaymentRequiresAction, nil
}

// Payment implements checkout.OrderStore.
func (s *Store) Payment(ctx context.Context, id string) (p checkout.Payment, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return notFound(tx.QueryRow(ctx, `
			select id, order_id, method, status, amount, currency, updated_at from payments where id = $1`, id).
			Scan(&p.ID, &p.Order, &p.Method, &p.Status, &p.Amount.Amount, &p.Amount.Currency, &p.Updated), "payment")
	})
	return p, err
}

// Captured implements checkout.OrderStore.
func (s *Store) Captured(ctx context.Context, payment string) (o checkout.Order, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var status checkout.PaymentStatus
		o, status, err = s.lockPayment(ctx, tx, payment)
		if err != nil || status != checkout.PaymentAuthorised {
			return err // voiding: the void job finds the money taken and refunds it
		}
		if err := setPayment(ctx, tx, payment, checkout.PaymentCaptured, ""); err != nil {
			return err
		}
		for i := range o.Items {
			_, err := tx.Exec(ctx, `update order_items set code = $3 where order_id = $1 and ticket_id = $2 and code is null`,
				o.ID, o.Items[i].Ticket, newCode())
			if err != nil {
				return err
			}
		}
		if err := moveOrder(ctx, tx, &o, checkout.Fulfilled, ""); err != nil {
			return err
		}
		o, err = loadOrder(ctx, tx, o.ID, false)
		return err
	})
	return o, err
}

// CaptureLost implements checkout.OrderStore.
func (s *Store) CaptureLost(ctx context.Context, payment, reason string) (o checkout.Order, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var status checkout.PaymentStatus
		o, status, err = s.lockPayment(ctx, tx, payment)
		if err != nil || status != checkout.PaymentAuthorised {
			return err
		}
		return s.giveUp(ctx, tx, &o, checkout.Cancelled, reason)
	})
	return o, err
}

// Voided implements checkout.OrderStore.
func (s *Store) Voided(ctx context.Context, payment string) error {
	return s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update payments set status = 'voided', updated_at = now() where id = $1 and status = 'voiding'`, payment)
		return err
	})
}

// RefundOrder implements checkout.OrderStore.
func (s *Store) RefundOrder(ctx context.Context, id, reason, actor string) (o checkout.Order, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		o, err = loadOrder(ctx, tx, id, true)
		if err != nil || o.Status == checkout.Refunded {
			return err
		}
		why := "refunded by " + actor
		if reason != "" {
			why += ": " + reason
		}
		switch o.Status {
		case checkout.Paid: // not captured yet: nothing to refund, the authorisation is voided
			if err := s.giveUp(ctx, tx, &o, checkout.Refunded, why); err != nil {
				return err
			}
		case checkout.Fulfilled:
			if err := s.refund(ctx, tx, &o, reason); err != nil {
				return err
			}
			if err := freeTickets(ctx, tx, &o); err != nil {
				return err
			}
			if err := moveOrder(ctx, tx, &o, checkout.Refunded, why); err != nil {
				return err
			}
		default:
			return fault.New(fault.Conflict, "an order that is %s cannot be refunded", o.Status)
		}
		return reload(ctx, tx, &o)
	})
	return o, err
}

func (s *Store) refund(ctx context.Context, tx pgx.Tx, o *checkout.Order, reason string) error {
	if o.Total.Amount == 0 {
		_, err := tx.Exec(ctx, `
			update payments set status = 'refunded', updated_at = now() where order_id = $1 and status = 'captured'`, o.ID)
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		with p as (update payments set status = 'refunding', updated_at = now()
			where order_id = @order and status = 'captured' returning id, amount)
		insert into refunds (id, order_id, payment_id, amount, reason, status)
		select @id, @order, p.id, p.amount, @reason, 'pending' from p`,
		pgx.NamedArgs{"id": id, "order": o.ID, "reason": reason})
	if err != nil {
		return err
	}
	return s.enqueue(ctx, tx, refundPayment{Refund: id.String()}, 0)
}

// Refund implements checkout.OrderStore.
func (s *Store) Refund(ctx context.Context, id string) (r checkout.Refund, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return notFound(tx.QueryRow(ctx, `
			select r.id, r.payment_id, r.amount, p.currency, r.status = 'done'
			from refunds r join payments p on p.id = r.payment_id where r.id = $1`, id).
			Scan(&r.ID, &r.Payment, &r.Amount.Amount, &r.Amount.Currency, &r.Done), "refund")
	})
	return r, err
}

// RefundDone implements checkout.OrderStore.
func (s *Store) RefundDone(ctx context.Context, refund string) error {
	return s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			with r as (update refunds set status = 'done', updated_at = now() where id = $1 and status = 'pending' returning payment_id)
			update payments set status = 'refunded', updated_at = now() from r where payments.id = r.payment_id`, refund)
		return err
	})
}

// Overdue implements checkout.OrderStore.
func (s *Store) Overdue(ctx context.Context, age time.Duration, limit int) (due checkout.Overdue, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		for _, q := range []struct {
			into *[]string
			sql  string
		}{
			{&due.Settle, `select id from payments where status = 'pending' and updated_at < now() - $1::interval`},
			{&due.Capture, `select id from payments where status = 'authorised' and updated_at < now() - $1::interval`},
			{&due.Void, `select id from payments where status = 'voiding' and updated_at < now() - $1::interval`},
			{&due.Refund, `select id from refunds where status = 'pending' and updated_at < now() - $1::interval`},
			{&due.Expire, `select id from orders where status in ('awaiting_payment', 'declined') and pay_by < now() - $1::interval`},
		} {
			rows, err := tx.Query(ctx, q.sql+` limit $2`, age, limit)
			if err != nil {
				return err
			}
			if *q.into, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
				return err
			}
		}
		return nil
	})
	return due, err
}

// lockPayment locks a payment's order and reads the payment's status.
func (s *Store) lockPayment(ctx context.Context, tx pgx.Tx, payment string) (o checkout.Order, status checkout.PaymentStatus, err error) {
	if o, _, err = s.attempt(ctx, tx, payment); err != nil {
		return o, "", err
	}
	err = tx.QueryRow(ctx, `select status from payments where id = $1`, payment).Scan(&status)
	return o, status, err
}

func setPayment(ctx context.Context, tx pgx.Tx, payment string, to checkout.PaymentStatus, reason string) error {
	_, err := tx.Exec(ctx, `update payments set status = $2, reason = $3, updated_at = now() where id = $1`, payment, to, reason)
	return err
}

// newCode returns what a ticket's holder shows at the door: 80 random bits in
// base32, which nobody guesses and everybody can read aloud.
func newCode() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand panics instead
	return base32.StdEncoding.EncodeToString(b[:])
}

func notFound(err error, what string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.New(fault.NotFound, "no such %s", what)
	}
	return err
}
