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

func (p *plain) close() error { return p.process.stop() }

// ServePlain is the reference of the rows about WebSockets: net/http and
// gorilla/websocket as its documentation shows them, a handler that blocks in
// ReadMessage for as long as the connection lasts. It writes its address to w,
// and serves until ctx ends.
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
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer conn.Close()
			for {
				if _, _, err := conn.ReadMessage(); err != nil {
					return
				}
			}
		}),
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	fmt.Fprintf(w, "%s%s\n", plainReady, listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
