// Package proxy is a TCP proxy that a test can cut.
//
// It carries bytes between clients and one target until it is told otherwise. A cut loses no byte:
// it holds bytes back, in one direction or both, as a network does whose losses TCP repairs, and
// releases them when it is healed. While a direction is cut, the other end does not see that an end
// closes, and a client that connects waits. A reset ends connections at both ends at once and drops
// the bytes that are under way.
package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// State is what a Proxy does with bytes.
type State int

// The states.
const (
	Open     State = iota // carries both ways
	Cut                   // holds back both ways
	CutUp                 // holds back what clients send
	CutDown               // holds back what the target sends
	Refusing              // resets new connections; existing ones stay
)

// String returns the state's name.
func (s State) String() string {
	return [...]string{"open", "cut", "cut up", "cut down", "refusing"}[s]
}

// holds reports whether the state holds back a direction.
func (s State) holds(up bool) bool { return s == Cut || s == CutUp && up || s == CutDown && !up }

// Stats are a Proxy's counts.
type Stats struct {
	Connections int   // present ones
	Accepted    int   // since the beginning
	Reset       int   // connections
	Refused     int   // connections
	Held        int64 // bytes that a cut has held back, since the beginning
}

const (
	dialTime   = 3 * time.Second
	bufferSize = 32 << 10
)

// Proxy carries bytes between clients and a target.
type Proxy struct {
	target string
	ln     net.Listener
	all    sync.WaitGroup

	mu      sync.Mutex // guards what follows
	state   State
	changed chan struct{} // closed when the state changes or bytes are held back, and replaced
	pairs   map[*pair]struct{}
	stats   Stats
	closed  bool
}

// pair is one connection of a client with the one to the target.
type pair struct {
	client, target *net.TCPConn
	dead           chan struct{} // closed when the pair must end
	once           sync.Once
}

// Listen makes a proxy on a free port of the loopback.
func Listen(target string) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, ln: ln, changed: make(chan struct{}), pairs: make(map[*pair]struct{})}
	p.all.Go(p.accept)
	return p, nil
}

// Addr returns where clients connect.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// Set changes the state.
func (p *Proxy) Set(s State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = s
	p.notify()
}

// Reset ends all connections at both ends and returns how many there were.
func (p *Proxy) Reset() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.pairs)
	for pair := range p.pairs {
		pair.reset()
		delete(p.pairs, pair)
	}
	p.stats.Reset += n
	return n
}

// Stats returns what the proxy has done so far.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Connections = len(p.pairs)
	return s
}

// Close ends all connections and returns when nothing of the proxy is left.
func (p *Proxy) Close() {
	p.ln.Close() // nothing was said on it
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Reset()
	p.all.Wait()
}

func (p *Proxy) accept() {
	for {
		conn, err := p.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // too many open files: later there may be fewer
			continue
		}
		p.all.Go(func() { p.serve(conn.(*net.TCPConn)) })
	}
}

func (p *Proxy) serve(client *net.TCPConn) {
	pair := &pair{client: client, dead: make(chan struct{})}
	defer pair.close()
	if !p.admit(pair) {
		pair.reset()
		return
	}
	defer p.forget(pair)
	if !p.passes(pair, true) || !p.connect(pair) {
		return
	}
	var down sync.WaitGroup
	down.Go(func() { p.carry(pair, pair.client, pair.target, false) })
	p.carry(pair, pair.target, pair.client, true)
	down.Wait()
}

// admit registers a new connection, unless all are refused.
func (p *Proxy) admit(pair *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.state == Refusing {
		p.stats.Refused++
		return false
	}
	p.stats.Accepted++
	p.pairs[pair] = struct{}{}
	return true
}

func (p *Proxy) forget(pair *pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pairs, pair)
}

// connect reaches the target.
func (p *Proxy) connect(pair *pair) bool {
	conn, err := net.DialTimeout("tcp", p.target, dialTime)
	if err != nil {
		pair.reset()
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, there := p.pairs[pair]; !there { // it has been reset meanwhile
		conn.Close() // nothing was said on it
		return false
	}
	pair.target = conn.(*net.TCPConn)
	return true
}

// notify wakes all goroutines that wait for a change. With mu held.
func (p *Proxy) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// passes waits until a direction is open. It reports false if the pair has ended before.
func (p *Proxy) passes(pair *pair, up bool) bool {
	for {
		p.mu.Lock()
		held, changed := p.state.holds(up), p.changed
		p.mu.Unlock()
		if !held {
			return true
		}
		select {
		case <-changed:
		case <-pair.dead:
			return false
		}
	}
}

// carry moves bytes in one direction until one end has ended, and closes the other end when the
// direction is open.
func (p *Proxy) carry(pair *pair, to, from *net.TCPConn, up bool) {
	buf := make([]byte, bufferSize)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		if p.state.holds(up) {
			p.stats.Held += int64(n)
			p.notify()
		}
		p.mu.Unlock()
		if !p.passes(pair, up) {
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				pair.reset()
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite() // it has ended if this fails
			return
		case err != nil:
			pair.reset()
			return
		}
	}
}

// reset ends both connections with a reset: bytes under way are lost.
func (pair *pair) reset() {
	pair.once.Do(func() {
		close(pair.dead)
		for _, conn := range []*net.TCPConn{pair.client, pair.target} {
			if conn != nil {
				_ = conn.SetLinger(0) // it has ended if this fails
				conn.Close()          // likewise
			}
		}
	})
}

// close ends both connections in order.
func (pair *pair) close() {
	pair.once.Do(func() {
		close(pair.dead)
		for _, conn := range []*net.TCPConn{pair.client, pair.target} {
			if conn != nil {
				conn.Close() // both ways have ended
			}
		}
	})
}
