package host

import (
	"time"

	"holdfast/objects/host/internal/owner"
)

// What an object does while its host's lease has lapsed, and after that.
//
// Others may claim the object as soon as the lease has lapsed. So nothing leaves that only
// memory vouches for: events wait in the mailbox, and outputs of events that wrote nothing
// wait in the outbox. When the lease is valid again, in its next generation, nobody knows
// whether the object is still ours until a put of it has landed that was made in this
// generation. The first output has the object make one, even if nothing has changed. Its
// compare-and-set also refuses every claim that is still under way.

// mayLeave reports whether an item that no put vouches for may leave. If not, the item is
// released when it may. With mu held.
func (o *object) mayLeave(item outboxItem) bool {
	if item.wrote {
		return true // its own put has landed
	}
	generation, valid := o.in.lease.Valid()
	switch {
	case !valid:
		o.releaseLater()
		return false
	case !o.commit.provedIn(generation):
		o.prove(generation)
		return false
	}
	return true
}

// proved reports whether the object is certainly ours now: whatever happened to it since
// it was served first has happened here.
func (o *object) proved() bool {
	generation, valid := o.in.lease.Valid()
	return valid && o.commit.provedIn(generation)
}

// prove requests one put of the object in this generation of the lease, unless such a put is under way. With mu held.
func (o *object) prove(generation uint64) {
	if o.commit.needsProof(generation) {
		o.spawn(func() { o.drive(owner.Changed{}) })
	}
}

// releaseLater releases the outbox when the lease is valid again. With mu held.
func (o *object) releaseLater() {
	if !o.outbox.hold() {
		return
	}
	o.spawn(func() {
		select {
		case <-o.in.lease.Again():
		case <-o.in.work.Done():
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.outbox.unhold()
		if o.stage() != gone {
			o.release(o.commit.state().Commit)
		}
	})
}

// awaitLease waits while the lease has lapsed. It reports false if the incarnation ends instead. The event loop calls
// it.
func (o *object) awaitLease() bool {
	if _, valid := o.in.lease.Valid(); valid {
		return true
	}
	select {
	case <-o.in.lease.Again():
		o.mailbox.begin(time.Now()) // the wait is no part of the event's time
		return true
	case <-o.in.work.Done():
		return false
	}
}
