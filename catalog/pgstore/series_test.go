package pgstore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"onsale/catalog"
	"onsale/catalog/pgstore"
	"onsale/internal/fault"
)

// season is a document of several dates in Berlin.
func season(t testing.TB, members string) catalog.NewEvent {
	t.Helper()
	e, _, err := catalog.ParseEvent(fmt.Appendf(nil, `{"name": "Season", "currency": "EUR", "timezone": "Europe/Berlin",
	  "venue": {"name": "Hall", "city": "Köln"}, "artists": ["Zoe"],
	  "generate": {"kind": "rows", "sections": [{"name": "Front", "rows": 1, "seats_per_row": 3}]}, "prices": {"Front": {"amount": 5000}},
	  "areas": [{"name": "Floor", "capacity": 4, "price": 3000}], %s}`, members))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

const threeFridays = `"starts_at": "2027-03-19T19:30", "repeat": "FREQ=WEEKLY;COUNT=3"`

func TestSeriesIsCreatedAsAWhole(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	ctx := t.Context()
	var told []string
	store.OnDates(func(done, total int) { told = append(told, fmt.Sprint(done, "/", total)) })
	made, err := store.CreateSeries(ctx, season(t, threeFridays+`, "doors_at": "2027-03-19T18:30", "room": {"opens_at": "2027-01-01T10:00"}`))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(told, []string{"1/3", "2/3", "3/3"}) {
		t.Errorf("progress was %v", told)
	}
	read, err := store.Series(ctx, made.ID)
	if err != nil || read.Name != "Season" || len(read.Events) != 3 {
		t.Fatalf("%+v, %v", read, err)
	}
	tickets := make(map[string]bool)
	for i, e := range read.Events {
		if want := []string{"2027-03-19T18:30:00Z", "2027-03-26T18:30:00Z", "2027-04-02T17:30:00Z"}[i]; e.StartsAt.Format(time.RFC3339) != want ||
			e.StartsAt.Sub(*e.DoorsAt) != time.Hour || e.Series == nil || *e.Series != made.SeriesName || e.Tickets != 7 {
			t.Errorf("date %d is %+v", i, e)
		}
		if made.Events[i].ID != e.ID || !made.Events[i].UpdatedAt.Equal(e.UpdatedAt) {
			t.Errorf("created as %+v, read as %+v", made.Events[i], e)
		}
		page, err := store.Tickets(ctx, catalog.TicketQuery{Event: e.ID})
		if err != nil || len(page.Tickets) != 7 {
			t.Fatalf("%d tickets, %v", len(page.Tickets), err)
		}
		for _, ticket := range page.Tickets {
			tickets[ticket.ID] = true
		}
		var opens time.Time
		if err := pool.QueryRow(ctx, `select opens_at from rooms where event_id = $1`, e.ID).Scan(&opens); err != nil || !opens.Equal(time.Date(2027, 1, 1, 9, 0, 0, 0, time.UTC)) {
			t.Errorf("the room opens at %s, %v", opens, err)
		}
	}
	if len(tickets) != 21 {
		t.Errorf("there are %d tickets", len(tickets))
	}

	// One date that is there already: none is created.
	var before int
	if err := pool.QueryRow(ctx, `select count(*) from events`).Scan(&before); err != nil {
		t.Fatal(err)
	}
	_, err = store.CreateSeries(ctx, season(t, `"dates": ["2027-03-12T19:30", "2027-03-26T19:30"]`))
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "2027-03-26T19:30:00+01:00") {
		t.Errorf("a date that is there: %v", err)
	}
	var after, series int
	if err := pool.QueryRow(ctx, `select (select count(*) from events), (select count(*) from series)`).Scan(&after, &series); err != nil || after != before || series != 1 {
		t.Errorf("%d events became %d, with %d series, %v", before, after, series, err)
	}
	for _, id := range []string{"", "x", "01980000-0000-7000-8000-000000000000", made.Events[0].ID} {
		if _, err := store.Series(ctx, id); !fault.Is(err, fault.NotFound) {
			t.Errorf("series %q: %v", id, err)
		}
	}
	if _, err := store.CreateEvent(ctx, season(t, threeFridays)); !fault.Is(err, fault.Invalid) {
		t.Errorf("created as one event: %v", err)
	}
}

// outcome is what an import did, a date a line.
func outcome(done pgstore.ImportedSeries) string {
	var b strings.Builder
	for _, d := range done.Dates {
		fmt.Fprintf(&b, "%s new=%t joined=%t %v\n", d.StartsAt.UTC().Format("01-02T15:04"), d.IsNew, d.Joined, d.Revision.Changes)
	}
	return b.String()
}

func TestImportedAgainASeriesIsCompared(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	ctx := t.Context()
	how := pgstore.Revising{HoldsLast: time.Hour, Actor: "test"}
	load := func(doc catalog.NewEvent, how pgstore.Revising) pgstore.ImportedSeries {
		t.Helper()
		done, err := store.ImportSeries(ctx, doc, how)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	events := func() (n int) {
		t.Helper()
		if err := pool.QueryRow(ctx, `select count(*) from events`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	dry := how
	dry.DryRun = true
	if tried := load(season(t, threeFridays), dry); !tried.IsNew || tried.Series.ID != "" || tried.Dates[2].Tickets != 7 || events() != 0 {
		t.Errorf("a try of a new one: %+v, %d events", tried, events())
	}
	made := load(season(t, threeFridays), how)
	if same := load(season(t, threeFridays), how); same.IsNew || same.Series != made.Series || events() != 3 || strings.Contains(outcome(same), "new=true") || strings.Contains(outcome(same), "->") {
		t.Errorf("the same again: %s", outcome(same))
	}

	// Other dates, another type, and one date that is left out.
	next := season(t, `"type": "theatre", "dates": ["2027-03-26T19:30", "2027-04-02T19:30", {"starts_at": "2027-04-09T19:30", "status": "draft"}]`)
	want := `03-26T18:30 new=false joined=false [type: "concert" -> "theatre"]
04-02T17:30 new=false joined=false [type: "concert" -> "theatre"]
04-09T17:30 new=true joined=false []
`
	for _, try := range []pgstore.Revising{dry, how} {
		done := load(next, try)
		if outcome(done) != want || len(done.Notes) != 1 || !strings.Contains(done.Notes[0], made.Dates[0].ID) {
			t.Errorf("changed: %s%v", outcome(done), done.Notes)
		}
		if n := events(); n != map[bool]int{true: 3, false: 4}[try.DryRun] {
			t.Errorf("there are %d events", n)
		}
	}
	now, err := store.Series(ctx, made.Series.ID)
	if err != nil || len(now.Events) != 4 || now.Events[0].Type != "concert" || now.Events[1].Type != "theatre" || now.Events[3].Status != "draft" {
		t.Fatalf("%+v, %v", now, err)
	}

	// Written out, it says all dates; edited, it renames all and moves one.
	written, err := store.SeriesDocument(ctx, made.Series.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.NewReplacer(`"name":"Season"`, `"name":"Festival"`, "2027-03-26T19:30:00+01:00", "2027-03-27T15:00:00+01:00", `"type":"concert",`, "").Replace(string(written))
	doc, _, err := catalog.ParseEvent([]byte(edited))
	if err != nil {
		t.Fatalf("%v\n%s", err, edited)
	}
	done := load(doc, how)
	if len(done.Changes) != 1 || len(done.Dates) != 4 || events() != 4 || len(done.Notes) != 0 {
		t.Errorf("renamed: %v %s%v", done.Changes, outcome(done), done.Notes)
	}
	moved, err := store.Event(ctx, now.Events[1].ID)
	if err != nil || moved.Name != "Festival" || moved.Series.Name != "Festival" || moved.StartsAt.Format(time.RFC3339) != "2027-03-27T14:00:00Z" || moved.Sequence != 1 {
		t.Errorf("moved to %+v, %v", moved, err)
	}

	// What cannot be on one date is not done on any.
	bad := season(t, `"dates": ["2027-04-16T19:30", "2027-03-27T15:00"]`)
	bad.Name, bad.Currency = "Festival", "USD"
	_, err = store.ImportSeries(ctx, bad, how)
	if f, ok := fault.Of(err); !ok || f.Code != fault.Invalid || !strings.Contains(err.Error(), "2027-03-27") || events() != 4 {
		t.Errorf("another currency: %v", err)
	}
	unknown := season(t, `"id": "01980000-0000-7000-8000-000000000000", `+threeFridays)
	if _, err := store.ImportSeries(ctx, unknown, how); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown id: %v", err)
	}
	foreign := season(t, `"dates": [{"id": "01980000-0000-7000-8000-000000000000", "starts_at": "2027-03-27T15:00"}]`)
	if _, err := store.ImportSeries(ctx, foreign, how); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown date: %v", err)
	}
}

func TestSeriesTakesInWhatIsThere(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	single, err := store.CreateEvent(ctx, season(t, `"starts_at": "2027-03-26T19:30"`))
	if err != nil {
		t.Fatal(err)
	}
	done, err := store.ImportSeries(ctx, season(t, threeFridays), pgstore.Revising{})
	if err != nil || !done.IsNew || !done.Dates[1].Joined || done.Dates[1].ID != single.ID {
		t.Fatalf("%+v, %v", done, err)
	}
	if e, err := store.Event(ctx, single.ID); err != nil || e.Series == nil || e.Series.ID != done.Series.ID {
		t.Errorf("it is %+v, %v", e, err)
	}
	// Two series cannot share a date.
	other, err := store.CreateSeries(ctx, season(t, `"dates": ["2027-05-01T19:30"]`))
	if err != nil {
		t.Fatal(err)
	}
	both := season(t, `"dates": ["2027-05-01T19:30", "2027-03-26T19:30"]`)
	if _, err := store.ImportSeries(ctx, both, pgstore.Revising{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("dates of two series: %v", err)
	}
	both.Dates.Series = other.ID
	if _, err := store.ImportSeries(ctx, both, pgstore.Revising{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a date of another series: %v", err)
	}
	// A date that is one event's document stays one event.
	doc, err := store.EventDocument(ctx, single.ID, false)
	if err != nil || strings.Contains(string(doc), `"dates"`) || !strings.Contains(string(doc), `"starts_at":"2027-03-26T19:30:00+01:00"`) {
		t.Errorf("%s, %v", doc, err)
	}
}

func TestSeriesIsBounded(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	many := season(t, `"starts_at": "2027-03-19T19:30", "repeat": "FREQ=DAILY;COUNT=5"`)
	many.Areas[0].Capacity = 210_000
	if _, err := store.CreateSeries(ctx, many); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "at once") {
		t.Errorf("a million tickets: %v", err)
	}
	full := season(t, `"starts_at": "2027-01-01T19:30", "repeat": "FREQ=DAILY;COUNT=366"`)
	made, err := store.ImportSeries(ctx, full, pgstore.Revising{})
	if err != nil || len(made.Dates) != 366 {
		t.Fatal(err)
	}
	more := season(t, `"dates": ["2029-01-01T19:30"]`)
	more.Dates.Series = made.Series.ID
	if _, err := store.ImportSeries(ctx, more, pgstore.Revising{}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "367 dates") {
		t.Errorf("a year and a day: %v", err)
	}
	seen := make(map[string]bool)
	for q := (catalog.Query{Series: made.Series.ID, Limit: 200}); ; {
		page, err := store.Events(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			seen[e.ID] = true
		}
		if page.Next == "" {
			break
		}
		other := q
		other.Series, other.Cursor = "01980000-0000-7000-8000-000000000000", page.Next
		if _, err := store.Events(ctx, other); !fault.Is(err, fault.Invalid) {
			t.Errorf("a cursor of another series: %v", err)
		}
		q.Cursor = page.Next
	}
	if len(seen) != 366 {
		t.Errorf("%d events are listed", len(seen))
	}
}

// TestDatesHaveTheSamePlaces: pictures, entrances and what is special about seats are
// those of every date, and stay so when the series is written and read again.
func TestDatesHaveTheSamePlaces(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	dated := []string{`"starts_at": "2027-04-01T18:00:00Z"`, `"dates": ["2027-04-01T18:00:00Z", "2027-04-02T18:00:00Z"], "sections": {"Floor": {"entrance": "Gate"}}`}
	how := pgstore.Revising{Actor: "test"}
	made, err := store.ImportSeries(ctx, places(t, "Marked season", dated...), how)
	if err != nil {
		t.Fatal(err)
	}
	check := func(door, second string) {
		t.Helper()
		now, err := store.Series(ctx, made.Series.ID)
		if err != nil || len(now.Events) != 2 {
			t.Fatalf("%+v, %v", now, err)
		}
		for _, e := range now.Events {
			page, err := store.Tickets(ctx, catalog.TicketQuery{Event: e.ID})
			if want := []string{"1 " + door + " aisle", strings.TrimSpace("2 " + door + " " + second), "3 " + door + " accessible", "Gate", "Gate"}; err != nil || !slices.Equal(said(page.Tickets), want) {
				t.Errorf("on %s tickets are %q, %v", e.StartsAt, said(page.Tickets), err)
			}
			if len(e.Images) != 1 || e.Images[0].Alt != "The hall" {
				t.Errorf("on %s pictures are %+v", e.StartsAt, e.Images)
			}
		}
	}
	check("Door A", "")
	written, err := store.SeriesDocument(ctx, made.Series.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := catalog.ParseEvent(written)
	if err != nil {
		t.Fatalf("%v\n%s", err, written)
	}
	if same, err := store.ImportSeries(ctx, again, how); err != nil || strings.Contains(outcome(same), "->") {
		t.Errorf("as it is: %s, %v", outcome(same), err)
	}
	edits := append(slices.Clone(dated), "Door A", "Door C", `"seat_guid": "2",`, `"seat_guid": "2", "attributes": ["restricted_view"],`)
	done, err := store.ImportSeries(ctx, places(t, "Marked season", edits...), how)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range done.Dates {
		if len(d.Revision.Changes) != 2 {
			t.Errorf("on %s it changed %v", d.StartsAt, d.Revision.Changes)
		}
	}
	check("Door C", "restricted view")

	// A date is revised by its own document.
	if _, err := store.ReviseEvent(ctx, made.Dates[0].ID, again, how); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "$.dates: makes a series") {
		t.Errorf("by that of all: %v", err)
	}
}
