package pass

import (
	"bytes"
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
var macKinds = []kind{visitorKind, receiptKind, challengeKind, signInKind}

// mac makes and checks the keyed hashes of one kind by one signing key.
type mac struct {
	header string // of its tokens, encoded, with the dot
	secret []byte
	idle   sync.Pool // of *sealer
}

// sealer is what making a hash needs, to be used again: what is handed to a
// hash.Hash would otherwise be allocated each time.
type sealer struct {
	hash hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

func (m *mac) take() *sealer {
	if s, ok := m.idle.Get().(*sealer); ok {
		return s
	}
	return &sealer{hash: hmac.New(sha256.New, m.secret), text: make([]byte, 0, 640)}
}

// give takes a sealer back.
func (m *mac) give(s *sealer) {
	s.hash.Reset()
	m.idle.Put(s)
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
	s := m.take()
	defer m.give(s)
	s.hash.Write(text)
	return s.hash.Sum(dst)
}

// seal makes a token of payload, which is a JSON object.
func (k *KeySet) seal(typ kind, payload []byte) string {
	m := k.keys[0].macs[typ]
	s := m.take()
	defer m.give(s)
	s.text = base64.RawURLEncoding.AppendEncode(append(s.text[:0], m.header...), payload)
	s.hash.Write(s.text)
	s.text = base64.RawURLEncoding.AppendEncode(append(s.text, '.'), s.hash.Sum(s.sum[:0]))
	return string(s.text)
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
	if !c.read(payload) && json.Unmarshal(payload, &c) != nil || c.Issuer != Issuer || c.NotBefore != nil {
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

// read reads a payload as seal is given them, without the detours of
// encoding/json. It returns false for anything else, which is left to that: text
// that needs escapes, and members of other kinds.
func (c *claims) read(payload []byte) bool {
	rest, ok := bytes.CutPrefix(payload, []byte{'{'})
	for ok && len(rest) > 0 {
		var name, value []byte
		if name, rest, ok = quoted(rest); !ok || len(rest) == 0 || rest[0] != ':' {
			return false
		}
		rest = rest[1:]
		if value, rest, ok = quoted(rest); ok {
			ok = c.setText(string(name), string(value))
		} else {
			end := bytes.IndexAny(rest, ",}")
			if end < 0 {
				return false
			}
			value, rest = rest[:end], rest[end:]
			var n int64
			var err error
			n, err = strconv.ParseInt(string(value), 10, 64)
			ok = err == nil && c.setNumber(string(name), n)
		}
		if !ok || len(rest) == 0 {
			return false
		}
		if rest[0] == '}' {
			return len(rest) == 1
		}
		rest, ok = bytes.CutPrefix(rest, []byte{','})
	}
	return false
}

// quoted splits off a string without escapes.
func quoted(text []byte) (value, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != '"' {
		return nil, text, false
	}
	end := bytes.IndexByte(text[1:], '"')
	if end < 0 || bytes.IndexByte(text[1:1+end], '\\') >= 0 {
		return nil, text, false
	}
	return text[1 : 1+end], text[end+2:], true
}

func (c *claims) setText(name, value string) bool {
	switch name {
	case "iss":
		c.Issuer = value
	case "sub":
		c.Subject = value
	case "aud":
		c.Audience = jwt.ClaimStrings{value}
	case "jti":
		c.ID = value
	case "purpose":
		c.Purpose = value
	default:
		return false
	}
	return true
}

func (c *claims) setNumber(name string, value int64) bool {
	switch name {
	case "exp":
		c.ExpiresAt = jwt.NewNumericDate(time.Unix(value, 0))
	case "place":
		c.Place = value
	case "epoch":
		c.Epoch = value
	case "lane":
		c.Lane = int(value)
	case "index":
		c.Index = value
	case "bits":
		c.Bits = int(value)
	default:
		return false
	}
	return true
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
