package web

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"onsale/waitroom"
)

// dial opens a WebSocket that joins. The answer of a refused handshake has its
// body.
func (e *entrance) dial(query string, header http.Header) (*client, answer, error) {
	e.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{subprotocol}, HandshakeTimeout: time.Minute}
	ws, resp, err := d.Dial("ws"+strings.TrimPrefix(e.url, "http")+roomPath+"/ws"+query, header)
	if err != nil {
		a := answer{Response: resp}
		if resp != nil {
			a.text = make([]byte, 1024)
			n, _ := resp.Body.Read(a.text)
			a.text = a.text[:n]
		}
		return nil, a, err
	}
	e.t.Cleanup(func() { _ = ws.Close() })
	if ws.Subprotocol() != subprotocol {
		e.t.Errorf("subprotocol %q", ws.Subprotocol())
	}
	return &client{t: e.t, ws: ws}, answer{Response: resp}, nil
}

// joined reads the first frame.
func (c *client) joined() (j waitroom.Joined) {
	c.t.Helper()
	_ = c.ws.SetReadDeadline(time.Now().Add(time.Minute))
	kind, text, err := c.ws.ReadMessage()
	if err != nil || kind != websocket.TextMessage {
		c.t.Fatalf("no frame: %d, %v", kind, err)
	}
	if err := json.Unmarshal(text, &j); err != nil {
		c.t.Fatalf("frame %s: %v", text, err)
	}
	return j
}

func (e *entrance) count() int64 {
	e.t.Helper()
	room, err := e.rooms.Store.Room(e.t.Context(), testEvent)
	if err != nil {
		e.t.Fatal(err)
	}
	return room.Joined
}

func TestJoinByTheHandshake(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{})
	c, resp, err := e.dial("?join=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	j := c.joined()
	cookies := resp.Cookies()
	if j.State != waitroom.Waiting || j.Place == nil || *j.Place != 1 || j.Receipt == nil || j.VisitorToken == "" {
		t.Fatalf("joined: %+v", j)
	}
	if len(cookies) != 1 || cookies[0].Value != j.VisitorToken || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteLaxMode {
		t.Errorf("cookies %v", cookies)
	}
	if me := e.do("GET", roomPath+"/me", "", "Authorization", "Bearer "+j.VisitorToken).me(t); me.Visitor != j.Visitor || *me.Place != 1 {
		t.Errorf("asked with the token: %+v", me)
	}

	// Who has a token finds their place, and is given no other; as often as they
	// connect.
	for name, header := range map[string]http.Header{
		"cookie":      {"Cookie": {cookies[0].Name + "=" + cookies[0].Value}, "Origin": {"http://tickets.example"}},
		"bearer":      {"Authorization": {"Bearer " + j.VisitorToken}},
		"bearer, too": {"Authorization": {"Bearer " + j.VisitorToken}, "Origin": {"https://partner.example"}},
	} {
		c, resp, err := e.dial("?join=1", header)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again := c.joined(); again.Visitor != j.Visitor || *again.Place != 1 || again.VisitorToken != "" || len(resp.Cookies()) > 0 {
			t.Errorf("%s: %+v, cookies %v", name, again, resp.Cookies())
		}
	}
	if n := e.count(); n != 1 {
		t.Errorf("%d joins were counted, want 1", n)
	}

	// They are told what happens from then on.
	e.open()
	ready := c.until("ready", func(m waitroom.Me) bool { return m.State == waitroom.Ready })
	if ready.ClaimBy == nil {
		t.Errorf("ready: %+v", ready)
	}
	claim := e.do("POST", roomPath+"/claim", "", "Authorization", "Bearer "+j.VisitorToken).me(t)
	c.until("shopping", func(m waitroom.Me) bool { return m.State == waitroom.Shopping })

	// A shopper who comes back is given their pass.
	c, resp, err = e.dial("?join=1", http.Header{"Cookie": {cookies[0].Name + "=" + cookies[0].Value}})
	if err != nil {
		t.Fatal(err)
	}
	if again := c.joined(); again.Pass == nil || *again.Pass != *claim.Pass || len(resp.Cookies()) != 1 || resp.Cookies()[0].Value != *claim.Pass {
		t.Errorf("a shopper: %+v, cookies %v", again, resp.Cookies())
	}
}

// TestAdmittedByTheHandshake has somebody come to an open door.
func TestAdmittedByTheHandshake(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{})
	e.open()
	c, _, err := e.dial("?join=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	j := c.joined()
	if j.State != waitroom.Ready || j.ClaimBy == nil || j.VisitorToken == "" {
		t.Fatalf("joined: %+v", j)
	}
	e.do("POST", roomPath+"/claim", "", "Authorization", "Bearer "+j.VisitorToken).me(t)
	c.until("shopping", func(m waitroom.Me) bool { return m.State == waitroom.Shopping })
}

// TestRefusedHandshakesJoinNobody: what is refused is a problem document, and a
// page of another origin is never joined.
func TestRefusedHandshakesJoinNobody(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{JoinsPerMinute: 2})
	c, _, err := e.dial("?join=1", http.Header{"Origin": {"https://evil.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if code := c.closes(); code != closeOrigin {
		t.Errorf("foreign origin: closed with %d", code)
	}
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket"}
	shake := append(slices.Clone(upgrade), "Sec-Websocket-Version", "13", "Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	for _, bad := range []struct {
		name, path string
		headers    []string
		status     int
		code       string
	}{
		{"no WebSocket", "?join=1", nil, 426, "upgrade-required"},
		{"no key", "?join=1", append(slices.Clone(upgrade), "Sec-Websocket-Version", "13"), 400, "invalid-request"},
		{"a short key", "?join=1", append(slices.Clone(upgrade), "Sec-Websocket-Version", "13", "Sec-Websocket-Key", "dGhl"), 400, "invalid-request"},
		{"an old version", "?join=1", append(slices.Clone(upgrade), "Sec-Websocket-Version", "8", "Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), 400, "invalid-request"},
		{"another value", "?join=yes", shake, 400, "invalid-request"},
		{"no value", "?join", shake, 400, "invalid-request"},
		{"twice", "?join=1&join=1", shake, 400, "invalid-request"},
		{"a receipt", "?join=1&receipt=x", shake, 400, "invalid-request"},
		{"a bad token", "?join=1", append(slices.Clone(shake), "Authorization", "Bearer x"), 401, "unauthorized"},
	} {
		if a := e.do("GET", roomPath+"/ws"+bad.path, "", bad.headers...); a.StatusCode != bad.status || a.code() != bad.code {
			t.Errorf("%s: %d %s", bad.name, a.StatusCode, a.text)
		}
	}
	if n := e.count(); n != 0 {
		t.Fatalf("%d joins were counted, want none", n)
	}

	// The limit per address counts joins of both kinds.
	e.do("POST", roomPath+"/join", "{}").me(t)
	if c, _, err := e.dial("?join=1", nil); err != nil || c.joined().VisitorToken == "" {
		t.Fatalf("within the limit: %v", err)
	}
	if _, a, err := e.dial("?join=1", nil); err == nil || a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" || a.code() != "too-many-requests" {
		t.Errorf("beyond the limit: %d %s", a.StatusCode, a.text)
	}

	if n := e.count(); n != 2 {
		t.Errorf("%d joins were counted, want 2", n)
	}
	eventuallyTrue(t, "only the one who joined is connected", func() bool { return e.server.hub.Connections() == 1 })
}

// TestRoomsRefuseHandshakes: what a room asks for first is asked for before the
// connection is a WebSocket.
func TestRoomsRefuseHandshakes(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{})
	pow, yes, off, no := waitroom.ChallengePoW, true, waitroom.ChallengeOff, false
	for _, c := range []struct {
		patch  waitroom.Patch
		status int
		code   string
	}{
		{waitroom.Patch{Challenge: &pow}, http.StatusForbidden, "challenge-required"},
		{waitroom.Patch{Challenge: &off, InviteOnly: &yes}, http.StatusForbidden, "invite-required"},
	} {
		if err := e.rooms.Configure(t.Context(), testEvent, c.patch); err != nil {
			t.Fatal(err)
		}
		if _, a, err := e.dial("?join=1", nil); err == nil || a.StatusCode != c.status || a.code() != c.code {
			t.Errorf("%s: %v, %d %s", c.code, err, a.StatusCode, a.text)
		}
	}
	if err := e.rooms.Configure(t.Context(), testEvent, waitroom.Patch{InviteOnly: &no}); err != nil {
		t.Fatal(err)
	}
	known := e.do("POST", roomPath+"/join", "{}").me(t)
	if err := e.rooms.Close(t.Context(), testEvent, "over"); err != nil {
		t.Fatal(err)
	}
	if _, a, err := e.dial("?join=1", nil); err == nil || a.StatusCode != http.StatusConflict || a.code() != "room-closed" {
		t.Errorf("closed: %v, %d %s", err, a.StatusCode, a.text)
	}
	if n := e.count(); n != 1 {
		t.Errorf("%d joins were counted, want 1", n)
	}
	// Who has been there before is told how it ended.
	c, _, err := e.dial("?join=1", http.Header{"Authorization": {"Bearer " + known.VisitorToken}})
	if err != nil {
		t.Fatal(err)
	}
	if j := c.joined(); j.State != waitroom.ShutOut {
		t.Errorf("in a closed room: %+v", j)
	}
	if code := c.closes(); code != closeOver {
		t.Errorf("closed with %d", code)
	}
}

// TestHandshakeIsOneAnswer: the 101 and the first frame come together, byte by
// byte as RFC 6455 has them.
func TestHandshakeIsOneAnswer(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(conn, "GET %s/ws?join=1 HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", roomPath); err != nil {
		t.Fatal(err)
	}
	all := make([]byte, 4<<10)
	n, err := conn.Read(all)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(bytes.NewReader(all[:n]))
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" ||
		resp.Header.Get("Connection") != "Upgrade" || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Values("Sec-WebSocket-Protocol") != nil {
		t.Fatalf("%v: %v", err, resp)
	}
	frame := make([]byte, r.Buffered())
	_, _ = r.Read(frame)
	if len(frame) < 4 || frame[0] != 0x81 || frame[1] != 126 || int(frame[2])<<8|int(frame[3]) != len(frame)-4 || !json.Valid(frame[4:]) {
		t.Errorf("the first frame: %q", frame)
	}
}

// TestWitnessOfNews: news of somebody who is not here yet are noticed by whoever
// joined meanwhile, and those of others are not.
func TestWitnessOfNews(t *testing.T) {
	t.Parallel()
	h := newHall(t, nil)
	if w := h.hub.witness(testEvent); w.crowd != nil {
		t.Errorf("nobody is here: %+v", w)
	}
	here := h.join()
	h.connect(here.Visitor).next()
	before := h.hub.witness(testEvent)
	h.hub.heard(waitroom.News{Event: testEvent, Visitors: []string{here.Visitor}})
	h.hub.heard(waitroom.News{Event: testEvent})
	if w := h.hub.witness(testEvent); w != before {
		t.Errorf("%+v, was %+v", w, before)
	}
	h.hub.heard(waitroom.News{Event: testEvent, Visitors: []string{"somebody"}})
	if w := h.hub.witness(testEvent); w.crowd != before.crowd || w.missed != before.missed+1 {
		t.Errorf("%+v, was %+v", w, before)
	}
}
