package pgstore

import (
	"context"
	"time"

	"github.com/riverqueue/river"
)

// Jobs that carry messages have queues of their own: an endpoint that hangs, or a
// mail server that is away, keeps nobody's money waiting.
const (
	webhookQueue = "webhooks"
	mailQueue    = "mail"

	messageWorkers     = 8 // of each queue
	sweepMessagesEvery = 10 * time.Second
)

type announceChange struct {
	Announcement string `json:"announcement"`
}

func (announceChange) Kind() string { return "announce" }

func (announceChange) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: webhookQueue} }

type deliverWebhook struct {
	Delivery string `json:"delivery"`
}

func (deliverWebhook) Kind() string { return "deliver_webhook" }

func (deliverWebhook) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: webhookQueue} }

type sendEmail struct {
	Email string `json:"email"`
}

func (sendEmail) Kind() string { return "send_email" }

func (sendEmail) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: mailQueue} }

type sweepMessages struct{}

func (sweepMessages) Kind() string { return "sweep_messages" }

// MessageWork is what the jobs that carry messages do; messages.Service does it.
type MessageWork interface {
	Announce(ctx context.Context, announcement string) error
	Deliver(ctx context.Context, delivery string) (later time.Duration, err error)
	SendEmail(ctx context.Context, email string) (later time.Duration, err error)
	Sweep(ctx context.Context) error
}

// WithMessages has the node carry messages, too.
func WithMessages(work MessageWork) func(*river.Config) {
	return func(c *river.Config) {
		river.AddWorker(c.Workers, river.WorkFunc(func(ctx context.Context, j *river.Job[announceChange]) error {
			return work.Announce(ctx, j.Args.Announcement)
		}))
		river.AddWorker(c.Workers, river.WorkFunc(func(ctx context.Context, j *river.Job[deliverWebhook]) error {
			return snooze(work.Deliver(ctx, j.Args.Delivery))
		}))
		river.AddWorker(c.Workers, river.WorkFunc(func(ctx context.Context, j *river.Job[sendEmail]) error {
			return snooze(work.SendEmail(ctx, j.Args.Email))
		}))
		river.AddWorker(c.Workers, river.WorkFunc(func(ctx context.Context, _ *river.Job[sweepMessages]) error {
			return work.Sweep(ctx)
		}))
		c.Queues[webhookQueue] = river.QueueConfig{MaxWorkers: messageWorkers}
		c.Queues[mailQueue] = river.QueueConfig{MaxWorkers: messageWorkers}
		c.PeriodicJobs = append(c.PeriodicJobs, river.NewPeriodicJob(river.PeriodicInterval(sweepMessagesEvery), func() (river.JobArgs, *river.InsertOpts) {
			return sweepMessages{}, &river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: sweepMessagesEvery}}
		}, &river.PeriodicJobOpts{RunOnStart: true}))
	}
}

// snooze asks for a look later without counting an attempt.
func snooze(later time.Duration, err error) error {
	if err == nil && later > 0 {
		return river.JobSnooze(later)
	}
	return err
}
