package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"onsale/catalog"
	"onsale/catalog/pgstore"
	"onsale/internal/fault"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
)

var silent = slog.New(slog.DiscardHandler)

func migrate(ctx context.Context, databaseURL string) error {
	return pgstore.Migrate(ctx, databaseURL, silent)
}

// newStore returns a store on a database of this test alone.
func newStore(t testing.TB) (*pgstore.Store, *pgxpool.Pool) {
	t.Helper()
	pool := connect(t, stacktest.Database(t, migrate))
	return pgstore.New(pool, nil), pool
}

func connect(t testing.TB, databaseURL string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// hall is an event with 2×3 seats in two tiers and a standing area of 4.
func hall(t testing.TB, name string, start time.Time) catalog.NewEvent {
	t.Helper()
	e, _, err := catalog.ParseEvent(fmt.Appendf(nil, `{"name": %q, "starts_at": %q, "currency": "EUR", "max_per_buyer": 3,
	  "venue": {"name": "Hall", "address": "Street 1", "city": "Köln", "country": "DE"}, "artists": ["Zoe", "Ada"],
	  "generate": {"kind": "rows", "sections": [{"name": "Front", "rows": 1, "seats_per_row": 3}, {"name": "Back", "rows": 1, "seats_per_row": 3}]},
	  "prices": {"Front": {"amount": 5000, "type": "front_row"}, "Back": {"amount": 2000}},
	  "areas": [{"name": "Floor", "capacity": 4, "price": 3000}]}`, name, start.Format(time.RFC3339)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var spring = time.Date(2027, 4, 1, 18, 0, 0, 0, time.UTC)

func TestCreatedEventReadsBack(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	created, err := store.CreateEvent(ctx, hall(t, "First night", spring))
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.Event(ctx, created.ID)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", created) {
		t.Errorf("created\n%+v\nread\n%+v", created, got)
	}
	if got.Name != "First night" || got.Tickets != 10 || got.Currency != "EUR" || got.MaxPerBuyer != 3 || got.Status != "on_sale" ||
		!got.StartsAt.Equal(spring) || got.DoorsAt != nil || got.Venue.City != "Köln" {
		t.Errorf("read %+v", got)
	}
	if len(got.Artists) != 2 || got.Artists[0].Name != "Zoe" || got.Artists[1].Name != "Ada" {
		t.Errorf("artists are %+v", got.Artists)
	}
	if len(got.Tiers) != 3 || got.Tiers[0].Name != "Front" || got.Tiers[1].Total != 4 || got.Tiers[2].Price != (catalog.Money{Amount: 2000, Currency: "EUR"}) {
		t.Errorf("tiers are %+v", got.Tiers)
	}
}

// TestLayoutSurvivesTheDatabase composes houses, stores them and expects the
// same layout back.
func TestLayoutSurvivesTheDatabase(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	events, err := catalog.Demo(spring.AddDate(-1, 0, 0), "http://127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range append(events, hall(t, "Small", spring)) {
		e = e.Performances()[0]
		want, view, err := catalog.Compose(e, func() string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		created, err := store.CreateEvent(ctx, e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := store.Layout(ctx, created.ID)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Seats) != len(want.Seats) || len(got.Sections) != len(want.Sections) || len(got.Tiers) != len(want.Tiers) {
			t.Fatalf("%s: %d seats, %d sections, %d tiers", e.Name, len(got.Seats), len(got.Sections), len(got.Tiers))
		}
		if fmt.Sprint(got.Runs) != fmt.Sprint(want.Runs) {
			t.Errorf("%s: the runs are\n%v, want\n%v", e.Name, got.Runs, want.Runs)
		}
		for i, s := range got.Seats {
			if o, ok := got.Ordinal(s.ID); !ok || o != i {
				t.Fatalf("%s: ordinal %d is found at %d, %t", e.Name, i, o, ok)
			}
			s.ID = ""
			if s != want.Seats[i] {
				t.Fatalf("%s: ordinal %d is %+v, want %+v", e.Name, i, s, want.Seats[i])
			}
		}
		if got.EventName != e.Name || got.Status != "on_sale" || got.Currency != "EUR" {
			t.Errorf("%s: the layout is of %q, %q, %q", e.Name, got.EventName, got.Status, got.Currency)
		}
		doc, version, err := store.PlanView(ctx, created.ID)
		if err != nil || len(version) != 24 || len(doc) < len(view) {
			t.Errorf("%s: plan view of %d bytes, version %q, %v", e.Name, len(doc), version, err)
		}
	}
}

func TestSearchFindsEverythingOnce(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	want := make(map[string]bool)
	for i := range 23 {
		// Several at the same moment, so that the id has to decide.
		e := hall(t, fmt.Sprintf("Evening %d", i), spring.Add(time.Duration(i/5)*time.Hour))
		created, err := store.CreateEvent(ctx, e)
		if err != nil {
			t.Fatal(err)
		}
		want[created.ID] = true
	}
	for _, limit := range []int{1, 4, 22, 23, 200} {
		seen := make(map[string]bool)
		var last catalog.Event
		q := catalog.Query{Limit: limit}
		for pages := 0; ; pages++ {
			page, err := store.Events(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Events) > limit {
				t.Fatalf("a page of %d with limit %d", len(page.Events), limit)
			}
			for _, e := range page.Events {
				if seen[e.ID] {
					t.Fatalf("limit %d: %s stands on two pages", limit, e.Name)
				}
				if e.StartsAt.Before(last.StartsAt) {
					t.Fatalf("limit %d: %s is out of order", limit, e.Name)
				}
				seen[e.ID], last = true, e
			}
			if page.Next == "" {
				break
			}
			if pages > len(want) {
				t.Fatal("the pages do not end")
			}
			q.Cursor = page.Next
		}
		if len(seen) != len(want) {
			t.Errorf("limit %d: %d events of %d", limit, len(seen), len(want))
		}
	}
}

func TestSearchSelects(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	add := func(change func(*catalog.NewEvent)) {
		t.Helper()
		e := hall(t, "Nachtmusik", spring)
		change(&e)
		if _, err := store.CreateEvent(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	add(func(e *catalog.NewEvent) { e.Type = "opera" })
	add(func(e *catalog.NewEvent) {
		e.Name, e.Venue.City, e.StartsAt = "Übermorgen 100%", "Wien", spring.AddDate(0, 0, 1)
	})
	add(func(e *catalog.NewEvent) {
		e.Name, e.Artists, e.StartsAt = "Solo_A", []string{"Łucja O'Hara"}, spring.AddDate(0, 0, 2)
	})
	add(func(e *catalog.NewEvent) { e.Name, e.Status, e.StartsAt = "Geheim", "draft", spring.AddDate(0, 0, 3) })
	for name, test := range map[string]struct {
		query catalog.Query
		want  string
	}{
		"all public":       {catalog.Query{}, "Nachtmusik, Übermorgen 100%, Solo_A"},
		"drafts too":       {catalog.Query{Drafts: true}, "Nachtmusik, Übermorgen 100%, Solo_A, Geheim"},
		"name, any case":   {catalog.Query{Name: "MUSIK"}, "Nachtmusik"},
		"name, umlaut":     {catalog.Query{Name: "über"}, "Übermorgen 100%"},
		"name, no pattern": {catalog.Query{Name: "%"}, "Übermorgen 100%"},
		"name, underscore": {catalog.Query{Name: "_"}, "Solo_A"},
		"name, quote":      {catalog.Query{Name: "';--"}, ""},
		"artist":           {catalog.Query{Artist: "łucja o'h"}, "Solo_A"},
		"type":             {catalog.Query{Type: "Opera"}, "Nachtmusik"},
		"type, part":       {catalog.Query{Type: "oper"}, ""},
		"city":             {catalog.Query{City: "wie"}, "Übermorgen 100%"},
		"from, inclusive":  {catalog.Query{From: spring.AddDate(0, 0, 1)}, "Übermorgen 100%, Solo_A"},
		"to, exclusive":    {catalog.Query{To: spring.AddDate(0, 0, 1)}, "Nachtmusik"},
		"all together":     {catalog.Query{Name: "s", Artist: "o", City: "k", From: spring, To: spring.AddDate(0, 0, 9)}, "Nachtmusik, Solo_A"},
	} {
		page, err := store.Events(ctx, test.query)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var names []string
		for _, e := range page.Events {
			names = append(names, e.Name)
		}
		if got := strings.Join(names, ", "); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestTicketsPage(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	ctx := t.Context()
	e, err := store.CreateEvent(ctx, hall(t, "Evening", spring))
	if err != nil {
		t.Fatal(err)
	}
	layout, err := store.Layout(ctx, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	order := newOrder(t, pool, e.ID)
	mustExec(t, pool, `update tickets set status = 'purchased', user_id = $2, order_id = $3 where id = $1`, layout.Seats[0].ID, order.user, order.id)
	mustExec(t, pool, `update tickets set status = 'reserved', user_id = $2, order_id = $3, reserved_until = now() + interval '1 hour' where id = $1`, layout.Seats[1].ID, order.user, order.id)
	mustExec(t, pool, `update tickets set status = 'reserved', user_id = $2, order_id = $3, reserved_until = now() - interval '1 second' where id = $1`, layout.Seats[2].ID, order.user, order.id)

	for _, limit := range []int{1, 3, 9, 10, 1000} {
		q := catalog.TicketQuery{Event: e.ID, Limit: limit}
		var all []catalog.Ticket
		for {
			page, err := store.Tickets(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, page.Tickets...)
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		if len(all) != 10 {
			t.Fatalf("limit %d: %d tickets", limit, len(all))
		}
		for i, ticket := range all {
			want := layout.Ticket(i)
			want.Status = "available"
			switch i {
			case 0:
				want.Status = "purchased"
			case 1:
				want.Status = "reserved"
			}
			if ticket != want {
				t.Errorf("ticket %d is %+v, want %+v", i, ticket, want)
			}
		}
	}
	for name, test := range map[string]struct {
		query catalog.TicketQuery
		want  int
	}{
		"section by name":  {catalog.TicketQuery{Section: "Floor"}, 4},
		"section by id":    {catalog.TicketQuery{Section: layout.Sections[0].ID}, 3},
		"tier by name":     {catalog.TicketQuery{Tier: "Back"}, 3},
		"tier by id":       {catalog.TicketQuery{Tier: layout.Tiers[0].ID}, 3},
		"available":        {catalog.TicketQuery{Status: "available"}, 8},
		"purchased":        {catalog.TicketQuery{Status: "purchased"}, 1},
		"no such section":  {catalog.TicketQuery{Section: "Nowhere"}, 0},
		"section and tier": {catalog.TicketQuery{Section: "Front", Tier: "Back"}, 0},
	} {
		test.query.Event = e.ID
		page, err := store.Tickets(ctx, test.query)
		if err != nil || len(page.Tickets) != test.want || page.Next != "" {
			t.Errorf("%s: %d tickets, next %q, %v; want %d", name, len(page.Tickets), page.Next, err, test.want)
		}
	}
	event, ordinal, err := store.TicketEvent(ctx, layout.Seats[7].ID)
	if err != nil || event != e.ID || ordinal != 7 {
		t.Errorf("ticket 7 is found at %s, %d, %v", event, ordinal, err)
	}
}

func TestUnknownAndBrokenInput(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	name := "x"
	for _, id := range []string{"", "1", "00000000-0000-7000-8000-00000000000", "00000000-0000-7000-8000-000000000001", "zzzzzzzz-0000-7000-8000-000000000001", strings.Repeat("9", 5000), "\xff"} {
		_, err1 := store.Event(ctx, id)
		_, err2 := store.Layout(ctx, id)
		_, _, err3 := store.PlanView(ctx, id)
		_, err4 := store.Tickets(ctx, catalog.TicketQuery{Event: id})
		_, _, err5 := store.UpdateEvent(ctx, id, catalog.EventPatch{Name: &name})
		_, _, err6 := store.TicketEvent(ctx, id)
		for i, err := range []error{err1, err2, err3, err4, err5, err6} {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("id %.40q, call %d: %v, want fault.NotFound", id, i+1, err)
			}
		}
	}
	for _, q := range []catalog.Query{
		{Limit: -1}, {Limit: 201}, {Cursor: "x"}, {Name: strings.Repeat("n", 201)}, {City: "a\x00"}, {Artist: "\xff"},
		{From: spring, To: spring.Add(-1)}, {From: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)},
		{Cursor: catalog.Query{Sort: catalog.ByStart}.Token(catalog.EventCursor{StartsAt: spring, ID: "nonsense"})},
		{Cursor: catalog.Query{Sort: catalog.ByName}.Token(catalog.EventCursor{StartsAt: spring, ID: "00000000-0000-7000-8000-000000000001"})},
	} {
		if _, err := store.Events(ctx, q); !fault.Is(err, fault.Invalid) {
			t.Errorf("query %+v: %v, want fault.Invalid", q, err)
		}
	}
	e, err := store.CreateEvent(ctx, hall(t, "Evening", spring))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []catalog.TicketQuery{{Limit: -1}, {Limit: 1001}, {Status: "gone"}, {Cursor: "x"}, {Section: "\x00"}, {Tier: strings.Repeat("t", 201)}} {
		q.Event = e.ID
		if _, err := store.Tickets(ctx, q); !fault.Is(err, fault.Invalid) {
			t.Errorf("tickets %+v: %v, want fault.Invalid", q, err)
		}
	}
	// A cursor from beyond all time is odd but means something.
	if page, err := store.Events(ctx, catalog.Query{Cursor: catalog.Query{Sort: catalog.ByStart}.Token(catalog.EventCursor{StartsAt: time.UnixMicro(math.MaxInt64 >> 6), ID: e.ID})}); err != nil || len(page.Events) != 0 {
		t.Errorf("a cursor far ahead: %d events, %v", len(page.Events), err)
	}
}

func TestUpdateEvent(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	e, err := store.CreateEvent(ctx, hall(t, "Evening", spring))
	if err != nil {
		t.Fatal(err)
	}
	other, err := store.CreateEvent(ctx, hall(t, "Other", spring))
	if err != nil {
		t.Fatal(err)
	}
	name, status, text, most := "Late evening", "postponed", "Moved.", 9
	start, doors := spring.AddDate(0, 1, 0), spring.AddDate(0, 1, 0).Add(-time.Hour)
	changed, _, err := store.UpdateEvent(ctx, e.ID, catalog.EventPatch{
		Name: &name, Status: &status, Description: &text, MaxPerBuyer: &most, StartsAt: &start, DoorsAt: &doors,
	})
	if err != nil {
		t.Fatal(err)
	}
	if changed.Name != name || changed.Status != status || changed.Description != text || changed.MaxPerBuyer != most ||
		!changed.StartsAt.Equal(start) || !changed.DoorsAt.Equal(doors) {
		t.Errorf("changed to %+v", changed)
	}
	if read, err := store.Event(ctx, e.ID); err != nil || fmt.Sprintf("%+v", read.DoorsAt) != fmt.Sprintf("%+v", changed.DoorsAt) || read.Name != name {
		t.Errorf("read %+v, %v", read, err)
	}
	one := "x"
	if same, _, err := store.UpdateEvent(ctx, e.ID, catalog.EventPatch{Description: &one}); err != nil || same.Name != name || same.MaxPerBuyer != most {
		t.Errorf("a change of one field changed others: %+v, %v", same, err)
	}
	bad, zero, late := "sold", 0, start.Add(time.Hour)
	for what, p := range map[string]catalog.EventPatch{
		"a status that is none": {Status: &bad}, "a limit of 0": {MaxPerBuyer: &zero}, "doors after the start": {DoorsAt: &late},
		"no name": {Name: new(string)},
	} {
		if _, _, err := store.UpdateEvent(ctx, e.ID, p); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want fault.Invalid", what, err)
		}
	}
	if _, _, err := store.UpdateEvent(ctx, other.ID, catalog.EventPatch{Name: &name, StartsAt: &start}); !fault.Is(err, fault.Conflict) {
		t.Errorf("the same event twice: %v, want fault.Conflict", err)
	}
	if read, err := store.Event(ctx, e.ID); err != nil || !read.DoorsAt.Equal(doors) {
		t.Errorf("a refused change left %+v, %v", read, err)
	}
}

func TestPlansAreKeptOnce(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	plan := hall(t, "x", spring).Plan
	plan.Name = "Main hall"
	first, isNew, err := store.ImportPlan(ctx, plan)
	if err != nil || !isNew {
		t.Fatalf("first import: new %t, %v", isNew, err)
	}
	again, isNew, err := store.ImportPlan(ctx, plan)
	if err != nil || isNew || again != first {
		t.Errorf("second import: %s, new %t, %v; want %s", again, isNew, err, first)
	}
	byRef := func(ref string, start time.Time) error {
		e := hall(t, "By plan", start)
		e.Plan, e.PlanRef = nil, ref
		created, err := store.CreateEvent(ctx, e)
		if err == nil && created.Tickets != 10 {
			t.Errorf("plan %q: %d tickets", ref, created.Tickets)
		}
		return err
	}
	if err := byRef(first, spring); err != nil {
		t.Errorf("by id: %v", err)
	}
	if err := byRef("Main hall", spring.Add(time.Hour)); err != nil {
		t.Errorf("by name: %v", err)
	}
	if err := byRef("Nowhere", spring); !fault.Is(err, fault.Invalid) {
		t.Errorf("an unknown plan: %v", err)
	}
	other := *plan
	other.Version = strings.Repeat("0", 64)
	if _, _, err := store.ImportPlan(ctx, &other); err != nil {
		t.Fatal(err)
	}
	if err := byRef("Main hall", spring); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "several") {
		t.Errorf("a name that two plans have: %v", err)
	}
}

func TestTheSameEventIsCreatedOnce(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	const nodes = 8
	results := make([]error, nodes)
	var all errgroup.Group
	for i := range nodes {
		all.Go(func() error {
			_, results[i] = store.CreateEvent(context.WithoutCancel(t.Context()), hall(t, "Evening", spring))
			return nil
		})
	}
	_ = all.Wait()
	created := 0
	for _, err := range results {
		switch {
		case err == nil:
			created++
		case !fault.Is(err, fault.Conflict):
			t.Errorf("got %v, want fault.Conflict", err)
		}
	}
	var events, tickets int
	if err := pool.QueryRow(t.Context(), `select (select count(*) from events), (select count(*) from tickets)`).Scan(&events, &tickets); err != nil {
		t.Fatal(err)
	}
	if created != 1 || events != 1 || tickets != 10 {
		t.Errorf("%d were told they created it; there are %d events and %d tickets", created, events, tickets)
	}
}

func TestSeedDemoIsIdempotent(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	began := time.Now()
	const site = "http://127.0.0.1:8080"
	first, created, err := catalog.SeedDemo(ctx, store, now, site)
	if err != nil || created != 7 || len(first) != 7 {
		t.Fatalf("first: %d created, %d in all, %v", created, len(first), err)
	}
	t.Logf("%d tickets created in %v", first[0].Tickets+first[1].Tickets+first[2].Tickets, time.Since(began))
	again, created, err := catalog.SeedDemo(ctx, store, now.Add(time.Hour), site)
	if err != nil || created != 0 || len(again) != 7 || again[2].ID != first[2].ID {
		t.Errorf("again: %d created, %d in all, %v", created, len(again), err)
	}
	for i, e := range again {
		if e.UpdatedAt != first[i].UpdatedAt {
			t.Errorf("%s was changed", e.Name)
		}
		if series := e.Series; (series != nil) != (i >= 3) || i > 3 && series.ID != again[3].Series.ID {
			t.Errorf("event %d, %s, is of the series %v", i, e.Name, series)
		}
	}
	// Two of them are given other pictures, one none; then the program moves.
	others := []catalog.Image{{URL: "https://images.example/assets/posters/mine.png", Alt: "Mine", Width: 2, Height: 1}}
	for i, list := range map[int][]catalog.Image{0: others, 1: {}} {
		if _, _, err := store.UpdateEvent(ctx, first[i].ID, catalog.EventPatch{Images: &list}); err != nil {
			t.Fatal(err)
		}
	}
	there, created, err := catalog.SeedDemo(ctx, store, now, "https://tickets.example/")
	if err != nil || created != 0 || len(there) != 7 {
		t.Fatalf("elsewhere: %d created, %d in all, %v", created, len(there), err)
	}
	for i, e := range there {
		switch {
		case i == 0 && (len(e.Images) != 1 || e.Images[0] != others[0]), i == 1 && len(e.Images) != 0,
			i > 1 && (len(e.Images) != 1 || !strings.HasPrefix(e.Images[0].URL, "https://tickets.example/assets/posters/")):
			t.Errorf("the pictures of %s are %v", e.Name, e.Images)
		}
	}
}

// TestStadiumImports stores a plan of more than 16,000 seats and puts
// an event on it.
func TestStadiumImports(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	e, _, err := catalog.ParseEvent([]byte(`{"name": "Final", "starts_at": "2027-06-01T18:00:00Z", "currency": "EUR", "venue": {"name": "Stadium"},
	  "generate": {"kind": "rows", "sections": [{"name": "A", "rows": 130, "seats_per_row": 62}, {"name": "B", "rows": 130, "seats_per_row": 62}]},
	  "prices": {"A": {"amount": 1}, "B": {"amount": 2}}}`))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	plan, _, err := catalog.ParsePlan(e.Plan.Document)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.ImportPlan(ctx, plan); err != nil {
		t.Fatal(err)
	}
	imported := time.Since(began)
	created, err := store.CreateEvent(ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	began = time.Now()
	if _, err := store.Layout(ctx, created.ID); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d seats: plan imported in %v, event on it after %v, layout loaded in %v", created.Tickets, imported, took, time.Since(began))
	if created.Tickets < 16_000 {
		t.Errorf("only %d tickets", created.Tickets)
	}
}

// The row that a room is seeded from says what the event document said.
func TestRoomSettings(t *testing.T) {
	t.Parallel()
	store, db := newStore(t)
	ctx := t.Context()
	opens := time.Date(2027, 1, 1, 10, 0, 0, 0, time.UTC)
	h := hall(t, "Evening", spring)
	h.Room = catalog.RoomSettings{
		State: "scheduled", Message: "m", OpensAt: &opens, RatePerMinute: 7, Burst: 2, MaxShoppers: 3,
		Lease: time.Minute, ClaimWindow: 5 * time.Second, Grace: 9 * time.Second,
		Order: "draw", InviteOnly: true, Challenge: "pow", PublicSource: "a beacon",
	}
	e, err := store.CreateEvent(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	var got catalog.RoomSettings
	var lease, window, grace int
	err = db.QueryRow(ctx, `
		select state, message, rate_per_minute, burst, max_shoppers, lease_s, claim_window_s, grace_s,
		       queue_order, invite_only, challenge, public_source, opens_at from rooms where event_id = $1`, e.ID).
		Scan(&got.State, &got.Message, &got.RatePerMinute, &got.Burst, &got.MaxShoppers, &lease, &window, &grace,
			&got.Order, &got.InviteOnly, &got.Challenge, &got.PublicSource, &got.OpensAt)
	if err != nil || !got.OpensAt.Equal(opens) {
		t.Fatalf("got %+v, %v", got, err)
	}
	got.OpensAt = h.Room.OpensAt
	got.Lease, got.ClaimWindow, got.Grace = time.Duration(lease)*time.Second, time.Duration(window)*time.Second, time.Duration(grace)*time.Second
	if got != h.Room {
		t.Errorf("got %+v, want %+v", got, h.Room)
	}
}

// TestReadsFallBackToThePrimary gives the store a replica that knows nothing and
// one that does not answer.
func TestReadsFallBackToThePrimary(t *testing.T) {
	t.Parallel()
	_, primary := newStore(t)
	_, behind := newStore(t)
	dead, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/none?connect_timeout=1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dead.Close)
	e, err := pgstore.New(primary, nil).CreateEvent(t.Context(), hall(t, "Evening", spring))
	if err != nil {
		t.Fatal(err)
	}
	for name, replica := range map[string]*pgxpool.Pool{"behind": behind, "dead": dead} {
		store := pgstore.New(primary, pgstore.NewReplica(primary, replica, time.Second, silent))
		if got, err := store.Event(t.Context(), e.ID); err != nil || got.Name != "Evening" {
			t.Errorf("replica %s: event %+v, %v", name, got, err)
		}
		if l, err := store.Layout(t.Context(), e.ID); err != nil || len(l.Seats) != 10 {
			t.Errorf("replica %s: layout %v", name, err)
		}
	}
	if _, err := pgstore.New(dead, nil).Event(t.Context(), e.ID); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a dead database: %v, want fault.Unavailable", err)
	}
	if _, err := pgstore.New(dead, nil).CreateEvent(t.Context(), hall(t, "E", spring)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("creating in a dead database: %v, want fault.Unavailable", err)
	}
}

type madeOrder struct{ id, user string }

func newOrder(t testing.TB, pool *pgxpool.Pool, event string) madeOrder {
	t.Helper()
	var o madeOrder
	err := pool.QueryRow(t.Context(), `
with u as (insert into users (id) values (gen_random_uuid()) returning id)
insert into orders (id, event_id, user_id, visitor, hold_id, status, currency, total_amount, buyer_name, buyer_email, pay_by)
select gen_random_uuid(), $1, u.id, 'v', gen_random_uuid()::text, 'awaiting_payment', 'EUR', 1, 'n', 'e', now() from u
returning id, user_id`, event).Scan(&o.id, &o.user)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func mustExec(t testing.TB, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	tag, err := pool.Exec(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	if tag.RowsAffected() != 1 {
		t.Fatalf("%d rows changed by %s", tag.RowsAffected(), sql)
	}
}

// TestImpossibleStatesAreRefused tries to write each of them and expects the
// database to say no, naming the constraint.
func TestImpossibleStatesAreRefused(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	e, err := store.CreateEvent(t.Context(), hall(t, "Evening", spring))
	if err != nil {
		t.Fatal(err)
	}
	l, err := store.Layout(t.Context(), e.ID)
	if err != nil {
		t.Fatal(err)
	}
	ticket := l.Seats[0].ID
	order, other := newOrder(t, pool, e.ID), newOrder(t, pool, e.ID)
	mustExec(t, pool, `insert into order_items (order_id, ticket_id, price_amount, total_amount, sold) values ($1, $2, 1, 1, true)`, order.id, ticket)
	for name, test := range map[string]struct {
		sql        string
		args       []any
		constraint string
	}{
		"available, but somebody's": {`update tickets set user_id = $2 where id = $1`, []any{ticket, order.user}, "tickets_state"},
		"available in an order":     {`update tickets set order_id = $2 where id = $1`, []any{ticket, order.id}, "tickets_state"},
		"reserved without end": {`update tickets set status = 'reserved', user_id = $2, order_id = $3 where id = $1`,
			[]any{ticket, order.user, order.id}, "tickets_state"},
		"reserved for nobody": {`update tickets set status = 'reserved', reserved_until = now() where id = $1`, []any{ticket}, "tickets_state"},
		"purchased, running out": {`update tickets set status = 'purchased', user_id = $2, order_id = $3, reserved_until = now() where id = $1`,
			[]any{ticket, order.user, order.id}, "tickets_state"},
		"purchased without order": {`update tickets set status = 'purchased', user_id = $2 where id = $1`, []any{ticket, order.user}, "tickets_state"},
		"held":                    {`update tickets set status = 'held' where id = $1`, []any{ticket}, "tickets_state"},
		"an ordinal twice":        {`update tickets set ordinal = 1 where id = $1`, []any{ticket}, "tickets_event_id_ordinal_key"},
		"a negative price":        {`update tickets set price_amount = -1 where id = $1`, []any{ticket}, "tickets_price_amount_check"},
		"sold twice": {`insert into order_items (order_id, ticket_id, price_amount, total_amount, sold) values ($1, $2, 1, 1, true)`,
			[]any{other.id, ticket}, "order_items_sold_once"},
		"a hold in two orders": {`update orders set hold_id = (select hold_id from orders where id = $1) where id = $2`,
			[]any{order.id, other.id}, "orders_open_hold"},
		"an order in no state": {`update orders set status = 'lost' where id = $1`, []any{order.id}, "orders_transition"},
		"two live payments": {`insert into payments (id, order_id, attempt, gateway, method, status, amount, currency, look_at)
			select gen_random_uuid(), $1, n, 'g', 'm', 'authorised', 1, 'EUR', now() from generate_series(1, 2) n`, []any{order.id}, "payments_one_live"},
		"a refund of nothing": {`insert into refunds (id, order_id, payment_id, amount, status) values (gen_random_uuid(), $1, gen_random_uuid(), 0, 'pending')`,
			[]any{order.id}, "refunds_amount_check"},
		"an answer without a status": {`insert into idempotency_keys (scope, key, fingerprint, body, lease_until) values ('s', $1, 'f', 'b', now())`,
			[]any{"k"}, "idempotency_keys_check"},
		"a room that admits backwards": {`update rooms set rate_per_minute = -1 where event_id = $1`, []any{e.ID}, "rooms_rate_per_minute_check"},
		"an event without end of sale": {`update events set status = 'sold' where id = $1`, []any{e.ID}, "events_status_check"},
	} {
		_, err := pool.Exec(t.Context(), test.sql, test.args...)
		pgErr, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || pgErr.ConstraintName != test.constraint {
			t.Errorf("%s: got %v, want it refused by %s", name, err, test.constraint)
		}
	}
	// And the possible ones are possible.
	mustExec(t, pool, `update tickets set status = 'reserved', user_id = $2, order_id = $3, reserved_until = now() where id = $1`, ticket, order.user, order.id)
	mustExec(t, pool, `update tickets set status = 'purchased', reserved_until = null where id = $1`, ticket)
	mustExec(t, pool, `update tickets set status = 'available', user_id = null, order_id = null where id = $1`, ticket)
}

func TestMigrateFromManyNodesAtOnce(t *testing.T) {
	t.Parallel()
	databaseURL := stacktest.Database(t, func(context.Context, string) error { return nil })
	ctx := t.Context()
	n, err := pgstore.Pending(ctx, databaseURL)
	if err != nil || n < 2 {
		t.Fatalf("an empty database has %d pending migrations, %v", n, err)
	}
	var nodes errgroup.Group
	for range 4 {
		nodes.Go(func() error { return migrate(ctx, databaseURL) })
	}
	if err := nodes.Wait(); err != nil {
		t.Fatal(err)
	}
	if n, err := pgstore.Pending(ctx, databaseURL); err != nil || n != 0 {
		t.Fatalf("after the migration %d are pending, %v", n, err)
	}
	began := time.Now()
	if err := migrate(ctx, databaseURL); err != nil {
		t.Fatal(err)
	}
	t.Logf("migrating what is current took %v", time.Since(began))
	pool := connect(t, databaseURL)
	var applied, versions, jobs int
	err = pool.QueryRow(ctx, `
select (select count(*) from goose_db_version where version_id > 0), (select count(*) from river_migration), (select count(*) from river_job)`).
		Scan(&applied, &versions, &jobs)
	files, ferr := os.ReadDir("migrations")
	if ferr != nil {
		t.Fatal(ferr)
	}
	if err != nil || applied != len(files)+1 || versions != 8 { // and one for the job queue
		t.Errorf("%d migrations were recorded, %d of the job queue, %v", applied, versions, err)
	}
}

func TestMigrateSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	err := migrate(t.Context(), "postgres://onsale:hunter2@127.0.0.1:1/none?connect_timeout=1")
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a dead database: %v", err)
	}
	err = migrate(t.Context(), "postgres://onsale:hunter2@[::broken/none")
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a broken address: %v", err)
	}
}

// TestTheDatabaseComesBack stops the server under a cache: what is known stays
// served, what is not says so, and all is well when it is back.
func TestTheDatabaseComesBack(t *testing.T) {
	t.Parallel()
	server := stacktest.OwnPostgres(t, stack.PostgresOptions{NoSync: true})
	ctx := t.Context()
	if err := migrate(ctx, server.URL()); err != nil {
		t.Fatal(err)
	}
	store := pgstore.New(connect(t, server.URL()), nil)
	known, err := store.CreateEvent(ctx, hall(t, "Known", spring))
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := store.CreateEvent(ctx, hall(t, "Unknown", spring))
	if err != nil {
		t.Fatal(err)
	}
	var ahead time.Duration
	cache := catalog.NewCache(store, func() time.Time { return spring.Add(ahead) })
	if _, err := cache.Layout(ctx, known.ID); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	ahead = time.Hour
	if l, err := cache.Layout(ctx, known.ID); err != nil || len(l.Seats) != 10 {
		t.Errorf("while the database is down: %v", err)
	}
	if e, err := cache.Event(ctx, known.ID); err != nil || e.Name != "Known" {
		t.Errorf("while the database is down: %+v, %v", e, err)
	}
	if _, err := cache.Event(ctx, unknown.ID); !fault.Is(err, fault.Unavailable) {
		t.Errorf("an event never seen: %v, want fault.Unavailable", err)
	}
	if _, err := cache.Tickets(ctx, catalog.TicketQuery{Event: known.ID}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("tickets: %v, want fault.Unavailable", err)
	}
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if e, err := cache.Event(ctx, unknown.ID); err != nil || e.Name != "Unknown" {
		t.Errorf("after the database is back: %+v, %v", e, err)
	}
	if page, err := cache.Tickets(ctx, catalog.TicketQuery{Event: known.ID}); err != nil || len(page.Tickets) != 10 {
		t.Errorf("after the database is back: %d tickets, %v", len(page.Tickets), err)
	}
}

// names are the events that a text finds, in the order of their start.
func names(t *testing.T, store *pgstore.Store, text string, drafts bool) string {
	t.Helper()
	page, err := store.Events(t.Context(), catalog.Query{Text: text, Drafts: drafts, Sort: catalog.ByStart})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	found := make([]string, len(page.Events))
	for i, e := range page.Events {
		found[i] = e.Name
	}
	return strings.Join(found, ", ")
}

func TestSearchFollowsChanges(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	ctx := t.Context()
	draft := hall(t, "Secret evening", spring)
	draft.Status = "draft"
	event, err := store.CreateEvent(ctx, draft)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(when, text string, public, all string) {
		t.Helper()
		if got := names(t, store, text, false); got != public {
			t.Errorf("%s: %q finds %q in public, want %q", when, text, got, public)
		}
		if got := names(t, store, text, true); got != all {
			t.Errorf("%s: %q finds %q of all, want %q", when, text, got, all)
		}
	}
	patch := func(p catalog.EventPatch) {
		t.Helper()
		if _, _, err := store.UpdateEvent(ctx, event.ID, p); err != nil {
			t.Fatal(err)
		}
	}
	expect("a draft", "secret", "", "Secret evening")
	expect("a draft", "secert", "", "") // its words are no guesses
	onSale, name, text := "on_sale", "Open evening", "With fireworks."
	patch(catalog.EventPatch{Status: &onSale})
	expect("on sale", "secert", "Secret evening", "Secret evening")
	patch(catalog.EventPatch{Name: &name, Description: &text})
	expect("renamed", "secret", "", "")
	expect("renamed", "open firew", name, name)
	expect("renamed", "zoe ada hall koeln", name, name)
	mustExec(t, pool, `update artists set name = 'Björk' where name = 'Zoe'`)
	expect("an artist renamed", "bjork", name, name)
	expect("an artist renamed", "zoe", "", "")
	mustExec(t, pool, `update venues set city = 'Łódź'`)
	expect("a venue moved", "lodz", name, name)
	expect("a venue moved", "köln", "", "")
	mustExec(t, pool, `insert into artists (id, name) values (gen_random_uuid(), 'Late Guest')`)
	mustExec(t, pool, `insert into event_artists select $1, id, 9 from artists where name = 'Late Guest'`, event.ID)
	expect("an artist more", `"late guest"`, name, name)
	mustExec(t, pool, `insert into artists (id, name) values (gen_random_uuid(), 'Stand In')`)
	mustExec(t, pool, `update event_artists set artist_id = (select id from artists where name = 'Stand In') where position = 9`)
	expect("an artist replaced", "late", "", "")
	expect("an artist replaced", `"stand in"`, name, name)
	mustExec(t, pool, `delete from event_artists where position = 9`)
	expect("an artist less", "stand", "", "")
	if _, err := pool.Exec(ctx, `delete from rooms; delete from tickets; delete from events`); err != nil {
		t.Fatal(err)
	}
	expect("gone", "open", "", "")
}

func TestHostileTextsAreSafe(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	if _, err := store.CreateEvent(ctx, hall(t, `100% of "Them" \ the_end ﬁn`, spring)); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"%", "_", `"`, `\`, "--", "!!!", "\x00", "a\x00b", "a\nb", "\x1b[0m", "\xff", strings.Repeat("x", 10_000), strings.Repeat("a ", 90), "-the", "🎺", "\u0301",
	} {
		if _, err := store.Events(ctx, catalog.Query{Text: bad}); !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), "invalid-request: q ") {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
	for _, found := range []string{"%100", "the", "the of them", "them'", `"100 of them"`, `the\end`, "the_end", "fin", "ﬁn", "ＴＨＥＭ", "'them' & !the | (<->):*", "of or"} {
		if got := names(t, store, found, false); got == "" {
			t.Errorf("%q finds nothing", found)
		}
	}
	for _, odd := range []string{"a'); drop table events; --", "½ ﷺ ŉ", "हिन्दी が 한국어 愛", "e\u0301\u0301\u0301", "a:*b:ABCD", "&|!()<->", strings.Repeat("𝕏", 200), "x@y.example/z?1=2", "-5e10 +3"} {
		if _, err := store.Events(ctx, catalog.Query{Text: odd}); err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", odd, err)
		}
	}
}
