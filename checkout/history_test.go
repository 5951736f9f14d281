package checkout_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"onsale/checkout"
	"onsale/checkout/payment"
	"onsale/internal/fault"
	"onsale/internal/stack/stacktest"
)

var (
	historySeed  = flag.Uint64("history.seed", 0, "record histories with the choices of this seed only")
	historyCount = flag.Int("history.count", 40, "how many histories are recorded")
)

const (
	historyLasts    = 700 * time.Millisecond
	historiesAtOnce = 8               // they wait most of the time
	checkWithin     = 5 * time.Minute // it takes milliseconds
)

// TestHoldsAreLinearizable lets buyers with several tabs collide on six tickets,
// on a network that loses requests and answers and with some who stop for longer
// than their hold lives, and records what the stores answered to the service. All
// of it must be explained by one order of the calls in which every call takes place
// between its beginning and its end, every hold ends when it was said to, and no
// ticket is anybody's that is somebody else's. See ticket.step for the rules.
//
// What is recorded are the calls of the stores: they are the points where something
// is decided, and begin later and end earlier than what the client sees. That the
// client is told what the deciding call answered is compared call by call.
//
// A seed makes the clients choose the same again, but not the scheduler.
func TestHoldsAreLinearizable(t *testing.T) {
	t.Parallel()
	db := historyDatabase(t)
	seeds := []uint64{*historySeed}
	if *historySeed == 0 {
		seeds = seeds[:0]
		for range *historyCount {
			seeds = append(seeds, rand.Uint64N(1e12))
		}
	}
	var mu sync.Mutex
	outcomes := make(map[string]int)
	run := func(seeds []uint64) {
		var g errgroup.Group
		g.SetLimit(historiesAtOnce)
		for _, seed := range seeds {
			g.Go(func() error {
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
					c := record(t, db, seed, seed%2 == 1)
					mu.Lock()
					for what, n := range c.outcomes() {
						outcomes[what] += n
					}
					mu.Unlock()
					result, info := c.check()
					if result != porcupine.Ok {
						t.Errorf("the history is %s; it is drawn in %s; again with: go test ./checkout -run TestHoldsAreLinearizable -history.seed=%d\n%s",
							result, draw(t, info), seed, unexplained(c.operations(), info))
					}
					for _, trouble := range c.troubles {
						t.Error(trouble)
					}
				})
				return nil
			})
		}
		_ = g.Wait() // failures are t's
	}
	run(seeds)
	defer func() { t.Logf("what came of the calls: %v", outcomes) }()
	if len(seeds) < 20 {
		return
	}
	// What never happened was not tested. On a busy machine less happens in each history.
	missing := func() (never []string) {
		for _, what := range []string{
			"hold", "hold taken over", "hold tickets-taken", "hold unavailable", "change", "change tickets-taken", "change hold-lapsed",
			"change forbidden", "change conflict", "get", "get hold-lapsed", "get forbidden", "extend", "extend hold-lapsed",
			"extend forbidden", "pin", "pin hold-lapsed", "pin forbidden", "release", "release forbidden", "release conflict",
			"claim", "claim again", "claim hold-lapsed", "sell", "free", "settle", "sweep", "look",
		} {
			if outcomes[what] == 0 {
				never = append(never, what)
			}
		}
		return never
	}
	for more := 0; more < 20 && len(missing()) > 0 && !t.Failed(); more++ {
		some := make([]uint64, historiesAtOnce)
		for i := range some {
			some[i] = rand.Uint64N(1e12)
		}
		run(some)
	}
	for _, what := range missing() {
		t.Errorf("no call ended as %q", what)
	}
}

func historyDatabase(t *testing.T) *pgxpool.Pool {
	t.Helper()
	o, err := pgxpool.ParseConfig(stacktest.Database(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	o.MaxConns = 4 * historiesAtOnce
	db, err := pgxpool.NewWithConfig(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// draw makes a page of a history that is there after the test, to be looked at.
func draw(t *testing.T, info porcupine.LinearizationInfo) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "onsale-history-")
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "history.html")
	if err := porcupine.VisualizePath(holdModel, info, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// unexplained tells of a ticket where the longest order that explains calls ends.
func unexplained(ops []porcupine.Operation, info porcupine.LinearizationInfo) string {
	for n, of := range holdModel.Partition(ops) {
		var longest []porcupine.Operation
		for _, some := range info.PartialLinearizationsOperations()[n] {
			if len(some) > len(longest) {
				longest = some
			}
		}
		if len(longest) == len(of) {
			continue
		}
		var lines []string
		state := ticket{}
		done := make(map[*act]bool)
		for _, op := range longest {
			state, _ = state.step(op.Input.(one))
			done[op.Input.(one).act] = true
			lines = append(lines, fmt.Sprintf("%s\n    %s", op.Input, state))
		}
		lines = append(lines[max(0, len(lines)-12):], "none of these can be next:")
		rest := slices.DeleteFunc(slices.Clone(of), func(op porcupine.Operation) bool { return done[op.Input.(one).act] })
		first := slices.MinFunc(rest, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
		for _, op := range rest {
			if op.Call <= first.Return {
				lines = append(lines, op.Input.(one).String())
			}
		}
		return strings.Join(lines, "\n")
	}
	return ""
}

// chronicle is the history of one event, and who is in it.
type chronicle struct {
	*house

	began   time.Time
	ttl     time.Duration // of a hold
	tickets []int
	names   map[string]string // visitor → name, with which the ids of their holds begin

	mu       sync.Mutex
	acts     []*act
	ids      []string          // of holds
	ordered  map[string][]int  // order → tickets
	payments map[string]string // payment → order
	troubles []string          // what is wrong besides the order of calls
	pauses   *rand.Rand        // by mu
}

func (c *chronicle) now() int64 { return int64(time.Since(c.began)) }

// at translates a time of Redis, which has no monotonic part.
func (c *chronicle) at(t time.Time) int64 { return t.UnixNano() - c.began.UnixNano() }

func (c *chronicle) troublef(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.troubles = append(c.troubles, fmt.Sprintf(format, args...))
}

// outcomes counts what came of calls.
func (c *chronicle) outcomes() map[string]int {
	n := make(map[string]int)
	had := make(map[int]*act)
	for _, a := range c.acts {
		what := string(a.verb)
		switch {
		case a.code != "":
			what += " " + string(a.code)
		case a.verb == claim && !a.isNew:
			what += " again"
		case a.verb == makeHold:
			for _, o := range a.got {
				if before := had[o]; before != nil && before.hold != a.hold && before.end < a.back {
					n["hold taken over"]++
				}
				had[o] = a
			}
		}
		n[what]++
	}
	return n
}

// check looks for an order of the calls that explains them.
func (c *chronicle) check() (porcupine.CheckResult, porcupine.LinearizationInfo) {
	return porcupine.CheckOperationsVerbose(holdModel, c.operations(), checkWithin)
}

// operations are the calls, one for each ticket that they concern.
func (c *chronicle) operations() []porcupine.Operation {
	in := make(map[string][]int) // hold → tickets that it may have had
	rows := 0
	for _, a := range c.acts {
		in[a.hold] = append(append(in[a.hold], a.asked...), a.got...)
		rows = max(rows, a.client+1)
	}
	var ops []porcupine.Operation
	for _, a := range c.acts {
		concerns := slices.Concat(a.asked, a.dropped, a.got, a.named)
		if a.hold != "" {
			concerns = append(concerns, in[a.hold]...)
		}
		if a.verb == sweep || a.verb == look {
			concerns = slices.Clone(c.tickets)
		}
		op := porcupine.Operation{ClientId: a.client, Call: a.call, Return: a.back}
		if a.unknown() {
			op.Return = forever
			op.ClientId, rows = rows, rows+1 // a row of its own in the drawing: the client goes on
		}
		slices.Sort(concerns)
		for _, o := range slices.Compact(concerns) {
			op.Input = one{a, o}
			ops = append(ops, op)
		}
	}
	return ops
}

// tape is what the stores were asked during one call of the service.
type tape struct {
	client int
	acts   []*act
}

type tapeKey struct{}

// start begins the record of a call of a store; end finishes it.
func (c *chronicle) start(ctx context.Context, v verb, visitor, hold string) *act {
	a := &act{verb: v, hold: hold, ttl: int64(c.ttl), client: -1}
	if tape, ok := ctx.Value(tapeKey{}).(*tape); ok {
		a.client = tape.client
	}
	a.foreign = visitor != "" && hold != "" && !strings.HasPrefix(hold, c.names[visitor]+"-")
	a.call = c.now()
	return a
}

func (c *chronicle) end(ctx context.Context, a *act, err error) {
	a.back = c.now()
	a.code = fault.CodeOf(err)
	if taken, ok := errors.AsType[*checkout.TakenError](err); ok {
		a.named = taken.Ordinals
	}
	cut := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	if a.unknown() && !cut {
		a.back = forever // it may still be on its way
	}
	if a.client < 0 {
		return // of the preparations
	}
	if tape, ok := ctx.Value(tapeKey{}).(*tape); ok {
		tape.acts = append(tape.acts, a)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acts = append(c.acts, a)
}

// held notes the hold in a reply.
func (c *chronicle) held(a *act, h checkout.HeldTickets, err error) {
	if err == nil {
		a.got, a.end, a.fence, a.pinned = h.Ordinals, c.at(h.Expires), h.Fence, h.Pinned
	}
}

// watchedHolds is a hold store whose calls are recorded.
type watchedHolds struct {
	checkout.HoldStore
	*chronicle
}

func (w watchedHolds) Hold(ctx context.Context, event, visitor, id string, want checkout.Wanted, ttl time.Duration, rules checkout.HoldRules) (checkout.HeldTickets, error) {
	a := w.start(ctx, makeHold, visitor, id)
	a.asked = want.Ordinals
	h, err := w.HoldStore.Hold(ctx, event, visitor, id, want, ttl, rules)
	w.held(a, h, err)
	w.end(ctx, a, err)
	return h, err
}

func (w watchedHolds) Change(ctx context.Context, ch checkout.HoldChange, rules checkout.HoldRules) (checkout.HeldTickets, error) {
	a := w.start(ctx, change, ch.Visitor, ch.Hold)
	a.asked, a.dropped = ch.Add, ch.Drop
	h, err := w.HoldStore.Change(ctx, ch, rules)
	w.held(a, h, err)
	w.end(ctx, a, err)
	return h, err
}

func (w watchedHolds) Get(ctx context.Context, event, visitor, hold string) (checkout.HeldTickets, error) {
	a := w.start(ctx, get, visitor, hold)
	h, err := w.HoldStore.Get(ctx, event, visitor, hold)
	w.held(a, h, err)
	w.end(ctx, a, err)
	return h, err
}

func (w watchedHolds) Extend(ctx context.Context, event, visitor, hold string, ttl time.Duration, most int) (checkout.HeldTickets, error) {
	a := w.start(ctx, extend, visitor, hold)
	h, err := w.HoldStore.Extend(ctx, event, visitor, hold, ttl, most)
	w.held(a, h, err)
	w.end(ctx, a, err)
	return h, err
}

func (w watchedHolds) Pin(ctx context.Context, event, visitor, hold string, ttl time.Duration) (checkout.HeldTickets, error) {
	a := w.start(ctx, pin, visitor, hold)
	h, err := w.HoldStore.Pin(ctx, event, visitor, hold, ttl)
	w.held(a, h, err)
	w.end(ctx, a, err)
	return h, err
}

func (w watchedHolds) Unpin(ctx context.Context, event, visitor, hold string, ttl time.Duration) error {
	a := w.start(ctx, unpin, visitor, hold)
	err := w.HoldStore.Unpin(ctx, event, visitor, hold, ttl)
	w.end(ctx, a, err)
	return err
}

func (w watchedHolds) Release(ctx context.Context, event, visitor, hold string) error {
	a := w.start(ctx, release, visitor, hold)
	err := w.HoldStore.Release(ctx, event, visitor, hold)
	w.end(ctx, a, err)
	return err
}

func (w watchedHolds) Settle(ctx context.Context, s checkout.Settlement) error {
	a := w.start(ctx, settle, "", s.Hold)
	a.asked, a.to = s.Ordinals, byte(s.To)
	err := w.HoldStore.Settle(ctx, s)
	w.end(ctx, a, err)
	return err
}

func (w watchedHolds) Sweep(ctx context.Context, event string) (int, time.Duration, error) {
	a := w.start(ctx, sweep, "", "")
	freed, next, err := w.HoldStore.Sweep(ctx, event)
	w.end(ctx, a, err)
	return freed, next, err
}

func (w watchedHolds) Snapshot(ctx context.Context, event string) (checkout.Snapshot, error) {
	a := w.start(ctx, look, "", "")
	s, err := w.HoldStore.Snapshot(ctx, event)
	a.seen = s.Status
	w.end(ctx, a, err)
	if err == nil {
		if err := recount(w.layout, s); err != nil {
			w.troublef("%v", err)
		}
	}
	return s, err
}

// watchedOrders is an order store whose calls are recorded.
type watchedOrders struct {
	checkout.OrderStore
	*chronicle
}

// answered is end for Postgres, which is expected to answer.
func (w watchedOrders) answered(ctx context.Context, a *act, err error) {
	if fault.Is(err, fault.Unavailable) {
		w.troublef("Postgres did not answer: %v", err)
	}
	w.end(ctx, a, err)
}

func (w watchedOrders) CreateOrder(ctx context.Context, k checkout.Key, n checkout.NewOrder) (checkout.Order, error) {
	a := w.start(ctx, claim, n.Visitor, n.Hold)
	for i := range n.Items {
		a.asked = append(a.asked, n.Items[i].Ordinal)
	}
	a.fence = n.Fence
	o, err := w.OrderStore.CreateOrder(ctx, k, n)
	if err == nil {
		a.order, a.got, a.isNew = o.ID, o.Ordinals(), o.ID == n.ID
		a.sold = o.Status == checkout.Paid || o.Status == checkout.Fulfilled
		w.mu.Lock()
		w.ordered[o.ID] = a.got
		w.mu.Unlock()
	}
	w.answered(ctx, a, err)
	return o, err
}

func (w watchedOrders) BeginPayment(ctx context.Context, k checkout.Key, order, method, gateway string) (checkout.Order, checkout.Payment, bool, error) {
	a := w.start(ctx, begin, "", "")
	o, p, answered, err := w.OrderStore.BeginPayment(ctx, k, order, method, gateway)
	w.mu.Lock()
	a.order, a.got = order, w.ordered[order]
	w.payments[p.ID] = order
	w.mu.Unlock()
	if err != nil { // until it is paid it makes no difference to a ticket
		w.answered(ctx, a, err)
	}
	return o, p, answered, err
}

func (w watchedOrders) CommitSale(ctx context.Context, k *checkout.Key, payment string, begun *checkout.Order) (checkout.Order, error) {
	a := w.start(ctx, sell, "", "")
	o, err := w.OrderStore.CommitSale(ctx, k, payment, begun)
	w.mu.Lock()
	a.order = w.payments[payment]
	a.got = w.ordered[a.order]
	w.mu.Unlock()
	if err == nil && o.Status != checkout.Paid {
		w.troublef("a sale ended as %s", o.Status)
	}
	w.answered(ctx, a, err)
	return o, err
}

func (w watchedOrders) CancelOrder(ctx context.Context, k *checkout.Key, id, why string) (checkout.Order, error) {
	a := w.start(ctx, free, "", "")
	o, err := w.OrderStore.CancelOrder(ctx, k, id, why)
	w.mu.Lock()
	a.order, a.got, a.named = id, w.ordered[id], o.Freed
	w.mu.Unlock()
	w.answered(ctx, a, err)
	return o, err
}

// shopper is a visitor with all of their tabs.
type shopper struct {
	name, visitor string

	mu    sync.Mutex
	made  int    // holds
	hold  string // as far as they know
	asked []int
	until time.Time
	order string
}

// believes is what a tab goes by.
type believes struct {
	hold  string
	asked []int
	until time.Time
	order string
}

func (s *shopper) believes() believes {
	s.mu.Lock()
	defer s.mu.Unlock()
	return believes{s.hold, s.asked, s.until, s.order}
}

// learn changes what the tabs go by, if it still is about this hold.
func (s *shopper) learn(hold string, change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold == hold {
		change()
	}
}

func (s *shopper) forget() { s.hold, s.asked, s.order = "", nil, "" }

// tab is one client.
type tab struct {
	*shopper
	*chronicle

	n   int
	rng *rand.Rand
}

// record lets clients collide for a while on a house of their own. lossy makes the
// network lose requests and answers. Hooks see what is sent to Redis.
func record(t *testing.T, db *pgxpool.Pool, seed uint64, lossy bool, hooks ...func(*redis.Client) redis.Hook) *chronicle {
	t.Helper()
	ctx := t.Context()
	proxy := stacktest.NewProxy(t, stacktest.Redis(t).URL())
	o, err := redis.ParseURL(proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	// Without retries every lost answer comes to light.
	o.ContextTimeoutEnabled, o.MaxRetries, o.PoolSize = true, -1, 32
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	for _, hook := range hooks {
		rdb.AddHook(hook(rdb))
	}

	rng := rand.New(rand.NewPCG(seed, 0))
	c := &chronicle{
		ttl: time.Duration(150+rng.IntN(150)) * time.Millisecond, tickets: []int{17, 18, 19, 20, 21, 22},
		names: make(map[string]string), ordered: make(map[string][]int), payments: make(map[string]string),
		pauses: rand.New(rand.NewPCG(seed, 1)),
	}
	c.house = houseOn(t, db, rdb, func(d *checkout.Deps) {
		d.Options.HoldTTL = c.ttl
		d.Holds, d.Orders = watchedHolds{d.Holds, c}, watchedOrders{d.Orders, c}
		d.Step = c.stop
	})
	c.spoiled = len(hooks) > 0
	var tabs []tab
	for n := range 4 {
		s := &shopper{name: fmt.Sprintf("v%d", n), visitor: c.admit(time.Hour)}
		c.names[s.visitor] = s.name
		for range 1 + n%2 { // every other one has two
			i := len(tabs)
			tabs = append(tabs, tab{s, c, i, rand.New(rand.NewPCG(seed, uint64(2+i)))})
		}
	}
	if _, err := c.inventory.Refresh(ctx, c.event); err != nil { // loads it
		t.Fatal(err)
	}
	if lossy {
		proxy.Set(stacktest.Faults{LoseRequest: 0.006, LoseReply: 0.012, Delay: 2 * time.Millisecond})
	}

	c.began = time.Now()
	var all sync.WaitGroup
	for _, tab := range tabs {
		all.Go(func() {
			for time.Since(c.began) < historyLasts {
				tab.act(ctx)
				tab.wait(time.Duration(tab.rng.IntN(8)) * time.Millisecond)
			}
		})
	}
	sweeper := tab{&shopper{}, c, len(tabs), rand.New(rand.NewPCG(seed, 100))}
	over := make(chan struct{})
	var swept sync.WaitGroup
	swept.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(time.Duration(50+sweeper.rng.IntN(100)) * time.Millisecond):
				// Faults are the network's; somebody else will do it.
				if sweeper.rng.IntN(3) > 0 {
					_ = c.inventory.Sweep(sweeper.tape(ctx), c.event)
				} else {
					_, _, _ = c.inventory.Audit(sweeper.tape(ctx), c.event)
				}
			}
		}
	})
	all.Wait()
	close(over)
	swept.Wait()

	// Every hold ends that no order has, and then all is accounted for.
	proxy.Set(stacktest.Faults{})
	sweeper.wait(c.ttl + 2*time.Duration(slack))
	if err := c.inventory.Sweep(sweeper.tape(ctx), c.event); err != nil {
		t.Error(err)
	}
	if _, err := c.inventory.Refresh(sweeper.tape(ctx), c.event); err != nil {
		t.Error(err)
	}
	now := time.Now()
	if drift := now.UnixNano() - c.began.UnixNano() - int64(now.Sub(c.began)); max(drift, -drift) > slack/2 {
		t.Skipf("the system's clock was set by %s meanwhile, and Redis' with it", time.Duration(drift))
	}
	c.checkInvariants()
	return c
}

// stop is the service's Deps.Step: some requests stop for longer than a hold lives.
func (c *chronicle) stop(step string) {
	c.mu.Lock()
	roll := c.pauses.IntN(100)
	c.mu.Unlock()
	switch {
	case step == checkout.StepPinned && roll < 12:
		<-time.After(c.ttl + c.ttl/5)
	case roll < 30:
		<-time.After(time.Duration(roll) * time.Millisecond / 4)
	}
}

func (c *chronicle) wait(d time.Duration) { <-time.After(d) }

// tape returns a context whose calls are recorded as this client's.
func (b tab) tape(ctx context.Context) context.Context {
	return context.WithValue(ctx, tapeKey{}, &tape{client: b.n})
}

// told compares what the service answered with what the deciding call did: one of
// the first verb, or of the next if there was none.
func (b tab) told(ctx context.Context, err error, verbs ...verb) *act {
	acts := ctx.Value(tapeKey{}).(*tape).acts
	for _, v := range verbs {
		if n := slices.IndexFunc(acts, func(a *act) bool { return a.verb == v }); n >= 0 {
			if acts[n].code != fault.CodeOf(err) {
				b.troublef("the service answers %v to what came of %s", err, one{act: acts[n]})
			}
			return acts[n]
		}
	}
	b.troublef("the service answers %v without asking for %v", err, verbs)
	return &act{}
}

func (b tab) toldHold(ctx context.Context, h checkout.Hold, err error, v verb) {
	a := b.told(ctx, err, v)
	if err == nil && (h.ID != a.hold || !slices.Equal(h.Ordinals, a.got) || b.at(h.ExpiresAt) != a.end) {
		b.troublef("the service tells %+v of %s", h, one{act: a})
	}
}

// act does one thing that a buyer might do.
func (b tab) act(ctx context.Context) {
	s := b.believes()
	roll := b.rng.IntN(100)
	switch {
	case roll < 12:
		b.trespass(ctx)
	case roll < 16:
		_, _ = b.inventory.Refresh(b.tape(ctx), b.event)
	case s.order != "":
		switch {
		case roll < 25:
			b.pay(ctx, s)
		case roll < 65:
			b.cancel(ctx, s)
		case roll < 85:
			b.createOrder(ctx, s.hold)
		default:
			b.use(ctx, s)
		}
	case s.hold == "":
		b.choose(ctx)
	case roll < 45:
		b.use(ctx, s)
	case roll < 65:
		b.createOrder(ctx, s.hold)
	case roll < 75:
		b.releaseHold(ctx, s.hold)
	case roll < 80:
		b.holdTickets(ctx, s.hold, s.asked)
	case roll < 85:
		b.choose(ctx) // one more
	default:
		// Too late by a little, and goes on as if nothing had been.
		b.wait(min(time.Until(s.until), b.ttl) + time.Duration(slack) + time.Duration(b.rng.IntN(6))*time.Millisecond)
		if b.rng.IntN(3) == 0 {
			b.createOrder(ctx, s.hold)
		} else {
			b.use(ctx, s)
		}
	}
}

// pick returns some of the tickets.
func (b tab) pick(n int) []int {
	some := slices.Clone(b.tickets)
	b.rng.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return some[:n]
}

func (b tab) choose(ctx context.Context) {
	b.shopper.mu.Lock()
	b.made++
	id := fmt.Sprintf("%s-%d", b.name, b.made)
	b.shopper.mu.Unlock()
	b.holdTickets(ctx, id, b.pick([]int{1, 1, 2, 3}[b.rng.IntN(4)]))
}

// holdTickets asks for a hold. When the answer is lost, some ask again, and others
// take it that they have it.
func (b tab) holdTickets(ctx context.Context, id string, tickets []int) {
	for {
		ctx := b.tape(ctx)
		h, err := b.Hold(ctx, checkout.HoldRequest{Event: b.event, Visitor: b.visitor, ID: id, Ordinals: tickets})
		b.toldHold(ctx, h, err, makeHold)
		if err == nil {
			b.chronicle.mu.Lock()
			b.ids = append(b.ids, id)
			b.chronicle.mu.Unlock()
		}
		lost := fault.Is(err, fault.Unavailable)
		if lost && b.rng.IntN(2) == 0 {
			continue
		}
		b.shopper.mu.Lock()
		defer b.shopper.mu.Unlock()
		switch {
		case err == nil:
			b.hold, b.asked, b.until = id, tickets, h.ExpiresAt
		case lost:
			b.hold, b.asked, b.until = id, tickets, time.Now().Add(b.ttl)
		case b.hold == id:
			b.forget()
		}
		return
	}
}

// use does something with the hold.
func (b tab) use(ctx context.Context, s believes) {
	ctx = b.tape(ctx)
	var h checkout.Hold
	var err error
	switch roll := b.rng.IntN(10); {
	case roll < 5:
		some := b.pick(2)
		c := checkout.HoldChange{Event: b.event, Visitor: b.visitor, Hold: s.hold}
		if n := len(s.asked); n > 0 && b.rng.IntN(4) > 0 {
			some[1] = s.asked[b.rng.IntN(n)]
		}
		if kind := b.rng.IntN(3); kind == 0 {
			c.Add = some[:1]
		} else if c.Drop = some[1:]; kind == 1 && some[0] != some[1] {
			c.Add = some[:1]
		}
		h, err = b.ChangeHold(ctx, c)
		b.toldHold(ctx, h, err, change)
	case roll < 8:
		h, err = b.ExtendHold(ctx, b.event, b.visitor, s.hold)
		b.toldHold(ctx, h, err, extend)
	default:
		h, err = b.GetHold(ctx, b.event, b.visitor, s.hold)
		b.toldHold(ctx, h, err, get)
	}
	switch {
	case err == nil:
		b.learn(s.hold, func() { b.asked, b.until = h.Ordinals, h.ExpiresAt })
	case fault.Is(err, fault.HoldLapsed) && s.order == "":
		b.learn(s.hold, b.forget)
	}
}

func (b tab) releaseHold(ctx context.Context, hold string) {
	ctx = b.tape(ctx)
	err := b.ReleaseHold(ctx, b.event, b.visitor, hold)
	b.told(ctx, err, release)
	if err == nil {
		b.learn(hold, b.forget)
	}
}

func (b tab) createOrder(ctx context.Context, hold string) {
	ctx = b.tape(ctx)
	o, err := b.CreateOrder(ctx, key(), checkout.OrderRequest{Event: b.event, Visitor: b.visitor, Hold: hold, Buyer: buyer})
	a := b.told(ctx, err, claim, pin)
	switch {
	case err == nil:
		if o.ID != a.order || o.Hold != hold {
			b.troublef("the service tells order %s of %s", o.ID, one{act: a})
		}
		b.learn(hold, func() { b.order = o.ID })
	case !fault.Is(err, fault.Unavailable):
		b.learn(hold, b.forget)
	}
}

func (b tab) pay(ctx context.Context, s believes) {
	ctx = b.tape(ctx)
	o, err := b.Pay(ctx, key(), s.order, payment.MethodOK)
	switch {
	case err != nil:
		b.told(ctx, err, sell, begin)
		b.learn(s.hold, b.forget)
	case o.Status == checkout.Paid:
		b.learn(s.hold, b.forget)
	case o.Status != checkout.PaymentUnknown: // the other tab is at it
		b.troublef("a payment ended as %s", o.Status)
	}
}

func (b tab) cancel(ctx context.Context, s believes) {
	ctx = b.tape(ctx)
	_, err := b.Cancel(ctx, nil, checkout.CancelRequest{Order: s.order})
	b.told(ctx, err, free)
	if err == nil {
		b.learn(s.hold, b.forget)
	}
}

// trespass uses a hold that may well be somebody else's.
func (b tab) trespass(ctx context.Context) {
	b.chronicle.mu.Lock()
	recent := slices.Clone(b.ids[max(0, len(b.ids)-4):])
	b.chronicle.mu.Unlock()
	if len(recent) == 0 {
		return
	}
	hold := recent[b.rng.IntN(len(recent))]
	switch b.rng.IntN(4) {
	case 0:
		b.releaseHold(ctx, hold)
	case 1:
		b.createOrder(ctx, hold)
	default:
		b.use(ctx, believes{hold: hold})
	}
}
