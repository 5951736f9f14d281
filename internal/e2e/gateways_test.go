package e2e

import (
	"net/http"
	"testing"

	"github.com/google/uuid"

	"onsale/checkout/payment"
	"onsale/checkout/payment/paymenttest"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
)

// pay buys the best ticket with a method and returns the order and its token.
func pay(door, shop *node, event, method string) (order, token string, a answer) {
	door.t.Helper()
	pass := door.enter(event, door.join(event))
	o := shop.call(http.StatusCreated, "POST", "/v1/orders", pass, uuid.NewString(), orderBody(shop.hold(event, pass, 1)))
	order, token = o.str("order"), o.str("order_token")
	a, err := shop.try("POST", "/v1/orders/"+order+"/pay", token, uuid.NewString(), map[string]any{"method": method})
	if err != nil {
		door.t.Fatal(err)
	}
	return order, token, a
}

func (n *node) status(order, token string) string {
	n.t.Helper()
	return n.call(http.StatusOK, "GET", "/v1/orders/"+order, token, "", nil).str("status")
}

// isSold tells whether an order's status is that of a sale. Its capture may be quicker
// than the answer to who paid.
func isSold(status string) bool { return status == "paid" || status == "fulfilled" }

// TestSandboxWebhooksArrive at a shop that has no worker beside it: nothing else
// could tell it what the buyer answered at the bank.
func TestSandboxWebhooksArrive(t *testing.T) {
	t.Parallel()
	s := newSite(t, stacktest.OwnRedis(t, stack.RedisOptions{Forget: true}).URL(), stacktest.Database(t, migrate))
	shop := s.start(t, "ONSALE_ROLE=shop")
	door := s.start(t, "ONSALE_ROLE=waitroom")
	event := shop.event(10, nil)
	order, token, a := pay(door, shop, event, payment.MethodRequiresAction)
	if a.str("status") != "awaiting_payment" {
		t.Fatalf("pay: %s", a)
	}
	key := query[string](t, s, `select id::text from payments where order_id = $1`, order)
	// Another process of the bank's: the secret is the one who sends' own.
	bank := payment.NewSandbox(s.db, 0).WithOptions(payment.SandboxOptions{WebhookSecret: "unused here"})
	if err := bank.Act(t.Context(), key, true); err != nil {
		t.Fatal(err)
	}
	shop.until(patience, "the shop has heard of it", func() bool { return shop.status(order, token) == "paid" })
	shop.until(patience, "all webhooks are sent", func() bool { return query[int](t, s, `select count(*) from sandbox_webhooks`) == 0 })
}

// TestPurchasesAtABadGateway end well, whatever it does by chance.
func TestPurchasesAtABadGateway(t *testing.T) {
	t.Parallel()
	s := newSite(t, stacktest.OwnRedis(t, stack.RedisOptions{Forget: true}).URL(), stacktest.Database(t, migrate))
	n := s.start(t, "ONSALE_SANDBOX_FAULT_SHARE=0.5", "ONSALE_SANDBOX_SEED=42", "ONSALE_CHECKOUT_PAY_WITHIN=30s")
	const most = 200
	event := n.event(most, map[string]any{"rate_per_minute": 60 * most, "burst": most})
	answers := make(map[string]int)
	for bought := 0; bought < 12 || len(answers) < 2 && bought < most; bought++ { // chance may be kind to the first twelve
		_, _, a := pay(n, n, event, payment.MethodOK)
		answers[a.str("status")+a.code()]++
	}
	n.until(2*patience, "all orders are at an end", func() bool {
		return query[int](t, s, `select count(*) from orders where status not in ('fulfilled', 'expired', 'cancelled')`) == 0 &&
			query[int](t, s, `select count(*) from payments where status in ('pending', 'authorised', 'voiding', 'requires_action')`) == 0
	})
	s.checkBooks(t)
	if sold := query[int](t, s, `select count(*) from orders where status = 'fulfilled'`); sold == 0 || len(answers) < 2 {
		t.Errorf("%d sales; the buyers were told %v", sold, answers)
	}
	if n := query[int](t, s, `select count(*) from sandbox_calls where tries > 1`); n == 0 {
		t.Error("no call was made twice: nothing went wrong")
	}
}

// TestStripeIsChosenByConfiguration and sells tickets, though answers are lost.
func TestStripeIsChosenByConfiguration(t *testing.T) {
	t.Parallel()
	f := paymenttest.NewFakeStripe(t)
	s := newSite(t, stacktest.OwnRedis(t, stack.RedisOptions{Forget: true}).URL(), stacktest.Database(t, migrate))
	n := s.start(t, "ONSALE_PAYMENT_GATEWAY=stripe", "ONSALE_STRIPE_SECRET_KEY="+paymenttest.StripeKey, "ONSALE_STRIPE_PUBLISHABLE_KEY=pk_test_1",
		"ONSALE_STRIPE_WEBHOOK_SECRET="+paymenttest.StripeWebhookSecret, "ONSALE_STRIPE_API_URL="+f.URL())
	event := n.event(10, nil)
	f.Break("confirm", paymenttest.LoseReply)
	lost, lostToken, a := pay(n, n, event, "ctoken_visa")
	f.Break("confirm", paymenttest.None)
	if !isSold(a.str("status")) {
		t.Errorf("a lost answer: %s", a)
	}
	f.Break("confirm", paymenttest.LoseRequest)
	_, _, a = pay(n, n, event, "ctoken_visa")
	f.Break("confirm", paymenttest.None)
	if a.code() != "gateway-unavailable" {
		t.Errorf("a lost request: %s", a)
	}
	n.until(patience, "the first order is fulfilled", func() bool { return n.status(lost, lostToken) == "fulfilled" })
	key := query[string](t, s, `select id::text from payments where order_id = $1`, lost)
	if got := f.Intents(key); len(got) != 1 || got[0] != "succeeded" {
		t.Errorf("at Stripe it is %v", got)
	}
	if got, want := f.Returns(key), n.url+"/orders/"+lost; got != want {
		t.Errorf("banks send buyers to %q, want %q", got, want)
	}
	n.call(http.StatusNotFound, "POST", "/v1/webhooks/sandbox", "", "", map[string]any{})
	n.call(http.StatusBadRequest, "POST", "/v1/webhooks/stripe", "", "", map[string]any{})
}
