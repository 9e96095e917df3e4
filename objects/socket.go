package objects

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

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
	Data   []byte // must not change once sent

	// Conflate, for a Broadcast, is a key: only the newest value of a key counts, as of a cursor, a progress or a price. A
	// socket that was accepted with Conflated gets frames that are JSON arrays of the newest value of each key, at most 30 a
	// second, the same for all sockets. All other sockets get each value at once, as any message. Values and other messages
	// keep their order. A key has at most MaxTag bytes, and Data must be JSON.
	Conflate string
}

// Text returns a text message.
func Text(s string) Message { return Message{Data: []byte(s)} }

// Binary returns a binary message.
func Binary(b []byte) Message { return Message{Binary: true, Data: b} }

// JSON returns a text message holding v. It panics if v cannot be encoded.
func JSON(v any) Message {
	data, err := toJSON(v)
	if err != nil {
		panic("objects: encode a message: " + err.Error())
	}
	return Message{Data: data}
}

// Socket is one WebSocket that a gateway holds for the object. Within one event two values of one socket are ==. A Socket is
// valid during its event only: keep the ID for later events.
type Socket struct {
	tx *Tx
	of *engine.Socket
}

// Accept takes the WebSocket that the event's request wants to open: ServeHTTP calls it instead of writing a response (as
// Cloudflare's acceptWebSocket). The gateway holds the socket from then on: it stays open while the object sleeps, moves, or
// its host dies. The error (no upgrade, or a bad tag: Invalid; MaxSockets: TooMany) is for Refuse.
func (tx *Tx) Accept(how ...AcceptOption) (Socket, error) {
	var a acceptance
	for _, option := range how {
		option(&a)
	}
	of, err := tx.t.Accept(engine.Acceptance(a))
	if err != nil {
		return Socket{}, err
	}
	return Socket{tx, of}, nil
}

// Subprotocols returns the object's subprotocols, the preferred ones first: the first that the client also offers is
// agreed on, or none.
func Subprotocols(names ...string) AcceptOption {
	return func(a *acceptance) { a.Subprotocols = append(a.Subprotocols, names...) }
}

// AutoResponse has the gateway answer a text message that is equal to request, without waking the object (as Cloudflare's
// setWebSocketAutoResponse, here for one socket). The object never gets that message; Socket.Answered reports its time. Each
// text has at most 2 KiB.
func AutoResponse(request, response string) AcceptOption {
	return func(a *acceptance) { a.Auto = &engine.Auto{Request: request, Response: response} }
}

// AcceptOption changes how Accept takes a socket.
type AcceptOption func(*acceptance)

type acceptance engine.Acceptance

// Tags gives the socket tags for SocketsTagged: at most MaxTags of MaxTag bytes, each once. They do not change.
func Tags(tags ...string) AcceptOption {
	return func(a *acceptance) { a.Tags = append(a.Tags, tags...) }
}

// Conflated has the socket get values of Message.Conflate together in one frame, a JSON array: for clients that can read it.
// Messages without a key come alone, as to any socket.
func Conflated() AcceptOption { return func(a *acceptance) { a.Conflated = true } }

// Sockets returns the open sockets, most recently accepted first, also after a move (as Cloudflare's getWebSockets). A socket
// that the object has closed is not among them.
func (tx *Tx) Sockets() []Socket { return tx.listed("", true) }

// SocketsTagged returns the open sockets with the tag, in the same order.
func (tx *Tx) SocketsTagged(tag string) []Socket { return tx.listed(tag, false) }

func (tx *Tx) listed(tag string, all bool) []Socket {
	sockets := make([]Socket, 0, tx.t.Open())
	for of := range tx.t.Sockets(tag, all) {
		sockets = append(sockets, Socket{tx, of})
	}
	return sockets
}

// Socket returns the open socket with this id.
func (tx *Tx) Socket(id string) (Socket, bool) {
	of, ok := tx.t.Socket(id)
	return Socket{tx, of}, ok
}

// Broadcast sends m to all sockets but the excepted ones, as one message for each gateway. It has Send's limits. A frame of
// conflated values (Message.Conflate) is the same for all Conflated sockets: an excepted one gets it, too.
func (tx *Tx) Broadcast(m Message, except ...Socket) {
	if len(except) == 1 {
		tx.t.Broadcast(engine.Message(m), except[0].of)
		return
	}
	not := make([]*engine.Socket, len(except))
	for i, s := range except {
		not[i] = s.of
	}
	tx.t.Broadcast(engine.Message(m), not...)
}

// ID is unique among all sockets.
func (s Socket) ID() string { return s.of.ID() }

// Region returns the region of the gateway that holds the socket, or held it last.
func (s Socket) Region() string { return s.of.Info().Region }

// Tags returns the socket's tags, in the order given to Accept, each once.
func (s Socket) Tags() []string { return slices.Clone(s.of.Info().Tags) }

// Subprotocol returns the agreed subprotocol, "" for none.
func (s Socket) Subprotocol() string { return s.of.Info().Subprotocol }

// Principal returns the principal that opened the socket, or resumed it last (Settings.Resume).
func (s Socket) Principal() (p Principal) {
	if data := s.of.Info().Principal; len(data) > 0 && json.Unmarshal(data, &p) != nil {
		return Principal{} // forged: no gateway of ours sends it
	}
	return p
}

// Answered returns when the gateway last answered AutoResponse's request, the zero time for never (as Cloudflare's
// getWebSocketAutoResponseTimestamp). The time may reach the object a second later.
func (s Socket) Answered() time.Time { return s.tx.t.Answered(s.of) }

// Send sends m when the event has committed. Messages to one socket keep their order. It neither waits nor fails: if the
// peer is gone m is dropped, unless it may come back (Settings.Resume), and a peer that reads too slowly is closed with 1013. After Close it does nothing. Beyond
// MaxMessage, for text that is not UTF-8, and for a message with Conflate, it aborts the event.
func (s Socket) Send(m Message) { s.tx.t.SendTo(s.of, engine.Message(m)) }

// Close closes the socket behind all earlier messages. Codes are 1000, 1001, 1003, 1007 to 1013 and 3000 to 4999, any other
// aborts the event; a reason is cut at 123 bytes. WebSocketClose is still called, when the socket has ended.
func (s Socket) Close(code int, reason string) { s.tx.t.CloseSocket(s.of, code, reason) }

// Attach keeps v with the socket, as JSON of at most MaxAttachment bytes, while the socket is open: through sleep, moves, and
// death of the host (as Cloudflare's serializeAttachment). Nil removes it. A value that does not encode, or is too large,
// aborts the event.
func (s Socket) Attach(v any) {
	if v == nil {
		s.tx.t.Attach(s.of, nil)
		return
	}
	data, err := toJSON(v)
	if err != nil {
		s.tx.t.Abort(fmt.Errorf("encode a socket's attachment: %w", err))
	}
	s.tx.t.Attach(s.of, data)
}

// Attachment decodes the attachment into the pointer v, and returns false if there is none. A v of the wrong type aborts the
// event.
func (s Socket) Attachment(v any) bool {
	data := s.tx.t.Attachment(s.of)
	if data == nil {
		return false
	}
	if err := fromJSON(data, v); err != nil {
		s.tx.t.Abort(fmt.Errorf("decode a socket's attachment as %T: %w", v, err))
	}
	return true
}
