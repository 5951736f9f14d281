package deploy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"onsale/catalog"
	catalogpg "onsale/catalog/pgstore"
	"onsale/checkout"
	"onsale/checkout/payment"
	checkoutpg "onsale/checkout/pgstore"
	checkoutredis "onsale/checkout/redisstore"
	"onsale/internal/audit"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
	"onsale/waitroom"
	"onsale/waitroom/pass"
	waitroomredis "onsale/waitroom/redisstore"
	"onsale/web"
)

const operator = "an-admin-token-for-tests"

// aShop is an onsale with all it needs, which counts what it is asked.
type aShop struct {
	node  *httptest.Server
	event string

	handler atomic.Pointer[http.Handler] // nil: it is gone
	mu      sync.Mutex
	asked   map[string]int // by path
}

func newShop(t *testing.T) *aShop {
	t.Helper()
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := pgxpool.New(ctx, stacktest.Database(t, func(ctx context.Context, databaseURL string) error {
		return catalogpg.Migrate(ctx, databaseURL, log)
	}))
	must(err)
	t.Cleanup(db.Close)
	address, err := redis.ParseURL(stacktest.OwnRedis(t, stack.RedisOptions{Forget: true}).URL())
	must(err)
	address.ContextTimeoutEnabled = true
	rdb := redis.NewClient(address)
	t.Cleanup(func() { _ = rdb.Close() })
	store := catalogpg.New(db, nil)
	keys, events, holds := pass.Generate(), catalog.NewCache(store, time.Now), checkoutredis.New(rdb)
	rooms, err := waitroom.New(waitroom.Deps{Store: waitroomredis.New(rdb), Keys: keys, Now: time.Now, Logger: log})
	must(err)
	orders, err := checkoutpg.New(db)
	must(err)
	inventory, err := checkout.NewInventory(holds, orders, events, time.Now, log, nil)
	must(err)
	sandbox := payment.NewSandbox(db, time.Second)
	shop, err := checkout.New(checkout.Deps{
		Options: checkout.Options{HoldTTL: time.Minute, PayWithin: time.Minute, GatewayTimeout: time.Second},
		Catalog: events, Holds: holds, Orders: orders, Gateway: sandbox, Inventory: inventory, Logger: log,
	})
	must(err)

	s := &aShop{asked: make(map[string]int)}
	s.node = httptest.NewServer(s)
	t.Cleanup(s.node.Close)
	server, err := web.New(web.Deps{
		Roles: web.Roles{Waitroom: true, Shop: true}, PublicURL: &url.URL{Scheme: "http", Host: "shop.example"}, AdminToken: operator,
		Catalog: events, Organiser: store, Events: events, Rooms: rooms, Shop: shop, Inventory: inventory, Keys: keys, Audit: audit.New(db),
		Clock: time.Now, Logger: log, Registerer: prometheus.NewRegistry(),
	})
	must(err)
	handler := server.Handler()
	s.handler.Store(&handler)
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(work) }()
	t.Cleanup(func() {
		grace, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		server.Shutdown(grace)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	a := newBrowser(t).do(http.MethodPost, s.node.URL+"/v1/admin/events", `{"name": "First night", "status": "on_sale", "type": "theatre",
	  "starts_at": "2031-04-01T18:00:00Z", "currency": "EUR", "max_per_buyer": 3, "venue": {"name": "Hall", "city": "Köln", "country": "DE"},
	  "generate": {"kind": "rows", "sections": [{"name": "Front", "rows": 20, "seats_per_row": 20}]}, "prices": {"Front": {"amount": 5000}},
	  "room": {"state": "open"}}`, "Authorization", "Bearer "+operator)
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != http.StatusCreated {
		t.Fatalf("%+v", a)
	}
	s.event = made.ID
	return s
}

func (s *aShop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked[r.URL.Path]++
	s.mu.Unlock()
	h := s.handler.Load()
	if h == nil { // as if nobody were there
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
		return
	}
	(*h).ServeHTTP(w, r)
}

// times is how often the node was asked for a path.
func (s *aShop) times(path string) int { s.mu.Lock(); defer s.mu.Unlock(); return s.asked[path] }

// until polls for a while until ok.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestNginxCachesReads runs the example on a real nginx in front of a real shop.
func TestNginxCachesReads(t *testing.T) {
	t.Parallel()
	program(t, "nginx")
	address := stacktest.FreeAddress(t)
	shop := newShop(t)
	runNginx(t, address, map[string]string{"nginx.conf": adapt(t, read(t, "cache/nginx.conf"),
		"listen 8080 ", "listen "+address+" ",
		"worker_rlimit_nofile 131072;", "",
		"worker_connections 65536;", "worker_connections 512;",
		"/var/cache/nginx/onsale ", filepath.Join(t.TempDir(), "cache")+" ",
		"server app1:8080 max_fails=2 fail_timeout=5s;", "server "+shop.node.Listener.Addr().String()+" max_fails=0;",
		"server app2:8080 max_fails=2 fail_timeout=5s;", "",
	)})
	front := "http://" + address
	event := "/v1/events/" + shop.event
	somebody := newBrowser(t)

	// A crowd is one reader to the program, for each coding.
	const crowd, lasts, enough = 16, 4 * time.Second, 360 // answers
	began := time.Now()
	var readers sync.WaitGroup
	var answers atomic.Int64
	for n := range crowd {
		reader := newBrowser(t)
		accepted := []string{"", "gzip, deflate", "gzip, deflate, br", "br;q=1.0, gzip;q=0.8", "br;q=0, gzip"}[n%5]
		readers.Go(func() {
			for time.Since(began) < lasts || answers.Load() < enough {
				a := reader.do(http.MethodGet, front+event, "", "Accept-Encoding", accepted)
				want := "gzip"
				switch {
				case accepted == "":
					want = ""
				case strings.HasPrefix(accepted, "br;q=1") || strings.HasSuffix(accepted, "br"):
					want = "br"
				}
				if got := a.header.Get("Content-Encoding"); a.status != http.StatusOK || got != want {
					t.Errorf("%d, in %q to who accepts %q", a.status, got, accepted)
					return
				}
				answers.Add(1)
			}
		})
	}
	readers.Wait()
	took := time.Since(began)
	most := 3 * (int(took/time.Second) + 2) // three codings
	if asked := shop.times(event); asked > most || asked < 3 {
		t.Errorf("%d answers cost the program %d requests in %s, want at most %d", answers.Load(), asked, took, most)
	} else {
		t.Logf("%d answers cost the program %d requests in %s and three codings", answers.Load(), asked, took)
	}

	// What is sold is seen soon.
	available := func() (n int) {
		a := somebody.do(http.MethodGet, front+event, "")
		var e struct{ Tickets struct{ Available int } }
		if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != http.StatusOK {
			t.Fatalf("%v %+v", err, a)
		}
		return e.Tickets.Available
	}
	before := available()
	kept := keepSome(t, shop, 7)
	var asked time.Time // for the last answer that is old
	until(t, "the stock is seen", func() bool {
		now := time.Now()
		if available() == before-7 {
			return true
		}
		asked = now
		return false
	})
	if old := asked.Sub(kept); old > 3*time.Second {
		t.Errorf("who asked %s after the change was told the old stock", old)
	} else {
		t.Logf("the change was seen after %s", time.Since(kept))
	}

	// What has an ETag is told so.
	a := somebody.do(http.MethodGet, front+event, "")
	if a = somebody.do(http.MethodGet, front+event, "", "If-None-Match", a.header.Get("ETag")); a.status != http.StatusNotModified {
		t.Errorf("known already: %+v", a)
	}

	// What is somebody's own, and what went wrong, is asked for every time.
	for what, request := range map[string][]string{
		"a list for operators": {"/v1/admin/events", "200", "Authorization", "Bearer " + operator},
		"an event by operator": {event, "200", "Authorization", "Bearer " + operator},
		"holds":                {event + "/holds", "401"},
		"a place in line":      {"/v1/rooms/" + shop.event + "/me", "401"},
		"an unknown event":     {"/v1/events/0190b0a0-0000-7000-8000-000000000009", "404"},
		"a bad question":       {event + "?x=1", "400"},
		"health":               {"/healthz", "200"},
	} {
		path, _, _ := strings.Cut(request[0], "?")
		was := shop.times(path)
		for range 3 {
			a := somebody.do(http.MethodGet, front+request[0], "", request[2:]...)
			if fmt.Sprint(a.status) != request[1] || a.header.Get("X-Cache") == "HIT" {
				t.Errorf("%s: %d, %s", what, a.status, a.header.Get("X-Cache"))
			}
		}
		if n := shop.times(path) - was; n < 3 {
			t.Errorf("%s: three requests were %d to the program", what, n)
		}
	}
	joined := somebody.do(http.MethodPost, front+"/v1/rooms/"+shop.event+"/join", "{}")
	other := newBrowser(t).do(http.MethodPost, front+"/v1/rooms/"+shop.event+"/join", "{}")
	if joined.status != http.StatusOK || other.status != http.StatusOK || joined.header.Get("Set-Cookie") == other.header.Get("Set-Cookie") {
		t.Errorf("two visitors joined as %+v and %+v", joined, other)
	}
	// Cookies change nothing of what all may read.
	if a := somebody.do(http.MethodGet, front+event, ""); a.status != http.StatusOK || a.header.Get("Set-Cookie") != "" {
		t.Errorf("read with a cookie: %+v", a)
	}

	// A plan is asked for once.
	var e struct {
		Plan string `json:"plan_url"`
	}
	if err := json.Unmarshal([]byte(somebody.do(http.MethodGet, front+event, "").body), &e); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if a := somebody.do(http.MethodGet, front+e.Plan, ""); a.status != http.StatusOK || !strings.Contains(a.header.Get("Cache-Control"), "immutable") {
			t.Errorf("the plan: %+v", a)
		}
	}
	if n := shop.times(e.Plan); n != 1 {
		t.Errorf("the plan was asked for %d times", n)
	}

	// WebSockets go through.
	conn, response, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+address+event+"/live", nil)
	if err != nil {
		t.Fatalf("%v: %+v", err, response)
	}
	defer conn.Close()
	if _, frame, err := conn.ReadMessage(); err != nil || !strings.Contains(string(frame), `"snapshot"`) {
		t.Errorf("the live map says %.100s, %v", frame, err)
	}

	// The program dies: what was known stays, what is private fails, and neither
	// failure is kept.
	alive := shop.handler.Swap(nil)
	died := time.Now()
	until(t, "a stale answer", func() bool {
		a := somebody.do(http.MethodGet, front+event, "")
		if a.status != http.StatusOK || !strings.Contains(a.body, "First night") {
			t.Fatalf("%s after its death: %+v", time.Since(died), a)
		}
		return a.header.Get("X-Cache") == "STALE" && time.Since(died) > 4*time.Second
	})
	if a := somebody.do(http.MethodGet, front+"/v1/rooms/"+shop.event+"/me", ""); a.status != http.StatusBadGateway {
		t.Errorf("a place in line without the program: %+v", a)
	}
	if a := somebody.do(http.MethodGet, front+event+"/availability", ""); a.status != http.StatusBadGateway {
		t.Errorf("what nobody had asked for: %+v", a)
	}
	shop.handler.Store(alive)
	until(t, "the program answers again", func() bool {
		return somebody.do(http.MethodGet, front+event+"/availability", "").status == http.StatusOK &&
			somebody.do(http.MethodGet, front+event, "").header.Get("X-Cache") != "STALE"
	})
}

// keepSome takes tickets out of the public sale and says when that was done.
func keepSome(t *testing.T, s *aShop, n int) time.Time {
	t.Helper()
	operate := func(method, path, body string, status int, into any) {
		t.Helper()
		a := newBrowser(t).do(method, s.node.URL+path, body, "Authorization", "Bearer "+operator)
		if a.status != status {
			t.Fatalf("%s %s: %+v", method, path, a)
		}
		if into != nil {
			if err := json.Unmarshal([]byte(a.body), into); err != nil {
				t.Fatal(err)
			}
		}
	}
	var page struct{ Tickets []struct{ ID string } }
	operate(http.MethodGet, "/v1/events/"+s.event+"/tickets?limit="+fmt.Sprint(n), "", http.StatusOK, &page)
	ids := make([]string, n)
	for i, ticket := range page.Tickets {
		ids[i] = ticket.ID
	}
	var made struct{ ID string }
	operate(http.MethodPost, "/v1/admin/events/"+s.event+"/channels", `{"name":"The house"}`, http.StatusCreated, &made)
	list, err := json.Marshal(map[string][]string{"tickets": ids})
	if err != nil {
		t.Fatal(err)
	}
	operate(http.MethodPost, "/v1/admin/events/"+s.event+"/channels/"+made.ID+"/allot", string(list), http.StatusOK, nil)
	return time.Now()
}
