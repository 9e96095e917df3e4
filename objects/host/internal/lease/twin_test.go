package lease

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"time"
)

// twin is the Store in memory. It can answer late, lose what it is told or its answer,
// lose everything, and stop telling those who watch.
type twin struct {
	mu         sync.Mutex
	generation Generation
	entries    map[string]Entry
	watching   map[int]func(Entry)
	watches    int

	// before and after run around a write, with its number; an error ends it.
	before, after func(ctx context.Context, n int) error
	writes        int
}

var errSilent = errors.New("no answer")

func newTwin() *twin {
	nothing := func(context.Context, int) error { return nil }
	return &twin{generation: Generation{Created: time.Now()}, entries: make(map[string]Entry), watching: make(map[int]func(Entry)), before: nothing, after: nothing}
}

func silent(ctx context.Context) error {
	<-ctx.Done()
	return errSilent
}

func (s *twin) write(ctx context.Context, e Entry, expect uint64) (uint64, error) {
	s.mu.Lock()
	s.writes++
	n := s.writes
	s.mu.Unlock()
	if err := s.before(ctx, n); err != nil {
		return 0, err
	}
	s.mu.Lock()
	if s.entries[e.Incarnation].Revision != expect {
		s.mu.Unlock()
		return 0, ErrStale
	}
	s.generation.Last++
	e.Revision = s.generation.Last
	s.entries[e.Incarnation] = e
	for _, each := range s.watching {
		each(e)
	}
	s.mu.Unlock()
	return e.Revision, s.after(ctx, n)
}

func (s *twin) Put(ctx context.Context, incarnation string, value []byte, expect uint64) (uint64, error) {
	var info Info
	if err := json.Unmarshal(value, &info); err != nil {
		return 0, err
	}
	return s.write(ctx, Entry{Incarnation: incarnation, State: Present, Beat: info.Beat}, expect)
}

func (s *twin) Remove(ctx context.Context, incarnation string, expect uint64) error {
	_, err := s.write(ctx, Entry{Incarnation: incarnation, State: Ended}, expect)
	return err
}

func (s *twin) Read(_ context.Context, incarnation string) (Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[incarnation]
	e.Incarnation = incarnation
	return e, nil
}

func (s *twin) Generation(context.Context) (Generation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generation, nil
}

func (s *twin) Watch(ctx context.Context, each func(Entry)) error {
	s.mu.Lock()
	for _, e := range s.entries {
		each(e)
	}
	each(Entry{})
	s.watches++
	me := s.watches
	s.watching[me] = each
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	delete(s.watching, me)
	s.mu.Unlock()
	return ctx.Err()
}

// blind has those who watch hear no more, without a word.
func (s *twin) blind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.watching)
}

// forget makes the bucket anew, which also ends what others watch.
func (s *twin) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation = Generation{Created: time.Now()}
	clear(s.entries)
	clear(s.watching)
}

func (s *twin) all() map[string]Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.entries)
}

// loopback is the Echo in memory: it takes a millisecond, and loses the messages that
// lost says, by number from 1.
type loopback struct {
	sent int
	lost func(n int) bool
}

func (l *loopback) Send() (<-chan struct{}, error) {
	l.sent++
	came := make(chan struct{})
	if l.lost == nil || !l.lost(l.sent) {
		time.AfterFunc(time.Millisecond, func() { close(came) })
	}
	return came, nil
}
