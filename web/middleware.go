package web

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/internal/fault"
	"onsale/waitroom"
)

const requestIDHeader = "X-Request-Id"

// requestID gives every request a name that the answer, the log and a problem
// document share. One that a proxy made is kept if it is an id and not prose.
func (s *Server) requestID(c *gin.Context) {
	c.Writer.Header()[requestIDHeader] = s.requestName(c.Request)
	c.Next()
}

func (s *Server) requestName(r *http.Request) []string {
	if given := r.Header[requestIDHeader]; len(given) > 0 && plainID(given[0]) {
		return given[:1]
	}
	return []string{s.requests.next()}
}

// requestIDs names requests: a random name of this process and a count. That is
// as unique as a UUID, and costs a surge nothing.
type requestIDs struct {
	process string
	count   atomic.Uint64
}

func newRequestIDs() *requestIDs { return &requestIDs{process: rand.Text()[:12] + "-"} }

func (r *requestIDs) next() string {
	return string(strconv.AppendUint(append(make([]byte, 0, 32), r.process...), r.count.Add(1), 36))
}

// requestID is the name of the request that is being answered.
func requestID(c *gin.Context) string {
	if names := c.Writer.Header()[requestIDHeader]; len(names) > 0 {
		return names[0]
	}
	return ""
}

func plainID(s string) bool {
	if len(s) < 8 || len(s) > 64 {
		return false
	}
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_' {
			return false
		}
	}
	return true
}

// observe measures and logs a request. Query strings and bodies stay out of
// the log: they may carry secrets.
func (s *Server) observe(c *gin.Context) {
	start := s.Clock()
	c.Next()
	took := s.Clock().Sub(start)
	route := c.FullPath()
	if route == "" {
		route = "none"
	}
	status := c.Writer.Status()
	s.metrics.request(c.Request.Method, route, status).Observe(took.Seconds())
	s.metrics.recent.record(start, took, status >= http.StatusInternalServerError)
	level := slog.LevelDebug
	if status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	if !s.log.Enabled(c.Request.Context(), level) {
		return
	}
	s.log.LogAttrs(c.Request.Context(), level, "request",
		slog.String("request_id", requestID(c)), slog.String("method", c.Request.Method),
		slog.String("path", c.Request.URL.Path), slog.Int("status", status), slog.Duration("took", took))
}

// recover turns a panic into a 500 that says nothing of its insides.
func (s *Server) recover(c *gin.Context) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p)
		}
		s.log.ErrorContext(c.Request.Context(), "panic", slog.String("request_id", requestID(c)),
			slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
		if !c.Writer.Written() {
			s.fail(c, fault.New(fault.Internal, "the error is logged under this request id"))
		}
	}()
	c.Next()
}

// headers sets what every answer carries. Pages replace the policy by theirs.
func (s *Server) headers(c *gin.Context) {
	s.everyHeader(c.Writer.Header())
	c.Next()
}

func (s *Server) everyHeader(h http.Header) {
	for i := range everyAnswer {
		h[everyAnswer[i].name] = everyAnswer[i].values
	}
	if s.secure {
		h["Strict-Transport-Security"] = onlyTLS
	}
}

var onlyTLS = []string{"max-age=31536000"}

// everyAnswer are headers by their canonical names. All answers share the
// values: who wants another sets it, and does not change it.
var everyAnswer = [...]struct {
	name   string
	values []string
}{
	{"X-Content-Type-Options", []string{"nosniff"}},
	{"Referrer-Policy", []string{"strict-origin-when-cross-origin"}},
	{"Cross-Origin-Opener-Policy", []string{"same-origin"}},
	{"Content-Security-Policy", []string{"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}},
}

// limits bounds the request body. Operators may send larger documents.
func (s *Server) limits(c *gin.Context) {
	if c.Request.Body != nil {
		most := s.BodyBytes
		switch c.FullPath() {
		case adminEventsPath, adminPlansPath:
			most = max(most, adminEventBytes)
		case adminEventsPath + "/:id", adminSeriesPath + "/:id":
			if c.Request.Method == http.MethodPut {
				most = max(most, adminEventBytes)
			}
		case importTicketsPath:
			most = max(most, importTicketsBytes)
		case scanBatchPath:
			most = max(most, scanBatchBytes)
		}
		if c.FullPath() == webhookPath {
			most = webhookBytes
		}
		c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, most)
	}
	c.Next()
}

// sameOrigin keeps other sites' pages from writing with a visitor's cookies,
// and answers the allowed ones' CORS questions.
func (s *Server) sameOrigin(c *gin.Context) {
	if o := c.GetHeader("Origin"); o != "" && s.origins[o] {
		h := c.Writer.Header()
		h.Set("Access-Control-Allow-Origin", o)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", "ETag, Retry-After, X-Request-Id, Location")
		h.Add("Vary", "Origin")
		if c.Request.Method == http.MethodOptions && c.GetHeader("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, If-None-Match")
			h.Set("Access-Control-Max-Age", "600")
			c.AbortWithStatus(http.StatusNoContent)
			return
		}
	}
	if err := s.crossOrigin.Check(c.Request); err != nil {
		s.fail(c, fault.Wrap(err, fault.Forbidden, "pages of other origins may not do this"))
		return
	}
	c.Next()
}

// originAllowed decides about a WebSocket handshake. Programs send no Origin.
func (s *Server) originAllowed(r *http.Request) bool {
	o := r.Header.Get("Origin")
	return o == "" || s.origins[o] || o == "http://"+r.Host || o == "https://"+r.Host
}

func (s *Server) noRoute(c *gin.Context) {
	s.fail(c, fault.New(fault.NotFound, "there is nothing at %s", clip(c.Request.URL.Path)))
}

func (s *Server) noMethod(c *gin.Context) {
	s.fail(c, fault.New(methodNotAllowed, "%s is not possible here", clip(c.Request.Method)))
}

// recent keeps the latencies and errors of the last minute for the console.
type recent struct {
	mu    sync.Mutex
	slots [60]recentSlot
}

type recentSlot struct {
	second  int64
	total   int
	errors  int
	latency [20]int // bucket n: below 2^n ms
}

func (r *recent) record(at time.Time, took time.Duration, failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slot := &r.slots[at.Unix()%int64(len(r.slots))]
	if slot.second != at.Unix() {
		*slot = recentSlot{second: at.Unix()}
	}
	n := 0
	for took >= time.Millisecond<<n && n < len(slot.latency)-1 {
		n++
	}
	slot.latency[n]++
	slot.total++
	if failed {
		slot.errors++
	}
}

// lately is what recent sums up.
type lately struct {
	total, failed int
	p95           time.Duration // rounded up to a power of two ms
}

// summary sums up the last window, of at most a minute.
func (r *recent) summary(now time.Time, window time.Duration) (sum lately) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all [20]int
	for i := range r.slots {
		if now.Unix()-r.slots[i].second >= int64(window/time.Second) {
			continue
		}
		sum.failed += r.slots[i].errors
		sum.total += r.slots[i].total
		for n, count := range r.slots[i].latency {
			all[n] += count
		}
	}
	seen := 0
	for n, count := range all {
		seen += count
		if sum.total > 0 && seen*100 >= sum.total*95 {
			sum.p95 = time.Millisecond << n
			break
		}
	}
	return sum
}

// healthWindow is what the shop's health is judged by.
const healthWindow = 20 * time.Second

// Health is how the requests to this node fared lately. The share of the
// database's connections is for the owner of the pool to add.
func (s *Server) Health() waitroom.Health {
	l := s.metrics.recent.summary(s.Clock(), healthWindow)
	h := waitroom.Health{Requests: l.total, P95: l.p95}
	if l.total > 0 {
		h.ErrorShare = float64(l.failed) / float64(l.total)
	}
	return h
}
