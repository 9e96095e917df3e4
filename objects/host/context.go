package host

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// eventContext is the context of one event, and what the event is known by. As a context
// it has a deadline and nothing else of its own: the event's transaction makes a context
// that ends then, when the author's code wants one.
type eventContext struct {
	context.Context // the incarnation's
	deadline        time.Time
	o               *object

	kind   wire.Kind // of the request that began the event
	source string    // the gateway, the client's key, or the socket
	keyed  bool      // source is a client's key
	number uint64    // of the request, the frame, or the alarm
	asked  time.Time // when the event was asked for
}

// newContext is the context of an event that a request begins. The event loop calls it.
func (o *object) newContext(req *wire.Request, deadline, now time.Time) *eventContext {
	c := &eventContext{
		Context: o.in.work, o: o, deadline: deadline,
		kind: req.Kind, source: req.Gateway, number: req.N, asked: now,
	}
	if req.Time > 0 {
		c.asked = time.UnixMilli(req.Time)
	}
	switch {
	case req.Kind == wire.Alarm:
		alarm := alarmValue(o.memory.alarm)
		c.number, c.asked = alarm.Number, alarm.At
	case req.Kind == wire.Message:
		c.source, c.number = req.Socket, req.Seq
	case req.Key != "":
		c.source, c.keyed = req.Key, true
	}
	return c
}

// endContext is the context of the event that tells of the end of a socket, which has no
// request of its own.
func (o *object) endContext(end *socketEnd, now time.Time) *eventContext {
	asked := now
	if end.asked > 0 {
		asked = time.UnixMilli(end.asked)
	}
	return &eventContext{Context: o.in.work, o: o, deadline: now.Add(o.class.Limits.Event), kind: wire.Closed, source: end.socket, asked: asked}
}

// Deadline is when nobody waits for the event any longer.
func (c *eventContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Value is the incarnation's, and the event itself.
func (c *eventContext) Value(key any) any {
	if key == (engine.EventKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// ID names the event, whichever owner runs it.
func (c *eventContext) ID() string {
	switch {
	case c.kind == wire.Alarm:
		return "a/" + c.o.key + "/" + strconv.FormatUint(c.number, 36)
	case c.kind == wire.Message:
		return "s/" + c.source + "/" + strconv.FormatUint(c.number, 36)
	case c.kind == wire.Closed:
		return "s/" + c.source + "/end"
	case c.keyed: // one key of a client may stand for requests to several objects
		sum := sha256.Sum256([]byte(c.o.key + " " + c.source))
		return "k/" + base64.RawURLEncoding.EncodeToString(sum[:16])
	}
	return "g/" + c.source + "/" + strconv.FormatUint(c.number, 36)
}

// Time is when the event was asked for.
func (c *eventContext) Time() time.Time { return c.asked }

// Ask asks another object for the event.
func (c *eventContext) Ask(context.Context, engine.Question) (engine.Answer, error) {
	return engine.Answer{}, objects.Errorf(objects.Unavailable, "events cannot ask other objects yet")
}
