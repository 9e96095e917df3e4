package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// BucketName is the bucket of leases.
const BucketName = "HF_LEASES"

// ErrLost is why a role's context ends when its lease can no longer be trusted.
var ErrLost = errors.New("the lease could not be renewed in time")

// Info is what a lease's entry says, for people and for `holdfast ls`.
type Info struct {
	Host    string    `json:"host"`
	Region  string    `json:"region"`
	Classes []string  `json:"classes"`
	PID     int       `json:"pid"`
	Renewed time.Time `json:"renewed"`
}

// Bucket keeps the leases of all host incarnations.
type Bucket struct{ kv jetstream.KeyValue }

// Open binds to the bucket of leases and makes it if there is none. Entries that
// nobody renews vanish by themselves, long after everybody holds them for dead.
func Open(ctx context.Context, js jetstream.JetStream, storage jetstream.StorageType, replicas int, timing Timing) (*Bucket, error) {
	const name = "KV_" + BucketName
	_, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name:              name,
			Description:       "leases of hosts",
			Subjects:          []string{"$KV." + BucketName + ".>"},
			MaxMsgsPerSubject: 1,
			MaxAge:            max(time.Minute, 20*timing.TTL),
			Discard:           jetstream.DiscardNew,
			Storage:           storage,
			Replicas:          max(1, replicas),
			AllowRollup:       true,
			AllowDirect:       false, // whether a lease was renewed is asked of the leader
		})
	}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil, fmt.Errorf("open bucket %s: %w", BucketName, err)
	}
	kv, err := js.KeyValue(ctx, BucketName)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", BucketName, err)
	}
	return &Bucket{kv}, nil
}

// Holder is a lease that somebody keeps.
type Holder struct {
	mu   sync.Mutex
	term Term
}

// Holds tells whether the lease may be trusted now.
func (h *Holder) Holds() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.term.Holds(time.Now())
}

func (h *Holder) renewed(sent time.Time, timing Timing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.term = h.term.Renewed(sent, time.Now(), timing)
}

// Hold runs the role under a lease of its own. The role's context ends, with
// ErrLost, when the lease can no longer be trusted, which is before anybody else
// may think so. Hold returns when the role has returned; a role that ended in
// good order says goodbye, so that nobody waits for its lease to run out.
func (b *Bucket) Hold(ctx context.Context, incarnation string, info Info, timing Timing, log *slog.Logger, role func(context.Context, *Holder) error) error {
	h := new(Holder)
	if err := b.renew(ctx, incarnation, info, timing, h); err != nil {
		return fmt.Errorf("take a lease: %w", err)
	}
	// The lease is kept while the role runs, even if ctx has ended: stopping in
	// good order takes time, and needs to be trusted meanwhile.
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	ctx, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	var kept sync.WaitGroup
	kept.Go(func() {
		b.keep(keeping, incarnation, info, timing, h, log)
		lose(ErrLost)
	})
	err := role(ctx, h)
	stopKeeping()
	kept.Wait()

	goodbye, cancel := context.WithTimeout(context.WithoutCancel(ctx), timing.TTL/3)
	defer cancel()
	if err := b.kv.Delete(goodbye, incarnation); err != nil {
		log.Warn("lease not given back; others will wait for it to run out", "err", err)
	}
	return err
}

// keep renews every third of the TTL until ctx ends or the term is over.
func (b *Bucket) keep(ctx context.Context, incarnation string, info Info, timing Timing, h *Holder, log *slog.Logger) {
	tick := time.NewTicker(timing.TTL / 3)
	defer tick.Stop()
	over := time.NewTimer(time.Until(h.until()))
	defer over.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-over.C:
			return
		case <-tick.C:
			if err := b.renew(ctx, incarnation, info, timing, h); err != nil && ctx.Err() == nil {
				log.Warn("lease not renewed", "err", err)
			}
			if !h.Holds() {
				return
			}
			over.Reset(time.Until(h.until()))
		}
	}
}

func (h *Holder) until() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.term.Until()
}

// renew puts the entry. Nobody else writes it, so it needs no revision, and a
// renewal whose answer is lost does no harm.
func (b *Bucket) renew(ctx context.Context, incarnation string, info Info, timing Timing, h *Holder) error {
	ctx, cancel := context.WithTimeout(ctx, timing.TTL/3)
	defer cancel()
	sent := time.Now()
	info.Renewed = sent.UTC()
	value, err := json.Marshal(info)
	if err != nil {
		return err
	}
	if _, err := b.kv.Put(ctx, incarnation, value); err != nil {
		return err
	}
	h.renewed(sent, timing)
	return nil
}

// Others is a Watch kept up to date from the bucket.
type Others struct {
	bucket *Bucket
	timing Timing

	mu    sync.Mutex
	watch *Watch
}

// Watch begins a watch; Follow is what keeps it up to date.
func (b *Bucket) Watch(timing Timing) *Others {
	return &Others{bucket: b, timing: timing, watch: NewWatch(time.Now())}
}

// Follow keeps the watch up to date until ctx ends.
func (o *Others) Follow(ctx context.Context) error {
	updates, err := o.bucket.kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch leases: %w", err)
	}
	defer updates.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case entry, ok := <-updates.Updates():
			switch {
			case !ok:
				return errors.New("watch leases: the watch has ended")
			case entry == nil: // caught up
			case entry.Operation() == jetstream.KeyValuePut:
				o.saw(entry)
			default:
				o.ended(entry.Key())
			}
		}
	}
}

func (o *Others) saw(entry jetstream.KeyValueEntry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watch.Saw(entry.Key(), entry.Revision(), time.Now())
	o.watch.Forget(o.timing, time.Now())
}

func (o *Others) ended(incarnation string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watch.Ended(incarnation)
}

// Live tells whether an incarnation may still trust its lease. Before it says
// no, it asks the leader: a watch that has fallen behind must not make a live
// host look dead.
func (o *Others) Live(ctx context.Context, incarnation string) bool {
	if !o.dead(incarnation) {
		return true
	}
	entry, err := o.bucket.kv.Get(ctx, incarnation)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return !o.dead(incarnation)
	case err != nil:
		return true // cannot be known: wait
	}
	o.saw(entry)
	return !o.dead(incarnation)
}

func (o *Others) dead(incarnation string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.watch.Dead(incarnation, o.timing, time.Now())
}

// List is all leases that have an entry, by incarnation.
func (b *Bucket) List(ctx context.Context) (map[string]Info, error) {
	keys, err := b.kv.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	leases := make(map[string]Info, len(keys))
	for _, key := range keys {
		entry, err := b.kv.Get(ctx, key)
		if err != nil {
			continue // it ended meanwhile
		}
		var info Info
		if json.Unmarshal(entry.Value(), &info) == nil {
			leases[strings.Clone(key)] = info
		}
	}
	return leases, nil
}
