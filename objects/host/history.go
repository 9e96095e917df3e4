package host

import (
	"context"
	"errors"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// Mark returns the moment of the state that the event began with.
func (c *eventContext) Mark() int64 {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	return int64(c.o.memory.Mark(time.Now(), c.o.in.wide))
}

// Known refuses a moment whose state is not known.
func (c *eventContext) Known(at int64) error {
	past := c.o.past()
	switch {
	case past == nil:
		return noHistory(c.o.class)
	case state.Moment(at) < past.From:
		return objects.Errorf(objects.NotFound, "the history begins at %s", past.From.Text())
	}
	return nil
}

// Restore puts the object back to a moment when the event has succeeded.
func (c *eventContext) Restore(t *engine.Tx, at int64) (undo int64, target any, err error) {
	before, found, err := c.o.findPast(t, state.Moment(at))
	if err != nil || found == nil {
		return int64(before), nil, err
	}
	return int64(before), found, nil
}

// past returns the object's history as of now; nil: there is none.
func (o *object) past() *state.History {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.memory.Past()
}

func noHistory(class *engine.Class) error {
	if class.History == 0 {
		return objects.Errorf(objects.NotFound, "class %s keeps no history: set objects.Settings.History", class.Name)
	}
	return objects.Errorf(objects.NotFound, "the object has no history yet")
}

// findPast prepares a restore: it pins the present, which is returned as undo, and reads the past. The target is nil if
// nothing has changed since. The event loop calls it; after that nothing is merged until the event in hand has ended.
func (o *object) findPast(ctx context.Context, at state.Moment) (undo state.Moment, target *state.Target, err error) {
	if !o.settlePast() {
		return 0, nil, noHistory(o.class)
	}
	if err := o.passGate(ctx); err != nil {
		return 0, nil, err
	}
	o.mu.Lock()
	past, apart := o.memory.Past(), o.memory.HasApart()
	o.mu.Unlock()
	if past == nil {
		return 0, nil, noHistory(o.class)
	}
	home := o.in.home()
	if target, err = state.Prepare(ctx, o.id.Key(), past, home, at, time.Now()); err == nil && target != nil {
		err = o.memory.Compare(ctx, target, apart)
	}
	return past.Last, target, pastError(err)
}

// pastError returns the error to report if reading an object's past fails.
func pastError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, state.ErrNoHistory):
		return objects.Errorf(objects.NotFound, "%v: its class did not set objects.Settings.History when the object last changed", err)
	case errors.Is(err, state.ErrNoPast):
		return objects.Errorf(objects.NotFound, "%v", err)
	case errors.Is(err, state.ErrDamaged):
		return objects.Errorf(objects.Internal, "the object's past cannot be read: %v", err)
	}
	return objects.Errorf(objects.Unavailable, "the object's past could not be read; nothing was changed: %v", err)
}

// settlePast stops everything but events and commits, and requests a put with a pin. It reports false if the object's
// past is not kept.
func (o *object) settlePast() bool {
	o.mu.Lock()
	if !o.memory.Settle() {
		o.mu.Unlock()
		return false
	}
	o.restoring = true
	merging := o.upkeep.stop()
	o.put(outboxItem{wrote: true}) // the pin
	o.mu.Unlock()
	if merging != nil {
		<-merging
	}
	return true
}

// endRestore ends what settlePast has begun. Later writes are not part of the restore's commit.
func (o *object) endRestore() {
	if !o.restoring {
		return
	}
	o.restoring = false
	o.mu.Lock()
	o.memory.Unsettle()
	restored := o.memory.Restoring()
	o.mu.Unlock()
	if restored {
		ctx, cancel := context.WithTimeout(o.in.work, o.in.timing.Commit)
		defer cancel()
		_ = o.passGate(ctx) // if it fails the object is not ours for long
	}
}

// restore puts the object back for an operator.
func (o *object) restore(ctx context.Context, ev event) {
	var want wire.RestoreBody
	if err := wire.Decode(ev.req.Body, &want); err != nil {
		o.finish(ev, engine.Outcome{Err: objects.Errorf(objects.Invalid, "the body of the restore is not understood")})
		return
	}
	undo, target, err := o.findPast(ctx, state.Moment(want.At))
	if err != nil {
		o.finish(ev, engine.Outcome{Err: err})
		return
	}
	out := engine.Outcome{Output: wire.Encode(&wire.Restored{Undo: int64(undo), Changed: target != nil})}
	if target != nil {
		out.Target, out.Drop = target, true
		o.in.log.Info("object restored", "object", o.id.Key(), "name", o.id.Name, "to", state.Moment(want.At).Text(), "undo", undo.Text())
	}
	o.finish(ev, out)
}

// fork copies the state of another object into this one, which must have stored nothing.
func (o *object) fork(ctx context.Context, ev event) {
	writes, err := o.forked(ctx, ev.req.Body)
	out := engine.Outcome{Writes: writes, Err: err, Drop: err == nil}
	if err == nil {
		out.Output = wire.Encode(&wire.Forked{Keys: len(writes)})
	}
	o.finish(ev, out)
}

// forked returns the writes that copy the other object's state.
func (o *object) forked(ctx context.Context, body []byte) ([]engine.Write, error) {
	var want wire.ForkBody
	if err := wire.Decode(body, &want); err != nil {
		return nil, objects.Errorf(objects.Invalid, "the body of the fork is not understood")
	}
	var from objects.ID
	if err := from.UnmarshalText([]byte(want.From)); err != nil || string(from.Class()) != o.class.Name {
		return nil, objects.Errorf(objects.Invalid, "%.80q is no object of class %s", want.From, o.class.Name)
	}
	if some, err := o.memory.storesAnything(ctx); err != nil || some {
		return nil, orError(err, objects.Errorf(objects.Conflict, "the object has something stored: fork to one that has not"))
	}
	rec, _, err := o.in.store.Read(ctx, from.Key())
	switch {
	case errors.Is(err, record.ErrUnreadable):
		return nil, objects.Errorf(objects.Internal, "the record of the object to fork cannot be read: %v", err)
	case err != nil:
		return nil, objects.Errorf(objects.Unavailable, "the object to fork could not be read: %v", err)
	case rec == nil:
		return nil, objects.Errorf(objects.NotFound, "the object to fork is not there")
	}
	past, err := openRecord(ctx, from.Key(), rec, o.in.home().Store, state.Moment(want.At))
	if err != nil {
		return nil, pastError(err)
	}
	if size := past.Size(); size > o.class.Limits.Writes {
		return nil, objects.Errorf(objects.TooLarge, "the object to fork has %d bytes, at most %d are copied", size, o.class.Limits.Writes)
	}
	var writes []engine.Write
	for scan := past.Scan(ctx, "", engine.LastKey, false); ; {
		w, ok, err := scan.Next()
		if !ok || err != nil {
			return writes, pastError(err)
		}
		if !engine.Stays(w.Key) {
			writes = append(writes, w)
		}
	}
}

func orError(err, other error) error {
	if err != nil {
		return pastError(err)
	}
	return other
}

// openRecord opens the state of a record at a moment, for reading; 0: as it is now.
func openRecord(ctx context.Context, key string, rec *record.Record, store state.Store, at state.Moment) (*state.State, error) {
	if at == 0 {
		return state.Open(ctx, key, rec.Parts, rec.Data, state.Home{Store: store}, false, time.Now())
	}
	return state.OpenAt(ctx, key, rec.Parts, rec.Data, state.Home{Store: store}, at, time.Now())
}

// expire removes the oldest part of the object's history.
func (o *object) expire(ctx context.Context, e *state.Expiry) {
	err := context.Canceled
	select {
	case o.in.merging <- struct{}{}:
		err = e.Run(ctx)
		<-o.in.merging
	case <-ctx.Done():
	}
	if o.expired(e, err) {
		o.work()
	}
}

// expired installs the result of an expiry. It reports whether the caller has to call work.
func (o *object) expired(e *state.Expiry, err error) (start bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	u := o.upkeep
	u.end()
	if o.stage() == gone {
		return false
	}
	o.memory.InstallExpiry(e, err)
	if err != nil {
		u.retry(time.Now())
		if o.in.work.Err() == nil && o.stage() == serving {
			o.in.warnings.Log(o.in.log, "an object's oldest history not removed; it will be", "object", o.id.Key(), "err", err)
		}
		return false
	}
	return o.stage() == serving && o.decide(owner.Changed{})
}
