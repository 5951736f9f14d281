package paymenttest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v84/webhook"
)

// The secrets of a FakeStripe.
const (
	StripeKey           = "sk_test_of_the_stand_in"
	StripeWebhookSecret = "whsec_of_the_stand_in" //nolint:gosec // opens nothing
)

// FakeStripe is a small Stripe with a memory: PaymentIntents captured by hand,
// refunds, and idempotency keys that repeat answers, failures included. It is as
// strict as the real one about what it is asked, and about the order of things.
//
// Payment methods go by what their ids end with: "visa" works, "declined",
// "insufficient_funds" and "expired" do not, "used_up" is refused untried, "3ds"
// has to be confirmed, and "slow" is processing until Settle. A confirmation
// token leaves the confirmation to the page, a payment method sends the browser
// away.
type FakeStripe struct {
	t   testing.TB
	url string

	mu      sync.Mutex
	serial  int
	intents map[string]*intent
	refunds []*refund
	keys    map[string]*keyed
	broken  map[string]Fault
	asked   []string // every request, as "POST /v1/refunds"
}

type intent struct {
	id, currency, status, method, reason, returns, failure string
	amount, received, refunded                             int64
	metadata                                               map[string]string
}

type refund struct {
	id, intent string
	amount     int64
	metadata   map[string]string
}

// keyed is what an idempotency key remembers; done is closed when there is an answer.
type keyed struct {
	request string
	done    chan struct{}
	status  int
	body    []byte
}

// NewFakeStripe starts one. It ends with the test.
func NewFakeStripe(t testing.TB) *FakeStripe {
	t.Helper()
	f := &FakeStripe{t: t, intents: make(map[string]*intent), keys: make(map[string]*keyed), broken: make(map[string]Fault)}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// URL is the address of the API.
func (f *FakeStripe) URL() string { return f.url }

// Break makes a kind of request go wrong until None mends it: create, confirm,
// retrieve, capture, cancel, refund or list.
func (f *FakeStripe) Break(step string, how Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken[step] = how
}

// Asked lists the requests so far, such as "create" and "confirm".
func (f *FakeStripe) Asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

// ForgetKeys is what a day later does to idempotency keys.
func (f *FakeStripe) ForgetKeys() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.keys)
}

// Act is what the buyer answers at the bank about the payment with a key of ours.
func (f *FakeStripe) Act(key string, approve bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.intents {
		if p.metadata["payment"] != key || p.status != "requires_action" {
			continue
		}
		p.status = "requires_capture"
		if !approve {
			p.status, p.failure = "requires_payment_method", "payment_intent_authentication_failure"
		}
		return
	}
	f.t.Errorf("no payment %s waits for its buyer", key)
}

// Settle lets all payments through that are processing.
func (f *FakeStripe) Settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.intents {
		if p.status == "processing" {
			p.status = "requires_capture"
		}
	}
}

// Intents lists the statuses of the PaymentIntents for a key of ours.
func (f *FakeStripe) Intents(key string) (statuses []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.intents {
		if p.metadata["payment"] == key {
			statuses = append(statuses, p.status)
		}
	}
	return statuses
}

// Refunded is how much of a key of ours was given back, in Stripe's units.
func (f *FakeStripe) Refunded(key string) (units int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.intents {
		if p.metadata["payment"] == key {
			units += p.refunded
		}
	}
	return units
}

// Returns is where the buyer of a key of ours is sent back to.
func (f *FakeStripe) Returns(key string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.intents {
		if p.metadata["payment"] == key {
			return p.returns
		}
	}
	return ""
}

// Webhook makes a webhook as Stripe signs them: about a PaymentIntent, or a refund
// if it has an id.
func (f *FakeStripe) Webhook(key, refund string, at time.Time) (http.Header, []byte) {
	object, kind := map[string]any{"object": "payment_intent", "id": "pi_1", "metadata": map[string]string{"payment": key}}, "payment_intent.succeeded"
	if refund != "" {
		object, kind = map[string]any{"object": "refund", "id": "re_1", "metadata": map[string]string{"payment": key, "refund": refund}}, "refund.updated"
	}
	return f.Signed(kind, object, at)
}

// Signed makes a webhook about any object.
func (f *FakeStripe) Signed(kind string, object any, at time.Time) (http.Header, []byte) {
	body, err := json.Marshal(map[string]any{
		"id": "evt_1", "object": "event", "type": kind, "api_version": "2020-08-27", "created": at.Unix(), "data": map[string]any{"object": object},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.Sign(body, at), body
}

// Sign makes the header that signs a body.
func (f *FakeStripe) Sign(body []byte, at time.Time) http.Header {
	signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: StripeWebhookSecret, Timestamp: at})
	return http.Header{"Stripe-Signature": {signed.Header}}
}

// ServeHTTP implements http.Handler.
func (f *FakeStripe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	step := stepOf(r)
	f.mu.Lock()
	f.asked = append(f.asked, step)
	how := f.broken[step]
	f.mu.Unlock()
	if how == LoseRequest {
		panic(http.ErrAbortHandler) // cuts the connection
	}
	status, answer := f.once(r, step, body, how)
	if how == LoseReply {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Request-Id", "req_"+strconv.Itoa(len(answer)))
	w.WriteHeader(status)
	_, _ = w.Write(answer) //nolint:gosec // JSON, to a program
}

// stepOf names a request.
func stepOf(r *http.Request) string {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/v1/payment_intents":
		return "create"
	case r.Method == http.MethodGet && len(parts) == 3 && parts[1] == "payment_intents":
		return "retrieve"
	case r.Method == http.MethodPost && len(parts) == 4 && parts[1] == "payment_intents":
		return parts[3]
	case r.Method == http.MethodPost && r.URL.Path == "/v1/refunds":
		return "refund"
	case r.Method == http.MethodGet && r.URL.Path == "/v1/refunds":
		return "list"
	}
	return r.Method + " " + r.URL.Path
}

// once answers a request, or repeats the answer that its idempotency key has.
func (f *FakeStripe) once(r *http.Request, step string, body []byte, how Fault) (int, []byte) {
	if r.Header.Get("Authorization") != "Bearer "+StripeKey {
		return problem(http.StatusUnauthorized, "invalid_request_error", "", "")
	}
	key := r.Header.Get("Idempotency-Key")
	if r.Method == http.MethodGet || key == "" {
		return f.answer(r, step, body, how)
	}
	request := r.URL.Path + " " + string(body)
	f.mu.Lock()
	k, known := f.keys[key]
	if !known {
		k = &keyed{request: request, done: make(chan struct{})}
		f.keys[key] = k
	}
	f.mu.Unlock()
	if known {
		if !sameForm(k.request, request) {
			return problem(http.StatusBadRequest, "idempotency_error", "", "")
		}
		select {
		case <-k.done:
			return k.status, k.body
		default:
			return problem(http.StatusConflict, "idempotency_error", "idempotency_key_in_use", "")
		}
	}
	k.status, k.body = f.answer(r, step, body, how)
	close(k.done)
	return k.status, k.body
}

// sameForm compares requests, whose parameters may be in any order.
func sameForm(a, b string) bool {
	pathA, formA, _ := strings.Cut(a, " ")
	pathB, formB, _ := strings.Cut(b, " ")
	x, errX := url.ParseQuery(formA)
	y, errY := url.ParseQuery(formB)
	return errX == nil && errY == nil && pathA == pathB && x.Encode() == y.Encode()
}

func (f *FakeStripe) answer(r *http.Request, step string, body []byte, how Fault) (int, []byte) {
	if how == ServerError {
		return problem(http.StatusInternalServerError, "api_error", "", "")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return problem(http.StatusBadRequest, "invalid_request_error", "", "")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch step {
	case "create":
		return f.create(form)
	case "refund":
		return f.refund(form)
	case "list":
		return f.list(r.URL.Query())
	case "retrieve", "confirm", "capture", "cancel":
		p, ok := f.intents[strings.Split(r.URL.Path, "/")[3]]
		switch {
		case !ok:
			return problem(http.StatusNotFound, "invalid_request_error", "resource_missing", "intent")
		case step == "retrieve":
			return p.show()
		case step == "confirm":
			return p.confirm(form)
		case step == "capture":
			return p.capture()
		}
		return p.cancel(form)
	}
	f.t.Errorf("Stripe was asked for %s", step)
	return problem(http.StatusNotFound, "invalid_request_error", "", "")
}

// least are the smallest amounts that Stripe charges in some currencies.
var least = map[string]int64{"eur": 50, "usd": 50, "jpy": 50, "huf": 17500}

func (f *FakeStripe) create(form url.Values) (int, []byte) {
	amount, err := strconv.ParseInt(form.Get("amount"), 10, 64)
	currency := form.Get("currency")
	known := []string{"amount", "currency", "capture_method", "automatic_payment_methods[enabled]", "metadata[payment]", "metadata[order]", "metadata[method]"}
	for name := range form {
		if !slices.Contains(known, name) {
			return problem(http.StatusBadRequest, "invalid_request_error", "parameter_unknown", name)
		}
	}
	switch {
	case err != nil || amount < 1:
		return problem(http.StatusBadRequest, "invalid_request_error", "parameter_invalid_integer", "amount")
	case amount < least[currency]:
		return problem(http.StatusBadRequest, "invalid_request_error", "amount_too_small", "amount")
	case amount > 99_999_999:
		return problem(http.StatusBadRequest, "invalid_request_error", "amount_too_large", "amount")
	case currency != strings.ToLower(currency) || len(currency) != 3 || currency == "kpw":
		return problem(http.StatusBadRequest, "invalid_request_error", "", "currency")
	case slices.Contains([]string{"bhd", "jod", "kwd", "omr", "tnd"}, currency) && amount%10 != 0:
		return problem(http.StatusBadRequest, "invalid_request_error", "invalid_charge_amount", "amount")
	case form.Get("capture_method") != "manual":
		f.t.Error("a PaymentIntent would be captured at once")
	}
	f.serial++
	p := &intent{id: fmt.Sprintf("pi_%d", f.serial), amount: amount, currency: currency, status: "requires_payment_method", metadata: metadataOf(form)}
	f.intents[p.id] = p
	return p.show()
}

func metadataOf(form url.Values) map[string]string {
	m := make(map[string]string)
	for name := range form {
		if key, ok := strings.CutPrefix(name, "metadata["); ok {
			m[strings.TrimSuffix(key, "]")] = form.Get(name)
		}
	}
	return m
}

func (p *intent) confirm(form url.Values) (int, []byte) {
	if p.status != "requires_payment_method" {
		return p.unexpected()
	}
	token, method := form.Get("confirmation_token"), form.Get("payment_method")
	if (token == "") == (method == "") {
		return problem(http.StatusBadRequest, "invalid_request_error", "parameter_missing", "payment_method")
	}
	if u, err := url.Parse(form.Get("return_url")); err != nil || !u.IsAbs() {
		return problem(http.StatusBadRequest, "invalid_request_error", "url_invalid", "return_url")
	}
	p.method, p.returns = token+method, form.Get("return_url")
	switch how := p.method[strings.Index(p.method, "_")+1:]; {
	case strings.HasSuffix(how, "visa"):
		p.status = "requires_capture"
	case strings.HasSuffix(how, "3ds"):
		p.status = "requires_action"
	case strings.HasSuffix(how, "slow"):
		p.status = "processing"
	case strings.HasSuffix(how, "declined"):
		return p.decline("generic_decline")
	case strings.HasSuffix(how, "insufficient_funds"):
		return p.decline("insufficient_funds")
	case strings.HasSuffix(how, "expired"):
		return p.decline("expired_card")
	default:
		p.method = ""
		return problem(http.StatusBadRequest, "invalid_request_error", "resource_missing", "confirmation_token")
	}
	return p.show()
}

func (p *intent) decline(code string) (int, []byte) {
	p.failure = code
	_, shown := p.show()
	return errorBody(http.StatusPaymentRequired, map[string]any{
		"type": "card_error", "code": "card_declined", "decline_code": code, "message": "Your card was declined.", "payment_intent": json.RawMessage(shown),
	})
}

func (p *intent) capture() (int, []byte) {
	if p.status != "requires_capture" {
		return p.unexpected()
	}
	p.status, p.received = "succeeded", p.amount
	return p.show()
}

func (p *intent) cancel(form url.Values) (int, []byte) {
	switch p.status {
	case "succeeded", "canceled", "processing":
		return p.unexpected()
	}
	p.status, p.reason = "canceled", form.Get("cancellation_reason")
	p.failure = "" // the real one may drop it
	return p.show()
}

func (p *intent) unexpected() (int, []byte) {
	_, shown := p.show()
	return errorBody(http.StatusBadRequest, map[string]any{
		"type": "invalid_request_error", "code": "payment_intent_unexpected_state", "message": "It is " + p.status, "payment_intent": json.RawMessage(shown),
	})
}

func (f *FakeStripe) refund(form url.Values) (int, []byte) {
	p, ok := f.intents[form.Get("payment_intent")]
	amount, err := strconv.ParseInt(form.Get("amount"), 10, 64)
	switch {
	case !ok:
		return problem(http.StatusNotFound, "invalid_request_error", "resource_missing", "payment_intent")
	case p.status != "succeeded":
		return problem(http.StatusBadRequest, "invalid_request_error", "payment_intent_unexpected_state", "")
	case err != nil || amount <= 0 || amount > p.received-p.refunded:
		return problem(http.StatusBadRequest, "invalid_request_error", "charge_already_refunded", "amount")
	}
	p.refunded += amount
	f.serial++
	r := &refund{id: fmt.Sprintf("re_%d", f.serial), intent: p.id, amount: amount, metadata: metadataOf(form)}
	f.refunds = append(f.refunds, r)
	return shown(http.StatusOK, r.object())
}

func (r *refund) object() map[string]any {
	return map[string]any{"id": r.id, "object": "refund", "amount": r.amount, "status": "succeeded", "payment_intent": r.intent, "metadata": r.metadata}
}

// list has pages of two, so that who reads one page only is found out.
func (f *FakeStripe) list(query url.Values) (int, []byte) {
	var all []map[string]any
	for _, r := range slices.Backward(f.refunds) { // newest first
		if r.intent == query.Get("payment_intent") {
			all = append(all, r.object())
		}
	}
	if after := query.Get("starting_after"); after != "" {
		at := slices.IndexFunc(all, func(r map[string]any) bool { return r["id"] == after })
		all = all[at+1:]
	}
	more := len(all) > 2
	if more {
		all = all[:2]
	}
	return shown(http.StatusOK, map[string]any{"object": "list", "url": "/v1/refunds", "has_more": more, "data": slices.Clip(append([]map[string]any{}, all...))})
}

// show is the PaymentIntent as Stripe's API has it.
func (p *intent) show() (int, []byte) {
	object := map[string]any{
		"id": p.id, "object": "payment_intent", "amount": p.amount, "amount_received": p.received, "currency": p.currency, "status": p.status,
		"capture_method": "manual", "client_secret": p.id + "_secret_abc", "metadata": maps.Clone(p.metadata), "livemode": false,
		"latest_charge": nil, "last_payment_error": nil, "next_action": nil, "cancellation_reason": nil,
	}
	if p.reason != "" {
		object["cancellation_reason"] = p.reason
	}
	if p.failure != "" {
		object["last_payment_error"] = map[string]any{"type": "card_error", "code": "card_declined", "decline_code": p.failure}
	}
	if p.status == "succeeded" {
		object["latest_charge"] = map[string]any{"id": "ch_" + p.id, "object": "charge", "amount_refunded": p.refunded, "status": "succeeded"}
	}
	switch {
	case p.status != "requires_action":
	case strings.HasPrefix(p.method, "pm_"):
		object["next_action"] = map[string]any{"type": "redirect_to_url", "redirect_to_url": map[string]any{
			"url": "https://hooks.stripe.com/3ds/" + p.id, "return_url": p.returns,
		}}
	default:
		object["next_action"] = map[string]any{"type": "use_stripe_sdk", "use_stripe_sdk": map[string]any{"type": "three_d_secure_redirect"}}
	}
	return shown(http.StatusOK, object)
}

func shown(status int, object any) (int, []byte) {
	body, err := json.Marshal(object)
	if err != nil {
		return http.StatusInternalServerError, nil
	}
	return status, body
}

func problem(status int, kind, code, param string) (int, []byte) {
	return errorBody(status, map[string]any{"type": kind, "code": code, "param": param, "message": "it was refused; sk_test_secret"})
}

func errorBody(status int, e map[string]any) (int, []byte) {
	return shown(status, map[string]any{"error": e})
}
