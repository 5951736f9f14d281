package pass

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// mostPublicKeys bounds a key set that somebody else wrote.
const mostPublicKeys = 100

// PublicKeys verify passes and can sign nothing: what a site has that is
// protected by the waiting room of somebody else.
type PublicKeys struct {
	set KeySet // without private keys
}

// Public returns the keys without the means to sign.
func (k *KeySet) Public() *PublicKeys {
	p := &PublicKeys{}
	for _, key := range k.keys {
		p.set.keys = append(p.set.keys, withoutPrivate(key.id, key.public))
	}
	return p
}

// ParseJWKS reads a JSON Web Key Set (RFC 7517) as KeySet.JWKS writes it. Keys
// that cannot verify a pass (of other kinds, for other uses) are passed over,
// as the RFC says; a set without any that can is an error.
func ParseJWKS(doc []byte) (*PublicKeys, error) {
	var set struct {
		Keys []struct {
			Type      string `json:"kty"`
			Curve     string `json:"crv"`
			X         string `json:"x"`
			ID        string `json:"kid"`
			Use       string `json:"use"`
			Algorithm string `json:"alg"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(doc, &set); err != nil {
		return nil, fmt.Errorf("not a key set: %w", err)
	}
	if len(set.Keys) > mostPublicKeys {
		return nil, fmt.Errorf("a key set of more than %d keys", mostPublicKeys)
	}
	p := &PublicKeys{}
	for _, j := range set.Keys {
		if j.Type != "OKP" || j.Curve != "Ed25519" || j.ID == "" || j.Use != "" && j.Use != "sig" || j.Algorithm != "" && j.Algorithm != "EdDSA" {
			continue
		}
		x, err := base64.RawURLEncoding.Strict().DecodeString(j.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("key %q is not an Ed25519 public key", j.ID)
		}
		if p.Has(j.ID) {
			return nil, fmt.Errorf("two keys are called %q", j.ID)
		}
		p.set.keys = append(p.set.keys, withoutPrivate(j.ID, x))
	}
	if len(p.set.keys) == 0 {
		return nil, errors.New("no Ed25519 key for signatures in the set")
	}
	return p, nil
}

func withoutPrivate(id string, public ed25519.PublicKey) key {
	return key{id: id, public: public}
}

// Pass checks a pass for event, as KeySet.Pass does.
func (p *PublicKeys) Pass(token, event string, now time.Time) (Pass, error) {
	return p.set.Pass(token, event, now)
}

// Has reports whether a key of that id is in the set.
func (p *PublicKeys) Has(id string) bool {
	_, err := p.set.public(id)
	return err == nil
}

// KeyID is the id of the key that a token says it was signed with, "" if it
// says none. It proves nothing: it is for deciding whether to fetch new keys.
func KeyID(token string) string {
	if len(token) > MaxLength || !compact(token) {
		return ""
	}
	for i := range len(token) {
		if token[i] != '.' {
			continue
		}
		text, err := base64.RawURLEncoding.DecodeString(token[:i])
		var header struct {
			ID   string `json:"kid"`
			Type string `json:"typ"`
		}
		if err != nil || json.Unmarshal(text, &header) != nil || header.Type != string(passKind) {
			return ""
		}
		return header.ID
	}
	return ""
}
