package pass

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"onsale/internal/fault"
)

const (
	event   = "0190b0a0-0000-7000-8000-000000000001"
	other   = "0190b0a0-0000-7000-8000-000000000002"
	visitor = "AAECAwQFBgcICQoLDA0ODw"
)

var now = time.Date(2027, 3, 1, 10, 0, 0, 0, time.UTC)

// fixed is a KeySet whose seed is n, 32 times.
func fixed(t testing.TB, seeds ...byte) *KeySet {
	t.Helper()
	var texts []string
	for _, n := range seeds {
		texts = append(texts, base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat(string(rune(n)), 32))))
	}
	k, err := ParseKeySet(strings.Join(texts, ", "))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// somePass is a pass that is good at now.
func somePass() Pass {
	return Pass{Visitor: visitor, Event: event, Claimed: now.Add(-time.Minute), Expires: now.Add(time.Minute)}
}

func TestTokensComeBack(t *testing.T) {
	t.Parallel()
	k := Generate()
	if got, err := k.Visitor(k.SignVisitor(visitor, now.Add(time.Hour)), now); err != nil || got != visitor {
		t.Errorf("Visitor = %q, %v", got, err)
	}
	if got, err := k.Pass(k.SignPass(somePass()), event, now); err != nil || !got.Claimed.Equal(somePass().Claimed) ||
		!got.Expires.Equal(somePass().Expires) || got.Visitor != visitor || got.Event != event {
		t.Errorf("Pass = %+v, %v", got, err)
	}
	r := Receipt{Visitor: visitor, Event: event, Place: 12345678901, Epoch: 3, Lane: 3, Index: 9}
	if got, err := k.Receipt(k.SignReceipt(r), event); err != nil || got != r {
		t.Errorf("Receipt = %+v, %v", got, err)
	}
	if got, err := k.Order(k.SignOrder("some-order", now.Add(time.Hour)), now); err != nil || got != "some-order" {
		t.Errorf("Order = %q, %v", got, err)
	}
	lobby := Receipt{Visitor: visitor, Event: event, Epoch: 3, Index: 1}
	if got, err := k.Receipt(k.SignReceipt(lobby), event); err != nil || got != lobby {
		t.Errorf("Receipt = %+v, %v", got, err)
	}
	if got, err := k.Invite(k.SignInvite(someInvite()), event, now); err != nil || got.ID != visitor || got.Event != event ||
		got.Lane != 3 || !got.SingleUse || got.Email != someInvite().Email || !got.Expires.Equal(someInvite().Expires) {
		t.Errorf("Invite = %+v, %v", got, err)
	}
	if got, err := k.Challenge(k.SignChallenge(someChallenge()), event, now); err != nil || got.ID != visitor || got.Event != event ||
		got.Bits != 16 || got.Purpose != "join \"é\"" || !got.Expires.Equal(someChallenge().Expires) {
		t.Errorf("Challenge = %+v, %v", got, err)
	}
}

func someInvite() Invite {
	return Invite{
		ID: visitor, Event: event, Lane: 3, SingleUse: true, Email: BindEmail(visitor, "ada@example.com"), Expires: now.Add(time.Hour),
	}
}

func someChallenge() Challenge {
	return Challenge{ID: visitor, Event: event, Bits: 16, Purpose: "join \"é\"", Expires: now.Add(time.Minute)}
}

func TestBindEmail(t *testing.T) {
	t.Parallel()
	mine := BindEmail(visitor, "ada@example.com")
	if mine != BindEmail(visitor, " Ada@Example.COM\n") {
		t.Error("letter case or space around an address counts")
	}
	if mine == BindEmail(visitor, "eve@example.com") || mine == BindEmail("AAECAwQFBgcICQoLDA0ODg", "ada@example.com") {
		t.Error("the hash of another address or invite is the same")
	}
}

func TestWhatTokensSayIsChecked(t *testing.T) {
	t.Parallel()
	k := fixed(t, 1)
	receipts := map[string]Receipt{
		"nothing":        {},
		"no lane":        {Place: 1},
		"lane too high":  {Place: 1, Lane: 6},
		"lane below 0":   {Place: 1, Lane: -1},
		"place below 0":  {Place: -1, Lane: 1},
		"place too high": {Place: 1<<53 + 1, Lane: 1},
		"index below 0":  {Place: 1, Lane: 1, Index: -1},
		"index too high": {Index: 1<<53 + 1},
	}
	for name, r := range receipts {
		r.Visitor, r.Event, r.Epoch = visitor, event, 1
		if got, err := k.Receipt(k.SignReceipt(r), event); !errors.Is(err, ErrInvalid) || !fault.Is(err, fault.Unauthorized) || got != (Receipt{}) {
			t.Errorf("receipt, %s: %+v, %v", name, got, err)
		}
	}
	invites := map[string]func(*Invite){
		"no id":          func(i *Invite) { i.ID = "" },
		"id of a shape":  func(i *Invite) { i.ID = "short" },
		"no lane":        func(i *Invite) { i.Lane = 0 },
		"lane too high":  func(i *Invite) { i.Lane = 6 },
		"plain address":  func(i *Invite) { i.Email = "ada@example.com" },
		"upper-case hex": func(i *Invite) { i.Email = strings.ToUpper(i.Email) },
		"half a hash":    func(i *Invite) { i.Email = i.Email[:32] },
	}
	for name, change := range invites {
		i := someInvite()
		change(&i)
		if got, err := k.Invite(k.SignInvite(i), event, now); !errors.Is(err, ErrInvalid) || !fault.Is(err, fault.Forbidden) || got != (Invite{}) {
			t.Errorf("invite, %s: %+v, %v", name, got, err)
		}
	}
	challenges := map[string]func(*Challenge){
		"no id":         func(c *Challenge) { c.ID = "" },
		"id of a shape": func(c *Challenge) { c.ID = "short" },
		"no bits":       func(c *Challenge) { c.Bits = 0 },
		"too many bits": func(c *Challenge) { c.Bits = 65 },
		"no purpose":    func(c *Challenge) { c.Purpose = "" },
	}
	for name, change := range challenges {
		c := someChallenge()
		change(&c)
		if got, err := k.Challenge(k.SignChallenge(c), event, now); !errors.Is(err, ErrInvalid) || !fault.Is(err, fault.Forbidden) || got != (Challenge{}) {
			t.Errorf("challenge, %s: %+v, %v", name, got, err)
		}
	}
}

func TestInvitesAndChallengesEnd(t *testing.T) {
	t.Parallel()
	k := fixed(t, 1)
	end := someInvite().Expires
	for _, c := range []struct {
		event string
		at    time.Time
		want  error
	}{{event, end.Add(-1), nil}, {event, end, ErrExpired}, {other, end.Add(-1), ErrOtherEvent}} {
		if _, err := k.Invite(k.SignInvite(someInvite()), c.event, c.at); !errors.Is(err, c.want) {
			t.Errorf("invite at %v: %v, want %v", c.at, err, c.want)
		}
		challenge := someChallenge()
		challenge.Expires = end
		if _, err := k.Challenge(k.SignChallenge(challenge), c.event, c.at); !errors.Is(err, c.want) {
			t.Errorf("challenge at %v: %v, want %v", c.at, err, c.want)
		}
	}
}

func TestTokensAreDeterministic(t *testing.T) {
	t.Parallel()
	a, b := fixed(t, 1), fixed(t, 1, 2)
	if a.SignPass(somePass()) != b.SignPass(somePass()) {
		t.Error("two nodes with the same key sign the same pass differently")
	}
	later := somePass()
	later.Claimed = later.Claimed.Add(5 * time.Millisecond)
	if a.SignPass(somePass()) == a.SignPass(later) {
		t.Error("passes of two turns within a second are the same")
	}
	r := Receipt{Visitor: visitor, Event: event, Place: 7, Epoch: 1, Lane: 4}
	if a.SignReceipt(r) != b.SignReceipt(r) {
		t.Error("two nodes with the same key sign the same receipt differently")
	}
}

func TestPassNeverOutlivesItsLease(t *testing.T) {
	t.Parallel()
	k := Generate()
	p := somePass()
	p.Expires = now.Add(1900 * time.Millisecond)
	token := k.SignPass(p)
	if _, err := k.Pass(token, event, now.Add(999*time.Millisecond)); err != nil {
		t.Errorf("before the end: %v", err)
	}
	for _, late := range []time.Duration{time.Second, 1900 * time.Millisecond, time.Hour} {
		got, err := k.Pass(token, event, now.Add(late))
		if !errors.Is(err, ErrExpired) || !fault.Is(err, fault.PassLapsed) || got.Visitor != visitor {
			t.Errorf("%v later: %+v, %v, want ErrExpired and whose it was", late, got, err)
		}
	}
}

// header and payload are hand-made parts of a token.
func forge(key ed25519.PrivateKey, header, payload map[string]any) string {
	h, _ := json.Marshal(header)
	p, _ := json.Marshal(payload)
	text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(p)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

func TestForgeriesAreRefused(t *testing.T) {
	t.Parallel()
	k, stranger := fixed(t, 1), fixed(t, 9)
	mine := k.keys[0]
	header := func(changes map[string]any) map[string]any {
		h := map[string]any{"alg": "EdDSA", "kid": mine.id, "typ": string(passKind)}
		for name, v := range changes {
			if v == nil {
				delete(h, name)
			} else {
				h[name] = v
			}
		}
		return h
	}
	payload := func(changes map[string]any) map[string]any {
		p := map[string]any{"iss": Issuer, "sub": visitor, "aud": event, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
		for name, v := range changes {
			if v == nil {
				delete(p, name)
			} else {
				p[name] = v
			}
		}
		return p
	}
	good := forge(mine.private, header(nil), payload(nil))
	if _, err := k.Pass(good, event, now); err != nil {
		t.Fatalf("the hand-made good pass is refused, so this test shows nothing: %v", err)
	}
	unsigned := good[:strings.LastIndex(good, ".")+1]
	hs256 := func() string {
		h, _ := json.Marshal(header(map[string]any{"alg": "HS256"}))
		p, _ := json.Marshal(payload(nil))
		text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(p)
		mac := hmac.New(sha256.New, mine.public)
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	none := func(alg string) string {
		h, _ := json.Marshal(header(map[string]any{"alg": alg}))
		p, _ := json.Marshal(payload(nil))
		return base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(p) + "."
	}
	cases := []struct {
		name, token string
		want        error
	}{
		{"empty", "", ErrInvalid},
		{"two dots", "..", ErrInvalid},
		{"alg none", none("none"), ErrInvalid},
		{"alg None", none("None"), ErrInvalid},
		{"alg EdDSA, no signature", unsigned, ErrInvalid},
		{"HS256 with the public key", hs256(), ErrInvalid},
		{"another key", stranger.SignPass(somePass()), ErrInvalid},
		{"another key under my kid", forge(stranger.keys[0].private, header(nil), payload(nil)), ErrInvalid},
		{"no kid", forge(mine.private, header(map[string]any{"kid": nil}), payload(nil)), ErrInvalid},
		{"kid of another type", forge(mine.private, header(map[string]any{"kid": 1}), payload(nil)), ErrInvalid},
		{"plain typ", forge(mine.private, header(map[string]any{"typ": "JWT"}), payload(nil)), ErrInvalid},
		{"unknown critical header", forge(mine.private, header(map[string]any{"crit": []string{"b64"}, "b64": false}), payload(nil)), ErrInvalid},
		{"key in the header", forge(stranger.keys[0].private, header(map[string]any{"jwk": map[string]any{"kty": "OKP"}}), payload(nil)), ErrInvalid},
		{"a visitor token", k.SignVisitor(visitor, now.Add(time.Hour)), ErrInvalid},
		{"a receipt", k.SignReceipt(Receipt{Visitor: visitor, Event: event, Place: 1, Epoch: 1, Lane: 4}), ErrInvalid},
		{"an order token", k.SignOrder("o", now.Add(time.Hour)), ErrInvalid},
		{"an invite", k.SignInvite(someInvite()), ErrInvalid},
		{"a challenge", k.SignChallenge(someChallenge()), ErrInvalid},
		{"other issuer", forge(mine.private, header(nil), payload(map[string]any{"iss": "elsewhere"})), ErrInvalid},
		{"other issuer, expired", forge(mine.private, header(nil), payload(map[string]any{"iss": "elsewhere", "exp": 1})), ErrInvalid},
		{"other event", forge(mine.private, header(nil), payload(map[string]any{"aud": other})), ErrOtherEvent},
		{"no event", forge(mine.private, header(nil), payload(map[string]any{"aud": nil})), ErrInvalid},
		{"expired", forge(mine.private, header(nil), payload(map[string]any{"exp": now.Unix()})), ErrExpired},
		{"no expiry", forge(mine.private, header(nil), payload(map[string]any{"exp": nil})), ErrInvalid},
		{"no claim time", forge(mine.private, header(nil), payload(map[string]any{"iat": nil})), ErrInvalid},
		{"not yet", forge(mine.private, header(nil), payload(map[string]any{"nbf": now.Add(time.Second).Unix()})), ErrInvalid},
		{"no visitor", forge(mine.private, header(nil), payload(map[string]any{"sub": nil})), ErrInvalid},
		{"visitor of another form", forge(mine.private, header(nil), payload(map[string]any{"sub": "root"})), ErrInvalid},
		{"space before", " " + good, ErrInvalid},
		{"line after", good + "\n", ErrInvalid},
		{"padding", good + "=", ErrInvalid},
		{"longer than MaxLength", forge(mine.private, header(nil), payload(map[string]any{"x": strings.Repeat("x", MaxLength)})), ErrInvalid},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := k.Pass(c.token, event, now)
			if !errors.Is(err, c.want) || p != (Pass{}) && !errors.Is(c.want, ErrExpired) {
				t.Errorf("Pass = %+v, %v, want %v", p, err, c.want)
			}
		})
	}
	t.Run("every truncation and every changed byte", func(t *testing.T) {
		t.Parallel()
		for i := range good {
			if _, err := k.Pass(good[:i], event, now); err == nil {
				t.Errorf("the first %d bytes are accepted", i)
			}
			changed := []byte(good)
			changed[i] ^= 1
			if _, err := k.Pass(string(changed), event, now); err == nil {
				t.Errorf("accepted with byte %d changed", i)
			}
		}
	})
}

// forgeMAC is forge with a keyed hash.
func forgeMAC(secret []byte, header, payload map[string]any) string {
	h, _ := json.Marshal(header)
	p, _ := json.Marshal(payload)
	text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(p)
	sum := hmac.New(sha256.New, secret)
	sum.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
}

func TestForgedKeyedHashesAreRefused(t *testing.T) {
	t.Parallel()
	k, stranger := fixed(t, 1), fixed(t, 9)
	mine := k.keys[0]
	secret := mine.macs[receiptKind].secret
	with := func(changes map[string]any, members map[string]any) map[string]any {
		for name, v := range changes {
			if v == nil {
				delete(members, name)
			} else {
				members[name] = v
			}
		}
		return members
	}
	header := func(changes map[string]any) map[string]any {
		return with(changes, map[string]any{"alg": "HS256", "kid": mine.id, "typ": string(receiptKind)})
	}
	payload := func(changes map[string]any) map[string]any {
		return with(changes, map[string]any{"iss": Issuer, "sub": visitor, "aud": event, "place": 5, "epoch": 1, "lane": 4})
	}
	good := forgeMAC(secret, header(nil), payload(nil))
	if _, err := k.Receipt(good, event); err != nil {
		t.Fatalf("the hand-made good receipt is refused, so this test shows nothing: %v", err)
	}
	cases := []struct {
		name, token string
		want        error
	}{
		{"empty", "", ErrInvalid},
		{"two dots", "..", ErrInvalid},
		{"the header alone", mine.macs[receiptKind].header, ErrInvalid},
		{"the header and a dot", mine.macs[receiptKind].header + ".", ErrInvalid},
		{"alg none", forgeMAC(secret, header(map[string]any{"alg": "none"}), payload(nil)), ErrInvalid},
		{"alg HS512", forgeMAC(secret, header(map[string]any{"alg": "HS512"}), payload(nil)), ErrInvalid},
		{"no hash", good[:strings.LastIndex(good, ".")+1], ErrInvalid},
		{"EdDSA with the right key", forge(mine.private, header(map[string]any{"alg": "EdDSA"}), payload(nil)), ErrInvalid},
		{"EdDSA said to be HS256", forge(mine.private, header(nil), payload(nil)), ErrInvalid},
		{"HS256 with the public key", forgeMAC(mine.public, header(nil), payload(nil)), ErrInvalid},
		{"HS256 with the seed", forgeMAC(mine.private.Seed(), header(nil), payload(nil)), ErrInvalid},
		{"the key of another kind", forgeMAC(mine.macs[visitorKind].secret, header(nil), payload(nil)), ErrInvalid},
		{"another set's key under my kid", forgeMAC(stranger.keys[0].macs[receiptKind].secret, header(nil), payload(nil)), ErrInvalid},
		{"another set", stranger.SignReceipt(Receipt{Visitor: visitor, Event: event, Place: 5, Epoch: 1, Lane: 4}), ErrInvalid},
		{"no kid", forgeMAC(secret, header(map[string]any{"kid": nil}), payload(nil)), ErrInvalid},
		{"plain typ", forgeMAC(secret, header(map[string]any{"typ": "JWT"}), payload(nil)), ErrInvalid},
		{"unknown critical header", forgeMAC(secret, header(map[string]any{"crit": []string{"b64"}}), payload(nil)), ErrInvalid},
		{"other issuer", forgeMAC(secret, header(nil), payload(map[string]any{"iss": "elsewhere"})), ErrInvalid},
		{"other event", forgeMAC(secret, header(nil), payload(map[string]any{"aud": other})), ErrOtherEvent},
		{"two events", forgeMAC(secret, header(nil), payload(map[string]any{"aud": []string{event, other}})), ErrInvalid},
		{"no event", forgeMAC(secret, header(nil), payload(map[string]any{"aud": nil})), ErrInvalid},
		{"not yet", forgeMAC(secret, header(nil), payload(map[string]any{"nbf": 1})), ErrInvalid},
		{"no visitor", forgeMAC(secret, header(nil), payload(map[string]any{"sub": nil})), ErrInvalid},
		{"not an object", forgeMAC(secret, header(nil), nil), ErrInvalid},
		{"a fourth part", good + ".AA", ErrInvalid},
		{"line after", good + "\n", ErrInvalid},
		{"padding", good + "=", ErrInvalid},
		{"longer than MaxLength", forgeMAC(secret, header(nil), payload(map[string]any{"x": strings.Repeat("x", MaxLength)})), ErrInvalid},
	}
	for _, c := range cases {
		if r, err := k.Receipt(c.token, event); !errors.Is(err, c.want) || r != (Receipt{}) {
			t.Errorf("%s: Receipt = %+v, %v, want %v", c.name, r, err, c.want)
		}
	}
	for i := range good {
		if _, err := k.Receipt(good[:i], event); err == nil {
			t.Errorf("the first %d bytes are accepted", i)
		}
		changed := []byte(good)
		changed[i] ^= 1
		if _, err := k.Receipt(string(changed), event); err == nil {
			t.Errorf("accepted with byte %d changed", i)
		}
	}
	if _, err := k.Visitor(k.SignVisitor(visitor, now), now); !errors.Is(err, ErrExpired) {
		t.Errorf("a visitor token at its end: %v", err)
	}
	ever := forgeMAC(mine.macs[visitorKind].secret, header(map[string]any{"typ": string(visitorKind)}),
		map[string]any{"iss": Issuer, "sub": visitor})
	if _, err := k.Visitor(ever, now); !errors.Is(err, ErrInvalid) {
		t.Errorf("a visitor token without an end: %v", err)
	}
}

// Others that know HS256 read what we write by hand.
func TestKeyedHashesAreOrdinaryJWTs(t *testing.T) {
	t.Parallel()
	k := fixed(t, 1)
	for typ, token := range map[kind]string{
		receiptKind:   k.SignReceipt(Receipt{Visitor: visitor, Event: event, Place: 5, Epoch: 1, Lane: 4}),
		visitorKind:   k.SignVisitor(visitor, now.Add(time.Hour)),
		challengeKind: k.SignChallenge(someChallenge()),
	} {
		_, err := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer(Issuer), jwt.WithStrictDecoding(),
			jwt.WithTimeFunc(func() time.Time { return now })).Parse(token, func(t *jwt.Token) (any, error) {
			if t.Header["kid"] != k.keys[0].id || t.Header["typ"] != string(typ) {
				return nil, ErrInvalid
			}
			return k.keys[0].macs[typ].secret, nil
		})
		if err != nil {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestDerive(t *testing.T) {
	t.Parallel()
	k := fixed(t, 1)
	id := k.Derive("subject", "issuer")
	if !ValidVisitor(id) || id != k.Derive("subject", "issuer") {
		t.Errorf("Derive = %q, then %q", id, k.Derive("subject", "issuer"))
	}
	if rotated := fixed(t, 2, 1); id != rotated.Derive("subject", "issuer") {
		t.Error("a new seed in front changes derived ids")
	}
	for _, parts := range [][]string{nil, {""}, {"subject"}, {"issuer", "subject"}, {"subjectissuer"}, {"subject", "issuer", ""}, {"subjec", "tissuer"}} {
		if k.Derive(parts...) == id {
			t.Errorf("Derive(%q) is the same", parts)
		}
	}
	if fixed(t, 2).Derive("subject", "issuer") == id {
		t.Error("another key derives the same id")
	}
}

func TestEachKindIsOnlyItself(t *testing.T) {
	t.Parallel()
	k := Generate()
	tokens := map[string]string{
		"visitor":   k.SignVisitor(visitor, now.Add(time.Hour)),
		"pass":      k.SignPass(somePass()),
		"receipt":   k.SignReceipt(Receipt{Visitor: visitor, Event: event, Place: 1, Epoch: 1, Lane: 4}),
		"order":     k.SignOrder(visitor, now.Add(time.Hour)),
		"invite":    k.SignInvite(someInvite()),
		"challenge": k.SignChallenge(someChallenge()),
	}
	for name, token := range tokens {
		_, asVisitor := k.Visitor(token, now)
		_, asPass := k.Pass(token, event, now)
		_, asReceipt := k.Receipt(token, event)
		_, asOrder := k.Order(token, now)
		_, asInvite := k.Invite(token, event, now)
		_, asChallenge := k.Challenge(token, event, now)
		for taken, err := range map[string]error{
			"visitor": asVisitor, "pass": asPass, "receipt": asReceipt, "order": asOrder, "invite": asInvite, "challenge": asChallenge,
		} {
			if (err == nil) != (taken == name) {
				t.Errorf("a %s token taken for a %s token: %v", name, taken, err)
			}
		}
	}
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	before, during, after := fixed(t, 1), fixed(t, 2, 1), fixed(t, 2)
	old, fresh := before.SignPass(somePass()), during.SignPass(somePass())
	r := Receipt{Visitor: visitor, Event: event, Place: 5, Epoch: 1, Lane: 4}
	receipts := map[string]string{old: before.SignReceipt(r), fresh: during.SignReceipt(r)}
	for _, c := range []struct {
		name string
		keys *KeySet
		tok  string
		ok   bool
	}{
		{"old token, both keys", during, old, true},
		{"new token, both keys", during, fresh, true},
		{"new token, new key", after, fresh, true},
		{"old token, new key", after, old, false},
		{"new token, old key", before, fresh, false},
	} {
		if _, err := c.keys.Pass(c.tok, event, now); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := c.keys.Receipt(receipts[c.tok], event); (err == nil) != c.ok {
			t.Errorf("receipt, %s: %v", c.name, err)
		}
	}
}

func TestParseKeySet(t *testing.T) {
	t.Parallel()
	k := Generate()
	again, err := ParseKeySet(k.Secret())
	if err != nil || again.Secret() != k.Secret() {
		t.Fatalf("ParseKeySet(Secret()) = %v", err)
	}
	for _, bad := range []string{"", ",", "short", k.Secret() + ",", k.Secret() + "," + k.Secret(), strings.Repeat("A", 44), strings.Repeat("!", 43)} {
		if _, err := ParseKeySet(bad); err == nil {
			t.Errorf("ParseKeySet(%q) is accepted", bad)
		} else if strings.Contains(err.Error(), k.Secret()) {
			t.Errorf("the error tells the seed: %v", err)
		}
	}
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%+v", k), fmt.Sprintf("%#v", k), k.LogValue().String()} {
		if strings.Contains(text, k.Secret()) {
			t.Errorf("the seed is printed: %s", text)
		}
	}
}

// The key pair and thumbprint of RFC 8037, appendix A.
func TestThumbprintOfRFC8037(t *testing.T) {
	t.Parallel()
	k, err := ParseKeySet("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(k.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
		"kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "use": "sig", "alg": "EdDSA",
	}
	if len(set.Keys) != 1 || fmt.Sprint(set.Keys[0]) != fmt.Sprint(want) {
		t.Errorf("JWKS = %s", k.JWKS())
	}
}

func TestVisitorIDs(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 1000 {
		id := NewVisitor()
		if !ValidVisitor(id) || seen[id] {
			t.Fatalf("NewVisitor = %q", id)
		}
		seen[id] = true
	}
	for _, bad := range []string{"", "short", visitor + "A", strings.Repeat("{", 22), "AAECAwQFBgcICQoLDA0ODx"} {
		if ValidVisitor(bad) {
			t.Errorf("ValidVisitor(%q)", bad)
		}
	}
}

// FuzzTokens holds that nothing but what this KeySet signed is accepted, and
// that accepting gives back what was signed.
func FuzzTokens(f *testing.F) {
	k := fixed(f, 1)
	good := k.SignPass(somePass())
	receipt := k.SignReceipt(Receipt{Visitor: visitor, Event: event, Place: 5, Epoch: 1, Lane: 4})
	f.Add(good)
	f.Add(receipt)
	f.Add(k.SignVisitor(visitor, now.Add(time.Hour)))
	f.Add(k.SignInvite(someInvite()))
	f.Add(k.SignChallenge(someChallenge()))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		if p, err := k.Pass(token, event, now); err == nil && k.SignPass(p) != token && token != good {
			t.Errorf("forged pass %q", token)
		}
		if r, err := k.Receipt(token, event); err == nil && token != k.SignReceipt(r) {
			t.Errorf("forged receipt %q", token)
		}
		if v, err := k.Visitor(token, now); err == nil && v != visitor {
			t.Errorf("forged visitor %q", v)
		}
		if _, err := k.Order(token, now); err == nil {
			t.Errorf("forged order token %q", token)
		}
		if i, err := k.Invite(token, event, now); err == nil && token != k.SignInvite(i) {
			t.Errorf("forged invite %q", token)
		}
		if c, err := k.Challenge(token, event, now); err == nil && token != k.SignChallenge(c) {
			t.Errorf("forged challenge %q", token)
		}
	})
}

// TestPassSeenBefore: what is remembered of a pass opens nothing that the pass does
// not open.
func TestPassSeenBefore(t *testing.T) {
	t.Parallel()
	keys, p := fixed(t, 1), somePass()
	token := keys.SignPass(p)
	now := p.Expires.Add(-time.Second)
	for range 2 {
		if got, err := keys.Pass(token, p.Event, now); err != nil || got.Visitor != p.Visitor {
			t.Errorf("a genuine pass: %+v, %v", got, err)
		}
		if _, err := keys.Pass(token, "another", now); !fault.Is(err, fault.Forbidden) {
			t.Errorf("for another event: %v", err)
		}
		if got, err := keys.Pass(token, p.Event, p.Expires); !fault.Is(err, fault.PassLapsed) || got.Visitor != p.Visitor {
			t.Errorf("at its end: %+v, %v", got, err)
		}
		forged := token[:len(token)-4] + "AAAA"
		if _, err := keys.Pass(forged, p.Event, now); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("forged: %v", err)
		}
		if _, err := fixed(t, 2).Pass(token, p.Event, now); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("by other keys: %v", err)
		}
	}
	for i := range mostSeen + 1 { // the memory is bounded, and forgetting costs a verification only
		keys.seen.put([32]byte{byte(i), byte(i >> 8), byte(i >> 16), 1}, Pass{})
	}
	if n := len(keys.seen.now) + len(keys.seen.old); n > 2*mostSeen {
		t.Errorf("%d passes are remembered", n)
	}
	if _, err := keys.Pass(token, p.Event, now); err != nil {
		t.Errorf("after many others: %v", err)
	}
}

func BenchmarkPass(b *testing.B) {
	k, p := fixed(b, 1), somePass()
	token := k.SignPass(p)
	for b.Loop() {
		if _, err := k.pass(token, p.Event, p.Claimed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPassSeenBefore(b *testing.B) {
	k, p := fixed(b, 1), somePass()
	token := k.SignPass(p)
	for b.Loop() {
		if _, err := k.Pass(token, p.Event, p.Claimed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignReceipt(b *testing.B) {
	k := Generate()
	for b.Loop() {
		k.SignReceipt(Receipt{Visitor: visitor, Event: event, Place: 5, Epoch: 1, Lane: 4})
	}
}

func BenchmarkVisitor(b *testing.B) {
	k := Generate()
	token := k.SignVisitor(visitor, now.Add(time.Hour))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Visitor(token, now); err != nil {
			b.Fatal(err)
		}
	}
}
