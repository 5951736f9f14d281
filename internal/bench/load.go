package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// load sends requests on keep-alive connections, on each the next as soon as the
// answer to the last is there. It speaks just enough HTTP/1.1 to cost little
// beside the server it measures.
type load struct {
	address     string // host:port
	request     []byte // as it goes over the wire, over and over
	connections int
	status      int // that every answer must have

	// next returns the next request of a connection, in place of request, or nil
	// when it has no more. heard is told the body of every answer; nil leaves
	// bodies unread. Both are called by the connection's own goroutine, and what
	// they return or are given is not used after their next call.
	next  func(connection int) []byte
	heard func(connection int, body []byte) error
}

// count is what a load did.
type count struct {
	requests int64         // answered within took
	took     time.Duration // the warm-up is not in it
	total    int64         // answered in all, warm-up included
	body     int           // bytes of the last answer's body
}

func (c count) perSecond() float64 { return float64(c.requests) / c.took.Seconds() }

// warmUp is how long a load runs before it is counted.
const warmUp = 500 * time.Millisecond

// answerLimit is how long an answer may take before the load counts as stuck.
const answerLimit = 10 * time.Second

// run sends for the time d after the warm-up, or until the first connection has
// no more requests. Every request sent is answered when it returns.
func (l *load) run(ctx context.Context, d time.Duration) (count, error) {
	s := l.begin(ctx, d+warmUp+answerLimit)
	defer s.cancel()
	s.connected.Wait()
	pause(s.going, warmUp)
	if s.going.Err() != nil && s.running.Err() == nil {
		return count{}, errors.Join(errors.New("there were no more requests while warming up"), s.end())
	}
	before, began := s.answered.Load(), time.Now()
	pause(s.going, d)
	c := count{requests: s.answered.Load() - before, took: time.Since(began)}
	err := s.end()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	c.total, c.body = s.answered.Load(), int(s.body.Load())
	return c, err
}

// all sends everything that next has, and returns how many answers there were.
func (l *load) all(ctx context.Context) (int64, error) {
	s := l.begin(ctx, time.Minute)
	defer s.cancel()
	err := s.g.Wait()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return s.answered.Load(), err
}

// sending is a load under way.
type sending struct {
	g         *errgroup.Group
	running   context.Context //nolint:containedctx // ends with the first error
	going     context.Context //nolint:containedctx // ends when a connection has no more requests, too
	spent     context.CancelFunc
	cancel    context.CancelFunc
	connected sync.WaitGroup

	answered, body atomic.Int64
	stop           atomic.Bool
}

// begin opens the connections and sends on them. A thousand requests of one
// connection may take as long as limit.
func (l *load) begin(ctx context.Context, limit time.Duration) *sending {
	s := new(sending)
	ctx, s.cancel = context.WithCancel(ctx)
	s.g, s.running = errgroup.WithContext(ctx)
	s.going, s.spent = context.WithCancel(s.running)
	s.connected.Add(l.connections)
	for n := range l.connections {
		s.g.Go(func() error { return l.talk(s, n, limit) })
	}
	return s
}

// end stops sending and waits for the answers.
func (s *sending) end() error {
	s.stop.Store(true)
	return s.g.Wait()
}

// talk is what happens on one connection.
func (l *load) talk(s *sending, connection int, limit time.Duration) error {
	line, err := l.connect(s.running, connection)
	s.connected.Done()
	if err != nil {
		return err
	}
	defer line.close()
	for n := 0; !s.stop.Load(); n++ {
		if n%1024 == 0 {
			_ = line.conn.SetDeadline(time.Now().Add(limit))
		}
		more, length, err := line.exchange()
		if err != nil {
			return err
		}
		if !more {
			s.spent()
			return nil
		}
		s.answered.Add(1)
		if n == 0 {
			s.body.Store(int64(length))
		}
	}
	return nil
}

// talker is one connection of a load.
type talker struct {
	*load

	conn       net.Conn
	r          *bufio.Reader
	connection int
	body       []byte
	detach     func() bool
}

// connect opens a connection, which breaks when ctx ends.
func (l *load) connect(ctx context.Context, connection int) (*talker, error) {
	conn, err := dial(ctx, l.address)
	if err != nil {
		return nil, err
	}
	detach := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return &talker{load: l, conn: conn, r: bufio.NewReaderSize(conn, 8<<10), connection: connection, detach: detach}, nil
}

func (t *talker) close() {
	t.detach()
	_ = t.conn.Close()
}

// talkers are the connections of a load for somebody who says when to send.
type talkers []*talker

// open opens all connections, for the time d.
func (l *load) open(ctx context.Context, d time.Duration) (talkers, error) {
	lines := make(talkers, 0, l.connections)
	for n := range l.connections {
		line, err := l.connect(ctx, n)
		if err != nil {
			lines.close()
			return nil, err
		}
		lines = append(lines, line)
		_ = line.conn.SetDeadline(time.Now().Add(d))
	}
	return lines, nil
}

func (ts talkers) close() {
	for _, t := range ts {
		t.close()
	}
}

// exchange sends the next request and reads the answer; more is false when there
// is none to send.
func (t *talker) exchange() (more bool, length int, err error) {
	request := t.request
	if t.next != nil {
		if request = t.next(t.connection); request == nil {
			return false, 0, nil
		}
	}
	if _, err := t.conn.Write(request); err != nil {
		return true, 0, err
	}
	var status int
	if t.heard == nil {
		status, length, err = readAnswer(t.r, nil)
	} else {
		t.body = t.body[:0]
		status, length, err = readAnswer(t.r, &t.body)
	}
	switch {
	case err != nil:
		return true, length, err
	case status != t.status && len(t.body) > 0:
		return true, length, fmt.Errorf("a request was answered %d, not %d: %.300s", status, t.status, t.body)
	case status != t.status:
		return true, length, fmt.Errorf("a request was answered %d, not %d", status, t.status)
	case t.heard != nil:
		return true, length, t.heard(t.connection, t.body)
	}
	return true, length, nil
}

// closedLoop calls do from as many goroutines, each again as soon as it has
// returned, for the time d after the warm-up.
func closedLoop(ctx context.Context, callers int, d time.Duration, do func(ctx context.Context) error) (count, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var done atomic.Int64
	var stop atomic.Bool
	g, running := errgroup.WithContext(ctx)
	for range callers {
		g.Go(func() error {
			for !stop.Load() && running.Err() == nil {
				if err := do(running); err != nil {
					return err
				}
				done.Add(1)
			}
			return nil
		})
	}
	pause(running, warmUp)
	before, began := done.Load(), time.Now()
	pause(running, d)
	c := count{requests: done.Load() - before, took: time.Since(began)}
	stop.Store(true)
	err := g.Wait()
	c.total = done.Load()
	return c, err
}

// pause waits for a time, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	return dialer.DialContext(ctx, "tcp", address)
}

var (
	errAnswer     = errors.New("the answer is not HTTP/1.1")
	contentLength = []byte("content-length:")
	chunkedCoding = []byte("transfer-encoding: chunked")
)

// readHead reads an answer up to its body, whose length is -1 when it comes in
// chunks and 0 when it is not said.
func readHead(r *bufio.Reader) (status, length int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, 0, errAnswer
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, errAnswer
	}
	chunked := false
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return 0, 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if n := len(contentLength); len(line) > n && bytes.EqualFold(line[:n], contentLength) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[n:]))); err != nil || length < 0 {
				return 0, 0, errAnswer
			}
		}
		chunked = chunked || bytes.EqualFold(line, chunkedCoding)
	}
	if chunked {
		length = -1
	}
	return status, length, nil
}

// readAnswer reads one answer and returns its status and the length of its body,
// which it appends to body unless that is nil.
func readAnswer(r *bufio.Reader, body *[]byte) (status, length int, err error) {
	status, length, err = readHead(r)
	if err != nil {
		return 0, 0, err
	}
	if length >= 0 {
		return status, length, readBody(r, length, body)
	}
	length = 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, 0, err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil || n < 0 {
			return 0, 0, errAnswer
		}
		if err := readBody(r, int(n), body); err != nil {
			return 0, 0, err
		}
		if _, err := r.Discard(2); err != nil { // the line's end
			return 0, 0, err
		}
		length += int(n)
		if n == 0 {
			return status, length, nil
		}
	}
}

func readBody(r *bufio.Reader, length int, body *[]byte) error {
	if body == nil {
		_, err := r.Discard(length)
		return err
	}
	*body = slices.Grow(*body, length)
	_, err := io.ReadFull(r, (*body)[len(*body):len(*body)+length])
	*body = (*body)[:len(*body)+length]
	return err
}

// requestBytes writes a request as it goes over the wire.
func requestBytes(method, path, host string, body []byte) []byte {
	return appendRequest(nil, method, path, host, "", body)
}

// appendRequest writes a request with a bearer token, unless that is empty.
func appendRequest(to []byte, method, path, host, token string, body []byte) []byte {
	to = fmt.Appendf(to, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: onsale-bench\r\nAccept: */*\r\n", method, path, host)
	if token != "" {
		to = fmt.Appendf(to, "Authorization: Bearer %s\r\n", token)
	}
	if body != nil {
		to = fmt.Appendf(to, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return append(append(to, "\r\n"...), body...)
}
