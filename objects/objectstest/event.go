package objectstest

import (
	"context"
	"strconv"
	"time"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// event is the context of one event, and what the event is known by. It stays the same when the event runs again.
type event struct {
	context.Context
	o  *object
	id string
	at time.Time
}

// begin is the context of a new event, asked for with ctx; under a key it is the same event every time.
func (o *object) begin(ctx context.Context, key string) context.Context {
	e := &event{Context: ctx, o: o, id: "k/" + o.to.ID().Key() + "/" + key, at: o.world.Now()}
	if key == "" {
		e.id = "e/" + strconv.FormatUint(o.world.number(), 10)
	}
	return e
}

// beginAlarm is the context of all runs of an alarm as it is set.
func (o *object) beginAlarm(a engine.Alarm) context.Context {
	id := "a/" + o.to.ID().Key() + "/" + strconv.FormatUint(a.Number, 10)
	return &event{Context: context.Background(), o: o, id: id, at: a.At}
}

// number is a number that the world has not given before.
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

// Time is when the event was asked for.
func (e *event) Time() time.Time { return e.at }

// Ask asks another object for the event.
func (e *event) Ask(context.Context, engine.Question) (engine.Answer, error) {
	return engine.Answer{}, objects.Errorf(objects.Unavailable, "events cannot ask other objects yet")
}
