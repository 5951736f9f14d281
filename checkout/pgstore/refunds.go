package pgstore

import (
	"context"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onsale/checkout"
	"onsale/internal/fault"
)

// RefundOrder implements checkout.OrderStore.
func (s *Store) RefundOrder(ctx context.Context, k *checkout.Key, r checkout.RefundRequest) (checkout.Order, error) {
	return s.withKey(ctx, k, r.Order, func(ctx context.Context, tx pgx.Tx, o *checkout.Order) error {
		return s.refund(ctx, tx, o, r)
	}, orderRefunded)
}

// refund takes back what is asked for of an order that the transaction has locked.
func (s *Store) refund(ctx context.Context, tx pgx.Tx, o *checkout.Order, r checkout.RefundRequest) error {
	if o.Status == checkout.Refunded && r.Amount == 0 {
		return nil // money alone is another wish than the one that was done
	}
	if !o.Status.Sold() {
		return fault.New(fault.Conflict, "an order that is %s cannot be refunded", o.Status)
	}
	why := "refunded by " + r.Actor
	if r.Reason != "" {
		why += ": " + r.Reason
	}
	back, amount, err := o.RefundOf(r)
	if err != nil {
		return err
	}
	if len(back) == 0 && amount == 0 {
		return nil // it was done before
	}
	if r.ByBuyer {
		if err := inHand(ctx, tx, o, back); err != nil {
			return err
		}
	}
	whole := len(back) > 0 && len(back) == len(o.Ordinals())
	if o.Status == checkout.Paid && (!whole || amount < o.Total.Amount) {
		// Not captured yet: only all of it can be let go. The capture is a moment away.
		return fault.New(fault.Conflict, "the payment is being captured; a part of it can be given back in a moment").After(checkout.CaptureSoon)
	}
	if o.Status == checkout.Paid {
		return s.giveUp(ctx, tx, o, checkout.Refunded, why)
	}
	if err := s.startRefund(ctx, tx, o, back, amount, r); err != nil {
		return err
	}
	if len(back) > 0 {
		tickets := make([]string, len(back))
		for i, n := range back {
			tickets[i] = o.Items[n].Ticket
		}
		if err := freeTickets(ctx, tx, o, tickets); err != nil {
			return err
		}
	}
	if whole {
		return s.moveOrder(ctx, tx, o, checkout.Refunded, why)
	}
	if o.Status == checkout.PartiallyRefunded { // once more
		return note(ctx, tx, o.ID, o.Status, why)
	}
	return s.moveOrder(ctx, tx, o, checkout.PartiallyRefunded, why)
}

// startRefund writes down what goes back, so that it is done whatever happens.
func (s *Store) startRefund(ctx context.Context, tx pgx.Tx, o *checkout.Order, back []int, amount int64, r checkout.RefundRequest) error {
	if amount == 0 {
		return nil // tickets that cost nothing, or whose price stays
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	args := pgx.NamedArgs{
		"id": id, "order": o.ID, "amount": amount, "reason": r.Reason, "actor": r.Actor, "look": jobFirst,
		"tickets": []string{}, "amounts": []int64{},
	}
	if len(back) > 0 {
		tickets, amounts := make([]string, len(back)), make([]int64, len(back))
		for i, n := range back {
			tickets[i], amounts[i] = o.Items[n].Ticket, o.Items[n].Cost.RefundOf(o.Quote.Tax, r.KeepFees)
		}
		args["tickets"], args["amounts"] = tickets, amounts
	}
	b := &pgx.Batch{}
	// The constraints on both sums keep refunds from being more than what was paid.
	b.Queue(`
		with p as (update payments set refunded_amount = refunded_amount + @amount, updated_at = now(), checked_at = null
			where order_id = @order and status = 'captured' returning id)
		insert into refunds (id, order_id, payment_id, amount, reason, actor, status, look_at)
		select @id, @order, p.id, @amount, @reason, @actor, 'pending', now() + @look::interval from p`, args)
	b.Queue(`update orders set refunded_amount = refunded_amount + @amount where id = @order`, args)
	b.Queue(`
		insert into refund_items (refund_id, order_id, ticket_id, amount)
		select @id, @order, * from unnest(@tickets::uuid[], @amounts::bigint[])`, args)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	return s.enqueue(ctx, tx, refundPayment{Refund: id.String()})
}

// Refund implements checkout.OrderStore.
func (s *Store) Refund(ctx context.Context, id string) (r checkout.Refund, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return notFound(tx.QueryRow(ctx, `
			select r.id, r.order_id, r.payment_id, r.amount, p.currency, r.status = 'done'
			from refunds r join payments p on p.id = r.payment_id where r.id = $1`, id).
			Scan(&r.ID, &r.Order, &r.Payment, &r.Amount.Amount, &r.Amount.Currency, &r.Done), "refund")
	})
	return r, err
}

// RefundDone implements checkout.OrderStore. A payment whose money all went back is
// refunded.
func (s *Store) RefundDone(ctx context.Context, refund string) error {
	return s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		// Of two that end at the same moment the later one has to see the other.
		_, err := tx.Exec(ctx, `
			select from payments where id = (select payment_id from refunds where id = $1) for update`, refund)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			update refunds set status = 'done', look_at = null, updated_at = now() where id = $1 and status = 'pending'`, refund)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			update payments p set status = 'refunded', updated_at = now()
			where id = (select payment_id from refunds where id = $1) and status = 'captured' and refunded_amount = amount
			and not exists (select from refunds r where r.payment_id = p.id and r.status = 'pending')`, refund)
		return err
	})
}

// without lists what is in all but not in some.
func without(all, some []int) (rest []int) {
	for _, n := range all {
		if !slices.Contains(some, n) {
			rest = append(rest, n)
		}
	}
	return rest
}
