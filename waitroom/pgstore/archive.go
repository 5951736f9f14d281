// Package pgstore keeps what must outlive the rooms in Redis: their settings,
// the checkpoint of their lines, the turns that were had, and the log of
// admissions.
package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
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

// autopilot is how waitroom.Autopilot is kept.
type autopilot struct {
	Enabled       bool    `json:"enabled"`
	MinRate       int     `json:"min_rate_per_minute"`
	TargetP95     int64   `json:"target_p95_ms"`
	MaxErrorShare float64 `json:"max_error_share"`
	MaxPoolShare  float64 `json:"max_pool_share"`
}

// Rooms implements waitroom.Archive: the rooms of all events that are not over.
func (a *Archive) Rooms(ctx context.Context) ([]waitroom.Checkpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	rows, err := a.db.Query(ctx, `
		select r.event_id::text, e.name, r.state, r.reason, r.by_stock, r.message, r.opens_at, r.lobby_opens_at, r.closes_at,
		       r.rate_per_minute, r.burst, r.max_shoppers, r.lease_s, r.claim_window_s, r.grace_s,
		       r.queue_order, r.invite_only, r.bypass, r.challenge, r.cutoff, r.autopilot,
		       coalesce(r.draw_secret, ''), r.public_source, r.public_value, r.draw_n, r.draw_base, r.draw_digest, r.drawn_at,
		       r.lobby_next, r.lobby_digest, r.cursor, r.next, r.epoch, r.lived,
		       extract(epoch from now() - r.updated_at)::float8
		from rooms r join events e on e.id = r.event_id
		where e.status in ('on_sale', 'postponed', 'cancelled')`)
	if err != nil {
		return nil, down(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (waitroom.Checkpoint, error) {
		var c waitroom.Checkpoint
		var opens, lobby, closes, drawn *time.Time
		var lease, window, grace int64
		var pilot []byte
		var age float64
		s, d := &c.Settings, &c.Draw
		err := row.Scan(&s.Event, &s.Name, &s.State, &s.ClosedReason, &s.ByStock, &s.Message, &opens, &lobby, &closes,
			&s.Throttle.RatePerMinute, &s.Throttle.Burst, &s.Throttle.MaxShoppers, &lease, &window, &grace,
			&s.Order, &s.InviteOnly, &s.Bypass, &s.Challenge, &s.Cutoff, &pilot,
			&d.Secret, &d.PublicSource, &d.PublicValue, &d.N, &d.Base, &d.Digest, &drawn,
			&s.LobbyNext, &s.LobbyDigest, &s.Cursor, &s.Next, &s.Epoch, &c.Lived, &age)
		if err != nil {
			return c, err
		}
		s.Throttle.Lease = time.Duration(lease) * time.Second
		s.Throttle.ClaimWindow = time.Duration(window) * time.Second
		s.Throttle.Grace = time.Duration(grace) * time.Second
		s.OpensAt, s.LobbyOpensAt, s.ClosesAt, d.At = orZero(opens), orZero(lobby), orZero(closes), orZero(drawn)
		c.Age = time.Duration(age * float64(time.Second))
		var p autopilot
		if err := json.Unmarshal(pilot, &p); err != nil {
			return c, err
		}
		if p == (autopilot{}) {
			s.Autopilot = waitroom.DefaultAutopilot() // never set
			return c, nil
		}
		s.Autopilot = waitroom.Autopilot{
			Enabled: p.Enabled, MinRate: p.MinRate, TargetP95: time.Duration(p.TargetP95) * time.Millisecond,
			MaxErrorShare: p.MaxErrorShare, MaxPoolShare: p.MaxPoolShare,
		}
		return c, nil
	})
	return list, down(err)
}

// SaveRoom implements waitroom.Archive. The line's numbers never go back within
// an epoch, whichever node saves last.
func (a *Archive) SaveRoom(ctx context.Context, s waitroom.Settings) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	pilot, err := json.Marshal(autopilot{
		s.Autopilot.Enabled, s.Autopilot.MinRate, s.Autopilot.TargetP95.Milliseconds(), s.Autopilot.MaxErrorShare, s.Autopilot.MaxPoolShare,
	})
	if err != nil {
		return err
	}
	_, err = a.db.Exec(ctx, `
		update rooms set state = @state, reason = @reason, by_stock = @by_stock, message = @message,
		       opens_at = @opens, lobby_opens_at = @lobby, closes_at = @closes,
		       rate_per_minute = @rate, burst = @burst, max_shoppers = @shoppers,
		       lease_s = @lease, claim_window_s = @window, grace_s = @grace,
		       queue_order = @order, invite_only = @invite_only, bypass = @bypass, challenge = @challenge, cutoff = @cutoff,
		       autopilot = @autopilot, draw_secret = coalesce(draw_secret, nullif(@secret, '')),
		       public_source = @source, public_value = @value,
		       draw_n = @draw_n, draw_base = @draw_base, draw_digest = @draw_digest, drawn_at = @drawn,
		       lobby_next = case when epoch = @epoch then greatest(lobby_next, @lobby_next) else @lobby_next end,
		       lobby_digest = case when epoch = @epoch and lobby_next > @lobby_next then lobby_digest else @lobby_digest end,
		       cursor = case when epoch = @epoch then greatest(cursor, @cursor) else @cursor end,
		       next = case when epoch = @epoch then greatest(next, @next) else @next end,
		       epoch = @epoch, lived = true, updated_at = now()
		where event_id = @event and epoch <= @epoch`, pgx.NamedArgs{
		"event": s.Event, "state": s.State, "reason": s.ClosedReason, "by_stock": s.ByStock, "message": s.Message,
		"opens": orNull(s.OpensAt), "lobby": orNull(s.LobbyOpensAt), "closes": orNull(s.ClosesAt),
		"rate": s.Throttle.RatePerMinute, "burst": s.Throttle.Burst, "shoppers": s.Throttle.MaxShoppers,
		"lease": int64(s.Throttle.Lease / time.Second), "window": int64(s.Throttle.ClaimWindow / time.Second),
		"grace": int64(s.Throttle.Grace / time.Second),
		"order": s.Order, "invite_only": s.InviteOnly, "bypass": s.Bypass, "challenge": s.Challenge, "cutoff": s.Cutoff,
		"autopilot": pilot, "secret": s.Draw.Secret, "source": s.Draw.PublicSource, "value": s.Draw.PublicValue,
		"draw_n": s.Draw.N, "draw_base": s.Draw.Base, "draw_digest": s.Draw.Digest, "drawn": orNull(s.Draw.At),
		"lobby_next": s.LobbyNext, "lobby_digest": s.LobbyDigest,
		"cursor": s.Cursor, "next": s.Next, "epoch": max(s.Epoch, 1),
	})
	return down(err)
}

// Secret implements waitroom.Archive.
func (a *Archive) Secret(ctx context.Context, event, proposed string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var secret string
	err := a.db.QueryRow(ctx, `
		update rooms set draw_secret = coalesce(draw_secret, $2) where event_id = $1 returning draw_secret`, event, proposed).Scan(&secret)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", fault.New(fault.NotFound, "there is no waiting room for %q", event)
	}
	return secret, down(err)
}

// SaveTurns implements waitroom.Archive.
func (a *Archive) SaveTurns(ctx context.Context, event string, epoch int64, turns []waitroom.Turn) error {
	if len(turns) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var gone []string
	var goneAt, changed []time.Time
	var visitors, stateNames []string
	var lanes, missed []int32
	var places []int64
	var admitted, claimed, until []*time.Time
	for _, t := range turns {
		if t.State == waitroom.Unknown || t.State == waitroom.Away {
			gone, goneAt = append(gone, t.Visitor), append(goneAt, t.Changed)
			continue
		}
		visitors, stateNames = append(visitors, t.Visitor), append(stateNames, string(t.State))
		lanes, missed, places = append(lanes, int32(t.Lane)), append(missed, int32(t.Missed)), append(places, t.Place)
		admitted, claimed, until = append(admitted, orNull(t.Admitted)), append(claimed, orNull(t.Claimed)), append(until, orNull(t.Until))
		changed = append(changed, t.Changed)
	}
	batch := &pgx.Batch{}
	if len(gone) > 0 {
		batch.Queue(`
			delete from room_turns r using unnest($3::text[], $4::timestamptz[]) as g (visitor, at)
			where r.event_id = $1 and r.epoch = $2 and r.visitor = g.visitor and r.changed_at <= g.at`, event, epoch, gone, goneAt)
	}
	if len(visitors) > 0 {
		batch.Queue(`
			insert into room_turns (event_id, epoch, visitor, state, lane, place, missed, admitted, claimed, until, changed_at)
			select $1::uuid, $2, t.* from unnest($3::text[], $4::text[], $5::smallint[], $6::bigint[], $7::integer[],
			       $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[]) as t
			where exists (select from events where id = $1)
			on conflict (event_id, epoch, visitor) do update
			   set state = excluded.state, lane = excluded.lane, place = excluded.place, missed = excluded.missed,
			       admitted = excluded.admitted, claimed = excluded.claimed, until = excluded.until, changed_at = excluded.changed_at
			 where room_turns.changed_at <= excluded.changed_at`,
			event, epoch, visitors, stateNames, lanes, places, missed, admitted, claimed, until, changed)
	}
	return down(a.db.SendBatch(ctx, batch).Close())
}

// Turns implements waitroom.Archive.
func (a *Archive) Turns(ctx context.Context, event string, epoch int64, after string, limit int) ([]waitroom.Turn, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	rows, err := a.db.Query(ctx, `
		select visitor, state, lane, place, missed, admitted, claimed, until, changed_at from room_turns
		where event_id = $1 and epoch = $2 and visitor > $3 order by visitor limit $4`, event, epoch, after, limit)
	if err != nil {
		return nil, down(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (waitroom.Turn, error) {
		var t waitroom.Turn
		var admitted, claimed, until *time.Time
		err := row.Scan(&t.Visitor, &t.State, &t.Lane, &t.Place, &t.Missed, &admitted, &claimed, &until, &t.Changed)
		t.Admitted, t.Claimed, t.Until, t.Changed = orZero(admitted), orZero(claimed), orZero(until), t.Changed.UTC()
		return t, err
	})
	return list, down(err)
}

// Changed implements waitroom.Archive.
func (a *Archive) Changed(ctx context.Context, event string, changes []waitroom.Change) error {
	if len(changes) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	batch := &pgx.Batch{}
	for _, c := range changes {
		detail, err := json.Marshal(map[string]string{"reason": c.Detail})
		if err != nil {
			return err
		}
		// Its number begins anew with a store that was lost; its time does not.
		once := event + " " + strconv.FormatInt(c.Number, 10) + " " + strconv.FormatInt(c.At.UnixMilli(), 10)
		batch.Queue(`
			insert into audit_log (at, actor, action, subject, detail, once) values ($1, $2, $3, $4, $5, $6)
			on conflict (once) do nothing`, c.At, c.Actor, c.Action, event, detail, once)
	}
	return down(a.db.SendBatch(ctx, batch).Close())
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
