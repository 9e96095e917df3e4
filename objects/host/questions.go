package host

import (
	"time"

	"holdfast/objects/host/internal/asks"
)

// questions is the part of an object that knows which of its asks are not settled. Its Caller decides. Only its methods
// use its fields. object.mu guards it. Nil belongs to an object that has asked nothing.
type questions struct {
	asks.Caller
	timer *time.Timer   // for news to callees; nil: there is none
	event *eventContext // the event in hand, if it has asked others; else nil
}

// waiting returns the event in hand, if it has asked others; else nil.
func (q *questions) waiting() *eventContext {
	if q == nil {
		return nil
	}
	return q.event
}

// begin notes that the event in hand asks others.
func (q *questions) begin(c *eventContext) { q.event = c }

// end notes that the event asks nothing any more.
func (q *questions) end(c *eventContext) {
	if q != nil && q.event == c {
		q.event = nil
	}
}

// sayAgain sets the timer for the next news to callees; zero: there is none. newTimer makes the first timer.
func (q *questions) sayAgain(at, now time.Time, newTimer func() *time.Timer) {
	switch {
	case at.IsZero():
		q.timer = nil
	case q.timer == nil:
		q.timer = newTimer()
	default:
		q.timer.Reset(at.Sub(now))
	}
}
