package pass_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"onsale/internal/fault"
	"onsale/waitroom/pass"
)

// TestSignInsAreNothingElse, and nothing else is a sign-in under way.
func TestSignInsAreNothingElse(t *testing.T) {
	t.Parallel()
	keys, now := pass.Generate(), time.Unix(1_800_000_000, 0)
	want := pass.SignIn{
		State: pass.NewID(), Nonce: pass.NewID(), Verifier: strings.Repeat("v", 43), Return: "/queue/1?a=b&c=%C3%A4", Expires: now.Add(10 * time.Minute),
	}
	token := keys.SignSignIn(want)
	if got, err := keys.SignIn(token, now); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	changed := func(change func(*pass.SignIn)) string {
		s := want
		change(&s)
		return keys.SignSignIn(s)
	}
	flipped := []byte(token)
	flipped[len(flipped)-60] ^= 1
	parts := strings.Split(token, ".")
	for name, bad := range map[string]string{
		"a session":           keys.SignSession(pass.Session{Account: "a", Epoch: 1, Expires: want.Expires}),
		"a visitor":           keys.SignVisitor(pass.NewVisitor(), want.Expires),
		"a challenge":         keys.SignChallenge(pass.Challenge{ID: pass.NewID(), Event: "onsale-sign-in", Bits: 1, Purpose: "join", Expires: want.Expires}),
		"another key's":       pass.Generate().SignSignIn(want),
		"without a state":     changed(func(s *pass.SignIn) { s.State = "" }),
		"without a nonce":     changed(func(s *pass.SignIn) { s.Nonce = "" }),
		"without a verifier":  changed(func(s *pass.SignIn) { s.Verifier = "" }),
		"without a way back":  changed(func(s *pass.SignIn) { s.Return = "" }),
		"changed":             string(flipped),
		"without a signature": parts[0] + "." + parts[1] + ".",
		"by no algorithm":     "eyJhbGciOiJub25lIn0." + parts[1] + ".",
		"nothing":             "",
	} {
		if s, err := keys.SignIn(bad, now); !fault.Is(err, fault.Unauthorized) || !errors.Is(err, pass.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	if _, err := keys.SignIn(token, want.Expires); !fault.Is(err, fault.Unauthorized) || !errors.Is(err, pass.ErrExpired) {
		t.Errorf("after its time: %v", err)
	}
	if _, err := keys.Session(token, now); err == nil {
		t.Error("a sign-in is a session")
	}
	if _, err := keys.Visitor(token, now); err == nil {
		t.Error("a sign-in is a visitor")
	}
	if _, err := keys.Challenge(token, "onsale-sign-in", now); err == nil {
		t.Error("a sign-in is a challenge")
	}
}
