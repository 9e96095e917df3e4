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

// Tx is one event in progress: a transaction on the object's storage, alarm and sockets, and the event's context. Only
// the goroutine that runs the event may use it, and only during the event. Any goroutine may use its context, which
// ends with the event.
//
// A failure after which a handler must not continue (a value that cannot be read, a limit) aborts the event: Abort does
// not return. Object.Misused is called about a Tx that is used after its event, or by another goroutine. The misuse fails
// the event in which the user runs, or ends the goroutine of a user outside of events.
type Tx struct {
	Face any // the value that package objects gives to handlers for this Tx

	run    *Instance // the instance whose event it is
	strict bool      // the event looks for uses by other goroutines
	began  time.Time // by World.Now
	layers []layer   // the event's own, and those of savepoints above it
	sends  []Send
	undo   []before  // of sockets
	opened []*Socket // sockets that the event has accepted
	offer  *offer    // of the request, which may open a socket; nil: none
	told   int       // messages that the event has told
	tasks  []Task    // tasks that begin when the event is durable

	fetches bool     // the event answers an HTTP request
	takes   Takes    // which responses its sender can receive
	streams []Stream // the writer of the rest of the response; one at most

	refuse error // the answer to the request instead of a response
	err    error // why it was aborted
	closes bool  // an abort closes all sockets
	forget bool  // an abort clears the alarm that runs
	target any   // the state to put the object back to; nil: none
	ended  atomic.Bool
	asked  atomic.Bool    // the event has asked other objects
	block  atomic.Uintptr // a block of the stack that is known to be the event's

	room [2]layer // for layers, while they are few

	parent   context.Context
	deadline time.Time
	mu       sync.Mutex // guards what follows
	real     context.Context
	cancel   context.CancelFunc
	over     bool
}

// layer has the writes since the event, or a savepoint in it, began.
type layer struct {
	writes map[string][]byte // a nil value deletes
	alarm  *Alarm            // nil: as in the layer below

	sends, undo, opened, tasks, streams int // how many there were when the layer began
}

// begin makes the transaction of an event. limit is the longest time of the event if ctx has no deadline.
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

// end ends the event: the Tx must not be used any more, and its context is done.
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

// Done returns a channel that is closed at the deadline, when the event ends, or with the parent.
func (t *Tx) Done() <-chan struct{} { return t.context().Done() }

// Err returns the reason why Done is closed.
func (t *Tx) Err() error { return t.context().Err() }

// Event is a host's view of the event that a Tx runs. Any goroutine may call its methods.
type Event interface {
	ID() string      // the same wherever and however often the event runs; unique among all events of all objects
	Time() time.Time // when the event was asked for; the same likewise

	Sender() (key, name string) // the object that asks, "" for none

	// Ask asks another object, outside of the transaction, until ctx ends.
	Ask(ctx context.Context, q Question) (Answer, error)

	Past

	GaveWay() bool // the event must unwind: it runs again
	// Sync waits until what earlier events of the object wrote is durable.
	Sync(ctx context.Context) error
}

// Question is a request of an event to another object.
type Question struct {
	Key, Name string        // of the object; the name may be unknown
	Near      string        // the region whose hosts are preferred if nobody owns the object; "": the region of the host that asks
	Call      string        // the call
	Input     []byte        // of a call, or the body of the request
	Request   *http.Request // the request for ServeHTTP; nil: a call
}

// Answer is the answer of another object.
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

// Ask asks another object, for the event. Any goroutine may call it while the event's handler runs.
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

// ErrGaveWay is the answer to an event that must unwind, and the event's result whatever its handler returns: the event
// runs again.
var ErrGaveWay = errors.New("the event gave way to another")

// Sync waits until the writes of earlier events are durable. If that fails, the event is aborted.
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

// EventKey is the context key of an event's Event. A constructor's context has none.
type EventKey struct{}

// FaceKey is the context key under which the Tx holds its Face.
type FaceKey struct{}

// Value returns the Tx itself, its Face, or the parent's value.
func (t *Tx) Value(key any) any {
	switch key {
	case FaceKey{}:
		return t.Face
	case TxKey{}:
		return t
	}
	return t.parent.Value(key)
}

// context makes the context on demand: most events need none, and its timer costs more than such an event.
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

// Owner returns the host that runs the instance.
func (t *Tx) Owner() Owner { return t.run.world.Owner }

// Now returns the owner's clock when the event began.
func (t *Tx) Now() time.Time { return t.began }

func (t *Tx) limits() *Limits { return &t.run.class.Limits }

func (t *Tx) errorf(code, format string, args ...any) error {
	return t.run.class.Author.Errorf(code, format, args...)
}

// Refuse answers the request with err instead of a response, and rolls the event back. The first call counts.
func (t *Tx) Refuse(err error) {
	t.use()
	if t.refuse == nil {
		t.refuse = err
	}
}

// aborted is the value with which Abort panics.
type aborted struct{ err error }

// Abort ends the event here; it does not return. Everything is rolled back, err is the event's error, and the instance is
// dropped.
func (t *Tx) Abort(err error) {
	if t.err == nil {
		t.err = err
	}
	panic(aborted{t.err})
}

// CloseAll makes an abort of the event close all sockets.
func (t *Tx) CloseAll() { t.closes = true }

// ForgetAlarm makes an abort of an alarm's event clear the alarm.
func (t *Tx) ForgetAlarm() { t.forget = true }

// use is called by every method that a handler may call on its Tx.
func (t *Tx) use() {
	t.mustRun()
	if t.strict && !t.here() {
		t.misused(errors.New("a transaction was used by a goroutine that does not run its event"))
	}
}

// mustRun is use for code that may run in a coroutine of the event's goroutine, whose stack does not show the event.
func (t *Tx) mustRun() {
	if t.ended.Load() {
		t.misused(errors.New("a transaction was used after its event had ended"))
	}
	if t.err != nil {
		panic(aborted{t.err}) // a handler that has recovered from an abort must not continue
	}
}

// misused ends the event, or the goroutine, that uses the Tx wrongly.
func (t *Tx) misused(err error) {
	err = fmt.Errorf("object %s: %w, at %s", t.run.world.Key, err, author())
	t.run.world.Object.Misused(err)
	if inEvent() {
		panic(err)
	}
	runtime.Goexit()
}

// author returns the calling place in the author's code.
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

// ownCode are the prefixes of functions that stand between an author's code and a Tx.
var ownCode = []string{"holdfast/objects.", "holdfast/objects/internal/", "holdfast/objects/sqlite."}

// stackBlock is the alignment of every stack and its least size, in bytes.
const stackBlock = 2 << 10

// here reports whether the calling goroutine runs an event. A block of memory that was found to be part of the event's
// stack is not checked again: it belongs to no other goroutine, unless the stack has grown and another stack has taken
// its place.
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

// inEvent reports whether the calling goroutine runs an event of any object. It walks the stack, which is slow.
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

// eventFrame is the address of guard, which is on the stack of every goroutine that runs an event, and of no other.
var eventFrame = reflect.ValueOf(guard).Pointer()

// Transact runs fn as a savepoint: if fn returns an error or panics, its changes of storage, alarm and sockets, and its
// messages, are rolled back, and the event may continue.
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

// rollback undoes all layers from the given one on.
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

// SetAlarm sets the alarm to a time, kept in milliseconds and rounded up.
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

// Alarm returns the time of the alarm; false if there is none, or if it was parked.
func (t *Tx) Alarm() (time.Time, bool) {
	t.use()
	a := t.run.world.Object.Alarm() // as the event found it: a host changes the alarm between events
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
