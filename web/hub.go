package web

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"onsale/internal/fault"
	"onsale/waitroom"
	"onsale/waitroom/pass"
)

// hubOptions are the hub's times and sizes.
type hubOptions struct {
	socketOptions

	tick       time.Duration // between two looks at a room
	hurry      time.Duration // least time between two looks when there are news
	calm       time.Duration // after which a frame is sent though nothing changed
	auth       time.Duration // for the first frame, with the token
	perVisitor int           // most connections of one visitor
	front      int           // places from the head whose number is exact
	samples    int           // places behind the front whose number is asked for
	lookups    int           // most visitors looked up at once
	sweep      int           // visitors looked up in passing, in turn
	restores   int           // visitors given their place back at the same time
}

func defaultHubOptions() hubOptions {
	return hubOptions{
		socketOptions: defaultSocketOptions(),
		tick:          time.Second, hurry: 100 * time.Millisecond, calm: 15 * time.Second, auth: 5 * time.Second,
		perVisitor: 16, front: 1000, samples: 64, lookups: 1024, sweep: 128, restores: 16,
	}
}

// Hub holds the WebSockets of everyone who waits at this node and tells them
// where they stand.
//
// Once a tick, one round trip per room fetches the room, the places of the first
// thousand in line and how many stand before a sample of the local visitors;
// everybody else's number is interpolated. What a visitor is told is composed
// when it is written.
//
// While the store is down, connections stay and numbers stand still. When a
// room has lost its line, the hub gives those connected to it their places back.
//
// Locks are taken in the order Hub.mu (that of its sockets), crowd.mu, outbox.mu,
// and none is held during I/O.
type Hub struct {
	sockets

	rooms  *waitroom.Service
	keys   *pass.KeySet
	log    *slog.Logger
	o      hubOptions
	wake   chan struct{}
	crowds map[string]*crowd // guarded by mu

	looks prometheus.Histogram
}

func newHub(s *Server) *Hub {
	o := defaultHubOptions()
	o.perAddress = s.SocketsPerAddress
	h := makeHub(s.Rooms, s.Keys, s.log, s.Clock, o)
	if err := h.register(s.Registerer); err != nil {
		s.log.Error("the hub has no metrics", slog.Any("error", err))
	}
	return h
}

func makeHub(rooms *waitroom.Service, keys *pass.KeySet, log *slog.Logger, now func() time.Time, o hubOptions) *Hub {
	h := &Hub{
		rooms: rooms, keys: keys, log: log, o: o, wake: make(chan struct{}, 1), crowds: make(map[string]*crowd),
		looks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "onsale_hub_tick_seconds", Help: "Time to look at a room and decide whom to tell.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
	}
	h.init(o.socketOptions, now, "onsale_hub", "visitors")
	h.advice = "your place is safe, ask for it with GET …/me"
	return h
}

func (h *Hub) register(r prometheus.Registerer) error {
	return register(r, append(h.collectors(), h.looks)...)
}

// Run looks at the rooms and tells visitors until ctx ends. Connections stay
// open; Shutdown ends them.
func (h *Hub) Run(ctx context.Context) error {
	var g errgroup.Group
	h.work(&g)
	g.Go(func() error {
		_ = h.rooms.News(ctx, h.heard) // ends with ctx
		return nil
	})
	h.watch(ctx)
	h.out.close()
	return g.Wait()
}

// watch ticks every crowd, sooner when there are news.
func (h *Hub) watch(ctx context.Context) {
	timer := time.NewTimer(h.o.tick)
	defer timer.Stop()
	var down bool
	for {
		hurry := false
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
			hurry = true
		case <-timer.C:
		}
		err := h.tickAll(ctx, hurry)
		if failed := err != nil && ctx.Err() == nil; failed != down {
			down = failed
			if failed {
				h.log.LogAttrs(ctx, slog.LevelError, "visitors cannot be told their places", slog.Any("error", err))
			} else {
				h.log.LogAttrs(ctx, slog.LevelInfo, "visitors are told their places again")
			}
		}
		if hurry { // gather news for a moment
			select {
			case <-ctx.Done():
				return
			case <-time.After(h.o.hurry):
			}
			continue
		}
		timer.Reset(time.Duration(float64(h.o.tick) * (0.9 + 0.2*rand.Float64())))
	}
}

// tickAll ticks all crowds, or in a hurry those that have news.
func (h *Hub) tickAll(ctx context.Context, hurry bool) error {
	h.mu.Lock()
	crowds := make([]*crowd, 0, len(h.crowds))
	for event, c := range h.crowds {
		c.mu.Lock()
		switch {
		case len(c.guests) == 0 && len(c.away) == 0:
			delete(h.crowds, event)
		case !hurry || c.urgent:
			crowds = append(crowds, c)
		}
		c.mu.Unlock()
	}
	h.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(4)
	for _, c := range crowds {
		g.Go(func() error { return h.tick(ctx, c) })
	}
	return g.Wait()
}

// hurryUp makes the next tick come soon.
func (h *Hub) hurryUp() {
	select {
	case h.wake <- struct{}{}:
	default: // it comes already
	}
}

// heard takes in news.
func (h *Hub) heard(n waitroom.News) {
	h.mu.Lock()
	c := h.crowds[n.Event]
	h.mu.Unlock()
	if c == nil {
		return // nobody here; lost news are found by the next tick
	}
	c.mu.Lock()
	concerns := len(n.Visitors) == 0
	for _, id := range n.Visitors {
		if g := c.guests[id]; g != nil {
			c.ask(g)
			concerns = true
		} else {
			c.missed++
		}
	}
	c.urgent = c.urgent || concerns
	c.mu.Unlock()
	if concerns {
		h.hurryUp()
	}
}

// opening is what a visitor's WebSocket is opened with.
type opening struct {
	event   string
	visitor string // "" when the first frame will say who it is, or join
	foreign bool   // by a page that may not connect

	// join, if it is not nil, gives the visitor a place, appends the first frame
	// and sets cookies.
	join func(ctx context.Context, dst []byte) (waitroom.Visitor, []byte, error)
}

// serve accepts the handshake of a visitor and returns; the connection lives on.
// What it refuses, it has not joined.
func (h *Hub) serve(c *gin.Context, o opening) error {
	shake, err := readHandshake(c.Request)
	if err != nil {
		return err
	}
	p := &peer{hub: h}
	if err := h.begin(&p.socket, p, c.ClientIP()); err != nil {
		return err
	}
	buffer := told.Get().(*[]byte)
	defer told.Put(buffer)
	// Asked before the handshake is answered, so that the goroutine which stays
	// never needs more than a small stack.
	var v waitroom.Visitor
	first := (*buffer)[:0]
	code := 0
	seen := h.witness(o.event)
	switch {
	case o.foreign:
		code = closeOrigin
	case o.join != nil:
		v, first, err = o.join(c.Request.Context(), first)
	case o.visitor != "":
		if v, err = h.rooms.Connecting(c.Request.Context(), o.event, o.visitor); fault.Is(err, fault.UnknownVisitor) {
			code, err = closeUnknown, nil
		}
	}
	if err != nil {
		h.drop(&p.socket)
		return err
	}
	conn, err := takeOver(c.Writer)
	if err != nil { // the connection is gone, there is nobody to tell
		h.drop(&p.socket)
		return nil
	}
	if h.ready(&p.socket, conn) {
		code = closeReconnect
	}
	payload := len(first)
	first = shake.appendAnswer(first, c.Writer.Header()["Set-Cookie"])
	if payload > 0 {
		first = appendFrame(first, websocket.TextMessage, first[:payload])
	}
	*buffer = first
	h.opened(&p.socket, first[payload:], code)
	switch {
	case code != 0:
	case o.join != nil:
		h.pushes.Inc()
		h.enter(p, o.event, v, &seen)
	case o.visitor != "":
		h.enter(p, o.event, v, nil)
	default:
		go h.introduce(p, o.event)
		return nil
	}
	h.listen(&p.socket)
	return nil
}

// introduce waits for the frame that says who the visitor is.
func (h *Hub) introduce(p *peer, event string) {
	_ = p.conn.SetReadDeadline(time.Now().Add(h.o.auth)) // real time: the network has no other
	visitor, err := h.firstFrame(p)
	var v waitroom.Visitor
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), h.o.auth)
		v, err = h.rooms.Connecting(ctx, event, visitor)
		cancel()
	}
	_ = p.conn.SetReadDeadline(time.Time{})
	switch {
	case fault.Is(err, fault.Unauthorized), fault.Is(err, fault.UnknownVisitor):
		h.finish(&p.socket, closeUnknown)
	case fault.Is(err, fault.Invalid):
		h.finish(&p.socket, closePolicy)
	case err != nil:
		h.finish(&p.socket, closeReconnect)
	default:
		h.enter(p, event, v, nil)
	}
	h.listen(&p.socket)
}

// witness is what the hub had heard of an event before a visitor joined.
type witness struct {
	crowd  *crowd // nil: nobody was here
	missed uint64
}

// witness is taken before a join whose visitor enters right after it.
func (h *Hub) witness(event string) witness {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := witness{crowd: h.crowds[event]}
	if w.crowd != nil {
		w.crowd.mu.Lock()
		w.missed = w.crowd.missed
		w.crowd.mu.Unlock()
	}
	return w
}

// enter makes p one of the visitor's connections and tells it the first frame,
// or takes note that it has been told, by the answer to a join. joined is taken
// before that join: the visitor need not be looked up once more unless there
// were news of somebody who was not here yet.
func (h *Hub) enter(p *peer, event string, v waitroom.Visitor, joined *witness) {
	h.mu.Lock()
	if h.closing {
		h.mu.Unlock()
		h.finish(&p.socket, closeReconnect)
		return
	}
	if p.gone.Load() {
		h.mu.Unlock()
		return
	}
	c := h.crowds[event]
	if c == nil {
		c = newCrowd(event)
		h.crowds[event] = c
	}
	p.crowd = c
	c.mu.Lock() // before h.mu is given up, so that the crowd is not forgotten
	h.mu.Unlock()
	ok := c.admit(p, v, h.o.perVisitor)
	if ok {
		if joined == nil || joined.crowd != c || joined.missed != c.missed {
			// Between the look-up and now something may have happened that no news
			// will tell again.
			c.ask(p.guest)
		}
		if g := p.guest; g.count == 1 && (joined != nil || c.sight != nil) {
			h.note(g, c.sight, h.now())
		}
	}
	looked := c.sight != nil
	c.urgent = c.urgent || !looked
	c.mu.Unlock()
	switch {
	case !ok:
		h.finish(&p.socket, closePolicy)
	case !looked:
		h.hurryUp()
	case joined == nil:
		h.out.push(&p.socket, wantNews)
	}
}
