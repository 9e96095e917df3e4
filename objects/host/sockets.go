package host

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"holdfast/internal/planted"
	"holdfast/internal/resume"
	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/internal/engine"
)

// sockets is the part of an object that knows its WebSockets, as the author sees them: the open sockets, the ends that
// the object has yet to be told, the sessions that may come back, the values that wait to be sent, and the streams to
// gateways. The Sender of these says which sockets count and how many of each one's frames were taken. Only its methods
// use its fields. The event loop owns open and recorded, and holds object.mu to change the rest, which object.mu
// guards.
type sockets struct {
	*stream.Sender // to gateways

	resume      *engine.Resume // of the class
	open        engine.Sockets
	pendingEnds *pendingEnds          // nil if the object has been told of every end
	held        map[string]*wire.Held // what gateways have reported, by gateway, until the object is served

	answered map[string]time.Time // when gateways have answered sockets by themselves

	sessions *resume.Sessions // sockets that may come back; nil: there are none
	away     int              // bytes of the entries of those that are away

	details  json.RawMessage          // for the record: tags, attachments and principals, if they are few
	recorded map[string]record.Socket // what the record has of sockets that no gateway has reported yet

	conflation *conflation // nil: no socket has asked for conflated values

	lanes    map[string]uint32 // their numbers, by gateway
	lanePush *wire.LanePush    // publish's buffer, reused; nil before the first
	awaits   bool              // links watch the stream
}

func newSockets(class *engine.Class, to *stream.Sender) *sockets {
	return &sockets{Sender: to, resume: &class.Resume}
}

// unused reports whether the sockets are as makeSockets makes them.
func (s *sockets) unused() bool {
	return s.open.Len() == 0 && s.pendingEnds == nil && len(s.held) == 0 && len(s.answered) == 0 && s.sessions == nil &&
		len(s.recorded) == 0 && s.conflation == nil && s.Unused()
}

// makeSockets makes the sockets of an object that has slept without any. The event loop calls it.
func (o *object) makeSockets() {
	if o.sockets != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.sockets = newSockets(o.class, stream.NewSender(o.term.token, nil, &o.in.streams, now))
	o.sockets.Landed(now, o.commit.state().Commit)
}

// noteSockets updates what the record, and observers of the object, know of its sockets. The event loop calls it, with
// the object's lock held.
func (o *object) noteSockets() {
	o.openSockets.Store(int32(o.sockets.author().Len()))
	o.sockets.note()
}

// author returns the sockets as the author's code sees them.
func (s *sockets) author() *engine.Sockets { return &s.open }

// laneNumbers returns the numbers of lanes, by gateway.
func (s *sockets) laneNumbers() map[string]uint32 { return s.lanes }

// record adds the sockets to a record.
func (s *sockets) record(rec *record.Record) {
	if s != nil {
		rec.Gateways, rec.Sockets = s.gateways(), s.details
	}
}

// idAt returns the id of the socket at this place.
func (s *sockets) idAt(gateway string, slot uint32) string {
	if s.sessions != nil {
		if one := s.sessions.In(resume.Place{Gateway: gateway, Slot: slot}); one != nil {
			return one.ID
		}
	}
	return wire.SocketID(gateway, slot)
}

// maxDetails is how many bytes of sockets' details a record has. With more it has none: then only gateways have them,
// and they are lost if a gateway and the owner die together.
const maxDetails = 8 << 10

// detailSize is what the details of a socket take beside its id, tags, attachment and principal.
const detailSize = 20

// note encodes the details of all sockets, unless they are too many.
func (s *sockets) note() {
	s.details = nil
	if s.open.Len() > maxDetails/detailSize {
		return // no need to look at all of them for every new one
	}
	all, size := make(map[string]record.Socket), 0
	add := func(id string, known record.Socket) bool {
		for _, tag := range known.Tags {
			size += len(tag)
		}
		size += len(id) + len(known.Attachment) + len(known.Principal) + len(known.Session) + 2*len(known.Secret) + detailSize
		if len(known.Tags) > 0 || len(known.Attachment) > 0 || len(known.Principal) > 0 || len(known.Secret) > 0 {
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
		info := socket.Info()
		if info.Gateway == "" {
			continue // its session is away, and has an entry of its own
		}
		id, known := info.ID, record.Socket{Tags: info.Tags, Attachment: info.Attachment, Principal: info.Principal}
		if info.Session != 0 {
			id = s.noteSession(info, &known)
		}
		if !add(id, known) {
			return
		}
	}
	if len(all) > 0 {
		s.details = record.EncodeSockets(all)
	}
}

// pendingEnds are the ends of sockets that the object does not know of yet.
type pendingEnds struct {
	ends     []socketEnd // in order; at least one
	failures int         // attempts in a row to deliver the first of them
	yields   bool        // the first gave way: none is delivered before endsDue, behind what objects wait for
	retryAt  time.Time   // when the next attempt is due
}

// socketEnd is the end of a socket that the object has to be told.
type socketEnd struct {
	socket  string
	gateway string
	slot    uint32
	seq     uint64 // of the frame that tells of it; 0: the gateway was given up
	close   engine.Close
	session bool   // of a session that was away
	opener  []byte // the principal, as JSON, if the frame has reported it
	asked   int64  // when it ended, in Unix milliseconds; 0: not known
}

// adoptSockets takes over the sockets that gateways hold, from the previous owner. With
// mu held.
func (o *object) adoptSockets(rec *record.Record, kept *engine.Data) {
	o.sockets.adopt(rec.DecodeSockets(), kept)
	if window, handed := kept.Get(engine.WindowAt); handed {
		if err := o.sockets.takeOverWindow(window, o.term.epoch-1); err != nil {
			o.in.log.Error("window not taken over: sockets that come back may miss something, and are told so", "object", o.id.Key(), "err", err)
		}
		o.memory.Apply([]engine.Write{{Key: engine.WindowAt}}) // with the next put
	}
	o.noteSockets()
}

// adopt takes over the sockets that gateways hold, with what the record has of them.
func (s *sockets) adopt(recorded map[string]record.Socket, kept *engine.Data) {
	s.recorded = recorded
	s.adoptSessions(kept)
	for _, gateway := range slices.Sorted(maps.Keys(s.held)) {
		held := s.held[gateway]
		for _, one := range held.Sockets {
			if !s.Has(gateway, stream.Slot(one.Slot)) {
				continue
			}
			delete(s.recorded, wire.SocketID(gateway, one.Slot))
			info := engine.SocketInfo{
				ID: wire.SocketID(gateway, one.Slot), Gateway: gateway, Slot: one.Slot, Region: held.Region, Attachment: cleanAttachment(one.Attachment),
				Tags: one.Tags, Order: one.Order, Conflated: one.Conflated, Subprotocol: one.Subprotocol, Principal: cleanPrincipal(one.Principal),
			}
			if !s.adoptSession(&info, &one) {
				continue // its session is elsewhere
			}
			s.open.Add(info)
			s.noteAnswered(gateway, one.Slot, one.Answered)
		}
	}
	s.held = nil
	s.join(s.open.All())
}

// cleanPrincipal returns a copy of a principal; nil if no gateway can have sent it.
func cleanPrincipal(data []byte) []byte {
	if len(data) == 0 || len(data) > objects.MaxPrincipal || !json.Valid(data) {
		return nil
	}
	return slices.Clone(data)
}

// cleanAttachment returns the attachment; nil if no gateway can have sent it.
func cleanAttachment(data []byte) []byte {
	if len(data) == 0 || len(data) > objects.MaxAttachment || !json.Valid(data) {
		return nil
	}
	return data
}

// addEnd notes the end of a socket. The stream lets each end through once.
func (s *sockets) addEnd(end socketEnd) {
	if s.pendingEnds == nil {
		s.pendingEnds = new(pendingEnds)
	}
	s.pendingEnds.ends = append(s.pendingEnds.ends, end)
}

// hasEnds reports whether there are ends that the object has yet to be told.
func (s *sockets) hasEnds() bool { return s != nil && s.pendingEnds != nil }

// endsWait reports whether the object has to be told an end before the event in hand.
func (s *sockets) endsWait() bool { return s.pendingEnds != nil && !s.pendingEnds.yields }

// endsDue makes the first end, which gave way, due again.
func (s *sockets) endsDue() {
	if s.pendingEnds != nil {
		s.pendingEnds.yields = false
	}
}

// endsRetry returns when the first end is tried again.
func (s *sockets) endsRetry() time.Time { return s.pendingEnds.retryAt }

// firstEnd returns the first end, and its socket as the object knows it, or as the record does if no gateway has
// reported the socket to this owner.
func (s *sockets) firstEnd() (socketEnd, engine.SocketInfo) {
	end := s.pendingEnds.ends[0]
	if !s.open.Has(end.socket) {
		recorded := s.recorded[end.socket]
		delete(s.recorded, end.socket)
		if len(recorded.Principal) == 0 {
			recorded.Principal = end.opener
		}
		s.open.Add(engine.SocketInfo{
			ID: end.socket, Gateway: end.gateway, Slot: end.slot, Tags: recorded.Tags, Attachment: recorded.Attachment, Principal: recorded.Principal,
		})
	}
	return end, s.open.Find(end.socket).Info()
}

// dropEnd removes the first end, which the object has been told.
func (s *sockets) dropEnd() {
	delete(s.answered, s.pendingEnds.ends[0].socket)
	s.pendingEnds.failures = 0
	if s.pendingEnds.ends = s.pendingEnds.ends[1:]; len(s.pendingEnds.ends) == 0 {
		s.pendingEnds = nil
	}
}

// endYields puts the first end back, because its event has given way. endsDue makes it due again.
func (s *sockets) endYields(info engine.SocketInfo) {
	s.open.AddEnded(info)
	s.pendingEnds.yields = true
}

// endFailed notes that the object could not be told the first end. It returns how many ends wait, and for how long.
func (s *sockets) endFailed(now time.Time) (waiting int, pause time.Duration) {
	u := s.pendingEnds
	pause = min(time.Minute, time.Second<<min(u.failures, 6))
	u.failures++
	u.retryAt = now.Add(pause)
	return len(u.ends), pause
}

// frame handles what a socket sent, if it is the next of that socket's frames. Its
// number counts as taken before there is an instance: a constructor that fails closes
// the socket.
func (o *object) frame(ctx context.Context, ev event) {
	req := ev.req
	slot, ok := wire.SlotOf(req.Gateway, req.Socket)
	if !ok {
		return // no gateway can have sent it
	}
	ev.gateway, ev.slot, ev.seq = req.Gateway, slot, req.Seq
	o.inHand.event = ev
	verdict := stream.Take
	if !ev.again { // otherwise it was taken before
		verdict = o.admitFrame(ev)
	}
	switch verdict {
	case stream.Take:
	case stream.AlreadyEnded:
		o.in.trackGateway(ev.gateway) // which has to acknowledge that
		return
	default:
		return
	}
	if req.Kind == wire.Closed {
		o.deliverEnds()
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
		socket := o.sockets.idAt(ev.gateway, ev.slot)
		o.finish(ev, o.memory.handler().Message(ctx, socket, engine.Message{Binary: req.Binary, Data: req.Body}))
	}
}

// mayOpen reports whether a request may open a socket. While the request's gateway was given up and still holds sockets
// whose ends the object has been told, it may not; the gateway learns that from the reply, and asks again.
func (o *object) mayOpen(ev event) bool {
	gateway := ev.req.Gateway
	o.mu.Lock()
	defer o.mu.Unlock()
	if ev.req.Socket == "" || o.sockets.Accepts(gateway) {
		return true
	}
	now := time.Now()
	o.sockets.Hurry(now, gateway)
	o.transmit(o.sockets.Tick(now))
	o.in.answer(o.mailbox.newestReply(ev.reply), &wire.Reply{Moved: true, Token: o.term.token})
	return false
}

// admitFrame decides on a frame, and answers one that is not to be handled.
func (o *object) admitFrame(ev event) stream.Verdict {
	o.mu.Lock()
	defer o.mu.Unlock()
	verdict := o.sockets.Frame(ev.gateway, stream.Slot(ev.slot), ev.seq, ev.kind == wire.Closed)
	switch verdict {
	case stream.Gap:
		o.in.answer(ev.reply, &wire.Reply{Gap: true, Token: o.term.token})
	case stream.Unknown:
		o.in.answer(ev.reply, &wire.Reply{Code: objects.Unavailable, Message: "this owner does not know the socket", Token: o.term.token})
	case stream.AlreadyEnded:
		body := wire.Encode(&wire.LaneBody{Acks: []wire.Reached{{Of: ev.slot, Seq: ev.seq}}})
		o.put(outboxItem{}, stream.Out{Gateway: ev.gateway, Bodies: [][]byte{body}})
	case stream.Take:
		req := ev.req
		if ev.kind != wire.Closed {
			if !o.sockets.tookFrame(ev) {
				return stream.Ignore
			}
			break
		}
		how := engine.Close{Code: req.Code, Reason: req.Reason, Clean: req.Clean, Fault: string(req.Fault)}
		if !o.leaves(ev, how) {
			socket := o.sockets.endSession(ev.gateway, ev.slot)
			o.sockets.addEnd(socketEnd{
				socket: socket, gateway: ev.gateway, slot: ev.slot, seq: ev.seq, close: how, opener: cleanPrincipal(req.Principal), asked: req.Time,
			})
		}
	}
	return verdict
}

// answer answers a request that ran no event.
func (o *object) answer(to string, reply wire.Reply) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put(outboxItem{to: to, reply: &reply})
}

// loseGateway gives a gateway up: its sockets have ended. If the gateway comes back, the reply tells it.
func (o *object) loseGateway(gateway string) {
	o.mu.Lock()
	if outs := o.sockets.lose(&o.memory, gateway); len(outs) > 0 {
		o.noteSockets()
		o.put(outboxItem{wrote: true}, outs...)
	}
	o.mu.Unlock()
	o.deliverEnds()
}

// lose ends the sockets of a gateway, and returns the messages that give the gateway up; nil: it held none. Sessions of
// its sockets may come back: the object is told nothing of those.
func (s *sockets) lose(m *memory, gateway string) []stream.Out {
	slots := s.Members(gateway)
	if len(slots) == 0 && !s.Awaits(gateway) {
		return nil
	}
	end := engine.Close{Code: 1006, Reason: "the gateway that held the socket has gone", Fault: string(objects.Unavailable)}
	outs := []stream.Out{{Gateway: gateway, GiveUp: true}, {Gateway: gateway}}
	for _, slot := range slots {
		if s.leavesWith(m, gateway, uint32(slot), end, false) {
			outs[1].Ends = append(outs[1].Ends, slot)
			continue
		}
		socket := s.endSession(gateway, uint32(slot))
		s.addEnd(socketEnd{socket: socket, gateway: gateway, slot: uint32(slot), close: end})
	}
	return outs[:1+min(1, len(outs[1].Ends))]
}

// deliverEnds runs the object's handler for each socket that has ended. If the object's constructor fails, the ends
// stay, and are tried again with the next event or after a while.
func (o *object) deliverEnds() {
	if !o.sockets.hasEnds() {
		return
	}
	out, ok := o.awake()
	if ok {
		return
	}
	e := o.countFailure(event{kind: wire.Closed}, out)
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	waiting, pause := o.sockets.endFailed(now)
	o.in.idle.put(o, now.Add(pause))
	o.in.log.Warn("ends of sockets cannot be told yet", "ref", e.Reference, "object", o.id.Key(), "ends", waiting, "again in", pause)
}

// deliverEnd runs the handler for the first end. An instance must exist.
func (o *object) deliverEnd() {
	end, info := o.sockets.firstEnd()
	known := o.endContext(&end, time.Now())
	ev := event{kind: wire.Closed, ctx: known, gateway: end.gateway, slot: end.slot, seq: end.seq, ended: end.socket, session: end.session}
	told := func(out engine.Outcome) {
		o.finish(ev, out)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.sockets.dropEnd()
	}
	before := o.inHand.onExit
	o.inHand.onExit = told
	out := o.memory.handler().Closed(withPrincipal(known, info.Principal), end.socket, end.close)
	o.inHand.onExit = before
	if o.givesWay(ev, out) {
		o.gaveWay = false // the event in hand has not
		o.sockets.endYields(info)
		o.mailbox.pushBehindAsks(delivery{kind: endsDue})
		return
	}
	told(out)
}

// noteAnswered notes when a gateway has answered a socket by itself.
func (s *sockets) noteAnswered(gateway string, slot uint32, ms int64) {
	if ms == 0 || !s.Has(gateway, stream.Slot(slot)) {
		return
	}
	if s.answered == nil {
		s.answered = make(map[string]time.Time)
	}
	s.answered[s.idAt(gateway, slot)] = time.UnixMilli(ms).UTC()
}

// answeredAt returns when a gateway has last answered a socket by itself.
func (s *sockets) answeredAt(id string) time.Time { return s.answered[id] }

// after applies an event's operations on sockets to memory, and returns what to send now. waits reports whether the
// event has sent conflated values that wait. ended reports whether it has ended sessions that were away, of which the
// object has to be told.
func (s *sockets) after(m *memory, ev event, out engine.Outcome, failure *objects.Error, now time.Time) (b outgoing, waits, ended bool) {
	b = s.outgoing(now)
	for _, socket := range out.Opened {
		if ev.req != nil && ev.req.Resumes && s.resume.Time > 0 {
			s.openSession(socket)
			b.sessions = s.sessions
		}
		info := socket.Info()
		if info.Slot != 0 {
			d := b.to(info.Gateway)
			d.Opens = append(d.Opens, stream.Slot(info.Slot))
			d.Ops = append(d.Ops, s.opening(info))
		}
	}
	joined := 0
	for _, send := range out.Sends {
		s.join(out.Opened[joined:send.Opened])
		joined = send.Opened
		if c := s.conflation; c != nil && (send.Op == engine.OpMessage || send.Op == engine.OpClose) && send.Message.Conflate == "" {
			b.frames(c.Take(send.Sockets)) // the order is that of sending
		}
		switch send.Op {
		case engine.OpMessage:
			b.add(send.Sockets, wire.LaneOp{Op: wire.OpMessage, Binary: send.Message.Binary, Data: send.Message.Data})
		case engine.OpAttach:
			b.add(send.Sockets, wire.LaneOp{Op: wire.OpAttach, Data: send.Attachment})
		case engine.OpClose:
			b.add(send.Sockets, wire.LaneOp{Op: wire.OpClose, Code: send.Close.Code, Reason: send.Close.Reason})
			ended = s.closeAway(m, send.Sockets, send.Close) || ended
		case engine.OpConflate:
			s.conflate(&b, send.Message, now)
			waits = true
		}
	}
	s.join(out.Opened[joined:])
	if ev.kind == wire.Closed {
		s.leave(ev.ended)
	}
	if ev.slot != 0 {
		d := b.to(ev.gateway)
		if ev.seq > 0 {
			d.Acks = append(d.Acks, wire.Reached{Of: ev.slot, Seq: ev.seq})
		}
		switch {
		case ev.kind == wire.Closed:
			d.Ends = append(d.Ends, stream.Slot(ev.slot))
		case failure != nil:
			d.Ops = append(d.Ops, wire.LaneOp{
				Op: wire.OpClose, Slots: wire.SlotsOf([]uint32{ev.slot}), Code: failure.Code.CloseCode(), Reason: failure.Error(), Fault: failure.Code,
			})
		}
	}
	return b, waits, ended
}

// opening returns the operation with which a gateway opens a socket.
func (s *sockets) opening(info engine.SocketInfo) wire.LaneOp {
	op := wire.LaneOp{
		Op: wire.OpOpen, Slots: wire.SlotsOf([]uint32{info.Slot}),
		Accepted: wire.Accepted{Tags: info.Tags, Order: info.Order, Conflated: info.Conflated, Subprotocol: info.Subprotocol},
	}
	if info.Auto != nil {
		op.AutoRequest, op.AutoResponse = info.Auto.Request, info.Auto.Response
	}
	if info.Session != 0 {
		one := s.sessions.Find(info.ID)
		op.Session, op.Secret, op.Return = one.ID, one.Secret, uint64(s.resume.Time.Milliseconds())
	}
	return op
}
