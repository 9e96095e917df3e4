package gateway

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast/objects"
)

// metrics are the gateway's. Labels are classes and outcomes, never an id.
type metrics struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	sockets  *prometheus.GaugeVec
	frames   *prometheus.CounterVec
	closes   *prometheus.CounterVec

	usual sync.Map // class → *usual
}

// usual is what every request and every message counts, found once for each class.
type usual struct {
	ok                  prometheus.Counter
	latency             prometheus.Observer
	framesIn, framesOut prometheus.Counter
}

func (m *metrics) of(class string) *usual {
	if found, ok := m.usual.Load(class); ok {
		return found.(*usual)
	}
	found, _ := m.usual.LoadOrStore(class, &usual{
		ok: m.requests.WithLabelValues(class, "ok"), latency: m.latency.WithLabelValues(class),
		framesIn: m.frames.WithLabelValues(class, "in"), framesOut: m.frames.WithLabelValues(class, "out"),
	})
	return found.(*usual)
}

// outcomes are the results that the metric of requests tells apart.
var outcomes = []objects.Code{
	objects.Invalid, objects.Unauthorized, objects.Forbidden, objects.NotFound, objects.Conflict, objects.TooLarge,
	objects.TooMany, objects.Overloaded, objects.Unavailable, objects.Unknown, objects.Internal,
}

// outcome is the label of a failed request. A code that an author made up is one of
// any number, and need not be UTF-8, which a label must be: all of them are "other".
func outcome(err error) string {
	if code := objects.CodeOf(err); slices.Contains(outcomes, code) {
		return string(code)
	}
	return "other"
}

func newMetrics(reg prometheus.Registerer, region string) *metrics {
	reg = prometheus.WrapRegistererWith(prometheus.Labels{"region": region}, reg)
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "holdfast", Subsystem: "gateway", Name: "requests_total", Help: "Requests to objects.",
		}, []string{"class", "result"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "holdfast", Subsystem: "gateway", Name: "request_seconds", Help: "Time from a request to its object's answer.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 15},
		}, []string{"class"}),
		sockets: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "holdfast", Subsystem: "gateway", Name: "sockets", Help: "Open WebSockets.",
		}, []string{"class"}),
		frames: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "holdfast", Subsystem: "gateway", Name: "frames_total", Help: "WebSocket messages, in from clients and out to them.",
		}, []string{"class", "direction"}),
		closes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "holdfast", Subsystem: "gateway", Name: "closes_total", Help: "Sockets ended, by close code.",
		}, []string{"class", "code"}),
	}
	reg.MustRegister(m.requests, m.latency, m.sockets, m.frames, m.closes)
	return m
}
