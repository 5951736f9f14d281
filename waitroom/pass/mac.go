package pass

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// macKinds are the kinds of token that only our own nodes read. They carry
// HMAC-SHA256 (alg "HS256") instead of a signature: a join makes two of them and
// every position told to a visitor one, and Ed25519 costs fifty times as much.
var macKinds = []kind{visitorKind, receiptKind, challengeKind}

// mac makes and checks the keyed hashes of one kind by one signing key.
type mac struct {
	header string // of its tokens, encoded, with the dot
	secret []byte
	idle   sync.Pool // of hash.Hash
}

// subkey derives a secret from a signing seed, another one for every purpose.
func subkey(seed []byte, purpose string) []byte {
	secret, err := hkdf.Key(sha256.New, seed, nil, "onsale "+purpose, sha256.Size)
	if err != nil {
		panic(fmt.Sprintf("pass: deriving a key: %v", err)) // only lengths can be wrong
	}
	return secret
}

func newMACs(seed []byte, id string) map[kind]*mac {
	macs := make(map[kind]*mac, len(macKinds))
	for _, typ := range macKinds {
		header := mustJSON(struct {
			Algorithm string `json:"alg"`
			ID        string `json:"kid"`
			Type      string `json:"typ"`
		}{jwt.SigningMethodHS256.Alg(), id, string(typ)})
		macs[typ] = &mac{
			header: base64.RawURLEncoding.EncodeToString(header) + ".",
			secret: subkey(seed, string(typ)),
		}
	}
	return macs
}

// sum appends the hash of text.
func (m *mac) sum(dst, text []byte) []byte {
	h, _ := m.idle.Get().(hash.Hash)
	if h == nil {
		h = hmac.New(sha256.New, m.secret)
	}
	h.Write(text)
	dst = h.Sum(dst)
	h.Reset()
	m.idle.Put(h)
	return dst
}

// seal makes a token of payload, which is a JSON object.
func (k *KeySet) seal(typ kind, payload []byte) string {
	m := k.keys[0].macs[typ]
	var token [640]byte
	text := base64.RawURLEncoding.AppendEncode(append(token[:0], m.header...), payload)
	var sum [sha256.Size]byte
	text = base64.RawURLEncoding.AppendEncode(append(text, '.'), m.sum(sum[:0], text))
	return string(text)
}

// open is verify for the kinds that seal makes. The header is compared byte for
// byte with the one seal writes, so there is no algorithm to be talked into;
// the payload is looked at after its hash.
func (k *KeySet) open(typ kind, token, event string, now time.Time) (claims, error) {
	if len(token) > MaxLength || !compact(token) {
		return claims{}, ErrInvalid
	}
	for i := range k.keys {
		if m := k.keys[i].macs[typ]; strings.HasPrefix(token, m.header) {
			return m.open(token, event, now)
		}
	}
	return claims{}, ErrInvalid
}

func (m *mac) open(token, event string, now time.Time) (claims, error) {
	dot := strings.LastIndexByte(token, '.')
	if dot < len(m.header) {
		return claims{}, ErrInvalid
	}
	encoding := base64.RawURLEncoding.Strict()
	given, err := encoding.DecodeString(token[dot+1:])
	var sum [sha256.Size]byte
	if err != nil || !hmac.Equal(given, m.sum(sum[:0], []byte(token[:dot]))) {
		return claims{}, ErrInvalid
	}
	payload, err := encoding.DecodeString(token[len(m.header):dot])
	if err != nil {
		return claims{}, ErrInvalid
	}
	var c claims
	if json.Unmarshal(payload, &c) != nil || c.Issuer != Issuer || c.NotBefore != nil {
		return claims{}, ErrInvalid
	}
	switch {
	case event == "" && len(c.Audience) > 0, event != "" && len(c.Audience) != 1, !now.IsZero() && c.ExpiresAt == nil:
		return claims{}, ErrInvalid
	case event != "" && c.Audience[0] != event:
		return claims{}, ErrOtherEvent
	case !now.IsZero() && !now.Before(c.ExpiresAt.Time):
		return c, ErrExpired
	}
	return c, nil
}

// The payloads that seal takes are written by hand, for the reason macKinds
// gives. Members that are empty or zero are left out.

// begin opens the payload of a token about subject, for event.
func begin(dst []byte, subject, event string) []byte {
	dst = append(dst, `{"iss":"`+Issuer+`"`...)
	dst = appendString(dst, "sub", subject)
	return appendString(dst, "aud", event)
}

func appendString(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(append(append(dst, `,"`...), name...), `":`...)
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return append(dst, mustJSON(value)...)
		}
	}
	return append(append(append(dst, '"'), value...), '"')
}

func appendNumber(dst []byte, name string, value int64) []byte {
	if value == 0 {
		return dst
	}
	dst = append(append(append(dst, `,"`...), name...), `":`...)
	return strconv.AppendInt(dst, value, 10)
}
