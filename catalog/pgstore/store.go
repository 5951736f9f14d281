package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"onsale/catalog"
	"onsale/internal/fault"
)

// Deadlines of single calls.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 60 * time.Second // an event with a quarter of a million tickets
)

// Store is the catalog in Postgres.
type Store struct {
	primary *pgxpool.Pool
	replica *Replica // nil: there is none

	progress func(written, total int) // may be nil
	dated    func(done, total int)    // may be nil
	moved    tellMove                 // nil: nobody is told
}

var _ catalog.Store = (*Store)(nil)

// New returns a store that writes to primary and reads what never changes, or
// may be a moment old, from replica. A nil replica means the primary.
func New(primary *pgxpool.Pool, replica *Replica) *Store {
	return &Store{primary: primary, replica: replica}
}

// read runs f on the replica while it keeps up, and on the primary when it does not,
// fails, or does not have what is asked for yet.
func (s *Store) read(ctx context.Context, f func(context.Context, *pgxpool.Pool) error) error {
	attempt := func(db *pgxpool.Pool) error {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		return f(ctx, db)
	}
	if s.replica == nil {
		return attempt(s.primary)
	}
	if !s.replica.reads(ctx) {
		err := attempt(s.primary)
		if fault.Is(err, fault.Unavailable) && ctx.Err() == nil && s.replica.readsNow(ctx) {
			return attempt(s.replica.db)
		}
		return err
	}
	err := attempt(s.replica.db)
	if (fault.Is(err, fault.NotFound) || fault.Is(err, fault.Unavailable)) && ctx.Err() == nil {
		return attempt(s.primary)
	}
	return err
}

// write runs f in a transaction of the primary. What it wrote is what this node reads
// next.
func (s *Store) write(ctx context.Context, f func(tx pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, s.primary, f)
	if err == nil && s.replica != nil {
		s.replica.written(ctx)
	}
	return err
}

// translate turns a driver's error into a fault: a database that does not answer
// is fault.Unavailable, a statement it refuses is a bug and stays what it is.
// A caller that went away is told so.
func translate(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		// The driver cuts the connection, and may say that first.
		return fmt.Errorf("%w: %w", context.Canceled, err)
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code[:min(2, len(e.Code))] {
		case "08", "53", "57", "58", "40", "25", "XX": // connection, resources, shutdown, rollback, read-only
		default:
			return fmt.Errorf("catalog: %w", err)
		}
	}
	return fault.Down(err, "the catalog")
}

func noSuchEvent(id string) error {
	return fault.New(fault.NotFound, "there is no event with the id %q", strings.ToValidUTF8(id[:min(len(id), 64)], ""))
}

// eventColumns are all of an event e in the venue v but its tickets.
const eventColumns = `
       e.id, e.name, e.type, e.description, e.starts_at, e.doors_at, e.status, e.currency, e.max_per_buyer, e.single_seats, e.images, e.layout_revision, ` + selectTerms + `,
       v.id, v.name, v.address, v.city, v.country, v.timezone,
       (select coalesce(json_agg(json_build_object('id', a.id, 'name', a.name) order by ea.position), '[]')
          from event_artists ea join artists a on a.id = ea.artist_id where ea.event_id = e.id),
       (select coalesce(json_agg(json_build_object('id', t.id, 'name', t.name, 'type', t.type, 'color', t.color,
                  'price', json_build_object('amount', t.amount, 'currency', e.currency),
                  'total', t.tickets) order by t.position), '[]')
          from price_tiers t where t.event_id = e.id),
       (select json_build_object('id', s.id, 'name', s.name) from series s where s.id = e.series_id),
       greatest(e.updated_at, v.updated_at), e.sequence + v.sequence`

func scanEvent(row pgx.CollectableRow) (catalog.Event, error) { return scanEventAnd(row) }

// scanEventAnd reads an event and the columns after it.
func scanEventAnd(row pgx.CollectableRow, more ...any) (catalog.Event, error) {
	var e catalog.Event
	var terms termsRow
	into := []any{&e.ID, &e.Name, &e.Type, &e.Description, &e.StartsAt, &e.DoorsAt, &e.Status, &e.Currency, &e.MaxPerBuyer, &e.SingleSeats, &e.Images, &e.LayoutRevision}
	into = append(into, terms.into()...)
	into = append(into, &e.Venue.ID, &e.Venue.Name, &e.Venue.Address, &e.Venue.City, &e.Venue.Country, &e.Timezone, &e.Artists, &e.Tiers,
		&e.Series, &e.UpdatedAt, &e.Sequence)
	err := row.Scan(append(into, more...)...)
	e.Terms = terms.terms()
	e.StartsAt, e.UpdatedAt = e.StartsAt.UTC(), e.UpdatedAt.UTC()
	if e.DoorsAt != nil {
		t := e.DoorsAt.UTC()
		e.DoorsAt = &t
	}
	for _, t := range e.Tiers {
		e.Tickets += t.Total
	}
	return e, err
}

// Event finds one event, drafts included. Any other id is fault.NotFound.
func (s *Store) Event(ctx context.Context, id string) (catalog.Event, error) {
	if !catalog.IsID(id) {
		return catalog.Event{}, noSuchEvent(id)
	}
	var e catalog.Event
	err := s.read(ctx, func(ctx context.Context, db *pgxpool.Pool) (err error) {
		e, err = eventByID(ctx, db, id)
		return err
	})
	return e, err
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func eventByID(ctx context.Context, db querier, id string) (catalog.Event, error) {
	rows, err := db.Query(ctx, `select `+eventColumns+`
  from events e join venues v on v.id = e.venue_id where e.id = @id::uuid`, pgx.NamedArgs{"id": id})
	if err != nil {
		return catalog.Event{}, translate(ctx, err)
	}
	e, err := pgx.CollectExactlyOneRow(rows, scanEvent)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, noSuchEvent(id)
	}
	return e, translate(ctx, err)
}

// PlanView is the drawn plan of an event as JSON, and its version.
func (s *Store) PlanView(ctx context.Context, id string) (doc []byte, version string, err error) {
	if !catalog.IsID(id) {
		return nil, "", noSuchEvent(id)
	}
	err = s.read(ctx, func(ctx context.Context, db *pgxpool.Pool) error {
		err := db.QueryRow(ctx, `select plan_view::text, plan_view ->> 'version' from events where id = @id::uuid`,
			pgx.NamedArgs{"id": id}).Scan(&doc, &version)
		if errors.Is(err, pgx.ErrNoRows) {
			return noSuchEvent(id)
		}
		return translate(ctx, err)
	})
	if err != nil {
		return nil, "", err
	}
	return doc, version, nil
}

// Tickets is a page of tickets with their status at this moment, from the
// primary. A reservation that ran out counts as available, as it does for the
// next buyer.
func (s *Store) Tickets(ctx context.Context, q catalog.TicketQuery) (catalog.TicketPage, error) {
	if err := q.Check(); err != nil {
		return catalog.TicketPage{}, err
	}
	if !catalog.IsID(q.Event) {
		return catalog.TicketPage{}, noSuchEvent(q.Event)
	}
	after := -1
	if q.Cursor != "" {
		var err error
		if after, err = catalog.ParseTicketCursor(q.Cursor); err != nil {
			return catalog.TicketPage{}, err
		}
	}
	attribute, _ := catalog.ParseAttribute(q.Attribute) // Check knows it
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.primary.Query(ctx, `
select id, ordinal, section, row_name, seat_name, type, tier, price_amount, currency, attributes, entrance, status from (
    select t.id, t.ordinal, s.name as section, t.row_name, t.seat_name, t.type, p.name as tier, t.price_amount, e.currency, t.attributes, s.entrance,
           case when t.status = 'reserved' and t.reserved_until <= now() then 'available' else t.status end as status
      from tickets t
      join sections s on s.id = t.section_id
      join price_tiers p on p.id = t.tier_id
      join events e on e.id = t.event_id
     where t.event_id = @event::uuid and t.ordinal > @after
       and (@section = '' or s.name = @section or s.id::text = @section)
       and (@tier = '' or p.name = @tier or p.id::text = @tier)
       and t.attributes & @attributes::int = @attributes::int) all_of_them
 where (@status = '' or status = @status)
 order by ordinal
 limit @limit`, pgx.NamedArgs{
		"event": q.Event, "after": after, "section": q.Section, "tier": q.Tier, "status": q.Status, "limit": q.Limit + 1,
		"attributes": int(attribute),
	})
	if err != nil {
		return catalog.TicketPage{}, translate(ctx, err)
	}
	page := catalog.TicketPage{}
	page.Tickets, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t catalog.Ticket, err error) {
		var attributes int16
		err = row.Scan(&t.ID, &t.Ordinal, &t.Section, &t.Row, &t.Seat, &t.Type, &t.Tier,
			&t.Price.Amount, &t.Price.Currency, &attributes, &t.Entrance, &t.Status)
		t.Attributes = catalog.Attributes(attributes)
		return t, err
	})
	if err != nil {
		return catalog.TicketPage{}, translate(ctx, err)
	}
	if len(page.Tickets) == 0 {
		if _, err := eventByID(ctx, s.primary, q.Event); err != nil {
			return catalog.TicketPage{}, err
		}
	}
	if len(page.Tickets) > q.Limit {
		page.Tickets = page.Tickets[:q.Limit]
		page.Next = catalog.TicketCursor(page.Tickets[q.Limit-1].Ordinal)
	}
	return page, nil
}
