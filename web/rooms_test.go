package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"onsale/waitroom"
	"onsale/waitroom/pass"
	"onsale/waitroom/redisstore"
)

// entrance is a whole server in the waiting room's role, without a shop.
type entrance struct {
	t      testing.TB
	url    string
	rooms  *waitroom.Service
	keys   *pass.KeySet
	redis  *miniredis.Miniredis
	server *Server
}

func newEntrance(t testing.TB, options waitroom.Options) *entrance {
	t.Helper()
	e := &entrance{t: t, keys: pass.Generate(), redis: miniredis.RunT(t)}
	rdb := redis.NewClient(&redis.Options{Addr: e.redis.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = rdb.Close() })
	log := slog.New(slog.DiscardHandler)
	options.Tick, options.ShopGrace = 5*time.Millisecond, time.Hour
	var err error
	e.rooms, err = waitroom.New(waitroom.Deps{
		Store: redisstore.New(rdb).WithOptions(redisstore.Options{Timeout: 10 * time.Second}),
		Keys:  e.keys, Now: time.Now, Logger: log, Options: options,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.rooms.Seed(t.Context(), roomSettings()); err != nil {
		t.Fatal(err)
	}
	public, _ := url.Parse("http://tickets.example")
	registry := prometheus.NewRegistry()
	s, err := New(Deps{
		Roles: Roles{Waitroom: true}, PublicURL: public, AllowedOrigins: []string{"https://partner.example"},
		Rooms: e.rooms, Keys: e.keys, Clock: time.Now, Logger: log, Registerer: registry, Gatherer: registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	e.server = s
	server := httptest.NewServer(s.Handler())
	e.url = server.URL
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- s.Run(ctx) }()
	t.Cleanup(func() {
		end, done := context.WithTimeout(context.Background(), 2*time.Second)
		defer done()
		s.Shutdown(end)
		cancel()
		if err := <-ran; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		server.Close()
	})
	return e
}

// answer is a response with its body read.
type answer struct {
	*http.Response

	text []byte
}

func (a answer) code() string {
	var p struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(a.text, &p)
	return p.Type[strings.LastIndex(p.Type, "/")+1:]
}

func (a answer) me(t testing.TB) waitroom.Joined {
	t.Helper()
	var j waitroom.Joined
	if a.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", a.StatusCode, a.text)
	}
	if err := json.Unmarshal(a.text, &j); err != nil {
		t.Fatalf("%s: %v", a.text, err)
	}
	return j
}

func (e *entrance) do(method, path, body string, headers ...string) answer {
	e.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return answer{resp, text}
}

const roomPath = "/v1/rooms/" + testEvent

func (e *entrance) open() {
	e.t.Helper()
	if err := e.rooms.ShopOK(context.Background(), testEvent, -1, -1, 0); err != nil {
		e.t.Fatal(err)
	}
	if err := e.rooms.TickAll(context.Background()); err != nil {
		e.t.Fatal(err)
	}
}

func TestRoomJourneyOverHTTP(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{})
	resp := e.do("POST", roomPath+"/join", "{}")
	joined := resp.me(t)
	if joined.State != waitroom.Waiting || joined.VisitorToken == "" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("joined: %s", resp.text)
	}
	// All fields of the contract are there, null or not.
	var fields, room map[string]json.RawMessage
	_ = json.Unmarshal(resp.text, &fields)
	_ = json.Unmarshal(fields["room"], &room)
	for _, name := range []string{"visitor", "visitor_token", "state", "place", "ahead", "wait", "room", "receipt", "claim_by", "lease_ends", "pass", "poll_after_ms", "as_of"} {
		if _, ok := fields[name]; !ok {
			t.Errorf("%q is missing in %s", name, resp.text)
		}
	}
	for _, name := range []string{"state", "waiting", "admitting_per_minute", "message", "opens_at", "stock_left", "reason", "name", "closed_reason", "lobby_opens_at"} {
		if _, ok := room[name]; !ok {
			t.Errorf("room.%q is missing in %s", name, resp.text)
		}
	}
	cookies := resp.Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteLaxMode || cookies[0].Value != joined.VisitorToken {
		t.Fatalf("cookies %v", cookies)
	}
	cookie := cookies[0].Name + "=" + cookies[0].Value
	bearer := "Bearer " + joined.VisitorToken
	for _, header := range [][2]string{{"Cookie", cookie}, {"Authorization", bearer}} {
		if again := e.do("POST", roomPath+"/join", "", header[0], header[1]).me(t); again.Visitor != joined.Visitor || again.VisitorToken != "" || *again.Place != 1 {
			t.Errorf("joining again with %s: %+v", header[0], again)
		}
		if me := e.do("GET", roomPath+"/me", "", header[0], header[1]).me(t); me.Visitor != joined.Visitor {
			t.Errorf("asking with %s: %+v", header[0], me)
		}
	}
	if a := e.do("POST", roomPath+"/claim", "{}", "Authorization", bearer); a.StatusCode != http.StatusConflict || a.code() != "not-your-turn" {
		t.Errorf("claiming too soon: %d %s", a.StatusCode, a.text)
	}
	if a := e.do("GET", roomPath+"/check", "", "Cookie", cookie); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("check without a pass: %d", a.StatusCode)
	}
	e.open()
	claim := e.do("POST", roomPath+"/claim", "", "Cookie", cookie)
	shopping := claim.me(t)
	if shopping.State != waitroom.Shopping || shopping.Pass == nil {
		t.Fatalf("claimed: %s", claim.text)
	}
	if again := e.do("POST", roomPath+"/claim", "{}", "Authorization", bearer).me(t); *again.Pass != *shopping.Pass {
		t.Error("claiming again gives another pass")
	}
	passes := claim.Cookies()
	if len(passes) != 1 || passes[0].Value != *shopping.Pass || !passes[0].HttpOnly {
		t.Fatalf("cookies of the claim: %v", passes)
	}
	for _, header := range [][2]string{{"Cookie", passes[0].Name + "=" + passes[0].Value}, {"Authorization", "Bearer " + *shopping.Pass}} {
		if a := e.do("GET", roomPath+"/check", "", header[0], header[1]); a.StatusCode != http.StatusNoContent {
			t.Errorf("check with %s: %d %s", header[0], a.StatusCode, a.text)
		}
	}
	if a := e.do("DELETE", roomPath+"/me", "", "Authorization", bearer); a.StatusCode != http.StatusNoContent {
		t.Errorf("leaving: %d %s", a.StatusCode, a.text)
	}
	if a := e.do("GET", roomPath+"/check", "", "Authorization", "Bearer "+*shopping.Pass); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("check with the pass of somebody who left: %d", a.StatusCode)
	}
	if me := e.do("GET", roomPath+"/me", "", "Authorization", bearer).me(t); me.State != waitroom.Left {
		t.Errorf("after leaving: %+v", me)
	}
}

func TestRoomRefusals(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{JoinsPerMinute: 3})
	known := e.do("POST", roomPath+"/join", "").me(t)
	token := "Bearer " + known.VisitorToken
	other := "0190b0a0-0000-7000-8000-000000000002"
	stranger := pass.Generate()
	later := time.Now().Add(time.Hour)
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		code                     string
	}{
		{"no such room", "POST", "/v1/rooms/" + other + "/join", "{}", nil, 404, "not-found"},
		{"no such room, me", "GET", "/v1/rooms/" + other + "/me", "", []string{"Authorization", token}, 404, "not-found"},
		{"no such room, socket", "GET", "/v1/rooms/" + other + "/ws", "", []string{"Connection", "Upgrade", "Upgrade", "websocket"}, 404, "not-found"},
		{"no id", "POST", "/v1/rooms/..%2f..%2f/join", "{}", nil, 404, "not-found"},
		{"braces for an id", "POST", "/v1/rooms/%7Bx%7D/join", "{}", nil, 404, "not-found"},
		{"not JSON", "POST", roomPath + "/join", "{", nil, 400, "invalid-request"},
		{"unknown field", "POST", roomPath + "/join", `{"place":1}`, nil, 400, "invalid-request"},
		{"wrong type", "POST", roomPath + "/join", `{"receipt":7}`, nil, 400, "invalid-request"},
		{"array", "POST", roomPath + "/join", `[]`, nil, 400, "invalid-request"},
		{"two values", "POST", roomPath + "/join", `{} {}`, nil, 400, "invalid-request"},
		{"too large", "POST", roomPath + "/join", `{"receipt":"` + strings.Repeat("x", 1<<17) + `"}`, nil, 413, "too-large"},
		{"form", "POST", roomPath + "/join", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 400, "invalid-request"},
		{"unknown field in claim", "POST", roomPath + "/claim", `{"x":1}`, []string{"Authorization", token}, 400, "invalid-request"},
		{"no token", "GET", roomPath + "/me", "", nil, 401, "unknown-visitor"},
		{"no token, claim", "POST", roomPath + "/claim", "", nil, 401, "unknown-visitor"},
		{"no token, leave", "DELETE", roomPath + "/me", "", nil, 401, "unknown-visitor"},
		{"a visitor who never joined", "GET", roomPath + "/me", "", []string{"Authorization", "Bearer " + e.keys.SignVisitor(pass.NewVisitor(), later)}, 401, "unknown-visitor"},
		{"forged token", "POST", roomPath + "/join", "", []string{"Authorization", "Bearer " + stranger.SignVisitor(known.Visitor, later)}, 401, "unauthorized"},
		{"expired token", "GET", roomPath + "/me", "", []string{"Authorization", "Bearer " + e.keys.SignVisitor(known.Visitor, time.Now().Add(-time.Second))}, 401, "unauthorized"},
		{"receipt for a token", "GET", roomPath + "/me", "", []string{"Authorization", "Bearer " + *known.Receipt}, 401, "unauthorized"},
		{"no bearer", "GET", roomPath + "/me", "", []string{"Authorization", "Basic eDp5"}, 401, "unauthorized"},
		{"wrong method", "PUT", roomPath + "/me", "", nil, 405, ""},
		{"page of another site", "POST", roomPath + "/join", "{}", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403, "forbidden"},
		{"a bad handshake", "GET", roomPath + "/ws", "", []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "12", "Authorization", token}, 400, "invalid-request"},
		{"no WebSocket", "GET", roomPath + "/ws", "", nil, 426, "upgrade-required"},
	} {
		a := e.do(c.method, c.path, c.body, c.headers...)
		if a.StatusCode != c.status || a.Header.Get("Content-Type") != "application/problem+json" || c.code != "" && a.code() != c.code {
			t.Errorf("%s: %d %s %s", c.name, a.StatusCode, a.Header.Get("Content-Type"), a.text)
		}
	}
	room, err := e.rooms.Room(t.Context(), testEvent)
	if err != nil || room.Joined != 1 {
		t.Errorf("a refused request joined: %d, %v", room.Joined, err)
	}
	e.do("POST", roomPath+"/join", "{}").me(t)
	e.do("POST", roomPath+"/join", "{}").me(t)
	limited := e.do("POST", roomPath+"/join", "{}")
	if limited.StatusCode != http.StatusTooManyRequests || limited.Header.Get("Retry-After") == "" {
		t.Errorf("beyond the limit: %d %v", limited.StatusCode, limited.Header)
	}
	if err := e.rooms.Close(t.Context(), testEvent, "sold_out"); err != nil {
		t.Fatal(err)
	}
	if a := e.do("POST", roomPath+"/join", "{}"); a.StatusCode != http.StatusConflict || a.code() != "room-closed" {
		t.Errorf("closed: %d %s", a.StatusCode, a.text)
	}
	if me := e.do("POST", roomPath+"/join", "{}", "Authorization", token).me(t); me.State != waitroom.ShutOut {
		t.Errorf("somebody known, in a closed room: %+v", me)
	}
	e.redis.Close()
	if a := e.do("GET", roomPath+"/me", "", "Authorization", token); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("Redis is down: %d %v", a.StatusCode, a.Header)
	}
}

func TestCheckSendsBackToTheLine(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{})
	queue := "http://tickets.example/queue/" + testEvent
	for _, c := range []struct {
		name    string
		query   string
		headers []string
		want    string
	}{
		{"nothing said", "", nil, queue},
		{"nginx", "", []string{"X-Original-URL", "https://partner.example/buy?x=1"}, queue + "?return=https%3A%2F%2Fpartner.example%2Fbuy%3Fx%3D1"},
		{"traefik", "", []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "partner.example", "X-Forwarded-Uri", "/a"}, queue + "?return=https%3A%2F%2Fpartner.example%2Fa"},
		{"a path", "?return=/event/1", nil, queue + "?return=http%3A%2F%2Ftickets.example%2Fevent%2F1"},
		{"another site", "?return=https://evil.example/", nil, queue},
		{"another site without a scheme", "?return=//evil.example/", nil, queue},
		{"a script", "?return=javascript:alert(1)", nil, queue},
		{"a backslash", "?return=" + url.QueryEscape(`/\evil.example`), nil, queue},
		{"a user", "?return=" + url.QueryEscape("https://partner.example@evil.example/"), nil, queue},
		{"another scheme of a known host", "?return=ftp://partner.example/", nil, queue},
		{"endless", "?return=/" + strings.Repeat("a", 3000), nil, queue},
	} {
		a := e.do("GET", roomPath+"/check"+c.query, "", c.headers...)
		if a.StatusCode != http.StatusUnauthorized || a.Header.Get("Location") != c.want || a.code() != "pass-required" {
			t.Errorf("%s: %d, Location %q, want %q", c.name, a.StatusCode, a.Header.Get("Location"), c.want)
		}
	}
}

func TestKeysArePublished(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{})
	a := e.do("GET", "/.well-known/jwks.json", "")
	if a.StatusCode != http.StatusOK || string(a.text) != string(e.keys.JWKS()) || !strings.Contains(a.Header.Get("Cache-Control"), "max-age") {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	if strings.Contains(string(a.text), e.keys.Secret()) || strings.Contains(string(a.text), `"d"`) {
		t.Error("the private key is published")
	}
}

func TestRoomSocketKnowsWhoAsks(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{})
	joined := e.do("POST", roomPath+"/join", "{}")
	j := joined.me(t)
	cookie := joined.Cookies()[0]
	dial := func(header http.Header) (*websocket.Conn, *http.Response, error) {
		d := websocket.Dialer{Subprotocols: []string{subprotocol}, HandshakeTimeout: time.Minute}
		return d.Dial("ws"+strings.TrimPrefix(e.url, "http")+roomPath+"/ws", header)
	}
	for name, header := range map[string]http.Header{
		"cookie":                 {"Cookie": {cookie.Name + "=" + cookie.Value}},
		"cookie and own origin":  {"Cookie": {cookie.Name + "=" + cookie.Value}, "Origin": {"http://tickets.example"}},
		"bearer":                 {"Authorization": {"Bearer " + j.VisitorToken}},
		"bearer, allowed origin": {"Authorization": {"Bearer " + j.VisitorToken}, "Origin": {"https://partner.example"}},
		"first frame":            {},
	} {
		ws, _, err := dial(header)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if name == "first frame" {
			_ = ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"token":%q}`, j.VisitorToken))
		}
		c := client{t: t, ws: ws}
		if me := c.next(); me.Visitor != j.Visitor {
			t.Errorf("%s: %+v", name, me)
		}
		_ = ws.Close()
	}
	ws, _, err := dial(http.Header{"Cookie": {cookie.Name + "=" + cookie.Value}, "Origin": {"https://evil.example"}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if code := (&client{t: t, ws: ws}).closes(); code != closeOrigin {
		t.Errorf("foreign origin: closed with %d", code)
	}
	if _, resp, err := dial(http.Header{"Authorization": {"Bearer nonsense"}}); err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a bad bearer token: %v, %v", resp, err)
	}
}
