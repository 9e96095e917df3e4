package host

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// takeClaim answers whether we own the object, having tried to claim it.
func (r *incarnation) takeClaim(msg *nats.Msg) {
	var claim wire.Claim
	if err := wire.Decode(msg.Data, &claim); err != nil || !wire.Answerable(msg.Reply) {
		r.warnings.log(r.log, "claim dropped: not understood, or its reply subject is no inbox", "err", err)
		return
	}
	answer := func(reply wire.ClaimReply) { r.logSendError(wire.Publish(r.bus, msg.Reply, &reply)) }
	if claim.ID == "" {
		answer(wire.ClaimReply{}) // we run the class; that was the question
		return
	}
	class := r.classes[claim.Class]
	id, err := objects.ParseID(claim.Class, claim.ID)
	if class == nil || err != nil {
		answer(wire.ClaimReply{Failure: fmt.Sprintf("no such object: %v", err)})
		return
	}
	id = id.WithName(claim.Name)
	for {
		o := r.object(id, class)
		if o == nil {
			answer(wire.ClaimReply{Other: "somebody else: this host is stopping"})
			return
		}
		if o.claim(answer) {
			return
		}
		r.forget(o) // it ended between the two lines above
	}
}
