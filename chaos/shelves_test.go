package main

import (
	"testing"

	"holdfast/objects"
	"holdfast/objects/objectstest"
)

// A large object of which one write is lost says so.
func TestALargeObjectKnowsWhatItsRowsHaveToBe(t *testing.T) {
	for class, create := range map[objects.Class]func(*objects.Tx) *counter{
		"shelf-test": func(*objects.Tx) *counter { return &counter{keys{}} },
		"index-test": newIndex,
	} {
		t.Run(string(class), func(t *testing.T) {
			calls, lose := newLargeCalls(class), objects.NewCall[int, objects.None](class, "lose")
			w := objectstest.New(t, objects.Implement(class, create,
				objects.On(calls.claim, (*counter).claim), objects.On(calls.check, (*counter).check),
				objects.On(lose, func(s *counter, tx *objects.Tx, n int) (objects.None, error) {
					id := rowsOf(n)[0]
					return nil, s.rows.set(tx, id, newRow(id, 0))
				})))
			o := w.Object(class, "s0")
			for n := 1; n <= 3; n++ {
				if got, err := calls.claim.Do(t.Context(), o, nil); err != nil || got != n {
					t.Fatalf("claim %d: %d, %v", n, got, err)
				}
			}
			w.Move(o)
			if n, err := calls.check.Do(t.Context(), o, nil); err != nil || n != 3 {
				t.Errorf("whole: %d, %v", n, err)
			}
			if _, err := lose.Do(t.Context(), o, 2); err != nil {
				t.Fatal(err)
			}
			if n, err := calls.check.Do(t.Context(), o, nil); err != nil || n != damaged {
				t.Errorf("with a write lost: %d, %v", n, err)
			}
		})
	}
}

// An object that is put back has what the stamps up to then have left, and no other contents pass for that.
func TestAStampedObjectThatIsPutBackHasWhatItsStampsLeft(t *testing.T) {
	for class, create := range map[objects.Class]func(*objects.Tx) *counter{
		"shelf-test": func(*objects.Tx) *counter { return &counter{keys{}} },
		"index-test": newIndex,
	} {
		t.Run(string(class), func(t *testing.T) {
			calls, back := newLargeCalls(class), objects.NewCall[objects.Bookmark, objects.Bookmark](class, "back")
			w := objectstest.New(t, objects.Implement(class, create,
				objects.On(calls.stamp, (*counter).stamp), objects.On(calls.look, (*counter).look),
				objects.On(back, func(_ *counter, tx *objects.Tx, to objects.Bookmark) (objects.Bookmark, error) {
					return tx.Restore(to), nil
				}),
			).With(objects.Settings{History: objects.MaxHistory}))
			o := w.Object(class, "s-past")
			var marks []objects.Bookmark
			stamp := func(n int) {
				t.Helper()
				mark, err := calls.stamp.Do(t.Context(), o, n)
				if err != nil {
					t.Fatal(err)
				}
				marks = append(marks, mark)
			}
			has := func(stamps ...int) {
				t.Helper()
				if found, err := calls.look.Do(t.Context(), o, nil); err != nil || found != contentsAfter(stamps) {
					t.Errorf("after %v: %+v, %v", stamps, found, err)
				}
			}
			for n := range 4 {
				stamp(n + 1)
			}
			has(1, 2, 3, 4)
			if _, err := back.Do(t.Context(), o, marks[2]); err != nil {
				t.Fatal(err)
			}
			has(1, 2)
			stamp(5)
			has(1, 2, 5)
			if contentsAfter([]int{1, 2, 3}) == contentsAfter([]int{1, 2, 5}) {
				t.Error("other stamps leave the same")
			}
		})
	}
}
