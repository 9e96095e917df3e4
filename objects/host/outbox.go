package host

import (
	"net/http"
	"time"

	"holdfast/internal/planted"
	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// outbox is the part of an object that holds events' outputs until the events' writes, and everything the events could
// have read, are durable. Only its methods use its fields. object.mu guards it.
type outbox struct {
	items    []outboxItem
	held     bool   // until the lease is valid again
	observed uint64 // the last commit that an event may have seen before it was durable
}

// outboxItem is the output of one event.
type outboxItem struct {
	need   uint64 // the commit that it depends on; 0: none
	wrote  bool   // the event is part of that commit itself
	to     string // where the reply goes
	reply  *wire.Reply
	frame  bool // the event is acknowledged in its gateway's lane: a reply only says that it was not taken
	pushed bool // something went to gateways before the reply

	gate   chan<- bool // gets true when an ask may leave, which waits for what a reply waits for; false: never
	settle *asking     // what the event has asked; it is settled when the item leaves
	tasks  []engine.Task
	stream *streaming // begins when the item leaves; nil: none
}

// silent reports whether the item sends nothing and nobody waits for it.
func (item outboxItem) silent() bool {
	return item.reply == nil && item.gate == nil && item.settle == nil && len(item.tasks) == 0
}

// observe notes that events may read what was written now before this commit is durable.
func (b *outbox) observe(commit uint64) { b.observed = commit }

// needs returns the commit that must land before an output of now may leave.
func (b *outbox) needs() uint64 { return b.observed }

// passes reports whether an item may leave at once: no other item waits, and events have read nothing that is newer than
// landed, the last commit to land.
func (b *outbox) passes(landed uint64) bool { return len(b.items) == 0 && b.observed <= landed }

// hold notes that items wait until the lease is valid again. It reports false if they did before.
func (b *outbox) hold() bool {
	before := b.held
	b.held = true
	return !before
}

// unhold notes that items no longer wait for the lease.
func (b *outbox) unhold() { b.held = false }

// add appends an item.
func (b *outbox) add(item outboxItem) {
	item.need = b.observed
	b.items = append(b.items, item)
}

// first returns the first item if the commit covers it.
func (b *outbox) first(commit uint64) (outboxItem, bool) {
	if len(b.items) == 0 || b.items[0].need > commit {
		return outboxItem{}, false
	}
	return b.items[0], true
}

// drop removes the first item.
func (b *outbox) drop() {
	b.items[0] = outboxItem{}
	if b.items = b.items[1:]; len(b.items) == 0 {
		b.items = nil
	}
}

// takeAll empties the outbox.
func (b *outbox) takeAll() []outboxItem {
	items := b.items
	b.items = nil
	return items
}

// put adds an event's output, to gateways and to whoever sent the request. It leaves after the next put if the event
// wrote, and at once if it depends on nothing that is still to land. With mu held.
func (o *object) put(item outboxItem, outs ...stream.Out) {
	if o.stage() == gone {
		item.redirect(o, false)
		return
	}
	if len(outs) > 0 && !item.wrote && !o.proved() {
		item.wrote = true // messages to gateways wait for a put, which proves that the object is ours
	}
	if item.wrote {
		o.outbox.observe(o.commit.nextCommit())
		o.commit.wrote()
	}
	item.pushed = len(outs) > 0
	if item.wrote || item.pushed {
		o.commit.noteWaits()
	}
	if item.pushed {
		need := o.outbox.needs()
		if planted.AnswerBeforeCommit {
			need = 0
		}
		o.transmit(o.sockets.Event(time.Now(), need, outs))
	}
	switch {
	case item.silent():
	case planted.AnswerBeforeCommit || o.outbox.passes(o.commit.state().Commit) && o.mayLeave(item):
		o.emit(item)
	default:
		o.outbox.add(item)
	}
}

// release sends the items that the commit covers, in order, up to the first that may not leave yet. With mu held.
func (o *object) release(commit uint64) {
	if o.sockets != nil {
		o.transmit(o.sockets.Landed(time.Now(), commit))
		if o.waiters.awaits(untilRoom) != nil && !o.sockets.Full() {
			o.waiters.come(untilRoom)
		}
	}
	for item, ok := o.outbox.first(commit); ok && o.mayLeave(item); item, ok = o.outbox.first(commit) {
		o.outbox.drop()
		o.emit(item)
	}
}

// awaitRoom starts the timer for a put of what earlier events wrote. While those events want more sent than a window
// holds, and their commit has not landed, it waits. The event loop calls it.
func (o *object) awaitRoom() {
	if room := o.makeRoom(); room != nil {
		<-room
		o.mailbox.begin(time.Now()) // the wait is no part of the event's time
	}
}

// makeRoom is the rest of awaitRoom. It returns a channel that is closed when there is
// room, nil if there is.
func (o *object) makeRoom() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.startBatchTimer()
	if !o.acceptsLanes() || !o.sockets.Full() {
		return nil
	}
	return o.addWaiter().await(untilRoom)
}

// emit sends a reply. With mu held, which keeps the order.
func (o *object) emit(item outboxItem) {
	if item.gate != nil {
		item.gate <- true
	}
	if item.settle != nil {
		o.settleAsks(item.settle)
	}
	if len(item.tasks) > 0 {
		o.begin(item.tasks)
	}
	if item.stream != nil {
		o.beginStreaming(item.stream)
	}
	if item.frame || item.reply == nil {
		return
	}
	item.reply.Owner, item.reply.Token = o.owner(), o.commit.state().Token
	if item.pushed && item.reply.Status != http.StatusSwitchingProtocols { // a gateway waits for the push that opens a socket
		o.in.answerAfter(item.to, item.reply)
	} else {
		o.in.answer(item.to, item.reply)
	}
}

// redirect tells whoever waits for the item to ask the next owner. unsure is set for an answer from the record: its
// event ran before, and only the next owner knows whether that run has landed.
func (item outboxItem) redirect(o *object, unsure bool) {
	if item.gate != nil {
		item.gate <- false
	}
	if item.reply != nil {
		unsure = unsure && item.wrote || item.reply.Kept && !item.wrote
		o.in.answer(item.to, &wire.Reply{Moved: true, Unsure: unsure, Token: o.term.token})
	}
}

// refuse tells whoever waits for the item that nothing happened.
func (item outboxItem) refuse(o *object, e *objects.Error) {
	if item.gate != nil {
		item.gate <- false
	}
	if item.reply != nil {
		o.in.answer(item.to, o.refusedWith(e))
	}
}

// outs returns an event's operations on sockets, by gateway, in order. wrote says that the event is part of a put,
// whatever it sends. waits reports whether the event has sent conflated values that wait. With mu held.
func (o *object) outs(ev event, out engine.Outcome, failure *objects.Error, wrote bool) (outs []stream.Out, waits bool) {
	if len(out.Sends) == 0 && len(out.Opened) == 0 && ev.slot == 0 && ev.kind != wire.Closed {
		return nil, false
	}
	now := time.Now()
	b, waits, ended := o.sockets.after(&o.memory, ev, out, failure, now)
	if ended {
		o.push(delivery{kind: endsDue})
	}
	o.flushLater(o.sockets.placeConflated(&b, now, ev.kind == wire.Message && !wrote && b.silent()))
	return b.outs(), waits
}

// maxBody is how many bytes of operations go into one push, each slot counted as one: a
// push that names more than wire.MaxNamed is not read. One operation has at most 256 KiB of
// data and as many slots as an object has sockets, so two always fit into NATS's default of
// 1 MiB.
const maxBody = 512 << 10

// bodies encodes the operations of a push, in as many parts as they need.
func bodies(b *wire.LaneBody) [][]byte {
	if len(b.Acks) == 0 && len(b.Ops) == 0 {
		return nil
	}
	var parts [][]byte
	part, size := wire.LaneBody{Acks: b.Acks}, 0
	for first, i := 0, 0; i < len(b.Ops); i++ {
		slots := b.Ops[i].Slots
		more := len(b.Ops[i].Data) + max(len(slots), slots.Len()) + 64
		if size > 0 && size+more > maxBody {
			part.Ops = b.Ops[first:i]
			parts = append(parts, wire.Encode(&part))
			part, size, first = wire.LaneBody{}, 0, i
		}
		size += more
		part.Ops = b.Ops[first : i+1]
	}
	return append(parts, wire.Encode(&part))
}

// byGateway groups sockets by their gateways, of which there are few.
func byGateway(sockets []*engine.Socket) map[string][]uint32 {
	by := make(map[string][]uint32, 1)
	last, slots := "", []uint32(nil)
	for _, s := range sockets {
		info := s.Info()
		if info.Slot == 0 {
			continue // it is away
		}
		if info.Gateway != last {
			if slots != nil {
				by[last] = slots
			}
			if last, slots = info.Gateway, by[info.Gateway]; slots == nil {
				slots = make([]uint32, 0, len(sockets))
			}
		}
		slots = append(slots, info.Slot)
	}
	if slots != nil {
		by[last] = slots
	}
	return by
}
