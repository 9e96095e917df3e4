// Package heap says how much garbage a process may leave before it is collected. A process whose heap is small would
// collect it many times a second: it may become larger first, by the headroom. One that carries large streams makes more
// garbage than all else does (NATS gives each message memory of its own) and is to stay small all the same: it has an
// eighth of the headroom, as long as it does. A large heap may always grow by as much as is live.
package heap

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const headroom = 64 << 20 // bytes that may be garbage before it is collected, at the least

var state struct {
	sync.Mutex        // guards what follows
	ballast    []byte // counts as live for the runtime, and is in no memory: nobody has written to it
	streams    int    // large ones that are being carried
	percent    int    // that the runtime was told
}

// Tune gives the process its headroom. It is called again every few seconds: how much is live changes.
func Tune() {
	state.Lock()
	defer state.Unlock()
	if state.ballast == nil {
		state.ballast, state.percent = make([]byte, headroom), 0
	}
	apply()
}

// Untune takes it back.
func Untune() {
	state.Lock()
	defer state.Unlock()
	if state.ballast != nil {
		state.ballast = nil
		debug.SetGCPercent(100)
	}
}

// Begin notes that a large stream is being carried. End notes that it is not any more.
func Begin() { count(1) }

// End is that of Begin.
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

// apply says to the runtime how much garbage there may be, in percent of what is live. With state locked.
func apply() {
	if state.ballast == nil {
		return
	}
	percent := percentFor(state.streams, live())
	if percent != state.percent { // saying so stops the world for a moment
		state.percent = percent
		debug.SetGCPercent(percent)
	}
}

// percentFor returns how much garbage there may be in percent of the bytes that the runtime takes for live, the ballast
// among them.
func percentFor(streams int, live uint64) int {
	if streams == 0 {
		return 100
	}
	used := live - min(live, headroom)
	return int(100 * max(used, headroom/8) / max(live, headroom))
}

// live returns how many bytes the last collection has left.
func live() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
