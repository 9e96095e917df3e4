package gateway

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	shared "holdfast/internal/metrics"
	"holdfast/internal/sockets"
)

// metrics are the gateway's metrics. Labels are classes and outcomes, never an id. Gateways of one region that share a
// registry share the metrics.
type metrics struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	sockets  *sockets.Metrics

	classes sync.Map // class → *classCounters
}

// classCounters are the counters of the common case, looked up once for each class.
type classCounters struct {
	ok      prometheus.Counter
	latency prometheus.Observer
}

func (m *metrics) counters(class string) *classCounters {
	if found, ok := m.classes.Load(class); ok {
		return found.(*classCounters)
	}
	found, _ := m.classes.LoadOrStore(class, &classCounters{
		ok: m.requests.WithLabelValues(class, "ok"), latency: m.latency.WithLabelValues(class),
	})
	return found.(*classCounters)
}

func newMetrics(reg prometheus.Registerer, region string) *metrics {
	reg = prometheus.WrapRegistererWith(prometheus.Labels{"region": region}, reg)
	return &metrics{
		requests: shared.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "holdfast", Subsystem: "gateway", Name: "requests_total", Help: "Requests to objects.",
		}, []string{"class", "result"})),
		latency: shared.Register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "holdfast", Subsystem: "gateway", Name: "request_seconds", Help: "Time from a request to its object's answer.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 15},
		}, []string{"class"})),
		sockets: sockets.NewMetrics(reg),
	}
}
