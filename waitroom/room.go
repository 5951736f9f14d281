package waitroom

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"onsale/internal/fault"
)

// State of a room.
type State string

// The states of a room.
const (
	Scheduled State = "scheduled" // countdown; who joins gathers in the lobby
	Lobby     State = "lobby"     // people gather, nobody has a place yet
	Open      State = "open"      // the line moves
	Paused    State = "paused"    // the line stands, everyone keeps their place
	Draining  State = "draining"  // those in line are let in, nobody joins
	Closed    State = "closed"    // over
)

// Reason says why a line stands still. The empty reason means that it moves.
type Reason string

// The reasons for a standstill.
const (
	ReasonPaused    Reason = "paused"
	ReasonShopDown  Reason = "shop_unavailable"
	ReasonSoldOut   Reason = "sold_out"
	ReasonAllHeld   Reason = "all_held"     // every ticket left is in somebody's hands
	ReasonFull      Reason = "full"         // as many shoppers as the throttle allows
	ReasonDraw      Reason = "draw_pending" // places are being drawn
	ReasonRestoring Reason = "restoring"    // those who lost their connection to a lost store come back
	ReasonStopped   Reason = "stopped"      // the rate is 0
	ReasonClosed    Reason = "closed"
)

// Order says how places follow from joins.
type Order string

// The orders. In each, who joins before the opening is given a place at the
// opening, and a lane goes before the next.
const (
	FIFO      Order = "fifo"   // by the time of joining
	DrawOrder Order = "draw"   // the lobby is drawn; later arrivals stand behind it
	Random    Order = "random" // everybody anywhere in the line
)

// Challenge says what somebody must solve before they get a place.
type Challenge string

// The challenges.
const (
	ChallengeOff Challenge = "off"
	ChallengePoW Challenge = "pow" // a proof of work, done by the page
)

// Throttle says how fast a room lets people in.
type Throttle struct {
	RatePerMinute int           // admissions a minute, 0 … 1,000,000
	Burst         int           // admissions at once after a quiet time, 1 … 100,000
	MaxShoppers   int           // shopping at the same time, 0 … 1,000,000
	Lease         time.Duration // how long a shopper may shop, 10 s … 24 h
	ClaimWindow   time.Duration // how long a turn waits to be claimed, 5 s … 1 h
	Grace         time.Duration // after a missed turn, for coming back to a second one, 0 … 24 h
}

// DefaultGrace is how long somebody who missed their turn may come back to it.
const DefaultGrace = 2 * time.Minute

// Validate names every value that is out of bounds, as a fault.Invalid.
func (t Throttle) Validate() error {
	return ThrottlePatch{
		RatePerMinute: &t.RatePerMinute, Burst: &t.Burst, MaxShoppers: &t.MaxShoppers, Lease: &t.Lease, ClaimWindow: &t.ClaimWindow,
		Grace: &t.Grace,
	}.Validate()
}

// ThrottlePatch changes those values of a throttle that are not nil.
type ThrottlePatch struct {
	RatePerMinute *int
	Burst         *int
	MaxShoppers   *int
	Lease         *time.Duration
	ClaimWindow   *time.Duration
	Grace         *time.Duration
}

// Validate names every value that is out of bounds, as a fault.Invalid.
func (p ThrottlePatch) Validate() error {
	if wrong := p.problems(); len(wrong) > 0 {
		return fault.New(fault.Invalid, "%s", strings.Join(wrong, "; "))
	}
	return nil
}

func (p ThrottlePatch) problems() (wrong []string) {
	count := func(name string, v *int, low, high int) {
		if v != nil && (*v < low || *v > high) {
			wrong = append(wrong, fmt.Sprintf("%s must be from %d to %d, not %d", name, low, high, *v))
		}
	}
	span := func(name string, v *time.Duration, low, high time.Duration) {
		if v != nil && (*v < low || *v > high) {
			wrong = append(wrong, fmt.Sprintf("%s must be from %v to %v, not %v", name, low, high, *v))
		}
	}
	count("rate_per_minute", p.RatePerMinute, 0, 1_000_000)
	count("burst", p.Burst, 1, 100_000)
	count("max_shoppers", p.MaxShoppers, 0, 1_000_000)
	span("lease", p.Lease, 10*time.Second, 24*time.Hour)
	span("claim_window", p.ClaimWindow, 5*time.Second, time.Hour)
	span("grace", p.Grace, 0, 24*time.Hour)
	return wrong
}

// Patch changes those settings of a room that are not nil.
type Patch struct {
	Throttle     ThrottlePatch
	Order        *Order // only while nobody is in lobby or line
	InviteOnly   *bool
	Bypass       *bool
	Challenge    *Challenge
	PublicSource *string    // only before the room opens, as the schedule's opening
	OpensAt      *time.Time // zero: by hand
	LobbyOpensAt *time.Time
	ClosesAt     *time.Time
	Autopilot    AutopilotPatch
}

// Validate names every value that is out of bounds, as a fault.Invalid.
func (p Patch) Validate() error {
	wrong := append(p.Throttle.problems(), p.Autopilot.problems()...)
	if p.Order != nil && *p.Order != FIFO && *p.Order != DrawOrder && *p.Order != Random {
		wrong = append(wrong, "order must be fifo, draw or random")
	}
	if p.Challenge != nil && *p.Challenge != ChallengeOff && *p.Challenge != ChallengePoW {
		wrong = append(wrong, "challenge must be off or pow")
	}
	if p.PublicSource != nil {
		if err := checkText("public_source", *p.PublicSource, 300); err != nil {
			wrong = append(wrong, err.Detail)
		}
	}
	for name, at := range map[string]*time.Time{"opens_at": p.OpensAt, "lobby_opens_at": p.LobbyOpensAt, "closes_at": p.ClosesAt} {
		if at != nil && !at.IsZero() && (at.Year() < 2000 || at.Year() > 2200) {
			wrong = append(wrong, name+" is not a plausible time")
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return fault.New(fault.Invalid, "%s", strings.Join(wrong, "; "))
	}
	return nil
}

// IsEmpty reports whether the patch changes nothing.
func (p Patch) IsEmpty() bool { return p == Patch{} }

// Settings are what is known of a room outside the store: how to create it, and
// how to create it again when the store has lost it.
type Settings struct {
	Event        string
	Name         string
	State        State
	ClosedReason string
	ByStock      bool // closed because everything was sold; opens again should tickets come back
	Message      string
	OpensAt      time.Time // zero: by hand
	LobbyOpensAt time.Time // zero: by hand
	ClosesAt     time.Time // zero: by hand
	Throttle     Throttle
	Order        Order
	InviteOnly   bool // a presale: nobody joins without an invitation
	Bypass       bool // everybody is let in at once
	Challenge    Challenge
	Cutoff       int64 // while draining, the last place of the general lane to let in; 0 for all
	Autopilot    Autopilot
	Draw         Draw

	// The checkpoint of a line that has run before; zero for a new one.
	Cursor      int64 // highest place served, of the lanes from general on
	Next        int64 // highest place given
	LobbyNext   int64 // highest join index given
	LobbyDigest string
	Epoch       int64 // which of the room's lines; 0 counts as 1
}

func (s Settings) withDefaults() Settings {
	if s.State == "" {
		s.State = Open
	}
	if s.Order == "" {
		s.Order = FIFO
	}
	if s.Challenge == "" {
		s.Challenge = ChallengeOff
	}
	if s.Autopilot == (Autopilot{}) {
		s.Autopilot = DefaultAutopilot()
	}
	if s.Epoch == 0 {
		s.Epoch = 1
	}
	return s
}

// Validate names what is wrong with the settings, as a fault.Invalid.
func (s Settings) Validate() error {
	if s.Event == "" || strings.ContainsAny(s.Event, "{}*? ") {
		return fault.New(fault.Invalid, "the room's event %q is not an id", s.Event)
	}
	switch s.State {
	case Scheduled, Lobby, Open, Paused, Draining, Closed:
	default:
		return fault.New(fault.Invalid, "the room's state %q is unknown", s.State)
	}
	if err := (Patch{Order: &s.Order, Challenge: &s.Challenge, PublicSource: &s.Draw.PublicSource}).Validate(); err != nil {
		return err
	}
	if err := s.Autopilot.Validate(); err != nil {
		return err
	}
	return s.Throttle.Validate()
}

// Pace is how many were admitted in one slot of time.
type Pace struct {
	Slot     int64 // number of the slot since 1970
	Admitted int
	Busy     bool // people were waiting at an open door meanwhile
}

// PaceSlot is the length of a slot of Pace.
const PaceSlot = 10 * time.Second

// Room is a room as it was at AsOf, on the store's clock.
type Room struct {
	Settings

	Waiting  int // in line, or gathered in the lobby before it opens
	Ready    int // admitted, turn not yet claimed
	Shopping int // claimed
	Away     int // who wait and whose last connection dropped
	Suspects int // who wait behind the general lane
	Joined   int64
	Admitted int64
	Served   int64 // score of the last one admitted
	Moving   bool  // the lobby is moving into the line, or waits to
	Awaiting bool  // … for the public value of the draw
	ShopOK   bool  // the shop said lately that it is well
	Quiet    bool  // restored a moment ago; waits for those who come back

	// Tickets; -1 when not known.
	StockLeft     int // available and held
	Available     int
	Held          int
	PerBuyer      int   // most tickets of one buyer; 0 when not known
	StockFirst    int   // left when the room first heard of it …
	FirstAdmitted int64 // … and how many had been admitted then

	AutoRate    int    // the autopilot's rate; counts while it is on
	SteerReason string // of its last change
	SteeredAt   time.Time
	NoShow      float64 // share of the last turns that were not claimed; -1 when not known

	Taken time.Duration // for which slots of the shop were taken lately, altogether, from turn to end; …
	Ended int           // … by so many who have left them, and those who have them

	Born time.Time
	Pace []Pace // of the last ten minutes, in no particular order
	AsOf time.Time
}

// Rate is how many a minute the door lets in at most: the operator's rate, or
// the autopilot's below it.
func (r *Room) Rate() int {
	if r.Autopilot.Enabled {
		return min(r.AutoRate, r.Throttle.RatePerMinute)
	}
	return r.Throttle.RatePerMinute
}

// Standstill says why nobody is being admitted; empty while the line moves, or
// has not begun to.
func (r *Room) Standstill() Reason {
	switch {
	case r.State == Closed:
		return ReasonClosed
	case r.State == Paused:
		return ReasonPaused
	case r.State != Open && r.State != Draining:
		return ""
	case r.Moving:
		return ReasonDraw
	case r.Quiet:
		return ReasonRestoring
	case r.Bypass:
		return ""
	case !r.ShopOK:
		return ReasonShopDown
	case r.StockLeft == 0:
		return ReasonSoldOut
	case r.StockLeft > 0 && r.Available == 0:
		return ReasonAllHeld
	case r.Waiting > 0 && r.Rate() == 0:
		return ReasonStopped
	case r.Waiting > 0 && r.Ready+r.Shopping >= r.Throttle.MaxShoppers:
		return ReasonFull
	}
	return ""
}

const enoughBuyers = 50 // admitted, before what each takes is taken from them

// Unlikely reports that tickets will probably be gone before the turn of
// somebody with ahead people before them: those and everybody whose turn it is
// would take what is left, if they take what those before them took (at least a
// quarter of a ticket each, at most what one buyer may have; one each as long as
// too little is known).
func (r *Room) Unlikely(ahead int) bool {
	if r.StockLeft < 0 || r.State == Closed {
		return false
	}
	each := 1.0
	if n := r.Admitted - r.FirstAdmitted; n >= enoughBuyers && r.StockFirst >= r.StockLeft {
		each = max(float64(r.StockFirst-r.StockLeft)/float64(n), 0.25)
		if r.PerBuyer > 0 {
			each = min(each, float64(r.PerBuyer))
		}
	}
	return float64(ahead+r.Ready+r.Shopping)*each >= float64(r.StockLeft)
}

// AdmittedLastMinute counts the admissions of the last minute, to the slot: of
// the slot that runs and the five before it.
func (r *Room) AdmittedLastMinute() int {
	n := 0
	slot := r.AsOf.UnixMilli() / PaceSlot.Milliseconds()
	for _, p := range r.Pace {
		if p.Slot > slot-6 && p.Slot <= slot {
			n += p.Admitted
		}
	}
	return n
}

// AdmittingPerMinute is how fast the door lets people in: what was measured
// while people waited, the throttle's rate while too little is known, and 0
// while it lets in nobody.
func (r *Room) AdmittingPerMinute() int {
	if r.State != Open && r.State != Draining {
		return 0
	}
	switch r.Standstill() {
	case "", ReasonFull:
	default:
		return 0
	}
	if p, ok := r.pace(); ok {
		return min(int(p.perSecond*60+0.5), r.Rate())
	}
	return r.Rate()
}

// RoomInfo is what visitors are told about their room.
type RoomInfo struct {
	Name               string     `json:"name"`
	State              State      `json:"state"`
	Order              Order      `json:"order"`
	Reason             *Reason    `json:"reason"`
	ClosedReason       *string    `json:"closed_reason"`
	Waiting            int        `json:"waiting"`
	AdmittingPerMinute int        `json:"admitting_per_minute"`
	Message            *string    `json:"message"`
	OpensAt            *time.Time `json:"opens_at"`
	LobbyOpensAt       *time.Time `json:"lobby_opens_at"`
	StockLeft          *int       `json:"stock_left"`
}

// Info is what visitors are told about the room.
func (r *Room) Info() RoomInfo {
	info := RoomInfo{
		Name: r.Name, State: r.State, Order: r.Order, Waiting: r.Waiting, AdmittingPerMinute: r.AdmittingPerMinute(),
		OpensAt: known(r.OpensAt), LobbyOpensAt: known(r.LobbyOpensAt),
	}
	if reason := r.Standstill(); reason != "" {
		info.Reason = &reason
	}
	if r.State == Closed && r.ClosedReason != "" {
		info.ClosedReason = &r.ClosedReason
	}
	if r.Message != "" {
		info.Message = &r.Message
	}
	if r.StockLeft >= 0 {
		info.StockLeft = &r.StockLeft
	}
	return info
}

// known is nil for the zero time.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
