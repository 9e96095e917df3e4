package host

import (
	"context"
	"errors"
	"net/netip"
	"runtime/debug"
	"time"

	"holdfast/internal/ask"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// Bounds of tasks.
const (
	maxTasks   = 4096             // that run on one host
	maxStreams = 1024             // likewise
	taskTime   = 15 * time.Minute // then a task's context ends
	taskStop   = 2 * time.Second  // how long a host that stops waits for tasks to return to their objects
)

// tasks are what an object's events have begun, and what has not ended. The object's lock guards it.
type tasks struct {
	ctx     context.Context // ends with the ownership of the object
	cancel  context.CancelCauseFunc
	n       int           // that run, streams among them
	streams int           // that run
	none    chan struct{} // closed when none runs; nil: nobody waits for that
}

var errTasksEnd = errors.New("the host lets go of the object")

// end ends the context of all tasks.
func (t *tasks) end() {
	if t != nil {
		t.cancel(errTasksEnd)
	}
}

// freeTasks is how many tasks may begin.
func (o *object) freeTasks() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	free := objects.MaxTasks
	if o.tasks != nil {
		free -= o.tasks.n - o.tasks.streams
	}
	return min(free, maxTasks-int(o.in.running.Load()))
}

// freeStreams is how many streams may begin.
func (o *object) freeStreams() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	free := objects.MaxStreams
	if o.tasks != nil {
		free -= o.tasks.streams
	}
	return min(free, maxStreams-int(o.in.streaming.Load()))
}

// begin starts the tasks of an event that is durable. With mu held.
func (o *object) begin(all []engine.Task) {
	for _, task := range all {
		o.beginTask(task, func() { o.in.running.Add(-1) })
		o.in.running.Add(1)
	}
}

// beginTask starts a task. ended is called when it has, with mu held. With mu held.
func (o *object) beginTask(task engine.Task, ended func()) {
	if o.tasks == nil {
		ctx, cancel := context.WithCancelCause(o.in.work)
		o.tasks = &tasks{ctx: ctx, cancel: cancel}
	}
	o.tasks.n++
	o.in.metrics.tasksNow.WithLabelValues(o.class.Name).Inc()
	ctx := o.tasks.ctx
	o.in.tasks.Go(func() { o.runTask(ctx, task, ended) })
}

// runTask runs one task. Whatever it does ends nothing but itself.
func (o *object) runTask(ctx context.Context, task engine.Task, ended func()) {
	result := "failed" // a panic, or runtime.Goexit
	ctx, cancel := context.WithTimeout(ctx, taskTime)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			o.in.log.Error("task failed", "ref", wire.NewReference(), "object", o.id.Key(), "name", o.id.Name, "panic", p, "stack", string(debug.Stack()))
		}
		o.taskEnded(result, ended)
	}()
	err := task(ctx, o.in.ask)
	if result = "ok"; err != nil {
		result = "failed"
		o.in.log.Warn("task failed", "object", o.id.Key(), "name", o.id.Name, "err", err)
	}
}

func (o *object) taskEnded(result string, ended func()) {
	o.in.metrics.tasks.WithLabelValues(o.class.Name, result).Inc()
	o.in.metrics.tasksNow.WithLabelValues(o.class.Name).Dec()
	o.mu.Lock()
	defer o.mu.Unlock()
	ended()
	if o.tasks.n--; o.tasks.n == 0 {
		signal(&o.tasks.none)
	}
}

// runsTasks reports whether a task of the object runs. With mu held.
func (o *object) runsTasks() bool { return o.tasks != nil && o.tasks.n > 0 }

// endTasks ends the contexts of all tasks of these objects, and waits a moment for the tasks, which may want to return to
// their objects while those are served.
func endTasks(ctx context.Context, all []*object) {
	ctx, cancel := context.WithTimeout(ctx, taskStop)
	defer cancel()
	var waits []chan struct{}
	for _, o := range all {
		o.mu.Lock()
		o.tasks.end()
		if o.runsTasks() {
			if o.tasks.none == nil {
				o.tasks.none = make(chan struct{})
			}
			waits = append(waits, o.tasks.none)
		}
		o.mu.Unlock()
	}
	for _, none := range waits {
		select {
		case <-none:
		case <-ctx.Done():
			return
		}
	}
}

// ask asks another object for a task.
func (in *incarnation) ask(ctx context.Context, q engine.Question) (engine.Answer, error) {
	id, err := idOfKey(q.Key)
	if err != nil {
		return engine.Answer{}, err
	}
	req := &wire.Request{Kind: wire.Call, Call: q.Call, Body: q.Input}
	if r := q.Request; r != nil {
		*req = wire.Request{Kind: wire.Fetch, Method: r.Method, URL: r.URL.RequestURI(), Host: r.Host, Header: r.Header, Body: q.Input, Takes: wire.TakesStream}
	}
	to := wire.Address{ID: id, Name: q.Name, Near: q.Near}
	if err := ask.Identify(ctx, netip.Addr{}, to, req); err != nil {
		return engine.Answer{}, err
	}
	reply, err := in.client.Do(ctx, to, req)
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		return engine.Answer{}, err
	}
	answer := engine.Answer{Output: reply.Body}
	if q.Request != nil {
		answer = engine.Answer{Response: &engine.Response{Status: reply.Status, Header: reply.Header, Body: reply.Body, Rest: reply.Rest}}
	}
	return answer, nil
}
