package web

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// quickEvents answers what a crowd asks, GET /v1/events/{id} of an event whose
// document is in memory and of this moment, before routes are looked up and
// middleware is called. Headers, metrics and request ids are the same as there;
// whatever else is asked goes the long way.
type quickEvents struct {
	full, known prometheus.Observer // 200, 304
	repeated    prometheus.Counter
}

const (
	eventRoute  = "/v1/events/:id"
	eventPrefix = "/v1/events/"
	idLength    = 36
)

func newQuickEvents(m *metrics) *quickEvents {
	return &quickEvents{
		full:     m.request(http.MethodGet, eventRoute, http.StatusOK),
		known:    m.request(http.MethodGet, eventRoute, http.StatusNotModified),
		repeated: m.repeated,
	}
}

// saw measures an answer.
func (q *quickEvents) saw(s *Server, start time.Time, known bool) {
	took := s.Clock().Sub(start)
	if known {
		q.known.Observe(took.Seconds())
	} else {
		q.full.Observe(took.Seconds())
	}
	s.metrics.recent.record(start, took, false)
}

// quickly reports whether the quick way may be taken: not while every request is
// logged.
func (s *Server) quickly(ctx context.Context) bool { return !s.log.Enabled(ctx, slog.LevelDebug) }

// quickEvent reports whether it has answered.
func (s *Server) quickEvent(w http.ResponseWriter, r *http.Request) bool {
	if len(r.URL.Path) != len(eventPrefix)+idLength || !strings.HasPrefix(r.URL.Path, eventPrefix) ||
		r.Method != http.MethodGet || r.URL.RawQuery != "" || r.ContentLength != 0 || r.Header["Origin"] != nil || !s.quickly(r.Context()) {
		return false
	}
	start := s.Clock()
	snap := s.eventDocs.now(r.URL.Path[len(eventPrefix):], start, snapshotFresh)
	if snap == nil {
		return false
	}
	h := w.Header()
	h[requestIDHeader] = s.requestName(r)
	s.everyHeader(h)
	s.quick.saw(s, start, snap.doc.write(w, r, eventType, eventCaching))
	if c, ok := r.Context().Value(quickConnKey{}).(*quickConn); ok {
		c.remember(r, r.URL.Path[len(eventPrefix):])
	}
	return true
}
