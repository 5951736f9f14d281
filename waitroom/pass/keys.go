package pass

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// KeySet holds the signing keys: the first signs, all verify. To rotate, put a
// new key in front, and drop the old one when the tokens it signed are over.
type KeySet struct {
	keys   []key
	jwks   []byte
	derive *mac // of the last key, see Derive
	seen   seen // passes that were verified
}

type key struct {
	id      string // RFC 7638 thumbprint of the public key
	private ed25519.PrivateKey
	public  ed25519.PublicKey
	macs    map[kind]*mac // of the kinds that only our own nodes read
}

// Generate makes a KeySet with one new random key.
func Generate() *KeySet {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails
	return newKeySet([][]byte{seed})
}

// ParseKeySet reads what Secret returned: Ed25519 seeds of 32 bytes, base64url
// without padding, separated by commas. Space around a seed is ignored. An
// error never quotes a seed.
func ParseKeySet(secret string) (*KeySet, error) {
	var seeds [][]byte
	seen := make(map[string]bool)
	for i, text := range strings.Split(secret, ",") {
		seed, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimSpace(text))
		if err != nil || len(seed) != ed25519.SeedSize {
			return nil, fmt.Errorf("signing key %d is not base64url of %d bytes", i+1, ed25519.SeedSize)
		}
		if seen[string(seed)] {
			return nil, fmt.Errorf("signing key %d is there twice", i+1)
		}
		seen[string(seed)] = true
		seeds = append(seeds, seed)
	}
	return newKeySet(seeds), nil
}

func newKeySet(seeds [][]byte) *KeySet {
	// Members in this order, without space, are also what RFC 7638 hashes.
	type jwk struct {
		Curve string `json:"crv"`
		Type  string `json:"kty"`
		X     string `json:"x"`
	}
	type published struct {
		jwk
		ID        string `json:"kid"`
		Use       string `json:"use"`
		Algorithm string `json:"alg"`
	}
	k := &KeySet{}
	set := struct {
		Keys []published `json:"keys"`
	}{}
	for _, seed := range seeds {
		private := ed25519.NewKeyFromSeed(seed)
		public := private.Public().(ed25519.PublicKey)
		j := jwk{Curve: "Ed25519", Type: "OKP", X: base64.RawURLEncoding.EncodeToString(public)}
		sum := sha256.Sum256(mustJSON(j))
		id := base64.RawURLEncoding.EncodeToString(sum[:])
		k.keys = append(k.keys, key{id: id, private: private, public: public, macs: newMACs(seed, id)})
		set.Keys = append(set.Keys, published{jwk: j, ID: id, Use: "sig", Algorithm: "EdDSA"})
	}
	k.jwks = mustJSON(set)
	k.derive = &mac{secret: subkey(seeds[len(seeds)-1], "derived ids")}
	return k
}

// mustJSON encodes what is made of strings alone.
func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("pass: %v", err))
	}
	return text
}

// Secret returns the seeds in the form ParseKeySet reads. Keep it secret.
func (k *KeySet) Secret() string {
	seeds := make([]string, len(k.keys))
	for i, key := range k.keys {
		seeds[i] = base64.RawURLEncoding.EncodeToString(key.private.Seed())
	}
	return strings.Join(seeds, ",")
}

// JWKS returns the public keys as a JSON Web Key Set (RFC 7517), with which
// anyone can verify a pass. The caller must not change it.
func (k *KeySet) JWKS() []byte { return k.jwks }

// String names the keys without giving them away.
func (k *KeySet) String() string {
	ids := make([]string, len(k.keys))
	for i, key := range k.keys {
		ids[i] = key.id
	}
	return "signing keys " + strings.Join(ids, ", ")
}

// GoString keeps seeds out of %#v.
func (k *KeySet) GoString() string { return k.String() }

// LogValue keeps seeds out of logs.
func (k *KeySet) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Pseudonym returns 16 characters that stand for text and cannot be traced back
// to it without the signing key. All nodes that share the KeySet agree on it.
func (k *KeySet) Pseudonym(text string) string {
	mac := hmac.New(sha256.New, k.keys[0].private.Seed())
	mac.Write([]byte("pseudonym\n"))
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:12])
}

// Derive returns the visitor id (see ValidVisitor) that belongs to parts, the
// same on all nodes that share the KeySet: one who can show the same parts again
// is the same visitor. It cannot be guessed without the signing key.
//
// It hangs on the last seed, so that ids stay when a new seed is put in front
// to rotate the keys. When that last seed is dropped they change: whoever comes
// back after that is a new visitor.
func (k *KeySet) Derive(parts ...string) string {
	var text []byte
	for _, part := range parts { // with their lengths, so that "a","bc" is not "ab","c"
		text = binary.BigEndian.AppendUint64(text, uint64(len(part)))
		text = append(text, part...)
	}
	return base64.RawURLEncoding.EncodeToString(k.derive.sum(nil, text)[:16])
}

var errUnknownKey = errors.New("kid names no key of this set")

func (k *KeySet) public(id string) (ed25519.PublicKey, error) {
	for _, key := range k.keys {
		if key.id == id {
			return key.public, nil
		}
	}
	return nil, errUnknownKey
}
