package host

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// answerClaim tries to claim the object and answers whether this host owns it. While the
// claim takes long, answerClaim reports progress, so that the gateway does not ask
// another host.
func (in *incarnation) answerClaim(msg *nats.Msg) {
	var claim wire.Claim
	if err := wire.Decode(msg.Data, &claim); err != nil || !strings.HasPrefix(msg.Reply, wire.InboxPrefix) {
		in.warnings.Log(in.log, "claim dropped: not understood, or its reply subject is no inbox of ours", "err", err)
		return
	}
	send := func(reply wire.ClaimReply) { in.logSendError(wire.Publish(in.bus, msg.Reply, &reply)) }
	class := in.classes[claim.Class]
	if class != nil {
		claim.Class = class.Name // one text for all objects
	}
	id, err := objects.Class(claim.Class).ParseID(claim.ID)
	if class == nil || err != nil {
		send(wire.ClaimReply{Failure: fmt.Sprintf("no such object: %v", err)})
		return
	}
	if _, valid := in.lease.Valid(); !valid {
		send(wire.ClaimReply{Failure: "this host's lease has lapsed"})
		return
	}
	if taker := in.takerOf(claim.Class); taker != in.id && !claim.Resume && !claim.Named && in.find(id.Key()) == nil {
		send(wire.ClaimReply{Failure: "one host alone takes new claims of class " + claim.Class + ", and does not answer", Owner: taker})
		return
	}
	notice := time.AfterFunc(wire.ClaimNotice, func() { send(wire.ClaimReply{Busy: true}) })
	answer := func(reply wire.ClaimReply) {
		notice.Stop()
		send(reply)
	}
	take := func() { in.takeClaim(id, class, &claim, answer) }
	if claim.Heard != nil && in.find(id.Key()) == nil {
		in.check(id.Key(), claim.Heard, take, answer)
	} else {
		take()
	}
}

// takeClaim claims the object, and answers when that is decided.
func (in *incarnation) takeClaim(id objects.ID, class *engine.Class, claim *wire.Claim, answer func(wire.ClaimReply)) {
	for {
		o := in.object(wire.Address{ID: id}.Named(claim.Name), class)
		if o == nil {
			answer(wire.ClaimReply{Failure: "this host is stopping"})
			return
		}
		if claim.Resume {
			o.lift()
		}
		if o.claim(answer) {
			return
		}
		in.forget(o) // it ended between the two lines above
	}
}

// checks is how many records are read at a time for gateways that may lack something. A gateway that is refused
// asks again.
const checks = 256

// check reads the object's record, and has the claim taken unless nobody owns the object and the gateway lacks nothing.
func (in *incarnation) check(key string, heard *wire.Heard, take func(), answer func(wire.ClaimReply)) {
	select {
	case in.checking <- struct{}{}:
	default:
		answer(wire.ClaimReply{Failure: "too many gateways ask what they lack"})
		return
	}
	in.tasks.Go(func() {
		defer in.recover(key)
		defer func() { <-in.checking }()
		ctx, cancel := context.WithTimeout(in.work, in.timing.Commit)
		defer cancel()
		switch lacks, err := in.lacks(ctx, key, heard); {
		case err != nil:
			answer(wire.ClaimReply{Failure: "the record cannot be read"})
		case lacks:
			take()
		default:
			answer(wire.ClaimReply{Whole: true})
		}
	})
}

// lacks reports whether somebody may own the object, or the gateway may lack something of what the record shows. The
// record is asked of its leader, so it has all that the lost owner can have made durable. A gateway that has the newest
// push of the record has all: what no put covers has been seen by nobody, or by a gateway that has the object claimed.
func (in *incarnation) lacks(ctx context.Context, key string, heard *wire.Heard) (bool, error) {
	rec, _, err := in.store.Read(ctx, key)
	if err == nil && rec != nil && rec.Owner != "" {
		owner := rec.Owner
		if in.live(ctx, owner) {
			return true, nil
		}
		rec, _, err = in.store.Read(ctx, key) // what the owner put before its lease ended is there now
		if err == nil && rec != nil && rec.Owner != owner {
			return true, nil
		}
	}
	if err != nil || rec == nil {
		return true, err
	}
	positions := make([]stream.Position, 0, len(heard.Positions))
	for _, p := range heard.Positions {
		positions = append(positions, stream.Position{Token: p.Token, Received: p.Received})
	}
	return stream.Misses(entriesOf(rec.Gateways), heard.Gateway, positions), nil
}

// answerRollCall answers that this host lives. A gateway sends its claim to the host that
// answers first. The question also reports owners that were lost.
func (in *incarnation) answerRollCall(msg *nats.Msg) {
	var claim wire.Claim
	if err := wire.Decode(msg.Data, &claim); err != nil {
		in.warnings.Log(in.log, "roll call dropped: not understood", "err", err)
		return
	}
	if claim.Lost > 0 {
		in.restrictions.noteLoss(claim.Class, claim.Lost, time.Now())
		return
	}
	if _, valid := in.lease.Valid(); valid && strings.HasPrefix(msg.Reply, wire.InboxPrefix) && in.takerOf(claim.Class) == in.id {
		in.logSendError(wire.Publish(in.bus, msg.Reply, &wire.ClaimReply{Host: in.id, Where: in.cfg.Region}))
	}
}

// lift lets the next claim of the object pass its quarantine.
func (o *object) lift() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.opening != nil {
		o.opening.lift()
	}
}

// resume makes a parked alarm due again, for an operator. The object stays asleep.
func (o *object) resume(ev event) {
	before := o.memory.alarmSet()
	out := engine.Outcome{}
	if after := before.Resumed(); !after.Equal(before) {
		out.Alarm = &after
		o.in.log.Info("parked alarm resumed", "object", o.id.Key(), "name", o.id.Name, "set for", before.At)
	}
	o.finish(ev, out)
}

// quarantined returns the refusal of a claim while the object is in quarantine; nil if it may be claimed. The goroutine
// at the store calls it.
func (o *object) quarantined() *objects.Error {
	o.mu.Lock()
	left, lost := o.opening.quarantine(time.Now())
	o.mu.Unlock()
	if left == 0 {
		return nil
	}
	o.in.metrics.quarantined.WithLabelValues(o.class.Name).Inc()
	o.in.warnings.Log(o.in.log, "object not claimed: it is in quarantine, because its last owners were lost before they committed anything",
		"object", o.id.Key(), "name", o.opening.name(), "owners lost", lost, "for", left.Round(time.Second))
	return &objects.Error{Code: objects.Unavailable, Message: fmt.Sprintf(
		"the object is in quarantine: its last %d hosts were lost before they committed anything; the next one takes it in %v", lost, left.Round(time.Second))}
}
