package payment_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"onsale/checkout/payment"
	"onsale/checkout/payment/paymenttest"
)

func charge(method string) payment.Charge {
	return payment.Charge{Key: uuid.NewString(), Order: uuid.NewString(), Amount: 9000, Currency: "EUR", Method: method}
}

func TestStripeTellsWhyItWasDeclined(t *testing.T) {
	t.Parallel()
	g, f := newStripe(t, database(t))
	for name, tc := range map[string]struct {
		change func(*payment.Charge)
		reason string
	}{
		"declined":                    {func(c *payment.Charge) { c.Method = "pm_declined" }, "the card was declined"},
		"funds":                       {func(c *payment.Charge) { c.Method = "ctoken_insufficient_funds" }, "the card does not have enough funds"},
		"expired":                     {func(c *payment.Charge) { c.Method = "pm_expired" }, "the card has expired"},
		"a token that is used up":     {func(c *payment.Charge) { c.Method = "ctoken_used_up" }, "the payment details were not accepted; please enter them again"},
		"too little":                  {func(c *payment.Charge) { c.Amount = 49 }, "the amount is too small to be charged"},
		"too much":                    {func(c *payment.Charge) { c.Amount = 100_000_000 }, "the amount is too large to be charged at once"},
		"a third decimal":             {func(c *payment.Charge) { c.Amount, c.Currency = 12_345, "KWD" }, "an amount with a third decimal cannot be charged in KWD"},
		"decimals Stripe has not":     {func(c *payment.Charge) { c.Amount, c.Currency = 12_345, "MGA" }, "an amount with decimals cannot be charged in MGA"},
		"more than a number holds":    {func(c *payment.Charge) { c.Amount, c.Currency = 1<<62, "ISK" }, "the amount is too large to be charged at once"},
		"a currency it does not take": {func(c *payment.Charge) { c.Currency = "KPW" }, "payments in this currency are not possible"},
		"no method for what costs":    {func(c *payment.Charge) { c.Method = payment.MethodFree }, "choose how to pay"},
	} {
		c := charge("pm_visa")
		tc.change(&c)
		got, err := g.Authorise(t.Context(), c)
		if err != nil || got.State != payment.Declined || got.Reason != tc.reason {
			t.Errorf("%s: %+v, %v; want %q", name, got, err, tc.reason)
		}
		// Nothing is left that somebody could still confirm.
		for _, status := range f.Intents(c.Key) {
			if status != "canceled" {
				t.Errorf("%s leaves a PaymentIntent that is %s", name, status)
			}
		}
	}
}

func TestStripeIsNotAskedAboutWhatIsFree(t *testing.T) {
	t.Parallel()
	g, f := newStripe(t, database(t))
	ctx, c := t.Context(), charge(payment.MethodFree)
	c.Amount = 0
	if got, err := g.Authorise(ctx, c); err != nil || got != (payment.Result{State: payment.Captured}) {
		t.Fatalf("authorise: %+v, %v", got, err)
	}
	if got, err := g.Lookup(ctx, c.Key); err != nil || got != (payment.Result{State: payment.Captured}) {
		t.Errorf("lookup: %+v, %v", got, err)
	}
	if err := errors.Join(g.Capture(ctx, c.Key), g.Void(ctx, c.Key)); err != nil {
		t.Error(err)
	}
	if asked := f.Asked(); len(asked) != 0 {
		t.Errorf("Stripe was asked for %v", asked)
	}
}

// TestStripeNeverConfirmsWhatItCouldLose: the id is stored before money moves.
func TestStripeNeverConfirmsWhatItCouldLose(t *testing.T) {
	t.Parallel()
	db := database(t)
	g, f := newStripe(t, db)
	c := charge("pm_visa")
	if _, err := db.Exec(t.Context(), `alter table payment_references add check (reference not like 'pi%')`); err != nil {
		t.Fatal(err)
	}
	if got, err := g.Authorise(t.Context(), c); err == nil {
		t.Errorf("without a place for its id it is %+v", got)
	}
	if asked := f.Asked(); !slices.Equal(asked, []string{"create"}) {
		t.Errorf("Stripe was asked for %v, want create alone", asked)
	}
	if _, err := g.Lookup(t.Context(), c.Key); !errors.Is(err, payment.ErrNotFound) {
		t.Errorf("lookup: %v", err)
	}
}

func TestStripeSendsTheBuyerBackToTheOrder(t *testing.T) {
	t.Parallel()
	g, f := newStripe(t, database(t))
	redirected, inPage := charge("pm_3ds"), charge("ctoken_3ds")
	got, err := g.Authorise(t.Context(), redirected)
	if err != nil || got.ActionURL == "" || got.ClientSecret != "" {
		t.Errorf("a payment method: %+v, %v", got, err)
	}
	if want := "https://tickets.example/orders/" + redirected.Order; f.Returns(redirected.Key) != want {
		t.Errorf("the bank sends them to %q, want %q", f.Returns(redirected.Key), want)
	}
	got, err = g.Authorise(t.Context(), inPage)
	if err != nil || got.ActionURL != "" || got.ClientSecret == "" {
		t.Errorf("a confirmation token: %+v, %v", got, err)
	}
	if url, secret := payment.ParseAction(got.Action()); url != "" || secret != got.ClientSecret {
		t.Errorf("the action is read as %q, %q", url, secret)
	}
}

func TestStripeLeavesOpenWhatIsProcessing(t *testing.T) {
	t.Parallel()
	g, f := newStripe(t, database(t))
	ctx, c := t.Context(), charge("pm_slow")
	for what, err := range map[string]error{
		"authorise": func() error { _, err := g.Authorise(ctx, c); return err }(),
		"lookup":    func() error { _, err := g.Lookup(ctx, c.Key); return err }(),
		"capture":   g.Capture(ctx, c.Key),
		"void":      g.Void(ctx, c.Key),
	} {
		if err == nil || errors.Is(err, payment.ErrNotFound) || errors.Is(err, payment.ErrGone) || errors.Is(err, payment.ErrCaptured) {
			t.Errorf("%s: %v; the outcome is open", what, err)
		}
	}
	f.Settle()
	if got, err := g.Lookup(ctx, c.Key); err != nil || got.State != payment.Authorised {
		t.Errorf("then: %+v, %v", got, err)
	}
}

// TestStripeRefundsOnceForGood: a job tries for days, and Stripe's memory of
// idempotency keys is a day long.
func TestStripeRefundsOnceForGood(t *testing.T) {
	t.Parallel()
	g, f := newStripe(t, database(t))
	ctx, c := t.Context(), charge("pm_visa")
	if _, err := g.Authorise(ctx, c); err != nil {
		t.Fatal(err)
	}
	if err := g.Capture(ctx, c.Key); err != nil {
		t.Fatal(err)
	}
	first := uuid.NewString()
	f.Break("refund", paymenttest.LoseReply)
	if err := g.Refund(ctx, first, c.Key, 1000); err == nil {
		t.Error("the lost answer is no error")
	}
	f.Break("refund", paymenttest.None)
	f.ForgetKeys()
	for range 5 { // so that the first is on the third page
		if err := g.Refund(ctx, uuid.NewString(), c.Key, 1000); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Refund(ctx, first, c.Key, 1000); err != nil {
		t.Error(err)
	}
	failed := uuid.NewString()
	f.Break("refund", paymenttest.ServerError)
	_ = g.Refund(ctx, failed, c.Key, 1000) // fails, and Stripe keeps saying so
	f.Break("refund", paymenttest.None)
	if err := g.Refund(ctx, failed, c.Key, 1000); err == nil {
		t.Error("the stand-in forgot a failure under its key")
	}
	f.ForgetKeys()
	if err := g.Refund(ctx, failed, c.Key, 1000); err != nil {
		t.Errorf("a day later: %v", err)
	}
	if got, err := g.Lookup(ctx, c.Key); err != nil || got.Refunded != 7000 {
		t.Errorf("%+v, %v; want seven refunds", got, err)
	}
}

func TestStripeErrorsTellNoSecrets(t *testing.T) {
	t.Parallel()
	db := database(t)
	g, f := newStripe(t, db)
	c := charge("ctoken_3ds")
	if _, err := g.Authorise(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	f.Break("retrieve", paymenttest.ServerError)
	_, looked := g.Lookup(t.Context(), c.Key)
	other, err := payment.NewStripe(payment.NewReferences(db), payment.StripeOptions{
		SecretKey: "sk_test_wrong", WebhookSecret: "w", APIURL: f.URL(), Return: func(string) string { return "https://x.example" },
	})
	if err != nil {
		t.Fatal(err)
	}
	_, denied := other.Authorise(t.Context(), charge("pm_visa"))
	_, gone := g.Lookup(t.Context(), charge("").Key)
	for _, err := range []error{looked, denied} {
		if err == nil || errors.Is(err, payment.ErrNotFound) {
			t.Errorf("error %v", err)
			continue
		}
		if text := err.Error(); strings.Contains(text, "_secret_") || strings.Contains(text, "sk_test") || !strings.Contains(text, "stripe: ") {
			t.Errorf("the error says %q", text)
		}
	}
	if !errors.Is(gone, payment.ErrNotFound) {
		t.Error(gone)
	}
}

func TestNewStripeRefuses(t *testing.T) {
	t.Parallel()
	good := payment.StripeOptions{SecretKey: "s", WebhookSecret: "w", Return: func(string) string { return "" }}
	for name, spoil := range map[string]func(*payment.StripeOptions){
		"no key":            func(o *payment.StripeOptions) { o.SecretKey = "" },
		"no webhook secret": func(o *payment.StripeOptions) { o.WebhookSecret = "" },
		"no way back":       func(o *payment.StripeOptions) { o.Return = nil },
		"a bad address":     func(o *payment.StripeOptions) { o.APIURL = "localhost:12111" },
	} {
		o := good
		spoil(&o)
		if _, err := payment.NewStripe(nil, o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := payment.NewStripe(nil, good); err != nil {
		t.Error(err)
	}
}

// Whoever sends whatever, the parser neither panics nor takes what is not signed.
func FuzzStripeWebhook(f *testing.F) {
	g, err := payment.NewStripe(nil, payment.StripeOptions{SecretKey: "s", WebhookSecret: paymenttest.StripeWebhookSecret, Return: func(string) string { return "" }})
	if err != nil {
		f.Fatal(err)
	}
	fake := paymenttest.NewFakeStripe(f)
	for _, seed := range []string{
		`{"id":"evt_1","object":"event","type":"refund.updated","data":{"object":{"metadata":{"payment":"k","refund":"r"}}}}`,
		`{"object":"event","data":null}`, `{"object":"event","data":{"object":[]}}`, `{}`, ``, `null`, `[1`,
	} {
		f.Add("t=1,v1=00", []byte(seed))
	}
	h, body := fake.Webhook("k", "", time.Now())
	f.Add(h.Get("Stripe-Signature"), body)
	f.Fuzz(func(t *testing.T, signature string, body []byte) {
		// The seed with its true signature is the only one that may pass, while it is fresh.
		if _, err := g.ParseWebhook(http.Header{"Stripe-Signature": {signature}}, body); err == nil && signature != h.Get("Stripe-Signature") {
			t.Errorf("%q signs %q", signature, body)
		}
		signed, _ := fake.Signed("charge.refunded", string(body), time.Now())
		_, err := g.ParseWebhook(signed, body)
		if err == nil {
			t.Error("the signature of one body signs another")
		}
		notice, err := g.ParseWebhook(fake.Sign(body, time.Now()), body)
		if err == nil && (notice.ID == "" || notice.Key == "") || err != nil && !errors.Is(err, payment.ErrIgnored) {
			t.Errorf("a signed %q: %+v, %v", body, notice, err)
		}
	})
}
