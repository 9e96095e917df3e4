package lease

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Others is a Watch kept up to date from the bucket.
type Others struct {
	store  Store
	timing Timing
	log    *slog.Logger
	again  chan struct{} // with a token the watch begins again; it has room for one
	whole  chan struct{} // closed when all entries have been seen that existed when the first watch began

	mu    sync.Mutex // guards what follows
	watch *Watch
	after time.Time // no incarnation counts as dead before
}

// NewOthers begins a watch; Run keeps it up to date.
func NewOthers(store Store, timing Timing, log *slog.Logger) *Others {
	return &Others{store: store, timing: timing, log: log, again: make(chan struct{}, 1), whole: make(chan struct{}), watch: NewWatch(time.Now())}
}

// Run keeps the watch up to date until ctx ends. It begins the watch again, and keeps what was seen: at once when the
// connection was made again or the watch misses an acknowledged beat, and a little later when the watch broke for
// another reason.
func (o *Others) Run(ctx context.Context) {
	var watches sync.WaitGroup // an old one may wait for a server that does not answer
	defer watches.Wait()
	for ctx.Err() == nil {
		watching, stop := context.WithCancel(ctx)
		broke := make(chan error, 1)
		watches.Go(func() { broke <- o.store.Watch(watching, o.saw) })
		select {
		case <-ctx.Done():
		case <-o.again:
			o.log.Warn("watch of leases fell behind; beginning again")
		case err := <-broke:
			if !errors.Is(err, ErrRemade) && ctx.Err() == nil {
				o.log.Warn("watch of leases broke; beginning again", "err", err)
				pause(ctx, o.timing.TTL/4)
			}
		}
		stop()
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Await returns when all entries have been seen that existed when the watch began, at the latest after this time or when
// ctx ends.
func (o *Others) Await(ctx context.Context, atMost time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	select {
	case <-o.whole:
	case <-ctx.Done():
	}
}

// shouldHaveSeen begins the watch again if it has not shown a beat that was acknowledged some time ago: the leader has
// changed, or the server has lost the watch.
func (o *Others) shouldHaveSeen(incarnation string, beat uint64) {
	o.mu.Lock()
	seen := o.watch.Seen(incarnation, beat)
	o.mu.Unlock()
	if !seen {
		select {
		case o.again <- struct{}{}:
		default: // the watch begins again already
		}
	}
}

func (o *Others) saw(entry Entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if entry.Incarnation == "" {
		if !o.watch.complete {
			close(o.whole)
		}
		o.watch.Complete()
		return
	}
	switch entry.State {
	case Present:
		o.watch.Saw(entry.Incarnation, entry.Beat, now)
		o.watch.Lasts(entry.Incarnation, entry.TTL)
		o.watch.Runs(entry.Incarnation, entry.Classes, entry.Reads)
		o.watch.Forget(o.timing, now)
	case Ended:
		o.watch.Ended(entry.Incarnation)
	case Absent: // nothing is known by that
	}
}

// Live reports whether an incarnation may still trust its lease. Before it says no, it asks the leader, because a watch
// that has fallen behind must not make a live host look dead. Then it ends the incarnation's entry, so that the holder
// learns of its end.
func (o *Others) Live(ctx context.Context, incarnation string) bool {
	if !o.dead(incarnation) {
		return true
	}
	for range 3 { // other hosts may end the entry at the same time
		entry, err := o.store.Read(ctx, incarnation)
		if err != nil {
			return true // not known, so wait
		}
		o.saw(entry)
		if !o.dead(incarnation) {
			return true
		}
		if entry.State != Present {
			return false
		}
		err = o.store.Remove(ctx, incarnation, entry.Revision)
		if err == nil {
			o.saw(Entry{Incarnation: incarnation, State: Ended})
			return false
		}
		if !errors.Is(err, ErrStale) {
			return true // likewise
		}
	}
	return true
}

// spare delays the moment from which incarnations count as dead.
func (o *Others) spare(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.after = time.Now().Add(d)
}

// AllRead is Watch.AllRead.
func (o *Others) AllRead(version int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.watch.AllRead(version, o.timing, time.Now())
}

// First is Watch.First.
func (o *Others) First(class string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.watch.First(class, o.timing, time.Now())
}

// Ends is Watch.Ends.
func (o *Others) Ends(within time.Duration) (n int, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.watch.Ends(within, o.timing, time.Now())
}

// EndedWithin is Watch.EndedWithin, but for the time in which nobody counts as dead.
func (o *Others) EndedWithin(within time.Duration) []Gone {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if now.Before(o.after) {
		return nil
	}
	return o.watch.EndedWithin(within, o.timing, now)
}

func (o *Others) dead(incarnation string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	return !now.Before(o.after) && o.watch.Dead(incarnation, o.timing, now)
}
