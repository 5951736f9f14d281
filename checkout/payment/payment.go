// Package payment moves money: the Gateway interface and its implementations.
//
// A gateway guarantees that repeating a call with the same key has the effect
// of one call, and that Lookup tells what became of a key. An error other than
// ErrNotFound from any call means that the outcome is unknown: the caller asks
// again with the same key or looks it up, and never guesses.
package payment

import (
	"context"
	"errors"
)

// State is what a gateway did with a charge.
type State string

// The states of a charge at the gateway.
const (
	RequiresAction State = "requires_action" // the buyer has to act at ActionURL
	Authorised     State = "authorised"      // the amount is reserved, not taken
	Captured       State = "captured"        // taken
	Voided         State = "voided"          // the reservation was given back
	Declined       State = "declined"
)

// Charge asks for an authorisation. Amount is in minor units. Key is the
// payment's id and the idempotency key.
type Charge struct {
	Key      string
	Order    string
	Amount   int64
	Currency string
	Method   string
}

// Result tells where a charge stands.
type Result struct {
	State     State
	Reason    string // why it was declined, for the buyer
	ActionURL string // for RequiresAction: a path or URL for the buyer's browser
}

// The errors callers act on.
var (
	// ErrNotFound: the gateway has never heard of the key.
	ErrNotFound = errors.New("payment: no such charge")
	// ErrCaptured: Void came after a capture; a refund is needed.
	ErrCaptured = errors.New("payment: already captured")
	// ErrGone: Capture of a charge that was voided or declined.
	ErrGone = errors.New("payment: the authorisation is gone")
	// ErrUnknownMethod: the gateway does not know the payment method.
	ErrUnknownMethod = errors.New("payment: unknown payment method")
)

// Gateway is a payment provider with separate authorisation and capture.
type Gateway interface {
	Name() string
	// CheckMethod refuses a method before anything is recorded: ErrUnknownMethod.
	CheckMethod(method string) error
	Authorise(ctx context.Context, c Charge) (Result, error)
	// Lookup returns ErrNotFound for a key that never arrived.
	Lookup(ctx context.Context, key string) (Result, error)
	// Capture takes the authorised amount. ErrGone if there is nothing to take.
	Capture(ctx context.Context, key string) error
	// Void gives an authorisation back. Voiding a key that never arrived makes
	// sure that it never will. ErrCaptured when the money is taken already.
	Void(ctx context.Context, key string) error
	// Refund gives back part or all of a captured charge. refund is the
	// idempotency key.
	Refund(ctx context.Context, refund, key string, amount int64) error
}
