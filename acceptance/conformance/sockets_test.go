package conformance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/objects"
)

// socketCases are cases of docs/conformance.md about sockets.
var socketCases = []aCase{
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
	{"a socket that was lost comes back as the same one, and has missed nothing", false, func(s *stage) {
		s.self = s.Object(returners, s.self.Name())
		all, c := s.open(), s.connectAgain(s, s.self)
		var ids []string
		s.must(func(tx *objects.Tx) {
			ids = nil
			for _, socket := range tx.Sockets() {
				ids = append(ids, socket.ID())
			}
		})
		say := func(text string) {
			s.Helper()
			s.must(func(tx *objects.Tx) { tx.Broadcast(objects.Text(text)) })
			s.hears(all, text)
		}
		hears := func(want string) {
			s.Helper()
			if got := c.next(s); string(got.Data) != want {
				s.Errorf("heard %q, want %q", got.Data, want)
			}
		}
		say("one")
		hears("one")
		c.lose()
		say("two")
		s.move(s, s.self)
		say("three")
		if missed := c.comeBack(s); missed != 0 {
			s.Errorf("%d were missed", missed)
		}
		say("four")
		hears("two")
		hears("three")
		hears("four")
		c.send(objects.Text("echo"))
		hears("echo")
		s.must(func(tx *objects.Tx) {
			for i, socket := range tx.Sockets() {
				if i >= len(ids) || socket.ID() != ids[i] {
					s.Errorf("socket %d is %s, and before it was %q", i, socket.ID(), ids)
				}
			}
		})
		s.isTold()
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
		s.Parallel() // it waits
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
	{"79 an automatic response is not held up by an event", false, func(s *stage) {
		c := s.connect(s, s.self, "?auto")
		entered, end := make(chan bool), make(chan bool)
		answered := make(chan error, 1)
		go func() {
			_, err := s.do(func(tx *objects.Tx) (string, error) {
				note.Set(tx, "x")
				entered <- true
				<-end
				return "", nil
			})
			answered <- err
		}()
		<-entered
		c.send(objects.Text("ping"))
		s.hears(c, "pong")
		end <- true
		if err := <-answered; err != nil {
			s.Error(err)
		}
	}},
	{"80 a message waits for the write before it", false, func(s *stage) {
		runs := 0
		s.message = func(tx *objects.Tx, from objects.Socket, _ objects.Message) error {
			runs++
			note.Set(tx, fmt.Sprint(runs))
			from.Send(objects.Text("run " + note.Get(tx)))
			return nil
		}
		c := s.open()
		s.must(func(tx *objects.Tx) { note.Set(tx, "0") })
		s.refuse(s, s.self)
		c.send(objects.Text("hello"))
		s.hears(c, "run 2")
		if got := s.stored(); got != "2" {
			s.Errorf("stored %q", got)
		}
	}},
	{"82 a socket whose event cannot begin is closed", true, func(s *stage) {
		c := s.open()
		s.sleep(s, s.self)
		s.construct = func(*objects.Tx) { panic("secret") }
		c.send(objects.Text("hello"))
		if end := c.ended(s); end.Code != 1011 {
			s.Errorf("it ended with %+v, want 1011", end)
		}
		s.mu.Lock()
		s.construct = nil
		s.mu.Unlock()
		s.eventually("it is gone", func() bool { return len(s.sockets()) == 0 })
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
