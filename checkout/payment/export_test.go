package payment

import "context"

// Confirm confirms a PaymentIntent whatever its state.
func Confirm(ctx context.Context, g *Stripe, c Charge, ref string) (Result, error) {
	return g.confirm(ctx, c, ref)
}

// AskForRefund refunds a PaymentIntent whatever its state, in Stripe's units.
func AskForRefund(ctx context.Context, g *Stripe, refund, ref, key string, units int64) error {
	return g.refund(ctx, refund, ref, key, units, units)
}
