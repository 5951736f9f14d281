package identity_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"onsale/internal/fault"
	"onsale/waitroom"
	"onsale/waitroom/identity"
)

// issuer is an OpenID Connect provider, as far as a relying party sees one.
type issuer struct {
	t    *testing.T
	url  string
	down atomic.Bool

	mu   sync.Mutex
	keys []map[string]string
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		if i.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": i.url, "jwks_uri": i.url + "/keys", "authorization_endpoint": i.url + "/auth", "token_endpoint": i.url + "/token",
			"id_token_signing_alg_values_supported": []string{"RS256", "ES256", "EdDSA", "HS256", "none"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		answer(w, map[string]any{"keys": i.keys})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	i.url = server.URL
	return i
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// publish adds a key to those of the issuer.
func (i *issuer) publish(id string, key crypto.Signer) crypto.Signer {
	jwk := map[string]string{"kid": id, "use": "sig"}
	switch k := key.Public().(type) {
	case *rsa.PublicKey:
		jwk["kty"], jwk["alg"], jwk["n"], jwk["e"] = "RSA", "RS256", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		raw, err := k.Bytes()
		if err != nil {
			i.t.Fatal(err)
		}
		jwk["kty"], jwk["alg"], jwk["crv"], jwk["x"], jwk["y"] = "EC", "ES256", "P-256", b64(raw[1:33]), b64(raw[33:])
	case ed25519.PublicKey:
		jwk["kty"], jwk["alg"], jwk["crv"], jwk["x"] = "OKP", "EdDSA", "Ed25519", b64(k)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, jwk)
	return key
}

func (i *issuer) claims(change func(jwt.MapClaims)) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": i.url, "aud": "onsale", "sub": "user-1", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"email": "jo@example.org", "email_verified": true,
	}
	if change != nil {
		change(c)
	}
	return c
}

func sign(t *testing.T, method jwt.SigningMethod, id string, key any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	token.Header["kid"] = id
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestPerson(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	rsaOne := i.publish("rsa", rsaKey(t))
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.publish("ec", ecKey)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.publish("ed", edKey)
	want := waitroom.Person{Issuer: i.url, Subject: "user-1", Email: "jo@example.org"}
	for name, known := range map[string]*identity.Issuer{
		"by discovery": identity.New(i.url, "onsale", ""), "by the address of the keys": identity.New(i.url, "onsale", i.url+"/keys"),
	} {
		for alg, token := range map[string]string{
			"RS256": sign(t, jwt.SigningMethodRS256, "rsa", rsaOne, i.claims(nil)),
			"ES256": sign(t, jwt.SigningMethodES256, "ec", ecKey, i.claims(nil)),
			"EdDSA": sign(t, jwt.SigningMethodEdDSA, "ed", edKey, i.claims(nil)),
		} {
			if p, err := known.Person(t.Context(), token); err != nil || p != want {
				t.Errorf("%s, %s: %+v, %v", name, alg, p, err)
			}
		}
		unverified := sign(t, jwt.SigningMethodRS256, "rsa", rsaOne, i.claims(func(c jwt.MapClaims) { c["email_verified"] = false }))
		if p, err := known.Person(t.Context(), unverified); err != nil || p.Email != "" {
			t.Errorf("%s: an address that nobody verified counts: %+v, %v", name, p, err)
		}
		stranger := rsaKey(t)
		public := b64(rsaOne.Public().(*rsa.PublicKey).N.Bytes()) //nolint:forcetypeassert // made above
		for what, token := range map[string]string{
			"another key":        sign(t, jwt.SigningMethodRS256, "rsa", stranger, i.claims(nil)),
			"an unknown key":     sign(t, jwt.SigningMethodRS256, "none", stranger, i.claims(nil)),
			"another issuer":     sign(t, jwt.SigningMethodRS256, "rsa", rsaOne, i.claims(func(c jwt.MapClaims) { c["iss"] = "https://x.example" })),
			"another audience":   sign(t, jwt.SigningMethodRS256, "rsa", rsaOne, i.claims(func(c jwt.MapClaims) { c["aud"] = "shop" })),
			"lapsed":             sign(t, jwt.SigningMethodRS256, "rsa", rsaOne, i.claims(func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Minute).Unix() })),
			"no end":             sign(t, jwt.SigningMethodRS256, "rsa", rsaOne, i.claims(func(c jwt.MapClaims) { delete(c, "exp") })),
			"nobody":             sign(t, jwt.SigningMethodRS256, "rsa", rsaOne, i.claims(func(c jwt.MapClaims) { delete(c, "sub") })),
			"a public key's MAC": sign(t, jwt.SigningMethodHS256, "rsa", []byte(public), i.claims(nil)),
			"no signature":       sign(t, jwt.SigningMethodNone, "rsa", jwt.UnsafeAllowNoneSignatureType, i.claims(nil)),
			"another algorithm":  sign(t, jwt.SigningMethodRS512, "rsa", rsaOne, i.claims(nil)),
			"no token":           "hello",
			"too long":           strings.Repeat("a", 9000) + ".b.c",
		} {
			if p, err := known.Person(t.Context(), token); !fault.Is(err, fault.Unauthorized) {
				t.Errorf("%s, %s: %+v, %v", name, what, p, err)
			}
		}
	}
}

// The issuer brings new keys, and is down now and then: what is known goes on.
func TestKeysComeAndGo(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	old := i.publish("old", rsaKey(t))
	known := identity.New(i.url, "onsale", "")
	oldToken := sign(t, jwt.SigningMethodRS256, "old", old, i.claims(nil))
	i.down.Store(true)
	if _, err := known.Person(t.Context(), oldToken); !fault.Is(err, fault.Unavailable) {
		t.Errorf("an issuer nobody has reached yet: %v", err)
	}
	late := identity.New(i.url, "onsale", i.url+"/keys")
	if _, err := late.Person(t.Context(), oldToken); !fault.Is(err, fault.Unavailable) {
		t.Errorf("keys nobody has fetched yet: %v", err)
	}
	i.down.Store(false)
	if _, err := late.Person(t.Context(), oldToken); err != nil {
		t.Errorf("after the outage: %v", err)
	}
	fresh := i.publish("new", rsaKey(t))
	if _, err := late.Person(t.Context(), sign(t, jwt.SigningMethodRS256, "new", fresh, i.claims(nil))); err != nil {
		t.Errorf("a new key: %v", err)
	}
	i.down.Store(true)
	if _, err := late.Person(t.Context(), oldToken); err != nil {
		t.Errorf("a known key during an outage: %v", err)
	}
}
