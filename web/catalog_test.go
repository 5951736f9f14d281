package web_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

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

// box is a box office: the whole server but its hubs, on a real Postgres and a
// Redis of its own.
type box struct {
	t       testing.TB
	server  *web.Server
	metrics *prometheus.Registry
	handler http.Handler
	store   *catalogpg.Store
	redis   *stack.Redis
	event   catalog.Event
}

func newBox(t testing.TB) *box {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ctx := t.Context()
	db, err := pgxpool.New(ctx, stacktest.Database(t, func(ctx context.Context, databaseURL string) error {
		return catalogpg.Migrate(ctx, databaseURL, log)
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	b := &box{t: t, metrics: prometheus.NewRegistry(), store: catalogpg.New(db, nil), redis: stacktest.OwnRedis(t, stack.RedisOptions{Forget: true})}
	address, err := redis.ParseURL(b.redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	address.ContextTimeoutEnabled, address.MaxRetries, address.DialTimeout = true, -1, time.Second
	rdb := redis.NewClient(address)
	t.Cleanup(func() { _ = rdb.Close() })

	keys, events, holds := pass.Generate(), catalog.NewCache(b.store, time.Now), checkoutredis.New(rdb)
	rooms, err := waitroom.New(waitroom.Deps{Store: waitroomredis.New(rdb), Keys: keys, Now: time.Now, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	orders, err := checkoutpg.New(db)
	if err != nil {
		t.Fatal(err)
	}
	inventory, err := checkout.NewInventory(holds, orders, events, time.Now, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	sandbox := payment.NewSandbox(db, time.Second)
	shop, err := checkout.New(checkout.Deps{
		Options: checkout.Options{HoldTTL: time.Minute, PayWithin: time.Minute, GatewayTimeout: time.Second},
		Catalog: events, Holds: holds, Orders: orders, Gateway: sandbox, Inventory: inventory, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	server, err := web.New(web.Deps{
		Roles: web.Roles{Shop: true}, PublicURL: &url.URL{Scheme: "http", Host: "shop.test"}, AdminToken: operator,
		Catalog: events, Organiser: b.store, Rooms: rooms, Shop: shop, Inventory: inventory, Keys: keys, Audit: audit.New(db),
		Sandbox: sandbox, Clock: time.Now, Logger: log, Registerer: b.metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.server, b.handler = server, server.Handler()
	if r := b.do("POST", "/v1/admin/events", boxEvent("First night", "on_sale"), asOperator); r.Code != http.StatusCreated {
		t.Fatalf("creating the event: %d %s", r.Code, r.Body)
	}
	page, err := b.store.Events(ctx, catalog.Query{})
	if err != nil || len(page.Events) != 1 {
		t.Fatalf("%d events, %v", len(page.Events), err)
	}
	b.event = page.Events[0]
	return b
}

func boxEvent(name, status string) string {
	return fmt.Sprintf(`{"name": %q, "status": %q, "type": "theatre", "starts_at": "2027-04-01T18:00:00Z", "currency": "EUR", "max_per_buyer": 3,
	  "venue": {"name": "Hall", "city": "Köln", "country": "DE"}, "artists": ["Ada"],
	  "generate": {"kind": "rows", "sections": [{"name": "Front", "rows": 2, "seats_per_row": 4}]},
	  "prices": {"Front": {"amount": 5000}}, "areas": [{"name": "Floor", "capacity": 4, "price": 3000}],
	  "room": {"state": "paused"}}`, name, status)
}

func asOperator(r *http.Request) { r.Header.Set("Authorization", "Bearer "+operator) }

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func (b *box) do(method, target, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequestWithContext(b.t.Context(), method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}

// get expects a status and decodes the answer.
func (b *box) get(want int, target string, into any, change ...func(*http.Request)) *httptest.ResponseRecorder {
	b.t.Helper()
	w := b.do("GET", target, "", change...)
	if w.Code != want {
		b.t.Fatalf("GET %s: %d, want %d: %s", target, w.Code, want, w.Body)
	}
	if into != nil {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			b.t.Fatalf("GET %s: %v in %s", target, err, w.Body)
		}
	}
	return w
}

type eventAnswer struct {
	ID, Name, Status string
	Venue            struct{ City string }
	Tiers            []struct {
		Name             string
		Total, Available *int
		Price            catalog.Money
	}
	Tickets *struct{ Total, Available, Held, Sold int }
	Room    *struct{ State string }
}

func TestEventsAreShownWithStockAndRoom(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	var list struct {
		Events []eventAnswer
		Next   *string `json:"next_cursor"`
	}
	b.get(200, "/v1/events", &list)
	if len(list.Events) != 1 || list.Next != nil {
		t.Fatalf("listed %+v", list)
	}
	var one eventAnswer
	b.get(200, "/v1/events/"+strings.ToUpper(b.event.ID), &one)
	for _, e := range []eventAnswer{list.Events[0], one} {
		if e.ID != b.event.ID || e.Venue.City != "Köln" || e.Tickets == nil || e.Tickets.Total != 12 || e.Tickets.Available != 12 ||
			e.Room == nil || e.Room.State != "paused" {
			t.Errorf("shown as %+v", e)
		}
		if len(e.Tiers) != 2 || *e.Tiers[0].Total != 8 || *e.Tiers[0].Available != 8 || *e.Tiers[1].Available != 4 || e.Tiers[1].Price.Amount != 3000 {
			t.Errorf("tiers are shown as %+v", e.Tiers)
		}
	}
	for query, want := range map[string]int{
		"name=FIRST": 1, "name=second": 0, "artist=ada": 1, "type=theatre": 1, "type=opera": 0, "city=k%C3%B6ln": 1,
		"from=2027-04-01": 1, "from=2027-04-02": 0, "to=2027-04-01": 1, "to=2027-03-31": 0,
		"to=2027-04-01T18:00:00Z": 0, "to=2027-04-01T20:00:01%2B02:00": 1, "limit=1": 1,
	} {
		if b.get(200, "/v1/events?"+query, &list); len(list.Events) != want {
			t.Errorf("%s finds %d events, want %d", query, len(list.Events), want)
		}
	}
}

func TestEventsWithoutRedisSayWhatTheyKnow(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	if err := b.redis.Kill(); err != nil {
		t.Fatal(err)
	}
	var one eventAnswer
	// The stock may be remembered for a moment before it is not known any more.
	deadline := time.Now().Add(time.Minute)
	for b.get(200, "/v1/events/"+b.event.ID, &one); one.Tickets != nil && time.Now().Before(deadline); {
		one = eventAnswer{}
		b.get(200, "/v1/events/"+b.event.ID, &one)
	}
	if one.ID != b.event.ID || one.Tickets != nil || one.Tiers[0].Available != nil || *one.Tiers[0].Total != 8 {
		t.Errorf("shown as %+v", one)
	}
}

func TestTicketsInPages(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	type page struct {
		Tickets []catalog.Ticket
		Next    *string `json:"next_cursor"`
	}
	base := "/v1/events/" + b.event.ID + "/tickets"
	seen := 0
	for next := ""; ; {
		var p page
		b.get(200, base+"?limit=5&cursor="+next, &p)
		for _, ticket := range p.Tickets {
			if ticket.Ordinal != seen || ticket.Status != "available" || ticket.ID == "" || ticket.Price.Currency != "EUR" {
				t.Fatalf("ticket %d is %+v", seen, ticket)
			}
			seen++
		}
		if p.Next == nil {
			break
		}
		next = *p.Next
	}
	if seen != 12 {
		t.Errorf("%d tickets", seen)
	}
	var p page
	if b.get(200, base+"?section=Floor&tier=Floor&status=available", &p); len(p.Tickets) != 4 {
		t.Errorf("%d tickets on the floor", len(p.Tickets))
	}
	if w := b.get(200, base+"?status=purchased", &p); len(p.Tickets) != 0 || !strings.Contains(w.Body.String(), `"tickets":[]`) {
		t.Errorf("purchased: %s", w.Body)
	}
}

func TestPlanIsCompressedAndImmutable(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	latest := "/v1/events/" + b.event.ID + "/plan"
	var e struct {
		PlanURL string `json:"plan_url"`
	}
	b.get(200, "/v1/events/"+b.event.ID, &e)
	target := e.PlanURL
	if !strings.HasPrefix(target, latest+"/") {
		t.Fatalf("the event's plan is at %q", target)
	}
	plain := b.get(200, target, nil)
	if w := b.get(200, latest, nil); strings.Contains(w.Header().Get("Cache-Control"), "immutable") ||
		!strings.Contains(w.Header().Get("Cache-Control"), "max-age=60") || !bytes.Equal(w.Body.Bytes(), plain.Body.Bytes()) {
		t.Errorf("the plan without its version: %v", w.Header())
	}
	if w := b.get(404, latest+"/other", nil); w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("a plan of another version: %v", w.Header())
	}
	if h := plain.Header(); h.Get("Content-Encoding") != "" || !strings.Contains(h.Get("Cache-Control"), "immutable") ||
		h.Get("Vary") != "Accept-Encoding" || h.Get("ETag") == "" {
		t.Errorf("headers of the plain plan: %v", h)
	}
	small := b.get(200, target, nil, header("Accept-Encoding", "br;q=0, gzip;q=0.5"))
	if small.Header().Get("Content-Encoding") != "gzip" || small.Header().Get("ETag") == plain.Header().Get("ETag") {
		t.Errorf("headers of the compressed plan: %v", small.Header())
	}
	unpacked, err := gzip.NewReader(small.Body)
	if err != nil {
		t.Fatal(err)
	}
	if doc, err := io.ReadAll(unpacked); err != nil || !bytes.Equal(doc, plain.Body.Bytes()) {
		t.Errorf("the compressed plan is another one: %v", err)
	}
	if w := b.get(200, target, nil, header("Accept-Encoding", "gzip;q=0")); w.Header().Get("Content-Encoding") != "" {
		t.Error("gzip is sent to who refuses it")
	}
	for _, tag := range []string{plain.Header().Get("ETag"), "W/" + plain.Header().Get("ETag"), `"x", ` + plain.Header().Get("ETag"), "*"} {
		if w := b.get(304, target, nil, header("If-None-Match", tag)); w.Body.Len() != 0 || w.Header().Get("ETag") == "" {
			t.Errorf("not modified, but %d bytes and the ETag %q", w.Body.Len(), w.Header().Get("ETag"))
		}
	}
	b.get(200, target, nil, header("If-None-Match", `"other"`))
}

func TestReadsAreTagged(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	for _, target := range []string{
		"/v1/events", "/v1/events/" + b.event.ID, "/v1/events/" + b.event.ID + "/tickets", "/event/" + b.event.ID, "/event/search",
	} {
		tag := b.get(200, target, nil).Header().Get("ETag")
		if tag == "" {
			t.Errorf("%s has no ETag", target)
		}
		b.get(304, target, nil, header("If-None-Match", tag))
	}
}

func TestOriginalPaths(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	var whole struct {
		Event   eventAnswer
		Venue   struct{ Name string }
		Tickets []catalog.Ticket
	}
	b.get(200, "/event/"+b.event.ID, &whole)
	if whole.Event.ID != b.event.ID || whole.Venue.Name != "Hall" || len(whole.Tickets) != 12 {
		t.Errorf("got %+v", whole)
	}
	for query, want := range map[string]int{
		"":           1,
		"name=night": 1, "artist=Ada": 1, "artist=Eve": 0, "event_type=theatre": 1, "date_range=2027-03-01..2027-04-01": 1,
		"date_range=2027-04-02..2027-05-01": 0, "date_range=..2027-01-01": 0, "date_range=2027-01-01..": 1,
		"name=first&date_range=2027-01-01..2027-12-31&artist=a&event_type=theatre": 1,
	} {
		var found struct {
			IDs []string `json:"event_ids"`
		}
		if b.get(200, "/event/search?"+query, &found); len(found.IDs) != want || (want == 1 && found.IDs[0] != b.event.ID) {
			t.Errorf("%s finds %v", query, found.IDs)
		}
	}
}

// TestBadCatalogRequests expects a problem document that says what is wrong, and
// nothing changed.
func TestBadCatalogRequests(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	event, admin := "/v1/events/"+b.event.ID, "/v1/admin/events"
	other := "00000000-0000-7000-8000-000000000000"
	for _, test := range []struct {
		method, target, body string
		anyone               bool // without the admin token
		status               int
		detail               string
	}{
		{"GET", "/v1/events?when=now", "", true, 400, `"when"`},
		{"GET", "/v1/events?name=a&name=b", "", true, 400, "2 times"},
		{"GET", "/v1/events?limit=0", "", true, 400, `"limit"`},
		{"GET", "/v1/events?limit=1e2", "", true, 400, `"limit"`},
		{"GET", "/v1/events?cursor=x", "", true, 400, "cursor"},
		{"GET", "/v1/events?from=yesterday", "", true, 400, `"from"`},
		{"GET", "/v1/events?from=2027-02-01&to=2027-01-01", "", true, 400, `"to"`},
		{"GET", "/v1/events?name=%00", "", true, 400, `"name"`},
		{"GET", "/v1/events?name=%ff", "", true, 400, `"name"`},
		{"GET", "/v1/events?name=%zz", "", true, 400, "query"},
		{"GET", "/v1/events?name=" + strings.Repeat("n", 201), "", true, 400, "name"},
		{"GET", "/v1/events/1", "", true, 404, "not an id"},
		{"GET", "/v1/events/" + other, "", true, 404, other},
		{"GET", event + "?x=1", "", true, 400, "query"},
		{"GET", event + "/plan?x=1", "", true, 400, "query"},
		{"GET", "/v1/events/" + other + "/plan", "", true, 404, other},
		{"GET", "/v1/events/" + other + "/tickets", "", true, 404, other},
		{"GET", event + "/tickets?status=held", "", true, 400, "status"},
		{"GET", event + "/tickets?limit=1001", "", true, 400, `"limit"`},
		{"GET", event + "/tickets?cursor=x", "", true, 400, "cursor"},
		{"GET", "/event/nothing", "", true, 404, "not an id"},
		{"GET", "/event/search?type=x", "", true, 400, `"type"`},
		{"GET", "/event/search?date_range=2027", "", true, 400, "date_range"},
		{"GET", "/event/search?date_range=2027-02-01..2027-01-01", "", true, 400, "date_range"},
		{"DELETE", event, "", true, 405, ""},

		{"GET", admin, "", true, 401, "admin token"},
		{"POST", admin, boxEvent("Mine", "on_sale"), true, 401, "admin token"},
		{"PATCH", admin + "/" + b.event.ID, `{"name": "Mine"}`, true, 401, "admin token"},
		{"POST", admin, "", false, 400, ""},
		{"POST", admin, "{", false, 400, "JSON"},
		{"POST", admin, "[]", false, 400, "object"},
		{"POST", admin, `{"name": "x", "plna": 1}`, false, 400, "plna"},
		{"POST", admin, boxEvent("First night", "on_sale"), false, 409, "exists already"},
		{"POST", admin, `{"description": "` + strings.Repeat("x", 33<<20) + `"}`, false, 413, ""},
		{"PATCH", admin + "/" + other, `{"name": "x"}`, false, 404, other},
		{"PATCH", admin + "/" + b.event.ID, `{}`, false, 400, "nothing is changed"},
		{"PATCH", admin + "/" + b.event.ID, `{"name": null}`, false, 400, "nothing is changed"},
		{"PATCH", admin + "/" + b.event.ID, `{"name": ""}`, false, 400, "$.name"},
		{"PATCH", admin + "/" + b.event.ID, `{"name": 1}`, false, 400, "name"},
		{"PATCH", admin + "/" + b.event.ID, `{"id": "x"}`, false, 400, "id"},
		{"PATCH", admin + "/" + b.event.ID, `{"starts_at": "soon"}`, false, 400, "soon"},
		{"PATCH", admin + "/" + b.event.ID, `{"status": "sold"}`, false, 400, "$.status"},
		{"PUT", admin + "/" + b.event.ID, `{"max_per_buyer": 0}`, false, 400, "$.max_per_buyer"},
	} {
		var change []func(*http.Request)
		if !test.anyone {
			change = append(change, asOperator)
		}
		w := b.do(test.method, test.target, test.body, change...)
		var problem struct{ Detail, Type string }
		if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %.60s: no problem document (%v): %.200s", test.method, test.target, err, w.Body)
		}
		if w.Code != test.status || !strings.Contains(problem.Detail, test.detail) {
			t.Errorf("%s %.60s %.60s: %d, want %d and %q: %.200s", test.method, test.target, test.body, w.Code, test.status, test.detail, w.Body)
		}
	}
	page, err := b.store.Events(t.Context(), catalog.Query{Drafts: true})
	if err != nil || len(page.Events) != 1 || fmt.Sprintf("%+v", page.Events[0]) != fmt.Sprintf("%+v", b.event) {
		t.Errorf("something has changed: %+v, %v", page.Events, err)
	}
}

func TestOperatorsCreateAndChangeEvents(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	w := b.do("POST", "/v1/admin/events", boxEvent("Preview", "draft"), asOperator)
	var made eventAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil || w.Code != 201 || w.Header().Get("Location") != "/v1/events/"+made.ID ||
		made.Room == nil || made.Room.State != "paused" || made.Tickets == nil || made.Tickets.Total != 12 {
		t.Fatalf("%d, Location %q, %v: %s", w.Code, w.Header().Get("Location"), err, w.Body)
	}
	// A draft is the operators' own.
	for _, path := range []string{"", "/tickets", "/plan"} {
		b.get(404, "/v1/events/"+made.ID+path, nil)
		b.get(200, "/v1/events/"+made.ID+path, nil, asOperator)
	}
	b.get(404, "/event/"+made.ID, nil)
	var list struct{ Events []eventAnswer }
	if b.get(200, "/v1/events", &list); len(list.Events) != 1 {
		t.Errorf("%d events are listed for everyone", len(list.Events))
	}
	if w := b.get(200, "/v1/admin/events", &list, asOperator); len(list.Events) != 2 || !strings.Contains(w.Header().Get("Cache-Control"), "no-store") {
		t.Errorf("%d events are listed for operators, %v", len(list.Events), w.Header())
	}
	for i, method := range []string{"PATCH", "PUT"} {
		name := fmt.Sprintf("Premiere %d", i)
		w = b.do(method, "/v1/admin/events/"+made.ID, fmt.Sprintf(`{"status": "on_sale", "name": %q}`, name), asOperator)
		var changed eventAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &changed); err != nil || w.Code != 200 || changed.Name != name || changed.Status != "on_sale" {
			t.Errorf("%s: %d, %v: %s", method, w.Code, err, w.Body)
		}
		if b.get(200, "/v1/events?name="+url.QueryEscape(name), &list); len(list.Events) != 1 {
			t.Errorf("after %s everyone sees %d events of the name", method, len(list.Events))
		}
	}
	var log struct {
		Entries []struct{ Action, Subject string }
	}
	b.get(200, "/v1/admin/audit", &log, asOperator)
	if len(log.Entries) != 4 || log.Entries[0].Action != "event.update" || log.Entries[0].Subject != made.ID || log.Entries[3].Action != "event.create" {
		t.Errorf("the audit log says %+v", log.Entries)
	}
}
