package web

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"onsale/internal/fault"
	"onsale/waitroom"
)

// peer is one WebSocket.
type peer struct {
	ws      *websocket.Conn
	crowd   *crowd // nil until the visitor is known
	guest   *guest
	sibling *peer // next connection of the same visitor; guarded by crowd.mu
	pinged  int64 // unix seconds of the last ping; guarded by crowd.mu
	seen    atomic.Int64
	closed  atomic.Bool // a close frame was sent: nothing follows it

	// Guarded by outbox.mu.
	next   *peer // in the outbox
	want   wants
	queued bool
	busy   bool
}

func (p *peer) saw(now time.Time) { p.seen.Store(now.Unix()) }

// wants is what should be written to a peer.
type wants uint8

const (
	wantMe wants = 1 << iota
	wantPing
	wantOver // close the connection after the frame: the room is closed
	wantGone // close it: the visitor is unknown
)

// firstFrame reads the frame that says who the visitor is. It returns
// fault.Invalid for another frame and fault.Unauthorized for a bad token or none.
func (h *Hub) firstFrame(p *peer) (visitor string, err error) {
	kind, r, err := p.ws.NextReader()
	if err != nil {
		return "", fault.Wrap(err, fault.Unauthorized, "no token was sent in time")
	}
	if kind != websocket.TextMessage {
		return "", fault.New(fault.Invalid, "the first frame must be text")
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return "", fault.Wrap(err, fault.Invalid, "the first frame cannot be read")
	}
	token, err := tokenFrame(text)
	if err != nil {
		return "", err
	}
	return h.keys.Visitor(token, h.now())
}

// tokenFrame reads {"token":"…"}.
func tokenFrame(text []byte) (string, error) {
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields()
	var frame struct {
		Token string `json:"token"`
	}
	if err := dec.Decode(&frame); err != nil {
		return "", fault.Wrap(err, fault.Invalid, `the first frame must be {"token":"…"}`)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return "", fault.New(fault.Invalid, "the first frame holds more than one JSON value")
	}
	return frame.Token, nil
}

// Frames are written straight to the connection: a server's frames are not
// masked, one Write is atomic for the connection, and its byte count tells what
// a slow reader still has to be sent before a close frame makes sense.

// appendFrame appends a frame of up to 64 KB.
func appendFrame(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, 0x80|opcode)
	if len(payload) < 126 {
		dst = append(dst, byte(len(payload)))
	} else {
		dst = append(dst, 126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(payload)))
	}
	return append(dst, payload...)
}

func closeFrame(code int) []byte {
	return appendFrame(nil, websocket.CloseMessage, websocket.FormatCloseMessage(code, ""))
}

// put writes frames within the time for one; what a reader too slow for that
// has missed is sent by farewell, and then the connection is over.
func (h *Hub) put(p *peer, frames []byte) {
	nc := p.ws.NetConn()
	_ = nc.SetWriteDeadline(time.Now().Add(h.o.write))
	n, err := nc.Write(frames)
	if err == nil {
		return
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) || !p.closed.CompareAndSwap(false, true) {
		_ = nc.Close()
		return
	}
	h.slow.Inc()
	select {
	case h.farew <- struct{}{}:
	default: // too many at once for politeness
		_ = nc.Close()
		return
	}
	rest := append(append([]byte(nil), frames[n:]...), closeFrame(closeSlow)...)
	if !h.hold() {
		<-h.farew
		_ = nc.Close()
		return
	}
	go func() {
		defer h.readers.Done()
		defer func() { <-h.farew }()
		h.farewell(nc, rest)
	}()
}

// hold counts one more goroutine of connections, unless they are being ended.
func (h *Hub) hold() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return false
	}
	h.readers.Add(1)
	return true
}

func (h *Hub) farewell(nc net.Conn, rest []byte) {
	_ = nc.SetWriteDeadline(time.Now().Add(h.o.farewell))
	if _, err := nc.Write(rest); err != nil {
		_ = nc.Close()
		return
	}
	_ = nc.SetReadDeadline(time.Now().Add(2 * time.Second))
}

// outbox is the queue of peers that have something to be told. A peer is in it
// once, whatever it wants, and with one worker at a time: the mailbox of a
// connection is its wants, and the frame is composed when its turn comes.
type outbox struct {
	mu          sync.Mutex
	filled      *sync.Cond
	first, last *peer
	closed      bool
}

func (o *outbox) init() { o.filled = sync.NewCond(&o.mu) }

// push adds to what p wants.
func (o *outbox) push(p *peer, w wants) {
	o.mu.Lock()
	p.want |= w
	if !p.queued && !p.busy {
		o.append(p)
	}
	o.mu.Unlock()
}

func (o *outbox) append(p *peer) {
	p.queued = true
	if o.last == nil {
		o.first = p
	} else {
		o.last.next = p
	}
	o.last = p
	o.filled.Signal()
}

// pop waits for a peer that wants something and reserves it for the caller, who
// calls done with it. It returns nil when the outbox is closed.
func (o *outbox) pop() (*peer, wants) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.first == nil && !o.closed {
		o.filled.Wait()
	}
	if o.closed {
		return nil, 0
	}
	p := o.first
	o.first, p.next = p.next, nil
	if o.first == nil {
		o.last = nil
	}
	w := p.want
	p.want, p.queued, p.busy = 0, false, true
	return p, w
}

func (o *outbox) done(p *peer) {
	o.mu.Lock()
	p.busy = false
	if p.want != 0 && !o.closed {
		o.append(p)
	}
	o.mu.Unlock()
}

func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.filled.Broadcast()
}

// deliver writes what peers want until the outbox is closed.
func (h *Hub) deliver() {
	var payload, frames []byte
	for {
		p, w := h.out.pop()
		if p == nil {
			return
		}
		if !p.closed.Load() {
			frames = frames[:0]
			if w&wantMe != 0 {
				if payload = h.compose(p, payload[:0]); len(payload) > 0 {
					frames = appendFrame(frames, websocket.TextMessage, payload)
					h.pushes.Inc()
				}
			}
			if w&wantPing != 0 {
				frames = appendFrame(frames, websocket.PingMessage, nil)
			}
			if len(frames) > 0 {
				h.put(p, frames)
			}
			if w&wantGone != 0 {
				h.finish(p, closeUnknown)
			}
			if w&wantOver != 0 {
				h.finish(p, closeOver)
			}
		}
		h.out.done(p)
	}
}

// compose appends the Me of p's visitor as it is now.
func (h *Hub) compose(p *peer, dst []byte) []byte {
	c, g := p.crowd, p.guest
	c.mu.Lock()
	v, s := g.v, c.sight
	c.mu.Unlock()
	if s == nil || v.State == waitroom.Waiting && v.Ahead == notKnown {
		return dst // the next tick tells
	}
	v.AsOf = s.room.AsOf
	before := v
	me := h.rooms.Compose(&s.room, s.info, &v)
	dst = me.AppendJSON(dst, s.json)
	if v.Receipt != before.Receipt || v.Pass != before.Pass { // signed just now; keep them
		c.mu.Lock()
		if g.v.Place == v.Place && g.v.State == v.State && g.v.Until.Equal(v.Until) {
			g.v.Receipt, g.v.Pass = v.Receipt, v.Pass
		}
		c.mu.Unlock()
	}
	return dst
}
