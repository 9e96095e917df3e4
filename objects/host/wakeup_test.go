package host

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// spyClock notes whether the record had the alarm already when its wake-up was set.
type spyClock struct {
	*memoryClock
	store *memoryStore
	had   []bool
}

func (c *spyClock) Set(ctx context.Context, key string, at time.Time) error {
	rec := c.store.record(key)
	c.had = append(c.had, rec != nil && rec.Alarm.At.Equal(at))
	return c.memoryClock.Set(ctx, key, at)
}

// If a host dies in between, an alarm's wake-up comes too early, which is harmless, and never too late.
func TestAnEarlierWakeUpIsSetBeforeTheRecordAndALaterOneAfterIt(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		spy := &spyClock{memoryClock: newMemoryClock(), store: w.store}
		w.in.clock = spy
		w.own("room")
		for i, c := range []struct {
			call string // sets an alarm in 15 s, or a second ago
			had  bool
		}{{"soon", false}, {"wake", false}, {"soon", true}} {
			spy.had = nil
			w.call("room", c.call)
			if synctest.Wait(); !slices.Equal(spy.had, []bool{c.had}) {
				t.Errorf("%d, %s: the wake-up was set when the record had the alarm: %v, want %v", i, c.call, spy.had, c.had)
			}
			time.Sleep(time.Second)
		}
	})
}
