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
// first. And what a busy time has left behind is given back to the system when it is
// over; the runtime alone would keep twice of what is in use. With GOGC in the
// environment somebody else has decided.
func tuneMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var k keeper
	debug.SetGCPercent(percentFor(0))
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		live, allocated := heap()
		debug.SetGCPercent(percentFor(live))
		if k.over(allocated) {
			runtime.GC() // a sync.Pool keeps what it has through one collection
			debug.FreeOSMemory()
		}
	}
}

// percentFor is how much the heap may grow, in percent of what is live.
func percentFor(live uint64) int {
	return int(min(max(100, headroom*100/max(live, 1)), 1000))
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

// heap is how many bytes were live at the last collection, and how many were allocated ever.
func heap() (live, allocated uint64) {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64()
}
