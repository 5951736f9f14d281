package checkout_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"onsale/checkout"
	"onsale/checkout/payment"
	"onsale/internal/fault"
	"onsale/internal/stack/stacktest"
)

var oneSeed = flag.Uint64("seed", 0, "run this seed of TestSeeds alone")

const (
	seeds       = 200
	seedBuyers  = 10
	seedsAtOnce = 8 // much of a storm is waiting
	patience    = 1500 * time.Millisecond
	promoUses   = 3
)

// TestSeeds lets many buyers buy at once while everything goes wrong that can: the
// gateway declines, loses requests and answers, is slow and down, and says things twice;
// connections to Postgres and Redis break at any byte, so that nobody knows whether
// a COMMIT was heard; Redis loses everything; sweeps are killed halfway; operators give
// money back. Then the weather clears, and every order has to come to a good end by
// itself. A seed that fails is run again by -seed N: it makes the same decisions, though
// who comes first is up to the scheduler.
func TestSeeds(t *testing.T) {
	t.Parallel()
	if *oneSeed != 0 {
		newStorm(t, stacktest.Database(t, migrate), *oneSeed).run()
		return
	}
	many := seeds
	if testing.Short() {
		many = 20
	}
	var g errgroup.Group
	g.SetLimit(seedsAtOnce)
	grounds := make(chan string, seedsAtOnce) // databases without anything unfinished
	for seed := range many {
		g.Go(func() error {
			ground := ""
			select {
			case ground = <-grounds:
			default: // making one takes longer than the storm
				ground = stacktest.Database(t, migrate)
			}
			if t.Run(fmt.Sprintf("seed=%d", seed+1), func(t *testing.T) { newStorm(t, ground, uint64(seed)+1).run() }) {
				grounds <- ground
			}
			return nil
		})
	}
	_ = g.Wait() // failures are t's
}

// storm is one house in bad weather.
type storm struct {
	*house
	seed     uint64
	postgres *stacktest.Proxy
	redis    *stacktest.Proxy
	bad      *badGateway
	promo    string      // good for promoUses orders
	over     atomic.Bool // the event is cancelled
	began    time.Time
}

// newStorm returns a storm over a database in which everything is at its end.
func newStorm(t *testing.T, address string, seed uint64) *storm {
	t.Helper()
	s := &storm{seed: seed}
	s.postgres, s.redis = stacktest.NewProxy(t, address), stacktest.NewProxy(t, stacktest.Redis(t).URL())
	pool, err := pgxpool.ParseConfig(s.postgres.URL())
	if err != nil {
		t.Fatal(err)
	}
	pool.MaxConns = 8
	db, err := pgxpool.NewWithConfig(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	o, err := redis.ParseURL(s.redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	o.ContextTimeoutEnabled = true
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	// The gateway is another company: it has its own way to its books.
	books, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(books.Close)
	s.bad = &badGateway{Gateway: payment.NewSandbox(books, 0), books: books, seed: seed, calls: map[string]int{}, buyers: map[string]string{}}
	s.house = houseOn(t, db, rdb, func(d *checkout.Deps) {
		d.Gateway = s.bad
		d.Options.GatewayTimeout = 100 * time.Millisecond
	})
	s.spoiled = true // its Redis may be empty at the end
	most, off := promoUses, int64(300)
	codes, err := s.CreatePromos(t.Context(), s.event, checkout.NewPromo{Code: "STORM", Amount: &off, MaxUses: &most})
	if err != nil {
		t.Fatal(err)
	}
	s.promo = codes[0].Code
	return s
}

// dice decides about one thing, the same way whenever the seed is the same.
func (s *storm) dice(what ...any) *rand.Rand { return dice(s.seed, what...) }

func dice(seed uint64, what ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, what...)
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

func (s *storm) run() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	visitors := make([]string, seedBuyers)
	for n := range visitors {
		visitors[n] = s.admit(time.Hour)
	}
	var weather sync.WaitGroup
	weather.Go(func() { s.weather(ctx) })
	if d := s.dice("cancellation"); d.IntN(6) == 0 {
		weather.Go(func() { s.cancels(ctx, time.Duration(d.IntN(400))*time.Millisecond) })
	}
	for n := range 2 {
		weather.Go(func() { s.sweeps(ctx, n) })
	}
	s.began = time.Now()
	var buyers sync.WaitGroup
	for n, visitor := range visitors {
		buyers.Go(func() { s.buys(n, visitor) })
	}
	buyers.Wait()
	cancel()
	weather.Wait()

	// The weather clears.
	s.postgres.Set(stacktest.Faults{})
	s.redis.Set(stacktest.Faults{})
	s.bad.clear()
	s.clear()
	if s.t.Failed() {
		s.t.Logf("again: go test ./checkout -run TestSeeds -seed %d", s.seed)
	}
}

// weather breaks connections and empties Redis.
func (s *storm) weather(ctx context.Context) {
	d := s.dice("weather")
	bad := stacktest.Faults{LoseRequest: d.Float64() * 0.02, LoseReply: d.Float64() * 0.02}
	if d.IntN(2) == 0 {
		s.postgres.Set(bad)
	}
	if d.IntN(2) == 0 {
		s.redis.Set(bad)
	}
	empties := d.IntN(4) == 0
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(20+d.IntN(60)) * time.Millisecond):
		}
		switch d.IntN(4) {
		case 0:
			s.postgres.Cut()
		case 1:
			s.redis.Cut()
		case 2:
			if empties {
				s.emptyRedis(ctx)
			}
		}
	}
}

// emptyRedis loses the event's holds and inventory; leases come back with the
// waiting room, which has its own ways.
func (s *storm) emptyRedis(ctx context.Context) {
	for _, pattern := range []string{"inv:{" + s.event + "}:*", "hold:{" + s.event + "}:*"} {
		if keys, err := s.rdb.Keys(ctx, pattern).Result(); err == nil && len(keys) > 0 {
			s.rdb.Del(ctx, keys...)
		}
	}
}

// cancels has an operator cancel the event in the middle of everything, and insist.
func (s *storm) cancels(ctx context.Context, after time.Duration) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(after):
	}
	s.over.Store(true) // as buyers may hear of it from now on
	for range 5 {
		_, err := s.CancelEvent(ctx, checkout.Cancellation{Event: s.event, Reason: "storm"}, "admin")
		if err == nil || ctx.Err() != nil {
			return
		}
		s.allowed("cancel the event", err, fault.Unavailable)
	}
}

// sweeps work as a worker does that is killed now and then.
func (s *storm) sweeps(ctx context.Context, worker int) {
	d := s.dice("sweeps", worker)
	for ctx.Err() == nil {
		life, end := context.WithTimeout(ctx, time.Duration(5+d.IntN(80))*time.Millisecond)
		_, _ = s.Sweep(life, time.Duration(d.IntN(40))*time.Second)
		<-life.Done()
		end()
	}
}

// buys is what one buyer does: everything at least once, and again when no answer came,
// as pages do.
func (s *storm) buys(n int, visitor string) {
	d := s.dice("buyer", n)
	ctx := s.t.Context()
	var hold checkout.Hold
	for try := 0; ; try++ {
		want := make([]int, 1+d.IntN(2))
		first := d.IntN(12) // few seats: they meet
		for i := range want {
			want[i] = first + i
		}
		h, err := s.Hold(ctx, checkout.HoldRequest{Event: s.event, Visitor: visitor, Ordinals: want})
		if err == nil {
			hold = h
			break
		}
		s.allowed("hold", err, fault.TicketsTaken, fault.Unavailable, fault.LimitReached, "no-inventory")
		if try == 8 || time.Since(s.began) > patience {
			return
		}
	}
	o, ok := s.makesOrder(ctx, d, visitor, hold)
	if !ok {
		return
	}
	s.bad.of(o.ID, fmt.Sprint(n))
	switch s.pays(ctx, d, o); d.IntN(8) {
	case 0:
		_, err := s.Cancel(ctx, nil, checkout.CancelRequest{Order: o.ID})
		s.allowed("cancel", err, fault.Conflict, fault.Unavailable)
	case 1:
		_, err := s.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, Actor: "admin"})
		s.allowed("refund", err, fault.Conflict, fault.Unavailable)
	case 2:
		_, err := s.RefundOrder(ctx, nil, checkout.RefundRequest{Order: o.ID, Tickets: []string{o.Items[0].Ticket}, Actor: "admin"})
		s.allowed("refund of one", err, fault.Conflict, fault.Unavailable)
	case 3:
		s.exchanges(ctx, d, o)
	case 4:
		s.givesBack(ctx, d, o)
	}
}

// exchanges swaps a ticket for another, with one key however often it is asked for.
func (s *storm) exchanges(ctx context.Context, d *rand.Rand, o checkout.Order) {
	_, _ = s.Sweep(ctx, 20*time.Second) // perhaps the money is taken
	k := key()
	r := checkout.ExchangeRequest{Order: o.ID, Tickets: []string{o.Items[0].Ticket}, To: []string{s.layout.Seats[d.IntN(30)].ID}, Actor: "admin"}
	for range 4 {
		_, err := s.Exchange(ctx, &k, r)
		s.allowed("exchange", err, fault.Conflict, fault.Unavailable, fault.TicketsTaken, fault.KeyInFlight, "no-inventory")
		if err == nil || !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.KeyInFlight) {
			return
		}
	}
}

// givesBack gives some money back without tickets, once, however often it is asked for.
func (s *storm) givesBack(ctx context.Context, d *rand.Rand, o checkout.Order) {
	_, _ = s.Sweep(ctx, 20*time.Second)
	k, amount := key(), 1+d.Int64N(500)
	for range 4 {
		got, err := s.RefundOrder(ctx, &k, checkout.RefundRequest{Order: o.ID, Amount: amount, Actor: "admin"})
		s.allowed("refund of money", err, fault.Conflict, fault.Unavailable, fault.KeyInFlight)
		if err == nil && !s.over.Load() && got.Refunded.Amount != amount {
			s.t.Errorf("%d were given back, asked for were %d", got.Refunded.Amount, amount)
		}
		if err == nil || !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.KeyInFlight) {
			return
		}
	}
}

// makesOrder makes the order of a hold, with one key however often it is asked for.
func (s *storm) makesOrder(ctx context.Context, d *rand.Rand, visitor string, hold checkout.Hold) (checkout.Order, bool) {
	k, promo := key(), ""
	if d.IntN(2) == 0 {
		promo = s.promo
	}
	for range 12 {
		o, err := s.CreateOrder(ctx, k, checkout.OrderRequest{Event: s.event, Visitor: visitor, Hold: hold.ID, Buyer: buyer, Promo: promo})
		if err == nil {
			return o, true
		}
		if fault.Is(err, fault.PromoInvalid) {
			k, promo = key(), ""
			continue
		}
		s.allowed("order", err, fault.Unavailable, fault.KeyInFlight, fault.HoldLapsed, fault.TicketsTaken, fault.LimitReached)
		if code := fault.CodeOf(err); code != fault.Unavailable && code != fault.KeyInFlight {
			return o, false
		}
		time.Sleep(time.Duration(d.IntN(10)) * time.Millisecond)
	}
	return checkout.Order{}, false // somebody who gives up: the order, if there is one, expires
}

func (s *storm) pays(ctx context.Context, d *rand.Rand, o checkout.Order) {
	for n := range 4 {
		if n > 0 && time.Since(s.began) > patience {
			return // what goes on is for the sweeps
		}
		k, method := key(), payment.MethodOK
		switch d.IntN(8) {
		case 0:
			method = payment.MethodDeclined
		case 1:
			method = payment.MethodTimeout
		case 2:
			method = payment.MethodCaptureFailsOnce
		case 3:
			method = payment.MethodRequiresAction
		}
		tabs := 1 + d.IntN(3)
		outcomes := make([]checkout.OrderStatus, tabs)
		var g sync.WaitGroup
		for tab := range tabs {
			mine := k
			if tab == 2 { // another tab has a key of its own
				mine = key()
			}
			g.Go(func() {
				got, err := s.Pay(ctx, mine, o.ID, method)
				s.allowed("pay", err, fault.Unavailable, fault.KeyInFlight, fault.GatewayUnavailable, fault.Conflict, fault.TicketsTaken)
				outcomes[tab] = got.Status
			})
		}
		g.Wait()
		for _, status := range outcomes {
			if status.Sold() {
				return
			}
		}
	}
}

// allowed fails the test for an answer that nobody should get, whatever the weather.
func (s *storm) allowed(what string, err error, codes ...fault.Code) {
	if err == nil {
		return
	}
	if s.over.Load() {
		codes = append(codes, fault.Conflict)
	}
	for _, code := range codes {
		if fault.Is(err, code) {
			return
		}
	}
	s.t.Errorf("%s: %v", what, err)
}

// ends are what must be true when everything has come to its end.
var ends = map[string]string{
	"orders are not at their end": `select count(*) from orders where status not in
		('fulfilled', 'expired', 'cancelled', 'refunded', 'partially_refunded')`,
	"payments are not at their end": `select count(*) from payments where look_at is not null`,
	"refunds are not at their end":  `select count(*) from refunds where status <> 'done'`,
	"authorisations are kept":       `select count(*) from sandbox_payments where status in ('authorised', 'requires_action')`,
	"orders are paid otherwise than they were sold": `select count(*) from orders o where
		case when o.status in ('fulfilled', 'partially_refunded', 'refunded') then o.total_amount - o.refunded_amount else 0 end <>
		(select coalesce(sum(g.amount - g.refunded), 0) from payments p join sandbox_payments g on g.id = p.id::text
			where p.order_id = o.id and g.status = 'captured')
		and not (o.status = 'refunded' and o.refunded_amount = 0)`,
	"refunded orders keep money": `select count(*) from orders o join payments p on p.order_id = o.id join sandbox_payments g on g.id = p.id::text
		where o.status = 'refunded' and g.status = 'captured' and g.refunded < g.amount`,
	"orders were charged more than once": `select count(*) from (select p.order_id from payments p join sandbox_payments g on g.id = p.id::text
		where g.status = 'captured' and g.refunded = 0 group by 1 having count(*) > 1) x`,
	"histories break the rules": `select count(*) from (
		select status, lag(status) over (partition by order_id order by id) as was from order_events) x
		where was is not null and was <> status and not order_may_become(was, status)`,
	"histories end otherwise than their orders": `select count(*) from orders o where o.status <>
		(select e.status from order_events e where e.order_id = o.id order by e.id desc limit 1)`,
	"tickets are claimed by orders that are over": `select count(*) from tickets where status = 'reserved'`,
	"tickets are missing from orders": `select count(*) from order_items i join orders o on o.id = i.order_id join tickets t on t.id = i.ticket_id
		where o.status in ('fulfilled', 'partially_refunded') and i.returned_at is null and (t.order_id is distinct from o.id or t.status <> 'purchased')`,
	"charges were taken without a sale": `select count(*) from sandbox_payments g join payments p on p.id::text = g.id
		where g.captured > 0 and not exists (select from order_events e where e.order_id = p.order_id and e.status = 'paid')`,
	"paid orders were not announced once": `select count(*) from orders o where
		exists (select from order_events e where e.order_id = o.id and e.status = 'paid')::int <>
		(select count(*) from announcements a where a.subject = o.id::text and a.type = 'order.paid')`,
	"fulfilled orders were not announced once": `select count(*) from orders o where
		exists (select from order_events e where e.order_id = o.id and e.status = 'fulfilled')::int <>
		(select count(*) from announcements a where a.subject = o.id::text and a.type = 'order.fulfilled')`,
	"fulfilled orders do not have one confirmation": `select count(*) from orders o where
		exists (select from order_events e where e.order_id = o.id and e.status = 'fulfilled')::int <>
		(select count(*) from emails m where m.order_id = o.id and m.kind = 'confirmation')`,
	"refunds were not told once": `select count(*) from orders o where
		(select count(*) from announcements a where a.subject = o.id::text and a.type = 'order.refunded') <>
		(select count(*) from emails m where m.order_id = o.id and m.kind = 'refund')`,
	"promo codes were used otherwise than counted, or too often": `select count(*) from promo_codes c where used > max_uses or used <>
		(select count(*) from orders o where o.promo_id = c.id and o.status not in ('expired', 'cancelled', 'refunded'))`,
	"admissions are doubled": `select count(*) from (select order_id, ticket_id from admissions where ended_at is null
		group by 1, 2 having count(*) > 1) x`,
	"cancelled events are not done": `select count(*) from event_cancellations where finished_at is null`,
	"cancelled events have orders": `select count(*) from orders o join events e on e.id = o.event_id
		where e.status = 'cancelled' and o.status in ('fulfilled', 'partially_refunded')`,
}

// clear lets everything that is due be done, as it would be with time, and holds the
// books against each other.
func (s *storm) clear() {
	s.t.Helper()
	s.db.Reset() // connections of before are broken
	// What was cut off may be under way at the server yet, and lock what is due.
	s.bad.quiet(s.t)
	for range 3 {
		_ = s.rdb.Ping(s.t.Context()).Err()
	}
	for _, what := range s.comesToAnEnd() {
		s.t.Error(what)
	}
	// And Redis comes to say what Postgres says.
	for {
		mended, doubtful, err := s.inventory.Audit(s.t.Context(), s.event)
		if err != nil {
			s.t.Fatal(err)
		}
		if mended == 0 && !doubtful {
			break
		}
	}
	live, err := s.holds.Snapshot(s.t.Context(), s.event)
	if err != nil {
		s.t.Fatal(err)
	}
	for o, status := range query[[]string](s.house, `select array_agg(status order by ordinal) from tickets where event_id = $1`, s.event) {
		if (status == "purchased") != (live.Status[o] == byte(checkout.Sold)) {
			s.t.Errorf("ticket %d is %s, and %c in Redis", o, status, live.Status[o])
		}
	}
}

// comesToAnEnd lets the time to pay be over and everything be done that is due. It
// tells what is wrong then.
func (h *house) comesToAnEnd() (wrong []string) {
	h.t.Helper()
	h.exec(`update orders set pay_by = now() - interval '1 second' where status in ('awaiting_payment', 'declined', 'payment_unknown')`)
	h.exec(`update tickets set reserved_until = now() - interval '1 second' where status = 'reserved'`)
	for round := 0; ; round++ {
		// What failed would be tried again later, and what is over compared.
		h.exec(`
			with r as (update refunds set look_at = now() where look_at is not null)
			update payments set look_at = case when look_at is not null then now() end,
				updated_at = case when checked_at is null then updated_at - interval '1 hour' else updated_at end
			where look_at is not null or checked_at is null`)
		found, err := h.Sweep(h.t.Context(), 0)
		if err != nil {
			h.t.Logf("sweep: %v", err)
		}
		if found == 0 {
			break
		}
		if round == 30 {
			wrong = append(wrong, "it does not come to an end")
			break
		}
	}
	return append(append(wrong, h.broken(ends)...), h.broken(invariants)...)
}

// badGateway is the sandbox on a bad day. What happens to a call is decided by the
// seed, the buyer whose payment it is, the call and how often it was made.
type badGateway struct {
	payment.Gateway
	books *pgxpool.Pool
	seed  uint64

	mu     sync.Mutex
	fine   bool
	calls  map[string]int
	buyers map[string]string // by order, and by payment
}

var errBad = errors.New("the gateway has a bad day")

func (g *badGateway) of(order, buyer string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.buyers[order] = buyer
}

func (g *badGateway) clear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fine = true
}

// quiet waits until nothing is under way in the database any more.
func (g *badGateway) quiet(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; <-time.After(5 * time.Millisecond) {
		var busy int
		err := g.books.QueryRow(t.Context(), `select count(*) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' and state <> 'idle'`).Scan(&busy)
		switch {
		case err != nil:
			t.Fatal(err)
		case busy == 0:
			return
		case time.Now().After(end):
			t.Fatalf("%d connections that were cut work on", busy)
		}
	}
}

// do makes a call that may fail before or after it had its effect, take long, or be
// made twice.
func (g *badGateway) do(ctx context.Context, call, key string, f func(ctx context.Context) error) error {
	g.mu.Lock()
	name := call + " " + g.buyers[key]
	g.calls[name]++
	d := dice(g.seed, name, g.calls[name])
	fine := g.fine
	g.mu.Unlock()
	if fine {
		return f(context.WithoutCancel(ctx)) // in fine weather it answers, however busy the machine is
	}
	switch d.IntN(12) {
	case 0:
		return errBad
	case 1:
		_ = f(ctx)
		return errBad
	case 2: // until the caller's patience is over, after the effect or before
		if d.IntN(2) == 0 {
			_ = f(ctx)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(150 * time.Millisecond):
			return errBad
		}
	case 3:
		_ = f(ctx)
	}
	return f(ctx)
}

func (g *badGateway) Authorise(ctx context.Context, c payment.Charge) (r payment.Result, err error) {
	g.mu.Lock()
	g.buyers[c.Key] = g.buyers[c.Order]
	g.mu.Unlock()
	err = g.do(ctx, "authorise", c.Key, func(ctx context.Context) (err error) { r, err = g.Gateway.Authorise(ctx, c); return err })
	return r, err
}

func (g *badGateway) Lookup(ctx context.Context, key string) (r payment.Result, err error) {
	err = g.do(ctx, "lookup", key, func(ctx context.Context) (err error) { r, err = g.Gateway.Lookup(ctx, key); return err })
	return r, err
}

func (g *badGateway) Capture(ctx context.Context, key string) error {
	return g.do(ctx, "capture", key, func(ctx context.Context) error { return g.Gateway.Capture(ctx, key) })
}

func (g *badGateway) Void(ctx context.Context, key string) error {
	return g.do(ctx, "void", key, func(ctx context.Context) error { return g.Gateway.Void(ctx, key) })
}

func (g *badGateway) Refund(ctx context.Context, refund, key string, amount int64) error {
	return g.do(ctx, "refund", key, func(ctx context.Context) error { return g.Gateway.Refund(ctx, refund, key, amount) })
}
