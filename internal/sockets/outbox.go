package sockets

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	frameCost = 64       // bytes that a waiting message counts for, beyond its own
	keptQueue = 4        // messages for which an idle outbox keeps room
	joinUpTo  = 64 << 10 // bytes of messages that are written at once
)

// outbox writes to one client, in order, and the close last. It has a goroutine while
// there is something to write. It is bounded by bytes. Its zero value is not usable:
// set limit and written.
type outbox struct {
	limit   int                // bytes that may wait, each message counting frameCost more
	written prometheus.Counter // messages written

	writer sync.WaitGroup // the goroutine that writes

	mu      sync.Mutex // guards what follows
	stage   outboxStage
	to      Client   // set by attach
	waiting [][]byte // frames, in order
	bytes   int      // cost of the messages that wait or are being written
	last    *End     // the close; nil: none yet. Nothing is queued after it
	pinged  time.Time
}

// outboxStage is what an outbox does.
type outboxStage uint8

const (
	detached outboxStage = iota // the connection has not come; messages wait for it
	idle                        // nothing waits
	writing                     // a goroutine writes
	finished                    // nothing is written any more
)

func (s outboxStage) String() string {
	return [...]string{"detached", "idle", "writing", "finished"}[s]
}

// outboxEdges lists the stages that may follow each stage.
var outboxEdges = [...][]outboxStage{
	detached: {idle},
	idle:     {writing, finished},
	writing:  {idle, finished},
	finished: {},
}

const (
	final   = 0x80 // of a frame's first byte: the message ends with it
	control = 0x08 // the frame is no message
)

// pingFrame is a ping without a payload.
var pingFrame = FrameOf(pingMessage, nil)

// FrameOf encodes a message, a ping or a pong as a server sends it: in one frame, unmasked.
func FrameOf(kind int, data []byte) []byte {
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

// send queues a frame and never waits. It reports false if the queue is full: the
// client does not keep up. A single message fits always. After finish, send drops the frame.
func (b *outbox) send(frame []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	cost := len(frame) + frameCost
	switch {
	case b.last != nil || b.stage == finished:
		return true
	case b.bytes > 0 && b.bytes+cost > b.limit:
		return false
	}
	b.waiting = append(b.waiting, frame)
	b.bytes += cost
	b.wake()
	return true
}

// ping queues a ping if the last is pingEvery old.
func (b *outbox) ping(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stage == detached || b.stage == finished || b.last != nil || now.Sub(b.pinged) < pingEvery {
		return
	}
	b.pinged = now
	b.waiting = append(b.waiting, pingFrame)
	b.bytes += len(pingFrame) + frameCost
	b.wake()
}

// attach gives the outbox its connection, once, and starts to write the waiting frames.
func (b *outbox) attach(to Client, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.to, b.pinged = to, now
	advance(&b.stage, idle, outboxEdges[:])
	if len(b.waiting) > 0 || b.last != nil {
		b.wake()
	}
}

// finish writes the close last, behind the waiting frames unless the close discards them. Only the first close counts.
func (b *outbox) finish(last End) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil {
		b.last = &last
		b.wake()
	}
}

// close returns the close that finish has set; nil: none.
func (b *outbox) close() *End {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// wait returns when nothing is written any more. It may be called after attach and finish.
func (b *outbox) wait() { b.writer.Wait() }

// cut closes the connection of a client that does not take what is written. Writer
// and reader notice.
func (b *outbox) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.to != nil && b.stage != finished {
		b.to.Close()
	}
}

// wake starts the writer if the outbox is idle. With mu held.
func (b *outbox) wake() {
	if b.stage == idle {
		advance(&b.stage, writing, outboxEdges[:])
		to := b.to
		b.writer.Go(func() { b.write(to) })
	}
}

// write writes what waits, until the outbox is idle or finished. One goroutine runs it.
func (b *outbox) write(to Client) {
	var batch [][]byte
	for {
		last := b.next(&batch)
		switch {
		case len(batch) == 0 && last == nil:
			return
		case !b.writeAll(to, batch):
			to.Close() // wakes the reader
		case last == nil:
			continue
		default:
			if sendable(last.Code) {
				to.WriteClose(last.Code, cut(last.Reason))
			}
			to.ReadUntil(time.Now().Add(closeTime)) // wakes the reader if the client does not answer
		}
		b.mu.Lock()
		advance(&b.stage, finished, outboxEdges[:])
		b.waiting, b.bytes = nil, 0
		b.mu.Unlock()
		return
	}
}

// next takes the waiting frames, and the close if there is one. With neither, the outbox becomes idle.
func (b *outbox) next(batch *[][]byte) *End {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, frame := range *batch {
		b.bytes -= len(frame) + frameCost
	}
	clear(*batch)
	*batch, b.waiting = b.waiting, (*batch)[:0]
	if len(*batch) == 0 && b.last == nil {
		advance(&b.stage, idle, outboxEdges[:])
		if cap(b.waiting) > keptQueue {
			b.waiting = nil
		}
	}
	return b.last
}

// joined are the buffers in which messages are joined.
var joined = sync.Pool{New: func() any { return new([]byte) }}

// writeAll writes frames, as many at once as fit. It reports false when the
// connection has ended. It stops early when a close discards what waits.
func (b *outbox) writeAll(to Client, batch [][]byte) bool {
	buf := joined.Get().(*[]byte)
	defer joined.Put(buf)
	for len(batch) > 0 {
		n, size, messages := 0, 0, 0
		for n < len(batch) && (n == 0 || size+len(batch[n]) <= joinUpTo) {
			size += len(batch[n])
			if batch[n][0]&control == 0 {
				messages++
			}
			n++
		}
		bytes := batch[0]
		if n > 1 {
			*buf = (*buf)[:0]
			for _, frame := range batch[:n] {
				*buf = append(*buf, frame...)
			}
			bytes = *buf
		}
		if b.discards() {
			return true
		}
		if to.Write(bytes) != nil {
			return false
		}
		b.written.Add(float64(messages))
		batch = batch[n:]
	}
	return true
}

// discards reports whether only the close must still be written.
func (b *outbox) discards() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last != nil && b.last.Discard
}
