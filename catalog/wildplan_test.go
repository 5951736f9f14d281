package catalog

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// wildPlan is a plan as editors and people make them, together with what must be
// read of it: every seat once, or every mistake with its place.
type wildPlan struct {
	t     *rapid.T
	zones []any

	seats    map[label]wildSeat
	order    []label
	guids    []string
	listed   []string
	unlisted map[string]bool
	mistakes map[string]bool // paths
}

type wildSeat struct {
	category string
	x, y     float64
}

func (w *wildPlan) chance(what string, percent int) bool {
	return rapid.IntRange(0, 99).Draw(w.t, what) < percent
}

func (w *wildPlan) number(what string) float64 {
	// Whole, halves, and with more digits than anybody needs.
	return rapid.OneOf(
		rapid.Map(rapid.IntRange(-3000, 3000), func(n int) float64 { return float64(n) }),
		rapid.Map(rapid.IntRange(-3000, 3000), func(n int) float64 { return float64(n) / 2 }),
		rapid.Float64Range(-3000, 3000),
	).Draw(w.t, what)
}

// position adds a position, which may be left out or null, and returns where it is.
func (w *wildPlan) position(o map[string]any, x, y float64) (float64, float64) {
	switch {
	case w.chance("no position", 10):
		return x, y
	case w.chance("null position", 5):
		o["position"] = nil
		return x, y
	}
	dx, dy := w.number("x"), w.number("y")
	o["position"] = map[string]any{"x": dx, "y": dy}
	return x + dx, y + dy
}

// extra adds keys that nobody knows.
func (w *wildPlan) extra(o map[string]any) {
	if w.chance("extra key", 15) {
		o[rapid.SampledFrom([]string{"x-editor", "Ünknown", "meta data", "", "seat_Number"}).Draw(w.t, "key")] = rapid.SampledFrom([]any{
			nil, true, 1.5, "text", []any{1, nil}, map[string]any{"rows": []any{}},
		}).Draw(w.t, "value")
	}
}

func (w *wildPlan) area() map[string]any {
	a := map[string]any{}
	shape := rapid.SampledFrom([]string{"rectangle", "circle", "ellipse", "polygon", "text", "star", ""}).Draw(w.t, "shape")
	if shape != "" || w.chance("empty shape", 50) {
		a["shape"] = shape
	}
	size := func() float64 { return math.Abs(w.number("size")) }
	switch shape {
	case "rectangle":
		a["rectangle"] = map[string]any{"width": size(), "height": size()}
	case "": // the format's first version
		a["width"], a["height"] = size(), size()
	case "circle":
		a["circle"] = map[string]any{"radius": w.number("radius")}
	case "ellipse":
		a["ellipse"] = map[string]any{"radius": map[string]any{"x": size(), "y": size()}}
	case "polygon":
		points := []any{}
		for range rapid.IntRange(0, 6).Draw(w.t, "points") {
			points = append(points, map[string]any{"x": w.number("px"), "y": w.number("py")})
		}
		a["polygon"] = map[string]any{"points": points}
	}
	if w.chance("turned", 30) {
		a["rotation"] = w.number("rotation")
	}
	if w.chance("colour", 40) {
		a["color"] = rapid.SampledFrom([]any{"#fff", "#12ab9F", "red", "", nil}).Draw(w.t, "colour")
	}
	switch rapid.IntRange(0, 3).Draw(w.t, "text") {
	case 1:
		a["text"] = "Stage" // as before areas had shapes
	case 2:
		a["text"] = map[string]any{"text": "Bar\nleft", "position": map[string]any{"x": w.number("tx"), "y": 0}, "size": 16, "color": "#000000"}
	case 3:
		a["text"] = nil
	}
	w.position(a, 0, 0)
	w.extra(a)
	return a
}

// seat makes the seat at a path, and may make a mistake.
func (w *wildPlan) seat(path, zone, row string, index int, x, y float64) map[string]any {
	s := map[string]any{"seat_guid": path}
	l := label{zone, row, fmt.Sprint(index + 1)}
	var number any = l.seat
	switch rapid.IntRange(0, 2).Draw(w.t, "seat number") {
	case 1:
		number = index + 1
	case 2:
		number = " " + l.seat + "\t"
	}
	s["seat_number"] = number
	before := s["position"]
	sx, sy := w.position(s, x, y)
	if p, there := s["position"]; !there || p == before {
		sx += float64(index) * missingSpacing
	}
	category := rapid.SampledFrom(append([]string{"Nowhere listed", ""}, w.listed...)).Draw(w.t, "category")
	if category != "" || w.chance("empty category", 50) {
		s["category"] = category
	}
	w.extra(s)

	mistake := -1
	if w.chance("mistake", 4) {
		mistake = rapid.IntRange(0, 5).Draw(w.t, "which")
	}
	switch {
	case mistake == 0 && len(w.guids) > 0:
		s["seat_guid"] = rapid.SampledFrom(w.guids).Draw(w.t, "guid")
		w.mistakes[path] = true
	case mistake == 1:
		s["seat_number"] = rapid.SampledFrom([]any{"", "  ", nil}).Draw(w.t, "nothing")
		w.mistakes[path] = true
		l.seat = ""
	case mistake == 2:
		s["seat_number"] = rapid.SampledFrom([]any{true, []any{}, map[string]any{}}).Draw(w.t, "no number")
		w.mistakes[path+".seat_number"] = true
		l.seat = ""
	case mistake == 3:
		s["position"] = map[string]any{"x": "12", "y": 1e7}
		w.mistakes[path+".position.x"], w.mistakes[path+".position.y"] = true, true
	case mistake == 4:
		s["category"] = 7.5 // a name that is a number is a name
		category = "7.5"
	case mistake == 5:
		s["category"] = false
		w.mistakes[path+".category"] = true
	}
	if category != "" && !slices.Contains(w.listed, category) {
		w.unlisted[category] = true
	}
	if guid := s["seat_guid"].(string); guid == path {
		w.guids = append(w.guids, guid)
	}
	if _, dup := w.seats[l]; dup {
		w.mistakes[path] = true
	} else if l.seat != "" {
		w.seats[l] = wildSeat{category, sx, sy}
		w.order = append(w.order, l)
	}
	return s
}

func drawWildPlan(t *rapid.T) (*wildPlan, []byte) {
	w := &wildPlan{t: t, seats: map[label]wildSeat{}, unlisted: map[string]bool{}, mistakes: map[string]bool{}}
	categories := []any{}
	for i := range rapid.IntRange(0, 3).Draw(t, "categories") {
		name := fmt.Sprintf("Category %d", i)
		w.listed = append(w.listed, name)
		categories = append(categories, map[string]any{"name": name, "color": "#00ff00"})
	}
	for z := range rapid.IntRange(0, 4).Draw(t, "zones") {
		zone := map[string]any{}
		name := rapid.SampledFrom([]string{"Stalls", "Balcony", "", "Ränge"}).Draw(t, "zone")
		switch {
		case name != "":
			zone["name"] = name
		case w.chance("zone id", 50):
			name = "z-" + strconv.Itoa(z)
			zone["zone_id"] = name
		default:
			name = "Zone " + strconv.Itoa(z+1)
		}
		x, y := w.position(zone, 0, 0)
		rows := []any{}
		for r := range rapid.IntRange(0, 4).Draw(t, "rows") {
			row := map[string]any{}
			// Rows of one name are where seats are sold twice.
			rowName := rapid.SampledFrom([]string{strconv.Itoa(r + 1), strconv.Itoa(r + 1), "A", ""}).Draw(t, "row")
			if rowName != "" {
				row["row_number"] = rowName
			}
			rx, ry := w.position(row, x, y)
			seats := []any{}
			for s := range rapid.IntRange(0, 8).Draw(t, "seats") {
				path := fmt.Sprintf("$.zones[%d].rows[%d].seats[%d]", z, r, s)
				seats = append(seats, w.seat(path, name, rowName, s, rx, ry))
			}
			row["seats"] = seats
			w.extra(row)
			rows = append(rows, row)
		}
		zone["rows"] = rows
		areas := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "areas") {
			areas = append(areas, w.area())
		}
		zone["areas"] = areas
		w.extra(zone)
		w.zones = append(w.zones, zone)
	}
	root := map[string]any{"zones": append([]any{}, w.zones...), "categories": categories}
	if w.chance("name", 80) {
		root["name"] = "Wild"
	}
	if w.chance("size", 50) {
		root["size"] = map[string]any{"width": w.number("width"), "height": w.number("height")}
	}
	w.extra(root)
	doc, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return w, doc
}

// TestWildPlansAreReadOrRefusedWhole: a plan is read with every seat where and what it is,
// or refused with the place of every mistake and no other, whatever else is odd about it.
func TestWildPlansAreReadOrRefusedWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w, doc := drawWildPlan(t)
		plan, notices, err := ParsePlan(doc)
		if len(w.mistakes) > 0 {
			if err == nil {
				t.Fatalf("accepted with mistakes at %v:\n%s", w.mistakes, doc)
			}
			w.named(err)
			return
		}
		if err != nil {
			t.Fatalf("refused: %v\n%v\n%s", err, problemsOf(t, err), doc)
		}
		w.read(plan)
		for category := range w.unlisted {
			if !slices.ContainsFunc(notices, func(n Notice) bool {
				return strings.Contains(n.Message, "is not listed") && strings.Contains(n.Message, category)
			}) {
				t.Errorf("nobody is told that the category %q is not listed: %v", category, notices)
			}
		}
		if plan.Seats > 0 {
			w.sold(plan)
		}
	})
}

// named holds that the mistakes are named, each at its place.
func (w *wildPlan) named(err error) {
	found := make(map[string]bool)
	for _, p := range problemsOf(w.t, err) {
		path, _, _ := strings.Cut(p, ": ")
		found[path] = true
		if !w.mistakes[path] {
			w.t.Errorf("a mistake that nobody made: %s", p)
		}
	}
	for path := range w.mistakes {
		if !found[path] {
			w.t.Errorf("the mistake at %s is not named: %v", path, problemsOf(w.t, err))
		}
	}
}

func (w *wildPlan) read(plan *Plan) {
	if plan.Seats != len(w.seats) {
		w.t.Fatalf("%d seats were read, not %d", plan.Seats, len(w.seats))
	}
	next := 0
	for _, z := range plan.Zones {
		for _, row := range z.Rows {
			for _, s := range row.Seats {
				l := label{z.Name, row.Name, s.Number}
				if want := w.order[next]; l != want {
					w.t.Fatalf("seat %d is %v, not %v", next, l, want)
				}
				want := w.seats[l]
				if s.Category != want.category || math.Hypot(s.X-want.x, s.Y-want.y) > 1e-6 {
					w.t.Errorf("%v is %+v, not %+v", l, s, want)
				}
				next++
			}
		}
	}
}

// sold holds that there is one ticket for each seat, at the price of its category.
func (w *wildPlan) sold(plan *Plan) {
	e := minimalEvent()
	e.Plan = plan
	prices := make(map[string]int64)
	for category := range plan.used() {
		prices[category] = int64(100 * (1 + len(prices)))
		e.Prices = append(e.Prices, Price{Category: category, Name: "Price " + category, Amount: prices[category]})
	}
	l, view, err := Compose(e, counter())
	if err != nil {
		w.t.Fatal(err)
	}
	checkLayout(w.t, l)
	checkView(w.t, l, view)
	if len(l.Seats) != len(w.seats) {
		w.t.Errorf("%d tickets for %d seats", len(l.Seats), len(w.seats))
	}
	seen := make(map[label]bool)
	for _, s := range l.Seats {
		at := label{l.Sections[s.Section].Name, s.Row, s.Name}
		seat, there := w.seats[at]
		if !there || seen[at] {
			w.t.Errorf("a ticket for %v, which is not there or has one", at)
		}
		seen[at] = true
		if got := l.Tiers[s.Tier].Price.Amount; got != prices[seat.category] {
			w.t.Errorf("%v in %q costs %d, not %d", at, seat.category, got, prices[seat.category])
		}
	}
}
