package host

import (
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/internal/engine"
)

// stage is where an object stands in its life at this host.
type stage uint8

const (
	claiming stage = iota // from the first claim on; no event runs yet
	serving               // ours: events run
	draining              // unsubscribed; events run until the last put has given the object up
	gone                  // not ours any more; nothing leaves
)

func (s stage) String() string { return [...]string{"claiming", "serving", "draining", "gone"}[s] }

// edges are the allowed changes of stage.
var edges = map[stage][]stage{
	claiming: {serving, gone},
	serving:  {draining, gone},
	draining: {gone},
}

// identity is an object's id and its name; "" if the id is random, or nobody has said the name yet.
type identity struct {
	objects.ID
	Name string
}

func (i identity) address() wire.Address { return wire.Address{ID: i.ID, Name: i.Name} }

// object is one object at this host, from the first claim until it is gone. It has
// no goroutine while nothing happens to it; at most one runs its events (run) and
// one is at the store (work). A host has many objects that do nothing, so what only
// busy ones need is made when it is needed.
type object struct {
	in       *incarnation
	id       identity
	class    *engine.Class
	counters *classCounters
	idleAt   time.Duration // when idleQueue, which guards it, yields the object

	mailbox mailbox                     // also holds the object's stage
	life    atomic.Pointer[wakefulness] // nil while no instance has been constructed

	// The event loop owns memory and sockets; serve does before the first event. What
	// a record is made of (see snapshot) is changed with mu held.
	term        term
	memory      memory
	sockets     *sockets     // nil until the record has been claimed, and while the object sleeps and has never had one
	inHand      *scratch     // the event that runs; nil: none
	openSockets atomic.Int32 // how many there are, for whoever looks at the object

	// Of the event in hand. The event loop owns them.
	gaveWay   bool // it is to run again
	restoring bool // it puts the object back, or has tried to
	woke      bool // the instance was constructed for it

	mu      sync.Mutex // guards what follows
	sub     subscription
	waiters *waiters // nil: nobody waits
	outbox  outbox
	commit  committer
	opening *claim     // nil once the object is served
	asks    *questions // nil: the object has asked nothing
	told    *told      // nil: nothing that the object has told is under way
	tasks   *tasks     // nil: none was begun
	upkeep  *upkeep    // nil while the object has never been large
}

// addWaiter returns the object's waiters, made if need be, so that somebody can be added. With mu held.
func (o *object) addWaiter() *waiters {
	if o.waiters == nil {
		o.waiters = new(waiters)
	}
	return o.waiters
}

func newObject(in *incarnation, id wire.Address, class *engine.Class) *object {
	o := &object{in: in, id: identity{id.ID, id.Name}, class: class, counters: in.counters[class.Name]}
	o.mailbox.begin(time.Now())
	o.opening = new(claim)
	return o
}

// stage returns where the object stands. With mu held.
func (o *object) stage() stage { return o.mailbox.current() }

// advance changes the stage; nothing else does. It panics over a change that is not
// among the edges. With mu held.
func (o *object) advance(to stage) {
	from := o.stage()
	if !slices.Contains(edges[from], to) {
		panic(fmt.Sprintf("object %s cannot go from %s to %s", o.id.Key(), from, to))
	}
	waiting := o.mailbox.advance(to)
	owned := o.in.metrics.owned.WithLabelValues(o.class.Name)
	switch to {
	case serving:
		owned.Inc()
		if waiting {
			o.in.startLoop(o)
		}
	case gone:
		if from != claiming {
			owned.Dec()
		}
		o.waiters.come(untilGone)
	}
}

// awaitGone returns a channel that is closed when the object is gone.
func (o *object) awaitGone() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	end := o.addWaiter().await(untilGone)
	if o.stage() == gone {
		o.waiters.come(untilGone)
	}
	return end
}

// spawn runs work on a goroutine of its own. A panic in it ends the object and not the host.
func (o *object) spawn(work func()) {
	o.in.tasks.Go(func() {
		defer o.recover("")
		work()
	})
}

// recover ends the object after a panic outside of its author's code: nobody knows
// what is in its memory. Whoever waits at the reply subject is told.
func (o *object) recover(reply string) {
	if p := recover(); p != nil {
		o.failed(p, reply)
	}
}

// failed ends the object after a panic.
func (o *object) failed(p any, reply string) {
	ref := wire.NewReference()
	o.in.log.Error("object dropped: the host failed", "ref", ref, "object", o.id.Key(), "name", o.id.Name, "panic", p, "stack", string(debug.Stack()))
	failed := &wire.Reply{Code: objects.Internal, Message: "the host failed; whether anything happened is not known", Ref: ref}
	o.mu.Lock()
	defer o.mu.Unlock()
	failed.Owner, failed.Token = o.owner(), o.commit.state().Token
	o.stop(owner.Stop{Why: faulted, Unsure: o.commit.putting()})
	if reply != "" {
		o.in.answer(reply, failed)
	}
}

// claim claims the object, if it is not ours yet, and calls answer when that is decided. It reports false if the object
// is gone.
func (o *object) claim(answer func(wire.ClaimReply)) bool {
	stage, _, _ := o.mailbox.activity()
	if stage == claiming {
		var waits bool
		if stage, waits = o.awaitClaim(answer); waits {
			return true
		}
	}
	switch stage {
	case gone:
		return false
	case serving:
		reply := wire.ClaimReply{Owned: true, Token: o.term.token}
		if o.proved() {
			reply.Held = uint64(time.Since(o.term.since.time()).Milliseconds())
		}
		answer(reply)
	default:
		answer(wire.ClaimReply{Other: fmt.Sprintf("host %s in region %s, which is releasing it", o.in.cfg.Name, o.in.cfg.Region)})
	}
	return true
}

// awaitClaim calls answer when the claim is decided, and begins the claim if nobody has. It reports false, and the
// stage, if there is nothing to wait for.
func (o *object) awaitClaim(answer func(wire.ClaimReply)) (stage, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage() != claiming || o.commit.state().Leaving {
		return o.stage(), false
	}
	o.addWaiter().awaitClaim(answer)
	if o.commit.state().Phase == owner.Free && o.decide(owner.Want{}) {
		o.spawn(o.work)
	}
	return claiming, true
}

// resolveClaims answers everybody who waited for the claim.
func (o *object) resolveClaims(reply wire.ClaimReply) {
	o.mu.Lock()
	waiting := o.waiters.takeClaim()
	o.mu.Unlock()
	for _, answer := range waiting {
		answer(reply)
	}
}

// beginDrain unsubscribes from the object's subject. It reports whether the caller
// has to send a drain marker; otherwise the object is draining or gone already, or
// ends by itself because its claim is still under way.
func (o *object) beginDrain() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch o.stage() {
	case claiming:
		if o.commit.state().Phase == owner.Free { // nobody has claimed it yet
			o.advance(gone)
			o.spawn(func() { o.in.forget(o) })
		} else if o.decide(owner.Leave{}) {
			o.spawn(o.work)
		}
		return false
	case serving:
		o.advance(draining)
	default:
		return false
	}
	if o.sub != nil {
		o.sub.Drain()
	}
	return true
}

// faulted is why an object is not ours any more after a panic of the host.
const faulted owner.Reason = "host failed"

// stop ends the object under the same lock as the decision to stop, so nothing can
// leave after it. With mu held.
func (o *object) stop(d owner.Stop) {
	if o.stage() == gone {
		return
	}
	from := o.stage()
	if d.Why == owner.Released {
		o.sendSettled(time.Now().Add(time.Second)) // all that is settled
	}
	o.advance(gone)
	o.commit.stop()
	o.tasks.end()
	o.told.stopTimer()
	var refusal *objects.Error
	switch d.Why {
	case owner.Rejected, owner.Damaged, owner.Quarantined:
		refusal = o.commit.refusal() // this is the goroutine at the store
	}
	o.upkeep.stop() // nobody needs what it makes
	if o.sockets != nil {
		o.in.links.forget(o, o.sockets.laneNumbers())
		o.sockets.dropConflation()
	}
	o.waiters.come(untilHeld)
	o.waiters.come(untilQuiet)
	o.waiters.come(untilRoom)
	o.spawn(func() { o.stopped(d, refusal, from == serving) })
	for _, item := range o.outbox.takeAll() {
		if d.Why == owner.Rejected && !d.Unsure && item.wrote && o.commit.covers(item.need) {
			item.refuse(o, refusal)
			continue
		}
		item.redirect(o, d.Unsure)
	}
	for _, waiting := range o.mailbox.take() {
		if waiting.kind == request {
			o.in.redirect(waiting.msg, o.term.token)
		}
	}
	if _, _, running := o.mailbox.activity(); !running {
		o.setInstance(nil)
	}
}

// stopped is the rest of a stop, which needs no lock. An object that was served when
// the store refused a put is claimed anew: its record is as it was, and still in our name.
func (o *object) stopped(d owner.Stop, refusal *objects.Error, served bool) {
	var again *object
	if served && d.Why == owner.Rejected {
		again = o.in.succeed(o)
	}
	o.in.forget(o)
	o.mu.Lock()
	sub := o.sub
	o.mu.Unlock()
	switch {
	case sub == nil:
	case d.Why == owner.Rejected && o.in.bus.Connected():
		sub.Drain() // who has asked hears that the object is not here, instead of nothing
	default:
		sub.Unsubscribe()
	}
	o.in.metrics.stops.WithLabelValues(o.class.Name, string(d.Why)).Inc()
	o.in.log.Debug("object stopped", "object", o.id.Key(), "why", string(d.Why), "unsure", d.Unsure)
	failed := wire.ClaimReply{Failure: "the claim ended: " + string(d.Why)}
	if refusal != nil {
		failed = wire.ClaimReply{Code: refusal.Code, Failure: refusal.Message, Ref: refusal.Reference}
	}
	o.resolveClaims(failed)
	if again != nil {
		again.claim(func(wire.ClaimReply) {})
	}
}

// refused ends a claim that the owner's valid lease forbids.
func (o *object) refused(d owner.Refuse) {
	o.in.forget(o)
	host, region := o.opening.owner(d.Owner)
	o.resolveClaims(wire.ClaimReply{Other: host + ", whose lease has not run out", Owner: d.Owner, Where: region})
}

// owner returns this host, as replies name the object's owner. With mu held.
func (o *object) owner() wire.Owner {
	return o.in.self(o.commit.state().Epoch)
}
