package sockets

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"holdfast/internal/planted"
	"holdfast/internal/resume"
	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// attachTime is how long a client's connection may take to come after the object has accepted the socket.
const attachTime = 10 * time.Second

// Socket is one WebSocket. A goroutine reads it while the client is connected.
type Socket struct {
	id       string
	slot     stream.Slot
	object   wire.Address
	hub      *Hub
	began    time.Time
	counters *classCounters

	principal []byte        // of the opener, encoded as package ask does; set before the hub knows the socket
	resumes   bool          // the client speaks the protocol of package resume; likewise
	taken     atomic.Uint64 // messages of its client that its object has taken, of a session
	sent      uint64        // messages to its client, of a session; receive owns it
	auto      *autoResponse // the gateway's automatic answer; set before opened is closed; nil: none
	answered  atomic.Int64  // time of the last automatic answer, in Unix milliseconds; 0: never

	outbox outbox        // to the client
	uplink uplink        // to the object
	opened chan struct{} // closed when the object has accepted the socket
	over   chan struct{} // closed when the socket ends: the reader then stops waiting

	mu         sync.Mutex // guards what follows; taken before the outbox's and the uplink's
	stage      stage
	end        End // how it ended
	accepted   wire.Accepted
	before     uint64 // messages of its client that its object had taken before the socket was opened
	attachment []byte
}

// autoResponse is a text message that the gateway answers by itself.
type autoResponse struct {
	request  []byte
	response string
	frame    []byte // the response, encoded
	apart    []byte // likewise, for a client that counts messages: this one is not
}

func makeSocket(h *Hub, id wire.Address, slot stream.Slot) *Socket {
	counters := h.Metrics.counters(string(id.Class()))
	s := &Socket{
		id: wire.SocketID(h.Name, uint32(slot)), slot: slot, object: id, hub: h, began: time.Now(), counters: counters,
		opened: make(chan struct{}), over: make(chan struct{}),
	}
	s.outbox.limit, s.outbox.written = h.Queue, counters.framesOut
	s.uplink.to, s.uplink.room = s, make(chan struct{}, 1)
	return s
}

// Taken returns how many messages of the client the object has taken, in the socket's session.
func (s *Socket) Taken() uint64 { return s.taken.Load() }

// ID names the socket.
func (s *Socket) ID() string { return s.id }

// accept notes that the object has accepted the socket. A client that knows how a socket
// comes back is told first whether this one does.
func (s *Socket) accept(op *wire.LaneOp, auto *autoResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage != asking {
		return
	}
	advance(&s.stage, accepted, stageEdges[:])
	s.accepted, s.auto, s.sent = op.Accepted, auto, op.Sent
	s.before = op.Taken
	s.taken.Store(op.Taken)
	if s.resumes {
		s.outbox.send(FrameOf(TextFrame, helloOf(op)))
	}
	close(s.opened)
}

// helloOf returns the first message to a client that speaks the protocol of package resume.
func helloOf(op *wire.LaneOp) []byte {
	hello := resume.Hello{
		Back: op.Back, From: op.Sent, Taken: op.Taken, Subprotocol: op.Subprotocol, Auto: op.AutoRequest,
	}
	if op.Session != "" {
		hello.Token, hello.Time = resume.TokenOf(op.Session, op.Secret), op.Return
	}
	data, err := json.Marshal(hello)
	if err != nil {
		panic(err) // our own type always encodes
	}
	return append([]byte{0, resume.HelloKind}, data...)
}

// AwaitOpen waits until the socket's stream opens the socket, which is mostly
// before the answer comes. It reports false if the stream does not open it.
func (s *Socket) AwaitOpen(ctx context.Context) bool {
	select {
	case <-s.opened:
		return true
	default:
	}
	timer := time.NewTimer(s.hub.Timing.Request)
	defer timer.Stop()
	select {
	case <-s.opened:
		return true
	case <-s.over:
	case <-timer.C:
	case <-ctx.Done():
	}
	s.Abandon()
	return false
}

// Abandon ends a socket whose client does not get it.
func (s *Socket) Abandon() {
	s.Close(End{Code: closeAbnormal, Reason: "never opened", Discard: true})
}

// serve reads the socket until its connection has ended, and closes the connection.
func (s *Socket) serve(c Client) {
	defer c.Close()
	s.counters.sockets.Inc()
	defer s.counters.sockets.Dec()
	s.attach(c)
	how := s.read(c)
	s.Close(how)
	s.outbox.wait()
	s.hub.end(s)
	linger(c, how.Code)
}

// attach gives the socket its connection. Frames that were sent before are written
// now. A socket that has ended meanwhile writes its close.
func (s *Socket) attach(c Client) {
	s.mu.Lock()
	if s.stage == accepted {
		advance(&s.stage, open, stageEdges[:])
	}
	s.mu.Unlock()
	s.outbox.attach(c, time.Now())
	if last := s.outbox.close(); last != nil {
		s.Close(*last)
	}
}

// read takes frames until the connection ends, and returns how it did. A panic ends
// the connection; the client does not see its text.
func (s *Socket) read(c Client) (how End) {
	defer func() {
		if p := recover(); p != nil {
			ref := wire.NewReference()
			s.hub.Log.Error("socket handler panicked", "ref", ref, "panic", p, "stack", string(debug.Stack()))
			how = End{Code: closeInternal, Reason: "the gateway failed (reference " + ref + ")", Fault: objects.Internal}
		}
	}()
	for {
		s.ExtendDeadline(c)
		binary, data, err := c.Receive()
		if err != nil {
			return c.Ended(err)
		}
		s.counters.framesIn.Inc()
		if !binary && !utf8.Valid(data) {
			return End{Code: closeInvalid, Reason: "a text message must be UTF-8", Fault: objects.Invalid}
		}
		if s.resumes {
			kind, rest := resume.Read(data)
			if kind == resume.PingKind {
				s.send(FrameOf(TextFrame, fmt.Appendf([]byte{0, resume.TakenKind}, "%d", s.taken.Load())))
				continue
			}
			if kind != resume.Escaped {
				return End{Code: closeProtocol, Reason: "a message begins with a zero byte, and is none that the gateway knows", Discard: true, Fault: objects.Invalid}
			}
			data = rest
		}
		if !binary && s.auto != nil && bytes.Equal(data, s.auto.request) {
			s.autoRespond()
			continue
		}
		if !s.submit(&wire.Request{Kind: wire.Message, Binary: binary, Body: data}) {
			awaitPeerClose(c)
			return End{Code: closeAbnormal} // the socket has ended for a reason of its own
		}
	}
}

// autoRespond answers the client without its object. The owner is told later, in one
// message for many sockets.
func (s *Socket) autoRespond() {
	s.answered.Store(time.Now().UnixMilli())
	s.counters.answered.Inc()
	if s.resumes {
		s.send(s.auto.apart)
	} else {
		s.send(s.auto.frame)
	}
	s.hub.noteAnswered(s)
}

// Ping answers a client's ping.
func (s *Socket) Ping(text string) { s.send(FrameOf(pongMessage, []byte(text))) }

// ExtendDeadline extends the read deadline until the next ping and its answer. It extends nothing
// for a socket that has ended.
func (s *Socket) ExtendDeadline(c Client) {
	select {
	case <-s.over:
	default:
		c.ReadUntil(time.Now().Add(pingEvery + pongWithin))
	}
}

// send queues a frame for the client. A client that does not keep up is closed.
func (s *Socket) send(frame []byte) {
	if !s.outbox.send(frame) {
		s.Close(End{Code: objects.Overloaded.CloseCode(), Reason: "too slow: messages were waiting to be read", Discard: true, Fault: objects.TooMany})
	}
}

// submit sends a frame to the object as soon as the window has room. It reports
// false if the socket ends first.
func (s *Socket) submit(req *wire.Request) bool {
	req.Gateway, req.Socket, req.Principal = s.hub.Name, s.id, s.principal
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
func (s *Socket) number(req *wire.Request) bool {
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
func (s *Socket) transmit(seq uint64, payload []byte) error {
	return s.hub.bus.PublishRequest(wire.ObjectSubject(s.object.ID), wire.FrameSubject(s.hub.Name, s.id, seq), payload)
}

// Close ends the socket; only the first close counts. The outbox writes the close to the
// client. The object's close frame is sent when the connection has ended or, if there
// was no connection, now.
func (s *Socket) Close(how End) {
	s.mu.Lock()
	unattached := s.stage != open
	ended := s.beginClose(how)
	s.mu.Unlock()
	if ended && unattached {
		s.hub.end(s)
	}
}

// closeForObject is Close on behalf of the object. If the client's connection has not
// come, the client must still get the messages before the close: the close waits in
// the outbox, and the socket ends when the connection comes.
func (s *Socket) closeForObject(how End) {
	how.final = true
	s.mu.Lock()
	early := s.stage == asking || s.stage == accepted
	if early {
		s.outbox.finish(how)
	}
	s.mu.Unlock()
	if !early {
		s.Close(how)
	}
}

// beginClose is Close without what follows. It reports false if the socket had ended.
// With mu held.
func (s *Socket) beginClose(how End) bool {
	if s.stage.ended() {
		return false
	}
	advance(&s.stage, closing, stageEdges[:])
	s.end = how
	close(s.over)
	s.outbox.finish(how)
	s.hub.Metrics.closes.WithLabelValues(string(s.object.Class()), closeLabel(how.Code)).Inc()
	return true
}

// sendClosed sends the object the end of the socket, as its last frame. With alone it is
// the only frame: all others are dropped.
func (s *Socket) sendClosed(seq uint64, alone bool) {
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
		Kind: wire.Closed, Gateway: s.hub.Name, Socket: s.id, Principal: s.principal, Seq: seq, Time: time.Now().UnixMilli(),
		Code: end.Code, Reason: cut(end.Reason), Clean: end.Code != closeAbnormal, Fault: end.Fault, Final: end.final,
	}, alone)
	s.uplink.transmit()
}

// notTaken notes that one transmission of a frame was not taken.
func (s *Socket) notTaken(seq uint64) {
	if s.uplink.notTaken(seq) {
		s.hub.recover(s)
	}
}

// forget ends the socket, because its object knows of the end.
func (s *Socket) forget() {
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
func (s *Socket) check(now time.Time) {
	if s.uplink.overdue(now, s.hub.Timing.Silence) {
		s.hub.recover(s)
	}
	switch s.stageNow() {
	case open:
		s.outbox.ping(now)
	case asking, accepted:
		if now.Sub(s.began) > attachTime+s.hub.Timing.Request {
			s.Abandon()
		}
	}
}

// stageNow returns the socket's stage.
func (s *Socket) stageNow() stage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage
}

// setAttachment keeps what the object has attached to the socket, for its next owner.
func (s *Socket) setAttachment(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attachment = slices.Clone(data) // alone, without the message it came in
}

// describe returns the socket's part of the answer to a new owner.
func (s *Socket) describe(held stream.HeldSocket) wire.LaneSocket {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := wire.LaneSocket{
		Slot: uint32(held.Slot), Acked: held.Acked, Attachment: s.attachment, Principal: s.principal,
		Answered: s.answered.Load(), Accepted: s.accepted,
	}
	if s.accepted.Session != "" {
		told.Lost = s.end.lost
		told.Counts = wire.Counts{Sent: s.sent, Taken: s.before + held.Acked}
		if s.auto != nil {
			told.AutoRequest, told.AutoResponse = string(s.auto.request), s.auto.response
		}
	}
	return told
}

// acknowledged notes that frames up to a number are acknowledged.
func (s *Socket) acknowledged(frame uint64) {
	s.uplink.acknowledge(frame)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken.Store(s.before + frame)
}
