package host

import (
	"container/heap"
	"sync"
	"time"
)

// rota says when each object is looked after next, to see whether it has been idle:
// then its instance may sleep, or it is released. So what a million sleeping objects
// cost is a look at each in the time after which they are released.
type rota struct {
	mu    sync.Mutex // guards what follows; taken after an object's own
	looks looks
}

// look is one object's place in the rota. It is void if the object has another,
// which is in its field turn.
type look struct {
	at time.Time
	o  *object
}

// put gives the object a place, and no other.
func (r *rota) put(o *object, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.turn = at
	heap.Push(&r.looks, look{at, o})
}

// due takes out the objects whose time has come.
func (r *rota) due(now time.Time) (all []*object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.looks) > 0 && !now.Before(r.looks[0].at) {
		if l := heap.Pop(&r.looks).(look); l.o.turn.Equal(l.at) {
			all = append(all, l.o)
		}
	}
	return all
}

// looks are a heap, the earliest first.
type looks []look

func (l looks) Len() int           { return len(l) }
func (l looks) Less(i, j int) bool { return l[i].at.Before(l[j].at) }
func (l looks) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *looks) Push(x any)        { *l = append(*l, x.(look)) }

func (l *looks) Pop() any {
	last := len(*l) - 1
	x := (*l)[last]
	(*l)[last] = look{}
	*l = (*l)[:last]
	return x
}
