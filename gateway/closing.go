package gateway

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/fasthttp/websocket"
)

// ending names how a connection ended.
func ending(err error) (int, string) {
	if e, ok := errors.AsType[*websocket.CloseError](err); ok {
		return e.Code, e.Text
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		return websocket.CloseMessageTooBig, "the message is too large"
	}
	if _, broken := errors.AsType[net.Error](err); broken || errors.Is(err, io.EOF) {
		return websocket.CloseAbnormalClosure, "the connection ended without a close frame"
	}
	return websocket.CloseProtocolError, err.Error() // the library has told the client
}

// hearOut reads until the client's close comes, for a moment: a connection cut
// with something unread loses the close frame that was written.
func hearOut(conn *websocket.Conn) {
	conn.SetReadDeadline(time.Now().Add(hearTime)) // fails only on a closed connection
	for {
		if _, _, err := conn.NextReader(); err != nil {
			return
		}
	}
}

// linger takes in, for a moment, what a client goes on sending after we have
// ended it in the middle of a message: closing a connection with something unread
// cuts it, and the close frame is lost.
func linger(conn *websocket.Conn, code int) {
	switch code {
	case websocket.CloseProtocolError, websocket.CloseInvalidFramePayloadData, websocket.CloseMessageTooBig:
		conn.SetReadDeadline(time.Now().Add(hearTime)) // fails only on a closed connection
		_, _ = io.Copy(io.Discard, conn.NetConn())     // ends with the deadline or the connection; either will do
	}
}

// sendable tells whether a code may stand in a close frame.
func sendable(code int) bool {
	switch code {
	case websocket.CloseNoStatusReceived, websocket.CloseAbnormalClosure, websocket.CloseTLSHandshake, 1004:
		return false
	}
	return code >= 1000 && code <= 4999
}

// cut shortens a reason to what a close frame can hold, at a character's border.
func cut(reason string) string {
	const most = 123
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) <= most {
		return reason
	}
	end := 0
	for i := range reason {
		if i > most {
			break
		}
		end = i
	}
	return reason[:end]
}

// codeLabel keeps a client's own codes from multiplying a metric.
func codeLabel(code int) string {
	if code >= 3000 {
		return "application"
	}
	return strconv.Itoa(code)
}
