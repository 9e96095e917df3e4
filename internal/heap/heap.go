// Package heap sets how much garbage a process may have before it is collected. A process with a small heap
// would collect it many times a second, so the heap may first grow by the headroom. A process that carries
// large streams makes more garbage than anything else does, because NATS allocates memory for each message;
// such a process must stay small, so it has an eighth of the headroom as long as streams run. A large heap
// may always grow by as much as is live.
package heap

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const headroom = 64 << 20 // bytes that may be garbage before a collection, at least

var state struct {
	sync.Mutex        // guards what follows
	ballast    []byte // the runtime counts it as live, but it takes up no memory: nothing was ever written to it
	streams    int    // large streams in progress
	percent    int    // the value that the runtime has
}

// Tune gives the process its headroom. Call it every few seconds: the live size changes.
func Tune() {
	state.Lock()
	defer state.Unlock()
	if state.ballast == nil {
		state.ballast, state.percent = make([]byte, headroom), 0
	}
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

// Begin notes that a large stream begins.
func Begin() { count(1) }

// End notes that a large stream has ended.
func End() { count(-1) }

func count(n int) {
	state.Lock()
	defer state.Unlock()
	before := state.streams
	state.streams += n
	if (before == 0) != (state.streams == 0) {
		apply()
	}
}

// apply tells the runtime how much garbage there may be, in percent of the live size. With state locked.
func apply() {
	if state.ballast == nil {
		return
	}
	percent := percentFor(state.streams, live())
	if percent != state.percent { // setting it stops the world for a moment
		state.percent = percent
		debug.SetGCPercent(percent)
	}
}

// percentFor returns how much garbage there may be, in percent of the bytes that the runtime counts as live,
// the ballast included.
func percentFor(streams int, live uint64) int {
	if streams == 0 {
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
