package payment

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// References remembers what a gateway calls our charges. It stands beside the
// payments, not in them: only the gateway's adapter reads it.
type References interface {
	// Keep stores the reference of a key and returns the one that is stored: the
	// first wins.
	Keep(ctx context.Context, gateway, key, reference string) (kept string, err error)
	// Find returns ErrNotFound for a key without one.
	Find(ctx context.Context, gateway, key string) (string, error)
}

// PostgresReferences keeps references in the table payment_references.
type PostgresReferences struct{ db *pgxpool.Pool }

var _ References = (*PostgresReferences)(nil)

// NewReferences does no I/O.
func NewReferences(db *pgxpool.Pool) *PostgresReferences { return &PostgresReferences{db: db} }

// Keep implements References.
func (r *PostgresReferences) Keep(ctx context.Context, gateway, key, reference string) (kept string, err error) {
	// Updating the row to what it is returns it, which "do nothing" would not.
	err = r.db.QueryRow(ctx, `
		insert into payment_references as r (gateway, payment_id, reference) values (@gateway, @key, @reference)
		on conflict (gateway, payment_id) do update set reference = r.reference returning reference`,
		pgx.NamedArgs{"gateway": gateway, "key": key, "reference": reference}).Scan(&kept)
	if err != nil {
		return "", fmt.Errorf("payment: keep the reference: %w", err)
	}
	return kept, nil
}

// Find implements References.
func (r *PostgresReferences) Find(ctx context.Context, gateway, key string) (reference string, err error) {
	err = r.db.QueryRow(ctx, `select reference from payment_references where gateway = $1 and payment_id = $2`, gateway, key).Scan(&reference)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", ErrNotFound
	case err != nil:
		return "", fmt.Errorf("payment: find the reference: %w", err)
	}
	return reference, nil
}
