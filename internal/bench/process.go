package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that the bench started. It ends with the bench, however
// that ends.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how; read after done
	read chan struct{} // closed when all it said has been heard

	mu   sync.Mutex
	tail []string // what it said last
}

// stopPatience is how long a process may take to end when asked.
const stopPatience = 20 * time.Second

// output runs a program to its end and returns what it wrote.
func output(ctx context.Context, command, environ []string) (string, error) {
	var said strings.Builder
	p, err := startProcess(command, environ, func(line string) { said.WriteString(line + "\n") })
	if err != nil {
		return "", err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return "", errors.Join(context.Cause(ctx), p.stop())
	}
	<-p.read
	if p.err != nil {
		return "", p.ended()
	}
	return said.String(), nil
}

// startProcess starts a program and hands every line it writes to said, from
// one goroutine.
func startProcess(command, environ []string, said func(line string)) (*process, error) {
	cmd := exec.Command(command[0], command[1:]...) //nolint:noctx // it is stopped in order, see stop
	cmd.Env = environ
	cmd.SysProcAttr = childAttributes()
	reader, writer := io.Pipe()
	cmd.Stdout, cmd.Stderr = writer, writer
	cmd.WaitDelay = time.Second
	p := &process{cmd: cmd, done: make(chan struct{}), read: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel's parent-death signal comes when the thread that started
		// the child ends: this one stays as long as the child.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		_ = writer.Close()
		close(p.done)
	}()
	go func() { // ends with the process
		defer close(p.read)
		lines := bufio.NewScanner(reader)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.heard(lines.Text())
			if said != nil {
				said(lines.Text())
			}
		}
		_, _ = io.Copy(io.Discard, reader) // a line too long to be read
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", command[0], err)
	}
	return p, nil
}

func (p *process) heard(line string) {
	const most = 20
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tail = append(p.tail, line); len(p.tail) > most {
		p.tail = p.tail[1:]
	}
}

// ended says how the process ended, with what it said last.
func (p *process) ended() error {
	<-p.read
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Errorf("%s ended: %w; it said last:\n%s", p.cmd.Args[0], errOr(p.err, "without an error"), strings.Join(p.tail, "\n"))
}

func errOr(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop asks the process to end, waits, and kills it when that takes too long.
func (p *process) stop() error {
	if p == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
		return nil
	case <-time.After(stopPatience):
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	return fmt.Errorf("%s did not end within %v and was killed", p.cmd.Args[0], stopPatience)
}

// waitFor waits for a value that says what the process tells, or its end.
func waitFor[T any](ctx context.Context, p *process, told <-chan T, patience time.Duration) (T, error) {
	var none T
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-told:
		return v, nil
	case <-p.done:
		return none, p.ended()
	case <-ctx.Done():
		return none, context.Cause(ctx)
	case <-timer.C:
		return none, fmt.Errorf("%s was not ready within %v", p.cmd.Args[0], patience)
	}
}
