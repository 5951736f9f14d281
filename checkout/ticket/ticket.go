package ticket

import (
	"encoding/base32"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	version  = "T1"
	bodySize = 56
	sigSize  = 64
	keySize  = 4

	// Length of a signed text in characters.
	Length = len(version) + (bodySize+sigSize)*8/5
	// MaxLength of anything that Parse looks at, in bytes.
	MaxLength = 256
)

// alphabet is Crockford's: nothing in it looks like anything else in it.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

var encoding = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)

// Why a text is refused.
var (
	ErrMalformed = errors.New("not the text of a ticket")
	ErrForged    = errors.New("the signature is not of a key known here")
)

// Ticket is what a signed text says. Issued is in whole seconds, from 1970 to 2106.
type Ticket struct {
	Event     uuid.UUID
	Ticket    uuid.UUID
	Admission uuid.UUID
	Issued    time.Time
}

// Signer signs tickets; *pass.KeySet is one.
type Signer interface {
	TicketKey() [keySize]byte
	SignTicket(body []byte) []byte
}

// Keys verify tickets; *pass.KeySet and *pass.PublicKeys are.
type Keys interface {
	VerifyTicket(key [keySize]byte, body, signature []byte) bool
}

// Sign makes the signed text of a ticket. The same ticket gives the same text.
func Sign(s Signer, t Ticket) string {
	b := make([]byte, 0, bodySize+sigSize)
	b = append(b, t.Event[:]...)
	b = append(b, t.Ticket[:]...)
	b = append(b, t.Admission[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(min(max(t.Issued.Unix(), 0), math.MaxUint32)))
	key := s.TicketKey()
	b = append(b, key[:]...)
	return version + encoding.EncodeToString(append(b, s.SignTicket(b)...))
}

// Presented is what somebody shows at the door: a signed text, or a code.
type Presented struct {
	Ticket Ticket // of a signed text
	Code   string // the text code, "" of a signed text
	Digits string // the rotating part of a signed text, "" if it has none

	body, signature []byte
}

// Signed reports whether it is a signed text, which Genuine has to judge.
func (p *Presented) Signed() bool { return p.body != nil }

// Genuine reports whether one of the keys has signed it.
func (p *Presented) Genuine(keys Keys) bool {
	if len(p.body) != bodySize || len(p.signature) != sigSize {
		return false
	}
	var key [keySize]byte
	copy(key[:], p.body[bodySize-keySize:])
	return keys.VerifyTicket(key, p.body, p.signature)
}

// Parse reads a signed text, with or without its rotating part, or a text code as
// people type it. It verifies nothing. The error is ErrMalformed.
func Parse(text string) (Presented, error) {
	if len(text) > MaxLength {
		return Presented{}, ErrMalformed
	}
	text = strings.ToUpper(strings.TrimSpace(text))
	if len(text) < Length {
		if code, ok := NormalCode(text); ok {
			return Presented{Code: code}, nil
		}
		return Presented{}, ErrMalformed
	}
	signed, digits, rotating := strings.Cut(text, ".")
	if len(signed) != Length || !strings.HasPrefix(signed, version) || rotating && !isDigits(digits) {
		return Presented{}, ErrMalformed
	}
	// Line breaks, which the decoder skips, would make the text too short.
	raw, err := encoding.DecodeString(signed[len(version):])
	if err != nil || len(raw) != bodySize+sigSize {
		return Presented{}, ErrMalformed
	}
	p := Presented{Digits: digits, body: raw[:bodySize], signature: raw[bodySize:]}
	copy(p.Ticket.Event[:], raw)
	copy(p.Ticket.Ticket[:], raw[16:])
	copy(p.Ticket.Admission[:], raw[32:])
	p.Ticket.Issued = time.Unix(int64(binary.BigEndian.Uint32(raw[48:])), 0).UTC()
	return p, nil
}

// Verify reads a signed text and checks its signature. A text code is
// ErrMalformed here: nothing can be told from it.
func Verify(text string, keys Keys) (Presented, error) {
	p, err := Parse(text)
	switch {
	case err != nil:
		return Presented{}, err
	case !p.Signed():
		return Presented{}, ErrMalformed
	case !p.Genuine(keys):
		return Presented{}, ErrForged
	}
	return p, nil
}
