package pass

import (
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestPublicKeysVerifyWhatTheKeySetSigned(t *testing.T) {
	t.Parallel()
	k := fixed(t, 1, 2)
	published, err := ParseJWKS(k.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	token := k.SignPass(somePass())
	for name, keys := range map[string]*PublicKeys{"Public": k.Public(), "ParseJWKS": published} {
		if p, err := keys.Pass(token, event, now); err != nil || p.Visitor != visitor {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		if _, err := keys.Pass(token, other, now); !errors.Is(err, ErrOtherEvent) {
			t.Errorf("%s: another event: %v", name, err)
		}
		if _, err := keys.Pass(token, event, now.Add(time.Hour)); !errors.Is(err, ErrExpired) {
			t.Errorf("%s: lapsed: %v", name, err)
		}
		for what, bad := range map[string]string{
			"another key": fixed(t, 9).SignPass(somePass()), "a visitor token": k.SignVisitor(visitor, now.Add(time.Hour)),
			"a receipt": k.SignReceipt(Receipt{Visitor: visitor, Event: event, Place: 1, Epoch: 1}), "nothing": "",
		} {
			if _, err := keys.Pass(bad, event, now); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
		if !keys.Has(k.keys[1].id) || keys.Has("x") || keys.Has("") || KeyID(token) != k.keys[0].id {
			t.Errorf("%s: keys are not found by their id", name)
		}
	}
}

func TestParseJWKSRefuses(t *testing.T) {
	t.Parallel()
	var mine map[string][]map[string]string
	if err := json.Unmarshal(fixed(t, 1).JWKS(), &mine); err != nil {
		t.Fatal(err)
	}
	changed := func(name, value string) string {
		j := maps.Clone(mine["keys"][0])
		j[name] = value
		text, _ := json.Marshal(map[string]any{"keys": []any{j}})
		return string(text)
	}
	one, _ := json.Marshal(mine["keys"][0])
	for name, doc := range map[string]string{
		"nothing": "", "no JSON": "<html>", "no keys": `{}`, "an array": `[]`, "empty": `{"keys":[]}`,
		"symmetric": changed("kty", "oct"), "another curve": changed("crv", "X25519"), "for encryption": changed("use", "enc"),
		"another algorithm": changed("alg", "HS256"), "without an id": changed("kid", ""), "short": changed("x", "AAAA"), "no base64": changed("x", strings.Repeat("!", 43)),
		"twice":    `{"keys":[` + string(one) + `,` + string(one) + `]}`,
		"too many": `{"keys":[` + strings.Repeat(string(one)+",", mostPublicKeys) + string(one) + `]}`,
	} {
		if k, err := ParseJWKS([]byte(doc)); err == nil {
			t.Errorf("%s: %v", name, k)
		}
	}
	// Keys of kinds we do not know are passed over beside ours.
	mixed := `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"r"},` + string(one) + `]}`
	if k, err := ParseJWKS([]byte(mixed)); err != nil || k.Has("r") || !k.Has(mine["keys"][0]["kid"]) {
		t.Errorf("mixed: %v, %v", k, err)
	}
}

func TestPassTravelsInAQuery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ query, token, rest string }{
		{"", "", ""},
		{"a=1&b=2", "", "a=1&b=2"},
		{"onsale_pass=x.y.z", "x.y.z", ""},
		{"a=1&onsale_pass=x&b=%20+&b", "x", "a=1&b=%20+&b"},
		{"onsale_pass=x&onsale_pass=y&onsale%5Fpass=z", "x", ""},
		{"onsale%5fpass=x", "x", ""},
		{"%6fnsale_pass=x", "x", ""},
		{"onsale_pass", "", ""},
		{"onsale_pass=%zz&a=1", "", "a=1"},
		{"my_onsale_pass=x&onsale_passport=y", "", "my_onsale_pass=x&onsale_passport=y"},
		{"a=%zz&%zz=onsale_pass", "", "a=%zz&%zz=onsale_pass"},
	} {
		if token, rest := TakeOver(c.query); token != c.token || rest != c.rest {
			t.Errorf("TakeOver(%q) = %q, %q", c.query, token, rest)
		}
	}
	u, _ := url.Parse("https://shop.example/a?x=1&onsale_pass=old#top")
	if got := HandOver(u, "new").String(); got != "https://shop.example/a?x=1&onsale_pass=new#top" {
		t.Errorf("HandOver = %s", got)
	}
}

// FuzzParseJWKS holds that no document brings the parser down or makes it
// accept a pass of another key.
func FuzzParseJWKS(f *testing.F) {
	k := fixed(f, 1)
	f.Add(k.JWKS())
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"x","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`))
	f.Add([]byte(`{"keys":null}`))
	token := fixed(f, 9).SignPass(somePass())
	f.Fuzz(func(t *testing.T, doc []byte) {
		keys, err := ParseJWKS(doc)
		if err != nil {
			return
		}
		if _, err := keys.Pass(token, event, now); err == nil && !strings.Contains(string(doc), fixed(t, 9).keys[0].id) {
			t.Errorf("%s verifies a pass of another key", doc)
		}
	})
}
