package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/checkout/account"
	"onsale/checkout/messages"
	"onsale/waitroom"
	"onsale/waitroom/pass"
)

// Catalog is what the routes need of the read side; *catalog.Cache is one.
type Catalog interface {
	Events(ctx context.Context, q catalog.Query) (catalog.Page, error)
	Event(ctx context.Context, id string) (catalog.Event, error)
	Layout(ctx context.Context, event string) (*catalog.Layout, error)
	PlanView(ctx context.Context, event string) (doc []byte, version string, err error)
	Tickets(ctx context.Context, q catalog.TicketQuery) (catalog.TicketPage, error)
	// TicketEvent finds the event and the ordinal of a ticket.
	TicketEvent(ctx context.Context, ticket string) (event string, ordinal int, err error)
	CreateEvent(ctx context.Context, e catalog.NewEvent) (catalog.Event, error)
	UpdateEvent(ctx context.Context, id string, p catalog.EventPatch) (e catalog.Event, told int, err error)
	EventDocument(ctx context.Context, id string, withPlan bool) ([]byte, error)
	// Changed has what was changed of an event, "" for any, shown at once.
	Changed(event string)
	CreateSeries(ctx context.Context, e catalog.NewEvent) (catalog.Series, error)
	Series(ctx context.Context, id string) (catalog.Series, error)
}

// Roles says which routes this node serves.
type Roles struct {
	Waitroom bool // rooms, queue page
	Shop     bool // catalog, holds, orders, pages, console
}

// Deps is what a Server is made of. Rooms is always needed; Catalog, Shop and
// Inventory are needed for the shop role.
type Deps struct {
	Roles          Roles
	PublicURL      *url.URL // where browsers reach us: decides cookies, origins, links
	AllowedOrigins []string // further origins that may call and connect
	TrustedProxies []netip.Prefix
	AdminToken     string
	BodyBytes      int64 // largest request body
	// SocketsPerAddress is the most WebSockets of visitors from one network
	// address at this node, and the most of viewers of seat maps; 0: no limit.
	SocketsPerAddress int
	EventDefaults     catalog.Defaults

	Catalog   Catalog
	Organiser Organiser // needed with Catalog
	// Events tells which events are drafts where there is no Catalog; nil: nobody knows.
	Events    Events
	Rooms     *waitroom.Service
	Shop      *checkout.Service
	Inventory *checkout.Inventory
	Messages  *messages.Service // nil: neither webhooks nor e-mails are to be had
	Accounts  *account.Service  // nil: there are none, and nobody is forgotten
	Keys      *pass.KeySet
	// AtIssuer: buyers sign in at the issuer, here or at a node that has Accounts.
	AtIssuer bool
	UI       UI
	// Ready names the dependencies of this role and how to ask after them.
	Ready map[string]func(context.Context) error
	// Audit records what an operator did. Nil where the role has no database.
	Audit   Audit
	Sandbox SandboxActions // nil unless the sandbox gateway is in use
	// StripeKey is the publishable key of the account at Stripe, "" unless that is
	// the gateway in use.
	StripeKey string

	Clock      func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer
}

// Server answers HTTP and WebSocket requests for one node.
type Server struct {
	Deps
	log        *slog.Logger
	engine     *gin.Engine
	hub        *Hub
	live       *liveHub
	admin      *adminHub
	pages      *pages
	eventDocs  *snapshots[eventAnswer]   // by event
	eventLists *snapshots[codedDocument] // by query
	drafts     *drafts
	series     *snapshots[seriesAnswer] // by id
	epoch      atomic.Int64             // of these three
	quick      *quickEvents             // nil without the shop role
	api        *apiDocument
	metrics    *metrics
	requests   *requestIDs
	atOnce     *atOnce
	origins    map[string]bool
	returns    map[string]bool // the same, as returnTo compares them
	secure     bool            // cookies only over TLS
	leaving    atomic.Bool     // no request is answered without net/http any more

	crossOrigin *http.CrossOriginProtection
}

// New wires the routes of the node's roles. It does no I/O.
func New(d Deps) (*Server, error) {
	if d.PublicURL == nil || d.Rooms == nil || d.Keys == nil || d.Logger == nil || d.Clock == nil {
		return nil, errors.New("web: PublicURL, Rooms, Keys, Logger and Clock are required")
	}
	if d.Roles.Shop && (d.Catalog == nil || d.Organiser == nil || d.Shop == nil || d.Inventory == nil) {
		return nil, errors.New("web: the shop role needs Catalog, Organiser, Shop and Inventory")
	}
	if d.Catalog != nil {
		d.Events = d.Catalog
	}
	if d.BodyBytes <= 0 {
		d.BodyBytes = 64 << 10
	}
	gin.SetMode(gin.ReleaseMode)
	s := &Server{
		Deps:     d,
		log:      d.Logger,
		engine:   gin.New(),
		requests: newRequestIDs(),
		atOnce:   newAtOnce(),
		drafts:   newDrafts(d.Events, d.Clock),
		secure:   d.PublicURL.Scheme == "https",
		origins:  map[string]bool{origin(d.PublicURL): true},
	}
	s.eventDocs = newSnapshots[eventAnswer](mostEventDocs, &s.epoch)
	s.eventLists = newSnapshots[codedDocument](mostEventLists, &s.epoch)
	s.series = newSnapshots[seriesAnswer](mostSeriesDocs, &s.epoch)
	for _, o := range d.AllowedOrigins {
		s.origins[strings.TrimSuffix(o, "/")] = true
	}
	s.returns = returnOrigins(s.origins)
	s.crossOrigin = http.NewCrossOriginProtection()
	for o := range s.origins {
		if err := s.crossOrigin.AddTrustedOrigin(o); err != nil {
			return nil, fmt.Errorf("web: allowed origin: %w", err)
		}
	}
	var err error
	if s.metrics, err = newMetrics(d.Registerer); err != nil {
		return nil, err
	}
	if s.pages, err = loadPages(d.UI, d.EventDefaults.ImageOrigins); err != nil {
		return nil, err
	}
	if s.api, err = loadAPI(); err != nil {
		return nil, err
	}
	s.engine.HandleMethodNotAllowed = true
	s.engine.UseRawPath = false
	s.engine.RedirectTrailingSlash = false
	proxies := make([]string, len(d.TrustedProxies))
	for i, p := range d.TrustedProxies {
		proxies[i] = p.String()
	}
	if err := s.engine.SetTrustedProxies(proxies); err != nil {
		return nil, err
	}
	s.engine.Use(s.requestID, s.observe, s.recover, s.headers, s.limits, s.sameOrigin, s.knownQueries)
	s.engine.NoRoute(s.noRoute)
	s.engine.NoMethod(s.noMethod)
	s.routes()
	return s, nil
}

// routes lists all routes; each area of the API has its own file.
func (s *Server) routes() {
	r := s.engine
	s.systemRoutes(r)
	if s.Roles.Waitroom {
		s.hub = newHub(s)
		s.roomRoutes(r)
	}
	if s.Roles.Shop {
		s.live = newLiveHub(s)
		s.admin = newAdminHub(s)
		s.catalogRoutes(r)
		s.calendarRoutes(r)
		s.seriesRoutes(r)
		s.quick = newQuickEvents(s.metrics)
		s.shopRoutes(r)
		s.originalRoutes(r)
		s.adminRoutes(r)
		s.organiserRoutes(r)
		s.doorRoutes(r)
		s.messageRoutes(r)
		s.accountRoutes(r)
	}
	s.robotRoutes(r)
	s.pageRoutes(r)
}

// Handler is the whole of the server's HTTP surface.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead { // as GET; net/http leaves the body out
			get := *r
			get.Method = http.MethodGet
			r = &get
		}
		if s.quick != nil && s.quickEvent(w, r) {
			return
		}
		s.engine.ServeHTTP(w, r)
	})
}

// Run owns the hubs until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	return s.runHubs(ctx)
}

// Shutdown tells every WebSocket to reconnect elsewhere (close code 4000), in
// batches spread over the time ctx leaves, and waits for them to be gone.
func (s *Server) Shutdown(ctx context.Context) {
	s.leaving.Store(true)
	var hubs sync.WaitGroup
	if s.hub != nil {
		hubs.Go(func() { s.hub.Shutdown(ctx) })
	}
	if s.live != nil {
		hubs.Go(func() { s.live.Shutdown(ctx) })
	}
	if s.admin != nil {
		s.admin.shutdown()
	}
	hubs.Wait()
}

// origin is the scheme://host[:port] of u as browsers send it.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }
