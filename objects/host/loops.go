package host

import "sync/atomic"

// loops are the goroutines that run event loops. A goroutine that has run an object's event loop waits for the next
// object, because its stack has already grown to the size that events need: growing a new one takes longer than many
// events. They end with the incarnation's work.
type loops struct {
	next    chan *object // not buffered: a send succeeds only if a goroutine waits
	waiting atomic.Int32
}

// maxWaiting is how many goroutines may wait for an object. Others end.
const maxWaiting = 128

func newLoops() loops { return loops{next: make(chan *object)} }

// startLoop runs the object's event loop, on a goroutine that waits or on a new one.
func (in *incarnation) startLoop(o *object) {
	select {
	case in.loops.next <- o:
	default:
		in.tasks.Go(func() { in.runLoops(o) })
	}
}

// runLoops runs the object's event loop, and then those of others.
func (in *incarnation) runLoops(o *object) {
	var t scratch
	for o != nil {
		o.run(&t)
		o = in.awaitLoop()
	}
}

// awaitLoop returns the next object; nil: the goroutine must end.
func (in *incarnation) awaitLoop() *object {
	defer in.loops.waiting.Add(-1)
	if in.loops.waiting.Add(1) > maxWaiting {
		return nil
	}
	select {
	case o := <-in.loops.next:
		return o
	case <-in.work.Done():
		return nil
	}
}
