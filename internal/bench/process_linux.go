package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childAttributes puts a child into a process group of its own, so that Ctrl-C
// reaches only the bench, and ends it when the bench dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// processorTime returns how long a process has kept processors busy, in its own
// code and in the kernel's on its behalf.
func processorTime(pid int) (time.Duration, error) {
	const ofAllThreads = 2                 // CPUCLOCK_SCHED of linux/posix-timers.h
	clock := int32(^pid<<3 | ofAllThreads) // how the kernel names the clock of a process
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// residentMemory returns the bytes of physical memory that a process uses.
func residentMemory(pid int) (int64, error) {
	content, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(content) {
		value, ok := bytes.CutPrefix(line, []byte("VmRSS:"))
		if !ok {
			continue
		}
		kilobytes, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(value), []byte("kB")))), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("memory of process %d: %w", pid, err)
		}
		return kilobytes << 10, nil
	}
	return 0, errors.New("the system does not tell the memory of a process")
}
