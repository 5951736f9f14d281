package web

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"onsale/internal/fault"
	"onsale/waitroom"
	"onsale/waitroom/pass"
)

// Close codes of the waiting room's WebSocket, as API.md lists them.
const (
	closeReconnect = 4000 // come back soon: this node goes away
	closeUnknown   = 4001 // nobody knows this visitor here; join first
	closeOrigin    = 4003 // pages of this origin may not connect
	closeSlow      = 4008 // frames were not read in time
	closeOver      = 4010 // the room is closed
	closePolicy    = 1008 // the client talks too much
)

const subprotocol = "onsale.v1"

// hubOptions are the hub's times and sizes.
type hubOptions struct {
	tick         time.Duration // between two looks at a room
	hurry        time.Duration // least time between two looks when there are news
	calm         time.Duration // after which a frame is sent though nothing changed
	ping         time.Duration // between two pings
	pong         time.Duration // of silence after which a connection is dead
	write        time.Duration // for one frame to be taken by the kernel
	answer       time.Duration // for a client to answer a close frame
	farewell     time.Duration // for a slow reader to take the rest and the close frame
	auth         time.Duration // for the first frame, with the token
	workers      int           // goroutines that write
	perVisitor   int           // most connections of one visitor
	perAddress   int           // most connections of one network address; 0: no limit
	front        int           // places from the head whose number is exact
	samples      int           // places behind the front whose number is asked for
	lookups      int           // most visitors looked up at once
	sweep        int           // visitors looked up in passing, in turn
	restores     int           // visitors given their place back at the same time
	sendBuffer   int           // bytes the kernel keeps for one connection
	readLimit    int64         // most bytes of a client's frame
	idleMessages int           // frames a client may send without being asked
}

func defaultHubOptions() hubOptions {
	return hubOptions{
		tick: time.Second, hurry: 100 * time.Millisecond, calm: 15 * time.Second,
		ping: 25 * time.Second, pong: 60 * time.Second, write: 500 * time.Millisecond, farewell: 5 * time.Second, answer: 2 * time.Second,
		auth: 5 * time.Second, workers: 16, perVisitor: 16,
		front: 1000, samples: 64, lookups: 1024, sweep: 128, restores: 16,
		sendBuffer: 16 << 10, readLimit: 2 << 10, idleMessages: 20,
	}
}

// Hub holds the WebSockets of everyone who waits at this node and tells them
// where they stand.
//
// A connection costs no goroutine and no buffer: after the handshake all are
// watched by one poller (where there is no epoll, each is read by a goroutine
// with a small buffer). Once a tick, one round trip per room fetches the
// room, the places of the first thousand in line and how many stand before a
// sample of the local visitors; everybody else's number is interpolated. What a
// visitor is told is composed when it is written, so that a connection's
// mailbox has one slot and the latest always wins. A fixed set of workers
// writes, with deadlines; a reader that is too slow is dropped.
//
// While the store is down, connections stay and numbers stand still. When a
// room has lost its line, the hub gives those connected to it their places back.
//
// Locks are taken in the order Hub.mu, crowd.mu, outbox.mu, and none is held
// during I/O.
type Hub struct {
	rooms *waitroom.Service
	keys  *pass.KeySet
	log   *slog.Logger
	now   func() time.Time
	o     hubOptions
	out   outbox
	wake  chan struct{}

	mu     sync.Mutex
	crowds map[string]*crowd
	peers  map[*peer]struct{}
	// How many connections each network address has, by its hash.
	addresses map[uint64]int
	seed      maphash.Seed
	closing   bool
	readers   sync.WaitGroup // connections, and goroutines for them

	poll poller

	farew chan struct{} // slots for slow readers being said goodbye to

	connections prometheus.GaugeFunc
	pushes      prometheus.Counter
	slow        prometheus.Counter
	crowded     prometheus.Counter
	looks       prometheus.Histogram
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
		rooms: rooms, keys: keys, log: log, now: now, o: o,
		wake: make(chan struct{}, 1), crowds: make(map[string]*crowd), peers: make(map[*peer]struct{}), addresses: make(map[uint64]int), seed: maphash.MakeSeed(), farew: make(chan struct{}, 64),
		pushes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onsale_hub_pushes_total", Help: "Frames told to visitors.",
		}),
		slow: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onsale_hub_slow_readers_total", Help: "Connections dropped because frames were not read.",
		}),
		crowded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onsale_hub_refused_total", Help: "Connections refused because their network address has too many.",
		}),
		looks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "onsale_hub_tick_seconds", Help: "Time to look at a room and decide whom to tell.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
	}
	h.connections = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "onsale_hub_connections", Help: "WebSockets of visitors at this node.",
	}, func() float64 { return float64(h.Connections()) })
	h.out.init()
	return h
}

func (h *Hub) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{h.connections, h.pushes, h.slow, h.crowded, h.looks} {
		errs = append(errs, r.Register(c))
	}
	return errors.Join(errs...)
}

// Run looks at the rooms and tells visitors until ctx ends. Connections stay
// open; Shutdown ends them.
func (h *Hub) Run(ctx context.Context) error {
	var g errgroup.Group
	for range h.o.workers {
		g.Go(func() error {
			h.deliver()
			return nil
		})
	}
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

// Connections is how many WebSockets are open.
func (h *Hub) Connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.peers)
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
	p := &peer{}
	p.saw(h.now())
	if err := h.track(p, c.ClientIP()); err != nil {
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
		h.drop(p)
		return err
	}
	conn, err := takeOver(c.Writer)
	if err != nil { // the connection is gone, there is nobody to tell
		h.drop(p)
		return nil
	}
	if h.ready(p, conn) {
		code = closeReconnect
	}
	payload := len(first)
	first = shake.appendAnswer(first, c.Writer.Header()["Set-Cookie"])
	if payload > 0 {
		first = appendFrame(first, websocket.TextMessage, first[:payload])
	}
	*buffer = first
	_, err = p.write(first[payload:], h.o.write)
	switch {
	case err != nil:
		h.drop(p)
		return nil
	case code != 0:
		h.finish(p, code)
	case o.join != nil:
		h.pushes.Inc()
		h.enter(p, o.event, v, &seen)
	case o.visitor != "":
		h.enter(p, o.event, v, nil)
	default:
		go h.introduce(p, o.event)
		return nil
	}
	h.listen(p)
	return nil
}

// track counts a connection, unless the hub is being shut down.
func (h *Hub) track(p *peer, address string) error {
	if h.o.perAddress > 0 {
		p.address = maphash.String(h.seed, waitroom.Network(address))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return fault.New(fault.Unavailable, "this node is going away; please connect again").After(time.Second)
	}
	if h.o.perAddress > 0 {
		if h.addresses[p.address] >= h.o.perAddress {
			h.crowded.Inc()
			return fault.New(fault.TooMany, "there are too many connections from this network; your place is safe, ask for it with GET …/me").After(30 * time.Second)
		}
		h.addresses[p.address]++
	}
	h.readers.Add(1)
	h.peers[p] = struct{}{}
	return nil
}

// drop ends a connection and forgets it.
func (h *Hub) drop(p *peer) {
	h.mu.Lock()
	first := p.gone.CompareAndSwap(false, true)
	conn, c := p.conn, p.crowd
	delete(h.peers, p)
	if first && h.o.perAddress > 0 {
		if h.addresses[p.address]--; h.addresses[p.address] == 0 {
			delete(h.addresses, p.address)
		}
	}
	h.mu.Unlock()
	if !first {
		return
	}
	if conn != nil {
		h.poll.remove(p)
		_ = conn.Close()
	}
	if c != nil {
		c.mu.Lock()
		c.remove(p)
		c.mu.Unlock()
	}
	h.readers.Done()
}

// dropSoon gives the client a moment to answer the close frame.
func (h *Hub) dropSoon(p *peer) {
	time.AfterFunc(h.o.answer, func() { h.drop(p) })
}

// ready sets up a connection, and reports whether the hub began to shut down
// during its handshake. From here on it is ours alone: of the handshake's
// connection only the network's is kept.
func (h *Hub) ready(p *peer, conn net.Conn) (closing bool) {
	if b, ok := conn.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = b.SetWriteBuffer(h.o.sendBuffer) // only a bound on kernel memory
	}
	if socket, ok := conn.(syscall.Conn); ok {
		p.raw, _ = socket.SyscallConn() // nil: read by a goroutine
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p.conn = conn
	return h.closing
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
		h.finish(p, closeUnknown)
	case fault.Is(err, fault.Invalid):
		h.finish(p, closePolicy)
	case err != nil:
		h.finish(p, closeReconnect)
	default:
		h.enter(p, event, v, nil)
	}
	h.listen(p)
}

// listen has what a client sends taken in until the connection ends.
func (h *Hub) listen(p *peer) {
	if !h.poll.add(p, h.readable) {
		go h.read(p)
	}
}

// readable takes what a client has sent, which is nothing but control frames.
func (h *Hub) readable(p *peer, buffer []byte) {
	n, err := p.readNow(buffer)
	if err != nil {
		h.drop(p)
		return
	}
	switch goesOn, code := h.heed(p, buffer[:n], nil); {
	case code == 0:
	case p.closed.Load(): // there is nothing more to say
		if !goesOn {
			h.drop(p)
		}
	case !h.out.bye(p, code, !goesOn):
		h.drop(p)
	}
}

// read is readable for connections that the poller cannot watch.
func (h *Hub) read(p *peer) {
	defer h.drop(p)
	var buffer [256]byte
	for {
		n, err := p.conn.Read(buffer[:])
		if err != nil {
			return
		}
		goesOn, code := h.heed(p, buffer[:n], nil)
		if code != 0 {
			h.finish(p, code)
		}
		if !goesOn {
			return
		}
	}
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
		h.finish(p, closeReconnect)
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
		h.finish(p, closePolicy)
	case !looked:
		h.hurryUp()
	case joined == nil:
		h.out.push(p, wantMe)
	}
}

// finish sends a close frame and gives the client a moment to answer it.
func (h *Hub) finish(p *peer, code int) {
	if !p.closed.CompareAndSwap(false, true) {
		return
	}
	if _, err := p.write(closeFrame(code), h.o.write); err != nil {
		h.drop(p)
		return
	}
	h.dropSoon(p)
}

// Shutdown ends all connections with code 4000, in batches spread over three
// quarters of the time ctx leaves (at most a minute; five seconds when ctx has
// no end), so that clients do not all come back to the other nodes at once. It
// returns when the last is gone, or when ctx ends.
func (h *Hub) Shutdown(ctx context.Context) {
	h.mu.Lock()
	h.closing = true
	peers := make([]*peer, 0, len(h.peers))
	for p := range h.peers {
		if p.conn != nil { // else still in its handshake, after which ready ends it
			peers = append(peers, p)
		}
	}
	h.mu.Unlock()
	spread := 5 * time.Second
	if end, ok := ctx.Deadline(); ok {
		spread = min(max(time.Until(end), 0), time.Minute)
	}
	spread = spread * 3 / 4
	const batch = 100
	pause := spread / time.Duration(max(1, (len(peers)+batch-1)/batch))
	for start := 0; start < len(peers); start += batch {
		if start > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
		var g errgroup.Group
		g.SetLimit(16)
		for _, p := range peers[start:min(start+batch, len(peers))] {
			g.Go(func() error {
				h.finish(p, closeReconnect)
				return nil
			})
		}
		_ = g.Wait()
	}
	gone := make(chan struct{})
	go func() {
		h.readers.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return
	case <-ctx.Done():
	}
	h.mu.Lock()
	peers = peers[:0]
	for p := range h.peers {
		if p.conn != nil {
			peers = append(peers, p)
		}
	}
	h.mu.Unlock()
	for _, p := range peers {
		h.drop(p)
	}
	<-gone
}
