package pgstore

import (
	"context"
	"encoding/json"
	"regexp"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onsale/checkout"
	"onsale/checkout/account"
	"onsale/internal/fault"
)

// What is known about a person, to be handed over or forgotten.

// trace is where it stands.
type trace struct {
	account *string
	address *string // proven, in lower case; nil where an order's link is all there is
	users   []string
	orders  []string
}

// follow finds a person's traces. With lock they stay as they are until the
// transaction ends: buyers first, as when orders are created.
func follow(ctx context.Context, tx pgx.Tx, p account.Person, lock bool) (t trace, err error) {
	switch {
	case p.Account != "":
		t.account = &p.Account
		err = tx.QueryRow(ctx, `select email from accounts where id = $1 and erased_at is null`, p.Account).Scan(&t.address)
		err = notFound(err, "account")
	case p.Email != "":
		t.address = &p.Email
		err = tx.QueryRow(ctx, `select (select id from accounts where email = $1)`, p.Email).Scan(&t.account)
	default:
		t.orders = []string{p.Order}
		err = tx.QueryRow(ctx, `select array_agg(user_id) from orders where id = $1`, p.Order).Scan(&t.users)
	}
	if err != nil {
		return t, err
	}
	args := pgx.NamedArgs{"account": t.account, "address": t.address}
	if p.Order == "" {
		// A device of another account stays that account's, whatever was typed on it.
		t.users, err = ids(ctx, tx, `
			select id from users where account_id = @account
			union select id from users where lower(email) = @address and email <> '' and account_id is null`, args)
		if err != nil {
			return t, err
		}
	}
	if lock {
		if _, err := tx.Exec(ctx, `select from users where id = any($1::uuid[]) order by visitor for update`, t.users); err != nil {
			return t, err
		}
		if _, err := tx.Exec(ctx, `select from accounts where id = $1 for update`, t.account); err != nil {
			return t, err
		}
	}
	if p.Order == "" {
		t.orders, err = ids(ctx, tx, `
			select id from orders where visitor = any(array(select visitor from users where account_id = @account))
			union select id from orders where lower(buyer_email) = @address`, args)
		if err != nil {
			return t, err
		}
	}
	if lock {
		_, err = tx.Exec(ctx, `select from orders where id = any($1::uuid[]) order by id for update`, t.orders)
	}
	return t, err
}

func ids(ctx context.Context, tx pgx.Tx, sql string, args pgx.NamedArgs) ([]string, error) {
	rows, err := tx.Query(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (t *trace) args() pgx.NamedArgs {
	return pgx.NamedArgs{"account": t.account, "address": t.address, "users": t.users, "orders": t.orders}
}

// theirTickets selects the admissions that name the person: those of their orders that
// were not passed on to somebody else, and those that were passed on to them.
const theirTickets = `
	select a.id from admissions a join orders o on o.id = a.order_id
	where a.order_id = any(@orders::uuid[]) and (a.previous_id is null or lower(a.holder_email) = lower(o.buyer_email))
	union select id from admissions where lower(holder_email) = @address`

// theirEmails selects the e-mails to them.
const theirEmails = `
	select e.id from emails e join orders o on o.id = e.order_id
	where e.order_id = any(@orders::uuid[]) and lower(e.recipient) = lower(o.buyer_email)
	union select id from emails where lower(recipient) = @address`

// known has the documents of each section. Codes of tickets, tokens of payments and
// links are left out: they are keys, not knowledge.
var known = map[string]string{
	"account": `
		select to_jsonb(d) from (select id as account, email, name, created_at, last_seen_at from accounts where id = @account) d`,
	"identities": `
		select to_jsonb(d) from (select issuer, subject, created_at from account_identities where account_id = @account order by created_at) d`,
	"devices": `
		select to_jsonb(d) from (select visitor, name, email, created_at from users where id = any(@users::uuid[]) order by id) d`,
	"orders": `
		select jsonb_build_object('order', o.id, 'event', jsonb_build_object('event', e.id, 'name', e.name, 'starts_at', e.starts_at),
			'status', o.status, 'created_at', o.created_at, 'buyer', jsonb_build_object('name', o.buyer_name, 'email', o.buyer_email),
			'currency', o.currency, 'total', o.total_amount, 'refunded', o.refunded_amount, 'promo', o.promo_code, 'visitor', o.visitor,
			'items', (select coalesce(jsonb_agg(jsonb_build_object('ticket', t.id, 'section', s.name, 'row', t.row_name, 'seat', t.seat_name,
				'tier', p.name, 'price', i.price_amount, 'total', i.total_amount, 'returned_at', i.returned_at) order by t.ordinal), '[]')
				from order_items i join tickets t on t.id = i.ticket_id join sections s on s.id = t.section_id join price_tiers p on p.id = t.tier_id
				where i.order_id = o.id),
			'history', (select coalesce(jsonb_agg(jsonb_build_object('at', h.at, 'status', h.status, 'note', h.note) order by h.id), '[]')
				from order_events h where h.order_id = o.id))
		from orders o join events e on e.id = o.event_id where o.id = any(@orders::uuid[]) order by o.created_at, o.id`,
	"payments": `
		select to_jsonb(d) from (
			select id as payment, order_id as order, gateway, status, amount, currency, refunded_amount as refunded, reason, created_at
			from payments where order_id = any(@orders::uuid[]) order by created_at, id) d`,
	"refunds": `
		select to_jsonb(d) from (
			select id as refund, order_id as order, payment_id as payment, amount, reason, status, created_at
			from refunds where order_id = any(@orders::uuid[]) order by created_at, id) d`,
	"tickets": `
		select jsonb_build_object('admission', a.id, 'order', a.order_id, 'event', a.event_id, 'ticket', a.ticket_id, 'section', s.name,
			'row', t.row_name, 'seat', t.seat_name, 'holder', jsonb_build_object('name', a.holder_name, 'email', a.holder_email),
			'issued_at', a.issued_at, 'ended_at', a.ended_at, 'end_reason', a.end_reason, 'scanned_at', a.scanned_at, 'scanned_gate', a.scanned_gate)
		from admissions a join tickets t on t.id = a.ticket_id join sections s on s.id = t.section_id
		where a.id in (` + theirTickets + `) order by a.id`,
	"emails": `
		select to_jsonb(d) from (
			select id as email, kind, order_id as order, recipient, data->>'name' as name, status, created_at, sent_at
			from emails where id in (` + theirEmails + `) order by id) d`,
	"audit": `
		select to_jsonb(d) from (
			select at, action, subject, detail from audit_log l
			where l.subject = any(@orders::uuid[]::text[]) or l.subject = @account::uuid::text
			or @address::text is not null and position(@address::text in lower(l.detail::text)) > 0
			order by l.id) d`,
}

// Export implements account.Store.
func (a Accounts) Export(ctx context.Context, p account.Person, write func(account.Section, json.RawMessage) error) error {
	moment := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return a.long(ctx, moment, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local timezone = 'UTC'`); err != nil {
			return err
		}
		t, err := follow(ctx, tx, p, false)
		if err != nil {
			return err
		}
		for _, s := range account.Sections {
			rows, err := tx.Query(ctx, known[s.Name], t.args())
			if err != nil {
				return err
			}
			var item []byte
			_, err = pgx.ForEachRow(rows, []any{&item}, func() error { return write(s, item) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// nameless stands for the name of somebody who was erased.
const nameless = "Erased"

// storedAnswers selects the answers under idempotency keys that are orders of theirs.
const storedAnswers = `body is not null and scope like any (
		select visitor || ' %' from orders where id = any(@orders::uuid[])
		union select '%/' || o || '%' from unnest(@orders::uuid[]) as o)
	and convert_from(body, 'UTF8')::jsonb->>'order' = any(@orders::uuid[]::text[])`

// Erase implements account.Store.
func (a Accounts) Erase(ctx context.Context, r account.ErasureRequest) (done account.Erasure, err error) {
	err = a.long(ctx, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		done, err = erase(ctx, tx, r)
		return err
	})
	return done, err
}

func erase(ctx context.Context, tx pgx.Tx, r account.ErasureRequest) (done account.Erasure, err error) {
	t, err := follow(ctx, tx, r.Person, true)
	if err != nil {
		return done, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return done, err
	}
	done = account.Erasure{ID: id.String(), Orders: len(t.orders)}
	args := t.args()
	args["name"], args["mask"] = nameless, "erased+"+done.ID+"@onsale"+nobody
	if err := mayErase(ctx, tx, args, r.EvenWithTickets); err != nil {
		return done, err
	}
	// Read before it is gone.
	addresses, err := ids(ctx, tx, `
		select distinct lower(buyer_email) from orders where id = any(@orders::uuid[]) union select @address::text where @address::text is not null`, args)
	if err != nil {
		return done, err
	}
	found := int64(len(t.orders) + len(t.users))
	if t.account != nil {
		found++
	}
	for _, sql := range []string{
		// Admissions and e-mails are found by the addresses of orders: those come last.
		`update admissions set holder_name = @name, holder_email = @mask where id in (` + theirTickets + `)`,
		`update emails set recipient = @mask, data = '{}', last_error = '',
			status = case when status in ('pending', 'sending') then 'skipped' else status end
			where id in (` + theirEmails + `)`,
		// What others were told about them.
		`update emails set data = data - 'sender' where data ? 'sender' and (order_id = any(@orders::uuid[])
			or data ->> 'admission' in (select a.id::text from admissions a where a.order_id = any(@orders::uuid[])))`,
		`update idempotency_keys k set body = convert_to(jsonb_set(convert_from(body, 'UTF8')::jsonb, '{buyer}',
				jsonb_build_object('name', @name::text, 'email', @mask::text))::text, 'UTF8')
			where ` + storedAnswers,
		`update users u set name = '', email = '' where u.id = any(@users::uuid[])
			and (@account::uuid is not null or @address::text is not null
				or exists (select from orders o where o.id = any(@orders::uuid[]) and lower(o.buyer_email) = lower(u.email)))`,
		// Somebody else's device on which their address was typed.
		`update users set name = '', email = '' where lower(email) = @address and email <> ''`,
		`update orders set buyer_name = @name, buyer_email = @mask where id = any(@orders::uuid[])`,
		`update users set account_id = null where account_id = @account`,
		`delete from account_identities where account_id = @account`,
		`delete from sign_in_codes where email = @address`,
		`update accounts set email = null, name = '', erased_at = now(), session_epoch = session_epoch + 1 where id = @account`,
	} {
		tag, err := tx.Exec(ctx, sql, args)
		if err != nil {
			return done, err
		}
		found += tag.RowsAffected()
	}
	if found == 0 {
		return done, fault.New(fault.NotFound, "nothing is known about this person")
	}
	if err := scrub(ctx, tx, addresses, args); err != nil {
		return done, err
	}
	by, subject := "address", done.ID
	switch {
	case r.Person.Account != "":
		by, subject = "account", r.Person.Account
	case r.Person.Order != "":
		by, subject = "order", r.Person.Order
	}
	_, err = tx.Exec(ctx, `
		insert into audit_log (actor, action, subject, detail) values ($1, 'person.erase', $2,
			jsonb_build_object('by', $3::text, 'erasure', $4::text, 'orders', $5::int, 'even_with_tickets', $6::boolean))`,
		r.Actor, subject, by, done.ID, done.Orders, r.EvenWithTickets)
	return done, err
}

// mayErase refuses to make somebody nobody who is still needed.
func mayErase(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs, evenWithTickets bool) error {
	var open, coming int
	err := tx.QueryRow(ctx, `
		select (select count(*) from orders where id = any(@orders::uuid[])
				and status in ('awaiting_payment', 'payment_unknown', 'declined', 'paid')),
			(select count(*) from admissions a join events e on e.id = a.event_id
				where a.id in (`+theirTickets+`) and a.ended_at is null and a.scanned_at is null
				and e.starts_at > now() and e.status not in ('cancelled', 'ended'))`, args).Scan(&open, &coming)
	switch {
	case err != nil:
		return err
	case open > 0:
		return fault.New(fault.Conflict, "%d of the orders are still open; pay or cancel them first", open).With("state", string(checkout.AwaitingPayment))
	case coming > 0 && !evenWithTickets:
		return fault.New(fault.Conflict, "%d tickets are for events to come; with \"even_with_tickets\": true they stay valid for whoever shows them, and nobody can be told about changes", coming).
			With("state", "tickets")
	}
	return nil
}

// scrub takes addresses out of what operators have written.
func scrub(ctx context.Context, tx pgx.Tx, addresses []string, args pgx.NamedArgs) error {
	for _, address := range addresses {
		args["found"], args["plain"] = regexp.QuoteMeta(address), address
		for _, sql := range []string{
			`update audit_log set detail = regexp_replace(detail::text, @found, @mask, 'gi')::jsonb where position(@plain in lower(detail::text)) > 0`,
			`update channel_invites set note = regexp_replace(note, @found, @mask, 'gi') where position(@plain in lower(note)) > 0`,
			`update promo_codes set note = regexp_replace(note, @found, @mask, 'gi') where position(@plain in lower(note)) > 0`,
			`update idempotency_keys set body = convert_to(regexp_replace(convert_from(body, 'UTF8'), @found, @mask, 'gi'), 'UTF8') where ` + storedAnswers,
			`update refunds set reason = regexp_replace(reason, @found, @mask, 'gi') where order_id = any(@orders::uuid[])`,
			`update order_events set note = regexp_replace(note, @found, @mask, 'gi') where order_id = any(@orders::uuid[])`,
		} {
			if _, err := tx.Exec(ctx, sql, args); err != nil {
				return err
			}
		}
	}
	return nil
}
