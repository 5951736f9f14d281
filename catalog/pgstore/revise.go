package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"onsale/catalog"
	"onsale/internal/fault"
)

// Revising is catalog.Revising.
type Revising = catalog.Revising

// FindEvent finds the event that a document is of: by its id, else by venue, start
// and name. ok is false when there is none; an unknown id is fault.NotFound.
func (s *Store) FindEvent(ctx context.Context, doc catalog.NewEvent) (id string, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if doc.ID != "" {
		e, err := eventByID(ctx, s.primary, doc.ID)
		if fault.Is(err, fault.NotFound) {
			err = fault.New(fault.NotFound, "$.id: there is no event with this id; without this line, the document creates one")
		}
		return e.ID, err == nil, err
	}
	err = s.primary.QueryRow(ctx, `
select e.id from events e join venues v on v.id = e.venue_id
 where v.name = @venue and v.city = @city and e.starts_at = @starts_at and e.name = @name`, pgx.NamedArgs{
		"venue": doc.Venue.Name, "city": doc.Venue.City, "starts_at": doc.StartsAt, "name": doc.Name,
	}).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", false, nil
	}
	return id, err == nil, translate(ctx, err)
}

// ReviseEvent makes an event what its document says, all of it or nothing, in one
// transaction, and records it in the audit log. What cannot be changed is
// fault.Invalid with all places, a price that may not change yet fault.Conflict.
func (s *Store) ReviseEvent(ctx context.Context, id string, doc catalog.NewEvent, how Revising) (catalog.Revision, error) {
	if !catalog.IsID(id) {
		return catalog.Revision{}, noSuchEvent(id)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if doc.Plan == nil && doc.PlanRef != "" {
		var err error
		if _, doc.Plan, err = plan(ctx, s.primary, doc.PlanRef); err != nil {
			return catalog.Revision{}, err
		}
	}
	var r catalog.Revision
	err := s.write(ctx, func(tx pgx.Tx) (err error) {
		r, err = s.reviseIn(ctx, tx, id, doc, how)
		return err
	})
	return r, translate(ctx, err)
}

// over makes a fault of a status that what is over cannot have.
func over(ctx context.Context, err error) error {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.ConstraintName == "events_over" {
		return fault.New(fault.Conflict, "an event that was cancelled or has ended stays so")
	}
	return translate(ctx, err)
}

func (s *Store) reviseIn(ctx context.Context, tx pgx.Tx, id string, doc catalog.NewEvent, how Revising) (catalog.Revision, error) {
	// Revisions of one event come after each other.
	var status string
	var offSale *time.Time
	var holdsOver bool
	err := tx.QueryRow(ctx, `
select status, off_sale_at, coalesce(off_sale_at + @hold::interval < clock_timestamp(), status <> 'on_sale') from events where id = @event::uuid for update`,
		pgx.NamedArgs{"event": id, "hold": how.HoldsLast}).Scan(&status, &offSale, &holdsOver)
	if errors.Is(err, pgx.ErrNoRows) {
		return catalog.Revision{}, noSuchEvent(id)
	} else if err != nil {
		return catalog.Revision{}, translate(ctx, err)
	}
	now, err := existing(ctx, tx, id)
	if err != nil {
		return catalog.Revision{}, err
	}
	if how.Edit != nil {
		if doc, err = how.Edit(now); err != nil {
			return catalog.Revision{}, err
		}
	}
	if how.RoomsToo {
		doc = doc.Without("room")
	}
	r, err := catalog.Revise(now, doc)
	if err != nil {
		return r, err
	}
	sale := saleState{status, offSale, holdsOver, how.HoldsLast}
	if len(r.Priced) > 0 {
		if err := mayPrice(ctx, tx, r, sale); err != nil {
			return r, err
		}
	}
	if len(r.Access) > 0 {
		if err := mayKeep(ctx, tx, &r, sale); err != nil {
			return r, err
		}
	}
	if how.DryRun || len(r.Changes) == 0 {
		return r, nil
	}
	was, is := slotOf(now.Status, now.StartsAt, now.DoorsAt), slotOf(r.Event.Status, r.Event.StartsAt, r.Event.DoorsAt)
	if err := revise(ctx, tx, id, r); err != nil {
		return r, err
	}
	if was.movesTo(is) && !how.Quiet {
		if r.Told, err = s.tell(ctx, tx, id, was); err != nil {
			return r, err
		}
	}
	return r, noteRevision(ctx, tx, id, r, how.Actor)
}

// saleState is whether anybody may be buying: pages and holds show an event as it is.
type saleState struct {
	status    string
	offSale   *time.Time // since when it is not on sale any more
	holdsOver bool       // those that were made before
	last      time.Duration
}

// over refuses a change while somebody may be buying. what changes is as now.
func (s saleState) over(what, now string) error {
	if s.status == "on_sale" {
		return fault.New(fault.Conflict, "%s cannot change while the event is on sale: tickets may be on hold %s. "+
			"Make it a draft or postpone it first, and change them %s later", what, now, s.last)
	}
	if !s.holdsOver {
		return fault.New(fault.Conflict, "%s cannot change before %s: the event was on sale until %s, and tickets may still be on hold %s",
			what, s.offSale.Add(s.last).UTC().Format(time.RFC3339), s.offSale.UTC().Format(time.RFC3339), now)
	}
	return nil
}

// mayPrice refuses another price while somebody may be buying at the one of now.
func mayPrice(ctx context.Context, tx pgx.Tx, r catalog.Revision, sale saleState) error {
	if err := sale.over("prices", "at the prices of now"); err != nil {
		return err
	}
	tiers := make([]string, len(r.Priced))
	for i, t := range r.Priced {
		tiers[i] = r.Event.Tiers[t].ID
	}
	var claimed int
	err := tx.QueryRow(ctx, `
select count(*) from tickets where event_id = @event::uuid and tier_id = any(@tiers::uuid[]) and status = 'reserved'`,
		pgx.NamedArgs{"event": r.Event.ID, "tiers": tiers}).Scan(&claimed)
	if err != nil {
		return translate(ctx, err)
	}
	if claimed > 0 {
		return fault.New(fault.Conflict, "prices cannot change yet: %d tickets are in orders that wait for their payment at the prices of now", claimed)
	}
	return nil
}

func revise(ctx context.Context, tx pgx.Tx, id string, r catalog.Revision) error {
	e := r.Event
	var planID *string // nil: the event keeps its plan
	if r.Plan != nil {
		id, _, err := importPlan(ctx, tx, r.Plan)
		if err != nil {
			return err
		}
		planID = &id
	}
	_, err := tx.Exec(ctx, `
update events
   set name = @name, type = @type, description = @description, status = @status, starts_at = @starts_at, doors_at = @doors_at,
       max_per_buyer = @max_per_buyer, single_seats = @single_seats, rotating_codes = @rotating_codes, offer = @offer,
       fee_per_ticket = @fee_per_ticket, fee_per_order = @fee_per_order, tax_name = @tax_name, tax_rate = @tax_rate,
       tax_included = @tax_included, cancel_until_h = @cancel_until_h, cancel_keeps_fees = @cancel_keeps_fees, images = @images,
       plan_id = coalesce(@plan::uuid, plan_id)
 where id = @id::uuid`, termsArgs(e.Terms, pgx.NamedArgs{
		"id": id, "name": e.Name, "type": e.Type, "description": e.Description, "status": e.Status,
		"starts_at": e.StartsAt, "doors_at": e.DoorsAt, "max_per_buyer": e.MaxPerBuyer, "single_seats": e.SingleSeats,
		"rotating_codes": e.RotatingCodes, "offer": e.Offer, "images": imagesArg(e.Images), "plan": planID,
	}))
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.ConstraintName == "events_once" {
		return fault.New(fault.Conflict, "another event in this venue has this name and start")
	} else if err != nil {
		return over(ctx, err)
	}
	if _, err := tx.Exec(ctx, `
update venues v set address = @address, country = @country
  from events e where e.id = @id::uuid and v.id = e.venue_id and (v.address, v.country) is distinct from (@address, @country)`, pgx.NamedArgs{
		"id": id, "address": e.Venue.Address, "country": e.Venue.Country,
	}); err != nil {
		return translate(ctx, err)
	}
	if r.Artists {
		if err := replaceArtists(ctx, tx, id, e.Artists); err != nil {
			return err
		}
	}
	if len(r.Tiers)+len(r.Priced) > 0 {
		if err := reviseTiers(ctx, tx, id, r); err != nil {
			return err
		}
	}
	if len(r.Entrances)+len(r.Marks) > 0 {
		if err := revisePlaces(ctx, tx, id, r); err != nil {
			return err
		}
	}
	return nil
}

// noteRevision records it in the audit log.
func noteRevision(ctx context.Context, tx pgx.Tx, id string, r catalog.Revision, actor string) error {
	detail, err := json.Marshal(struct {
		Changes []catalog.Difference `json:"changes"`
		Told    int                  `json:"told,omitempty"`
	}{r.Changes, r.Told})
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into audit_log (actor, action, subject, detail) values (@actor, 'event.revise', @event, @detail)`,
		pgx.NamedArgs{"actor": actor, "event": id, "detail": json.RawMessage(detail)})
	return translate(ctx, err)
}

func replaceArtists(ctx context.Context, tx pgx.Tx, id string, names []string) error {
	if _, err := tx.Exec(ctx, `delete from event_artists where event_id = @event::uuid`, pgx.NamedArgs{"event": id}); err != nil {
		return translate(ctx, err)
	}
	ids := make([]string, len(names))
	for i := range ids {
		var err error
		if ids[i], err = newID(); err != nil {
			return err
		}
	}
	return insertArtists(ctx, tx, id, names, ids)
}

// reviseTiers writes the tiers, the list prices of their tickets and the drawn
// plan, which shows both. What buyers paid stands with their orders.
func reviseTiers(ctx context.Context, tx pgx.Tx, id string, r catalog.Revision) error {
	batch := &pgx.Batch{}
	for _, t := range r.Event.Tiers {
		batch.Queue(`
update price_tiers set name = @name, color = @color, amount = @amount
 where id = @id::uuid and (name, color, amount) is distinct from (@name, @color, @amount)`,
			pgx.NamedArgs{"id": t.ID, "name": t.Name, "color": t.Color, "amount": t.Price.Amount})
	}
	for _, i := range r.Priced {
		t := r.Event.Tiers[i]
		batch.Queue(`update tickets set price_amount = @amount where event_id = @event::uuid and tier_id = @tier::uuid`,
			pgx.NamedArgs{"event": id, "tier": t.ID, "amount": t.Price.Amount})
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return translate(ctx, err)
	}
	var view []byte
	if err := tx.QueryRow(ctx, `select plan_view::text from events where id = @id::uuid`, pgx.NamedArgs{"id": id}).Scan(&view); err != nil {
		return translate(ctx, err)
	}
	view, _, err := catalog.WithTiers(view, r.Event.Tiers)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `update events set plan_view = @view::jsonb where id = @id::uuid`, pgx.NamedArgs{"id": id, "view": string(view)})
	return translate(ctx, err)
}

// LookUpPlan is doc with the plan that it names.
func (s *Store) LookUpPlan(ctx context.Context, doc catalog.NewEvent) (catalog.NewEvent, error) {
	if doc.Plan != nil || doc.PlanRef == "" {
		return doc, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var err error
	_, doc.Plan, err = plan(ctx, s.primary, doc.PlanRef)
	return doc, err
}
