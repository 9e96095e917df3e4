package objects

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of sockets, as Cloudflare's.
const (
	MaxSockets    = 32768    // per object
	MaxTags       = 10       // per socket
	MaxTag        = 256      // bytes
	MaxAttachment = 16 << 10 // bytes of JSON

	MaxMessage = 256 << 10 // bytes of a message that an object sends
)

// Message is one WebSocket message.
type Message struct {
	Binary bool
	Data   []byte // not to be changed once sent
}

// Text is a text message.
func Text(s string) Message { return Message{Data: []byte(s)} }

// Binary is a binary message.
func Binary(b []byte) Message { return Message{Binary: true, Data: b} }

// JSON is a text message holding v. It panics if v cannot be encoded.
func JSON(v any) Message {
	data, err := json.Marshal(v)
	if err != nil {
		panic("objects: encode a message: " + err.Error())
	}
	return Message{Data: data}
}

// Socket is one WebSocket that a gateway holds for the object. The same socket
// is another *Socket after the object has slept: keep ID, not the pointer.
type Socket struct {
	id         string
	gateway    string
	region     string
	tags       []string
	attachment []byte
	closed     bool // by the object
	among      *Sockets
}

// ID is unique among all sockets.
func (s *Socket) ID() string { return s.id }

// Region is the region of the gateway that holds the socket.
func (s *Socket) Region() string { return s.region }

// Tags are those given to State.Accept.
func (s *Socket) Tags() []string { return slices.Clone(s.tags) }

// Send sends m when all that the object wrote before is durable. Messages to one
// socket keep their order. It never waits and cannot fail: if the peer is gone
// the message is dropped, and if it reads too slowly its gateway closes it
// with 1013. After Close it does nothing. Over MaxMessage the event fails.
func (s *Socket) Send(m Message) {
	t := s.among.state.turn()
	if s.closed {
		return
	}
	if len(m.Data) > MaxMessage {
		t.fail(Errorf(TooLarge, "a message has %d bytes, at most %d are allowed", len(m.Data), MaxMessage))
		return
	}
	if n := len(t.sends); n > 0 {
		last := &t.sends[n-1]
		if last.Op == OpMessage && same(last.Message, m) && last.Sockets[len(last.Sockets)-1] != s {
			last.Sockets = append(last.Sockets, s)
			return
		}
	}
	t.sends = append(t.sends, Send{Op: OpMessage, Sockets: []*Socket{s}, Message: m})
}

// same tells whether a loop over sockets is sending one message to the next.
func same(a, b Message) bool {
	return a.Binary == b.Binary && len(a.Data) == len(b.Data) &&
		(len(a.Data) == 0 || &a.Data[0] == &b.Data[0] || bytes.Equal(a.Data, b.Data))
}

// Close closes the socket after what was sent before. Codes are 1000, 1001,
// 1003, 1007 to 1013 and 3000 to 4999, another fails the event; a reason has at
// most 123 bytes and is cut there.
// WebSocketClose is still called, when the socket has ended.
func (s *Socket) Close(code int, reason string) {
	t := s.among.state.turn()
	if s.closed {
		return
	}
	if !mayClose(code) {
		t.fail(fmt.Errorf("close a socket: code %d is not for applications", code))
		return
	}
	s.closed = true
	t.undo = append(t.undo, func() { s.closed = false })
	t.sends = append(t.sends, Send{Op: OpClose, Sockets: []*Socket{s}, Close: Close{Code: code, Reason: cut(reason)}})
}

func mayClose(code int) bool {
	return code == 1000 || code == 1001 || code == 1003 || 1007 <= code && code <= 1013 || 3000 <= code && code <= 4999
}

// cut is as much of a reason as a close frame holds, in whole characters.
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

// Attach keeps v with the socket, as JSON, for as long as the socket is open:
// through sleep, eviction, and death of the host. Over MaxAttachment the event
// fails. (As Cloudflare's serializeAttachment.)
func (s *Socket) Attach(v any) {
	t := s.among.state.turn()
	data, err := json.Marshal(v)
	if err != nil {
		t.fail(Errorf(Invalid, "encode a socket's attachment: %v", err))
		return
	}
	if len(data) > MaxAttachment {
		t.fail(Errorf(TooLarge, "a socket's attachment has %d bytes, at most %d are allowed", len(data), MaxAttachment))
		return
	}
	before := s.attachment
	t.undo = append(t.undo, func() { s.attachment = before })
	s.attachment = data
	t.sends = append(t.sends, Send{Op: OpAttach, Sockets: []*Socket{s}, Attachment: data})
}

// Attachment decodes what Attach kept into v, a pointer; false if there is
// nothing or it does not fit.
func (s *Socket) Attachment(v any) bool {
	return s.attachment != nil && json.Unmarshal(s.attachment, v) == nil
}

// Op is what a Send does.
type Op uint8

// The operations on sockets.
const (
	OpMessage Op = 1 + iota
	OpClose
	OpAttach
)

// Send is one thing an event does to sockets, in the order in which it did them.
type Send struct {
	Op         Op
	Sockets    []*Socket
	Message    Message
	Close      Close
	Attachment []byte
}

// SocketInfo is a socket as hosts and gateways describe it.
type SocketInfo struct {
	ID         string
	Gateway    string
	Region     string
	Tags       []string
	Attachment []byte // JSON
}

// Info describes the socket.
func (s *Socket) Info() SocketInfo {
	return SocketInfo{s.id, s.gateway, s.region, s.tags, s.attachment}
}

// Sockets are the open sockets of one object, as a host keeps them while the
// instance sleeps. The zero Sockets is empty. Not safe for concurrent use.
type Sockets struct {
	byID  map[string]*Socket
	order []*Socket // as accepted
	state *State    // of the instance that lives now
}

// Add puts in a socket that a gateway holds.
func (ss *Sockets) Add(info SocketInfo) {
	if ss.byID == nil {
		ss.byID = make(map[string]*Socket)
	}
	s := &Socket{
		id: info.ID, gateway: info.Gateway, region: info.Region, tags: info.Tags, attachment: info.Attachment,
		among: ss,
	}
	ss.byID[info.ID] = s
	ss.order = append(ss.order, s)
}

// Len is the number of sockets.
func (ss *Sockets) Len() int { return len(ss.order) }

// Has tells whether the socket is open.
func (ss *Sockets) Has(id string) bool { return ss.byID[id] != nil }

// All are the sockets, most recently accepted first.
func (ss *Sockets) All() []*Socket { return ss.list(nil) }

func (ss *Sockets) remove(id string) {
	s := ss.byID[id]
	delete(ss.byID, id)
	if i := slices.Index(ss.order, s); i >= 0 {
		ss.order = slices.Delete(ss.order, i, i+1)
	}
}

func (ss *Sockets) list(tags []string) []*Socket {
	found := make([]*Socket, 0, len(ss.order))
	for _, s := range slices.Backward(ss.order) {
		if !s.closed && (len(tags) == 0 || slices.Contains(s.tags, tags[0])) {
			found = append(found, s)
		}
	}
	return found
}

func (ss *Sockets) accept(info SocketInfo, tags []string) (*Socket, error) {
	switch {
	case ss.Len() >= MaxSockets:
		return nil, Errorf(TooMany, "the object has %d sockets, no more are allowed", MaxSockets)
	case ss.Has(info.ID):
		return nil, Errorf(Invalid, "the socket has been accepted already")
	}
	distinct := slices.Compact(slices.Sorted(slices.Values(tags)))
	if len(distinct) > MaxTags {
		return nil, Errorf(Invalid, "a socket cannot have more than %d tags", MaxTags)
	}
	for _, tag := range distinct {
		if len(tag) > MaxTag {
			return nil, Errorf(Invalid, "a socket's tag has %d bytes, at most %d are allowed", len(tag), MaxTag)
		}
	}
	info.Tags = distinct
	ss.Add(info)
	return ss.byID[info.ID], nil
}
