package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// PostgresOptions says which private PostgreSQL to run. The zero value is a
// durable server on a free port in a temporary folder, which Stop removes.
type PostgresOptions struct {
	Dir    string            // data folder, kept between runs; "": a temporary one
	Port   int               // 0: a free one
	NoSync bool              // no fsync, for speed: what was committed survives killing the server, but not a crash of the machine
	Config map[string]string // further settings of postgresql.conf
	Logger *slog.Logger      // nil: silent

	// BinDirs replaces the search for server binaries; Repository and
	// DownloadDir replace where they are fetched from and kept when the search
	// finds none.
	BinDirs     []string
	Repository  string
	DownloadDir string
}

// Postgres is a running private PostgreSQL. Its methods may be called from
// several goroutines.
type Postgres struct {
	dir      string
	temp     bool // dir is ours to remove
	port     int
	settings map[string]string
	log      *slog.Logger
	install  installation
	account  *account
	password string
	lock     *folderLock

	mu      sync.Mutex
	child   *child
	stopped bool // on purpose
}

const (
	postgresUser     = "onsale"
	postgresDatabase = "onsale"

	startTimeout = 60 * time.Second // crash recovery of a large database included
	stopTimeout  = 15 * time.Second
)

// StartPostgres starts PostgreSQL and returns when it takes connections; the
// first start in a folder creates the database cluster. ctx bounds the start,
// not the server's life.
//
// Errors: ErrLocked; no PostgreSQL on the machine and none to be downloaded
// (the text names the command that installs it); a folder of another major
// version; everything the server says when it refuses to start.
func StartPostgres(ctx context.Context, options PostgresOptions) (*Postgres, error) {
	p := &Postgres{dir: options.Dir, log: options.Logger}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	var err error
	if p.dir, p.temp, err = dataFolder(p.dir, "onsale-postgres-"); err != nil {
		return nil, err
	}
	if p.lock, err = lockFolder(p.dir); err != nil {
		return nil, err
	}
	if err := p.prepare(ctx, options); err != nil {
		p.release()
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := p.startOnPort(ctx, options.Port); err != nil {
		p.release()
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	return p, nil
}

// dataFolder makes dir absolute, or creates a temporary folder when it is "".
func dataFolder(dir, prefix string) (_ string, temp bool, _ error) {
	if dir == "" {
		dir, err := os.MkdirTemp("", prefix)
		if err != nil {
			return "", false, fmt.Errorf("create temporary folder: %w", err)
		}
		if os.Geteuid() == 0 {
			if err := os.Chmod(dir, 0o711); err != nil { // see makeFolder
				return "", false, fmt.Errorf("create temporary folder: %w", err)
			}
		}
		return dir, true, nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", false, fmt.Errorf("data folder: %w", err)
	}
	return dir, false, nil
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }
func (p *Postgres) logFile() string {
	return filepath.Join(p.dir, "log")
}

// prepare finds the binaries, the user and the password, ends an orphan of a
// killed parent, and creates the cluster if the folder has none.
func (p *Postgres) prepare(ctx context.Context, options PostgresOptions) error {
	wanted, err := clusterVersion(p.data())
	if err != nil {
		return err
	}
	if p.install, err = p.binaries(ctx, options, wanted); err != nil {
		return err
	}
	if p.password, err = keptPassword(filepath.Join(p.dir, "password")); err != nil {
		return err
	}
	if p.account, err = unprivileged(p.data(), filepath.Join(p.install.bin, "postgres")); err != nil {
		return err
	}
	if p.account != nil {
		p.log.Debug("PostgreSQL refuses root", "runs_as", p.account.name, "passes_closed_folders", len(p.account.capabilities) > 0)
	}
	p.settings = map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "",
		"max_connections":         "200",
		"shared_buffers":          "128MB",
		"max_wal_size":            "1GB",
		"log_min_messages":        "warning",
		"log_checkpoints":         "off",
		"logging_collector":       "off",
		"timezone":                "UTC",
		"jit":                     "off",
	}
	if options.NoSync {
		p.settings["fsync"] = "off"
		p.settings["full_page_writes"] = "off"
	}
	maps.Copy(p.settings, options.Config)

	if wanted == 0 {
		return p.initialise(ctx, options.NoSync)
	}
	if err := p.account.ownAll(p.data()); err != nil {
		return fmt.Errorf("give the data folder to %s: %w", p.account.name, err)
	}
	return p.endOrphan(ctx)
}

func (p *Postgres) binaries(ctx context.Context, options PostgresOptions, wanted int) (installation, error) {
	folders := options.BinDirs
	if folders == nil {
		folders = postgresFolders()
	}
	found, err := findPostgres(ctx, folders, wanted)
	if err == nil {
		p.log.Debug("found PostgreSQL", "version", found.major, "folder", found.bin)
		return found, nil
	}
	kept := options.DownloadDir
	if kept == "" {
		var folderErr error
		if kept, folderErr = downloadFolder(); folderErr != nil {
			return installation{}, errors.Join(err, folderErr)
		}
	}
	p.log.Info("no fitting PostgreSQL on this machine: using a downloaded one (about 30 MB the first time)", "folder", kept)
	fetched, fetchErr := downloadPostgres(ctx, options.Repository, kept)
	if fetchErr == nil && (wanted == 0 || fetched.major == wanted) {
		return fetched, nil
	}
	if wanted != 0 {
		return installation{}, fmt.Errorf("%s holds data of PostgreSQL %d, whose binaries are not on this machine: install that version, or choose another data folder (%w)",
			p.dir, wanted, err)
	}
	osRelease, _ := os.ReadFile("/etc/os-release") // missing on macOS
	return installation{}, fmt.Errorf("%w, and %w\nInstall it and start again:\n    %s",
		err, fetchErr, installCommand(runtime.GOOS, string(osRelease), os.Geteuid() == 0))
}

// clusterVersion returns the major version of the cluster in data, 0 for none.
func clusterVersion(data string) (int, error) {
	content, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read data folder: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0, fmt.Errorf("read data folder: PG_VERSION: %w", err)
	}
	return major, nil
}

// initialise creates the cluster beside its place and moves it there when it is
// whole, so that a start that was cut short leaves nothing half made.
func (p *Postgres) initialise(ctx context.Context, noSync bool) error {
	began := time.Now()
	draft := p.data() + ".new"
	if err := os.RemoveAll(draft); err != nil {
		return fmt.Errorf("create database cluster: %w", err)
	}
	if err := os.Mkdir(draft, 0o700); err != nil {
		return fmt.Errorf("create database cluster: %w", err)
	}
	if err := p.account.own(draft); err != nil {
		return fmt.Errorf("create database cluster: %w", err)
	}
	passwordFile, err := os.CreateTemp(p.dir, "initdb-")
	if err != nil {
		return fmt.Errorf("create database cluster: %w", err)
	}
	defer os.Remove(passwordFile.Name())
	_, err = passwordFile.WriteString(p.password + "\n")
	if err = errors.Join(err, passwordFile.Close(), p.account.own(passwordFile.Name())); err != nil {
		return fmt.Errorf("create database cluster: %w", err)
	}

	// C.UTF-8 knows upper and lower case beyond ASCII; not every system has it.
	for _, locale := range []string{"C.UTF-8", "C"} {
		args := []string{
			"-D", draft, "-U", postgresUser, "-A", "scram-sha-256", "--pwfile", passwordFile.Name(),
			"-E", "UTF8", "--locale", locale,
		}
		if noSync {
			args = append(args, "-N")
		}
		var out []byte
		if out, err = p.run(ctx, "initdb", args...); err == nil {
			break
		}
		err = fmt.Errorf("create database cluster: initdb: %w: %s", err, strings.TrimSpace(string(out)))
		if ctx.Err() != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if err := os.Rename(draft, p.data()); err != nil {
		return fmt.Errorf("create database cluster: %w", err)
	}
	p.log.Debug("created database cluster", "folder", p.data(), "took", time.Since(began))
	return nil
}

// run runs one of the installation's programs to its end.
func (p *Postgres) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(p.install.bin, program), args...)
	cmd.Env = childEnv()
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.account.apply(cmd.SysProcAttr)
	return cmd.CombinedOutput()
}

// postmasterID returns the process id the folder's postmaster.pid names, 0 for none.
func (p *Postgres) postmasterID() int {
	content, err := os.ReadFile(filepath.Join(p.data(), "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 {
		return 0
	}
	return pid
}

// endOrphan stops a server that a killed parent left in our folder. We hold the
// folder's lock, so nobody else can be using it.
func (p *Postgres) endOrphan(ctx context.Context) error {
	pid := p.postmasterID()
	if pid == 0 {
		return nil
	}
	if !strings.Contains(commandLine(pid), p.data()) {
		// Dead, perhaps not yet reaped, or the number was given to another
		// process: PostgreSQL cannot tell and would refuse to start. It still
		// recognises backends that have outlived their server.
		return os.Remove(filepath.Join(p.data(), "postmaster.pid"))
	}
	p.log.Warn("stopping a PostgreSQL left over by a killed process", "pid", pid)
	return endProcess(ctx, pid, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL)
}

// endProcess sends the signals, some seconds apart, until the process is gone.
func endProcess(ctx context.Context, pid int, signals ...syscall.Signal) error {
	const patience = 4 * time.Second
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	gone := func() bool { return commandLine(pid) == "" } // also when dead but not reaped
	for _, sig := range signals {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop left-over process %d: %w", pid, err)
		}
		_ = syscall.Kill(pid, syscall.SIGCONT)
		for end := time.Now().Add(patience); time.Now().Before(end); {
			if gone() {
				return nil
			}
			select {
			case <-poll.C:
			case <-ctx.Done():
				return fmt.Errorf("stop left-over process %d: %w", pid, ctx.Err())
			}
		}
	}
	return fmt.Errorf("left-over process %d does not end", pid)
}

// startOnPort starts the server on port, or on free ones (0) until one is not
// snatched away in between.
func (p *Postgres) startOnPort(ctx context.Context, port int) error {
	for attempt := 1; ; attempt++ {
		p.port = port
		if port == 0 {
			var err error
			if p.port, err = FreePort(ctx); err != nil {
				return err
			}
		}
		err := p.start(ctx)
		// Backends of a killed server need a moment to notice that it is gone.
		again := says(err, "pre-existing shared memory block", "shared memory block") ||
			port == 0 && says(err, "could not bind", "could not create any TCP/IP sockets")
		if err == nil || !again || attempt == 20 {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

func (p *Postgres) start(ctx context.Context) error {
	args := []string{"-D", p.data(), "-c", "port=" + strconv.Itoa(p.port)}
	for _, name := range slices.Sorted(maps.Keys(p.settings)) {
		args = append(args, "-c", name+"="+p.settings[name])
	}
	began := time.Now()
	started, err := startChild(childSpec{
		path:    filepath.Join(p.install.bin, "postgres"),
		args:    args,
		logFile: p.logFile(),
		account: p.account,
		death:   syscall.SIGINT, // fast shutdown
	})
	if err != nil {
		return err
	}
	if err := started.ready(ctx, p.ensureDatabase); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_ = started.stop(stop, syscall.SIGINT)
		return err
	}
	p.mu.Lock()
	p.child, p.stopped = started, false
	p.mu.Unlock()
	p.log.Debug("PostgreSQL is ready", "port", p.port, "version", p.install.major, "pid", started.process.Pid, "took", time.Since(began))
	return nil
}

// ensureDatabase is the readiness probe: it connects to the database, and
// creates it when the server is up without it.
func (p *Postgres) ensureDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.URL())
	if err == nil {
		return conn.Close(ctx)
	}
	var refused *pgconn.PgError
	const invalidCatalogName = "3D000"
	if !errors.As(err, &refused) || refused.Code != invalidCatalogName {
		return err
	}
	if conn, err = pgx.Connect(ctx, p.url("postgres")); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+postgresDatabase)
	return errors.Join(err, conn.Close(ctx))
}

// URL returns the connection string of the superuser for the database "onsale",
// password included.
func (p *Postgres) URL() string { return p.url(postgresDatabase) }

func (p *Postgres) url(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(postgresUser, p.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Program returns the path of a program that comes with PostgreSQL, such as pgbench:
// beside the server, or from PATH where the server's folder has only the server.
func (p *Postgres) Program(name string) (string, error) {
	bin := p.install.bin
	if server, err := filepath.EvalSymlinks(filepath.Join(bin, "postgres")); err == nil {
		bin = filepath.Dir(server)
	}
	if path, err := exec.LookPath(filepath.Join(bin, name)); err == nil {
		return path, nil
	}
	return exec.LookPath(name)
}

// Version returns the server's major version.
func (p *Postgres) Version() int { return p.install.major }

// PID returns the process id of the running server, 0 when it is not running.
func (p *Postgres) PID() int {
	if c := p.current(); c != nil && c.running() {
		return c.process.Pid
	}
	return 0
}

func (p *Postgres) current() *child {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.child
}

// halt marks the end of the current child as wanted and returns it.
func (p *Postgres) halt() *child {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	return p.child
}

// Stop shuts the server down in order (open transactions are rolled back), or
// kills it when ctx ends first, and gives the folder free.
func (p *Postgres) Stop(ctx context.Context) error {
	var err error
	if c := p.halt(); c != nil {
		err = p.shutDown(ctx, c)
	}
	p.release()
	if err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	return nil
}

// shutDown asks for a fast shutdown, which waits for all backends, so none may be
// paused.
func (p *Postgres) shutDown(ctx context.Context, c *child) error {
	if err := p.Resume(); err != nil && !errors.Is(err, errNotRunning) {
		return err
	}
	return c.stop(ctx, syscall.SIGINT)
}

func (p *Postgres) release() {
	p.lock.unlock()
	if p.temp {
		_ = os.RemoveAll(p.dir) // a temporary folder that stays is no failure
	}
}

// Kill ends the server and all its backends at once, as a power cut would, and
// waits until they are gone. Restart brings it back.
func (p *Postgres) Kill() error {
	c := p.halt()
	if c == nil || !c.running() {
		return nil
	}
	// Stopped first, so that it starts no backend while they are being listed.
	if err := c.signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("kill PostgreSQL: %w", err)
	}
	backends, err := childrenOf(c.process.Pid)
	if err != nil {
		return fmt.Errorf("kill PostgreSQL: %w", err)
	}
	for _, pid := range backends {
		_ = syscall.Kill(pid, syscall.SIGKILL) // may have ended by itself
	}
	if err := c.signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill PostgreSQL: %w", err)
	}
	<-c.done
	return nil
}

// Pause freezes the server and all its backends: connections stay open and
// nothing answers. Resume lets them go on.
func (p *Postgres) Pause() error { return p.freeze(syscall.SIGSTOP) }

// Resume ends a Pause.
func (p *Postgres) Resume() error { return p.freeze(syscall.SIGCONT) }

func (p *Postgres) freeze(sig syscall.Signal) error {
	c := p.current()
	if c == nil || !c.running() {
		return errNotRunning
	}
	if err := c.signal(sig); err != nil {
		return fmt.Errorf("signal PostgreSQL: %w", err)
	}
	backends, err := childrenOf(c.process.Pid)
	if err != nil {
		return fmt.Errorf("signal PostgreSQL: %w", err)
	}
	for _, pid := range backends {
		_ = syscall.Kill(pid, sig) // may have ended by itself
	}
	return nil
}

// Restart starts the server again on the same port and data, stopping it first
// if it runs.
func (p *Postgres) Restart(ctx context.Context) error {
	if c := p.halt(); c != nil && c.running() {
		if err := p.shutDown(ctx, c); err != nil {
			return fmt.Errorf("restart PostgreSQL: %w", err)
		}
	}
	if err := p.startOnPort(ctx, p.port); err != nil {
		return fmt.Errorf("restart PostgreSQL: %w", err)
	}
	return nil
}

// ended returns a channel that closes when the running server ends, and a
// function telling whether that was wanted.
func (p *Postgres) ended() (<-chan struct{}, func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.child
	return c.done, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.stopped || p.child != c
	}
}

var errNotRunning = errors.New("the server is not running")
