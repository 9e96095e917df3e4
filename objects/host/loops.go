package host

import "sync/atomic"

// loops are the goroutines that run event loops. One that has run an object's waits for
// the next object: its stack has the size that events need, to which that of a new
// goroutine has to grow, and that takes longer than many an event. The incarnation's work
// ends them.
type loops struct {
	next    chan *object // not buffered: who sends knows that somebody waits
	waiting atomic.Int32
}

// maxWaiting is how many goroutines wait for an object. More end.
const maxWaiting = 128

func newLoops() loops { return loops{next: make(chan *object)} }

// startLoop has the object's event loop run.
func (in *incarnation) startLoop(o *object) {
	select {
	case in.loops.next <- o:
	default:
		in.tasks.Go(func() { in.runLoops(o) })
	}
}

// runLoops runs the object's event loop, and then those of others.
func (in *incarnation) runLoops(o *object) {
	var t turn
	for o != nil {
		o.run(&t)
		o = in.awaitLoop()
	}
}

// awaitLoop is the next object; nil if the goroutine is to end.
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
