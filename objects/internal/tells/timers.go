package tells

import (
	"cmp"
	"container/heap"
	"strings"
	"time"
)

// timer is a message with a time of delivery.
type timer struct {
	at  time.Time
	n   uint64
	key string // storage key
}

// timers are messages by the time at which they are due. The zero timers are empty.
type timers struct {
	now  map[string]timer // by key
	heap timerHeap        // of these, and of some that are not there any more
}

func (t *timers) len() int { return len(t.now) }

func (t *timers) put(one timer) {
	if t.now == nil {
		t.now = make(map[string]timer)
	}
	t.now[one.key] = one
	heap.Push(&t.heap, one)
	if len(t.heap) > 2*len(t.now)+64 { // a timer that is set again and again leaves others behind
		t.heap = t.heap[:0]
		for _, one := range t.now {
			t.heap = append(t.heap, one)
		}
		heap.Init(&t.heap)
	}
}

func (t *timers) remove(key string) { delete(t.now, key) }

// first returns the earliest timer.
func (t *timers) first() (timer, bool) {
	for len(t.heap) > 0 {
		if one := t.heap[0]; t.now[one.key] == one {
			return one, true
		}
		heap.Pop(&t.heap)
	}
	return timer{}, false
}

// timerHeap has the earliest timer first; of several, the one that was told first.
type timerHeap []timer

func (h timerHeap) Len() int      { return len(h) }
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)   { *h = append(*h, x.(timer)) }
func (h timerHeap) Less(i, j int) bool {
	return cmp.Or(h[i].at.Compare(h[j].at), cmp.Compare(h[i].n, h[j].n), strings.Compare(h[i].key, h[j].key)) < 0
}

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = timer{}
	*h = (*h)[:last]
	return x
}
