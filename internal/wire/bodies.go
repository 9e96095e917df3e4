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

// StreamAt is where the rest of a response is to be had.
type StreamAt struct {
	ID   string // unlike all others, and not to be guessed
	Host string // the incarnation that writes it
}

func (s *StreamAt) fields(c *coder) {
	text(c, 1, &s.ID)
	text(c, 2, &s.Host)
}

// Segment is a segment of one body. Package flow decides what is said.
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

// Bodies are what one process carries beside events: the rests of responses, and the large bodies of their requests. Safe
// for concurrent use.
type Bodies struct {
	bus  Conn
	sub  *nats.Subscription
	mu   sync.Mutex // guards what follows
	open map[string]*Body
	over bool
}

// NewBodies hears what is for this name.
func NewBodies(bus Conn, name string) (*Bodies, error) {
	b := &Bodies{bus: bus, open: make(map[string]*Body)}
	var err error
	if b.sub, err = bus.Subscribe(BodySubject(name), b.onMessage); err != nil {
		return nil, fmt.Errorf("listen for bodies: %w", err)
	}
	return b, nil
}

// Close cuts all that is carried.
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

// NewStream names a stream that the incarnation of this name will write.
func NewStream(incarnation string) *StreamAt { return &StreamAt{ID: rand.Text(), Host: incarnation} }

// Begin is the writer's side of a stream. The reader is who has asked.
func (b *Bodies) Begin(at *StreamAt, reader string) *Body {
	return b.add(at.ID, BodySubject(reader), false)
}

// Open is the reader's side of a stream.
func (b *Bodies) Open(at *StreamAt) (*Body, error) {
	if len(at.ID) != len(rand.Text()) || !incarnationPattern.MatchString(at.Host) {
		return nil, objects.Errorf(objects.Unknown, "the answer is a stream whose place is no host's")
	}
	return b.add(at.ID, BodySubject(at.Host), true), nil
}

func (b *Bodies) add(id, to string, opens bool) *Body {
	body := &Body{of: b, id: id, to: to, side: flow.New(flow.Default(), opens, time.Now())}
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

// onMessage hands a segment to its body. Nobody hears of one that is of no body here.
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

// Body is one side of a stream: what it reads, and what it writes.
type Body struct {
	of     *Bodies
	id, to string

	mu       sync.Mutex // guards what follows
	side     *flow.Side
	timer    *time.Timer
	changed  chan struct{} // closed when something has; nil: nobody waits for that
	left     func(error)   // is told once that it is of no use to write; nil: nobody is
	ended    bool          // it is carried no more
	carried  int           // bytes of it so far
	closed   bool          // nobody reads
	deadline time.Time     // of Read; zero: none
	pumping  sync.WaitGroup
	forget   func() bool // ends what until has begun; nil: nothing
	upload   io.Closer   // that is being carried; nil: none
}

// Why a body is not carried any more.
var (
	ErrLeft = errors.New("the client has gone, and nobody reads the response")
	errLost = errors.New("the other end of the stream is not heard any more")
)

func (b *Body) onSegment(s flow.Segment) {
	b.mu.Lock()
	now := time.Now()
	if b.side.Receive(s, now) != nil {
		b.mu.Unlock()
		return
	}
	b.count(len(s.Data))
	tell := b.pump(now)
	b.mu.Unlock()
	tell()
}

func (b *Body) tick() {
	b.mu.Lock()
	tell := b.pump(time.Now())
	b.mu.Unlock()
	tell()
}

// pump sends what is to be sent, and wakes who waits. What it returns is to be called without the lock. With mu held.
func (b *Body) pump(now time.Time) (tell func()) {
	if b.ended {
		b.wake()
		return b.farewell(errLost)
	}
	b.send(now)
	if b.side.Dead(now) {
		b.stop()
		b.of.forget(b.id)
	} else {
		b.timer.Reset(max(time.Millisecond, b.side.Wake().Sub(now)))
	}
	b.wake()
	switch {
	case b.side.Phase() == flow.Lost:
		return b.farewell(errLost)
	case b.side.Unread():
		return b.farewell(ErrLeft)
	}
	return func() {}
}

// large is how many bytes make a stream a large one, for package heap.
const large = 1 << 20

// count counts bytes that are carried. With mu held.
func (b *Body) count(n int) {
	before := b.carried
	if b.carried += n; before < large && b.carried >= large && !b.ended {
		heap.Begin()
	}
}

// stop carries nothing any more. With mu held.
func (b *Body) stop() {
	if !b.ended && b.carried >= large {
		heap.End()
	}
	b.ended = true
	b.timer.Stop()
}

// send sends what is to be said. What is not sent is said again. With mu held.
func (b *Body) send(now time.Time) {
	for s, ok := b.side.Next(now); ok; s, ok = b.side.Next(now) {
		_ = Publish(b.of.bus, b.to, &Segment{Body: b.id, Segment: s})
	}
}

// farewell is how to say that it is of no use to write. With mu held.
func (b *Body) farewell(why error) func() {
	left := b.left
	if b.left = nil; left == nil {
		return func() {}
	}
	return func() { left(why) }
}

// wake wakes who waits. With mu held.
func (b *Body) wake() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// wait waits for a change, until the time; it reports whether there was one. With mu held, which it gives up meanwhile.
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

// Read reads what comes. A cut is an error.
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

// Write writes, and waits while the other does not read. Nothing is written after Finish.
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
			b.count(some)
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

// Finish says that nothing more is written: nil for all was, and else why it was not.
func (b *Body) Finish(err error) {
	b.mu.Lock()
	end, reason := flow.Whole, ""
	if err != nil {
		end, reason = flow.Cut, strings.ToValidUTF8(err.Error(), "?")
	}
	b.side.Finish(end, reason)
	tell := b.pump(time.Now())
	b.mu.Unlock()
	tell()
}

// Sent waits until the other has all that was written, or until ctx ends. Then nothing is carried any more.
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

// Watch has left told, once, when it is of no use any more to write: ErrLeft if nobody reads.
func (b *Body) Watch(left func(error)) {
	b.mu.Lock()
	b.left = left
	tell := b.pump(time.Now())
	b.mu.Unlock()
	tell()
}

// until has the body closed when ctx ends.
func (b *Body) until(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget = context.AfterFunc(ctx, func() { _ = b.Close() })
}

// Carry has a large body written, on a goroutine of its own, until it ends or this one is closed.
func (b *Body) Carry(upload io.ReadCloser) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.upload = upload
	b.pumping.Go(func() {
		_, err := io.CopyBuffer(onlyWriter{b}, upload, make([]byte, flow.Default().Data))
		b.Finish(err)
	})
}

// onlyWriter keeps io.Copy from other ways.
type onlyWriter struct{ io.Writer }

// Close says that nobody reads any more. It waits for what Carry has begun.
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
	tell := b.pump(time.Now())
	b.mu.Unlock()
	tell()
	var err error
	if upload != nil {
		err = upload.Close()
	}
	b.pumping.Wait()
	return err
}

// end carries nothing any more. The other is told what can be told.
func (b *Body) end() {
	b.mu.Lock()
	now := time.Now()
	b.side.Leave(now)
	b.side.Finish(flow.Cut, "whoever has written it has stopped")
	b.send(now)
	b.stop()
	b.wake()
	tell := b.farewell(errLost)
	b.mu.Unlock()
	b.of.forget(b.id)
	tell()
}
