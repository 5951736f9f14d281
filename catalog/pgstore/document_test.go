package pgstore_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"onsale/catalog"
	"onsale/internal/fault"
)

// text is what people could write, the awkward included.
var text = rapid.OneOf(
	rapid.SampledFrom([]string{"yes", "null", "2027-01-01", "0x1f", "1e3", "<<", "- a", "a: b", "# no", "\"", "'", "{x}", "&a", "*a", "Ö\u2028ñ\U0001f3ad", "~", "a\tb"}),
	rapid.StringMatching(`[A-Za-zéß][A-Za-z0-9 .,:'"<>&#-]{0,18}[A-Za-z0-9]`),
)

// anyDocument draws an event document that can be sold.
func anyDocument(t *rapid.T, name string) []byte {
	moment := func(label string) string {
		at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 500_000).Draw(t, label)) * time.Minute)
		return at.Format(time.RFC3339)
	}
	amount := rapid.Int64Range(0, 1_000_000)
	doc := map[string]any{
		"name": name, "type": rapid.SampledFrom([]string{"concert", "theatre"}).Draw(t, "type"),
		"status":    rapid.SampledFrom([]string{"draft", "on_sale", "postponed"}).Draw(t, "status"),
		"starts_at": moment("starts"), "timezone": rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "Asia/Kathmandu"}).Draw(t, "zone"),
		"venue":         map[string]any{"name": name + text.Draw(t, "venue"), "city": text.Draw(t, "city"), "address": text.Draw(t, "address"), "country": "DE"},
		"currency":      rapid.SampledFrom([]string{"EUR", "JPY", "KWD"}).Draw(t, "currency"),
		"artists":       rapid.SliceOfNDistinct(text, 0, 4, rapid.ID[string]).Draw(t, "artists"),
		"max_per_buyer": rapid.IntRange(1, 100).Draw(t, "max"), "rotating_codes": rapid.Bool().Draw(t, "rotating"),
		"single_seats": rapid.SampledFrom([]string{"allow", "avoid", "refuse"}).Draw(t, "singles"),
		"fees":         map[string]any{"per_ticket": amount.Draw(t, "fee"), "per_order": amount.Draw(t, "fees")},
	}
	if rapid.Bool().Draw(t, "described") {
		doc["description"] = text.Draw(t, "line 1") + "\n\n  " + text.Draw(t, "line 2")
	}
	if rapid.Bool().Draw(t, "taxed") {
		doc["tax"] = map[string]any{"name": text.Draw(t, "tax"), "percent": fmt.Sprintf("%d.%03d", rapid.IntRange(0, 99).Draw(t, "whole"),
			rapid.IntRange(0, 999).Draw(t, "part")), "included": rapid.Bool().Draw(t, "included")}
	}
	if rapid.Bool().Draw(t, "cancels") {
		doc["cancellation"] = map[string]any{"until_hours": rapid.IntRange(0, 8760).Draw(t, "hours"), "keep_fees": rapid.Bool().Draw(t, "keeps")}
	}
	part := func(label string, amountKey string) map[string]any {
		p := map[string]any{amountKey: rapid.SampledFrom([]int64{0, 100, 100, 2500, 1_000_000_000_000}).Draw(t, label)}
		if rapid.Bool().Draw(t, label+" typed") {
			p["type"] = rapid.SampledFrom([]string{"vip", "accessible"}).Draw(t, label+" type")
		}
		if rapid.Bool().Draw(t, label+" coloured") {
			p["color"] = rapid.SampledFrom([]string{"#123456", "#FFF"}).Draw(t, label+" color")
		}
		return p
	}
	var zones, categories []any
	prices := map[string]any{}
	for i, category := range rapid.SliceOfNDistinct(text, 0, 4, rapid.ID[string]).Draw(t, "categories") {
		categories = append(categories, map[string]any{"name": category})
		prices[category] = part("price", "amount")
		if rapid.Bool().Draw(t, "named") {
			prices[category].(map[string]any)["name"] = text.Draw(t, "tier")
		}
		var seats []any
		for s := range rapid.IntRange(0, 3).Draw(t, "seats") {
			seats = append(seats, map[string]any{"seat_number": fmt.Sprint(s + 1), "seat_guid": fmt.Sprintf("%d-%d", i, s),
				"category": category, "position": map[string]any{"x": 30 * s, "y": -20 * i}})
		}
		zones = append(zones, map[string]any{"name": fmt.Sprintf("Zone %d", i/2), "position": map[string]any{"x": 0, "y": 0},
			"rows": []any{map[string]any{"row_number": fmt.Sprint(i), "seats": seats}}})
	}
	var areas []any
	for i := range rapid.IntRange(0, 3).Draw(t, "areas") {
		a := part("area", "price")
		a["name"], a["capacity"] = fmt.Sprintf("Area %d", i), rapid.IntRange(1, 5).Draw(t, "capacity")
		if rapid.Bool().Draw(t, "placed") {
			a["position"] = map[string]any{"x": rapid.IntRange(-50, 50).Draw(t, "x"), "y": 0.5, "width": 10, "height": 20}
		}
		areas = append(areas, a)
	}
	if len(categories) > 0 {
		doc["plan"] = map[string]any{"name": text.Draw(t, "plan"), "categories": categories, "zones": zones}
		doc["prices"] = prices
	}
	if len(areas) > 0 {
		doc["areas"] = areas
	}
	room := map[string]any{"rate_per_minute": rapid.IntRange(1, 1000).Draw(t, "rate"), "message": text.Draw(t, "message"),
		"order": rapid.SampledFrom([]string{"fifo", "random"}).Draw(t, "order"), "grace_s": rapid.IntRange(1, 100).Draw(t, "grace"),
		"invite_only": rapid.Bool().Draw(t, "invited")}
	if rapid.Bool().Draw(t, "later") {
		room["opens_at"] = moment("opens")
	}
	doc["room"] = room
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestWhatWasImportedIsExported: the document that is written creates the same
// event as the one it was created from.
func TestWhatWasImportedIsExported(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	ctx, n := t.Context(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		doc := anyDocument(t, fmt.Sprintf("Night %d", n))
		e, _, err := catalog.ParseEvent(doc)
		if err != nil {
			t.Skipf("the random document is not a valid one, so there is nothing to export: %v", err)
		}
		created, err := store.CreateEvent(ctx, e)
		if fault.Is(err, fault.Invalid) {
			t.Skipf("the random document has nothing to sell, so there is nothing to export: %v", err)
		} else if err != nil {
			t.Fatal(err)
		}
		for _, withPlan := range []bool{true, false} {
			out, err := store.EventDocument(ctx, created.ID, withPlan)
			if err != nil {
				t.Fatal(err)
			}
			back, _, err := catalog.ParseEvent(out)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if back.ID != created.ID {
				t.Fatalf("the id is %q", back.ID)
			}
			if withPlan && e.Plan != nil && !back.Plan.Same(e.Plan) {
				t.Fatalf("the plan reads differently:\n%s\n%s", e.Plan.Document, back.Plan.Document)
			}
			if want, got := essence(e), essence(back); want != got {
				t.Fatalf("imported\n%s\nexported\n%s", want, got)
			}
		}
		// An event of before offers were kept loses where its areas were put, what is
		// said of categories without seats, and which colours were chosen for it.
		if _, err := pool.Exec(ctx, `update events set offer = null where id = $1`, created.ID); err != nil {
			t.Fatal(err)
		}
		out, err := store.EventDocument(ctx, created.ID, true)
		if err != nil {
			t.Fatal(err)
		}
		old, _, err := catalog.ParseEvent(out)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		first, _, err := catalog.Compose(e, counting())
		if err != nil {
			t.Fatal(err)
		}
		old.ID = ""
		second, _, err := catalog.Compose(old, counting())
		if err != nil {
			t.Fatal(err)
		}
		if first.Offer, second.Offer = nil, nil; !reflect.DeepEqual(first, second) {
			t.Fatalf("laid out\n%+v\nnow\n%+v", first, second)
		}
	})
}

func counting() func() string {
	n := 0
	return func() string { n++; return fmt.Sprintf("%09d", n) }
}

// essence is all of an event but its id and its plan, whose prices have an order
// of their own.
func essence(e catalog.NewEvent) string {
	e.ID, e.Plan, e.PlanRef = "", nil, ""
	e.Artists = append([]string{}, e.Artists...)
	out, err := e.Document()
	if err != nil {
		return err.Error()
	}
	var v any
	if err := json.Unmarshal(out, &v); err != nil {
		return err.Error()
	}
	sorted, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(sorted)
}
