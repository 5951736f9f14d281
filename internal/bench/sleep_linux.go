package bench

import (
	"time"

	"golang.org/x/sys/unix"
)

// sleepFinely sleeps on the calling thread, to some ten microseconds. Timers of
// the runtime are up to a millisecond late when there is nothing else to do.
func sleepFinely(d time.Duration) {
	// The kernel may put off this thread's wake-ups by a nanosecond at most, not by
	// the usual 50 µs. Where it refuses, they are that late.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	left := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &left, nil) // who calls looks at the clock again
}
