package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
)

// wantRefusal demands a 503 that says when to come back.
func wantRefusal(t *testing.T, a answer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if wait, werr := strconv.Atoi(a.header.Get("Retry-After")); a.status != http.StatusServiceUnavailable || werr != nil || wait < 1 {
		t.Errorf("got %s with Retry-After %q; want a 503 that says when to come back", a, a.header.Get("Retry-After"))
	}
}

type placed struct {
	token string
	place float64
}

// gather lets n visitors wait in a room that lets in one at a time, and one
// shop.
func gather(t *testing.T, n *node, event string, count int) (shopper string, line []placed) {
	t.Helper()
	shopper = n.enter(event, n.join(event))
	for range count {
		token := n.join(event)
		a := n.me(event, token)
		if a.str("state") != "waiting" {
			t.Fatalf("a visitor behind a full shop is %s", a)
		}
		place, _ := a.body["place"].(float64)
		line = append(line, placed{token, place})
	}
	return shopper, line
}

func wantPlaces(t *testing.T, n *node, event string, line []placed) {
	t.Helper()
	for i, p := range line {
		a := n.me(event, p.token)
		if a.body["place"] != p.place || a.str("state") != "waiting" || a.body["ahead"] != float64(i) {
			t.Errorf("visitor %d: %s; want place %v and %d ahead", i, a, p.place, i)
		}
	}
}

// oneAtATime is a room whose shop is full with one.
var oneAtATime = map[string]any{"rate_per_minute": 6000, "burst": 10, "max_shoppers": 1}

// TestRedisStopsForTenSeconds stops Redis in the middle of a sale.
func TestRedisStopsForTenSeconds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	redis := stacktest.OwnRedis(t, stack.RedisOptions{Dir: t.TempDir()})
	s := newSite(t, redis.URL(), stacktest.Database(t, migrate))
	n := s.start(t)
	event := n.event(10, oneAtATime)
	shopper, line := gather(t, n, event, 5)
	hold := n.hold(event, shopper, 2)
	order := n.call(http.StatusCreated, "POST", "/v1/orders", shopper, uuid.NewString(), orderBody(hold)).str("order")

	if err := redis.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	a, err := n.try("POST", "/v1/rooms/"+event+"/join", "", "", map[string]any{})
	wantRefusal(t, a, err)
	a, err = n.try("GET", "/v1/rooms/"+event+"/me", line[0].token, "", nil)
	wantRefusal(t, a, err)
	a, err = n.try("POST", "/v1/events/"+event+"/holds", shopper, "", map[string]any{"best_available": map[string]any{"quantity": 1}})
	wantRefusal(t, a, err)
	a, err = n.try("GET", "/readyz", "", "", nil)
	wantRefusal(t, a, err)
	// Who was in checkout is served: the sale needs Postgres alone.
	got := n.call(http.StatusOK, "POST", "/v1/orders/"+order+"/pay", shopper, uuid.NewString(), map[string]any{"method": "tok_ok"})
	if !isSold(got.str("status")) {
		t.Errorf("paying without Redis: %s", got)
	}
	n.call(http.StatusOK, "GET", "/v1/events/"+event, "", "", nil)
	// The outage lasts ten seconds, in which nothing the visitors see gets worse.
	n.until(15*time.Second, "ten seconds have passed", func() bool {
		if a, err := n.try("POST", "/v1/rooms/"+event+"/join", "", "", map[string]any{}); err != nil || a.status != http.StatusServiceUnavailable {
			t.Errorf("join: %s, %v", a, err)
		}
		return time.Since(stopped) > 10*time.Second
	})

	if err := redis.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	n.until(patience, "the node is ready again by itself", func() bool {
		a, err := n.try("GET", "/readyz", "", "", nil)
		return err == nil && a.status == http.StatusOK
	})
	wantPlaces(t, n, event, line)
	late := n.call(http.StatusOK, "POST", "/v1/rooms/"+event+"/join", "", "", map[string]any{})
	if late.body["ahead"] != float64(len(line)) {
		t.Errorf("a newcomer after the outage: %s; want %d ahead", late, len(line))
	}
	// The live map learns of what was sold meanwhile.
	n.until(patience, "the event shows the two sold tickets", func() bool {
		tickets, _ := n.call(http.StatusOK, "GET", "/v1/events/"+event, "", "", nil).body["tickets"].(map[string]any)
		return tickets["sold"] == 2.0 && tickets["available"] == 8.0
	})
	n.until(patience, "the order is fulfilled", func() bool {
		return n.call(http.StatusOK, "GET", "/v1/orders/"+order, shopper, "", nil).str("status") == "fulfilled"
	})
	s.checkBooks(t)
}

// TestPostgresStops shows that the queue outlives the shop, says why the line
// stands still, and lets nobody in meanwhile.
func TestPostgresStops(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	postgres := stacktest.OwnPostgres(t, stack.PostgresOptions{Dir: t.TempDir(), NoSync: true})
	if err := migrate(ctx, postgres.URL()); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, stacktest.OwnRedis(t, stack.RedisOptions{Forget: true}).URL(), postgres.URL())
	n := s.start(t)
	// Reaches no database. Without the address of one it would start its own.
	door := (&site{redis: s.redis, key: s.key, db: s.db, postgres: "postgres://nobody@127.0.0.1:1/none"}).start(t, "ONSALE_ROLE=waitroom")
	event := n.event(10, map[string]any{"rate_per_minute": 6000, "burst": 10, "max_shoppers": 100})
	n.enter(event, n.join(event))

	if err := postgres.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	reason := func(a answer) string { return a.str("room", "reason") }
	for _, at := range []*node{n, door} {
		token := at.join(event)
		at.until(patience, "the page says why the line stands still", func() bool {
			return reason(at.me(event, token)) == "shop_unavailable"
		})
	}
	var line []placed
	for i := range 3 {
		a := door.call(http.StatusOK, "POST", "/v1/rooms/"+event+"/join", "", "", map[string]any{})
		if a.str("state") != "waiting" {
			t.Errorf("visitor %d was let into a dead shop: %s", i, a)
		}
		place, _ := a.body["place"].(float64)
		line = append(line, placed{a.str("visitor_token"), place})
	}
	page, err := http.Get(fmt.Sprintf("%s/queue/%s", door.url, event))
	if err != nil {
		t.Fatal(err)
	}
	_ = page.Body.Close()
	if page.StatusCode != http.StatusOK && page.StatusCode != http.StatusServiceUnavailable { // 503: pages not built
		t.Errorf("the queue page: %d", page.StatusCode)
	}

	if err := postgres.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	for _, p := range line {
		n.until(patience, "the line moves again by itself", func() bool {
			a := n.me(event, p.token)
			if a.body["place"] != p.place {
				t.Fatalf("the place changed: %s; want %v", a, p.place)
			}
			return a.str("state") == "ready"
		})
	}
}

// TestTwoNodes runs one room on two nodes: the throttle holds for both
// together, and when one is killed its visitors are at the other with their
// places.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	s := newSite(t, stacktest.OwnRedis(t, stack.RedisOptions{Forget: true}).URL(), stacktest.Database(t, migrate))
	one, two := s.start(t), s.start(t)
	const rate, burst = 120, 3
	opened := time.Now()
	event := one.event(200, map[string]any{"rate_per_minute": rate, "burst": burst, "max_shoppers": 1000})
	tokens := make([]string, 100)
	for i := range tokens {
		tokens[i] = []*node{one, two}[i%2].join(event)
	}
	admitted := func() int {
		n, _ := two.call(http.StatusOK, "GET", "/v1/admin/rooms/"+event, adminToken, "", nil).body["admitted_total"].(float64)
		return int(n)
	}
	check := func() int {
		n := admitted()
		if most := burst + int(time.Since(opened).Minutes()*rate); n > most {
			t.Fatalf("%d were admitted in %s; the throttle allows %d", n, time.Since(opened), most)
		}
		return n
	}
	two.until(patience, "ten are admitted", func() bool { return check() >= 10 })
	one.kill()
	last := two.me(event, tokens[98]) // joined at the other node, and far from its turn
	if last.str("state") != "waiting" {
		t.Errorf("a visitor of the killed node: %s", last)
	}
	if again := two.call(http.StatusOK, "POST", "/v1/rooms/"+event+"/join", tokens[98], "", map[string]any{}); again.body["place"] != last.body["place"] {
		t.Errorf("joining again gave place %v instead of %v", again.body["place"], last.body["place"])
	}
	before := admitted()
	two.until(patience, "ten more are admitted by the other node alone", func() bool { return check() >= before+10 })
}
