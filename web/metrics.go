package web

import (
	"errors"
	"net/http"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.HistogramVec
	repeated prometheus.Counter
	recent   recent

	handles sync.Map // metricKey → prometheus.Observer: finding one by its labels costs more than observing
}

type metricKey struct {
	method, route string
	status        int
}

// request returns the histogram of one kind of request.
func (m *metrics) request(method, route string, status int) prometheus.Observer {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		method = "other" // clients may make up as many as they like
	}
	key := metricKey{method, route, status}
	if h, ok := m.handles.Load(key); ok {
		o, _ := h.(prometheus.Observer)
		return o
	}
	o := m.requests.WithLabelValues(method, route, strconv.Itoa(status))
	m.handles.Store(key, o)
	return o
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "onsale_http_request_seconds", Help: "Time to answer, by route and status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method", "route", "status"}),
		repeated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onsale_http_repeated_requests_total",
			Help: "Requests for an event that were the same as the one before on their connection, and so answered without being parsed.",
		}),
	}
	if reg == nil {
		return nil, errors.New("web: Registerer is required")
	}
	return m, register(reg, m.requests, m.repeated)
}
