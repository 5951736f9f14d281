package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"onsale/checkout"
	"onsale/internal/fault"
)

// unfinished are the statuses of orders that a cancelled event has to end.
const unfinished = `('awaiting_payment', 'declined', 'payment_unknown', 'paid', 'fulfilled', 'partially_refunded')`

// CancelEvent implements checkout.OrderStore.
func (s *Store) CancelEvent(ctx context.Context, c checkout.Cancellation, actor string) error {
	return s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `update events set status = 'cancelled', updated_at = now() where id = $1`, c.Event)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return fault.New(fault.NotFound, "no such event")
		}
		_, err = tx.Exec(ctx, `
			insert into event_cancellations (event_id, reason, actor, keep_fees) values ($1, $2, $3, $4)
			on conflict (event_id) do nothing`, c.Event, c.Reason, actor, c.KeepFees)
		return err
	})
}

// Cancellation implements checkout.OrderStore.
func (s *Store) Cancellation(ctx context.Context, event string) (c checkout.Cancellation, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return notFound(tx.QueryRow(ctx, `
			select c.event_id, c.reason, c.keep_fees, c.started_at, c.finished_at, o.remaining, o.cancelled, o.refunded,
				r.pending, r.done, r.amount, e.currency
			from event_cancellations c join events e on e.id = c.event_id,
			lateral (select count(*) filter (where status in `+unfinished+`) as remaining,
					count(*) filter (where status in ('cancelled', 'expired')) as cancelled,
					count(*) filter (where status = 'refunded') as refunded
				from orders where event_id = c.event_id) o,
			lateral (select count(*) filter (where r.status = 'pending') as pending, count(*) filter (where r.status = 'done') as done,
					coalesce(sum(r.amount) filter (where r.status = 'done'), 0) as amount
				from refunds r join orders o on o.id = r.order_id where o.event_id = c.event_id) r
			where c.event_id = $1`, event).
			Scan(&c.Event, &c.Reason, &c.KeepFees, &c.Started, &c.Finished, &c.Left, &c.Ended, &c.Refunded,
				&c.RefundsPending, &c.RefundsDone, &c.GivenBack.Amount, &c.GivenBack.Currency), "cancellation")
	})
	return c, err
}
