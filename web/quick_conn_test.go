package web_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// repeatedBox serves the same server twice: as net/http does, and with connections
// that answer what they know.
type repeatedBox struct {
	*box

	plain, quick string // addresses
	tag          string // of the event's document
	config       *http.Server
}

func newRepeatedBox(t testing.TB, quiet time.Duration) *repeatedBox {
	t.Helper()
	b := &repeatedBox{box: newBox(t), config: &http.Server{ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: quiet}}
	serve := func(server *http.Server, wrap func(net.Listener) net.Listener) string {
		var config net.ListenConfig
		listener, err := config.Listen(t.Context(), "tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server.Handler = b.server.Handler()
		go func() { _ = server.Serve(wrap(listener)) }()
		t.Cleanup(func() { _ = server.Close() })
		return listener.Addr().String()
	}
	b.plain = serve(&http.Server{ReadHeaderTimeout: 10 * time.Second}, func(l net.Listener) net.Listener { return l })
	b.quick = serve(b.config, func(l net.Listener) net.Listener { return b.server.Listen(b.config, l) })
	b.tag = b.box.get(200, "/v1/events/"+b.event.ID, nil).Header().Get("ETag")
	return b
}

// repeated is how many requests were answered without net/http.
func (b *repeatedBox) repeated() int {
	families, err := b.metrics.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "onsale_http_repeated_requests_total" {
			return int(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	b.t.Fatal("repeated requests are not counted")
	return 0
}

// get is a request for the event with further header lines.
func (b *repeatedBox) get(lines ...string) string {
	lines = append([]string{"GET /v1/events/" + b.event.ID + " HTTP/1.1", "Host: shop.test"}, lines...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// talk sends what the steps say on one connection, and returns all answers as far
// as they must be the same.
func (b *repeatedBox) talk(t *testing.T, address string, steps []step) (said []string) {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(conn)
	for _, s := range steps {
		for i, part := range s.parts {
			if i > 0 {
				time.Sleep(2 * time.Millisecond) // so that they are read one by one; nothing else depends on it
			}
			if _, err := io.WriteString(conn, part); err != nil {
				return append(said, "cut")
			}
		}
		for range s.answers {
			r, err := http.ReadResponse(in, &http.Request{Method: s.method})
			if err != nil {
				return append(said, "cut")
			}
			body, err := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if err != nil {
				return append(said, "cut in the body")
			}
			if r.Header.Get("Date") == "" && r.StatusCode < 400 {
				t.Errorf("an answer is without date: %v", r.Header)
			}
			if id := r.Header.Get("X-Request-ID"); id != "mine" {
				r.Header.Del("X-Request-ID")
			}
			r.Header.Del("Date")
			if problem := r.Header.Get("Content-Type"); strings.HasPrefix(problem, "application/problem") {
				body = []byte("a problem") // which names its request
				r.ContentLength = 0
				r.Header.Del("Content-Length")
			}
			var head bytes.Buffer
			_ = r.Header.Write(&head)
			said = append(said, fmt.Sprintf("%s %d %v\n%s%x", r.Status, r.ContentLength, r.Close, &head, body))
		}
	}
	return said
}

// step is what is written, part by part, and how many answers are read then.
type step struct {
	method  string
	parts   []string
	answers int
}

// steps makes a conversation of choices.
func (b *repeatedBox) steps(choices []byte) (all []step) {
	one := func(request string) step { return step{"GET", []string{request}, 1} }
	get, first := b.get(), "GET /v1/events/"+b.event.ID+" HTTP/1.1\r\n"
	post := func(body string) string {
		return fmt.Sprintf("POST /v1/events/%s/holds HTTP/1.1\r\nHost: shop.test\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", b.event.ID, len(body), body)
	}
	for i, c := range choices {
		cut := 1 + int(c>>4)*len(get)/17
		switch c & 15 {
		case 0, 1, 2, 3:
			all = append(all, one(get), one(get), one(get))
		case 4:
			all = append(all, one(b.get("Accept-Encoding: gzip")))
		case 5:
			all = append(all, one(b.get("Accept-Encoding: br", "X-Request-ID: mine")))
		case 6:
			all = append(all, one(b.get(`If-None-Match: "nothing", `+b.tag)))
		case 7: // the request is the body of another
			all = append(all, step{"POST", []string{post(get)}, 1})
		case 8:
			head := post(get)
			at := len(head) - len(get)
			all = append(all, step{"POST", []string{head[:at], get}, 1})
		case 9:
			all = append(all, step{"GET", []string{get[:cut], get[cut:]}, 1})
		case 10:
			all = append(all, step{"GET", []string{get + get[:cut], get[cut:]}, 2})
		case 11:
			all = append(all, step{"GET", []string{get + get}, 2})
		case 12:
			all = append(all, step{"HEAD", []string{"HEAD" + get[3:]}, 1})
		case 13:
			all = append(all, one(b.get("Origin: https://elsewhere.example")))
		case 14:
			if i > len(choices)/2 { // may end the connection, or get answers out of step
				return append(all, one([]string{
					b.get("Connection: close"), "GET /v1/events/" + b.event.ID + " HTTP/1.0\r\n\r\n", "\r\n" + get, get[:cut] + "\r\n\r\n" + get, strings.ReplaceAll(get, "\r\n", "\n"),
					b.get("Expect: 100-continue"), b.get("Transfer-Encoding: chunked") + "0\r\n\r\n", first + get,
				}[c>>5]))
			}
		case 15: // the tail of a body looks like the first line
			head := post(first)
			at := strings.Index(head, "\r\n\r\n") + 4
			all = append(all, step{"POST", []string{head[:at], head[at:] + get}, 1}, step{"GET", nil, 1})
		}
	}
	return all
}

func (b *repeatedBox) compare(t *testing.T, choices []byte) {
	t.Helper()
	steps := b.steps(choices)
	want, got := b.talk(t, b.plain, steps), b.talk(t, b.quick, steps)
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			t.Fatalf("%x: of %d answers of net/http and %d, number %d differs:\n%s\n\n%s", choices, len(want), len(got), i, at(want, i), at(got, i))
		}
	}
}

func at(all []string, i int) string {
	if i < len(all) {
		return all[i]
	}
	return "nothing"
}

// Whatever is said on a connection, and in whatever pieces, is answered as net/http
// answers it.
func TestRepeatedRequestsAreAnsweredAlike(t *testing.T) {
	t.Parallel()
	b := newRepeatedBox(t, 10*time.Second)
	most := 0 // a page that has just become too old is made anew first, and on a busy machine many have
	for try := 0; try < 10 && most < 8; try++ {
		before := b.repeated()
		b.compare(t, []byte{0, 0, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6})
		most = max(most, b.repeated()-before)
	}
	if most < 8 {
		t.Errorf("%d of 18 requests were answered from the connection", most)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		choices := make([]byte, 1+random.IntN(10))
		for i := range choices {
			choices[i] = byte(random.UintN(256))
		}
		b.compare(t, choices)
	}
	before := b.repeated()
	b.talk(t, b.quick, b.steps([]byte{8, 8, 8, 8, 7, 7, 7, 15, 15, 15}))
	if n := b.repeated() - before; n != 0 {
		t.Errorf("%d requests that stood in bodies were answered", n)
	}
}

func FuzzRepeatedRequests(f *testing.F) {
	for _, seed := range [][]byte{{0, 0}, {0, 7, 0}, {0, 8, 0, 8}, {0, 0x49, 0, 0x8a, 0}, {15, 0, 15}, {15, 15, 15, 15, 15, 0xee}, {0, 0, 0x4e}, {0, 0, 0x8e}} {
		f.Add(seed)
	}
	b := newRepeatedBox(f, 10*time.Second)
	f.Fuzz(func(t *testing.T, choices []byte) { b.compare(t, choices[:min(len(choices), 24)]) })
}

// A connection on which the same is asked all the time lives on, tells of changes,
// and ends when nothing is asked any more.
func TestARepeatedRequestIsStillAnsweredTruly(t *testing.T) {
	t.Parallel()
	const quiet = 2 * time.Second // nobody who asks is so late
	b := newRepeatedBox(t, quiet)
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp4", b.quick)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	began := time.Now()
	_ = conn.SetDeadline(began.Add(20 * time.Second))
	in := bufio.NewReader(conn)
	ask := func() string {
		t.Helper()
		if _, err := io.WriteString(conn, b.get()); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatal(r.Status, err)
		}
		_ = r.Body.Close()
		return string(body)
	}
	asked := 0
	for time.Since(began) < 3*quiet {
		b.box.get(200, "/v1/events/"+b.event.ID, nil) // somebody else has it looked at
		ask()
		asked++
		<-time.After(5 * time.Millisecond)
	}
	if n := b.repeated(); n < asked*9/10-2 {
		t.Errorf("%d of %d requests were answered from the connection", n, asked)
	}
	const name = "Quite another name"
	if r := b.do("PATCH", "/v1/admin/events/"+b.event.ID, `{"name": "`+name+`"}`, asOperator); r.Code != http.StatusOK {
		t.Fatal(r.Code, r.Body)
	}
	within(t, "the change is told", time.Second, ask, func(told string) bool { return strings.Contains(told, name) })

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b.server.Shutdown(ctx)
	before := b.repeated()
	last := time.Now()
	ask()
	if b.repeated() != before {
		t.Error("a node that goes away answers past net/http, which counts who is there")
	}
	if _, err := in.ReadByte(); err == nil || time.Since(last) < quiet/2 {
		t.Errorf("the quiet connection ended after %v with %v", time.Since(last), err)
	}
}
