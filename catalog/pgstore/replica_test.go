package pgstore_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"onsale/catalog"
	"onsale/catalog/pgstore"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
)

// copied is a primary, its standby, and a store that reads the standby.
type copied struct {
	*testing.T
	primary, standby *stack.Postgres
	lead, copy       *pgxpool.Pool // lead is whoever takes writes
	store            *pgstore.Store
	replica          *pgstore.Replica
}

const mostLag = time.Second

func newCopied(t *testing.T, confirming bool) *copied {
	t.Helper()
	p := &copied{T: t, primary: stacktest.OwnPostgres(t, stack.PostgresOptions{})}
	if err := migrate(t.Context(), p.primary.URL()); err != nil {
		t.Fatal(err)
	}
	p.standby = stacktest.Standby(t, p.primary, confirming)
	// As operators write it: both servers, and whoever takes writes is the primary.
	both, err := url.Parse(p.primary.URL())
	if err != nil {
		t.Fatal(err)
	}
	other, err := url.Parse(p.standby.URL())
	if err != nil {
		t.Fatal(err)
	}
	both.Host += "," + other.Host
	q := both.Query()
	q.Set("target_session_attrs", "read-write")
	q.Set("connect_timeout", "20")
	both.RawQuery = q.Encode()
	p.lead, p.copy = connect(t, both.String()), connect(t, p.standby.URL())
	p.replica = pgstore.NewReplica(p.lead, p.copy, mostLag, silent)
	p.store = pgstore.New(p.lead, p.replica)
	return p
}

func (p *copied) exec(db *pgxpool.Pool, sql string) {
	p.Helper()
	if _, err := db.Exec(p.Context(), sql); err != nil {
		p.Fatal(err)
	}
}

// until waits for something that comes about by itself.
func (p *copied) until(what string, f func() bool) {
	p.Helper()
	for end := time.Now().Add(2 * time.Minute); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			p.Fatalf("not within two minutes: %s", what)
		}
	}
}

func (p *copied) name(id string) string {
	p.Helper()
	e, err := p.store.Event(p.Context(), id)
	if err != nil {
		p.Fatal(err)
	}
	return e.Name
}

// fromCopy tells whether a read goes to the standby.
func (p *copied) fromCopy(id string) bool {
	p.Helper()
	before := p.copy.Stat().AcquireCount()
	lead := p.lead.Stat().AcquireCount()
	p.name(id)
	return p.copy.Stat().AcquireCount() > before && p.lead.Stat().AcquireCount() == lead
}

func (p *copied) renamed(id, name string) {
	p.Helper()
	if _, _, err := p.store.UpdateEvent(p.Context(), id, catalog.EventPatch{Name: &name}); err != nil {
		p.Fatal(err)
	}
	if got := p.name(id); got != name {
		p.Errorf("who has just written %q reads %q", name, got)
	}
}

// TestReplica reads a standby while it keeps up, and only then.
func TestReplica(t *testing.T) {
	t.Parallel()
	p := newCopied(t, false)
	e, err := p.store.CreateEvent(t.Context(), hall(t, "Evening", spring))
	if err != nil {
		t.Fatal(err)
	}
	fromCopy := func() bool { return p.fromCopy(e.ID) }
	p.until("the standby is read", fromCopy)
	for i := range 5 {
		p.renamed(e.ID, fmt.Sprint("Evening ", i))
	}
	p.until("the standby is read again", fromCopy)

	p.exec(p.copy, `select pg_wal_replay_pause()`) // asks for it, no more
	p.until("the standby pauses", func() (paused bool) {
		if err := p.copy.QueryRow(t.Context(), `select pg_get_wal_replay_pause_state() = 'paused'`).Scan(&paused); err != nil {
			t.Fatal(err)
		}
		return paused
	})
	p.renamed(e.ID, "Night")
	p.until("its lag is seen", func() bool { p.name(e.ID); return p.replica.Lag() > mostLag })
	if p.fromCopy(e.ID) || p.name(e.ID) != "Night" {
		t.Errorf("a standby that lags by %v is read", p.replica.Lag())
	}
	p.exec(p.copy, `select pg_wal_replay_resume()`)
	p.until("it is read when it has caught up", fromCopy)

	// One that has lost its primary, and does not know of it, is old although all it
	// got is replayed.
	p.exec(p.lead, `select pg_terminate_backend(pid) from pg_stat_replication`)
	p.until("it is back", fromCopy)

	if err := p.standby.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if got := p.name(e.ID); got != "Night" {
			t.Errorf("without its replica the catalog says %q", got)
		}
	}
	p.renamed(e.ID, "Late night")
}

// TestALateReplicaIsForgivenOnce has looks at the standby wait too long for a
// connection.
func TestALateReplicaIsForgivenOnce(t *testing.T) {
	t.Parallel()
	p := newCopied(t, false)
	p.replica = pgstore.NewReplica(p.lead, p.copy, 5*time.Second, silent)
	p.store = pgstore.New(p.lead, p.replica)
	e, err := p.store.CreateEvent(t.Context(), hall(t, "Evening", spring))
	if err != nil {
		t.Fatal(err)
	}
	p.until("the standby is read", func() bool { return p.fromCopy(e.ID) })
	// On a busy machine the look before may have been late, too.
	p.until("late once, the standby is read, and late twice it is not", func() bool {
		var taken []*pgxpool.Conn
		for range p.copy.Config().MaxConns {
			conn, err := p.copy.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			taken = append(taken, conn)
		}
		once, twice := p.replica.Look(t.Context()), p.replica.Look(t.Context())
		for _, conn := range taken {
			conn.Release()
		}
		if !once {
			p.replica.Look(t.Context()) // in time, usually
		}
		return once && !twice
	})
	p.until("it is read when it is in time again", func() bool { return p.replica.Look(t.Context()) })
}

// TestReplicaTakesOver loses the primary: reads go on, writes do when the standby, which
// confirmed every COMMIT, is promoted, and nothing that was acknowledged is lost.
func TestReplicaTakesOver(t *testing.T) {
	t.Parallel()
	p := newCopied(t, true)
	ctx := t.Context()
	var made []string
	for i := range 5 {
		e, err := p.store.CreateEvent(ctx, hall(t, fmt.Sprint("Evening ", i), spring.AddDate(0, 0, i)))
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, e.ID)
	}
	if err := p.primary.Kill(); err != nil {
		t.Fatal(err)
	}
	for i, id := range made {
		if got := p.name(id); got != fmt.Sprint("Evening ", i) {
			t.Errorf("without a primary event %d is %q", i, got)
		}
	}
	brief, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := p.store.CreateEvent(brief, hall(t, "Too early", spring.AddDate(0, 1, 0))); err == nil {
		t.Error("an event was made without a primary")
	}
	p.exec(p.copy, `select pg_promote()`)
	name := "After all"
	p.until("writes go on", func() bool {
		_, _, err := p.store.UpdateEvent(ctx, made[0], catalog.EventPatch{Name: &name})
		return err == nil
	})
	if got := p.name(made[0]); got != name {
		t.Errorf("after the takeover the event is %q", got)
	}
	page, err := p.store.Events(ctx, catalog.Query{})
	if err != nil || len(page.Events) != len(made) {
		t.Errorf("after the takeover there are %d events, %v; want %d", len(page.Events), err, len(made))
	}
	if _, err := p.store.CreateEvent(ctx, hall(t, "New", spring.AddDate(0, 2, 0))); err != nil {
		t.Errorf("after the takeover: %v", err)
	}
}
