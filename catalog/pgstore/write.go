package pgstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"onsale/catalog"
	"onsale/internal/fault"
)

// ImportPlan keeps a plan for later events and returns its id. The same document
// is kept once: isNew is false when it was there before.
func (s *Store) ImportPlan(ctx context.Context, p *catalog.Plan) (id string, isNew bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return importPlan(ctx, s.primary, p)
}

func importPlan(ctx context.Context, db querier, p *catalog.Plan) (id string, isNew bool, err error) {
	fresh, err := newID()
	if err != nil {
		return "", false, err
	}
	// The update that changes nothing makes the statement return the row that
	// was there before.
	err = db.QueryRow(ctx, `
insert into plans (id, name, version, seats, document)
values (@id::uuid, @name, @version, @seats, @document::jsonb)
on conflict (version) do update set version = excluded.version
returning id`, pgx.NamedArgs{
		"id": fresh, "name": p.Name, "version": p.Version, "seats": p.Seats, "document": string(p.Document),
	}).Scan(&id)
	return id, id == fresh, translate(ctx, err)
}

// plan finds an imported plan by its id or, if only one has it, its name.
func plan(ctx context.Context, db querier, ref string) (id string, p *catalog.Plan, err error) {
	rows, err := db.Query(ctx, `
select id, document::text from plans where id::text = lower(@ref) or name = @ref order by created_at, id limit 2`,
		pgx.NamedArgs{"ref": ref})
	if err != nil {
		return "", nil, translate(ctx, err)
	}
	type found struct{ ID, Document string }
	plans, err := pgx.CollectRows(rows, pgx.RowToStructByPos[found])
	switch {
	case err != nil:
		return "", nil, translate(ctx, err)
	case len(plans) == 0:
		return "", nil, badPlan("there is no imported plan with this id or name")
	case len(plans) > 1:
		return "", nil, badPlan("several imported plans have this name; the id says which")
	}
	p, _, err = catalog.ParsePlan([]byte(plans[0].Document))
	return plans[0].ID, p, err
}

func badPlan(message string) error {
	return fault.New(fault.Invalid, "the event: $.plan: %s", message).
		With("problems", []catalog.Problem{{Path: "$.plan", Message: message}})
}

// CreateEvent creates an event with its room and all its tickets in one
// transaction. A NewEvent that cannot be sold is fault.Invalid with all problems;
// an event of this name at this time in this venue, fault.Conflict.
func (s *Store) CreateEvent(ctx context.Context, e catalog.NewEvent) (catalog.Event, error) {
	if e.Dates != nil {
		return catalog.Event{}, fault.New(fault.Invalid, "the document has several dates, which make a series")
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var planID *string
	if e.Plan == nil && e.PlanRef != "" {
		id, p, err := plan(ctx, s.primary, e.PlanRef)
		if err != nil {
			return catalog.Event{}, err
		}
		planID, e.Plan = &id, p
	}
	l, view, err := compose(e)
	if err != nil {
		return catalog.Event{}, err
	}
	var created catalog.Event
	err = s.write(ctx, func(tx pgx.Tx) (err error) {
		created, err = s.insert(ctx, tx, e, l, view, planID)
		return err
	})
	if err != nil {
		return catalog.Event{}, translate(ctx, err)
	}
	return created, nil
}

// compose lays out an event with ids of ours.
func compose(e catalog.NewEvent) (*catalog.Layout, []byte, error) {
	var idErr error
	l, view, err := catalog.Compose(e, func() string {
		id, err := newID()
		idErr = errors.Join(idErr, err)
		return id
	})
	return l, view, errors.Join(err, idErr)
}

// insert writes an event that was laid out, and its plan unless that has an id already.
func (s *Store) insert(ctx context.Context, tx pgx.Tx, e catalog.NewEvent, l *catalog.Layout, view []byte, planID *string) (catalog.Event, error) {
	if planID == nil && e.Plan != nil {
		id, _, err := importPlan(ctx, tx, e.Plan)
		if err != nil {
			return catalog.Event{}, err
		}
		planID = &id
	}
	if err := insertEvent(ctx, tx, e.WithDefaults(), l, view, planID); err != nil {
		return catalog.Event{}, err
	}
	if err := copyTickets(ctx, tx, l, s.progress); err != nil {
		return catalog.Event{}, err
	}
	return eventByID(ctx, tx, l.Event)
}

func insertEvent(ctx context.Context, tx pgx.Tx, e catalog.NewEvent, l *catalog.Layout, view []byte, planID *string) error {
	ids := make([]string, 1+len(e.Artists))
	for i := range ids {
		var err error
		if ids[i], err = newID(); err != nil {
			return err
		}
	}
	var venue string
	err := tx.QueryRow(ctx, `
insert into venues as v (id, name, address, city, country, timezone)
values (@id::uuid, @name, @address, @city, @country, @timezone)
on conflict (name, city) do update
   set address = coalesce(nullif(excluded.address, ''), v.address),
       country = coalesce(nullif(excluded.country, ''), v.country)
returning id`, pgx.NamedArgs{
		"id": ids[0], "name": e.Venue.Name, "address": e.Venue.Address, "city": e.Venue.City,
		"country": e.Venue.Country, "timezone": e.Timezone,
	}).Scan(&venue)
	if err != nil {
		return translate(ctx, err)
	}
	_, err = tx.Exec(ctx, `
insert into events (id, venue_id, plan_id, name, type, description, starts_at, doors_at, status, currency, max_per_buyer, single_seats, rotating_codes, plan_view, offer,
                    fee_per_ticket, fee_per_order, tax_name, tax_rate, tax_included, cancel_until_h, cancel_keeps_fees, images)
values (@id::uuid, @venue::uuid, @plan::uuid, @name, @type, @description, @starts_at, @doors_at, @status, @currency,
        @max_per_buyer, @single_seats, @rotating_codes, @view::jsonb, @offer,
        @fee_per_ticket, @fee_per_order, @tax_name, @tax_rate, @tax_included, @cancel_until_h, @cancel_keeps_fees, @images)`, termsArgs(e.Terms, pgx.NamedArgs{
		"id": l.Event, "venue": venue, "plan": planID, "name": e.Name, "type": e.Type, "description": e.Description,
		"starts_at": e.StartsAt, "doors_at": e.DoorsAt, "status": e.Status, "currency": e.Currency,
		"max_per_buyer": e.MaxPerBuyer, "single_seats": e.SingleSeats, "rotating_codes": e.RotatingCodes, "view": string(view), "offer": l.Offer,
		"images": imagesArg(e.Images),
	}))
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.ConstraintName == "events_once" {
		return fault.New(fault.Conflict, "%q at %s in %s exists already; its seats cannot be put on sale twice",
			e.Name, e.StartsAt.UTC().Format(time.RFC3339), e.Venue.Name)
	} else if err != nil {
		return translate(ctx, err)
	}
	if err := insertArtists(ctx, tx, l.Event, e.Artists, ids[1:]); err != nil {
		return err
	}
	return insertParts(ctx, tx, e.Room, l)
}

// insertArtists goes by name, so that two events created at once never wait for
// each other's artists in a circle.
func insertArtists(ctx context.Context, tx pgx.Tx, event string, names, ids []string) error {
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if names[a] < names[b] {
			return -1
		}
		return 1
	})
	batch := &pgx.Batch{}
	for _, i := range order {
		batch.Queue(`
with artist as (
    insert into artists (id, name) values (@id::uuid, @name)
    on conflict (name) do update set name = excluded.name
    returning id)
insert into event_artists (event_id, artist_id, position) select @event::uuid, id, @position from artist`,
			pgx.NamedArgs{"id": ids[i], "name": names[i], "event": event, "position": i})
	}
	return translate(ctx, tx.SendBatch(ctx, batch).Close())
}

// insertParts writes sections, tiers and the room.
func insertParts(ctx context.Context, tx pgx.Tx, room catalog.RoomSettings, l *catalog.Layout) error {
	batch := &pgx.Batch{}
	run := 0
	for i, c := range l.Sections {
		kind := "seated"
		if c.GA {
			kind = "ga"
		}
		starts := []int32{}
		for ; run < len(l.Runs) && l.Runs[run].First < c.First+c.Count; run++ {
			starts = append(starts, int32(l.Runs[run].First))
		}
		batch.Queue(`
insert into sections (id, event_id, name, kind, position, first_ordinal, tickets, runs, entrance)
values (@id::uuid, @event::uuid, @name, @kind, @position, @first, @tickets, @runs, @entrance)`, pgx.NamedArgs{
			"id": c.ID, "event": l.Event, "name": c.Name, "kind": kind, "position": i,
			"first": c.First, "tickets": c.Count, "runs": starts, "entrance": c.Entrance,
		})
	}
	for i, t := range l.Tiers {
		batch.Queue(`
insert into price_tiers (id, event_id, name, type, color, amount, position, tickets)
values (@id::uuid, @event::uuid, @name, @type, @color, @amount, @position, @tickets)`, pgx.NamedArgs{
			"id": t.ID, "event": l.Event, "name": t.Name, "type": t.Type, "color": t.Color,
			"amount": t.Price.Amount, "position": i, "tickets": t.Total,
		})
	}
	batch.Queue(insertRoom, roomArgs(l.Event, room))
	return translate(ctx, tx.SendBatch(ctx, batch).Close())
}

// ProgressStep is after how many tickets progress is told.
const ProgressStep = 10_000

// OnProgress has f told how many tickets of a new event are written. It is to be
// called before the store is used.
func (s *Store) OnProgress(f func(written, total int)) { s.progress = f }

// copyTickets streams the tickets in.
func copyTickets(ctx context.Context, tx pgx.Tx, l *catalog.Layout, progress func(written, total int)) error {
	event, err := uuid.Parse(l.Event)
	if err != nil {
		return err
	}
	sections := make([]uuid.UUID, len(l.Sections))
	for i := range sections {
		if sections[i], err = uuid.Parse(l.Sections[i].ID); err != nil {
			return err
		}
	}
	tiers := make([]uuid.UUID, len(l.Tiers))
	for i := range tiers {
		if tiers[i], err = uuid.Parse(l.Tiers[i].ID); err != nil {
			return err
		}
	}
	columns := []string{"id", "event_id", "ordinal", "section_id", "tier_id", "row_name", "seat_name", "type", "price_amount", "attributes"}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"tickets"}, columns, pgx.CopyFromSlice(len(l.Seats), func(i int) ([]any, error) {
		if progress != nil && i > 0 && i%ProgressStep == 0 {
			progress(i, len(l.Seats))
		}
		s := &l.Seats[i]
		id, err := uuid.Parse(s.ID)
		return []any{
			id, event, int32(i), sections[s.Section], tiers[s.Tier], s.Row, s.Name, s.Type, l.Tiers[s.Tier].Price.Amount, int16(s.Attributes),
		}, err
	}))
	return translate(ctx, err)
}

// UpdateEvent changes what is given. An unknown id is fault.NotFound, a change
// that cannot be is fault.Invalid or fault.Conflict. told is how many e-mails say that a
// public event takes place at another time.
func (s *Store) UpdateEvent(ctx context.Context, id string, p catalog.EventPatch) (e catalog.Event, told int, err error) {
	if !catalog.IsID(id) {
		return e, 0, noSuchEvent(id)
	}
	if err := p.Check(); err != nil {
		return e, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err = s.write(ctx, func(tx pgx.Tx) error {
		was, err := slotNow(ctx, tx, id)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
update events
   set name = coalesce(@name, name), status = coalesce(@status, status),
       description = coalesce(@description, description), starts_at = coalesce(@starts_at, starts_at),
       doors_at = coalesce(@doors_at, doors_at), max_per_buyer = coalesce(@max_per_buyer, max_per_buyer),
       single_seats = coalesce(@single_seats, single_seats), rotating_codes = coalesce(@rotating_codes, rotating_codes), images = coalesce(@images::jsonb, images), `+patchTerms+`
 where id = @id::uuid`, termsPatchArgs(p, pgx.NamedArgs{
			"id": id, "name": p.Name, "status": p.Status, "description": p.Description,
			"starts_at": p.StartsAt, "doors_at": p.DoorsAt, "max_per_buyer": p.MaxPerBuyer,
			"single_seats": p.SingleSeats, "rotating_codes": p.RotatingCodes, "images": p.Images,
		}))
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.ConstraintName == "events_once" {
			return fault.New(fault.Conflict, "another event in this venue has this name and start")
		} else if err != nil {
			return over(ctx, err)
		}
		if e, err = eventByID(ctx, tx, id); err != nil {
			return err
		}
		if e.DoorsAt != nil && e.DoorsAt.After(e.StartsAt) {
			return fault.New(fault.Invalid, "doors_at would be after starts_at")
		}
		if was.movesTo(slotOf(e.Status, e.StartsAt, e.DoorsAt)) && !p.Quiet {
			told, err = s.tell(ctx, tx, id, was)
		}
		return err
	})
	if err != nil {
		return catalog.Event{}, 0, translate(ctx, err)
	}
	return e, told, nil
}

func newID() (string, error) {
	id, err := uuid.NewV7()
	return id.String(), err
}
