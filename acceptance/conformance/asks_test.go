package conformance

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"holdfast/objects"
)

var askCases = []aCase{
	{"an event asks another object", false, func(s *stage) {
		other := s.another("other")
		other.call = func(tx *objects.Tx) (string, error) {
			from, asked := tx.Sender()
			if !asked || from.ID() != s.self.ID() || from.Name() != s.self.Name() {
				s.Errorf("asked by %v, %t", from, asked)
			}
			note.Set(tx, note.Get(tx)+"x")
			return note.Get(tx) + " for " + objects.PrincipalOf(tx).ID, nil
		}
		for i := range 2 {
			got, err := s.doIn(objects.WithPrincipal(s.Context(), objects.Principal{ID: "ada"}), func(tx *objects.Tx) (string, error) {
				if _, asked := tx.Sender(); asked {
					s.Error("a worker has asked as an object")
				}
				return acts[puppets].Do(tx, tx.Object(puppets, other.name), "")
			})
			if want := strings.Repeat("x", i+1) + " for ada"; err != nil || got != want {
				s.Errorf("%q, %v, want %q", got, err, want)
			}
		}
	}},
	{"an event asks twice, and asks a ServeHTTP", false, func(s *stage) {
		other := s.another("other")
		other.call = func(tx *objects.Tx) (string, error) {
			note.Set(tx, note.Get(tx)+"x")
			return note.Get(tx), nil
		}
		other.serve = func(tx *objects.Tx, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Path", r.URL.Path)
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, note.Get(tx))
		}
		got, err := s.do(func(tx *objects.Tx) (string, error) {
			to := tx.Object(puppets, other.name)
			for range 2 { // the same question twice is two questions
				if _, err := acts[puppets].Do(tx, to, ""); err != nil {
					return "", err
				}
			}
			r, err := http.NewRequestWithContext(tx, http.MethodGet, "http://any/some/path", nil)
			if err != nil {
				return "", err
			}
			response, err := to.Fetch(r)
			if err != nil {
				return "", err
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			return fmt.Sprint(response.StatusCode, response.Header.Get("X-Path"), string(body)), err
		})
		if want := "418/some/pathxx"; err != nil || got != want {
			s.Errorf("%q, %v, want %q", got, err, want)
		}
	}},
	{"what an event has asked stays when the event fails", false, func(s *stage) {
		other := s.another("other")
		other.call = func(tx *objects.Tx) (string, error) { note.Set(tx, "asked"); return "", nil }
		s.fails(objects.Conflict, func(tx *objects.Tx) error {
			note.Set(tx, "mine")
			if _, err := acts[puppets].Do(tx, tx.Object(puppets, other.name), ""); err != nil {
				return err
			}
			return objects.Errorf(objects.Conflict, "no")
		})
		if mine, theirs := s.stored(), other.stored(s); mine != "" || theirs != "asked" {
			s.Errorf("stored %q, and at the other %q", mine, theirs)
		}
	}},
	{"an event that runs again at the next owner asks once", false, func(s *stage) {
		other := s.another("other")
		other.call = func(tx *objects.Tx) (string, error) {
			note.Set(tx, note.Get(tx)+"x")
			return note.Get(tx), nil
		}
		s.must(func(tx *objects.Tx) { note.Set(tx, "before") })
		s.refuse(s, s.self)
		runs := 0
		got, err := s.do(func(tx *objects.Tx) (string, error) {
			runs++
			note.Set(tx, "after")
			return acts[puppets].Do(tx, tx.Object(puppets, other.name), "")
		})
		if err != nil || got != "x" || runs != 2 || other.stored(s) != "x" || s.stored() != "after" {
			s.Errorf("%q, %v after %d runs; stored %q, and at the other %q", got, err, runs, s.stored(), other.stored(s))
		}
	}},
	{"an object that waits for itself is refused", false, func(s *stage) {
		other := s.another("other")
		other.call = func(tx *objects.Tx) (string, error) { return acts[puppets].Do(tx, tx.ObjectByID(s.self.ID()), "") }
		_, err := s.do(func(tx *objects.Tx) (string, error) { return acts[puppets].Do(tx, tx.Object(puppets, other.name), "") })
		if objects.CodeOf(err) != objects.Conflict || !strings.Contains(err.Error(), " -> puppet/"+other.name[:64]+"... -> puppet/") {
			s.Errorf("err = %v", err)
		}
		if _, err := s.do(func(tx *objects.Tx) (string, error) { return acts[puppets].Do(tx, tx.Self(), "") }); objects.CodeOf(err) != objects.Conflict {
			s.Errorf("err = %v", err)
		}
	}},
	{"a refusal reaches the event that asks", false, func(s *stage) {
		other := s.another("other")
		other.call = func(*objects.Tx) (string, error) {
			return "", objects.Errorf("sold_out", "none is left").With("left", 0)
		}
		s.must(func(tx *objects.Tx) {
			_, err := acts[puppets].Do(tx, tx.Object(puppets, other.name), "")
			e, ok := errors.AsType[*objects.Error](err)
			if !ok || e.Code != "sold_out" || e.Message != "puppet/"+other.name[:64]+"...: none is left" || fmt.Sprint(e.Details["left"]) != "0" {
				s.Errorf("err = %v", err)
			}
			if _, err := acts["nobody"].Do(tx, tx.Object("nobody", "a"), ""); objects.CodeOf(err) != objects.NotFound {
				s.Errorf("of no class: %v, want not_found", err)
			}
			if _, err := acts[puppets].Do(tx, tx.Object(puppets, ""), ""); objects.CodeOf(err) != objects.Invalid {
				s.Errorf("of no name: %v, want invalid", err)
			}
		})
	}},
	{"only a running event asks", false, func(s *stage) {
		other := s.another("other")
		other.call = func(*objects.Tx) (string, error) { return "", nil }
		s.construct = func(tx *objects.Tx) {
			if _, err := acts[puppets].Do(tx, tx.Object(puppets, other.name), ""); objects.CodeOf(err) != objects.Invalid {
				s.Errorf("in a constructor: %v, want invalid", err)
			}
		}
		var tx *objects.Tx
		s.must(func(now *objects.Tx) {
			tx = now
			if _, err := acts[puppets].Do(s.Context(), tx.Object(puppets, other.name), ""); objects.CodeOf(err) != objects.Invalid {
				s.Errorf("without the event's context: %v, want invalid", err)
			}
		})
		if _, err := acts[puppets].Do(tx, tx.Object(puppets, other.name), ""); objects.CodeOf(err) != objects.Invalid {
			s.Errorf("after the event: %v, want invalid", err)
		}
	}},
	{"an event asks under no idempotency key", false, func(s *stage) {
		other := s.another("other")
		other.call = func(tx *objects.Tx) (string, error) { note.Set(tx, "asked"); return "", nil }
		s.fails(objects.Invalid, func(tx *objects.Tx) error {
			_, err := acts[puppets].Do(objects.WithIdempotencyKey(tx, "k"), tx.Object(puppets, other.name), "")
			return err
		})
		if got := other.stored(s); got != "" {
			s.Errorf("it was asked, and has stored %q", got)
		}
	}},
	{"the answer to an object that has changed something has a size", false, func(s *stage) {
		other := s.another("other")
		writes := false
		other.call = func(tx *objects.Tx) (string, error) {
			if writes {
				note.Set(tx, "x")
			}
			return strings.Repeat("x", 20<<10), nil
		}
		for writes = range map[bool]int{false: 0, true: 0} {
			_, err := s.do(func(tx *objects.Tx) (string, error) { return acts[puppets].Do(tx, tx.Object(puppets, other.name), "") })
			if want := map[bool]objects.Code{true: objects.TooLarge}[writes]; objects.CodeOf(err) != want {
				s.Errorf("writes %t: %v, want %q", writes, err, want)
			}
		}
		if got := other.stored(s); got != "" {
			s.Errorf("stored %q", got)
		}
	}},
}
