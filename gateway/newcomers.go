package gateway

import (
	"net"
	"sync"
	"sync/atomic"
)

// newcomers is a listener that knows which of its connections have not said a
// word yet. Browsers open some in advance; fasthttp takes them for busy, and a
// stop would wait for each until its time to begin runs out.
type newcomers struct {
	net.Listener

	mu      sync.Mutex // guards what follows
	silent  map[*newcomer]struct{}
	leaving bool
}

func newNewcomers(ln net.Listener) *newcomers {
	return &newcomers{Listener: ln, silent: make(map[*newcomer]struct{})}
}

// Accept waits for the next connection.
func (n *newcomers) Accept() (net.Conn, error) {
	for {
		conn, err := n.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &newcomer{Conn: conn, among: n}
		if n.add(c) {
			return c, nil
		}
		conn.Close() // it has come too late
	}
}

func (n *newcomers) add(c *newcomer) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.leaving {
		n.silent[c] = struct{}{}
	}
	return !n.leaving
}

func (n *newcomers) forget(c *newcomer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.silent, c)
}

// hangUp closes those that have not said a word, and whoever comes from now on.
func (n *newcomers) hangUp() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leaving = true
	for c := range n.silent {
		c.Conn.Close() // its reader sees it and forgets it
	}
}

// newcomer is a connection of newcomers.
type newcomer struct {
	net.Conn
	among *newcomers
	known atomic.Bool // has said something, or has gone

	room  [512]byte
	ahead []byte // read, and not asked for yet
}

// Read reads; with its first byte the connection is a newcomer no more. fasthttp,
// which is to keep no buffer for those that wait, asks for one byte first: a whole
// small request is read then.
func (c *newcomer) Read(b []byte) (n int, err error) {
	if len(c.ahead) > 0 {
		n = copy(b, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	if len(b) == 1 {
		n, err = c.Conn.Read(c.room[:])
		c.ahead = c.room[:n]
		n = copy(b, c.ahead)
		c.ahead = c.ahead[n:]
	} else {
		n, err = c.Conn.Read(b)
	}
	if !c.known.Load() && (n > 0 || err != nil) && !c.known.Swap(true) {
		c.among.forget(c)
	}
	return n, err
}

// Close closes the connection.
func (c *newcomer) Close() error {
	if !c.known.Swap(true) {
		c.among.forget(c)
	}
	return c.Conn.Close()
}
