package pgstore

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onsale/catalog"
	"onsale/internal/fault"
)

// TicketEvent finds the event and the ordinal of a ticket. An unknown ticket is
// fault.NotFound.
func (s *Store) TicketEvent(ctx context.Context, ticket string) (event string, ordinal int, err error) {
	if !catalog.IsID(ticket) {
		return "", 0, fault.New(fault.NotFound, "no such ticket")
	}
	err = s.read(ctx, func(ctx context.Context, db *pgxpool.Pool) error {
		err := db.QueryRow(ctx, `select event_id::text, ordinal from tickets where id = @id::uuid`, pgx.NamedArgs{"id": ticket}).
			Scan(&event, &ordinal)
		if errors.Is(err, pgx.ErrNoRows) {
			return fault.New(fault.NotFound, "no such ticket")
		}
		return translate(ctx, err)
	})
	return event, ordinal, err
}
