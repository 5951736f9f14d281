package web

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Listen returns listener for server, whose handler is that of s, to serve.
//
// Who looks at an event again and again on one connection, as pages and caches do,
// sends the same bytes each time. What such bytes ask for is known once net/http has
// read them, and then the answer is written where the connection is read: of the
// same document, by the same code, with the same headers. Parsing a request and
// watching for its client to leave cost several times what answering does. Whatever
// is not the same, byte for byte, goes to net/http.
func (s *Server) Listen(server *http.Server, listener net.Listener) net.Listener {
	if s.quick == nil {
		return listener
	}
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if c, ok := conn.(*quickConn); ok {
			return context.WithValue(ctx, quickConnKey{}, c)
		}
		return ctx
	}
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		if c, ok := conn.(*quickConn); ok && state == http.StateIdle {
			c.idle()
		}
	}
	return quickListener{listener, s, server}
}

type quickConnKey struct{}

type quickListener struct {
	net.Listener

	s      *Server
	server *http.Server
}

func (l quickListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		return &quickConn{TCPConn: tcp, s: l.s, server: l.server}, nil
	}
	return conn, err
}

// quickConn is a connection that answers itself what was asked on it before.
type quickConn struct {
	*net.TCPConn

	s      *Server
	server *http.Server

	mu     sync.Mutex
	reads  int       // that had something, since a request ended
	last   []byte    // what the last of them had, until the next
	hits   int       // how often a request might have been remembered
	known  *repeated // what may come next; nil: not known
	quiet  time.Time // when the connection is closed if nothing comes
	writes time.Time // until when writes may last; zero: no limit
}

// repeated is a request that is answered without being parsed.
type repeated struct {
	raw     []byte // the request, all of it
	event   string
	request http.Request // what its answer depends on
}

// rawAnswers are the answers with one document as they go over the wire, up to the
// value of Date, by coding: with the document, and to who has it.
type rawAnswers [len(codingNames)][2]atomic.Pointer[[]byte]

const (
	mostRepeated  = 2 << 10 // bytes of a request that is remembered
	repeatedSince = 2       // who asks only once is not worth it
)

// idle notes that a request has ended and none has begun.
func (c *quickConn) idle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads = 0
}

// SetReadDeadline notes when the connection ends by itself.
func (c *quickConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.quiet = t
	c.mu.Unlock()
	return c.TCPConn.SetReadDeadline(t)
}

// Read answers what is known, and returns everything else.
func (c *quickConn) Read(p []byte) (int, error) {
	for {
		n, err := c.TCPConn.Read(p)
		c.mu.Lock()
		known := c.known
		if n > 0 && n < len(p) && known != nil && bytes.Equal(p[:n], known.raw) {
			if answer := c.again(known); answer != nil {
				c.mu.Unlock()
				_, err := c.Write(*answer)
				quickBuffers.Put(answer)
				if err != nil {
					return 0, err
				}
				continue
			}
		}
		if n > 0 {
			c.reads++
			c.last = p[:n]
			c.known = nil // what follows may be in the middle of a request
			if !c.writes.IsZero() {
				c.writes = time.Time{}
				_ = c.SetWriteDeadline(time.Time{}) // fails for closed ones only
			}
		}
		c.mu.Unlock()
		return n, err
	}
}

// quickBuffers are for what is written at once.
var quickBuffers = sync.Pool{New: func() any { return new([]byte) }}

// again composes the answer to a known request; nil: net/http must answer it. It
// needs the lock.
func (c *quickConn) again(r *repeated) *[]byte {
	s := c.s
	start := s.Clock()
	snap := s.eventDocs.now(r.event, start, snapshotFresh)
	if snap == nil || s.leaving.Load() || !s.quickly(context.Background()) {
		return nil
	}
	chosen, coding, known := snap.doc.choose(&r.request)
	answer, _ := quickBuffers.Get().(*[]byte)
	b := (*answer)[:0]
	b = append(b, snap.raw.head(s, snap.doc, chosen, coding, known)...)
	b = start.UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\n"+requestIDHeader+": "...)
	b = append(b, s.requestName(&r.request)[0]...)
	b = append(b, "\r\n\r\n"...)
	if !known {
		b = append(b, chosen.body...)
	}
	*answer = b
	c.extend(start)
	s.quick.saw(s, start, known)
	s.quick.repeated.Inc()
	return answer
}

// head is what the handler and net/http would answer.
func (a *rawAnswers) head(s *Server, doc *codedDocument, b *codedBody, c coding, known bool) []byte {
	at := &a[c][0]
	if known {
		at = &a[c][1]
	}
	if made := at.Load(); made != nil {
		return *made
	}
	w := headWriter{header: make(http.Header)}
	s.everyHeader(w.header)
	doc.writeAs(&w, b, c, known, eventType, eventCaching)
	if !known {
		w.header["Content-Length"] = b.length
	}
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 " + strconv.Itoa(w.status) + " " + http.StatusText(w.status) + "\r\n")
	_ = w.header.Write(&head) // to memory
	head.WriteString("Date: ")
	made := head.Bytes()
	at.Store(&made)
	return made
}

// extend has the connection live on as after a request of net/http's.
func (c *quickConn) extend(now time.Time) {
	if idle := c.server.IdleTimeout; idle > 0 && c.quiet.Sub(now) < idle/2 {
		c.quiet = now.Add(idle)
		_ = c.TCPConn.SetReadDeadline(c.quiet) // fails for closed ones only
	}
	if limit := c.server.WriteTimeout; limit > 0 && c.writes.Sub(now) < limit/2 {
		c.writes = now.Add(limit)
		_ = c.SetWriteDeadline(c.writes)
	}
}

// remember keeps the request r, which is being answered with the document of an
// event, if the bytes of it are known for certain. It is called by the handler,
// while net/http reads nothing but a byte ahead.
func (c *quickConn) remember(r *http.Request, event string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reads != 1 || !isWhole(c.last, r) {
		return
	}
	if c.hits++; c.hits < repeatedSince {
		return
	}
	known := &repeated{raw: bytes.Clone(c.last), event: strings.Clone(event), request: http.Request{Header: make(http.Header)}}
	for _, name := range [...]string{requestIDHeader, "Accept-Encoding", "If-None-Match"} {
		for _, value := range r.Header[name] {
			known.request.Header[name] = append(known.request.Header[name], strings.Clone(value))
		}
	}
	c.known = known
}

// isWhole reports whether raw, what was read since the request before, is the
// request r from its first byte to its last and nothing else. It begins with its
// first line, which cannot be a header of a request begun before, and has one end
// of a head, as its last bytes.
func isWhole(raw []byte, r *http.Request) bool {
	if len(raw) > mostRepeated || !r.ProtoAtLeast(1, 1) || r.Close || r.ContentLength != 0 || len(r.TransferEncoding) > 0 || r.Header["Expect"] != nil {
		return false
	}
	first := "GET " + r.RequestURI + " HTTP/1.1\r\n"
	head, ended := bytes.CutSuffix(raw, []byte("\r\n\r\n"))
	return ended && !strings.Contains(r.RequestURI, ":") && bytes.HasPrefix(raw, []byte(first)) &&
		!bytes.Contains(head, []byte("\n\n")) && !bytes.Contains(head, []byte("\n\r\n"))
}

// headWriter keeps the head of an answer.
type headWriter struct {
	header http.Header
	status int
}

func (w *headWriter) Header() http.Header         { return w.header }
func (w *headWriter) WriteHeader(status int)      { w.status = status }
func (w *headWriter) Write(b []byte) (int, error) { return len(b), nil }
