package waitroom

import (
	"context"
	"time"
)

// Store keeps the rooms. Every method is atomic for one room, returns within a
// deadline of its own, and returns fault.NotFound for a room that is not there
// and fault.Unavailable when the store cannot be reached.
type Store interface {
	// Seed creates a room unless it is there, and reports whether it did. A
	// room that has admitted before admits nobody for the time quiet.
	Seed(ctx context.Context, s Settings, quiet time.Duration) (created bool, err error)
	// Rooms lists the events that have a room.
	Rooms(ctx context.Context) ([]string, error)
	// Room returns a room as it is now.
	Room(ctx context.Context, event string) (Room, error)
	// Survey returns a room and what q asks for, all as of one moment.
	Survey(ctx context.Context, event string, q Query) (Survey, error)

	// Join gives a visitor a place or finds the one they have. It returns
	// fault.RoomClosed and fault.TooMany.
	Join(ctx context.Context, event string, j Join) (v Visitor, outcome Outcome, err error)
	// Visitor looks one visitor up; fault.UnknownVisitor.
	Visitor(ctx context.Context, event, visitor string) (Visitor, error)
	// Claim takes a ready visitor's turn; fault.NotYourTurn, fault.UnknownVisitor.
	Claim(ctx context.Context, event, visitor string) (Visitor, error)
	// Leave ends a visitor's wait or turn; fault.UnknownVisitor.
	Leave(ctx context.Context, event, visitor string) (Visitor, error)
	// Finish ends a turn that led to a purchase; fault.UnknownVisitor.
	Finish(ctx context.Context, event, visitor string) (Visitor, error)
	// FinishSoon ends a shopper's lease after the grace time, unless it ends
	// before; fault.UnknownVisitor.
	FinishSoon(ctx context.Context, event, visitor string, grace time.Duration) (Visitor, error)

	// Admit is one tick: it ends turns whose time is over and admits from the
	// head of the line what the throttle allows. It does nothing when the last
	// tick, by whatever node, was less than gap ago.
	Admit(ctx context.Context, event string, gap time.Duration) (Tick, error)
	// Configure changes the throttle; the patch is valid.
	Configure(ctx context.Context, event string, p ThrottlePatch) error
	// Change puts the room into a state if it is in one of those in from;
	// otherwise it changes nothing. It returns the state the room was in.
	Change(ctx context.Context, event string, to State, reason string, from []State) (changed bool, before State, err error)
	// SetMessage sets what the host says to everyone; empty for nothing.
	SetMessage(ctx context.Context, event, text string) error
	// ShopOK says that the shop is well for the time good from now, and how
	// many tickets are left (-1: not known).
	ShopOK(ctx context.Context, event string, good time.Duration, stock int) error

	// News calls f with what changes, until ctx ends. News may be lost, and
	// says so with an empty News whenever some may have been.
	News(ctx context.Context, f func(News)) error
}

// Join is who joins a room.
type Join struct {
	Visitor    string
	Fresh      bool   // the visitor's id was made for this join
	Address    string // pseudonym of the address they come from
	PerAddress int    // most new visitors per address and minute; 0: no limit
	Place      int64  // of a verified receipt; 0 without one
	Epoch      int64
}

// Outcome is what a join did.
type Outcome int

// The outcomes of a join.
const (
	Found    Outcome = iota // the visitor had a place, a turn or an end already
	Placed                  // a new place was given
	Restored                // the receipt's place was given back
)

// Tick is what one call of Admit did and left.
type Tick struct {
	Ran      bool
	Admitted int
	Expired  int
	Cursor   int64
	Waiting  int
	Active   int
	Moving   bool // the lobby has not moved completely: tick again at once
	Closed   bool
	At       time.Time
}

// Query asks a Survey for more than the room itself.
type Query struct {
	Front    int      // how many places from the head of the line
	Places   []int64  // for each of these, how many wait before it
	Visitors []string // whose state is wanted
}

// Survey answers a Query.
type Survey struct {
	Room     Room
	Front    []int64   // ascending
	Ahead    []int     // one for each of Query.Places
	Visitors []Visitor // one for each of Query.Visitors; Unknown without a record, and Ahead is not set
}

// News is what changed in one event's room: some visitors, or (with none) the
// room itself. News without an event says that news may have been lost.
type News struct {
	Event    string
	Visitors []string
	Admitted bool // the visitors' turn has come
}

// Admission is an entry of the admission log.
type Admission struct {
	Event  string
	At     time.Time
	Count  int
	Cursor int64 // highest place served so far
}

// Archive keeps what must outlive the store. It may be slower than the store,
// and down while the store is up.
type Archive interface {
	// Rooms returns the settings and the checkpoint of all rooms that should
	// exist.
	Rooms(ctx context.Context) ([]Settings, error)
	// SaveRoom replaces the checkpoint of a room.
	SaveRoom(ctx context.Context, s Settings) error
	// Admitted adds to the admission log.
	Admitted(ctx context.Context, entries []Admission) error
}
