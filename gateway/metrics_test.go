package gateway

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast/objects"
)

// A label has to be UTF-8, and each is a series for ever.
func TestAnOutcomeIsOneOfAFew(t *testing.T) {
	for code, want := range map[objects.Code]string{
		objects.Invalid: "invalid", objects.Internal: "internal", objects.Unknown: "unknown", "made-up": "other", "\xff\xfe": "other", "": "other",
	} {
		if got := outcome(objects.Errorf(code, "x")); got != want {
			t.Errorf("code %q counts as %q, want %q", code, got, want)
		}
		newMetrics(prometheus.NewRegistry(), "fra").requests.WithLabelValues("c", outcome(objects.Errorf(code, "x"))).Inc()
	}
}
