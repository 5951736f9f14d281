package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"onsale/catalog"
	catalogpg "onsale/catalog/pgstore"
	"onsale/internal/stack"
)

const (
	saleBuyers  = 128 // who buy at the same time
	saleClients = 16  // of pgbench
	saleFull    = 80_000
	saleShort   = 20_000
	saleAlone   = 30   // purchases of a buyer alone, before the rush
	saleRate    = 5000 // purchases a second that there are holds for; a run that is faster is shorter
)

var _ = register(Row{
	Name: "purchases", Order: 35,
	Figure: "purchases of one ticket or two by 128 buyers at once, who hold them: CreateOrder and Pay of checkout in this process on PostgreSQL (fsync on) and Redis, " +
		"with a gateway that authorises at once. Each is found paid in the database afterwards, with its answers and its job",
	Reference: "pgbench -M prepared, 16 clients, the same rows in one statement a purchase, same schema, another database of the same server",
	Unit:      SalesPerSecond,
	Goal:      Goal{AtLeast: 1}, Stretch: Goal{AtLeast: 1.5},
	Runs:    struct{ Full, Short int }{5, 1},
	Prepare: func(ctx context.Context, env *Env) (Trial, error) { return preparePurchases(ctx, env) },
})

// purchasesTrial sells an event, again and again: each run of either side begins with
// a copy of the same database, in which nothing is sold.
type purchasesTrial struct {
	servers  *Servers
	postgres *stack.Postgres
	program  string // pgbench
	admin    *pgx.Conn
	redis    *redis.Client
	progress Progress
	event    string
	tickets  int
	buyers   int
	alone    int
	most     int // purchases in a run
	duration time.Duration
	answers  answerSizes // of the last run, for the reference
}

func preparePurchases(ctx context.Context, env *Env) (_ *purchasesTrial, err error) {
	t := &purchasesTrial{duration: env.MeasureFor(), tickets: saleFull, buyers: saleBuyers, alone: saleAlone, progress: env.Progress}
	if env.Short {
		t.tickets = saleShort
	}
	t.most = int((t.duration+warmUp).Seconds()*saleRate) + t.alone
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.servers, err = StartServers(ctx, env.Options); err != nil {
		return nil, err
	}
	t.postgres = t.servers.stack.Postgres
	if t.redis, err = t.servers.redis(); err != nil {
		return nil, err
	}
	return t, t.build(ctx)
}

// build puts the event on sale and looks for pgbench.
func (t *purchasesTrial) build(ctx context.Context) (err error) {
	if t.program, err = t.postgres.Program("pgbench"); err != nil {
		return fmt.Errorf("pgbench, which comes with PostgreSQL (apt-get install postgresql), is needed: %w", err)
	}
	document, err := json.Marshal(house{seats: t.tickets, perRow: 40}.document(wideOpen()))
	if err != nil {
		return err
	}
	event, _, err := catalog.ParseEvent(document)
	if err != nil {
		return err
	}
	db, err := pgxpool.New(ctx, t.postgres.URL())
	if err != nil {
		return err
	}
	created, err := catalogpg.New(db, nil).CreateEvent(ctx, event)
	if err == nil {
		_, err = db.Exec(ctx, `vacuum analyze`)
	}
	db.Close() // what is copied must not be in use
	if err != nil {
		return fmt.Errorf("the event: %w", err)
	}
	t.event = created.ID
	t.admin, err = pgx.Connect(ctx, database(t.postgres.URL(), "postgres"))
	return err
}

// database is the address of another database of the same server.
func database(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address // connecting says what is wrong with it
	}
	u.Path = "/" + name
	return u.String()
}

// fresh copies the database and returns the copy's address. Both sides start with
// everything before them on disk.
func (t *purchasesTrial) fresh(ctx context.Context, name string) (string, error) {
	var original string
	if u, err := url.Parse(t.postgres.URL()); err == nil {
		original = u.Path[1:]
	}
	for _, sql := range []string{
		`drop database if exists ` + name + ` with (force)`,
		`create database ` + name + ` template ` + pgx.Identifier{original}.Sanitize(),
		`checkpoint`,
	} {
		if _, err := t.admin.Exec(ctx, sql); err != nil {
			return "", fmt.Errorf("copy the database: %w", err)
		}
	}
	return database(t.postgres.URL(), name), nil
}

// written is what the server has written to its log so far.
type written struct {
	bytes float64
	syncs *float64 // nil where pg_stat_wal does not tell (PostgreSQL 18)
}

func (t *purchasesTrial) written(ctx context.Context) (w written, err error) {
	err = t.admin.QueryRow(ctx, `
		select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8, (to_jsonb(s) ->> 'wal_sync')::float8 from pg_stat_wal s`).Scan(&w.bytes, &w.syncs)
	return w, err
}

func (w written) per(purchases int, before written) string {
	text := fmt.Sprintf("%.1f KB of WAL", (w.bytes-before.bytes)/float64(purchases)/(1<<10))
	if w.syncs != nil && before.syncs != nil {
		text += fmt.Sprintf(" and %.2f fsyncs", (*w.syncs-*before.syncs)/float64(purchases))
	}
	return text + " a purchase"
}

func (t *purchasesTrial) Measure(ctx context.Context) (float64, error) {
	address, err := t.fresh(ctx, "onsale_ours")
	if err != nil {
		return 0, err
	}
	s, err := openShop(ctx, address, t.redis, t.event)
	if err != nil {
		return 0, err
	}
	defer s.close()
	if err := s.hold(ctx, t.most, t.buyers); err != nil {
		return 0, err
	}
	alone, err := s.aloneFor(ctx, t.alone)
	if err != nil {
		return 0, err
	}
	before, err := t.written(ctx)
	if err != nil {
		return 0, err
	}
	bought := len(s.bought)
	c, took, err := s.rush(ctx, t.buyers, t.duration)
	if err != nil {
		return 0, err
	}
	after, err := t.written(ctx)
	if err != nil {
		return 0, err
	}
	if err := s.verify(ctx); err != nil {
		return 0, err
	}
	if t.answers, err = s.answerSizes(ctx); err != nil {
		return 0, err
	}
	t.notef("purchases: %s a second; half of the buyers waited %.1f ms, 99 %% at most %.1f ms; a buyer alone %.1f ms (median of %d); %s",
		thousands(c.perSecond()), inMillis(percentile(took, 0.5)), inMillis(percentile(took, 0.99)), inMillis(percentile(alone, 0.5)), len(alone),
		after.per(len(s.bought)-bought, before))
	return c.perSecond(), nil
}

func (t *purchasesTrial) notef(format string, args ...any) {
	if t.progress != nil {
		t.progress.Notef(format, args...)
	}
}

func inMillis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

func (t *purchasesTrial) Close() error {
	var err error
	if t.admin != nil {
		err = t.admin.Close(context.Background())
	}
	return errors.Join(err, closeAll(t.redis, nil, t.servers))
}
