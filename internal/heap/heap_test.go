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

func TestAProcessWhoseStreamsCarryMuchLeavesLessGarbage(t *testing.T) {
	defer debug.SetGCPercent(percent())
	want := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("%s: %d percent", what, percent())
		}
	}
	debug.SetGCPercent(77)
	Carried(much)
	want("a stream in a process that is not tuned", percent() == 77)
	Tune()
	Tune()
	defer Untune()
	want("no stream", percent() == 100)
	for range 99 {
		Carried(much / 100)
	}
	want("little so far", percent() == 100)
	Carried(much / 50)
	want("many small streams", percent() < 50)
	Tune()
	want("until the next look", percent() < 50)
	Tune()
	want("none since", percent() == 100)
	Carried(100 * much)
	want("a stream again", percent() < 50)
	Untune()
	want("not tuned any more", percent() == 100)
}

func TestALargeHeapMayGrowByWhatIsLive(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		streams bool
		live    uint64 // with the ballast, once it was collected
		garbage int    // that there may be, in MB
	}{
		{false, 64 * mb, 64}, {false, 164 * mb, 164},
		{true, 0, 7}, {true, 64 * mb, 7}, {true, 74 * mb, 9}, {true, 164 * mb, 98}, {true, 4064 * mb, 3982},
	} {
		if got := percentFor(c.streams, c.live) * int(max(c.live, headroom)/mb) / 100; got != c.garbage {
			t.Errorf("streams %v, %d MB: %d MB, want %d", c.streams, c.live/mb, got, c.garbage)
		}
	}
}
