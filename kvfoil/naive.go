package kvfoil

import (
	"context"
	"time"
)

// Naive hands out the next ticket of name as a stateless worker on a key-value
// store does: read, add one, write. Between the read and the write lies the gap,
// and everyone who reads during it is handed the same number. Nothing fails,
// nothing is logged: the increments are simply gone. With a cache in the edge,
// those who read what their region has kept are handed old numbers as well.
func (f *Foil) Naive(ctx context.Context, name string, gap time.Duration, edge Edge) (Result, error) {
	c, err := f.claim(naive, name, gap)
	if err != nil {
		return Result{}, err
	}
	n, err := c.get(ctx, edge) // read
	if err != nil {
		return c.result, err
	}
	if err := c.wait(ctx); err != nil { // meanwhile, others read the same n
		return c.result, err
	}
	if err := c.put(ctx, n+1, edge); err != nil { // write, whatever is there by now
		return c.result, err
	}
	return c.won(n + 1), nil
}
