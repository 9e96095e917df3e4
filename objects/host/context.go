package host

import (
	"context"
	"time"
)

// until is a context of which only the deadline is asked: an event's transaction makes a
// context with that deadline when the author's code wants one.
type until struct {
	context.Context // the incarnation's
	at              time.Time
}

// Deadline is when nobody waits for the event any longer.
func (u until) Deadline() (time.Time, bool) { return u.at, true }
