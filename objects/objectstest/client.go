package objectstest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
	"unicode/utf8"

	"holdfast/internal/resume"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// Client is the client's end of a WebSocket that an object has accepted.
type Client struct {
	world  *World
	object *object
	as     context.Context // has the opener's principal

	info   engine.SocketInfo // guarded by object.mu, but for the ID, which is fixed; its Order is 0 until it is accepted
	number resume.Number     // likewise; 0: the socket does not come back

	mu       sync.Mutex // guards what follows; a gateway answers by itself even while an event runs
	auto     *engine.Auto
	answered time.Time // when the gateway last would have answered by itself
	inbox    []objects.Message
	received uint64 // messages from the object
	away     bool   // its connection is lost, and may come back
	ended    *engine.Close
}

// Connect opens a WebSocket to the object with the request r, to which it adds the headers of an upgrade; nil is GET /.
// The client is nil if the object has not accepted. The response is the object's answer, or a gateway's answer to a
// failure: the code's status, and the error as JSON.
func (w *World) Connect(to objects.Ref, r *http.Request) (*Client, *http.Response) {
	w.tb.Helper()
	r = Upgrade(r)
	c := w.newClient()
	c.as = asking(r.Context())
	c.info.Principal = principalOf(c.as)
	response, err := w.fetch(to, r, c)
	w.deliver()
	if err != nil {
		return nil, received(failure(err), r)
	}
	if response.Status != http.StatusSwitchingProtocols {
		c = nil
	}
	return c, received(response, r)
}

// Upgrade returns the request r with the headers that ask for a WebSocket; nil is GET /.
func Upgrade(r *http.Request) *http.Request {
	if r == nil {
		r = httptest.NewRequest(http.MethodGet, "http://test/", nil)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	return r
}

func failure(err error) *engine.Response {
	e, ok := errors.AsType[*objects.Error](err)
	if !ok {
		e = &objects.Error{Code: objects.CodeOf(err), Message: err.Error()}
	}
	body, err := json.Marshal(e)
	if err != nil {
		panic(err) // an Error always encodes
	}
	return &engine.Response{Status: e.Code.HTTPStatus(), Header: http.Header{"Content-Type": {"application/json"}}, Body: body}
}

// principalOf returns the principal of ctx as a gateway encodes it; nil if there is none.
func principalOf(ctx context.Context) []byte {
	p := objects.PrincipalOf(ctx)
	if p.ID == "" && p.Claims == nil {
		return nil
	}
	data, err := json.Marshal(p)
	if err != nil {
		panic(err) // texts always encode
	}
	return data
}

func (w *World) newClient() *Client {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sockets++
	return &Client{
		world: w,
		info:  engine.SocketInfo{ID: fmt.Sprintf("socket-%d", w.sockets), Gateway: "test", Region: "test"},
	}
}

func byID(a, b *Client) int { return cmp.Compare(a.info.ID, b.info.ID) }

// ID returns the socket's id, as Socket.ID gives it to the object.
func (c *Client) ID() string { return c.info.ID }

// Send sends m. When Send returns, the object has handled m. Send does nothing after the socket has ended, and while it
// is away (Lose). A message that a gateway does not pass on ends the socket: one over objects.MaxFrame with 1009, a
// text that is not UTF-8 with 1007.
func (c *Client) Send(m objects.Message) {
	defer c.object.world.deliver()
	switch {
	case c.isAway():
	case len(m.Data) > objects.MaxFrame:
		c.object.closed(c, engine.Close{Code: 1009, Reason: "the message is too large", Clean: true, Fault: string(objects.TooLarge)})
	case !m.Binary && !utf8.Valid(m.Data):
		c.object.closed(c, engine.Close{Code: 1007, Reason: "a text message must be UTF-8", Clean: true, Fault: string(objects.Invalid)})
	case c.answers(m):
	default:
		c.object.message(c, m)
	}
}

// answers answers a message that a gateway answers by itself, and reports whether it has.
func (c *Client) answers(m objects.Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.auto == nil || m.Binary || string(m.Data) != c.auto.Request || c.ended != nil {
		return false
	}
	c.answered = c.world.Now()
	c.inbox = append(c.inbox, objects.Text(c.auto.Response))
	return true
}

// accepted notes that the object has accepted the socket. With object.mu held.
func (c *Client) accepted(info engine.SocketInfo) {
	c.info = info
	c.mu.Lock()
	defer c.mu.Unlock()
	c.auto = info.Auto
}

func (c *Client) lastAnswered() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answered
}

// SendJSON sends v as a JSON text message.
func (c *Client) SendJSON(v any) { c.Send(objects.JSON(v)) }

// Next returns the oldest message that has arrived; false if there is none. It does not wait. Messages that arrived
// before the socket ended can still be read.
func (c *Client) Next() (objects.Message, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.inbox) == 0 {
		return objects.Message{}, false
	}
	m := c.inbox[0]
	c.inbox = c.inbox[1:]
	return m, true
}

// NextJSON is Next, decoded into a pointer. A message that cannot be decoded fails the test.
func (c *Client) NextJSON(into any) bool {
	c.world.tb.Helper()
	m, ok := c.Next()
	if !ok {
		return false
	}
	if err := json.Unmarshal(m.Data, into); err != nil {
		c.world.tb.Errorf("decode the message %.200q: %v", m.Data, err)
		return false
	}
	return true
}

// Close closes the socket from this end. When it returns, the object knows of the end. Code 1006 is a connection that
// broke, without a close frame, of a client that does not come back (see Lose). Close does nothing while the socket is
// away.
func (c *Client) Close(code int, reason string) {
	c.object.closed(c, engine.Close{Code: code, Reason: reason, Clean: code != 1006})
	c.object.world.deliver()
}

// Closed returns how the socket ended; false if it is open.
func (c *Client) Closed() (objects.Close, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		return objects.Close{}, false
	}
	return objects.Close{Code: c.ended.Code, Reason: c.ended.Reason, Clean: c.ended.Clean}, true
}

func (c *Client) over() bool {
	_, over := c.Closed()
	return over
}

// end ends the socket; false if it had ended already.
func (c *Client) end(how engine.Close) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return false
	}
	c.ended = &how
	return true
}

func (c *Client) deliver(m objects.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil && !c.away {
		c.inbox = append(c.inbox, m)
		c.received++
	}
}

func (c *Client) isAway() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away
}

// leave notes that the connection is lost, and may come back.
func (c *Client) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = true
}

// back notes a new connection, with the messages that were missed, and the number of all messages.
func (c *Client) back(missed []resume.Message, received uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range missed {
		c.inbox = append(c.inbox, objects.Message{Binary: m.Binary, Data: m.Data})
	}
	c.away, c.received = false, received
}

func (c *Client) heard() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.received
}
