package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	joinConnections = 64
	zaddConnections = 50
)

var _ = register(Row{
	Name: "join", Order: 10,
	Figure:    "POST /v1/rooms/{event}/join over 64 connections, each request a new visitor, in the sorted set before the answer",
	Reference: "ZADD, one per call, over 50 connections by go-redis, on the same Redis",
	Unit:      PerSecond,
	Goal:      Goal{AtLeast: 0.45}, Stretch: Goal{AtLeast: 0.60},
	Prepare: prepareJoin,
})

// joinTrial joins an open room whose throttle lets nearly nobody in.
type joinTrial struct {
	servers  *Servers
	node     *Node
	redis    *redis.Client
	event    string
	duration time.Duration
	score    atomic.Int64 // of the ZADDs
}

func prepareJoin(ctx context.Context, env *Env) (_ Trial, err error) {
	t := &joinTrial{duration: env.MeasureFor()}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.servers, err = StartServers(ctx, env.Options); err != nil {
		return nil, err
	}
	if t.node, err = t.servers.Serve(ctx); err != nil {
		return nil, err
	}
	e, err := t.node.createEvent(ctx, 500, Throttle{RatePerMinute: 1, Burst: 1, MaxShoppers: 1, LeaseS: 3600, ClaimWindowS: 3600})
	if err != nil {
		return nil, err
	}
	t.event = e.ID
	o, err := redis.ParseURL(t.servers.RedisURL())
	if err != nil {
		return nil, err
	}
	o.PoolSize, o.MinIdleConns = zaddConnections, zaddConnections
	t.redis = redis.NewClient(o)
	return t, nil
}

// Measure counts joins, and holds the room against the answers: every visitor
// who was told their place must be in it.
func (t *joinTrial) Measure(ctx context.Context) (float64, error) {
	before, err := t.node.room(ctx, t.event)
	if err != nil {
		return 0, err
	}
	l := &load{
		address: t.node.host(), connections: joinConnections, status: http.StatusOK,
		request: requestBytes(http.MethodPost, "/v1/rooms/"+t.event+"/join", t.node.host(), []byte("{}")),
	}
	c, err := l.run(ctx, t.duration)
	if err != nil {
		return 0, err
	}
	return c.perSecond(), t.node.counts(ctx, t.event, before.Joined+c.total)
}

// counts waits until the room has counted as many joins, not more.
func (n *Node) counts(ctx context.Context, event string, joined int64) error {
	settled, cancel := context.WithTimeout(ctx, 5*time.Second) // what the API tells is up to two ticks old
	defer cancel()
	var now Room
	var err error
	return poll(settled, 100*time.Millisecond, func() bool {
		now, err = n.room(settled, event)
		return err == nil && now.Joined == joined
	}, func() error {
		if err != nil {
			return err
		}
		return fmt.Errorf("%d joins were answered, but the room counts %d", joined, now.Joined)
	})
}

// Reference counts ZADDs of members as long as a visitor's id.
func (t *joinTrial) Reference(ctx context.Context) (float64, error) {
	c, err := closedLoop(ctx, zaddConnections, t.duration, func(ctx context.Context) error {
		n := t.score.Add(1)
		member := "visitor-" + strconv.FormatInt(1e13+n, 10)
		return t.redis.ZAdd(ctx, "bench:zadd", redis.Z{Score: float64(n), Member: member}).Err()
	})
	return c.perSecond(), err
}

func (t *joinTrial) Close() error { return closeAll(t.redis, t.node, t.servers) }
