package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// openBooks reads the books of an event, with its admissions since a time, from
// the program's database. It changes nothing.
func openBooks(ctx context.Context, databaseURL, event string, since time.Time) (b books, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return b, fmt.Errorf("the program's database: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return b, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing was written
	err = tx.QueryRow(ctx, `
		with sale as (
			select id, total_amount, status in ('paid', 'fulfilled') as paid from orders where event_id = @event
		), item as (
			select i.order_id, i.ticket_id, i.sold, s.paid from order_items i join sale s on s.id = i.order_id
		), taken as (
			select p.amount, s.paid from payments p join sale s on s.id = p.order_id where p.status in ('authorised', 'captured')
		)
		select
			(select count(*) from tickets where event_id = @event),
			(select count(*) from tickets where event_id = @event and status = 'purchased'),
			(select count(*) from item where sold),
			(select count(distinct ticket_id) from item where sold),
			(select count(*) from item where paid),
			(select count(*) from tickets t where t.event_id = @event and t.status = 'purchased' and not exists (
				select from item where item.ticket_id = t.id and item.order_id = t.order_id and item.sold and item.paid)),
			(select coalesce(sum(total_amount), 0) from sale where paid)::bigint,
			(select coalesce(sum(amount), 0) from taken where paid)::bigint,
			(select count(*) from taken where not paid)`,
		pgx.NamedArgs{"event": event}).
		Scan(&b.tickets, &b.purchased, &b.soldItems, &b.soldTickets, &b.paidItems, &b.strayTickets,
			&b.orderAmount, &b.paymentAmount, &b.keptMoney)
	if err != nil {
		return b, fmt.Errorf("the program's database: %w", err)
	}
	if b.tickets == 0 {
		return b, fmt.Errorf("the database has no tickets of event %s: it belongs to another program", event)
	}
	rows, err := tx.Query(ctx, `select at, admitted from admission_log where event_id = @event and at >= @since`,
		pgx.NamedArgs{"event": event, "since": since})
	if err != nil {
		return b, fmt.Errorf("the program's database: %w", err)
	}
	b.admissions, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (a admission, err error) {
		return a, row.Scan(&a.at, &a.count)
	})
	return b, err
}
