package host

import (
	"slices"
	"sync/atomic"
	"time"

	"holdfast/objects"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/state"
)

// committer is an object's side of the store: what package owner has decided, what is to be
// done there, the put under way, the wake-up that belongs to what is durable, and the batch
// of writes that waits for its put. It decides and remembers; object encodes, asks the store
// and sends. Only its methods use its fields. object.mu guards it, except where a method
// says otherwise.
type committer struct {
	own     owner.State
	todo    []owner.Do    // what is to be done at the store, in order; the first is being done
	payload *payload      // of the put under way
	durable *wakeNeed     // as of the last commit known to have landed; nil: none
	wakeUp  *wakeUp       // that is set; nil: none
	timer   *time.Timer   // nil until the first batch that waits
	proven  atomic.Uint64 // the generation of the lease in which the last put to land was made
	proving uint64        // the generation that a put was asked for to prove
	batch   batch
	waits   atomic.Bool // something has come to wait for a put since the event loop looked

	// The goroutine at the store owns these.
	attempts uint16         // reads in a row that settled nothing, maxAttempts at most
	refused  *objects.Error // why the store has refused what it was asked last
}

// payload is the put under way, encoded once.
type payload struct {
	put    owner.Put
	made   uint64        // in this generation of the lease
	value  []byte        // nil: remove the record
	before *state.Before // what is to be in the store first; nil: nothing
	wake   *wakeNeed
}

// is reports whether this is what put sends.
func (p *payload) is(put owner.Put) bool { return p != nil && p.put == put }

// state is what package owner knows of the object.
func (c *committer) state() owner.State { return c.own }

// putting reports whether a put is under way.
func (c *committer) putting() bool { return c.own.Pending != owner.Put{} }

// nextCommit is the commit that what is written now is part of.
func (c *committer) nextCommit() uint64 {
	if c.putting() {
		return c.own.Pending.Commit + 1
	}
	return c.own.Commit + 1
}

// step has package owner decide about an event, and returns what is to be done, in order.
func (c *committer) step(me string, e owner.Event) (do []owner.Do) {
	c.own, do = owner.Step(me, c.own, e)
	return do
}

// stop forgets the object's ownership: the object is gone.
func (c *committer) stop() { c.own = owner.State{} }

// enqueue adds an obligation. It reports whether the caller has to start the goroutine at
// the store.
func (c *committer) enqueue(d owner.Do) (start bool) {
	start = len(c.todo) == 0
	c.todo = append(c.todo, d)
	return start
}

// obligation is the first thing to be done.
func (c *committer) obligation() owner.Do { return c.todo[0] }

// fulfilled removes the first obligation. It reports whether there is another.
func (c *committer) fulfilled() (more bool) {
	c.todo = slices.Delete(c.todo, 0, 1)
	return len(c.todo) > 0
}

// needsPayload reports whether a put has to be encoded now that it has been decided on. A
// claim is encoded when it is sent, from the record that was read.
func (c *committer) needsPayload(put owner.Put) bool {
	return c.own.Phase != owner.Claiming && !c.payload.is(put)
}

// begin notes the put that is under way from now on, and the generation of the lease in which
// it was made.
func (c *committer) begin(p *payload, generation uint64) {
	p.made = generation
	c.payload = p
}

// underWay is what put sends; nil: it is not encoded yet.
func (c *committer) underWay(put owner.Put) *payload {
	if !c.payload.is(put) {
		return nil
	}
	return c.payload
}

// covers reports whether the put under way covers a commit.
func (c *committer) covers(commit uint64) bool { return commit <= c.payload.put.Commit }

// landed notes that the put under way has landed.
func (c *committer) landed() {
	c.durable = c.payload.wake
	c.proved()
}

// proved notes that the put under way proves, in the generation of the lease in which it was
// made, that the object is ours. It returns the put, which is under way no more.
func (c *committer) proved() owner.Put {
	put := c.payload.put
	c.proven.Store(c.payload.made)
	c.payload = nil
	return put
}

// provedIn reports whether a put that was made in this generation of the lease has landed.
// Any goroutine may ask.
func (c *committer) provedIn(generation uint64) bool { return c.proven.Load() == generation }

// needsProof reports whether the caller has to have a put made that proves this generation of
// the lease. It reports false if such a put is under way or was asked for before.
func (c *committer) needsProof(generation uint64) bool {
	if c.proving == generation || c.payload != nil && c.payload.made == generation {
		return false
	}
	c.proving = generation
	return true
}

// wakeUpSet is the wake-up that is set; zero: none.
func (c *committer) wakeUpSet() wakeUp {
	if c.wakeUp == nil {
		return wakeUp{}
	}
	return *c.wakeUp
}

// noteWakeUp notes which wake-up is set.
func (c *committer) noteWakeUp(w wakeUp) {
	if c.wakeUp = nil; !w.at.IsZero() {
		set := w
		c.wakeUp = &set
	}
}

// wakeUpAfterCommit is the wake-up that is to replace the one that is set, because what is
// durable needs a later one, or none. It reports false if the one that is set stays: a put
// under way may need it, and a loose one may as well come for nothing.
func (c *committer) wakeUpAfterCommit(now time.Time) (next, set wakeUp, replace bool) {
	set = c.wakeUpSet()
	if c.putting() || set.loose {
		return wakeUp{}, set, false
	}
	next = c.durable.wakeUp(now)
	return next, set, !next.loose
}

// batch is what is known of writes that no put has been decided on for.
type batch uint8

const (
	clean   batch = iota // there are none
	written              // there are
	timed                // there are, and the timer runs after which they are put
)

// batchTime is how long what an event wrote may wait for the events behind it in
// the mailbox, to be put with what they write.
const batchTime = 500 * time.Microsecond

// wrote notes that there is something to put.
func (c *committer) wrote() {
	if c.batch == clean {
		c.batch = written
	}
}

// batchWaits reports whether there is something to put, and no timer runs after which it is.
func (c *committer) batchWaits() bool { return c.batch == written }

// startBatchTimer starts the timer after which a batch is put, if there is one. The first
// timer is what newTimer returns.
func (c *committer) startBatchTimer(newTimer func() *time.Timer) {
	switch {
	case c.batch != written:
		return
	case c.timer == nil:
		c.timer = newTimer()
	default:
		c.timer.Reset(batchTime)
	}
	c.batch = timed
}

// endBatch reports whether there is something to put, which the caller has to have put.
func (c *committer) endBatch() bool {
	if c.batch == timed {
		c.timer.Stop()
	}
	before := c.batch
	c.batch = clean
	return before != clean
}

// noteWaits notes that something waits for a put.
func (c *committer) noteWaits() { c.waits.Store(true) }

// hasWaits reports what takeWaits will. The event loop calls it, without the lock.
func (c *committer) hasWaits() bool { return c.waits.Load() }

// takeWaits reports whether something has come to wait for a put since the last call. The
// event loop calls it, without the lock.
func (c *committer) takeWaits() bool {
	waits := c.waits.Load()
	if waits {
		c.waits.Store(false)
	}
	return waits
}

// sleep frees what only a busy object needs.
func (c *committer) sleep() {
	c.timer = nil
	if len(c.todo) == 0 {
		c.todo = nil
	}
}

// maxAttempts is from how many on the wait does not grow any more.
const maxAttempts = 10

// nextRead is how long to wait before the record is read. Reading again and again is spaced
// out; the second follows at once on a claim that another host was quicker with. The
// goroutine at the store calls it.
func (c *committer) nextRead() (wait time.Duration) {
	if c.attempts > 1 {
		wait = min(250*time.Millisecond, 5*time.Millisecond<<(c.attempts-2))
	}
	c.attempts = min(c.attempts+1, maxAttempts)
	return wait
}

// settled notes that the store has answered for good. The goroutine at the store calls it.
func (c *committer) settled() { c.attempts = 0 }

// refuse notes why the store, or the host, refuses what is asked for. The goroutine at the
// store calls it.
func (c *committer) refuse(e *objects.Error) { c.refused = e }

// refusal is why that was refused. The goroutine at the store calls it, as it stops an object
// because of that.
func (c *committer) refusal() *objects.Error { return c.refused }
