package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 2, 100}, 3},
		{[]float64{5, 5, 5, 1000, 1}, 5},
	} {
		values := slices.Clone(test.values)
		if got := median(values); got != test.want {
			t.Errorf("median of %v is %v, want %v", test.values, got, test.want)
		}
		if !slices.Equal(values, test.values) {
			t.Errorf("%v became %v", test.values, values)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing is %v", got)
	}
}

func TestGoal(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for _, test := range []struct {
		goal          Goal
		figure, ratio float64
		met           bool
		text          string
	}{
		{Goal{AtLeast: 0.45}, 1, 0.45, true, "≥ 45 %"},
		{Goal{AtLeast: 0.45}, 1, 0.4499, false, "≥ 45 %"},
		{Goal{AtLeast: 0.45}, nan, nan, false, "≥ 45 %"},
		{Goal{AtMost: 5}, 1, 5, true, "≤ 500 %"},
		{Goal{AtMost: 5}, 1, 5.1, false, "≤ 500 %"},
		{Goal{Below: 12 << 10}, 12 << 10, nan, true, "≤ 12.0 KB"},
		{Goal{Below: 12 << 10}, 12<<10 + 1, nan, false, "≤ 12.0 KB"},
		{Goal{Below: 12 << 10}, nan, nan, false, "≤ 12.0 KB"},
		{Goal{Below: 7 << 10, AtMost: 0.4}, 6 << 10, 0.4, true, "≤ 40 % and ≤ 7.0 KB"},
		{Goal{Below: 7 << 10, AtMost: 0.4}, 6 << 10, 0.41, false, "≤ 40 % and ≤ 7.0 KB"},
		{Goal{Below: 7 << 10, AtMost: 0.4}, 8 << 10, 0.3, false, "≤ 40 % and ≤ 7.0 KB"},
		{Goal{}, 1, 1, true, ""},
	} {
		if got := test.goal.Met(test.figure, test.ratio); got != test.met {
			t.Errorf("%+v with %v and ratio %v: met is %t", test.goal, test.figure, test.ratio, got)
		}
		if got := test.goal.text(Bytes); got != test.text {
			t.Errorf("%+v is written %q, want %q", test.goal, got, test.text)
		}
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 12345.6: "12,346", 1234567: "1,234,567", -1234: "-1,234", -0.2: "0"} {
		if got := thousands(v); got != want {
			t.Errorf("%v is written %q, want %q", v, got, want)
		}
	}
	if got := Micros.text(99.96) + ", " + Micros.text(1234) + ", " + Millis.text(7.25) + ", " + Millis.text(250); got != "100.0 µs, 1,234 µs, 7.2 ms, 250 ms" {
		t.Error(got)
	}
	if got := Bytes.text(512) + ", " + Bytes.text(1536) + ", " + PerSecond.text(1536) + ", " + PerSecond.text(math.NaN()); got != "512 bytes, 1.5 KB, 1,536 requests/s, –" {
		t.Error(got)
	}
}

func TestRowsAreNamedAndOrdered(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	order := 0
	for _, r := range Rows() {
		if r.Name == "" || strings.ContainsAny(r.Name, ", ") || seen[r.Name] || r.Order <= order || r.Figure == "" || r.Prepare == nil || r.Goal == (Goal{}) && r.Stretch == (Goal{}) {
			t.Errorf("row %+v", r)
		}
		seen[r.Name], order = true, r.Order
	}
	if !seen["join"] || !seen["hold"] || !seen["event-page"] || !seen["idle"] {
		t.Errorf("there are only %v", seen)
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	rows := []Row{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	for _, test := range []struct {
		names []string
		want  string
	}{{nil, "abc"}, {[]string{"c", "a"}, "ac"}, {[]string{"b", "b"}, "b"}} {
		got, err := Select(rows, test.names)
		var text strings.Builder
		for _, r := range got {
			text.WriteString(r.Name)
		}
		if err != nil || text.String() != test.want {
			t.Errorf("%v selects %q, %v", test.names, text.String(), err)
		}
	}
	if _, err := Select(rows, []string{"a", "x"}); err == nil || !strings.Contains(err.Error(), `"x"`) || !strings.Contains(err.Error(), "a, b, c") {
		t.Errorf("an unknown row: %v", err)
	}
}

// script is a row whose values are known beforehand.
type script struct {
	figures, references []float64
	calls               string
	fail                error // of the second measurement
	closed              int
}

func (s *script) Measure(context.Context) (float64, error) {
	if s.calls += "m"; s.fail != nil && strings.Count(s.calls, "m") == 2 {
		return 0, s.fail
	}
	return s.figures[strings.Count(s.calls, "m")-1], nil
}

func (s *script) Reference(context.Context) (float64, error) {
	s.calls += "r"
	return s.references[strings.Count(s.calls, "r")-1], nil
}

func (s *script) Close() error { s.closed++; return nil }

func (s *script) row(name string, goal Goal) Row {
	return Row{
		Name: name, Figure: "figure of " + name, Reference: "reference of " + name, Unit: PerSecond, Goal: goal, Stretch: Goal{AtLeast: 0.9},
		Prepare: func(context.Context, *Env) (Trial, error) { return s, nil },
	}
}

func TestRunsAlternateAndRatiosArePairs(t *testing.T) {
	t.Parallel()
	// The machine is ten times slower in the third run: the ratio stays.
	s := &script{figures: []float64{500, 520, 51, 480, 510}, references: []float64{1000, 1000, 100, 1000, 1000}}
	results, err := Run(t.Context(), []Row{s.row("join", Goal{AtLeast: 0.5})}, Options{})
	if err != nil || len(results) != 1 {
		t.Fatal(results, err)
	}
	r := &results[0]
	if s.calls != "mrmrmrmrmr" || s.closed != 1 {
		t.Errorf("calls %q, closed %d times", s.calls, s.closed)
	}
	if r.Figure() != 500 || r.ReferenceFigure() != 1000 || math.Abs(r.Ratio()-0.51) > 1e-9 || !r.Met() || r.StretchMet() {
		t.Errorf("figure %v, reference %v, ratio %v, met %t, stretch %t", r.Figure(), r.ReferenceFigure(), r.Ratio(), r.Met(), r.StretchMet())
	}
	short := &script{figures: s.figures, references: s.references}
	if _, err := Run(t.Context(), []Row{short.row("join", Goal{})}, Options{Short: true}); err != nil || short.calls != "mrmrmr" {
		t.Errorf("the short form: %q, %v", short.calls, err)
	}
}

func TestAFailedRowIsSaidAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	broken := &script{figures: []float64{900, 900}, references: []float64{1000, 1000}, fail: errors.New("the room lost somebody")}
	well := &script{figures: []float64{950, 950, 950}, references: []float64{1000, 1000, 1000}}
	missing := Row{Name: "page", Unit: PerSecond, Prepare: func(context.Context, *Env) (Trial, error) { return nil, errors.New("nginx is missing") }}
	rows := []Row{broken.row("first", Goal{AtLeast: 0.1}), missing, well.row("last", Goal{AtLeast: 0.8})}
	results, err := Run(t.Context(), rows, Options{Short: true})
	if err != nil || len(results) != 3 {
		t.Fatal(results, err)
	}
	if results[0].Met() || results[1].Met() || !results[2].Met() || !results[2].StretchMet() || broken.closed != 1 {
		t.Errorf("%+v", results)
	}
	var table, doc bytes.Buffer
	if err := errors.Join(WriteTable(&table, results), WriteJSON(&doc, results, Machine{CPUs: 2}, true)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"failed: the room lost somebody", "failed: nginx is missing", "950 requests/s", "95 %", "met, stretch too", "≥ 80 %"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table does not say %q:\n%s", want, table.String())
		}
	}
	var read struct {
		Short bool
		Rows  []struct {
			Name, Error string
			Figure      *float64
			Ratio       *float64
			Met         bool
			Runs        []Pair
		}
	}
	if err := json.Unmarshal(doc.Bytes(), &read); err != nil {
		t.Fatal(err)
	}
	if len(read.Rows) != 3 || !read.Short || read.Rows[1].Figure != nil || read.Rows[1].Error != "nginx is missing" || *read.Rows[2].Ratio != 0.95 || len(read.Rows[2].Runs) != 3 {
		t.Errorf("%s", doc.String())
	}
}

func TestACancelledRunStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := &script{figures: []float64{1, 1, 1, 1, 1}, references: []float64{1, 1, 1, 1, 1}}
	results, err := Run(ctx, []Row{s.row("a", Goal{}), s.row("b", Goal{})}, Options{})
	if !errors.Is(err, context.Canceled) || len(results) != 1 {
		t.Errorf("%d results, %v", len(results), err)
	}
}

func TestLinesOfProgress(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := NewProgress(&out)
	now := time.Now()
	p.(*lines).now = func() time.Time { return now }
	p.Begin(2, "steps")
	p.Stepf(0, "join: %s", "starting")
	p.Stepf(1, "not said so soon after")
	p.Notef("something to read")
	p.Stepf(1, "all done")
	p.End()
	if got, want := out.String(), "[0/2 steps] join: starting\nsomething to read\n[2/2 steps] all done\n"; got != want {
		t.Errorf("said %q, want %q", got, want)
	}
}
