package payment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The sandbox's payment methods, each a way that a payment can go.
const (
	MethodOK               = "tok_ok"
	MethodDeclined         = "tok_declined"
	MethodTimeout          = "tok_timeout"        // authorises, but the answer is lost
	MethodTimeoutBefore    = "tok_timeout_before" // the request is lost: no effect and no answer
	MethodSlow             = "tok_slow"
	MethodError            = "tok_error"              // fails before it has any effect
	MethodServerError      = "tok_server_error"       // authorises, and answers that it has failed
	MethodCaptureFailsOnce = "tok_capture_fails_once" // the first capture fails
	MethodCaptureFails     = "tok_capture_fails"      // captures fail for a while
	MethodVoidFailsOnce    = "tok_void_fails_once"
	MethodRefundFailsOnce  = "tok_refund_fails_once"
	MethodRequiresAction   = "tok_requires_action"
)

// Methods lists the sandbox's payment methods.
var Methods = []string{
	MethodOK, MethodDeclined, MethodTimeout, MethodTimeoutBefore, MethodSlow, MethodError, MethodServerError,
	MethodCaptureFailsOnce, MethodCaptureFails, MethodVoidFailsOnce, MethodRefundFailsOnce, MethodRequiresAction,
}

// captureFailures is how many captures fail after tok_capture_fails.
const captureFailures = 5

var (
	errSandbox = errors.New("sandbox: simulated failure of the gateway")
	errLost    = fmt.Errorf("sandbox: simulated loss: %w", context.DeadlineExceeded)
)

// Sandbox is a stateful gateway that moves no money. Its books stand in tables
// of their own, so that they survive a crash of the shop like a real
// provider's would.
type Sandbox struct {
	db   *pgxpool.Pool
	slow time.Duration
	opts SandboxOptions
	wake chan struct{} // a webhook is due
}

// SandboxOptions make a sandbox more of a nuisance. The zero value sends no
// webhooks and has no faults but those that are asked for by method.
type SandboxOptions struct {
	Faults Faults
	// WebhookSecret signs webhooks; "" for none. Run sends them.
	WebhookSecret string
	Now           func() time.Time // nil: time.Now
	Logger        *slog.Logger     // nil: none
	HTTP          *http.Client     // for webhooks; nil: http.DefaultClient
}

var _ Gateway = (*Sandbox)(nil)

// NewSandbox returns a sandbox that takes the given time where it is slow.
func NewSandbox(db *pgxpool.Pool, slow time.Duration) *Sandbox {
	return (&Sandbox{db: db, slow: slow, wake: make(chan struct{}, 1)}).WithOptions(SandboxOptions{})
}

// WithOptions sets all options and returns the same sandbox. It is for before its
// first use.
func (g *Sandbox) WithOptions(o SandboxOptions) *Sandbox {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	g.opts = o
	return g
}

// Name implements Gateway.
func (g *Sandbox) Name() string { return "sandbox" }

// CheckMethod implements Gateway.
func (g *Sandbox) CheckMethod(method string) error {
	if !slices.Contains(Methods, method) {
		return ErrUnknownMethod
	}
	return nil
}

// ActionPath is where the buyer's browser goes for tok_requires_action.
func ActionPath(key string) string { return "/sandbox/actions/" + key }

// call makes one call to the gateway, with what happens to it by chance.
func (g *Sandbox) call(ctx context.Context, key, name string, f func(m mishap) error) error {
	if !g.opts.Faults.any() {
		return f(noMishap)
	}
	var try int
	err := g.db.QueryRow(ctx, `
		insert into sandbox_calls as c (key, call) values ($1, $2)
		on conflict (key, call) do update set tries = c.tries + 1 returning tries`, key, name).Scan(&try)
	if err != nil {
		return fmt.Errorf("sandbox: %s: %w", name, err)
	}
	m := g.opts.Faults.of(key, name, try)
	switch m {
	case requestLost:
		return errLost
	case serverError:
		return errSandbox
	case slowed:
		if err := g.wait(ctx); err != nil {
			return err
		}
	}
	err = f(m)
	if m == replyLost {
		return errLost
	}
	return err
}

func (g *Sandbox) wait(ctx context.Context) error {
	timer := time.NewTimer(g.slow)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Authorise implements Gateway.
func (g *Sandbox) Authorise(ctx context.Context, c Charge) (r Result, err error) {
	if err := g.CheckMethod(c.Method); err != nil {
		return Result{}, err
	}
	if why := checkAmount(c.Amount, c.Currency); why != "" {
		return Result{State: Declined, Reason: why}, nil
	}
	err = g.call(ctx, c.Key, "authorise", func(m mishap) error {
		r, err = g.authorise(ctx, c, m)
		return err
	})
	if err != nil {
		return Result{}, err
	}
	return r, nil
}

func (g *Sandbox) authorise(ctx context.Context, c Charge, m mishap) (Result, error) {
	switch c.Method {
	case MethodError:
		return Result{}, errSandbox
	case MethodTimeoutBefore:
		return Result{}, errLost
	case MethodSlow:
		if err := g.wait(ctx); err != nil {
			return Result{}, err
		}
	}
	state, news := Authorised, "payment.authorised"
	var capture, void, refund int // that will still fail
	switch c.Method {
	case MethodDeclined:
		state = Declined
	case MethodRequiresAction:
		state, news = RequiresAction, "payment.requires_action"
	case MethodCaptureFailsOnce:
		capture = 1
	case MethodCaptureFails:
		capture = captureFailures
	case MethodVoidFailsOnce:
		void = 1
	case MethodRefundFailsOnce:
		refund = 1
	}
	if m == declined || state == Declined {
		state, news = Declined, "payment.declined"
	}
	hooks := g.announce(c.Key, news)
	tag, err := g.db.Exec(ctx, `
		with charge as (
			insert into sandbox_payments (id, order_id, method, status, amount, currency, failures_left, void_failures, refund_failures)
			values (@id, @order, @method, @status, @amount, @currency, @capture, @void, @refund)
			on conflict (id) do nothing returning id), hooks as (
			insert into sandbox_webhooks (event, payment_id, type, due)
			select event, charge.id, @type, now() + make_interval(secs => late)
			from charge, unnest(@events::uuid[], @late::float8[]) as hook (event, late))
		select from charge`, pgx.NamedArgs{
		"id": c.Key, "order": c.Order, "method": c.Method, "status": state, "amount": c.Amount, "currency": c.Currency,
		"capture": capture, "void": void, "refund": refund, "type": news, "events": hooks.events, "late": hooks.late,
	})
	if err != nil {
		return Result{}, fmt.Errorf("sandbox: authorise: %w", err)
	}
	if tag.RowsAffected() > 0 {
		g.nudge()
	}
	kept, r, err := g.read(ctx, c.Key)
	switch {
	case err != nil:
		return Result{}, err
	case kept.Method == "": // voided before it arrived
		return r, nil
	case kept != c:
		return Result{}, ErrKeyReused
	case c.Method == MethodTimeout:
		return Result{}, errLost
	case c.Method == MethodServerError:
		return Result{}, errSandbox
	}
	return r, nil
}

// Lookup implements Gateway.
func (g *Sandbox) Lookup(ctx context.Context, key string) (r Result, err error) {
	err = g.call(ctx, key, "lookup", func(mishap) error {
		_, r, err = g.read(ctx, key)
		return err
	})
	if err != nil {
		return Result{}, err
	}
	return r, nil
}

// read reads a charge, and where it stands.
func (g *Sandbox) read(ctx context.Context, key string) (c Charge, r Result, err error) {
	c.Key = key
	err = g.db.QueryRow(ctx, `
		select order_id, method, amount, currency, status, captured, refunded from sandbox_payments where id = $1`, key).
		Scan(&c.Order, &c.Method, &c.Amount, &c.Currency, &r.State, &r.Captured, &r.Refunded)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return c, r, ErrNotFound
	case err != nil:
		return c, r, fmt.Errorf("sandbox: lookup: %w", err)
	}
	switch r.State {
	case Declined:
		r.Reason = "the card was declined"
	case RequiresAction:
		r.ActionURL = ActionPath(key)
	}
	return c, r, nil
}

// books is the row of a charge, as a call may change it.
type books struct {
	state                                State
	amount, captured, refunded           int64
	captureFails, voidFails, refundFails int
}

// Capture implements Gateway.
func (g *Sandbox) Capture(ctx context.Context, key string) error {
	return g.call(ctx, key, "capture", func(mishap) error {
		return g.change(ctx, key, "payment.captured", func(_ pgx.Tx, b *books) (bool, error) {
			switch {
			case b.state == Captured:
				return false, nil
			case b.state != Authorised:
				return false, ErrGone
			case b.captureFails > 0:
				b.captureFails--
				return false, errSandbox
			}
			b.state, b.captured = Captured, b.amount
			return true, nil
		})
	})
}

// Void implements Gateway.
func (g *Sandbox) Void(ctx context.Context, key string) error {
	return g.call(ctx, key, "void", func(mishap) error {
		// A key that never arrived is taken, so that a late request finds it voided.
		_, err := g.db.Exec(ctx, `
			insert into sandbox_payments (id, method, status, amount, currency) values ($1, '', 'voided', 0, '')
			on conflict (id) do nothing`, key)
		if err != nil {
			return fmt.Errorf("sandbox: void: %w", err)
		}
		return g.change(ctx, key, "payment.voided", func(_ pgx.Tx, b *books) (bool, error) {
			switch {
			case b.state == Captured:
				return false, ErrCaptured
			case b.state == Declined || b.state == Voided:
				return false, nil
			case b.voidFails > 0:
				b.voidFails--
				return false, errSandbox
			}
			b.state = Voided
			return true, nil
		})
	})
}

// Refund implements Gateway.
func (g *Sandbox) Refund(ctx context.Context, refund, key string, amount int64) error {
	if amount <= 0 {
		return fmt.Errorf("sandbox: a refund of %d: %w", amount, ErrTooMuch)
	}
	return g.call(ctx, refund, "refund", func(mishap) error {
		return g.change(ctx, key, "refund.done "+refund, func(tx pgx.Tx, b *books) (bool, error) {
			var same bool
			err := tx.QueryRow(ctx, `select payment_id = $2 and amount = $3 from sandbox_refunds where id = $1`, refund, key, amount).Scan(&same)
			switch {
			case err == nil && same:
				return false, nil
			case err == nil:
				return false, ErrKeyReused
			case !errors.Is(err, pgx.ErrNoRows):
				return false, err
			case b.state != Captured:
				return false, ErrNotFound
			case amount > b.captured-b.refunded:
				return false, ErrTooMuch
			case b.refundFails > 0:
				b.refundFails--
				return false, errSandbox
			}
			b.refunded += amount
			_, err = tx.Exec(ctx, `insert into sandbox_refunds (id, payment_id, amount) values ($1, $2, $3)`, refund, key, amount)
			return true, err
		})
	})
}

// Act is what the buyer answers at the action page: approve or refuse.
// ErrNotFound if the charge does not wait for an answer.
func (g *Sandbox) Act(ctx context.Context, key string, approve bool) error {
	state, news := Declined, "payment.declined"
	if approve {
		state, news = Authorised, "payment.authorised"
	}
	return g.change(ctx, key, news, func(_ pgx.Tx, b *books) (bool, error) {
		if b.state != RequiresAction {
			return false, ErrNotFound
		}
		b.state = state
		return true, nil
	})
}

// change locks a charge and moves it on; decide reports whether there is news of
// it. What decide changed is stored although it fails: a simulated failure uses
// itself up. Errors of the database undo everything.
func (g *Sandbox) change(ctx context.Context, key, news string, decide func(pgx.Tx, *books) (bool, error)) error {
	var outcome error
	var told bool
	err := pgx.BeginFunc(ctx, g.db, func(tx pgx.Tx) error {
		var b books
		err := tx.QueryRow(ctx, `
			select status, amount, captured, refunded, failures_left, void_failures, refund_failures
			from sandbox_payments where id = $1 for update`, key).
			Scan(&b.state, &b.amount, &b.captured, &b.refunded, &b.captureFails, &b.voidFails, &b.refundFails)
		if errors.Is(err, pgx.ErrNoRows) {
			outcome = ErrNotFound
			return nil
		}
		if err != nil {
			return err
		}
		before := b
		told, outcome = decide(tx, &b)
		if outcome != nil && told {
			return outcome
		}
		if b != before {
			_, err = tx.Exec(ctx, `
				update sandbox_payments set status = @status, captured = @captured, refunded = @refunded,
				failures_left = @capture, void_failures = @void, refund_failures = @refund, updated_at = now() where id = @id`,
				pgx.NamedArgs{
					"id": key, "status": b.state, "captured": b.captured, "refunded": b.refunded,
					"capture": b.captureFails, "void": b.voidFails, "refund": b.refundFails,
				})
			if err != nil {
				return err
			}
		}
		if !told {
			return nil
		}
		return g.tell(ctx, tx, key, news)
	})
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	if told {
		g.nudge()
	}
	return outcome
}

// announcement is the webhooks that go out about one piece of news.
type announcement struct {
	events []string
	late   []float64 // seconds
}

func (g *Sandbox) announce(key, news string) (a announcement) {
	if g.opts.WebhookSecret == "" {
		return a
	}
	event := uuid.NewString()
	m, late := g.opts.Faults.webhook(key, news)
	switch m {
	case webhookLost:
		return a
	case webhookTwice:
		a.events, a.late = append(a.events, event), append(a.late, 0)
	}
	a.events, a.late = append(a.events, event), append(a.late, late.Seconds())
	return a
}
