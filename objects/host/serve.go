package host

import (
	"context"
	"errors"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
)

// open opens the state of the record that is to be claimed. It returns the event that ends the claim if that fails, nil
// otherwise.
func (o *object) open(ctx context.Context) owner.Event {
	err := o.opening.open(ctx, o.id.Key(), o.in.home(), o.class.History, time.Now())
	switch {
	case errors.Is(err, state.ErrDamaged):
		o.in.log.Error("object not served: a part of it cannot be read", "ref", o.unreadable(), "object", o.id.Key(), "err", err)
		return owner.Unreadable{}
	case err != nil:
		o.in.log.Warn("parts of a record not read", "object", o.id.Key(), "err", err)
		return owner.Doubt{}
	}
	return nil
}

// unreadable notes that nobody can read the record, or a part of it, and returns the reference
// of the refusal.
func (o *object) unreadable() (ref string) {
	refusal := o.in.unreadable.add(o.id.Key(), time.Now())
	o.commit.refuse(refusal)
	return refusal.Reference
}

// claimOf returns the payload of a claim: the record that was read, in our name. With mu held.
func (o *object) claimOf(put owner.Put) *payload {
	rec, parked := o.opening.put(put, o.id.Name, o.in.id, time.Now())
	rec.Host, rec.Region = o.in.cfg.Name, o.in.cfg.Region
	value := rec.Encode()
	if o.in.store.Room().Scarce() && o.opening.grows(value) {
		rec.Host, rec.Region = "", "" // the store takes what is not larger than before; the next put has them again
		value = rec.Encode()
	}
	if parked {
		o.in.warnings.Log(o.in.log, "alarm parked: the last owners were lost while it was due",
			"object", o.id.Key(), "name", rec.Name, "owners lost", rec.Alarm.Lost, "set for", rec.Alarm.At)
	}
	return &payload{put: put, value: value, wake: needOf(rec.Alarm, nil, time.Time{})}
}

// serve begins to run events, on the record that the claim has put: that is the latest.
func (o *object) serve() owner.Event {
	o.commit.settled()
	o.mu.Lock()
	token := o.commit.state().Token
	o.mu.Unlock()
	rec, reserved := o.opening.claimed()
	for _, gateway := range rec.Gateways {
		if checkName(gateway.Name) == nil {
			o.in.trackGateway(gateway.Name) // its goodbye reaches the mailbox, and its silence
		}
	}
	o.beginStream(entriesOf(rec.Gateways), token)
	if !o.awaitHanded() {
		return nil
	}
	told, err := toldOf(o.id.Key(), reserved, time.Now())
	o.logTold(err)
	if err := o.reschedule(needOf(rec.Alarm, told, nextSession(reserved)), o.in.clock.Set); err != nil {
		o.in.log.Warn("wake-up not scheduled again; giving the object up", "object", o.id.Key(), "err", err)
		return owner.Leave{}
	}
	if !o.startServing(rec, token, told) {
		return nil // the claim is given up; the record stays as it was
	}
	return o.listen()
}

// startServing takes the claimed record into memory. It reports false if the claim
// has been given up.
func (o *object) startServing(rec *record.Record, token uint64, told *told) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if own := o.commit.state(); o.stage() == gone || own.Phase != owner.Serving || own.Leaving {
		return false
	}
	o.id.Name = o.id.address().Named(rec.Name).Name
	put := o.commit.proved()
	now := time.Now()
	o.term = term{epoch: rec.Epoch, token: token, since: instantOf(now), first: put.Expect == 0}
	o.memory = o.opening.memory(now)
	o.opening = nil
	o.adoptSockets(rec, o.memory.Reserved())
	o.mailbox.serve(token, now)
	o.told = told
	o.advance(serving) // before the first message can come
	o.moveTold()
	return true
}

// listen subscribes to the object's subject and answers those who waited.
func (o *object) listen() owner.Event {
	sub, err := o.in.bus.Subscribe(wire.OwnerSubject(o.id.ID), wire.OwnerQueue(o.term.token), o.in.inbox)
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
	o.in.log.Debug("object claimed", "object", o.id.Key(), "name", o.id.Name, "epoch", o.term.epoch)
	o.resolveClaims(wire.ClaimReply{Owned: true, Token: o.term.token, New: o.term.epoch == 1})
	return nil
}
