package state

import (
	"context"
	"slices"

	"holdfast/objects/internal/engine"
)

// stretch is a range of keys, from inclusive and to exclusive, with a direction.
type stretch struct {
	from, to string
	backward bool
}

// everything is the range of all keys: UTF-8 does not contain the byte that ends it.
var everything = stretch{to: "\xff"}

// layer yields the items of one part of a state in a range.
type layer interface {
	next() (it item, ok bool, err error)
}

// dataLayer yields the values of a journal.
type dataLayer struct{ scan engine.Scan }

func (l dataLayer) next() (item, bool, error) {
	w, ok, err := l.scan.Next()
	return item{w.Key, put, w.Value}, ok, err
}

// goneLayer yields the keys that a journal deletes.
type goneLayer struct{ keys []string }

func newGoneLayer(gone map[string]struct{}, s stretch) *goneLayer {
	var keys []string
	for key := range gone {
		if s.from <= key && key < s.to {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if s.backward {
		slices.Reverse(keys)
	}
	return &goneLayer{keys}
}

func (l *goneLayer) next() (item, bool, error) {
	if len(l.keys) == 0 {
		return item{}, false, nil
	}
	key := l.keys[0]
	l.keys = l.keys[1:]
	return item{key: key, kind: deleted}, true, nil
}

// chunksLayer yields the items of chunks in order. A chunk is loaded when it is reached.
type chunksLayer struct {
	ctx     context.Context
	source  *source
	refs    []*ref
	stretch stretch
	at      *chunk // nil: the next of refs has to be loaded
	i, end  int    // items of it that are left: from i to end
}

func (l *chunksLayer) next() (item, bool, error) {
	for l.at == nil || l.i == l.end {
		if len(l.refs) == 0 {
			return item{}, false, nil
		}
		r := l.refs[0]
		if l.stretch.backward {
			r = l.refs[len(l.refs)-1]
		}
		c, err := l.source.load(l.ctx, r)
		if err != nil {
			return item{}, false, err
		}
		if l.stretch.backward {
			l.refs = l.refs[:len(l.refs)-1]
		} else {
			l.refs = l.refs[1:]
		}
		l.at, l.i, l.end = c, c.find(l.stretch.from), c.find(l.stretch.to)
	}
	if l.stretch.backward {
		l.end--
		return l.at.item(l.end), true, nil
	}
	l.i++
	return l.at.item(l.i - 1), true, nil
}

// merged yields the items of several layers in one order. Of items with the same key it yields only that of the
// newest layer.
type merged struct {
	stretch stretch
	layers  []layer // the newest first
	heads   []item
	live    []bool // heads has the layer's next item
	begun   bool
	over    func(item) // called with items that a newer one hides; may be nil
}

func (m *merged) begin() error {
	m.begun = true
	m.heads, m.live = make([]item, len(m.layers)), make([]bool, len(m.layers))
	for i := range m.layers {
		if err := m.advance(i); err != nil {
			return err
		}
	}
	return nil
}

func (m *merged) advance(i int) (err error) {
	m.heads[i], m.live[i], err = m.layers[i].next()
	return err
}

func (m *merged) next() (item, bool, error) {
	if !m.begun {
		if err := m.begin(); err != nil {
			return item{}, false, err
		}
	}
	best := -1
	for i, live := range m.live {
		if live && (best < 0 || m.before(m.heads[i].key, m.heads[best].key)) {
			best = i
		}
	}
	if best < 0 {
		return item{}, false, nil
	}
	it := m.heads[best]
	for i := best; i < len(m.layers); i++ {
		if !m.live[i] || m.heads[i].key != it.key {
			continue
		}
		if i != best && m.over != nil {
			m.over(m.heads[i])
		}
		if err := m.advance(i); err != nil {
			return item{}, false, err
		}
	}
	return it, true, nil
}

func (m *merged) before(a, b string) bool {
	if m.stretch.backward {
		return a > b
	}
	return a < b
}

// scan is merged without deleted keys, and with the values that are apart.
type scan struct {
	ctx    context.Context
	view   *view
	merged merged
	keys   bool // values that are apart are not read
}

// Next implements engine.Scan.
func (s *scan) Next() (engine.Write, bool, error) {
	if !s.merged.begun {
		if err := s.view.source.hold(s.ctx, s.view.runs); err != nil {
			return engine.Write{}, false, err
		}
	}
	for {
		it, ok, err := s.merged.next()
		if !ok || err != nil {
			return engine.Write{}, false, err
		}
		if it.kind == deleted {
			continue
		}
		if s.keys {
			return engine.Write{Key: it.key, Value: it.value}, true, nil
		}
		value, err := s.view.source.value(s.ctx, it.kind, it.value)
		return engine.Write{Key: it.key, Value: value}, err == nil, err
	}
}

// value returns the value of an item that is not deleted.
func (s *source) value(ctx context.Context, k kind, value []byte) ([]byte, error) {
	if k != apart {
		return value, nil
	}
	b, err := parseBlob(value)
	if err != nil {
		return nil, err
	}
	return s.blob(ctx, b)
}
