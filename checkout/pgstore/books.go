package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"onsale/checkout"
)

// moneyArgs are the arguments that payments and refunds are selected by.
func moneyArgs(q checkout.MoneyQuery) (pgx.NamedArgs, error) {
	before, beforeID, err := decodeCursor(q.Cursor)
	return pgx.NamedArgs{
		"before": before, "before_id": beforeID, "limit": q.Limit + 1, "event": orNull(q.Event), "order": orNull(q.Order),
		"status": orNull(q.Status), "stuck": q.Stuck, "failures": checkout.StuckAfter,
	}, err
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

const selectPayments = `
	select p.id, p.order_id, o.event_id, p.gateway, p.attempt, p.status, p.amount, p.currency, p.refunded_amount, p.reason,
		p.created_at, p.updated_at, p.looks, p.last_error, p.look_at, p.checked_at
	from payments p join orders o on o.id = p.order_id`

func scanPayment(row pgx.CollectableRow) (r checkout.PaymentRecord, err error) {
	err = row.Scan(&r.ID, &r.Order, &r.Event, &r.Gateway, &r.Attempt, &r.Status, &r.Amount.Amount, &r.Amount.Currency, &r.Refunded.Amount, &r.Reason,
		&r.Created, &r.Updated, &r.Failures, &r.LastError, &r.NextTry, &r.Compared)
	r.Refunded.Currency = r.Amount.Currency
	r.Created, r.Updated, r.NextTry, r.Compared = r.Created.UTC(), r.Updated.UTC(), utc(r.NextTry), utc(r.Compared)
	return r, err
}

const selectRefunds = `
	select r.id, r.order_id, r.payment_id, o.event_id, r.status, r.amount, p.currency, r.reason, r.actor, r.created_at, r.updated_at,
		r.looks, r.last_error, r.look_at, array(select i.ticket_id::text from refund_items i where i.refund_id = r.id order by 1)
	from refunds r join payments p on p.id = r.payment_id join orders o on o.id = r.order_id`

func scanRefund(row pgx.CollectableRow) (r checkout.RefundRecord, err error) {
	err = row.Scan(&r.ID, &r.Order, &r.Payment, &r.Event, &r.Status, &r.Amount.Amount, &r.Amount.Currency, &r.Reason, &r.Actor, &r.Created, &r.Updated,
		&r.Failures, &r.LastError, &r.NextTry, &r.Tickets)
	r.Created, r.Updated, r.NextTry = r.Created.UTC(), r.Updated.UTC(), utc(r.NextTry)
	return r, err
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// Payments implements checkout.Books.
func (s *Store) Payments(ctx context.Context, q checkout.MoneyQuery) (list []checkout.PaymentRecord, next string, err error) {
	list, err = records(ctx, s, q, selectPayments+`
		where (@before::timestamptz is null or (p.created_at, p.id) < (@before, @before_id::uuid))
		and (@event::uuid is null or o.event_id = @event) and (@order::uuid is null or p.order_id = @order)
		and (@status::text is null or p.status = @status) and (not @stuck or p.look_at is not null and p.looks >= @failures)
		order by p.created_at desc, p.id desc limit @limit`, scanPayment)
	if len(list) > q.Limit {
		list = list[:q.Limit]
		last := list[q.Limit-1]
		next = encodeCursor(last.Created, last.ID)
	}
	return list, next, err
}

// Refunds implements checkout.Books.
func (s *Store) Refunds(ctx context.Context, q checkout.MoneyQuery) (list []checkout.RefundRecord, next string, err error) {
	list, err = records(ctx, s, q, selectRefunds+`
		where (@before::timestamptz is null or (r.created_at, r.id) < (@before, @before_id::uuid))
		and (@event::uuid is null or o.event_id = @event) and (@order::uuid is null or r.order_id = @order)
		and (@status::text is null or r.status = @status) and (not @stuck or r.look_at is not null and r.looks >= @failures)
		order by r.created_at desc, r.id desc limit @limit`, scanRefund)
	if len(list) > q.Limit {
		list = list[:q.Limit]
		last := list[q.Limit-1]
		next = encodeCursor(last.Created, last.ID)
	}
	return list, next, err
}

func records[R any](ctx context.Context, s *Store, q checkout.MoneyQuery, sql string, scan pgx.RowToFunc[R]) (list []R, err error) {
	args, err := moneyArgs(q)
	if err != nil {
		return nil, err
	}
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sql, args)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, scan)
		return err
	})
	return list, err
}

// Money implements checkout.Books.
func (s *Store) Money(ctx context.Context) (m checkout.MoneyState, err error) {
	m.Payments = make(map[checkout.PaymentStatus]int, len(checkout.PaymentStatuses))
	for _, status := range checkout.PaymentStatuses {
		m.Payments[status] = 0
	}
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		b := &pgx.Batch{}
		b.Queue(`select status, count(*) from payments group by status`).Query(func(rows pgx.Rows) error {
			var status checkout.PaymentStatus
			var n int
			_, err := pgx.ForEachRow(rows, []any{&status, &n}, func() error {
				m.Payments[status] = n
				return nil
			})
			return err
		})
		b.Queue(`
			select (select count(*) from refunds where status = 'pending'),
				(select count(*) from payments where checked_at is null and look_at is null)`).
			QueryRow(func(row pgx.Row) error { return row.Scan(&m.Refunds, &m.Uncompared) })
		b.Queue(selectPayments+` where p.look_at is not null and p.looks >= $1 order by p.created_at limit 100`, checkout.StuckAfter).
			Query(func(rows pgx.Rows) (err error) { m.Stuck, err = pgx.CollectRows(rows, scanPayment); return err })
		b.Queue(selectRefunds+` where r.look_at is not null and r.looks >= $1 order by r.created_at limit 100`, checkout.StuckAfter).
			Query(func(rows pgx.Rows) (err error) { m.StuckBack, err = pgx.CollectRows(rows, scanRefund); return err })
		b.Queue(`
			select c.at, c.payment_id, p.order_id, c.ours, c.theirs, c.action from reconciliations c join payments p on p.id = c.payment_id
			order by c.at desc, c.id desc limit 100`).
			Query(func(rows pgx.Rows) (err error) {
				m.Differences, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (d checkout.Difference, err error) {
					err = row.Scan(&d.At, &d.Payment, &d.Order, &d.Ours, &d.Theirs, &d.Action)
					d.At = d.At.UTC()
					return d, err
				})
				return err
			})
		return tx.SendBatch(ctx, b).Close()
	})
	return m, err
}

// exportTime bounds how long an export may take.
const exportTime = 10 * time.Minute

// exports are the tables. Every column is text, amounts are in minor units.
var exports = map[checkout.Export]string{
	checkout.ExportOrders: `
		select o.id as order, o.event_id as event, e.name as event_name, o.status, o.created_at, o.buyer_name, o.buyer_email, o.currency,
			(select count(*) from order_items i where i.order_id = o.id and i.returned_at is null) as tickets,
			o.total_amount as total, o.refunded_amount as refunded, o.fee_total as order_fee, o.promo_code as promo,
			o.tax_name, o.tax_rate::numeric / 1000 as tax_percent, o.tax_included,
			o.fee_tax_amount + (select coalesce(sum(i.tax_amount), 0) from order_items i where i.order_id = o.id and not i.exchanged) as tax
		from orders o join events e on e.id = o.event_id
		where (@event::uuid is null or o.event_id = @event)
		and (@from::timestamptz is null or o.created_at >= @from) and (@to::timestamptz is null or o.created_at < @to)
		order by o.created_at, o.id`,
	checkout.ExportTickets: `
		select t.id as ticket, o.id as order, o.event_id as event, e.name as event_name, o.status, o.created_at, o.buyer_name, o.buyer_email,
			s.name as section, t.row_name as row, t.seat_name as seat, p.name as tier, o.currency, i.price_amount as price,
			i.discount_amount as discount, i.fee_amount as fee, i.tax_amount as tax, i.total_amount as total, i.returned_at, i.exchanged,
			concat_ws(' ', case when t.attributes & 1 > 0 then 'accessible' end, case when t.attributes & 2 > 0 then 'companion' end,
				case when t.attributes & 4 > 0 then 'restricted_view' end, case when t.attributes & 8 > 0 then 'aisle' end) as attributes,
			s.entrance
		from order_items i join orders o on o.id = i.order_id join events e on e.id = o.event_id join tickets t on t.id = i.ticket_id
		join sections s on s.id = t.section_id join price_tiers p on p.id = t.tier_id
		where o.status in ('paid', 'fulfilled', 'partially_refunded', 'refunded')
		and (@event::uuid is null or o.event_id = @event)
		and (@from::timestamptz is null or o.created_at >= @from) and (@to::timestamptz is null or o.created_at < @to)
		order by o.created_at, o.id, t.ordinal`,
	checkout.ExportPayouts: `
		with moves as (
			select o.event_id, p.currency, p.gateway, p.created_at as at, p.amount as taken, 0::bigint as back, 1 as payments, 0 as refunds
			from payments p join orders o on o.id = p.order_id where p.status in ('captured', 'refunded')
			union all
			select o.event_id, p.currency, p.gateway, r.updated_at, 0, r.amount, 0, 1
			from refunds r join payments p on p.id = r.payment_id join orders o on o.id = r.order_id where r.status = 'done')
		select (m.at at time zone 'UTC')::date as day, m.event_id as event, e.name as event_name, m.gateway, m.currency,
			sum(m.payments) as payments, sum(m.taken) as captured, sum(m.refunds) as refunds, sum(m.back) as refunded, sum(m.taken - m.back) as net
		from moves m join events e on e.id = m.event_id
		where (@event::uuid is null or m.event_id = @event)
		and (@from::timestamptz is null or m.at >= @from) and (@to::timestamptz is null or m.at < @to)
		group by 1, 2, 3, 4, 5 order by 1, 2, 5`,
}

// Export implements checkout.Books.
func (s *Store) Export(ctx context.Context, q checkout.ExportQuery, row func(cells []string) error) error {
	sql, known := exports[q.Table]
	if !known {
		return fmt.Errorf("pgstore: no export %q", q.Table)
	}
	ctx, cancel := context.WithTimeout(ctx, exportTime)
	defer cancel()
	args := pgx.NamedArgs{"event": orNull(q.Event), "from": timeOrNull(q.From), "to": timeOrNull(q.To)}
	err := pgx.BeginTxFunc(ctx, s.db, pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sql, pgx.QueryExecModeSimpleProtocol, args) // everything as text
		if err != nil {
			return err
		}
		defer rows.Close()
		fields := rows.FieldDescriptions()
		cells := make([]string, len(fields))
		for i := range fields {
			cells[i] = fields[i].Name
		}
		if err := row(cells); err != nil {
			return err
		}
		for rows.Next() {
			for i, raw := range rows.RawValues() {
				cells[i] = string(raw)
			}
			if err := row(cells); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	return translate(err)
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
