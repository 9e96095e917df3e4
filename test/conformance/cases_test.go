package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/objectstest"
)

func TestObjectsBehaveTheSameLiveAndInObjectstest(t *testing.T) {
	c := &cast{scripts: make(map[string]*script)}
	t.Run("objectstest", func(t *testing.T) {
		run(t, c, func(t *testing.T) world {
			w := objectstest.New(tolerant{t}, slices.Collect(maps.Values(c.objects()))...)
			w.Faults(100) // the cases say themselves which they want
			return model{w}
		})
	})
	t.Run("R1", func(t *testing.T) {
		l := one(t, c)
		run(t, c, func(*testing.T) world { return l })
	})
	t.Run("R3", func(t *testing.T) {
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

// suite is all cases.
func suite() []aCase {
	return slices.Concat(cases, eventCases, storageCases, alarmCases, socketCases, tellCases, historyCases, cloudflares)
}

func run(t *testing.T, c *cast, at func(*testing.T) world) {
	for _, x := range suite() {
		t.Run(x.name, func(t *testing.T) {
			name := strings.ReplaceAll(t.Name(), "/", "-")
			class := puppets
			if x.sleeper {
				class = sleepers
			}
			w := at(t)
			x.run(&stage{T: t, world: w, script: c.of(name), self: w.Object(class, name), cast: c})
		})
	}
}

// aCase is one of the table. Those of sleepers sleep, are evicted, or need not stay awake.
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
		most := strings.Repeat("x", objects.MaxValue-len(`""`)) // which is in parts
		s.must(func(tx *objects.Tx) { note.Set(tx, most) })
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
	{"75 sockets keep order, tags and attachments through sleep", true, func(s *stage) { keepsSockets(s, func() { s.sleep(s, s.self) }) }},
	{"74 sockets keep order, tags and attachments through eviction", true, func(s *stage) { keepsSockets(s, func() { s.evict(s, s.self) }) }},
	{"sockets keep order, tags and attachments through a move", false, func(s *stage) { keepsSockets(s, func() { s.move(s, s.self) }) }},
	{"who asks for conflated values gets the newest in one frame, in order with all else", false, func(s *stage) {
		plain, conflated := s.open(), s.connect(s, s.self, "?conflated")
		value := func(tx *objects.Tx, key string, n int) {
			tx.Broadcast(objects.Message{Data: fmt.Appendf(nil, `{"%s":%d}`, key, n), Conflate: key})
		}
		s.must(func(tx *objects.Tx) { value(tx, "a", 1); value(tx, "b", 1); value(tx, "a", 2) })
		for _, want := range []string{`{"a":1}`, `{"b":1}`, `{"a":2}`} {
			s.hears(plain, want)
		}
		s.hears(conflated, `[{"a":2},{"b":1}]`)
		s.pass(40 * time.Millisecond)
		s.must(func(tx *objects.Tx) {
			value(tx, "a", 3)
			tx.Broadcast(objects.Text("between"))
			value(tx, "a", 4)
			value(tx, "a", 5)
		})
		for _, want := range []string{`{"a":3}`, "between", `{"a":4}`, `{"a":5}`} {
			s.hears(plain, want)
		}
		s.pass(40 * time.Millisecond)
		for _, want := range []string{`[{"a":3}]`, "between", `[{"a":5}]`} {
			s.hears(conflated, want)
		}
		for _, bad := range []objects.Message{
			{Data: []byte("no JSON"), Conflate: "a"}, {Binary: true, Data: []byte("1"), Conflate: "a"},
			{Data: []byte("1"), Conflate: strings.Repeat("a", objects.MaxTag+1)},
		} {
			s.fails(objects.Invalid, func(tx *objects.Tx) error { tx.Broadcast(bad); return nil })
		}
		s.fails(objects.Invalid, func(tx *objects.Tx) error {
			tx.Sockets()[0].Send(objects.Message{Data: []byte("1"), Conflate: "a"})
			return nil
		})
	}},
	{"conflated values go on after a move", false, func(s *stage) {
		c := s.connect(s, s.self, "?conflated")
		for i := range 3 {
			s.must(func(tx *objects.Tx) { tx.Broadcast(objects.Message{Data: fmt.Append(nil, i), Conflate: "n"}) })
			s.move(s, s.self)
			s.hears(c, fmt.Sprintf("[%d]", i))
		}
	}},
	{"78 a message that is answered automatically does not wake the object, which hears when", true, func(s *stage) {
		c := s.connect(s, s.self, "?auto")
		answered := func() (at time.Time) {
			s.must(func(tx *objects.Tx) { at = tx.Sockets()[0].Answered() })
			return at
		}
		if at := answered(); !at.IsZero() {
			s.Errorf("answered at %v before anything was asked", at)
		}
		s.sleep(s, s.self)
		made := s.constructed()
		c.send(objects.Text("ping"))
		s.hears(c, "pong")
		c.send(objects.Text("ping"))
		s.hears(c, "pong")
		if n := s.constructed(); n != made {
			s.Errorf("%d instances, want %d: the object was woken", n, made)
		}
		c.send(objects.Binary([]byte("ping"))) // not a text: for the object
		s.hears(c, "ping")
		var first time.Time
		s.eventually("the object hears of it", func() bool { first = answered(); return !first.IsZero() })
		s.evict(s, s.self)
		s.eventually("the next owner knows", func() bool { return !answered().Before(first) })
	}},
	{"the first subprotocol of the object that the client offers is agreed on", false, func(s *stage) {
		for want, offered := range map[string][]string{"chat.1": {"chat.1"}, "chat.2": {"chat.1", "x", "chat.2"}, "": {"x"}} {
			c := s.connect(s, s.self, "", offered...)
			if got := c.subprotocol(); got != want {
				s.Errorf("offered %q: %q, want %q", offered, got, want)
			}
			s.must(func(tx *objects.Tx) {
				if got := tx.Sockets()[0].Subprotocol(); got != want {
					s.Errorf("offered %q: the object has %q, want %q", offered, got, want)
				}
			})
		}
	}},
	{"a socket knows its principal and subprotocol through a move", false, func(s *stage) {
		_ = s.connect(s, s.self, "?who=ada", "chat.1")
		_ = s.open()
		for range 2 {
			s.must(func(tx *objects.Tx) {
				nobody, ada := tx.Sockets()[0], tx.Sockets()[1]
				if ada.Principal().ID != "ada" || ada.Subprotocol() != "chat.1" || nobody.Principal().ID != "" || nobody.Subprotocol() != "" {
					s.Errorf("%+v %q, %+v %q", ada.Principal(), ada.Subprotocol(), nobody.Principal(), nobody.Subprotocol())
				}
			})
			s.move(s, s.self)
		}
	}},
	{"a broadcast leaves out whom it excepts, and a socket is found by its id", false, func(s *stage) {
		a, b, c := s.open("a"), s.open("b"), s.open("c")
		s.must(func(tx *objects.Tx) {
			all := tx.Sockets() // c, b, a
			found, ok := tx.Socket(all[1].ID())
			_, none := tx.Socket("nobody")
			if !ok || found != all[1] || none {
				s.Errorf("found %v %v, and nobody %v", found, ok, none)
			}
			tx.Broadcast(objects.Text("not b"), found)
			tx.Broadcast(objects.Text("only b"), all[0], all[2])
			tx.Broadcast(objects.Text("all"))
		})
		for _, c := range []client{a, c} {
			s.hears(c, "not b")
			s.hears(c, "all")
		}
		s.hears(b, "only b")
		s.hears(b, "all")
	}},
	{"what went wrong is told with the end of a socket", false, func(s *stage) {
		s.message = func(_ *objects.Tx, from objects.Socket, m objects.Message) error {
			switch string(m.Data) {
			case "refuse":
				return objects.Errorf("sold_out", "no more")
			case "fail":
				return errOnPurpose
			case "leave":
				from.Close(4000, "bye")
			}
			return nil
		}
		for name, row := range map[string]struct {
			end  func(client)
			code objects.Code
		}{
			"a refusal":      {func(c client) { c.send(objects.Text("refuse")) }, "sold_out"},
			"a fault":        {func(c client) { c.send(objects.Text("fail")) }, objects.Internal},
			"by the object":  {func(c client) { c.send(objects.Text("leave")) }, ""},
			"too large":      {func(c client) { c.send(objects.Binary(make([]byte, objects.MaxFrame+1))) }, objects.TooLarge},
			"no text":        {func(c client) { c.send(objects.Text("\xff")) }, objects.Invalid},
			"by the client":  {func(c client) { c.close(3000, "") }, ""},
			"without a word": {func(c client) { c.close(1006, "") }, ""},
			"a code of ours": {func(c client) { c.close(1011, "") }, ""},
		} {
			c := s.open()
			row.end(c)
			s.eventually("the end is told", func() bool { return len(s.told()) > 0 })
			end := s.told()[0]
			switch {
			case row.code == "" && end.Err != nil:
				s.Errorf("%s: %v went wrong, want nothing", name, end.Err)
			case row.code != "" && (end.Err == nil || end.Err.Code != row.code || strings.Contains(end.Err.Message, "secret")):
				s.Errorf("%s: %+v went wrong, want %s", name, end.Err, row.code)
			}
			s.mu.Lock()
			s.ends = nil
			s.mu.Unlock()
		}
	}},
	{"a savepoint takes back what was attached, and closed, and sent", false, func(s *stage) {
		c := s.open("a")
		s.must(func(tx *objects.Tx) { tx.Sockets()[0].Attach("before") })
		s.must(func(tx *objects.Tx) {
			socket := tx.Sockets()[0]
			for _, v := range []any{nil, "lost"} {
				_ = tx.Transact(func() error {
					socket.Attach(v)
					socket.Send(objects.Text("lost"))
					return errOnPurpose
				})
			}
			socket.Send(objects.Text("kept"))
		})
		s.hears(c, "kept")
		if got := s.sockets(); !slices.Equal(got, []string{"a before"}) {
			s.Errorf("sockets %q", got)
		}
	}},
	{"a frame under way at a refused commit has its effect at the next owner, once", false, func(s *stage) {
		s.message = func(tx *objects.Tx, from objects.Socket, m objects.Message) error {
			note.Set(tx, note.Get(tx)+string(m.Data))
			from.Send(objects.Text(note.Get(tx)))
			return nil
		}
		c := s.open("a")
		c.send(objects.Text("1"))
		s.hears(c, "1")
		s.refuse(s, s.self)
		for _, text := range []string{"2", "3", "4"} {
			c.send(objects.Text(text))
		}
		for _, want := range []string{"12", "123", "1234"} {
			s.hears(c, want)
		}
		if got := s.stored(); got != "1234" {
			s.Errorf("stored %q", got)
		}
		if got := s.sockets(); !slices.Equal(got, []string{"a <nil>"}) {
			s.Errorf("sockets %q, want the one to be open still", got)
		}
	}},
	{"77 tags", false, func(s *stage) {
		_ = s.open("red")
		_ = s.open("blue", "red", "blue", "a", "red")
		if got := s.sockets(); !slices.Equal(got, []string{"blue red a <nil>", "red <nil>"}) {
			s.Errorf("sockets = %q, want each tag once, as they were given", got)
		}
		s.must(func(tx *objects.Tx) {
			if all, red, blue, none := len(tx.Sockets()), len(tx.SocketsTagged("red")), len(tx.SocketsTagged("blue")), len(tx.SocketsTagged("x")); all != 2 || red != 2 || blue != 1 || none != 0 {
				s.Errorf("%d sockets, %d red, %d blue, %d of none", all, red, blue, none)
			}
		})
	}},
	{"an attachment can be taken away", true, func(s *stage) {
		_ = s.open("a")
		s.must(func(tx *objects.Tx) { tx.Sockets()[0].Attach(map[string]int{"n": 1}) })
		s.must(func(tx *objects.Tx) { tx.Sockets()[0].Attach(nil) })
		s.sleep(s, s.self)
		s.must(func(tx *objects.Tx) {
			if tx.Sockets()[0].Attachment(new(any)) {
				s.Error("it is still there")
			}
		})
	}},
	{"81 the object is told of each end, once", false, func(s *stage) {
		for _, end := range []objects.Close{
			{Code: 1000, Reason: "bye", Clean: true}, {Code: 3001, Reason: "mine", Clean: true}, {Code: 4999, Clean: true}, {Code: 1006},
		} {
			s.open().close(end.Code, end.Reason)
			s.eventually("the end is told", func() bool { return len(s.told()) > 0 })
			s.isTold(end)
			if got := s.sockets(); len(got) != 0 {
				s.Errorf("after %+v: sockets %q are left", end, got)
			}
			s.mu.Lock()
			s.ends = nil
			s.mu.Unlock()
		}
	}},
	{"the object closes a socket", false, func(s *stage) {
		for _, code := range []int{1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 4999} {
			c := s.open()
			s.must(func(tx *objects.Tx) {
				socket := tx.Sockets()[0]
				socket.Send(objects.Text("last words"))
				socket.Close(code, "enough")
				socket.Send(objects.Text("too late"))
				if len(tx.Sockets()) != 0 {
					s.Error("a closed socket is listed")
				}
			})
			s.hears(c, "last words")
			if end := c.ended(s); end.Code != code || end.Reason != "enough" {
				s.Errorf("the client was closed with %+v, want %d", end, code)
			}
			s.isTold(objects.Close{Code: code, Clean: true})
			s.mu.Lock()
			s.ends = nil
			s.mu.Unlock()
		}
		_ = s.open()
		for _, code := range []int{0, 999, 1004, 1005, 1006, 1015, 2999, 5000} {
			s.fails(objects.Internal, func(tx *objects.Tx) error { tx.Sockets()[0].Close(code, ""); return nil })
		}
	}},
	{"a message that fails closes its socket", false, func(s *stage) {
		s.message = func(_ *objects.Tx, _ objects.Socket, m objects.Message) error {
			switch string(m.Data) {
			case "refuse":
				return objects.Errorf(objects.Invalid, "what?")
			case "own":
				return objects.Errorf("sold_out", "no more")
			}
			return errOnPurpose
		}
		for text, code := range map[string]int{"refuse": 4400, "own": 4409, "fail": 1011} {
			c := s.open()
			c.send(objects.Text(text))
			if end := c.ended(s); end.Code != code || strings.Contains(end.Reason, "secret") {
				s.Errorf("%s: closed with %+v, want %d", text, end, code)
			}
			s.eventually("the end is told", func() bool { return len(s.told()) > 0 })
			s.isTold(objects.Close{Code: code, Clean: true})
			s.mu.Lock()
			s.ends = nil
			s.mu.Unlock()
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
	{"54 an alarm runs once, never early", false, func(s *stage) {
		ran := make(chan time.Duration, 10)
		s.alarm = func(tx *objects.Tx, info objects.AlarmInfo) error {
			if _, set := tx.Alarm(); set || info.Retry != 0 {
				s.Errorf("while it runs: set %v, retry %d", set, info.Retry)
			}
			ran <- tx.Now().Sub(info.Scheduled)
			return nil
		}
		for _, in := range []time.Duration{50 * time.Millisecond, 0, -time.Minute} {
			s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now().Add(in)) })
			s.eventually("the alarm has run", func() bool { return len(ran) > 0 })
			if late := <-ran; late < 0 {
				s.Errorf("in %v: it ran %v early", in, -late)
			}
			s.must(func(tx *objects.Tx) {
				if at, set := tx.Alarm(); set {
					s.Errorf("after it ran it is set for %v", at)
				}
			})
		}
		if len(ran) > 0 {
			s.Error("an alarm ran twice")
		}
	}},
	{"an alarm that fails runs again after 2 s and up to a quarter", false, func(s *stage) {
		var at []time.Time
		retries := make(chan int, 10)
		s.alarm = func(tx *objects.Tx, info objects.AlarmInfo) error {
			at = append(at, tx.Now())
			retries <- info.Retry
			if info.Retry == 0 {
				note.Set(tx, "lost")
				return errOnPurpose
			}
			return nil
		}
		s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now()) })
		s.eventually("it ran twice", func() bool { return len(retries) == 2 })
		if a, b := <-retries, <-retries; a != 0 || b != 1 {
			s.Errorf("retries %d, %d", a, b)
		}
		_, exact := s.world.(model) // a live world is as late as its machine
		if waited := at[1].Sub(at[0]); waited < 2*time.Second || exact && waited > 4*time.Second {
			s.Errorf("tried again after %v", waited)
		}
		if s.stored() != "" {
			s.Errorf("stored %q", s.stored())
		}
	}},
	{"58 an alarm that was parked reads as none and can be set anew", true, func(s *stage) {
		fail := true
		tries := make(chan int, 100)
		s.alarm = func(_ *objects.Tx, info objects.AlarmInfo) error {
			tries <- info.Retry
			if fail {
				return errOnPurpose
			}
			return nil
		}
		s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now()) })
		s.eventually("it has failed", func() bool { return len(tries) > 0 })
		s.exhaust(s, s.self)
		last := func() (n int) {
			for n = -1; len(tries) > 0; {
				n = <-tries
			}
			return n
		}
		var n int
		s.eventually("it has failed for the last time", func() bool { n = max(n, last()); return n == 6 })
		s.must(func(tx *objects.Tx) {
			if at, set := tx.Alarm(); set {
				s.Errorf("a parked alarm is set for %v", at)
			}
			tx.SetAlarm(tx.Now())
		})
		fail = false
		s.eventually("the new one has run", func() bool { return len(tries) > 0 })
		if n := last(); n != 0 {
			s.Errorf("the new one is retry %d", n)
		}
	}},
	{"59 a refused commit is not the alarm's fault", false, func(s *stage) {
		retries := make(chan int, 10)
		s.alarm = func(tx *objects.Tx, info objects.AlarmInfo) error {
			note.Set(tx, note.Get(tx)+"x")
			retries <- info.Retry
			return nil
		}
		s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now().Add(300 * time.Millisecond)) })
		s.refuse(s, s.self)
		s.pass(300 * time.Millisecond)
		s.eventually("it has run twice", func() bool { return len(retries) == 2 })
		if a, b := <-retries, <-retries; a != 0 || b != 0 {
			s.Errorf("retries %d, %d, want none", a, b)
		}
		s.eventually("it has committed", func() bool { return s.stored() == "x" })
	}},
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
	{"27 a constructor that fails fails its event and is tried again", false, func(s *stage) {
		s.construct = func(tx *objects.Tx) { note.Set(tx, "made"); panic("secret") }
		s.fails(objects.Internal, func(*objects.Tx) error { return nil })
		s.construct = nil
		if got := s.stored(); got != "" || s.constructed() != 2 {
			s.Errorf("stored %q with %d instances", got, s.constructed())
		}
	}},
}

func keepsSockets(s *stage, rest func()) {
	var clients []client
	for i := range 4 {
		c := s.open(fmt.Sprint("t", i), "z", "all")
		clients = append(clients, c)
		s.must(func(tx *objects.Tx) { tx.Sockets()[0].Attach(i) })
	}
	want := []string{"t3 z all 3", "t2 z all 2", "t1 z all 1", "t0 z all 0"}
	if got := s.sockets(); !slices.Equal(got, want) {
		s.Errorf("before: %q, want %q", got, want)
	}
	rest()
	if got := s.sockets(); !slices.Equal(got, want) {
		s.Errorf("after: %q, want %q", got, want)
	}
	clients[1].close(1000, "")
	s.isTold(objects.Close{Code: 1000, Clean: true})
	_ = s.open("new")
	want = []string{"new <nil>", "t3 z all 3", "t2 z all 2", "t0 z all 0"}
	if got := s.sockets(); !slices.Equal(got, want) {
		s.Errorf("after one has come and one has gone: %q, want %q", got, want)
	}
	for i, c := range clients {
		if i != 1 {
			c.send(objects.Text(fmt.Sprint("hello ", i)))
			s.hears(c, fmt.Sprint("hello ", i))
		}
	}
}
