package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"onsale/checkout"
)

// inHand refuses items of an order that the transaction has locked of which the
// tickets are out of the buyer's hands. Their admissions stay locked, so that the door
// does not scan them before the transaction has ended them.
func inHand(ctx context.Context, tx pgx.Tx, o *checkout.Order, items []int) error {
	tickets := make([]string, len(items))
	for i, n := range items {
		tickets[i] = o.Items[n].Ticket
	}
	rows, err := tx.Query(ctx, `
		select ticket_id, scanned_at is not null, previous_id is not null from admissions
		where order_id = $1 and ticket_id = any($2::uuid[]) and ended_at is null
		order by id for update`, o.ID, tickets)
	if err != nil {
		return err
	}
	out := make(map[string]checkout.Whereabouts, len(items))
	var ticket string
	var w checkout.Whereabouts
	if _, err := pgx.ForEachRow(rows, []any{&ticket, &w.Scanned, &w.PassedOn}, func() error {
		out[ticket] = w
		return nil
	}); err != nil {
		return err
	}
	for _, n := range items {
		if err := o.Items[n].GivenBack(out[o.Items[n].Ticket]); err != nil {
			return err
		}
	}
	return nil
}
