package web

import (
	"iter"
	"sync"
)

// wants is what should be written to a socket.
type wants uint8

const (
	wantNews wants = 1 << iota // what its party is to be told
	wantOver                   // close the connection after that: the room is closed
	wantGone                   // close it: the visitor is unknown
	wantPing
	wantPong // answer the last ping
	wantBye  // send a close frame
	wantEnd  // drop the connection: at once if it is dead, else after the close frame
)

// outbox is the queue of sockets that want something. A socket is in it once,
// whatever it wants, and somebody has its turn at a time: the mailbox of a
// connection is its wants, and frames are composed when its turn comes.
type outbox struct {
	mu          sync.Mutex
	filled      *sync.Cond
	first, last *socket
	closed      bool
}

// turn is a socket that somebody alone may write to, and what it wanted.
type turn struct {
	socket *socket
	want   wants
}

// turnsAtOnce is how many turns a worker takes at once.
const turnsAtOnce = 32

func (o *outbox) init() { o.filled = sync.NewCond(&o.mu) }

// push adds to what p wants.
func (o *outbox) push(p *socket, w wants) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.add(p, w)
}

// pushAll adds to what all of these want.
func (o *outbox) pushAll(all iter.Seq[*socket], w wants) {
	const piece = 256 // after which others get at the outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for p := range all {
		o.add(p, w)
		if n++; n%piece == 0 {
			o.mu.Unlock()
			o.mu.Lock()
		}
	}
}

func (o *outbox) add(p *socket, w wants) {
	p.want |= w
	if !p.queued && !p.busy {
		o.append(p)
	}
}

// answer has a ping answered. Of several only the last is, as RFC 6455 allows.
func (o *outbox) answer(p *socket, ping []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p.pong = &ping
	o.add(p, wantPong)
}

// bye has a close frame sent, by a worker: who reads must not wait for who is
// slow to read. Of several codes the first is said. It returns false when there
// are no workers any more.
func (o *outbox) bye(p *socket, code int, end bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p.code == 0 {
		p.code = uint16(code)
	}
	w := wantBye
	if end {
		w |= wantEnd
	}
	o.add(p, w)
	return !o.closed
}

func (o *outbox) code(p *socket) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int(p.code)
}

// ping takes the payload that is to be answered.
func (o *outbox) ping(p *socket) (payload []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p.pong != nil {
		payload, p.pong = *p.pong, nil
	}
	return payload
}

func (o *outbox) append(p *socket) {
	p.queued = true
	if o.last == nil {
		o.first = p
	} else {
		o.last.next = p
	}
	o.last = p
	o.filled.Signal()
}

// pop waits for sockets that want something and reserves some, as many as turns
// has room for, to the caller, who calls done with each. There are none when the
// outbox is closed.
func (o *outbox) pop(turns []turn) []turn {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.first == nil && !o.closed {
		o.filled.Wait()
	}
	if o.closed {
		return nil
	}
	for p := o.first; p != nil && len(turns) < cap(turns); p = o.first {
		if o.first, p.next = p.next, nil; o.first == nil {
			o.last = nil
		}
		turns = append(turns, turn{p, p.want})
		p.want, p.queued, p.busy = 0, false, true
	}
	return turns
}

// done ends turns.
func (o *outbox) done(turns ...turn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range turns {
		t.socket.busy = false
		if t.socket.want != 0 && !o.closed {
			o.append(t.socket)
		}
	}
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.filled.Broadcast()
}
