package objects

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"holdfast/objects/internal/engine"
)

// Engine is how a host runs the class. For hosts.
func (c *Class) Engine() *engine.Class { return c.engine }

// limits are those of every class.
var limits = engine.Limits{
	Key: MaxKey, State: MaxState, Call: MaxCall, Body: MaxBody, Frame: MaxFrame, Message: MaxMessage,
	Sockets: MaxSockets, Tags: MaxTags, Tag: MaxTag, Attachment: MaxAttachment,
	Event: eventTime,
}

// eventTime is how long an event may take that nobody waits for: a frame, a close, a constructor.
const eventTime = 30 * time.Second

// author is a class as the engine sees it.
type author struct{ class *Class }

// life is one instance, and the State that it was made with.
type life struct {
	state *State
	self  any
}

// begin has the State speak for the event that runs.
func (l *life) begin(tx *engine.Tx) { l.state.current = tx }

func (l *life) end() { l.state.current = nil }

func (a author) Open(tx *engine.Tx) any {
	l := &life{state: &State{id: idOf(tx.Key(), tx.Name()), class: a.class, owner: Owner(tx.Owner())}}
	l.begin(tx)
	defer l.end()
	l.self = a.class.open(l.state)
	return l
}

func (a author) Call(self any, tx *engine.Tx, name string, input []byte) ([]byte, error) {
	l := self.(*life)
	l.begin(tx)
	defer l.end()
	call, ok := a.class.calls[name]
	if !ok {
		return nil, Errorf(NotFound, "class %s has no call %.80q", a.class.Name(), name)
	}
	return call(l.self, tx, input)
}

func (a author) Fetch(self any, tx *engine.Tx, w http.ResponseWriter, r *http.Request) error {
	l := self.(*life)
	l.begin(tx)
	defer l.end()
	handler, ok := l.self.(http.Handler)
	if !ok {
		return Errorf(NotFound, "class %s answers no HTTP requests", a.class.Name())
	}
	handler.ServeHTTP(w, r)
	return nil
}

func (a author) Message(self any, tx *engine.Tx, from *engine.Socket, m engine.Message) error {
	l := self.(*life)
	l.begin(tx)
	defer l.end()
	if hearer, ok := l.self.(WebSocketMessager); ok {
		return hearer.WebSocketMessage(tx, l.state.socket(from), Message(m))
	}
	return nil
}

func (a author) Closed(self any, tx *engine.Tx, s *engine.Socket, end engine.Close) error {
	l := self.(*life)
	l.begin(tx)
	defer l.end()
	if closer, ok := l.self.(WebSocketCloser); ok {
		return closer.WebSocketClose(tx, l.state.socket(s), Close(end))
	}
	return nil
}

func (a author) Alarm(self any, tx *engine.Tx, info engine.AlarmInfo) error {
	l := self.(*life)
	l.begin(tx)
	defer l.end()
	handler, ok := l.self.(Alarmer)
	if !ok {
		return Errorf(NotFound, "class %s has no Alarm method", a.class.Name())
	}
	return handler.Alarm(tx, AlarmInfo(info))
}

func (author) Errorf(code, format string, args ...any) error {
	return Errorf(Code(code), format, args...)
}

// Refusal finds the Error that a handler has refused with. One without a proper code is a fault: nobody can tell from it
// what happened.
func (author) Refusal(err error) (error, bool) {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err, false
	}
	if !e.Code.proper() {
		return fmt.Errorf("an error with code %.80q, which is none: %s", string(e.Code), e.Message), false
	}
	return err, true
}
