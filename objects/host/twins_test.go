package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/objects/host/internal/alarm"
	"holdfast/objects/host/internal/record"
)

// memoryBus is NATS in memory: what is published is at its subscribers at once.
type memoryBus struct {
	mu      sync.Mutex
	subs    []*memorySub
	answers map[string]func(*nats.Msg) []byte // of questions, by subject; none: nobody answers
	block   map[string]chan struct{}          // publishing to the subject waits for the channel
	flush   time.Duration                     // how long a flush takes
	sent    int
}

type memorySub struct {
	bus            *memoryBus
	subject, group string
	to             chan *nats.Msg
}

func newMemoryBus() *memoryBus {
	return &memoryBus{answers: make(map[string]func(*nats.Msg) []byte), block: make(map[string]chan struct{})}
}

func (b *memoryBus) Publish(subject string, data []byte) error {
	return b.PublishRequest(subject, "", data)
}

func (b *memoryBus) PublishRequest(subject, reply string, data []byte) error {
	b.mu.Lock()
	wait := b.block[subject]
	b.mu.Unlock()
	if wait != nil {
		<-wait
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent++
	had := make(map[string]bool)
	for _, s := range b.subs {
		if s.matches(subject) && (s.group == "" || !had[s.group]) {
			had[s.group] = true
			select {
			case s.to <- &nats.Msg{Subject: subject, Reply: reply, Data: append([]byte(nil), data...)}:
			default: // as the client drops messages of a slow consumer
			}
		}
	}
	return nil
}

func (b *memoryBus) Subscribe(subject, group string, to chan *nats.Msg) (subscription, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &memorySub{b, subject, group, to}
	b.subs = append(b.subs, s)
	return s, nil
}

func (s *memorySub) matches(subject string) bool {
	prefix, wild := strings.CutSuffix(s.subject, ">")
	return subject == s.subject || wild && strings.HasPrefix(subject, prefix)
}

func (s *memorySub) Unsubscribe() {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	for i, other := range s.bus.subs {
		if other == s {
			s.bus.subs = append(s.bus.subs[:i:i], s.bus.subs[i+1:]...)
			return
		}
	}
}

func (s *memorySub) Drain() { s.Unsubscribe() }

func (b *memoryBus) setFlush(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flush = d
}

func (b *memoryBus) Flush(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		return nats.ErrNoDeadlineContext
	}
	b.mu.Lock()
	d := b.flush
	b.mu.Unlock()
	return sleep(ctx, d)
}

func (b *memoryBus) Ask(ctx context.Context, subject string, data []byte) (*nats.Msg, error) {
	b.mu.Lock()
	answer := b.answers[subject]
	b.mu.Unlock()
	if answer == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &nats.Msg{Data: answer(&nats.Msg{Subject: subject, Data: data})}, nil
}

func (b *memoryBus) onAsk(subject string, answer func(*nats.Msg) []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers[subject] = answer
}

func sleep(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fault is what goes wrong with one operation of the store.
type fault struct {
	Slow    time.Duration // before it is done
	Refuse  bool          // it is not done, and the answer says nothing
	LoseAck bool          // it is done, and the answer is lost
	Late    bool          // it is done only after the deadline
	Reject  error         // it is not done: record.ErrRefused or one of its kind
}

// memoryStore is the bucket of records in memory.
type memoryStore struct {
	mu       sync.Mutex
	entries  map[string]memoryEntry
	revision uint64
	faults   []fault // of the next operations, in order
	room     record.Room
	reads    int
}

type memoryEntry struct {
	value    []byte // nil: removed
	revision uint64
}

func newMemoryStore() *memoryStore { return &memoryStore{entries: make(map[string]memoryEntry)} }

func (s *memoryStore) next() (f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) > 0 {
		f, s.faults = s.faults[0], s.faults[1:]
	}
	return f
}

func (s *memoryStore) fail(faults ...fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

func (s *memoryStore) Room() record.Room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room
}

func (s *memoryStore) Usage() record.Usage { return record.Usage{Bytes: 95, Limit: 100} }

func (s *memoryStore) setRoom(r record.Room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = r
}

func (s *memoryStore) Read(ctx context.Context, key string) (*record.Record, uint64, error) {
	f := s.next()
	if err := sleep(ctx, f.Slow); err != nil || f.Refuse || f.LoseAck || f.Late {
		return nil, 0, fmt.Errorf("read record: %w", errors.Join(err, record.ErrDoubt))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	s.reads++
	if e.value == nil {
		return nil, e.revision, nil
	}
	rec, err := record.Decode(key, e.value)
	return rec, e.revision, err
}

func (s *memoryStore) Put(ctx context.Context, key string, value []byte, expect uint64) (uint64, error) {
	return s.write(ctx, key, value, expect)
}

func (s *memoryStore) Remove(ctx context.Context, key string, expect uint64) (uint64, error) {
	return s.write(ctx, key, nil, expect)
}

func (s *memoryStore) write(ctx context.Context, key string, value []byte, expect uint64) (uint64, error) {
	f := s.next()
	if err := sleep(ctx, f.Slow); err != nil || f.Refuse {
		return 0, fmt.Errorf("put record: %w", errors.Join(err, record.ErrDoubt))
	}
	if f.Reject != nil {
		return 0, fmt.Errorf("put record: %w", f.Reject)
	}
	if f.Late {
		<-ctx.Done()
		time.AfterFunc(time.Millisecond, func() { s.apply(key, value, expect) })
		return 0, fmt.Errorf("put record: %w: %w", record.ErrDoubt, ctx.Err())
	}
	revision, ok := s.apply(key, value, expect)
	switch {
	case !ok:
		return 0, record.ErrStale
	case f.LoseAck:
		return 0, record.ErrDoubt
	}
	return revision, nil
}

func (s *memoryStore) apply(key string, value []byte, expect uint64) (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[key].revision != expect {
		return 0, false
	}
	s.revision++
	s.entries[key] = memoryEntry{value, s.revision}
	return s.revision, true
}

func (s *memoryStore) record(key string) *record.Record {
	rec, _, _ := s.Read(context.Background(), key)
	return rec
}

// memoryClock notes wake-ups, and wakes nobody.
type memoryClock struct {
	mu  sync.Mutex
	set map[string]time.Time
}

func newMemoryClock() *memoryClock { return &memoryClock{set: make(map[string]time.Time)} }

func (c *memoryClock) Set(_ context.Context, key string, at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set[key] = at
	return nil
}

// SetAgain is Set by a clock of the server's that agrees with ours.
func (c *memoryClock) SetAgain(ctx context.Context, key string, at time.Time) error {
	return c.Set(ctx, key, alarm.Again(at, time.Now()))
}

func (c *memoryClock) Clear(_ context.Context, key string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.set, key)
	return nil
}

func (c *memoryClock) Follow(ctx context.Context, _ string, _ *slog.Logger, _ func(context.Context, string) error) {
	<-ctx.Done()
}
