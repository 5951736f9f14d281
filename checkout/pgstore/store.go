// Package pgstore keeps orders, claims and payments in Postgres, and their
// durable jobs with them. Every method of Store is one transaction: an effect,
// its history, its answer under an idempotency key and the job that finishes
// it are committed together or not at all.
package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"onsale/checkout"
	"onsale/internal/fault"
)

// txTimeout bounds one transaction, waiting for a connection included.
const txTimeout = 5 * time.Second

// Store is a checkout.OrderStore.
type Store struct {
	db   *pgxpool.Pool
	jobs *river.Client[pgx.Tx] // only inserts
}

var _ checkout.OrderStore = (*Store)(nil)

// New returns a store on a migrated database. It does no I/O.
func New(db *pgxpool.Pool) (*Store, error) {
	jobs, err := river.NewClient(riverpgxv5.New(db), &river.Config{})
	if err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	return &Store{db: db, jobs: jobs}, nil
}

// tx runs fn in a transaction and translates what goes wrong into faults.
// Deadlocks and serialization failures are tried again.
func (s *Store) tx(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, txTimeout)
	defer cancel()
	var err error
	for range 4 {
		err = pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error { return fn(ctx, tx) })
		pg, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || (pg.Code != "40001" && pg.Code != "40P01") {
			break
		}
	}
	return translate(err)
}

// translate turns driver errors into faults. What the database refuses for a
// reason of ours stays as it is: that is a bug, or handled by the caller.
func translate(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*notClaimed](err); ok || errors.Is(err, errNotNow) {
		return err
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code[:2] {
		case "57", "53", "08", "25": // shutting down, out of connections, connection, read-only after a failover
			return fault.Down(err, "the ticket store")
		}
		return err
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	// No answer: the connection broke, the deadline passed, the pool is closed.
	return fault.Down(err, "the ticket store")
}

// enqueue writes a durable job in the transaction.
func (s *Store) enqueue(ctx context.Context, tx pgx.Tx, args river.JobArgs, in time.Duration) error {
	opts := &river.InsertOpts{}
	if in > 0 {
		opts.ScheduledAt = time.Now().Add(in)
	}
	_, err := s.jobs.InsertTx(ctx, tx, args, opts)
	return err
}

// takeKey claims an idempotency key for this request. stored is the answer of
// an earlier request with the key, if it has one. A key without an answer is in
// flight until its lease is over.
func takeKey(ctx context.Context, tx pgx.Tx, k checkout.Key, lease time.Duration) (stored *checkout.Order, err error) {
	tag, err := tx.Exec(ctx, `
		insert into idempotency_keys (scope, key, fingerprint, lease_until)
		values (@scope, @key, @fingerprint, now() + @lease)
		on conflict (scope, key) do nothing`, keyArgs(k, lease))
	if err != nil || tag.RowsAffected() == 1 {
		return nil, err
	}
	var fingerprint string
	var body []byte
	var leased bool
	err = tx.QueryRow(ctx, `
		select fingerprint, body, lease_until > now() from idempotency_keys
		where scope = @scope and key = @key for update`, keyArgs(k, lease)).Scan(&fingerprint, &body, &leased)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, fault.New(fault.KeyInFlight, "the same request ended a moment ago; send it again").After(time.Second)
	case err != nil:
		return nil, err
	case fingerprint != k.Fingerprint:
		return nil, fault.New(fault.KeyReused, "this Idempotency-Key was sent with a different body; use a fresh key")
	case body != nil:
		stored = new(checkout.Order)
		return stored, json.Unmarshal(body, stored)
	case leased:
		return nil, fault.New(fault.KeyInFlight, "the same request is still being worked on; look the order up in a moment").After(time.Second)
	}
	_, err = tx.Exec(ctx, `update idempotency_keys set lease_until = now() + @lease where scope = @scope and key = @key`,
		keyArgs(k, lease))
	return nil, err
}

// answerKey stores the answer under the key, in the transaction of its effect.
func answerKey(ctx context.Context, tx pgx.Tx, k *checkout.Key, status int, o checkout.Order) error {
	if k == nil {
		return nil
	}
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	args := keyArgs(*k, 0)
	args["status"], args["body"] = status, body
	_, err = tx.Exec(ctx, `
		update idempotency_keys set status = @status, body = @body where scope = @scope and key = @key`, args)
	return err
}

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
