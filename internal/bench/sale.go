package bench

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"onsale/catalog"
	catalogpg "onsale/catalog/pgstore"
	"onsale/checkout"
	"onsale/checkout/payment"
	checkoutpg "onsale/checkout/pgstore"
	checkoutredis "onsale/checkout/redisstore"
	"onsale/lua"
	"onsale/waitroom/pass"
)

// saleLasts is longer than any run: nothing lapses in it.
const saleLasts = time.Hour

// shop is checkout on a database with one event, made as the program makes it, without
// HTTP and without workers.
type shop struct {
	db      *pgxpool.Pool
	redis   *redis.Client
	service *checkout.Service
	event   string
	seats   int

	holding []sold // who hold tickets and have not bought them
	next    atomic.Int64
	mu      sync.Mutex
	bought  []sold
}

// sold is a purchase, from the hold on.
type sold struct {
	visitor, hold, order string
	created, paid        checkout.Key
	tickets              int
}

func openShop(ctx context.Context, address string, rdb *redis.Client, event string) (_ *shop, err error) {
	s := &shop{redis: rdb, event: event}
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 20 // as the program has
	if s.db, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := rdb.FlushDB(ctx).Err(); err != nil { // a run before has sold the same tickets
		return nil, err
	}
	events := catalog.NewCache(catalogpg.New(s.db, nil), time.Now)
	layout, err := events.Layout(ctx, event)
	if err != nil {
		return nil, err
	}
	s.seats = len(layout.Seats)
	orders, err := checkoutpg.New(s.db)
	if err != nil {
		return nil, err
	}
	log, holds := slog.New(slog.DiscardHandler), checkoutredis.New(rdb)
	inventory, err := checkout.NewInventory(holds, orders, events, time.Now, log, nil)
	if err != nil {
		return nil, err
	}
	s.service, err = checkout.New(checkout.Deps{
		Options: checkout.Options{HoldTTL: saleLasts, PayWithin: 10 * time.Minute, GatewayTimeout: 10 * time.Second},
		Catalog: events, Holds: holds, Orders: orders, Gateway: promptGateway{}, Inventory: inventory, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	return s, inventory.Rebuild(ctx, event)
}

func (s *shop) close() { s.db.Close() }

// hold has so many visitors hold tickets next to each other, one and two in turns, as
// far as there are tickets. The waiting room is not asked: they have their turn.
func (s *shop) hold(ctx context.Context, visitors, atOnce int) error {
	var first []int
	for seat := 0; len(s.holding) < visitors; {
		n := 1 + len(s.holding)%2
		if seat+n > s.seats {
			break
		}
		first = append(first, seat)
		s.holding = append(s.holding, sold{visitor: pass.NewVisitor(), tickets: n})
		seat += n
	}
	turns := make([]redis.Z, len(s.holding))
	until := float64(time.Now().Add(saleLasts).UnixMilli())
	for i := range s.holding {
		turns[i] = redis.Z{Score: until, Member: s.holding[i].visitor}
	}
	if err := s.redis.ZAdd(ctx, lua.ActiveKey(s.event), turns...).Err(); err != nil {
		return err
	}
	g, running := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range s.holding {
		g.Go(func() error {
			p := &s.holding[i]
			ordinals := []int{first[i], first[i] + 1}[:p.tickets]
			h, err := s.service.Hold(running, checkout.HoldRequest{Event: s.event, Visitor: p.visitor, Ordinals: ordinals})
			p.hold = h.ID
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("hold tickets: %w", err)
	}
	return nil
}

// errSold says that nobody is left who could buy.
var errSold = errors.New("everything is sold")

// buy takes the next who holds tickets through order and payment.
func (s *shop) buy(ctx context.Context) (took time.Duration, err error) {
	n := int(s.next.Add(1)) - 1
	if n >= len(s.holding) {
		return 0, errSold
	}
	p := s.holding[n]
	began := time.Now()
	p.created = saleKey(p.visitor+" POST /v1/orders", p.hold)
	o, err := s.service.CreateOrder(ctx, p.created, checkout.OrderRequest{
		Event: s.event, Visitor: p.visitor, Hold: p.hold, Buyer: checkout.Buyer{Name: "Buyer of the bench", Email: "buyer@bench.example"},
	})
	if err != nil {
		return 0, fmt.Errorf("order: %w", err)
	}
	p.order, p.paid = o.ID, saleKey(p.visitor+" POST /v1/orders/"+o.ID+"/pay", o.ID)
	o, err = s.service.Pay(ctx, p.paid, o.ID, promptMethod)
	if err != nil {
		return 0, fmt.Errorf("pay: %w", err)
	}
	took = time.Since(began)
	if o.Status != checkout.Paid || len(o.Items) != p.tickets {
		return 0, fmt.Errorf("an order of %d tickets is %s, with %d", p.tickets, o.Status, len(o.Items))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bought = append(s.bought, p)
	return took, nil
}

func saleKey(scope, body string) checkout.Key {
	sum := sha256.Sum256([]byte(body))
	return checkout.Key{Scope: scope, Value: uuid.NewString(), Fingerprint: hex.EncodeToString(sum[:])}
}

// aloneFor has one buyer after the other buy, with nobody besides.
func (s *shop) aloneFor(ctx context.Context, purchases int) ([]time.Duration, error) {
	all := make([]time.Duration, 0, purchases)
	for range purchases {
		took, err := s.buy(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, took)
	}
	return all, nil
}

// rush has buyers buy at the same time, each followed by the next, for the time d
// after the warm-up or until the first finds nothing. It counts who have paid by then,
// and returns how long those who came after the warm-up took.
func (s *shop) rush(ctx context.Context, buyers int, d time.Duration) (count, []time.Duration, error) {
	var mu sync.Mutex
	var all []time.Duration
	var measuring, stop atomic.Bool
	over := make(chan struct{})
	end := sync.OnceFunc(func() {
		stop.Store(true)
		close(over)
	})
	g, running := errgroup.WithContext(ctx)
	for range buyers {
		g.Go(func() error {
			for !stop.Load() {
				counts := measuring.Load()
				took, err := s.buy(running)
				if errors.Is(err, errSold) {
					end()
					return nil
				}
				if err != nil {
					end()
					return err
				}
				if counts {
					mu.Lock()
					all = append(all, took)
					mu.Unlock()
				}
			}
			return nil
		})
	}
	wait := func(d time.Duration) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-over:
		case <-running.Done():
		}
	}
	soFar := func() int64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return int64(len(s.bought))
	}
	wait(warmUp)
	measuring.Store(true)
	before, began := soFar(), time.Now()
	wait(d)
	c := count{requests: soFar() - before, took: time.Since(began)}
	end()
	err := g.Wait()
	if err == nil && c.requests == 0 {
		err = errors.New("everything was sold before the measurement began, or nothing was")
	}
	return c, all, err
}

// verify looks in the database for every purchase that was acknowledged: paid, with
// all its tickets, the money, both answers and the job that captures the payment; no
// ticket may be sold twice, and nothing else be sold.
func (s *shop) verify(ctx context.Context) error {
	var orders, visitors, created, paid []string
	var tickets []int
	var all int
	for _, p := range s.bought {
		orders, visitors, tickets = append(orders, p.order), append(visitors, p.visitor), append(tickets, p.tickets)
		created, paid = append(created, p.created.Value), append(paid, p.paid.Value)
		all += p.tickets
	}
	rows, err := s.db.Query(ctx, `
		select w.ord
		from unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[]) as w (ord, visitor, tickets, created, paid)
		left join orders o on o.id = w.ord::uuid and o.status = 'paid' and o.visitor = w.visitor
		left join payments p on p.order_id = o.id and p.status = 'authorised' and p.amount = o.total_amount
		left join idempotency_keys c on c.scope = w.visitor || ' POST /v1/orders' and c.key = w.created and c.status = 201
		left join idempotency_keys k on k.scope = w.visitor || ' POST /v1/orders/' || w.ord || '/pay' and k.key = w.paid and k.status = 200
		left join (
			select i.order_id, count(*) as n from order_items i join tickets t on t.id = i.ticket_id and t.order_id = i.order_id
			where i.sold and t.status = 'purchased' group by i.order_id) as t on t.order_id = o.id
		left join (
			select args ->> 'payment' as payment, count(*) as n from river_job where kind = 'capture_payment' group by 1) as j on j.payment = p.id::text
		where o.id is null or p.id is null or c.key is null or k.key is null or t.n is distinct from w.tickets or j.n is distinct from 1`,
		orders, visitors, tickets, created, paid)
	if err != nil {
		return err
	}
	defer rows.Close()
	var lost []string
	for rows.Next() {
		var order string
		if err := rows.Scan(&order); err != nil {
			return err
		}
		lost = append(lost, order)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if len(lost) > 0 {
		return fmt.Errorf("%d of %d purchases that were acknowledged are not whole in the database, %s for one", len(lost), len(orders), lost[0])
	}
	var sales, items, different, sold int
	err = s.db.QueryRow(ctx, `
		select (select count(*) from orders where status = 'paid'), count(*), count(distinct ticket_id),
			(select count(*) from tickets where status = 'purchased')
		from order_items where sold`).Scan(&sales, &items, &different, &sold)
	if err == nil && (sales != len(orders) || items != all || different != all || sold != all) {
		err = fmt.Errorf("%d purchases of %d tickets were acknowledged; the database has %d of %d (%d different), and %d tickets are sold",
			len(orders), all, sales, items, different, sold)
	}
	return err
}

// answerSizes are the mean sizes of stored answers, in bytes.
type answerSizes struct{ created, paid int }

func (s *shop) answerSizes(ctx context.Context) (a answerSizes, err error) {
	err = s.db.QueryRow(ctx, `
		select avg(length(body)) filter (where status = 201)::int, avg(length(body)) filter (where status = 200)::int from idempotency_keys`).
		Scan(&a.created, &a.paid)
	return a, err
}

// promptGateway is a payment provider that authorises at once: another company does
// the work.
type promptGateway struct{}

var _ payment.Gateway = promptGateway{}

const promptMethod = "bench"

// errNoWorker is returned by calls that only workers make.
var errNoWorker = errors.New("no worker runs in the bench")

// Name implements payment.Gateway.
func (promptGateway) Name() string { return "bench" }

// CheckMethod implements payment.Gateway.
func (promptGateway) CheckMethod(method string) error {
	if method != promptMethod {
		return payment.ErrUnknownMethod
	}
	return nil
}

// Authorise implements payment.Gateway.
func (promptGateway) Authorise(context.Context, payment.Charge) (payment.Result, error) {
	return payment.Result{State: payment.Authorised}, nil
}

// Lookup implements payment.Gateway. No answer is ever lost here.
func (promptGateway) Lookup(context.Context, string) (payment.Result, error) {
	return payment.Result{}, payment.ErrNotFound
}

// Capture implements payment.Gateway.
func (promptGateway) Capture(context.Context, string) error { return errNoWorker }

// Void implements payment.Gateway.
func (promptGateway) Void(context.Context, string) error { return errNoWorker }

// Refund implements payment.Gateway.
func (promptGateway) ParseWebhook(http.Header, []byte) (payment.Notice, error) {
	return payment.Notice{}, payment.ErrIgnored
}

func (promptGateway) Refund(context.Context, string, string, int64) error { return errNoWorker }
