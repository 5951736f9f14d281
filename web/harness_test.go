package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	verrors "github.com/pb33f/libopenapi-validator/errors"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"golang.org/x/sync/errgroup"

	"onsale/catalog"
	catalogpg "onsale/catalog/pgstore"
	"onsale/checkout"
	"onsale/checkout/account"
	"onsale/checkout/mail"
	"onsale/checkout/messages"
	"onsale/checkout/payment"
	checkoutpg "onsale/checkout/pgstore"
	checkoutredis "onsale/checkout/redisstore"
	"onsale/checkout/webhook"
	"onsale/internal/audit"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
	"onsale/waitroom"
	"onsale/waitroom/pass"
	waitroompg "onsale/waitroom/pgstore"
	waitroomredis "onsale/waitroom/redisstore"
	"onsale/web"
	"onsale/web/ui"
)

// TestMain keeps go-redis quiet, which logs for the whole process.
func TestMain(m *testing.M) {
	logging.Disable()
	os.Exit(m.Run())
}

// stage is the whole program on a PostgreSQL database and a Redis of its own,
// wired as cmd/onsale does and reached over HTTP. Every answer that its clients
// get is held against the OpenAPI document.
type stage struct {
	t         testing.TB
	url       string
	server    *web.Server
	redis     *stack.Redis
	http      *http.Client
	db        *pgxpool.Pool
	rdb       redis.UniversalClient
	keys      *pass.KeySet
	rooms     *waitroom.Service
	shop      *checkout.Service
	inventory *checkout.Inventory
	event     string   // on sale, with an open room
	tickets   []string // of the event, by ordinal
}

// stageOptions change how a stage is wired, before its server is made.
type stageOptions struct {
	log  *slog.Logger
	deps func(*web.Deps)
	// gateway is another one than the sandbox.
	gateway func(db *pgxpool.Pool) payment.Gateway
	joins   int // per address and minute; 0: no limit

	mail     mail.Sender // nil: there is no mail server
	signIn   string      // how; "": by code
	identity waitroom.Identity
	browser  func(public *url.URL) account.Browser // to the issuer
	required bool                                  // nobody joins who is not signed in
	messages messages.Options
}

// stageEvent has four rows of ten seats and twenty places to stand.
const stageEvent = `{"name": %q, "type": "concert", "starts_at": "2031-05-01T19:00:00Z", "doors_at": "2031-05-01T18:00:00Z",
  "venue": {"name": "The mill", "address": "Mill Lane 1", "city": "Köln", "country": "DE"}, "artists": ["Mill Trio"],
  "currency": "EUR", "max_per_buyer": 4, "status": %q,
  "generate": {"kind": "rows", "sections": [
    {"name": "Stalls", "rows": 2, "seats_per_row": 10, "category": "Stalls"},
    {"name": "Balcony", "rows": 2, "seats_per_row": 10, "category": "Balcony"}]},
  "prices": {"Stalls": {"amount": 4500, "type": "front_row"}, "Balcony": {"amount": 2500, "type": "balcony"}},
  "areas": [{"name": "Floor", "capacity": 20, "price": 1000}],
  "room": {"state": "open", "rate_per_minute": 60000, "burst": 1000, "max_shoppers": 2000, "lease_s": 600, "claim_window_s": 60}}`

func migrateAll(ctx context.Context, databaseURL string) error {
	return catalogpg.Migrate(ctx, databaseURL, slog.New(slog.DiscardHandler))
}

func newStage(t testing.TB, o stageOptions) *stage {
	t.Helper()
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	ctx := t.Context()
	s := &stage{t: t, keys: pass.Generate()}
	pool, err := pgxpool.ParseConfig(stacktest.Database(t, migrateAll))
	must(t, err)
	pool.MaxConns = 20
	s.db, err = pgxpool.NewWithConfig(ctx, pool)
	must(t, err)
	t.Cleanup(s.db.Close)
	s.redis = stacktest.OwnRedis(t, stack.RedisOptions{Forget: true})
	address, err := redis.ParseURL(s.redis.URL())
	must(t, err)
	address.ContextTimeoutEnabled = true
	s.rdb = redis.NewClient(address)
	t.Cleanup(func() { _ = s.rdb.Close() })

	registry := prometheus.NewRegistry()
	s.rooms, err = waitroom.New(waitroom.Deps{
		Store: waitroomredis.New(s.rdb), Archive: waitroompg.New(s.db), Keys: s.keys, Identity: o.identity, Now: time.Now, Logger: o.log, Registerer: registry,
		Options: waitroom.Options{Tick: 20 * time.Millisecond, JoinsPerMinute: o.joins, SignIn: o.required},
	})
	must(t, err)
	kept := catalogpg.New(s.db, nil)
	events, holds := catalog.NewCache(kept, time.Now), checkoutredis.New(s.rdb)
	orders, err := checkoutpg.New(s.db)
	must(t, err)
	kept.OnMoved(orders.TellMoved)
	s.inventory, err = checkout.NewInventory(holds, orders, events, time.Now, o.log, registry)
	must(t, err)
	sandbox := payment.NewSandbox(s.db, 50*time.Millisecond)
	var gateway payment.Gateway = sandbox
	if o.gateway != nil {
		gateway = o.gateway(s.db)
	}
	s.shop, err = checkout.New(checkout.Deps{
		Options: checkout.Options{HoldTTL: 5 * time.Minute, MaxExtensions: 2, PayWithin: 10 * time.Minute, GatewayTimeout: 14 * time.Second},
		Catalog: events, Holds: holds, Orders: orders, Gateway: gateway, Inventory: s.inventory, Logger: o.log, Registerer: registry,
	})
	must(t, err)
	templates, err := mail.NewTemplates()
	must(t, err)
	orders.Mailing(o.mail != nil)
	courier := webhook.NewClient(true, "onsale/test")
	t.Cleanup(courier.Close)
	told, err := messages.New(messages.Deps{
		Store: checkoutpg.Messages{Store: orders}, Orders: s.shop, Events: events, Courier: courier, Mail: o.mail, Templates: templates,
		Link: func(order checkout.Order) string {
			_, link := web.OrderLink(&url.URL{Scheme: "https", Host: "tickets.example"}, s.keys, order)
			return link
		},
		HolderLink: func(a *checkout.Admission) string {
			_, link := web.HolderLink(&url.URL{Scheme: "https", Host: "tickets.example"}, s.keys, a)
			return link
		},
		Attacher: web.PaperTickets{Admissions: s.shop, Events: events, Keys: s.keys},
		Code:     func(id string) string { return account.CodeText(s.keys, id) },
		Clock:    time.Now, Logger: o.log, Options: o.messages,
	})
	must(t, err)
	if o.signIn == "" {
		o.signIn = account.SignInCode
	}
	jobs, err := checkoutpg.NewJobs(s.db, orders, s.shop, o.log, checkoutpg.WithMessages(told))
	must(t, err)
	pages, err := fs.Sub(ui.Dist, "dist")
	must(t, err)

	ts := httptest.NewUnstartedServer(nil)
	s.url = "http://" + ts.Listener.Addr().String()
	public, err := url.Parse(s.url)
	must(t, err)
	people := account.Deps{
		Store: checkoutpg.Accounts{Store: orders}, Keys: s.keys, Identity: o.identity, IssuerName: "Example & co", SignIn: o.signIn, Mailing: o.mail != nil, Clock: time.Now,
	}
	if o.browser != nil {
		people.Browser = o.browser(public)
	}
	accounts, err := account.New(people)
	must(t, err)
	deps := web.Deps{
		Roles: web.Roles{Waitroom: true, Shop: true}, PublicURL: public, AllowedOrigins: []string{"https://partner.example"},
		AdminToken: operator, Catalog: events, Organiser: kept, Rooms: s.rooms, Shop: s.shop, Inventory: s.inventory, Messages: told, Accounts: accounts, AtIssuer: accounts.ByBrowser(), Keys: s.keys, UI: pages,
		Ready: map[string]func(context.Context) error{
			"redis":    func(ctx context.Context) error { return s.rdb.Ping(ctx).Err() },
			"postgres": s.db.Ping,
		},
		Audit: audit.New(s.db), Sandbox: sandbox, Clock: time.Now, Logger: o.log, Registerer: registry, Gatherer: registry,
	}
	if o.deps != nil {
		o.deps(&deps)
	}
	s.server, err = web.New(deps)
	must(t, err)
	ts.Config.Handler = s.server.Handler()
	ts.Listener = s.server.Listen(ts.Config, ts.Listener)
	ts.Start()
	s.http = ts.Client()
	s.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.http.Transport.(*http.Transport).MaxIdleConnsPerHost = 1000
	s.http.Transport.(*http.Transport).MaxIdleConns = 1000

	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	g, work := errgroup.WithContext(work)
	g.Go(func() error { return s.rooms.Run(work) })
	g.Go(func() error { return s.server.Run(work) })
	g.Go(func() error { return jobs.Run(work) })
	g.Go(func() error { return s.inventory.Run(work, s.events) })
	g.Go(func() error { return s.heartbeat(work) })
	t.Cleanup(func() {
		grace, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.server.Shutdown(grace)
		ts.CloseClientConnections()
		ts.Close()
		stop()
		if err := g.Wait(); err != nil {
			t.Errorf("the program ended: %v", err)
		}
	})

	s.event = s.newEvent("Trio at the mill", "on_sale")
	for cursor := ""; ; {
		var page struct {
			Tickets []catalog.Ticket
			Next    *string `json:"next_cursor"`
		}
		s.get("/v1/events/"+s.event+"/tickets"+cursor).ok(200, &page)
		for _, ticket := range page.Tickets {
			s.tickets = append(s.tickets, ticket.ID)
		}
		if page.Next == nil {
			break
		}
		cursor = "?cursor=" + *page.Next
	}
	return s
}

// newEvent creates an event like stageEvent, and lets its shop be well.
func (s *stage) newEvent(name, status string) string {
	s.t.Helper()
	var created struct{ ID string }
	s.post("/v1/admin/events", fmt.Sprintf(stageEvent, name, status), asOperator).ok(201, &created)
	must(s.t, s.rooms.ShopOK(s.t.Context(), created.ID, -1, -1, 0)) // not only at the next heartbeat
	return created.ID
}

// events lists the events with a room.
func (s *stage) events(ctx context.Context) ([]string, error) {
	rooms, err := s.rooms.Rooms(ctx)
	var list []string
	for i := range rooms {
		list = append(list, rooms[i].Event)
	}
	return list, err
}

// heartbeat tells all rooms each second that their shop is well.
func (s *stage) heartbeat(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		events, _ := s.events(ctx) // none while it ends
		for _, event := range events {
			if v, err := s.inventory.View(ctx, event); err == nil {
				_ = s.rooms.ShopOK(ctx, event, v.Stock.Available, v.Stock.Held, 6) // the next beat is near
			}
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reply is an answer that has been held against the document.
type reply struct {
	t      testing.TB
	asked  string
	status int
	header http.Header
	body   []byte
}

func (s *stage) get(path string, with ...func(*http.Request)) reply {
	s.t.Helper()
	return s.do(http.MethodGet, path, "", with...)
}

func (s *stage) post(path, body string, with ...func(*http.Request)) reply {
	s.t.Helper()
	return s.do(http.MethodPost, path, body, with...)
}

func bearing(token string) func(*http.Request) { return header("Authorization", "Bearer "+token) }
func keyed(key string) func(*http.Request)     { return header("Idempotency-Key", key) }

// do sends a request. A request that succeeds must be valid by the document too.
func (s *stage) do(method, path, body string, with ...func(*http.Request)) reply {
	s.t.Helper()
	got, err := s.send(method, path, body, with...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return got
}

// send is do for goroutines beside the test's own.
func (s *stage) send(method, path, body string, with ...func(*http.Request)) (reply, error) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, change := range with {
		change(r)
	}
	response, err := s.http.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	got := reply{t: s.t, asked: method + " " + path, status: response.StatusCode, header: response.Header}
	if got.body, err = io.ReadAll(response.Body); err != nil {
		return reply{}, err
	}
	response.Body = io.NopCloser(bytes.NewReader(got.body))
	r.Body = io.NopCloser(strings.NewReader(body))
	api(s.t).hold(s.t, r, response)
	return got, nil
}

// ok demands a status and decodes the answer.
func (r reply) ok(status int, into any) reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: %d, want %d: %s", r.asked, r.status, status, r.body)
	}
	if into != nil {
		if err := json.Unmarshal(r.body, into); err != nil {
			r.t.Fatalf("%s: %v in %s", r.asked, err, r.body)
		}
	}
	return r
}

// refused demands a problem document with a code.
func (r reply) refused(status int, code string) problem {
	r.t.Helper()
	p := r.problem()
	if r.status != status || p.code() != code {
		r.t.Errorf("%s: %d %s, want %d %s: %s", r.asked, r.status, p.code(), status, code, r.body)
	}
	return p
}

type problem struct {
	Type, Title, Detail, Instance string
	Status                        int
	RequestID                     string `json:"request_id"`
	Taken                         []string
	Queue                         string
}

func (p problem) code() string { return p.Type[strings.LastIndex(p.Type, "/")+1:] }

// problem is the answer as a problem document; the zero one if it is none.
func (r reply) problem() (p problem) {
	if r.header.Get("Content-Type") == "application/problem+json" && json.Unmarshal(r.body, &p) != nil {
		return problem{}
	}
	return p
}

// eventually asks until ok is true of the answer.
func eventually[T any](t testing.TB, what string, ask func() T, ok func(T) bool) T {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		v := ask()
		if ok(v) {
			return v
		}
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s; last: %+v", what, v)
		}
		<-tick.C
	}
}

// within asks until ok is true of the answer, as it must be of whatever is asked later
// than limit from now. The time for which the machine was too busy for us does not count.
func within[T any](t testing.TB, what string, limit time.Duration, ask func() T, ok func(T) bool) T {
	t.Helper()
	began, delays := time.Now(), stacktest.Delays(t)
	for {
		late := time.Since(began)
		v := ask()
		if ok(v) {
			return v
		}
		if late -= delays(); late > limit {
			t.Fatalf("not %s after: %s; last: %+v", late, what, v)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// query reads one value from the database.
func query[T any](s *stage, sql string, args ...any) (v T) {
	s.t.Helper()
	if err := s.db.QueryRow(s.t.Context(), sql, args...).Scan(&v); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// me is what visitors are told.
type me struct {
	Visitor      string
	VisitorToken string `json:"visitor_token"`
	State        string
	Place        *int64
	Ahead        *int
	Room         struct {
		State   string
		Reason  *string
		Message *string
	}
	Receipt   string
	ClaimBy   *time.Time `json:"claim_by"`
	LeaseEnds *time.Time `json:"lease_ends"`
	Pass      string
}

func (s *stage) join(event string) me {
	s.t.Helper()
	var m me
	s.post("/v1/rooms/"+event+"/join", "{}").ok(200, &m)
	return m
}

// admitted joins the room, waits for the turn and claims it.
func (s *stage) admitted(event string) me {
	s.t.Helper()
	joined := s.join(event)
	m := joined
	room := "/v1/rooms/" + event
	if m.State != "ready" {
		m = eventually(s.t, "the turn comes", func() (m me) {
			s.get(room+"/me", bearing(joined.VisitorToken)).ok(200, &m)
			return m
		}, func(m me) bool { return m.State == "ready" })
	}
	s.post(room+"/claim", "", bearing(joined.VisitorToken)).ok(200, &m)
	if m.State != "shopping" || m.Pass == "" {
		s.t.Fatalf("claimed: %+v", m)
	}
	m.VisitorToken = joined.VisitorToken
	return m
}

type hold struct {
	Hold           string
	ExpiresAt      time.Time `json:"expires_at"`
	ExtensionsLeft int       `json:"extensions_left"`
	Tickets        []catalog.Ticket
	Total          catalog.Money
}

type order struct {
	Order, Status, Link string
	Token               string `json:"order_token"`
	Total               catalog.Money
	Items               []struct{ Ticket string }
	Payment             struct {
		Reason     string
		NextAction *struct{ Type, URL string } `json:"next_action"`
	}
}

func (s *stage) held(event, pass string, tickets ...string) (h hold) {
	s.t.Helper()
	names, err := json.Marshal(tickets)
	must(s.t, err)
	s.post("/v1/events/"+event+"/holds", `{"tickets":`+string(names)+`}`, bearing(pass)).ok(201, &h)
	return h
}

// newChannel makes a channel of the stage's event and a code for it.
func (s *stage) newChannel(name string, uses int) (channel, code string) {
	s.t.Helper()
	var made struct{ ID string }
	channels := "/v1/admin/events/" + s.event + "/channels"
	s.post(channels, `{"name":"`+name+`"}`, asOperator).ok(201, &made)
	var codes struct{ Codes []string }
	s.post(channels+"/"+made.ID+"/invites", fmt.Sprintf(`{"uses":%d,"note":"test"}`, uses), asOperator).ok(201, &codes)
	return made.ID, codes.Codes[0]
}

const someBuyer = `"buyer":{"name":"Ada Example","email":"ada@buyers.example"}`

func (s *stage) ordered(pass string, h hold) (o order) {
	s.t.Helper()
	s.post("/v1/orders", `{"hold":"`+h.Hold+`",`+someBuyer+`}`, bearing(pass), keyed("order "+h.Hold)).ok(201, &o)
	return o
}

func (s *stage) paid(o order, method string) order {
	s.t.Helper()
	s.post("/v1/orders/"+o.Order+"/pay", `{"method":"`+method+`"}`, bearing(o.Token), keyed("pay "+o.Order+method)).ok(200, &o)
	return o
}

func (s *stage) orderNow(o order) (now order) {
	s.t.Helper()
	s.get("/v1/orders/"+o.Order, bearing(o.Token)).ok(200, &now)
	return now
}

// socket is a WebSocket whose frames are held against a schema.
type socket struct {
	t    testing.TB
	conn *websocket.Conn
}

func (s *stage) dial(path string, h http.Header, protocols ...string) *socket {
	s.t.Helper()
	d := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: time.Minute}
	conn, response, err := d.DialContext(s.t.Context(), "ws"+strings.TrimPrefix(s.url, "http")+path, h)
	if err != nil {
		s.t.Fatalf("WS %s: %v (%v)", path, err, response)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	if len(protocols) > 0 && conn.Subprotocol() != protocols[0] {
		s.t.Errorf("WS %s: subprotocol %q", path, conn.Subprotocol())
	}
	return &socket{s.t, conn}
}

func (w *socket) say(text string) {
	w.t.Helper()
	must(w.t, w.conn.WriteMessage(websocket.TextMessage, []byte(text)))
}

// next reads a frame, which must be of one of the schemas.
func (w *socket) next(schemas ...string) []byte {
	w.t.Helper()
	_ = w.conn.SetReadDeadline(time.Now().Add(time.Minute))
	kind, frame, err := w.conn.ReadMessage()
	if err != nil || kind != websocket.TextMessage {
		w.t.Fatalf("no frame: %d, %v", kind, err)
	}
	var complaints []string
	for _, name := range schemas {
		wrong := api(w.t).frame(name, frame)
		if wrong == "" {
			return frame
		}
		complaints = append(complaints, name+": "+wrong)
	}
	w.t.Fatalf("frame %s is not as documented:\n%s", frame, strings.Join(complaints, "\n"))
	return nil
}

// until reads the visitor's frames until one is as wanted.
func (w *socket) until(what string, ok func(me) bool) (m me) {
	w.t.Helper()
	for range 200 {
		m = me{}
		must(w.t, json.Unmarshal(w.next("Me"), &m))
		if ok(m) {
			return m
		}
	}
	w.t.Fatalf("never told: %s; last: %+v", what, m)
	return m
}

// closed reads until the server closes, and returns the code.
func (w *socket) closed() int {
	w.t.Helper()
	_ = w.conn.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		if _, _, err := w.conn.ReadMessage(); err != nil {
			if e, ok := errors.AsType[*websocket.CloseError](err); ok {
				return e.Code
			}
			w.t.Fatalf("ended without a close frame: %v", err)
		}
	}
}

// document is the OpenAPI document as the server gives it out.
type document struct {
	raw      []byte
	model    *v3.Document
	answers  validator.Validator // strict: what is not documented is wrong
	requests validator.Validator
	schemas  schema_validation.SchemaValidator
	// either is held for the answer that is one of two schemas: the validator writes to
	// those while it compiles them, each time.
	either sync.Mutex
}

var loadDocument = sync.OnceValues(func() (*document, error) {
	server, err := web.New(web.Deps{
		Roles: web.Roles{Waitroom: true}, PublicURL: &url.URL{Scheme: "http", Host: "docs.test"}, Rooms: new(waitroom.Service),
		Keys: pass.Generate(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	doc, err := libopenapi.NewDocument(w.Body.Bytes())
	if err != nil {
		return nil, fmt.Errorf("/openapi.json: %d: %w", w.Code, err)
	}
	model, err := doc.BuildV3Model()
	if err != nil {
		return nil, err
	}
	// Headers that the document does not go into.
	quiet := config.WithStrictIgnoredHeaders("Date", "Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Connection", "Vary",
		"Cache-Control", "Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options", "Cross-Origin-Opener-Policy", "Strict-Transport-Security",
		"Www-Authenticate", "Upgrade", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers")
	answers, errs := validator.NewValidator(doc, config.WithStrictMode(), quiet, config.WithStrictIgnorePaths("$.body.entries[*].detail.*", "$.body.audit[*].detail.*", "$.body.document.*", "$.body.document.**"), config.WithFormatAssertions(), config.WithoutSecurityValidation())
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	requests, errs := validator.NewValidator(doc, config.WithFormatAssertions(), config.WithoutSecurityValidation(), config.WithURLEncodedBodyValidation())
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &document{
		raw: w.Body.Bytes(), model: &model.Model, answers: answers, requests: requests,
		schemas: schema_validation.NewSchemaValidator(config.WithStrictMode(), config.WithFormatAssertions()),
	}, nil
})

func api(t testing.TB) *document {
	t.Helper()
	d, err := loadDocument()
	must(t, err)
	return d
}

// pages are the paths for browsers, which are no part of the document.
var pages = []string{"/", "/queue/:id", "/events/:id", "/checkout/:id", "/orders/:id", "/t/:id", "/account", "/console", "/assets/*file", "/favicon.ico"}

// hold holds an answer, and a request that had success, against the document.
func (d *document) hold(t testing.TB, r *http.Request, response *http.Response) {
	t.Helper()
	r = r.Clone(r.Context())
	switch r.URL.Path {
	case "/reserve_ticket", "/purchase_ticket": // two spellings of one path
		r.URL.Path += "/"
	}
	operation := d.operation(r)
	if operation == "" {
		return
	}
	if operation == "/v1/admin/events" {
		d.either.Lock()
		defer d.either.Unlock()
	}
	if ok, wrong := d.answers.ValidateHttpResponse(r, response); !ok {
		body, _ := io.ReadAll(response.Body)
		t.Errorf("%s %s: the answer %d %.600s is not as documented:\n%s", r.Method, r.URL.Path, response.StatusCode, body, complaints(wrong))
	}
	if response.StatusCode < 300 && response.StatusCode != http.StatusSwitchingProtocols {
		if ok, wrong := d.requests.ValidateHttpRequestSync(r); !ok {
			t.Errorf("%s %s: this request has success, though it is not as documented:\n%s", r.Method, r.URL, complaints(wrong))
		}
	}
}

// operation is the path of the request's operation in the document; "" if it has
// none.
func (d *document) operation(r *http.Request) string {
	for path, item := range d.model.Paths.PathItems.FromOldest() {
		if matches(path, r.URL.Path) && item.GetOperations().GetOrZero(strings.ToLower(r.Method)) != nil {
			return path
		}
	}
	return ""
}

// matches tells whether a path has the form of a template.
func matches(template, path string) bool {
	want, have := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if want[i] != have[i] && (!strings.HasPrefix(want[i], "{") || have[i] == "") {
			return false
		}
	}
	return true
}

// frame says what is wrong with a frame, or "".
func (d *document) frame(name string, frame []byte) string {
	proxy := d.model.Components.Schemas.GetOrZero(name)
	if proxy == nil {
		return "there is no such schema"
	}
	return d.value(proxy.Schema(), frame)
}

func (d *document) value(schema *base.Schema, value []byte) string {
	if ok, wrong := d.schemas.ValidateSchemaBytes(schema, value); !ok {
		return complaints(wrong)
	}
	return ""
}

func complaints(wrong []*verrors.ValidationError) string {
	var b strings.Builder
	for _, e := range wrong {
		fmt.Fprintf(&b, "  %s: %s\n", e.Message, e.Reason)
		for _, f := range e.SchemaValidationErrors {
			fmt.Fprintf(&b, "    %s at %s\n", f.Reason, f.FieldPath)
		}
	}
	return b.String()
}
