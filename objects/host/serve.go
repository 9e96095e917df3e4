package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// open makes the state of the record that is to be claimed, nil for none, and returns what
// came of it if it cannot be claimed.
func (o *object) open(ctx context.Context, rec *record.Record) owner.Event {
	var err error
	c := o.commit.claim
	if rec == nil {
		c.opened = state.New(new(engine.Data))
	} else {
		c.opened, err = state.Open(ctx, o.id.Key(), rec.Parts, rec.Data, o.in.home(), rec.Owner != "", time.Now())
	}
	if c.entries = nil; err == nil {
		c.opened.KeepHistory(o.class.History)
		if c.entries, err = answerEntries(c.opened.Reserved()); err != nil {
			err = fmt.Errorf("%w: %w", state.ErrDamaged, err)
		}
	}
	switch {
	case errors.Is(err, state.ErrDamaged):
		o.commit.refusal = o.in.unreadable.add(o.id.Key(), time.Now())
		o.in.log.Error("object not served: a part of it cannot be read", "ref", o.commit.refusal.Reference, "object", o.id.Key(), "err", err)
		return owner.Unreadable{}
	case err != nil:
		o.in.log.Warn("parts of a record not read", "object", o.id.Key(), "err", err)
		return owner.Doubt{}
	}
	return nil
}

// claimOf is the record that was read, put back in our name. With mu held.
func (o *object) claimOf(put owner.Put) *payload {
	rec := record.Record{Name: o.id.Name, Data: new(engine.Data)}
	found := o.commit.claim.found
	if found != nil {
		rec = *found
	}
	if rec.Name == "" {
		rec.Name = o.id.Name
	}
	rec.Epoch, rec.Owner, rec.Commit = put.Epoch, put.Owner, put.Commit
	rec.Host, rec.Region = o.in.cfg.Name, o.in.cfg.Region
	if found == nil || found.Owner != o.in.id {
		o.countLoss(&rec)
	}
	o.commit.claim.record = &rec
	return &payload{put: put, value: rec.Encode(), wake: needOf(rec.Alarm, nil, time.Time{})}
}

// serve begins to run events, from the record that was claimed: it is what the
// claim has put, so it is the latest.
func (o *object) serve() owner.Event {
	o.commit.attempts = 0
	o.mu.Lock()
	c, token := o.commit.claim, o.commit.own.Token
	o.mu.Unlock()
	rec, reserved := c.record, c.opened.Reserved()
	for _, gateway := range rec.Gateways {
		if checkName(gateway.Name) == nil {
			o.in.trackGateway(gateway.Name) // its goodbye reaches the mailbox, and its silence
		}
	}
	o.beginStream(entriesOf(rec.Gateways), token)
	if !o.awaitHanded() {
		return nil
	}
	told := o.adoptTold(reserved)
	if err := o.reschedule(needOf(rec.Alarm, told, o.nextSession(reserved)), o.in.clock.Set); err != nil {
		o.in.log.Warn("wake-up not scheduled again; giving the object up", "object", o.id.Key(), "err", err)
		return owner.Leave{}
	}
	if !o.startServing(c, token, told) {
		return nil // the claim is given up; the record stays as it was
	}
	return o.listen()
}

// startServing takes the claimed record into memory. It reports false if the claim
// has been given up.
func (o *object) startServing(c *claim, token uint64, told *told) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage() == gone || o.commit.own.Phase != owner.Serving || o.commit.own.Leaving {
		return false
	}
	rec := c.record
	o.id = o.id.Named(rec.Name)
	o.memory = memory{
		epoch: rec.Epoch, token: token, since: time.Now(), first: o.commit.payload.put.Expect == 0, state: c.opened,
		alarm: alarmPointer(rec.Alarm), answers: answers{kept: rec.Answers, entries: c.entries}, kept: keptOf(rec),
	}
	o.adoptSockets(rec, o.memory.state.Reserved())
	o.memory.answers.adopted(o.memory.since)
	o.commit.proven.Store(o.commit.payload.made)
	o.commit.claim, o.commit.payload = nil, nil
	o.mailbox.serve(token, o.memory.since)
	o.told = told
	o.advance(serving) // before the first message can come
	o.moveTold()
	return true
}

// listen subscribes to the object's subject and answers those who waited.
func (o *object) listen() owner.Event {
	sub, err := o.in.bus.Subscribe(wire.OwnerSubject(o.id.ID), wire.OwnerQueue(o.memory.token), o.in.inbox)
	if err == nil {
		o.mu.Lock()
		o.sub = sub
		stage := o.stage()
		o.mu.Unlock()
		if stage != serving {
			sub.Unsubscribe()
			return nil
		}
		ctx, cancel := context.WithTimeout(o.in.work, o.in.timing.Claim)
		defer cancel()
		err = o.in.bus.Flush(ctx)
	}
	if err != nil {
		o.in.log.Warn("object not listened for; giving it up", "object", o.id.Key(), "err", err)
		o.beginDrain()
		return owner.Leave{}
	}
	o.in.log.Debug("object claimed", "object", o.id.Key(), "name", o.id.Name, "epoch", o.memory.epoch)
	o.resolveClaims(wire.ClaimReply{Owned: true, Token: o.memory.token, New: o.memory.epoch == 1})
	return nil
}
