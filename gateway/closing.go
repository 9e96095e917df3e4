package gateway

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/fasthttp/websocket"

	"holdfast/objects"
)

// closeInfo is how a socket ends.
type closeInfo struct {
	code    int
	reason  string
	discard bool         // nothing that waits for the client is written before the close
	fault   objects.Code // what went wrong; "": nothing
}

// tooLarge is the reason for closing a socket whose client's message has more than so
// many bytes.
func tooLarge(limit int) string { return fmt.Sprintf("a message has at most %d bytes", limit) }

// bareTooLarge is the frame with which the library closes such a socket by itself.
var bareTooLarge = []byte{0x88, 2, websocket.CloseMessageTooBig >> 8, websocket.CloseMessageTooBig & 0xff}

// closeOf is how a socket ends whose connection failed to deliver a message. Nothing
// more is written to it: the client has closed, or has gone, or the library has told
// it of its fault.
func closeOf(err error, limit int) closeInfo {
	if e, ok := errors.AsType[*websocket.CloseError](err); ok {
		return closeInfo{code: e.Code, reason: e.Text, discard: true}
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		return closeInfo{websocket.CloseMessageTooBig, tooLarge(limit), true, objects.TooLarge}
	}
	if _, broken := errors.AsType[net.Error](err); broken || errors.Is(err, io.EOF) {
		return closeInfo{code: websocket.CloseAbnormalClosure, reason: "the connection ended without a close frame", discard: true}
	}
	return closeInfo{websocket.CloseProtocolError, err.Error(), true, objects.Invalid}
}

// awaitPeerClose receives until the client's close comes, for closeTime at most: a
// connection closed with something unread loses the close frame that was written.
func awaitPeerClose(c client) {
	c.readUntil(time.Now().Add(closeTime))
	for {
		if _, _, err := c.receive(); err != nil {
			return
		}
	}
}

// linger takes in what a client goes on sending after the gateway has ended it in the
// middle of a message, for closeTime at most. The reason is that of awaitPeerClose.
func linger(c client, code int) {
	switch code {
	case websocket.CloseProtocolError, websocket.CloseInvalidFramePayloadData, websocket.CloseMessageTooBig:
		c.readUntil(time.Now().Add(closeTime))
		c.discard()
	}
}

// sendable reports whether a close frame may be sent for a code. 1005 stands for a
// close frame without a code: it answers one.
func sendable(code int) bool {
	switch code {
	case websocket.CloseAbnormalClosure, websocket.CloseTLSHandshake, 1004:
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

// closeLabel is the close code as a metric's label. Codes of applications are one
// label, and so are codes that do not exist.
func closeLabel(code int) string {
	switch {
	case code >= 1000 && code <= 1015:
		return strconv.Itoa(code)
	case code >= 3000 && code <= 4999:
		return "application"
	}
	return "other"
}
