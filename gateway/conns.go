package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"

	"holdfast/internal/sockets"
	"holdfast/objects"
)

const (
	headTime  = 10 * time.Second       // a request's line and headers arrive within it
	stallTime = 10 * time.Second       // longest pause in a body
	bodyTime  = 10 * time.Minute       // longest time for a body, however steadily it arrives
	readTime  = time.Minute            // a client that reads nothing of a stream for this long is disconnected
	partTime  = 500 * time.Millisecond // how long a stopping gateway waits for a request that is on its way

	lingerTime  = 15 * time.Second // how long a refused client may go on sending
	lingerPause = 3 * time.Second  // longest pause of it
	lingerBytes = 64 << 20         // bytes that it may send

	lingerRefused = 64 << 10 // bytes that a client over a limit of connections may send

	turnedAway = 64 // connections over a limit that are answered at a time; more are closed without an answer
)

// conns is the listener of a gateway. It knows every connection that serves HTTP, so
// that a stop can close those that wait for a request and wait for those that serve
// one. It counts all connections, WebSockets included.
type conns struct {
	net.Listener
	limits  Limits
	trusted proxies
	bodies  bodies

	refusals chan struct{} // holds a token for each connection that is being refused
	refusing sync.WaitGroup

	mu       sync.Mutex // guards what follows
	open     map[*conn]struct{}
	leaving  bool
	gone     chan struct{}        // closed when leaving and none is open
	all      int                  // connections, WebSockets among them
	byPrefix map[netip.Prefix]int // connections, by address
}

// newConns takes over a listener.
func newConns(ln net.Listener, limits Limits, trusted proxies) *conns {
	return &conns{
		Listener: ln, limits: limits, trusted: trusted, bodies: bodies{limit: limits.Memory, held: make(map[*conn]body)},
		refusals: make(chan struct{}, turnedAway), open: make(map[*conn]struct{}), gone: make(chan struct{}), byPrefix: make(map[netip.Prefix]int),
	}
}

// Accept waits for the next connection that is within the limits. A connection beyond
// them is answered with an error and closed.
func (cs *conns) Accept() (net.Conn, error) {
	for {
		accepted, err := cs.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: accepted, among: cs}
		refusal, ok := cs.add(c)
		switch {
		case ok:
			return c, nil
		case refusal == nil:
			accepted.Close() // the connection has come too late
		default:
			cs.turnAway(accepted, refusal)
		}
	}
}

// turnAway answers a connection with an error and closes it, on a goroutine of its own.
func (cs *conns) turnAway(c net.Conn, e *objects.Error) {
	select {
	case cs.refusals <- struct{}{}:
	default:
		c.Close()
		return
	}
	cs.refusing.Go(func() {
		defer func() { <-cs.refusals }()
		defer c.Close()
		c.SetDeadline(time.Now().Add(lingerPause)) // fails only on a closed connection
		if _, err := c.Write(refusalOf(e)); err == nil {
			if half, ok := c.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
				_, _ = io.CopyN(io.Discard, c, lingerRefused) // a client that sends a request without reading would get a reset instead
			}
		}
	})
}

// refusalOf returns an error as a whole HTTP response.
func refusalOf(e *objects.Error) []byte {
	body, err := json.Marshal(e)
	if err != nil {
		return nil // an error of ours always has a JSON form
	}
	status := e.Code.HTTPStatus()
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nConnection: close\r\nRetry-After: 1\r\nX-Content-Type-Options: nosniff\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		status, http.StatusText(status), len(body), body)
}

// Close closes the listener. Closing it again is no error.
func (cs *conns) Close() error {
	if err := cs.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// add counts a connection. It reports false if the gateway accepts no more. The error is the reason to send to the
// client; nil: nothing is sent.
func (cs *conns) add(c *conn) (*objects.Error, bool) {
	from := netip.Prefix{}
	if ip := ipOf(c.RemoteAddr()); !cs.trusted.trusts(ip) {
		from = sourceOf(ip)
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch {
	case cs.leaving:
		return nil, false
	case cs.all >= cs.limits.Conns:
		return objects.Errorf(objects.Overloaded, "the gateway has as many connections as it takes, which are %d", cs.limits.Conns), false
	case !cs.charge(c, from):
		return cs.tooMany(), false
	}
	cs.all++
	c.counted = true
	cs.open[c] = struct{}{}
	return nil, true
}

// charge counts a connection for its address. It reports false if the address has reached its limit. With mu held.
func (cs *conns) charge(c *conn, from netip.Prefix) bool {
	if !from.IsValid() {
		return true
	}
	if cs.byPrefix[from] >= cs.limits.ConnsPer {
		return false
	}
	cs.byPrefix[from]++
	c.from = from
	return true
}

func (cs *conns) tooMany() *objects.Error {
	return objects.Errorf(objects.TooMany, "this address has as many connections as one may have, which are %d", cs.limits.ConnsPer)
}

// takes counts a WebSocket that comes through a trusted proxy for the client's address. It returns an error if the
// address has too many connections. charged reports whether the WebSocket was counted now: a direct client's connection
// was counted when it was accepted.
func (cs *conns) takes(c *conn, client netip.Addr) (charged bool, err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.from.IsValid() {
		return false, nil
	}
	if !cs.charge(c, sourceOf(client)) {
		return false, cs.tooMany()
	}
	return true, nil
}

// discharge uncounts a WebSocket that takes has counted.
func (cs *conns) discharge(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.forget(c)
}

// forget uncounts a connection from its address. With mu held.
func (cs *conns) forget(c *conn) {
	if !c.from.IsValid() {
		return
	}
	if cs.byPrefix[c.from]--; cs.byPrefix[c.from] == 0 {
		delete(cs.byPrefix, c.from)
	}
	c.from = netip.Prefix{}
}

// release uncounts a connection that has ended.
func (cs *conns) release(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if !c.counted {
		return
	}
	c.counted = false
	cs.all--
	cs.forget(c)
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

// leave stops accepting connections and waits until none is open or ctx ends. A
// connection that waits for a request is closed if no request begins within partTime.
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

// cut closes every connection that is still open, and waits for those that are being
// turned away.
func (cs *conns) cut() {
	cs.mu.Lock()
	for c := range cs.open {
		c.Conn.Close() // its reader sees it
	}
	cs.mu.Unlock()
	cs.refusing.Wait()
}

// conn is a client's connection.
type conn struct {
	net.Conn
	among *conns

	mu      sync.Mutex // guards what follows
	waiting bool       // for the first byte of a request
	leaving bool       // the gateway stops

	refused atomic.Bool // a part of what the client sends is not read
	late    atomic.Bool // its body was given up in favour of others

	upgraded bool // it is a WebSocket's: its deadlines are its own; set before others know the connection

	// Guarded by among.mu.
	counted bool
	from    netip.Prefix // the address that it counts for; invalid: none

	// What follows belongs to the goroutine that serves the connection.
	head  headEnd
	until time.Time  // the read deadline that fasthttp has set
	holds bool       // it has its share of among.bodies
	room  *[512]byte // for bytes that are read ahead; nil before the first request, and of a WebSocket
	ahead []byte     // bytes that were read and not asked for yet

	streaming bool // a response is written for as long as its handler writes: each write has a deadline of its own
}

// overTLS reports whether the client speaks TLS to the gateway itself.
func (c *conn) overTLS() bool {
	_, is := c.Conn.(*tls.Conn)
	return is
}

// leave sets a deadline of partTime on a connection that waits for a request.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving = true; c.waiting {
		c.Conn.SetReadDeadline(time.Now().Add(partTime)) // fails only on a closed connection
	}
}

// wait notes that the connection waits for the first byte of a request, or that the byte has come.
func (c *conn) wait(waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting = waiting; waiting && c.leaving {
		c.Conn.SetReadDeadline(time.Now().Add(partTime)) // likewise
	}
}

// Read reads. With ReduceMemoryUsage fasthttp asks for one byte first: Read then reads a whole small request ahead.
// fasthttp asks for more than its buffer holds only for a body, for which it has allocated the memory. It gets a
// request's head without what follows, and the body without the next request, so that a body can be read past fasthttp.
func (c *conn) Read(b []byte) (n int, err error) {
	if len(c.ahead) == 0 && c.upgraded {
		c.room, c.ahead = nil, nil
		return c.Conn.Read(b)
	}
	if len(b) == 1 && !c.upgraded {
		c.head = headEnd{}
		if len(c.ahead) == 0 {
			if c.room == nil {
				c.room = new([512]byte)
			}
			c.wait(true)
			n, err = c.Conn.Read(c.room[:])
			c.wait(false)
			c.ahead = c.room[:n]
		}
	}
	if len(c.ahead) > 0 {
		n = copy(b, c.ahead)
		n = c.head.cut(b[:n])
		c.ahead = c.ahead[n:]
		return n, nil
	}
	if err != nil {
		return 0, err
	}
	if now := time.Now(); !c.until.IsZero() && c.until.Sub(now) > stallTime {
		c.Conn.SetReadDeadline(now.Add(stallTime)) // likewise
	}
	if len(b) <= c.among.limits.Header {
		n, err = c.Conn.Read(b)
	} else {
		n, err = c.readBody(b)
	}
	if head := c.head.cut(b[:n]); head < n {
		c.ahead, n = bytes.Clone(b[head:n]), head
	}
	return n, err
}

// headEnd finds where a request's head ends, and its body.
type headEnd struct {
	last   [3]byte // of the bytes so far
	found  bool
	behind int   // bytes that were passed on behind it
	body   int64 // bytes of the body that have not come; 0 if its length is not known
}

var emptyLine = []byte("\r\n\r\n")

// cut returns how much of b belongs to the head or, behind that, to the body as far as its length is known. A length
// that came in two pieces counts as unknown: then the body's end is not found, and a chunked body in that place is
// refused.
func (h *headEnd) cut(b []byte) int {
	if h.found {
		n := len(b)
		if h.body > 0 {
			n = int(min(int64(n), h.body))
			h.body -= int64(n)
		}
		h.behind += n
		return n
	}
	end := len(b)
	seam := append(h.last[:3:3], b[:min(3, len(b))]...)
	if i := bytes.Index(seam, emptyLine); i >= 0 {
		end, h.found = i+1, true
	} else if i := bytes.Index(b, emptyLine); i >= 0 {
		end, h.found = i+len(emptyLine), true
	}
	h.scan(b[:end])
	if len(b) >= 3 {
		copy(h.last[:], b[len(b)-3:])
	} else {
		copy(h.last[:], seam[len(seam)-3:])
	}
	return end
}

// scan looks for the length of the body in a part of the head.
func (h *headEnd) scan(b []byte) {
	const name = "content-length:"
	for line := range bytes.Lines(b) {
		if len(line) > len(name) && line[0]|0x20 == name[0] && strings.EqualFold(string(line[:len(name)]), name) {
			h.body, _ = lengthOf(bytes.TrimSpace(line[len(name):]))
		}
	}
}

// atBody reports whether the head of a request was read, and nothing after it.
func (c *conn) atBody() bool { return c.head.found && c.head.behind == 0 }

// readLarge reads a body past fasthttp.
func (c *conn) readLarge(b []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(b, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	c.Conn.SetReadDeadline(time.Now().Add(stallTime)) // likewise
	return c.Conn.Read(b)
}

// readBody is Read for a body that is too large for a buffer.
func (c *conn) readBody(b []byte) (n int, err error) {
	if !c.holds {
		if !c.among.bodies.reserve(c, len(b), time.Now()) {
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
		c.among.bodies.noteProgress(c, time.Now())
	}
	return n, err
}

// Write writes. The WebSocket library itself closes a socket whose message is too large,
// with a close frame without a reason. Write adds the reason.
func (c *conn) Write(b []byte) (int, error) {
	if c.upgraded && bytes.Equal(b, bareTooLarge) {
		reason := websocket.FormatCloseMessage(websocket.CloseMessageTooBig, tooLarge(c.among.limits.Frame))
		_, err := c.Conn.Write(sockets.FrameOf(websocket.CloseMessage, reason))
		return len(b), err
	}
	if c.streaming {
		_ = c.SetWriteDeadline(time.Now().Add(readTime)) // fails only on a closed connection
	}
	return c.Conn.Write(b)
}

// SetReadDeadline notes the deadline, for Read. A WebSocket's is also set by the
// goroutine that writes to it, and is not noted.
func (c *conn) SetReadDeadline(t time.Time) error {
	if !c.upgraded {
		c.until = t
	}
	return c.Conn.SetReadDeadline(t)
}

// fasthttp calls SetDeadline only when the connection has become a WebSocket's. From then on the hub closes the
// connection and sets the deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	if !c.upgraded {
		c.upgraded = true
		c.among.remove(c)
	}
	return c.Conn.SetDeadline(t)
}

// Close closes the connection. If the client's request was refused, the client may still be sending it. Its bytes are
// read for a while: closing at once would reset the connection, and the client would lose the refusal.
func (c *conn) Close() error {
	if c.refused.Load() {
		c.linger()
	}
	c.among.bodies.giveBack(c)
	c.among.remove(c)
	c.among.release(c)
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

// errCrowded is the error of receiving a body while too many others are being received.
var errCrowded = errors.New("too many bodies are being received")

// bodies bounds the memory of large bodies that are being received: fasthttp allocates the size that a client
// announces. When the memory is used up, the body with the longest pause is given up.
type bodies struct {
	limit int

	mu   sync.Mutex // guards what follows
	size int
	held map[*conn]body
}

type body struct {
	size     int
	progress time.Time // when bytes of it came last
}

// silent is the shortest pause after which a body may be given up for another.
const silent = 250 * time.Millisecond

// reserve reserves memory for a body. It reports false if there is none, also after giving
// up silent bodies.
func (b *bodies) reserve(c *conn, size int, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.size+size > b.limit && len(b.held) > 0 {
		var last *conn
		for other, body := range b.held {
			if last == nil || body.progress.Before(b.held[last].progress) {
				last = other
			}
		}
		if now.Sub(b.held[last].progress) < silent {
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

func (b *bodies) noteProgress(c *conn, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if held, ok := b.held[c]; ok {
		held.progress = now
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
