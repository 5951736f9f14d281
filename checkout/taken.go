package checkout

import (
	"errors"
	"fmt"

	"onsale/internal/fault"
)

// codeNoInventory is how a HoldStore says that the event's inventory has to be
// loaded. It never leaves the package's callers.
const codeNoInventory fault.Code = "no-inventory"

// ErrNoInventory is returned by a HoldStore that does not have the event.
var ErrNoInventory = fault.New(codeNoInventory, "the live inventory is being rebuilt").After(1e9)

// TakenError names the tickets, by ordinal, that somebody else has.
type TakenError struct{ Ordinals []int }

func (e *TakenError) Error() string { return fmt.Sprintf("taken: %v", e.Ordinals) }

// Taken returns the fault of tickets that somebody else has.
func Taken(ordinals []int) error {
	return fault.Wrap(&TakenError{Ordinals: ordinals}, fault.TicketsTaken, "tickets are taken")
}

func takenOf(err error) ([]int, bool) {
	t, ok := errors.AsType[*TakenError](err)
	if !ok {
		return nil, false
	}
	return t.Ordinals, true
}

// SinglesError names the seats, by ordinal, that would be left with no free
// neighbour.
type SinglesError struct{ Ordinals []int }

func (e *SinglesError) Error() string { return fmt.Sprintf("left alone: %v", e.Ordinals) }

// Singles returns the fault of seats that would be left alone.
func Singles(ordinals []int) error {
	return fault.Wrap(&SinglesError{Ordinals: ordinals}, fault.SingleSeats, "seats would be left alone")
}

func singlesOf(err error) ([]int, bool) {
	s, ok := errors.AsType[*SinglesError](err)
	if !ok {
		return nil, false
	}
	return s.Ordinals, true
}
