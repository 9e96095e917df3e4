package record

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// leastPatience is for how long an answer of the store is waited for at least.
const leastPatience = 200 * time.Millisecond

// Patience is for how long an answer of the store is waited for, if the way there and back
// takes rtt. After that it is worth a look whether the put has landed: the answer, or the
// put, may be lost.
func Patience(rtt time.Duration) time.Duration { return max(leastPatience, 4*rtt) }

func (b *Bucket) patience() time.Duration { return Patience(time.Duration(b.calls.rtt.Load())) }

// calls are the questions to the store that have not been answered.
type calls struct {
	rtt atomic.Int64 // of the connection, in nanoseconds

	mu   sync.Mutex // guards what follows
	n    uint64
	open map[uint64]context.CancelFunc
}

// begin gives a question its time: until ctx ends, patience is over, or the connection is
// made again, on which no answer comes any more. done ends it.
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

// cut ends all that are open: the connection was made again.
func (c *calls) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cancel := range c.open {
		cancel()
	}
}
