package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/redis/go-redis/v9"

	"onsale/lua"
)

var _ = register(Row{
	Name: "commands", Order: 100,
	Figure:  "commands Redis runs per tick (a second) for one node with 19,000 visitors on WebSockets in a line that moves; those in pipelines and those called by scripts are counted one by one",
	Unit:    Commands,
	Goal:    Goal{Below: 600},
	Stretch: Goal{Below: 300},
	Runs:    struct{ Full, Short int }{5, 2},
	Prepare: prepareCommands,
})

type commandsTrial struct {
	servers  *Servers
	node     *Node
	redis    *redis.Client
	crowd    *crowd
	duration time.Duration
}

func prepareCommands(ctx context.Context, env *Env) (_ Trial, err error) {
	most, err := mostConnections()
	if err != nil {
		return nil, err
	}
	t, size, settle := &commandsTrial{duration: 2 * env.MeasureFor()}, min(idleFull, most), 15*time.Second
	if env.Short {
		size, settle = idleShort, 4*time.Second
	}
	if err := fits(size); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.servers, err = StartServers(ctx, env.Options); err != nil {
		return nil, err
	}
	if t.redis, err = t.servers.redis(); err != nil {
		return nil, err
	}
	if t.node, err = t.servers.Serve(ctx); err != nil {
		return nil, err
	}
	e, err := t.node.createEvent(ctx, 500, Throttle{RatePerMinute: 300, Burst: 1, MaxShoppers: 5000, LeaseS: 3600, ClaimWindowS: 3600})
	if err != nil {
		return nil, err
	}
	client := joiningClient()
	defer client.CloseIdleConnections()
	t.crowd, err = gather(ctx, size, func(ctx context.Context, n int) (*websocket.Conn, error) {
		return joinAndConnect(ctx, t.node.API, client, e.ID, n)
	})
	if err == nil {
		pause(ctx, settle) // those who came are looked up once more
		err = ctx.Err()
	}
	return t, err
}

func (t *commandsTrial) Measure(ctx context.Context) (float64, error) {
	before, began, err := t.commands(ctx)
	if err != nil {
		return 0, err
	}
	pause(ctx, t.duration)
	after, ended, err := t.commands(ctx)
	if err != nil {
		return 0, err
	}
	return float64(after-before-1) / ended.Sub(began).Seconds(), errors.Join(t.crowd.whole(), ctx.Err()) // INFO is ours
}

// commands is how many commands Redis has run.
func (t *commandsTrial) commands(ctx context.Context) (total int64, at time.Time, err error) {
	text, err := t.redis.Info(ctx, "commandstats").Result()
	if err != nil {
		return 0, at, err
	}
	at = time.Now()
	for line := range strings.Lines(text) {
		if name, numbers, ok := strings.Cut(line, ":calls="); ok && strings.HasPrefix(name, "cmdstat_") {
			calls, _, _ := strings.Cut(numbers, ",")
			n, err := strconv.ParseInt(calls, 10, 64)
			if err != nil {
				return 0, at, fmt.Errorf("commands of Redis: %w", err)
			}
			total += n
		}
	}
	return total, at, nil
}

func (t *commandsTrial) Reference(context.Context) (float64, error) { return 0, nil }

func (t *commandsTrial) Close() error {
	if t.crowd != nil {
		t.crowd.close()
	}
	return closeAll(t.redis, t.node, t.servers)
}

// Visitors who join for one run.
const (
	redisMemoryShort = 100_000
	redisMemoryFull  = 300_000
)

var _ = register(Row{
	Name: "redis-memory", Order: 110,
	Figure:  "growth of Redis' used memory per visitor who has joined and waits",
	Unit:    Bytes,
	Goal:    Goal{Below: 200},
	Stretch: Goal{Below: 130},
	Runs:    struct{ Full, Short int }{5, 1},
	Prepare: prepareRedisMemory,
})

type redisMemoryTrial struct {
	servers *Servers
	node    *Node
	redis   *redis.Client
	size    int64
}

func prepareRedisMemory(ctx context.Context, env *Env) (_ Trial, err error) {
	t := &redisMemoryTrial{size: redisMemoryFull}
	if env.Short {
		t.size = redisMemoryShort
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.servers, err = StartServers(ctx, env.Options); err != nil {
		return nil, err
	}
	if t.redis, err = t.servers.redis(); err != nil {
		return nil, err
	}
	t.node, err = t.servers.Serve(ctx)
	return t, err
}

// Measure has visitors join a new room.
func (t *redisMemoryTrial) Measure(ctx context.Context) (float64, error) {
	e, err := t.node.createEvent(ctx, 500, Throttle{RatePerMinute: 1, Burst: 1, MaxShoppers: 1, LeaseS: 3600, ClaimWindowS: 3600})
	if err != nil {
		return 0, err
	}
	l := &load{
		address: t.node.host(), connections: joinConnections, status: http.StatusOK,
		request: requestBytes(http.MethodPost, "/v1/rooms/"+e.ID+"/join", t.node.host(), []byte("{}")),
	}
	first, err := l.run(ctx, 100*time.Millisecond) // connections and buffers of the node are not the visitors'
	if err != nil {
		return 0, err
	}
	before, err := t.used(ctx)
	if err != nil {
		return 0, err
	}
	joined := int64(0)
	for joined < t.size {
		c, err := l.run(ctx, time.Second)
		if err != nil {
			return 0, err
		}
		joined += c.total
	}
	after, err := t.used(ctx)
	if err != nil {
		return 0, err
	}
	waiting, err := t.redis.ZCard(ctx, lua.QueueKey(e.ID)).Result()
	if err == nil && waiting < joined+first.total-10 {
		err = fmt.Errorf("%d joined, but %d wait", joined+first.total, waiting)
	}
	return float64(after-before) / float64(joined), err
}

// used is the memory Redis uses, once it has written what it owes to disk.
func (t *redisMemoryTrial) used(ctx context.Context) (int64, error) {
	pause(ctx, 2*time.Second)
	text, err := t.redis.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "used_memory:"); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, errors.New("Redis does not tell the memory it uses")
}

func (t *redisMemoryTrial) Reference(context.Context) (float64, error) { return 0, nil }
func (t *redisMemoryTrial) Close() error                               { return closeAll(t.redis, t.node, t.servers) }

// redis connects to the servers' Redis.
func (s *Servers) redis() (*redis.Client, error) {
	o, err := redis.ParseURL(s.RedisURL())
	if err != nil {
		return nil, err
	}
	o.ReadTimeout = 30 * time.Second
	return redis.NewClient(o), nil
}

// closeAll ends what a row has started, each nil when it was not.
func closeAll(rdb *redis.Client, node *Node, servers *Servers) error {
	var errs []error
	if rdb != nil {
		errs = append(errs, rdb.Close())
	}
	if node != nil {
		errs = append(errs, node.Close())
	}
	if servers != nil {
		errs = append(errs, servers.Close())
	}
	return errors.Join(errs...)
}
