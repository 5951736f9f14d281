package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// load sends one request over and over on keep-alive connections, on each the
// next as soon as the answer to the last is there. It speaks just enough
// HTTP/1.1 to cost little beside the server it measures.
type load struct {
	address     string // host:port
	request     []byte // as it goes over the wire
	connections int
	status      int // that every answer must have
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

// run sends for the time d after the warm-up. Every request sent is answered
// when it returns.
func (l *load) run(ctx context.Context, d time.Duration) (count, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var answered, body atomic.Int64
	var stop atomic.Bool
	g, running := errgroup.WithContext(ctx)
	var connected sync.WaitGroup
	connected.Add(l.connections)
	for range l.connections {
		g.Go(func() error {
			conn, err := dial(running, l.address)
			connected.Done()
			if err != nil {
				return err
			}
			defer conn.Close()
			defer context.AfterFunc(running, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
			r := bufio.NewReaderSize(conn, 8<<10)
			for n := 0; !stop.Load(); n++ {
				if n%1024 == 0 {
					_ = conn.SetDeadline(time.Now().Add(d + warmUp + answerLimit))
				}
				if _, err := conn.Write(l.request); err != nil {
					return err
				}
				status, length, err := readAnswer(r)
				if err != nil {
					return err
				}
				if status != l.status {
					return fmt.Errorf("a request was answered %d, not %d", status, l.status)
				}
				answered.Add(1)
				if n == 0 {
					body.Store(int64(length))
				}
			}
			return nil
		})
	}
	connected.Wait()
	pause(running, warmUp)
	before, began := answered.Load(), time.Now()
	pause(running, d)
	c := count{requests: answered.Load() - before, took: time.Since(began)}
	stop.Store(true)
	err := g.Wait()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	c.total, c.body = answered.Load(), int(body.Load())
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

// readAnswer reads one answer and returns its status and the length of its body.
func readAnswer(r *bufio.Reader) (status, length int, err error) {
	status, length, err = readHead(r)
	if err != nil {
		return 0, 0, err
	}
	if length >= 0 {
		_, err = r.Discard(length)
		return status, length, err
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
		if _, err := r.Discard(int(n) + 2); err != nil { // and the line's end
			return 0, 0, err
		}
		length += int(n)
		if n == 0 {
			return status, length, nil
		}
	}
}

// requestBytes writes a request as it goes over the wire.
func requestBytes(method, path, host string, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: onsale-bench\r\nAccept: */*\r\n", method, path, host)
	if body != nil {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}
