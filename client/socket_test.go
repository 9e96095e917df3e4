package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"holdfast/client"
	"holdfast/objects"
)

// Lines are rooms whose sockets come back. Those of short lines come back within a few seconds, or not at all.
const (
	Lines      objects.Class = "line"
	ShortLines objects.Class = "short"
)

var (
	say         = objects.NewCall[string, int](Lines, "say")
	sayShort    = objects.NewCall[string, int](ShortLines, "say")
	count       = objects.NewCall[objects.None, int](Lines, "count")
	noted       = objects.NewKey[int]("noted")
	lineObjects = objects.Implement(Lines, objects.New[line], objects.On(say, (*line).say), objects.On(count, (*line).count)).With(objects.Settings{Resume: time.Minute})
	shortLines  = objects.Implement(ShortLines, objects.New[line], objects.On(sayShort, (*line).say)).With(objects.Settings{Resume: 3 * time.Second})
)

type line struct{}

func (*line) say(tx *objects.Tx, text string) (int, error) {
	tx.Broadcast(objects.Text(text))
	return len(tx.Sockets()), nil
}

func (*line) count(tx *objects.Tx, _ objects.None) (int, error) { return noted.Get(tx), nil }

func (*line) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	if r.URL.Path == "/closed" {
		tx.Refuse(objects.Errorf(objects.Forbidden, "not you"))
		return
	}
	s, err := tx.Accept(objects.Subprotocols("line.1"), objects.AutoResponse("ping", "pong"))
	if err != nil {
		tx.Refuse(err)
		return
	}
	s.Send(objects.Text("hello " + s.Principal().ID))
}

func (*line) WebSocketMessage(tx *objects.Tx, from objects.Socket, m objects.Message) error {
	switch string(m.Data) {
	case "bye":
		from.Close(4001, "bye")
		return nil
	case "note":
		noted.Set(tx, noted.Get(tx)+1)
	}
	from.Send(objects.Message{Binary: m.Binary, Data: append([]byte("echo "), m.Data...)})
	return nil
}

// connect opens a socket.
func connect(t *testing.T, objs *client.Client, path string) (*client.Socket, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(objects.WithPrincipal(t.Context(), objects.Principal{ID: "job"}), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-WebSocket-Protocol", "line.1")
	return objs.Connect(objs.Object(Lines, "a"), r)
}

// opened returns a client with a socket that has received its greeting.
func opened(t *testing.T) (*client.Client, *client.Socket) {
	t.Helper()
	_, objs, _ := start(t, true, client.Config{})
	s, err := connect(t, objs, "/")
	if err != nil {
		t.Fatal(err)
	}
	hears(t, s, "hello job")
	return objs, s
}

// hears waits for a message.
func hears(t *testing.T, s *client.Socket, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if m, err := s.Receive(ctx); err != nil || string(m.Data) != want {
		t.Fatalf("received %q, %v, want %q", m.Data, err, want)
	}
}

func TestAProgramOpensASocketThatComesBack(t *testing.T) {
	t.Parallel()
	objs, s := opened(t)
	defer objs.Close(t.Context())
	if s.Subprotocol() != "line.1" {
		t.Errorf("subprotocol %q", s.Subprotocol())
	}
	for i := range 5 {
		text := fmt.Sprint("\x00", i)
		if err := s.Send(t.Context(), objects.Text(text)); err != nil {
			t.Fatal(err)
		}
		hears(t, s, "echo "+text)
		if err := s.Send(t.Context(), objects.Text("ping")); err != nil {
			t.Fatal(err)
		}
		hears(t, s, "pong")
		s.Break()
		if n, err := say.Do(t.Context(), objs.Object(Lines, "a"), "meanwhile"); err != nil || n != 1 {
			t.Errorf("%d sockets, %v", n, err)
		}
		if err := s.Send(t.Context(), objects.Text("on the way")); err != nil {
			t.Fatal(err)
		}
		hears(t, s, "meanwhile")
		hears(t, s, "echo on the way")
	}
	if err := s.Send(t.Context(), objects.Text("bye")); err != nil {
		t.Fatal(err)
	}
	_, err := s.Receive(t.Context())
	if closed, is := errors.AsType[*client.Closed](err); !is || closed.Code != 4001 {
		t.Errorf("the end is %v", err)
	}
	if _, again := s.Receive(t.Context()); !errors.Is(again, err) {
		t.Errorf("the end is %v, and then %v", err, again)
	}
}

func TestASocketThatTheObjectDoesNotAcceptIsItsError(t *testing.T) {
	_, objs, _ := start(t, true, client.Config{})
	defer objs.Close(t.Context())
	if _, err := connect(t, objs, "/closed"); objects.CodeOf(err) != objects.Forbidden {
		t.Errorf("connect = %v", err)
	}
}

func TestAClientThatIsClosedHasNoSockets(t *testing.T) {
	t.Parallel()
	objs, s := opened(t)
	objs.Close(t.Context())
	_, err := s.Receive(t.Context())
	if closed, is := errors.AsType[*client.Closed](err); !is || closed.Code != 1000 {
		t.Errorf("the end is %v", err)
	}
	if _, err := connect(t, objs, "/"); objects.CodeOf(err) != objects.Unavailable {
		t.Errorf("connect = %v", err)
	}
	if n, err := say.Do(t.Context(), objs.Object(Lines, "a"), "anybody?"); err != nil || n != 0 {
		t.Errorf("%d sockets are left, %v", n, err)
	}
}

// The close overtook the message before it.
func TestWhatWasSentBeforeTheCloseArrives(t *testing.T) {
	t.Parallel()
	_, objs, nc := start(t, true, client.Config{})
	defer objs.Close(t.Context())
	const rounds = 30
	for range rounds {
		leaving, err := client.New(nc, client.Config{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := connect(t, leaving, "/")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(t.Context(), objects.Text("note")); err != nil {
			t.Fatal(err)
		}
		leaving.Close(t.Context())
	}
	if n, err := count.Do(t.Context(), objs.Object(Lines, "a"), nil); err != nil || n != rounds {
		t.Errorf("%d of %d messages have come, %v", n, rounds, err)
	}
}

// endsAfter is a context that ends when Done is called for the nth time.
type endsAfter struct {
	context.Context
	end   func()
	waits atomic.Int64
}

func (c *endsAfter) Done() <-chan struct{} {
	if c.waits.Add(-1) == 0 {
		c.end()
	}
	return c.Context.Done()
}

func newEndsAfter(t *testing.T, waits int) *endsAfter {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	c := &endsAfter{Context: ctx, end: cancel}
	c.waits.Store(int64(waits))
	return c
}

// A wait that ended while the socket came back left the socket with a connection whose greeting was never received.
func TestASocketComesBackWheneverAWaitForItHasEnded(t *testing.T) {
	t.Parallel()
	objs, s := opened(t)
	defer objs.Close(t.Context())
	for n := range 20 {
		s.Break()
		if err := s.Send(t.Context(), objects.Text(fmt.Sprint(n))); err != nil {
			t.Fatal(err)
		}
		m, err := s.Receive(newEndsAfter(t, n+1))
		switch want := fmt.Sprint("echo ", n); {
		case errors.Is(err, context.Canceled):
			hears(t, s, want)
		case err != nil || string(m.Data) != want:
			t.Fatalf("received %q, %v, want %q", m.Data, err, want)
		}
	}
	if n, err := say.Do(t.Context(), objs.Object(Lines, "a"), "once"); err != nil || n != 1 {
		t.Errorf("%d sockets, %v", n, err)
	}
	hears(t, s, "once")
}

func TestAConnectThatIsGivenUpLeavesNoSocket(t *testing.T) {
	t.Parallel()
	_, objs, _ := start(t, true, client.Config{})
	for n := range 20 {
		r, err := http.NewRequestWithContext(newEndsAfter(t, n+1), http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := objs.Connect(objs.Object(ShortLines, "a"), r); err == nil {
			s.Close(1000, "")
		} else if code := objects.CodeOf(err); !errors.Is(err, context.Canceled) && code != objects.Unknown && code != objects.Unavailable {
			t.Errorf("connect = %v", err)
		}
	}
	objs.Close(t.Context())
	// A socket whose request was under way is opened after all, and ends when the time to come back is over.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(2 * time.Minute); ; <-tick.C {
		n, err := sayShort.Do(t.Context(), objs.Object(ShortLines, "a"), "anybody?")
		if err == nil && n == 0 {
			break
		}
		if err != nil || time.Now().After(until) {
			t.Fatalf("%d sockets are left, %v", n, err)
		}
	}
}

// A message that was not sent was counted: after the socket had come back, the counts of later messages were wrong.
func TestAMessageWhoseWaitHasEndedIsNotSentLater(t *testing.T) {
	t.Parallel()
	objs, s := opened(t)
	defer objs.Close(t.Context())
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var sent []string
	for n := range 40 {
		text := fmt.Sprint(n)
		switch err := s.Send(over, objects.Text(text)); {
		case err == nil:
			sent = append(sent, text)
		case !errors.Is(err, context.Canceled):
			t.Fatal(err)
		}
	}
	if err := s.Send(t.Context(), objects.Text("last")); err != nil {
		t.Fatal(err)
	}
	for _, text := range append(sent, "last") {
		hears(t, s, "echo "+text)
	}
	s.Break()
	if err := s.Send(t.Context(), objects.Text("later")); err != nil {
		t.Fatal(err)
	}
	hears(t, s, "echo later")
}

// A program that ended while a socket came back waited until the time to come back was over.
func TestASocketThatComesBackCanBeClosed(t *testing.T) {
	t.Parallel()
	_, objs, nc := start(t, true, client.Config{})
	s, err := connect(t, objs, "/")
	if err != nil {
		t.Fatal(err)
	}
	hears(t, s, "hello job")
	nc.Close()
	s.Break()
	trying, received := make(chan struct{}), make(chan error)
	waits := newEndsAfter(t, 2) // for a message, and then to come back
	waits.end = func() { close(trying) }
	go func() {
		_, err := s.Receive(waits)
		received <- err
	}()
	<-trying
	over, cancel := context.WithCancel(t.Context())
	cancel() // its object cannot be told
	objs.Close(over)
	err = <-received
	if closed, is := errors.AsType[*client.Closed](err); !is || closed.Code != 1000 {
		t.Errorf("the end is %v", err)
	}
}

// Messages of the object were not received while a message to the object waited.
func TestASocketReceivesWhileItSends(t *testing.T) {
	t.Parallel()
	_, objs, _ := start(t, true, client.Config{})
	defer objs.Close(t.Context())
	s, err := connect(t, objs, "/")
	if err != nil {
		t.Fatal(err)
	}
	release := s.Sending()
	hears(t, s, "hello job")
	waits := newEndsAfter(t, 1)
	if err := s.Send(waits, objects.Text("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("send = %v", err)
	}
	release()
	if err := s.Send(t.Context(), objects.Text("now")); err != nil {
		t.Fatal(err)
	}
	hears(t, s, "echo now")
}
