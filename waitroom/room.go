package waitroom

import (
	"fmt"
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
	ReasonPaused   Reason = "paused"
	ReasonShopDown Reason = "shop_unavailable"
	ReasonSoldOut  Reason = "sold_out"
	ReasonFull     Reason = "full" // as many shoppers as the throttle allows
	ReasonClosed   Reason = "closed"
)

// Throttle says how fast a room lets people in.
type Throttle struct {
	RatePerMinute int           // admissions a minute, 0 … 1,000,000
	Burst         int           // admissions at once after a quiet time, 1 … 100,000
	MaxShoppers   int           // ready and shopping at the same time, 0 … 1,000,000
	Lease         time.Duration // how long a shopper may shop, 10 s … 24 h
	ClaimWindow   time.Duration // how long a turn waits to be claimed, 5 s … 1 h
}

// Validate names every value that is out of bounds, as a fault.Invalid.
func (t Throttle) Validate() error {
	return ThrottlePatch{
		RatePerMinute: &t.RatePerMinute, Burst: &t.Burst, MaxShoppers: &t.MaxShoppers, Lease: &t.Lease, ClaimWindow: &t.ClaimWindow,
	}.Validate()
}

// ThrottlePatch changes those values of a throttle that are not nil.
type ThrottlePatch struct {
	RatePerMinute *int
	Burst         *int
	MaxShoppers   *int
	Lease         *time.Duration
	ClaimWindow   *time.Duration
}

// Validate names every value that is out of bounds, as a fault.Invalid.
func (p ThrottlePatch) Validate() error {
	var wrong []string
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
	if len(wrong) > 0 {
		return fault.New(fault.Invalid, "%s", strings.Join(wrong, "; "))
	}
	return nil
}

// IsEmpty reports whether the patch changes nothing.
func (p ThrottlePatch) IsEmpty() bool { return p == ThrottlePatch{} }

// Settings are what is known of a room outside the store: how to create it, and
// how to create it again when the store has lost it.
type Settings struct {
	Event        string
	Name         string
	State        State
	ClosedReason string
	Message      string
	OpensAt      time.Time // zero: by hand
	LobbyOpensAt time.Time // zero: by hand
	ClosesAt     time.Time // zero: by hand
	Throttle     Throttle

	// The checkpoint of a line that has run before; zero for a new one.
	Cursor int64 // highest place served
	Next   int64 // highest place given
	Epoch  int64 // which of the room's lines; 0 counts as 1
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

	Waiting   int // in line, or gathered in the lobby before it opens
	Ready     int // admitted, turn not yet claimed
	Shopping  int // claimed
	Joined    int64
	Admitted  int64
	Moving    bool // the lobby is moving into the line
	ShopOK    bool // the shop said lately that it is well
	StockLeft int  // tickets left; -1 when not known
	Quiet     bool // restored a moment ago; waits for those who come back
	Born      time.Time
	Pace      []Pace // of the last ten minutes, in no particular order
	AsOf      time.Time
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
	case !r.ShopOK:
		return ReasonShopDown
	case r.StockLeft == 0:
		return ReasonSoldOut
	case r.Waiting > 0 && r.Ready+r.Shopping >= r.Throttle.MaxShoppers:
		return ReasonFull
	}
	return ""
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
	if r.State != Open && r.State != Draining || r.Moving || r.Quiet {
		return 0
	}
	switch r.Standstill() {
	case "", ReasonFull:
	default:
		return 0
	}
	if p, ok := r.pace(); ok {
		return min(int(p.perSecond*60+0.5), r.Throttle.RatePerMinute)
	}
	return r.Throttle.RatePerMinute
}

// RoomInfo is what visitors are told about their room.
type RoomInfo struct {
	Name               string     `json:"name"`
	State              State      `json:"state"`
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
		Name: r.Name, State: r.State, Waiting: r.Waiting, AdmittingPerMinute: r.AdmittingPerMinute(),
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
