package sqlite

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// Migrate runs the steps that the object's database has not had, in order, each once, as part of the event. The number
// of steps so far is kept in the database. Call it in the constructor: then every event finds the newest schema, and an
// old object is brought up to date when it wakes. Append steps, and never change or remove one that an object may have
// had. A step is one or more statements. A step that fails aborts the event. So does a database that has had more steps
// than there are: an older program must not run on it.
func Migrate(tx *objects.Tx, steps ...string) {
	t := tx.Value(engine.TxKey{}).(*engine.Tx)
	t.Use()
	if d := t.Part(newDatabase).(*database); d.tx != t {
		done, err := d.hadSteps(t)
		if err != nil {
			d.file.err = err
			t.Abort(d.fatal(err))
		}
		if done == len(steps) {
			return // SQLite is not needed for that
		}
	}
	d := databaseOf(tx)
	done := d.mustTell("PRAGMA user_version")
	if done > len(steps) {
		t.Abort(fmt.Errorf("sqlite: the object's database has had %d migrations, and the program has %d: it is older", done, len(steps)))
	}
	for i, step := range steps[done:] {
		if _, err := d.execute(step, nil); err != nil {
			t.Abort(fmt.Errorf("sqlite: migration %d: %w", done+i+1, err))
		}
	}
	if done < len(steps) {
		d.mustRun("PRAGMA user_version = " + strconv.Itoa(len(steps)))
	}
}

// hadSteps returns how many steps the database has had, as of the last event.
func (d *database) hadSteps(t *engine.Tx) (int, error) {
	f := file{tx: t}
	var first [pageSize]byte
	_, err := f.load(1, &first)
	return int(binary.BigEndian.Uint32(first[60:])), err
}
