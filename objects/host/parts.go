package host

import (
	"context"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
)

// Bounds of what large objects do beside their commits.
const (
	merges    = 2 // at a time
	mergeWait = time.Second
	purges    = 2 // objects at a time

	purgeAfter = 2*time.Minute + 10*time.Second // a server's default sync_interval, and 10 s more

	// stallTime is for how long a commit waits at most for a merge that is behind.
	stallTime = 5 * time.Second
)

// upkeep is the part of an object that knows what goes on beside its commits: at most one merge,
// or expiry of its history, and one purge. Only its methods use its fields. object.mu guards
// it. A nil upkeep is that of an object that has never been large.
type upkeep struct {
	merging chan struct{} // closed when the merge, or the expiry, under way has ended; nil: there is none
	cancel  context.CancelFunc
	again   time.Time // no merge before
	purging bool
}

// merge returns a channel that is closed when the merge under way has ended; nil: there is none.
func (u *upkeep) merge() <-chan struct{} {
	if u == nil {
		return nil
	}
	return u.merging
}

// stop ends the merge under way, and returns what merge returns.
func (u *upkeep) stop() <-chan struct{} {
	if u == nil || u.merging == nil {
		return nil
	}
	u.cancel()
	return u.merging
}

// mayMerge reports whether a merge may begin.
func (u *upkeep) mayMerge(now time.Time) bool { return u.merging == nil && !now.Before(u.again) }

// begin notes that a merge or an expiry begins, and returns its context.
func (u *upkeep) begin(work context.Context) context.Context {
	ctx, cancel := context.WithCancel(work)
	u.merging, u.cancel = make(chan struct{}), cancel
	return ctx
}

// end notes that what begin has noted has ended.
func (u *upkeep) end() {
	u.cancel()
	close(u.merging)
	u.merging, u.cancel = nil, nil
}

// retry delays the next merge, because one has failed.
func (u *upkeep) retry(now time.Time) { u.again = now.Add(mergeWait) }

// mayPurge reports whether a purge may begin.
func (u *upkeep) mayPurge() bool { return !u.purging }

// purge notes whether a purge is under way.
func (u *upkeep) purge(underWay bool) { u.purging = underWay }

// home returns where parts of objects are kept.
func (in *incarnation) home() state.Home { return state.Home{Store: in.store, Cache: in.cache} }

// fits reports whether a state of so many bytes can be kept: any can once every host reads records with parts, before
// that only what one record takes.
func (in *incarnation) fits(bytes int) bool { return bytes <= record.SmallState || in.wide() }

// putBefore does what has to be done before a put. While there are too many runs it waits
// for the merge that is to make them fewer.
func (o *object) putBefore(p *payload) error {
	if p.before == nil {
		return nil
	}
	if p.before.Folds() && o.memory.Runs() >= state.StallRuns {
		if merging := o.mergeUnderWay(); merging != nil {
			timer := time.NewTimer(stallTime)
			defer timer.Stop()
			select {
			case <-merging:
			case <-timer.C:
			case <-o.in.work.Done():
			}
		}
	}
	ctx, cancel := context.WithTimeout(o.in.work, o.in.timing.Commit)
	defer cancel()
	return p.before.Do(ctx)
}

// mergeUnderWay returns a channel that is closed when the merge has ended; nil: there is none.
func (o *object) mergeUnderWay() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.upkeep.merge()
}

// addUpkeep returns the object's upkeep, made when the object is large for the first time. With mu held.
func (o *object) addUpkeep() *upkeep {
	if o.upkeep == nil {
		o.upkeep = new(upkeep)
	}
	return o.upkeep
}

// maintain starts the merges and purges that are due.
func (o *object) maintain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage() != serving || !o.memory.Large() {
		return
	}
	u, now := o.addUpkeep(), time.Now()
	if u.mayMerge(now) {
		if e := o.memory.PlanExpiry(o.id.Key(), o.in.home(), now); e != nil {
			ctx := u.begin(o.in.work)
			o.spawn(func() { o.expire(ctx, e) })
		} else if job := o.memory.Plan(o.id.Key(), o.commit.state().Token, o.in.home()); job != nil {
			ctx := u.begin(o.in.work)
			o.spawn(func() { o.merge(ctx, job) })
		}
	}
	o.startPurge(o.purgeable(now))
}

// startPurge purges entries, unless a purge is under way. With mu held.
func (o *object) startPurge(spans []state.Span) {
	if len(spans) == 0 {
		return
	}
	if u := o.addUpkeep(); u.mayPurge() {
		u.purge(true)
		o.spawn(func() { o.purge(spans) })
	}
}

// reclaim purges what the objects of this host have replaced, however lately, because the store has no room. The
// objects themselves may have nothing to do for long.
func (in *incarnation) reclaim() {
	select {
	case in.reclaiming <- struct{}{}:
	default:
		return // it is under way
	}
	in.tasks.Go(func() {
		defer func() { <-in.reclaiming }()
		for _, o := range in.all() {
			o.reclaim()
		}
	})
}

func (o *object) reclaim() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage() == serving && o.memory.Large() {
		o.startPurge(o.memory.Doomed(time.Now(), 0))
	}
}

// purgeable lists the spans of entries that may be purged. While the store has no room, Config.PurgeAfter does not count. With mu
// held.
func (o *object) purgeable(now time.Time) []state.Span {
	after := o.in.cfg.PurgeAfter
	if o.in.store.Room() != record.Free {
		after = 0
	}
	return o.memory.Doomed(now, after)
}

// merge does one merge. Its result is put at once.
func (o *object) merge(ctx context.Context, job *state.Job) {
	err := context.Canceled
	select {
	case o.in.merging <- struct{}{}:
		defer func() { <-o.in.merging }()
		err = job.Run(ctx)
	case <-ctx.Done():
	}
	if o.merged(job, err) {
		o.work()
	}
	wire.Pause(o.in.work, time.Duration(job.Bytes())*time.Second/time.Duration(o.in.cfg.MergeRate))
}

// merged installs the result of a merge. It reports whether the caller has to call work.
func (o *object) merged(job *state.Job, err error) (start bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	u := o.upkeep
	u.end()
	switch {
	case o.stage() == gone:
		return false
	case err != nil:
		u.retry(time.Now())
		o.memory.Abandon(job)
		if ctxErr := o.in.work.Err(); ctxErr == nil && o.stage() == serving {
			o.in.warnings.Log(o.in.log, "parts of an object not merged; they will be", "object", o.id.Key(), "err", err)
		}
		return false
	}
	o.memory.Install(job)
	return o.stage() == serving && o.decide(owner.Changed{})
}

// purge purges entries that no record names. After a failure, a later commit tries again.
func (o *object) purge(spans []state.Span) {
	select {
	case o.in.purging <- struct{}{}:
		defer func() { <-o.in.purging }()
	case <-o.in.work.Done():
		return
	}
	n, err := o.purgeAll(o.in.work, spans)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.upkeep.purge(false)
	o.purged(n, err)
}

// purgeAll purges entries while the lease is valid, and returns how many of the spans are gone.
func (o *object) purgeAll(ctx context.Context, spans []state.Span) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, o.in.timing.Commit)
	defer cancel()
	return state.Purge(ctx, o.id.Key(), o.in.home(), spans)
}

// purged notes the result of a purge. With mu held.
func (o *object) purged(n int, err error) {
	if n > 0 { // the next purge goes on from there
		o.memory.Purged(n)
	}
	if err != nil && n == 0 && o.in.work.Err() == nil {
		o.in.warnings.Log(o.in.log, "parts of an object not purged; they will be", "object", o.id.Key(), "err", err)
	}
}

// finishParts ends the merge under way, and purges what may be purged, before the object is
// released: nothing is written after the last put.
func (o *object) finishParts() {
	o.mu.Lock()
	if o.stage() == gone || !o.memory.Large() {
		o.mu.Unlock()
		return
	}
	u, spans := o.addUpkeep(), []state.Span(nil)
	merging := u.stop()
	if u.mayPurge() {
		spans = o.purgeable(time.Now())
	}
	o.mu.Unlock()
	if merging != nil {
		<-merging
	}
	if len(spans) > 0 {
		n, err := o.purgeAll(o.in.work, spans)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.purged(n, err)
	}
}
