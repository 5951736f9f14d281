package web_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"onsale/checkout/account"
	"onsale/internal/stack/stacktest"
	"onsale/waitroom/identity"
	"onsale/waitroom/pass"
	"onsale/web"
)

// provider is an OpenID Connect provider that knows one client, reached over HTTP.
type provider struct {
	t       testing.TB
	url     string
	private ed25519.PrivateKey
	secret  string   // of the client; "": a public one
	methods []string // how it may say its secret; nil says nothing

	down atomic.Bool
	sent atomic.Int64 // requests to the token endpoint

	mu     sync.Mutex
	codes  map[string]grant
	answer func(w http.ResponseWriter, r *http.Request, idToken string) // instead of a good one
}

// grant is what a code stands for.
type grant struct {
	challenge, redirect string
	claims              jwt.MapClaims
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{t: t, codes: make(map[string]grant)}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	p.private = private
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		if p.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": p.url, "jwks_uri": p.url + "/keys", "authorization_endpoint": p.url + "/auth?tenant=1", "token_endpoint": p.url + "/token",
			"token_endpoint_auth_methods_supported": p.methods, "code_challenge_methods_supported": []string{"S256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []map[string]string{
			{"kid": "1", "use": "sig", "kty": "OKP", "alg": "EdDSA", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(public)},
		}})
	})
	mux.HandleFunc("POST /token", p.token)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	p.url = server.URL
	return p
}

// signed is an ID token with some claims changed; nil takes one out.
func (p *provider) signed(more jwt.MapClaims) string {
	claims := jwt.MapClaims{"iss": p.url, "aud": "onsale", "sub": "7", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(claims, more)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	text := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	text.Header["kid"] = "1"
	signed, err := text.SignedString(p.private)
	must(p.t, err)
	return signed
}

// consent is somebody who signs in at the address a browser was sent to. It returns
// what comes back.
func (p *provider) consent(address string, claims jwt.MapClaims) url.Values {
	p.t.Helper()
	u, err := url.Parse(address)
	must(p.t, err)
	q := u.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": "onsale", "code_challenge_method": "S256", "tenant": "1", "scope": "openid email",
	} {
		if q.Get(name) != want {
			p.t.Errorf("%s is %q, want %q, in %s", name, q.Get(name), want, address)
		}
	}
	if !strings.HasPrefix(address, p.url+"/auth?") || len(q.Get("code_challenge")) != 43 || !pass.ValidVisitor(q.Get("state")) || !pass.ValidVisitor(q.Get("nonce")) {
		p.t.Errorf("sent to %s", address)
	}
	told := jwt.MapClaims{"nonce": q.Get("nonce")}
	maps.Copy(told, claims)
	code := pass.NewID() + "/+ &"
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes[code] = grant{challenge: q.Get("code_challenge"), redirect: q.Get("redirect_uri"), claims: told}
	return url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {p.url}, "session_state": {"x"}}
}

// token exchanges a code, once, for who has its verifier.
func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	p.sent.Add(1)
	if p.down.Load() {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	client, secret, basic := r.BasicAuth()
	if basic { // escaped in the header: RFC 6749, 2.3.1
		secret, _ = url.QueryUnescape(secret)
	} else {
		client, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	posted := p.secret != "" && slices.Equal(p.methods, []string{"client_secret_post"})
	p.mu.Lock()
	g, known := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	answer := p.answer
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	w.Header().Set("Content-Type", "application/json")
	refuse := func(code string) {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": "<script>issuer()</script>"})
	}
	switch {
	case client != "onsale" || secret != p.secret || basic != (p.secret != "" && !posted):
		refuse("invalid_client")
	case r.PostFormValue("grant_type") != "authorization_code" || !known || g.redirect != r.PostFormValue("redirect_uri") ||
		g.challenge != base64.RawURLEncoding.EncodeToString(sum[:]):
		refuse("invalid_grant")
	case answer != nil:
		answer(w, r, p.signed(g.claims))
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": p.signed(g.claims)})
	}
}

func (p *provider) answers(with func(w http.ResponseWriter, r *http.Request, idToken string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = with
}

// stage is a program whose buyers sign in here.
func (p *provider) stage(o stageOptions) *stage {
	p.t.Helper()
	issuer := identity.New(p.url, "onsale", "")
	o.mail, o.signIn, o.identity = &mailbox{}, account.SignInBoth, issuer
	o.browser = func(public *url.URL) account.Browser { return issuer.Browser(p.secret, web.CallbackURL(public)) }
	return newStage(p.t, o)
}

// browser keeps cookies, as browsers do.
type browser struct {
	*stage

	cookies map[string]string
}

func (s *stage) browser() *browser { return &browser{stage: s, cookies: make(map[string]string)} }

func (b *browser) visit(path string) reply {
	b.t.Helper()
	var all []string
	for name, value := range b.cookies {
		all = append(all, name+"="+value)
	}
	got := b.get(path, header("Cookie", strings.Join(all, "; ")), header("Accept", "text/html"))
	for _, c := range (&http.Response{Header: got.header}).Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return got
}

// departs begins a sign-in, and returns where it leads.
func (b *browser) departs(query string) string {
	b.t.Helper()
	got := b.visit("/v1/account/oidc"+query).ok(303, nil)
	if got.header.Get("Cache-Control") != "private, no-store" || got.header.Get("Referrer-Policy") != "no-referrer" {
		b.t.Errorf("headers %v", got.header)
	}
	return got.header.Get("Location")
}

// returns comes back from the issuer, and says where to.
func (b *browser) returns(with url.Values) string {
	b.t.Helper()
	got := b.visit("/v1/account/oidc/callback?"+with.Encode()).ok(303, nil)
	if got.header.Get("Cache-Control") != "private, no-store" || got.header.Get("Referrer-Policy") != "no-referrer" || len(got.body) > 0 {
		b.t.Errorf("headers %v, body %q", got.header, got.body)
	}
	return strings.TrimPrefix(got.header.Get("Location"), b.url)
}

// TestSignInAtIssuer goes there and back, as every kind of client.
func TestSignInAtIssuer(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]struct {
		secret  string
		methods []string
	}{
		"a public client":           {},
		"a secret in the header":    {"s&cret:/ü", nil},
		"a secret in the form":      {"s&cret:/ü", []string{"client_secret_post"}},
		"a secret, however is told": {"s&cret:/ü", []string{"client_secret_post", "client_secret_basic"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.secret, p.methods = client.secret, client.methods
			s := p.stage(stageOptions{})
			guest := s.admitted(s.event)
			o := s.buys(guest, graceName, "somebody@buyers.example", s.tickets[0])
			b := s.browser()
			b.cookies["onsale_visitor"] = guest.VisitorToken
			back := p.consent(b.departs("?return="+url.QueryEscape("/events/1?a=b&c=%C3%A4")), jwt.MapClaims{"email": "Grace.Trace@buyers.example", "email_verified": true})
			if to := b.returns(back); to != "/events/1?a=b&c=%C3%A4" {
				t.Errorf("back to %q", to)
			}
			if b.cookies["onsale_session"] == "" || b.cookies["onsale_sign_in"] != "" || p.sent.Load() != 1 {
				t.Errorf("cookies %v after %d exchanges", b.cookies, p.sent.Load())
			}
			var who struct {
				Account string
				Email   *string
			}
			b.visit("/v1/account").ok(200, &who)
			if who.Email == nil || *who.Email != graceEmail || !slices.Equal(s.myOrders(b.cookies["onsale_session"]), []string{o.Order}) {
				t.Errorf("account %+v with the orders %v", who, s.myOrders(b.cookies["onsale_session"]))
			}
			var same signedIn
			s.post("/v1/account/session", `{"id_token":"`+p.signed(nil)+`"}`).ok(200, &same)
			if same.Account.Account != who.Account {
				t.Error("the ID token of the same person is another account")
			}
			// Whoever comes back a second time does not sign in again.
			if to := b.returns(back); to != "/account?failed=lost" {
				t.Errorf("again: %q", to)
			}
			b.visit("/v1/account").ok(200, nil) // and stays who they are
			// A second account in the same browser is not given the first one's visitor.
			to := b.returns(p.consent(b.departs(""), jwt.MapClaims{"sub": "8"}))
			if to != "/account" || b.cookies["onsale_visitor"] != "" || len(s.myOrders(b.cookies["onsale_session"])) != 0 {
				t.Errorf("another account: %q, cookies %v", to, b.cookies)
			}
		})
	}
}

// TestSignInCookies are bound to the host where there is TLS, and to a few minutes.
func TestSignInCookies(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	public := &url.URL{Scheme: "https", Host: "tickets.example"}
	issuer := identity.New(p.url, "onsale", "")
	s := newStage(t, stageOptions{
		signIn: account.SignInOIDC, identity: issuer, deps: func(d *web.Deps) { d.PublicURL = public },
		browser: func(*url.URL) account.Browser { return issuer.Browser("", web.CallbackURL(public)) },
	})
	b := s.browser()
	got := b.visit("/v1/account/oidc").ok(303, nil)
	cookie := got.header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "__Host-onsale_sign_in=") || !strings.Contains(cookie, "; Path=/; ") || !strings.HasSuffix(cookie, "; HttpOnly; Secure; SameSite=Lax") ||
		!strings.Contains(cookie, "; Max-Age=600; ") && !strings.Contains(cookie, "; Max-Age=599; ") {
		t.Errorf("cookie %s", cookie)
	}
	back := p.consent(got.header.Get("Location"), nil)
	if u, _ := url.Parse(got.header.Get("Location")); u.Query().Get("redirect_uri") != "https://tickets.example/v1/account/oidc/callback" {
		t.Errorf("redirect URI %q", u.Query().Get("redirect_uri"))
	}
	if to := b.returns(back); to != "https://tickets.example/account" || b.cookies["__Host-onsale_session"] == "" {
		t.Errorf("back to %q with %v", to, b.cookies)
	}
}

// TestFailedSignInAtIssuer leads everybody back to where they can try again, as
// nobody, with words of our own.
func TestFailedSignInAtIssuer(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.secret = "s3cret-of-the-client"
	var logged logBook
	s := p.stage(stageOptions{log: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	words := map[string]string{
		"lost": "took too long", "declined": "did not sign you in", "refused": "could not be used", "down": "does not answer",
	}
	set := func(name, value string) func(*browser, url.Values) {
		return func(_ *browser, v url.Values) { v.Set(name, value) }
	}
	fails := func(code string) func(*browser, url.Values) {
		return func(_ *browser, v url.Values) {
			v.Del("code")
			v.Set("error", code)
			v.Set("error_description", "<script>issuer()</script>")
		}
	}
	keeps := func(change func(*pass.SignIn)) func(*browser, url.Values) { // another token with the same state
		return func(b *browser, _ url.Values) {
			under, err := s.keys.SignIn(b.cookies["onsale_sign_in"], time.Now())
			must(t, err)
			change(&under)
			b.cookies["onsale_sign_in"] = s.keys.SignSignIn(under)
		}
	}
	for name, c := range map[string]struct {
		spoil  func(b *browser, back url.Values)
		claims jwt.MapClaims
		answer func(w http.ResponseWriter, r *http.Request, idToken string)
		want   string
	}{
		"cancelled there":           {spoil: fails("access_denied"), want: "declined"},
		"not signed in there":       {spoil: fails("login_required"), want: "declined"},
		"the issuer is in trouble":  {spoil: fails("temporarily_unavailable"), want: "down"},
		"the client is not known":   {spoil: fails("unauthorized_client"), want: "refused"},
		"an error that is a script": {spoil: fails("<script>issuer()</script>"), want: "refused"},
		"no code":                   {spoil: func(_ *browser, v url.Values) { v.Del("code") }, want: "refused"},
		"a code that is none":       {spoil: set("code", "x"), want: "refused"},
		"a very long code":          {spoil: set("code", strings.Repeat("x", 5000)), want: "refused"},
		"another issuer's answer":   {spoil: set("iss", "https://evil.example"), want: "refused"},
		"no state":                  {spoil: func(_ *browser, v url.Values) { v.Del("state") }, want: "lost"},
		"a foreign state":           {spoil: set("state", pass.NewID()), want: "lost"},
		"a state nearly right":      {spoil: func(_ *browser, v url.Values) { v.Set("state", v.Get("state")[:21]) }, want: "lost"},
		"a lost cookie":             {spoil: func(b *browser, _ url.Values) { clear(b.cookies) }, want: "lost"},
		"another browser's cookie":  {spoil: func(b *browser, _ url.Values) { other := s.browser(); other.departs(""); b.cookies = other.cookies }, want: "lost"},
		"a cookie that is over":     {spoil: keeps(func(u *pass.SignIn) { u.Expires = time.Now().Add(-time.Second) }), want: "lost"},
		"a cookie of another key": {spoil: func(b *browser, v url.Values) {
			b.cookies["onsale_sign_in"] = pass.Generate().SignSignIn(pass.SignIn{
				State: v.Get("state"), Nonce: pass.NewID(), Verifier: strings.Repeat("v", 43), Return: "/account", Expires: time.Now().Add(time.Hour),
			})
		}, want: "lost"},
		"a session for a cookie": {spoil: func(b *browser, _ url.Values) {
			b.cookies["onsale_sign_in"] = s.keys.SignSession(pass.Session{Account: "a", Epoch: 1, Expires: time.Now().Add(time.Hour)})
		}, want: "lost"},
		"another verifier":      {spoil: keeps(func(u *pass.SignIn) { u.Verifier = strings.Repeat("v", 43) }), want: "refused"},
		"another nonce":         {claims: jwt.MapClaims{"nonce": pass.NewID()}, want: "refused"},
		"no nonce":              {claims: jwt.MapClaims{"nonce": nil}, want: "refused"},
		"another audience":      {claims: jwt.MapClaims{"aud": "other"}, want: "refused"},
		"several audiences":     {claims: jwt.MapClaims{"aud": []string{"onsale", "other"}}, want: "refused"},
		"another party":         {claims: jwt.MapClaims{"azp": "other"}, want: "refused"},
		"another issuer":        {claims: jwt.MapClaims{"iss": "https://evil.example"}, want: "refused"},
		"an ID token of before": {claims: jwt.MapClaims{"exp": time.Now().Add(-time.Minute).Unix()}, want: "refused"},
		"nobody":                {claims: jwt.MapClaims{"sub": ""}, want: "refused"},
		"no ID token":           {answer: func(w http.ResponseWriter, _ *http.Request, _ string) { fmt.Fprint(w, `{"access_token":"a"}`) }, want: "refused"},
		"an ID token with another signature": {answer: func(w http.ResponseWriter, _ *http.Request, idToken string) {
			fmt.Fprintf(w, `{"access_token":"a","id_token":%q}`, idToken[:strings.LastIndexByte(idToken, '.')+1]+base64.RawURLEncoding.EncodeToString(make([]byte, 64)))
		}, want: "refused"},
		"an unsigned ID token": {answer: func(w http.ResponseWriter, _ *http.Request, idToken string) {
			fmt.Fprintf(w, `{"access_token":"a","id_token":%q}`, base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))+"."+strings.Split(idToken, ".")[1]+".")
		}, want: "refused"},
		"an answer elsewhere": {answer: func(w http.ResponseWriter, r *http.Request, _ string) {
			http.Redirect(w, r, "/token?again", http.StatusTemporaryRedirect)
		}, want: "refused"},
		"an error of the issuer": {answer: func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusInternalServerError) }, want: "down"},
		"an answer without end": {answer: func(w http.ResponseWriter, r *http.Request, idToken string) {
			fmt.Fprintf(w, `{"access_token":"a","id_token":%q,"more":"`, idToken)
			for some := strings.Repeat("x", 64<<10); r.Context().Err() == nil; {
				if _, err := fmt.Fprint(w, some); err != nil {
					return
				}
			}
		}, want: "down"},
		"an issuer that never answers": {answer: func(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() }, want: "down"},
		"a connection that breaks":     {answer: func(http.ResponseWriter, *http.Request, string) { panic(http.ErrAbortHandler) }, want: "down"},
	} {
		b := s.browser()
		back := p.consent(b.departs("?return=/queue/1"), c.claims)
		begun := b.cookies["onsale_sign_in"]
		if c.spoil != nil {
			c.spoil(b, back)
		}
		p.answers(c.answer)
		began, delays, asked := time.Now(), stacktest.Delays(t), p.sent.Load()
		to := b.returns(back)
		if took := time.Since(began) - delays(); took > 10*time.Second || p.sent.Load() > asked+1 {
			t.Errorf("%s: took %s and %d exchanges", name, took, p.sent.Load()-asked)
		}
		want := "/account?failed=" + c.want
		if c.want != "lost" {
			want += "&return=%2Fqueue%2F1"
		}
		if to != want || b.cookies["onsale_session"] != "" {
			t.Errorf("%s: to %q with the cookies %v, want %q", name, to, b.cookies, want)
		}
		if (b.cookies["onsale_sign_in"] != "") != (c.want == "lost" && name != "a lost cookie") {
			t.Errorf("%s: cookies %v", name, b.cookies)
		}
		page := b.visit(to).ok(200, nil)
		if html := string(page.body); !strings.Contains(html, words[c.want]) || strings.Contains(html, "issuer()") || !strings.Contains(html, `href="/v1/account/oidc"`) {
			t.Errorf("%s: the page says %s", name, html)
		}
		// Who brings another's state ends nothing: the sign-in under way still works.
		if name == "a foreign state" {
			p.answers(nil)
			b.cookies["onsale_sign_in"] = begun
			under, err := s.keys.SignIn(begun, time.Now())
			must(t, err)
			back.Set("state", under.State)
			if to := b.returns(back); to != "/queue/1" || b.cookies["onsale_session"] == "" {
				t.Errorf("afterwards: %q", to)
			}
		}
	}
	if n := query[int](s, `select count(*) from account_identities`); n != 1 { // of the foreign state's
		t.Errorf("%d identities", n)
	}
	if text := logged.String(); strings.Contains(text, p.secret) || strings.Contains(text, "issuer()") && strings.Contains(text, "error_description") || !strings.Contains(text, "a sign-in at the issuer failed") {
		t.Errorf("the log has what it must not, or nothing: %s", text)
	}
}

// TestIssuerIsDown: the program starts, says so, and goes on when the issuer is back.
func TestIssuerIsDown(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.down.Store(true)
	s := p.stage(stageOptions{})
	b := s.browser()
	if to := b.departs(""); to != s.url+"/account?failed=down" || len(b.cookies) != 0 {
		t.Errorf("to %q with %v", to, b.cookies)
	}
	p.down.Store(false)
	to := eventually(t, "the issuer is found", func() string { return b.departs("?return=/") }, func(to string) bool { return strings.HasPrefix(to, p.url) })
	back := p.consent(to, nil)
	p.down.Store(true)
	if to := b.returns(back); to != "/account?failed=down&return=%2F" {
		t.Errorf("back to %q", to)
	}
}

// TestAccountPageOffersIssuer without scripts too, and says nothing that was put into
// its address.
func TestAccountPageOffersIssuer(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	s := p.stage(stageOptions{})
	for path, want := range map[string][]string{
		"/account":                           {"<noscript>", `<a class="button primary" href="/v1/account/oidc">Sign in with Example &amp; co</a>`, `"issuer":"Example \u0026 co"`},
		"/account?failed=declined":           {"Example &amp; co did not sign you in", `role="alert"`, `"failed":"Example \u0026 co did`},
		"/account?failed=%3Cscript%3Ex":      {`href="/v1/account/oidc"`},
		"/account?return=%22%3E%3Cscript%3E": {`href="/v1/account/oidc"`},
	} {
		html := string(s.browser().visit(path).ok(200, nil).body)
		for _, text := range want {
			if !strings.Contains(html, text) {
				t.Errorf("%s: no %s in %s", path, text, html)
			}
		}
		if strings.Contains(html, "<script>x") || strings.Contains(path, "script") && strings.Contains(html, `"failed"`) {
			t.Errorf("%s: %s", path, html)
		}
	}
	byCode := newStage(t, stageOptions{mail: &mailbox{}})
	if html := string(byCode.browser().visit("/account?failed=lost").ok(200, nil).body); strings.Contains(html, "/v1/account/oidc") || strings.Contains(html, "took too long") {
		t.Errorf("offered where it is switched off: %s", html)
	}
	b := byCode.browser()
	for _, path := range []string{"/v1/account/oidc", "/v1/account/oidc/callback?code=x&state=y"} {
		if to := b.visit(path).ok(303, nil).header.Get("Location"); to != byCode.url+"/account" {
			t.Errorf("%s leads to %s", path, to)
		}
	}
}

// TestNobodyIsSentElsewhere by a link that somebody else wrote.
func TestNobodyIsSentElsewhere(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	s := p.stage(stageOptions{})
	for _, to := range []string{"//evil.example", "/\\evil.example", "https://evil.example/", "https://partner.example/", s.url + "/", "/v1/account/oidc"} {
		b := s.browser()
		if page := b.visit("/v1/account/oidc?return=" + url.QueryEscape(to)); page.status != 400 || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") || len(b.cookies) > 0 {
			t.Errorf("%s: %d %v with %v", to, page.status, page.header, b.cookies)
		}
	}
}

// TestPlaceOfAnAccount: where users have to be signed in, a session that began at the
// issuer is as good as its user token, and means the same person.
func TestPlaceOfAnAccount(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	s := p.stage(stageOptions{required: true})
	join := "/v1/rooms/" + s.event + "/join"
	by := func(b *browser, body string) (m me) {
		t.Helper()
		s.post(join, body, header("Cookie", "onsale_session="+b.cookies["onsale_session"])).ok(200, &m)
		return m
	}
	var way struct {
		SignIn string `json:"sign_in"`
	}
	refusal := s.post(join, `{}`)
	refusal.refused(401, "sign-in-required")
	must(t, json.Unmarshal(refusal.body, &way))
	if way.SignIn != "/v1/account/oidc?return=%2Fqueue%2F"+s.event {
		t.Errorf("the way is %q", way.SignIn)
	}
	phone, laptop, rival := s.browser(), s.browser(), s.browser()
	if to := phone.returns(p.consent(phone.visit(way.SignIn).header.Get("Location"), nil)); to != "/queue/"+s.event {
		t.Errorf("back to %q", to)
	}
	laptop.returns(p.consent(laptop.departs(""), nil))
	rival.returns(p.consent(rival.departs(""), jwt.MapClaims{"sub": "8"}))
	first := by(phone, `{}`)
	var token me
	s.post(join, `{"user_token":"`+p.signed(nil)+`"}`).ok(200, &token)
	w := s.dial("/v1/rooms/"+s.event+"/ws?join=1", http.Header{"Cookie": {"onsale_session=" + laptop.cookies["onsale_session"]}}, "onsale.v1")
	socket := w.until("joined", func(m me) bool { return m.Visitor != "" })
	if again := by(laptop, `{}`); again.Visitor != first.Visitor || token.Visitor != first.Visitor || socket.Visitor != first.Visitor {
		t.Errorf("one person is the visitors %s, %s, %s and %s", first.Visitor, again.Visitor, token.Visitor, socket.Visitor)
	}
	if other := by(rival, `{}`); other.Visitor == first.Visitor {
		t.Error("two people are one visitor")
	}
	// Whoever is known already stays who they are.
	var known me
	s.post(join, `{}`, header("Cookie", "onsale_session="+rival.cookies["onsale_session"]+"; onsale_visitor="+first.VisitorToken)).ok(200, &known)
	if known.Visitor != first.Visitor {
		t.Error("a session is more than the visitor's own token")
	}
	byCode := s.signedIn(graceEmail).Token // an address alone is nobody that the issuer knows
	over := s.keys.SignSession(pass.Session{Account: "a", Epoch: 1, User: first.Visitor, Expires: time.Now().Add(-time.Second)})
	foreign := pass.Generate().SignSession(pass.Session{Account: "a", Epoch: 1, User: first.Visitor, Expires: time.Now().Add(time.Hour)})
	for name, session := range map[string]string{"by a code": byCode, "over": over, "of another key": foreign, "a visitor's token": first.VisitorToken} {
		if got := s.post(join, `{}`, header("Cookie", "onsale_session="+session)); got.status != 401 {
			t.Errorf("a session %s joins: %d %s", name, got.status, got.body)
		}
	}
	// Elsewhere, people are who their browser says.
	free := p.stage(stageOptions{})
	b := free.browser()
	b.returns(p.consent(b.departs(""), nil))
	var one, two me
	session := header("Cookie", "onsale_session="+b.cookies["onsale_session"])
	free.post("/v1/rooms/"+free.event+"/join", `{}`, session).ok(200, &one)
	free.post("/v1/rooms/"+free.event+"/join", `{}`, session).ok(200, &two)
	if one.Visitor == two.Visitor {
		t.Error("a session is a visitor where nobody asks for one")
	}
}
