package account

import (
	"context"
	"encoding/json"
	"time"

	"onsale/checkout"
)

// Account is somebody who signs in.
type Account struct {
	ID        string    `json:"account"`
	Email     *string   `json:"email"` // in lower case; nil: the issuer says none
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
	LastSeen  time.Time `json:"last_seen_at"` // the latest sign-in

	Epoch int64 `json:"-"` // of its sessions
}

// Proof says who somebody is. At least one of an address and an identity is there.
type Proof struct {
	Email   string // that they can read e-mails of; "" for none
	Issuer  string // OpenID Connect; "" for none
	Subject string
	Name    string // for a new account
}

// Device is the visitor that somebody signs in with.
type Device struct {
	Visitor string // "" for none
	// Foreign: it is another account's, and stays so.
	Foreign bool
}

// Code is one that was asked for. What it says is derived from its id.
type Code struct {
	ID      string
	Email   string
	Network string // pseudonym of the network address that asked
}

// CodeLimits bound codes.
type CodeLimits struct {
	Life       time.Duration
	Tries      int // that a code stands
	PerAddress int // within Window
	PerNetwork int // within Window
	Window     time.Duration
}

// Person is somebody by one thing that is known of them: exactly one field is set.
type Person struct {
	Account string // with all devices and the proven address
	Email   string // with the account, where there is one
	Order   string // this order alone, as its link allows
}

// Erasure is what was made nobody's.
type Erasure struct {
	ID     string `json:"erasure"` // also in the address that stands for theirs
	Orders int    `json:"orders"`
}

// ErasureRequest says who is to be forgotten.
type ErasureRequest struct {
	Person Person
	Actor  string // for the audit log: account, buyer, or the operator
	// EvenWithTickets forgets somebody with tickets for an event to come. They stay
	// valid, for whoever shows them.
	EvenWithTickets bool
}

// Section is one part of what is known about a person: a single document, or a list.
type Section struct {
	Name string
	List bool
}

// Sections lists the parts of an export, in their order.
var Sections = []Section{
	{"account", false}, {"identities", true}, {"devices", true}, {"orders", true}, {"payments", true}, {"refunds", true},
	{"tickets", true}, {"emails", true}, {"audit", true},
}

// Store keeps accounts. Its errors are faults, Unavailable when it does not answer.
type Store interface {
	// NewCode records a code and puts its e-mail into the outbox. TooMany beyond the
	// limits.
	NewCode(ctx context.Context, c Code, l CodeLimits) error
	// TakeCode uses up the code of an address that matches, and signs in. Every call is
	// a try of all its codes. ok is false when none matches.
	TakeCode(ctx context.Context, email string, l CodeLimits, matches func(id string) bool, device string) (a Account, d Device, ok bool, err error)
	// SignIn finds or makes the account of a proof.
	SignIn(ctx context.Context, p Proof, device string) (Account, Device, error)
	// Account finds one that is not erased; NotFound.
	Account(ctx context.Context, id string) (Account, error)
	Rename(ctx context.Context, id, name string) (Account, error)
	// EndSessions begins a new epoch.
	EndSessions(ctx context.Context, id string) error
	// Link makes a visitor a device of an account, unless it is another's.
	Link(ctx context.Context, id, visitor string) error
	// AccountOrders lists the orders of the account's devices, and those with its
	// address.
	AccountOrders(ctx context.Context, id string, q checkout.OrderQuery) (checkout.OrderPage, error)
	// Export hands over everything about a person, section by section as in Sections,
	// of one moment.
	Export(ctx context.Context, p Person, write func(s Section, item json.RawMessage) error) error
	// Erase makes a person nobody; Conflict while that cannot be, NotFound when there
	// is nothing about them.
	Erase(ctx context.Context, r ErasureRequest) (Erasure, error)
}
