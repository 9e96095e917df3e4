package host

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/record"
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
	id, err := objects.Class(claim.Class).ParseID(claim.ID)
	if class == nil || err != nil {
		send(wire.ClaimReply{Failure: fmt.Sprintf("no such object: %v", err)})
		return
	}
	if _, valid := in.lease.Valid(); !valid {
		send(wire.ClaimReply{Failure: "this host's lease has lapsed"})
		return
	}
	if !claim.Resume && in.find(id.Key()) == nil && !in.takesClaimsOf(claim.Class) {
		return // silence: the claimer asks who is there
	}
	notice := time.AfterFunc(wire.ClaimNotice, func() { send(wire.ClaimReply{Busy: true}) })
	answer := func(reply wire.ClaimReply) {
		notice.Stop()
		send(reply)
	}
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
	if _, valid := in.lease.Valid(); valid && strings.HasPrefix(msg.Reply, wire.InboxPrefix) && in.takesClaimsOf(claim.Class) {
		in.logSendError(wire.Publish(in.bus, msg.Reply, &wire.ClaimReply{Host: in.id, Where: in.cfg.Region}))
	}
}

// An object is in quarantine after this many owners were lost in a row, each within
// lossWindow of its claim and before anything was committed: it may be what ends them.
const (
	lossesAllowed   = 3
	lossWindow      = 10 * time.Minute
	firstQuarantine = 5 * time.Second // doubled with every further loss
	maxQuarantine   = 5 * time.Minute

	// A claim may be as far in the future as two clocks differ. One beyond that is by a clock that is wrong: were it
	// believed, the quarantine would last until then.
	maxClaimAhead = time.Minute
)

// losses is how many owners in a row were lost with the object before they committed
// anything. The record's owner must be lost.
func losses(rec *record.Record, now time.Time) uint64 {
	if rec == nil || rec.Owner == "" {
		return 0
	}
	if ago := now.Sub(time.Unix(rec.Claimed, 0)); ago > lossWindow || ago < -maxClaimAhead {
		return 0
	}
	return rec.Claims
}

// quarantine is for how long nobody may claim the object.
func quarantine(rec *record.Record, now time.Time) time.Duration {
	lost := losses(rec, now)
	if lost < lossesAllowed {
		return 0
	}
	long := min(maxQuarantine, firstQuarantine<<min(lost-lossesAllowed, 16))
	return min(long, max(0, time.Unix(rec.Claimed, 0).Add(long).Sub(now)))
}

// lift has the next claim of the object pass its quarantine.
func (o *object) lift() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.commit.lifted = true
}

func (o *object) isLifted() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.commit.lifted
}

// countLoss notes in the record that a claim puts whose loss came before the claim. With
// mu held.
func (o *object) countLoss(rec *record.Record) {
	now, found := time.Now(), o.commit.found
	rec.Claims, rec.Claimed = 1, now.Unix()
	if !o.commit.lifted {
		rec.Claims += losses(found, now)
	}
	if found == nil || found.Owner == "" {
		return
	}
	rec.Alarm = rec.Alarm.OwnerLost(now)
	if rec.Alarm.Parked && !found.Alarm.Parked {
		o.in.warnings.Log(o.in.log, "alarm parked: the last owners were lost while it was due",
			"object", o.id.Key(), "name", rec.Name, "owners lost", rec.Alarm.Lost, "set for", rec.Alarm.At)
	}
}

// resume has a parked alarm run, because an operator wants it. The object stays asleep.
func (o *object) resume(ev event) {
	before := alarmValue(o.memory.alarm)
	out := engine.Outcome{}
	if after := before.Resumed(); !after.Equal(before) {
		out.Alarm = &after
		o.in.log.Info("alarm parked no more", "object", o.id.Key(), "name", o.id.Name, "set for", before.At)
	}
	o.finish(ev, out)
}

// quarantined is why nobody may claim the object now: it keeps losing its owners. nil: it may be claimed. Called by the
// goroutine at the store.
func (o *object) quarantined() *objects.Error {
	now := time.Now()
	left := quarantine(o.commit.found, now)
	if left == 0 || o.isLifted() {
		return nil
	}
	lost := losses(o.commit.found, now)
	o.in.metrics.quarantined.WithLabelValues(o.class.Name).Inc()
	o.in.warnings.Log(o.in.log, "object not claimed: it is in quarantine, because its last owners were lost before they committed anything",
		"object", o.id.Key(), "name", o.commit.found.Name, "owners lost", lost, "for", left.Round(time.Second))
	return &objects.Error{Code: objects.Unavailable, Message: fmt.Sprintf(
		"the object is in quarantine: its last %d hosts were lost before they committed anything; the next one takes it in %v", lost, left.Round(time.Second))}
}
