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
	taskTime   = 15 * time.Minute // after this a task's context ends
	taskStop   = 2 * time.Second  // how long a host that stops waits for tasks to return to their objects
)

// tasks is the part of an object that counts the tasks and streams that its events have begun and that have not ended.
// Only its methods use its fields. object.mu guards it. A nil tasks is that of an object that has begun none.
type tasks struct {
	ctx     context.Context // ends with the ownership of the object
	cancel  context.CancelCauseFunc
	n       int           // tasks and streams that run
	streams int           // streams that run
	none    chan struct{} // closed when nothing runs; nil: nobody waits for that
}

var errTasksEnd = errors.New("the host lets go of the object")

func newTasks(work context.Context) *tasks {
	ctx, cancel := context.WithCancelCause(work)
	return &tasks{ctx: ctx, cancel: cancel}
}

// began counts a task, or a stream, and returns its context.
func (t *tasks) began(stream bool) context.Context {
	t.n++
	if stream {
		t.streams++
	}
	return t.ctx
}

// ended counts the end of a task, or a stream.
func (t *tasks) ended(stream bool) {
	if stream {
		t.streams--
	}
	if t.n--; t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
}

// run reports whether a task or a stream runs.
func (t *tasks) run() bool { return t != nil && t.n > 0 }

// end ends the context of all tasks. It returns a channel that is closed when nothing runs; nil: nothing does.
func (t *tasks) end() <-chan struct{} {
	if t == nil {
		return nil
	}
	t.cancel(errTasksEnd)
	if t.n > 0 && t.none == nil {
		t.none = make(chan struct{})
	}
	return t.none
}

// free returns how many tasks and streams the object may begin.
func (t *tasks) free() (tasks, streams int) {
	if t == nil {
		return objects.MaxTasks, objects.MaxStreams
	}
	return objects.MaxTasks - (t.n - t.streams), objects.MaxStreams - t.streams
}

// begin starts the tasks of an event that is durable. With mu held.
func (o *object) begin(all []engine.Task) {
	for _, task := range all {
		o.beginTask(task, false)
	}
}

// beginTask starts a task, or a stream. With mu held.
func (o *object) beginTask(task engine.Task, stream bool) {
	if o.tasks == nil {
		o.tasks = newTasks(o.in.work)
	}
	ctx := o.tasks.began(stream)
	o.in.countTask(stream, 1)
	o.in.metrics.tasksNow.WithLabelValues(o.class.Name).Inc()
	o.in.tasks.Go(func() { o.runTask(ctx, task, stream) })
}

// countTask counts the tasks, or the streams, that run on this host.
func (in *incarnation) countTask(stream bool, n int64) {
	if stream {
		in.streaming.Add(n)
	} else {
		in.running.Add(n)
	}
}

// runTask runs one task. A task that fails ends nothing but itself.
func (o *object) runTask(ctx context.Context, task engine.Task, stream bool) {
	result := "failed" // a panic, or runtime.Goexit
	ctx, cancel := context.WithTimeout(ctx, taskTime)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			o.in.log.Error("task failed", "ref", wire.NewReference(), "object", o.id.Key(), "name", o.id.Name, "panic", p, "stack", string(debug.Stack()))
		}
		o.taskEnded(result, stream)
	}()
	err := task(ctx, o.in.ask)
	if result = "ok"; err != nil {
		result = "failed"
		o.in.log.Warn("task failed", "object", o.id.Key(), "name", o.id.Name, "err", err)
	}
}

func (o *object) taskEnded(result string, stream bool) {
	o.in.metrics.tasks.WithLabelValues(o.class.Name, result).Inc()
	o.in.metrics.tasksNow.WithLabelValues(o.class.Name).Dec()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.in.countTask(stream, -1)
	o.tasks.ended(stream)
}

// endTasks ends the contexts of all tasks of these objects, and waits a moment for the tasks, which may want to return to
// their objects while those are served.
func endTasks(ctx context.Context, all []*object) {
	ctx, cancel := context.WithTimeout(ctx, taskStop)
	defer cancel()
	var waits []<-chan struct{}
	for _, o := range all {
		o.mu.Lock()
		if none := o.tasks.end(); none != nil {
			waits = append(waits, none)
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
