package sockets

import (
	"strconv"
	"strings"
	"time"

	"holdfast/objects"
)

// End describes the end of a socket.
type End struct {
	Code    int
	Reason  string
	Discard bool         // waiting messages are dropped before the close
	Fault   objects.Code // the failure; "": none
	final   bool         // the object has closed the socket
	lost    bool         // messages to the client are missing
}

// The codes with which the gateway closes sockets, as in RFC 6455.
const (
	closeProtocol = 1002
	closeAbnormal = 1006 // no close frame: the connection broke, or never came
	closeInvalid  = 1007
	closeTooBig   = 1009
	closeInternal = 1011
	closeRestart  = 1012
	closeTLS      = 1015
)

// awaitPeerClose receives until the client's close comes, for closeTime at most: a
// connection closed with something unread loses the close frame that was written.
func awaitPeerClose(c Client) {
	c.ReadUntil(time.Now().Add(closeTime))
	for {
		if _, _, err := c.Receive(); err != nil {
			return
		}
	}
}

// linger receives further messages of a client after the gateway has ended the socket in the middle of a message, for
// closeTime at most, for the reason given at awaitPeerClose.
func linger(c Client, code int) {
	switch code {
	case closeProtocol, closeInvalid, closeTooBig:
		c.ReadUntil(time.Now().Add(closeTime))
		c.Discard()
	}
}

// sendable reports whether a close frame may be sent for a code. 1005 stands for a
// close frame without a code: it answers one.
func sendable(code int) bool {
	switch code {
	case closeAbnormal, closeTLS, 1004:
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

// closeLabel returns the close code as a metric's label. Codes of applications are one
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
