package pass

import (
	"crypto/ed25519"
	"crypto/sha256"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"onsale/internal/fault"
)

// TicketKeyLength is the length in bytes of the name of a key in a ticket.
const TicketKeyLength = 4

// ticketContext goes before the bytes of a ticket when they are signed. The text
// that is signed of a token begins with base64url characters and has no space,
// so that neither is ever taken for the other.
const ticketContext = "onsale ticket 1\n"

const holderKind kind = "onsale-holder+jwt"

// TicketKey names a key in a ticket: the first bytes of SHA-256 of its kid. It
// is there to find the key, and proves nothing.
func TicketKey(kid string) (short [TicketKeyLength]byte) {
	sum := sha256.Sum256([]byte(kid))
	copy(short[:], sum[:])
	return short
}

// TicketKey names the key that SignTicket uses.
func (k *KeySet) TicketKey() [TicketKeyLength]byte { return TicketKey(k.keys[0].id) }

// SignTicket signs the body of a ticket, see package ticket. The signature is
// of nothing but tickets.
func (k *KeySet) SignTicket(body []byte) []byte {
	return ed25519.Sign(k.keys[0].private, append([]byte(ticketContext), body...))
}

// VerifyTicket reports whether one of the keys that may be called short has
// signed body as a ticket.
func (k *KeySet) VerifyTicket(short [TicketKeyLength]byte, body, signature []byte) bool {
	text := append([]byte(ticketContext), body...)
	for i := range k.keys { // two keys may share a short name
		if TicketKey(k.keys[i].id) == short && ed25519.Verify(k.keys[i].public, text, signature) {
			return true
		}
	}
	return false
}

// VerifyTicket is KeySet.VerifyTicket for who has the public keys only.
func (p *PublicKeys) VerifyTicket(short [TicketKeyLength]byte, body, signature []byte) bool {
	return p.set.VerifyTicket(short, body, signature)
}

// SignHolder makes the token of whoever holds a ticket by the admission: it shows
// the ticket, and may pass it on.
func (k *KeySet) SignHolder(admission string, expires time.Time) string {
	return k.sign(holderKind, claims{RegisteredClaims: jwt.RegisteredClaims{
		Subject: admission, ExpiresAt: jwt.NewNumericDate(expires),
	}})
}

// Holder checks a holder's token and returns the admission's id. Every error is
// a fault.Unauthorized.
func (k *KeySet) Holder(token string, now time.Time) (string, error) {
	c, err := k.verify(holderKind, token, "", now)
	if err == nil && c.Subject == "" {
		err = ErrInvalid
	}
	if err != nil {
		return "", fault.Wrap(err, fault.Unauthorized, "this is not a valid holder's token")
	}
	return c.Subject, nil
}
