//go:build unix && !linux

package stack

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// endWithParent has no equivalent here, see watchParent.
func endWithParent(*syscall.SysProcAttr, syscall.Signal) {}

// watchParent sends sig to the child when this process ends.
func watchParent(pid int, sig syscall.Signal) (*guard, error) { return startGuard(pid, sig) }

// commandLine returns the command line of a process, "" when there is none.
func commandLine(pid int) string {
	out, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// childrenOf returns the process ids of pid's direct children.
func childrenOf(pid int) ([]int, error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, err
	}
	var children []int
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) == 2 && fields[1] == strconv.Itoa(pid) {
			if id, err := strconv.Atoi(fields[0]); err == nil {
				children = append(children, id)
			}
		}
	}
	return children, nil
}

func passCapability() (uintptr, error) {
	return 0, errors.New("this system has no way to let one process pass closed folders")
}

func setAmbient(*syscall.SysProcAttr, []uintptr) {}
