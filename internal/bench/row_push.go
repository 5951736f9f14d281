package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

var _ = register(Row{
	Name: "push", Order: 70,
	Figure:    "processor time of the program per visitor who is told their position, all of them at once",
	Reference: "gorilla/websocket's WriteMessage of a frame with the same bytes to as many connections, one after the other",
	Unit:      Micros,
	Goal:      Goal{AtMost: 1.3}, Stretch: Goal{AtMost: 1},
	Runs:    struct{ Full, Short int }{5, 2},
	Prepare: preparePush,
})

// pushTrial tells a crowd something new, again and again, each time when all
// have heard the last. The operator's message changes, which is told at once;
// otherwise everyone would be told at a time of their own. Every frame is
// composed for its visitor, with their place and number.
type pushTrial struct {
	options Options
	servers *Servers
	size    int
	rounds  int
	frame   []byte // as one visitor was told
}

func preparePush(ctx context.Context, env *Env) (Trial, error) {
	most, err := mostConnections()
	if err != nil {
		return nil, err
	}
	t := &pushTrial{options: env.Options, size: min(idleFull, most), rounds: 10}
	if env.Short {
		t.size, t.rounds = idleShort, 15
	}
	if err := fits(t.size); err != nil {
		return nil, err
	}
	t.servers, err = StartServers(ctx, env.Options)
	return t, err
}

func (t *pushTrial) Measure(ctx context.Context) (_ float64, err error) {
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
	return t.perVisitor(ctx, node.PID(), func(ctx context.Context, n int) (*websocket.Conn, error) {
		return joinAndConnect(ctx, node.API, client, e.ID, n)
	}, func(ctx context.Context, mark string) error {
		return node.call(ctx, http.MethodPost, "/v1/admin/rooms/"+e.ID+"/message", object{"message": mark}, nil)
	})
}

func (t *pushTrial) Reference(ctx context.Context) (_ float64, err error) {
	if t.frame == nil {
		return 0, errors.New("no visitor was told anything")
	}
	plain, err := startPlain(ctx, t.options)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	return t.perVisitor(ctx, plain.process.pid(), func(ctx context.Context, n int) (*websocket.Conn, error) {
		return plain.connect(ctx, "/told", n)
	}, func(ctx context.Context, mark string) error {
		at := bytes.Index(t.frame, []byte(pushMark))
		frame := bytes.Clone(t.frame)
		copy(frame[at:], mark)
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+plain.address+"/tell", bytes.NewReader(frame))
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusNoContent {
			return fmt.Errorf("the reference answered %s", response.Status)
		}
		return nil
	})
}

// pushMark begins every message, so that frames are known by it; four digits follow.
const pushMark = "doors open soon, notice "

// perVisitor is the processor time a process takes for each frame told.
func (t *pushTrial) perVisitor(ctx context.Context, pid int,
	open func(ctx context.Context, n int) (*websocket.Conn, error), tell func(ctx context.Context, mark string) error,
) (float64, error) {
	crowd, err := gather(ctx, t.size, open)
	if err != nil {
		return 0, err
	}
	defer crowd.close()
	pause(ctx, 2*time.Second) // whatever coming took is over
	round := func(n int) error {
		mark := fmt.Sprintf(pushMark+"%04d", n)
		crowd.expect([]byte(mark))
		if err := tell(ctx, mark); err != nil {
			return err
		}
		return crowd.told(ctx, t.size)
	}
	if err := round(0); err != nil { // buffers and stacks grow to what they need
		return 0, err
	}
	if t.frame == nil {
		t.frame = crowd.sample()
	}
	frames := crowd.frames.Load()
	before, err := processorTime(pid)
	if err != nil {
		return 0, err
	}
	for n := range t.rounds {
		if err := round(n + 1); err != nil {
			return 0, err
		}
	}
	after, err := processorTime(pid)
	if err != nil {
		return 0, err
	}
	frames = crowd.frames.Load() - frames // numbers that changed meanwhile were told too
	return float64((after - before).Nanoseconds()) / 1e3 / float64(frames), errors.Join(crowd.whole(), ctx.Err())
}

func (t *pushTrial) Close() error { return t.servers.Close() }
