package asks

import (
	"cmp"
	"strings"
)

// Waiter is an event that waits for what it has asked.
//
// Events that wait for each other in a circle are found by probes: each sends one to the object that it waits for, which
// passes it on to those that its own running event waits for, unless that event is the younger one. So of a circle one probe
// comes back, that of the youngest, which gives way: it is unwound, what waits for its object runs, and then it runs again.
//
// The age is that of the event which began the chain, so an event that has given way grows older. Of the events of one chain
// the one that fewer objects wait for is the younger: it is the one in a circle whose object somebody else waits for.
type Waiter struct {
	Time  int64  // of the event that began the chain
	Root  string // which it was
	Depth int    // how many objects wait for the event
	Event string
}

// Younger reports whether the event is the one of the two to give way. The end of a socket never is.
func (w Waiter) Younger(than Waiter) bool {
	stays := func(w Waiter) int {
		if strings.HasSuffix(w.Root, "/end") {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(stays(w), stays(than)), cmp.Compare(w.Time, than.Time), strings.Compare(w.Root, than.Root),
		cmp.Compare(than.Depth, w.Depth), strings.Compare(w.Event, than.Event)) > 0
}
