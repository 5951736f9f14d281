package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// ReferenceCommand is the subcommand with which the program runs ServePlain.
const ReferenceCommand = "reference"

// plain is a child process that runs ServePlain.
type plain struct {
	process *process
	address string
}

const plainReady = "listening on "

func startPlain(ctx context.Context, o Options) (*plain, error) {
	listening := make(chan string, 1)
	command := append(slices.Clone(o.Program), "bench", ReferenceCommand)
	p, err := startProcess(command, childEnviron(o.Environ), func(line string) {
		if address, ok := strings.CutPrefix(line, plainReady); ok {
			listening <- address
		}
	})
	if err != nil {
		return nil, err
	}
	address, err := waitFor(ctx, p, listening, readyPatience)
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return &plain{process: p, address: address}, nil
}

// connect opens the nth visitor's connection.
func (p *plain) connect(ctx context.Context, path string, n int) (*websocket.Conn, error) {
	conn, response, err := websocketDialer(n).DialContext(ctx, "ws://"+p.address+path, nil)
	if err != nil {
		return nil, handshakeFailed(err, response)
	}
	return conn, nil
}

func (p *plain) close() error { return p.process.stop() }

// ServePlain is the reference of the rows about WebSockets: net/http and
// gorilla/websocket as its documentation shows them, a handler that blocks in
// ReadMessage for as long as the connection lasts. Connections to /told are told
// the body of every POST to /tell, one after the other. It writes its address to
// w, and serves until ctx ends.
func ServePlain(ctx context.Context, w io.Writer) error {
	if _, err := raiseFileLimit(); err != nil {
		return err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	upgrader := websocket.Upgrader{}
	hold := func(w http.ResponseWriter, r *http.Request, opened, closed func(*websocket.Conn)) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		opened(conn)
		defer closed(conn)
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	}
	var listeners plainListeners
	nothing := func(*websocket.Conn) {}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { hold(w, r, nothing, nothing) })
	mux.HandleFunc("/told", func(w http.ResponseWriter, r *http.Request) { hold(w, r, listeners.add, listeners.remove) })
	mux.HandleFunc("POST /tell", listeners.tell)
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: mux}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	fmt.Fprintf(w, "%s%s\n", plainReady, listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// plainListeners are the connections that are told what is posted.
type plainListeners struct {
	mu    sync.Mutex
	conns map[*websocket.Conn]struct{}
}

func (l *plainListeners) add(c *websocket.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		l.conns = make(map[*websocket.Conn]struct{})
	}
	l.conns[c] = struct{}{}
}

func (l *plainListeners) remove(c *websocket.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

func (l *plainListeners) tell(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		err = errors.Join(err, c.WriteMessage(websocket.TextMessage, text))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
