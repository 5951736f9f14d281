package bench

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
)

// Sizes of the crowd that looks at one seat map, and of the map.
const (
	liveShort = 3000
	liveFull  = 10_000
	liveSeats = 5000
)

var _ = register(Row{
	Name: "live", Order: 75,
	Figure:    "processor time of the program per frame told when a ticket changes state, to all viewers of the event",
	Reference: "gorilla/websocket's WriteMessage of the same frames to as many connections, one after the other",
	Unit:      Micros,
	Goal:      Goal{AtMost: 1.3}, Stretch: Goal{AtMost: 1},
	Runs:    struct{ Full, Short int }{5, 2},
	Prepare: prepareLive,
})

// liveTrial has a crowd look at one seat map while a buyer holds a ticket and
// gives it back, again and again, each time when all have heard of the last. The
// buyer came through the waiting room; the viewers need not.
type liveTrial struct {
	options Options
	servers *Servers
	size    int
	rounds  int // each a hold and a release
	settle  time.Duration
	told    [][]byte // the frames of the last run, for the reference
}

func prepareLive(ctx context.Context, env *Env) (Trial, error) {
	t := &liveTrial{options: env.Options, size: liveFull, rounds: 10, settle: 15 * time.Second}
	if env.Short {
		t.size, t.settle = liveShort, 3*time.Second
	}
	if err := fits(t.size); err != nil {
		return nil, err
	}
	var err error
	t.servers, err = StartServers(ctx, env.Options)
	return t, err
}

func (t *liveTrial) Measure(ctx context.Context) (_ float64, err error) {
	node, err := t.servers.Serve(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	e, err := node.createEvent(ctx, liveSeats, Throttle{RatePerMinute: 6000, Burst: 100, MaxShoppers: 100, LeaseS: 3600, ClaimWindowS: 3600})
	if err != nil {
		return 0, err
	}
	buyer, err := node.liveBuyer(ctx, e.ID)
	if err != nil {
		return 0, err
	}
	first, err := node.seatMap(ctx, e.ID)
	if err != nil {
		return 0, err
	}
	crowd := &liveCrowd{seq: first.Seq}
	defer crowd.close()
	address := *node.base
	address.Scheme = "ws"
	open := func(ctx context.Context, n int) (*websocket.Conn, error) {
		conn, response, err := websocketDialer(n).DialContext(ctx, address.String()+"/v1/events/"+e.ID+"/live", nil)
		if err != nil {
			return nil, handshakeFailed(err, response)
		}
		if err := first.begins(conn); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return conn, nil
	}
	if err := t.gather(ctx, crowd, node.PID(), open); err != nil {
		return 0, err
	}
	change := func(n int) error { return buyer.change(ctx, n) }
	perFrame, err := t.perFrame(ctx, node.PID(), crowd, change)
	if err != nil {
		return 0, err
	}
	if last, err := node.seatMap(ctx, e.ID); err != nil || last.Seq != crowd.seq || last.Status != first.Status {
		return 0, fmt.Errorf("the viewers were told of change %d, the last one is %d: %w", crowd.seq, last.Seq, errOr(err, "the maps differ"))
	}
	t.told = crowd.frames
	return perFrame, nil
}

// Reference tells another crowd the very frames of the last run.
func (t *liveTrial) Reference(ctx context.Context) (_ float64, err error) {
	if len(t.told) == 0 {
		return 0, errors.New("no viewer was told anything")
	}
	plain, err := startPlain(ctx, t.options)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	crowd := &liveCrowd{frames: t.told}
	defer crowd.close()
	if err := crowd.gather(ctx, t.size, func(ctx context.Context, n int) (*websocket.Conn, error) { return plain.connect(ctx, "/told", n) }); err != nil {
		return 0, err
	}
	pause(ctx, 2*time.Second) // whatever coming took is over
	return t.perFrame(ctx, plain.process.pid(), crowd, func(n int) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+plain.address+"/tell", bytes.NewReader(t.told[n]))
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

// gather connects the crowd, and says what a viewer costs: by how much the
// program grows, as the idle row measures it.
func (t *liveTrial) gather(ctx context.Context, crowd *liveCrowd, pid int, open func(ctx context.Context, n int) (*websocket.Conn, error)) error {
	const firstFew = 100
	if err := crowd.gather(ctx, firstFew, open); err != nil {
		return err
	}
	before, err := settledMemory(ctx, pid, 2*time.Second)
	if err != nil {
		return err
	}
	if err := crowd.gather(ctx, t.size-firstFew, open); err != nil {
		return err
	}
	after, err := settledMemory(ctx, pid, t.settle)
	if err != nil {
		return err
	}
	t.options.Progress.Notef("live: a viewer costs the program %s", Bytes.text(float64(after-before)/float64(t.size-firstFew)))
	return nil
}

// perFrame is the processor time a process takes for each frame told. change
// makes the nth change.
func (t *liveTrial) perFrame(ctx context.Context, pid int, crowd *liveCrowd, change func(n int) error) (float64, error) {
	const warmUps = 2 // a hold and a release: buffers and stacks grow to what they need
	var before time.Duration
	for n := range warmUps + 2*t.rounds {
		if n == warmUps {
			var err error
			if before, err = processorTime(pid); err != nil {
				return 0, err
			}
		}
		if err := change(n); err != nil {
			return 0, err
		}
		if err := crowd.told(ctx, int64(n+1)*int64(t.size)); err != nil {
			return 0, err
		}
	}
	after, err := processorTime(pid)
	if err != nil {
		return 0, err
	}
	frames := 2 * t.rounds * t.size
	return float64((after - before).Nanoseconds()) / 1e3 / float64(frames), errors.Join(crowd.whole(), ctx.Err())
}

func (t *liveTrial) Close() error { return t.servers.Close() }

// liveMap is the state of all tickets, as the API gives it and as the live feed
// begins.
type liveMap struct {
	Type   string `json:"type"`
	Seq    int64  `json:"seq"`
	Total  int    `json:"total"`
	Status string `json:"status"`
}

func (a *API) seatMap(ctx context.Context, event string) (m liveMap, err error) {
	if err := a.call(ctx, http.MethodGet, "/v1/events/"+event+"/availability", nil, &m); err != nil {
		return m, err
	}
	if packed, err := base64.StdEncoding.DecodeString(m.Status); err != nil || m.Total != liveSeats || len(packed) != (liveSeats+3)/4 {
		return m, fmt.Errorf("the seat map cannot be read: %d tickets, %d bytes: %w", m.Total, len(packed), errOr(err, "another size"))
	}
	return m, nil
}

// begins reads a viewer's first frame, which must say the same as m.
func (m *liveMap) begins(conn *websocket.Conn) error {
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	var first liveMap
	if err := conn.ReadJSON(&first); err != nil {
		return err
	}
	if first != *m {
		return fmt.Errorf("a viewer began with change %d and %d tickets, where %d and %d were expected", first.Seq, first.Total, m.Seq, m.Total)
	}
	return conn.SetReadDeadline(time.Time{})
}

// liveBuyer is a visitor who may shop.
type liveBuyer struct {
	api   *API
	event string
	pass  string
	hold  string // "" while they have none
}

// liveBuyer goes through the room.
func (a *API) liveBuyer(ctx context.Context, event string) (*liveBuyer, error) {
	room := a.base.String() + "/v1/rooms/" + event
	var m me
	if err := exchange(ctx, a.client, http.MethodPost, room+"/join", nil, object{}, &m); err != nil {
		return nil, err
	}
	visitor := http.Header{"Authorization": {"Bearer " + m.Token}}
	wait, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	var err error
	if late := poll(wait, 50*time.Millisecond, func() bool {
		err = exchange(wait, a.client, http.MethodGet, room+"/me", visitor, nil, &m)
		return err != nil || m.State == "ready"
	}, func() error { return fmt.Errorf("the buyer's turn did not come: %s", m.State) }); errors.Join(late, err) != nil {
		return nil, errors.Join(late, err)
	}
	if err := exchange(ctx, a.client, http.MethodPost, room+"/claim", visitor, nil, &m); err != nil {
		return nil, err
	}
	if m.Pass == nil {
		return nil, fmt.Errorf("a claim was answered with state %q", m.State)
	}
	return &liveBuyer{api: a, event: event, pass: *m.Pass}, nil
}

// change holds a ticket, or gives back the one that is held.
func (b *liveBuyer) change(ctx context.Context, n int) error {
	header := http.Header{"Authorization": {"Bearer " + b.pass}}
	holds := b.api.base.String() + "/v1/events/" + b.event + "/holds"
	if b.hold == "" {
		var h held
		err := exchange(ctx, b.api.client, http.MethodPost, holds, header, object{"ordinals": []int{n * 7 % liveSeats}}, &h)
		b.hold = h.ID
		return err
	}
	err := exchange(ctx, b.api.client, http.MethodDelete, holds+"/"+b.hold, header, nil, nil)
	b.hold = ""
	return err
}

// liveCrowd are viewers of one seat map. All of them must be told the same
// frames, each continuing the one before: they are checked when the first viewer
// is told, and compared after that.
type liveCrowd struct {
	readers sync.WaitGroup
	heard   atomic.Int64 // frames, by all

	mu      sync.Mutex
	seq     int64    // of the last frame
	frames  [][]byte // in order
	conns   []*websocket.Conn
	wrong   error // the first thing that was
	closing bool
}

func (c *liveCrowd) gather(ctx context.Context, size int, open func(ctx context.Context, n int) (*websocket.Conn, error)) error {
	c.mu.Lock()
	already := len(c.conns)
	c.mu.Unlock()
	g, running := errgroup.WithContext(ctx)
	g.SetLimit(crowdAtOnce)
	for n := range size {
		g.Go(func() error {
			if running.Err() != nil {
				return running.Err()
			}
			conn, err := open(running, already+n)
			if err != nil {
				return fmt.Errorf("viewer %d: %w", already+n+1, err)
			}
			c.mu.Lock()
			c.conns = append(c.conns, conn)
			c.mu.Unlock()
			c.readers.Go(func() { c.read(conn) })
			return nil
		})
	}
	return g.Wait()
}

// read hears a viewer's frames until the first that should not be.
func (c *liveCrowd) read(conn *websocket.Conn) {
	for n := 0; ; n++ {
		_, r, err := conn.NextReader()
		if err == nil {
			b := frameBuffers.Get().(*bytes.Buffer)
			b.Reset()
			if _, err = b.ReadFrom(r); err == nil {
				err = c.check(n, b.Bytes())
			}
			frameBuffers.Put(b)
		}
		if err != nil {
			c.mu.Lock()
			if !c.closing && c.wrong == nil {
				c.wrong = err
			}
			c.mu.Unlock()
			return
		}
		c.heard.Add(1)
	}
}

// check says what is wrong with a viewer's nth frame.
func (c *liveCrowd) check(n int, frame []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < len(c.frames) {
		if !bytes.Equal(frame, c.frames[n]) {
			return fmt.Errorf("one viewer was told %.200s, another %.200s", c.frames[n], frame)
		}
		return nil
	}
	var delta struct {
		Type      string
		Seq, Prev int64
		Changes   [][2]int
	}
	if err := json.Unmarshal(frame, &delta); err != nil {
		return fmt.Errorf("frame %.200s: %w", frame, err)
	}
	if delta.Type != "delta" || delta.Prev != c.seq || delta.Seq <= delta.Prev || len(delta.Changes) != 1 {
		return fmt.Errorf("after change %d the viewers were told %.200s", c.seq, frame)
	}
	c.seq = delta.Seq
	c.frames = append(c.frames, slices.Clone(frame))
	return nil
}

// told waits until n frames were heard in all.
func (c *liveCrowd) told(ctx context.Context, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var err error
	late := poll(ctx, 2*time.Millisecond, func() bool {
		err = c.whole()
		return err != nil || c.heard.Load() >= n
	}, func() error { return fmt.Errorf("%d of %d frames were heard", c.heard.Load(), n) })
	return errors.Join(err, late)
}

// whole is an error when a viewer was lost, or told what should not be.
func (c *liveCrowd) whole() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wrong
}

func (c *liveCrowd) close() {
	c.mu.Lock()
	c.closing = true
	conns := c.conns
	c.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
	c.readers.Wait()
}
