package pgstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/internal/gather"
)

const (
	// attemptLease is how long a request may work on its attempt to pay before
	// a repeated key may take it over.
	attemptLease = 45 * time.Second
	// mostAttempts bounds the attempts to pay one order, so that nobody tries
	// out stolen cards on it.
	mostAttempts = 20
	// jobFirst is how long a job has for what it was made for before the sweep does
	// it: it may have been lost, or its worker killed.
	jobFirst = 10 * time.Second
)

// BeginPayment implements checkout.OrderStore.
func (s *Store) BeginPayment(ctx context.Context, k checkout.Key, order, method, gateway string) (checkout.Order, checkout.Payment, bool, error) {
	b, err := s.begins.Do(ctx, begin{k, order, method, gateway})
	return b.order, b.payment, b.answered, err
}

// begin is one call of BeginPayment, begun what comes of it.
type begin struct {
	key                    checkout.Key
	order, method, gateway string
}

type begun struct {
	order    checkout.Order
	payment  checkout.Payment
	answered bool
}

func (b begin) apart() []string {
	return []string{"order " + b.order, "key " + b.key.Scope + " " + b.key.Value}
}

// beginAll records the attempts to pay many orders.
func (s *Store) beginAll(ctx context.Context, tx pgx.Tx, calls []begin) ([]gather.Outcome[begun], error) {
	out := make([]gather.Outcome[begun], len(calls))
	done := make([]bool, len(calls))
	end := func(n int, b begun, err error) { out[n], done[n] = gather.Outcome[begun]{Reply: b, Err: err}, true }

	taken, now, err := lockBeforePaying(ctx, tx, calls)
	if err != nil {
		return nil, err
	}
	for n, c := range calls {
		if taken[keyName(c.key)] {
			continue
		}
		// Another request had the key.
		switch stored, err := takeKey(ctx, tx, c.key, attemptLease); {
		case err != nil && !isFault(err):
			return nil, err
		case err != nil:
			end(n, begun{}, err)
		case stored != nil:
			end(n, begun{order: *stored, answered: true}, nil)
		}
	}
	facts, orders, err := factsBeforePaying(ctx, tx, calls)
	if err != nil {
		return nil, err
	}
	var given []checkout.Key // keys whose requests had no effect
	var a answers
	var r paymentRows
	for n, c := range calls {
		if done[n] {
			continue
		}
		o, f := orders[c.order], facts[c.order]
		var refused error
		switch {
		case o == nil:
			refused = fault.New(fault.NotFound, "no such order")
		case o.Status == checkout.PaymentUnknown: // the attempt under way is the answer, for now
			given = append(given, c.key)
			end(n, begun{order: *o, answered: true}, nil)
			continue
		case o.Status.Sold():
			if err := a.add(c.key, 200, *o); err != nil {
				return nil, err
			}
			end(n, begun{order: *o, answered: true}, nil)
			continue
		case o.Status != checkout.AwaitingPayment && o.Status != checkout.Declined:
			refused = fault.New(fault.Conflict, "an order that is %s cannot be paid", o.Status)
		case f.late:
			refused = fault.New(fault.Conflict, "the time to pay this order is over")
		case f.event != "on_sale":
			refused = fault.New(fault.Conflict, "the event is not on sale any more: it is %s", f.event)
		case f.attempts >= mostAttempts:
			refused = fault.New(fault.Conflict, "%d attempts to pay this order failed; there are no more", f.attempts)
		}
		if refused != nil {
			given = append(given, c.key)
			end(n, begun{}, refused)
			continue
		}
		if f.live {
			if err := s.voidLive(ctx, tx, c.order, "another attempt was started"); err != nil {
				return nil, err
			}
		}
		id, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		p := checkout.Payment{
			ID: id.String(), Order: c.order, Gateway: c.gateway, Method: c.method, Status: checkout.PaymentPending, Amount: o.Total, Updated: now,
		}
		r.add(p, f.attempts+1)
		o.Status = checkout.PaymentUnknown
		o.History = append(o.History, checkout.Change{At: now.UTC(), Status: o.Status})
		o.Payment = checkout.PaymentView{Gateway: c.gateway}
		end(n, begun{order: *o, payment: p}, nil)
	}
	b := &pgx.Batch{}
	r.queue(b)
	a.queue(b, false)
	for _, k := range given {
		b.Queue(`delete from idempotency_keys where scope = @scope and key = @key and body is null`, keyArgs(k, 0))
	}
	return out, tx.SendBatch(ctx, b).Close()
}

// lockBeforePaying takes keys and locks orders. Keys that others have had are not
// among those taken.
func lockBeforePaying(ctx context.Context, tx pgx.Tx, calls []begin) (taken map[string]bool, now time.Time, err error) {
	var scopes, keys, fingerprints, orders []string
	for _, c := range calls {
		scopes, keys = append(scopes, c.key.Scope), append(keys, c.key.Value)
		fingerprints, orders = append(fingerprints, c.key.Fingerprint), append(orders, c.order)
	}
	taken = make(map[string]bool, len(calls))
	b := &pgx.Batch{}
	b.Queue(`select now()`).QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
	b.Queue(`
		insert into idempotency_keys (scope, key, fingerprint, lease_until)
		select scope, key, fingerprint, now() + @lease
		from unnest(@scopes::text[], @keys::text[], @fingerprints::text[]) as w (scope, key, fingerprint)
		order by scope, key
		on conflict (scope, key) do nothing returning scope, key`,
		pgx.NamedArgs{"scopes": scopes, "keys": keys, "fingerprints": fingerprints, "lease": attemptLease}).
		Query(func(rows pgx.Rows) error {
			var k checkout.Key
			_, err := pgx.ForEachRow(rows, []any{&k.Scope, &k.Value}, func() error {
				taken[keyName(k)] = true
				return nil
			})
			return err
		})
	b.Queue(`select from orders where id = any($1::uuid[]) order by id for update`, orders)
	return taken, now, tx.SendBatch(ctx, b).Close()
}

// payFacts is what decides whether an order may be paid now.
type payFacts struct {
	late     bool
	event    string // its status
	attempts int
	live     bool // an earlier attempt may still hold money
}

func factsBeforePaying(ctx context.Context, tx pgx.Tx, calls []begin) (map[string]payFacts, map[string]*checkout.Order, error) {
	ids := make([]string, len(calls))
	for i, c := range calls {
		ids[i] = c.order
	}
	facts, orders := make(map[string]payFacts, len(calls)), make(map[string]*checkout.Order, len(calls))
	b := &pgx.Batch{}
	b.Queue(`
		select o.id, now() >= o.pay_by, e.status, count(p.id),
			coalesce(bool_or(p.status in ('pending', 'requires_action', 'authorised')), false)
		from orders o join events e on e.id = o.event_id left join payments p on p.order_id = o.id
		where o.id = any($1::uuid[]) group by o.id, e.id`, ids).
		Query(func(rows pgx.Rows) error {
			var id string
			var f payFacts
			_, err := pgx.ForEachRow(rows, []any{&id, &f.late, &f.event, &f.attempts, &f.live}, func() error {
				facts[id] = f
				return nil
			})
			return err
		})
	queueOrders(b, ids, orders)
	return facts, orders, tx.SendBatch(ctx, b).Close()
}

// paymentRows are attempts to be recorded, by column.
type paymentRows struct {
	ids, orders, gateways, methods, currencies []string
	attempts                                   []int
	amounts                                    []int64
}

func (r *paymentRows) add(p checkout.Payment, attempt int) {
	r.ids, r.orders = append(r.ids, p.ID), append(r.orders, p.Order)
	r.gateways, r.methods = append(r.gateways, p.Gateway), append(r.methods, p.Method)
	r.amounts, r.currencies = append(r.amounts, p.Amount.Amount), append(r.currencies, p.Amount.Currency)
	r.attempts = append(r.attempts, attempt)
}

func (r *paymentRows) queue(b *pgx.Batch) {
	if len(r.ids) == 0 {
		return
	}
	b.Queue(`
		insert into payments (id, order_id, attempt, gateway, method, status, amount, currency, look_at)
		select id, ord, attempt, gateway, method, 'pending', amount, currency, now() + @look
		from unnest(@ids::uuid[], @orders::uuid[], @attempts::int[], @gateways::text[], @methods::text[], @amounts::bigint[], @currencies::text[])
			as w (id, ord, attempt, gateway, method, amount, currency)`, pgx.NamedArgs{
		"ids": r.ids, "orders": r.orders, "attempts": r.attempts, "gateways": r.gateways, "methods": r.methods,
		"amounts": r.amounts, "currencies": r.currencies, "look": checkout.SettleAfter,
	})
	// Most claims last long enough as they are.
	b.Queue(`
		update tickets set reserved_until = now() + $2::interval
		where order_id = any($1::uuid[]) and status = 'reserved' and reserved_until < now() + $2::interval`, r.orders, checkout.PayGrace)
	queueMoves(b, r.orders, checkout.PaymentUnknown)
}

// CommitSale implements checkout.OrderStore.
func (s *Store) CommitSale(ctx context.Context, k *checkout.Key, payment string, begun *checkout.Order) (checkout.Order, error) {
	return s.sales.Do(ctx, sale{k, payment, begun})
}

// sale is one call of CommitSale.
type sale struct {
	key     *checkout.Key
	payment string
	begun   *checkout.Order // as it was when the attempt began; nil: not known
}

func (c sale) apart() []string {
	names := []string{"payment " + c.payment}
	if c.key != nil {
		names = append(names, "key "+c.key.Scope+" "+c.key.Value)
	}
	return names
}

// sellAll makes the tickets of many orders their buyers', each order's all or none.
func (s *Store) sellAll(ctx context.Context, tx pgx.Tx, calls []sale) ([]gather.Outcome[checkout.Order], error) {
	out := make([]gather.Outcome[checkout.Order], len(calls))
	l, err := lookBeforeSelling(ctx, tx, calls)
	if err != nil {
		return nil, err
	}
	var a answers
	var paid []string
	var told []announcement
	var captures []river.InsertManyParams
	for n, c := range calls {
		p, known := l.payments[c.payment]
		if !known {
			out[n].Err = fault.New(fault.NotFound, "no such payment")
			continue
		}
		o := l.orders[p.order]
		switch {
		case !p.open: // somebody else recorded an outcome
		case p.off:
			if err := s.giveUp(ctx, tx, o, checkout.Cancelled, "the event was cancelled before the payment was done"); err != nil {
				return nil, err
			}
			if err := reload(ctx, tx, o); err != nil {
				return nil, err
			}
		case len(l.mine[p.order]) != len(o.Items):
			// Somebody else claimed a ticket after this claim had run out: no
			// sale. What is left of it goes back, and so does the money.
			out[n].Err = checkout.Taken(without(o.Ordinals(), l.mine[p.order]))
			if err := dropKey(ctx, tx, c.key); err != nil {
				return nil, err
			}
			if err := s.giveUp(ctx, tx, o, checkout.Cancelled, "the claim was lost before the payment was done"); err != nil {
				return nil, err
			}
			out[n].Reply = *o
			continue
		default:
			if !o.Status.MayBecome(checkout.Paid) {
				return nil, fault.New(fault.Conflict, "an order that is %s cannot become %s", o.Status, checkout.Paid)
			}
			paid = append(paid, o.ID)
			captures = append(captures, river.InsertManyParams{Args: capturePayment{Payment: c.payment}, InsertOpts: prompt()})
			o.Status = checkout.Paid
			o.History = append(slices.Clone(o.History), checkout.Change{At: l.now.UTC(), Status: o.Status})
			o.Payment = checkout.PaymentView{Gateway: o.Payment.Gateway}
			told = append(told, orderMoved(o, "")...)
		}
		if c.key != nil {
			if err := a.add(*c.key, 200, *o); err != nil {
				return nil, err
			}
		}
		out[n].Reply = *o
	}
	b := &pgx.Batch{}
	if len(paid) > 0 {
		b.Queue(`update order_items set sold = true where order_id = any($1::uuid[])`, paid)
		b.Queue(`
			update payments set status = 'authorised', reason = '', updated_at = now(), look_at = now() + $2::interval, looks = 0
			where order_id = any($1::uuid[]) and status in ('pending', 'requires_action')`, paid, jobFirst)
		queueMoves(b, paid, checkout.Paid)
	}
	a.queue(b, false)
	if err := tx.SendBatch(ctx, b).Close(); err != nil || len(captures) == 0 {
		return out, err
	}
	if err := s.announce(ctx, tx, told); err != nil {
		return nil, err
	}
	_, err = s.jobs.InsertManyFastTx(ctx, tx, captures)
	return out, err
}

// selling is what is known before sales are committed.
type selling struct {
	now      time.Time
	payments map[string]soldPayment
	orders   map[string]*checkout.Order
	mine     map[string][]int // by order: the tickets that were still claimed, by ordinal
}

type soldPayment struct {
	order string
	open  bool // the attempt still awaits its outcome
	off   bool // the event was cancelled
}

// lookBeforeSelling locks the orders, reads them, and sells the tickets that each
// still has: one conditional statement decides. What turns out not to be whole is
// given back by the caller.
func lookBeforeSelling(ctx context.Context, tx pgx.Tx, calls []sale) (*selling, error) {
	l := &selling{payments: map[string]soldPayment{}, orders: map[string]*checkout.Order{}, mine: map[string][]int{}}
	ids := make([]string, len(calls))
	for i, c := range calls {
		ids[i] = c.payment
	}
	// Every change of a payment locks its order first. While the attempt that an order
	// was read for is open, nothing else of the order changes.
	begun := make(map[string]*checkout.Order, len(calls))
	for _, c := range calls {
		begun[c.payment] = c.begun
	}
	var unknown, open []string // orders that have to be read, and that may be sold
	b := &pgx.Batch{}
	b.Queue(`
		select now() from orders where id in (select order_id from payments where id = any($1::uuid[]))
		order by id for update`, ids).
		Query(func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, []any{&l.now}, func() error { return nil })
			return err
		})
	b.Queue(`
		select p.id, o.id, o.status, p.status in ('pending', 'requires_action'), e.status = 'cancelled'
		from payments p join orders o on o.id = p.order_id join events e on e.id = o.event_id
		where p.id = any($1::uuid[])`, ids).
		Query(func(rows pgx.Rows) error {
			var id string
			var p soldPayment
			var status checkout.OrderStatus
			_, err := pgx.ForEachRow(rows, []any{&id, &p.order, &status, &p.open, &p.off}, func() error {
				l.payments[id] = p
				if o := begun[id]; o != nil && o.ID == p.order && o.Status == status && p.open {
					mine := *o
					l.orders[p.order] = &mine
				} else {
					unknown = append(unknown, p.order)
				}
				if p.open && !p.off {
					open = append(open, p.order)
				}
				return nil
			})
			return err
		})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	b = &pgx.Batch{}
	if len(unknown) > 0 {
		queueOrders(b, unknown, l.orders)
	}
	b.Queue(`
		update tickets set status = 'purchased', reserved_until = null
		where order_id = any($1::uuid[]) and status = 'reserved' returning order_id, ordinal`, open).
		Query(func(rows pgx.Rows) error {
			var id string
			var ordinal int
			_, err := pgx.ForEachRow(rows, []any{&id, &ordinal}, func() error {
				l.mine[id] = append(l.mine[id], ordinal)
				return nil
			})
			return err
		})
	return l, tx.SendBatch(ctx, b).Close()
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
			if err := s.moveOrder(ctx, tx, &o, order, reason); err != nil {
				return err
			}
			if o, err = loadOrder(ctx, tx, o.ID, false); err != nil {
				return err
			}
		}
		if to == checkout.PaymentFailed {
			return dropKey(ctx, tx, k)
		}
		return answerKey(ctx, tx, k, o)
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
				update payments set status = 'requires_action', action_url = $2, updated_at = now(), look_at = now() + $3::interval, looks = 0
				where id = $1`, payment, url, checkout.SettleAfter)
			if err != nil {
				return err
			}
			if err := s.moveOrder(ctx, tx, &o, checkout.AwaitingPayment, "the buyer has to confirm the payment"); err != nil {
				return err
			}
			if o, err = loadOrder(ctx, tx, o.ID, false); err != nil {
				return err
			}
		}
		return answerKey(ctx, tx, k, o)
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
			select `+paymentColumns+` from payments where id = $1`, id).Scan(paymentInto(&p)...), "payment")
	})
	return p, err
}

const paymentColumns = `id, order_id, gateway, method, status, amount, currency, refunded_amount, updated_at,
	exists (select from refunds r where r.payment_id = payments.id and r.status = 'pending')`

func paymentInto(p *checkout.Payment) []any {
	return []any{&p.ID, &p.Order, &p.Gateway, &p.Method, &p.Status, &p.Amount.Amount, &p.Amount.Currency, &p.Refunded, &p.Updated, &p.Refunding}
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
		if err := issue(ctx, tx, &o); err != nil {
			return err
		}
		if err := s.moveOrder(ctx, tx, &o, checkout.Fulfilled, ""); err != nil {
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
		_, err := tx.Exec(ctx, `update payments set status = 'voided', look_at = null, updated_at = now() where id = $1 and status = 'voiding'`, payment)
		return err
	})
}

// lockPayment locks a payment's order and reads the payment's status.
func (s *Store) lockPayment(ctx context.Context, tx pgx.Tx, payment string) (o checkout.Order, status checkout.PaymentStatus, err error) {
	if o, _, err = s.attempt(ctx, tx, payment); err != nil {
		return o, "", err
	}
	err = tx.QueryRow(ctx, `select status from payments where id = $1`, payment).Scan(&status)
	return o, status, err
}

// setPayment takes a payment to an end.
func setPayment(ctx context.Context, tx pgx.Tx, payment string, to checkout.PaymentStatus, reason string) error {
	_, err := tx.Exec(ctx, `
		update payments set status = $2, reason = $3, look_at = null, updated_at = now() where id = $1`, payment, to, reason)
	return err
}

func notFound(err error, what string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.New(fault.NotFound, "no such %s", what)
	}
	return err
}
