package config

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a setting that is never printed: every verb of fmt, slog, JSON, YAML
// and text encoding shows "[set]", or nothing when it is empty. The value sits
// behind a pointer so that fmt cannot reach it either through a struct that
// holds a Secret in an unexported field.
type Secret struct{ value *string }

// NewSecret wraps a value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{&value}
}

// Reveal returns the value itself, for the one place that needs it.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsSet tells whether there is a value.
func (s Secret) IsSet() bool { return s.value != nil }

// String returns "[set]" or "".
func (s Secret) String() string {
	if s.IsSet() {
		return "[set]"
	}
	return ""
}

// Format implements fmt.Formatter for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler, and with it JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
