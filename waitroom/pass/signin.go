package pass

import (
	"errors"
	"time"

	"onsale/internal/fault"
)

// signInAudience keeps sign-ins apart from tokens for events, besides their kind.
const signInAudience = "onsale-sign-in"

// SignIn is what a browser keeps while its user is at the issuer: whoever comes back
// without it did not set out here.
type SignIn struct {
	State    string // as NewID makes it; comes back with the user
	Nonce    string // as NewID makes it; stands in the ID token
	Verifier string // of the code (RFC 7636)
	Return   string // path to go on at
	Expires  time.Time
}

// SignSignIn makes the token of a sign-in under way. Expires is cut to seconds.
func (k *KeySet) SignSignIn(s SignIn) string {
	var buf [1024]byte
	p := begin(buf[:0], "", signInAudience)
	p = appendString(p, "jti", s.State)
	p = appendNumber(p, "exp", s.Expires.Unix())
	p = appendString(p, "nonce", s.Nonce)
	p = appendString(p, "verifier", s.Verifier)
	p = appendString(p, "return", s.Return)
	return k.seal(signInKind, append(p, '}'))
}

// SignIn checks the token of a sign-in under way. Whether it is the one that comes
// back, by its State, is the caller's to check. Every error is a fault.Unauthorized
// around ErrInvalid or ErrExpired.
func (k *KeySet) SignIn(token string, now time.Time) (SignIn, error) {
	c, err := k.open(signInKind, token, signInAudience, now)
	if err == nil && (!ValidVisitor(c.ID) || !ValidVisitor(c.Nonce) || c.Verifier == "" || c.Return == "" || c.Subject != "") {
		err = ErrInvalid
	}
	switch {
	case errors.Is(err, ErrExpired):
		return SignIn{}, fault.Wrap(err, fault.Unauthorized, "the sign-in took too long; begin again")
	case err != nil:
		return SignIn{}, fault.Wrap(ErrInvalid, fault.Unauthorized, "this is not a sign-in that began here")
	}
	return SignIn{State: c.ID, Nonce: c.Nonce, Verifier: c.Verifier, Return: c.Return, Expires: c.ExpiresAt.Time}, nil
}
