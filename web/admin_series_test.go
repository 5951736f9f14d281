package web_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"onsale/catalog"
)

type revisedSeries struct {
	Series  seriesMade
	Changes []catalog.Difference
	Dates   []struct {
		Event         *string
		Outcome       string
		Tickets, Told int
		Changes       []catalog.Difference
		Notes         []string
	}
	Notes  []string
	DryRun bool `json:"dry_run"`
}

// said is the answer, a date a line.
func (r *revisedSeries) said() string {
	var b strings.Builder
	for _, d := range r.Dates {
		fmt.Fprintf(&b, "%s %d told %d: %s\n", d.Outcome, d.Tickets, d.Told, strings.Join(paths(d.Changes), ", "))
	}
	return b.String()
}

// TestASeriesBecomesItsDocument: each of its dates as an event does, with its room.
func TestASeriesBecomesItsDocument(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	made := s.newSeries("Weekly", "FREQ=WEEKLY;COUNT=3")
	var all seriesAnswer
	s.get("/v1/series/"+made.ID).ok(200, &all)
	first, second, third := all.Dates[0].Event, all.Dates[1].Event, all.Dates[2].Event
	path := "/v1/admin/series/" + made.ID
	put := func(doc any, query string) reply {
		t.Helper()
		return s.do(http.MethodPut, path+query, text(t, doc), asOperator)
	}
	document := func() map[string]any {
		t.Helper()
		var doc map[string]any
		s.get(path+"/document", asOperator).ok(200, &doc)
		return doc
	}
	dates := func(doc map[string]any) []any { return doc["dates"].([]any) }
	room := func(event string) (rate int, message, opens string) {
		t.Helper()
		r, err := s.rooms.Room(t.Context(), event)
		must(t, err)
		if !r.OpensAt.IsZero() {
			opens = r.OpensAt.UTC().Format(time.RFC3339)
		}
		return r.Throttle.RatePerMinute, r.Message, opens
	}

	// Somebody has a ticket of the second. The rooms differ, and stay so.
	buyer := s.admitted(second)
	ticket := query[string](s, `select id::text from tickets where event_id = $1 and ordinal = 0`, second)
	done := s.paid(s.ordered(buyer.Pass, s.held(second, buyer.Pass, ticket)), "tok_ok")
	eventually(t, "fulfilled", func() order { return s.orderNow(done) }, func(o order) bool { return o.Status == "fulfilled" })
	s.do(http.MethodPatch, "/v1/admin/rooms/"+first, `{"rate_per_minute":90,"closes_at":"2031-10-20T10:00:00Z"}`, asOperator).ok(200, nil)
	s.post("/v1/admin/rooms/"+third+"/pause", `{"message":"Soon"}`, asOperator).ok(200, nil)
	doc := eventually(t, "the rows of the rooms say it", document, func(doc map[string]any) bool {
		r := doc["room"].(map[string]any)
		return r["rate_per_minute"] == nil && r["state"] == nil && r["message"] == nil && r["closes_at"] == nil && r["lease_s"] == 600.0
	})
	if d := dates(doc)[0].(map[string]any); d["id"] != first || d["room"].(map[string]any)["closes_at"] != "2031-10-20T12:00:00+02:00" || dates(doc)[1].(map[string]any)["room"] != nil {
		t.Errorf("the dates are %v", dates(doc))
	}
	var r revisedSeries
	put(doc, "").ok(200, &r)
	if r.said() != strings.Repeat("unchanged 0 told 0: \n", 3) || len(r.Notes) != 0 || len(r.Changes) != 0 || r.Series != made {
		t.Fatalf("as it is: %+v", r)
	}

	doc["name"], doc["room"].(map[string]any)["lease_s"] = "Every week", 900
	moved := dates(doc)[1].(map[string]any)
	moved["starts_at"], moved["doors_at"], moved["room"] = "2031-11-01T19:30", "2031-11-01T18:30", map[string]any{"closes_at": "2031-10-31T10:00"}
	doc["dates"] = []any{dates(doc)[0], moved, map[string]any{"starts_at": "2031-11-14T19:30", "room": map[string]any{"opens_at": "2031-09-02T10:00"}}}
	renamed := `name: "Weekly" -> "Every week", `
	want := "changed 0 told 0: " + renamed + "room.lease_s: 600 -> 900\n" +
		"changed 0 told %d: " + renamed + `starts_at: "2031-10-31T19:30:00+01:00" -> "2031-11-01T19:30:00+01:00", doors_at: "2031-10-31T18:30:00+01:00" -> "2031-11-01T18:30:00+01:00", ` +
		`room.lease_s: 600 -> 900, room.closes_at: nothing -> "2031-10-31T09:00:00Z"` + "\n" +
		"created 60 told 0: \n"
	put(doc, "?dry_run=true").ok(200, &r)
	if r.said() != fmt.Sprintf(want, 0) || !r.DryRun || r.Dates[2].Event != nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], third) ||
		!slices.Equal(paths(r.Changes), []string{`series.name: "Weekly" -> "Every week"`}) {
		t.Fatalf("dry run: %s%+v\nnot %s", r.said(), r, want)
	}
	noted := func() int {
		return query[int](s, `select count(*) from audit_log where action in ('series.revise', 'event.revise', 'room.configure') and subject not in (select subject from audit_log where action = 'room.pause') and not detail ? 'rate_per_minute'`)
	}
	before := noted()
	if document()["name"] != "Weekly" || query[int](s, `select count(*) from events where series_id = $1`, made.ID) != 3 {
		t.Fatal("the dry run has changed something")
	}
	r = revisedSeries{}
	put(doc, "").ok(200, &r)
	if r.said() != fmt.Sprintf(want, 1) || r.DryRun || r.Series.Name != "Every week" || r.Dates[2].Event == nil {
		t.Fatalf("for real: %s%+v", r.said(), r)
	}
	fresh := *r.Dates[2].Event
	if n := noted() - before; n != 5 { // the series, two events and two rooms
		t.Errorf("the audit log has %d entries", n)
	}
	for event, want := range map[string]string{first: `90 "" `, second: `60000 "" `, third: `60000 "Soon" `, fresh: `600 "" 2031-09-02T08:00:00Z`} {
		rate, message, opens := room(event)
		if got := fmt.Sprintf("%d %q %s", rate, message, opens); got != want {
			t.Errorf("the room of %s has %s, not %s", event, got, want)
		}
	}
	var now seriesAnswer
	s.get("/v1/series/"+made.ID).ok(200, &now)
	if now.Name != "Every week" || len(now.Dates) != 4 || now.Dates[1].Event != second || now.Dates[3].Event != fresh || now.Dates[3].Room.State != "scheduled" {
		t.Errorf("shown is %+v", now)
	}
	if n := query[int](s, `select count(*) from emails where kind = 'reschedule'`); n != 1 {
		t.Errorf("%d e-mails", n)
	}
	put(doc, "").ok(200, &r) // the answer was lost
	if strings.Contains(r.said(), "changed 0 told 1") || strings.Contains(r.said(), "created") {
		t.Errorf("once more: %s", r.said())
	}

	// What cannot be says where, of which date, and leaves all as it is, the rooms too.
	doc = document()
	doc["currency"], doc["room"].(map[string]any)["lease_s"] = "USD", 700
	if p := put(doc, "").refused(400, "invalid-request"); !strings.Contains(p.Detail, "2031-10-24T19:30:00+02:00") || !strings.Contains(p.Detail, "$.currency") {
		t.Errorf("refused as %q", p.Detail)
	}
	doc = document()
	doc["room"].(map[string]any)["lease_s"] = 700
	dates(doc)[1].(map[string]any)["room"] = map[string]any{"opens_at": "2031-09-01T10:00"} // it is open
	for _, query := range []string{"?dry_run=true", ""} {
		if p := put(doc, query).refused(409, "conflict"); !strings.Contains(p.Detail, "2031-11-01T19:30:00+01:00") {
			t.Errorf("refused as %q", p.Detail)
		}
	}
	delete(dates(doc)[1].(map[string]any), "room")
	doc["dates"] = append(dates(doc), map[string]any{"id": s.event, "starts_at": "2031-11-21T19:30"})
	put(doc, "").refused(400, "invalid-request") // of another venue
	if got, err := s.rooms.Room(t.Context(), first); err != nil || got.Throttle.Lease != 15*time.Minute {
		t.Errorf("the room was changed: %+v, %v", got.Settings, err)
	}
	s.do(http.MethodPut, "/v1/admin/series/"+s.event, text(t, document()), asOperator).refused(404, "not-found")
	s.get("/v1/admin/series/"+s.event+"/document", asOperator).refused(404, "not-found")
	put(s.documentOf(first), "").refused(400, "invalid-request")
	s.do(http.MethodPut, path, strings.Repeat(" ", 33<<20), asOperator).refused(413, "too-large")
	var big = document()
	big["description"] = strings.Repeat("words ", 1000)
	big["notes"] = strings.Repeat("x", 2<<20) // larger than other bodies may be, and read
	if p := put(big, "").refused(400, "invalid-request"); !strings.Contains(p.Detail, "$.notes") {
		t.Errorf("refused as %q", p.Detail)
	}
}

// TestADateJoinsItsSeries that was an event of its own, by PUT.
func TestADateJoinsItsSeries(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	made := s.newSeries("Weekly", "FREQ=WEEKLY;COUNT=2")
	var doc map[string]any
	s.get("/v1/admin/series/"+made.ID+"/document", asOperator).ok(200, &doc)
	one := make(map[string]any)
	for key, value := range doc {
		if key != "dates" && key != "id" {
			one[key] = value
		}
	}
	one["starts_at"] = "2031-11-07T19:30"
	var alone struct{ ID string }
	s.post("/v1/admin/events", text(t, one), asOperator).ok(201, &alone)
	doc["dates"] = append(doc["dates"].([]any), "2031-11-07T19:30")
	var r revisedSeries
	s.do(http.MethodPut, "/v1/admin/series/"+made.ID+"?notify=false", text(t, doc), asOperator).ok(200, &r)
	if len(r.Dates) != 3 || r.Dates[2].Outcome != "joined" || *r.Dates[2].Event != alone.ID {
		t.Fatalf("%+v", r)
	}
	if n := query[int](s, `select count(*) from audit_log where action = 'series.revise' and subject = $1 and detail->'joined' ? $2::text`, made.ID, alone.ID); n != 1 {
		t.Errorf("noted %d times", n)
	}
	// It is one of another series' dates from then on: that of the other is refused.
	other := s.newSeries("Other", "FREQ=WEEKLY;COUNT=1")
	doc["id"] = other.ID
	s.do(http.MethodPut, "/v1/admin/series/"+other.ID, text(t, doc), asOperator).refused(409, "conflict")
}
