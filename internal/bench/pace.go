package bench

import (
	"context"
	"math"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// pace is an open loop: calls fall due at a fixed rate, however long those before
// them take.
type pace struct {
	rate    float64 // calls a second
	callers int     // calls under way at the same time; the others that are due wait

	// sleep waits for about a time; nil is finer than what the runtime has.
	sleep func(d time.Duration)
}

// due is when the nth call falls due, from the start.
func (p *pace) due(n int) time.Duration {
	return time.Duration(float64(n) / p.rate * float64(time.Second))
}

// run has calls fall due for the time d and returns, for each in the order they
// fell due, how long after that it had returned. So a call that had to wait for
// others has waited, and one that nobody could make in time is not left out.
// do is called with the number of the caller, from its own goroutine.
func (p *pace) run(ctx context.Context, d time.Duration, do func(ctx context.Context, caller int) error) ([]time.Duration, error) {
	total := int(d.Seconds() * p.rate)
	took := make([]time.Duration, total)
	calls := make(chan int, total)
	g, running := errgroup.WithContext(ctx)
	began := time.Now()
	for caller := range p.callers {
		g.Go(func() error {
			for n := range calls {
				if err := do(running, caller); err != nil {
					return err
				}
				took[n] = time.Since(began) - p.due(n)
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(calls)
		sleep := p.sleep
		if sleep == nil {
			runtime.LockOSThread() // sleepFinely is about the thread
			defer runtime.UnlockOSThread()
			sleep = sleepFinely
		}
		for n := range total {
			for running.Err() == nil {
				early := p.due(n) - time.Since(began)
				if early <= 0 {
					break
				}
				sleep(early)
			}
			if running.Err() != nil {
				return context.Cause(running)
			}
			calls <- n
		}
		return nil
	})
	return took, g.Wait()
}

// keptUp tells whether callers were free for most of the calls that took so long:
// rate times time is how many calls are under way (Little's law).
func (p *pace) keptUp(took []time.Duration) bool {
	return len(took) > 0 && p.rate*percentile(took, 0.5).Seconds() < float64(p.callers)
}

// percentile is the smallest of the values that a share of them does not exceed
// (nearest rank), 0 of none. Share is above 0 and at most 1.
func percentile(values []time.Duration, share float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(share*float64(len(sorted)) - 1e-9)) // 0.99 · 100 is a little more than 99
	return sorted[max(rank, 1)-1]
}
