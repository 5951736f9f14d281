package web

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"onsale/internal/fault"
	"onsale/waitroom"
)

// Close codes of WebSockets, as API.md lists them.
const (
	closeReconnect = 4000 // come back soon: this node goes away, or has too many
	closeUnknown   = 4001 // nobody knows this visitor here; join first
	closeOrigin    = 4003 // pages of this origin may not connect
	closeSlow      = 4008 // frames were not read in time
	closeOver      = 4010 // the room is closed
	closePolicy    = 1008 // the client talks too much
)

const subprotocol = "onsale.v1"

// socketOptions are the times and sizes of a hub's connections.
type socketOptions struct {
	ping         time.Duration // between two pings
	pong         time.Duration // of silence after which a connection is dead
	write        time.Duration // for frames to be taken by the kernel
	answer       time.Duration // for a client to answer a close frame
	farewell     time.Duration // for a slow reader to take the rest and the close frame
	workers      int           // goroutines that write
	waiters      int           // goroutines that wait for slow readers
	most         int           // connections at this node; 0: no limit
	perAddress   int           // most connections of one network address; 0: no limit
	sendBuffer   int           // bytes the kernel keeps for one connection
	readLimit    int64         // most bytes of a client's frame
	idleMessages int           // frames a client may send without being asked
}

func defaultSocketOptions() socketOptions {
	return socketOptions{
		ping: 25 * time.Second, pong: 60 * time.Second, write: 500 * time.Millisecond, answer: 2 * time.Second, farewell: 5 * time.Second,
		workers: max(runtime.GOMAXPROCS(0), 2), waiters: 64, sendBuffer: 16 << 10, readLimit: 2 << 10, idleMessages: 20,
	}
}

// sockets are the WebSockets of one hub.
//
// A connection costs no goroutine and no buffer: after the handshake all are
// watched by one poller (where there is no epoll, each is read by a goroutine
// with a small buffer). What its party is told is composed when its turn to be
// written to comes, so that a connection's mailbox has one slot and the latest
// always wins. A fixed set of workers writes, and never waits: what the kernel
// does not take at once is left to one of a few goroutines, with a deadline. A
// reader that is slower than that is dropped.
//
// Locks are taken in the order sockets.mu, those of the parties, outbox.mu, and
// none is held during I/O.
type sockets struct {
	o    socketOptions
	now  func() time.Time
	out  outbox
	poll poller

	mu        sync.Mutex // also guards what the hub keeps of its own
	all       map[*socket]struct{}
	addresses map[uint64]int // how many connections each network address has, by its hash
	seed      maphash.Seed
	closing   bool
	readers   sync.WaitGroup // connections, and goroutines for them

	waiters chan struct{} // slots
	advice  string        // for those refused because their network has too many

	connections prometheus.GaugeFunc
	pushes      prometheus.Counter
	slow        prometheus.Counter
	crowded     prometheus.Counter
}

// init makes the sockets of a hub whose metrics begin with prefix; who says whose
// connections they are.
func (h *sockets) init(o socketOptions, now func() time.Time, prefix, who string) {
	h.o, h.now = o, now
	h.all, h.addresses, h.seed = make(map[*socket]struct{}), make(map[uint64]int), maphash.MakeSeed()
	h.waiters = make(chan struct{}, o.waiters)
	h.out.init()
	h.connections = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: prefix + "_connections", Help: "WebSockets of " + who + " at this node.",
	}, func() float64 { return float64(h.Connections()) })
	h.pushes = prometheus.NewCounter(prometheus.CounterOpts{
		Name: prefix + "_pushes_total", Help: "Frames told to " + who + ".",
	})
	h.slow = prometheus.NewCounter(prometheus.CounterOpts{
		Name: prefix + "_slow_readers_total", Help: "Connections dropped because frames were not read.",
	})
	h.crowded = prometheus.NewCounter(prometheus.CounterOpts{
		Name: prefix + "_refused_total", Help: "Connections refused because their network address has too many.",
	})
}

func (h *sockets) collectors() []prometheus.Collector {
	return []prometheus.Collector{h.connections, h.pushes, h.slow, h.crowded}
}

// register adds metrics to a registry, if there is one.
func register(r prometheus.Registerer, metrics ...prometheus.Collector) error {
	if r == nil {
		return nil
	}
	var errs []error
	for _, c := range metrics {
		errs = append(errs, r.Register(c))
	}
	return errors.Join(errs...)
}

// Connections is how many WebSockets are open.
func (h *sockets) Connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}

// party is who is at the other end of a socket.
type party interface {
	// tell appends the frames with what they are to be told, and counts them. A
	// close code ends the connection after them. It is called in the socket's turn.
	tell(dst []byte, w wants, s *scratch) (frames []byte, code int)
	// left is called once the connection has ended.
	left()
}

// scratch is what a worker composes with.
type scratch struct {
	frames, payload []byte
	visitor         waitroom.Visitor // one for all, since what is told points into it
	attempt         attempt
}

// socket is one WebSocket. Who has its turn may write to it: at first the
// handshake, then one worker at a time.
type socket struct {
	party  party
	conn   net.Conn        // nil during the handshake; set under sockets.mu
	raw    syscall.RawConn // nil when conn is no socket
	pinged int64           // unix seconds of the last ping; guarded by who calls pulse
	seen   atomic.Int64
	closed atomic.Bool // a close frame was sent: nothing follows it
	gone   atomic.Bool // dropped; set under sockets.mu

	// Touched only by who reads.
	in      *inbox
	unasked int // messages that were not asked for

	fd int // guarded by poller.mu

	address uint64 // hash of the network they come from, where those are counted

	// Guarded by outbox.mu.
	next   *socket // in the outbox
	pong   *[]byte // what a ping of the client held
	code   uint16  // for its close frame
	want   wants
	queued bool
	busy   bool // somebody has the turn
}

// writeBriefly is a write that hardly waits, for what is no socket.
func (p *socket) writeBriefly(b []byte) (n int, err error) {
	const moment = 5 * time.Millisecond
	_ = p.conn.SetWriteDeadline(time.Now().Add(moment))
	if n, err = p.conn.Write(b); errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n, err
}

func (p *socket) saw(now time.Time) { p.seen.Store(now.Unix()) }

// deliver writes what sockets want until the outbox is closed.
func (h *sockets) deliver() {
	var s scratch
	turns := make([]turn, 0, turnsAtOnce)
	for {
		if turns = h.out.pop(turns[:0]); len(turns) == 0 {
			return
		}
		over := turns[:0]
		for _, t := range turns {
			if h.attend(t.socket, t.want, &s) {
				over = append(over, t)
			}
		}
		h.out.done(over...)
		clear(turns)
	}
}

// work delivers with as many workers as there are to be.
func (h *sockets) work(g *errgroup.Group) {
	for range h.o.workers {
		g.Go(func() error {
			h.deliver()
			return nil
		})
	}
}

// attend writes what p wants. It is false when somebody else goes on with that,
// and ends the turn.
func (h *sockets) attend(p *socket, w wants, s *scratch) bool {
	if p.gone.Load() {
		return true
	}
	if p.closed.Load() || w&(wantEnd|wantBye) == wantEnd {
		if w&wantEnd != 0 {
			h.drop(p)
		}
		return true
	}
	frames, code := s.frames[:0], 0
	if w&(wantNews|wantOver|wantGone) != 0 {
		frames, code = p.party.tell(frames, w, s)
	}
	if w&wantPing != 0 {
		frames = appendFrame(frames, websocket.PingMessage, nil)
	}
	if w&wantPong != 0 {
		frames = appendFrame(frames, websocket.PongMessage, h.out.ping(p))
	}
	if w&wantBye != 0 {
		code = cmp.Or(code, h.out.code(p))
	}
	s.frames = frames
	return h.send(p, frames, code, w&wantEnd != 0, &s.attempt)
}

// send writes frames, and a close frame after them if code is not 0; end drops
// the connection after that without waiting for an answer. It is called in p's
// turn, and is false when somebody else goes on with that.
func (h *sockets) send(p *socket, frames []byte, code int, end bool, a *attempt) bool {
	if code != 0 {
		p.closed.Store(true)
		frames = append(frames, closeFrame(code)...)
	}
	if len(frames) == 0 {
		return true
	}
	n, err := a.write(p, frames)
	switch {
	case err != nil:
		h.drop(p)
	case n == len(frames):
		h.sent(p, end)
	case h.wait(p, bytes.Clone(frames[n:]), end):
		return false
	default: // too many at once for politeness
		h.slow.Inc()
		h.drop(p)
	}
	return true
}

// sent is called when all frames were written.
func (h *sockets) sent(p *socket, end bool) {
	switch {
	case end:
		h.drop(p)
	case p.closed.Load(): // give the client a moment to answer
		time.AfterFunc(h.o.answer, func() { h.drop(p) })
	}
}

// wait has a goroutine write the rest of some frames and end p's turn. A reader
// too slow even for that is dropped: they are told so, if they read the rest.
func (h *sockets) wait(p *socket, rest []byte, end bool) bool {
	select {
	case h.waiters <- struct{}{}:
	default:
		return false
	}
	if !h.hold() {
		<-h.waiters
		return false
	}
	go func() {
		defer h.readers.Done()
		defer func() { <-h.waiters }()
		defer h.out.done(turn{socket: p})
		n, err := p.write(rest, h.o.write)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			h.slow.Inc()
			rest = rest[n:]
			if p.closed.CompareAndSwap(false, true) {
				rest = append(rest, closeFrame(closeSlow)...)
			}
			_, err = p.write(rest, h.o.farewell)
		}
		if err != nil {
			h.drop(p)
			return
		}
		h.sent(p, end)
	}()
	return true
}

// hold counts one more goroutine of connections, unless they are being ended.
func (h *sockets) hold() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return false
	}
	h.readers.Add(1)
	return true
}

// pulse is what a connection needs from time to time: a ping, or its end when
// the client has been silent for too long.
func (h *sockets) pulse(p *socket, at time.Time) wants {
	if at.Unix()-p.seen.Load() >= int64(h.o.pong/time.Second) {
		return wantEnd
	}
	if at.Unix()-p.pinged >= int64(h.o.ping/time.Second) {
		p.pinged = at.Unix()
		return wantPing
	}
	return 0
}

// begin makes p a socket of the hub whose handshake has the turn. It returns
// fault.Unavailable when the hub is full or being shut down, and fault.TooMany.
func (h *sockets) begin(p *socket, who party, address string) error {
	p.party, p.busy = who, true
	p.saw(h.now())
	p.pinged = p.seen.Load()
	if h.o.perAddress > 0 {
		p.address = maphash.String(h.seed, waitroom.Network(address))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return fault.New(fault.Unavailable, "this node is going away; please connect again").After(time.Second)
	}
	if h.o.most > 0 && len(h.all) >= h.o.most {
		return fault.New(fault.Unavailable, "this node has as many connections as it can; please connect again").After(5 * time.Second)
	}
	if h.o.perAddress > 0 {
		if h.addresses[p.address] >= h.o.perAddress {
			h.crowded.Inc()
			return fault.New(fault.TooMany, "there are too many connections from this network; %s", h.advice).After(30 * time.Second)
		}
		h.addresses[p.address]++
	}
	h.readers.Add(1)
	h.all[p] = struct{}{}
	return nil
}

// ready sets up a connection, and reports whether the hub began to shut down
// during its handshake. From here on it is ours alone: of the handshake's
// connection only the network's is kept.
func (h *sockets) ready(p *socket, conn net.Conn) (closing bool) {
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

// opened writes the answer to the handshake with the first frames, and a close
// frame after them if code is not 0. It ends the handshake's turn.
func (h *sockets) opened(p *socket, first []byte, code int) {
	var a attempt
	if h.send(p, first, code, false, &a) {
		h.out.done(turn{socket: p})
	}
}

// listen has what a client sends taken in until the connection ends.
func (h *sockets) listen(p *socket) {
	if !h.poll.add(p, h.readable) {
		go h.read(p)
	}
}

// readable takes what a client has sent, which is nothing but control frames.
func (h *sockets) readable(p *socket, buffer []byte) {
	n, err := p.readNow(buffer)
	if err != nil {
		h.drop(p)
		return
	}
	h.received(p, buffer[:n])
}

// read is readable for connections that the poller cannot watch.
func (h *sockets) read(p *socket) {
	var buffer [256]byte
	for {
		n, err := p.conn.Read(buffer[:])
		if err != nil {
			h.drop(p)
			return
		}
		if !h.received(p, buffer[:n]) {
			return
		}
	}
}

// received takes what a client has sent and does what follows from it. It reports
// whether the connection goes on.
func (h *sockets) received(p *socket, data []byte) bool {
	goesOn, code := h.heed(p, data, nil)
	switch {
	case code == 0:
	case p.closed.Load(): // there is nothing more to say
		if !goesOn {
			h.drop(p)
		}
	case !h.out.bye(p, code, !goesOn):
		h.drop(p)
	}
	return goesOn
}

// heed takes what a client has sent. It has pings answered, calls said with each
// message if that is not nil, and reports whether the connection goes on. A code
// is what the client is to be told at the end, or for its answer.
func (h *sockets) heed(p *socket, data []byte, said func(message)) (goesOn bool, code int) {
	end := 0
	goesOn, code = p.take(data, h.o.readLimit, said != nil, func(m message) bool {
		p.saw(h.now())
		switch m.opcode {
		case websocket.CloseMessage:
			end = closeCode(m.payload)
			return false
		case websocket.PingMessage:
			h.out.answer(p, bytes.Clone(m.payload))
		case websocket.PongMessage:
		default:
			if said != nil {
				said(m)
			} else if p.unasked++; p.unasked > h.o.idleMessages {
				end = closePolicy
			}
		}
		return true
	})
	return goesOn, cmp.Or(end, code)
}

// finish has a close frame sent and gives the client a moment to answer it.
func (h *sockets) finish(p *socket, code int) {
	if !h.out.bye(p, code, false) {
		h.drop(p)
	}
}

// drop ends a connection and forgets it.
func (h *sockets) drop(p *socket) {
	h.mu.Lock()
	first := p.gone.CompareAndSwap(false, true)
	conn := p.conn
	delete(h.all, p)
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
	p.party.left()
	h.readers.Done()
}

// Shutdown ends all connections with code 4000, in batches spread over three
// quarters of the time ctx leaves (at most a minute; five seconds when ctx has
// no end), so that clients do not all come back to the other nodes at once. It
// returns when the last is gone, or when ctx ends.
func (h *sockets) Shutdown(ctx context.Context) {
	h.mu.Lock()
	h.closing = true
	h.mu.Unlock()
	all := h.connected()
	spread := 5 * time.Second
	if end, ok := ctx.Deadline(); ok {
		spread = min(max(time.Until(end), 0), time.Minute)
	}
	spread = spread * 3 / 4
	const batch = 100
	pause := spread / time.Duration(max(1, (len(all)+batch-1)/batch))
	for start := 0; start < len(all); start += batch {
		if start > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
		for _, p := range all[start:min(start+batch, len(all))] {
			h.finish(p, closeReconnect)
		}
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
	for _, p := range h.connected() {
		h.drop(p)
	}
	<-gone
}

// connected are all sockets but those in their handshake, after which ready ends
// them.
func (h *sockets) connected() []*socket {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*socket, 0, len(h.all))
	for p := range h.all {
		if p.conn != nil {
			all = append(all, p)
		}
	}
	return all
}
