package gateway

import (
	"io"
	"sync"
	"time"

	"github.com/fasthttp/websocket"
)

// client is the connection to a socket's client. One goroutine receives; the outbox
// writes. Every write ends within writeTime.
type client interface {
	receive() (binary bool, data []byte, err error) // the next message; data is the caller's
	readUntil(t time.Time)                          // receive fails after t
	discard()                                       // drops what comes until the time of readUntil
	write(frames []byte) error                      // whole frames
	writeClose(code int, reason string)             // nothing, if the code may not be sent
	close()
}

const (
	pingEvery  = 25 * time.Second
	pongWithin = 10 * time.Second
	writeTime  = 10 * time.Second
	closeTime  = time.Second // for the client's close to answer the gateway's
)

// Sizes of the library's buffers. It reads longer messages past its own; of what is
// written only closes go through it.
const readBuffer, writeBuffer = 512, 512

var writeBuffers sync.Pool

// wsClient is a client behind the WebSocket library. The library's own connection
// outlives Fiber's handler; Fiber's wrapper of it does not.
type wsClient struct{ conn *websocket.Conn }

// prepare sets how large a message may be and what follows a ping and a pong. The
// goroutine that receives calls both.
func (c wsClient) prepare(limit int, ping func(text string), pong func()) {
	c.conn.SetReadLimit(int64(limit))
	c.conn.SetPingHandler(func(text string) error { ping(text); return nil })
	c.conn.SetPongHandler(func(string) error { pong(); return nil })
	// The outbox answers the client's close, so that nothing follows the answer.
	c.conn.SetCloseHandler(func(int, string) error { return nil })
}

func (c wsClient) receive() (binary bool, data []byte, err error) {
	kind, data, err := c.conn.ReadMessage()
	return kind == websocket.BinaryMessage, data, err
}

func (c wsClient) readUntil(t time.Time) {
	c.conn.SetReadDeadline(t) // fails only on a closed connection, which receive notices
}

func (c wsClient) discard() {
	_, _ = io.Copy(io.Discard, c.conn.NetConn()) // ends with the deadline or with the connection
}

// write passes the library, which writes only one frame at a time.
func (c wsClient) write(frames []byte) error {
	raw := c.conn.NetConn()
	if err := raw.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	_, err := raw.Write(frames)
	return err
}

// writeClose goes through the library, which writes no second close: it has written
// one itself after a protocol error.
func (c wsClient) writeClose(code int, reason string) {
	if !sendable(code) {
		return
	}
	text := websocket.FormatCloseMessage(code, cut(reason))                        // empty for 1005
	c.conn.WriteControl(websocket.CloseMessage, text, time.Now().Add(time.Second)) // the connection is closed next, written or not
}

func (c wsClient) close() { c.conn.Close() }
