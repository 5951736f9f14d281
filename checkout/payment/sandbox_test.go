package payment_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"onsale/checkout/payment"
)

// TestSandboxMethods goes through what each method promises.
func TestSandboxMethods(t *testing.T) {
	t.Parallel()
	g := payment.NewSandbox(database(t), 10*time.Millisecond)
	ctx := t.Context()
	capture := func(c payment.Charge) error { return g.Capture(ctx, c.Key) }
	for method, tc := range map[string]struct {
		lost  bool          // the answer to the authorisation
		state payment.State // after it; "" if it never arrived
		call  func(payment.Charge) error
		fails int // so often, and then no more
	}{
		payment.MethodOK:               {state: payment.Authorised, call: capture},
		payment.MethodSlow:             {state: payment.Authorised, call: capture},
		payment.MethodDeclined:         {state: payment.Declined},
		payment.MethodTimeout:          {lost: true, state: payment.Authorised, call: capture},
		payment.MethodTimeoutBefore:    {lost: true},
		payment.MethodError:            {lost: true},
		payment.MethodServerError:      {lost: true, state: payment.Authorised, call: capture},
		payment.MethodCaptureFailsOnce: {state: payment.Authorised, call: capture, fails: 1},
		payment.MethodCaptureFails:     {state: payment.Authorised, call: capture, fails: 5},
		payment.MethodVoidFailsOnce:    {state: payment.Authorised, call: func(c payment.Charge) error { return g.Void(ctx, c.Key) }, fails: 1},
		payment.MethodRefundFailsOnce: {state: payment.Authorised, fails: 1, call: func(c payment.Charge) error {
			if err := g.Capture(ctx, c.Key); err != nil {
				t.Error(err)
			}
			return g.Refund(ctx, c.Key, c.Key, c.Amount)
		}},
		payment.MethodRequiresAction: {state: payment.RequiresAction},
	} {
		c := charge(method)
		if _, err := g.Authorise(ctx, c); (err != nil) != tc.lost {
			t.Errorf("%s: authorise: %v", method, err)
		}
		got, err := g.Lookup(ctx, c.Key)
		if tc.state == "" && !errors.Is(err, payment.ErrNotFound) || tc.state != "" && (err != nil || got.State != tc.state) {
			t.Errorf("%s: it is %+v, %v; want %q", method, got, err, tc.state)
		}
		if tc.call == nil {
			continue
		}
		failed := 0
		for ; failed < 10 && tc.call(c) != nil; failed++ {
		}
		if failed != tc.fails {
			t.Errorf("%s: the next call failed %d times, want %d", method, failed, tc.fails)
		}
	}
}

// TestFaultsReplay: one seed is one course of events.
func TestFaultsReplay(t *testing.T) {
	t.Parallel()
	keys := make([]payment.Charge, 60)
	for i := range keys {
		keys[i] = charge(payment.MethodOK)
	}
	course := func(seed uint64) map[string]string {
		g := payment.NewSandbox(database(t), time.Millisecond).WithOptions(payment.SandboxOptions{Faults: payment.SpreadFaults(seed, 0.6)})
		story := make(map[string]string)
		say := func(key string, err error) {
			story[key] += "ok "
			if err != nil {
				story[key] = story[key][:len(story[key])-3] + err.Error() + " "
			}
		}
		for _, c := range keys {
			r, err := g.Authorise(t.Context(), c)
			say(c.Key, err)
			story[c.Key] += string(r.State) + " "
			_, err = g.Lookup(t.Context(), c.Key)
			say(c.Key, err)
			say(c.Key, g.Capture(t.Context(), c.Key))
			say(c.Key, g.Capture(t.Context(), c.Key))
		}
		return story
	}
	first := course(7)
	if !maps.Equal(first, course(7)) {
		t.Error("the same seed went otherwise")
	}
	if maps.Equal(first, course(8)) {
		t.Error("another seed went the same")
	}
	kinds := make(map[string]bool)
	for _, story := range first {
		kinds[story] = true
	}
	if len(kinds) < 5 {
		t.Errorf("only %d different courses", len(kinds))
	}
}

// TestFaultsEndWell: however bad a gateway is, asking until it answers ends with
// one charge and one refund.
func TestFaultsEndWell(t *testing.T) {
	t.Parallel()
	g := payment.NewSandbox(database(t), time.Millisecond).WithOptions(payment.SandboxOptions{
		Faults: payment.Faults{Seed: 3, LoseRequest: 0.2, LoseReply: 0.3, ServerError: 0.2},
	})
	ctx := t.Context()
	insist := func(what string, f func() error) {
		var err error
		for range 100 {
			if err = f(); err == nil {
				return
			}
		}
		t.Fatalf("%s: %v", what, err)
	}
	for range 20 {
		c, refund := charge(payment.MethodOK), uuid.NewString()
		insist("authorise", func() error { _, err := g.Authorise(ctx, c); return err })
		insist("capture", func() error { return g.Capture(ctx, c.Key) })
		insist("refund", func() error { return g.Refund(ctx, refund, c.Key, 4000) })
		insist("lookup", func() error {
			r, err := g.Lookup(ctx, c.Key)
			if err == nil && (r.State != payment.Captured || r.Captured != 9000 || r.Refunded != 4000) {
				t.Errorf("it ended %+v", r)
			}
			return err
		})
	}
}

// ear hears webhooks.
type ear struct {
	mu      sync.Mutex
	heard   []payment.Notice
	kinds   map[string]int // by payment and type
	refuse  int            // so many are answered with an error first
	problem error
	parse   func(http.Header, []byte) (payment.Notice, error)
}

func (e *ear) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	e.mu.Lock()
	defer e.mu.Unlock()
	n, perr := e.parse(r.Header, body)
	var what struct{ Type string }
	if err := errors.Join(err, perr, json.Unmarshal(body, &what)); err != nil {
		e.problem = err
	}
	if e.refuse > 0 {
		e.refuse--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	e.heard = append(e.heard, n)
	e.kinds[n.Key+" "+what.Type]++
}

// hears waits until so many webhooks came.
func (e *ear) hears(t *testing.T, n int) []payment.Notice {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		e.mu.Lock()
		heard, problem := append([]payment.Notice{}, e.heard...), e.problem
		e.mu.Unlock()
		switch {
		case problem != nil:
			t.Fatal(problem)
		case len(heard) >= n:
			return heard
		case time.Now().After(deadline):
			t.Fatalf("%d webhooks came, want %d", len(heard), n)
		}
	}
}

// sending starts a sandbox that sends to an ear.
func sending(t *testing.T, f payment.Faults, refuse int) (*payment.Sandbox, *ear, func(sql string) int) {
	t.Helper()
	db := database(t)
	client := &http.Client{Transport: &http.Transport{}}
	g := payment.NewSandbox(db, time.Millisecond).WithOptions(payment.SandboxOptions{Faults: f, WebhookSecret: sandboxSecret, HTTP: client})
	e := &ear{parse: g.ParseWebhook, kinds: make(map[string]int), refuse: refuse}
	server := httptest.NewServer(e)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx, server.URL) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		client.CloseIdleConnections()
		server.Close()
	})
	return g, e, func(sql string) (n int) {
		if err := db.QueryRow(t.Context(), sql).Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
}

func TestSandboxSendsWebhooks(t *testing.T) {
	t.Parallel()
	g, e, count := sending(t, payment.Faults{}, 0)
	ctx, c, asked, refund := t.Context(), charge(payment.MethodOK), charge(payment.MethodRequiresAction), uuid.NewString()
	for _, c := range []payment.Charge{c, asked} {
		for range 2 { // once is enough
			if _, err := g.Authorise(ctx, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		if err := errors.Join(g.Capture(ctx, c.Key), g.Refund(ctx, refund, c.Key, 100)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(g.Act(ctx, asked.Key, true), g.Void(ctx, asked.Key), g.Void(ctx, asked.Key)); err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]bool)
	refunds := 0
	for _, n := range e.hears(t, 6) {
		ids[n.ID] = true
		if n.Refund == refund {
			refunds++
		}
	}
	want := map[string]int{
		c.Key + " payment.authorised": 1, c.Key + " payment.captured": 1, c.Key + " refund.done": 1,
		asked.Key + " payment.requires_action": 1, asked.Key + " payment.authorised": 1, asked.Key + " payment.voided": 1,
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !maps.Equal(e.kinds, want) || len(ids) != 6 || refunds != 1 {
		t.Errorf("%d ids, %d about the refund, of\n%v\nwant\n%v", len(ids), refunds, e.kinds, want)
	}
	waitFor(t, "sent webhooks are forgotten", func() bool { return count(`select count(*) from sandbox_webhooks`) == 0 })
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestSandboxWebhooksMisbehave: twice, late and lost, as they were asked to.
func TestSandboxWebhooksMisbehave(t *testing.T) {
	t.Parallel()
	authorise := func(t *testing.T, g *payment.Sandbox) {
		t.Helper()
		if _, err := g.Authorise(t.Context(), charge(payment.MethodOK)); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		g, e, _ := sending(t, payment.Faults{TwiceWebhook: 1}, 0)
		authorise(t, g)
		if heard := e.hears(t, 2); heard[0] != heard[1] {
			t.Errorf("two different ones: %v", heard)
		}
	})
	t.Run("late", func(t *testing.T) {
		t.Parallel()
		g, _, count := sending(t, payment.Faults{LateWebhook: 1, LateBy: time.Hour}, 0)
		authorise(t, g)
		if n := count(`select count(*) from sandbox_webhooks where due between now() and now() + interval '1 hour' and tries = 0`); n != 1 {
			t.Errorf("%d wait, want 1", n)
		}
	})
	t.Run("lost", func(t *testing.T) {
		t.Parallel()
		g, _, count := sending(t, payment.Faults{LoseWebhook: 1}, 0)
		authorise(t, g)
		if n := count(`select count(*) from sandbox_webhooks`); n != 0 {
			t.Errorf("%d wait, want none", n)
		}
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		g, e, count := sending(t, payment.Faults{}, 1)
		authorise(t, g)
		waitFor(t, "refused", func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.refuse == 0
		})
		if n := count(`select count(*) from sandbox_webhooks where tries = 1 and due > created_at + interval '5 s'`); n != 1 {
			t.Errorf("%d were put off, want 1", n)
		}
		// Time passes.
		count(`with w as (update sandbox_webhooks set due = now() returning 1) select count(*) from w`)
		e.hears(t, 1)
	})
}

func FuzzSandboxWebhook(f *testing.F) {
	g := payment.NewSandbox(nil, 0).WithOptions(payment.SandboxOptions{WebhookSecret: sandboxSecret})
	for _, seed := range []string{`{"id":"e","payment":"p","refund":"r"}`, `{}`, ``, `null`, `{"id":1}`} {
		f.Add("t=1,v1=00", []byte(seed))
		f.Add(payment.SignSandbox("another", time.Now(), []byte(seed)), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, signature string, body []byte) {
		if n, err := g.ParseWebhook(http.Header{payment.SandboxSignature: {signature}}, body); err == nil {
			t.Errorf("%q signs %q: %+v", signature, body, n)
		}
		n, err := g.ParseWebhook(http.Header{payment.SandboxSignature: {payment.SignSandbox(sandboxSecret, time.Now(), body)}}, body)
		if err == nil && (n.ID == "" || n.Key == "") || err != nil && !errors.Is(err, payment.ErrIgnored) {
			t.Errorf("a signed %q: %+v, %v", body, n, err)
		}
	})
}

// Without a secret, nothing can sign a webhook: not even an empty one.
func TestSandboxWithoutSecretTakesNoWebhooks(t *testing.T) {
	t.Parallel()
	body := []byte(`{"id":"e","payment":"p"}`)
	_, err := payment.NewSandbox(nil, 0).ParseWebhook(http.Header{payment.SandboxSignature: {payment.SignSandbox("", time.Now(), body)}}, body)
	if !errors.Is(err, payment.ErrSignature) {
		t.Errorf("error %v", err)
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
