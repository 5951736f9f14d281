package web

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/gorilla/websocket"

	"onsale/internal/fault"
	"onsale/waitroom"
)

// peer is one WebSocket of a visitor.
type peer struct {
	socket

	hub     *Hub
	crowd   *crowd // nil until the visitor is known; set under Hub.mu
	guest   *guest // nil until they are in the crowd
	sibling *peer  // next connection of the same visitor; guarded by crowd.mu
}

// left takes the connection out of its crowd.
func (p *peer) left() {
	p.hub.mu.Lock()
	c := p.crowd
	p.hub.mu.Unlock()
	if c != nil {
		c.mu.Lock()
		c.remove(p)
		c.mu.Unlock()
	}
}

// tell appends the visitor's Me as it is now.
func (p *peer) tell(dst []byte, w wants, s *scratch) (frames []byte, code int) {
	if w&wantNews != 0 {
		if s.payload = p.hub.compose(p, &s.visitor, s.payload[:0]); len(s.payload) > 0 {
			dst = appendFrame(dst, websocket.TextMessage, s.payload)
			p.hub.pushes.Inc()
		}
	}
	switch {
	case w&wantGone != 0:
		return dst, closeUnknown
	case w&wantOver != 0:
		return dst, closeOver
	}
	return dst, 0
}

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
		goesOn, code := h.heed(&p.socket, buffer[:n], func(m message) {
			if first.opcode == 0 {
				first = message{m.opcode, bytes.Clone(m.payload)}
				return
			}
			p.unasked++
		})
		if code != 0 {
			h.finish(&p.socket, code)
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

// appendFrame appends a frame.
func appendFrame(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, 0x80|opcode)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, payload...)
}

func closeFrame(code int) []byte {
	return appendFrame(nil, websocket.CloseMessage, websocket.FormatCloseMessage(code, ""))
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
