package host

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/asks"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// batch is what is known of writes that no put has been decided on for.
type batch uint8

const (
	clean   batch = iota // there are none
	written              // there are
	timed                // there are, and the timer runs after which they are put
)

// committer is an object's side of the store. The object's lock guards it, except
// for what only the goroutine at the store uses.
type committer struct {
	own     owner.State
	todo    []owner.Do     // what is to be done at the store, in order; the first is being done
	payload *payload       // of the put under way
	durable *wakeNeed      // as of the last commit known to have landed; nil: none
	wakeUp  wakeUp         // that is set
	timer   *time.Timer    // nil until the first batch that waits
	claimed *record.Record // what a claim puts, and serves from; nil once memory has it
	batch   batch
	lifted  bool          // an operator has the claim pass a quarantine
	opened  *state.State  // of the record that a claim puts; nil once memory has it
	entries []entry       // answers that it has; likewise
	waits   atomic.Bool   // something has come to wait for a put since the event loop looked (awaitRoom)
	proven  atomic.Uint64 // the generation of the lease in which the last put to land was made
	proving uint64        // the generation that a put was asked for to prove

	// The goroutine at the store owns these.
	refusal  *objects.Error // why the store has refused what it was asked last
	attempts uint32         // reads in a row that settled nothing
	found    *record.Record // as last read, for a claim; nil: there was none
}

// payload is the put under way, encoded once.
type payload struct {
	put    owner.Put
	made   uint64        // in this generation of the lease
	value  []byte        // nil: remove the record
	before *state.Before // what is to be in the store first; nil: nothing
	wake   *wakeNeed
}

// is reports whether this is what put sends.
func (p *payload) is(put owner.Put) bool { return p != nil && p.put == put }

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
	own, do := owner.Step(o.in.id, c.own, e)
	c.own = own
	for _, d := range do {
		switch d := d.(type) {
		case owner.Send:
			// A claim is encoded when it is sent: from the record that was read.
			if own.Phase != owner.Claiming && !c.payload.is(d.Put) {
				c.payload = o.encode(d.Put)
				c.payload.made, _ = o.in.lease.Valid()
			}
		case owner.Committed:
			c.durable = c.payload.wake
			o.memory.state.Landed(d.Commit, time.Now())
			c.proven.Store(c.payload.made)
			c.payload = nil
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
		start = o.enqueue(d) || start
	}
	return start
}

// enqueue adds an obligation, and reports whether nobody is at the store. With mu
// held.
func (o *object) enqueue(d owner.Do) (start bool) {
	c := &o.commit
	start = len(c.todo) == 0
	c.todo = append(c.todo, d)
	return start
}

// work does what is to be done at the store, one thing after the other, until there
// is nothing left. One goroutine at a time does so.
func (o *object) work() {
	for o.done(o.perform(o.obligation())) {
	}
}

// obligation is the first thing to be done.
func (o *object) obligation() owner.Do {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.commit.todo[0]
}

// done passes the result of the first obligation to package owner; nil: there is none. It
// reports whether there is another obligation.
func (o *object) done(came owner.Event) (more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if came != nil {
		o.decide(came) // adds to todo, which is not empty
	}
	o.commit.todo = slices.Delete(o.commit.todo, 0, 1)
	return len(o.commit.todo) > 0
}

// perform does one thing at the store and returns what came of it, nil for nothing.
func (o *object) perform(d owner.Do) owner.Event {
	switch d := d.(type) {
	case owner.ReadRecord:
		return o.read()
	case owner.Send:
		return o.send(d.Put)
	case owner.Serve:
		return o.serve()
	case owner.Committed:
		o.commit.attempts = 0
		o.afterCommit()
		o.maintain()
	case setWakeUp:
		d.then(o.reschedule(d.need, o.in.clock.SetAgain))
	}
	return nil
}

// read asks the leader for the record. Reading again and again is spaced out.
func (o *object) read() owner.Event {
	c := &o.commit
	if c.attempts > 1 { // the second follows at once on a claim that another host was quicker with
		wire.Pause(o.in.work, min(250*time.Millisecond, 5*time.Millisecond<<min(c.attempts-2, 8)))
	}
	c.attempts++
	if o.ended() {
		return nil
	}
	ctx, cancel := context.WithTimeout(o.in.work, o.in.timing.Commit)
	defer cancel()
	if refusal := o.in.unreadable.find(o.id.Key(), time.Now()); refusal != nil {
		o.commit.refusal = refusal
		return owner.Unreadable{}
	}
	rec, revision, err := o.in.store.Read(ctx, o.id.Key())
	switch {
	case errors.Is(err, record.ErrUnreadable):
		o.commit.refusal = o.in.unreadable.add(o.id.Key(), time.Now())
		o.in.log.Error("object not served: its record cannot be read", "ref", o.commit.refusal.Reference, "object", o.id.Key(), "err", err)
		return owner.Unreadable{}
	case err != nil:
		o.in.log.Warn("record not read", "object", o.id.Key(), "err", err)
		return owner.Doubt{}
	}
	answer := owner.Read{Found: owner.Found{Revision: revision}}
	c.found = rec
	if rec != nil {
		answer.Head = owner.Head{Epoch: rec.Epoch, Owner: rec.Owner, Commit: rec.Commit}
		answer.Live = rec.Owner != "" && rec.Owner != o.in.id && o.in.live(ctx, rec.Owner)
		if !answer.Live && rec.Owner != o.in.id && o.reading() {
			if refusal := o.quarantined(); refusal != nil {
				o.commit.refusal = refusal
				return owner.Barred{}
			}
		}
	}
	if !answer.Live && o.claims() {
		if came := o.open(ctx, rec); came != nil {
			return came
		}
	}
	return answer
}

// ended reports whether there is no point in going on.
func (o *object) ended() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stage() == gone || o.in.work.Err() != nil
}

// reading reports whether a claim has not read its record yet.
func (o *object) reading() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.commit.own.Phase == owner.Reading
}

// claims reports whether a claim is to be put, or is under way.
func (o *object) claims() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.commit.own.Phase == owner.Reading || o.commit.own.Phase == owner.Claiming
}

// send puts the record. Its wake-up is set before, if it needs an earlier one.
func (o *object) send(put owner.Put) owner.Event {
	if o.ended() {
		return nil
	}
	p, set := o.payloadOf(put)
	if next := p.wake.wakeUp(time.Now()); next.before(set) {
		if err := o.schedule(next, set, o.in.clock.Set); err != nil {
			o.setWakeUp(wakeUp{})
			o.in.log.Warn("put waits for its wake-up", "err", err)
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
		o.commit.refusal = o.refusalOf(err)
		return owner.Refused{Put: put}
	default:
		o.in.metrics.commits.WithLabelValues(o.class.Name, "doubt").Inc()
		o.in.log.Log(o.in.work, doubtLevel(err), "put in doubt; asking for its fate", "object", o.id.Key(), "err", err)
		return owner.Doubt{}
	}
}

// refusalOf is the error that callers get if the store refuses a put.
func (o *object) refusalOf(err error) *objects.Error {
	switch {
	case errors.Is(err, record.ErrFull):
		return errFull
	case errors.Is(err, record.ErrTooLarge):
		return &objects.Error{Code: objects.TooLarge, Message: "the object is larger than the store takes; nothing was changed"}
	}
	e := &objects.Error{Code: objects.Internal, Message: "the store refuses the object; nothing was changed", Reference: wire.NewReference()}
	o.in.log.Error("put refused", "ref", e.Reference, "object", o.id.Key(), "name", o.id.Name, "err", err)
	return e
}

// payloadOf is what to put, encoded when it was decided on or, for a claim, now. It
// also returns when the wake-up is set for.
func (o *object) payloadOf(put owner.Put) (*payload, wakeUp) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.commit.payload.is(put) {
		o.commit.payload = o.claimOf(put)
		o.commit.payload.made, _ = o.in.lease.Valid()
	}
	return o.commit.payload, o.commit.wakeUp
}

// encode makes the payload of the put that has just been decided on, from what
// is in memory now. With mu held, so that no event is half in it.
func (o *object) encode(put owner.Put) *payload {
	parts, before := o.cut(put)
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
	need := needOf(alarmValue(o.memory.alarm), o.told, o.sockets.next())
	if put.Owner == "" && need != nil && need.soon {
		need.at = time.Now() // another host goes on with it
	}
	return &payload{put: put, value: rec.Encode(), before: before, wake: need}
}

// cut is what of the object is in parts, nil for nothing, and what is to be in the store
// before a put. With mu held.
func (o *object) cut(put owner.Put) (*state.Head, *state.Before) {
	stored := o.memory.state
	if o.commit.claimed != nil { // not served yet
		stored = o.commit.opened
	}
	return stored.Cut(state.Put{
		Object: o.id.Key(), Token: o.commit.own.Token, Commit: put.Commit, Wide: o.in.wide, Last: put.Owner == "", Now: time.Now(),
		Head: len(o.memory.answers.entries)+len(o.commit.entries) > 0, // hosts that know no heads do not know where the answers are
	}, o.in.home())
}

// snapshot is the object as its record is to have it. With mu held.
func (o *object) snapshot(parts *state.Head) record.Record {
	if o.commit.claimed != nil { // not served yet: as it was, but that it is told which owner was lost
		rec := *o.commit.claimed
		rec.Data, rec.Parts = o.commit.opened.Journal(), parts
		return rec
	}
	rec := record.Record{
		Name: o.id.Name, Alarm: alarmValue(o.memory.alarm), Answers: o.memory.answers.list(time.Now(), o.in.timing.Request+wire.CopyLife),
		Data: o.memory.state.Journal(), Parts: parts, Gateways: o.gateways(), Sockets: o.sockets.details,
	}
	kept, fences := o.memory.kept.List(time.Now())
	for _, k := range kept {
		rec.Kept = append(rec.Kept, record.KeptAsk{ID: k.ID[:], Caller: k.Caller, Token: k.Token, N: k.N, Until: k.Until.UnixMilli(), Answer: k.Answer})
	}
	for _, f := range fences {
		rec.Fences = append(rec.Fences, record.Fence{Caller: f.Caller, Token: f.Token, Until: f.Until.UnixMilli()})
	}
	return rec
}

// keptOf is what a record keeps of what objects have asked.
func keptOf(rec *record.Record) (c asks.Callee) {
	for _, k := range rec.Kept {
		c.Kept = append(c.Kept, asks.Kept{ID: asks.ID(k.ID), Caller: k.Caller, Token: k.Token, N: k.N, Until: time.UnixMilli(k.Until), Answer: k.Answer})
	}
	for _, f := range rec.Fences {
		c.Fences = append(c.Fences, asks.Fence{Caller: f.Caller, Token: f.Token, Until: time.UnixMilli(f.Until)})
	}
	return c
}

// batchTime is how long what an event wrote may wait for the events behind it in
// the mailbox, to be put with what they write.
const batchTime = 500 * time.Microsecond

// startBatchTimer starts the timer after which a batch is put. With mu held.
func (o *object) startBatchTimer() {
	c := &o.commit
	if c.batch != written {
		return
	}
	c.batch = timed
	if c.timer == nil {
		c.timer = time.AfterFunc(batchTime, o.batchTimeOver)
	} else {
		c.timer.Reset(batchTime)
	}
}

// batchTimeOver has what was written put now, on a goroutine of its own.
func (o *object) batchTimeOver() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.putBatch() {
		o.spawn(o.work)
	}
}

// finishBatch has what was written put now.
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

// putBatch decides on a put of what was written, and reports as decide does. With
// mu held.
func (o *object) putBatch() (start bool) {
	c := &o.commit
	if c.batch == timed {
		c.timer.Stop()
	}
	before := c.batch
	c.batch = clean
	return before != clean && o.stage() != gone && o.decide(owner.Changed{})
}

// doubtLevel is the level at which a doubtful put is logged: low if two hosts only claimed
// an object at once.
func doubtLevel(err error) slog.Level {
	if record.Busy(err) {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}
