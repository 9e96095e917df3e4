package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/chaos/history"
)

const (
	objectCount = 6
	roomCount   = 3
	bellCount   = 2

	clientsPerObject  = 5 // through the gateways in turn
	claimersPerObject = 3 // of them; the other clients read
	idlePerGateway    = 5 // sockets of each room

	patience     = 17 * time.Second // of a client; the gateway promises 15
	backTime     = 25 * time.Second // longest time after which the objects answer again
	enterTime    = 40 * time.Second // longest time until all sockets are open
	calmTime     = 20 * time.Second // longest time until every sent message is received
	linearWithin = 20 * time.Second // for the search for an order of one object's operations
)

// world is a fleet under load, with a record of all operations.
type world struct {
	*fleet
	began   time.Time
	writer  *history.Writer
	rate    int  // messages a second of a busy socket
	readers bool // clients of the last gateway only read
	busy    int  // busy sockets of each room at each gateway
	large   int  // large objects

	load  sync.WaitGroup
	stop  chan struct{} // closed when tickets and alarms end
	quiet chan struct{} // closed when messages and visitors end
	leave chan struct{} // closed: sockets end, and that is not recorded

	held atomic.Bool // clients that claim wait

	mu      sync.Mutex               // guards what follows
	numbers int                      // sockets so far
	owners  map[string]string        // by object or room: the host that answered last
	success map[string]time.Duration // by object and by object@gateway: when the last success was
	open    map[int]string           // sockets that are open, with their gateway
}

// run injects one fault as often as required, and judges the history.
func (k *kit) run(ctx context.Context, f fault, o options) (result, error) {
	dir := filepath.Join(k.dir, f.key)
	if err := os.Mkdir(dir, 0o750); err != nil {
		return result{}, fmt.Errorf("make a folder for the world: %w", err)
	}
	name := filepath.Join(dir, historyFile)
	if err := k.record(ctx, f, o, dir, name); err != nil {
		return result{}, err
	}
	r, err := judge(name)
	if err == nil && k.temp {
		err = os.RemoveAll(dir)
	}
	return r, err
}

// historyFile is the name of the history in the folder of a world.
const historyFile = "history.jsonl"

// record writes the history of one world.
func (k *kit) record(ctx context.Context, f fault, o options, dir, name string) (err error) {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("make the history: %w", err)
	}
	out := bufio.NewWriter(file)
	w := &world{
		began: time.Now(), writer: history.NewWriter(out), rate: cmp.Or(f.rate, usualRate), busy: max(1, f.busy), readers: f.readers, large: f.large,
		stop: make(chan struct{}), quiet: make(chan struct{}), leave: make(chan struct{}),
		owners: make(map[string]string), success: make(map[string]time.Duration), open: make(map[int]string),
	}
	ctx, cancel := context.WithCancel(ctx)
	w.fleet, err = k.newFleet(ctx, dir, f.nodes)
	if err == nil {
		err = w.live(ctx, f, o)
	}
	cancel()
	w.load.Wait()
	w.close()
	return errors.Join(err, w.writer.Close(), out.Flush(), file.Close())
}

// now returns the time of the history.
func (w *world) now() time.Duration { return time.Since(w.began) }

// live puts the load on the fleet, injects the faults, and waits until everything has settled.
func (w *world) live(ctx context.Context, f fault, o options) error {
	draw := rand.New(rand.NewPCG(o.seed, uint64(len(f.key))<<8|uint64(f.key[0])))
	w.claim(ctx)
	w.ring(ctx)
	w.goBack(ctx)
	w.fill(ctx)
	if err := until(ctx, enterTime, "all have come in", w.complete); err != nil {
		return err
	}
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	times := f.times
	if o.quick {
		times = max(1, f.quick)
	}
	if o.count > 0 {
		times = o.count
	}
	for i := range times {
		if err := w.inject(ctx, f, i, draw); err != nil {
			return err
		}
	}
	return w.rest(ctx)
}

// inject injects a fault, waits until all objects answer again, and then for a time that is drawn.
func (w *world) inject(ctx context.Context, f fault, i int, draw *rand.Rand) error {
	record := &history.Fault{Key: f.key, At: w.now(), Objects: w.objects()}
	if err := f.inject(ctx, w, record, i, draw); err != nil {
		return err
	}
	record.Healed = w.now()
	record.Over = w.back(ctx, record)
	w.writer.Add(history.Record{Fault: record})
	say("   %d: %v: %s", i+1, (record.Over - record.At).Round(time.Millisecond), record.Proof)
	if f.pause == 0 {
		return sleep(ctx, time.Duration(500+draw.IntN(1000))*time.Millisecond)
	}
	return sleep(ctx, f.pause+time.Duration(draw.Int64N(int64(f.pause))))
}

// back waits until all objects have answered after the fault, and returns when they had. It gives up after
// backTime: the gap is in the history.
func (w *world) back(ctx context.Context, f *history.Fault) time.Duration {
	_ = until(ctx, backTime, "all objects answer", func() bool { // the caller looks at ctx
		w.mu.Lock()
		defer w.mu.Unlock()
		return !slices.ContainsFunc(w.objects(), func(object string) bool { return w.success[object] <= f.Healed })
	})
	return w.now()
}

// rest ends the messages, calls the roll, waits until every message is received, reads every counter, and
// ends the load.
func (w *world) rest(ctx context.Context) error {
	if err := until(ctx, backTime, "all sockets are open again", w.seated); err != nil && !errors.Is(err, errNotInTime) {
		return err // a client that cannot come back was closed: the history has that
	}
	close(w.quiet)
	w.writer.Add(history.Record{Roll: &history.Roll{At: w.now()}})
	w.callRoll(ctx)
	calm := func() bool { return history.CheckSockets(w.writer.Records()).Faultless() }
	for end := time.Now().Add(calmTime); time.Now().Before(end) && !calm(); {
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	close(w.stop)
	w.readAll(ctx)
	close(w.leave)
	w.load.Wait()
	return ctx.Err()
}

// complete reports whether every object has answered through every gateway and all sockets are open.
func (w *world) complete() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, object := range w.objects() {
		for _, g := range w.gateways {
			if w.success[object+"@"+g.name] == 0 {
				return false
			}
		}
	}
	return w.sit()
}

// seated reports whether all lasting sockets are open.
func (w *world) seated() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sit()
}

// sit is seated for callers that hold mu.
func (w *world) sit() bool {
	return len(w.open) >= roomCount*gatewayCount*(idlePerGateway+w.busy)
}

// objects returns the names of the ticket objects, and of the large objects, which count in the same way.
func (w *world) objects() []string {
	var all []string
	for i := range objectCount {
		all = append(all, fmt.Sprintf("o%d", i))
	}
	return append(all, largeOf(w.large)...)
}

// owned returns the objects whose owner is known to be the host.
func (w *world) owned(host string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(w.objects(), func(object string) bool { return w.owners[object] != host })
}

// owner returns the host that is known to own an object or a room; nil if none is.
func (w *world) owner(of string) *member {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.hosts {
		if h.name == w.owners[of] {
			return h
		}
	}
	return nil
}

// owns records which host owns an object or a room.
func (w *world) owns(what, host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owners[what] = host
}

// has reports whether a channel was closed.
func has(ended <-chan struct{}) bool {
	select {
	case <-ended:
		return true
	default:
		return false
	}
}

// pause waits. It reports false if the channel was closed or ctx ended first.
func pause(ctx context.Context, ended <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ended:
		return false
	case <-ctx.Done():
		return false
	}
}
