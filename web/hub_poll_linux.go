package web

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for all idle connections at once, by an epoll of its own, so that
// none needs a goroutine: its stack is more than all else a connection costs. The
// connections stay with Go's runtime too, which does deadlines and writes.
//
// There is an epoll, and a goroutine that waits for it, only while there are
// connections.
type poller struct {
	mu      sync.Mutex
	file    *os.File  // the epoll; nil while nobody is watched
	fd      int       // of it
	sockets []*socket // by descriptor
	count   int
}

// add has ready called whenever p can be read, until p is removed. It reports
// false for what is no socket.
func (w *poller) add(p *socket, ready func(p *socket, buffer []byte)) bool {
	if p.raw == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.gone.Load() { // and so removed already
		return true
	}
	if w.file == nil && !w.open(ready) {
		return false
	}
	var err error
	failed := p.raw.Control(func(fd uintptr) {
		n := int(fd)
		err = unix.EpollCtl(w.fd, unix.EPOLL_CTL_ADD, n, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(n)})
		if err != nil {
			return
		}
		for len(w.sockets) <= n {
			w.sockets = append(w.sockets, nil)
		}
		w.sockets[n], p.fd = p, n
		w.count++
	})
	if failed != nil || err != nil {
		w.closeUnused()
		return false
	}
	return true
}

// remove ends what add began. It comes before the connection is closed.
func (w *poller) remove(p *socket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.fd >= len(w.sockets) || w.sockets[p.fd] != p {
		return
	}
	_ = unix.EpollCtl(w.fd, unix.EPOLL_CTL_DEL, p.fd, nil) // only fails for what is not there
	w.sockets[p.fd] = nil
	w.count--
	w.closeUnused()
}

func (w *poller) open(ready func(p *socket, buffer []byte)) bool {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that the runtime waits for it
		_ = unix.Close(fd)
		return false
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return false
	}
	w.file, w.fd = file, fd
	go w.run(raw, ready)
	return true
}

func (w *poller) closeUnused() {
	if w.count == 0 && w.file != nil {
		_ = w.file.Close() // ends run
		w.file, w.sockets = nil, nil
	}
}

// run ends when its epoll is closed.
func (w *poller) run(raw syscall.RawConn, ready func(p *socket, buffer []byte)) {
	events := make([]unix.EpollEvent, 128)
	buffer := make([]byte, 4<<10)
	found := make([]*socket, 0, len(events))
	for {
		n := 0
		if err := raw.Read(func(fd uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(fd), events, 0)
			return n > 0 || err != nil
		}); err != nil {
			return
		}
		w.mu.Lock()
		for _, e := range events[:max(n, 0)] {
			// It may be another connection than the one that was readable: that
			// one is closed, and reading does not block.
			if fd := int(e.Fd); fd < len(w.sockets) && w.sockets[fd] != nil {
				found = append(found, w.sockets[fd])
			}
		}
		w.mu.Unlock()
		for _, p := range found {
			ready(p, buffer)
		}
		clear(found)
		found = found[:0]
	}
}

// readNow reads what is there. It returns 0 and no error when that is nothing.
func (p *socket) readNow(buffer []byte) (n int, err error) {
	failed := p.raw.Read(func(fd uintptr) bool {
		n, err = unix.Read(int(fd), buffer)
		return true
	})
	switch {
	case failed != nil:
		return 0, failed
	case err == unix.EAGAIN, err == unix.EINTR:
		return 0, nil
	case err != nil:
		return 0, err
	case n == 0:
		return 0, os.ErrClosed
	}
	return n, nil
}

// write sends all of b in one piece, within the time the kernel has to take what
// does not fit at once. Most fits: then there is no timer to set.
func (p *socket) write(b []byte, within time.Duration) (n int, err error) {
	if p.raw == nil {
		_ = p.conn.SetWriteDeadline(time.Now().Add(within))
		return p.conn.Write(b)
	}
	slow := false
	failed := p.raw.Write(func(fd uintptr) bool {
		for n < len(b) {
			var sent int
			sent, err = unix.Write(int(fd), b[n:])
			switch {
			case err == unix.EINTR:
			case err == unix.EAGAIN:
				if !slow {
					slow = true
					_ = p.conn.SetWriteDeadline(time.Now().Add(within))
				}
				return false
			case err != nil:
				return true
			default:
				n += sent
			}
		}
		return true
	})
	if slow {
		_ = p.conn.SetWriteDeadline(time.Time{})
	}
	if failed != nil {
		return n, failed
	}
	return n, err
}

// attempt is a write that does not wait. It is used again and again by one
// goroutine: closures of their own would be most of what frames leave behind.
type attempt struct {
	try func(fd uintptr) bool
	b   []byte
	n   int
	err error
}

// write sends as much of b as the kernel takes at once.
func (a *attempt) write(p *socket, b []byte) (n int, err error) {
	if p.raw == nil {
		return p.writeBriefly(b)
	}
	if a.try == nil {
		a.try = a.once
	}
	a.b, a.n, a.err = b, 0, nil
	failed := p.raw.Write(a.try)
	a.b = nil
	if failed != nil {
		return a.n, failed
	}
	return a.n, a.err
}

func (a *attempt) once(fd uintptr) bool {
	for a.n < len(a.b) {
		sent, err := unix.Write(int(fd), a.b[a.n:])
		switch err {
		case nil:
			a.n += sent
		case unix.EINTR:
		case unix.EAGAIN:
			return true
		default:
			a.err = err
			return true
		}
	}
	return true
}
