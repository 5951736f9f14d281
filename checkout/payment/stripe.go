package payment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v84"
	"github.com/stripe/stripe-go/v84/webhook"
)

// Stripe charges by PaymentIntents that are captured by hand.
//
// What it must never do is lose track of a charge whose answer was lost. So an
// authorisation has two steps: a PaymentIntent is created, which moves no money
// whatever becomes of its answer; its id is stored under our key; and only then
// it is confirmed. From that the rest follows, without a search (Stripe's is some
// time behind) and without idempotency keys that Stripe forgets after a day:
//
//   - No id is stored for a key: it was never confirmed. Nothing can have been
//     charged, and Void stores a mark in the id's place, at which a late
//     authorisation stops.
//   - An id is stored: the PaymentIntent tells, now and in a year.
//   - A PaymentIntent that was created and not confirmed counts as never
//     arrived. Void cancels it, and Stripe refuses to confirm what is cancelled.
//
// Capture and cancellation can be asked for any number of times, since Stripe
// does either once in the life of a PaymentIntent. They carry no fixed
// idempotency key: under one, Stripe would repeat a failure of its own for a day.
// Refunds have a key, and are looked for before they are asked for, as a job may
// try for longer than a key is remembered.
type Stripe struct {
	api     *stripe.Client
	refs    References
	secret  string // of webhooks
	returns func(order string) string
}

// StripeOptions are what an account at Stripe comes with.
type StripeOptions struct {
	SecretKey     string
	WebhookSecret string
	APIURL        string // "": Stripe's
	// Return is where a bank sends the buyer's browser back to: the page of the
	// order. It must be absolute.
	Return func(order string) string
	HTTP   *http.Client // nil: one with a deadline
}

var _ Gateway = (*Stripe)(nil)

const (
	stripeName = "stripe"
	// What stands in place of an id. Neither looks like one.
	refVoided = "voided" // the key must never be charged
	refFree   = "free"   // nothing to pay: Stripe is not asked
)

// MethodFree pays for an order that costs nothing.
const MethodFree = "free"

// stripeWait bounds a call whose caller has no deadline.
const stripeWait = 20 * time.Second

// NewStripe does no I/O.
func NewStripe(refs References, o StripeOptions) (*Stripe, error) {
	if o.SecretKey == "" || o.WebhookSecret == "" || o.Return == nil {
		return nil, errors.New("stripe: SecretKey, WebhookSecret and Return are required")
	}
	client := o.HTTP
	if client == nil {
		client = &http.Client{Timeout: stripeWait}
	}
	backend := &stripe.BackendConfig{
		HTTPClient: client,
		// Who calls knows what is safe to repeat, and how long there is time.
		MaxNetworkRetries: stripe.Int64(0),
		EnableTelemetry:   new(false),
		// Its messages hold whole answers, client secrets included.
		LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
	}
	if o.APIURL != "" {
		u, err := url.Parse(o.APIURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("stripe: %q is not the address of an API", o.APIURL)
		}
		backend.URL = stripe.String(strings.TrimSuffix(o.APIURL, "/"))
	}
	return &Stripe{
		api:  stripe.NewClient(o.SecretKey, stripe.WithBackends(stripe.NewBackendsWithConfig(backend))),
		refs: refs, secret: o.WebhookSecret, returns: o.Return,
	}, nil
}

// Name implements Gateway.
func (g *Stripe) Name() string { return stripeName }

// stripeMethod is what a page may send: a confirmation token of the Payment
// Element, or a payment method.
var stripeMethod = regexp.MustCompile(`^(ctoken|pm)_[A-Za-z0-9_]{1,200}$`)

// CheckMethod implements Gateway.
func (g *Stripe) CheckMethod(method string) error {
	if method != MethodFree && !stripeMethod.MatchString(method) {
		return ErrUnknownMethod
	}
	return nil
}

// Authorise implements Gateway.
func (g *Stripe) Authorise(ctx context.Context, c Charge) (Result, error) {
	if err := g.CheckMethod(c.Method); err != nil {
		return Result{}, err
	}
	units, why := toStripe(c.Amount, c.Currency)
	switch {
	case why != "":
		return Result{State: Declined, Reason: why}, nil
	case units == 0:
		ref, err := g.refs.Keep(ctx, stripeName, c.Key, refFree)
		if err != nil {
			return Result{}, err
		}
		return g.stands(ctx, ref)
	case c.Method == MethodFree:
		return Result{State: Declined, Reason: "choose how to pay"}, nil
	}
	ref, err := g.refs.Find(ctx, stripeName, c.Key)
	if errors.Is(err, ErrNotFound) {
		var refused *Result
		if ref, refused, err = g.create(ctx, c, units); refused != nil {
			return *refused, nil
		}
	}
	if err != nil {
		return Result{}, err
	}
	if ref == refVoided || ref == refFree {
		return g.stands(ctx, ref)
	}
	intent, err := g.retrieve(ctx, ref)
	switch {
	case err != nil:
		return Result{}, err
	case intent.Amount != units || !strings.EqualFold(string(intent.Currency), c.Currency) ||
		intent.Metadata["order"] != c.Order || intent.Metadata["method"] != c.Method:
		return Result{}, ErrKeyReused
	case unconfirmed(intent):
		return g.confirm(ctx, c, ref)
	}
	return g.result(ctx, intent)
}

// create makes the PaymentIntent of a charge and stores its id. refused is set
// when Stripe does not want to charge that.
func (g *Stripe) create(ctx context.Context, c Charge, units int64) (ref string, refused *Result, err error) {
	params := &stripe.PaymentIntentCreateParams{
		Amount:                  new(units),
		Currency:                stripe.String(strings.ToLower(c.Currency)),
		CaptureMethod:           stripe.String(string(stripe.PaymentIntentCaptureMethodManual)),
		AutomaticPaymentMethods: &stripe.PaymentIntentCreateAutomaticPaymentMethodsParams{Enabled: new(true)},
		Metadata:                map[string]string{"payment": c.Key, "order": c.Order, "method": c.Method},
	}
	// Nodes that race, or a try whose answer was lost, get one PaymentIntent.
	params.IdempotencyKey = stripe.String(c.Key)
	intent, err := g.api.V1PaymentIntents.Create(ctx, params)
	if err != nil {
		if e, ok := errors.AsType[*stripe.Error](err); ok && e.Type == stripe.ErrorTypeInvalidRequest && e.HTTPStatusCode == http.StatusBadRequest {
			return "", &Result{State: Declined, Reason: refusal(e)}, nil
		}
		return "", nil, g.failed("create", err)
	}
	ref, err = g.refs.Keep(ctx, stripeName, c.Key, intent.ID)
	if err != nil {
		return "", nil, err
	}
	if ref != intent.ID { // voided meanwhile
		_ = g.cancel(ctx, intent.ID, "") // never confirmed: it is only litter
	}
	return ref, nil, nil
}

// confirm lets the money of a PaymentIntent be reserved.
func (g *Stripe) confirm(ctx context.Context, c Charge, ref string) (Result, error) {
	params := &stripe.PaymentIntentConfirmParams{ReturnURL: stripe.String(g.returns(c.Order))}
	if strings.HasPrefix(c.Method, "ctoken_") {
		params.ConfirmationToken = stripe.String(c.Method)
	} else {
		params.PaymentMethod = stripe.String(c.Method)
	}
	params.AddExpand("latest_charge")
	params.IdempotencyKey = stripe.String(c.Key + "-confirm")
	intent, err := g.api.V1PaymentIntents.Confirm(ctx, ref, params)
	if err == nil {
		return g.result(ctx, intent)
	}
	e, ok := errors.AsType[*stripe.Error](err)
	switch {
	case !ok:
	case e.Type == stripe.ErrorTypeCard, e.Code == stripe.ErrorCodePaymentIntentUnexpectedState:
		// It was declined, or somebody else was quicker: it tells itself.
		if intent, err = g.retrieve(ctx, ref); err != nil {
			return Result{}, err
		}
		return g.result(ctx, intent)
	case e.Type == stripe.ErrorTypeInvalidRequest && (e.HTTPStatusCode == http.StatusBadRequest || e.HTTPStatusCode == http.StatusNotFound):
		// Nothing was tried: a token that is used up, say.
		if err := g.cancel(ctx, ref, stripeClosed); err != nil {
			return Result{}, err
		}
		return Result{State: Declined, Reason: refusal(e)}, nil
	}
	return Result{}, g.failed("confirm", err)
}

// Lookup implements Gateway.
func (g *Stripe) Lookup(ctx context.Context, key string) (Result, error) {
	ref, err := g.refs.Find(ctx, stripeName, key)
	if err != nil {
		return Result{}, err
	}
	return g.stands(ctx, ref)
}

// stands tells where the charge with a stored reference stands.
func (g *Stripe) stands(ctx context.Context, ref string) (Result, error) {
	switch ref {
	case refVoided:
		return Result{State: Voided}, nil
	case refFree:
		return Result{State: Captured}, nil // all of it
	}
	intent, err := g.retrieve(ctx, ref)
	if err != nil {
		return Result{}, err
	}
	if unconfirmed(intent) {
		return Result{}, ErrNotFound
	}
	return g.result(ctx, intent)
}

func (g *Stripe) retrieve(ctx context.Context, ref string) (*stripe.PaymentIntent, error) {
	params := &stripe.PaymentIntentRetrieveParams{}
	params.AddExpand("latest_charge")
	intent, err := g.api.V1PaymentIntents.Retrieve(ctx, ref, params)
	if err != nil {
		return nil, g.failed("retrieve", err)
	}
	return intent, nil
}

// unconfirmed tells whether a PaymentIntent was created and never tried.
func unconfirmed(p *stripe.PaymentIntent) bool {
	return p.LastPaymentError == nil &&
		(p.Status == stripe.PaymentIntentStatusRequiresPaymentMethod || p.Status == stripe.PaymentIntentStatusRequiresConfirmation)
}

// result reads a PaymentIntent that was confirmed.
func (g *Stripe) result(ctx context.Context, p *stripe.PaymentIntent) (Result, error) {
	code := string(p.Currency)
	r := Result{Captured: fromStripe(p.AmountReceived, code)}
	if p.LatestCharge != nil {
		r.Refunded = fromStripe(p.LatestCharge.AmountRefunded, code)
	}
	switch p.Status {
	case stripe.PaymentIntentStatusRequiresAction:
		r.State = RequiresAction
		if p.NextAction != nil && p.NextAction.RedirectToURL != nil {
			r.ActionURL = p.NextAction.RedirectToURL.URL
		} else {
			r.ClientSecret = p.ClientSecret
		}
	case stripe.PaymentIntentStatusRequiresCapture:
		r.State = Authorised
	case stripe.PaymentIntentStatusSucceeded:
		r.State = Captured
	case stripe.PaymentIntentStatusCanceled:
		r.State = Voided
		if p.CancellationReason == stripeClosed {
			r.State, r.Reason = Declined, reason(p.LastPaymentError)
		}
	case stripe.PaymentIntentStatusRequiresPaymentMethod, stripe.PaymentIntentStatusRequiresConfirmation:
		// Declined. Who has its client secret could try another card on it, which
		// nobody here would notice, so it is closed before anybody hears of it.
		if err := g.cancel(ctx, p.ID, stripeClosed); err != nil {
			return Result{}, err
		}
		r.State, r.Reason = Declined, reason(p.LastPaymentError)
	default: // processing: the outcome is open
		return Result{}, fmt.Errorf("stripe: the payment is %s", p.Status)
	}
	return r, nil
}

// Capture implements Gateway.
func (g *Stripe) Capture(ctx context.Context, key string) error {
	ref, err := g.refs.Find(ctx, stripeName, key)
	switch {
	case err != nil:
		return err
	case ref == refVoided:
		return ErrGone
	case ref == refFree:
		return nil
	}
	_, err = g.api.V1PaymentIntents.Capture(ctx, ref, &stripe.PaymentIntentCaptureParams{})
	if e, ok := errors.AsType[*stripe.Error](err); !ok || e.HTTPStatusCode >= http.StatusInternalServerError || e.HTTPStatusCode == http.StatusTooManyRequests {
		return g.failed("capture", err)
	}
	intent, rerr := g.retrieve(ctx, ref)
	if rerr != nil {
		return rerr
	}
	switch intent.Status {
	case stripe.PaymentIntentStatusSucceeded:
		return nil
	case stripe.PaymentIntentStatusRequiresCapture, stripe.PaymentIntentStatusProcessing:
		return g.failed("capture", err)
	}
	return ErrGone
}

// Void implements Gateway.
func (g *Stripe) Void(ctx context.Context, key string) error {
	ref, err := g.refs.Keep(ctx, stripeName, key, refVoided)
	if err != nil || ref == refVoided || ref == refFree {
		return err
	}
	return g.cancel(ctx, ref, "")
}

// stripeClosed is the reason for which a declined PaymentIntent is cancelled, and
// by which it is known from one that was voided. Its last error, Stripe may drop.
const stripeClosed = stripe.PaymentIntentCancellationReasonAbandoned

// cancel ends a PaymentIntent that has not taken any money: ErrCaptured.
func (g *Stripe) cancel(ctx context.Context, ref string, why stripe.PaymentIntentCancellationReason) error {
	params := &stripe.PaymentIntentCancelParams{}
	if why != "" {
		params.CancellationReason = stripe.String(string(why))
	}
	_, err := g.api.V1PaymentIntents.Cancel(ctx, ref, params)
	if e, ok := errors.AsType[*stripe.Error](err); !ok || e.Code != stripe.ErrorCodePaymentIntentUnexpectedState {
		return g.failed("cancel", err)
	}
	intent, rerr := g.retrieve(ctx, ref)
	if rerr != nil {
		return rerr
	}
	switch intent.Status {
	case stripe.PaymentIntentStatusCanceled:
		return nil
	case stripe.PaymentIntentStatusSucceeded:
		return ErrCaptured
	}
	return g.failed("cancel", err)
}

// Refund implements Gateway.
func (g *Stripe) Refund(ctx context.Context, refund, key string, amount int64) error {
	if amount <= 0 {
		return fmt.Errorf("stripe: a refund of %d: %w", amount, ErrTooMuch)
	}
	ref, err := g.refs.Find(ctx, stripeName, key)
	switch {
	case err != nil:
		return err
	case ref == refVoided || ref == refFree:
		return ErrNotFound
	}
	intent, err := g.retrieve(ctx, ref)
	if err != nil {
		return err
	}
	if intent.Status != stripe.PaymentIntentStatusSucceeded {
		return ErrNotFound
	}
	units, why := toStripe(amount, string(intent.Currency))
	if why != "" {
		return fmt.Errorf("stripe: refund: %s", why)
	}
	left := intent.AmountReceived
	if intent.LatestCharge != nil {
		left -= intent.LatestCharge.AmountRefunded
	}
	return g.refund(ctx, refund, ref, key, units, left)
}

// refund gives back units of the left ones, once.
func (g *Stripe) refund(ctx context.Context, refund, ref, key string, units, left int64) error {
	// Stripe forgets idempotency keys after a day; the list of refunds it keeps.
	known := &stripe.RefundListParams{PaymentIntent: stripe.String(ref)}
	known.Limit = stripe.Int64(100)
	for r, err := range g.api.V1Refunds.List(ctx, known) {
		switch {
		case err != nil:
			return g.failed("list refunds", err)
		case r.Metadata["refund"] != refund:
			continue
		case r.Amount != units:
			return ErrKeyReused
		}
		return refunded(r)
	}
	if units > left {
		return ErrTooMuch
	}
	params := &stripe.RefundCreateParams{
		PaymentIntent: stripe.String(ref), Amount: new(units),
		Metadata: map[string]string{"payment": key, "refund": refund},
	}
	params.IdempotencyKey = stripe.String(refund)
	done, err := g.api.V1Refunds.Create(ctx, params)
	if err != nil {
		if e, ok := errors.AsType[*stripe.Error](err); ok && e.Type == stripe.ErrorTypeIdempotency {
			return ErrKeyReused
		}
		return g.failed("refund", err)
	}
	return refunded(done)
}

// refunded tells whether a refund is done, or on its way and nothing is left to
// do for it here.
func refunded(r *stripe.Refund) error {
	switch r.Status {
	case stripe.RefundStatusFailed, stripe.RefundStatusCanceled:
		return fmt.Errorf("stripe: the refund %s is %s: the buyer's bank did not take it; pay it back by hand", r.ID, r.Status)
	}
	return nil
}

// ParseWebhook implements Gateway.
func (g *Stripe) ParseWebhook(h http.Header, body []byte) (Notice, error) {
	// Only ids are read, and they are the same in all versions of the API.
	event, err := webhook.ConstructEventWithOptions(body, h.Get("Stripe-Signature"), g.secret, webhook.ConstructEventOptions{
		Tolerance: Tolerance, IgnoreAPIVersionMismatch: true,
	})
	switch {
	case errors.Is(err, webhook.ErrTooOld):
		return Notice{}, ErrStale
	case errors.Is(err, webhook.ErrNotSigned), errors.Is(err, webhook.ErrInvalidHeader), errors.Is(err, webhook.ErrNoValidSignature):
		return Notice{}, ErrSignature
	case err != nil || event.Data == nil:
		return Notice{}, ErrIgnored // genuine, and of a kind that is not for us
	}
	var about struct {
		Metadata struct{ Payment, Refund string }
	}
	kind, _, _ := strings.Cut(string(event.Type), ".")
	if err := json.Unmarshal(event.Data.Raw, &about); err != nil || about.Metadata.Payment == "" || event.ID == "" ||
		kind != "payment_intent" && kind != "charge" && kind != "refund" {
		return Notice{}, ErrIgnored
	}
	return Notice{ID: event.ID, Key: about.Metadata.Payment, Refund: about.Metadata.Refund}, nil
}

// failed describes an error of a call without what Stripe's own text may hold: it
// quotes whole objects, client secrets included. Nil stays nil.
func (g *Stripe) failed(call string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*stripe.Error](err); ok {
		return fmt.Errorf("stripe: %s: %s %s (status %d, request %s)", call, e.Type, e.Code, e.HTTPStatusCode, e.RequestID)
	}
	if text := err.Error(); len(text) > 300 { // a page of HTML by something in between
		return fmt.Errorf("stripe: %s: %.300s…", call, text)
	}
	return fmt.Errorf("stripe: %s: %w", call, err)
}
