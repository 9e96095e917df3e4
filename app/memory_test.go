package app

import (
	"runtime"
	"testing"
)

func TestASmallHeapMayGrowMore(t *testing.T) {
	tests := []struct {
		scanned uint64
		want    int
	}{
		{0, 1000},
		{4 << 20, 1000},
		{8 << 20, 800},
		{32 << 20, 200},
		{64 << 20, 100},
		{4 << 30, 100},
	}
	for _, tt := range tests {
		if got := percentFor(tt.scanned); got != tt.want {
			t.Errorf("percentFor(%d MiB) = %d, want %d", tt.scanned>>20, got, tt.want)
		}
	}
}

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

// A percentage of what was live five seconds ago let a heap grow to ten times what is live now.
func TestACollectionIsToldEachTime(t *testing.T) {
	told := make(chan struct{}, 1)
	for range 3 {
		tellOfCollection(told)
		runtime.GC()
		<-told
	}
}
