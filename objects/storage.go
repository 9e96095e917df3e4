package objects

import (
	"context"
	"errors"
	"fmt"

	"holdfast/objects/internal/engine"
)

// Limits of storage.
const (
	MaxKey    = 2048     // bytes of a key, as Cloudflare's
	MaxValue  = 32 << 20 // bytes of a value, as stored
	MaxWrites = 64 << 20 // bytes of all keys and values that one event writes
	MaxState  = 10 << 30 // bytes of all keys and values of an object, as Cloudflare's
)

// Reader reads storage: a *Tx.
type Reader interface {
	context.Context

	reader() *engine.Tx
}

func (tx *Tx) reader() *engine.Tx { return tx.t }

// Codec turns values into bytes and back, for a Key or a Map. An error aborts the event.
type Codec[V any] interface {
	Encode(v V) ([]byte, error)
	Decode(data []byte) (V, error)
}

// Key is one typed entry of an object's storage. A []byte is kept as it is, everything else as JSON, unless a Codec is
// given. Reads see the event's own writes.
type Key[V any] struct {
	name  string
	codec Codec[V] // nil: none
}

// NewKey names an entry: UTF-8 of 1 to MaxKey bytes, not beginning with a zero byte. Keys and maps share one name space: the
// map "m" owns all keys that begin with "m/". At most one codec may be given.
func NewKey[V any](name string, codec ...Codec[V]) Key[V] { return Key[V]{name, only(codec)} }

func only[V any](codec []Codec[V]) Codec[V] {
	if len(codec) == 0 {
		return nil
	}
	return codec[0]
}

// Get returns the entry's value, the zero V if there is none. A value that does not decode aborts the event.
func (k Key[V]) Get(r Reader) V {
	v, _ := k.Lookup(r)
	return v
}

// Lookup is Get that also reports whether there is an entry.
func (k Key[V]) Lookup(r Reader) (v V, ok bool) {
	t := r.reader()
	value, ok := t.Get(k.name)
	if !ok {
		return v, false
	}
	return load(t, k.name, value, k.codec), true
}

// Set writes the entry; it becomes durable with the event. Set encodes v at once: later changes to it have no effect. A value
// that does not encode, and a key that NewKey does not allow, abort the event.
func (k Key[V]) Set(tx *Tx, v V) { store(tx.t, k.name, v, k.codec) }

// Delete removes the entry and reports whether there was one.
func (k Key[V]) Delete(tx *Tx) bool { return tx.t.Delete(k.name) }

// store encodes a value and writes it.
func store[V any](t *engine.Tx, key string, v V, codec Codec[V]) {
	value, err := stored(v, codec)
	if err != nil {
		t.Abort(fmt.Errorf("encode key %.80q: %w", key, err))
	}
	t.Set(key, value)
}

func stored[V any](v V, codec Codec[V]) ([]byte, error) {
	if codec != nil {
		data, err := codec.Encode(v)
		return engine.Raw(data), err
	}
	if data, ok := any(v).([]byte); ok {
		return engine.Raw(data), nil
	}
	value, err := toJSON(v)
	if err == nil && longNumber(value) { // a value that could not be read back is not kept
		err = fromJSON(value, new(V))
	}
	return value, err
}

// load decodes a stored value.
func load[V any](t *engine.Tx, key string, value []byte, codec Codec[V]) V {
	v, err := loaded(value, codec)
	if err != nil {
		t.Abort(fmt.Errorf("decode key %.80q as %T: %w", key, v, err))
	}
	return v
}

func loaded[V any](value []byte, codec Codec[V]) (v V, err error) {
	data, raw := engine.RawOf(value)
	switch {
	case codec != nil && raw:
		return codec.Decode(data)
	case codec != nil:
		return v, errors.New("it was stored as JSON, without the codec")
	case raw:
		bytes, ok := any(&v).(*[]byte)
		if !ok {
			return v, errors.New("it was stored as bytes")
		}
		*bytes = append([]byte{}, data...)
		return v, nil
	}
	err = fromJSON(value, &v)
	return v, err
}
