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
	}
	if reg == nil {
		return nil, errors.New("web: Registerer is required")
	}
	return m, reg.Register(m.requests)
}
