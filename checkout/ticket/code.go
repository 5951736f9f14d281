package ticket

import (
	"crypto/rand"
	"strings"
)

const (
	codeBytes  = 10
	codeLength = codeBytes * 8 / 5
	codeGroup  = 4
)

// NewCode returns a text code: 80 random bits, which nobody guesses and everybody
// can read aloud.
func NewCode() string {
	var b [codeBytes]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand panics instead
	return grouped(encoding.EncodeToString(b[:]))
}

// NormalCode is a code as it is kept, however it was typed: hyphens, spaces and
// letter case do not count. Which letters it has is not looked at: codes of
// earlier years used others.
func NormalCode(typed string) (string, bool) {
	if len(typed) > 4*codeLength {
		return "", false
	}
	plain := strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToUpper(typed))
	if len(plain) != codeLength {
		return "", false
	}
	for i := range len(plain) {
		if c := plain[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return "", false
		}
	}
	return grouped(plain), true
}

// misread is what people take digits for.
var misread = strings.NewReplacer("O", "0", "I", "1", "L", "1")

// Reread is a normal code with the letters that codes do not have taken for the
// digits they look like.
func Reread(code string) string { return misread.Replace(code) }

func grouped(plain string) string {
	var b strings.Builder
	for i := 0; i < len(plain); i += codeGroup {
		if i > 0 {
			b.WriteByte('-')
		}
		b.WriteString(plain[i : i+codeGroup])
	}
	return b.String()
}
