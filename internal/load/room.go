package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"
	"golang.org/x/sync/errgroup"
)

// Room is a load of WebSockets in one room. Some of them send, at Rate all together, and
// each message is due at all other sockets.
type Room struct {
	Path             string // with {name} in it
	Sockets, Senders int
	Rate             int // messages a second
	Size             int // least bytes of a message
	Warmup, Duration time.Duration
}

// Heard is the result of a Room. A latency counts from the time at which the message was
// due to be sent.
type Heard struct {
	Figures
	Sent      int64 `json:"sent"`
	Due       int64 `json:"due"` // deliveries
	Delivered int64 `json:"delivered"`
	Closed    int64 `json:"closed"` // sockets that ended before the load did
	Rate      int   `json:"rate"`   // messages due per second
}

const (
	stir      = 250 * time.Millisecond // silence of this length ends a phase: all sockets are in, or all messages have arrived
	quietTime = 15 * time.Second       // bound for the last messages
	atOnce    = 16                     // sockets opened at a time
)

// Run opens the sockets, sends until the time is over, and waits for the last messages.
// Lost messages are no error: the result counts them.
func (r Room) Run(ctx context.Context, t Target) (Heard, error) { return r.run(ctx, t, 0) }

func (r Room) run(ctx context.Context, t Target, object int) (Heard, error) {
	c := &crowd{room: r}
	defer c.leave()
	if err := c.enter(ctx, t, object); err != nil {
		return Heard{}, err
	}
	if !c.quiet(ctx, quietTime) { // until all greetings have arrived
		return Heard{}, ctx.Err()
	}
	began := time.Now()
	c.measured.Store(began.Add(r.Warmup).UnixNano())
	c.speak(ctx, began)
	if c.heard.Load() < c.sent.Load()*int64(r.Sockets-1) {
		c.quiet(ctx, quietTime) // messages that have not arrived by now are lost
	}
	if ctx.Err() != nil {
		return Heard{}, ctx.Err()
	}
	return c.result(), nil
}

// Highest finds the highest rate at which every message is delivered, and 99 % of them
// within the given time. It returns the result at that rate. It calls say after each try.
func (r Room) Highest(ctx context.Context, t Target, within time.Duration, say func(Heard, bool)) (Heard, error) {
	var best Heard
	good := func(rate, object int) (bool, error) {
		r.Rate = rate
		h, err := r.run(ctx, t, object)
		ok := err == nil && h.Delivered == h.Due && h.Closed == 0 && h.P99 <= within.Microseconds()
		if ok && h.PerSecond > best.PerSecond {
			best = h
		}
		if err == nil {
			say(h, ok)
		}
		return ok, err
	}
	low, high, object := 0, 25, 1
	for ; ; object++ { // double the rate until it is too high
		ok, err := good(high, object)
		if err != nil {
			return best, err
		}
		if !ok {
			break
		}
		low, high = high, 2*high
	}
	for ; high-low > max(1, high/16); object++ { // bisect
		middle := (low + high) / 2
		ok, err := good(middle, object)
		if err != nil {
			return best, err
		}
		if ok {
			low = middle
		} else {
			high = middle
		}
	}
	if low == 0 {
		return best, fmt.Errorf("%d messages a second are too many already", high)
	}
	return best, nil
}

// crowd is all sockets of one load.
type crowd struct {
	room    Room
	conns   []*websocket.Conn
	reading sync.WaitGroup

	sent, heard    atomic.Int64
	words          atomic.Int64 // frames of any kind that were read
	closed         atomic.Int64
	leaving        atomic.Bool
	measured, last atomic.Int64  // start of the measurement and time of the last message: Unix nanoseconds
	took           [16]latencies // shared by the sockets, to keep them small
}

// enter opens the sockets and starts a reader for each.
func (c *crowd) enter(ctx context.Context, t Target, object int) error {
	dialer := &websocket.Dialer{HandshakeTimeout: requestTime, ReadBufferSize: 4096, WriteBufferSize: 512}
	c.conns = make([]*websocket.Conn, c.room.Sockets)
	opening, ctx := errgroup.WithContext(ctx)
	opening.SetLimit(atOnce)
	for i := range c.conns {
		opening.Go(func() error {
			conn, res, err := dialer.DialContext(ctx, "ws://"+t.host+withName(c.room.Path, object), nil)
			if res != nil && err != nil {
				err = fmt.Errorf("%w (status %d)", err, res.StatusCode)
			}
			if err != nil {
				return fmt.Errorf("open socket %d at http://%s: %w", i+1, t.host, err)
			}
			c.conns[i] = conn
			c.reading.Go(func() {
				c.read(conn, &c.took[i%len(c.took)])
				if !c.leaving.Load() {
					c.closed.Add(1)
				}
			})
			return nil
		})
	}
	return opening.Wait()
}

func (c *crowd) leave() {
	c.leaving.Store(true)
	for _, conn := range c.conns {
		if conn != nil {
			goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
			_ = conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second)) // closed next in any case
			conn.Close()
		}
	}
	c.reading.Wait()
}

// stamp is the beginning of our own messages. The time at which the message was due follows.
var stamp = []byte(`{"type":"bench","t":`)

// read reads the messages of one socket until the socket ends.
func (c *crowd) read(conn *websocket.Conn, took *latencies) {
	buf := make([]byte, c.room.Size+256)
	for {
		_, in, err := conn.NextReader()
		if err != nil {
			return
		}
		n, err := io.ReadFull(in, buf)
		if err == nil { // the frame is longer than any message of ours
			_, err = io.Copy(io.Discard, in)
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			return
		}
		c.words.Add(1)
		digits, ours := bytes.CutPrefix(buf[:n], stamp)
		if !ours {
			continue // a greeting
		}
		digits, _, _ = bytes.Cut(digits, []byte(","))
		due, err := strconv.ParseInt(string(digits), 10, 64)
		if err != nil {
			continue
		}
		now := time.Now()
		c.heard.Add(1)
		if due >= c.measured.Load() {
			took.add(now.Sub(time.Unix(0, due)))
			c.last.Store(now.UnixNano())
		}
	}
}

// quiet waits until no message has arrived for stir, at most for the time given. It reports
// false if ctx has ended.
func (c *crowd) quiet(ctx context.Context, most time.Duration) bool {
	end := time.Now().Add(most)
	for words := int64(-1); words != c.words.Load() && time.Now().Before(end); {
		words = c.words.Load()
		if !sleepUntil(ctx, time.Now().Add(stir)) {
			return false
		}
	}
	return ctx.Err() == nil
}

// speak sends the messages when they are due, from each sender in turn.
func (c *crowd) speak(ctx context.Context, began time.Time) {
	over := began.Add(c.room.Warmup + c.room.Duration)
	var speaking sync.WaitGroup
	for s := range c.room.Senders {
		speaking.Go(func() {
			var message []byte
			for n := s; ; n += c.room.Senders {
				due := began.Add(time.Duration(n) * time.Second / time.Duration(c.room.Rate))
				if !due.Before(over) || !sleepUntil(ctx, due) {
					return
				}
				message = c.message(message[:0], due)
				if c.conns[s].WriteMessage(websocket.TextMessage, message) != nil {
					return // its reader counts it
				}
				c.sent.Add(1)
			}
		})
	}
	speaking.Wait()
}

func (c *crowd) message(out []byte, due time.Time) []byte {
	out = append(out, stamp...)
	out = strconv.AppendInt(out, due.UnixNano(), 10)
	out = append(out, `,"pad":"`...)
	for len(out) < c.room.Size-len(`"}`) {
		out = append(out, '-')
	}
	return append(out, `"}`...)
}

func (c *crowd) result() Heard {
	var took []*latencies
	for i := range c.took {
		took = append(took, &c.took[i])
	}
	// The time until the last message arrived, so that late messages lower the rate.
	seconds := max(time.Duration(c.last.Load()-c.measured.Load()), c.room.Duration).Seconds()
	return Heard{
		Figures: figures(seconds, took...), Sent: c.sent.Load(), Due: c.sent.Load() * int64(c.room.Sockets-1),
		Delivered: c.heard.Load(), Closed: c.closed.Load(), Rate: c.room.Rate,
	}
}
