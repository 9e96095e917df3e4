package sockets

import "time"

// Client is the connection to a socket's client. One goroutine receives; the outbox
// writes. Every write ends within WriteTime.
type Client interface {
	Receive() (binary bool, data []byte, err error) // the next message; data is the caller's
	Ended(err error) End                            // how the socket ends for which Receive has returned err
	ReadUntil(t time.Time)                          // Receive fails after t
	Discard()                                       // drops what comes until the time of ReadUntil
	Write(frames []byte) error                      // whole frames, as RFC 6455 has them
	WriteClose(code int, reason string)
	Close()
}

const (
	pingEvery  = 25 * time.Second
	pongWithin = 10 * time.Second
	WriteTime  = 10 * time.Second
	closeTime  = time.Second // for the client's close to answer the gateway's
)

// The kinds of frames, as RFC 6455 has them.
const (
	textMessage   = 1
	binaryMessage = 2
	pingMessage   = 9
	pongMessage   = 10
)
