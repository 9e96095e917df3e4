package objects

import (
	"fmt"
	"net/http"
	"time"

	"holdfast/objects/internal/engine"
)

// Class is the name of a kind of object: const Tickets objects.Class = "ticket". A name has 1 to 63 of a-z, 0-9 and -, a
// letter first; the use of any other name is Invalid. Stored objects belong to the name: a renamed class has new, empty
// objects.
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

// Implementation is a class with its code. A program runs it (app.Config.Objects, objectstest.New).
type Implementation struct {
	class  Class
	open   func(*Tx) any
	calls  map[string]func(self any, tx *Tx, input []byte) ([]byte, error)
	engine *engine.Class
}

// Implement joins a class and its code. open constructs the instance whenever the object wakes, before the first event, as an
// event of its own: it may read and write, and its failure fails the event that woke the object. The interfaces that the
// instance implements add abilities: [http.Handler], [WebSocketMessager], [WebSocketCloser], [Alarmer], [Undeliverer],
// [Sleeper]. open may return an interface. To hand over dependencies, call Implement in main with a closure for open.
//
// Implement panics over a bad class name, a call of another class, and a call with two handlers. A call without a handler is
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

// New returns a constructor that returns a zero struct: Implement(Tickets, New[Counter]).
func New[T any](*Tx) *T { return new(T) }

// Class returns the implemented class.
func (i *Implementation) Class() Class { return i.class }

// Engine returns the class as a host runs it. For hosts.
func (i *Implementation) Engine() *engine.Class { return i.engine }

// Handler is a call with the method that answers it.
type Handler[T any] struct {
	class Class
	name  string
	err   *Error
	run   func(self T, tx *Tx, input []byte) ([]byte, error)
}

// On has the method answer the call. A method whose types differ does not compile. An input that does not decode is refused
// as Invalid, and the method does not run.
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

// WebSocketMessager is implemented by a class that receives its sockets' messages.
type WebSocketMessager interface {
	// WebSocketMessage runs for one message after the other, in the order in which the peer sent them (Cloudflare's
	// webSocketMessage). An *Error closes the socket with its code's CloseCode and its message, any other error or a panic with
	// 1011 and a reference that is also in the log. To keep the socket open, send the error and return nil.
	WebSocketMessage(tx *Tx, from Socket, m Message) error
}

// WebSocketCloser is implemented by a class that is told the end of its sockets.
type WebSocketCloser interface {
	// WebSocketClose runs once for each accepted socket, whatever ended it (Cloudflare's webSocketClose and webSocketError).
	// The socket is among Sockets during the event and gone after it, even if the event fails. Messages to it are dropped.
	WebSocketClose(tx *Tx, s Socket, end Close) error
}

// Close is how a socket ended.
type Close struct {
	Code   int // the close code, of either side; 1006 if none came
	Reason string
	Clean  bool // whether it ended with a close frame, of either side

	// Err is the failure that ended the socket, nil for none (Cloudflare's webSocketError): TooLarge (a message of the client),
	// Invalid (a text that is not UTF-8, a broken frame), TooMany (the client read too slowly), Unavailable (the gateway has
	// gone, or a message to the client was lost), or the error of the WebSocketMessage that ended the socket. A client that
	// closes, or disconnects without a close frame, is no error.
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
	Scheduled time.Time // the time of SetAlarm
	Retry     int       // 0 the first time
}

// Sleeper is implemented by a class that saves state before its instance is dropped.
type Sleeper interface {
	// Sleep runs before the instance is dropped for idleness, a move or a shutdown, and has 10 s; it does not run at a crash,
	// a refused commit or an abort. The next instance sees its writes. If Sleep fails the instance is dropped all the same.
	Sleep(tx *Tx) error
}

// may reports which abilities instances may have: an interface T may hold a type that has all.
func may[T any]() (fetches, alarms bool) {
	var blank T
	if any(blank) == nil { // T is an interface, or the instance is nil
		return true, true
	}
	_, fetches = any(blank).(http.Handler)
	_, alarms = any(blank).(Alarmer)
	return fetches, alarms
}
