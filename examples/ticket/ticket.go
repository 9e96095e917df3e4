// Package ticket hands out ticket numbers: 1, 2, 3, each exactly once.
package ticket

import (
	"context"

	"holdfast/objects"
)

// The calls a Counter answers.
var (
	Claim = objects.NewCall[objects.None, int]("claim") // the next number
	Peek  = objects.NewCall[objects.None, int]("peek")  // the last number given, 0 before the first
	Reset = objects.NewCall[objects.None, int]("reset") // start over at 0
)

// Class is the class to run.
var Class = objects.Define("ticket", New,
	objects.On(Claim, (*Counter).claim),
	objects.On(Peek, (*Counter).peek),
	objects.On(Reset, (*Counter).reset),
)

var count = objects.NewKey[int]("count") // the last number given

// Counter counts. It keeps nothing in memory: storage is enough.
type Counter struct{ state *objects.State }

// New makes a Counter.
func New(state *objects.State) *Counter { return &Counter{state} }

func (c *Counter) claim(context.Context, objects.None) (int, error) {
	n := count.Get(c.state, 0) + 1
	count.Set(c.state, n)
	return n, nil
}

func (c *Counter) peek(context.Context, objects.None) (int, error) {
	return count.Get(c.state, 0), nil
}

func (c *Counter) reset(context.Context, objects.None) (int, error) {
	count.Delete(c.state)
	return 0, nil
}
