package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// childSpec says how to start a server process.
type childSpec struct {
	path    string
	args    []string
	stdin   io.Reader
	logFile string   // receives stdout and stderr, appended
	account *account // nil: the user of this process

	// death is the signal with which the child ends when this process dies.
	death syscall.Signal
}

// child is a running server process and the goroutine that waits for it.
type child struct {
	process *os.Process
	logFile string
	logFrom int64         // where this run's output starts in logFile
	done    chan struct{} // closed when the process has ended
	err     error         // how it ended; read after done
}

// childEnv is the whole environment of a server: nothing of ours leaks into it,
// and its messages are English, since some of them are recognised.
func childEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}

// startChild starts the process and the goroutine that owns it until it ends.
func startChild(spec childSpec) (*child, error) {
	if err := rotateLog(spec.logFile); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(spec.logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open server log: %w", err)
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return nil, fmt.Errorf("open server log: %w", err)
	}

	cmd := exec.Command(spec.path, spec.args...) //nolint:noctx // a server outlives the context of its start
	cmd.Stdin, cmd.Stdout, cmd.Stderr = spec.stdin, log, log
	cmd.Env = childEnv()
	cmd.Dir = "/" // a server must not keep our working folder busy, nor need to reach it
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	spec.account.apply(cmd.SysProcAttr)

	c := &child{logFile: spec.logFile, logFrom: info.Size(), done: make(chan struct{})}
	started := make(chan error, 1)
	go c.own(cmd, spec.death, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.path, err)
	}
	return c, nil
}

// own starts the process and waits for it, on one operating system thread that
// lives as long as the child: Linux sends the parent-death signal when the
// *thread* that started the child ends.
func (c *child) own(cmd *exec.Cmd, death syscall.Signal, started chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	endWithParent(cmd.SysProcAttr, death)
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	guard, err := watchParent(cmd.Process.Pid, death)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		started <- err
		return
	}
	c.process = cmd.Process
	started <- nil
	c.err = cmd.Wait()
	guard.release()
	close(c.done)
}

func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// signal sends sig; a child that has already ended is no error.
func (c *child) signal(sig syscall.Signal) error {
	if err := c.process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// stop asks with sig, waits, and kills when ctx ends first.
func (c *child) stop(ctx context.Context, sig syscall.Signal) error {
	if err := c.signal(sig); err != nil {
		return err
	}
	_ = c.signal(syscall.SIGCONT) // a paused process cannot act on sig
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
	}
	if err := c.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-c.done
	return fmt.Errorf("server did not stop in time and was killed: %w", ctx.Err())
}

// output returns the last lines this run wrote, for error messages.
func (c *child) output() string {
	content, err := os.ReadFile(c.logFile)
	if err != nil || int64(len(content)) <= c.logFrom {
		return ""
	}
	const most = 2000
	content = bytes.TrimSpace(content[c.logFrom:])
	if len(content) > most {
		content = content[len(content)-most:]
	}
	return string(content)
}

// rotateLog keeps a server's log and one older one, each of bounded size.
func rotateLog(path string) error {
	const most = 8 << 20
	if info, err := os.Stat(path); err == nil && info.Size() > most {
		if err := os.Rename(path, path+".old"); err != nil {
			return fmt.Errorf("rotate server log: %w", err)
		}
	}
	return nil
}

// ready polls probe until it succeeds, the child ends, or ctx does.
func (c *child) ready(ctx context.Context, probe func(context.Context) error) error {
	// A probe must not wait for the answer of somebody else on the child's port.
	probing, died := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		defer died()
		select {
		case <-c.done:
		case <-probing.Done():
		}
	})
	defer watch.Wait()
	defer died()

	poll := time.NewTicker(15 * time.Millisecond)
	defer poll.Stop()
	for {
		attempt, cancel := context.WithTimeout(probing, 2*time.Second)
		err := probe(attempt)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-c.done:
			return &startError{output: c.output(), err: c.err}
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w (%w)", ctx.Err(), err)
		case <-poll.C:
		}
	}
}

// startError tells that a server ended instead of getting ready.
type startError struct {
	output string
	err    error
}

func (e *startError) Error() string {
	if e.output == "" {
		return fmt.Sprintf("the server ended while starting: %v", e.err)
	}
	return fmt.Sprintf("the server ended while starting: %v; it said:\n%s", e.err, e.output)
}

func (e *startError) Unwrap() error { return e.err }

// says reports whether err is a startError whose output has one of the texts.
func says(err error, texts ...string) bool {
	var start *startError
	if !errors.As(err, &start) {
		return false
	}
	for _, text := range texts {
		if strings.Contains(start.output, text) {
			return true
		}
	}
	return false
}
