package pass_test

import (
	"testing"
	"time"

	"onsale/internal/fault"
	"onsale/waitroom/pass"
)

// TestSessionsAreNothingElse, and nothing else is a session.
func TestSessionsAreNothingElse(t *testing.T) {
	t.Parallel()
	keys, now := pass.Generate(), time.Unix(1_800_000_000, 0)
	want := pass.Session{Account: "0190b0a0-8c3e-7a41-9d5e-3f1f6f1f0071", Epoch: 3, User: pass.NewVisitor(), Expires: now.Add(time.Hour)}
	token := keys.SignSession(want)
	if got, err := keys.Session(token, now); err != nil || got.Account != want.Account || got.Epoch != want.Epoch || got.User != want.User || !got.Expires.Equal(want.Expires) {
		t.Errorf("%+v, %v", got, err)
	}
	if token == keys.SignSession(want) {
		t.Error("two sessions are the same token")
	}
	visitor := pass.NewVisitor()
	for name, bad := range map[string]string{
		"an order's token": keys.SignOrder(want.Account, want.Expires),
		"a visitor's":      keys.SignVisitor(visitor, want.Expires),
		"a pass for it":    keys.SignPass(pass.Pass{Visitor: visitor, Event: "onsale-account", Claimed: now, Expires: want.Expires}),
		"another key's":    pass.Generate().SignSession(want),
		"without an epoch": keys.SignSession(pass.Session{Account: want.Account, Expires: want.Expires}),
		"of no visitor":    keys.SignSession(pass.Session{Account: want.Account, Epoch: 1, User: "somebody", Expires: want.Expires}),
		"of nobody":        keys.SignSession(pass.Session{Epoch: 1, Expires: want.Expires}),
		"nothing":          "",
		"one byte less":    token[:len(token)-1],
	} {
		if s, err := keys.Session(bad, now); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	if _, err := keys.Session(token, now.Add(time.Hour)); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("after its time: %v", err)
	}
	if _, err := keys.Order(token, now); err == nil {
		t.Error("a session opens an order")
	}
	if _, err := keys.Visitor(token, now); err == nil {
		t.Error("a session is a visitor")
	}
	if _, err := keys.PassOfAnyEvent(token, now); err == nil {
		t.Error("a session is a pass")
	}
}
