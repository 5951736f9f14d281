package catalog

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// counter makes ids that are different and easy to read.
func counter() func() string {
	n := 0
	return func() string {
		n++
		return fmt.Sprintf("00000000-0000-7000-8000-%012x", n)
	}
}

// minimalEvent is everything an event needs but something to sell.
func minimalEvent() NewEvent {
	return NewEvent{
		Name: "Evening", StartsAt: time.Date(2027, 3, 1, 19, 0, 0, 0, time.UTC), Currency: "EUR",
		Venue: Venue{Name: "House", City: "Köln", Country: "DE"},
	}
}

// checkLayout holds a layout against what everything else relies on.
func checkLayout(t rapid.TB, l *Layout) {
	t.Helper()
	next := 0
	for i, s := range l.Sections {
		if s.First != next || s.Count < 1 {
			t.Fatalf("section %d has the ordinals %d … %d; %d is expected to be next", i, s.First, s.First+s.Count-1, next)
		}
		next += s.Count
	}
	if next != len(l.Seats) {
		t.Fatalf("the sections hold %d tickets of %d", next, len(l.Seats))
	}
	next = 0
	for i, r := range l.Runs {
		if r.First != next || r.Count < 1 {
			t.Fatalf("run %d starts at %d with %d tickets; %d is expected to be next", i, r.First, r.Count, next)
		}
		next += r.Count
		for o := r.First; o < next; o++ {
			a, b := l.Seats[r.First], l.Seats[o]
			if a.Section != b.Section || a.Row != b.Row || l.Sections[b.Section].GA != r.GA {
				t.Fatalf("run %d joins seats of other sections or rows: %+v, %+v", i, a, b)
			}
		}
	}
	if next != len(l.Seats) {
		t.Fatalf("the runs hold %d tickets of %d", next, len(l.Seats))
	}
	ids, labels := make(map[string]bool), make(map[label]bool)
	totals := make([]int, len(l.Tiers))
	for o, s := range l.Seats {
		if section := l.Sections[s.Section]; o < section.First || o >= section.First+section.Count {
			t.Fatalf("ordinal %d is not in its section %d", o, s.Section)
		}
		if ids[s.ID] {
			t.Fatalf("the id %s stands twice", s.ID)
		}
		ids[s.ID] = true
		if got, ok := l.Ordinal(s.ID); !ok || got != o {
			t.Fatalf("the id of ordinal %d is found at %d, %t", o, got, ok)
		}
		if !l.Sections[s.Section].GA {
			key := label{l.Sections[s.Section].Name, s.Row, s.Name}
			if labels[key] {
				t.Fatalf("%+v stands twice", key)
			}
			labels[key] = true
		}
		totals[s.Tier]++
	}
	for i, tier := range l.Tiers {
		if tier.Total != totals[i] || tier.Total < 1 {
			t.Fatalf("tier %q counts %d tickets, there are %d", tier.Name, tier.Total, totals[i])
		}
		if i > 0 && tier.Price.Amount > l.Tiers[i-1].Price.Amount {
			t.Fatalf("tier %q is dearer than the one before", tier.Name)
		}
	}
	colors := make(map[string]bool)
	for _, tier := range l.Tiers {
		if !colorPattern.MatchString(tier.Color) || colors[tier.Color] {
			t.Fatalf("tier %q has the colour %q, which is no colour or another tier's", tier.Name, tier.Color)
		}
		colors[tier.Color] = true
	}
}

// decodedView is a plan view as a browser reads it.
type decodedView struct {
	Event, Version, Unit string
	Width, Height        float64
	Tiers                []struct{ ID, Name, Color string }
	Sections             []struct {
		ID, Name, Kind string
		Tier           *int
		First, Count   int
		Label          struct{ X, Y float64 }
		Area           *struct{ X, Y, Width, Height float64 }
		Rows           []struct {
			Name  string
			First int
			X, Y  []float64
			Seats []string
			Tiers []int
		}
	}
	Areas []struct {
		Kind string
		X, Y float64
		Text string
	}
}

// checkView holds the drawn plan against the layout it belongs to.
func checkView(t rapid.TB, l *Layout, doc []byte) {
	t.Helper()
	var v decodedView
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatal(err)
	}
	if v.Event != l.Event || len(v.Version) != 24 || v.Unit != "plan px" || len(v.Tiers) != len(l.Tiers) || len(v.Sections) != len(l.Sections) {
		t.Fatalf("the view of %s has version %q, %d tiers, %d sections", v.Event, v.Version, len(v.Tiers), len(v.Sections))
	}
	next := 0
	for i, s := range v.Sections {
		if s.ID != l.Sections[i].ID || s.First != next || s.Count != l.Sections[i].Count {
			t.Fatalf("section %d of the view is %s, %d … %d", i, s.Name, s.First, s.First+s.Count-1)
		}
		if s.Kind == "ga" {
			if s.Tier == nil || s.Area == nil || *s.Tier != l.Seats[s.First].Tier || s.Area.Width <= 0 {
				t.Fatalf("section %q is not drawn", s.Name)
			}
			next += s.Count
			continue
		}
		for _, row := range s.Rows {
			if row.First != next || len(row.X) != len(row.Seats) || len(row.Y) != len(row.Seats) {
				t.Fatalf("row %q of section %q starts at %d, %d is expected", row.Name, s.Name, row.First, next)
			}
			o := next
			for k := 0; k < len(row.Tiers); k += 2 {
				for range row.Tiers[k+1] {
					if seat := l.Seats[o]; seat.Tier != row.Tiers[k] || seat.Row != row.Name || seat.Name != row.Seats[o-next] {
						t.Fatalf("ordinal %d is %+v, but drawn as row %q seat %q tier %d", o, seat, row.Name, row.Seats[o-next], row.Tiers[k])
					}
					if x, y := row.X[o-next], row.Y[o-next]; x < 0 || y < 0 || x > v.Width || y > v.Height {
						t.Fatalf("ordinal %d is drawn at %g, %g, outside of %g×%g", o, x, y, v.Width, v.Height)
					}
					o++
				}
			}
			if o-next != len(row.Seats) {
				t.Fatalf("row %q of section %q has tiers for %d of %d seats", row.Name, s.Name, o-next, len(row.Seats))
			}
			next = o
		}
	}
	if next != len(l.Seats) {
		t.Fatalf("the view shows %d of %d tickets", next, len(l.Seats))
	}
}

func TestDemoIsSound(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	events, err := Demo(now, "https://tickets.example")
	if err != nil {
		t.Fatal(err)
	}
	bounds := [][2]int{{600, 600}, {1900, 2100}, {14_500, 15_500}, {100, 120}}
	if len(events) != len(bounds) {
		t.Fatalf("got %d events, want %d", len(events), len(bounds))
	}
	for i, e := range events {
		if dates := e.Performances(); len(dates) != map[bool]int{false: 1, true: 4}[i == 3] || dates[0].DoorsAt == nil {
			t.Errorf("%s takes place %d times", e.Name, len(dates))
		}
		e = e.Performances()[0]
		if len(e.Images) != 1 || !strings.HasPrefix(e.Images[0].URL, "https://tickets.example/assets/posters/") {
			t.Errorf("%s has the pictures %v", e.Name, e.Images)
		}
		l, view, err := Compose(e, counter())
		if err != nil {
			t.Fatal(err)
		}
		checkLayout(t, l)
		checkView(t, l, view)
		if n := len(l.Seats); n < bounds[i][0] || n > bounds[i][1] {
			t.Errorf("%s has %d tickets, want %d to %d", e.Name, n, bounds[i][0], bounds[i][1])
		}
		if !e.StartsAt.After(now) || e.StartsAt.After(now.AddDate(1, 0, 0)) || !e.DoorsAt.Before(e.StartsAt) {
			t.Errorf("%s starts at %v, doors at %v", e.Name, e.StartsAt, e.DoorsAt)
		}
		if !strings.Contains(string(view), `"Stage"`) {
			t.Errorf("%s has no stage", e.Name)
		}
		accessible, companions, all := 0, 0, Attributes(0)
		for _, seat := range l.Seats {
			if seat.ForAccess() {
				accessible++
			}
			if seat.ForCompanion() {
				companions++
			}
			all |= seat.Attributes
		}
		if accessible != companions || (accessible == 0) != (e.Plan == nil) {
			t.Errorf("%s has %d accessible seats, and %d for companions", e.Name, accessible, companions)
		}
		if i == 3 && all != allAttributes {
			t.Errorf("%s has seats that are %s alone", e.Name, all.Words())
		}
		if !l.Terms.Same(e.Terms) || l.Terms.Tax.Rate == 0 {
			t.Errorf("%s is sold on %+v", e.Name, l.Terms)
		}
		_, again, err := Compose(e, counter())
		if err != nil || string(again) != string(view) {
			t.Errorf("%s is drawn differently the second time (%v)", e.Name, err)
		}
	}
	later, err := Demo(time.Date(2026, 12, 20, 12, 0, 0, 0, time.UTC), "http://10.0.0.7:8080")
	if err == nil && len(later[0].Images)+len(later[3].Images) > 0 {
		t.Errorf("pages would not show the pictures %v, %v", later[0].Images, later[3].Images)
	}
	if err != nil || !later[0].StartsAt.Equal(events[0].StartsAt) {
		t.Errorf("a month later the demo is at %v instead of %v (%v)", later[0].StartsAt, events[0].StartsAt, err)
	}
}

func TestComposeOrdersByPrice(t *testing.T) {
	t.Parallel()
	e := minimalEvent()
	plan, _, err := ParsePlan([]byte(`{"name": "p", "size": {"width": 900, "height": 900}, "categories": [{"name": "cheap"}, {"name": "dear"}], "zones": [
	  {"name": "Back", "position": {"x": 0, "y": 500}, "rows": [{"row_number": "1", "seats": [
	    {"seat_number": "1", "seat_guid": "1", "position": {"x": 100, "y": 0}, "category": "cheap"}]}]},
	  {"name": "Front", "position": {"x": 0, "y": 0}, "rows": [
	    {"row_number": "1", "seats": [
	      {"seat_number": "1", "seat_guid": "2", "position": {"x": 100, "y": 100}, "category": "dear"},
	      {"seat_number": "2", "seat_guid": "3", "position": {"x": 125, "y": 100}, "category": "dear"},
	      {"seat_number": "3", "seat_guid": "4", "position": {"x": 150, "y": 100}, "category": "cheap"},
	      {"seat_number": "4", "seat_guid": "5", "position": {"x": 175, "y": 100}, "category": "cheap"},
	      {"seat_number": "5", "seat_guid": "6", "position": {"x": 225, "y": 100}, "category": "cheap"}]},
	    {"row_number": "2", "seats": [
	      {"seat_number": "1", "seat_guid": "7", "position": {"x": 100, "y": 130}, "category": "cheap"}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	e.Plan = plan
	e.Prices = []Price{{Category: "cheap", Amount: 1000}, {Category: "dear", Amount: 5000, Type: "vip"}}
	e.Areas = []StandingArea{{Name: "Pit", Capacity: 3, Amount: 2000}}
	l, view, err := Compose(e, counter())
	if err != nil {
		t.Fatal(err)
	}
	checkLayout(t, l)
	checkView(t, l, view)
	var sections []string
	for _, s := range l.Sections {
		sections = append(sections, s.Name)
	}
	if got := strings.Join(sections, ", "); got != "Front, Pit, Back" {
		t.Errorf("sections are ordered %s", got)
	}
	// An aisle follows seat 4, and row 2 is another row. That the tier changes after
	// seat 2 takes no neighbours apart.
	want := []Run{{0, 4, false}, {4, 1, false}, {5, 1, false}, {6, 3, true}, {9, 1, false}}
	if fmt.Sprint(l.Runs) != fmt.Sprint(want) {
		t.Errorf("runs are %v, want %v", l.Runs, want)
	}
	if got := l.Ticket(0); got.Section != "Front" || got.Row != "1" || got.Seat != "1" || got.Type != "vip" || got.Price != (Money{5000, "EUR"}) {
		t.Errorf("the best ticket is %+v", got)
	}
	if l.Seats[6].Type != "standing" || l.Price(6).Amount != 2000 {
		t.Errorf("the pit's first ticket is %+v", l.Ticket(6))
	}
	if l.MaxPerBuyer != DefaultMaxPerBuyer || l.Status != "on_sale" {
		t.Errorf("defaults are not filled in: %+v", l)
	}
}

// TestComposeHouses lays out random houses.
func TestComposeHouses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		e := minimalEvent()
		g := newGenerator("random")
		categories := rapid.IntRange(1, 4).Draw(r, "categories")
		for z := range rapid.IntRange(0, 4).Draw(r, "zones") {
			zone := g.zone(fmt.Sprint("Zone ", z), rapid.Float64Range(-2000, 2000).Draw(r, "x"), 100*float64(z))
			for n := range rapid.IntRange(1, 4).Draw(r, "rows") {
				row := zone.row(rowName(n))
				for s := range rapid.IntRange(1, 9).Draw(r, "seats") {
					row.seat(fmt.Sprint("C", rapid.IntRange(0, categories-1).Draw(r, "category")),
						rapid.Float64Range(20, 60).Draw(r, "pitch")*float64(s), 30*float64(n))
				}
			}
		}
		plan, _, err := ParsePlan(g.document())
		if err != nil {
			r.Fatal(err)
		}
		e.Plan = plan
		for _, c := range plan.Categories {
			e.Prices = append(e.Prices, Price{Category: c.Name, Amount: rapid.Int64Range(0, 3).Draw(r, "amount")})
		}
		areas := rapid.IntRange(0, 3).Draw(r, "areas")
		if plan.Seats == 0 && areas == 0 {
			areas = 1
		}
		for a := range areas {
			e.Areas = append(e.Areas, StandingArea{Name: fmt.Sprint("Area ", a), Capacity: rapid.IntRange(1, 50).Draw(r, "capacity"), Amount: 2})
		}
		l, view, err := Compose(e, counter())
		if err != nil {
			r.Fatal(err)
		}
		checkLayout(t, l)
		checkView(t, l, view)
		if plan.Seats == len(l.Seats) != (areas == 0) {
			r.Fatalf("%d seats and %d areas make %d tickets", plan.Seats, areas, len(l.Seats))
		}
	})
}

func TestPaletteNeverRunsOut(t *testing.T) {
	t.Parallel()
	tiers := make([]Tier, mostTiers)
	tiers[3].Color, tiers[4].Color = "#C2185B", "#c2185b"
	distinguish(tiers)
	seen := make(map[string]bool)
	for i, tier := range tiers {
		if !colorPattern.MatchString(tier.Color) || seen[tier.Color] {
			t.Errorf("tier %d has the colour %q", i, tier.Color)
		}
		seen[tier.Color] = true
	}
	if tiers[3].Color != "#c2185b" {
		t.Errorf("the stated colour became %q", tiers[3].Color)
	}
}

func TestStandingAreaTakesThePlaceOfItsShape(t *testing.T) {
	t.Parallel()
	plan, _, err := ParsePlan([]byte(smallPlan))
	if err != nil {
		t.Fatal(err)
	}
	e := minimalEvent()
	e.Plan = plan
	e.Prices = []Price{{Category: "A", Amount: 1}, {Category: "B", Amount: 1}}
	e.Areas = []StandingArea{{Name: "stage", Capacity: 5, Amount: 1}}
	l, doc, err := Compose(e, counter())
	if err != nil {
		t.Fatal(err)
	}
	checkView(t, l, doc)
	var v decodedView
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatal(err)
	}
	area := v.Sections[len(v.Sections)-1].Area
	// Everything is moved to leave a margin; the first seat tells how far.
	dx := v.Sections[0].Rows[0].X[0] - 11.5
	if area == nil || area.X != 10.5+dx || area.Width != 100 || area.Height != 20 {
		t.Errorf("the area is drawn at %+v", area)
	}
	for _, a := range v.Areas {
		if a.Text == "Stage" {
			t.Error("its name is written twice")
		}
	}
}
