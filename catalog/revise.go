package catalog

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Difference is one thing that a document says otherwise than the event is. From
// and To are written as JSON; "" is nothing at all.
type Difference struct {
	Path string `json:"path"`
	From string `json:"from"`
	To   string `json:"to"`
}

func (d Difference) String() string {
	return d.Path + ": " + cmp.Or(d.From, "nothing") + " -> " + cmp.Or(d.To, "nothing")
}

// NewDifference writes both as JSON.
func NewDifference(path string, from, to any) Difference {
	written := func(x any) string {
		if s, ok := x.(string); ok && s == "" {
			return ""
		}
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(x); err != nil {
			return fmt.Sprint(x)
		}
		return strings.TrimSpace(b.String())
	}
	return Difference{path, written(from), written(to)}
}

// Revising is how an event is made what its document says.
type Revising struct {
	DryRun bool // only compare
	// HoldsLast is how long a hold made while the event was on sale may live: prices
	// change only after that.
	HoldsLast time.Duration
	Actor     string // for the audit log
	Quiet     bool   // tell nobody that the event takes place at another time
	RoomsToo  bool   // the caller has the rooms do what the document says of them
	// Edit makes the document of what is. Nil: it is given.
	Edit func(now Existing) (NewEvent, error)
}

// Revision is what makes an event what its document says.
type Revision struct {
	Event   Existing // as it will be
	Changes []Difference
	Notes   []string // what the document says and nobody does
	Told    int      // e-mails to those who have tickets: it takes place at another time

	Artists bool  // other artists, or in another order
	Tiers   []int // tiers with another name or colour
	Priced  []int // tiers with another price

	Entrances map[string]string // of sections that have another one, by name
	Marks     []SeatMark        // seats of which something else is special
	Access    []SeatMark        // those of them that are kept for other people than before
	Plan      *Plan             // the one that says so; nil: the event keeps its
}

// Revise compares an event with its document, which ParseEvent has read and whose
// plan has been looked up. What the document leaves out stays as it is. What
// cannot be changed any more is fault.Invalid, with all places.
func Revise(now Existing, doc NewEvent) (Revision, error) {
	v := revision{doc: doc, Revision: Revision{Event: now}}
	next := &v.Event
	next.Offer.Prices, next.Offer.Areas = slices.Clone(now.Offer.Prices), slices.Clone(now.Offer.Areas)
	next.Tiers = slices.Clone(now.Tiers)

	change(&v, "name", &next.Name, doc.Name, true)
	change(&v, "type", &next.Type, doc.Type, doc.said["type"])
	change(&v, "description", &next.Description, doc.Description, doc.said["description"])
	change(&v, "status", &next.Status, doc.Status, doc.said["status"])
	v.times(next)
	change(&v, "venue.address", &next.Venue.Address, doc.Venue.Address, doc.said["venue.address"])
	change(&v, "venue.country", &next.Venue.Country, doc.Venue.Country, doc.said["venue.country"])
	if doc.said["artists"] && !slices.Equal(next.Artists, doc.Artists) {
		v.Artists = true
		v.differ("artists", next.Artists, doc.Artists)
		next.Artists = doc.Artists
	}
	if doc.said["images"] && !slices.Equal(next.Images, doc.Images) {
		v.differ("images", imagesOf(next.Images), imagesOf(doc.Images))
		next.Images = doc.Images
	}
	change(&v, "max_per_buyer", &next.MaxPerBuyer, doc.MaxPerBuyer, doc.said["max_per_buyer"])
	change(&v, "single_seats", &next.SingleSeats, doc.SingleSeats, doc.said["single_seats"])
	change(&v, "rotating_codes", &next.RotatingCodes, doc.RotatingCodes, doc.said["rotating_codes"])
	v.terms(&next.Terms)
	v.single()
	v.fixed(now)
	v.prices(next)
	v.areas(next)
	v.entrances(now.NewEvent, next)
	v.colours(next.Tiers)
	if doc.said["room"] {
		v.Notes = append(v.Notes, "room: stays as it is: its Redis is not known here (redis_url); the console and PATCH /v1/admin/rooms/{event} change it")
	}
	return v.Revision, v.err("the event")
}

type revision struct {
	Revision
	review

	doc      NewEvent
	coloured []colouredTier
}

type colouredTier struct {
	tier int
	path string
}

// colours refuses two tiers of one colour, when all have theirs.
func (v *revision) colours(tiers []Tier) {
	for _, c := range v.coloured {
		for i, t := range tiers {
			if i != c.tier && c.tier >= 0 && c.tier < len(tiers) && t.Color == tiers[c.tier].Color {
				v.problemAtf("$."+c.path, "is the colour of %q already", clip(t.Name))
			}
		}
	}
}

func (v *revision) differ(path string, from, to any) {
	v.Changes = append(v.Changes, NewDifference(path, from, to))
}

// change takes a value that the document says.
func change[T comparable](v *revision, path string, at *T, to T, said bool) {
	if said && *at != to {
		v.differ(path, *at, to)
		*at = to
	}
}

func (v *revision) times(next *Existing) {
	if to := v.doc.StartsAt.Truncate(time.Microsecond); !next.StartsAt.Equal(to) {
		v.differ("starts_at", v.local(&next.StartsAt), v.local(&to))
		next.StartsAt = to
	}
	if !v.doc.said["doors_at"] {
		if next.DoorsAt != nil && next.DoorsAt.After(next.StartsAt) {
			v.problemAtf("$.doors_at", "the doors would open at %s, after the start; say when they do", v.local(next.DoorsAt))
		}
		return
	}
	var to *time.Time
	if v.doc.DoorsAt != nil {
		t := v.doc.DoorsAt.Truncate(time.Microsecond) // as Postgres has it
		to = &t
	}
	if from := next.DoorsAt; (from == nil) != (to == nil) || from != nil && !from.Equal(*to) {
		v.differ("doors_at", v.local(from), v.local(to))
		next.DoorsAt = to
	}
}

// local writes a time as it is at the venue.
func (v *revision) local(t *time.Time) string {
	if t == nil {
		return ""
	}
	if zone, err := time.LoadLocation(v.Event.Timezone); err == nil {
		return t.In(zone).Format(time.RFC3339)
	}
	return t.UTC().Format(time.RFC3339)
}

func (v *revision) terms(next *Terms) {
	t := v.doc.Terms
	change(v, "fees.per_ticket", &next.FeePerTicket, t.FeePerTicket, v.doc.said["fees"])
	change(v, "fees.per_order", &next.FeePerOrder, t.FeePerOrder, v.doc.said["fees"])
	if v.doc.said["tax"] && next.Tax != t.Tax {
		v.differ("tax", taxOut(next.Tax), taxOut(t.Tax))
		next.Tax = t.Tax
	}
	if v.doc.said["cancellation"] && !(Terms{Cancel: next.Cancel}).Same(Terms{Cancel: t.Cancel}) {
		written := func(p *CancelPolicy) any {
			if p == nil {
				return ""
			}
			return p
		}
		v.differ("cancellation", written(next.Cancel), written(t.Cancel))
		next.Cancel = t.Cancel
	}
}

// single refuses the dates of a series: each of its events has a document of its own.
func (v *revision) single() {
	if v.doc.Dates == nil {
		return
	}
	path := "$.repeat"
	if v.doc.said["dates"] {
		path = "$.dates"
	}
	v.problemAtf(path, "makes a series, and this is one event: its document says starts_at alone")
}

// fixed refuses what an event keeps for good.
func (v *revision) fixed(now Existing) {
	doc := v.doc
	if doc.Venue.Name != now.Venue.Name || doc.Venue.City != now.Venue.City {
		v.problemAtf("$.venue", "is %s; an event stays in its venue", venueName(now.Venue))
	}
	if doc.said["timezone"] && doc.Timezone != now.Timezone {
		v.Notes = append(v.Notes, fmt.Sprintf("timezone: stays %s, which is the venue's; times are read in %s", now.Timezone, doc.Timezone))
	}
	if doc.Currency != now.Currency {
		v.problemAtf("$.currency", "is %s, which an event keeps", now.Currency)
	}
	switch {
	case doc.Plan == nil && now.Plan == nil, doc.Plan.Same(now.Plan):
	case doc.Plan == nil:
		v.problemAtf("$.plan", "is missing: the event has the seats of the plan %q, and keeps them", clip(now.Plan.Name))
	case now.Plan == nil:
		v.problemAtf("$.plan", "the event has no seats; they cannot be added any more")
	case doc.Plan.sameSeats(now.Plan):
		v.marks(now.Plan, doc.Plan)
	default:
		v.problemAtf("$.plan", "is another plan than the event has, %s; seats cannot be changed any more", planDifference(now.Plan, doc.Plan))
	}
}

func venueName(v Venue) string {
	if v.City == "" {
		return strconv.Quote(clip(v.Name))
	}
	return strconv.Quote(clip(v.Name)) + " in " + strconv.Quote(clip(v.City))
}

// planDifference names the first seat that is not in both.
func planDifference(now, doc *Plan) string {
	seats := func(p *Plan) map[label]string {
		all := make(map[label]string, p.Seats)
		for _, z := range p.Zones {
			for _, row := range z.Rows {
				for _, s := range row.Seats {
					all[label{z.Name, row.Name, s.Number}] = s.Category
				}
			}
		}
		return all
	}
	had, has := seats(now), seats(doc)
	first := func(of *Plan, in map[label]string, differ func(category, there string, ok bool) bool) (label, bool) {
		for _, z := range of.Zones {
			for _, row := range z.Rows {
				for _, s := range row.Seats {
					l := label{z.Name, row.Name, s.Number}
					if there, ok := in[l]; differ(s.Category, there, ok) {
						return l, true
					}
				}
			}
		}
		return label{}, false
	}
	missing := func(_, _ string, ok bool) bool { return !ok }
	if l, ok := first(now, has, missing); ok {
		return fmt.Sprintf("with %d seats instead of %d; section %q row %q seat %q is missing", doc.Seats, now.Seats, l.section, l.row, l.seat)
	}
	if l, ok := first(doc, had, missing); ok {
		return fmt.Sprintf("with %d seats instead of %d; section %q row %q seat %q is new", doc.Seats, now.Seats, l.section, l.row, l.seat)
	}
	if l, ok := first(doc, had, func(category, there string, _ bool) bool { return category != there }); ok {
		return fmt.Sprintf("where section %q row %q seat %q has the category %q instead of %q", l.section, l.row, l.seat, clip(has[l]), clip(had[l]))
	}
	return "which is drawn differently"
}

func (v *revision) prices(next *Existing) {
	if !v.doc.said["prices"] {
		return
	}
	for _, p := range v.doc.Prices {
		path := "prices" + memberPath(p.Category)
		said := func(key string) bool { return v.doc.said["prices."+p.Category+"."+key] }
		i := slices.IndexFunc(next.Offer.Prices, func(o OfferedPrice) bool { return o.Category == p.Category })
		if i < 0 { // no seat has it: it would be refused otherwise
			v.differ(path, "", priceOut{p.Amount, p.Name, p.Type, p.Color})
			next.Offer.Prices = append(next.Offer.Prices, OfferedPrice{p, -1})
			continue
		}
		o := &next.Offer.Prices[i]
		if said("type") && o.Type != p.Type {
			v.problemAtf("$."+path+".type", "is %s, which its tickets keep", o.Type)
		}
		v.tier(next, path+".amount", path+".name", path+".color", o.Tier, &o.Amount, &o.Name, &o.Color, p.Amount, p.Name, p.Color, said)
	}
	next.NewEvent.Prices = nil
	for _, o := range next.Offer.Prices {
		next.NewEvent.Prices = append(next.NewEvent.Prices, o.Price)
	}
}

func (v *revision) areas(next *Existing) {
	if !v.doc.said["areas"] && len(next.Offer.Areas) == 0 {
		return
	}
	found := make(map[string]bool)
	for k, a := range v.doc.Areas {
		path := "areas[" + strconv.Itoa(k) + "]"
		said := func(key string) bool { return v.doc.said["areas."+a.Name+"."+key] }
		i := slices.IndexFunc(next.Offer.Areas, func(o OfferedArea) bool { return o.Name == a.Name })
		if i < 0 {
			v.problemAtf("$."+path, "the event has no area %q; areas are neither added nor renamed any more", clip(a.Name))
			continue
		}
		found[a.Name] = true
		o := &next.Offer.Areas[i]
		switch {
		case a.Capacity < o.Capacity:
			v.problemAtf("$."+path+".capacity", "is %d; places cannot be taken away any more", o.Capacity)
		case a.Capacity > o.Capacity:
			v.problemAtf("$."+path+".capacity", "is %d; places cannot be added to an event that exists: create another one for them", o.Capacity)
		}
		if said("type") && o.Type != a.Type {
			v.problemAtf("$."+path+".type", "is %s, which its tickets keep", o.Type)
		}
		if said("position") && (o.Position == nil || *o.Position != *a.Position) {
			v.problemAtf("$."+path+".position", "is another one, which stays: the plan is drawn")
		}
		if said("entrance") {
			o.Entrance = a.Entrance // what it changes is told of the section
		}
		name := o.Name
		v.tier(next, path+".price", path+".name", path+".color", o.Tier, &o.Amount, &name, &o.Color, a.Amount, name, a.Color, said)
	}
	for _, o := range next.Offer.Areas {
		if !found[o.Name] {
			v.problemAtf("$.areas", "the area %q with its %d places is missing; places cannot be taken away any more", clip(o.Name), o.Capacity)
		}
	}
	next.NewEvent.Areas = nil
	for _, o := range next.Offer.Areas {
		next.NewEvent.Areas = append(next.NewEvent.Areas, o.StandingArea)
	}
}

// tier changes what a tier is called, its colour and its price.
func (v *revision) tier(next *Existing, amountPath, namePath, colorPath string, tier int, amount *int64, name, color *string,
	toAmount int64, toName, toColor string, said func(string) bool,
) {
	before := len(v.Changes)
	if tier >= 0 && tier < len(next.Tiers) {
		// The tier says what is: it was given a colour where the document had none.
		if said("color") && strings.EqualFold(next.Tiers[tier].Color, toColor) {
			*color = toColor
		}
	}
	change(v, namePath, name, toName, said("name"))
	if said("color") && !strings.EqualFold(*color, toColor) {
		v.differ(colorPath, *color, strings.ToLower(toColor))
		*color = toColor
		v.coloured = append(v.coloured, colouredTier{tier, colorPath})
	}
	styled := len(v.Changes) > before
	change(v, amountPath, amount, toAmount, true)
	if tier < 0 || tier >= len(next.Tiers) {
		return
	}
	t := &next.Tiers[tier]
	if styled {
		v.Tiers = append(v.Tiers, tier)
		t.Name = *name
		if said("color") {
			t.Color = strings.ToLower(toColor)
		}
	}
	if t.Price.Amount != toAmount {
		v.Priced = append(v.Priced, tier)
		t.Price.Amount = toAmount
	}
}
