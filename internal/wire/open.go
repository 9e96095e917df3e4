package wire

import (
	"encoding/binary"
	"errors"
	"slices"
)

// Open are the numbers of the requests that a client waits for at an object, when it makes one more: ascending, each
// packed as its distance from the one before, the first from Request.Low. A client says Open only if so many of its
// requests came between the lowest and the new one that an owner should not keep the answers of all. So one request that
// is late costs an owner the memory of those that are open, and not of those that overtake it.
type Open []byte

const (
	openFrom  = 256  // a request this far beyond the lowest says which are open
	openEvery = 64   // and no request until this far beyond that one
	maxOpen   = 4096 // a client that waits for more does not say so: no owner remembers as many answers
)

// openRequests are the requests that a client waits for at one object.
type openRequests struct {
	numbers []uint64 // ascending
	said    uint64   // the last request that said which are open
}

// begin adds a request, which has the highest number so far. It returns what the request says.
func (o openRequests) begin(n uint64) (after openRequests, low uint64, say Open) {
	low = n
	if len(o.numbers) > 0 {
		low = o.numbers[0]
	}
	if n-low >= openFrom && n-o.said >= openEvery && len(o.numbers) <= maxOpen {
		o.said = n
		say = packOpen(o.numbers)
	}
	o.numbers = append(o.numbers, n)
	return o, low, say
}

// end removes a request.
func (o openRequests) end(n uint64) openRequests {
	if i, ok := slices.BinarySearch(o.numbers, n); ok {
		o.numbers = slices.Delete(o.numbers, i, i+1)
	}
	return o
}

// packOpen packs numbers, which are ascending. The first is low.
func packOpen(numbers []uint64) Open {
	open := make(Open, 0, 2*len(numbers))
	before := numbers[0]
	for _, n := range numbers {
		open = binary.AppendUvarint(open, n-before)
		before = n
	}
	return open
}

var errOpen = errors.New("the list of open requests is none that a client makes")

// Numbers returns the numbers. It refuses what no client says in the request that has number n.
func (o Open) Numbers(low, n uint64) ([]uint64, error) {
	if len(o) == 0 {
		return nil, nil
	}
	numbers := make([]uint64, 0, min(len(o), maxOpen))
	for at := low; len(o) > 0; {
		by, size := binary.Uvarint(o)
		at += by
		switch {
		case size <= 0, len(numbers) == maxOpen, at < by, at >= n:
			return nil, errOpen
		case len(numbers) == 0 && by != 0, len(numbers) > 0 && by == 0:
			return nil, errOpen
		}
		numbers = append(numbers, at)
		o = o[size:]
	}
	return slices.Clip(numbers), nil
}
