package gate_test

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onsale/waitroom/gate"
	"onsale/waitroom/pass"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	event   = "0190b0a0-0000-7000-8000-000000000001"
	other   = "0190b0a0-0000-7000-8000-000000000002"
	visitor = "AAECAwQFBgcICQoLDA0ODw"
	queue   = "https://tickets.example/queue/" + event
	cookie  = "__Host-onsale_pass_" + event
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2027, 3, 1, 10, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

func (c *clock) Advance(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

// house is an onsale that publishes keys and says whether turns run.
type house struct {
	*httptest.Server

	jwks    atomic.Pointer[[]byte] // nil: 503
	fetches atomic.Int32
	turn    atomic.Int32 // status of check
	nobody  atomic.Int32 // status of check without a pass
	checks  atomic.Int32
}

func newHouse(t testing.TB, keys *pass.KeySet) *house {
	t.Helper()
	h := &house{}
	h.publish(keys)
	h.turn.Store(http.StatusNoContent)
	h.nobody.Store(http.StatusUnauthorized)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		h.fetches.Add(1)
		doc := h.jwks.Load()
		if doc == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(*doc)
	})
	mux.HandleFunc("GET /v1/rooms/{event}/check", func(w http.ResponseWriter, r *http.Request) {
		h.checks.Add(1)
		status := h.turn.Load()
		if r.Header.Get("Authorization") == "" {
			status = h.nobody.Load()
		}
		if r.PathValue("event") != event {
			status = http.StatusNotFound
		}
		w.Header().Set("Location", "https://evil.example/")
		w.WriteHeader(int(status))
	})
	h.Server = httptest.NewServer(mux)
	t.Cleanup(h.Close)
	return h
}

func (h *house) publish(keys *pass.KeySet) {
	if keys == nil {
		h.jwks.Store(nil)
		return
	}
	doc := keys.JWKS()
	h.jwks.Store(&doc)
}

// site is a gate in front of a handler that says who came through.
type site struct {
	t testing.TB
	http.Handler

	entered atomic.Int32
	log     strings.Builder
}

func newSite(t testing.TB, o gate.Options) *site {
	t.Helper()
	s := &site{t: t}
	o.Event, o.Site = event, "https://shop.example"
	if o.Onsale == "" {
		o.Onsale = "https://tickets.example"
	}
	o.Queue = queue
	o.Logger = slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g, err := gate.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	s.Handler = g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.entered.Add(1)
		p, ok := gate.From(r.Context())
		_, _ = fmt.Fprintf(w, "%v %s header=%s lease=%s uri=%s query=%s", ok, p.Visitor,
			strings.Join(r.Header.Values(gate.VisitorHeader), "|"), r.Header.Get(gate.LeaseEndsHeader), r.RequestURI, r.URL.RawQuery)
	}))
	return s
}

func (s *site) ask(method, target string, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

var browser = []string{"Accept", "text/html,application/xhtml+xml", "Sec-Fetch-Mode", "navigate"}

func signed(keys *pass.KeySet, now time.Time, change func(*pass.Pass)) string {
	p := pass.Pass{Visitor: visitor, Event: event, Claimed: now.Add(-time.Minute), Expires: now.Add(10 * time.Minute)}
	if change != nil {
		change(&p)
	}
	return keys.SignPass(p)
}

func TestGoodPassesGoThrough(t *testing.T) {
	t.Parallel()
	keys, c := pass.Generate(), newClock()
	s := newSite(t, gate.Options{Keys: keys.Public(), Now: c.Now})
	token := signed(keys, c.Now(), nil)
	for name, headers := range map[string][]string{
		"cookie":                           {"Cookie", cookie + "=" + token},
		"bearer":                           {"Authorization", "Bearer " + token},
		"bearer in lower case":             {"Authorization", "bearer  " + token},
		"cookie beside the site's bearer":  {"Cookie", cookie + "=" + token, "Authorization", "Bearer theirs"},
		"bearer beside an old cookie":      {"Cookie", cookie + "=old", "Authorization", "Bearer " + token},
		"the second of two cookies":        {"Cookie", cookie + "=old; " + cookie + "=" + token},
		"with headers that claim somebody": {"Cookie", cookie + "=" + token, gate.VisitorHeader, "admin", gate.VisitorHeader, "root", gate.LeaseEndsHeader, "never"},
	} {
		w := s.ask("GET", "/buy?x=1", headers...)
		if want := "true " + visitor + " header=" + visitor + " lease=2027-03-01T10:10:00Z uri=/buy?x=1 query=x=1"; w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// forge makes a token by hand.
func forge(sign func(text string) []byte, header, payload map[string]any) string {
	h, _ := json.Marshal(header)
	p, _ := json.Marshal(payload)
	text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(p)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign(text))
}

func TestForgedPassesAreRefused(t *testing.T) {
	t.Parallel()
	keys, c := pass.Generate(), newClock()
	h := newHouse(t, keys)
	now := c.Now()
	seed, _ := base64.RawURLEncoding.DecodeString(keys.Secret())
	private := ed25519.NewKeyFromSeed(seed)
	public := private.Public().(ed25519.PublicKey)
	kid := pass.KeyID(signed(keys, now, nil))
	genuine := func(text string) []byte { return ed25519.Sign(private, []byte(text)) }
	mac := func(key []byte) func(string) []byte {
		return func(text string) []byte { m := hmac.New(sha256.New, key); m.Write([]byte(text)); return m.Sum(nil) }
	}
	none := func(string) []byte { return nil }
	head := func(alg, typ string) map[string]any { return map[string]any{"alg": alg, "kid": kid, "typ": typ} }
	body := func(changes ...any) map[string]any {
		b := map[string]any{"iss": "onsale", "sub": visitor, "aud": event, "iat": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Minute).Unix()}
		for i := 0; i < len(changes); i += 2 {
			b[changes[i].(string)] = changes[i+1]
		}
		return b
	}
	const typ = "onsale-pass+jwt"
	good := forge(genuine, head("EdDSA", typ), body())
	thirdParty := signed(pass.Generate(), now, nil)
	cases := map[string]string{
		"another key":                   thirdParty,
		"another key under our kid":     forge(func(text string) []byte { _, k, _ := ed25519.GenerateKey(nil); return ed25519.Sign(k, []byte(text)) }, head("EdDSA", typ), body()),
		"HS256 with the public key":     forge(mac(public), head("HS256", typ), body()),
		"HS256 with the published text": forge(mac([]byte(base64.RawURLEncoding.EncodeToString(public))), head("HS256", typ), body()),
		"HS256 with the whole key set":  forge(mac(keys.JWKS()), head("HS256", typ), body()),
		"none":                          forge(none, head("none", typ), body()),
		"nOnE":                          forge(none, head("nOnE", typ), body()),
		"EdDSA without a signature":     forge(none, head("EdDSA", typ), body()),
		"a genuine signature, alg none": forge(genuine, head("none", typ), body()),
		"a key it brings along":         forge(genuine, map[string]any{"alg": "EdDSA", "kid": kid, "typ": typ, "jku": "https://evil.example/jwks.json"}, body()),
		"plain typ":                     forge(genuine, head("EdDSA", "JWT"), body()),
		"another issuer":                forge(genuine, head("EdDSA", typ), body("iss", "elsewhere")),
		"another event":                 signed(keys, now, func(p *pass.Pass) { p.Event = other }),
		"two events":                    forge(genuine, head("EdDSA", typ), body("aud", []string{other})),
		"lapsed":                        signed(keys, now, func(p *pass.Pass) { p.Expires = now }),
		"for ever":                      forge(genuine, head("EdDSA", typ), body("exp", nil)),
		"not yet":                       forge(genuine, head("EdDSA", typ), body("nbf", now.Add(time.Minute).Unix())),
		"nobody's":                      forge(genuine, head("EdDSA", typ), body("sub", "admin")),
		"a visitor token":               keys.SignVisitor(visitor, now.Add(time.Hour)),
		"a receipt":                     keys.SignReceipt(pass.Receipt{Visitor: visitor, Event: event, Place: 1, Epoch: 1}),
		"an order token":                keys.SignOrder("order", now.Add(time.Hour)),
		"cut short":                     good[:len(good)-1],
		"with a tail":                   good + "A",
		"rubbish":                       "a.b.c",
		"endless":                       good + strings.Repeat("A", 4000),
	}
	for _, options := range []gate.Options{{Keys: keys.Public(), Now: c.Now}, {Onsale: h.URL, Now: c.Now}, {Onsale: h.URL, Now: c.Now, CheckEvery: time.Minute}} {
		s := newSite(t, options)
		if w := s.ask("GET", "/", "Cookie", cookie+"="+good); w.Code != 200 {
			t.Fatalf("the hand-made good pass is refused, so this test shows nothing: %d %s", w.Code, w.Body)
		}
		s.entered.Store(0)
		for name, token := range cases {
			for where, w := range map[string]*httptest.ResponseRecorder{
				"cookie": s.ask("GET", "/", "Cookie", cookie+"="+token), "bearer": s.ask("GET", "/", "Authorization", "Bearer "+token),
				"page":  s.ask("GET", "/", append([]string{"Cookie", cookie + "=" + token}, browser...)...),
				"query": s.ask("GET", "/?onsale_pass="+url.QueryEscape(token)),
			} {
				want := map[string]int{"cookie": 401, "bearer": 401, "page": 303, "query": 403}[where]
				if w.Code != want || w.Header().Get("Set-Cookie") != "" {
					t.Errorf("%s in the %s: %d, cookie %q: %s", name, where, w.Code, w.Header().Get("Set-Cookie"), w.Body)
				}
			}
		}
		if n := s.entered.Load(); n != 0 {
			t.Errorf("%d forged passes went through", n)
		}
		if strings.Contains(s.log.String(), good[:40]) || strings.Contains(s.log.String(), thirdParty) {
			t.Error("a pass is in the log")
		}
	}
	if n := h.checks.Load(); n > 2 {
		t.Errorf("onsale was asked %d times about passes that do not verify", n)
	}
}

func TestPassEndsWithItsLease(t *testing.T) {
	t.Parallel()
	keys, c := pass.Generate(), newClock()
	s := newSite(t, gate.Options{Keys: keys.Public(), Now: c.Now})
	token := signed(keys, c.Now(), nil)
	ask := func() int { return s.ask("GET", "/", "Cookie", cookie+"="+token).Code }
	c.Advance(10*time.Minute - time.Nanosecond)
	if code := ask(); code != 200 {
		t.Errorf("before the end: %d", code)
	}
	c.Advance(time.Nanosecond)
	if code := ask(); code != 401 {
		t.Errorf("at the end: %d", code)
	}
}

func TestWithoutAPass(t *testing.T) {
	t.Parallel()
	s := newSite(t, gate.Options{Keys: pass.Generate().Public(), Exempt: func(r *http.Request) bool { return r.URL.Path == "/health" }})
	to := func(back string) string { return queue + "?return=" + url.QueryEscape(back) }
	for _, c := range []struct {
		name, method, target string
		headers              []string
		location             string // "": 401
	}{
		{"a page", "GET", "/buy?x=1&y=%20", browser, to("https://shop.example/buy?x=1&y=%20")},
		{"a page of an old browser", "GET", "/", []string{"Accept", "text/html"}, to("https://shop.example/")},
		{"another host in the request", "GET", "http://evil.example/a", browser, to("https://shop.example/a")},
		{"another host in the path", "GET", "//evil.example/a", browser, to("https://shop.example/evil.example/a")},
		{"a form", "POST", "/cart", browser, to("https://shop.example/")},
		{"an endless address", "GET", "/" + strings.Repeat("a", 3000), browser, to("https://shop.example/")},
		{"a script's request", "GET", "/api", []string{"Accept", "text/html", "Sec-Fetch-Mode", "cors"}, ""},
		{"a picture", "GET", "/a.png", []string{"Accept", "image/avif,image/webp,*/*", "Sec-Fetch-Mode", "no-cors"}, ""},
		{"an app", "GET", "/api", []string{"Accept", "application/json"}, ""},
		{"curl", "GET", "/", nil, ""},
		{"jQuery", "GET", "/part", []string{"Accept", "text/html, */*", "X-Requested-With", "XMLHttpRequest"}, ""},
		{"a WebSocket", "GET", "/ws", []string{"Connection", "Upgrade", "Upgrade", "websocket", "Accept", "text/html"}, ""},
	} {
		w := s.ask(c.method, c.target, c.headers...)
		h := w.Header()
		if h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: headers %v", c.name, h)
		}
		if c.location != "" {
			if w.Code != 303 || h.Get("Location") != c.location {
				t.Errorf("%s: %d, sent to %q, want %q", c.name, w.Code, h.Get("Location"), c.location)
			}
			continue
		}
		var doc struct {
			Type, Queue string
			Status      int
		}
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != 401 || doc.Status != 401 || !strings.HasSuffix(doc.Type, "/pass-required") ||
			!strings.HasPrefix(doc.Queue, queue+"?return=") || h.Get("Content-Type") != "application/problem+json" || h.Get("WWW-Authenticate") == "" || h.Get("Location") != "" {
			t.Errorf("%s: %d %v %s", c.name, w.Code, h, w.Body)
		}
	}
	if n := s.entered.Load(); n != 0 {
		t.Errorf("%d went through", n)
	}
	if w := s.ask("GET", "/health", gate.VisitorHeader, "admin"); w.Code != 200 || !strings.Contains(w.Body.String(), "false  header= ") {
		t.Errorf("an exempt request: %d %s", w.Code, w.Body)
	}
}

// TestPassMovesFromTheAddressIntoACookie, and nowhere else.
func TestPassMovesFromTheAddressIntoACookie(t *testing.T) {
	t.Parallel()
	keys, c := pass.Generate(), newClock()
	s := newSite(t, gate.Options{Keys: keys.Public(), Now: c.Now})
	token := signed(keys, c.Now(), nil)
	for target, clean := range map[string]string{
		"/?onsale_pass=" + token:                              "/",
		"/buy?x=1&onsale_pass=" + token + "&y=%2F":            "/buy?x=1&y=%2F",
		"/buy?onsale%5Fpass=" + token + "&onsale_pass=" + "x": "/buy",
		"//evil.example/?onsale_pass=" + token:                "/evil.example/",
		"///evil.example/?onsale_pass=" + token:               "/evil.example/",
		"/%5Cevil.example/?onsale_pass=" + token:              "/%5Cevil.example/",
		"/%2F/evil.example?onsale_pass=" + token:              "/%2F/evil.example",
		"http://evil.example/a?onsale_pass=" + token:          "/a",
		"/?next=https://evil.example/&onsale_pass=" + token:   "/?next=https://evil.example/",
	} {
		w := s.ask("GET", target, browser...)
		h := w.Header()
		if w.Code != 303 || h.Get("Location") != clean || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" || w.Body.Len() != 0 {
			t.Errorf("%.60s: %d %v %s", target, w.Code, h, w.Body)
		}
		cookies := w.Result().Cookies()
		if len(cookies) != 1 || cookies[0].Name != cookie || cookies[0].Value != token || !cookies[0].HttpOnly || !cookies[0].Secure ||
			cookies[0].SameSite != http.SameSiteLaxMode || cookies[0].Path != "/" || cookies[0].Domain != "" || cookies[0].MaxAge != 600 {
			t.Errorf("%.60s: cookies %v", target, cookies)
		}
	}
	// Who is in already stays who they are.
	rival := signed(keys, c.Now(), func(p *pass.Pass) { p.Visitor = "BBECAwQFBgcICQoLDA0ODw" })
	if w := s.ask("GET", "/a?onsale_pass="+rival, "Cookie", cookie+"="+token); w.Code != 303 || w.Header().Get("Location") != "/a" || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("another's pass in a link: %d %v", w.Code, w.Header())
	}
	// What is sent with a pass in its address goes on without it.
	if w := s.ask("POST", "/a?onsale_pass="+token+"&x=1", "Authorization", "Bearer "+token); w.Code != 200 || strings.Contains(w.Body.String(), token) ||
		!strings.Contains(w.Body.String(), "uri=/a?x=1 query=x=1") {
		t.Errorf("a POST with a pass in its address: %d %s", w.Code, w.Body)
	}
	if w := s.ask("POST", "/a?onsale_pass="+token); w.Code != 401 || strings.Contains(w.Body.String(), token) {
		t.Errorf("a POST with a pass in its address alone: %d %s", w.Code, w.Body)
	}
	// A refused one is explained, without sending anybody to and fro, and without repeating it.
	lapsed := signed(keys, c.Now(), func(p *pass.Pass) { p.Expires = c.Now() })
	w := s.ask("GET", "/a?onsale_pass="+lapsed+"&b=1", browser...)
	if text := w.Body.String(); w.Code != 403 || !strings.Contains(text, `href="/a?b=1"`) || !strings.Contains(text, `href="`+queue) || strings.Contains(text, lapsed) ||
		w.Header().Get("Location") != "" || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("a lapsed pass in the address: %d %v %s", w.Code, w.Header(), text)
	}
	if strings.Contains(s.log.String(), token) || strings.Contains(s.log.String(), lapsed) {
		t.Error("a pass is in the log")
	}
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	old, c := pass.Generate(), newClock()
	h := newHouse(t, old)
	s := newSite(t, gate.Options{Onsale: h.URL, Now: c.Now})
	ask := func(keys *pass.KeySet) int {
		return s.ask("GET", "/", "Cookie", cookie+"="+signed(keys, c.Now(), nil)).Code
	}
	if code := ask(old); code != 200 || h.fetches.Load() != 1 {
		t.Fatalf("%d after %d fetches", code, h.fetches.Load())
	}
	ask(old)
	// A new key is found by the pass that names it, as soon as one may fetch again.
	fresh := pass.Generate()
	both, err := pass.ParseKeySet(fresh.Secret() + "," + old.Secret())
	if err != nil {
		t.Fatal(err)
	}
	h.publish(both)
	if code := ask(fresh); code != 401 || h.fetches.Load() != 1 {
		t.Errorf("within the limit: %d after %d fetches", code, h.fetches.Load())
	}
	c.Advance(5 * time.Second)
	if code := ask(fresh); code != 200 || h.fetches.Load() != 2 {
		t.Errorf("a new key: %d after %d fetches", code, h.fetches.Load())
	}
	if code := ask(old); code != 200 {
		t.Errorf("the old key, which is still published: %d", code)
	}
	// Made-up keys cause a fetch every five seconds, however many come.
	for range 10 {
		c.Advance(time.Second)
		for range 50 {
			if code := ask(pass.Generate()); code != 401 {
				t.Fatalf("a made-up key: %d", code)
			}
		}
	}
	if n := h.fetches.Load(); n != 4 {
		t.Errorf("%d fetches, want two more in ten seconds", n)
	}
	// Keys that are withdrawn are forgotten when the known ones have grown old.
	h.publish(fresh)
	c.Advance(5 * time.Minute)
	deadline := time.Now().Add(time.Minute)
	for ask(old) != 401 {
		if time.Now().After(deadline) {
			t.Fatal("a withdrawn key is believed for ever")
		}
	}
	if code := ask(fresh); code != 200 {
		t.Errorf("the key that stays: %d", code)
	}
}

func TestKeysCannotBeFetched(t *testing.T) {
	t.Parallel()
	keys, c := pass.Generate(), newClock()
	h := newHouse(t, nil)
	s := newSite(t, gate.Options{Onsale: h.URL, Now: c.Now})
	ask := func(headers ...string) *httptest.ResponseRecorder {
		return s.ask("GET", "/", append(headers, "Cookie", cookie+"="+signed(keys, c.Now(), nil))...)
	}
	// Without any keys nobody gets in, nor is sent to a queue that sends them back.
	for _, w := range []*httptest.ResponseRecorder{ask(), ask(browser...), s.ask("GET", "/?onsale_pass="+signed(keys, c.Now(), nil), browser...)} {
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("Location") != "" || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("no keys: %d %v", w.Code, w.Header())
		}
	}
	if n := h.fetches.Load(); n != 1 {
		t.Errorf("%d fetches while they fail", n)
	}
	if w := s.ask("GET", "/", browser...); w.Code != 303 {
		t.Errorf("no keys and no pass: %d", w.Code)
	}
	for _, doc := range []string{"<html>", `{"keys":[]}`, strings.Repeat("x", 1<<20)} {
		b := []byte(doc)
		h.jwks.Store(&b)
		c.Advance(5 * time.Second)
		if w := ask(); w.Code != 503 {
			t.Errorf("keys that are none: %d", w.Code)
		}
	}
	h.publish(keys)
	c.Advance(5 * time.Second)
	if w := ask(); w.Code != 200 {
		t.Fatalf("the keys are back: %d", w.Code)
	}
	// The last good ones stay through any outage.
	h.publish(nil)
	for range 20 {
		c.Advance(time.Hour)
		if w := ask(); w.Code != 200 {
			t.Fatalf("during an outage: %d", w.Code)
		}
	}
	h.CloseClientConnections()
	h.Close()
	c.Advance(time.Hour)
	if w := ask(); w.Code != 200 {
		t.Errorf("onsale is gone: %d", w.Code)
	}
}

// TestSlowKeysHaveADeadline, and Close ends the fetch.
func TestSlowKeysHaveADeadline(t *testing.T) {
	t.Parallel()
	keys := pass.Generate()
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hang.Close()
	g, err := gate.New(gate.Options{Event: event, Onsale: hang.URL, Timeout: 30 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(ctx context.Context, g *gate.Gate) int {
		r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+signed(keys, time.Now(), nil))
		w := httptest.NewRecorder()
		g.Protect(http.NotFoundHandler()).ServeHTTP(w, r)
		return w.Code
	}
	if code := ask(t.Context(), g); code != 503 {
		t.Errorf("keys that do not come: %d", code)
	}
	g.Close()
	// A client that goes away does not wait, and the fetch ends with the gate.
	if g, err = gate.New(gate.Options{Event: event, Onsale: hang.URL, Timeout: time.Hour}); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if code := ask(gone, g); code != 503 {
		t.Errorf("a client that went away: %d", code)
	}
	g.Close()
	if code := ask(t.Context(), g); code != 503 {
		t.Errorf("after Close: %d", code)
	}
}

func TestTurnThatEndedEarly(t *testing.T) {
	t.Parallel()
	keys, c := pass.Generate(), newClock()
	h := newHouse(t, keys)
	s := newSite(t, gate.Options{Onsale: h.URL, Now: c.Now, CheckEvery: 10 * time.Second})
	token := signed(keys, c.Now(), nil)
	ask := func(headers ...string) int {
		return s.ask("GET", "/", append(headers, "Cookie", cookie+"="+token)...).Code
	}
	for range 20 {
		if code := ask(); code != 200 {
			t.Fatalf("a turn that runs: %d", code)
		}
	}
	if n := h.checks.Load(); n != 1 {
		t.Errorf("asked %d times within ten seconds", n)
	}
	h.turn.Store(http.StatusUnauthorized)
	if code := ask(); code != 200 {
		t.Errorf("before the answer has grown old: %d", code)
	}
	c.Advance(10 * time.Second)
	if code := ask(); code != 401 {
		t.Errorf("the turn is over: %d", code)
	}
	if code := ask(browser...); code != 303 {
		t.Errorf("the turn is over, a page: %d", code)
	}
	if w := s.ask("GET", "/?onsale_pass="+token, browser...); w.Code != 403 || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("the turn is over, in the address: %d", w.Code)
	}
	// While onsale says nothing useful, a pass that verifies is enough.
	for _, status := range []int32{500, 503, 404, 429, 302, 200} {
		h.turn.Store(status)
		c.Advance(10 * time.Second)
		before := h.checks.Load()
		for range 5 {
			if code := ask(); code != 200 {
				t.Errorf("check answers %d: %d", status, code)
			}
		}
		if n := h.checks.Load() - before; n != 1 {
			t.Errorf("check answers %d: asked %d times", status, n)
		}
		if code := s.ask("GET", "/").Code; code != 401 {
			t.Errorf("check answers %d: without a pass: %d", status, code)
		}
	}
	h.Close()
	c.Advance(10 * time.Second)
	if code := ask(); code != 200 {
		t.Errorf("onsale is gone: %d", code)
	}
	c.Advance(time.Hour)
	if code := ask(); code != 401 {
		t.Errorf("onsale is gone and the lease is over: %d", code)
	}
}

// TestRoomThatLetsEverybodyThrough is what a check without a pass says.
func TestRoomThatLetsEverybodyThrough(t *testing.T) {
	t.Parallel()
	keys, c := pass.Generate(), newClock()
	h := newHouse(t, keys)
	h.nobody.Store(http.StatusNoContent)
	s := newSite(t, gate.Options{Onsale: h.URL, Now: c.Now, CheckEvery: 10 * time.Second})
	if w := s.ask("GET", "/", gate.VisitorHeader, "admin"); w.Code != 200 || !strings.HasPrefix(w.Body.String(), "false  header= ") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := s.ask("GET", "/a?onsale_pass=rubbish", browser...); w.Code != 303 || w.Header().Get("Location") != "/a" || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("with rubbish in the address: %d %v", w.Code, w.Header())
	}
	h.nobody.Store(http.StatusUnauthorized)
	c.Advance(10 * time.Second)
	if w := s.ask("GET", "/"); w.Code != 401 {
		t.Errorf("when that is over: %d", w.Code)
	}
}

func TestManyAtOnceAskOnce(t *testing.T) {
	t.Parallel()
	keys, c := pass.Generate(), newClock()
	h := newHouse(t, keys)
	s := newSite(t, gate.Options{Onsale: h.URL, Now: c.Now, CheckEvery: time.Minute})
	token := signed(keys, c.Now(), nil)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if code := s.ask("GET", "/", "Cookie", cookie+"="+token).Code; code != 200 {
				t.Errorf("%d", code)
			}
		})
	}
	all.Wait()
	if f, n := h.fetches.Load(), h.checks.Load(); f != 1 || n != 1 {
		t.Errorf("%d fetches of keys and %d checks", f, n)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]gate.Options{
		"nothing": {}, "no event": {Onsale: "https://tickets.example"}, "no onsale": {Event: event},
		"an event that is a path": {Event: "../x", Onsale: "https://tickets.example"},
		"no scheme":               {Event: event, Onsale: "tickets.example"},
		"another scheme":          {Event: event, Onsale: "ftp://tickets.example"},
		"a password":              {Event: event, Onsale: "https://a:b@tickets.example"},
		"a site with a path":      {Event: event, Onsale: "https://tickets.example", Site: "https://shop.example/a"},
		"a queue that is a path":  {Event: event, Onsale: "https://tickets.example", Queue: "/queue"},
		"keys from nowhere":       {Event: event, Onsale: "https://tickets.example", JWKS: "jwks.json"},
		"a negative time":         {Event: event, Onsale: "https://tickets.example", CheckEvery: -1},
	} {
		if _, err := gate.New(o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// FuzzAddress holds that a redirect of the gate stays on the host, loses the
// pass and keeps the rest, whatever address was asked for.
func FuzzAddress(f *testing.F) {
	keys, c := pass.Generate(), newClock()
	token := signed(keys, c.Now(), nil)
	for _, seed := range [][2]string{
		{"/", "onsale_pass=PASS"}, {"//evil.example/", "onsale_pass=PASS"}, {`/\evil.example`, "a=1&onsale_pass=PASS"}, {"/\t/evil.example", "onsale_pass=PASS&b"},
		{"http://evil.example", "onsale_pass=PASS"}, {"", "onsale%5fpass=PASS&x=%zz;y"}, {"/a\r\nSet-Cookie: x=y", "onsale_pass=PASS&a=\r\nX: y"}, {"*", "onsale_pass=PASS&onsale_pass=PASS"},
		{"/ö", "ö=ü&onsale_pass=PASS"}, {"/..//evil.example", "onsale_pass=PASS"},
	} {
		f.Add(seed[0], seed[1])
	}
	s := newSite(f, gate.Options{Keys: keys.Public(), Now: c.Now})
	f.Fuzz(func(t *testing.T, path, query string) {
		query = strings.ReplaceAll(query, "PASS", token)
		for _, raw := range []string{"", path} {
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
			r.URL = &url.URL{Path: path, RawPath: raw, RawQuery: query}
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			to := w.Header().Get("Location")
			if to == "" {
				if w.Code != 403 {
					t.Errorf("%q?%q: %d", path, query, w.Code)
				}
				continue
			}
			if strings.ContainsFunc(to, func(c rune) bool { return c <= ' ' || c > '~' || c == '\\' }) {
				t.Errorf("%q?%q: Location %q", path, query, to)
			}
			base, _ := url.Parse("https://shop.example/x")
			u, err := base.Parse(to)
			if w.Header().Get("Set-Cookie") == "" { // to the queue
				if err != nil || !strings.HasPrefix(to, queue+"?return=") || !strings.HasPrefix(u.Query().Get("return"), "https://shop.example/") || carries(u.Query().Get("return")) {
					t.Errorf("%q?%q: Location %q", path, query, to)
				}
				continue
			}
			if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || err == nil && u.Host != "shop.example" {
				t.Errorf("%q?%q: leaves the host: %q", path, query, to)
			}
			if carries(to) {
				t.Errorf("%q?%q: still with a pass: %q", path, query, to)
			}
		}
	})
}

// BenchmarkProtect is what the gate adds to a request with a good pass.
func BenchmarkProtect(b *testing.B) {
	keys, c := pass.Generate(), newClock()
	g, err := gate.New(gate.Options{Event: event, Onsale: "https://tickets.example", Site: "https://shop.example", Keys: keys.Public(), Now: c.Now})
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	site := g.Protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/buy", http.NoBody)
	r.Header.Set("Cookie", cookie+"="+signed(keys, c.Now(), nil))
	w := httptest.NewRecorder()
	for b.Loop() {
		site.ServeHTTP(w, r)
	}
	if w.Code != http.StatusOK {
		b.Fatal(w.Code)
	}
}

// carries reports whether an address has a pass in its query.
func carries(address string) bool {
	_, query, _ := strings.Cut(address, "?")
	q, _ := url.ParseQuery(query) // what can be read of it
	taken, _ := pass.TakeOver(query)
	return taken != "" || q.Has(pass.Parameter)
}

func Example() {
	g, err := gate.New(gate.Options{
		Event:  "0190b0a0-0000-7000-8000-000000000001",
		Onsale: "https://tickets.example",
		Site:   "https://shop.example", // listed in onsale's allowed_origins
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Close()
	shop := g.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := gate.From(r.Context()); ok {
			_, _ = fmt.Fprintf(w, "Welcome, %s. Your time ends at %s.", p.Visitor, p.Expires)
		}
	}))

	// Somebody without a pass opens a page.
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "https://shop.example/seats?block=C", http.NoBody)
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	shop.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Location"))
	// Output: 303 https://tickets.example/queue/0190b0a0-0000-7000-8000-000000000001?return=https%3A%2F%2Fshop.example%2Fseats%3Fblock%3DC
}
