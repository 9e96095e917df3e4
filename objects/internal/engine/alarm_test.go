package engine_test

import (
	"testing"
	"time"

	"holdfast/objects/internal/engine"
)

func TestAnAlarmThatFailsIsTriedSixTimesAndThenParked(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	a := engine.Alarm{At: now}
	for i, want := range []time.Duration{2, 4, 8, 16, 32, 64} {
		a = a.Failed(now, 0)
		if a.Retry != i+1 || a.Due.Sub(now) != want*time.Second || a.Parked || !a.At.Equal(now) {
			t.Fatalf("after failure %d: %+v, want retry %d in %d s", i+1, a, i+1, want)
		}
	}
	a = a.Failed(now, 0)
	if next, ok := a.Next(); ok || !a.Parked || !a.At.Equal(now) {
		t.Errorf("after the last retry: %+v, next %v; want it parked and still to be seen", a, next)
	}
}

func TestJitterLengthensByAQuarterAtMost(t *testing.T) {
	now := time.Unix(0, 0)
	for _, c := range []struct {
		jitter float64
		want   time.Duration
	}{{0, 2 * time.Second}, {0.5, 2250 * time.Millisecond}, {0.999, 2499 * time.Millisecond}} {
		if got := (engine.Alarm{At: now}).Failed(now, c.jitter).Due.Sub(now); got != c.want {
			t.Errorf("jitter %v: due in %v, want %v", c.jitter, got, c.want)
		}
	}
}
