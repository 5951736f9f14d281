package web_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	ics "github.com/arran4/golang-ical"
)

// calendarEvents parses a calendar, and holds every line against RFC 5545.
func calendarEvents(t *testing.T, r reply) map[string]*ics.VEvent {
	t.Helper()
	if kind := r.header.Get("Content-Type"); r.status != 200 || kind != "text/calendar; charset=utf-8" {
		t.Fatalf("%s: %d %s", r.asked, r.status, kind)
	}
	text := string(r.body)
	if !strings.HasSuffix(text, "END:VCALENDAR\r\n") || strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\n") || strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\r") {
		t.Errorf("lines do not end as they must: %q", text)
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		if len(line) > 75 || !utf8.ValidString(line) {
			t.Errorf("a line of %d bytes: %q", len(line), line)
		}
	}
	for _, want := range []string{"BEGIN:VCALENDAR\r\n", "VERSION:2.0\r\n", "PRODID:-//onsale//Events//EN\r\n", "METHOD:PUBLISH\r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("without %q: %s", want, text)
		}
	}
	cal, err := ics.ParseCalendar(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	events := make(map[string]*ics.VEvent)
	for _, e := range cal.Events() {
		events[e.Id()] = e
	}
	return events
}

func said(e *ics.VEvent, p ics.ComponentProperty) string {
	if got := e.GetProperty(p); got != nil {
		return got.Value
	}
	return ""
}

func TestEventsInCalendars(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	path := "/v1/events/" + s.event + "/event.ics"
	one := s.get(path)
	e := calendarEvents(t, one)[s.event]
	if e == nil {
		t.Fatalf("the event is not in %s", one.body)
	}
	if start, err := e.GetStartAt(); err != nil || !start.Equal(time.Date(2031, 5, 1, 19, 0, 0, 0, time.UTC)) || said(e, ics.ComponentPropertyDtStart) != "20310501T190000Z" {
		t.Errorf("it starts at %s %v", start, err)
	}
	if stamp, err := e.GetDtStampTime(); err != nil || time.Since(stamp) > time.Minute || time.Since(stamp) < -time.Minute {
		t.Errorf("it is as of %s, %v", stamp, err)
	}
	if made := said(e, ics.ComponentPropertyCreated); made == "" || made > said(e, ics.ComponentPropertyLastModified) || said(e, ics.ComponentPropertySequence) != "0" {
		t.Errorf("made at %q, changed at %q, sequence %q", made, said(e, ics.ComponentPropertyLastModified), said(e, ics.ComponentPropertySequence))
	}
	for p, want := range map[ics.ComponentProperty]string{
		ics.ComponentPropertySummary: "Trio at the mill", ics.ComponentPropertyLocation: "The mill, Mill Lane 1, Köln, DE",
		ics.ComponentPropertyUrl: s.url + "/events/" + s.event, ics.ComponentPropertyStatus: "CONFIRMED",
		ics.ComponentPropertyDescription: "Doors open at 18:00 UTC.\nMill Trio\n" + s.url + "/events/" + s.event,
	} {
		if got := said(e, p); got != want {
			t.Errorf("%s is %q, want %q", p, got, want)
		}
	}
	if one.header.Get("Content-Disposition") != `inline; filename="`+s.event+`.ics"` || !strings.Contains(one.header.Get("Cache-Control"), "public, max-age=60") {
		t.Errorf("headers %v", one.header)
	}
	s.get(path, header("If-None-Match", one.header.Get("ETag"))).ok(304, nil)
	if page := s.get("/events/" + s.event); !strings.Contains(string(page.body), `href="`+path+`"`) {
		t.Error("the event's page does not lead to its calendar")
	}

	// Names of all kinds come back as they are.
	const evil = "Zeile, \"eins\"; \\n und: ünïcödé 日本語日本語日本語日本語日本語日本語日本語日本語 BEGIN:VEVENT"
	quoted, err := json.Marshal(evil)
	must(t, err)
	described, err := json.Marshal("first line\nDTEND:20310501T190000Z\nthird, line")
	must(t, err)
	doc := strings.Replace(fmt.Sprintf(stageEvent, "name", "on_sale"), `"name": "name"`, `"name": `+string(quoted)+`, "description": `+string(described), 1)
	var made struct{ ID string }
	s.post("/v1/admin/events", doc, asOperator).ok(201, &made)
	odd := calendarEvents(t, s.get("/v1/events/"+made.ID+"/event.ics"))[made.ID]
	if said(odd, ics.ComponentPropertySummary) != evil || !strings.Contains(said(odd, ics.ComponentPropertyDescription), "first line\nDTEND:20310501T190000Z\nthird, line") ||
		odd.HasProperty(ics.ComponentPropertyDtEnd) {
		t.Errorf("came back as %q, %q", said(odd, ics.ComponentPropertySummary), said(odd, ics.ComponentPropertyDescription))
	}

	// The feed has what a search finds; who subscribes learns what is off.
	for i, change := range [][2]string{{"postponed", "TENTATIVE"}, {"cancelled", "CANCELLED"}} {
		status, want := change[0], change[1]
		s.do("PATCH", "/v1/admin/events/"+made.ID, `{"status":"`+status+`"}`, asOperator).ok(200, nil)
		now := calendarEvents(t, s.get("/v1/events/"+made.ID+"/event.ics"))[made.ID]
		if said(now, ics.ComponentPropertySequence) != fmt.Sprint(i+1) || said(now, ics.ComponentPropertyCreated) != said(odd, ics.ComponentPropertyCreated) ||
			said(now, ics.ComponentPropertyLastModified) < said(odd, ics.ComponentPropertyLastModified) {
			t.Errorf("%s: %s", status, now.Serialize(&ics.SerializationConfiguration{MaxLength: 75, NewLine: "\r\n"}))
		}
		feed := calendarEvents(t, s.get("/v1/events.ics"))
		if len(feed) != 2 || said(feed[made.ID], ics.ComponentPropertyStatus) != want || said(feed[s.event], ics.ComponentPropertyStatus) != "CONFIRMED" {
			t.Errorf("%s: the feed has %d events", status, len(feed))
		}
	}
	draft := s.newEvent("Secret", "draft")
	for query, want := range map[string]int{
		"": 2, "?name=trio": 1, "?q=mill+trio": 2, "?q=unheard": 0, "?sort=name": 2, "?city=k%C3%B6ln&type=concert": 2, "?artist=nobody": 0, "?from=2031-05-02": 0, "?from=2031-05-01&to=2031-05-01": 2, "?to=2031-04-30": 0,
	} {
		feed := calendarEvents(t, s.get("/v1/events.ics"+query))
		if len(feed) != want || feed[draft] != nil {
			t.Errorf("%s: the feed has %d events, want %d", query, len(feed), want)
		}
	}
	s.get("/v1/events/"+draft+"/event.ics").refused(404, "not-found")
	if r := s.get("/v1/events/"+draft+"/event.ics", asOperator); r.status != 200 || r.header.Get("Cache-Control") != "private, no-store" {
		t.Errorf("a draft for operators: %d %v", r.status, r.header)
	}
}
