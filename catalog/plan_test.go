package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"onsale/internal/fault"
)

// problemsOf are the problems an error carries, as "path: message".
func problemsOf(t rapid.TB, err error) []string {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.Invalid {
		t.Fatalf("got %v, want fault.Invalid", err)
	}
	problems, ok := f.Members["problems"].([]Problem)
	if !ok {
		t.Fatalf("the fault %v carries no problems", err)
	}
	var all []string
	for _, p := range problems {
		all = append(all, p.String())
	}
	return all
}

func wantLines(t testing.TB, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("line %d is %q, want it to contain %q", i, got[i], want[i])
		}
	}
}

const smallPlan = `{
  "name": "Hall", "size": {"width": 400, "height": 300},
  "categories": [{"name": "A", "color": "#ff0000"}, {"name": "B"}],
  "zones": [{
    "name": "Stalls", "zone_id": "z1", "uuid": "u1", "position": {"x": 10.5, "y": 20.25},
    "areas": [
      {"shape": "rectangle", "position": {"x": 0, "y": 0}, "rectangle": {"width": 100, "height": 20}, "color": "#333333",
       "text": {"text": "Stage", "color": "#fff", "position": {"x": 50, "y": 10}}, "rotation": 0, "border_color": "#000"},
      {"shape": "circle", "position": {"x": 50, "y": 60}, "circle": {"radius": 9}},
      {"shape": "ellipse", "position": {"x": 50, "y": 60}, "ellipse": {"radius": {"x": 9, "y": 4}}},
      {"shape": "polygon", "position": {"x": 5, "y": 6}, "polygon": {"points": [{"x": 0, "y": 0}, {"x": 7, "y": 0}, {"x": 0, "y": 8}]}},
      {"shape": "text", "position": {"x": 1, "y": 2}, "text": {"text": "Bar", "position": {"x": 3, "y": 4}}}
    ],
    "rows": [
      {"row_number": "1", "row_number_position": "both", "uuid": "u2", "position": {"x": 1, "y": 2}, "seats": [
        {"seat_number": "1", "seat_guid": "g1", "uuid": "u3", "position": {"x": 0, "y": 0}, "category": "A", "radius": 10},
        {"seat_number": "2", "seat_guid": "g2", "position": {"x": 25, "y": 0.5}, "category": "A", "start_direction": ">"}]},
      {"row_number": "2", "seats": [
        {"seat_number": 1, "seat_guid": "g3", "position": {"x": 0, "y": 30}, "category": "B"}]}
    ]}]}`

func TestPlanPositionsNest(t *testing.T) {
	t.Parallel()
	p, notices, err := ParsePlan([]byte(smallPlan))
	if err != nil {
		t.Fatal(err)
	}
	if len(notices) != 0 {
		t.Errorf("notices for a plan without oddities: %v", notices)
	}
	if p.Name != "Hall" || p.Seats != 3 || p.Width != 400 || p.Height != 300 || len(p.Version) != 64 {
		t.Errorf("got %q, %d seats, %g×%g, version %q", p.Name, p.Seats, p.Width, p.Height, p.Version)
	}
	rows := p.Zones[0].Rows
	if s := rows[0].Seats[1]; s.X != 36.5 || s.Y != 22.75 || s.Category != "A" || s.Number != "2" {
		t.Errorf("seat 2 of row 1 is %+v", s)
	}
	if s := rows[1].Seats[0]; s.X != 10.5 || s.Y != 50.25 || s.Number != "1" {
		t.Errorf("seat 1 of row 2, which has no position of its own, is %+v", s)
	}
	areas := p.Zones[0].Areas
	if len(areas) != 6 {
		t.Fatalf("got %d areas, want 6: %+v", len(areas), areas)
	}
	if a := areas[0]; a.Kind != "rectangle" || a.X != 10.5 || a.Width != 100 || a.Label != "Stage" {
		t.Errorf("the stage is %+v", a)
	}
	if a := areas[1]; a.Kind != "text" || a.X != 60.5 || a.Y != 30.25 || a.Text != "Stage" || a.Color != "#fff" {
		t.Errorf("its text is %+v", a)
	}
	if a := areas[4]; a.Kind != "polygon" || a.Points[1] != [2]float64{22.5, 26.25} {
		t.Errorf("the polygon is %+v", a)
	}
	if a := areas[5]; a.Kind != "text" || a.X != 14.5 || a.Y != 26.25 || a.Text != "Bar" {
		t.Errorf("the bar is %+v", a)
	}
}

func TestPlanVersionIgnoresSpace(t *testing.T) {
	t.Parallel()
	a, _, err := ParsePlan([]byte(smallPlan))
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := ParsePlan([]byte(strings.ReplaceAll(smallPlan, "\n", "\r\n\t")))
	if err != nil {
		t.Fatal(err)
	}
	if a.Version != b.Version {
		t.Error("the same plan with other space has another version")
	}
	c, _, err := ParsePlan([]byte(strings.Replace(smallPlan, `"seat_guid": "g3"`, `"seat_guid": "g4"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if a.Version == c.Version {
		t.Error("another plan has the same version")
	}
}

func TestPlanNoticesWhatIsHarmless(t *testing.T) {
	t.Parallel()
	doc := `{"zones": [
	  {"rows": [{"row_number": "1", "colour": 1, "seats": [
	     {"seat_number": "1", "seat_guid": "a", "category": "X", "mood": 1},
	     {"seat_number": "2", "seat_guid": "b", "category": "X", "mood": 2},
	     {"seat_number": "3"}]}],
	   "areas": [{"shape": "star", "position": {"x": 0, "y": 0}}, {"shape": "circle", "color": "red"}]}],
	  "categories": [{"name": "Y"}, {"name": "Y"}]}`
	p, notices, err := ParsePlan([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if p.Seats != 3 {
		t.Errorf("got %d seats, want 3", p.Seats)
	}
	var lines []string
	for _, n := range notices {
		lines = append(lines, n.String())
	}
	wantLines(t, lines,
		`$: the plan has no name`,
		`$.categories[1]: the category "Y" is listed twice`,
		`$.zones[0]: the zone has no name`,
		`$.zones[0]: the zone has no position`,
		`$.zones[0].rows[0].colour: the key "colour" is not known`,
		`$.zones[0].rows[0].seats[0].mood: the key "mood" is not known and is ignored (2 times`,
		`$.zones[0].rows[0].seats[0]: the seat has no position`,
		`$.zones[0].rows[0].seats[0]: the category "X" of this seat is not listed (2 times`,
		`$.zones[0].rows[0].seats[2]: the seat has no seat_guid`,
		`$.zones[0].rows[0].seats[2]: the seat has no category`,
		`$.zones[0].areas[0]: the shape "star"`,
		`$.zones[0].areas[1].color: the colour is not of the form`,
		`$: the plan has no size`,
	)
}

func TestPlanRefusesWhatWouldSellASeatTwice(t *testing.T) {
	t.Parallel()
	doc := `{"name": "n", "size": {"width": 1, "height": 1}, "categories": [{"name": "A"}, {}], "zones": [
	  {"name": "S", "position": {"x": "left", "y": 0}, "rows": [
	    {"row_number": "1", "seats": [
	      {"seat_number": "1", "seat_guid": "a", "position": {"x": 0, "y": 0}, "category": "A"},
	      {"seat_number": " 1 ", "seat_guid": "b", "position": {"x": 1, "y": 0}, "category": "A"},
	      {"seat_number": "2", "seat_guid": "a", "position": {"x": 2, "y": 0}, "category": "A"},
	      {"seat_number": "", "seat_guid": "c", "position": {"x": 2, "y": 0}, "category": "A"},
	      {"seat_number": true, "seat_guid": "d", "position": {"x": 2, "y": 0}, "category": "A"}]}]},
	  {"name": "S", "position": {"x": 0, "y": 0}, "rows": [
	    {"row_number": "1", "seats": [
	      {"seat_number": "1", "seat_guid": "e", "position": {"x": 0, "y": 0}, "category": "A", "category": "B"}]}]},
	  7]}`
	_, _, err := ParsePlan([]byte(doc))
	wantLines(t, problemsOf(t, err),
		`$.zones[1].rows[0].seats[0].category: this key stands twice`,
		`$.categories[1]: the category has no name`,
		`$.zones[0].position.x: a number is expected, not a string`,
		`$.zones[0].rows[0].seats[1]: section "S" row "1" seat "1" stands already at $.zones[0].rows[0].seats[0]: one seat would be sold twice`,
		`$.zones[0].rows[0].seats[2]: the seat_guid "a" stands already at $.zones[0].rows[0].seats[0]`,
		`$.zones[0].rows[0].seats[3]: the seat has no seat_number`,
		`$.zones[0].rows[0].seats[4].seat_number: a string is expected, not a boolean`,
		`$.zones[1].rows[0].seats[0]: section "S" row "1" seat "1" stands already at $.zones[0].rows[0].seats[0]`,
		`$.zones[2]: an object is expected, not a number`,
	)
}

func TestPlanRefusesBrokenDocuments(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ doc, want string }{
		"empty":       {"", "not valid JSON"},
		"syntax":      {"{\n  \"name\": 1,\n  x}", "line 3, column 3"},
		"not UTF-8":   {"{\"name\": \"\xff\"}", "not UTF-8"},
		"two values":  {"{} {}", "not valid JSON"},
		"number":      {`{"x": 1e999}`, "$.x is out of range"},
		"depth":       {strings.Repeat("[", 100) + strings.Repeat("]", 100), "nested deeper"},
		"no zones":    {`{"name": "x"}`, "no zones"},
		"not a plan":  {`[]`, "an object is expected"},
		"NUL":         {`{"name": "a\u0000b", "zones": []}`, "NUL"},
		"many keys":   {"{" + strings.TrimSuffix(manyKeys(1001), ",") + "}", "more than 1000 keys"},
		"far away":    {`{"zones": [{"position": {"x": 1e7, "y": 0}}]}`, "$.zones[0].position.x: is beyond"},
		"long name":   {`{"zones": [], "name": "` + strings.Repeat("n", 201) + `"}`, "longer than 200"},
		"odd control": {`{"zones": [], "name": "a\u0007"}`, "control character"},
	} {
		_, _, err := ParsePlan([]byte(test.doc))
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, test.want)
		}
	}
	if _, _, err := ParsePlan(make([]byte, mostDocumentBytes+1)); !fault.Is(err, fault.TooLarge) {
		t.Errorf("a huge document: got %v, want fault.TooLarge", err)
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"k%d":0,`, i)
	}
	return b.String()
}

// stadium is a plan of more than 16,000 seats like those that organisers bring.
func stadium() []byte {
	g := newGenerator("Stadium")
	for s := range 60 {
		angle := 2 * math.Pi * float64(s) / 60
		z := g.zone(fmt.Sprintf("Section %d", s+1), 3000*math.Cos(angle), 2000*math.Sin(angle))
		for r := range 24 {
			row := z.row(fmt.Sprint(r + 1))
			for i := range 11 + r%3 {
				row.seat(fmt.Sprintf("Category %d", s%4+1), 25*float64(i)*math.Sin(angle)+30*float64(r)*math.Cos(angle),
					-25*float64(i)*math.Cos(angle)+30*float64(r)*math.Sin(angle))
			}
		}
	}
	return g.document()
}

// TestStadiumComposes walks a stadium from the file to its tickets.
func TestStadiumComposes(t *testing.T) {
	t.Parallel()
	for name, load := range map[string]func(t *testing.T) []byte{
		"generated": func(*testing.T) []byte { return stadium() },
		"given":     givenStadium,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc := load(t)
			began := time.Now()
			plan, notices, err := ParsePlan(doc)
			if err != nil {
				t.Fatal(err)
			}
			e := minimalEvent()
			e.Plan = plan
			for i, c := range plan.Categories {
				e.Prices = append(e.Prices, Price{Category: c.Name, Amount: int64(2000 * (i + 1))})
			}
			l, view, err := Compose(e, counter())
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			t.Logf("%d seats in %d sections and %d runs from %d KB in %v; the view has %d KB; %d notices",
				len(l.Seats), len(l.Sections), len(l.Runs), len(doc)>>10, took, len(view)>>10, len(notices))
			if len(l.Seats) < 16_000 {
				t.Errorf("only %d seats", len(l.Seats))
			}
			checkLayout(t, l)
			checkView(t, l, view)
		})
	}
}

// givenStadium is the real plan that lies beside the repository on some machines.
func givenStadium(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join("..", "..", "shared", "data", "stadium-16k.plan.json")
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("the stadium plan is no part of the repository and is not at %s", path)
	}
	return doc
}

// TestPlanOrderOfSeats shuffles rows and expects neighbours beside each other.
func TestPlanOrderOfSeats(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(3, 30).Draw(t, "seats")
		angle := rapid.Float64Range(0, 2*math.Pi).Draw(t, "angle")
		bend := rapid.Float64Range(0, 1.2).Draw(t, "bend") // radians of arc on either side
		pitch := rapid.Float64Range(5, 40).Draw(t, "pitch")
		at := func(i int) (x, y float64) {
			along := (float64(i) - float64(n-1)/2) * pitch
			if bend > 0.01 {
				radius := pitch * float64(n) / (2 * bend)
				sin, cos := math.Sincos(along / radius)
				x, y = radius*sin, radius*(cos-1)
			} else {
				x = along
			}
			sin, cos := math.Sincos(angle)
			return x*cos - y*sin, x*sin + y*cos
		}
		order := rapid.Permutation(indices(n)).Draw(t, "order")
		seats := make([]PlanSeat, n)
		for i, k := range order {
			x, y := at(k)
			seats[i] = PlanSeat{Number: fmt.Sprint(k), X: x, Y: y}
		}
		sorted := alongRow(seats)
		step := 0
		for i := 1; i < n; i++ {
			var a, b int
			mustScan(t, sorted[i-1].Number, &a)
			mustScan(t, sorted[i].Number, &b)
			if i == 1 {
				step = b - a
			}
			if b-a != step || (step != 1 && step != -1) {
				t.Fatalf("seat %d stands beside seat %d", a, b)
			}
		}
	})
}

func mustScan(t *rapid.T, s string, v *int) {
	if _, err := fmt.Sscan(s, v); err != nil {
		t.Fatal(err)
	}
}

func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func TestPlanKeepsTheOrderOfARing(t *testing.T) {
	t.Parallel()
	var seats []PlanSeat
	for i := range 40 {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / 40)
		seats = append(seats, PlanSeat{Number: fmt.Sprint(i), X: 500 * cos, Y: 500 * sin})
	}
	for i, s := range alongRow(seats) {
		if s.Number != fmt.Sprint(i) {
			t.Fatalf("seat %s stands at %d", s.Number, i)
		}
	}
}

// FuzzParsePlan feeds the parser anything. Whatever it accepts must lay out into
// a sound house whose seats are all different.
func FuzzParsePlan(f *testing.F) {
	f.Add([]byte(smallPlan))
	f.Add([]byte(`{"zones":[{"rows":[{"row_number":"1","seats":[{"seat_number":"1"}]}]}]}`))
	f.Add([]byte(`{"zones":[{"areas":[{"shape":"polygon","rotation":45,"polygon":{"points":[{"x":1,"y":1}]}}]}],"name":null}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		plan, notices, err := ParsePlan(doc)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("an error that is not fault.Invalid: %v", err)
			}
			return
		}
		for _, n := range notices {
			if n.Path == "" || n.Message == "" || n.Count < 1 {
				t.Fatalf("a notice without a place: %+v", n)
			}
		}
		if !json.Valid(plan.Document) {
			t.Fatalf("the kept document is not JSON: %s", plan.Document)
		}
		again, _, err := ParsePlan(plan.Document)
		if err != nil || again.Version != plan.Version {
			t.Fatalf("the kept document reads differently: %v", err)
		}
		e := minimalEvent()
		e.Plan = plan
		for category := range plan.used() {
			e.Prices = append(e.Prices, Price{Category: category, Name: "n", Amount: int64(len(category))})
		}
		l, view, err := Compose(e, counter())
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("an error that is not fault.Invalid: %v", err)
			}
			return
		}
		checkLayout(t, l)
		checkView(t, l, view)
	})
}
