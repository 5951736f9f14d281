package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"onsale/internal/fault"
)

// demoPosters is the folder of the demo's pictures on the program's own site.
const demoPosters = "/assets/posters/"

// Demo is what the demonstration sells: a theatre, an arena, a club and four
// evenings of a small stage, next spring and summer as seen from now. Houses, artists
// and events are invented; everything is the same whenever now is in the same season.
// site is the program's own public address: its pictures come from there, and there
// are none where pages could not show them.
func Demo(now time.Time, site string) ([]NewEvent, error) {
	theatre, _, err := ParsePlan(demoTheatre())
	if err != nil {
		return nil, fmt.Errorf("demo theatre: %w", err)
	}
	arena, _, err := ParsePlan(demoArena())
	if err != nil {
		return nil, fmt.Errorf("demo arena: %w", err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		return nil, err
	}
	year := now.In(berlin).Year()
	if now.After(time.Date(year, time.January, 1, 0, 0, 0, 0, berlin)) {
		year++
	}
	on := func(month time.Month, weekday time.Weekday, hour, minute int) time.Time {
		t := time.Date(year, month, 8, hour, minute, 0, 0, berlin)
		return t.AddDate(0, 0, (int(weekday)-int(t.Weekday())+7)%7)
	}
	doors := func(start time.Time, before time.Duration) *time.Time {
		t := start.Add(-before)
		return &t
	}
	vat := Tax{Name: "VAT", Rate: 7000, Included: true} // of concerts and theatre in Germany
	poster := func(name, alt string) []Image {
		i := Image{URL: strings.TrimSuffix(site, "/") + demoPosters + name + ".svg", Alt: alt, Width: 1600, Height: 900}
		if _, ok := ImageOrigin(i.URL); !ok {
			return nil
		}
		return []Image{i}
	}
	evenings, err := demoSeries(on(time.June, time.Wednesday, 20, 0), poster("improv", "A stage with red curtains and two speech bubbles: a question and an exclamation"))
	if err != nil {
		return nil, fmt.Errorf("demo series: %w", err)
	}
	clubNight, arenaNight, premiere := on(time.March, time.Friday, 21, 0), on(time.May, time.Saturday, 20, 0), on(time.April, time.Saturday, 19, 30)

	return []NewEvent{{
		Name: "Kapitel Neun: Nachtbetrieb", Type: "concert", Currency: "EUR", MaxPerBuyer: 4, Timezone: "Europe/Berlin",
		Description: "Six hundred people, one low ceiling, no seats. Kapitel Neun play their second record from end to end.",
		StartsAt:    clubNight, DoorsAt: doors(clubNight, time.Hour),
		Venue:   Venue{Name: "Kupferwerk", Address: "Hafenstraße 88", City: "Köln", Country: "DE"},
		Artists: []string{"Kapitel Neun", "Ida Lohmar"},
		Images:  poster("kapitel-neun", "A crowd in the beams of spotlights before a glowing nine"),
		Areas:   []StandingArea{{Name: "Club floor", Capacity: 600, Amount: 2800, Type: "standing", Entrance: "Courtyard"}},
		Terms:   Terms{FeePerOrder: 150, Tax: vat},
		Room:    DefaultRoom(),
	}, {
		Name: "Der gläserne Garten", Type: "theatre", Currency: "EUR", MaxPerBuyer: 6, Timezone: "Europe/Berlin",
		Description: "A house, four generations, one winter. First night of the new production, with live music.",
		StartsAt:    premiere, DoorsAt: doors(premiere, 45*time.Minute),
		Terms:   Terms{Tax: vat, Cancel: &CancelPolicy{UntilHours: 72, KeepsFees: true}},
		Venue:   Venue{Name: "Theater am Lindenufer", Address: "Uferpromenade 2", City: "Leipzig", Country: "DE"},
		Artists: []string{"Lindenufer Ensemble", "Quartett Halbmond"},
		Images:  poster("glass-garden", "A lit greenhouse with red flowers in the snow"),
		Plan:    theatre,
		Prices: []Price{
			{Category: "Box", Type: "vip", Amount: 11900, Color: "#7b1fa2"},
			{Category: "Front row", Type: "front_row", Amount: 9800, Color: "#c2185b"},
			{Category: "Stalls", Type: "standard", Amount: 6900, Color: "#1976d2"},
			{Category: "Balcony", Type: "balcony", Amount: 4500, Color: "#00897b"},
			{Category: "Upper balcony", Type: "balcony", Amount: 2900, Color: "#f9a825"},
			{Category: "Accessible", Type: AccessibleType, Amount: 3500, Color: "#e65100"},
			{Category: "Companion", Type: CompanionType, Amount: 3500, Color: "#a1887f"},
		},
		Room: DefaultRoom(),
	}, {
		Name: "Mira Voss – Lanterns Tour", Type: "concert", Currency: "EUR", MaxPerBuyer: 6, Timezone: "Europe/Berlin",
		Description: "The Lanterns Tour comes to the Elbe for one night, with the full band and guests.",
		StartsAt:    arenaNight, DoorsAt: doors(arenaNight, 2*time.Hour),
		Terms:   Terms{FeePerTicket: 350, FeePerOrder: 200, Tax: vat, Cancel: &CancelPolicy{UntilHours: 14 * 24, KeepsFees: true}},
		Venue:   Venue{Name: "Elbkai Arena", Address: "Am Grasbrookkai 10", City: "Hamburg", Country: "DE"},
		Artists: []string{"Mira Voss", "The Paper Boats"},
		Images:  poster("lanterns", "Paper lanterns above a city by the water at dusk"),
		Plan:    arena,
		Prices: []Price{
			{Category: "VIP", Name: "VIP, first rows", Type: "vip", Amount: 18900, Color: "#7b1fa2"},
			{Category: "Lower tier", Type: "standard", Amount: 9900, Color: "#1976d2"},
			{Category: "Lower tier, side", Type: "standard", Amount: 8400, Color: "#0097a7"},
			{Category: "Upper tier", Type: "balcony", Amount: 6400, Color: "#00897b"},
			{Category: "Upper tier, last rows", Type: "balcony", Amount: 4900, Color: "#f9a825"},
			{Category: "Accessible", Type: AccessibleType, Amount: 4900, Color: "#e65100"},
			{Category: "Companion", Type: CompanionType, Amount: 4900, Color: "#a1887f"},
		},
		Areas: []StandingArea{
			{Name: "Front of stage", Capacity: 600, Amount: 12900, Type: "front_row", Color: "#c2185b", Entrance: "Gate West"},
			{Name: "Floor", Capacity: 2400, Amount: 8900, Type: "standing", Color: "#8d6e63", Entrance: "Gate West"},
		},
		Room: DefaultRoom(),
	}, evenings}, nil
}

// demoSeries is the document of an evening that takes place four times, read as any
// other is.
func demoSeries(first time.Time, images []Image) (NewEvent, error) {
	const clock = "2006-01-02T15:04"
	doc, err := json.Marshal(map[string]any{
		"name": "Impro im Hinterhaus", "type": "comedy", "currency": "EUR", "max_per_buyer": 6, "timezone": "Europe/Berlin",
		"description": "Five people, one word from the audience, and nobody knows how it ends. Every Wednesday another evening.",
		"starts_at":   first.Format(clock), "doors_at": first.Add(-30 * time.Minute).Format(clock), "repeat": "FREQ=WEEKLY;COUNT=4",
		"venue":   map[string]string{"name": "Bühne im Hinterhaus", "address": "Sorauer Straße 3", "city": "Berlin", "country": "DE"},
		"artists": []string{"Die Stegreifen"},
		"images":  images,
		"tax":     map[string]any{"name": "VAT", "percent": "7", "included": true},
		"plan":    json.RawMessage(demoStage()),
		"prices": map[string]any{
			"Parquet": map[string]any{"amount": 2200, "color": "#1976d2"},
			"Gallery": map[string]any{"amount": 1600, "color": "#00897b"},
		},
	})
	if err != nil {
		return NewEvent{}, err
	}
	e, _, err := ParseEvent(doc)
	return e, err
}

// SeedDemo creates the events of Demo that store does not have yet and returns
// them all. The pictures of those that it has follow the program to another site.
func SeedDemo(ctx context.Context, store Store, now time.Time, site string) (all []Event, created int, err error) {
	wanted, err := Demo(now, site)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range wanted {
		had, err := demoEvents(ctx, store, e, now)
		if err != nil {
			return nil, created, err
		}
		if len(had) == 0 {
			had, err = createDemo(ctx, store, e)
			switch {
			case err == nil:
				created += len(had)
			case fault.Is(err, fault.Conflict): // another node was quicker
				if had, err = demoEvents(ctx, store, e, now); err != nil {
					return nil, created, err
				}
			default:
				return nil, created, err
			}
		}
		all = append(all, had...)
	}
	return all, created, nil
}

func createDemo(ctx context.Context, store Store, e NewEvent) ([]Event, error) {
	if e.Dates == nil {
		made, err := store.CreateEvent(ctx, e)
		return []Event{made}, err
	}
	made, err := store.CreateSeries(ctx, e)
	return made.Events, err
}

// demoEvents finds those to come that have the whole name of one of the demo.
func demoEvents(ctx context.Context, store Store, wanted NewEvent, now time.Time) (all []Event, err error) {
	page, err := store.Events(ctx, Query{Name: wanted.Name, From: now, Limit: MostEvents})
	if err != nil {
		return nil, err
	}
	for _, e := range page.Events {
		if e.Name != wanted.Name {
			continue
		}
		if moved(e.Images, wanted.Images) {
			if e, _, err = store.UpdateEvent(ctx, e.ID, EventPatch{Images: &wanted.Images}); err != nil {
				return nil, err
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// moved reports whether these are the demo's own pictures at another address.
func moved(is, wanted []Image) bool {
	if len(is) != 1 || len(wanted) != 1 || is[0].URL == wanted[0].URL {
		return false
	}
	_, had, ok := strings.Cut(is[0].URL, demoPosters)
	_, has, _ := strings.Cut(wanted[0].URL, demoPosters)
	return ok && had == has
}

// demoStage is a room of a hundred seats: rows with a pillar in the way, places for
// who needs them at the price of their neighbours, and a gallery.
func demoStage() []byte {
	g := newGenerator("Bühne im Hinterhaus")
	g.stage(-110, 260, 70)
	const pitch, depth = 26.0, 32.0
	rows := func(zone *genZone, category string, n, seats int, special func(row, seat int) Attributes) {
		for r := range n {
			row := zone.row(rowName(r))
			for s := range seats {
				row.seat(category, (float64(s)-float64(seats-1)/2)*pitch, float64(r)*depth)
				row.Seats[s].mark(special(r, s))
			}
		}
	}
	parquet := g.zone("Parquet", 0, 0)
	parquet.Entrance = "Courtyard"
	rows(parquet, "Parquet", 7, 12, func(row, seat int) Attributes {
		switch {
		case row == 6 && (seat == 0 || seat == 11):
			return Accessible | Aisle
		case row == 6 && (seat == 1 || seat == 10):
			return Companion
		case row >= 4 && seat == 8: // behind the pillar
			return RestrictedView
		case seat == 0 || seat == 11:
			return Aisle
		}
		return 0
	})
	gallery := g.zone("Gallery", 0, 8*depth)
	gallery.Entrance = "Stairs in the passage"
	rows(gallery, "Gallery", 2, 10, func(_, seat int) Attributes {
		if seat == 0 || seat == 9 {
			return Aisle
		}
		return 0
	})
	return g.document()
}

// demoTheatre is a horseshoe of about 2,000 seats: stalls in arcs around the
// stage with two aisles, a balcony behind and above, and boxes on both sides.
func demoTheatre() []byte {
	g := newGenerator("Theater am Lindenufer")
	g.stage(-40, 560, 120)
	for _, c := range [...]string{"Box", "Front row", "Stalls", "Balcony", "Upper balcony", "Accessible", "Companion"} {
		g.category(c, "")
	}
	const (
		centre = -520.0 // of all arcs, above the stage
		pitch  = 25.0   // between seats
		depth  = 32.0   // between rows
	)
	// arc places a row of seats symmetrically around straight ahead, leaving out
	// the aisles (in radians).
	arc := func(row *genRow, radius, half float64, aisles []float64, hidden func(a float64) bool, category func(i, n int) string) {
		step := pitch / radius
		n := int(2 * half / step)
		var seats []float64
		for i := range n {
			a := (float64(i) - float64(n-1)/2) * step
			free := true
			for _, aisle := range aisles {
				free = free && math.Abs(a-aisle) > 22/radius
			}
			if free {
				seats = append(seats, a)
			}
		}
		for i, a := range seats {
			sin, cos := math.Sincos(a)
			row.seat(category(i, len(seats)), radius*sin, centre+radius*cos)
			var special Attributes
			if i == 0 || i == len(seats)-1 || (a-seats[i-1])*radius > 1.5*pitch || (seats[i+1]-a)*radius > 1.5*pitch {
				special |= Aisle
			}
			if hidden(a) {
				special |= RestrictedView
			}
			row.Seats[len(row.Seats)-1].mark(special)
		}
	}
	aisles := []float64{-0.22, 0.22}

	nothing := func(float64) bool { return false }
	stalls := g.zone("Stalls", 0, 0)
	stalls.Entrance = "Door A, ground floor"
	for i := range 26 {
		arc(stalls.row(rowName(i)), 680+float64(i)*depth, 0.54, aisles, nothing, func(seat, n int) string {
			switch {
			case i == 0:
				return "Front row"
			case i == 25 && (seat < 4 || seat >= n-4):
				return accessibly(seat)
			default:
				return "Stalls"
			}
		})
	}
	balcony := g.zone("Balcony", 0, 0)
	balcony.Entrance = "Door C, first floor"
	for i := range 12 {
		arc(balcony.row(rowName(i)), 1600+float64(i)*depth, 0.5, []float64{-0.26, 0, 0.26}, func(a float64) bool { return i >= 10 && math.Abs(a) > 0.42 }, func(int, int) string {
			if i >= 6 {
				return "Upper balcony"
			}
			return "Balcony"
		})
	}
	for side := range 2 {
		sign := float64(2*side - 1)
		for i := range 6 {
			box := g.zone("Box "+strconv.Itoa(side*6+i+1), sign*(560+float64(i)*62), 140+float64(i)*105)
			box.Entrance = [...]string{"Door B, left stairs", "Door B, right stairs"}[side]
			for r := range 2 {
				row := box.row(strconv.Itoa(r + 1))
				for s := range 4 {
					row.seat("Box", sign*float64(r)*28, float64(s)*22)
					if i == 0 && r == 1 { // the stage ends before them
						row.Seats[s].mark(RestrictedView)
					}
				}
			}
		}
	}
	return g.document()
}

// demoArena is a bowl of two rings around a floor with the stage at its end,
// about 12,000 seats; the floor itself is for standing areas.
func demoArena() []byte {
	g := newGenerator("Elbkai Arena")
	for _, c := range [...]string{"VIP", "Lower tier", "Lower tier, side", "Upper tier", "Upper tier, last rows", "Accessible", "Companion"} {
		g.category(c, "")
	}
	// The stage stands in the west; angles run from it, clockwise.
	g.block("Stage", "#37474f", "#ffffff", -700, -260, 240, 520)
	g.block("Front of stage", "#eceff1", "#37474f", -425, -330, 270, 660)
	g.block("Floor", "#eceff1", "#37474f", 150, -330, 840, 660)

	gate := func(section, sections int) string {
		return [...]string{"Gate North", "Gate East", "Gate South"}[3*section/sections]
	}
	ring := func(first, sections, rows int, a, b, open float64, category func(section, row, seat, n int) string) {
		const depth, pitch = 30.0, 24.0
		const gangway = 40.0 // between sections
		span := 2 * (math.Pi - open) / float64(sections)
		for s := range sections {
			from := math.Pi + open + float64(s)*span
			zone := g.zone(strconv.Itoa(first+s), 0, 0)
			zone.Entrance = gate(s, sections)
			for r := range rows {
				ra, rb := a+float64(r)*depth, b+float64(r)*depth
				angles := alongEllipse(ra, rb, from, from+span, pitch, gangway)
				row := zone.row(rowName(r))
				for i, t := range angles {
					sin, cos := math.Sincos(t)
					row.seat(category(s, r, i, len(angles)), ra*cos, rb*sin)
					if i == 0 || i == len(angles)-1 {
						row.Seats[i].mark(Aisle)
					}
				}
			}
		}
	}
	ring(101, 16, 17, 980, 620, 0.62, func(section, row, seat, n int) string {
		end := section >= 6 && section < 10 // straight across from the stage
		switch {
		case row == 0 && end:
			return "VIP"
		case row == 1 && end:
			return "VIP"
		case row == 16 && (section == 2 || section == 13) && (seat < 4 || seat >= n-4):
			return accessibly(seat)
		case section < 2 || section >= 14:
			return "Lower tier, side"
		default:
			return "Lower tier"
		}
	})
	ring(201, 24, 23, 1600, 1240, 0.5, func(_, row, _, _ int) string {
		if row >= 14 {
			return "Upper tier, last rows"
		}
		return "Upper tier"
	})
	return g.document()
}

// accessibly alternates accessible seats with those of who comes along.
func accessibly(seat int) string {
	if seat%2 == 0 {
		return "Accessible"
	}
	return "Companion"
}

// alongEllipse is the angles of points that stand pitch apart on an ellipse
// between two angles, centred, leaving half a gangway at both ends.
func alongEllipse(a, b, from, to, pitch, gangway float64) []float64 {
	const steps = 400
	lengths := make([]float64, steps+1)
	angle := func(i int) float64 { return from + (to-from)*float64(i)/steps }
	for i := 1; i <= steps; i++ {
		s0, c0 := math.Sincos(angle(i - 1))
		s1, c1 := math.Sincos(angle(i))
		lengths[i] = lengths[i-1] + math.Hypot(a*(c1-c0), b*(s1-s0))
	}
	total := lengths[steps]
	n := int((total-gangway)/pitch) + 1
	if n < 1 {
		return nil
	}
	first := (total - float64(n-1)*pitch) / 2
	angles := make([]float64, 0, n)
	i := 1
	for k := range n {
		want := first + float64(k)*pitch
		for i < steps && lengths[i] < want {
			i++
		}
		part := (want - lengths[i-1]) / (lengths[i] - lengths[i-1])
		angles = append(angles, angle(i-1)+(angle(i)-angle(i-1))*part)
	}
	return angles
}
