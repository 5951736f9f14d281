package web_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"onsale/internal/stack/stacktest"
	"onsale/web"
)

// spectator is somebody who looks at an event's seats. They need no pass. Each
// frame is held against the one before, as the page does.
type spectator struct {
	*socket
	kinds  []string // of the frames so far
	seq    int64
	states []byte // by ordinal
}

type seatFrame struct {
	Type      string
	Seq, Prev int64
	Total     int
	Status    string
	Changes   [][2]int
}

// states unpacks a snapshot.
func (f *seatFrame) states(t testing.TB) []byte {
	t.Helper()
	packed, err := base64.StdEncoding.DecodeString(f.Status)
	if err != nil || len(packed) != (f.Total+3)/4 {
		t.Fatalf("snapshot of %d tickets in %d bytes: %v", f.Total, len(packed), err)
	}
	states := make([]byte, f.Total)
	for o := range states {
		states[o] = packed[o/4] >> (o % 4 * 2) & 3
	}
	return states
}

func (s *stage) watching(event string) *spectator {
	s.t.Helper()
	v := &spectator{socket: s.dial("/v1/events/"+event+"/live", nil)}
	if f := v.hears(); f.Type != "snapshot" {
		s.t.Fatalf("begins with %+v", f)
	}
	return v
}

// frame reads a frame as it comes.
func (v *spectator) frame() (f seatFrame) {
	v.t.Helper()
	must(v.t, json.Unmarshal(v.next("Snapshot", "Delta"), &f))
	return f
}

// hears takes in the next frame.
func (v *spectator) hears() seatFrame {
	v.t.Helper()
	f := v.frame()
	v.kinds = append(v.kinds, f.Type)
	if f.Type == "snapshot" {
		v.states = f.states(v.t)
	} else if f.Prev != v.seq {
		v.t.Fatalf("after change %d comes %+v", v.seq, f)
	}
	for _, c := range f.Changes {
		v.states[c[0]] = byte(c[1])
	}
	v.seq = f.Seq
	return f
}

// sees takes in frames until a ticket has a state.
func (v *spectator) sees(ordinal int, state byte) {
	v.t.Helper()
	for n := 0; v.states[ordinal] != state; n++ {
		if n == 100 {
			v.t.Fatalf("never told that ticket %d is %d", ordinal, state)
		}
		v.hears()
	}
}

// seatMap is the event's map over HTTP.
func (s *stage) seatMap(event string) (f seatFrame) {
	s.t.Helper()
	s.get("/v1/events/"+event+"/availability").ok(200, &f)
	return f
}

// agrees demands that the map over HTTP becomes what v has been told.
func (v *spectator) agrees(s *stage, event string) {
	v.t.Helper()
	eventually(v.t, "both maps say the same", func() seatFrame { return s.seatMap(event) }, func(f seatFrame) bool {
		return f.Seq == v.seq && bytes.Equal(f.states(v.t), v.states)
	})
}

// counted returns a reader of the counters in the registry of a stage.
func counted(o *stageOptions) func(t testing.TB, name string) float64 {
	var registry prometheus.Gatherer
	o.deps = func(d *web.Deps) { registry = d.Gatherer }
	return func(t testing.TB, name string) (n float64) {
		t.Helper()
		families, err := registry.Gather()
		must(t, err)
		for _, f := range families {
			if f.GetName() == name {
				for _, m := range f.GetMetric() {
					n += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
		return n
	}
}

// Looking needs no pass and no place in line, before, during and after the wait.
func TestAnybodyMayLookAtTheSeats(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	buyer := s.admitted(s.event)
	s.post("/v1/admin/rooms/"+s.event+"/pause", "", asOperator).ok(200, nil)
	waits := s.join(s.event)
	if waits.State != "waiting" {
		t.Fatalf("joined: %+v", waits)
	}
	passer := s.watching(s.event) // sends nothing at all
	inLine := &spectator{socket: s.dial("/v1/events/"+s.event+"/live", http.Header{"Cookie": {"onsale_visitor=" + waits.VisitorToken}})}
	inLine.hears()
	s.post("/v1/events/"+s.event+"/holds", `{"ordinals":[7]}`).refused(401, "pass-required")
	s.post("/v1/events/"+s.event+"/holds", `{"ordinals":[7]}`, bearing(waits.VisitorToken)).refused(401, "unauthorized")

	h := s.held(s.event, buyer.Pass, s.tickets[7])
	for _, v := range []*spectator{passer, inLine} {
		v.sees(7, 1)
		v.agrees(s, s.event)
		if !slices.Equal(v.kinds, []string{"snapshot", "delta"}) {
			t.Errorf("told %v", v.kinds)
		}
	}
	o := s.paid(s.ordered(buyer.Pass, h), "tok_ok")
	if o.Status != "paid" {
		t.Fatalf("order: %+v", o)
	}
	passer.sees(7, 2)
	inLine.sees(7, 2)
	passer.agrees(s, s.event)

	draft := s.newEvent("Not yet", "draft")
	s.get("/v1/events/"+draft+"/availability").refused(404, "not-found")
	if cache := s.get("/v1/events/"+draft+"/availability", asOperator).ok(200, nil).header.Get("Cache-Control"); !strings.Contains(cache, "no-store") {
		t.Errorf("caches may keep what only operators see: %s", cache)
	}
	_, response, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.url, "http")+"/v1/events/"+draft+"/live", nil)
	if err == nil || response == nil || response.StatusCode != http.StatusNotFound {
		t.Errorf("looking at a draft: %v, %v", response, err)
	}
}

// packed is the seat map as it goes over the wire.
func (s *stage) packed(coding, known string) (*http.Response, []byte) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/v1/events/"+s.event+"/availability", nil)
	must(s.t, err)
	r.Header.Set("Accept-Encoding", coding)
	if known != "" {
		r.Header.Set("If-None-Match", known)
	}
	response, err := s.http.Do(r)
	must(s.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(s.t, err)
	return response, body
}

// unpacked undoes a coding.
func unpacked(t testing.TB, coding string, body []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	switch coding {
	case "gzip":
		var err error
		r, err = gzip.NewReader(r)
		must(t, err)
	case "br":
		r = brotli.NewReader(r)
	}
	b, err := io.ReadAll(r)
	must(t, err)
	return b
}

func TestSeatMapOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	buyer := s.admitted(s.event)
	plain := s.get("/v1/events/"+s.event+"/availability", header("Accept-Encoding", "identity")).ok(200, nil)
	tags := map[string]string{}
	for asked, coding := range map[string]string{
		"identity": "", "gzip": "gzip", "br": "br", "gzip, br": "br", "br;q=0, gzip": "gzip", "GZIP;q=0.5": "gzip", "deflate": "",
	} {
		r, body := s.packed(asked, "")
		tag := r.Header.Get("ETag")
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Encoding") != coding || r.ContentLength != int64(len(body)) ||
			!slices.Contains(r.Header.Values("Vary"), "Accept-Encoding") || !strings.HasPrefix(r.Header.Get("Cache-Control"), "public, max-age=1, stale-while-revalidate=1,") ||
			r.Header.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("%s: %d %v", asked, r.StatusCode, r.Header)
		}
		if got := unpacked(t, coding, body); !bytes.Equal(got, plain.body) {
			t.Errorf("%s: %q, where plain is %q", asked, got, plain.body)
		}
		if !strings.HasPrefix(tag, `"`) || tags[coding] != "" && tags[coding] != tag {
			t.Errorf("%s: ETag %s, before %s", asked, tag, tags[coding])
		}
		tags[coding] = tag
		for _, known := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
			if r, body := s.packed(asked, known); r.StatusCode != http.StatusNotModified || len(body) > 0 || r.Header.Get("ETag") != tag || r.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s, knowing %s: %d %v, %d bytes", asked, known, r.StatusCode, r.Header, len(body))
			}
		}
	}
	if tags[""] == tags["gzip"] || tags["gzip"] == tags["br"] || tags[""] == tags["br"] {
		t.Errorf("other bytes with the same strong ETag: %v", tags)
	}
	// The same map begins a viewer's feed.
	if first := s.dial("/v1/events/"+s.event+"/live", nil).next("Snapshot"); !bytes.Equal(first, plain.body) {
		t.Errorf("the feed begins with %q, HTTP says %q", first, plain.body)
	}

	s.held(s.event, buyer.Pass, s.tickets[3])
	eventually(t, "there is another map", func() int { r, _ := s.packed("br", tags["br"]); return r.StatusCode }, func(status int) bool { return status == 200 })
	for coding, tag := range tags {
		r, body := s.packed(coding, tag)
		var f seatFrame
		must(t, json.Unmarshal(unpacked(t, coding, body), &f))
		if r.StatusCode != http.StatusOK || r.Header.Get("ETag") == tag || f.states(t)[3] != 1 {
			t.Errorf("%q after a hold: %d %v %+v", coding, r.StatusCode, r.Header, f)
		}
	}
}

// One map, and one frame for each change, however many look.
func TestManyViewersCostOneEncoding(t *testing.T) {
	t.Parallel()
	var o stageOptions
	count := counted(&o)
	s := newStage(t, o)
	const encodings = "onsale_live_encodings_total"
	buyer := s.admitted(s.event)
	var viewers []*spectator
	for range 50 {
		viewers = append(viewers, s.watching(s.event))
		s.get("/v1/events/"+s.event+"/availability", header("Accept-Encoding", "identity")).ok(200, nil)
	}
	if n := count(t, encodings); n != 1 {
		t.Errorf("the map was encoded %v times for 50 viewers and as many requests", n)
	}
	for range 20 {
		s.packed("gzip", "")
		s.packed("br", "")
	}
	if n := count(t, encodings); n != 3 {
		t.Errorf("in three codings there were %v encodings", n)
	}
	h := s.held(s.event, buyer.Pass, s.tickets[0], s.tickets[1])
	for _, v := range viewers {
		if f := v.hears(); f.Type != "delta" || !slices.Equal(f.Changes, [][2]int{{0, 1}, {1, 1}}) {
			t.Errorf("told %+v", f)
		}
	}
	s.do(http.MethodDelete, "/v1/events/"+s.event+"/holds/"+h.Hold, "", bearing(buyer.Pass)).ok(204, nil)
	for _, v := range viewers {
		v.sees(1, 0)
	}
	if n := count(t, encodings); n != 5 {
		t.Errorf("after two changes there were %v encodings", n)
	}
	// A frame may be read before it is counted.
	eventually(t, "the frames are counted", func() float64 { return count(t, "onsale_live_pushes_total") }, func(n float64) bool { return n == 150 })
	if n := count(t, "onsale_live_connections"); n != 50 {
		t.Errorf("%v connections are counted", n)
	}
}

// Who has missed a change knows it from the next one, and gets a map that the
// changes after it continue.
func TestViewersSeeAGapAndFetchAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	buyer := s.admitted(s.event)
	v, whole := s.watching(s.event), s.watching(s.event)
	change := func(n int) {
		s.held(s.event, buyer.Pass, s.tickets[n])
		whole.sees(n, 1) // so that no two changes go into one delta
	}
	change(0)
	change(1)
	if lost := v.frame(); lost.Type != "delta" || lost.Prev != v.seq {
		t.Fatalf("first told %+v", lost)
	}
	if f := v.frame(); f.Type != "delta" || f.Prev == v.seq || f.Prev >= f.Seq || slices.Contains(f.Changes, [2]int{0, 1}) {
		t.Fatalf("then told %+v after %d", f, v.seq)
	}
	again := s.watching(s.event)
	if again.seq != whole.seq || !bytes.Equal(again.states, whole.states) {
		t.Errorf("fetched change %d, where %d is the last", again.seq, whole.seq)
	}
	change(2)
	again.sees(2, 1)
	if !slices.Equal(again.kinds, []string{"snapshot", "delta"}) || !bytes.Equal(again.states, whole.states) {
		t.Errorf("told %v", again.kinds)
	}
	again.agrees(s, s.event)
}

// A large map, at somebody who does not read it.
func TestASlowViewerDelaysNobody(t *testing.T) {
	t.Parallel()
	var o stageOptions
	count := counted(&o)
	s := newStage(t, o)
	s.server.SmallSendBuffers() // before anybody looks
	var big struct{ ID string }
	meadow := strings.Replace(fmt.Sprintf(stageEvent, "On the meadow", "on_sale"), `"capacity": 20`, `"capacity": 150000`, 1)
	// A busy database has too little time for so many tickets now and then.
	eventually(t, "the event is there", func() reply { return s.post("/v1/admin/events", meadow, asOperator) }, func(r reply) bool { return r.status != 503 }).ok(201, &big)
	must(t, s.rooms.ShopOK(t.Context(), big.ID, -1, -1, 0))
	buyer := s.admitted(big.ID)
	// Who asks first has it loaded, and may be told to come again.
	eventually(t, "the seat map is there", func() int { return s.get("/v1/events/" + big.ID + "/availability").status }, func(status int) bool { return status == 200 })
	quick := s.watching(big.ID)

	d := websocket.Dialer{HandshakeTimeout: time.Minute, NetDial: func(network, address string) (net.Conn, error) {
		conn, err := net.Dial(network, address)
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(8 << 10)
		}
		return conn, err
	}}
	var slow []*websocket.Conn
	for range 3 {
		conn, _, err := d.Dial("ws"+strings.TrimPrefix(s.url, "http")+"/v1/events/"+big.ID+"/live", nil)
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		slow = append(slow, conn)
	}
	for range 3 {
		var h hold
		s.post("/v1/events/"+big.ID+"/holds", `{"ordinals":[5]}`, bearing(buyer.Pass)).ok(201, &h)
		quick.sees(5, 1)
		s.do(http.MethodDelete, "/v1/events/"+big.ID+"/holds/"+h.Hold, "", bearing(buyer.Pass)).ok(204, nil)
		quick.sees(5, 0)
	}
	if slices.Contains(quick.kinds[1:], "snapshot") {
		t.Errorf("told %v", quick.kinds)
	}
	eventually(t, "the slow ones are given up", func() float64 { return count(t, "onsale_live_slow_readers_total") }, func(n float64) bool { return n == 3 })
	ends := make(chan error, len(slow))
	for _, conn := range slow { // all at once
		go func() {
			_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
			var err error
			for err == nil {
				_, _, err = conn.ReadMessage()
			}
			ends <- err
		}()
	}
	for range slow {
		if err := <-ends; !websocket.IsCloseError(err, 4008) {
			t.Errorf("ended with %v", err)
		}
	}
	s.post("/v1/events/"+big.ID+"/holds", `{"ordinals":[6]}`, bearing(buyer.Pass)).ok(201, nil)
	quick.sees(6, 1)
}

// Viewers stay while Redis does not answer, and while it is gone; afterwards they
// are told what became of the seats.
func TestViewersSurviveRedis(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	buyer := s.admitted(s.event)
	path := "/v1/events/" + s.event
	v := s.watching(s.event)
	h := s.held(s.event, buyer.Pass, s.tickets[2])
	v.sees(2, 1)

	away := func() {
		t.Helper()
		eventually(t, "the seat map is not available", func() reply { return s.get(path + "/availability") }, func(r reply) bool { return r.status == 503 })
		_, response, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.url, "http")+path+"/live", nil)
		if err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a viewer who comes meanwhile: %v, %v", response, err)
		}
	}
	must(t, s.redis.Pause())
	away()
	must(t, s.redis.Resume())
	eventually(t, "the seat map is back", func() reply { return s.get(path + "/availability") }, func(r reply) bool { return r.status == 200 })
	s.do(http.MethodDelete, path+"/holds/"+h.Hold, "", bearing(buyer.Pass)).ok(204, nil)
	v.sees(2, 0)
	s.held(s.event, buyer.Pass, s.tickets[3])
	v.sees(3, 1)
	if slices.Contains(v.kinds[1:], "snapshot") {
		t.Errorf("told %v", v.kinds)
	}

	// It comes back with nothing: the hold is lost, which v learns.
	must(t, s.redis.Kill())
	away()
	must(t, s.redis.Restart(t.Context()))
	v.sees(3, 0)
	v.agrees(s, s.event)
}

func TestViewersAreSentElsewhereAtTheEnd(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	codes := make(chan int, 150)
	for range 150 {
		v := s.watching(s.event)
		go func() {
			_ = v.conn.SetReadDeadline(time.Now().Add(time.Minute))
			_, _, err := v.conn.ReadMessage()
			e, _ := errors.AsType[*websocket.CloseError](err)
			if e == nil {
				e = &websocket.CloseError{Code: -1}
			}
			codes <- e.Code
		}()
	}
	const limit = 6 * time.Second
	delays := stacktest.Delays(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	began := time.Now()
	s.server.Shutdown(ctx)
	if took := time.Since(began) - delays(); took > limit+2*time.Second {
		t.Errorf("took %v", took)
	}
	for range 150 {
		if code := <-codes; code != 4000 {
			t.Fatalf("closed with %d", code)
		}
	}
	s.get("/v1/events/"+s.event+"/availability").ok(200, nil)
}
