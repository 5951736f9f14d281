package pgstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
)

// CreateOrder implements checkout.OrderStore.
func (s *Store) CreateOrder(ctx context.Context, k checkout.Key, n checkout.NewOrder) (o checkout.Order, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		stored, err := takeKey(ctx, tx, k, txTimeout)
		if err != nil {
			return err
		}
		if stored != nil {
			o = *stored
			return nil
		}
		o, err = s.createOrder(ctx, tx, n)
		if err != nil {
			return err
		}
		return answerKey(ctx, tx, &k, 201, o)
	})
	if taken, ok := errors.AsType[*notClaimed](err); ok {
		return checkout.Order{}, checkout.Taken(taken.ordinals)
	}
	return o, err
}

// notClaimed rolls a transaction back whose claim was refused.
type notClaimed struct{ ordinals []int }

func (e *notClaimed) Error() string { return fmt.Sprintf("not claimed: %v", e.ordinals) }

func (s *Store) createOrder(ctx context.Context, tx pgx.Tx, n checkout.NewOrder) (checkout.Order, error) {
	args := pgx.NamedArgs{
		"order": n.ID, "event": n.Event, "visitor": n.Visitor, "hold": n.Hold, "ordinals": n.Ordinals, "fence": n.Fence,
		"currency": n.Currency, "name": n.Buyer.Name, "email": n.Buyer.Email, "within": n.PayWithin,
	}
	user, err := uuid.NewV7()
	if err != nil {
		return checkout.Order{}, err
	}
	args["user"] = user
	// The row lock on the buyer makes their orders queue up, so that the limit
	// below holds for two tabs at once.
	err = tx.QueryRow(ctx, `
		insert into users (id, visitor, name, email) values (@user, @visitor, @name, @email)
		on conflict (visitor) do update set name = excluded.name, email = excluded.email
		returning id`, args).Scan(&user)
	if err != nil {
		return checkout.Order{}, err
	}
	args["user"] = user

	// A hold ends with its order: who pinned it before may come here after Redis
	// has given its tickets to somebody else.
	var earlier string
	var open bool
	err = tx.QueryRow(ctx, `
		select id, status in ('awaiting_payment', 'payment_unknown', 'declined', 'paid', 'fulfilled') as open
		from orders where event_id = @event and hold_id = @hold and visitor = @visitor
		order by open desc limit 1`, args).Scan(&earlier, &open)
	switch {
	case err == nil && open:
		return loadOrder(ctx, tx, earlier, false)
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return checkout.Order{}, err
	case err == nil || len(n.Ordinals) == 0:
		return checkout.Order{}, fault.New(fault.HoldLapsed, "the hold has lapsed or was released; choose tickets again")
	}

	var had int
	err = tx.QueryRow(ctx, `
		select count(*) from tickets where user_id = @user and event_id = @event
		and (status = 'purchased' or reserved_until > now())`, args).Scan(&had)
	if err != nil {
		return checkout.Order{}, err
	}
	if had+len(n.Ordinals) > n.MaxPerBuyer {
		return checkout.Order{}, fault.New(fault.LimitReached,
			"one buyer may have at most %d tickets of this event; you have %d already", n.MaxPerBuyer, had).
			With("limit", n.MaxPerBuyer).With("had", had)
	}

	_, err = tx.Exec(ctx, `
		insert into orders (id, event_id, user_id, visitor, hold_id, status, currency, total_amount, buyer_name, buyer_email, pay_by)
		select @order, @event, @user, @visitor, @hold, 'awaiting_payment', @currency, coalesce(sum(price_amount), 0), @name, @email, now() + @within
		from tickets where event_id = @event and ordinal = any(@ordinals)`, args)
	if err != nil {
		if isUnique(err, "orders_open_hold") {
			return checkout.Order{}, fault.New(fault.Conflict, "an order has this hold already")
		}
		return checkout.Order{}, err
	}

	// The claim. One conditional statement decides who gets a ticket; the rows
	// are locked in ordinal order, so that overlapping claims cannot deadlock.
	// A ticket that a newer hold has claimed before is not had by an older one,
	// whatever became of that claim: its hold is one that Redis has lost.
	rows, err := tx.Query(ctx, `
		with free as (
			select id from tickets
			where event_id = @event and ordinal = any(@ordinals)
			and (status = 'available' or (status = 'reserved' and reserved_until < now()))
			and fence <= @fence
			and (channel_id is null or exists (
				select from channel_members m where m.channel_id = tickets.channel_id and m.visitor = @visitor))
			order by ordinal for update)
		update tickets t
		set status = 'reserved', fence = @fence, user_id = @user, order_id = @order, reserved_until = now() + @within + interval '2 minutes'
		from free where t.id = free.id
		returning t.ordinal`, args)
	if err != nil {
		return checkout.Order{}, err
	}
	claimed, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return checkout.Order{}, err
	}
	if len(claimed) != len(n.Ordinals) {
		return checkout.Order{}, &notClaimed{ordinals: without(n.Ordinals, claimed)}
	}

	_, err = tx.Exec(ctx, `
		insert into order_items (order_id, ticket_id, price_amount)
		select @order, id, price_amount from tickets where order_id = @order`, args)
	if err != nil {
		return checkout.Order{}, err
	}
	if err := note(ctx, tx, n.ID, checkout.AwaitingPayment, ""); err != nil {
		return checkout.Order{}, err
	}
	if err := s.enqueue(ctx, tx, expireOrder{Order: n.ID}, n.PayWithin); err != nil {
		return checkout.Order{}, err
	}
	return loadOrder(ctx, tx, n.ID, false)
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
			and o.status in ('awaiting_payment', 'payment_unknown', 'declined', 'paid', 'fulfilled')
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
func (s *Store) ExpireOrder(ctx context.Context, id string) (o checkout.Order, ended bool, later time.Duration, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		ended, later = false, 0
		o, err = loadOrder(ctx, tx, id, true)
		if err != nil || o.Status.Terminal() || o.Status == checkout.Paid {
			return err
		}
		if o.Status == checkout.PaymentUnknown {
			later = 5 * time.Second // the attempt under way decides first
			return nil
		}
		var left time.Duration
		if err := tx.QueryRow(ctx, `select pay_by - now() from orders where id = $1`, id).Scan(&left); err != nil {
			return err
		}
		if left > 0 {
			later = left
			return nil
		}
		ended = true
		return s.giveUp(ctx, tx, &o, checkout.Expired, "the time to pay was over")
	})
	return o, ended, later, err
}

// CancelOrder implements checkout.OrderStore.
func (s *Store) CancelOrder(ctx context.Context, id, why string) (o checkout.Order, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		o, err = loadOrder(ctx, tx, id, true)
		if err != nil || o.Status == checkout.Cancelled {
			return err
		}
		switch o.Status {
		case checkout.AwaitingPayment, checkout.Declined:
			return s.giveUp(ctx, tx, &o, checkout.Cancelled, why)
		case checkout.PaymentUnknown:
			return fault.New(fault.Conflict, "a payment is under way; wait for its outcome").After(2 * time.Second)
		default:
			return fault.New(fault.Conflict, "an order that is %s cannot be cancelled", o.Status)
		}
	})
	return o, err
}

// giveUp ends an order without a sale: its claims are free, an open attempt to
// pay is voided.
func (s *Store) giveUp(ctx context.Context, tx pgx.Tx, o *checkout.Order, to checkout.OrderStatus, why string) error {
	if err := s.voidLive(ctx, tx, o.ID, why); err != nil {
		return err
	}
	if err := freeTickets(ctx, tx, o); err != nil {
		return err
	}
	return moveOrder(ctx, tx, o, to, why)
}

// voidLive marks the order's live payment, if there is one, to be voided.
func (s *Store) voidLive(ctx context.Context, tx pgx.Tx, order, why string) error {
	rows, err := tx.Query(ctx, `
		update payments set status = 'voiding', reason = $2, updated_at = now()
		where order_id = $1 and status in ('pending', 'requires_action', 'authorised') returning id`, order, why)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.enqueue(ctx, tx, voidPayment{Payment: id}, 0); err != nil {
			return err
		}
	}
	return nil
}

// freeTickets puts every ticket the order still has back on sale.
func freeTickets(ctx context.Context, tx pgx.Tx, o *checkout.Order) error {
	rows, err := tx.Query(ctx, `
		update tickets set status = 'available', user_id = null, order_id = null, reserved_until = null
		where order_id = $1 returning ordinal`, o.ID)
	if err != nil {
		return err
	}
	if o.Freed, err = pgx.CollectRows(rows, pgx.RowTo[int]); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `update order_items set sold = false, code = null where order_id = $1`, o.ID)
	return err
}

// moveOrder takes an order that the transaction has locked to its next status.
func moveOrder(ctx context.Context, tx pgx.Tx, o *checkout.Order, to checkout.OrderStatus, why string) error {
	if o.Status == to {
		return nil
	}
	if !o.Status.MayBecome(to) {
		return fault.New(fault.Conflict, "an order that is %s cannot become %s", o.Status, to)
	}
	if _, err := tx.Exec(ctx, `update orders set status = $2, updated_at = now() where id = $1`, o.ID, to); err != nil {
		return err
	}
	if err := note(ctx, tx, o.ID, to, why); err != nil {
		return err
	}
	o.Status = to
	return nil
}

func note(ctx context.Context, tx pgx.Tx, order string, status checkout.OrderStatus, why string) error {
	_, err := tx.Exec(ctx, `insert into order_events (order_id, status, note) values ($1, $2, $3)`, order, status, why)
	return err
}

// loadOrder reads an order whole; lock holds its row until the transaction ends.
func loadOrder(ctx context.Context, tx pgx.Tx, id string, lock bool) (checkout.Order, error) {
	query := `
		select id, event_id, status, pay_by, created_at, total_amount, currency, buyer_name, buyer_email, visitor, hold_id
		from orders where id = $1`
	if lock {
		query += ` for update`
	}
	o := checkout.Order{Items: []checkout.Item{}}
	err := tx.QueryRow(ctx, query, id).Scan(&o.ID, &o.Event, &o.Status, &o.PayBy, &o.CreatedAt,
		&o.Total.Amount, &o.Total.Currency, &o.Buyer.Name, &o.Buyer.Email, &o.Visitor, &o.Hold)
	if errors.Is(err, pgx.ErrNoRows) {
		return o, fault.New(fault.NotFound, "no such order")
	}
	if err != nil {
		return o, err
	}
	o.PayBy, o.CreatedAt = o.PayBy.UTC(), o.CreatedAt.UTC()

	rows, err := tx.Query(ctx, `
		select i.ticket_id, s.name, t.row_name, t.seat_name, p.name, i.price_amount, t.ordinal, coalesce(i.code, '')
		from order_items i join tickets t on t.id = i.ticket_id
		join sections s on s.id = t.section_id join price_tiers p on p.id = t.tier_id
		where i.order_id = $1 order by t.ordinal`, id)
	if err != nil {
		return o, err
	}
	o.Items, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (checkout.Item, error) {
		i := checkout.Item{Price: catalog.Money{Currency: o.Total.Currency}}
		err := row.Scan(&i.Ticket, &i.Section, &i.Row, &i.Seat, &i.Tier, &i.Price.Amount, &i.Ordinal, &i.Code)
		return i, err
	})
	if err != nil {
		return o, err
	}

	rows, err = tx.Query(ctx, `select at, status, note from order_events where order_id = $1 order by id`, id)
	if err != nil {
		return o, err
	}
	o.History, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (checkout.Change, error) {
		var c checkout.Change
		err := row.Scan(&c.At, &c.Status, &c.Note)
		c.At = c.At.UTC()
		return c, err
	})
	if err != nil {
		return o, err
	}

	var status checkout.PaymentStatus
	var reason, action string
	err = tx.QueryRow(ctx, `
		select gateway, status, reason, action_url from payments where order_id = $1
		order by attempt desc limit 1`, id).Scan(&o.Payment.Gateway, &status, &reason, &action)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return o, err
	case status == checkout.PaymentRequiresAction:
		o.Payment.NextAction = &checkout.NextAction{Type: "redirect", URL: action}
	case status == checkout.PaymentDeclined || status == checkout.PaymentFailed:
		o.Payment.Reason = reason
	}
	return o, nil
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
	args := pgx.NamedArgs{"before": before, "before_id": beforeID, "limit": q.Limit + 1, "event": nil, "text": nil, "like": nil}
	if q.Event != "" {
		args["event"] = q.Event
	}
	if q.Text != "" {
		args["text"] = q.Text
		args["like"] = "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(q.Text) + "%"
	}
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			select id from orders
			where (@before::timestamptz is null or (created_at, id) < (@before, @before_id::uuid))
			and (@event::uuid is null or event_id = @event)
			and (@text::text is null or id::text = @text or buyer_name ilike @like or buyer_email ilike @like)
			order by created_at desc, id desc limit @limit`, args)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		page = checkout.OrderPage{Orders: make([]checkout.Order, 0, len(ids))}
		for i, id := range ids {
			if i == q.Limit {
				last := page.Orders[i-1]
				page.Next = encodeCursor(last.CreatedAt, last.ID)
				break
			}
			o, err := loadOrder(ctx, tx, id, false)
			if err != nil {
				return err
			}
			page.Orders = append(page.Orders, o)
		}
		return nil
	})
	return page, err
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

func without(all, some []int) []int {
	has := make(map[int]bool, len(some))
	for _, n := range some {
		has[n] = true
	}
	var rest []int
	for _, n := range all {
		if !has[n] {
			rest = append(rest, n)
		}
	}
	return rest
}

func isUnique(err error, constraint string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "23505" && pg.ConstraintName == constraint
}
