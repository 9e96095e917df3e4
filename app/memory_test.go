package app

import "testing"

func TestMemoryIsGivenBackOnceABusyTimeIsOver(t *testing.T) {
	const mb = 1 << 20
	var k keeper
	for i, step := range []struct {
		allocated uint64
		over      bool
	}{
		{4 * mb, false},   // starting
		{5 * mb, false},   // little was used so far
		{100 * mb, false}, // busy
		{200 * mb, false},
		{201 * mb, true},  // over
		{202 * mb, false}, // and given back
		{203 * mb, false},
		{240 * mb, false}, // busy again
		{240 * mb, true},
	} {
		if got := k.over(step.allocated); got != step.over {
			t.Errorf("look %d: over = %t, want %t", i, got, step.over)
		}
	}
}
