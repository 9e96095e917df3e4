package record

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// leastPatience is the shortest wait for an answer of the store.
const leastPatience = 200 * time.Millisecond

// Patience returns how long to wait for an answer of the store over a connection with the round trip rtt. After that
// the owner reads whether its put has landed: the answer, or the put, may be lost.
func Patience(rtt time.Duration) time.Duration { return max(leastPatience, 4*rtt) }

func (b *Bucket) patience() time.Duration { return Patience(time.Duration(b.calls.rtt.Load())) }

// calls are the requests to the store that have not been answered.
type calls struct {
	rtt atomic.Int64 // of the connection, in nanoseconds

	mu   sync.Mutex // guards what follows
	n    uint64
	open map[uint64]context.CancelFunc
}

// begin starts a request: its context ends with ctx, after patience, or when the connection is made again, since no
// answer comes on that. done ends the request.
func (c *calls) begin(ctx context.Context, patience time.Duration) (_ context.Context, done func()) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	n := c.n
	if c.open == nil {
		c.open = make(map[uint64]context.CancelFunc)
	}
	c.open[n] = cancel
	return ctx, func() {
		c.mu.Lock()
		delete(c.open, n)
		c.mu.Unlock()
		cancel()
	}
}

// cut ends all open requests: the connection was made again.
func (c *calls) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cancel := range c.open {
		cancel()
	}
}
