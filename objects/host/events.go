package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	shared "holdfast/internal/metrics"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/asks"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// memory is an object as events see it, and the instance that handles them.
type memory struct {
	instance *engine.Instance // changed by setInstance; nil while the object sleeps
	state    *state.State
	alarm    *engine.Alarm // nil: none
	answers  answers
	kept     asks.Callee // what objects have asked this one
	epoch    uint64
	token    uint64    // of the claim
	since    time.Time // when the object was served first under it
	first    bool      // it was claimed when nothing was left of any owner before, no marker of a removal either
	woke     bool      // the instance was constructed for the event in hand
}

// run is the event loop: it handles what is in the mailbox, one event at a time,
// until it is empty. What they have written is put then, in one piece, or after
// batchTime.
func (o *object) run() {
	defer o.recover("")
	var t turn // each event's
	for {
		d := o.mailbox.next(time.Now())
		if d.kind == nothing {
			break
		}
		if o.commit.waits.Load() {
			o.commit.waits.Store(false)
			o.awaitRoom()
		}
		if !o.awaitLease() {
			if d.kind == request {
				o.in.redirect(d.msg, o.memory.token)
			}
			continue
		}
		o.deliver(d, &t)
	}
	o.finishLoop()
	o.finishBatch()
}

// turn is the event that runs, and its request.
type turn struct {
	event event
	req   wire.Request
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

// deliver handles one delivery. A panic outside of the author's code ends the
// object; the one who asked is told.
func (o *object) deliver(d delivery, t *turn) {
	t.event, o.inHand = event{}, &t.event
	reply := ""
	if d.kind == request {
		reply = d.msg.Reply
	}
	returned := false
	defer o.guard(d.kind, reply, &returned)
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
		if u := o.sockets.pendingEnds; u != nil {
			u.yields = false
		}
		o.deliverEnds()
	case toldDue:
		o.handleTold()
	case sleepDue:
		o.sleep()
	case drainMarker:
		o.sleep()
		o.forgetAnswers()
		o.flushNow()
		o.finishBatch() // before the last put
		o.finishParts()
		o.awaitQuiet()
		o.handOverWindow()
		o.drive(owner.Leave{})
	}
	o.endRestore()
	returned, o.inHand = true, nil
}

// guard ends the object after a panic, as recover does. If author's code has ended its goroutine, the event has failed, and
// another goroutine goes on with the mailbox.
func (o *object) guard(kind deliveryKind, reply string, returned *bool) {
	if p := recover(); p != nil {
		o.failed(p, reply)
		return
	}
	if *returned {
		return
	}
	out := engine.Outcome{Err: errors.New("the author's code has ended its goroutine (runtime.Goexit)"), Drop: true, Stack: debug.Stack()}
	if then := o.onExit; then != nil {
		o.onExit = nil
		then(out)
	} else {
		o.finish(*o.inHand, out)
	}
	o.inHand = nil
	if kind == drainMarker {
		o.drive(owner.Leave{})
	}
	o.in.startLoop(o)
}

// handle is one event from end to end: what is asked, what the instance makes of
// it, what has to be made durable, and what may leave then.
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
		o.in.warnings.log(o.in.log, "request dropped: its reply subject is no gateway's", "object", o.key)
		return
	}
	if err != nil {
		o.finish(event{reply: msg.Reply}, engine.Outcome{Err: objects.Errorf(objects.Invalid, "request not understood: %v", err)})
		return
	}
	o.memory.woke = false
	ev := event{req: req, kind: req.Kind, reply: msg.Reply}
	*o.inHand = ev
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
	*o.inHand = ev
	ctx := withPrincipal(ev.ctx, req.Principal)
	switch req.Kind {
	case wire.Message, wire.Closed:
		o.frame(ctx, ev)
	case wire.Call:
		if !o.again(ev, now) && o.ready(ev) {
			o.finish(ev, o.memory.instance.Call(ctx, req.Call, req.Body))
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

// onlyHosts reports whether a request of this kind is believed only where hosts alone may
// publish.
func onlyHosts(kind wire.Kind) bool {
	return kind == wire.Told || kind == wire.Forget || kind == wire.MayForget || kind == wire.Parked || kind == wire.Restore || kind == wire.Fork
}

// withPrincipal has the event know who asks. What no gateway of ours has sent is nobody.
func withPrincipal(ctx context.Context, principal []byte) context.Context {
	if len(principal) == 0 || len(principal) > objects.MaxPrincipal {
		return ctx
	}
	var p objects.Principal
	if json.Unmarshal(principal, &p) != nil {
		return ctx
	}
	return objects.WithPrincipal(ctx, p)
}

// maxTimeout is the longest time that a request may ask for, in milliseconds.
const maxTimeout = int64(time.Hour / time.Millisecond)

// maxName is the longest name of a gateway or a socket, in bytes.
const maxName = 64

// checkName refuses what cannot name a gateway or a socket. A gateway's name becomes
// part of subjects.
func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("a name has %d bytes, want 1 to %d", len(name), maxName)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '*' || c == '>' {
			return fmt.Errorf("%q cannot be a name", name)
		}
	}
	if user, own, of := strings.Cut(name, "."); of && (user == "" || own == "" || strings.Contains(own, ".")) {
		return fmt.Errorf("%q cannot be a name", name)
	}
	return nil
}

// checkRequest refuses a request that no gateway or host of ours has made.
func checkRequest(req *wire.Request, byHost bool) error {
	switch {
	case !byHost && (req.Asked != nil || req.Settled != nil || req.Kind == wire.Settled || req.Kind == wire.Probe):
		return errors.New("only a host may send this")
	case req.Kind == wire.Settled:
		return checkSettled(req.Settled)
	case req.Asked != nil:
		if err := checkAsked(req); err != nil {
			return err
		}
	}
	if err := checkSession(req); err != nil {
		return err
	}
	if err := checkName(req.Gateway); err != nil || req.Socket == "" {
		return err
	}
	if slot, ok := wire.SlotOf(req.Gateway, req.Socket); !ok || slot == 0 {
		return fmt.Errorf("%.80q is no socket of the gateway", req.Socket)
	}
	return nil
}

// event is one event while it is handled.
type event struct {
	req   *wire.Request     // nil for the host's own
	kind  wire.Kind         // ownEvent for one that nobody has requested
	reply string            // where to answer; "" for nowhere
	ctx   *eventContext     // nil for a constructor's, and what is no event of the author's
	large *engine.LargeBody // of a request whose body has not come; nil: it has, or there is none

	again      bool // it gave way before
	comesAgain bool // it has failed, and is tried again later

	// Of a frame, and of the end of a socket, also if no frame has told it.
	gateway string
	slot    uint32
	seq     uint64 // 0: nothing is to be acknowledged
	ended   string // the socket of which the event tells the end
	session bool   // which was a session that was away
}

// kindNames are the kinds of requests, and of events that nobody has requested.
var kindNames = [...]string{"unknown", "call", "fetch", "message", "closed", "alarm", "resume", "settled", "probe", "told", "forget", "may_forget", "parked", "restore", "fork", "look", "own"}

const (
	kinds    = len(kindNames)
	ownEvent = wire.Kind(kinds - 1)
)

// index is the event's place in kindNames.
func (e event) index() int {
	if int(e.kind) >= kinds || e.req != nil && e.kind == ownEvent {
		return 0
	}
	return int(e.kind)
}

func (e event) label() string { return kindNames[e.index()] }

// again answers a request that has been handled before, perhaps by another
// owner, from what the record remembers.
func (o *object) again(ev event, now time.Time) bool {
	if ev.req.Asked != nil {
		return o.askedBefore(ev, now)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.memory.answers.noteLow(ev.req, now) > ev.req.N {
		return true // stale duplicate: the gateway no longer waits for this number
	}
	kept, known := o.memory.answers.find(ev.req)
	if !known {
		if ev.req.For == o.memory.token || ev.req.For == 0 && !o.young() {
			return false
		}
		// The copy was sent to another owner.
		o.in.answer(o.mailbox.newestReply(ev.reply), &wire.Reply{Moved: true, Token: o.memory.token})
		return true
	}
	reply := wire.Reply{Code: objects.Done, Message: "this was done before; its answer was too large to keep"}
	answer, err := kept.Answer()
	switch {
	case err != nil:
		reply = wire.Reply{Code: objects.Internal, Message: "the answer that was kept is damaged"}
	case answer.Key != "" && answer.Sum != sum(ev.req):
		reply = wire.Reply{Code: objects.Conflict, Message: "this idempotency key was used for another request"}
	case len(answer.Reply) > 0:
		reply = wire.Reply{}
		if err := wire.Decode(answer.Reply, &reply); err != nil {
			reply = wire.Reply{Code: objects.Internal, Message: "the answer that was kept is damaged"}
		}
	}
	reply.Kept = true
	o.put(outboxItem{to: o.mailbox.newestReply(ev.reply), reply: &reply})
	return true
}

// young reports whether copies of requests may still arrive that were sent to an owner
// before this one. The marker of a removal stays for as long as a copy lives.
func (o *object) young() bool {
	return !o.memory.first && time.Since(o.memory.since) < wire.CopyLife
}

// sum distinguishes requests under one key.
func sum(req *wire.Request) string {
	h := sha256.New()
	for _, part := range []string{req.Call, req.Method, req.URL, string(req.Body)} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

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
	how := engine.Fetching{Takes: o.takes(ev)}
	if req.Socket != "" {
		slot, _ := wire.SlotOf(req.Gateway, req.Socket) // checkRequest has seen it
		how.Socket = &engine.SocketInfo{ID: req.Socket, Gateway: req.Gateway, Slot: slot, Region: req.Region, Principal: cleanPrincipal(req.Principal)}
	}
	o.finish(ev, o.memory.instance.Fetch(r, how))
}

// runAlarm runs the alarm if the record says that it is due.
func (o *object) runAlarm(ctx context.Context, ev event) {
	now := time.Now()
	before := alarmValue(o.memory.alarm)
	if due, ok := before.Next(); !ok || now.Before(due) { // the constructor has changed it
		o.setAgain(ev)
		return
	}
	o.setWakeUp(wakeUp{}) // it has fired
	out := o.memory.instance.Alarm(ctx, before.Info())
	if o.givesWay(ev, out) {
		return
	}
	if out.Err == nil {
		o.finish(ev, out)
		return
	}
	failed := before.Failed(now, rand.Float64())
	if out.Forget {
		failed = engine.Alarm{}
	}
	e := o.countFailure(ev, out)
	o.in.log.Warn("alarm failed", "ref", e.Reference, "object", o.key, "name", o.id.Name, "set for", before.At, "retry", before.Retry, "parked", failed.Parked, "err", out.Err)
	if out.Drop {
		o.drop()
	}
	ev.comesAgain = true
	o.apply(ev, engine.Outcome{Alarm: &failed, Sends: out.Sends}, o.replyTo(ev, engine.Outcome{}, nil), nil)
}

// setAgain sets the wake-up for what the record says: the one that has fired is gone.
// The alarm is answered when that is done.
func (o *object) setAgain(ev event) {
	then := func(err error) {
		reply := wire.Reply{}
		if err != nil {
			reply.Code, reply.Message = objects.Unavailable, err.Error()
		}
		o.answer(ev.reply, reply)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	need := needOf(alarmValue(o.memory.alarm), o.told, o.sockets.next())
	if o.stage() != gone && o.enqueue(setWakeUp{need: need, then: then}) {
		o.spawn(o.work)
	}
}

// finish ends an event: its writes become part of what the next put makes
// durable, and what it sends waits in the outbox until then.
func (o *object) finish(ev event, out engine.Outcome) {
	if o.givesWay(ev, out) {
		return
	}
	err := o.roomFor(ev, out)
	if err == nil {
		err = o.tooLargeToKeep(ev, out)
	}
	if err != nil {
		out = engine.Outcome{Drop: true, Err: err}
	}
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
	wrote = wrote || (ev.kind == wire.Restore || ev.kind == wire.Fork) && failure == nil // a late copy of one that changed nothing would change what came since
	outs, waits := o.outs(ev, out, failure, wrote)
	if len(out.Opened) > 0 || ev.kind == wire.Closed || attaches(out.Sends) {
		o.sockets.note()
		o.keepAttachments(out.Sends)
	}
	item := outboxItem{to: o.mailbox.newestReply(ev.reply), reply: reply, wrote: wrote}
	item.frame = ev.kind == wire.Message || ev.kind == wire.Closed
	if (len(outs) > 0 || waits) && (ev.kind == wire.Call || ev.kind == wire.Fetch) {
		item.wrote = true // its answer does not come through a lane: who sees it has to know that the rest will come
	}
	item.settle = ev.settles(failure)
	item.wrote = item.wrote || item.settle != nil // so that it does not run again when its asks are settled
	if target, ok := out.Target.(*state.Target); ok {
		o.memory.state.Restore(target, o.memory.token, time.Now())
	}
	o.memory.state.Apply(out.Writes)
	if ev.session {
		o.writeAway(ev.ended, nil)
	}
	item.tasks, item.stream = out.Tasks, o.streamOf(ev, out, reply)
	if item.wrote {
		o.noteTold(out.Writes)
	}
	if out.Alarm != nil {
		o.memory.alarm = numbered(*out.Alarm)
	}
	if item.wrote {
		o.remember(ev, reply)
	}
	o.put(item, outs...)
	o.moveTold()
}

// numbered is the alarm with a number of its own if it has just been set; nil for none.
func numbered(a engine.Alarm) *engine.Alarm {
	if a.Number == 0 && !a.At.IsZero() {
		a.Number = 1 + rand.Uint64N(1<<48) // exact in JSON
	}
	return alarmPointer(a)
}

// attaches reports whether an event has changed an attachment.
func attaches(sends []engine.Send) bool {
	return slices.ContainsFunc(sends, func(s engine.Send) bool { return s.Op == engine.OpAttach })
}

// answersOnce reports whether a request of this kind that is sent again gets the answer of before.
func answersOnce(kind wire.Kind) bool {
	return kind == wire.Call || kind == wire.Fetch || kind == wire.Restore || kind == wire.Fork
}

// remember keeps the answer of a request that wrote, so that asking again, here or
// at the next owner, does not do it again. With mu held.
func (o *object) remember(ev event, reply *wire.Reply) {
	if ev.req == nil || ev.req.N == 0 || reply == nil || !answersOnce(ev.req.Kind) {
		return
	}
	reply.Kept = true
	if ev.req.Asked != nil {
		o.memory.kept.Keep(questionOf(ev.req.Asked), wire.Encode(reply), time.Now())
		return
	}
	answer := record.Answer{Gateway: ev.req.Gateway, N: ev.req.N}
	if ev.req.Key != "" {
		answer = record.Answer{Key: ev.req.Key, Sum: sum(ev.req), At: time.Now().UTC().Truncate(time.Second)}
	}
	if reply.Status == http.StatusSwitchingProtocols { // a socket cannot be opened by hearsay
		reply = &wire.Reply{Code: objects.Unknown, Message: "the object's host was lost as the socket opened; connect again"}
	}
	if reply.Stream != nil { // nor can a stream be read twice
		reply = &wire.Reply{Code: objects.Done, Message: "this was done before; its answer was a stream, which is not kept"}
	}
	kept := *reply
	kept.Woke = false
	if data := wire.Encode(&kept); len(data) <= maxKept {
		answer.Reply = data
	}
	o.memory.answers.add(answer, time.Now())
	if answer.Key != "" {
		o.memory.state.Apply(o.memory.answers.writes(time.Now(), o.in.wide))
	}
}

// forgetAnswers removes the answers to clients' keys that are too old from the object's storage.
func (o *object) forgetAnswers() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage() != gone {
		o.memory.state.Apply(o.memory.answers.writes(time.Now(), o.in.wide))
	}
}

// replyTo is what to tell whoever asked; nil for nothing.
func (o *object) replyTo(ev event, out engine.Outcome, failure *objects.Error) *wire.Reply {
	if ev.reply == "" {
		return nil
	}
	reply := &wire.Reply{Woke: o.memory.woke}
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

// countFailure counts an event that failed, and returns the error that may be told:
// a refusal as it is, anything else under a reference that the log explains.
func (o *object) countFailure(ev event, out engine.Outcome) *objects.Error {
	o.in.metrics.events.WithLabelValues(o.class.Name, ev.label(), shared.CodeLabel(objects.CodeOf(out.Err))).Inc()
	if e, ok := errors.AsType[*objects.Error](out.Err); ok {
		return e
	}
	e := &objects.Error{Code: objects.Internal, Message: "the object failed; nothing was changed", Reference: wire.NewReference()}
	o.in.log.Error("event failed", "ref", e.Reference, "object", o.key, "name", o.id.Name, "kind", ev.label(), "err", out.Err, "stack", string(out.Stack))
	return e
}
