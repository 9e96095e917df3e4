package host

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestEachObjectIsCheckedAtItsNewestPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q idleQueue
		objects := make([]*object, 5)
		for i := range objects {
			objects[i] = new(object)
		}
		places := make(map[*object]time.Time) // those still to come
		clock := now
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "put") {
				o := rapid.SampledFrom(objects).Draw(t, "object")
				places[o] = now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "at")) * time.Second)
				q.put(o, places[o])
				continue
			}
			clock = clock.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "later")) * time.Second)
			got := q.due(clock)
			for o, at := range places {
				if slices.Contains(got, o) != !clock.Before(at) {
					t.Fatalf("at %v an object whose place is at %v: due = %v", clock, at, slices.Contains(got, o))
				}
				if !clock.Before(at) {
					delete(places, o)
				}
			}
			for _, o := range got {
				if _, still := places[o]; still {
					t.Fatal("an object had a place that was taken back")
				}
			}
		}
	})
}
