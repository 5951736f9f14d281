package checkout_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"onsale/internal/fault"
)

// verb is what a call asked a store to do.
type verb string

const (
	// Of the hold store.
	makeHold verb = "hold"
	change   verb = "change"
	get      verb = "get"
	extend   verb = "extend"
	pin      verb = "pin"
	unpin    verb = "unpin"
	release  verb = "release"
	settle   verb = "settle" // what Postgres decided
	sweep    verb = "sweep"
	look     verb = "look" // at the bytes of all tickets
	// Of the order store.
	claim verb = "claim" // an order for a hold
	begin verb = "begin" // to pay, refused
	sell  verb = "sell"
	free  verb = "free" // an order is cancelled
)

// act is one call of a store as its caller saw it: what was asked, what was
// answered, and when. Times are nanoseconds since the history began, those of
// Redis included: it runs on this machine.
type act struct {
	client     int
	verb       verb
	call, back int64

	hold    string
	foreign bool  // somebody else's hold
	asked   []int // hold: the tickets; change: those to add; settle, claim: all
	dropped []int
	to      byte // settle
	ttl     int64

	code       fault.Code // "" done; Unavailable: nobody knows whether it was
	got        []int      // tickets of the hold, or of the order
	named      []int      // taken ones; free: those that are on sale again
	end, fence int64      // of the hold
	pinned     bool
	order      string
	isNew      bool // claim: this call made the order
	sold       bool // claim: the order is paid
	seen       []byte
}

const (
	forever = int64(math.MaxInt64 / 2)
	// slack is how far Redis' clock, which counts milliseconds, and ours may differ.
	slack = int64(2 * time.Millisecond)
)

// unknown tells whether the call may have had its effect or not.
func (a *act) unknown() bool { return a.code == fault.Unavailable }

// ticket is the model: what is known about one ticket at one point of an order of
// all calls. Every hold is taken, kept and lost by a rule; so is what Postgres
// decided. Time runs in the model, too: a point never lies before the call that
// takes place at it, nor before the point before.
type ticket struct {
	clock int64 // the point is not before this

	hold     string
	from, to int64 // the hold ends within
	pinned   bool
	fence    int64 // of the hold; 0 if its last change is in doubt
	highest  int64 // fence of a hold that the ticket was in

	order, by string // the order that has it, and for which hold
	sold      bool
	spent     string // holds whose orders were given up, each with a space before and behind it
}

// stray is the hold of a lock that stands for an order whose hold is lost.
const stray = "order"

// one is a call as it concerns one ticket.
type one struct {
	*act

	ordinal int
}

func (o one) asks() bool  { return slices.Contains(o.asked, o.ordinal) }
func (o one) drops() bool { return slices.Contains(o.dropped, o.ordinal) }
func (o one) gets() bool  { return slices.Contains(o.got, o.ordinal) }
func (o one) names() bool { return slices.Contains(o.named, o.ordinal) }

// alive tells whether the ticket may be in this hold at the point.
func (t *ticket) alive(hold string) bool { return t.hold == hold && t.clock < t.to+slack }

// over tells whether the ticket may be in no live hold at the point, and moves the
// point behind the end of the one it is in.
func (t *ticket) over(o one) bool {
	at := max(t.clock, t.from-slack)
	switch {
	case t.hold == "":
		return true
	case t.pinned || at > o.back:
		return false
	}
	t.clock, t.to = at, max(t.from, min(t.to, at))
	return true
}

func (t *ticket) isSpent(hold string) bool { return strings.Contains(t.spent, " "+hold+" ") }

// unlessIn tells whether the ticket may be in no hold of this name at the point.
func (t *ticket) unlessIn(hold string, o one) bool { return t.hold != hold || t.over(o) }

// fits tells whether the hold that the ticket is in may be the one in the reply,
// and takes from the reply what was not known for certain.
func (t *ticket) fits(o one) bool {
	doubt := slack
	if t.from == t.to {
		doubt = 0
	}
	switch {
	case !t.alive(o.hold), t.pinned != o.pinned, t.fence > 0 && o.fence != t.fence, o.fence < t.highest:
		return false
	case !t.pinned && (o.end < t.from-doubt || o.end > t.to+doubt):
		return false
	case !t.pinned:
		t.from, t.to = o.end, o.end
	}
	t.fence, t.highest = o.fence, o.fence
	return true
}

// granted moves the point to where a hold got the time that it ends at.
func (t *ticket) granted(o one) bool {
	at := o.end - o.ttl
	if at < t.clock-slack || at > o.back+slack {
		return false
	}
	t.clock = max(t.clock, at)
	return true
}

// takes gives the ticket to the hold in the reply.
func (t *ticket) takes(o one) bool {
	if o.fence <= t.highest || t.order != "" || !t.over(o) {
		return false
	}
	t.hold, t.from, t.to, t.pinned, t.fence, t.highest = o.hold, o.end, o.end, false, o.fence, o.fence
	return true
}

// step tells whether the call may take place now, and what is the case then.
func (t ticket) step(o one) (ticket, bool) {
	if t.clock = max(t.clock, o.call); o.unknown() {
		t.perhaps(o)
		return t, true
	}
	if o.foreign && o.code == "" && o.verb != release && o.verb != settle {
		return t, false // somebody else's hold obeyed
	}
	return t, t.took(o)
}

// took is step for a call whose outcome is known.
func (t *ticket) took(o one) bool {
	switch o.code {
	case "":
		return t.done(o)
	case fault.LimitReached: // says nothing about a ticket
		return true
	case fault.TicketsTaken:
		return t.refused(o)
	case fault.HoldLapsed:
		if o.verb == claim { // no order has the hold; if Redis knows of it, one had
			return o.foreign || t.by != o.hold && (!o.asks() || t.isSpent(o.hold))
		}
		return o.verb != makeHold && t.unlessIn(o.hold, o)
	case fault.Forbidden:
		return o.foreign && (t.hold != o.hold || t.alive(o.hold) || o.verb == release)
	case fault.Conflict:
		switch o.verb {
		case change, extend:
			return t.hold != o.hold || t.alive(o.hold)
		case release:
			return t.hold != o.hold || t.pinned
		case free: // it is paid or being paid
			return !o.gets() || t.order == o.order
		case begin: // it was cancelled
			return !o.gets() || t.order != o.order
		}
	}
	return false // no such answer to such a call
}

// refused is step for a call that was told which tickets are taken: somebody has
// them, and nobody the others.
func (t *ticket) refused(o one) bool {
	named := o.names()
	switch {
	case o.verb == claim:
		return !named || t.order != "" // Postgres does not ask Redis
	case o.verb != makeHold && o.verb != change:
		return false
	case o.verb == makeHold && !t.unlessIn(o.hold, o): // it would have been told what it has
		return false
	case t.alive(o.hold) && o.verb == change:
		return !named
	case named:
		return t.order != "" || t.hold != "" && t.hold != o.hold && t.alive(t.hold)
	case o.asks():
		return t.order == "" && t.over(o)
	}
	return true
}

// done is step for a call that did what it was asked to.
func (t *ticket) done(o one) bool {
	switch o.verb {
	case makeHold:
		switch {
		case !o.gets():
			return t.unlessIn(o.hold, o)
		case t.alive(o.hold):
			told := *t
			if told.fits(o) { // repeated
				*t = told
				return true
			}
		}
		return o.asks() && !o.pinned && t.granted(o) && t.takes(o)

	case change:
		switch {
		case !o.gets():
			if t.hold != o.hold || !o.drops() {
				return t.unlessIn(o.hold, o) && (!o.asks() || o.drops())
			}
			grew := o.fence > t.highest
			t.hold, t.highest = "", o.fence
			return grew
		case t.alive(o.hold):
			t.fence = 0 // it grows if anything changed
			return !t.pinned && !o.drops() && t.fits(o)
		}
		return o.asks() && t.takes(o)

	case get:
		return !o.gets() && t.unlessIn(o.hold, o) || o.gets() && t.fits(o)

	case extend:
		if !o.gets() {
			return t.unlessIn(o.hold, o)
		}
		if !t.granted(o) || !t.alive(o.hold) || t.pinned || o.end < t.from {
			return false
		}
		t.from, t.to = o.end, o.end
		return t.fits(o)

	case pin:
		if !o.gets() {
			return t.unlessIn(o.hold, o)
		}
		if !t.alive(o.hold) {
			return false
		}
		t.pinned, t.from, t.to = true, forever, forever
		return t.fits(o)

	case unpin:
		if t.hold != o.hold {
			return true
		}
		if !t.alive(o.hold) || t.order != "" && t.by == o.hold {
			return false
		}
		t.pinned, t.from, t.to = false, t.clock+o.ttl-slack, o.back+o.ttl+slack
		return true

	case release:
		switch {
		case t.hold != o.hold:
			return true
		case o.foreign: // there was nothing to release
			return t.over(o)
		case t.pinned:
			return false
		}
		t.hold = ""
		return true

	case settle:
		return t.settled(o)

	case sweep:
		if t.hold != "" && t.clock >= t.to+slack {
			t.hold = ""
		}
		return true

	case look:
		switch o.seen[o.ordinal] {
		case 'A':
			if t.order != "" || !t.over(o) {
				return false
			}
			t.hold = ""
			return true
		case 'H':
			return t.hold != ""
		case 'S':
			return t.sold
		}
		return false

	case claim:
		switch {
		case !o.gets():
			return t.by != o.hold && (!o.isNew || t.unlessIn(o.hold, o))
		case !o.isNew:
			return t.order == o.order && t.by == o.hold && (t.sold || !o.sold)
		case t.order != "", t.isSpent(o.hold), !t.alive(o.hold), !t.pinned, t.fence > 0 && o.fence != t.fence:
			return false
		}
		t.order, t.by = o.order, o.hold
		return true

	case sell:
		t.sold = t.sold || o.gets()
		return o.gets() == (t.order == o.order)

	case free:
		if !o.names() { // it was cancelled before
			return !o.gets() || t.order != o.order
		}
		if t.order != o.order || t.sold {
			return false
		}
		t.spent, t.order, t.by = t.spent+" "+t.by+" ", "", ""
		return true
	}
	return false
}

// settled is step for a decision of Postgres that reached Redis.
func (t *ticket) settled(o one) bool {
	ends := t.hold != "" && t.hold == o.hold
	switch {
	case o.to == 'H':
		if o.asks() && t.over(o) {
			t.hold, t.from, t.to, t.pinned, t.fence = stray, forever, forever, true, 0
		}
	case o.to == 'S' && o.asks():
		if ends || t.hold == stray {
			t.hold = "" // else its owner may still see it
		}
		return t.sold
	case ends || o.asks() && t.hold == stray:
		if t.order != "" {
			return false // Redis gives away what Postgres has claimed
		}
		t.hold = ""
	}
	return true
}

// perhaps lets a call take place that may have. If it had no effect, it stands
// behind all others in the order, where its effect is not seen: it has no end. If
// it had one, then before the caller gave up.
func (t *ticket) perhaps(o one) {
	if t.clock > o.back || o.foreign {
		return
	}
	// A hold made or extended by this call ends within.
	from, to := t.clock+o.ttl-slack, min(o.back+o.ttl+slack, forever)
	mine := t.alive(o.hold)
	switch o.verb {
	case makeHold, change:
		switch {
		case mine && t.pinned:
		case mine && o.drops():
			t.hold = ""
		case mine && o.verb == change:
			t.fence = 0
		case !mine && o.asks() && t.order == "" && t.over(o):
			if from = t.clock + o.ttl - slack; o.verb == change {
				from = t.clock // the hold was made before
			}
			t.hold, t.from, t.to, t.pinned, t.fence = o.hold, from, to, false, 0
		}
	case extend:
		if mine && !t.pinned {
			t.from, t.to = max(t.from, from), max(t.to, to)
		}
	case pin:
		if mine {
			t.pinned, t.from, t.to = true, forever, forever
		}
	case unpin:
		if mine {
			t.pinned, t.from, t.to = false, from, to
		}
	case release:
		if mine && !t.pinned {
			t.hold = ""
		}
	case settle:
		t.settled(o)
	}
}

// holdModel is the model for the checker. Tickets are independent of each other: a
// call about several of them is one operation for each, at the same time.
var holdModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byTicket := make(map[int][]porcupine.Operation)
		for _, op := range history {
			o := op.Input.(one).ordinal
			byTicket[o] = append(byTicket[o], op)
		}
		var parts [][]porcupine.Operation
		for _, o := range slices.Sorted(maps.Keys(byTicket)) {
			parts = append(parts, byTicket[o])
		}
		return parts
	},
	Init: func() any { return ticket{} },
	Step: func(state, input, _ any) (bool, any) {
		next, ok := state.(ticket).step(input.(one))
		return ok, next
	},
	DescribeOperation: func(input, _ any) string { return input.(one).String() },
	DescribeState:     func(state any) string { return state.(ticket).String() },
}

func millis(ns int64) string {
	if ns >= forever {
		return "∞"
	}
	return fmt.Sprintf("%.1f", float64(ns)/1e6)
}

func (o one) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ticket %d: %s %s%s", o.ordinal, o.verb, o.hold, o.order)
	if o.foreign {
		b.WriteString(" of somebody else")
	}
	if o.verb == settle {
		fmt.Fprintf(&b, " %c", o.to)
	}
	if len(o.asked) > 0 {
		fmt.Fprintf(&b, " +%v", o.asked)
	}
	if len(o.dropped) > 0 {
		fmt.Fprintf(&b, " -%v", o.dropped)
	}
	switch {
	case o.unknown():
		b.WriteString(" → nobody knows")
	case o.verb == look:
		fmt.Fprintf(&b, " → %c", o.seen[o.ordinal])
	case o.code != "":
		fmt.Fprintf(&b, " → %s %v", o.code, o.named)
	default:
		fmt.Fprintf(&b, " → %v", o.got)
		if o.end > 0 {
			fmt.Fprintf(&b, " until %s, fence %d", millis(o.end), o.fence)
		}
	}
	fmt.Fprintf(&b, " (%s to %s)", millis(o.call), millis(o.back))
	return b.String()
}

func (t ticket) String() string {
	s := "nobody's"
	switch {
	case t.hold != "" && t.pinned:
		s = t.hold + ", pinned"
	case t.hold != "":
		s = t.hold + " until " + millis(t.from)
		if t.to != t.from {
			s += " or " + millis(t.to)
		}
	}
	switch {
	case t.sold:
		s += "; sold to " + t.order
	case t.order != "":
		s += "; claimed by " + t.order
	}
	return millis(t.clock) + ": " + s
}

// TestHoldModel holds the model against histories of which it is plain whether they
// may be. Times are milliseconds; a hold lives for 100.
func TestHoldModel(t *testing.T) {
	t.Parallel()
	ms := func(n int64) int64 { return n * int64(time.Millisecond) }
	call := func(v verb, hold string, from, to int64, code fault.Code) *act {
		return &act{verb: v, hold: hold, call: ms(from), back: ms(to), ttl: ms(100), code: code}
	}
	holds := func(hold string, from, to, end, fence int64, tickets ...int) *act {
		a := call(makeHold, hold, from, to, "")
		a.asked, a.got, a.end, a.fence = tickets, tickets, ms(end), fence
		return a
	}
	asks := func(hold string, from, to int64, code fault.Code, tickets ...int) *act {
		a := call(makeHold, hold, from, to, code)
		a.asked = tickets
		return a
	}
	refused := func(hold string, from, to int64, named []int, tickets ...int) *act {
		a := asks(hold, from, to, fault.TicketsTaken, tickets...)
		a.named = named
		return a
	}
	of := func(v verb, from, to int64, h *act, end int64) *act {
		a := call(v, h.hold, from, to, "")
		a.got, a.end, a.fence, a.pinned = h.got, ms(end), h.fence, v == pin
		return a
	}
	order := func(v verb, from, to int64, h *act) *act {
		a := call(v, "", from, to, "")
		a.order, a.got = "o", h.got
		switch v {
		case claim:
			a.hold, a.asked, a.fence, a.isNew = h.hold, h.got, h.fence, true
		case free:
			a.named = h.got
		}
		return a
	}
	settles := func(from, to int64, h *act, state byte) *act {
		a := call(settle, h.hold, from, to, "")
		a.asked, a.to = h.got, state
		return a
	}
	foreign := func(a *act) *act {
		a.foreign = true
		return a
	}

	first := holds("a", 10, 14, 112, 1, 1, 2)
	ordered := []*act{first, of(pin, 50, 52, first, 30_000), order(claim, 53, 60, first)}
	cancelled := slices.Concat(ordered, []*act{order(free, 70, 80, first), settles(80, 82, first, 'A')})
	for _, test := range []struct {
		what string
		may  bool
		acts []*act
	}{
		{"two at the same time", false, []*act{first, holds("b", 50, 54, 152, 2, 2)}},
		{"two of which either may be first", false, []*act{first, holds("b", 10, 14, 112, 2, 2)}},
		{"two of different tickets", true, []*act{first, holds("b", 50, 54, 152, 2, 3)}},
		{"another when the first is over", true, []*act{first, holds("b", 110, 118, 214, 2, 2)}},
		{"the time is not that of the call", false, []*act{first, holds("b", 120, 124, 260, 2, 2)}},
		{"refused while it is held", true, []*act{first, refused("b", 50, 54, []int{2}, 2, 3)}},
		{"refused while it may be held", true, []*act{first, refused("b", 111, 130, []int{2}, 2)}},
		{"refused when it is over", false, []*act{first, refused("b", 115, 130, []int{2}, 2)}},
		{"refused and not told of all", false, []*act{first, refused("b", 50, 54, []int{2}, 1, 2)}},
		{"repeated", true, []*act{first, of(makeHold, 50, 52, first, 112)}},
		{"repeated to another end", false, []*act{first, of(makeHold, 50, 52, first, 152)}},
		{"extended in time", true, []*act{first, of(extend, 50, 52, first, 151), refused("b", 140, 142, []int{1}, 1)}},
		{"extended late", false, []*act{first, of(extend, 115, 119, first, 217)}},
		{"seen when it is over", false, []*act{first, of(get, 115, 119, first, 112)}},
		{"said to be over in time", false, []*act{first, call(get, "a", 50, 52, fault.HoldLapsed)}},
		{"said to be over late", true, []*act{first, call(get, "a", 111, 115, fault.HoldLapsed)}},
		{"released", true, []*act{first, call(release, "a", 50, 52, ""), holds("b", 60, 64, 162, 2, 1)}},
		{"released by somebody else", false, []*act{first, foreign(call(release, "a", 50, 52, ""))}},
		{"refused to somebody else", true, []*act{first, foreign(call(release, "a", 50, 52, fault.Forbidden))}},
		{"seen by somebody else", false, []*act{first, foreign(of(get, 50, 52, first, 112))}},
		{"fences that go back", false, []*act{first, holds("b", 120, 124, 222, 1, 2)}},

		{"lost with its effect", true, []*act{asks("a", 10, 14, fault.Unavailable, 1), refused("b", 50, 54, []int{1}, 1)}},
		{"lost without", true, []*act{asks("a", 10, 14, fault.Unavailable, 1), holds("b", 50, 54, 152, 1, 1)}},
		{"lost first with, then without", false, []*act{
			asks("a", 10, 14, fault.Unavailable, 1), refused("b", 50, 54, []int{1}, 1), holds("c", 60, 64, 162, 1, 1),
		}},
		{"lost and kept for longer than a hold lives", false, []*act{
			asks("a", 10, 14, fault.Unavailable, 1), refused("b", 118, 120, []int{1}, 1),
		}},
		{"a release lost", true, []*act{first, call(release, "a", 50, 52, fault.Unavailable), holds("b", 60, 64, 162, 2, 1)}},

		{"ordered and refused later", true, slices.Concat(ordered, []*act{refused("b", 200, 204, []int{1}, 1)})},
		{"ordered and handed out", false, slices.Concat(ordered, []*act{holds("b", 200, 204, 302, 2, 1)})},
		{"ordered when it is over", false, []*act{first, of(pin, 115, 117, first, 30_000)}},
		{"ordered without a hold", false, []*act{first, order(claim, 53, 60, first)}},
		{"ordered and freed", false, slices.Concat(ordered, []*act{settles(80, 82, first, 'A')})},
		{"cancelled and handed out", true, slices.Concat(cancelled, []*act{holds("b", 90, 94, 192, 2, 1)})},
		{"cancelled and ordered again", false, slices.Concat(cancelled, []*act{order(claim, 90, 95, first)})},
		{"cancelled and refused", false, slices.Concat(cancelled, []*act{refused("b", 90, 94, []int{1}, 1)})},
		{"sold", true, slices.Concat(ordered, []*act{order(sell, 70, 80, first), refused("b", 200, 204, []int{1}, 1)})},
		{"sold and handed out", false, slices.Concat(ordered, []*act{
			order(sell, 70, 80, first), settles(80, 82, first, 'S'), holds("b", 90, 94, 192, 2, 1),
		})},
		{"sold and cancelled", false, slices.Concat(ordered, []*act{order(sell, 70, 80, first), order(free, 90, 95, first)})},
	} {
		c := &chronicle{acts: test.acts}
		if result, info := c.check(); (result == porcupine.Ok) != test.may {
			t.Errorf("%s: the model says %s\n%s", test.what, result, unexplained(c.operations(), info))
		}
	}
}
