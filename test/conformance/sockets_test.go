package conformance

import (
	"fmt"

	"holdfast/objects"
)

// socketCases are cases of docs/conformance.md about sockets.
var socketCases = []aCase{
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
