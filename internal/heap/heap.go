// Package heap sets how much garbage a process may have before it is collected. A process with a small heap
// would collect it many times a second, so the heap may first grow by the headroom. A process that carries
// large streams makes more garbage than anything else does, because NATS allocates memory for each message;
// such a process must stay small, so it has an eighth of the headroom from the moment at which its streams have
// carried much since the last call of Tune until one call finds that they have not. All streams count together: a
// hundred of which each is small make as much garbage as a large one. A large heap may always grow by as much as is live.
package heap

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
)

const (
	headroom = 64 << 20 // bytes that may be garbage before a collection, at least
	much     = 4 << 20  // bytes carried by streams that make less garbage worth its price
)

var carried atomic.Int64 // bytes that streams have carried since the last call of Tune

var state struct {
	sync.Mutex        // guards what follows
	ballast    []byte // the runtime counts it as live, but it takes up no memory: nothing was ever written to it
	live       uint64 // the live size after the last collection, when Tune was last called
	streams    bool   // streams carry much
	percent    int    // the value that the runtime has
}

// Tune gives the process its headroom. Call it every few seconds: the live size changes, and streams end.
func Tune() {
	state.Lock()
	defer state.Unlock()
	if state.ballast == nil {
		state.ballast, state.percent = make([]byte, headroom), 0
	}
	state.live, state.streams = live(), carried.Swap(0) >= much
	apply()
}

// Untune takes the headroom back.
func Untune() {
	state.Lock()
	defer state.Unlock()
	if state.ballast != nil {
		state.ballast = nil
		debug.SetGCPercent(100)
	}
}

// Carried notes that a stream has carried n bytes. The size that counts is the one that Tune has seen: a collection
// while streams begin takes much of their garbage for live.
func Carried(n int) {
	if now := carried.Add(int64(n)); now < much || now-int64(n) >= much {
		return
	}
	state.Lock()
	defer state.Unlock()
	state.streams = true
	apply()
}

// apply tells the runtime how much garbage there may be, in percent of the live size. With state locked.
func apply() {
	if state.ballast == nil {
		return
	}
	percent := percentFor(state.streams, state.live)
	if percent != state.percent { // setting it stops the world for a moment
		state.percent = percent
		debug.SetGCPercent(percent)
	}
}

// percentFor returns how much garbage there may be, in percent of the bytes that the runtime counts as live,
// the ballast included.
func percentFor(streams bool, live uint64) int {
	if !streams {
		return 100
	}
	used := live - min(live, headroom)
	return int(100 * max(used, headroom/8) / max(live, headroom))
}

// live returns the live size after the last collection.
func live() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
