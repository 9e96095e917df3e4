package objects

import (
	"context"
	"net/http"

	"holdfast/objects/internal/engine"
)

// MaxTasks is how many tasks an object runs at once.
const MaxTasks = 16

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
	self, principal := Ref{id: tx.ID(), name: tx.Name()}, PrincipalOf(tx)
	tx.t.Go(func(ctx context.Context, ask engine.Asker) error {
		if principal.ID != "" || principal.Claims != nil {
			ctx = WithPrincipal(ctx, principal)
		}
		via := &taskWay{ask}
		self.via = via
		return fn(&Task{context.WithValue(ctx, taskKey{}, via), NewCaller(via), self})
	})
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
