package wire

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTicksComeFromBeginToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ticks := NewTicks(time.Second)
		count := func(d time.Duration) (n int) {
			for end := time.After(d); ; {
				select {
				case <-ticks.C:
					n++
				case <-end:
					return n
				}
			}
		}
		if n := count(time.Minute); n != 0 {
			t.Errorf("%d ticks before Begin", n)
		}
		for range 2 {
			ticks.Begin()
			time.Sleep(900 * time.Millisecond)
			ticks.Begin() // delays nothing
			if n := count(200 * time.Millisecond); n != 1 {
				t.Errorf("%d ticks in the first second, want 1", n)
			}
			time.Sleep(time.Second) // a tick waits
			ticks.End()
			if n := count(time.Minute); n != 0 {
				t.Errorf("%d ticks after End", n)
			}
		}
	})
}
