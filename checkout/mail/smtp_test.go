package mail_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"onsale/checkout/mail"
)

// server speaks SMTP over a socket, and takes or refuses as it was told.
type server struct {
	t    *testing.T
	addr string

	mu       sync.Mutex
	refuse   map[string][]error // by step; each is used once, the last one for ever
	cut      string             // the step at which the connection ends without an answer
	got      []delivered
	asked    map[string]int
	sessions int
}

type delivered struct {
	from, to, body string
	tls            bool
	user           string
}

type serverOptions struct {
	tls      *tls.Config // STARTTLS is offered
	implicit bool        // TLS from the beginning
	user     string      // AUTH is needed; the password is "letmein"
}

func newServer(t *testing.T, o serverOptions) *server {
	t.Helper()
	s := &server{t: t, refuse: make(map[string][]error), asked: make(map[string]int)}
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sessions++
		return &session{s: s, conn: c, o: o}, nil
	}))
	srv.Domain, srv.TLSConfig = "mail.test", o.tls
	srv.ReadTimeout, srv.WriteTimeout = time.Minute, time.Minute
	srv.ErrorLog = quiet{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	if o.implicit {
		listener = tls.NewListener(listener, o.tls)
		srv.TLSConfig = nil
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(listener) }()
	t.Cleanup(func() {
		_ = listener.Close() // a server that was closed before it began would begin yet
		_ = srv.Close()
		<-ended
	})
	return s
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// at is what happens at a step.
func (s *server) at(step string, c *smtp.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[step]++
	if s.cut == step {
		_ = c.Conn().Close()
		return errors.New("cut")
	}
	list := s.refuse[step]
	if len(list) == 0 {
		return nil
	}
	if len(list) > 1 {
		s.refuse[step] = list[1:]
	}
	return list[0]
}

func (s *server) taken() []delivered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]delivered(nil), s.got...)
}

type session struct {
	s    *server
	conn *smtp.Conn
	o    serverOptions
	now  delivered
}

var errLogin = &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "who are you"}

func (c *session) AuthMechanisms() []string {
	if c.o.user == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (c *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != c.o.user || password != "letmein" {
			return errLogin
		}
		c.now.user = user
		return nil
	}), nil
}

func (c *session) Mail(from string, _ *smtp.MailOptions) error {
	if c.o.user != "" && c.now.user == "" {
		return smtp.ErrAuthRequired
	}
	_, c.now.tls = c.conn.TLSConnectionState()
	if _, ok := c.conn.Conn().(*tls.Conn); ok {
		c.now.tls = true
	}
	c.now.from = from
	return c.s.at("mail", c.conn)
}

func (c *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.now.to = to
	return c.s.at("rcpt", c.conn)
}

func (c *session) Data(r io.Reader) error {
	if c.s.cutIn("content") {
		_, _ = io.CopyN(io.Discard, r, 200)
		_ = c.conn.Conn().Close()
		return errors.New("cut")
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := c.s.at("data", c.conn); err != nil {
		return err
	}
	c.now.body = string(body)
	c.s.mu.Lock()
	c.s.got = append(c.s.got, c.now)
	c.s.mu.Unlock()
	if c.s.cutIn("answer") { // taken, but the 250 is lost
		_ = c.conn.Conn().Close()
		return errors.New("cut")
	}
	return nil
}

// Reset is asked for before and after an e-mail: by then it was taken.
func (c *session) Reset() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.cut == "reset" && len(c.s.got) > 0 {
		_ = c.conn.Conn().Close()
	}
}

func (*session) Logout() error { return nil }

func (s *server) cutIn(step string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut == step
}

// certificate returns what a server on loopback shows, and what trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
}

const messageID = "0190b0a0-0000-7000-8000-00000000000a"

func (s *server) send(t *testing.T, scheme, user, query string, trust *tls.Config) error {
	t.Helper()
	if user != "" {
		user += "@"
	}
	sender, err := mail.Open(mail.Settings{URL: scheme + "://" + user + s.addr + query, From: "Tickets <tickets@shop.example>", TLS: trust})
	if err != nil {
		t.Fatal(err)
	}
	c := contents()["confirmation"]
	m, err := templates(t).Write(c.kind, "en", c.what)
	if err != nil {
		t.Fatal(err)
	}
	m.ID, m.At, m.To = messageID, time.Now(), mail.Address{Name: "Ada Exämple", Email: "ada@buyers.example"}
	m.Files = []mail.File{{Name: "tickets.pdf", Type: "application/pdf", Content: []byte("%PDF-1.7 tickets")}}
	return sender.Send(t.Context(), m)
}

// One e-mail in every way that a server may want it.
func TestSMTP(t *testing.T) {
	t.Parallel()
	shows, trusts := certificate(t)
	for name, c := range map[string]struct {
		options             serverOptions
		scheme, user, query string
		tls                 bool
	}{
		"plain":                          {scheme: "smtp", query: "?tls=none"},
		"starttls":                       {options: serverOptions{tls: shows}, scheme: "smtp", tls: true},
		"starttls with a login":          {options: serverOptions{tls: shows, user: "shop"}, scheme: "smtp", user: "shop:letmein", query: "?tls=required", tls: true},
		"starttls where it is to be had": {options: serverOptions{tls: shows}, scheme: "smtp", query: "?tls=starttls", tls: true},
		"implicit tls with a login":      {options: serverOptions{tls: shows, implicit: true, user: "shop"}, scheme: "smtps", user: "shop:letmein", tls: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, c.options)
			if err := s.send(t, c.scheme, c.user, c.query, trusts); err != nil {
				t.Fatal(err)
			}
			got := s.taken()
			if len(got) != 1 || got[0].from != "tickets@shop.example" || got[0].to != "ada@buyers.example" || got[0].tls != c.tls || got[0].user != c.options.user {
				t.Fatalf("taken: %+v", got)
			}
			m := parsed(t, got[0].body)
			if id := m.Header.Get("Message-ID"); id != "<"+messageID+"@shop.example>" {
				t.Errorf("Message-ID %s", id)
			}
			for _, part := range []string{"multipart/mixed", "multipart/alternative", "text/plain", "text/html", "tickets.pdf", "application/pdf"} {
				if !strings.Contains(got[0].body, part) {
					t.Errorf("there is no %s", part)
				}
			}
		})
	}
}

func TestSMTPSendsNothingInTheClear(t *testing.T) {
	t.Parallel()
	shows, trusts := certificate(t)
	for name, c := range map[string]struct {
		options     serverOptions
		user, query string
		trust       *tls.Config
	}{
		"no STARTTLS there":          {query: "?tls=required", trust: trusts},
		"nobody vouches for it":      {options: serverOptions{tls: shows}, query: "?tls=required"},
		"nor where TLS was optional": {options: serverOptions{tls: shows}, query: "?tls=starttls"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, c.options)
			err := s.send(t, "smtp", c.user, c.query, c.trust)
			if _, final := errors.AsType[*mail.Refused](err); err == nil || final || len(s.taken()) != 0 || s.asked["mail"] != 0 {
				t.Errorf("%v, taken %+v", err, s.taken())
			}
		})
	}
}

// What a server says decides whether the e-mail is tried again; what it has taken is
// never sent again.
func TestSMTPRefusals(t *testing.T) {
	t.Parallel()
	shows, trusts := certificate(t)
	busy := &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "come back later"}
	nobody := &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	spam := &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "not wanted here"}
	for name, c := range map[string]struct {
		step  string
		reply []error
		cut   string
		user  string
		final bool // it is never tried again
		ok    bool
		taken int // after two attempts, where the first was to be repeated
	}{
		"greylisted":              {step: "rcpt", reply: []error{busy, nil}, taken: 1},
		"busy with the content":   {step: "data", reply: []error{busy, nil}, taken: 1},
		"no such mailbox":         {step: "rcpt", reply: []error{nobody}, final: true},
		"content refused":         {step: "data", reply: []error{spam}, final: true},
		"sender refused":          {step: "mail", reply: []error{nobody, nil}, taken: 1}, // a setting: somebody can mend it
		"wrong password":          {user: "shop:wrong"},
		"cut before the envelope": {cut: "mail", taken: 1},
		"cut in the content":      {cut: "content", taken: 1},
		"cut after the 250":       {cut: "reset", ok: true, taken: 1},
		"the 250 is lost":         {cut: "answer", taken: 2}, // nobody can know: it is sent twice
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := serverOptions{tls: shows}
			if c.user != "" {
				o.user = "shop"
			}
			s := newServer(t, o)
			s.refuse[c.step], s.cut = c.reply, c.cut
			err := s.send(t, "smtp", c.user, "", trusts)
			refused, final := errors.AsType[*mail.Refused](err)
			if (err == nil) != c.ok || final != c.final {
				t.Fatalf("%v; final %t", err, final)
			}
			if err != nil && (strings.Contains(err.Error(), "wrong") || strings.Contains(err.Error(), "ada@buyers.example")) {
				t.Errorf("the error tells too much: %v", err)
			}
			if said, ok := errors.AsType[*smtp.SMTPError](errors.Join(c.reply...)); final && (!ok || refused.Code != said.Code) {
				t.Errorf("code %d", refused.Code)
			}
			if err != nil && !final {
				s.mu.Lock()
				s.cut = ""
				s.mu.Unlock()
				if err := s.send(t, "smtp", c.user, "", trusts); (err == nil) != (c.user == "") {
					t.Errorf("again: %v", err)
				}
			}
			got := s.taken()
			if len(got) != c.taken {
				t.Errorf("taken %d times, want %d", len(got), c.taken)
			}
			for _, d := range got {
				if !strings.Contains(d.body, "<"+messageID+"@shop.example>") {
					t.Error("another Message-ID")
				}
			}
		})
	}
}

func TestSMTPServerIsAway(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: listener.Addr().String()}
	_ = listener.Close()
	err = s.send(t, "smtp", "", "?tls=none", nil)
	if _, final := errors.AsType[*mail.Refused](err); err == nil || final {
		t.Errorf("%v", err)
	}
}
