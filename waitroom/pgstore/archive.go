// Package pgstore keeps what must outlive the rooms in Redis: their settings,
// the checkpoint of their lines, and the log of admissions.
package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onsale/internal/fault"
	"onsale/waitroom"
)

const callTimeout = 3 * time.Second

// Archive is a waitroom.Archive.
type Archive struct {
	db *pgxpool.Pool
}

var _ waitroom.Archive = (*Archive)(nil)

// New returns an archive on a migrated database. It does no I/O.
func New(db *pgxpool.Pool) *Archive { return &Archive{db: db} }

func down(err error) error {
	if err == nil {
		return nil
	}
	return fault.Down(err, "the room archive")
}

// Rooms implements waitroom.Archive: the rooms of all events that are not over.
func (a *Archive) Rooms(ctx context.Context) ([]waitroom.Settings, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	rows, err := a.db.Query(ctx, `
		select r.event_id::text, e.name, r.state, r.reason, r.message, r.opens_at, r.lobby_opens_at, r.closes_at,
		       r.rate_per_minute, r.burst, r.max_shoppers, r.lease_s, r.claim_window_s, r.cursor, r.next, r.epoch
		from rooms r join events e on e.id = r.event_id
		where e.status in ('on_sale', 'postponed', 'cancelled')`)
	if err != nil {
		return nil, down(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (waitroom.Settings, error) {
		var s waitroom.Settings
		var opens, lobby, closes *time.Time
		var lease, window int64
		err := row.Scan(&s.Event, &s.Name, &s.State, &s.ClosedReason, &s.Message, &opens, &lobby, &closes,
			&s.Throttle.RatePerMinute, &s.Throttle.Burst, &s.Throttle.MaxShoppers, &lease, &window, &s.Cursor, &s.Next, &s.Epoch)
		s.Throttle.Lease = time.Duration(lease) * time.Second
		s.Throttle.ClaimWindow = time.Duration(window) * time.Second
		s.OpensAt, s.LobbyOpensAt, s.ClosesAt = orZero(opens), orZero(lobby), orZero(closes)
		return s, err
	})
	return list, down(err)
}

// SaveRoom implements waitroom.Archive. The line's numbers never go back within
// an epoch, whichever node saves last.
func (a *Archive) SaveRoom(ctx context.Context, s waitroom.Settings) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := a.db.Exec(ctx, `
		update rooms set state = @state, reason = @reason, message = @message,
		       opens_at = @opens, lobby_opens_at = @lobby, closes_at = @closes,
		       rate_per_minute = @rate, burst = @burst, max_shoppers = @shoppers, lease_s = @lease, claim_window_s = @window,
		       cursor = case when epoch = @epoch then greatest(cursor, @cursor) else @cursor end,
		       next = case when epoch = @epoch then greatest(next, @next) else @next end,
		       epoch = @epoch, updated_at = now()
		where event_id = @event and epoch <= @epoch`, pgx.NamedArgs{
		"event": s.Event, "state": s.State, "reason": s.ClosedReason, "message": s.Message,
		"opens": orNull(s.OpensAt), "lobby": orNull(s.LobbyOpensAt), "closes": orNull(s.ClosesAt),
		"rate": s.Throttle.RatePerMinute, "burst": s.Throttle.Burst, "shoppers": s.Throttle.MaxShoppers,
		"lease": int64(s.Throttle.Lease / time.Second), "window": int64(s.Throttle.ClaimWindow / time.Second),
		"cursor": s.Cursor, "next": s.Next, "epoch": max(s.Epoch, 1),
	})
	return down(err)
}

// Admitted implements waitroom.Archive.
func (a *Archive) Admitted(ctx context.Context, entries []waitroom.Admission) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	batch := &pgx.Batch{}
	for _, e := range entries {
		batch.Queue(`
			insert into admission_log (event_id, at, admitted, cursor)
			select $1, $2, $3, $4 where exists (select from events where id = $1)`, e.Event, e.At, e.Count, e.Cursor)
	}
	return down(a.db.SendBatch(ctx, batch).Close())
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
