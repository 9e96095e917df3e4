package main

import (
	"testing"

	"holdfast/objects"
	"holdfast/objects/objectstest"
	"holdfast/objects/sqlite"
)

// A large object of which one write is lost says so.
func TestALargeObjectKnowsWhatItsRowsHaveToBe(t *testing.T) {
	for class, create := range map[objects.Class]func(*objects.Tx) *counter{
		"shelf-test": func(*objects.Tx) *counter { return &counter{keys{}} },
		"index-test": func(tx *objects.Tx) *counter {
			sqlite.Migrate(tx, `CREATE TABLE row (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, text TEXT NOT NULL)`)
			return &counter{table{}}
		},
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
