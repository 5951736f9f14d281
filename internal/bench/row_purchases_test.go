package bench

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	catalogpg "onsale/catalog/pgstore"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
)

// smallSale is the row's trial with a small event.
func smallSale(t *testing.T, tickets int) *purchasesTrial {
	t.Helper()
	ctx := t.Context()
	postgres := stacktest.OwnPostgres(t, stack.PostgresOptions{NoSync: true})
	if err := catalogpg.Migrate(ctx, postgres.URL(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	o, err := redis.ParseURL(stacktest.OwnRedis(t, stack.RedisOptions{Forget: true}).URL())
	if err != nil {
		t.Fatal(err)
	}
	trial := &purchasesTrial{
		postgres: postgres, redis: redis.NewClient(o), tickets: tickets, buyers: 8, alone: 3, most: tickets, duration: 800 * time.Millisecond,
	}
	t.Cleanup(func() {
		if err := trial.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := trial.build(ctx); err != nil {
		t.Fatal(err)
	}
	return trial
}

func TestPurchasesBesidePgbench(t *testing.T) {
	t.Parallel()
	trial := smallSale(t, 8000)
	if _, err := trial.Reference(t.Context()); err == nil {
		t.Error("the reference is measured without answers to be like")
	}
	for range 2 { // each run finds nothing sold
		ours, err := trial.Measure(t.Context())
		if err != nil || ours <= 0 {
			t.Fatalf("%v purchases a second, %v", ours, err)
		}
		reference, err := trial.Reference(t.Context())
		if err != nil || reference <= 0 {
			t.Fatalf("%v purchases a second by pgbench, %v", reference, err)
		}
	}
	// Both have written the same: ours moved its rows on.
	shape := func(name string) (shape string) {
		db, err := pgxpool.New(t.Context(), database(trial.postgres.URL(), name))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		err = db.QueryRow(t.Context(), `
			with one as (select id, user_id from orders order by id limit 1)
			select concat_ws(' ',
				(select concat_ws(' ', o.status, count(t), bool_and(i.sold), sum(i.total_amount) = o.total_amount) from one
					join orders o using (id) join order_items i on i.order_id = o.id join tickets t on t.id = i.ticket_id and t.status = 'purchased'
					group by o.id),
				(select string_agg(e.status, ',' order by e.id) from one join order_events e on e.order_id = one.id),
				(select concat_ws(' ', p.status, p.attempt, p.look_at is not null) from one join payments p on p.order_id = one.id),
				(select string_agg(k.status::text, ',' order by k.status) from one join orders o using (id)
					join idempotency_keys k on k.scope like o.visitor || ' %'),
				(select concat_ws(' ', j.kind, j.state, j.max_attempts, j.priority, j.queue, j.metadata, j.tags, array(select jsonb_object_keys(j.args)))
					from one join payments p on p.order_id = one.id join river_job j on j.args ->> 'payment' = p.id::text))`).Scan(&shape)
		if err != nil {
			t.Fatal(err)
		}
		return shape
	}
	ours, reference := shape("onsale_ours"), shape("onsale_reference")
	if ours != reference || !strings.HasSuffix(ours, " awaiting_payment,payment_unknown,paid authorised 1 t 200,201 capture_payment available 1 1 default {} {} {payment}") ||
		!strings.HasPrefix(ours, "paid 1 ") {
		t.Errorf("ours:      %s\nreference: %s", ours, reference)
	}
	if share := float64(trial.answers.created) / float64(trial.answers.paid); trial.answers.created < 300 || share < 0.7 || share > 1 {
		t.Errorf("answers have %+v bytes", trial.answers)
	}
}

func TestPurchasesThatAreNotWhole(t *testing.T) {
	t.Parallel()
	trial := smallSale(t, 60)
	for _, damage := range []struct{ name, sql, says string }{
		{"none", `select`, ""},
		{"an order is not paid", `update orders set status = 'fulfilled' where id = $1`, "1 of 4"},
		{"a payment is not authorised", `update payments set status = 'captured', look_at = null where order_id = $1`, "1 of 4"},
		{"a ticket is free", `update tickets set status = 'available', user_id = null, order_id = null where ordinal = (select min(ordinal) from tickets where order_id = $1)`, "1 of 4"},
		{"an item is not sold", `update order_items set sold = false where order_id = $1`, "1 of 4"},
		{"an answer is lost", `delete from idempotency_keys where scope like '%/' || $1 || '/pay'`, "1 of 4"},
		{"the first answer is lost", `delete from idempotency_keys where scope = (select visitor from orders where id = $1::uuid) || ' POST /v1/orders'`, "1 of 4"},
		{"a job is lost", `delete from river_job where args ->> 'payment' = (select id::text from payments where order_id = $1)`, "1 of 4"},
		{"a job is there twice", `insert into river_job (args, kind, max_attempts) select args, kind, 1 from river_job where args ->> 'payment' = (select id::text from payments where order_id = $1)`, "1 of 4"},
		{"something else is sold", `update tickets t set status = 'purchased', user_id = o.user_id, order_id = o.id from orders o where o.id = $1 and t.ordinal = 59`, "7 tickets are sold"},
	} {
		address, err := trial.fresh(t.Context(), "onsale_ours")
		if err != nil {
			t.Fatal(err)
		}
		err = func() error {
			s, err := openShop(t.Context(), address, trial.redis, trial.event)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			if err := s.hold(t.Context(), 4, 4); err != nil {
				t.Fatal(err)
			}
			took, err := s.aloneFor(t.Context(), 4)
			if err != nil || len(took) != 4 || percentile(took, 0.01) <= 0 {
				t.Fatalf("%v, %v", took, err)
			}
			if _, err := s.buy(t.Context()); !errors.Is(err, errSold) {
				t.Errorf("a fifth buyer: %v", err)
			}
			args := []any{s.bought[1].order}
			if !strings.Contains(damage.sql, "$1") {
				args = nil
			}
			if _, err := s.db.Exec(t.Context(), damage.sql, args...); err != nil {
				t.Fatalf("%s: %v", damage.name, err)
			}
			return s.verify(t.Context())
		}()
		if (damage.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), damage.says) {
			t.Errorf("%s: %v", damage.name, err)
		}
	}
}

// A rush ends when there is nothing left, and says what was sold by then.
func TestRushThatSellsEverything(t *testing.T) {
	t.Parallel()
	trial := smallSale(t, 900)
	address, err := trial.fresh(t.Context(), "onsale_ours")
	if err != nil {
		t.Fatal(err)
	}
	s, err := openShop(t.Context(), address, trial.redis, trial.event)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.hold(t.Context(), 10_000, 16); err != nil {
		t.Fatal(err)
	}
	if len(s.holding) != 600 {
		t.Fatalf("%d visitors hold 900 tickets", len(s.holding))
	}
	_, _, err = s.rush(t.Context(), 16, 10*time.Minute)
	if len(s.bought) != 600 {
		t.Errorf("%d have bought: %v", len(s.bought), err)
	}
	if err := s.verify(t.Context()); err != nil {
		t.Error(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := trial.counted(canceled, address, 600); err == nil {
		t.Error("counted without a connection")
	}
	if err := trial.counted(t.Context(), address, 599); err == nil || !strings.Contains(err.Error(), "pgbench made 599 purchases; the database has 600, 600 of them whole") {
		t.Error(err)
	}
}

func TestReadPgbench(t *testing.T) {
	t.Parallel()
	const said = `pgbench (15.18)
transaction type: purchase.pgbench
number of transactions actually processed: 7345
number of failed transactions: 0 (0.000%)
latency average = 10.892 ms
initial connection time = 24.104 ms
tps = 1468.967 (without initial connection time)
`
	rate, count, latency, err := readPgbench(said)
	if err != nil || rate != 1468.967 || count != 7345 || latency != 10.892 {
		t.Errorf("%v %v %v %v", rate, count, latency, err)
	}
	if _, _, _, err := readPgbench("pgbench: error: connection refused"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
}
