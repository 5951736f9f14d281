package payment_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	catalogpg "onsale/catalog/pgstore"
	"onsale/checkout/payment"
	"onsale/checkout/payment/paymenttest"
	"onsale/internal/stack/stacktest"
)

const sandboxSecret = "the sandbox's"

func migrated(ctx context.Context, databaseURL string) error {
	return catalogpg.Migrate(ctx, databaseURL, slog.New(slog.DiscardHandler))
}

func database(t testing.TB) *pgxpool.Pool {
	t.Helper()
	db, err := pgxpool.New(t.Context(), stacktest.Database(t, migrated))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func TestSandboxKeepsTheContract(t *testing.T) {
	t.Parallel()
	paymenttest.Run(t, func(t *testing.T) paymenttest.Subject {
		t.Helper()
		g := payment.NewSandbox(database(t), time.Millisecond)
		with := func(f payment.Faults) { g.WithOptions(payment.SandboxOptions{WebhookSecret: sandboxSecret, Faults: f}) }
		with(payment.Faults{})
		signed := func(body string, at time.Time) (http.Header, []byte) {
			return http.Header{payment.SandboxSignature: {payment.SignSandbox(sandboxSecret, at, []byte(body))}}, []byte(body)
		}
		return paymenttest.Subject{
			Gateway: g,
			OK:      payment.MethodOK, Other: payment.MethodCaptureFailsOnce, Declined: payment.MethodDeclined, Action: payment.MethodRequiresAction,
			Act: func(t *testing.T, key string, approve bool) {
				t.Helper()
				if err := g.Act(t.Context(), key, approve); err != nil {
					t.Error(err)
				}
			},
			Break: func(_ string, f paymenttest.Fault) {
				with(map[paymenttest.Fault]payment.Faults{
					paymenttest.LoseRequest: {LoseRequest: 1}, paymenttest.LoseReply: {LoseReply: 1}, paymenttest.ServerError: {ServerError: 1},
				}[f])
			},
			Steps: map[string][]string{"authorise": {""}, "capture": {""}, "void": {""}, "refund": {""}},
			Webhook: func(key, refund string, at time.Time) (http.Header, []byte) {
				return signed(`{"id":"e1","type":"payment.captured","payment":"`+key+`","refund":"`+refund+`"}`, at)
			},
			Nonsense: func(at time.Time) (http.Header, []byte) { return signed(`{"id":"e1","payment":7}`, at) },
		}
	})
}

// newStripe is the adapter before a stand-in for Stripe.
func newStripe(t testing.TB, db *pgxpool.Pool) (*payment.Stripe, *paymenttest.FakeStripe) {
	t.Helper()
	f := paymenttest.NewFakeStripe(t)
	g, err := payment.NewStripe(payment.NewReferences(db), payment.StripeOptions{
		SecretKey: paymenttest.StripeKey, WebhookSecret: paymenttest.StripeWebhookSecret, APIURL: f.URL() + "/",
		Return: func(order string) string { return "https://tickets.example/orders/" + order },
		HTTP:   &http.Client{Transport: &http.Transport{}, Timeout: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	return g, f
}

func TestStripeKeepsTheContract(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]string{"payment methods": "pm_", "confirmation tokens": "ctoken_"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			paymenttest.Run(t, func(t *testing.T) paymenttest.Subject {
				t.Helper()
				g, f := newStripe(t, database(t))
				return paymenttest.Subject{
					Gateway: g,
					OK:      kind + "visa", Other: kind + "other_visa", Declined: kind + "declined", Action: kind + "3ds",
					Act:     func(_ *testing.T, key string, approve bool) { f.Act(key, approve) },
					Break:   f.Break,
					Steps:   map[string][]string{"authorise": {"create", "confirm"}, "capture": {"capture"}, "void": {"cancel"}, "refund": {"list", "refund"}},
					Webhook: f.Webhook,
					Nonsense: func(at time.Time) (http.Header, []byte) {
						return f.Signed("customer.created", map[string]any{"object": "customer", "metadata": map[string]string{}}, at)
					},
				}
			})
		})
	}
}
