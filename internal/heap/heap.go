// Package heap says how much garbage a process may leave before it is collected. A process whose heap is small would
// collect it many times a second: it may become larger first, by the headroom. One that carries large streams makes more
// garbage than all else does (NATS gives each message memory of its own) and is to stay small all the same: it has an
// eighth of the headroom, as long as it does.
package heap

import (
	"runtime/debug"
	"sync"
)

const headroom = 64 << 20 // bytes that may be garbage before it is collected, at the least

var state struct {
	sync.Mutex        // guards what follows
	ballast    []byte // counts as live for the runtime, and is in no memory: nobody has written to it
	streams    int    // large ones that are being carried
}

// Tune gives the process its headroom.
func Tune() {
	state.Lock()
	defer state.Unlock()
	state.ballast = make([]byte, headroom)
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
	if state.ballast != nil {
		debug.SetGCPercent(percentFor(state.streams))
	}
}

func percentFor(streams int) int {
	if streams > 0 {
		return 12
	}
	return 100
}
