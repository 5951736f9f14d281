package checkout

import "onsale/checkout/payment"

// NextActionType is how a buyer goes on with a payment.
type NextActionType string

// The ways to go on.
const (
	Redirect NextActionType = "redirect" // the browser goes to the action's URL
	// InPage: the gateway's script goes on in the page, with the client secret of
	// the payment.
	InPage NextActionType = "in_page"
)

// AskBuyer sets what the buyer has to do from what OrderStore.RequireAction was
// given.
func (p *PaymentView) AskBuyer(action string) {
	url, secret := payment.ParseAction(action)
	if secret != "" {
		p.ClientSecret, p.NextAction = secret, &NextAction{Type: InPage}
		return
	}
	p.NextAction = &NextAction{Type: Redirect, URL: url}
}
