package stacktest

import (
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
}

// Proxy stands between a node and a server, and is a bad network when told to.
type Proxy struct {
	listener net.Listener
	target   *url.URL
	faults   atomic.Pointer[Faults]
	lost     atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	over  bool
	all   sync.WaitGroup
}

// NewProxy starts a proxy to the server at address (a URL). It ends with the test.
func NewProxy(t testing.TB, address string) *Proxy {
	t.Helper()
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, target: target, conns: make(map[net.Conn]struct{})}
	p.faults.Store(&Faults{})
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
	u := *p.target
	u.Host = p.listener.Addr().String()
	return u.String()
}

// Set changes what goes wrong from now on.
func (p *Proxy) Set(f Faults) { p.faults.Store(&f) }

// Lost is how many exchanges were lost so far.
func (p *Proxy) Lost() int64 { return p.lost.Load() }

// Cut ends all connections there are.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := (&net.Dialer{Timeout: timeout}).DialContext(context.Background(), "tcp", p.target.Host)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		over := p.over
		p.mu.Unlock()
		if over {
			_ = client.Close()
		}
		p.all.Go(func() { p.carry(server, client, func(f *Faults) float64 { return f.LoseRequest }) })
		p.all.Go(func() { p.carry(client, server, func(f *Faults) float64 { return f.LoseReply }) })
	}
}

// carry passes on what comes, until either side ends or a fault does.
func (p *Proxy) carry(to, from net.Conn, chance func(*Faults) float64) {
	defer func() {
		_, _ = to.Close(), from.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, from)
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			f := p.faults.Load()
			if f.Delay > 0 {
				<-time.After(rand.N(f.Delay))
			}
			if c := chance(f); c > 0 && rand.Float64() < c {
				p.lost.Add(1)
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
