package engine

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// Get is the stored value of a key, as the event sees it. It must not be changed.
func (t *Tx) Get(key string) ([]byte, bool) {
	t.use()
	for _, l := range slices.Backward(t.layers) {
		if v, ok := l.writes[key]; ok {
			return v, v != nil
		}
	}
	return t.run.world.Data.Get(key)
}

// Set writes a value, which nobody may change any more. A key that is too long or not UTF-8 aborts the event.
func (t *Tx) Set(key string, value []byte) {
	t.use()
	if most := t.limits().Key; len(key) > most {
		t.Abort(t.errorf(tooLarge, "a storage key has %d bytes, at most %d are allowed", len(key), most))
	}
	if !utf8.ValidString(key) {
		t.Abort(t.errorf(invalid, "a storage key must be valid UTF-8"))
	}
	t.put(key, value)
}

// Delete removes a key and reports whether there was one.
func (t *Tx) Delete(key string) bool {
	_, existed := t.Get(key)
	if existed {
		t.put(key, nil)
	}
	return existed
}

func (t *Tx) put(key string, value []byte) {
	top := t.top()
	if top.writes == nil {
		top.writes = make(map[string][]byte)
	}
	top.writes[key] = value
}

// List is a snapshot of the entries whose key begins with prefix, in the order of their keys' bytes.
func (t *Tx) List(prefix string) []Write {
	t.use()
	merged := make(map[string][]byte)
	from, _ := t.run.world.Data.find(prefix)
	for _, e := range t.run.world.Data.entries[from:] {
		if !strings.HasPrefix(e.key, prefix) {
			break
		}
		merged[e.key] = e.value
	}
	for _, l := range t.layers {
		for key, value := range l.writes {
			if strings.HasPrefix(key, prefix) {
				merged[key] = value
			}
		}
	}
	return sorted(merged, false)
}

// changes are the event's writes that change something, sorted by key.
func (t *Tx) changes() []Write {
	writes := t.layers[0].writes
	if len(writes) == 0 {
		return nil
	}
	return slices.DeleteFunc(sorted(writes, true), func(w Write) bool {
		old, existed := t.run.world.Data.Get(w.Key)
		if w.Value == nil {
			return !existed
		}
		return existed && bytes.Equal(old, w.Value)
	})
}

func sorted(m map[string][]byte, deletions bool) []Write {
	writes := make([]Write, 0, len(m))
	for key, value := range m {
		if value != nil || deletions {
			writes = append(writes, Write{key, value})
		}
	}
	slices.SortFunc(writes, func(a, b Write) int { return strings.Compare(a.Key, b.Key) })
	return writes
}
