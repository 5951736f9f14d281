package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// notes is what a crowd saw. Its methods may be called from several goroutines.
type notes struct {
	mu              sync.Mutex
	latencies       map[string]*hdrhistogram.Histogram // microseconds, by step
	answers         map[string]map[int]int             // by step and HTTP status
	ends            map[End]int
	failures        []string
	admitted        []admission
	spans           []span
	purchases       []purchase
	reconnects      int
	mostShoppers    int
	throttleChanged bool
	lastPurchase    time.Time
}

func newNotes() *notes {
	n := &notes{latencies: make(map[string]*hdrhistogram.Histogram), answers: make(map[string]map[int]int), ends: make(map[End]int)}
	for _, step := range steps {
		n.latencies[step] = hdrhistogram.New(1, int64(time.Hour/time.Microsecond), 3)
	}
	return n
}

func (n *notes) took(step string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = n.latencies[step].RecordValue(min(max(d.Microseconds(), 1), int64(time.Hour/time.Microsecond))) // within bounds
}

func (n *notes) answer(step string, status int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.answers[step] == nil {
		n.answers[step] = make(map[int]int)
	}
	n.answers[step][status]++
}

func (n *notes) admit(at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.admitted = append(n.admitted, admission{at, 1})
}

func (n *notes) bought(p purchase) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.purchases = append(n.purchases, p)
	n.lastPurchase = time.Now()
}

func (n *notes) reconnect() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reconnects++
}

func (n *notes) saw(room Room, throttle Throttle) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mostShoppers = max(n.mostShoppers, room.Ready+room.Shopping)
	n.throttleChanged = n.throttleChanged || room.Throttle != throttle
}

func (n *notes) ended(end End, err error, slot span) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ends[end]++
	if end == Failed {
		n.failures = append(n.failures, err.Error())
	}
	if !slot.from.IsZero() {
		n.spans = append(n.spans, slot)
	}
}

// summary says in a few words how visits ended so far.
func (n *notes) summary() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var parts []string
	for _, end := range slices.Sorted(maps.Keys(n.ends)) {
		parts = append(parts, fmt.Sprintf("%d %s", n.ends[end], end))
	}
	return strings.Join(parts, ", ")
}

// JourneyReport is what came of a journey.
type JourneyReport struct {
	Event         string             `json:"event"`
	Visitors      int                `json:"visitors"`
	Seconds       float64            `json:"seconds"`
	Ends          map[End]int        `json:"ends"`
	Tickets       int                `json:"tickets_bought"`
	Purchases     int                `json:"purchases"`
	PurchasesPerS float64            `json:"purchases_per_second"` // until the last one
	Requests      int                `json:"requests"`
	RequestsPerS  float64            `json:"requests_per_second"`
	Reconnects    int                `json:"reconnects"`
	Steps         []StepReport       `json:"steps"`
	Answers       map[string]Answers `json:"answers"`
	Failures      []string           `json:"failures,omitempty"`
	Checks        []Check            `json:"checks"`
}

// Answers counts a step's answers by HTTP status.
type Answers map[int]int

// StepReport is how long one step took visitors, in milliseconds.
type StepReport struct {
	Step  string  `json:"step"`
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// Broken tells whether an invariant did not hold.
func (r *JourneyReport) Broken() bool {
	return slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Broken != "" })
}

func (w *walk) report(event string, took time.Duration) *JourneyReport {
	n := w.notes
	n.mu.Lock()
	defer n.mu.Unlock()
	r := &JourneyReport{
		Event: event, Visitors: w.visitors, Seconds: took.Seconds(), Ends: maps.Clone(n.ends), Purchases: len(n.purchases),
		Reconnects: n.reconnects, Answers: make(map[string]Answers), Failures: first(n.failures),
	}
	for _, p := range n.purchases {
		r.Tickets += len(p.tickets)
	}
	if sale := n.lastPurchase.Sub(w.began).Seconds(); sale > 0 {
		r.PurchasesPerS = float64(r.Purchases) / sale
	}
	for step, answers := range n.answers {
		r.Answers[step] = maps.Clone(answers)
		for _, count := range answers {
			r.Requests += count
		}
	}
	r.RequestsPerS = float64(r.Requests) / took.Seconds()
	for _, step := range steps {
		h := n.latencies[step]
		if h.TotalCount() == 0 {
			continue
		}
		ms := func(micro int64) float64 { return float64(micro) / 1000 }
		r.Steps = append(r.Steps, StepReport{
			Step: step, Count: h.TotalCount(), P50: ms(h.ValueAtQuantile(50)), P90: ms(h.ValueAtQuantile(90)),
			P99: ms(h.ValueAtQuantile(99)), Max: ms(h.Max()),
		})
	}
	return r
}

// Write prints the report for people.
func (r *JourneyReport) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d visitors of event %s in %.1f s: %d purchases (%.1f/s), %d tickets, %s requests (%s/s), %d reconnects\n",
		r.Visitors, r.Event, r.Seconds, r.Purchases, r.PurchasesPerS, r.Tickets,
		thousands(float64(r.Requests)), thousands(r.RequestsPerS), r.Reconnects)
	for _, end := range slices.Sorted(maps.Keys(r.Ends)) {
		fmt.Fprintf(&b, "  %d %s\n", r.Ends[end], end)
	}
	b.WriteByte('\n')
	lines := [][]string{{"step", "count", "p50 ms", "p90 ms", "p99 ms", "max ms", "answers"}}
	for _, s := range r.Steps {
		var answers []string
		for _, status := range slices.Sorted(maps.Keys(r.Answers[s.Step])) {
			answers = append(answers, fmt.Sprintf("%d: %d", status, r.Answers[s.Step][status]))
		}
		lines = append(lines, []string{
			s.Step, thousands(float64(s.Count)), milliseconds(s.P50), milliseconds(s.P90), milliseconds(s.P99), milliseconds(s.Max),
			strings.Join(answers, ", "),
		})
	}
	writeColumns(&b, lines)
	b.WriteByte('\n')
	for _, c := range r.Checks {
		mark := "holds "
		if c.Broken != "" {
			mark = "BROKEN"
		}
		fmt.Fprintf(&b, "%s  %s (%s)\n", mark, c.Name, c.Detail)
		if c.Broken != "" {
			fmt.Fprintf(&b, "        %s\n", c.Broken)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func milliseconds(v float64) string {
	if v >= 100 {
		return thousands(v)
	}
	return fmt.Sprintf("%.1f", v)
}

// WriteJSON writes the report with the machine it was made on.
func (r *JourneyReport) WriteJSON(w io.Writer, machine Machine) error {
	return writeJSON(w, struct {
		Machine Machine `json:"machine"`
		*JourneyReport
	}{machine, r})
}
