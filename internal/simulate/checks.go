package simulate

import (
	"fmt"
	"math"

	"onsale/waitroom"
)

// Check is something that must hold in every sale, and whether it did.
type Check struct {
	Name   string `json:"name"`
	Holds  bool   `json:"holds"`
	Detail string `json:"detail"` // the figures; of the first time it did not hold
}

// checks watch a sale.
type checks struct {
	pace  pace
	order struct {
		last   int64 // place
		broken string
	}
	full struct {
		most   int
		broken string
	}
	moved       int // were admitted at another place than the draw or the join gave them
	twice       int // were admitted once more
	drawn       int64
	correlation float64
	proof       error
}

// pace watches that over any time at most burst and rate are admitted: it fills a
// bucket with who is admitted that runs out at the rate, and never holds more than
// the burst.
type pace struct {
	perSecond float64
	burst     float64
	level     float64
	second    int
	most      float64
	mostAt    int
	perMinute [60]int // of the last sixty seconds, by second
	inMinute  int
	fullest   int
}

func (p *pace) init(t waitroom.Throttle) {
	p.perSecond, p.burst = float64(t.RatePerMinute)/60, float64(t.Burst)
}

// admitted is called for every second.
func (p *pace) admitted(second, n int) {
	p.level = max(0, p.level-float64(second-p.second)*p.perSecond) + float64(n)
	p.second = second
	if p.level > p.most {
		p.most, p.mostAt = p.level, second
	}
	slot := &p.perMinute[second%len(p.perMinute)]
	p.inMinute += n - *slot
	*slot = n
	p.fullest = max(p.fullest, p.inMinute)
}

// holds allows for what adding fractions loses.
func (p *pace) holds() bool { return p.most <= p.burst+1e-6 }

// inOrder is called for everybody who is admitted, by place within a second.
func (c *checks) inOrder(second int, place int64) {
	if place < c.order.last && c.order.broken == "" {
		c.order.broken = fmt.Sprintf("at second %d place %d was let in after place %d", second, place, c.order.last)
	}
	c.order.last = max(c.order.last, place)
}

func (c *checks) shoppers(second, n, most int) {
	if n > most && c.full.broken == "" {
		c.full.broken = fmt.Sprintf("at second %d there were %d, more than %d", second, n, most)
	}
	c.full.most = max(c.full.most, n)
}

// placed is called for everybody who is admitted.
func (c *checks) placed(p *person, place int64) {
	if p.place != 0 && p.place != place {
		c.moved++
	}
	p.place = place
}

// draw recomputes a draw from its published proof, and looks whether who came early
// had an advantage: the correlation of join index and place.
func (c *checks) draw(proof *waitroom.DrawProof, people []person) {
	if proof.Status != "drawn" {
		return // nobody was in the lobby
	}
	if c.proof = proof.Verify(); c.proof != nil {
		return
	}
	var squares float64
	n := float64(*proof.N)
	c.drawn = *proof.N
	for i := range people {
		p := &people[i]
		if p.index == 0 {
			continue
		}
		place, err := proof.PlaceOf(p.index)
		if err != nil {
			c.proof = err
			return
		}
		if p.admitted >= 0 && p.place != place {
			c.moved++
		}
		d := float64(p.index) - float64(place-*proof.Base)
		squares += d * d
	}
	if n > 1 {
		c.correlation = 1 - 6*squares/(n*(n*n-1)) // Spearman's
	}
}

// chance is how many standard deviations a correlation may be from none: one draw in
// a million and more is.
const chance = 5

func (c *checks) results(o Options, r *Report) []Check {
	first := func(broken, good string) string {
		if broken != "" {
			return broken
		}
		return good
	}
	out := []Check{{
		Name: "Never more are let in than the throttle allows, over any time", Holds: c.pace.holds(),
		Detail: fmt.Sprintf("%d in the fullest minute; in second %d, %.1f more than the rate, of a burst of %d",
			c.pace.fullest, c.pace.mostAt, c.pace.most, o.Throttle.Burst),
	}, {
		Name: "Never more shop than may", Holds: c.full.broken == "",
		Detail: first(c.full.broken, fmt.Sprintf("at most %d of %d", c.full.most, o.Throttle.MaxShoppers)),
	}, {
		Name: "Nobody is let in before somebody ahead of them", Holds: c.order.broken == "",
		Detail: first(c.order.broken, fmt.Sprintf("%d turns, by place", r.Admitted)),
	}, {
		Name: "Everybody keeps their place and has one turn", Holds: c.moved == 0 && c.twice == 0,
		Detail: fmt.Sprintf("%d were moved, %d had another turn", c.moved, c.twice),
	}, {
		Name: "No more tickets are sold than there are", Holds: r.Sold <= o.Tickets,
		Detail: fmt.Sprintf("%d of %d", r.Sold, o.Tickets),
	}}
	if c.drawn > 0 || c.proof != nil {
		limit := chance / math.Sqrt(max(1, float64(c.drawn)-1))
		d := Check{
			Name: "The draw can be checked, and coming early is no advantage", Holds: c.proof == nil && math.Abs(c.correlation) <= limit,
			Detail: fmt.Sprintf("%d drawn; coming and place correlate by %+.4f (%.4f is chance)", c.drawn, c.correlation, limit),
		}
		if c.proof != nil {
			d.Detail = c.proof.Error()
		}
		out = append(out, d)
	}
	return out
}
