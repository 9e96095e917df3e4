package host

import (
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/internal/owner"
	"holdfast/objects/internal/record"
)

// object is one object at this host: from the first wish to own it until it is
// let go of. It has no goroutine while nothing happens to it; at most one runs its
// events (run) and one puts its record (drive).
type object struct {
	r     *reign
	id    objects.ID
	key   string
	class *objects.Class
	gone  chan struct{} // closed when it is not ours any more

	// Owned by run, and by load before the first event.
	world    objects.World
	frames   map[string]uint64 // the last frame handled, of each socket
	instance *objects.Instance // set by keep; dropped by rest when run does not run

	mu       sync.Mutex // guards what follows, and changes of world.Data
	own      owner.State
	over     bool                    // gone is closed
	wishes   []func(wire.ClaimReply) // who waits for the claim
	queue    []letter
	running  bool // run runs
	used     time.Time
	leaving  bool
	farewell *nats.Msg // our own last letter
	sub      *nats.Subscription
	alarm    objects.Alarm
	gateways map[string]int // sockets at each gateway
	answers  answers
	held     []held
	observed uint64 // the last commit that an event may have seen before it was durable

	payload payload        // of the latest put
	settled objects.Alarm  // as of the last commit known to have landed
	claimed *record.Record // what a claim puts, and serves from; nil once world has it

	io       sync.Mutex     // held while something goes to the store; guards what follows
	wakeUp   time.Time      // when the wake-up is set for; zero: not set
	attempts int            // reads in a row that settled nothing
	found    *record.Record // as last read; nil: there was none
}

// letter is one thing in an object's mailbox.
type letter struct {
	msg   *nats.Msg // from a gateway
	at    time.Time // when it came
	lost  string    // a gateway that has died
	leave bool      // everything before it has been handled: release the object
}

// payload is the put under way, encoded once.
type payload struct {
	put   owner.Put
	value []byte // nil: remove the record
	alarm objects.Alarm
}

func newObject(r *reign, id objects.ID, class *objects.Class) *object {
	return &object{r: r, id: id, key: id.Key(), class: class, gone: make(chan struct{}), used: time.Now()}
}

// want has the object claimed, if it is not ours yet, and answers when that is
// decided. It is false if the object's place here has ended.
func (o *object) want(answer func(wire.ClaimReply)) bool {
	o.mu.Lock()
	if o.over {
		o.mu.Unlock()
		return false
	}
	if o.sub != nil {
		leaving := o.leaving
		o.mu.Unlock()
		if leaving {
			answer(wire.ClaimReply{Other: "this host, which is releasing it"})
		} else {
			answer(wire.ClaimReply{Owned: true})
		}
		return true
	}
	first := len(o.wishes) == 0
	o.wishes = append(o.wishes, answer)
	o.mu.Unlock()
	if first {
		o.r.tasks.Go(func() { o.drive(owner.Want{}) })
	}
	return true
}

// grant answers those who waited for the claim.
func (o *object) grant(reply wire.ClaimReply) {
	o.mu.Lock()
	wishes := o.wishes
	o.wishes = nil
	o.mu.Unlock()
	for _, answer := range wishes {
		answer(reply)
	}
}

// push puts a letter into the mailbox, or turns it away when that is full.
func (o *object) push(l letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case l.msg != nil && l.msg == o.farewell:
		l = letter{leave: true}
	case o.over || o.sub == nil:
		if l.msg != nil {
			o.r.moved(l.msg, false)
		}
		return
	case l.msg != nil && len(o.queue) >= o.r.cfg.Queue:
		o.r.answer(l.msg.Reply, wire.Reply{
			Code: objects.Overloaded, Message: "too many requests wait for this object", Owner: o.owner(), Token: o.own.Token,
		})
		return
	}
	o.queue = append(o.queue, l)
	if !o.running {
		o.running = true
		o.r.tasks.Go(o.run)
	}
}

// run handles what is in the mailbox, one event at a time, until it is empty.
func (o *object) run() {
	for {
		o.mu.Lock()
		o.used = time.Now()
		if len(o.queue) == 0 || o.over {
			o.running, o.queue = false, nil
			if o.over {
				o.keep(nil)
			}
			o.mu.Unlock()
			return
		}
		l := o.queue[0]
		o.queue[0] = letter{}
		o.queue = o.queue[1:]
		o.mu.Unlock()
		switch {
		case l.leave:
			o.drive(owner.Leave{})
		case l.lost != "":
			o.loseGateway(l.lost)
		default:
			o.handle(l.msg, l.at)
		}
	}
}

// rest drops an instance that has been idle, and tells whether the object has
// been idle for so long that it should be released.
func (o *object) rest(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running || o.over || o.sub == nil {
		return false
	}
	idle := now.Sub(o.used)
	if idle > o.r.timing.Hibernate {
		o.keep(nil)
	}
	return idle > o.r.timing.Evict && !o.leaving
}

// keep has this instance handle events from now on; nil: the next event
// constructs one. With mu held.
func (o *object) keep(i *objects.Instance) {
	awake := o.r.metrics.awake.WithLabelValues(o.class.Name())
	switch {
	case o.instance == nil && i != nil:
		awake.Inc()
	case o.instance != nil && i == nil:
		awake.Dec()
	}
	o.instance = i
}

// deafen stops listening for the object, which is to be released; false if that
// is being done already, or if there is nothing to hear out.
func (o *object) deafen() bool {
	o.mu.Lock()
	first, sub := !o.over && !o.leaving, o.sub
	o.leaving = true
	o.mu.Unlock()
	switch {
	case !first:
		return false
	case sub == nil: // the claim is still under way
		o.r.tasks.Go(func() { o.drive(owner.Leave{}) })
		return false
	}
	// Draining, not unsubscribing: what the server has sent already still comes in.
	if err := sub.Drain(); err != nil {
		o.r.log.Debug("nothing to hear out", "object", o.key, "err", err) // the connection has ended
	}
	return true
}

// farewellLetter is the last letter that the object gets, made by ourselves.
func (o *object) farewellLetter() *nats.Msg {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.farewell = &nats.Msg{Subject: wire.ObjectSubject(o.id)}
	return o.farewell
}

// owner is who we are, as a reply tells it.
func (o *object) owner() wire.Owner {
	return wire.Owner{Host: o.r.cfg.Name, Region: o.r.cfg.Region, Epoch: o.own.Epoch}
}

// encode makes the payload of the put that has just been decided on, from what
// is in memory now. With mu held, so that no event is half in it.
func (o *object) encode(put owner.Put) payload {
	rec := o.snapshot()
	rec.Epoch, rec.Owner, rec.Commit = put.Epoch, put.Owner, put.Commit
	rec.Host, rec.Region = o.r.cfg.Name, o.r.cfg.Region
	if put.Owner == "" {
		rec.Host, rec.Region = "", ""
		if rec.Empty() {
			return payload{put: put} // nothing to keep: no entry
		}
	}
	return payload{put: put, value: rec.Encode(), alarm: rec.Alarm}
}

// snapshot is the object as its record is to have it. With mu held.
func (o *object) snapshot() record.Record {
	if o.claimed != nil { // not served yet: as it was
		return *o.claimed
	}
	rec := record.Record{Name: o.id.Name(), Alarm: o.alarm, Answers: o.answers.list(time.Now()), Data: o.world.Data}
	for gateway, n := range o.gateways {
		if n > 0 {
			rec.Gateways = append(rec.Gateways, gateway)
		}
	}
	slices.Sort(rec.Gateways)
	return rec
}
