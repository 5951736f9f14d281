package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
)

// crowd is idle WebSockets. Each answers pings and drops what it is told, once
// it is counted.
type crowd struct {
	readers sync.WaitGroup
	frames  atomic.Int64           // told in all
	marked  atomic.Int64           // of them with the mark
	mark    atomic.Pointer[[]byte] // nil: frames are not looked at
	mu      sync.Mutex
	conns   []*websocket.Conn
	lost    int   // connections that ended before close
	why     error // the first of them
	seen    []byte
	closing bool
}

// crowdAtOnce is how many visitors of a crowd arrive at the same time.
const crowdAtOnce = 64

// gather opens size connections; open opens the nth.
func gather(ctx context.Context, size int, open func(ctx context.Context, n int) (*websocket.Conn, error)) (_ *crowd, err error) {
	c := &crowd{conns: make([]*websocket.Conn, 0, size)}
	g, running := errgroup.WithContext(ctx)
	g.SetLimit(crowdAtOnce)
	for n := range size {
		if running.Err() != nil {
			break
		}
		g.Go(func() error {
			conn, err := open(running, n)
			if err != nil {
				return fmt.Errorf("connection %d: %w", n+1, err)
			}
			c.mu.Lock()
			c.conns = append(c.conns, conn)
			c.mu.Unlock()
			c.readers.Go(func() { c.read(conn) })
			return nil
		})
	}
	if err = g.Wait(); err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *crowd) read(conn *websocket.Conn) {
	for {
		_, r, err := conn.NextReader()
		if mark := c.mark.Load(); err == nil && mark != nil {
			err = c.look(r, *mark)
		}
		c.frames.Add(1)
		if err != nil {
			c.mu.Lock()
			if !c.closing {
				if c.lost++; c.why == nil {
					c.why = err
				}
			}
			c.mu.Unlock()
			return
		}
	}
}

// look reads a frame and counts it if mark is in it.
func (c *crowd) look(r io.Reader, mark []byte) error {
	b := frameBuffers.Get().(*bytes.Buffer)
	defer frameBuffers.Put(b)
	b.Reset()
	if _, err := b.ReadFrom(r); err != nil {
		return err
	}
	if bytes.Contains(b.Bytes(), mark) && c.marked.Add(1) == 1 {
		c.mu.Lock()
		c.seen = bytes.Clone(b.Bytes())
		c.mu.Unlock()
	}
	return nil
}

// sample is a frame that had the mark.
func (c *crowd) sample() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

var frameBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// expect has frames that hold mark counted, from zero.
func (c *crowd) expect(mark []byte) {
	c.marked.Store(0)
	c.mark.Store(&mark)
}

// told waits until n frames had the mark.
func (c *crowd) told(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return poll(ctx, 2*time.Millisecond, func() bool { return c.marked.Load() >= int64(n) }, func() error {
		return fmt.Errorf("%d of %d visitors were told", c.marked.Load(), n)
	})
}

// whole is an error unless all connections are still there.
func (c *crowd) whole() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost > 0 {
		return fmt.Errorf("%d of %d connections were lost: %w", c.lost, len(c.conns), c.why)
	}
	return nil
}

func (c *crowd) close() {
	c.mu.Lock()
	c.closing = true
	conns := c.conns
	c.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
	c.readers.Wait()
}

// perSource is how many visitors of a crowd come from one loopback address.
const perSource = 100

// source is the nth visitor's address where every address of 127.0.0.0/8 is
// this machine's; elsewhere all come from 127.0.0.1.
func source(n int) net.Addr {
	if !manyLoopbacks {
		return nil
	}
	block := n / perSource
	return &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+block/250%250), byte(1+block%250))}
}

// websocketDialer dials from the nth visitor's address.
func websocketDialer(n int) *websocket.Dialer {
	from := &net.Dialer{LocalAddr: source(n), Timeout: 10 * time.Second}
	return &websocket.Dialer{
		NetDialContext: from.DialContext, HandshakeTimeout: 20 * time.Second,
		ReadBufferSize: 1024, WriteBufferSize: 512, WriteBufferPool: writeBuffers, Subprotocols: []string{"onsale.v1"},
	}
}

var writeBuffers = &sync.Pool{}

// joinAndConnect gives back the connection of a visitor who has just joined.
func joinAndConnect(ctx context.Context, a *API, client *http.Client, event string, n int) (*websocket.Conn, error) {
	var me struct {
		Token string `json:"visitor_token"`
	}
	err := exchange(ctx, client, http.MethodPost, a.base.String()+"/v1/rooms/"+event+"/join", nil, object{}, &me)
	if err != nil {
		return nil, err
	}
	address := *a.base
	address.Scheme = "ws"
	conn, response, err := websocketDialer(n).DialContext(ctx, address.String()+"/v1/rooms/"+event+"/ws", http.Header{"Authorization": {"Bearer " + me.Token}})
	if err != nil {
		return nil, handshakeFailed(err, response)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, frame, err := conn.ReadMessage() // where they stand
	_ = conn.SetReadDeadline(time.Time{})
	if err == nil {
		var now struct{ State string }
		if err = json.Unmarshal(frame, &now); err == nil && now.State == "" {
			err = errors.New("the first frame does not say where the visitor stands")
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func handshakeFailed(err error, response *http.Response) error {
	if response == nil {
		return err
	}
	_ = response.Body.Close() // gorilla has read the beginning
	return fmt.Errorf("WebSocket handshake answered %s: %w", strconv.Itoa(response.StatusCode), err)
}
