package gateway

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	shared "holdfast/internal/metrics"
)

// metrics are the gateway's. Labels are classes and outcomes, never an id. Gateways of
// one region that share a registry share them.
type metrics struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	sockets  *prometheus.GaugeVec
	frames   *prometheus.CounterVec
	closes   *prometheus.CounterVec
	answered *prometheus.CounterVec

	classes sync.Map // class → *classCounters
}

// classCounters are the counters of the common case, looked up once for each class.
type classCounters struct {
	ok                  prometheus.Counter
	latency             prometheus.Observer
	sockets             prometheus.Gauge
	framesIn, framesOut prometheus.Counter
	answered            prometheus.Counter
}

func (m *metrics) of(class string) *classCounters {
	if found, ok := m.classes.Load(class); ok {
		return found.(*classCounters)
	}
	found, _ := m.classes.LoadOrStore(class, &classCounters{
		ok: m.requests.WithLabelValues(class, "ok"), latency: m.latency.WithLabelValues(class), sockets: m.sockets.WithLabelValues(class),
		framesIn: m.frames.WithLabelValues(class, "in"), framesOut: m.frames.WithLabelValues(class, "out"),
		answered: m.answered.WithLabelValues(class),
	})
	return found.(*classCounters)
}

func newMetrics(reg prometheus.Registerer, region string) *metrics {
	reg = prometheus.WrapRegistererWith(prometheus.Labels{"region": region}, reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		opts := prometheus.CounterOpts{Namespace: "holdfast", Subsystem: "gateway", Name: name, Help: help}
		return shared.Register(reg, prometheus.NewCounterVec(opts, labels))
	}
	return &metrics{
		requests: counter("requests_total", "Requests to objects.", "class", "result"),
		latency: shared.Register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "holdfast", Subsystem: "gateway", Name: "request_seconds", Help: "Time from a request to its object's answer.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 15},
		}, []string{"class"})),
		sockets: shared.Register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "holdfast", Subsystem: "gateway", Name: "sockets", Help: "Open WebSockets.",
		}, []string{"class"})),
		frames:   counter("frames_total", "WebSocket messages, in from clients and out to them.", "class", "direction"),
		closes:   counter("closes_total", "Sockets ended, by close code.", "class", "code"),
		answered: counter("auto_responses_total", "WebSocket messages answered by the gateway, without the object.", "class"),
	}
}
