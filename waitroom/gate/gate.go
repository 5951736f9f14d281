package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"onsale/waitroom/pass"
)

// The headers in which the handler behind the gate finds who is asking. What
// the client sends under these names is dropped.
const (
	VisitorHeader   = "X-Onsale-Visitor"
	LeaseEndsHeader = "X-Onsale-Lease-Ends" // RFC 3339
)

// Options say what is protected and by which room. Event and Onsale are needed.
type Options struct {
	Event  string // id of the event whose room this is
	Onsale string // where onsale is reached, such as https://tickets.example

	// Site is the origin under which visitors reach the protected site, such as
	// https://shop.example; onsale must list it in allowed_origins. Empty: what
	// the request says, which is right unless a proxy ends TLS.
	Site string
	// Queue is where visitors are sent. Empty: the event's queue at Onsale.
	Queue string
	// JWKS is where the keys are. Empty: /.well-known/jwks.json at Onsale.
	JWKS string
	// Keys are used instead of fetching any.
	Keys *pass.PublicKeys
	// Cookie is the name of the pass cookie. Empty: as onsale calls its own, so
	// that a site on the same host needs no hand-over.
	Cookie string
	// CheckEvery is how long an answer of onsale is believed that a turn still
	// runs. 0: it is never asked, and a pass is good until its lease ends.
	CheckEvery time.Duration
	// KeysEvery is the age at which keys are fetched anew; 5 min.
	KeysEvery time.Duration
	// Timeout bounds each call to onsale; 2 s.
	Timeout time.Duration
	// Exempt says which requests need no pass, such as health checks. Nil: none.
	Exempt func(*http.Request) bool

	Client *http.Client     // nil: http.DefaultClient's transport
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: nothing is logged
}

// Gate decides who gets through to a site.
type Gate struct {
	options Options
	queue   *url.URL
	site    *url.URL // nil: as the request says
	log     *slog.Logger
	now     func() time.Time
	keys    keyring
	turns   turns
}

// New makes a Gate. It does no I/O: the first visitor's pass fetches the keys.
func New(o Options) (*Gate, error) {
	if o.Event == "" || strings.ContainsAny(o.Event, "/?#% ") {
		return nil, errors.New("gate: Event must be the id of an event")
	}
	onsale, err := address("Onsale", o.Onsale)
	if err != nil {
		return nil, err
	}
	base := strings.TrimSuffix(onsale.String(), "/")
	fallback := func(s *string, def string) {
		if *s == "" {
			*s = def
		}
	}
	fallback(&o.Queue, base+"/queue/"+o.Event)
	fallback(&o.JWKS, base+"/.well-known/jwks.json")
	g := &Gate{options: o, log: o.Logger, now: o.Now}
	if g.queue, err = address("Queue", o.Queue); err != nil {
		return nil, err
	}
	if _, err = address("JWKS", o.JWKS); err != nil {
		return nil, err
	}
	if o.Site != "" {
		if g.site, err = address("Site", o.Site); err != nil {
			return nil, err
		}
		if strings.Trim(g.site.Path, "/") != "" || g.site.RawQuery != "" {
			return nil, errors.New("gate: Site must be an origin, without a path")
		}
	}
	if o.CheckEvery < 0 || o.KeysEvery < 0 || o.Timeout < 0 {
		return nil, errors.New("gate: durations must not be negative")
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if g.now == nil {
		g.now = time.Now
	}
	if o.KeysEvery == 0 {
		o.KeysEvery = 5 * time.Minute
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	client := http.Client{}
	if o.Client != nil {
		client = *o.Client
	}
	// A redirect is no answer of onsale's, and a pass goes nowhere else.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	life, end := context.WithCancel(context.Background())
	g.keys = keyring{
		url: o.JWKS, every: o.KeysEvery, timeout: o.Timeout, client: &client, now: g.now, log: g.log,
		keys: o.Keys, fixed: o.Keys != nil, life: life, end: end,
	}
	g.turns = turns{
		url: base + "/v1/rooms/" + o.Event + "/check", every: o.CheckEvery, timeout: o.Timeout, client: &client, now: g.now, log: g.log,
		known: make(map[turnKey]*turn),
	}
	return g, nil
}

// Close ends fetching of keys and waits for it. The gate decides with the keys
// it has from then on.
func (g *Gate) Close() {
	g.keys.close()
}

func address(name, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("gate: %s: %q is not a web address such as https://tickets.example", name, text)
	}
	return u, nil
}

type passKey struct{}

// From returns the pass that a request came through with; none if it was exempt
// or the room lets everybody through.
func From(ctx context.Context) (p pass.Pass, ok bool) {
	p, ok = ctx.Value(passKey{}).(pass.Pass)
	return p, ok
}

// Protect returns site behind the gate.
func (g *Gate) Protect(site http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handed, rest := pass.TakeOver(r.URL.RawQuery)
		if handed != "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			g.takeOver(w, r, handed, rest)
			return
		}
		r = inner(r, rest)
		if g.options.Exempt != nil && g.options.Exempt(r) {
			site.ServeHTTP(w, r)
			return
		}
		p, err := g.admit(r)
		if err != nil {
			g.refuse(w, r, err)
			return
		}
		if p != (pass.Pass{}) {
			r.Header.Set(VisitorHeader, p.Visitor)
			r.Header.Set(LeaseEndsHeader, p.Expires.UTC().Format(time.RFC3339))
			r = r.WithContext(context.WithValue(r.Context(), passKey{}, p))
		}
		site.ServeHTTP(w, r)
	})
}

// inner is the request as the site sees it: without a pass in its address, which
// the site might log, and without headers that only the gate may set.
func inner(r *http.Request, query string) *http.Request {
	in := *r
	in.Header = r.Header.Clone()
	in.Header.Del(VisitorHeader)
	in.Header.Del(LeaseEndsHeader)
	if query != r.URL.RawQuery {
		u := *r.URL
		u.RawQuery = query
		in.URL, in.RequestURI = &u, u.RequestURI()
	}
	return &in
}

// admit returns the good pass of a request, none if the room lets everybody
// through, or the reason to refuse it.
func (g *Gate) admit(r *http.Request) (pass.Pass, error) {
	refused := errNoPass
	for _, token := range g.tokens(r) {
		p, err := g.verify(r.Context(), token)
		if err == nil && !g.turns.over(r.Context(), token) {
			return p, nil
		}
		if err == nil {
			err = errTurnOver
		}
		if !errors.Is(refused, errNoKeys) {
			refused = err
		}
	}
	if g.turns.everybody(r.Context()) {
		return pass.Pass{}, nil
	}
	return pass.Pass{}, refused
}

// Why a request is refused.
var (
	errNoPass   = errors.New("this site is entered through its waiting room")
	errTurnOver = errors.New("the turn of this pass is over")
	errNoKeys   = errors.New("passes cannot be checked at the moment")
)

// mostTokens bounds the work that one request can ask for.
const mostTokens = 4

// tokens are the passes a request may carry. A site can have bearer tokens of
// its own: one that is no pass does not spoil the cookie.
func (g *Gate) tokens(r *http.Request) (all []string) {
	for _, cookie := range r.CookiesNamed(g.cookieName(r)) {
		if len(all) < mostTokens-1 && cookie.Value != "" {
			all = append(all, cookie.Value)
		}
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); strings.EqualFold(scheme, "Bearer") && token != "" {
		all = append(all, token)
	}
	return all
}

// verify checks a pass. It returns errNoKeys, or what is wrong with the pass.
func (g *Gate) verify(ctx context.Context, token string) (pass.Pass, error) {
	kid := pass.KeyID(token)
	if kid == "" {
		return pass.Pass{}, pass.ErrInvalid // not worth fetching keys for
	}
	keys := g.keys.forKey(ctx, kid)
	if keys == nil {
		return pass.Pass{}, errNoKeys
	}
	p, err := keys.Pass(token, g.options.Event, g.now())
	if err != nil {
		return pass.Pass{}, err
	}
	return p, nil
}

// takeOver moves a pass from the address into a cookie.
func (g *Gate) takeOver(w http.ResponseWriter, r *http.Request, token, rest string) {
	clean := here(r.URL, rest)
	hush(w)
	// A visitor who is in stays who they are, whatever link they follow.
	if p, err := g.admit(inner(r, rest)); err == nil && p != (pass.Pass{}) {
		redirect(w, clean)
		return
	}
	p, err := g.verify(r.Context(), token)
	if err == nil && g.turns.over(r.Context(), token) {
		err = errTurnOver
	}
	if err != nil && g.turns.everybody(r.Context()) {
		redirect(w, clean)
		return
	}
	if err != nil {
		g.disagree(w, r, err, clean)
		return
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure follows the scheme of the site
		Name: g.cookieName(r), Value: token, Path: "/", HttpOnly: true, Secure: g.secure(r), SameSite: http.SameSiteLaxMode,
		MaxAge: max(1, int(p.Expires.Sub(g.now()).Seconds())),
	})
	redirect(w, clean)
}

// here is the requested address, with that query, as a reference that cannot
// leave the host it is followed on.
func here(u *url.URL, query string) string {
	path := u.EscapedPath()
	// "//evil.example" and "/\evil.example" are other hosts to a browser.
	path = "/" + strings.TrimLeft(path, `/\`)
	if query != "" {
		path += "?" + query
	}
	return plain(path)
}

// plain percent-encodes what does not belong into a header or an address.
func plain(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ', c >= 0x7f, c == '\\', c == '"', c == '<', c == '>', c == '`':
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (g *Gate) secure(r *http.Request) bool {
	if g.site != nil {
		return g.site.Scheme == "https"
	}
	return r.TLS != nil
}

func (g *Gate) cookieName(r *http.Request) string {
	if g.options.Cookie != "" {
		return g.options.Cookie
	}
	if g.secure(r) {
		return "__Host-onsale_pass_" + g.options.Event
	}
	return "onsale_pass_" + g.options.Event
}

// longestReturn is what onsale accepts as a way back, in bytes.
const longestReturn = 2048

// queueFor is the address of the queue for a visitor on their way to r.
func (g *Gate) queueFor(r *http.Request) string {
	origin := "http://" + r.Host
	if g.site != nil {
		origin = g.site.Scheme + "://" + g.site.Host
	} else if r.TLS != nil {
		origin = "https://" + r.Host
	}
	back := origin + "/"
	if r.Method == http.MethodGet || r.Method == http.MethodHead { // a form cannot be sent again by opening its address
		_, rest := pass.TakeOver(r.URL.RawQuery)
		if full := origin + here(r.URL, rest); len(full) <= longestReturn {
			back = full
		}
	}
	to := *g.queue
	query := to.Query()
	query.Set("return", back)
	to.RawQuery = query.Encode()
	return to.String()
}
