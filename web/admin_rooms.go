package web

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/waitroom"
	"onsale/waitroom/pass"
)

type throttleView struct {
	RatePerMinute int `json:"rate_per_minute"`
	Burst         int `json:"burst"`
	MaxShoppers   int `json:"max_shoppers"`
	LeaseS        int `json:"lease_s"`
	ClaimWindowS  int `json:"claim_window_s"`
	GraceS        int `json:"grace_s"`
}

type autopilotView struct {
	Enabled       bool       `json:"enabled"`
	MinRate       int        `json:"min_rate_per_minute"`
	TargetP95Ms   int        `json:"target_p95_ms"`
	MaxErrorShare float64    `json:"max_error_share"`
	MaxPoolShare  float64    `json:"max_pool_share"`
	Reason        string     `json:"reason"` // of the last change
	ChangedAt     *time.Time `json:"changed_at"`
}

type drawView struct {
	Status       string  `json:"status"`
	Commitment   string  `json:"commitment"`
	N            *int64  `json:"n"`
	PublicSource *string `json:"public_source"`
	PublicValue  *string `json:"public_value"`
}

type stockView struct {
	Available int `json:"available"`
	Held      int `json:"held"`
	Left      int `json:"left"`
}

// roomView is a room as operators see it.
type roomView struct {
	Event              string             `json:"event"`
	Name               string             `json:"name"`
	State              waitroom.State     `json:"state"`
	Reason             waitroom.Reason    `json:"reason,omitempty"`
	ClosedReason       string             `json:"closed_reason,omitempty"`
	Message            string             `json:"message"`
	OpensAt            *time.Time         `json:"opens_at"`
	LobbyOpensAt       *time.Time         `json:"lobby_opens_at"`
	ClosesAt           *time.Time         `json:"closes_at"`
	Throttle           throttleView       `json:"throttle"`
	EffectiveRate      int                `json:"effective_rate_per_minute"`
	Order              waitroom.Order     `json:"order"`
	InviteOnly         bool               `json:"invite_only"`
	Bypass             bool               `json:"bypass"`
	Challenge          waitroom.Challenge `json:"challenge"`
	PublicSource       string             `json:"public_source"`
	Cutoff             *int64             `json:"cutoff"`
	Autopilot          autopilotView      `json:"autopilot"`
	Draw               *drawView          `json:"draw"`
	Waiting            int                `json:"waiting"`
	Ready              int                `json:"ready"`
	Shopping           int                `json:"shopping"`
	Away               int                `json:"away"`
	Suspects           int                `json:"suspects"`
	NoShowShare        *float64           `json:"no_show_share"`
	AdmittedTotal      int64              `json:"admitted_total"`
	JoinedTotal        int64              `json:"joined_total"`
	AdmittedLastMinute int                `json:"admitted_last_minute"`
	Tickets            *checkout.Stock    `json:"tickets"`
	Stock              *stockView         `json:"stock"` // as the room knows it
	Wait               *waitroom.Wait     `json:"wait"`  // of somebody who joins now
	AsOf               time.Time          `json:"as_of"`
}

func (s *Server) roomView(ctx context.Context, r waitroom.Room) roomView {
	info := r.Info()
	v := roomView{
		Event: r.Event, Name: r.Name, State: r.State, Reason: r.Standstill(), ClosedReason: r.ClosedReason, Message: r.Message,
		OpensAt: info.OpensAt, LobbyOpensAt: info.LobbyOpensAt, ClosesAt: orNil(r.ClosesAt),
		Throttle: throttleView{
			r.Throttle.RatePerMinute, r.Throttle.Burst, r.Throttle.MaxShoppers, int(r.Throttle.Lease / time.Second),
			int(r.Throttle.ClaimWindow / time.Second), int(r.Throttle.Grace / time.Second),
		},
		EffectiveRate: r.Rate(), Order: r.Order, InviteOnly: r.InviteOnly, Bypass: r.Bypass, Challenge: r.Challenge,
		PublicSource: r.Draw.PublicSource,
		Autopilot: autopilotView{
			r.Autopilot.Enabled, r.Autopilot.MinRate, int(r.Autopilot.TargetP95 / time.Millisecond),
			r.Autopilot.MaxErrorShare, r.Autopilot.MaxPoolShare, r.SteerReason, orNil(r.SteeredAt),
		},
		Waiting: r.Waiting, Ready: r.Ready, Shopping: r.Shopping, Away: r.Away, Suspects: r.Suspects,
		AdmittedTotal: r.Admitted, JoinedTotal: r.Joined,
		AdmittedLastMinute: r.AdmittedLastMinute(), Wait: r.Wait(r.Waiting), AsOf: r.AsOf,
	}
	if r.Cutoff > 0 {
		v.Cutoff = &r.Cutoff
	}
	if r.NoShow >= 0 {
		v.NoShowShare = &r.NoShow
	}
	if r.Order == waitroom.DrawOrder {
		p := r.Proof()
		v.Draw = &drawView{p.Status, p.Commitment, p.N, p.PublicSource, p.PublicValue}
	}
	if r.StockLeft >= 0 {
		v.Stock = &stockView{r.Available, r.Held, r.StockLeft}
	}
	if stock, err := s.Inventory.Stock(ctx, r.Event); err == nil {
		v.Tickets = stock
	}
	return v
}

// orNil is nil for the zero time.
func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (s *Server) roomViews(ctx context.Context) ([]roomView, error) {
	rooms, err := s.Rooms.Rooms(ctx)
	if err != nil {
		return nil, err
	}
	views := make([]roomView, 0, len(rooms))
	for i := range rooms {
		views = append(views, s.roomView(ctx, rooms[i]))
	}
	return views, nil
}

func (s *Server) adminRooms(c *gin.Context) {
	views, err := s.roomViews(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, gin.H{"rooms": views})
}

func (s *Server) adminRoom(c *gin.Context) {
	event, err := id(c, "event")
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answerRoom(c, event)
}

func (s *Server) answerRoom(c *gin.Context, event string) {
	room, err := s.Rooms.Room(c.Request.Context(), event)
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, s.roomView(c.Request.Context(), room))
}

// timeOrNull is a member that can be a time, null (the zero time), or absent
// (nil).
type timeOrNull struct{ at *time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *timeOrNull) UnmarshalJSON(b []byte) error {
	t.at = new(time.Time)
	if string(b) == "null" {
		return nil
	}
	return t.at.UnmarshalJSON(b)
}

// MarshalJSON implements json.Marshaler, for the audit log.
func (t timeOrNull) MarshalJSON() ([]byte, error) {
	if t.at == nil || t.at.IsZero() {
		return []byte("null"), nil
	}
	return t.at.MarshalJSON()
}

// roomPatch is the body of PATCH /v1/admin/rooms/{event}.
type roomPatch struct {
	RatePerMinute *int                `json:"rate_per_minute,omitempty"`
	Burst         *int                `json:"burst,omitempty"`
	MaxShoppers   *int                `json:"max_shoppers,omitempty"`
	LeaseS        *int                `json:"lease_s,omitempty"`
	ClaimWindowS  *int                `json:"claim_window_s,omitempty"`
	GraceS        *int                `json:"grace_s,omitempty"`
	Order         *waitroom.Order     `json:"order,omitempty"`
	InviteOnly    *bool               `json:"invite_only,omitempty"`
	Bypass        *bool               `json:"bypass,omitempty"`
	Challenge     *waitroom.Challenge `json:"challenge,omitempty"`
	PublicSource  *string             `json:"public_source,omitempty"`
	OpensAt       timeOrNull          `json:"opens_at,omitzero"`
	LobbyOpensAt  timeOrNull          `json:"lobby_opens_at,omitzero"`
	ClosesAt      timeOrNull          `json:"closes_at,omitzero"`
	Autopilot     *struct {
		Enabled       *bool    `json:"enabled,omitempty"`
		MinRate       *int     `json:"min_rate_per_minute,omitempty"`
		TargetP95Ms   *int     `json:"target_p95_ms,omitempty"`
		MaxErrorShare *float64 `json:"max_error_share,omitempty"`
		MaxPoolShare  *float64 `json:"max_pool_share,omitempty"`
	} `json:"autopilot,omitempty"`
}

func (b *roomPatch) patch() waitroom.Patch {
	p := waitroom.Patch{
		Throttle: waitroom.ThrottlePatch{
			RatePerMinute: b.RatePerMinute, Burst: b.Burst, MaxShoppers: b.MaxShoppers,
			Lease: seconds(b.LeaseS), ClaimWindow: seconds(b.ClaimWindowS), Grace: seconds(b.GraceS),
		},
		Order: b.Order, InviteOnly: b.InviteOnly, Bypass: b.Bypass, Challenge: b.Challenge, PublicSource: b.PublicSource,
		OpensAt: b.OpensAt.at, LobbyOpensAt: b.LobbyOpensAt.at, ClosesAt: b.ClosesAt.at,
	}
	if a := b.Autopilot; a != nil {
		p.Autopilot = waitroom.AutopilotPatch{Enabled: a.Enabled, MinRate: a.MinRate, MaxErrorShare: a.MaxErrorShare, MaxPoolShare: a.MaxPoolShare}
		if a.TargetP95Ms != nil {
			target := time.Duration(max(0, min(*a.TargetP95Ms, 1<<30))) * time.Millisecond
			p.Autopilot.TargetP95 = &target
		}
	}
	return p
}

func (s *Server) adminConfigure(c *gin.Context) {
	event, err := id(c, "event")
	if err != nil {
		s.fail(c, err)
		return
	}
	var b roomPatch
	if err := body(c, &b); err != nil {
		s.fail(c, err)
		return
	}
	patch := b.patch()
	if err := patch.Validate(); err != nil {
		s.fail(c, err)
		return
	}
	if _, err := s.Rooms.Room(c.Request.Context(), event); err != nil {
		s.fail(c, err)
		return
	}
	if err := s.record(c, "room.configure", event, b); err != nil {
		s.fail(c, err)
		return
	}
	if err := s.Rooms.Configure(c.Request.Context(), event, patch); err != nil {
		s.fail(c, err)
		return
	}
	s.answerRoom(c, event)
}

// seconds bounds before it multiplies, so that no number of them overflows.
func seconds(n *int) *time.Duration {
	if n == nil {
		return nil
	}
	const day = 24 * 60 * 60
	d := time.Duration(max(-day, min(*n, 366*day))) * time.Second
	return &d
}

// roomAction is the body of POST /v1/admin/rooms/{event}/{action}.
type roomAction struct {
	Message     *string `json:"message,omitempty"`
	Reason      string  `json:"reason,omitempty"`
	Cutoff      int64   `json:"cutoff,omitempty"`
	PublicValue string  `json:"public_value,omitempty"`
	Count       int     `json:"count,omitempty"`
}

// check names what is wrong with the body of an action.
func (b *roomAction) check(action string) error {
	for _, m := range [...]struct {
		name, of string
		given    bool
	}{
		{"reason", "close", b.Reason != ""}, {"cutoff", "drain", b.Cutoff != 0},
		{"public_value", "draw", b.PublicValue != ""}, {"count", "admit", b.Count != 0},
	} {
		if m.given && m.of != action {
			return fault.New(fault.Invalid, "%s belongs to %s", m.name, m.of)
		}
	}
	if err := shortText("reason", b.Reason, 100); err != nil {
		return err
	}
	if err := shortText("public_value", b.PublicValue, 300); err != nil {
		return err
	}
	if b.Message != nil {
		return shortText("message", *b.Message, 500)
	}
	if action == "message" {
		return fault.New(fault.Invalid, "message is required; an empty one takes the last one back")
	}
	if action == "admit" && b.Count == 0 {
		return fault.New(fault.Invalid, "count is required: how many are let in now")
	}
	return nil
}

func (s *Server) adminRoomAction(c *gin.Context) {
	event, err := id(c, "event")
	if err != nil {
		s.fail(c, err)
		return
	}
	var b roomAction
	if err := body(c, &b); err != nil {
		s.fail(c, err)
		return
	}
	ctx := c.Request.Context()
	actions := map[string]func() error{
		"lobby":   func() error { return s.Rooms.OpenLobby(ctx, event) },
		"open":    func() error { return s.Rooms.Open(ctx, event) },
		"pause":   func() error { return s.Rooms.Pause(ctx, event) },
		"resume":  func() error { return s.Rooms.Resume(ctx, event) },
		"drain":   func() error { return s.Rooms.Drain(ctx, event, b.Cutoff) },
		"close":   func() error { return s.Rooms.Close(ctx, event, b.Reason) },
		"draw":    func() error { return s.Rooms.Draw(ctx, event, b.PublicValue) },
		"message": func() error { return nil }, // said below, as with any other action
		"admit": func() error {
			_, err := s.Rooms.AdmitNow(ctx, event, b.Count)
			return err
		},
	}
	action := c.Param("action")
	do, ok := actions[action]
	if !ok {
		s.fail(c, fault.New(fault.NotFound, "rooms have no action %q; known are lobby, open, pause, resume, drain, close, draw, admit and message", clip(action)))
		return
	}
	if err = b.check(action); err == nil {
		_, err = s.Rooms.Room(ctx, event)
	}
	if err == nil {
		err = s.record(c, "room."+action, event, b)
	}
	if err == nil {
		err = do()
	}
	if err == nil && b.Message != nil {
		err = s.Rooms.Message(ctx, event, *b.Message)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answerRoom(c, event)
}

// adminInvites signs invitations. The audit log keeps how many, not the tokens.
func (s *Server) adminInvites(c *gin.Context) {
	event, err := id(c, "event")
	var b struct {
		Lane      string    `json:"lane"`
		Count     int       `json:"count"`
		Emails    []string  `json:"emails"`
		SingleUse bool      `json:"single_use"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	if err == nil {
		err = body(c, &b)
	}
	var lane waitroom.Lane
	if err == nil {
		lane, err = waitroom.ParseLane(b.Lane)
	}
	var list []waitroom.Invitation
	if err == nil {
		list, err = s.Rooms.Invite(c.Request.Context(), event, waitroom.InviteRequest{
			Lane: lane, Count: b.Count, Emails: b.Emails, SingleUse: b.SingleUse, Expires: b.ExpiresAt,
		})
	}
	if err == nil {
		err = s.record(c, "room.invite", event, gin.H{
			"lane": b.Lane, "count": len(list), "bound": len(b.Emails) > 0, "single_use": b.SingleUse, "expires_at": b.ExpiresAt,
		})
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	type invite struct {
		Invite string  `json:"invite"`
		URL    string  `json:"url"`
		Email  *string `json:"email"`
		Lane   string  `json:"lane"`
	}
	out := make([]invite, len(list))
	for i, v := range list {
		out[i] = invite{Invite: v.Token, URL: s.queueURL(event) + "#invite=" + v.Token, Lane: v.Lane.String()}
		if v.Email != "" {
			out[i].Email = &list[i].Email
			out[i].URL += "&email=" + url.QueryEscape(v.Email)
		}
	}
	private(c, http.StatusCreated, gin.H{"invites": out})
}

// visitorView is one visitor as the support desk sees them.
type visitorView struct {
	Visitor     string                `json:"visitor"`
	State       waitroom.VisitorState `json:"state"`
	Lane        *string               `json:"lane"`
	Place       *int64                `json:"place"`
	Index       *int64                `json:"index"`
	Ahead       *int                  `json:"ahead"`
	Wait        *waitroom.Wait        `json:"wait"`
	AdmittedAt  *time.Time            `json:"admitted_at"`
	ClaimedAt   *time.Time            `json:"claimed_at"`
	Until       *time.Time            `json:"until"`
	Missed      int                   `json:"missed"`
	AwaySince   *time.Time            `json:"away_since"`
	Explanation string                `json:"explanation"`
	AsOf        time.Time             `json:"as_of"`
}

// ofVisitor reads which visitor of which room a request is about.
func (s *Server) ofVisitor(c *gin.Context) (event, visitor string, err error) {
	if event, err = id(c, "event"); err != nil {
		return "", "", err
	}
	if visitor = c.Param("visitor"); !pass.ValidVisitor(visitor) {
		return "", "", fault.New(fault.NotFound, "%q is not the code of a visitor; it has 22 characters and stands on their page", clip(visitor))
	}
	return event, visitor, nil
}

func (s *Server) adminVisitor(c *gin.Context) {
	event, visitor, err := s.ofVisitor(c)
	if err == nil {
		err = s.answerVisitor(c, event, visitor)
	}
	if err != nil {
		s.fail(c, err)
	}
}

func (s *Server) answerVisitor(c *gin.Context, event, visitor string) error {
	ctx := c.Request.Context()
	v, err := s.Rooms.LookUp(ctx, event, visitor)
	if fault.Is(err, fault.UnknownVisitor) {
		return fault.New(fault.NotFound, "nobody with this code is, or has been, in this room")
	}
	if err != nil {
		return err
	}
	room, err := s.Rooms.Room(ctx, event)
	if err != nil {
		return err
	}
	view := visitorView{
		Visitor: v.ID, State: v.State, AdmittedAt: orNil(v.Admitted), ClaimedAt: orNil(v.Claimed), Until: orNil(v.Until),
		Missed: v.Missed, AwaySince: orNil(v.Gone), Explanation: room.Explain(&v), AsOf: v.AsOf,
	}
	if lane := v.Lane.String(); lane != "" {
		view.Lane = &lane
	}
	if v.Place > 0 {
		view.Place = &v.Place
	}
	if v.Index > 0 {
		view.Index = &v.Index
	}
	if v.State == waitroom.Waiting {
		view.Ahead, view.Wait = &v.Ahead, room.Wait(v.Ahead)
	}
	private(c, http.StatusOK, view)
	return nil
}

func (s *Server) adminMoveVisitor(c *gin.Context) {
	event, visitor, err := s.ofVisitor(c)
	var b struct {
		Lane string `json:"lane"`
	}
	if err == nil {
		err = body(c, &b)
	}
	var lane waitroom.Lane
	if err == nil {
		lane, err = waitroom.ParseLane(b.Lane)
	}
	if err == nil {
		_, err = s.Rooms.LookUp(c.Request.Context(), event, visitor)
	}
	if err == nil {
		err = s.record(c, "visitor.lane", event, gin.H{"visitor": visitor, "lane": b.Lane})
	}
	if err == nil {
		_, err = s.Rooms.SetLane(c.Request.Context(), event, visitor, lane)
	}
	if fault.Is(err, fault.UnknownVisitor) {
		err = fault.Wrap(err, fault.Conflict, "only somebody who waits, or is in the lobby, can change lanes")
	}
	if err == nil {
		err = s.answerVisitor(c, event, visitor)
	}
	if err != nil {
		s.fail(c, err)
	}
}
