package pgstore

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/internal/gather"
)

// CreateOrder implements checkout.OrderStore.
func (s *Store) CreateOrder(ctx context.Context, k checkout.Key, n checkout.NewOrder) (checkout.Order, error) {
	return s.creations.Do(ctx, creation{k, n})
}

// creation is one call of CreateOrder.
type creation struct {
	key   checkout.Key
	order checkout.NewOrder
}

// apart keeps a visitor's orders after each other, so that the limit per buyer holds.
func (c creation) apart() []string {
	return []string{"visitor " + c.order.Visitor, "key " + c.key.Scope + " " + c.key.Value}
}

// createAll claims the tickets of many orders. One statement locks those that are
// free, in the order of their ordinals so that overlapping claims cannot deadlock,
// and so decides who gets a ticket; an order that lacks one is refused and leaves
// nothing behind.
func (s *Store) createAll(ctx context.Context, tx pgx.Tx, calls []creation) ([]gather.Outcome[checkout.Order], error) {
	out := make([]gather.Outcome[checkout.Order], len(calls))
	done := make([]bool, len(calls))
	end := func(n int, o checkout.Order, err error) {
		out[n], done[n] = gather.Outcome[checkout.Order]{Reply: o, Err: err}, true
	}
	l, err := lookBeforeCreating(ctx, tx, calls)
	if err != nil {
		return nil, err
	}
	for n, c := range calls {
		if row, used := l.keys[keyName(c.key)]; used {
			switch stored, err := row.answer(c.key); {
			case err != nil && !isFault(err):
				return nil, err // what is stored cannot be read
			case err != nil:
				end(n, checkout.Order{}, err)
			case stored != nil:
				end(n, *stored, nil)
			}
		}
		if !done[n] {
			// A hold ends with its order: who pinned it before may come here after
			// Redis has given its tickets to somebody else.
			switch e, found := l.earlier[n]; {
			case found && e.open:
				o, err := loadOrder(ctx, tx, e.id, false)
				if err != nil {
					return nil, err
				}
				end(n, o, nil)
				l.answer(c.key, o)
			case found || len(c.order.Items) == 0:
				end(n, checkout.Order{}, fault.New(fault.HoldLapsed, "the hold has lapsed or was released; choose tickets again"))
			}
		}
		if most, had := c.order.MaxPerBuyer, l.had[n]+l.bought[l.account(c)]; !done[n] && had+len(c.order.Items) > most {
			end(n, checkout.Order{}, fault.New(fault.LimitReached,
				"one buyer may have at most %d tickets of this event; you have %d already", most, had).
				With("limit", most).With("had", had))
		}
		if !done[n] {
			var missing []int
			for i := range c.order.Items {
				if o := c.order.Items[i].Ordinal; !l.free[seat{c.order.Event, o}] {
					missing = append(missing, o)
				}
			}
			if len(missing) > 0 {
				end(n, checkout.Order{}, checkout.Taken(missing))
			}
		}
		if !done[n] && c.order.Quote.Promo != nil {
			if err := usePromo(ctx, tx, c.order, l.buyerOf(c)); err != nil {
				if !isFault(err) {
					return nil, err
				}
				end(n, checkout.Order{}, err)
			}
		}
		if done[n] {
			continue
		}
		for i := range c.order.Items { // nobody else in this transaction has them
			delete(l.free, seat{c.order.Event, c.order.Items[i].Ordinal})
		}
		l.buy(c)
		o := l.add(c.order)
		l.answer(c.key, o)
		end(n, o, nil)
	}
	if l.err != nil {
		return nil, l.err
	}
	if len(l.answers.keys) == 0 {
		return out, errNothing
	}
	return out, l.write(ctx, tx)
}

type seat struct {
	event   string
	ordinal int
}

type earlierOrder struct {
	id   string
	open bool
}

// creating is what is known before orders are created, and what is to be written
// for them.
type creating struct {
	now   time.Time
	users map[string]string // by visitor
	accounted
	keys    map[string]keyRow
	earlier map[int]earlierOrder // by call: the order that its hold has become
	had     map[int]int          // by call: tickets the buyer has
	free    map[seat]bool        // tickets that are locked for us

	answers
	err    error
	orders orderRows
	items  itemRows
}

func keyName(k checkout.Key) string { return k.Scope + " " + k.Value }

// lookBeforeCreating locks buyers and tickets, and reads what else decides about
// orders.
func lookBeforeCreating(ctx context.Context, tx pgx.Tx, calls []creation) (*creating, error) {
	l := &creating{
		users: map[string]string{}, keys: map[string]keyRow{}, earlier: map[int]earlierOrder{}, had: map[int]int{}, free: map[seat]bool{},
	}
	var ids, visitors, names, emails, scopes, keys, events, holds []string
	var ticketEvents, ticketVisitors []string
	var ordinals []int
	var fences []int64
	for _, c := range calls {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		ids = append(ids, id.String())
		visitors, names, emails = append(visitors, c.order.Visitor), append(names, c.order.Buyer.Name), append(emails, c.order.Buyer.Email)
		scopes, keys = append(scopes, c.key.Scope), append(keys, c.key.Value)
		events, holds = append(events, c.order.Event), append(holds, c.order.Hold)
		for i := range c.order.Items {
			ticketEvents, ticketVisitors = append(ticketEvents, c.order.Event), append(ticketVisitors, c.order.Visitor)
			ordinals, fences = append(ordinals, c.order.Items[i].Ordinal), append(fences, c.order.Fence)
		}
	}
	b := &pgx.Batch{}
	// The row lock on the buyer makes their orders queue up, so that the limit
	// holds for two tabs at once, and a repeated key finds its answer.
	b.Queue(`
		insert into users (id, visitor, name, email)
		select id, visitor, name, email
		from unnest(@ids::uuid[], @visitors::text[], @names::text[], @emails::text[]) as w (id, visitor, name, email)
		order by visitor
		on conflict (visitor) do update set name = excluded.name, email = excluded.email
		returning visitor, id, account_id, now()`, pgx.NamedArgs{"ids": ids, "visitors": visitors, "names": names, "emails": emails}).
		Query(func(rows pgx.Rows) error {
			var visitor, id string
			var account *string
			_, err := pgx.ForEachRow(rows, []any{&visitor, &id, &account, &l.now}, func() error {
				l.users[visitor] = id
				l.belongs(visitor, account)
				return nil
			})
			return err
		})
	b.Queue(`
		select k.scope, k.key, k.fingerprint, k.body, k.lease_until > now()
		from unnest(@scopes::text[], @keys::text[]) as w (scope, key) join idempotency_keys k using (scope, key)`,
		pgx.NamedArgs{"scopes": scopes, "keys": keys}).
		Query(func(rows pgx.Rows) error {
			var k checkout.Key
			var r keyRow
			_, err := pgx.ForEachRow(rows, []any{&k.Scope, &k.Value, &r.fingerprint, &r.body, &r.leased}, func() error {
				l.keys[keyName(k)] = r
				r.body = nil // the next row's is another one
				return nil
			})
			return err
		})
	b.Queue(`
		select w.n - 1, o.id, o.status in ('awaiting_payment', 'payment_unknown', 'declined', 'paid', 'fulfilled', 'partially_refunded') as open
		from unnest(@events::uuid[], @holds::text[], @visitors::text[]) with ordinality as w (event, hold, visitor, n)
		join orders o on o.visitor = w.visitor and o.event_id = w.event and o.hold_id = w.hold
		order by open`, pgx.NamedArgs{"events": events, "holds": holds, "visitors": visitors}).
		Query(func(rows pgx.Rows) error {
			var n int
			var e earlierOrder
			_, err := pgx.ForEachRow(rows, []any{&n, &e.id, &e.open}, func() error {
				l.earlier[n] = e // the open one, if there is one, comes last
				return nil
			})
			return err
		})
	// Claims that have run out count until somebody else has the ticket or the order ends:
	// a payment that is under way may still buy them. One look into an index per buyer, whatever is known about the table's contents:
	// as a join it reads the event's tickets at the beginning of a sale.
	b.Queue(`
		select n - 1, had from (
			select w.n, (select count(*) from tickets t
				where t.user_id = (select u.id from users u where u.visitor = w.visitor) and t.event_id = w.event) as had
			from unnest(@events::uuid[], @visitors::text[]) with ordinality as w (event, visitor, n)) as t
		where had > 0`, pgx.NamedArgs{"events": events, "visitors": visitors}).
		Query(func(rows pgx.Rows) error {
			var n, had int
			_, err := pgx.ForEachRow(rows, []any{&n, &had}, func() error {
				l.had[n] = had
				return nil
			})
			return err
		})
	// A ticket that a newer hold has claimed before is not had by an older one,
	// whatever became of that claim: its hold is one that Redis has lost.
	b.Queue(`
		select t.event_id, t.ordinal
		from unnest(@events::uuid[], @ordinals::int[], @fences::bigint[], @visitors::text[]) as w (event, ordinal, fence, visitor)
		join tickets t on t.event_id = w.event and t.ordinal = w.ordinal
		where (t.status = 'available' or (t.status = 'reserved' and t.reserved_until < now()))
		and t.fence <= w.fence
		and (t.channel_id is null or exists (
			select from channel_members m where m.channel_id = t.channel_id and m.visitor = w.visitor))
		order by t.event_id, t.ordinal for update of t`, pgx.NamedArgs{
		"events": ticketEvents, "ordinals": ordinals, "fences": fences, "visitors": ticketVisitors,
	}).Query(func(rows pgx.Rows) error {
		var t seat
		_, err := pgx.ForEachRow(rows, []any{&t.event, &t.ordinal}, func() error {
			l.free[t] = true
			return nil
		})
		return err
	})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	if err := l.countAccounts(ctx, tx, calls); err != nil {
		return nil, err
	}
	return l, lockPromos(ctx, tx, calls)
}

// lockPromos locks the promo codes of orders, in the order of their ids: one by one, as
// the orders come, two transactions would each wait for a code that the other has.
func lockPromos(ctx context.Context, tx pgx.Tx, calls []creation) error {
	var ids []string
	for _, c := range calls {
		if p := c.order.Quote.Promo; p != nil {
			ids = append(ids, p.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `select from promo_codes where id = any($1::uuid[]) order by id for no key update`, ids)
	return err
}

// answer keeps an order as the answer to its request.
func (l *creating) answer(k checkout.Key, o checkout.Order) {
	if err := l.answers.add(k, 201, o); err != nil && l.err == nil {
		l.err = err
	}
}

// orderRows and itemRows are rows to be inserted, by column.
type orderRows struct {
	ids, events, users, visitors, holds, currencies, names, emails, taxNames, promoCodes []string
	promos                                                                               []*string
	totals, fees, feeTaxes, feeTotals                                                    []int64
	taxRates                                                                             []int
	taxIncluded                                                                          []bool
	payBy                                                                                []time.Time
}

type itemRows struct {
	orders, users, tickets                    []string
	fences                                    []int64
	until                                     []time.Time
	prices, discounts, fees, taxes, allInAlls []int64
	taxIncluded                               []bool
}

// claimSlack is how much longer tickets stay claimed than their order may be paid.
const claimSlack = 2 * time.Minute

// add notes the rows of an order and returns it as it will be.
func (l *creating) add(n checkout.NewOrder) checkout.Order {
	q, user, payBy := n.Quote, l.users[n.Visitor], l.now.Add(n.PayWithin)
	r := &l.orders
	r.ids, r.events, r.users, r.visitors = append(r.ids, n.ID), append(r.events, n.Event), append(r.users, user), append(r.visitors, n.Visitor)
	r.holds, r.currencies = append(r.holds, n.Hold), append(r.currencies, q.Currency)
	r.names, r.emails = append(r.names, n.Buyer.Name), append(r.emails, n.Buyer.Email)
	r.totals, r.fees = append(r.totals, q.Total), append(r.fees, q.OrderFee)
	r.feeTaxes, r.feeTotals = append(r.feeTaxes, q.OrderFeeTax), append(r.feeTotals, q.OrderFeeTotal)
	r.taxNames, r.taxRates, r.taxIncluded = append(r.taxNames, q.Tax.Name), append(r.taxRates, int(q.Tax.Rate)), append(r.taxIncluded, q.Tax.Included)
	r.payBy = append(r.payBy, payBy)
	var promo *string
	var code string
	if q.Promo != nil {
		promo, code = &q.Promo.ID, q.Promo.Code
	}
	r.promos, r.promoCodes = append(r.promos, promo), append(r.promoCodes, code)
	i := &l.items
	for t := range n.Items {
		cost := n.Items[t].Cost
		i.orders, i.users, i.tickets = append(i.orders, n.ID), append(i.users, user), append(i.tickets, n.Items[t].Ticket)
		i.fences, i.until = append(i.fences, n.Fence), append(i.until, payBy.Add(claimSlack))
		i.prices, i.discounts, i.fees = append(i.prices, cost.Price), append(i.discounts, cost.Discount), append(i.fees, cost.Fee)
		i.taxes, i.allInAlls = append(i.taxes, cost.Tax), append(i.allInAlls, cost.Total)
		i.taxIncluded = append(i.taxIncluded, q.Tax.Included)
	}
	o := checkout.Order{
		ID: n.ID, Event: n.Event, Status: checkout.AwaitingPayment, PayBy: payBy.UTC(), CreatedAt: l.now.UTC(),
		Total: catalog.Money{Amount: q.Total, Currency: q.Currency}, Refunded: catalog.Money{Currency: q.Currency},
		Buyer: n.Buyer, Items: n.Items, History: []checkout.Change{{At: l.now.UTC(), Status: checkout.AwaitingPayment}},
		Quote: q, Visitor: n.Visitor, Hold: n.Hold,
	}
	o.ShowPrice()
	return o
}

// write stores the new orders: their claims, items, history and answers.
func (l *creating) write(ctx context.Context, tx pgx.Tx) error {
	b := &pgx.Batch{}
	if o, i := &l.orders, &l.items; len(o.ids) > 0 {
		b.Queue(`
			insert into orders (id, event_id, user_id, visitor, hold_id, status, currency, total_amount, buyer_name, buyer_email, pay_by,
				fee_amount, fee_tax_amount, fee_total, tax_name, tax_rate, tax_included, promo_id, promo_code)
			select id, event, usr, visitor, hold, 'awaiting_payment', currency, total, name, email, pay_by,
				fee, fee_tax, fee_total, tax_name, tax_rate, tax_included, promo, code
			from unnest(@ids::uuid[], @events::uuid[], @users::uuid[], @visitors::text[], @holds::text[], @currencies::text[],
				@totals::bigint[], @names::text[], @emails::text[], @pay_by::timestamptz[], @fees::bigint[], @fee_taxes::bigint[],
				@fee_totals::bigint[], @tax_names::text[], @tax_rates::int[], @tax_included::bool[], @promos::uuid[], @codes::text[])
				as w (id, event, usr, visitor, hold, currency, total, name, email, pay_by, fee, fee_tax, fee_total, tax_name, tax_rate,
					tax_included, promo, code)`, pgx.NamedArgs{
			"ids": o.ids, "events": o.events, "users": o.users, "visitors": o.visitors, "holds": o.holds, "currencies": o.currencies,
			"totals": o.totals, "names": o.names, "emails": o.emails, "pay_by": o.payBy, "fees": o.fees, "fee_taxes": o.feeTaxes,
			"fee_totals": o.feeTotals, "tax_names": o.taxNames, "tax_rates": o.taxRates, "tax_included": o.taxIncluded,
			"promos": o.promos, "codes": o.promoCodes,
		})
		b.Queue(`
			update tickets t set status = 'reserved', fence = w.fence, user_id = w.usr, order_id = w.ord, reserved_until = w.until
			from unnest(@tickets::uuid[], @fences::bigint[], @users::uuid[], @orders::uuid[], @until::timestamptz[])
				as w (ticket, fence, usr, ord, until) where t.id = w.ticket`, pgx.NamedArgs{
			"tickets": i.tickets, "fences": i.fences, "users": i.users, "orders": i.orders, "until": i.until,
		})
		b.Queue(`
			insert into order_items (order_id, ticket_id, price_amount, discount_amount, fee_amount, tax_amount, tax_included, total_amount)
			select ord, ticket, price, discount, fee, tax, included, total
			from unnest(@orders::uuid[], @tickets::uuid[], @prices::bigint[], @discounts::bigint[], @fees::bigint[],
				@taxes::bigint[], @tax_included::bool[], @totals::bigint[]) as w (ord, ticket, price, discount, fee, tax, included, total)`, pgx.NamedArgs{
			"orders": i.orders, "tickets": i.tickets, "prices": i.prices, "discounts": i.discounts, "fees": i.fees,
			"taxes": i.taxes, "tax_included": i.taxIncluded, "totals": i.allInAlls,
		})
		queueNotes(b, o.ids, checkout.AwaitingPayment)
	}
	l.answers.queue(b, true)
	return tx.SendBatch(ctx, b).Close()
}

// promoBuyer is whose orders count towards a promo code's limit per buyer: those of a
// visitor, and of all devices of their account. The transaction has both locked.
type promoBuyer struct {
	user        string
	account     *string // nil: they have none
	uncommitted int     // orders of the account before, in the same transaction
}

// over are the statuses of orders that have no tickets and never will.
const over = `('expired', 'cancelled', 'refunded')`

// usePromo counts a use of the order's promo code, if its limits allow another one.
// The row stays locked until the order is committed, so that nobody gets more.
func usePromo(ctx context.Context, tx pgx.Tx, n checkout.NewOrder, buyer promoBuyer) error {
	args := pgx.NamedArgs{"promo": n.Quote.Promo.ID, "user": buyer.user, "account": buyer.account}
	tag, err := tx.Exec(ctx, `
		update promo_codes set used = used + 1
		where id = @promo and active and (max_uses is null or used < max_uses)
		and (starts_at is null or starts_at <= now()) and (ends_at is null or ends_at > now())`, args)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return fault.New(fault.PromoInvalid, "the promo code %s is used up or over", n.Quote.Promo.Code).With("reason", "used_up")
	}
	var most *int
	var mine int
	err = tx.QueryRow(ctx, `
		select per_buyer, (select count(*) from orders o where o.promo_id = p.id and o.status not in `+over+`
			and o.user_id = any(array(select @user::uuid union select id from users where account_id = @account)))
		from promo_codes p where id = @promo`, args).Scan(&most, &mine)
	if mine += buyer.uncommitted; err != nil || most == nil || mine < *most {
		return err
	}
	if _, err := tx.Exec(ctx, `update promo_codes set used = used - 1 where id = @promo`, args); err != nil {
		return err
	}
	return fault.New(fault.PromoInvalid, "you have used the promo code %s already", n.Quote.Promo.Code).With("reason", "used_by_you")
}

// Order implements checkout.OrderStore.
func (s *Store) Order(ctx context.Context, id string) (o checkout.Order, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		o, err = loadOrder(ctx, tx, id, false)
		return err
	})
	return o, err
}

// OpenOrderFor implements checkout.OrderStore.
func (s *Store) OpenOrderFor(ctx context.Context, ticket, visitor string) (o checkout.Order, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var id string
		err := tx.QueryRow(ctx, `
			select o.id from orders o join order_items i on i.order_id = o.id
			where i.ticket_id = $1 and o.visitor = $2
			and o.status in ('awaiting_payment', 'payment_unknown', 'declined', 'paid', 'fulfilled', 'partially_refunded')
			and i.returned_at is null
			order by o.created_at desc limit 1`, ticket, visitor).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			return fault.New(fault.NotFound, "no open order of yours has this ticket")
		}
		if err != nil {
			return err
		}
		o, err = loadOrder(ctx, tx, id, false)
		return err
	})
	return o, err
}

// ExpireOrder implements checkout.OrderStore.
func (s *Store) ExpireOrder(ctx context.Context, id string) (o checkout.Order, ended bool, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		ended = false
		o, err = loadOrder(ctx, tx, id, true)
		if err != nil || o.Status != checkout.AwaitingPayment && o.Status != checkout.Declined {
			return err // an attempt under way decides first
		}
		if err := tx.QueryRow(ctx, `select pay_by <= now() from orders where id = $1`, id).Scan(&ended); err != nil || !ended {
			return err
		}
		return s.giveUp(ctx, tx, &o, checkout.Expired, "the time to pay was over")
	})
	return o, ended, err
}

// CancelOrder implements checkout.OrderStore.
func (s *Store) CancelOrder(ctx context.Context, k *checkout.Key, id, why string) (checkout.Order, error) {
	return s.withKey(ctx, k, id, func(ctx context.Context, tx pgx.Tx, o *checkout.Order) error {
		switch o.Status {
		case checkout.Cancelled:
			return nil
		case checkout.AwaitingPayment, checkout.Declined:
			return s.giveUp(ctx, tx, o, checkout.Cancelled, why)
		case checkout.PaymentUnknown:
			return fault.New(fault.Conflict, "a payment is under way; wait for its outcome").After(2 * time.Second)
		default:
			return fault.New(fault.Conflict, "an order that is %s cannot be cancelled", o.Status)
		}
	}, func(*checkout.Order, *checkout.Order) []announcement { return nil }) // its change of state is told of
}

// giveUp ends an order without a sale: its claims are free, an open attempt to
// pay is voided.
func (s *Store) giveUp(ctx context.Context, tx pgx.Tx, o *checkout.Order, to checkout.OrderStatus, why string) error {
	if err := s.voidLive(ctx, tx, o.ID, why); err != nil {
		return err
	}
	if err := freeTickets(ctx, tx, o, nil); err != nil {
		return err
	}
	return s.moveOrder(ctx, tx, o, to, why)
}

// voidLive marks the order's live payment, if there is one, to be voided.
func (s *Store) voidLive(ctx context.Context, tx pgx.Tx, order, why string) error {
	rows, err := tx.Query(ctx, `
		update payments set status = 'voiding', reason = $2, updated_at = now(), look_at = now() + $3::interval, looks = 0
		where order_id = $1 and status in ('pending', 'requires_action', 'authorised') returning id`, order, why, jobFirst)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.enqueue(ctx, tx, voidPayment{Payment: id}); err != nil {
			return err
		}
	}
	return nil
}

// freeTickets puts tickets the order still has back on sale: those named, or all.
func freeTickets(ctx context.Context, tx pgx.Tx, o *checkout.Order, tickets []string) error {
	args := pgx.NamedArgs{"order": o.ID, "tickets": tickets}
	rows, err := tx.Query(ctx, `
		update tickets set status = 'available', user_id = null, order_id = null, reserved_until = null
		where order_id = @order and (@tickets::uuid[] is null or id = any(@tickets)) returning ordinal`, args)
	if err != nil {
		return err
	}
	if o.Freed, err = pgx.CollectRows(rows, pgx.RowTo[int]); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		update order_items set sold = false, returned_at = case when sold then now() else returned_at end
		where order_id = @order and (@tickets::uuid[] is null or ticket_id = any(@tickets))`, args)
	if err != nil {
		return err
	}
	return endAdmissions(ctx, tx, o.ID, tickets, checkout.EndRefunded)
}

// moveOrder takes an order that the transaction has locked to its next status. One that
// is over has no tickets any more: its promo code may be used again.
func (s *Store) moveOrder(ctx context.Context, tx pgx.Tx, o *checkout.Order, to checkout.OrderStatus, why string) error {
	if o.Status == to {
		return nil
	}
	if !o.Status.MayBecome(to) {
		return fault.New(fault.Conflict, "an order that is %s cannot become %s", o.Status, to)
	}
	if to.Over() && o.Quote.Promo != nil {
		if _, err := tx.Exec(ctx, `update promo_codes set used = used - 1 where id = $1`, o.Quote.Promo.ID); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, `update orders set status = $2, updated_at = now() where id = $1`, o.ID, to); err != nil {
		return err
	}
	if err := note(ctx, tx, o.ID, to, why); err != nil {
		return err
	}
	o.Status = to
	return s.announce(ctx, tx, orderMoved(o, why))
}

func note(ctx context.Context, tx pgx.Tx, order string, status checkout.OrderStatus, why string) error {
	_, err := tx.Exec(ctx, `insert into order_events (order_id, status, note) values ($1, $2, $3)`, order, status, why)
	return err
}

// queueMoves takes many orders to the same next status.
func queueMoves(b *pgx.Batch, orders []string, to checkout.OrderStatus) {
	b.Queue(`update orders set status = $2, updated_at = now() where id = any($1::uuid[])`, orders, to)
	queueNotes(b, orders, to)
}

func queueNotes(b *pgx.Batch, orders []string, to checkout.OrderStatus) {
	b.Queue(`insert into order_events (order_id, status) select unnest($1::uuid[]), $2`, orders, to)
}

// loadOrder reads an order whole; lock holds its row until the transaction ends.
func loadOrder(ctx context.Context, tx pgx.Tx, id string, lock bool) (checkout.Order, error) {
	if lock {
		if _, err := tx.Exec(ctx, `select from orders where id = $1 for update`, id); err != nil {
			return checkout.Order{}, err
		}
	}
	orders, err := loadOrders(ctx, tx, []string{id})
	if err != nil {
		return checkout.Order{}, err
	}
	o, found := orders[id]
	if !found {
		return checkout.Order{}, fault.New(fault.NotFound, "no such order")
	}
	return *o, nil
}

// loadOrders reads orders whole, by id.
func loadOrders(ctx context.Context, tx pgx.Tx, ids []string) (map[string]*checkout.Order, error) {
	orders := make(map[string]*checkout.Order, len(ids))
	b := &pgx.Batch{}
	queueOrders(b, ids, orders)
	return orders, tx.SendBatch(ctx, b).Close()
}

// queueOrders reads orders whole, into a map by id.
func queueOrders(b *pgx.Batch, ids []string, orders map[string]*checkout.Order) {
	b.Queue(`
		select id, event_id, status, pay_by, created_at, total_amount, refunded_amount, currency, buyer_name, buyer_email, visitor, hold_id,
			fee_amount, fee_tax_amount, fee_total, tax_name, tax_rate, tax_included, promo_id, promo_code
		from orders where id = any($1::uuid[])`, ids).
		Query(func(rows pgx.Rows) error {
			for rows.Next() {
				o := &checkout.Order{Items: []checkout.Item{}}
				q := &o.Quote
				var promo *string
				var code string
				err := rows.Scan(&o.ID, &o.Event, &o.Status, &o.PayBy, &o.CreatedAt, &o.Total.Amount, &o.Refunded.Amount, &q.Currency,
					&o.Buyer.Name, &o.Buyer.Email, &o.Visitor, &o.Hold,
					&q.OrderFee, &q.OrderFeeTax, &q.OrderFeeTotal, &q.Tax.Name, &q.Tax.Rate, &q.Tax.Included, &promo, &code)
				if err != nil {
					return err
				}
				o.PayBy, o.CreatedAt = o.PayBy.UTC(), o.CreatedAt.UTC()
				o.Total.Currency, o.Refunded.Currency, q.Total = q.Currency, q.Currency, o.Total.Amount
				if promo != nil {
					q.Promo = &checkout.Promo{ID: *promo, Code: code}
				}
				orders[o.ID] = o
			}
			return rows.Err()
		})
	b.Queue(`
		select i.order_id, i.ticket_id, s.name, t.row_name, t.seat_name, p.name, i.price_amount, i.discount_amount, i.fee_amount, i.tax_amount,
			i.total_amount, i.returned_at, i.exchanged, t.ordinal, coalesce(a.code, ''), s.entrance, t.attributes
		from order_items i left join admissions a on a.order_id = i.order_id and a.ticket_id = i.ticket_id and a.ended_at is null
		join tickets t on t.id = i.ticket_id
		join sections s on s.id = t.section_id join price_tiers p on p.id = t.tier_id
		where i.order_id = any($1::uuid[]) order by i.order_id, t.ordinal`, ids).
		Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var id string
				var i checkout.Item
				var attributes int16
				c := &i.Cost
				err := rows.Scan(&id, &i.Ticket, &i.Section, &i.Row, &i.Seat, &i.Tier, &c.Price, &c.Discount, &c.Fee, &c.Tax, &c.Total,
					&i.Returned, &i.Exchanged, &i.Ordinal, &i.Code, &i.Entrance, &attributes)
				i.Attributes = catalog.Attributes(attributes)
				if err != nil {
					return err
				}
				if i.Returned != nil {
					at := i.Returned.UTC()
					i.Returned = &at
				}
				o := orders[id]
				i.Price = catalog.Money{Amount: c.Price, Currency: o.Total.Currency}
				o.Items = append(o.Items, i)
				o.Quote.Items = append(o.Quote.Items, i.Cost)
			}
			for _, o := range orders {
				o.ShowPrice()
			}
			return rows.Err()
		})
	b.Queue(`select order_id, at, status, note from order_events where order_id = any($1::uuid[]) order by order_id, id`, ids).
		Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var id string
				var c checkout.Change
				if err := rows.Scan(&id, &c.At, &c.Status, &c.Note); err != nil {
					return err
				}
				c.At = c.At.UTC()
				orders[id].History = append(orders[id].History, c)
			}
			return rows.Err()
		})
	b.Queue(`
		select distinct on (order_id) order_id, gateway, status, reason, action_url from payments where order_id = any($1::uuid[])
		order by order_id, attempt desc`, ids).
		Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var id, reason, action string
				var gateway string
				var status checkout.PaymentStatus
				if err := rows.Scan(&id, &gateway, &status, &reason, &action); err != nil {
					return err
				}
				o := orders[id]
				o.Payment.Gateway = gateway
				switch status {
				case checkout.PaymentRequiresAction:
					o.Payment.AskBuyer(action)
				case checkout.PaymentDeclined, checkout.PaymentFailed:
					o.Payment.Reason = reason
				}
			}
			return rows.Err()
		})
}

// reload reads an order again that the transaction has changed.
func reload(ctx context.Context, tx pgx.Tx, o *checkout.Order) (err error) {
	freed := o.Freed
	*o, err = loadOrder(ctx, tx, o.ID, false)
	o.Freed = freed
	return err
}

// Orders implements checkout.OrderStore.
func (s *Store) Orders(ctx context.Context, q checkout.OrderQuery) (page checkout.OrderPage, err error) {
	before, beforeID, err := decodeCursor(q.Cursor)
	if err != nil {
		return page, err
	}
	args := pgx.NamedArgs{"before": before, "before_id": beforeID, "limit": q.Limit + 1, "event": orNull(q.Event), "status": orNull(string(q.Status)), "text": nil, "like": nil}
	if q.Text != "" {
		args["text"] = q.Text
		args["like"] = "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(q.Text) + "%"
	}
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			select id from orders
			where (@before::timestamptz is null or id < @before_id::uuid)
			and (@event::uuid is null or event_id = @event)
			and (@status::text is null or status = @status)
			and (@text::text is null or id::text = @text or buyer_name ilike @like or buyer_email ilike @like)
			order by id desc limit @limit`, args)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		page, err = pageOf(ctx, tx, ids, q.Limit)
		return err
	})
	return page, err
}

// pageOf loads the orders of a page, of whose ids there is one more than limit if
// there is a next one.
func pageOf(ctx context.Context, tx pgx.Tx, ids []string, limit int) (page checkout.OrderPage, err error) {
	orders, err := loadOrders(ctx, tx, ids)
	if err != nil {
		return page, err
	}
	page.Orders = make([]checkout.Order, 0, len(ids))
	for i, id := range ids {
		if i == limit {
			last := page.Orders[i-1]
			page.Next = encodeCursor(last.CreatedAt, last.ID)
			break
		}
		page.Orders = append(page.Orders, *orders[id])
	}
	return page, nil
}

// SalesSince implements checkout.OrderStore.
func (s *Store) SalesSince(ctx context.Context, age time.Duration) (n int, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `
			select count(*) from order_events where status = 'paid' and at > now() - $1::interval`, age).Scan(&n)
	})
	return n, err
}

func encodeCursor(at time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(at.Format(time.RFC3339Nano) + " " + id))
}

func decodeCursor(cursor string) (at *time.Time, id *string, err error) {
	if cursor == "" {
		return nil, nil, nil
	}
	bad := fault.New(fault.Invalid, "query parameter \"cursor\" is not one this server gave out")
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(cursor) > 256 {
		return nil, nil, bad
	}
	stamp, last, ok := strings.Cut(string(raw), " ")
	t, terr := time.Parse(time.RFC3339Nano, stamp)
	u, uerr := uuid.Parse(last)
	if !ok || terr != nil || uerr != nil {
		return nil, nil, bad
	}
	s := u.String()
	return &t, &s, nil
}
