package waitroom

import (
	"testing"
	"testing/synctest"
	"time"
)

// Who polls as told is never refused, however long; who polls twice as fast is,
// but only after what is forgiven is used up; and a pause earns it back.
func TestPollersAreHeldToWhatTheyWereTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPollers()
		polls := func(visitor string, n int, every, told time.Duration) (refused int) {
			for range n {
				if _, ok := p.ask("e", visitor, time.Now()); ok {
					p.told("e", visitor, told)
				} else {
					refused++
				}
				time.Sleep(every)
			}
			return refused
		}
		if n := polls("obeys", 500, 5*time.Second, 5*time.Second); n != 0 {
			t.Errorf("%d polls in time were refused", n)
		}
		if n := polls("hurries a little", 500, 4*time.Second, 5*time.Second); n != 0 {
			t.Errorf("%d polls a little early were refused", n)
		}
		if n := polls("hurries", 40, time.Second, 5*time.Second); n != 0 {
			t.Errorf("%d of the first polls were refused", n)
		}
		if n := polls("hurries", 200, time.Second, 5*time.Second); n < 100 || n > 150 {
			t.Errorf("%d of 200 polls at five times the pace were refused", n)
		}
		if n := polls("somebody else", 5, time.Second, 5*time.Second); n != 0 {
			t.Errorf("%d polls of somebody else were refused", n)
		}
		time.Sleep(2 * time.Minute)
		if n := polls("hurries", 20, time.Second, 5*time.Second); n != 0 {
			t.Errorf("after a pause %d polls were refused", n)
		}
	})
}

// The wait that a refusal tells is long enough, and not much longer.
func TestPollersTellWhenToComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPollers()
		for refused := 0; refused < 10; {
			wait, ok := p.ask("e", "v", time.Now())
			if ok {
				p.told("e", "v", 10*time.Second)
				continue
			}
			refused++
			if wait <= 0 || wait > 7*time.Second {
				t.Fatalf("told to wait %v", wait)
			}
			time.Sleep(wait / 2)
			if _, ok := p.ask("e", "v", time.Now()); ok {
				t.Fatal("answered though it was too early")
			}
			time.Sleep(wait - wait/2 + time.Millisecond)
			if _, ok := p.ask("e", "v", time.Now()); !ok {
				t.Fatal("refused again after the wait")
			}
		}
	})
}

// Who has not polled for a while is forgotten.
func TestPollersForget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPollers()
		for _, visitor := range []string{"a", "b", "c"} {
			p.ask("e", visitor, time.Now())
		}
		time.Sleep(2*pollsSwept + time.Second)
		p.ask("e", "d", time.Now())
		if n := len(p.polls); n != 1 {
			t.Errorf("%d pollers are remembered", n)
		}
	})
}
