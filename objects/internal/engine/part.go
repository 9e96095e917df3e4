package engine

import "slices"

// Part takes part in the transactions of an object's events, beside the keys: an object's database. The first event
// that uses it makes it, and it belongs to the instance. When Commit is called, the Part writes its changes with
// Tx.Store. Any goroutine may call Close; the goroutine that runs the event calls all other methods.
type Part interface {
	// Commit is called when the handler has succeeded. An error fails the event, and the instance is dropped.
	Commit(t *Tx) error

	// Rollback undoes the event's changes since the Transact at this depth began. Depth 0 means that the event has
	// failed.
	Rollback(t *Tx, depth int)

	// Fold makes the changes since the Transact at this depth part of the enclosing one.
	Fold(t *Tx, depth int)

	// DeleteAll is called before the event deletes everything that its author has stored.
	DeleteAll(t *Tx)

	// Close releases the part's resources. After the event in progress the part must not be used.
	Close()
}

// TxKey is the context key under which a Tx holds itself.
type TxKey struct{}

// Part returns the instance's Part, made by open if there is none.
func (t *Tx) Part(open func() Part) Part {
	if t.run.part == nil {
		t.run.part = open()
	}
	return t.run.part
}

// Use fails a goroutine that uses the Tx after its event, or from outside of it. A Part calls it first.
func (t *Tx) Use() { t.use() }

// MustRun is Use for code that may run in a coroutine of the event's goroutine.
func (t *Tx) MustRun() { t.mustRun() }

// Depth returns the number of nested Transacts in progress.
func (t *Tx) Depth() int { return len(t.layers) - 1 }

// Limits returns the limits of the class.
func (t *Tx) Limits() *Limits { return t.limits() }

// Look is Stored for a Part: it may be called in a coroutine, and returns an error if the store has not answered.
func (t *Tx) Look(key string) ([]byte, error) {
	for _, l := range slices.Backward(t.layers) {
		if v, ok := l.writes[key]; ok {
			return v, nil
		}
	}
	return t.run.world.Data.Read(t, key)
}

// Close releases the instance's resources beside memory. A host calls it when it drops the instance. A nil Instance has
// none.
func (i *Instance) Close() {
	if i != nil && i.part != nil {
		i.part.Close()
	}
}

// commitPart lets the part write the event's changes.
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

// rollbackPart lets the part undo the event's changes. If that fails, the instance is dropped.
func (t *Tx) rollbackPart() {
	if t.run.part == nil {
		return
	}
	err := guard(func() error { t.run.part.Rollback(t, 0); return nil }, new(Outcome))
	if err != nil && t.err == nil {
		t.err = err
	}
}
