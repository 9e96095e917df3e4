package host

import (
	"time"

	"holdfast/objects"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/internal/engine"
)

// world returns an instance's view of its object. The parts of it are ours and outlive the instance.
func (o *object) world() engine.World {
	return engine.World{
		Key: o.id.Key(), Name: o.id.Name, Data: o.memory.data(), Sockets: o.sockets.author(), Now: time.Now,
		Object: surroundings{o},
		Owner:  engine.Owner{Host: o.in.cfg.Name, Region: o.in.cfg.Region, Epoch: o.term.epoch},
		Born:   o.term.token,
		Fits:   o.in.fits,

		Context: o.in.work,
		Strict:  o.in.strict(),
	}
}

// surroundings are what an instance may ask about its object.
type surroundings struct{ o *object }

func (s surroundings) Alarm() engine.Alarm { return s.o.memory.alarmSet() }

func (s surroundings) Answered(socket *engine.Socket) time.Time {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	return s.o.sockets.answeredAt(socket.ID())
}

func (s surroundings) Told() int {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	return s.o.told.len()
}

func (s surroundings) FreeTasks() int {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	free, _ := s.o.tasks.free()
	return min(free, maxTasks-int(s.o.in.running.Load()))
}

func (s surroundings) FreeStreams() int {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	_, free := s.o.tasks.free()
	return min(free, maxStreams-int(s.o.in.streaming.Load()))
}

func (s surroundings) Misused(err error) {
	s.o.in.log.Error("transaction misused", "object", s.o.id.Key(), "err", err)
}

// strict returns in how many of an instance's first events, and in one of how many later ones, transactions are watched
// for use by other goroutines; 0: in none.
func (in *incarnation) strict() int {
	if in.cfg.Strict {
		return 16
	}
	return 0
}

// setInstance makes this instance handle events from now on; nil: the next event constructs one. With mu held.
func (o *object) setInstance(i *engine.Instance) {
	before := o.memory.setHandler(i)
	if (before == nil) == (i == nil) {
		return
	}
	now := time.Now()
	o.noteAwake(i != nil, now)
	awake := o.in.metrics.awake.WithLabelValues(o.class.Name)
	if i == nil {
		awake.Dec()
		return
	}
	awake.Inc()
	o.in.idle.put(o, now.Add(o.class.Life.Soonest()))
}

// drop removes the instance, whose memory may be wrong.
func (o *object) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.setInstance(nil)
}

// ready makes sure that there is an instance. If its constructor fails, so does the event.
func (o *object) ready(ev event) bool {
	out, ok := o.awake()
	if !ok {
		o.finish(ev, out)
	}
	return ok
}

// awake makes sure that there is an instance that knows of all ends of sockets so far,
// unless one of them has given way, or the store takes nothing. Otherwise it returns the outcome of the constructor
// that failed.
func (o *object) awake() (engine.Outcome, bool) {
	for {
		if out, ok := o.construct(); !ok {
			return out, false
		}
		if !o.sockets.endsWait() || o.in.store.Room() == record.Exhausted {
			return engine.Outcome{}, true // an end is part of a put
		}
		o.deliverEnd() // which may drop the instance
	}
}

// construct makes an instance if there is none.
func (o *object) construct() (engine.Outcome, bool) {
	if o.memory.handler() != nil {
		return engine.Outcome{}, true
	}
	o.in.metrics.constructions.WithLabelValues(o.class.Name).Inc()
	o.woke = true
	instance, out := o.class.Start(o.world())
	if out.Err != nil {
		return out, false
	}
	if out.Changed() && o.in.store.Room() == record.Exhausted {
		out.Undo()
		instance.Close()
		return engine.Outcome{Err: errFull}, false
	}
	if out.Changed() || len(out.Sends) > 0 {
		o.finish(event{kind: ownEvent}, out)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage() != gone {
		o.setInstance(instance)
		return out, true
	}
	instance.Close()
	return engine.Outcome{Err: objects.Errorf(objects.Unavailable, "the object is moving to another host")}, false
}
