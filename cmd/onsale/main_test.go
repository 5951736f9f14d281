package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// programMode makes the test binary be the program itself, for tests that send
// it signals.
const programMode = "ONSALE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programMode) != "" {
		main()
	}
	os.Exit(m.Run())
}

// execute runs the program inside the test, without environment.
func execute(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return executeIn(t, nil, args...)
}

func executeIn(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs, environ)
	return code, out.String(), errs.String()
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{}, 0, "Available Commands", ""}, // nil would be the arguments of the test
		{[]string{"--help"}, 0, "checkconfig", ""},
		{[]string{"demo", "--help"}, 0, "--no-browser", ""},
		{[]string{"version"}, 0, "onsale dev (commit ", ""},
		{[]string{"sell"}, 2, "", `unknown command "sell"`},
		{[]string{"demo", "--adr", "x"}, 2, "", "unknown flag: --adr"},
		{[]string{"demo", "now"}, 2, "", `unexpected argument "now"`},
		{[]string{"version", "--what"}, 2, "", "See onsale version --help."},
	} {
		code, stdout, stderr := execute(t, test.args...)
		if code != test.code || !strings.Contains(stdout, test.stdout) || !strings.Contains(stderr, test.stderr) || test.code == 0 && stderr != "" {
			t.Errorf("%v: code %d\nstdout: %s\nstderr: %s", test.args, code, stdout, stderr)
		}
	}
}

func TestKeygenPrintsAFreshSeed(t *testing.T) {
	t.Parallel()
	_, first, _ := execute(t, "keygen")
	_, second, _ := execute(t, "keygen")
	seed, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(first))
	if err != nil || len(seed) != ed25519.SeedSize || first == second {
		t.Errorf("%q and %q: %v", first, second, err)
	}
	if code, _, stderr := executeIn(t, []string{"ONSALE_SIGNING_KEY=" + strings.TrimSpace(first)}, "checkconfig"); code != 0 {
		t.Errorf("checkconfig refuses it: %s", stderr)
	}
}

func TestCheckConfig(t *testing.T) {
	t.Parallel()
	_, defaults, _ := execute(t, "checkconfig", "--print-defaults")
	file := filepath.Join(t.TempDir(), "onsale.yaml")
	if err := os.WriteFile(file, []byte(defaults), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := executeIn(t, []string{"ONSALE_WAITROOM_BURST=77", "ONSALE_ADMIN_TOKEN=hunter2-hunter2-hunter2"},
		"checkconfig", "--config", file, "--waitroom-lease", "3m")
	for _, want := range []string{"burst: 77", "lease: 3m", "admin_token: '[set]'", "addr: 127.0.0.1:8080"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
	if code != 0 || !strings.Contains(stderr, "valid") || strings.Contains(stdout+stderr, "hunter2") {
		t.Errorf("code %d, %s", code, stderr)
	}

	code, _, stderr = executeIn(t, []string{"ONSALE_WAITROM_BURST=77"}, "checkconfig", "--role", "boss")
	if code != 1 || !strings.Contains(stderr, "2 problems") || !strings.Contains(stderr, "did you mean ONSALE_WAITROOM_BURST?") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

// A taken port is found before anything else starts: no folder is made.
func TestDemoPortInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := filepath.Join(t.TempDir(), "data")
	code, stdout, stderr := execute(t, "demo", "--addr", taken.Addr().String(), "--data-dir", dir)
	if code != 1 || stdout != "" || !strings.Contains(stderr, taken.Addr().String()+" is in use") || !strings.Contains(stderr, "--addr") {
		t.Errorf("code %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data folder was made: %v", err)
	}
}

func TestDemoRefusesServersOfOthers(t *testing.T) {
	t.Parallel()
	code, _, stderr := executeIn(t, []string{"ONSALE_REDIS_URL=redis://127.0.0.1:1"}, "demo", "--addr", "127.0.0.1:0", "--data-dir", t.TempDir())
	if code != 1 || !strings.Contains(stderr, "onsale serve") {
		t.Errorf("code %d: %s", code, stderr)
	}
}

// program is a demo in a process of its own.
type program struct {
	*exec.Cmd
	url, token string
	stderr     *bytes.Buffer
}

// startDemo starts the demo in dir and returns when it has said where it runs.
func startDemo(t *testing.T, dir string) *program {
	t.Helper()
	p := &program{Cmd: exec.Command(os.Args[0], "demo", "--addr", "127.0.0.1:0", "--data-dir", dir, "--no-browser"), stderr: new(bytes.Buffer)}
	p.Env = append(withoutSettings(os.Environ()), programMode+"=1")
	p.Stderr = p.stderr
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() }) // usually ended by the test
	lines := bufio.NewReader(stdout)
	for _, line := range []struct {
		value   *string
		pattern string
	}{
		{&p.url, `^url: (http://127\.0\.0\.1:\d+)\n$`},
		{nil, `^console: (http://127\.0\.0\.1:\d+/console)\n$`},
		{&p.token, `^admin-token: (\S{16,})\n$`},
	} {
		text, err := lines.ReadString('\n')
		match := regexp.MustCompile(line.pattern).FindStringSubmatch(text)
		if match == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
			if os.Getenv("CI") == "" && os.Getenv("ONSALE_REQUIRE_REAL") == "" && strings.Contains(p.stderr.String(), "no PostgreSQL") {
				t.Skipf("needs PostgreSQL on this machine: %s", p.stderr)
			}
			t.Fatalf("line %q (%v) does not match %s\n%s", text, err, line.pattern, p.stderr)
		}
		if line.value != nil {
			*line.value = match[1]
		}
	}
	return p
}

func withoutSettings(environ []string) (rest []string) {
	for _, variable := range environ {
		if !strings.HasPrefix(variable, "ONSALE_") {
			rest = append(rest, variable)
		}
	}
	return rest
}

func (p *program) healthy(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("healthz: %s, %v", response.Status, err)
	}
}

// servers returns the process ids of the embedded servers, from the log.
func (p *program) servers(t *testing.T) (pids []int) {
	t.Helper()
	for _, match := range regexp.MustCompile(`embedded \S+ is ready.* pid=(\d+)`).FindAllStringSubmatch(p.stderr.String(), -1) {
		var pid int
		if _, err := fmt.Sscan(match[1], &pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) == 0 {
		t.Fatalf("no servers in the log:\n%s", p.stderr)
	}
	return pids
}

func alive(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", fmt.Sprint(pid)).Output()
	return err == nil && !strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

// The life of a demo: started, found again, refused twice on one folder, ended
// by each signal with nothing left running.
func TestDemoStopsAllItStartedAndFindsItsDataAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	began := time.Now()
	first := startDemo(t, dir)
	making := time.Since(began)
	first.healthy(t)

	code, _, stderr := execute(t, "demo", "--addr", "127.0.0.1:0", "--data-dir", dir)
	if code != 1 || !strings.Contains(stderr, "in use by another process") || !strings.Contains(stderr, "--data-dir") {
		t.Errorf("a second demo in the folder: code %d, %s", code, stderr)
	}
	other := startDemo(t, t.TempDir()) // another folder is another world
	other.healthy(t)
	first.healthy(t)
	if first.token == other.token {
		t.Error("two demos share their admin token")
	}
	other.end(t, syscall.SIGTERM)
	first.healthy(t)
	first.end(t, syscall.SIGINT)

	began = time.Now()
	again := startDemo(t, dir)
	// 2 s alone. Nothing is made anew; how long that took says how busy the machine is.
	most := max(20*time.Second, making)
	if took := time.Since(began); took > most {
		t.Errorf("the second start took %v, want at most %v", took, most)
	}
	if again.token != first.token {
		t.Errorf("the admin token changed from %s to %s", first.token, again.token)
	}
	again.healthy(t)
	again.end(t, os.Interrupt.(syscall.Signal))
}

// end sends sig and expects an orderly end.
func (p *program) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	killed := time.AfterFunc(2*time.Minute, func() { _ = p.Process.Kill() })
	defer killed.Stop()
	if err := p.Wait(); err != nil {
		t.Errorf("%v: %v, want exit code 0\n%s", sig, err, p.stderr)
	}
	for _, pid := range p.servers(t) {
		if alive(pid) {
			t.Errorf("process %d runs on after %v", pid, sig)
		}
	}
}

func TestDemoRecoversFromKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startDemo(t, dir)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // reports the kill
	second := startDemo(t, dir)
	second.healthy(t)
	if second.token != first.token {
		t.Error("the admin token changed")
	}
	for _, pid := range first.servers(t) {
		if alive(pid) {
			t.Errorf("process %d of the killed demo runs beside the new one", pid)
		}
	}
	second.end(t, syscall.SIGINT)
}
