package catalog

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"onsale/internal/fault"
)

// markedPlan has two rows of four seats in two zones, with what is special about
// them, and an entrance.
func markedPlan(edits ...string) string {
	seat := func(guid, number, category, more string, x int) string {
		return fmt.Sprintf(`{"seat_guid": %q, "seat_number": %q, "category": %q, "position": {"x": %d, "y": 0}%s}`, guid, number, category, x, more)
	}
	marks := func(list string) string { return `, "attributes": [` + list + `]` }
	doc := `{"name": "Marked", "size": {"width": 400, "height": 200}, "categories": [{"name": "A"}, {"name": "B"}], "zones": [
	  {"name": "Stalls", "entrance": "Door A", "position": {"x": 50, "y": 50}, "rows": [{"row_number": "1", "seats": [` +
		seat("1", "1", "A", marks(`"aisle"`), 0) + `,` + seat("2", "2", "A", "", 25) + `,` +
		seat("3", "3", "A", marks(`"restricted_view"`), 50) + `,` + seat("4", "4", "A", marks(`"restricted_view"`), 75) + `]}]},
	  {"name": "Balcony", "position": {"x": 50, "y": 100}, "rows": [{"row_number": "1", "seats": [` +
		seat("5", "1", "B", marks(`"accessible", "aisle"`), 0) + `,` + seat("6", "2", "B", marks(`"companion"`), 25) + `,` +
		seat("7", "3", "B", "", 50) + `,` + seat("8", "4", "B", "", 75) + `]}]}]}`
	return strings.NewReplacer(edits...).Replace(doc)
}

func markedEvent(t *testing.T, more string, planEdits ...string) (NewEvent, []Notice) {
	t.Helper()
	e, notices, err := ParseEvent([]byte(`{"name": "Marked", "starts_at": "2027-03-01T19:00:00Z", "currency": "EUR", "venue": {"name": "Hall"},
	  "prices": {"A": {"amount": 2000}, "B": {"amount": 1000}}, "plan": ` + markedPlan(planEdits...) + more + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return e, notices
}

func TestAttributesOfSeatsGoEverywhere(t *testing.T) {
	t.Parallel()
	e, notices := markedEvent(t, `, "areas": [{"name": "Floor", "capacity": 2, "price": 500, "entrance": "Yard"}], "sections": {"Balcony": {"entrance": "Door C"}}`)
	if len(notices) > 0 {
		t.Errorf("notices %v", notices)
	}
	l, view, err := Compose(e, counter())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for o := range l.Seats {
		ticket, err := json.Marshal(l.Ticket(o))
		if err != nil {
			t.Fatal(err)
		}
		var told struct {
			Section, Seat, Entrance string
			Attributes              []string
		}
		if err := json.Unmarshal(ticket, &told); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(ticket), "null") {
			t.Errorf("the ticket is %s", ticket)
		}
		got = append(got, fmt.Sprintf("%s %s %s %v", told.Section, told.Seat, told.Entrance, told.Attributes))
	}
	want := []string{
		"Stalls 1 Door A [aisle]", "Stalls 2 Door A []", "Stalls 3 Door A [restricted_view]", "Stalls 4 Door A [restricted_view]",
		"Balcony 1 Door C [accessible aisle]", "Balcony 2 Door C [companion]", "Balcony 3 Door C []", "Balcony 4 Door C []",
		"Floor  Yard []", "Floor  Yard []",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the tickets are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, part := range []string{`"attributes":[0,1,8,2,2,4]`, `"attributes":[0,1,9,1,1,2]`, `"entrance":"Door A"`, `"entrance":"Yard"`} {
		if !strings.Contains(string(view), part) {
			t.Errorf("the drawn plan lacks %s: %s", part, view)
		}
	}
	for o, want := range map[int][2]bool{0: {false, false}, 4: {true, false}, 5: {false, true}, 6: {false, false}} {
		if s := &l.Seats[o]; s.ForAccess() != want[0] || s.ForCompanion() != want[1] {
			t.Errorf("seat %d is for access: %t, for companions: %t", o, s.ForAccess(), s.ForCompanion())
		}
	}
	both := Seat{Type: CompanionType, Attributes: Accessible}
	if !both.ForAccess() || both.ForCompanion() {
		t.Error("an accessible seat of the companion's price is not accessible first")
	}
}

func TestPlansWithoutAttributesAreAsBefore(t *testing.T) {
	t.Parallel()
	e, _ := markedEvent(t, "", `, "attributes": ["aisle"]`, "", `, "attributes": ["restricted_view"]`, "", `, "attributes": ["accessible", "aisle"]`, "",
		`, "attributes": ["companion"]`, "", ` "entrance": "Door A",`, "")
	_, view, err := Compose(e, counter())
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"attributes", "entrance", "revision"} {
		if strings.Contains(string(view), word) {
			t.Errorf("the drawn plan has %s: %s", word, view)
		}
	}
}

func TestBadPlacesAreNamed(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 101)
	for _, test := range []struct{ more, edit, to, want string }{
		{"", `["companion"]`, `["soft"]`, `$.plan.zones[1].rows[0].seats[1].attributes[0]: the attribute "soft" is not known`},
		{"", `["companion"]`, `[7]`, `$.plan.zones[1].rows[0].seats[1].attributes[0]: a string is expected`},
		{"", `["companion"]`, `"companion"`, `$.plan.zones[1].rows[0].seats[1].attributes: an array is expected`},
		{"", `"Door A"`, `"` + long + `"`, `$.plan.zones[0].entrance: is longer than 100`},
		{"", `"Balcony", "position"`, `"Stalls", "entrance": "Door B", "position"`, `$.plan.zones[1].entrance: another zone called "Stalls" has the entrance "Door A"`},
		{`, "sections": {"Gallery": {"entrance": "Door B"}}`, "", "", "$.sections.Gallery: the event has no such section"},
		{`, "sections": {"Stalls": {"door": "B"}}`, "", "", `$.sections.Stalls.door: the key "door" is not known`},
		{`, "sections": [1]`, "", "", "$.sections: an object with one member per section"},
		{`, "sections": {"Stalls": {"entrance": "` + long + `"}}`, "", "", "$.sections.Stalls.entrance: is longer than 100"},
		{`, "areas": [{"name": "Floor", "capacity": 1, "price": 1, "entrance": "` + long + `"}]`, "", "", "$.areas[0].entrance: is longer than 100"},
	} {
		edits := []string{}
		if test.edit != "" {
			edits = []string{test.edit, test.to}
		}
		doc := `{"name": "Marked", "starts_at": "2027-03-01T19:00:00Z", "currency": "EUR", "venue": {"name": "Hall"},
		  "prices": {"A": {"amount": 2000}, "B": {"amount": 1000}}, "plan": ` + markedPlan(edits...) + test.more + `}`
		_, _, err := ParseEvent([]byte(doc))
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s: %v, want %s", test.more, test.to, err, test.want)
		}
	}
	_, notices := markedEvent(t, "", `["companion"]`, `["companion", "companion"]`)
	if len(notices) != 1 || notices[0].Message != "the attribute companion stands twice" {
		t.Errorf("notices %v", notices)
	}
}

func TestAttributesFromATable(t *testing.T) {
	t.Parallel()
	p, _, err := ParseSeats([]byte("section,row,seat,attributes\nA,1,1,aisle  restricted_view\nA,1,2,\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	if m := p.Marks(); len(m) != 1 || m[0] != (SeatMark{"A", "1", "1", Aisle | RestrictedView}) {
		t.Errorf("the marks are %v", m)
	}
	if again, _, err := ParsePlan(p.Document); err != nil || !again.Same(p) {
		t.Errorf("the plan's document is another one: %v", err)
	}
	_, _, err = ParseSeats([]byte("section,row,seat,attributes\nA,1,1,aisle soft\n"), "")
	if err == nil || !strings.Contains(err.Error(), `line 2: the attribute "soft" is not known`) {
		t.Errorf("a word that is not known: %v", err)
	}
}

func TestRevisedPlaces(t *testing.T) {
	t.Parallel()
	revised := func(from, to NewEvent) (Revision, error) {
		l, _, err := Compose(from, counter())
		if err != nil {
			t.Fatal(err)
		}
		return Revise(NewExisting(NewEvent{
			Name: from.Name, StartsAt: from.StartsAt, Venue: from.Venue, Currency: from.Currency, Timezone: from.Timezone, Plan: from.Plan,
			Type: from.Type, Status: from.Status, MaxPerBuyer: from.MaxPerBuyer, SingleSeats: from.SingleSeats,
		}, *l.Offer, l.Tiers), to)
	}
	event := func(more string, edits ...string) NewEvent { e, _ := markedEvent(t, more, edits...); return e }
	area := `, "areas": [{"name": "Floor", "capacity": 2, "price": 500, "entrance": "Yard"}]`
	for _, test := range []struct {
		name     string
		from, to NewEvent
		want     []string
	}{
		{"nothing", event(area), event(area), nil},
		{
			"attributes", event(""), event("", `["aisle"]`, `["aisle", "restricted_view"]`),
			[]string{`plan.Stalls["1"]["1"].attributes: ["aisle"] -> ["restricted_view","aisle"]`},
		},
		{"the plan's entrance", event(""), event("", "Door A", "Door Z"), []string{`sections.Stalls.entrance: "Door A" -> "Door Z"`}},
		{"the document's wins", event(""), event(`, "sections": {"Stalls": {"entrance": "Ramp"}}`), []string{`sections.Stalls.entrance: "Door A" -> "Ramp"`}},
		{"none at all", event(""), event(`, "sections": {"Stalls": {"entrance": null}}`), []string{`sections.Stalls.entrance: "Door A" -> nothing`}},
		{"left out stays", event(`, "sections": {"Stalls": {"entrance": "Ramp"}}`), event(""), nil},
		{"empty takes away", event(`, "sections": {"Stalls": {"entrance": "Ramp"}}`), event(`, "sections": {}`), []string{`sections.Stalls.entrance: "Ramp" -> "Door A"`}},
		{"the area's", event(area), event(strings.Replace(area, "Yard", "Gate", 1)), []string{`sections.Floor.entrance: "Yard" -> "Gate"`}},
		{
			"pictures", event(""), event(`, "images": [{"url": "https://a.example/1.png", "alt": "One", "width": 2, "height": 1}]`),
			[]string{`images: [] -> ["https://a.example/1.png 2×1 One"]`},
		},
	} {
		r, err := revised(test.from, test.to)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var got []string
		for _, d := range r.Changes {
			got = append(got, d.String())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	for want, to := range map[string]NewEvent{
		"which is drawn differently":                   event("", `"x": 75`, `"x": 76`, `["aisle"]`, `[]`),
		`seat "2" has the category "A" instead of "B"`: event("", `"category": "B", "position": {"x": 25, "y": 0}`, `"category": "A", "position": {"x": 25, "y": 0}`),
	} {
		if _, err := revised(event(""), to); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	// Seats that are kept for other people are told apart: they cannot change at any time.
	r, err := revised(event(""), event("", `["aisle"]`, `["aisle", "restricted_view"]`, `"accessible", "aisle"`, `"aisle"`, `["companion"]`, `["accessible"]`))
	want := []SeatMark{{"Balcony", "1", "1", Aisle}, {"Balcony", "1", "2", Accessible}}
	if err != nil || len(r.Changes) != 3 || len(r.Marks) != 3 || !slices.Equal(r.Access, want) {
		t.Errorf("kept for others are %v of %v, %v", r.Access, r.Marks, err)
	}
}

func TestImagesOfAnEvent(t *testing.T) {
	t.Parallel()
	image := func(url, alt string, w, h int) string {
		return fmt.Sprintf(`{"url": %q, "alt": %q, "width": %d, "height": %d}`, url, alt, w, h)
	}
	parse := func(images string) (NewEvent, []Notice, error) {
		d := Defaults{Room: DefaultRoom(), MaxPerBuyer: 6, ImageOrigins: []string{"https://a.example"}}
		return d.ParseEvent([]byte(`{"name": "Seen", "starts_at": "2027-03-01T19:00:00Z", "currency": "EUR", "venue": {"name": "Hall"},
		  "areas": [{"name": "Floor", "capacity": 1, "price": 1}], "images": [` + images + `]}`))
	}
	e, notices, err := parse(strings.Join([]string{
		image("https://a.example/l.jpg", "A hall", 1600, 900), image("https://A.example:443/s.jpg?w=800,c", "A hall", 800, 451),
		image("https://b.example/m.jpg", "A hall", 1200, 675), image("https://a.example/p.jpg", "A poster", 600, 900),
		image("http://127.0.0.1:8080/x.png", "Here", 1, 1),
	}, ","))
	if err != nil {
		t.Fatal(err)
	}
	if len(notices) != 2 || !strings.Contains(notices[0].Message, "https://b.example") || !strings.Contains(notices[1].Message, "http://127.0.0.1:8080") {
		t.Errorf("notices %v", notices)
	}
	shown := Pictures(e.Images, []string{"https://a.example"})
	if len(shown) != 2 || shown[0].Width != 800 || shown[1].Width != 1600 {
		t.Errorf("shown are %v", shown)
	}
	if none := Pictures(e.Images, nil); len(none) != 0 {
		t.Errorf("without origins: %v", none)
	}
	doc, err := e.Document()
	if err != nil {
		t.Fatal(err)
	}
	if again, _, err := ParseEvent(doc); err != nil || !slices.Equal(again.Images, e.Images) {
		t.Errorf("written and read: %v %v", again.Images, err)
	}
	for images, want := range map[string]string{
		image("http://a.example/x.png", "x", 1, 1):                                               "$.images[0].url",
		image("javascript:alert(1)", "x", 1, 1):                                                  "$.images[0].url",
		image("https://u:p@a.example/", "x", 1, 1):                                               "$.images[0].url",
		image("https://a.example/a b", "x", 1, 1):                                                "$.images[0].url",
		image("https://a.example/a,", "x", 1, 1):                                                 "$.images[0].url",
		image(`https://a.example/"`, "x", 1, 1):                                                  "$.images[0].url",
		image("/local.png", "x", 1, 1):                                                           "$.images[0].url",
		image("https://a.example/"+strings.Repeat("x", 2000), "x", 1, 1):                         "$.images[0].url",
		image("https://a.example/x", " ", 1, 1):                                                  "$.images[0].alt",
		image("https://a.example/x", strings.Repeat("x", 301), 1, 1):                             "$.images[0].alt",
		image("https://a.example/x", "x", 0, 1):                                                  "$.images[0].width",
		image("https://a.example/x", "x", 1, 20_001):                                             "$.images[0].height",
		`{"url": "https://a.example/x", "alt": "x", "width": 1}`:                                 "$.images[0]: the height is missing",
		image("https://a.example/x", "x", 1, 1) + "," + image("https://a.example/x", "y", 1, 1):  "$.images[1].url: stands twice",
		strings.TrimSuffix(strings.Repeat(image("https://a.example/x", "x", 1, 1)+",", 13), ","): "$.images: are more than 12",
		`7`: "$.images[0]: an object is expected",
	} {
		if _, _, err := parse(images); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.90s: %v, want %s", images, err, want)
		}
	}
}
