package web

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/catalog"
	"onsale/internal/fault"
)

// reviser changes events for who asks.
func (s *Server) reviser(c *gin.Context) Reviser {
	return Reviser{Store: s.Organiser, Rooms: s.Rooms, Record: func(_ context.Context, action, subject string, detail any) error {
		return s.record(c, action, subject, detail)
	}}
}

// revisedSeries is what a document has changed of a series, or would.
type revisedSeries struct {
	Series  catalog.SeriesName   `json:"series"`
	Changes []catalog.Difference `json:"changes"` // of the series itself
	Dates   []revisedDate        `json:"dates"`   // those of the document
	Notes   []string             `json:"notes"`
	Notices []catalog.Notice     `json:"notices,omitempty"`
	DryRun  bool                 `json:"dry_run,omitempty"`
}

type revisedDate struct {
	Event    *string              `json:"event"` // null: it would be created
	StartsAt time.Time            `json:"starts_at"`
	Outcome  string               `json:"outcome"` // created, joined, changed or unchanged
	Tickets  int                  `json:"tickets,omitempty"`
	Changes  []catalog.Difference `json:"changes"`
	Notes    []string             `json:"notes"`
	Told     int                  `json:"told"` // e-mails that are on their way
}

// adminPutSeries makes a series what its document says: dates that are there are changed
// as events are by theirs, dates that are missing are created, others stay.
func (s *Server) adminPutSeries(c *gin.Context) {
	ctx := c.Request.Context()
	series, err := id(c, "id")
	if err == nil {
		err = query(c, "dry_run", "notify")
	}
	var dryRun, quiet bool
	if err == nil {
		dryRun, err = yesOrNo(c, "dry_run")
	}
	if err == nil {
		quiet, err = quietly(c)
	}
	var raw json.RawMessage
	if err == nil {
		err = body(c, &raw)
	}
	if err == nil { // an unknown series, before its document
		_, err = s.Catalog.Series(ctx, series)
	}
	var doc catalog.NewEvent
	var notices []catalog.Notice
	if err == nil {
		doc, notices, err = s.EventDefaults.ParseEvent(raw)
	}
	switch {
	case err != nil:
	case doc.Dates == nil:
		err = fault.New(fault.Invalid, "$.dates: is missing: a series has dates, or a rule that repeats it; PUT %s/{id} is for one event", adminEventsPath)
	case doc.Dates.Series != "" && doc.Dates.Series != series:
		err = fault.New(fault.Invalid, "$.id: is another series' than the one in the path")
	}
	var done catalog.ImportedSeries
	if err == nil {
		doc.Dates.Series = series
		done, err = s.reviser(c).Series(ctx, doc, catalog.Revising{DryRun: dryRun, HoldsLast: s.Shop.HoldsLast(), Actor: actor(c), Quiet: quiet})
		if !dryRun {
			s.Catalog.Changed("")
		}
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if !dryRun {
		s.seedRooms(ctx, doc, done)
	}
	view := revisedSeries{Series: done.Series, Changes: orNone(done.Changes), Dates: make([]revisedDate, len(done.Dates)), Notes: orNone(done.Notes), Notices: notices, DryRun: dryRun}
	for i, d := range done.Dates {
		view.Dates[i] = revisedDate{
			Event: orNull(d.ID), StartsAt: d.StartsAt.UTC(), Outcome: outcome(d), Tickets: d.Tickets,
			Changes: orNone(d.Revision.Changes), Notes: orNone(d.Revision.Notes), Told: d.Revision.Told,
		}
	}
	private(c, http.StatusOK, view)
}

// seedRooms makes the rooms of dates that were created, as in createEvent.
func (s *Server) seedRooms(ctx context.Context, doc catalog.NewEvent, done catalog.ImportedSeries) {
	for i, one := range doc.Performances() {
		if done.Dates[i].IsNew {
			_, _ = s.Rooms.Seed(ctx, roomOf(done.Dates[i].Event, one.Room))
		}
	}
}

// outcome is what became of a date.
func outcome(d catalog.ImportedDate) string {
	switch {
	case d.IsNew:
		return "created"
	case d.Joined:
		return "joined"
	case len(d.Revision.Changes) > 0:
		return "changed"
	}
	return "unchanged"
}
