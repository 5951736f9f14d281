package pgstore

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"onsale/checkout"
)

// The durable jobs. Their kinds stand in the database: never rename one.

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

type sweep struct{}

func (sweep) Kind() string { return "sweep" }

type forgetKeys struct{}

func (forgetKeys) Kind() string { return "forget_keys" }

// prompt is how a job is inserted that makes something happen sooner than the sweep
// would: what it is about says by itself when it is due, so one try is enough.
func prompt() *river.InsertOpts { return &river.InsertOpts{MaxAttempts: 1} }

// Work is what the jobs do; checkout.Service does it.
type Work interface {
	Capture(ctx context.Context, payment string) error
	Void(ctx context.Context, payment string) error
	Refund(ctx context.Context, refund string) error
	Sweep(ctx context.Context, within time.Duration) (found int, err error)
}

const (
	// sweepQueue has workers of its own: sweeps that wait for a gateway which hangs
	// must not keep others from being done, nor others them.
	sweepQueue   = "sweep"
	sweepWorkers = 4
	sweepEvery   = time.Second
	sweepTime    = 15 * time.Second // of one sweep
	forgetEvery  = 10 * time.Minute
	keysKept     = 48 * time.Hour
	jobsKept     = time.Hour // that are done
	jobTimeout   = 30 * time.Second
	retryMost    = 2 * time.Minute
)

// Jobs runs the durable jobs of one node.
type Jobs struct {
	client *river.Client[pgx.Tx]
}

// NewJobs returns the runner. It does no I/O.
func NewJobs(db *pgxpool.Pool, store *Store, work Work, log *slog.Logger, more ...func(*river.Config)) (*Jobs, error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[capturePayment]) error {
		return work.Capture(ctx, j.Args.Payment)
	}))
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[voidPayment]) error {
		return work.Void(ctx, j.Args.Payment)
	}))
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[refundPayment]) error {
		return work.Refund(ctx, j.Args.Refund)
	}))
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, _ *river.Job[sweep]) error {
		ctx, cancel := context.WithTimeout(ctx, sweepTime)
		defer cancel()
		for { // a rush ends all at once
			found, err := work.Sweep(ctx, 0)
			if err != nil || found < checkout.DueAtOnce || ctx.Err() != nil {
				return err
			}
		}
	}))
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, _ *river.Job[forgetKeys]) error {
		_, err := store.ForgetKeys(ctx, keysKept)
		return err
	}))
	config := &river.Config{
		Logger:       slog.New(quiet{log.With(slog.String("part", "jobs")).Handler()}),
		Queues:       map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 16}, sweepQueue: {MaxWorkers: sweepWorkers}},
		Workers:      workers,
		JobTimeout:   jobTimeout,
		RetryPolicy:  retry{},
		ErrorHandler: nil,
		// A node that was killed leaves its jobs "running"; others take them
		// over after this.
		RescueStuckJobsAfter:        jobTimeout + 15*time.Second,
		CompletedJobRetentionPeriod: jobsKept,
		DiscardedJobRetentionPeriod: jobsKept,
		FetchCooldown:               50 * time.Millisecond,
		FetchPollInterval:           500 * time.Millisecond,
		PeriodicJobs: []*river.PeriodicJob{
			river.NewPeriodicJob(river.PeriodicInterval(sweepEvery), func() (river.JobArgs, *river.InsertOpts) {
				return sweep{}, &river.InsertOpts{Queue: sweepQueue, MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: sweepEvery}}
			}, &river.PeriodicJobOpts{RunOnStart: true}),
			river.NewPeriodicJob(river.PeriodicInterval(forgetEvery), func() (river.JobArgs, *river.InsertOpts) {
				return forgetKeys{}, &river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: forgetEvery}}
			}, &river.PeriodicJobOpts{RunOnStart: true}),
		},
	}
	for _, add := range more {
		add(config)
	}
	client, err := river.NewClient(riverpgxv5.New(db), config)
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

// retry doubles the wait from one second to two minutes, with a fifth of
// jitter: a gateway that is back soon is noticed soon, one that is away for
// days is not hammered.
type retry struct{}

// NextRetry implements river.ClientRetryPolicy.
func (retry) NextRetry(job *rivertype.JobRow) time.Time {
	wait := min(time.Second<<min(len(job.Errors), 20), retryMost)
	return time.Now().Add(wait + time.Duration(rand.Int64N(int64(wait)/5+1)))
}
