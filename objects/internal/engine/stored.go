package engine

import (
	"context"
	"slices"
	"strings"
)

// Stored is an object's storage as of the last event, below the writes of the event in progress. A host keeps large
// objects in parts, which it reads on demand: a read may wait for the store, and an error says that the store has not
// answered. Data is a Stored that is wholly in memory.
type Stored interface {
	// Read returns the value of a key, nil if there is none. The caller must not change it.
	Read(ctx context.Context, key string) ([]byte, error)

	// Known is Read without waiting; false if the store would have to be asked.
	Known(key string) (value []byte, known bool)

	// Scan yields the entries with keys from from, inclusive, to to, exclusive, in the order of their bytes or
	// backward. They are the present ones, until the next event is applied.
	Scan(ctx context.Context, from, to string, backward bool) Scan

	// Keys is Scan without the values: each value is some bytes, or none.
	Keys(ctx context.Context, from, to string, backward bool) Scan

	// Count returns the number of entries in a range.
	Count(ctx context.Context, from, to string) (int, error)

	// Size returns the bytes of keys and values, and SizeAfter the Size that the writes would lead to. For a large
	// object both also count bytes that have yet to be merged away.
	Size() int
	SizeAfter(writes []Write) int

	// Snapshot returns the entries in a range, as they are now. Later writes do not change it. If it is read long after
	// the object has replaced them, a read may fail because they are gone.
	Snapshot(from, to string) Stored
}

// Scan yields entries in order. It reports false at the end, and after an error.
type Scan interface {
	Next() (w Write, ok bool, err error)
}

// Read implements Stored.
func (d *Data) Read(_ context.Context, key string) ([]byte, error) {
	value, _ := d.Get(key)
	return value, nil
}

// Known implements Stored.
func (d *Data) Known(key string) ([]byte, bool) {
	value, _ := d.Get(key)
	return value, true
}

// Scan returns the present entries.
func (d *Data) Scan(_ context.Context, from, to string, backward bool) Scan {
	return &scan{d.between(from, to), backward}
}

// Keys is Scan.
func (d *Data) Keys(ctx context.Context, from, to string, backward bool) Scan {
	return d.Scan(ctx, from, to, backward)
}

// Snapshot returns a copy of a range.
func (d *Data) Snapshot(from, to string) Stored { return d.Copy(from, to) }

// Copy returns a copy of a range. It shares the values, which never change.
func (d *Data) Copy(from, to string) *Data {
	c := &Data{entries: slices.Clone(d.between(from, to))}
	for i := range c.entries {
		c.count(&c.entries[i], 1)
	}
	return c
}

// Count returns how many entries a range has.
func (d *Data) Count(_ context.Context, from, to string) (int, error) {
	return len(d.between(from, to)), nil
}

func (d *Data) between(from, to string) []entry {
	if from >= to {
		return nil
	}
	first, _ := d.find(from)
	last, _ := d.find(to)
	return d.entries[first:last]
}

// scan is a range of a Data.
type scan struct {
	entries  []entry
	backward bool
}

func (s *scan) Next() (Write, bool, error) {
	n := len(s.entries)
	if n == 0 {
		return Write{}, false, nil
	}
	e := s.entries[0]
	if s.backward {
		e, s.entries = s.entries[n-1], s.entries[:n-1]
	} else {
		s.entries = s.entries[1:]
	}
	return Write{e.key, e.value}, true, nil
}

// overlay is a scan with an event's own writes, which are sorted by key.
type overlay struct {
	kept     Scan
	own      []Write
	backward bool

	begun, more bool // more: next is the next entry of kept
	next        Write
}

func (o *overlay) Next() (w Write, ok bool, err error) {
	if !o.begun {
		if o.begun = true; o.backward {
			o.own = slices.Clone(o.own)
			slices.Reverse(o.own)
		}
		if o.next, o.more, err = o.kept.Next(); err != nil {
			return w, false, err
		}
	}
	for o.more || len(o.own) > 0 {
		order := -1 // next is before the first of own; 0: both have its key, and own counts
		if !o.more {
			order = 1
		} else if len(o.own) > 0 {
			order = strings.Compare(o.next.Key, o.own[0].Key)
			if o.backward {
				order = -order
			}
		}
		if order < 0 {
			w = o.next
		} else {
			w, o.own = o.own[0], o.own[1:]
		}
		if order <= 0 {
			if o.next, o.more, err = o.kept.Next(); err != nil {
				return Write{}, false, err
			}
		}
		if order < 0 || w.Value != nil {
			return w, true, nil
		}
	}
	return Write{}, false, nil
}

// between returns the writes, which are sorted by key, with keys from from, inclusive, to to, exclusive.
func between(writes []Write, from, to string) []Write {
	find := func(key string) int {
		i, _ := slices.BinarySearchFunc(writes, key, func(w Write, key string) int { return strings.Compare(w.Key, key) })
		return i
	}
	return writes[find(from):find(to)]
}
