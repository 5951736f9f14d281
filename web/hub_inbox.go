package web

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// inbox is what a client has sent and that is not whole yet. Clients send small
// control frames, which come whole, so a connection hardly ever has one.
type inbox struct {
	held    []byte // the beginning of a frame
	open    bool   // fragments of a message have come, and more will
	binary  bool   // of the open message
	size    int    // of the fragments so far
	message []byte // them, if they are wanted
}

// frame is one frame of a client, with its payload unmasked.
type frame struct {
	opcode  byte
	final   bool
	payload []byte
}

const continuation = 0

// parseFrame reads the frame that data begins with, and unmasks it in place. It
// returns how many bytes it took, 0 when the frame is not whole; code is the
// close code for a client that breaks the protocol.
func parseFrame(data []byte, most int64) (f frame, taken, code int) {
	if len(data) < 2 {
		return f, 0, 0
	}
	f.opcode, f.final = data[0]&0x0f, data[0]&0x80 != 0
	control := f.opcode >= websocket.CloseMessage
	length := int64(data[1] & 0x7f)
	switch {
	case data[0]&0x70 != 0, data[1]&0x80 == 0, // reserved bits; not masked
		f.opcode > websocket.BinaryMessage && f.opcode < websocket.CloseMessage, f.opcode > websocket.PongMessage,
		control && (!f.final || length > 125):
		return f, 0, websocket.CloseProtocolError
	}
	at := 2
	switch length {
	case 126:
		if len(data) < 4 {
			return f, 0, 0
		}
		length, at = int64(binary.BigEndian.Uint16(data[2:])), 4
	case 127:
		if len(data) < 10 {
			return f, 0, 0
		}
		length, at = int64(binary.BigEndian.Uint64(data[2:])&(1<<63-1)), 10
	}
	if length > most {
		return f, 0, websocket.CloseMessageTooBig
	}
	end := at + 4 + int(length)
	if len(data) < end {
		return f, 0, 0
	}
	mask := data[at : at+4]
	f.payload = data[at+4 : end]
	for i := range f.payload {
		f.payload[i] ^= mask[i&3]
	}
	return f, end, 0
}

// message is what take hands on: a whole message, or a control frame.
type message struct {
	opcode  byte
	payload []byte // of a control frame, or of a message that was wanted
}

// take reads what a client has sent and calls on with each message and control
// frame until that returns false. It reports whether the connection goes on;
// code is the close code for a client that breaks the protocol. wanted says that
// the content of messages is needed. data is not kept.
func (p *socket) take(data []byte, most int64, wanted bool, on func(message) bool) (goesOn bool, code int) {
	if p.in != nil && len(p.in.held) > 0 {
		p.in.held = append(p.in.held, data...)
		data = p.in.held
	}
	for len(data) > 0 {
		f, taken, code := parseFrame(data, most)
		if code != 0 {
			return false, code
		}
		if taken == 0 {
			break
		}
		data = data[taken:]
		m, whole, code := p.assemble(f, most, wanted)
		if code != 0 {
			return false, code
		}
		if whole && !on(m) {
			return false, 0
		}
	}
	switch {
	case len(data) > 0:
		if p.in == nil {
			p.in = &inbox{}
		}
		p.in.held = append([]byte(nil), data...)
	case p.in != nil && p.in.open:
		p.in.held = nil
	default:
		p.in = nil
	}
	return true, 0
}

// assemble puts the fragments of messages together.
func (p *socket) assemble(f frame, most int64, wanted bool) (m message, whole bool, code int) {
	if f.opcode >= websocket.CloseMessage {
		return message{f.opcode, f.payload}, true, 0
	}
	open := p.in != nil && p.in.open
	if open != (f.opcode == continuation) {
		return m, false, websocket.CloseProtocolError
	}
	if !open && f.final {
		return message{f.opcode, f.payload}, true, 0
	}
	if p.in == nil {
		p.in = &inbox{}
	}
	in := p.in
	if !open {
		in.binary = f.opcode == websocket.BinaryMessage
	}
	in.open = !f.final
	if in.size += len(f.payload); int64(in.size) > most {
		return m, false, websocket.CloseMessageTooBig
	}
	if wanted {
		in.message = append(in.message, f.payload...)
	}
	if !f.final {
		return m, false, 0
	}
	m = message{websocket.TextMessage, in.message}
	if in.binary {
		m.opcode = websocket.BinaryMessage
	}
	in.size, in.message = 0, nil
	return m, true, 0
}

// closeCode is the code of a client's close frame as it is answered.
func closeCode(payload []byte) int {
	if len(payload) == 0 {
		return websocket.CloseNoStatusReceived
	}
	if len(payload) == 1 {
		return websocket.CloseProtocolError
	}
	code := int(binary.BigEndian.Uint16(payload))
	switch {
	case !utf8.Valid(payload[2:]):
		return websocket.CloseInvalidFramePayloadData
	case code >= 3000 && code <= 4999, code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return code
	}
	return websocket.CloseProtocolError
}
