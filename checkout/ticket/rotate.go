package ticket

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"time"
)

const (
	// Step is how long one rotating code lasts.
	Step = 15 * time.Second
	// Digits is how many it has.
	Digits = 8
	// SecretSize is the length of an admission's secret in bytes.
	SecretSize = 32

	window = 1 // steps that a clock may be off, either way
)

// NewSecret makes the secret of an admission's rotating codes.
func NewSecret() []byte {
	secret := make([]byte, SecretSize)
	_, _ = rand.Read(secret) // never fails: crypto/rand panics instead
	return secret
}

// Rotate puts the code of the moment behind a signed text.
func Rotate(signed string, secret []byte, at time.Time) string {
	return signed + "." + oneTime(secret, stepOf(at))
}

// Current reports whether digits are the secret's code of the moment, or of the
// step before or after. It takes the same time whatever they are.
func Current(secret []byte, digits string, at time.Time) bool {
	right, now := 0, stepOf(at)
	for step := now - window; step <= now+window; step++ {
		right |= subtle.ConstantTimeCompare([]byte(oneTime(secret, step)), []byte(digits))
	}
	return right == 1
}

func stepOf(at time.Time) int64 { return at.Unix() / int64(Step/time.Second) }

// oneTime is HOTP (RFC 4226, section 5.3) with SHA-256, as RFC 6238 has it.
func oneTime(secret []byte, step int64) string {
	mac := hmac.New(sha256.New, secret)
	_ = binary.Write(mac, binary.BigEndian, step) // a hash takes everything
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	return fmt.Sprintf("%0*d", Digits, binary.BigEndian.Uint32(sum[at:])&0x7fffffff%100_000_000)
}

func isDigits(s string) bool {
	if len(s) != Digits {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
