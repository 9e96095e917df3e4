package engine

import (
	"bytes"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"
)

// Get returns the stored value of an author's key, as the event sees it. The caller must not change it.
func (t *Tx) Get(key string) ([]byte, bool) {
	if strings.HasPrefix(key, Reserved) {
		t.refuseKey(key)
	}
	return t.Stored(key)
}

// Set writes the value of an author's key. The caller must not change the value afterwards. A key that is empty, too
// long, not UTF-8 or reserved aborts the event.
func (t *Tx) Set(key string, value []byte) {
	t.use()
	t.checkKey(key)
	if most := t.limits().Value; len(value) > most {
		t.Abort(t.errorf(tooLarge, "the value of the storage key %.80q has %d bytes, at most %d are allowed; nothing was changed", key, len(value), most))
	}
	t.put(key, value)
}

// Delete removes an author's key and reports whether there was one.
func (t *Tx) Delete(key string) bool {
	_, existed := t.Get(key)
	if existed {
		t.put(key, nil)
	}
	return existed
}

// Remove removes an author's key, which must exist.
func (t *Tx) Remove(key string) {
	t.use()
	t.put(key, nil)
}

// checkKey aborts the event if the key is not one for authors.
func (t *Tx) checkKey(key string) {
	if most := t.limits().Key; key == "" || len(key) > most || strings.HasPrefix(key, Reserved) || !utf8.ValidString(key) {
		t.refuseKey(key)
	}
}

// refuseKey aborts the event, with the reason why the key is not one for authors.
func (t *Tx) refuseKey(key string) {
	switch most := t.limits().Key; {
	case key == "":
		t.Abort(t.errorf(invalid, "a storage key must not be empty"))
	case len(key) > most:
		t.Abort(t.errorf(tooLarge, "a storage key has %d bytes, at most %d are allowed", len(key), most))
	case strings.HasPrefix(key, Reserved):
		t.Abort(t.errorf(invalid, "a storage key must not begin with a zero byte"))
	default:
		t.Abort(t.errorf(invalid, "a storage key must be valid UTF-8"))
	}
}

// Range is Entries for authors, without reserved keys.
func (t *Tx) Range(from, to string, backward bool) iter.Seq2[string, []byte] {
	return t.Entries(max(from, firstKey), to, backward)
}

// Keys yields the keys of an author's entries, as Range does.
func (t *Tx) Keys(from, to string, backward bool) iter.Seq[string] {
	return t.keys(max(from, firstKey), to, backward)
}

// DeleteAll removes everything that an author has stored (keys, blobs and database), and the alarm.
func (t *Tx) DeleteAll() {
	t.DeleteAlarm()
	if t.run.part != nil {
		t.run.part.DeleteAll(t)
	}
	t.forgetOwn()
	t.clear(firstKey, LastKey)
	t.clear(Blobs, After(Blobs))
	t.clear(Pages, After(Pages))
}

// clear removes all entries in a range. It reads no values.
func (t *Tx) clear(from, to string) {
	for key := range t.keys(from, to, false) {
		t.put(key, nil)
	}
}

// Stored is Get for the runtime, with any key.
func (t *Tx) Stored(key string) ([]byte, bool) {
	t.use()
	for _, l := range slices.Backward(t.layers) {
		if v, ok := l.writes[key]; ok {
			return v, v != nil
		}
	}
	value, err := t.run.world.Data.Read(t, key)
	t.mustHave(err)
	return value, value != nil
}

// mustHave aborts the event if the store has not answered a read.
func (t *Tx) mustHave(err error) {
	if err != nil {
		t.Abort(t.errorf(unavailable, "the object's storage could not be read; nothing was changed: %v", err))
	}
}

// Store is Set for the runtime, with any key and without a check. A nil value deletes.
func (t *Tx) Store(key string, value []byte) {
	t.use()
	t.put(key, value)
}

func (t *Tx) put(key string, value []byte) {
	top := t.top()
	if top.writes == nil {
		top.writes = make(map[string][]byte)
	}
	top.writes[key] = value
}

// Entries yields the entries with keys from from, inclusive, to to, exclusive, in the order of their bytes or backward.
// They are the entries at the beginning of the loop, so the loop may write and delete. The caller must not change a
// value. The loop may run in a coroutine, as that of iter.Pull.
func (t *Tx) Entries(from, to string, backward bool) iter.Seq2[string, []byte] {
	t.use()
	return func(yield func(string, []byte) bool) {
		t.mustRun()
		all := overlay{kept: t.run.world.Data.Scan(t, from, to, backward), own: t.written(from, to), backward: backward}
		for w, ok := t.next(&all); ok; w, ok = t.next(&all) {
			if !yield(w.Key, w.Value) {
				return
			}
			t.mustRun()
		}
	}
}

// keys yields the keys of Entries, and reads no values.
func (t *Tx) keys(from, to string, backward bool) iter.Seq[string] {
	t.use()
	return func(yield func(string) bool) {
		t.mustRun()
		all := overlay{kept: t.run.world.Data.Keys(t, from, to, backward), own: t.written(from, to), backward: backward}
		for w, ok := t.next(&all); ok; w, ok = t.next(&all) {
			if !yield(w.Key) {
				return
			}
			t.mustRun()
		}
	}
}

func (t *Tx) next(all *overlay) (Write, bool) {
	w, more, err := all.Next()
	t.mustHave(err)
	return w, more
}

// written returns the event's own writes in a range of keys, deletions too, in order.
func (t *Tx) written(from, to string) []Write {
	var merged map[string][]byte
	for i := range t.layers {
		for key, value := range t.layers[i].writes {
			if from <= key && key < to {
				if merged == nil {
					merged = make(map[string][]byte)
				}
				merged[key] = value
			}
		}
	}
	return sorted(merged)
}

// Count returns the number of entries in a range of an author's keys.
func (t *Tx) Count(from, to string) int {
	t.use()
	from = max(from, firstKey)
	n, err := t.run.world.Data.Count(t, from, to)
	t.mustHave(err)
	for _, w := range t.written(from, to) {
		old, err := t.run.world.Data.Read(t, w.Key)
		t.mustHave(err)
		existed := old != nil
		switch {
		case existed && w.Value == nil:
			n--
		case !existed && w.Value != nil:
			n++
		}
	}
	return n
}

// changes returns the event's writes that may change something, sorted by key. Reading the old values from the store
// would take too long.
func (t *Tx) changes() []Write {
	writes := t.layers[0].writes
	if len(writes) == 0 {
		return nil
	}
	return slices.DeleteFunc(sorted(writes), func(w Write) bool {
		old, known := t.run.world.Data.Known(w.Key)
		return known && (old == nil) == (w.Value == nil) && bytes.Equal(old, w.Value)
	})
}

func sorted(m map[string][]byte) []Write {
	if len(m) == 0 {
		return nil
	}
	writes := make([]Write, 0, len(m))
	for key, value := range m {
		writes = append(writes, Write{key, value})
	}
	slices.SortFunc(writes, func(a, b Write) int { return strings.Compare(a.Key, b.Key) })
	return writes
}
