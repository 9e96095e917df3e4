package objects

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// Limits of storage.
const (
	MaxKey   = 2048      // bytes of a key, as Cloudflare's
	MaxState = 512 << 10 // bytes of all keys and values of an object, as stored
)

// Store is where keys are read and written: a *State (the event's own writes)
// or a *Tx (an explicit transaction's).
type Store interface {
	turn() *turn
}

// Key is one typed entry of an object's storage. Values are kept as JSON.
//
// Get and Set return no errors: a value that cannot be decoded or encoded, or a
// key beyond MaxKey, fails the whole event when the handler returns. That is
// safe because nothing leaves an event before it has committed.
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
	t := s.turn()
	raw, ok := t.get(k.name)
	if !ok {
		var none V
		return none, false
	}
	return decode[V](t, k.name, raw)
}

// Set writes the entry; it becomes durable with the event.
func (k Key[V]) Set(s Store, v V) {
	t := s.turn()
	raw, err := toJSON(v)
	if err != nil {
		t.fail(fmt.Errorf("encode key %.80q: %w", k.name, err))
		return
	}
	t.set(k.name, raw)
}

// Delete removes the entry and tells whether there was one.
func (k Key[V]) Delete(s Store) bool {
	t := s.turn()
	_, existed := t.get(k.name)
	if existed {
		t.delete(k.name)
	}
	return existed
}

// List yields the entries whose key begins with prefix, in the order of their
// keys' bytes. It is a snapshot: writing while ranging is fine.
func List[V any](s Store, prefix string) iter.Seq2[string, V] {
	t := s.turn()
	return func(yield func(string, V) bool) {
		for _, w := range t.list(prefix) {
			v, ok := decode[V](t, w.Key, w.Value)
			if ok && !yield(w.Key, v) {
				return
			}
		}
	}
}

func decode[V any](t *turn, key string, raw []byte) (V, bool) {
	var v V
	if err := fromJSON(raw, &v); err != nil {
		t.fail(fmt.Errorf("decode key %.80q as %T: %w", key, v, err))
		return v, false
	}
	return v, true
}

// Write is one change of storage: a nil Value deletes the key.
type Write struct {
	Key   string
	Value []byte // JSON; nobody writes to it after it has been made
}

// Data is an object's storage as a host holds it: entries sorted by key, each
// encoded once. The zero Data is empty. It is not safe for concurrent use.
type Data struct {
	entries []entry
	size    int
}

type entry struct {
	key    string
	quoted []byte // the key as JSON
	value  []byte
}

func (e entry) size() int { return len(e.quoted) + len(e.value) + len(`:,`) }

// Len is the number of keys.
func (d *Data) Len() int { return len(d.entries) }

// Size is the number of bytes that keys and values take when encoded.
func (d *Data) Size() int { return d.size }

// Get is the JSON value of a key. It must not be changed.
func (d *Data) Get(key string) ([]byte, bool) {
	i, ok := d.find(key)
	if !ok {
		return nil, false
	}
	return d.entries[i].value, true
}

// Apply makes the writes.
func (d *Data) Apply(writes []Write) {
	for _, w := range writes {
		i, ok := d.find(w.Key)
		if ok {
			d.size -= d.entries[i].size()
		}
		switch {
		case w.Value == nil && ok:
			d.entries = slices.Delete(d.entries, i, i+1)
			continue
		case w.Value == nil:
			continue
		case ok:
			d.entries[i].value = w.Value
		default:
			d.entries = slices.Insert(d.entries, i, entry{w.Key, quote(w.Key), w.Value})
		}
		d.size += d.entries[i].size()
	}
}

// SizeAfter is what Size would be after Apply.
func (d *Data) SizeAfter(writes []Write) int {
	size := d.size
	for _, w := range writes {
		var e entry
		if i, ok := d.find(w.Key); ok {
			e = d.entries[i]
			size -= e.size()
		} else if w.Value != nil {
			e.quoted = quote(w.Key)
		}
		if e.value = w.Value; w.Value != nil {
			size += e.size()
		}
	}
	return size
}

// All yields the entries in order of their keys.
func (d *Data) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, e := range d.entries {
			if !yield(e.key, e.value) {
				return
			}
		}
	}
}

// AppendJSON appends the entries as one JSON object.
func (d *Data) AppendJSON(dst []byte) []byte {
	dst = slices.Grow(dst, d.size+2)
	dst = append(dst, '{')
	for i, e := range d.entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, e.quoted...)
		dst = append(dst, ':')
		dst = append(dst, e.value...)
	}
	return append(dst, '}')
}

// DataOf is the storage made of these JSON values.
func DataOf(values map[string]json.RawMessage) *Data {
	d := &Data{entries: make([]entry, 0, len(values))}
	for key, value := range values {
		e := entry{key, quote(key), value}
		d.entries = append(d.entries, e)
		d.size += e.size()
	}
	slices.SortFunc(d.entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	return d
}

func (d *Data) find(key string) (int, bool) {
	return sort.Find(len(d.entries), func(i int) int { return strings.Compare(key, d.entries[i].key) })
}

func quote(key string) []byte {
	quoted, err := json.Marshal(key)
	if err != nil {
		panic(err) // a string always encodes
	}
	return quoted
}

// layer is the writes of one transaction that has not ended.
type layer struct {
	writes map[string][]byte // a nil value deletes
	alarm  *alarmChange
}

// turn is one event at work on the storage: the base and the open transactions on it.
type turn struct {
	base   *Data
	alarm  Alarm
	layers []layer
	sends  []Send
	undo   []func() // puts the sockets back as they were
	err    error    // the first fault; fails the event
	over   bool

	room [2]layer // for layers, while they are few
}

func (t *turn) top() *layer {
	if t.over {
		panic("objects: storage used after its event has ended")
	}
	return &t.layers[len(t.layers)-1]
}

func (t *turn) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *turn) get(key string) ([]byte, bool) {
	t.top()
	for _, l := range slices.Backward(t.layers) {
		if v, ok := l.writes[key]; ok {
			return v, v != nil
		}
	}
	return t.base.Get(key)
}

func (t *turn) set(key string, value []byte) {
	switch {
	case len(key) > MaxKey:
		t.fail(Errorf(TooLarge, "a storage key has %d bytes, at most %d are allowed", len(key), MaxKey))
	case !utf8.ValidString(key):
		t.fail(Errorf(Invalid, "a storage key must be valid UTF-8"))
	default:
		t.put(key, value)
	}
}

func (t *turn) delete(key string) { t.put(key, nil) }

func (t *turn) put(key string, value []byte) {
	top := t.top()
	if top.writes == nil {
		top.writes = make(map[string][]byte)
	}
	top.writes[key] = value
}

func (t *turn) list(prefix string) []Write {
	t.top()
	merged := make(map[string][]byte)
	from, _ := t.base.find(prefix)
	for _, e := range t.base.entries[from:] {
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

// begin opens a transaction; commit folds it into the one below, drop forgets it.
func (t *turn) begin() { t.layers = append(t.layers, layer{}) }

func (t *turn) commit() {
	done := t.pop()
	for key, value := range done.writes {
		t.put(key, value)
	}
	if done.alarm != nil {
		t.top().alarm = done.alarm
	}
}

func (t *turn) pop() layer {
	done := *t.top()
	t.layers = t.layers[:len(t.layers)-1]
	return done
}

// changes are the event's writes that change something, sorted by key.
func (t *turn) changes() []Write {
	return slices.DeleteFunc(sorted(t.layers[0].writes, true), func(w Write) bool {
		old, existed := t.base.Get(w.Key)
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
