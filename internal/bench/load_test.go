package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestReadAnswer(t *testing.T) {
	t.Parallel()
	r := bufio.NewReader(strings.NewReader(
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 5\r\n\r\nhello" +
			"HTTP/1.1 204 No Content\r\n\r\n" +
			"HTTP/1.1 409 Conflict\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n" +
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	for _, want := range [][2]int{{200, 5}, {204, 0}, {409, 15}, {200, 0}} {
		status, length, err := readAnswer(r)
		if err != nil || status != want[0] || length != want[1] {
			t.Errorf("status %d, %d bytes, %v; want %v", status, length, err, want)
		}
	}
	if _, _, err := readAnswer(r); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	for _, bad := range []string{
		"SSH-2.0-what\r\n", "HTTP/1.1 xyz\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		if _, _, err := readAnswer(bufio.NewReader(strings.NewReader(bad))); err == nil {
			t.Errorf("%q was taken for an answer", bad)
		}
	}
}

func testServer(t *testing.T, handler http.HandlerFunc) (address string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func TestLoadCountsEveryAnswer(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	address := testServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != "/here" || string(body) != "{}" {
			t.Errorf("%s %s %q", r.Method, r.URL, body)
		}
		asked.Add(1)
		fmt.Fprint(w, "hello")
	})
	l := &load{address: address, request: requestBytes(http.MethodPost, "/here", address, []byte("{}")), connections: 3, status: 200}
	c, err := l.run(t.Context(), 50*time.Millisecond)
	if err != nil || c.total != asked.Load() || c.requests <= 0 || c.requests >= c.total || c.body != 5 || c.took < 50*time.Millisecond {
		t.Errorf("%+v of %d, %v", c, asked.Load(), err)
	}
	if rate := (count{requests: 500, took: 2 * time.Second}).perSecond(); rate != 250 {
		t.Errorf("500 in 2 s are %v/s", rate)
	}
}

func TestLoadStopsAtAWrongAnswer(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	address := testServer(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) > 5 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	l := &load{address: address, request: requestBytes(http.MethodGet, "/", address, nil), connections: 2, status: 200}
	if _, err := l.run(t.Context(), time.Minute); err == nil || !strings.Contains(err.Error(), "answered 503, not 200") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.status = http.StatusServiceUnavailable
	if _, err := l.run(ctx, time.Minute); err == nil {
		t.Error("a cancelled load ended well")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	address := testServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprintf(w, `{"type": "https://onsale.example/problems/too-many-requests", "detail": %q}`, r.Header.Get("Authorization"))
	})
	a := NewAPI(&url.URL{Scheme: "http", Host: address}, "secret")
	defer a.close()
	err := a.call(t.Context(), http.MethodGet, "/v1/admin/rooms", nil, nil)
	var r *refusal
	if !errors.As(err, &r) || r.Status != 429 || r.Code != "too-many-requests" || r.After != 7*time.Second || r.Detail != "Bearer secret" {
		t.Errorf("%+v, %v", r, err)
	}
}

// The plain reference holds a crowd, and the crowd notices when it is gone.
func TestACrowdAtThePlainReference(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- ServePlain(ctx, writer) }()
	line, err := bufio.NewReader(reader).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), plainReady)
	if err != nil || !ok {
		t.Fatalf("%q, %v", line, err)
	}
	open := func(ctx context.Context, n int) (*websocket.Conn, error) {
		conn, response, err := websocketDialer(n).DialContext(ctx, "ws://"+address+"/", nil)
		if err != nil {
			return nil, handshakeFailed(err, response)
		}
		return conn, nil
	}
	crowd, err := gather(ctx, 250, open)
	if err != nil {
		t.Fatal(err)
	}
	defer crowd.close()
	if err := crowd.whole(); err != nil || len(crowd.conns) != 250 {
		t.Errorf("%d connections, %v", len(crowd.conns), err)
	}
	if err := crowd.conns[0].NetConn().Close(); err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := poll(wait, time.Millisecond, func() bool { return crowd.whole() != nil }, wait.Err); err != nil {
		t.Error("nobody noticed that a connection is lost")
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the reference ended with %v", err)
	}
	if _, err := gather(t.Context(), 10, open); err == nil {
		t.Error("a crowd was gathered at nobody's")
	}
}
