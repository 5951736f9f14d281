package checkout_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"onsale/catalog"
	catalogpg "onsale/catalog/pgstore"
	"onsale/checkout"
	"onsale/checkout/payment"
	"onsale/checkout/pgstore"
	"onsale/checkout/redisstore"
	"onsale/internal/stack/stacktest"
	"onsale/lua"
	"onsale/waitroom/pass"
)

func migrate(ctx context.Context, url string) error {
	return catalogpg.Migrate(ctx, url, slog.New(slog.DiscardHandler))
}

// house is a shop on real servers with one event: 4 rows of 10 seats in two
// tiers, and 20 places standing.
type house struct {
	*checkout.Service
	t         *testing.T
	db        *pgxpool.Pool
	rdb       redis.UniversalClient
	holds     *redisstore.Store
	orders    *pgstore.Store
	inventory *checkout.Inventory
	gateway   *gate
	event     string
	layout    *catalog.Layout
	spoiled   bool // its scripts have bugs, and need not count right
}

const houseEvent = `{"name": "Trio at the mill", "starts_at": "2031-05-01T19:00:00Z", "venue": {"name": "The mill"}, "currency": "EUR",
  "max_per_buyer": 4,
  "generate": {"kind": "rows", "sections": [
    {"name": "Stalls", "rows": 2, "seats_per_row": 10, "category": "Stalls"},
    {"name": "Balcony", "rows": 2, "seats_per_row": 10, "category": "Balcony"}]},
  "prices": {"Stalls": {"amount": 4500}, "Balcony": {"amount": 2500}},
  "areas": [{"name": "Floor", "capacity": 20, "price": 1000}]}`

func newHouse(t *testing.T, options ...func(*checkout.Deps)) *house {
	t.Helper()
	ctx := t.Context()
	db, err := pgxpool.New(ctx, stacktest.Database(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	o, err := redis.ParseURL(stacktest.Redis(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	o.ContextTimeoutEnabled = true
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	return houseOn(t, db, rdb, options...)
}

func houseOn(t *testing.T, db *pgxpool.Pool, rdb redis.UniversalClient, options ...func(*checkout.Deps)) *house {
	t.Helper()
	ctx := t.Context()
	store := catalogpg.New(db, nil)
	doc, _, err := catalog.ParseEvent([]byte(houseEvent))
	if err != nil {
		t.Fatal(err)
	}
	doc.Name += " " + uuid.NewString() // there may be more houses in the database
	e, err := store.CreateEvent(ctx, doc)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, db: db, rdb: rdb, event: e.ID, holds: redisstore.New(rdb)}
	events := catalog.NewCache(store, time.Now)
	if h.layout, err = events.Layout(ctx, e.ID); err != nil {
		t.Fatal(err)
	}
	if h.orders, err = pgstore.New(db); err != nil {
		t.Fatal(err)
	}
	h.gateway = &gate{Gateway: payment.NewSandbox(db, 50*time.Millisecond)}
	deps := checkout.Deps{
		Options: checkout.Options{HoldTTL: 10 * time.Minute, MaxExtensions: 2, PayWithin: 10 * time.Minute, GatewayTimeout: 14 * time.Second},
		Catalog: events, Holds: h.holds, Orders: h.orders, Gateway: h.gateway, Logger: slog.New(slog.DiscardHandler),
	}
	for _, option := range options {
		option(&deps)
	}
	// It watches over the stores that the service uses.
	if h.inventory, err = checkout.NewInventory(deps.Holds, deps.Orders, events, time.Now, deps.Logger, nil); err != nil {
		t.Fatal(err)
	}
	deps.Inventory = h.inventory
	if h.Service, err = checkout.New(deps); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.checkCounts)
	return h
}

// checkCounts holds at the end of every test that available, held, sold and blocked
// tickets are all there are, and that the scripts have counted each of them.
func (h *house) checkCounts() {
	h.t.Helper()
	s, err := h.holds.Snapshot(context.Background(), h.event) // the test's own is over
	if err != nil || h.spoiled {
		return // a test without an inventory, or whose Redis is gone
	}
	if err := recount(h.layout, s); err != nil {
		h.t.Error(err)
	}
}

// recount holds what the scripts count against the tickets themselves.
func recount(layout *catalog.Layout, s checkout.Snapshot) error {
	var all checkout.Counts
	tiers := make([]checkout.Counts, len(layout.Tiers))
	for o, state := range s.Status {
		all.Add(checkout.TicketState(state), 1)
		tiers[layout.Seats[o].Tier].Add(checkout.TicketState(state), 1)
	}
	n := s.Stock
	if len(s.Status) != len(layout.Seats) || all != n.Counts || !slices.Equal(tiers, n.Tiers) ||
		n.Available+n.Held+n.Sold+n.Blocked != len(s.Status) {
		return fmt.Errorf("the scripts count %+v %+v; it is %+v %+v of %d", n.Counts, n.Tiers, all, tiers, len(layout.Seats))
	}
	return nil
}

// gate is the sandbox with a switch for each call: what it returns is the
// error that the caller sees, after the call if lost and before it if not.
type gate struct {
	payment.Gateway
	mu    sync.Mutex
	fault map[string]error // by call
	lost  map[string]bool  // the call works, its answer is lost
}

func (g *gate) set(call string, err error, lost bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault == nil {
		g.fault, g.lost = make(map[string]error), make(map[string]bool)
	}
	g.fault[call], g.lost[call] = err, lost
}

func (g *gate) do(call string, f func() error) error {
	g.mu.Lock()
	err, lost := g.fault[call], g.lost[call]
	g.mu.Unlock()
	if err != nil && !lost {
		return err
	}
	if ferr := f(); ferr != nil {
		return ferr
	}
	return err
}

func (g *gate) Authorise(ctx context.Context, c payment.Charge) (r payment.Result, err error) {
	err = g.do("authorise", func() (err error) { r, err = g.Gateway.Authorise(ctx, c); return err })
	return r, err
}

func (g *gate) Lookup(ctx context.Context, key string) (r payment.Result, err error) {
	err = g.do("lookup", func() (err error) { r, err = g.Gateway.Lookup(ctx, key); return err })
	return r, err
}

func (g *gate) Capture(ctx context.Context, key string) error {
	return g.do("capture", func() error { return g.Gateway.Capture(ctx, key) })
}

func (g *gate) Void(ctx context.Context, key string) error {
	return g.do("void", func() error { return g.Gateway.Void(ctx, key) })
}

func (g *gate) Refund(ctx context.Context, refund, key string, amount int64) error {
	return g.do("refund", func() error { return g.Gateway.Refund(ctx, refund, key, amount) })
}

// admit gives a new visitor a lease, as the waiting room would.
func (h *house) admit(lease time.Duration) (visitor string) {
	h.t.Helper()
	visitor = pass.NewVisitor()
	now, err := h.rdb.Time(h.t.Context()).Result()
	if err != nil {
		h.t.Fatal(err)
	}
	err = h.rdb.ZAdd(h.t.Context(), lua.ActiveKey(h.event), redis.Z{Score: float64(now.Add(lease).UnixMilli()), Member: visitor}).Err()
	if err != nil {
		h.t.Fatal(err)
	}
	return visitor
}

func (h *house) hold(visitor string, ordinals ...int) checkout.Hold {
	h.t.Helper()
	hold, err := h.Hold(h.t.Context(), checkout.HoldRequest{Event: h.event, Visitor: visitor, Ordinals: ordinals})
	if err != nil {
		h.t.Fatalf("hold %v: %v", ordinals, err)
	}
	return hold
}

var buyer = checkout.Buyer{Name: "Test Buyer", Email: "buyer@example.org"}

func key() checkout.Key {
	return checkout.Key{Scope: "test", Value: uuid.NewString(), Fingerprint: "f"}
}

func (h *house) order(visitor string, hold checkout.Hold) checkout.Order {
	h.t.Helper()
	o, err := h.CreateOrder(h.t.Context(), key(), checkout.OrderRequest{Event: h.event, Visitor: visitor, Hold: hold.ID, Buyer: buyer})
	if err != nil {
		h.t.Fatalf("order: %v", err)
	}
	return o
}

// bought walks a visitor through a whole purchase up to the committed sale.
func (h *house) bought(ordinals ...int) (visitor string, o checkout.Order) {
	h.t.Helper()
	visitor = h.admit(time.Hour)
	o = h.order(visitor, h.hold(visitor, ordinals...))
	o, err := h.Pay(h.t.Context(), key(), o.ID, payment.MethodOK)
	if err != nil || o.Status != checkout.Paid {
		h.t.Fatalf("pay: %s, %v", o.Status, err)
	}
	return visitor, o
}

// refund takes back all of an order.
func (h *house) refund(o checkout.Order) (checkout.Order, error) {
	return h.RefundOrder(h.t.Context(), nil, checkout.RefundRequest{Order: o.ID, Reason: "rain", Actor: "admin"})
}

// query reads one value.
func query[T any](h *house, sql string, args ...any) (v T) {
	h.t.Helper()
	if err := h.db.QueryRow(h.t.Context(), sql, args...).Scan(&v); err != nil {
		h.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// exec runs a statement that arranges a situation.
func (h *house) exec(sql string, args ...any) {
	h.t.Helper()
	if _, err := h.db.Exec(h.t.Context(), sql, args...); err != nil {
		h.t.Fatalf("%s: %v", sql, err)
	}
}

// work runs the pending jobs of the database until none is due, as the workers
// would but without waiting.
func (h *house) work() {
	h.t.Helper()
	ctx := h.t.Context()
	for range 20 {
		found, err := h.Sweep(ctx, 20*time.Second)
		if err != nil {
			h.t.Logf("sweep: %v", err)
		}
		if found == 0 {
			return
		}
	}
}

// soon makes due what failed and would be tried again later.
func (h *house) soon() {
	h.exec(`update payments set look_at = now() where look_at is not null`)
	h.exec(`update payments set compare_at = null where compare_at is not null`)
	h.exec(`update refunds set look_at = now() where look_at is not null`)
}

// payment returns the status of the order's last payment here and at the gateway.
func (h *house) payment(o checkout.Order) (ours, theirs string) {
	h.t.Helper()
	id := query[string](h, `select id::text from payments where order_id = $1 order by attempt desc limit 1`, o.ID)
	return query[string](h, `select status from payments where id = $1`, id),
		query[string](h, `select coalesce((select status from sandbox_payments where id = $1), 'unknown')`, id)
}

// live returns the live state of a ticket.
func (h *house) live(ordinal int) string {
	h.t.Helper()
	s, err := h.rdb.GetRange(h.t.Context(), lua.StatusKey(h.event), int64(ordinal), int64(ordinal)).Result()
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// invariants are what must be true of the database at any moment.
var invariants = map[string]string{
	"tickets sold in two items": `select count(*) from (select ticket_id from order_items where sold group by 1 having count(*) > 1) x`,
	"purchased tickets without a sold item of their order": `select count(*) from tickets t where status = 'purchased'
		and not exists (select from order_items i where i.ticket_id = t.id and i.order_id = t.order_id and i.sold)`,
	"sold items of orders that are not paid": `select count(*) from order_items i join orders o on o.id = i.order_id
		where i.sold and o.status not in ('paid', 'fulfilled', 'partially_refunded')`,
	"paid orders with a ticket that is not theirs": `select count(*) from orders o join order_items i on i.order_id = o.id
		join tickets t on t.id = i.ticket_id
		where o.status in ('paid', 'fulfilled', 'partially_refunded') and i.returned_at is null and (t.order_id is distinct from o.id or t.status <> 'purchased')`,
	"money kept for an order without tickets": `select count(*) from orders o join payments p on p.order_id = o.id
		join sandbox_payments s on s.id = p.id::text
		where o.status not in ('paid', 'fulfilled', 'partially_refunded', 'payment_unknown') and s.status = 'captured' and s.refunded < s.amount
		and p.status <> 'voiding' and not exists (select from refunds r where r.payment_id = p.id and r.status = 'pending')`,
	"fulfilled orders without captured money": `select count(*) from orders o where o.status = 'fulfilled' and not exists (
		select from payments p join sandbox_payments s on s.id = p.id::text where p.order_id = o.id and s.status = 'captured')`,
	"fulfilled orders without codes": `select count(*) from orders o join order_items i on i.order_id = o.id
		where o.status in ('fulfilled', 'partially_refunded') and i.sold <> exists (
			select from admissions a where a.order_id = o.id and a.ticket_id = i.ticket_id and a.ended_at is null)`,
	"codes of orders that are not fulfilled": `select count(*) from admissions a join orders o on o.id = a.order_id
		where a.ended_at is null and o.status not in ('fulfilled', 'partially_refunded')`,
}

// checkInvariants holds the database against them.
func (h *house) checkInvariants() {
	h.t.Helper()
	for _, what := range h.broken(invariants) {
		h.t.Error(what)
	}
}

// broken tells which rules do not hold. Each counts what breaks it.
func (h *house) broken(rules map[string]string) (found []string) {
	h.t.Helper()
	for what, sql := range rules {
		if n := query[int](h, sql); n != 0 {
			found = append(found, fmt.Sprintf("%d %s", n, what))
		}
	}
	return found
}
