package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
)

// Instance is one life of one object: the author's struct, and the host's state for it. It runs one event at a time and
// does no I/O; the effects of an event are in its Outcome.
type Instance struct {
	events int // events so far, if World.Strict counts them
	class  *Class
	world  World
	self   any
	part   Part // nil: no event has used it
}

// Outcome is the effect of an event, to be carried out in this order: make Writes and Alarm durable, then send Sends,
// then answer. If Err is set there are no Writes, and Sends only closes sockets. The host applies Writes to Data before
// the next event.
type Outcome struct {
	Writes []Write
	Alarm  *Alarm // nil: unchanged
	Sends  []Send
	Opened []*Socket // accepted by this event
	Tasks  []Task    // to begin after everything else
	Target any       // the state to put the object back to before Writes, from Past.Restore; nil: none

	Output   []byte    // a call's answer
	Response *Response // a fetch's answer
	Err      error     // a refusal, which Author.Refusal knows, or a fault

	Forget bool // the failed alarm must not run again

	Stack []byte // of a panic; for the log
	Drop  bool   // the instance's memory may be wrong: construct it again

	event *Tx // of an event that has succeeded; nil: there is nothing to take back
}

// Undo takes back what an event has done to sockets. The host calls it for an event that has succeeded and that the host
// refuses.
func (o Outcome) Undo() {
	if o.event != nil {
		o.event.undoSockets(0)
	}
}

// Changed reports whether the event has something to make durable.
func (o Outcome) Changed() bool { return len(o.Writes) > 0 || o.Alarm != nil || o.Target != nil }

// Start constructs the instance. The outcome is that of the constructor, which may have written. If Err is set, the
// instance is nil and the constructor's event has failed.
func (c *Class) Start(w World) (*Instance, Outcome) {
	i := &Instance{class: c, world: w}
	out := i.run(w.Context, func(t *Tx, _ *Outcome) error {
		i.self = c.Author.Open(t)
		return nil
	})
	if out.Err != nil {
		i.Close()
		return nil, out
	}
	return i, out
}

// Call runs a typed call.
func (i *Instance) Call(ctx context.Context, name string, input []byte) Outcome {
	return i.run(ctx, func(t *Tx, o *Outcome) (err error) {
		most := t.limits().Call
		if len(input) > most {
			return t.errorf(tooLarge, "the input of call %.80q has %d bytes, at most %d are allowed", name, len(input), most)
		}
		o.Output, err = i.class.Author.Call(i.self, t, name, input)
		if err == nil && len(o.Output) > most {
			t.Abort(t.errorf(tooLarge, "the answer of call %.80q has %d bytes, at most %d are allowed; nothing was changed", name, len(o.Output), most))
		}
		return err
	})
}

// Do runs fn as an event.
func (i *Instance) Do(ctx context.Context, fn func(tx *Tx, self any) error) Outcome {
	return i.run(ctx, func(t *Tx, _ *Outcome) error { return fn(t, i.self) })
}

// Fetch runs ServeHTTP. The request's body is a LargeBody, or in memory with a known ContentLength.
func (i *Instance) Fetch(r *http.Request, how Fetching) Outcome {
	return i.run(r.Context(), func(t *Tx, o *Outcome) error {
		if large, is := r.Body.(*LargeBody); is {
			if err := t.large(large, r.ContentLength); err != nil {
				return err
			}
		} else if most := t.limits().Body; r.ContentLength > int64(most) {
			return t.errorf(tooLarge, "the request's body has %d bytes, at most %d are allowed", r.ContentLength, most)
		}
		t.fetches, t.takes = true, how.Takes
		if how.Socket != nil {
			t.offer = &offer{info: *how.Socket, subprotocols: subprotocols(r.Header)}
		}
		w := &responseWriter{tx: t, header: make(http.Header)}
		if err := i.class.Author.Fetch(i.self, t, w, r.WithContext(t)); err != nil {
			return err
		}
		if t.refuse != nil {
			return t.refuse
		}
		if t.offer != nil && t.offer.taken {
			if len(t.streams) > 0 {
				return errors.New("the response is a socket and a stream")
			}
			o.Response = &Response{Status: http.StatusSwitchingProtocols, Header: t.offer.handshake(w.header)}
			return nil
		}
		o.Response = w.response()
		o.Response.Stream = t.streamOf(r)
		return nil
	})
}

// Message runs WebSocketMessage. If the socket is not open, the outcome is not_found.
func (i *Instance) Message(ctx context.Context, socket string, m Message) Outcome {
	return i.run(ctx, func(t *Tx, _ *Outcome) error {
		s, err := t.open(socket)
		if err != nil {
			return err
		}
		if most := t.limits().Frame; len(m.Data) > most {
			return t.errorf(tooLarge, "the message is too large")
		}
		if s.closed {
			return nil
		}
		return i.class.Author.Message(i.self, t, s, m)
	})
}

// Closed runs WebSocketClose and removes the socket, whatever the handler returns.
func (i *Instance) Closed(ctx context.Context, socket string, end Close) Outcome {
	defer func() {
		if s := i.world.Sockets.byID[socket]; s != nil {
			i.world.Sockets.remove(s)
		}
	}()
	return i.run(ctx, func(t *Tx, _ *Outcome) error {
		s, err := t.open(socket)
		if err != nil {
			return err
		}
		s.ended = true
		return i.class.Author.Closed(i.self, t, s, end)
	})
}

func (t *Tx) open(id string) (*Socket, error) {
	s, ok := t.run.world.Sockets.byID[id]
	if !ok {
		return nil, t.errorf(notFound, "the socket is not open")
	}
	return s, nil
}

// Alarm runs the Alarm handler. The outcome clears the alarm, or sets the one that the handler has set. If the handler
// failed, the alarm is unchanged, and the host applies Alarm.Failed.
func (i *Instance) Alarm(ctx context.Context, info AlarmInfo) Outcome {
	return i.run(ctx, func(t *Tx, _ *Outcome) error {
		t.DeleteAlarm()
		return i.class.Author.Alarm(i.self, t, info)
	})
}

// Sleeps reports whether the instance has something to save before it is dropped.
func (i *Instance) Sleeps() bool { return i.class.Author.Sleeps(i.self) }

// Sleep runs the instance's code for saving before it is dropped.
func (i *Instance) Sleep(ctx context.Context) Outcome {
	return i.run(ctx, func(t *Tx, _ *Outcome) error { return i.class.Author.Sleep(i.self, t) })
}

// run runs one event: a handler inside a transaction. A panic is a fault. An event that does not succeed leaves nothing
// behind.
func (i *Instance) run(ctx context.Context, handler func(*Tx, *Outcome) error) (out Outcome) {
	t := i.begin(ctx)
	returned := false
	defer func() {
		t.end()
		if !returned { // the handler has ended its goroutine
			t.rollbackPart()
			t.undoSockets(0)
		}
	}()
	err := guard(func() error { return handler(t, &out) }, &out)
	returned = true
	if err == nil {
		err = t.err // an abort from which the handler has recovered
	}
	if t.asked.Load() && t.parent.Value(EventKey{}).(Event).GaveWay() {
		err, out.Stack = ErrGaveWay, nil
	}
	if took, most := i.world.Now().Sub(t.began), i.class.Limits.Event; err == nil && took > most {
		t.err = t.errorf(unavailable, "the event took %v, at most %v are allowed; nothing was changed", took, most)
		err = t.err
	}
	if err == nil {
		err = t.commitPart(&out)
	}
	if err == nil {
		err = t.finish(&out)
	}
	if err == nil {
		out.event = t
		return out
	}
	t.rollbackPart()
	t.undoSockets(0)
	refusal, refused := i.class.Author.Refusal(err)
	out = Outcome{Err: refusal, Stack: out.Stack, Drop: !refused || t.err != nil}
	if t.err != nil {
		out.Forget = t.forget
		if t.closes {
			out.Sends = i.closeAll()
		}
	}
	return out
}

// finish fills out with the effects of the event. An error is that of a limit; then the instance's memory may be wrong.
func (t *Tx) finish(out *Outcome) error {
	if out.Writes = t.changes(); t.target != nil {
		out.Writes, out.Target, out.Drop = staying(out.Writes), t.target, true
	}
	if len(out.Writes) > 0 {
		if t.err = t.fits(out.Writes); t.err != nil {
			return t.err
		}
	}
	if a := t.layers[0].alarm; a != nil && !a.Equal(t.run.world.Object.Alarm()) {
		out.Alarm = a
	}
	out.Sends, out.Opened, out.Tasks = t.sends, t.opened, t.tasks
	return nil
}

// fits refuses writes beyond the limits.
func (t *Tx) fits(writes []Write) error {
	written := 0
	for _, w := range writes {
		written += len(w.Key) + len(w.Value)
	}
	if most := t.limits().Writes; written > most {
		return t.errorf(tooLarge, "the event writes %d bytes, at most %d are allowed; nothing was changed", written, most)
	}
	most, size := t.limits().State, t.run.world.Data.SizeAfter(writes)
	switch {
	case size > most && size > t.run.world.Data.Size():
		return t.errorf(tooLarge, "the object's state would be %d bytes, at most %d are allowed; nothing was changed", size, most)
	case t.run.world.Fits != nil && !t.run.world.Fits(size):
		return t.errorf(tooLarge, "the object's state would be %d bytes, which not every host can keep yet; nothing was changed", size)
	}
	return nil
}

// guard runs fn and turns a panic into an error. Its name is on the stack of every goroutine that runs an event.
//
//go:noinline
func guard(fn func() error, out *Outcome) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case aborted:
			err = p.err
		default:
			out.Stack = debug.Stack()
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return fn()
}
