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
	skipped  *prometheus.CounterVec
	joins    *prometheus.CounterVec
	refused  *prometheus.CounterVec
	tick     prometheus.Histogram

	challenges *prometheus.CounterVec
	appeals    prometheus.Counter
	estimates  *prometheus.CounterVec
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
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onsale_room_skipped_total", Help: "Visitors who were not there when their turn came, noticed by this node.",
		}, []string{"event"}),
		joins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onsale_room_joins_total", Help: "Joins: new places, places or turns given back, visitors found; by lane.",
		}, []string{"outcome", "lane"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onsale_room_refused_total", Help: "Joins and polls refused, by the problem's code; polls that came too soon as polls.",
		}, []string{"reason"}),
		challenges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onsale_room_challenges_total", Help: "Challenges set, solved, and answered wrongly or too late.",
		}, []string{"outcome"}),
		appeals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onsale_room_appeals_total", Help: "Visitors who left the suspect lane by an appeal.",
		}),
		estimates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onsale_room_wait_estimates_total",
			Help: "First wait ranges told, by where the true wait came to lie: in the range, near (within twice the range), or off.",
		}, []string{"outcome"}),
		tick: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "onsale_room_tick_seconds", Help: "Duration of one tick of one room.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
	}
	if r == nil {
		return m, nil
	}
	all := []prometheus.Collector{
		m.waiting, m.active, m.admitted, m.expired, m.skipped, m.joins, m.refused, m.tick, m.challenges, m.appeals, m.estimates,
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) ticked(event string, t Tick, took time.Duration) {
	m.tick.Observe(took.Seconds())
	m.waiting.WithLabelValues(event).Set(float64(t.Waiting))
	m.active.WithLabelValues(event).Set(float64(t.Ready + t.Shopping))
	if t.Expired > 0 {
		m.expired.WithLabelValues(event).Add(float64(t.Expired))
	}
	if t.Skipped > 0 {
		m.skipped.WithLabelValues(event).Add(float64(t.Skipped))
	}
}

var outcomes = [...]string{Found: "found", Placed: "new", Restored: "restored"}

func (m *metrics) joined(o Outcome, lane Lane) {
	m.joins.WithLabelValues(outcomes[o], lane.String()).Inc()
}
