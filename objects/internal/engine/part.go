package engine

import "slices"

// Part takes part in the transactions of an object's events beside its keys: an object's database. It is made by the first
// event that wants it, and belongs to the instance. What it wants to be kept it writes with Tx.Store, when Commit is
// called. Close may be called by any goroutine; all else is called by the one that runs the event.
type Part interface {
	// Commit is called when the handler has returned well. An error fails the event, and the instance is dropped.
	Commit(t *Tx) error

	// Rollback takes back what the event has done since the Transact at this depth began. At depth 0 the event has failed.
	Rollback(t *Tx, depth int)

	// Fold makes what was done since the Transact at this depth part of what is around it.
	Fold(t *Tx, depth int)

	// DeleteAll is called before the event deletes what its author has stored.
	DeleteAll(t *Tx)

	// Close gives back what the part holds. It is of no use any more, once the event at work has ended.
	Close()
}

// TxKey is the key under which a Tx, as a context, has itself.
type TxKey struct{}

// Part returns the instance's Part, which open makes if there is none.
func (t *Tx) Part(open func() Part) Part {
	if t.run.part == nil {
		t.run.part = open()
	}
	return t.run.part
}

// Use fails whoever uses the Tx after its event, or in another goroutine. A Part calls it first.
func (t *Tx) Use() { t.use() }

// MustRun is Use for what may run in a coroutine of the event's goroutine.
func (t *Tx) MustRun() { t.mustRun() }

// Depth returns how many Transacts are at work, one within the other.
func (t *Tx) Depth() int { return len(t.layers) - 1 }

// Limits returns the limits of the class.
func (t *Tx) Limits() *Limits { return t.limits() }

// Look is Stored for a Part: it may be called in a coroutine, and says what the store has not answered.
func (t *Tx) Look(key string) ([]byte, error) {
	for _, l := range slices.Backward(t.layers) {
		if v, ok := l.writes[key]; ok {
			return v, nil
		}
	}
	return t.run.world.Data.Read(t, key)
}

// Close gives back what the instance holds beside memory. A host calls it when it drops the instance. A nil Instance holds
// nothing.
func (i *Instance) Close() {
	if i != nil && i.part != nil {
		i.part.Close()
	}
}

// commitPart has the part write what the event has done.
func (t *Tx) commitPart(out *Outcome) error {
	if t.run.part == nil {
		return nil
	}
	err := guard(func() error { return t.run.part.Commit(t) }, out)
	if err != nil && t.err == nil {
		t.err = err
	}
	return t.err
}

// rollbackPart has the part forget what the event has done. If it cannot, the instance is dropped.
func (t *Tx) rollbackPart() {
	if t.run.part == nil {
		return
	}
	err := guard(func() error { t.run.part.Rollback(t, 0); return nil }, new(Outcome))
	if err != nil && t.err == nil {
		t.err = err
	}
}
