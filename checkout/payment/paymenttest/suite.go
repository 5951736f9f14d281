// Package paymenttest holds gateways against what payment.Gateway promises, and
// has a stand-in for Stripe.
package paymenttest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"onsale/checkout/payment"
)

// Fault is what goes wrong with a step of a call.
type Fault int

// The faults.
const (
	None        Fault = iota
	LoseRequest       // it never arrives
	LoseReply         // it has its effect, and the answer is lost
	ServerError       // it fails without an effect, and says so
)

// Subject is a gateway under test, with nothing in its books.
type Subject struct {
	Gateway payment.Gateway
	// Methods of payment, by how they go.
	OK, Other, Declined, Action string
	// Act is what the buyer answers where Action sends them.
	Act func(t *testing.T, key string, approve bool)
	// Break makes a step go wrong until None mends it.
	Break func(step string, f Fault)
	// Steps are the requests that each call consists of, such as "authorise".
	Steps map[string][]string
	// Webhook makes a genuine webhook about a charge or a refund, signed at a time.
	Webhook func(key, refund string, at time.Time) (http.Header, []byte)
	// Nonsense is a genuine webhook about nothing of ours.
	Nonsense func(at time.Time) (http.Header, []byte)
}

type run struct {
	*testing.T
	Subject
}

// Run holds the gateways that fresh makes, one per test, against the contract.
func Run(t *testing.T, fresh func(t *testing.T) Subject) {
	t.Helper()
	for name, test := range map[string]func(r run){
		"a charge from authorisation to refund":         run.wholeLife,
		"a repeated authorisation is one":               run.repeated,
		"a key is for one charge":                       run.keyReused,
		"a decline is final":                            run.declined,
		"an unknown key":                                run.unknown,
		"a void is final":                               run.voided,
		"a void before the authorisation":               run.voidedBefore,
		"a void after the capture":                      run.voidedAfter,
		"the buyer confirms":                            func(r run) { r.action(true) },
		"the buyer refuses":                             func(r run) { r.action(false) },
		"a void while the buyer is asked":               run.voidedAtAction,
		"an authorisation that went wrong is found out": run.lostAuthorisation,
		"an authorisation whose answer was lost, again": run.lostAndAgain,
		"captures, voids and refunds are made once":     run.lostChanges,
		"many at once with one key":                     run.manyAtOnce,
		"capture and void at once":                      run.captureOrVoid,
		"refunds at once":                               run.refundsAtOnce,
		"amounts in all kinds of currencies":            run.currencies,
		"what is no currency and no amount":             run.noAmounts,
		"webhooks":                                      run.webhooks,
		"a caller without time":                         run.noTime,
		"methods":                                       run.methods,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(run{t, fresh(t)})
		})
	}
}

// charge makes one of 90.00 EUR that no other test knows.
func (r run) charge(method string) payment.Charge {
	return payment.Charge{Key: uuid.NewString(), Order: uuid.NewString(), Amount: 9000, Currency: "EUR", Method: method}
}

// authorised makes a charge that is authorised.
func (r run) authorised() payment.Charge {
	r.Helper()
	c := r.charge(r.OK)
	got, err := r.Gateway.Authorise(r.Context(), c)
	if err != nil || got != (payment.Result{State: payment.Authorised}) {
		r.Fatalf("authorise: %+v, %v", got, err)
	}
	return c
}

func (r run) captured() payment.Charge {
	r.Helper()
	c := r.authorised()
	r.ok("capture", r.Gateway.Capture(r.Context(), c.Key))
	return c
}

func (r run) ok(what string, err error) {
	r.Helper()
	if err != nil {
		r.Fatalf("%s: %v", what, err)
	}
}

func (r run) fails(what string, err, want error) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Errorf("%s: %v, want %v", what, err, want)
	}
}

// is demands where a charge stands.
func (r run) is(key string, state payment.State, captured, refunded int64) payment.Result {
	r.Helper()
	got, err := r.Gateway.Lookup(r.Context(), key)
	if err != nil || got.State != state || got.Captured != captured || got.Refunded != refunded {
		r.Fatalf("the charge is %+v, %v; want %s, %d captured and %d refunded", got, err, state, captured, refunded)
	}
	return got
}

func (r run) wholeLife() {
	ctx, c := r.Context(), r.authorised()
	r.is(c.Key, payment.Authorised, 0, 0)
	r.ok("capture", r.Gateway.Capture(ctx, c.Key))
	r.is(c.Key, payment.Captured, 9000, 0)
	r.ok("the capture again", r.Gateway.Capture(ctx, c.Key))
	r.is(c.Key, payment.Captured, 9000, 0)

	part, rest := uuid.NewString(), uuid.NewString()
	r.ok("refund a part", r.Gateway.Refund(ctx, part, c.Key, 4000))
	r.is(c.Key, payment.Captured, 9000, 4000)
	r.ok("the same refund again", r.Gateway.Refund(ctx, part, c.Key, 4000))
	r.fails("the same refund with another amount", r.Gateway.Refund(ctx, part, c.Key, 3000), payment.ErrKeyReused)
	r.fails("more than is left", r.Gateway.Refund(ctx, uuid.NewString(), c.Key, 5001), payment.ErrTooMuch)
	r.fails("nothing", r.Gateway.Refund(ctx, uuid.NewString(), c.Key, 0), payment.ErrTooMuch)
	r.is(c.Key, payment.Captured, 9000, 4000)
	r.ok("refund the rest", r.Gateway.Refund(ctx, rest, c.Key, 5000))
	r.is(c.Key, payment.Captured, 9000, 9000)
	r.ok("the first refund, much later", r.Gateway.Refund(ctx, part, c.Key, 4000))
	r.fails("one more", r.Gateway.Refund(ctx, uuid.NewString(), c.Key, 1), payment.ErrTooMuch)
	r.is(c.Key, payment.Captured, 9000, 9000)
}

func (r run) repeated() {
	c := r.authorised()
	for range 2 {
		got, err := r.Gateway.Authorise(r.Context(), c)
		if err != nil || got.State != payment.Authorised {
			r.Fatalf("again: %+v, %v", got, err)
		}
	}
	r.ok("capture", r.Gateway.Capture(r.Context(), c.Key))
	got, err := r.Gateway.Authorise(r.Context(), c)
	if err != nil || got.State != payment.Captured || got.Captured != 9000 {
		r.Errorf("again after the capture: %+v, %v", got, err)
	}
}

func (r run) keyReused() {
	c := r.authorised()
	for name, change := range map[string]func(*payment.Charge){
		"amount":   func(c *payment.Charge) { c.Amount++ },
		"currency": func(c *payment.Charge) { c.Currency = "USD" },
		"method":   func(c *payment.Charge) { c.Method = r.Other },
		"order":    func(c *payment.Charge) { c.Order = uuid.NewString() },
	} {
		other := c
		change(&other)
		_, err := r.Gateway.Authorise(r.Context(), other)
		r.fails("the key with another "+name, err, payment.ErrKeyReused)
	}
	r.is(c.Key, payment.Authorised, 0, 0)
}

func (r run) declined() {
	ctx, c := r.Context(), r.charge(r.Declined)
	got, err := r.Gateway.Authorise(ctx, c)
	if err != nil || got.State != payment.Declined || got.Reason == "" {
		r.Fatalf("authorise: %+v, %v", got, err)
	}
	if again := r.is(c.Key, payment.Declined, 0, 0); again.Reason == "" {
		r.Error("the look-up gives no reason")
	}
	r.fails("capture", r.Gateway.Capture(ctx, c.Key), payment.ErrGone)
	r.ok("void", r.Gateway.Void(ctx, c.Key))
	r.fails("refund", r.Gateway.Refund(ctx, uuid.NewString(), c.Key, 9000), payment.ErrNotFound)
	got, err = r.Gateway.Authorise(ctx, c)
	if err != nil || got.State != payment.Declined {
		r.Errorf("again: %+v, %v", got, err)
	}
}

func (r run) unknown() {
	ctx, key := r.Context(), uuid.NewString()
	_, err := r.Gateway.Lookup(ctx, key)
	r.fails("lookup", err, payment.ErrNotFound)
	r.fails("capture", r.Gateway.Capture(ctx, key), payment.ErrNotFound)
	r.fails("refund", r.Gateway.Refund(ctx, uuid.NewString(), key, 1), payment.ErrNotFound)
}

func (r run) voided() {
	ctx, c := r.Context(), r.authorised()
	r.ok("void", r.Gateway.Void(ctx, c.Key))
	r.ok("the void again", r.Gateway.Void(ctx, c.Key))
	r.is(c.Key, payment.Voided, 0, 0)
	r.fails("capture", r.Gateway.Capture(ctx, c.Key), payment.ErrGone)
	r.fails("refund", r.Gateway.Refund(ctx, uuid.NewString(), c.Key, 9000), payment.ErrNotFound)
	got, err := r.Gateway.Authorise(ctx, c)
	if err != nil || got.State != payment.Voided {
		r.Errorf("authorise after the void: %+v, %v", got, err)
	}
	r.is(c.Key, payment.Voided, 0, 0)
}

// voidedBefore is an attempt that was given up while it was still on its way.
func (r run) voidedBefore() {
	ctx, c := r.Context(), r.charge(r.OK)
	r.ok("void", r.Gateway.Void(ctx, c.Key))
	r.is(c.Key, payment.Voided, 0, 0)
	got, err := r.Gateway.Authorise(ctx, c)
	if err != nil || got.State != payment.Voided {
		r.Errorf("authorise after the void: %+v, %v", got, err)
	}
	r.is(c.Key, payment.Voided, 0, 0)
	r.fails("capture", r.Gateway.Capture(ctx, c.Key), payment.ErrGone)
}

func (r run) voidedAfter() {
	c := r.captured()
	r.fails("void", r.Gateway.Void(r.Context(), c.Key), payment.ErrCaptured)
	r.is(c.Key, payment.Captured, 9000, 0)
}

func (r run) action(approve bool) {
	ctx, c := r.Context(), r.charge(r.Action)
	got, err := r.Gateway.Authorise(ctx, c)
	if err != nil || got.State != payment.RequiresAction || got.Action() == "" {
		r.Fatalf("authorise: %+v, %v", got, err)
	}
	if url, secret := payment.ParseAction(got.Action()); url != got.ActionURL || got.ActionURL == "" && secret != got.ClientSecret {
		r.Errorf("the action %q is read as %q and %q", got.Action(), url, secret)
	}
	r.is(c.Key, payment.RequiresAction, 0, 0)
	r.fails("capture", r.Gateway.Capture(ctx, c.Key), payment.ErrGone)
	r.Act(r.T, c.Key, approve)
	if !approve {
		if got := r.is(c.Key, payment.Declined, 0, 0); got.Reason == "" {
			r.Error("a refusal has no reason")
		}
		return
	}
	r.is(c.Key, payment.Authorised, 0, 0)
	r.ok("capture", r.Gateway.Capture(ctx, c.Key))
	r.is(c.Key, payment.Captured, 9000, 0)
}

func (r run) voidedAtAction() {
	ctx, c := r.Context(), r.charge(r.Action)
	if got, err := r.Gateway.Authorise(ctx, c); err != nil || got.State != payment.RequiresAction {
		r.Fatalf("authorise: %+v, %v", got, err)
	}
	r.ok("void", r.Gateway.Void(ctx, c.Key))
	r.is(c.Key, payment.Voided, 0, 0)
}

// lostAuthorisation is what the checkout does about an answer that does not come:
// look it up, and make sure of one that never arrived.
func (r run) lostAuthorisation() {
	ctx := r.Context()
	for _, step := range r.Steps["authorise"] {
		for _, f := range []Fault{LoseRequest, LoseReply, ServerError} {
			c := r.charge(r.OK)
			r.Break(step, f)
			got, err := r.Gateway.Authorise(ctx, c)
			r.Break(step, None)
			if err == nil || errors.Is(err, payment.ErrKeyReused) || errors.Is(err, payment.ErrNotFound) {
				r.Errorf("%s, fault %d: %+v, %v; an unclear error is wanted", step, f, got, err)
			}
			got, err = r.Gateway.Lookup(ctx, c.Key)
			switch {
			case err == nil && got.State == payment.Authorised:
				r.ok("capture", r.Gateway.Capture(ctx, c.Key))
				r.is(c.Key, payment.Captured, 9000, 0)
			case errors.Is(err, payment.ErrNotFound):
				r.ok("void", r.Gateway.Void(ctx, c.Key))
				if got, err := r.Gateway.Authorise(ctx, c); err != nil || got.State != payment.Voided {
					r.Errorf("%s, fault %d: after the void it is %+v, %v", step, f, got, err)
				}
				r.fails("capture", r.Gateway.Capture(ctx, c.Key), payment.ErrGone)
				r.is(c.Key, payment.Voided, 0, 0)
			default:
				r.Errorf("%s, fault %d: the charge is %+v, %v", step, f, got, err)
			}
		}
	}
}

func (r run) lostAndAgain() {
	for _, step := range r.Steps["authorise"] {
		for _, f := range []Fault{LoseRequest, LoseReply} {
			c := r.charge(r.OK)
			r.Break(step, f)
			_, err := r.Gateway.Authorise(r.Context(), c)
			r.Break(step, None)
			if err == nil {
				r.Errorf("%s, fault %d: no error", step, f)
			}
			if got, err := r.Gateway.Authorise(r.Context(), c); err != nil || got.State != payment.Authorised {
				r.Errorf("%s, fault %d: again: %+v, %v", step, f, got, err)
			}
			r.is(c.Key, payment.Authorised, 0, 0)
		}
	}
}

func (r run) lostChanges() {
	ctx := r.Context()
	refund := ""
	for _, call := range []struct {
		name               string
		start              func() payment.Charge
		do                 func(key string) error
		state              payment.State
		captured, refunded int64
	}{
		{"capture", r.authorised, func(key string) error { return r.Gateway.Capture(ctx, key) }, payment.Captured, 9000, 0},
		{"void", r.authorised, func(key string) error { return r.Gateway.Void(ctx, key) }, payment.Voided, 0, 0},
		{"refund", r.captured, func(key string) error { return r.Gateway.Refund(ctx, refund, key, 3000) }, payment.Captured, 9000, 3000},
	} {
		for _, step := range r.Steps[call.name] {
			for _, f := range []Fault{LoseRequest, LoseReply, ServerError} {
				if call.name == "refund" && f == ServerError && r.Gateway.Name() == "stripe" {
					continue // repeats it for a day: see the tests of its own
				}
				refund = uuid.NewString()
				c := call.start()
				r.Break(step, f)
				err := call.do(c.Key)
				r.Break(step, None)
				if err == nil {
					r.Errorf("%s, fault %d: no error", step, f)
				}
				r.ok(call.name+" again", call.do(c.Key))
				r.is(c.Key, call.state, call.captured, call.refunded)
			}
		}
	}
}

func (r run) manyAtOnce() {
	c := r.charge(r.OK)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got, err := r.Gateway.Authorise(r.Context(), c); err == nil && got.State != payment.Authorised {
				r.Errorf("one of many: %+v", got)
			}
		})
	}
	all.Wait()
	if got, err := r.Gateway.Authorise(r.Context(), c); err != nil || got.State != payment.Authorised {
		r.Fatalf("after all: %+v, %v", got, err)
	}
	for range 8 {
		all.Go(func() { _ = r.Gateway.Capture(r.Context(), c.Key) }) // some may come too close
	}
	all.Wait()
	r.ok("capture", r.Gateway.Capture(r.Context(), c.Key))
	r.is(c.Key, payment.Captured, 9000, 0)
}

func (r run) captureOrVoid() {
	for range 5 {
		c := r.authorised()
		var captured, voided error
		var both sync.WaitGroup
		both.Go(func() { captured = r.Gateway.Capture(r.Context(), c.Key) })
		both.Go(func() { voided = r.Gateway.Void(r.Context(), c.Key) })
		both.Wait()
		if (captured == nil) == (voided == nil) {
			r.Errorf("capture: %v, void: %v; one of them is to win", captured, voided)
		}
		if captured == nil {
			r.fails("void", voided, payment.ErrCaptured)
			r.is(c.Key, payment.Captured, 9000, 0)
		} else {
			r.fails("capture", captured, payment.ErrGone)
			r.is(c.Key, payment.Voided, 0, 0)
		}
	}
}

// refundsAtOnce are one refund many times, and more refunds than money.
func (r run) refundsAtOnce() {
	ctx, c, one := r.Context(), r.captured(), uuid.NewString()
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() { _ = r.Gateway.Refund(ctx, one, c.Key, 2000) })
	}
	all.Wait()
	r.ok("the refund again", r.Gateway.Refund(ctx, one, c.Key, 2000))
	r.is(c.Key, payment.Captured, 9000, 2000)

	for range 6 {
		all.Go(func() { _ = r.Gateway.Refund(ctx, uuid.NewString(), c.Key, 2500) })
	}
	all.Wait()
	if got, err := r.Gateway.Lookup(ctx, c.Key); err != nil || got.Refunded > got.Captured || got.Refunded < 4500 {
		r.Errorf("after more refunds than money: %+v, %v", got, err)
	}
}

func (r run) currencies() {
	for code, amount := range map[string]int64{"JPY": 12000, "KWD": 12340, "USD": 999, "IDR": 15000000, "ISK": 4500, "HUF": 250000} {
		c := r.charge(r.OK)
		c.Currency, c.Amount = code, amount
		got, err := r.Gateway.Authorise(r.Context(), c)
		if err != nil || got.State != payment.Authorised {
			r.Errorf("%d %s: %+v, %v", amount, code, got, err)
			continue
		}
		r.ok("capture", r.Gateway.Capture(r.Context(), c.Key))
		r.ok("refund", r.Gateway.Refund(r.Context(), uuid.NewString(), c.Key, amount/2))
		r.is(c.Key, payment.Captured, amount, amount/2)
	}
}

func (r run) noAmounts() {
	for name, change := range map[string]func(*payment.Charge){
		"no currency":       func(c *payment.Charge) { c.Currency = "" },
		"unknown currency":  func(c *payment.Charge) { c.Currency = "EU1" },
		"lower case":        func(c *payment.Charge) { c.Currency = "eurs" },
		"less than nothing": func(c *payment.Charge) { c.Amount = -1 },
	} {
		c := r.charge(r.OK)
		change(&c)
		got, err := r.Gateway.Authorise(r.Context(), c)
		if err != nil || got.State != payment.Declined || got.Reason == "" {
			r.Errorf("%s: %+v, %v", name, got, err)
		}
		_, err = r.Gateway.Lookup(r.Context(), c.Key)
		r.fails(name+": lookup", err, payment.ErrNotFound)
	}
}

func (r run) webhooks() {
	key, refund, now := uuid.NewString(), uuid.NewString(), time.Now()
	h, body := r.Webhook(key, "", now)
	n, err := r.Gateway.ParseWebhook(h, body)
	if err != nil || n.Key != key || n.Refund != "" || n.ID == "" {
		r.Errorf("a webhook: %+v, %v", n, err)
	}
	h, body = r.Webhook(key, refund, now)
	if n, err = r.Gateway.ParseWebhook(h, body); err != nil || n.Key != key || n.Refund != refund {
		r.Errorf("a webhook about a refund: %+v, %v", n, err)
	}
	_, err = r.Gateway.ParseWebhook(http.Header{}, body)
	r.fails("without a signature", err, payment.ErrSignature)
	_, err = r.Gateway.ParseWebhook(h, []byte(strings.Replace(string(body), key, uuid.NewString(), 1)))
	r.fails("another body", err, payment.ErrSignature)
	_, err = r.Gateway.ParseWebhook(h, nil)
	r.fails("no body", err, payment.ErrSignature)
	for name := range h {
		for _, bad := range []string{"", ",", "t=,v1=", "t=1,v1=00", "v1=00", strings.ToUpper(h.Get(name)), h.Get(name)[:len(h.Get(name))-1]} {
			other := h.Clone()
			other.Set(name, bad)
			if _, err := r.Gateway.ParseWebhook(other, body); !errors.Is(err, payment.ErrSignature) && !errors.Is(err, payment.ErrStale) {
				r.Errorf("%s: %q is answered with %v", name, bad, err)
			}
		}
	}
	h, body = r.Webhook(key, "", now.Add(-payment.Tolerance-time.Minute))
	_, err = r.Gateway.ParseWebhook(h, body)
	r.fails("an old one", err, payment.ErrStale)
	h, body = r.Nonsense(now)
	_, err = r.Gateway.ParseWebhook(h, body)
	r.fails("one about something else", err, payment.ErrIgnored)
}

// noTime is a caller that gives up: an error, and what became of it is found out.
func (r run) noTime() {
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	c := r.charge(r.OK)
	if got, err := r.Gateway.Authorise(ctx, c); err == nil {
		r.Errorf("authorise: %+v", got)
	}
	_, err := r.Gateway.Lookup(r.Context(), c.Key)
	r.fails("lookup", err, payment.ErrNotFound)
}

func (r run) methods() {
	for _, good := range []string{r.OK, r.Other, r.Declined, r.Action} {
		r.ok(good, r.Gateway.CheckMethod(good))
	}
	for _, bad := range []string{"", "tok", "tok_", "pm_", "ctoken_", "TOK_OK", "pm_a/../../refunds", "pm_a?x=1", "4242424242424242", strings.Repeat("a", 3000)} {
		r.fails(bad, r.Gateway.CheckMethod(bad), payment.ErrUnknownMethod)
		c := r.charge(bad)
		_, err := r.Gateway.Authorise(r.Context(), c)
		r.fails("authorise with "+bad, err, payment.ErrUnknownMethod)
	}
}
