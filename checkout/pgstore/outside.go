package pgstore

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/checkout/messages"
	"onsale/checkout/ticket"
)

var _ checkout.OutsideStore = (*Store)(nil)

// ImportTickets implements checkout.OutsideStore. The event's lock has imports of it come
// after each other, and after it was put on sale; orders need a weaker one.
func (s *Store) ImportTickets(ctx context.Context, event string, last time.Duration,
	prepare func(context.Context, checkout.OutsideNow) ([]checkout.OutsideOrder, error), undo func(context.Context),
) error {
	return s.many(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		defer func() {
			if err != nil {
				undo(ctx) // the lock is there until the end of the transaction
			}
		}()
		var now checkout.OutsideNow
		var currency string
		err = tx.QueryRow(ctx, `
			select status, off_sale_at, coalesce(off_sale_at + $2::interval < clock_timestamp(), status <> 'on_sale'), currency
			from events where id = $1 for no key update`, event, last).Scan(&now.Status, &now.OffSale, &now.HoldsOver, &currency)
		if err != nil {
			return notFound(err, "event")
		}
		if now.Truth, err = truthOf(ctx, tx, event); err != nil {
			return err
		}
		if now.Known, err = broughtIn(ctx, tx, event); err != nil {
			return err
		}
		orders, err := prepare(ctx, now)
		if err != nil || len(orders) == 0 {
			return err
		}
		return s.bringIn(ctx, tx, event, currency, orders)
	})
}

// broughtIn reads the orders that came from elsewhere, by their references.
func broughtIn(ctx context.Context, tx pgx.Tx, event string) (map[string]checkout.OutsideKnown, error) {
	rows, err := tx.Query(ctx, `
		select o.reference, o.buyer_name, o.buyer_email, o.status, array_agg(t.ordinal order by t.ordinal)
		from orders o join order_items i on i.order_id = o.id and not i.exchanged join tickets t on t.id = i.ticket_id
		where o.event_id = $1 and o.reference is not null group by o.id`, event)
	if err != nil {
		return nil, err
	}
	known := make(map[string]checkout.OutsideKnown)
	var reference string
	var k checkout.OutsideKnown
	_, err = pgx.ForEachRow(rows, []any{&reference, &k.Buyer.Name, &k.Buyer.Email, &k.Status, &k.Ordinals}, func() error {
		known[reference] = k
		k.Ordinals = nil // the next row's are others
		return nil
	})
	return known, err
}

// bringIn writes orders that are fulfilled from the beginning. They have no payment: the
// books here, the gateway's and the payouts know nothing of them.
func (s *Store) bringIn(ctx context.Context, tx pgx.Tx, event, currency string, orders []checkout.OutsideOrder) error {
	var ids, users, names, emails, references []string
	var itemOrders, itemUsers, tickets, holders, holderEmails, codes []string
	var admissions []uuid.UUID
	var secrets [][]byte
	var ordinals []int
	var changes []announcement
	for n := range orders {
		o := &orders[n]
		user, err := uuid.NewV7()
		if err != nil {
			return err
		}
		ids, users = append(ids, o.ID), append(users, user.String())
		names, emails, references = append(names, o.Buyer.Name), append(emails, o.Buyer.Email), append(references, o.Reference)
		for i := range o.Items {
			admission, err := uuid.NewV7()
			if err != nil {
				return err
			}
			itemOrders, itemUsers, tickets = append(itemOrders, o.ID), append(itemUsers, user.String()), append(tickets, o.Items[i].Ticket)
			holders, holderEmails, admissions = append(holders, o.Buyer.Name), append(holderEmails, o.Buyer.Email), append(admissions, admission)
			codes, secrets, ordinals = append(codes, ticket.NewCode()), append(secrets, ticket.NewSecret()), append(ordinals, o.Items[i].Ordinal)
		}
		none := catalog.Money{Currency: currency}
		changes = append(changes, announcement{
			kind: messages.OrderFulfilled, subject: o.ID, event: event, once: string(messages.OrderFulfilled) + ":" + o.ID,
			payload: orderPayload(&checkout.Order{ID: o.ID, Event: event, Status: checkout.Fulfilled, Total: none, Refunded: none, Items: o.Items}),
		})
	}
	// In order, as claims do, so that the two never wait for each other in a circle.
	rows, err := tx.Query(ctx, `
		select ordinal from tickets
		where event_id = $1 and ordinal = any($2) and (status = 'available' or (status = 'reserved' and reserved_until < now()))
		order by ordinal for update`, event, ordinals)
	if err != nil {
		return err
	}
	free, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return err
	}
	if len(free) != len(ordinals) {
		has := make(map[int]bool, len(free))
		for _, o := range free {
			has[o] = true
		}
		var taken []int
		for _, o := range ordinals {
			if !has[o] {
				taken = append(taken, o)
			}
		}
		return checkout.Taken(taken)
	}
	args := pgx.NamedArgs{
		"event": event, "currency": currency, "ids": ids, "users": users, "names": names, "emails": emails, "references": references,
		"item_orders": itemOrders, "item_users": itemUsers, "tickets": tickets, "holders": holders, "holder_emails": holderEmails,
		"admissions": admissions, "codes": codes, "secrets": secrets,
	}
	b := &pgx.Batch{}
	b.Queue(`
		insert into users (id, name, email)
		select id, name, email from unnest(@users::uuid[], @names::text[], @emails::text[]) as w (id, name, email)`, args)
	// The visitor is nobody's: no browser can be it.
	b.Queue(`
		insert into orders (id, event_id, user_id, visitor, hold_id, status, currency, total_amount, buyer_name, buyer_email, pay_by, reference)
		select id, @event, usr, 'elsewhere ' || id, 'elsewhere ' || id, 'fulfilled', @currency, 0, name, email, now(), reference
		from unnest(@ids::uuid[], @users::uuid[], @names::text[], @emails::text[], @references::text[]) as w (id, usr, name, email, reference)`, args)
	b.Queue(`
		insert into order_items (order_id, ticket_id, price_amount, total_amount, sold)
		select ord, ticket, 0, 0, true from unnest(@item_orders::uuid[], @tickets::uuid[]) as w (ord, ticket)`, args)
	b.Queue(`
		update tickets t set status = 'purchased', user_id = w.usr, order_id = w.ord, reserved_until = null
		from unnest(@tickets::uuid[], @item_users::uuid[], @item_orders::uuid[]) as w (ticket, usr, ord) where t.id = w.ticket`, args)
	b.Queue(`
		insert into admissions (id, order_id, ticket_id, event_id, code, holder_name, holder_email, secret)
		select id, ord, ticket, @event, code, name, email, secret
		from unnest(@admissions::uuid[], @item_orders::uuid[], @tickets::uuid[], @codes::text[], @holders::text[], @holder_emails::text[], @secrets::bytea[])
			as w (id, ord, ticket, code, name, email, secret)`, args)
	b.Queue(`
		insert into order_events (order_id, status, note) select unnest(@ids::uuid[]), 'fulfilled', 'sold elsewhere'`, args)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	return s.announce(ctx, tx, changes)
}
