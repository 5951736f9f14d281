package stack

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// endWithParent makes the kernel send sig to the child when the thread that
// starts it ends.
func endWithParent(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }

// watchParent has nothing to do on Linux, see endWithParent.
func watchParent(int, syscall.Signal) (*guard, error) { return nil, nil } //nolint:nilnil // nil is the guard that does nothing

// commandLine returns the command line of a process, "" when there is none.
func commandLine(pid int) string {
	content, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(bytes.ReplaceAll(content, []byte{0}, []byte{' '})))
}

// childrenOf returns the process ids of pid's direct children.
func childrenOf(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var children []int
	for _, entry := range entries {
		id, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // ended meanwhile
		}
		// pid (name) state ppid …; the name may itself hold spaces and brackets.
		_, rest, found := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " ")
		if fields := strings.Fields(rest); found && len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			children = append(children, id)
		}
	}
	return children, nil
}

// Capabilities that let a process pass through folders it has no permission for.
const (
	capDACOverride   = 1
	capDACReadSearch = 2
)

// passCapability returns the smallest capability of ours with which a child
// reaches a folder below parents closed to it.
func passCapability() (uintptr, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		value, found := strings.CutPrefix(line, "CapPrm:")
		if !found {
			continue
		}
		permitted, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return 0, err
		}
		for _, capability := range []uintptr{capDACReadSearch, capDACOverride} {
			if permitted&(1<<capability) != 0 {
				return capability, nil
			}
		}
	}
	return 0, errors.New("this process may not hand the right to pass closed folders on")
}

func setAmbient(attr *syscall.SysProcAttr, capabilities []uintptr) { attr.AmbientCaps = capabilities }
