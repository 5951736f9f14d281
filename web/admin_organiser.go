package web

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/waitroom"
)

// What an organiser does besides creating events: change them by their whole document,
// put them on sale and take them off, and keep venues, artists, plans and prices.

const (
	adminVenuesPath  = "/v1/admin/venues"
	adminArtistsPath = "/v1/admin/artists"
	adminPlansPath   = "/v1/admin/plans"
	adminSeriesPath  = "/v1/admin/series"
)

// Organiser keeps what organisers change, always asked on the primary; the catalog's
// pgstore.Store is one. Its errors are faults.
type Organiser interface {
	Revised
	// SeriesDocument is the document that creates such a series.
	SeriesDocument(ctx context.Context, id string, withPlan bool) ([]byte, error)

	Venues(ctx context.Context, q catalog.ListQuery) (list []catalog.VenueRecord, next string, err error)
	Venue(ctx context.Context, id string) (catalog.VenueRecord, error)
	// VenueFree and ArtistFree refuse, as Conflict, a name that another one has: id "" is
	// of one that is to be created. Who creates or changes it may still be refused.
	VenueFree(ctx context.Context, id string, p catalog.VenuePatch) error
	ArtistFree(ctx context.Context, id string, p catalog.ArtistPatch) error
	CreateVenue(ctx context.Context, p catalog.VenuePatch) (catalog.VenueRecord, error)
	UpdateVenue(ctx context.Context, id string, p catalog.VenuePatch) (catalog.VenueRecord, error)
	DeleteVenue(ctx context.Context, id string) error

	Artists(ctx context.Context, q catalog.ListQuery) (list []catalog.ArtistRecord, next string, err error)
	Artist(ctx context.Context, id string) (catalog.ArtistRecord, error)
	CreateArtist(ctx context.Context, p catalog.ArtistPatch) (catalog.ArtistRecord, error)
	UpdateArtist(ctx context.Context, id string, p catalog.ArtistPatch) (catalog.ArtistRecord, error)
	DeleteArtist(ctx context.Context, id string) error

	Plans(ctx context.Context, q catalog.ListQuery) (list []catalog.PlanRecord, next string, err error)
	PlanDocument(ctx context.Context, id string) (catalog.PlanRecord, json.RawMessage, error)
	ImportPlan(ctx context.Context, p *catalog.Plan) (id string, isNew bool, err error)
	DeletePlan(ctx context.Context, id string) error
}

func (s *Server) organiserRoutes(r gin.IRouter) {
	a := r.Group("/v1/admin", s.requireAdmin)
	a.POST("/events/:id/publish", s.adminPublish)
	a.POST("/events/:id/postpone", s.adminPostpone)
	a.PATCH("/events/:id/tiers/:tier", s.adminUpdateTier)
	a.POST("/events/:id/tickets", s.adminImportTickets)
	a.PUT("/series/:id", s.adminPutSeries)
	a.GET("/series/:id/document", s.adminSeriesDocument)
	s.venueRoutes(a)
	s.artistRoutes(a)
	s.planRoutes(a)
}

// documentKeys are those that a document of an event has, and a change of it has not.
var documentKeys = []string{"id", "type", "timezone", "venue", "artists", "currency", "plan", "generate", "prices", "areas",
	"sections", "room",
	"dates", "repeat", "except",
}

// putEvent makes an event what its document says. What has only the keys of a change is
// one, as with PATCH.
func (s *Server) putEvent(c *gin.Context) {
	var raw json.RawMessage
	if err := body(c, &raw); err != nil {
		s.fail(c, err)
		return
	}
	var keys map[string]json.RawMessage
	_ = json.Unmarshal(raw, &keys) // what is no object is refused below
	whole := slices.ContainsFunc(documentKeys, func(key string) bool { _, ok := keys[key]; return ok })
	if !whole {
		if c.Query("dry_run") != "" {
			s.fail(c, fault.New(fault.Invalid, "query parameter \"dry_run\" goes with a whole document"))
			return
		}
		c.Request.Body = io.NopCloser(bytes.NewReader(raw))
		s.updateEvent(c)
		return
	}
	s.reviseEvent(c, raw)
}

func (s *Server) reviseEvent(c *gin.Context, raw []byte) {
	ctx := c.Request.Context()
	event, err := id(c, "id")
	var dryRun bool
	if err == nil {
		dryRun, err = yesOrNo(c, "dry_run")
	}
	var doc catalog.NewEvent
	var notices []catalog.Notice
	if err == nil {
		doc, notices, err = s.EventDefaults.ParseEvent(raw)
	}
	if err == nil && doc.ID != "" && doc.ID != event {
		err = fault.New(fault.Invalid, "$.id: is another event's than the one in the path")
	}
	var quiet bool
	if err == nil {
		quiet, err = quietly(c)
	}
	var r catalog.Revision
	if err == nil {
		r, err = s.reviser(c).Event(ctx, event, doc, catalog.Revising{DryRun: dryRun, HoldsLast: s.Shop.HoldsLast(), Actor: actor(c), Quiet: quiet})
		if !dryRun {
			s.Catalog.Changed(event)
		}
	}
	var now catalog.Event
	if err == nil {
		now, err = s.Catalog.Event(ctx, event)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, revisedView{
		s.eventView(ctx, now), orNone(r.Changes), orNone(r.Notes), r.Told, notices, dryRun,
	})
}

// revisedView is an event with what a document has changed of it.
type revisedView struct {
	eventView

	Changes []catalog.Difference `json:"changes"`
	Notes   []string             `json:"notes"`
	Told    int                  `json:"told"` // e-mails that are on their way
	Notices []catalog.Notice     `json:"notices,omitempty"`
	DryRun  bool                 `json:"dry_run,omitempty"`
}

func orNone[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// yesOrNo reads a query parameter that is true or false, or nothing, which is false.
func yesOrNo(c *gin.Context, name string) (bool, error) {
	switch c.Query(name) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, fault.New(fault.Invalid, "query parameter %q must be true or false", name)
}

// quietly reports whether nobody is to be told that an event takes place at another time.
func quietly(c *gin.Context) (bool, error) {
	if c.Query("notify") == "" {
		return false, nil
	}
	tell, err := yesOrNo(c, "notify")
	return !tell, err
}

// adminUpdateTier changes a price tier by the rules that a document's are changed by.
func (s *Server) adminUpdateTier(c *gin.Context) {
	ctx := c.Request.Context()
	event, err := id(c, "id")
	var tier string
	if err == nil {
		tier, err = id(c, "tier")
	}
	var p catalog.TierPatch
	if err == nil {
		err = body(c, &p)
	}
	if err == nil && p == (catalog.TierPatch{}) {
		err = fault.New(fault.Invalid, "nothing is changed: name, color or amount is expected")
	}
	if err == nil {
		err = p.Check()
	}
	var r catalog.Revision
	if err == nil {
		r, err = s.Organiser.ReviseEvent(ctx, event, catalog.NewEvent{}, catalog.Revising{
			HoldsLast: s.Shop.HoldsLast(), Actor: actor(c),
			Edit: func(now catalog.Existing) (catalog.NewEvent, error) { return now.WithTier(tier, p) },
		})
		s.Catalog.Changed(event)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	i := slices.IndexFunc(r.Event.Tiers, func(t catalog.Tier) bool { return t.ID == tier })
	private(c, http.StatusOK, struct {
		catalog.Tier
		Changes []catalog.Difference `json:"changes"`
	}{r.Event.Tiers[i], orNone(r.Changes)})
}

// scheduleBody is when an event takes place from now on, and when its sale begins.
type scheduleBody struct {
	StartsAt     *time.Time `json:"starts_at,omitempty"`
	DoorsAt      *time.Time `json:"doors_at,omitempty"`
	OpensAt      *time.Time `json:"opens_at,omitempty"`
	LobbyOpensAt *time.Time `json:"lobby_opens_at,omitempty"`
	Message      *string    `json:"message,omitempty"`
}

// scheduled is the answer to both.
type scheduled struct {
	eventView

	Was     string `json:"was"` // its status
	Changed bool   `json:"changed"`
	Told    int    `json:"told"` // e-mails that are on their way
}

// schedule reads what is wanted of an event, and refuses what cannot be before it
// is recorded.
func (s *Server) schedule(c *gin.Context, to string) (event catalog.Event, b scheduleBody, r checkout.Rescheduling, err error) {
	name, err := id(c, "id")
	if err == nil {
		err = body(c, &b)
	}
	r = checkout.Rescheduling{Event: name, To: to, StartsAt: b.StartsAt, DoorsAt: b.DoorsAt}
	if err == nil && b.Message != nil {
		r.Message = *b.Message
		err = shortText("message", r.Message, 500)
	}
	if err == nil {
		err = r.Check()
	}
	if err == nil {
		s.Catalog.Changed(name) // as it is now, whatever another node did a moment ago
		event, err = s.Catalog.Event(c.Request.Context(), name)
	}
	if err == nil {
		moved := b.StartsAt != nil && !b.StartsAt.Equal(event.StartsAt)
		err = checkout.MayReschedule(event.Status, to, moved)
	}
	return event, b, r, err
}

// adminPublish puts a draft or a postponed event on sale.
func (s *Server) adminPublish(c *gin.Context) {
	ctx := c.Request.Context()
	event, b, r, err := s.schedule(c, "on_sale")
	patch := waitroom.Patch{OpensAt: b.OpensAt, LobbyOpensAt: b.LobbyOpensAt}
	if err == nil {
		err = patch.Validate()
	}
	if err == nil && b.LobbyOpensAt != nil && b.OpensAt != nil && b.LobbyOpensAt.After(*b.OpensAt) {
		err = fault.New(fault.Invalid, "lobby_opens_at is after opens_at")
	}
	if err == nil {
		err = s.record(c, "event.publish", event.ID, b)
	}
	// First the room, which nobody joins while the event is a draft: it must not be open
	// for a moment when it is to count down.
	if err == nil && !patch.IsEmpty() {
		err = s.countDown(ctx, event.ID, patch)
	}
	var done checkout.Rescheduled
	if err == nil {
		done, err = s.Shop.Reschedule(ctx, r)
	}
	if err == nil && done.Was == "postponed" {
		if rerr := s.Rooms.Resume(ctx, event.ID); rerr != nil && !fault.Is(rerr, fault.Conflict) {
			err = rerr // asking again resumes it
		}
	}
	if err == nil && (b.Message != nil || done.Was == "postponed") {
		err = s.Rooms.Message(ctx, event.ID, r.Message)
	}
	s.answerSchedule(c, event.ID, done, err)
}

// countDown has a room open at another time.
func (s *Server) countDown(ctx context.Context, event string, patch waitroom.Patch) (err error) {
	for range 3 { // a room whose time is over opens again, if it is ticked just then
		if patch.OpensAt != nil && patch.OpensAt.After(s.Clock()) {
			if err = s.Rooms.Schedule(ctx, event); err != nil {
				return err
			}
		}
		if err = s.Rooms.Configure(ctx, event, patch); !fault.Is(err, fault.Conflict) {
			return err
		}
	}
	return err
}

// adminPostpone takes an event off sale until it is published again.
func (s *Server) adminPostpone(c *gin.Context) {
	ctx := c.Request.Context()
	event, b, r, err := s.schedule(c, "postponed")
	if err == nil && (b.OpensAt != nil || b.LobbyOpensAt != nil) {
		err = fault.New(fault.Invalid, "opens_at and lobby_opens_at go with publish: a postponed event is not on sale")
	}
	if err == nil {
		err = s.record(c, "event.postpone", event.ID, b)
	}
	var done checkout.Rescheduled
	if err == nil {
		done, err = s.Shop.Reschedule(ctx, r)
	}
	if err == nil && (done.Changed || b.Message != nil) {
		err = s.stopRoom(ctx, event.ID, postponedText(&event, &r))
	}
	s.answerSchedule(c, event.ID, done, err)
}

// stopRoom has a room wait and say why. One that counts down does not open by itself.
func (s *Server) stopRoom(ctx context.Context, event, text string) error {
	room, err := s.Rooms.Room(ctx, event)
	if err == nil && (room.State == waitroom.Scheduled || room.State == waitroom.Lobby) && !room.OpensAt.IsZero() {
		never := time.Time{}
		err = s.Rooms.Configure(ctx, event, waitroom.Patch{OpensAt: &never})
	}
	if err == nil {
		if err = s.Rooms.Pause(ctx, event); fault.Is(err, fault.Conflict) {
			err = nil // nobody is being let in
		}
	}
	if err != nil {
		return err
	}
	return s.Rooms.Message(ctx, event, text)
}

// postponedText is what a room says of a postponed event, unless the organiser says
// something.
func postponedText(e *catalog.Event, r *checkout.Rescheduling) string {
	if r.Message != "" {
		return r.Message
	}
	if r.StartsAt == nil {
		return "This event is postponed. There is no new date yet."
	}
	return "This event is postponed to " + local(*r.StartsAt, e.Timezone).Format("2 January 2006, 15:04 MST") + "."
}

func (s *Server) answerSchedule(c *gin.Context, event string, done checkout.Rescheduled, err error) {
	var now catalog.Event
	if err == nil {
		s.Catalog.Changed(event)
		now, err = s.Catalog.Event(c.Request.Context(), event)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, scheduled{s.eventView(c.Request.Context(), now), done.Was, done.Changed, done.Told})
}

// listQuery reads what a list of venues, artists or plans is asked for.
func listQuery(c *gin.Context) (q catalog.ListQuery, err error) {
	if err = query(c, "q", "limit", "cursor"); err != nil {
		return q, err
	}
	q.Text, q.Cursor = c.Query("q"), c.Query("cursor")
	q.Limit, err = limitOf(c, catalog.DefaultEvents, catalog.MostEvents)
	return q, err
}

// listed answers with a page.
func listed[R any](s *Server, c *gin.Context, what string, list func(context.Context, catalog.ListQuery) ([]R, string, error)) {
	q, err := listQuery(c)
	var page []R
	var next string
	if err == nil {
		page, next, err = list(c.Request.Context(), q)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, gin.H{what: orNone(page), "next_cursor": orNull(next)})
}

// found answers with one.
func found[R any](s *Server, c *gin.Context, find func(context.Context, string) (R, error)) {
	what, err := id(c, "id")
	var r R
	if err == nil {
		r, err = find(c.Request.Context(), what)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, r)
}

// deleted removes one that nothing uses.
func deleted[R any](s *Server, c *gin.Context, kind string, find func(context.Context, string) (R, error), used func(R) int, remove func(context.Context, string) error) {
	ctx := c.Request.Context()
	what, err := id(c, "id")
	if err == nil {
		err = noBody(c)
	}
	var r R
	if err == nil {
		r, err = find(ctx, what)
	}
	if err == nil && used(r) > 0 { // leaves no trace in the audit log
		err = fault.New(fault.Conflict, "the %s is used by %d events and stays", kind, used(r)).With("events", used(r))
	}
	if err == nil {
		err = s.record(c, kind+".delete", what, r)
	}
	if err == nil {
		err = remove(ctx, what)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

func missing(text *string) bool { return text == nil || strings.TrimSpace(*text) == "" }
