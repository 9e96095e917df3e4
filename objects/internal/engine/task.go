package engine

import "context"

// Asker asks another object, until ctx ends.
type Asker func(ctx context.Context, q Question) (Answer, error)

// Task runs once its event is durable, outside of events. The host gives it a context that ends when the task must end,
// and a function that asks objects.
type Task func(ctx context.Context, ask Asker) error

// Go starts the task when the event has committed.
func (t *Tx) Go(task Task) {
	t.use()
	if len(t.tasks) >= t.run.world.Object.FreeTasks() {
		t.Abort(t.errorf(overloaded, "too many tasks run for this object, or on its host"))
	}
	t.tasks = append(t.tasks, task)
}
