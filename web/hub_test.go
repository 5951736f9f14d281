package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"onsale/internal/fault"
	"onsale/internal/stack/stacktest"
	"onsale/waitroom"
	"onsale/waitroom/pass"
	"onsale/waitroom/redisstore"
)

const testEvent = "0190b0a0-0000-7000-8000-000000000001"

// hall is a room with a hub, on a miniredis of its own.
type hall struct {
	t     testing.TB
	redis *miniredis.Miniredis
	rooms *waitroom.Service
	keys  *pass.KeySet
	hub   *Hub
	url   string // of the WebSocket

	registry *prometheus.Registry
}

func roomSettings() waitroom.Settings {
	return waitroom.Settings{Event: testEvent, Name: "Night", State: waitroom.Open, Throttle: waitroom.Throttle{
		RatePerMinute: 1, Burst: 1000, MaxShoppers: 1000, Lease: time.Minute, ClaimWindow: time.Minute,
	}}
}

// newHall runs a hub that ticks fast. The shop is not well yet, so everybody
// waits.
func newHall(t testing.TB, change func(*hubOptions)) *hall {
	t.Helper()
	return newHallBehind(t, change, nil)
}

// newHallBehind is newHall with another server in front.
func newHallBehind(t testing.TB, change func(*hubOptions), front func(*httptest.Server)) *hall {
	t.Helper()
	return newHallOn(t, change, front, func(s waitroom.Store) waitroom.Store { return s })
}

// newHallOn is newHallBehind with something around the store.
func newHallOn(t testing.TB, change func(*hubOptions), front func(*httptest.Server), around func(waitroom.Store) waitroom.Store) *hall {
	t.Helper()
	h := &hall{t: t, redis: miniredis.NewMiniRedis(), keys: pass.Generate(), registry: prometheus.NewRegistry()}
	if err := h.redis.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.redis.Close)
	rdb := redis.NewClient(&redis.Options{Addr: h.redis.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	log := slog.New(slog.DiscardHandler)
	var err error
	h.rooms, err = waitroom.New(waitroom.Deps{
		Store: around(redisstore.New(rdb).WithOptions(redisstore.Options{Timeout: 10 * time.Second})), Keys: h.keys, Now: time.Now, Logger: log, Registerer: h.registry,
		Options: waitroom.Options{Tick: 5 * time.Millisecond, ShopGrace: time.Hour, ReturnWindow: time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.seed(roomSettings())
	o := defaultHubOptions()
	o.tick, o.hurry, o.calm = 20*time.Millisecond, time.Millisecond, 50*time.Millisecond
	if change != nil {
		change(&o)
	}
	h.hub = makeHub(h.rooms, h.keys, log, time.Now, o)
	if err := h.hub.register(h.registry); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- h.hub.Run(ctx) }()

	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.GET("/ws", func(c *gin.Context) {
		err := h.hub.serve(c, opening{event: testEvent, visitor: c.Query("visitor"), foreign: c.Query("origin") == "bad"})
		if err != nil {
			status := http.StatusServiceUnavailable
			if fault.Is(err, fault.NotFound) {
				status = http.StatusNotFound
			}
			c.String(status, err.Error())
		}
	})
	server := httptest.NewUnstartedServer(engine)
	if front != nil {
		front(server)
	}
	server.Start()
	h.url = "ws" + strings.TrimPrefix(server.URL, "http") + "/ws"
	t.Cleanup(func() {
		end, done := context.WithTimeout(context.Background(), 2*time.Second)
		defer done()
		h.hub.Shutdown(end)
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		server.Close()
	})
	return h
}

func (h *hall) seed(s waitroom.Settings) {
	h.t.Helper()
	if _, err := h.rooms.Seed(context.Background(), s); err != nil {
		h.t.Fatal(err)
	}
}

// join returns a visitor with a place.
func (h *hall) join() waitroom.Joined {
	h.t.Helper()
	j, err := h.rooms.Join(context.Background(), waitroom.JoinRequest{Event: testEvent})
	if err != nil {
		h.t.Fatal(err)
	}
	return j
}

// shopOpens lets the shop be well, and ticks the room until nobody is admitted.
func (h *hall) shopOpens() {
	h.t.Helper()
	if err := h.rooms.ShopOK(context.Background(), testEvent, -1, -1, 0); err != nil {
		h.t.Fatal(err)
	}
	if err := h.rooms.TickAll(context.Background()); err != nil {
		h.t.Fatal(err)
	}
}

// client is a browser's end of a WebSocket.
type client struct {
	t  testing.TB
	ws *websocket.Conn
}

func (h *hall) dial(query string) *client {
	h.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{subprotocol}, HandshakeTimeout: time.Minute}
	ws, resp, err := d.Dial(h.url+query, nil)
	if err != nil {
		h.t.Fatalf("dial: %v (%v)", err, resp)
	}
	h.t.Cleanup(func() { _ = ws.Close() })
	if ws.Subprotocol() != subprotocol {
		h.t.Errorf("subprotocol %q", ws.Subprotocol())
	}
	return &client{t: h.t, ws: ws}
}

func (h *hall) connect(visitor string) *client { h.t.Helper(); return h.dial("?visitor=" + visitor) }

// next reads the next frame.
func (c *client) next() waitroom.Me {
	c.t.Helper()
	_ = c.ws.SetReadDeadline(time.Now().Add(time.Minute))
	kind, text, err := c.ws.ReadMessage()
	if err != nil || kind != websocket.TextMessage {
		c.t.Fatalf("no frame: %d, %v", kind, err)
	}
	var me waitroom.Me
	if err := json.Unmarshal(text, &me); err != nil {
		c.t.Fatalf("frame %s: %v", text, err)
	}
	return me
}

// until reads frames until one is as wanted.
func (c *client) until(what string, ok func(waitroom.Me) bool) waitroom.Me {
	c.t.Helper()
	end := time.Now().Add(time.Minute)
	for time.Now().Before(end) {
		if me := c.next(); ok(me) {
			return me
		}
	}
	c.t.Fatalf("never told: %s", what)
	return waitroom.Me{}
}

// closes reads until the server closes, and returns the code.
func (c *client) closes() int {
	c.t.Helper()
	_ = c.ws.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		if _, _, err := c.ws.ReadMessage(); err != nil {
			if e, ok := errors.AsType[*websocket.CloseError](err); ok {
				return e.Code
			}
			c.t.Fatalf("ended without a close frame: %v", err)
		}
	}
}

func TestHubTellsWhereEverybodyStands(t *testing.T) {
	t.Parallel()
	h := newHall(t, nil)
	var joined []waitroom.Joined
	var clients []*client
	for range 5 {
		j := h.join()
		joined = append(joined, j)
		clients = append(clients, h.connect(j.Visitor))
	}
	for i, c := range clients {
		me := c.next()
		if me.Visitor != joined[i].Visitor || me.State != waitroom.Waiting || *me.Place != int64(i+1) || *me.Ahead != i ||
			me.Receipt == nil || *me.Receipt != *joined[i].Receipt {
			t.Errorf("first frame of %d: %+v", i, me)
		}
	}
	// The first leaves: everybody moves up, and is told.
	if _, err := h.rooms.Leave(t.Context(), testEvent, joined[0].Visitor); err != nil {
		t.Fatal(err)
	}
	clients[0].until("left", func(me waitroom.Me) bool { return me.State == waitroom.Left && me.Receipt == nil })
	for i, c := range clients[1:] {
		c.until("the new number", func(me waitroom.Me) bool { return *me.Ahead == i })
	}
	h.shopOpens()
	for _, c := range clients[1:] {
		me := c.until("ready", func(me waitroom.Me) bool { return me.State == waitroom.Ready })
		if me.ClaimBy == nil || me.Pass != nil || *me.Ahead != 0 {
			t.Errorf("ready: %+v", me)
		}
	}
	claimed, err := h.rooms.Claim(t.Context(), testEvent, joined[1].Visitor)
	if err != nil {
		t.Fatal(err)
	}
	me := clients[1].until("shopping", func(me waitroom.Me) bool { return me.State == waitroom.Shopping })
	if me.Pass == nil || *me.Pass != *claimed.Pass || me.LeaseEnds == nil {
		t.Errorf("the pushed pass differs from the claimed one: %+v", me)
	}
}

// surveyed is a store whose answer to one Survey is held up on its way.
type surveyed struct {
	waitroom.Store

	taken, passed chan struct{}
	once          *sync.Once
}

func (s surveyed) Survey(ctx context.Context, event string, q waitroom.Query) (waitroom.Survey, error) {
	survey, err := s.Store.Survey(ctx, event, q)
	s.once.Do(func() {
		close(s.taken)
		<-s.passed
	})
	return survey, err
}

// Who joins while the room is being looked at is not in what was seen. Their number
// is that of their join: one that is too low would stay, since it never goes up.
func TestHubKeepsTheNumbersOfNewcomers(t *testing.T) {
	t.Parallel()
	s := surveyed{taken: make(chan struct{}), passed: make(chan struct{}), once: new(sync.Once)}
	h := newHallOn(t, nil, nil, func(inner waitroom.Store) waitroom.Store {
		s.Store = inner
		return s
	})
	h.connect(h.join().Visitor)
	<-s.taken
	var clients []*client
	for range 3 {
		clients = append(clients, h.connect(h.join().Visitor))
	}
	close(s.passed)
	for i, c := range clients {
		for range 5 {
			if me := c.next(); me.State != waitroom.Waiting || *me.Ahead != i+1 {
				t.Errorf("newcomer %d is told %s, %d ahead", i+1, me.State, *me.Ahead)
			}
		}
	}
}

func TestHubTellsTheLobbyItsPlaces(t *testing.T) {
	t.Parallel()
	h := newHall(t, func(o *hubOptions) { o.sweep, o.lookups = 1, 3 }) // nobody is found in passing
	h.redis.FlushAll()
	s := roomSettings()
	s.State = waitroom.Lobby
	h.seed(s)
	var clients []*client
	for range 10 {
		c := h.connect(h.join().Visitor)
		if me := c.next(); me.State != waitroom.InLobby || me.Place != nil || me.Receipt == nil || me.Index == nil {
			t.Errorf("in the lobby: %+v", me)
		}
		clients = append(clients, c)
	}
	if err := h.rooms.Open(t.Context(), testEvent); err != nil {
		t.Fatal(err)
	}
	if err := h.rooms.TickAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, c := range clients {
		me := c.until("the place", func(me waitroom.Me) bool { return me.State == waitroom.Waiting })
		if *me.Place != int64(i+1) || *me.Ahead != i || me.Receipt == nil {
			t.Errorf("%d is told %+v", i, me)
		}
	}
}

func TestHubTellsAllConnectionsOfAVisitor(t *testing.T) {
	t.Parallel()
	h := newHall(t, func(o *hubOptions) { o.perVisitor = 2 })
	j := h.join()
	a, b := h.connect(j.Visitor), h.connect(j.Visitor)
	a.next()
	b.next()
	if code := h.connect(j.Visitor).closes(); code != closePolicy {
		t.Errorf("one connection too many: %d", code)
	}
	h.shopOpens()
	for _, c := range []*client{a, b} {
		c.until("ready", func(me waitroom.Me) bool { return me.State == waitroom.Ready })
	}
}

func TestHubTellsRoomChangesToEverybodyAtOnce(t *testing.T) {
	t.Parallel()
	h := newHall(t, func(o *hubOptions) { o.calm = time.Hour }) // nothing is told unless it changed
	c := h.connect(h.join().Visitor)
	h.shopOpens()
	c.until("ready", func(me waitroom.Me) bool { return me.State == waitroom.Ready })
	ctx := t.Context()
	if err := h.rooms.Message(ctx, testEvent, "Doors in ten <minutes> & counting"); err != nil {
		t.Fatal(err)
	}
	c.until("the message", func(me waitroom.Me) bool {
		return me.Room.Message != nil && *me.Room.Message == "Doors in ten <minutes> & counting"
	})
	if err := h.rooms.Pause(ctx, testEvent); err != nil {
		t.Fatal(err)
	}
	me := c.until("the pause", func(me waitroom.Me) bool { return me.Room.State == waitroom.Paused })
	if me.Room.Reason == nil || *me.Room.Reason != waitroom.ReasonPaused {
		t.Errorf("reason %v", me.Room.Reason)
	}
}

func TestHubClosesWhenTheRoomDoes(t *testing.T) {
	t.Parallel()
	h := newHall(t, nil)
	waiting := h.join()
	c := h.connect(waiting.Visitor)
	c.next()
	if err := h.rooms.Close(t.Context(), testEvent, "sold_out"); err != nil {
		t.Fatal(err)
	}
	me := c.until("the end", func(me waitroom.Me) bool { return me.State == waitroom.ShutOut })
	if me.Room.ClosedReason == nil || *me.Room.ClosedReason != "sold_out" {
		t.Errorf("room %+v", me.Room)
	}
	if code := c.closes(); code != closeOver {
		t.Errorf("closed with %d", code)
	}
	late := h.connect(waiting.Visitor)
	if me := late.next(); me.State != waitroom.ShutOut {
		t.Errorf("who comes later is told %+v", me)
	}
	if code := late.closes(); code != closeOver {
		t.Errorf("closed with %d", code)
	}
}

func TestHubRefusesStrangers(t *testing.T) {
	t.Parallel()
	hasty := newHall(t, func(o *hubOptions) { o.auth = 100 * time.Millisecond })
	if code := hasty.dial("").closes(); code != closeUnknown {
		t.Errorf("no token in time: %d", code)
	}
	h := newHall(t, func(o *hubOptions) { o.auth = time.Minute })
	if code := h.connect(pass.NewVisitor()).closes(); code != closeUnknown {
		t.Errorf("unknown visitor: %d", code)
	}
	if code := h.dial("?origin=bad").closes(); code != closeOrigin {
		t.Errorf("foreign origin: %d", code)
	}
	known := h.join()
	token := known.VisitorToken
	other := pass.Generate().SignVisitor(known.Visitor, time.Now().Add(time.Hour))
	for _, c := range []struct {
		name, frame string
		kind, want  int
	}{
		{"forged token", fmt.Sprintf(`{"token":%q}`, other), websocket.TextMessage, closeUnknown},
		{"receipt for a token", fmt.Sprintf(`{"token":%q}`, *known.Receipt), websocket.TextMessage, closeUnknown},
		{"empty", ``, websocket.TextMessage, closePolicy},
		{"no JSON", `hello`, websocket.TextMessage, closePolicy},
		{"unknown field", fmt.Sprintf(`{"token":%q,"x":1}`, token), websocket.TextMessage, closePolicy},
		{"two values", fmt.Sprintf(`{"token":%q}{}`, token), websocket.TextMessage, closePolicy},
		{"wrong type", `{"token":[]}`, websocket.TextMessage, closePolicy},
		{"binary", fmt.Sprintf(`{"token":%q}`, token), websocket.BinaryMessage, closePolicy},
		{"too long", `{"token":"` + strings.Repeat("x", 3000) + `"}`, websocket.TextMessage, websocket.CloseMessageTooBig},
	} {
		ws := h.dial("")
		if err := ws.ws.WriteMessage(c.kind, []byte(c.frame)); err != nil {
			t.Fatal(err)
		}
		if code := ws.closes(); code != c.want {
			t.Errorf("%s: closed with %d, want %d", c.name, code, c.want)
		}
	}
	good := h.dial("")
	if err := good.ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"token":%q}`, token)); err != nil {
		t.Fatal(err)
	}
	if me := good.next(); me.Visitor != known.Visitor {
		t.Errorf("with a token in the first frame: %+v", me)
	}
}

func TestHubEndsChatter(t *testing.T) {
	t.Parallel()
	h := newHall(t, nil)
	c := h.connect(h.join().Visitor)
	c.next()
	for range 2 { // a few are forgiven
		if err := c.ws.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	c.next()
	for range 30 {
		_ = c.ws.WriteMessage(websocket.TextMessage, []byte("hello")) // refused from some point on
	}
	if code := c.closes(); code != closePolicy {
		t.Errorf("closed with %d", code)
	}
}

func TestHubDropsSlowReaders(t *testing.T) {
	t.Parallel()
	h := newHall(t, func(o *hubOptions) {
		o.tick, o.calm, o.write, o.sendBuffer = time.Millisecond, time.Nanosecond, 2*time.Second, 1 // the quick one is never so late
		o.farewell = time.Minute
	})
	// A long message fills the buffers sooner.
	if err := h.rooms.Message(t.Context(), testEvent, strings.Repeat("m", 500)); err != nil {
		t.Fatal(err)
	}
	slow, fast := h.connect(h.join().Visitor), h.connect(h.join().Visitor)
	h.shopOpens() // who is ready is told every o.calm
	end := time.Now().Add(time.Minute)
	for metric(t, h.hub.slow) == 0 {
		if time.Now().After(end) {
			t.Fatal("a reader that reads nothing is never dropped")
		}
		fast.next() // is told all the time
	}
	if code := slow.closes(); code != closeSlow {
		t.Errorf("closed with %d", code)
	}
}

func TestHubEndsTheSilent(t *testing.T) {
	t.Parallel()
	h := newHall(t, func(o *hubOptions) { o.ping, o.pong = time.Second, 5*time.Second })
	answering, silent := h.connect(h.join().Visitor), h.connect(h.join().Visitor)
	silent.ws.SetPingHandler(func(string) error { return nil })
	pinged := make(chan struct{}, 10)
	answer := answering.ws.PingHandler()
	answering.ws.SetPingHandler(func(s string) error {
		pinged <- struct{}{}
		return answer(s)
	})
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for len(pinged) < 4 {
			if _, _, err := answering.ws.ReadMessage(); err != nil {
				t.Errorf("who answers pings was dropped: %v", err)
				return
			}
		}
	}()
	_ = silent.ws.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		if _, _, err := silent.ws.ReadMessage(); err != nil {
			if ne, ok := errors.AsType[interface {
				error
				Timeout() bool
			}](err); ok && ne.Timeout() {
				t.Error("who answers no ping is never dropped")
			}
			break
		}
	}
	<-stop
}

func TestHubOutlivesTheStore(t *testing.T) {
	t.Parallel()
	h := newHall(t, nil)
	for range 3 {
		h.join()
	}
	j := h.join()
	c := h.connect(j.Visitor)
	if me := c.next(); *me.Ahead != 3 {
		t.Fatalf("%+v", me)
	}
	h.redis.Close()
	d := websocket.Dialer{}
	if _, resp, err := d.Dial(h.url+"?visitor="+j.Visitor, nil); err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a new connection while the store is down: %v, %v", resp, err)
	}
	if err := h.redis.Restart(); err != nil {
		t.Fatal(err)
	}
	h.shopOpens()
	c.until("ready after the outage", func(me waitroom.Me) bool { return me.State == waitroom.Ready && *me.Place == *j.Place })
}

func TestHubGivesPlacesBackWhenTheStoreForgetsThem(t *testing.T) {
	t.Parallel()
	h := newHall(t, nil)
	var joined []waitroom.Joined
	var clients []*client
	for range 20 {
		j := h.join()
		c := h.connect(j.Visitor)
		c.next()
		joined, clients = append(joined, j), append(clients, c)
	}
	h.redis.FlushAll()
	s := roomSettings()
	s.Epoch = 1
	h.seed(s) // as the service does from its checkpoint
	for i, c := range clients {
		c.until("anything", func(waitroom.Me) bool { return true })
		want := joined[i]
		end := time.Now().Add(time.Minute)
		for {
			v, err := h.rooms.LookUp(t.Context(), testEvent, want.Visitor)
			if err == nil && v.Place == *want.Place && v.State == waitroom.Waiting {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("visitor %d: %+v, %v; want place %d", i, v, err, *want.Place)
			}
			<-time.After(time.Millisecond)
		}
	}
	if late := h.join(); *late.Place != 21 {
		t.Errorf("a newcomer gets place %d", *late.Place)
	}
}

func TestHubShutsDownWithinItsTime(t *testing.T) {
	t.Parallel()
	h := newHall(t, nil)
	var clients []*client
	for range 120 {
		clients = append(clients, h.connect(h.join().Visitor))
	}
	stranger := h.dial("") // has not said who they are
	codes := make(chan int, len(clients)+1)
	for _, c := range append(clients, stranger) {
		go func() { codes <- c.closes() }()
	}
	const limit = 6 * time.Second
	delays := stacktest.Delays(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	h.hub.Shutdown(ctx)
	if took := time.Since(start) - delays(); took > limit+time.Second {
		t.Errorf("took %v", took)
	}
	for range len(clients) + 1 {
		if code := <-codes; code != closeReconnect {
			t.Errorf("closed with %d", code)
		}
	}
	if n := h.hub.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	d := websocket.Dialer{}
	if _, resp, err := d.Dial(h.url, nil); err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a connection after the end: %v, %v", resp, err)
	}
}

// The number never goes up on one connection, though somebody comes back to a
// place before us.
func TestHubNeverTellsAHigherNumber(t *testing.T) {
	t.Parallel()
	h := newHall(t, nil)
	before := h.join()
	j := h.join()
	c := h.connect(j.Visitor)
	if me := c.next(); *me.Ahead != 1 {
		t.Fatalf("%+v", me)
	}
	if _, err := h.rooms.Leave(t.Context(), testEvent, before.Visitor); err != nil {
		t.Fatal(err)
	}
	c.until("nobody ahead", func(me waitroom.Me) bool { return *me.Ahead == 0 })
	receipt := h.keys.SignReceipt(pass.Receipt{Visitor: pass.NewVisitor(), Event: testEvent, Place: 1, Epoch: 1, Lane: 4})
	if back, err := h.rooms.Join(t.Context(), waitroom.JoinRequest{Event: testEvent, Receipt: receipt}); err != nil || *back.Place != 1 {
		t.Fatalf("%+v, %v", back, err)
	}
	for range 5 {
		if me := c.next(); *me.Ahead != 0 {
			t.Errorf("told %d ahead", *me.Ahead)
		}
	}
}

func metric(t testing.TB, c prometheus.Collector) float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("Gather: %v", err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

func FuzzTokenFrame(f *testing.F) {
	f.Add([]byte(`{"token":"a.b.c"}`))
	f.Add([]byte(`{"token":1}`))
	f.Add([]byte(`{}{}`))
	f.Add([]byte("\xff{"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		token, err := tokenFrame(frame)
		if err != nil && (token != "" || !fault.Is(err, fault.Invalid)) {
			t.Errorf("tokenFrame(%q) = %q, %v", frame, token, err)
		}
		if err == nil && !json.Valid(frame) {
			t.Errorf("tokenFrame(%q) accepts what is not JSON", frame)
		}
	})
}

// nothingRuns waits until no goroutine is left but those of before.
func nothingRuns(t testing.TB, before goleak.Option) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if err = goleak.Find(before); err == nil {
			return
		}
	}
	t.Error(err)
}

// Not parallel: whatever runs at its end is the hub's.
func TestHubLeavesNoGoroutineBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("life", func(t *testing.T) {
		h := newHall(t, nil)
		c := h.connect(h.join().Visitor)
		c.next()
		h.dial("")                                     // never says who they are
		_ = h.connect(h.join().Visitor).ws.Close()     // gone without a word
		h.connect(pass.NewVisitor()).closes()          // unknown
		_ = h.dial("?origin=bad").ws.NetConn().Close() // foreign, and gone
	})
	nothingRuns(t, before)
}
