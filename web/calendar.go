package web

import (
	"strings"
	"time"
	"unicode"

	ics "github.com/arran4/golang-ical"
	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"onsale/catalog"
	"onsale/internal/fault"
)

const (
	calendarProduct = "-//onsale//Events//EN"
	calendarRefresh = "PT1H" // how often subscribers should look
	calendarBack    = 30     // days that a feed goes back by itself
)

var calendarType = []string{"text/calendar; charset=utf-8"}

func (s *Server) calendarRoutes(r gin.IRouter) {
	r.GET("/v1/events.ics", s.eventsCalendar)
	r.GET("/v1/events/:id/event.ics", s.eventCalendar)
}

// eventCalendar answers with one event for somebody's own calendar.
func (s *Server) eventCalendar(c *gin.Context) {
	err := query(c)
	var e catalog.Event
	if err == nil {
		e, err = s.publicEvent(c)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	cache := latestCaching
	if e.Status == "draft" {
		cache = draftCaching
	}
	doc := newCoded([]byte(s.calendar("", []catalog.Event{e})))
	if _, _, known := doc.choose(c.Request); !known {
		c.Header("Content-Disposition", `inline; filename="`+e.ID+`.ics"`)
	}
	if err := doc.answer(c, calendarType, cache); err != nil {
		s.fail(c, err)
	}
}

// eventsCalendar answers with a feed that calendars subscribe to: what the same
// search lists, all on one page.
func (s *Server) eventsCalendar(c *gin.Context) {
	q, err := eventQuery(c)
	q.Limit = catalog.MostEvents
	if err == nil && q.From.IsZero() {
		q.From = s.Clock().UTC().Truncate(24*time.Hour).AddDate(0, 0, -calendarBack)
		if !q.To.IsZero() && q.To.Before(q.From) {
			err = fault.New(fault.Invalid, `query parameter "to" is more than %d days ago; "from" is expected with it`, calendarBack)
		}
	}
	var page catalog.Page
	if err == nil {
		page, err = s.Catalog.Events(c.Request.Context(), q)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	name := "Events"
	if q.Series != "" && len(page.Events) > 0 && page.Events[0].Series != nil {
		name = page.Events[0].Series.Name
	}
	if err := newCoded([]byte(s.calendar(plain(name), page.Events))).answer(c, calendarType, latestCaching); err != nil {
		s.fail(c, err)
	}
}

// calendar is events as iCalendar (RFC 5545). Times are in UTC, which every
// calendar shows in its reader's zone. How long events take is not known, so
// that they have no end. The same events make the same bytes: the stamp of an entry is
// when the event last changed, which is what it says.
func (s *Server) calendar(name string, events []catalog.Event) string {
	cal := ics.NewCalendarFor("onsale")
	cal.SetProductId(calendarProduct)
	cal.SetCalscale("GREGORIAN")
	cal.SetMethod(ics.MethodPublish)
	if name != "" {
		cal.SetXWRCalName(name)
		cal.SetRefreshInterval(calendarRefresh, ics.WithValue(string(ics.ValueDataTypeDuration)))
		cal.SetXPublishedTTL(calendarRefresh)
	}
	for i := range events {
		s.addToCalendar(cal, &events[i])
	}
	return cal.Serialize(ics.WithNewLineWindows)
}

func (s *Server) addToCalendar(cal *ics.Calendar, e *catalog.Event) {
	address := s.publicAddress("/events/" + e.ID)
	entry := cal.AddEvent(e.ID) // unique by itself, wherever the server is reached
	entry.SetDtStampTime(e.UpdatedAt)
	entry.SetCreatedTime(madeAt(e.ID))
	entry.SetModifiedAt(e.UpdatedAt)
	entry.SetSequence(e.Sequence)
	entry.SetStartAt(e.StartsAt)
	entry.SetSummary(plain(e.Name))
	entry.SetLocation(plain(listOf(e.Venue.Name, e.Venue.Address, e.Venue.City, e.Venue.Country)))
	entry.SetURL(address)
	var about []string
	if special := statusText(e.Status); special != "" {
		about = append(about, special)
	}
	if e.DoorsAt != nil {
		about = append(about, "Doors open at "+local(*e.DoorsAt, e.Timezone).Format("15:04 MST")+".")
	}
	for _, a := range e.Artists {
		about = append(about, a.Name)
	}
	if e.Description != "" {
		about = append(about, e.Description)
	}
	entry.SetDescription(plain(strings.Join(append(about, address), "\n")))
	switch e.Status {
	case "cancelled":
		entry.SetStatus(ics.ObjectStatusCancelled)
	case "postponed", "draft":
		entry.SetStatus(ics.ObjectStatusTentative)
	default:
		entry.SetStatus(ics.ObjectStatusConfirmed)
	}
}

// madeAt is when an event came to be, which its id tells.
func madeAt(event string) time.Time {
	id, err := uuid.Parse(event)
	if err != nil || id.Version() != 7 {
		return time.Unix(0, 0).UTC() // any time will do that stays the same
	}
	return time.Unix(id.Time().UnixTime()).UTC()
}

func listOf(parts ...string) string {
	var list []string
	for _, p := range parts {
		if p != "" {
			list = append(list, p)
		}
	}
	return strings.Join(list, ", ")
}

// plain leaves out what would end a line of a calendar, or is not to be seen.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, text)
}
