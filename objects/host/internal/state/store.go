package state

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Store keeps the entries of objects beside their records. object is the key of the object's record.
type Store interface {
	// PutEntry writes an entry. If the entry exists, nothing changes and the result is nil: one name always has the
	// same content. After any other error the entry may or may not exist.
	PutEntry(ctx context.Context, object string, name Name, data []byte) error
	// GetEntry returns the entry, or ErrMissing.
	GetEntry(ctx context.Context, object string, name Name) ([]byte, error)
	// ListEntries returns the names of all entries of an object.
	ListEntries(ctx context.Context, object string) ([]Name, error)
	// PurgeEntry removes an entry for good. A missing entry is no error.
	PurgeEntry(ctx context.Context, object string, name Name) error
}

// ErrMissing: there is no such entry.
var ErrMissing = errors.New("there is no such entry")

// inFlight is how many entries of one object are read or written at a time.
const inFlight = 4

// Cache keeps chunks and blobs of a host's objects in memory, the most recently used ones, up to a number of bytes. A
// nil Cache keeps nothing.
type Cache struct {
	most int

	mu    sync.Mutex // guards what follows
	size  int
	used  list.List // of cached, the most recently used in front
	items map[cacheKey]*list.Element
}

type cacheKey struct {
	object string
	name   Name
}

type cached struct {
	key   cacheKey
	chunk *chunk // nil: a blob
	blob  []byte
}

// overhead is the memory of an item beyond its content.
const overhead = 200

func (c *cached) size() int {
	if c.chunk != nil {
		return overhead + len(c.chunk.block)
	}
	return overhead + len(c.blob)
}

// NewCache makes a Cache of at most most bytes.
func NewCache(most int) *Cache {
	return &Cache{most: most, items: make(map[cacheKey]*list.Element)}
}

// Size returns the bytes in use.
func (c *Cache) Size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

func (c *Cache) get(object string, name Name) (cached, bool) {
	if c == nil {
		return cached{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.items[cacheKey{object, name}]
	if e == nil {
		return cached{}, false
	}
	c.used.MoveToFront(e)
	return *e.Value.(*cached), true
}

// add adds an item, unless it would take an eighth of the whole Cache.
func (c *Cache) add(item cached) {
	if c == nil || item.size() > c.most/8 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items[item.key] != nil {
		return
	}
	c.items[item.key] = c.used.PushFront(&item)
	for c.size += item.size(); c.size > c.most; {
		c.drop(c.used.Back())
	}
}

func (c *Cache) forget(object string, name Name) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.items[cacheKey{object, name}]; e != nil {
		c.drop(e)
	}
}

func (c *Cache) drop(e *list.Element) {
	item := c.used.Remove(e).(*cached)
	delete(c.items, item.key)
	c.size -= item.size()
}

// source reads the parts of one object.
type source struct {
	Home
	object string
	quiet  bool            // loaded parts do not go into the cache
	fresh  map[Name][]byte // blobs that may not be in the store yet, by their first names; never changed
}

// ref is a chunk that the object has.
type ref struct {
	Name
	size        int // bytes of its block
	first, last string
	bounded     bool                   // first and last are known
	held        atomic.Pointer[chunk]  // in memory as long as the object is; nil: in the cache, or in the store only
	commit      uint64                 // the first commit that names it
	segment     *Segment               // the segment that the chunk is made from; nil: the chunk is an entry
	index       atomic.Pointer[[]byte] // of the segment; nil: it has none, or it has not been read
}

// refOf returns a run of a head as a ref.
func refOf(run Run) *ref {
	r := &ref{Name: run.Name, size: run.Size}
	if run.Last > 0 {
		r.segment = &run
	}
	return r
}

// run undoes refOf.
func (r *ref) run() Run {
	if r.segment != nil {
		return *r.segment
	}
	return Run{Extent: Extent{r.span(), r.size}}
}

// span returns all entries of the chunk.
func (r *ref) span() Span {
	if r.segment != nil {
		return r.segment.all()
	}
	return Span{r.Name, 1}
}

// lacks reports whether the chunk certainly does not have a key.
func (r *ref) lacks(key string) bool {
	if r.bounded && (key < r.first || key > r.last) {
		return true
	}
	index := r.index.Load()
	return index != nil && !mayHave(*index, key)
}

// reaches reports whether the chunk may have a key in a range.
func (r *ref) reaches(from, to string) bool { return !r.bounded || r.first < to && from <= r.last }

// newRef returns a new chunk as a ref. With hold the chunk stays in memory, otherwise it goes into the cache.
func (s *source) newRef(name Name, c *chunk, first, last string, hold bool) *ref {
	r := &ref{Name: name, size: len(c.block), first: first, last: last, bounded: true}
	if hold {
		r.held.Store(c)
	} else {
		s.Cache.add(cached{key: cacheKey{s.object, name}, chunk: c})
	}
	return r
}

// known returns the chunk if it is in memory, else nil.
func (s *source) known(r *ref) *chunk {
	if c := r.held.Load(); c != nil {
		return c
	}
	item, _ := s.Cache.get(s.object, r.Name)
	return item.chunk
}

// load returns the chunk, reading it from the store if it is not in memory.
func (s *source) load(ctx context.Context, r *ref) (*chunk, error) {
	if c := s.known(r); c != nil {
		return c, nil
	}
	c, err := s.fetch(ctx, r)
	switch {
	case err != nil || s.quiet:
	case r.segment != nil:
		r.held.Store(c) // a merge will soon replace it, or everything is soon dropped
	default:
		s.Cache.add(cached{key: cacheKey{s.object, r.Name}, chunk: c})
	}
	return c, err
}

func (s *source) fetch(ctx context.Context, r *ref) (*chunk, error) {
	if r.segment != nil {
		changes, err := s.log(ctx, *r.segment, 0)
		if err != nil {
			return nil, err
		}
		return chunkOf(changes)
	}
	data, err := s.get(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	return unsealChunk(s.object, r.Name, data)
}

// get returns an entry that the object names. A missing one is ErrDamaged.
func (s *source) get(ctx context.Context, name Name) ([]byte, error) {
	data, err := s.Store.GetEntry(ctx, s.object, name)
	if errors.Is(err, ErrMissing) {
		return nil, fmt.Errorf("%w: %s is missing", ErrDamaged, name)
	}
	return data, err
}

// hold loads the chunks that are not in memory, a few at a time, and keeps them.
func (s *source) hold(ctx context.Context, refs []*ref) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight)
	for _, r := range refs {
		if r.held.Load() != nil {
			continue
		}
		g.Go(func() error {
			c, err := s.fetch(ctx, r)
			if err == nil {
				r.held.Store(c)
			}
			return err
		})
	}
	return g.Wait()
}

// indices reads the indices of chunks that are segments, given oldest first. Usually the newest entry has those of
// the segments before it.
func (s *source) indices(ctx context.Context, refs []*ref) error {
	for len(refs) > 0 {
		var ask []*ref
		for i := len(refs) - 1; i >= 0; i -= refs[i].segment.Indices {
			ask = append(ask, refs[i])
		}
		read := make([][]index, len(ask))
		g, reading := errgroup.WithContext(ctx)
		g.SetLimit(4 * inFlight) // they are small
		for i, r := range ask {
			g.Go(func() (err error) {
				read[i], err = s.indicesOf(reading, r)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		sums := make(map[Name][]byte, len(refs))
		for _, of := range read {
			for _, i := range of {
				sums[i.segment] = i.sums
			}
		}
		var rest []*ref // a restore, or another owner, has put other runs between them
		for _, r := range refs {
			if index, ok := sums[r.Name]; ok {
				r.index.Store(&index)
			} else {
				rest = append(rest, r)
			}
		}
		refs = rest
	}
	return nil
}

// indicesOf reads the entry beside a segment. The segment's own index is the last one.
func (s *source) indicesOf(ctx context.Context, r *ref) ([]index, error) {
	name := r.segment.part(r.segment.Parts)
	data, err := s.get(ctx, name)
	if err == nil {
		data, err = unseal(indexEntry, s.object, name, sizes.chunk, data)
	}
	if err != nil {
		return nil, err
	}
	all, err := decodeIndices(data)
	if err == nil && all[len(all)-1].segment != r.Name {
		err = errIndices
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return all, nil
}

// knownBlob returns the value of a blob that is in memory.
func (s *source) knownBlob(b blob) ([]byte, bool) {
	if value, ok := s.fresh[b.Name]; ok {
		return value, true
	}
	item, ok := s.Cache.get(s.object, b.Name)
	return item.blob, ok && item.blob != nil
}

// blob returns the value of a blob.
func (s *source) blob(ctx context.Context, b blob) ([]byte, error) {
	if value, ok := s.knownBlob(b); ok {
		return value, nil
	}
	value, err := s.assemble(ctx, b.Span, blobEntry, b.size)
	if err == nil {
		s.Cache.add(cached{key: cacheKey{s.object, b.Name}, blob: value})
	}
	return value, err
}

// assemble reads the parts of a value, which has size bytes in all.
func (s *source) assemble(ctx context.Context, span Span, what byte, size int) ([]byte, error) {
	out := make([]byte, size)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight)
	for i := range span.Parts {
		g.Go(func() error {
			data, err := s.get(ctx, span.part(i))
			if err != nil {
				return err
			}
			part, err := unseal(what, s.object, span.part(i), sizes.chunk, data)
			begin := int(i) * sizes.chunk
			if err == nil && len(part) != min(size-begin, sizes.chunk) {
				err = fmt.Errorf("%w: %s: its length", ErrDamaged, span.part(i))
			}
			if err == nil {
				copy(out[begin:], part)
			}
			return err
		})
	}
	return out, g.Wait()
}

// Piece is an entry that must be written before the head that names it.
type Piece struct {
	Name
	what    byte
	content []byte
	landed  bool // it is in the store
}

// cutUp splits content that is too large for one entry into pieces.
func cutUp(what byte, first Name, content []byte) (Span, []*Piece) {
	span := Span{first, 0}
	var pieces []*Piece
	for begin := 0; begin < len(content); begin += sizes.chunk {
		pieces = append(pieces, &Piece{Name: span.part(span.Parts), what: what, content: content[begin:min(len(content), begin+sizes.chunk)]})
		span.Parts++
	}
	return span, pieces
}

// write writes the pieces that have not landed, a few at a time, and returns when all have.
func (s *source) write(ctx context.Context, pieces []*Piece) error {
	if len(pieces) == 1 { // the common case
		return s.writeOne(ctx, pieces[0])
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight)
	for _, p := range pieces {
		g.Go(func() error { return s.writeOne(ctx, p) })
	}
	return g.Wait()
}

func (s *source) writeOne(ctx context.Context, p *Piece) error {
	if p.landed {
		return nil
	}
	err := s.Store.PutEntry(ctx, s.object, p.Name, seal(p.what, s.object, p.Name, p.content))
	p.landed = err == nil
	return err
}
