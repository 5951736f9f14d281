//go:build !linux

package web

import "time"

// poller stands where there is no epoll: connections are read by goroutines.
type poller struct{}

func (*poller) add(*socket, func(p *socket, buffer []byte)) bool { return false }
func (*poller) remove(*socket)                                   {}

func (p *socket) readNow([]byte) (int, error) { panic("web: connections are not watched here") }

func (p *socket) write(b []byte, within time.Duration) (int, error) {
	_ = p.conn.SetWriteDeadline(time.Now().Add(within))
	return p.conn.Write(b)
}

// attempt is a write that hardly waits.
type attempt struct{}

func (*attempt) write(p *socket, b []byte) (n int, err error) { return p.writeBriefly(b) }
