// Package fault is the one error type that crosses package boundaries on its
// way to a person: a stable code, a sentence for people, and optional members.
//
// Domain packages return faults for everything a caller can act on. Adapters
// translate driver errors into faults once. Package web holds the one table
// that turns a code into an HTTP status. Errors that are not faults are bugs
// or surprises and reach users only as "internal".
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Code is the stable, kebab-case name of a kind of fault. It is the last
// segment of the problem type that API clients see, so codes never change.
type Code string

// The codes. Their HTTP statuses stand in web's table.
const (
	Invalid            Code = "invalid-request"    // malformed or out of bounds; the detail names what
	NotFound           Code = "not-found"          // no such event, order, hold, visitor …
	Unauthorized       Code = "unauthorized"       // no credentials, or ones that don't verify
	Forbidden          Code = "forbidden"          // credentials are fine, but not for this
	PassRequired       Code = "pass-required"      // the shop was entered without a pass
	PassLapsed         Code = "pass-lapsed"        // the pass is genuine but its lease is over
	UnknownVisitor     Code = "unknown-visitor"    // the visitor has no place in this room
	RoomClosed         Code = "room-closed"        // the room takes nobody any more
	NotYourTurn        Code = "not-your-turn"      // a claim by somebody who is not ready
	ShopFull           Code = "shop-full"          // a claim while the shop is full; the turn is kept, RetryAfter is set
	ChallengeRequired  Code = "challenge-required" // member challenge; send its answer with the same request
	InviteRequired     Code = "invite-required"    // the room is for those who are invited
	InviteInvalid      Code = "invite-invalid"     // forged, lapsed, of another event, or for somebody else
	HandoverInvalid    Code = "handover-invalid"   // unknown, used or lapsed
	SignInRequired     Code = "sign-in-required"   // a user token is needed
	TooMany            Code = "too-many-requests"  // a limit per address or visitor; RetryAfter is set
	TicketsTaken       Code = "tickets-taken"      // members taken, taken_ordinals, alternatives
	SingleSeats        Code = "single-seats"       // members singles, singles_ordinals: seats that would be left alone
	LimitReached       Code = "limit-reached"      // more tickets than one buyer may have
	SoldOut            Code = "sold-out"           // no such tickets are left
	HoldLapsed         Code = "hold-lapsed"        // the hold ran out or was released
	PromoInvalid       Code = "promo-invalid"      // member reason: why the promo code takes nothing off
	Conflict           Code = "conflict"           // the thing's state does not allow this
	KeyMissing         Code = "idempotency-key-missing"
	KeyInFlight        Code = "idempotency-in-flight"
	KeyReused          Code = "idempotency-key-reused" // same key, other request
	TooLarge           Code = "too-large"
	Unavailable        Code = "unavailable"         // a dependency is down; RetryAfter is set
	GatewayUnavailable Code = "gateway-unavailable" // the payment gateway is down; nothing was charged
	Internal           Code = "internal"
)

// Error is a fault. Detail is written for the person who made the request and
// never carries internals; Err is the cause for the log.
type Error struct {
	Code       Code
	Detail     string
	Members    map[string]any // extra members of the problem document
	RetryAfter time.Duration  // when trying again makes sense; 0: not said
	Err        error
}

// New returns a fault with a formatted detail.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Wrap returns a fault caused by err, which is logged but not shown.
func Wrap(err error, code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...), Err: err}
}

// Down is the fault of a dependency that does not answer; name is said to users
// ("the queue", "the ticket store"). The advised wait is two seconds.
func Down(err error, name string) *Error {
	return &Error{
		Code:       Unavailable,
		Detail:     name + " cannot be reached at the moment; nothing was lost, please try again",
		RetryAfter: 2 * time.Second,
		Err:        err,
	}
}

// With adds a member to the problem document and returns e.
func (e *Error) With(name string, value any) *Error {
	if e.Members == nil {
		e.Members = make(map[string]any)
	}
	e.Members[name] = value
	return e
}

// After sets RetryAfter and returns e.
func (e *Error) After(d time.Duration) *Error {
	e.RetryAfter = d
	return e
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Detail, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Detail)
}

func (e *Error) Unwrap() error { return e.Err }

// Of returns the first fault in err's chain.
func Of(err error) (f *Error, ok bool) { return errors.AsType[*Error](err) }

// CodeOf returns the code of the first fault in err's chain, Internal for any
// other error and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Code
	}
	return Internal
}

// Is reports whether err is a fault with the given code.
func Is(err error, code Code) bool { return err != nil && CodeOf(err) == code }
