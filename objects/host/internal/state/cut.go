package state

import (
	"context"
	"maps"
	"slices"
	"time"

	"holdfast/objects/internal/engine"
)

// Put describes the put for which a state is cut.
type Put struct {
	Object string
	Token  uint64 // the token of the owner's claim
	Commit uint64
	Wide   func() bool // whether every host reads heads that name entries; asked only if the object has outgrown its record
	Head   bool        // a head is needed, even if the journal has everything
	Last   bool        // the put gives the object up
	Now    time.Time
}

// Before is what must be done at the store before a put is sent.
type Before struct {
	source  *source
	pieces  []*Piece
	collect orphans
}

// Cut returns the head for a put, of everything that was applied so far; nil if the journal has
// everything. Before is nil if nothing must be done first. From then on Journal returns the put's
// journal.
func (s *State) Cut(p Put, home Home) (*Head, *Before) {
	v, m := s.view.Load(), s.more
	size := v.data.Size()
	if m != nil {
		size += m.gone
	}
	var before *Before
	changed, pin := s.begin(p)
	switch {
	case p.Last:
		s.shrink(v)
		layered := s.view.Load().layered()
		if m != nil && (s.untidy || len(m.losses) > 0 && !layered) {
			before = s.tidied(p, home)
		}
		if m != nil && !layered && s.Past() == nil {
			m.losses = nil // any entry that is found when the object outgrows its record again is an orphan
		}
	case v.layered() && (size > sizes.journal || size > 0 && (pin || s.bloated(v))), size > sizes.small && p.Wide():
		if s.more == nil {
			s.more = new(more)
		}
		if s.more.next == 0 { // no head has named an entry: entries that exist are orphans
			s.untidy = true
		}
		if before = new(Before); s.untidy || len(s.more.losses) > 0 && !s.sought {
			before = s.tidied(p, home)
		}
		before.pieces = s.fold(v, p, home)
		before.source = s.view.Load().source
	}
	before = s.record(p, home, changed, pin, before)
	return s.head(p), before
}

// head returns the head of the present state.
func (s *State) head(p Put) *Head {
	v, m := s.view.Load(), s.more
	if m == nil && p.Head {
		m = new(more)
		s.more = m
	}
	if m == nil || !v.layered() && len(m.dead) == 0 && m.job == nil && !s.untidy && len(m.losses) == 0 && !p.Head && s.Past() == nil {
		return nil
	}
	h := &Head{
		Next: m.next, Live: s.live.Load(), Manifest: m.manifest, Below: m.below, Blobs: m.blobs,
		Gone: slices.Sorted(maps.Keys(v.gone)), Losses: m.losses, History: s.Past(),
	}
	switch {
	case m.job != nil:
		h.Job = m.job.number
	case s.untidy:
		h.Job = m.claimed.job
	}
	if len(v.runs) > 0 {
		h.Runs = make([]Run, len(v.runs))
	}
	for i, r := range v.runs {
		h.Runs[i] = r.run()
	}
	for i := range m.dead {
		if !m.dead[i].manifest {
			h.Dead = append(h.Dead, m.dead[i].Span)
		}
	}
	for i := len(m.dead) - 1; i >= 0 && m.dead[i].commit == 0 && m.dead[i].since.IsZero(); i-- {
		m.dead[i].commit = p.Commit
	}
	return h
}

// fold turns the journal into chunks, and begins an empty journal.
func (s *State) fold(v *view, p Put, home Home) []*Piece {
	m := s.more
	m.next++
	f := folding{name: Name{Token: p.Token, Number: m.next}, commit: p.Commit, source: &source{Home: home, object: p.Object, fresh: make(map[Name][]byte)}}
	if !v.layered() {
		s.live.Store(0)
		for key, value := range v.data.All() {
			s.live.Add(int64(len(key) + len(value)))
		}
	}
	all := merged{stretch: everything, layers: []layer{dataLayer{v.data.Scan(context.Background(), everything.from, everything.to, false)}, newGoneLayer(v.gone, everything)}}
	for it, ok, _ := all.next(); ok; it, ok, _ = all.next() {
		if it.kind == put && len(it.value) >= sizes.blob {
			m.blobs += int64(len(it.value))
			it = f.apart(it)
			s.history.apartAt(it)
		}
		f.add(it)
	}
	f.flush()
	for _, r := range f.runs {
		m.above += int64(r.size)
	}
	m.gone = 0
	if len(f.source.fresh) == 0 {
		f.source.fresh = nil
	}
	reserved := v.reserved
	if reserved == nil {
		reserved = reservedOf(v.data)
	}
	s.view.Store(&view{data: new(engine.Data), source: f.source, runs: slices.Concat(v.runs, f.runs), levels: v.levels, parts: m.parts(), reserved: reserved})
	return f.pieces
}

// folding is a fold in progress.
type folding struct {
	name   Name // of the next entry
	commit uint64
	source *source
	b      builder
	runs   []*ref
	pieces []*Piece
}

func (f *folding) add(it item) {
	if f.b.full(it) {
		f.flush()
	}
	f.b.add(it)
}

// apart cuts a value into pieces, and returns the chunk's item for it.
func (f *folding) apart(it item) item {
	span, pieces := cutUp(blobEntry, f.name, it.value)
	f.source.fresh[span.Name] = it.value
	f.name.Part += span.Parts
	f.pieces = append(f.pieces, pieces...)
	return item{it.key, apart, blob{span, len(it.value)}.append(nil)}
}

func (f *folding) flush() {
	if len(f.b.at) == 0 {
		return
	}
	first, last := f.b.first, f.b.last
	c := f.b.finish()
	r := f.source.newRef(f.name, c, first, last, true)
	r.commit = f.commit
	f.runs = append(f.runs, r)
	f.pieces = append(f.pieces, &Piece{Name: f.name, what: chunkEntry, content: c.block})
	f.name.Part++
}

// shrink turns an object that has become small again into a journal. All of the object must be in
// memory.
func (s *State) shrink(v *view) {
	m := s.more
	if m == nil || !v.layered() || m.job != nil || m.blobs > 0 || m.above+m.below > sizes.whole {
		return
	}
	refs := slices.Concat(slices.Concat(v.levels...), v.runs)
	if slices.ContainsFunc(refs, func(r *ref) bool { return r.held.Load() == nil }) {
		return
	}
	var writes []engine.Write
	all := merged{stretch: everything, layers: v.layersOf(context.Background(), everything)}
	size := 0
	for {
		it, ok, err := all.next()
		if err != nil {
			return
		}
		if !ok {
			break
		}
		if it.kind == deleted {
			continue
		}
		if size += len(it.key) + len(it.value); size > sizes.small {
			return
		}
		writes = append(writes, engine.Write{Key: it.key, Value: slices.Clone(it.value)}) // the chunk will be dropped
	}
	data := new(engine.Data)
	if data.Apply(writes); data.Size() > sizes.small {
		return
	}
	for _, r := range refs {
		s.discard(garbage{Span: r.span(), size: r.size})
	}
	if m.manifest != nil {
		s.discard(garbage{Span: m.manifest.Span, size: m.manifest.Size})
	}
	for i := range m.dead {
		m.dead[i].manifest = false // the manifest is dropped
	}
	m.manifest, m.above, m.below, m.gone = nil, 0, 0, 0
	s.live.Store(0)
	s.view.Store(&view{data: data})
}

// discard notes entries that no later head names.
func (m *more) discard(g garbage) { m.dead = append(m.dead, g) }

// Landed notes that a commit has landed.
func (s *State) Landed(commit uint64, now time.Time) {
	m := s.more
	if m == nil {
		return
	}
	m.landed = commit
	for i := len(m.dead) - 1; i >= 0 && m.dead[i].since.IsZero(); i-- {
		if g := &m.dead[i]; g.commit > 0 && g.commit <= commit {
			g.since = now
		}
	}
	v := s.view.Load()
	if v.source == nil || v.source.fresh == nil || v.runs[len(v.runs)-1].commit > commit {
		return
	}
	next := *v
	next.source = &source{Home: v.source.Home, object: v.source.object}
	for name, value := range v.source.fresh {
		next.source.Cache.add(cached{key: cacheKey{next.source.object, name}, blob: value})
	}
	s.view.Store(&next)
}

// Doomed returns the entries that may be purged now: the first head that does not name them landed
// long enough ago, or too many wait. They are not returned again before Purged was called.
func (s *State) Doomed(now time.Time, after time.Duration) (spans []Span) {
	if s.more == nil {
		return nil
	}
	waits := 0
	for i := range s.more.dead {
		waits += s.more.dead[i].size
	}
	for i := range s.more.dead {
		g := &s.more.dead[i]
		if g.since.IsZero() || now.Sub(g.since) < after && waits <= sizes.garbage {
			break
		}
		waits -= g.size
		spans = append(spans, g.Span)
	}
	return spans
}

// Purged notes that the first n spans that Doomed returned are gone.
func (s *State) Purged(n int) { s.more.dead = slices.Delete(s.more.dead, 0, n) }

// orphans identifies entries that dead owners have left behind.
type orphans []Loss // the oldest first

// has reports whether an entry is an orphan: it was written before an owner was lost, and neither
// the head that was claimed then nor any later one has named it. Numbers rise from claim to claim,
// so a head names none above its Next.
func (o orphans) has(n Name) bool {
	for _, l := range o {
		if n.Token < l.Claim {
			return n.Number > l.Next || n.Number == l.Job
		}
	}
	return false
}

// tidied adds the collection of orphans to a put. Orphans of a lost owner are looked for again in
// later claims: entries that the owner had sent may arrive late.
func (s *State) tidied(p Put, home Home) *Before {
	m := s.more
	if s.untidy {
		loss := Loss{Claim: p.Token, Next: m.claimed.next, Job: m.claimed.job}
		m.losses = append(slices.Clone(m.losses[max(0, len(m.losses)+1-maxLosses):]), loss)
	}
	s.untidy, s.sought = false, true
	return &Before{source: &source{Home: home, object: p.Object}, collect: m.losses}
}

// Do does what must be done. It may be called again after an error.
func (b *Before) Do(ctx context.Context) error {
	if len(b.collect) > 0 {
		if err := b.source.collect(ctx, b.collect); err != nil {
			return err
		}
		b.collect = nil
	}
	return b.source.write(ctx, b.pieces)
}

// Folds reports whether the put writes a run.
func (b *Before) Folds() bool { return len(b.pieces) > 0 }

// Bytes returns how many bytes the put writes beside the record, before compression.
func (b *Before) Bytes() (n int) {
	for _, p := range b.pieces {
		n += len(p.content)
	}
	return n
}

// collect purges orphans.
func (s *source) collect(ctx context.Context, o orphans) error {
	names, err := s.Store.ListEntries(ctx, s.object)
	if err != nil {
		return err
	}
	for _, n := range names {
		if !o.has(n) {
			continue
		}
		if err := s.Store.PurgeEntry(ctx, s.object, n); err != nil {
			return err
		}
	}
	return nil
}

// Purge purges entries, and returns how many spans are gone, from the first on: after an error not
// all.
func Purge(ctx context.Context, object string, home Home, spans []Span) (int, error) {
	for gone, span := range spans {
		for i := range span.Parts {
			home.Cache.forget(object, span.part(i))
			if err := home.Store.PurgeEntry(ctx, object, span.part(i)); err != nil {
				return gone, err
			}
		}
	}
	return len(spans), nil
}
