package stack

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lacking ends a test that needs what this machine does not have. Where the real
// thing is required, as in CI, that is a failure.
func lacking(t *testing.T, what string, err error) {
	t.Helper()
	if os.Getenv("CI") != "" || os.Getenv("ONSALE_REQUIRE_REAL") != "" {
		t.Fatalf("%s is required: %v", what, err)
	}
	t.Skipf("needs %s on this machine: %v", what, err)
}

// A server that outlives its parent (no parent-death signal on this system, or
// lost) is stopped by the next start, which holds the folder's lock.
func TestOrphansAreStopped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	orphan, err := StartPostgres(t.Context(), PostgresOptions{Dir: filepath.Join(dir, "postgres"), NoSync: true})
	if err != nil {
		lacking(t, "PostgreSQL", err)
	}
	orphan.lock.unlock()
	lost, err := StartRedis(t.Context(), RedisOptions{Dir: filepath.Join(dir, "redis"), RealOnly: true})
	if err != nil {
		lacking(t, "redis-server", err)
	}
	lost.lock.unlock()

	servers, err := Start(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer servers.Stop(t.Context())
	for name, old := range map[string]*child{"PostgreSQL": orphan.child, "Redis": lost.child} {
		select {
		case <-old.done:
		case <-time.After(time.Minute):
			t.Errorf("the orphaned %s still runs", name)
		}
	}
}

// A caller that forgets its server does not lose the folder to another process.
func TestLockOutlivesItsHandle(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := lockFolder(dir); err != nil {
		t.Fatal(err)
	}
	runtime.GC() // would finalise an unreferenced file …
	runtime.GC() // … and has by now
	if lock, err := lockFolder(dir); !errors.Is(err, ErrLocked) {
		lock.unlock()
		t.Errorf("second lock: %v, want ErrLocked", err)
	}
}

// The number in a stale postmaster.pid may belong to any process by now.
func TestForeignProcessIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir, NoSync: true})
	if err != nil {
		lacking(t, "PostgreSQL", err)
	}
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := exec.Command("sleep", "600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- other.Wait() }()
	defer func() { _ = other.Process.Kill(); <-ended }()
	stale := []byte(strings.Join([]string{pidText(other.Process.Pid), first.data(), "0", "5432", "", "127.0.0.1", "0 0", "ready"}, "\n"))
	if err := os.WriteFile(filepath.Join(first.data(), "postmaster.pid"), stale, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := first.account.own(filepath.Join(first.data(), "postmaster.pid")); err != nil {
		t.Fatal(err)
	}
	second, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Stop(t.Context())
	select {
	case err := <-ended:
		t.Errorf("the foreign process ended: %v", err)
		ended <- err
	default:
	}
}

func pidText(pid int) string { return strconv.Itoa(pid) }

// Where the kernel has no parent-death signal, a guard process does its work.
func TestGuardSignalsWhenItsInputEnds(t *testing.T) {
	t.Parallel()
	for _, release := range []bool{true, false} {
		target := exec.Command("sleep", "600")
		if err := target.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- target.Wait() }()
		g, err := startGuard(target.Process.Pid, syscall.SIGTERM)
		if err != nil {
			t.Fatal(err)
		}
		if release {
			g.release()
			if err := target.Process.Signal(syscall.Signal(0)); err != nil {
				t.Errorf("a released guard ended its child: %v", err)
			}
			_ = target.Process.Kill()
			<-ended
			continue
		}
		g.pipe.Close() // what the kernel does when the parent dies
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Error("the child outlives its parent")
		}
		_ = g.cmd.Wait()
	}
}

// fakePostgres makes a folder with programs that only tell a version.
func fakePostgres(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
	for _, name := range []string{"postgres", "initdb", "pg_ctl"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindPostgres(t *testing.T) {
	v13, v15, v16 := fakePostgres(t, "13.9"), fakePostgres(t, "15.2 (Debian 15.2-1)"), fakePostgres(t, "16.1")
	empty := t.TempDir()
	t.Setenv("PATH", empty+":/usr/bin:/bin")
	for name, test := range map[string]struct {
		folders []string
		wanted  int
		bin     string
	}{
		"newest":              {[]string{v15, v16, v13}, 0, v16},
		"wanted":              {[]string{v16, v15}, 15, v15},
		"old data, old files": {[]string{v16, v13}, 13, v13},
		"none wanted fits":    {[]string{v16, v15}, 14, ""},
		"too old":             {[]string{v13}, 0, ""},
		"nothing":             {[]string{empty, "/nonexistent"}, 0, ""},
	} {
		got, err := findPostgres(t.Context(), test.folders, test.wanted)
		if got.bin != test.bin || (err != nil) != (test.bin == "") || err != nil && !errors.Is(err, errNoPostgres) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	t.Setenv("PATH", v15)
	if got, err := findPostgres(t.Context(), []string{v16, v15}, 0); got.bin != v15 {
		t.Errorf("PATH comes first: %v, %v", got, err)
	}
}

func TestWithoutPostgresTheErrorSaysWhatToInstall(t *testing.T) {
	t.Parallel()
	repository := httptest.NewServer(http.NotFoundHandler())
	defer repository.Close()
	defer http.DefaultClient.CloseIdleConnections()
	_, err := StartPostgres(t.Context(), PostgresOptions{BinDirs: []string{}, Repository: repository.URL, DownloadDir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "Install it and start again:\n    ") || !strings.Contains(err.Error(), "no version found") {
		t.Errorf("error %v", err)
	}
}

// The download, from a repository that holds links to this machine's own binaries.
func TestDownloadedPostgresRuns(t *testing.T) {
	t.Parallel()
	here, err := findPostgres(t.Context(), postgresFolders(), 0)
	if err != nil {
		lacking(t, "PostgreSQL", err)
	}
	if _, err := exec.LookPath("xz"); err != nil {
		lacking(t, "xz, to pack the archive,", err)
	}
	work := t.TempDir()
	bin := filepath.Join(work, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postgres", "initdb", "pg_ctl"} {
		if err := os.Symlink(filepath.Join(here.bin, name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(work, "postgres.txz")
	if out, err := exec.Command("tar", "-C", work, "-cJf", archive, "bin").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	repository := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, ".jar") {
			http.NotFound(w, r) // no checksum
			return
		}
		jar := zip.NewWriter(w)
		entry, err := jar.Create("postgres.txz")
		if err == nil {
			var content []byte
			content, err = os.ReadFile(archive)
			_, writeErr := entry.Write(content)
			err = errors.Join(err, writeErr, jar.Close())
		}
		if err != nil {
			t.Error(err)
		}
	}))
	defer repository.Close()
	defer http.DefaultClient.CloseIdleConnections()

	downloads, err := os.MkdirTemp("", "onsale-downloads-") // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(downloads)
	if err := os.Chmod(downloads, 0o711); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from what is kept
		server, err := StartPostgres(t.Context(), PostgresOptions{NoSync: true, BinDirs: []string{}, Repository: repository.URL, DownloadDir: downloads})
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		repository.Close()
	}
}

func TestInstallCommand(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		goos, osRelease string
		root            bool
		want            string
	}{
		{"darwin", "", false, "brew install postgresql@17"},
		{"linux", "ID=debian\nVERSION_ID=\"12\"\n", true, "apt-get install -y postgresql"},
		{"linux", "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", false, "sudo apt-get install -y postgresql"},
		{"linux", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", false, "sudo dnf install -y postgresql-server"},
		{"linux", "ID=alpine\n", true, "apk add postgresql"},
		{"freebsd", "", false, "install the PostgreSQL server (version 14 or newer) with your system's package manager"},
	} {
		if got := installCommand(test.goos, test.osRelease, test.root); got != test.want {
			t.Errorf("%s %q: %q, want %q", test.goos, test.osRelease, got, test.want)
		}
	}
}

func TestFreePortIsBelowTheEphemeralRange(t *testing.T) {
	t.Parallel()
	for range 20 {
		if port, err := FreePort(t.Context()); err != nil || port < 20000 || port >= 32000 {
			t.Errorf("port %d, %v", port, err)
		}
	}
}

func TestLogIsRotated(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, make([]byte, 9<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := rotateLog(path); err != nil {
		t.Fatal(err)
	}
	_, newErr := os.Stat(path)
	old, oldErr := os.Stat(path + ".old")
	if !errors.Is(newErr, os.ErrNotExist) || oldErr != nil || old.Size() != 9<<20 {
		t.Errorf("log: %v; old: %v, %v", newErr, old, oldErr)
	}
}

// A child that ends instead of getting ready is told with what it said.
func TestStartErrorShowsTheServersWords(t *testing.T) {
	t.Parallel()
	c, err := startChild(childSpec{
		path: "/bin/sh", args: []string{"-c", "echo no such luck; exit 3"}, stdin: strings.NewReader(""),
		logFile: filepath.Join(t.TempDir(), "log"), death: syscall.SIGTERM,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = c.ready(t.Context(), func(context.Context) error { return io.EOF })
	if !says(err, "no such luck") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v", err)
	}
}
