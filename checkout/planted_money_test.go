package checkout_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"onsale/checkout"
	"onsale/checkout/payment"
	"onsale/internal/fault"
	"onsale/internal/stack/stacktest"
)

// moneyBug is a bug on the way of money and tickets: SQL that is changed on its way to
// Postgres, a store that does something wrong, or both, with what would refuse it
// switched off.
type moneyBug struct {
	name  string
	edits []sqlEdit
	store func(b *bank) checkout.OrderStore
	drop  []string // what the database must not refuse any more
	// story is a situation in which it matters. It tells what it sees go wrong itself.
	story func(b *bank) []string
}

// sqlEdit replaces a part of a statement by one that is not longer.
type sqlEdit struct{ from, to string }

const (
	dropWhole    = `drop trigger orders_whole on orders`
	dropSoldOnce = `drop index order_items_sold_once`
)

// The conditions on which tickets are claimed.
var (
	anyStatus = sqlEdit{"(t.status = 'available' or (t.status = 'reserved' and t.reserved_until < now()))", "true"}
	anyTime   = sqlEdit{"(t.status = 'reserved' and t.reserved_until < now())", "t.status = 'reserved'"}
	anyFence  = sqlEdit{"and t.fence <= w.fence", ""}
	// With an exchange.
	anySeat = sqlEdit{"and (status = 'available' or (status = 'reserved' and reserved_until < now()))", ""}
)

var moneyBugs = []moneyBug{
	{name: "a ticket is claimed whatever its status", edits: []sqlEdit{anyStatus}, story: soldToTwo},
	{name: "a ticket is claimed whatever its status, and may be in two sales", edits: []sqlEdit{anyStatus}, drop: []string{dropSoldOnce}, story: soldToTwo},
	{
		name: "a ticket is claimed whatever its status, and nothing else refuses it", edits: []sqlEdit{anyStatus},
		drop: []string{dropSoldOnce, dropWhole}, story: soldToTwo,
	},
	{name: "a ticket is claimed while somebody's time to pay runs", edits: []sqlEdit{anyTime}, story: overtakenInTime},
	{name: "a ticket is claimed by an older hold", edits: []sqlEdit{anyFence}, story: olderHold},
	{name: "a ticket is exchanged for one that is sold", edits: []sqlEdit{anySeat}, story: exchangedForSold},
	{
		name: "a ticket is exchanged for one that is sold, and may be in two sales", edits: []sqlEdit{anySeat},
		drop: []string{dropSoldOnce}, story: exchangedForSold,
	},
	{name: "money is taken before the sale is committed", store: captureFirst, story: claimLost},
	{name: "a refund's key is stored after it", store: keyLater, story: refundTwice},
	{
		name: "refunds are not summed up", edits: []sqlEdit{{"set refunded_amount = refunded_amount + $1", "set refunded_amount = refunded_amount+0*$1"}},
		story: refundTooMuch,
	},
	{
		name: "refunds of an order are not summed up, and those of its payment not bounded", story: refundTooMuch,
		edits: []sqlEdit{{"update orders set refunded_amount = refunded_amount + $1", "update orders set refunded_amount = refunded_amount+0*$1"}},
		drop:  []string{`alter table payments drop constraint payments_refunded`},
	},
	{name: "the sweep forgets what is to be voided", store: forgetVoids, story: neverPaid},
	{name: "the sweep forgets what is to be given back", store: forgetRefunds, story: refundOnce},
	{name: "an order that ends leaves its payment alone", edits: []sqlEdit{
		{"where order_id = $1 and status in ('pending', 'requires_action', 'authorised') returning id", "where order_id = $1 and false returning id"},
	}, story: neverPaid},
	{name: "an order that ends keeps its tickets", edits: []sqlEdit{
		{"set status = 'available', user_id = null, order_id = null, reserved_until = null", "set fence = fence"},
	}, story: neverPaid},
	{name: "a promo code is used without end", edits: []sqlEdit{{"and (max_uses is null or used < max_uses)", ""}},
		drop: []string{`alter table promo_codes drop constraint promo_codes_limit`}, story: promoForTwo},
	{name: "a promo code is not given back", edits: []sqlEdit{
		{"update promo_codes set used = used - 1 where id = $1", "update promo_codes set used = used where id = $1"},
	}, story: promoForTwo},
}

// TestPlantedMoneyBugsAreFound plants bugs on the way of money and tickets: the checks
// that other tests end with have to find each of them, and nothing without it.
func TestPlantedMoneyBugsAreFound(t *testing.T) {
	t.Parallel()
	for _, bug := range moneyBugs {
		t.Run(bug.name, func(t *testing.T) {
			t.Parallel()
			well := moneyBug{story: bug.story}
			if found := newBank(t, well).tell(well); len(found) > 0 {
				t.Errorf("without the bug this is found:\n%s", strings.Join(found, "\n"))
			}
			b := newBank(t, bug)
			found := b.tell(bug)
			switch {
			case len(bug.edits) > 0 && b.used.Load() == 0:
				t.Error("the statement that was to be edited was never sent: the bug has to be planted anew")
			case len(found) == 0:
				t.Error("not found")
			default:
				t.Logf("found:\n%s", strings.Join(found, "\n"))
			}
		})
	}
}

// TestNoTicketIsInTwoSales: what a bug in the condition of claims would do, the
// database refuses to have.
func TestNoTicketIsInTwoSales(t *testing.T) {
	t.Parallel()
	bug := moneyBug{edits: []sqlEdit{anyStatus}}
	b := newBank(t, bug)
	soldToTwo(b)
	pg, ok := errors.AsType[*pgconn.PgError](b.last)
	if !ok || pg.ConstraintName != "order_items_sold_once" || b.used.Load() == 0 {
		t.Errorf("the second sale of a ticket: %v, want a violation of order_items_sold_once", b.last)
	}
	if n := query[int](b.house, `select count(*) from order_items where sold`); n != 1 {
		t.Errorf("%d items are sold, want 1", n)
	}
}

// bank is a house that may have a bug.
type bank struct {
	*house
	used   atomic.Int64 // statements that were edited
	pinned func()       // what happens once, when an order has pinned its hold
	store  checkout.OrderStore
	last   error // what a story's last call came to
}

func newBank(t *testing.T, bug moneyBug) *bank {
	t.Helper()
	b := &bank{}
	p := stacktest.NewProxy(t, stacktest.Database(t, migrate))
	p.Set(stacktest.Faults{Rewrite: func(request []byte) { b.edit(request, bug.edits) }})
	db, err := pgxpool.New(t.Context(), p.URL())
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
	b.house = houseOn(t, db, rdb, func(d *checkout.Deps) {
		b.store = d.Orders
		if bug.store != nil {
			d.Orders = bug.store(b)
		}
		d.Step = func(name string) {
			if do := b.pinned; name == checkout.StepPinned && do != nil {
				b.pinned = nil
				do()
			}
		}
	})
	b.spoiled = true // stories make Redis forget things
	for _, sql := range bug.drop {
		b.exec(sql)
	}
	return b
}

// edit replaces what a request says, in its place.
func (b *bank) edit(request []byte, edits []sqlEdit) {
	for _, e := range edits {
		for rest := request; ; {
			i := bytes.Index(rest, []byte(e.from))
			if i < 0 {
				break
			}
			there := rest[i : i+len(e.from)]
			copy(there, e.to+strings.Repeat(" ", len(e.from)-len(e.to)))
			b.used.Add(1)
			rest = rest[i+len(e.from):]
		}
	}
}

// tell plays the bug's story to its end, and says what is wrong then.
func (b *bank) tell(bug moneyBug) []string {
	b.t.Helper()
	wrong := bug.story(b)
	return append(wrong, b.comesToAnEnd()...)
}

// tries has a visitor go for tickets, and returns the order that they get.
func (b *bank) tries(promo string, ordinals ...int) (visitor string, o checkout.Order, err error) {
	b.t.Helper()
	visitor = b.admit(time.Hour)
	hold := b.hold(visitor, ordinals...)
	o, err = b.CreateOrder(b.t.Context(), key(), checkout.OrderRequest{Event: b.event, Visitor: visitor, Hold: hold.ID, Buyer: buyer, Promo: promo})
	return visitor, o, err
}

func (b *bank) pays(o checkout.Order, method string) error {
	_, b.last = b.Pay(b.t.Context(), key(), o.ID, method)
	return b.last
}

// twoHolds gives one buyer an order, and another a newer hold of its ticket: Redis has
// forgotten the first hold before the order was written.
func twoHolds(b *bank) (o checkout.Order, other func() (checkout.Order, error)) {
	b.t.Helper()
	second := b.admit(time.Hour)
	var newer checkout.Hold
	b.pinned = func() {
		b.lose(checkout.Hold{Ordinals: []int{1}})
		newer = b.hold(second, 1)
	}
	_, o, err := b.tries("", 1)
	if err != nil {
		b.t.Fatal(err)
	}
	return o, func() (checkout.Order, error) {
		return b.CreateOrder(b.t.Context(), key(), checkout.OrderRequest{Event: b.event, Visitor: second, Hold: newer.ID, Buyer: buyer})
	}
}

// soldToTwo has a second buyer go for a ticket that is sold.
func soldToTwo(b *bank) (wrong []string) {
	o, other := twoHolds(b)
	if err := b.pays(o, payment.MethodOK); err != nil {
		wrong = append(wrong, err.Error())
	}
	b.work()
	if o, err := other(); err == nil {
		_ = b.pays(o, payment.MethodOK) // the books will tell
	}
	return wrong
}

func overtakenInTime(b *bank) (wrong []string) {
	o, other := twoHolds(b)
	if o, err := other(); err == nil {
		_ = b.pays(o, payment.MethodOK)
	}
	if err := b.pays(o, payment.MethodOK); err != nil {
		wrong = append(wrong, fmt.Sprintf("within their time to pay somebody is told: %v", err))
	}
	return wrong
}

func olderHold(b *bank) (wrong []string) {
	slow := b.admit(time.Hour)
	hold := b.hold(slow, 1)
	b.pinned = func() {
		b.lose(hold)
		_, o, err := b.tries("", 1)
		if err == nil {
			_, err = b.Cancel(b.t.Context(), nil, checkout.CancelRequest{Order: o.ID})
		}
		if err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	o, err := b.CreateOrder(b.t.Context(), key(), checkout.OrderRequest{Event: b.event, Visitor: slow, Hold: hold.ID, Buyer: buyer})
	if err == nil {
		wrong = append(wrong, "an order was made of a hold that is older than another order's: "+string(o.Status))
	}
	return wrong
}

func exchangedForSold(b *bank) []string {
	b.bought(1)
	_, o := b.bought(3)
	b.work()
	b.lose(checkout.Hold{Ordinals: []int{1}})
	_, err := b.Exchange(b.t.Context(), nil, checkout.ExchangeRequest{
		Order: o.ID, Tickets: []string{o.Items[0].Ticket}, To: []string{b.layout.Seats[1].ID}, Actor: "admin",
	})
	if err != nil && !fault.Is(err, fault.TicketsTaken) {
		return []string{fmt.Sprintf("an exchange for a ticket that is sold: %v", err)}
	}
	return nil
}

// claimLost has a buyer pay after their time, when somebody else has the ticket.
func claimLost(b *bank) []string {
	_, o, err := b.tries("", 1)
	if err != nil {
		return []string{err.Error()}
	}
	b.exec(`update tickets set reserved_until = now() - interval '1 second' where order_id = $1`, o.ID)
	b.lose(checkout.Hold{Ordinals: []int{1}})
	if _, other, err := b.tries("", 1); err != nil || b.pays(other, payment.MethodOK) != nil {
		return []string{fmt.Sprintf("nobody can have a ticket whose claim is over: %v, %v", err, b.last)}
	}
	if err := b.pays(o, payment.MethodOK); !fault.Is(err, fault.TicketsTaken) {
		return []string{fmt.Sprintf("paying for a ticket that is sold: %v", err)}
	}
	return nil
}

// refundTwice gives money back and, when no answer comes, asks again.
func refundTwice(b *bank) []string {
	_, o := b.bought(1)
	b.work()
	k := key()
	const amount = 1000
	for range 3 {
		_, err := b.RefundOrder(b.t.Context(), &k, checkout.RefundRequest{Order: o.ID, Amount: amount, Actor: "admin"})
		if err == nil {
			break
		}
	}
	if got := query[int](b.house, `select refunded_amount from orders where id = $1`, o.ID); got != amount {
		return []string{fmt.Sprintf("%d were given back, and %d asked for, with one key", got, amount)}
	}
	return nil
}

func refundTooMuch(b *bank) []string {
	_, o := b.bought(1)
	b.work()
	for range 3 {
		_, _ = b.RefundOrder(b.t.Context(), nil, checkout.RefundRequest{Order: o.ID, Amount: 3000, Actor: "admin"}) // the second is too much
	}
	return nil
}

func refundOnce(b *bank) []string {
	_, o := b.bought(1)
	b.work()
	if _, err := b.refund(o); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// neverPaid is an order whose buyer never answers the bank.
func neverPaid(b *bank) []string {
	_, o, err := b.tries("", 1)
	if err == nil {
		err = b.pays(o, payment.MethodRequiresAction)
	}
	if err != nil {
		return []string{err.Error()}
	}
	return nil
}

// promoForTwo uses a promo code that is good for one order: for one that is given up,
// and then for two more.
func promoForTwo(b *bank) []string {
	one, off := 1, int64(500)
	if _, err := b.CreatePromos(b.t.Context(), b.event, checkout.NewPromo{Code: "ONCE", Amount: &off, MaxUses: &one}); err != nil {
		return []string{err.Error()}
	}
	_, o, err := b.tries("ONCE", 1)
	if err == nil {
		_, err = b.Cancel(b.t.Context(), nil, checkout.CancelRequest{Order: o.ID})
	}
	if err != nil {
		return []string{err.Error()}
	}
	for _, seat := range []int{2, 3} {
		if _, o, err := b.tries("ONCE", seat); err == nil {
			if err := b.pays(o, payment.MethodOK); err != nil {
				return []string{err.Error()}
			}
		}
	}
	return nil
}

// captureFirst takes the money before the sale is committed.
func captureFirst(b *bank) checkout.OrderStore { return earlyStore{b.store, b} }

type earlyStore struct {
	checkout.OrderStore
	b *bank
}

func (s earlyStore) CommitSale(ctx context.Context, k *checkout.Key, id string, begun *checkout.Order) (checkout.Order, error) {
	if err := s.b.gateway.Capture(ctx, id); err != nil {
		return checkout.Order{}, err
	}
	return s.OrderStore.CommitSale(ctx, k, id, begun)
}

// keyLater stores the key of a refund after it, and crashes in between, once.
func keyLater(b *bank) checkout.OrderStore { return &lateKeyStore{OrderStore: b.store} }

type lateKeyStore struct {
	checkout.OrderStore
	crashed atomic.Bool
}

func (s *lateKeyStore) RefundOrder(ctx context.Context, k *checkout.Key, r checkout.RefundRequest) (checkout.Order, error) {
	if k == nil || s.crashed.Load() {
		return s.OrderStore.RefundOrder(ctx, k, r)
	}
	other := *k
	other.Value += " of its own"
	if o, err := s.OrderStore.RefundOrder(ctx, &other, r); err != nil {
		return o, err
	}
	s.crashed.Store(true) // the answer would be stored now
	return checkout.Order{}, fault.Down(errors.New("the program was killed"), "the ticket store")
}

// forgetVoids sweeps, but for one kind of things; forgetRefunds for another.
func forgetVoids(b *bank) checkout.OrderStore {
	return forgetfulStore{b.store, func(d *checkout.Due) {
		kept := d.Payments[:0]
		for _, p := range d.Payments {
			if p.Status != checkout.PaymentVoiding {
				kept = append(kept, p)
			}
		}
		d.Payments = kept
	}}
}

func forgetRefunds(b *bank) checkout.OrderStore {
	return forgetfulStore{b.store, func(d *checkout.Due) { d.Refunds = nil }}
}

type forgetfulStore struct {
	checkout.OrderStore
	forget func(d *checkout.Due)
}

func (s forgetfulStore) Due(ctx context.Context, within time.Duration, limit int) (checkout.Due, error) {
	d, err := s.OrderStore.Due(ctx, within, limit)
	s.forget(&d)
	return d, err
}
