package link

import (
	"os"
	"sync"
	"time"
)

const (
	laneSize  = 8 << 20   // bytes under way in one direction before its writer waits
	pieceSize = 256 << 10 // a longer write is cut into these, so that it fits beside others
	pieceCost = 64        // what a piece weighs besides its bytes: many tiny ones fill a lane too
)

// lane is one direction of a connection: bytes that each become readable at a time of their
// own, in the order in which they were put, however those times are ordered.
type lane struct {
	mu      sync.Mutex // guards all of it
	changed chan struct{}
	pieces  []piece
	size    int
	end     error     // read returns it when nothing is left, and put refuses bytes; nil: open
	endDue  time.Time // but not before this
	takeBy  time.Time // deadlines; zero for none
	putBy   time.Time
}

type piece struct {
	bytes []byte
	due   time.Time
}

func newLane() *lane { return &lane{changed: make(chan struct{})} }

// put appends a copy of b, readable when delay has passed since it was accepted, and waits
// while the lane is full. It returns how many bytes were accepted.
func (l *lane) put(b []byte, delay time.Duration) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for len(b) > 0 {
		if err := l.awaitRoom(); err != nil {
			return n, err
		}
		part := b[:min(len(b), pieceSize)]
		l.pieces = append(l.pieces, piece{append([]byte(nil), part...), time.Now().Add(delay)})
		l.size += len(part) + pieceCost
		if len(l.pieces) == 1 {
			l.notify()
		}
		n += len(part)
		b = b[len(part):]
	}
	return n, nil
}

func (l *lane) awaitRoom() error {
	for {
		switch {
		case l.end != nil:
			return l.end
		case passed(l.putBy, time.Now()):
			return os.ErrDeadlineExceeded
		case l.size < laneSize:
			return nil
		}
		l.wait(l.putBy)
	}
}

// read fills b with bytes that are due and waits until there is at least one.
func (l *lane) read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		now := time.Now()
		if passed(l.takeBy, now) {
			return 0, os.ErrDeadlineExceeded
		}
		if n := l.pop(b, now); n > 0 {
			return n, nil
		}
		next, ok := l.nextDue()
		if ok && !now.Before(next) {
			return 0, l.end // only the end can be due here: pop took all else
		}
		l.wait(earlier(next, l.takeBy))
	}
}

// pop moves the bytes that are due at now into b.
func (l *lane) pop(b []byte, now time.Time) int {
	n, full := 0, l.size >= laneSize
	for n < len(b) && len(l.pieces) > 0 && !now.Before(l.pieces[0].due) {
		head := &l.pieces[0]
		moved := copy(b[n:], head.bytes)
		n += moved
		l.size -= moved
		head.bytes = head.bytes[moved:]
		if len(head.bytes) == 0 {
			l.size -= pieceCost
			l.pieces[0] = piece{}
			l.pieces = l.pieces[1:]
		}
	}
	if full && l.size < laneSize {
		l.notify()
	}
	return n
}

// nextDue returns when the next piece, or else the end, can be taken; false if neither is there.
func (l *lane) nextDue() (time.Time, bool) {
	switch {
	case len(l.pieces) > 0:
		return l.pieces[0].due, true
	case l.end != nil:
		return l.endDue, true
	default:
		return time.Time{}, false
	}
}

// finish ends the lane: what is under way still arrives, then take returns err, not before due.
func (l *lane) finish(err error, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end == nil {
		l.end, l.endDue = err, due
		l.notify()
	}
}

// abort ends the lane at once and drops what is under way.
func (l *lane) abort(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pieces, l.size = nil, 0
	l.end, l.endDue = err, time.Time{}
	l.notify()
}

// lastDue returns when the last piece under way is due, now if there is none.
func (l *lane) lastDue(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := now
	for _, p := range l.pieces {
		if p.due.After(last) {
			last = p.due
		}
	}
	return last
}

func (l *lane) setTakeBy(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.takeBy = t
	l.notify()
}

func (l *lane) setPutBy(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.putBy = t
	l.notify()
}

// notify wakes everyone who waits.
func (l *lane) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// wait gives up the lock until something changed or until has come; zero means no such time.
func (l *lane) wait(until time.Time) {
	changed := l.changed
	l.mu.Unlock()
	defer l.mu.Lock()
	if until.IsZero() {
		<-changed
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	}
}

// passed reports whether a deadline has come; the zero one never does.
func passed(deadline, now time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }

// earlier returns the earlier of two times; zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
