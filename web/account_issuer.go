package web

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"onsale/checkout/account"
	"onsale/internal/fault"
	"onsale/waitroom"
)

// Signing in at the issuer. Whoever sets out here is a person with a browser, and so
// is whoever comes back: what goes wrong is said on the page of accounts, in our own
// words. Nothing that the issuer says is shown.

const (
	signInCookie   = "onsale_sign_in"
	oidcPath       = "/v1/account/oidc"
	callbackPath   = oidcPath + "/callback"
	mostBack       = 512     // bytes; it goes into a cookie
	mostIssuerCode = 4 << 10 // bytes
)

// CallbackURL is where the issuer sends browsers back to: the redirect URI of its
// client.
func CallbackURL(public *url.URL) string {
	return strings.TrimSuffix(public.String(), "/") + callbackPath
}

// setback is why a sign-in led to nothing, as the page of accounts is told it.
type setback string

const (
	setbackLost     setback = "lost"
	setbackDeclined setback = "declined"
	setbackRefused  setback = "refused"
	setbackDown     setback = "down"
	setbackBusy     setback = "busy"
	setbackOurs     setback = "ours"
)

// text is what people read; "" for what is no setback.
func (b setback) text(issuer string) string {
	switch b {
	case setbackLost:
		return "This sign-in took too long, or began in another window or browser. You are not signed in."
	case setbackDeclined:
		return fmt.Sprintf("%s did not sign you in: that was cancelled, or not allowed, over there.", issuer)
	case setbackRefused:
		return fmt.Sprintf("What %s answered could not be used. You are not signed in; if trying again does not help, tell the organiser.", issuer)
	case setbackDown:
		return fmt.Sprintf("%s does not answer at the moment. You are not signed in; try again in a minute.", issuer)
	case setbackBusy:
		return "Many people on your network are signing in right now. You are not signed in; try again in a moment."
	case setbackOurs:
		return "Something went wrong on our side. You are not signed in; try again in a minute."
	}
	return ""
}

func setbackOf(err error) setback {
	switch {
	case errors.Is(err, account.ErrLost):
		return setbackLost
	case errors.Is(err, account.ErrDeclined):
		return setbackDeclined
	case errors.Is(err, account.ErrRefused):
		return setbackRefused
	case errors.Is(err, account.ErrIssuerDown):
		return setbackDown
	}
	return setbackOurs
}

// departToIssuer sends a browser to the issuer, to sign in.
func (s *Server) departToIssuer(c *gin.Context) {
	back, err := s.backTo(c.Query("return"))
	if err != nil {
		s.failPage(c, err)
		return
	}
	d, err := s.Accounts.Depart(c.Request.Context(), back)
	if err != nil {
		s.notSignedIn(c, setbackOf(err), back, err)
		return
	}
	s.setCookie(c, signInCookie, d.Token, d.Expires)
	onward(c, d.Address)
}

// arriveFromIssuer signs in who comes back.
func (s *Server) arriveFromIssuer(c *gin.Context) {
	key := sha256.Sum256([]byte("issuer " + waitroom.Network(c.ClientIP()))) // each asks the issuer, and waits
	if !s.atOnce.enter(key) {
		s.notSignedIn(c, setbackBusy, "", nil)
		return
	}
	defer s.atOnce.leave(key)
	a := account.Arrival{
		Token: s.cookie(c, signInCookie), State: c.Query("state"), Code: c.Query("code"), Error: c.Query("error"), Issuer: c.Query("iss"),
	}
	if len(a.Code) > mostIssuerCode {
		a.Code = ""
	}
	visitor := ""
	if token := s.cookie(c, visitorCookie); token != "" {
		if v, err := s.Keys.Visitor(token, s.Clock()); err == nil {
			visitor = v
		}
	}
	in, back, err := s.Accounts.Arrive(c.Request.Context(), &a, visitor)
	if !errors.Is(err, account.ErrLost) { // who brings another's state ends no sign-in of this browser
		s.clearCookie(c, signInCookie)
	}
	if err != nil {
		s.notSignedIn(c, setbackOf(err), back, err)
		return
	}
	s.beginSession(c, &in)
	onward(c, origin(s.PublicURL)+back)
}

// notSignedIn leads back to where one can try again.
func (s *Server) notSignedIn(c *gin.Context, why setback, back string, err error) {
	if fault.Is(err, fault.NotFound) {
		onward(c, origin(s.PublicURL)+s.accountPath()) // which says how one signs in here, if at all
		return
	}
	if err != nil && why != setbackLost && why != setbackDeclined {
		s.log.WarnContext(c.Request.Context(), "a sign-in at the issuer failed", slog.String("request_id", requestID(c)), slog.Any("error", err))
	}
	to := s.accountPath() + "?failed=" + string(why)
	if back != "" && back != s.accountPath() {
		to += "&return=" + url.QueryEscape(back)
	}
	onward(c, origin(s.PublicURL)+to)
}

// onward redirects without leaving a trace of this address, which may hold a code.
func onward(c *gin.Context, location string) {
	c.Header("Cache-Control", "private, no-store")
	c.Header("Referrer-Policy", "no-referrer")
	redirectTo(c, location)
}

func (s *Server) accountPath() string { return strings.TrimSuffix(s.PublicURL.Path, "/") + "/account" }

// signInFrom is where a browser signs in to go on at one of our pages.
func (s *Server) signInFrom(page string) string {
	at := strings.TrimSuffix(s.PublicURL.Path, "/")
	return at + oidcPath + "?return=" + url.QueryEscape(at+page)
}

// backTo reads at which page to go on after signing in: a path of this site, and no
// other address, whoever wrote the link.
func (s *Server) backTo(text string) (string, error) {
	if text == "" {
		return s.accountPath(), nil
	}
	refused := fault.New(fault.Invalid, "query parameter \"return\" must be the path of a page of this site, of at most %d bytes", mostBack)
	if len(text) > mostBack || !utf8.ValidString(text) || strings.ContainsFunc(text, notInAddress) ||
		!strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") {
		return "", refused
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return "", refused
	}
	if at := path.Clean(u.Path) + "/"; strings.HasPrefix(at, "/v1/") { // not a page, and no way round in circles
		return "", refused
	}
	back := u.EscapedPath()
	if u.RawQuery != "" {
		back += "?" + escapeText(u.RawQuery)
	}
	if len(back) > mostBack || strings.HasPrefix(back, "//") {
		return "", refused
	}
	return back, nil
}

// accountPage says only how one signs in, and why it did not work: who it is for
// stays with the API.
func (s *Server) accountPage(c *gin.Context) {
	why := setback(c.Query("failed"))
	text := why.text(s.Accounts.IssuerName)
	if text == "" {
		why = ""
	}
	s.page(c, "account.html", string(why), func(context.Context) (content, error) {
		data := map[string]any{"sign_in": s.Accounts.SignIn}
		if !s.Accounts.ByBrowser() {
			return content{Title: "My orders · onsale", Data: data}, nil
		}
		data["issuer"] = s.Accounts.IssuerName
		if text != "" {
			data["failed"] = text
		}
		essentials, err := execute(accountEssentials, map[string]string{"Issuer": s.Accounts.IssuerName, "Failed": text, "Path": oidcPath})
		return content{Title: "My orders · onsale", Essentials: essentials, Data: data}, err
	})
}

// Only for browsers without scripts: others learn first whether somebody is signed in.
var accountEssentials = template.Must(template.New("account").Parse(`<noscript><section class="card panel stack"><h1>My orders</h1>
{{with .Failed}}<div class="notice bad" role="alert">{{.}}</div>{{end}}
<p><a class="button primary" href="{{.Path}}">Sign in with {{.Issuer}}</a></p></section></noscript>`))
