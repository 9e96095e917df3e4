package flow

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// String returns what is kept.
func (r *ring) String() string {
	all := make([]byte, r.n)
	r.copy(all, 0)
	return string(all)
}

// What goes into a ring comes out in its order, also where its memory ends and begins anew.
func TestARingIsAQueue(t *testing.T) {
	const window = 1 << 10
	var r ring
	var want []byte
	next := byte(0)
	for range 20000 {
		p := make([]byte, rand.IntN(window-len(want)+1))
		for i := range p {
			p[i] = next
			next++
		}
		r.add(p)
		if want = append(want, p...); r.n != len(want) || r.String() != string(want) {
			t.Fatalf("%d bytes are kept, want %d in order", r.n, len(want))
		}
		at, most := rand.IntN(len(want)+1), rand.IntN(window)
		piece := r.piece(at, most)
		if !bytes.HasPrefix(want[at:], piece) || len(piece) > most || len(piece) == 0 && most > 0 && at < len(want) {
			t.Fatalf("a piece from %d on, at most %d, has %d bytes", at, most, len(piece))
		}
		n := rand.IntN(len(want) + 1)
		r.drop(n)
		want = want[n:]
	}
	if len(r.b) > window {
		t.Errorf("the memory is %d bytes for %d", len(r.b), window)
	}
	if n := testing.AllocsPerRun(100, func() { r.add(want[:0]); r.drop(r.n); r.add(make([]byte, 8)) }); n > 0 {
		t.Errorf("%v allocations for bytes that there is room for", n)
	}
}
