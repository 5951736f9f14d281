package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// The durable jobs. Their kinds stand in the database: never rename one.

type settlePayment struct {
	Payment string `json:"payment"`
}

func (settlePayment) Kind() string { return "settle_payment" }

type capturePayment struct {
	Payment string `json:"payment"`
}

func (capturePayment) Kind() string { return "capture_payment" }

type voidPayment struct {
	Payment string `json:"payment"`
}

func (voidPayment) Kind() string { return "void_payment" }

type refundPayment struct {
	Refund string `json:"refund"`
}

func (refundPayment) Kind() string { return "refund_payment" }

type expireOrder struct {
	Order string `json:"order"`
}

func (expireOrder) Kind() string { return "expire_order" }

type reconcile struct{}

func (reconcile) Kind() string { return "reconcile" }

// Work is what the jobs do; checkout.Service does it.
type Work interface {
	SettlePayment(ctx context.Context, payment string) (later time.Duration, err error)
	Capture(ctx context.Context, payment string) error
	Void(ctx context.Context, payment string) error
	Refund(ctx context.Context, refund string) error
	Expire(ctx context.Context, order string) (later time.Duration, err error)
	Reconcile(ctx context.Context, age time.Duration) (found int, err error)
}

const (
	reconcileEvery = 10 * time.Second
	// overdueAfter is when reconciliation takes over from a job.
	overdueAfter = 20 * time.Second
	keysKept     = 48 * time.Hour
	jobTimeout   = 30 * time.Second
	retryMost    = 2 * time.Minute
)

// Jobs runs the durable jobs of one node.
type Jobs struct {
	client *river.Client[pgx.Tx]
}

// NewJobs returns the runner. It does no I/O.
func NewJobs(db *pgxpool.Pool, store *Store, work Work, log *slog.Logger) (*Jobs, error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[settlePayment]) error {
		return snooze(work.SettlePayment(ctx, j.Args.Payment))
	}))
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[capturePayment]) error {
		return work.Capture(ctx, j.Args.Payment)
	}))
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[voidPayment]) error {
		return work.Void(ctx, j.Args.Payment)
	}))
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[refundPayment]) error {
		return work.Refund(ctx, j.Args.Refund)
	}))
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[expireOrder]) error {
		return snooze(work.Expire(ctx, j.Args.Order))
	}))
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, _ *river.Job[reconcile]) error {
		found, err := work.Reconcile(ctx, overdueAfter)
		if found > 0 {
			log.InfoContext(ctx, "reconciliation found work left over", slog.Int("items", found))
		}
		_, ferr := store.ForgetKeys(ctx, keysKept)
		return errors.Join(err, ferr)
	}))
	client, err := river.NewClient(riverpgxv5.New(db), &river.Config{
		Logger:       slog.New(quiet{log.With(slog.String("part", "jobs")).Handler()}),
		Queues:       map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 16}},
		Workers:      workers,
		JobTimeout:   jobTimeout,
		RetryPolicy:  retry{},
		ErrorHandler: nil,
		// A node that was killed leaves its jobs "running"; others take them
		// over after this.
		RescueStuckJobsAfter: jobTimeout + 15*time.Second,
		FetchCooldown:        50 * time.Millisecond,
		FetchPollInterval:    500 * time.Millisecond,
		PeriodicJobs: []*river.PeriodicJob{
			river.NewPeriodicJob(river.PeriodicInterval(reconcileEvery), func() (river.JobArgs, *river.InsertOpts) {
				return reconcile{}, &river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: reconcileEvery}}
			}, &river.PeriodicJobOpts{RunOnStart: true}),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("pgstore: jobs: %w", err)
	}
	return &Jobs{client: client}, nil
}

// Run works until ctx ends, then lets running jobs finish for a few seconds.
func (j *Jobs) Run(ctx context.Context) error {
	if err := j.client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("pgstore: start jobs: %w", err)
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := j.client.Stop(stop); err != nil {
		return j.client.StopAndCancel(context.WithoutCancel(ctx))
	}
	return nil
}

// quiet keeps the queue's running commentary out of the log.
type quiet struct{ slog.Handler }

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.Handler.Enabled(ctx, level)
}

// snooze asks for a look later without counting an attempt.
func snooze(later time.Duration, err error) error {
	if err == nil && later > 0 {
		return river.JobSnooze(later)
	}
	return err
}

// retry doubles the wait from one second to two minutes, with a fifth of
// jitter: a gateway that is back soon is noticed soon, one that is away for
// days is not hammered.
type retry struct{}

// NextRetry implements river.ClientRetryPolicy.
func (retry) NextRetry(job *rivertype.JobRow) time.Time {
	wait := min(time.Second<<min(len(job.Errors), 20), retryMost)
	return time.Now().Add(wait + time.Duration(rand.Int64N(int64(wait)/5+1)))
}
