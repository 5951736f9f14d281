package pgstore

import (
	"time"

	"github.com/jackc/pgx/v5"

	"onsale/catalog"
)

// insertRoom is the row that the room of an event is seeded from. The waiting
// room's own store takes over from there.
const insertRoom = `
insert into rooms (event_id, state, reason, message, opens_at, lobby_opens_at, closes_at,
                   rate_per_minute, burst, max_shoppers, lease_s, claim_window_s, grace_s,
                   queue_order, invite_only, challenge, public_source)
values (@event::uuid, @state, @reason, @message, @opens_at, @lobby_opens_at, @closes_at,
        @rate, @burst, @shoppers, @lease, @window, @grace,
        @order, @invite_only, @challenge, @public_source)`

func roomArgs(event string, r catalog.RoomSettings) pgx.NamedArgs {
	return pgx.NamedArgs{
		"event": event, "state": r.State, "reason": r.Reason, "message": r.Message,
		"opens_at": r.OpensAt, "lobby_opens_at": r.LobbyOpensAt, "closes_at": r.ClosesAt,
		"rate": r.RatePerMinute, "burst": r.Burst, "shoppers": r.MaxShoppers,
		"lease": int(r.Lease / time.Second), "window": int(r.ClaimWindow / time.Second), "grace": int(r.Grace / time.Second),
		"order": r.Order, "invite_only": r.InviteOnly, "challenge": r.Challenge, "public_source": r.PublicSource,
	}
}
