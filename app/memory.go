package app

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	lookEvery = 5 * time.Second
	headroom  = 64 << 20 // bytes that may be garbage before it is collected, at the least
	littleUse = 2 << 20  // bytes allocated from one look to the next: nothing much happens
	worthIt   = 8 << 20  // bytes allocated since memory was last given back
)

// tuneMemory runs until ctx ends and spends memory where it saves time. A process
// whose heap is small would collect it many times a second: it may become larger
// first, by the headroom and no more, so how much that is in percent is said after each
// collection. And what a busy time has left behind is given back to the system when it is
// over; the runtime alone would keep twice of what is in use. With GOGC in the
// environment somebody else has decided.
func tuneMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	collected := make(chan struct{}, 1)
	tellOfCollection(collected)
	var k keeper
	percent := percentFor(0)
	debug.SetGCPercent(percent)
	for {
		select {
		case <-ctx.Done():
			return
		case <-collected:
			tellOfCollection(collected)
			if now := percentFor(scanned()); now != percent { // setting it stops the world
				percent = now
				debug.SetGCPercent(percent)
			}
		case <-tick.C:
			if k.over(allocated()) {
				runtime.GC() // a sync.Pool keeps what it has through one collection
				debug.FreeOSMemory()
			}
		}
	}
}

// tellOfCollection sends once, after the next collection.
func tellOfCollection(to chan<- struct{}) {
	type garbage struct{ _ *byte }
	runtime.AddCleanup(new(garbage), func(to chan<- struct{}) {
		select {
		case to <- struct{}{}:
		default:
		}
	}, to)
}

// percentFor is how much the heap may grow, in percent of what the runtime counts.
func percentFor(scanned uint64) int {
	return int(min(max(100, headroom*100/max(scanned, 1)), 1000))
}

// keeper remembers when memory was used.
type keeper struct{ last, freed uint64 } // bytes allocated so far, at those times

// over reports whether a busy period has ended, given the total bytes allocated so far.
func (k *keeper) over(allocated uint64) bool {
	idle := allocated-k.last < littleUse && allocated-k.freed > worthIt
	k.last = allocated
	if idle {
		k.freed = allocated
	}
	return idle
}

// scanned is how many bytes the last collection has kept or gone through: what the runtime takes percent of.
func scanned() uint64 {
	return read("/gc/heap/live:bytes", "/gc/scan/stack:bytes", "/gc/scan/globals:bytes")
}

// allocated is how many bytes were allocated ever.
func allocated() uint64 { return read("/gc/heap/allocs:bytes") }

// read is the sum of the runtime's metrics of these names.
func read(names ...string) (sum uint64) {
	samples := make([]metrics.Sample, len(names))
	for i, name := range names {
		samples[i].Name = name
	}
	metrics.Read(samples)
	for _, s := range samples {
		sum += s.Value.Uint64()
	}
	return sum
}
