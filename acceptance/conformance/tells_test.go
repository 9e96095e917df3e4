package conformance

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"holdfast/objects"
)

// tellCases are cases about messages that objects tell each other and themselves. Cloudflare has no counterpart.
var tellCases = []aCase{
	{"what is told arrives once, in the order in which it was told", false, func(s *stage) {
		other := s.another("other")
		var want strings.Builder
		for i := range 5 {
			s.must(func(tx *objects.Tx) {
				for j := range 5 {
					calls[puppets].hear.Tell(tx, tx.Object(puppets, other.name), fmt.Sprint(i, j, " "))
				}
			})
			for j := range 5 {
				fmt.Fprint(&want, i, j, " ")
			}
		}
		s.eventually("all has arrived", func() bool { return len(other.stored(s)) >= want.Len() })
		if got := other.stored(s); got != want.String() {
			s.Errorf("heard %q, want %q", got, want.String())
		}
	}},
	{"an event that fails has told nothing", false, func(s *stage) {
		other := s.another("other")
		tell := func(tx *objects.Tx, what string) {
			calls[puppets].hear.Tell(tx, tx.Object(puppets, other.name), what)
		}
		s.fails(objects.Conflict, func(tx *objects.Tx) error { tell(tx, "lost"); return objects.Errorf(objects.Conflict, "no") })
		s.fails(objects.Internal, func(tx *objects.Tx) error { tell(tx, "lost"); return errOnPurpose })
		s.must(func(tx *objects.Tx) {
			_ = tx.Transact(func() error { tell(tx, "lost"); return errOnPurpose })
			tell(tx, "kept")
		})
		s.eventually("it has arrived", func() bool { return other.stored(s) != "" })
		if got := other.stored(s); got != "kept" {
			s.Errorf("heard %q", got)
		}
	}},
	{"who has told is known, and for nobody", false, func(s *stage) {
		other := s.another("other")
		other.hear = func(tx *objects.Tx, _ string) error {
			from, told := tx.Sender()
			note.Set(tx, fmt.Sprint(told, " ", from.ID() == s.self.ID(), " ", objects.PrincipalOf(tx).ID))
			return nil
		}
		ctx := objects.WithPrincipal(s.Context(), objects.Principal{ID: "ada"})
		if _, err := s.doIn(ctx, func(tx *objects.Tx) (string, error) {
			calls[puppets].hear.Tell(tx, tx.Object(puppets, other.name), "")
			return "", nil
		}); err != nil {
			s.Fatal(err)
		}
		s.eventually("it has arrived", func() bool { return other.stored(s) != "" })
		if got := other.stored(s); got != "true true " {
			s.Errorf("heard %q, want the sender and no principal", got)
		}
	}},
	{"what is told runs once though the receiver's commit is refused", false, func(s *stage) {
		s.Parallel() // it waits
		other := s.another("other")
		_ = other.stored(s)
		self := s.Object(puppets, other.name)
		calls := calls[puppets]
		if _, err := calls.hear.Do(s.Context(), self, "0"); err != nil {
			s.Fatal(err)
		}
		s.refuse(s, self)
		s.must(func(tx *objects.Tx) {
			for i := range 3 {
				calls.hear.Tell(tx, tx.Object(puppets, other.name), fmt.Sprint(i+1))
			}
		})
		s.eventually("all has arrived", func() bool { return len(other.stored(s)) >= 4 })
		if got := other.stored(s); got != "0123" {
			s.Errorf("heard %q", got)
		}
	}},
	{"what is told is told once though the teller's commit is refused", false, func(s *stage) {
		other := s.another("other")
		s.must(func(tx *objects.Tx) { note.Set(tx, "before") })
		s.refuse(s, s.self)
		s.must(func(tx *objects.Tx) {
			note.Set(tx, "after")
			calls[puppets].hear.Tell(tx, tx.Object(puppets, other.name), "x")
		})
		s.eventually("it has arrived", func() bool { return other.stored(s) != "" })
		if got := other.stored(s); got != "x" || s.stored() != "after" {
			s.Errorf("heard %q, stored %q", got, s.stored())
		}
	}},
	{"a message that is refused is parked, and its sender hears of it", false, func(s *stage) {
		other := s.another("other")
		other.hear = func(tx *objects.Tx, what string) error {
			if what == "bad" {
				return objects.Errorf("sold_out", "none is left")
			}
			note.Set(tx, note.Get(tx)+what)
			return nil
		}
		s.parked = func(tx *objects.Tx, m objects.Told) error {
			note.Set(tx, fmt.Sprint(m.Call, " ", m.Err.Code, " ", m.To.String() == s.Object(puppets, other.name).ID().String()))
			return nil
		}
		s.must(func(tx *objects.Tx) {
			for _, what := range []string{"one ", "bad", "two"} {
				calls[puppets].hear.Tell(tx, tx.Object(puppets, other.name), what)
			}
		})
		s.eventually("the others have arrived", func() bool { return other.stored(s) == "one two" })
		s.eventually("the sender has heard", func() bool { return s.stored() == "hear sold_out true" })
	}},
	{"a message whose handler fails is tried again, and holds up those behind it", false, func(s *stage) {
		s.Parallel() // it waits
		other := s.another("other")
		var tries atomic.Int32
		other.hear = func(tx *objects.Tx, what string) error {
			if what == "one" && tries.Add(1) == 1 {
				return errOnPurpose
			}
			note.Set(tx, note.Get(tx)+what)
			return nil
		}
		s.must(func(tx *objects.Tx) {
			calls[puppets].hear.Tell(tx, tx.Object(puppets, other.name), "one")
			calls[puppets].hear.Tell(tx, tx.Object(puppets, other.name), "two")
		})
		s.eventually("both have arrived", func() bool { return other.stored(s) == "onetwo" })
		if n := tries.Load(); n != 2 {
			s.Errorf("it was tried %d times, want twice", n)
		}
	}},
	{"a timer runs once, never early, and can be replaced and cancelled", true, func(s *stage) {
		heard := make(chan string, 10)
		var due time.Time
		s.hear = func(tx *objects.Tx, what string) error {
			if tx.Now().Before(due) {
				s.Errorf("%s is %v early", what, due.Sub(tx.Now()))
			}
			heard <- what
			return nil
		}
		in := func(tx *objects.Tx, what, key string, d time.Duration) {
			calls[sleepers].hear.Tell(tx, tx.Self(), what, objects.After(d), objects.Keyed(key))
		}
		s.eventually("both are pending still when the next event runs", func() bool {
			for len(heard) > 0 { // they ran before that: the machine stood still
				<-heard
			}
			s.must(func(tx *objects.Tx) {
				in(tx, "replaced", "a", 50*time.Millisecond)
				in(tx, "cancelled", "b", 50*time.Millisecond)
			})
			pending := false
			s.must(func(tx *objects.Tx) {
				_, a := tx.Pending("a")
				_, b := tx.Pending("b")
				if pending = a && b && len(heard) == 0; !pending {
					return
				}
				due = tx.Now().Add(300 * time.Millisecond)
				in(tx, "runs", "a", 300*time.Millisecond)
				if m, pending := tx.Pending("a"); !pending || m.Key != "a" || m.At.Before(due) {
					s.Errorf("pending: %+v, %t", m, pending)
				}
				if !tx.Cancel("b") || tx.Cancel("b") || tx.Cancel("none") {
					s.Error("want b cancelled, once")
				}
			})
			return pending
		})
		s.evict(s, s.self)
		s.eventually("it has run", func() bool { return len(heard) > 0 })
		if what := <-heard; what != "runs" || len(heard) > 0 {
			s.Errorf("heard %q, and %d more", what, len(heard))
		}
		s.must(func(tx *objects.Tx) {
			if m, pending := tx.Pending("a"); pending {
				s.Errorf("after it ran: %+v", m)
			}
		})
	}},
	{"what is told at a time to another object arrives then", false, func(s *stage) {
		other := s.another("other")
		var due time.Time
		other.hear = func(tx *objects.Tx, what string) error {
			note.Set(tx, fmt.Sprint(note.Get(tx), what, " ", !tx.Now().Before(due), " "))
			return nil
		}
		s.must(func(tx *objects.Tx) {
			due = tx.Now()
			calls[puppets].hear.Tell(tx, tx.Object(puppets, other.name), "later", objects.At(tx.Now().Add(300*time.Millisecond)))
			calls[puppets].hear.Tell(tx, tx.Object(puppets, other.name), "now")
		})
		s.eventually("both have arrived", func() bool { return other.stored(s) == "now true later true " })
	}},
}
