package web

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"

	"onsale/checkout"
	"onsale/internal/fault"
)

// The live seat map: one snapshot to each viewer, then the same delta to all.

const (
	liveEvery   = 250 * time.Millisecond // deltas are gathered this long
	liveWrite   = 3 * time.Second
	livePing    = 25 * time.Second
	livePong    = 60 * time.Second
	liveMailbox = 8 // deltas a slow viewer may be behind before they start anew
	mostViewers = 15000
)

// twoBits packs status bytes four to a byte, lowest bits first: 0 available,
// 1 held, 2 sold, 3 blocked.
func twoBits(status []byte) []byte {
	packed := make([]byte, (len(status)+3)/4)
	for o, b := range status {
		packed[o/4] |= stateNumber(b) << (o % 4 * 2)
	}
	return packed
}

func stateNumber(b byte) byte {
	switch checkout.TicketState(b) {
	case checkout.Available:
		return 0
	case checkout.Held:
		return 1
	case checkout.Sold:
		return 2
	default:
		return 3
	}
}

type snapshotFrame struct {
	Type   string `json:"type"`
	Seq    int64  `json:"seq"`
	Total  int    `json:"total"`
	Status string `json:"status"` // base64 of twoBits
}

type deltaFrame struct {
	Type    string   `json:"type"`
	Seq     int64    `json:"seq"`
	Prev    int64    `json:"prev"`
	Changes [][2]int `json:"changes"` // ordinal, state
}

func snapshot(v *checkout.View) snapshotFrame {
	return snapshotFrame{"snapshot", v.Seq, len(v.Status), base64.StdEncoding.EncodeToString(twoBits(v.Status))}
}

// delta lists what changed from one view to the next; ok is false when they are
// not of the same inventory.
func delta(from, to *checkout.View) (d deltaFrame, ok bool) {
	if len(from.Status) != len(to.Status) || to.Seq < from.Seq {
		return d, false
	}
	d = deltaFrame{Type: "delta", Seq: to.Seq, Prev: from.Seq}
	for o := range to.Status {
		if from.Status[o] != to.Status[o] {
			d.Changes = append(d.Changes, [2]int{o, int(stateNumber(to.Status[o]))})
		}
	}
	return d, true
}

// publicView is the inventory of the event that the path names.
func (s *Server) publicView(c *gin.Context) (*checkout.View, error) {
	e, err := s.publicEvent(c)
	if err != nil {
		return nil, err
	}
	return s.Inventory.View(c.Request.Context(), e.ID)
}

func (s *Server) availability(c *gin.Context) {
	v, err := s.publicView(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	b, err := json.Marshal(snapshot(v))
	if err != nil {
		s.fail(c, err)
		return
	}
	etagged(c, b, "application/json; charset=utf-8", "public, max-age=1")
}

func (s *Server) liveMap(c *gin.Context) {
	event, err := id(c, "id")
	if err != nil {
		s.fail(c, err)
		return
	}
	if !s.originAllowed(c.Request) {
		s.fail(c, fault.New(fault.Forbidden, "pages of this origin may not connect"))
		return
	}
	v, err := s.publicView(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	if conn := s.upgradeViewer(c); conn != nil {
		s.live.add(event, conn, v)
	}
}

var viewerUpgrader = websocket.Upgrader{
	ReadBufferSize: 256, WriteBufferSize: 1024, WriteBufferPool: &sync.Pool{},
	HandshakeTimeout: 5 * time.Second,
	CheckOrigin:      func(*http.Request) bool { return true }, // originAllowed has checked
}

// upgradeViewer returns nil when the request was no good handshake, which it
// has answered then.
func (s *Server) upgradeViewer(c *gin.Context) *websocket.Conn {
	conn, err := upgrade(viewerUpgrader, c)
	if err != nil {
		s.fail(c, err)
	}
	return conn
}

// upgrade makes a WebSocket of the request. It returns upgradeRequired for other
// requests and fault.Invalid for a broken handshake, neither answered yet; and
// nothing at all when the connection is lost meanwhile.
func upgrade(u websocket.Upgrader, c *gin.Context) (*websocket.Conn, error) {
	if err := wantsWebSocket(c); err != nil {
		return nil, err
	}
	var refused error
	u.Error = func(_ http.ResponseWriter, _ *http.Request, _ int, reason error) {
		refused = fault.Wrap(reason, fault.Invalid, "the WebSocket handshake is not valid: %s", strings.TrimPrefix(reason.Error(), "websocket: "))
	}
	conn, err := u.Upgrade(c.Writer, c.Request, nil)
	if err != nil {
		return nil, refused
	}
	return conn, nil
}

func wantsWebSocket(c *gin.Context) error {
	if c.IsWebsocket() {
		return nil
	}
	c.Header("Upgrade", "websocket")
	return fault.New(upgradeRequired, "this address speaks WebSocket only")
}

// liveHub broadcasts the seat maps that somebody on this node looks at.
type liveHub struct {
	s      *Server
	mu     sync.Mutex
	maps   map[string]*liveEvent
	count  int
	closed bool
	wg     sync.WaitGroup
}

type liveEvent struct {
	viewers map[*viewer]struct{}
	last    *checkout.View
	stop    context.CancelFunc
}

// viewer is one connection. Its writer drains the mailbox; its reader only
// notices that the client has gone.
type viewer struct {
	conn *websocket.Conn
	mail chan *websocket.PreparedMessage
	once sync.Once
	code int
}

func newLiveHub(s *Server) *liveHub {
	return &liveHub{s: s, maps: make(map[string]*liveEvent)}
}

func (v *viewer) end(code int) {
	v.once.Do(func() {
		v.code = code
		close(v.mail)
	})
}

func (h *liveHub) add(event string, conn *websocket.Conn, first *checkout.View) {
	h.mu.Lock()
	if h.closed || h.count >= mostViewers {
		h.mu.Unlock()
		closeNow(conn, closeReconnect, "try again soon")
		return
	}
	m := h.maps[event]
	if m == nil {
		ctx, stop := context.WithCancel(context.Background()) // ended by the last viewer, or shutdown
		m = &liveEvent{viewers: make(map[*viewer]struct{}), last: first, stop: stop}
		h.maps[event] = m
		h.wg.Add(1)
		go h.watch(ctx, event, m)
	}
	v := &viewer{conn: conn, mail: make(chan *websocket.PreparedMessage, liveMailbox)}
	if msg := prepare(snapshot(m.last)); msg != nil {
		v.mail <- msg
	}
	m.viewers[v] = struct{}{}
	h.count++
	h.mu.Unlock()

	h.wg.Add(2)
	go h.write(v)
	go h.read(event, m, v)
}

// read ends with the connection and takes the viewer off the map.
func (h *liveHub) read(event string, m *liveEvent, v *viewer) {
	defer h.wg.Done()
	v.conn.SetReadLimit(512)
	_ = v.conn.SetReadDeadline(time.Now().Add(livePong)) // fails only on a dead connection
	v.conn.SetPongHandler(func(string) error { return v.conn.SetReadDeadline(time.Now().Add(livePong)) })
	for {
		if _, _, err := v.conn.NextReader(); err != nil {
			break
		}
	}
	h.mu.Lock()
	delete(m.viewers, v)
	h.count--
	if len(m.viewers) == 0 && h.maps[event] == m {
		delete(h.maps, event)
		m.stop()
	}
	v.end(websocket.CloseNormalClosure)
	h.mu.Unlock()
}

func (h *liveHub) write(v *viewer) {
	defer h.wg.Done()
	ping := time.NewTicker(livePing)
	defer ping.Stop()
	for {
		select {
		case msg, ok := <-v.mail:
			if !ok {
				closeNow(v.conn, v.code, "")
				return
			}
			_ = v.conn.SetWriteDeadline(time.Now().Add(liveWrite))
			if err := v.conn.WritePreparedMessage(msg); err != nil {
				_ = v.conn.Close() // the reader notices and cleans up
				drain(v.mail)
				return
			}
		case <-ping.C:
			if err := v.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(liveWrite)); err != nil {
				_ = v.conn.Close()
				drain(v.mail)
				return
			}
		}
	}
}

// drain empties a mailbox whose owner is on the way out.
func drain(mail <-chan *websocket.PreparedMessage) {
	for range mail {
	}
}

func closeNow(conn *websocket.Conn, code int, reason string) {
	_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
	_ = conn.Close()
}

// watch sends the deltas of one event while somebody looks.
func (h *liveHub) watch(ctx context.Context, event string, m *liveEvent) {
	defer h.wg.Done()
	changes, err := h.s.Inventory.Changes(ctx, event)
	if err != nil {
		h.s.log.WarnContext(ctx, "no signals of seat changes; looking once a second", slog.Any("error", err))
	}
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-changes:
			if !ok {
				changes = nil
			}
		case <-beat.C:
		}
		if v, err := h.s.Inventory.Refresh(ctx, event); err == nil {
			h.broadcast(m, v)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(liveEvery):
		}
	}
}

func (h *liveHub) broadcast(m *liveEvent, v *checkout.View) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.Seq == m.last.Seq {
		return
	}
	var msg *websocket.PreparedMessage
	if d, ok := delta(m.last, v); ok {
		msg = prepare(d)
	} else {
		msg = prepare(snapshot(v))
	}
	m.last = v
	if msg == nil {
		return
	}
	for viewer := range m.viewers {
		select {
		case viewer.mail <- msg:
		default:
			delete(m.viewers, viewer) // too slow; a fresh snapshot serves them better
			viewer.end(closeSlow)
		}
	}
}

func prepare(frame any) *websocket.PreparedMessage {
	b, err := json.Marshal(frame)
	if err != nil {
		return nil
	}
	msg, err := websocket.NewPreparedMessage(websocket.TextMessage, b)
	if err != nil {
		return nil
	}
	return msg
}

func (h *liveHub) run(ctx context.Context) error {
	<-ctx.Done()
	h.shutdown()
	h.wg.Wait()
	return nil
}

// shutdown sends all viewers elsewhere.
func (h *liveHub) shutdown() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, m := range h.maps {
		m.stop()
		for v := range m.viewers {
			v.end(closeReconnect)
		}
	}
}
