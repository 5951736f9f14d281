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
		status, length, err := readAnswer(r, nil)
		if err != nil || status != want[0] || length != want[1] {
			t.Errorf("status %d, %d bytes, %v; want %v", status, length, err, want)
		}
	}
	if _, _, err := readAnswer(r, nil); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	for _, bad := range []string{
		"SSH-2.0-what\r\n", "HTTP/1.1 xyz\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		if _, _, err := readAnswer(bufio.NewReader(strings.NewReader(bad)), nil); err == nil {
			t.Errorf("%q was taken for an answer", bad)
		}
	}
}

func TestReadAnswerKeepsTheBody(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 2000) // longer than the buffer
	r := bufio.NewReader(strings.NewReader(
		"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + long +
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n" +
			"HTTP/1.1 204 No Content\r\n\r\n" +
			"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"))
	body := []byte("kept: ")
	for _, want := range []string{long, "hello!", ""} {
		body = body[:len("kept: ")]
		if _, length, err := readAnswer(r, &body); err != nil || string(body) != "kept: "+want || length != len(want) {
			t.Errorf("%d bytes, %.30q, %v; want %.30q", length, body, err, want)
		}
	}
	if _, _, err := readAnswer(r, &body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("at the end of half a body: %v", err)
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
	c, err := l.run(t.Context(), 500*time.Millisecond)
	if err != nil || c.total != asked.Load() || c.requests <= 0 || c.requests >= c.total || c.body != 5 || c.took < 500*time.Millisecond {
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

// A load that is told what to send sends that, tells what it hears, and ends when
// there is no more.
func TestLoadWithRequestsOfItsOwn(t *testing.T) {
	t.Parallel()
	var slow atomic.Bool
	address := testServer(t, func(w http.ResponseWriter, r *http.Request) {
		if slow.Load() {
			time.Sleep(warmUp / 20) // what the load measures is real time
		}
		fmt.Fprint(w, r.URL.Path, r.Header.Get("Authorization"))
	})
	const connections, each = 3, 40
	var sent, heard [connections]int
	l := &load{
		address: address, connections: connections, status: 200,
		next: func(c int) []byte {
			if sent[c] == each {
				return nil
			}
			sent[c]++
			return appendRequest(nil, http.MethodGet, fmt.Sprintf("/%d/%d", c, sent[c]), address, "me", nil)
		},
		heard: func(c int, body []byte) error {
			heard[c]++
			if want := fmt.Sprintf("/%d/%dBearer me", c, heard[c]); string(body) != want {
				return fmt.Errorf("heard %q, not %q", body, want)
			}
			return nil
		},
	}
	if n, err := l.all(t.Context()); err != nil || n != connections*each || heard != [connections]int{each, each, each} {
		t.Fatalf("%d answers, %v, %v", n, heard, err)
	}
	if _, err := l.run(t.Context(), time.Minute); err == nil || !strings.Contains(err.Error(), "no more requests while warming up") {
		t.Errorf("without requests: %v", err)
	}
	sent, heard = [connections]int{}, [connections]int{}
	slow.Store(true)
	c, err := l.run(t.Context(), time.Minute)
	if err != nil || c.took > 30*time.Second || c.requests <= 0 || c.requests >= c.total || c.total > connections*each {
		t.Errorf("%+v, %v", c, err)
	}
	l.heard = func(int, []byte) error { return io.ErrNoProgress }
	sent = [connections]int{}
	if _, err := l.all(t.Context()); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("what is heard is wrong: %v", err)
	}
}

func TestClosedLoop(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	c, err := closedLoop(t.Context(), 2, 500*time.Millisecond, func(context.Context) error {
		calls.Add(1)
		time.Sleep(time.Millisecond)
		return nil
	})
	if err != nil || c.total != calls.Load() || c.requests <= 0 || c.requests >= c.total || c.took < 500*time.Millisecond {
		t.Errorf("%+v of %d, %v", c, calls.Load(), err)
	}
	if _, err := closedLoop(t.Context(), 2, time.Minute, func(context.Context) error { return io.ErrNoProgress }); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a call that fails: %v", err)
	}
}

func TestHouse(t *testing.T) {
	t.Parallel()
	for _, h := range []house{{seats: 10}, {seats: 500}, {seats: 2010}, {seats: 8000, perRow: 40, maxPerBuyer: 4}, {seats: 160_000, perRow: 40}} {
		document := h.document(wideOpen())
		seats, names, before := 0, make(map[any]bool), 1<<30
		for _, s := range document["generate"].(object)["sections"].([]object) {
			rows, width := s["rows"].(int), s["seats_per_row"].(int)
			price := document["prices"].(object)[s["category"].(string)].(object)["amount"].(int)
			// The best sections come first by their price.
			if rows > 1000 || width > max(h.perRow, 25) || names[s["name"]] || price > before || price <= 0 {
				t.Errorf("%+v: %v for %d", h, s, price)
			}
			seats, names[s["name"]], before = seats+rows*width, true, price
		}
		if most := document["max_per_buyer"]; seats != h.seats || most != 6 && most != h.maxPerBuyer {
			t.Errorf("%+v has %d seats, %v for a buyer", h, seats, most)
		}
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
	wait, cancel := context.WithTimeout(ctx, time.Minute)
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
