package host

import (
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
	"holdfast/objects/internal/tells"
)

// How an object handles messages that others tell it, and the marks of the messages it has handled.

var errMarks = &wire.Reply{Code: objects.Overloaded, Message: "too many others have told the object something lately"}

// receiveTold runs messages that another object has told this one. Each message is an event; the answer waits for the
// last of their commits.
func (o *object) receiveTold(ev event) {
	var batch wire.Batch
	err := wire.Decode(ev.req.Body, &batch)
	if err == nil {
		_, err = idOfKey(batch.From)
	}
	if err != nil || len(batch.Messages) > tells.MaxBatch {
		o.answer(ev.reply, wire.Reply{Code: objects.Invalid, Message: "told messages not understood"})
		return
	}
	at := tells.MarkKey(batch.From)
	known, marked := o.memory.Reserved().Get(at)
	marks := marksIn(o.memory.Reserved())
	if marks > 0 {
		o.askForMark(marks > tells.MaxMarks/2)
	}
	if !marked && marks >= tells.MaxMarks {
		o.answer(ev.reply, *errMarks)
		return
	}
	mark, err := engine.DecodeCount(known)
	if err != nil {
		o.in.log.Error("told messages not handled: the sender's mark cannot be read", "object", o.id.Key(), "from", batch.From, "err", err)
		o.answer(ev.reply, wire.Reply{Code: objects.Internal, Message: "the sender's mark cannot be read"})
		return
	}
	reply := wire.BatchReply{Soon: marks > tells.MaxMarks/2}
	began := time.Now()
	for _, m := range batch.Messages {
		if tells.Handled(mark, batch.Born, m.N) {
			reply.Handled = m.N
			continue
		}
		if time.Since(began) > toldSlice {
			break
		}
		mark = tells.Mark{Born: batch.Born, Last: m.N}
		out := o.runTold(ev, batch.From, m, engine.Write{Key: at, Value: mark.Encode()}, reply)
		if o.gaveWay {
			return // the batch comes again
		}
		if out.Err != nil {
			o.toldFailed(ev, m.N, reply, out)
			return
		}
		reply.Handled = m.N
	}
	o.answer(ev.reply, wire.Reply{Body: wire.Encode(&reply)})
}

// runTold runs one message of another object.
func (o *object) runTold(ev event, from string, m wire.TellMessage, mark engine.Write, sofar wire.BatchReply) engine.Outcome {
	o.inHand.onExit = func(out engine.Outcome) { o.toldFailed(ev, m.N, sofar, out) }
	out, ok := o.awake()
	told := event{kind: wire.Told}
	if ok {
		told.ctx = o.toldContext(from, mark.Value, m.N, time.Now())
		out = o.memory.handler().Told(told.ctx, m.Call, m.Body, mark)
	}
	o.inHand.onExit = nil
	if !ok || o.givesWay(told, out) {
		return out
	}
	out = o.accepted(told, out)
	if out.Err == nil {
		o.finish(told, out)
	} else {
		o.endAsking(told.ctx)
	}
	return out
}

// toldFailed answers a batch in which one message has failed. A message that failed for want of room counts as not
// tried.
func (o *object) toldFailed(ev event, n uint64, reply wire.BatchReply, out engine.Outcome) {
	e := o.countFailure(event{kind: wire.Told}, out)
	if out.Drop {
		o.drop()
	}
	if e.Code == objects.StorageFull && reply.Handled == 0 {
		o.answer(ev.reply, wire.Reply{Code: e.Code, Message: e.Message})
		return
	}
	if e.Code != objects.StorageFull {
		reply.Failed, reply.Refused, reply.Code, reply.Message, reply.Ref = n, refusedFor(e), string(e.Code), cut(e.Message, 512), e.Reference
	}
	o.answer(ev.reply, wire.Reply{Body: wire.Encode(&reply)})
}

// receiveForget drops a mark that its sender no longer needs. The next commit makes that durable; until then the mark
// may come back, which does no harm.
func (o *object) receiveForget(ev event) {
	var f wire.ForgetBody
	if wire.Decode(ev.req.Body, &f) != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.memory.forgetMark(f)
}

// mayForget answers a receiver that asks whether its mark is needed. If not, the receiver is sent Forget: at once, or
// as soon as no copy of a message from an earlier owner can arrive. An object that has slept has an earlier owner.
func (o *object) mayForget(ev event) {
	var f wire.ForgetBody
	if wire.Decode(ev.req.Body, &f) == nil {
		o.mu.Lock()
		if o.addTold().noteAsker(f) {
			o.moveTold()
		}
		o.mu.Unlock()
	}
	o.answer(ev.reply, wire.Reply{})
}

// askForMark asks the sender of one mark whether the mark is still needed, if a question is due. The event loop calls
// it.
func (o *object) askForMark(short bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if sender, mark, ok := o.addTold().nextMark(o.memory.Reserved(), time.Now(), short); ok {
		o.spawn(func() { o.in.askForMark(o.id.Key(), sender, mark) })
	}
}

// askForMark asks a sender whether an object's mark of it is still needed.
func (in *incarnation) askForMark(object, sender string, mark tells.Mark) {
	id, err := idOfKey(sender)
	if err != nil {
		return
	}
	body := wire.Encode(&wire.ForgetBody{From: object, Born: mark.Born, Last: mark.Last})
	if _, err := in.client.Do(in.work, wire.Address{ID: id}, &wire.Request{Kind: wire.MayForget, Body: body}); err != nil {
		in.log.Debug("sender not asked for its mark", "object", object, "sender", sender, "err", err)
	}
}
