package gateway

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fasthttp/websocket"
	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// group is what the gateway keeps for one object that has sockets here.
type group struct {
	fence   uint64 // token of the newest owner heard of; what an older one says is void
	sockets []*socket
}

func (g *group) add(s *socket) { g.sockets = append(g.sockets, s) }

// remove reports whether no socket is left.
func (g *group) remove(s *socket) bool {
	if i := slices.Index(g.sockets, s); i >= 0 {
		g.sockets = slices.Delete(g.sockets, i, i+1)
	}
	return len(g.sockets) == 0
}

// admits reports whether a token is the newest owner's, and notes it if it is newer.
func (g *group) admits(token uint64) bool {
	g.fence = max(g.fence, token)
	return token == g.fence
}

// admits reports whether the owner with the token speaks for the object.
func (h *hub) admits(object string, token uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	of := h.byObject[object]
	return of == nil || of.admits(token)
}

// push does what an owner wants done to sockets.
func (h *hub) push(msg *nats.Msg) {
	var push wire.Push
	if err := wire.Decode(msg.Data, &push); err != nil {
		h.log.Error("push not understood", "err", err)
		return
	}
	if !h.admits(push.Object, push.Token) {
		return
	}
	for _, op := range push.Ops {
		h.do(op)
	}
}

// do is one operation of a push. A message is encoded once for all sockets that get it.
func (h *hub) do(op wire.SocketOp) {
	var frame []byte
	if op.Op == wire.OpMessage {
		kind := websocket.TextMessage
		if op.Binary {
			kind = websocket.BinaryMessage
		}
		frame = frameOf(kind, op.Data)
	}
	h.found = h.found[:0]
	h.mu.Lock()
	for id := range op.Sockets.All() {
		if s := h.sockets[string(id)]; s != nil {
			h.found = append(h.found, s)
		}
	}
	h.mu.Unlock()
	for _, s := range h.found {
		switch op.Op {
		case wire.OpMessage:
			s.send(frame)
		case wire.OpAttach:
			s.setAttachment(op.Data)
		case wire.OpClose:
			s.closeForObject(closeInfo{code: op.Code, reason: op.Reason})
		}
	}
	clear(h.found)
}

// which tells a new owner what sockets its object has here.
func (h *hub) which(msg *nats.Msg) {
	var question wire.WhichSockets
	if err := wire.Decode(msg.Data, &question); err != nil || !wire.Answerable(msg.Reply) {
		h.log.Error("question dropped: not understood, or its reply subject is no inbox", "err", err)
		return
	}
	h.admits(question.Object, question.Token)
	h.mu.Lock()
	var sockets []*socket
	if of := h.byObject[question.Object]; of != nil {
		sockets = slices.Clone(of.sockets)
	}
	h.mu.Unlock()
	var held wire.HeldSockets
	for _, s := range sockets {
		if described, ok := s.handOver(); ok {
			held.Sockets = append(held.Sockets, described)
		}
	}
	if err := wire.Publish(h.bus, msg.Reply, &held); err != nil {
		h.log.Warn("sockets not told", "err", err) // the owner asks again, or takes the gateway for dead
	}
}

// answer handles an owner's answer to a frame, or the server's that nobody listens.
// A reply acknowledges frames by its number alone. A code closes the socket besides;
// the close then goes to the owner like any frame, until it is acknowledged.
func (h *hub) answer(subject string, msg *nats.Msg) {
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
		h.log.Error("answer to a frame not understood", "err", err)
		return
	}
	// A host that owns nothing has no token for its Moved; a replaced owner has its own.
	if (reply.Token > 0 || !reply.Moved) && !h.admits(s.object.Key(), reply.Token) {
		return
	}
	switch {
	case reply.Moved && reply.Unsure:
		s.close(closeInfo{code: objects.Unknown.CloseCode(), reason: "the object has moved; whether the last message counted is not known"})
		return
	case reply.Moved:
		s.notTaken(seq)
		return
	}
	s.acknowledge(reply.Seq)
	if reply.Seq < seq {
		s.notTaken(seq) // it was turned away, or frames before it are missing
	}
	if reply.Code != "" {
		s.close(closeInfo{code: reply.Code.CloseCode(), reason: reply.Err().Error()})
	}
}

// frameOf is the socket and the number of the frame that an answer's subject names;
// nil if the socket is gone or the subject names none.
func (h *hub) frameOf(subject string) (*socket, uint64) {
	frame, ok := strings.CutPrefix(subject, "frame.")
	id, number, _ := strings.Cut(frame, ".")
	seq, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return nil, 0
	}
	return h.find(id), seq
}
