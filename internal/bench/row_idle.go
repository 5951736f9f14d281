package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/websocket"
)

// Sizes of the crowd. The whole form takes as many as one process may have.
const (
	idleShort = 3000
	idleFull  = 19_000
)

var _ = register(Row{
	Name: "idle", Order: 60,
	Figure:    "resident memory of the program per idle WebSocket of a visitor who waits",
	Reference: "gorilla/websocket's plain handler, blocked in ReadMessage, with its default buffers",
	Unit:      Bytes,
	Goal:      Goal{Below: 7 << 10, AtMost: 0.40}, Stretch: Goal{Below: 3 << 10, AtMost: 0.40},
	Runs:    struct{ Full, Short int }{5, 1},
	Prepare: prepareIdle,
})

type idleTrial struct {
	options Options
	servers *Servers
	size    int
	settle  time.Duration
}

func prepareIdle(ctx context.Context, env *Env) (Trial, error) {
	most, err := mostConnections()
	if err != nil {
		return nil, err
	}
	t := &idleTrial{options: env.Options, size: min(idleFull, most), settle: 15 * time.Second}
	if env.Short {
		t.size, t.settle = idleShort, 7*time.Second
	}
	if err := fits(t.size); err != nil {
		return nil, err
	}
	t.servers, err = StartServers(ctx, env.Options)
	return t, err
}

// Measure takes a fresh node each time, so that no run finds the memory of the
// one before.
func (t *idleTrial) Measure(ctx context.Context) (_ float64, err error) {
	node, err := t.servers.Serve(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	e, err := node.createEvent(ctx, 500, Throttle{RatePerMinute: 1, Burst: 1, MaxShoppers: 1, LeaseS: 3600, ClaimWindowS: 3600})
	if err != nil {
		return 0, err
	}
	client := joiningClient()
	defer client.CloseIdleConnections()
	return t.perConnection(ctx, node.PID(), func(ctx context.Context, n int) (*websocket.Conn, error) {
		return joinAndConnect(ctx, node.API, client, e.ID, n)
	})
}

func joiningClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: crowdAtOnce}, Timeout: 30 * time.Second}
}

// Reference is the same crowd at a program that does nothing but hold it.
func (t *idleTrial) Reference(ctx context.Context) (_ float64, err error) {
	plain, err := startPlain(ctx, t.options)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	return t.perConnection(ctx, plain.process.pid(), func(ctx context.Context, n int) (*websocket.Conn, error) {
		return plain.connect(ctx, "/", n)
	})
}

// perConnection is by how much a process grows, per connection, when a crowd
// comes to it and stays. The first few connections come before the baseline:
// what a program needs only once is not the crowd's.
func (t *idleTrial) perConnection(ctx context.Context, pid int, open func(ctx context.Context, n int) (*websocket.Conn, error)) (float64, error) {
	const firstFew = 100
	first, err := gather(ctx, firstFew, open)
	if err != nil {
		return 0, err
	}
	defer first.close()
	before, err := settledMemory(ctx, pid, 2*time.Second)
	if err != nil {
		return 0, err
	}
	size := t.size - firstFew
	crowd, err := gather(ctx, size, func(ctx context.Context, n int) (*websocket.Conn, error) { return open(ctx, firstFew+n) })
	if err != nil {
		return 0, err
	}
	defer crowd.close()
	after, err := settledMemory(ctx, pid, t.settle)
	if err != nil {
		return 0, err
	}
	if err := crowd.whole(); err != nil {
		return 0, err
	}
	if after <= before {
		return 0, fmt.Errorf("the process did not grow: %d bytes before, %d after", before, after)
	}
	return float64(after-before) / float64(size), nil
}

// settledMemory is the median of what a process uses during the second half of
// the time d.
func settledMemory(ctx context.Context, pid int, d time.Duration) (int64, error) {
	pause(ctx, d/2)
	var samples []int64
	for range 10 {
		pause(ctx, d/20)
		bytes, err := residentMemory(pid)
		if err != nil {
			return 0, err
		}
		samples = append(samples, bytes)
	}
	slices.Sort(samples)
	return samples[len(samples)/2], ctx.Err()
}

func (t *idleTrial) Close() error { return t.servers.Close() }
