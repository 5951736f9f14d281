package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"
)

// WriteTable prints one line per row: figure, reference, ratio, goal, met or not.
func WriteTable(w io.Writer, results []Result) error {
	lines := [][]string{{"row", "figure", "reference", "ratio", "goal", "stretch", ""}}
	for i := range results {
		r := &results[i]
		reference := "–"
		if r.Row.Reference != "" {
			reference = r.Row.Unit.text(r.ReferenceFigure())
		}
		ratio := "–"
		if v := r.Ratio(); !math.IsNaN(v) {
			ratio = percent(v)
		}
		lines = append(lines, []string{
			r.Row.Name, r.Row.Unit.text(r.Figure()), reference, ratio,
			r.Row.Goal.text(r.Row.Unit), r.Row.Stretch.text(r.Row.Unit), verdict(r),
		})
	}
	var b strings.Builder
	writeColumns(&b, lines)
	b.WriteByte('\n')
	for i := range results {
		r := &results[i]
		fmt.Fprintf(&b, "%s: %s", r.Row.Name, r.Row.Figure)
		if r.Row.Reference != "" {
			fmt.Fprintf(&b, "; reference: %s", r.Row.Reference)
		}
		b.WriteByte('\n')
		if r.Err != nil {
			fmt.Fprintf(&b, "  failed: %v\n", r.Err)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func verdict(r *Result) string {
	switch {
	case r.Err != nil:
		return "failed"
	case r.StretchMet():
		return "met, stretch too"
	case r.Met():
		return "met"
	default:
		return "not met"
	}
}

// writeColumns aligns cells to the left, by characters.
func writeColumns(b *strings.Builder, lines [][]string) {
	var widths []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		var text strings.Builder
		for i, cell := range line {
			text.WriteString(cell)
			text.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(text.String(), " "))
		b.WriteByte('\n')
	}
}

// Machine is where a bench ran.
type Machine struct {
	OS    string    `json:"os"`
	Arch  string    `json:"arch"`
	CPUs  int       `json:"cpus"` // that the programs may use
	Go    string    `json:"go"`
	Ended time.Time `json:"ended"`
}

// ThisMachine describes the machine; ended is when the bench did.
func ThisMachine(ended time.Time) Machine {
	return Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0), Go: runtime.Version(), Ended: ended.UTC()}
}

// resultJSON is a Result as the JSON file has it. What was not measured is null.
type resultJSON struct {
	Name          string   `json:"name"`
	What          string   `json:"what"`
	Unit          Unit     `json:"unit"`
	Figure        *float64 `json:"figure"`
	ReferenceName string   `json:"reference_name,omitempty"`
	Reference     *float64 `json:"reference"`
	Ratio         *float64 `json:"ratio"`
	Goal          Goal     `json:"goal"`
	Stretch       Goal     `json:"stretch"`
	Met           bool     `json:"met"`
	StretchMet    bool     `json:"stretch_met"`
	Runs          []Pair   `json:"runs"`
	Error         string   `json:"error,omitempty"`
}

// WriteJSON writes what the table shows, with every single run.
func WriteJSON(w io.Writer, results []Result, machine Machine, short bool) error {
	doc := struct {
		Machine Machine      `json:"machine"`
		Short   bool         `json:"short"`
		Rows    []resultJSON `json:"rows"`
	}{machine, short, make([]resultJSON, 0, len(results))}
	for i := range results {
		r := &results[i]
		row := resultJSON{
			Name: r.Row.Name, What: r.Row.Figure, Unit: r.Row.Unit, Figure: known(r.Figure()),
			ReferenceName: r.Row.Reference, Reference: known(r.ReferenceFigure()), Ratio: known(r.Ratio()),
			Goal: r.Row.Goal, Stretch: r.Row.Stretch, Met: r.Met(), StretchMet: r.StretchMet(), Runs: r.Pairs,
		}
		if row.Runs == nil {
			row.Runs = []Pair{}
		}
		if r.Err != nil {
			row.Error = r.Err.Error()
		}
		doc.Rows = append(doc.Rows, row)
	}
	return writeJSON(w, doc)
}

func writeJSON(w io.Writer, doc any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}

// known is nil for what JSON has no number for.
func known(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
