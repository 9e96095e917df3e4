package objects

import (
	"fmt"
	"iter"
)

// Limits of storage.
const (
	MaxKey   = 2048      // bytes of a key, as Cloudflare's
	MaxState = 512 << 10 // bytes of all keys and values of an object, as stored
)

// Key is one typed entry of an object's storage. Values are kept as JSON. Reading sees the event's own writes.
type Key[V any] struct{ name string }

// NewKey names an entry: UTF-8 of at most MaxKey bytes.
func NewKey[V any](name string) Key[V] { return Key[V]{name} }

// Get is the entry's value, the zero V if there is none. A value that does not decode aborts the event.
func (k Key[V]) Get(tx *Tx) V {
	v, _ := k.Lookup(tx)
	return v
}

// Lookup is Get that tells whether there is an entry.
func (k Key[V]) Lookup(tx *Tx) (v V, ok bool) {
	raw, ok := tx.t.Get(k.name)
	if !ok {
		return v, false
	}
	return stored[V](tx, k.name, raw), true
}

// Set writes the entry; it becomes durable with the event. What v points to may change afterwards: it was encoded. A value
// that does not encode, and a key that is too long or not UTF-8, aborts the event.
func (k Key[V]) Set(tx *Tx, v V) {
	raw, err := toJSON(v)
	if err != nil {
		tx.t.Abort(fmt.Errorf("encode key %.80q: %w", k.name, err))
	}
	if longNumber(raw) { // a value that could not be read back is not kept
		if err := fromJSON(raw, new(V)); err != nil {
			tx.t.Abort(fmt.Errorf("encode key %.80q: %w", k.name, err))
		}
	}
	tx.t.Set(k.name, raw)
}

// Delete removes the entry and tells whether there was one.
func (k Key[V]) Delete(tx *Tx) bool { return tx.t.Delete(k.name) }

// List yields the entries whose key begins with prefix, in the order of their keys' bytes. It is a snapshot of when the loop
// began: the loop may write and delete. A value that does not decode aborts the event.
func List[V any](tx *Tx, prefix string) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, w := range tx.t.List(prefix) {
			if !yield(w.Key, stored[V](tx, w.Key, w.Value)) {
				return
			}
		}
	}
}

func stored[V any](tx *Tx, key string, raw []byte) (v V) {
	if err := fromJSON(raw, &v); err != nil {
		tx.t.Abort(fmt.Errorf("decode key %.80q as %T: %w", key, v, err))
	}
	return v
}
