package bench

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestPercentile(t *testing.T) {
	t.Parallel()
	var hundred []time.Duration
	for n := range 100 {
		hundred = append(hundred, time.Duration(100-n))
	}
	for _, test := range []struct {
		values []time.Duration
		share  float64
		want   time.Duration
	}{
		{nil, 0.99, 0},
		{[]time.Duration{7}, 0.5, 7},
		{[]time.Duration{7}, 0.99, 7},
		{[]time.Duration{30, 10, 20}, 0.5, 20},
		{[]time.Duration{30, 10, 20}, 0.01, 10},
		{[]time.Duration{30, 10, 20}, 1, 30},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 0.991, 100},
		{hundred, 1, 100},
	} {
		values := slices.Clone(test.values)
		if got := percentile(values, test.share); got != test.want {
			t.Errorf("%v of %v is %v, want %v", test.share, test.values, got, test.want)
		}
		if !slices.Equal(values, test.values) {
			t.Errorf("%v became %v", test.values, values)
		}
	}
}

// Calls fall due at their times whatever the others do, and those that nobody
// could make at once have waited.
func TestPaceCountsTheTimeThatCallsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pace{rate: 100, callers: 1, sleep: time.Sleep}
		var calls atomic.Int64
		// One caller, 100 calls a second: in time, until the tenth takes 100 ms.
		took, err := p.run(t.Context(), 200*time.Millisecond, func(_ context.Context, caller int) error {
			if caller != 0 {
				t.Errorf("caller %d", caller)
			}
			if calls.Add(1) == 10 {
				time.Sleep(100 * time.Millisecond)
			} else {
				time.Sleep(time.Millisecond)
			}
			return nil
		})
		if err != nil || len(took) != 20 {
			t.Fatal(took, err)
		}
		for n, d := range took {
			want := time.Millisecond
			switch { // the tenth is due after 90 ms and done after 190 ms
			case n == 9:
				want = 100 * time.Millisecond
			case n > 9:
				want = time.Duration(190+n-9-10*n) * time.Millisecond
			}
			if d != max(want, time.Millisecond) {
				t.Errorf("call %d took %v, want %v", n, d, want)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := &pace{rate: 100, callers: 2, sleep: time.Sleep}
		took, err := p.run(t.Context(), 200*time.Millisecond, func(context.Context, int) error {
			time.Sleep(20 * time.Millisecond)
			return nil
		})
		// Two callers are just enough for calls of two intervals.
		if err != nil || len(took) != 20 || slices.Max(took) != 20*time.Millisecond || slices.Min(took) != 20*time.Millisecond {
			t.Error(took, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		for calls, keeps := range map[time.Duration]bool{19 * time.Millisecond: true, 30 * time.Millisecond: false} {
			p := &pace{rate: 100, callers: 2, sleep: time.Sleep}
			took, err := p.run(t.Context(), time.Second, func(context.Context, int) error {
				time.Sleep(calls)
				return nil
			})
			if err != nil || p.keptUp(took) != keeps {
				t.Errorf("calls of %v: kept up is %t, %v", calls, !keeps, err)
			}
		}
	})
}

func TestPaceStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pace{rate: 1000, callers: 4, sleep: time.Sleep}
		broken := errors.New("no answer")
		var calls atomic.Int64
		began := time.Now()
		_, err := p.run(t.Context(), time.Hour, func(context.Context, int) error {
			if calls.Add(1) == 50 {
				return broken
			}
			return nil
		})
		if !errors.Is(err, broken) || time.Since(began) > time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.run(ctx, time.Hour, func(context.Context, int) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestSleepFinely(t *testing.T) {
	t.Parallel()
	const d = 3 * time.Millisecond
	began := time.Now()
	sleepFinely(d)
	if slept := time.Since(began); slept < d-time.Millisecond {
		t.Errorf("slept %v instead of %v", slept, d)
	}
}
