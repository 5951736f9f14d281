package catalog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"
)

// The drawn plan of an event, as browsers get it. Coordinates are plan pixels
// with one decimal, y downwards.

type planView struct {
	Event    string        `json:"event"`
	Version  string        `json:"version"`            // changes whenever anything else does
	Revision int           `json:"revision,omitempty"` // of the event
	Width    pixel         `json:"width"`
	Height   pixel         `json:"height"`
	Unit     string        `json:"unit"`
	Tiers    []viewTier    `json:"tiers"`
	Sections []viewSection `json:"sections"`
	Areas    []viewArea    `json:"areas"`
}

type viewTier struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Type  string `json:"type"`
	Color string `json:"color"`
	Price Money  `json:"price"`
}

type viewSection struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Kind     string     `json:"kind"` // seated, ga
	Entrance string     `json:"entrance,omitempty"`
	Tier     *int       `json:"tier,omitempty"` // ga: index into the tiers
	First    int        `json:"first"`          // ordinal
	Count    int        `json:"count"`
	Label    point      `json:"label"`
	Area     *rectangle `json:"area,omitempty"` // ga
	Rows     []viewRow  `json:"rows,omitempty"` // seated
}

type viewRow struct {
	Name       string   `json:"name"`
	First      int      `json:"first"` // ordinal of the first seat
	X          []pixel  `json:"x"`
	Y          []pixel  `json:"y"`
	Seats      []string `json:"seats"`
	Tiers      []int    `json:"tiers"` // tier, how many seats, tier, how many …
	Attributes markRuns `json:"attributes,omitempty"`
}

func (r *viewRow) add(s PlanSeat, tier int) {
	r.X, r.Y, r.Seats = append(r.X, pixel(s.X)), append(r.Y, pixel(s.Y)), append(r.Seats, s.Number)
	if n := len(r.Tiers); n > 0 && r.Tiers[n-2] == tier {
		r.Tiers[n-1]++
		return
	}
	r.Tiers = append(r.Tiers, tier, 1)
}

type viewArea struct {
	Kind   string     `json:"kind"` // rectangle, circle, ellipse, polygon, text
	X      pixel      `json:"x"`    // upper left corner of a rectangle, else the centre
	Y      pixel      `json:"y"`
	Width  pixel      `json:"width,omitempty"`
	Height pixel      `json:"height,omitempty"`
	Radius any        `json:"radius,omitempty"` // number of a circle, {x,y} of an ellipse
	Points [][2]pixel `json:"points,omitempty"` // relative to x, y
	Text   string     `json:"text,omitempty"`
	Color  string     `json:"color,omitempty"`
}

// pixel is a coordinate, written with at most one decimal.
type pixel float64

func (p pixel) MarshalJSON() ([]byte, error) {
	v := math.Round(float64(p)*10) / 10
	if v == 0 { // also for -0
		return []byte("0"), nil
	}
	return strconv.AppendFloat(nil, v, 'f', -1, 64), nil
}

type point struct{ X, Y float64 }

func (p point) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		X pixel `json:"x"`
		Y pixel `json:"y"`
	}{pixel(p.X), pixel(p.Y)})
}

type rectangle struct{ X, Y, Width, Height float64 }

func (r rectangle) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		X      pixel `json:"x"`
		Y      pixel `json:"y"`
		Width  pixel `json:"width"`
		Height pixel `json:"height"`
	}{pixel(r.X), pixel(r.Y), pixel(r.Width), pixel(r.Height)})
}

// bounds grows around what is drawn.
type bounds struct {
	x0, y0, x1, y1 float64
	some           bool
}

func (b *bounds) point(x, y float64) {
	if !b.some {
		*b = bounds{x, y, x, y, true}
		return
	}
	b.x0, b.y0, b.x1, b.y1 = min(b.x0, x), min(b.y0, y), max(b.x1, x), max(b.y1, y)
}

func (b *bounds) box(x0, y0, x1, y1 float64) {
	b.point(x0, y0)
	b.point(x1, y1)
}

func (b *bounds) area(a Area) {
	switch a.Kind {
	case "rectangle":
		b.box(a.X, a.Y, a.X+a.Width, a.Y+a.Height)
	case "circle":
		b.box(a.X-a.Radius, a.Y-a.Radius, a.X+a.Radius, a.Y+a.Radius)
	case "ellipse":
		b.box(a.X-a.Width, a.Y-a.Height, a.X+a.Width, a.Y+a.Height)
	case "polygon":
		for _, p := range a.Points {
			b.point(p[0], p[1])
		}
	default:
		b.point(a.X, a.Y)
	}
}

func (b *bounds) rectangle() rectangle {
	return rectangle{b.x0, b.y0, b.x1 - b.x0, b.y1 - b.y0}
}

// Sizes of what is placed without being told where, in plan pixels.
const (
	viewMargin   = 40
	standingW    = 600
	standingH    = 220
	standingGap  = 30
	stageH       = 80
	seatOverhang = 12 // half a seat
)

// view draws the house.
func (h *house) view() ([]byte, error) {
	var areas []Area
	var b bounds
	width, height := 0.0, 0.0
	if plan := h.event.Plan; plan != nil {
		width, height = plan.Width, plan.Height
		for _, z := range plan.Zones {
			for i := range z.Areas {
				if a := &z.Areas[i]; !h.placed[a] {
					areas = append(areas, *a)
					b.area(*a)
				}
			}
			for _, row := range z.Rows {
				for _, s := range row.Seats {
					b.box(s.X-seatOverhang, s.Y-seatOverhang, s.X+seatOverhang, s.Y+seatOverhang)
				}
			}
		}
	}
	for _, s := range h.drawn {
		if s.Area != nil {
			b.box(s.Area.X, s.Area.Y, s.Area.X+s.Area.Width, s.Area.Y+s.Area.Height)
		}
	}
	if !b.some { // nothing is placed: a stage, and the areas below it
		b.point(viewMargin, viewMargin)
		areas = append(areas,
			Area{Kind: "rectangle", X: viewMargin, Y: viewMargin, Width: standingW, Height: stageH, Color: "#37474f"},
			Area{Kind: "text", X: viewMargin + standingW/2, Y: viewMargin + stageH/2, Text: "Stage", Color: "#ffffff"})
		b.area(areas[0])
	}
	for i := range h.drawn {
		s := &h.drawn[i]
		if s.Kind != "ga" {
			continue
		}
		if s.Area == nil {
			s.Area = &rectangle{b.x0, b.y1 + standingGap, max(standingW, b.x1-b.x0), standingH}
			b.box(s.Area.X, s.Area.Y, s.Area.X+s.Area.Width, s.Area.Y+s.Area.Height)
		}
		s.Label = point{s.Area.X + s.Area.Width/2, s.Area.Y + s.Area.Height/2}
	}
	// The stated size stands when it holds everything; else the frame is drawn
	// around what there is.
	dx, dy := 0.0, 0.0
	if b.x0 < 0 || b.y0 < 0 || b.x1 > width || b.y1 > height {
		dx, dy = viewMargin-b.x0, viewMargin-b.y0
		width, height = b.x1-b.x0+2*viewMargin, b.y1-b.y0+2*viewMargin
	}
	h.move(dx, dy)
	v := planView{
		Event: h.layout.Event, Width: pixel(width), Height: pixel(height), Unit: "plan px",
		Sections: h.drawn, Areas: make([]viewArea, 0, len(areas)),
	}
	for _, t := range h.layout.Tiers {
		v.Tiers = append(v.Tiers, viewTier{t.ID, t.Name, t.Type, t.Color, t.Price})
	}
	for _, a := range areas {
		v.Areas = append(v.Areas, a.view(dx, dy))
	}
	return v.encode()
}

func (h *house) move(dx, dy float64) {
	for i := range h.drawn {
		s := &h.drawn[i]
		s.Label.X, s.Label.Y = s.Label.X+dx, s.Label.Y+dy
		if s.Area != nil {
			s.Area.X, s.Area.Y = s.Area.X+dx, s.Area.Y+dy
		}
		for _, row := range s.Rows {
			for k := range row.X {
				row.X[k], row.Y[k] = row.X[k]+pixel(dx), row.Y[k]+pixel(dy)
			}
		}
	}
}

func (a Area) view(dx, dy float64) viewArea {
	v := viewArea{Kind: a.Kind, X: pixel(a.X + dx), Y: pixel(a.Y + dy), Text: a.Text, Color: a.Color}
	switch a.Kind {
	case "rectangle":
		v.Width, v.Height = pixel(a.Width), pixel(a.Height)
	case "circle":
		v.Radius = pixel(a.Radius)
	case "ellipse":
		v.Radius = point{a.Width, a.Height}
	}
	for _, p := range a.Points {
		v.Points = append(v.Points, [2]pixel{pixel(p[0] - a.X), pixel(p[1] - a.Y)})
	}
	return v
}

// encode writes the view; its version is a digest of everything else.
func (v *planView) encode() ([]byte, error) {
	const blank = `"version":""`
	doc, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(doc)
	return bytes.Replace(doc, []byte(blank), []byte(`"version":"`+hex.EncodeToString(sum[:12])+`"`), 1), nil
}
