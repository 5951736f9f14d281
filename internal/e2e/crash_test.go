package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"onsale/checkout"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
	"onsale/lua"
)

// within makes what happens by itself happen within the test, and leaves a
// buyer who returns the time to pay.
func within(returns bool) []string {
	if returns {
		return []string{"ONSALE_CHECKOUT_PAY_WITHIN=2m", "ONSALE_CHECKOUT_HOLD_TTL=2m"}
	}
	return []string{"ONSALE_CHECKOUT_PAY_WITHIN=20s", "ONSALE_CHECKOUT_HOLD_TTL=20s"}
}

// TestCrashAtEachStep kills the program right after each step of a purchase and
// starts it again: once with a buyer who comes back and asks again, once with
// one who never does. Either way the order ends well by itself: sold and paid,
// or neither; and the live map says what Postgres says.
func TestCrashAtEachStep(t *testing.T) {
	t.Parallel()
	for _, step := range checkout.Steps {
		for _, returns := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/buyer returns=%t", step, returns), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, stacktest.OwnRedis(t, stack.RedisOptions{Forget: true}).URL(), stacktest.Database(t, migrate))
				first := s.start(t, append(within(returns), "ONSALE_CRASH_AT="+step)...)
				event := first.event(10, nil)
				visitor := first.join(event)
				pass := first.enter(event, visitor)
				hold := first.hold(event, pass, 2)

				orderKey, payKey := uuid.NewString(), uuid.NewString()
				order := ""
				if a, err := first.try("POST", "/v1/orders", pass, orderKey, orderBody(hold)); err == nil {
					order = a.str("order")
					// The answer may be lost or not: the crash races it.
					_, _ = first.try("POST", "/v1/orders/"+order+"/pay", pass, payKey, map[string]any{"method": "tok_ok"})
				}
				first.wait() // it kills itself
				second := s.start(t, within(returns)...)

				if returns {
					buyAgain(t, second, pass, hold, orderKey, payKey)
				}
				second.until(100*time.Second, "every order is at its end", func() bool {
					return query[int](t, s, `select count(*) from orders where status not in ('fulfilled', 'expired', 'cancelled')`) == 0 &&
						query[int](t, s, `select count(*) from payments where status not in ('captured', 'voided', 'declined', 'failed')`) == 0
				})
				sold := query[int](t, s, `select count(*) from tickets where status = 'purchased'`)
				if returns && sold != 2 {
					t.Errorf("the buyer came back and has %d tickets, want 2", sold)
				}
				if !returns && order == "" && sold != 0 {
					t.Errorf("%d tickets were sold without an order", sold)
				}
				s.checkBooks(t)
				wantLive(t, s, second, event, sold)
			})
		}
	}
}

// buyAgain does what a page does after a lost answer: ask again with the same
// keys, look at the order, and pay once more only if the first attempt failed.
func buyAgain(t *testing.T, n *node, pass, hold, orderKey, payKey string) {
	t.Helper()
	order := n.call(http.StatusCreated, "POST", "/v1/orders", pass, orderKey, orderBody(hold)).str("order")
	n.until(90*time.Second, "the order is paid", func() bool {
		switch status := n.call(http.StatusOK, "GET", "/v1/orders/"+order, pass, "", nil).str("status"); status {
		case "paid", "fulfilled":
			return true
		case "awaiting_payment":
			a, err := n.try("POST", "/v1/orders/"+order+"/pay", pass, payKey, map[string]any{"method": "tok_ok"})
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case a.status == http.StatusOK:
			case a.code() == "idempotency-in-flight":
				payKey = uuid.NewString() // the first attempt is known to have failed
			default:
				t.Fatalf("pay: %s", a)
			}
		case "payment_unknown":
		default:
			t.Fatalf("the order became %s", status)
		}
		return false
	})
}

// wantLive waits until the live inventory says what Postgres says.
func wantLive(t *testing.T, s *site, n *node, event string, sold int) {
	t.Helper()
	o, err := redis.ParseURL(s.redis)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(o)
	defer func() { _ = rdb.Close() }()
	n.until(90*time.Second, fmt.Sprintf("the live map shows %d sold and the rest available", sold), func() bool {
		status, err := rdb.Get(t.Context(), lua.StatusKey(event)).Result()
		if err != nil {
			t.Fatal(err)
		}
		count := map[rune]int{}
		for _, b := range status {
			count[b]++
		}
		return count['S'] == sold && count['A'] == 10-sold
	})
}
