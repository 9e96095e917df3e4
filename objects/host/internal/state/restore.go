package state

import (
	"context"
	"math"
	"slices"
	"time"

	"holdfast/objects/internal/engine"
)

// Target is a past state, to which an object is to be put back.
type Target struct {
	at    Moment
	state *State // at the end of the last segment before it
	items []item // the changes from there

	// Set by Compare.
	dies  []Span // values apart that the present has, and the target does not
	lives []Span // the opposite
	died  map[Name]int
}

// Settle stops everything but commits, and makes the next put make a pin, as the first step of a restore. No merge is
// planned until Restore or Unsettle; one that is under way must end before. It reports false if the past is not kept.
func (s *State) Settle() bool {
	h := s.history
	if h == nil || h.keep == 0 || !h.begun {
		return false
	}
	if !h.notes() {
		h.resume(s.view.Load())
	}
	h.settled, h.due = true, true
	return true
}

// Unsettle ends what Settle has begun, if no Restore follows.
func (s *State) Unsettle() {
	if s.history != nil {
		s.history.settled = false
	}
}

// Past returns the history that the next head will have; nil: there is none.
func (s *State) Past() *History {
	h := s.history
	if h == nil || !h.begun {
		return nil
	}
	past := h.History
	return &past
}

// Restoring reports whether a restore waits for the next put.
func (s *State) Restoring() bool { return s.history != nil && s.history.restored > 0 }

// Prepare reads the state at a moment. It returns nil if the object has not changed since. Errors are those of
// OpenAt.
func Prepare(ctx context.Context, object string, h *History, home Home, at Moment, now time.Time) (*Target, error) {
	if at >= h.Last && !h.Ended {
		return nil, nil
	}
	s, items, err := h.open(ctx, object, home, at, now)
	if err != nil {
		return nil, err
	}
	return &Target{at: at, state: s, items: items, died: make(map[Name]int)}, nil
}

// HasApart reports whether the object has values that are apart.
func (s *State) HasApart() bool { return s.more != nil && s.more.blobs > 0 }

// refs returns all chunks of a view, by name.
func (v *view) refs() map[Name]*ref {
	all := make(map[Name]*ref)
	for _, r := range slices.Concat(slices.Concat(v.levels...), v.runs) {
		all[r.Name] = r
	}
	return all
}

// Compare determines which values that are apart the object has now and not at the target's moment, and the opposite.
// It reads the chunks that only one of the two has, if any chunk names such values; some is the result of HasApart.
// The state must be settled. The event loop calls it, without the object's lock.
func (s *State) Compare(ctx context.Context, t *Target, some bool) error {
	now, then := s.view.Load(), t.state.view.Load()
	has, had := make(map[Name]blob), make(map[Name]blob)
	if some {
		if err := now.apart(ctx, then.refs(), has); err != nil {
			return err
		}
	}
	if t.state.more != nil && t.state.more.blobs > 0 {
		if err := then.apart(ctx, now.refs(), had); err != nil {
			return err
		}
	}
	for _, it := range t.items {
		if it.kind == apart {
			b, err := parseBlob(it.value)
			if err != nil {
				return err
			}
			had[b.Name] = b
		}
	}
	t.dies, t.lives = nil, nil
	for name, b := range has {
		if _, both := had[name]; !both {
			t.dies = append(t.dies, b.Span)
			t.died[name] = b.size
		}
	}
	for name, b := range had {
		if _, both := has[name]; !both {
			t.lives = append(t.lives, b.Span)
		}
	}
	return nil
}

// apart collects the values that are apart in chunks that others does not have.
func (v *view) apart(ctx context.Context, others map[Name]*ref, into map[Name]blob) error {
	for name, r := range v.refs() {
		if others[name] != nil || r.segment != nil && !r.segment.Apart {
			continue
		}
		c, err := v.source.load(ctx, r)
		if err != nil {
			return err
		}
		for i := range c.n {
			it := c.item(i)
			if it.kind != apart {
				continue
			}
			b, err := parseBlob(it.value)
			if err != nil {
				return err
			}
			into[b.Name] = b
		}
	}
	return nil
}

// Restore puts the object back; the next put makes that durable. The runtime's keys stay as they are. The state must
// be settled, everything that was applied must have landed, and Compare must have been called since.
func (s *State) Restore(t *Target, token uint64, now time.Time) {
	h, v, m, then := s.history, s.view.Load(), s.more, t.state.view.Load()
	before := s.exchange(t, v, then)
	f := folding{name: Name{Token: token}, source: &source{Home: then.source.Home, object: then.source.object}}
	if len(t.items) > 0 {
		m.next++
		f.name.Number = m.next
	}
	blobs := before.blobs
	for _, it := range t.items {
		if it.kind == apart {
			if b, err := parseBlob(it.value); err == nil {
				blobs += int64(b.size)
			}
		}
		f.add(it)
	}
	f.flush()
	for _, r := range f.runs {
		r.commit = math.MaxUint64 // until the put that names it is decided on
	}
	h.pieces = f.pieces

	next := &view{new(engine.Data), &layers{source: then.source, runs: slices.Concat(then.runs, f.runs), levels: then.levels, reserved: v.reserved}}
	if next.reserved == nil {
		next.reserved = reservedOf(v.data)
	}
	m.manifest, m.above, m.below, m.blobs, m.gone = before.manifest, bytesOf(then.runs)+bytesOf(f.runs), before.below, blobs, 0
	clear(m.turn[:])
	for i := range m.dead {
		m.dead[i].manifest = false // this is another manifest
	}
	next.parts = m.parts()
	live := t.state.live.Load() + bytesOfItems(t.items)
	for key, value := range next.reserved.All() {
		if engine.Stays(key) {
			next.data.Apply([]engine.Write{{Key: key, Value: value}})
			live += int64(len(key) + len(value))
		}
	}
	if next.layered() {
		for key := range t.state.Reserved().All() {
			if _, stays := next.data.Get(key); engine.Stays(key) && !stays {
				m.del(next, key)
			}
		}
		s.live.Store(live)
	} else {
		next.reserved = nil
		s.live.Store(0)
	}
	h.restored, h.settled, h.due = t.at, false, false
	clear(h.changed)
	s.view.Store(next)
}

// exchange discards the entries that only the present names, and spares those that only the target names. It returns the
// target's more.
func (s *State) exchange(t *Target, v, then *view) (before *more) {
	h, m := s.history, s.more
	has, had := v.refs(), then.refs()
	for name, r := range has {
		if had[name] == nil {
			s.discard(garbage{Span: r.span(), size: r.size})
		}
	}
	for _, span := range t.dies {
		s.discard(garbage{Span: span, size: t.died[span.Name], blob: true})
	}
	lives := t.lives
	for name, r := range had {
		if has[name] == nil {
			lives = append(lives, r.span())
		}
	}
	before = new(more)
	if t.state.more != nil {
		before = t.state.more
	}
	if m.manifest != nil && (before.manifest == nil || before.manifest.Name != m.manifest.Name) {
		s.discard(garbage{Span: m.manifest.Span, size: m.manifest.Size})
	}
	if before.manifest != nil && (m.manifest == nil || before.manifest.Name != m.manifest.Name) {
		lives = append(lives, before.manifest.Span)
	}
	h.spared = joined(lives)
	names := make(map[Name]bool)
	namesOf(names, h.spared)
	h.Kept = less(h.Kept, names)
	return before
}

// reservedOf returns the runtime's keys of a journal.
func reservedOf(data *engine.Data) *engine.Data {
	reserved := new(engine.Data)
	for _, in := range reservedKeys {
		for key, value := range data.Between(in.from, in.to).All() {
			reserved.Apply([]engine.Write{{Key: key, Value: value}})
		}
	}
	return reserved
}

// landing notes the commit that names the results of a restore.
func (v *view) landing(commit uint64) {
	for _, r := range v.runs {
		if r.commit == math.MaxUint64 {
			r.commit = commit
		}
	}
}
