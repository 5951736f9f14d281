package gate

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// mostTurns bounds what is remembered; beyond it the answers start anew.
const mostTurns = 20_000

// turns asks onsale whether turns still run, and remembers the answers for a
// moment.
type turns struct {
	url     string
	every   time.Duration // 0: nothing is asked
	timeout time.Duration
	client  *http.Client
	now     func() time.Time
	log     *slog.Logger

	mu    sync.Mutex
	known map[turnKey]*turn
	down  time.Time // when asking failed last; not asked again for a while
}

// turnKey stands for a pass without keeping it.
type turnKey [sha256.Size]byte

type turn struct {
	done  chan struct{} // closed when the answer is there
	said  verdict
	until time.Time // how long it is believed
}

type verdict int

const (
	unknown verdict = iota // onsale did not say
	runs                   // 204
	ended                  // 401 or 403
)

// over reports whether onsale says that the turn of a pass, which has been
// verified, is over. While it does not answer, none is.
func (t *turns) over(ctx context.Context, token string) bool {
	return t.every > 0 && t.ask(ctx, token) == ended
}

// everybody reports whether onsale lets through who has no pass at all. While it
// does not answer, it does not.
func (t *turns) everybody(ctx context.Context) bool {
	return t.every > 0 && t.ask(ctx, "") == runs
}

func (t *turns) ask(ctx context.Context, token string) verdict {
	key := turnKey(sha256.Sum256([]byte(token)))
	now := t.now()
	t.mu.Lock()
	if k, ok := t.known[key]; ok {
		select {
		case <-k.done:
			if now.Before(k.until) {
				t.mu.Unlock()
				return k.said
			}
		default: // being asked by somebody else
			t.mu.Unlock()
			select {
			case <-k.done:
				return k.said
			case <-ctx.Done():
				return unknown
			}
		}
	}
	// While onsale is down one request every so often finds out, and the others
	// do not wait for it.
	if !t.down.IsZero() && now.Sub(t.down) < betweenFetches {
		t.mu.Unlock()
		return unknown
	}
	if len(t.known) >= mostTurns {
		t.forget(now)
	}
	k := &turn{done: make(chan struct{})}
	t.known[key] = k
	t.mu.Unlock()

	said := t.call(ctx, token)

	t.mu.Lock()
	defer t.mu.Unlock()
	k.said, k.until = said, t.now().Add(t.every)
	close(k.done)
	switch {
	case said != unknown:
		t.down = time.Time{}
	case ctx.Err() == nil: // not merely an impatient client
		t.down = t.now()
		delete(t.known, key)
	default:
		delete(t.known, key)
	}
	return said
}

// forget drops answers that are too old, and all that are there if none is.
func (t *turns) forget(now time.Time) {
	before := len(t.known)
	for key, k := range t.known {
		select {
		case <-k.done:
			if !now.Before(k.until) {
				delete(t.known, key)
			}
		default:
		}
	}
	if len(t.known) == before {
		clear(t.known)
	}
}

func (t *turns) call(ctx context.Context, token string) verdict {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, http.NoBody)
	if err != nil {
		return unknown
	}
	r.Header.Set("Accept", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := t.client.Do(r)
	if err != nil {
		t.log.LogAttrs(ctx, slog.LevelWarn, "the waiting room does not say whether a turn runs", slog.Any("error", err))
		return unknown
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection is used again
	switch response.StatusCode {
	case http.StatusNoContent:
		return runs
	case http.StatusUnauthorized, http.StatusForbidden:
		return ended
	}
	t.log.LogAttrs(ctx, slog.LevelWarn, "the waiting room does not say whether a turn runs", slog.Int("status", response.StatusCode))
	return unknown
}
