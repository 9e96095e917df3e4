package heap

import (
	"runtime/debug"
	"testing"
)

// percent is what the runtime was told.
func percent() int {
	p := debug.SetGCPercent(100)
	debug.SetGCPercent(p)
	return p
}

func TestAProcessThatCarriesLargeStreamsLeavesLessGarbage(t *testing.T) {
	defer debug.SetGCPercent(percent())
	want := func(what string, n int) {
		t.Helper()
		if got := percent(); got != n {
			t.Errorf("%s: %d percent, want %d", what, got, n)
		}
	}
	debug.SetGCPercent(77)
	Begin()
	want("a stream in a process that is not tuned", 77)
	Tune()
	defer Untune()
	want("a stream", 12)
	Begin()
	End()
	want("one of two", 12)
	End()
	want("none", 100)
	Begin()
	want("a stream again", 12)
	End()
	Untune()
	want("not tuned any more", 100)
}
