package redisconn

import (
	"context"

	"github.com/redis/go-redis/v9"

	"onsale/internal/gather"
)

// Call is a call of a script that may be sent by itself (Run) or in a pipeline: put
// there by Queue, and its reply read by Read.
type Call[R any] interface {
	Run(ctx context.Context, rdb redis.Scripter) (R, error)
	Queue(ctx context.Context, pipe redis.Pipeliner) *redis.Cmd
	Read(ctx context.Context, rdb redis.Scripter, queued *redis.Cmd) (R, error)
}

// Pipeline sends calls in one pipeline, and a single one by itself.
func Pipeline[C Call[R], R any](ctx context.Context, rdb redis.UniversalClient, calls []C) []gather.Outcome[R] {
	out := make([]gather.Outcome[R], len(calls))
	if len(calls) == 1 {
		out[0].Reply, out[0].Err = calls[0].Run(ctx, rdb)
		return out
	}
	queued := make([]*redis.Cmd, len(calls))
	_, _ = rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each command has its own error
		for i, c := range calls {
			queued[i] = c.Queue(ctx, pipe)
		}
		return nil
	})
	for i, c := range calls {
		out[i].Reply, out[i].Err = c.Read(ctx, rdb, queued[i])
	}
	return out
}
