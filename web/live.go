package web

import (
	"context"
	"iter"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"onsale/checkout"
	"onsale/internal/fault"
)

// The live seat map: one snapshot to each viewer, then the same deltas to all.
// Anybody may look.

// publicMap is the seat map of the event that the path names, and how long caches
// may keep it.
func (s *Server) publicMap(c *gin.Context) (*seatMap, []string, error) {
	e, err := s.publicEvent(c)
	if err != nil {
		return nil, nil, err
	}
	v, err := s.Inventory.View(c.Request.Context(), e.ID)
	if err != nil {
		return nil, nil, err
	}
	cache := eventCaching
	if e.Status == "draft" {
		cache = draftCaching
	}
	return s.live.maps.of(e.ID, v), cache, nil
}

var draftCaching = []string{"private, no-store"}

func (s *Server) availability(c *gin.Context) {
	m, cache, err := s.publicMap(c)
	if err == nil {
		err = m.answer(c, cache)
	}
	if err != nil {
		s.fail(c, err)
	}
}

func (s *Server) liveMap(c *gin.Context) {
	event, err := id(c, "id")
	if err != nil {
		s.fail(c, err)
		return
	}
	if !s.originAllowed(c.Request) {
		s.fail(c, fault.New(fault.Forbidden, "pages of this origin may not connect"))
		return
	}
	m, _, err := s.publicMap(c)
	if err == nil {
		err = wantsWebSocket(c)
	}
	if err == nil {
		err = s.live.serve(c, event, m)
	}
	if err != nil {
		s.fail(c, err)
	}
}

func wantsWebSocket(c *gin.Context) error {
	if c.IsWebsocket() {
		return nil
	}
	c.Header("Upgrade", "websocket")
	return fault.New(upgradeRequired, "this address speaks WebSocket only")
}

// liveOptions are the times and sizes of the live map.
type liveOptions struct {
	socketOptions

	tick   time.Duration // that changes are gathered
	beat   time.Duration // between two looks when there are no signals of changes
	recent int           // deltas kept for viewers who are behind
}

func defaultLiveOptions() liveOptions {
	o := liveOptions{socketOptions: defaultSocketOptions(), tick: 250 * time.Millisecond, beat: time.Second, recent: 8}
	// A large map goes into the kernel's buffer at once, and may take a phone a while.
	o.most, o.write, o.waiters, o.sendBuffer, o.readLimit = 15_000, 3*time.Second, 256, 64<<10, 512
	return o
}

// inventory is what the live map needs of *checkout.Inventory.
type inventory interface {
	Refresh(ctx context.Context, event string) (*checkout.View, error)
	Changes(ctx context.Context, event string) (<-chan struct{}, error)
}

var _ inventory = (*checkout.Inventory)(nil)

// liveHub tells the viewers at this node what changes on the seat maps that they
// look at.
//
// An event that somebody looks at has one watch, which reads its tickets when
// they change and makes of it a state: one frame for all viewers. Nobody's queue
// holds frames: a viewer knows which state they were told last, and when their
// turn to be written to comes, they are told what has come since; the whole map,
// if that is more than is kept. A viewer whose connection takes nothing for a
// while keeps nobody else waiting and is closed with 4008 after some seconds.
//
// While the inventory cannot be read, viewers stay, and are told afterwards what
// they missed.
type liveHub struct {
	sockets

	inventory inventory
	maps      *seatMaps
	log       *slog.Logger
	o         liveOptions
	events    map[string]*liveEvent // that somebody looks at; guarded by mu
	watches   sync.WaitGroup
}

// liveEvent is an event that somebody looks at.
type liveEvent struct {
	id      string
	viewers []*viewer // guarded by liveHub.mu
	state   atomic.Pointer[liveState]
	stop    context.CancelFunc // ends the watch
}

// liveState is a seat map as the watch saw it, and how it came to be. It is not
// changed once made.
type liveState struct {
	n      uint64 // counts states
	now    *seatMap
	deltas [][]byte // the frames that led from state n-len(deltas) to this one
}

// viewer is one connection.
type viewer struct {
	socket

	hub   *liveHub
	event *liveEvent // nil until they look; guarded by liveHub.mu
	index int        // in event.viewers; guarded by liveHub.mu
	told  uint64     // the state they were told last; only in the socket's turn
}

func newLiveHub(s *Server) *liveHub {
	o := defaultLiveOptions()
	o.perAddress = s.SocketsPerAddress
	h := makeLiveHub(s.Inventory, s.log, s.Clock, o)
	if err := h.register(s.Registerer); err != nil {
		s.log.Error("the live map has no metrics", slog.Any("error", err))
	}
	return h
}

func makeLiveHub(i inventory, log *slog.Logger, now func() time.Time, o liveOptions) *liveHub {
	h := &liveHub{inventory: i, maps: newSeatMaps(), log: log, o: o, events: make(map[string]*liveEvent)}
	h.init(o.socketOptions, now, "onsale_live", "viewers of seat maps")
	h.advice = "ask for the seat map with GET …/availability"
	return h
}

func (h *liveHub) register(r prometheus.Registerer) error {
	return register(r, append(h.collectors(), h.maps.encodings)...)
}

// serve accepts the handshake of a viewer and returns; the connection lives on.
func (h *liveHub) serve(c *gin.Context, event string, first *seatMap) error {
	shake, err := readHandshake(c.Request)
	if err != nil {
		return err
	}
	v := &viewer{hub: h}
	err = h.begin(&v.socket, v, c.ClientIP())
	if err != nil && !fault.Is(err, fault.Unavailable) {
		return err
	}
	conn, lost := takeOver(c.Writer)
	switch {
	case lost != nil: // there is nobody to tell
		if err == nil {
			h.drop(&v.socket)
		}
		return nil
	case err != nil:
		turnAway(conn, shake)
		return nil
	}
	buffer := told.Get().(*[]byte)
	defer told.Put(buffer)
	code := 0
	answer := shake.appendAnswer((*buffer)[:0], nil)
	if h.ready(&v.socket, conn) {
		code = closeReconnect
	} else if m := h.enter(v, event, first); m != nil {
		answer = append(answer, m.whole()...)
		h.pushes.Inc()
	}
	*buffer = answer
	h.opened(&v.socket, answer, code)
	h.listen(&v.socket)
	return nil
}

// turnAway ends a connection that there is no room for as soon as it is one.
func turnAway(conn net.Conn, shake handshake) {
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = conn.Write(append(shake.appendAnswer(nil, nil), closeFrame(closeReconnect)...)) // nothing depends on their hearing it
	_ = conn.Close()
}

// enter makes v one of the event's viewers and returns the map to begin with: the
// one that the next delta continues. It returns nil when v has gone already.
func (h *liveHub) enter(v *viewer, event string, first *seatMap) *seatMap {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.gone.Load() {
		return nil
	}
	e := h.events[event]
	if e == nil {
		ctx, stop := context.WithCancel(context.Background()) // the last viewer ends it
		e = &liveEvent{id: event, stop: stop}
		e.state.Store(&liveState{n: 1, now: first})
		h.events[event] = e
		h.watches.Go(func() { h.watch(ctx, e) })
	}
	v.event, v.index = e, len(e.viewers)
	e.viewers = append(e.viewers, v)
	s := e.state.Load()
	v.told = s.n
	return s.now
}

// left takes v off the event's viewers.
func (v *viewer) left() {
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	e := v.event
	if e == nil {
		return
	}
	last := len(e.viewers) - 1
	moved := e.viewers[last]
	e.viewers[v.index], moved.index = moved, v.index
	e.viewers[last] = nil
	e.viewers = e.viewers[:last]
	if last == 0 {
		delete(v.hub.events, e.id)
		e.stop()
	}
}

// tell appends what has changed since v was told last.
func (v *viewer) tell(dst []byte, _ wants, _ *scratch) (frames []byte, code int) {
	s := v.event.state.Load()
	missed := s.n - v.told
	v.told = s.n
	switch {
	case missed == 0:
	case missed <= uint64(len(s.deltas)):
		for _, frame := range s.deltas[uint64(len(s.deltas))-missed:] {
			dst = append(dst, frame...)
			v.hub.pushes.Inc()
		}
	default:
		dst = append(dst, s.now.whole()...)
		v.hub.pushes.Inc()
	}
	return dst, 0
}

// watch follows one event while somebody looks.
func (h *liveHub) watch(ctx context.Context, e *liveEvent) {
	changes, err := h.inventory.Changes(ctx, e.id)
	if err != nil {
		h.log.WarnContext(ctx, "no signals of seat changes; looking now and then", slog.String("event", e.id), slog.Any("error", err))
	}
	beat := time.NewTicker(h.o.beat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-changes:
			if !ok {
				changes = nil
			}
		case <-beat.C:
		}
		if v, err := h.inventory.Refresh(ctx, e.id); err == nil { // else at the next beat
			h.broadcast(e, v)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(h.o.tick):
		}
	}
}

// broadcast has all viewers told what v says. Only the event's watch calls it.
func (h *liveHub) broadcast(e *liveEvent, v *checkout.View) {
	before := e.state.Load()
	if sameMap(before.now.view, v) {
		return
	}
	next := &liveState{n: before.n + 1, now: h.maps.of(e.id, v)}
	if delta, ok := appendDelta(nil, before.now.view, v); ok {
		h.maps.encodings.Inc()
		kept := before.deltas[max(0, len(before.deltas)-h.o.recent+1):]
		next.deltas = append(append(make([][]byte, 0, len(kept)+1), kept...), appendFrame(nil, websocket.TextMessage, delta))
	}
	e.state.Store(next)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out.pushAll(e.sockets(), wantNews)
}

func (e *liveEvent) sockets() iter.Seq[*socket] {
	return func(yield func(*socket) bool) {
		for _, v := range e.viewers {
			if !yield(&v.socket) {
				return
			}
		}
	}
}

// keepAlive pings viewers and ends the silent until ctx ends.
func (h *liveHub) keepAlive(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := h.now()
		h.mu.Lock()
		for _, e := range h.events {
			for p := range e.sockets() {
				if w := h.pulse(p, now); w != 0 {
					h.out.push(p, w)
				}
			}
		}
		h.mu.Unlock()
	}
}

// run tells viewers until ctx ends, and sends those who are still here elsewhere.
func (h *liveHub) run(ctx context.Context) error {
	var g errgroup.Group
	h.work(&g)
	h.keepAlive(ctx)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	h.Shutdown(last)
	h.watches.Wait()
	h.out.close()
	return g.Wait()
}
