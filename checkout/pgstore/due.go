package pgstore

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"onsale/checkout"
)

const (
	// lookFor is how long somebody who was given something that is due has for it.
	lookFor = 30 * time.Second
	// compareAfter is how long after a payment's end it is compared with the
	// gateway's books: what was late is in by then.
	compareAfter = 2 * time.Minute
)

// Due implements checkout.OrderStore.
func (s *Store) Due(ctx context.Context, within time.Duration, limit int) (due checkout.Due, err error) {
	args := pgx.NamedArgs{"within": within, "limit": limit, "for": lookFor, "after": compareAfter}
	payment := func(row pgx.CollectableRow) (p checkout.Payment, err error) { return p, row.Scan(paymentInto(&p)...) }
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		b := &pgx.Batch{}
		b.Queue(`
			select id from orders where status in ('awaiting_payment', 'declined') and pay_by <= now() + @within::interval
			order by pay_by limit @limit`, args).
			Query(func(rows pgx.Rows) (err error) {
				due.Expire, err = pgx.CollectRows(rows, pgx.RowTo[string])
				return err
			})
		// Whoever takes something has it for a while: several nodes look at once.
		b.Queue(`
			update payments set look_at = now() + @for::interval where id in (
				select id from payments where look_at <= now() + @within::interval order by look_at limit @limit for update skip locked)
			returning `+paymentColumns, args).
			Query(func(rows pgx.Rows) (err error) {
				due.Payments, err = pgx.CollectRows(rows, payment)
				return err
			})
		b.Queue(`
			update refunds set look_at = now() + @for::interval where id in (
				select id from refunds where look_at <= now() + @within::interval order by look_at limit @limit for update skip locked)
			returning id`, args).
			Query(func(rows pgx.Rows) (err error) {
				due.Refunds, err = pgx.CollectRows(rows, pgx.RowTo[string])
				return err
			})
		// An order that was being written when its event was cancelled may come when all
		// the others are at their end.
		b.Queue(`
			update event_cancellations c set finished_at = null where finished_at > now() - interval '10 minutes' and exists (
				select from orders o where o.event_id = c.event_id and o.status in ` + unfinished + `)`)
		b.Queue(`
			update event_cancellations c set finished_at = now() where finished_at is null and not exists (
				select from orders o where o.event_id = c.event_id and o.status in ` + unfinished + `)`)
		b.Queue(`
			select o.id, o.status in ('paid', 'fulfilled', 'partially_refunded'), c.keep_fees, c.reason, c.actor
			from event_cancellations c join orders o on o.event_id = c.event_id
			where c.finished_at is null and o.status in `+unfinished+` and o.status <> 'payment_unknown'
			and not (c.keep_fees and o.status = 'paid') -- once it is captured
			order by o.id limit @limit`, args).
			Query(func(rows pgx.Rows) (err error) {
				due.CalledOff, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c checkout.CalledOff, err error) {
					return c, row.Scan(&c.Order, &c.Sold, &c.KeepFees, &c.Reason, &c.Actor)
				})
				return err
			})
		b.Queue(`
			update payments set compare_at = now() + @for::interval where id in (
				select id from payments
				where checked_at is null and look_at is null and updated_at <= now() + @within::interval - @after::interval
				and (compare_at is null or compare_at <= now() + @within::interval)
				order by updated_at limit @limit for update skip locked)
			returning `+paymentColumns, args).
			Query(func(rows pgx.Rows) (err error) {
				due.Compare, err = pgx.CollectRows(rows, payment)
				return err
			})
		return tx.SendBatch(ctx, b).Close()
	})
	return due, err
}

// nextLook is when something that failed is tried again: soon, and then less and less
// often. It never ends by itself, since it is about money; what goes on failing is
// shown to operators.
const nextLook = `now() + least(interval '1 second' * power(2, least(looks, 12)), interval '10 minutes') * (1 + random() / 5)`

// PaymentStumbled implements checkout.OrderStore.
func (s *Store) PaymentStumbled(ctx context.Context, payment string, cause error) error {
	return s.stumbled(ctx, `
		update payments set looks = looks + 1, last_error = $2, look_at = case when look_at is not null then `+nextLook+` end,
			compare_at = case when look_at is null then `+nextLook+` end
		where id = $1`, payment, cause)
}

// RefundStumbled implements checkout.OrderStore.
func (s *Store) RefundStumbled(ctx context.Context, refund string, cause error) error {
	return s.stumbled(ctx, `update refunds set looks = looks + 1, last_error = $2, look_at = `+nextLook+` where id = $1 and look_at is not null`, refund, cause)
}

func (s *Store) stumbled(ctx context.Context, sql, id string, cause error) error {
	text := cause.Error()
	// Half a letter, or a zero byte, would be refused, and the failure not noted.
	text = strings.ToValidUTF8(strings.ReplaceAll(text[:min(len(text), 500)], "\x00", ""), "")
	return s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql, id, text)
		return err
	})
}

// Compared implements checkout.OrderStore.
func (s *Store) Compared(ctx context.Context, c checkout.Comparison) error {
	return s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, status, err := s.lockPayment(ctx, tx, c.Payment)
		if err != nil || status.Open() {
			return err
		}
		var refunded int64
		if err := tx.QueryRow(ctx, `select refunded_amount from payments where id = $1`, c.Payment).Scan(&refunded); err != nil || refunded != c.Refunded {
			return err
		}
		if c.Action != "" {
			_, err := tx.Exec(ctx, `insert into reconciliations (payment_id, ours, theirs, action) values ($1, $2, $3, $4)`,
				c.Payment, status, c.Theirs, c.Action)
			if err != nil {
				return err
			}
		}
		if c.Amend && status.MayBecome(checkout.PaymentVoiding) {
			_, err := tx.Exec(ctx, `
				update payments set status = 'voiding', look_at = now() + $2::interval, looks = 0, updated_at = now() where id = $1`,
				c.Payment, jobFirst)
			if err != nil {
				return err
			}
			return s.enqueue(ctx, tx, voidPayment{Payment: c.Payment})
		}
		if c.Last {
			_, err = tx.Exec(ctx, `update payments set checked_at = now() where id = $1`, c.Payment)
		}
		return err
	})
}
