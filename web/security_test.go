package web_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"onsale/web"
	"onsale/web/ui"
)

// TestHeaders of all kinds of answers.
func TestHeaders(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	m := s.admitted(s.event)
	h := s.held(s.event, m.Pass, s.tickets[0])
	o := s.ordered(m.Pass, h)
	event, order := "/v1/events/"+s.event, "/v1/orders/"+o.Order
	for _, c := range []struct {
		method, path string
		who          func(*http.Request)
		status       int
		private      bool
	}{
		{"GET", "/v1/events", asOperator, 200, false},
		{"GET", event, asOperator, 200, false},
		{"GET", event + "/plan", asOperator, 200, false},
		{"GET", event + "/availability", asOperator, 200, false},
		{"GET", "/.well-known/jwks.json", asOperator, 200, false},
		{"GET", "/openapi.json", asOperator, 200, false},
		{"GET", "/docs", asOperator, 200, false},
		{"POST", "/v1/rooms/" + s.event + "/join", bearing(m.VisitorToken), 200, true},
		{"GET", "/v1/rooms/" + s.event + "/me", bearing(m.VisitorToken), 200, true},
		{"POST", "/v1/rooms/" + s.event + "/claim", bearing(m.VisitorToken), 200, true},
		{"GET", "/v1/rooms/" + s.event + "/check", bearing(m.Pass), 204, true},
		{"GET", "/v1/rooms/" + s.event + "/check", bearing("x"), 401, true},
		{"GET", event + "/holds", bearing(m.Pass), 200, true},
		{"GET", event + "/holds/" + h.Hold, bearing(m.Pass), 200, true},
		{"GET", order, bearing(o.Token), 200, true},
		{"GET", order + "/tickets", bearing(o.Token), 200, true},
		{"GET", "/v1/admin/events", asOperator, 200, true},
		{"GET", "/v1/admin/orders", asOperator, 200, true},
		{"GET", "/v1/admin/rooms", asOperator, 200, true},
		{"GET", "/v1/admin/audit", asOperator, 200, true},
		{"GET", "/sandbox/actions/" + o.Order, asOperator, 200, true},
		{"GET", "/healthz", asOperator, 200, true},
		{"GET", "/readyz", asOperator, 200, true},
		{"GET", "/nothing", asOperator, 404, true},
		{"GET", "/v1/events/1", asOperator, 404, true},
		{"PUT", "/v1/orders", asOperator, 405, true},
		{"POST", "/v1/orders", asOperator, 401, true},
	} {
		r := s.do(c.method, c.path, "", c.who)
		if r.status != c.status {
			t.Errorf("%s: %d, want %d: %.200s", r.asked, r.status, c.status, r.body)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "^nosniff$", "Referrer-Policy": "^strict-origin-when-cross-origin$", "Cross-Origin-Opener-Policy": "^same-origin$",
			"Content-Security-Policy": "^default-src 'none';.*frame-ancestors 'none'", "X-Request-Id": "^[0-9A-Za-z-]{8,64}$",
		} {
			if got := r.header.Get(name); !regexp.MustCompile(want).MatchString(got) {
				t.Errorf("%s: %s: %q", r.asked, name, got)
			}
		}
		if policy := r.header.Get("Content-Security-Policy"); strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
			t.Errorf("%s: policy %q", r.asked, policy)
		}
		if got := r.header.Get("Cache-Control"); c.private != strings.Contains(got, "no-store") {
			t.Errorf("%s: Cache-Control: %q", r.asked, got)
		}
		if r.header.Get("Strict-Transport-Security") != "" || r.header.Get("Server") != "" {
			t.Errorf("%s: headers %v", r.asked, r.header)
		}
		if c.status == 401 && r.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no WWW-Authenticate", r.asked)
		}
	}
	for sent, kept := range map[string]bool{
		"0190b0a0-0000-7000-8000-000000000001": true, "proxy_request_17": true, "short": false, "": false,
		"a long sentence, with spaces": false, strings.Repeat("x", 65): false, "<script>alert(1)</script>": false,
	} {
		got := s.get("/v1/events/1", header("X-Request-Id", sent))
		if name := got.header.Get("X-Request-ID"); (name == sent) != kept || got.problem().RequestID != name {
			t.Errorf("request id %q became %q, and %q in the problem", sent, name, got.problem().RequestID)
		}
	}
}

// TestPagesRunNothingForeign holds the pages against their policies: nothing
// inline that is not hashed, and nothing from elsewhere.
func TestPagesRunNothingForeign(t *testing.T) {
	t.Parallel()
	if _, err := fs.Stat(ui.Dist, "dist/csp.json"); err != nil {
		t.Skip("the pages are not built: make ui")
	}
	s := newStage(t, stageOptions{})
	script := regexp.MustCompile(`(?s)<script([^>]*)>(.*?)</script>`)
	style := regexp.MustCompile(`(?s)<style[^>]*>(.*?)</style>`)
	data := regexp.MustCompile(`type="application/(ld[+])?json"`)
	handler := regexp.MustCompile(`<[^>]*\s(on[a-z]+|style)\s*=`)
	source := regexp.MustCompile(`<(?:script|img|iframe|object|embed|form|link)[^>]*\s(?:src|data|action|href)="([^"]*)"`)
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	for _, path := range []string{"/", "/queue/" + s.event, "/events/" + s.event, "/checkout/" + s.event, "/orders/" + s.event, "/console", "/docs"} {
		page := s.get(path, header("Accept", "text/html")).ok(200, nil)
		policy, html := page.header.Get("Content-Security-Policy"), string(page.body)
		if !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") || !strings.Contains(html, "<title>") || strings.Contains(html, "<!--onsale:") {
			t.Errorf("%s is no finished page: %.200s", path, html)
		}
		for _, want := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action '"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: policy without %s: %s", path, want, policy)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") || strings.Contains(policy, "*") {
			t.Errorf("%s: policy %s", path, policy)
		}
		for _, m := range script.FindAllStringSubmatch(html, -1) {
			if !strings.Contains(m[1], "src=") && !data.MatchString(m[1]) && !strings.Contains(policy, hash(m[2])) {
				t.Errorf("%s: a script that the policy does not allow: %.100s", path, m[0])
			}
		}
		for _, m := range style.FindAllStringSubmatch(html, -1) {
			if !strings.Contains(policy, hash(m[1])) {
				t.Errorf("%s: a style that the policy does not allow: %.100s", path, m[0])
			}
		}
		if found := handler.FindString(html); found != "" {
			t.Errorf("%s: inline code that the policy does not allow: %.100s", path, found)
		}
		for _, m := range source.FindAllStringSubmatch(html, -1) {
			if u, err := url.Parse(m[1]); err != nil || u.Host != "" && !strings.HasPrefix(m[1], s.url) {
				t.Errorf("%s: loads %s", path, m[0])
			}
		}
	}
	// What an operator writes is text in every page.
	evil := `</script><script>alert(1)</script><img src=x onerror=alert(1)>`
	id := s.newEvent("Evil", "on_sale")
	name, err := json.Marshal(map[string]string{"name": evil, "description": evil})
	must(t, err)
	s.do("PATCH", "/v1/admin/events/"+id, string(name), asOperator).ok(200, nil)
	message, err := json.Marshal(map[string]string{"message": evil})
	must(t, err)
	s.post("/v1/admin/rooms/"+id+"/message", string(message), asOperator).ok(200, nil)
	for _, path := range []string{"/", "/events/" + id, "/queue/" + id} {
		page := eventually(t, "the new name is shown at "+path, func() string {
			return string(s.get(path, header("Accept", "text/html")).ok(200, nil).body)
		}, func(html string) bool { return strings.Contains(html, "alert(1)") })
		if strings.Contains(page, "<script>alert") || strings.Contains(page, "<img src=x") {
			t.Errorf("%s runs what an operator wrote: %s", path, page)
		}
	}
}

// TestBrowserShopsWithCookies at two events at once.
func TestBrowserShopsWithCookies(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	second := s.newEvent("Second night", "on_sale")
	jar, err := cookiejar.New(nil)
	must(t, err)
	s.http.Jar = jar
	page := func(r *http.Request) { // as fetch sends it
		r.Header.Set("Origin", s.url)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, event := range []string{s.event, second} {
		var m me
		joined := s.post("/v1/rooms/"+event+"/join", "{}", page).ok(200, &m)
		eventually(t, "the turn", func() (m me) { s.get("/v1/rooms/"+event+"/me", page).ok(200, &m); return m }, func(m me) bool { return m.State == "ready" })
		claimed := s.post("/v1/rooms/"+event+"/claim", "", page).ok(200, &m)
		for _, cookie := range append((&http.Response{Header: joined.header}).Cookies(), (&http.Response{Header: claimed.header}).Cookies()...) {
			if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Domain != "" || cookie.Secure ||
				!cookie.Expires.After(time.Now()) || cookie.Name != "onsale_visitor" && cookie.Name != "onsale_pass_"+event {
				t.Errorf("cookie %s", cookie)
			}
		}
	}
	here, err := url.Parse(s.url)
	must(t, err)
	if n := len(jar.Cookies(here)); n != 3 {
		t.Errorf("%d cookies, want one of the visitor and two passes", n)
	}
	for _, event := range []string{second, s.event} {
		var h hold
		var o order
		s.post("/v1/events/"+event+"/holds", `{"best_available":{"quantity":1}}`, page).ok(201, &h)
		s.post("/v1/orders", `{"hold":"`+h.Hold+`",`+someBuyer+`}`, page, keyed("order "+event)).ok(201, &o)
		s.post("/v1/orders/"+o.Order+"/pay", `{"method":"tok_ok"}`, page, keyed("pay")).ok(200, &o)
		if o.Status != "paid" {
			t.Errorf("order: %+v", o)
		}
	}
	s.post("/v1/orders", `{"hold":"`+s.event+`",`+someBuyer+`}`, page, keyed("none")).refused(409, "hold-lapsed")
}

// TestBehindTLS: what changes when browsers come over https.
func TestBehindTLS(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{joins: 3, deps: func(d *web.Deps) { d.PublicURL = &url.URL{Scheme: "https", Host: "tickets.example"} }})
	joined := s.post("/v1/rooms/"+s.event+"/join", "{}", header("Origin", "https://tickets.example")).ok(200, nil)
	if got := joined.header.Get("Strict-Transport-Security"); !strings.HasPrefix(got, "max-age=") {
		t.Errorf("Strict-Transport-Security: %q", got)
	}
	m := s.admitted(s.event)
	claimed := s.post("/v1/rooms/"+s.event+"/claim", "", bearing(m.VisitorToken)).ok(200, nil)
	var names []string
	for _, r := range []reply{joined, claimed} {
		for _, cookie := range (&http.Response{Header: r.header}).Cookies() {
			names = append(names, cookie.Name)
			if !cookie.Secure || !cookie.HttpOnly || cookie.Path != "/" || cookie.Domain != "" || cookie.SameSite != http.SameSiteLaxMode {
				t.Errorf("cookie %s", cookie)
			}
		}
	}
	if want := []string{"__Host-onsale_visitor", "__Host-onsale_pass_" + s.event}; !slices.Equal(names, want) {
		t.Errorf("cookies %v, want %v", names, want)
	}
	// A name without the prefix could have been set by a neighbouring host.
	s.get("/v1/rooms/"+s.event+"/me", header("Cookie", "onsale_visitor="+m.VisitorToken)).refused(401, "unknown-visitor")
	s.get("/v1/rooms/"+s.event+"/me", header("Cookie", "__Host-onsale_visitor="+m.VisitorToken)).ok(200, nil)
	s.post("/v1/rooms/"+s.event+"/join", "{}", header("Origin", s.url), header("Sec-Fetch-Site", "cross-site")).refused(403, "forbidden")

	// The address may make three new visitors a minute; two are there.
	s.join(s.event)
	over := s.post("/v1/rooms/"+s.event+"/join", "{}")
	over.refused(429, "too-many-requests")
	if over.header.Get("Retry-After") == "" {
		t.Errorf("headers %v", over.header)
	}
	s.post("/v1/rooms/"+s.event+"/join", "{}", bearing(m.VisitorToken)).ok(200, nil) // a visitor who is known is none of them
}

// TestOtherOrigins: only the allowed ones may call from their pages.
func TestOtherOrigins(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	const partner, evil = "https://partner.example", "https://evil.example"
	shared := func(r reply) string { return r.header.Get("Access-Control-Allow-Origin") }
	preflight := func(origin string) reply {
		return s.do(http.MethodOptions, "/v1/orders", "", header("Origin", origin), header("Access-Control-Request-Method", "POST"),
			header("Access-Control-Request-Headers", "authorization,idempotency-key"), header("Sec-Fetch-Site", "cross-site"))
	}
	ok := preflight(partner).ok(204, nil)
	if shared(ok) != partner || ok.header.Get("Access-Control-Allow-Credentials") != "true" || !strings.Contains(ok.header.Get("Vary"), "Origin") ||
		!strings.Contains(ok.header.Get("Access-Control-Allow-Headers"), "Idempotency-Key") {
		t.Errorf("preflight: %v", ok.header)
	}
	if refused := preflight(evil); shared(refused) != "" || refused.status < 400 {
		t.Errorf("preflight of another origin: %d %v", refused.status, refused.header)
	}
	if r := s.get("/v1/events", header("Origin", partner)).ok(200, nil); shared(r) != partner {
		t.Errorf("read by the partner: %v", r.header)
	}
	for _, origin := range []string{evil, "null", "https://partner.example.evil.example", "http://partner.example", "https://PARTNER.example"} {
		if r := s.get("/v1/events", header("Origin", origin)).ok(200, nil); shared(r) != "" {
			t.Errorf("read by %s: %v", origin, r.header)
		}
	}
	joined := s.post("/v1/rooms/"+s.event+"/join", "{}", header("Origin", partner), header("Sec-Fetch-Site", "cross-site")).ok(200, nil)
	if shared(joined) != partner {
		t.Errorf("join by the partner: %v", joined.header)
	}
}

// TestRedisStops: the catalog goes on, and everything that needs the queue says
// when to come back.
func TestRedisStops(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	m := s.admitted(s.event)
	s.get("/readyz").ok(200, nil)
	must(t, s.redis.Stop(t.Context()))
	for _, r := range []reply{
		s.post("/v1/rooms/"+s.event+"/join", "{}"),
		s.get("/v1/rooms/"+s.event+"/me", bearing(m.VisitorToken)),
		s.post("/v1/events/"+s.event+"/holds", `{"ordinals":[1]}`, bearing(m.Pass)),
		s.post("/reserve_ticket/", `{"ticket_id":"`+s.tickets[0]+`"}`, bearing(m.Pass)),
	} {
		r.refused(503, "unavailable")
		if r.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", r.asked)
		}
	}
	s.get("/v1/rooms/"+s.event+"/check", bearing(m.Pass)).ok(204, nil) // those who are in stay in
	if r := s.get("/readyz"); r.status != 503 {
		t.Errorf("readyz: %d %s", r.status, r.body)
	}
	s.get("/healthz").ok(200, nil)
	s.get("/v1/events").ok(200, nil)
}

// logBook keeps everything that is logged.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestLogsTellNoSecrets at any level, of things that go well and of others.
func TestLogsTellNoSecrets(t *testing.T) {
	t.Parallel()
	var book logBook
	s := newStage(t, stageOptions{log: slog.New(slog.NewJSONHandler(&book, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	joined := s.join(s.event)
	m := s.admitted(s.event)
	room := "/v1/rooms/" + s.event
	s.post(room+"/join", `{"receipt":"`+joined.Receipt+`"}`).ok(200, nil)
	s.get(room+"/check?return=%2Fsecret-place", bearing(m.Pass)).ok(204, nil)
	s.get(room+"/me", header("Cookie", "onsale_visitor="+m.VisitorToken)).ok(200, nil)
	line := s.dial(room+"/ws", nil, "onsale.v1")
	line.say(`{"token":"` + m.VisitorToken + `"}`)
	line.next("Me")
	o := s.ordered(m.Pass, s.held(s.event, m.Pass, s.tickets[0]))
	s.post("/v1/orders/"+o.Order+"/pay", `{"method":"tok_error"}`, bearing(o.Token), keyed("secret-key")).refused(503, "gateway-unavailable")
	s.paid(o, "tok_timeout")
	s.get("/v1/admin/orders?q=ada%40buyers.example", asOperator).ok(200, nil)
	eventually(t, "fulfilled", func() order { return s.orderNow(o) }, func(o order) bool { return o.Status == "fulfilled" })
	s.get("/v1/orders/"+o.Order+"/tickets", bearing(o.Token)).ok(200, nil)
	code := query[string](s, `select code from admissions limit 1`)
	// What is refused is not told either.
	s.get("/v1/orders/"+o.Order, bearing(o.Token+"x")).refused(401, "unauthorized")
	s.get("/v1/admin/rooms", bearing(operator+"x")).refused(401, "unauthorized")
	s.post("/v1/orders", `{"hold":"x","buyer":{"name":"Ada Example","email":"ada@buyers.example"}}`, bearing(m.Pass), keyed("secret-key")).refused(400, "invalid-request")
	// And errors of the stores.
	must(t, s.redis.Stop(context.WithoutCancel(t.Context())))
	s.post("/v1/orders", `{"hold":"`+o.Order+`",`+someBuyer+`}`, bearing(m.Pass), keyed("secret-key")).refused(503, "unavailable")
	s.db.Close()
	s.get("/v1/orders/"+o.Order, bearing(o.Token)).refused(503, "unavailable")

	text := book.String()
	if lines := strings.Count(text, "\n"); lines < 20 || !strings.Contains(text, `"path":"/v1/orders"`) || !strings.Contains(text, `"level":"DEBUG"`) {
		t.Fatalf("the log has %d lines, so this test shows nothing:\n%s", lines, text)
	}
	signature := func(token string) string { return token[strings.LastIndex(token, ".")+1:] }
	for what, secret := range map[string]string{
		"visitor token": signature(m.VisitorToken), "other visitor token": signature(joined.VisitorToken), "receipt": signature(joined.Receipt),
		"pass": signature(m.Pass), "order token": signature(o.Token), "admin token": operator, "signing key": s.keys.Secret(), "ticket code": code,
		"e-mail": "buyers.example", "name": "Ada Example", "idempotency key": "secret-key", "query": "secret-place", "JWT": "eyJ",
	} {
		if secret == "" {
			t.Errorf("no %s to look for", what)
		} else if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("the %s is logged: %s", what, text[max(0, i-300):min(len(text), i+100)])
		}
	}
}
