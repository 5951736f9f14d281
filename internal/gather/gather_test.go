package gather

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

// TestAPanicStrandsNobody lets the carrier of many calls panic: it is theirs who carried
// them, and all others are told that it went wrong.
func TestAPanicStrandsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		g := &Gatherer[int, int]{Most: 8, Lanes: 1, Enough: 1, Carry: func(_ context.Context, calls []int) []Outcome[int] {
			if len(calls) > 1 {
				panic("a bug")
			}
			<-leave
			return []Outcome[int]{{Reply: calls[0]}}
		}}
		var wg sync.WaitGroup
		var mu sync.Mutex
		broken, panicked := 0, 0
		do := func(n int) {
			defer wg.Done()
			defer func() {
				if recover() != nil {
					mu.Lock()
					panicked++
					mu.Unlock()
				}
			}()
			if _, err := g.Do(t.Context(), n); errors.Is(err, errBroken) {
				mu.Lock()
				broken++
				mu.Unlock()
			}
		}
		wg.Add(6)
		for n := range 6 {
			go do(n)
			synctest.Wait()
		}
		close(leave)
		wg.Wait()
		if broken != 4 || panicked != 1 {
			t.Errorf("%d calls broke and %d panicked, want 4 and 1", broken, panicked)
		}
		if n, err := g.Do(t.Context(), 7); n != 7 || err != nil {
			t.Errorf("the next call: %d, %v", n, err)
		}
	})
}
