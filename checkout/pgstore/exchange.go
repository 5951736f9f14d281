package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"onsale/checkout"
)

// ExchangeTickets implements checkout.OrderStore.
func (s *Store) ExchangeTickets(ctx context.Context, k *checkout.Key, x checkout.NewExchange) (checkout.Order, error) {
	return s.withKey(ctx, k, x.Order, func(ctx context.Context, tx pgx.Tx, o *checkout.Order) error {
		return s.exchange(ctx, tx, o, x)
	}, func(before, after *checkout.Order) []announcement {
		return append(orderRefunded(before, after), seatsExchanged(before, after)...)
	})
}

func (s *Store) exchange(ctx context.Context, tx pgx.Tx, o *checkout.Order, x checkout.NewExchange) error {
	back, err := o.ToExchange(x.Tickets, len(x.Items))
	if err != nil {
		return err
	}
	if x.ByBuyer {
		if err := inHand(ctx, tx, o, back); err != nil {
			return err
		}
	}
	less, err := o.Less(back, x.Items)
	if err != nil {
		return err
	}
	if err := claimInstead(ctx, tx, o, x); err != nil {
		return err
	}
	if err := endAdmissions(ctx, tx, o.ID, x.Tickets, checkout.EndExchanged); err != nil {
		return err
	}
	if err := freeTickets(ctx, tx, o, x.Tickets); err != nil {
		return err
	}
	if err := writeExchange(ctx, tx, o, x); err != nil {
		return err
	}
	if err := s.startRefund(ctx, tx, o, nil, less, checkout.RefundRequest{Reason: "cheaper seats", Actor: x.Actor}); err != nil {
		return err
	}
	why := "seats exchanged by " + x.Actor
	if x.Reason != "" {
		why += ": " + x.Reason
	}
	return note(ctx, tx, o.ID, o.Status, why)
}

// claimInstead makes the other tickets the buyer's, on the same condition as an order
// would.
func claimInstead(ctx context.Context, tx pgx.Tx, o *checkout.Order, x checkout.NewExchange) error {
	want := make([]int, len(x.Items))
	for i := range x.Items {
		want[i] = x.Items[i].Ordinal
	}
	rows, err := tx.Query(ctx, `
		with free as (
			select id from tickets
			where event_id = @event and ordinal = any(@ordinals)
			and (status = 'available' or (status = 'reserved' and reserved_until < now()))
			and fence <= @fence
			and (@anyone or channel_id is null or exists (
				select from channel_members m where m.channel_id = tickets.channel_id and m.visitor = @visitor))
			order by ordinal for update)
		update tickets t
		set status = 'purchased', order_id = @order, reserved_until = null, user_id = (select user_id from orders where id = @order)
		from free where t.id = free.id
		returning t.ordinal`, pgx.NamedArgs{
		"event": o.Event, "ordinals": want, "fence": x.Fence, "anyone": x.Anyone, "visitor": o.Visitor, "order": o.ID,
	})
	if err != nil {
		return err
	}
	claimed, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err == nil && len(claimed) != len(want) {
		err = checkout.Taken(without(want, claimed))
	}
	return err
}

// writeExchange lists the other tickets in the order and issues their codes.
func writeExchange(ctx context.Context, tx pgx.Tx, o *checkout.Order, x checkout.NewExchange) error {
	b := &pgx.Batch{}
	b.Queue(`update order_items set exchanged = true where order_id = $1 and ticket_id = any($2::uuid[])`, o.ID, x.Tickets)
	for i := range x.Items {
		item, c := &x.Items[i], &x.Items[i].Cost
		// A ticket that the order gave back before may come to it again.
		b.Queue(`
			insert into order_items (order_id, ticket_id, price_amount, discount_amount, fee_amount, tax_amount, tax_included, total_amount, sold)
			values (@order, @ticket, @price, @discount, @fee, @tax, @included, @total, true)
			on conflict (order_id, ticket_id) do update set sold = true, returned_at = null, exchanged = false,
				price_amount = @price, discount_amount = @discount, fee_amount = @fee, tax_amount = @tax, total_amount = @total`, pgx.NamedArgs{
			"order": o.ID, "ticket": item.Ticket, "price": c.Price, "discount": c.Discount, "fee": c.Fee, "tax": c.Tax,
			"included": o.Quote.Tax.Included, "total": c.Total,
		})
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	now, err := loadOrder(ctx, tx, o.ID, false)
	if err != nil {
		return err
	}
	return issue(ctx, tx, &now)
}
