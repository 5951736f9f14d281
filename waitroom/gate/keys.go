package gate

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"onsale/waitroom/pass"
)

const (
	// betweenFetches is the least time between two fetches of keys: what an
	// attacker with made-up key ids can cause, and how long a gate may lag behind
	// a change of keys that was not announced by publishing the new one first.
	betweenFetches = 5 * time.Second
	mostKeyBytes   = 64 << 10
)

// keyring keeps the keys of onsale.
type keyring struct {
	url     string
	every   time.Duration
	timeout time.Duration
	client  *http.Client
	now     func() time.Time
	log     *slog.Logger
	fixed   bool // never fetched

	life    context.Context //nolint:containedctx // bounds the fetches, which outlive the request that asks for one
	end     context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	keys  *pass.PublicKeys // the last good ones; nil: none yet
	got   time.Time        // when they were fetched
	tried time.Time        // when the last fetch began
	fetch chan struct{}    // closed when the running fetch ends; nil: none runs
}

// forKey returns the keys to verify a pass with, which says it was signed with
// kid; nil if there are none. It waits for a fetch only if it has no key of that
// id.
func (k *keyring) forKey(ctx context.Context, kid string) *pass.PublicKeys {
	k.mu.Lock()
	keys := k.keys
	missing := keys == nil || !keys.Has(kid)
	if k.fixed || !missing && k.now().Sub(k.got) < k.every {
		k.mu.Unlock()
		return keys
	}
	if k.fetch == nil && k.life.Err() == nil && (k.tried.IsZero() || k.now().Sub(k.tried) >= betweenFetches) {
		k.tried = k.now()
		k.fetch = make(chan struct{})
		k.running.Go(k.refresh)
	}
	fetched := k.fetch
	k.mu.Unlock()
	if !missing || fetched == nil {
		return keys
	}
	select {
	case <-fetched:
	case <-ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys
}

// close ends the running fetch, waits for it and lets none begin.
func (k *keyring) close() {
	k.mu.Lock()
	k.end()
	k.mu.Unlock()
	k.running.Wait()
}

// refresh fetches the keys once; the last good ones stay if that fails.
func (k *keyring) refresh() {
	ctx, cancel := context.WithTimeout(k.life, k.timeout)
	defer cancel()
	keys, err := k.download(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.fetch)
	k.fetch = nil
	if err != nil {
		k.log.LogAttrs(ctx, slog.LevelWarn, "the keys of the waiting room cannot be fetched",
			slog.String("url", k.url), slog.Any("error", err), slog.Bool("have_keys", k.keys != nil))
		return
	}
	k.keys, k.got = keys, k.now()
}

func (k *keyring) download(ctx context.Context) (*pass.PublicKeys, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := k.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", response.StatusCode)
	}
	doc, err := io.ReadAll(io.LimitReader(response.Body, mostKeyBytes))
	if err != nil {
		return nil, err
	}
	return pass.ParseJWKS(doc)
}
