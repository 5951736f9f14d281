package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// RedisKind tells a real Redis from its stand-in.
type RedisKind string

const (
	// RealRedis is a redis-server (or valkey-server) process.
	RealRedis RedisKind = "redis"
	// Miniredis runs inside this process, keeps nothing between starts, and is
	// not for load.
	Miniredis RedisKind = "miniredis"
)

// RedisOptions says which private Redis to run. The zero value is a server on a
// free port that keeps nothing, or miniredis where there is no redis-server.
type RedisOptions struct {
	Dir       string // data folder: an append-only file, kept between runs; "": nothing is kept
	Port      int    // 0: a free one
	Forget    bool   // keep nothing even with a data folder
	Fsync     string // when the append-only file is flushed: "everysec" (default), "always" or "no"
	InProcess bool   // miniredis even where there is a redis-server
	RealOnly  bool   // fail where there is no redis-server
	Logger    *slog.Logger

	// Lookup replaces the search for the server binary. Its error means that
	// there is none.
	Lookup func() (string, error)

	password string   // "": one of its own, kept in the folder
	extra    []string // further lines of the configuration
}

// Redis is a running private Redis. Its methods may be called from several
// goroutines.
type Redis struct {
	dir      string
	temp     bool
	keeps    bool
	fsync    string
	extra    []string
	port     int
	log      *slog.Logger
	binary   string
	password string
	lock     *folderLock
	external string // the URL of a server that is not ours

	mu      sync.Mutex
	child   *child
	mini    *miniredis.Miniredis
	endMini func()
	stopped bool // on purpose
}

// ErrNoRedis is returned when RealOnly is asked for on a machine without redis-server.
var ErrNoRedis = errors.New("no redis-server found on this machine")

// ErrUnsupported is returned by operations that need a server process of our own.
var ErrUnsupported = errors.New("only a server process started here can do this")

// FindRedis returns the path of the machine's Redis server, or ErrNoRedis.
func FindRedis() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
		for _, folder := range []string{"/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin"} {
			path := filepath.Join(folder, name)
			if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", ErrNoRedis
}

// AttachRedis returns a handle on a server that somebody else runs: Stop leaves
// it alone, and what would harm it is ErrUnsupported.
func AttachRedis(address string) *Redis { return &Redis{external: address} }

// StartRedis starts Redis and returns when it answers; with a data folder, after
// it has loaded what was kept. ctx bounds the start, not the server's life.
//
// Errors: ErrLocked, ErrNoRedis (only with RealOnly), and everything the server
// says when it refuses to start.
func StartRedis(ctx context.Context, options RedisOptions) (*Redis, error) {
	r := &Redis{dir: options.Dir, keeps: options.Dir != "" && !options.Forget, fsync: options.Fsync, extra: options.extra, password: options.password, log: options.Logger}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.fsync == "" {
		r.fsync = "everysec"
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	find := options.Lookup
	if find == nil {
		find = FindRedis
	}
	if !options.InProcess {
		var err error
		if r.binary, err = find(); err != nil {
			if options.RealOnly {
				return nil, err
			}
			r.log.Warn("no redis-server on this machine: an in-process stand-in takes its place. " +
				"It forgets everything at the end and is not for load; install redis-server for more")
		}
	}
	var err error
	if r.dir, r.temp, err = dataFolder(r.dir, "onsale-redis-"); err != nil {
		return nil, err
	}
	if r.lock, err = lockFolder(r.dir); err != nil {
		return nil, err
	}
	if err := r.begin(ctx, options.Port); err != nil {
		r.release()
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	return r, nil
}

func (r *Redis) begin(ctx context.Context, port int) error {
	if r.password == "" {
		var err error
		if r.password, err = keptPassword(filepath.Join(r.dir, "password")); err != nil {
			return err
		}
	}
	if r.binary == "" {
		return r.startMini(port)
	}
	if err := r.endOrphan(ctx); err != nil {
		return err
	}
	return r.startOnPort(ctx, port)
}

func (r *Redis) pidFile() string { return filepath.Join(r.dir, "pid") }

// endOrphan stops a server that a killed parent left in our folder. We hold the
// folder's lock, so nobody else can be using it.
func (r *Redis) endOrphan(ctx context.Context) error {
	content, err := os.ReadFile(r.pidFile())
	if err != nil {
		return nil //nolint:nilerr // no pid file, no orphan
	}
	id, address, _ := strings.Cut(strings.TrimSpace(string(content)), " ")
	pid, err := strconv.Atoi(id)
	if err != nil || pid <= 1 || address == "" {
		return nil //nolint:nilerr // cut short while being written: that server never got further
	}
	// Redis shows its address in its command line. Another process may have been
	// given the number meanwhile.
	if command := commandLine(pid); !strings.Contains(command, filepath.Base(r.binary)) || !strings.Contains(command, address) {
		return nil
	}
	r.log.Warn("stopping a Redis left over by a killed process", "pid", pid)
	return endProcess(ctx, pid, syscall.SIGTERM, syscall.SIGKILL)
}

// startOnPort starts the server on port, or on free ones (0) until one is not
// snatched away in between.
func (r *Redis) startOnPort(ctx context.Context, port int) error {
	for attempt := 1; ; attempt++ {
		r.port = port
		if port == 0 {
			var err error
			if r.port, err = FreePort(ctx); err != nil {
				return err
			}
		}
		err := r.start(ctx)
		if err == nil || port != 0 || attempt == 20 || !says(err, "Address already in use") {
			return err
		}
	}
}

func (r *Redis) start(ctx context.Context) error {
	began := time.Now()
	started, err := startChild(childSpec{
		path:    r.binary,
		args:    []string{"-"}, // configuration from stdin keeps the password out of the process list
		stdin:   strings.NewReader(r.configuration()),
		logFile: filepath.Join(r.dir, "log"),
		death:   syscall.SIGTERM,
	})
	if err != nil {
		return err
	}
	client := redis.NewClient(&redis.Options{
		Addr: r.address(), Password: r.password, MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second,
		ReadTimeout: 300 * time.Millisecond, ContextTimeoutEnabled: true, // who does not answer is another program
		DisableIdentity: true, Protocol: 2,
	})
	defer client.Close()
	// Another server on the port could answer; only ours has this process id.
	probe := func(ctx context.Context) error {
		if err := dial(ctx, r.address()); err != nil {
			return err // asked first, since go-redis logs what it cannot reach
		}
		info, err := client.Info(ctx, "server").Result()
		if err != nil {
			return err
		}
		if !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", started.process.Pid)) {
			return errors.New("another Redis answers")
		}
		return client.Ping(ctx).Err() // refused while data is being loaded
	}
	err = os.WriteFile(r.pidFile(), fmt.Appendf(nil, "%d %s\n", started.process.Pid, r.address()), 0o600)
	if err == nil {
		err = started.ready(ctx, probe)
	}
	if err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_ = started.stop(stop, syscall.SIGTERM)
		return err
	}
	r.mu.Lock()
	r.child, r.stopped = started, false
	r.mu.Unlock()
	r.log.Debug("Redis is ready", "port", r.port, "pid", started.process.Pid, "took", time.Since(began))
	return nil
}

func dial(ctx context.Context, address string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (r *Redis) configuration() string {
	lines := []string{
		"bind 127.0.0.1",
		"port " + strconv.Itoa(r.port),
		"requirepass " + r.password,
		"dir " + strconv.Quote(r.dir),
		"daemonize no",
		`save ""`,
		"maxmemory-policy noeviction",
		"set-proc-title yes",
	}
	if r.keeps {
		lines = append(lines, "appendonly yes", "appendfsync "+r.fsync)
	}
	return strings.Join(append(lines, r.extra...), "\n") + "\n"
}

// startMini starts the stand-in. It never lets time to live run down by itself,
// so a ticker does it.
func (r *Redis) startMini(port int) error {
	mini := miniredis.NewMiniRedis()
	mini.RequireAuth(r.password)
	if err := mini.StartAddr(net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mini, r.stopped = mini, false
	r.port, _ = strconv.Atoi(mini.Port())
	r.endMini = runClock(mini)
	return nil
}

// runClock makes miniredis' keys expire in real time, until the returned
// function is called.
func runClock(mini *miniredis.Miniredis) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		last := time.Now()
		for {
			select {
			case <-quit:
				return
			case now := <-tick.C:
				mini.FastForward(now.Sub(last))
				last = now
			}
		}
	}()
	return sync.OnceFunc(func() { close(quit); <-done })
}

func (r *Redis) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

// URL returns the address for go-redis' ParseURL, password included.
func (r *Redis) URL() string {
	if r.external != "" {
		return r.external
	}
	u := url.URL{Scheme: "redis", User: url.UserPassword("", r.password), Host: r.address(), Path: "/0"}
	return u.String()
}

// Kind tells whether this is a real Redis.
func (r *Redis) Kind() RedisKind {
	if r.external == "" && r.binary == "" {
		return Miniredis
	}
	return RealRedis
}

// PID returns the process id of the running server, 0 when there is none of its own.
func (r *Redis) PID() int {
	if c := r.current(); c != nil && c.running() {
		return c.process.Pid
	}
	return 0
}

func (r *Redis) current() *child {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.child
}

func (r *Redis) halt() *child {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	return r.child
}

// Stop ends the server in order, flushing what it keeps, or kills it when ctx
// ends first, and gives the folder free.
func (r *Redis) Stop(ctx context.Context) error {
	if r.external != "" {
		return nil
	}
	var err error
	if c := r.halt(); c != nil {
		err = c.stop(ctx, syscall.SIGTERM)
		_ = os.Remove(r.pidFile())
	}
	if r.mini != nil {
		r.endMini()
		r.mini.Close()
	}
	r.release()
	if err != nil {
		return fmt.Errorf("stop Redis: %w", err)
	}
	return nil
}

func (r *Redis) release() {
	r.lock.unlock()
	if r.temp {
		_ = os.RemoveAll(r.dir) // a temporary folder that stays is no failure
	}
}

// Kill ends the server at once, as a crash would, and waits until it is gone.
// Restart brings it back: with a data folder what was flushed, else empty.
func (r *Redis) Kill() error {
	c := r.halt()
	if r.external != "" || c == nil {
		return ErrUnsupported
	}
	if err := c.signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill Redis: %w", err)
	}
	<-c.done
	return nil
}

// Pause freezes the server: connections stay open and nothing answers.
func (r *Redis) Pause() error { return r.freeze(syscall.SIGSTOP) }

// Resume ends a Pause.
func (r *Redis) Resume() error { return r.freeze(syscall.SIGCONT) }

func (r *Redis) freeze(sig syscall.Signal) error {
	c := r.current()
	if c == nil {
		return ErrUnsupported
	}
	if !c.running() {
		return errNotRunning
	}
	if err := c.signal(sig); err != nil {
		return fmt.Errorf("signal Redis: %w", err)
	}
	return nil
}

// Restart starts the server again on the same port and folder, stopping it
// first if it runs.
func (r *Redis) Restart(ctx context.Context) error {
	c := r.halt()
	if c == nil {
		return ErrUnsupported
	}
	if c.running() {
		if err := c.stop(ctx, syscall.SIGTERM); err != nil {
			return fmt.Errorf("restart Redis: %w", err)
		}
	}
	if err := r.startOnPort(ctx, r.port); err != nil {
		return fmt.Errorf("restart Redis: %w", err)
	}
	return nil
}

// ended returns a channel that closes when the running server ends (nil when
// there is no process), and a function telling whether that was wanted.
func (r *Redis) ended() (<-chan struct{}, func() bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.child
	if c == nil {
		return nil, func() bool { return true }
	}
	return c.done, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.stopped || r.child != c
	}
}
