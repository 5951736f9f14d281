package payment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The sandbox's payment methods, each a way that a payment can go.
const (
	MethodOK               = "tok_ok"
	MethodDeclined         = "tok_declined"
	MethodTimeout          = "tok_timeout" // authorises, but the answer is lost
	MethodSlow             = "tok_slow"
	MethodError            = "tok_error"              // fails before it has any effect
	MethodCaptureFailsOnce = "tok_capture_fails_once" // the first capture fails
	MethodRequiresAction   = "tok_requires_action"
)

// Methods lists the sandbox's payment methods.
var Methods = []string{
	MethodOK, MethodDeclined, MethodTimeout, MethodSlow, MethodError, MethodCaptureFailsOnce, MethodRequiresAction,
}

var errSandbox = errors.New("sandbox: simulated gateway failure")

// Sandbox is a stateful gateway that moves no money. Its books stand in tables
// of their own, so that they survive a crash of the shop like a real
// provider's would.
type Sandbox struct {
	db   *pgxpool.Pool
	slow time.Duration
}

var _ Gateway = (*Sandbox)(nil)

// NewSandbox returns a sandbox whose tok_slow takes the given time.
func NewSandbox(db *pgxpool.Pool, slow time.Duration) *Sandbox { return &Sandbox{db: db, slow: slow} }

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

// Authorise implements Gateway.
func (g *Sandbox) Authorise(ctx context.Context, c Charge) (Result, error) {
	if err := g.CheckMethod(c.Method); err != nil {
		return Result{}, err
	}
	switch c.Method {
	case MethodError:
		return Result{}, errSandbox
	case MethodSlow:
		timer := time.NewTimer(g.slow)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return Result{}, ctx.Err()
		}
	}
	state, failures := Authorised, 0
	switch c.Method {
	case MethodDeclined:
		state = Declined
	case MethodRequiresAction:
		state = RequiresAction
	case MethodCaptureFailsOnce:
		failures = 1
	}
	_, err := g.db.Exec(ctx, `
		insert into sandbox_payments (id, method, status, amount, currency, failures_left)
		values (@id, @method, @status, @amount, @currency, @failures)
		on conflict (id) do nothing`, pgx.NamedArgs{
		"id": c.Key, "method": c.Method, "status": state, "amount": c.Amount, "currency": c.Currency, "failures": failures,
	})
	if err != nil {
		return Result{}, fmt.Errorf("sandbox: authorise: %w", err)
	}
	if c.Method == MethodTimeout {
		return Result{}, context.DeadlineExceeded
	}
	return g.Lookup(ctx, c.Key)
}

// Lookup implements Gateway.
func (g *Sandbox) Lookup(ctx context.Context, key string) (Result, error) {
	var state State
	err := g.db.QueryRow(ctx, `select status from sandbox_payments where id = $1`, key).Scan(&state)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Result{}, ErrNotFound
	case err != nil:
		return Result{}, fmt.Errorf("sandbox: lookup: %w", err)
	}
	r := Result{State: state}
	switch state {
	case Declined:
		r.Reason = "the card was declined"
	case RequiresAction:
		r.ActionURL = ActionPath(key)
	}
	return r, nil
}

// Capture implements Gateway.
func (g *Sandbox) Capture(ctx context.Context, key string) error {
	return g.change(ctx, key, func(state State, failures int) (State, int, error) {
		switch {
		case state == Captured:
			return state, failures, nil
		case state != Authorised:
			return state, failures, ErrGone
		case failures > 0:
			return state, failures - 1, errSandbox
		}
		return Captured, failures, nil
	})
}

// Void implements Gateway.
func (g *Sandbox) Void(ctx context.Context, key string) error {
	// A key that never arrived is taken, so that a late request finds it voided.
	_, err := g.db.Exec(ctx, `
		insert into sandbox_payments (id, method, status, amount, currency) values ($1, '', 'voided', 0, '')
		on conflict (id) do nothing`, key)
	if err != nil {
		return fmt.Errorf("sandbox: void: %w", err)
	}
	return g.change(ctx, key, func(state State, failures int) (State, int, error) {
		if state == Captured {
			return state, failures, ErrCaptured
		}
		if state == Declined {
			return state, failures, nil
		}
		return Voided, failures, nil
	})
}

// Refund implements Gateway.
func (g *Sandbox) Refund(ctx context.Context, refund, key string, amount int64) error {
	return pgx.BeginFunc(ctx, g.db, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			insert into sandbox_refunds (id, payment_id, amount)
			select $1, id, $3 from sandbox_payments where id = $2 and status = 'captured'
			on conflict (id) do nothing`, refund, key, amount)
		if err != nil {
			return fmt.Errorf("sandbox: refund: %w", err)
		}
		if tag.RowsAffected() == 0 {
			var known bool
			err := tx.QueryRow(ctx, `select exists (select from sandbox_refunds where id = $1)`, refund).Scan(&known)
			if err != nil || known {
				return err
			}
			return ErrNotFound
		}
		_, err = tx.Exec(ctx, `update sandbox_payments set refunded = refunded + $2, updated_at = now() where id = $1`, key, amount)
		return err
	})
}

// Act is what the buyer answers at the action page: approve or refuse.
// ErrNotFound if the charge does not wait for an answer.
func (g *Sandbox) Act(ctx context.Context, key string, approve bool) error {
	state := Declined
	if approve {
		state = Authorised
	}
	tag, err := g.db.Exec(ctx, `
		update sandbox_payments set status = $2, updated_at = now() where id = $1 and status = 'requires_action'`, key, state)
	if err == nil && tag.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

// change locks a charge and moves it on. An error of decide is returned after
// its change was stored: a simulated failure uses itself up.
func (g *Sandbox) change(ctx context.Context, key string, decide func(State, int) (State, int, error)) error {
	var outcome error
	err := pgx.BeginFunc(ctx, g.db, func(tx pgx.Tx) error {
		var state State
		var failures int
		err := tx.QueryRow(ctx, `select status, failures_left from sandbox_payments where id = $1 for update`, key).
			Scan(&state, &failures)
		if errors.Is(err, pgx.ErrNoRows) {
			outcome = ErrNotFound
			return nil
		}
		if err != nil {
			return err
		}
		var next State
		var left int
		next, left, outcome = decide(state, failures)
		_, err = tx.Exec(ctx, `update sandbox_payments set status = $2, failures_left = $3, updated_at = now() where id = $1`,
			key, next, left)
		return err
	})
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	return outcome
}
