package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects/host/internal/alarm"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
)

// memoryBus is NATS in memory: a published message reaches its subscribers at once.
type memoryBus struct {
	mu    sync.Mutex
	subs  []*memorySub
	gates map[string]*memoryGateway // by name
	block map[string]chan struct{}  // publishing to the subject waits for the channel
	flush time.Duration             // how long a flush takes
	sent  int
	down  bool // nothing is heard

	answers bool                                                 // whoever asks where nobody listens is told so
	drop    func(subject, reply string, data []byte) (drop bool) // nil: nothing is lost
	remade  chan nats.Status
	since   time.Time // when the connection was made anew; zero: never; mu guards it
}

type memorySub struct {
	bus            *memoryBus
	subject, group string
	to             chan *nats.Msg
	hear           nats.MsgHandler // instead of to
}

func newMemoryBus() *memoryBus {
	return &memoryBus{gates: make(map[string]*memoryGateway), block: make(map[string]chan struct{}), remade: make(chan nats.Status, 1)}
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
	if inbox, ok := strings.CutPrefix(subject, wire.InboxPrefix+"h."); ok {
		gateway, kind, _ := strings.Cut(inbox, ".")
		b.gateway(gateway).hear(kind, data)
	}
	b.mu.Lock()
	b.sent++
	drop := b.drop
	b.mu.Unlock()
	if drop != nil && drop(subject, reply, data) {
		return nil
	}
	if !b.deliver(&nats.Msg{Subject: subject, Reply: reply, Data: append([]byte(nil), data...)}) && reply != "" && b.answers {
		b.deliver(&nats.Msg{Subject: reply, Header: nats.Header{"Status": {"503"}}})
	}
	return nil
}

// deliver reports whether there is a subscriber.
func (b *memoryBus) deliver(msg *nats.Msg) (heard bool) {
	b.mu.Lock()
	had := make(map[string]bool)
	var hear []nats.MsgHandler
	for _, s := range b.subs {
		if !s.matches(msg.Subject) || s.group != "" && had[s.group] {
			continue
		}
		had[s.group], heard = true, true
		if s.hear != nil {
			hear = append(hear, s.hear)
			continue
		}
		select {
		case s.to <- msg:
		default: // as the client drops messages of a slow consumer
		}
	}
	b.mu.Unlock()
	for _, hear := range hear {
		hear(msg)
	}
	return heard
}

// memoryConn is a connection to the bus, as a client has one.
type memoryConn struct{ *memoryBus }

func (memoryConn) MaxPayload() int64 { return 1 << 20 }

func (c memoryConn) Subscribe(subject string, hear nats.MsgHandler) (*nats.Subscription, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs = append(c.subs, &memorySub{bus: c.memoryBus, subject: subject, hear: hear})
	return new(nats.Subscription), nil
}

func (b *memoryBus) Subscribe(subject, group string, to chan *nats.Msg) (subscription, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &memorySub{bus: b, subject: subject, group: group, to: to}
	b.subs = append(b.subs, s)
	return s, nil
}

func (s *memorySub) matches(subject string) bool {
	want, have := strings.Split(s.subject, "."), strings.Split(subject, ".")
	for i, token := range want {
		switch {
		case i >= len(have):
			return false
		case token == ">":
			return true
		case token != "*" && token != have[i]:
			return false
		}
	}
	return len(want) == len(have)
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

func (b *memoryBus) Connected() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.down
}

func (b *memoryBus) Connection(time.Time) (uint64, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return 0, b.since
}

// renew makes the connection one that was just made.
func (b *memoryBus) renew() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.since = time.Now()
}

func (b *memoryBus) setDown(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
	if !down {
		select {
		case b.remade <- nats.CONNECTED:
		default:
		}
	}
}

func (b *memoryBus) Remade() (<-chan nats.Status, func()) { return b.remade, func() {} }

func (b *memoryBus) Flush(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		return nats.ErrNoDeadlineContext
	}
	b.mu.Lock()
	d, down := b.flush, b.down
	b.mu.Unlock()
	if down { // as the client waits until it is connected again
		<-ctx.Done()
		return ctx.Err()
	}
	return sleep(ctx, d)
}

// gateway returns the twin of a gateway, made if need be.
func (b *memoryBus) gateway(name string) *memoryGateway {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.gates[name]
	if g == nil {
		g = &memoryGateway{name: name, bus: b, streams: make(map[string]*stream.Receiver), acked: make(map[string]uint64), closed: make(map[string]int), got: make(map[string][]string), cut: make(map[uint32]bool), accepted: make(map[uint32]wire.Accepted), lanes: make(map[uint32]laneHead)}
		b.gates[name] = g
	}
	return g
}

// memoryGateway is a gateway's half of streams.
type memoryGateway struct {
	name string
	bus  *memoryBus

	mu       sync.Mutex // guards what follows
	mute     bool       // it hears nothing
	asked    func()     // called before a question is answered
	streams  map[string]*stream.Receiver
	acked    map[string]uint64   // frames, by socket
	closed   map[string]int      // codes with which objects have closed sockets
	got      map[string][]string // messages, by socket
	cut      map[uint32]bool     // sockets that the stream has closed
	accepted map[uint32]wire.Accepted
	lanes    map[uint32]laneHead
	pushes   int
}

func (g *memoryGateway) silence() { g.setMute(true) }

func (g *memoryGateway) setMute(mute bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mute = mute
}

// laneHead says whose lane has a number.
type laneHead struct {
	object string
	token  uint64
}

func (g *memoryGateway) state(socket string) (acked uint64, code int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.acked[socket], g.closed[socket]
}

func (g *memoryGateway) stream(key string) *stream.Receiver {
	if g.streams[key] == nil {
		settings := stream.Defaults()
		settings.Ack = 0
		g.streams[key] = stream.NewReceiver(&settings)
	}
	return g.streams[key]
}

// hear handles one message as a gateway does.
func (g *memoryGateway) hear(kind string, data []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mute {
		return
	}
	now := time.Now()
	switch kind {
	case wire.Pushes:
		var p wire.LanePush
		if err := wire.Decode(data, &p); err != nil {
			panic(err)
		}
		g.pushes++
		g.lanes[p.Lane] = laneHead{p.Object, p.Token}
		r := g.stream(p.Object)
		push := stream.Push{Seq: p.Seq, Kind: stream.Kind(p.Kind)}
		for slot := range p.Slots.All() {
			push.Slots = append(push.Slots, stream.Slot(slot))
		}
		for _, h := range p.Heads {
			push.Heads = append(push.Heads, stream.Head{Gateway: stream.Mark(h.Of), Seq: h.Seq})
		}
		for _, body := range append([]wire.LaneBody{p.LaneBody}, p.Next...) {
			take, acts := r.Push(now, p.Token, push)
			for _, a := range acts {
				if a.Kind == stream.Cut {
					g.cut[uint32(a.Slot)] = true
				}
			}
			if take {
				g.take(r, &body)
			}
			push = stream.Push{Seq: push.Seq + 1, Kind: stream.More, Heads: push.Heads}
		}
		for _, a := range r.Tick(now) {
			if a.Kind == stream.AckAll {
				g.tell(wire.Acks, wire.Encode(&wire.LaneAcks{Gateway: g.name, Acks: []wire.Reached{{Of: p.Lane, Seq: a.Seq}}}))
			}
		}
	case wire.Heads:
		var heads wire.LaneHeads
		if err := wire.Decode(data, &heads); err != nil {
			panic(err)
		}
		for _, h := range heads.Heads {
			lane := g.lanes[h.Of]
			for _, a := range g.stream(lane.object).Probe(now, lane.token, h.Seq, false) {
				if a.Kind == stream.AskAgain {
					g.tell(wire.Acks, wire.Encode(&wire.LaneAcks{Gateway: g.name, Resend: []wire.Reached{{Of: h.Of, Seq: a.Seq}}}))
				}
			}
		}
	case wire.Whichs:
		var w wire.Which
		if err := wire.Decode(data, &w); err != nil {
			panic(err)
		}
		if g.asked != nil {
			g.asked()
		}
		held := wire.Held{Lane: w.Lane, Gateway: g.name, Object: w.Object, Token: w.Token, Region: "local"}
		answer, _ := g.stream(w.Object).Which(now, w.Token)
		for _, p := range answer.Positions {
			position := wire.LanePosition{Token: p.Token, Received: p.Received}
			for _, h := range p.Heads {
				position.Heads = append(position.Heads, wire.Reached{Of: uint32(h.Gateway), Seq: h.Seq})
			}
			held.Positions = append(held.Positions, position)
		}
		for _, s := range answer.Sockets {
			held.Sockets = append(held.Sockets, wire.LaneSocket{Slot: uint32(s.Slot), Acked: s.Acked, Accepted: g.accepted[uint32(s.Slot)]})
		}
		g.tell(wire.Hold, wire.Encode(&held))
	}
}

func (g *memoryGateway) take(r *stream.Receiver, p *wire.LaneBody) {
	for _, a := range p.Acks {
		r.Acked(stream.Slot(a.Of), a.Seq)
		g.acked[wire.SocketID(g.name, a.Of)] = a.Seq
	}
	for _, op := range p.Ops {
		for slot := range op.Slots.All() {
			switch op.Op {
			case wire.OpOpen:
				r.Accept(stream.Slot(slot))
				g.accepted[slot] = op.Accepted
			case wire.OpMessage:
				id := wire.SocketID(g.name, slot)
				g.got[id] = append(g.got[id], string(op.Data))
			case wire.OpClose:
				g.closed[wire.SocketID(g.name, slot)] = op.Code
			}
		}
	}
}

// tell tells every host: in a bubble one runs.
func (g *memoryGateway) tell(kind string, data []byte) {
	g.bus.mu.Lock()
	defer g.bus.mu.Unlock()
	for _, s := range g.bus.subs {
		if strings.HasPrefix(s.subject, wire.InboxPrefix+"l.") {
			s.to <- &nats.Msg{Subject: strings.TrimSuffix(s.subject, ">") + kind, Data: data}
		}
	}
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

// fault is the failure of one operation of the store.
type fault struct {
	Slow    time.Duration // before it is done
	Refuse  bool          // it is not done, and the answer says nothing
	LoseAck bool          // it is done, and the answer is lost
	Late    bool          // it is done only after the deadline
	SlowAck time.Duration // after it was done
	Reject  error         // it is not done: record.ErrRefused or one of its kind
}

// leastPatience is how long the clients of a busy store wait for a put.
const leastPatience = 200 * time.Millisecond

// memoryStore is the bucket of records in memory.
type memoryStore struct {
	mu       sync.Mutex
	entries  map[string]memoryEntry
	parts    map[string]map[state.Name][]byte // of large objects
	revision uint64
	faults   []fault // of the next operations, in order
	room     record.Room
	reads    int
	gets     int // of parts

	takes time.Duration // of each operation, one after the other
	free  time.Time     // when the next one begins at the earliest

	putting func(data []byte) // called before an entry is put; nil: nothing

	left int    // writes until stop is called
	stop func() // nil: the store goes on
}

type memoryEntry struct {
	value    []byte // nil: removed
	revision uint64
}

func newMemoryStore() *memoryStore {
	return &memoryStore{entries: make(map[string]memoryEntry), parts: make(map[string]map[state.Name][]byte)}
}

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

// turn returns how long it is until an operation that begins now has been done.
func (s *memoryStore) turn() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.free.Before(now) {
		s.free = now
	}
	s.free = s.free.Add(s.takes)
	return s.free.Sub(now)
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
	if err := sleep(ctx, f.Slow+s.turn()); err != nil || f.Refuse || f.LoseAck || f.Late {
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
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // as the true store's patience
	defer cancel()
	f := s.next()
	if turn := s.turn(); turn > leastPatience {
		time.AfterFunc(turn, func() { s.apply(key, value, expect) })
		return 0, fmt.Errorf("put record: %w", errors.Join(sleep(ctx, leastPatience), record.ErrDoubt))
	} else if err := sleep(ctx, f.Slow+turn); err != nil || f.Refuse {
		return 0, fmt.Errorf("put record: %w", errors.Join(err, record.ErrDoubt))
	}
	if f.Reject == nil && s.exhausted(key, value) {
		f.Reject = record.ErrFull
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
	case f.SlowAck > 0:
		return revision, sleep(context.Background(), f.SlowAck)
	case f.LoseAck:
		return 0, record.ErrDoubt
	}
	return revision, nil
}

// exhausted reports whether there is no room for an entry: it is larger than the one that it replaces.
func (s *memoryStore) exhausted(key string, value []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room == record.Exhausted && len(value) > len(s.entries[key].value)
}

func (s *memoryStore) apply(key string, value []byte, expect uint64) (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[key].revision != expect {
		return 0, false
	}
	s.revision++
	s.entries[key] = memoryEntry{value, s.revision}
	if s.stop != nil {
		if s.left--; s.left == 0 {
			s.stop()
		}
	}
	return s.revision, true
}

func (s *memoryStore) PutEntry(ctx context.Context, object string, name state.Name, data []byte) error {
	if s.putting != nil {
		s.putting(data)
	}
	f := s.next()
	if err := sleep(ctx, f.Slow); err != nil || f.Refuse {
		return fmt.Errorf("put entry: %w", errors.Join(err, record.ErrDoubt))
	}
	if f.Reject != nil {
		return fmt.Errorf("put entry: %w", f.Reject)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts[object] == nil {
		s.parts[object] = make(map[state.Name][]byte)
	}
	if old, there := s.parts[object][name]; there && !bytes.Equal(old, data) {
		panic(fmt.Sprintf("the name %s was given twice", name))
	}
	if s.parts[object][name] = data; f.LoseAck || f.Late {
		return record.ErrDoubt
	}
	return nil
}

func (s *memoryStore) GetEntry(ctx context.Context, object string, name state.Name) ([]byte, error) {
	f := s.next()
	if err := sleep(ctx, f.Slow); err != nil || f != (fault{Slow: f.Slow}) {
		return nil, fmt.Errorf("read entry: %w", errors.Join(err, record.ErrDoubt))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	data, there := s.parts[object][name]
	if !there {
		return nil, state.ErrMissing
	}
	return data, nil
}

func (s *memoryStore) ListEntries(_ context.Context, object string) (names []state.Name, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.parts[object] {
		names = append(names, name)
	}
	return names, nil
}

func (s *memoryStore) PurgeEntry(_ context.Context, object string, name state.Name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.parts[object], name)
	return nil
}

// record returns the stored record at once, whatever fails next; nil: there is none.
func (s *memoryStore) record(key string) *record.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[key].value == nil {
		return nil
	}
	rec, _ := record.Decode(key, s.entries[key].value)
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

// SetAgain is Set: the server's clock agrees with the host's.
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

// memoryLease is a lease that lapses and resumes on request.
type memoryLease struct {
	mu         sync.Mutex
	generation uint64
	lapsed     bool
	again      chan struct{} // closed while it is valid
}

func newMemoryLease() *memoryLease {
	l := &memoryLease{generation: 1, again: make(chan struct{})}
	close(l.again)
	return l
}

func (l *memoryLease) Valid() (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.generation, !l.lapsed
}

func (l *memoryLease) Again() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.again
}

func (l *memoryLease) lapse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.lapsed {
		l.lapsed, l.again = true, make(chan struct{})
	}
}

func (l *memoryLease) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lapsed {
		l.lapsed = false
		l.generation++
		close(l.again)
	}
}
