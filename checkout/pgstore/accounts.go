package pgstore

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"onsale/checkout"
	"onsale/checkout/account"
	"onsale/checkout/mail"
	"onsale/checkout/messages"
	"onsale/internal/fault"
)

// Accounts is the part of a Store that keeps accounts.
type Accounts struct{ *Store }

var _ account.Store = Accounts{}

// codesKept is how long codes are kept beyond what the limits look at.
const codesKept = 24 * time.Hour

// one makes everything about a name queue up until the transaction ends.
func one(ctx context.Context, tx pgx.Tx, name string) error {
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended($1, 0))`, name)
	return err
}

// NewCode implements account.Store.
func (a Accounts) NewCode(ctx context.Context, c account.Code, l account.CodeLimits) error {
	return a.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		// Always in this order, so that two cannot wait for each other.
		if err := one(ctx, tx, "sign-in network "+c.Network); err != nil {
			return err
		}
		if err := one(ctx, tx, "sign-in address "+c.Email); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `delete from sign_in_codes where created_at < now() - $1::interval`, codesKept); err != nil {
			return err
		}
		for _, limit := range []struct {
			sql, of string
			most    int
		}{
			{`select count(*), coalesce(min(created_at) + $2::interval - now(), '0') from sign_in_codes where email = $1 and created_at > now() - $2::interval`, c.Email, l.PerAddress},
			{`select count(*), coalesce(min(created_at) + $2::interval - now(), '0') from sign_in_codes where network = $1 and created_at > now() - $2::interval`, c.Network, l.PerNetwork},
		} {
			var asked int
			var free time.Duration
			if err := tx.QueryRow(ctx, limit.sql, limit.of, l.Window).Scan(&asked, &free); err != nil {
				return err
			}
			if asked >= limit.most {
				return fault.New(fault.TooMany, "too many codes were asked for; look into the folder for unwanted mail, or try again later").
					After(max(free, time.Second))
			}
		}
		var expires time.Time
		err := tx.QueryRow(ctx, `
			insert into sign_in_codes (id, email, network, expires_at) values ($1, $2, $3, now() + $4::interval) returning expires_at`,
			c.ID, c.Email, c.Network, l.Life).Scan(&expires)
		if err != nil {
			return err
		}
		expires = expires.UTC()
		return a.announce(ctx, tx, []announcement{{email: &email{
			kind: mail.SignIn, once: "sign_in:" + c.ID, recipient: c.Email, data: messages.Data{Code: c.ID, Expires: &expires},
		}}})
	})
}

// TakeCode implements account.Store.
func (a Accounts) TakeCode(
	ctx context.Context, email string, l account.CodeLimits, matches func(string) bool, device string,
) (who account.Account, d account.Device, ok bool, err error) {
	err = a.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		ok = false
		if err := one(ctx, tx, "sign-in address "+email); err != nil {
			return err
		}
		// A try counts before it is looked at, and is committed whatever comes of it.
		rows, err := tx.Query(ctx, `
			update sign_in_codes set tries = tries + 1
			where email = $1 and used_at is null and expires_at > now() and tries < $2 returning id`, email, l.Tries)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, id := range ids {
			ok = matches(id) || ok
		}
		if !ok {
			return nil
		}
		if _, err := tx.Exec(ctx, `update sign_in_codes set used_at = now() where email = $1 and used_at is null`, email); err != nil {
			return err
		}
		who, d, err = signIn(ctx, tx, account.Proof{Email: email}, device)
		return err
	})
	return who, d, ok && err == nil, err
}

// SignIn implements account.Store.
func (a Accounts) SignIn(ctx context.Context, p account.Proof, device string) (who account.Account, d account.Device, err error) {
	err = a.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		who, d, err = signIn(ctx, tx, p, device)
		return err
	})
	return who, d, err
}

const accountColumns = `id, email, name, created_at, last_seen_at, session_epoch`

func scanAccount(row pgx.Row) (who account.Account, err error) {
	err = row.Scan(&who.ID, &who.Email, &who.Name, &who.CreatedAt, &who.LastSeen, &who.Epoch)
	who.CreatedAt, who.LastSeen = who.CreatedAt.UTC(), who.LastSeen.UTC()
	return who, err
}

func signIn(ctx context.Context, tx pgx.Tx, p account.Proof, device string) (who account.Account, d account.Device, err error) {
	known := false
	if p.Issuer != "" {
		if err := one(ctx, tx, "identity "+p.Issuer+"\n"+p.Subject); err != nil {
			return who, d, err
		}
		who, err = scanAccount(tx.QueryRow(ctx, `
			update accounts set last_seen_at = now()
			where id = (select account_id from account_identities where issuer = $1 and subject = $2) returning `+accountColumns, p.Issuer, p.Subject))
		if known = err == nil; err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return who, d, err
		}
	}
	if !known {
		id, err := uuid.NewV7()
		if err != nil {
			return who, d, err
		}
		var email *string
		if p.Email != "" {
			email = &p.Email
		}
		who, err = scanAccount(tx.QueryRow(ctx, `
			insert into accounts (id, email, name) values ($1, $2, $3)
			on conflict (email) do update set last_seen_at = now() returning `+accountColumns, id, email, p.Name))
		if err != nil {
			return who, d, err
		}
		if p.Issuer != "" {
			_, err := tx.Exec(ctx, `insert into account_identities (issuer, subject, account_id) values ($1, $2, $3)`, p.Issuer, p.Subject, who.ID)
			if err != nil {
				return who, d, err
			}
		}
	}
	d, err = link(ctx, tx, who.ID, device)
	return who, d, err
}

// link makes a visitor a device of an account.
func link(ctx context.Context, tx pgx.Tx, id, visitor string) (d account.Device, err error) {
	if visitor == "" {
		return d, nil
	}
	d.Visitor = visitor
	fresh, err := uuid.NewV7()
	if err != nil {
		return d, err
	}
	_, err = tx.Exec(ctx, `
		insert into users (id, visitor, account_id) values ($1, $2, $3)
		on conflict (visitor) do update set account_id = excluded.account_id where users.account_id is null`, fresh, visitor, id)
	if err != nil {
		return d, err
	}
	err = tx.QueryRow(ctx, `select account_id is distinct from $2 from users where visitor = $1`, visitor, id).Scan(&d.Foreign)
	return d, err
}

// Link implements account.Store.
func (a Accounts) Link(ctx context.Context, id, visitor string) error {
	return a.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := link(ctx, tx, id, visitor)
		return err
	})
}

// Account implements account.Store.
func (a Accounts) Account(ctx context.Context, id string) (who account.Account, err error) {
	err = a.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		who, err = scanAccount(tx.QueryRow(ctx, `select `+accountColumns+` from accounts where id = $1 and erased_at is null`, id))
		return notFound(err, "account")
	})
	return who, err
}

// Rename implements account.Store.
func (a Accounts) Rename(ctx context.Context, id, name string) (who account.Account, err error) {
	err = a.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		who, err = scanAccount(tx.QueryRow(ctx, `
			update accounts set name = $2 where id = $1 and erased_at is null returning `+accountColumns, id, name))
		return notFound(err, "account")
	})
	return who, err
}

// EndSessions implements account.Store.
func (a Accounts) EndSessions(ctx context.Context, id string) error {
	return a.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update accounts set session_epoch = session_epoch + 1 where id = $1`, id)
		return err
	})
}

// AccountOrders implements account.Store.
func (a Accounts) AccountOrders(ctx context.Context, id string, q checkout.OrderQuery) (page checkout.OrderPage, err error) {
	before, beforeID, err := decodeCursor(q.Cursor)
	if err != nil {
		return page, err
	}
	args := pgx.NamedArgs{"account": id, "before": before, "before_id": beforeID, "limit": q.Limit + 1}
	err = a.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		// Two look-ups by an index each: with "or" between them there is none to use.
		rows, err := tx.Query(ctx, `
			select id from (
				select id, created_at from orders where visitor = any(array(select visitor from users where account_id = @account))
				union select id, created_at from orders where lower(buyer_email) = (select email from accounts where id = @account)) o
			where @before::timestamptz is null or (created_at, id) < (@before, @before_id::uuid)
			order by created_at desc, id desc limit @limit`, args)
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

// long is tx for what reads tables through, and may take its time.
func (a Accounts) long(ctx context.Context, o pgx.TxOptions, fn func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var err error
	for range 4 {
		err = pgx.BeginTxFunc(ctx, a.db, o, func(tx pgx.Tx) error { return fn(ctx, tx) })
		pg, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || pg.Code != "40001" && pg.Code != "40P01" {
			break
		}
	}
	return translate(err)
}
