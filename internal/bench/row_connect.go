package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Visitors who come in one run.
const (
	connectShort = 3000
	connectFull  = 10_000
)

var _ = register(Row{
	Name: "connect", Order: 80,
	Figure:    "new visitors who join by the handshake of their WebSocket (join=1) and have been told their place, 64 at the same time",
	Reference: "WebSockets opened at gorilla/websocket's plain handler, nobody joining, by the same load generator",
	Unit:      VisitorsPerSecond,
	Goal:      Goal{AtLeast: 0.60}, Stretch: Goal{AtLeast: 0.80},
	Prepare: prepareConnect,
})

type connectTrial struct {
	servers *Servers
	node    *Node
	plain   *plain
	event   string
	size    int
}

func prepareConnect(ctx context.Context, env *Env) (_ Trial, err error) {
	t := &connectTrial{size: connectFull}
	if env.Short {
		t.size = connectShort
	}
	if err := fits(t.size); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.servers, err = StartServers(ctx, env.Options); err != nil {
		return nil, err
	}
	if t.node, err = t.servers.Serve(ctx); err != nil {
		return nil, err
	}
	e, err := t.node.createEvent(ctx, 500, Throttle{RatePerMinute: 1, Burst: 1, MaxShoppers: 1, LeaseS: 3600, ClaimWindowS: 3600})
	if err != nil {
		return nil, err
	}
	t.event = e.ID
	t.plain, err = startPlain(ctx, env.Options)
	return t, err
}

// Measure has visitors come, and holds the room against what they were told, as
// the join row does.
func (t *connectTrial) Measure(ctx context.Context) (float64, error) {
	before, err := t.node.room(ctx, t.event)
	if err != nil {
		return 0, err
	}
	upgrade := upgradeBytes("/v1/rooms/"+t.event+"/ws?join=1", t.node.host(), "")
	perSecond, err := t.perSecond(ctx, t.node.host(), func(ws *caller) error {
		if err := ws.send(upgrade); err != nil {
			return err
		}
		if err := ws.upgraded(); err != nil {
			return err
		}
		return ws.firstFrame()
	})
	if err != nil {
		return 0, err
	}
	return perSecond, t.node.counts(ctx, t.event, before.Joined+int64(t.size))
}

func (t *connectTrial) Reference(ctx context.Context) (float64, error) {
	upgrade := upgradeBytes("/", t.plain.address, "")
	return t.perSecond(ctx, t.plain.address, func(ws *caller) error {
		if err := ws.send(upgrade); err != nil {
			return err
		}
		return ws.upgraded()
	})
}

// perSecond has visitors come, each over a connection of their own, and counts.
func (t *connectTrial) perSecond(ctx context.Context, address string, come func(ws *caller) error) (float64, error) {
	var (
		mu    sync.Mutex
		conns = make([]net.Conn, 0, t.size)
		next  atomic.Int64
	)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	g, running := errgroup.WithContext(ctx)
	began := time.Now()
	for range crowdAtOnce {
		g.Go(func() error {
			r := bufio.NewReaderSize(nil, 4<<10)
			for {
				n := int(next.Add(1)) - 1
				if n >= t.size || running.Err() != nil {
					return running.Err()
				}
				ws, err := call(running, address, source(n))
				if err != nil {
					return err
				}
				mu.Lock()
				conns = append(conns, ws.conn)
				mu.Unlock()
				r.Reset(ws.conn)
				ws.r = r
				if err := come(ws); err != nil {
					return fmt.Errorf("visitor %d: %w", n+1, err)
				}
			}
		})
	}
	err := g.Wait()
	return float64(t.size) / time.Since(began).Seconds(), err
}

// caller is a connection that speaks as little of HTTP as load does.
type caller struct {
	conn net.Conn
	r    *bufio.Reader
}

func call(ctx context.Context, address string, from net.Addr) (*caller, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second, LocalAddr: from}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	return &caller{conn: conn, r: bufio.NewReaderSize(conn, 4<<10)}, nil
}

func (c *caller) send(request []byte) error {
	_, err := c.conn.Write(request)
	return err
}

// upgraded reads the answer to a handshake.
func (c *caller) upgraded() error {
	status, length, err := readHead(c.r)
	if err != nil {
		return err
	}
	if status != http.StatusSwitchingProtocols {
		reason := make([]byte, min(max(length, 0), 1024))
		_, _ = io.ReadFull(c.r, reason)
		return fmt.Errorf("a handshake was answered %d: %s", status, reason)
	}
	return nil
}

// firstFrame reads a text frame and checks that it tells a new visitor their place.
func (c *caller) firstFrame() error {
	var head [4]byte
	if _, err := io.ReadFull(c.r, head[:2]); err != nil {
		return err
	}
	if head[0] != 0x81 {
		return fmt.Errorf("the first frame begins with %#x", head[0])
	}
	length := int(head[1])
	if length == 126 {
		if _, err := io.ReadFull(c.r, head[2:]); err != nil {
			return err
		}
		length = int(head[2])<<8 | int(head[3])
	}
	frame := make([]byte, length)
	if _, err := io.ReadFull(c.r, frame); err != nil {
		return err
	}
	if !bytes.Contains(frame, []byte(`"place":`)) || bytes.Contains(frame, []byte(`"place":null`)) || !bytes.Contains(frame, []byte(`"visitor_token":`)) {
		return fmt.Errorf("the first frame tells no place of a new visitor: %.200s", frame)
	}
	return nil
}

// upgradeBytes writes the request for a WebSocket, with further header lines.
func upgradeBytes(path, host, header string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: onsale.v1\r\n%s\r\n", path, host, header)
}

func (t *connectTrial) Close() error {
	var errs []error
	if t.plain != nil {
		errs = append(errs, t.plain.close())
	}
	if t.node != nil {
		errs = append(errs, t.node.Close())
	}
	if t.servers != nil {
		errs = append(errs, t.servers.Close())
	}
	return errors.Join(errs...)
}
