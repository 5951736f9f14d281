package waitroom

import (
	"context"
	"time"
)

// Store keeps the rooms. Every method is atomic for one room, returns within a
// deadline of its own, and returns fault.NotFound for a room that is not there
// and fault.Unavailable when the store cannot be reached.
type Store interface {
	// Restore puts stored turns back before their room is seeded. Turns the
	// store knows already stay as they are.
	Restore(ctx context.Context, event string, turns []Turn) error
	// Seed creates a room unless it is there, and reports whether it did. A
	// room that has lived before admits nobody for the time quiet. Turns is how
	// many were put back before; when they are gone again, the error is
	// fault.Unavailable.
	Seed(ctx context.Context, s Settings, quiet time.Duration, turns int) (created bool, err error)
	// Rooms lists the events that have a room.
	Rooms(ctx context.Context) ([]string, error)
	// Room returns a room as it is now.
	Room(ctx context.Context, event string) (Room, error)
	// Survey returns a room and what q asks for, all as of one moment.
	Survey(ctx context.Context, event string, q Query) (Survey, error)

	// Join gives a visitor a place or finds the one they have. It returns
	// fault.RoomClosed, TooMany, InviteRequired and ChallengeRequired.
	Join(ctx context.Context, event string, j Join) (v Visitor, outcome Outcome, err error)
	// Visitor looks one visitor up. Present says that it is they who ask: then
	// they are not away any more. It returns fault.UnknownVisitor.
	Visitor(ctx context.Context, event, visitor string, present bool) (Visitor, error)
	// Claim takes a ready visitor's turn; fault.NotYourTurn, ShopFull,
	// UnknownVisitor.
	Claim(ctx context.Context, event, visitor string) (Visitor, error)
	// Leave ends a visitor's wait or turn; fault.UnknownVisitor.
	Leave(ctx context.Context, event, visitor string) (Visitor, error)
	// Finish ends a turn that led to a purchase; fault.UnknownVisitor.
	Finish(ctx context.Context, event, visitor string) (Visitor, error)
	// FinishSoon ends a shopper's lease after the grace time, unless it ends
	// before; fault.UnknownVisitor.
	FinishSoon(ctx context.Context, event, visitor string, grace time.Duration) (Visitor, error)
	// SetLane moves a visitor who waits, or is in the lobby, to another lane at
	// the same place; from is the lane they must be in, NoLane for any. It
	// returns fault.UnknownVisitor for everybody else.
	SetLane(ctx context.Context, event, visitor string, to, from Lane) (Visitor, error)
	// Gone notes that the last connection of these visitors dropped.
	Gone(ctx context.Context, event string, visitors []string) error
	// PutHandover keeps whom a hand-over code stands for, by the code's digest.
	// It returns fault.TooMany beyond most codes of a visitor in an hour.
	PutHandover(ctx context.Context, event, digest, visitor string, life time.Duration, most int) error
	// TakeHandover says whom a code stands for, once; fault.HandoverInvalid.
	TakeHandover(ctx context.Context, event, digest string) (visitor string, err error)

	// Admit is one tick: it ends turns whose time is over and admits from the
	// head of the line what the throttle allows. It does nothing when the last
	// tick, by whatever node, was less than gap ago.
	Admit(ctx context.Context, event string, gap time.Duration) (Tick, error)
	// AdmitNow lets in up to n from the head of the line, whatever the rate, but
	// within the cap.
	AdmitNow(ctx context.Context, event string, n int) (Tick, error)
	// Gathered lists up to n of those in the lobby.
	Gathered(ctx context.Context, event string, n int) ([]Visitor, error)
	// Place moves those in the lobby to their places in the line: for each
	// visitor, as Gathered returned them, with Place set.
	Place(ctx context.Context, event string, placed []Visitor) error
	// Configure changes settings; the patch is valid. Secret is that of the draw,
	// for a patch that makes the room draw. It returns fault.Conflict for what is
	// not possible now.
	Configure(ctx context.Context, event string, p Patch, secret string) error
	// Change puts the room into a state if it is in one of those in from;
	// otherwise it changes nothing. Cutoff belongs to Draining. It returns the
	// state the room was in.
	Change(ctx context.Context, event string, to State, reason string, cutoff int64, from []State) (changed bool, before State, err error)
	// SetPublicValue brings the value a draw waits for; fault.Conflict when it
	// waits for none.
	SetPublicValue(ctx context.Context, event, value string) error
	// SetMessage sets what the host says to everyone; empty for nothing.
	SetMessage(ctx context.Context, event, text string) error
	// Steer changes the autopilot's rate, unless somebody did since at.
	Steer(ctx context.Context, event string, at time.Time, rate int, why string) error
	// Shop says how the shop is.
	Shop(ctx context.Context, event string, r ShopReport) error
	// Health keeps how one node's part of the shop feels, for the time good, and
	// returns how all parts feel.
	Health(ctx context.Context, node string, h Health, good time.Duration) ([]Health, error)

	// Unsaved lists up to n turns, and changes the room made by itself, that were
	// not saved outside the store yet; Saved forgets them, unless they changed
	// since.
	Unsaved(ctx context.Context, event string, n int) (Unsaved, error)
	Saved(ctx context.Context, event string, u Unsaved) error

	// News calls f with what changes, until ctx ends. News may be lost, and
	// says so with an empty News whenever some may have been.
	News(ctx context.Context, f func(News)) error
}

// Join is who joins a room.
type Join struct {
	Visitor    string
	Fresh      bool   // the visitor's id was made for this join, and nothing below PerAddress is set
	Address    string // pseudonym of the address they come from
	PerAddress int    // most new visitors per address and minute; 0: no limit
	Suspicious int    // new visitors per address and minute beyond which they are suspect; 0: no limit

	Lane    Lane // NoLane: general
	Invited Invited
	Nonce   string // of a challenge that was solved; "" without one

	// Of a verified receipt; zero without one.
	Place       int64
	Index       int64
	ReceiptLane Lane
	Epoch       int64

	// Of a verified pass; zero without one.
	Claimed time.Time
	Lease   time.Time
}

// Invited says by what kind of invitation somebody joins.
type Invited int

// The kinds of invitation.
const (
	NotInvited   Invited = iota
	InvitedOften         // by one that many may use
	InvitedOnce          // by one for one turn
)

// Outcome is what a join did.
type Outcome int

// The outcomes of a join.
const (
	Found    Outcome = iota // the visitor had a place, a turn or an end already
	Placed                  // a new place was given
	Restored                // an earlier place or turn was given back
)

// Tick is what one call of Admit did and left.
type Tick struct {
	Ran      bool
	Admitted int
	Expired  int
	Skipped  int // were not there when their turn came
	Cursor   int64
	Waiting  int
	Ready    int
	Shopping int
	Moving   bool // the lobby has not moved completely: tick again at once
	Awaiting bool // the draw waits for its public value
	Closed   bool
	At       time.Time
}

// Query asks a Survey for more than the room itself.
type Query struct {
	Front    int      // how many scores from the head of the line
	Scores   []int64  // for each of these, how many wait before it
	Visitors []string // whose state is wanted
}

// Survey answers a Query.
type Survey struct {
	Room     Room
	Front    []int64   // scores, ascending
	Ahead    []int     // one for each of Query.Scores
	Visitors []Visitor // one for each of Query.Visitors; Unknown without a record, and Ahead is not set
}

// News is what changed in one event's room: some visitors, or (with none) the
// room itself. News without an event says that news may have been lost.
type News struct {
	Event    string
	Visitors []string
	Admitted bool // the visitors' turn has come
}

// ShopReport is what the shop says of itself.
type ShopReport struct {
	Well      time.Duration // for how long from now it is well; 0: it is not
	Available int           // tickets that can be had now; -1: not known
	Held      int           // tickets in somebody's hands; -1: not known
	PerBuyer  int           // most tickets of one buyer; 0: not known
}

// Turn is a visitor's turn, or the end of one, as it outlives the store.
type Turn struct {
	Visitor  string
	State    VisitorState // Ready, Shopping, Expired, Done or Left; Unknown: none any more
	Lane     Lane
	Place    int64
	Missed   int
	Admitted time.Time
	Claimed  time.Time
	Until    time.Time
	Changed  time.Time
}

// Change is something a room did by itself.
type Change struct {
	Number int64
	At     time.Time
	Actor  string // schedule, stock, drain, health or autopilot
	Action string // such as room.open
	Detail string
}

// Unsaved is what has not been saved outside the store.
type Unsaved struct {
	Turns   []Turn
	Changes []Change
	Epoch   int64
}

// Admission is an entry of the admission log.
type Admission struct {
	Event  string
	At     time.Time
	Count  int
	Cursor int64 // highest place served so far
}

// Checkpoint is what the Archive has of a room.
type Checkpoint struct {
	Settings

	Lived bool          // the room has been in a store before
	Age   time.Duration // since it was saved
}

// Archive keeps what must outlive the store. It may be slower than the store,
// and down while the store is up.
type Archive interface {
	// Rooms returns the settings and the checkpoint of all rooms that should
	// exist.
	Rooms(ctx context.Context) ([]Checkpoint, error)
	// SaveRoom replaces the checkpoint of a room.
	SaveRoom(ctx context.Context, s Settings) error
	// Secret returns the secret of the room's draw, which is proposed unless it
	// has one.
	Secret(ctx context.Context, event, proposed string) (string, error)
	// SaveTurns keeps turns of the room's epoch, and forgets those that are
	// Unknown; what changed later stays.
	SaveTurns(ctx context.Context, event string, epoch int64, turns []Turn) error
	// Turns returns up to limit turns of visitors after the given one, in order
	// of the visitors.
	Turns(ctx context.Context, event string, epoch int64, after string, limit int) ([]Turn, error)
	// Changed adds what a room did by itself to the audit log, once each.
	Changed(ctx context.Context, event string, changes []Change) error
	// Admitted adds to the admission log.
	Admitted(ctx context.Context, entries []Admission) error
}
