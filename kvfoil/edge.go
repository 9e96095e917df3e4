package kvfoil

import (
	"sync"
	"time"
)

const (
	writeEvery = time.Second // the limit that Workers KV documents for one key
	maxKeys    = 4096        // about 0.5 MB; beyond it, old keys are forgotten
)

// MaxCacheTTL is the greatest age of a read from an edge's cache: the shortest time for which Workers KV promises to
// keep a value that a region has read.
const MaxCacheTTL = time.Minute

// Edge describes what stands between one naive claim and the store, as at an edge location of Workers KV. The zero
// value is nothing.
type Edge struct {
	// CacheTTL lets the claim read what this Foil has read or written within this time, also that a counter did not
	// exist.
	CacheTTL time.Duration
	// WriteLimit refuses a write with ErrTooMany if this Foil has written the same key within the last second.
	WriteLimit bool
}

// edge is one location: what it has read lately, and when it has written. Times
// come from the caller.
type edge struct {
	mu    sync.Mutex // guards what follows
	reads map[string]cached
	wrote map[string]time.Time // the last write sent, by key
}

type cached struct {
	n  int
	at time.Time
}

func newEdge() *edge {
	return &edge{reads: map[string]cached{}, wrote: map[string]time.Time{}}
}

// lookup returns what is held for key and is younger than ttl.
func (e *edge) lookup(key string, ttl time.Duration, now time.Time) (int, bool) {
	if ttl <= 0 {
		return 0, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c, ok := e.reads[key]
	return c.n, ok && now.Sub(c.at) < ttl
}

func (e *edge) remember(key string, n int, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	trim(e.reads, func(c cached) bool { return now.Sub(c.at) >= MaxCacheTTL })
	e.reads[key] = cached{n: n, at: now}
}

// mayWrite reports whether key may be written now, and notes the write if so. A
// write without a limit may always be, and is noted too.
func (e *edge) mayWrite(key string, limit bool, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if last, ok := e.wrote[key]; ok && limit && now.Sub(last) < writeEvery {
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
