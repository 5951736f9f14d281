package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"regexp"
	"strconv"
)

// Bounds of a plan.
const (
	mostPixels = 1e6
	mostSeats  = 250_000
	mostZones  = 5_000
	mostPoints = 2_000 // of one polygon
	mostAreas  = 5_000
)

// Plan is a seating plan: where the seats of a house are and which category each
// belongs to, without prices. Coordinates are absolute plan pixels, y downwards.
type Plan struct {
	Name       string
	Width      float64
	Height     float64
	Categories []Category
	Zones      []Zone
	Seats      int
	Version    string // SHA-256 of Document, hex

	// Document is the pretix seating-plan JSON the plan was read from, without
	// insignificant space.
	Document []byte
}

// Category groups seats that are priced alike. Color is #rrggbb or "".
type Category struct {
	Name  string
	Color string
}

// Zone is a part of the house: it becomes a section.
type Zone struct {
	Name  string
	Rows  []PlanRow
	Areas []Area

	Entrance string // through which door; "" is any
}

// PlanRow is a row of seats in the order of the file.
type PlanRow struct {
	Name  string
	Seats []PlanSeat
}

// PlanSeat is one seat.
type PlanSeat struct {
	Number   string
	Category string
	X, Y     float64

	Attributes Attributes

	at *node // where it stands in the file, for messages
}

// Area is something drawn that is not a seat: a stage, a bar, a standing area.
// Kind is rectangle, circle, ellipse, polygon or text. X, Y is the upper left
// corner of a rectangle and the centre of the round ones; Points are absolute.
type Area struct {
	Kind          string
	X, Y          float64
	Width, Height float64 // of a rectangle; the two radii of an ellipse
	Radius        float64 // of a circle
	Points        [][2]float64
	Text          string // of a text
	Label         string // what is written on a shape, by a text that follows it
	Color         string
}

var colorPattern = regexp.MustCompile(`^#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$`)

// ParsePlan reads a seating plan in pretix' JSON format. It accepts what is
// harmless and says so in notices, and refuses what could sell one seat twice.
// All problems are reported at once, in the member "problems" of a
// fault.Invalid, each with its place.
func ParsePlan(doc []byte) (*Plan, []Notice, error) {
	var r review
	root, err := parseDocument(doc, "the seating plan", &r)
	if err != nil {
		return nil, nil, err
	}
	plan := r.plan(root)
	if err := r.err("the seating plan"); err != nil {
		return nil, r.notices, err
	}
	return plan, r.notices, nil
}

// plan reads a plan from a document or from a member of one.
func (r *review) plan(root *node) *Plan {
	if !r.object(root, r.unknownKey, "name", "categories", "zones", "size", "uuid") {
		return nil
	}
	p := planReader{review: r, plan: &Plan{}, guids: make(map[string]*node), labels: make(map[label]*node)}
	p.plan.Name = r.text(root, "name")
	if p.plan.Name == "" {
		p.plan.Name = "Seating plan"
		r.noticef(root, "the plan has no name")
	}
	p.categories(root)
	zones := r.array(root, "zones")
	if root.given("zones") == nil {
		r.problemf(root, "the plan has no zones")
	}
	if len(zones) > mostZones {
		r.problemf(root.get("zones"), "there are more than %d zones", mostZones)
		return nil
	}
	for i, z := range zones {
		p.zone(z, i)
	}
	if p.plan.Seats > mostSeats {
		r.problemf(root.get("zones"), "there are %d seats, more than %d", p.plan.Seats, mostSeats)
		return nil
	}
	p.size(root)
	p.plan.Document = root.canonical(nil)
	sum := sha256.Sum256(p.plan.Document)
	p.plan.Version = hex.EncodeToString(sum[:])
	return p.plan
}

func (r *review) unknownKey(m *node) {
	r.noticef(m, "the key %q is not known and is ignored", clip(m.key))
}

// label is what is printed on a ticket. Two seats with one label are one seat.
type label struct{ section, row, seat string }

type planReader struct {
	*review
	plan   *Plan
	listed map[string]bool
	guids  map[string]*node
	labels map[label]*node
	areas  int
}

func (p *planReader) categories(root *node) {
	p.listed = make(map[string]bool)
	for _, c := range p.array(root, "categories") {
		if !p.object(c, p.unknownKey, "name", "color", "uuid") {
			continue
		}
		name := p.text(c, "name")
		switch {
		case name == "":
			p.problemf(c, "the category has no name")
		case p.listed[name]:
			p.noticef(c, "the category %q is listed twice", name)
		default:
			p.listed[name] = true
			p.plan.Categories = append(p.plan.Categories, Category{name, p.color(c)})
		}
	}
}

func (p *planReader) color(n *node) string {
	c := p.text(n, "color")
	if c != "" && !colorPattern.MatchString(c) {
		p.noticef(n.get("color"), "the colour is not of the form #rrggbb and is ignored")
		return ""
	}
	return c
}

// position reads a member {"x","y"} relative to an origin.
func (p *planReader) position(n *node, key string, x, y float64) (float64, float64, bool) {
	m := n.given(key)
	if m == nil {
		return x, y, false
	}
	if !p.object(m, p.unknownKey, "x", "y") {
		return x, y, true
	}
	return x + p.float(m, "x"), y + p.float(m, "y"), true
}

func (p *planReader) zone(n *node, index int) {
	if !p.object(n, p.unknownKey, "name", "zone_id", "uuid", "position", "rows", "areas", "displayed", "entrance") {
		return
	}
	z := Zone{Name: p.text(n, "name")}
	if id := p.text(n, "zone_id"); z.Name == "" {
		z.Name = id
	}
	if z.Name == "" {
		z.Name = "Zone " + strconv.Itoa(index+1)
		p.noticef(n, "the zone has no name")
	}
	z.Entrance = p.entrance(n)
	p.entranceOnce(n, &z)
	x, y, ok := p.position(n, "position", 0, 0)
	if !ok {
		p.noticef(n, "the zone has no position and is put at the origin")
	}
	for _, row := range p.array(n, "rows") {
		p.row(&z, row, x, y)
	}
	for _, area := range p.array(n, "areas") {
		if p.areas++; p.areas > mostAreas {
			p.problemf(area, "there are more than %d areas", mostAreas)
			return
		}
		p.area(&z, area, x, y)
	}
	p.plan.Zones = append(p.plan.Zones, z)
}

func (p *planReader) row(z *Zone, n *node, x, y float64) {
	if !p.object(n, p.unknownKey, "row_number", "row_label", "seat_label", "uuid", "seats", "row_number_position",
		"position", "number_of_seats", "seats_spacing") {
		return
	}
	row := PlanRow{Name: p.text(n, "row_number")}
	x, y, _ = p.position(n, "position", x, y)
	seats := p.array(n, "seats")
	if n.given("seats") == nil {
		p.noticef(n, "the row has no seats")
	}
	row.Seats = make([]PlanSeat, 0, len(seats))
	for i, seat := range seats {
		p.seat(z, &row, seat, i, x, y)
	}
	p.plan.Seats += len(row.Seats)
	if len(row.Seats) > 0 {
		z.Rows = append(z.Rows, row)
	}
}

// missingSpacing is how far apart seats without a position are put.
const missingSpacing = 25

func (p *planReader) seat(z *Zone, row *PlanRow, n *node, index int, x, y float64) {
	if !p.object(n, p.unknownKey, "seat_guid", "seat_number", "uuid", "start_direction", "radius", "position", "category", "attributes") {
		return
	}
	s := PlanSeat{Number: p.text(n, "seat_number"), Category: p.text(n, "category"), Attributes: p.attributes(n), at: n}
	var ok bool
	if s.X, s.Y, ok = p.position(n, "position", x, y); !ok {
		s.X += float64(index) * missingSpacing
		p.noticef(n, "the seat has no position and is put beside its neighbour")
	}
	if guid := p.text(n, "seat_guid"); guid == "" {
		p.noticef(n, "the seat has no seat_guid")
	} else if first, dup := p.guids[guid]; dup {
		p.problemf(n, "the seat_guid %q stands already at %s", clip(guid), first.path())
	} else {
		p.guids[guid] = n
	}
	switch {
	case s.Category == "":
		p.noticef(n, "the seat has no category")
	case !p.listed[s.Category]:
		p.noticef(n, "the category %q of this seat is not listed", s.Category)
	}
	if s.Number == "" {
		if n.given("seat_number") == nil || n.get("seat_number").kind == isString {
			p.problemf(n, "the seat has no seat_number, so its ticket would not say which seat it is")
		}
	} else {
		l := label{z.Name, row.Name, s.Number}
		if first, dup := p.labels[l]; dup {
			p.problemf(n, "section %q row %q seat %q stands already at %s: one seat would be sold twice",
				l.section, l.row, l.seat, first.path())
		} else {
			p.labels[l] = n
		}
	}
	row.Seats = append(row.Seats, s)
}

func (p *planReader) area(z *Zone, n *node, x, y float64) {
	if !p.object(n, p.unknownKey, "color", "border_color", "rotation", "position", "uuid", "shape", "polygon", "rectangle",
		"ellipse", "circle", "text", "width", "height") {
		return
	}
	a := Area{Kind: p.text(n, "shape"), Color: p.color(n)}
	a.X, a.Y, _ = p.position(n, "position", x, y)
	turn := p.float(n, "rotation") * math.Pi / 180
	drawn := true
	switch a.Kind {
	case "", "rectangle":
		shape := n.given("rectangle")
		if shape == nil { // the format's first version
			shape = n
		}
		a.Kind, a.Width, a.Height = "rectangle", p.float(shape, "width"), p.float(shape, "height")
		if turn != 0 {
			a = turned(a, [][2]float64{{0, 0}, {a.Width, 0}, {a.Width, a.Height}, {0, a.Height}}, turn)
		}
	case "circle":
		a.Radius = math.Abs(p.float(n.given("circle"), "radius"))
	case "ellipse":
		if shape := n.given("ellipse"); shape != nil {
			a.Width, a.Height, _ = p.position(shape, "radius", 0, 0)
		}
		if turn != 0 {
			a = turned(a, oval(a.Width, a.Height), turn)
		}
	case "polygon":
		points := p.array(n.given("polygon"), "points")
		if len(points) > mostPoints {
			p.problemf(n, "the polygon has more than %d points", mostPoints)
			return
		}
		outline := make([][2]float64, 0, len(points))
		for _, point := range points {
			if p.object(point, p.unknownKey, "x", "y") {
				outline = append(outline, [2]float64{p.float(point, "x"), p.float(point, "y")})
			}
		}
		a = turned(a, outline, turn)
	case "text":
		drawn = false
	default:
		p.noticef(n, "the shape %q is not known and is not drawn", clip(a.Kind))
		drawn = false
	}
	x, y, _ = p.position(n, "position", x, y)
	text := p.areaText(n, x, y, a.Color)
	if drawn {
		a.Label = text.Text
		z.Areas = append(z.Areas, a)
	}
	if text.Text != "" {
		z.Areas = append(z.Areas, text)
	}
}

// areaText is the writing that any area may carry; its position is relative to
// the area's. In the format's first version it was a bare string.
func (p *planReader) areaText(n *node, x, y float64, color string) Area {
	m := n.given("text")
	switch {
	case m == nil:
		return Area{}
	case m.kind == isString:
		return Area{Kind: "text", X: x, Y: y, Text: p.textOf(m, mostText), Color: color}
	case !p.object(m, p.unknownKey, "text", "color", "size", "position"):
		return Area{}
	}
	a := Area{Kind: "text", Text: p.text(m, "text"), Color: p.color(m)}
	a.X, a.Y, _ = p.position(m, "position", x, y)
	return a
}

// turned is an outline around the area's position as a polygon with absolute
// points, turned clockwise.
func turned(a Area, outline [][2]float64, turn float64) Area {
	sin, cos := math.Sincos(turn)
	points := make([][2]float64, len(outline))
	for i, o := range outline {
		points[i] = [2]float64{a.X + o[0]*cos - o[1]*sin, a.Y + o[0]*sin + o[1]*cos}
	}
	return Area{Kind: "polygon", X: a.X, Y: a.Y, Points: points, Color: a.Color}
}

func oval(rx, ry float64) [][2]float64 {
	const corners = 48
	points := make([][2]float64, corners)
	for i := range points {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / corners)
		points[i] = [2]float64{rx * cos, ry * sin}
	}
	return points
}

// used counts the seats of each category and remembers the first of each.
func (p *Plan) used() map[string]categoryUse {
	uses := make(map[string]categoryUse)
	for _, z := range p.Zones {
		for _, row := range z.Rows {
			for _, s := range row.Seats {
				u := uses[s.Category]
				if u.seats++; u.seats == 1 {
					u.first = s.at
				}
				uses[s.Category] = u
			}
		}
	}
	return uses
}

type categoryUse struct {
	seats int
	first *node
}

// size reads the plan's size, or derives it from what it holds.
func (p *planReader) size(root *node) {
	if m := root.given("size"); m == nil {
		p.noticef(root, "the plan has no size; it is taken from the seats")
	} else if p.object(m, p.unknownKey, "width", "height") {
		p.plan.Width, p.plan.Height = p.float(m, "width"), p.float(m, "height")
	}
}
