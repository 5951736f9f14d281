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
	r := Receipt{Visitor: visitor, Event: event, Place: 12345678901, Epoch: 3}
	if got, err := k.Receipt(k.SignReceipt(r), event); err != nil || got != r {
		t.Errorf("Receipt = %+v, %v", got, err)
	}
	if got, err := k.Order(k.SignOrder("some-order", now.Add(time.Hour)), now); err != nil || got != "some-order" {
		t.Errorf("Order = %q, %v", got, err)
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
	r := Receipt{Visitor: visitor, Event: event, Place: 7, Epoch: 1}
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
		{"a receipt", k.SignReceipt(Receipt{Visitor: visitor, Event: event, Place: 1, Epoch: 1}), ErrInvalid},
		{"an order token", k.SignOrder("o", now.Add(time.Hour)), ErrInvalid},
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

func TestEachKindIsOnlyItself(t *testing.T) {
	t.Parallel()
	k := Generate()
	tokens := map[string]string{
		"visitor": k.SignVisitor(visitor, now.Add(time.Hour)),
		"pass":    k.SignPass(somePass()),
		"receipt": k.SignReceipt(Receipt{Visitor: visitor, Event: event, Place: 1, Epoch: 1}),
		"order":   k.SignOrder(visitor, now.Add(time.Hour)),
	}
	for name, token := range tokens {
		_, asVisitor := k.Visitor(token, now)
		_, asPass := k.Pass(token, event, now)
		_, asReceipt := k.Receipt(token, event)
		_, asOrder := k.Order(token, now)
		for taken, err := range map[string]error{"visitor": asVisitor, "pass": asPass, "receipt": asReceipt, "order": asOrder} {
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
	receipt := k.SignReceipt(Receipt{Visitor: visitor, Event: event, Place: 5, Epoch: 1})
	f.Add(good)
	f.Add(receipt)
	f.Add(k.SignVisitor(visitor, now.Add(time.Hour)))
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
	})
}

func BenchmarkPass(b *testing.B) {
	k := Generate()
	token := k.SignPass(somePass())
	for b.Loop() {
		if _, err := k.Pass(token, event, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignReceipt(b *testing.B) {
	k := Generate()
	for b.Loop() {
		k.SignReceipt(Receipt{Visitor: visitor, Event: event, Place: 5, Epoch: 1})
	}
}
