package objects

import (
	"encoding/json"
	"fmt"
	"slices"

	"holdfast/objects/internal/engine"
)

// Limits of sockets, as Cloudflare's.
const (
	MaxSockets    = 32768    // per object
	MaxTags       = 10       // per socket
	MaxTag        = 256      // bytes
	MaxAttachment = 16 << 10 // bytes of JSON

	MaxMessage = 256 << 10 // bytes of a message that an object sends
	MaxFrame   = 64 << 10  // bytes of a message that a client sends; the socket is closed with 1009 beyond
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
	data, err := toJSON(v)
	if err != nil {
		panic("objects: encode a message: " + err.Error())
	}
	return Message{Data: data}
}

// Socket is one WebSocket that a gateway holds for the object. The same socket
// is another *Socket after the object has slept: keep ID, not the pointer.
type Socket struct {
	of    *engine.Socket
	state *State
}

// socket is the author's half of a socket, the same for as long as the instance lives.
func (s *State) socket(of *engine.Socket) *Socket {
	if known, ok := of.Face.(*Socket); ok && known.state == s {
		return known
	}
	socket := &Socket{of, s}
	of.Face = socket
	return socket
}

// ID is unique among all sockets.
func (s *Socket) ID() string { return s.of.ID() }

// Region is the region of the gateway that holds the socket.
func (s *Socket) Region() string { return s.of.Info().Region }

// Tags are those given to State.Accept, in that order, each once.
func (s *Socket) Tags() []string { return slices.Clone(s.of.Info().Tags) }

// Send sends m when all that the object wrote before is durable. Messages to one
// socket keep their order. It never waits and cannot fail: if the peer is gone
// the message is dropped, and if it reads too slowly its gateway closes it
// with 1013. After Close it does nothing. Over MaxMessage, and for text that is
// not UTF-8, it aborts the event.
func (s *Socket) Send(m Message) { s.state.tx().SendTo(s.of, engine.Message(m)) }

// Close closes the socket after what was sent before. Codes are 1000, 1001,
// 1003, 1007 to 1013 and 3000 to 4999, another aborts the event; a reason has at
// most 123 bytes and is cut there.
// WebSocketClose is still called, when the socket has ended.
func (s *Socket) Close(code int, reason string) { s.state.tx().CloseSocket(s.of, code, reason) }

// Attach keeps v with the socket, as JSON, for as long as the socket is open:
// through sleep, eviction, and death of the host. Nil takes it away. What cannot be
// encoded, or is over MaxAttachment, aborts the event. (As Cloudflare's
// serializeAttachment.)
func (s *Socket) Attach(v any) {
	tx := s.state.tx()
	if v == nil {
		tx.Attach(s.of, nil)
		return
	}
	data, err := toJSON(v)
	if err != nil {
		tx.Abort(Errorf(Invalid, "encode a socket's attachment: %v", err))
	}
	tx.Attach(s.of, data)
}

// Attachment decodes what Attach kept into v, a pointer; false if there is
// nothing. What does not fit aborts the event.
func (s *Socket) Attachment(v any) bool {
	tx := s.state.tx()
	data := tx.Attachment(s.of)
	if data == nil {
		return false
	}
	if err := json.Unmarshal(data, v); err != nil {
		tx.Abort(fmt.Errorf("decode a socket's attachment as %T: %w", v, err))
	}
	return true
}
