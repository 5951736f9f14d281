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
	enoughEnded   = 50   // turns without whose end it is not known how long they take
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
		seconds, known := r.untilServed(a, float64(r.Rate())/60)
		if !known {
			return nil
		}
		return wait(seconds*priorLow, seconds*priorHigh)
	}
	// The throttle may have been lowered since; nobody gets past it.
	limit := float64(r.Rate()) / 60
	if limit == 0 {
		return nil
	}
	seconds, known := r.untilServed(a, min(p.perSecond, limit))
	if !known {
		return nil
	}
	m := p.perSecond * PaceSlot.Seconds()
	spread := quartile * math.Sqrt(p.variance/(m*a)+p.variance/(float64(p.slots)*m*m))
	spread = min(max(spread, leastSpread), mostSpread)
	return wait(seconds*(1-spread), seconds*(1+spread))
}

// untilServed is how many seconds pass until a people have had their turn, at a pace
// per second that lasts until the shop is full; it is false when that cannot be told.
//
// A shop with room fills as long as more come than go. If each of its c slots is taken
// for a time T on average, n of them now, then pT − (pT−n)·e^(−t/T) are after t
// seconds. Once they are c, the pace is that at which slots are free again, c/T.
//
// T is the time that slots were taken altogether, by how many have ended: the most
// likely average of stays that end at any moment with the same chance. People need a
// while to buy, so it is too long as long as few have ended, and the estimate with it,
// while one by the pace alone is too short. The truth lies between the two: in their
// geometric middle at first, and nearer to the former the more have ended.
func (r *Room) untilServed(a, pace float64) (seconds float64, known bool) {
	slots, taken, ended := float64(r.Throttle.MaxShoppers), float64(r.Ready+r.Shopping), float64(r.Ended)
	lasts := a / pace
	if ended < min(enoughEnded, slots) {
		return lasts, a+taken <= slots
	}
	stay := r.Taken.Seconds() / ended
	if pace*stay <= slots {
		return lasts, true
	}
	full := 0.0
	if taken < slots {
		full = stay * math.Log((pace*stay-taken)/(pace*stay-slots))
	}
	if a <= pace*full {
		return lasts, true
	}
	weight := max(0.5, ended/(ended+taken))
	return math.Pow(full+(a-pace*full)*stay/slots, weight) * math.Pow(lasts, 1-weight), true
}

func wait(low, high float64) *Wait {
	high += tickOfTheDoor
	if high > longestWait.Seconds() {
		return nil
	}
	return &Wait{Low: int(low), High: int(math.Ceil(high))}
}
