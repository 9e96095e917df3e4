package heap

import (
	"runtime/debug"
	"testing"
)

// percent returns what the runtime was told.
func percent() int {
	p := debug.SetGCPercent(100)
	debug.SetGCPercent(p)
	return p
}

func TestAProcessThatCarriesLargeStreamsLeavesLessGarbage(t *testing.T) {
	defer debug.SetGCPercent(percent())
	want := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("%s: %d percent", what, percent())
		}
	}
	debug.SetGCPercent(77)
	Begin()
	want("a stream in a process that is not tuned", percent() == 77)
	Tune()
	defer Untune()
	want("a stream", percent() < 50)
	Begin()
	End()
	want("one of two", percent() < 50)
	End()
	want("none", percent() == 100)
	Begin()
	want("a stream again", percent() < 50)
	End()
	Untune()
	want("not tuned any more", percent() == 100)
}

func TestALargeHeapMayGrowByWhatIsLive(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		streams int
		live    uint64 // with the ballast, once it was collected
		garbage int    // that there may be, in MB
	}{
		{0, 64 * mb, 64}, {0, 164 * mb, 164},
		{1, 0, 7}, {1, 64 * mb, 7}, {1, 74 * mb, 9}, {1, 164 * mb, 98}, {9, 4064 * mb, 3982},
	} {
		if got := percentFor(c.streams, c.live) * int(max(c.live, headroom)/mb) / 100; got != c.garbage {
			t.Errorf("%d streams, %d MB: %d MB, want %d", c.streams, c.live/mb, got, c.garbage)
		}
	}
}
