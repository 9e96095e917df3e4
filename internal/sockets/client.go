package sockets

import (
	"encoding/binary"
	"iter"
	"slices"
	"time"
)

// Client is the connection to a socket's client. One goroutine receives; the outbox
// writes. Every write ends within WriteTime.
type Client interface {
	Receive() (binary bool, data []byte, err error) // the next message; data is the caller's
	Ended(err error) End                            // how a socket ends whose Receive has returned err
	ReadUntil(t time.Time)                          // Receive fails after t
	Discard()                                       // receives and drops until the time of ReadUntil
	Write(frames []byte) error                      // whole frames, as RFC 6455 has them
	WriteClose(code int, reason string)
	Close()
}

const (
	pingEvery  = 25 * time.Second
	pongWithin = 10 * time.Second
	WriteTime  = 10 * time.Second
	closeTime  = time.Second // for the client to answer the gateway's close
)

// The kinds of frames, as RFC 6455 has them.
const (
	TextFrame   = 1
	BinaryFrame = 2

	pingMessage = 9
	pongMessage = 10
)

// Frames yields the frames that FrameOf has made. Their data is the caller's.
func Frames(frames []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for len(frames) > 1 {
			kind, size, head := int(frames[0]&0x0f), int(frames[1]), 2
			switch size {
			case 126:
				size, head = int(binary.BigEndian.Uint16(frames[2:])), 4
			case 127:
				size, head = int(binary.BigEndian.Uint64(frames[2:])), 10
			}
			data := slices.Clone(frames[head : head+size])
			if frames = frames[head+size:]; !yield(kind, data) {
				return
			}
		}
	}
}
