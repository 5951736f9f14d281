package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onsale/catalog"
	"onsale/internal/fault"
)

// seriesTimeout is for a million tickets, and a transaction that holds them all.
const seriesTimeout = 10 * time.Minute

// ImportedSeries is catalog.ImportedSeries.
type ImportedSeries = catalog.ImportedSeries

// ImportedDate is catalog.ImportedDate.
type ImportedDate = catalog.ImportedDate

// OnDates has f told how many dates of a series are done. It is to be called before
// the store is used.
func (s *Store) OnDates(f func(done, total int)) { s.dated = f }

// CreateSeries creates an event for each date of a document, in one transaction. What
// cannot be sold is fault.Invalid, a date that is there already fault.Conflict.
func (s *Store) CreateSeries(ctx context.Context, doc catalog.NewEvent) (catalog.Series, error) {
	if doc.Dates == nil || len(doc.Dates.All) == 0 {
		return catalog.Series{}, fault.New(fault.Invalid, "the document has no dates, which make a series")
	}
	if doc.Dates.Series != "" {
		return catalog.Series{}, fault.New(fault.Invalid, "$.id: a new series is given its id; without this line it is created")
	}
	work, err := s.importSeries(ctx, seriesImport{doc: doc, fresh: true})
	return work.created, err
}

// ImportSeries makes a series what its document says: dates that are there are
// revised as ReviseEvent does, dates that are missing are created, and dates that the
// document does not have stay, with a note. All of it or nothing, in one transaction.
// The series is that with the document's id, else that which has one of the dates.
func (s *Store) ImportSeries(ctx context.Context, doc catalog.NewEvent, how Revising) (ImportedSeries, error) {
	work, err := s.importSeries(ctx, seriesImport{doc: doc, how: how})
	return work.done, err
}

func (s *Store) importSeries(ctx context.Context, work seriesImport) (seriesImport, error) {
	ctx, cancel := context.WithTimeout(ctx, seriesTimeout)
	defer cancel()
	work.store = s
	if work.doc.Plan == nil && work.doc.PlanRef != "" {
		id, p, err := plan(ctx, s.primary, work.doc.PlanRef)
		if err != nil {
			return work, err
		}
		work.planID, work.doc.Plan = &id, p
	}
	err := s.write(ctx, func(tx pgx.Tx) error { return work.run(ctx, tx) })
	return work, translate(ctx, err)
}

// seriesImport is the work of one import.
type seriesImport struct {
	store  *Store
	doc    catalog.NewEvent
	how    Revising
	fresh  bool // nothing may be there before
	planID *string
	had    []hadDate

	done    ImportedSeries
	created catalog.Series // of a fresh one
}

// hadDate is an event that was there before.
type hadDate struct {
	id       string
	series   *string
	startsAt time.Time
	taken    bool // by a date of the document
}

func (w *seriesImport) run(ctx context.Context, tx pgx.Tx) error {
	if !w.fresh {
		if err := w.find(ctx, tx); err != nil {
			return err
		}
	}
	w.done.IsNew = w.done.Series.ID == ""
	dates := w.doc.Performances()
	matches := w.match(dates)
	if err := w.bounded(matches); err != nil {
		return err
	}
	for i, one := range dates {
		date := ImportedDate{StartsAt: one.StartsAt, IsNew: matches[i] == nil}
		var err error
		if date.IsNew {
			err = w.create(ctx, tx, one, &date, i, matches)
		} else {
			date.ID, date.Joined = matches[i].id, matches[i].series == nil
			date.Revision, err = w.store.reviseIn(ctx, tx, date.ID, one, w.how)
		}
		if err != nil {
			return catalog.OfDate(err, one)
		}
		w.done.Dates = append(w.done.Dates, date)
		if w.store.dated != nil {
			w.store.dated(i+1, len(dates))
		}
	}
	for _, h := range w.had {
		if !h.taken {
			w.done.Notes = append(w.done.Notes, fmt.Sprintf("%s (%s) is not in the document and stays: what has tickets is cancelled, not removed",
				h.startsAt.In(w.doc.Zone()).Format(time.RFC3339), h.id))
		}
	}
	err := w.write(ctx, tx)
	if err == nil && w.fresh {
		w.created, err = series(ctx, tx, w.done.Series.ID)
	}
	return err
}

// find looks for the series and for events that are its dates, and locks the series.
func (w *seriesImport) find(ctx context.Context, tx pgx.Tx) error {
	starts, ids := make([]time.Time, 0, len(w.doc.Dates.All)), []string{}
	for _, d := range w.doc.Dates.All {
		starts = append(starts, d.StartsAt)
		if d.Event != "" {
			ids = append(ids, d.Event)
		}
	}
	args := pgx.NamedArgs{"ids": ids, "venue": w.doc.Venue.Name, "city": w.doc.Venue.City, "name": w.doc.Name, "starts": starts}
	const candidates = `
select e.id from events e where e.id = any (@ids::uuid[])
 union
select e.id from events e join venues v on v.id = e.venue_id
 where v.name = @venue and v.city = @city and e.name = @name and e.starts_at = any (@starts::timestamptz[])`
	w.done.Series.ID = w.doc.Dates.Series
	if w.done.Series.ID == "" {
		rows, err := tx.Query(ctx, `select distinct series_id::text from events where series_id is not null and id in (`+candidates+`)`, args)
		if err != nil {
			return translate(ctx, err)
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		switch {
		case err != nil:
			return translate(ctx, err)
		case len(all) > 1:
			return fault.New(fault.Conflict, "the dates belong to %d series already; the id says which is meant, and its document has only its dates", len(all))
		case len(all) == 1:
			w.done.Series.ID = all[0]
		}
	}
	if w.done.Series.ID != "" {
		err := tx.QueryRow(ctx, `select name from series where id = @id::uuid for update`, pgx.NamedArgs{"id": w.done.Series.ID}).Scan(&w.done.Series.Name)
		if errors.Is(err, pgx.ErrNoRows) {
			return fault.New(fault.NotFound, "$.id: there is no series with this id; without this line, the document creates one")
		} else if err != nil {
			return translate(ctx, err)
		}
	}
	args["series"] = w.done.Series.ID
	rows, err := tx.Query(ctx, `
select id::text, series_id::text, starts_at from events
 where series_id = nullif(@series, '')::uuid or id in (`+candidates+`) order by starts_at, id`, args)
	if err != nil {
		return translate(ctx, err)
	}
	w.had, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (h hadDate, err error) {
		return h, row.Scan(&h.id, &h.series, &h.startsAt)
	})
	if err != nil {
		return translate(ctx, err)
	}
	for _, id := range ids {
		if !slices.ContainsFunc(w.had, func(h hadDate) bool { return h.id == id }) {
			return fault.New(fault.NotFound, "$.dates: there is no event with the id %s; without the id, the date is created", id)
		}
	}
	for _, h := range w.had {
		if h.series != nil && *h.series != w.done.Series.ID {
			return fault.New(fault.Conflict, "the event %s is one of another series, %s", h.id, *h.series)
		}
	}
	return nil
}

// match finds the event of each date: by its id, else by its start.
func (w *seriesImport) match(dates []catalog.NewEvent) []*hadDate {
	matches := make([]*hadDate, len(dates))
	for pass := range 2 {
		for i, d := range dates {
			for k := range w.had {
				h := &w.had[k]
				if matches[i] != nil || h.taken {
					continue
				}
				if byID := pass == 0; byID && h.id == d.ID || !byID && d.ID == "" && h.startsAt.Equal(d.StartsAt.Truncate(time.Microsecond)) {
					matches[i], h.taken = h, true
				}
			}
		}
	}
	return matches
}

// bounded refuses a series of too many dates, those that stay included.
func (w *seriesImport) bounded(matches []*hadDate) error {
	all := len(w.had)
	for _, m := range matches {
		if m == nil {
			all++
		}
	}
	if all > catalog.MostDates {
		return fault.New(fault.Invalid, "the series would have %d dates, more than %d", all, catalog.MostDates)
	}
	return nil
}

func (w *seriesImport) create(ctx context.Context, tx pgx.Tx, one catalog.NewEvent, date *ImportedDate, i int, matches []*hadDate) error {
	l, view, err := compose(one)
	if err != nil {
		return err
	}
	date.Tickets = len(l.Seats)
	fresh := 0
	for _, m := range matches[i:] {
		if m == nil {
			fresh++
		}
	}
	for _, d := range w.done.Dates {
		if d.IsNew {
			fresh++
		}
	}
	if fresh*date.Tickets > catalog.MostSeriesTickets {
		return fault.New(fault.Invalid, "%d new dates of %d tickets are more than %d at once; import some of them first, and the rest with the id of the series",
			fresh, date.Tickets, catalog.MostSeriesTickets)
	}
	if w.how.DryRun {
		return nil
	}
	if w.planID == nil && one.Plan != nil { // once for all dates
		id, _, err := importPlan(ctx, tx, one.Plan)
		if err != nil {
			return err
		}
		w.planID = &id
	}
	date.Event, err = w.store.insert(ctx, tx, one, l, view, w.planID)
	date.ID = date.Event.ID
	return err
}

// write keeps the series, and that the dates belong to it.
func (w *seriesImport) write(ctx context.Context, tx pgx.Tx) error {
	series := &w.done.Series
	if !w.done.IsNew && series.Name != w.doc.Name {
		w.done.Changes = append(w.done.Changes, catalog.Difference{
			Path: "series.name", From: strconv.Quote(series.Name), To: strconv.Quote(w.doc.Name),
		})
	}
	renamed := len(w.done.Changes) > 0
	series.Name = w.doc.Name
	if w.how.DryRun {
		return nil
	}
	ids := make([]string, len(w.done.Dates))
	created, joined := []string{}, []string{}
	for i, d := range w.done.Dates {
		ids[i] = d.ID
		switch {
		case d.IsNew:
			created = append(created, d.ID)
		case d.Joined:
			joined = append(joined, d.ID)
		}
	}
	var err error
	switch {
	case w.done.IsNew:
		if series.ID, err = newID(); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `insert into series (id, venue_id, name) select @id::uuid, venue_id, @name from events where id = @event::uuid`,
			pgx.NamedArgs{"id": series.ID, "name": series.Name, "event": ids[0]})
	case renamed: // which all its dates tell
		_, err = tx.Exec(ctx, `
with renamed as (update series set name = @name where id = @id::uuid)
update events set updated_at = clock_timestamp() where series_id = @id::uuid`, pgx.NamedArgs{"id": series.ID, "name": series.Name})
	}
	if err != nil {
		return translate(ctx, err)
	}
	_, err = tx.Exec(ctx, `update events set series_id = @series::uuid where id = any (@ids::uuid[]) and series_id is distinct from @series::uuid`,
		pgx.NamedArgs{"series": series.ID, "ids": ids})
	if err != nil || w.fresh || !renamed && len(created)+len(joined) == 0 {
		return translate(ctx, err)
	}
	// What is changed of its dates is noted with each of them.
	detail, err := json.Marshal(map[string]any{"name": series.Name, "created": created, "joined": joined})
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into audit_log (actor, action, subject, detail) values (@actor, 'series.revise', @series, @detail)`,
		pgx.NamedArgs{"actor": w.how.Actor, "series": series.ID, "detail": json.RawMessage(detail)})
	return translate(ctx, err)
}

// Series finds a series with its dates, drafts included. Any other id is
// fault.NotFound.
func (s *Store) Series(ctx context.Context, id string) (catalog.Series, error) {
	if !catalog.IsID(id) {
		return catalog.Series{}, noSuchSeries(id)
	}
	var found catalog.Series
	err := s.read(ctx, func(ctx context.Context, db *pgxpool.Pool) (err error) {
		found, err = series(ctx, db, id)
		return err
	})
	return found, err
}

func noSuchSeries(id string) error {
	return fault.New(fault.NotFound, "there is no series with the id %q", id[:min(len(id), 64)])
}

func series(ctx context.Context, db querier, id string) (catalog.Series, error) {
	var found catalog.Series
	err := db.QueryRow(ctx, `select id, name from series where id = @id::uuid`, pgx.NamedArgs{"id": id}).Scan(&found.ID, &found.Name)
	if errors.Is(err, pgx.ErrNoRows) {
		return found, noSuchSeries(id)
	} else if err != nil {
		return found, translate(ctx, err)
	}
	rows, err := db.Query(ctx, `select `+eventColumns+`
  from events e join venues v on v.id = e.venue_id where e.series_id = @id::uuid order by e.starts_at, e.id limit @limit`,
		pgx.NamedArgs{"id": id, "limit": catalog.MostDates})
	if err != nil {
		return found, translate(ctx, err)
	}
	found.Events, err = pgx.CollectRows(rows, scanEvent)
	return found, translate(ctx, err)
}

// SeriesDocument is a series as the document that creates such a one: its dates with
// their ids, what their rooms have in common, and all else as the first of them has it.
func (s *Store) SeriesDocument(ctx context.Context, id string, withPlan bool) ([]byte, error) {
	if !catalog.IsID(id) {
		return nil, noSuchSeries(id)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var e catalog.NewEvent
	err := pgx.BeginTxFunc(ctx, s.primary, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		found, err := series(ctx, tx, id)
		if err != nil {
			return err
		}
		if len(found.Events) == 0 {
			return fault.New(fault.NotFound, "the series has no dates any more")
		}
		first, err := existing(ctx, tx, found.Events[0].ID)
		if err != nil {
			return err
		}
		var rooms []catalog.RoomSettings
		e = first.NewEvent
		e.Name, e.Dates = found.Name, &catalog.Dates{Series: found.ID}
		for _, one := range found.Events {
			d := catalog.Date{Event: one.ID, StartsAt: one.StartsAt, DoorsAt: one.DoorsAt}
			if one.Status != e.Status {
				d.Status = one.Status
			}
			e.Dates.All = append(e.Dates.All, d)
			room, err := roomSettings(ctx, tx, one.ID)
			if err != nil {
				return err
			}
			rooms = append(rooms, room)
		}
		e.ShareRooms(rooms)
		return nil
	})
	if err != nil {
		return nil, translate(ctx, err)
	}
	if !withPlan {
		e.Plan = nil
	}
	return e.Document()
}
