package stack_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"onsale/internal/stack"
)

// parentMode makes the test binary act as a program that runs a stack in the
// named folder, to be killed by TestServersEndWithTheirParent.
const parentMode = "ONSALE_TEST_STACK_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentMode); dir != "" {
		runParent(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func runParent(dir string) {
	servers, err := stack.Start(context.Background(), stack.Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(servers.Redis.PID(), servers.Postgres.PID())
	select {}
}

// start starts a stack for one test. PostgreSQL does not sync: that is for the
// speed of the tests, and no process' death can tell the difference.
func start(t *testing.T, options stack.Options) *stack.Stack {
	t.Helper()
	options.Postgres.NoSync = true
	return startAsIs(t, options)
}

func startAsIs(t *testing.T, options stack.Options) *stack.Stack {
	t.Helper()
	servers, err := stack.Start(t.Context(), options)
	if err != nil {
		requireReal(t, err)
	}
	t.Cleanup(func() {
		if err := servers.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if servers.Redis != nil && servers.Redis.Kind() != stack.RealRedis && !options.Redis.InProcess && options.Redis.Lookup == nil {
		requireReal(t, stack.ErrNoRedis)
	}
	return servers
}

// requireReal skips for want of a server where that is allowed.
func requireReal(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") != "" || os.Getenv("ONSALE_REQUIRE_REAL") != "" {
		t.Fatal(err)
	}
	t.Skipf("needs redis-server and PostgreSQL on this machine: %v", err)
}

func redisClient(t *testing.T, address string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries, options.DialerRetries, options.ContextTimeoutEnabled = -1, 1, true
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}

func set(t *testing.T, address, value string) {
	t.Helper()
	if err := redisClient(t, address).Set(t.Context(), "key", value, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, address string) string {
	t.Helper()
	value, err := redisClient(t, address).Get(t.Context(), "key").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	return value
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func insert(t *testing.T, address string, value int) {
	t.Helper()
	conn := connect(t, address)
	_, err := conn.Exec(t.Context(), `CREATE TABLE IF NOT EXISTS kept (value int)`)
	if err == nil {
		_, err = conn.Exec(t.Context(), `INSERT INTO kept VALUES ($1)`, value)
	}
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
}

func sum(t *testing.T, address string) (total int) {
	t.Helper()
	conn := connect(t, address)
	if err := conn.QueryRow(t.Context(), `SELECT sum(value) FROM kept`).Scan(&total); err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	return total
}

// eventually polls until ok is true, at most for a time that no working machine needs.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		}
	}
}

// alive tells whether a process runs; a dead one that is not yet reaped does not.
func alive(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && !strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

func TestSecondStartIsQuickAndFindsTheData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	began := time.Now()
	first := start(t, stack.Options{Dir: dir})
	making := time.Since(began)
	set(t, first.Redis.URL(), "kept")
	insert(t, first.Postgres.URL(), 7)
	pids := []int{first.Redis.PID(), first.Postgres.PID()}
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if pid == 0 || alive(pid) {
			t.Errorf("process %d runs after Stop", pid)
		}
	}

	began = time.Now()
	second := start(t, stack.Options{Dir: dir})
	// The first start, which made it all, says how busy the machine is.
	if took, most := time.Since(began), max(5*time.Second, making); took > most {
		t.Errorf("second start took %v, want at most %v", took, most)
	}
	if got := get(t, second.Redis.URL()); got != "kept" {
		t.Errorf("Redis has %q", got)
	}
	if got := sum(t, second.Postgres.URL()); got != 7 {
		t.Errorf("PostgreSQL has %d", got)
	}
}

func TestTwoFoldersSideBySideAndOneFolderOnlyOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one := start(t, stack.Options{Dir: filepath.Join(dir, "one")})
	two := start(t, stack.Options{Dir: filepath.Join(dir, "two")})
	set(t, one.Redis.URL(), "one")
	set(t, two.Redis.URL(), "two")
	insert(t, one.Postgres.URL(), 1)
	insert(t, two.Postgres.URL(), 2)
	if a, b := get(t, one.Redis.URL()), get(t, two.Redis.URL()); a != "one" || b != "two" {
		t.Errorf("Redis: %q and %q", a, b)
	}
	if a, b := sum(t, one.Postgres.URL()), sum(t, two.Postgres.URL()); a != 1 || b != 2 {
		t.Errorf("PostgreSQL: %d and %d", a, b)
	}

	_, err := stack.Start(t.Context(), stack.Options{Dir: filepath.Join(dir, "one")})
	if !errors.Is(err, stack.ErrLocked) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("a second start in the folder: %v, want ErrLocked with our process id", err)
	}
	if got := get(t, one.Redis.URL()); got != "one" {
		t.Errorf("the refused start disturbed the first: %q", got)
	}
}

// Only this machine, and only with the password.
func TestServersAreClosedToOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	servers := start(t, stack.Options{Dir: dir})
	addresses := map[string]string{"redis": servers.Redis.URL(), "postgres": servers.Postgres.URL()}
	for name, address := range addresses {
		u, err := url.Parse(address)
		if err != nil || u.Hostname() != "127.0.0.1" {
			t.Fatalf("%s: address %s: %v", name, address, err)
		}
		// Any other address of this machine, loopback ones included, is refused.
		if conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.2", u.Port()), time.Second); err == nil {
			conn.Close()
			t.Errorf("%s listens on 127.0.0.2 too", name)
		}
		u.User = url.UserPassword(u.User.Username(), "wrong")
		addresses[name] = u.String()
	}
	if err := redisClient(t, addresses["redis"]).Ping(t.Context()).Err(); err == nil {
		t.Error("Redis accepts a wrong password")
	}
	if conn, err := pgx.Connect(t.Context(), addresses["postgres"]); err == nil {
		conn.Close(t.Context())
		t.Error("PostgreSQL accepts a wrong password")
	}
	for _, name := range []string{"redis/password", "postgres/password"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	command, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(servers.Redis.PID())).Output()
	if password, _ := mustURL(t, servers.Redis.URL()).User.Password(); err != nil || strings.Contains(string(command), password) {
		t.Errorf("the process list shows Redis' password: %q, %v", command, err)
	}
}

func mustURL(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestKillAndRestartKeepAddressAndData(t *testing.T) {
	t.Parallel()
	servers := startAsIs(t, stack.Options{Dir: t.TempDir(), Redis: stack.RedisOptions{Fsync: "always"}})
	redisURL, postgresURL := servers.Redis.URL(), servers.Postgres.URL()
	set(t, redisURL, "kept")
	insert(t, postgresURL, 7)
	open := connect(t, postgresURL)

	if err := errors.Join(servers.Redis.Kill(), servers.Postgres.Kill()); err != nil {
		t.Fatal(err)
	}
	if err := redisClient(t, redisURL).Ping(t.Context()).Err(); err == nil {
		t.Error("Redis answers after Kill")
	}
	if _, err := open.Exec(t.Context(), `SELECT 1`); err == nil {
		t.Error("a backend answers after Kill")
	}
	if err := errors.Join(servers.Redis.Restart(t.Context()), servers.Postgres.Restart(t.Context())); err != nil {
		t.Fatal(err)
	}
	if servers.Redis.URL() != redisURL || servers.Postgres.URL() != postgresURL {
		t.Error("the address changed")
	}
	if got := get(t, redisURL); got != "kept" {
		t.Errorf("Redis has %q", got)
	}
	if got := sum(t, postgresURL); got != 7 {
		t.Errorf("PostgreSQL has %d", got)
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	servers := start(t, stack.Options{})
	client, conn := redisClient(t, servers.Redis.URL()), connect(t, servers.Postgres.URL())
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(servers.Redis.Pause(), servers.Postgres.Pause()); err != nil {
		t.Fatal(err)
	}
	answers := func(within time.Duration) (fromRedis, fromPostgres error) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		fromRedis = redisClient(t, servers.Redis.URL()).Ping(ctx).Err()
		ctx, cancel = context.WithTimeout(t.Context(), within)
		defer cancel()
		other, fromPostgres := pgx.Connect(ctx, servers.Postgres.URL())
		if fromPostgres == nil {
			other.Close(t.Context())
		}
		return fromRedis, fromPostgres
	}
	if a, b := answers(200 * time.Millisecond); a == nil || b == nil {
		t.Errorf("a paused server answers: %v, %v", a, b)
	}
	waiting := make(chan error, 1)
	go func() { // an open connection hangs and goes on, it does not break
		_, err := conn.Exec(context.Background(), `SELECT 1`)
		waiting <- err
	}()
	select {
	case err := <-waiting:
		t.Errorf("a paused backend answered: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := errors.Join(servers.Redis.Resume(), servers.Postgres.Resume()); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	eventually(t, "both answer again", func() bool { a, b := answers(10 * time.Second); return a == nil && b == nil })
}

// Stop must not hang on a server that cannot act.
func TestStopWhilePaused(t *testing.T) {
	t.Parallel()
	servers := start(t, stack.Options{})
	if err := errors.Join(servers.Redis.Pause(), servers.Postgres.Pause()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := servers.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestDeadServerIsStartedAgain(t *testing.T) {
	t.Parallel()
	servers := start(t, stack.Options{Dir: t.TempDir()})
	insert(t, servers.Postgres.URL(), 7)
	redisPID, postgresPID := servers.Redis.PID(), servers.Postgres.PID()
	for _, pid := range []int{redisPID, postgresPID} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "new processes", func() bool {
		a, b := servers.Redis.PID(), servers.Postgres.PID()
		return a != 0 && a != redisPID && b != 0 && b != postgresPID
	})
	if got := sum(t, servers.Postgres.URL()); got != 7 {
		t.Errorf("PostgreSQL has %d", got)
	}
	set(t, servers.Redis.URL(), "works")
	if err := servers.Err(); err != nil {
		t.Errorf("the stack gave up: %v", err)
	}
}

func TestStackGivesUpOnAServerThatKeepsDying(t *testing.T) {
	t.Parallel()
	servers := start(t, stack.Options{SkipPostgres: true})
	for {
		select {
		case <-servers.Done():
			if err := servers.Err(); err == nil || !strings.Contains(err.Error(), "Redis died") {
				t.Errorf("reason %v", err)
			}
			return
		case <-t.Context().Done():
			t.Fatal("never gave up")
		default:
		}
		if pid := servers.Redis.PID(); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // may have ended just now
		}
	}
}

// After kill -9 of the program its servers end by themselves, and the next start
// recovers the folder.
func TestServersEndWithTheirParent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentMode+"="+dir)
	parent.Stderr = os.Stderr
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	killErr := parent.Process.Kill()
	_ = parent.Wait() // reports the kill
	var redisPID, postgresPID int
	_, scanErr := fmt.Sscan(line, &redisPID, &postgresPID)
	if err := errors.Join(readErr, killErr, scanErr); err != nil {
		requireReal(t, err)
	}

	servers := start(t, stack.Options{Dir: dir}) // at once, while the old ones may still be ending
	insert(t, servers.Postgres.URL(), 1)
	set(t, servers.Redis.URL(), "works")
	eventually(t, "the old servers are gone", func() bool { return !alive(redisPID) && !alive(postgresPID) })
	if got := get(t, servers.Redis.URL()); got != "works" {
		t.Errorf("Redis has %q", got)
	}
	if got := sum(t, servers.Postgres.URL()); got != 1 {
		t.Errorf("PostgreSQL has %d", got)
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	for name, options := range map[string]stack.Options{
		"redis":     {SkipPostgres: true, Redis: stack.RedisOptions{Port: port}},
		"miniredis": {SkipPostgres: true, Redis: stack.RedisOptions{Port: port, InProcess: true}},
		"postgres":  {SkipRedis: true, Postgres: stack.PostgresOptions{Port: port}},
	} {
		servers, err := stack.Start(t.Context(), options)
		if err == nil {
			servers.Stop(t.Context())
			t.Errorf("%s started on a port that is in use", name)
		} else if !strings.Contains(strings.ToLower(err.Error()), "address already in use") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMiniredisStandsInForAMissingRedis(t *testing.T) {
	t.Parallel()
	missing := func() (string, error) { return "", stack.ErrNoRedis }
	if _, err := stack.StartRedis(t.Context(), stack.RedisOptions{Lookup: missing, RealOnly: true}); !errors.Is(err, stack.ErrNoRedis) {
		t.Errorf("RealOnly: %v, want ErrNoRedis", err)
	}
	servers := start(t, stack.Options{Dir: t.TempDir(), SkipPostgres: true, Redis: stack.RedisOptions{Lookup: missing}})
	if servers.Redis.Kind() != stack.Miniredis {
		t.Fatalf("kind %q", servers.Redis.Kind())
	}
	client := redisClient(t, servers.Redis.URL())
	if err := client.Set(t.Context(), "short", "1", 50*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key expires", func() bool { return client.Exists(t.Context(), "short").Val() == 0 })
	if err := servers.Redis.Kill(); !errors.Is(err, stack.ErrUnsupported) {
		t.Errorf("Kill: %v, want ErrUnsupported", err)
	}
}

func TestTemporaryFoldersAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	servers := start(t, stack.Options{})
	if err := servers.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// A start that was cut short, while the cluster was being made, leaves nothing
// that the next one trips over.
func TestHalfMadeClusterIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	half := filepath.Join(dir, "postgres", "data.new", "base")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	servers := start(t, stack.Options{Dir: dir, SkipRedis: true})
	insert(t, servers.Postgres.URL(), 1)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := stack.Start(ended, stack.Options{Dir: filepath.Join(dir, "other")}); !errors.Is(err, context.Canceled) {
		t.Errorf("a start cut short: %v, want context.Canceled", err)
	}
	again := start(t, stack.Options{Dir: filepath.Join(dir, "other")})
	insert(t, again.Postgres.URL(), 1)
}

func TestClusterOfAnotherVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "postgres", "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := stack.Start(t.Context(), stack.Options{
		Dir: dir, SkipRedis: true, Postgres: stack.PostgresOptions{Repository: "http://127.0.0.1:1", DownloadDir: t.TempDir()},
	})
	if err == nil || !strings.Contains(err.Error(), "holds data of PostgreSQL 9") {
		t.Errorf("error %v", err)
	}
}

// As root, PostgreSQL runs as another user, even inside folders that this user
// may not enter.
func TestRootDropsPrivileges(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root has privileges to drop")
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"open": openFolder(t), "closed": filepath.Join(closed, "data")} {
		servers := start(t, stack.Options{Dir: dir, SkipRedis: true})
		insert(t, servers.Postgres.URL(), 1)
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", servers.Postgres.PID()))
		if err != nil {
			t.Fatal(err)
		}
		uid := field(t, string(status), "Uid:")[0]
		capabilities := field(t, string(status), "CapEff:")[0]
		if uid == "0" {
			t.Errorf("%s: PostgreSQL runs as root", name)
		}
		if none := strings.Trim(capabilities, "0") == ""; none != (name == "open") {
			t.Errorf("%s folder: capabilities %s", name, capabilities)
		}
	}
}

// openFolder returns a folder that every user may pass through; testing's own
// temporary folders are closed to others on some systems.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "onsale-open-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func field(t *testing.T, status, name string) []string {
	t.Helper()
	for line := range strings.Lines(status) {
		if rest, found := strings.CutPrefix(line, name); found {
			return strings.Fields(rest)
		}
	}
	t.Fatalf("no %s in the process status", name)
	return nil
}
