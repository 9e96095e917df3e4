package link

import (
	"io"
	"net"
	"sync"
	"time"
)

// linger is how long a closed connection tries, after the delay, to hand over what was
// written before Close to a peer that does not read.
const linger = time.Second

// readSize is how much is read or written at once.
const readSize = 64 << 10

// conn delays what passes through raw. As long as the delay is 0 a direction goes straight to
// raw and costs nothing; the first byte that meets a delay starts that direction's lane and
// its one goroutine, which stay until the end of the connection.
type conn struct {
	raw   net.Conn
	delay *Delay
	out   *lane // Write puts, send takes
	in    *lane // receive puts, Read takes

	reading sync.Mutex // held by Read: one at a time, so that bytes stay in order
	writing sync.Mutex // held by Write: likewise

	mu        sync.Mutex // guards what follows
	receiving bool       // receive reads raw; Read does not
	sending   bool       // send writes raw; Write does not
	sent      bool       // send has returned
	closed    bool
}

// Wrap returns a connection that delays raw in both directions and closes it when closed.
func (d *Delay) Wrap(raw net.Conn) net.Conn {
	return &conn{raw: raw, delay: d, out: newLane(), in: newLane()}
}

// Read returns what has travelled long enough, then the peer's end of stream.
func (c *conn) Read(b []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.readsRaw() {
		n, err := c.raw.Read(b)
		wait := c.delay.receiving()
		if err != nil && c.isClosed() {
			return n, net.ErrClosed
		}
		if err != nil || n == 0 || wait == 0 {
			return n, err
		}
		// The delay was set while this read was waiting: what it got must still travel.
		if _, err := c.in.put(b[:n], wait); err != nil {
			return 0, err
		}
		c.startReceiving()
	}
	return c.in.read(b)
}

// readsRaw reports whether Read may read raw itself, and starts the lane if it may not.
func (c *conn) readsRaw() bool {
	c.mu.Lock()
	direct := !c.receiving && !c.closed
	c.mu.Unlock()
	if direct && c.delay.receiving() > 0 {
		c.startReceiving()
		return false
	}
	return direct
}

func (c *conn) startReceiving() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.receiving || c.closed {
		return
	}
	c.receiving = true
	_ = c.raw.SetReadDeadline(time.Time{}) // the lane keeps it from here on
	go c.receive()
}

// receive brings what raw delivers into the lane until raw ends. After Close it goes on reading,
// for nobody, until raw is closed: a peer that is stuck in a write would not read either.
func (c *conn) receive() {
	buf := make([]byte, readSize)
	for {
		n, err := c.raw.Read(buf)
		wait := c.delay.receiving()
		if _, putErr := c.in.put(buf[:n], wait); putErr != nil {
			_, _ = io.Copy(io.Discard, c.raw)
			return
		}
		if err != nil {
			c.in.finish(err, time.Now().Add(wait))
			return
		}
	}
}

// Write hands b to the link. It waits only for room: a nil error says that b is under way,
// as with a socket's send buffer. After the connection broke it returns that error.
func (c *conn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.writesRaw() {
		return c.raw.Write(b)
	}
	return c.out.put(b, c.delay.sending())
}

// writesRaw reports whether Write may write raw itself, and starts the lane if it may not.
func (c *conn) writesRaw() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sending || c.closed {
		return false
	}
	if c.delay.sending() == 0 {
		return true
	}
	c.sending = true
	_ = c.raw.SetWriteDeadline(time.Time{})
	go c.send()
	return false
}

// send writes what has travelled long enough to raw, until Close or until raw fails.
func (c *conn) send() {
	buf := make([]byte, readSize)
	for {
		n, err := c.out.read(buf)
		if err == nil {
			_, err = c.raw.Write(buf[:n])
		}
		if err != nil {
			c.out.abort(err)
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = true
	if c.closed {
		c.raw.Close()
	}
}

// Close ends reads and writes on this side at once. What was written before still travels;
// the connection below is closed when it has arrived, at the latest a second after it was due.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	c.in.abort(net.ErrClosed)
	c.out.finish(net.ErrClosed, time.Time{})
	if !c.sending || c.sent {
		return c.raw.Close()
	}
	if !c.receiving {
		c.receiving = true
		_ = c.raw.SetReadDeadline(time.Unix(1, 0)) // raw stays open for send: free a Read that waits on it
		go c.drain()
	}
	return c.raw.SetWriteDeadline(c.out.lastDue(time.Now()).Add(linger))
}

// drain receives for a connection that was closed before it had to, once Read is out of raw.
func (c *conn) drain() {
	c.reading.Lock()
	_ = c.raw.SetReadDeadline(time.Time{})
	c.reading.Unlock()
	c.receive()
}

func (c *conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline bounds the wait for bytes, including the delay.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.in.setTakeBy(t)
	if c.receiving {
		return nil
	}
	return c.raw.SetReadDeadline(t)
}

// SetWriteDeadline bounds the wait for room.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.out.setPutBy(t)
	if c.sending {
		return nil
	}
	return c.raw.SetWriteDeadline(t)
}

// LocalAddr returns the address of the connection below.
func (c *conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr returns the peer's address.
func (c *conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }
