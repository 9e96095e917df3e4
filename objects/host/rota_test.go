package host

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestARotaGivesEachObjectItsNewestTurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r rota
		objects := make([]*object, 5)
		for i := range objects {
			objects[i] = new(object)
		}
		turns := make(map[*object]time.Time) // those still to come
		clock := now
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "put") {
				o := rapid.SampledFrom(objects).Draw(t, "object")
				turns[o] = now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "at")) * time.Second)
				r.put(o, turns[o])
				continue
			}
			clock = clock.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "later")) * time.Second)
			got := r.due(clock)
			for o, at := range turns {
				if slices.Contains(got, o) != !clock.Before(at) {
					t.Fatalf("at %v an object whose turn is at %v: due = %v", clock, at, slices.Contains(got, o))
				}
				if !clock.Before(at) {
					delete(turns, o)
				}
			}
			for _, o := range got {
				if _, still := turns[o]; still {
					t.Fatal("an object had a turn that was taken back")
				}
			}
		}
	})
}
