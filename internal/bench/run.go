package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Options say how to run rows and journeys.
type Options struct {
	Program []string // command line that starts the program, without subcommand
	Environ []string // environment of the programs started; settings are added to it
	Short   bool     // the form that finishes within two minutes
	Runs    int      // how often each row is measured; 0: the form's own number

	Progress Progress // nil: none
}

// Env is what a row is prepared in.
type Env struct {
	Options
}

// MeasureFor is how long one run of a rate takes, warm-up not included.
func (e *Env) MeasureFor() time.Duration {
	if e.Short {
		return 1500 * time.Millisecond
	}
	return 5 * time.Second
}

// Times both sides of a row are measured.
const (
	runsFull  = 5
	runsShort = 3
)

// rowLimit bounds everything one row does.
const rowLimit = 15 * time.Minute

// Pair is one run: the figure and its reference, measured one after the other.
type Pair struct {
	Figure    float64 `json:"figure"`
	Reference float64 `json:"reference,omitempty"`
}

// Result is what came of a row.
type Result struct {
	Row   Row
	Pairs []Pair
	Err   error // why there is no figure, or not as many runs as wanted
}

// Figure is the median of the runs, NaN without any.
func (r *Result) Figure() float64 {
	return median(collect(r.Pairs, func(p Pair) float64 { return p.Figure }))
}

// ReferenceFigure is the median of the reference's runs, NaN without any.
func (r *Result) ReferenceFigure() float64 {
	if r.Row.Reference == "" {
		return math.NaN()
	}
	return median(collect(r.Pairs, func(p Pair) float64 { return p.Reference }))
}

// Ratio is the median of the ratios of figure to reference of each run: what
// slows the machine down for a while slows both of a pair.
func (r *Result) Ratio() float64 {
	if r.Row.Reference == "" {
		return math.NaN()
	}
	return median(collect(r.Pairs, func(p Pair) float64 { return p.Figure / p.Reference }))
}

// Met tells whether the goal was reached. A row that failed reached nothing.
func (r *Result) Met() bool { return r.Err == nil && r.Row.Goal.Met(r.Figure(), r.Ratio()) }

// StretchMet tells whether the stretch goal was reached, if there is one.
func (r *Result) StretchMet() bool {
	return r.Met() && r.Row.Stretch != Goal{} && r.Row.Stretch.Met(r.Figure(), r.Ratio())
}

func collect(pairs []Pair, of func(Pair) float64) []float64 {
	values := make([]float64, len(pairs))
	for i, p := range pairs {
		values[i] = of(p)
	}
	return values
}

// Run measures rows one after the other. A row that fails does not keep the
// others from being measured; only the end of ctx does, which is the error.
func Run(ctx context.Context, rows []Row, o Options) ([]Result, error) {
	if o.Progress == nil {
		o.Progress = silent{}
	}
	total := 0
	for i := range rows {
		total += 2 * runsOf(&rows[i], &o)
	}
	o.Progress.Begin(total, "steps")
	defer o.Progress.End()
	results := make([]Result, 0, len(rows))
	for i := range rows {
		result := runRow(ctx, &rows[i], o)
		results = append(results, result)
		if ctx.Err() != nil {
			return results, context.Cause(ctx)
		}
		if result.Err != nil {
			o.Progress.Notef("%s: %v", rows[i].Name, result.Err)
		}
	}
	return results, nil
}

func runsOf(r *Row, o *Options) int {
	switch {
	case o.Runs > 0:
		return o.Runs
	case o.Short && r.Runs.Short > 0:
		return r.Runs.Short
	case o.Short:
		return runsShort
	case r.Runs.Full > 0:
		return r.Runs.Full
	default:
		return runsFull
	}
}

func runRow(ctx context.Context, row *Row, o Options) (result Result) {
	result.Row = *row
	ctx, cancel := context.WithTimeoutCause(ctx, rowLimit, fmt.Errorf("the row took longer than %v", rowLimit))
	defer cancel()
	o.Progress.Stepf(0, "%s: starting", row.Name)
	trial, err := row.Prepare(ctx, &Env{Options: o})
	if err != nil {
		result.Err = err
		return result
	}
	defer func() { result.Err = errors.Join(result.Err, trial.Close()) }()
	runs := runsOf(row, &o)
	for n := range runs {
		var p Pair
		if p.Figure, err = trial.Measure(ctx); err != nil {
			result.Err = err
			return result
		}
		o.Progress.Stepf(1, "%s: run %d of %d: %s", row.Name, n+1, runs, row.Unit.text(p.Figure))
		if row.Reference != "" {
			if p.Reference, err = trial.Reference(ctx); err != nil {
				result.Err = fmt.Errorf("reference: %w", err)
				return result
			}
			o.Progress.Stepf(1, "%s: run %d of %d: %s, reference %s", row.Name, n+1, runs, row.Unit.text(p.Figure), row.Unit.text(p.Reference))
		} else {
			o.Progress.Stepf(1, "%s: run %d of %d", row.Name, n+1, runs)
		}
		result.Pairs = append(result.Pairs, p)
	}
	return result
}
