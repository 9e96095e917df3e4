package objects

import (
	"fmt"
	"iter"

	"holdfast/objects/internal/engine"
)

// Limits of storage.
const (
	MaxKey   = 2048      // bytes of a key, as Cloudflare's
	MaxState = 512 << 10 // bytes of all keys and values of an object, as stored
)

// Store is where keys are read and written: a *State (the event's own writes)
// or a *Tx (an explicit transaction's).
type Store interface {
	tx() *engine.Tx
}

// Key is one typed entry of an object's storage. Values are kept as JSON.
//
// Get and Set return no errors: a value that cannot be decoded or encoded, or a
// key beyond MaxKey, aborts the event at once: it ends at that line, as by a
// panic, and is rolled back. So a handler never goes on with a wrong value.
type Key[V any] struct{ name string }

// NewKey names an entry. Names are any UTF-8, at most MaxKey bytes.
func NewKey[V any](name string) Key[V] { return Key[V]{name} }

// Name is the entry's key.
func (k Key[V]) Name() string { return k.name }

// Get is the entry's value, or otherwise if there is none. It sees the event's own writes.
func (k Key[V]) Get(s Store, otherwise V) V {
	v, ok := k.Lookup(s)
	if !ok {
		return otherwise
	}
	return v
}

// Lookup is Get that tells whether there is a value.
func (k Key[V]) Lookup(s Store) (V, bool) {
	tx := s.tx()
	raw, ok := tx.Get(k.name)
	if !ok {
		var none V
		return none, false
	}
	return decode[V](tx, k.name, raw), true
}

// Set writes the entry; it becomes durable with the event.
func (k Key[V]) Set(s Store, v V) {
	tx := s.tx()
	raw, err := toJSON(v)
	if err != nil {
		tx.Abort(fmt.Errorf("encode key %.80q: %w", k.name, err))
	}
	tx.Set(k.name, raw)
}

// Delete removes the entry and tells whether there was one.
func (k Key[V]) Delete(s Store) bool { return s.tx().Delete(k.name) }

// List yields the entries whose key begins with prefix, in the order of their
// keys' bytes. It is a snapshot: writing while ranging is fine.
func List[V any](s Store, prefix string) iter.Seq2[string, V] {
	tx := s.tx()
	return func(yield func(string, V) bool) {
		for _, w := range tx.List(prefix) {
			if !yield(w.Key, decode[V](tx, w.Key, w.Value)) {
				return
			}
		}
	}
}

func decode[V any](tx *engine.Tx, key string, raw []byte) (v V) {
	if err := fromJSON(raw, &v); err != nil {
		tx.Abort(fmt.Errorf("decode key %.80q as %T: %w", key, v, err))
	}
	return v
}
