package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"onsale/checkout"
	"onsale/checkout/payment"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
	"onsale/lua"
)

const (
	rowsAtOnce = 10
	// ending bounds how long after a failure every order is at its end. It takes up to a
	// minute, of which most are leases and pauses before something is tried again.
	ending = 2 * patience
	// mailLease is when the test lets the lease of an e-mail end whose worker died, which
	// takes two minutes otherwise.
	mailLease = 10 * time.Second
)

// row is one failure: what happens, and how the buyer's order ends.
type row struct {
	name string
	// at is the step where the program stands still until run lets it go on.
	at       string
	settings []string
	// shares tells that the row needs no program of its own.
	shares bool
	// own is whether it needs a Postgres of its own.
	own bool
	run func(r *trial)
	// ends are the statuses that the event's orders may have in the end, one of them
	// each; sold is the tickets that are sold then, -1 for whatever the statuses say.
	ends []string
	sold int
}

var (
	sold      = []string{"fulfilled"}
	unsold    = []string{"expired", "cancelled"}
	either    = []string{"fulfilled", "expired", "cancelled"}
	givenBack = []string{"refunded", "cancelled"}
)

// failures are all rows of the failure matrix.
func failures() (rows []row) {
	for _, step := range checkout.Steps {
		rows = append(rows,
			row{name: "killed/" + step + "/the buyer returns", settings: crashAt(step), run: killedAndBack, ends: sold, sold: 2},
			row{name: "killed/" + step + "/the buyer does not return", settings: append(crashAt(step), within(false)...), run: killedForGood, ends: either, sold: -1},
			row{name: "redis lost/" + step, at: step, run: redisLost, ends: sold, sold: 2},
			row{name: "event cancelled/" + step, at: step, run: calledOff, ends: givenBack},
		)
	}
	for step, then := range map[string]func(r *trial){
		checkout.StepCalledOff: (*trial).cancelsEvent, checkout.StepVoided: (*trial).givesUp, checkout.StepTakenBack: (*trial).refunds,
		checkout.StepRefunded: (*trial).refunds, checkout.StepRefundEnded: (*trial).refunds, checkout.StepExchanged: (*trial).exchanges,
	} {
		ends, left := givenBack, 0
		if step == checkout.StepExchanged {
			ends, left = sold, 2
		}
		rows = append(rows, row{name: "killed/" + step, settings: crashAt(step), run: killedLater(then), ends: ends, sold: left})
	}
	for _, c := range []struct {
		name, at, effect string
		then             func(r *trial)
		ends             []string
		sold             int
	}{
		{"create", checkout.StepPinned, `exists (select from orders where event_id = $1)`, nil, sold, 2},
		{"begin", checkout.StepOrdered, `exists (select from payments p join orders o on o.id = p.order_id where event_id = $1)`, nil, sold, 2},
		{"sale", checkout.StepAuthorised, `exists (select from orders where event_id = $1 and status in ('paid', 'fulfilled'))`, nil, sold, 2},
		{"captured", checkout.StepCaptured, `exists (select from orders where event_id = $1 and status = 'fulfilled')`, nil, sold, 2},
		{"refund", "", `exists (select from refunds r join orders o on o.id = r.order_id where event_id = $1)`, (*trial).refunds, givenBack, 0},
		{"exchange", "", `exists (select from order_items i join orders o on o.id = i.order_id where event_id = $1 and exchanged)`, (*trial).exchanges, sold, 2},
		{"refund done", checkout.StepRefunded, `exists (select from refunds r join orders o on o.id = r.order_id where event_id = $1 and r.status = 'done')`,
			(*trial).refunds, givenBack, 0},
		{"voided", checkout.StepVoided, `exists (select from payments p join orders o on o.id = p.order_id where event_id = $1 and p.status = 'voided')`,
			(*trial).givesUp, givenBack, 0},
	} {
		rows = append(rows, row{
			name: "commit unheard/" + c.name, at: c.at, run: commitUnheard(c.effect, c.then), ends: c.ends, sold: c.sold,
			// A webhook would bring the order further while the program stands still at c.at.
			settings: []string{"ONSALE_SANDBOX_WEBHOOKS=false"},
		})
	}
	for _, unheard := range []bool{false, true} {
		for _, step := range []string{checkout.StepPinned, checkout.StepAuthorised} {
			rows = append(rows, row{
				name: fmt.Sprintf("postgres killed at commit/after %s/it happened=%t", step, unheard), at: step, own: true,
				run: postgresKilled(unheard, restarted), ends: sold, sold: 2,
			}, row{
				name: fmt.Sprintf("postgres fails over at commit/after %s/it happened=%t", step, unheard), at: step, own: true,
				run: postgresKilled(unheard, failedOver), ends: sold, sold: 2,
			})
		}
	}
	for _, method := range payment.Methods {
		if method == payment.MethodRequiresAction {
			continue
		}
		rows = append(rows, row{name: "gateway/" + method, shares: true, ends: sold, sold: 2, run: func(r *trial) { r.buys(method, payment.MethodOK) }})
	}
	for seed := range 3 {
		rows = append(rows, row{
			name: fmt.Sprintf("gateway/bad luck, seed=%d", seed+1), run: badLuck, ends: either, sold: -1,
			settings: []string{
				"ONSALE_SANDBOX_FAULT_SHARE=0.5", fmt.Sprintf("ONSALE_SANDBOX_SEED=%d", seed+1), "ONSALE_CHECKOUT_PAY_WITHIN=30s",
			},
		})
	}
	return append(rows, []row{
		{name: "gateway/the buyer never answers the bank", ends: unsold, run: func(r *trial) {
			r.buys(payment.MethodRequiresAction)
			r.timeIsOver()
		}},
		{name: "gateway/the buyer answers the bank", shares: true, ends: sold, sold: 2, run: func(r *trial) {
			r.buys(payment.MethodRequiresAction)
			if err := r.bank().Act(r.t.Context(), r.payment(), true); err != nil {
				r.t.Fatal(err)
			}
		}},
		{name: "gateway/the buyer answers the bank too late", ends: unsold, run: answersLate},
		{name: "gateway/the void fails", at: checkout.StepAuthorised, ends: givenBack, run: func(r *trial) {
			r.methods = []string{payment.MethodVoidFailsOnce}
			calledOff(r)
		}},
		{name: "gateway/the refund fails", shares: true, ends: givenBack, run: func(r *trial) {
			r.buys(payment.MethodRefundFailsOnce)
			r.refunds()
		}},
		{name: "client/double click", shares: true, ends: sold, sold: 2, run: tabs(true)},
		{name: "client/two tabs", shares: true, ends: sold, sold: 2, run: tabs(false)},
		{name: "client/every answer is lost once", shares: true, ends: sold, sold: 2, run: answersLost},
		{name: "client/never comes back", ends: unsold, run: func(r *trial) {
			r.orders()
			r.timeIsOver()
		}},
		{name: "client/the hold lapses while paying", at: checkout.StepAuthorised, ends: sold, sold: 2, run: func(r *trial) {
			r.meanwhile(func() { r.claimLapses() })
		}},
		{name: "client/the hold lapses before paying, and somebody has the tickets", at: checkout.StepPinned, run: overtaken,
			ends: []string{"fulfilled", "cancelled"}, sold: 2},
	}...)
}

func crashAt(step string) []string { return []string{"ONSALE_CRASH_AT=" + step} }

// within makes what happens by itself happen within the test, and leaves a
// buyer who returns the time to pay.
func within(returns bool) []string {
	if returns {
		return []string{"ONSALE_CHECKOUT_PAY_WITHIN=15m", "ONSALE_CHECKOUT_HOLD_TTL=15m"}
	}
	return []string{"ONSALE_CHECKOUT_PAY_WITHIN=20s", "ONSALE_CHECKOUT_HOLD_TTL=20s"}
}

// TestFailureMatrix sells tickets while everything fails that can, one thing at a time
// and at every step, with the real program and real servers. Whatever it is, every
// order ends well by itself, and all books agree.
//
//nolint:paralleltest // it is many at once already: tests that measure times come after it
func TestFailureMatrix(t *testing.T) {
	// Not t.Parallel, which has as many at once as there are processors: most of a row is
	// waiting for what happens by itself.
	var g errgroup.Group
	g.SetLimit(rowsAtOnce)
	shared := newTrial(t, row{settings: []string{"ONSALE_CHECKOUT_GATEWAY_TIMEOUT=2s"}}) // tok_slow takes longer
	rows := failures()
	for _, f := range rows {
		g.Go(func() error {
			t.Run(f.name, func(t *testing.T) {
				var r *trial
				if f.shares {
					r = shared.onSame(t)
				} else {
					r = newTrial(t, f)
				}
				r.enters()
				f.run(r)
				r.ends(f)
			})
			return nil
		})
	}
	_ = g.Wait() // failures are t's
}

// trial is one row while it runs.
type trial struct {
	*site
	t        *testing.T
	cache    *stack.Redis
	server   *stack.Postgres  // nil unless its own
	network  *stacktest.Proxy // between the program and Postgres
	truth    *stacktest.Proxy // between the test and Postgres
	at       string
	settings []string
	stopped  string // the file that is there while the program stands still
	mails    string
	now      *atomic.Pointer[node]

	methods                    []string // to pay with, one after the other
	event, pass, hold, order   string
	orderKey, payKey, adminKey string
	crashes                    bool
}

func newTrial(t *testing.T, f row) *trial {
	t.Helper()
	r := &trial{t: t, at: f.at, now: new(atomic.Pointer[node]), mails: t.TempDir(),
		crashes: len(f.settings) > 0 && f.at == "" || f.own || strings.HasPrefix(f.name, "commit unheard/")}
	var address string
	if f.own {
		r.server = stacktest.OwnPostgres(t, stack.PostgresOptions{Dir: t.TempDir()})
		address = r.server.URL()
		if err := migrate(t.Context(), address); err != nil {
			t.Fatal(err)
		}
	} else {
		address = stacktest.Database(t, migrate)
	}
	r.cache = stacktest.OwnRedis(t, stack.RedisOptions{Forget: true})
	r.truth = stacktest.NewProxy(t, address)
	r.site = newSite(t, r.cache.URL(), r.truth.URL())
	r.network = stacktest.NewProxy(t, address)
	r.site.postgres = r.network.URL()
	r.settings = append(within(true), "ONSALE_MAIL_SMTP_URL=file://"+r.mails, "ONSALE_MAIL_FROM=Tickets <tickets@example.org>")
	first := append(slices.Clone(r.settings), f.settings...)
	r.settings = append(r.settings, slices.DeleteFunc(slices.Clone(f.settings), func(s string) bool { return s == "" || slices.Contains(crashes, s) })...)
	if f.at != "" {
		r.stopped = filepath.Join(t.TempDir(), "stopped")
		first = append(first, "ONSALE_CRASH_STOP_AT="+f.at, "ONSALE_CRASH_STOP_FILE="+r.stopped)
	}
	r.now.Store(r.site.start(t, first...))
	return r
}

// crashes are the settings that the program is not started with a second time.
var crashes = func() (all []string) {
	for _, step := range slices.Concat(checkout.Steps, checkout.LaterSteps) {
		all = append(all, crashAt(step)...)
	}
	return all
}()

// onSame lets another row use the same program.
func (r *trial) onSame(t *testing.T) *trial {
	other := *r
	other.t, other.now = t, new(atomic.Pointer[node])
	n := *r.now.Load()
	n.t = t
	other.now.Store(&n)
	return &other
}

func (r *trial) node() *node { return r.now.Load() }

// enters lets the buyer hold two tickets of a new event.
func (r *trial) enters() {
	n := r.node()
	r.event = n.event(10, nil)
	r.pass = n.enter(r.event, n.join(r.event))
	r.hold = n.hold(r.event, r.pass, 2)
	r.orderKey, r.payKey, r.adminKey = uuid.NewString(), uuid.NewString(), uuid.NewString()
}

// ask sends a request until it has a clear answer.
func (r *trial) ask(method, path, token, key string, body any) (a answer) {
	var err error
	if !poll(ending, func() bool {
		a, err = r.node().try(method, path, token, key, body)
		return err == nil && a.status < http.StatusBadGateway && a.code() != "idempotency-in-flight"
	}) {
		r.t.Errorf("%s %s has no answer: %s, %v", method, path, a, err)
	}
	return a
}

// orders makes the buyer's order.
func (r *trial) orders() bool {
	a := r.ask("POST", "/v1/orders", r.pass, r.orderKey, orderBody(r.hold))
	if r.order = a.str("order"); a.status != http.StatusCreated {
		r.order = ""
	}
	return r.order != ""
}

// buys orders and pays as a page does: it asks again with the same keys until there is
// a clear answer, looks at the order, and pays with the next method if that failed.
func (r *trial) buys(methods ...string) (status string) {
	if len(methods) == 0 {
		methods = slices.Concat(r.methods, []string{payment.MethodOK})
	}
	if !r.orders() {
		return ""
	}
	next := func() {
		r.payKey = uuid.NewString()
		methods = methods[min(1, len(methods)-1):]
	}
	poll(ending, func() bool {
		a := r.ask("GET", "/v1/orders/"+r.order, r.pass, "", nil)
		status = a.str("status")
		switch {
		case status == "payment_unknown":
			return false
		case status != "awaiting_payment" && status != "declined":
			return true
		case status == "awaiting_payment" && a.str("payment", "next_action", "url") != "":
			return true
		}
		if a, err := r.node().try("POST", "/v1/orders/"+r.order+"/pay", r.pass, r.payKey, map[string]any{"method": methods[0]}); err == nil {
			switch {
			case a.status == http.StatusOK && a.str("status") == "declined", a.code() == "gateway-unavailable", a.code() == "idempotency-in-flight":
				next() // it is known to have failed
			case a.status == http.StatusOK, a.code() == "conflict", a.code() == "tickets-taken", a.status == http.StatusServiceUnavailable:
			default:
				r.t.Errorf("pay: %s", a)
				return true
			}
		}
		return false
	})
	return status
}

// meanwhile has the buyer buy, and does something while the program stands still at
// the row's step.
func (r *trial) meanwhile(do func()) {
	r.t.Helper()
	r.standing(func() { r.buys() }, do)
}

func (r *trial) standing(act, do func()) {
	r.t.Helper()
	var acting sync.WaitGroup
	acting.Go(act)
	defer acting.Wait()
	there := func() bool { _, err := os.Stat(r.stopped); return err == nil }
	r.node().until(patience, "the program stands still", there)
	defer func() {
		if err := os.Remove(r.stopped); err != nil {
			r.t.Error(err)
		}
	}()
	do()
}

// restarts starts the program again when it has killed itself.
func (r *trial) restarts() {
	r.t.Helper()
	r.node().wait()
	r.now.Store(r.site.start(r.t, r.settings...))
}

func killedAndBack(r *trial) {
	var buying sync.WaitGroup
	buying.Go(func() { r.buys() })
	defer buying.Wait()
	r.restarts()
}

func killedForGood(r *trial) {
	if a, err := r.node().try("POST", "/v1/orders", r.pass, r.orderKey, orderBody(r.hold)); err == nil {
		r.order = a.str("order")
		// The answer may be lost or not: the crash races it.
		_, _ = r.node().try("POST", "/v1/orders/"+r.order+"/pay", r.pass, r.payKey, map[string]any{"method": payment.MethodOK})
	}
	r.restarts()
}

// killedLater kills the program after a purchase.
func killedLater(then func(r *trial)) func(r *trial) {
	return func(r *trial) {
		var acting sync.WaitGroup
		acting.Go(func() { then(r) })
		defer acting.Wait()
		r.restarts()
	}
}

// isFulfilled buys and waits for the tickets.
func (r *trial) isFulfilled() {
	if r.order == "" {
		r.buys()
	}
	poll(ending, func() bool {
		return r.ask("GET", "/v1/orders/"+r.order, r.pass, "", nil).str("status") == "fulfilled"
	})
}

func (r *trial) cancelsEvent() {
	r.isFulfilled()
	r.ask("POST", "/v1/admin/events/"+r.event+"/cancel", adminToken, "", map[string]any{"reason": "rain"})
}

func (r *trial) refunds() {
	r.isFulfilled()
	if a := r.ask("POST", "/v1/admin/orders/"+r.order+"/refund", adminToken, r.adminKey, map[string]any{"reason": "rain"}); a.status != http.StatusOK {
		r.t.Errorf("refund: %s", a)
	}
}

func (r *trial) exchanges() {
	r.isFulfilled()
	mine, other := "", ""
	err := r.db.QueryRow(r.t.Context(), `select (select id::text from tickets where order_id = $1 order by ordinal limit 1),
		(select id::text from tickets where event_id = $2 and status = 'available' order by ordinal desc limit 1)`, r.order, r.event).Scan(&mine, &other)
	if err != nil {
		r.t.Error(err)
		return
	}
	a := r.ask("POST", "/v1/admin/orders/"+r.order+"/exchange", adminToken, r.adminKey, map[string]any{"tickets": []string{mine}, "to": []string{other}})
	if a.status != http.StatusOK {
		r.t.Errorf("exchange: %s", a)
	}
}

// givesUp cancels an order whose payment waits for the buyer.
func (r *trial) givesUp() {
	r.buys(payment.MethodRequiresAction)
	if a := r.ask("POST", "/v1/orders/"+r.order+"/cancel", r.pass, "", map[string]any{}); a.status != http.StatusOK {
		r.t.Errorf("cancel: %s", a)
	}
}

func redisLost(r *trial) {
	r.meanwhile(func() {
		if err := r.cache.Kill(); err != nil {
			r.t.Fatal(err)
		}
		if err := r.cache.Restart(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	})
}

func calledOff(r *trial) {
	r.meanwhile(func() {
		r.node().call(http.StatusAccepted, "POST", "/v1/admin/events/"+r.event+"/cancel", adminToken, "", map[string]any{"reason": "rain"})
		if r.at == checkout.StepPinned { // there is no order yet: it comes when all that were there are at their end
			r.node().until(patience, "the cancellation is over", func() bool {
				return query[bool](r.t, r.site, `select exists (select from event_cancellations where event_id = $1 and finished_at is not null)`, r.event)
			})
		}
	})
}

// commitUnheard loses what Postgres says to every COMMIT until one has had the effect.
func commitUnheard(effect string, then func(r *trial)) func(r *trial) {
	return func(r *trial) {
		deaf := func() { r.network.Set(stacktest.Faults{LoseCommits: true}) }
		act := func() { r.buys() }
		switch {
		case then != nil && r.stopped == "":
			r.isFulfilled()
			deaf()
			fallthrough
		case then != nil:
			act = func() { then(r) }
		}
		var acting sync.WaitGroup
		if r.stopped == "" {
			acting.Go(act)
		} else {
			acting.Go(func() { r.standing(act, deaf) })
		}
		r.isCommitted(effect)
		// It may be seen before its answer comes to where it is lost.
		if !poll(patience, func() bool { return r.network.Lost() > 0 }) {
			r.t.Error("no answer was lost")
		}
		r.network.Set(stacktest.Faults{})
		acting.Wait()
	}
}

// isCommitted waits until something is so in Postgres. The test goes on if it does not
// come to be: somebody acts meanwhile.
func (r *trial) isCommitted(effect string) {
	r.t.Helper()
	if !poll(patience, func() bool { return query[bool](r.t, r.site, `select `+effect, r.event) }) {
		r.t.Errorf("it was not committed: %s", effect)
	}
}

// postgresKilled kills Postgres as a COMMIT arrives, or when it has happened and
// nobody knows. prepare returns how there is one again.
func postgresKilled(unheard bool, prepare func(r *trial) (again func())) func(r *trial) {
	return func(r *trial) {
		again := prepare(r)
		killed := make(chan struct{})
		var once sync.Once
		kill := func() {
			once.Do(func() {
				if err := r.server.Kill(); err != nil {
					r.t.Error(err)
				}
				close(killed)
			})
		}
		var acting sync.WaitGroup
		acting.Go(func() {
			r.meanwhile(func() {
				if unheard {
					r.network.Set(stacktest.Faults{LoseCommits: true})
				} else {
					r.network.Set(stacktest.Faults{AtCommit: kill})
				}
			})
		})
		if unheard {
			effect := `exists (select from orders where event_id = $1)`
			if r.at == checkout.StepAuthorised {
				effect = `exists (select from orders where event_id = $1 and status in ('paid', 'fulfilled'))`
			}
			r.isCommitted(effect)
			kill()
		}
		<-killed
		r.network.Set(stacktest.Faults{})
		again()
		acting.Wait()
	}
}

// restarted starts Postgres again: it recovers by itself.
func restarted(r *trial) (again func()) {
	return func() {
		if err := r.server.Restart(r.t.Context()); err != nil {
			r.t.Error(err)
		}
	}
}

// failedOver lets a standby, which confirms every COMMIT, take over.
func failedOver(r *trial) (again func()) {
	r.t.Helper()
	ctx := r.t.Context()
	standby := stacktest.Standby(r.t, r.server, true)
	return func() {
		conn, err := pgx.Connect(ctx, standby.URL())
		if err == nil {
			_, err = conn.Exec(ctx, `select pg_promote()`)
			_ = conn.Close(ctx)
		}
		if err != nil {
			r.t.Error(err)
		}
		for _, p := range []*stacktest.Proxy{r.network, r.truth} {
			p.Lead(r.t, standby.URL())
			p.Cut()
		}
		r.db.Reset()
	}
}

// badLuck has some buyers buy at a gateway at which everything goes wrong by chance.
func badLuck(r *trial) {
	var buying sync.WaitGroup
	for range 4 {
		other := r.onSame(r.t)
		n := r.node()
		other.pass = n.enter(r.event, n.join(r.event))
		other.hold = n.hold(r.event, other.pass, 1)
		other.orderKey, other.payKey = uuid.NewString(), uuid.NewString()
		buying.Go(func() { other.buys() })
	}
	r.buys()
	buying.Wait()
}

// bank is where buyers confirm payments.
func (r *trial) bank() *payment.Sandbox { return payment.NewSandbox(r.db, 0) }

func (r *trial) payment() string {
	return query[string](r.t, r.site, `select id::text from payments where order_id = $1 order by attempt desc limit 1`, r.order)
}

func answersLate(r *trial) {
	r.buys(payment.MethodRequiresAction)
	id := r.payment()
	// The bank has it still open when the order is given up here.
	if _, err := r.db.Exec(r.t.Context(), `update sandbox_payments set void_failures = 3 where id = $1`, id); err != nil {
		r.t.Fatal(err)
	}
	r.timeIsOver()
	r.node().until(ending, "the order has expired", func() bool {
		return query[string](r.t, r.site, `select status from orders where id = $1`, r.order) == "expired"
	})
	if err := r.bank().Act(r.t.Context(), id, true); err != nil {
		r.t.Fatal(err)
	}
}

// timeIsOver ends the time to pay the buyer's order, which waits for that.
func (r *trial) timeIsOver() {
	r.t.Helper()
	tag, err := r.db.Exec(r.t.Context(), `update orders set pay_by = now() where id = $1 and status = 'awaiting_payment'`, r.order)
	if err != nil || tag.RowsAffected() != 1 {
		r.t.Fatalf("the order %q does not wait for its payment: %v", r.order, err)
	}
}

// tabs pays in several tabs at once, with one key or with others.
func tabs(same bool) func(r *trial) {
	return func(r *trial) {
		others := make([]*trial, 3)
		var buying sync.WaitGroup
		for i := range others {
			o := *r
			if !same {
				o.orderKey, o.payKey = uuid.NewString(), uuid.NewString()
			}
			others[i] = &o
			buying.Go(func() { o.buys() })
		}
		buying.Wait()
		for _, o := range others {
			if o.order == "" || o.order != others[0].order {
				r.t.Errorf("the tabs have the orders %q and %q", others[0].order, o.order)
			}
		}
	}
}

// answersLost loses the first answer to every request on its way to the buyer.
func answersLost(r *trial) {
	n := *r.node()
	p := stacktest.NewProxy(r.t, n.url)
	n.url = p.URL()
	once := func(path, key string, body any) (before, after answer) {
		p.Set(stacktest.Faults{LoseReply: 1})
		if a, err := n.try("POST", path, r.pass, key, body); err == nil {
			r.t.Errorf("POST %s: %s; its answer was to be lost", path, a)
		}
		p.Set(stacktest.Faults{})
		before = r.ask("POST", path, r.pass, key, body)
		return before, r.ask("POST", path, r.pass, key, body)
	}
	a, b := once("/v1/orders", r.orderKey, orderBody(r.hold))
	if r.order = a.str("order"); r.order == "" || b.str("order") != r.order {
		r.t.Fatalf("the same key gave %s and %s", a, b)
	}
	a, b = once("/v1/orders/"+r.order+"/pay", r.payKey, map[string]any{"method": payment.MethodOK})
	if a.status != http.StatusOK || b.status != http.StatusOK || a.str("order") != b.str("order") {
		r.t.Errorf("the same key gave %s and %s", a, b)
	}
}

// claimLapses lets the time of the order's claim be over.
func (r *trial) claimLapses() {
	if _, err := r.db.Exec(r.t.Context(), `update tickets set reserved_until = now() - interval '1 second' where event_id = $1 and status = 'reserved'`, r.event); err != nil {
		r.t.Fatal(err)
	}
}

// overtaken lets somebody else buy the tickets when the buyer's time is over: they had
// a hold, too, which they got when Redis had forgotten the buyer's.
func overtaken(r *trial) {
	n := r.node()
	rival := r.onSame(r.t)
	rival.pass = n.enter(r.event, n.join(r.event))
	rival.orderKey, rival.payKey = uuid.NewString(), uuid.NewString()
	r.standing(func() { r.orders() }, func() {
		r.forget()
		tickets := query[[]string](r.t, r.site, `select array_agg(id::text) from tickets where event_id = $1 and ordinal < 2`, r.event)
		rival.hold = n.call(http.StatusCreated, "POST", "/v1/events/"+r.event+"/holds", rival.pass, "", map[string]any{"tickets": tickets}).str("hold")
	})
	r.claimLapses()
	if status := rival.buys(); !isSold(status) {
		r.t.Errorf("the order of somebody else is %q", status)
	}
	if status := r.buys(); status != "cancelled" {
		r.t.Errorf("the order whose tickets are gone is %q", status)
	}
}

// forget makes Redis forget the event's holds.
func (r *trial) forget() {
	rdb := r.rdb()
	defer func() { _ = rdb.Close() }()
	for _, pattern := range []string{"inv:{" + r.event + "}:*", "hold:{" + r.event + "}:*"} {
		keys, err := rdb.Keys(r.t.Context(), pattern).Result()
		if err == nil && len(keys) > 0 {
			err = rdb.Del(r.t.Context(), keys...).Err()
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *trial) rdb() *redis.Client {
	o, err := redis.ParseURL(r.site.redis)
	if err != nil {
		r.t.Fatal(err)
	}
	return redis.NewClient(o)
}

// ends waits until everything about the row's event is at its end, and holds all
// books against each other.
func (r *trial) ends(f row) {
	r.t.Helper()
	began := time.Now()
	open := ""
	if !poll(ending, func() bool {
		if time.Since(began) > mailLease {
			_ = query[int](r.t, r.site, `
				with late as (update emails m set next_at = now() - interval '1 minute' from orders o
					where o.id = m.order_id and o.event_id = $1 and m.status = 'sending' and m.next_at > now() returning 1),
				jobs as (update river_job set scheduled_at = now()
					where kind = 'send_email' and state in ('scheduled', 'retryable') and scheduled_at > now() returning 1)
				select count(*) from late, jobs`, r.event)
		}
		open = query[string](r.t, r.site, `select concat_ws('; ',
			(select string_agg('order '||status, ', ') from orders where event_id = $1
				and status in ('awaiting_payment', 'payment_unknown', 'declined', 'paid')),
			(select string_agg('payment '||p.status||' '||p.last_error, ', ') from payments p join orders o on o.id = p.order_id
				where event_id = $1 and p.look_at is not null),
			(select string_agg('refund '||r.last_error, ', ') from refunds r join orders o on o.id = r.order_id where event_id = $1 and r.status <> 'done'),
			(select string_agg('e-mail '||m.kind||' '||m.status||' '||m.last_error, ', ') from emails m join orders o on o.id = m.order_id
				where event_id = $1 and m.status in ('pending', 'sending')),
			(select 'cancellation' from event_cancellations where event_id = $1 and finished_at is null))`, r.event)
		return open == ""
	}) {
		r.t.Fatalf("after %s this is not at its end: %s", ending, open)
	}
	r.t.Logf("at its end %s after the last answer", time.Since(began).Round(100*time.Millisecond))
	for what, sql := range theBooks {
		if n := query[int](r.t, r.site, sql, r.event); n != 0 {
			r.t.Errorf("%d %s", n, what)
		}
	}
	statuses := query[[]string](r.t, r.site, `select coalesce(array_agg(status order by status), '{}') from orders where event_id = $1`, r.event)
	for _, status := range statuses {
		if !slices.Contains(f.ends, status) {
			r.t.Errorf("an order is %s, want one of %v", status, f.ends)
		}
	}
	if n := query[int](r.t, r.site, `select count(*) from tickets where event_id = $1 and status = 'purchased'`, r.event); f.sold >= 0 && n != f.sold {
		r.t.Errorf("%d tickets are sold, want %d; the orders are %v", n, f.sold, statuses)
	}
	r.wantMails()
	r.wantMap()
}

// theBooks is what must be true of an event's money and tickets in the end.
var theBooks = map[string]string{
	"tickets were sold twice": `select count(*) from (select i.ticket_id from order_items i join tickets t on t.id = i.ticket_id
		where t.event_id = $1 and i.sold group by 1 having count(*) > 1) x`,
	"tickets lack in orders that were sold": `select count(*) from orders o join order_items i on i.order_id = o.id join tickets t on t.id = i.ticket_id
		where o.event_id = $1 and o.status in ('fulfilled', 'partially_refunded') and i.returned_at is null
		and (t.status <> 'purchased' or t.order_id is distinct from o.id or not i.sold)`,
	"tickets do not have one admission each": `select count(*) from orders o join order_items i on i.order_id = o.id
		where o.event_id = $1 and (o.status in ('fulfilled', 'partially_refunded') and i.returned_at is null)::int <>
		(select count(*) from admissions a where a.order_id = o.id and a.ticket_id = i.ticket_id and a.ended_at is null)`,
	"tickets are taken without an order": `select count(*) from tickets t left join orders o on o.id = t.order_id
		where t.event_id = $1 and t.status <> 'available' and (o.status is null or o.status not in ('fulfilled', 'partially_refunded'))`,
	"orders were paid otherwise than they are worth": `select count(*) from orders o where o.event_id = $1 and
		case when o.status in ('fulfilled', 'partially_refunded') then o.total_amount - o.refunded_amount else 0 end <>
		(select coalesce(sum(g.captured - g.refunded), 0) from payments p join sandbox_payments g on g.id = p.id::text where p.order_id = o.id)`,
	"orders were charged more than once": `select count(*) from (select p.order_id from payments p join orders o on o.id = p.order_id
		join sandbox_payments g on g.id = p.id::text where o.event_id = $1 and g.captured > 0 group by 1 having count(*) > 1) x`,
	"charges were taken without a sale": `select count(*) from payments p join orders o on o.id = p.order_id join sandbox_payments g on g.id = p.id::text
		where o.event_id = $1 and g.captured > 0 and not exists (select from order_events e where e.order_id = o.id and e.status = 'paid')`,
	"authorisations are kept": `select count(*) from payments p join orders o on o.id = p.order_id join sandbox_payments g on g.id = p.id::text
		where o.event_id = $1 and g.status in ('authorised', 'requires_action')`,
	"payments are other here than there": `select count(*) from payments p join orders o on o.id = p.order_id left join sandbox_payments g on g.id = p.id::text
		where o.event_id = $1 and (p.status in ('captured', 'refunded')) <> coalesce(g.status = 'captured', false)
		and not (p.status = 'voided' and g.refunded = g.captured)`,
	"paid orders were not announced once": `select count(*) from orders o where o.event_id = $1 and
		exists (select from order_events e where e.order_id = o.id and e.status = 'paid')::int <>
		(select count(*) from announcements a where a.subject = o.id::text and a.type = 'order.paid')`,
	"fulfilled orders were not announced once": `select count(*) from orders o where o.event_id = $1 and
		exists (select from order_events e where e.order_id = o.id and e.status = 'fulfilled')::int <>
		(select count(*) from announcements a where a.subject = o.id::text and a.type = 'order.fulfilled')`,
	"fulfilled orders do not have one confirmation": `select count(*) from orders o where o.event_id = $1 and
		exists (select from order_events e where e.order_id = o.id and e.status = 'fulfilled')::int <>
		(select count(*) from emails m where m.once = 'confirmation:' || o.id)`,
	"confirmations of fulfilled orders were not sent": `select count(*) from orders o join emails m on m.order_id = o.id
		where o.event_id = $1 and o.status = 'fulfilled' and m.kind = 'confirmation' and m.status <> 'sent'`,
}

// wantMails holds the e-mails that were written against those that were sent. A folder
// replaces an e-mail that is sent again: their number tells how often buyers hear of
// something.
func (r *trial) wantMails() {
	r.t.Helper()
	for _, id := range query[[]string](r.t, r.site, `select coalesce(array_agg(m.id::text), '{}') from emails m join orders o on o.id = m.order_id
		where o.event_id = $1 and m.status = 'sent'`, r.event) {
		files, err := filepath.Glob(filepath.Join(r.mails, "*"+id+"*.eml"))
		if err != nil || len(files) != 1 {
			r.t.Errorf("the e-mail %s was written to %v, %v", id, files, err)
		}
	}
	if n := query[int](r.t, r.site, `select coalesce(max(m.attempts), 0) from emails m join orders o on o.id = m.order_id
		where o.event_id = $1 and m.kind = 'confirmation'`, r.event); n > 1 && !r.crashes {
		r.t.Errorf("a confirmation was sent %d times", n)
	}
}

// wantMap waits until the live inventory says what Postgres says.
func (r *trial) wantMap() {
	r.t.Helper()
	rdb := r.rdb()
	defer func() { _ = rdb.Close() }()
	truth, live := "", ""
	if !poll(patience, func() bool {
		truth = query[string](r.t, r.site, `select string_agg(case status when 'available' then 'A' when 'purchased' then 'S' else 'H' end, '' order by ordinal)
			from tickets where event_id = $1`, r.event)
		var err error
		if live, err = rdb.Get(r.t.Context(), lua.StatusKey(r.event)).Result(); err != nil {
			live = err.Error()
		}
		return live == truth
	}) {
		r.t.Errorf("the live map shows %s and Postgres has %s", live, truth)
	}
}
