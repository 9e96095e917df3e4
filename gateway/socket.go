package gateway

import (
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/fasthttp/websocket"
	fiberws "github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nuid"

	"holdfast/internal/wire"
	"holdfast/objects"
)

const (
	pingEvery  = 25 * time.Second
	pongWithin = 10 * time.Second
	writeTime  = 10 * time.Second
	attachTime = 10 * time.Second // from the object's yes to the client's connection
	hearTime   = time.Second      // for the client's close to answer ours

	maxPending = 64 // frames of one socket that no owner has settled; beyond it we do not read
)

// socket is one WebSocket. Its reader is a goroutine for as long as it is open, its
// writer one while there is something to write.
type socket struct {
	id     string
	object objects.ID
	hub    *hub
	opened time.Time

	over     chan struct{} // closed by end: the writer says goodbye and stops
	room     chan struct{} // signals the reader that pending has shrunk; never closed
	writer   sync.WaitGroup
	answered atomic.Bool // the client has closed, and was answered: nothing may follow

	mu         sync.Mutex      // guards what follows
	accepted   bool            // the object has said yes
	conn       bool            // the client's connection has come
	live       *websocket.Conn // that connection, while it is ours
	ended      bool            // over is closed
	closing    closing         // what the writer says at the end
	told       bool            // the close is among pending
	waiting    []out           // to be written, in order
	queued     int             // bytes that wait or are being written
	count      int             // messages that do
	writing    bool            // there is a writer, or there will never be one
	ping       bool            // is to be written
	pinged     time.Time
	tags       []string
	attachment []byte
	last       uint64    // number of the newest frame
	pending    []frame   // not settled, in order
	since      time.Time // when the oldest of them was sent
	recovering bool      // hub.recover is at work
}

// frame is one event of a socket on its way to the object.
type frame struct {
	seq     uint64
	payload []byte
	air     int // sendings of which it is not known that they were not taken
}

// upgrades tells whether the client wants a WebSocket.
func upgrades(c *fiber.Ctx) bool { return fiberws.IsWebSocketUpgrade(c) }

// upgrade asks the object for a socket and, if it accepts, hands it the
// connection. What the object sends meanwhile waits in the queue.
func (g *Gateway) upgrade(c *fiber.Ctx, id objects.ID, req *wire.Request, prefix string) error {
	s := &socket{
		id: nuid.Next(), object: id, hub: g.hub, opened: time.Now(),
		over: make(chan struct{}), room: make(chan struct{}, 1),
	}
	if !g.hub.add(s) {
		return objects.Errorf(objects.Unavailable, "the gateway is stopping")
	}
	req.Socket, req.Region = s.id, g.cfg.Region
	reply, err := g.ask(c.UserContext(), c, id, req)
	switch {
	case err != nil && objects.CodeOf(err) == objects.Unknown:
		s.end(websocket.CloseAbnormalClosure, "never opened") // the object may have accepted it
		return err
	case err != nil:
		g.hub.remove(s)
		return err
	case reply.Status != fiber.StatusSwitchingProtocols:
		g.hub.remove(s)
		return respond(c, reply, prefix)
	}
	s.mu.Lock()
	s.accepted, s.tags = true, reply.Tags
	s.mu.Unlock()
	// The library's own connection outlives the handler, and what the handshake has
	// taken up is free again: fasthttp keeps its hands off (KeepHijackedConns), and
	// only Fiber's wrapper is used again for somebody else.
	err = fiberws.New(func(conn *fiberws.Conn) { g.hub.serve(s, conn.Conn) }, fiberws.Config{
		Subprotocols:   copyHandshake(c, reply.Header, prefix),
		ReadBufferSize: readBuffer, WriteBufferSize: writeBuffer, WriteBufferPool: &writeBuffers,
	})(c)
	if err != nil {
		s.end(websocket.CloseAbnormalClosure, "never opened")
	}
	return err
}

// Buffers of the library. It reads what is longer past its own; of what we write
// only pings and closes go through it, and those need none.
const readBuffer, writeBuffer = 512, 512

var writeBuffers sync.Pool

// recover ends a connection whose reader has panicked, and keeps the panic's text
// from the client.
func (s *socket) recover(conn *websocket.Conn) {
	if p := recover(); p != nil {
		ref := wire.NewReference()
		s.hub.g.log.Error("socket handler panicked", "ref", ref, "panic", p, "stack", string(debug.Stack()))
		goodbye := websocket.FormatCloseMessage(websocket.CloseInternalServerErr, "the gateway failed (reference "+ref+")")
		conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second)) // it is closed next, said or not
		conn.Close()
	}
}

// serve is the reader; the connection is ours until it returns.
func (s *socket) serve(conn *websocket.Conn) {
	defer conn.Close() // nobody else does
	defer s.recover(conn)
	gauge := s.hub.g.metrics.sockets.WithLabelValues(s.object.Class())
	gauge.Inc()
	defer gauge.Dec()
	s.hold(conn)
	defer s.hold(nil)

	code, reason := s.read(conn)
	s.end(code, reason)
	s.writer.Wait()
	s.tell()
	linger(conn, code)
}

// hold notes the connection, or that it is ours no more. What was sent before it
// came is written now.
func (s *socket) hold(conn *websocket.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.live, s.pinged = true, conn, time.Now()
	if len(s.waiting) > 0 || s.ended {
		s.wakeWriter()
	}
}

// cutOff ends a connection whose client does not take what is written.
func (s *socket) cutOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != nil {
		s.live.Close() // its reader and its writer see it
	}
}

// read takes frames until the connection ends, and says how it did.
func (s *socket) read(conn *websocket.Conn) (code int, reason string) {
	conn.SetReadLimit(int64(s.hub.g.cfg.Limits.Frame))
	alive := func() {
		select {
		case <-s.over: // pongs do not keep what has ended
		default:
			conn.SetReadDeadline(time.Now().Add(pingEvery + pongWithin)) // fails only on a closed connection
		}
	}
	conn.SetPongHandler(func(string) error { alive(); return nil })
	conn.SetPingHandler(func(text string) error {
		s.send(out{frame: frameOf(websocket.PongMessage, []byte(text))})
		return nil
	})
	answer := conn.CloseHandler()
	conn.SetCloseHandler(func(code int, text string) error {
		s.answered.Store(true)
		return answer(code, text)
	})
	in := s.hub.g.metrics.of(s.object.Class()).framesIn
	for {
		alive()
		kind, data, err := conn.ReadMessage()
		if err != nil {
			return ending(err)
		}
		in.Inc()
		if kind == websocket.TextMessage && !utf8.Valid(data) {
			return websocket.CloseInvalidFramePayloadData, "a text message must be UTF-8"
		}
		if !s.submit(&wire.Request{Kind: wire.Message, Binary: kind == websocket.BinaryMessage, Body: data}) {
			hearOut(conn)
			return websocket.CloseAbnormalClosure, "" // it has ended already, for a reason of its own
		}
	}
}

// end closes the socket, once. The object is told when the connection is gone or,
// if it never came, now.
func (s *socket) end(code int, reason string) {
	s.mu.Lock()
	first := s.endNow(code, reason)
	came := s.conn
	s.mu.Unlock()
	if first && !came {
		s.tell()
	}
}

// endNow is end with mu held, less the telling.
func (s *socket) endNow(code int, reason string) bool {
	if s.ended {
		return false
	}
	s.ended, s.closing = true, closing{code, reason}
	close(s.over)
	s.wakeWriter()
	s.hub.g.metrics.closes.WithLabelValues(s.object.Class(), codeLabel(code)).Inc()
	return true
}

// tell sends the object the close, as the last of the socket's frames.
func (s *socket) tell() {
	s.mu.Lock()
	again := s.told
	s.told = true
	closing := s.closing
	s.mu.Unlock()
	if again {
		return
	}
	s.enqueue(&wire.Request{
		Kind: wire.Closed, Code: closing.code, Reason: cut(closing.reason), Clean: closing.code != websocket.CloseAbnormalClosure,
	})
}

// submit sends a frame to the object, having waited until not too many are
// pending; false when the socket ended first.
func (s *socket) submit(req *wire.Request) bool {
	for {
		s.mu.Lock()
		full := len(s.pending) >= maxPending
		s.mu.Unlock()
		if !full {
			break
		}
		select {
		case <-s.room:
		case <-s.over:
			return false
		}
	}
	select {
	case <-s.over:
		return false
	default:
		s.enqueue(req)
		return true
	}
}

func (s *socket) enqueue(req *wire.Request) {
	g := s.hub.g
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended && req.Kind != wire.Closed {
		return // the close is the last that the object hears
	}
	s.last++
	req.Gateway = g.name
	req.Socket, req.Seq = s.id, s.last
	s.pending = append(s.pending, frame{seq: s.last, payload: wire.Encode(req)})
	if !s.recovering {
		s.fly(len(s.pending) - 1)
	}
}

// fly sends the pending frames from the i-th on. With mu held, so that they leave
// in order.
func (s *socket) fly(i int) {
	nc := s.hub.g.cfg.NATS
	for ; i < len(s.pending); i++ {
		f := &s.pending[i]
		if err := nc.PublishRequest(wire.ObjectSubject(s.object), s.hub.frameInbox(s, f.seq), f.payload); err != nil {
			return // check sends it again
		}
		f.air++
		if i == 0 {
			s.since = time.Now()
		}
	}
}

// settled drops the frames up to seq: the object has handled them, durably.
func (s *socket) settled(seq uint64) {
	s.mu.Lock()
	n := 0
	for n < len(s.pending) && s.pending[n].seq <= seq {
		n++
	}
	if s.pending = s.pending[n:]; len(s.pending) == 0 {
		s.pending = nil
	}
	s.since = time.Now()
	finished := s.told && len(s.pending) == 0
	s.mu.Unlock()
	if n > 0 {
		select {
		case s.room <- struct{}{}:
		default:
		}
	}
	if finished {
		s.hub.remove(s)
	}
}

// notTaken notes that one sending of the frame seq was not taken. Only when all of
// its sendings were not, the frame certainly did not happen.
func (s *socket) notTaken(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.pending {
		if s.pending[i].seq == seq {
			s.pending[i].air = max(0, s.pending[i].air-1)
			s.startRecovery()
		}
	}
}

// startRecovery has the hub find an owner. With mu held.
func (s *socket) startRecovery() {
	if !s.recovering {
		s.recovering = true
		s.hub.recover(s)
	}
}

// resend sends all that is pending, in order, and ends the recovery. An owner
// that had taken a frame already says so.
func (s *socket) resend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recovering = false
	s.fly(0)
}

// giveUp ends a recovery that came to nothing; check begins another.
func (s *socket) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recovering = false
}

// check looks after a socket that has waited: for its connection, for an answer to
// a frame, or for its client to say a word.
func (s *socket) check(now time.Time) {
	s.mu.Lock()
	lost := !s.conn && !s.ended && now.Sub(s.opened) > attachTime+s.hub.g.timing.Request
	if len(s.pending) > 0 && now.Sub(s.since) > s.hub.g.timing.Silence {
		s.startRecovery()
	}
	if s.live != nil && !s.ended && now.Sub(s.pinged) >= pingEvery {
		s.ping, s.pinged = true, now
		s.wakeWriter()
	}
	s.mu.Unlock()
	if lost {
		s.end(websocket.CloseAbnormalClosure, "never opened")
	}
}

// handOver describes the socket to a new owner. If a frame is in the air the new
// owner cannot know its fate: the socket is closed, and the new owner gets nothing
// of it but the close. The close of a socket that has ended may be told twice. It
// is false for a socket that no owner has accepted: the request to do so is still
// on its way.
func (s *socket) handOver() (wire.HeldSocket, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.accepted {
		return wire.HeldSocket{}, false
	}
	for i := range s.pending {
		if s.pending[i].air > 0 && !s.ended {
			s.endNow(objects.Unknown.CloseCode(), "the object's host was lost; whether the last message counted is not known")
			if !s.conn {
				s.hub.work.Go(s.tell)
			}
		}
	}
	described := wire.HeldSocket{ID: s.id, Region: s.hub.g.cfg.Region, Tags: s.tags, Attachment: s.attachment}
	switch {
	case s.told:
		s.pending = s.pending[max(0, len(s.pending)-1):]
		described.Next = s.last
	case s.ended:
		s.pending = nil
		described.Next = s.last + 1
	case len(s.pending) > 0:
		described.Next = s.pending[0].seq
	default:
		described.Next = s.last + 1
	}
	return described, true
}

// forget gives up telling the object anything.
func (s *socket) forget() {
	s.mu.Lock()
	s.told, s.pending = true, nil
	s.mu.Unlock()
	s.hub.remove(s)
}

func (s *socket) attach(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attachment = slices.Clone(data) // alone, without the message it came in
}

func (s *socket) attached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn && !s.ended
}
