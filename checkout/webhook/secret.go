package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// The header of a message.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

const (
	secretPrefix = "whsec_"
	secretBytes  = 32
)

// Secret is what an endpoint and we know. It does not print itself.
type Secret []byte

// NewSecret returns 32 random bytes.
func NewSecret() Secret {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b) // never fails: crypto/rand panics instead
	return b
}

// Reveal writes the secret as receivers configure it: whsec_ and base64.
func (s Secret) Reveal() string { return secretPrefix + base64.StdEncoding.EncodeToString(s) }

// String implements fmt.Stringer, for logs.
func (Secret) String() string { return "[set]" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return "[set]" }

// MarshalText implements encoding.TextMarshaler, so that neither JSON nor slog
// shows it.
func (Secret) MarshalText() ([]byte, error) { return []byte("[set]"), nil }

// Sign is the value of the signature header: one v1 signature for each secret,
// HMAC-SHA256 over id, time and body.
func Sign(id string, at time.Time, body []byte, secrets ...Secret) string {
	var out strings.Builder
	for i, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		mac.Write(body)
		if i > 0 {
			out.WriteByte(' ')
		}
		out.WriteString("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return out.String()
}
