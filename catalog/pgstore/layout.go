package pgstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onsale/catalog"
)

// Layout loads all tickets of an event once. Any other id is fault.NotFound.
func (s *Store) Layout(ctx context.Context, id string) (*catalog.Layout, error) {
	if !catalog.IsID(id) {
		return nil, noSuchEvent(id)
	}
	var l *catalog.Layout
	err := s.read(ctx, func(ctx context.Context, db *pgxpool.Pool) (err error) {
		l, err = layout(ctx, db, id)
		return err
	})
	return l, err
}

func layout(ctx context.Context, db *pgxpool.Pool, id string) (*catalog.Layout, error) {
	l := &catalog.Layout{Event: id}
	args := pgx.NamedArgs{"event": id}
	var terms termsRow
	err := db.QueryRow(ctx, `select e.name, e.status, e.currency, e.max_per_buyer, e.single_seats, e.layout_revision, `+selectTerms+` from events e where e.id = @event::uuid`, args).
		Scan(append([]any{&l.EventName, &l.Status, &l.Currency, &l.MaxPerBuyer, &l.SingleSeats, &l.Revision}, terms.into()...)...)
	l.Terms = terms.terms()
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, noSuchEvent(id)
	} else if err != nil {
		return nil, translate(ctx, err)
	}

	rows, err := db.Query(ctx, `
select id, name, type, color, amount, tickets from price_tiers where event_id = @event::uuid order by position`, args)
	if err != nil {
		return nil, translate(ctx, err)
	}
	tierIndex := make(map[uuid.UUID]int)
	l.Tiers, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t catalog.Tier, err error) {
		var key uuid.UUID
		err = row.Scan(&key, &t.Name, &t.Type, &t.Color, &t.Price.Amount, &t.Total)
		t.ID, t.Price.Currency = key.String(), l.Currency
		tierIndex[key] = len(tierIndex)
		return t, err
	})
	if err != nil {
		return nil, translate(ctx, err)
	}

	rows, err = db.Query(ctx, `
select id, name, kind = 'ga', first_ordinal, tickets, runs, entrance from sections where event_id = @event::uuid order by position`, args)
	if err != nil {
		return nil, translate(ctx, err)
	}
	sectionIndex := make(map[uuid.UUID]int)
	total := 0
	l.Sections, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c catalog.Section, err error) {
		var key uuid.UUID
		var starts []int32
		err = row.Scan(&key, &c.Name, &c.GA, &c.First, &c.Count, &starts, &c.Entrance)
		c.ID = key.String()
		sectionIndex[key] = len(sectionIndex)
		total += c.Count
		for i, start := range starts {
			end := c.First + c.Count
			if i+1 < len(starts) {
				end = int(starts[i+1])
			}
			l.Runs = append(l.Runs, catalog.Run{First: int(start), Count: end - int(start), GA: c.GA})
		}
		return c, err
	})
	if err != nil {
		return nil, translate(ctx, err)
	}

	if err := seats(ctx, db, l, total, sectionIndex, tierIndex); err != nil {
		return nil, err
	}
	for i := range l.Runs {
		if first := l.Runs[i].First; first < 0 || first >= len(l.Seats) {
			return nil, fmt.Errorf("catalog: event %s: a run starts at %d of %d tickets", id, first, len(l.Seats))
		}
	}
	l.Index()
	return l, nil
}

func seats(ctx context.Context, db *pgxpool.Pool, l *catalog.Layout, total int, sections, tiers map[uuid.UUID]int) error {
	rows, err := db.Query(ctx, `
select id, ordinal, section_id, tier_id, row_name, seat_name, type, attributes
  from tickets where event_id = @event::uuid order by ordinal`, pgx.NamedArgs{"event": l.Event})
	if err != nil {
		return translate(ctx, err)
	}
	defer rows.Close()
	// A house has few distinct row names, seat numbers and types, each of them
	// thousands of times.
	known := make(map[string]string)
	intern := func(s string) string {
		if k, ok := known[s]; ok {
			return k
		}
		known[s] = s
		return s
	}
	l.Seats = make([]catalog.Seat, 0, total)
	var ticket, section, tier uuid.UUID
	var ordinal int
	var row, seat, kind string
	var attributes int16
	for rows.Next() {
		if err := rows.Scan(&ticket, &ordinal, &section, &tier, &row, &seat, &kind, &attributes); err != nil {
			return translate(ctx, err)
		}
		if ordinal != len(l.Seats) {
			return fmt.Errorf("catalog: event %s: ordinal %d stands where %d is expected", l.Event, ordinal, len(l.Seats))
		}
		l.Seats = append(l.Seats, catalog.Seat{
			ID: ticket.String(), Section: sections[section], Tier: tiers[tier],
			Row: intern(row), Name: intern(seat), Type: intern(kind),
			Attributes: catalog.Attributes(attributes),
		})
	}
	if err := rows.Err(); err != nil {
		return translate(ctx, err)
	}
	if len(l.Seats) != total {
		return fmt.Errorf("catalog: event %s: %d tickets, but its sections have %d", l.Event, len(l.Seats), total)
	}
	return nil
}
