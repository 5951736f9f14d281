package stack

import (
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"syscall"
)

// guard ends a child when this process dies, on systems whose kernel has no
// parent-death signal: a shell that waits for the end of its input, which comes
// when the other end of the pipe is gone, and then signals the child.
type guard struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

func startGuard(pid int, sig syscall.Signal) (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", `while read -r _; do :; done; kill -"$1" "$2"`, //nolint:noctx // it outlives every context, on purpose
		"guard", strconv.Itoa(int(sig)), strconv.Itoa(pid))
	cmd.Env = childEnv()
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("guard child: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("guard child: %w", err)
	}
	return &guard{cmd, pipe}, nil
}

// release ends the guard without a signal to the child. The order matters: it
// must be dead before the pipe closes.
func (g *guard) release() {
	if g == nil {
		return
	}
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait() // also closes the pipe
}
