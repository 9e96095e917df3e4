package host

import (
	"context"
	"sync"
	"time"
)

// eventContext is an event's context, as context.WithDeadline makes it, but with
// nothing to set up for the many events that never ask when it ends.
type eventContext struct {
	context.Context // the incarnation's
	deadline        time.Time

	mu    sync.Mutex // guards what follows
	asked context.Context
	stop  context.CancelFunc
	ended bool
}

// Deadline is when whoever asked does not wait any more.
func (c *eventContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done is closed at the deadline, when the event has ended, or with the incarnation.
func (c *eventContext) Done() <-chan struct{} { return c.real().Done() }

// Err tells why Done is closed.
func (c *eventContext) Err() error { return c.real().Err() }

func (c *eventContext) real() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == nil {
		c.asked, c.stop = context.WithDeadline(c.Context, c.deadline)
		if c.ended {
			c.stop()
		}
	}
	return c.asked
}

// end ends the event.
func (c *eventContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.stop != nil {
		c.stop()
	}
}
