package host

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/alarm"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/internal/engine"
	"holdfast/objects/internal/tells"
)

// followAlarms carries wake-ups of a class to their objects, wherever those live,
// until ctx ends.
func (r *incarnation) followAlarms(ctx context.Context, class string) error {
	r.clock.Follow(ctx, class, r.log, r.wake)
	return nil
}

func (r *incarnation) wake(ctx context.Context, key string) error {
	class, hex, _ := strings.Cut(key, ".")
	id, err := objects.Class(class).ParseID(hex)
	if err != nil {
		r.warnings.Log(r.log, "wake-up dropped: it names no object", "key", key)
		return fmt.Errorf("wake %.100s: %w", key, alarm.ErrNoObject)
	}
	reply, err := r.client.Do(ctx, wire.Address{ID: id}, &wire.Request{Kind: wire.Alarm})
	if err != nil {
		return err
	}
	return reply.Err()
}

// setter sets an object's wake-up.
type setter func(ctx context.Context, key string, at time.Time) error

// wakeNeed is the next thing that an object has to be woken for. A nil wakeNeed is no need.
type wakeNeed struct {
	at   time.Time // of the alarm, the first timer, or the end of a session; zero: none
	soon bool      // a message to another object is under way
}

// needOf returns the need of an object with this alarm and these told messages. session is when the first session that
// is away ends; zero: no session is away.
func needOf(a engine.Alarm, t *told, session time.Time) *wakeNeed {
	at, ok := a.Next()
	if !session.IsZero() && (!ok || session.Before(at)) {
		at, ok = session, true
	}
	due, some, soon := t.need()
	if some && (!ok || due.Before(at)) {
		at, ok = due, true
		if at.IsZero() {
			at = time.Unix(0, 0) // at once
		}
	}
	if !ok && !soon {
		return nil
	}
	return &wakeNeed{at, soon}
}

// wakeUp is the time for which a wake-up is set; the zero wakeUp is none.
type wakeUp struct {
	at    time.Time
	loose bool // only for the case that the owner is lost. A loose wake-up is neither moved nor taken back, so a busy object sets few
}

// wakeUp returns the wake-up that the need calls for now; zero: none.
func (n *wakeNeed) wakeUp(now time.Time) wakeUp {
	switch {
	case n == nil:
		return wakeUp{}
	case n.soon && (n.at.IsZero() || n.at.After(now.Add(tells.WakeAfter))):
		return wakeUp{now.Add(tells.WakeAfter), true}
	}
	return wakeUp{at: n.at}
}

// before reports whether w has to be set: no wake-up is set, or the one that is set is later.
func (w wakeUp) before(set wakeUp) bool {
	return !w.at.IsZero() && (set.at.IsZero() || w.at.Before(set.at))
}

// schedule replaces the wake-up last, which is set, by next; a zero next clears the wake-up. The goroutine at the store
// calls it.
func (o *object) schedule(next, last wakeUp, set setter) error {
	if next.at.Equal(last.at) {
		return nil // the common case
	}
	ctx, cancel := context.WithTimeout(o.in.work, o.in.timing.Commit)
	defer cancel()
	if !next.at.IsZero() {
		return set(ctx, o.id.Key(), next.at)
	}
	return o.in.clock.Clear(ctx, o.id.Key())
}

// onWakeUp handles a wake-up: it runs the alarm and the timers that are due, and sets the next wake-up.
func (o *object) onWakeUp(ctx context.Context, ev event) {
	now := time.Now()
	o.endSessions(now)
	if o.memory.alarmDue(now) {
		if o.ready(ev) {
			o.runAlarm(ctx, ev)
		}
		o.push(delivery{kind: toldDue})
		return
	}
	o.mu.Lock()
	told := o.told
	o.mu.Unlock()
	if told == nil {
		o.setAgain(ev)
		return
	}
	o.setWakeUp(wakeUp{}) // the wake-up has fired: the commit of this event sets the next one
	if !o.handleTold() {
		o.setAgain(ev)
		return
	}
	o.answer(ev.reply, wire.Reply{})
}

// setWakeUp is an obligation of the host's own: a wake-up came early, so set it again, then report the result.
type setWakeUp struct {
	owner.Do
	need *wakeNeed
	then func(error)
}

// setWakeUp notes which wake-up is set.
func (o *object) setWakeUp(w wakeUp) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.commit.noteWakeUp(w)
}

// reschedule sets the wake-up that is needed, whether or not it is set.
func (o *object) reschedule(need *wakeNeed, set setter) error {
	next := need.wakeUp(time.Now())
	err := o.schedule(next, wakeUp{}, set)
	if err != nil {
		next = wakeUp{}
	}
	o.setWakeUp(next)
	return err
}

// afterCommit brings the wake-up in line with a need that is later, or none.
func (o *object) afterCommit() {
	o.mu.Lock()
	next, set, replace := o.commit.wakeUpAfterCommit(time.Now())
	o.mu.Unlock()
	if !replace {
		return
	}
	if err := o.schedule(next, set, o.in.clock.Set); err != nil {
		o.in.log.Warn("wake-up not moved; it comes too early and is set again then", "object", o.id.Key(), "err", err)
		return
	}
	if next != set {
		o.setWakeUp(next)
	}
}

// alarmPointer returns a pointer to the alarm; nil if none is set.
func alarmPointer(a engine.Alarm) *engine.Alarm {
	if a == (engine.Alarm{}) {
		return nil
	}
	return &a
}

// alarmValue returns the alarm that a points to; zero for nil.
func alarmValue(a *engine.Alarm) engine.Alarm {
	if a == nil {
		return engine.Alarm{}
	}
	return *a
}

// runAlarm runs the alarm if the record says that it is due.
func (o *object) runAlarm(ctx context.Context, ev event) {
	now := time.Now()
	before := o.memory.alarmSet()
	if !o.memory.alarmDue(now) { // the constructor has changed it
		o.setAgain(ev)
		return
	}
	o.setWakeUp(wakeUp{}) // it has fired
	out := o.memory.handler().Alarm(ctx, before.Info())
	if o.givesWay(ev, out) {
		return
	}
	if out.Err == nil {
		o.finish(ev, out)
		return
	}
	failed := before.Failed(now, rand.Float64())
	if out.Forget {
		failed = engine.Alarm{}
	}
	e := o.countFailure(ev, out)
	o.in.log.Warn("alarm failed", "ref", e.Reference, "object", o.id.Key(), "name", o.id.Name, "set for", before.At, "retry", before.Retry, "parked", failed.Parked, "err", out.Err)
	if out.Drop {
		o.drop()
	}
	ev.comesAgain = true
	o.apply(ev, engine.Outcome{Alarm: &failed, Sends: out.Sends}, o.replyTo(ev, engine.Outcome{}, nil), nil)
}

// setAgain sets the wake-up that the record calls for, because the last wake-up has fired. The request that carried it
// is answered when the new one is set.
func (o *object) setAgain(ev event) {
	then := func(err error) {
		reply := wire.Reply{}
		if err != nil {
			reply.Code, reply.Message = objects.Unavailable, err.Error()
		}
		o.answer(ev.reply, reply)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	need := needOf(o.memory.alarmSet(), o.told, o.sockets.next())
	if o.stage() != gone && o.commit.enqueue(setWakeUp{need: need, then: then}) {
		o.spawn(o.work)
	}
}

// numbered returns the alarm, with a new number if it has none; nil if no alarm is set.
func numbered(a engine.Alarm) *engine.Alarm {
	if a.Number == 0 && !a.At.IsZero() {
		a.Number = 1 + rand.Uint64N(1<<48) // exact in JSON
	}
	return alarmPointer(a)
}
