package conformance

import (
	"strings"
	"time"

	"holdfast/objects"
)

// historyCases are about bookmarks, and about objects that are put back.
var historyCases = []aCase{
	{"an object is put back to a bookmark, and the restore is taken back", false, func(s *stage) {
		s.self = s.Object(keepers, s.self.Name())
		var empty, first, undo objects.Bookmark
		s.must(func(tx *objects.Tx) { empty = tx.Bookmark() })
		s.must(func(tx *objects.Tx) { note.Set(tx, "one"); seats.Set(tx, "a", 1) })
		s.must(func(tx *objects.Tx) {
			first = tx.Bookmark()
			note.Set(tx, "two")
			seats.Set(tx, "a", 2)
			seats.Set(tx, "b", 2)
		})
		is := func(when, want string, wanted int) {
			s.Helper()
			s.must(func(tx *objects.Tx) {
				if got := note.Get(tx); got != want || seats.Count(tx) != wanted {
					s.Errorf("%s: %q and %d seats, want %q and %d", when, got, seats.Count(tx), want, wanted)
				}
			})
		}
		made := s.constructed()
		s.must(func(tx *objects.Tx) {
			note.Set(tx, "dropped")
			undo = tx.Restore(first)
		})
		is("after the restore", "one", 1)
		if got := s.constructed(); got != made+1 {
			s.Errorf("%d instances, want one more than %d", got, made)
		}
		s.move(s, s.self)
		is("at the next owner", "one", 1)
		s.must(func(tx *objects.Tx) { tx.Restore(undo) })
		is("after the undo", "two", 2)
		s.must(func(tx *objects.Tx) { tx.Restore(empty) })
		is("before everything", "", 0)
		s.must(func(tx *objects.Tx) { tx.Restore(undo) })
		is("after everything", "two", 2)
		if empty >= first || first >= undo {
			s.Errorf("bookmarks are not in order: %s, %s, %s", empty, first, undo)
		}
	}},
	{"an event that fails restores nothing", false, func(s *stage) {
		s.self = s.Object(keepers, s.self.Name())
		var before objects.Bookmark
		s.must(func(tx *objects.Tx) { note.Set(tx, "one") })
		s.must(func(tx *objects.Tx) { before = tx.Bookmark(); note.Set(tx, "two") })
		s.fails(objects.Conflict, func(tx *objects.Tx) error {
			tx.Restore(before)
			return objects.Errorf(objects.Conflict, "no")
		})
		s.must(func(tx *objects.Tx) {
			if got := note.Get(tx); got != "two" {
				s.Errorf("stored %q", got)
			}
		})
		s.fails(objects.Invalid, func(tx *objects.Tx) error { tx.Restore("yesterday"); return nil })
	}},
	{"a bookmark of a time, and what is not known", false, func(s *stage) {
		plain := s.self
		s.self = s.Object(keepers, s.self.Name())
		s.must(func(tx *objects.Tx) { note.Set(tx, "one") })
		s.pass(20 * time.Millisecond)
		var then objects.Bookmark
		s.must(func(tx *objects.Tx) {
			var err error
			if then, err = tx.BookmarkAt(tx.Now().Add(-5 * time.Millisecond)); err != nil {
				s.Error(err)
			}
			note.Set(tx, "two")
		})
		s.must(func(tx *objects.Tx) { tx.Restore(then) })
		s.must(func(tx *objects.Tx) {
			if got := note.Get(tx); got != "one" {
				s.Errorf("stored %q", got)
			}
		})
		s.self = plain
		s.must(func(tx *objects.Tx) {
			if _, err := tx.BookmarkAt(tx.Now()); objects.CodeOf(err) != objects.NotFound || !strings.Contains(err.Error(), "Settings.History") {
				s.Errorf("without a history: %v", err)
			}
			note.Set(tx, "x")
		})
		s.fails(objects.NotFound, func(tx *objects.Tx) error { tx.Restore(tx.Bookmark()); return nil })
	}},
	{"what was told and set is not taken back", false, func(s *stage) {
		s.self = s.Object(keepers, s.self.Name())
		other := s.another("other")
		var before objects.Bookmark
		hear := func(tx *objects.Tx, what string) {
			calls[puppets].hear.Tell(tx, tx.Object(puppets, other.name), what)
		}
		s.must(func(tx *objects.Tx) { note.Set(tx, "one") })
		s.must(func(tx *objects.Tx) { before = tx.Bookmark(); hear(tx, "a"); note.Set(tx, "two") })
		s.must(func(tx *objects.Tx) { hear(tx, "b"); tx.Restore(before) })
		s.must(func(tx *objects.Tx) { hear(tx, "c") })
		s.eventually("all has arrived", func() bool { return len(other.stored(s)) >= 3 })
		if got := other.stored(s); got != "abc" {
			s.Errorf("heard %q", got)
		}
		if got := s.stored(); got != "one" {
			s.Errorf("stored %q", got)
		}
	}},
}
