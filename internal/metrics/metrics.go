// Package metrics registers the metrics of gateways and hosts that share a process.
package metrics

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Register adds c to reg and returns it. If a part of the same kind and region has
// registered the same metric, Register returns that one instead, and both count into it.
// It panics if another metric has the name: that is a programmer's mistake.
func Register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	err := reg.Register(c)
	if err == nil {
		return c
	}
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := already.ExistingCollector.(C); ok {
			return same
		}
	}
	panic(err)
}
