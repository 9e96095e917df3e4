package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/lease"
	"holdfast/objects/host/internal/owner"
)

// inboxSize is how many messages may wait to be sorted into mailboxes. Sorting
// is quick; beyond it the client drops messages and gateways send them again.
const inboxSize = 64 << 10

// reign is one incarnation of a host: what it owns, and all that runs for it.
type reign struct {
	*Host
	me     string
	lease  *lease.Holder
	client *wire.Client   // carries alarms to their objects, here or elsewhere
	inbox  chan *nats.Msg // everything for every object we own; never closed
	rota   rota
	work   context.Context
	tasks  sync.WaitGroup // goroutines of objects and claims

	claimsDropped, quarantines sometimes // log lines

	evicting sync.Mutex // held while idle objects are released; taken before all others

	mu       sync.Mutex // guards what follows; taken before an object's own
	objects  map[string]*object
	gateways map[string]time.Time // when each was last heard of
	leaving  bool                 // no claims any more
}

func newReign(h *Host, me string, holder *lease.Holder) (*reign, error) {
	client, err := wire.NewClient(wire.ClientConfig{
		NATS: h.cfg.Serve, Nearby: h.cfg.Nearby, Name: me, Region: h.cfg.Region, Timing: h.timing, Log: h.log,
	})
	if err != nil {
		return nil, err
	}
	return &reign{
		Host: h, me: me, lease: holder, client: client, inbox: make(chan *nats.Msg, inboxSize),
		objects: make(map[string]*object), gateways: make(map[string]time.Time),
	}, nil
}

// run serves until ctx ends. If the lease was lost it drops everything at once;
// otherwise it hands its objects back in order.
func (r *reign) run(ctx context.Context) error {
	defer r.client.Close()
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	r.work = work
	g, running := errgroup.WithContext(work)
	g.Go(func() error { return r.dispatch(running) })
	g.Go(func() error { return r.sweep(running) })
	for _, class := range r.cfg.Classes {
		if class.Alarms() {
			g.Go(func() error { return r.followAlarms(running, class.Name()) })
		}
	}
	subs, err := r.listen()
	defer r.cfg.Nearby.Join(r.take)()
	if err == nil {
		select {
		case <-ctx.Done():
		case <-running.Done():
		}
	}
	r.refuseClaims(subs)
	lost := errors.Is(context.Cause(ctx), lease.ErrLost)
	if !lost && err == nil && running.Err() == nil {
		r.drain(ctx)
	}
	r.dropAll()
	stop(errors.New("the incarnation has ended"))
	err = errors.Join(err, g.Wait())
	r.tasks.Wait()
	if lost {
		err = errors.Join(err, lease.ErrLost)
	}
	return err
}

// listen takes claims and hears of gateways.
func (r *reign) listen() ([]*nats.Subscription, error) {
	nc := r.cfg.Serve
	var subs []*nats.Subscription
	beats, err := nc.Subscribe(wire.BeatSubject, r.heard)
	if err != nil {
		return nil, fmt.Errorf("listen for gateways: %w", err)
	}
	subs = append(subs, beats)
	listen := func(subject, queue string, handler nats.MsgHandler) {
		if err == nil {
			var sub *nats.Subscription
			sub, err = nc.QueueSubscribe(subject, queue, handler)
			subs = append(subs, sub)
		}
	}
	listen(wire.HostSubject(r.me), r.me, r.takeClaim)
	listen(wire.HostsSubject(""), r.me, r.takeRollCall)
	for _, class := range r.cfg.Classes {
		listen(wire.HostsSubject(class.Name()), r.me, r.takeRollCall)
		listen(wire.ClaimSubject(r.cfg.Region, class.Name()), wire.HostQueue, r.takeClaim)
	}
	if err != nil {
		return subs, fmt.Errorf("listen for claims: %w", err)
	}
	if err := nc.FlushTimeout(r.timing.Claim); err != nil {
		return subs, fmt.Errorf("listen for claims: %w", err)
	}
	return subs, nil
}

func (r *reign) refuseClaims(subs []*nats.Subscription) {
	r.mu.Lock()
	r.leaving = true
	r.mu.Unlock()
	for _, sub := range subs {
		sub.Unsubscribe() // fails only when the connection has ended, and the subscription with it
	}
}

// object finds or makes the object's place; nil when the host is stopping.
func (r *reign) object(id objects.ID, class *objects.Class) *object {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leaving {
		return nil
	}
	o := r.objects[id.Key()]
	if o == nil {
		o = newObject(r, id, class)
		r.objects[id.Key()] = o
		r.rota.put(o, o.used.Add(r.timing.Hibernate))
	}
	return o
}

func (r *reign) forget(o *object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.objects[o.key] == o {
		delete(r.objects, o.key)
	}
}

func (r *reign) all() []*object {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*object, 0, len(r.objects))
	for _, o := range r.objects {
		all = append(all, o)
	}
	return all
}

// dispatch sorts messages into mailboxes, in the order in which they came.
func (r *reign) dispatch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-r.inbox:
			o := r.addressee(msg)
			if o == nil {
				r.moved(msg, 0)
				continue
			}
			o.push(letter{msg: msg, at: time.Now()})
		}
	}
}

// take is dispatch for what comes from nearby.
func (r *reign) take(msg *nats.Msg) bool {
	o := r.addressee(msg)
	return o != nil && o.take(letter{msg: msg, at: time.Now()})
}

// addressee is the object that a message is to; nil if it is not here.
func (r *reign) addressee(msg *nats.Msg) *object {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.objects[strings.TrimPrefix(msg.Subject, wire.ObjectPrefix)]
}

// moved tells a gateway that the owner with this token has not run the message, and
// will not.
func (r *reign) moved(msg *nats.Msg, token uint64) {
	r.answer(msg.Reply, &wire.Reply{Moved: true, Token: token})
}

// answer sends a reply the shortest way, on which it may overtake what was sent before.
func (r *reign) answer(subject string, reply *wire.Reply) {
	if !r.cfg.Nearby.Answer(subject, reply) {
		r.answerAfter(subject, reply)
	}
}

// answerAfter sends a reply behind what has been sent: it comes only if that did.
// It goes only ever to a gateway's inbox: any other subject could be anything, a
// record too.
func (r *reign) answerAfter(subject string, reply *wire.Reply) {
	if !strings.HasPrefix(subject, wire.InboxPrefix) {
		return
	}
	err := wire.Publish(r.cfg.Serve, subject, reply)
	if errors.Is(err, nats.ErrMaxPayload) {
		err = wire.Publish(r.cfg.Serve, subject, reply.TooLarge())
	}
	r.sent(err)
}

// sent looks at a message's fate. It fails only when the connection has ended, or
// its buffer is full while it reconnects: then nobody hears us, and gateways ask again.
func (r *reign) sent(err error) {
	if err != nil {
		r.log.Warn("message not sent", "err", err)
	}
}

// drain releases every object, and returns when all are gone, the time is over,
// or the lease is.
func (r *reign) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.timing.Drain)
	defer cancel()
	began, all := time.Now(), r.all()
	r.letGo(ctx, slices.Clone(all))
	if !awaitGone(ctx, all) {
		r.log.Warn("objects not released in time; others wait for the lease to run out")
		return
	}
	if err := r.cfg.Serve.FlushWithContext(ctx); err != nil { // the last replies leave
		r.log.Warn("last replies not sent", "err", err)
	}
	r.log.Info("objects released", "objects", len(all), "ms", time.Since(began).Milliseconds())
}

// letGo has objects released: it stops listening for them, hears out what the
// server has sent already, and puts behind that a letter that is each one's last.
func (r *reign) letGo(ctx context.Context, objects []*object) {
	objects = slices.DeleteFunc(objects, func(o *object) bool { return !o.deafen() })
	if len(objects) == 0 {
		return
	}
	if err := r.cfg.Serve.FlushWithContext(ctx); err != nil {
		r.log.Warn("releasing without hearing out the server", "objects", len(objects), "err", err)
	}
	for _, o := range objects {
		select {
		case r.inbox <- o.farewellLetter():
		case <-ctx.Done():
			return
		}
	}
}

// dropAll ends whatever is left, without a word to the store.
func (r *reign) dropAll() {
	for _, o := range r.all() {
		o.drive(owner.Lapsed{})
	}
}

// sweep lets idle instances sleep, evicts objects idle for longer, and tells
// objects of gateways that have died.
func (r *reign) sweep(ctx context.Context) error {
	tick := time.NewTicker(max(10*time.Millisecond, min(r.timing.Hibernate/4, r.timing.Beat)))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if idle := slices.DeleteFunc(r.rota.due(now), func(o *object) bool { return !o.rest(now) }); len(idle) > 0 {
				r.tasks.Go(func() { r.evict(idle) })
			}
			for _, gateway := range r.silent(now) {
				r.gatewayLost(gateway)
			}
		}
	}
}

// evictions is how many idle objects are released at a time: their puts are not to
// stand in the way of somebody's request.
const evictions = 64

// evict releases objects that have been idle for long, if they still are.
func (r *reign) evict(idle []*object) {
	r.evicting.Lock()
	defer r.evicting.Unlock()
	for some := range slices.Chunk(idle, evictions) {
		if r.work.Err() != nil {
			return // everything is dropped
		}
		some = slices.DeleteFunc(some, func(o *object) bool { return !o.rest(time.Now()) })
		ctx, cancel := context.WithTimeout(r.work, r.timing.Claim)
		r.letGo(ctx, slices.Clone(some))
		awaitGone(ctx, some)
		cancel()
	}
}

// awaitGone is false if ctx ended before all objects were let go of.
func awaitGone(ctx context.Context, objects []*object) bool {
	for _, o := range objects {
		select {
		case <-o.whenGone():
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// silences is after how many missed beats a gateway's sockets count as lost.
const silences = 5

func (r *reign) silent(now time.Time) (silent []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for gateway, last := range r.gateways {
		if now.Sub(last) > silences*r.timing.Beat {
			silent = append(silent, gateway)
			delete(r.gateways, gateway)
		}
	}
	return silent
}

func (r *reign) heard(msg *nats.Msg) {
	var beat wire.Beat
	if err := wire.Decode(msg.Data, &beat); err != nil {
		return
	}
	if beat.Bye {
		r.mu.Lock()
		delete(r.gateways, beat.Gateway)
		r.mu.Unlock()
		r.gatewayLost(beat.Gateway)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gateways[beat.Gateway] = time.Now()
}

// meet notes a gateway that holds a socket, so that its silence is noticed even
// if it never beat.
func (r *reign) meet(gateway string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.gateways[gateway]; !known {
		r.gateways[gateway] = time.Now()
	}
}

func (r *reign) gatewayLost(gateway string) {
	for _, o := range r.all() {
		o.push(letter{lost: gateway})
	}
}
