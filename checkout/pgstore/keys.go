package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"onsale/checkout"
	"onsale/internal/fault"
)

// Idempotency keys, as the IETF's draft has them: the answer is stored with the
// effect, in one transaction. A request that works outside of a transaction takes
// its key first, for the time of a lease.

// keyRow is what is stored under a key.
type keyRow struct {
	fingerprint string
	body        []byte // nil while in flight
	leased      bool
}

// answer is what a repeated request gets: the stored order, a refusal, or nothing
// of both when the key is free to be used.
func (r keyRow) answer(k checkout.Key) (*checkout.Order, error) {
	switch {
	case r.fingerprint != k.Fingerprint:
		return nil, fault.New(fault.KeyReused, "this Idempotency-Key was sent with a different body; use a fresh key")
	case r.body != nil:
		return readAnswer(r.body)
	case r.leased:
		return nil, fault.New(fault.KeyInFlight, "the same request is still being worked on; look the order up in a moment").After(time.Second)
	}
	return nil, nil //nolint:nilnil // neither
}

// storedAnswer is an order as it is kept under a key: with what the API does not show,
// and without what can be worked out from the rest.
type storedAnswer struct {
	checkout.Order
	Quote   checkout.Quote `json:"quote"`
	Visitor string         `json:"visitor"`
	Hold    string         `json:"hold"`
	Items   []storedItem   `json:"items"`
}

type storedItem struct {
	checkout.Item
	Ordinal   int  `json:"ordinal"`
	Exchanged bool `json:"exchanged,omitempty"`
}

func writeAnswer(o checkout.Order) ([]byte, error) {
	s := storedAnswer{Order: o, Quote: o.Quote, Visitor: o.Visitor, Hold: o.Hold, Items: make([]storedItem, len(o.Items))}
	s.Price = nil
	for i := range o.Items {
		item := &o.Items[i]
		s.Items[i] = storedItem{*item, item.Ordinal, item.Exchanged}
	}
	return json.Marshal(s)
}

func readAnswer(body []byte) (*checkout.Order, error) {
	var s storedAnswer
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, err
	}
	o := s.Order
	o.Quote, o.Visitor, o.Hold, o.Items = s.Quote, s.Visitor, s.Hold, make([]checkout.Item, len(s.Items))
	for i := range s.Items {
		item := &s.Items[i]
		o.Items[i] = item.Item
		o.Items[i].Ordinal, o.Items[i].Exchanged = item.Ordinal, item.Exchanged
		if i < len(o.Quote.Items) {
			o.Items[i].Cost = o.Quote.Items[i]
		} else { // stored before there were quotes
			o.Items[i].Cost = checkout.ItemPrice{Price: item.Price.Amount, Total: item.Price.Amount}
			o.Quote.Currency = item.Price.Currency
		}
	}
	o.ShowPrice()
	return &o, nil
}

// Answered implements checkout.OrderStore.
func (s *Store) Answered(ctx context.Context, k checkout.Key) (o checkout.Order, answered bool, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var row keyRow
		err := tx.QueryRow(ctx, `
			select fingerprint, body, lease_until > now() from idempotency_keys where scope = @scope and key = @key`, keyArgs(k, 0)).
			Scan(&row.fingerprint, &row.body, &row.leased)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		} else if err != nil {
			return err
		}
		stored, err := row.answer(k)
		if stored != nil {
			o, answered = *stored, true
		}
		return err
	})
	return o, answered, err
}

// takeKey claims an idempotency key for this request. stored is the answer of
// an earlier request with the key, if it has one. A key without an answer is in
// flight until its lease is over: who held it may be dead.
func takeKey(ctx context.Context, tx pgx.Tx, k checkout.Key, lease time.Duration) (stored *checkout.Order, err error) {
	tag, err := tx.Exec(ctx, `
		insert into idempotency_keys (scope, key, fingerprint, lease_until)
		values (@scope, @key, @fingerprint, now() + @lease)
		on conflict (scope, key) do nothing`, keyArgs(k, lease))
	if err != nil || tag.RowsAffected() == 1 {
		return nil, err
	}
	var row keyRow
	err = tx.QueryRow(ctx, `
		select fingerprint, body, lease_until > now() from idempotency_keys
		where scope = @scope and key = @key for update`, keyArgs(k, lease)).Scan(&row.fingerprint, &row.body, &row.leased)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.New(fault.KeyInFlight, "the same request ended a moment ago; send it again").After(time.Second)
	} else if err != nil {
		return nil, err
	}
	if stored, err = row.answer(k); stored != nil || err != nil {
		return stored, err
	}
	_, err = tx.Exec(ctx, `
		update idempotency_keys set lease_until = now() + @lease, fingerprint = @fingerprint
		where scope = @scope and key = @key`, keyArgs(k, lease))
	return nil, err
}

// withKey does what a request wants of an order, which the transaction locks, and stores
// the order as the answer, or returns the answer of an earlier request with the same key.
// k may be nil. What told says of the order before and after is announced.
func (s *Store) withKey(ctx context.Context, k *checkout.Key, order string,
	change func(ctx context.Context, tx pgx.Tx, o *checkout.Order) error, told func(before, after *checkout.Order) []announcement,
) (o checkout.Order, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if k != nil {
			stored, err := takeKey(ctx, tx, *k, txTimeout)
			if err != nil {
				return err
			}
			if stored != nil {
				o = *stored
				return nil
			}
		}
		if o, err = loadOrder(ctx, tx, order, true); err != nil {
			return err
		}
		before := o
		if err := change(ctx, tx, &o); err != nil {
			return err
		}
		if err := reload(ctx, tx, &o); err != nil {
			return err
		}
		if err := s.announce(ctx, tx, told(&before, &o)); err != nil {
			return err
		}
		return answerKey(ctx, tx, k, o)
	})
	return o, err
}

// answerKey stores the answer under the key, in the transaction of its effect.
func answerKey(ctx context.Context, tx pgx.Tx, k *checkout.Key, o checkout.Order) error {
	if k == nil {
		return nil
	}
	var a answers
	if err := a.add(*k, 200, o); err != nil {
		return err
	}
	b := &pgx.Batch{}
	a.queue(b, false)
	return tx.SendBatch(ctx, b).Close()
}

// answers gathers what is to be stored under keys.
type answers struct {
	scopes, keys, fingerprints []string
	statuses                   []int
	bodies                     [][]byte
}

func (a *answers) add(k checkout.Key, status int, o checkout.Order) error {
	body, err := writeAnswer(o)
	if err != nil {
		return err
	}
	a.scopes, a.keys, a.fingerprints = append(a.scopes, k.Scope), append(a.keys, k.Value), append(a.fingerprints, k.Fingerprint)
	a.statuses, a.bodies = append(a.statuses, status), append(a.bodies, body)
	return nil
}

// queue stores them. With fresh, a key that another request has answered since is an
// error: the transaction is repeated, and finds that answer. Otherwise the first
// answer stays.
func (a *answers) queue(b *pgx.Batch, fresh bool) {
	if len(a.keys) == 0 {
		return
	}
	b.Queue(`
		insert into idempotency_keys (scope, key, fingerprint, status, body, lease_until)
		select scope, key, fingerprint, status, body, now()
		from unnest(@scopes::text[], @keys::text[], @fingerprints::text[], @statuses::int[], @bodies::bytea[])
			as w (scope, key, fingerprint, status, body)
		on conflict (scope, key) do update set status = excluded.status, body = excluded.body
		where idempotency_keys.body is null`, pgx.NamedArgs{
		"scopes": a.scopes, "keys": a.keys, "fingerprints": a.fingerprints, "statuses": a.statuses, "bodies": a.bodies,
	}).Exec(func(tag pgconn.CommandTag) error {
		if fresh && int(tag.RowsAffected()) != len(a.keys) {
			return errKeyTaken
		}
		return nil
	})
}

// errKeyTaken rolls a transaction back whose key has got an answer meanwhile.
var errKeyTaken = errors.New("pgstore: the key has an answer already")

// dropKey frees a key whose request had no lasting effect.
func dropKey(ctx context.Context, tx pgx.Tx, k *checkout.Key) error {
	if k == nil {
		return nil
	}
	_, err := tx.Exec(ctx, `delete from idempotency_keys where scope = @scope and key = @key and body is null`, keyArgs(*k, 0))
	return err
}

func keyArgs(k checkout.Key, lease time.Duration) pgx.NamedArgs {
	return pgx.NamedArgs{"scope": k.Scope, "key": k.Value, "fingerprint": k.Fingerprint, "lease": lease}
}

// ForgetKeys deletes answers older than the given age.
func (s *Store) ForgetKeys(ctx context.Context, age time.Duration) (int64, error) {
	tag, err := s.db.Exec(ctx, `delete from idempotency_keys where created_at < now() - $1::interval`, age)
	return tag.RowsAffected(), translate(err)
}
