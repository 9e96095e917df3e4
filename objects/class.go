package objects

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"holdfast/objects/internal/engine"
)

// Class is a kind of object, ready to be run by a host.
type Class struct {
	engine *engine.Class
	open   func(*State) any
	calls  map[string]func(self any, ctx context.Context, input []byte) ([]byte, error)

	fetches, alarms bool
}

// Method is one call bound to the method that answers it.
type Method[T any] struct {
	name string
	run  func(self T, ctx context.Context, input []byte) ([]byte, error)
}

// On binds a call to a method. A method whose types differ does not compile.
func On[T, In, Out any](c Call[In, Out], method func(T, context.Context, In) (Out, error)) Method[T] {
	return Method[T]{c.name, func(self T, ctx context.Context, input []byte) ([]byte, error) {
		var in In
		if err := fromJSON(input, &in); err != nil {
			return nil, Errorf(Invalid, "call %s: decode the input: %v", c.name, err)
		}
		out, err := method(self, ctx, in)
		if err != nil {
			return nil, err
		}
		output, err := toJSON(out)
		if err != nil {
			return nil, fmt.Errorf("call %s: encode the answer: %w", c.name, err)
		}
		return output, nil
	}}
}

// Define makes a class. The constructor runs whenever an instance wakes, before
// its first event; it may read and write storage, and a panic in it fails the
// event. Define panics on a bad or doubled name: the first run shows it.
func Define[T any](name string, open func(*State) T, methods ...Method[T]) *Class {
	if !ValidClass(name) {
		panic("objects: class name " + name + ": want 1 to 63 of a-z, 0-9 and -, a letter first")
	}
	var blank T
	c := &Class{
		open:  func(s *State) any { return open(s) },
		calls: make(map[string]func(any, context.Context, []byte) ([]byte, error)),
	}
	c.engine = &engine.Class{Name: name, Limits: limits, Author: author{c}}
	_, c.fetches = any(blank).(http.Handler)
	_, c.alarms = any(blank).(Alarmer)
	for _, m := range methods {
		if _, twice := c.calls[m.name]; twice || m.name == "" {
			panic("objects: class " + name + ": call " + m.name + " is empty or defined twice")
		}
		c.calls[m.name] = func(self any, ctx context.Context, input []byte) ([]byte, error) {
			return m.run(self.(T), ctx, input)
		}
	}
	return c
}

// Name is the class's name.
func (c *Class) Name() string { return c.engine.Name }

// Fetches tells whether instances answer HTTP requests.
func (c *Class) Fetches() bool { return c.fetches }

// Alarms tells whether instances have an Alarm method. For hosts.
func (c *Class) Alarms() bool { return c.alarms }

// WebSocketMessager is implemented by a class that hears its sockets. One
// message at a time, in the order in which the peer sent them. An Error closes
// the socket with its code's CloseCode and its message, any other error and a
// panic with 1011 and a reference that the log has too.
type WebSocketMessager interface {
	WebSocketMessage(ctx context.Context, from *Socket, m Message) error
}

// WebSocketCloser is implemented by a class that wants to know when a socket
// has ended, for whatever reason; it is told once. The socket is still among
// State.Sockets during the event and gone after it. What is sent to it is dropped.
type WebSocketCloser interface {
	WebSocketClose(ctx context.Context, s *Socket, end Close) error
}

// Close tells how a socket ended.
type Close struct {
	Code   int    // the peer's close code; 1006 if none came
	Reason string // the peer's words
	Clean  bool   // whether it ended with a close frame, of either side
}

// Alarmer is implemented by a class that sets alarms.
type Alarmer interface {
	// Alarm runs at least once for a committed alarm, never early. An error or a
	// panic has it run again: after 2 s, doubling, six times (as Cloudflare's
	// alarm()); then it is parked, and `holdfast get` shows it.
	Alarm(ctx context.Context, info AlarmInfo) error
}

// AlarmInfo tells a handler about the alarm that runs.
type AlarmInfo struct {
	Scheduled time.Time // the time that was set
	Retry     int       // 0 the first time
}
