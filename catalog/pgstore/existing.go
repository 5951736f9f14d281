package pgstore

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"onsale/catalog"
	"onsale/internal/fault"
)

// EventDocument is the event as the JSON document that creates such a one: with its
// plan inside, or by the plan's id. An unknown id is fault.NotFound.
func (s *Store) EventDocument(ctx context.Context, id string, withPlan bool) ([]byte, error) {
	if !catalog.IsID(id) {
		return nil, noSuchEvent(id)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var e catalog.Existing
	// One snapshot: names, prices and the room are those of one moment.
	err := pgx.BeginTxFunc(ctx, s.primary, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		e, err = existing(ctx, tx, id)
		return err
	})
	if err != nil {
		return nil, translate(ctx, err)
	}
	if !withPlan {
		e.Plan = nil
	}
	return e.Document()
}

// existing reads an event back as what it was made from, its plan included.
func existing(ctx context.Context, db querier, id string) (catalog.Existing, error) {
	event, err := eventByID(ctx, db, id)
	if err != nil {
		return catalog.Existing{}, err
	}
	e := catalog.NewEvent{
		ID: event.ID, Name: event.Name, Type: event.Type, Description: event.Description, Status: event.Status,
		StartsAt: event.StartsAt, DoorsAt: event.DoorsAt, Timezone: event.Timezone, Venue: event.Venue, Currency: event.Currency,
		Images: event.Images, MaxPerBuyer: event.MaxPerBuyer, SingleSeats: event.SingleSeats, Terms: event.Terms,
	}
	e.Venue.ID = ""
	for _, a := range event.Artists {
		e.Artists = append(e.Artists, a.Name)
	}
	var planID, planDoc, planVersion *string
	var offer *catalog.Offer
	err = db.QueryRow(ctx, `
select e.rotating_codes, e.offer, p.id, p.document::text, p.version
  from events e left join plans p on p.id = e.plan_id where e.id = @event::uuid`, pgx.NamedArgs{"event": id}).
		Scan(&e.RotatingCodes, &offer, &planID, &planDoc, &planVersion)
	if err != nil {
		return catalog.Existing{}, translate(ctx, err)
	}
	if planID != nil {
		e.PlanRef = *planID
		if e.Plan, _, err = catalog.ParsePlan([]byte(*planDoc)); err != nil {
			return catalog.Existing{}, err
		}
		e.Plan.Version = *planVersion // Postgres keeps the document with its keys in another order
	}
	if e.Room, err = roomSettings(ctx, db, id); err != nil {
		return catalog.Existing{}, err
	}
	if offer == nil {
		if offer, err = offerOfTiers(ctx, db, id, e.Plan); err != nil {
			return catalog.Existing{}, err
		}
	}
	return catalog.NewExisting(e, *offer, event.Tiers), nil
}

// roomSettings are those of now: operators change rooms.
func roomSettings(ctx context.Context, db querier, event string) (catalog.RoomSettings, error) {
	var r catalog.RoomSettings
	var lease, window, grace int
	err := db.QueryRow(ctx, `
select state, reason, message, opens_at, lobby_opens_at, closes_at, rate_per_minute, burst, max_shoppers, lease_s, claim_window_s, grace_s,
       queue_order, invite_only, challenge, public_source
  from rooms where event_id = @event::uuid`, pgx.NamedArgs{"event": event}).
		Scan(&r.State, &r.Reason, &r.Message, &r.OpensAt, &r.LobbyOpensAt, &r.ClosesAt, &r.RatePerMinute, &r.Burst, &r.MaxShoppers,
			&lease, &window, &grace, &r.Order, &r.InviteOnly, &r.Challenge, &r.PublicSource)
	if errors.Is(err, pgx.ErrNoRows) {
		return catalog.DefaultRoom(), nil
	}
	r.Lease, r.ClaimWindow, r.Grace = time.Duration(lease)*time.Second, time.Duration(window)*time.Second, time.Duration(grace)*time.Second
	return r, translate(ctx, err)
}

// offerOfTiers makes the offer of an event of before offers were kept. Where its
// areas were told to be is lost.
func offerOfTiers(ctx context.Context, db querier, event string, p *catalog.Plan) (*catalog.Offer, error) {
	rows, err := db.Query(ctx, `
select p.name, p.type, p.color, p.amount, p.tickets, s.kind = 'ga', s.name, t.row_name, t.seat_name
  from price_tiers p
  cross join lateral (select section_id, row_name, seat_name from tickets t
                       where t.event_id = p.event_id and t.tier_id = p.id order by t.ordinal limit 1) t
  join sections s on s.id = t.section_id
 where p.event_id = @event::uuid
 order by p.position`, pgx.NamedArgs{"event": event})
	if err != nil {
		return nil, translate(ctx, err)
	}
	offer, tier := &catalog.Offer{}, -1
	var name, kind, color, section, row, seat string
	var amount int64
	var tickets int
	var standing bool
	_, err = pgx.ForEachRow(rows, []any{&name, &kind, &color, &amount, &tickets, &standing, &section, &row, &seat}, func() error {
		tier++
		if standing {
			offer.Areas = append(offer.Areas, catalog.OfferedArea{StandingArea: catalog.StandingArea{
				Name: section, Capacity: tickets, Amount: amount, Type: kind, Color: color,
			}, Tier: tier})
			return nil
		}
		if p == nil {
			return fault.New(fault.Conflict, "the event has seats, but the plan that they are from is not kept, so its document cannot be written")
		}
		category, ok := p.CategoryOf(section, row, seat)
		if !ok {
			return fault.New(fault.Conflict, "the plan has no seat %q in row %q of %q any more, so the event's document cannot be written", seat, row, section)
		}
		offer.Prices = append(offer.Prices, catalog.OfferedPrice{Price: catalog.Price{
			Category: category, Name: name, Type: kind, Color: color, Amount: amount,
		}, Tier: tier})
		return nil
	})
	return offer, translate(ctx, err)
}
