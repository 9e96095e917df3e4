package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/planted"
)

// Store is the bucket of leases: Bucket, or its twin in memory in tests. After an error that is not ErrStale the write
// may have landed, or may still land.
type Store interface {
	Put(ctx context.Context, incarnation string, value []byte, expect uint64) (revision uint64, err error)
	Remove(ctx context.Context, incarnation string, expect uint64) error
	Read(ctx context.Context, incarnation string) (Entry, error)
	Generation(ctx context.Context) (Generation, error)
	Watch(ctx context.Context, each func(Entry)) error
}

// Echo sends messages from the State connection, on which leases are renewed, to the Serve
// connection, on which their holders are asked.
type Echo interface {
	// Send publishes on State. The channel is closed when the message comes on Serve.
	Send() (<-chan struct{}, error)
}

// Errors of writes and watches.
var (
	// ErrStale: refused, the entry has another revision. Nothing was changed.
	ErrStale = errors.New("the lease's entry has another revision")
	// ErrRemade: the connection was lost and made again. The watch must begin anew.
	ErrRemade = errors.New("the connection was made again")
)

// Causes of the end of a role's context.
var (
	// ErrLost: the lease can no longer be trusted.
	ErrLost = errors.New("the lease could not be renewed in time")
	// ErrEnded is an ErrLost: another host has declared the holder dead.
	ErrEnded = fmt.Errorf("%w: its entry was ended by another host", ErrLost)
	// ErrDeaf is an ErrLost: no request can reach the holder.
	ErrDeaf = fmt.Errorf("%w: what is published on State does not come back on Serve", ErrLost)
)

// Holder is a kept lease.
type Holder struct {
	timing Timing
	log    *slog.Logger
	end    context.CancelCauseFunc // of the role's context

	trust atomic.Pointer[Trust] // as of the last change

	mu    sync.Mutex    // guards what follows, and changes of trust
	due   *time.Timer   // fires when time changes the standing; nil before the first renewal
	again chan struct{} // closed while the lease is valid
}

func newHolder(timing Timing, log *slog.Logger, end context.CancelCauseFunc) *Holder {
	h := &Holder{timing: timing, log: log, end: end, again: make(chan struct{})}
	h.trust.Store(new(Trust))
	return h
}

// Valid reports whether the lease may be trusted now, and in which generation.
func (h *Holder) Valid() (generation uint64, valid bool) {
	t := h.trust.Load()
	return t.Generation, t.Standing == Valid && t.term.Valid(time.Now())
}

// Again returns a channel that is closed when the lease is valid, now or later. It is never closed if the lease is
// lost: the role's context ends instead.
func (h *Holder) Again() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.set(h.trust.Load().At(time.Now(), h.timing))
	return h.again
}

// standing returns the lease's state now.
func (h *Holder) standing() Standing { return h.trust.Load().At(time.Now(), h.timing).Standing }

// renewed notes a renewal.
func (h *Holder) renewed(sent time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.set(h.trust.Load().Renewed(sent, time.Now(), h.timing))
}

// lose ends the role.
func (h *Holder) lose(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(why)
	h.set(h.trust.Load().Ended())
}

// check updates the trust to the present time.
func (h *Holder) check() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.set(h.trust.Load().At(time.Now(), h.timing))
}

// set changes the trust, the timer, and the role's context if the lease is lost. With mu held.
func (h *Holder) set(t Trust) {
	before := *h.trust.Load()
	h.trust.Store(&t)
	switch {
	case t.Standing == Valid && before.Standing != Valid:
		close(h.again)
	case t.Standing != Valid && before.Standing == Valid:
		h.again = make(chan struct{})
	}
	switch {
	case t.Standing == Lost:
		h.end(ErrLost) // changes nothing if there is another reason already
		return
	case t.Generation == 0:
		return
	case t.Standing == Lapsed && before.Standing == Valid:
		h.log.Warn("lease lapsed: nothing is answered until it is renewed", "for at most", h.timing.Lapse)
	case t.Generation != before.Generation && t.Generation > 1:
		h.log.Warn("lapsed lease renewed; objects are served again")
	}
	left := time.Until(t.next(h.timing))
	if h.due == nil {
		h.due = time.AfterFunc(left, h.check)
	} else {
		h.due.Reset(left)
	}
}

func (h *Holder) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.due != nil {
		h.due.Stop()
	}
}

// Lease is the configuration of a kept lease.
type Lease struct {
	Store  Store
	Echo   Echo
	Others *Others // begins its watch again when the watch misses the lease's own renewals
	Timing Timing
	Log    *slog.Logger

	Incarnation string // new for each lease
	Info        Info
}

// Run runs the role under a lease of its own. The Holder says at each moment whether the lease is valid; validity ends
// before any other host may think so. The role's context ends, with ErrLost, when the lease cannot become valid any
// more. Run returns when the role has returned. It then deletes the lease's entry, so that no claimer has to wait for
// the lease to run out.
func (l Lease) Run(ctx context.Context, role func(context.Context, *Holder) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	k := &keeper{Lease: l, holder: newHolder(l.Timing, l.Log, end)}
	defer k.holder.stop()
	if err := k.begin(ctx); err != nil {
		return fmt.Errorf("take a lease: %w", err)
	}
	// The lease is kept while the role runs, even if ctx has ended: stopping in
	// good order takes time, and needs to be trusted meanwhile.
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	var kept sync.WaitGroup
	kept.Go(func() { k.keepRenewing(keeping) })
	err := role(ctx, k.holder)
	stopKeeping()
	kept.Wait()
	if err := k.giveBack(context.WithoutCancel(ctx)); err != nil {
		l.Log.Warn("lease not given back; others will wait for it to run out", "err", err)
	}
	return err
}

// keeper renews one lease. Only one goroutine uses it at a time.
type keeper struct {
	Lease
	holder     *Holder
	path       Path
	generation Generation

	revision uint64 // the entry's
	doubt    bool   // a renewal was not answered, so the entry may have another revision
	acked    uint64 // the latest beat that was acknowledged
}

func (k *keeper) begin(ctx context.Context) error {
	opening, cancel := context.WithTimeout(ctx, k.Timing.TTL/3)
	defer cancel()
	var err error
	if k.generation, err = k.Store.Generation(opening); err != nil {
		return err
	}
	for tries := 0; ; tries++ {
		err := k.renew(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrDeaf) || tries == 2 { // servers tell each other of a new subscription in their own time
			return errors.Join(err, k.giveBack(ctx))
		}
	}
}

// keepRenewing renews every third of the TTL, and sooner after a failure or while the lease has lapsed, until ctx or
// the lease has ended.
func (k *keeper) keepRenewing(ctx context.Context) {
	period := k.Timing.TTL / 3
	next := time.NewTimer(period)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if k.holder.standing() == Lost {
			return
		}
		began := time.Now()
		k.Others.shouldHaveSeen(k.Incarnation, k.acked)
		err := k.renew(ctx)
		if errors.Is(err, nats.ErrConnectionClosed) {
			err = fmt.Errorf("%w: %w", ErrLost, err) // no later renewal will land
		}
		switch {
		case errors.Is(err, ErrLost):
			k.Log.Warn("lease lost", "err", err)
			k.holder.lose(err)
			return
		case k.lapsed():
			next.Reset(period / 8)
		case err != nil && ctx.Err() == nil:
			k.Log.Warn("lease not renewed; trying again", "err", err)
			next.Reset(period / 4)
		default:
			next.Reset(period - time.Since(began))
		}
	}
}

// renew sends a message around and renews the entry. It trusts the renewal if this message, or the last one, has come
// back. After an ErrLost the caller must not renew again.
func (k *keeper) renew(ctx context.Context) error {
	sent := time.Now()
	back, echoErr := k.Echo.Send()
	err := k.put(ctx, sent)
	if err != nil {
		k.path = k.path.After(false, came(back))
		return err
	}
	if planted.LeaseFromReply {
		sent = time.Now()
	}
	trusted := k.path.Spare()
	if trusted {
		k.trust(sent)
	}
	k.path = k.path.After(true, echoErr == nil && k.comes(ctx, back))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !k.path.Open() || !trusted && k.path.missed > 0:
		return errors.Join(ErrDeaf, echoErr)
	case !trusted:
		k.trust(sent)
	}
	return nil
}

// trust notes a renewal. What kept this holder from renewing may have kept others too: they get time to renew before
// they count as dead here.
func (k *keeper) trust(sent time.Time) {
	if k.lapsed() {
		k.Others.spare(k.Timing.TTL / 3) // before the lease is valid
	}
	k.holder.renewed(sent)
}

// lapsed reports whether the lease was valid, is not, and may become so.
func (k *keeper) lapsed() bool {
	return k.holder.trust.Load().Generation > 0 && k.holder.standing() == Lapsed
}

// patience returns the longest wait for one renewal. While the lease has lapsed it is short: the next renewal may reach
// the leader that this one does not.
func (k *keeper) patience() time.Duration {
	if k.lapsed() {
		return max(leastEcho, k.Timing.TTL/6)
	}
	return k.Timing.TTL / 3
}

// leastEcho is the least time that a message may take to come back: a process that is short of
// processor time can still be asked.
const leastEcho = 300 * time.Millisecond

// comes waits for a message of the Echo, and reports whether it came back.
func (k *keeper) comes(ctx context.Context, back <-chan struct{}) bool {
	patience := time.NewTimer(max(leastEcho, k.Timing.TTL/6))
	defer patience.Stop()
	select {
	case <-back:
		return true
	case <-patience.C:
		return came(back)
	case <-ctx.Done():
		return came(back)
	}
}

func came(back <-chan struct{}) bool {
	select {
	case <-back:
		return true
	default:
		return false
	}
}

// put renews the entry. If the entry's revision is in doubt, put reads it first.
func (k *keeper) put(ctx context.Context, sent time.Time) error {
	patience := k.patience()
	if planted.LeaseFromReply {
		patience = k.Timing.TTL
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	k.Info.Beat++
	k.Info.Renewed = sent.UTC()
	value, err := json.Marshal(k.Info)
	if err != nil {
		return err
	}
	for tries := 0; ; tries++ {
		if k.doubt {
			if err := k.readRevision(ctx); err != nil {
				return err
			}
		}
		revision, err := k.Store.Put(ctx, k.Incarnation, value, k.revision)
		if err == nil {
			k.revision, k.acked = revision, k.Info.Beat
			return nil
		}
		k.doubt = true
		if !errors.Is(err, ErrStale) || tries == 1 {
			return err
		}
	}
}

// readRevision reads the entry's revision. A put that was not answered cannot land after the next put that expects this
// revision.
func (k *keeper) readRevision(ctx context.Context) error {
	entry, err := k.Store.Read(ctx, k.Incarnation)
	if err != nil {
		return err
	}
	lost := false
	if entry.State == Absent {
		now, err := k.Store.Generation(ctx)
		if err != nil {
			return err
		}
		if lost = k.generation.Lost(now, k.revision); lost {
			k.generation = now
		}
	}
	revision, ok := entry.Next(lost)
	if !ok {
		return ErrEnded
	}
	k.revision, k.doubt = revision, false
	return nil
}

// giveBack deletes the entry. If a stop has cut a renewal off, the entry's revision is in doubt: giveBack reads the
// entry first, and again if the renewal has landed meanwhile. There is time for three requests across an ocean; without
// NATS a stop stays short.
func (k *keeper) giveBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, k.Timing.TTL/2)
	defer cancel()
	for tries := 0; ; tries++ {
		if k.doubt {
			if err := k.readRevision(ctx); errors.Is(err, ErrEnded) {
				return nil
			} else if err != nil {
				return err
			}
		}
		err := k.Store.Remove(ctx, k.Incarnation, k.revision)
		if !errors.Is(err, ErrStale) || tries == 1 {
			return err
		}
		k.doubt = true
	}
}
