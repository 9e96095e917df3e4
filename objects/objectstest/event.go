package objectstest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// event is the context of one event, with its id. It stays the same when the event runs again.
type event struct {
	context.Context
	o    *object
	id   string
	at   time.Time
	from *event // the event that asks; nil: no object asks
	long bool   // the asking event runs again if it fails

	sender string // the key of the object that told the message

	asked *asked
}

// asked has the asks of an event, in all its runs.
type asked struct {
	mu   sync.Mutex
	kept map[string]kept // answers that the objects keep until the event is durable, by question
	run  any             // the Tx of the present run
	now  map[string]int  // how often the run has asked each question
}

// kept is the answer to one question.
type kept struct {
	answer engine.Answer
	err    error
}

// begin returns the context of a new event, requested with ctx. Under a key it is the same event every time, until it
// succeeds.
func (o *object) begin(ctx context.Context, key string) *event {
	e := &event{Context: ctx, o: o, at: o.world.Now(), asked: new(asked)}
	if key == "" {
		e.id = "e/" + strconv.FormatUint(o.world.number(), 10)
		return e
	}
	e.id, e.long = "k/"+o.to.ID().Key()+"/"+key, true
	e.asked = o.world.askedBy(e.id)
	return e
}

// beginAlarm returns the context of all runs of the alarm as it is set.
func (o *object) beginAlarm(a engine.Alarm) *event {
	id := "a/" + o.to.ID().Key() + "/" + strconv.FormatUint(a.Number, 10)
	return &event{Context: context.Background(), o: o, id: id, at: a.At, long: true, asked: o.world.askedBy(id)}
}

// askedBy returns the asks of an event that may run again.
func (w *World) askedBy(id string) *asked {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked == nil {
		w.asked = make(map[string]*asked)
	}
	if w.asked[id] == nil {
		w.asked[id] = new(asked)
	}
	return w.asked[id]
}

// markDurable notes that the event is durable, and will not run again.
func (e *event) markDurable() {
	e.o.world.mu.Lock()
	defer e.o.world.mu.Unlock()
	delete(e.o.world.asked, e.id)
}

// number returns a new number.
func (w *World) number() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events++
	return w.events
}

func (e *event) Value(key any) any {
	if key == (engine.EventKey{}) {
		return e
	}
	return e.Context.Value(key)
}

// ID names the event.
func (e *event) ID() string { return e.id }

// Time returns when the event was asked for.
func (e *event) Time() time.Time { return e.at }

// Sender returns the object that asks.
func (e *event) Sender() (key, name string) {
	if e.from == nil {
		return e.sender, ""
	}
	return e.from.o.to.ID().Key(), e.from.o.to.Name()
}

// GaveWay reports whether the event must be unwound.
func (e *event) GaveWay() bool { return false }

// Limits of asks, as at a host.
const (
	maxDepth  = 16
	maxAsks   = 1000
	maxLabel  = 64 // bytes of a name
	maxToKeep = 16 << 10
)

var _ engine.Event = (*event)(nil)

// Sync does nothing: an event's writes are durable before the next event begins.
func (e *event) Sync(context.Context) error { return nil }

// Ask runs an event of another object, in the middle of this event.
func (e *event) Ask(ctx context.Context, q engine.Question) (engine.Answer, error) {
	if ctx.Err() != nil {
		return engine.Answer{}, objects.Errorf(objects.Unavailable, "nothing was asked: the event has ended")
	}
	var id objects.ID
	if err := id.UnmarshalText([]byte(q.Key)); err != nil {
		return engine.Answer{}, err
	}
	to := e.o.world.ObjectByID(id)
	if q.Name != "" {
		to = e.o.world.Object(id.Class(), q.Name)
	}
	if err := e.inChain(id, label(to)); err != nil {
		return engine.Answer{}, err
	}
	question, known, count := e.asked.count(ctx, q)
	switch {
	case known != nil:
		return known.answer, known.err
	case count > maxAsks:
		return engine.Answer{}, objects.Errorf(objects.TooMany, "an event asks at most %d times", maxAsks)
	}
	o, err := e.o.world.object(to)
	if err != nil {
		return engine.Answer{}, err
	}
	if err := checkPrincipal(ctx); err != nil {
		return engine.Answer{}, err
	}
	within, cancel := o.within(ctx)
	defer cancel()
	child := &event{Context: within, o: o, id: "d/" + e.id + "/" + question, at: e.at, from: e, long: e.long, asked: new(asked)}
	leaves := false // the object keeps the answer, because its event has written
	out, err := o.event(child, "", questionless, func(i *engine.Instance) (out engine.Outcome) {
		if q.Request != nil {
			r := q.Request.Clone(child)
			r.Body, r.ContentLength = body(q.Input), int64(len(q.Input))
			out = i.Fetch(r, engine.Fetching{})
		} else {
			out = i.Call(child, q.Call, q.Input)
		}
		leaves = out.Err == nil && (out.Changed() || len(out.Sends) > 0) || len(child.asked.kept) > 0 && (out.Err == nil || !e.long)
		if size := len(out.Output) + sizeOf(out.Response); leaves && size > maxToKeep {
			err := objects.Errorf(objects.TooLarge, "the answer to an object has %d bytes, at most %d are allowed where the event has changed something", size, maxToKeep)
			return engine.Outcome{Err: err, Drop: true}
		}
		return out
	})
	if told, ok := errors.AsType[*objects.Error](err); ok {
		copied := *told
		copied.Message = label(to) + ": " + told.Message
		err = &copied
	}
	answer := engine.Answer{Output: out.Output, Response: out.Response}
	if leaves && objects.CodeOf(err) != objects.Unknown {
		e.asked.keep(question, kept{answer, err})
	}
	return answer, err
}

func sizeOf(r *engine.Response) int {
	if r == nil {
		return 0
	}
	size := len(r.Body)
	for name, values := range r.Header {
		size += len(name) + len(strings.Join(values, ""))
	}
	return size
}

// label returns an object for people.
func label(to objects.Ref) string {
	name := cmp.Or(to.Name(), to.ID().String()[:8]+"...")
	if len(name) > maxLabel {
		name = strings.ToValidUTF8(name[:maxLabel], "") + "..."
	}
	return string(to.ID().Class()) + "/" + name
}

// inChain refuses to ask an object that waits for the event, and a chain that is too long.
func (e *event) inChain(id objects.ID, last string) error {
	chain, comesBack := []string{last}, false
	for waits := e; waits != nil; waits = waits.from {
		chain = append(chain, label(waits.o.to))
		if waits.o.to.ID() == id {
			chain[0], comesBack = label(waits.o.to), true
		}
	}
	last = chain[0]
	if !comesBack && len(chain) <= maxDepth+1 {
		return nil
	}
	slices.Reverse(chain)
	if comesBack {
		return objects.Errorf(objects.Conflict, "%s waits for itself: %s", last, strings.Join(chain, " -> "))
	}
	return objects.Errorf(objects.Conflict, "a chain of more than %d objects that ask each other: %s", maxDepth, strings.Join(chain, " -> "))
}

// count returns the name of a question, its earlier answer, and how many questions the run has asked.
func (a *asked) count(ctx context.Context, q engine.Question) (question string, before *kept, asked int) {
	parts := []string{q.Key, q.Call, string(q.Input)}
	if r := q.Request; r != nil {
		parts = append(parts, r.Method, r.URL.RequestURI(), r.Host, fmt.Sprint(map[string][]string(r.Header)))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begins(ctx.Value(engine.FaceKey{}))
	question = fmt.Sprintf("%q", parts)
	n := a.now[question]
	a.now[question] = n + 1
	for _, times := range a.now {
		asked += times
	}
	question = fmt.Sprintf("%s %d", question, n)
	if k, known := a.kept[question]; known {
		return question, &k, asked
	}
	return question, nil, asked
}

// begins notes the run that asks. With mu held.
func (a *asked) begins(run any) {
	if a.run != run || a.now == nil {
		a.run, a.now = run, make(map[string]int)
	}
}

func (a *asked) keep(question string, k kept) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kept == nil {
		a.kept = make(map[string]kept)
	}
	a.kept[question] = k
}

// end ends the run, and returns how often the run has asked each question.
func (a *asked) end() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now
	a.run, a.now = nil, nil
	return now
}
