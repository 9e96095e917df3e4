package flow

import "math/bits"

// ring is a queue of bytes in memory that is used again, so a long stream makes no garbage. It grows in powers of two and
// does not shrink.
type ring struct {
	b    []byte // all of the memory
	from int    // index of the first byte
	n    int    // number of bytes
}

// least is the first size of a ring, in bytes.
const least = 512

// add adds bytes at the end.
func (r *ring) add(p []byte) {
	if need := r.n + len(p); need > len(r.b) {
		grown := make([]byte, 1<<bits.Len(uint(max(need, least)-1)))
		r.copy(grown, 0)
		r.b, r.from = grown, 0
	}
	if len(p) == 0 {
		return // there may be no memory
	}
	at := (r.from + r.n) % len(r.b)
	copy(r.b, p[copy(r.b[at:], p):])
	r.n += len(p)
}

// piece returns at most most bytes from an offset on, fewer where the memory ends.
func (r *ring) piece(at, most int) []byte {
	if r.n == 0 {
		return nil
	}
	begin := (r.from + at) % len(r.b)
	return r.b[begin:min(begin+min(most, r.n-at), len(r.b))]
}

// copy copies bytes from an offset on, and returns how many.
func (r *ring) copy(to []byte, at int) int {
	n := 0
	for n < len(to) && at+n < r.n {
		n += copy(to[n:], r.piece(at+n, r.n))
	}
	return n
}

// drop removes the first n bytes.
func (r *ring) drop(n int) {
	if r.n -= n; r.n == 0 {
		r.from = 0
	} else {
		r.from = (r.from + n) % len(r.b)
	}
}
