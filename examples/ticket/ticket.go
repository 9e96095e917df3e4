// Package ticket hands out ticket numbers: 1, 2, 3, each exactly once.
package ticket

import "holdfast/objects"

// Tickets are counters.
const Tickets objects.Class = "ticket"

// The calls of a counter.
var (
	Claim = objects.NewCall[objects.None, int](Tickets, "claim") // the next number
	Peek  = objects.NewCall[objects.None, int](Tickets, "peek")  // the last number given, 0 before the first
	Reset = objects.NewCall[objects.None, int](Tickets, "reset") // start over at 0
)

// Objects is the class with its code.
var Objects = objects.Implement(Tickets, objects.New[Counter],
	objects.On(Claim, (*Counter).claim),
	objects.On(Peek, (*Counter).peek),
	objects.On(Reset, (*Counter).reset),
)

var count = objects.NewKey[int]("count") // the last number given

// Counter counts. It keeps nothing in memory: storage is enough.
type Counter struct{}

func (c *Counter) claim(tx *objects.Tx, _ objects.None) (n int, err error) {
	err = tx.Transact(func() error { // all of it is stored, or nothing
		n = count.Get(tx) + 1 // no other event runs between this line
		count.Set(tx, n)      // and this one
		return nil
	})
	return n, err
}

func (c *Counter) peek(tx *objects.Tx, _ objects.None) (int, error) {
	return count.Get(tx), nil
}

func (c *Counter) reset(tx *objects.Tx, _ objects.None) (int, error) {
	count.Delete(tx)
	return 0, nil
}
