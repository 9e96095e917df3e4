package state

import (
	"context"
	"slices"
	"strings"
)

// Job is one merge: its inputs and its results.
type Job struct {
	source *source
	name   Name   // of the next entry
	number uint64 // the number of its entries
	runs   []*ref // newest last; they follow each other
	older  bool   // some runs are older than these
	upper  []*ref // chunks of the level above the target
	to     int    // the target level, counted from 1; 0: the result is a run
	levels [][]*ref
	dead   []Span // for the manifest
	before *Extent
	keeps  bool // the past may need entries that the merge discards

	// The results of the merge.
	made     []*ref
	lower    []*ref // of level to, inputs as well
	garbage  []garbage
	manifest *Extent
	blobs    int64 // bytes of the discarded values that are apart
	written  int
}

// Bytes returns how many bytes the job has written.
func (j *Job) Bytes() int { return j.written }

// level returns the n-th, counted from 1; empty if there is none.
func level(levels [][]*ref, n int) []*ref {
	if n > len(levels) {
		return nil
	}
	return levels[n-1]
}

// room returns the size in bytes up to which a level may grow.
func room(n int) int64 {
	most := sizes.firstLevel
	for range n - 1 {
		most *= 10
	}
	return most
}

// Runs returns how many runs were written since the object was last put back, and not merged into levels since.
func (s *State) Runs() (n int) {
	for _, r := range slices.Backward(s.view.Load().runs) {
		if r.segment != nil {
			break
		}
		n++
	}
	return n
}

// Plan returns the merge that is due, nil for none. It is under way until Install or Abandon.
func (s *State) Plan(object string, token uint64, home Home) *Job {
	v, m := s.view.Load(), s.more
	if m == nil || m.job != nil || s.untidy || s.history != nil && s.history.settled {
		return nil
	}
	j := &Job{levels: v.levels, before: m.manifest, keeps: s.history != nil}
	landed := 0
	for landed < len(v.runs) && v.runs[landed].commit <= m.landed {
		landed++
	}
	runs := v.runs[:landed]
	dead := 0
	for i := range m.dead {
		if !m.dead[i].manifest {
			dead++
		}
	}
	small := 0
	for small < len(runs) && runs[len(runs)-1-small].size <= sizes.smallRun {
		small++
	}
	switch deep := s.overfull(v); {
	case len(runs) >= manyRuns, len(runs) > 0 && bytesOf(runs) > sizes.runs:
		j.runs, j.to = oldest(runs), 1
	case deep > 0:
		j.upper, j.to = s.choose(v, deep, min(bytesOf(v.levels[deep-1])-room(deep), sizes.merge)), deep+1
	case s.bloated(v) && len(runs) > 0:
		j.runs, j.to = oldest(runs), 1
	case s.bloated(v) && shallow(v) > 0:
		j.to = shallow(v) + 1
		j.upper = s.choose(v, j.to-1, sizes.merge)
	case small >= fewRuns:
		j.runs, j.older = runs[len(runs)-small:], len(runs) > small
	case dead > manyDead && len(v.levels) > 0:
		j.to = len(v.levels) // nothing moves to that level
	default:
		return nil
	}
	m.next++
	j.number, j.name = m.next, Name{Token: token, Number: m.next}
	j.source = &source{Home: home, object: object, quiet: true}
	if j.to > 0 {
		for i := range m.dead {
			m.dead[i].job = j.number
			j.dead = append(j.dead, m.dead[i].Span)
		}
	}
	m.job = j
	return j
}

// oldest returns as many of the oldest runs as one merge takes: after a restore there may be many.
func oldest(runs []*ref) []*ref {
	n := 1
	for size := runs[0].size; n < len(runs); n++ {
		if size += runs[n].size; int64(size) > sizes.merge {
			break
		}
	}
	return runs[:n]
}

// overfull returns the first level that has more bytes than it may; 0: none.
func (s *State) overfull(v *view) int {
	for n := 1; n < maxLevels; n++ {
		if bytesOf(level(v.levels, n)) > room(n) {
			return n
		}
	}
	return 0
}

// bloated reports whether most of the stored bytes were overwritten or deleted.
func (s *State) bloated(v *view) bool { return v.parts > 4*int(s.live.Load())+sizes.small }

// shallow returns the first level with chunks above another level; 0: none.
func shallow(v *view) int {
	for n := 1; n < len(v.levels); n++ { // the last level has chunks
		if len(v.levels[n-1]) > 0 {
			return n
		}
	}
	return 0
}

// choose picks the chunks of a level for the next merge: so many bytes, from where the last merge of the level has
// ended.
func (s *State) choose(v *view, n int, excess int64) (refs []*ref) {
	all := v.levels[n-1]
	first := slices.IndexFunc(all, func(r *ref) bool { return r.first > s.more.turn[n] })
	first = max(first, 0)
	for _, r := range all[first:] {
		if excess <= 0 {
			break
		}
		refs = append(refs, r)
		excess -= int64(r.size)
	}
	s.more.turn[n] = refs[len(refs)-1].last
	return refs
}

// Run carries out the merge. It changes only memory and the store, not the state. After an error the job must be
// abandoned.
func (j *Job) Run(ctx context.Context) error {
	if err := j.source.hold(ctx, j.runs); err != nil {
		return err
	}
	inputs := slices.Concat(j.runs, j.upper)
	var first, last string
	for i, r := range inputs {
		from, to := r.first, r.last
		if !r.bounded {
			c := r.held.Load()
			from, to = string(c.key(0)), string(c.key(c.n-1))
		}
		if i == 0 || from < first {
			first = from
		}
		last = max(last, to)
	}
	if len(inputs) > 0 && j.to > 0 {
		j.lower = slices.Clone(within(level(j.levels, j.to), first, last))
	}
	switch {
	case len(inputs) == 0:
	case len(j.lower) == 0 && j.moves(inputs):
		j.made = slices.Clone(inputs)
		slices.SortFunc(j.made, func(a, b *ref) int { return strings.Compare(a.first, b.first) })
	default:
		if err := j.merge(ctx, first, last); err != nil {
			return err
		}
		for _, r := range slices.Concat(inputs, j.lower) {
			j.garbage = append(j.garbage, garbage{Span: r.span(), size: r.size})
		}
	}
	if j.to == 0 {
		return nil
	}
	return j.writeManifest(ctx)
}

// moves reports whether chunks may move to a level unchanged: they do not overlap, and are large.
func (j *Job) moves(inputs []*ref) bool {
	if j.to == 0 {
		return false
	}
	if bytesOf(inputs) < int64(len(inputs)*sizes.chunk/2) && len(j.runs) > 0 {
		return false
	}
	refs := slices.Clone(inputs)
	slices.SortFunc(refs, func(a, b *ref) int { return strings.Compare(a.first, b.first) })
	for i, r := range refs {
		if !r.bounded || i > 0 && refs[i-1].last >= r.first {
			return false
		}
	}
	return true
}

// merge writes the chunks that result from the inputs.
func (j *Job) merge(ctx context.Context, first, last string) error {
	all := merged{stretch: everything, over: j.discard}
	for _, r := range slices.Backward(j.runs) {
		all.layers = append(all.layers, &chunksLayer{ctx: ctx, source: j.source, refs: []*ref{r}, stretch: everything})
	}
	for _, refs := range [][]*ref{j.upper, j.lower} {
		all.layers = append(all.layers, &chunksLayer{ctx: ctx, source: j.source, refs: refs, stretch: everything})
	}
	drop := !j.older
	for n := j.to + 1; n <= len(j.levels); n++ {
		drop = drop && len(within(j.levels[n-1], first, last)) == 0
	}
	var b builder
	var pieces []*Piece
	flush := func(wait bool) error {
		if len(b.at) > 0 {
			from, to := b.first, b.last
			c := b.finish()
			pieces = append(pieces, &Piece{Name: j.name, what: chunkEntry, content: c.block})
			j.made = append(j.made, j.source.newRef(j.name, c, from, to, j.to == 0))
			j.name.Part++
			j.written += len(c.block)
		}
		if len(pieces) < inFlight && !wait {
			return nil
		}
		err := j.source.write(ctx, pieces)
		pieces = nil
		return err
	}
	for {
		it, ok, err := all.next()
		if err != nil {
			return err
		}
		if !ok {
			return flush(true)
		}
		if it.kind == deleted && drop {
			continue
		}
		if b.full(it) {
			if err := flush(false); err != nil {
				return err
			}
		}
		b.add(it)
	}
}

// discard notes the entries of an item that a newer one hides.
func (j *Job) discard(it item) {
	if it.kind != apart {
		return
	}
	if b, err := parseBlob(it.value); err == nil {
		j.blobs += int64(b.size)
		j.garbage = append(j.garbage, garbage{Span: b.Span, size: b.size, blob: true})
	}
}

// writeManifest writes the names of the levels after the job.
func (j *Job) writeManifest(ctx context.Context) error {
	levels := make([][]*ref, max(len(j.levels), j.to))
	copy(levels, j.levels)
	without := func(refs, gone []*ref) []*ref {
		return slices.DeleteFunc(slices.Clone(refs), func(r *ref) bool { return slices.Contains(gone, r) })
	}
	if len(j.upper) > 0 {
		levels[j.to-2] = without(levels[j.to-2], j.upper)
	}
	into := append(without(levels[j.to-1], j.lower), j.made...)
	slices.SortFunc(into, func(a, b *ref) int { return strings.Compare(a.first, b.first) })
	levels[j.to-1] = into
	for len(levels) > 0 && len(levels[len(levels)-1]) == 0 {
		levels = levels[:len(levels)-1]
	}
	j.levels = levels
	if j.before != nil {
		j.garbage = append(j.garbage, garbage{Span: j.before.Span, size: j.before.Size})
	}
	if len(levels) == 0 {
		return nil
	}
	for i := range j.garbage {
		if !j.keeps {
			j.garbage[i].manifest = true
			j.dead = append(j.dead, j.garbage[i].Span)
		}
	}
	encoded := (&manifest{levels, j.dead}).encode()
	span, pieces := cutUp(manifestEntry, j.name, encoded)
	j.name.Part += span.Parts
	j.written += len(encoded)
	j.manifest = &Extent{span, len(encoded)}
	return j.source.write(ctx, pieces)
}

// Install puts the results of a job into the state. The next head names them.
func (s *State) Install(j *Job) {
	v, m := s.view.Load(), s.more
	next := *v
	if len(j.runs) > 0 {
		first := slices.Index(v.runs, j.runs[0])
		var made []*ref
		if j.to == 0 {
			made = j.made
		}
		next.runs = slices.Concat(v.runs[:first], made, v.runs[first+len(j.runs):])
	}
	if j.to > 0 {
		next.levels = j.levels
		m.manifest, m.below = j.manifest, bytesOf(j.levels...)
		for i := range m.dead {
			m.dead[i].manifest = j.manifest != nil && m.dead[i].job == j.number
		}
	}
	m.above = bytesOf(next.runs)
	m.blobs -= j.blobs
	for _, g := range j.garbage {
		s.discard(g)
	}
	m.job = nil
	next.parts = m.parts()
	whole := m.above+m.below <= sizes.whole
	for _, r := range slices.Concat(next.levels...) {
		if whole {
			if c := v.source.known(r); c != nil {
				r.held.Store(c)
			}
		} else if c := r.held.Swap(nil); c != nil {
			v.source.Cache.add(cached{key: cacheKey{v.source.object, r.Name}, chunk: c})
		}
	}
	if !next.layered() {
		m.gone, next.gone = 0, nil // there is nothing to delete
	}
	s.view.Store(&next)
}

// Abandon ends a job that has failed. The entries that it has written are dead.
func (s *State) Abandon(j *Job) {
	if parts := j.name.Part; parts > 0 {
		s.more.discard(garbage{Span: Span{Name{j.name.Token, j.number, 0}, parts}, size: j.written})
	}
	s.more.job = nil
}
