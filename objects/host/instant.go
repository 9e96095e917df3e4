package host

import "time"

// instant is a moment by the monotonic clock, in nanoseconds since the process began. It takes a third of a time.Time:
// objects that sleep keep some. Its wall clock means nothing.
type instant int64

var processBegan = time.Now()

func instantOf(t time.Time) instant { return instant(t.Sub(processBegan)) }

func (i instant) time() time.Time { return processBegan.Add(time.Duration(i)) }
