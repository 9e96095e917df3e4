// Package race fires claims at several counters and tells what each did with them.
//
// A run takes the counters one after another, so that they do not disturb each
// other. For each it starts n goroutines, holds them at a barrier, lets them go
// and takes the time of everything that happens by one clock: microseconds since
// that counter's barrier fell. What it has to say comes as events, each of which
// is one line of NDJSON:
//
//	start      once
//	attempt    n times per counter, in the order in which the claims ended
//	verdict    per counter, after its attempts
//	done       once
//
// A verdict counts what was asked, answered and stored. An increment is lost when
// its claim was answered and the stored value does not have it. A claim that was
// refused did not happen and is never lost; one whose fate is unknown may or may
// not have counted and turns "lost" into a range.
//
// The package knows no counter: a claim is a function.
package race

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// MaxN is the largest number of claims per counter.
	MaxN = 200
	// MaxSpread is the longest arrival spread.
	MaxSpread = 10 * time.Second
	// DefaultTimeout bounds the claims at one counter if a Run does not say:
	// enough for 15 compare-and-set claims with a gap of a second.
	DefaultTimeout = 30 * time.Second

	peekTimeout = 5 * time.Second
)

// ErrInvalid is wrapped by what Check returns.
var ErrInvalid = errors.New("invalid race")

// Outcome says what became of a claim.
type Outcome string

const (
	OK          Outcome = "ok"          // answered with a ticket
	Refused     Outcome = "refused"     // did not happen: over a limit, or malformed
	Unavailable Outcome = "unavailable" // did not happen: nobody was there in time
	Unknown     Outcome = "unknown"     // may or may not have counted
)

// Counter is one column of the race.
type Counter struct {
	// Name is "object", "naive" or "cas". The sentence of the verdict knows
	// these; any other name speaks for itself.
	Name string
	// Claim asks for the next ticket. It is called from many goroutines and must
	// return soon after its context ended.
	Claim func(ctx context.Context) Answer
	// Peek reads the stored value and changes nothing. Without it, or when it
	// fails, what was lost cannot be counted.
	Peek func(ctx context.Context) (int, error)
}

// Answer is what one claim came to.
type Answer struct {
	Ticket int
	// Attempts are the reads and writes that the claim saw itself making. An
	// object makes its own where the claim cannot see them: leave it empty.
	Attempts []Attempt
	// Err is why there is no ticket. Its text is shown to the visitor.
	Err error
	// Outcome, if left empty, is OK without an Err and Unknown with one: only
	// the claim itself can know that nothing happened.
	Outcome Outcome
}

// Attempt is one read and the write that followed from it.
type Attempt struct {
	Read       time.Time // when the value arrived
	ReadValue  int       // the value as read
	Wrote      time.Time // when the store answered the write; zero when it never did
	WroteValue int       // the value sent; 0 when nothing was sent
	Refused    bool      // the store refused the write
}

// Run describes one race.
type Run struct {
	N        int           // claims per counter, 1 to MaxN
	Gap      time.Duration // what the claims were built with; only reported
	Spread   time.Duration // from the arrival of the first claim to that of the last, 0 to MaxSpread
	Counters []Counter
	Timeout  time.Duration // for all claims at one counter; 0 means DefaultTimeout
}

// Check returns an error that wraps ErrInvalid if Do would have to bend r.
func (r Run) Check() error {
	switch {
	case r.N < 1 || r.N > MaxN:
		return fmt.Errorf("%w: n is %d, must be between 1 and %d", ErrInvalid, r.N, MaxN)
	case r.Spread < 0 || r.Spread > MaxSpread:
		return fmt.Errorf("%w: spread is %v, must be between 0 and %v", ErrInvalid, r.Spread, MaxSpread)
	}
	return nil
}

// Do runs the race and returns the verdicts in the order of the counters. It
// brings N and Spread within their limits. Every event goes to emit, which is
// called from this goroutine only; a slow emit delays the next counter, never a
// measured claim. When ctx ends, the counters not yet begun are left out. Do
// returns after every goroutine that it started.
func (r Run) Do(ctx context.Context, emit func(any)) []Verdict {
	r.N = min(max(r.N, 1), MaxN)
	r.Spread = min(max(r.Spread, 0), MaxSpread)
	if r.Timeout <= 0 {
		r.Timeout = DefaultTimeout
	}
	began := time.Now()
	emit(r.start())
	var verdicts []Verdict
	for _, c := range r.Counters {
		if ctx.Err() != nil {
			break
		}
		v := r.column(ctx, c, emit)
		emit(v)
		verdicts = append(verdicts, v)
	}
	emit(Done{Type: "done", ElapsedUs: time.Since(began).Microseconds()})
	return verdicts
}

func (r Run) start() Start {
	names := make([]string, len(r.Counters))
	for i, c := range r.Counters {
		names[i] = c.Name
	}
	return Start{Type: "start", Counters: names, N: r.N, GapMs: ms(r.Gap), SpreadMs: ms(r.Spread)}
}

// column races one counter.
func (r Run) column(ctx context.Context, c Counter, emit func(any)) Verdict {
	before := peek(ctx, c)
	attempts := make([]Attempted, 0, r.N)
	for a := range r.fire(ctx, c) {
		emit(a)
		attempts = append(attempts, a)
	}
	return Judge(c.Name, attempts, before, peek(ctx, c))
}

// fire makes the claims and sends each to the channel as it ends. The channel has
// room for all and is closed after the last.
func (r Run) fire(ctx context.Context, c Counter) <-chan Attempted {
	var (
		ended   = make(chan Attempted, r.N)
		barrier = make(chan struct{}) // closed once all stand at it
		zero    time.Time             // written before barrier is closed, read after
		ready   sync.WaitGroup
		running sync.WaitGroup
	)
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	for i := range r.N {
		ready.Add(1)
		running.Go(func() {
			ready.Done()
			<-barrier
			ended <- r.claim(ctx, c, i, zero)
		})
	}
	ready.Wait()
	zero = time.Now()
	close(barrier)
	go func() { // ends with the last claim; the reader of ended waits for it
		running.Wait()
		cancel()
		close(ended)
	}()
	return ended
}

// claim lets claim i arrive at its time and makes it.
func (r Run) claim(ctx context.Context, c Counter, i int, zero time.Time) Attempted {
	if err := arrive(ctx, zero.Add(r.offset(i))); err != nil {
		now := time.Now()
		return note(c.Name, i, zero, now, now, Answer{Err: fmt.Errorf("not sent: %w", err), Outcome: Unavailable})
	}
	sent := time.Now()
	answer := c.Claim(ctx)
	return note(c.Name, i, zero, sent, time.Now(), answer)
}

// offset is when claim i arrives after the barrier: evenly over the spread.
func (r Run) offset(i int) time.Duration {
	if r.N < 2 {
		return 0
	}
	return r.Spread * time.Duration(i) / time.Duration(r.N-1)
}

func arrive(ctx context.Context, at time.Time) error {
	wait := time.Until(at)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// peek returns the stored value, or nil when it cannot be had.
func peek(ctx context.Context, c Counter) *int {
	if c.Peek == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, peekTimeout)
	defer cancel()
	n, err := c.Peek(ctx)
	if err != nil {
		return nil
	}
	return &n
}
