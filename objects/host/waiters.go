package host

import "holdfast/internal/wire"

// awaited is something about an object for which somebody may wait.
type awaited uint8

const (
	untilGone  awaited = iota // the object is gone
	untilHeld                 // the gateways of the record have answered
	untilQuiet                // gateways have acknowledged everything
	untilRoom                 // what waits for a commit fits into a window again
	awaitables
)

// waiters are those who wait for something about an object. Only its methods use its fields. object.mu guards it. A nil
// waiters has none.
type waiters struct {
	claim []func(wire.ClaimReply)   // are called when the claim is decided
	on    [awaitables]chan struct{} // closed when the thing has happened; nil: nobody waits for it
}

// await returns a channel that is closed when the thing has happened.
func (w *waiters) await(what awaited) <-chan struct{} {
	if w.on[what] == nil {
		w.on[what] = make(chan struct{})
	}
	return w.on[what]
}

// awaits returns the channel of those who wait; nil: nobody does.
func (w *waiters) awaits(what awaited) <-chan struct{} {
	if w == nil {
		return nil
	}
	return w.on[what]
}

// come wakes those who wait for the thing, which has happened.
func (w *waiters) come(what awaited) {
	if w != nil && w.on[what] != nil {
		close(w.on[what])
		w.on[what] = nil
	}
}

// awaitClaim calls answer when the claim is decided.
func (w *waiters) awaitClaim(answer func(wire.ClaimReply)) { w.claim = append(w.claim, answer) }

// takeClaim removes and returns those who wait for the claim.
func (w *waiters) takeClaim() []func(wire.ClaimReply) {
	if w == nil {
		return nil
	}
	waiting := w.claim
	w.claim = nil
	return waiting
}

// nobody reports whether nobody waits for anything.
func (w *waiters) nobody() bool {
	return w == nil || len(w.claim) == 0 && w.on == [awaitables]chan struct{}{}
}
