package host

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// drive passes an event to package owner and does what that decides.
func (o *object) drive(e owner.Event) {
	if o.step(e) {
		o.work()
	}
}

// step is decide for callers that do not hold mu.
func (o *object) step(e owner.Event) (start bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.decide(e)
}

// decide asks package owner what to do about an event, and does everything that must be
// atomic with the decision. It reports whether the caller must have work called, because
// no goroutine works at the store. With mu held.
func (o *object) decide(e owner.Event) (start bool) {
	c := &o.commit
	for _, d := range c.step(o.in.id, e) {
		switch d := d.(type) {
		case owner.Send:
			if c.needsPayload(d.Put) {
				o.beginPut(o.encode(d.Put))
			}
		case owner.Committed:
			c.landed()
			o.memory.Landed(d.Commit, time.Now())
			o.release(d.Commit)
			o.landedTold(d.Commit)
		case owner.Stop:
			o.stop(d)
			continue
		case owner.Refuse:
			o.advance(gone)
			o.spawn(func() { o.refused(d) })
			continue
		}
		start = c.enqueue(d) || start
	}
	return start
}

// work fulfils the obligations to the store in order, until none is left. One goroutine at a time runs it.
func (o *object) work() {
	o.mu.Lock()
	first := o.commit.obligation()
	o.mu.Unlock()
	for more := true; more; {
		first, more = o.done(o.perform(first))
	}
}

// done passes the result of the first obligation, nil for none, to package owner. It returns the next obligation, if
// there is one.
func (o *object) done(came owner.Event) (next owner.Do, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if came != nil {
		o.decide(came) // there is an obligation, so nobody has to be started
	}
	if more = o.commit.fulfilled(); more {
		next = o.commit.obligation()
	}
	return next, more
}

// perform fulfils one obligation to the store and returns the event that follows, nil for none.
func (o *object) perform(d owner.Do) owner.Event {
	switch d := d.(type) {
	case owner.ReadRecord:
		return o.read()
	case owner.Send:
		return o.send(d.Put)
	case owner.Serve:
		return o.serve()
	case owner.Committed:
		o.commit.settled()
		o.afterCommit()
		o.maintain()
	case setWakeUp:
		d.then(o.reschedule(d.need, o.in.clock.SetAgain))
	}
	return nil
}

// read asks the leader for the record.
func (o *object) read() owner.Event {
	if wait := o.commit.nextRead(); wait > 0 {
		wire.Pause(o.in.work, wait)
	}
	if o.ended() {
		return nil
	}
	ctx, cancel := context.WithTimeout(o.in.work, o.in.timing.Commit)
	defer cancel()
	if refusal := o.in.unreadable.find(o.id.Key(), time.Now()); refusal != nil {
		o.commit.refuse(refusal)
		return owner.Unreadable{}
	}
	rec, revision, err := o.in.store.Read(ctx, o.id.Key())
	switch {
	case errors.Is(err, record.ErrUnreadable):
		o.in.log.Error("object not served: its record cannot be read", "ref", o.unreadable(), "object", o.id.Key(), "err", err)
		return owner.Unreadable{}
	case err != nil:
		o.in.log.Warn("record not read", "object", o.id.Key(), "err", err)
		return owner.Doubt{}
	}
	answer := owner.Read{Found: owner.Found{Revision: revision}}
	if o.opening != nil {
		o.opening.read(rec)
	}
	if rec != nil {
		answer.Head = owner.Head{Epoch: rec.Epoch, Owner: rec.Owner, Commit: rec.Commit}
		answer.Live = rec.Owner != "" && rec.Owner != o.in.id && o.in.live(ctx, rec.Owner)
		if !answer.Live && rec.Owner != o.in.id && o.phase() == owner.Reading {
			if refusal := o.quarantined(); refusal != nil {
				o.commit.refuse(refusal)
				return owner.Barred{}
			}
		}
	}
	if phase := o.phase(); !answer.Live && (phase == owner.Reading || phase == owner.Claiming) {
		if came := o.open(ctx); came != nil {
			return came
		}
	}
	return answer
}

// ended reports whether the object is gone or the incarnation has ended.
func (o *object) ended() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stage() == gone || o.in.work.Err() != nil
}

// phase returns the object's phase in package owner.
func (o *object) phase() owner.Phase {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.commit.state().Phase
}

// send puts the record. If the record needs an earlier wake-up, that is set first.
func (o *object) send(put owner.Put) owner.Event {
	if o.ended() {
		return nil
	}
	p, set := o.payloadOf(put)
	if next := p.wake.wakeUp(time.Now()); next.before(set) {
		if err := o.schedule(next, set, o.in.clock.Set); err != nil {
			o.setWakeUp(wakeUp{})
			o.in.log.Warn("wake-up not set; the put is tried again after the record was read", "err", err)
			return owner.Doubt{}
		}
		o.setWakeUp(next)
	}
	var revision uint64
	err := o.putBefore(p)
	switch {
	case err != nil:
	case p.value == nil:
		revision, err = o.in.store.Remove(o.in.work, o.id.Key(), put.Expect)
	default:
		revision, err = o.in.store.Put(o.in.work, o.id.Key(), p.value, put.Expect)
	}
	switch {
	case err == nil:
		o.counters.landed.Inc()
		return owner.Landed{Put: put, Revision: revision}
	case errors.Is(err, record.ErrStale):
		o.in.metrics.commits.WithLabelValues(o.class.Name, "stale").Inc()
		return owner.Stale{}
	case errors.Is(err, record.ErrRefused):
		o.in.metrics.commits.WithLabelValues(o.class.Name, "refused").Inc()
		o.commit.refuse(o.refusalOf(err))
		return owner.Refused{Put: put}
	default:
		o.in.metrics.commits.WithLabelValues(o.class.Name, "doubt").Inc()
		o.in.log.Log(o.in.work, doubtLevel(err), "put in doubt; asking for its fate", "object", o.id.Key(), "err", err)
		return owner.Doubt{}
	}
}

// refusalOf returns the error for callers when the store has refused a put.
func (o *object) refusalOf(err error) *objects.Error {
	switch {
	case errors.Is(err, record.ErrFull):
		o.in.reclaim()
		return errFull
	case errors.Is(err, record.ErrTooLarge):
		return &objects.Error{Code: objects.TooLarge, Message: "the object is larger than the store takes; nothing was changed"}
	}
	e := &objects.Error{Code: objects.Internal, Message: "the store refuses the object; nothing was changed", Reference: wire.NewReference()}
	o.in.log.Error("put refused", "ref", e.Reference, "object", o.id.Key(), "name", o.id.Name, "err", err)
	return e
}

// payloadOf returns the payload of a put, encoded when the put was decided on or, for a claim, now. It also returns
// which wake-up is set.
func (o *object) payloadOf(put owner.Put) (*payload, wakeUp) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.commit.underWay(put)
	if p == nil {
		p = o.claimOf(put)
		o.beginPut(p)
	}
	return p, o.commit.wakeUpSet()
}

// beginPut notes the put that is under way from now on. With mu held.
func (o *object) beginPut(p *payload) {
	generation, _ := o.in.lease.Valid()
	o.commit.begin(p, generation)
}

// encode makes the payload of the put that has just been decided on, from what
// is in memory now. With mu held, so that no event is half in it.
func (o *object) encode(put owner.Put) *payload {
	cut := o.memory.cut
	if o.opening != nil {
		cut = o.opening.cut
	}
	parts, before := cut(state.Put{
		Object: o.id.Key(), Token: o.commit.state().Token, Commit: put.Commit, Wide: o.in.wide, Last: put.Owner == "", Now: time.Now(),
	}, o.in.home())
	rec := o.snapshot(parts)
	rec.Epoch, rec.Owner, rec.Commit = put.Epoch, put.Owner, put.Commit
	rec.Host, rec.Region = o.in.cfg.Name, o.in.cfg.Region
	if put.Owner == "" {
		rec.Host, rec.Region = "", ""
		if rec.Parts == nil && rec.Data.Len() == 1 && o.mayForgetCount() {
			rec.Data = new(engine.Data)
		}
		if rec.Empty() {
			return &payload{put: put, before: before} // nothing to keep: no entry
		}
	}
	need := needOf(o.memory.alarmSet(), o.told, o.sockets.next())
	if put.Owner == "" && need != nil && need.soon {
		need.at = time.Now() // another host goes on with it
	}
	return &payload{put: put, value: rec.Encode(), before: before, wake: need}
}

// snapshot returns the object's record, made of what is in memory. With mu held.
func (o *object) snapshot(parts *state.Head) record.Record {
	if o.opening != nil {
		return o.opening.snapshot(parts)
	}
	rec := o.memory.record(parts, time.Now(), o.in.keepAnswers())
	rec.Name = o.id.Name
	o.sockets.record(&rec)
	return rec
}

// startBatchTimer starts the timer that puts the batch after batchTime. With mu held.
func (o *object) startBatchTimer() {
	o.commit.startBatchTimer(func() *time.Timer { return time.AfterFunc(batchTime, o.batchTimeOver) })
}

// batchTimeOver puts the batch, on the timer's goroutine.
func (o *object) batchTimeOver() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.putBatch() {
		o.spawn(o.work)
	}
}

// finishBatch puts the batch now.
func (o *object) finishBatch() {
	if o.endBatch() {
		o.work()
	}
}

// endBatch is putBatch for callers that do not hold mu.
func (o *object) endBatch() (start bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.putBatch()
}

// putBatch decides on a put of the batch, and reports as decide does. With mu held.
func (o *object) putBatch() (start bool) {
	return o.commit.endBatch() && o.stage() != gone && o.decide(owner.Changed{})
}

// doubtLevel returns the level at which a doubtful put is logged: low if two hosts only claimed an object at once.
func doubtLevel(err error) slog.Level {
	if record.Busy(err) {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}
