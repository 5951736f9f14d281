package bench

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Row is one measured figure beside its reference.
type Row struct {
	Name      string // of --rows, one word
	Order     int    // rows are run and printed by it
	Figure    string // what is measured
	Reference string // what is measured beside it; "" for none
	Unit      Unit
	Goal      Goal
	Stretch   Goal

	// Runs is how often both are measured when that is not the usual number,
	// for rows whose figure hardly varies or takes long.
	Runs struct{ Full, Short int }

	// Prepare starts what the row needs.
	Prepare func(ctx context.Context, env *Env) (Trial, error)
}

// Trial is a prepared row. Measure and Reference are called in turns, never at
// the same time.
type Trial interface {
	Measure(ctx context.Context) (float64, error)
	// Reference is not called for rows without one.
	Reference(ctx context.Context) (float64, error)
	// Close ends what Prepare started.
	Close() error
}

// Unit is what a figure counts.
type Unit string

// The units.
const (
	PerSecond         Unit = "requests/s"
	VisitorsPerSecond Unit = "visitors/s"
	SalesPerSecond    Unit = "purchases/s"
	Bytes             Unit = "bytes"
	Micros            Unit = "µs"
	Millis            Unit = "ms"
	Commands          Unit = "commands"
)

// Goal is what a figure has to reach. A zero bound does not bind; the zero Goal
// is none.
type Goal struct {
	AtLeast float64 `json:"at_least,omitempty"` // of the ratio of figure to reference
	AtMost  float64 `json:"at_most,omitempty"`  // of that ratio
	Below   float64 `json:"below,omitempty"`    // of the figure, in its unit: it may be this much
}

// Met tells whether a figure and its ratio to the reference reach the goal.
// What was not measured (NaN) reaches nothing.
func (g Goal) Met(figure, ratio float64) bool {
	return (g.AtLeast == 0 || ratio >= g.AtLeast) &&
		(g.AtMost == 0 || ratio <= g.AtMost) &&
		(g.Below == 0 || figure <= g.Below)
}

// text writes the goal as the table has it.
func (g Goal) text(unit Unit) string {
	var parts []string
	if g.AtLeast != 0 {
		parts = append(parts, "≥ "+percent(g.AtLeast))
	}
	if g.AtMost != 0 {
		parts = append(parts, "≤ "+percent(g.AtMost))
	}
	if g.Below != 0 {
		parts = append(parts, "≤ "+unit.text(g.Below))
	}
	return strings.Join(parts, " and ")
}

func (u Unit) text(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case u == Bytes && math.Abs(v) >= 1<<10:
		return fmt.Sprintf("%.1f KB", v/(1<<10))
	case (u == Micros || u == Millis) && math.Abs(v) < 100:
		return fmt.Sprintf("%.1f %s", v, u)
	default:
		return thousands(v) + " " + string(u)
	}
}

// thousands writes a whole number with its digits in groups of three.
func thousands(v float64) string {
	digits := fmt.Sprintf("%.0f", math.Abs(v))
	var b strings.Builder
	if v <= -0.5 {
		b.WriteByte('-')
	}
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

func percent(ratio float64) string { return fmt.Sprintf("%.0f %%", ratio*100) }

// registered holds the rows of all files of the package.
var registered []Row

// register makes a row part of the bench. It is called by the variable that
// keeps its result, in the row's own file.
func register(r Row) Row { //nolint:unparam // the result lets a variable call it: there is no init
	registered = append(registered, r)
	return r
}

// Rows lists all rows in order.
func Rows() []Row {
	rows := slices.Clone(registered)
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Name, b.Name))
	})
	return rows
}

// Select picks rows by name, in the order of Rows; no names are all of them.
// Unknown names are an error that says which ones there are.
func Select(rows []Row, names []string) ([]Row, error) {
	if len(names) == 0 {
		return rows, nil
	}
	known := make([]string, len(rows))
	for i := range rows {
		known[i] = rows[i].Name
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no row %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return !slices.Contains(names, r.Name) }), nil
}

// median returns the middle of values, NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}
