// Package metrics registers the metrics of gateways and hosts that share a process.
package metrics

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast/objects"
)

// CodeLabel returns a code as a label's value: "other" for codes that package objects does not define. An
// author or a forged reply may invent any number of codes, and a code that is not UTF-8 is no valid label.
func CodeLabel(code objects.Code) string {
	if code.Known() {
		return string(code)
	}
	return "other"
}

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
