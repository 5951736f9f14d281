package catalog

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"onsale/internal/fault"
)

const wholeEvent = `{
  "name": "Gala", "type": "theatre", "description": "One\nnight.", "status": "draft",
  "starts_at": "2027-03-28T19:00", "doors_at": "2027-03-28T16:30:00Z", "timezone": "Europe/Berlin",
  "venue": {"name": "House", "address": "Street 1", "city": "Köln", "country": "DE"},
  "artists": ["One", "Two"], "currency": "EUR", "max_per_buyer": 4,
  "plan": ` + smallPlan + `,
  "prices": {"B": {"amount": 1500}, "A": {"amount": 9900, "name": "Best", "type": "vip", "color": "#123456"}},
  "areas": [{"name": "Floor", "capacity": 20, "price": 800, "position": {"x": 0, "y": 100, "width": 50, "height": 60}}],
  "room": {"opens_at": "2027-01-02T10:00", "rate_per_minute": 60, "burst": 5, "max_shoppers": 7, "lease_s": 120,
           "claim_window_s": 30, "message": "Soon"}}`

func TestParseEventReadsAll(t *testing.T) {
	t.Parallel()
	e, notices, err := ParseEvent([]byte(wholeEvent))
	if err != nil {
		t.Fatal(err)
	}
	if len(notices) != 0 {
		t.Errorf("notices: %v", notices)
	}
	// The night before, clocks went forward: 19:00 is 17:00 UTC.
	if !e.StartsAt.Equal(time.Date(2027, 3, 28, 17, 0, 0, 0, time.UTC)) || !e.DoorsAt.Equal(time.Date(2027, 3, 28, 16, 30, 0, 0, time.UTC)) {
		t.Errorf("starts at %v, doors at %v", e.StartsAt, e.DoorsAt)
	}
	if e.Name != "Gala" || e.Type != "theatre" || e.Status != "draft" || e.MaxPerBuyer != 4 || e.Venue.City != "Köln" || len(e.Artists) != 2 {
		t.Errorf("got %+v", e)
	}
	if len(e.Prices) != 2 || e.Prices[0] != (Price{"B", "B", "standard", "", 1500}) || e.Prices[1] != (Price{"A", "Best", "vip", "#123456", 9900}) {
		t.Errorf("prices are %+v", e.Prices)
	}
	if a := e.Areas[0]; a.Name != "Floor" || a.Capacity != 20 || a.Amount != 800 || a.Type != "standing" || *a.Position != (Position{0, 100, 50, 60}) {
		t.Errorf("area is %+v", a)
	}
	r := e.Room
	if r.State != "scheduled" || !r.OpensAt.Equal(time.Date(2027, 1, 2, 9, 0, 0, 0, time.UTC)) || r.RatePerMinute != 60 || r.Burst != 5 ||
		r.MaxShoppers != 7 || r.Lease != 2*time.Minute || r.ClaimWindow != 30*time.Second || r.Message != "Soon" {
		t.Errorf("room is %+v", r)
	}
	l, view, err := Compose(e, counter())
	if err != nil {
		t.Fatal(err)
	}
	checkLayout(t, l)
	checkView(t, l, view)
}

func TestParseEventNamesEveryProblem(t *testing.T) {
	t.Parallel()
	_, _, err := ParseEvent([]byte(`{
	  "colour_of_curtain": "x", "name": "", "type": "Big Show", "status": "maybe", "starts_at": "tomorrow", "timezone": "Mars/Base",
	  "venue": {"name": "v", "country": "Germany", "zip": 1}, "artists": ["a", "a", 5, []], "currency": "euro", "max_per_buyer": 0,
	  "plan": {"name": "p", "zones": [{"name": "S", "rows": [{"row_number": "1", "seats": [
	     {"seat_number": "1", "seat_guid": "1", "category": "A"}, {"seat_number": "2", "seat_guid": "2", "category": "B"},
	     {"seat_number": "3", "seat_guid": "3", "category": "B"}]}]}]},
	  "prices": {"A": {"amount": -1}, "C": {"amount": 1.5, "type": "!", "color": "red"}, "D": 5},
	  "areas": [{"name": "S", "capacity": 0}, {"name": "T", "capacity": 2, "price": 3, "position": {"x": 0, "y": 0}}],
	  "room": {"state": "ajar", "lease_s": 1, "burst": "many"}}`))
	wantLines(t, problemsOf(t, err),
		`$.colour_of_curtain: the key "colour_of_curtain" is not known`,
		`$.starts_at: is not a time`,
		`$.venue.zip: the key "zip" is not known`,
		`$.artists[3]: a string is expected, not an array`,
		`$.max_per_buyer: must be a whole number from 1 to 100`,
		`$.prices.A.amount: must be a whole number from 0`,
		`$.prices.C.amount: must be a whole number from 0`,
		`$.prices.D: an object is expected, not a number`,
		`$.areas[0]: the price is missing`,
		`$.areas[0].capacity: must be a whole number`,
		`$.room.burst: a whole number is expected, not a string`,
		`$.room.lease_s: must be a whole number from 10`,
		`$.name: is missing`,
		`$.type: must be a lower-case word`,
		`$.status: must be one of`,
		`$.timezone: is not a known time zone`,
		`$.venue.country: must be two capital letters`,
		`$.artists[1]: "a" is named twice`,
		`$.currency: must be three capital letters`,
		`$.prices.C.type: must be a lower-case word`,
		`$.prices.C.color: must be of the form`,
		`$.areas[0].name: there is another section called "S"`,
		`$.areas[1].position: must be a rectangle`,
		`$.prices: 2 seats have the category "B", which has no price; the first is at $.plan.zones[0].rows[0].seats[1]`,
		`$.prices.C: the plan has no such category`,
		`$.room.state: must be one of`,
	)
}

func TestParseEventGenerates(t *testing.T) {
	t.Parallel()
	e, _, err := ParseEvent([]byte(`{"name": "n", "starts_at": "2027-01-01T10:00:00Z", "venue": {"name": "v"}, "currency": "EUR",
	  "generate": {"kind": "rows", "name": "School hall", "sections": [
	    {"name": "Parkett", "rows": 30, "seats_per_row": 12, "category": "One"}, {"rows": 2, "seats_per_row": 3}]},
	  "prices": {"One": {"amount": 100}, "Block 2": {"amount": 50}}}`))
	if err != nil {
		t.Fatal(err)
	}
	l, view, err := Compose(e, counter())
	if err != nil {
		t.Fatal(err)
	}
	checkLayout(t, l)
	checkView(t, l, view)
	if len(l.Seats) != 366 || len(l.Runs) != 32 || l.Seats[0].Row != "A" || l.Seats[24*12].Row != "AA" || !strings.Contains(string(view), `"Stage"`) {
		t.Errorf("got %d seats in %d runs; rows %q … %q", len(l.Seats), len(l.Runs), l.Seats[0].Row, l.Seats[24*12].Row)
	}
	for doc, want := range map[string]string{
		`{"kind": "circle", "sections": [{"rows": 1, "seats_per_row": 1}]}`:                                                          "kind must be rows",
		`{"kind": "rows", "sections": []}`:                                                                                           "from 1 to 64 sections",
		`{"kind": "rows", "sections": [{"rows": 1000, "seats_per_row": 1000}]}`:                                                      "more than 250000 seats",
		`{"kind": "rows", "sections": [{"seats_per_row": 1}]}`:                                                                       "rows is missing",
		`{"kind": "rows", "sections": [{"name": "a", "rows": 1, "seats_per_row": 1}, {"name": "a", "rows": 1, "seats_per_row": 1}]}`: "seat_guid",
	} {
		_, _, err := ParseEvent([]byte(`{"name": "n", "starts_at": "2027-01-01T10:00:00Z", "venue": {"name": "v"}, "currency": "EUR", "generate": ` + doc + `}`))
		if !fault.Is(err, fault.Invalid) || !strings.Contains(strings.Join(problemsOf(t, err), "\n"), want) {
			t.Errorf("%s: got %v, want it to say %q", doc, err, want)
		}
	}
}

func TestParseEventWantsSomethingToSell(t *testing.T) {
	t.Parallel()
	base := `"name": "n", "starts_at": "2027-01-01T10:00:00Z", "venue": {"name": "v"}, "currency": "EUR"`
	for doc, want := range map[string]string{
		`{` + base + `}`: "nothing to sell",
		`{` + base + `, "prices": {"A": {"amount": 1}}}`:     "no plan that these prices belong to",
		`{` + base + `, "plan": {"zones": []}}`:              "nothing to sell",
		`{` + base + `, "plan": "x", "generate": {}}`:        "either a plan or generated seats",
		`{` + base + `, "doors_at": "2027-01-01T11:00:00Z"}`: "after starts_at",
		`[1]`: "an object is expected",
		`{` + base + `, "room": {"state": "scheduled"}, "plan": "x"}`: "opens_at: is missing",
	} {
		_, _, err := ParseEvent([]byte(doc))
		if !fault.Is(err, fault.Invalid) || !strings.Contains(strings.Join(problemsOf(t, err), "\n"), want) {
			t.Errorf("%s: got %v, want it to say %q", doc, err, want)
		}
	}
	e, _, err := ParseEvent([]byte(`{` + base + `, "plan": "Somewhere"}`))
	if err != nil || e.PlanRef != "Somewhere" {
		t.Fatalf("a plan by name: %q, %v", e.PlanRef, err)
	}
	if _, _, err := Compose(e, counter()); !fault.Is(err, fault.Invalid) {
		t.Errorf("composing without looking the plan up: %v", err)
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(wholeEvent))
	f.Add([]byte(`{"generate": {"kind": "rows", "sections": [{"rows": 2, "seats_per_row": 2}]}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		e, _, err := ParseEvent(doc)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("an error that is not fault.Invalid: %v", err)
			}
			return
		}
		if e.PlanRef != "" {
			return
		}
		l, view, err := Compose(e, counter())
		if err != nil {
			t.Fatalf("an accepted event cannot be laid out: %v", err)
		}
		checkLayout(t, l)
		checkView(t, l, view)
		if !json.Valid(view) {
			t.Fatal("the view is not JSON")
		}
	})
}
