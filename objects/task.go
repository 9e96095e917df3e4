package objects

import (
	"context"
	"io"
	"net/http"

	"holdfast/objects/internal/engine"
)

// MaxTasks is how many tasks an object runs at once.
const MaxTasks = 16

// MaxStreams is how many streams an object runs at once.
const MaxStreams = 64

// Task is what runs outside of events: a context and a way to objects, its own among them. It asks as the principal of the
// event that began it. The context ends with the host's ownership of the object, at shutdown, and after 15 minutes. A task
// has no storage: it enters the object by calls.
type Task struct {
	context.Context
	Caller
	self Ref
}

// Self is the object whose event began the task.
func (t *Task) Self() Ref { return t.self }

// Go runs fn after the event has committed, not at all if it fails, beside the object's events: they never wait for it, and it
// must not touch the object's instance. It keeps the instance awake. An error or a panic is logged. It is lost if the host
// dies: set a timer to notice (Tell to Self with After and Keyed), and cancel that in the call with which fn returns to the
// object. An object runs at most MaxTasks at once; one more aborts the event as Overloaded.
func (tx *Tx) Go(fn func(t *Task) error) {
	begin := tx.task()
	tx.t.Go(func(ctx context.Context, ask engine.Asker) error { return fn(begin(ctx, ask)) })
}

// Stream has fn write the response of ServeHTTP after the event has committed, not at all if it fails, beside the object's
// events: a task, of which an object runs at most MaxStreams at once; one more aborts the event as Overloaded. Status and
// headers are those that ServeHTTP has set, and what it has written comes first. What fn writes leaves at once; Write waits
// while the client reads slowly. The request's body may be read on: one that is larger than Settings.Body can be read nowhere
// else. The context ends when the client has gone, which is noticed as something is written to it. If fn returns an error, or
// panics, the response is cut, not ended. For HEAD fn does not run.
//
// A stream is for whoever reads it: a gateway's client, a program's or a task's Fetch. An event that fetches from another
// object cannot take one, nor can a client of HTTP/1.0: the event is aborted as Invalid.
func (tx *Tx) Stream(fn func(t *Task, out io.Writer) error) {
	begin := tx.task()
	tx.t.Stream(func(ctx context.Context, ask engine.Asker, out io.Writer) error { return fn(begin(ctx, ask), out) })
}

// task is how a task of the event begins.
func (tx *Tx) task() func(ctx context.Context, ask engine.Asker) *Task {
	self, principal := Ref{id: tx.ID(), name: tx.Name()}, PrincipalOf(tx)
	return func(ctx context.Context, ask engine.Asker) *Task {
		if principal.ID != "" || principal.Claims != nil {
			ctx = WithPrincipal(ctx, principal)
		}
		via := &taskWay{ask}
		self.via = via
		return &Task{context.WithValue(ctx, taskKey{}, via), NewCaller(via), self}
	}
}

// taskWay is how a task asks objects.
type taskWay struct{ ask engine.Asker }

type taskKey struct{}

// Call asks an object for the task.
func (w *taskWay) Call(ctx context.Context, to Ref, call string, input []byte) ([]byte, error) {
	answer, err := w.ask(ctx, engine.Question{Key: to.id.key, Name: to.name, Near: to.near, Call: call, Input: input})
	return answer.Output, err
}

// Fetch has an object answer an HTTP request for the task.
func (w *taskWay) Fetch(to Ref, r *http.Request) (*http.Response, error) { return fetch(w.ask, to, r) }
