package host

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/internal/engine"
)

// drive tells package owner what has happened and does what it says, until
// there is nothing to do. Of the obligations that go to the store there is one
// at a time, so one goroutine carries a chain of puts from end to end.
func (o *object) drive(e owner.Event) {
	for e != nil {
		e = o.obey(o.step(e))
	}
}

// step is the decision, and everything that has to be one with it.
func (o *object) step(e owner.Event) []owner.Do {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.decide(e)
}

// decide is step with mu held.
func (o *object) decide(e owner.Event) []owner.Do {
	own, do := owner.Step(o.r.me, o.own, e)
	o.own = own
	for _, d := range do {
		switch d := d.(type) {
		case owner.Send:
			// A claim is encoded when it is sent: from the record that was read.
			if own.Phase != owner.Claiming && !o.payload.is(d.Put) {
				o.payload = o.encode(d.Put)
			}
		case owner.Settle:
			o.settled = o.payload.alarm
			o.payload = nil
			o.release(d.Commit)
		case owner.Stop:
			o.end(d)
		}
	}
	return do
}

// obey does the rest of what was decided and returns what came of it, nil if
// nothing is to come.
func (o *object) obey(do []owner.Do) (next owner.Event) {
	for _, d := range do {
		switch d := d.(type) {
		case owner.Refuse:
			o.refused(d)
		case owner.Stop:
			o.stopped(d)
		default:
			next = o.store(d)
		}
	}
	return next
}

// store does what goes to the store, one thing at a time.
func (o *object) store(d owner.Do) owner.Event {
	o.io.Lock()
	defer o.io.Unlock()
	switch d := d.(type) {
	case owner.ReadRecord:
		return o.read()
	case owner.Send:
		return o.send(d.Put)
	case owner.Serve:
		return o.serve()
	case owner.Settle:
		o.attempts = 0
		o.afterCommit()
	}
	return nil
}

// read asks the leader for the record. Reading again and again is spaced out.
func (o *object) read() owner.Event {
	if o.attempts > 1 { // the second follows at once on a claim that another host was quicker with
		wire.Pause(o.r.work, min(250*time.Millisecond, 5*time.Millisecond<<min(o.attempts-2, 8)))
	}
	o.attempts++
	if o.ended() {
		return nil
	}
	ctx, cancel := context.WithTimeout(o.r.work, o.r.timing.Commit)
	defer cancel()
	rec, revision, err := o.r.records.Read(ctx, o.key)
	switch {
	case errors.Is(err, record.ErrUnreadable) && o.reading():
		o.r.log.Error("object not claimed: its record cannot be read", "object", o.key, "err", err)
		return owner.Leave{}
	case err != nil:
		o.r.log.Warn("record not read", "object", o.key, "err", err)
		return owner.Doubt{}
	}
	answer := owner.Read{Found: owner.Found{Revision: revision}}
	o.found = rec
	if rec != nil {
		answer.Head = owner.Head{Epoch: rec.Epoch, Owner: rec.Owner, Commit: rec.Commit}
		answer.Live = rec.Owner != "" && rec.Owner != o.r.me && o.r.others.Live(ctx, rec.Owner)
	}
	return answer
}

// ended tells whether there is no point in going on: the incarnation is over.
func (o *object) ended() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.over || o.r.work.Err() != nil
}

// reading tells whether a claim is at its beginning.
func (o *object) reading() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.own.Phase == owner.Reading
}

// send puts the record.
func (o *object) send(put owner.Put) owner.Event {
	if o.ended() {
		return nil
	}
	p := o.payloadOf(put)
	ctx, cancel := context.WithTimeout(o.r.work, o.r.timing.Commit)
	defer cancel()
	if alarm := value(p.alarm); sooner(alarm, o.wakeUp) {
		var err error
		if o.wakeUp, err = o.schedule(ctx, alarm, o.wakeUp); err != nil {
			o.wakeUp = time.Time{}
			o.r.log.Warn("put waits for its alarm", "err", err)
			return owner.Doubt{}
		}
	}
	var revision uint64
	var err error
	if p.value == nil {
		revision, err = o.r.records.Remove(ctx, o.key, put.Expect)
	} else {
		revision, err = o.r.records.Put(ctx, o.key, p.value, put.Expect)
	}
	switch {
	case err == nil:
		o.usual.landed.Inc()
		return owner.Landed{Put: put, Revision: revision}
	case errors.Is(err, record.ErrStale):
		o.r.metrics.commits.WithLabelValues(o.class.Name(), "stale").Inc()
		return owner.Stale{}
	default:
		o.r.metrics.commits.WithLabelValues(o.class.Name(), "doubt").Inc()
		o.r.log.Log(ctx, doubtLevel(err), "put in doubt; asking for its fate", "object", o.key, "err", err)
		return owner.Doubt{}
	}
}

// payloadOf is what to put: encoded when it was decided on or, for a claim, now.
func (o *object) payloadOf(put owner.Put) *payload {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.payload.is(put) {
		o.payload = o.claimOf(put)
	}
	return o.payload
}

// is tells whether this is what put sends.
func (p *payload) is(put owner.Put) bool { return p != nil && p.put == put }

// claimOf is the record that was read, put back in our name.
func (o *object) claimOf(put owner.Put) *payload {
	rec := record.Record{Name: o.id.Name(), Data: new(engine.Data)}
	if o.found != nil {
		rec = *o.found
	}
	if rec.Name == "" {
		rec.Name = o.id.Name()
	}
	rec.Epoch, rec.Owner, rec.Commit = put.Epoch, put.Owner, put.Commit
	rec.Host, rec.Region = o.r.cfg.Name, o.r.cfg.Region
	o.claimed = &rec
	return &payload{put: put, value: rec.Encode(), alarm: alarmOf(rec.Alarm)}
}

// serve begins to run events, from the record that was claimed: it is what the
// claim has put, so it is the latest.
func (o *object) serve() owner.Event {
	o.attempts = 0
	o.mu.Lock()
	rec := o.claimed
	o.id = o.id.WithName(rec.Name)
	o.mu.Unlock()
	sockets, gateways := o.askSockets(rec.Gateways)

	o.mu.Lock()
	if o.over {
		o.mu.Unlock()
		return nil
	}
	for _, gateway := range gateways {
		o.count(gateway, 0)
	}
	for _, s := range sockets {
		o.sockets.Add(engine.SocketInfo{ID: s.ID, Gateway: s.gateway, Region: s.Region, Tags: s.Tags, Attachment: s.Attachment})
		o.count(s.gateway, 1)
		o.hear(s.ID, s.Next-1)
		o.r.meet(s.gateway)
	}
	o.alarm, o.data, o.epoch = alarmOf(rec.Alarm), rec.Data, o.own.Epoch
	o.answers = answers{kept: rec.Answers}
	o.claimed, o.found, o.payload = nil, nil, nil
	o.mu.Unlock()
	if err := o.reschedule(rec.Alarm); err != nil {
		o.r.log.Warn("alarm not scheduled again; giving the object up", "object", o.key, "err", err)
		return owner.Leave{}
	}
	return o.listen()
}

// reschedule sets the wake-up for the alarm, whether or not it is set. With io held.
func (o *object) reschedule(a engine.Alarm) error {
	ctx, cancel := context.WithTimeout(o.r.work, o.r.timing.Commit)
	defer cancel()
	var err error
	if o.wakeUp, err = o.schedule(ctx, a, time.Time{}); err != nil {
		o.wakeUp = time.Time{}
	}
	return err
}

// listen subscribes to the object's subject and tells those who waited.
func (o *object) listen() owner.Event {
	nc := o.r.cfg.Serve
	sub, err := nc.ChanQueueSubscribe(wire.ObjectSubject(o.id), "owner", o.r.inbox)
	if err == nil {
		o.mu.Lock()
		o.sub, o.used = sub, time.Now()
		over := o.over
		o.mu.Unlock()
		if over {
			sub.Unsubscribe() // fails only when the connection has ended
			return nil
		}
		ctx, cancel := context.WithTimeout(o.r.work, o.r.timing.Claim)
		defer cancel()
		err = nc.FlushWithContext(ctx)
	}
	if err != nil {
		o.r.log.Warn("object not listened for; giving it up", "object", o.key, "err", err)
		return owner.Leave{}
	}
	o.r.metrics.owned.WithLabelValues(o.class.Name()).Inc()
	o.r.log.Debug("object claimed", "object", o.key, "name", o.id.Name(), "epoch", o.epoch)
	o.grant(wire.ClaimReply{Owned: true})
	return nil
}

// afterCommit brings the wake-up in line with an alarm that is later, or none.
func (o *object) afterCommit() {
	o.mu.Lock()
	settled, another := o.settled, o.own.Pending != owner.Put{}
	o.mu.Unlock()
	if another {
		return // a put is under way that may need the earlier wake-up
	}
	ctx, cancel := context.WithTimeout(o.r.work, o.r.timing.Commit)
	defer cancel()
	wakeUp, err := o.schedule(ctx, value(settled), o.wakeUp)
	if err != nil {
		o.r.log.Warn("wake-up not moved; it comes too early and is set again then", "object", o.key, "err", err)
		return
	}
	o.wakeUp = wakeUp
}

// refused ends a claim that somebody else's lease forbids.
func (o *object) refused(d owner.Refuse) {
	o.mu.Lock()
	o.close()
	o.mu.Unlock()
	o.r.forget(o)
	o.grant(wire.ClaimReply{Other: d.Owner})
}

// end is the part of a stop that is one with the decision: from here on nothing
// leaves. With mu held.
func (o *object) end(d owner.Stop) {
	if o.over {
		return
	}
	o.close()
	for _, h := range o.held {
		h.moved(o.r, d.Unsure)
	}
	for _, l := range o.queue {
		if l.msg != nil {
			o.r.moved(l.msg, false)
		}
	}
	o.held, o.queue = nil, nil
	if !o.running {
		o.keep(nil)
	}
}

// stopped is the rest of it.
func (o *object) stopped(d owner.Stop) {
	o.r.forget(o)
	o.mu.Lock()
	sub := o.sub
	o.mu.Unlock()
	if sub != nil {
		sub.Unsubscribe() // fails only when the connection has ended
		o.r.metrics.owned.WithLabelValues(o.class.Name()).Dec()
	}
	o.r.metrics.stops.WithLabelValues(o.class.Name(), string(d.Why)).Inc()
	o.r.log.Debug("object let go of", "object", o.key, "why", string(d.Why), "unsure", d.Unsure)
	o.grant(wire.ClaimReply{Failure: "the claim ended: " + string(d.Why)})
}

// heldSocket is a socket and the gateway that told of it.
type heldSocket struct {
	wire.HeldSocket
	gateway string
}

// askSockets asks gateways which sockets they hold for the object, and returns
// those and the gateways that answered. One that does not answer has died, and
// its sockets with it.
func (o *object) askSockets(gateways []string) (sockets []heldSocket, alive []string) {
	ctx, cancel := context.WithTimeout(o.r.work, o.r.timing.Silence)
	defer cancel()
	o.mu.Lock()
	question := wire.Encode(&wire.WhichSockets{Object: o.key, Token: o.own.Token})
	o.mu.Unlock()
	answers := make([]*wire.HeldSockets, len(gateways))
	var asked sync.WaitGroup
	for i, gateway := range gateways {
		asked.Go(func() {
			msg, err := o.r.cfg.Serve.RequestWithContext(ctx, wire.SocketsSubject(gateway), question)
			answer := new(wire.HeldSockets)
			if err == nil {
				err = wire.Decode(msg.Data, answer)
			}
			if err != nil {
				o.r.log.Info("gateway gone, its sockets with it", "gateway", gateway, "object", o.key, "err", err)
				return
			}
			answers[i] = answer
		})
	}
	asked.Wait()
	for i, answer := range answers {
		if answer == nil {
			continue
		}
		alive = append(alive, gateways[i])
		for _, s := range answer.Sockets {
			sockets = append(sockets, heldSocket{s, gateways[i]})
		}
	}
	return sockets, alive
}

// doubtLevel tells trouble from two hosts that reached for an object at once.
func doubtLevel(err error) slog.Level {
	if record.Busy(err) {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}
