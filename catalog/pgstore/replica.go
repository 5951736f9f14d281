package pgstore

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	lookEvery = time.Second            // at the replica, while it is read
	lookTime  = 500 * time.Millisecond // of one look at one server
)

// Replica is a streaming standby that reads go to for as long as it keeps up. How old
// its data is follows from where the primary's log was when, and how far the standby has
// replayed it: that works without rights or extensions, while nothing is written, and
// after the standby has lost its connection. When the primary does not answer there is
// nothing newer to be had, and the standby is read whatever its age.
type Replica struct {
	db, primary *pgxpool.Pool
	most        time.Duration
	log         *slog.Logger

	looking sync.Mutex // one looks at a time

	mu     sync.Mutex
	looked time.Time // when it was last looked at
	late   bool      // it did not answer in time then
	keepUp bool
	lag    time.Duration // when it was last looked at
	marks  []mark        // of the primary, oldest first
	wrote  int64         // position of the last write of this node
}

// mark is where the primary's log was at a moment.
type mark struct {
	at       time.Time
	position int64 // bytes
}

// NewReplica returns a replica of primary that is read while what it knows is at most so
// old. It does no I/O.
func NewReplica(primary, db *pgxpool.Pool, most time.Duration, log *slog.Logger) *Replica {
	return &Replica{db: db, primary: primary, most: most, log: log}
}

// Lag is how old the replica's data may have been when it was last looked at.
func (r *Replica) Lag() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lag
}

// Register adds the replica's metrics.
func (r *Replica) Register(to prometheus.Registerer) error {
	return to.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "onsale_catalog_replica_lag_seconds",
		Help: "How old the data of the read replica was when it was last looked at. Grows without end while it does not answer.",
	}, func() float64 { return r.Lag().Seconds() }))
}

// reads tells whether the replica may be read now. It waits for a look only when the
// last one says nothing any more.
func (r *Replica) reads(ctx context.Context) bool {
	r.mu.Lock()
	age, known := time.Since(r.looked), r.keepUp
	r.mu.Unlock()
	switch {
	case age < lookEvery:
	case age < max(r.most, 2*lookEvery):
		if r.looking.TryLock() {
			go func() {
				defer r.looking.Unlock()
				r.look(context.WithoutCancel(ctx))
			}()
		}
	default:
		return r.readsNow(ctx)
	}
	return known
}

// readsNow looks again before it tells, for everybody who asks meanwhile.
func (r *Replica) readsNow(ctx context.Context) bool {
	asked := time.Now()
	r.looking.Lock()
	defer r.looking.Unlock()
	r.mu.Lock()
	looked, known := r.looked, r.keepUp
	r.mu.Unlock()
	if looked.After(asked) {
		return known
	}
	return r.look(context.WithoutCancel(ctx))
}

// look finds out whether the replica keeps up. r.looking is held.
func (r *Replica) look(ctx context.Context) bool {
	const replayed = `
		select (case when pg_is_in_recovery() then coalesce(pg_last_wal_replay_lsn(), '0/0') else pg_current_wal_lsn() end - '0/0')::bigint`
	there, err := position(ctx, r.db, replayed)
	began := time.Now()
	here, downErr := position(ctx, r.primary, `select (pg_current_wal_lsn() - '0/0')::bigint`)

	r.mu.Lock()
	defer r.mu.Unlock()
	was, first := r.keepUp, r.looked.IsZero()
	r.looked = time.Now()
	late := errors.Is(err, context.DeadlineExceeded)
	again := r.late
	r.late = late
	switch {
	case late && !again && r.lag+2*lookEvery <= r.most:
		// Once is a sign of a crowd, which must not be sent to the primary for it: until
		// the next look its data is not older than it may be.
		return r.keepUp
	case err != nil:
		r.keepUp = false
	case downErr != nil:
		r.keepUp = true
	default:
		if n := len(r.marks); n > 0 && here < r.marks[n-1].position {
			r.marks, r.wrote = nil, 0 // another server leads, whose log is another one
		}
		r.marks = append(r.marks, mark{began, here})
		r.keepUp = r.behind(there) <= r.most && there >= r.wrote
	}
	if err != nil || downErr == nil {
		r.lag = r.behind(there)
	}
	if r.keepUp != was || first {
		r.log.InfoContext(ctx, "catalog replica", slog.Bool("read", r.keepUp), slog.Duration("lag", r.lag), slog.Any("error", err))
	}
	return r.keepUp
}

// behind is how old data is that reaches up to a position: since the last moment at which
// the primary's log was known not to reach farther.
func (r *Replica) behind(reached int64) time.Duration {
	covered := 0
	for covered < len(r.marks) && r.marks[covered].position <= reached {
		covered++
	}
	if covered == len(r.marks) && covered > 0 {
		r.marks = slices.Delete(r.marks, 0, covered-1)
		return 0
	}
	// What is covered but the last of it says nothing more.
	r.marks = slices.Delete(r.marks, 0, max(0, covered-1))
	const most = 600 // the oldest stays, those in between may go
	if len(r.marks) > most {
		r.marks = slices.Delete(r.marks, 1, len(r.marks)-most/2)
	}
	if len(r.marks) == 0 || r.marks[0].position > reached {
		return unknownLag
	}
	return time.Since(r.marks[0].at)
}

// unknownLag is the age of data that was never known to be up to date.
const unknownLag = 365 * 24 * time.Hour

// written notes that this node has written to the primary: what it wrote is not read
// from a replica that does not have it.
func (r *Replica) written(ctx context.Context) {
	at, err := position(context.WithoutCancel(ctx), r.primary, `select (pg_current_wal_insert_lsn() - '0/0')::bigint`)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.wrote = max(r.wrote, at)
	}
	// Until the next look.
	r.keepUp = false
	r.looked = time.Now()
}

func position(ctx context.Context, db *pgxpool.Pool, sql string) (at int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	err = db.QueryRow(ctx, sql).Scan(&at)
	return at, err
}
