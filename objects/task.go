package objects

import (
	"context"
	"io"
	"net/http"

	"holdfast/objects/internal/engine"
)

// MaxTasks is the most tasks that an object runs at once.
const MaxTasks = 16

// MaxStreams is the most streams that an object runs at once.
const MaxStreams = 64

// Task runs outside of events. It is a context and a Caller, for its own object too, with the principal of the event that
// began it. The context ends with the host's ownership of the object, at shutdown, and after 15 minutes. A task has no
// storage: it reaches the object by calls.
type Task struct {
	context.Context
	Caller
	self Ref
}

// Self returns the object whose event began the task.
func (t *Task) Self() Ref { return t.self }

// Go runs fn after the event has committed, not at all if the event fails. fn runs beside the object's events: they never wait
// for it, and it must not touch the object's instance. It keeps the instance awake. An error or a panic is logged. fn is lost
// if the host dies: set a timer to notice (Tell to Self with After and Keyed), and cancel the timer in fn's last call to the
// object. An object runs at most MaxTasks at once; one more aborts the event as Overloaded.
func (tx *Tx) Go(fn func(t *Task) error) {
	begin := tx.task()
	tx.t.Go(func(ctx context.Context, ask engine.Asker) error { return fn(begin(ctx, ask)) })
}

// Stream has fn write the response of ServeHTTP after the event has committed, not at all if the event fails. fn is a task
// beside the object's events; an object runs at most MaxStreams at once, and one more aborts the event as Overloaded. Status
// and headers are ServeHTTP's, and its body comes first. fn's writes leave at once; Write waits while the client reads slowly.
// fn may go on reading the request's body, and only fn can read one that is larger than Settings.Body. The context ends when
// the client has gone, which a write notices. If fn returns an error, or panics, the response is cut, not ended. For HEAD fn
// does not run.
//
// A gateway's client, a program's Fetch and a task's Fetch can take a stream. An event that fetches from another object
// cannot, nor can a client of HTTP/1.0: the streaming event is aborted as Invalid.
func (tx *Tx) Stream(fn func(t *Task, out io.Writer) error) {
	begin := tx.task()
	tx.t.Stream(func(ctx context.Context, ask engine.Asker, out io.Writer) error { return fn(begin(ctx, ask), out) })
}

// task returns the constructor of the event's task.
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

// taskWay is a task's transport.
type taskWay struct{ ask engine.Asker }

type taskKey struct{}

// Call asks an object for the task.
func (w *taskWay) Call(ctx context.Context, to Ref, call string, input []byte) ([]byte, error) {
	answer, err := w.ask(ctx, engine.Question{Key: to.id.key, Name: to.name, Near: to.near, Call: call, Input: input})
	return answer.Output, err
}

// Fetch has an object answer an HTTP request for the task.
func (w *taskWay) Fetch(to Ref, r *http.Request) (*http.Response, error) { return fetch(w.ask, to, r) }
