package pgstore

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"onsale/catalog"
)

const upsertRoom = `
insert into rooms (event_id, state, reason, message, opens_at, lobby_opens_at, closes_at,
                   rate_per_minute, burst, max_shoppers, lease_s, claim_window_s)
values (@event::uuid, @state, @reason, @message, @opens_at, @lobby_opens_at, @closes_at,
        @rate, @burst, @shoppers, @lease, @window)
on conflict (event_id) do update
   set state = excluded.state, reason = excluded.reason, message = excluded.message, opens_at = excluded.opens_at,
       lobby_opens_at = excluded.lobby_opens_at, closes_at = excluded.closes_at,
       rate_per_minute = excluded.rate_per_minute, burst = excluded.burst, max_shoppers = excluded.max_shoppers,
       lease_s = excluded.lease_s, claim_window_s = excluded.claim_window_s, updated_at = now()`

func roomArgs(event string, r catalog.RoomSettings) pgx.NamedArgs {
	return pgx.NamedArgs{
		"event": event, "state": r.State, "reason": r.Reason, "message": r.Message,
		"opens_at": r.OpensAt, "lobby_opens_at": r.LobbyOpensAt, "closes_at": r.ClosesAt,
		"rate": r.RatePerMinute, "burst": r.Burst, "shoppers": r.MaxShoppers,
		"lease": int(r.Lease / time.Second), "window": int(r.ClaimWindow / time.Second),
	}
}

const selectRooms = `
select r.event_id::text, r.state, r.reason, r.message, r.opens_at, r.lobby_opens_at, r.closes_at,
       r.rate_per_minute, r.burst, r.max_shoppers, r.lease_s, r.claim_window_s
  from rooms r`

type eventRoom struct {
	event    string
	settings catalog.RoomSettings
}

func scanRoom(row pgx.CollectableRow) (eventRoom, error) {
	var r eventRoom
	var lease, window int64
	s := &r.settings
	err := row.Scan(&r.event, &s.State, &s.Reason, &s.Message, &s.OpensAt, &s.LobbyOpensAt, &s.ClosesAt,
		&s.RatePerMinute, &s.Burst, &s.MaxShoppers, &lease, &window)
	s.Lease, s.ClaimWindow = time.Duration(lease)*time.Second, time.Duration(window)*time.Second
	return r, err
}

// Room is how the waiting room of an event is set. An unknown event is
// fault.NotFound.
func (s *Store) Room(ctx context.Context, event string) (catalog.RoomSettings, error) {
	if !catalog.IsID(event) {
		return catalog.RoomSettings{}, noSuchEvent(event)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.primary.Query(ctx, selectRooms+` where r.event_id = @event::uuid`, pgx.NamedArgs{"event": event})
	if err != nil {
		return catalog.RoomSettings{}, translate(ctx, err)
	}
	room, err := pgx.CollectExactlyOneRow(rows, scanRoom)
	if errors.Is(err, pgx.ErrNoRows) {
		return catalog.RoomSettings{}, noSuchEvent(event)
	}
	return room.settings, translate(ctx, err)
}

// Rooms is how all waiting rooms are set that may still admit somebody, by
// event.
func (s *Store) Rooms(ctx context.Context) (map[string]catalog.RoomSettings, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.primary.Query(ctx, selectRooms+` where r.state <> 'closed'`)
	if err != nil {
		return nil, translate(ctx, err)
	}
	all, err := pgx.CollectRows(rows, scanRoom)
	if err != nil {
		return nil, translate(ctx, err)
	}
	rooms := make(map[string]catalog.RoomSettings, len(all))
	for _, r := range all {
		rooms[r.event] = r.settings
	}
	return rooms, nil
}

// SetRoom keeps how the waiting room of an event is set. Settings out of bounds
// are fault.Invalid, an unknown event is fault.NotFound.
func (s *Store) SetRoom(ctx context.Context, event string, r catalog.RoomSettings) error {
	if err := r.Check(); err != nil {
		return err
	}
	if !catalog.IsID(event) {
		return noSuchEvent(event)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	_, err := s.primary.Exec(ctx, upsertRoom, roomArgs(event, r))
	if isForeignKey(err) {
		return noSuchEvent(event)
	}
	return translate(ctx, err)
}
