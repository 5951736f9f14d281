// Package identity verifies the user tokens of an external issuer (OpenID
// Connect), for waiting rooms in which one account has one place, and sends browsers
// there to sign in.
//
// It guarantees that a token was signed by a key of the issuer with one of
// [Algorithms], for the configured audience, and is in time. It keeps the
// issuer's keys and fetches them anew when a token names one it does not know.
package identity

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"onsale/internal/fault"
	"onsale/waitroom"
)

// Algorithms are the ones a token may be signed with: asymmetric ones only.
var Algorithms = []string{oidc.RS256, oidc.ES256, oidc.EdDSA}

const (
	fetchTimeout = 3 * time.Second
	retryAfter   = 5 * time.Second // between two tries to find the issuer
	mostToken    = 8 << 10         // bytes
)

// Issuer is a waitroom.Identity.
type Issuer struct {
	issuer, audience, jwks string
	client                 *http.Client

	mu       sync.Mutex
	provider *oidc.Provider        // nil until the issuer's discovery document was read
	verifier *oidc.IDTokenVerifier // with an address of the keys: nil before the first token
	tried    time.Time
}

var _ waitroom.Identity = (*Issuer)(nil)

// New returns an Issuer. It does no I/O; with an empty jwksURL, the issuer's
// discovery document is read when the first token comes.
func New(issuer, audience, jwksURL string) *Issuer {
	return &Issuer{issuer: issuer, audience: audience, jwks: jwksURL, client: &http.Client{
		Timeout: fetchTimeout, Transport: bounded{http.DefaultTransport},
	}}
}

// Person implements waitroom.Identity. The claim email counts only with
// email_verified.
func (i *Issuer) Person(ctx context.Context, token string) (waitroom.Person, error) {
	_, p, err := i.verify(ctx, token)
	return p, err
}

// verify checks a token, and says whose it is.
func (i *Issuer) verify(ctx context.Context, token string) (*oidc.IDToken, waitroom.Person, error) {
	if len(token) > mostToken || strings.Count(token, ".") != 2 {
		return nil, waitroom.Person{}, fault.New(fault.Unauthorized, "the user token is not a signed token")
	}
	v, err := i.find(ctx)
	if err != nil {
		return nil, waitroom.Person{}, fault.Down(err, "the identity issuer")
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	t, err := v.Verify(ctx, token)
	if err != nil {
		if strings.Contains(err.Error(), "fetching keys") { // go-oidc has no type for it
			return nil, waitroom.Person{}, fault.Down(err, "the identity issuer")
		}
		return nil, waitroom.Person{}, fault.Wrap(err, fault.Unauthorized, "the user token is not valid here, or not any more; sign in again")
	}
	var more struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
	if err := t.Claims(&more); err != nil || t.Subject == "" {
		return nil, waitroom.Person{}, fault.Wrap(err, fault.Unauthorized, "the user token says not whose it is")
	}
	p := waitroom.Person{Issuer: t.Issuer, Subject: t.Subject}
	if more.Verified {
		p.Email = more.Email
	}
	return t, p, nil
}

var errUnknown = errors.New("the issuer could not be reached a moment ago")

// find returns what verifies tokens, made at the first call.
func (i *Issuer) find(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	config := &oidc.Config{ClientID: i.audience, SupportedSigningAlgs: Algorithms}
	if i.jwks == "" {
		provider, err := i.discover(ctx)
		if err != nil {
			return nil, err
		}
		return provider.Verifier(config), nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.verifier == nil {
		i.verifier = oidc.NewVerifier(i.issuer, oidc.NewRemoteKeySet(i.own(ctx), i.jwks), config)
	}
	return i.verifier, nil
}

// own is a context for what outlives the request that makes it.
func (i *Issuer) own(ctx context.Context) context.Context {
	return oidc.ClientContext(context.WithoutCancel(ctx), i.client)
}

// discover returns what the issuer's discovery document says, read at the first call.
func (i *Issuer) discover(ctx context.Context) (*oidc.Provider, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.provider != nil {
		return i.provider, nil
	}
	if time.Since(i.tried) < retryAfter {
		return nil, errUnknown
	}
	provider, err := oidc.NewProvider(i.own(ctx), i.issuer)
	if err != nil {
		i.tried = time.Now()
		return nil, err
	}
	i.provider = provider
	return provider, nil
}
