package flow

import "math/bits"

// ring keeps bytes in the order in which they came, in memory that is used again: a stream that goes on leaves no garbage
// behind. It grows with what is kept, in powers of two, and does not shrink.
type ring struct {
	b    []byte // its length is the memory there is
	from int    // where the first byte is
	n    int    // how many there are
}

// least is the least memory that a ring takes.
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

// piece is bytes from one place on, up to so many: fewer where the memory ends.
func (r *ring) piece(at, most int) []byte {
	if r.n == 0 {
		return nil
	}
	begin := (r.from + at) % len(r.b)
	return r.b[begin:min(begin+min(most, r.n-at), len(r.b))]
}

// copy copies bytes from one place on, and returns how many.
func (r *ring) copy(to []byte, at int) int {
	n := 0
	for n < len(to) && at+n < r.n {
		n += copy(to[n:], r.piece(at+n, r.n))
	}
	return n
}

// drop takes the first bytes away.
func (r *ring) drop(n int) {
	if r.n -= n; r.n == 0 {
		r.from = 0
	} else {
		r.from = (r.from + n) % len(r.b)
	}
}
