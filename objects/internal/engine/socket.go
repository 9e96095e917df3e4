package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Message is one WebSocket message.
type Message struct {
	Binary   bool
	Data     []byte
	Conflate string // the key of a value of which only the newest counts; "": an ordinary message
}

// Close says how a socket ended, or is to end.
type Close struct {
	Code   int
	Reason string
	Clean  bool
	Fault  string // the code of the failure; "": none
}

// Op is what a Send does.
type Op uint8

// The operations on sockets.
const (
	OpMessage Op = 1 + iota
	OpClose
	OpAttach
	OpConflate // the message is a value for the object's Conflation
)

// Send is one operation of an event on sockets; the order is that of the event.
type Send struct {
	Op         Op
	Sockets    []*Socket
	Message    Message
	Close      Close
	Attachment []byte // nil: removed
	Opened     int    // how many sockets the event had accepted before
}

// SocketInfo is a socket as hosts and gateways describe it.
type SocketInfo struct {
	ID         string
	Gateway    string // the gateway that holds it; "": it is away, and may come back
	Slot       uint32 // its place at the gateway
	Region     string
	Tags       []string
	Attachment []byte // JSON; nil: none
	Order      uint64 // among the object's sockets, as accepted: 1, 2, 3
	Conflated  bool   // it gets conflated values in common frames
	Principal  []byte // the opener, as JSON; nil: no principal

	Subprotocol string // the agreed one

	Session uint32 // the host's number for a socket that may come back; 0: it may not

	Auto *Auto // the gateway's automatic answer, known only to the owner that accepted the socket, and for a socket that may come back; nil: none
}

// Auto is a text message that a gateway answers by itself.
type Auto struct{ Request, Response string }

// Socket is one WebSocket that a gateway holds for the object.
type Socket struct {
	info   SocketInfo
	closed bool // by the object
	ended  bool // the object is being told its end
}

// Info describes the socket. It must not be changed.
func (s *Socket) Info() SocketInfo { return s.info }

// ID returns the socket's id.
func (s *Socket) ID() string { return s.info.ID }

// Gateway returns the gateway that holds the socket.
func (s *Socket) Gateway() string { return s.info.Gateway }

// Closed reports whether the object has closed the socket.
func (s *Socket) Closed() bool { return s.closed }

// Place notes the new place of a socket that may come back, and the principal that has brought it there.
func (s *Socket) Place(gateway string, slot uint32, region string, principal []byte) {
	s.info.Gateway, s.info.Slot, s.info.Region, s.info.Principal = gateway, slot, region, principal
}

// Leave notes that a socket is away.
func (s *Socket) Leave() { s.info.Gateway, s.info.Slot = "", 0 }

// Number notes the host's number for a socket that may come back.
func (s *Socket) Number(session uint32) { s.info.Session = session }

// Conflated reports whether the socket gets conflated values in frames of many.
func (s *Socket) Conflated() bool { return s.info.Conflated }

// Sockets are the open sockets of one object, as a host keeps them while the
// instance sleeps. The zero Sockets is empty. Not safe for concurrent use.
type Sockets struct {
	byID  map[string]*Socket
	order []*Socket // by SocketInfo.Order
}

// Add adds a socket that a gateway holds. Sockets with an Order may be added in any order.
func (ss *Sockets) Add(info SocketInfo) {
	if ss.byID == nil {
		ss.byID = make(map[string]*Socket)
	}
	s := &Socket{info: info}
	ss.byID[info.ID] = s
	at := len(ss.order)
	for at > 0 && ss.order[at-1].info.Order > info.Order {
		at--
	}
	ss.order = slices.Insert(ss.order, at, s)
}

// AddEnded is Add for a socket whose end the object has not been told yet: messages to it are dropped.
func (ss *Sockets) AddEnded(info SocketInfo) {
	ss.Add(info)
	ss.byID[info.ID].ended = true
}

// Len returns the number of sockets.
func (ss *Sockets) Len() int { return len(ss.order) }

// Has reports whether the socket is open.
func (ss *Sockets) Has(id string) bool { return ss.byID[id] != nil }

// Find returns the socket with an id; nil if there is none.
func (ss *Sockets) Find(id string) *Socket { return ss.byID[id] }

// All returns the sockets, most recently accepted first.
func (ss *Sockets) All() []*Socket {
	all := slices.Clone(ss.order)
	slices.Reverse(all)
	return all
}

// next returns the Order of the next accepted socket.
func (ss *Sockets) next() uint64 {
	if len(ss.order) == 0 {
		return 1
	}
	return ss.order[len(ss.order)-1].info.Order + 1
}

func (ss *Sockets) remove(s *Socket) {
	delete(ss.byID, s.info.ID)
	if i := slices.Index(ss.order, s); i >= 0 {
		ss.order = slices.Delete(ss.order, i, i+1)
	}
}

// before is the state of a socket before the event changed it.
type before struct {
	socket     *Socket
	opened     bool // by this event
	closed     bool
	attachment []byte
}

func (t *Tx) note(s *Socket) {
	t.undo = append(t.undo, before{socket: s, closed: s.closed, attachment: s.info.Attachment})
}

// undoSockets undoes the changes of sockets after the first n.
func (t *Tx) undoSockets(n int) {
	for _, was := range slices.Backward(t.undo[n:]) {
		was.socket.closed, was.socket.info.Attachment = was.closed, was.attachment
		if was.opened {
			t.run.world.Sockets.remove(was.socket)
			t.offer.taken = false
		}
	}
	clear(t.undo[n:])
	t.undo = t.undo[:n]
}

// Answered returns when the gateway last answered the socket by itself; zero: never.
func (t *Tx) Answered(s *Socket) time.Time {
	t.use()
	return t.run.world.Object.Answered(s)
}

// Sockets yields the sockets that are open for the event, most recently accepted first: those with the tag or, with
// all, every one.
func (t *Tx) Sockets(tag string, all bool) iter.Seq[*Socket] {
	t.use()
	return func(yield func(*Socket) bool) {
		for _, s := range slices.Backward(t.run.world.Sockets.order) {
			if !s.closed && (all || slices.Contains(s.info.Tags, tag)) && !yield(s) {
				return
			}
		}
	}
}

// Open returns an upper bound of the sockets that Sockets yields.
func (t *Tx) Open() int { return len(t.run.world.Sockets.order) }

// Socket returns the socket with this id; false if it is not open.
func (t *Tx) Socket(id string) (*Socket, bool) {
	t.use()
	s, ok := t.run.world.Sockets.byID[id]
	return s, ok && !s.closed
}

// offer is the socket that a request wants to open.
type offer struct {
	info         SocketInfo
	subprotocols []string // the client's
	agreed       string   // one of them
	taken        bool
}

// handshakeProtocol is the header of a handshake that names subprotocols.
const handshakeProtocol = "Sec-WebSocket-Protocol"

// subprotocols returns the subprotocols that a client offers.
func subprotocols(header http.Header) (offered []string) {
	for _, line := range header.Values(handshakeProtocol) {
		for name := range strings.SplitSeq(line, ",") {
			offered = append(offered, strings.TrimSpace(name))
		}
	}
	return offered
}

// handshake returns the header with the agreed subprotocol, and no other.
func (o *offer) handshake(header http.Header) http.Header {
	for name := range header {
		if strings.EqualFold(name, handshakeProtocol) {
			delete(header, name)
		}
	}
	if o.agreed != "" {
		header.Set(handshakeProtocol, o.agreed)
	}
	return header
}

// Acceptance says how a socket is accepted.
type Acceptance struct {
	Tags         []string
	Conflated    bool
	Subprotocols []string // the object's, the preferred first
	Auto         *Auto    // nil: the gateway answers no message by itself
}

// maxAuto is how many bytes the texts of an Auto may have.
const maxAuto = 2 << 10

// Accept accepts the socket that the event's request wants to open.
func (t *Tx) Accept(how Acceptance) (*Socket, error) {
	t.use()
	most := t.limits()
	switch {
	case t.offer == nil:
		return nil, t.errorf(invalid, "not a WebSocket upgrade")
	case t.run.world.Sockets.Has(t.offer.info.ID):
		return nil, t.errorf(invalid, "the socket has been accepted already")
	case t.run.world.Sockets.Len() >= most.Sockets:
		return nil, t.errorf(tooMany, "the object has %d sockets, no more are allowed", most.Sockets)
	}
	var distinct []string
	for _, tag := range how.Tags {
		switch {
		case len(tag) > most.Tag:
			return nil, t.errorf(invalid, "a socket's tag has %d bytes, at most %d are allowed", len(tag), most.Tag)
		case !utf8.ValidString(tag):
			return nil, t.errorf(invalid, "a socket's tag must be valid UTF-8")
		case !slices.Contains(distinct, tag):
			distinct = append(distinct, tag)
		}
		if len(distinct) > most.Tags {
			return nil, t.errorf(invalid, "a socket cannot have more than %d tags", most.Tags)
		}
	}
	if a := how.Auto; a != nil {
		for _, text := range []string{a.Request, a.Response} {
			if len(text) > maxAuto || !utf8.ValidString(text) {
				return nil, t.errorf(invalid, "an automatic response, and what it answers, must be valid UTF-8 of at most %d bytes", maxAuto)
			}
		}
	}
	info := t.offer.info
	info.Tags, info.Order, info.Conflated = distinct, t.run.world.Sockets.next(), how.Conflated
	info.Auto = how.Auto
	if i := slices.IndexFunc(how.Subprotocols, func(name string) bool { return slices.Contains(t.offer.subprotocols, name) }); i >= 0 {
		info.Subprotocol = how.Subprotocols[i]
	}
	t.offer.agreed = info.Subprotocol
	t.run.world.Sockets.Add(info)
	s := t.run.world.Sockets.byID[info.ID]
	t.offer.taken = true
	t.undo = append(t.undo, before{socket: s, opened: true})
	t.opened = append(t.opened, s)
	return s, nil
}

// SendTo sends m to a socket when the event has committed. It does nothing for a socket that was closed or has ended. A
// message that is too long, or a text that is not UTF-8, aborts the event.
func (t *Tx) SendTo(s *Socket, m Message) {
	t.use()
	if m.Conflate != "" {
		t.Abort(t.errorf(invalid, "a message with Conflate is for Broadcast: all sockets get the same values"))
	}
	if s.closed || s.ended {
		return
	}
	n := len(t.sends)
	if n > t.top().sends { // messages of a savepoint are not joined with those before it
		if last := &t.sends[n-1]; last.Op == OpMessage && same(last.Message, m) && last.Sockets[len(last.Sockets)-1] != s {
			last.Sockets = append(last.Sockets, s)
			return
		}
	}
	t.checkMessage(m)
	t.send(Send{Op: OpMessage, Sockets: []*Socket{s}, Message: m})
}

func (t *Tx) send(s Send) {
	s.Opened = len(t.opened)
	t.sends = append(t.sends, s)
}

// Broadcast sends m to all sockets except the excepted ones. A message with a key goes to each socket that asked for
// conflated values, together with other values, also if the socket is excepted: the frame is the same for all.
func (t *Tx) Broadcast(m Message, except ...*Socket) {
	t.use()
	t.checkMessage(m)
	to, conflated := make([]*Socket, 0, len(t.run.world.Sockets.order)), false
	for _, s := range slices.Backward(t.run.world.Sockets.order) {
		switch {
		case s.closed || s.ended:
		case m.Conflate != "" && s.info.Conflated:
			conflated = true
		case !slices.Contains(except, s):
			to = append(to, s)
		}
	}
	if conflated {
		t.send(Send{Op: OpConflate, Message: m})
	}
	if len(to) > 0 {
		t.send(Send{Op: OpMessage, Sockets: to, Message: m})
	}
}

func (t *Tx) checkMessage(m Message) {
	if most := t.limits().Message; len(m.Data) > most {
		t.Abort(t.errorf(tooLarge, "a message has %d bytes, at most %d are allowed", len(m.Data), most))
	}
	if !m.Binary && !utf8.Valid(m.Data) {
		t.Abort(t.errorf(invalid, "a text message must be valid UTF-8"))
	}
	if m.Conflate == "" {
		return
	}
	if most := t.limits().Tag; len(m.Conflate) > most {
		t.Abort(t.errorf(invalid, "a message's Conflate has %d bytes, at most %d are allowed", len(m.Conflate), most))
	}
	if m.Binary || !json.Valid(m.Data) {
		t.Abort(t.errorf(invalid, "a message with Conflate must be JSON: it becomes part of an array"))
	}
}

// same reports whether consecutive sends have the same message, as in a loop over sockets.
func same(a, b Message) bool {
	return a.Binary == b.Binary && len(a.Data) == len(b.Data) &&
		(len(a.Data) == 0 || &a.Data[0] == &b.Data[0] || bytes.Equal(a.Data, b.Data))
}

// CloseSocket closes a socket after the messages that were sent to it before. A code that is not for applications
// aborts the event; a reason is cut to what fits into a close frame.
func (t *Tx) CloseSocket(s *Socket, code int, reason string) {
	t.use()
	if !mayClose(code) {
		t.Abort(fmt.Errorf("close a socket: code %d is not for applications", code))
	}
	if s.closed || s.ended {
		return
	}
	t.note(s)
	s.closed = true
	t.send(Send{Op: OpClose, Sockets: []*Socket{s}, Close: Close{Code: code, Reason: cut(reason)}})
}

// closeAll closes all open sockets.
func (i *Instance) closeAll() (sends []Send) {
	const serviceRestart = 1012
	for _, s := range i.world.Sockets.All() {
		if !s.closed && !s.ended {
			s.closed = true
			sends = append(sends, Send{Op: OpClose, Sockets: []*Socket{s}, Close: Close{Code: serviceRestart, Reason: "the object starts anew"}})
		}
	}
	return sends
}

func mayClose(code int) bool {
	return code == 1000 || code == 1001 || code == 1003 || 1007 <= code && code <= 1013 || 3000 <= code && code <= 4999
}

// cut returns as much of a reason as fits into a close frame, in whole characters.
func cut(reason string) string {
	const most = 123 // bytes
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) <= most {
		return reason
	}
	end := most
	for !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end]
}

// Attach keeps data with the socket while it is open; nil removes it. Data beyond the limit aborts the event.
func (t *Tx) Attach(s *Socket, data []byte) {
	t.use()
	if most := t.limits().Attachment; len(data) > most {
		t.Abort(t.errorf(tooLarge, "a socket's attachment has %d bytes, at most %d are allowed", len(data), most))
	}
	t.note(s)
	s.info.Attachment = data
	t.send(Send{Op: OpAttach, Sockets: []*Socket{s}, Attachment: data})
}

// Attachment returns the data that Attach kept; nil if there is none.
func (t *Tx) Attachment(s *Socket) []byte {
	t.use()
	return s.info.Attachment
}

// String names the socket.
func (s *Socket) String() string { return fmt.Sprintf("socket %s at %s", s.info.ID, s.info.Gateway) }
