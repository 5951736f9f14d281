//go:build !linux

package bench

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// childAttributes puts a child into a process group of its own, so that Ctrl-C
// reaches only the bench.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// processorTime is not known here to less than a second.
func processorTime(int) (time.Duration, error) {
	return 0, errors.New("the processor time of a process is measured on Linux only")
}

// residentMemory returns the bytes of physical memory that a process uses.
func residentMemory(pid int) (int64, error) {
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output() //nolint:noctx // answers at once
	if err != nil {
		return 0, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	kilobytes, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	return kilobytes << 10, nil
}
