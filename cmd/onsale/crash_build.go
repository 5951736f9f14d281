//go:build crashtest

package main

import (
	"os"
	"sync"
	"syscall"
	"time"
)

var stopped sync.Once

// crashStep kills the program, as a power cut would, right after the step of a
// purchase that ONSALE_CRASH_AT names. The first to get as far as ONSALE_CRASH_STOP_AT
// makes the file ONSALE_CRASH_STOP_FILE, and goes on when it is gone. Only binaries built
// with the tag crashtest can do that.
func crashStep(step string) {
	if os.Getenv("ONSALE_CRASH_AT") == step {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing more happens in this goroutine
	}
	if os.Getenv("ONSALE_CRASH_STOP_AT") == step {
		stopped.Do(func() {
			file := os.Getenv("ONSALE_CRASH_STOP_FILE")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				panic(err)
			}
			for err := error(nil); err == nil; _, err = os.Stat(file) {
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
}
