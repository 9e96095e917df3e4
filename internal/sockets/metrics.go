package sockets

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	shared "holdfast/internal/metrics"
)

// Metrics are the metrics of sockets. Labels are classes and outcomes, never an id. Gateways of one region that share a
// registry share the metrics.
type Metrics struct {
	sockets  *prometheus.GaugeVec
	frames   *prometheus.CounterVec
	closes   *prometheus.CounterVec
	answered *prometheus.CounterVec

	classes sync.Map // class → *classCounters
}

// classCounters are the counters of the common case, looked up once for each class.
type classCounters struct {
	sockets             prometheus.Gauge
	framesIn, framesOut prometheus.Counter
	answered            prometheus.Counter
}

func (m *Metrics) counters(class string) *classCounters {
	if found, ok := m.classes.Load(class); ok {
		return found.(*classCounters)
	}
	found, _ := m.classes.LoadOrStore(class, &classCounters{
		sockets:  m.sockets.WithLabelValues(class),
		framesIn: m.frames.WithLabelValues(class, "in"), framesOut: m.frames.WithLabelValues(class, "out"),
		answered: m.answered.WithLabelValues(class),
	})
	return found.(*classCounters)
}

// NewMetrics registers the metrics of a gateway's sockets. The labels that the registerer
// adds are the gateway's.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		opts := prometheus.CounterOpts{Namespace: "holdfast", Subsystem: "gateway", Name: name, Help: help}
		return shared.Register(reg, prometheus.NewCounterVec(opts, labels))
	}
	return &Metrics{
		sockets: shared.Register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "holdfast", Subsystem: "gateway", Name: "sockets", Help: "Open WebSockets.",
		}, []string{"class"})),
		frames:   counter("frames_total", "WebSocket messages, in from clients and out to them.", "class", "direction"),
		closes:   counter("closes_total", "Sockets ended, by close code.", "class", "code"),
		answered: counter("auto_responses_total", "WebSocket messages answered by the gateway, without the object.", "class"),
	}
}
