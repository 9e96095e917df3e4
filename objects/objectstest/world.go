package objectstest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/internal/scope"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// World runs objects. It is an objects.Caller.
type World struct {
	objects.Caller

	tb      testing.TB
	classes map[objects.Class]*objects.Implementation

	advancing sync.Mutex // held by Advance while alarms run
	telling   sync.Mutex // held while told messages are delivered; taken before an object's lock

	mu      sync.Mutex // guards what follows
	now     time.Time
	objects map[objects.ID]*object
	sockets int    // made so far
	events  uint64 // numbers given so far, to events and alarms
	twice   bool   // every event runs twice

	asked  map[string]*asked // asks of events that may run again, by the events' ids
	chance *rand.Rand
	faults int // expected faults that have not come yet

	tellers []*object // objects with told messages

	tasks     int           // running ones
	taskEnded chan struct{} // closed when none runs
	ending    context.Context
	end       context.CancelFunc // of ending, which tasks have; nil: none was begun
}

// New makes a world with these classes. Its clock starts at 2030-01-01 00:00 UTC.
func New(tb testing.TB, impls ...*objects.Implementation) *World {
	w := &World{
		tb:      tb,
		classes: make(map[objects.Class]*objects.Implementation),
		now:     time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		objects: make(map[objects.ID]*object),
		chance:  rand.New(rand.NewPCG(1, 2)), // the same in every run
	}
	w.Caller = objects.NewCaller(transport{w})
	for _, i := range impls {
		w.classes[i.Class()] = i
	}
	tb.Cleanup(w.close)
	return w
}

// close releases the resources of instances, except those whose events have not ended.
func (w *World) close() {
	for _, o := range w.all() {
		if o.mu.TryLock() {
			o.drop()
			o.mu.Unlock()
		}
	}
}

// Classes returns the names of the world's classes.
func (w *World) Classes() []string {
	var names []string
	for class := range w.classes {
		names = append(names, string(class))
	}
	slices.Sort(names)
	return names
}

// transport carries calls and requests to the world's objects.
type transport struct{ w *World }

// Call runs a typed call.
func (t transport) Call(ctx context.Context, to objects.Ref, call string, input []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("call %s: %w", call, err)
	}
	o, err := t.w.object(to)
	if err == nil {
		err = checkPrincipal(ctx)
	}
	if err != nil {
		return nil, err
	}
	key := scope.NextKey(ctx, objects.PrincipalOf(ctx).ID, netip.Addr{}, to.ID().Key(), call)
	within, cancel := o.within(ctx)
	defer cancel()
	e := o.begin(within, key)
	out, err := o.event(e, key, ask(call, string(input)), func(i *engine.Instance) engine.Outcome { return i.Call(e, call, input) })
	t.w.deliverAfter(ctx)
	if err == nil && ctx.Err() != nil {
		return nil, fmt.Errorf("call %s: %w", call, ctx.Err()) // the call has run, and its caller has left
	}
	return out.Output, err
}

// Fetch runs ServeHTTP.
func (t transport) Fetch(to objects.Ref, r *http.Request) (*http.Response, error) {
	response, err := t.w.fetch(to, r, nil)
	t.w.deliverAfter(r.Context())
	if err != nil {
		return nil, err
	}
	return received(response, r), nil
}

func received(response *engine.Response, r *http.Request) *http.Response {
	own := *response
	own.Body = slices.Clone(response.Body)
	return own.HTTP(r)
}

// requestTime is the timeout of a request, as a gateway's.
const requestTime = 15 * time.Second

// within returns the context of an event that is requested with ctx. Only the deadline and the principal are passed on;
// other values are not, and a caller that leaves does not end the event.
func (o *object) within(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline := time.Now().Add(min(requestTime, o.class.Limits.Event))
	if sooner, ok := ctx.Deadline(); ok && sooner.Before(deadline) {
		deadline = sooner
	}
	return context.WithDeadline(asking(ctx), deadline)
}

// checkPrincipal refuses a principal that no request can carry.
func checkPrincipal(ctx context.Context) error {
	who, err := json.Marshal(objects.PrincipalOf(ctx))
	if err != nil || len(who) > objects.MaxPrincipal {
		return objects.Errorf(objects.TooLarge, "a principal has more than %d bytes", objects.MaxPrincipal)
	}
	return nil
}

// asking returns a context with the principal of ctx.
func asking(ctx context.Context) context.Context {
	if p := objects.PrincipalOf(ctx); p.ID != "" || p.Claims != nil {
		return objects.WithPrincipal(context.Background(), p)
	}
	return context.Background()
}

func (w *World) fetch(to objects.Ref, r *http.Request, c *Client) (*engine.Response, error) {
	o, err := w.object(to)
	if err == nil {
		err = checkPrincipal(r.Context())
	}
	if err != nil {
		return nil, err
	}
	var body []byte
	var rest io.Reader // of a large body
	if r.Body != nil {
		body, err = io.ReadAll(io.LimitReader(r.Body, objects.MaxBody+1))
		if err != nil {
			return nil, objects.Errorf(objects.Invalid, "read the request's body: %v", err)
		}
		if len(body) > objects.MaxBody {
			rest = r.Body
		}
	}
	ctx, cancel := o.within(r.Context())
	defer cancel()
	key := ""
	if c == nil { // each connection is a socket of its own
		key = scope.NextKey(r.Context(), objects.PrincipalOf(r.Context()).ID, netip.Addr{}, to.ID().Key(), "")
	}
	return o.fetch(o.begin(ctx, key), key, r, body, rest, c)
}

// Now returns the world's time, which is the objects' Tx.Now.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Advance lets d pass. Alarms that fall due run at their own time, in order, with the retries that objects.Alarmer
// describes. They run nowhere else; Advance(0) runs those that are due already. Waiting conflated values
// (objects.Message) also arrive at their time.
func (w *World) Advance(d time.Duration) {
	w.tb.Helper()
	if d < 0 {
		w.tb.Fatalf("advance by %v: time does not go back", d)
	}
	w.advancing.Lock()
	defer w.advancing.Unlock()
	w.deliver()
	until := w.Now().Add(d)
	for still := 0; ; still++ {
		o, due := w.nextAlarm(until)
		at, told := w.nextTold(until)
		if told && (o == nil || at.Before(due)) {
			o, due = nil, at
		} else if o == nil {
			break
		}
		if due.After(w.Now()) {
			still = 0
			w.set(due)
		}
		if still == tooOften {
			w.tb.Fatalf("advance: alarms or timers have run %d times at %v, and that of %v is due again", tooOften, w.Now(), o)
		}
		if o != nil {
			o.runAlarm(w.Now())
		}
		w.deliver()
	}
	w.set(until)
}

// nextTold returns when a told message is due next, if that is not after until.
func (w *World) nextTold(until time.Time) (at time.Time, ok bool) {
	for _, o := range w.inOrder() {
		if due, some := o.dueTold(); some && !due.After(until) && (!ok || due.Before(at)) {
			at, ok = due, true
		}
	}
	return at, ok
}

// deliverAfter delivers the messages that an event has told, unless the event is part of another.
func (w *World) deliverAfter(ctx context.Context) {
	if _, nested := ctx.Value(engine.EventKey{}).(engine.Event); !nested {
		w.deliver()
	}
}

// jitter returns a number in [0, 1).
func (w *World) jitter() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.chance.Float64()
}

func (w *World) set(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = now
}

// nextAlarm returns the object whose alarm is due first, and when; nil if none is due by until.
func (w *World) nextAlarm(until time.Time) (first *object, at time.Time) {
	for _, o := range w.all() {
		due, ok := o.due()
		if !ok || due.After(until) {
			continue
		}
		if first == nil || cmp.Or(due.Compare(at), strings.Compare(o.to.ID().Key(), first.to.ID().Key())) < 0 {
			first, at = o, due
		}
	}
	return first, at
}

func (w *World) all() []*object {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*object, 0, len(w.objects))
	for _, o := range w.objects {
		all = append(all, o)
	}
	return all
}

// Evict drops the object's instance, as a host does with an idle one. Storage and sockets stay; the next event
// constructs the instance again. An objects.Sleeper sleeps first.
func (w *World) Evict(o objects.Ref) {
	w.tb.Helper()
	defer w.deliver()
	w.locked(o, (*object).sleep)
}

// Move moves the object to another host, as when its own shuts down: the instance is dropped, and the next one sees an
// Owner.Epoch that is one higher. An objects.Sleeper sleeps first.
func (w *World) Move(o objects.Ref) {
	w.tb.Helper()
	defer w.deliver()
	w.locked(o, func(o *object) {
		o.sleep()
		o.frames(o.conflation.TakeAll(o.world.Now()))
		o.moved(o.handOver())
	})
}

// Refuse makes the object's next commit be refused, as when another host has taken the object over: nothing of the
// event is stored or sent, the instance is dropped, and the event runs again at the next owner, whose Owner.Epoch is
// one higher. Events that write nothing do not commit.
func (w *World) Refuse(o objects.Ref) {
	w.tb.Helper()
	w.locked(o, func(o *object) { o.fate = refused })
}

// Lose makes the object's next commit land and its host die at once: the event's answer and its messages to sockets are
// lost, the instance is dropped, and the next owner, whose Owner.Epoch is one higher, gives the remembered answer: the
// event does not run again.
func (w *World) Lose(o objects.Ref) {
	w.tb.Helper()
	w.locked(o, func(o *object) { o.fate = lost })
}

// Unknown makes the caller of the object's next commit get Unknown, as when the object's host has gone. landed says
// whether the commit has landed.
func (w *World) Unknown(o objects.Ref, landed bool) {
	w.tb.Helper()
	w.locked(o, func(o *object) {
		if o.fate = failed; landed {
			o.fate = unknown
		}
	})
}

// Faults announces n faults: panics, and errors that are not an objects.Error. Any further one fails the test.
func (w *World) Faults(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults += n
}

// wanted reports whether a fault was announced.
func (w *World) wanted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.faults == 0 {
		return false
	}
	w.faults--
	return true
}

// RunAlarm runs the object's alarm now, whenever it is due; false if none is set.
func (w *World) RunAlarm(o objects.Ref) bool {
	w.tb.Helper()
	inside, err := w.object(o)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer w.deliver()
	return inside.runAlarm(endOfTime)
}

// endOfTime is a time at which every alarm is due.
var endOfTime = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)

// Twice makes every event run twice from now on, the first time as if its host had died before the commit: only its
// asks of other objects have effects. The second run must ask the same of the same objects, or the test fails: the asks
// of an event must not depend on a clock, on chance, or on fields of the struct that are not in storage.
func (w *World) Twice() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.twice = true
}

func (w *World) isTwice() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.twice
}

// Constructed returns how often the object's constructor has run.
func (w *World) Constructed(o objects.Ref) (n int) {
	w.tb.Helper()
	w.locked(o, func(o *object) { n = o.constructed })
	return n
}

// Alarm is an object's alarm with its retries, as `holdfast get` shows it.
type Alarm struct {
	At     time.Time // the time that the object has set; zero: none
	Due    time.Time // when the alarm is tried again; zero: no run has failed
	Retry  int       // failures so far
	Parked bool      // given up after the last retry
}

// Alarm returns the object's alarm; the zero Alarm means none.
func (w *World) Alarm(o objects.Ref) (a Alarm) {
	w.tb.Helper()
	w.locked(o, func(o *object) { a = Alarm{o.alarm.At, o.alarm.Due, o.alarm.Retry, o.alarm.Parked} })
	return a
}

// Inside runs fn as an event of the object, with its state and its instance, which is constructed if the object sleeps.
// fn's writes are committed, unless fn fails; Inside returns fn's error.
func Inside[T any](w *World, o objects.Ref, fn func(tx *objects.Tx, instance T) error) error {
	w.tb.Helper()
	inside, err := w.object(o)
	if err != nil {
		return err
	}
	var failed error
	ctx := inside.begin(context.Background(), "")
	_, err = inside.event(ctx, "", questionless, func(i *engine.Instance) engine.Outcome {
		return i.Do(ctx, func(tx *engine.Tx, self any) error {
			instance, ok := self.(T)
			if !ok {
				failed = fmt.Errorf("the instance is a %T", self)
				return failed
			}
			failed = fn(tx.Face.(*objects.Tx), instance)
			return failed
		})
	})
	w.deliver()
	return cmp.Or(failed, err)
}

// locked runs fn while no event of the object runs.
func (w *World) locked(to objects.Ref, fn func(*object)) {
	w.tb.Helper()
	o, err := w.object(to)
	if err != nil {
		w.tb.Fatal(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	fn(o)
}

func (w *World) object(to objects.Ref) (*object, error) {
	if err := to.Err(); err != nil {
		return nil, err
	}
	id := to.ID()
	class, ok := w.classes[id.Class()]
	if !ok {
		return nil, objects.Errorf(objects.NotFound, "no class %q", id.Class())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o, ok := w.objects[id]
	if !ok {
		w.events++
		o = &object{born: w.events, world: w, to: to, class: class.Engine(), data: &engine.Data{}, clients: make(map[string]*Client), answers: make(map[string]answer)}
		w.objects[id] = o
	}
	return o, nil
}
