package account

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/waitroom"
	"onsale/waitroom/pass"
)

// The ways to sign in.
const (
	SignInCode = "code" // a code sent by e-mail
	SignInOIDC = "oidc" // at the issuer, or by an ID token of it
	SignInBoth = "both"
	SignInOff  = "off"
)

const (
	// SessionLife is how long a session lasts.
	SessionLife = 30 * 24 * time.Hour

	mostName  = 200 // characters
	mostEmail = 254 // bytes
	codeSize  = 8   // characters of a code
)

// limits of codes: fifteen guesses within a quarter of an hour, of a code that has
// 2^40 forms.
var limits = CodeLimits{Life: 10 * time.Minute, Tries: 5, PerAddress: 3, PerNetwork: 30, Window: 15 * time.Minute}

// Deps is what a Service is made of.
type Deps struct {
	Store      Store
	Keys       *pass.KeySet
	Identity   waitroom.Identity // nil: there is no issuer
	Browser    Browser           // nil: nobody is sent to the issuer
	IssuerName string            // as people know it
	SignIn     string            // a way to sign in
	Mailing    bool              // there is a mail server
	Clock      func() time.Time
}

// Service is safe for concurrent use and keeps no state.
type Service struct {
	Deps
}

// New returns a Service. It does no I/O.
func New(d Deps) (*Service, error) {
	if d.Store == nil || d.Keys == nil || d.Clock == nil {
		return nil, errors.New("account: Store, Keys and Clock are required")
	}
	switch d.SignIn {
	case SignInCode, SignInOff:
	case SignInOIDC, SignInBoth:
		if d.Identity == nil {
			return nil, errors.New("account: signing in with an issuer needs one")
		}
	default:
		return nil, errors.New("account: SignIn must be code, oidc, both or off")
	}
	return &Service{Deps: d}, nil
}

// Address checks an e-mail address and brings it into the form that accounts have.
func Address(name, email string) (string, error) {
	email = strings.ToLower(strings.TrimSpace(email))
	if len(email) > mostEmail {
		return "", fault.New(fault.Invalid, "%s is longer than %d bytes", name, mostEmail)
	}
	if a, err := mail.ParseAddress(email); err != nil || a.Address != email || !utf8.ValidString(email) || control(email) {
		return "", fault.New(fault.Invalid, "%s must be an e-mail address", name)
	}
	return email, nil
}

func control(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// CodeText is what a code says. It is derived, so that it stands in no table: who has
// the database alone cannot sign in.
func CodeText(keys *pass.KeySet, id string) string {
	const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford's: none is taken for another
	sum, _ := base64.RawURLEncoding.DecodeString(keys.Derive("account", "sign-in code", id))
	text := make([]byte, 0, codeSize+1)
	for i := range codeSize {
		if i == codeSize/2 {
			text = append(text, '-')
		}
		text = append(text, letters[sum[i]&31])
	}
	return string(text)
}

// typed is a code as somebody may type it.
func typed(code string) (string, error) {
	code = strings.Map(func(r rune) rune {
		switch r {
		case ' ', '-', '\t':
			return -1
		case 'O':
			return '0'
		case 'I', 'L':
			return '1'
		}
		return r
	}, strings.ToUpper(code))
	if len(code) != codeSize {
		return "", fault.New(fault.Invalid, "code must have %d characters, such as 7K3M-Q2XB", codeSize)
	}
	return code[:codeSize/2] + "-" + code[codeSize/2:], nil
}

// allows refuses a way to sign in that is switched off.
func (s *Service) allows(way string) error {
	switch s.SignIn {
	case way, SignInBoth:
		return nil
	case SignInOff:
		return fault.New(fault.NotFound, "this site has no accounts")
	}
	return fault.New(fault.NotFound, "this is not a way to sign in to this site")
}

// AskCode has a code sent to an address, whether it has an account or not. It returns
// Invalid, NotFound, TooMany and Unavailable.
func (s *Service) AskCode(ctx context.Context, email, network string) error {
	email, err := Address("email", email)
	if err == nil {
		err = s.allows(SignInCode)
	}
	if err != nil {
		return err
	}
	if !s.Mailing {
		return fault.New(fault.Unavailable, "no code can be sent: this site has no mail server (mail.smtp_url)")
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	return s.Store.NewCode(ctx, Code{ID: id.String(), Email: email, Network: s.Keys.Pseudonym("network " + waitroom.Network(network))}, limits)
}

// SignedIn is an account with a new session.
type SignedIn struct {
	Account Account
	Token   string
	Expires time.Time
	// Foreign: the visitor belongs to another account. Whoever signs in with it goes on
	// as a new one.
	Foreign bool
}

// WithCode signs in by a code. A wrong code and an address without one are the same
// Unauthorized.
func (s *Service) WithCode(ctx context.Context, email, code, visitor string) (SignedIn, error) {
	email, err := Address("email", email)
	if err == nil {
		code, err = typed(code)
	}
	if err == nil {
		err = s.allows(SignInCode)
	}
	if err != nil {
		return SignedIn{}, err
	}
	a, d, ok, err := s.Store.TakeCode(ctx, email, limits, func(id string) bool {
		return subtle.ConstantTimeCompare([]byte(CodeText(s.Keys, id)), []byte(code)) == 1
	}, visitor)
	if err == nil && !ok {
		err = fault.New(fault.Unauthorized, "the code is wrong, was used, or is over; have another one sent")
	}
	if err != nil {
		return SignedIn{}, err
	}
	return s.signedIn(a, d, ""), nil
}

// WithIDToken signs in by an ID token of the issuer. Its address counts where the
// issuer has verified it.
func (s *Service) WithIDToken(ctx context.Context, token, visitor string) (SignedIn, error) {
	if err := s.allows(SignInOIDC); err != nil {
		return SignedIn{}, err
	}
	p, err := s.Identity.Person(ctx, token)
	if err != nil {
		return SignedIn{}, err
	}
	return s.withPerson(ctx, p, visitor)
}

// withPerson signs in who the issuer says it is.
func (s *Service) withPerson(ctx context.Context, p waitroom.Person, visitor string) (SignedIn, error) {
	proof := Proof{Issuer: p.Issuer, Subject: p.Subject}
	if p.Email != "" {
		var err error
		if proof.Email, err = Address("the issuer's email", p.Email); err != nil {
			proof.Email = "" // they are known by their subject
		}
	}
	a, d, err := s.Store.SignIn(ctx, proof, visitor)
	if err != nil {
		return SignedIn{}, err
	}
	return s.signedIn(a, d, p.Visitor(s.Keys)), nil
}

// signedIn begins a session. The user is who the issuer vouches for, or "".
func (s *Service) signedIn(a Account, d Device, user string) SignedIn {
	expires := s.Clock().Add(SessionLife)
	token := s.Keys.SignSession(pass.Session{Account: a.ID, Epoch: a.Epoch, User: user, Expires: expires})
	return SignedIn{Account: a, Token: token, Expires: expires, Foreign: d.Foreign}
}

// Session finds the account of a session. Unauthorized when the session is over.
func (s *Service) Session(ctx context.Context, token string) (Account, error) {
	if s.SignIn == SignInOff {
		return Account{}, fault.New(fault.Unauthorized, "this site has no accounts")
	}
	session, err := s.Keys.Session(token, s.Clock())
	if err != nil {
		return Account{}, err
	}
	a, err := s.Store.Account(ctx, session.Account)
	if fault.Is(err, fault.NotFound) || err == nil && a.Epoch != session.Epoch {
		return Account{}, fault.New(fault.Unauthorized, "the session is over; sign in again")
	}
	return a, err
}

// CheckName refuses what cannot be a name. None is one.
func CheckName(name string) error {
	if utf8.RuneCountInString(name) > mostName || !utf8.ValidString(name) || control(name) {
		return fault.New(fault.Invalid, "name must have at most %d characters, and none that control", mostName)
	}
	return nil
}

// Rename gives an account another name.
func (s *Service) Rename(ctx context.Context, id, name string) (Account, error) {
	if err := CheckName(name); err != nil {
		return Account{}, err
	}
	return s.Store.Rename(ctx, id, strings.TrimSpace(name))
}

// EndSessions ends all sessions of an account.
func (s *Service) EndSessions(ctx context.Context, id string) error {
	return s.Store.EndSessions(ctx, id)
}

// Link makes a visitor a device of an account, so that what it buys is the account's
// and counts towards the same limit. A visitor of another account stays there.
func (s *Service) Link(ctx context.Context, id, visitor string) error {
	return s.Store.Link(ctx, id, visitor)
}

// Orders lists the orders of an account, newest first.
func (s *Service) Orders(ctx context.Context, id string, q checkout.OrderQuery) (checkout.OrderPage, error) {
	return s.Store.AccountOrders(ctx, id, q)
}

// Export hands over everything about a person.
func (s *Service) Export(ctx context.Context, p Person, write func(Section, json.RawMessage) error) error {
	return s.Store.Export(ctx, p, write)
}

// Erase makes a person nobody.
func (s *Service) Erase(ctx context.Context, r ErasureRequest) (Erasure, error) {
	return s.Store.Erase(ctx, r)
}
