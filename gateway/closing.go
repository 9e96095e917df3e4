package gateway

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/fasthttp/websocket"

	"holdfast/internal/sockets"
	"holdfast/objects"
)

// tooLarge returns the reason for closing a socket whose client's message has more than so
// many bytes.
func tooLarge(limit int) string { return fmt.Sprintf("a message has at most %d bytes", limit) }

// bareTooLarge is the frame with which the library closes such a socket by itself.
var bareTooLarge = []byte{0x88, 2, websocket.CloseMessageTooBig >> 8, websocket.CloseMessageTooBig & 0xff}

// endOf returns how a socket ends whose connection failed to deliver a message. Nothing more is written to the
// connection: the client has closed or is gone, or the library has reported the client's fault to it.
func endOf(err error, limit int) sockets.End {
	if e, ok := errors.AsType[*websocket.CloseError](err); ok {
		return sockets.End{Code: e.Code, Reason: e.Text, Discard: true}
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		return sockets.End{Code: websocket.CloseMessageTooBig, Reason: tooLarge(limit), Discard: true, Fault: objects.TooLarge}
	}
	if _, broken := errors.AsType[net.Error](err); broken || errors.Is(err, io.EOF) {
		return sockets.End{Code: websocket.CloseAbnormalClosure, Reason: "the connection ended without a close frame", Discard: true}
	}
	return sockets.End{Code: websocket.CloseProtocolError, Reason: err.Error(), Discard: true, Fault: objects.Invalid}
}
