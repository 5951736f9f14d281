package pass

import (
	"time"

	"github.com/golang-jwt/jwt/v5"

	"onsale/internal/fault"
)

// sessionAudience keeps sessions apart from tokens for events, besides their kind.
const sessionAudience = "onsale-account"

// Session is somebody who has signed in to their account.
type Session struct {
	Account string
	Epoch   int64 // of the account's sessions: those of an earlier one are over
	// User is the visitor that the site's issuer vouches for, where the session began
	// there; else "".
	User    string
	Expires time.Time
}

// SignSession makes the token of a session. Expires is cut to seconds.
func (k *KeySet) SignSession(s Session) string {
	return k.sign(sessionKind, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			ID: NewID(), Subject: s.Account, Audience: jwt.ClaimStrings{sessionAudience}, ExpiresAt: jwt.NewNumericDate(s.Expires),
		},
		Epoch: s.Epoch, User: s.User,
	})
}

// Session checks the token of a session. Whether the account is still there, and in
// the same epoch, is the caller's to check. Every error is a fault.Unauthorized.
func (k *KeySet) Session(token string, now time.Time) (Session, error) {
	c, err := k.verify(sessionKind, token, sessionAudience, now)
	if err == nil && (c.Subject == "" || c.Epoch < 1 || !ValidVisitor(c.ID) || c.User != "" && !ValidVisitor(c.User)) {
		err = ErrInvalid
	}
	if err != nil {
		return Session{}, fault.Wrap(err, fault.Unauthorized, "the session is not valid, or over; sign in again")
	}
	return Session{Account: c.Subject, Epoch: c.Epoch, User: c.User, Expires: c.ExpiresAt.Time}, nil
}
