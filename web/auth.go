package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/internal/fault"
	"onsale/waitroom/pass"
)

// Who is asking. Programs send a bearer token, browsers cookies that carry the
// same tokens; a bearer token wins, and a bad one is refused rather than
// passed over for a cookie.

const (
	visitorCookie = "onsale_visitor"
	passCookie    = "onsale_pass_" // + event
	visitorLife   = 30 * 24 * time.Hour
	mostToken     = 2048 // bytes
)

// cookieName adds the prefix that binds a cookie to this host over TLS.
func (s *Server) cookieName(name string) string {
	if s.secure {
		return "__Host-" + name
	}
	return name
}

// setCookie writes by hand what http.SetCookie would make of it: at a rush
// everybody gets one. Names are ours and values tokens, so nothing has to be
// quoted or left out.
func (s *Server) setCookie(c *gin.Context, name, value string, expires time.Time) {
	b := make([]byte, 0, 512)
	b = append(append(append(b, s.cookieName(name)...), '='), value...)
	b = expires.UTC().AppendFormat(append(b, "; Path=/; Expires="...), http.TimeFormat)
	age := max(1, int64(expires.Sub(s.Clock()).Seconds())) // right even where the clock is not
	b = append(strconv.AppendInt(append(b, "; Max-Age="...), age, 10), "; HttpOnly"...)
	if s.secure {
		b = append(b, "; Secure"...)
	}
	c.Writer.Header().Add("Set-Cookie", string(append(b, "; SameSite=Lax"...)))
}

func (s *Server) setVisitorCookie(c *gin.Context, token string) {
	s.setCookie(c, visitorCookie, token, s.Clock().Add(visitorLife))
}

func (s *Server) setPassCookie(c *gin.Context, event, token string, leaseEnds time.Time) {
	s.setCookie(c, passCookie+event, token, leaseEnds)
}

func (s *Server) cookie(c *gin.Context, name string) string {
	v, err := c.Cookie(s.cookieName(name))
	if err != nil || len(v) > mostToken {
		return ""
	}
	return v
}

// bearer returns the bearer token of the request, "" if there is none.
func bearer(c *gin.Context) (string, error) {
	h := c.GetHeader("Authorization")
	if h == "" {
		return "", nil
	}
	scheme, token, ok := strings.Cut(h, " ")
	token = strings.TrimSpace(token)
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > mostToken {
		return "", fault.New(fault.Unauthorized, "Authorization must be: Bearer <token>")
	}
	return token, nil
}

// visitor finds out which visitor is asking: by a visitor token, or by a pass
// for event (which may have lapsed: it still says who it was made for). "" if
// the request carries neither.
func (s *Server) visitor(c *gin.Context, event string) (string, error) {
	token, err := bearer(c)
	if err != nil {
		return "", err
	}
	now := s.Clock()
	if token != "" {
		if v, err := s.Keys.Visitor(token, now); err == nil {
			return v, nil
		}
		// A pass says who it was made for even after it lapsed.
		if p, err := s.Keys.Pass(token, event, time.Unix(1, 0)); event != "" && err == nil {
			return p.Visitor, nil
		}
		return "", fault.New(fault.Unauthorized, "the token is not a valid visitor token")
	}
	if token := s.cookie(c, visitorCookie); token != "" {
		if v, err := s.Keys.Visitor(token, now); err == nil {
			return v, nil
		}
	}
	return "", nil
}

// shownPass is the pass that a request carries beside whatever says who asks, ""
// for none. It is not verified.
func (s *Server) shownPass(c *gin.Context, event string) string {
	if token, err := bearer(c); err == nil && token != "" {
		return token
	}
	return s.cookie(c, passCookie+event)
}

// shopper demands a pass for event and returns its visitor.
func (s *Server) shopper(c *gin.Context, event string) (string, error) {
	token, err := bearer(c)
	if err != nil {
		return "", err
	}
	if token == "" {
		token = s.cookie(c, passCookie+event)
	}
	if token == "" {
		return "", fault.New(fault.PassRequired, "the shop of this event is entered through its waiting room").
			With("queue", s.queueURL(event))
	}
	p, err := s.Keys.Pass(token, event, s.Clock())
	if err != nil {
		return "", s.passFault(err, event)
	}
	return p.Visitor, nil
}

// anyShopper demands a pass for whichever event has the hold, since an order
// names only the hold.
func (s *Server) anyShopper(c *gin.Context, hold string) (visitor, event string, err error) {
	token, err := bearer(c)
	if err != nil {
		return "", "", err
	}
	if token != "" {
		p, err := s.Keys.PassOfAnyEvent(token, s.Clock())
		if err != nil {
			return "", "", s.passFault(err, "")
		}
		return p.Visitor, p.Event, nil
	}
	err = fault.New(fault.PassRequired, "a pass for the event of the hold is needed")
	left := 20 // events one browser shops at
	for _, cookie := range c.Request.Cookies() {
		of, ok := strings.CutPrefix(cookie.Name, s.cookieName(passCookie))
		if !ok || len(cookie.Value) > mostToken {
			continue
		}
		if left--; left < 0 {
			break
		}
		p, perr := s.Keys.Pass(cookie.Value, of, s.Clock())
		if perr != nil {
			err = s.passFault(perr, of)
			continue
		}
		_, herr := s.Shop.GetHold(c.Request.Context(), of, p.Visitor, hold)
		if herr == nil {
			return p.Visitor, of, nil
		}
		if fault.Is(herr, fault.HoldLapsed) {
			// The order may exist although the hold is gone: the order store
			// decides if nothing better turns up.
			visitor, event = p.Visitor, of
		} else {
			err = herr
		}
	}
	if visitor != "" {
		err = nil
	}
	return visitor, event, err
}

// passFault says what is wrong with a pass.
func (s *Server) passFault(err error, event string) error {
	switch {
	case errors.Is(err, pass.ErrExpired):
		f := fault.Wrap(err, fault.PassLapsed, "your time in the shop is over; join the queue again")
		if event != "" {
			f = f.With("queue", s.queueURL(event))
		}
		return f
	case errors.Is(err, pass.ErrOtherEvent):
		return fault.Wrap(err, fault.Forbidden, "the pass is for another event")
	}
	return fault.Wrap(err, fault.Unauthorized, "the pass is not valid")
}

// queueURL is where a browser joins the line of an event.
func (s *Server) queueURL(event string) string {
	return strings.TrimSuffix(s.PublicURL.String(), "/") + "/queue/" + event
}

// requireAdmin lets only operators pass.
func (s *Server) requireAdmin(c *gin.Context) {
	token, err := bearer(c)
	if err == nil && !s.isAdmin(token) {
		err = fault.New(fault.Unauthorized, "an admin token is needed")
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Next()
	if c.Request.Method != http.MethodGet && changesEvents(c.FullPath()) {
		s.epoch.Add(1) // they want to see at once what they have done
		s.drafts.forget()
	}
}

// changesEvents tells whether what is written to a route may be seen in events.
// Scans at the door, say, are not.
func changesEvents(route string) bool {
	return strings.HasPrefix(route, adminEventsPath) || strings.HasPrefix(route, adminVenuesPath) || strings.HasPrefix(route, adminArtistsPath) || strings.HasPrefix(route, "/v1/admin/rooms")
}

// isAdmin compares digests, so that neither time nor length tells anything.
func (s *Server) isAdmin(token string) bool {
	if s.AdminToken == "" || token == "" {
		return false
	}
	given, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.AdminToken))
	return subtle.ConstantTimeCompare(given[:], want[:]) == 1
}
