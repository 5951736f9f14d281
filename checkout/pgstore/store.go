// Package pgstore keeps orders, claims and payments in Postgres, and their
// durable jobs with them. Every method of Store is one transaction: an effect,
// its history, its answer under an idempotency key and the job that finishes
// it are committed together or not at all.
package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/internal/gather"
)

// txTimeout bounds one transaction, waiting for a connection included.
const txTimeout = 5 * time.Second

// Store is a checkout.OrderStore.
type Store struct {
	db   *pgxpool.Pool
	jobs *river.Client[pgx.Tx] // only inserts

	mailing bool // there is a mail server

	// The steps of a purchase, of many buyers at a time.
	creations *gather.Gatherer[creation, checkout.Order]
	begins    *gather.Gatherer[begin, begun]
	sales     *gather.Gatherer[sale, checkout.Order]
}

var _ checkout.OrderStore = (*Store)(nil)

// New returns a store on a migrated database. It does no I/O.
func New(db *pgxpool.Pool) (*Store, error) {
	jobs, err := river.NewClient(riverpgxv5.New(db), &river.Config{Logger: slog.New(slog.DiscardHandler)}) // what it says is in its errors
	if err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	s := &Store{db: db, jobs: jobs}
	s.creations = gatherer(s, creation.apart, s.createAll)
	s.begins = gatherer(s, begin.apart, s.beginAll)
	s.sales = gatherer(s, sale.apart, s.sellAll)
	return s, nil
}

// beginByIndex begins a transaction whose statements look rows up by their indexes. Plans
// are kept as long as a connection, those of foreign keys too, and the first are made
// while tables are empty or small, when reading them through seems as cheap: a sale
// would go on like that as they grow, until statistics are next collected.
//
// What somebody else has locked is not waited for until the transaction's own time is
// over: who shares the transaction needs some of it.
const beginByIndex = `begin; set local enable_seqscan = off; set local lock_timeout = '2s'`

// lockTimeout is Postgres' code for what that ends.
const lockTimeout = "55P03"

// tx runs fn in a transaction and translates what goes wrong into faults.
// Deadlocks, serialization failures and keys that were answered meanwhile are tried
// again.
func (s *Store) tx(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, txTimeout)
	defer cancel()
	var err error
	for range 4 {
		err = pgx.BeginTxFunc(ctx, s.db, pgx.TxOptions{BeginQuery: beginByIndex}, func(tx pgx.Tx) error { return fn(ctx, tx) })
		pg, ok := errors.AsType[*pgconn.PgError](err)
		if !errors.Is(err, errKeyTaken) && (!ok || (pg.Code != "40001" && pg.Code != "40P01")) {
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
	if errors.Is(err, errKeyTaken) || errors.Is(err, errNothing) {
		return err
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code[:2] {
		case "57", "53", "08", "25": // shutting down, out of connections, connection, read-only after a failover
			return fault.Down(err, "the ticket store")
		}
		if pg.Code == lockTimeout {
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
func (s *Store) enqueue(ctx context.Context, tx pgx.Tx, args river.JobArgs) error {
	_, err := s.jobs.InsertTx(ctx, tx, args, prompt())
	return err
}
