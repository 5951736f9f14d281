package waitroom

import (
	"fmt"
	"strings"
	"time"

	"onsale/internal/fault"
)

// Autopilot steers a room's rate by how the shop feels: up by a step while it is
// well, down by a factor when it is not (additive increase, multiplicative
// decrease; Chiu and Jain, 1989), never above the operator's rate.
type Autopilot struct {
	Enabled       bool
	MinRate       int           // admissions a minute it does not go below, 1 … 1,000,000
	TargetP95     time.Duration // of the shop's answers, 10 ms … 1 min
	MaxErrorShare float64       // of the shop's answers, 0.001 … 1
	MaxPoolShare  float64       // of the database's connections in use, 0.1 … 1
}

// DefaultAutopilot is off, and gentle when it is turned on.
func DefaultAutopilot() Autopilot {
	return Autopilot{MinRate: 10, TargetP95: 500 * time.Millisecond, MaxErrorShare: 0.02, MaxPoolShare: 0.85}
}

// AutopilotPatch changes those values that are not nil.
type AutopilotPatch struct {
	Enabled       *bool
	MinRate       *int
	TargetP95     *time.Duration
	MaxErrorShare *float64
	MaxPoolShare  *float64
}

func (p AutopilotPatch) problems() (wrong []string) {
	if p.MinRate != nil && (*p.MinRate < 1 || *p.MinRate > 1_000_000) {
		wrong = append(wrong, fmt.Sprintf("autopilot.min_rate_per_minute must be from 1 to 1000000, not %d", *p.MinRate))
	}
	if p.TargetP95 != nil && (*p.TargetP95 < 10*time.Millisecond || *p.TargetP95 > time.Minute) {
		wrong = append(wrong, "autopilot.target_p95_ms must be from 10 to 60000")
	}
	if p.MaxErrorShare != nil && !(*p.MaxErrorShare >= 0.001 && *p.MaxErrorShare <= 1) {
		wrong = append(wrong, "autopilot.max_error_share must be from 0.001 to 1")
	}
	if p.MaxPoolShare != nil && !(*p.MaxPoolShare >= 0.1 && *p.MaxPoolShare <= 1) {
		wrong = append(wrong, "autopilot.max_pool_share must be from 0.1 to 1")
	}
	return wrong
}

// Validate names every value that is out of bounds, as a fault.Invalid.
func (a Autopilot) Validate() error {
	wrong := AutopilotPatch{MinRate: &a.MinRate, TargetP95: &a.TargetP95, MaxErrorShare: &a.MaxErrorShare, MaxPoolShare: &a.MaxPoolShare}.problems()
	if len(wrong) > 0 {
		return fault.New(fault.Invalid, "%s", strings.Join(wrong, "; "))
	}
	return nil
}

// Health is how the shop has felt lately, at one node or at the worst of them.
type Health struct {
	Requests   int // answered in the window
	P95        time.Duration
	ErrorShare float64 // of the requests
	PoolShare  float64 // of the database connections in use
}

// Worst is the health of a shop of several nodes: the worst of each.
func Worst(all []Health) Health {
	var w Health
	for _, h := range all {
		w.Requests += h.Requests
		w.P95 = max(w.P95, h.P95)
		w.ErrorShare = max(w.ErrorShare, h.ErrorShare)
		w.PoolShare = max(w.PoolShare, h.PoolShare)
	}
	return w
}

const (
	steerEvery   = 10 * time.Second
	steerFactor  = 0.7
	steerStep    = 0.05 // of the operator's rate
	fewRequests  = 20   // with which errors and latency say nothing
	criticalErrs = 0.5  // share of errors with which a shop is not open at all
)

// Critical reports that so much fails that nobody should be let in, and why.
func (h Health) Critical() (why string, critical bool) {
	if h.Requests >= fewRequests && h.ErrorShare >= criticalErrs {
		return fmt.Sprintf("%.0f %% of the shop's answers are errors", h.ErrorShare*100), true
	}
	return "", false
}

// trouble says what is over its bound, "" when nothing is.
func (a *Autopilot) trouble(h Health) string {
	switch {
	case h.PoolShare > a.MaxPoolShare:
		return fmt.Sprintf("%.0f %% of the database connections are in use, more than %.0f %%", h.PoolShare*100, a.MaxPoolShare*100)
	case h.Requests < fewRequests:
		return ""
	case h.ErrorShare > a.MaxErrorShare:
		return fmt.Sprintf("%.1f %% of the answers are errors, more than %.1f %%", h.ErrorShare*100, a.MaxErrorShare*100)
	case h.P95 > a.TargetP95:
		return fmt.Sprintf("95 %% of the answers take up to %v, longer than %v", h.P95, a.TargetP95)
	}
	return ""
}

// steer decides the next rate of a room. It is false when it is too early, or
// nothing changes.
func (r *Room) steer(h Health) (rate int, why string, change bool) {
	a := &r.Autopilot
	if !a.Enabled || r.AsOf.Sub(r.SteeredAt) < steerEvery {
		return 0, "", false
	}
	ceiling, now := r.Throttle.RatePerMinute, r.Rate()
	floor := min(a.MinRate, ceiling)
	if trouble := a.trouble(h); trouble != "" {
		next := max(int(float64(now)*steerFactor), floor)
		return next, trouble, next < now
	}
	next := min(now+max(int(float64(ceiling)*steerStep), 1), ceiling)
	return next, "the shop is well", next > now
}
