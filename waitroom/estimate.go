package waitroom

import (
	"math"
	"time"
)

// Wait is a range for the time until a visitor's turn, in seconds: with the
// pace of the last minutes, one in four is let in before Low and one in four
// after High.
type Wait struct {
	Low  int `json:"low_s"`
	High int `json:"high_s"`
}

const (
	enoughSlots   = 6    // slots without which the pace is not known
	quartile      = 0.68 // of the normal distribution, in standard deviations
	leastSpread   = 0.15 // part of the estimate the range is at least wide, each way
	mostSpread    = 0.6
	longestWait   = 24 * time.Hour
	priorLow      = 0.7
	priorHigh     = 1.6
	tickOfTheDoor = 2 // seconds a head of the line may have to wait for a tick and a push
)

// pace is how fast a line moved.
type pace struct {
	slots     int
	perSecond float64
	variance  float64 // of admissions per slot
}

// pace looks at the slots in which people waited, but for the one that runs.
func (r *Room) pace() (pace, bool) {
	running := r.AsOf.UnixMilli() / PaceSlot.Milliseconds()
	var n, sum, squares float64
	for _, p := range r.Pace {
		if p.Busy && p.Slot < running {
			n++
			sum += float64(p.Admitted)
			squares += float64(p.Admitted) * float64(p.Admitted)
		}
	}
	if n < enoughSlots || sum == 0 {
		return pace{}, false
	}
	mean := sum / n
	return pace{
		slots:     int(n),
		perSecond: mean / PaceSlot.Seconds(),
		variance:  max(0, (squares-n*mean*mean)/(n-1)),
	}, true
}

// Wait estimates how long somebody with ahead people before them has to wait.
// It is nil while that is not known.
//
// Admissions per slot have a mean m and a variance v. The number of slots until
// ahead+1 people are let in then has about the mean a/m and the variance
// a·v/m³ (the renewal theorem), and since m itself was measured over n slots,
// its own uncertainty v/n adds a relative variance of v/(n·m²). Without enough
// slots the range is taken around the throttle's rate, as long as that is what
// limits the line.
func (r *Room) Wait(ahead int) *Wait {
	if r.State != Open && r.State != Draining {
		return nil
	}
	standstill := r.Standstill()
	if standstill != "" && standstill != ReasonFull {
		return nil
	}
	a := float64(ahead + 1)
	p, ok := r.pace()
	if !ok {
		if standstill == ReasonFull || r.Rate() == 0 {
			return nil
		}
		seconds := a * 60 / float64(r.Rate())
		return wait(seconds*priorLow, seconds*priorHigh)
	}
	// The throttle may have been lowered since; nobody gets past it.
	limit := float64(r.Rate()) / 60
	if limit == 0 {
		return nil
	}
	seconds := a / min(p.perSecond, limit)
	m := p.perSecond * PaceSlot.Seconds()
	spread := quartile * math.Sqrt(p.variance/(m*a)+p.variance/(float64(p.slots)*m*m))
	spread = min(max(spread, leastSpread), mostSpread)
	return wait(seconds*(1-spread), seconds*(1+spread))
}

func wait(low, high float64) *Wait {
	high += tickOfTheDoor
	if high > longestWait.Seconds() {
		return nil
	}
	return &Wait{Low: int(low), High: int(math.Ceil(high))}
}
