package host

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	shared "holdfast/internal/metrics"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// run is the event loop: it handles the deliveries in the mailbox, one at a time, until the mailbox is empty. Then the
// events' writes are put, in one put; after batchTime they are put earlier.
func (o *object) run(t *scratch) {
	defer o.recover("")
	for {
		o.letOthersSend()
		d := o.mailbox.next(time.Now())
		if d.kind == nothing {
			break
		}
		if o.commit.takeWaits() {
			o.awaitRoom()
		}
		if !o.awaitLease() {
			if d.kind == request {
				o.in.redirect(d.msg, o.term.token)
			}
			continue
		}
		o.deliver(d, t)
	}
	*t = scratch{}
	o.finishLoop()
	o.finishBatch()
}

// letOthersSend lets other goroutines run, each until it waits, if the mailbox is empty and the output of the last
// event waits for a put. Goroutines that are about to send the object a request do so, and the writes of these requests
// are part of the same put. If no goroutine can run, the call takes no time.
func (o *object) letOthersSend() {
	if o.commit.hasWaits() && o.mailbox.empty() {
		runtime.Gosched()
	}
}

// scratch is the event that runs, and its request. A goroutine that runs event loops has one and uses it again for each
// event.
type scratch struct {
	event  event
	req    wire.Request
	onExit func(engine.Outcome) // called if the author's code that runs now ends its goroutine; nil: the event fails
}

// finishLoop drops the instance of an object that is gone. The next event loop may
// have begun.
func (o *object) finishLoop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage() == gone {
		o.setInstance(nil)
	}
}

// deliver handles one delivery. A panic outside of the author's code ends the object; the sender of the request gets an
// answer.
func (o *object) deliver(d delivery, t *scratch) {
	if d.kind == gatewayLost && o.sockets == nil {
		return // the gateway held no socket of the object
	}
	if o.postpones(d) {
		return
	}
	t.event, t.onExit, o.inHand = event{}, nil, t
	reply := ""
	if d.kind == request {
		reply = d.msg.Reply
	}
	returned := false
	defer o.guard(d.kind, reply, &returned)
	o.makeSockets()
	switch d.kind {
	case request:
		o.handle(&d, &t.req)
		if o.gaveWay {
			o.gaveWay = false
			o.mailbox.giveWay(d)
		}
	case gatewayLost:
		o.loseGateway(d.gateway)
	case endsDue:
		o.sockets.endsDue()
		o.deliverEnds()
	case toldDue:
		o.handleTold()
	case sleepDue:
		o.sleep()
	case drainMarker:
		o.sleep()
		o.forgetAnswers()
		o.flushNow()
		o.in.inTurn(o.finishBatch) // before the last put
		o.finishParts()
		o.awaitQuiet()
		o.handOverWindow()
		o.in.inTurn(func() { o.drive(owner.Leave{}) })
	}
	o.endRestore()
	returned, o.inHand = true, nil
}

// guard ends the object after a panic, as recover does. If the author's code has ended its goroutine, the event has
// failed, and another goroutine goes on with the mailbox.
func (o *object) guard(kind deliveryKind, reply string, returned *bool) {
	if p := recover(); p != nil {
		o.failed(p, reply)
		return
	}
	if *returned {
		return
	}
	out := engine.Outcome{Err: errors.New("the author's code has ended its goroutine (runtime.Goexit)"), Drop: true, Stack: debug.Stack()}
	if then := o.inHand.onExit; then != nil {
		o.inHand.onExit = nil
		then(out)
	} else {
		o.finish(o.inHand.event, out)
	}
	o.inHand = nil
	if kind == drainMarker {
		o.drive(owner.Leave{})
	}
	o.in.startLoop(o)
}

// handle takes one request from end to end: it decodes and checks the request, runs the event, and finishes the event.
func (o *object) handle(d *delivery, req *wire.Request) {
	msg, came := d.msg, d.at
	*req = wire.Request{}
	err := wire.Decode(msg.Data, req)
	if err == nil {
		err = checkRequest(req, d.byHost)
	}
	if err == nil && req.Kind == wire.Settled {
		o.forgetSettled(req.Settled)
		return
	}
	if !strings.HasPrefix(msg.Reply, wire.InboxPrefix) {
		o.in.warnings.Log(o.in.log, "request dropped: its reply subject is no gateway's", "object", o.id.Key())
		return
	}
	if err != nil {
		o.finish(event{reply: msg.Reply}, engine.Outcome{Err: objects.Errorf(objects.Invalid, "request not understood: %v", err)})
		return
	}
	o.woke = false
	ev := event{req: req, kind: req.Kind, reply: msg.Reply}
	o.inHand.event = ev
	if _, byHost := wire.ObjectOf(msg.Subject); !byHost && onlyHosts(req.Kind) {
		o.finish(ev, engine.Outcome{Err: objects.Errorf(objects.Forbidden, "only hosts ask this")})
		return
	}
	now := time.Now()
	deadline := now.Add(o.class.Limits.Event)
	if req.Timeout > 0 {
		asked := came.Add(time.Duration(min(req.Timeout, maxTimeout)) * time.Millisecond)
		if now.After(asked) {
			o.in.metrics.events.WithLabelValues(o.class.Name, ev.label(), "expired").Inc()
			return // nobody waits for it any more
		}
		if req.Kind != wire.Alarm && asked.Before(deadline) { // an alarm's carrier gives up earlier than the handler has to
			deadline = asked
		}
	}
	ev.again = d.again
	ev.ctx = o.newContext(req, deadline, now)
	o.inHand.event = ev
	ctx := withPrincipal(ev.ctx, req.Principal)
	switch req.Kind {
	case wire.Message, wire.Closed:
		o.frame(ctx, ev)
	case wire.Call:
		if !o.again(ev, now) && o.ready(ev) {
			o.finish(ev, o.memory.handler().Call(ctx, req.Call, req.Body))
		}
	case wire.Fetch:
		if !o.again(ev, now) && o.mayOpen(ev) && !o.comesBack(ev) && o.ready(ev) {
			o.fetch(ctx, ev)
		}
	case wire.Alarm:
		o.onWakeUp(ctx, ev)
	case wire.Told:
		o.receiveTold(ev)
	case wire.Forget:
		o.receiveForget(ev)
	case wire.MayForget:
		o.mayForget(ev)
	case wire.Parked:
		o.handleParked(ev)
	case wire.Resume:
		o.resume(ev)
	case wire.Restore:
		if !o.again(ev, now) {
			o.restore(ctx, ev)
		}
	case wire.Fork:
		if !o.again(ev, now) {
			o.fork(ctx, ev)
		}
	default:
		o.finish(ev, engine.Outcome{Err: objects.Errorf(objects.Invalid, "request of unknown kind %d", req.Kind)})
	}
}

// event is one event while it is handled.
type event struct {
	req   *wire.Request     // nil for the host's own
	kind  wire.Kind         // ownEvent for one that nobody has requested
	reply string            // where to answer; "" for nowhere
	ctx   *eventContext     // nil for a constructor, and for what runs no code of the author's
	large *engine.LargeBody // of a request whose body is still to come; nil: it has come, or there is none

	again      bool // the event gave way before
	comesAgain bool // the event has failed, and is tried again later

	// Set for a frame and for the end of a socket, also if no frame reported the end.
	gateway string
	slot    uint32
	seq     uint64 // 0: nothing is to be acknowledged
	ended   string // the socket whose end the event reports
	session bool   // that socket's session was away
}

// kindNames are the kinds of requests, and of events that nobody has requested.
var kindNames = [...]string{"unknown", "call", "fetch", "message", "closed", "alarm", "resume", "settled", "probe", "told", "forget", "may_forget", "parked", "restore", "fork", "look", "own"}

const (
	kinds    = len(kindNames)
	ownEvent = wire.Kind(kinds - 1)
)

// index returns the event's place in kindNames.
func (e event) index() int {
	if int(e.kind) >= kinds || e.req != nil && e.kind == ownEvent {
		return 0
	}
	return int(e.kind)
}

func (e event) label() string { return kindNames[e.index()] }

func (o *object) fetch(ctx context.Context, ev event) {
	req := ev.req
	target, err := url.ParseRequestURI(req.URL)
	if err != nil {
		o.finish(ev, engine.Outcome{Err: objects.Errorf(objects.Invalid, "the path cannot be read")})
		return
	}
	body := io.NopCloser(bytes.NewReader(req.Body))
	length := int64(len(req.Body))
	if req.Large {
		ev.large = new(engine.LargeBody)
		if body, length = ev.large, req.Length; length <= 0 {
			length = -1
		}
	}
	r := (&http.Request{
		Method: req.Method, URL: target, Host: req.Host, RemoteAddr: req.Remote, RequestURI: req.URL,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header(req.Header), Body: body, ContentLength: length,
	}).WithContext(ctx)
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	how := engine.Fetching{Takes: o.in.takes(ev)}
	if req.Socket != "" {
		slot, _ := wire.SlotOf(req.Gateway, req.Socket) // checkRequest has checked it
		how.Socket = &engine.SocketInfo{ID: req.Socket, Gateway: req.Gateway, Slot: slot, Region: req.Region, Principal: cleanPrincipal(req.Principal)}
	}
	o.finish(ev, o.memory.handler().Fetch(r, how))
}

// accepted returns the outcome, or a failure instead if the object cannot keep what the event has done.
func (o *object) accepted(ev event, out engine.Outcome) engine.Outcome {
	err := o.roomFor(ev, out)
	if err == nil {
		err = o.tooLargeToKeep(ev, out)
	}
	if err == nil {
		return out
	}
	out.Undo()
	return engine.Outcome{Drop: true, Err: err}
}

// finish ends an event: its writes become part of the next put, and its outputs wait in the outbox until that put has
// landed.
func (o *object) finish(ev event, out engine.Outcome) {
	if o.givesWay(ev, out) {
		return
	}
	out = o.accepted(ev, out)
	if out.Drop {
		o.drop()
	}
	var failure *objects.Error
	if out.Err != nil {
		failure = o.countFailure(ev, out)
	} else {
		o.counters.ok[ev.index()].Inc()
	}
	o.apply(ev, out, o.replyTo(ev, out, failure), failure)
	for _, s := range out.Opened {
		o.in.trackGateway(s.Info().Gateway)
	}
}

// apply brings an event's outcome into memory and its outputs into the outbox.
func (o *object) apply(ev event, out engine.Outcome, reply *wire.Reply, failure *objects.Error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	wrote := out.Changed() || len(out.Opened) > 0 || ev.kind == wire.Closed || closesAway(out.Sends)
	wrote = wrote || (ev.kind == wire.Restore || ev.kind == wire.Fork) && failure == nil // otherwise a late copy of one that changed nothing would undo later changes
	outs, waits := o.outs(ev, out, failure, wrote)
	if len(out.Opened) > 0 || ev.kind == wire.Closed || attaches(out.Sends) {
		o.noteSockets()
		o.sockets.keepAttachments(&o.memory, out.Sends)
	}
	item := outboxItem{to: o.mailbox.newestReply(ev.reply), reply: reply, wrote: wrote}
	item.frame = ev.kind == wire.Message || ev.kind == wire.Closed
	if (len(outs) > 0 || waits) && (ev.kind == wire.Call || ev.kind == wire.Fetch) {
		item.wrote = true // the reply can overtake the pushes: whoever reads it must be sure that they will come
	}
	item.settle = ev.settles(failure)
	item.wrote = item.wrote || item.settle != nil // so that a copy does not run again when the asks are settled
	if target, ok := out.Target.(*state.Target); ok {
		o.memory.Restore(target, o.term.token, time.Now())
	}
	o.memory.Apply(out.Writes)
	if ev.session {
		o.sockets.writeAway(&o.memory, ev.ended, nil)
	}
	item.tasks, item.stream = out.Tasks, o.in.streamOf(ev, out, reply)
	if item.wrote {
		o.noteTold(out.Writes)
	}
	if out.Alarm != nil {
		o.memory.setAlarm(*out.Alarm)
	}
	if item.wrote {
		o.memory.remember(ev.req, reply, time.Now(), o.in.wide)
	}
	o.put(item, outs...)
	o.moveTold()
}

// attaches reports whether an event has changed an attachment.
func attaches(sends []engine.Send) bool {
	return slices.ContainsFunc(sends, func(s engine.Send) bool { return s.Op == engine.OpAttach })
}

// replyTo returns the reply for whoever sent the request; nil: none.
func (o *object) replyTo(ev event, out engine.Outcome, failure *objects.Error) *wire.Reply {
	if ev.reply == "" {
		return nil
	}
	reply := &wire.Reply{Woke: o.woke}
	switch {
	case failure != nil:
		reply.Fail(failure)
	case out.Response != nil:
		reply.Status, reply.Header, reply.Body = out.Response.Status, out.Response.Header, out.Response.Body
	default:
		reply.Body = out.Output
	}
	return reply
}

// countFailure counts an event that failed, and returns the error for its sender: a refusal as it is, any other error
// as a reference to the log.
func (o *object) countFailure(ev event, out engine.Outcome) *objects.Error {
	o.in.metrics.events.WithLabelValues(o.class.Name, ev.label(), shared.CodeLabel(objects.CodeOf(out.Err))).Inc()
	if e, ok := errors.AsType[*objects.Error](out.Err); ok {
		return e
	}
	e := &objects.Error{Code: objects.Internal, Message: "the object failed; nothing was changed", Reference: wire.NewReference()}
	o.in.log.Error("event failed", "ref", e.Reference, "object", o.id.Key(), "name", o.id.Name, "kind", ev.label(), "err", out.Err, "stack", string(out.Stack))
	return e
}
