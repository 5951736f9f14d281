package pgstore_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"onsale/catalog"
	"onsale/catalog/pgstore"
	"onsale/internal/fault"
)

// document is an event as it is now, edited.
func document(t *testing.T, store *pgstore.Store, id string, edits ...string) catalog.NewEvent {
	t.Helper()
	doc, err := store.EventDocument(t.Context(), id, true)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.NewReplacer(edits...).Replace(string(doc))
	e, _, err := catalog.ParseEvent([]byte(edited))
	if err != nil {
		t.Fatalf("%v\n%s", err, edited)
	}
	return e
}

func TestRevisedPricesReachAllThatShowThem(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	ctx := t.Context()
	e := hall(t, "Priced", spring)
	e.Status = "draft"
	made, err := store.CreateEvent(ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	now := spring
	cache := catalog.NewCache(store, func() time.Time { return now })
	before, err := cache.Layout(ctx, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, oldVersion, err := cache.PlanView(ctx, made.ID)
	if err != nil {
		t.Fatal(err)
	}

	doc := document(t, store, made.ID, `"amount":5000,"name":"Front"`, `"amount":100,"name":"Cheap front"`, `"capacity":4,"price":3000`, `"capacity":4,"price":3100,"color":"#0a0b0c"`)
	r, err := store.ReviseEvent(ctx, made.ID, doc, pgstore.Revising{HoldsLast: time.Hour, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Changes) != 4 || len(r.Priced) != 2 {
		t.Errorf("changes are %v", r.Changes)
	}
	now = now.Add(2 * time.Second)
	for name, get := range map[string]func(context.Context, string) (*catalog.Layout, error){"this node": cache.Layout, "another": store.Layout} {
		l, err := get(ctx, made.ID)
		if err != nil {
			t.Fatal(err)
		}
		var prices []string
		for o := range l.Seats {
			ticket := l.Ticket(o)
			prices = append(prices, fmt.Sprintf("%s %d", ticket.Tier, ticket.Price.Amount))
			if l.Seats[o] != before.Seats[o] {
				t.Errorf("%s: seat %d moved", name, o)
			}
		}
		if got := strings.Join(prices, ", "); got != "Cheap front 100, Cheap front 100, Cheap front 100, Floor 3100, Floor 3100, Floor 3100, Floor 3100, Back 2000, Back 2000, Back 2000" {
			t.Errorf("%s: %s", name, got)
		}
	}
	cached, version, err := cache.PlanView(ctx, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, stored, err := store.PlanView(ctx, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	if version == oldVersion || version != stored || !strings.Contains(string(cached), `"Cheap front"`) || !strings.Contains(string(cached), "#0a0b0c") {
		t.Errorf("the plan was %s, is %s here and %s there: %s", oldVersion, version, stored, cached)
	}
	page, err := store.Tickets(ctx, catalog.TicketQuery{Event: made.ID, Tier: "Cheap front"})
	if err != nil || len(page.Tickets) != 3 || page.Tickets[0].Price.Amount != 100 {
		t.Errorf("tickets are %+v, %v", page, err)
	}
	var logged string
	if err := pool.QueryRow(ctx, `select actor || detail::text from audit_log where subject = $1 and action = 'event.revise'`, made.ID).Scan(&logged); err != nil ||
		!strings.HasPrefix(logged, "test") || !strings.Contains(logged, "prices.Front.amount") {
		t.Errorf("the audit log says %q, %v", logged, err)
	}
	if r, err = store.ReviseEvent(ctx, made.ID, document(t, store, made.ID), pgstore.Revising{}); err != nil || len(r.Changes) != 0 {
		t.Errorf("as it is: %v, %v", r.Changes, err)
	}
}

func TestPricesWaitForHolds(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	ctx := t.Context()
	made, err := store.CreateEvent(ctx, hall(t, "Held", spring))
	if err != nil {
		t.Fatal(err)
	}
	how := pgstore.Revising{HoldsLast: time.Hour}
	price := func(amount int) error {
		_, err := store.ReviseEvent(ctx, made.ID, document(t, store, made.ID, `"amount":5000`, fmt.Sprintf(`"amount":%d`, amount)), how)
		return err
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(ctx, sql, made.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := price(1); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "on sale") {
		t.Errorf("on sale: %v", err)
	}
	draft := "draft"
	if _, _, err := store.UpdateEvent(ctx, made.ID, catalog.EventPatch{Status: &draft}); err != nil {
		t.Fatal(err)
	}
	if err := price(1); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "prices cannot change before") {
		t.Errorf("just off sale: %v", err)
	}
	exec(`update events set off_sale_at = off_sale_at - interval '61 minutes' where id = $1`)
	exec(`with u as (insert into users (id, visitor) values (gen_random_uuid(), 'v') returning id), o as (
		insert into orders (id, event_id, user_id, visitor, hold_id, status, currency, total_amount, buyer_name, buyer_email, pay_by)
		select gen_random_uuid(), $1, id, 'v', 'h', 'awaiting_payment', 'EUR', 5000, 'A', 'a@example.com', now() from u returning *)
		update tickets t set status = 'reserved', user_id = o.user_id, order_id = o.id, reserved_until = now() + interval '1 minute'
		from o where t.event_id = o.event_id and t.ordinal = 0`)
	if err := price(1); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "1 tickets are in orders") {
		t.Errorf("with an open order: %v", err)
	}
	exec(`update tickets set status = 'available', user_id = null, order_id = null, reserved_until = null where event_id = $1`)
	if err := price(1); err != nil {
		t.Errorf("with nothing open: %v", err)
	}
}

func TestRevisionsAreAllOrNothing(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	ctx := t.Context()
	made, err := store.CreateEvent(ctx, hall(t, "One", spring))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.CreateEvent(ctx, hall(t, "Two", spring)); err != nil {
		t.Fatal(err)
	}
	before, err := store.EventDocument(ctx, made.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	edit := document(t, store, made.ID, `"max_per_buyer":3`, `"max_per_buyer":4`, `"Ada"`, `"Eve"`)
	taken := document(t, store, made.ID, `"name":"One"`, `"name":"Two"`, `"max_per_buyer":3`, `"max_per_buyer":4`)
	if _, err := store.ReviseEvent(ctx, made.ID, taken, pgstore.Revising{}); !fault.Is(err, fault.Conflict) {
		t.Errorf("another event's name: %v", err)
	}
	// The last statement of a revision fails.
	if _, err := pool.Exec(ctx, `create function no() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
		create trigger no before insert on audit_log for each row execute function no()`); err != nil {
		t.Fatal(err)
	}
	if _, err := store.ReviseEvent(ctx, made.ID, edit, pgstore.Revising{}); err == nil {
		t.Error("a revision that cannot be audited was done")
	}
	after, err := store.EventDocument(ctx, made.ID, false)
	if err != nil || string(after) != string(before) {
		t.Errorf("%v, was\n%s\nis\n%s", err, before, after)
	}
	if _, err := pool.Exec(ctx, `drop trigger no on audit_log`); err != nil {
		t.Fatal(err)
	}
	if r, err := store.ReviseEvent(ctx, made.ID, edit, pgstore.Revising{}); err != nil || len(r.Changes) != 2 {
		t.Errorf("the same revision afterwards: %v, %v", r.Changes, err)
	}
}

func TestSeatsCannotBeRevised(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	made, err := store.CreateEvent(ctx, hall(t, "Seats", spring))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ from, to, want string }{
		{`"seat_number":"3"`, `"seat_number":"9"`, `section "Front" row "A" seat "3" is missing`},
		{`"x": `, `"x":  `, ""},
		{`"city":"Köln"`, `"city":"Bonn"`, `$.venue: is "Hall" in "Köln"`},
		{`"name":"Floor","capacity":4`, `"name":"Floor","capacity":3`, "$.areas[0].capacity: is 4; places cannot be taken away"},
		{`"name":"Floor","capacity":4`, `"name":"Grass","capacity":4`, `$.areas[0]: the event has no area "Grass"`},
		{`"currency":"EUR"`, `"currency":"CHF"`, "$.currency: is EUR"},
	} {
		doc, err := store.EventDocument(ctx, made.ID, true)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(strings.ReplaceAll(string(doc), `"seat_number": "`, `"seat_number":"`), test.from, test.to)
		e, _, err := catalog.ParseEvent([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		r, err := store.ReviseEvent(ctx, made.ID, e, pgstore.Revising{})
		switch {
		case test.want == "" && (err != nil || len(r.Changes) > 0):
			t.Errorf("unchanged: %v, %v", r.Changes, err)
		case test.want != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s -> %s: %v", test.from, test.to, err)
		}
	}
}
