package pass

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"onsale/internal/fault"
)

// MaxLength is the length in bytes beyond which nothing is taken for a token.
const MaxLength = 2 << 10

// Issuer is the iss claim of every token.
const Issuer = "onsale"

// kind is the typ header of a token.
type kind string

const (
	// Signed with Ed25519: others verify them, or they are seldom.
	passKind   kind = "onsale-pass+jwt" //nolint:gosec // the name of a kind, not a credential
	orderKind  kind = "onsale-order+jwt"
	inviteKind kind = "onsale-invite+jwt"
	// sessionKind is of accounts: seldom, too.
	sessionKind kind = "onsale-session+jwt"

	// With keyed hashes: only our own nodes read them. See macKinds.
	visitorKind   kind = "onsale-visitor+jwt"
	receiptKind   kind = "onsale-receipt+jwt"
	challengeKind kind = "onsale-challenge+jwt"
	signInKind    kind = "onsale-sign-in+jwt"
)

// Why a token is refused; each comes wrapped in a fault. ErrExpired and
// ErrOtherEvent are said only of tokens whose signature and kind are right.
var (
	ErrInvalid    = errors.New("the token is not valid")
	ErrExpired    = errors.New("the token has expired")
	ErrOtherEvent = errors.New("the token is for another event")
)

// Pass admits a visitor to the shop of one event until the lease ends. Times
// are cut to seconds: a pass never outlives its lease.
type Pass struct {
	Visitor string
	Event   string
	Claimed time.Time
	Expires time.Time
}

// Receipt proves a visitor's place in a room, or their entry in its lobby.
// Epoch tells apart the lines a room had one after the other; a receipt counts
// only for its own. A receipt is valid with a place from 1 on and a lane, or
// without a place (0) and with an index from 1 on.
type Receipt struct {
	Visitor string
	Event   string
	Place   int64 // 0 in the lobby
	Epoch   int64
	Lane    int   // 1 to 5; 0 in the lobby, or the lane they will be in
	Index   int64 // join index in the lobby; 0 when there is none
}

// Invite opens a room's door to whoever shows it.
type Invite struct {
	ID        string // as NewID makes it
	Event     string
	Lane      int // 1 to 5
	SingleUse bool
	Email     string // as BindEmail makes it; "" is not bound to an address
	Expires   time.Time
}

// Challenge is a puzzle that a visitor was set.
type Challenge struct {
	ID      string // as NewID makes it
	Event   string
	Bits    int    // of zeros the answer's hash must begin with, 1 to 64
	Purpose string // what solving it allows
	Expires time.Time
}

// claims are the members of all kinds of token; each kind uses some of them.
type claims struct {
	jwt.RegisteredClaims

	Place   int64  `json:"place,omitempty"`
	Epoch   int64  `json:"epoch,omitempty"`
	Lane    int    `json:"lane,omitempty"`
	Index   int64  `json:"index,omitempty"`
	Single  bool   `json:"single_use,omitempty"`
	Email   string `json:"email,omitempty"`
	Bits    int    `json:"bits,omitempty"`
	Purpose string `json:"purpose,omitempty"`

	// Of sign-ins, and of the sessions they lead to.
	Nonce    string `json:"nonce,omitempty"`
	Verifier string `json:"verifier,omitempty"`
	Return   string `json:"return,omitempty"`
	User     string `json:"user,omitempty"`
}

const (
	mostNumber = 1 << 53 // the largest whole number that all readers of JSON agree on
	mostLane   = 5
	mostBits   = 64
)

// NewID makes an id: 128 random bits, 22 characters of base64url.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// NewVisitor makes a visitor id, as NewID.
func NewVisitor() string { return NewID() }

// ValidVisitor reports whether id has the form NewID gives.
func ValidVisitor(id string) bool {
	if len(id) != 22 {
		return false
	}
	_, err := base64.RawURLEncoding.Strict().DecodeString(id)
	return err == nil
}

// SignVisitor makes the token that proves who a visitor is, in every room.
func (k *KeySet) SignVisitor(visitor string, expires time.Time) string {
	var buf [256]byte
	p := begin(buf[:0], visitor, "")
	p = appendNumber(p, "exp", expires.Unix())
	return k.seal(visitorKind, append(p, '}'))
}

// Visitor checks a visitor token and returns whose it is. Every error is a
// fault.Unauthorized.
func (k *KeySet) Visitor(token string, now time.Time) (string, error) {
	c, err := k.open(visitorKind, token, "", now)
	if err == nil && !ValidVisitor(c.Subject) {
		err = ErrInvalid
	}
	if err != nil {
		return "", fault.Wrap(err, fault.Unauthorized, "this is not a valid visitor token")
	}
	return c.Subject, nil
}

// SignPass makes the pass of a claimed turn; the same turn gives the same bytes.
func (k *KeySet) SignPass(p Pass) string {
	claimed, expires := p.Claimed.Truncate(time.Second), p.Expires.Truncate(time.Second)
	turn := sha256.Sum256([]byte(p.Visitor + "\n" + p.Event + "\n" + strconv.FormatInt(p.Claimed.UnixMilli(), 10)))
	return k.sign(passKind, claims{RegisteredClaims: jwt.RegisteredClaims{
		Subject:   p.Visitor,
		Audience:  jwt.ClaimStrings{p.Event},
		IssuedAt:  jwt.NewNumericDate(claimed),
		ExpiresAt: jwt.NewNumericDate(expires),
		ID:        base64.RawURLEncoding.EncodeToString(turn[:16]),
	}})
}

// Pass checks a pass for event. The error is fault.PassLapsed for a genuine pass
// whose time is over, which is returned with it; fault.Forbidden for one of
// another event; and fault.Unauthorized for anything else.
func (k *KeySet) Pass(token, event string, now time.Time) (Pass, error) {
	digest := sha256.Sum256([]byte(token))
	if p, ok := k.seen.get(digest); ok && p.Event == event && now.Before(p.Expires) {
		return p, nil
	}
	p, err := k.pass(token, event, now)
	if err == nil {
		k.seen.put(digest, p)
	}
	return p, err
}

// pass verifies a pass for event.
func (k *KeySet) pass(token, event string, now time.Time) (Pass, error) {
	c, err := k.verify(passKind, token, event, now)
	if (err == nil || errors.Is(err, ErrExpired)) && (!ValidVisitor(c.Subject) || c.IssuedAt == nil) {
		err = ErrInvalid
	}
	p := Pass{Visitor: c.Subject, Event: event}
	switch {
	case err == nil:
		p.Claimed, p.Expires = c.IssuedAt.Time, c.ExpiresAt.Time
		return p, nil
	case errors.Is(err, ErrExpired):
		p.Claimed, p.Expires = c.IssuedAt.Time, c.ExpiresAt.Time
		return p, fault.Wrap(err, fault.PassLapsed, "the time to shop that this pass gave is over")
	case errors.Is(err, ErrOtherEvent):
		return Pass{}, fault.Wrap(err, fault.Forbidden, "this pass is for another event")
	default:
		return Pass{}, fault.Wrap(err, fault.Unauthorized, "this is not a valid pass")
	}
}

// PassOfAnyEvent checks a pass and says which event it is for, where the request
// does not name one. It returns ErrExpired or ErrInvalid.
func (k *KeySet) PassOfAnyEvent(token string, now time.Time) (Pass, error) {
	if len(token) > MaxLength || !compact(token) {
		return Pass{}, ErrInvalid
	}
	// Read before it is verified, only to say which event to verify it for.
	var c claims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &c); err != nil || len(c.Audience) != 1 || c.Audience[0] == "" {
		return Pass{}, ErrInvalid
	}
	return k.Pass(token, c.Audience[0], now)
}

// SignReceipt makes the receipt of a place; the same place gives the same bytes.
func (k *KeySet) SignReceipt(r Receipt) string {
	var buf [384]byte
	p := begin(buf[:0], r.Visitor, r.Event)
	p = appendNumber(p, "place", r.Place)
	p = appendNumber(p, "epoch", r.Epoch)
	p = appendNumber(p, "lane", int64(r.Lane))
	p = appendNumber(p, "index", r.Index)
	return k.seal(receiptKind, append(p, '}'))
}

// Receipt checks a receipt for event; receipts do not expire. The error is
// fault.Forbidden for a receipt of another event, else fault.Unauthorized.
func (k *KeySet) Receipt(token, event string) (Receipt, error) {
	c, err := k.open(receiptKind, token, event, time.Time{})
	r := Receipt{Visitor: c.Subject, Event: event, Place: c.Place, Epoch: c.Epoch, Lane: c.Lane, Index: c.Index}
	if err == nil && (!ValidVisitor(r.Visitor) || !r.valid()) {
		err = ErrInvalid
	}
	if errors.Is(err, ErrOtherEvent) {
		return Receipt{}, fault.Wrap(err, fault.Forbidden, "this receipt is for another event")
	}
	if err != nil {
		return Receipt{}, fault.Wrap(err, fault.Unauthorized, "this is not a valid receipt")
	}
	return r, nil
}

func (r *Receipt) valid() bool {
	if r.Place < 0 || r.Place > mostNumber || r.Index < 0 || r.Index > mostNumber || r.Lane < 0 || r.Lane > mostLane {
		return false
	}
	if r.Place == 0 {
		return r.Index > 0
	}
	return r.Lane > 0
}

// BindEmail is the Email of the invite with this id for the owner of address:
// a hash, so that a forwarded invite does not tell whom it was sent to. Letter
// case and space around the address do not count.
func BindEmail(id, address string) string {
	sum := sha256.Sum256([]byte(id + "\n" + strings.ToLower(strings.TrimSpace(address))))
	return hex.EncodeToString(sum[:])
}

// SignInvite makes an invite; the same invite gives the same bytes. Expires is
// cut to seconds.
func (k *KeySet) SignInvite(i Invite) string {
	return k.sign(inviteKind, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			ID: i.ID, Audience: jwt.ClaimStrings{i.Event}, ExpiresAt: jwt.NewNumericDate(i.Expires),
		},
		Lane: i.Lane, Single: i.SingleUse, Email: i.Email,
	})
}

// Invite checks an invite for event. Whether a single use is used up, and
// whether the guest has the address it is bound to, is the caller's to check.
// Every error is a fault.Forbidden around ErrInvalid, ErrExpired or
// ErrOtherEvent.
func (k *KeySet) Invite(token, event string, now time.Time) (Invite, error) {
	c, err := k.verify(inviteKind, token, event, now)
	if (err == nil || errors.Is(err, ErrExpired)) &&
		(!ValidVisitor(c.ID) || c.Subject != "" || c.Lane < 1 || c.Lane > mostLane || !boundEmail(c.Email)) {
		err = ErrInvalid
	}
	switch {
	case err == nil:
		return Invite{
			ID: c.ID, Event: event, Lane: c.Lane, SingleUse: c.Single, Email: c.Email, Expires: c.ExpiresAt.Time,
		}, nil
	case errors.Is(err, ErrExpired):
		return Invite{}, fault.Wrap(err, fault.Forbidden, "this invite has expired")
	case errors.Is(err, ErrOtherEvent):
		return Invite{}, fault.Wrap(err, fault.Forbidden, "this invite is for another event")
	default:
		return Invite{}, fault.Wrap(err, fault.Forbidden, "this is not a valid invite")
	}
}

// boundEmail reports whether s is "" or has the form BindEmail gives.
func boundEmail(s string) bool {
	if s == "" {
		return true
	}
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && s == strings.ToLower(s)
}

// SignChallenge makes the token of a challenge; the same challenge gives the
// same bytes. Expires is cut to seconds.
func (k *KeySet) SignChallenge(c Challenge) string {
	var buf [512]byte
	p := begin(buf[:0], "", c.Event)
	p = appendString(p, "jti", c.ID)
	p = appendNumber(p, "exp", c.Expires.Unix())
	p = appendNumber(p, "bits", int64(c.Bits))
	p = appendString(p, "purpose", c.Purpose)
	return k.seal(challengeKind, append(p, '}'))
}

// Challenge checks the token of a challenge for event. That it was set for the
// purpose at hand, is solved, and is not solved a second time is the caller's
// to check. Every error is a fault.Forbidden around ErrInvalid, ErrExpired or
// ErrOtherEvent.
func (k *KeySet) Challenge(token, event string, now time.Time) (Challenge, error) {
	c, err := k.open(challengeKind, token, event, now)
	if (err == nil || errors.Is(err, ErrExpired)) &&
		(!ValidVisitor(c.ID) || c.Subject != "" || c.Bits < 1 || c.Bits > mostBits || c.Purpose == "") {
		err = ErrInvalid
	}
	switch {
	case err == nil:
		return Challenge{ID: c.ID, Event: event, Bits: c.Bits, Purpose: c.Purpose, Expires: c.ExpiresAt.Time}, nil
	case errors.Is(err, ErrExpired):
		return Challenge{}, fault.Wrap(err, fault.Forbidden, "this challenge has expired")
	case errors.Is(err, ErrOtherEvent):
		return Challenge{}, fault.Wrap(err, fault.Forbidden, "this challenge is for another event")
	default:
		return Challenge{}, fault.Wrap(err, fault.Forbidden, "this is not a valid challenge")
	}
}

// SignOrder makes the token with which its buyer can see an order.
func (k *KeySet) SignOrder(order string, expires time.Time) string {
	return k.sign(orderKind, claims{RegisteredClaims: jwt.RegisteredClaims{
		Subject: order, ExpiresAt: jwt.NewNumericDate(expires),
	}})
}

// Order checks an order token and returns the order's id. Every error is a
// fault.Unauthorized.
func (k *KeySet) Order(token string, now time.Time) (string, error) {
	c, err := k.verify(orderKind, token, "", now)
	if err == nil && c.Subject == "" {
		err = ErrInvalid
	}
	if err != nil {
		return "", fault.Wrap(err, fault.Unauthorized, "this is not a valid order token")
	}
	return c.Subject, nil
}

func (k *KeySet) sign(typ kind, c claims) string {
	c.Issuer = Issuer
	signer := k.keys[0]
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c)
	t.Header["typ"] = string(typ)
	t.Header["kid"] = signer.id
	text, err := t.SignedString(signer.private)
	if err != nil {
		panic(fmt.Sprintf("pass: signing with a valid key: %v", err)) // Ed25519 cannot fail
	}
	return text
}

// verify checks everything the package promises of the kinds signed with
// Ed25519. An empty event asks for a
// token without audience, a zero now for one that does not expire.
func (k *KeySet) verify(typ kind, token, event string, now time.Time) (claims, error) {
	if len(token) > MaxLength || !compact(token) {
		return claims{}, ErrInvalid
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
		jwt.WithIssuer(Issuer),
		jwt.WithStrictDecoding(),
	}
	if now.IsZero() {
		options = append(options, jwt.WithTimeFunc(func() time.Time { return time.Unix(0, 0) }))
	} else {
		options = append(options, jwt.WithExpirationRequired(), jwt.WithTimeFunc(func() time.Time { return now }))
	}
	if event != "" {
		options = append(options, jwt.WithAudience(event))
	}
	var c claims
	_, err := jwt.NewParser(options...).ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		// Only the members we write: no "crit", "jwk", "jku" or "x5u" to obey.
		if len(t.Header) != 3 || t.Header["typ"] != string(typ) {
			return nil, ErrInvalid
		}
		id, _ := t.Header["kid"].(string)
		return k.public(id)
	})
	switch {
	case err == nil:
		if event == "" && len(c.Audience) > 0 {
			return claims{}, ErrInvalid
		}
		return c, nil
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return claims{}, ErrInvalid
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return claims{}, ErrOtherEvent
	case errors.Is(err, jwt.ErrTokenExpired):
		return c, ErrExpired
	default:
		return claims{}, ErrInvalid
	}
}

// compact reports whether token has only base64url characters and dots. The
// decoder of encoding/base64 skips line breaks even in strict mode, which would
// give one token many spellings.
func compact(token string) bool {
	for i := range len(token) {
		switch c := token[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
