package host

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// idleQueue yields each object when it is to be checked for idleness next. A sleeping
// object that keeps something is checked once per Evict period, so a million of them cost about 3,000
// checks a second.
type idleQueue struct {
	mu      sync.Mutex // guards what follows, and every object's idleAt
	began   time.Time  // when the first object was put; times count from then
	entries idleEntries
}

// idleEntry is one object's place in the queue. An entry whose time is not the object's idleAt is void.
type idleEntry struct {
	at time.Duration
	o  *object
}

// put gives the object a place, instead of any that it had.
func (q *idleQueue) put(o *object, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.began.IsZero() {
		q.began = at
	}
	o.idleAt = at.Sub(q.began)
	heap.Push(&q.entries, idleEntry{o.idleAt, o})
}

// due removes and returns the objects whose time has come.
func (q *idleQueue) due(now time.Time) (all []*object) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.entries) > 0 && now.Sub(q.began) >= q.entries[0].at {
		if e := heap.Pop(&q.entries).(idleEntry); e.o.idleAt == e.at {
			all = append(all, e.o)
		}
	}
	return all
}

// idleEntries are a heap, the earliest first.
type idleEntries []idleEntry

func (e idleEntries) Len() int           { return len(e) }
func (e idleEntries) Less(i, j int) bool { return e[i].at < e[j].at }
func (e idleEntries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *idleEntries) Push(x any)        { *e = append(*e, x.(idleEntry)) }

func (e *idleEntries) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = idleEntry{}
	*e = (*e)[:last]
	return x
}

// idleCheck drops an instance that has been idle, and reports whether the object has
// been idle for so long that it should be released; if not, it gets another place in
// the queue.
func (o *object) idleCheck(now time.Time) bool {
	life := o.class.Life
	stage, used, running := o.mailbox.activity()
	switch {
	case stage == gone || stage == draining:
		return false
	case running || stage == claiming:
		next := now.Add(min(life.Soonest(), slowEvent))
		if stage == serving && o.in.slow.look(o, used, now) {
			o.in.log.Warn("an event does not end", "object", o.id.Key(), "name", o.id.Name, "seconds", int(now.Sub(used).Seconds()))
		} else if limit := used.Add(slowEvent); limit.After(now) && limit.Before(next) {
			next = limit
		}
		o.in.idle.put(o, next)
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	idle := now.Sub(used)
	next := used.Add(life.Evict)
	switch {
	case o.stage() != serving:
		return false
	case o.sockets.hasEnds(): // the object has to be told of the ends first
		next = o.sockets.endsRetry()
		if !now.Before(next) {
			next = now.Add(life.Soonest())
			o.push(delivery{kind: endsDue})
		}
	case o.tasks.run():
		next = now.Add(life.Soonest())
	case idle >= life.Evict && !o.told.busy() && (o.sockets == nil || o.sockets.Quiet()):
		return true
	case idle < life.Hibernate && o.memory.handler() != nil:
		next = used.Add(life.Soonest())
	case o.memory.handler() != nil && o.memory.handler().Sleeps():
		next = now.Add(life.Soonest())
		o.push(delivery{kind: sleepDue})
	default:
		// An event loop that begins now takes mailbox.mu first, so hibernate sees it.
		if !o.hibernate(now) {
			next = now.Add(life.Soonest())
		} else if idle >= life.Hibernate && o.keepsNothing() {
			return true
		}
		if old := used.Add(o.in.keepAnswers() + time.Second); o.memory.hasAnswers() && now.Before(old) && old.Before(next) {
			next = old // keepsNothing drops answers that are too old
		}
	}
	if o.sockets.trim(now) {
		if young := now.Add(o.class.Resume.Time); young.Before(next) {
			next = young // messages kept for sockets that come back are dropped by then
		}
	}
	o.in.idle.put(o, next)
	return false
}

// keepsNothing reports whether nothing of the object outlasts its instance: it is not
// worth a record, and anybody can make such objects by asking for names. With mu held.
func (o *object) keepsNothing() bool {
	rec := o.snapshot(nil)
	return o.memory.Empty() && rec.Empty() && !o.told.busy()
}

// hibernate drops the instance unless an event has come. With mu held.
func (o *object) hibernate(now time.Time) bool {
	release, idle := o.mailbox.holdIdle()
	if !idle {
		return false
	}
	defer release()
	if o.memory.handler() != nil {
		o.in.metrics.hibernations.WithLabelValues(o.class.Name).Inc()
	}
	o.setInstance(nil)
	if o.waiters.nobody() {
		o.waiters = nil
	}
	if o.sockets != nil && o.sockets.unused() {
		o.sockets = nil
	}
	o.commit.sleep()
	return true
}

// sleepTime is how long an instance may take to save its state before it is dropped.
const sleepTime = 10 * time.Second

// sleep drops the instance. If the instance has something to save, it does so in an event before.
func (o *object) sleep() {
	i := o.memory.handler()
	if i == nil || !i.Sleeps() {
		return
	}
	ctx, cancel := context.WithTimeout(o.in.work, sleepTime)
	defer cancel()
	out := i.Sleep(ctx)
	if out.Err != nil || out.Changed() || len(out.Sends) > 0 {
		o.finish(event{kind: ownEvent}, out)
	}
	o.drop()
}

// slowEvent is the age from which on an event is reported while it runs.
const slowEvent = 30 * time.Second

// slowEvents are the events that have run for longer than slowEvent.
type slowEvents struct {
	mu    sync.Mutex
	began map[*object]time.Time
}

// look notes the object's event if it has run for too long, and reports whether it was not noted before.
func (s *slowEvents) look(o *object, began, now time.Time) bool {
	if now.Sub(began) < slowEvent {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began[o].Equal(began) {
		return false
	}
	if s.began == nil {
		s.began = make(map[*object]time.Time)
	}
	s.began[o] = began
	return true
}

// longest returns the age of the event that has run longest, after forgetting those that have ended.
func (s *slowEvents) longest(now time.Time) (age time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for o, began := range s.began {
		if _, used, running := o.mailbox.activity(); !running || !used.Equal(began) {
			delete(s.began, o)
			continue
		}
		age = max(age, now.Sub(began))
	}
	return age
}
