package objectstest

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
	"holdfast/objects/internal/tells"
)

// Told messages: package tells decides, as for a host. Undelayed messages are delivered before the call that caused
// them returns; Advance delivers due ones, and tries failed ones again.

// batch is a batch of messages that Hold keeps.
type batch struct {
	from *object
	b    tells.Batch
}

// tooOften is the most messages that are delivered at one time: objects could tell each other for ever.
const tooOften = 10_000

// note notes the told messages among writes. A commit of the world lands at once. With mu held.
func (o *object) note(writes []engine.Write) {
	for _, w := range writes {
		if !strings.HasPrefix(w.Key, engine.Reserved) {
			return // they are sorted
		}
		if !tells.Reserved(w.Key) {
			continue
		}
		if o.box == nil {
			o.box = tells.New(o.to.ID().Key())
			o.world.addTeller(o)
		}
		if err := o.box.Note(w, 0); err != nil {
			o.world.tb.Errorf("%v: a told message: %v", o, err)
		}
	}
}

// write applies writes of the world. With mu held.
func (o *object) write(writes []engine.Write) {
	o.data.Apply(writes)
	o.keepPast(writes)
	o.note(writes)
}

func (o *object) stored(key string) []byte {
	value, _ := o.data.Get(key)
	return value
}

// Hold keeps messages to the object under way, until Release.
func (w *World) Hold(to objects.Ref) {
	w.tb.Helper()
	w.locked(to, func(o *object) { o.holds = true })
}

// Release delivers the messages that Hold has kept, and ends the Hold.
func (w *World) Release(to objects.Ref) {
	w.tb.Helper()
	var kept []batch
	w.locked(to, func(o *object) {
		kept, o.kept = o.kept, nil
		o.holds = false
	})
	w.telling.Lock()
	for _, one := range kept {
		w.deliverBatch(one.from, one.b)
	}
	w.telling.Unlock()
	w.deliver()
}

// Told returns the object's undelivered messages: under way, not due, to be tried again, or parked. The
// messages are in the order in which they were told.
func (w *World) Told(from objects.Ref) (all []objects.Told) {
	w.tb.Helper()
	w.locked(from, func(o *object) {
		var kept []engine.Told
		for _, prefix := range []string{engine.OutboxAt, engine.TimersAt, engine.ParkedAt} {
			for _, value := range o.data.Between(prefix, engine.After(prefix)).All() {
				m, err := engine.DecodeTold(value)
				if err != nil {
					w.tb.Fatalf("%v: a told message: %v", o, err)
				}
				kept = append(kept, m)
			}
		}
		slices.SortFunc(kept, func(a, b engine.Told) int { return cmp.Compare(a.N, b.N) })
		for _, m := range kept {
			all = append(all, objects.ToldOf(m))
		}
	})
	return all
}

// Wait returns when no task runs that Tx.Go or Tx.Stream has begun. A stream waits for its reader: read the response,
// or close it, before Wait.
func (w *World) Wait() {
	w.mu.Lock()
	for w.tasks > 0 {
		ended := w.taskEnded
		w.mu.Unlock()
		<-ended
		w.mu.Lock()
	}
	w.mu.Unlock()
	w.deliver()
}

// begin starts a task, and counts it in kind.
func (w *World) begin(o *object, task engine.Task, kind *int) {
	w.mu.Lock()
	if w.ending == nil {
		w.ending, w.end = context.WithCancel(context.Background())
		w.tb.Cleanup(func() {
			w.end()
			w.Wait()
		})
	}
	if o.life == nil {
		o.life, o.endLife = context.WithCancel(w.ending)
	}
	ctx := o.life
	if w.tasks == 0 {
		w.taskEnded = make(chan struct{})
	}
	w.tasks++
	*kind++
	w.mu.Unlock()
	go func() { // Wait waits for it
		result := "it has ended its goroutine"
		defer func() {
			if p := recover(); p != nil && !w.wanted() {
				w.tb.Errorf("%v: a task: panic: %v", o, p)
			} else if result != "" {
				w.tb.Logf("%v: a task: %s", o, result)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			*kind--
			if w.tasks--; w.tasks == 0 {
				close(w.taskEnded)
			}
		}()
		err := task(ctx, w.askFor)
		if result = ""; err != nil {
			result = err.Error()
		}
	}()
}

// askFor asks an object for a task.
func (w *World) askFor(ctx context.Context, q engine.Question) (engine.Answer, error) {
	to, err := w.refOf(q.Key, q.Name)
	if err != nil {
		return engine.Answer{}, err
	}
	if q.Request == nil {
		output, err := transport{w}.Call(ctx, to, q.Call, q.Input)
		return engine.Answer{Output: output}, err
	}
	response, err := w.fetch(to, q.Request, nil)
	w.deliver()
	return engine.Answer{Response: response}, err
}

// refOf returns the object with this key.
func (w *World) refOf(key, name string) (objects.Ref, error) {
	class, digits, _ := strings.Cut(key, ".")
	if name != "" {
		return w.Object(objects.Class(class), name), nil
	}
	id, err := objects.Class(class).ParseID(digits)
	return w.ObjectByID(id), err
}

// deliver delivers everything that is due.
func (w *World) deliver() {
	w.telling.Lock()
	defer w.telling.Unlock()
	for n := 0; ; n++ {
		did := false
		for _, o := range w.inOrder() {
			did = w.deliverOf(o) || did
		}
		if !did {
			return
		}
		if n == tooOften {
			w.tb.Fatalf("objects have told each other something %d times, and time stands still", tooOften)
		}
	}
}

func (w *World) addTeller(o *object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tellers = append(w.tellers, o)
}

// inOrder returns all objects with told messages, in the order of their keys.
func (w *World) inOrder() []*object {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.Clone(w.tellers)
	slices.SortFunc(all, func(a, b *object) int { return strings.Compare(a.to.ID().Key(), b.to.ID().Key()) })
	return all
}

// deliverOf does the next step for an object's told messages, and reports whether there was one.
func (w *World) deliverOf(o *object) bool {
	now := w.Now()
	o.mu.Lock()
	if o.box == nil {
		o.mu.Unlock()
		return false
	}
	if did := o.runDue(now); did {
		o.mu.Unlock()
		return true
	}
	b, ok := o.box.Take(now)
	o.mu.Unlock()
	if ok {
		w.deliverBatch(o, b)
	}
	return ok
}

// runDue runs a due message to the object itself, or moves a due one to another object to the outbox. With mu held.
func (o *object) runDue(now time.Time) bool {
	if m, at, ok := o.box.ToPark(o.data.Get); ok {
		o.park(m, at, now)
		return true
	}
	if n, ok := o.box.ToHook(now); ok {
		if m, err := engine.DecodeTold(o.stored(engine.ParkedKey(n))); err == nil {
			o.undelivered(m, func(m engine.Told) []engine.Write {
				return []engine.Write{{Key: engine.ParkedKey(m.N), Value: m.Encode()}}
			}, now)
			return true
		}
	}
	at, ok := o.box.Due(now)
	if !ok {
		return false
	}
	m, err := engine.DecodeTold(o.stored(at))
	if err != nil {
		o.world.tb.Fatalf("%v: a told message: %v", o, err)
	}
	count, err := engine.DecodeCount(o.stored(engine.ToldCount))
	if err != nil {
		o.world.tb.Fatalf("%v: %v", o, err)
	}
	if m.To != o.to.ID().Key() {
		o.write(tells.Move(m, at, count, o.born))
		return true
	}
	ctx := o.beginTold(m.To, count.Born, m.N)
	_, failed := o.run(ctx, func(i *engine.Instance) engine.Outcome {
		if _, still := o.data.Get(at); !still {
			return engine.Outcome{} // the event ran, and the owner was lost before the mark was known
		}
		return i.Told(ctx, m.Call, m.Body, engine.Write{Key: at})
	})
	if _, still := o.data.Get(at); failed != nil && still {
		e := errorOf(failed)
		later, park := tells.OwnFailed(m, refusedFor(e), o.box.MayPark(), failureOf(e), now, o.world.jitter())
		if park {
			o.park(later, at, now)
		} else {
			o.write([]engine.Write{{Key: at, Value: later.Encode()}})
		}
	}
	o.deliverEnds()
	return true
}

// park parks a message. With mu held.
func (o *object) park(m engine.Told, at string, now time.Time) {
	o.world.tb.Logf("%v: the message %s to %s is parked: %v", o, m.Call, m.To, m.Err)
	o.undelivered(m, func(m engine.Told) []engine.Write { return tells.Park(m, at) }, now)
}

// undelivered tells the object of a parked message, in the commit of the writes. With mu held.
func (o *object) undelivered(m engine.Told, write func(engine.Told) []engine.Write, now time.Time) {
	ctx := o.beginTold("u/"+m.To, o.born, m.N)
	ctx.sender = ""
	heard := m
	heard.Due = time.Time{}
	hears := false
	_, err := o.run(ctx, func(i *engine.Instance) engine.Outcome {
		if hears = i.HearsUndelivered(); !hears {
			return engine.Outcome{}
		}
		return i.Undelivered(ctx, m, write(heard)...)
	})
	switch {
	case err != nil:
		o.write(write(tells.HookFailed(m, now, o.world.jitter())))
	case !hears:
		o.write(write(heard))
	}
	o.deliverEnds()
}

// deliverBatch delivers messages to their receiver, and notes the answer.
func (w *World) deliverBatch(o *object, b tells.Batch) {
	to, err := w.refOf(b.To, b.Name)
	var receiver *object
	if err == nil {
		receiver, err = w.object(to)
	}
	var a tells.Answer
	if err == nil {
		var held bool
		if a, held = receiver.receive(o, b); held {
			return
		}
	}
	o.mu.Lock()
	o.box.Answered(b, a, w.Now(), w.jitter(), false)
	o.write(o.box.Chores(o.data.Get, 0))
	for o.runParking(w.Now()) {
	}
	forgets := o.box.Forgets()
	born, _ := engine.DecodeCount(o.stored(engine.ToldCount))
	o.mu.Unlock()
	for _, f := range forgets {
		if to, err := w.refOf(f.To, ""); err == nil {
			w.locked(to, func(r *object) { r.forget(o, born.Born, f.Last) })
		}
	}
}

func (o *object) runParking(now time.Time) bool {
	m, at, ok := o.box.ToPark(o.data.Get)
	if ok {
		o.park(m, at, now)
	}
	return ok
}

// forget drops the mark of a sender. With mu held.
func (o *object) forget(from *object, born, last uint64) {
	at := tells.MarkKey(from.to.ID().Key())
	mark, err := engine.DecodeCount(o.stored(at))
	if err == nil && tells.MayDrop(mark, born, last) {
		o.write([]engine.Write{{Key: at}})
	}
}

// receive runs messages of another object. It reports whether Hold keeps them instead.
func (o *object) receive(from *object, b tells.Batch) (a tells.Answer, held bool) {
	var all []engine.Told
	from.mu.Lock()
	count, _ := engine.DecodeCount(from.stored(engine.ToldCount))
	for _, n := range b.Numbers {
		if m, err := engine.DecodeTold(from.stored(engine.OutboxKey(n))); err == nil {
			m.N = n
			all = append(all, m)
		}
	}
	from.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.holds {
		o.kept = append(o.kept, batch{from, b})
		return a, true
	}
	sender := from.to.ID().Key()
	at := tells.MarkKey(sender)
	for _, m := range all {
		handled := func() bool {
			mark, err := engine.DecodeCount(o.stored(at))
			return err == nil && tells.Handled(mark, count.Born, m.N)
		}
		if handled() {
			a.Handled = m.N
			continue
		}
		ctx := o.beginTold(sender, count.Born, m.N)
		_, err := o.run(ctx, func(i *engine.Instance) engine.Outcome {
			return i.Told(ctx, m.Call, m.Body, engine.Write{Key: at, Value: tells.Mark{Born: count.Born, Last: m.N}.Encode()})
		})
		o.deliverEnds()
		switch e := errorOf(err); {
		case err == nil || handled():
			a.Handled = m.N
		case e.Code == objects.Unknown:
			return a, false // its host was lost: the message is sent again
		default:
			a.Failed, a.Refused, a.Err = m.N, refusedFor(e), failureOf(e)
			return a, false
		}
	}
	return a, false
}

// beginTold returns the context of the event that runs a told message.
func (o *object) beginTold(sender string, born, n uint64) *event {
	id := "t/" + sender + "/" + strconv.FormatUint(born, 36) + "/" + strconv.FormatUint(n, 36)
	return &event{Context: context.Background(), o: o, id: id, at: o.world.Now(), long: true, sender: sender, asked: o.world.askedBy(id)}
}

func errorOf(err error) *objects.Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*objects.Error); ok { //nolint:errorlint // visibleError makes it
		return e
	}
	return objects.Errorf(objects.Internal, "%v", err)
}

func refusedFor(e *objects.Error) bool {
	return e.Code != objects.Internal && e.Code != objects.Unknown && !e.Code.Retryable()
}

func failureOf(e *objects.Error) *engine.Failure {
	return &engine.Failure{Code: string(e.Code), Message: e.Message, Reference: e.Reference}
}
