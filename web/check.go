package web

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"onsale/internal/fault"
	"onsale/waitroom"
	"onsale/waitroom/pass"
)

// Protecting another site: a proxy in front of it asks check about every
// request, and the queue page sends visitors back to it, through enter if it
// is on another host. docs/protecting-a-site.md tells how it is used.

// What the proxy may pass on to the site.
const (
	visitorHeader   = "X-Onsale-Visitor"
	leaseEndsHeader = "X-Onsale-Lease-Ends"
)

// checkPass answers a proxy that asks whether a request may go through to a
// protected site: 204, or 401 with the way to the line. In the mode redirect,
// for proxies that hand our answer to the browser, a page gets a redirect.
func (s *Server) checkPass(c *gin.Context) {
	event, err := id(c, "event")
	if err != nil {
		s.fail(c, err)
		return
	}
	mode := c.Query("mode")
	if mode != "" && mode != "status" && mode != "redirect" {
		s.fail(c, fault.New(fault.Invalid, "query parameter \"mode\" must be status or redirect"))
		return
	}
	c.Header("Cache-Control", "no-store")
	// The one place where the room of a protected site is looked up. A room that
	// is bypassed lets everybody through from here.
	err = s.publicRoom(c.Request.Context(), event)
	var room waitroom.Room
	if err == nil {
		room, err = s.Rooms.Room(c.Request.Context(), event)
	}
	if fault.Is(err, fault.NotFound) {
		s.fail(c, err)
		return
	}
	if err == nil && room.Bypass && room.State == waitroom.Open {
		c.Status(http.StatusNoContent)
		return
	}
	p, err := s.turn(c, event)
	if err == nil {
		c.Header(visitorHeader, p.Visitor)
		c.Header(leaseEndsHeader, p.Expires.UTC().Format(time.RFC3339))
		c.Status(http.StatusNoContent)
		return
	}
	location := s.queueURL(event)
	if back := s.askedFor(c); back != nil {
		location += "?return=" + url.QueryEscape(back.String())
	}
	c.Header("Location", location)
	if mode == "redirect" && wantsPage(c.Request) {
		c.Status(http.StatusSeeOther)
		return
	}
	s.fail(c, fault.Wrap(err, fault.PassRequired, "this site is entered through its waiting room").With("queue", location))
}

// turn returns the pass of a checked request whose turn still runs. The site
// may use Authorization for itself: a token there that is no pass does not
// spoil the cookie.
func (s *Server) turn(c *gin.Context, event string) (pass.Pass, error) {
	tokens := []string{s.cookie(c, passCookie+event)}
	if token, err := bearer(c); err == nil {
		tokens = append(tokens, token)
	}
	var refused error = fault.New(fault.PassRequired, "no pass was sent")
	for _, token := range tokens {
		if token == "" {
			continue
		}
		p, err := s.Keys.Pass(token, event, s.Clock())
		if err != nil {
			refused = s.passFault(err, event)
			continue
		}
		v, err := s.Rooms.LookUp(c.Request.Context(), event, p.Visitor)
		switch {
		case fault.Is(err, fault.NotFound), fault.Is(err, fault.UnknownVisitor):
			refused = err
		case err != nil:
			// The pass itself is good; an outage of the room must not lock out
			// those it has let in.
			return p, nil //nolint:nilerr // as said above
		case v.State != waitroom.Shopping:
			refused = fault.New(fault.PassLapsed, "the turn of this pass is over")
		default:
			p.Expires = v.Until
			return p, nil
		}
	}
	return pass.Pass{}, refused
}

// askedFor is where a checked request wanted to go, as the proxy tells it; nil
// unless that is one of our origins.
func (s *Server) askedFor(c *gin.Context) *url.URL {
	to := c.Query("return")
	if to == "" {
		to = c.GetHeader("X-Original-URL")
	}
	if to == "" && c.GetHeader("X-Forwarded-Host") != "" {
		to = c.GetHeader("X-Forwarded-Proto") + "://" + c.GetHeader("X-Forwarded-Host") + c.GetHeader("X-Forwarded-Uri")
	}
	u := s.returnTo(to)
	if u != nil && !reads(askedMethod(c.Request)) {
		// A form cannot be sent again by opening its address.
		return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}
	}
	return u
}

// askedMethod is the method of the request that a proxy asks about; the proxy's
// own is always GET.
func askedMethod(r *http.Request) string {
	for _, name := range []string{"X-Original-Method", "X-Forwarded-Method"} {
		if m := r.Header.Get(name); m != "" {
			return m
		}
	}
	return r.Method
}

func reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// wantsPage reports whether a browser wants to show the answer as a page.
// Browsers say so since 2023; older ones at least accept HTML.
func wantsPage(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html") && r.Header.Get("X-Requested-With") == "" && r.Header.Get("Upgrade") == ""
}

// enterSite sends a visitor whose turn runs to the protected site they came
// from, with their pass if it is on another host, which cannot see our cookies.
// Anybody else is sent to the line.
func (s *Server) enterSite(c *gin.Context) {
	event, err := id(c, "event")
	if err != nil {
		s.failPage(c, err)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.Header("Referrer-Policy", "no-referrer") // the address we send to carries the pass
	to := s.returnTo(c.Query("return"))
	ctx := c.Request.Context()
	visitor, err := s.visitor(c, event)
	if err != nil {
		s.failPage(c, err)
		return
	}
	var room waitroom.Room
	if err = s.publicRoom(ctx, event); err == nil {
		room, err = s.Rooms.Room(ctx, event)
	}
	if err != nil {
		s.failPage(c, err)
		return
	}
	var me waitroom.Me
	if visitor != "" {
		v, err := s.Rooms.LookUp(ctx, event, visitor)
		if err == nil {
			me = s.Rooms.Compose(&room, room.Info(), &v)
		} else if !fault.Is(err, fault.UnknownVisitor) && !fault.Is(err, fault.NotFound) {
			s.failPage(c, err)
			return
		}
	}
	if me.Pass == nil {
		location := s.queueURL(event)
		if to != nil {
			location += "?return=" + url.QueryEscape(to.String())
		}
		redirectTo(c, location)
		return
	}
	s.passCookie(c, event, &me)
	switch {
	case to == nil:
		redirectTo(c, strings.TrimSuffix(s.PublicURL.String(), "/")+"/events/"+event)
	case s.ours(to):
		redirectTo(c, to.String())
	default:
		redirectTo(c, pass.HandOver(to, *me.Pass).String())
	}
}

// redirectTo has no body: a page with the address in it would be one more place
// that tells the pass.
func redirectTo(c *gin.Context, location string) {
	c.Header("Location", location)
	c.Status(http.StatusSeeOther)
}

// ours reports whether u is on the host that has our cookies.
func (s *Server) ours(u *url.URL) bool { return returnOrigin(u) == returnOrigin(s.PublicURL) }

const mostReturn = 2048 // bytes

// returnTo reads where a visitor wants to be sent when their turn comes. It is
// nil for anything but a page on one of our origins: what is sent to the
// browser must not lead elsewhere, whoever wrote the link.
func (s *Server) returnTo(text string) *url.URL {
	if text == "" || len(text) > mostReturn || !utf8.ValidString(text) || strings.ContainsFunc(text, notInAddress) {
		return nil
	}
	// A path is one of ours. "https:x" and "x" mean different things to us and to
	// browsers.
	lower := strings.ToLower(text)
	if !strings.HasPrefix(text, "/") && !strings.HasPrefix(lower, "https://") && !strings.HasPrefix(lower, "http://") {
		return nil
	}
	u, err := s.PublicURL.Parse(text)
	if err != nil || u.User != nil || u.Opaque != "" || !s.returns[returnOrigin(u)] {
		return nil
	}
	u.Host = canonicalHost(u)
	if u.Path == "" {
		u.Path = "/"
	}
	if s.ours(u) {
		// The queue and the API are no places to shop at: the page would send its
		// visitor to and fro.
		at := path.Clean("/"+u.Path) + "/"
		if strings.HasPrefix(at, "/queue/") || strings.HasPrefix(at, "/v1/rooms/") {
			return nil
		}
	}
	_, u.RawQuery = pass.TakeOver(escapeText(u.RawQuery))
	u.RawFragment = ""
	// What goes out is judged once more as it is written.
	again, err := url.Parse(u.String())
	if err != nil || returnOrigin(again) != returnOrigin(u) || again.User != nil {
		return nil
	}
	return u
}

// notInAddress are characters that browsers drop, or read as others.
func notInAddress(r rune) bool {
	return r == '\\' || unicode.IsControl(r) || unicode.IsSpace(r) || !unicode.IsPrint(r)
}

// escapeText percent-encodes what url.URL leaves as it is in a query.
func escapeText(query string) string {
	var b strings.Builder
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '\'' || c == '`' {
			b.WriteString(url.PathEscape(query[i : i+1]))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// returnOrigin is the origin of u in one spelling.
func returnOrigin(u *url.URL) string { return strings.ToLower(u.Scheme) + "://" + canonicalHost(u) }

// canonicalHost is the host in lower case, without the port that its scheme has
// anyway.
func canonicalHost(u *url.URL) string {
	host := strings.ToLower(u.Host)
	host = strings.TrimSuffix(host, ":")
	switch strings.ToLower(u.Scheme) {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return host
}

// returnOrigins are the allowed origins in one spelling.
func returnOrigins(origins map[string]bool) map[string]bool {
	all := make(map[string]bool, len(origins))
	for text := range origins {
		if u, err := url.Parse(text); err == nil {
			all[returnOrigin(u)] = true
		}
	}
	return all
}
