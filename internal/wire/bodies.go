package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/flow"
	"holdfast/internal/heap"
	"holdfast/objects"
)

// StreamAt says where the rest of a response is read.
type StreamAt struct {
	ID   string // unique, and cannot be guessed
	Host string // the incarnation that writes the stream
}

func (s *StreamAt) fields(c *coder) {
	text(c, 1, &s.ID)
	text(c, 2, &s.Host)
}

// Segment is a segment of one body. Package flow makes it.
type Segment struct {
	Body string // the id of its stream
	flow.Segment
}

func (s *Segment) fields(c *coder) {
	text(c, 1, &s.Body)
	number(c, 2, &s.From)
	c.bytes(3, &s.Data)
	number(c, 4, &s.End)
	text(c, 5, &s.Reason)
	number(c, 6, &s.Got)
	number(c, 7, &s.Room)
	c.bool(8, &s.Again)
	c.bool(9, &s.Gone)
}

// Bodies are the bodies that one process carries beside events: the rests of responses, and the large bodies of their
// requests. Safe for concurrent use.
type Bodies struct {
	bus  Conn
	sub  *nats.Subscription
	mu   sync.Mutex // guards what follows
	open map[string]*Body
	over bool
}

// NewBodies subscribes to the segments for a name.
func NewBodies(bus Conn, name string) (*Bodies, error) {
	b := &Bodies{bus: bus, open: make(map[string]*Body)}
	var err error
	if b.sub, err = bus.Subscribe(BodySubject(name), b.onMessage); err != nil {
		return nil, fmt.Errorf("listen for bodies: %w", err)
	}
	return b, nil
}

// Close cuts all bodies.
func (b *Bodies) Close() {
	b.sub.Unsubscribe() // fails only when the connection has ended
	b.mu.Lock()
	all := b.open
	b.open, b.over = make(map[string]*Body), true
	b.mu.Unlock()
	for _, body := range all {
		body.end()
	}
}

// NewStream names a new stream, which this incarnation will write.
func NewStream(incarnation string) *StreamAt { return &StreamAt{ID: rand.Text(), Host: incarnation} }

// Begin opens the writer's side of a stream. The reader is the asking process.
func (b *Bodies) Begin(at *StreamAt, reader string) *Body {
	return b.add(at.ID, BodySubject(reader), false)
}

// Open opens the reader's side of a stream.
func (b *Bodies) Open(at *StreamAt) (*Body, error) {
	if len(at.ID) != len(rand.Text()) || !incarnationPattern.MatchString(at.Host) {
		return nil, objects.Errorf(objects.Unknown, "the answer is a stream whose place is no host's")
	}
	return b.add(at.ID, BodySubject(at.Host), true), nil
}

func (b *Bodies) add(id, to string, opens bool) *Body {
	body := &Body{bodies: b, id: id, to: to, side: flow.New(flow.Default(), opens, time.Now())}
	b.mu.Lock()
	over := b.over
	if !over {
		b.open[id] = body
	}
	b.mu.Unlock()
	body.mu.Lock()
	defer body.mu.Unlock()
	if body.timer = time.AfterFunc(time.Hour, body.tick); over {
		body.ended = true
	}
	body.pump(time.Now())
	return body
}

// onMessage hands a segment to its body. It drops segments of bodies that are not here.
func (b *Bodies) onMessage(msg *nats.Msg) {
	var s Segment
	if Decode(msg.Data, &s) != nil {
		return
	}
	b.mu.Lock()
	body := b.open[s.Body]
	b.mu.Unlock()
	if body != nil {
		body.onSegment(s.Segment)
	}
}

func (b *Bodies) forget(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, id)
}

// Body is one side of a stream. It is read and written.
type Body struct {
	bodies *Bodies
	id, to string

	mu       sync.Mutex // guards what follows
	side     *flow.Side
	timer    *time.Timer
	changed  chan struct{} // closed by the next change; nil: nobody waits for one
	left     func(error)   // called once when writing has become useless; nil: not wanted
	ended    bool          // the body is not carried any more
	closed   bool          // nobody reads
	deadline time.Time     // of Read; zero: none
	pumping  sync.WaitGroup
	forget   func() bool // ends the wait that until began; nil: none
	upload   io.Closer   // the upload that Carry copies; nil: none
}

// Reasons for which a body is not carried any more.
var (
	ErrLeft = errors.New("the client has gone, and nobody reads the response")
	errLost = errors.New("nothing comes from the other end of the stream any more")
)

func (b *Body) onSegment(s flow.Segment) {
	b.mu.Lock()
	now := time.Now()
	if b.side.Receive(s, now) != nil {
		b.mu.Unlock()
		return
	}
	heap.Carried(len(s.Data))
	call := b.pump(now)
	b.mu.Unlock()
	call()
}

func (b *Body) tick() {
	b.mu.Lock()
	call := b.pump(time.Now())
	b.mu.Unlock()
	call()
}

// pump sends the next segments, and wakes who waits. The caller calls the returned function without the lock. With mu held.
func (b *Body) pump(now time.Time) (unlocked func()) {
	if b.ended {
		b.wake()
		return b.notifyLeft(errLost)
	}
	b.send(now)
	if b.side.Dead(now) {
		b.stop()
		b.bodies.forget(b.id)
	} else {
		b.timer.Reset(max(time.Millisecond, b.side.Wake().Sub(now)))
	}
	b.wake()
	switch {
	case b.side.Phase() == flow.Lost:
		return b.notifyLeft(errLost)
	case b.side.Unread():
		return b.notifyLeft(ErrLeft)
	}
	return func() {}
}

// stop ends the carrying. With mu held.
func (b *Body) stop() {
	b.ended = true
	b.timer.Stop()
}

// send sends the side's next segments. A segment that cannot be sent is made again later. With mu held.
func (b *Body) send(now time.Time) {
	for s, ok := b.side.Next(now); ok; s, ok = b.side.Next(now) {
		_ = Publish(b.bodies.bus, b.to, &Segment{Body: b.id, Segment: s})
	}
}

// notifyLeft returns the call of left, once. With mu held.
func (b *Body) notifyLeft(why error) func() {
	left := b.left
	if b.left = nil; left == nil {
		return func() {}
	}
	return func() { left(why) }
}

// wake wakes those who wait for a change. With mu held.
func (b *Body) wake() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// wait waits for a change until a time, and reports whether one came. With mu held; wait releases it meanwhile.
func (b *Body) wait(ctx context.Context, until time.Time) bool {
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	changed := b.changed
	b.mu.Unlock()
	defer b.mu.Lock()
	var over <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-changed:
		return true
	case <-over:
	case <-ctx.Done():
	}
	return false
}

// Read reads received bytes, and waits for some. A cut is an error.
func (b *Body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		if b.closed {
			return 0, net.ErrClosed
		}
		now := time.Now()
		if n := b.side.Read(p, now); n > 0 || len(p) == 0 {
			b.send(now)
			return n, nil
		}
		switch end, reason := b.side.Ended(); {
		case end == flow.Whole:
			return 0, io.EOF
		case end == flow.Cut:
			return 0, fmt.Errorf("the stream was cut: %s", reason)
		case b.ended || b.side.Phase() == flow.Lost:
			return 0, errLost
		}
		if !b.wait(context.Background(), b.deadline) {
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// SetReadDeadline has Read fail after the time; the zero time is none.
func (b *Body) SetReadDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	return nil
}

// Write writes, and waits while the other does not read. After Finish it fails.
func (b *Body) Write(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case b.side.Phase() == flow.Lost || b.ended && !b.side.Unread():
			return n, errLost
		case b.side.Unread():
			return n, ErrLeft
		case b.side.Finished():
			return n, net.ErrClosed
		}
		some := b.side.Write(p[n:])
		if n += some; some > 0 {
			heap.Carried(some)
			now := time.Now()
			b.send(now)
			b.timer.Reset(max(time.Millisecond, b.side.Wake().Sub(now)))
		}
		if n == len(p) {
			return n, nil
		}
		b.wait(context.Background(), time.Time{})
	}
}

// Finish ends the writing: nil if everything was written, otherwise the reason of the cut.
func (b *Body) Finish(err error) {
	b.mu.Lock()
	end, reason := flow.Whole, ""
	if err != nil {
		end, reason = flow.Cut, strings.ToValidUTF8(err.Error(), "?")
	}
	b.side.Finish(end, reason)
	call := b.pump(time.Now())
	b.mu.Unlock()
	call()
}

// Sent waits until the other has all bytes, or until ctx ends. Then it ends the carrying.
func (b *Body) Sent(ctx context.Context) {
	b.mu.Lock()
	for !b.ended && !b.side.Sent() && b.wait(ctx, time.Time{}) {
	}
	sent := b.ended || b.side.Sent()
	b.mu.Unlock()
	if !sent {
		b.end()
	}
}

// Watch has left called once when writing becomes useless, with ErrLeft if nobody reads.
func (b *Body) Watch(left func(error)) {
	b.mu.Lock()
	b.left = left
	call := b.pump(time.Now())
	b.mu.Unlock()
	call()
}

// until has the body closed when ctx ends.
func (b *Body) until(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget = context.AfterFunc(ctx, func() { _ = b.Close() })
}

// Carry copies a large body to this one, on a goroutine of its own, until the upload ends or this body is closed.
func (b *Body) Carry(upload io.ReadCloser) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.upload = upload
	b.pumping.Go(func() {
		_, err := io.CopyBuffer(onlyWriter{b}, upload, make([]byte, flow.Default().Data))
		b.Finish(err)
	})
}

// onlyWriter hides all methods but Write from io.Copy.
type onlyWriter struct{ io.Writer }

// Close stops reading. It waits for the goroutine of Carry.
func (b *Body) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	if b.forget != nil {
		b.forget()
	}
	upload := b.upload
	b.side.Leave(time.Now())
	b.side.Finish(flow.Cut, "nobody reads the response")
	call := b.pump(time.Now())
	b.mu.Unlock()
	call()
	var err error
	if upload != nil {
		err = upload.Close()
	}
	b.pumping.Wait()
	return err
}

// end ends the carrying. It sends a last segment if there is one.
func (b *Body) end() {
	b.mu.Lock()
	now := time.Now()
	b.side.Leave(now)
	b.side.Finish(flow.Cut, "whoever has written it has stopped")
	b.send(now)
	b.stop()
	b.wake()
	call := b.notifyLeft(errLost)
	b.mu.Unlock()
	b.bodies.forget(b.id)
	call()
}
