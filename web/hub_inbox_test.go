package web

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// clientFrame is a frame as clients send it.
func clientFrame(opcode byte, final bool, payload []byte) []byte {
	b := []byte{opcode}
	if final {
		b[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := []byte{1, 2, 3, 4}
	b = append(b, mask...)
	for i, c := range payload {
		b = append(b, c^mask[i&3])
	}
	return b
}

const mostOfFrame = 200

// heard takes data in pieces and says what came of it.
func heard(data []byte, cut func(left int) int) (got []message, goesOn bool, code int) {
	p := &socket{}
	for len(data) > 0 {
		n := cut(len(data))
		goesOn, code = p.take(bytes.Clone(data[:n]), mostOfFrame, true, func(m message) bool {
			got = append(got, message{m.opcode, bytes.Clone(m.payload)})
			return m.opcode != websocket.CloseMessage
		})
		if !goesOn {
			return got, false, code
		}
		data = data[n:]
	}
	if p.in != nil && len(p.in.held) == 0 && !p.in.open {
		panic("an inbox is kept for nothing")
	}
	return got, goesOn, code
}

func TestInboxHearsWholeMessagesHoweverTheyAreCut(t *testing.T) {
	t.Parallel()
	var data []byte
	for _, f := range [][]byte{
		clientFrame(websocket.PongMessage, true, nil),
		clientFrame(websocket.TextMessage, true, []byte("hello")),
		clientFrame(websocket.BinaryMessage, false, []byte("a")),
		clientFrame(websocket.PingMessage, true, []byte("still there?")),
		clientFrame(continuation, false, bytes.Repeat([]byte("b"), 150)),
		clientFrame(continuation, true, []byte("c")),
		clientFrame(websocket.TextMessage, true, nil),
		clientFrame(websocket.CloseMessage, true, websocket.FormatCloseMessage(1000, "bye")),
		clientFrame(websocket.TextMessage, true, []byte("after the end")),
	} {
		data = append(data, f...)
	}
	want := []message{
		{websocket.PongMessage, nil},
		{websocket.TextMessage, []byte("hello")},
		{websocket.PingMessage, []byte("still there?")},
		{websocket.BinaryMessage, []byte("a" + strings.Repeat("b", 150) + "c")},
		{websocket.TextMessage, nil},
		{websocket.CloseMessage, websocket.FormatCloseMessage(1000, "bye")},
	}
	cuts := map[string]func(int) int{
		"at once":    func(left int) int { return left },
		"byte-wise":  func(int) int { return 1 },
		"anywhere":   func(left int) int { return 1 + rand.IntN(left) },
		"anywhere 2": func(left int) int { return 1 + rand.IntN(min(left, 20)) },
	}
	for name, cut := range cuts {
		got, goesOn, code := heard(data, cut)
		if goesOn || code != 0 || len(got) != len(want) {
			t.Fatalf("%s: %v, %t, %d", name, got, goesOn, code)
		}
		for i := range want {
			if got[i].opcode != want[i].opcode || !bytes.Equal(got[i].payload, want[i].payload) {
				t.Errorf("%s: message %d is %v, not %v", name, i, got[i], want[i])
			}
		}
	}
}

func TestInboxRefusesWhatBreaksTheProtocol(t *testing.T) {
	t.Parallel()
	unmasked := appendFrame(nil, websocket.TextMessage, []byte("x"))
	reserved := clientFrame(websocket.TextMessage, true, []byte("x"))
	reserved[0] |= 0x40
	huge := clientFrame(websocket.TextMessage, true, nil)
	huge = append(append(huge[:1], 0x80|127), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)
	cases := map[string]struct {
		data []byte
		code int
	}{
		"not masked":               {unmasked, websocket.CloseProtocolError},
		"a reserved bit":           {reserved, websocket.CloseProtocolError},
		"an unknown opcode":        {clientFrame(3, true, nil), websocket.CloseProtocolError},
		"an unknown control frame": {clientFrame(11, true, nil), websocket.CloseProtocolError},
		"a cut ping":               {clientFrame(websocket.PingMessage, false, nil), websocket.CloseProtocolError},
		"a long ping":              {clientFrame(websocket.PingMessage, true, make([]byte, 126)), websocket.CloseProtocolError},
		"continuing nothing":       {clientFrame(continuation, true, nil), websocket.CloseProtocolError},
		"a message in a message": {
			append(clientFrame(websocket.TextMessage, false, nil), clientFrame(websocket.TextMessage, true, nil)...), websocket.CloseProtocolError,
		},
		"too long":            {clientFrame(websocket.TextMessage, true, make([]byte, mostOfFrame+1)), websocket.CloseMessageTooBig},
		"longer than memory":  {huge, websocket.CloseMessageTooBig},
		"too long in pieces":  {append(clientFrame(websocket.TextMessage, false, make([]byte, 150)), clientFrame(continuation, true, make([]byte, 51))...), websocket.CloseMessageTooBig},
		"as long as possible": {clientFrame(websocket.TextMessage, true, make([]byte, mostOfFrame)), 0},
	}
	for name, c := range cases {
		if _, goesOn, code := heard(c.data, func(left int) int { return left }); code != c.code || goesOn != (code == 0) {
			t.Errorf("%s: %t, code %d, want %d", name, goesOn, code, c.code)
		}
	}
}

func TestCloseCodesAreAnswered(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]int{
		"": 1005, "\x03": 1002, "\x03\xe8": 1000, "\x03\xe8bye": 1000, "\x03\xe8\xff": 1007, "\x03\xed": 1002, "\x03\xee": 1002, "\x0f\xa0": 4000, "\x00\x01": 1002, "\xff\xff": 1002,
	} {
		if got := closeCode([]byte(payload)); got != want {
			t.Errorf("%x is answered %d, not %d", payload, got, want)
		}
	}
}

// FuzzInbox holds that any cut of any bytes is heard the same, and without end.
func FuzzInbox(f *testing.F) {
	f.Add(clientFrame(websocket.TextMessage, true, []byte("x")), 1)
	f.Add(append(clientFrame(websocket.TextMessage, false, []byte("x")), clientFrame(continuation, true, nil)...), 3)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		whole, goesOn, code := heard(data, func(left int) int { return left })
		got, on, with := heard(data, func(left int) int { return min(left, 1+max(piece, 0)%50) })
		if len(got) != len(whole) || on != goesOn || with != code {
			t.Fatalf("at once %v %t %d, in pieces %v %t %d", whole, goesOn, code, got, on, with)
		}
		for i := range got {
			if got[i].opcode != whole[i].opcode || !bytes.Equal(got[i].payload, whole[i].payload) {
				t.Fatalf("message %d: %v, in pieces %v", i, whole[i], got[i])
			}
		}
	})
}

// wrapped is a listener whose connections do not say that they are sockets, as
// those of TLS do not.
type wrapped struct{ net.Listener }

func (w wrapped) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}

// What is no socket is read by a goroutine, with the same result.
func TestHubTellsWhoIsNotOnASocket(t *testing.T) {
	t.Parallel()
	h := newHallBehind(t, nil, func(s *httptest.Server) { s.Listener = wrapped{s.Listener} })
	c := h.connect(h.join().Visitor)
	if me := c.next(); me.Place == nil {
		t.Errorf("told %+v", me)
	}
	pong := make(chan string, 1)
	c.ws.SetPongHandler(func(s string) error { pong <- s; return nil })
	if err := c.ws.WriteControl(websocket.PingMessage, []byte("here?"), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, _, err := c.ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
	select {
	case got := <-pong:
		if got != "here?" {
			t.Errorf("the ping was answered %q", got)
		}
	case <-time.After(time.Minute):
		t.Error("the ping was not answered")
	}
	_ = c.ws.Close()
	late := time.After(time.Minute)
	for h.hub.Connections() > 0 {
		select {
		case <-late:
			t.Fatal("the connection is not forgotten")
		case <-time.After(time.Millisecond):
		}
	}
}

// A client that sends a frame byte by byte, and pings, is answered by the poller.
func TestHubHearsSlowWriters(t *testing.T) {
	t.Parallel()
	h := newHall(t, nil)
	c := h.connect(h.join().Visitor)
	c.next()
	pong := make(chan string, 1)
	c.ws.SetPongHandler(func(s string) error { pong <- s; return nil })
	go func() {
		for {
			if _, _, err := c.ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
	for _, b := range clientFrame(websocket.PingMessage, true, []byte("slowly")) {
		if _, err := c.ws.NetConn().Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case got := <-pong:
		if got != "slowly" {
			t.Errorf("the ping was answered %q", got)
		}
	case <-time.After(time.Minute):
		t.Error("the ping was not answered")
	}
}
