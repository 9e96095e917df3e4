package host

import (
	"github.com/prometheus/client_golang/prometheus"

	shared "holdfast/internal/metrics"
)

// metrics are the host's. Labels are classes, kinds and outcomes, never an id.
type metrics struct {
	asks, events, commits, constructions, hibernations, stops, quarantined *prometheus.CounterVec
	owned, awake                                                           *prometheus.GaugeVec
	leasesLost                                                             prometheus.Counter
	longest, restricted, stored, storeLimit                                *prometheus.GaugeVec
	tells, tasks                                                           *prometheus.CounterVec
	tasksNow                                                               *prometheus.GaugeVec
}

// forget takes back the gauges of one host.
func (m *metrics) forget(host string) {
	for _, gauge := range []*prometheus.GaugeVec{m.longest, m.restricted, m.stored, m.storeLimit} {
		gauge.DeleteLabelValues(host)
	}
}

// classCounters are the counters of the common case, resolved once because
// WithLabelValues is slow.
type classCounters struct {
	ok     [kinds]prometheus.Counter
	landed prometheus.Counter
}

func (m *metrics) forClass(class string) *classCounters {
	c := &classCounters{landed: m.commits.WithLabelValues(class, "landed")}
	for kind := range c.ok {
		c.ok[kind] = m.events.WithLabelValues(class, kindNames[kind], "ok")
	}
	return c
}

func newMetrics(reg prometheus.Registerer, region string) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	reg = prometheus.WrapRegistererWith(prometheus.Labels{"region": region}, reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "holdfast", Subsystem: "host", Name: name, Help: help}, labels)
		return shared.Register(reg, c)
	}
	gauge := func(name, help, label string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "holdfast", Subsystem: "host", Name: name, Help: help}, []string{label})
		return shared.Register(reg, g)
	}
	return &metrics{
		asks:          counter("asks_total", "What events have asked other objects.", "class", "asked", "result"),
		events:        counter("events_total", "Events handled.", "class", "kind", "result"),
		commits:       counter("puts_total", "Puts of a record: landed, stale, refused, or in doubt.", "class", "result"),
		tells:         counter("told_total", "Told messages, as their senders see them: handled, failed, parked; and batches that have not reached the receiver.", "class", "result"),
		tasks:         counter("tasks_total", "Tasks that have ended.", "class", "result"),
		tasksNow:      gauge("tasks", "Tasks that run.", "class"),
		constructions: counter("constructions_total", "Instances constructed.", "class"),
		hibernations:  counter("hibernations_total", "Instances dropped because nothing happened; their objects stay, and so do their sockets.", "class"),
		stops:         counter("stops_total", "Objects let go of.", "class", "reason"),
		quarantined:   counter("quarantined_claims_total", "Claims refused because the object keeps losing its owners.", "class"),
		owned:         gauge("objects", "Objects owned.", "class"),
		awake:         gauge("awake", "Objects whose instance is in memory.", "class"),
		longest:       gauge("longest_event_seconds", "Age of the longest event that runs, from 30 seconds on; else 0.", "host"),
		restricted:    gauge("restricted_classes", "Classes of which one host alone takes new claims, because owners were lost with their events in hand.", "host"),
		stored:        gauge("store_bytes", "Bytes that the store of records holds, as of the last reading.", "host"),
		storeLimit:    gauge("store_limit_bytes", "Bytes that the store of records may hold; 0: no limit is known.", "host"),
		leasesLost: shared.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "holdfast", Subsystem: "host", Name: "leases_lost_total", Help: "Leases that could not be renewed in time.",
		})),
	}
}
