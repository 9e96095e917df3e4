package host

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"sync/atomic"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects/host/internal/asks"
	"holdfast/objects/internal/engine"
)

// eventContext is the context of one event, and the event's identity. As a context it has a deadline and nothing else
// of its own: if the author's code wants a context that ends at the deadline, the event's transaction makes one.
type eventContext struct {
	context.Context // the incarnation's
	deadline        time.Time
	o               *object

	kind   wire.Kind   // of the request that began the event
	source string      // the gateway, the client's key, or the socket
	keyed  bool        // source is a client's key
	number uint64      // of the request, the frame, or the alarm
	asked  time.Time   // when the event was asked for
	again  bool        // the sender says that it may have run before
	from   *wire.Asked // what the object that asks adds; nil: no object asks

	sender string // the object that sent the told message; "": the event is no told message

	gaveWay atomic.Bool // the event unwinds, and runs again

	asking *asking // nil: the event has asked nothing
	over   bool    // the handler has returned; with asking, guarded by the object's lock
}

// newContext returns the context of an event that a request begins. The event loop calls it.
func (o *object) newContext(req *wire.Request, deadline, now time.Time) *eventContext {
	c := &eventContext{
		Context: o.in.work, o: o, deadline: deadline,
		kind: req.Kind, source: req.Gateway, number: req.N, asked: now, again: req.Again, from: req.Asked,
	}
	if req.Time > 0 {
		c.asked = time.UnixMilli(req.Time)
	}
	switch {
	case req.Kind == wire.Alarm:
		alarm := o.memory.alarmSet()
		c.number, c.asked = alarm.Number, alarm.At
	case req.Kind == wire.Message:
		c.source, c.number = req.Socket, req.Seq
	case req.Key != "":
		c.source, c.keyed = req.Key, true
	}
	return c
}

// endContext returns the context of the event that reports the end of a socket, which has no
// request.
func (o *object) endContext(end *socketEnd, now time.Time) *eventContext {
	asked := now
	if end.asked > 0 {
		asked = time.UnixMilli(end.asked)
	}
	return &eventContext{Context: o.in.work, o: o, deadline: now.Add(o.class.Limits.Event), kind: wire.Closed, source: end.socket, asked: asked}
}

// toldContext returns the context of the event that runs the message n of a sender. count identifies the life of the
// sender that numbered the message.
func (o *object) toldContext(sender string, count []byte, n uint64, now time.Time) *eventContext {
	c := &eventContext{Context: o.in.work, o: o, deadline: now.Add(o.class.Limits.Event), kind: wire.Told, number: n, asked: now}
	born, _ := engine.DecodeCount(count) // its form was checked before
	c.sender, c.source = sender, sender+"/"+strconv.FormatUint(born.Born, 36)
	return c
}

// Deadline returns the time after which nobody waits for the event.
func (c *eventContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Value returns the incarnation's value, and the event itself for engine.EventKey.
func (c *eventContext) Value(key any) any {
	if key == (engine.EventKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// ID returns the event's identity, which is the same at every owner that runs it.
func (c *eventContext) ID() string {
	switch {
	case c.from != nil:
		return "d/" + base64.RawURLEncoding.EncodeToString(c.from.ID)
	case c.kind == wire.Alarm:
		return "a/" + c.o.id.Key() + "/" + strconv.FormatUint(c.number, 36)
	case c.kind == wire.Message:
		return "s/" + c.source + "/" + strconv.FormatUint(c.number, 36)
	case c.kind == wire.Told:
		return "t/" + c.source + "/" + strconv.FormatUint(c.number, 36)
	case c.kind == wire.Parked:
		return "u/" + c.source + "/" + strconv.FormatUint(c.number, 36)
	case c.kind == wire.Closed:
		return "s/" + c.source + "/end"
	case c.keyed: // one key of a client may stand for requests to several objects
		sum := sha256.Sum256([]byte(c.o.id.Key() + " " + c.source))
		return "k/" + base64.RawURLEncoding.EncodeToString(sum[:16])
	}
	return "g/" + c.source + "/" + strconv.FormatUint(c.number, 36)
}

// Time returns when the event was asked for.
func (c *eventContext) Time() time.Time { return c.asked }

// Sender returns the object that asks or tells, and its name; "" for none.
func (c *eventContext) Sender() (key, name string) {
	if c.from == nil {
		return c.sender, ""
	}
	return c.from.Caller, c.from.Name
}

// comesAgain reports whether the event runs again if it fails, and perhaps much later.
func (c *eventContext) comesAgain() bool {
	return c.keyed || c.kind == wire.Alarm || c.kind == wire.Told || c.kind == wire.Parked || c.from != nil && c.from.Long
}

// long reports whether the event may be repeated without its sender knowing.
func (c *eventContext) long() bool {
	return c.comesAgain() || c.kind == wire.Message || c.kind == wire.Closed
}

// mayHaveRun reports whether the event may have run before, at another owner.
func (c *eventContext) mayHaveRun() bool { return c.again || c.long() }

// waiter returns the event as asks.Waiter, by which waiting events are compared.
func (c *eventContext) waiter() asks.Waiter {
	w := asks.Waiter{Time: c.asked.UnixMilli(), Root: c.ID(), Event: c.ID()}
	if c.from != nil {
		w.Root, w.Depth = c.from.Root, len(c.from.Chain)
	}
	return w
}
