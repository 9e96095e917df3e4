package kvfoil

import (
	"sync"
	"time"
)

const (
	writeEvery = time.Second // the limit that Workers KV documents for one key
	maxKeys    = 4096        // about 0.5 MB; beyond it, old keys are forgotten
)

// edge is what an edge location puts between a worker and the store: a read
// cache that may be behind, and a limit on writes. Times come from the caller.
type edge struct {
	ttl   time.Duration // 0 means no cache
	limit bool

	mu    sync.Mutex // guards what follows
	reads map[string]cached
	wrote map[string]time.Time // the last write sent, by key
}

type cached struct {
	n     int
	until time.Time
}

func newEdge(ttl time.Duration, limit bool) *edge {
	return &edge{ttl: ttl, limit: limit, reads: map[string]cached{}, wrote: map[string]time.Time{}}
}

// lookup returns what the cache still holds for key.
func (e *edge) lookup(key string, now time.Time) (int, bool) {
	if e.ttl <= 0 {
		return 0, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c, ok := e.reads[key]
	return c.n, ok && now.Before(c.until)
}

func (e *edge) remember(key string, n int, now time.Time) {
	if e.ttl <= 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	trim(e.reads, func(c cached) bool { return !now.Before(c.until) })
	e.reads[key] = cached{n: n, until: now.Add(e.ttl)}
}

// mayWrite reports whether key may be written now, and if so counts the write.
func (e *edge) mayWrite(key string, now time.Time) bool {
	if !e.limit {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if last, ok := e.wrote[key]; ok && now.Sub(last) < writeEvery {
		return false
	}
	trim(e.wrote, func(t time.Time) bool { return now.Sub(t) >= writeEvery })
	e.wrote[key] = now
	return true
}

// trim makes room in a full map: all that is old goes first, then anything until
// a quarter is free. The second costs a fresh read or one write too many.
func trim[V any](m map[string]V, old func(V) bool) {
	if len(m) < maxKeys {
		return
	}
	for key, v := range m {
		if old(v) {
			delete(m, key)
		}
	}
	for key := range m {
		if len(m) <= maxKeys*3/4 {
			return
		}
		delete(m, key)
	}
}
