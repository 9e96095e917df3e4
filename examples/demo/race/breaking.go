package race

import (
	"context"
	"time"
)

// breaking is a counter's Break while its claims run. A nil one breaks nothing.
type breaking struct {
	*Break
	counter  string
	zero     time.Time
	heard    chan Broken
	count    int
	done     bool // Do was called
	finished bool // the last thing was told
}

const mostBroken = 64 // things told of one break; more are not kept

func newBreaking(c Counter, zero time.Time) *breaking {
	if c.Break == nil {
		return nil
	}
	return &breaking{Break: c.Break, counter: c.Name, zero: zero, heard: make(chan Broken, mostBroken)}
}

// answered counts a claim, breaks what is to be broken when it is time, and emits what
// has come of it.
func (b *breaking) answered(a Attempted, emit func(any)) {
	if b == nil {
		return
	}
	if a.Outcome == OK {
		b.count++
	}
	if b.count >= b.After && !b.done && a.Owner != "" {
		b.done = true
		err := b.Do(a.Owner, func(what Broken) {
			select {
			case b.heard <- what:
			default:
			}
		})
		if err != nil {
			emit(Fault{Type: "fault", Counter: b.counter, AtUs: since(b.zero, time.Now()), What: "failed", Host: a.Owner, Error: err.Error()})
			b.finished = true
		}
	}
	for {
		select {
		case what := <-b.heard:
			b.emit(what, emit)
		default:
			return
		}
	}
}

// settle waits for the last thing to be told.
func (b *breaking) settle(ctx context.Context, emit func(any)) {
	if b == nil || !b.done {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, b.Patience)
	defer cancel()
	for !b.finished {
		select {
		case what := <-b.heard:
			b.emit(what, emit)
		case <-ctx.Done():
			return
		}
	}
}

func (b *breaking) emit(what Broken, emit func(any)) {
	b.finished = b.finished || what.What == b.Last
	emit(Fault{Type: "fault", Counter: b.counter, AtUs: since(b.zero, what.At), What: what.What, Host: what.Host})
}
