package checkout

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"onsale/checkout/payment"
	"onsale/internal/fault"
)

// The work of the durable jobs. Each method may be run any number of times, by
// any number of nodes, at any point after the step that asked for it; an error
// asks for a further try, a positive duration for a look later.

// SettleAfter is how long a request has for its own attempt to pay before a job
// asks the gateway about it. Options.GatewayTimeout has to be shorter.
const SettleAfter = 15 * time.Second

// SettlePayment finds out what became of an attempt to pay whose request did
// not finish, and finishes it.
func (s *Service) SettlePayment(ctx context.Context, id string) (later time.Duration, err error) {
	p, err := s.orders.Payment(ctx, id)
	if err != nil {
		return 0, err
	}
	if p.Status != PaymentPending && p.Status != PaymentRequiresAction {
		return 0, nil
	}
	o, err := s.orders.Order(ctx, p.Order)
	if err != nil {
		return 0, err
	}
	r, err := s.lookup(ctx, p.ID)
	switch {
	case errors.Is(err, payment.ErrNotFound):
		if err := s.neverArrived(ctx, p); err != nil {
			return 0, err
		}
		_, err = s.orders.FailPayment(ctx, nil, p.ID, "the gateway never got the payment")
		return 0, err
	case err != nil:
		return 0, err
	case r.State == payment.RequiresAction:
		if p.Status == PaymentPending {
			if _, err := s.orders.RequireAction(ctx, nil, p.ID, r.ActionURL); err != nil {
				return 0, err
			}
		}
		return SettleAfter, nil // until the buyer acts or the order's time is up
	}
	_, err = s.conclude(ctx, nil, o, p, r)
	if fault.Is(err, fault.TicketsTaken) {
		return 0, nil // the order is cancelled, the void is on its way
	}
	return 0, err
}

// Capture takes the money of a committed sale and fulfils the order.
func (s *Service) Capture(ctx context.Context, id string) error {
	p, err := s.orders.Payment(ctx, id)
	if err != nil || p.Status != PaymentAuthorised {
		return err
	}
	gctx, cancel := context.WithTimeout(ctx, s.opts.GatewayTimeout)
	defer cancel()
	err = s.gateway.Capture(gctx, p.ID)
	if errors.Is(err, payment.ErrGone) || errors.Is(err, payment.ErrNotFound) {
		// No money can be had for this sale any more: the tickets go back.
		o, err := s.orders.CaptureLost(ctx, p.ID, "the authorisation was gone at capture")
		if err == nil {
			s.freed(ctx, o, -len(o.Freed))
		}
		return err
	}
	if err != nil {
		return err
	}
	s.step(StepCaptured)
	if _, err := s.orders.Captured(ctx, p.ID); err != nil {
		return err
	}
	s.step(StepFulfilled)
	return nil
}

// Void gives back whatever the gateway holds or took for a payment that has no
// sale.
func (s *Service) Void(ctx context.Context, id string) error {
	p, err := s.orders.Payment(ctx, id)
	if err != nil || p.Status != PaymentVoiding {
		return err
	}
	gctx, cancel := context.WithTimeout(ctx, s.opts.GatewayTimeout)
	defer cancel()
	err = s.gateway.Void(gctx, p.ID)
	switch {
	case errors.Is(err, payment.ErrCaptured) && p.Amount.Amount == 0:
		err = nil // tickets that cost nothing: nothing to give back
	case errors.Is(err, payment.ErrCaptured):
		err = s.gateway.Refund(gctx, p.ID, p.ID, p.Amount.Amount)
	}
	if err != nil {
		return err
	}
	return s.orders.Voided(ctx, p.ID)
}

// Refund gives money back.
func (s *Service) Refund(ctx context.Context, id string) error {
	r, err := s.orders.Refund(ctx, id)
	if err != nil || r.Done {
		return err
	}
	gctx, cancel := context.WithTimeout(ctx, s.opts.GatewayTimeout)
	defer cancel()
	if err := s.gateway.Refund(gctx, r.ID, r.Payment, r.Amount.Amount); err != nil {
		return err
	}
	return s.orders.RefundDone(ctx, r.ID)
}

// Expire ends an order whose time to pay is over.
func (s *Service) Expire(ctx context.Context, id string) (later time.Duration, err error) {
	o, ended, later, err := s.orders.ExpireOrder(ctx, id)
	if err != nil || !ended {
		return later, err
	}
	s.freed(ctx, o, 0)
	return 0, nil
}

// Reconcile finishes what a job should have finished by now: a job that was
// given up, or lost with its queue. It reports how much it found.
func (s *Service) Reconcile(ctx context.Context, age time.Duration) (found int, err error) {
	due, err := s.orders.Overdue(ctx, age, 500)
	if err != nil {
		return 0, err
	}
	var errs []error
	try := func(what, id string, err error) {
		found++
		if err != nil {
			errs = append(errs, err)
			s.log.ErrorContext(ctx, "reconciliation failed; it will be tried again",
				slog.String("what", what), slog.String("id", id), slog.Any("error", err))
		}
	}
	// What needs no gateway comes first: one that hangs takes all the time of
	// the rest.
	for _, id := range due.Expire {
		_, err := s.Expire(ctx, id)
		try("expire", id, err)
	}
	for _, id := range due.Settle {
		_, err := s.SettlePayment(ctx, id)
		try("settle", id, err)
	}
	for _, id := range due.Capture {
		try("capture", id, s.Capture(ctx, id))
	}
	for _, id := range due.Void {
		try("void", id, s.Void(ctx, id))
	}
	for _, id := range due.Refund {
		try("refund", id, s.Refund(ctx, id))
	}
	return found, errors.Join(errs...)
}
