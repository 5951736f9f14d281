package web

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"

	"onsale/internal/audit"
	"onsale/internal/fault"
)

const (
	adminEventsPath = "/v1/admin/events"
	adminEventBytes = 32 << 20 // an event with its plan inside
)

// Audit keeps what operators did; *audit.Log is one.
type Audit interface {
	Record(ctx context.Context, e audit.Entry) error
	Entries(ctx context.Context, subject, cursor string, limit int) (entries []audit.Entry, next string, err error)
}

func (s *Server) adminRoutes(r gin.IRouter) {
	a := r.Group("/v1/admin", s.requireAdmin)
	a.GET("/rooms", s.adminRooms)
	a.GET("/rooms/:event", s.adminRoom)
	a.PATCH("/rooms/:event", s.adminConfigure)
	a.POST("/rooms/:event/:action", s.adminRoomAction)
	a.POST("/rooms/:event/invites", s.adminInvites)
	a.GET("/rooms/:event/visitors/:visitor", s.adminVisitor)
	a.POST("/rooms/:event/visitors/:visitor", s.adminMoveVisitor)
	a.GET("/orders", s.adminOrders)
	a.GET("/orders/:id", s.adminOrder)
	a.POST("/orders/:id/refund", s.adminRefund)
	a.POST("/orders/:id/exchange", s.adminExchange)
	a.POST("/events/:id/cancel", s.adminCancelEvent)
	a.GET("/events/:id/cancellation", s.adminCancellation)
	a.GET("/payments", s.adminPayments)
	a.POST("/payments/:id/look", s.adminLook)
	a.GET("/refunds", s.adminRefunds)
	a.GET("/reconciliation", s.adminReconciliation)
	a.GET("/exports/:table", s.adminExport)
	a.GET("/audit", s.adminAudit)
	a.GET("/events/:id/document", s.adminEventDocument)
	a.GET("/events/:id/channels", s.adminChannels)
	a.POST("/events/:id/channels", s.adminCreateChannel)
	a.POST("/events/:id/channels/:channel/allot", s.adminAllot)
	a.POST("/events/:id/channels/:channel/release", s.adminUnallot)
	a.POST("/events/:id/channels/:channel/invites", s.adminChannelInvites)
	s.promoRoutes(a)
	r.GET("/v1/admin/live", s.adminLive) // asks for the token itself: browsers cannot send headers
}

// record writes to the audit log. What cannot be audited is not done.
func (s *Server) record(c *gin.Context, action, subject string, detail any) error {
	if s.Audit == nil {
		return nil
	}
	b, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	return s.Audit.Record(c.Request.Context(), audit.Entry{
		At: s.Clock(), Actor: actor(c), Action: action, Subject: subject, Detail: b,
	})
}

// recordOperator records what an operator does in a buyer's place.
func (s *Server) recordOperator(c *gin.Context, action, subject string, detail any) error {
	token, err := bearer(c)
	if err != nil || !s.isAdmin(token) {
		return err
	}
	return s.record(c, action, subject, detail)
}

// shortText bounds what an operator writes, before anything is done with it.
func shortText(name, text string, most int) error {
	if utf8.RuneCountInString(text) > most {
		return fault.New(fault.Invalid, "%s is longer than %d characters", name, most)
	}
	if hasControl(strings.ReplaceAll(text, "\n", " ")) {
		return fault.New(fault.Invalid, "%s has control characters", name)
	}
	return nil
}

func hasControl(s string) bool {
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == 0xfffd {
			return true
		}
	}
	return false
}

// orNull makes an empty cursor null.
func orNull(cursor string) *string {
	if cursor == "" {
		return nil
	}
	return &cursor
}

func (s *Server) adminAudit(c *gin.Context) {
	if err := knownQuery(c, "subject", "limit", "cursor"); err != nil {
		s.fail(c, err)
		return
	}
	limit, err := limitOf(c, 50, 200)
	if err == nil {
		err = shortText("query parameter \"subject\"", c.Query("subject"), 100)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	entries, next, err := s.Audit.Entries(c.Request.Context(), c.Query("subject"), c.Query("cursor"), limit)
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, gin.H{"entries": entries, "next_cursor": orNull(next)})
}

// adminHub feeds the consoles that are connected to this node.
type adminHub struct {
	s      *Server
	mu     sync.Mutex
	mail   map[chan []byte]struct{}
	closed bool
	wg     sync.WaitGroup
}

func newAdminHub(s *Server) *adminHub { return &adminHub{s: s, mail: make(map[chan []byte]struct{})} }

const mostConsoles = 100

const (
	consoleWrite = 3 * time.Second
	consolePing  = 25 * time.Second
	consolePong  = 60 * time.Second
)

// adminLive sends a summary each second. The token comes in the Authorization
// header, or in the first frame: {"token":"…"}.
func (s *Server) adminLive(c *gin.Context) {
	if !s.originAllowed(c.Request) {
		s.fail(c, fault.New(fault.Forbidden, "pages of this origin may not connect"))
		return
	}
	token, err := bearer(c)
	if err == nil && token != "" && !s.isAdmin(token) {
		err = fault.New(fault.Unauthorized, "an admin token is needed")
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	conn := s.upgradeConsole(c)
	if conn == nil {
		return
	}
	conn.SetReadLimit(mostToken + 64)
	if token == "" {
		var first struct {
			Token string `json:"token"`
		}
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if err := conn.ReadJSON(&first); err != nil || !s.isAdmin(first.Token) {
			closeNow(conn, 4003, "an admin token is needed")
			return
		}
	}
	s.admin.serve(conn)
}

var consoleUpgrader = websocket.Upgrader{
	ReadBufferSize: 256, WriteBufferSize: 1024, WriteBufferPool: &sync.Pool{},
	HandshakeTimeout: 5 * time.Second,
	CheckOrigin:      func(*http.Request) bool { return true }, // originAllowed has checked
}

// upgradeConsole makes a WebSocket of the request. It returns nil for other
// requests and broken handshakes, which it has answered then, and when the
// connection is lost meanwhile.
func (s *Server) upgradeConsole(c *gin.Context) *websocket.Conn {
	if err := wantsWebSocket(c); err != nil {
		s.fail(c, err)
		return nil
	}
	u := consoleUpgrader
	u.Error = func(_ http.ResponseWriter, _ *http.Request, _ int, reason error) {
		s.fail(c, fault.Wrap(reason, fault.Invalid, "the WebSocket handshake is not valid: %s", strings.TrimPrefix(reason.Error(), "websocket: ")))
	}
	conn, err := u.Upgrade(c.Writer, c.Request, nil)
	if err != nil {
		return nil
	}
	return conn
}

func closeNow(conn *websocket.Conn, code int, reason string) {
	_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
	_ = conn.Close()
}

func (h *adminHub) serve(conn *websocket.Conn) {
	mail := make(chan []byte, 1)
	h.mu.Lock()
	if h.closed || len(h.mail) >= mostConsoles {
		h.mu.Unlock()
		closeNow(conn, closeReconnect, "try again soon")
		return
	}
	h.mail[mail] = struct{}{}
	h.wg.Add(1)
	h.mu.Unlock()

	go func() { // ends with the connection
		defer h.wg.Done()
		_ = conn.SetReadDeadline(time.Now().Add(consolePong))
		conn.SetPongHandler(func(string) error { return conn.SetReadDeadline(time.Now().Add(consolePong)) })
		for {
			if _, _, err := conn.NextReader(); err != nil {
				break
			}
		}
		h.drop(mail)
	}()
	ping := time.NewTicker(consolePing)
	defer ping.Stop()
	for {
		var err error
		select {
		case frame, ok := <-mail:
			if !ok {
				closeNow(conn, closeReconnect, "")
				return
			}
			_ = conn.SetWriteDeadline(time.Now().Add(consoleWrite))
			err = conn.WriteMessage(websocket.TextMessage, frame)
		case <-ping.C:
			err = conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(consoleWrite))
		}
		if err != nil {
			_ = conn.Close()
			h.drop(mail)
			return
		}
	}
}

func (h *adminHub) drop(mail chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.mail[mail]; ok {
		delete(h.mail, mail)
		close(mail)
	}
}

func (h *adminHub) run(ctx context.Context) error {
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			h.shutdown()
			h.wg.Wait()
			return nil
		case <-beat.C:
		}
		h.mu.Lock()
		watched := len(h.mail) > 0
		h.mu.Unlock()
		if !watched {
			continue
		}
		if frame := h.frame(ctx); frame != nil {
			h.broadcast(frame)
		}
	}
}

func (h *adminHub) frame(ctx context.Context) []byte {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	now := h.s.Clock()
	lately := h.s.metrics.recent.summary(now, time.Minute)
	live := struct {
		At        time.Time  `json:"at"`
		Rooms     []roomView `json:"rooms"`
		Orders    int        `json:"orders_per_minute"`
		P95       int64      `json:"p95_ms"`
		Errors    int        `json:"errors_per_minute"`
		Reachable bool       `json:"reachable"` // the queue and the ticket store both answered
	}{At: now, Rooms: []roomView{}, P95: lately.p95.Milliseconds(), Errors: lately.failed, Reachable: true}
	views, err := h.s.roomViews(ctx)
	if err != nil {
		live.Reachable = false
	} else {
		live.Rooms = views
	}
	if live.Orders, err = h.s.Shop.SalesSince(ctx, time.Minute); err != nil {
		live.Reachable = false
	}
	b, err := json.Marshal(live)
	if err != nil {
		return nil
	}
	return b
}

func (h *adminHub) broadcast(frame []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for mail := range h.mail {
		select {
		case <-mail: // the newest replaces one that was not fetched
		default:
		}
		select {
		case mail <- frame:
		default:
		}
	}
}

func (h *adminHub) shutdown() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for mail := range h.mail {
		delete(h.mail, mail)
		close(mail)
	}
}
