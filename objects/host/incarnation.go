package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/lease"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// inboxSize is how many messages may wait to be sorted into mailboxes. Sorting
// is quick; beyond it the client drops messages and gateways send them again.
const inboxSize = 64 << 10

// controlSize is how many claims and beats may wait. Beyond it they are dropped; their senders send them again.
const controlSize = 16 << 10

// incarnation is what runs under one lease of a host: the objects it owns, and all
// that works for them.
type incarnation struct {
	id       string
	cfg      *Config
	timing   wire.Timing
	log      *slog.Logger
	classes  map[string]*engine.Class
	metrics  *metrics
	counters map[string]*classCounters // by class

	bus    bus
	store  store
	clock  clock
	lease  trust
	live   func(ctx context.Context, incarnation string) bool // whether another's may be
	first  func(class string) string                          // the lowest live incarnation that runs the class
	ends   func(within time.Duration) (n int, known bool)     // how many incarnations ended lately; false: not known
	ended  func(within time.Duration) []lease.Gone            // incarnations that ended lately
	wide   func() bool                                        // whether every host reads records with parts
	client objectClient                                       // asks objects for this host, here or elsewhere

	inbox    chan *nats.Msg // everything for every object we own; never closed
	control  chan *nats.Msg // claims and beats; never closed
	lanes    chan *nats.Msg // what gateways say about lanes; never closed
	links    links
	streams  stream.Settings // of every object
	loops    loops
	idle     idleQueue
	slow     slowEvents
	warnings wire.Warnings

	telling chan struct{} // holds a token for each batch of told messages under way
	forgets atomic.Uint64 // said so far
	running atomic.Int64  // tasks

	streaming atomic.Int64 // streams that run
	bodies    *wire.Bodies // bodies that are carried beside events; nil: there are no streams

	restrictions restrictions
	unreadable   unreadable
	checking     chan struct{} // holds a token for each record that is read for a gateway that may lack something

	cache   *state.Cache  // parts of large objects
	merging chan struct{} // the host's
	purging chan struct{} // holds a token for each object whose dead entries are being purged

	reclaiming chan struct{} // holds a token while objects are asked for dead entries, because the store has no room

	work     context.Context // ends when everything has been let go of
	tasks    sync.WaitGroup  // goroutines of objects, evictions and claims
	evicting chan struct{}   // holds a token while idle objects are released
	leaving  chan struct{}   // holds a token for each object that is being released and is at the store

	mu       sync.Mutex // guards what follows
	objects  map[string]*object
	gateways map[string]time.Time // when the last beat of each came
	intake   intake
}

// intake is whether an incarnation takes claims. It only moves forward.
type intake int

const (
	joining   intake = iota // its subscriptions may not have reached NATS yet
	accepting               // they have
	refusing                // no claims any more
)

func newIncarnation(h *Host, id string) *incarnation {
	return &incarnation{
		id: id, cfg: &h.cfg, timing: h.timing, log: h.log, classes: h.classes, metrics: h.metrics, counters: h.counters,
		inbox: make(chan *nats.Msg, inboxSize), control: make(chan *nats.Msg, controlSize),
		lanes: make(chan *nats.Msg, laneInbox), links: newLinks(), streams: streamSettings(&h.cfg, h.timing), loops: newLoops(), evicting: make(chan struct{}, 1),
		leaving: make(chan struct{}, releases),
		telling: make(chan struct{}, maxTelling),
		objects: make(map[string]*object), gateways: make(map[string]time.Time),
		cache: h.cache, merging: h.merging, purging: make(chan struct{}, purges), reclaiming: make(chan struct{}, 1), wide: func() bool { return true },
		restrictions: newRestrictions(h.classes), checking: make(chan struct{}, checks),
	}
}

// errStuck is why an incarnation does not wait for all of its goroutines: the code
// of an author does not return, and Go has no way to end it. Its objects are gone,
// so nothing that it still does can leave.
var errStuck = errors.New("an event of an object did not end in time")

// stuckTime is how long an incarnation that has dropped everything waits for events that still run: long enough that a
// machine which stalls is not taken for an event that does not end.
const stuckTime = 1500 * time.Millisecond

// run serves until ctx ends. If the lease was lost it drops everything at once;
// otherwise it hands its objects back in order.
func (in *incarnation) run(ctx context.Context) error {
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	in.work = work
	g, running := errgroup.WithContext(work)
	g.Go(func() error { return in.dispatch(running) })
	g.Go(func() error { return in.answerControl(running) })
	g.Go(func() error { return in.serveLanes(running) })
	g.Go(func() error { return in.sweep(running) })
	for _, class := range in.classes {
		g.Go(func() error { return in.followAlarms(running, class.Name) })
	}
	subs, err := in.listen()
	defer in.cfg.Nearby.Join(in.deliverLocal)()
	if err == nil {
		in.acceptClaims()
		select {
		case <-ctx.Done():
		case <-running.Done():
		}
	}
	in.refuseClaims(subs)
	var lost error
	if cause := context.Cause(ctx); errors.Is(cause, lease.ErrLost) {
		lost = cause
	}
	if lost == nil && err == nil && running.Err() == nil {
		in.drain(ctx)
	}
	in.dropAll()
	stop(errors.New("the incarnation has ended"))
	err = errors.Join(err, in.await(g), lost)
	in.metrics.forget(in.cfg.Name)
	return err
}

// await returns when all goroutines have, or with errStuck after stuckTime.
func (in *incarnation) await(g *errgroup.Group) error {
	ended := make(chan error, 1)
	go func() { // waited for below, unless an event is stuck
		err := g.Wait()
		in.tasks.Wait()
		ended <- err
	}()
	timer := time.NewTimer(stuckTime)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
		return errStuck
	}
}

// listen subscribes to claims and beats.
func (in *incarnation) listen() ([]subscription, error) {
	beats, err := in.bus.Subscribe(wire.BeatSubject, "", in.control)
	if err != nil {
		return nil, fmt.Errorf("listen for gateways: %w", err)
	}
	subs := []subscription{beats}
	if _, err := in.bus.Subscribe(wire.LaneInbox(in.id)+">", "", in.lanes); err != nil {
		return subs, fmt.Errorf("listen for gateways: %w", err)
	}
	listen := func(subject, group string) {
		if err == nil {
			var sub subscription
			if sub, err = in.bus.Subscribe(subject, group, in.control); err == nil {
				subs = append(subs, sub)
			}
		}
	}
	listen(wire.HostSubject(in.id), "")
	for _, class := range in.classes {
		listen(wire.HostsSubject(class.Name), "")
		listen(wire.ClaimSubject(in.cfg.Region, class.Name), wire.HostQueue)
	}
	listen(wire.HostsSubject(""), "") // the last: who hears of a host can reach all of its classes
	if err != nil {
		return subs, fmt.Errorf("listen for claims: %w", err)
	}
	ctx, cancel := context.WithTimeout(in.work, in.timing.Claim)
	defer cancel()
	if err := in.bus.Flush(ctx); err != nil {
		return subs, fmt.Errorf("listen for claims: %w", err)
	}
	return subs, nil
}

func (in *incarnation) acceptClaims() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.intake = accepting
}

// takesClaims returns nil, or an error that says why the incarnation takes no claims.
func (in *incarnation) takesClaims() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return [...]error{joining: errJoining, accepting: nil, refusing: errRefusing}[in.intake]
}

var (
	errJoining  = errors.New("the host does not take objects yet")
	errRefusing = errors.New("the host is stopping")
)

func (in *incarnation) refuseClaims(subs []subscription) {
	in.mu.Lock()
	in.intake = refusing
	in.mu.Unlock()
	for _, sub := range subs {
		sub.Unsubscribe()
	}
}

// object returns the object, made if need be; nil when the host is stopping.
func (in *incarnation) object(id wire.Address, class *engine.Class) *object {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.intake == refusing {
		return nil
	}
	o := in.objects[id.Key()]
	if o == nil {
		o = newObject(in, id, class)
		in.objects[id.Key()] = o
		in.idle.put(o, time.Now().Add(class.Life.Soonest()))
	}
	return o
}

// succeed puts a new object in the place of one that is gone; nil: the place is taken, or the host stops. Requests for
// the old one may still come: the new one answers them in its name, so that their senders know that they have not run.
func (in *incarnation) succeed(o *object) *object {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.objects[o.id.Key()] != o || in.intake == refusing {
		return nil
	}
	next := newObject(in, o.id.address(), o.class)
	next.mailbox.serve(o.mailbox.claimToken(), time.Now())
	in.objects[o.id.Key()] = next
	in.idle.put(next, time.Now().Add(o.class.Life.Soonest()))
	return next
}

func (in *incarnation) forget(o *object) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.objects[o.id.Key()] == o {
		delete(in.objects, o.id.Key())
	}
}

func (in *incarnation) all() []*object {
	in.mu.Lock()
	defer in.mu.Unlock()
	all := make([]*object, 0, len(in.objects))
	for _, o := range in.objects {
		all = append(all, o)
	}
	return all
}

// drainPrefix begins the subject of a drain marker. No message from a gateway has such a subject, because the inbox
// gets only messages to objects' subjects.
const drainPrefix = "drain."

// dispatch sorts messages into mailboxes, in the order in which they came.
func (in *incarnation) dispatch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-in.inbox:
			in.deliver(msg)
		}
	}
}

// deliver puts one message into its mailbox.
func (in *incarnation) deliver(msg *nats.Msg) {
	defer in.recover(msg.Subject)
	if key, ok := strings.CutPrefix(msg.Subject, drainPrefix); ok {
		if o := in.find(key); o != nil {
			o.push(delivery{kind: drainMarker})
		}
		return
	}
	key, byHost := wire.ObjectOf(msg.Subject)
	o := in.find(key)
	if o == nil {
		in.redirect(msg, 0)
		return
	}
	if byHost && wire.IsProbe(msg.Data) {
		o.onProbe(msg)
		return
	}
	if wire.IsLook(msg.Data) {
		o.look(msg)
		return
	}
	o.push(delivery{kind: request, msg: msg, at: time.Now(), byHost: byHost})
}

// deliverLocal is deliver for a request from a gateway in this process. It reports
// false when the object is not served here.
func (in *incarnation) deliverLocal(msg *nats.Msg) bool {
	key, byHost := wire.ObjectOf(msg.Subject)
	o := in.find(key)
	if _, valid := in.lease.Valid(); o == nil || !valid {
		return false // over NATS another owner hears it as well
	}
	if stage, _, _ := o.mailbox.activity(); stage == serving && wire.IsLook(msg.Data) {
		o.look(msg)
		return true
	}
	d := delivery{kind: request, msg: msg, at: time.Now(), byHost: byHost}
	return o.deliverVerdict(d, o.mailbox.pushLocal(d, o.queueLimits()))
}

// recover ends a panic over one message. The message is dropped.
func (in *incarnation) recover(subject string) {
	if p := recover(); p != nil {
		in.warnings.Log(in.log, "message dropped: the host failed", "ref", wire.NewReference(), "subject", subject, "panic", p, "stack", string(debug.Stack()))
	}
}

// self returns this host, as replies name the owner.
func (in *incarnation) self(epoch uint64) wire.Owner {
	return wire.Owner{Host: in.cfg.Name, Region: in.cfg.Region, Epoch: epoch}
}

func (in *incarnation) find(key string) *object {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.objects[key]
}

func (o *object) queueLimits() queueLimits {
	return queueLimits{events: o.in.cfg.Queue, wait: o.class.Life.Queue}
}

// push puts a delivery into the mailbox, or refuses it.
func (o *object) push(d delivery) {
	if !o.deliverVerdict(d, o.mailbox.push(d, o.queueLimits())) && d.kind == request {
		o.in.redirect(d.msg, o.mailbox.claimToken())
	}
}

// deliverVerdict acts on what the mailbox decided about a delivery. It reports false if the object is not served here.
func (o *object) deliverVerdict(d delivery, v verdict) bool {
	switch v {
	case startLoop:
		o.in.startLoop(o)
	case refused:
		o.in.answer(d.msg.Reply, &wire.Reply{
			Code: objects.Overloaded, Busy: true, Message: "too many requests wait for this object",
			Owner: o.in.self(o.term.epoch), Token: o.term.token,
			Unsure: o.term.young(time.Now()) || !o.proved(),
		})
	case notServed:
		return false
	}
	return true
}

// answerControl handles claims and beats, in the order in which they came.
func (in *incarnation) answerControl(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-in.control:
			in.handleControl(msg)
		}
	}
}

func (in *incarnation) handleControl(msg *nats.Msg) {
	defer in.recover(msg.Subject)
	switch {
	case msg.Subject == wire.BeatSubject:
		in.onBeat(msg)
	case strings.HasPrefix(msg.Subject, wire.HostsSubject("")):
		in.answerRollCall(msg)
	default:
		in.answerClaim(msg)
	}
}

// redirect answers a gateway that the owner with this token has not run the message and
// will not run it.
func (in *incarnation) redirect(msg *nats.Msg, token uint64) {
	in.answer(msg.Reply, &wire.Reply{Moved: true, Token: token})
}

// answer sends a reply the shortest way. It may overtake what was sent before.
func (in *incarnation) answer(subject string, reply *wire.Reply) {
	if !in.cfg.Nearby.Answer(subject, reply) {
		in.answerAfter(subject, reply)
	}
}

// answerAfter sends a reply through NATS, after everything sent before. It refuses
// subjects outside gateways' inboxes: a forged reply subject could name a record.
func (in *incarnation) answerAfter(subject string, reply *wire.Reply) {
	if !strings.HasPrefix(subject, wire.InboxPrefix) {
		return
	}
	err := wire.Publish(in.bus, subject, reply)
	if errors.Is(err, nats.ErrMaxPayload) {
		err = wire.Publish(in.bus, subject, reply.TooLarge())
	}
	in.logSendError(err)
}

// logSendError logs err. Sending fails only when the connection has ended, or its
// buffer is full while it reconnects: then nobody hears us, and gateways ask again.
func (in *incarnation) logSendError(err error) {
	if err != nil {
		in.warnings.Log(in.log, "message not sent", "err", err)
	}
}

// drain releases every object, and returns when all are gone, the time is over,
// or the lease is.
func (in *incarnation) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.timing.Drain)
	defer cancel()
	began, all := time.Now(), in.all()
	endTasks(ctx, all)
	in.drainObjects(ctx, slices.Clone(all))
	if !awaitGone(ctx, all) {
		in.log.Warn("objects not released in time; others wait for the lease to run out")
		return
	}
	if in.bus.Connected() { // else no reply waits to be sent
		if err := in.bus.Flush(ctx); err != nil { // the last replies leave
			in.log.Warn("last replies not sent", "err", err)
		}
	}
	in.log.Info("objects released", "objects", len(all), "ms", time.Since(began).Milliseconds())
}

// drainObjects unsubscribes the objects, waits until everything the server had sent
// is in the inbox, then enqueues a drain marker for each. An object that drains gets
// its marker also when the wait took all of the time: without it, it would refuse
// claims for ever.
func (in *incarnation) drainObjects(ctx context.Context, objects []*object) {
	objects = slices.DeleteFunc(objects, func(o *object) bool { return !o.beginDrain() })
	if len(objects) == 0 {
		return
	}
	if err := in.bus.Flush(ctx); err != nil {
		in.log.Warn("releasing without waiting for what the server has sent", "objects", len(objects), "err", err)
	}
	for _, o := range objects {
		select {
		case in.inbox <- &nats.Msg{Subject: drainPrefix + o.id.Key()}:
		case <-in.work.Done():
			return // everything is dropped
		}
	}
}

// dropAll drops every object that is left, without a put.
func (in *incarnation) dropAll() {
	for _, o := range in.all() {
		o.drive(owner.Lapsed{})
	}
}

// sweep hibernates idle instances, evicts objects that are idle for longer, notifies
// objects of gateways that have died, and reports events that do not end.
func (in *incarnation) sweep(ctx context.Context) error {
	every := in.timing.Beat
	for _, class := range in.classes {
		every = min(every, class.Life.Soonest()/4)
	}
	tick := time.NewTicker(max(10*time.Millisecond, every))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if idle := slices.DeleteFunc(in.idle.due(now), func(o *object) bool { return !o.idleCheck(now) }); len(idle) > 0 {
				in.tasks.Go(func() { in.evict(idle) })
			}
			for _, gateway := range in.silentGateways(now) {
				in.loseGateway(gateway)
			}
			in.metrics.longest.WithLabelValues(in.cfg.Name).Set(in.slow.longest(now).Seconds())
			in.metrics.restricted.WithLabelValues(in.cfg.Name).Set(float64(in.classesRestricted()))
			if in.store.Room().Scarce() {
				in.reclaim()
			}
			usage := in.store.Usage()
			in.metrics.stored.WithLabelValues(in.cfg.Name).Set(float64(usage.Bytes))
			in.metrics.storeLimit.WithLabelValues(in.cfg.Name).Set(float64(usage.Limit))
		}
	}
}

// releases is how many objects may use the store at a time while they are released. A put without an answer in time is
// looked up and sent again: with 5,000 at once a busy store never finishes.
const releases = 128

// inTurn runs do, the part of a release that uses the store, when fewer than releases others run.
func (in *incarnation) inTurn(do func()) {
	select {
	case in.leaving <- struct{}{}:
		defer func() { <-in.leaving }()
		do()
	case <-in.work.Done(): // everything is dropped
	}
}

// evictions is how many idle objects are released at a time, so that their puts do not delay requests.
const evictions = 64

// evict releases objects that have been idle for long, if they still are.
func (in *incarnation) evict(idle []*object) {
	select {
	case in.evicting <- struct{}{}:
		defer func() { <-in.evicting }()
	case <-in.work.Done():
		return
	}
	for some := range slices.Chunk(idle, evictions) {
		if in.work.Err() != nil {
			return // everything is dropped
		}
		some = slices.DeleteFunc(some, func(o *object) bool { return !o.idleCheck(time.Now()) })
		ctx, cancel := context.WithTimeout(in.work, in.timing.Claim)
		in.drainObjects(ctx, slices.Clone(some))
		awaitGone(ctx, some)
		cancel()
	}
}

// awaitGone reports false if ctx ended before all objects were let go of.
func awaitGone(ctx context.Context, objects []*object) bool {
	for _, o := range objects {
		select {
		case <-o.awaitGone():
		case <-ctx.Done():
			return false
		}
	}
	return true
}

const maxGateways = 10000 // gateways that are watched for silence; a longer list has forged names
