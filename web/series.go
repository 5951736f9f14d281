package web

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
)

const (
	mostSeriesDocs = 16 << 20 // bytes
	// datesBack is for how long after its start a date is still one to go to.
	datesBack = 12 * time.Hour
	// datesShown is how many of the dates to come the page of one of them lists.
	datesShown = 60
)

// seriesView is a series as clients see it: its public dates, with what is left of
// those to come.
type seriesView struct {
	ID    string       `json:"id"`
	Name  string       `json:"name"`
	Dates []seriesDate `json:"dates"`
}

type seriesDate struct {
	Event    string         `json:"event"`
	Name     string         `json:"name"`
	StartsAt time.Time      `json:"starts_at"`
	DoorsAt  *time.Time     `json:"doors_at"`
	Timezone string         `json:"timezone"`
	Status   string         `json:"status"`
	Tickets  *ticketsView   `json:"tickets"` // null: over, or not known now
	Room     *eventRoomView `json:"room"`    // too
}

// seriesAnswer is what is said of a series for a moment, by the pages of all its dates.
type seriesAnswer struct {
	view seriesView
	doc  *codedDocument
}

func (s *Server) seriesRoutes(r gin.IRouter) {
	r.GET("/v1/series/:id", s.getSeries)
}

func (s *Server) getSeries(c *gin.Context) {
	err := query(c)
	var series string
	if err == nil {
		series, err = id(c, "id")
	}
	var now *seriesAnswer
	if err == nil {
		now, err = s.seriesNow(c.Request.Context(), series)
	}
	if err == nil {
		err = now.doc.answer(c, eventType, eventCaching)
	}
	if err != nil {
		s.fail(c, err)
	}
}

// seriesNow is a series as it is now. One without public dates is fault.NotFound.
func (s *Server) seriesNow(ctx context.Context, id string) (*seriesAnswer, error) {
	return s.series.of(ctx, s.Clock, id, func(ctx context.Context, last *seriesAnswer) (*seriesAnswer, int, error) {
		view, err := s.seriesView(ctx, id)
		if err != nil {
			return nil, 0, err
		}
		body, err := json.Marshal(view)
		if err != nil {
			return nil, 0, err
		}
		doc := newCoded(body)
		if last != nil && doc.same(last.doc) {
			doc = last.doc
		}
		return &seriesAnswer{view, doc}, 2 * doc.size(), nil
	})
}

func (s *Server) seriesView(ctx context.Context, id string) (seriesView, error) {
	found, err := s.Catalog.Series(ctx, id)
	if err != nil {
		return seriesView{}, err
	}
	v := seriesView{ID: found.ID, Name: found.Name, Dates: make([]seriesDate, 0, len(found.Events))}
	var coming []catalog.Event
	var places []int // of them among the dates
	from := s.Clock().Add(-datesBack)
	for _, e := range found.Events {
		if e.Status == "draft" {
			continue
		}
		if e.StartsAt.After(from) && onOffer(e.Status) {
			coming, places = append(coming, e), append(places, len(v.Dates))
		}
		v.Dates = append(v.Dates, seriesDate{Event: e.ID, Name: e.Name, StartsAt: e.StartsAt, DoorsAt: e.DoorsAt, Timezone: e.Timezone, Status: e.Status})
	}
	if len(v.Dates) == 0 {
		return seriesView{}, fault.New(fault.NotFound, "there is no series with the id %q", id)
	}
	for i, e := range s.eventViews(ctx, coming) {
		v.Dates[places[i]].Tickets, v.Dates[places[i]].Room = e.Tickets, e.Room
	}
	return v, nil
}

// otherDates is what the page of an event tells of the series it is one of.
type otherDates struct {
	ID    string       `json:"id"`
	Name  string       `json:"name"`
	Dates []seriesDate `json:"dates"` // the others to come
	More  int          `json:"more"`  // that are not listed

	first, last time.Time // of all
}

// otherDates returns nil for an event without others, and while they are not known.
func (s *Server) otherDates(ctx context.Context, e catalog.Event) *otherDates {
	if e.Series == nil {
		return nil
	}
	now, err := s.seriesNow(ctx, e.Series.ID)
	if err != nil {
		return nil
	}
	all := now.view.Dates
	other := &otherDates{ID: now.view.ID, Name: now.view.Name, Dates: []seriesDate{}, first: all[0].StartsAt, last: all[len(all)-1].StartsAt}
	from := s.Clock().Add(-datesBack)
	for _, d := range all {
		switch {
		case d.Event == e.ID || d.StartsAt.Before(from) || d.Status == "ended":
		case len(other.Dates) == datesShown:
			other.More++
		default:
			other.Dates = append(other.Dates, d)
		}
	}
	return other
}

// State is what is to be known of a date before one goes to its page.
func (d seriesDate) State() string {
	switch {
	case d.Status == "cancelled" || d.Status == "postponed":
		return d.Status
	case d.Tickets == nil:
		return ""
	case d.Tickets.Availability == checkout.SoldOut:
		return "sold out"
	case d.Tickets.Available == 0:
		return "none available now"
	}
	return strconv.Itoa(d.Tickets.Available) + " available"
}

// createSeries creates all dates of a document, or none.
func (s *Server) createSeries(c *gin.Context, e catalog.NewEvent, notices []catalog.Notice) {
	dates := e.Performances()
	err := s.record(c, "series.create", e.Name, gin.H{"name": e.Name, "venue": e.Venue.Name, "starts_at": e.StartsAt, "dates": len(dates)})
	var created catalog.Series
	if err == nil {
		created, err = s.Catalog.CreateSeries(c.Request.Context(), e)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	for i, made := range created.Events {
		if i < len(dates) { // as in createEvent; both go by the start
			_, _ = s.Rooms.Seed(c.Request.Context(), roomOf(made, dates[i].Room))
		}
	}
	c.Header("Location", "/v1/series/"+created.ID)
	private(c, http.StatusCreated, struct {
		Series  catalog.SeriesName `json:"series"`
		Events  []eventView        `json:"events"`
		Notices []catalog.Notice   `json:"notices,omitempty"`
	}{created.SeriesName, s.eventViews(c.Request.Context(), created.Events), notices})
}

// eventQuery reads the parameters that select events, and refuses all but these and
// more.
func eventQuery(c *gin.Context, more ...string) (q catalog.Query, err error) {
	if err := query(c, append([]string{"q", "name", "artist", "type", "city", "series", "from", "to", "sort"}, more...)...); err != nil {
		return q, err
	}
	q.Text, q.Sort = c.Query("q"), catalog.Sort(c.Query("sort"))
	q.Name, q.Artist, q.Type, q.City, q.Series = c.Query("name"), c.Query("artist"), c.Query("type"), c.Query("city"), c.Query("series")
	q.From, q.To, err = timeRange(c.Query("from"), c.Query("to"), "from", "to")
	return q, err
}
