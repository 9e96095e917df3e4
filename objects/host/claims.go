package host

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// takeClaim answers whether we own the object, having tried to claim it. While that
// takes long it says so, so that the claim does not go to somebody else.
func (r *reign) takeClaim(msg *nats.Msg) {
	var claim wire.Claim
	if err := wire.Decode(msg.Data, &claim); err != nil || !wire.Answerable(msg.Reply) {
		r.log.Warn("claim dropped: not understood, or its reply subject is no inbox", "err", err)
		return
	}
	send := func(reply wire.ClaimReply) { r.sent(wire.Publish(r.cfg.Serve, msg.Reply, &reply)) }
	class := r.classes[claim.Class]
	id, err := objects.ParseID(claim.Class, claim.ID)
	if class == nil || err != nil {
		send(wire.ClaimReply{Failure: fmt.Sprintf("no such object: %v", err)})
		return
	}
	id = id.WithName(claim.Name)
	notice := time.AfterFunc(wire.ClaimNotice, func() { send(wire.ClaimReply{Busy: true}) })
	answer := func(reply wire.ClaimReply) {
		notice.Stop()
		send(reply)
	}
	for {
		o := r.object(id, class)
		if o == nil {
			answer(wire.ClaimReply{Failure: "this host is stopping"})
			return
		}
		if o.want(answer) {
			return
		}
		r.forget(o) // it ended between the two lines above
	}
}

// takeRollCall says that this host is there. Claims go to the host whose answer is the
// first.
func (r *reign) takeRollCall(msg *nats.Msg) {
	if wire.Answerable(msg.Reply) {
		r.sent(wire.Publish(r.cfg.Serve, msg.Reply, &wire.ClaimReply{Host: r.me, Where: r.cfg.Region}))
	}
}
