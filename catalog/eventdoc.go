package catalog

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// ParseEvent reads an event document:
//
//	{
//	  "id": "…",                                               // only of an event that exists
//	  "name": "…", "type": "concert", "description": "…", "status": "on_sale",
//	  "starts_at": "2027-03-01T19:00:00Z", "doors_at": "…",    // without an offset: in timezone
//	  "timezone": "Europe/Berlin",
//	  "repeat": "FREQ=WEEKLY;BYDAY=FR,SA;COUNT=10",            // RFC 5545; makes a series, starts_at is its first date
//	  "except": ["2027-03-05"],                                // days, or times, of that which are no dates
//	  "dates": ["2027-03-01T19:30", {"starts_at": "…",         // instead of starts_at and repeat
//	      "doors_at": "…", "status": "…", "id": "…", "room": {"opens_at": "…", "lobby_opens_at": "…", "closes_at": "…"}}],
//	  "venue": {"name": "…", "address": "…", "city": "…", "country": "DE"},
//	  "images": [{"url": "https://…", "alt": "…", "width": 1600, "height": 900}],
//	  "artists": ["…"], "currency": "EUR", "max_per_buyer": 6,
//	  "single_seats": "avoid",                                 // or allow, refuse
//	  "rotating_codes": false,                                 // whether the door takes only codes that change
//	  "fees": {"per_ticket": 150, "per_order": 200},
//	  "tax": {"name": "VAT", "percent": "8.875", "included": true},
//	  "cancellation": {"until_hours": 48, "keep_fees": true},
//	  "plan": {…} | "name or id of an imported plan",          // pretix seating-plan JSON
//	  "generate": {"kind": "rows", "sections": [               // instead of a plan
//	      {"name": "Stalls", "rows": 20, "seats_per_row": 30, "category": "Stalls"}]},
//	  "prices": {"Category I": {"amount": 8500, "name": "…", "type": "vip", "color": "#c2185b"}},
//	  "areas": [{"name": "Floor", "capacity": 600, "price": 4900, "type": "standing", "color": "#…",
//	             "position": {"x": 0, "y": 0, "width": 600, "height": 400}, "entrance": "…"}],
//	  "sections": {"Stalls": {"entrance": "Door B"}},          // wins over the plan and the areas
//	  "room": {"state": "open", "opens_at": null, "lobby_opens_at": null, "closes_at": null, "message": "…",
//	           "rate_per_minute": 600, "burst": 100, "max_shoppers": 500, "lease_s": 600, "claim_window_s": 60}
//	}
//
// Amounts are in the currency's minor unit. Unknown keys, except inside a plan,
// are problems. All problems are reported at once, in the member "problems" of a
// fault.Invalid, each with its place.
func ParseEvent(doc []byte) (NewEvent, []Notice, error) {
	return Defaults{Room: DefaultRoom(), MaxPerBuyer: DefaultMaxPerBuyer}.ParseEvent(doc)
}

// ParseEvent is ParseEvent with the site's own defaults.
func (d Defaults) ParseEvent(doc []byte) (NewEvent, []Notice, error) {
	r := review{defaults: d}
	root, err := parseDocument(doc, "the event", &r)
	if err != nil {
		return NewEvent{}, nil, err
	}
	e := r.event(root).WithDefaults()
	if root.kind == isObject {
		e.check(&r)
	}
	if err := r.err("the event"); err != nil {
		return NewEvent{}, r.notices, err
	}
	return e, r.notices, nil
}

func (r *review) strange(m *node) { r.problemf(m, "the key %q is not known", clip(m.key)) }

func (r *review) event(root *node) NewEvent {
	var e NewEvent
	if !r.object(root, r.strange, "id", "name", "type", "description", "status", "starts_at", "doors_at", "timezone", "venue",
		"artists", "currency", "max_per_buyer", "single_seats", "rotating_codes", "fees", "tax", "cancellation", "plan", "generate", "prices",
		"areas", "sections", "images", "room", "dates", "repeat", "except") {
		return e
	}
	e.said = make(map[string]bool)
	for _, m := range root.items {
		e.said[m.key] = true
	}
	if e.ID = r.text(root, "id"); e.ID != "" && !IsID(e.ID) {
		r.problemf(root.get("id"), "is not the id of an event")
	}
	e.Name, e.Type, e.Status = r.text(root, "name"), r.text(root, "type"), r.text(root, "status")
	if m := root.given("description"); m != nil {
		e.Description = r.textOf(m, mostDescription)
	}
	e.Timezone = r.text(root, "timezone")
	if t := r.time(root, "starts_at", e.Timezone); t != nil {
		e.StartsAt = *t
	}
	e.DoorsAt = r.time(root, "doors_at", e.Timezone)
	r.dates(root, &e)
	if v := root.given("venue"); v != nil && r.object(v, r.strange, "name", "address", "city", "country") {
		e.say("venue.", v)
		e.Venue = Venue{Name: r.text(v, "name"), Address: r.text(v, "address"), City: r.text(v, "city"), Country: r.text(v, "country")}
	}
	for _, a := range r.array(root, "artists") {
		e.Artists = append(e.Artists, r.textOf(a, mostText))
	}
	e.Currency = r.text(root, "currency")
	e.MaxPerBuyer = int(r.integer(root, "max_per_buyer", int64(r.defaults.MaxPerBuyer), 1, mostPerBuyer))
	e.SingleSeats = SingleSeats(r.text(root, "single_seats"))
	e.RotatingCodes = r.yes(root, "rotating_codes")
	e.Terms = r.terms(root, e.Venue.Country)
	r.seats(root, &e)
	r.prices(root, &e)
	r.standingAreas(root, &e)
	r.sectionNotes(root, &e)
	e.Images = r.images(root)
	if m := root.given("room"); m != nil {
		e.say("room.", m)
		e.Room = r.room(m, e.Timezone)
	}
	return e
}

// say remembers which members of a part the document gives.
func (e *NewEvent) say(prefix string, part *node) {
	for _, m := range part.items {
		if m.kind != isNull {
			e.said[prefix+m.key] = true
		}
	}
}

func (r *review) seats(root *node, e *NewEvent) {
	plan, generate := root.given("plan"), root.given("generate")
	switch {
	case plan != nil && generate != nil:
		r.problemf(generate, "an event has either a plan or generated seats")
	case plan != nil && plan.kind == isString:
		e.PlanRef = r.textOf(plan, mostText)
	case plan != nil:
		e.Plan = r.plan(plan)
	case generate != nil:
		e.Plan = r.generated(generate)
	}
}

func (r *review) prices(root *node, e *NewEvent) {
	m := root.given("prices")
	if m == nil {
		return
	}
	if m.kind != isObject {
		r.problemf(m, "an object with one member per category is expected, not %s", m.kind)
		return
	}
	for _, p := range m.items {
		if !r.object(p, r.strange, "amount", "name", "type", "color") {
			continue
		}
		e.say("prices."+p.key+".", p)
		if p.given("amount") == nil {
			r.problemf(p, "the amount is missing")
		}
		e.Prices = append(e.Prices, Price{
			Category: p.key, Name: r.text(p, "name"), Type: r.text(p, "type"), Color: r.text(p, "color"),
			Amount: r.integer(p, "amount", 0, 0, mostAmount),
		})
	}
}

func (r *review) standingAreas(root *node, e *NewEvent) {
	for _, m := range r.array(root, "areas") {
		if !r.object(m, r.strange, "name", "capacity", "price", "type", "color", "position", "entrance") {
			continue
		}
		a := StandingArea{Name: r.text(m, "name"), Type: r.text(m, "type"), Color: r.text(m, "color")}
		e.say("areas."+a.Name+".", m)
		for _, key := range [...]string{"capacity", "price"} {
			if m.given(key) == nil {
				r.problemf(m, "the %s is missing", key)
			}
		}
		a.Capacity = int(r.integer(m, "capacity", 1, 1, mostStanding))
		a.Amount = r.integer(m, "price", 0, 0, mostAmount)
		if p := m.given("position"); p != nil && r.object(p, r.strange, "x", "y", "width", "height") {
			a.Position = &Position{r.float(p, "x"), r.float(p, "y"), r.float(p, "width"), r.float(p, "height")}
		}
		a.Entrance = r.entrance(m)
		e.Areas = append(e.Areas, a)
	}
}

func (r *review) room(m *node, zone string) RoomSettings {
	d := r.defaults.Room
	if !r.object(m, r.strange, "state", "message", "opens_at", "lobby_opens_at", "closes_at", "rate_per_minute", "burst",
		"max_shoppers", "lease_s", "claim_window_s", "grace_s", "order", "invite_only", "challenge", "public_source") {
		return d
	}
	seconds := func(key string, def time.Duration, low, high int64) time.Duration {
		return time.Duration(r.integer(m, key, int64(def/time.Second), low, high)) * time.Second
	}
	s := RoomSettings{
		State:         r.text(m, "state"),
		OpensAt:       r.time(m, "opens_at", zone),
		LobbyOpensAt:  r.time(m, "lobby_opens_at", zone),
		ClosesAt:      r.time(m, "closes_at", zone),
		RatePerMinute: int(r.integer(m, "rate_per_minute", int64(d.RatePerMinute), 1, mostRate)),
		Burst:         int(r.integer(m, "burst", int64(d.Burst), 1, mostBurst)),
		MaxShoppers:   int(r.integer(m, "max_shoppers", int64(d.MaxShoppers), 1, mostShoppers)),
		Lease:         seconds("lease_s", d.Lease, 10, 86400),
		ClaimWindow:   seconds("claim_window_s", d.ClaimWindow, 5, 3600),
		Grace:         seconds("grace_s", d.Grace, 1, 86400),
		Order:         r.text(m, "order"),
		InviteOnly:    r.yes(m, "invite_only"),
		Challenge:     r.text(m, "challenge"),
		PublicSource:  r.text(m, "public_source"),
	}
	if t := m.given("message"); t != nil {
		s.Message = r.textOf(t, 1000)
	}
	return s
}

// time reads RFC 3339, or a local time in a named zone.
func (r *review) time(n *node, key, zone string) *time.Time {
	m := n.given(key)
	if m == nil {
		return nil
	}
	return r.timeOf(m, zone)
}

func (r *review) timeOf(m *node, zone string) *time.Time {
	if m.kind != isString {
		r.problemf(m, "a time such as 2027-03-01T19:00:00Z is expected, not %s", m.kind)
		return nil
	}
	if t, err := time.Parse(time.RFC3339, m.text); err == nil {
		return &t
	}
	for _, layout := range [...]string{"2006-01-02T15:04:05", "2006-01-02T15:04"} {
		t, err := time.Parse(layout, m.text)
		if err != nil {
			continue
		}
		if zone == "" {
			r.problemf(m, "has neither an offset nor a timezone beside it")
			return nil
		}
		place, err := time.LoadLocation(zone)
		if err != nil {
			return nil // the zone itself is reported
		}
		t = atTheClock(t, place)
		return &t
	}
	r.problemf(m, "is not a time such as 2027-03-01T19:00:00Z")
	return nil
}

// generated builds a plan of plain blocks of seats.
func (r *review) generated(m *node) *Plan {
	if !r.object(m, r.strange, "kind", "name", "sections") {
		return nil
	}
	if kind := r.text(m, "kind"); kind != "rows" {
		r.problemf(m, "the kind must be rows")
	}
	g := newGenerator(r.text(m, "name"))
	sections := r.array(m, "sections")
	if len(sections) == 0 || len(sections) > mostTiers {
		r.problemf(m, "from 1 to %d sections are expected", mostTiers)
		return nil
	}
	seats, width := int64(0), 0.0
	y := 160.0
	for i, s := range sections {
		if !r.object(s, r.strange, "name", "rows", "seats_per_row", "category") {
			continue
		}
		for _, key := range [...]string{"rows", "seats_per_row"} {
			if s.given(key) == nil {
				r.problemf(s, "%s is missing", key)
			}
		}
		name := r.text(s, "name")
		if name == "" {
			name = fmt.Sprintf("Block %d", i+1)
		}
		category := r.text(s, "category")
		if category == "" {
			category = name
		}
		rows, across := r.integer(s, "rows", 1, 1, 1000), r.integer(s, "seats_per_row", 1, 1, 1000)
		if seats += rows * across; seats > mostSeats {
			r.problemf(m, "there are more than %d seats", mostSeats)
			return nil
		}
		z := g.zone(name, 0, y)
		for row := range int(rows) {
			line := z.row(rowName(row))
			for seat := range int(across) {
				line.seat(category, (float64(seat)-float64(across-1)/2)*28, float64(row)*32)
			}
		}
		y += float64(rows)*32 + 60
		width = max(width, float64(across)*28)
	}
	g.stage(40, max(300, width/2), 70)
	plan, _, err := ParsePlan(g.document())
	if err != nil {
		r.problemf(m, "%s", strings.TrimPrefix(err.Error(), "invalid-request: "))
		return nil
	}
	return plan
}

// generator writes seating plans in pretix' format. What the program makes
// itself goes through the same importer as what people bring.
type generator struct {
	Name       string         `json:"name"`
	Categories []genCategory  `json:"categories"`
	Zones      []*genZone     `json:"zones"`
	Size       map[string]any `json:"size"`

	known map[string]bool
	box   bounds
}

type genCategory struct {
	Name  string `json:"name"`
	Color string `json:"color,omitempty"`
}

type genPoint struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

type genZone struct {
	Name     string     `json:"name"`
	Position genPoint   `json:"position"`
	Rows     []*genRow  `json:"rows"`
	Areas    []*genArea `json:"areas,omitempty"`
	Entrance string     `json:"entrance,omitempty"`

	plan *generator
}

type genRow struct {
	Number   string    `json:"row_number"`
	Where    string    `json:"row_number_position"`
	Position genPoint  `json:"position"`
	Seats    []genSeat `json:"seats"`

	zone *genZone
}

type genSeat struct {
	Number   string   `json:"seat_number"`
	GUID     string   `json:"seat_guid"`
	Position genPoint `json:"position"`
	Category string   `json:"category"`

	Attributes *Attributes `json:"attributes,omitempty"`
}

type genArea struct {
	Shape     string    `json:"shape"`
	Color     string    `json:"color,omitempty"`
	Position  genPoint  `json:"position"`
	Rotation  float64   `json:"rotation,omitempty"`
	Rectangle any       `json:"rectangle,omitempty"`
	Circle    any       `json:"circle,omitempty"`
	Ellipse   any       `json:"ellipse,omitempty"`
	Text      *genWords `json:"text,omitempty"`
}

type genWords struct {
	Text     string   `json:"text"`
	Color    string   `json:"color"`
	Position genPoint `json:"position"`
}

// mark says what is special about the seat.
func (s *genSeat) mark(a Attributes) {
	if a != 0 {
		s.Attributes = &a
	}
}

func newGenerator(name string) *generator {
	if name == "" {
		name = "Generated plan"
	}
	return &generator{Name: name, Zones: []*genZone{}, known: make(map[string]bool)}
}

func (g *generator) category(name, color string) {
	if !g.known[name] {
		g.known[name] = true
		g.Categories = append(g.Categories, genCategory{name, color})
	}
}

func (g *generator) zone(name string, x, y float64) *genZone {
	z := &genZone{Name: name, Position: genPoint{tenth(x), tenth(y)}, Rows: []*genRow{}, plan: g}
	g.Zones = append(g.Zones, z)
	return z
}

func (z *genZone) row(name string) *genRow {
	r := &genRow{Number: name, Where: "both", Seats: []genSeat{}, zone: z}
	z.Rows = append(z.Rows, r)
	return r
}

// seat adds a seat relative to the zone, numbered from one within its row.
func (r *genRow) seat(category string, x, y float64) {
	g := r.zone.plan
	g.category(category, "")
	number := fmt.Sprint(len(r.Seats) + 1)
	r.Seats = append(r.Seats, genSeat{
		Number: number, GUID: r.zone.Name + "/" + r.Number + "/" + number,
		Position: genPoint{tenth(x), tenth(y)}, Category: category,
	})
	x, y = x+r.zone.Position.X, y+r.zone.Position.Y
	g.box.box(x-seatOverhang, y-seatOverhang, x+seatOverhang, y+seatOverhang)
}

// block draws a labelled rectangle centred at x.
func (g *generator) block(words, color, ink string, x, y, width, height float64) {
	z := g.zone(words, x-width/2, y)
	z.Areas = append(z.Areas, &genArea{
		Shape: "rectangle", Color: color, Rectangle: map[string]any{"width": tenth(width), "height": tenth(height)},
		Text: &genWords{words, ink, genPoint{tenth(width / 2), tenth(height / 2)}},
	})
	g.box.box(x-width/2, y, x+width/2, y+height)
}

// stage is a block in the middle.
func (g *generator) stage(y, width, height float64) {
	g.block("Stage", "#37474f", "#ffffff", 0, y, width, height)
}

// document moves everything into view and encodes it.
func (g *generator) document() []byte {
	dx, dy := viewMargin-g.box.x0, viewMargin-g.box.y0
	for _, z := range g.Zones {
		z.Position.X, z.Position.Y = tenth(z.Position.X+dx), tenth(z.Position.Y+dy)
	}
	g.Size = map[string]any{
		"width":  math.Ceil(g.box.x1 - g.box.x0 + 2*viewMargin),
		"height": math.Ceil(g.box.y1 - g.box.y0 + 2*viewMargin),
	}
	doc, err := json.Marshal(g)
	if err != nil { // only numbers and strings: cannot happen
		panic(err)
	}
	return doc
}

func tenth(v float64) float64 { return math.Round(v*10) / 10 }

// rowName is A … Z, AA, AB …, without I and O, which look like digits.
func rowName(i int) string {
	const letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
	name := ""
	for i++; i > 0; i = (i - 1) / len(letters) {
		name = string(letters[(i-1)%len(letters)]) + name
	}
	return name
}
