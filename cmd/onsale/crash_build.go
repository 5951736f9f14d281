//go:build crashtest

package main

import (
	"os"
	"syscall"
)

// crashStep kills the program, as a power cut would, right after the step of a
// purchase that ONSALE_CRASH_AT names. Only binaries built with the tag
// crashtest can do that.
func crashStep(step string) {
	if os.Getenv("ONSALE_CRASH_AT") == step {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing more happens in this goroutine
	}
}
