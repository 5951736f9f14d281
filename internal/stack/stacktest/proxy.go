package stacktest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Faults are what a Proxy does to what passes through it. The zero value is a
// good network.
type Faults struct {
	LoseRequest float64       // chance that the connection is cut before a request arrives
	LoseReply   float64       // chance that it is cut when the answer is on its way
	Delay       time.Duration // most that a request or an answer is held up
	HoldReplies bool          // what the server says waits until this is over; a Cut loses it
	// LoseCommits cuts connections when the answer of Postgres to a COMMIT of something
	// that was written is on its way: it has happened, and nobody knows.
	LoseCommits bool
	// AtCommit is called before a COMMIT is passed on.
	AtCommit func()
	// Rewrite may change what is asked, in place.
	Rewrite func(request []byte)
}

// commit is how pgx ends a transaction: a query by itself.
var commit = []byte("Q\x00\x00\x00\x0bcommit\x00")

// link is what the two directions of a connection know of each other.
type link struct {
	wrote      atomic.Bool // something, since the last BEGIN
	committing atomic.Bool // the answer is to be lost
}

// Proxy stands between a node and a server, and is a bad network when told to.
type Proxy struct {
	listener net.Listener
	target   atomic.Pointer[url.URL]
	faults   atomic.Pointer[Faults]
	lost     atomic.Int64

	mu      sync.Mutex
	changed *sync.Cond // the faults, or conns lost one; by mu
	conns   map[net.Conn]struct{}
	over    bool
	all     sync.WaitGroup
}

// NewProxy starts a proxy to the server at address (a URL). It ends with the test.
func NewProxy(t testing.TB, address string) *Proxy {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, conns: make(map[net.Conn]struct{})}
	p.changed = sync.NewCond(&p.mu)
	p.faults.Store(&Faults{})
	p.Lead(t, address)
	p.all.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.over = true
		p.mu.Unlock()
		_ = listener.Close()
		p.Cut()
		p.all.Wait()
	})
	return p
}

// URL is the server's address by way of the proxy.
func (p *Proxy) URL() string {
	u := *p.target.Load()
	u.Host = p.Address()
	return u.String()
}

// Address is where the proxy listens, host:port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Lead makes connections from now on lead to the server at another address (a
// URL). Those there are stay; see Cut.
func (p *Proxy) Lead(t testing.TB, address string) {
	t.Helper()
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p.target.Store(target)
}

// Set changes what goes wrong from now on.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults.Store(&f)
	p.changed.Broadcast()
}

// Lost is how many exchanges were lost so far.
func (p *Proxy) Lost() int64 { return p.lost.Load() }

// Cut ends all connections there are, with what is on its way in them.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.end(c)
	}
}

// end closes connections. The caller holds mu.
func (p *Proxy) end(conns ...net.Conn) {
	for _, c := range conns {
		_ = c.Close()
		delete(p.conns, c)
	}
	p.changed.Broadcast()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := (&net.Dialer{Timeout: timeout}).DialContext(context.Background(), "tcp", p.target.Load().Host)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		if p.over {
			p.end(client, server)
		}
		p.mu.Unlock()
		var l link
		p.all.Go(func() { p.carry(server, client, &l, false) })
		p.all.Go(func() { p.carry(client, server, &l, true) })
	}
}

// carry passes on what comes, until either side ends or a fault does.
func (p *Proxy) carry(to, from net.Conn, l *link, replies bool) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.end(to, from)
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			f := p.faults.Load()
			if f.Delay > 0 {
				<-time.After(rand.N(f.Delay))
			}
			chance := f.LoseRequest
			if replies {
				chance = f.LoseReply
			} else {
				l.look(f, buffer[:n])
			}
			if replies && l.committing.Load() {
				p.lost.Add(1)
				return
			}
			if replies && (bytes.Contains(buffer[:n], []byte("INSERT 0 ")) || bytes.Contains(buffer[:n], []byte("UPDATE "))) {
				l.wrote.Store(true)
			}
			if chance > 0 && rand.Float64() < chance {
				p.lost.Add(1)
				return
			}
			if replies && !p.released(from) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// released waits while replies are held up. It reports whether the connection
// outlived that.
func (p *Proxy) released(from net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if _, alive := p.conns[from]; !alive {
			return false
		}
		if !p.faults.Load().HoldReplies {
			return true
		}
		p.changed.Wait()
	}
}

// look does to a request what the faults want of its contents.
func (l *link) look(f *Faults, request []byte) {
	if f.Rewrite != nil {
		f.Rewrite(request)
	}
	if len(request) > 5 && bytes.HasPrefix(request[5:], []byte("begin")) {
		l.wrote.Store(false)
	}
	if !bytes.HasSuffix(request, commit) {
		return
	}
	if f.AtCommit != nil {
		f.AtCommit()
	}
	l.committing.Store(l.wrote.Swap(false) && f.LoseCommits)
}
