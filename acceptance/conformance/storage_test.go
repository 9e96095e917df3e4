package conformance

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"holdfast/objects"
)

// storageCases are cases of docs/conformance.md about storage and transactions.
var storageCases = []aCase{
	{"38 a read sees the writes before it", false, func(s *stage) {
		s.must(func(tx *objects.Tx) { note.Set(tx, "one") })
		s.must(func(tx *objects.Tx) {
			note.Set(tx, "two")
			if got := note.Get(tx); got != "two" {
				s.Errorf("read %q after a write of its own", got)
			}
			if deleted := note.Delete(tx); !deleted || note.Get(tx) != "" {
				s.Errorf("deleted %t, and it is still %q", deleted, note.Get(tx))
			}
		})
		if got := s.stored(); got != "" {
			s.Errorf("stored %q", got)
		}
	}},
	{"39 the writes of an event land together, and the last one wins", false, func(s *stage) {
		s.must(func(*objects.Tx) {})
		s.refuse(s, s.self)
		s.must(func(tx *objects.Tx) {
			for i := range 3 {
				seats.Set(tx, "a", i)
				seats.Set(tx, "b", 10+i)
			}
		})
		s.must(func(tx *objects.Tx) {
			if got := maps.Collect(seats.All(tx)); !maps.Equal(got, map[string]int{"a": 2, "b": 12}) {
				s.Errorf("stored %v", got)
			}
		})
	}},
	{"40 of many writes with a bad one none is applied", false, func(s *stage) {
		s.fails(objects.Invalid, func(tx *objects.Tx) error {
			seats.Set(tx, "a", 1)
			objects.NewKey[int]("").Set(tx, 1)
			return nil
		})
		s.must(func(tx *objects.Tx) {
			if n := everything.Count(tx); n != 0 {
				s.Errorf("%d entries are stored", n)
			}
		})
	}},
	{"42 a list has what the event has written, and not what it has deleted", false, func(s *stage) {
		s.must(func(tx *objects.Tx) { seats.Set(tx, "a", 1); seats.Set(tx, "c", 3) })
		s.must(func(tx *objects.Tx) {
			seats.Set(tx, "b", 2)
			seats.Set(tx, "d", 4)
			seats.Delete(tx, "c")
			var got []string
			for key, v := range seats.All(tx) {
				got = append(got, fmt.Sprint(key, v))
			}
			if !slices.Equal(got, []string{"a1", "b2", "d4"}) {
				s.Errorf("listed %q", got)
			}
		})
	}},
	{"44 a transaction lands whole or not at all, and the event goes on", false, func(s *stage) {
		s.must(func(tx *objects.Tx) {
			err := tx.Transact(func() error {
				seats.Set(tx, "lost", 1)
				note.Set(tx, "lost")
				return errOnPurpose
			})
			if !errors.Is(err, errOnPurpose) || note.Get(tx) != "" {
				s.Errorf("%v, and the note is %q", err, note.Get(tx))
			}
			if err := tx.Transact(func() error { note.Set(tx, "kept"); return nil }); err != nil {
				s.Error(err)
			}
		})
		s.must(func(tx *objects.Tx) {
			if note.Get(tx) != "kept" || seats.Count(tx) != 0 {
				s.Errorf("stored %q and %d seats", note.Get(tx), seats.Count(tx))
			}
		})
	}},
	{"45 a transaction in another is rolled back alone", false, func(s *stage) {
		s.must(func(tx *objects.Tx) {
			err := tx.Transact(func() error {
				seats.Set(tx, "outer", 1)
				inner := tx.Transact(func() error { seats.Set(tx, "inner", 1); return errOnPurpose })
				if !errors.Is(inner, errOnPurpose) {
					s.Errorf("inner: %v", inner)
				}
				return nil
			})
			if err != nil {
				s.Error(err)
			}
		})
		s.must(func(tx *objects.Tx) {
			if got := maps.Collect(seats.All(tx)); !maps.Equal(got, map[string]int{"outer": 1}) {
				s.Errorf("stored %v", got)
			}
		})
	}},
	{"46 a transaction that has ended can write nothing, and ends the goroutine that tries", false, func(s *stage) {
		var kept *objects.Tx
		s.must(func(tx *objects.Tx) { kept = tx })
		survived, ended := false, make(chan bool)
		go func() {
			defer close(ended)
			note.Set(kept, "lost")
			survived = true
		}()
		<-ended
		if got := s.stored(); survived || got != "" {
			s.Errorf("the goroutine went on: %t; stored %q", survived, got)
		}
	}},
	{"47 a panic in a transaction undoes it", false, func(s *stage) {
		s.must(func(tx *objects.Tx) {
			note.Set(tx, "before")
			func() {
				defer func() { _ = recover() }()
				_ = tx.Transact(func() error { note.Set(tx, "lost"); panic("secret") })
			}()
			if got := note.Get(tx); got != "before" {
				s.Errorf("the note is %q", got)
			}
		})
		if got := s.stored(); got != "before" {
			s.Errorf("stored %q", got)
		}
	}},
	{"49 sync waits for what earlier events wrote", false, func(s *stage) {
		for i := range 3 {
			s.must(func(tx *objects.Tx) { note.Set(tx, fmt.Sprint(i)) })
			s.must(func(tx *objects.Tx) {
				if tx.Sync(); note.Get(tx) != fmt.Sprint(i) {
					s.Errorf("%d: the note is %q", i, note.Get(tx))
				}
			})
		}
	}},
	{"50 values outlive whoever ran the object", false, func(s *stage) {
		s.must(func(tx *objects.Tx) { note.Set(tx, "kept"); seats.Set(tx, "a", 1) })
		s.away(s, s.self, 0)
		s.must(func(tx *objects.Tx) {
			if note.Get(tx) != "kept" || seats.Get(tx, "a") != 1 {
				s.Errorf("stored %q and %d", note.Get(tx), seats.Get(tx, "a"))
			}
		})
	}},
}
