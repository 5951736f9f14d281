// Package stacktest gives tests a real Redis and a real PostgreSQL.
//
// The shared servers come from ONSALE_TEST_REDIS_URL and
// ONSALE_TEST_DATABASE_URL (a superuser) when these are set, as `make test`
// does for the whole run; else each test process starts its own, which end with
// it. Tests isolate themselves by a database each ([Database]) and by key
// prefixes of their own; nobody flushes the shared Redis.
package stacktest

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"onsale/internal/stack"
)

// timeout bounds what takes a second or two, also where many processes do it at once.
const timeout = 3 * time.Minute

// required tells whether a missing server fails the test instead of skipping it.
func required() bool {
	ci, _ := strconv.ParseBool(os.Getenv("CI"))
	asked, _ := strconv.ParseBool(os.Getenv("ONSALE_REQUIRE_REAL"))
	return ci || asked
}

// missing ends a test whose server cannot be had.
func missing(t testing.TB, err error) {
	t.Helper()
	if required() {
		t.Fatalf("this test needs a real server: %v", err)
	}
	t.Skipf("skipped, since it needs a real server (ONSALE_REQUIRE_REAL=1 makes this a failure): %v", err)
}

// FreeAddress is a loopback address, host:port, on which nobody listens now and no
// connection that goes out has its end.
func FreeAddress(t testing.TB) string {
	t.Helper()
	port, err := stack.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// Missing ends a test that needs a program which cannot be had: it is skipped with
// the reason, and fails where real servers are required.
func Missing(t testing.TB, err error) {
	t.Helper()
	missing(t, err)
}

// IgnoreServers lets goleak pass over the goroutines of the shared servers.
func IgnoreServers() []goleak.Option {
	return []goleak.Option{goleak.IgnoreAnyFunction("onsale/internal/stack.(*child).own")}
}

// slot starts a shared server in a folder that is kept between runs, so that the
// next start is quick, and used by one process at a time.
func slot(name string, start func(dir string) error) error {
	base := filepath.Join(os.TempDir(), fmt.Sprintf("onsale-test-%d", os.Getuid()))
	for n := range 64 {
		err := start(filepath.Join(base, name+"-"+strconv.Itoa(n)))
		if !errors.Is(err, stack.ErrLocked) {
			return err
		}
	}
	return fmt.Errorf("%s: too many test processes at once", base)
}

var sharedRedis = sync.OnceValues(func() (*stack.Redis, error) {
	if address := os.Getenv("ONSALE_TEST_REDIS_URL"); address != "" {
		return stack.AttachRedis(address), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var server *stack.Redis
	err := slot("redis", func(dir string) (err error) {
		server, err = stack.StartRedis(ctx, stack.RedisOptions{Dir: dir, Forget: true, RealOnly: true})
		return err
	})
	return server, err
})

// Redis returns the real Redis that all tests of this run share. It keeps
// nothing on disk. Use keys that no other test uses, and never flush it. A whole
// program does not belong on it: its background work would find the rooms and
// holds of other tests; give it its [OwnRedis].
func Redis(t testing.TB) *stack.Redis {
	t.Helper()
	server, err := sharedRedis()
	if err != nil {
		missing(t, err)
	}
	return server
}

// OwnRedis returns a Redis of this test alone, to be killed or paused at will.
// It is stopped when the test ends.
func OwnRedis(t testing.TB, options stack.RedisOptions) *stack.Redis {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	options.RealOnly = !options.InProcess
	server, err := stack.StartRedis(ctx, options)
	if errors.Is(err, stack.ErrNoRedis) {
		missing(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, server.Stop)
	return server
}

// Miniredis returns an in-process stand-in of this test alone, to hold scripts
// against both servers.
func Miniredis(t testing.TB) *stack.Redis {
	t.Helper()
	return OwnRedis(t, stack.RedisOptions{InProcess: true})
}

// Cluster returns a real Redis Cluster of three masters, of this test alone. It is
// stopped when the test ends.
func Cluster(t testing.TB) *stack.Cluster {
	t.Helper()
	return own(t, stack.StartCluster, (*stack.Cluster).Stop)
}

// Sentinels returns a real master with a replica and three sentinels, of this
// test alone. They are stopped when the test ends.
func Sentinels(t testing.TB) *stack.Sentinels {
	t.Helper()
	return own(t, stack.StartSentinels, (*stack.Sentinels).Stop)
}

// Pair is a master and the replica that takes over from it, each a real server.
// What the replica copies passes Copying, and whoever uses the pair does so by way
// of Front, as by an address that follows the master.
type Pair struct {
	Master, Replica *stack.Redis
	Copying, Front  *Proxy
}

// NewPair returns a pair of this test alone. It is stopped when the test ends.
func NewPair(t testing.TB) *Pair {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	master := OwnRedis(t, stack.RedisOptions{})
	p := &Pair{Master: master, Copying: NewProxy(t, master.URL()), Front: NewProxy(t, master.URL())}
	replica, err := stack.StartReplica(ctx, master, p.Copying.Address(), nil)
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, replica.Stop)
	p.Replica = replica
	return p
}

// URL is the address of whichever is the master.
func (p *Pair) URL() string { return p.Front.URL() }

// Kill ends the master as a power cut would. What Copying held up is lost.
func (p *Pair) Kill(t testing.TB) {
	t.Helper()
	if err := p.Master.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Copying.Cut()
}

// TakeOver makes the replica the master.
func (p *Pair) TakeOver(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if err := p.Replica.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	p.Front.Lead(t, p.Replica.URL())
	p.Front.Cut()
}

func own[S any](t testing.TB, start func(context.Context, *slog.Logger) (S, error), stop func(S, context.Context) error) S {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	servers, err := start(ctx, nil)
	if errors.Is(err, stack.ErrNoRedis) {
		missing(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, func(ctx context.Context) error { return stop(servers, ctx) })
	return servers
}

var sharedPostgres = sync.OnceValues(func() (string, error) {
	if address := os.Getenv("ONSALE_TEST_DATABASE_URL"); address != "" {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		loginFast(ctx, address)
		return address, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var server *stack.Postgres
	err := slot("postgres", func(dir string) (err error) {
		server, err = stack.StartPostgres(ctx, stack.PostgresOptions{
			Dir: dir, NoSync: true, Config: map[string]string{"max_connections": "500"},
		})
		return err
	})
	if err != nil {
		return "", err
	}
	loginFast(ctx, server.URL())
	return server.URL(), dropLeftOver(ctx, server.URL())
})

// loginFast stores the password with a single round of hashing (RFC 5802): tests that
// break connections spend a good part of their time logging in. Where it does not work
// everything just takes longer.
func loginFast(ctx context.Context, address string) {
	u, err := url.Parse(address)
	if err != nil {
		return
	}
	password, _ := u.User.Password()
	salt := []byte(rand.Text())
	salted, err := pbkdf2.Key(sha256.New, password, salt, 1, sha256.Size)
	if err != nil {
		return
	}
	sign := func(what string) []byte {
		mac := hmac.New(sha256.New, salted)
		mac.Write([]byte(what))
		return mac.Sum(nil)
	}
	stored := sha256.Sum256(sign("Client Key"))
	text := base64.StdEncoding.EncodeToString
	_ = admin(ctx, address, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, fmt.Sprintf("ALTER ROLE %s PASSWORD 'SCRAM-SHA-256$1:%s$%s:%s'",
			pgx.Identifier{u.User.Username()}.Sanitize(), text(salt), text(stored[:]), text(sign("Server Key"))))
		return err
	})
}

const prefix = "onsale_test_"

// dropLeftOver removes the databases of earlier runs.
func dropLeftOver(ctx context.Context, address string) error {
	return admin(ctx, address, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT datname FROM pg_database WHERE starts_with(datname, $1)`, prefix)
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, name := range names {
			if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
				return err
			}
		}
		return err
	})
}

// Postgres returns the superuser's URL of the real PostgreSQL that all tests of
// this run share. It does not sync to disk. Tests use a [Database] in it.
func Postgres(t testing.TB) string {
	t.Helper()
	address, err := sharedPostgres()
	if err != nil {
		missing(t, err)
	}
	return address
}

// OwnPostgres returns a PostgreSQL of this test alone, to be killed or paused at
// will. It is stopped when the test ends.
func OwnPostgres(t testing.TB, options stack.PostgresOptions) *stack.Postgres {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	server, err := stack.StartPostgres(ctx, options)
	if err != nil {
		missing(t, err)
	}
	cleanup(t, server.Stop)
	return server
}

// Standby returns a server that copies primary as it writes, by streaming replication.
// With confirming, the primary waits with every COMMIT until the copy has it.
func Standby(t testing.TB, primary *stack.Postgres, confirming bool) *stack.Postgres {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	standby, err := primary.StartStandby(ctx, t.TempDir(), confirming)
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, standby.Stop)
	return standby
}

func cleanup(t testing.TB, stop func(context.Context) error) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

// Migrate brings an empty database to the schema that tests start from.
type Migrate func(ctx context.Context, databaseURL string) error

var (
	templatesMu sync.Mutex
	templates   = make(map[string]func() (string, error))
)

// template returns the name of the database that migrate made, running it once
// per process.
func template(address string, migrate Migrate) (string, error) {
	key := runtime.FuncForPC(reflect.ValueOf(migrate).Pointer()).Name()
	templatesMu.Lock()
	once, known := templates[key]
	if !known {
		once = sync.OnceValues(func() (string, error) {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			name := newName()
			if err := create(ctx, address, name, "template0"); err != nil {
				return "", err
			}
			return name, migrate(ctx, withDatabase(address, name))
		})
		templates[key] = once
	}
	templatesMu.Unlock()
	return once()
}

// Database returns the URL of a fresh database in the shared PostgreSQL, of this
// test alone and dropped when it ends. It is a copy of the database that migrate
// made, which runs once per process: functions count as the same by where they
// stand in the source, so what they close over must be the same too. With nil
// the database is empty.
func Database(t testing.TB, migrate Migrate) string {
	t.Helper()
	address := Postgres(t)
	from := "template0"
	if migrate != nil {
		var err error
		if from, err = template(address, migrate); err != nil {
			t.Fatalf("make the template database: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	name := newName()
	if err := create(ctx, address, name, from); err != nil {
		t.Fatalf("create the test's database: %v", err)
	}
	cleanup(t, func(ctx context.Context) error {
		return admin(ctx, address, func(conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
			return err
		})
	})
	return withDatabase(address, name)
}

func newName() string {
	return fmt.Sprintf("%s%d_%s", prefix, os.Getpid(), strings.ToLower(rand.Text()[:12]))
}

// create makes a database as a copy of another, which must have no connections:
// those of a migration that has just closed its pool may linger for a moment.
func create(ctx context.Context, address, name, from string) error {
	return admin(ctx, address, func(conn *pgx.Conn) error {
		for {
			_, err := conn.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+from)
			var refused *pgconn.PgError
			const objectInUse = "55006"
			if !errors.As(err, &refused) || refused.Code != objectInUse {
				return err
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return err
			}
		}
	})
}

func admin(ctx context.Context, address string, do func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	return errors.Join(do(conn), conn.Close(ctx))
}

func withDatabase(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	u.Path = "/" + cmp.Or(name, "postgres")
	return u.String()
}

// Delays measures how long a busy machine keeps this process waiting, from now on: what
// it returns is the sum of what naps took too long so far. A test that holds a promise
// about time allows this much more, which is nothing where the processor is free.
func Delays(t testing.TB) func() time.Duration {
	const nap, fair = 5 * time.Millisecond, 20 * time.Millisecond
	var (
		mu   sync.Mutex
		sum  time.Duration
		last = time.Now()
	)
	late := func() time.Duration { return max(time.Since(last)-fair, 0) }
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				return
			case <-time.After(nap):
			}
			mu.Lock()
			sum += late()
			last = time.Now()
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		close(over)
		<-ended
	})
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return sum + late()
	}
}
