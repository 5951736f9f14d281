package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"onsale/checkout/payment"
	"onsale/config"
	"onsale/web"
)

// openGateway makes the payment gateway that the configuration names, and tells
// the web server what belongs to it.
func (a *App) openGateway(deps *web.Deps) (payment.Gateway, error) {
	switch a.cfg.PaymentGateway {
	case config.GatewaySandbox:
		o := payment.SandboxOptions{
			Faults: payment.SpreadFaults(uint64(a.cfg.Sandbox.Seed), a.cfg.Sandbox.FaultShare),
			Now:    time.Now, Logger: a.log,
		}
		if a.cfg.Sandbox.Webhooks {
			o.WebhookSecret = deps.Keys.Derive("sandbox", "webhooks") // all nodes have the same
		}
		sandbox := payment.NewSandbox(a.db, sandboxSlow).WithOptions(o)
		deps.Sandbox = sandbox
		if deps.Roles.Shop {
			a.sandbox = sandbox // it sends its webhooks to the node it runs in
		}
		return sandbox, nil
	case config.GatewayStripe:
		deps.StripeKey = a.cfg.Stripe.PublishableKey
		site := strings.TrimSuffix(a.cfg.PublicURL, "/")
		return payment.NewStripe(payment.NewReferences(a.db), payment.StripeOptions{
			SecretKey: a.cfg.Stripe.SecretKey.Reveal(), WebhookSecret: a.cfg.Stripe.WebhookSecret.Reveal(), APIURL: a.cfg.Stripe.APIURL,
			Return: func(order string) string { return site + "/orders/" + order },
		})
	}
	return nil, fmt.Errorf("payment_gateway %q is not known", a.cfg.PaymentGateway)
}

// runSandbox sends the sandbox's webhooks to this node itself.
func (a *App) runSandbox(ctx context.Context, listener net.Listener) error {
	return a.sandbox.Run(ctx, a.cfg.URLFor(listener.Addr().String())+"/v1/webhooks/"+a.sandbox.Name())
}
