package gateway

import (
	"bytes"
	"context"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/fasthttp/websocket"
	fiberws "github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"

	"holdfast/internal/planted"
	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// attachTime is how long a client's connection may take to come after the object has accepted the socket.
const attachTime = 10 * time.Second

// socket is one WebSocket. A goroutine reads it while the client is connected.
type socket struct {
	id       string
	slot     stream.Slot
	object   wire.Address
	hub      *hub
	began    time.Time
	counters *classCounters

	principal []byte        // who opened it, as ask has it; set before the hub knows the socket
	auto      *autoResponse // what is answered by the gateway itself; set before opened is closed; nil: nothing
	answered  atomic.Int64  // when that was done last, in Unix milliseconds; 0: never

	outbox outbox        // to the client
	uplink uplink        // to the object
	opened chan struct{} // closed when the object has accepted the socket
	over   chan struct{} // closed when the socket ends: the reader waits for nothing then

	mu         sync.Mutex // guards what follows; taken before the outbox's and the uplink's
	stage      stage
	end        closeInfo // how it ended
	accepted   wire.Accepted
	attachment []byte
}

// autoResponse is a text message that the gateway answers by itself.
type autoResponse struct {
	request  []byte
	response string
	frame    []byte // the response, encoded
}

func newSocket(h *hub, id wire.Address) *socket {
	return makeSocket(h, id, stream.Slot(h.slots.Add(1)))
}

func makeSocket(h *hub, id wire.Address, slot stream.Slot) *socket {
	counters := h.metrics.of(string(id.Class()))
	s := &socket{
		id: wire.SocketID(h.name, uint32(slot)), slot: slot, object: id, hub: h, began: time.Now(), counters: counters,
		opened: make(chan struct{}), over: make(chan struct{}),
	}
	s.outbox.limit, s.outbox.written = h.queueLimit, counters.framesOut
	s.uplink.to, s.uplink.room = s, make(chan struct{}, 1)
	return s
}

// upgrades reports whether the client wants a WebSocket.
func upgrades(c *fiber.Ctx) bool { return fiberws.IsWebSocketUpgrade(c) }

// upgrade asks the object for a socket and, if the object accepts, hands the
// connection over. What the object sends meanwhile waits in the outbox.
func (g *Gateway) upgrade(c *fiber.Ctx, scope *requestScope, id wire.Address, req *wire.Request, prefix string) error {
	s := newSocket(g.hub, id)
	s.principal = req.Principal
	if !g.hub.add(s) {
		return objects.Errorf(objects.Unavailable, "the gateway is stopping")
	}
	neverOpened := closeInfo{code: websocket.CloseAbnormalClosure, reason: "never opened", discard: true}
	req.Socket, req.Region, req.Key = s.id, g.cfg.Region, "" // each connection is a socket of its own
	reply, err := g.send(c.UserContext(), scope, id, req)
	switch {
	case err != nil:
		s.close(neverOpened) // if the object has accepted it, the stream will say so, and be answered
		return err
	case reply.Status != fiber.StatusSwitchingProtocols:
		s.close(neverOpened)
		return respond(c, reply, prefix)
	case !s.awaitOpen(c.UserContext()):
		return objects.Errorf(objects.Unknown, "the object's host was lost as the socket opened; connect again")
	}
	// fasthttp leaves the connection alone when the handler returns (KeepHijackedConns).
	// Fiber's wrapper of it is used again for somebody else.
	connected := func(conn *fiberws.Conn) { g.hub.serve(s, s.client(conn.Conn)) }
	err = fiberws.New(connected, fiberws.Config{
		Subprotocols:   copyHandshake(c, reply.Header, prefix),
		ReadBufferSize: readBuffer, WriteBufferSize: writeBuffer, WriteBufferPool: &writeBuffers,
	})(c)
	if err != nil {
		s.close(neverOpened)
	}
	return err
}

// client prepares the connection of the socket's client.
func (s *socket) client(conn *websocket.Conn) client {
	c := wsClient{conn}
	c.prepare(s.hub.frameLimit,
		func(text string) { s.send(frameOf(websocket.PongMessage, []byte(text))) },
		func() { s.alive(c) })
	return c
}

// accept notes that the object has accepted the socket.
func (s *socket) accept(as wire.Accepted, auto *autoResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage == asking {
		advance(&s.stage, accepted, stageEdges[:])
		s.accepted, s.auto = as, auto
		close(s.opened)
	}
}

// awaitOpen waits until the stream says that the socket is open, which is mostly
// before the answer does. It reports false if that does not come.
func (s *socket) awaitOpen(ctx context.Context) bool {
	timer := time.NewTimer(s.hub.timing.Request)
	defer timer.Stop()
	select {
	case <-s.opened:
		return true
	case <-s.over:
	case <-timer.C:
	case <-ctx.Done():
	}
	s.close(closeInfo{code: websocket.CloseAbnormalClosure, reason: "never opened", discard: true})
	return false
}

// serve reads the socket until its connection has ended, and closes the connection.
func (s *socket) serve(c client) {
	defer c.close()
	s.counters.sockets.Inc()
	defer s.counters.sockets.Dec()
	s.attach(c)
	how := s.read(c)
	s.close(how)
	s.outbox.wait()
	s.hub.end(s)
	linger(c, how.code)
}

// attach gives the socket its connection. What was sent before it came is written
// now. A socket that has ended meanwhile writes its close.
func (s *socket) attach(c client) {
	s.mu.Lock()
	if s.stage == accepted {
		advance(&s.stage, open, stageEdges[:])
	}
	s.mu.Unlock()
	s.outbox.attach(c, time.Now())
	if last := s.outbox.close(); last != nil {
		s.close(*last)
	}
}

// read takes frames until the connection ends, and returns how it did. A panic ends
// the connection; the client does not see its text.
func (s *socket) read(c client) (how closeInfo) {
	defer func() {
		if p := recover(); p != nil {
			ref := wire.NewReference()
			s.hub.log.Error("socket handler panicked", "ref", ref, "panic", p, "stack", string(debug.Stack()))
			how = closeInfo{code: websocket.CloseInternalServerErr, reason: "the gateway failed (reference " + ref + ")", fault: objects.Internal}
		}
	}()
	for {
		s.alive(c)
		binary, data, err := c.receive()
		if err != nil {
			return closeOf(err, s.hub.frameLimit)
		}
		s.counters.framesIn.Inc()
		if !binary && !utf8.Valid(data) {
			return closeInfo{code: websocket.CloseInvalidFramePayloadData, reason: "a text message must be UTF-8", fault: objects.Invalid}
		}
		if !binary && s.auto != nil && bytes.Equal(data, s.auto.request) {
			s.autoRespond()
			continue
		}
		if !s.submit(&wire.Request{Kind: wire.Message, Binary: binary, Body: data}) {
			awaitPeerClose(c)
			return closeInfo{code: websocket.CloseAbnormalClosure} // the socket has ended for a reason of its own
		}
	}
}

// autoRespond answers the client without its object. The owner is told later, in one
// message for many sockets.
func (s *socket) autoRespond() {
	s.answered.Store(time.Now().UnixMilli())
	s.counters.answered.Inc()
	s.send(s.auto.frame)
	s.hub.noteAnswered(s)
}

// alive extends the read deadline until the next ping and its answer. It extends nothing
// for a socket that has ended.
func (s *socket) alive(c client) {
	select {
	case <-s.over:
	default:
		c.readUntil(time.Now().Add(pingEvery + pongWithin))
	}
}

// send queues a frame for the client. A client that does not keep up is closed.
func (s *socket) send(frame []byte) {
	if !s.outbox.send(frame) {
		s.close(closeInfo{objects.Overloaded.CloseCode(), "too slow: messages were waiting to be read", true, objects.TooMany})
	}
}

// submit sends a frame to the object as soon as the window has room. It reports
// false if the socket ends first.
func (s *socket) submit(req *wire.Request) bool {
	req.Gateway, req.Socket, req.Principal = s.hub.name, s.id, s.principal
	req.Time = time.Now().UnixMilli()
	for s.uplink.full() {
		select {
		case <-s.uplink.room:
		case <-s.over:
			return false
		}
	}
	if !s.number(req) {
		return false
	}
	s.uplink.transmit()
	return true
}

// number gives a frame its number. It reports false if the socket has ended.
func (s *socket) number(req *wire.Request) bool {
	g := s.hub.lock(s.object.Key(), false)
	if g == nil {
		return false
	}
	defer g.mu.Unlock()
	select {
	case <-s.over:
		return false
	default:
	}
	seq, ok := g.stream.Frame(s.slot)
	if ok {
		req.Seq = seq
		s.uplink.add(req, false)
	}
	return ok
}

// transmit publishes a frame towards the object's owner.
func (s *socket) transmit(seq uint64, payload []byte) error {
	return s.hub.bus.PublishRequest(wire.ObjectSubject(s.object.ID), wire.FrameSubject(s.hub.name, s.id, seq), payload)
}

// close ends the socket; only the first close counts. The outbox writes the close to the
// client. The object's close frame is sent when the connection has ended or, if there
// was no connection, now.
func (s *socket) close(how closeInfo) {
	s.mu.Lock()
	unattached := s.stage != open
	ended := s.beginClose(how)
	s.mu.Unlock()
	if ended && unattached {
		s.hub.end(s)
	}
}

// closeForObject is close on behalf of the object. If the client's connection has not
// come, the client is still to get what was sent before the close: the close waits in
// the outbox, and the socket ends when the connection comes.
func (s *socket) closeForObject(how closeInfo) {
	s.mu.Lock()
	early := s.stage == asking || s.stage == accepted
	if early {
		s.outbox.finish(how)
	}
	s.mu.Unlock()
	if !early {
		s.close(how)
	}
}

// beginClose is close without what follows. It reports false if the socket had ended.
// With mu held.
func (s *socket) beginClose(how closeInfo) bool {
	if s.stage.ended() {
		return false
	}
	advance(&s.stage, closing, stageEdges[:])
	s.end = how
	close(s.over)
	s.outbox.finish(how)
	s.hub.metrics.closes.WithLabelValues(string(s.object.Class()), closeLabel(how.code)).Inc()
	return true
}

// sendClosed sends the object the end of the socket, as its last frame. With alone it is
// the only frame: all others are dropped.
func (s *socket) sendClosed(seq uint64, alone bool) {
	s.mu.Lock()
	if s.stage == closing {
		advance(&s.stage, closed, stageEdges[:])
	}
	end := s.end
	s.mu.Unlock()
	if planted.FarewellLost {
		return
	}
	s.uplink.add(&wire.Request{
		Kind: wire.Closed, Gateway: s.hub.name, Socket: s.id, Principal: s.principal, Seq: seq, Time: time.Now().UnixMilli(),
		Code: end.code, Reason: cut(end.reason), Clean: end.code != websocket.CloseAbnormalClosure, Fault: end.fault,
	}, alone)
	s.uplink.transmit()
}

// notTaken notes that one sending of a frame was not taken.
func (s *socket) notTaken(seq uint64) {
	if s.uplink.notTaken(seq) {
		s.hub.recover(s)
	}
}

// forget ends the socket: its object knows of the end.
func (s *socket) forget() {
	s.mu.Lock()
	if s.stage != gone {
		advance(&s.stage, gone, stageEdges[:])
	}
	s.mu.Unlock()
	s.uplink.end()
	s.hub.remove(s)
}

// check ends or recovers a socket that has waited too long: for its connection, for an
// answer to a frame, or for bytes from its client.
func (s *socket) check(now time.Time) {
	if s.uplink.overdue(now, s.hub.timing.Silence) {
		s.hub.recover(s)
	}
	switch s.stageNow() {
	case open:
		s.outbox.ping(now)
	case asking, accepted:
		if now.Sub(s.began) > attachTime+s.hub.timing.Request {
			s.close(closeInfo{code: websocket.CloseAbnormalClosure, reason: "never opened", discard: true})
		}
	}
}

// stageNow is the socket's stage.
func (s *socket) stageNow() stage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage
}

// setAttachment keeps what the object has attached to the socket, for its next owner.
func (s *socket) setAttachment(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attachment = slices.Clone(data) // alone, without the message it came in
}

// describe returns the socket's part of the answer to a new owner.
func (s *socket) describe(held stream.HeldSocket) wire.LaneSocket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return wire.LaneSocket{
		Slot: uint32(held.Slot), Settled: held.Settled, Attachment: s.attachment, Principal: s.principal,
		Answered: s.answered.Load(), Accepted: s.accepted,
	}
}
