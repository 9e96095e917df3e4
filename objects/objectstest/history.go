package objectstest

import (
	"slices"
	"strings"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// change is one event's change of the author's storage.
type change struct {
	at     int64 // in microseconds since 1970
	writes []engine.Write
}

// target is the moment to put an object back to.
type target struct{ at int64 }

// keepPast keeps an event's changes.
func (o *object) keepPast(writes []engine.Write) {
	if o.class.History == 0 {
		return
	}
	own := slices.DeleteFunc(slices.Clone(writes), func(w engine.Write) bool { return engine.Stays(w.Key) })
	if len(own) > 0 {
		o.past = append(o.past, change{max(o.mark()+1, o.world.Now().UnixMicro()), own})
	}
}

// mark returns the moment of the object's state.
func (o *object) mark() int64 {
	if len(o.past) == 0 {
		return o.world.Now().UnixMicro() - 1
	}
	return o.past[len(o.past)-1].at
}

// restore puts the object back.
func (o *object) restore(t target) {
	then := make(map[string][]byte)
	for _, c := range o.past {
		for _, w := range c.writes {
			if c.at <= t.at {
				then[w.Key] = w.Value
			}
		}
	}
	var writes []engine.Write
	for key := range o.data.All() {
		if then[key] == nil && !engine.Stays(key) {
			writes = append(writes, engine.Write{Key: key})
		}
	}
	for key, value := range then {
		if value != nil {
			writes = append(writes, engine.Write{Key: key, Value: value})
		}
	}
	slices.SortFunc(writes, func(a, b engine.Write) int { return strings.Compare(a.Key, b.Key) })
	o.write(writes)
}

// Mark returns the moment of the state that the event began with.
func (e *event) Mark() int64 { return e.o.mark() }

// Known refuses a moment whose state is not known.
func (e *event) Known(at int64) error {
	switch begin := e.o.world.Now().Add(-e.o.class.History).UnixMicro(); {
	case e.o.class.History == 0:
		return objects.Errorf(objects.NotFound, "class %s keeps no history: set objects.Settings.History", e.o.class.Name)
	case at < begin:
		return objects.Errorf(objects.NotFound, "the history begins at %s", engine.BookmarkText(begin))
	}
	return nil
}

// Restore puts the object back when the event has succeeded.
func (e *event) Restore(_ *engine.Tx, at int64) (undo int64, to any, err error) {
	if err := e.Known(at); err != nil {
		return 0, nil, err
	}
	if undo = e.o.mark(); at >= undo {
		return undo, nil, nil
	}
	return undo, target{at}, nil
}
