package web

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/errgroup"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/waitroom"
)

// How long shared caches may keep answers. An event carries its stock, so it is
// old after a second, and the one after that is for the cache to ask again while
// nobody waits. While the program is gone, an old answer is better than none.
const (
	cacheEvents = "public, max-age=1, stale-while-revalidate=1, stale-if-error=600"
	cacheStatus = "public, no-cache" // ask every time, by ETag
	cachePlan   = "public, max-age=31536000, immutable"
	cacheLatest = "public, max-age=60, stale-while-revalidate=60, stale-if-error=86400" // of a plan by the name of its event
)

func (s *Server) catalogRoutes(r gin.IRouter) {
	plans := newKeep[*codedDocument](mostPlans)
	r.GET("/v1/events", func(c *gin.Context) { s.listEvents(c, false) })
	r.GET("/v1/events/:id", s.getEvent)
	r.GET("/v1/events/:id/tickets", s.listTickets)
	r.GET("/v1/events/:id/plan", func(c *gin.Context) { s.getPlan(c, plans) })
	r.GET("/v1/events/:id/plan/:version", func(c *gin.Context) { s.getPlan(c, plans) })

	r.GET(adminEventsPath, s.requireAdmin, func(c *gin.Context) { s.listEvents(c, true) })
	r.POST(adminEventsPath, s.requireAdmin, s.createEvent)
	r.PATCH(adminEventsPath+"/:id", s.requireAdmin, s.updateEvent)
	r.PUT(adminEventsPath+"/:id", s.requireAdmin, s.putEvent)
}

// eventView is an event as clients see it: with its stock and its room. What
// cannot be known at the moment is null, never a guess.
type eventView struct {
	ID          string                `json:"id"`
	Name        string                `json:"name"`
	Type        string                `json:"type"`
	Description string                `json:"description"`
	StartsAt    time.Time             `json:"starts_at"`
	DoorsAt     *time.Time            `json:"doors_at"`
	Timezone    string                `json:"timezone"`
	Status      string                `json:"status"`
	Venue       catalog.Venue         `json:"venue"`
	Artists     []catalog.Artist      `json:"artists"`
	Images      []catalog.Image       `json:"images"`
	Tiers       []tierView            `json:"tiers"`
	Tickets     *ticketsView          `json:"tickets"`
	MaxPerBuyer int                   `json:"max_per_buyer"`
	SingleSeats catalog.SingleSeats   `json:"single_seats"`
	Fees        feesView              `json:"fees"`
	Tax         *taxView              `json:"tax"`          // null: there is none
	Cancel      *catalog.CancelPolicy `json:"cancellation"` // null: buyers cannot cancel what they have paid
	Room        *eventRoomView        `json:"room"`
	PlanURL     string                `json:"plan_url,omitempty"` // of a single event
	Series      *catalog.SeriesName   `json:"series"`             // null: it is none of several dates
	UpdatedAt   time.Time             `json:"updated_at"`         // not for stock and room
}

// feesView is what is charged besides the prices.
type feesView struct {
	PerTicket catalog.Money `json:"per_ticket"`
	PerOrder  catalog.Money `json:"per_order"`
}

// taxView is what prices and fees contain, or what comes on top of them.
type taxView struct {
	Name     string       `json:"name"`
	Percent  catalog.Rate `json:"percent"`
	Included bool         `json:"included"`
}

type tierView struct {
	catalog.Tier
	Available    *int                  `json:"available"`
	Availability checkout.Availability `json:"availability,omitempty"`
}

type ticketsView struct {
	Total        int                   `json:"total"`
	Available    int                   `json:"available"`
	Held         int                   `json:"held"`
	Sold         int                   `json:"sold"`
	Blocked      int                   `json:"blocked"` // kept for a channel, or by the house
	Availability checkout.Availability `json:"availability"`
}

type eventRoomView struct {
	State        waitroom.State `json:"state"`
	OpensAt      *time.Time     `json:"opens_at"`
	ClosedReason string         `json:"closed_reason,omitempty"`
}

// eventView joins an event with its stock and its room.
func (s *Server) eventView(ctx context.Context, e catalog.Event) eventView {
	return s.eventViews(ctx, []catalog.Event{e})[0]
}

// viewsAtOnce is how many events of a list are joined at a time. What is known
// of an event is remembered for a moment, so that a list asks for each of its events
// at most once in that time, however many read it.
const viewsAtOnce = 16

// eventViews joins events with stock and rooms. Once the queue did not answer it
// is not asked again for the rest of them.
func (s *Server) eventViews(ctx context.Context, events []catalog.Event) []eventView {
	views := make([]eventView, len(events))
	var down atomic.Bool
	var all errgroup.Group
	all.SetLimit(viewsAtOnce)
	for i, e := range events {
		v := &views[i]
		*v = eventView{
			ID: e.ID, Name: e.Name, Type: e.Type, Description: e.Description, StartsAt: e.StartsAt, DoorsAt: e.DoorsAt, Timezone: e.Timezone,
			Status: e.Status, Venue: e.Venue, Artists: e.Artists, Images: imagesOf(e), MaxPerBuyer: e.MaxPerBuyer, SingleSeats: e.SingleSeats,
			Fees:  feesView{catalog.Money{Amount: e.Terms.FeePerTicket, Currency: e.Currency}, catalog.Money{Amount: e.Terms.FeePerOrder, Currency: e.Currency}},
			Tiers: make([]tierView, len(e.Tiers)), Cancel: e.Terms.Cancel,
			Series: e.Series, UpdatedAt: e.UpdatedAt,
		}
		if t := e.Terms.Tax; t.Rate > 0 {
			v.Tax = &taxView{t.Name, t.Rate, t.Included}
		}
		for k, t := range e.Tiers {
			v.Tiers[k].Tier = t
		}
		all.Go(func() error {
			if !down.Load() && (!s.addStock(ctx, v) || !s.addRoom(ctx, v)) {
				down.Store(true)
			}
			return nil
		})
	}
	_ = all.Wait()
	return views
}

// addStock reports whether the queue answered.
func (s *Server) addStock(ctx context.Context, v *eventView) bool {
	stock, err := s.Inventory.Stock(ctx, v.ID)
	if err != nil {
		return fault.Is(err, fault.NotFound)
	}
	v.Tickets = &ticketsView{stock.Total, stock.Available, stock.Held, stock.Sold, stock.Blocked, stock.Availability()}
	for k := range min(len(v.Tiers), len(stock.Tiers)) {
		v.Tiers[k].Available, v.Tiers[k].Availability = &stock.Tiers[k].Available, stock.Tiers[k].Availability()
	}
	return true
}

// addRoom reports whether the queue answered.
func (s *Server) addRoom(ctx context.Context, v *eventView) bool {
	room, err := s.Rooms.Room(ctx, v.ID)
	if err != nil {
		return fault.Is(err, fault.NotFound)
	}
	v.Room = &eventRoomView{State: room.State, OpensAt: room.Info().OpensAt, ClosedReason: room.ClosedReason}
	return true
}

func (s *Server) listEvents(c *gin.Context, drafts bool) {
	q, err := eventQuery(c, "limit", "cursor")
	if err == nil {
		q.Drafts, q.Cursor = drafts, c.Query("cursor")
		q.Limit, err = limitOf(c, catalog.DefaultEvents, catalog.MostEvents)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if drafts {
		list, err := s.eventList(c.Request.Context(), q)
		if err != nil {
			s.fail(c, err)
			return
		}
		s.tagged(c, "private, no-store", list)
		return
	}
	doc, err := s.eventLists.of(c.Request.Context(), s.Clock, c.Request.URL.Query().Encode(), func(ctx context.Context, last *codedDocument) (*codedDocument, int, error) {
		list, err := s.eventList(ctx, q)
		if err != nil {
			return nil, 0, err
		}
		body, err := json.Marshal(list)
		if err != nil {
			return nil, 0, err
		}
		now := newCoded(body)
		if last != nil && last.same(now) { // which may be compressed already
			now = last
		}
		return now, now.size(), nil
	})
	if err != nil {
		s.fail(c, err)
		return
	}
	doc.write(c.Writer, c.Request, eventType, eventCaching)
}

// mostEventLists bounds the kept lists, which anybody can ask for in any number of ways.
const mostEventLists = 32 << 20

type eventList struct {
	Events []eventView `json:"events"`
	Next   *string     `json:"next_cursor"`
}

func (s *Server) eventList(ctx context.Context, q catalog.Query) (eventList, error) {
	page, err := s.Catalog.Events(ctx, q)
	if err != nil {
		return eventList{}, err
	}
	return eventList{s.eventViews(ctx, page.Events), orNull(page.Next)}, nil
}

// publicEvent finds the event that the path names. Drafts are there for
// operators only.
func (s *Server) publicEvent(c *gin.Context) (catalog.Event, error) {
	event, err := id(c, "id")
	if err != nil {
		return catalog.Event{}, err
	}
	e, err := s.Catalog.Event(c.Request.Context(), event)
	if err == nil && e.Status == "draft" {
		if token, berr := bearer(c); berr != nil || !s.isAdmin(token) {
			return catalog.Event{}, fault.New(fault.NotFound, "there is no event with the id %q", event)
		}
	}
	return e, err
}

// fullEventView is eventView with what is said of single events only.
func (s *Server) fullEventView(ctx context.Context, e catalog.Event) eventView {
	v := s.eventView(ctx, e)
	v.PlanURL = s.planURL(ctx, e.ID)
	return v
}

// planURL is where the event's plan can be had for good, or "" when that is not
// known now.
func (s *Server) planURL(ctx context.Context, event string) string {
	_, version, err := s.Catalog.PlanView(ctx, event)
	if err != nil || version == "" {
		return ""
	}
	return "/v1/events/" + event + "/plan/" + url.PathEscape(version)
}

func (s *Server) getEvent(c *gin.Context) {
	err := query(c)
	var e catalog.Event
	if err == nil {
		e, err = s.publicEvent(c)
	}
	if err == nil && e.Status == "draft" {
		private(c, http.StatusOK, s.fullEventView(c.Request.Context(), e))
		return
	}
	var doc *codedDocument
	if err == nil {
		doc, err = s.eventDoc(c.Request.Context(), &e)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	doc.write(c.Writer, c.Request, eventType, eventCaching)
}

func (s *Server) listTickets(c *gin.Context) {
	err := query(c, "section", "tier", "status", "attribute", "limit", "cursor")
	var page catalog.TicketPage
	if err == nil {
		_, page, err = s.ticketPage(c)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.tagged(c, cacheStatus, ticketList{page.Tickets, orNull(page.Next)})
}

type ticketList struct {
	Tickets []catalog.Ticket `json:"tickets"`
	Next    *string          `json:"next_cursor"`
}

// ticketPage reads the tickets that the query selects, with their event.
func (s *Server) ticketPage(c *gin.Context) (catalog.Event, catalog.TicketPage, error) {
	limit, err := limitOf(c, catalog.DefaultTickets, catalog.MostTickets)
	if err != nil {
		return catalog.Event{}, catalog.TicketPage{}, err
	}
	e, err := s.publicEvent(c)
	if err != nil {
		return catalog.Event{}, catalog.TicketPage{}, err
	}
	page, err := s.Catalog.Tickets(c.Request.Context(), catalog.TicketQuery{
		Event: e.ID, Section: c.Query("section"), Tier: c.Query("tier"), Status: c.Query("status"),
		Attribute: c.Query("attribute"),
		Limit:     limit, Cursor: c.Query("cursor"),
	})
	if page.Tickets == nil {
		page.Tickets = []catalog.Ticket{}
	}
	return e, page, err
}

// mostPlans bounds the kept plans in bytes: compressing a stadium anew for every
// visitor would cost more than serving it.
const mostPlans = 128 << 20

// Header values that plans have.
var (
	planCaching   = []string{cachePlan}
	latestCaching = []string{cacheLatest}
)

// getPlan answers with a plan, by its event alone or by its version, too: then
// caches may keep it for good.
func (s *Server) getPlan(c *gin.Context, plans *keep[*codedDocument]) {
	err := query(c)
	var e catalog.Event
	if err == nil {
		e, err = s.publicEvent(c)
	}
	var plain []byte
	var version string
	if err == nil {
		plain, version, err = s.Catalog.PlanView(c.Request.Context(), e.ID)
	}
	cache, named := latestCaching, c.Param("version")
	if err == nil && named != "" {
		cache = planCaching
		if named != version {
			err = fault.New(fault.NotFound, "the event has no plan of the version %q", clip(named))
		}
	}
	if err == nil {
		if e.Status == "draft" {
			cache = draftCaching
		}
		now := s.Clock().Unix()
		doc, ok := plans.get(version, now)
		if !ok {
			doc = newTagged(version, plain)
			plans.put(version, doc, doc.size(), now)
		}
		err = doc.answer(c, eventType, cache)
	}
	if err != nil {
		s.fail(c, err)
	}
}

// originalEvent is an event with its venue and its tickets in one answer.
func (s *Server) originalEvent(c *gin.Context) {
	err := query(c, "section", "tier", "status", "attribute", "limit", "cursor")
	var e catalog.Event
	var page catalog.TicketPage
	if err == nil {
		e, page, err = s.ticketPage(c)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.tagged(c, cacheStatus, struct {
		Event eventView     `json:"event"`
		Venue catalog.Venue `json:"venue"`
		ticketList
	}{s.eventView(c.Request.Context(), e), e.Venue, ticketList{page.Tickets, orNull(page.Next)}})
}

// originalSearch finds ids of events.
func (s *Server) originalSearch(c *gin.Context) {
	q := catalog.Query{}
	err := query(c, "name", "date_range", "artist", "event_type", "limit", "cursor")
	if err == nil {
		q.Name, q.Artist, q.Type, q.Cursor = c.Query("name"), c.Query("artist"), c.Query("event_type"), c.Query("cursor")
		if r := c.Query("date_range"); r != "" {
			from, to, ok := strings.Cut(r, "..")
			if !ok {
				err = fault.New(fault.Invalid, `query parameter "date_range" must be two dates such as 2027-01-01..2027-02-01`)
			} else {
				q.From, q.To, err = timeRange(from, to, "date_range", "date_range")
			}
		}
	}
	if err == nil {
		q.Limit, err = limitOf(c, catalog.MostEvents, catalog.MostEvents)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	page, err := s.Catalog.Events(c.Request.Context(), q)
	if err != nil {
		s.fail(c, err)
		return
	}
	ids := make([]string, len(page.Events))
	for i, e := range page.Events {
		ids[i] = e.ID
	}
	s.tagged(c, cacheEvents, struct {
		IDs  []string `json:"event_ids"`
		Next *string  `json:"next_cursor"`
	}{ids, orNull(page.Next)})
}

// createEvent creates an event from the document that `onsale import event`
// reads too, its plan inside or named.
func (s *Server) createEvent(c *gin.Context) {
	var doc json.RawMessage
	err := body(c, &doc)
	var e catalog.NewEvent
	var notices []catalog.Notice
	if err == nil {
		e, notices, err = s.EventDefaults.ParseEvent(doc)
	}
	if err == nil && e.Dates != nil {
		s.createSeries(c, e, notices)
		return
	}
	if err == nil {
		err = s.record(c, "event.create", e.Name, gin.H{"name": e.Name, "venue": e.Venue.Name, "starts_at": e.StartsAt})
	}
	var created catalog.Event
	if err == nil {
		created, err = s.Catalog.CreateEvent(c.Request.Context(), e)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	// The room is made now so that the answer tells its state. Where that fails,
	// it is made from its row as soon as the queue is back.
	_, _ = s.Rooms.Seed(c.Request.Context(), roomOf(created, e.Room))
	c.Header("Location", "/v1/events/"+created.ID)
	private(c, http.StatusCreated, struct {
		eventView
		Notices []catalog.Notice `json:"notices,omitempty"`
	}{s.eventView(c.Request.Context(), created), notices})
}

func roomOf(e catalog.Event, r catalog.RoomSettings) waitroom.Settings {
	at := func(t *time.Time) time.Time {
		if t == nil {
			return time.Time{}
		}
		return *t
	}
	return waitroom.Settings{
		Event: e.ID, Name: e.Name, State: waitroom.State(r.State), ClosedReason: r.Reason, Message: r.Message,
		OpensAt: at(r.OpensAt), LobbyOpensAt: at(r.LobbyOpensAt), ClosesAt: at(r.ClosesAt),
		Throttle: waitroom.Throttle{
			RatePerMinute: r.RatePerMinute, Burst: r.Burst, MaxShoppers: r.MaxShoppers,
			Lease: r.Lease, ClaimWindow: r.ClaimWindow, Grace: r.Grace,
		},
		Order: waitroom.Order(r.Order), InviteOnly: r.InviteOnly, Challenge: waitroom.Challenge(r.Challenge),
		Draw: waitroom.Draw{PublicSource: r.PublicSource},
	}
}

func (s *Server) updateEvent(c *gin.Context) {
	event, err := id(c, "id")
	var p catalog.EventPatch
	if err == nil {
		err = body(c, &p)
	}
	if err == nil && p == (catalog.EventPatch{}) {
		err = fault.New(fault.Invalid, "nothing is changed: name, status, description, starts_at, doors_at, max_per_buyer, single_seats, rotating_codes, images, fees, tax or cancellation is expected")
	}
	if err == nil {
		err = p.Check()
	}
	if err == nil {
		p.Quiet, err = quietly(c)
	}
	if err == nil { // an unknown event leaves no trace in the audit log
		_, err = s.Catalog.Event(c.Request.Context(), event)
	}
	if err == nil {
		err = s.record(c, "event.update", event, struct {
			catalog.EventPatch
			Quiet bool `json:"quiet,omitempty"`
		}{p, p.Quiet})
	}
	var changed catalog.Event
	var told int
	if err == nil {
		changed, told, err = s.Catalog.UpdateEvent(c.Request.Context(), event, p)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, struct {
		eventView
		Told int `json:"told"` // e-mails that are on their way
	}{s.eventView(c.Request.Context(), changed), told})
}

const jsonType = "application/json; charset=utf-8"

// tagged answers with JSON and its digest as ETag, or 304 to who has it.
func (s *Server) tagged(c *gin.Context, cache string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.fail(c, err)
		return
	}
	etagged(c, b, jsonType, cache)
}

// matches tells whether the client has the representation with this tag.
func matches(c *gin.Context, tag string) bool { return holds(c.Request.Header["If-None-Match"], tag) }

// holds tells whether If-None-Match names a tag (weak comparison, RFC 9110
// section 13.1.2).
func holds(header []string, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	for _, line := range header {
		for one := range strings.SplitSeq(line, ",") {
			one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
			if one == tag || one == "*" {
				return true
			}
		}
	}
	return false
}

// query refuses unknown, repeated and broken query parameters.
func query(c *gin.Context, names ...string) error {
	if _, err := url.ParseQuery(c.Request.URL.RawQuery); err != nil {
		return fault.Wrap(err, fault.Invalid, "the query cannot be read")
	}
	if len(names) == 0 {
		if c.Request.URL.RawQuery != "" {
			return fault.New(fault.Invalid, "no query parameters are known here")
		}
		return nil
	}
	if err := knownQuery(c, names...); err != nil {
		return err
	}
	for name, values := range c.Request.URL.Query() {
		if len(values) > 1 {
			return fault.New(fault.Invalid, "query parameter %q is given %d times", name, len(values))
		}
		if !utf8.ValidString(values[0]) || strings.ContainsRune(values[0], 0) {
			return fault.New(fault.Invalid, "query parameter %q is not plain text", name)
		}
	}
	return nil
}

// timeRange reads the bounds of a search, each an RFC 3339 time or a date (UTC).
// A last date is included.
func timeRange(from, to, fromName, toName string) (start, end time.Time, err error) {
	if from != "" {
		if start, _, err = timeOrDate(from, fromName); err != nil {
			return start, end, err
		}
	}
	if to != "" {
		var date bool
		if end, date, err = timeOrDate(to, toName); err != nil {
			return start, end, err
		}
		if date {
			end = end.AddDate(0, 0, 1)
		}
	}
	if !start.IsZero() && !end.IsZero() && end.Before(start) {
		return start, end, fault.New(fault.Invalid, "query parameter %q ends before it begins", toName)
	}
	return start, end, nil
}

func timeOrDate(v, name string) (t time.Time, date bool, err error) {
	if t, err = time.Parse(time.DateOnly, v); err == nil {
		return t, true, nil
	}
	if t, err = time.Parse(time.RFC3339, v); err == nil {
		return t.UTC(), false, nil
	}
	return t, false, fault.New(fault.Invalid, "query parameter %q must be a date such as 2027-01-31 or a time such as 2027-01-31T19:00:00Z", name)
}
