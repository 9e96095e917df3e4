package asks

import (
	"cmp"
	"strings"
)

// Waiter is an event that waits for the answer to its ask.
//
// Events that wait for each other in a circle are found by probes: each sends one to the object that it waits for, which
// passes it on to those that its own running event waits for, unless that event is the younger one. So one probe of a circle
// comes back, that of the youngest event, which gives way: it is unwound, the events that wait for its object run, and then it runs again.
//
// An event's age is that of the event which began its chain, so an event that has given way grows older. Of the events of one chain
// the one that fewer objects wait for is the younger: it is the one in a circle whose object somebody else waits for.
type Waiter struct {
	Time  int64  // of the event that began the chain
	Root  string // name of the event that began the chain
	Depth int    // how many objects wait for the event
	Event string
}

// Younger reports whether the event must give way to the other. The end of a socket never gives way.
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
