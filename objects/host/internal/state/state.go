package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"holdfast/objects/internal/engine"
)

// State is an object's storage at the host that owns it. The object's lock must be held for Apply, Cut, Plan,
// Install, Abandon, Landed, Doomed and Purged. The event loop, which also applies, reads without it.
type State struct {
	view   atomic.Pointer[view]
	more   *more        // nil while the object has never been more than a journal
	live   atomic.Int64 // bytes of keys and values of an object with chunks: exact while every overwritten value is known, else more
	untidy bool         // the owner before may have left entries behind that no head names
	sought bool         // entries of dead owners were looked for

	history *history // nil: the past is not kept
}

// view is a state as reads see it. Only the journal of a view changes.
type view struct {
	data *engine.Data // the journal's values
	*layers
}

// layers are what a state has below its journal. Views share them: a view is copied (view.copy) before its layers change.
type layers struct {
	gone   map[string]struct{} // the keys that the journal deletes; empty for a state without layers
	source *source
	runs   []*ref   // the newest last
	levels [][]*ref // each sorted by keys
	parts  int      // bytes of all chunks and blobs

	// The runtime's keys except blobs and pages, wherever they are stored; nil while the journal has all of them.
	// Hosts need them and cannot wait for the store.
	reserved *engine.Data
}

// noLayers are the layers of a state that is only a journal.
var noLayers layers

// copy returns a view that may be changed. What the layers refer to is shared.
func (v *view) copy() *view {
	copied := *v.layers
	return &view{v.data, &copied}
}

func (v *view) layered() bool { return len(v.runs) > 0 || len(v.levels) > 0 }

// hold loads the runs, and the indices of large segments, into memory: nearly every read needs them.
func (v *view) hold(ctx context.Context) error {
	var runs, large []*ref
	for _, r := range v.runs {
		switch {
		case r.held.Load() != nil || r.index.Load() != nil:
		case r.segment != nil && r.segment.Indices > 0:
			large = append(large, r)
		default:
			runs = append(runs, r)
		}
	}
	if len(runs) == 0 && len(large) == 0 {
		return nil
	}
	if err := v.source.hold(ctx, runs); err != nil {
		return err
	}
	return v.source.indices(ctx, large)
}

// more is the part of a state that only an object with parts needs.
type more struct {
	next     uint64 // the last number that was assigned
	job      *Job   // the merge under way; nil: none
	manifest *Extent
	below    int64 // bytes of the levels' chunks
	above    int64 // and of the runs'
	blobs    int64 // and of values that are apart
	gone     int   // bytes of the keys that the journal deletes
	dead     []garbage
	landed   uint64            // the last commit known to have landed
	turn     [maxLevels]string // where the next merge of each level begins
	claimed  claimed
	losses   []Loss // of earlier owners; while the state is untidy, without the last one
}

// parts returns the bytes of all chunks and blobs.
func (m *more) parts() int { return int(m.above + m.below + m.blobs) }

// claimed has the numbers of the head that was claimed.
type claimed struct{ next, job uint64 }

// garbage is entries that no head names any more.
type garbage struct {
	Span
	size     int
	commit   uint64    // the first commit that does not name them; 0: not decided yet
	since    time.Time // when that commit landed; zero: it has not
	manifest bool      // the manifest lists them
	job      uint64    // the job whose manifest will list them
	blob     bool      // they are a value that was apart
}

// New returns the state of an object that is only a journal. The state owns data from then on.
func New(data *engine.Data) *State {
	s := new(State)
	s.view.Store(&view{data, &noLayers})
	return s
}

// reservedKeys are the ranges of the keys that stay (engine.Stays).
var reservedKeys = []stretch{
	{from: engine.Reserved, to: engine.Blobs}, {from: engine.After(engine.Blobs), to: engine.Pages},
	{from: engine.After(engine.Pages), to: engine.After(engine.Reserved)},
}

// Reserved returns the runtime's keys except blobs and pages, and perhaps others. Only Apply may change it.
func (s *State) Reserved() *engine.Data {
	v := s.view.Load()
	if v.reserved != nil {
		return v.reserved
	}
	return v.data
}

// Home is where the entries of a host's objects are stored.
type Home struct {
	Store Store
	Cache *Cache // may be nil
}

// Open reads what a head names, as far as it is needed to begin: the manifest, and all of an object that is not
// large. Errors that are ErrDamaged say that the object cannot be read; others say that the store has not answered.
// untidy says that the previous owner has died.
func Open(ctx context.Context, object string, head *Head, data *engine.Data, home Home, untidy bool, now time.Time) (*State, error) {
	s := New(data)
	s.untidy = untidy || head != nil && head.Job != 0
	if head == nil {
		return s, nil
	}
	src := &source{object: object, Home: home}
	v := &view{data, &layers{source: src}}
	m := &more{next: head.Next, manifest: head.Manifest, below: head.Below, blobs: head.Blobs, claimed: claimed{head.Next, head.Job}, losses: head.Losses}
	for _, r := range head.Runs {
		v.runs = append(v.runs, refOf(r))
		m.above += int64(r.Size)
	}
	for _, key := range head.Gone {
		m.del(v, key)
	}
	dead := head.Dead
	if e := head.Manifest; e != nil {
		encoded, err := src.assemble(ctx, e.Span, manifestEntry, e.Size)
		if err != nil {
			return nil, err
		}
		list, err := decodeManifest(encoded)
		if err != nil {
			return nil, err
		}
		if bytesOf(list.levels...) != head.Below {
			return nil, fmt.Errorf("%w: the manifest has not as many bytes as the head says", ErrDamaged)
		}
		v.levels = list.levels
		named := make(map[Name]bool)
		namesOf(named, list.dead)
		dead = less(dead, named) // a restore that brought the manifest back left them in the head
		for _, span := range list.dead {
			m.dead = append(m.dead, garbage{Span: span, size: sizes.chunk, since: now, manifest: true})
		}
	}
	for _, span := range dead {
		m.dead = append(m.dead, garbage{Span: span, size: sizes.chunk, since: now})
	}
	if head.History != nil {
		var err error
		if s.history, err = openHistory(ctx, src, head.History); err != nil {
			return nil, err
		}
	}
	v.parts = m.parts()
	s.live.Store(head.Live)
	s.view.Store(v)
	s.more = m
	if err := v.hold(ctx); err != nil {
		return nil, err
	}
	v.reserved = new(engine.Data)
	own := v.copy() // segments have no keys that stay
	own.runs = slices.DeleteFunc(slices.Clone(v.runs), func(r *ref) bool { return r.segment != nil })
	for _, in := range reservedKeys {
		all := merged{stretch: in, layers: own.layersOf(ctx, in)}
		for {
			it, ok, err := all.next()
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			if it.kind == deleted {
				continue
			}
			value, err := src.value(ctx, it.kind, it.value)
			if err != nil {
				return nil, err
			}
			v.reserved.Apply([]engine.Write{{Key: it.key, Value: value}})
		}
	}
	if m.above+m.below <= sizes.whole {
		if err := src.hold(ctx, slices.Concat(slices.Concat(v.levels...), v.runs)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// add and del note which keys the journal deletes.
func (m *more) del(v *view, key string) {
	if _, gone := v.gone[key]; gone {
		return
	}
	if v.gone == nil {
		v.gone = make(map[string]struct{})
	}
	v.gone[key] = struct{}{}
	m.gone += len(key) + len(`"",`)
}

func (m *more) add(v *view, key string) {
	if _, gone := v.gone[key]; gone {
		delete(v.gone, key)
		m.gone -= len(key) + len(`"",`)
	}
}

// Apply applies the writes of an event.
func (s *State) Apply(writes []engine.Write) {
	v := s.view.Load()
	if s.history != nil {
		s.history.touch(writes)
	}
	if v.reserved != nil {
		for _, w := range writes {
			if engine.Stays(w.Key) {
				v.reserved.Apply([]engine.Write{w})
			}
		}
	}
	if !v.layered() {
		v.data.Apply(writes)
		return
	}
	s.live.Add(int64(v.grows(writes)))
	v.data.Apply(writes)
	for _, w := range writes {
		if w.Value == nil {
			s.more.del(v, w.Key)
		} else {
			s.more.add(v, w.Key)
		}
	}
}

// Size returns the size of keys and values in bytes. For a large object it may be too high: values that were
// overwritten without being read count until they are merged away.
func (s *State) Size() int {
	v := s.view.Load()
	if !v.layered() {
		return v.data.Size()
	}
	return min(int(s.live.Load()), v.data.Size()+v.parts)
}

// SizeAfter returns the Size that the writes would lead to.
func (s *State) SizeAfter(writes []engine.Write) int {
	v := s.view.Load()
	if !v.layered() {
		return v.data.SizeAfter(writes)
	}
	return s.Size() + v.grows(writes)
}

// grows returns how many bytes the writes add.
func (v *view) grows(writes []engine.Write) (n int) {
	for _, w := range writes {
		if n -= v.sizeOf(w.Key); w.Value != nil {
			n += len(w.Key) + len(w.Value)
		}
	}
	return n
}

// sizeOf returns the size of a key and its value; 0 if there is none, or if only the store knows.
func (v *view) sizeOf(key string) (n int) {
	if value, ok := v.data.Get(key); ok {
		return len(key) + len(value)
	}
	_, _, _ = v.deep(context.Background(), key, v.source.memory, func(_ context.Context, k kind, value []byte) ([]byte, error) {
		if n = len(key) + len(value); k == apart {
			b, err := parseBlob(value)
			n = len(key) + b.size
			return nil, err
		}
		return nil, nil
	})
	return n
}

// memory is load for chunks in memory only.
func (s *source) memory(_ context.Context, r *ref) (*chunk, error) {
	if c := s.known(r); c != nil {
		return c, nil
	}
	return nil, errUnknown
}

// Read returns the value of a key, nil if there is none.
func (s *State) Read(ctx context.Context, key string) ([]byte, error) {
	v := s.view.Load()
	if value, ok := v.data.Get(key); ok || !v.layered() {
		return value, nil
	}
	if err := v.hold(ctx); err != nil {
		return nil, err
	}
	value, _, err := v.deep(ctx, key, v.source.load, v.source.value)
	return value, err
}

// Known is Read without the store. It reports false if the store would be needed.
func (s *State) Known(key string) ([]byte, bool) {
	v := s.view.Load()
	if value, ok := v.data.Get(key); ok || !v.layered() {
		return value, true
	}
	value := func(_ context.Context, k kind, value []byte) ([]byte, error) {
		if k != apart {
			return value, nil
		}
		b, err := parseBlob(value)
		if value, ok := v.source.knownBlob(b); ok {
			return value, err
		}
		return nil, errUnknown
	}
	got, _, err := v.deep(context.Background(), key, v.source.memory, value)
	return got, err == nil
}

var errUnknown = errors.New("the store would have to be asked")

// deep looks for a key below the journal's values.
func (v *view) deep(ctx context.Context, key string, load func(context.Context, *ref) (*chunk, error), value func(context.Context, kind, []byte) ([]byte, error)) ([]byte, bool, error) {
	if _, gone := v.gone[key]; gone {
		return nil, false, nil
	}
	look := func(r *ref) (found []byte, ok bool, err error) {
		if r.lacks(key) {
			return nil, false, nil
		}
		c, err := load(ctx, r)
		if err != nil {
			return nil, false, err
		}
		k, raw, ok := c.get(key)
		if !ok || k == deleted {
			return nil, ok, nil
		}
		found, err = value(ctx, k, raw)
		return found, true, err
	}
	for _, r := range slices.Backward(v.runs) {
		if found, ok, err := look(r); ok || err != nil {
			return found, ok, err
		}
	}
	for _, level := range v.levels {
		for _, r := range within(level, key, key) {
			if found, ok, err := look(r); ok || err != nil {
				return found, ok, err
			}
		}
	}
	return nil, false, nil
}

// Scan returns the entries in a range of keys, as they are now.
func (s *State) Scan(ctx context.Context, from, to string, backward bool) engine.Scan {
	v := s.view.Load()
	if !v.layered() {
		return v.data.Scan(ctx, from, to, backward)
	}
	in := stretch{from, to, backward}
	return &scan{ctx: ctx, view: v, merged: merged{stretch: in, layers: v.layersOf(ctx, in)}}
}

// Keys is Scan without the values that are apart.
func (s *State) Keys(ctx context.Context, from, to string, backward bool) engine.Scan {
	v := s.view.Load()
	if !v.layered() {
		return v.data.Keys(ctx, from, to, backward)
	}
	in := stretch{from, to, backward}
	return &scan{ctx: ctx, view: v, merged: merged{stretch: in, layers: v.layersOf(ctx, in)}, keys: true}
}

// Snapshot returns a range as it is now. Its chunks and values are read when they are needed.
func (s *State) Snapshot(from, to string) engine.Stored {
	v := s.view.Load()
	kept := v.copy()
	kept.data, kept.gone, kept.reserved = v.data.Copy(from, to), nil, nil
	for key := range v.gone {
		if from <= key && key < to {
			if kept.gone == nil {
				kept.gone = make(map[string]struct{})
			}
			kept.gone[key] = struct{}{}
		}
	}
	snapshot := new(State)
	snapshot.view.Store(kept)
	return snapshot
}

// Count returns how many entries a range has. It reads all of their chunks.
func (s *State) Count(ctx context.Context, from, to string) (n int, err error) {
	v := s.view.Load()
	if !v.layered() {
		return v.data.Count(ctx, from, to)
	}
	if err := v.source.hold(ctx, v.runs); err != nil {
		return 0, err
	}
	in := stretch{from: from, to: to}
	for all := (merged{stretch: in, layers: v.layersOf(ctx, in)}); ; {
		it, ok, err := all.next()
		if !ok || err != nil {
			return n, err
		}
		if it.kind != deleted {
			n++
		}
	}
}

// layersOf returns the layers of a range, newest first.
func (v *view) layersOf(ctx context.Context, in stretch) []layer {
	if in.from >= in.to {
		return nil
	}
	layers := []layer{dataLayer{v.data.Scan(ctx, in.from, in.to, in.backward)}, newGoneLayer(v.gone, in)}
	for i := range v.runs {
		r := v.runs[len(v.runs)-1-i]
		if r.reaches(in.from, in.to) {
			layers = append(layers, &chunksLayer{ctx: ctx, source: v.source, refs: []*ref{r}, stretch: in})
		}
	}
	for _, level := range v.levels {
		refs := slices.DeleteFunc(slices.Clone(level), func(r *ref) bool { return !r.reaches(in.from, in.to) })
		layers = append(layers, &chunksLayer{ctx: ctx, source: v.source, refs: refs, stretch: in})
	}
	return layers
}

// Large reports whether the object has, or had, parts. It needs the object's lock.
func (s *State) Large() bool { return s.more != nil }

// Layered reports whether the object has chunks.
func (s *State) Layered() bool { return s.view.Load().layered() }

// Empty reports whether nothing is stored, here or in entries that have yet to be purged.
func (s *State) Empty() bool {
	v := s.view.Load()
	return v.data.Len() == 0 && !v.layered() && (s.more == nil || len(s.more.dead) == 0)
}

// Journal returns the journal for the head.
func (s *State) Journal() *engine.Data { return s.view.Load().data }
