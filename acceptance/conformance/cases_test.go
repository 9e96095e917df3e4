package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/objectstest"
)

func TestObjectsBehaveTheSameLiveAndInObjectstest(t *testing.T) {
	c := &cast{scripts: make(map[string]*script)}
	t.Run("objectstest", func(t *testing.T) {
		t.Parallel() // the worlds wait more than they compute
		run(t, c, func(t *testing.T) world {
			w := objectstest.New(tolerant{t}, slices.Collect(maps.Values(c.objects()))...)
			w.Faults(100) // the cases say themselves which they want
			return model{w}
		})
	})
	t.Run("R1", func(t *testing.T) {
		t.Parallel()
		l := one(t, c)
		run(t, c, func(*testing.T) world { return l })
	})
	t.Run("R3", func(t *testing.T) {
		t.Parallel()
		l := three(t, c)
		run(t, c, func(*testing.T) world { return l })
	})
}

// tolerant is a test in which the one case that uses a transaction wrongly may do so.
type tolerant struct{ *testing.T }

func (t tolerant) Errorf(format string, args ...any) {
	t.Helper()
	if strings.Contains(t.Name(), "/46_") {
		t.Logf(format, args...)
		return
	}
	t.T.Errorf(format, args...)
}

// large is held by the world that stores the largest value: it takes a core for seconds.
var large sync.Mutex

// suite returns all cases.
func suite() []aCase {
	return slices.Concat(cases, askCases, eventCases, storageCases, alarmCases, socketCases, tellCases, historyCases, cloudflares)
}

// run runs all cases in a world, those of sleepers beside the others: both wait more than they compute, and no case of one host
// stops or watches the other. Cases that wait for the clock run after the rest, beside each other: they stop and watch no host.
func run(t *testing.T, c *cast, at func(*testing.T) world) {
	for class, name := range map[objects.Class]string{puppets: "puppets", sleepers: "sleepers"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, x := range suite() {
				if x.sleeper != (class == sleepers) {
					continue
				}
				t.Run(x.name, func(t *testing.T) {
					name := strings.ReplaceAll(t.Name(), "/", "-")
					w := at(t)
					x.run(&stage{T: t, world: w, script: c.of(name), self: w.Object(class, name), cast: c})
				})
			}
		})
	}
}

// aCase is one case of the table. Objects of cases with sleepers sleep, are evicted, or need not stay awake.
type aCase struct {
	name    string
	sleeper bool
	run     func(*stage)
}

var cases = []aCase{
	{"unknown class", false, func(s *stage) {
		if _, err := acts["nobody"].Do(s.Context(), s.Object("nobody", "a"), ""); objects.CodeOf(err) != objects.NotFound {
			s.Errorf("err = %v, want not_found", err)
		}
	}},
	{"15 unknown call", false, func(s *stage) {
		if _, err := missing.Do(s.Context(), s.self, nil); objects.CodeOf(err) != objects.NotFound {
			s.Errorf("err = %v, want not_found", err)
		}
	}},
	{"limit of a call's input", false, func(s *stage) {
		s.must(func(*objects.Tx) {})
		for size, code := range map[int]objects.Code{objects.MaxCall - 2: "", objects.MaxCall - 1: objects.TooLarge} {
			if _, err := acts[puppets].Do(s.Context(), s.self, strings.Repeat("x", size)); objects.CodeOf(err) != code {
				s.Errorf("%d bytes: %v, want %q", size, err, code)
			}
		}
	}},
	{"limit of a call's answer", false, func(s *stage) {
		for size, code := range map[int]objects.Code{objects.MaxCall - 2: "", objects.MaxCall - 1: objects.TooLarge} {
			out, err := s.do(func(tx *objects.Tx) (string, error) {
				note.Set(tx, fmt.Sprint(size))
				return strings.Repeat("x", size), nil
			})
			if objects.CodeOf(err) != code || err == nil && len(out) != size {
				s.Errorf("%d bytes: %d came, %v, want %q", size, len(out), err, code)
			}
		}
		if got := s.stored(); got != fmt.Sprint(objects.MaxCall-2) {
			s.Errorf("stored %s: an answer over the limit has left its write", got)
		}
	}},
	{"limit of a request's body", false, func(s *stage) {
		for size, want := range map[int]int{objects.MaxBody: 200, objects.MaxBody + 1: 413} {
			status, body := s.get(func(_ *objects.Tx, w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, r.ContentLength)
			}, strings.Repeat("x", size))
			if status != want || want == 200 && body != fmt.Sprint(size) || want != 200 && !strings.Contains(body, `"code":"too_large"`) {
				s.Errorf("%d bytes: %d %.80s, want %d", size, status, body, want)
			}
		}
	}},
	{"a response over the limit leaves nothing", false, func(s *stage) {
		c := s.open("a")
		s.must(func(tx *objects.Tx) { tx.Sockets()[0].Attach("before") })
		for size, want := range map[int]int{objects.MaxBody: 200, objects.MaxBody + 1: 413} {
			status, body := s.get(func(tx *objects.Tx, w http.ResponseWriter, _ *http.Request) {
				if size > objects.MaxBody {
					note.Set(tx, "lost")
					tx.SetAlarm(tx.Now())
					for _, socket := range tx.Sockets() {
						socket.Attach("lost")
						socket.Send(objects.Text("lost"))
						socket.Close(1000, "lost")
					}
				}
				_, _ = w.Write(make([]byte, size))
			}, "")
			if status != want || want == 200 && len(body) != size {
				s.Errorf("%d bytes: status %d with %d, want %d", size, status, len(body), want)
			}
		}
		if got := s.sockets(); !slices.Equal(got, []string{"a before"}) || s.stored() != "" {
			s.Errorf("sockets %q, stored %q, want all as before", got, s.stored())
		}
		c.send(objects.Text("hello"))
		s.hears(c, "hello")
	}},
	{"limit of a frame", false, func(s *stage) {
		c := s.open()
		c.send(objects.Binary(make([]byte, objects.MaxFrame)))
		if m := c.next(s); len(m.Data) != objects.MaxFrame || !m.Binary {
			s.Errorf("the largest frame came back with %d bytes", len(m.Data))
		}
		c.send(objects.Binary(make([]byte, objects.MaxFrame+1)))
		if end := c.ended(s); end.Code != 1009 {
			s.Errorf("ended with %+v, want 1009", end)
		}
		s.isTold(objects.Close{Code: 1009, Clean: true})
	}},
	{"limit of a message", false, func(s *stage) {
		c := s.open()
		s.must(func(tx *objects.Tx) { tx.Sockets()[0].Send(objects.Binary(make([]byte, objects.MaxMessage))) })
		if m := c.next(s); len(m.Data) != objects.MaxMessage {
			s.Errorf("the largest message has %d bytes", len(m.Data))
		}
		s.fails(objects.TooLarge, func(tx *objects.Tx) error {
			tx.Sockets()[0].Send(objects.Binary(make([]byte, objects.MaxMessage+1)))
			return nil
		})
	}},
	{"limits of storage", false, func(s *stage) {
		large.Lock()
		defer large.Unlock()
		most := strings.Repeat("x", objects.MaxValue-len(`""`)) // which is in parts
		s.eventually("it is stored", func() bool {              // a slow machine takes longer than a request may
			_, err := s.do(func(tx *objects.Tx) (string, error) { note.Set(tx, most); return "", nil })
			if code := objects.CodeOf(err); err != nil && code != objects.Unknown && !code.Retryable() {
				s.Fatal(err)
			}
			return err == nil
		})
		s.fails(objects.TooLarge, func(tx *objects.Tx) error { note.Set(tx, most+"x"); return nil })
		s.fails(objects.TooLarge, func(tx *objects.Tx) error {
			objects.NewKey[int](strings.Repeat("k", objects.MaxKey+1)).Set(tx, 1)
			return nil
		})
		s.fails(objects.Invalid, func(tx *objects.Tx) error { objects.NewKey[int]("\xff").Set(tx, 1); return nil })
		if s.stored() != most {
			s.Error("what was stored has changed")
		}
	}},
	{"87 limits of a socket", false, func(s *stage) {
		c := s.open()
		s.fails(objects.TooLarge, func(tx *objects.Tx) error {
			tx.Sockets()[0].Attach(strings.Repeat("x", objects.MaxAttachment-1))
			return nil
		})
		s.must(func(tx *objects.Tx) {
			tx.Sockets()[0].Attach(strings.Repeat("x", objects.MaxAttachment-2))
			tx.Sockets()[0].Send(objects.Text("attached"))
		})
		s.hears(c, "attached")
	}},
	{"what is no text is refused", false, func(s *stage) {
		c := s.open()
		s.fails(objects.Invalid, func(tx *objects.Tx) error { tx.Sockets()[0].Send(objects.Text("\xff")); return nil })
		s.fails(objects.Internal, func(tx *objects.Tx) error { note.Set(tx, "\xff"); return nil })
		if _, err := acts[puppets].Do(s.Context(), s.self, "\xff"); objects.CodeOf(err) != objects.Invalid {
			s.Errorf("input that is no text: %v, want invalid", err)
		}
		c.send(objects.Text("\xff"))
		if end := c.ended(s); end.Code != 1007 {
			s.Errorf("ended with %+v, want 1007", end)
		}
		s.isTold(objects.Close{Code: 1007, Clean: true})
	}},
	{"deadlines", false, func(s *stage) {
		// No stall counts: a deadline is judged from before the question on, and from within its event.
		within := func(ctx context.Context, began time.Time, least, most time.Duration) bool {
			deadline, ok := ctx.Deadline()
			return ok && deadline.After(began.Add(least)) && time.Until(deadline) <= most
		}
		good := false
		began := time.Now()
		if _, err := s.do(func(tx *objects.Tx) (string, error) {
			good = within(tx, began, 10*time.Second, 15*time.Second)
			return "", nil
		}); err != nil || !good {
			s.Errorf("a call without a deadline: %v, want one of 15 s", err)
		}
		ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
		defer cancel()
		good, began = false, time.Now()
		if _, err := s.doIn(ctx, func(tx *objects.Tx) (string, error) { good = within(tx, began, 0, 5*time.Second); return "", nil }); err != nil || !good {
			s.Errorf("a call of 5 s: %v, want a deadline of 5 s", err)
		}
		good, began = false, time.Now()
		if status, _ := s.get(func(_ *objects.Tx, _ http.ResponseWriter, r *http.Request) {
			good = within(r.Context(), began, 10*time.Second, 15*time.Second)
		}, ""); status != 200 || !good {
			s.Errorf("a request: status %d, want a deadline of 15 s", status)
		}
	}},
	{"32 a caller that goes away ends nothing", false, func(s *stage) {
		ctx, cancel := context.WithCancel(s.Context())
		began := make(chan struct{})
		type key struct{}
		_, err := s.doIn(context.WithValue(ctx, key{}, "secret"), func(tx *objects.Tx) (string, error) {
			cancel()
			close(began)
			if tx.Err() != nil || tx.Value(key{}) != nil {
				s.Errorf("the event's context is %v, with a value of the caller's: %v", tx.Err(), tx.Value(key{}))
			}
			note.Set(tx, "done")
			return "", nil
		})
		if objects.CodeOf(err) != objects.Unknown {
			s.Errorf("err = %v, want unknown", err)
		}
		<-began
		s.eventually("the event has run to its end", func() bool { return s.stored() == "done" })
	}},
	{"16 a refusal is told word for word and keeps the instance", false, func(s *stage) {
		s.must(func(*objects.Tx) {})
		for _, code := range []objects.Code{objects.Conflict, objects.TooMany, "sold_out"} {
			e := s.failure(code, func(tx *objects.Tx) error {
				note.Set(tx, "lost")
				return objects.Errorf(code, "no: %d", 7)
			})
			if e.Message != "no: 7" || e.Reference != "" {
				s.Errorf("err = %#v, want the words", e)
			}
		}
		if s.stored() != "" || s.constructed() != 1 {
			s.Errorf("stored %q with %d instances, want nothing and one", s.stored(), s.constructed())
		}
	}},
	{"a fault is told by reference and drops the instance", false, func(s *stage) {
		s.must(func(*objects.Tx) {})
		for i, end := range []func() error{
			func() error { return errOnPurpose },
			func() error { panic("secret") },
			func() error { return &objects.Error{Message: "no code"} },
			func() error { return objects.Errorf("NO CODE", "none") },
		} {
			e := s.failure(objects.Internal, func(tx *objects.Tx) error { note.Set(tx, "lost"); return end() })
			if e.Reference == "" || strings.Contains(e.Error(), "secret") {
				s.Errorf("%d: err = %v, want a reference and no secret", i, e)
			}
		}
		if s.stored() != "" || s.constructed() != 5 {
			s.Errorf("stored %q with %d instances, want nothing and 5", s.stored(), s.constructed())
		}
	}},
	{"details of a refusal travel", false, func(s *stage) {
		e := s.failure("sold_out", func(*objects.Tx) error {
			return objects.Errorf("sold_out", "no").With("left", 0).With("rows", []string{"a", "b"})
		})
		if fmt.Sprint(e.Details) != "map[left:0 rows:[a b]]" {
			s.Errorf("details = %v", e.Details)
		}
		status, body := s.get(func(tx *objects.Tx, _ http.ResponseWriter, _ *http.Request) {
			tx.Refuse(objects.Errorf("sold_out", "no").With("left", 0))
		}, "")
		if want := `{"code":"sold_out","message":"no","details":{"left":0}}`; status != 409 || body != want {
			s.Errorf("answer = %d %s, want 409 %s", status, body, want)
		}
	}},
	{"a request that is refused leaves nothing", false, func(s *stage) {
		s.must(func(*objects.Tx) {})
		status, _ := s.get(func(tx *objects.Tx, w http.ResponseWriter, _ *http.Request) {
			note.Set(tx, "lost")
			w.WriteHeader(http.StatusOK)
			fmt.Fprint(w, "fine")
			tx.Refuse(objects.Errorf(objects.Forbidden, "no"))
		}, "")
		if status != 403 || s.stored() != "" || s.constructed() != 1 {
			s.Errorf("status %d, stored %q, %d instances; want 403, nothing, and the instance kept", status, s.stored(), s.constructed())
		}
		status, _ = s.get(func(tx *objects.Tx, w http.ResponseWriter, _ *http.Request) {
			note.Set(tx, "kept")
			http.Error(w, "a status of its own", http.StatusConflict)
		}, "")
		if status != 409 || s.stored() != "kept" {
			s.Errorf("status %d, stored %q; a status of the handler's own refuses nothing", status, s.stored())
		}
	}},
	{"11 an object is reached by its id", false, func(s *stage) {
		s.must(func(tx *objects.Tx) { note.Set(tx, "here") })
		s.call = func(tx *objects.Tx) (string, error) {
			return fmt.Sprint(tx.ID() == s.self.ID(), " ", note.Get(tx)), nil
		}
		got, err := acts[puppets].Do(s.Context(), s.ObjectByID(s.self.ID()), "")
		if got != "true here" || err != nil {
			s.Errorf("by id: %q, %v", got, err)
		}
	}},
	{"who asks is known", false, func(s *stage) {
		ada := objects.Principal{ID: "ada", Claims: map[string]string{"role": "owner"}}
		who := func(tx *objects.Tx) (string, error) { return fmt.Sprint(objects.PrincipalOf(tx)), nil }
		if got, err := s.doIn(objects.WithPrincipal(s.Context(), ada), who); got != fmt.Sprint(ada) || err != nil {
			s.Errorf("asked by %s, %v, want %v", got, err, ada)
		}
		if got, err := s.do(who); got != fmt.Sprint(objects.Principal{}) || err != nil {
			s.Errorf("asked by %s, %v, want nobody", got, err)
		}
	}},
	{"who opened a socket is known with all that comes of it", false, func(s *stage) {
		s.message = func(tx *objects.Tx, from objects.Socket, _ objects.Message) error {
			from.Send(objects.Text(objects.PrincipalOf(tx).ID))
			return nil
		}
		closedBy := make(chan string, 1)
		s.closed = func(tx *objects.Tx, _ objects.Socket, _ objects.Close) error {
			closedBy <- objects.PrincipalOf(tx).ID
			return nil
		}
		c := s.connect(s, s.self, "?who=ada")
		c.send(objects.Text("who am I?"))
		s.hears(c, "ada")
		c.close(1000, "")
		s.eventually("the end is told", func() bool { return len(closedBy) > 0 })
		if who := <-closedBy; who != "ada" {
			s.Errorf("the close is of %q", who)
		}
	}},
	{"calls of one request under a key are apart", false, func(s *stage) {
		count := func(tx *objects.Tx) (string, error) {
			note.Set(tx, note.Get(tx)+"x")
			return note.Get(tx), nil
		}
		for range 2 { // the request, and again
			ctx := objects.WithIdempotencyKey(s.Context(), "k")
			for _, want := range []string{"x", "xx"} {
				if got, err := s.doIn(ctx, count); got != want || err != nil {
					s.Errorf("answer = %q, %v, want %q", got, err, want)
				}
			}
		}
		bob := objects.WithPrincipal(s.Context(), objects.Principal{ID: "bob"})
		if got, err := s.doIn(objects.WithIdempotencyKey(bob, "k"), count); got != "xxx" || err != nil {
			s.Errorf("another's request under the key: %q, %v, want an effect of its own", got, err)
		}
	}},
	{"25 a failed event leaves nothing", false, func(s *stage) {
		c := s.open("a")
		s.must(func(tx *objects.Tx) { tx.Sockets()[0].Attach("before"); note.Set(tx, "before") })
		for _, code := range []objects.Code{objects.Conflict, objects.Internal} {
			s.fails(code, func(tx *objects.Tx) error {
				note.Set(tx, "lost")
				tx.SetAlarm(tx.Now().Add(time.Hour))
				socket := tx.Sockets()[0]
				socket.Attach("lost")
				socket.Send(objects.Text("lost"))
				socket.Close(1000, "lost")
				if code == objects.Internal {
					return errOnPurpose
				}
				return objects.Errorf(code, "no")
			})
		}
		s.must(func(tx *objects.Tx) {
			if at, set := tx.Alarm(); set {
				s.Errorf("an alarm is set for %v", at)
			}
		})
		if got := s.sockets(); !slices.Equal(got, []string{"a before"}) || s.stored() != "before" {
			s.Errorf("sockets %q, stored %q", got, s.stored())
		}
		c.send(objects.Text("hello"))
		s.hears(c, "hello")
	}},
	{"a transaction rolls back what it sent", false, func(s *stage) {
		c := s.open("a")
		_, err := s.do(func(tx *objects.Tx) (string, error) {
			socket := tx.Sockets()[0]
			socket.Send(objects.Text("one"))
			err := tx.Transact(func() error {
				note.Set(tx, "lost")
				socket.Send(objects.Text("lost"))
				socket.Attach("lost")
				socket.Close(1000, "lost")
				return errOnPurpose
			})
			if !errors.Is(err, errOnPurpose) {
				s.Errorf("transaction = %v", err)
			}
			socket.Send(objects.Text("two"))
			return "", nil
		})
		if err != nil {
			s.Error(err)
		}
		s.hears(c, "one")
		s.hears(c, "two")
		if got := s.sockets(); !slices.Equal(got, []string{"a <nil>"}) || s.stored() != "" {
			s.Errorf("sockets %q, stored %q", got, s.stored())
		}
	}},
	{"a request under a key has one effect", true, func(s *stage) {
		count := func(tx *objects.Tx, w http.ResponseWriter, _ *http.Request) {
			note.Set(tx, note.Get(tx)+"x")
			fmt.Fprint(w, note.Get(tx))
		}
		for range 3 {
			if status, body := s.get(count, "body", "Idempotency-Key", "k1"); status != 200 || body != "x" {
				s.Errorf("answer = %d %s, want the first again", status, body)
			}
			s.evict(s, s.self)
		}
		if status, _ := s.get(count, "other", "Idempotency-Key", "k1"); status != 409 {
			s.Errorf("another request under the key: %d, want 409", status)
		}
		if status, body := s.get(count, "body", "Idempotency-Key", "k2"); status != 200 || body != "xx" {
			s.Errorf("under another key: %d %s", status, body)
		}
		if status, body := s.get(count, "body"); status != 200 || body != "xxx" {
			s.Errorf("without a key: %d %s", status, body)
		}
		large := func(tx *objects.Tx, w http.ResponseWriter, _ *http.Request) {
			note.Set(tx, "large")
			_, _ = w.Write(make([]byte, 2<<10))
		}
		for _, want := range []int{200, 409} {
			if status, _ := s.get(large, "", "Idempotency-Key", "k3"); status != want {
				s.Errorf("an answer that is too large to keep: %d, want %d", status, want)
			}
		}
	}},
	{"68 an instance that has slept is constructed again", true, func(s *stage) {
		s.must(func(tx *objects.Tx) { note.Set(tx, "kept") })
		for i, rest := range []func(testing.TB, objects.Ref){s.sleep, s.evict, s.sleep} {
			n := s.constructed()
			rest(s, s.self)
			if s.stored() != "kept" || s.constructed() != n+1 {
				s.Errorf("%d: stored %q with %d instances, want it kept and one more than %d", i, s.stored(), s.constructed(), n)
			}
		}
	}},
	{"31 an event whose commit is refused runs again at the next owner", false, func(s *stage) {
		c := s.open("a")
		s.must(func(tx *objects.Tx) { note.Set(tx, "1") })
		s.refuse(s, s.self)
		runs := 0
		out, err := s.do(func(tx *objects.Tx) (string, error) {
			runs++
			note.Set(tx, note.Get(tx)+"2")
			tx.Sockets()[0].Send(objects.Text(note.Get(tx)))
			return note.Get(tx), nil
		})
		if out != "12" || err != nil || runs != 2 {
			s.Errorf("answer = %q, %v after %d runs, want 12 after 2", out, err, runs)
		}
		s.hears(c, "12")
		c.send(objects.Text("hello"))
		s.hears(c, "hello")
		if got := s.stored(); got != "12" {
			s.Errorf("stored %q", got)
		}
	}},
	{"a socket whose opening could not commit is opened at the next owner", false, func(s *stage) {
		s.must(func(tx *objects.Tx) { note.Set(tx, "1") })
		s.refuse(s, s.self)
		s.construct = func(tx *objects.Tx) { note.Set(tx, note.Get(tx)+"2") }
		c := s.open("a")
		c.send(objects.Text("hello"))
		s.hears(c, "hello")
		if got := s.sockets(); len(got) != 1 {
			s.Errorf("sockets %q, want one", got)
		}
	}},
	{"27 a constructor that fails fails its event and is tried again", false, func(s *stage) {
		s.construct = func(tx *objects.Tx) { note.Set(tx, "made"); panic("secret") }
		s.fails(objects.Internal, func(*objects.Tx) error { return nil })
		s.construct = nil
		if got := s.stored(); got != "" || s.constructed() != 2 {
			s.Errorf("stored %q with %d instances", got, s.constructed())
		}
	}},
}
