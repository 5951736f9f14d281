package pgstore_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"onsale/catalog/pgstore"
	"onsale/internal/stack/stacktest"
)

// Orders of before money had fees, taxes and refunds in parts: one in each state.
const ordersOfBefore = `
insert into venues (id, name) values (gen_random_uuid(), 'Hall');
insert into events (id, venue_id, name, type, starts_at, currency, max_per_buyer, plan_view)
	select gen_random_uuid(), id, 'Night', 'concert', now() + interval '1 day', 'EUR', 2, '{}' from venues;
insert into sections (id, event_id, name, kind, position, first_ordinal, tickets, runs) select gen_random_uuid(), id, 'Floor', 'ga', 0, 0, 9, '{0}' from events;
insert into price_tiers (id, event_id, name, type, amount, position, tickets) select gen_random_uuid(), id, 'Floor', 'standing', 2000, 0, 9 from events;
insert into users (id, visitor) values (gen_random_uuid(), 'v');
with states as (
	select n, status, payment, refund from (values
		(0, 'awaiting_payment', null, null), (1, 'payment_unknown', 'pending', null), (2, 'declined', 'declined', null),
		(3, 'paid', 'authorised', null), (4, 'fulfilled', 'captured', null), (5, 'expired', 'voiding', null),
		(6, 'cancelled', 'voided', null), (7, 'refunded', 'refunding', 'pending'), (8, 'refunded', 'refunded', 'done')
	) s (n, status, payment, refund)
), o as (
	insert into orders (id, event_id, user_id, visitor, hold_id, status, currency, total_amount, buyer_name, buyer_email, pay_by)
	select gen_random_uuid(), e.id, u.id, 'v', 'h' || n, states.status, 'EUR', 2000, 'Ada Example', 'ada@example.com', now()
	from states, events e, users u returning *
), t as (
	insert into tickets (id, event_id, ordinal, section_id, tier_id, price_amount, status, user_id, order_id)
	select gen_random_uuid(), o.event_id, n, s.id, p.id, 2000, case when sold then 'purchased' else 'available' end,
		case when sold then o.user_id end, case when sold then o.id end
	from states join o on o.hold_id = 'h' || n, sections s, price_tiers p, lateral (select o.status in ('paid', 'fulfilled')) as y (sold)
	returning *
), i as (
	insert into order_items (order_id, ticket_id, price_amount, sold, code)
	select o.id, t.id, 2000, o.status in ('paid', 'fulfilled'), case o.status when 'fulfilled' then 'NAQ7GWCR4GBOYCPK' end
	from o join t on o.hold_id = 'h' || ordinal
), p as (
	insert into payments (id, order_id, attempt, gateway, method, status, amount, currency)
	select gen_random_uuid(), o.id, 1, 'sandbox', 'tok_ok', payment, 2000, 'EUR'
	from states join o on o.hold_id = 'h' || n where payment is not null returning *
)
insert into refunds (id, order_id, payment_id, amount, status)
	select gen_random_uuid(), o.id, p.id, 2000, refund
	from states join o on o.hold_id = 'h' || n join p on p.order_id = o.id where refund is not null;
insert into river_job (kind, args, state, max_attempts, queue)
	values ('settle_payment', '{"payment": "p"}', 'available', 25, 'default'), ('refund_payment', '{"payment": "p"}', 'available', 25, 'default'),
		('capture_payment', '{"payment": "p"}', 'available', 25, 'default');
`

func TestOrdersOfBeforeAreMigrated(t *testing.T) {
	t.Parallel()
	databaseURL := stacktest.Database(t, func(ctx context.Context, databaseURL string) error {
		return pgstore.MigrateTo(ctx, databaseURL, 4)
	})
	pool := connect(t, databaseURL)
	ctx := t.Context()
	if _, err := pool.Exec(ctx, ordersOfBefore); err != nil {
		t.Fatal(err)
	}
	if err := migrate(ctx, databaseURL); err != nil {
		t.Fatal(err)
	}
	rows, err := pool.Query(ctx, `
		select concat_ws('/', o.status, o.refunded_amount, i.total_amount, i.returned_at is not null, p.status, p.refunded_amount,
			p.look_at is not null, r.status, r.look_at is not null, a.code)
		from orders o join order_items i on i.order_id = o.id
			left join payments p on p.order_id = o.id left join refunds r on r.order_id = o.id left join admissions a on a.order_id = o.id
		order by o.hold_id`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	// Each: order, refunded, item's total, whether it was returned; payment, refunded,
	// whether it is due; refund, whether that is due; code.
	want := []string{
		"awaiting_payment/0/2000/f/f/f",
		"payment_unknown/0/2000/f/pending/0/t/f",
		"declined/0/2000/f/declined/0/f/f",
		"paid/0/2000/f/authorised/0/t/f",
		"fulfilled/0/2000/f/captured/0/f/f/NAQ7-GWCR-4GBO-YCPK",
		"expired/0/2000/f/voiding/0/t/f",
		"cancelled/0/2000/f/voided/0/f/f",
		"refunded/2000/2000/t/captured/2000/f/pending/t",
		"refunded/2000/2000/t/refunded/2000/f/done/f",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", lines(got), lines(want))
	}
	var jobs []string
	if err := pool.QueryRow(ctx, `select array_agg(kind::text) from river_job`).Scan(&jobs); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(jobs, []string{"capture_payment"}) {
		t.Errorf("jobs %q are left", jobs)
	}
}

func lines(all []string) (s string) {
	for _, one := range all {
		s += fmt.Sprintln(one)
	}
	return s
}

// TestEventsOfBeforeAreFound migrates events that were there before the search.
func TestEventsOfBeforeAreFound(t *testing.T) {
	t.Parallel()
	databaseURL := stacktest.Database(t, func(ctx context.Context, databaseURL string) error {
		return pgstore.MigrateTo(ctx, databaseURL, 4)
	})
	pool := connect(t, databaseURL)
	ctx := t.Context()
	if _, err := pool.Exec(ctx, ordersOfBefore); err != nil {
		t.Fatal(err)
	}
	if err := migrate(ctx, databaseURL); err != nil {
		t.Fatal(err)
	}
	if got := names(t, pgstore.New(pool, nil), "nihgt", false); got != "Night" {
		t.Errorf("found %q", got)
	}
}

// TestAMissingExtensionIsNamed migrates as somebody who may not create it.
func TestAMissingExtensionIsNamed(t *testing.T) {
	t.Parallel()
	databaseURL := stacktest.Database(t, nil)
	pool := connect(t, databaseURL)
	role := "onsale_" + strings.ToLower(rand.Text()[:12])
	run := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(context.WithoutCancel(t.Context()), sql); err != nil {
			t.Error(err)
		}
	}
	run(`create role ` + role + ` login password 'p'; grant all on schema public to ` + role)
	t.Cleanup(func() { run(`drop owned by ` + role + ` cascade; drop role ` + role) })
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "p")
	if err := migrate(t.Context(), u.String()); err == nil || !strings.Contains(err.Error(), "CREATE EXTENSION pg_trgm") {
		t.Errorf("migrating said %v", err)
	}
	run(`create extension pg_trgm`)
	if err := migrate(t.Context(), u.String()); err != nil {
		t.Errorf("with the extension there: %v", err)
	}
}
