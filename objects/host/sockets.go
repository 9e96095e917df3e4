package host

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"holdfast/internal/planted"
	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/internal/engine"
)

// sockets are the WebSockets of one object, as the author sees them. Which of them
// count, and how far each has been heard, is in the object's stream. The event loop owns
// them; untold and held are changed with the object's lock held, which guards answered.
type sockets struct {
	open   engine.Sockets
	count  atomic.Int64          // of the open ones, for whoever looks at the object
	untold *untold               // nil if the object has been told of every end
	held   map[string]*wire.Held // what gateways have told, by gateway, until the object is served

	answered map[string]time.Time // when gateways have answered sockets by themselves

	details  json.RawMessage          // for the record: tags, attachments and principals, if they are few
	recorded map[string]record.Socket // what the record has of sockets whose gateways have not told of them
}

// maxDetails is how many bytes of details of sockets a record has. Beyond it, it has
// none: they are with the gateways, and lost only if a gateway and the owner die together.
const maxDetails = 8 << 10

// detailSize is what the details of a socket take beside its id, tags, attachment and principal.
const detailSize = 20

// note encodes the details of all sockets, as far as they are few. The
// event loop calls it, with the object's lock held.
func (s *sockets) note() {
	s.count.Store(int64(s.open.Len()))
	s.details = nil
	if s.open.Len() > maxDetails/detailSize {
		return // no need to look at each of them whenever one comes
	}
	all, size := make(map[string]record.Socket), 0
	add := func(id string, known record.Socket) bool {
		for _, tag := range known.Tags {
			size += len(tag)
		}
		size += len(id) + len(known.Attachment) + len(known.Principal) + detailSize
		if len(known.Tags) > 0 || len(known.Attachment) > 0 || len(known.Principal) > 0 {
			all[id] = known
		}
		return size <= maxDetails
	}
	for id, known := range s.recorded {
		if !add(id, known) {
			return
		}
	}
	for _, socket := range s.open.All() {
		if info := socket.Info(); !add(info.ID, record.Socket{Tags: info.Tags, Attachment: info.Attachment, Principal: info.Principal}) {
			return
		}
	}
	if len(all) > 0 {
		s.details = record.EncodeSockets(all)
	}
}

// untold are the ends of sockets that the object has not been told yet.
type untold struct {
	ends     []socketEnd // in order; at least one
	failures int         // attempts in a row to tell the first of them
	retryAt  time.Time   // when the next attempt is due
}

// socketEnd is the end of a socket that the object has to be told.
type socketEnd struct {
	socket  string
	gateway string
	slot    uint32
	seq     uint64 // of the frame that tells of it; 0: the gateway was given up
	close   engine.Close
	opener  []byte // the principal, as JSON, if the frame has told it
	asked   int64  // when it ended, in Unix milliseconds; 0: not known
}

// adoptSockets takes over the sockets that gateways hold, from the previous owner. With
// mu held.
func (o *object) adoptSockets(rec *record.Record) {
	o.sockets.recorded = rec.DecodeSockets()
	for _, gateway := range slices.Sorted(maps.Keys(o.sockets.held)) {
		held := o.sockets.held[gateway]
		for _, s := range held.Sockets {
			if o.stream.Has(gateway, stream.Slot(s.Slot)) {
				o.sockets.open.Add(engine.SocketInfo{
					ID: wire.SocketID(gateway, s.Slot), Gateway: gateway, Region: held.Region, Attachment: cleanAttachment(s.Attachment),
					Tags: s.Tags, Order: s.Order, Conflated: s.Conflated, Subprotocol: s.Subprotocol, Principal: cleanPrincipal(s.Principal),
				})
				o.noteAnswered(gateway, s.Slot, s.Answered)
				delete(o.sockets.recorded, wire.SocketID(gateway, s.Slot))
			}
		}
	}
	o.sockets.held = nil
	o.join(o.sockets.open.All())
	o.sockets.note()
}

// cleanPrincipal is a copy of a principal; nil for what no gateway of ours has sent.
func cleanPrincipal(data []byte) []byte {
	if len(data) == 0 || len(data) > objects.MaxPrincipal || !json.Valid(data) {
		return nil
	}
	return slices.Clone(data)
}

// cleanAttachment is an attachment; nil for what no gateway of ours has sent.
func cleanAttachment(data []byte) []byte {
	if len(data) == 0 || len(data) > objects.MaxAttachment || !json.Valid(data) {
		return nil
	}
	return data
}

// addEnd notes the end of a socket. The stream lets each through once.
func (s *sockets) addEnd(end socketEnd) {
	if s.untold == nil {
		s.untold = new(untold)
	}
	s.untold.ends = append(s.untold.ends, end)
}

// endTold forgets the first end.
func (s *sockets) endTold() {
	s.untold.failures = 0
	if s.untold.ends = s.untold.ends[1:]; len(s.untold.ends) == 0 {
		s.untold = nil
	}
}

// frame handles what a socket sent, if it is the next of that socket's frames. Its
// number counts as taken before there is an instance: a constructor that fails closes
// the socket.
func (o *object) frame(ctx context.Context, ev event) {
	req := ev.req
	slot, ok := wire.SlotOf(req.Gateway, req.Socket)
	if !ok {
		return // no gateway of ours has made it
	}
	ev.gateway, ev.slot, ev.seq = req.Gateway, slot, req.Seq
	o.inHand = ev
	verdict := stream.Take
	if !ev.again { // it was taken before
		verdict = o.take(ev)
	}
	switch verdict {
	case stream.Take:
	case stream.Told:
		o.in.trackGateway(ev.gateway) // which has to acknowledge that
		return
	default:
		return
	}
	if req.Kind == wire.Closed {
		o.tellEnds()
		return
	}
	if planted.AckBeforePush {
		o.mu.Lock()
		body := wire.Encode(&wire.LaneBody{Acks: []wire.Reached{{Of: ev.slot, Seq: ev.seq}}})
		o.put(outboxItem{}, stream.Out{Gateway: ev.gateway, Bodies: [][]byte{body}})
		o.mu.Unlock()
		wire.Pause(ctx, 20*time.Millisecond)
		ev.seq = 0
	}
	if o.ready(ev) {
		o.finish(ev, o.memory.instance.Message(ctx, req.Socket, engine.Message{Binary: req.Binary, Data: req.Body}))
	}
}

// mayOpen reports whether a socket may be opened for a request that asks for one: not
// as long as its gateway, which was given up, holds sockets whose ends have been told.
// The gateway is told so, and asks again.
func (o *object) mayOpen(ev event) bool {
	gateway := ev.req.Gateway
	o.mu.Lock()
	defer o.mu.Unlock()
	if ev.req.Socket == "" || o.stream.Accepts(gateway) {
		return true
	}
	now := time.Now()
	o.stream.Hurry(now, gateway)
	o.transmit(o.stream.Tick(now))
	o.in.answer(o.mailbox.newestReply(ev.reply), &wire.Reply{Moved: true, Token: o.memory.token})
	return false
}

// take decides on a frame, and answers one that is not to be handled.
func (o *object) take(ev event) stream.Verdict {
	o.mu.Lock()
	defer o.mu.Unlock()
	verdict := o.stream.Frame(ev.gateway, stream.Slot(ev.slot), ev.seq, ev.kind == wire.Closed)
	switch verdict {
	case stream.Gap:
		o.in.answer(ev.reply, &wire.Reply{Gap: true, Token: o.memory.token})
	case stream.Unknown:
		o.in.answer(ev.reply, &wire.Reply{Code: objects.Unavailable, Message: "this owner does not know the socket", Token: o.memory.token})
	case stream.Told:
		body := wire.Encode(&wire.LaneBody{Acks: []wire.Reached{{Of: ev.slot, Seq: ev.seq}}})
		o.put(outboxItem{}, stream.Out{Gateway: ev.gateway, Bodies: [][]byte{body}})
	case stream.Take:
		if req := ev.req; ev.kind == wire.Closed {
			how := engine.Close{Code: req.Code, Reason: req.Reason, Clean: req.Clean, Fault: string(req.Fault)}
			o.sockets.addEnd(socketEnd{req.Socket, ev.gateway, ev.slot, ev.seq, how, cleanPrincipal(req.Principal), req.Time})
		}
	}
	return verdict
}

// answer answers a request that no event came of.
func (o *object) answer(to string, reply wire.Reply) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put(outboxItem{to: to, reply: &reply})
}

// loseGateway gives a gateway up: its sockets have ended, and it is told so if it
// should come back.
func (o *object) loseGateway(gateway string) {
	o.mu.Lock()
	if slots := o.stream.Members(gateway); len(slots) > 0 || o.stream.Awaits(gateway) {
		end := engine.Close{Code: 1006, Reason: "the gateway that held the socket has gone", Fault: string(objects.Unavailable)}
		for _, slot := range slots {
			o.sockets.addEnd(socketEnd{socket: wire.SocketID(gateway, uint32(slot)), gateway: gateway, slot: uint32(slot), close: end})
		}
		o.put(outboxItem{wrote: true}, stream.Out{Gateway: gateway, GiveUp: true})
		o.commit.wrote = true
	}
	o.mu.Unlock()
	o.tellEnds()
}

// tellEnds tells the object which of its sockets have ended. What it cannot be told,
// because its constructor fails, stays and is tried again with the next event or
// after a while.
func (o *object) tellEnds() {
	if o.sockets.untold == nil {
		return
	}
	out, ok := o.awake()
	if ok {
		return
	}
	e := o.countFailure(event{kind: wire.Closed}, out)
	o.mu.Lock()
	defer o.mu.Unlock()
	u := o.sockets.untold
	pause := min(time.Minute, time.Second<<min(u.failures, 6))
	u.failures++
	u.retryAt = time.Now().Add(pause)
	o.in.idle.put(o, u.retryAt)
	o.in.log.Warn("ends of sockets cannot be told yet", "ref", e.Reference, "object", o.key, "ends", len(u.ends), "again in", pause)
}

// tellEnd tells the first end. There is an instance.
func (o *object) tellEnd() {
	end := o.sockets.untold.ends[0]
	now := time.Now()
	ev := event{kind: wire.Closed, ctx: o.endContext(&end, now), gateway: end.gateway, slot: end.slot, seq: end.seq}
	if !o.sockets.open.Has(end.socket) { // its gateway has not told this owner of it
		known := o.sockets.recorded[end.socket]
		delete(o.sockets.recorded, end.socket)
		if len(known.Principal) == 0 {
			known.Principal = end.opener
		}
		o.sockets.open.Add(engine.SocketInfo{
			ID: end.socket, Gateway: end.gateway, Tags: known.Tags, Attachment: known.Attachment, Principal: known.Principal,
		})
	}
	ctx := withPrincipal(o.endContext(&end, now), o.sockets.open.Find(end.socket).Info().Principal)
	told := func(out engine.Outcome) {
		o.finish(ev, out)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.sockets.endTold()
		delete(o.sockets.answered, end.socket)
	}
	before := o.onExit
	o.onExit = told
	out := o.memory.instance.Closed(ctx, end.socket, end.close)
	o.onExit = before
	told(out)
}

// noteAnswered notes when a gateway has answered a socket by itself. With mu held.
func (o *object) noteAnswered(gateway string, slot uint32, ms int64) {
	if ms == 0 || !o.stream.Has(gateway, stream.Slot(slot)) {
		return
	}
	if o.sockets.answered == nil {
		o.sockets.answered = make(map[string]time.Time)
	}
	o.sockets.answered[wire.SocketID(gateway, slot)] = time.UnixMilli(ms).UTC()
}

// answered is when a gateway has answered a socket by itself. An event asks.
func (o *object) answered(s *engine.Socket) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sockets.answered[s.ID()]
}
