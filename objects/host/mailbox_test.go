package host

import (
	"testing"
	"time"
)

func TestWhoWouldWaitTooLongIsToldSo(t *testing.T) {
	const wait = 500 * time.Millisecond
	tests := []struct {
		name     string
		waiting  int
		avgEvent time.Duration
		want     bool
	}{
		{"nobody waits", 0, time.Hour, false},
		{"few wait for a slow object", alwaysWait - 1, time.Hour, false},
		{"many wait for a slow object", alwaysWait, time.Second, true},
		{"as many as there is time for", 500, time.Millisecond, false},
		{"one more", 501, time.Millisecond, true},
		{"many wait for a quick object", 4095, time.Microsecond, false},
		{"as many as may", 4096, 0, true},
	}
	for _, tt := range tests {
		if got := tooMany(tt.waiting, queueLimits{4096, wait}, tt.avgEvent); got != tt.want {
			t.Errorf("%s: too many = %t, want %t", tt.name, got, tt.want)
		}
	}
}
