package engine

import (
	"encoding/json"
	"iter"
	"slices"
	"sort"
	"strings"
)

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
