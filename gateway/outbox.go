package gateway

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/fasthttp/websocket"

	"holdfast/objects"
)

const (
	maxQueued = 512      // messages that wait to be written to one socket
	keptQueue = 4        // messages for which an idle socket keeps room
	joinUpTo  = 64 << 10 // bytes of messages that are written at once
)

// out is a message to write, encoded for all sockets that get it, or the close.
type out struct {
	frame   []byte
	closing *closing
}

// closing is how a socket is to end.
type closing struct {
	code   int
	reason string
}

const (
	final   = 0x80 // of a frame's first byte: the message ends with it
	control = 0x08 // the frame is no message
)

// frameOf encodes a message, or a pong, as a server sends it: in one frame, unmasked.
func frameOf(kind int, data []byte) []byte {
	const header = 10 // bytes at the most
	frame := append(make([]byte, 0, header+len(data)), final|byte(kind))
	switch n := len(data); {
	case n < 126:
		frame = append(frame, byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 127), uint64(n))
	}
	return append(frame, data...)
}

// send queues for the writer and never waits. A client that does not keep up is closed.
func (s *socket) send(o out) {
	s.mu.Lock()
	full := s.queued+len(o.frame) > s.hub.g.cfg.Limits.Queue || s.count >= maxQueued
	if !full && !s.ended {
		s.waiting = append(s.waiting, o)
		s.queued += len(o.frame)
		s.count++
		s.wakeWriter()
	}
	s.mu.Unlock()
	if full {
		s.end(objects.Overloaded.CloseCode(), "too slow: messages were waiting to be read")
	}
}

// wakeWriter has somebody write, if there is a connection and nobody does. An idle
// socket has no writer: there are many of those. With mu held.
func (s *socket) wakeWriter() {
	if conn := s.live; conn != nil && !s.writing {
		s.writing = true
		s.writer.Go(func() { s.write(conn) })
	}
}

// write is the writer: messages in order, pings, and at the end the close. It ends
// when there is nothing to write, and for good after the close or a failure.
func (s *socket) write(conn *websocket.Conn) {
	var batch []out
	for {
		s.mu.Lock()
		for i := range batch {
			s.queued -= len(batch[i].frame)
			batch[i] = out{}
		}
		s.count -= len(batch)
		batch, s.waiting = s.waiting, batch[:0]
		ping, ended, closing := s.ping, s.ended, s.closing
		s.ping = false
		if len(batch) == 0 && !ping && !ended {
			s.writing = false
			if cap(s.waiting) > keptQueue {
				s.waiting = nil
			}
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		switch {
		case ended:
			s.goodbye(conn, closing, batch)
			conn.SetReadDeadline(time.Now().Add(hearTime)) // wakes the reader, if the client does not
			return
		case !s.put(conn, batch), ping && conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTime)) != nil:
			conn.Close() // wakes the reader
			return
		}
	}
}

// joined are buffers in which messages are put together.
var joined = sync.Pool{New: func() any { return new([]byte) }}

// put writes messages, as many at once as fit, up to a close if there is one;
// false when the connection has ended.
func (s *socket) put(conn *websocket.Conn, batch []out) bool {
	buf := joined.Get().(*[]byte)
	defer joined.Put(buf)
	for len(batch) > 0 {
		n, size, messages := 0, 0, 0
		for n < len(batch) && batch[n].closing == nil && (n == 0 || size+len(batch[n].frame) <= joinUpTo) {
			size += len(batch[n].frame)
			if batch[n].frame[0]&control == 0 {
				messages++
			}
			n++
		}
		if n == 0 {
			s.end(batch[0].closing.code, batch[0].closing.reason)
			return true
		}
		bytes := batch[0].frame
		if n > 1 {
			*buf = (*buf)[:0]
			for _, o := range batch[:n] {
				*buf = append(*buf, o.frame...)
			}
			bytes = *buf
		}
		if s.answered.Load() {
			return true // nobody listens any more; the connection ends by itself
		}
		if !writeTo(conn, bytes) {
			return false
		}
		s.hub.g.metrics.of(s.object.Class()).framesOut.Add(float64(messages))
		batch = batch[n:]
	}
	return true
}

// writeTo writes whole frames past the library, which only knows one at a time. The
// library's own answer to a close may come in between, as a whole frame.
func writeTo(conn *websocket.Conn, frames []byte) bool {
	raw := conn.NetConn()
	if raw.SetWriteDeadline(time.Now().Add(writeTime)) != nil {
		return false
	}
	_, err := raw.Write(frames)
	return err == nil
}

// goodbye writes what was sent before the end, unless the client is too slow or
// gone, and then the close.
func (s *socket) goodbye(conn *websocket.Conn, closing closing, rest []out) {
	hopeless := closing.code == objects.Overloaded.CloseCode() || closing.code == websocket.CloseAbnormalClosure
	if !hopeless && !s.put(conn, rest) {
		return
	}
	if sendable(closing.code) {
		conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(closing.code, cut(closing.reason)), time.Now().Add(time.Second)) // closed next, said or not
	}
}
