package host

import (
	"slices"
	"sync/atomic"
	"time"

	"holdfast/objects"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/state"
)

// committer is an object's side of the store: package owner's state, the obligations to the store, the put under way,
// the wake-up for what is durable, and the batch of writes that waits for its put. It decides and remembers; object
// encodes, asks the store and sends. Only its methods use its fields. object.mu guards it, except where a method says
// otherwise.
type committer struct {
	own     owner.State
	todo    []owner.Do    // obligations to the store, in order; the first is being fulfilled
	payload *payload      // of the put under way
	durable *wakeNeed     // as of the last commit known to have landed; nil: none
	wakeUp  *wakeUp       // that is set; nil: none
	timer   *time.Timer   // nil until the first batch that waits
	proven  atomic.Uint64 // the generation of the lease in which the last put to land was made
	proving uint64        // the generation for which a put was requested last, to prove it
	batch   batch
	waits   atomic.Bool // something has come to wait for a put since the event loop looked

	// The goroutine at the store owns these.
	attempts uint32         // reads in a row without a final answer
	refused  *objects.Error // the last refusal
}

// payload is the put under way, encoded once.
type payload struct {
	put    owner.Put
	made   uint64        // in this generation of the lease
	value  []byte        // nil: remove the record
	before *state.Before // what must be in the store first; nil: nothing
	wake   *wakeNeed
}

// is reports whether p is the payload of put.
func (p *payload) is(put owner.Put) bool { return p != nil && p.put == put }

// state returns package owner's state of the object.
func (c *committer) state() owner.State { return c.own }

// putting reports whether a put is under way.
func (c *committer) putting() bool { return c.own.Pending != owner.Put{} }

// nextCommit returns the commit that contains what is written now.
func (c *committer) nextCommit() uint64 {
	if c.putting() {
		return c.own.Pending.Commit + 1
	}
	return c.own.Commit + 1
}

// step passes an event to package owner and returns the obligations that follow, in order.
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

// obligation returns the first obligation.
func (c *committer) obligation() owner.Do { return c.todo[0] }

// fulfilled removes the first obligation. It reports whether another is left.
func (c *committer) fulfilled() (more bool) {
	c.todo = slices.Delete(c.todo, 0, 1)
	return len(c.todo) > 0
}

// needsPayload reports whether a put must be encoded when it is decided on. A claim is encoded when it is sent, from
// the record that was read.
func (c *committer) needsPayload(put owner.Put) bool {
	return c.own.Phase != owner.Claiming && !c.payload.is(put)
}

// begin notes the put that is under way from now on, and the generation of the lease in which
// it was made.
func (c *committer) begin(p *payload, generation uint64) {
	p.made = generation
	c.payload = p
}

// underWay returns the payload of put; nil: it is not encoded yet.
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

// proved notes that the put under way proves the object ours, in the generation of the lease in which the put was made.
// It ends the put and returns it.
func (c *committer) proved() owner.Put {
	put := c.payload.put
	c.proven.Store(c.payload.made)
	c.payload = nil
	return put
}

// provedIn reports whether a put that was made in this generation of the lease has landed. Any goroutine may call it.
func (c *committer) provedIn(generation uint64) bool { return c.proven.Load() == generation }

// needsProof reports whether the caller must request a put that proves this generation of the lease. It reports false
// if such a put is under way or was requested before.
func (c *committer) needsProof(generation uint64) bool {
	if c.proving == generation || c.payload != nil && c.payload.made == generation {
		return false
	}
	c.proving = generation
	return true
}

// wakeUpSet returns the wake-up that is set; zero: none.
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

// wakeUpAfterCommit returns the wake-up that replaces the one that is set, because what is durable needs a later one,
// or none. It reports false if the one that is set stays: a put under way may need it, and a loose one that comes for
// nothing does no harm.
func (c *committer) wakeUpAfterCommit(now time.Time) (next, set wakeUp, replace bool) {
	set = c.wakeUpSet()
	if c.putting() || set.loose {
		return wakeUp{}, set, false
	}
	next = c.durable.wakeUp(now)
	return next, set, !next.loose
}

// batch is the state of the writes for which no put has been decided on.
type batch uint8

const (
	clean   batch = iota // there are none
	written              // there are some
	timed                // there are some, and the timer runs after which they are put
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

// batchWaits reports whether there is a batch, and no timer runs for it.
func (c *committer) batchWaits() bool { return c.batch == written }

// startBatchTimer starts the timer for a batch, if there is one. newTimer makes the first timer.
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

// endBatch ends the batch. It reports whether the caller must have it put.
func (c *committer) endBatch() bool {
	if c.batch == timed {
		c.timer.Stop()
	}
	before := c.batch
	c.batch = clean
	return before != clean
}

// noteWaits notes that an item waits for a put.
func (c *committer) noteWaits() { c.waits.Store(true) }

// hasWaits reports whether an item has come to wait for a put since takeWaits. The event loop calls it, without the
// lock.
func (c *committer) hasWaits() bool { return c.waits.Load() }

// takeWaits is hasWaits, and begins anew.
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

// nextRead returns how long to wait before the next read of the record. Repeated reads are spaced out; the second
// follows at once, because a claim that came second finds the record there. The goroutine at the store calls it.
func (c *committer) nextRead() (wait time.Duration) {
	if c.attempts > 1 {
		wait = min(250*time.Millisecond, 5*time.Millisecond<<min(c.attempts-2, 8))
	}
	c.attempts++
	return wait
}

// settled notes that the store has answered for good. The goroutine at the store calls it.
func (c *committer) settled() { c.attempts = 0 }

// refuse notes the refusal by the store or the host. The goroutine at the store calls it.
func (c *committer) refuse(e *objects.Error) { c.refused = e }

// refusal returns what refuse noted. The goroutine at the store calls it, as it stops an object because of that.
func (c *committer) refusal() *objects.Error { return c.refused }
