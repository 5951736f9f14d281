package redisstore

import (
	"context"
	"time"

	"onsale/internal/fault"
	"onsale/lua"
	"onsale/waitroom"
)

// flag is what scripts take for yes and no.
func flag(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// byStock is who closed a room that was sold out by itself.
const byStock = "stock"

// shares are kept as thousandths of a percent.
const share = 100_000

// fields are the settings of a room as the store keeps them.
func (s *Store) fields(w waitroom.Settings) []any {
	by := ""
	if w.ByStock {
		by = byStock
	}
	a, d := w.Autopilot, w.Draw
	return []any{
		"name", w.Name, "state", string(w.State), "closed_reason", w.ClosedReason, "closed_by", by, "message", w.Message,
		"opens_at", ms(w.OpensAt), "lobby_opens_at", ms(w.LobbyOpensAt), "closes_at", ms(w.ClosesAt),
		"rate", w.Throttle.RatePerMinute, "burst", w.Throttle.Burst, "cap", w.Throttle.MaxShoppers,
		"lease", w.Throttle.Lease.Milliseconds(), "claim", w.Throttle.ClaimWindow.Milliseconds(), "grace", w.Throttle.Grace.Milliseconds(),
		"away", max(s.o.AwayAfter.Milliseconds(), 0), "order", string(w.Order), "invite_only", flag(w.InviteOnly), "bypass", flag(w.Bypass),
		"challenge", string(w.Challenge), "cutoff", w.Cutoff,
		"auto_on", flag(a.Enabled), "auto_min", a.MinRate, "auto_p95", a.TargetP95.Milliseconds(),
		"auto_errors", int64(a.MaxErrorShare*share + 0.5), "auto_pool", int64(a.MaxPoolShare*share + 0.5), "auto_at", 0, "auto_reason", "",
		"secret", d.Secret, "public_source", d.PublicSource, "public_value", d.PublicValue,
		"draw_n", d.N, "draw_base", d.Base, "draw_digest", d.Digest, "drawn_at", ms(d.At),
		"lobby_next", w.LobbyNext, "lobby_digest", w.LobbyDigest,
		"next", max(w.Next, w.Cursor), "cursor", w.Cursor, "epoch", w.Epoch,
	}
}

func room(event string, n lua.RoomNumbers) waitroom.Room {
	span := func(field string) time.Duration { return time.Duration(n.Int(field)) * time.Millisecond }
	r := waitroom.Room{
		Settings: waitroom.Settings{
			Event: event, Name: n.Fields["name"], State: waitroom.State(n.Fields["state"]),
			ClosedReason: n.Fields["closed_reason"], ByStock: n.Fields["closed_by"] == byStock, Message: n.Fields["message"],
			OpensAt: at(n.Int("opens_at")), LobbyOpensAt: at(n.Int("lobby_opens_at")), ClosesAt: at(n.Int("closes_at")),
			Throttle: waitroom.Throttle{
				RatePerMinute: int(n.Int("rate")), Burst: int(n.Int("burst")), MaxShoppers: int(n.Int("cap")),
				Lease: span("lease"), ClaimWindow: span("claim"), Grace: span("grace"),
			},
			Order: waitroom.Order(n.Fields["order"]), InviteOnly: n.Int("invite_only") == 1, Bypass: n.Int("bypass") == 1,
			Challenge: waitroom.Challenge(n.Fields["challenge"]), Cutoff: n.Int("cutoff"),
			Autopilot: waitroom.Autopilot{
				Enabled: n.Int("auto_on") == 1, MinRate: int(n.Int("auto_min")), TargetP95: span("auto_p95"),
				MaxErrorShare: float64(n.Int("auto_errors")) / share, MaxPoolShare: float64(n.Int("auto_pool")) / share,
			},
			Draw: waitroom.Draw{
				Secret: n.Fields["secret"], PublicSource: n.Fields["public_source"], PublicValue: n.Fields["public_value"],
				N: n.Int("draw_n"), Base: n.Int("draw_base"), Digest: n.Fields["draw_digest"], At: at(n.Int("drawn_at")),
			},
			Cursor: n.Int("cursor"), Next: n.Int("next"), LobbyNext: n.Int("lobby_next"), LobbyDigest: n.Fields["lobby_digest"],
			Epoch: n.Int("epoch"),
		},
		Waiting: int(n.Waiting + n.Gathered), Ready: int(n.Ready), Shopping: int(n.Shopping),
		Away: int(n.Away), Suspects: int(n.Suspects),
		Joined: n.Int("joined"), Admitted: n.Int("admitted"), Served: n.Int("served"),
		Moving: n.Int("moving") > 0, Awaiting: n.Int("moving") == 2, ShopOK: n.Int("shop_ok_until") > n.Now,
		Quiet:     n.Int("quiet_until") > n.Now,
		StockLeft: int(n.Int("stock")), Available: int(n.Int("available")), Held: int(n.Int("held")), PerBuyer: int(n.Int("per_buyer")),
		StockFirst: int(n.Int("stock_first")), FirstAdmitted: n.Int("first_admitted"),
		AutoRate: int(n.Int("auto_rate")), SteerReason: n.Fields["auto_reason"], SteeredAt: at(n.Int("auto_at")), NoShow: n.NoShow(),
		Born: at(n.Int("born")), AsOf: at(n.Now),
	}
	taken, ended := n.Stays()
	r.Taken, r.Ended = taken, int(ended)
	for _, p := range n.Pace() {
		r.Pace = append(r.Pace, waitroom.Pace{Slot: p.Slot, Admitted: int(p.Admitted), Busy: p.Busy})
	}
	return r
}

// Configure implements waitroom.Store.
func (s *Store) Configure(ctx context.Context, event string, p waitroom.Patch, secret string) error {
	fields := patched(p)
	if secret != "" {
		fields = append(fields, "secret", secret)
	}
	must := lua.RoomAlways
	switch {
	case p.PublicSource != nil || p.OpensAt != nil || p.LobbyOpensAt != nil:
		must = lua.RoomBeforeOpen
		if p.Order != nil {
			must = lua.RoomIfEmpty // nobody has gathered, so nobody was told anything
		}
	case p.Order != nil:
		must = lua.RoomIfEmpty
	}
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	answer, err := lua.RoomConfigure(ctx, s.rdb, event, must, fields...)
	switch {
	case err != nil:
		return failed(caller, err)
	case answer == lua.RoomNotThere:
		return noRoom(event)
	case answer == lua.RoomRefused && must == lua.RoomIfEmpty:
		return fault.New(fault.Conflict, "people have gathered or wait in this room: its order cannot be changed any more")
	case answer == lua.RoomRefused:
		return fault.New(fault.Conflict, "the room has opened: when it opens, and the public source of its draw, cannot be changed any more")
	}
	return nil
}

// patched are the fields that a patch changes.
func patched(p waitroom.Patch) (fields []any) {
	add := func(name string, value any) { fields = append(fields, name, value) }
	whole := func(name string, v *int) {
		if v != nil {
			add(name, *v)
		}
	}
	span := func(name string, v *time.Duration) {
		if v != nil {
			add(name, v.Milliseconds())
		}
	}
	yes := func(name string, v *bool) {
		if v != nil {
			add(name, flag(*v))
		}
	}
	part := func(name string, v *float64) {
		if v != nil {
			add(name, int64(*v*share+0.5))
		}
	}
	moment := func(name string, v *time.Time) {
		if v != nil {
			add(name, ms(*v))
		}
	}
	whole("rate", p.Throttle.RatePerMinute)
	whole("burst", p.Throttle.Burst)
	whole("cap", p.Throttle.MaxShoppers)
	span("lease", p.Throttle.Lease)
	span("claim", p.Throttle.ClaimWindow)
	span("grace", p.Throttle.Grace)
	if p.Order != nil {
		add("order", string(*p.Order))
	}
	yes("invite_only", p.InviteOnly)
	yes("bypass", p.Bypass)
	if p.Challenge != nil {
		add("challenge", string(*p.Challenge))
	}
	if p.PublicSource != nil {
		add("public_source", *p.PublicSource)
	}
	moment("opens_at", p.OpensAt)
	moment("lobby_opens_at", p.LobbyOpensAt)
	moment("closes_at", p.ClosesAt)
	yes("auto_on", p.Autopilot.Enabled)
	whole("auto_min", p.Autopilot.MinRate)
	span("auto_p95", p.Autopilot.TargetP95)
	part("auto_errors", p.Autopilot.MaxErrorShare)
	part("auto_pool", p.Autopilot.MaxPoolShare)
	return fields
}
