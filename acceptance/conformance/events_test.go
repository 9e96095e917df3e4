package conformance

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/objects"
)

// eventCases are cases of docs/conformance.md about ids, calls and events.
var eventCases = []aCase{
	{"1 the same name gives the same id of 64 hex digits", false, func(s *stage) {
		one, err := puppets.ID(s.self.Name())
		two, again := puppets.ID(s.self.Name())
		if err != nil || again != nil || one != two || one != s.self.ID() || len(one.String()) != 64 || strings.Trim(one.String(), "0123456789abcdef") != "" {
			s.Errorf("ids %v and %v, %v, %v", one, two, err, again)
		}
		s.must(func(tx *objects.Tx) {
			if tx.ID() != one {
				s.Errorf("the object's own id is %v, want %v", tx.ID(), one)
			}
		})
	}},
	{"2 two random ids differ, and have no name", false, func(s *stage) {
		nameless := s.cast.of("")
		nameless.call = func(tx *objects.Tx) (string, error) {
			note.Set(tx, note.Get(tx)+"x")
			return tx.Name() + note.Get(tx), nil
		}
		one, two := puppets.NewID(), puppets.NewID()
		for _, id := range []objects.ID{one, two} {
			if got, err := acts[puppets].Do(s.Context(), s.ObjectByID(id), ""); got != "x" || err != nil {
				s.Errorf("%v: %q, %v, want an object of its own, without a name", id, got, err)
			}
		}
		if one == two {
			s.Error("they are equal")
		}
	}},
	{"3 an id that is read from its text is the same id", false, func(s *stage) {
		s.must(func(tx *objects.Tx) { note.Set(tx, "here") })
		id, err := puppets.ParseID(s.self.ID().String())
		if err != nil || id != s.self.ID() {
			s.Errorf("%v, %v, want %v", id, err, s.self.ID())
		}
		s.self = s.ObjectByID(id)
		if got := s.mustSay("here"); got != "here" {
			s.Errorf("it leads to an object that says %q", got)
		}
	}},
	{"4 what is not 64 hex digits is no id", false, func(s *stage) {
		text := s.self.ID().String()
		for _, bad := range []string{"", "x", text[1:], text + "0", "g" + text[1:]} {
			if _, err := puppets.ParseID(bad); objects.CodeOf(err) != objects.Invalid {
				s.Errorf("%q: %v, want invalid", bad, err)
			}
		}
	}},
	{"5 an id of another class is refused", false, func(s *stage) {
		if _, err := sleepers.ParseID(s.self.ID().String()); objects.CodeOf(err) != objects.Invalid {
			s.Errorf("read: %v, want invalid", err)
		}
		if _, err := acts[sleepers].Do(s.Context(), s.self, ""); objects.CodeOf(err) != objects.Invalid {
			s.Errorf("asked: %v, want invalid", err)
		}
	}},
	{"6 a name has at most 1,024 bytes", false, func(s *stage) {
		long := strings.Repeat("n", objects.MaxName)
		s.cast.of(long).call = func(tx *objects.Tx) (string, error) { return tx.Name(), nil }
		if got, err := acts[puppets].Do(s.Context(), s.Object(puppets, long), ""); got != long || err != nil {
			s.Errorf("the longest name: %d bytes, %v", len(got), err)
		}
		for _, bad := range []string{"", long + "n", "\xff"} {
			if _, err := acts[puppets].Do(s.Context(), s.Object(puppets, bad), ""); objects.CodeOf(err) != objects.Invalid {
				s.Errorf("%.10q of %d bytes: %v, want invalid", bad, len(bad), err)
			}
		}
	}},
	{"10 two workers share an object", false, func(s *stage) {
		s.call = func(tx *objects.Tx) (string, error) {
			note.Set(tx, note.Get(tx)+"x")
			return note.Get(tx), nil
		}
		for i, at := range []objects.Caller{s.world, s.second(s), s.world} {
			if got, err := acts[puppets].Do(s.Context(), at.Object(puppets, s.self.Name()), ""); got != strings.Repeat("x", i+1) || err != nil {
				s.Errorf("%d: %q, %v", i, got, err)
			}
		}
	}},
	{"12 calls that are not waited for run in any order, each once", false, func(s *stage) {
		const n = 20
		s.call = func(tx *objects.Tx) (string, error) {
			note.Set(tx, note.Get(tx)+"x")
			return note.Get(tx), nil
		}
		got := s.together(n, func() (string, error) { return acts[puppets].Do(s.Context(), s.self, "") })
		slices.SortFunc(got, func(a, b string) int { return len(a) - len(b) })
		for i := range got {
			if len(got[i]) != i+1 {
				s.Fatalf("answers %q", got)
			}
		}
	}},
	{"13 a call may have the name of a method of the runtime", false, func(s *stage) {
		ran := make(chan bool, 1)
		s.alarm = func(*objects.Tx, objects.AlarmInfo) error { ran <- true; return nil }
		if got, err := calls[puppets].alarm.Do(s.Context(), s.self, nil); got != "called" || err != nil || len(ran) != 0 {
			s.Errorf("%q, %v, and the alarm's handler has run %d times", got, err, len(ran))
		}
	}},
	{"14 a class without ServeHTTP answers no request", false, func(s *stage) {
		response := s.fetch(s.Object(mutes, s.self.Name()), httptest.NewRequest(http.MethodGet, "/path", nil))
		defer response.Body.Close()
		if response.StatusCode != http.StatusNotFound {
			s.Errorf("status %d, want 404", response.StatusCode)
		}
	}},
	{"21 events run one at a time", false, func(s *stage) {
		var running atomic.Int32
		s.call = func(tx *objects.Tx) (string, error) {
			n := running.Add(1)
			before := note.Get(tx)
			for range 100 {
				runtime.Gosched()
			}
			note.Set(tx, before+"x")
			running.Add(-1)
			return fmt.Sprint(n), nil
		}
		for _, n := range s.together(20, func() (string, error) { return acts[puppets].Do(s.Context(), s.self, "") }) {
			if n != "1" {
				s.Errorf("%s events ran at once", n)
			}
		}
		if got := s.stored(); got != strings.Repeat("x", 20) {
			s.Errorf("stored %q", got)
		}
	}},
	{"22 while an event waits for another object no event of its own begins", false, func(s *stage) {
		other := s.another("other")
		entered, answer := make(chan bool), make(chan bool)
		other.call = func(*objects.Tx) (string, error) { entered <- true; <-answer; return "", nil }
		var order atomic.Int32
		var waited, came int32
		s.call = func(tx *objects.Tx) (string, error) {
			_, err := acts[puppets].Do(tx, tx.Object(puppets, other.name), "")
			waited = order.Add(1)
			return "", err
		}
		s.hear = func(*objects.Tx, string) error { came = order.Add(1); return nil }
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := acts[puppets].Do(s.Context(), s.self, ""); err != nil {
				s.Error(err)
			}
		})
		<-entered
		all.Go(func() {
			if _, err := calls[puppets].hear.Do(s.Context(), s.self, ""); err != nil {
				s.Error(err)
			}
		})
		for range 100 {
			runtime.Gosched()
		}
		answer <- true
		all.Wait()
		if waited != 1 || came != 2 {
			s.Errorf("the event that waited ended as number %d, the one that came later ran as %d", waited, came)
		}
	}},
	{"23 events that wait run one after the other", false, func(s *stage) {
		var mu sync.Mutex
		var steps []string
		step := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			steps = append(steps, what)
		}
		s.call = func(*objects.Tx) (string, error) {
			step("begins")
			for range 100 {
				runtime.Gosched()
			}
			step("ends")
			return "", nil
		}
		s.together(5, func() (string, error) { return acts[puppets].Do(s.Context(), s.self, "") })
		for i, what := range steps {
			if want := []string{"begins", "ends"}[i%2]; what != want {
				s.Fatalf("%q", steps)
			}
		}
	}},
	{"24 nothing of an event outlives it", false, func(s *stage) {
		var kept *objects.Tx
		s.must(func(tx *objects.Tx) { kept = tx })
		<-kept.Done()
		if _, err := acts[puppets].Do(kept, s.self, ""); objects.CodeOf(err) != objects.Invalid {
			s.Errorf("asked with it: %v, want invalid", err)
		}
	}},
	{"28 an event that takes too long is rolled back", false, func(s *stage) {
		s.self = s.Object(hasties, s.self.Name())
		s.eventually("it is written in time", func() bool {
			_, err := s.do(func(tx *objects.Tx) (string, error) { note.Set(tx, "before"); return "", nil })
			return err == nil
		})
		s.fails(objects.Unavailable, func(tx *objects.Tx) error {
			note.Set(tx, "lost")
			<-tx.Done()
			<-time.After(hasty) // the handler does not look, and goes on
			return nil
		})
		s.eventually("it is as before", func() bool {
			got, err := s.do(func(tx *objects.Tx) (string, error) { return note.Get(tx), nil })
			return err == nil && got == "before"
		})
	}},
	{"29 nothing leaves before the write is durable", false, func(s *stage) {
		c := s.open()
		s.must(func(tx *objects.Tx) { note.Set(tx, "before") })
		s.refuse(s, s.self)
		runs := 0
		got, err := s.do(func(tx *objects.Tx) (string, error) {
			runs++
			note.Set(tx, "after")
			tx.Broadcast(objects.Text(fmt.Sprint("run ", runs)))
			return fmt.Sprint("run ", runs), nil
		})
		if got != "run 2" || err != nil {
			s.Errorf("answer %q, %v, want that of the second run", got, err)
		}
		s.hears(c, "run 2")
	}},
	{"30 what waits for the write leaves in order", false, func(s *stage) {
		c := s.open()
		for i := range 3 {
			s.must(func(tx *objects.Tx) {
				note.Set(tx, fmt.Sprint(i))
				for j := range 3 {
					tx.Broadcast(objects.Text(fmt.Sprint(i, j)))
				}
			})
		}
		for i := range 9 {
			s.hears(c, fmt.Sprint(i/3, i%3))
		}
	}},
	{"36 an event that fails after a write has written nothing", false, func(s *stage) {
		e := s.failure(objects.Internal, func(tx *objects.Tx) error { note.Set(tx, "lost"); return errors.New("secret") })
		if got := s.stored(); got != "" || e.Reference == "" || strings.Contains(e.Message, "secret") {
			s.Errorf("stored %q, told %v", got, e)
		}
	}},
}

// together runs fn n times at once, and returns the results.
func (s *stage) together(n int, fn func() (string, error)) []string {
	s.Helper()
	var mu sync.Mutex
	var got []string
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			out, err := fn()
			mu.Lock()
			defer mu.Unlock()
			if got = append(got, out); err != nil {
				s.Error(err)
			}
		})
	}
	all.Wait()
	return got
}

// mustSay returns what the object reached by s.self has stored, whatever name it is reached by.
func (s *stage) mustSay(want string) (got string) {
	s.Helper()
	s.call = func(tx *objects.Tx) (string, error) { return note.Get(tx), nil }
	got, err := acts[s.self.ID().Class()].Do(s.Context(), s.self, "")
	if err != nil {
		s.Fatalf("want %s: %v", want, err)
	}
	return got
}
