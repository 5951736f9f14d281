// Package payment moves money: the Gateway interface and its implementations.
//
// A gateway guarantees that repeating a call with the same key has the effect
// of one call, and that Lookup tells what became of a key. An error other than
// those below from any call means that the outcome is unknown: the caller asks
// again with the same key or looks it up, and never guesses.
//
// What a webhook says is only a hint that there is something to look up. So
// webhooks may come twice, late, in any order, or not at all.
package payment

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

// State is what a gateway did with a charge.
type State string

// The states of a charge at the gateway.
const (
	RequiresAction State = "requires_action" // the buyer has to act; see Result.Action
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

// Result tells where a charge stands. Amounts are in minor units.
type Result struct {
	State    State
	Reason   string // why it was declined, for the buyer
	Captured int64  // taken so far
	Refunded int64  // given back of that

	// For RequiresAction, one of the two: where the buyer's browser goes, a path
	// or URL, or what the gateway's script on the page goes on with.
	ActionURL    string
	ClientSecret string
}

// inPage marks a stored action that is a client secret. No URL starts with it.
const inPage = "in-page "

// Action is what the buyer has to do, in one string: see ParseAction.
func (r Result) Action() string {
	if r.ActionURL == "" && r.ClientSecret != "" {
		return inPage + r.ClientSecret
	}
	return r.ActionURL
}

// ParseAction takes apart what Result.Action made.
func ParseAction(action string) (url, clientSecret string) {
	if secret, ok := strings.CutPrefix(action, inPage); ok {
		return "", secret
	}
	return action, ""
}

// Notice is what a webhook says: that something happened to a charge. What it
// was, only Lookup tells.
type Notice struct {
	ID     string // the gateway's own of the event
	Key    string // of the charge
	Refund string // idempotency key of the refund it is about, "" if none
}

// Tolerance is how old, or how far ahead, a webhook's signature may be. Who
// replays one within it has the charge looked up once more, and nothing else.
const Tolerance = 5 * time.Minute

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
	// ErrKeyReused: the key belongs to a call with another amount, currency,
	// order or method. Nothing was done.
	ErrKeyReused = errors.New("payment: the key was used for something else")
	// ErrTooMuch: more would be refunded than was captured. Nothing was done.
	ErrTooMuch = errors.New("payment: more than was captured")
)

// The errors of ParseWebhook.
var (
	ErrSignature = errors.New("payment: the webhook is not signed by the gateway")
	ErrStale     = errors.New("payment: the webhook was signed too long ago")
	// ErrIgnored: genuine, but about nothing that concerns a charge of ours.
	ErrIgnored = errors.New("payment: the webhook is of no interest")
)

// Gateway is a payment provider with separate authorisation and capture.
type Gateway interface {
	Name() string
	// CheckMethod refuses a method before anything is recorded: ErrUnknownMethod.
	CheckMethod(method string) error
	// Authorise reserves the amount. An amount or currency that cannot be charged
	// is declined with the reason. ErrKeyReused.
	Authorise(ctx context.Context, c Charge) (Result, error)
	// Lookup returns ErrNotFound for a key that never arrived, or that has had no
	// effect so far: Void makes sure of it.
	Lookup(ctx context.Context, key string) (Result, error)
	// Capture takes the authorised amount. ErrGone if there is nothing to take.
	Capture(ctx context.Context, key string) error
	// Void gives an authorisation back. Voiding a key that never arrived makes
	// sure that it never will. ErrCaptured when the money is taken already.
	Void(ctx context.Context, key string) error
	// Refund gives back part or all of a captured charge. refund is the
	// idempotency key. ErrNotFound if nothing was captured, ErrTooMuch, ErrKeyReused.
	Refund(ctx context.Context, refund, key string, amount int64) error
	// ParseWebhook finds out what a webhook is about: ErrSignature, ErrStale,
	// ErrIgnored.
	ParseWebhook(h http.Header, body []byte) (Notice, error)
}
