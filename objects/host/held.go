package host

import (
	"holdfast/internal/wire"
	"holdfast/objects/internal/engine"
)

// held is what one event wants sent, waiting for the commit that it depends on.
type held struct {
	need  uint64 // the commit; 0: nothing
	wrote bool   // the event is part of that commit itself
	to    string
	reply *wire.Reply
	sends []engine.Send
}

// hold sends h at once if nothing it depends on is still to land, and keeps it
// behind what is held already if something is. With mu held.
func (o *object) hold(h held) {
	if o.over {
		h.moved(o.r, false)
		return
	}
	h.need = o.observed
	if len(o.held) > 0 || h.need > o.own.Commit {
		o.held = append(o.held, h)
		return
	}
	o.emit(h)
}

// release sends, in order, what the commit covered. With mu held.
func (o *object) release(commit uint64) {
	n := 0
	for n < len(o.held) && o.held[n].need <= commit {
		o.emit(o.held[n])
		o.held[n] = held{}
		n++
	}
	o.held = o.held[n:]
	if len(o.held) == 0 {
		o.held = nil
	}
}

// emit sends. An event that wrote nothing has proved nothing to the store, so it
// speaks for the object only while the lease holds. With mu held, which keeps
// the order.
func (o *object) emit(h held) {
	if !h.wrote && !o.r.lease.Holds() {
		h.moved(o.r, false)
		return
	}
	pushes := o.pushes(h.sends)
	for gateway, push := range pushes {
		o.r.sent(wire.Publish(o.r.cfg.Serve, wire.GatewaySubject(gateway), push))
	}
	if h.reply == nil {
		return
	}
	h.reply.Owner, h.reply.Token = o.owner(), o.own.Token
	if len(pushes) > 0 {
		o.r.answerAfter(h.to, h.reply)
	} else {
		o.r.answer(h.to, h.reply)
	}
}

// moved tells whoever waits for h to ask the next owner.
func (h held) moved(r *reign, unsure bool) {
	if h.reply != nil {
		r.answer(h.to, &wire.Reply{Moved: true, Unsure: unsure && h.wrote, Seq: h.reply.Seq})
	}
}

// pushes is one message for each gateway, the operations in order.
func (o *object) pushes(sends []engine.Send) map[string]*wire.Push {
	if len(sends) == 0 {
		return nil
	}
	pushes := make(map[string]*wire.Push)
	for _, send := range sends {
		for gateway, sockets := range byGateway(send.Sockets) {
			push := pushes[gateway]
			if push == nil {
				push = &wire.Push{Object: o.key, Token: o.own.Token}
				pushes[gateway] = push
			}
			op := wire.SocketOp{Sockets: sockets}
			switch send.Op {
			case engine.OpMessage:
				op.Op = wire.OpMessage
				op.Binary, op.Data = send.Message.Binary, send.Message.Data
			case engine.OpAttach:
				op.Op = wire.OpAttach
				op.Data = send.Attachment
			case engine.OpClose:
				op.Op = wire.OpClose
				op.Code, op.Reason = send.Close.Code, send.Close.Reason
			}
			push.Ops = append(push.Ops, op)
		}
	}
	return pushes
}

// byGateway sorts sockets by their gateways, of which there are few.
func byGateway(sockets []*engine.Socket) map[string]wire.SocketIDs {
	by := make(map[string]wire.SocketIDs, 1)
	last, ids := "", wire.SocketIDs(nil)
	for _, s := range sockets {
		info := s.Info()
		id, gateway := info.ID, info.Gateway
		if gateway != last {
			if ids != nil {
				by[last] = ids
			}
			if last, ids = gateway, by[gateway]; ids == nil {
				ids = make(wire.SocketIDs, 0, len(sockets)*(1+len(id)))
			}
		}
		ids.Add(id)
	}
	if ids != nil {
		by[last] = ids
	}
	return by
}
