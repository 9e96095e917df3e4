package engine

import (
	"encoding/base64"
	"encoding/json"
	"iter"
	"slices"
	"sort"
	"strings"
)

// Write is one change of storage: a nil Value deletes the key.
type Write struct {
	Key   string
	Value []byte // JSON, or the output of Raw; never changed after it was made
}

// rawMark begins a value of raw bytes. JSON cannot begin with it.
const rawMark = 0

// Raw returns a value that stores these bytes unchanged. It has a copy of them.
func Raw(b []byte) []byte {
	return append(append(make([]byte, 0, 1+len(b)), rawMark), b...)
}

// RawOf returns the bytes of a value that Raw has made; false for JSON. The caller must not change them.
func RawOf(value []byte) ([]byte, bool) {
	if len(value) == 0 || value[0] != rawMark {
		return nil, false
	}
	return value[1:], true
}

// Shown returns a value as JSON: raw bytes in base64.
func Shown(value []byte) json.RawMessage {
	data, ok := RawOf(value)
	if !ok {
		return value
	}
	return append(base64.StdEncoding.AppendEncode([]byte{'"'}, data), '"')
}

// Data is an object's storage as a host holds it: entries sorted by key, each
// encoded once. The zero Data is empty. It is not safe for concurrent use.
type Data struct {
	entries []entry
	size    int
	raws    int // how many entries are raw
}

type entry struct {
	key    string
	quoted []byte // the key as JSON
	value  []byte
}

func (e *entry) raw() bool { return len(e.value) > 0 && e.value[0] == rawMark }

func (e *entry) size() int {
	n := len(e.value)
	if e.raw() {
		n = len(`""`) + base64.StdEncoding.EncodedLen(n-1)
	}
	return len(e.quoted) + n + len(`:,`)
}

// Len returns the number of keys.
func (d *Data) Len() int { return len(d.entries) }

// Size returns the number of bytes that keys and values take when encoded.
func (d *Data) Size() int { return d.size }

// Get returns the value of a key. It must not be changed.
func (d *Data) Get(key string) ([]byte, bool) {
	i, ok := d.find(key)
	if !ok {
		return nil, false
	}
	return d.entries[i].value, true
}

// fewMoves bounds the entries that writes may move if they are applied one by one: each moves the entries behind it.
const fewMoves = 1 << 16

// Apply applies the writes. Many writes must be sorted by key.
func (d *Data) Apply(writes []Write) {
	if len(writes)*len(d.entries) > fewMoves {
		d.merge(writes)
		return
	}
	for _, w := range writes {
		i, ok := d.find(w.Key)
		if ok {
			d.count(&d.entries[i], -1)
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
		d.count(&d.entries[i], 1)
	}
}

// merge applies many writes in one pass.
func (d *Data) merge(writes []Write) {
	merged := make([]entry, 0, len(d.entries)+len(writes))
	rest := d.entries
	for _, w := range writes {
		i, ok := sort.Find(len(rest), func(i int) int { return strings.Compare(w.Key, rest[i].key) })
		merged = append(merged, rest[:i]...)
		rest = rest[i:]
		e := entry{key: w.Key, value: w.Value}
		if ok {
			e.quoted = rest[0].quoted
			d.count(&rest[0], -1)
			rest = rest[1:]
		}
		if w.Value == nil {
			continue
		}
		if !ok {
			e.quoted = quote(w.Key)
		}
		merged = append(merged, e)
		d.count(&e, 1)
	}
	d.entries = append(merged, rest...)
}

// count adds an entry to the sums, or subtracts it.
func (d *Data) count(e *entry, sign int) {
	d.size += sign * e.size()
	if e.raw() {
		d.raws += sign
	}
}

// SizeAfter returns the Size that Apply would lead to.
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

// Entries are a range of a Data's entries in order. They are valid until the next Apply.
type Entries struct{ of []entry }

// Between returns the entries with keys from from, inclusive, to to, exclusive.
func (d *Data) Between(from, to string) Entries { return Entries{d.between(from, to)} }

// Len returns the number of entries.
func (es Entries) Len() int { return len(es.of) }

// All yields the entries in order.
func (es Entries) All() iter.Seq2[string, []byte] { return (&Data{entries: es.of}).All() }

// AppendJSON appends the entries as one JSON object and, if some are raw, those in base64 as another:
//
//	{"count":1},"raw":{"photo":"AAEC"}
func (d *Data) AppendJSON(dst []byte) []byte {
	dst = slices.Grow(dst, d.size+len(`{},"raw":{}`))
	dst = append(dst, '{')
	begin := len(dst)
	for i := range d.entries {
		if e := &d.entries[i]; d.raws == 0 || !e.raw() {
			dst = append(append(append(append(dst, e.quoted...), ':'), e.value...), ',')
		}
	}
	dst = closeBrace(dst, begin)
	if d.raws == 0 {
		return dst
	}
	dst = append(dst, `,"raw":{`...)
	begin = len(dst)
	for i := range d.entries {
		if e := &d.entries[i]; e.raw() {
			dst = append(append(dst, e.quoted...), `:"`...)
			dst = append(base64.StdEncoding.AppendEncode(dst, e.value[1:]), `",`...)
		}
	}
	return closeBrace(dst, begin)
}

// closeBrace ends a JSON object in which each entry, from begin on, ends with a comma.
func closeBrace(dst []byte, begin int) []byte {
	if len(dst) > begin {
		dst = dst[:len(dst)-1]
	}
	return append(dst, '}')
}

// DataOf returns the storage of these JSON values and raw values. A key is in only one of the maps.
func DataOf(values map[string]json.RawMessage, raw map[string][]byte) *Data {
	d := &Data{entries: make([]entry, 0, len(values)+len(raw))}
	add := func(key string, value []byte) {
		e := entry{key, quote(key), value}
		d.entries = append(d.entries, e)
		d.count(&e, 1)
	}
	for key, value := range values {
		add(key, value)
	}
	for key, value := range raw {
		add(key, Raw(value))
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
