package stacktest_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"onsale/internal/redisconn"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
)

var migrations atomic.Int32

func migrate(ctx context.Context, address string) error {
	migrations.Add(1)
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `CREATE TABLE things (id int PRIMARY KEY)`)
	return err
}

// Two tests get two databases from one run of the migration.
func TestDatabaseIsFreshAndMigratedOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for range 3 {
		conn, err := pgx.Connect(ctx, stacktest.Database(t, migrate))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.WithoutCancel(ctx))
		// A primary key: a second insert into the same database would fail.
		if _, err := conn.Exec(ctx, `INSERT INTO things VALUES (1)`); err != nil {
			t.Fatal(err)
		}
	}
	if n := migrations.Load(); n != 1 {
		t.Errorf("migrated %d times, want once", n)
	}
}

func TestRedisIsReal(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]*stack.Redis{"shared": stacktest.Redis(t), "own": stacktest.OwnRedis(t, stack.RedisOptions{})} {
		if server.Kind() != stack.RealRedis {
			t.Errorf("%s: kind %q", name, server.Kind())
		}
		options, err := redis.ParseURL(server.URL())
		if err != nil {
			t.Fatal(err)
		}
		client := redis.NewClient(options)
		defer client.Close()
		if err := client.Ping(t.Context()).Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What only a cluster or Sentinel has to get right: the address says what it is,
// and nothing is left behind.
func TestTopologies(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) string{
		"cluster":  func(t testing.TB) string { return stacktest.Cluster(t).URL() },
		"sentinel": func(t testing.TB) string { return stacktest.Sentinels(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// How busy is the machine? Single servers, one after the other, take a tenth of a second.
			began := time.Now()
			for range 3 {
				stacktest.OwnRedis(t, stack.RedisOptions{})
			}
			most := 10*time.Second + 10*time.Since(began)
			began = time.Now()
			client, err := redisconn.Open(start(t))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if took := time.Since(began); took > most {
				t.Errorf("it took %v to start, want at most %v", took, most)
			}
			for i := range 20 { // in many slots
				key := fmt.Sprintf("{%d}", i)
				if err := client.Set(t.Context(), key, i, 0).Err(); err != nil {
					t.Fatal(err)
				}
				if n, err := client.Get(t.Context(), key).Int(); n != i || err != nil {
					t.Errorf("%s = %d, %v", key, n, err)
				}
			}
		})
	}
}

// A pair loses exactly what was held up: what came before is there after the
// take-over, at the same address.
func TestPairLosesWhatWasHeldUp(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pair := stacktest.NewPair(t)
	client, err := redisconn.Open(pair.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	replica, err := redisconn.Open(pair.Replica.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer replica.Close()
	set := func(key string) {
		t.Helper()
		if err := client.Set(ctx, key, "1", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	heard := func(key string) bool {
		for range 6000 {
			if n, err := replica.Exists(ctx, key).Result(); err != nil || n == 1 {
				return err == nil
			}
			<-time.After(10 * time.Millisecond)
		}
		return false
	}
	set("before")
	if !heard("before") {
		t.Fatal("the replica does not copy")
	}
	pair.Copying.Set(stacktest.Faults{HoldReplies: true})
	set("held up")
	pair.Copying.Set(stacktest.Faults{})
	if !heard("held up") {
		t.Fatal("what was held up does not come when it may")
	}
	pair.Copying.Set(stacktest.Faults{HoldReplies: true})
	set("lost")
	pair.Kill(t)
	if err := client.Ping(ctx).Err(); err == nil {
		t.Error("somebody answers when the master is dead")
	}
	pair.TakeOver(t)
	set("after") // which a replica would refuse
	for key, want := range map[string]int64{"before": 1, "held up": 1, "lost": 0, "after": 1} {
		if n, err := client.Exists(ctx, key).Result(); err != nil || n != want {
			t.Errorf("%q: %d, %v; want %d", key, n, err, want)
		}
	}
}

// A proxy that loses COMMITs loses those of what was written: they have happened, and
// nobody knows. And it can change what is asked.
func TestProxyLosesCommits(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	address := stacktest.Database(t, migrate)
	p := stacktest.NewProxy(t, address)
	pool, err := pgxpool.New(ctx, p.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	in := func(sql string) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sql)
			return err
		})
	}
	commits := 0
	p.Set(stacktest.Faults{LoseCommits: true, AtCommit: func() { commits++ }})
	if err := in(`select 1`); err != nil || p.Lost() != 0 {
		t.Errorf("a transaction that only reads: %v, %d answers were lost", err, p.Lost())
	}
	if err := in(`create table kept as select 7 as n`); err != nil {
		t.Error(err)
	}
	if err := in(`update kept set n = n + 1`); err == nil || p.Lost() != 1 || commits != 3 {
		t.Errorf("a transaction that writes: %v, %d answers to %d COMMITs were lost", err, p.Lost(), commits)
	}
	p.Set(stacktest.Faults{Rewrite: func(request []byte) {
		if i := bytes.Index(request, []byte("n + 100")); i >= 0 {
			copy(request[i:], "n + 200")
		}
	}})
	var n int
	if err := pool.QueryRow(ctx, `select n + 100 from kept`).Scan(&n); err != nil || n != 208 {
		t.Errorf("got %d, %v; want 208: it was written, and the question was another one", n, err)
	}
}
