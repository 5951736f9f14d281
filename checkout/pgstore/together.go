package pgstore

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"onsale/internal/fault"
	"onsale/internal/gather"
)

const (
	mostTogether = 64 // purchases in one transaction
	// lanes is how many such transactions may be under way at the same time: one is
	// worked on while another waits for the disk.
	lanes         = 2
	enoughForLane = 32
)

// errNothing rolls a transaction back in which every call was refused.
var errNothing = errors.New("pgstore: nothing is to be stored")

// gatherer sends calls that come at the same time to fn in one transaction. A call
// that comes alone goes at once, by itself. fn answers each call for itself and
// undoes what it did for those it refuses; an error of fn rolls everything back, and
// each call is carried again alone, so that nobody fails for somebody else. apart
// names what two calls in one transaction must not share.
func gatherer[C, R any](s *Store, apart func(C) []string,
	fn func(ctx context.Context, tx pgx.Tx, calls []C) ([]gather.Outcome[R], error),
) *gather.Gatherer[C, R] {
	carry := func(ctx context.Context, calls []C) []gather.Outcome[R] {
		out := make([]gather.Outcome[R], len(calls))
		var once func(round []int)
		once = func(round []int) {
			some := make([]C, len(round))
			for i, n := range round {
				some[i] = calls[n]
			}
			var outcomes []gather.Outcome[R]
			err := s.tx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
				outcomes, err = fn(ctx, tx, some)
				return err
			})
			if errors.Is(err, errNothing) {
				err = nil // the outcomes stand
			}
			alone := err != nil && len(round) > 1 && (!fault.Is(err, fault.Unavailable) || isLocked(err))
			for i, n := range round {
				switch {
				case err == nil:
					out[n] = outcomes[i]
				case alone:
					once([]int{n})
				default:
					out[n].Err = err
				}
			}
		}
		for _, round := range rounds(calls, apart) {
			once(round)
		}
		return out
	}
	return &gather.Gatherer[C, R]{Most: mostTogether, Lanes: lanes, Enough: enoughForLane, Carry: carry}
}

// rounds splits calls, by index and in order, so that no two of a round have
// anything of apart in common.
func rounds[C any](calls []C, apart func(C) []string) [][]int {
	var out [][]int
	var seen []map[string]bool
	for n, c := range calls {
		names := apart(c)
		first := 0
		for i := range seen { // after the last round that has one of its names
			for _, name := range names {
				if seen[i][name] {
					first = i + 1
				}
			}
		}
		if first == len(seen) {
			seen, out = append(seen, map[string]bool{}), append(out, nil)
		}
		out[first] = append(out[first], n)
		for _, name := range names {
			seen[first][name] = true
		}
	}
	return out
}

// isLocked tells a wait for somebody else's lock, which is one call's own, from a store
// that does not answer.
func isLocked(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == lockTimeout
}

// isFault tells a refusal, which is one call's own, from a breakdown, which is the
// whole transaction's.
func isFault(err error) bool {
	_, ok := fault.Of(err)
	return ok
}
