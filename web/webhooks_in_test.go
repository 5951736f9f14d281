package web_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"onsale/checkout/payment"
	"onsale/checkout/payment/paymenttest"
	"onsale/web"
)

const sandboxSecret = "of the stage's sandbox"

// webhookStage has a sandbox that takes webhooks, and sends none by itself.
func webhookStage(t *testing.T) *stage {
	t.Helper()
	s := newStage(t, stageOptions{deps: func(d *web.Deps) {
		d.Sandbox.(*payment.Sandbox).WithOptions(payment.SandboxOptions{WebhookSecret: sandboxSecret})
	}})
	return s
}

func signed(body string, at time.Time) func(*http.Request) {
	return header(payment.SandboxSignature, payment.SignSandbox(sandboxSecret, at, []byte(body)))
}

func about(key string) string {
	b, _ := json.Marshal(map[string]string{"id": uuid.NewString(), "type": "payment.authorised", "payment": key}) // strings always encode
	return string(b)
}

// TestWebhookSettlesAPayment whose buyer has answered and never came back.
func TestWebhookSettlesAPayment(t *testing.T) {
	t.Parallel()
	s := webhookStage(t)
	me := s.admitted(s.event)
	o := s.paid(s.ordered(me.Pass, s.held(s.event, me.Pass, s.tickets[0])), "tok_requires_action")
	key := query[string](s, `select id::text from payments where order_id = $1`, o.Order)

	// What it says is not believed: nothing was approved yet.
	body := about(key)
	s.post("/v1/webhooks/sandbox", body, signed(body, time.Now())).ok(200, nil)
	if o = s.orderNow(o); o.Status != "awaiting_payment" {
		t.Fatalf("a webhook made the order %s", o.Status)
	}
	must(t, payment.NewSandbox(s.db, 0).Act(t.Context(), key, true))
	for range 3 { // duplicates are harmless
		s.post("/v1/webhooks/sandbox", body, signed(body, time.Now())).ok(200, nil)
	}
	if o = s.orderNow(o); o.Status != "paid" && o.Status != "fulfilled" {
		t.Errorf("after the webhook the order is %s", o.Status)
	}
	if n := query[int](s, `select count(*) from order_events where order_id = $1 and status = 'paid'`, o.Order); n != 1 {
		t.Errorf("it was paid %d times", n)
	}
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	s := webhookStage(t)
	now, known := time.Now(), about(uuid.NewString())
	send := func(body string, with ...func(*http.Request)) reply {
		return s.post("/v1/webhooks/sandbox", body, with...)
	}

	// Genuine, and nothing for us.
	for _, body := range []string{known, about("no id"), about(""), `{}`, `{"id":7}`} {
		send(body, signed(body, now)).ok(200, nil)
	}
	send(known, signed(known, now), header("Cookie", "onsale_visitor=x"), bearing("x")).ok(200, nil)

	// Not genuine. What is in them is not even read.
	for name, with := range map[string]func(*http.Request){
		"no signature":      func(*http.Request) {},
		"another body's":    signed(about(uuid.NewString()), now),
		"no text":           header(payment.SandboxSignature, "\x80"),
		"another gateway's": header("Stripe-Signature", payment.SignSandbox(sandboxSecret, now, []byte(known))),
		"yesterday's":       signed(known, now.Add(-24*time.Hour)),
		"tomorrow's":        signed(known, now.Add(24*time.Hour)),
		"another secret's":  header(payment.SandboxSignature, payment.SignSandbox("x", now, []byte(known))),
		"an admin's":        asOperator,
	} {
		if p := send(known, with).refused(400, "invalid-request"); !strings.Contains(p.Detail, "signature") {
			t.Errorf("%s: the detail says %q", name, p.Detail)
		}
	}
	for _, gateway := range []string{"stripe", "Sandbox", "x", "%00"} {
		s.post("/v1/webhooks/"+gateway, known, signed(known, now)).refused(404, "not-found")
	}
	large := about(strings.Repeat("x", 64<<10))
	send(large, signed(large, now)).refused(413, "too-large")
	fits := about(strings.Repeat("x", 60<<10))
	send(fits, signed(fits, now)).ok(200, nil)
	send(known, signed(known, now), header("Origin", "https://evil.example")).refused(403, "forbidden")
}

// TestCheckoutPolicy opens the checkout page, and no other, to Stripe, and only
// where Stripe is the gateway.
func TestCheckoutPolicy(t *testing.T) {
	t.Parallel()
	without := newStage(t, stageOptions{})
	with := newStage(t, stageOptions{deps: func(d *web.Deps) { d.StripeKey = "pk_test_1" }})
	policy := func(s *stage, path string) string {
		r := s.get(path)
		if r.status != 200 {
			t.Fatalf("%s: %d %s", path, r.status, r.body)
		}
		return r.header.Get("Content-Security-Policy")
	}
	checkout := "/checkout/" + with.event
	for _, closed := range []string{
		policy(without, "/checkout/"+without.event), policy(with, "/"), policy(with, "/events/"+with.event), policy(with, "/queue/"+with.event),
		policy(with, "/orders/"+uuid.NewString()), policy(with, "/console"),
	} {
		if strings.Contains(closed, "stripe") || strings.Contains(closed, "frame-src") || !strings.Contains(closed, "default-src 'none'") {
			t.Errorf("a page without Stripe has the policy %s", closed)
		}
	}
	open := policy(with, checkout)
	for _, want := range []string{
		"default-src 'none'", "script-src 'self' https://js.stripe.com https://*.js.stripe.com", "connect-src 'self' https://api.stripe.com;",
		"; frame-src https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com", "frame-ancestors 'none'", "base-uri 'none'",
	} {
		if !strings.Contains(open, want) {
			t.Errorf("the checkout's policy lacks %q: %s", want, open)
		}
	}
	if strings.Contains(open, "unsafe") || strings.Count(open, "stripe.com") != 6 {
		t.Errorf("the checkout's policy allows too much: %s", open)
	}
	me := with.admitted(with.event)
	o := with.ordered(me.Pass, with.held(with.event, me.Pass, with.tickets[0]))
	var view struct {
		Payment struct {
			PublishableKey string `json:"publishable_key"`
		}
	}
	with.get("/v1/orders/"+o.Order, bearing(o.Token)).ok(200, &view)
	if view.Payment.PublishableKey != "pk_test_1" {
		t.Errorf("the order's page starts with %q", view.Payment.PublishableKey)
	}
}

// TestStripeFromEndToEnd: a purchase with a card that asks its owner, heard of by
// webhook, and its refund, with Stripe's stand-in behind a whole shop.
func TestStripeFromEndToEnd(t *testing.T) {
	t.Parallel()
	f := paymenttest.NewFakeStripe(t)
	s := newStage(t, stageOptions{
		gateway: func(db *pgxpool.Pool) payment.Gateway {
			g, err := payment.NewStripe(payment.NewReferences(db), payment.StripeOptions{
				SecretKey: paymenttest.StripeKey, WebhookSecret: paymenttest.StripeWebhookSecret, APIURL: f.URL(),
				Return: func(order string) string { return "https://tickets.example/orders/" + order },
				HTTP:   &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
			})
			must(t, err)
			return g
		},
		deps: func(d *web.Deps) { d.Sandbox, d.StripeKey = nil, "pk_test_1" },
	})
	me := s.admitted(s.event)
	o := s.ordered(me.Pass, s.held(s.event, me.Pass, s.tickets[0]))
	for _, bad := range []string{"tok_ok", "", "pm_", "pi_1"} {
		s.post("/v1/orders/"+o.Order+"/pay", `{"method":"`+bad+`"}`, bearing(o.Token), keyed(uuid.NewString())).refused(400, "invalid-request")
	}
	type view struct {
		Status  string
		Payment struct {
			Gateway      string
			Reason       string
			ClientSecret string                      `json:"client_secret"`
			NextAction   *struct{ Type, URL string } `json:"next_action"`
		}
	}
	pay := func(method string) (v view) {
		t.Helper()
		s.post("/v1/orders/"+o.Order+"/pay", `{"method":"`+method+`"}`, bearing(o.Token), keyed(uuid.NewString())).ok(200, &v)
		return v
	}
	if v := pay("ctoken_insufficient_funds"); v.Status != "declined" || v.Payment.Reason != "the card does not have enough funds" || v.Payment.ClientSecret != "" {
		t.Errorf("a card without funds: %+v", v)
	}
	v := pay("ctoken_3ds")
	if v.Status != "awaiting_payment" || v.Payment.NextAction == nil || v.Payment.NextAction.Type != "in_page" || !strings.Contains(v.Payment.ClientSecret, "_secret_") {
		t.Fatalf("a card that asks: %+v", v)
	}
	var again view
	s.get("/v1/orders/"+o.Order, bearing(o.Token)).ok(200, &again)
	if again.Payment.ClientSecret != v.Payment.ClientSecret {
		t.Errorf("after a reload the page goes on with %q", again.Payment.ClientSecret)
	}
	if listed := s.get("/v1/admin/orders", asOperator); strings.Contains(string(listed.body), v.Payment.ClientSecret) {
		t.Error("operators see the buyer's client secret")
	}
	key := query[string](s, `select id::text from payments where order_id = $1 order by attempt desc limit 1`, o.Order)
	f.Act(key, true)
	h, body := f.Webhook(key, "", time.Now())
	hook := func(r *http.Request) { r.Header.Set("Stripe-Signature", h.Get("Stripe-Signature")) }
	s.post("/v1/webhooks/sandbox", string(body), hook).refused(404, "not-found")
	s.post("/v1/webhooks/stripe", string(body)).refused(400, "invalid-request")
	s.post("/v1/webhooks/stripe", string(body), hook).ok(200, nil)
	s.post("/v1/webhooks/stripe", string(body), hook).ok(200, nil)
	eventually(t, "fulfilled", func() order { return s.orderNow(o) }, func(o order) bool { return o.Status == "fulfilled" })
	if got := f.Intents(key); len(got) != 1 || got[0] != "succeeded" {
		t.Errorf("at Stripe it is %v", got)
	}
	s.post("/v1/admin/orders/"+o.Order+"/refund", `{"reason":"rain"}`, asOperator).ok(200, nil)
	eventually(t, "the money is back", func() string {
		return query[string](s, `select status from refunds where order_id = $1`, o.Order)
	}, func(status string) bool { return status == "done" })
	if n := f.Refunded(key); n != 4500 {
		t.Errorf("Stripe gave back %d", n)
	}
}
