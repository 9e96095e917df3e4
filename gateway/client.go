package gateway

import (
	"io"
	"sync"
	"time"

	"github.com/fasthttp/websocket"

	"holdfast/internal/sockets"
)

// Sizes of the library's buffers. Messages longer than the buffer are read directly; only closes are written through
// the library.
const readBuffer, writeBuffer = 512, 512

var writeBuffers sync.Pool

// wsClient is a client behind the WebSocket library. The library's own connection
// outlives Fiber's handler; Fiber's wrapper of it does not.
type wsClient struct {
	conn  *websocket.Conn
	limit int // bytes of a message
}

// prepare sets how large a message may be and what follows a ping and a pong. The
// goroutine that receives calls both.
func (c wsClient) prepare(ping func(text string), pong func()) {
	c.conn.SetReadLimit(int64(c.limit))
	c.conn.SetPingHandler(func(text string) error { ping(text); return nil })
	c.conn.SetPongHandler(func(string) error { pong(); return nil })
	// The outbox answers the client's close, so that nothing follows the answer.
	c.conn.SetCloseHandler(func(int, string) error { return nil })
}

func (c wsClient) Receive() (binary bool, data []byte, err error) {
	kind, data, err := c.conn.ReadMessage()
	return kind == websocket.BinaryMessage, data, err
}

func (c wsClient) Ended(err error) sockets.End { return endOf(err, c.limit) }

func (c wsClient) ReadUntil(t time.Time) {
	c.conn.SetReadDeadline(t) // fails only on a closed connection, which Receive notices
}

func (c wsClient) Discard() {
	_, _ = io.Copy(io.Discard, c.conn.NetConn()) // ends with the deadline or with the connection
}

// Write passes the library, which writes only one frame at a time.
func (c wsClient) Write(frames []byte) error {
	raw := c.conn.NetConn()
	if err := raw.SetWriteDeadline(time.Now().Add(sockets.WriteTime)); err != nil {
		return err
	}
	_, err := raw.Write(frames)
	return err
}

// WriteClose goes through the library, which writes no second close: it has written
// one itself after a protocol error.
func (c wsClient) WriteClose(code int, reason string) {
	text := websocket.FormatCloseMessage(code, reason)                             // empty for 1005
	c.conn.WriteControl(websocket.CloseMessage, text, time.Now().Add(time.Second)) // the connection is closed next, written or not
}

func (c wsClient) Close() { c.conn.Close() }
