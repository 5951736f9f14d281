package deploy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.yaml.in/yaml/v3"

	"onsale/internal/stack/stacktest"
	"onsale/waitroom"
	"onsale/waitroom/gate"
	"onsale/waitroom/pass"
	"onsale/waitroom/redisstore"
	"onsale/web"
)

// protectedEvent is the event in the examples.
const protectedEvent = "0190b0a0-0000-7000-8000-000000000001"

// theRoom is an onsale with a waiting room and no shop: what protects somebody
// else's site.
type theRoom struct {
	t     *testing.T
	rooms *waitroom.Service
	keys  *pass.KeySet
	redis *miniredis.Miniredis
	node  *httptest.Server
}

// newRoom starts onsale, which is reached at public.
func newRoom(t *testing.T, public string, allowed ...string) *theRoom {
	t.Helper()
	r := &theRoom{t: t, keys: pass.Generate(), redis: miniredis.RunT(t)}
	rdb := redis.NewClient(&redis.Options{Addr: r.redis.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	log := slog.New(slog.DiscardHandler)
	var err error
	r.rooms, err = waitroom.New(waitroom.Deps{
		Store: redisstore.New(rdb), Keys: r.keys, Now: time.Now, Logger: log,
		Options: waitroom.Options{Tick: 5 * time.Millisecond, ShopGrace: time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.rooms.Seed(t.Context(), waitroom.Settings{
		Event: protectedEvent, State: waitroom.Open,
		Throttle: waitroom.Throttle{RatePerMinute: 60_000, Burst: 1000, MaxShoppers: 1000, Lease: 10 * time.Minute, ClaimWindow: time.Minute},
	}); err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(public)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	s, err := web.New(web.Deps{
		Roles: web.Roles{Waitroom: true}, PublicURL: at, AllowedOrigins: allowed, Rooms: r.rooms, Keys: r.keys,
		Clock: time.Now, Logger: log, Registerer: registry, Gatherer: registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.node = httptest.NewUnstartedServer(s.Handler())
	if strings.HasPrefix(public, "http://listen") { // no proxy in front: the node is the public address
		*at = url.URL{Scheme: "http", Host: r.node.Listener.Addr().String()}
	}
	r.node.Start()
	t.Cleanup(r.node.Close)
	return r
}

// admit lets in who waits.
func (r *theRoom) admit() {
	r.t.Helper()
	if err := r.rooms.ShopOK(r.t.Context(), protectedEvent, -1, -1, 0); err != nil {
		r.t.Fatal(err)
	}
	if err := r.rooms.TickAll(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// aSite is what is protected: it knows nothing of onsale and says what it sees.
type aSite struct {
	*httptest.Server

	mu   sync.Mutex
	seen []*http.Request
}

func newSite(t *testing.T) *aSite {
	t.Helper()
	s := &aSite{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *aSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ws" {
		upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		if conn, err := upgrader.Upgrade(w, r, nil); err == nil {
			_ = conn.WriteMessage(websocket.TextMessage, []byte("hello "+r.Header.Get("X-Onsale-Visitor")))
			conn.Close()
		}
		return
	}
	s.mu.Lock()
	s.seen = append(s.seen, r)
	s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	_, _ = fmt.Fprintf(w, "site %s %s %s visitor=%s", r.Method, r.RequestURI, body, strings.Join(r.Header.Values("X-Onsale-Visitor"), "|"))
}

func (s *aSite) requests() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.seen) }

// aBrowser keeps cookies and follows nothing by itself.
type aBrowser struct {
	t      *testing.T
	client http.Client
}

func newBrowser(t *testing.T) *aBrowser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	return &aBrowser{t: t, client: http.Client{
		Jar: jar, Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

type got struct {
	status int
	header http.Header
	body   string
}

func (b *aBrowser) do(method, address, body string, headers ...string) got {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return got{response.StatusCode, response.Header, string(text)}
}

// open opens a page as browsers do.
func (b *aBrowser) open(address string, headers ...string) got {
	b.t.Helper()
	return b.do(http.MethodGet, address, "", append([]string{"Accept", "text/html,*/*;q=0.8", "Sec-Fetch-Mode", "navigate"}, headers...)...)
}

// shop joins the room at the address, gets a turn and claims it, as the queue
// page does. It returns the visitor and the pass.
func (b *aBrowser) shop(address string, r *theRoom) (visitor, token string) {
	b.t.Helper()
	room := address + "/v1/rooms/" + protectedEvent
	var joined, me struct{ Visitor, State, Pass string }
	if a := b.do("POST", room+"/join", "{}"); a.status != http.StatusOK || json.Unmarshal([]byte(a.body), &joined) != nil {
		b.t.Fatalf("joining: %+v", a)
	}
	r.admit()
	if a := b.do("POST", room+"/claim", ""); a.status != http.StatusOK || json.Unmarshal([]byte(a.body), &me) != nil || me.State != "shopping" {
		b.t.Fatalf("claiming: %+v", a)
	}
	return joined.Visitor, me.Pass
}

// socket opens the site's WebSocket with a pass cookie, as a page does, and
// returns what the site says first, or the status of the refusal.
func socket(t *testing.T, address, token string) (said string, status int) {
	t.Helper()
	dialer := websocket.Dialer{HandshakeTimeout: time.Minute}
	conn, response, err := dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(address, "http")+"/ws", http.Header{
		"Cookie": {"onsale_pass_" + protectedEvent + "=" + token}, "Origin": {address}, "Sec-Fetch-Mode": {"websocket"},
	})
	if err != nil {
		if response == nil {
			t.Fatal(err)
		}
		return "", response.StatusCode
	}
	defer conn.Close()
	_, message, err := conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return string(message), response.StatusCode
}

// throughTheRoom is the way of visitors to a site that a proxy at address
// protects.
func throughTheRoom(t *testing.T, address string, r *theRoom, site *aSite) {
	t.Helper()
	queue := address + "/queue/" + protectedEvent + "?return="
	somebody := newBrowser(t)
	page := address + "/buy?seat=1&x=%2F"
	wayBack := queue + url.QueryEscape(page)
	later := time.Now().Add(time.Hour)
	forged := pass.Generate().SignPass(pass.Pass{Visitor: pass.NewVisitor(), Event: protectedEvent, Claimed: time.Now(), Expires: later})
	foreign := r.keys.SignPass(pass.Pass{Visitor: pass.NewVisitor(), Event: "0190b0a0-0000-7000-8000-000000000002", Claimed: time.Now(), Expires: later})
	noTurn := r.keys.SignPass(pass.Pass{Visitor: pass.NewVisitor(), Event: protectedEvent, Claimed: time.Now(), Expires: later})
	for name, headers := range map[string][]string{
		"without a pass": nil, "a forged pass": {"Cookie", "onsale_pass_" + protectedEvent + "=" + forged},
		"a pass of another event": {"Cookie", "onsale_pass_" + protectedEvent + "=" + foreign}, "a forged bearer": {"Authorization", "Bearer " + forged},
		"a pass without a turn": {"Cookie", "onsale_pass_" + protectedEvent + "=" + noTurn},
		"claims in headers":     {"X-Onsale-Visitor", "admin", "X-Forwarded-Uri", "/evil", "X-Forwarded-Host", "evil.example", "X-Forwarded-Method", "POST"},
	} {
		if a := somebody.open(page, headers...); a.status != http.StatusSeeOther || a.header.Get("Location") != wayBack {
			t.Errorf("%s: %d, sent to %q, want %q: %s", name, a.status, a.header.Get("Location"), wayBack, a.body)
		}
	}
	a := somebody.do("GET", page, "", "Accept", "application/json")
	var doc struct {
		Type, Queue string
		Status      int
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || a.status != http.StatusUnauthorized || doc.Status != http.StatusUnauthorized || doc.Queue != wayBack ||
		!strings.HasSuffix(doc.Type, "/pass-required") || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("an app: %v %+v", err, a)
	}
	if a := somebody.do("POST", address+"/cart", "a=1", "Accept", "text/html", "Sec-Fetch-Mode", "navigate"); a.status != http.StatusSeeOther ||
		a.header.Get("Location") != queue+url.QueryEscape(address+"/") {
		t.Errorf("a form: %d, sent to %q", a.status, a.header.Get("Location"))
	}
	if n := site.requests(); n != 0 {
		t.Fatalf("%d requests without a good pass reached the site", n)
	}
	if a := somebody.do("GET", address+"/.well-known/jwks.json", ""); a.status != http.StatusOK || a.body != string(r.keys.JWKS()) {
		t.Errorf("the keys: %+v", a)
	}
	if a := somebody.open(address + "/events/" + protectedEvent); a.status != http.StatusSeeOther || !strings.HasSuffix(a.header.Get("Location"), "/") {
		t.Errorf("after the queue without a way back: %+v", a)
	}

	visitor, token := somebody.shop(address, r)
	if a := somebody.open(page); a.status != http.StatusOK || a.body != "site GET /buy?seat=1&x=%2F  visitor="+visitor {
		t.Errorf("with a turn: %+v", a)
	}
	if a := somebody.do("POST", address+"/cart", "a=1", "X-Onsale-Visitor", "admin"); a.status != http.StatusOK || a.body != "site POST /cart a=1 visitor="+visitor {
		t.Errorf("with a turn, a form: %+v", a)
	}
	app := newBrowser(t)
	if a := app.do("GET", address+"/api", "", "Authorization", "Bearer "+token); a.status != http.StatusOK || a.body != "site GET /api  visitor="+visitor {
		t.Errorf("an app with a pass: %+v", a)
	}

	if said, status := socket(t, address, token); said != "hello "+visitor {
		t.Errorf("a WebSocket with a pass: %d %q", status, said)
	}
	if said, status := socket(t, address, forged); status != http.StatusUnauthorized {
		t.Errorf("a WebSocket with a forged pass: %d %q", status, said)
	}

	if a := somebody.do("DELETE", address+"/v1/rooms/"+protectedEvent+"/me", ""); a.status != http.StatusNoContent {
		t.Fatalf("leaving: %+v", a)
	}
	before := site.requests()
	if a := somebody.open(page); a.status != http.StatusSeeOther || a.header.Get("Location") != wayBack {
		t.Errorf("after the turn: %+v", a)
	}
	// Who is in stays in while the room is out of order; nobody else gets in.
	_, _ = somebody.shop(address, r)
	r.redis.SetError("LOADING the data")
	if a := somebody.open(page); a.status != http.StatusOK {
		t.Errorf("with a turn, while Redis is down: %+v", a)
	}
	if a := newBrowser(t).open(page); a.status != http.StatusSeeOther {
		t.Errorf("without a turn, while Redis is down: %+v", a)
	}
	r.node.CloseClientConnections()
	r.node.Close()
	if a := somebody.open(page); a.status < 500 {
		t.Errorf("while onsale is gone: %+v", a)
	}
	if n := site.requests() - before; n != 1 {
		t.Errorf("%d requests reached the site, want one", n)
	}
}

// TestNginxProtectsASite runs the example on a real nginx.
func TestNginxProtectsASite(t *testing.T) {
	t.Parallel()
	program(t, "nginx")
	address := stacktest.FreeAddress(t)
	r, site := newRoom(t, "http://"+address), newSite(t)
	dir := t.TempDir()
	log := filepath.Join(dir, "access.log")
	runNginx(t, address, map[string]string{"nginx.conf": adapt(t, read(t, "protect/nginx.conf"),
		"listen 8080;", "listen "+address+";",
		"worker_connections 8192;", "worker_connections 512;",
		"server app1:8080;", "server "+r.node.Listener.Addr().String()+";",
		"server site:3000;", "server "+site.Listener.Addr().String()+";",
		"access_log /dev/stdout", "access_log "+log,
	)})
	throughTheRoom(t, "http://"+address, r, site)
	if text := read(t, log); !strings.Contains(text, " GET /buy 303") || strings.Contains(text, "seat=1") {
		t.Errorf("the log tells queries, or nothing:\n%s", text)
	}
}

// TestCaddyProtectsASite runs the example on a real Caddy, without TLS.
func TestCaddyProtectsASite(t *testing.T) {
	t.Parallel()
	caddy := program(t, "caddy")
	address := stacktest.FreeAddress(t)
	r, site := newRoom(t, "http://"+address), newSite(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "Caddyfile")
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	conf := adapt(t, read(t, "protect/Caddyfile"),
		"\nshop.example {", "\nhttp://:"+port+" {\n\tbind 127.0.0.1",
		"app1:8080", r.node.Listener.Addr().String(),
		"site:3000", site.Listener.Addr().String(),
	)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(caddy, "run", "--config", file, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	run(t, address, cmd)
	throughTheRoom(t, "http://"+address, r, site)
}

// TestTraefikExample holds the example against what check understands; there is
// no Traefik to run it.
func TestTraefikExample(t *testing.T) {
	t.Parallel()
	var file struct {
		HTTP struct {
			Routers map[string]struct {
				Rule, Service string
				Middlewares   []string
				TLS           map[string]any
			}
			Middlewares map[string]struct {
				ForwardAuth *struct {
					Address             string
					TrustForwardHeader  bool     `yaml:"trustForwardHeader"`
					AuthResponseHeaders []string `yaml:"authResponseHeaders"`
				} `yaml:"forwardAuth"`
				RedirectRegex *struct{ Regex, Replacement string } `yaml:"redirectRegex"`
			}
			Services map[string]struct {
				LoadBalancer struct{ Servers []struct{ URL string } } `yaml:"loadBalancer"`
			}
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(read(t, "protect/traefik.yaml")))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for name, router := range file.HTTP.Routers {
		if _, found := file.HTTP.Services[router.Service]; !found {
			t.Errorf("router %s uses service %s, which does not exist", name, router.Service)
		}
		for _, m := range router.Middlewares {
			if _, found := file.HTTP.Middlewares[m]; !found {
				t.Errorf("router %s uses middleware %s, which does not exist", name, m)
			}
		}
	}
	// Longer rules win: the site's must be the shortest.
	site := file.HTTP.Routers["site"]
	for name, router := range file.HTTP.Routers {
		if name != "site" && len(router.Rule) <= len(site.Rule) {
			t.Errorf("router %s is never asked", name)
		}
	}
	asked := file.HTTP.Middlewares["waiting-room"].ForwardAuth
	if asked == nil || asked.TrustForwardHeader || len(asked.AuthResponseHeaders) != 2 || len(site.Middlewares) != 1 || site.Middlewares[0] != "waiting-room" {
		t.Fatalf("the site is not protected: %+v %+v", asked, site)
	}
	// What Traefik would ask, and what it would send on.
	address, err := url.Parse(asked.Address)
	if err != nil {
		t.Fatal(err)
	}
	r := newRoom(t, "https://shop.example")
	somebody := newBrowser(t)
	ask := func(headers ...string) got {
		return somebody.do("GET", r.node.URL+address.RequestURI(), "", append(headers, "X-Forwarded-Method", "GET", "X-Forwarded-Proto", "https",
			"X-Forwarded-Host", "shop.example", "X-Forwarded-Uri", "/buy?seat=1", "X-Forwarded-For", "203.0.113.9")...)
	}
	if a := ask("Accept", "text/html"); a.status != http.StatusSeeOther ||
		a.header.Get("Location") != "https://shop.example/queue/"+protectedEvent+"?return=https%3A%2F%2Fshop.example%2Fbuy%3Fseat%3D1" {
		t.Errorf("a page: %+v", a)
	}
	if a := ask("Accept", "application/json"); a.status != http.StatusUnauthorized {
		t.Errorf("an app: %+v", a)
	}
	_, token := somebody.shop(r.node.URL, r)
	a := ask("Cookie", "__Host-onsale_pass_"+protectedEvent+"="+token, "Accept", "text/html")
	for _, name := range asked.AuthResponseHeaders {
		if a.status != http.StatusNoContent || a.header.Get(name) == "" {
			t.Errorf("with a turn: no %s in %+v", name, a)
		}
	}
}

// TestGateProtectsASiteOnAnotherHost, to which the pass is handed over.
func TestGateProtectsASiteOnAnotherHost(t *testing.T) {
	t.Parallel()
	inside := newSite(t)
	front := httptest.NewUnstartedServer(nil)
	_, port, err := net.SplitHostPort(front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	shop := "http://localhost:" + port // cookies of 127.0.0.1 are not its own
	r := newRoom(t, "http://listen", shop)
	onsale := r.node.URL
	g, err := gate.New(gate.Options{Event: protectedEvent, Onsale: onsale, Site: shop, CheckEvery: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	front.Config.Handler = g.Protect(inside)
	front.Start()
	t.Cleanup(front.Close)

	somebody := newBrowser(t)
	page := shop + "/buy?seat=1"
	a := somebody.open(page)
	wayBack := onsale + "/queue/" + protectedEvent + "?return=" + url.QueryEscape(page)
	if a.status != http.StatusSeeOther || a.header.Get("Location") != wayBack {
		t.Fatalf("without a pass: %+v, want %s", a, wayBack)
	}
	visitor, token := somebody.shop(onsale, r)
	if a = somebody.open(page); a.status != http.StatusSeeOther {
		t.Fatalf("the site sees the cookies of onsale, so this test shows nothing: %+v", a)
	}
	enter := onsale + "/v1/rooms/" + protectedEvent + "/enter?return="
	if a = somebody.open(enter + url.QueryEscape("https://evil.example/")); a.status != http.StatusSeeOther || strings.Contains(a.header.Get("Location"), token) {
		t.Fatalf("to a stranger: %+v", a)
	}
	a = somebody.open(enter + url.QueryEscape(page))
	if a.status != http.StatusSeeOther || a.header.Get("Location") != page+"&onsale_pass="+token || a.header.Get("Referrer-Policy") != "no-referrer" {
		t.Fatalf("handed over: %+v", a)
	}
	a = somebody.open(a.header.Get("Location"))
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/buy?seat=1" {
		t.Fatalf("taken over: %+v", a)
	}
	if a = somebody.open(page); a.status != http.StatusOK || a.body != "site GET /buy?seat=1  visitor="+visitor {
		t.Errorf("with a pass: %+v", a)
	}
	if said, status := socket(t, shop, token); said != "hello "+visitor {
		t.Errorf("a WebSocket with a pass: %d %q", status, said)
	}
	if a = somebody.do("DELETE", onsale+"/v1/rooms/"+protectedEvent+"/me", ""); a.status != http.StatusNoContent {
		t.Fatalf("leaving: %+v", a)
	}
	if a = somebody.open(page); a.status != http.StatusSeeOther || a.header.Get("Location") != wayBack {
		t.Errorf("after the turn: %+v", a)
	}
	inside.mu.Lock()
	defer inside.mu.Unlock()
	for _, request := range inside.seen {
		if strings.Contains(request.RequestURI, "onsale_pass") {
			t.Error("the site sees a pass in an address, and may log it")
		}
	}
}
