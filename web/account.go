package web

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/checkout"
	"onsale/checkout/account"
	"onsale/internal/fault"
)

// Accounts, and what everybody may have done with what is known about them.

const (
	sessionCookie = "onsale_session"
	mostIDToken   = 8 << 10 // bytes
)

func (s *Server) accountRoutes(r gin.IRouter) {
	if s.Accounts == nil {
		return
	}
	few := s.atOnce.limit(s)
	here := s.atOnce.limitAddress(s) // each waits for those before it, with a connection of the database
	r.POST("/v1/account/code", here, s.askCode)
	r.POST("/v1/account/session", here, s.signIn)
	r.DELETE("/v1/account/session", s.signOut)
	r.GET(oidcPath, s.departToIssuer)
	r.GET(callbackPath, s.arriveFromIssuer)
	r.GET("/v1/account", s.getAccount)
	r.PATCH("/v1/account", s.patchAccount)
	r.DELETE("/v1/account", few, s.eraseAccount)
	r.GET("/v1/account/orders", s.accountOrders)
	r.GET("/v1/account/export", few, s.exportAccount)
	r.POST("/v1/orders/:id/erase", few, s.eraseOrder)
	a := r.Group("/v1/admin/people", s.requireAdmin)
	a.GET("/export", s.adminExportPerson)
	a.POST("/erase", s.adminErasePerson)
}

// clearCookie has a browser forget a cookie.
func (s *Server) clearCookie(c *gin.Context, name string) {
	text := s.cookieName(name) + "=; Path=/; Max-Age=0; HttpOnly"
	if s.secure {
		text += "; Secure"
	}
	c.Writer.Header().Add("Set-Cookie", text+"; SameSite=Lax")
}

// forgetVisitor makes a browser nobody's: the visitor it was belongs to an account.
func (s *Server) forgetVisitor(c *gin.Context) {
	for _, cookie := range c.Request.Cookies() {
		name, ok := strings.CutPrefix(cookie.Name, s.cookieName(""))
		if ok && (name == visitorCookie || strings.HasPrefix(name, passCookie) && len(name) < 64) {
			s.clearCookie(c, name)
		}
	}
}

// account demands a session.
func (s *Server) account(c *gin.Context) (account.Account, error) {
	token, err := bearer(c)
	if err != nil {
		return account.Account{}, err
	}
	if token == "" {
		token = s.cookie(c, sessionCookie)
	}
	if token == "" {
		return account.Account{}, fault.New(fault.Unauthorized, "sign in first")
	}
	return s.Accounts.Session(c.Request.Context(), token)
}

// linkBuyer makes the visitor who is about to order a device of the account that the
// browser is signed in to, so that both are one buyer. A session that is over makes
// them a guest.
func (s *Server) linkBuyer(c *gin.Context, visitor string) error {
	token := s.cookie(c, sessionCookie)
	if s.Accounts == nil || token == "" {
		return nil
	}
	who, err := s.Accounts.Session(c.Request.Context(), token)
	if fault.Is(err, fault.Unauthorized) {
		return nil
	}
	if err == nil {
		err = s.Accounts.Link(c.Request.Context(), who.ID, visitor)
	}
	return err
}

func (s *Server) askCode(c *gin.Context) {
	var b struct {
		Email string `json:"email"`
	}
	err := body(c, &b)
	if err == nil {
		err = s.Accounts.AskCode(c.Request.Context(), b.Email, c.ClientIP())
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusAccepted, gin.H{"status": "sent"})
}

func (s *Server) signIn(c *gin.Context) {
	var b struct {
		Email   string `json:"email"`
		Code    string `json:"code"`
		IDToken string `json:"id_token"`
	}
	err := body(c, &b)
	switch {
	case err != nil:
	case (b.IDToken != "") == (b.Email != "" || b.Code != ""):
		err = fault.New(fault.Invalid, "sign in with email and code, or with id_token")
	case len(b.IDToken) > mostIDToken:
		err = fault.New(fault.Invalid, "id_token is longer than %d bytes", mostIDToken)
	case len(b.Code) > mostCode:
		err = fault.New(fault.Invalid, "code is longer than %d characters", mostCode)
	}
	var visitor string
	if err == nil {
		visitor, err = s.visitor(c, "")
	}
	var in account.SignedIn
	switch {
	case err != nil:
	case b.IDToken != "":
		in, err = s.Accounts.WithIDToken(c.Request.Context(), b.IDToken, visitor)
	default:
		in, err = s.Accounts.WithCode(c.Request.Context(), b.Email, b.Code, visitor)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.beginSession(c, &in)
	private(c, http.StatusOK, gin.H{"account": in.Account, "session_token": in.Token, "expires_at": in.Expires.UTC()})
}

// beginSession gives a browser the cookie of a session.
func (s *Server) beginSession(c *gin.Context, in *account.SignedIn) {
	if in.Foreign {
		s.forgetVisitor(c)
	}
	s.setCookie(c, sessionCookie, in.Token, in.Expires)
}

func (s *Server) signOut(c *gin.Context) {
	who, err := s.account(c)
	var b struct {
		Everywhere bool `json:"everywhere"`
	}
	if err == nil {
		err = body(c, &b)
	}
	if err == nil && b.Everywhere {
		err = s.Accounts.EndSessions(c.Request.Context(), who.ID)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.signedOut(c)
}

// signedOut ends a session in this browser. Who uses it next is somebody else, as far
// as anybody knows: what they buy must not be this account's.
func (s *Server) signedOut(c *gin.Context) {
	s.clearCookie(c, sessionCookie)
	s.forgetVisitor(c)
	c.Header("Cache-Control", "private, no-store")
	c.Status(http.StatusNoContent)
}

func (s *Server) getAccount(c *gin.Context) {
	who, err := s.account(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, who)
}

func (s *Server) patchAccount(c *gin.Context) {
	who, err := s.account(c)
	var b struct {
		Name *string `json:"name"`
	}
	if err == nil {
		err = body(c, &b)
	}
	if err == nil && b.Name == nil {
		err = fault.New(fault.Invalid, "name is missing")
	}
	if err == nil {
		who, err = s.Accounts.Rename(c.Request.Context(), who.ID, *b.Name)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, who)
}

func (s *Server) accountOrders(c *gin.Context) {
	who, err := s.account(c)
	var limit int
	if err == nil {
		limit, err = limitOf(c, 20, 100)
	}
	var page checkout.OrderPage
	if err == nil {
		page, err = s.Accounts.Orders(c.Request.Context(), who.ID, checkout.OrderQuery{Cursor: c.Query("cursor"), Limit: limit})
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	views := make([]any, len(page.Orders))
	for i := range page.Orders {
		views[i] = s.orderView(page.Orders[i])
	}
	private(c, http.StatusOK, gin.H{"orders": views, "next_cursor": orNull(page.Next)})
}

func (s *Server) exportAccount(c *gin.Context) {
	who, err := s.account(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.sendPerson(c, account.Person{Account: who.ID})
}

// sendPerson sends what is known about somebody as it is read.
func (s *Server) sendPerson(c *gin.Context, p account.Person) {
	// Longer than other answers may take.
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Time{})
	out := &personFile{c: c, now: s.Clock()}
	err := s.Accounts.Export(c.Request.Context(), p, out.write)
	if err == nil {
		err = out.end()
	}
	if err == nil {
		return
	}
	if out.begun {
		s.log.WarnContext(c.Request.Context(), "an export was cut off", slog.String("request_id", requestID(c)), slog.Any("error", err))
		panic(http.ErrAbortHandler) // so that nobody takes it for the whole
	}
	s.fail(c, err)
}

// personFile is the JSON document of an export: a member for each section.
type personFile struct {
	c     *gin.Context
	now   time.Time
	begun bool
	at    int // section that is being written
	items int // in it
}

func (f *personFile) say(text ...string) error {
	for _, t := range text {
		if _, err := f.c.Writer.WriteString(t); err != nil {
			return err
		}
	}
	return nil
}

func (f *personFile) write(s account.Section, item json.RawMessage) error {
	if err := f.to(s.Name); err != nil {
		return err
	}
	if f.items++; f.items > 1 {
		if err := f.say(","); err != nil {
			return err
		}
	}
	return f.say(string(item))
}

// to goes on to a section, past those that have nothing; "" is behind the last.
func (f *personFile) to(name string) error {
	if !f.begun {
		f.begun = true
		h := f.c.Writer.Header()
		h.Set("Content-Type", "application/json; charset=utf-8")
		h.Set("Content-Disposition", `attachment; filename="personal-data.json"`)
		h.Set("Cache-Control", "private, no-store")
		if err := f.say(`{"as_of":"`, f.now.UTC().Format(time.RFC3339), `"`, f.opening()); err != nil {
			return err
		}
	}
	for f.at < len(account.Sections) && account.Sections[f.at].Name != name {
		end := ""
		switch {
		case account.Sections[f.at].List:
			end = "]"
		case f.items == 0:
			end = "null"
		}
		f.at, f.items = f.at+1, 0
		if err := f.say(end, f.opening()); err != nil {
			return err
		}
	}
	return nil
}

func (f *personFile) opening() string {
	if f.at == len(account.Sections) {
		return "}"
	}
	s := account.Sections[f.at]
	text := `,"` + s.Name + `":`
	if s.List {
		text += "["
	}
	return text
}

func (f *personFile) end() error { return f.to("") }

// eraseBody is how an erasure is asked for.
type eraseBody struct {
	EvenWithTickets bool `json:"even_with_tickets"`
}

func (s *Server) erase(c *gin.Context, p account.Person, actor string, b eraseBody) (account.Erasure, error) {
	// Erasing is not given up half-way because somebody closes a tab.
	return s.Accounts.Erase(context.WithoutCancel(c.Request.Context()), account.ErasureRequest{Person: p, Actor: actor, EvenWithTickets: b.EvenWithTickets})
}

func (s *Server) eraseAccount(c *gin.Context) {
	who, err := s.account(c)
	var b eraseBody
	if err == nil {
		err = body(c, &b)
	}
	if err == nil {
		_, err = s.erase(c, account.Person{Account: who.ID}, "account", b)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.signedOut(c)
}

func (s *Server) eraseOrder(c *gin.Context) {
	o, err := s.order(c)
	var b eraseBody
	if err == nil {
		err = body(c, &b)
	}
	var done account.Erasure
	if err == nil {
		done, err = s.erase(c, account.Person{Order: o.ID}, "buyer", b)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, done)
}

func (s *Server) adminErasePerson(c *gin.Context) {
	var b struct {
		eraseBody

		Email string `json:"email"`
	}
	err := body(c, &b)
	if err == nil {
		b.Email, err = account.Address("email", b.Email)
	}
	var done account.Erasure
	if err == nil {
		done, err = s.erase(c, account.Person{Email: b.Email}, actor(c), b.eraseBody)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, done)
}

func (s *Server) adminExportPerson(c *gin.Context) {
	err := knownQuery(c, "email")
	var email string
	if err == nil {
		email, err = account.Address("query parameter \"email\"", c.Query("email"))
	}
	if err == nil { // whose it was cannot be told from the log without the signing key
		err = s.record(c, "person.export", s.Keys.Pseudonym("person "+email), gin.H{})
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.sendPerson(c, account.Person{Email: email})
}
