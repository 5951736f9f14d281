package e2e

import (
	"net/http"
	"testing"

	"github.com/google/uuid"

	"onsale/internal/stack/stacktest"
)

// buy goes all the way from joining to a fulfilled order.
func buy(t *testing.T, n *node, event string) {
	t.Helper()
	p := n.enter(event, n.join(event))
	order := n.call(http.StatusCreated, "POST", "/v1/orders", p, uuid.NewString(), orderBody(n.hold(event, p, 2))).str("order")
	n.call(http.StatusOK, "POST", "/v1/orders/"+order+"/pay", p, uuid.NewString(), map[string]any{"method": "tok_ok"})
	n.until(patience, "the order is fulfilled", func() bool {
		return n.call(http.StatusOK, "GET", "/v1/orders/"+order, p, "", nil).str("status") == "fulfilled"
	})
}

// TestSaleOnRedisCluster sells several events at once, which lie on different
// masters.
func TestSaleOnRedisCluster(t *testing.T) {
	t.Parallel()
	s := newSite(t, stacktest.Cluster(t).URL(), stacktest.Database(t, migrate))
	one, two := s.start(t), s.start(t)
	for range 4 {
		event := one.event(10, map[string]any{"rate_per_minute": 6000, "burst": 10, "max_shoppers": 10})
		buy(t, two, event)
		buy(t, one, event)
	}
	s.checkBooks(t)
}

// TestSaleThroughASentinelFailover kills the master in the middle of a sale: until
// the replica is promoted, visitors are told when to come back; then the sale goes
// on, with everybody in their place.
func TestSaleThroughASentinelFailover(t *testing.T) {
	t.Parallel()
	servers := stacktest.Sentinels(t)
	s := newSite(t, servers.URL(), stacktest.Database(t, migrate))
	n := s.start(t)
	event := n.event(40, map[string]any{"rate_per_minute": 6000, "burst": 10, "max_shoppers": 10})
	buy(t, n, event)
	shopper := n.enter(event, n.join(event))
	hold := n.hold(event, shopper, 2)
	n.patch(event, map[string]any{"max_shoppers": 1})
	line := gatherLine(t, n, event, 10)
	// A replica lags behind by milliseconds.
	two := connect(t, servers.Servers[1].URL())
	n.until(patience, "the replica has heard of the line", func() bool {
		keys, err := two.Keys(t.Context(), "wr:*:queue").Result()
		if err != nil || len(keys) != 1 {
			return false
		}
		count, err := two.ZCard(t.Context(), keys[0]).Result()
		return err == nil && count == int64(len(line))
	})
	if err := servers.Servers[0].Kill(); err != nil {
		t.Fatal(err)
	}
	refused := 0
	n.until(patience, "the line goes on", func() bool {
		a, err := n.try("POST", "/v1/rooms/"+event+"/join", line[0].token, "", map[string]any{})
		if err == nil && a.status == http.StatusOK {
			return true
		}
		wantRefusal(t, a, err)
		refused++
		return false
	})
	t.Logf("%d calls were refused", refused)
	wantPlaces(t, n, event, line)
	order := n.call(http.StatusCreated, "POST", "/v1/orders", shopper, uuid.NewString(), orderBody(hold)).str("order")
	n.call(http.StatusOK, "POST", "/v1/orders/"+order+"/pay", shopper, uuid.NewString(), map[string]any{"method": "tok_ok"})
	n.patch(event, map[string]any{"max_shoppers": 20})
	n.enter(event, line[len(line)-1].token)
	s.checkBooksSoon(t, n)
}

// gatherLine lets count visitors wait in a room whose shop is full.
func gatherLine(t *testing.T, n *node, event string, count int) (line []placed) {
	t.Helper()
	for range count {
		a := n.call(http.StatusOK, "POST", "/v1/rooms/"+event+"/join", "", "", map[string]any{})
		if a.str("state") != "waiting" {
			t.Fatalf("a visitor behind a full shop is %s", a)
		}
		place, _ := a.body["place"].(float64)
		line = append(line, placed{a.str("visitor_token"), place})
	}
	return line
}

// checkBooksSoon checks the books when all orders are at their end.
func (s *site) checkBooksSoon(t *testing.T, n *node) {
	t.Helper()
	n.until(patience, "every order is at its end", func() bool {
		return query[int](t, s, `select count(*) from orders where status not in ('fulfilled', 'expired', 'cancelled')`) == 0
	})
	s.checkBooks(t)
}
