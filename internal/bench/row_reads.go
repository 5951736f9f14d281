package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"onsale/internal/stack"
)

const (
	readRate        = 5000 // reads a second
	readConnections = 128
	readEvents      = 200 // that are looked at, besides the one that is on sale
	buyRate         = 20  // purchases a second meanwhile
	buyCallers      = 64
)

var _ = register(Row{
	Name: "reads", Order: 52,
	Figure: "99th percentile of the time of 5,000 reads a second against one node for a minute, from when each is due to its answer: of an event's document, " +
		"its page, its availability and plan, the list and searches, of two hundred events, while twenty tickets a second are bought of one of them. " +
		"None of them may read the catalog on the primary; what purchases took is told beside",
	Unit: Millis,
	Goal: Goal{Below: 100},
	Runs: struct{ Full, Short int }{3, 1},
	Prepare: func(ctx context.Context, env *Env) (Trial, error) {
		return prepareReads(ctx, env)
	},
})

// readsTrial has a crowd look around while some buy. The node reads from a standby.
type readsTrial struct {
	servers  *Servers
	standby  *stack.Postgres
	node     *Node
	progress Progress
	duration time.Duration
	sale     string // the event that is bought
	requests [][]byte
	shoppers []shopper
	bought   atomic.Int64
}

func prepareReads(ctx context.Context, env *Env) (_ *readsTrial, err error) {
	t := &readsTrial{progress: env.Progress, duration: time.Minute}
	runs := 3
	if env.Short {
		t.duration, runs = 10*time.Second, 1
	}
	if env.Runs > 0 {
		runs = env.Runs
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.servers, err = StartServers(ctx, env.Options); err != nil {
		return nil, err
	}
	folder := filepath.Join(t.servers.dir, "standby")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return nil, err
	}
	if t.standby, err = t.servers.stack.Postgres.StartStandby(ctx, folder, false); err != nil {
		return nil, err
	}
	if t.node, err = t.servers.Serve(ctx, "ONSALE_DATABASE_READ_URL="+t.standby.URL()); err != nil {
		return nil, err
	}
	purchases := int(t.duration.Seconds()*buyRate) * runs
	e, err := t.node.createHouse(ctx, house{seats: purchases + 1000, perRow: 40}, wideOpen())
	if err != nil {
		return nil, err
	}
	t.sale = e.ID
	if t.shoppers, err = t.node.admit(ctx, e.ID, purchases); err != nil {
		return nil, err
	}
	return t, t.lookAround(ctx)
}

// lookAround puts the other events on sale, and makes the requests: of twenty, eight
// ask for the document of the event that everybody wants.
func (t *readsTrial) lookAround(ctx context.Context) error {
	others := make([]string, readEvents)
	names := [...]string{"Harbour Lights", "Northern Strings", "Comedy of Errors", "Winter Games", "The Paper Lanterns"}
	for i := range others {
		var e event
		document := house{seats: 60}.document(wideOpen())
		document["name"] = names[i%len(names)] + " " + strconv.Itoa(i)
		if err := t.node.call(ctx, http.MethodPost, "/v1/admin/events", document, &e); err != nil {
			return fmt.Errorf("create an event: %w", err)
		}
		others[i] = e.ID
	}
	add := func(times int, path string) {
		for range times {
			t.requests = append(t.requests, requestBytes(http.MethodGet, path, t.node.host(), nil))
		}
	}
	for i, id := range others {
		add(8, "/v1/events/"+t.sale)
		add(2, "/v1/events/"+id)
		add(2, "/events/"+t.sale)
		add(1, "/events/"+id)
		add(2, "/v1/events/"+t.sale+"/availability")
		add(1, "/v1/events/"+id+"/plan")
		add(2, "/v1/events?limit=20")
		add(1, "/v1/events?q="+[...]string{"harbour", "northern+strings", "comdy", "winter", "lanterns"}[i%len(names)])
		add(1, "/v1/events?city=Localhost&type=concert&sort=name&limit=20")
	}
	return t.onceEach(ctx)
}

// onceEach asks for everything once, so that no answer is other than expected.
func (t *readsTrial) onceEach(ctx context.Context) error {
	var next atomic.Int64
	l := t.load()
	l.next = func(int) []byte {
		if n := int(next.Add(1)) - 1; n < len(t.requests) {
			return t.requests[n]
		}
		return nil
	}
	_, err := l.all(ctx)
	return err
}

func (t *readsTrial) load() *load {
	return &load{address: t.node.host(), connections: readConnections, status: http.StatusOK, heard: func(int, []byte) error { return nil }}
}

func (t *readsTrial) Measure(ctx context.Context) (float64, error) {
	primary, standby := t.servers.DatabaseURL(), t.standby.URL()
	onPrimary, err := catalogReads(ctx, primary)
	if err != nil {
		return 0, err
	}
	onStandby, err := catalogReads(ctx, standby)
	if err != nil {
		return 0, err
	}
	l := t.load()
	l.next = func(int) []byte { return t.requests[mathrand.IntN(len(t.requests))] }
	lines, err := l.open(ctx, t.duration+answerLimit)
	if err != nil {
		return 0, err
	}
	defer lines.close()
	reading := &pace{rate: readRate, callers: readConnections}
	buying := &pace{rate: buyRate, callers: buyCallers, sleep: func(d time.Duration) { time.Sleep(d) }}
	buyer := &http.Client{Timeout: answerLimit, Transport: &http.Transport{MaxIdleConnsPerHost: buyCallers}}
	defer buyer.CloseIdleConnections()

	var reads, purchases []time.Duration
	g, running := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		reads, err = reading.run(running, t.duration, func(_ context.Context, caller int) error {
			_, _, err := lines[caller].exchange()
			return err
		})
		return err
	})
	g.Go(func() (err error) {
		purchases, err = buying.run(running, t.duration, func(ctx context.Context, _ int) error { return t.buy(ctx, buyer) })
		return err
	})
	if err := g.Wait(); err != nil {
		return 0, err
	}
	if err := t.sold(ctx); err != nil {
		return 0, err
	}
	afterPrimary, err := catalogReads(ctx, primary)
	if err != nil {
		return 0, err
	}
	afterStandby, err := catalogReads(ctx, standby)
	switch {
	case err != nil:
		return 0, err
	case afterPrimary != onPrimary:
		return 0, fmt.Errorf("the catalog was read %d times on the primary", afterPrimary-onPrimary)
	case afterStandby == onStandby:
		return 0, errors.New("the catalog was not read on the standby either: nothing is known about where it is read")
	}
	t.progress.Notef("reads: %s reads, half within %s, 99 %% within %s, the slowest %s; %s purchases (hold, order, pay), half within %s, 99 %% within %s; %s index and table scans of the catalog on the standby, none on the primary",
		thousands(float64(len(reads))), millis(percentile(reads, 0.5)), millis(percentile(reads, 0.99)), millis(percentile(reads, 1)),
		thousands(float64(len(purchases))), millis(percentile(purchases, 0.5)), millis(percentile(purchases, 0.99)), thousands(float64(afterStandby-onStandby)))
	return percentile(reads, 0.99).Seconds() * 1000, nil
}

func millis(d time.Duration) string { return Millis.text(d.Seconds() * 1000) }

// buy has the next shopper hold a ticket and pay for it.
func (t *readsTrial) buy(ctx context.Context, client *http.Client) error {
	n := t.bought.Add(1) - 1
	s := t.shoppers[n]
	call := func(path string, key bool, in, out any) error {
		header := http.Header{"Authorization": {"Bearer " + s.pass}}
		if key {
			header.Set("Idempotency-Key", rand.Text())
		}
		return exchange(ctx, client, http.MethodPost, t.node.base.String()+path, header, in, out)
	}
	var h held
	if err := call("/v1/events/"+s.event+"/holds", false, object{"best_available": object{"quantity": 1}}, &h); err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	var o paying
	buyer := object{"name": "Reader " + strconv.FormatInt(n, 10), "email": fmt.Sprintf("reader-%d@bench.example", n)}
	if err := call("/v1/orders", true, object{"hold": h.ID, "buyer": buyer}, &o); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	if err := call("/v1/orders/"+o.ID+"/pay", true, object{"method": "tok_ok"}, &o); err != nil {
		return fmt.Errorf("pay: %w", err)
	}
	if o.Status != "paid" && o.Status != "fulfilled" {
		return fmt.Errorf("a payment was answered with status %q", o.Status)
	}
	return nil
}

// sold holds what was bought against what is sold.
func (t *readsTrial) sold(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	var e event
	var err error
	return poll(wait, 100*time.Millisecond, func() bool {
		e, err = t.node.event(wait, t.sale)
		return err == nil && e.Tickets != nil && int64(e.Tickets.Sold) == t.bought.Load()
	}, func() error {
		return fmt.Errorf("%d tickets were bought, and the event says %+v: %w", t.bought.Load(), e.Tickets, errOr(err, "the numbers differ"))
	})
}

// catalogReads counts the scans of tables that only reading the catalog needs, all of
// them: a server's process that has nothing to do tells of them within ten seconds.
func catalogReads(ctx context.Context, address string) (n int64, err error) {
	db, err := pgx.Connect(ctx, address)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close(ctx)) }()
	const told = 11 * time.Second
	pause(ctx, told)
	err = db.QueryRow(ctx, `
select sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0))::bigint from pg_stat_user_tables
 where relname in ('venues', 'artists', 'event_artists', 'event_search', 'search_words', 'plans')`).Scan(&n)
	return n, err
}

func (*readsTrial) Reference(context.Context) (float64, error) {
	return 0, errors.New("there is none")
}

func (t *readsTrial) Close() error {
	var errs []error
	if t.node != nil {
		errs = append(errs, t.node.Close())
	}
	if t.standby != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		defer cancel()
		errs = append(errs, t.standby.Stop(ctx))
	}
	if t.servers != nil {
		errs = append(errs, t.servers.Close())
	}
	return errors.Join(errs...)
}
