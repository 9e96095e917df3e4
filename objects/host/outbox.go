package host

import (
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/internal/engine"
)

// outbox holds what events want sent until what they wrote, and all that they could
// have read, is durable. The object's lock guards it.
type outbox struct {
	items    []outboxItem
	observed uint64 // the last commit that an event may have seen before it was durable
}

// outboxItem is what one event wants sent.
type outboxItem struct {
	need   uint64 // the commit that it depends on; 0: none
	wrote  bool   // the event is part of that commit itself
	to     string // where the reply goes
	reply  *wire.Reply
	pushes []push
}

// push is what one event has one gateway do.
type push struct {
	gateway string
	*wire.Push
}

// add keeps an item behind what it depends on. It reports false if that is nothing,
// given the last durable commit: the item is to be sent now.
func (b *outbox) add(item outboxItem, durable uint64) (kept bool) {
	item.need = b.observed
	if len(b.items) == 0 && item.need <= durable {
		return false
	}
	b.items = append(b.items, item)
	return true
}

// next removes the first item if the commit covers it.
func (b *outbox) next(commit uint64) (outboxItem, bool) {
	if len(b.items) == 0 {
		b.items = nil
		return outboxItem{}, false
	}
	item := b.items[0]
	if item.need > commit {
		return outboxItem{}, false
	}
	b.items[0] = outboxItem{}
	b.items = b.items[1:]
	return item, true
}

// takeAll empties the outbox.
func (b *outbox) takeAll() []outboxItem {
	items := b.items
	b.items = nil
	return items
}

// put adds what an event wants sent: behind the next put if it wrote, at once if
// nothing that it depends on is still to land. With mu held.
func (o *object) put(item outboxItem) {
	own := &o.commit.own
	if o.stage() == gone {
		item.redirect(o, false)
		return
	}
	if item.wrote {
		o.outbox.observed = own.Commit + 1
		if (own.Pending != owner.Put{}) {
			o.outbox.observed = own.Pending.Commit + 1
		}
		if o.commit.batch == clean {
			o.commit.batch = written
		}
	}
	if !o.outbox.add(item, own.Commit) {
		o.emit(item)
	}
}

// release sends, in order, what the commit covered. With mu held.
func (o *object) release(commit uint64) {
	for item, ok := o.outbox.next(commit); ok; item, ok = o.outbox.next(commit) {
		o.emit(item)
	}
}

// emit sends. A read-only event was not checked by compare-and-set, so its outputs
// may leave only while the lease is valid. With mu held, which keeps the order.
func (o *object) emit(item outboxItem) {
	if !item.wrote && !o.in.valid() {
		item.redirect(o, false)
		return
	}
	for _, p := range item.pushes {
		o.in.logSendError(wire.Publish(o.in.bus, wire.GatewaySubject(p.gateway), p.Push))
	}
	if item.reply == nil {
		return
	}
	item.reply.Owner, item.reply.Token = o.owner(), o.commit.own.Token
	if len(item.pushes) > 0 {
		o.in.answerAfter(item.to, item.reply)
	} else {
		o.in.answer(item.to, item.reply)
	}
}

// redirect tells whoever waits for the item to ask the next owner. What was answered
// from the record is unsure: it happened before, and the next owner knows whether that
// has landed.
func (item outboxItem) redirect(o *object, unsure bool) {
	if item.reply != nil {
		unsure = unsure && item.wrote || item.reply.Kept && !item.wrote
		o.in.answer(item.to, &wire.Reply{Moved: true, Unsure: unsure, Token: o.memory.token, Seq: item.reply.Seq})
	}
}

// refuse tells whoever waits for the item that nothing happened.
func (item outboxItem) refuse(o *object, e *objects.Error) {
	if item.reply != nil {
		owner, token := o.in.self(o.memory.epoch), o.memory.token
		o.in.answer(item.to, &wire.Reply{Code: e.Code, Message: e.Message, Ref: e.Reference, Owner: owner, Token: token, Seq: item.reply.Seq})
	}
}

// pushes is one message for each gateway, the operations in order.
func (o *object) pushes(sends []engine.Send) []push {
	if len(sends) == 0 {
		return nil
	}
	var pushes []push
	to := func(gateway string) *wire.Push { // there are few
		for _, p := range pushes {
			if p.gateway == gateway {
				return p.Push
			}
		}
		pushes = append(pushes, push{gateway, &wire.Push{Object: o.key, Token: o.memory.token}})
		return pushes[len(pushes)-1].Push
	}
	for _, send := range sends {
		for gateway, sockets := range byGateway(send.Sockets) {
			op := wire.SocketOp{Sockets: sockets}
			switch send.Op {
			case engine.OpMessage:
				op.Op = wire.OpMessage
				op.Op = wire.OpMessage
				op.Binary, op.Data = send.Message.Binary, send.Message.Data
			case engine.OpAttach:
				op.Op = wire.OpAttach
				op.Op = wire.OpAttach
				op.Data = send.Attachment
			case engine.OpClose:
				op.Op = wire.OpClose
				op.Op = wire.OpClose
				op.Code, op.Reason = send.Close.Code, send.Close.Reason
			}
			push := to(gateway)
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
