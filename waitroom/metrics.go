package waitroom

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the rooms as this node sees them.
type metrics struct {
	waiting  *prometheus.GaugeVec
	active   *prometheus.GaugeVec
	admitted *prometheus.CounterVec
	expired  *prometheus.CounterVec
	joins    *prometheus.CounterVec
	refused  prometheus.Counter
	tick     prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "onsale_room_waiting", Help: "Visitors in line.",
		}, []string{"event"}),
		active: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "onsale_room_active", Help: "Visitors whose turn it is: ready or shopping.",
		}, []string{"event"}),
		admitted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onsale_room_admitted_total", Help: "Visitors admitted by this node.",
		}, []string{"event"}),
		expired: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onsale_room_expired_total", Help: "Claim windows and leases that ended, noticed by this node.",
		}, []string{"event"}),
		joins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onsale_room_joins_total", Help: "Joins: new places, places restored by receipt, visitors found.",
		}, []string{"outcome"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onsale_room_joins_refused_total", Help: "Joins refused by the limit per address.",
		}),
		tick: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "onsale_room_tick_seconds", Help: "Duration of one tick of one room.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.waiting, m.active, m.admitted, m.expired, m.joins, m.refused, m.tick} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) ticked(event string, t Tick, took time.Duration) {
	m.tick.Observe(took.Seconds())
	m.waiting.WithLabelValues(event).Set(float64(t.Waiting))
	m.active.WithLabelValues(event).Set(float64(t.Active))
	if t.Expired > 0 {
		m.expired.WithLabelValues(event).Add(float64(t.Expired))
	}
}
