package record

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Usage is the used and the allowed size of the store.
type Usage struct {
	Bytes, Limit uint64 // Limit 0: none is known
}

// Full reports whether events must stop writing. The last twentieth is for writes that must go on: claims, releases,
// deletes.
func (u Usage) Full() bool { return u.Limit > 0 && u.Bytes >= u.Limit-u.Limit/20 }

// fuller returns the usage of which the smaller share is left.
func (u Usage) fuller(other Usage) Usage {
	switch {
	case other.Limit == 0:
		return u
	case u.Limit == 0, float64(other.Bytes)/float64(other.Limit) > float64(u.Bytes)/float64(u.Limit):
		return other
	}
	return u
}

// Room says whether the store accepts events' writes.
type Room int

// The values of Room.
const (
	Free      Room = iota
	Full           // the store is nearly full: there is room again when something is deleted or a limit is raised
	Exhausted      // the store has refused a put for want of room, and would refuse the next one, too
	Stuck          // the store answers requests but no puts: its disk was full, and its server has to be restarted
)

func (r Room) String() string { return [...]string{"free", "full", "exhausted", "stuck"}[r] }

// Scarce reports whether there is more room when something is deleted.
func (r Room) Scarce() bool { return r == Full || r == Exhausted }

// stuckAfter is how long a store that answers questions may leave all puts unanswered.
const stuckAfter = 3 * time.Second

// refusal is a put's refusal for want of room. The limit may be one that no API shows, such as the server's own.
type refusal struct {
	at    time.Time
	bytes uint64 // at the first reading after the refusal; 0: not read yet
	limit uint64 // at that reading or, if none was known then, at the one before the refusal; 0: none was known
}

// again is the time after which puts are tried again after a refusal, or a silence, if nothing else has changed.
const again = 30 * time.Second

// least is the room for which it is worth while to put anything.
const least = 4 << 10

// stands reports whether a put would still find no room. If no limit is known, nor has one been lifted since, the
// refusal stands while it is recent and little was deleted since.
func (r refusal) stands(u Usage, now time.Time) bool {
	switch {
	case r.at.IsZero():
		return false
	case u.Limit > 0:
		return u.Bytes+least > u.Limit
	}
	return r.limit == 0 && now.Sub(r.at) < again && u.Bytes >= r.bytes-r.bytes/100
}

// silence is a series of puts that were not answered; the zero silence is none.
type silence struct {
	since, last time.Time // of the first put and of the last
}

// longer returns the silence with one more put. A put that was lost long ago does not count.
func (s silence) longer(now time.Time) silence {
	if s.since.IsZero() || now.Sub(s.last) >= again {
		s.since = now
	}
	s.last = now
	return s
}

// lasts reports whether a put would not be answered now either. A single lost put does not prove that. When nobody has
// put for a while, events may try: otherwise nobody would notice that puts are answered again, if all objects stay
// where they are.
func (s silence) lasts(now time.Time) bool {
	return s.last.Sub(s.since) >= stuckAfter && now.Sub(s.last) < again
}

// judge returns the room of a store that has just answered a request for its usage. With replicas, a silent server is
// replaced by another.
func judge(u Usage, last refusal, puts silence, now time.Time, replicas int) Room {
	switch {
	case puts.lasts(now) && replicas <= 1:
		return Stuck
	case last.stands(u, now):
		return Exhausted
	case u.Full():
		return Full
	}
	return Free
}

// room is what is known of the store's room.
type room struct {
	now    atomic.Int32            // a Room
	told   atomic.Int32            // the Room at the last reading
	silent atomic.Pointer[silence] // nil: the last put was answered
	usage  atomic.Pointer[Usage]   // nil: not read yet
	last   atomic.Pointer[refusal] // nil: none yet, or the server may have been restarted since
}

func (r *room) noteAnswer() {
	if r.silent.Load() != nil {
		r.silent.Store(nil)
	}
}

func (r *room) unheard(now time.Time) {
	for {
		before := r.silent.Load()
		var puts silence
		if before != nil {
			puts = *before
		}
		puts = puts.longer(now)
		if r.silent.CompareAndSwap(before, &puts) {
			return
		}
	}
}

// refused notes that a put found no room. Until a reading shows otherwise, events do not try. It reports whether the
// reading must come at once.
func (r *room) refused(now time.Time) (read bool) {
	if last := r.last.Load(); last == nil || now.Sub(last.at) > time.Second { // many at once count as one
		one := refusal{at: now}
		if u := r.usage.Load(); u != nil {
			one.limit = u.Limit
		}
		r.last.Store(&one)
		read = true
	}
	r.now.CompareAndSwap(int32(Free), int32(Full))
	return read
}

// remade notes that the server may be another one, or was restarted.
func (r *room) remade() {
	r.silent.Store(nil)
	r.last.Store(nil)
}

// read notes a reading, and returns the room at the one before and at this one.
func (r *room) read(u Usage, now time.Time, replicas int) (before, after Room) {
	r.usage.Store(&u)
	var puts silence
	if silent := r.silent.Load(); silent != nil {
		puts = *silent
	}
	var last refusal
	if l := r.last.Load(); l != nil {
		if last = *l; last.bytes == 0 {
			last.bytes, last.limit = u.Bytes, cmp.Or(u.Limit, last.limit)
			r.last.CompareAndSwap(l, &last)
		}
	}
	after = judge(u, last, puts, now, replicas)
	r.now.Store(int32(after))
	return Room(r.told.Swap(int32(after))), after
}

// Room reports whether events may write, as of the last reading or refusal, without I/O.
func (b *Bucket) Room() Room { return Room(b.room.now.Load()) }

// Usage returns the last reading.
func (b *Bucket) Usage() Usage {
	if u := b.room.usage.Load(); u != nil {
		return *u
	}
	return Usage{}
}

// readEvery is how old a reading may be, and soonEvery while the store takes nothing: alarms wait for room.
const (
	readEvery = 2 * time.Second
	soonEvery = readEvery / 8
)

// Run keeps what is known of the store up to date until ctx ends: its room and its round trip. It makes a bucket anew
// that has gone. When the connection was made again, it ends the requests that wait for an answer.
func (b *Bucket) Run(ctx context.Context, log *slog.Logger) {
	nc := b.js.Conn()
	remade := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(remade)
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() {
		due := time.NewTimer(readEvery)
		defer due.Stop()
		for {
			b.read(ctx, log)
			if due.Reset(readEvery); b.Room() == Exhausted {
				due.Reset(soonEvery)
			}
			select {
			case <-ctx.Done():
				return
			case <-due.C:
			case <-b.soon:
			}
		}
	})
	for {
		select {
		case <-ctx.Done():
			return
		case <-remade:
			b.room.remade()
			b.calls.cut()
		}
	}
}

func (b *Bucket) read(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, readEvery/2)
	defer cancel()
	began := time.Now()
	if b.js.Conn().FlushWithContext(ctx) != nil {
		return // NATS cannot be reached
	}
	b.calls.rtt.Store(int64(time.Since(began)))
	stream, err := b.js.Stream(ctx, b.name.Stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = b.Make(ctx)
		log.Error("the bucket of records had gone; it was made anew, and is empty", "bucket", b.name, "err", err)
		return
	}
	if err != nil {
		return // no leader
	}
	info := stream.CachedInfo() // just asked for
	b.allowDirect(ctx, info.Config, log)
	before, after := b.room.read(b.usage(ctx, info), time.Now(), info.Config.Replicas)
	switch {
	case before == after:
	case after == Stuck:
		log.Error("the store answers no puts, though it answers questions: if its disk was full, make room and restart nats-server")
	case after == Exhausted:
		log.Warn("the store refuses puts for want of room; only what puts nothing goes on until there is room", "bytes", b.Usage().Bytes, "limit", b.Usage().Limit)
	case after == Full:
		log.Warn("the store is full; events that write are refused until there is room", "bytes", b.Usage().Bytes, "limit", b.Usage().Limit)
	case before == Stuck:
		log.Info("puts to the store are tried again", "bytes", b.Usage().Bytes, "limit", b.Usage().Limit)
	default:
		log.Info("the store has room again", "bytes", b.Usage().Bytes, "limit", b.Usage().Limit)
	}
}

// allowDirect makes the stream allow direct reads when they may be used, and notes whether the stream does.
func (b *Bucket) allowDirect(ctx context.Context, is jetstream.StreamConfig, log *slog.Logger) {
	if may := b.settings.Direct; !is.AllowDirect && may != nil && may() {
		is.AllowDirect = true
		if _, err := b.js.UpdateStream(ctx, is); err != nil {
			log.Warn("direct reads of entries not allowed; the leader is asked for all of them", "bucket", b.name, "err", err)
			is.AllowDirect = false
		}
	}
	b.direct.Store(is.AllowDirect)
}

// usage returns the usage of the stream or the account, whichever is fuller.
func (b *Bucket) usage(ctx context.Context, info *jetstream.StreamInfo) Usage {
	limit := func(n int64) uint64 { return uint64(max(0, n)) } // -1: none
	u := Usage{info.State.Bytes, limit(info.Config.MaxBytes)}
	account, err := b.js.AccountInfo(ctx)
	if err != nil {
		return u
	}
	if info.Config.Storage == jetstream.MemoryStorage {
		return u.fuller(Usage{account.Memory, limit(account.Limits.MaxMemory)})
	}
	return u.fuller(Usage{account.Store, limit(account.Limits.MaxStore)})
}
