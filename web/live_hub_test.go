package web

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"onsale/checkout"
	"onsale/internal/stack/stacktest"
)

// gallery is a live map of an inventory that the test changes.
type gallery struct {
	t    testing.TB
	hub  *liveHub
	url  string // of the WebSocket
	stop func() error

	mu      sync.Mutex
	now     *checkout.View
	broken  error
	changes chan struct{}
	asked   chan struct{} // each failed look
}

// newGallery runs a live map of so many free tickets, with short times.
func newGallery(t testing.TB, tickets int, change func(*liveOptions)) *gallery {
	t.Helper()
	return newGalleryBehind(t, tickets, change, nil)
}

// newGalleryBehind is newGallery with another server in front.
func newGalleryBehind(t testing.TB, tickets int, change func(*liveOptions), front func(*httptest.Server)) *gallery {
	t.Helper()
	g := &gallery{
		t: t, changes: make(chan struct{}, 1), asked: make(chan struct{}, 1000),
		now: &checkout.View{Status: bytes.Repeat([]byte{byte(checkout.Available)}, tickets), Seq: 100},
	}
	o := defaultLiveOptions()
	o.tick, o.beat = time.Millisecond, 10*time.Millisecond
	if change != nil {
		change(&o)
	}
	g.hub = makeLiveHub(g, slog.New(slog.DiscardHandler), time.Now, o)
	if err := g.hub.register(prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- g.hub.run(ctx) }()

	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.GET("/live/:event", func(c *gin.Context) {
		if err := g.hub.serve(c, c.Param("event"), g.hub.maps.of(c.Param("event"), g.view())); err != nil {
			c.String(http.StatusTooManyRequests, err.Error())
		}
	})
	server := httptest.NewUnstartedServer(engine)
	if front != nil {
		front(server)
	}
	server.Start()
	g.url = "ws" + strings.TrimPrefix(server.URL, "http") + "/live/"
	g.stop = sync.OnceValue(func() error {
		cancel()
		err := <-ran
		server.Close()
		return err
	})
	t.Cleanup(func() {
		if err := g.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return g
}

func (g *gallery) view() *checkout.View {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

func (g *gallery) Refresh(context.Context, string) (*checkout.View, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken != nil {
		select {
		case g.asked <- struct{}{}:
		default:
		}
		return nil, g.broken
	}
	return g.now, nil
}

func (g *gallery) Changes(context.Context, string) (<-chan struct{}, error) { return g.changes, nil }

// fails has the inventory fail from now on, or not any more.
func (g *gallery) fails(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.broken = err
}

// becomes replaces the inventory.
func (g *gallery) becomes(v *checkout.View) {
	g.mu.Lock()
	g.now = v
	g.mu.Unlock()
	select {
	case g.changes <- struct{}{}:
	default: // a signal is waiting
	}
}

// change gives tickets another state and returns the number of the change.
func (g *gallery) change(to checkout.TicketState, ordinals ...int) int64 {
	v := g.view()
	next := &checkout.View{Status: slices.Clone(v.Status), Seq: v.Seq + 1}
	for _, o := range ordinals {
		next.Status[o] = byte(to)
	}
	g.becomes(next)
	return next.Seq
}

// onlooker is a browser's end of a viewer's WebSocket. It holds each frame
// against the one before, as the page does.
type onlooker struct {
	t      testing.TB
	ws     *websocket.Conn
	kinds  []string // of the frames so far
	seq    int64
	status []byte // numbers of states
}

type liveFrame struct {
	Type      string
	Seq, Prev int64
	Total     int
	Status    string
	Changes   [][2]int
}

func (g *gallery) dial(event string) *onlooker {
	g.t.Helper()
	ws, resp, err := (&websocket.Dialer{HandshakeTimeout: time.Minute}).Dial(g.url+event, nil)
	if err != nil {
		g.t.Fatalf("dial: %v (%v)", err, resp)
	}
	g.t.Cleanup(func() { _ = ws.Close() })
	return &onlooker{t: g.t, ws: ws}
}

// looks connects a viewer, who has the map then.
func (g *gallery) looks() *onlooker {
	g.t.Helper()
	v := g.dial(testEvent)
	if kind := v.next(); kind != "snapshot" {
		g.t.Fatalf("begins with a %s", kind)
	}
	return v
}

// next takes in the next frame and returns what it was.
func (v *onlooker) next() string {
	v.t.Helper()
	_ = v.ws.SetReadDeadline(time.Now().Add(time.Minute))
	kind, text, err := v.ws.ReadMessage()
	if err != nil || kind != websocket.TextMessage {
		v.t.Fatalf("no frame: %d, %v", kind, err)
	}
	var f liveFrame
	if err := json.Unmarshal(text, &f); err != nil {
		v.t.Fatalf("frame %s: %v", text, err)
	}
	v.kinds = append(v.kinds, f.Type)
	switch f.Type {
	case "snapshot":
		packed, err := base64.StdEncoding.DecodeString(f.Status)
		if err != nil || len(packed) != (f.Total+3)/4 {
			v.t.Fatalf("snapshot of %d tickets in %d bytes: %v", f.Total, len(packed), err)
		}
		v.status = make([]byte, f.Total)
		for o := range v.status {
			v.status[o] = packed[o/4] >> (o % 4 * 2) & 3
		}
	case "delta":
		if f.Prev != v.seq || f.Changes == nil {
			v.t.Fatalf("after change %d comes %.200s", v.seq, text)
		}
		for _, c := range f.Changes {
			v.status[c[0]] = byte(c[1])
		}
	default:
		v.t.Fatalf("frame %.200s", text)
	}
	v.seq = f.Seq
	return f.Type
}

// until takes in frames until that of a change.
func (v *onlooker) until(seq int64) {
	v.t.Helper()
	for v.seq != seq {
		v.next()
	}
}

// sees demands that the viewer knows what the inventory says.
func (v *onlooker) sees(g *gallery) {
	v.t.Helper()
	want := g.view()
	v.until(want.Seq)
	if len(v.status) != len(want.Status) {
		v.t.Fatalf("sees %d tickets of %d", len(v.status), len(want.Status))
	}
	for o, b := range want.Status {
		if v.status[o] != stateNumber(b) {
			v.t.Fatalf("ticket %d is %c and seen as %d", o, b, v.status[o])
		}
	}
}

// closes reads until the server closes, and returns the code.
func (v *onlooker) closes() int {
	v.t.Helper()
	_ = v.ws.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		if _, _, err := v.ws.ReadMessage(); err != nil {
			if e, ok := errors.AsType[*websocket.CloseError](err); ok {
				return e.Code
			}
			v.t.Fatalf("ended without a close frame: %v", err)
		}
	}
}

// huge is how many tickets make a map that no kernel's buffers take while a viewer
// does not read.
const huge = 1_000_000

func TestLiveTellsEveryChangeInOrder(t *testing.T) {
	t.Parallel()
	g := newGallery(t, 10, nil)
	viewers := []*onlooker{g.looks(), g.looks(), g.looks()}
	for n, state := range []checkout.TicketState{checkout.Held, checkout.Sold, checkout.Blocked, checkout.Available, checkout.Held} {
		seq := g.change(state, n, n+4)
		for _, v := range viewers {
			v.until(seq)
			v.sees(g)
		}
	}
	for _, v := range viewers {
		if !slices.Equal(v.kinds, []string{"snapshot", "delta", "delta", "delta", "delta", "delta"}) {
			t.Errorf("told %v", v.kinds)
		}
	}
	// Somebody who comes later begins where the others are.
	late := g.looks()
	late.sees(g)
	seq := g.change(checkout.Sold, 9)
	late.until(seq)
	late.sees(g)
}

// A change that leaves all tickets as they were is a change all the same: the
// next delta continues it.
func TestLiveTellsAChangeOfNothing(t *testing.T) {
	t.Parallel()
	g := newGallery(t, 10, nil)
	v := g.looks()
	v.until(g.change(checkout.Available, 1))
	v.until(g.change(checkout.Held, 1))
	v.sees(g)
}

func TestLiveEncodesOnceForAll(t *testing.T) {
	t.Parallel()
	g := newGallery(t, 500, nil)
	encodings := func() float64 { return metric(t, g.hub.maps.encodings) }
	var viewers []*onlooker
	for range 40 {
		viewers = append(viewers, g.looks())
	}
	if n := encodings(); n != 1 {
		t.Errorf("the map was encoded %v times for 40 viewers", n)
	}
	for n := range 5 {
		seq := g.change(checkout.Held, n)
		for _, v := range viewers {
			v.until(seq)
		}
	}
	if n := encodings(); n != 6 {
		t.Errorf("after 5 changes there were %v encodings", n)
	}
	for range 20 {
		viewers = append(viewers, g.looks())
	}
	if n := encodings(); n != 7 {
		t.Errorf("after 20 more viewers there were %v encodings", n)
	}
	eventuallyTrue(t, "all frames to be counted", func() bool { return metric(t, g.hub.pushes) == 60+5*40 })
	m := g.hub.maps.of(testEvent, g.view())
	for range 10 {
		for _, c := range []coding{inPlain, inGzip, inBrotli} {
			if _, err := m.in(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := encodings(); n != 9 {
		t.Errorf("after 30 requests in three codings there were %v encodings", n)
	}
}

// A map that no kernel's buffer takes at once, at a viewer who does not read.
func TestLiveSlowViewerKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	g := newGallery(t, huge, func(o *liveOptions) { o.write, o.recent = time.Minute, 3 })
	slow := []*onlooker{g.dial(testEvent), g.dial(testEvent), g.dial(testEvent), g.dial(testEvent)}
	quick := g.dial(testEvent)
	quick.next()
	for n := range 20 {
		quick.until(g.change(checkout.Held, n))
	}
	quick.sees(g)
	if n := metric(t, g.hub.slow); n != 0 || g.hub.Connections() != 5 {
		t.Errorf("%v slow viewers were dropped, %d are left", n, g.hub.Connections())
	}
	// Once they read, they get the map they began with, and then the whole map
	// again: more has changed than is kept.
	for _, v := range slow {
		v.sees(g)
		if !slices.Equal(v.kinds, []string{"snapshot", "snapshot"}) {
			t.Errorf("told %v", v.kinds)
		}
		v.until(g.change(checkout.Sold, 5))
		v.sees(g)
	}
}

// Who is only a little behind is told what they missed.
func TestLiveTellsWhatWasMissed(t *testing.T) {
	t.Parallel()
	g := newGallery(t, huge, func(o *liveOptions) { o.write = time.Minute })
	slow := g.dial(testEvent)
	quick := g.looks()
	for n := range 5 {
		quick.until(g.change(checkout.Held, n))
	}
	slow.sees(g)
	if !slices.Equal(slow.kinds, []string{"snapshot", "delta", "delta", "delta", "delta", "delta"}) {
		t.Errorf("told %v", slow.kinds)
	}
}

func TestLiveDropsSlowViewers(t *testing.T) {
	t.Parallel()
	g := newGallery(t, huge, func(o *liveOptions) { o.write, o.farewell = 3*time.Second, time.Minute })
	slow := g.dial(testEvent)
	quick := g.looks()
	eventuallyTrue(t, "the slow viewer to be given up", func() bool { return metric(t, g.hub.slow) == 1 })
	quick.until(g.change(checkout.Held, 1))
	if code := slow.closes(); code != closeSlow {
		t.Errorf("closed with %d", code)
	}
	eventuallyTrue(t, "the slow viewer to be forgotten", func() bool { return g.hub.Connections() == 1 })
}

// More slow viewers than goroutines may wait for are dropped at once.
func TestLiveWaitsForFewSlowViewers(t *testing.T) {
	t.Parallel()
	g := newGallery(t, huge, func(o *liveOptions) { o.write, o.waiters = time.Minute, 2 })
	quick := g.looks()
	eventuallyTrue(t, "nobody to wait for the quick one", func() bool { return len(g.hub.waiters) == 0 })
	for range 6 {
		g.dial(testEvent)
	}
	eventuallyTrue(t, "all but two slow viewers to be dropped", func() bool { return metric(t, g.hub.slow) == 4 && g.hub.Connections() == 3 })
	quick.until(g.change(checkout.Held, 1))
}

func TestLiveStartsAnewWithAnotherInventory(t *testing.T) {
	t.Parallel()
	g := newGallery(t, 10, nil)
	v := g.looks()
	v.until(g.change(checkout.Held, 3))
	for _, c := range []struct {
		name  string
		other checkout.View
	}{
		{"it was counted anew", checkout.View{Status: []byte("AAAHAAAAAS"), Seq: 6000, Epoch: 1}},
		{"anew, and nothing differs", checkout.View{Status: []byte("AAAHAAAAAS"), Seq: 6000, Epoch: 2}},
		{"its numbers go back", checkout.View{Status: []byte("AAAAASAAAA"), Seq: 7, Epoch: 2}},
		{"it has more tickets", checkout.View{Status: []byte("AAAAAAAAAAAX"), Seq: 5000, Epoch: 2}},
		{"it has fewer", checkout.View{Status: []byte("SA"), Seq: 5001, Epoch: 2}},
		{"it has none", checkout.View{Status: nil, Seq: 5002, Epoch: 2}},
	} {
		g.becomes(&c.other)
		if kind := v.next(); kind != "snapshot" {
			t.Errorf("%s: told a %s", c.name, kind)
		}
		v.sees(g)
	}
	g.becomes(&checkout.View{Status: []byte("AAAA"), Seq: 7000})
	v.until(7000)
	v.until(g.change(checkout.Sold, 0))
	v.sees(g)
}

// A delta is never longer than the map, but for the shortest.
func TestLiveTellsTheMapWhenThatIsShorter(t *testing.T) {
	t.Parallel()
	const tickets = 20_000
	g := newGallery(t, tickets, nil)
	v := g.looks()
	all := make([]int, tickets)
	for o := range all {
		all[o] = o
	}
	v.until(g.change(checkout.Held, all[:300]...))
	v.until(g.change(checkout.Sold, all...))
	v.sees(g)
	if !slices.Equal(v.kinds, []string{"snapshot", "delta", "snapshot"}) {
		t.Errorf("told %v", v.kinds)
	}
}

func TestLiveOutlivesTheInventory(t *testing.T) {
	t.Parallel()
	g := newGallery(t, 10, nil)
	v := g.looks()
	g.fails(errors.New("the store is away"))
	seq := g.change(checkout.Held, 2)
	<-g.asked
	seq = max(seq, g.change(checkout.Sold, 4))
	<-g.asked
	<-g.asked
	if g.hub.Connections() != 1 {
		t.Fatal("the viewer was dropped")
	}
	g.fails(nil)
	v.until(seq)
	v.sees(g)
	if !slices.Equal(v.kinds, []string{"snapshot", "delta"}) {
		t.Errorf("told %v", v.kinds)
	}
}

func TestLiveShutsDownWithinItsTime(t *testing.T) {
	t.Parallel()
	g := newGallery(t, 10, nil)
	codes := make(chan int, 130)
	for range 130 {
		v := g.looks()
		go func() { codes <- v.closes() }()
	}
	const limit = 6 * time.Second
	delays := stacktest.Delays(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	g.hub.Shutdown(ctx)
	if took := time.Since(start) - delays(); took > limit+time.Second {
		t.Errorf("took %v", took)
	}
	for range 130 {
		if code := <-codes; code != closeReconnect {
			t.Errorf("closed with %d", code)
		}
	}
	if n := g.hub.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	if code := g.dial(testEvent).closes(); code != closeReconnect {
		t.Errorf("after the end a viewer is closed with %d", code)
	}
}

// The end of run alone ends viewers too, those included who read nothing.
func TestLiveEndsWithItsContext(t *testing.T) {
	t.Parallel()
	g := newGallery(t, huge, func(o *liveOptions) { o.write = time.Minute })
	v := g.looks()
	g.dial(testEvent)
	start := time.Now()
	stopped := make(chan error)
	go func() { stopped <- g.stop() }()
	if code := v.closes(); code != closeReconnect {
		t.Errorf("closed with %d", code)
	}
	if err := <-stopped; err != nil || time.Since(start) > 30*time.Second { // not as long as one write may take
		t.Errorf("took %v: %v", time.Since(start), err)
	}
}

func TestLiveHasRoomForSoMany(t *testing.T) {
	t.Parallel()
	g := newGallery(t, 10, func(o *liveOptions) { o.most = 2 })
	first := g.looks()
	g.looks()
	if code := g.dial(testEvent).closes(); code != closeReconnect {
		t.Errorf("one too many is closed with %d", code)
	}
	_ = first.ws.Close()
	eventuallyTrue(t, "the viewer to be forgotten", func() bool { return g.hub.Connections() == 1 })
	g.looks()
}

func TestLiveLimitsConnectionsPerAddress(t *testing.T) {
	t.Parallel()
	g := newGallery(t, 10, func(o *liveOptions) { o.perAddress = 2 })
	first := g.looks()
	g.looks()
	if _, resp, err := (&websocket.Dialer{}).Dial(g.url+testEvent, nil); err == nil || resp == nil || resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one more than allowed: %v, %v", resp, err)
	}
	if n := metric(t, g.hub.crowded); n != 1 {
		t.Errorf("%v refusals are counted", n)
	}
	_ = first.ws.Close()
	eventuallyTrue(t, "the viewer to be forgotten", func() bool { return g.hub.Connections() == 1 })
	g.looks()
}

func TestLiveEndsTheSilentAndTheTalkative(t *testing.T) {
	t.Parallel()
	g := newGallery(t, 10, func(o *liveOptions) { o.ping, o.pong = time.Second, 5*time.Second })
	silent, answering, talkative, loud := g.looks(), g.looks(), g.looks(), g.looks()
	for range 30 {
		_ = talkative.ws.WriteMessage(websocket.TextMessage, []byte("hello")) // refused from some point on
	}
	if code := talkative.closes(); code != closePolicy {
		t.Errorf("who talks is closed with %d", code)
	}
	_ = loud.ws.WriteMessage(websocket.TextMessage, make([]byte, 513)) // refused
	if code := loud.closes(); code != websocket.CloseMessageTooBig {
		t.Errorf("who says too much is closed with %d", code)
	}
	silent.ws.SetPingHandler(func(string) error { return nil })
	pings := make(chan struct{}, 100)
	answer := answering.ws.PingHandler()
	answering.ws.SetPingHandler(func(s string) error {
		pings <- struct{}{}
		return answer(s)
	})
	go func() {
		for {
			if _, _, err := answering.ws.ReadMessage(); err != nil { // by the end of the test
				return
			}
		}
	}()
	_ = silent.ws.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		if _, _, err := silent.ws.ReadMessage(); err != nil {
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				t.Error("who answers no ping is never dropped")
			}
			break
		}
	}
	for range 4 {
		<-pings
	}
	eventuallyTrue(t, "only who answers pings to be left", func() bool { return g.hub.Connections() == 1 })
}

// Each event has viewers of its own, and nobody watches one that has none.
func TestLiveWatchesWhatSomebodyLooksAt(t *testing.T) {
	t.Parallel()
	g := newGallery(t, 10, nil)
	watched := func() int {
		g.hub.mu.Lock()
		defer g.hub.mu.Unlock()
		return len(g.hub.events)
	}
	var viewers []*onlooker
	for n := range 9 {
		v := g.dial(fmt.Sprint("event-", n%3))
		v.next()
		viewers = append(viewers, v)
	}
	if n := watched(); n != 3 {
		t.Errorf("%d events are watched", n)
	}
	for n, v := range viewers { // in an order that moves others about
		if n%3 > 0 {
			_ = v.ws.Close()
		}
	}
	eventuallyTrue(t, "one event to be watched", func() bool { return watched() == 1 && g.hub.Connections() == 3 })
	seq := g.change(checkout.Sold, 1)
	for n, v := range viewers {
		if n%3 == 0 {
			v.until(seq)
			_ = v.ws.Close()
		}
	}
	eventuallyTrue(t, "nothing to be watched", func() bool { return watched() == 0 })
}

// What is no socket is read by a goroutine, with the same result.
func TestLiveTellsWhoIsNotOnASocket(t *testing.T) {
	t.Parallel()
	g := newGalleryBehind(t, 10, nil, func(s *httptest.Server) { s.Listener = wrapped{s.Listener} })
	v := g.looks()
	v.until(g.change(checkout.Held, 1))
	v.sees(g)
	_ = v.ws.Close()
	eventuallyTrue(t, "the viewer to be forgotten", func() bool { return g.hub.Connections() == 0 })
}

// Not parallel: whatever runs at its end is the live map's.
func TestLiveLeavesNoGoroutineBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("life", func(t *testing.T) {
		g := newGallery(t, huge, func(o *liveOptions) { o.write = time.Minute })
		g.looks()
		g.dial(testEvent)
		_ = g.looks().ws.NetConn().Close() // gone without a word
	})
	nothingRuns(t, before)
}

// A viewer costs at most 12 KB, what the test's own end of the connection costs
// included.
func TestMemoryOfAViewer(t *testing.T) {
	n := 400
	if testing.Short() {
		n = 300
	}
	g := newGallery(t, 15_000, nil)
	conns := make([]net.Conn, 0, n)
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
	})
	address, _, _ := strings.Cut(strings.TrimPrefix(g.url, "ws://"), "/")
	begin := make([]byte, 256)
	dial := func() {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := fmt.Fprintf(c, "GET /live/%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", testEvent); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(begin); err != nil || !bytes.HasPrefix(begin[:n], []byte("HTTP/1.1 101 ")) {
			t.Fatalf("handshake: %.100s, %v", begin[:n], err)
		}
		_ = c.SetDeadline(time.Time{})
	}
	for range 50 { // what is there once is not counted
		dial()
	}
	eventuallyTrue(t, "they are all there", func() bool { return g.hub.Connections() == 50 })
	heapBefore, rssBefore := memory(t)
	for range n - 50 {
		dial()
	}
	each, resident := settled(t, func() (live, resident int64) {
		heapAfter, rssAfter := memory(t)
		return (heapAfter - heapBefore) / int64(n-50), (rssAfter - rssBefore) / int64(n-50)
	})
	if got := g.hub.Connections(); got != n {
		t.Fatalf("%d connections, want %d", got, n)
	}
	t.Logf("a viewer costs %d B of heap and stack, %d B of resident memory", each, resident)
	if each > most {
		t.Errorf("a viewer costs %d B, at most %d are allowed", each, most)
	}
}

// What one broadcast costs before it is written.
func BenchmarkLiveDelta(b *testing.B) {
	from := &checkout.View{Status: bytes.Repeat([]byte{'A'}, 50_000), Seq: 1}
	to := &checkout.View{Status: slices.Clone(from.Status), Seq: 2}
	to.Status[30_000] = 'H'
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := appendDelta(nil, from, to); !ok {
			b.Fatal("no delta")
		}
	}
}
