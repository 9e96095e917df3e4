package objects

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"holdfast/objects/internal/engine"
)

// limits are the limits of every class.
var limits = engine.Limits{
	Key: MaxKey, Value: MaxValue, Writes: MaxWrites, State: MaxState, Call: MaxCall, Body: MaxBody, Response: MaxBody, Frame: MaxFrame, Message: MaxMessage,
	Sockets: MaxSockets, Tags: MaxTags, Tag: MaxTag, Attachment: MaxAttachment,
	Told: MaxTell, Tells: MaxTold,
	Event: eventTime,
}

// eventTime is how long an event may take.
const eventTime = 30 * time.Second

// author is a class as the engine sees it.
type author struct{ *Implementation }

// event is the memory of one event.
type event struct {
	tx   Tx
	core engine.Tx
}

func (author) Begin() *engine.Tx {
	e := new(event)
	e.tx = Tx{&e.core, &e.core}
	e.core.Face = &e.tx
	return &e.core
}

func face(t *engine.Tx) *Tx { return t.Face.(*Tx) }

func (a author) Open(t *engine.Tx) any { return a.open(face(t)) }

func (a author) Call(self any, t *engine.Tx, name string, input []byte) ([]byte, error) {
	call, ok := a.calls[name]
	if !ok {
		return nil, Errorf(NotFound, "class %s has no call %.80q", a.class, name)
	}
	return call(self, face(t), input)
}

func (a author) Fetch(self any, _ *engine.Tx, w http.ResponseWriter, r *http.Request) error {
	handler, ok := self.(http.Handler)
	if !ok {
		return Errorf(NotFound, "class %s answers no HTTP requests", a.class)
	}
	handler.ServeHTTP(w, r)
	return nil
}

func (a author) Message(self any, t *engine.Tx, from *engine.Socket, m engine.Message) error {
	if hearer, ok := self.(WebSocketMessager); ok {
		return hearer.WebSocketMessage(face(t), Socket{face(t), from}, Message(m))
	}
	return nil
}

func (a author) Closed(self any, t *engine.Tx, s *engine.Socket, end engine.Close) error {
	if closer, ok := self.(WebSocketCloser); ok {
		return closer.WebSocketClose(face(t), Socket{face(t), s}, closeOf(end))
	}
	return nil
}

// closeOf converts a socket's end. It drops a fault without a proper code, which no gateway of ours sends.
func closeOf(end engine.Close) Close {
	c := Close{Code: end.Code, Reason: end.Reason, Clean: end.Clean}
	if code := Code(end.Fault); code != "" && code.proper() {
		c.Err = &Error{Code: code, Message: end.Reason}
	}
	return c
}

func (a author) Alarm(self any, t *engine.Tx, info engine.AlarmInfo) error {
	handler, ok := self.(Alarmer)
	if !ok {
		return Errorf(NotFound, "class %s has no Alarm method", a.class)
	}
	return handler.Alarm(face(t), AlarmInfo(info))
}

func (author) Undelivered(self any, t *engine.Tx, m engine.Told) error {
	return self.(Undeliverer).Undelivered(face(t), toldOf(m))
}

func (author) HearsUndelivered(self any) bool {
	_, ok := self.(Undeliverer)
	return ok
}

func (author) Alarms(self any) bool {
	_, ok := self.(Alarmer)
	return ok
}

func (author) Sleep(self any, t *engine.Tx) error { return self.(Sleeper).Sleep(face(t)) }

func (author) Sleeps(self any) bool {
	_, ok := self.(Sleeper)
	return ok
}

func (author) Errorf(code, format string, args ...any) error {
	return Errorf(Code(code), format, args...)
}

// Refusal finds the Error by which a handler has refused. An Error without a proper code is a fault instead: its code does not
// say whether anything happened.
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
