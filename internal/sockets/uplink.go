package sockets

import (
	"math/rand/v2"
	"sync"
	"time"

	"holdfast/internal/wire"
)

// uplink carries one socket's frames to its object. It sends them in order, and keeps each until an owner has
// acknowledged it. It sends again only when resend is called.
//
// A frame may be handled more than once only as far as owners recognise its number;
// the owner's part is in objects/host.
type uplink struct {
	to   transmitter
	room chan struct{} // signals the reader that the window has room; never closed

	sending sync.Mutex // held while frames are published, so that they leave in order; taken before mu

	mu       sync.Mutex // guards what follows; never held while something is published
	flow     flow
	last     uint64    // number of the newest frame
	sent     uint64    // number of the newest frame that was sent since resend
	pending  []frame   // not acknowledged, in order, without gaps in their numbers
	since    time.Time // the oldest of them has waited for an answer since then
	attempts int       // recoveries since the last acknowledgement
}

// transmitter sends one frame towards the object's owner. An error means that it was not sent.
type transmitter interface {
	transmit(seq uint64, payload []byte) error
}

// frame is one event of a socket on its way to the object.
type frame struct {
	seq     uint64
	payload []byte
}

// flow is the state of an uplink.
type flow uint8

const (
	flowing flow = iota // frames are sent as they come
	stalled             // frames wait until an owner has been found
)

func (f flow) String() string { return [...]string{"flowing", "stalled"}[f] }

// flowEdges lists the flows that may follow each flow.
var flowEdges = [...][]flow{flowing: {stalled}, stalled: {flowing}}

// full reports whether the window has no room for a frame. A close is taken always.
func (u *uplink) full() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.pending) >= wire.FrameWindow
}

// add keeps a frame that has its number; transmit sends it. With alone, it replaces all others.
func (u *uplink) add(req *wire.Request, alone bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if alone {
		u.pending, u.sent = nil, 0
	}
	if u.last >= req.Seq && len(u.pending) > 0 {
		return // it is kept already
	}
	if len(u.pending) == 0 {
		u.since = time.Now()
	}
	u.last = req.Seq
	u.pending = append(u.pending, frame{seq: u.last, payload: wire.Encode(req)})
}

// end forgets all frames.
func (u *uplink) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pending = nil
}

// transmit sends the frames that have not been sent, unless the uplink is stalled.
func (u *uplink) transmit() {
	u.sending.Lock()
	defer u.sending.Unlock()
	for {
		seq, payload, ok := u.next()
		if !ok {
			return
		}
		if u.to.transmit(seq, payload) != nil {
			u.notSent(seq)
			return // overdue notices
		}
	}
}

// next returns the frame to send now. From here on it counts as sent.
func (u *uplink) next() (seq uint64, payload []byte, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.flow == stalled || len(u.pending) == 0 || u.sent >= u.last {
		return 0, nil, false
	}
	i := 0
	if first := u.pending[0].seq; u.sent >= first {
		i = int(u.sent - first + 1)
	} else {
		u.since = time.Now()
	}
	f := &u.pending[i]
	u.sent = f.seq
	return f.seq, f.payload, true
}

// notSent marks a frame as not sent.
func (u *uplink) notSent(seq uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sent = min(u.sent, seq-1)
}

// acknowledge drops the frames up to seq: the object has handled them, durably.
func (u *uplink) acknowledge(seq uint64) {
	u.mu.Lock()
	n := 0
	for n < len(u.pending) && u.pending[n].seq <= seq {
		n++
	}
	if n > 0 {
		u.drop(n)
		u.since, u.attempts = time.Now(), 0
	}
	u.mu.Unlock()
	if n > 0 {
		select {
		case u.room <- struct{}{}:
		default:
		}
	}
}

// drop forgets the n oldest pending frames. With mu held.
func (u *uplink) drop(n int) {
	if u.pending = u.pending[n:]; len(u.pending) == 0 {
		u.pending = nil
	}
}

// notTaken notes that a frame was not taken. It reports whether the uplink has stalled
// by that: the caller starts the recovery.
func (u *uplink) notTaken(seq uint64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.pending) > 0 && u.pending[0].seq <= seq && seq <= u.last && u.stall()
}

// overdue reports whether the uplink has stalled because nothing was acknowledged
// for longer than silence: the caller starts the recovery.
func (u *uplink) overdue(now time.Time, silence time.Duration) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.pending) > 0 && now.Sub(u.since) > silence && u.stall()
}

// stall stops the sending. It reports false if that was done before. With mu held.
func (u *uplink) stall() bool {
	if u.flow == stalled {
		return false
	}
	advance(&u.flow, stalled, flowEdges[:])
	return true
}

// resend sends all that is pending, in order, and ends a recovery if there is one.
func (u *uplink) resend() {
	u.mu.Lock()
	if u.flow == stalled {
		advance(&u.flow, flowing, flowEdges[:])
	}
	u.sent = 0
	u.mu.Unlock()
	u.transmit()
}

// again sends all pending frames once more, in order, unless the uplink is stalled.
func (u *uplink) again() {
	u.mu.Lock()
	u.sent = 0
	u.mu.Unlock()
	u.transmit()
}

// pause returns how long to wait before the next attempt of a recovery. The first
// attempt after an acknowledgement is made at once.
func (u *uplink) pause() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.attempts
	u.attempts++
	return backoff(n)
}

// backoff returns the pause before attempt n: none before the first, then 10 to 250 ms, and 2 s after about ten seconds
// without an acknowledgement, all with jitter.
func backoff(n int) time.Duration {
	const patient = 50
	switch {
	case n == 0:
		return 0
	case n > patient:
		return time.Second + rand.N(time.Second)
	}
	full := min(250*time.Millisecond, 10*time.Millisecond<<min(n, 8))
	return full/2 + rand.N(full/2)
}
