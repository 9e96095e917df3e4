package gateway

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	shared "holdfast/internal/metrics"
	"holdfast/objects"
)

func TestTwoGatewaysOfOneRegionShareARegistry(t *testing.T) {
	reg := prometheus.NewRegistry()
	one, two := newMetrics(reg, "local"), newMetrics(reg, "local")
	newMetrics(reg, "elsewhere")
	one.counters("room").ok.Inc()
	two.counters("room").ok.Inc()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "holdfast_gateway_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if m.GetCounter().GetValue() == 2 {
				return
			}
		}
	}
	t.Error("two gateways do not count into one metric")
}

// Authors and forged replies may invent any number of codes.
func TestACodeThatNobodyKnowsIsOneLabel(t *testing.T) {
	m := newMetrics(prometheus.NewRegistry(), "local")
	for code, want := range map[objects.Code]string{objects.Conflict: "conflict", "sold_out": "other", "\xff": "other", "": "other"} {
		got := shared.CodeLabel(code)
		if got != want {
			t.Errorf("CodeLabel(%q) = %q, want %q", code, got, want)
		}
		m.requests.WithLabelValues("room", got).Inc() // panics over a label that is not UTF-8
	}
}
