package limit_test

import (
	"testing"
	"time"

	"holdfast/examples/limit"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

func TestTheSixthHasToWait(t *testing.T) {
	w := objectstest.New(t, limit.Objects)
	for range 5 {
		if _, err := limit.Take.Do(t.Context(), w.Object(limit.Limits, "ada"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := limit.Take.Do(t.Context(), w.Object(limit.Limits, "ada"), nil); objects.CodeOf(err) != objects.TooMany {
		t.Errorf("err = %v, want too_many", err)
	}
	w.Advance(time.Minute)
	if _, err := limit.Take.Do(t.Context(), w.Object(limit.Limits, "ada"), nil); err != nil {
		t.Error(err)
	}
}
