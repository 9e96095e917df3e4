package host

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/record"
)

// takeClaim answers whether we own the object, having tried to claim it. While that
// takes long it says so, so that the claim does not go to somebody else.
func (in *incarnation) takeClaim(msg *nats.Msg) {
	var claim wire.Claim
	if err := wire.Decode(msg.Data, &claim); err != nil || !strings.HasPrefix(msg.Reply, wire.InboxPrefix) {
		in.warnings.log(in.log, "claim dropped: not understood, or its reply subject is no inbox of ours", "err", err)
		return
	}
	send := func(reply wire.ClaimReply) { in.logSendError(wire.Publish(in.bus, msg.Reply, &reply)) }
	class := in.classes[claim.Class]
	id, err := objects.Class(claim.Class).ParseID(claim.ID)
	if class == nil || err != nil {
		send(wire.ClaimReply{Failure: fmt.Sprintf("no such object: %v", err)})
		return
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
		if o.claim(answer) {
			return
		}
		in.forget(o) // it ended between the two lines above
	}
}

// takeRollCall says that this host is there. Claims go to the host whose answer is the
// first.
func (in *incarnation) takeRollCall(msg *nats.Msg) {
	if strings.HasPrefix(msg.Reply, wire.InboxPrefix) {
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
)

// losses is how many owners in a row were lost with the object before they committed
// anything. The record's owner must be lost.
func losses(rec *record.Record, now time.Time) uint64 {
	if rec == nil || rec.Owner == "" || now.Sub(time.Unix(rec.Claimed, 0)) > lossWindow {
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

// quarantined refuses the claim of an object that keeps losing its owners. Called by the goroutine at the store.
func (o *object) quarantined() bool {
	now := time.Now()
	left := quarantine(o.commit.found, now)
	if left == 0 {
		return false
	}
	o.in.metrics.quarantined.WithLabelValues(o.class.Name).Inc()
	o.in.warnings.log(o.in.log, "object not claimed: it is in quarantine, because its last owners were lost before they committed anything",
		"object", o.key, "name", o.commit.found.Name, "owners lost", losses(o.commit.found, now), "for", left.Round(time.Second))
	o.resolveClaims(wire.ClaimReply{Code: objects.Unavailable, Failure: fmt.Sprintf(
		"the object is in quarantine: its last %d hosts were lost before they committed anything; the next one takes it in %v", losses(o.commit.found, now), left.Round(time.Second))})
	return true
}
