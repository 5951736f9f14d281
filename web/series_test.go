package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	ics "github.com/arran4/golang-ical"
)

type seriesMade struct{ ID, Name string }

// newSeries creates a series of events like stageEvent, in Berlin.
func (s *stage) newSeries(name, rule string) seriesMade {
	s.t.Helper()
	doc := strings.NewReplacer(`"2031-05-01T19:00:00Z"`, `"2031-10-24T19:30"`, `"2031-05-01T18:00:00Z"`, `"2031-10-24T18:30"`, `"The mill"`, `"The barn"`,
		`"currency": "EUR"`, fmt.Sprintf(`"currency": "EUR", "timezone": "Europe/Berlin", "repeat": %q`, rule)).Replace(fmt.Sprintf(stageEvent, name, "on_sale"))
	var made struct {
		Series seriesMade
		Events []struct {
			ID     string
			Series seriesMade
			Room   struct{ State string }
		}
	}
	r := s.post("/v1/admin/events", doc, asOperator).ok(201, &made)
	if r.header.Get("Location") != "/v1/series/"+made.Series.ID || len(made.Events) == 0 || made.Events[0].Series != made.Series || made.Events[0].Room.State != "open" {
		s.t.Errorf("created as %s, %v", r.body, r.header)
	}
	for _, e := range made.Events {
		must(s.t, s.rooms.ShopOK(s.t.Context(), e.ID, -1, -1, 0))
	}
	return made.Series
}

type seriesAnswer struct {
	ID, Name string
	Dates    []struct {
		Event, Name, Timezone, Status string
		StartsAt                      time.Time `json:"starts_at"`
		DoorsAt                       time.Time `json:"doors_at"`
		Tickets                       *struct{ Total, Available int }
		Room                          *struct{ State string }
	}
}

func TestSeriesHasItsDates(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	made := s.newSeries("Weekly", "FREQ=WEEKLY;COUNT=3")
	path := "/v1/series/" + made.ID
	var got seriesAnswer
	first := s.get(path).ok(200, &got)
	if got.ID != made.ID || got.Name != "Weekly" || len(got.Dates) != 3 || !strings.Contains(first.header.Get("Cache-Control"), "public, max-age=1,") {
		t.Fatalf("%s, %v", first.body, first.header)
	}
	for i, d := range got.Dates {
		// The clocks go back on the 26th of October.
		if want := []string{"2031-10-24T17:30:00Z", "2031-10-31T18:30:00Z", "2031-11-07T18:30:00Z"}[i]; d.StartsAt.Format(time.RFC3339) != want ||
			d.StartsAt.Sub(d.DoorsAt) != time.Hour || d.Timezone != "Europe/Berlin" || d.Status != "on_sale" || d.Name != "Weekly" {
			t.Errorf("date %d is %+v", i, d)
		}
		if d.Tickets == nil || d.Tickets.Total != 60 || d.Tickets.Available != 60 || d.Room == nil || d.Room.State != "open" {
			t.Errorf("date %d has %+v, %+v", i, d.Tickets, d.Room)
		}
	}
	eventually(t, "not modified", func() reply { return s.get(path, header("If-None-Match", first.header.Get("ETag"))) }, func(r reply) bool {
		return r.status == http.StatusNotModified
	})

	// Each is an event that knows its series; the list, the feed and the document go by it.
	var one struct {
		Series  *seriesMade
		Updated time.Time `json:"updated_at"`
	}
	s.get("/v1/events/"+got.Dates[1].Event).ok(200, &one)
	if one.Series == nil || *one.Series != made || time.Since(one.Updated) > time.Minute {
		t.Errorf("the event says %+v", one)
	}
	s.get("/v1/events/"+s.event).ok(200, &one)
	if one.Series != nil {
		t.Errorf("an event of its own says %+v", one)
	}
	var list struct {
		Events []struct{ ID string }
		Next   *string `json:"next_cursor"`
	}
	s.get("/v1/events?series="+made.ID+"&limit=2").ok(200, &list)
	if len(list.Events) != 2 || list.Next == nil || list.Events[0].ID != got.Dates[0].Event {
		t.Fatalf("listed as %+v", list)
	}
	s.get("/v1/events?cursor="+*list.Next).refused(400, "invalid-request")
	s.get("/v1/events?series="+made.ID+"&cursor="+*list.Next).ok(200, &list)
	if len(list.Events) != 1 || list.Events[0].ID != got.Dates[2].Event {
		t.Errorf("goes on as %+v", list)
	}
	feed := s.get("/v1/events.ics?series=" + made.ID)
	if events := calendarEvents(t, feed); len(events) != 3 || !strings.Contains(string(feed.body), "X-WR-CALNAME:Weekly\r\n") ||
		said(events[got.Dates[1].Event], ics.ComponentPropertyDtStart) != "20311031T183000Z" {
		t.Errorf("the feed is %s", feed.body)
	}

	// What operators change is there at once. Drafts are nobody's business.
	for event, change := range map[string]string{got.Dates[0].Event: `{"status":"draft"}`, got.Dates[1].Event: `{"status":"cancelled"}`} {
		s.do("PATCH", "/v1/admin/events/"+event, change, asOperator).ok(200, nil)
	}
	var now seriesAnswer
	s.get(path).ok(200, &now)
	if len(now.Dates) != 2 || now.Dates[0].Status != "cancelled" || now.Dates[0].Tickets != nil || now.Dates[1].Tickets == nil {
		t.Errorf("now it is %+v", now)
	}
	s.get("/v1/series/"+s.newSeries("Once", "FREQ=DAILY;COUNT=1").ID).ok(200, &now)
	s.do("PATCH", "/v1/admin/events/"+now.Dates[0].Event, `{"status":"draft"}`, asOperator).ok(200, nil)
	s.get("/v1/series/"+now.ID).refused(404, "not-found")
	s.get("/v1/series/"+s.event).refused(404, "not-found")
}

// All dates or none, with each problem named.
func TestSeriesThatCannotBeIsNotThere(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	s.newSeries("Weekly", "FREQ=WEEKLY;COUNT=2")
	count := func() int { return query[int](s, `select count(*)::int from events`) }
	before := count()
	doc := strings.NewReplacer(`"starts_at": "2031-05-01T19:00:00Z", "doors_at": "2031-05-01T18:00:00Z"`, `"dates": ["2031-10-17T19:30", "2031-10-31T19:30"]`,
		`"The mill"`, `"The barn"`, `"currency": "EUR"`, `"currency": "EUR", "timezone": "Europe/Berlin"`).Replace(fmt.Sprintf(stageEvent, "Weekly", "on_sale"))
	if r := s.post("/v1/admin/events", doc, asOperator).refused(409, "conflict"); !strings.Contains(r.Detail, "2031-10-31T19:30:00+01:00") {
		t.Errorf("refused as %s", r.Detail)
	}
	if count() != before {
		t.Errorf("%d events became %d", before, count())
	}
}

func TestEventPageLeadsToOtherDates(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	made := s.newSeries("Weekly", "FREQ=DAILY;COUNT=70")
	var all seriesAnswer
	s.get("/v1/series/"+made.ID).ok(200, &all)
	page := s.readPage(all.Dates[0].Event)
	html := string(s.get("/events/" + all.Dates[0].Event).body)
	for _, want := range []string{"Other dates", "Saturday, 25 October 2031, 19:30 CEST, 60 available", "Sunday, 26 October 2031, 19:30 CET, 60 available", "and 9 more"} {
		if !strings.Contains(page.essentials, want) {
			t.Errorf("the page is without %q: %s", want, page.essentials)
		}
	}
	if strings.Count(html, `<a href="/events/`) != 60 || !strings.Contains(html, `<a href="/events/`+all.Dates[1].Event+`">`) || strings.Contains(html, `<a href="/events/`+all.Dates[0].Event+`">`) {
		t.Errorf("the page has %d links", strings.Count(html, `<a href="/events/`))
	}
	super := page.event.SuperEvent
	if super == nil || super.Type != "EventSeries" || super.ID != "urn:uuid:"+made.ID || super.Name != "Weekly" ||
		super.StartDate.Format(time.RFC3339) != "2031-10-24T19:30:00+02:00" || super.EndDate.Format(time.RFC3339) != "2032-01-01T19:30:00+01:00" {
		t.Errorf("structured as %+v", super)
	}

	// An event of its own has no other dates.
	if alone := s.readPage(s.event); strings.Contains(alone.essentials, "Other dates") || alone.event.SuperEvent != nil {
		t.Errorf("alone: %q, %+v", alone.essentials, alone.event.SuperEvent)
	}
	s.do("PATCH", "/v1/admin/events/"+all.Dates[1].Event, `{"status":"cancelled"}`, asOperator).ok(200, nil)
	eventually(t, "the other page tells it", func() string { return s.readPage(all.Dates[0].Event).essentials }, func(text string) bool {
		return strings.Contains(text, "19:30 CEST, cancelled")
	})
}

// TestSeriesFollowsItsDates: what an organiser does to one of them, or to what they
// share, is seen at once wherever the series is.
func TestSeriesFollowsItsDates(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	made := s.newSeries("Weekly", "FREQ=WEEKLY;COUNT=3")
	now := func() (a seriesAnswer) {
		t.Helper()
		s.get("/v1/series/"+made.ID).ok(200, &a)
		return a
	}
	feed := func() map[string]*ics.VEvent {
		t.Helper()
		return calendarEvents(t, s.get("/v1/events.ics?series="+made.ID))
	}
	all := now().Dates
	first, second := all[0].Event, all[1].Event
	admin := "/v1/admin/events/" + first

	// Each has a document of its own. That of all is nobody's.
	doc := s.documentOf(first)
	doc["description"] = "Words."
	var r revised
	s.do(http.MethodPut, admin, text(t, doc), asOperator).ok(200, &r)
	if len(r.Changes) != 1 || r.Changes[0].Path != "description" {
		t.Errorf("its document changes %+v", r.Changes)
	}
	doc["repeat"] = "FREQ=WEEKLY;COUNT=2"
	repeated := text(t, doc)
	delete(doc, "repeat")
	delete(doc, "starts_at")
	delete(doc, "doors_at")
	doc["dates"] = []any{"2031-10-24T19:30", "2031-10-31T19:30"}
	listed := text(t, doc)
	doc["id"] = made.ID
	for body, path := range map[string]string{repeated: "$.repeat", listed: "$.dates", text(t, doc): "$.dates", `{"except":["2031-10-24"]}`: "$.except"} {
		if p := s.do(http.MethodPut, admin, body, asOperator).refused(400, "invalid-request"); !strings.Contains(p.Detail, path) || path != "$.except" && !strings.Contains(p.Detail, "makes a series") {
			t.Errorf("refused as %q, not because of %s", p.Detail, path)
		}
	}

	// A draft is in none of them.
	s.do(http.MethodPatch, admin, `{"status":"draft"}`, asOperator).ok(200, nil)
	var list struct{ Events []struct{ ID string } }
	s.get("/v1/events?series="+made.ID).ok(200, &list)
	if a, f := now().Dates, feed(); len(a) != 2 || a[0].Event != second || len(f) != 2 || f[first] != nil || len(list.Events) != 2 {
		t.Errorf("with a draft it has %+v, the feed %d and the list %d", a, len(f), len(list.Events))
	}
	eventually(t, "the other page is without it", func() string { return string(s.get("/events/" + second).body) }, func(html string) bool {
		return strings.Contains(html, "/events/"+all[2].Event) && !strings.Contains(html, first)
	})
	s.post(admin+"/publish", `{}`, asOperator).ok(200, nil)
	if a, f := now().Dates, feed(); len(a) != 3 || a[0].Event != first || a[0].Status != "on_sale" || f[first] == nil {
		t.Errorf("published, it has %+v", a)
	}

	before := feed()
	sequence := func(of map[string]*ics.VEvent, event string) string {
		return said(of[event], ics.ComponentPropertySequence)
	}
	s.post(admin+"/postpone", `{"starts_at":"2031-12-24T18:30:00Z"}`, asOperator).ok(200, nil)
	after := feed()
	if a := now().Dates; len(a) != 3 || a[2].Event != first || a[2].Status != "postponed" || a[2].StartsAt.Format(time.DateOnly) != "2031-12-24" {
		t.Errorf("postponed, it has %+v", a)
	}
	if sequence(after, first) == sequence(before, first) || sequence(after, second) != sequence(before, second) || said(after[first], ics.ComponentPropertyDtStart) != "20311224T183000Z" {
		t.Errorf("the feed says %q, then %q", sequence(before, first), sequence(after, first))
	}
	eventually(t, "the other page tells it", func() string { return s.readPage(second).essentials }, func(text string) bool {
		return strings.Contains(text, "24 December 2031, 19:30 CET, postponed")
	})

	// Another name of the venue is another place for all of them, of an artist another event.
	type event struct {
		Venue   struct{ ID, Name string }
		Artists []struct{ ID, Name string }
		Updated time.Time `json:"updated_at"`
	}
	var was, is event
	s.get("/v1/events/"+second).ok(200, &was)
	before = after
	s.do(http.MethodPatch, "/v1/admin/venues/"+was.Venue.ID, `{"name":"The new barn"}`, asOperator).ok(200, nil)
	s.get("/v1/events/"+second).ok(200, &is)
	after = feed()
	if is.Venue.Name != "The new barn" || !is.Updated.After(was.Updated) || sequence(after, second) == sequence(before, second) || !strings.Contains(said(after[second], ics.ComponentPropertyLocation), "new barn") {
		t.Errorf("in another venue it is %+v, %q", is, sequence(after, second))
	}
	was, before = is, after
	s.do(http.MethodPatch, "/v1/admin/artists/"+was.Artists[0].ID, `{"name":"Mill Quartet"}`, asOperator).ok(200, nil)
	s.get("/v1/events/"+second).ok(200, &is)
	if is.Artists[0].Name != "Mill Quartet" || !is.Updated.After(was.Updated) || sequence(feed(), second) != sequence(before, second) {
		t.Errorf("by another artist it is %+v", is)
	}
}
