package gateway

import (
	"io"
	"sync"
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

	maxPending = 64  // frames of one socket that no owner has settled; beyond it we do not read
	maxQueued  = 512 // messages that wait to be written to one socket
)

// socket is one WebSocket. The reader is Fiber's handler, the writer a goroutine
// that the reader waits for.
type socket struct {
	id     string
	object objects.ID
	hub    *hub
	opened time.Time

	outs chan out      // send puts, the writer takes; never closed
	over chan struct{} // closed by end: the writer says goodbye and stops
	room chan struct{} // signals the reader that pending has shrunk; never closed

	mu         sync.Mutex // guards what follows
	accepted   bool       // the object has said yes
	conn       bool       // the client's connection has come
	live       io.Closer  // that connection, while it is ours
	ended      bool       // over is closed
	closing    out        // what the writer says at the end
	told       bool       // the close is among pending
	queued     int        // bytes in outs
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

// out is a message to write, or with a code the close.
type out struct {
	message *websocket.PreparedMessage
	size    int
	code    int
	reason  string
}

// upgrades tells whether the client wants a WebSocket.
func upgrades(c *fiber.Ctx) bool { return fiberws.IsWebSocketUpgrade(c) }

// upgrade asks the object for a socket and, if it accepts, hands it the
// connection. What the object sends meanwhile waits in the queue.
func (g *Gateway) upgrade(c *fiber.Ctx, id objects.ID, req *wire.Request) error {
	s := &socket{
		id: nuid.Next(), object: id, hub: g.hub, opened: time.Now(),
		outs: make(chan out, maxQueued), over: make(chan struct{}), room: make(chan struct{}, 1),
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
		return respond(c, reply)
	}
	s.mu.Lock()
	s.accepted, s.tags = true, reply.Tags
	s.mu.Unlock()
	err = fiberws.New(func(conn *fiberws.Conn) { s.serve(conn.Conn) }, fiberws.Config{
		ReadBufferSize: 4096, WriteBufferSize: 4096, RecoverHandler: g.recoverSocket,
	})(c)
	if err != nil {
		s.end(websocket.CloseAbnormalClosure, "never opened")
	}
	return err
}

// recoverSocket keeps a panic's text from the client.
func (g *Gateway) recoverSocket(conn *fiberws.Conn) {
	if p := recover(); p != nil {
		ref := nuid.Next()[:10]
		g.log.Error("socket handler panicked", "ref", ref, "panic", p)
		goodbye := websocket.FormatCloseMessage(websocket.CloseInternalServerErr, "the gateway failed (reference "+ref+")")
		conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second)) // it is closed next, said or not
		conn.Close()
	}
}

// serve is the reader; the connection is ours until it returns.
func (s *socket) serve(conn *websocket.Conn) {
	defer conn.Close() // KeepHijackedConns: nobody else does
	gauge := s.hub.g.metrics.sockets.WithLabelValues(s.object.Class())
	gauge.Inc()
	defer gauge.Dec()
	s.hold(conn)
	defer s.hold(nil)

	var writer sync.WaitGroup
	writer.Go(func() { s.write(conn) })
	code, reason := s.read(conn)
	s.end(code, reason)
	writer.Wait()
	s.tell()
	linger(conn, code)
}

// hold notes the connection, or that it is ours no more.
func (s *socket) hold(conn io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.live = true, conn
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
	in := s.hub.g.metrics.frames.WithLabelValues(s.object.Class(), "in")
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

// write is the writer: messages in order, pings, and at the end the close.
func (s *socket) write(conn *websocket.Conn) {
	sent := s.hub.g.metrics.frames.WithLabelValues(s.object.Class(), "out")
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case o := <-s.outs:
			if !s.put(conn, o) {
				conn.Close() // wakes the reader
				return
			}
			sent.Inc()
		case <-ping.C:
			if conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTime)) != nil {
				conn.Close() // wakes the reader
				return
			}
		case <-s.over:
			s.goodbye(conn)
			conn.SetReadDeadline(time.Now().Add(hearTime)) // wakes the reader, if the client does not
			return
		}
	}
}

// put writes one message; false when the connection has ended.
func (s *socket) put(conn *websocket.Conn, o out) bool {
	if o.message == nil {
		s.end(o.code, o.reason)
		return true
	}
	s.mu.Lock()
	s.queued -= o.size
	s.mu.Unlock()
	if err := conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return false
	}
	return conn.WritePreparedMessage(o.message) == nil
}

// goodbye writes what was sent before the end, unless the client is too slow or
// gone, and then the close.
func (s *socket) goodbye(conn *websocket.Conn) {
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	for closing.code != objects.Overloaded.CloseCode() && closing.code != websocket.CloseAbnormalClosure {
		select {
		case o := <-s.outs:
			if o.message != nil && !s.put(conn, o) {
				return
			}
			continue
		default:
		}
		break
	}
	if sendable(closing.code) {
		conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(closing.code, cut(closing.reason)), time.Now().Add(time.Second)) // closed next, said or not
	}
}

// send queues for the writer and never waits. A client that does not keep up is closed.
func (s *socket) send(o out) {
	s.mu.Lock()
	full := s.queued+o.size > s.hub.g.cfg.Limits.Queue
	if !full && !s.ended {
		select {
		case s.outs <- o:
			s.queued += o.size
		default:
			full = true
		}
	}
	s.mu.Unlock()
	if full {
		s.end(objects.Overloaded.CloseCode(), "too slow: messages were waiting to be read")
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
	s.ended, s.closing = true, out{code: code, reason: reason}
	close(s.over)
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
	s.pending = s.pending[n:]
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

// check looks after a socket that has waited: for its connection, or for an
// answer to a frame.
func (s *socket) check(now time.Time) {
	s.mu.Lock()
	lost := !s.conn && !s.ended && now.Sub(s.opened) > attachTime+s.hub.g.timing.Request
	if len(s.pending) > 0 && now.Sub(s.since) > s.hub.g.timing.Silence {
		s.startRecovery()
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
	s.attachment = data
}

func (s *socket) attached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn && !s.ended
}
