package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"onsale/lua"
	"onsale/waitroom/pass"
)

// Lengths of the two lines.
const (
	tickLong  = 1_000_000
	tickShort = 1000
)

var _ = register(Row{
	Name: "tick", Order: 90,
	Figure:    "time of the admission script in Redis, by its SLOWLOG, with 1,000,000 waiting",
	Reference: "the same with 1,000 waiting, at another node and Redis that tick at the same time",
	Unit:      Micros,
	Goal:      Goal{AtMost: 2}, Stretch: Goal{AtMost: 1.2},
	Prepare: prepareTick,
})

// tickTrial watches two nodes, each with a Redis of its own, tick a room ten
// times a second, so that each run sees enough ticks. Each tick admits one
// visitor. Rooms at one Redis would not do: the one that is ticked first finds
// cold caches and warms them for the other, which is half of the time.
type tickTrial struct {
	long, short tickSide
	duration    time.Duration
}

type tickSide struct {
	servers *Servers
	node    *Node
	redis   *redis.Client
	event   string
	waiting int // as many as were there at first
}

func prepareTick(ctx context.Context, env *Env) (_ Trial, err error) {
	t := &tickTrial{long: tickSide{waiting: tickLong}, short: tickSide{waiting: tickShort}, duration: env.MeasureFor()}
	g, starting := errgroup.WithContext(ctx)
	g.Go(func() error { return t.long.start(starting, env) })
	g.Go(func() error { return t.short.start(starting, env) })
	if err := g.Wait(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *tickSide) start(ctx context.Context, env *Env) (err error) {
	if t.servers, err = StartServers(ctx, env.Options); err != nil {
		return err
	}
	if t.redis, err = t.servers.redis(); err != nil {
		return err
	}
	if t.node, err = t.servers.Serve(ctx, "ONSALE_WAITROOM_TICK=100ms"); err != nil {
		return err
	}
	e, err := t.node.createEvent(ctx, 2500, Throttle{RatePerMinute: 600, Burst: 1, MaxShoppers: 100_000, LeaseS: 3600, ClaimWindowS: 3600})
	if err != nil {
		return err
	}
	t.event = e.ID
	if err := t.fill(ctx); err != nil {
		return err
	}
	if err := t.redis.ConfigSet(ctx, "slowlog-max-len", "100000").Err(); err != nil {
		return err
	}
	return t.redis.ConfigSet(ctx, "slowlog-log-slower-than", "0").Err()
}

// fill makes the line. The first few hundred join by the API; the others are
// written behind the last of them, as joins would have left them, because a
// million joins take longer than all the rest of the bench.
func (t *tickSide) fill(ctx context.Context) error {
	const joining = 500
	client := joiningClient()
	defer client.CloseIdleConnections()
	for range joining {
		if err := exchange(ctx, client, http.MethodPost, t.node.base.String()+"/v1/rooms/"+t.event+"/join", nil, object{}, nil); err != nil {
			return err
		}
	}
	queue := lua.QueueKey(t.event)
	last, err := t.redis.ZRangeWithScores(ctx, queue, -1, -1).Result()
	if err != nil {
		return err
	}
	if len(last) == 0 {
		return fmt.Errorf("nobody waits after %d joins", joining)
	}
	const batch = 1000
	members := make([]redis.Z, 0, batch)
	for i := joining; i < t.waiting; i++ {
		members = append(members, redis.Z{Score: last[0].Score + float64(i-joining+1), Member: pass.NewVisitor()})
		if len(members) == batch || i == t.waiting-1 {
			if err := t.redis.ZAdd(ctx, queue, members...).Err(); err != nil {
				return err
			}
			members = members[:0]
		}
	}
	for _, counter := range []string{"next", "joined"} {
		if err := t.redis.HIncrBy(ctx, lua.RoomKey(t.event), counter, int64(t.waiting-joining)).Err(); err != nil {
			return err
		}
	}
	return nil
}

func (t *tickTrial) Measure(ctx context.Context) (float64, error) {
	return t.long.median(ctx, t.duration)
}
func (t *tickTrial) Reference(ctx context.Context) (float64, error) {
	return t.short.median(ctx, t.duration)
}

// median is the median time of the ticks of the room, in µs.
func (t *tickSide) median(ctx context.Context, d time.Duration) (float64, error) {
	if err := t.redis.SlowLogReset(ctx).Err(); err != nil {
		return 0, err
	}
	before, err := t.node.room(ctx, t.event)
	if err != nil {
		return 0, err
	}
	pause(ctx, d)
	calls, err := t.redis.SlowLogGet(ctx, -1).Result()
	if err != nil {
		return 0, err
	}
	after, err := t.node.room(ctx, t.event)
	if err != nil {
		return 0, err
	}
	var took []float64
	for _, c := range calls {
		if len(c.Args) > 3 && strings.EqualFold(c.Args[0], "evalsha") && c.Args[1] == lua.RoomAdmitDigest() && c.Args[3] == lua.RoomKey(t.event) {
			took = append(took, float64(c.Duration.Microseconds()))
		}
	}
	const fewest = 10
	switch {
	case len(took) < fewest:
		return 0, fmt.Errorf("only %d ticks of %s in %v", len(took), t.event, d)
	case after.Admitted == before.Admitted:
		return 0, errors.New("the line did not move")
	case after.Waiting < t.waiting*6/10 || after.Waiting > t.waiting:
		return 0, fmt.Errorf("%d wait, not about %d", after.Waiting, t.waiting)
	}
	return median(took), ctx.Err()
}

func (t *tickTrial) Close() error {
	return errors.Join(closeAll(t.long.redis, t.long.node, t.long.servers), closeAll(t.short.redis, t.short.node, t.short.servers))
}
