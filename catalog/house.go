package catalog

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Compose lays out the tickets of a new event: which there are, in which order,
// what each costs, which are neighbours, and how the house is drawn. ids makes
// the ids of the event, its sections, tiers and tickets. The returned view is
// the JSON that browsers fetch.
//
// The best sections come first (by their highest price, then as in the plan);
// rows keep the order of the plan; within a row the seats go from one end to the
// other.
func Compose(e NewEvent, ids func() string) (*Layout, []byte, error) {
	e = e.WithDefaults()
	var r review
	e.check(&r)
	if e.ID != "" {
		r.problemAtf("$.id", "a new event is given its id; without this line it is created")
	}
	if e.Plan == nil && e.PlanRef != "" {
		r.problemAtf("$.plan", "the plan %q was not looked up", clip(e.PlanRef))
	}
	if err := r.err("the event"); err != nil {
		return nil, nil, err
	}
	h := house{event: &e, placed: make(map[*Area]bool), layout: &Layout{
		Event: ids(), EventName: e.Name, Status: e.Status, Currency: e.Currency, MaxPerBuyer: e.MaxPerBuyer, SingleSeats: e.SingleSeats,
		Terms: e.Terms,
	}}
	h.tiers(ids)
	h.sections(ids)
	h.doors()
	h.layout.Offer = h.offer()
	for i := range h.layout.Seats {
		h.layout.Seats[i].ID = ids()
		h.layout.Tiers[h.layout.Seats[i].Tier].Total++
	}
	h.layout.Index()
	view, err := h.view()
	if err != nil {
		return nil, nil, err
	}
	return h.layout, view, nil
}

// house is the work of one Compose.
type house struct {
	event  *NewEvent
	layout *Layout

	tierOf map[string]int // category → index into layout.Tiers
	areaOf []int          // index of event.Areas → index into layout.Tiers
	drawn  []viewSection
	placed map[*Area]bool // shapes and texts of the plan that a standing area replaces
}

// tiers makes one tier per category that seats have and one per area, the most
// expensive first.
func (h *house) tiers(ids func() string) {
	type draft struct {
		Tier
		category string
		area     int // -1 for a category
	}
	var drafts []draft
	colors := make(map[string]string)
	if plan := h.event.Plan; plan != nil {
		for _, c := range plan.Categories {
			colors[c.Name] = c.Color
		}
		uses := plan.used()
		for _, p := range h.event.Prices {
			if uses[p.Category].seats == 0 {
				continue
			}
			drafts = append(drafts, draft{Tier{
				Name: p.Name, Type: p.Type, Color: cmp.Or(p.Color, colors[p.Category]),
				Price: Money{p.Amount, h.event.Currency},
			}, p.Category, -1})
		}
	}
	for i, a := range h.event.Areas {
		drafts = append(drafts, draft{Tier{
			Name: a.Name, Type: a.Type, Color: a.Color, Price: Money{a.Amount, h.event.Currency},
		}, "", i})
	}
	slices.SortStableFunc(drafts, func(a, b draft) int { return cmp.Compare(b.Price.Amount, a.Price.Amount) })

	h.tierOf = make(map[string]int)
	h.areaOf = make([]int, len(h.event.Areas))
	for i, d := range drafts {
		d.ID = ids()
		h.layout.Tiers = append(h.layout.Tiers, d.Tier)
		if d.area < 0 {
			h.tierOf[d.category] = i
		} else {
			h.areaOf[d.area] = i
		}
	}
	distinguish(h.layout.Tiers)
}

// palette holds colours that stay apart on a dark and on a light ground, also
// for most colour-blind eyes.
var palette = [...]string{
	"#c2185b", "#1976d2", "#f9a825", "#00897b", "#7b1fa2", "#e65100", "#5d9c1d", "#0097a7",
	"#8d6e63", "#3949ab", "#ad8b00", "#d84378", "#546e7a", "#2e7d32", "#9575cd", "#b71c1c",
}

// distinguish gives every tier a colour of its own.
func distinguish(tiers []Tier) {
	taken := make(map[string]bool)
	for i := range tiers {
		c := strings.ToLower(tiers[i].Color)
		if taken[c] {
			c = ""
		}
		tiers[i].Color = c
		taken[c] = true
	}
	next := 0
	for i := range tiers {
		if tiers[i].Color != "" {
			continue
		}
		for next < len(palette) && taken[palette[next]] {
			next++
		}
		if next < len(palette) {
			tiers[i].Color = palette[next]
			next++
		} else {
			tiers[i].Color = hue(i) // more tiers than the palette has
		}
		taken[tiers[i].Color] = true
	}
}

// hue walks the colour circle by the golden angle.
func hue(i int) string {
	const hex = "0123456789abcdef"
	out := []byte("#000000")
	for c := range 3 {
		v := int(140 + 90*math.Cos(2.39996*float64(i)+2*math.Pi/3*float64(c)))
		out[1+2*c], out[2+2*c] = hex[v>>4], hex[v&15]
	}
	return string(out)
}

// sections puts the seats into their order.
func (h *house) sections(ids func() string) {
	type part struct {
		best int64
		zone *Zone
		area int
	}
	var parts []part
	if h.event.Plan != nil {
		for i := range h.event.Plan.Zones {
			z := &h.event.Plan.Zones[i]
			best := int64(-1)
			for _, row := range z.Rows {
				for _, s := range row.Seats {
					best = max(best, h.layout.Tiers[h.tierOf[s.Category]].Price.Amount)
				}
			}
			if best >= 0 {
				parts = append(parts, part{best, z, -1})
			}
		}
	}
	for i, a := range h.event.Areas {
		parts = append(parts, part{a.Amount, nil, i})
	}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(b.best, a.best) })
	for _, p := range parts {
		if p.zone != nil {
			h.seated(p.zone, ids())
		} else {
			h.standing(p.area, ids())
		}
	}
}

func (h *house) seated(z *Zone, id string) {
	l := h.layout
	section := Section{ID: id, Name: z.Name, First: len(l.Seats)}
	drawn := viewSection{ID: id, Name: z.Name, Kind: "seated", First: section.First}
	index := len(l.Sections)
	var sumX, sumY float64
	for _, row := range z.Rows {
		seats := alongRow(row.Seats)
		widest := 1.75 * medianGap(seats)
		line := viewRow{Name: row.Name, First: len(l.Seats)}
		for i, s := range seats {
			tier := h.tierOf[s.Category]
			apart := i == 0 || (widest > 0 && gap(seats[i-1], s) > widest)
			if apart {
				l.Runs = append(l.Runs, Run{First: len(l.Seats)})
			}
			l.Runs[len(l.Runs)-1].Count++
			l.Seats = append(l.Seats, Seat{
				Section: index, Tier: tier, Row: row.Name, Name: s.Number, Type: l.Tiers[tier].Type,
				Attributes: s.Attributes,
			})
			line.add(s, tier)
			line.Attributes.add(i, s.Attributes)
			sumX, sumY = sumX+s.X, sumY+s.Y
		}
		drawn.Rows = append(drawn.Rows, line)
	}
	section.Count = len(l.Seats) - section.First
	l.Sections = append(l.Sections, section)
	drawn.Count = section.Count
	drawn.Label = point{sumX / float64(section.Count), sumY / float64(section.Count)}
	h.drawn = append(h.drawn, drawn)
}

// doors gives the sections their entrances.
func (h *house) doors() {
	entrances := h.event.entrances()
	for i := range h.layout.Sections {
		name := h.layout.Sections[i].Name
		h.layout.Sections[i].Entrance, h.drawn[i].Entrance = entrances[name], entrances[name]
	}
}

func (h *house) standing(area int, id string) {
	l, a, tier := h.layout, h.event.Areas[area], h.areaOf[area]
	section := Section{ID: id, Name: a.Name, GA: true, First: len(l.Seats), Count: a.Capacity}
	for range a.Capacity {
		l.Seats = append(l.Seats, Seat{Section: len(l.Sections), Tier: tier, Type: l.Tiers[tier].Type})
	}
	l.Sections = append(l.Sections, section)
	l.Runs = append(l.Runs, Run{First: section.First, Count: section.Count, GA: true})
	drawn := viewSection{ID: id, Name: a.Name, Kind: "ga", Tier: &tier, First: section.First, Count: section.Count}
	if a.Position != nil {
		drawn.Area = &rectangle{a.Position.X, a.Position.Y, a.Position.Width, a.Position.Height}
	} else if found, ok := h.areaNamed(a.Name); ok {
		drawn.Area = &found
	}
	h.drawn = append(h.drawn, drawn)
}

// areaNamed finds the shape of the plan that carries this name.
func (h *house) areaNamed(name string) (rectangle, bool) {
	if h.event.Plan == nil {
		return rectangle{}, false
	}
	for _, z := range h.event.Plan.Zones {
		for i := range z.Areas {
			a := &z.Areas[i]
			if a.Label == "" || !strings.EqualFold(a.Label, name) || h.placed[a] {
				continue
			}
			var b bounds
			b.area(*a)
			h.placed[a] = true
			if i+1 < len(z.Areas) && z.Areas[i+1].Text == a.Label {
				h.placed[&z.Areas[i+1]] = true
			}
			return b.rectangle(), b.some
		}
	}
	return rectangle{}, false
}

func gap(a, b PlanSeat) float64 { return math.Hypot(b.X-a.X, b.Y-a.Y) }

// medianGap is the usual distance between neighbours, 0 with fewer than two.
func medianGap(seats []PlanSeat) float64 {
	if len(seats) < 2 {
		return 0
	}
	gaps := make([]float64, len(seats)-1)
	for i := range gaps {
		gaps[i] = gap(seats[i], seats[i+1])
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}

// alongRow orders seats so that neighbours stand next to each other. Files
// nearly always list them so; where sorting by the main direction of the row
// makes the walk along it shorter, the file did not. (A closed ring has no main
// direction and keeps the file's order.)
func alongRow(seats []PlanSeat) []PlanSeat {
	if len(seats) < 3 {
		return seats
	}
	var mx, my float64
	for _, s := range seats {
		mx, my = mx+s.X, my+s.Y
	}
	mx, my = mx/float64(len(seats)), my/float64(len(seats))
	var xx, xy, yy float64
	for _, s := range seats {
		dx, dy := s.X-mx, s.Y-my
		xx, xy, yy = xx+dx*dx, xy+dx*dy, yy+dy*dy
	}
	// The angle of the first principal axis of a 2×2 covariance matrix.
	sin, cos := math.Sincos(math.Atan2(2*xy, xx-yy) / 2)
	along := func(s PlanSeat) float64 { return (s.X-mx)*cos + (s.Y-my)*sin }
	direction := 0.0
	for i, s := range seats {
		direction += along(s) * (float64(i) - float64(len(seats)-1)/2)
	}
	sign := 1.0
	if direction < 0 {
		sign = -1
	}
	sorted := slices.Clone(seats)
	slices.SortStableFunc(sorted, func(a, b PlanSeat) int { return cmp.Compare(sign*along(a), sign*along(b)) })
	const noise = 1e-6
	if walk(sorted) < walk(seats)-noise {
		return sorted
	}
	return seats
}

func walk(seats []PlanSeat) float64 {
	sum := 0.0
	for i := 1; i < len(seats); i++ {
		sum += gap(seats[i-1], seats[i])
	}
	return sum
}
