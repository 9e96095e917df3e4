package gateway

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// hub knows every socket of this gateway, by id and by object.
type hub struct {
	g    *Gateway
	subs []*nats.Subscription
	work sync.WaitGroup // goroutines that serve and recover sockets
	life context.Context
	stop context.CancelFunc // ends life

	found []*socket // do's, used again by each

	mu       sync.Mutex // guards what follows; taken before a socket's own
	sockets  map[string]*socket
	byObject map[string]*group
	draining bool
	closed   bool          // no goroutine is started any more
	empty    chan struct{} // closed when draining and no socket is left
}

// group is the sockets of one object.
type group struct {
	token   uint64 // of the newest owner heard of; what an older one says is void
	sockets []*socket
}

func newHub(g *Gateway) *hub {
	h := &hub{g: g, sockets: make(map[string]*socket), byObject: make(map[string]*group), empty: make(chan struct{})}
	h.life, h.stop = context.WithCancel(context.Background())
	return h
}

func (h *hub) listen() error {
	nc := h.g.cfg.NATS
	for subject, handler := range map[string]nats.MsgHandler{
		wire.GatewaySubject(h.g.name):              h.push,
		wire.SocketsSubject(h.g.name):              h.which,
		wire.InboxPrefix + h.g.name + ".frame.*.*": h.answer,
	} {
		sub, err := nc.Subscribe(subject, handler)
		if err != nil {
			return fmt.Errorf("listen for owners: %w", err)
		}
		h.subs = append(h.subs, sub)
	}
	if err := nc.FlushTimeout(h.g.timing.Claim); err != nil {
		return fmt.Errorf("listen for owners: %w", err)
	}
	return nil
}

func (h *hub) close() {
	for _, sub := range h.subs {
		sub.Unsubscribe() // fails only when the connection has ended
	}
	h.stop()
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.work.Wait()
}

// serve gives a socket its connection and a goroutine that reads it.
func (h *hub) serve(s *socket, conn *websocket.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		conn.Close() // it has come too late
		return
	}
	h.work.Go(func() { s.serve(conn) })
}

// frameInbox is where the owner answers a frame: the frame is in the subject, so
// that the server's "nobody listens" tells which it was.
func (h *hub) frameInbox(s *socket, seq uint64) string {
	return wire.InboxPrefix + h.g.name + ".frame." + s.id + "." + strconv.FormatUint(seq, 10)
}

// add puts in a socket that its object is about to be asked for; false when the
// gateway is stopping.
func (h *hub) add(s *socket) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return false
	}
	h.sockets[s.id] = s
	of := h.byObject[s.object.Key()]
	if of == nil {
		of = new(group)
		h.byObject[s.object.Key()] = of
	}
	of.sockets = append(of.sockets, s)
	return true
}

func (h *hub) remove(s *socket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sockets[s.id] == nil {
		return
	}
	delete(h.sockets, s.id)
	of := h.byObject[s.object.Key()]
	if i := slices.Index(of.sockets, s); i >= 0 {
		of.sockets = slices.Delete(of.sockets, i, i+1)
	}
	if len(of.sockets) == 0 {
		delete(h.byObject, s.object.Key())
	}
	if h.draining && len(h.sockets) == 0 {
		close(h.empty)
	}
}

func (h *hub) find(id string) *socket {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sockets[id]
}

func (h *hub) all() []*socket {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*socket, 0, len(h.sockets))
	for _, s := range h.sockets {
		all = append(all, s)
	}
	return all
}

// open counts the sockets that a client holds open.
func (h *hub) open() int {
	n := 0
	for _, s := range h.all() {
		if s.attached() {
			n++
		}
	}
	return n
}

// current tells whether the token is the newest owner's, and notes it if newer.
func (h *hub) current(object string, token uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	of := h.byObject[object]
	if of == nil {
		return true
	}
	of.token = max(of.token, token)
	return token == of.token
}

// push does what an owner wants done to sockets. One goroutine runs it, so the
// order is the owner's.
func (h *hub) push(msg *nats.Msg) {
	var push wire.Push
	if err := wire.Decode(msg.Data, &push); err != nil {
		h.g.log.Error("push not understood", "err", err)
		return
	}
	if !h.current(push.Object, push.Token) {
		return
	}
	for _, op := range push.Ops {
		h.do(op)
	}
}

func (h *hub) do(op wire.SocketOp) {
	var message out
	if op.Op == wire.OpMessage {
		kind := websocket.TextMessage
		if op.Binary {
			kind = websocket.BinaryMessage
		}
		message.frame = frameOf(kind, op.Data)
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
			s.send(message)
		case wire.OpAttach:
			s.attach(op.Data)
		case wire.OpClose:
			s.send(out{closing: &closing{op.Code, op.Reason}})
		}
	}
	clear(h.found)
}

// which tells a new owner what sockets its object has here. A socket with a frame
// in the air, whose fate the old owner took along, is closed instead.
func (h *hub) which(msg *nats.Msg) {
	var question wire.WhichSockets
	if err := wire.Decode(msg.Data, &question); err != nil || !wire.Answerable(msg.Reply) {
		h.g.log.Error("question dropped: not understood, or its reply subject is no inbox", "err", err)
		return
	}
	h.current(question.Object, question.Token)
	h.mu.Lock()
	var sockets []*socket
	if of := h.byObject[question.Object]; of != nil {
		sockets = append(sockets, of.sockets...)
	}
	h.mu.Unlock()
	var held wire.HeldSockets
	for _, s := range sockets {
		if described, ok := s.handOver(); ok {
			held.Sockets = append(held.Sockets, described)
		}
	}
	if err := msg.Respond(wire.Encode(&held)); err != nil {
		h.g.log.Warn("sockets not told", "err", err) // the owner takes us for dead, our frames will tell us
	}
}

// answer settles frames.
func (h *hub) answer(msg *nats.Msg) {
	parts := strings.Split(msg.Subject, ".")
	seq, err := strconv.ParseUint(parts[len(parts)-1], 10, 64)
	s := h.find(parts[len(parts)-2])
	if err != nil || s == nil {
		return
	}
	if wire.Nobody(msg) {
		s.notTaken(seq)
		return
	}
	var reply wire.Reply
	if err := wire.Decode(msg.Data, &reply); err != nil {
		h.g.log.Error("answer to a frame not understood", "err", err)
		return
	}
	switch {
	case reply.Moved && reply.Unsure:
		s.end(objects.Unknown.CloseCode(), "the object has moved; whether the last message counted is not known")
	case reply.Moved:
		s.notTaken(seq)
	case !h.current(s.object.Key(), reply.Token):
	case reply.Code != "":
		s.settled(seq)
		s.end(reply.Code.CloseCode(), reply.Err().Error())
	case reply.Gap: // frames before it are missing: they are sent again, and it with them
		s.notTaken(seq)
	default:
		s.settled(reply.Seq)
	}
}

// watch looks after sockets that wait too long: for their client to take the
// connection, or for an owner to settle a frame.
func (h *hub) watch(ctx context.Context) error {
	tick := time.NewTicker(h.g.timing.Silence / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			for _, s := range h.all() {
				s.check(now)
			}
		}
	}
}

// recover has the socket's object owned, and sends again what is pending. One
// goroutine a socket, while there is need. If nobody can be found for as long as a
// request may take, the socket is closed; what is tried on, then, is to tell the
// object of that.
func (h *hub) recover(s *socket) {
	h.work.Go(func() {
		ctx, cancel := context.WithTimeout(h.life, h.g.timing.Request)
		defer cancel()
		for attempt := 0; ctx.Err() == nil; attempt++ {
			owned, err := h.g.client.Activate(ctx, s.object)
			if !owned {
				wire.Pause(ctx, min(250*time.Millisecond, 20*time.Millisecond<<min(attempt, 8)))
			}
			if err == nil && ctx.Err() == nil {
				s.resend() // to whoever owns it; if nobody listens yet, we come back
				return
			}
		}
		s.end(objects.Unavailable.CloseCode(), "nobody owns the object")
		s.giveUp()
	})
}

// drain closes every socket with 1012 and waits until their objects know, or
// until ctx ends.
func (h *hub) drain(ctx context.Context) {
	h.mu.Lock()
	h.draining = true
	if len(h.sockets) == 0 {
		close(h.empty)
	}
	h.mu.Unlock()
	for _, s := range h.all() {
		s.end(websocket.CloseServiceRestart, "the gateway is restarting; connect again")
	}
	select {
	case <-h.empty:
	case <-ctx.Done():
		for _, s := range h.all() {
			s.cutOff()
			s.forget()
		}
	}
}
