package gateway

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	headTime  = 10 * time.Second       // a request's line and headers arrive within it
	stallTime = 10 * time.Second       // a body may pause for so long
	bodyTime  = 10 * time.Minute       // a body has arrived within it, however steadily it does
	partTime  = 500 * time.Millisecond // a stopping gateway waits so long for a request that is on its way

	lingerTime  = 5 * time.Second // a refused client may go on sending for so long
	lingerPause = time.Second     // and may pause for so long
	lingerBytes = 64 << 20        // and may send so much

	bodyMemory = 128 << 20 // for large bodies that are being received
)

// conns is the listener of a gateway. It knows every connection that serves HTTP, so
// that a stop can tell those that wait for a request from those that serve one.
type conns struct {
	net.Listener
	buffer int // what fasthttp reads ahead, in bytes
	bodies bodies

	mu      sync.Mutex // guards what follows
	open    map[*conn]struct{}
	leaving bool
	gone    chan struct{} // closed when leaving and none is open
}

// newConns takes over a listener.
func newConns(ln net.Listener, limits Limits) *conns {
	memory := max(bodyMemory, 4*limits.Body)
	return &conns{
		Listener: ln, buffer: limits.Header, bodies: bodies{limit: memory, held: make(map[*conn]body)},
		open: make(map[*conn]struct{}), gone: make(chan struct{}),
	}
}

// Accept waits for the next connection.
func (cs *conns) Accept() (net.Conn, error) {
	for {
		accepted, err := cs.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: accepted, among: cs}
		if cs.add(c) {
			return c, nil
		}
		accepted.Close() // it has come too late
	}
}

// Close closes the listener; one that is closed already is no fault.
func (cs *conns) Close() error {
	if err := cs.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (cs *conns) add(c *conn) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if !cs.leaving {
		cs.open[c] = struct{}{}
	}
	return !cs.leaving
}

func (cs *conns) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, open := cs.open[c]; !open {
		return
	}
	if delete(cs.open, c); cs.leaving && len(cs.open) == 0 {
		close(cs.gone)
	}
}

// leave takes no more connections and waits until none is open, or for the end of
// ctx. A connection that waits for a request is closed when none has begun to
// arrive within partTime.
func (cs *conns) leave(ctx context.Context) {
	cs.Close()
	cs.mu.Lock()
	cs.leaving = true
	for c := range cs.open {
		c.leave()
	}
	if len(cs.open) == 0 {
		close(cs.gone)
	}
	cs.mu.Unlock()
	select {
	case <-cs.gone:
	case <-ctx.Done():
	}
}

// cut closes every connection that is still open.
func (cs *conns) cut() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		c.Conn.Close() // its reader sees it
	}
}

// conn is a client's connection.
type conn struct {
	net.Conn
	among *conns

	mu      sync.Mutex // guards what follows
	waiting bool       // for the first byte of a request
	leaving bool       // the gateway stops

	refused atomic.Bool // something that the client sends is not read
	late    atomic.Bool // its body was given up for others'

	upgraded bool // it is a WebSocket's: its deadlines are its own; set before others know the connection

	// What follows belongs to the goroutine that serves the connection.
	until time.Time // the read deadline that fasthttp has set
	holds bool      // it has its share of among.bodies
	room  [512]byte
	ahead []byte // read, and not asked for yet
}

// leave gives a connection that waits for a request a moment for what is on its way.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving = true; c.waiting {
		c.Conn.SetReadDeadline(time.Now().Add(partTime)) // fails only on a closed connection
	}
}

// wait notes that the connection waits for the first byte of a request, or that it
// has come.
func (c *conn) wait(waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting = waiting; waiting && c.leaving {
		c.Conn.SetReadDeadline(time.Now().Add(partTime)) // likewise
	}
}

// Read reads. fasthttp, which is to keep no buffer for connections that wait, asks for
// one byte first: a whole small request is read then. It asks for more than its buffer
// has only for a body, for which it has taken up that much memory.
func (c *conn) Read(b []byte) (n int, err error) {
	if len(c.ahead) > 0 {
		n = copy(b, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	if c.upgraded {
		return c.Conn.Read(b)
	}
	if len(b) == 1 {
		c.wait(true)
		n, err = c.Conn.Read(c.room[:])
		c.wait(false)
		c.ahead = c.room[:n]
		n = copy(b, c.ahead)
		c.ahead = c.ahead[n:]
		return n, err
	}
	if now := time.Now(); !c.until.IsZero() && c.until.Sub(now) > stallTime {
		c.Conn.SetReadDeadline(now.Add(stallTime)) // likewise
	}
	if len(b) <= c.among.buffer {
		return c.Conn.Read(b)
	}
	return c.readBody(b)
}

// readBody is Read for a body that is too large for a buffer.
func (c *conn) readBody(b []byte) (n int, err error) {
	if !c.holds {
		if !c.among.bodies.take(c, len(b), time.Now()) {
			return 0, errCrowded
		}
		c.holds = true
	}
	if c.late.Load() {
		err = os.ErrDeadlineExceeded
	} else {
		n, err = c.Conn.Read(b)
	}
	if n == len(b) || err != nil {
		c.among.bodies.giveBack(c)
		c.holds = false
	} else {
		c.among.bodies.heard(c, time.Now())
	}
	return n, err
}

// SetReadDeadline notes the deadline, for Read. A WebSocket's is also set by the
// goroutine that writes to it, and is not noted.
func (c *conn) SetReadDeadline(t time.Time) error {
	if !c.upgraded {
		c.until = t
	}
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline is what fasthttp calls when the connection has become a WebSocket's,
// and then only: the hub closes it, and its deadlines are its own.
func (c *conn) SetDeadline(t time.Time) error {
	if !c.upgraded {
		c.upgraded = true
		c.among.remove(c)
	}
	return c.Conn.SetDeadline(t)
}

// Close closes the connection. A client whose request was refused may still be
// sending it: what it sends is read for a while, as it would otherwise hear that the
// connection was reset instead of the refusal.
func (c *conn) Close() error {
	if c.refused.Load() {
		c.linger()
	}
	c.among.bodies.giveBack(c)
	c.among.remove(c)
	return c.Conn.Close()
}

func (c *conn) linger() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	buffer := make([]byte, 16<<10)
	end := time.Now().Add(lingerTime)
	for left := lingerBytes; left > 0; {
		now := time.Now()
		next := now.Add(lingerPause)
		if next.After(end) {
			next = end
		}
		c.Conn.SetReadDeadline(next) // fails only on a closed connection
		n, err := c.Conn.Read(buffer)
		if left -= n; err != nil {
			return
		}
	}
}

// errCrowded is the failure to receive a body while too many others are received.
var errCrowded = errors.New("too many bodies are being received")

// bodies is the memory for large bodies that are being received: fasthttp takes up
// all that a client announces. When it is full, the one that has been silent for
// longest is given up.
type bodies struct {
	limit int

	mu   sync.Mutex // guards what follows
	size int
	held map[*conn]body
}

type body struct {
	size  int
	heard time.Time
}

// silent is for how long a body has brought nothing that may be given up for others.
const silent = 250 * time.Millisecond

// take reports whether there is room for a body; it makes some if it must.
func (b *bodies) take(c *conn, size int, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.size+size > b.limit && len(b.held) > 0 {
		var last *conn
		for other, body := range b.held {
			if last == nil || body.heard.Before(b.held[last].heard) {
				last = other
			}
		}
		if now.Sub(b.held[last].heard) < silent {
			return false
		}
		b.remove(last)
		last.late.Store(true)
		last.Conn.SetReadDeadline(now) // its reader sees it
	}
	b.size += size
	b.held[c] = body{size, now}
	return true
}

func (b *bodies) heard(c *conn, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if held, ok := b.held[c]; ok {
		held.heard = now
		b.held[c] = held
	}
}

func (b *bodies) giveBack(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(c)
}

func (b *bodies) remove(c *conn) {
	b.size -= b.held[c].size
	delete(b.held, c)
}
