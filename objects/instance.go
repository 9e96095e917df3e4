package objects

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"time"
)

// World is what a host gives to an instance. The host keeps it while the
// instance sleeps; it owns all of it, and only Run changes it.
type World struct {
	ID      ID
	Data    *Data        // the storage, as of the last event
	Alarm   func() Alarm // the alarm, as of the last event
	Sockets *Sockets
	Now     func() time.Time
	Owner   Owner
}

// Instance is one life of one object: a struct of the author's, and the state it
// was made with. For hosts. It runs one event at a time and does no I/O; what an
// event wants done is in its Outcome.
type Instance struct {
	class *Class
	state *State
	self  any
}

// Outcome is what an event wants done, in this order: make Writes and Alarm
// durable, then Sends, then the answer. If Err is set there are no Writes and no
// Sends. The host applies Writes to Data before the next event.
type Outcome struct {
	Writes []Write
	Alarm  *Alarm // nil: as it was
	Sends  []Send
	Opened []*Socket // accepted by this event

	Output   []byte    // a call's answer, JSON
	Response *Response // a fetch's answer
	Err      error     // a refusal (*Error) or a fault

	Stack []byte // of a panic; for the log
	Drop  bool   // the instance's memory is not to be trusted: construct it again
}

// Changed tells whether the event has something to make durable.
func (o Outcome) Changed() bool { return len(o.Writes) > 0 || o.Alarm != nil }

// Response is what ServeHTTP wrote. Status 101: it accepted the socket.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Start constructs the instance. The outcome is the constructor's own: it may
// have written. If Err is set the instance is nil and the constructor's event fails.
func (c *Class) Start(w World) (*Instance, Outcome) {
	i := &Instance{class: c}
	i.state = &State{id: w.ID, class: c, data: w.Data, alarm: w.Alarm, sockets: w.Sockets, now: w.Now, owner: w.Owner}
	out := i.run(func(*Outcome) error {
		i.self = c.open(i.state)
		return nil
	})
	if out.Err != nil {
		return nil, out
	}
	return i, out
}

// Call runs a typed call.
func (i *Instance) Call(ctx context.Context, name string, input []byte) Outcome {
	return i.run(func(o *Outcome) (err error) {
		call, ok := i.class.calls[name]
		if !ok {
			return Errorf(NotFound, "class %s has no call %.80q", i.class.name, name)
		}
		o.Output, err = call(i.self, ctx, input)
		return err
	})
}

type upgrade struct {
	socket   SocketInfo
	accepted bool
}

type upgradeKey struct{}

// Fetch runs ServeHTTP. A request that wants to open a WebSocket brings the
// socket that its gateway would hold.
func (i *Instance) Fetch(r *http.Request, socket *SocketInfo) Outcome {
	return i.run(func(o *Outcome) error {
		handler, ok := i.self.(http.Handler)
		if !ok {
			return Errorf(NotFound, "class %s answers no HTTP requests", i.class.name)
		}
		u := &upgrade{}
		if socket != nil {
			u.socket = *socket
			r = r.WithContext(context.WithValue(r.Context(), upgradeKey{}, u))
		}
		w := &responseWriter{header: make(http.Header)}
		handler.ServeHTTP(w, r)
		if u.accepted {
			o.Opened = append(o.Opened, i.state.sockets.byID[u.socket.ID])
			o.Response = &Response{Status: http.StatusSwitchingProtocols, Header: w.header}
			return nil
		}
		o.Response = w.response()
		return nil
	})
}

// Message runs WebSocketMessage. A socket that is not open is NotFound.
func (i *Instance) Message(ctx context.Context, socket string, m Message) Outcome {
	return i.run(func(*Outcome) error {
		s, err := i.socket(socket)
		if err != nil {
			return err
		}
		if hearer, ok := i.self.(WebSocketMessager); ok && !s.closed {
			return hearer.WebSocketMessage(ctx, s, m)
		}
		return nil
	})
}

// Closed runs WebSocketClose and forgets the socket, whatever the handler says.
func (i *Instance) Closed(ctx context.Context, socket string, end Close) Outcome {
	out := i.run(func(*Outcome) error {
		s, err := i.socket(socket)
		if err != nil {
			return err
		}
		if closer, ok := i.self.(WebSocketCloser); ok {
			return closer.WebSocketClose(ctx, s, end)
		}
		return nil
	})
	i.state.sockets.remove(socket)
	return out
}

func (i *Instance) socket(id string) (*Socket, error) {
	s, ok := i.state.sockets.byID[id]
	if !ok {
		return nil, Errorf(NotFound, "the socket is not open")
	}
	return s, nil
}

// Alarm runs the Alarm handler. Its outcome clears the alarm, or sets the one
// that the handler set; if it failed the alarm is as it was.
func (i *Instance) Alarm(ctx context.Context, info AlarmInfo) Outcome {
	return i.run(func(*Outcome) error {
		handler, ok := i.self.(Alarmer)
		if !ok {
			return Errorf(NotFound, "class %s has no Alarm method", i.class.name)
		}
		i.state.DeleteAlarm()
		return handler.Alarm(ctx, info)
	})
}

// run is one event: handler inside a transaction, a panic is a fault, and
// nothing is left behind unless it succeeds.
func (i *Instance) run(handler func(*Outcome) error) (out Outcome) {
	s := i.state
	s.sockets.state = s
	t := &turn{base: s.data, alarm: s.alarm()}
	t.layers = t.room[:1]
	s.current = t
	defer func() {
		s.current, t.over = nil, true
		s.sockets.state = nil // which keeps them from keeping the instance
	}()
	err := guard(func() error { return handler(&out) }, &out)
	if err == nil {
		err = i.settle(t, &out)
	}
	if err != nil {
		for _, undo := range slices.Backward(t.undo) {
			undo()
		}
		_, refused := AsError(err)
		return Outcome{Err: err, Stack: out.Stack, Drop: !refused || t.err != nil}
	}
	return out
}

func (i *Instance) settle(t *turn, out *Outcome) error {
	if t.err != nil {
		return t.err
	}
	out.Writes = t.changes()
	if size := i.state.data.SizeAfter(out.Writes); len(out.Writes) > 0 && size > MaxState {
		t.err = Errorf(TooLarge, "the object's state would be %d bytes, at most %d are allowed", size, MaxState)
		return t.err
	}
	if c := t.layers[0].alarm; c != nil && !c.to.Equal(t.alarm) {
		out.Alarm = &c.to
	}
	out.Sends = t.sends
	return nil
}

func guard(fn func() error, out *Outcome) (err error) {
	defer func() {
		if p := recover(); p != nil {
			out.Stack = debug.Stack()
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return fn()
}

// responseWriter collects a response, as httptest's recorder does.
type responseWriter struct {
	header http.Header
	sent   http.Header // as of WriteHeader
	status int
	body   bytes.Buffer
}

func (w *responseWriter) Header() http.Header { return w.header }

func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *responseWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

func (w *responseWriter) response() *Response {
	w.WriteHeader(http.StatusOK)
	if w.sent.Get("Content-Type") == "" && w.body.Len() > 0 {
		w.sent.Set("Content-Type", http.DetectContentType(w.body.Bytes()))
	}
	return &Response{Status: w.status, Header: w.sent, Body: w.body.Bytes()}
}
