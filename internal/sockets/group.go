package sockets

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/resume"
	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// group is what the gateway keeps for one object: its half of the object's stream, and
// the sockets.
type group struct {
	key string // the object's

	mu      sync.Mutex // guards what follows; taken after the hub's and before a socket's
	stream  *stream.Receiver
	sockets map[stream.Slot]*Socket
	lanes   []lane        // of the newest owners, the newest last
	auto    *autoResponse // of the socket that was opened last; nil: none
	unacked int           // bytes of pushes since the last acknowledgement
	awaits  bool          // the group is in the hub's pending
}

// lane is the stream of one owner, as its host names it.
type lane struct {
	token uint64
	at    laneName
}

// laneName is a lane's number and the host's incarnation that has given it.
type laneName struct {
	host   string
	number uint32
}

const (
	keptLanes = 4        // of one object: the owner's, and those before
	ackBytes  = 64 << 10 // of pushes that are acknowledged at once
)

// lock returns an object's group, locked. Without create it returns nil if there is none.
func (h *Hub) lock(key string, create bool) *group {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.groups[key]
	if g == nil {
		if !create {
			return nil
		}
		g = &group{key: key, stream: stream.NewReceiver(&h.streams), sockets: make(map[stream.Slot]*Socket)}
		h.groups[key] = g
	}
	g.mu.Lock()
	return g
}

// unlock ends the use of a group. The stream is watched as long as it awaits something. unlock returns the actions of
// the stream in the caller's memory.
func (h *Hub) unlock(g *group, acts []stream.Act) []stream.Act {
	acts = slices.Clone(acts)
	if !g.awaits && !g.stream.Wake().IsZero() {
		g.awaits = true
		h.await(g)
	}
	empty := g.stream.Empty()
	g.mu.Unlock()
	if empty {
		h.discard(g)
	}
	return acts
}

// discard removes an empty group.
func (h *Hub) discard(g *group) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.groups[g.key] != g || !g.stream.Empty() || len(g.sockets) > 0 {
		return
	}
	delete(h.groups, g.key)
	for _, l := range g.lanes {
		delete(h.lanes, l.at)
	}
}

// note remembers a host's name for the lane of the owner with the token.
func (h *Hub) note(key string, token uint64, at laneName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.groups[key]
	if g == nil || at.host == "" {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if token < g.stream.Fence() || slices.ContainsFunc(g.lanes, func(l lane) bool { return l.token == token }) {
		return
	}
	g.lanes = append(g.lanes, lane{token, at})
	h.lanes[at] = laneOf{key, token}
	if old := len(g.lanes) - keptLanes; old > 0 {
		for _, l := range g.lanes[:old] {
			delete(h.lanes, l.at)
		}
		g.lanes = g.lanes[old:]
	}
}

// laneOf is the object and the token of a laneName.
type laneOf struct {
	key   string
	token uint64
}

// push handles a message with numbers of a lane.
func (h *Hub) push(msg *nats.Msg) {
	var push wire.LanePush
	if err := wire.Decode(msg.Data, &push); err != nil {
		h.warnings.Log(h.Log, "push dropped: not understood", "err", err)
		return
	}
	now := time.Now()
	p := stream.Push{Seq: push.Seq, Kind: stream.Kind(push.Kind)}
	for slot := range push.Slots.All() {
		p.Slots = append(p.Slots, stream.Slot(slot))
	}
	for _, r := range push.Heads {
		p.Heads = append(p.Heads, stream.Head{Gateway: stream.Mark(r.Of), Seq: r.Seq})
	}
	g := h.lock(push.Object, p.Kind != stream.More)
	if g == nil {
		return // the owner sends its head, and is then asked for everything
	}
	if push.Token > g.stream.Fence() && !h.owners.Plausible(push.Token) {
		h.unlock(g, nil)
		h.warnings.Log(h.Log, "push dropped: its token is far beyond all others")
		return
	}
	take, acts := g.stream.Push(now, push.Token, p)
	acts = h.unlock(g, acts)
	h.note(push.Object, push.Token, laneName{push.Host, push.Lane})
	h.perform(g, acts)
	if take {
		h.apply(g, now, &push.LaneBody, len(msg.Data))
	}
	for i := range push.Next {
		p = stream.Push{Seq: p.Seq + 1, Kind: stream.More, Heads: p.Heads}
		if g = h.lock(push.Object, false); g == nil {
			return // as above
		}
		take, acts = g.stream.Push(now, push.Token, p)
		h.perform(g, h.unlock(g, acts))
		if take {
			h.apply(g, now, &push.Next[i], 0)
		}
	}
}

// apply applies the number of a lane, which has come with size bytes.
func (h *Hub) apply(g *group, now time.Time, body *wire.LaneBody, size int) {
	g.mu.Lock()
	var acts []stream.Act
	for _, ack := range body.Acks {
		acts = append(acts, g.stream.Acked(stream.Slot(ack.Of), ack.Seq)...)
	}
	if g.unacked += size; g.unacked > ackBytes {
		g.unacked = 0
		acts = append(acts, g.stream.Tick(now.Add(h.streams.Ack))...)
	}
	h.perform(g, h.unlock(g, acts))
	for i := range body.Ops {
		h.applyOp(g, &body.Ops[i])
	}
}

// applyOp applies one operation of a push. It encodes a message once for all sockets.
func (h *Hub) applyOp(g *group, op *wire.LaneOp) {
	if op.Op == wire.OpOpen {
		h.accept(g, op)
		return
	}
	var frame, escaped []byte
	if op.Op == wire.OpMessage {
		kind := TextFrame
		if op.Binary {
			kind = BinaryFrame
		}
		frame = FrameOf(kind, op.Data)
		if escaped = frame; len(op.Data) > 0 && op.Data[0] == 0 {
			escaped = FrameOf(kind, resume.Escape(op.Data))
		}
	}
	h.found = h.found[:0]
	g.mu.Lock()
	for slot := range op.Slots.All() {
		if s := g.sockets[stream.Slot(slot)]; s != nil {
			h.found = append(h.found, s)
		}
	}
	g.mu.Unlock()
	for _, s := range h.found {
		switch op.Op {
		case wire.OpMessage:
			if s.resumes {
				s.sent++
				s.send(escaped)
			} else {
				s.send(frame)
			}
		case wire.OpAttach:
			s.setAttachment(op.Data)
		case wire.OpClose:
			s.closeForObject(End{Code: op.Code, Reason: op.Reason, Fault: op.Fault})
		}
	}
	clear(h.found)
}

// accept opens a socket that the object has accepted.
func (h *Hub) accept(g *group, op *wire.LaneOp) {
	for slot := range op.Slots.All() {
		g.mu.Lock()
		acts := g.stream.Accept(stream.Slot(slot))
		s := g.sockets[stream.Slot(slot)]
		acts = h.unlock(g, acts)
		if s != nil {
			s.accept(op, g.autoOf(op))
		}
		h.perform(g, acts)
	}
}

// autoOf returns the automatic response of a socket that opens; nil: none.
// Sockets of one object mostly have the same.
func (g *group) autoOf(op *wire.LaneOp) *autoResponse {
	if op.AutoRequest == "" && op.AutoResponse == "" {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.auto == nil || string(g.auto.request) != op.AutoRequest || g.auto.response != op.AutoResponse {
		g.auto = &autoResponse{
			request: []byte(op.AutoRequest), response: op.AutoResponse, frame: FrameOf(TextFrame, []byte(op.AutoResponse)),
			apart: FrameOf(TextFrame, append([]byte{0, resume.Uncounted}, op.AutoResponse...)),
		}
	}
	return g.auto
}

// perform does the actions of a stream. Without locks held.
func (h *Hub) perform(g *group, acts []stream.Act) {
	for _, a := range acts {
		switch a.Kind {
		case stream.AckAll, stream.AskAgain:
			h.reportPosition(g, a)
		case stream.Again:
			for _, s := range g.all() {
				s.uplink.resend()
			}
		case stream.Claim, stream.Check:
			h.claim(g.key, a)
		default:
			h.performOn(g.socket(h, a.Slot, a.Kind == stream.SendLast), a)
		}
	}
}

// performOn does an action on one socket.
func (h *Hub) performOn(s *Socket, a stream.Act) {
	if s == nil {
		return
	}
	switch a.Kind {
	case stream.Cut:
		s.Close(End{Code: closeRestart, Reason: "something sent to the socket was lost; connect again", Fault: objects.Unavailable, lost: true})
	case stream.SendLast:
		s.sendClosed(a.Seq, a.Alone)
	case stream.FramesAcked:
		s.acknowledged(a.Seq)
	case stream.Drop:
		s.forget()
	}
}

// all returns the group's sockets.
func (g *group) all() []*Socket {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*Socket, 0, len(g.sockets))
	for _, s := range g.sockets {
		all = append(all, s)
	}
	return all
}

// socket finds a socket. With create it makes one that the gateway does not know, so
// that its end can be reported to the owner.
func (g *group) socket(h *Hub, slot stream.Slot, create bool) *Socket {
	g.mu.Lock()
	s := g.sockets[slot]
	g.mu.Unlock()
	if s == nil && create {
		return h.unknownSocket(g, slot)
	}
	return s
}

// reportPosition acknowledges received pushes to the owner, with the next
// tick. It asks for missing ones at once.
func (h *Hub) reportPosition(g *group, a stream.Act) {
	g.mu.Lock()
	i := slices.IndexFunc(g.lanes, func(l lane) bool { return l.token == a.Token })
	var at laneName
	if i >= 0 {
		at = g.lanes[i].at
	}
	if a.Kind == stream.AckAll {
		g.unacked = 0
	}
	g.mu.Unlock()
	switch {
	case i < 0: // the name of its lane is not known
	case a.Kind == stream.AskAgain:
		h.askAgain(at, a.Seq)
	default:
		h.acknowledge(at, a.Seq)
	}
}

func (h *Hub) askAgain(at laneName, from uint64) {
	acks := wire.LaneAcks{Gateway: h.Name, Resend: []wire.Reached{{Of: at.number, Seq: from}}}
	if err := wire.Publish(h.bus, wire.LaneInbox(at.host)+wire.Acks, &acks); err != nil {
		h.Log.Debug("nothing asked for", "err", err) // it is asked again
	}
}

// onHeads handles the heads of lanes.
func (h *Hub) onHeads(msg *nats.Msg) {
	var heads wire.LaneHeads
	if err := wire.Decode(msg.Data, &heads); err != nil {
		h.warnings.Log(h.Log, "heads dropped: not understood", "err", err)
		return
	}
	for _, r := range heads.Heads {
		h.probe(laneName{heads.Host, r.Of}, r.Seq, false)
	}
	for _, r := range heads.Quiet {
		h.probe(laneName{heads.Host, r.Of}, r.Seq, true)
	}
	h.noteEnded(heads.Ended)
}

// probe handles the head of one lane.
func (h *Hub) probe(at laneName, head uint64, quiet bool) {
	h.mu.Lock()
	of := h.lanes[at]
	h.mu.Unlock()
	if g := h.lock(of.key, false); g != nil {
		h.perform(g, h.unlock(g, g.stream.Probe(time.Now(), of.token, head, quiet)))
	} else if !quiet {
		h.askAgain(at, 0)
	}
}

// onWhich answers a new owner's question for the positions and sockets of its object. After the
// answer nothing is accepted from an earlier owner.
func (h *Hub) onWhich(msg *nats.Msg) {
	var which wire.Which
	if err := wire.Decode(msg.Data, &which); err != nil {
		h.warnings.Log(h.Log, "question dropped: not understood", "err", err)
		return
	}
	if !h.owners.Plausible(which.Token) {
		h.warnings.Log(h.Log, "question dropped: its token is far beyond all others")
		return
	}
	held := wire.Held{Lane: which.Lane, Gateway: h.Name, Object: which.Object, Token: which.Token, Region: h.Region}
	if g := h.lock(which.Object, false); g != nil {
		answer, ok := g.stream.Which(time.Now(), which.Token)
		sockets := make([]*Socket, len(answer.Sockets))
		for i, s := range answer.Sockets {
			sockets[i] = g.sockets[s.Slot]
		}
		for _, p := range answer.Positions {
			position := wire.LanePosition{Token: p.Token, Received: p.Received}
			for _, r := range p.Heads {
				position.Heads = append(position.Heads, wire.Reached{Of: uint32(r.Gateway), Seq: r.Seq})
			}
			held.Positions = append(held.Positions, position)
		}
		h.unlock(g, nil)
		if !ok {
			return // a newer owner has asked
		}
		h.note(which.Object, which.Token, laneName{which.Host, which.Lane})
		for i, s := range answer.Sockets {
			if sockets[i] != nil {
				held.Sockets = append(held.Sockets, sockets[i].describe(s))
			}
		}
	}
	if err := wire.Publish(h.bus, wire.LaneInbox(which.Host)+wire.Hold, &held); err != nil {
		h.Log.Warn("sockets not told", "err", err) // the owner asks again
	}
}

// answer handles the news that a frame was not taken. The owner
// acknowledges frames in its stream.
func (h *Hub) answer(subject string, msg *nats.Msg) {
	s, seq := h.frameOf(subject)
	if s == nil {
		return
	}
	if wire.Nobody(msg) {
		s.notTaken(seq)
		return
	}
	var reply wire.Reply
	if err := wire.Decode(msg.Data, &reply); err != nil {
		h.warnings.Log(h.Log, "answer to a frame dropped: not understood", "err", err)
		return
	}
	// A host that owns nothing has no token for its Moved; a replaced owner has its own.
	if reply.Token > 0 && reply.Token < h.fence(s.object.Key()) {
		return
	}
	s.notTaken(seq)
	if reply.Code != "" {
		s.Close(End{Code: reply.Code.CloseCode(), Reason: reply.Err().Error(), Fault: reply.Code})
	}
}

// fence returns the token of the newest owner known.
func (h *Hub) fence(key string) uint64 {
	g := h.lock(key, false)
	if g == nil {
		return 0
	}
	defer g.mu.Unlock()
	return g.stream.Fence()
}

// frameOf returns the socket and the number of the frame that an answer's subject names;
// nil if the socket is gone or the subject names none.
func (h *Hub) frameOf(subject string) (*Socket, uint64) {
	frame, ok := strings.CutPrefix(subject, "frame.")
	end := strings.LastIndexByte(frame, '.') // the socket's name has a dot of its own
	if !ok || end < 0 {
		return nil, 0
	}
	seq, err := strconv.ParseUint(frame[end+1:], 10, 64)
	if err != nil {
		return nil, 0
	}
	return h.find(frame[:end]), seq
}
