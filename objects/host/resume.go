package host

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/resume"
	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/internal/engine"
)

// Sockets that come back. Package resume decides what a session gets that comes back; this file applies that to the
// object's sockets, streams and record. The object's lock guards the sessions. Only the event loop changes them, but
// for notes of what is sent.

const (
	handedOver = 64 << 10 // bytes of a window that the next owner gets
	maxAway    = 4 << 20  // bytes of entries of sessions that are away; beyond it no further session may be away
)

// writeAway writes the entry of a session that is away; nil removes it. With mu held, by the
// event loop.
func (s *sockets) writeAway(m *memory, id string, value []byte) {
	key := engine.SessionsAt + id
	before, _ := m.Reserved().Get(key)
	s.away += len(value) - len(before)
	m.Apply([]engine.Write{{Key: key, Value: value}})
}

// closeMoved is the close code of a socket whose session has come back elsewhere.
const closeMoved = 4408

// makeSessions returns the object's sessions, made if need be.
func (s *sockets) makeSessions() *resume.Sessions {
	if s.sessions == nil {
		settings := resume.Settings{Bytes: s.resume.Bytes, Time: s.resume.Time}
		if settings.Bytes == 0 {
			settings.Bytes = resume.DefaultWindow
		}
		s.sessions = resume.New(settings)
	}
	return s.sessions
}

// next returns when the first session ends that is away; zero: none is away.
func (s *sockets) next() time.Time {
	if s == nil || s.sessions == nil {
		return time.Time{}
	}
	return s.sessions.Next()
}

// noteSession adds a socket's session to its details. It returns the socket's id for the object.
func (s *sockets) noteSession(info engine.SocketInfo, details *record.Socket) string {
	id := wire.SocketID(info.Gateway, info.Slot)
	if one := s.sessions.Find(info.ID); one != nil {
		details.Secret = one.Secret
	}
	if id != info.ID {
		details.Session = info.ID
	}
	return id
}

// openSession gives a socket a session, so that the socket may come back.
func (s *sockets) openSession(socket *engine.Socket) {
	secret := make([]byte, resume.SecretSize)
	rand.Read(secret) // never fails
	info := socket.Info()
	socket.Number(uint32(s.makeSessions().Open(info.ID, secret, placeOf(info))))
}

func placeOf(info engine.SocketInfo) resume.Place {
	return resume.Place{Gateway: info.Gateway, Slot: info.Slot}
}

// tookFrame notes that a message of a client was taken. It reports false if the socket's session is elsewhere: the
// client sends the message again from there.
func (s *sockets) tookFrame(ev event) bool {
	ss := s.sessions
	if ss == nil {
		return true
	}
	at := resume.Place{Gateway: ev.gateway, Slot: ev.slot}
	if ss.Detached(at) {
		return false
	}
	ss.Took(at)
	return true
}

// endSession ends the session of a socket, if it has one. It returns the socket's id for the object.
func (s *sockets) endSession(gateway string, slot uint32) string {
	socket := s.idAt(gateway, slot)
	if s.sessions != nil {
		s.sessions.End(socket)
	}
	return socket
}

// lost reports whether a socket that has ended with this code was lost, rather than closed.
func lost(code int) bool {
	switch code {
	case 1001, 1005, 1006, 1012, 1013:
		return true
	}
	return false
}

// leaves handles the end of a socket that its last frame reports. It reports true if the session goes on, because it
// may come back or has come back already: then the frame is acknowledged and the object is told nothing. With mu held.
func (o *object) leaves(ev event, how engine.Close) bool {
	if !o.sockets.leavesWith(&o.memory, ev.gateway, ev.slot, how, ev.req.Final) {
		return false
	}
	o.noteSockets()
	now := time.Now()
	b := o.sockets.outgoing(now)
	d := b.to(ev.gateway)
	d.Acks = append(d.Acks, wire.Reached{Of: ev.slot, Seq: ev.seq})
	d.Ends = append(d.Ends, stream.Slot(ev.slot))
	o.flushLater(o.sockets.placeConflated(&b, now, false))
	o.put(outboxItem{wrote: true}, b.outs()...)
	return true
}

// leavesWith is leaves without the acknowledgement. final says that the object has closed the socket.
func (s *sockets) leavesWith(m *memory, gateway string, slot uint32, how engine.Close, final bool) bool {
	at := resume.Place{Gateway: gateway, Slot: slot}
	s.recallSession(at)
	ss := s.sessions
	if ss == nil {
		return false
	}
	if ss.Detached(at) {
		ss.Forget(at)
		m.Apply([]engine.Write{{Key: detachedKey(at)}})
		return true
	}
	one := ss.In(at)
	if one == nil || final || !lost(how.Code) {
		return false
	}
	socket := s.open.Find(one.ID)
	if socket == nil || socket.Closed() {
		return false
	}
	if info := socket.Info(); s.away+len(info.Attachment)+len(info.Principal) > maxAway {
		return false
	}
	ss.Left(time.Now(), at, s.Whole)
	socket.Leave()
	s.writeAway(m, one.ID, awayOf(one, socket.Info(), how).encode())
	return true
}

// recallSession adopts a session of which only the record knows: its gateway was lost
// together with the owner before.
func (s *sockets) recallSession(at resume.Place) {
	id := wire.SocketID(at.Gateway, at.Slot)
	known := s.recorded[id]
	if len(known.Secret) != resume.SecretSize || s.resume.Time == 0 {
		return
	}
	delete(s.recorded, id)
	ss := s.makeSessions()
	info := engine.SocketInfo{
		ID: id, Gateway: at.Gateway, Slot: at.Slot, Tags: known.Tags, Attachment: known.Attachment, Principal: known.Principal,
	}
	if known.Session != "" {
		info.ID = known.Session
	}
	if ss.Detached(at) || s.open.Has(info.ID) {
		return
	}
	info.Session = uint32(ss.Adopt(resume.Session{ID: info.ID, Secret: known.Secret, At: at, Lost: true}))
	s.open.Add(info)
}

func detachedKey(at resume.Place) string {
	return engine.DetachedAt + wire.SocketID(at.Gateway, at.Slot)
}

// away is a session that is away, as the record has it.
type away struct {
	Secret []byte `json:"k"`
	Until  int64  `json:"u"` // Unix milliseconds
	Sent   uint64 `json:"s,omitempty"`
	Taken  uint64 `json:"h,omitempty"`

	Tags        []string        `json:"t,omitempty"`
	Attachment  json.RawMessage `json:"a,omitempty"`
	Principal   json.RawMessage `json:"p,omitempty"`
	Region      string          `json:"r,omitempty"`
	Order       uint64          `json:"o,omitempty"`
	Conflated   bool            `json:"f,omitempty"`
	Subprotocol string          `json:"l,omitempty"`
	Auto        *engine.Auto    `json:"q,omitempty"`

	Code   int    `json:"c"` // how the connection ended
	Reason string `json:"m,omitempty"`
	Clean  bool   `json:"n,omitempty"`
	Fault  string `json:"e,omitempty"`
	Final  bool   `json:"z,omitempty"` // the object has closed the socket meanwhile
}

func awayOf(one *resume.Session, info engine.SocketInfo, how engine.Close) *away {
	return &away{
		Secret: one.Secret, Until: one.Until.UnixMilli(), Sent: one.Sent, Taken: one.Taken,
		Tags: info.Tags, Attachment: info.Attachment, Principal: info.Principal, Region: info.Region, Order: info.Order,
		Conflated: info.Conflated, Subprotocol: info.Subprotocol, Auto: info.Auto,
		Code: how.Code, Reason: how.Reason, Clean: how.Clean, Fault: how.Fault,
	}
}

func (a *away) encode() []byte {
	data, err := json.Marshal(a)
	if err != nil {
		panic(err) // our own type always encodes
	}
	return data
}

func (a *away) close() engine.Close {
	return engine.Close{Code: a.Code, Reason: a.Reason, Clean: a.Clean, Fault: a.Fault}
}

// keptAway decodes the entry of a session that is away. One that cannot be decoded becomes a session that has ended,
// without details.
func keptAway(value []byte) (a away) {
	if json.Unmarshal(value, &a) != nil || len(a.Secret) != resume.SecretSize {
		return away{Code: 1006}
	}
	return a
}

// nextSession returns when the first session of a record ends that is away; zero: none is away.
func nextSession(kept *engine.Data) (next time.Time) {
	for _, value := range kept.Between(engine.SessionsAt, engine.After(engine.SessionsAt)).All() {
		a := keptAway(value)
		if until := time.UnixMilli(a.Until); next.IsZero() || until.Before(next) {
			next = until
		}
	}
	return next
}

// adoptSessions takes over what a record has of sessions.
func (s *sockets) adoptSessions(kept *engine.Data) {
	for key := range kept.Between(engine.DetachedAt, engine.After(engine.DetachedAt)).All() {
		id := strings.TrimPrefix(key, engine.DetachedAt)
		if end := strings.LastIndexByte(id, '-'); end > 0 {
			if slot, ok := wire.SlotOf(id[:end], id); ok {
				s.makeSessions().Detach(resume.Place{Gateway: id[:end], Slot: slot})
			}
		}
	}
	for key, value := range kept.Between(engine.SessionsAt, engine.After(engine.SessionsAt)).All() {
		id, a := strings.TrimPrefix(key, engine.SessionsAt), keptAway(value)
		s.away += len(value)
		session := resume.Session{ID: id, Secret: a.Secret, Until: time.UnixMilli(a.Until), Sent: a.Sent, Taken: a.Taken}
		number := s.makeSessions().Adopt(session)
		s.open.Add(engine.SocketInfo{
			ID: id, Region: a.Region, Tags: a.Tags, Attachment: cleanAttachment(a.Attachment), Order: a.Order, Conflated: a.Conflated,
			Principal: cleanPrincipal(a.Principal), Subprotocol: a.Subprotocol, Session: uint32(number), Auto: a.Auto,
		})
		if a.Final {
			s.endAway(id, a.close())
		}
	}
}

// adoptSession restores the session of a socket that a gateway holds, if the socket has one. It reports false if the
// session is elsewhere.
func (s *sockets) adoptSession(info *engine.SocketInfo, held *wire.LaneSocket) bool {
	at := placeOf(*info)
	if s.sessions != nil && s.sessions.Detached(at) {
		return false
	}
	if held.Session == "" || len(held.Session) > resume.MaxSession || len(held.Secret) != resume.SecretSize {
		return true
	}
	session := resume.Session{ID: held.Session, Secret: slices.Clone(held.Secret), At: at, Sent: held.Sent, Taken: held.Taken, Lost: held.Lost}
	number := s.makeSessions().Adopt(session)
	info.ID, info.Session = held.Session, uint32(number)
	if held.AutoRequest != "" || held.AutoResponse != "" {
		info.Auto = &engine.Auto{Request: held.AutoRequest, Response: held.AutoResponse}
	}
	return number != 0
}

// handOverWindow writes what was sent lately to the record, for the next owner.
func (o *object) handOverWindow() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage() == gone {
		return
	}
	if window := o.sockets.window(time.Now(), o.term.epoch); window != nil {
		o.memory.Apply([]engine.Write{{Key: engine.WindowAt, Value: window}})
	}
}

// window returns what was sent lately to sockets that may come back, for the next owner; nil: nothing.
func (s *sockets) window(now time.Time, epoch uint64) []byte {
	if s.sessions == nil {
		return nil
	}
	return s.sessions.HandOver(now, epoch, handedOver)
}

// takeOverWindow takes over the window of the owner before, which had this epoch.
func (s *sockets) takeOverWindow(window []byte, epoch uint64) error {
	return s.makeSessions().TakeOver(window, epoch)
}

// endAway queues the end of a session that is away, for the object.
func (s *sockets) endAway(id string, how engine.Close) {
	s.sessions.End(id)
	s.addEnd(socketEnd{socket: id, close: how, session: true})
}

// endSessions tells the object the ends of sessions that are away for too long. The event loop calls it.
func (o *object) endSessions(now time.Time) {
	o.mu.Lock()
	some := o.sockets.endSessions(&o.memory, now)
	o.mu.Unlock()
	if some {
		o.deliverEnds()
	}
}

// endSessions ends the sessions that are away for too long. It reports false if there are no sessions.
func (s *sockets) endSessions(m *memory, now time.Time) (some bool) {
	if s.sessions == nil {
		return false
	}
	for _, one := range s.sessions.Due(now) {
		value, _ := m.Reserved().Get(engine.SessionsAt + one.ID)
		a := keptAway(value)
		s.endAway(one.ID, a.close())
	}
	s.sessions.Trim(now)
	return true
}

// trim drops what was kept for too long for sockets that may come back. It reports whether something younger is kept.
func (s *sockets) trim(now time.Time) bool {
	return s != nil && s.sessions != nil && s.sessions.Trim(now)
}

// closesAway reports whether an event has closed a socket that is away.
func closesAway(sends []engine.Send) bool {
	return slices.ContainsFunc(sends, func(send engine.Send) bool {
		return send.Op == engine.OpClose && slices.ContainsFunc(send.Sockets, isAway)
	})
}

func isAway(s *engine.Socket) bool { return s.Info().Session != 0 && s.Info().Gateway == "" }

// closeAway ends the sessions, among those away, whose sockets the object has closed. The object is told of each end in
// an event of its own.
func (s *sockets) closeAway(m *memory, closed []*engine.Socket, how engine.Close) (ended bool) {
	for _, socket := range closed {
		one := s.findSession(socket)
		if one == nil || !isAway(socket) {
			continue
		}
		a := awayOf(one, socket.Info(), engine.Close{Code: how.Code, Reason: how.Reason})
		a.Final = true
		s.writeAway(m, one.ID, a.encode())
		s.endAway(one.ID, a.close())
		ended = true
	}
	return ended
}

// findSession returns the session of a socket; nil: it has none.
func (s *sockets) findSession(socket *engine.Socket) *resume.Session {
	if s.sessions == nil {
		return nil
	}
	return s.sessions.Find(socket.ID())
}

// keepAttachments writes to the record what an event has attached to sockets that are away.
func (s *sockets) keepAttachments(m *memory, sends []engine.Send) {
	for _, send := range sends {
		if send.Op != engine.OpAttach || !isAway(send.Sockets[0]) {
			continue
		}
		socket := send.Sockets[0]
		if value, is := m.Reserved().Get(engine.SessionsAt + socket.ID()); is {
			a := keptAway(value)
			a.Attachment = socket.Info().Attachment
			s.writeAway(m, socket.ID(), a.encode())
		}
	}
}

// checkSession refuses a session that no gateway derives from a client's token.
func checkSession(req *wire.Request) error {
	switch {
	case req.Session == "" && len(req.Secret) == 0 && !req.Resumes:
		return nil
	case req.Kind != wire.Fetch || req.Socket == "":
		return errors.New("only an upgrade names a session")
	case req.Session != "" && (len(req.Session) > resume.MaxSession || len(req.Secret) != resume.SecretSize):
		return fmt.Errorf("a session of %d bytes with a secret of %d bytes: no gateway sends this", len(req.Session), len(req.Secret))
	}
	return nil
}

// comesBack lets the session come back that a request names. It reports false if there is no such session: then the
// object decides about a new socket, and the gateway tells the client that the socket is new.
func (o *object) comesBack(ev event) bool {
	if ev.req.Session == "" {
		return false
	}
	one, socket := o.lostSession(ev.req.Session)
	if one == nil {
		return false
	}
	if !one.Knows(ev.req.Secret) || principalID(socket.Info().Principal) != principalID(ev.req.Principal) {
		o.finish(ev, engine.Outcome{Err: objects.Errorf(objects.Forbidden, "the session of this socket belongs to another principal: open a new socket")})
		return true
	}
	o.bringBack(ev, one, socket)
	o.in.trackGateway(ev.req.Gateway)
	return true
}

// lostSession is sockets.lostSession for callers that do not hold mu.
func (o *object) lostSession(id string) (*resume.Session, *engine.Socket) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sockets.lostSession(id)
}

// lostSession returns the session with this id, and its socket, if the object has not closed that; nil: there is none.
func (s *sockets) lostSession(id string) (*resume.Session, *engine.Socket) {
	if !s.knowsSession(id) {
		return nil, nil
	}
	socket, one := s.open.Find(id), s.sessions.Find(id)
	if socket == nil || one == nil || socket.Closed() {
		return nil, nil
	}
	return one, socket
}

// knowsSession reports whether there is a session with this id, here or only in the record.
func (s *sockets) knowsSession(id string) bool {
	for at, known := range s.recorded {
		if end := strings.LastIndexByte(at, '-'); end > 0 && (at == id || known.Session == id) {
			if slot, ok := wire.SlotOf(at[:end], at); ok {
				s.recallSession(resume.Place{Gateway: at[:end], Slot: slot})
			}
		}
	}
	return s.sessions != nil && s.sessions.Find(id) != nil
}

// principalID returns the id of a principal; "": no principal.
func principalID(data []byte) string {
	var p objects.Principal
	if data = cleanPrincipal(data); data != nil && json.Unmarshal(data, &p) != nil {
		return ""
	}
	return p.ID
}

// bringBack continues a session with the socket of a request.
func (o *object) bringBack(ev event, one *resume.Session, socket *engine.Socket) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	b := o.sockets.bringBack(&o.memory, ev.req, one, socket, now)
	o.flushLater(o.sockets.placeConflated(&b, now, false))
	o.noteSockets()
	reply := &wire.Reply{Status: 101}
	o.memory.remember(ev.req, reply, now, o.in.wide)
	o.put(outboxItem{to: o.mailbox.newestReply(ev.reply), reply: reply, wrote: true}, b.outs()...)
	o.counters.ok[ev.index()].Inc()
}

// bringBack moves a session to the socket of a request, and returns what gateways are sent: the gateway before closes
// the old socket, the new one opens its socket with what it has missed.
func (s *sockets) bringBack(m *memory, req *wire.Request, one *resume.Session, socket *engine.Socket, now time.Time) outgoing {
	slot, _ := wire.SlotOf(req.Gateway, req.Socket) // checkRequest has checked it
	back := s.sessions.Resume(one, req.Received, resume.Place{Gateway: req.Gateway, Slot: slot}, s.Whole)
	b := s.outgoing(now)
	s.writeAway(m, one.ID, nil)
	if back.Before != (resume.Place{}) {
		d := b.to(back.Before.Gateway)
		d.Ops = append(d.Ops, wire.LaneOp{
			Op: wire.OpClose, Slots: wire.SlotsOf([]uint32{back.Before.Slot}), Code: closeMoved, Reason: "the socket has come back elsewhere",
		})
		m.Apply([]engine.Write{{Key: detachedKey(back.Before), Value: []byte("true")}})
	}
	socket.Place(req.Gateway, slot, req.Region, cleanPrincipal(req.Principal))
	d := b.to(req.Gateway)
	d.Opens = append(d.Opens, stream.Slot(slot))
	op := s.opening(socket.Info())
	op.Back, op.Counts = true, wire.Counts{Sent: back.From, Taken: back.Taken}
	attachment := wire.LaneOp{Op: wire.OpAttach, Slots: op.Slots, Data: socket.Info().Attachment}
	d.Ops = append(d.Ops, op, attachment)
	for _, m := range back.Messages {
		d.Ops = append(d.Ops, wire.LaneOp{Op: wire.OpMessage, Slots: op.Slots, Binary: m.Binary, Data: m.Data})
	}
	return b
}
