package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"onsale/config"
	"onsale/internal/stack"
)

// Servers are a Redis with an append-only file flushed every second and a
// PostgreSQL with fsync on, for one row alone, migrated.
type Servers struct {
	o       Options
	dir     string
	stack   *stack.Stack
	environ []string
}

// StartServers starts them in a temporary folder. There must be a redis-server
// on the machine: a stand-in would be no reference.
func StartServers(ctx context.Context, o Options) (_ *Servers, err error) {
	dir, err := os.MkdirTemp("", "onsale-bench-")
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	s := &Servers{o: o, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := os.Chmod(dir, 0o711); err != nil { // PostgreSQL may run as another user
		return nil, fmt.Errorf("data folder: %w", err)
	}
	s.stack, err = stack.Start(ctx, stack.Options{Dir: filepath.Join(dir, "data"), Redis: stack.RedisOptions{RealOnly: true, Fsync: "everysec"}})
	if err != nil {
		return nil, err
	}
	key, err := s.ask(ctx, "keygen")
	if err != nil {
		return nil, err
	}
	s.environ = []string{
		"ONSALE_REDIS_URL=" + s.stack.Redis.URL(),
		"ONSALE_DATABASE_URL=" + s.stack.Postgres.URL(),
		"ONSALE_SIGNING_KEY=" + strings.TrimSpace(key),
		"ONSALE_ADMIN_TOKEN=" + adminToken,
	}
	_, err = s.ask(ctx, "migrate")
	return s, err
}

// adminToken opens programs that listen on a loopback address for some minutes,
// with nothing in them.
const adminToken = "bench-only-admin-token"

// RedisURL is where the Redis is.
func (s *Servers) RedisURL() string { return s.stack.Redis.URL() }

// DatabaseURL is where the PostgreSQL is.
func (s *Servers) DatabaseURL() string { return s.stack.Postgres.URL() }

// Close stops both servers and removes their data.
func (s *Servers) Close() error {
	var err error
	if s.stack != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		defer cancel()
		err = s.stack.Stop(ctx)
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// childEnviron is the environment of the program as a child: that of the bench
// without settings of the program, which belong to another node.
func childEnviron(environ []string, settings ...string) []string {
	known := config.Settings()
	kept := slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return name == config.EnvPrefix+"CONFIG" || slices.ContainsFunc(known, func(s config.Setting) bool { return s.Env == name })
	})
	return append(kept, settings...)
}

// ask runs a subcommand of the program to its end and returns what it said.
func (s *Servers) ask(ctx context.Context, args ...string) (string, error) {
	return output(ctx, append(slices.Clone(s.o.Program), args...), childEnviron(s.o.Environ, s.environ...))
}

// Node is a running program: a child process.
type Node struct {
	*API
	process *process
}

// readyPatience is how long a node may take to start.
const readyPatience = 30 * time.Second

// Serve starts a node with limits per address off, since a crowd comes from few
// addresses here, and with the given settings (ONSALE_…=value).
func (s *Servers) Serve(ctx context.Context, settings ...string) (*Node, error) {
	environ := append(slices.Clone(s.environ),
		"ONSALE_ADDR=127.0.0.1:0", "ONSALE_LOG_FORMAT=json", "ONSALE_LOG_LEVEL=info",
		"ONSALE_SHUTDOWN_GRACE=1s", // nobody is moved elsewhere
		"ONSALE_WAITROOM_JOINS_PER_ADDRESS_PER_MINUTE=0", "ONSALE_LIMITS_SOCKETS_PER_ADDRESS=0")
	serving := make(chan string, 1)
	p, err := startProcess(append(slices.Clone(s.o.Program), "serve"), childEnviron(s.o.Environ, append(environ, settings...)...), func(line string) {
		var entry struct{ Msg, URL string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
			select {
			case serving <- entry.URL:
			default:
			}
		}
	})
	if err != nil {
		return nil, err
	}
	address, err := waitFor(ctx, p, serving, readyPatience)
	var base *url.URL
	if err == nil {
		base, err = url.Parse(address)
	}
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	n := &Node{API: NewAPI(base, adminToken), process: p}
	if err := n.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return n, nil
}

// PID is the node's process.
func (n *Node) PID() int { return n.process.pid() }

// Close ends the node.
func (n *Node) Close() error {
	n.API.close()
	return n.process.stop()
}
