package checkout_test

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/checkout/payment"
	"onsale/checkout/pgstore"
	"onsale/internal/fault"
	"onsale/waitroom/pass"
)

// TestEachFailsAlone sends many purchases at once, so that they share transactions,
// among them ones that must fail for different reasons: all others succeed.
func TestEachFailsAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	const buyers = 40
	type buy struct {
		visitor string
		hold    checkout.Hold
		want    fault.Code
		order   checkout.Order
	}
	buys := make([]*buy, buyers)
	for n := range buys {
		b := &buy{visitor: h.admit(time.Hour)}
		b.hold = h.hold(b.visitor, n)
		buys[n] = b
		switch n % 8 {
		case 1: // somebody has the ticket already, as after a failover of Redis
			h.exec(`update tickets set fence = $3 where event_id = $1 and ordinal = $2`, h.event, n, int64(checkout.MostFence))
			b.want = fault.TicketsTaken
		case 5: // the hold is of another visitor
			b.visitor, b.want = h.admit(time.Hour), fault.Forbidden
		}
	}
	var wg sync.WaitGroup
	for n, b := range buys {
		wg.Go(func() {
			var err error
			b.order, err = h.CreateOrder(ctx, key(), checkout.OrderRequest{Event: h.event, Visitor: b.visitor, Hold: b.hold.ID, Buyer: buyer})
			if fault.CodeOf(err) != b.want {
				t.Errorf("order %d: %v, want %q", n, err, b.want)
			}
		})
	}
	wg.Wait()
	for n, b := range buys {
		if b.want != "" {
			continue
		}
		wg.Go(func() {
			method, want := payment.MethodOK, checkout.Paid
			if n%8 == 3 {
				method, want = payment.MethodDeclined, checkout.Declined
			}
			o, err := h.Pay(ctx, key(), b.order.ID, method)
			if err != nil || o.Status != want || len(o.Items) != 1 || o.Total.Amount != o.Items[0].Price.Amount {
				t.Errorf("pay %d: %+v, %v; want %s", n, o, err, want)
			}
			stored, err := h.Order(ctx, b.order.ID)
			o.Payment.Reason, stored.Payment.Reason = "", ""
			if got, want := asJSON(t, o), asJSON(t, stored); err != nil || got != want {
				t.Errorf("pay %d answered\n%s, stored is\n%s, %v", n, got, want, err)
			}
		})
	}
	wg.Wait()
	h.work()
	if n := query[int](h, `select count(*) from orders where status = 'fulfilled'`); n != 25 {
		t.Errorf("%d orders are fulfilled, want 25", n)
	}
	h.checkInvariants()
}

func asJSON(t *testing.T, o checkout.Order) string {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestABreakdownIsOnesOwn lets one of many orders in a transaction break it: it is
// refused alone.
func TestABreakdownIsOnesOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	// An order that the database refuses for a reason that the code does not know.
	h.exec(`alter table orders add constraint odd check (buyer_name <> 'Odd One')`)
	var wg sync.WaitGroup
	for n := range 30 {
		visitor := h.admit(time.Hour)
		hold := h.hold(visitor, n)
		wg.Go(func() {
			b := buyer
			if n == 7 {
				b.Name = "Odd One"
			}
			o, err := h.CreateOrder(ctx, key(), checkout.OrderRequest{Event: h.event, Visitor: visitor, Hold: hold.ID, Buyer: b})
			if (err != nil) != (n == 7) || err == nil && o.Status != checkout.AwaitingPayment {
				t.Errorf("order %d: %s, %v", n, o.Status, err)
			}
		})
	}
	wg.Wait()
	if n := query[int](h, `select count(*) from tickets where status = 'reserved'`); n != 29 {
		t.Errorf("%d tickets are claimed, want 29", n)
	}
}

// TestOneVisitorManyTabs holds the limit per buyer when all orders of one buyer come
// at once, and the keys of repeated requests.
func TestOneVisitorManyTabs(t *testing.T) {
	t.Parallel()
	h := newHouse(t) // at most 4 per buyer
	ctx := t.Context()
	visitor := h.admit(time.Hour)
	hold := h.hold(visitor, 1, 2)
	k := checkout.Key{Scope: "tabs", Value: uuid.NewString(), Fingerprint: "f"}
	ids := make([]string, 24)
	var wg sync.WaitGroup
	for n := range ids {
		wg.Go(func() {
			mine := k
			if n%2 == 1 {
				mine = key() // another tab has a key of its own
			}
			o, err := h.CreateOrder(ctx, mine, checkout.OrderRequest{Event: h.event, Visitor: visitor, Hold: hold.ID, Buyer: buyer})
			if err != nil {
				t.Errorf("tab %d: %v", n, err)
			}
			ids[n] = o.ID
		})
	}
	wg.Wait()
	for n, id := range ids {
		if id != ids[0] {
			t.Errorf("tab %d got another order", n)
		}
	}
	if n := query[int](h, `select count(*) from orders`); n != 1 {
		t.Errorf("there are %d orders, want 1", n)
	}
}

// TestOneAccountManyDevices holds a promo code's limit per buyer for an account when
// all its devices order at once, most of them in one transaction. What is given up may
// be used again, by any of them.
func TestOneAccountManyDevices(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	const most, devices = 3, 24
	percent, limit := catalog.Rate(10_000), most
	if _, err := h.CreatePromos(ctx, h.event, checkout.NewPromo{Code: "FAN", Percent: &percent, PerBuyer: &limit}); err != nil {
		t.Fatal(err)
	}
	account := uuid.NewString()
	h.exec(`insert into accounts (id, email) values ($1, 'fan@example.org')`, account)
	visitors, holds := make([]string, devices+2), make([]checkout.Hold, devices+2)
	for n := range visitors {
		visitors[n] = h.admit(time.Hour)
		holds[n] = h.hold(visitors[n], n)
		if n < devices { // the others are guests
			h.exec(`insert into users (id, visitor, account_id) values ($1, $2, $3)`, uuid.NewString(), visitors[n], account)
		}
	}
	orders, errs := make([]checkout.Order, len(visitors)), make([]error, len(visitors))
	order := func(n int) {
		orders[n], errs[n] = h.CreateOrder(ctx, key(), checkout.OrderRequest{Event: h.event, Visitor: visitors[n], Hold: holds[n].ID, Promo: "FAN", Buyer: buyer})
	}
	var wg sync.WaitGroup
	for n := range visitors {
		wg.Go(func() { order(n) })
	}
	wg.Wait()
	var made, refused []int
	for n, err := range errs {
		switch {
		case n >= devices && err != nil:
			t.Errorf("guest %d: %v", n, err)
		case n >= devices:
		case err == nil:
			made = append(made, n)
		case usedByYou(err):
			refused = append(refused, n)
		default:
			t.Errorf("device %d: %v", n, err)
		}
	}
	used := func() int { return query[int](h, `select used from promo_codes`) }
	if len(made) != most || used() != most+2 {
		t.Fatalf("%d orders of the account have the code, %d uses are counted; want %d and %d", len(made), used(), most, most+2)
	}
	// Whoever asks for the price is told so before.
	if _, err := h.Price(ctx, h.event, visitors[refused[0]], holds[refused[0]].ID, "FAN"); !usedByYou(err) {
		t.Errorf("the price on a device that has not used it itself: %v", err)
	}
	if _, err := h.Cancel(ctx, nil, checkout.CancelRequest{Order: orders[made[0]].ID}); err != nil {
		t.Fatal(err)
	}
	order(refused[0])
	order(refused[1])
	if errs[refused[0]] != nil || !usedByYou(errs[refused[1]]) || used() != most+2 {
		t.Errorf("after one was given up: %v, then %v; %d uses", errs[refused[0]], errs[refused[1]], used())
	}
	h.checkInvariants()
}

func usedByYou(err error) bool {
	f, ok := fault.Of(err)
	return ok && f.Code == fault.PromoInvalid && f.Members["reason"] == string(checkout.PromoUsedByYou)
}

// TestAFrozenNodeStopsOnlyItsOwn lets a node freeze in the middle of a transaction, with
// rows locked that one of many purchases needs: the others go on.
func TestAFrozenNodeStopsOnlyItsOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	const buyers = 16
	visitors, orders := make([]string, buyers), make([]checkout.Order, buyers)
	all := func(do func(n int) error) {
		t.Helper()
		var wg sync.WaitGroup
		for n := range buyers {
			wg.Go(func() {
				if err := do(n); (err != nil) != (n == 7) || err != nil && !fault.Is(err, fault.Unavailable) {
					t.Errorf("buyer %d: %v", n, err)
				}
			})
		}
		wg.Wait()
	}
	frozen := func(sql string, args ...any) pgx.Tx {
		t.Helper()
		tx, err := h.db.Begin(ctx)
		if err == nil {
			_, err = tx.Exec(ctx, sql, args...)
		}
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	holds := make([]checkout.Hold, buyers)
	for n := range buyers {
		visitors[n] = h.admit(time.Hour)
		holds[n] = h.hold(visitors[n], n)
	}
	order := func(n int) (err error) {
		orders[n], err = h.CreateOrder(ctx, key(), checkout.OrderRequest{Event: h.event, Visitor: visitors[n], Hold: holds[n].ID, Buyer: buyer})
		return err
	}
	tx := frozen(`insert into users (id, visitor, name, email) values ($1, $2, '', '')`, uuid.NewString(), visitors[7])
	all(order)
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := order(7); err != nil {
		t.Fatal(err)
	}
	tx = frozen(`select from orders where id = $1 for update`, orders[7].ID)
	all(func(n int) error { _, err := h.Pay(ctx, key(), orders[n].ID, payment.MethodOK); return err })
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	h.work()
	h.checkInvariants()
}

// TestPromosDoNotDeadlock lets two nodes use the same two promo codes for many orders
// at once, in any order: no transaction waits for another that waits for it.
func TestPromosDoNotDeadlock(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	ten := catalog.Rate(10_000)
	var promos []checkout.PromoCode
	for _, code := range []string{"LEFT", "RIGHT"} {
		made, err := h.CreatePromos(ctx, h.event, checkout.NewPromo{Code: code, Percent: &ten})
		if err != nil {
			t.Fatal(err)
		}
		promos = append(promos, made...)
	}
	dbs, nodes := make([]*pgxpool.Pool, 2), make([]*pgstore.Store, 2)
	for i := range nodes {
		c := h.db.Config()
		c.ConnConfig.RuntimeParams["application_name"] = "node"
		var err error
		if dbs[i], err = pgxpool.NewWithConfig(ctx, c); err == nil {
			nodes[i], err = pgstore.New(dbs[i])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for n := range h.layout.Seats {
		p := promos[(n%2+n/(len(h.layout.Seats)/2))%2] // each node comes to them from another side
		quote := checkout.NewQuote(h.layout, []int{n}, &checkout.Promo{ID: p.ID, Code: p.Code, Kind: checkout.PromoPercent, Value: int64(ten)})
		wg.Go(func() {
			_, err := nodes[n%2].CreateOrder(ctx, key(), checkout.NewOrder{
				ID: uuid.Must(uuid.NewV7()).String(), Event: h.event, Visitor: pass.NewVisitor(), Hold: uuid.NewString(), Fence: 1 << 60,
				Items: checkout.ItemsOf(h.layout, []int{n}, quote), Quote: quote, Buyer: buyer, PayWithin: time.Minute, MaxPerBuyer: 4,
			})
			if err != nil {
				t.Errorf("order %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	for _, db := range dbs {
		db.Close() // what they have counted is known when their connections are gone
	}
	for query[bool](h, `select exists (select from pg_stat_activity where application_name = 'node' and datname = current_database())`) {
		if err := ctx.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if n := query[int](h, `select deadlocks from pg_stat_database where datname = current_database()`); n != 0 {
		t.Errorf("there were %d deadlocks", n)
	}
	if n := query[int](h, `select sum(used)::int from promo_codes`); n != len(h.layout.Seats) {
		t.Errorf("%d uses were counted of %d", n, len(h.layout.Seats))
	}
}
