package app

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"holdfast/internal/heap"
)

const (
	lookEvery = 5 * time.Second
	littleUse = 2 << 20 // bytes allocated between two looks: below this the process is idle
	worthIt   = 8 << 20 // bytes allocated since memory was last given back
)

// tuneMemory runs until ctx ends and spends memory where it saves time: see package heap. And what a busy time has left
// behind is given back to the system when it is over; the runtime alone would keep twice of what is in use. With GOGC in
// the environment somebody else has decided.
func tuneMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	heap.Tune()
	defer heap.Untune()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var k keeper
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			heap.Tune()
			if k.over(allocated()) {
				runtime.GC() // a sync.Pool survives one collection
				debug.FreeOSMemory()
			}
		}
	}
}

// keeper remembers when memory was used and given back.
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

// allocated returns how many bytes were allocated so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
