package web

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"onsale/internal/fault"
	"onsale/waitroom"
)

// peer is one WebSocket.
type peer struct {
	conn    net.Conn        // nil during the handshake; set under Hub.mu
	raw     syscall.RawConn // nil when conn is no socket
	crowd   *crowd          // nil until the visitor is known; set under Hub.mu
	guest   *guest          // nil until they are in the crowd
	sibling *peer           // next connection of the same visitor; guarded by crowd.mu
	pinged  int64           // unix seconds of the last ping; guarded by crowd.mu
	seen    atomic.Int64
	closed  atomic.Bool // a close frame was sent: nothing follows it
	gone    atomic.Bool // dropped; set under Hub.mu

	// Touched only by who reads.
	in      *inbox
	unasked int // messages that were not asked for

	fd int // guarded by poller.mu

	// Guarded by outbox.mu.
	next   *peer   // in the outbox
	pong   *[]byte // what a ping of the client held
	code   uint16  // for its close frame
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
	wantPong // answer the last ping
	wantBye  // send a close frame
	wantEnd  // drop the connection without a word: it is dead
)

// firstFrame reads the frame that says who the visitor is. It returns
// fault.Invalid for another frame and fault.Unauthorized for a bad token or none.
func (h *Hub) firstFrame(p *peer) (visitor string, err error) {
	var buffer [512]byte
	var first message
	for first.opcode == 0 {
		n, err := p.conn.Read(buffer[:])
		if err != nil {
			return "", fault.Wrap(err, fault.Unauthorized, "no token was sent in time")
		}
		goesOn, code := h.heed(p, buffer[:n], func(m message) {
			if first.opcode == 0 {
				first = message{m.opcode, bytes.Clone(m.payload)}
				return
			}
			p.unasked++
		})
		if code != 0 {
			h.finish(p, code)
		}
		if !goesOn {
			return "", fault.New(fault.Unauthorized, "no token was sent")
		}
	}
	if first.opcode != websocket.TextMessage {
		return "", fault.New(fault.Invalid, "the first frame must be text")
	}
	token, err := tokenFrame(first.payload)
	if err != nil {
		return "", err
	}
	return h.keys.Visitor(token, h.now())
}

// heed takes what a client has sent. It has pings answered, calls said with each
// message if that is not nil, and reports whether the connection goes on. A code
// is what the client is to be told at the end, or for its answer.
func (h *Hub) heed(p *peer, data []byte, said func(message)) (goesOn bool, code int) {
	end := 0
	goesOn, code = p.take(data, h.o.readLimit, said != nil, func(m message) bool {
		p.saw(h.now())
		switch m.opcode {
		case websocket.CloseMessage:
			end = closeCode(m.payload)
			return false
		case websocket.PingMessage:
			h.out.answer(p, bytes.Clone(m.payload))
		case websocket.PongMessage:
		default:
			if said != nil {
				said(m)
			} else if p.unasked++; p.unasked > h.o.idleMessages {
				end = closePolicy
			}
		}
		return true
	})
	return goesOn, cmp.Or(end, code)
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
	n, err := p.write(frames, h.o.write)
	if err == nil {
		return
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) || !p.closed.CompareAndSwap(false, true) {
		h.drop(p)
		return
	}
	h.slow.Inc()
	select {
	case h.farew <- struct{}{}:
	default: // too many at once for politeness
		h.drop(p)
		return
	}
	rest := append(append([]byte(nil), frames[n:]...), closeFrame(closeSlow)...)
	if !h.hold() {
		<-h.farew
		h.drop(p)
		return
	}
	go func() {
		defer h.readers.Done()
		defer func() { <-h.farew }()
		if _, err := p.write(rest, h.o.farewell); err != nil {
			h.drop(p)
			return
		}
		h.dropSoon(p)
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
// push returns false when nothing is written any more.
func (o *outbox) push(p *peer, w wants) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	p.want |= w
	if !p.queued && !p.busy {
		o.append(p)
	}
	return !o.closed
}

// answer has a ping answered. Of several only the last is, as RFC 6455 allows.
func (o *outbox) answer(p *peer, ping []byte) {
	o.mu.Lock()
	p.pong = &ping
	o.mu.Unlock()
	o.push(p, wantPong)
}

// bye has a close frame sent, by a worker: who reads must not wait for who is
// slow to read. It returns false when there are no workers any more.
func (o *outbox) bye(p *peer, code int, end bool) bool {
	o.mu.Lock()
	p.code = uint16(code)
	o.mu.Unlock()
	w := wantBye
	if end {
		w |= wantEnd
	}
	return o.push(p, w)
}

func (o *outbox) code(p *peer) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int(p.code)
}

// ping takes the payload that is to be answered.
func (o *outbox) ping(p *peer) (payload []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p.pong != nil {
		payload, p.pong = *p.pong, nil
	}
	return payload
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
	var v waitroom.Visitor // one for all, since what is told points into it
	for {
		p, w := h.out.pop()
		if p == nil {
			return
		}
		if !p.closed.Load() {
			frames = frames[:0]
			if w&wantMe != 0 {
				if payload = h.compose(p, &v, payload[:0]); len(payload) > 0 {
					frames = appendFrame(frames, websocket.TextMessage, payload)
					h.pushes.Inc()
				}
			}
			if w&wantPing != 0 {
				frames = appendFrame(frames, websocket.PingMessage, nil)
			}
			if w&wantPong != 0 {
				frames = appendFrame(frames, websocket.PongMessage, h.out.ping(p))
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
		if w&wantBye != 0 {
			h.finish(p, h.out.code(p))
		}
		if w&wantEnd != 0 {
			h.drop(p)
		}
		h.out.done(p)
	}
}

// compose appends the Me of p's visitor as it is now, with v as its scratch.
func (h *Hub) compose(p *peer, v *waitroom.Visitor, dst []byte) []byte {
	c, g := p.crowd, p.guest
	c.mu.Lock()
	*v = g.v
	s := c.sight
	c.mu.Unlock()
	if s == nil || v.State == waitroom.Waiting && v.Ahead == notKnown {
		return dst // the next tick tells
	}
	v.AsOf = s.room.AsOf
	signed := v.Pass != ""
	me := h.rooms.Compose(&s.room, s.info, v)
	dst = me.AppendJSON(dst, s.json)
	// A receipt is made in less time than it takes to look it up in cold memory;
	// a pass is a signature, and worth keeping.
	if !signed && v.Pass != "" {
		c.mu.Lock()
		if g.v.Place == v.Place && g.v.State == v.State && g.v.Until.Equal(v.Until) {
			g.v.Pass = v.Pass
		}
		c.mu.Unlock()
	}
	return dst
}
