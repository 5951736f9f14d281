package pgstore

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// tellMove writes, in the transaction that moves an event, what those who have its
// tickets are told. was is its start until now, nth how often they were told so, this
// time included. It returns how many e-mails that are.
type tellMove func(ctx context.Context, tx pgx.Tx, event string, was time.Time, nth int) (told int, err error)

// OnMoved has f tell those who have tickets of a public event that it takes place at
// another time, whichever way that is changed here. It is to be called before the store
// is used; the checkout's pgstore.Store has such an f.
func (s *Store) OnMoved(f func(ctx context.Context, tx pgx.Tx, event string, was time.Time, nth int) (told int, err error)) {
	s.moved = f
}

// slot is when an event takes place, and whether anybody knows.
type slot struct {
	status string
	starts time.Time
	doors  time.Time // zero: nothing is said of them
}

func slotOf(status string, starts time.Time, doors *time.Time) slot {
	if doors == nil {
		return slot{status, starts, time.Time{}}
	}
	return slot{status, starts, *doors}
}

// movesTo reports whether a public event takes place at another time. A draft is
// nobody's business, and of what is over there is nothing to wait for.
func (w slot) movesTo(is slot) bool {
	public := func(status string) bool { return status == "on_sale" || status == "postponed" }
	moved := !w.starts.Equal(is.starts) || !w.doors.Equal(is.doors)
	return moved && public(w.status) && public(is.status)
}

// slotNow reads the slot of an event and keeps others from changing it meanwhile.
func slotNow(ctx context.Context, tx pgx.Tx, event string) (slot, error) {
	var status string
	var starts time.Time
	var doors *time.Time
	err := tx.QueryRow(ctx, `select status, starts_at, doors_at from events where id = @event::uuid for no key update`, pgx.NamedArgs{"event": event}).
		Scan(&status, &starts, &doors)
	if errors.Is(err, pgx.ErrNoRows) {
		return slot{}, noSuchEvent(event)
	}
	return slotOf(status, starts, doors), translate(ctx, err)
}

// tell has everybody who has tickets told, once for this change.
func (s *Store) tell(ctx context.Context, tx pgx.Tx, event string, was slot) (told int, err error) {
	if s.moved == nil {
		return 0, nil
	}
	var nth int
	err = tx.QueryRow(ctx, `update events set reschedules = reschedules + 1 where id = @event::uuid returning reschedules`, pgx.NamedArgs{"event": event}).Scan(&nth)
	if err != nil {
		return 0, translate(ctx, err)
	}
	return s.moved(ctx, tx, event, was.starts, nth)
}
