package redisstore_test

import (
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"onsale/lua"
)

// Wrong codes are counted for as long as the first of them is remembered, however
// many come at once, each visitor for themselves.
func TestGuessesAreCounted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := t.Context()
		h := newHall(t, rdb)
		const age = 10 * time.Minute
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() {
				if _, _, err := h.Guess(ctx, h.event, "a", 1, age); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		n, left, err := h.Guess(ctx, h.event, "a", -1, age)
		if err != nil || n != 29 || left <= 0 || left > age {
			t.Errorf("after 30 and one taken back: %d for %s, %v", n, left, err)
		}
		if n, _, err := h.Guess(ctx, h.event, "b", 1, age); err != nil || n != 1 {
			t.Errorf("somebody else has %d, %v", n, err)
		}
		if err := rdb.PExpire(ctx, lua.GuessesKey(h.event, "a"), time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		if n, left, err := h.Guess(ctx, h.event, "a", 1, age); err != nil || n != 30 || left > time.Minute {
			t.Errorf("another one makes %d, and lasts longer: %s, %v", n, left, err)
		}
	})
}
