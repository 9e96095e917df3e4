package host

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the host's. Labels are classes, kinds and outcomes, never an id.
type metrics struct {
	events, commits, constructions, stops, quarantined *prometheus.CounterVec
	owned, awake                                       *prometheus.GaugeVec
	leasesLost                                         prometheus.Counter
}

// usual is what most events and puts of a class count, found once.
type usual struct {
	ok     [kinds]prometheus.Counter
	landed prometheus.Counter
}

func (m *metrics) of(class string) *usual {
	u := &usual{landed: m.commits.WithLabelValues(class, "landed")}
	for kind := range u.ok {
		u.ok[kind] = m.events.WithLabelValues(class, kindNames[kind], "ok")
	}
	return u
}

func newMetrics(reg prometheus.Registerer, region string) *metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	reg = prometheus.WrapRegistererWith(prometheus.Labels{"region": region}, reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "holdfast", Subsystem: "host", Name: name, Help: help}, labels)
		return register(reg, c)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "holdfast", Subsystem: "host", Name: name, Help: help}, []string{"class"})
		return register(reg, g)
	}
	return &metrics{
		events:        counter("events_total", "Events handled.", "class", "kind", "result"),
		commits:       counter("puts_total", "Puts of a record: landed, stale, or in doubt.", "class", "result"),
		constructions: counter("constructions_total", "Instances constructed.", "class"),
		stops:         counter("stops_total", "Objects let go of.", "class", "reason"),
		quarantined:   counter("quarantined_claims_total", "Claims refused because the object keeps losing its owners.", "class"),
		owned:         gauge("objects", "Objects owned."),
		awake:         gauge("awake", "Objects whose instance is in memory."),
		leasesLost: register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "holdfast", Subsystem: "host", Name: "leases_lost_total", Help: "Leases that could not be renewed in time.",
		})),
	}
}

// register adds c, or finds the one that another host of this process and region has added.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if err := reg.Register(c); err != nil {
		if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
			if same, ok := already.ExistingCollector.(C); ok {
				return same
			}
		}
		panic(err) // two different metrics of one name: a programmer's mistake
	}
	return c
}
