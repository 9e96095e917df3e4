package objects

import (
	"fmt"
	"net/http"
	"time"

	"holdfast/objects/internal/engine"
)

// Class is the name of a kind of object: const Tickets objects.Class = "ticket". It has 1 to 63 of a-z, 0-9 and -, a letter
// first; another is Invalid wherever it is used. It names what is stored: another name means new, empty objects.
type Class string

// valid reports whether c can name a class.
func (c Class) valid() bool {
	for i := range len(c) {
		letter, other := 'a' <= c[i] && c[i] <= 'z', '0' <= c[i] && c[i] <= '9' || c[i] == '-'
		if !letter && (!other || i == 0) {
			return false
		}
	}
	return 1 <= len(c) && len(c) <= 63
}

func (c Class) check() *Error {
	if c.valid() {
		return nil
	}
	return Errorf(Invalid, "class name %.80q: want 1 to 63 of a-z, 0-9 and -, a letter first", string(c))
}

// Implementation is a class with the code that answers for it: what a program runs (app.Config.Objects, objectstest.New).
type Implementation struct {
	class  Class
	open   func(*Tx) any
	calls  map[string]func(self any, tx *Tx, input []byte) ([]byte, error)
	engine *engine.Class
}

// Implement joins a class and its code. Open constructs the instance whenever it wakes, before its first event, as an event
// of its own: it may read and write, and its failure fails the event that woke it. What else the class can do is said by
// the interfaces that the instance implements: [http.Handler], [WebSocketMessager], [WebSocketCloser], [Alarmer],
// [Undeliverer], [Sleeper]. Open may return an interface. Dependencies are given by calling Implement in main, with a closure
// for open.
//
// It panics over a bad class name, a call of another class, and a call with two handlers. A call without a handler is
// NotFound.
func Implement[T any](class Class, open func(*Tx) T, handlers ...Handler[T]) *Implementation {
	if err := class.check(); err != nil {
		panic("objects: " + err.Message)
	}
	i := &Implementation{
		class: class,
		open:  func(tx *Tx) any { return open(tx) },
		calls: make(map[string]func(any, *Tx, []byte) ([]byte, error)),
	}
	for _, h := range handlers {
		switch {
		case h.err != nil:
			panic("objects: class " + string(class) + ": " + h.err.Message)
		case h.class != class:
			panic("objects: class " + string(class) + ": call " + h.name + " is of class " + string(h.class))
		case i.calls[h.name] != nil:
			panic("objects: class " + string(class) + ": call " + h.name + " has two handlers")
		}
		i.calls[h.name] = func(self any, tx *Tx, input []byte) ([]byte, error) { return h.run(self.(T), tx, input) }
	}
	i.engine = &engine.Class{Name: string(class), Limits: limits, Author: author{i}}
	i.engine.Fetches, i.engine.Alarms = may[T]()
	return i
}

// New is the constructor of a struct that needs none: Implement(Tickets, New[Counter]).
func New[T any](*Tx) *T { return new(T) }

// Class is the class that is implemented.
func (i *Implementation) Class() Class { return i.class }

// Engine is how a host runs the class. For hosts.
func (i *Implementation) Engine() *engine.Class { return i.engine }

// Handler is a call with the method that answers it.
type Handler[T any] struct {
	class Class
	name  string
	err   *Error
	run   func(self T, tx *Tx, input []byte) ([]byte, error)
}

// On has the method answer the call. One whose types differ does not compile. An input that does not decode is refused as
// Invalid, and the method does not run.
func On[T, In, Out any](call Call[In, Out], method func(T, *Tx, In) (Out, error)) Handler[T] {
	return Handler[T]{call.class, call.name, call.err, func(self T, tx *Tx, input []byte) ([]byte, error) {
		in, err := decode[In](input)
		if err != nil {
			return nil, Errorf(Invalid, "call %s: decode the input: %v", call.name, err)
		}
		out, err := method(self, tx, in)
		if err != nil {
			return nil, err
		}
		output, err := encode(out)
		if err != nil {
			tx.t.Abort(fmt.Errorf("call %s: encode the answer: %w", call.name, err))
		}
		return output, nil
	}}
}

// WebSocketMessager is implemented by a class that hears its sockets.
type WebSocketMessager interface {
	// WebSocketMessage runs for one message after the other, in the order in which the peer sent them (Cloudflare's
	// webSocketMessage). An *Error closes the socket with its code's CloseCode and its message, anything else with 1011 and a
	// reference that the log has too; to keep it open, send the error and return nil.
	WebSocketMessage(tx *Tx, from Socket, m Message) error
}

// WebSocketCloser is implemented by a class that wants to know when a socket has ended.
type WebSocketCloser interface {
	// WebSocketClose runs once for each socket that was accepted, whatever ended it (Cloudflare's webSocketClose and
	// webSocketError). The socket is among Sockets during the event and gone after it, even if the event fails. What is sent to
	// it is dropped.
	WebSocketClose(tx *Tx, s Socket, end Close) error
}

// Close is how a socket ended.
type Close struct {
	Code   int // the close code, of either side; 1006 if none came
	Reason string
	Clean  bool // whether it ended with a close frame, of either side

	// Err is what went wrong, if anything (Cloudflare's webSocketError): TooLarge (a message of the client), Invalid (a text that
	// is not UTF-8, a broken frame), TooMany (the client read too slowly), Unavailable (the gateway has gone, or something that
	// was sent was lost), or the error of the WebSocketMessage that ended the socket. A client that closes, or goes away without
	// a word, is no error.
	Err *Error
}

// Alarmer is implemented by a class that sets alarms.
type Alarmer interface {
	// Alarm runs at least once for a committed alarm, never early. If it fails it runs again, after 2 s, doubling, with up to a
	// quarter more, six times (as Cloudflare's alarm); then it is parked, and `holdfast get` shows it.
	Alarm(tx *Tx, info AlarmInfo) error
}

// AlarmInfo describes the alarm that runs.
type AlarmInfo struct {
	Scheduled time.Time // what was set
	Retry     int       // 0 the first time
}

// Sleeper is implemented by a class that saves something before its instance is dropped.
type Sleeper interface {
	// Sleep runs before the instance is dropped for idleness, a move or a shutdown, within 10 s; not at a crash, a refused
	// commit or an abort. What it writes is there when the next instance is constructed. If it fails the instance is dropped
	// all the same.
	Sleep(tx *Tx) error
}

// may says what instances can do, as far as T tells: an interface may hold anything.
func may[T any]() (fetches, alarms bool) {
	var blank T
	if any(blank) == nil { // T is an interface, or the instance is nil
		return true, true
	}
	_, fetches = any(blank).(http.Handler)
	_, alarms = any(blank).(Alarmer)
	return fetches, alarms
}
