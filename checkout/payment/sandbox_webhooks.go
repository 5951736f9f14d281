package payment

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// SandboxSignature is the header that signs the sandbox's webhooks: t=TIME,v1=MAC,
// with the time in seconds and the hexadecimal HMAC-SHA256 of time, "." and body.
const SandboxSignature = "Onsale-Sandbox-Signature"

const (
	webhookTries = 10 // over some ten minutes, then it is lost
	webhookWait  = 10 * time.Second
	webhooksOnce = 20              // taken at a time
	webhooksPoll = 2 * time.Second // for those of other nodes, and late ones
)

// sandboxEvent is the body of a webhook. Nothing that could be believed is in it.
type sandboxEvent struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Payment string `json:"payment"`
	Refund  string `json:"refund,omitempty"`
	Created int64  `json:"created"`
}

// tell writes down what webhooks are to be sent about news of a charge.
func (g *Sandbox) tell(ctx context.Context, tx pgx.Tx, key, news string) error {
	a := g.announce(key, news)
	if len(a.events) == 0 {
		return nil
	}
	kind, refund, _ := strings.Cut(news, " ")
	_, err := tx.Exec(ctx, `
		insert into sandbox_webhooks (event, payment_id, refund_id, type, due)
		select event, @key, @refund, @type, now() + make_interval(secs => late)
		from unnest(@events::uuid[], @late::float8[]) as hook (event, late)`,
		pgx.NamedArgs{"key": key, "refund": refund, "type": kind, "events": a.events, "late": a.late})
	return err
}

func (g *Sandbox) nudge() {
	select {
	case g.wake <- struct{}{}:
	default: // it is awake
	}
}

// Run sends webhooks to address until ctx ends. Any number of nodes may; each
// webhook is sent by one of them at a time, and again if it is not answered with
// a status of success.
func (g *Sandbox) Run(ctx context.Context, address string) error {
	if g.opts.WebhookSecret == "" {
		<-ctx.Done()
		return nil
	}
	poll := time.NewTicker(webhooksPoll)
	defer poll.Stop()
	for {
		sent, err := g.sendDue(ctx, address)
		if err != nil && ctx.Err() == nil {
			g.opts.Logger.WarnContext(ctx, "the sandbox cannot send its webhooks now", slog.Any("error", err))
		}
		if sent == webhooksOnce && err == nil {
			continue // there may be more
		}
		select {
		case <-ctx.Done():
			return nil
		case <-g.wake:
		case <-poll.C:
		}
	}
}

// sendDue sends the webhooks whose time has come, a few at once.
func (g *Sandbox) sendDue(ctx context.Context, address string) (int, error) {
	// Taking one puts it off: what is not sent, by a crash too, is due again then.
	rows, err := g.db.Query(ctx, `
		with due as (select id from sandbox_webhooks where due <= now() order by due, id limit $1 for update skip locked)
		update sandbox_webhooks w set tries = tries + 1, due = now() + make_interval(secs => 10 + least(2 ^ tries, 120))
		from due where w.id = due.id
		returning w.id, w.event, w.type, w.payment_id, w.refund_id, w.created_at, w.tries`, webhooksOnce)
	if err != nil {
		return 0, err
	}
	type hook struct {
		sandboxEvent

		id    int64
		tries int
	}
	hooks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h hook, err error) {
		var created time.Time
		err = row.Scan(&h.id, &h.ID, &h.Type, &h.Payment, &h.Refund, &created, &h.tries)
		h.Created = created.Unix()
		return h, err
	})
	if err != nil {
		return 0, err
	}
	var sending errgroup.Group
	sending.SetLimit(4)
	for _, h := range hooks {
		sending.Go(func() error {
			if err := g.send(ctx, address, h.sandboxEvent); err != nil && h.tries < webhookTries {
				g.opts.Logger.DebugContext(ctx, "a webhook of the sandbox will be sent again", slog.String("event", h.ID), slog.Any("error", err))
				return nil
			}
			_, err := g.db.Exec(ctx, `delete from sandbox_webhooks where id = $1`, h.id)
			return err
		})
	}
	return len(hooks), sending.Wait()
}

func (g *Sandbox) send(ctx context.Context, address string, e sandboxEvent) error {
	ctx, cancel := context.WithTimeout(ctx, webhookWait)
	defer cancel()
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(SandboxSignature, SignSandbox(g.opts.WebhookSecret, g.opts.Now(), body))
	answer, err := g.opts.HTTP.Do(r)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("sandbox: a webhook was answered with %s", answer.Status)
	}
	return nil
}

// SignSandbox makes the SandboxSignature of a body.
func SignSandbox(secret string, at time.Time, body []byte) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(sandboxMAC(secret, seconds, body))
}

func sandboxMAC(secret, seconds string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(seconds + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// ParseWebhook implements Gateway.
func (g *Sandbox) ParseWebhook(h http.Header, body []byte) (Notice, error) {
	seconds, given, ok := strings.Cut(h.Get(SandboxSignature), ",")
	seconds, isTime := strings.CutPrefix(seconds, "t=")
	given, isMAC := strings.CutPrefix(given, "v1=")
	sum, err := hex.DecodeString(given)
	if !ok || !isTime || !isMAC || err != nil || g.opts.WebhookSecret == "" ||
		!hmac.Equal(sum, sandboxMAC(g.opts.WebhookSecret, seconds, body)) {
		return Notice{}, ErrSignature
	}
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return Notice{}, ErrSignature
	}
	if age := g.opts.Now().Sub(time.Unix(at, 0)); age.Abs() > Tolerance {
		return Notice{}, ErrStale
	}
	var e sandboxEvent
	if err := json.Unmarshal(body, &e); err != nil || e.ID == "" || e.Payment == "" {
		return Notice{}, ErrIgnored
	}
	return Notice{ID: e.ID, Key: e.Payment, Refund: e.Refund}, nil
}
