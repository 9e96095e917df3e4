package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Tx is one event at work: a transaction on the object's storage, alarm and sockets, and the event's context. It belongs to
// the goroutine that runs the event, and to that event. Its context may be used by any goroutine; it ends with the event.
//
// What a handler must not go on from (a value that cannot be read, a limit) aborts the event: Abort does not return. A Tx
// used after its event, or by another goroutine, is told to World.Misuse; it fails the event that its user runs in, or
// ends the goroutine of a user that runs in none.
type Tx struct {
	Face any // what package objects gives to handlers for this Tx

	run    *Instance // whose event it is
	strict bool      // uses by other goroutines are looked for
	began  time.Time // by World.Now
	layers []layer   // the event's own, and those of savepoints above it
	sends  []Send
	undo   []before  // of sockets
	opened []*Socket // accepted by this event
	offer  *offer    // of the request, which may open a socket; nil: none
	told   int       // messages that it has told
	tasks  []Task    // that are to begin

	fetches bool     // the event answers an HTTP request
	takes   Takes    // what its sender can do with the response
	streams []Stream // what is to write the rest of the response; one at most

	refuse error // what the request is to be answered with instead of a response
	err    error // why it was aborted
	closes bool  // an abort closes all sockets
	forget bool  // an abort clears the alarm that runs
	target any   // what the object is to be put back to; nil: nothing
	ended  atomic.Bool
	asked  atomic.Bool    // other objects
	block  atomic.Uintptr // of a stack that is known to be the event's

	room [2]layer // for layers, while they are few

	parent   context.Context
	deadline time.Time
	mu       sync.Mutex // guards what follows
	real     context.Context
	cancel   context.CancelFunc
	over     bool
}

// layer is what was written since the event, or a savepoint in it, began.
type layer struct {
	writes map[string][]byte // a nil value deletes
	alarm  *Alarm            // nil: as below

	sends, undo, opened, tasks, streams int // how many there were when it began
}

// begin makes the transaction of an event. limit is how long it may take if ctx has no deadline.
func (i *Instance) begin(ctx context.Context) *Tx {
	if ctx == nil {
		ctx = context.Background()
	}
	t := i.class.Author.Begin()
	t.run, t.began, t.parent = i, i.world.Now(), ctx
	if every := i.world.Strict; every > 0 {
		t.strict = i.events < every || i.events%every == 0
		i.events++
	}
	t.layers = t.room[:1]
	var limited bool
	if t.deadline, limited = ctx.Deadline(); !limited {
		t.deadline = time.Now().Add(i.class.Limits.Event)
	}
	return t
}

// end ends the event: the Tx is of no use any more, and its context is done.
func (t *Tx) end() {
	t.ended.Store(true)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.cancel != nil {
		t.cancel()
	}
}

// Deadline returns when the event should have ended.
func (t *Tx) Deadline() (time.Time, bool) { return t.deadline, true }

// Done returns closed at the deadline, when the event has ended, or with the parent.
func (t *Tx) Done() <-chan struct{} { return t.context().Done() }

// Err says why Done is closed.
func (t *Tx) Err() error { return t.context().Err() }

// Event is what a host knows of the event that a Tx runs. Its methods may be called by any goroutine.
type Event interface {
	ID() string      // the same wherever and however often the event runs; no other event of any object has it
	Time() time.Time // when the event was asked for; the same likewise

	Sender() (key, name string) // the object that asks, "" for none

	// Ask asks another object, outside of the transaction, until ctx ends.
	Ask(ctx context.Context, q Question) (Answer, error)

	Past

	GaveWay() bool // the event is to be unwound: it runs again
	// Sync waits until what earlier events of the object wrote is durable.
	Sync(ctx context.Context) error
}

// Question is what an event asks another object.
type Question struct {
	Key, Name string        // of the object; the name may be unknown
	Near      string        // the region in which a host is looked for first if nobody owns it; "": that of the host that asks
	Call      string        // the call
	Input     []byte        // of a call, or the body of the request
	Request   *http.Request // what ServeHTTP is to answer; nil: a call
}

// Answer is what another object has answered.
type Answer struct {
	Output   []byte
	Response *Response // of a Question with a request
}

// Sender returns the object that asks; an empty key: none does.
func (t *Tx) Sender() (key, name string) {
	if e, ok := t.parent.Value(EventKey{}).(Event); ok {
		return e.Sender()
	}
	return "", ""
}

// Ask asks another object for the event. Any goroutine may call it while the event's handler runs.
func (t *Tx) Ask(ctx context.Context, q Question) (Answer, error) {
	if t.ended.Load() {
		return Answer{}, t.errorf(invalid, "the event that asks has ended")
	}
	e, ok := t.parent.Value(EventKey{}).(Event)
	if !ok {
		return Answer{}, t.errorf(invalid, "a constructor and Sleep cannot ask other objects; ask in an event")
	}
	t.asked.Store(true)
	answer, err := e.Ask(ctx, q)
	if errors.Is(err, ErrGaveWay) {
		if inEvent() {
			t.Abort(err)
		}
		err = t.errorf(unavailable, "the event gives way to another, and runs again")
	}
	return answer, err
}

// ErrGaveWay is the answer to an event that is to be unwound, and what comes of it, whatever its handler returns: it runs
// again.
var ErrGaveWay = errors.New("the event gave way to another")

// Sync waits until what earlier events wrote is durable. If that cannot be, the event is aborted.
func (t *Tx) Sync() {
	t.use()
	e, ok := t.parent.Value(EventKey{}).(Event)
	if !ok {
		t.Abort(t.errorf(invalid, "a constructor and Sleep cannot wait for what is not durable yet"))
	}
	if err := e.Sync(t); err != nil {
		t.Abort(err)
	}
}

// EventKey is the key under which an event's context has its Event. That of a constructor has none.
type EventKey struct{}

// FaceKey is the key under which the Tx, as a context, has its Face.
type FaceKey struct{}

// Value returns the parent's, the Face, and the Tx itself.
func (t *Tx) Value(key any) any {
	switch key {
	case FaceKey{}:
		return t.Face
	case TxKey{}:
		return t
	}
	return t.parent.Value(key)
}

// context is made when somebody asks: most events never do, and a timer costs more than they do.
func (t *Tx) context() context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.real == nil {
		t.real, t.cancel = context.WithDeadline(t.parent, t.deadline)
		if t.over {
			t.cancel()
		}
	}
	return t.real
}

// Key returns the object's id, "class.hex".
func (t *Tx) Key() string { return t.run.world.Key }

// Name returns the object's name, "" if it has none.
func (t *Tx) Name() string { return t.run.world.Name }

// Owner is who runs the instance.
func (t *Tx) Owner() Owner { return t.run.world.Owner }

// Now returns the owner's clock when the event began.
func (t *Tx) Now() time.Time { return t.began }

func (t *Tx) limits() *Limits { return &t.run.class.Limits }

func (t *Tx) errorf(code, format string, args ...any) error {
	return t.run.class.Author.Errorf(code, format, args...)
}

// Refuse has the request answered with err instead of a response, and rolls the event back. The first counts.
func (t *Tx) Refuse(err error) {
	t.use()
	if t.refuse == nil {
		t.refuse = err
	}
}

// aborted is what Abort panics with.
type aborted struct{ err error }

// Abort ends the event here; it does not return. Everything is rolled back, err is the event's error, and the instance is
// dropped.
func (t *Tx) Abort(err error) {
	if t.err == nil {
		t.err = err
	}
	panic(aborted{t.err})
}

// CloseAll has an abort of the event close all sockets.
func (t *Tx) CloseAll() { t.closes = true }

// ForgetAlarm has an abort of an alarm's event clear the alarm.
func (t *Tx) ForgetAlarm() { t.forget = true }

// use is called by everything that a handler does with its Tx.
func (t *Tx) use() {
	t.mustRun()
	if t.strict && !t.here() {
		t.misused(errors.New("a transaction was used by a goroutine that does not run its event"))
	}
}

// mustRun is use for what may run in a coroutine of the event's goroutine, whose stack does not show the event.
func (t *Tx) mustRun() {
	if t.ended.Load() {
		t.misused(errors.New("a transaction was used after its event had ended"))
	}
	if t.err != nil {
		panic(aborted{t.err}) // a handler that has recovered from an abort goes no further
	}
}

// misused ends whoever uses the Tx wrongly: the event it runs in, or its goroutine.
func (t *Tx) misused(err error) {
	err = fmt.Errorf("object %s: %w, at %s", t.run.world.Key, err, author())
	if t.run.world.Misuse != nil {
		t.run.world.Misuse(err)
	}
	if inEvent() {
		panic(err)
	}
	runtime.Goexit()
}

// author returns the place in the author's code that has called.
func author() string {
	room := make([]uintptr, 32)
	frames := runtime.CallersFrames(room[:runtime.Callers(2, room)])
	for {
		f, more := frames.Next()
		ours := slices.ContainsFunc(ownCode, func(prefix string) bool { return strings.HasPrefix(f.Function, prefix) })
		if !ours || !more {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
	}
}

// ownCode is how functions are called that stand between an author's code and a Tx.
var ownCode = []string{"holdfast/objects.", "holdfast/objects/internal/", "holdfast/objects/sqlite."}

// stackBlock is what every stack is aligned to, and has at least, in bytes.
const stackBlock = 2 << 10

// here reports whether the calling goroutine runs an event. A block of memory that was found to be part of such a stack is
// not looked at again: it is no other goroutine's, unless the stack has grown and another has been put in its place.
func (t *Tx) here() bool {
	var mark byte
	block := uintptr(unsafe.Pointer(&mark)) / stackBlock
	if t.block.Load() == block {
		return true
	}
	if !inEvent() {
		return false
	}
	t.block.Store(block)
	return true
}

// inEvent reports whether the calling goroutine runs an event, of whatever object. It looks at the stack, which is slow.
func inEvent() bool {
	var room [32]uintptr
	for skip := 2; ; skip += len(room) {
		n := runtime.Callers(skip, room[:])
		for _, pc := range room[:n] {
			if f := runtime.FuncForPC(pc - 1); f != nil && f.Entry() == eventFrame {
				return true
			}
		}
		if n < len(room) {
			return false
		}
	}
}

// eventFrame is where guard begins, which is on the stack of every goroutine that runs an event, and of no other.
var eventFrame = reflect.ValueOf(guard).Pointer()

// Transact runs fn as a savepoint: if fn returns an error or panics, what it did to storage, alarm and sockets, and what it
// sent, is rolled back, and the event may go on.
func (t *Tx) Transact(fn func() error) error {
	t.use()
	below := len(t.layers)
	t.layers = append(t.layers, layer{sends: len(t.sends), undo: len(t.undo), opened: len(t.opened), tasks: len(t.tasks), streams: len(t.streams)})
	landed := false
	defer func() {
		if !landed {
			t.rollback(below)
		}
	}()
	if err := fn(); err != nil {
		return err
	}
	t.fold()
	landed = true
	return nil
}

// fold makes the topmost layer part of the one below it.
func (t *Tx) fold() {
	if t.run.part != nil {
		t.run.part.Fold(t, t.Depth())
	}
	done := *t.top()
	t.layers = t.layers[:len(t.layers)-1]
	for key, value := range done.writes {
		t.put(key, value)
	}
	if done.alarm != nil {
		t.top().alarm = done.alarm
	}
}

// rollback takes back all layers from the given one on.
func (t *Tx) rollback(from int) {
	first := t.layers[from]
	if t.run.part != nil {
		t.run.part.Rollback(t, from)
	}
	t.undoSockets(first.undo)
	clear(t.sends[first.sends:])
	clear(t.tasks[first.tasks:])
	t.sends, t.opened, t.tasks, t.streams = t.sends[:first.sends], t.opened[:first.opened], t.tasks[:first.tasks], t.streams[:first.streams]
	clear(t.layers[from:])
	t.layers = t.layers[:from]
}

func (t *Tx) top() *layer { return &t.layers[len(t.layers)-1] }

// SetAlarm has the alarm run at the time. It is kept in milliseconds, rounded up.
func (t *Tx) SetAlarm(at time.Time) {
	t.use()
	if self := t.run.self; !t.run.class.Alarms || self != nil && !t.run.class.Author.Alarms(self) {
		t.Abort(fmt.Errorf("class %s sets an alarm and has no Alarm method", t.run.class.Name))
	}
	kept := at.UTC().Round(0).Add(time.Millisecond - 1).Truncate(time.Millisecond) // never early
	if at.IsZero() || kept.Year() < 1 || kept.Year() > 9999 {
		t.Abort(t.errorf(invalid, "an alarm cannot be set to %v", at))
	}
	t.top().alarm = &Alarm{At: kept}
}

// DeleteAlarm removes the alarm.
func (t *Tx) DeleteAlarm() {
	t.use()
	t.top().alarm = &Alarm{}
}

// Alarm returns the time that is set; false if there is none, or if it was parked.
func (t *Tx) Alarm() (time.Time, bool) {
	t.use()
	a := t.run.world.Alarm() // as the event found it: a host changes it between events
	for i := range t.layers {
		if changed := t.layers[i].alarm; changed != nil {
			a = *changed
		}
	}
	if _, runs := a.Next(); !runs {
		return time.Time{}, false
	}
	return a.At, true
}
