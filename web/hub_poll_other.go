//go:build !linux

package web

import "time"

// poller stands where there is no epoll: connections are read by goroutines.
type poller struct{}

func (*poller) add(*peer, func(p *peer, buffer []byte)) bool { return false }
func (*poller) remove(*peer)                                 {}

func (p *peer) readNow([]byte) (int, error) { panic("web: connections are not watched here") }

func (p *peer) write(b []byte, within time.Duration) (int, error) {
	_ = p.conn.SetWriteDeadline(time.Now().Add(within))
	return p.conn.Write(b)
}
