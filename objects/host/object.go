package host

import (
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/internal/engine"
)

// object is one object at this host: from the first wish to own it until it is
// let go of. It has no goroutine while nothing happens to it; at most one runs its
// events (run) and one puts its record (drive). A host has many that do nothing, so
// what only busy ones need is made when it is needed.
type object struct {
	r     *reign
	id    objects.ID
	key   string
	class *objects.Class
	usual *usual

	// Owned by run, and by serve before the first event.
	epoch    uint64
	data     *engine.Data
	sockets  engine.Sockets
	frames   map[string]uint64 // the last frame handled, of each socket
	instance *engine.Instance  // set by keep; dropped by rest when run does not run

	mu       sync.Mutex // guards what follows, and changes of data
	own      owner.State
	over     bool                    // it is not ours any more
	gone     chan struct{}           // closed when over, if somebody waits for that
	wishes   []func(wire.ClaimReply) // who waits for the claim
	queue    []letter
	inHand   string        // the reply subject of the event that run handles
	pace     time.Duration // of an event, of late
	running  bool          // run runs
	leaving  bool
	unput    bool // events have written what no put has been decided on for
	armed    bool // gather runs
	gather   *time.Timer
	used     time.Time
	turn     time.Time // in the rota, which guards it
	farewell *nats.Msg // our own last letter
	sub      *nats.Subscription
	alarm    *engine.Alarm  // nil: none
	gateways map[string]int // sockets at each gateway
	answers  answers
	held     []held
	observed uint64 // the last commit that an event may have seen before it was durable

	payload *payload       // of the put under way
	settled *engine.Alarm  // as of the last commit known to have landed; nil: none
	claimed *record.Record // what a claim puts, and serves from; nil once data has it

	io       sync.Mutex     // held while something goes to the store; guards what follows
	wakeUp   time.Time      // when the wake-up is set for; zero: not set
	attempts int            // reads in a row that settled nothing
	found    *record.Record // as last read, for a claim; nil: there was none
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
	alarm *engine.Alarm
}

func newObject(r *reign, id objects.ID, class *objects.Class) *object {
	return &object{r: r, id: id, key: id.Key(), class: class, usual: r.usual[class.Name()], used: time.Now()}
}

// close makes it ours no more. With mu held.
func (o *object) close() {
	o.over = true
	if o.gone != nil {
		close(o.gone)
	}
}

// whenGone is closed when the object is not ours any more.
func (o *object) whenGone() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone == nil {
		o.gone = make(chan struct{})
		if o.over {
			close(o.gone)
		}
	}
	return o.gone
}

// alarmOf is nil for none.
func alarmOf(a engine.Alarm) *engine.Alarm {
	if a == (engine.Alarm{}) {
		return nil
	}
	return &a
}

// value is the alarm that a may be.
func value(a *engine.Alarm) engine.Alarm {
	if a == nil {
		return engine.Alarm{}
	}
	return *a
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
	}
	o.accept(l)
}

// take is push for what comes from nearby: false, if it is for somebody else. Of
// what came before a farewell none comes this way after it.
func (o *object) take(l letter) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over || o.sub == nil || o.leaving {
		return false
	}
	o.accept(l)
	return true
}

// accept puts a letter into the mailbox of an object that is served. With mu held.
func (o *object) accept(l letter) {
	switch {
	case l.msg != nil && l.msg.Reply != "" && o.has(l.msg.Reply):
		return // sent again; the answer to the first is on its way
	case l.msg != nil && tooMany(len(o.queue), o.r.cfg.Queue, o.pace, o.r.timing.Silence/2):
		o.r.answer(l.msg.Reply, &wire.Reply{
			Code: objects.Overloaded, Busy: true, Message: "too many requests wait for this object", Owner: o.owner(), Token: o.own.Token,
		})
		return
	}
	o.queue = append(o.queue, l)
	if !o.running {
		o.running = true
		o.r.tasks.Go(o.run)
	}
}

// alwaysWait is how many events may wait for an object, however slow it is.
const alwaysWait = 32

// tooMany tells whether one more event is not to wait behind those that do: there
// are as many as ever may be, or so many that, at the pace of late, it would wait
// longer than whoever has sent it is patient. It is better told so at once.
func tooMany(waiting, most int, pace, patience time.Duration) bool {
	return waiting >= most || waiting >= alwaysWait && time.Duration(waiting)*pace > patience
}

// has tells whether a message with this reply subject, which names it, waits or is
// being handled. With mu held.
func (o *object) has(reply string) bool {
	if o.inHand == reply {
		return true
	}
	for i := range o.queue {
		if msg := o.queue[i].msg; msg != nil && msg.Reply == reply {
			return true
		}
	}
	return false
}

// gatherTime is how long what an event wrote may wait for the events behind it in
// the mailbox, to be put with what they write.
const gatherTime = 500 * time.Microsecond

// run handles what is in the mailbox, one event at a time, until it is empty. What
// they have written is put then, in one piece, or when it has waited for gatherTime.
func (o *object) run() {
	var req wire.Request // each event's in turn
	var began time.Time  // of the event before
	for {
		o.mu.Lock()
		o.used = time.Now()
		if !began.IsZero() {
			o.pace += (o.used.Sub(began) - o.pace) / 8
		}
		began, o.inHand = o.used, ""
		if len(o.queue) == 0 || o.over {
			o.running, o.queue = false, nil
			if o.over {
				o.keep(nil)
			}
			do := o.putGathered()
			o.mu.Unlock()
			o.drive(o.obey(do))
			return
		}
		l := o.queue[0]
		o.queue[0] = letter{}
		o.queue = o.queue[1:]
		if o.unput && !o.armed {
			o.wait()
		}
		if l.msg != nil {
			o.inHand = l.msg.Reply
		}
		o.mu.Unlock()
		switch {
		case l.leave:
			o.gathered() // before the last put
			o.drive(owner.Leave{})
		case l.lost != "":
			o.loseGateway(l.lost)
		default:
			o.handle(l.msg, l.at, &req)
		}
	}
}

// wait gives what was written gatherTime to be joined. With mu held.
func (o *object) wait() {
	o.armed = true
	if o.gather == nil {
		o.gather = time.AfterFunc(gatherTime, o.gathered)
	} else {
		o.gather.Reset(gatherTime)
	}
}

// gathered has what was written put now.
func (o *object) gathered() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if do := o.putGathered(); do != nil {
		o.r.tasks.Go(func() { o.drive(o.obey(do)) })
	}
}

// putGathered decides on a put of what was written. With mu held.
func (o *object) putGathered() []owner.Do {
	if o.armed {
		o.gather.Stop()
		o.armed = false
	}
	if !o.unput || o.over {
		return nil
	}
	o.unput = false
	return o.decide(owner.Changed{})
}

// rest is the object's turn in the rota. It drops an instance that has been idle, and
// tells whether the object has been idle for so long that it should be released; if
// not, it has another turn.
func (o *object) rest(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	timing := &o.r.timing
	idle := now.Sub(o.used)
	var next time.Time
	switch {
	case o.over || o.leaving:
		return false
	case o.running || o.sub == nil:
		next = now.Add(timing.Hibernate)
	case idle >= timing.Evict:
		return true
	case idle < timing.Hibernate && o.instance != nil:
		next = o.used.Add(timing.Hibernate)
	default:
		o.keep(nil)
		o.gather = nil
		next = o.used.Add(timing.Evict)
	}
	o.r.rota.put(o, next)
	return false
}

// keep has this instance handle events from now on; nil: the next event
// constructs one. With mu held.
func (o *object) keep(i *engine.Instance) {
	awake := o.r.metrics.awake.WithLabelValues(o.class.Name())
	switch {
	case o.instance == nil && i != nil:
		awake.Inc()
		o.r.rota.put(o, o.used.Add(o.r.timing.Hibernate))
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
func (o *object) encode(put owner.Put) *payload {
	rec := o.snapshot()
	rec.Epoch, rec.Owner, rec.Commit = put.Epoch, put.Owner, put.Commit
	rec.Host, rec.Region = o.r.cfg.Name, o.r.cfg.Region
	if put.Owner == "" {
		rec.Host, rec.Region = "", ""
		if rec.Empty() {
			return &payload{put: put} // nothing to keep: no entry
		}
	}
	return &payload{put: put, value: rec.Encode(), alarm: o.alarm}
}

// snapshot is the object as its record is to have it. With mu held.
func (o *object) snapshot() record.Record {
	if o.claimed != nil { // not served yet: as it was
		return *o.claimed
	}
	rec := record.Record{Name: o.id.Name(), Alarm: value(o.alarm), Answers: o.answers.list(time.Now()), Data: o.data}
	for gateway, n := range o.gateways {
		if n > 0 {
			rec.Gateways = append(rec.Gateways, gateway)
		}
	}
	slices.Sort(rec.Gateways)
	return rec
}
