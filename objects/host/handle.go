package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/internal/engine"
)

// frameTime is how long a frame, a close or an alarm may be handled: nobody waits for it.
const frameTime = 30 * time.Second

// handle is one event from end to end: what is asked, what the instance makes of
// it, what has to be made durable, and what may leave then.
func (o *object) handle(msg *nats.Msg, came time.Time, req *wire.Request) {
	if !strings.HasPrefix(msg.Reply, wire.InboxPrefix) {
		o.r.log.Warn("request dropped: its reply subject is no gateway's", "object", o.key)
		return
	}
	*req = wire.Request{}
	if err := wire.Decode(msg.Data, req); err != nil {
		o.finish(event{reply: msg.Reply}, engine.Outcome{Err: objects.Errorf(objects.Invalid, "request not understood: %v", err)})
		return
	}
	ev := event{req: req, reply: msg.Reply}
	now := time.Now()
	deadline := now.Add(frameTime)
	if req.Timeout > 0 {
		deadline = came.Add(time.Duration(req.Timeout) * time.Millisecond)
	}
	if now.After(deadline) {
		o.r.metrics.events.WithLabelValues(o.class.Name(), kindNames[ev.kind()], "expired").Inc()
		return // nobody waits for it any more
	}
	if o.again(ev) || !o.awake(ev) {
		return
	}
	ctx := &eventContext{Context: o.r.work, deadline: deadline}
	defer ctx.end()
	switch req.Kind {
	case wire.Call:
		o.finish(ev, o.instance.Call(ctx, req.Call, req.Body))
	case wire.Fetch:
		o.fetch(ctx, ev)
	case wire.Message, wire.Closed:
		o.frame(ctx, ev)
	case wire.Alarm:
		o.ring(ctx, ev)
	default:
		o.finish(ev, engine.Outcome{Err: objects.Errorf(objects.Invalid, "request of unknown kind %d", req.Kind)})
	}
}

// event is one event while it is handled. req is nil for our own.
type event struct {
	req   *wire.Request
	reply string // where to answer; "" for nowhere
}

// kindNames are the kinds of requests, and of events that nobody has requested.
var kindNames = [...]string{"unknown", "call", "fetch", "message", "closed", "alarm", "own"}

const kinds = len(kindNames)

func (e event) kind() int {
	switch {
	case e.req == nil:
		return kinds - 1
	case int(e.req.Kind) < kinds-1:
		return int(e.req.Kind)
	}
	return 0
}

// again answers a request that has been handled before, perhaps by another
// owner, from what the record remembers.
func (o *object) again(ev event) bool {
	if ev.req.Kind != wire.Call && ev.req.Kind != wire.Fetch {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.answers.heard(ev.req) > ev.req.N {
		return true // it comes late, another way than one sent after it: its gateway has its answer, or has given up
	}
	kept, known := o.answers.find(ev.req)
	if !known {
		return false
	}
	reply := wire.Reply{Code: objects.Conflict, Message: "this was done before; its answer was too large to keep"}
	answer, err := kept.Answer()
	switch {
	case err != nil:
		reply = wire.Reply{Code: objects.Internal, Message: "the answer that was kept is damaged"}
	case answer.Key != "" && answer.Sum != sum(ev.req):
		reply.Message = "this idempotency key was used for another request"
	case len(answer.Reply) > 0:
		reply = wire.Reply{}
		if err := wire.Decode(answer.Reply, &reply); err != nil {
			reply = wire.Reply{Code: objects.Internal, Message: "the answer that was kept is damaged"}
		}
	}
	o.hold(held{to: ev.reply, reply: &reply})
	return true
}

// sum tells requests under one key apart.
func sum(req *wire.Request) string {
	h := sha256.New()
	for _, part := range []string{req.Call, req.Method, req.URL, string(req.Body)} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// world is what an instance gets. What it holds is ours and stays when the instance
// goes.
func (o *object) world() engine.World {
	return engine.World{
		Key: o.key, Name: o.id.Name(), Data: o.data, Sockets: &o.sockets, Now: time.Now,
		Alarm: func() engine.Alarm { return value(o.alarm) },
		Owner: engine.Owner{Host: o.r.cfg.Name, Region: o.r.cfg.Region, Epoch: o.epoch},

		Context: o.r.work,
		Misuse:  func(err error) { o.r.log.Error("transaction misused", "err", err) },
	}
}

// awake makes sure that there is an instance. If its constructor fails, so does the event.
func (o *object) awake(ev event) bool {
	if o.instance != nil {
		return true
	}
	o.r.metrics.constructions.WithLabelValues(o.class.Name()).Inc()
	instance, out := o.class.Engine().Start(o.world())
	if out.Err != nil {
		o.finish(ev, out)
		return false
	}
	if out.Changed() || len(out.Sends) > 0 {
		o.finish(event{}, out)
	}
	o.mu.Lock()
	o.keep(instance)
	o.mu.Unlock()
	return true
}

func (o *object) fetch(ctx context.Context, ev event) {
	req := ev.req
	target, err := url.ParseRequestURI(req.URL)
	if err != nil {
		o.finish(ev, engine.Outcome{Err: objects.Errorf(objects.Invalid, "the path cannot be read")})
		return
	}
	r := (&http.Request{
		Method: req.Method, URL: target, Host: req.Host, RemoteAddr: req.Remote, RequestURI: req.URL,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header(req.Header), Body: readCloser{bytes.NewReader(req.Body)}, ContentLength: int64(len(req.Body)),
	}).WithContext(ctx)
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	var socket *engine.SocketInfo
	if req.Socket != "" {
		socket = &engine.SocketInfo{ID: req.Socket, Gateway: req.Gateway, Region: req.Region}
	}
	o.finish(ev, o.instance.Fetch(r, socket))
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// frame handles what a socket sent, if it is the next of that socket's frames.
func (o *object) frame(ctx context.Context, ev event) {
	req := ev.req
	last, open := o.frames[req.Socket]
	switch {
	case !open:
		o.finish(ev, engine.Outcome{Err: objects.Errorf(objects.Unavailable, "this owner does not know the socket")})
		return
	case req.Seq <= last: // it has been handled; its answer was lost
		o.mu.Lock()
		o.hold(held{to: ev.reply, reply: &wire.Reply{Seq: last}})
		o.mu.Unlock()
		return
	case req.Seq > last+1:
		o.mu.Lock()
		o.hold(held{to: ev.reply, reply: &wire.Reply{Seq: last, Gap: true}})
		o.mu.Unlock()
		return
	}
	o.hear(req.Socket, req.Seq)
	if req.Kind == wire.Closed {
		out := o.instance.Closed(ctx, req.Socket, engine.Close{Code: req.Code, Reason: req.Reason, Clean: req.Clean})
		o.finish(ev, out)
		o.socketGone(req.Socket, req.Gateway)
		return
	}
	o.finish(ev, o.instance.Message(ctx, req.Socket, engine.Message{Binary: req.Binary, Data: req.Body}))
}

// hear notes the last frame of a socket.
func (o *object) hear(socket string, seq uint64) {
	if o.frames == nil {
		o.frames = make(map[string]uint64)
	}
	o.frames[socket] = seq
}

// count notes n sockets more at a gateway, and returns how many there are. With mu
// held.
func (o *object) count(gateway string, n int) int {
	if o.gateways == nil {
		o.gateways = make(map[string]int)
	}
	o.gateways[gateway] += n
	return o.gateways[gateway]
}

// socketGone forgets a socket that has ended.
func (o *object) socketGone(socket, gateway string) {
	delete(o.frames, socket)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.count(gateway, -1) <= 0 {
		delete(o.gateways, gateway) // the record hears of it with the next put
	}
}

// loseGateway ends the sockets of a gateway that has died.
func (o *object) loseGateway(gateway string) {
	for _, s := range o.sockets.All() {
		if info := s.Info(); info.Gateway == gateway && o.awake(event{}) {
			ctx, cancel := context.WithTimeout(o.r.work, frameTime)
			o.finish(event{}, o.instance.Closed(ctx, info.ID, engine.Close{Code: 1006, Reason: "the gateway that held the socket has gone"}))
			cancel()
			o.socketGone(info.ID, gateway)
		}
	}
}

// ring runs the alarm if the record says that it is due.
func (o *object) ring(ctx context.Context, ev event) {
	now := time.Now()
	before := value(o.alarm)
	if due, ok := before.Next(); !ok || now.Before(due) {
		o.io.Lock()
		err := o.reschedule(before) // what has fired is gone: set what the record says
		o.io.Unlock()
		if err != nil {
			err = objects.Errorf(objects.Unavailable, "%v", err)
		}
		o.finish(ev, engine.Outcome{Err: err})
		return
	}
	o.io.Lock()
	o.wakeUp = time.Time{} // it has fired
	o.io.Unlock()
	out := o.instance.Alarm(ctx, before.Info())
	if out.Err != nil {
		failed := before.Failed(now, rand.Float64())
		if e := o.fault(ev, out); failed.Parked {
			o.r.log.Error("alarm parked after its last retry", "ref", e.Ref, "object", o.key, "name", o.id.Name(), "set for", before.At)
		}
		if out.Drop {
			o.drop()
		}
		out = engine.Outcome{Alarm: &failed}
	}
	o.finish(ev, out)
}

func (o *object) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keep(nil)
}

// finish ends an event: its writes become part of what the next put makes
// durable, and what it sends is held until then.
func (o *object) finish(ev event, out engine.Outcome) {
	reply := o.replyTo(ev, out)
	if out.Drop {
		o.drop()
	}
	if out.Err != nil {
		o.r.metrics.events.WithLabelValues(o.class.Name(), kindNames[ev.kind()], string(objects.CodeOf(out.Err))).Inc()
	} else {
		o.usual.ok[ev.kind()].Inc()
	}

	o.mu.Lock()
	h := held{to: ev.reply, reply: reply, sends: out.Sends}
	changed := out.Changed()
	o.data.Apply(out.Writes)
	if out.Alarm != nil {
		o.alarm = alarmOf(*out.Alarm)
	}
	for _, s := range out.Opened {
		info := s.Info()
		o.hear(info.ID, 0)
		if o.count(info.Gateway, 1) == 1 {
			changed = true // whoever owns the object next has to ask this gateway
		}
	}
	if changed {
		h.wrote = true
		o.remember(ev, reply)
	}
	o.commit(h)
	o.mu.Unlock()
	for _, s := range out.Opened {
		o.r.meet(s.Info().Gateway)
	}
}

// commit holds what an event wants sent; if it wrote, run has that put. With mu held.
func (o *object) commit(h held) {
	if !h.wrote {
		o.hold(h)
		return
	}
	if o.over {
		h.moved(o.r, false)
		return
	}
	next := o.own.Commit + 1
	if (o.own.Pending != owner.Put{}) {
		next = o.own.Pending.Commit + 1
	}
	o.observed, h.need = next, next
	o.held = append(o.held, h)
	o.unput = true
}

// remember keeps the answer of a request that wrote, so that asking again, here or
// at the next owner, does not do it again. With mu held.
func (o *object) remember(ev event, reply *wire.Reply) {
	if ev.req == nil || ev.req.N == 0 || reply == nil || (ev.req.Kind != wire.Call && ev.req.Kind != wire.Fetch) {
		return
	}
	answer := record.Answer{Gateway: ev.req.Gateway, N: ev.req.N}
	if ev.req.Key != "" {
		answer = record.Answer{Key: ev.req.Key, Sum: sum(ev.req), At: time.Now().UTC().Truncate(time.Second)}
	}
	if reply.Status == http.StatusSwitchingProtocols { // a socket cannot be opened by hearsay
		reply = &wire.Reply{Code: objects.Unknown, Message: "the object's host was lost as the socket opened; connect again"}
	}
	if data := wire.Encode(reply); len(data) <= maxKept {
		answer.Reply = data
	}
	o.answers.add(answer)
}

// replyTo is what to tell whoever asked; nil for nothing.
func (o *object) replyTo(ev event, out engine.Outcome) *wire.Reply {
	var e *objects.Error
	if out.Err != nil {
		e = o.fault(ev, out)
	}
	if ev.reply == "" {
		return nil
	}
	reply := &wire.Reply{}
	if ev.req != nil {
		reply.Seq = ev.req.Seq
	}
	switch {
	case e != nil:
		reply.Code, reply.Message, reply.Ref = e.Code, e.Message, e.Ref
	case out.Response != nil:
		reply.Status, reply.Header, reply.Body = out.Response.Status, out.Response.Header, out.Response.Body
		for _, s := range out.Opened {
			reply.Tags = s.Info().Tags
		}
	default:
		reply.Body = out.Output
	}
	return reply
}

// fault is the error that may be told: a refusal as it is, anything else under a
// reference that the log explains.
func (o *object) fault(ev event, out engine.Outcome) *objects.Error {
	if e, ok := objects.AsError(out.Err); ok {
		return e
	}
	e := &objects.Error{Code: objects.Internal, Message: "the object failed; nothing was changed", Ref: wire.NewReference()}
	o.r.log.Error("event failed", "ref", e.Ref, "object", o.key, "name", o.id.Name(), "kind", kindNames[ev.kind()], "err", out.Err, "stack", string(out.Stack))
	return e
}
