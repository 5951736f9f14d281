package account

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"

	"golang.org/x/oauth2"

	"onsale/internal/fault"
	"onsale/waitroom"
	"onsale/waitroom/pass"
)

// Signing in at the issuer in the browser. What has to be known when somebody comes
// back stands in a signed token that the browser keeps: nothing is stored, and any
// node can go on with it.

// signInLife is how long somebody may take at the issuer.
const signInLife = 10 * time.Minute

// Browser signs people in by sending their browser to the issuer.
type Browser interface {
	// Issuer is whom browsers are sent to, as it calls itself.
	Issuer() string
	// Address is where a browser signs in. It returns fault.Unavailable.
	Address(ctx context.Context, state, nonce, verifier string) (string, error)
	// Redeem exchanges the code that a browser came back with. It returns
	// fault.Unauthorized when it does not hold, and fault.Unavailable.
	Redeem(ctx context.Context, code, nonce, verifier string) (waitroom.Person, error)
}

// Why a sign-in at the issuer led to nothing; each comes wrapped in a fault.
var (
	// ErrLost is said of who comes back without having set out in this browser, too
	// late, or from another sign-in.
	ErrLost = errors.New("the sign-in did not begin in this browser, or is over")
	// ErrDeclined is said when the issuer let nobody in.
	ErrDeclined = errors.New("the issuer signed nobody in")
	// ErrRefused is said when what the issuer says does not hold, or it does not take
	// what we say.
	ErrRefused = errors.New("the issuer's answer does not hold")
	// ErrIssuerDown is said when the issuer does not answer.
	ErrIssuerDown = errors.New("the issuer does not answer")
)

// Departure is where a browser is sent, and what it keeps until it comes back.
type Departure struct {
	Address string
	Token   string
	Expires time.Time
}

// Depart begins a sign-in at the issuer, which leads to the path back. It returns
// NotFound, and Unavailable around ErrIssuerDown.
func (s *Service) Depart(ctx context.Context, back string) (Departure, error) {
	if err := s.allowsBrowser(); err != nil {
		return Departure{}, err
	}
	under := pass.SignIn{
		State: pass.NewID(), Nonce: pass.NewID(), Verifier: oauth2.GenerateVerifier(), Return: back, Expires: s.Clock().Add(signInLife),
	}
	address, err := s.Browser.Address(ctx, under.State, under.Nonce, under.Verifier)
	if err != nil {
		return Departure{}, setback(err)
	}
	return Departure{Address: address, Token: s.Keys.SignSignIn(under), Expires: under.Expires}, nil
}

// Arrival is what a browser comes back from the issuer with.
type Arrival struct {
	Token  string // that it kept
	State  string
	Code   string
	Error  string // what went wrong, in the issuer's words
	Issuer string // who says so (RFC 9207); "" when it is not said
}

// Arrive ends a sign-in at the issuer, and says at which path to go on. It returns
// NotFound, Unauthorized around ErrLost, ErrDeclined or ErrRefused, and Unavailable,
// around ErrIssuerDown where the issuer is to blame. The path is there but for
// ErrLost.
func (s *Service) Arrive(ctx context.Context, a *Arrival, visitor string) (in SignedIn, back string, err error) {
	if err := s.allowsBrowser(); err != nil {
		return SignedIn{}, "", err
	}
	under, err := s.Keys.SignIn(a.Token, s.Clock())
	if err != nil || subtle.ConstantTimeCompare([]byte(under.State), []byte(a.State)) != 1 {
		return SignedIn{}, "", fault.Wrap(ErrLost, fault.Unauthorized, "the sign-in did not begin in this browser, or is over; begin again")
	}
	switch {
	case a.Issuer != "" && a.Issuer != s.Browser.Issuer():
		return SignedIn{}, under.Return, fault.Wrap(ErrRefused, fault.Unauthorized, "another issuer answered")
	case a.Error == "server_error" || a.Error == "temporarily_unavailable":
		return SignedIn{}, under.Return, setback(fault.Down(ErrIssuerDown, "the identity issuer"))
	case a.Error == "access_denied" || a.Error == "login_required" || a.Error == "consent_required" || a.Error == "interaction_required":
		return SignedIn{}, under.Return, fault.Wrap(ErrDeclined, fault.Unauthorized, "the issuer signed nobody in")
	case a.Error != "" || a.Code == "":
		return SignedIn{}, under.Return, fault.Wrap(ErrRefused, fault.Unauthorized, "the issuer did not take the request (%.40q)", a.Error)
	}
	person, err := s.Browser.Redeem(ctx, a.Code, under.Nonce, under.Verifier)
	if err != nil {
		return SignedIn{}, under.Return, setback(err)
	}
	in, err = s.withPerson(ctx, person, visitor)
	return in, under.Return, err
}

// allowsBrowser refuses what is switched off, or has no issuer.
func (s *Service) allowsBrowser() error {
	err := s.allows(SignInOIDC)
	if err == nil && s.Browser == nil {
		err = fault.New(fault.NotFound, "this is not a way to sign in to this site")
	}
	return err
}

// ByBrowser reports whether one can sign in at the issuer in the browser.
func (s *Service) ByBrowser() bool { return s.allowsBrowser() == nil }

// setback says whose fault it is that the issuer was of no help.
func setback(err error) error {
	if fault.Is(err, fault.Unavailable) {
		return fault.Wrap(errors.Join(ErrIssuerDown, err), fault.Unavailable, "the identity issuer does not answer")
	}
	return fault.Wrap(errors.Join(ErrRefused, err), fault.Unauthorized, "the issuer's answer does not hold")
}
