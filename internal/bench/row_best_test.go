package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestLeftovers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ seats, perRow, singles, pairs int }{{bestSeats, bestPerRow, bestSingles, bestPairs}, {1000, 20, 20, 2}} {
		left := leftovers(test.seats, test.perRow, test.singles, test.pairs)
		last := test.seats - test.perRow
		has := make(map[int]bool)
		for _, o := range left {
			if o < 0 || o >= test.seats || has[o] {
				t.Errorf("%+v: seat %d", test, o)
			}
			has[o] = true
		}
		if len(has) != test.singles+2*test.pairs {
			t.Errorf("%+v: %d seats are left", test, len(has))
		}
		pairs, across := 0, 0
		for o := range has {
			switch {
			case !has[o+1]:
			case (o+1)%test.perRow == 0:
				across++
			case o < last:
				t.Errorf("%+v: %d and %d are next to each other", test, o, o+1)
			default:
				pairs++
			}
		}
		if pairs != test.pairs || across != test.singles/4 {
			t.Errorf("%+v: %d pairs, %d seats end a row and the next begins another", test, pairs, across)
		}
	}
}

func TestFirstCalls(t *testing.T) {
	t.Parallel()
	call := func(took time.Duration, args ...string) redis.SlowLog {
		return redis.SlowLog{Duration: took, Args: args}
	}
	// The latest first, as the log has them.
	calls := []redis.SlowLog{
		call(90*time.Microsecond, "evalsha", "release", "5", "hold:{e}:h:b", "visitor", "b"),
		call(200*time.Microsecond, "EVALSHA", "hold", "9", "hold:{e}:h:b", "visitor", "b", "best"),
		call(80*time.Microsecond, "evalsha", "release", "5", "hold:{e}:h:a", "visitor", "a"),
		call(7*time.Microsecond, "hgetall", "a"),
		call(300*time.Microsecond, "evalsha", "hold", "9", "hold:{e}:h:a", "visitor", "a", "best"),
		call(5*time.Microsecond, "get", "a"),
		call(9 * time.Microsecond),
	}
	if took := firstCalls(calls, []string{"a", "b", "c"}); !slices.Equal(took, []float64{300, 200}) {
		t.Errorf("the calls took %v", took)
	}
}
