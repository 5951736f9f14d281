package simulate

import (
	"context"
	"crypto/sha1" //nolint:gosec // by which Redis names scripts
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// What scripts read the time with, and what a simulated one reads instead: its
// seconds and microseconds.
const (
	realTime = `redis.call('TIME')`
	ourTime  = `redis.call('MGET', '` + secondsKey + `', '` + microsKey + `')`

	secondsKey = "simulate:seconds"
	microsKey  = "simulate:micros"
)

// clock is a hook of a client that has all scripts sent by it see the time that
// was set instead of the server's. The scripts are otherwise what they are.
type clock struct {
	rdb redis.UniversalClient

	mu   sync.Mutex
	ours map[string]string // SHA-1 of a script → that of the script as it is run here
}

var _ redis.Hook = (*clock)(nil)

// newClock adds the hook to rdb.
func newClock(rdb redis.UniversalClient) *clock {
	c := &clock{rdb: rdb, ours: make(map[string]string)}
	rdb.AddHook(c)
	return c
}

// set makes it the given time, to the millisecond.
func (c *clock) set(ctx context.Context, now time.Time) error {
	ms := now.UnixMilli()
	return c.rdb.MSet(ctx, secondsKey, ms/1000, microsKey, ms%1000*1000).Err()
}

func (c *clock) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *clock) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.rewrite(cmd)
		return next(ctx, cmd)
	}
}

func (c *clock) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			c.rewrite(cmd)
		}
		return next(ctx, cmds)
	}
}

// rewrite changes a script in its command, in place. One that is called by its
// SHA-1 was sent whole before, or the server does not know it and it will be.
func (c *clock) rewrite(cmd redis.Cmder) {
	args := cmd.Args()
	if len(args) < 2 {
		return
	}
	script, ok := args[1].(string)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch cmd.Name() {
	case "eval":
		ours := strings.ReplaceAll(script, realTime, ourTime)
		c.ours[digest(script)] = digest(ours)
		args[1] = ours
	case "evalsha":
		if ours, known := c.ours[script]; known {
			args[1] = ours
		}
	}
}

func digest(script string) string {
	sum := sha1.Sum([]byte(script)) //nolint:gosec // as Redis does
	return hex.EncodeToString(sum[:])
}
