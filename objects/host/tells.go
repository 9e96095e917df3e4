package host

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
	"holdfast/objects/internal/tells"
)

// How an object sends told messages, to others and to itself. told decides.

// noteTold notes the told messages among the writes, and adds the chores that wait for a commit. With mu held.
func (o *object) noteTold(writes []engine.Write) {
	if tellsAnything(writes) {
		o.logTold(o.addTold().note(writes, o.commit.nextCommit()))
	}
	if o.told.hasChores() {
		o.writeChores()
	}
}

// addTold returns the object's told, made when it is first needed. With mu held.
func (o *object) addTold() *told {
	if o.told == nil {
		o.told = newTold(o.id.Key(), o.commit.state().Commit)
	}
	return o.told
}

// writeChores adds told's chores to the next put: messages that were handled are removed, and those that have failed
// are kept. With mu held, by the event loop.
func (o *object) writeChores() {
	writes := o.told.chores(o.memory.Reserved(), o.commit.nextCommit())
	o.memory.Apply(writes)
	o.logTold(o.told.note(writes, o.commit.nextCommit()))
}

// logTold logs why told messages were not understood; nil: they were.
func (o *object) logTold(err error) {
	if err != nil {
		o.in.log.Error("told message not understood", "object", o.id.Key(), "err", err)
	}
}

// landedTold lets the messages leave that this commit has made durable. With mu held.
func (o *object) landedTold(commit uint64) {
	if o.told != nil {
		o.told.landed(commit)
		o.moveTold()
	}
}

// moveTold carries out what can be done now about told messages, and sets the timer for the rest. With mu held.
func (o *object) moveTold() {
	if o.told == nil || o.stage() != serving {
		return
	}
	now := time.Now()
	m := o.told.move(o.memory.Reserved(), now, o.copiesUntil)
	if m.take {
		o.spawn(o.sendTold)
	}
	for _, f := range m.forgets {
		o.in.sendForget(o.id.Key(), f)
	}
	if m.due {
		o.push(delivery{kind: toldDue})
	}
	if m.timed {
		after := m.at.Sub(now)
		o.told.setTimer(after, func() *time.Timer { return time.AfterFunc(after, o.toldTimer) })
	}
}

// toldTimer carries out what is due when the timer fires.
func (o *object) toldTimer() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told.writesNext(time.Now()) {
		o.push(delivery{kind: toldDue})
	}
	o.moveTold()
}

// copiesUntil returns until when copies of messages may arrive that another owner of the object, or an earlier
// connection of ours, has sent.
func (o *object) copiesUntil(now time.Time) time.Time {
	_, since := o.in.bus.Connection(now)
	return o.term.copiesUntil(since)
}

// sendTold takes batches and has each delivered, until there is none.
func (o *object) sendTold() {
	for {
		select {
		case o.in.telling <- struct{}{}:
		case <-o.in.work.Done():
			return
		}
		b, batch, ok := o.takeBatch()
		if !ok {
			<-o.in.telling
			return
		}
		o.spawn(func() {
			defer func() { <-o.in.telling }()
			o.batchAnswered(b, o.deliverBatch(b, batch))
		})
	}
}

// takeBatch returns the next batch that may leave, and its encoding.
func (o *object) takeBatch() (tells.Batch, *wire.Batch, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told == nil || o.stage() != serving {
		return tells.Batch{}, nil, false
	}
	b, ok := o.told.take(time.Now())
	if !ok {
		o.moveTold()
		return b, nil, false
	}
	count, _ := toldCount(o.memory.Reserved())
	batch := &wire.Batch{From: o.id.Key(), Born: count.Born, Messages: make([]wire.TellMessage, 0, len(b.Numbers))}
	for _, n := range b.Numbers {
		m, err := engine.DecodeTold(stored(o.memory.Reserved(), engine.OutboxKey(n)))
		if err != nil {
			o.in.log.Error("told message not understood", "object", o.id.Key(), "message", n, "err", err)
			continue
		}
		batch.Messages = append(batch.Messages, wire.TellMessage{N: n, Call: m.Call, Body: m.Body})
	}
	return b, batch, true
}

// idOfKey returns the id with this key, "class.hex".
func idOfKey(key string) (objects.ID, error) {
	class, digits, _ := strings.Cut(key, ".")
	return objects.Class(class).ParseID(digits)
}

// deliverBatch sends a batch and returns the answer. A receiver that cannot be reached is an answer too: try again later.
func (o *object) deliverBatch(b tells.Batch, batch *wire.Batch) (a tells.Answer) {
	id, err := idOfKey(b.To)
	if err != nil {
		o.in.log.Error("told message not delivered: its receiver is no object", "object", o.id.Key(), "to", b.To, "err", err)
		return a
	}
	if _, valid := o.in.lease.Valid(); !valid {
		return a
	}
	reply, err := o.in.client.Do(o.in.work, wire.Address{ID: id, Name: b.Name, Near: b.Near}, &wire.Request{Kind: wire.Told, Body: wire.Encode(batch)})
	if err == nil {
		err = reply.Err()
	}
	var said wire.BatchReply
	if err == nil {
		err = wire.Decode(reply.Body, &said)
	}
	if err != nil {
		o.in.metrics.tells.WithLabelValues(o.class.Name, "not reached").Inc()
		o.in.log.Debug("told messages not delivered yet", "object", o.id.Key(), "to", b.To, "err", err)
		return a
	}
	a = tells.Answer{Handled: said.Handled, Failed: said.Failed, Refused: said.Refused, Soon: said.Soon}
	if said.Failed > 0 {
		a.Err = &engine.Failure{Code: said.Code, Message: said.Message, Reference: said.Ref}
	}
	return a
}

// batchAnswered handles the answer to a batch.
func (o *object) batchAnswered(b tells.Batch, a tells.Answer) {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told == nil || o.stage() == gone {
		return
	}
	handled := 0
	for _, n := range b.Numbers {
		if n <= a.Handled {
			handled++
		}
	}
	o.in.metrics.tells.WithLabelValues(o.class.Name, "handled").Add(float64(handled))
	if a.Failed > 0 {
		o.in.metrics.tells.WithLabelValues(o.class.Name, "failed").Inc()
	}
	if o.told.answered(b, a, now, rand.Float64(), o.copiesUntil(now).After(now)) {
		o.push(delivery{kind: toldDue})
	}
	o.moveTold()
}

// sendForget tells a receiver that it may forget its mark of an object. The message goes over NATS, as did every copy
// of a told message that did not go straight into a mailbox, so it overtakes no copy.
func (in *incarnation) sendForget(from string, f forget) {
	id, err := idOfKey(f.to)
	if err != nil {
		return
	}
	body := wire.ForgetBody{From: from, Born: f.born, Last: f.last}
	nobody := wire.InboxPrefix + in.id + ".forget" + strconv.FormatUint(in.forgets.Add(1), 10) + ".1" // nobody answers; it is no copy of another message
	in.logSendError(wire.Ask(in.bus, wire.ObjectHostSubject(id.Key()), nobody, &wire.Request{Kind: wire.Forget, Gateway: in.id, Body: wire.Encode(&body)}))
}

// handleTold runs the object's own messages that are due, sends other objects' messages that are due, and writes the
// chores that answers have caused. It reports whether something was written.
func (o *object) handleTold() (wrote bool) {
	began := time.Now()
	for {
		now := time.Now()
		if now.Sub(began) > toldSlice {
			o.push(delivery{kind: toldDue})
			return wrote
		}
		did, more := o.handleOneTold(now)
		wrote = wrote || did
		if !more {
			return wrote
		}
	}
}

// nextTold returns what the event loop has to do next about told messages; false: nothing.
func (o *object) nextTold(now time.Time) (nextTold, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage() == gone {
		return nextTold{}, false
	}
	next, ok, err := o.told.next(o.memory.Reserved(), now)
	o.logTold(err)
	return next, ok
}

// handleOneTold does one thing about told messages. It reports whether something was written, and whether there is more
// to do.
func (o *object) handleOneTold(now time.Time) (wrote, more bool) {
	next, ok := o.nextTold(now)
	switch {
	case !ok:
		return false, false
	case next.chores:
		o.applyOwn(engine.Outcome{}, true)
	case next.park:
		o.park(next.m, next.at, now)
	case next.hook:
		o.retryUndelivered(next.m, now)
	case next.m.To == o.id.Key():
		return o.runOwn(next.m, next.at, now)
	default:
		count, err := toldCount(o.memory.Reserved())
		if err != nil {
			o.in.log.Error("told message not sent: the object's count cannot be read", "object", o.id.Key(), "err", err)
			return false, false
		}
		o.applyOwn(engine.Outcome{Writes: tells.Move(next.m, next.at, count, o.term.token)}, false)
	}
	return true, true
}

// applyOwn applies an event of the host's own, which nobody has requested.
func (o *object) applyOwn(out engine.Outcome, chores bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.memory.Apply(out.Writes)
	o.noteTold(out.Writes)
	if len(out.Writes) > 0 || chores {
		o.put(outboxItem{wrote: true})
	}
	o.moveTold()
}

// runOwn runs a message that the object has told itself.
func (o *object) runOwn(m engine.Told, at string, now time.Time) (wrote, more bool) {
	ev := event{kind: wire.Told}
	o.inHand.onExit = func(out engine.Outcome) { o.ownFailed(ev, m, at, out, now) }
	out, ok := o.awake()
	if ok {
		ev.ctx = o.toldContext(o.id.Key(), stored(o.memory.Reserved(), engine.ToldCount), m.N, now)
		out = o.memory.handler().Told(ev.ctx, m.Call, m.Body, engine.Write{Key: at})
	}
	o.inHand.onExit = nil
	if o.givesWay(ev, out) {
		o.gaveWay = false
		o.push(delivery{kind: toldDue}) // behind what waits for the object
		return false, false
	}
	out = o.accepted(ev, out)
	if out.Err == nil {
		o.finish(ev, out)
		return true, true
	}
	o.ownFailed(ev, m, at, out, now)
	return true, true
}

// ownFailed schedules another try of a message that the object has told itself, or parks the message.
func (o *object) ownFailed(ev event, m engine.Told, at string, out engine.Outcome, now time.Time) {
	e := o.countFailure(ev, out)
	if out.Drop {
		o.drop()
	}
	o.endAsking(ev.ctx)
	o.mu.Lock()
	mayPark := o.told.mayPark()
	o.mu.Unlock()
	failed, park := tells.OwnFailed(m, refusedFor(e), mayPark, failureOf(e), now, rand.Float64())
	if park {
		o.park(failed, at, now)
		return
	}
	o.applyOwn(engine.Outcome{Writes: []engine.Write{{Key: at, Value: failed.Encode()}}}, false)
}

// failureOf returns the error in its stored form.
func failureOf(e *objects.Error) *engine.Failure {
	return &engine.Failure{Code: string(e.Code), Message: cut(e.Message, 512), Reference: e.Reference}
}

func cut(s string, most int) string { return strings.ToValidUTF8(s[:min(len(s), most)], "") }

// refusedFor reports whether another try is useless, because the handler has refused the message.
func refusedFor(e *objects.Error) bool {
	return e.Code != objects.Internal && e.Code != objects.Unknown && !e.Code.Retryable()
}

// park parks a message, and runs the object's Undelivered in the same commit.
func (o *object) park(m engine.Told, at string, now time.Time) {
	o.in.metrics.tells.WithLabelValues(o.class.Name, "parked").Inc()
	why := "no reason is known"
	if m.Err != nil {
		why = m.Err.Code + ": " + m.Err.Message
	}
	o.in.log.Warn("told message parked", "object", o.id.Key(), "name", o.id.Name, "to", m.To, "call", m.Call, "message", m.N, "tries", m.Tries, "err", why)
	o.undelivered(m, func(m engine.Told) []engine.Write { return tells.Park(m, at) }, now)
}

// retryUndelivered runs the object's Undelivered again for a parked message, after it has failed.
func (o *object) retryUndelivered(m engine.Told, now time.Time) {
	o.undelivered(m, func(m engine.Told) []engine.Write {
		return []engine.Write{{Key: engine.ParkedKey(m.N), Value: m.Encode()}}
	}, now)
}

// undelivered runs the object's Undelivered, if it has one, in the commit of the writes that write makes.
func (o *object) undelivered(m engine.Told, write func(engine.Told) []engine.Write, now time.Time) {
	ev := event{kind: wire.Parked}
	failed := func(out engine.Outcome) {
		_ = o.countFailure(ev, out)
		if out.Drop {
			o.drop()
		}
		o.endAsking(ev.ctx)
		o.applyOwn(engine.Outcome{Writes: write(tells.HookFailed(m, now, rand.Float64()))}, false)
	}
	o.inHand.onExit = failed
	out, ok := o.awake()
	if !ok {
		o.inHand.onExit = nil
		failed(out)
		return
	}
	heard := m
	heard.Due = time.Time{}
	if !o.memory.handler().HearsUndelivered() {
		o.inHand.onExit = nil
		o.applyOwn(engine.Outcome{Writes: write(heard)}, false)
		return
	}
	ctx := o.toldContext(o.id.Key(), stored(o.memory.Reserved(), engine.ToldCount), m.N, now)
	ctx.kind, ctx.sender = wire.Parked, ""
	ev.ctx = ctx
	out = o.memory.handler().Undelivered(ctx, m, write(heard)...)
	o.inHand.onExit = nil
	if out.Err != nil {
		failed(out)
		return
	}
	o.finish(ev, out)
}

// handleParked retries or drops parked messages, as an operator has asked.
func (o *object) handleParked(ev event) {
	var want wire.ParkedBody
	if err := wire.Decode(ev.req.Body, &want); err != nil {
		o.answer(ev.reply, wire.Reply{Code: objects.Invalid, Message: "the body of the request about parked messages is not understood"})
		return
	}
	n, err := o.liftParked(want)
	switch {
	case err != nil:
		o.answer(ev.reply, wire.Reply{Code: objects.Internal, Message: err.Error()})
	case n == 0:
		o.answer(ev.reply, wire.Reply{Code: objects.NotFound, Message: "there is no such parked message"})
	default:
		o.in.log.Info("parked messages retried or dropped", "object", o.id.Key(), "name", o.id.Name, "messages", n, "dropped", want.Drop)
		o.answer(ev.reply, wire.Reply{Body: []byte(strconv.Itoa(n))})
	}
}

func (o *object) liftParked(want wire.ParkedBody) (n int, err error) {
	keys := []string{engine.ParkedKey(want.N)}
	if want.N == 0 {
		keys = nil
		for key := range o.memory.Reserved().Between(engine.ParkedAt, engine.After(engine.ParkedAt)).All() {
			keys = append(keys, key)
		}
	}
	for _, at := range keys {
		value, ok := o.memory.Reserved().Get(at)
		if !ok {
			continue
		}
		n++
		if want.Drop {
			o.applyOwn(engine.Outcome{Writes: []engine.Write{{Key: at}}}, false)
			continue
		}
		m, failed := engine.DecodeTold(value)
		count, bad := toldCount(o.memory.Reserved())
		if err = errors.Join(failed, bad); err != nil {
			return n, fmt.Errorf("message at %q: %w", at, err)
		}
		enter := tells.Move
		if m.To == o.id.Key() {
			enter = tells.Again
		}
		o.applyOwn(engine.Outcome{Writes: enter(m, at, count, o.term.token)}, false)
	}
	return n, nil
}

// mayForgetCount reports whether the record stores nothing but the count of what the object has told, and the count is
// no longer needed: no message is under way, and no copy of one can arrive. With mu held.
func (o *object) mayForgetCount() bool {
	now := time.Now()
	_, counts := o.memory.Reserved().Get(engine.ToldCount)
	return counts && !o.copiesUntil(now).After(now) && !o.told.busy()
}
