package kvfoil

import (
	"context"
	"errors"
	"time"
)

// CAS hands out the next ticket of name by compare-and-set: the store takes the
// write only if nobody wrote since the read. No increment is ever lost, but every
// refused write was work for nothing: read again, wait again, try again.
func (f *Foil) CAS(ctx context.Context, name string, gap time.Duration) (Result, error) {
	c, err := f.claim(cas, name, gap)
	if err != nil {
		return Result{}, err
	}
	for {
		n, revision, err := c.getRevision(ctx) // read, and remember which revision it was
		if err != nil {
			return c.result, err
		}
		if err := c.wait(ctx); err != nil {
			return c.result, err
		}
		err = c.update(ctx, n+1, revision) // write, but only over that revision
		if err == nil {
			return c.won(n + 1), nil
		}
		if !errors.Is(err, errMoved) {
			return c.result, err
		}
		if err := c.backOff(ctx); err != nil { // somebody was faster
			return c.result, err
		}
	}
}
