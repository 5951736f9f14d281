package catalog

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"
)

// mostEntrance bounds the name of an entrance, in runes.
const mostEntrance = 100

// SectionNote is what the document of an event says of a section by its name.
type SectionNote struct {
	Name     string `json:"name"`
	Entrance string `json:"entrance"` // "" is none, also where the plan names one
}

// sectionNotes reads {"Stalls": {"entrance": "Door B"}}.
func (r *review) sectionNotes(root *node, e *NewEvent) {
	m := root.given("sections")
	if m == nil {
		return
	}
	if m.kind != isObject {
		r.problemf(m, "an object with one member per section is expected, not %s", m.kind)
		return
	}
	for _, s := range m.items {
		if !r.object(s, r.strange, "entrance") {
			continue
		}
		if s.get("entrance") != nil {
			e.Sections = append(e.Sections, SectionNote{s.key, r.entrance(s)})
		}
	}
}

// entrance reads the member of this name.
func (r *review) entrance(n *node) string {
	m := n.given("entrance")
	if m == nil {
		return ""
	}
	return r.textOf(m, mostEntrance)
}

// entranceOnce refuses two entrances of one section: zones of one name are one to
// who looks for it.
func (p *planReader) entranceOnce(n *node, z *Zone) {
	if z.Entrance == "" {
		return
	}
	for _, other := range p.plan.Zones {
		if other.Name == z.Name && other.Entrance != "" && other.Entrance != z.Entrance {
			p.problemf(n.get("entrance"), "another zone called %q has the entrance %q", clip(z.Name), clip(other.Entrance))
			return
		}
	}
}

// hasSection reports whether the plan or an area makes a section of this name.
func (e *NewEvent) hasSection(name string) bool {
	if slices.ContainsFunc(e.Areas, func(a StandingArea) bool { return a.Name == name }) {
		return true
	}
	return e.Plan != nil && slices.ContainsFunc(e.Plan.Zones, func(z Zone) bool { return z.Name == name && len(z.Rows) > 0 })
}

func (e *NewEvent) checkSections(r *review) {
	for i, a := range e.Areas {
		r.entranceAt("$.areas["+strconv.Itoa(i)+"].entrance", a.Entrance)
	}
	for _, s := range e.Sections {
		path := "$.sections" + memberPath(s.Name)
		r.entranceAt(path+".entrance", s.Entrance)
		if !e.hasSection(s.Name) && (e.Plan != nil || e.PlanRef == "") {
			r.problemAtf(path, "the event has no such section")
		}
	}
}

func (r *review) entranceAt(path, name string) {
	if utf8.RuneCountInString(name) > mostEntrance || !storable(name) {
		r.problemAtf(path, "must be text of at most %d characters", mostEntrance)
	}
}

// entrances are those of the sections by name: what the document says of a section
// wins over what the plan and the area say.
func (e *NewEvent) entrances() map[string]string {
	all := make(map[string]string)
	if e.Plan != nil {
		for _, z := range e.Plan.Zones {
			if z.Entrance != "" && len(z.Rows) > 0 {
				all[z.Name] = z.Entrance
			}
		}
	}
	for _, a := range e.Areas {
		if a.Entrance != "" {
			all[a.Name] = a.Entrance
		}
	}
	for _, s := range e.Sections {
		all[s.Name] = s.Entrance
	}
	return all
}

// sectionNames lists the sections in the order of the document.
func (e *NewEvent) sectionNames() []string {
	var names []string
	seen := make(map[string]bool)
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	if e.Plan != nil {
		for _, z := range e.Plan.Zones {
			if len(z.Rows) > 0 {
				add(z.Name)
			}
		}
	}
	for _, a := range e.Areas {
		add(a.Name)
	}
	return names
}

// SeatMark is what is special about a seat that is named as on its ticket.
type SeatMark struct {
	Section, Row, Seat string
	Attributes         Attributes
}

// Marks lists the seats of which something is special.
func (p *Plan) Marks() []SeatMark {
	var all []SeatMark
	if p == nil {
		return nil
	}
	for _, z := range p.Zones {
		for _, row := range z.Rows {
			for _, s := range row.Seats {
				if s.Attributes != 0 {
					all = append(all, SeatMark{z.Name, row.Name, s.Number, s.Attributes})
				}
			}
		}
	}
	return all
}

// remarked lists the seats of which something else is special in another plan of the
// same seats.
func (p *Plan) remarked(as *Plan) (from, to []SeatMark) {
	had := make(map[label]Attributes)
	for _, m := range p.Marks() {
		had[label{m.Section, m.Row, m.Seat}] = m.Attributes
	}
	for _, z := range as.Zones {
		for _, row := range z.Rows {
			for _, s := range row.Seats {
				if was := had[label{z.Name, row.Name, s.Number}]; was != s.Attributes {
					from = append(from, SeatMark{z.Name, row.Name, s.Number, was})
					to = append(to, SeatMark{z.Name, row.Name, s.Number, s.Attributes})
				}
			}
		}
	}
	return from, to
}

// sameSeats is Same but for what is special about seats, and entrances.
func (p *Plan) sameSeats(as *Plan) bool {
	if p == nil || as == nil {
		return p == as
	}
	plain := func(p *Plan) Plan {
		b := p.bare()
		for i := range b.Zones {
			b.Zones[i].Entrance = ""
			for _, row := range b.Zones[i].Rows {
				for k := range row.Seats {
					row.Seats[k].Attributes = 0
				}
			}
		}
		return b
	}
	return reflect.DeepEqual(plain(p), plain(as))
}

// mostListed is how many seats a difference names one by one.
const mostListed = 20

// marks takes another plan of the same seats, of which other things are special or
// which names other entrances.
func (v *revision) marks(now, doc *Plan) {
	const access = Accessible | Companion
	from, to := now.remarked(doc)
	for i := range to {
		if from[i].Attributes&access != to[i].Attributes&access {
			v.Access = append(v.Access, to[i])
		}
	}
	for i := range to {
		if i == mostListed && len(to) > mostListed+1 {
			v.differ("plan.attributes", "", "other ones of "+strconv.Itoa(len(to)-i)+" more seats")
			break
		}
		m := to[i]
		v.differ("plan"+memberPath(m.Section)+memberPath(m.Row)+memberPath(m.Seat)+".attributes", from[i].Attributes, m.Attributes)
	}
	v.Marks, v.Plan = to, doc
}

// entrances takes those that the document names.
func (v *revision) entrances(now NewEvent, next *Existing) {
	if v.doc.said["sections"] {
		for _, s := range v.doc.Sections {
			if path := "$.sections" + memberPath(s.Name); !next.hasSection(s.Name) {
				v.problemAtf(path, "the event has no such section")
			}
		}
		next.Sections, next.Offer.Sections = v.doc.Sections, v.doc.Sections
	}
	if v.Plan != nil {
		next.Plan, next.PlanRef = v.Plan, ""
	}
	was, is := now.entrances(), next.NewEvent.entrances()
	for _, name := range next.sectionNames() {
		if was[name] == is[name] {
			continue
		}
		v.differ("sections"+memberPath(name)+".entrance", was[name], is[name])
		if v.Entrances == nil {
			v.Entrances = make(map[string]string)
		}
		v.Entrances[name] = is[name]
	}
}

// markedView is a drawn plan of which only what is said of places matters.
type markedView struct {
	Event    json.RawMessage `json:"event"`
	Version  string          `json:"version"`
	Revision int             `json:"revision,omitempty"`
	Width    json.RawMessage `json:"width"`
	Height   json.RawMessage `json:"height"`
	Unit     json.RawMessage `json:"unit"`
	Tiers    json.RawMessage `json:"tiers"`
	Sections []markedSection `json:"sections"`
	Areas    json.RawMessage `json:"areas"`
}

type markedSection struct {
	ID       json.RawMessage `json:"id"`
	Name     string          `json:"name"`
	Kind     json.RawMessage `json:"kind"`
	Entrance string          `json:"entrance,omitempty"`
	Tier     json.RawMessage `json:"tier,omitempty"`
	First    json.RawMessage `json:"first"`
	Count    json.RawMessage `json:"count"`
	Label    json.RawMessage `json:"label"`
	Area     json.RawMessage `json:"area,omitempty"`
	Rows     []markedRow     `json:"rows,omitempty"`
}

type markedRow struct {
	Name       string          `json:"name"`
	First      json.RawMessage `json:"first"`
	X          json.RawMessage `json:"x"`
	Y          json.RawMessage `json:"y"`
	Seats      []string        `json:"seats"`
	Tiers      json.RawMessage `json:"tiers"`
	Attributes markRuns        `json:"attributes,omitempty"`
}

// markRuns are stretches of a row's seats of which the same is special: the first
// of them counted from 0, how many, their attributes, and so on.
type markRuns []int

func (m *markRuns) add(seat int, a Attributes) {
	if a == 0 {
		return
	}
	if n := len(*m); n > 0 && (*m)[n-3]+(*m)[n-2] == seat && (*m)[n-1] == int(a) {
		(*m)[n-2]++
		return
	}
	*m = append(*m, seat, 1, int(a))
}

// at is what is special about the seat.
func (m markRuns) at(seat int) Attributes {
	for i := 0; i+2 < len(m); i += 3 {
		if seat >= m[i] && seat < m[i]+m[i+1] {
			return Attributes(m[i+2]) & allAttributes
		}
	}
	return 0
}

// WithPlaces is a drawn plan with the entrances and the attributes that a revision
// has changed, and its version, which changes with them. revision is the event's
// from now on.
func (r *Revision) WithPlaces(view []byte, revision int) (doc []byte, version string, err error) {
	var v markedView
	if err := json.Unmarshal(view, &v); err != nil {
		return nil, "", err
	}
	changed := make(map[label]Attributes, len(r.Marks))
	for _, m := range r.Marks {
		changed[label{m.Section, m.Row, m.Seat}] = m.Attributes
	}
	for i := range v.Sections {
		s := &v.Sections[i]
		if to, other := r.Entrances[s.Name]; other {
			s.Entrance = to
		}
		for k := range s.Rows {
			row := &s.Rows[k]
			var runs markRuns
			for n, seat := range row.Seats {
				a, other := changed[label{s.Name, row.Name, seat}]
				if !other {
					a = row.Attributes.at(n)
				}
				runs.add(n, a)
			}
			row.Attributes = runs
		}
	}
	v.Revision = revision
	return versioned(&v, &v.Version)
}
