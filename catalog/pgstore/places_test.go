package pgstore_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"onsale/catalog"
	"onsale/catalog/pgstore"
	"onsale/internal/fault"
)

const placesDoc = `{"name": %q, "starts_at": "2027-04-01T18:00:00Z", "currency": "EUR", "venue": {"name": "Marked hall", "city": "Köln"},
  "prices": {"A": {"amount": 2000}},
  "images": [{"url": "https://images.example/1.png", "alt": "The hall", "width": 800, "height": 450}],
  "areas": [{"name": "Floor", "capacity": 2, "price": 500, "entrance": "Yard"}],
  "plan": {"name": "Marked", "size": {"width": 400, "height": 200}, "categories": [{"name": "A"}], "zones": [
    {"name": "Stalls", "entrance": "Door A", "position": {"x": 50, "y": 50}, "rows": [{"row_number": "1", "seats": [
      {"seat_guid": "1", "seat_number": "1", "category": "A", "position": {"x": 0, "y": 0}, "attributes": ["aisle"]},
      {"seat_guid": "2", "seat_number": "2", "category": "A", "position": {"x": 25, "y": 0}},
      {"seat_guid": "3", "seat_number": "3", "category": "A", "position": {"x": 50, "y": 0}, "attributes": ["accessible"]}]}]}]}}`

func places(t *testing.T, name string, edits ...string) catalog.NewEvent {
	t.Helper()
	e, _, err := catalog.ParseEvent([]byte(strings.NewReplacer(edits...).Replace(fmt.Sprintf(placesDoc, name))))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// said is what tickets say of their places.
func said(tickets []catalog.Ticket) (all []string) {
	for _, ticket := range tickets {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", ticket.Seat, ticket.Entrance, ticket.Attributes.Words())))
	}
	return all
}

func TestPlacesReadBack(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	e, err := store.CreateEvent(ctx, places(t, "Marked"))
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Images) != 1 || e.Images[0] != (catalog.Image{URL: "https://images.example/1.png", Alt: "The hall", Width: 800, Height: 450}) {
		t.Errorf("the pictures are %v", e.Images)
	}
	want := []string{"1 Door A aisle", "2 Door A", "3 Door A accessible", "Yard", "Yard"}
	page, err := store.Tickets(ctx, catalog.TicketQuery{Event: e.ID})
	if err != nil || !slices.Equal(said(page.Tickets), want) {
		t.Errorf("listed %q, %v", said(page.Tickets), err)
	}
	l, err := store.Layout(ctx, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	var laid []catalog.Ticket
	for o := range l.Seats {
		laid = append(laid, l.Ticket(o))
	}
	if !slices.Equal(said(laid), want) {
		t.Errorf("laid out %q", said(laid))
	}
	for attribute, want := range map[string]int{"": 5, "aisle": 1, "accessible": 1, "companion": 0} {
		page, err := store.Tickets(ctx, catalog.TicketQuery{Event: e.ID, Attribute: attribute})
		if err != nil || len(page.Tickets) != want {
			t.Errorf("%q: %d tickets, %v", attribute, len(page.Tickets), err)
		}
	}
	if _, err := store.Tickets(ctx, catalog.TicketQuery{Event: e.ID, Attribute: "soft"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("an attribute that is not there: %v", err)
	}
	// The document says all of it again, and nothing else.
	doc, err := store.EventDocument(ctx, e.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := catalog.ParseEvent(doc)
	if err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	r, err := store.ReviseEvent(ctx, e.ID, again, pgstore.Revising{Actor: "test"})
	if err != nil || len(r.Changes) != 0 {
		t.Errorf("its own document changes %v, %v", r.Changes, err)
	}
}

func TestRevisedPlacesReachAllThatShowThem(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	e, err := store.CreateEvent(ctx, places(t, "Revised places"))
	if err != nil {
		t.Fatal(err)
	}
	now := spring
	cache := catalog.NewCache(store, func() time.Time { return now })
	if _, err := cache.Layout(ctx, e.ID); err != nil {
		t.Fatal(err)
	}
	_, before, err := cache.PlanView(ctx, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	to := places(t, "Revised places", "Door A", "Door B", `["aisle"]`, `["aisle", "restricted_view"]`, "Yard", "Gate", `"url": "https://images.example/1.png"`, `"url": "https://images.example/2.png"`)
	r, err := store.ReviseEvent(ctx, e.ID, to, pgstore.Revising{Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Changes) != 4 {
		t.Errorf("the changes are %v", r.Changes)
	}
	now = now.Add(2 * time.Second)
	want := []string{"1 Door B restricted view, aisle", "2 Door B", "3 Door B accessible", "Gate", "Gate"}
	l, err := cache.Layout(ctx, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	var laid []catalog.Ticket
	for o := range l.Seats {
		laid = append(laid, l.Ticket(o))
	}
	page, err := store.Tickets(ctx, catalog.TicketQuery{Event: e.ID})
	if err != nil || !slices.Equal(said(page.Tickets), want) || !slices.Equal(said(laid), want) {
		t.Errorf("listed %q, laid out %q, %v", said(page.Tickets), said(laid), err)
	}
	view, version, err := cache.PlanView(ctx, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"attributes":[0,1,12,2,1,1]`, `"entrance":"Door B"`, `"entrance":"Gate"`} {
		if !bytes.Contains(bytes.ReplaceAll(view, []byte(" "), nil), bytes.ReplaceAll([]byte(part), []byte(" "), nil)) {
			t.Errorf("the drawn plan lacks %s: %s", part, view)
		}
	}
	if version == before {
		t.Error("the drawn plan has the version of before")
	}
	if stored, other, err := store.PlanView(ctx, e.ID); err != nil || other != version {
		t.Errorf("stored is the version %s of %s, %v", other, stored, err)
	}
	// The event has the plan that says so: importing it again changes nothing.
	if r, err := store.ReviseEvent(ctx, e.ID, to, pgstore.Revising{Actor: "test"}); err != nil || len(r.Changes) != 0 {
		t.Errorf("again: %v, %v", r.Changes, err)
	}
	// A second revision counts on.
	if _, err := store.ReviseEvent(ctx, e.ID, places(t, "Revised places", "Door A", "Door D"), pgstore.Revising{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	if l, err = cache.Layout(ctx, e.ID); err != nil || l.Revision != 2 || l.Sections[0].Entrance != "Door D" || l.Seats[0].Attributes != catalog.Aisle {
		t.Errorf("the layout has revision %d and %+v, %v", l.Revision, l.Sections[0], err)
	}
}

func TestPatchedImages(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	e, err := store.CreateEvent(ctx, places(t, "Pictured"))
	if err != nil {
		t.Fatal(err)
	}
	name := "Renamed"
	if e, _, err = store.UpdateEvent(ctx, e.ID, catalog.EventPatch{Name: &name}); err != nil || len(e.Images) != 1 {
		t.Errorf("a patch of the name leaves %v, %v", e.Images, err)
	}
	none := []catalog.Image{}
	if e, _, err = store.UpdateEvent(ctx, e.ID, catalog.EventPatch{Images: &none}); err != nil || len(e.Images) != 0 {
		t.Errorf("taken away are %v, %v", e.Images, err)
	}
	bad := []catalog.Image{{URL: "http://images.example/1.png", Alt: "x", Width: 1, Height: 1}}
	if _, _, err = store.UpdateEvent(ctx, e.ID, catalog.EventPatch{Images: &bad}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a picture over http: %v", err)
	}
}

// TestAccessWaitsForHolds: which seats are kept for some people changes when nobody can
// have one of them on hold, and not before.
func TestAccessWaitsForHolds(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	ctx := t.Context()
	e, err := store.CreateEvent(ctx, places(t, "Kept"))
	if err != nil {
		t.Fatal(err)
	}
	to := places(t, "Kept", `["accessible"]`, `["companion"]`)
	revise := func(doc catalog.NewEvent, dry bool) (catalog.Revision, error) {
		return store.ReviseEvent(ctx, e.ID, doc, pgstore.Revising{HoldsLast: time.Hour, DryRun: dry, Actor: "test"})
	}
	refused := func(when, want string) {
		t.Helper()
		for _, dry := range []bool{true, false} {
			if _, err := revise(to, dry); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s (dry %t): %v", when, dry, err)
			}
		}
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(ctx, sql, e.ID); err != nil {
			t.Fatal(err)
		}
	}
	refused("on sale", "which seats are accessible or for companions cannot change while the event is on sale")
	if _, err := revise(places(t, "Kept", `["aisle"]`, `["restricted_view"]`), false); err != nil {
		t.Errorf("what keeps a seat for nobody, on sale: %v", err)
	}
	draft := "draft"
	if _, _, err := store.UpdateEvent(ctx, e.ID, catalog.EventPatch{Status: &draft}); err != nil {
		t.Fatal(err)
	}
	refused("just off sale", "which seats are accessible or for companions cannot change before")
	exec(`update events set off_sale_at = off_sale_at - interval '61 minutes' where id = $1`)
	exec(`with u as (insert into users (id, visitor) values (gen_random_uuid(), 'v') returning id), o as (
		insert into orders (id, event_id, user_id, visitor, hold_id, status, currency, total_amount, buyer_name, buyer_email, pay_by)
		select gen_random_uuid(), $1, id, 'v', 'h', 'awaiting_payment', 'EUR', 2000, 'A', 'a@example.com', now() from u returning *)
		update tickets t set status = 'reserved', user_id = o.user_id, order_id = o.id, reserved_until = now() + interval '1 minute'
		from o where t.event_id = o.event_id and t.ordinal = 2`)
	refused("with an open order", "1 of them are in orders that wait for their payment")
	exec(`update tickets set status = 'purchased', reserved_until = null where event_id = $1 and order_id is not null`)
	r, err := revise(to, false)
	if err != nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "1 of the seats") {
		t.Errorf("with a sold one: %v, %v", r.Notes, err)
	}
	page, err := store.Tickets(ctx, catalog.TicketQuery{Event: e.ID})
	if want := []string{"1 Door A aisle", "2 Door A", "3 Door A companion", "Yard", "Yard"}; err != nil || !slices.Equal(said(page.Tickets), want) {
		t.Errorf("the seats are %q, %v", said(page.Tickets), err)
	}
	if r, err := revise(to, false); err != nil || len(r.Changes) != 0 {
		t.Errorf("again: %v, %v", r.Changes, err)
	}
}
