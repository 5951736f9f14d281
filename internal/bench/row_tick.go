package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

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
	Reference: "the same with 1,000 waiting, at the same node and Redis",
	Unit:      Micros,
	Goal:      Goal{AtMost: 2}, Stretch: Goal{AtMost: 1.2},
	Prepare: prepareTick,
})

// tickTrial watches a node tick two rooms, ten times a second, so that each run
// sees enough ticks. Each tick admits one visitor from either.
type tickTrial struct {
	servers     *Servers
	node        *Node
	redis       *redis.Client
	long, short string // events
	duration    time.Duration
}

func prepareTick(ctx context.Context, env *Env) (_ Trial, err error) {
	t := &tickTrial{duration: env.MeasureFor()}
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
	if t.node, err = t.servers.Serve(ctx, "ONSALE_WAITROOM_TICK=100ms"); err != nil {
		return nil, err
	}
	throttle := Throttle{RatePerMinute: 600, Burst: 1, MaxShoppers: 100_000, LeaseS: 3600, ClaimWindowS: 3600}
	for _, room := range []struct {
		event   *string
		waiting int
	}{{&t.short, tickShort}, {&t.long, tickLong}} {
		e, err := t.node.createEvent(ctx, 2500, throttle)
		if err != nil {
			return nil, err
		}
		*room.event = e.ID
		if err := t.fill(ctx, e.ID, room.waiting); err != nil {
			return nil, err
		}
	}
	if err := t.redis.ConfigSet(ctx, "slowlog-max-len", "100000").Err(); err != nil {
		return nil, err
	}
	return t, t.redis.ConfigSet(ctx, "slowlog-log-slower-than", "0").Err()
}

// fill makes a line of n. The first few hundred join by the API; the others are
// written behind the last of them, as joins would have left them, because a
// million joins take longer than all the rest of the bench.
func (t *tickTrial) fill(ctx context.Context, event string, n int) error {
	const real = 500
	client := joiningClient()
	defer client.CloseIdleConnections()
	for range real {
		if err := exchange(ctx, client, http.MethodPost, t.node.base.String()+"/v1/rooms/"+event+"/join", nil, object{}, nil); err != nil {
			return err
		}
	}
	queue := lua.QueueKey(event)
	last, err := t.redis.ZRangeWithScores(ctx, queue, -1, -1).Result()
	if err != nil {
		return err
	}
	if len(last) == 0 {
		return fmt.Errorf("nobody waits after %d joins", real)
	}
	const batch = 1000
	members := make([]redis.Z, 0, batch)
	for i := real; i < n; i++ {
		members = append(members, redis.Z{Score: last[0].Score + float64(i-real+1), Member: pass.NewVisitor()})
		if len(members) == batch || i == n-1 {
			if err := t.redis.ZAdd(ctx, queue, members...).Err(); err != nil {
				return err
			}
			members = members[:0]
		}
	}
	for _, counter := range []string{"next", "joined"} {
		if err := t.redis.HIncrBy(ctx, lua.RoomKey(event), counter, int64(n-real)).Err(); err != nil {
			return err
		}
	}
	return nil
}

func (t *tickTrial) Measure(ctx context.Context) (float64, error) {
	return t.median(ctx, t.long, tickLong)
}
func (t *tickTrial) Reference(ctx context.Context) (float64, error) {
	return t.median(ctx, t.short, tickShort)
}

// median is the median time of the ticks of one room, in µs.
func (t *tickTrial) median(ctx context.Context, event string, about int) (float64, error) {
	if err := t.redis.SlowLogReset(ctx).Err(); err != nil {
		return 0, err
	}
	before, err := t.node.room(ctx, event)
	if err != nil {
		return 0, err
	}
	pause(ctx, t.duration)
	calls, err := t.redis.SlowLogGet(ctx, -1).Result()
	if err != nil {
		return 0, err
	}
	after, err := t.node.room(ctx, event)
	if err != nil {
		return 0, err
	}
	var took []float64
	for _, c := range calls {
		if len(c.Args) > 3 && strings.EqualFold(c.Args[0], "evalsha") && c.Args[1] == lua.RoomAdmitDigest() && c.Args[3] == lua.RoomKey(event) {
			took = append(took, float64(c.Duration.Microseconds()))
		}
	}
	const fewest = 10
	switch {
	case len(took) < fewest:
		return 0, fmt.Errorf("only %d ticks of %s in %v", len(took), event, t.duration)
	case after.Admitted == before.Admitted:
		return 0, errors.New("the line did not move")
	case after.Waiting < about*6/10 || after.Waiting > about:
		return 0, fmt.Errorf("%d wait, not about %d", after.Waiting, about)
	}
	slices.Sort(took)
	return median(took), ctx.Err()
}

func (t *tickTrial) Close() error { return closeAll(t.redis, t.node, t.servers) }
