package objects_test

import (
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/objectstest"
)

// A time that no bookmark can be made of is refused when a bookmark of it is asked for, not when it is to be restored.
func TestATimeThatNoBookmarkCanNameIsInvalid(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		w := objectstest.New(t, CounterObjects.With(objects.Settings{History: objects.MaxHistory}))
		err := in(w, w.Object(Counters, "global"), func(tx *objects.Tx) error {
			b, err := tx.BookmarkAt(at)
			if err == nil {
				t.Errorf("the bookmark of %v is %q", at, b)
			}
			return err
		})
		if objects.CodeOf(err) != objects.Invalid {
			t.Errorf("the bookmark of %v: %v, want invalid", at, err)
		}
	}
}
