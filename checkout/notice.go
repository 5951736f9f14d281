package checkout

import (
	"context"
	"errors"
	"net/http"

	"onsale/catalog"
	"onsale/checkout/payment"
	"onsale/internal/fault"
)

// ParseNotice reads a webhook of the gateway. Its errors are payment.ErrSignature,
// ErrStale and ErrIgnored.
func (s *Service) ParseNotice(h http.Header, body []byte) (payment.Notice, error) {
	return s.gateway.ParseWebhook(h, body)
}

// Notice looks at a payment again of which the gateway says that something
// happened to it. It believes nothing else of what it says, so that a notice may
// come twice, late, in any order, or not at all: sweeps look by themselves. Notices
// about what is no payment of ours are nothing.
func (s *Service) Notice(ctx context.Context, n payment.Notice) error {
	if !catalog.IsID(n.Key) {
		return nil
	}
	p, err := s.orders.Payment(ctx, n.Key)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil
	case err != nil:
		return err
	case p.Status == PaymentPending:
		// Gateways announce charges that are not confirmed yet. The request that is about
		// to do so must not find them voided: that they never will be is for a sweep to
		// say, when the request's time is over.
		switch _, err := s.lookup(ctx, p.ID); {
		case errors.Is(err, payment.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
	}
	if !p.Status.Open() {
		return s.compare(ctx, p, false) // what is said at once is not all there is to say
	}
	return s.look(ctx, p)
}
