// Package deploy_test holds the deployment files against the program and against
// real servers, as far as that goes without a container engine.
package deploy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.yaml.in/yaml/v3"

	"onsale/config"
	"onsale/internal/stack/stacktest"
)

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// The compose file as far as it is looked at here.
type compose struct {
	Services map[string]struct {
		Image       string
		Environment map[string]string
		DependsOn   yaml.Node `yaml:"depends_on"`
		Volumes     []string
		Networks    []string
	}
	Networks map[string]any
	Volumes  map[string]any
}

func TestComposeFile(t *testing.T) {
	t.Parallel()
	text := read(t, "../docker-compose.yml")
	var file compose
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	example := read(t, "../.env.example")
	variables := make(map[string]string)
	for _, match := range regexp.MustCompile(`\$\{(\w+)(:[-?][^}]*)?\}`).FindAllStringSubmatch(text, -1) {
		name, kind := match[1], match[2]
		variables[match[0]] = "0123456789abcdef"
		if fallback, found := strings.CutPrefix(kind, ":-"); found {
			variables[match[0]] = fallback
		} else if !strings.Contains(example, "\n"+name+"=") {
			t.Errorf(".env.example lacks %s", name)
		}
	}
	var nodes int
	for name, service := range file.Services {
		if service.Image == "" {
			t.Errorf("%s has no image", name)
		}
		for _, other := range dependencies(t, service.DependsOn) {
			if _, found := file.Services[other]; !found {
				t.Errorf("%s depends on %s, which does not exist", name, other)
			}
		}
		for _, volume := range service.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if strings.HasPrefix(source, "./") {
				if _, err := os.Stat(filepath.Join("..", source)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			} else if _, found := file.Volumes[source]; !found {
				t.Errorf("%s uses volume %s, which does not exist", name, source)
			}
		}
		for _, network := range service.Networks {
			if _, found := file.Networks[network]; !found {
				t.Errorf("%s uses network %s, which does not exist", name, network)
			}
		}
		if !strings.HasPrefix(service.Image, "onsale:") {
			continue
		}
		nodes++
		// The program itself judges its settings.
		var environ []string
		for key, value := range service.Environment {
			for reference, replacement := range variables {
				value = strings.ReplaceAll(value, reference, replacement)
			}
			if key == "ONSALE_SIGNING_KEY" {
				value = strings.Repeat("A", 43)
			}
			environ = append(environ, key+"="+value)
		}
		loaded, err := config.Load(config.Source{Environ: environ})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if loaded.Embedded() {
			t.Errorf("%s would start servers of its own", name)
		}
	}
	if nodes != 3 {
		t.Errorf("%d services run onsale, want two nodes and the migration", nodes)
	}
	for _, upstream := range regexp.MustCompile(`server (\w+):8080`).FindAllStringSubmatch(read(t, "nginx/upstream.conf"), -1) {
		if _, found := file.Services[upstream[1]]; !found {
			t.Errorf("nginx knows the node %s, compose does not", upstream[1])
		}
	}
}

// dependencies reads both forms of depends_on.
func dependencies(t *testing.T, node yaml.Node) (names []string) {
	t.Helper()
	switch node.Kind {
	case 0:
	case yaml.MappingNode:
		for i := 0; i < len(node.Content); i += 2 {
			names = append(names, node.Content[i].Value)
		}
	default:
		if err := node.Decode(&names); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

func TestDockerfileSetsKnownSettings(t *testing.T) {
	t.Parallel()
	var known []string
	for _, setting := range config.Settings() {
		known = append(known, setting.Env)
	}
	found := regexp.MustCompile(`ONSALE_\w+`).FindAllString(read(t, "../Dockerfile"), -1)
	for _, name := range found {
		if !slices.Contains(known, name) {
			t.Errorf("%s is not a setting", name)
		}
	}
	if len(found) == 0 {
		t.Error("no settings found in the Dockerfile")
	}
}

// program finds a program that the test needs, and skips where it is missing; in
// CI it may not be.
func program(t *testing.T, name string) string {
	t.Helper()
	binary, err := exec.LookPath(name)
	if err != nil {
		binary = "/usr/sbin/" + name
	}
	if _, err := os.Stat(binary); err != nil {
		if os.Getenv("CI") != "" || os.Getenv("ONSALE_REQUIRE_REAL") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs %s on this machine: %v", name, err)
	}
	return binary
}

// adapt replaces the first, third, … of pairs by the text after it, wherever it
// stands. Each must be there.
func adapt(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%q is not in the configuration any more", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// startNginx runs nginx with the configuration of this folder in front of the
// given nodes and returns its address.
func startNginx(t *testing.T, nodes ...string) string {
	t.Helper()
	address := stacktest.FreeAddress(t)
	// What a container gives and this machine does not: the port, the files, the limits.
	conf := adapt(t, read(t, "nginx/nginx.conf"),
		"listen 8080 ", "listen "+address+" ",
		"worker_rlimit_nofile 131072;", "",
		"worker_connections 65536;", "worker_connections 512;",
	)
	upstream := adapt(t, read(t, "nginx/upstream.conf"), "server app1:8080 ", "server "+nodes[0]+" ", "server app2:8080 ", "server "+nodes[1]+" ")
	runNginx(t, address, map[string]string{"nginx.conf": conf, "upstream.conf": upstream})
	return address
}

// runNginx runs nginx with nginx.conf of the given files until the test ends.
func runNginx(t *testing.T, address string, files map[string]string) {
	t.Helper()
	binary := program(t, "nginx")
	dir := t.TempDir()
	files["nginx.conf"] = adapt(t, files["nginx.conf"],
		"pid /tmp/nginx.pid;", "pid "+filepath.Join(dir, "nginx.pid")+";",
		"worker_processes auto;", "worker_processes 1; user "+currentUser()+";",
		"http {", "http { client_body_temp_path "+dir+"/body; proxy_temp_path "+dir+"/proxy; fastcgi_temp_path "+dir+"/f; uwsgi_temp_path "+dir+"/u; scgi_temp_path "+dir+"/s;",
	)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, address, exec.Command(binary, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr", "-g", "daemon off;"))
}

// run starts a server and waits until it listens at address. It ends with the
// test. What it has printed is safe to read once it has ended.
func run(t *testing.T, address string, cmd *exec.Cmd) {
	t.Helper()
	var output bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &output
	}
	cmd.Stderr = &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", cmd.Path, err, &output)
		case <-t.Context().Done():
			t.Fatalf("%s never listened", cmd.Path)
		case <-tick.C:
		}
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return
		}
	}
}

func currentUser() string {
	if os.Geteuid() == 0 {
		return "root" // it must reach the test's folder
	}
	out, err := exec.Command("id", "-un").Output()
	if err != nil {
		return "nobody"
	}
	return strings.TrimSpace(string(out))
}

func TestNginx(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.URL.Path == "/ws" {
			upgrader := websocket.Upgrader{Subprotocols: []string{"onsale.v1"}}
			conn, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer conn.Close()
			for {
				kind, message, err := conn.ReadMessage()
				if err != nil || conn.WriteMessage(kind, message) != nil {
					return
				}
			}
		}
		_, _ = fmt.Fprintf(w, "for=%s host=%s", r.Header.Get("X-Forwarded-For"), r.Host)
	}))
	defer node.Close()
	// The other node takes requests and dies before it answers.
	var lost atomic.Int32
	dying, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dying.Close()
	go func() {
		for {
			conn, err := dying.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			lost.Add(1)
			conn.Close()
		}
	}()
	address := startNginx(t, node.Listener.Addr().String(), dying.Addr().String())

	ask := func(method, path string) (int, string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "tickets.example"
		request.Header.Set("X-Forwarded-For", "203.0.113.9")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}

	// A read passes over the dying node; a write that may have arrived is not repeated.
	for range 6 {
		if code, body := ask(http.MethodGet, "/v1/events"); code != http.StatusOK || body != "for=127.0.0.1 host=tickets.example" {
			t.Errorf("GET: %d %q", code, body)
		}
	}
	if lost.Load() == 0 {
		t.Error("the dying node was never asked: this test shows nothing")
	}
	before, lostBefore := requests.Load(), lost.Load()
	code, _ := ask(http.MethodPost, "/v1/orders")
	if sent := requests.Load() - before + lost.Load() - lostBefore; sent != 1 || (code == http.StatusOK) != (requests.Load() > before) {
		t.Errorf("POST was sent %d times, answer %d", sent, code)
	}
	if code, _ := ask(http.MethodGet, "/metrics"); code != http.StatusNotFound {
		t.Errorf("/metrics: %d, want 404", code)
	}

	dialer := websocket.Dialer{Subprotocols: []string{"onsale.v1"}, HandshakeTimeout: time.Minute}
	conn, response, err := dialer.DialContext(t.Context(), "ws://"+address+"/ws", nil)
	if err != nil {
		t.Fatalf("WebSocket: %v (%v)", err, response)
	}
	defer conn.Close()
	if err := conn.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, message, err := conn.ReadMessage(); err != nil || string(message) != "hello" || conn.Subprotocol() != "onsale.v1" {
		t.Errorf("WebSocket: %q, %q, %v", message, conn.Subprotocol(), err)
	}
}
