package sqlite_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdfast/objects"
	"holdfast/objects/objectstest"
	"holdfast/objects/sqlite"
)

// act is one thing that an event does.
type act struct {
	kind string // put, drop, key, nest (the acts until the matching end), end, or fail (end with an error)
	n    int
	size int
}

// turn is one event, and what befalls the object before.
type turn struct {
	before string // "", evict, move, wipe
	acts   []act
	fate   string // lands, refuses, panics, fenced, lost
}

var turns = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) turn {
	return turn{
		before: rapid.SampledFrom([]string{"", "", "", "evict", "move", "wipe"}).Draw(t, "before"),
		acts: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) act {
			return act{
				kind: rapid.SampledFrom([]string{"put", "put", "put", "put", "drop", "key", "nest", "end", "fail"}).Draw(t, "kind"),
				n:    rapid.IntRange(1, 60).Draw(t, "n"),
				size: rapid.SampledFrom([]int{1, 100, 1000, 3000, 9000}).Draw(t, "size"),
			}
		}), 0, 12).Draw(t, "acts"),
		fate: rapid.SampledFrom([]string{"lands", "lands", "lands", "refuses", "panics", "fenced", "lost"}).Draw(t, "fate"),
	}
}), 1, 14)

// rows are what a model of the object keeps: of each number a text, under 0 the key.
type rows map[int]string

// do does acts in the event and in the model, up to the end of a nest, and returns what is left of them.
func (r rows) do(tx *objects.Tx, acts []act) ([]act, error) {
	for len(acts) > 0 {
		a := acts[0]
		acts = acts[1:]
		var err error
		switch a.kind {
		case "put":
			text := strings.Repeat(fmt.Sprint(a.n, " "), a.size/2+1)
			_, err = sqlite.Exec(tx, `INSERT INTO note (id, text) VALUES (?, ?) ON CONFLICT DO UPDATE SET text = excluded.text`, a.n, text)
			r[a.n] = text
		case "drop":
			_, err = sqlite.Exec(tx, `DELETE FROM note WHERE id = ?`, a.n)
			delete(r, a.n)
		case "key":
			label.Set(tx, fmt.Sprint(a.n))
			r[0] = fmt.Sprint(a.n)
		case "nest":
			inner := maps.Clone(r)
			failed := tx.Transact(func() error {
				acts, err = inner.do(tx, acts)
				return err
			})
			if err = nil; errors.Is(failed, errOnPurpose) {
				continue
			}
			if err = failed; err == nil {
				clear(r)
				maps.Copy(r, inner)
			}
		case "end":
			return acts, nil
		case "fail":
			return acts, errOnPurpose
		}
		if err != nil {
			return acts, err
		}
	}
	return nil, nil
}

// read returns what the object keeps.
func read(tx *objects.Tx) (rows, error) {
	r := make(rows)
	type row struct {
		ID   int
		Text string
	}
	for v, err := range sqlite.Query[row](tx, `SELECT id, text FROM note`) {
		if err != nil {
			return nil, err
		}
		r[v.ID] = v.Text
	}
	if v, ok := label.Lookup(tx); ok {
		r[0] = v
	}
	if found, err := sqlite.One[string](tx, `PRAGMA integrity_check`); found != "ok" {
		return nil, fmt.Errorf("integrity: %s, %w", found, err)
	}
	return r, nil
}

// live lives through the turns, and says where the object and the model part.
func live(w *objectstest.World, o objects.Ref, turns []turn) error {
	kept := make(rows)
	for i, turn := range turns {
		switch turn.before {
		case "evict":
			w.Evict(o)
		case "move":
			w.Move(o)
		case "wipe":
			if err := in(w, o, func(tx *objects.Tx) error { tx.DeleteAll(); sqlite.Migrate(tx, schema...); return nil }); err != nil {
				return err
			}
			kept = make(rows)
		}
		switch turn.fate {
		case "fenced":
			w.Refuse(o)
		case "lost":
			w.Lose(o)
		case "panics":
			w.Faults(1)
		}
		var now rows
		err := in(w, o, func(tx *objects.Tx) error {
			now = maps.Clone(kept)
			found, err := read(tx)
			if err != nil {
				return err
			}
			if !maps.Equal(found, now) {
				return fmt.Errorf("an event finds %d rows, want %d", len(found), len(now))
			}
			for rest := turn.acts; len(rest) > 0; {
				var failed error
				if rest, failed = now.do(tx, rest); failed != nil && !errors.Is(failed, errOnPurpose) {
					return failed
				}
			}
			switch turn.fate {
			case "refuses":
				return errOnPurpose
			case "panics":
				panic("on purpose")
			}
			return nil
		})
		switch turn.fate {
		case "refuses", "panics":
			if err == nil || turn.fate == "refuses" && !errors.Is(err, errOnPurpose) {
				return fmt.Errorf("turn %d: %w", i, err)
			}
		default:
			if err != nil {
				return fmt.Errorf("turn %d: %w", i, err)
			}
			kept = now
		}
	}
	var found rows
	err := in(w, o, func(tx *objects.Tx) (err error) { found, err = read(tx); return err })
	if err == nil && !maps.Equal(found, kept) {
		err = fmt.Errorf("in the end there are %d rows, want %d", len(found), len(kept))
	}
	return err
}

// Whatever befalls an object, its rows and its keys are those of the events that were committed.
func TestADatabaseIsWhatItsCommittedEventsHaveMade(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		turns := turns.Draw(rt, "turns")
		w, o := newWorld(t, schema...)
		if err := live(w, o, turns); err != nil {
			rt.Fatal(err)
		}
	})
}
