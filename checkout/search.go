package checkout

import (
	"cmp"
	"slices"

	"onsale/catalog"
	"onsale/internal/fault"
)

// BestAvailable asks for seats next to each other in one row, best first.
type BestAvailable struct {
	Quantity   int
	Tier       int    // index into the layout's tiers, -1 for any
	Section    int    // index into the layout's sections, -1 for any
	MinPrice   int64  // minor units
	MaxPrice   int64  // minor units; 0 for any
	Accessible int    // how many must be accessible seats; the others are beside them
	Split      bool   // in groups, where they cannot be had together
	Channel    string // id or name of the channel whose tickets are asked for; "" for everybody's
}

// AreaQuantity asks for any tickets of a general-admission section.
type AreaQuantity struct {
	Section  int // index into the layout's sections
	Quantity int
	Channel  string // as in BestAvailable
}

// Stretch is tickets first to last, by ordinal. In an area neighbours don't matter.
type Stretch struct {
	First, Last int
	Area        bool
}

// Wanted is what a HoldStore is to hold: the ordinals, the areas' tickets and the
// best, all of them or nothing.
type Wanted struct {
	Ordinals []int
	Areas    []WantedArea
	Best     *WantedBest
	Revision int // of the layout that says so
}

// WantedArea is a quantity from some stretches. Channel is a number, 0 for none.
type WantedArea struct {
	Quantity, Channel int
	Where             []Stretch
}

// WantedBest is a search. Channel is a number, 0 for none.
type WantedBest struct {
	Quantity, Channel, Accessible int
	Split                         bool
	Where                         []Stretch // ascending
	Accessibly                    []Stretch // the accessible seats, ascending
}

// wanted turns a request into stretches of tickets. channel resolves a channel's
// name to its number.
func wanted(r *HoldRequest, layout *catalog.Layout, channel func(string) (int, error)) (w Wanted, err error) {
	w.Ordinals, w.Revision = r.Ordinals, layout.Revision
	for _, a := range r.Areas {
		s := layout.Sections[a.Section]
		area := WantedArea{Quantity: a.Quantity, Where: []Stretch{{First: s.First, Last: s.First + s.Count - 1, Area: true}}}
		if area.Channel, err = channel(a.Channel); err != nil {
			return w, err
		}
		w.Areas = append(w.Areas, area)
	}
	if b := r.Best; b != nil {
		w.Best = &WantedBest{Quantity: b.Quantity, Accessible: b.Accessible, Split: b.Split}
		w.Best.Where, w.Best.Accessibly = stretches(layout, b)
		if w.Best.Channel, err = channel(b.Channel); err != nil {
			return w, err
		}
	}
	return w, nil
}

// stretches are the tickets that fit: ordinary ones, and accessible seats. They
// are as long as can be; where rows and tiers begin is for the store to see.
func stretches(layout *catalog.Layout, b *BestAvailable) (where, accessibly []Stretch) {
	fits := make([]bool, len(layout.Tiers))
	for i := range layout.Tiers {
		price := layout.Tiers[i].Price.Amount
		fits[i] = (b.Tier < 0 || b.Tier == i) && price >= b.MinPrice && (b.MaxPrice == 0 || price <= b.MaxPrice)
	}
	for s := range layout.Sections {
		section := &layout.Sections[s]
		if b.Section >= 0 && b.Section != s {
			continue
		}
		for o := section.First; o < section.First+section.Count; o++ {
			seat := &layout.Seats[o]
			switch {
			case !fits[seat.Tier], seat.ForCompanion():
			case seat.ForAccess():
				accessibly = lengthen(accessibly, o, false)
			default:
				where = lengthen(where, o, section.GA)
			}
		}
	}
	return where, accessibly
}

func lengthen(list []Stretch, o int, area bool) []Stretch {
	if n := len(list); n > 0 && list[n-1].Last == o-1 && list[n-1].Area == area {
		list[n-1].Last = o
		return list
	}
	return append(list, Stretch{First: o, Last: o, Area: area})
}

// SeatShape is what the live inventory has to know of a ticket's place.
type SeatShape struct {
	Tier       int
	BeginsRow  bool // its left neighbour, if any, is not next to it
	BeginsRun  bool // its left neighbour has another tier or is of another kind
	Accessible bool
	Companion  bool
	Area       bool // general admission: no neighbours
}

// shapes describes all tickets of a layout by ordinal.
func shapes(layout *catalog.Layout) []SeatShape {
	all := make([]SeatShape, len(layout.Seats))
	for i := range all {
		s := &layout.Seats[i]
		all[i] = SeatShape{
			Tier:       s.Tier,
			Accessible: s.ForAccess(),
			Companion:  s.ForCompanion(),
			Area:       layout.Sections[s.Section].GA,
		}
		if i > 0 {
			was := all[i-1]
			all[i].BeginsRun = was.Tier != all[i].Tier || was.Accessible != all[i].Accessible || was.Companion != all[i].Companion
		}
	}
	for _, r := range layout.Runs {
		all[r.First].BeginsRow = true
	}
	return all
}

// mostAlternatives is how many choices are offered instead of taken tickets.
const mostAlternatives = 3

// nearby is how far from the wanted tickets alternatives are looked for, in
// ordinals: a few dozen rows.
const nearby = 2000

// alternatives finds tickets that are available instead of some that are taken: as
// many, next to each other in one row, of the same tier, nearest first. In an
// area any will do. They are a suggestion: somebody may be quicker.
// O(nearby · tickets)
func alternatives(layout *catalog.Layout, shape []SeatShape, status []byte, want []int) [][]int {
	if len(want) == 0 || len(status) != len(layout.Seats) || len(shape) != len(status) {
		return nil
	}
	n := len(want)
	sorted := slices.Sorted(slices.Values(want))
	tier, first := shape[sorted[n/2]].Tier, sorted[0]
	fits := func(start int) bool {
		for o := start; o < start+n; o++ {
			s := &shape[o]
			if TicketState(status[o]) != Available || s.Tier != tier ||
				s.Accessible != shape[sorted[n/2]].Accessible || s.Companion != shape[sorted[n/2]].Companion ||
				(o > start && (s.BeginsRow || s.BeginsRun) && !s.Area) {
				return false
			}
		}
		return true
	}
	var starts []int
	for start := max(first-nearby, 0); start <= min(first+nearby, len(status)-n); start++ {
		if fits(start) {
			starts = append(starts, start)
		}
	}
	distance := func(start int) int { return max(start-first, first-start) }
	slices.SortStableFunc(starts, func(a, b int) int { return cmp.Compare(distance(a), distance(b)) })
	var lists [][]int
	for _, start := range starts {
		if len(lists) == mostAlternatives {
			break
		}
		if slices.ContainsFunc(lists, func(list []int) bool { return start < list[0]+n && list[0] < start+n }) {
			continue // no two suggestions share a ticket
		}
		list := make([]int, n)
		for i := range list {
			list[i] = start + i
		}
		lists = append(lists, list)
	}
	return lists
}

// noChannel is the answer to who names a channel that is not there, or that they
// are not in: the two are not told apart.
func noChannel(name string) error {
	return fault.New(fault.NotFound, "channel: the event has no channel %q that is open to you", clip(name))
}

func clip(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
