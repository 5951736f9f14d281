package checkout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"onsale/checkout/payment"
	"onsale/internal/fault"
)

// What is done about payments, refunds and orders behind the buyers' backs. Each
// method may be run any number of times, by any number of nodes, at any point after
// the step that asked for it. What fails is noted with the payment or refund, which
// says when it is tried again; so nothing is lost with a job or its worker.

// SettleAfter is how long a request has for its own attempt to pay before somebody
// else asks the gateway about it. Options.GatewayTimeout has to be shorter.
const SettleAfter = 15 * time.Second

// DueAtOnce is how much of each kind one sweep takes.
const (
	DueAtOnce  = 200
	dueWorkers = 8 // calls of the gateway at the same time: one that hangs must not stop the rest
)

// Look does whatever has to be done next about a payment: it asks the gateway about
// an attempt, captures, voids, or compares what is over with the gateway's books.
func (s *Service) Look(ctx context.Context, id string) error {
	p, err := s.orders.Payment(ctx, id)
	if err != nil {
		return err
	}
	return s.look(ctx, p)
}

func (s *Service) look(ctx context.Context, p Payment) error {
	switch p.Status {
	case PaymentPending, PaymentRequiresAction:
		return s.SettlePayment(ctx, p.ID)
	case PaymentAuthorised:
		return s.Capture(ctx, p.ID)
	case PaymentVoiding:
		return s.Void(ctx, p.ID)
	}
	return s.compare(ctx, p, true)
}

// stumble notes why something could not be done about a payment.
func (s *Service) stumble(ctx context.Context, payment string, cause error) error {
	if cause == nil {
		return nil
	}
	return errors.Join(cause, s.orders.PaymentStumbled(context.WithoutCancel(ctx), payment, cause))
}

// SettlePayment finds out what became of an attempt to pay whose request did
// not finish, or whose buyer had to act, and finishes it.
func (s *Service) SettlePayment(ctx context.Context, id string) error {
	p, err := s.orders.Payment(ctx, id)
	if err != nil || p.Status != PaymentPending && p.Status != PaymentRequiresAction {
		return err
	}
	return s.stumble(ctx, id, s.settlePayment(ctx, p))
}

func (s *Service) settlePayment(ctx context.Context, p Payment) error {
	o, err := s.orders.Order(ctx, p.Order)
	if err != nil {
		return err
	}
	r, err := s.lookup(ctx, p.ID)
	switch {
	case errors.Is(err, payment.ErrNotFound):
		_, _, err := s.neverArrived(ctx, nil, p, "the gateway never got the payment")
		return err
	case err != nil:
		return err
	case r.State == payment.RequiresAction && p.Status == PaymentRequiresAction:
		return nil // until the buyer acts or the order's time is up
	}
	_, err = s.conclude(ctx, nil, o, p, r)
	if fault.Is(err, fault.TicketsTaken) {
		return nil // the order is cancelled, the void is on its way
	}
	return err
}

// Capture takes the money of a committed sale and fulfils the order.
func (s *Service) Capture(ctx context.Context, id string) error {
	p, err := s.orders.Payment(ctx, id)
	if err != nil || p.Status != PaymentAuthorised {
		return err
	}
	return s.stumble(ctx, id, s.capture(ctx, p))
}

func (s *Service) capture(ctx context.Context, p Payment) error {
	err := s.atGateway(ctx, func(ctx context.Context) error { return s.gateway.Capture(ctx, p.ID) })
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
	return s.stumble(ctx, id, s.void(ctx, p))
}

func (s *Service) void(ctx context.Context, p Payment) error {
	err := s.atGateway(ctx, func(ctx context.Context) error { return s.gateway.Void(ctx, p.ID) })
	switch {
	case errors.Is(err, payment.ErrCaptured) && p.Amount.Amount == 0:
		err = nil // tickets that cost nothing: nothing to give back
	case errors.Is(err, payment.ErrCaptured):
		err = s.atGateway(ctx, func(ctx context.Context) error { return s.gateway.Refund(ctx, p.ID, p.ID, p.Amount.Amount) })
	}
	if err != nil {
		return err
	}
	s.step(StepVoided)
	return s.orders.Voided(ctx, p.ID)
}

// Refund gives money back.
func (s *Service) Refund(ctx context.Context, id string) error {
	r, err := s.orders.Refund(ctx, id)
	if err != nil || r.Done {
		return err
	}
	err = s.atGateway(ctx, func(ctx context.Context) error { return s.gateway.Refund(ctx, r.ID, r.Payment, r.Amount.Amount) })
	if err == nil {
		s.step(StepRefunded)
		err = s.orders.RefundDone(ctx, r.ID)
	}
	if err != nil {
		return errors.Join(err, s.orders.RefundStumbled(context.WithoutCancel(ctx), r.ID, err))
	}
	s.step(StepRefundEnded)
	return nil
}

// atGateway bounds a call of the gateway.
func (s *Service) atGateway(ctx context.Context, call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.GatewayTimeout)
	defer cancel()
	return call(ctx)
}

// compare holds a payment that is over against the gateway's books, and mends what
// can be mended: money that is reserved or was taken there for a sale that is none
// here is given back, and what was sold here is captured. Whatever else differs is
// for an operator to see. After the last comparison nobody looks again.
func (s *Service) compare(ctx context.Context, p Payment, last bool) error {
	if p.Refunding {
		return nil // the books differ for the moment; there will be another comparison
	}
	r, err := s.lookup(ctx, p.ID)
	theirs := string(r.State)
	switch {
	case errors.Is(err, payment.ErrNotFound):
		theirs = "unknown"
	case err != nil:
		return err
	}
	kept := p.Status == PaymentCaptured || p.Status == PaymentRefunded
	action, amend := "", false
	switch {
	case !kept && (r.State == payment.Authorised || r.State == payment.RequiresAction):
		action, amend = "the authorisation is given back", true
	case !kept && r.State == payment.Captured && r.Captured > r.Refunded:
		action, amend = "the money is given back", true
	case kept && r.State == payment.Authorised:
		action = "captured again"
		if err := s.atGateway(ctx, func(ctx context.Context) error { return s.gateway.Capture(ctx, p.ID) }); err != nil {
			return err
		}
	case !last: // what else differs may not be known there yet
	case kept && r.State != payment.Captured:
		action = "look into it: the money of a sale is not there"
	case kept && r.Refunded != p.Refunded:
		action = fmt.Sprintf("look into it: %d were given back here and %d there", p.Refunded, r.Refunded)
	}
	if action != "" {
		s.metrics.differences.Inc()
		s.log.WarnContext(ctx, "a payment differs from the gateway's books", slog.String("payment", p.ID),
			slog.String("ours", string(p.Status)), slog.String("theirs", theirs), slog.String("action", action))
	}
	return s.orders.Compared(ctx, Comparison{Payment: p.ID, Refunded: p.Refunded, Theirs: theirs, Action: action, Amend: amend, Last: last})
}

// callOff ends an order of a cancelled event. What cannot be ended now, as while it
// is being paid or captured, is due again with the next sweep.
func (s *Service) callOff(ctx context.Context, c CalledOff) error {
	if c.Sold {
		_, err := s.RefundOrder(ctx, nil, RefundRequest{Order: c.Order, KeepFees: c.KeepFees, Reason: c.Reason, Actor: c.Actor})
		return err
	}
	o, err := s.orders.CancelOrder(ctx, nil, c.Order, "the event was cancelled")
	if err == nil {
		s.freed(ctx, o, 0)
	}
	return err
}

// Expire ends an order whose time to pay is over.
func (s *Service) Expire(ctx context.Context, id string) (ended bool, err error) {
	o, ended, err := s.orders.ExpireOrder(ctx, id)
	if err == nil && ended {
		s.freed(ctx, o, 0)
	}
	return ended, err
}

// Sweep does what is due by now, or will be within the given time. It is what brings
// every order to its end (G7): jobs only make it happen sooner. It reports how much
// there was to do.
func (s *Service) Sweep(ctx context.Context, within time.Duration) (found int, err error) {
	due, err := s.orders.Due(ctx, within, DueAtOnce)
	if err != nil {
		return 0, err
	}
	var done atomic.Int64
	g := errgroup.Group{}
	g.SetLimit(dueWorkers)
	try := func(what, id string, do func() error) {
		g.Go(func() error {
			done.Add(1)
			err := do()
			if err != nil {
				s.log.WarnContext(ctx, "it will be tried again", slog.String("what", what), slog.String("id", id), slog.Any("error", err))
			}
			return err
		})
	}
	for _, id := range due.Expire {
		try("expire", id, func() error { _, err := s.Expire(ctx, id); return err })
	}
	for _, p := range due.Payments {
		try("payment "+string(p.Status), p.ID, func() error { return s.look(ctx, p) })
	}
	for _, c := range due.CalledOff {
		try("event cancelled", c.Order, func() error { return s.callOff(ctx, c) })
	}
	for _, id := range due.Refunds {
		try("refund", id, func() error { return s.Refund(ctx, id) })
	}
	for _, p := range due.Compare {
		try("compare", p.ID, func() error { return s.stumble(ctx, p.ID, s.compare(ctx, p, true)) })
	}
	err = g.Wait()
	return int(done.Load()), err
}
