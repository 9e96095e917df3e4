package objects

import (
	"errors"
	"fmt"
	"iter"
	"reflect"

	"holdfast/objects/internal/engine"
)

// Map is many entries of one type, ordered by key. Its Range covers all entries.
type Map[K comparable, V any] struct{ Range[K, V] }

// NewMap names a map. K is a string, an integer, a bool, a time.Time, an [ID], an array of bytes, or a struct of such
// fields, exported and ordered by the first, then the second and so on; any other type panics. Strings are ordered by their
// bytes, times by their instant; a time's location is not kept. A Map[string, V] named "seat" keeps "ada" under the key
// "seat/ada"; a map named "" has all keys, those of other maps too, under their whole names. The name is UTF-8 that does not
// begin with a zero byte; name and key together have at most MaxKey bytes. At most one codec, of the values, may be given.
func NewMap[K comparable, V any](name string, codec ...Codec[V]) Map[K, V] {
	of := reflect.TypeFor[K]()
	err := checkKey(of)
	if err == nil && name == "" && of.Kind() != reflect.String {
		err = errors.New("the map of everything has keys that are strings")
	}
	if err != nil {
		panic(fmt.Sprintf("objects: map %q: %v", name, err))
	}
	m := &mapping[K, V]{prefix: name, codec: only(codec)}
	whole := Range[K, V]{of: m, to: engine.LastKey, limit: -1}
	if name != "" {
		m.prefix += "/"
		whole.from, whole.to = m.prefix, engine.After(m.prefix)
	}
	return Map[K, V]{whole}
}

// mapping is shared by a map and its ranges.
type mapping[K comparable, V any] struct {
	prefix string   // of all keys
	codec  Codec[V] // nil: none
}

// Get returns the value at k, the zero V if there is none. A value that does not decode aborts the event.
func (m Map[K, V]) Get(r Reader, k K) V {
	v, _ := m.Lookup(r, k)
	return v
}

// Lookup is Get that also reports whether there is an entry.
func (m Map[K, V]) Lookup(r Reader, k K) (v V, ok bool) {
	t := r.reader()
	key := m.key(t, k)
	value, ok := t.Get(key)
	if !ok {
		return v, false
	}
	return load(t, key, value, m.of.codec), true
}

// GetAll reads several entries at once (as Cloudflare's get of many keys). It leaves out keys without an entry.
func (m Map[K, V]) GetAll(r Reader, keys ...K) map[K]V {
	found := make(map[K]V, len(keys))
	for _, k := range keys {
		if v, ok := m.Lookup(r, k); ok {
			found[k] = v
		}
	}
	return found
}

// Set writes the entry at k, as Key.Set does.
func (m Map[K, V]) Set(tx *Tx, k K, v V) { store(tx.t, m.key(tx.t, k), v, m.of.codec) }

// Delete removes the entry at k and reports whether there was one.
func (m Map[K, V]) Delete(tx *Tx, k K) bool { return tx.t.Delete(m.key(tx.t, k)) }

// key returns the storage key of k. A k that cannot be a key aborts the event.
func (m Map[K, V]) key(t *engine.Tx, k K) string {
	key, err := m.of.key(k)
	if err != nil {
		t.Abort(err)
	}
	return key
}

func (m *mapping[K, V]) key(k K) (string, error) {
	if s, ok := any(&k).(*string); ok {
		return m.prefix + *s, nil
	}
	var room [64]byte
	key, err := appendKey(append(room[:0], m.prefix...), reflect.ValueOf(&k).Elem(), false)
	return string(key), err
}

// Range is a stretch of a map's entries. From, After, Before, To and Prefix narrow it, in any order; a stretch whose end is
// not behind its beginning is empty.
type Range[K comparable, V any] struct {
	of    *mapping[K, V]
	from  string // the least key
	to    string // keys are less than this
	limit int    // -1: none
	err   error  // aborts an event that reads the range
}

// From leaves out the keys less than k.
func (r Range[K, V]) From(k K) Range[K, V] {
	key := r.bound(k)
	r.from = max(r.from, key)
	return r
}

// After leaves out k and the keys less than k.
func (r Range[K, V]) After(k K) Range[K, V] {
	key := r.bound(k)
	r.from = max(r.from, key+"\x00") // the least text behind the key
	return r
}

// Before leaves out k and the keys greater than k.
func (r Range[K, V]) Before(k K) Range[K, V] {
	key := r.bound(k)
	r.to = min(r.to, key)
	return r
}

// To leaves out the keys greater than k.
func (r Range[K, V]) To(k K) Range[K, V] {
	key := r.bound(k)
	r.to = min(r.to, key+"\x00")
	return r
}

// bound returns the storage key of k. It makes a bad k the range's error.
func (r *Range[K, V]) bound(k K) string {
	key, err := r.of.key(k)
	if err != nil && r.err == nil {
		r.err = err
	}
	return key
}

// Prefix keeps only the keys that begin with p. For strings p is a string; for structs p is a value of the first field's
// type. Any other p panics.
func (r Range[K, V]) Prefix(p any) Range[K, V] {
	k, v, first := reflect.TypeFor[K](), reflect.ValueOf(p), false
	switch {
	case !v.IsValid():
		panic("objects: the prefix is nil")
	case k.Kind() == reflect.Struct && k != typeOfTime && k != typeOfID:
		first = true
		if k.Field(0).Type != v.Type() {
			panic(fmt.Sprintf("objects: a prefix of %v is a %v, not a %v", k, k.Field(0).Type, v.Type()))
		}
	case k.Kind() != reflect.String || v.Kind() != reflect.String:
		panic(fmt.Sprintf("objects: a %v is no prefix of a %v", v.Type(), k))
	}
	key, err := appendKey([]byte(r.of.prefix), v, first)
	if err != nil && r.err == nil {
		r.err = err
	}
	begin := string(key)
	r.from, r.to = max(r.from, begin), min(r.to, engine.After(begin))
	return r
}

// Limit keeps only the first n entries, or the last n for a reading from the end (Backward, Last). The smaller of two limits
// counts.
func (r Range[K, V]) Limit(n int) Range[K, V] {
	if n = max(n, 0); r.limit < 0 || n < r.limit {
		r.limit = n
	}
	return r
}

// All yields the entries in the order of their keys, and reads them during the loop. It yields the entries of the loop's
// beginning: the loop may write and delete. A key or value that does not decode aborts the event.
func (r Range[K, V]) All(rd Reader) iter.Seq2[K, V] { return r.entries(rd.reader(), false) }

// Backward is All in the opposite order.
func (r Range[K, V]) Backward(rd Reader) iter.Seq2[K, V] { return r.entries(rd.reader(), true) }

func (r Range[K, V]) entries(t *engine.Tx, backward bool) iter.Seq2[K, V] {
	raw := r.raw(t, backward)
	return func(yield func(K, V) bool) {
		for key, value := range raw {
			k, err := r.of.read(key)
			if err != nil {
				t.Abort(fmt.Errorf("decode key %.80q as %T: %w", key, k, err))
			}
			if !yield(k, load(t, key, value, r.of.codec)) {
				return
			}
		}
	}
}

// raw yields the entries as they are stored.
func (r Range[K, V]) raw(t *engine.Tx, backward bool) iter.Seq2[string, []byte] {
	if r.err != nil {
		t.Abort(r.err)
	}
	all := t.Range(r.from, r.to, backward)
	if r.limit < 0 {
		return all
	}
	return func(yield func(string, []byte) bool) {
		if r.limit == 0 {
			return
		}
		n := 0
		for key, value := range all {
			if n++; !yield(key, value) || n == r.limit {
				return
			}
		}
	}
}

// read decodes the map's key from a storage key.
func (m *mapping[K, V]) read(key string) (k K, err error) {
	rest := key[len(m.prefix):]
	if s, ok := any(&k).(*string); ok {
		*s = rest
		return k, nil
	}
	left, err := readKey(rest, reflect.ValueOf(&k).Elem(), false)
	if err == nil && left != "" {
		err = errKey
	}
	return k, err
}

// First returns the first entry; ok is false if there is none.
func (r Range[K, V]) First(rd Reader) (k K, v V, ok bool) {
	for k, v := range r.All(rd) {
		return k, v, true
	}
	return k, v, false
}

// Last returns the last entry; ok is false if there is none.
func (r Range[K, V]) Last(rd Reader) (k K, v V, ok bool) {
	for k, v := range r.Backward(rd) {
		return k, v, true
	}
	return k, v, false
}

// Count returns the number of entries. It does not decode their values.
func (r Range[K, V]) Count(rd Reader) int {
	t := rd.reader()
	if r.err != nil {
		t.Abort(r.err)
	}
	n := t.Count(r.from, r.to)
	if r.limit >= 0 {
		n = min(n, r.limit)
	}
	return n
}

// Clear deletes the entries and returns their number.
func (r Range[K, V]) Clear(tx *Tx) int {
	if r.err != nil {
		tx.t.Abort(r.err)
	}
	n := 0
	for key := range tx.t.Keys(r.from, r.to, false) {
		if n == r.limit {
			break
		}
		tx.t.Remove(key)
		n++
	}
	return n
}
