package identity

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"onsale/internal/fault"
	"onsale/waitroom"
)

const (
	exchangeTimeout = 5 * time.Second
	mostAnswer      = 1 << 20 // bytes of any answer of the issuer
)

// Browser signs people in by sending their browser to the issuer: the authorization
// code flow of OpenID Connect, with PKCE (RFC 7636, S256).
type Browser struct {
	issuer           *Issuer
	secret, redirect string
	client           *http.Client
}

// Browser returns how browsers sign in at the issuer and come back to the address
// redirect. The client id is the issuer's audience; without a secret it is a public
// client. It does no I/O.
func (i *Issuer) Browser(secret, redirect string) *Browser {
	return &Browser{
		issuer: i, secret: secret, redirect: redirect,
		client: &http.Client{
			Timeout: exchangeTimeout, Transport: i.client.Transport,
			// The code and the secret are for the address that the issuer published.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Issuer is whom browsers are sent to.
func (b *Browser) Issuer() string { return b.issuer.issuer }

var errEndpoint = errors.New("the issuer's discovery document names no usable endpoint")

// config is the client as the issuer knows it.
func (b *Browser) config(ctx context.Context) (*oauth2.Config, error) {
	provider, err := b.issuer.discover(ctx)
	if err != nil {
		return nil, fault.Down(err, "the identity issuer")
	}
	endpoint := provider.Endpoint()
	for _, address := range []string{endpoint.AuthURL, endpoint.TokenURL} {
		if u, err := url.Parse(address); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return nil, fault.Down(errEndpoint, "the identity issuer")
		}
	}
	var says struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := provider.Claims(&says); err != nil {
		return nil, fault.Down(err, "the identity issuer")
	}
	// Not tried out: a code that comes twice is refused.
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if b.secret == "" || len(says.Methods) > 0 && !slices.Contains(says.Methods, "client_secret_basic") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: b.issuer.audience, ClientSecret: b.secret, Endpoint: endpoint, RedirectURL: b.redirect,
		Scopes: []string{oidc.ScopeOpenID, "email"},
	}, nil
}

// Address is where a browser signs in. It returns fault.Unavailable while the issuer
// cannot be reached.
func (b *Browser) Address(ctx context.Context, state, nonce, verifier string) (string, error) {
	c, err := b.config(ctx)
	if err != nil {
		return "", err
	}
	return c.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), nil
}

// Redeem exchanges the code that a browser came back with. It returns
// fault.Unauthorized for a code or an ID token that does not hold, and
// fault.Unavailable while the issuer does not answer.
func (b *Browser) Redeem(ctx context.Context, code, nonce, verifier string) (waitroom.Person, error) {
	c, err := b.config(ctx)
	if err != nil {
		return waitroom.Person{}, err
	}
	exchange, cancel := context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, b.client), exchangeTimeout)
	defer cancel()
	token, err := c.Exchange(exchange, code, oauth2.VerifierOption(verifier))
	if err != nil {
		// Of what the issuer says, its code alone: the rest may hold anything.
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response != nil && refused.Response.StatusCode < http.StatusInternalServerError && refused.Response.StatusCode != http.StatusTooManyRequests {
			return waitroom.Person{}, fault.New(fault.Unauthorized, "the issuer refused the code (%d %.40q)", refused.Response.StatusCode, refused.ErrorCode)
		} else if ok {
			err = errors.New("the issuer's token endpoint failed") //nolint:err113 // for the log
		}
		return waitroom.Person{}, fault.Down(err, "the identity issuer")
	}
	text, _ := token.Extra("id_token").(string)
	if text == "" {
		return waitroom.Person{}, fault.New(fault.Unauthorized, "the issuer sent no ID token")
	}
	t, person, err := b.issuer.verify(ctx, text)
	if err != nil {
		return waitroom.Person{}, err
	}
	var party struct {
		Azp string `json:"azp"`
	}
	switch err := t.Claims(&party); {
	case err != nil:
		return waitroom.Person{}, fault.Wrap(err, fault.Unauthorized, "the ID token cannot be read")
	case party.Azp != "" && party.Azp != b.issuer.audience, party.Azp == "" && len(t.Audience) > 1:
		return waitroom.Person{}, fault.New(fault.Unauthorized, "the ID token was made for another client")
	case subtle.ConstantTimeCompare([]byte(t.Nonce), []byte(nonce)) != 1:
		return waitroom.Person{}, fault.New(fault.Unauthorized, "the ID token belongs to another sign-in")
	}
	return person, nil
}

// bounded cuts off answers that are too long: documents of the issuer are read as a
// whole.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, mostAnswer)
	}
	return answer, err
}
