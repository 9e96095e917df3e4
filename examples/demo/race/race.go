// Package race fires claims at several counters and reports what each did with them.
//
// A run takes the counters one after another, so that they do not disturb each
// other. For each it starts n goroutines, holds them at a barrier, lets them go
// and takes the time of everything that happens by one clock: microseconds since
// that counter's barrier fell. The claims may be shared among teams in several
// regions; then the barrier falls at an instant that all have been told before.
// What a run has to say comes as events, each of which is one line of NDJSON:
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
	standing    = 50 * time.Millisecond // for goroutines to stand at a barrier that falls at a time
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
	// Break breaks something in the midst of the claims; nil: nothing is broken.
	Break *Break
	// Peek reads the stored value and changes nothing. Without it, or when it
	// fails, what was lost cannot be counted.
	Peek func(ctx context.Context) (int, error)
}

// Break is what a run breaks.
type Break struct {
	After int // claims that were answered before
	// Do breaks it, given who answered the last claim. tell may be called from any
	// goroutine, during Do and after it.
	Do func(owner string, tell func(Broken)) error
	// Last is the What of the last thing that is told, for which the run waits.
	Last string
	// Patience bounds that wait.
	Patience time.Duration
}

// Broken is something that came of a Break.
type Broken struct {
	What string
	Host string
	At   time.Time
}

// Answer is what one claim came to.
type Answer struct {
	Ticket int
	// Attempts are the reads and writes that the claim saw itself making. An
	// object makes its own where the claim cannot see them: leave it empty.
	Attempts []Attempt
	// Owner and Epoch are who answered, where a counter has an owner.
	Owner string
	Epoch uint64
	// Err is why there is no ticket. Its text is shown to the visitor.
	Err error
	// Code is a word for Err that a program can read, or empty.
	Code string
	// Outcome, if left empty, is OK without an Err and Unknown with one: only
	// the claim itself can know that nothing happened.
	Outcome Outcome
}

// Attempt is one read and the write that followed from it.
type Attempt struct {
	Read       time.Time // when the value arrived
	ReadValue  int       // the value as read
	Cached     bool      // the read was answered by a cache, and may be of old
	Wrote      time.Time // when the store answered the write; zero when it never did
	WroteValue int       // the value sent; 0 when nothing was sent
	Refused    bool      // the store refused the write
}

// Team makes a share of the claims, from where it stands.
type Team struct {
	Region string
	// Lead is how long before the barrier falls the team has to be told.
	Lead time.Duration
	// Fire makes the claims of a share and calls ended for each, from one goroutine
	// at a time. It returns when all have ended, or with why it gave up on the rest.
	// Without it this process makes them.
	Fire func(ctx context.Context, s Share, ended func(Attempted)) error
}

// Share is what one team does at one counter.
type Share struct {
	Counter string
	Region  string
	// Zero is when the barrier falls; the zero time lets it fall when all stand at it.
	Zero   time.Time
	Claims []Arrival
}

// Arrival is one claim of a share.
type Arrival struct {
	I     int           // in order of arrival over all teams, from 0
	After time.Duration // since the barrier fell
}

// Run describes one race.
type Run struct {
	N        int           // claims per counter, 1 to MaxN
	Gap      time.Duration // what the claims were built with; only reported
	Spread   time.Duration // from the arrival of the first claim to that of the last, 0 to MaxSpread
	Counters []Counter
	Teams    []Team        // take turns in the order of arrival; none: this process alone
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
	if len(r.Teams) == 0 {
		r.Teams = []Team{{}}
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
	var regions []string
	for _, t := range r.Teams {
		if t.Region != "" {
			regions = append(regions, t.Region)
		}
	}
	return Start{Type: "start", Counters: names, N: r.N, GapMs: ms(r.Gap), SpreadMs: ms(r.Spread), Regions: regions}
}

// column races one counter.
func (r Run) column(ctx context.Context, c Counter, emit func(any)) Verdict {
	before := peek(ctx, c)
	attempts := make([]Attempted, 0, r.N)
	shares := r.shares(c, time.Now())
	breaking := newBreaking(c, shares[0].Zero)
	for a := range r.fire(ctx, c, shares) {
		emit(a)
		attempts = append(attempts, a)
		breaking.answered(a, emit)
	}
	breaking.settle(ctx, emit)
	return Judge(c.Name, attempts, before, peek(ctx, c))
}

// fire has the teams make the claims and sends each to the channel as it ends. The
// channel has room for all and is closed after the last.
func (r Run) fire(ctx context.Context, c Counter, shares []Share) <-chan Attempted {
	var (
		ended  = make(chan Attempted, r.N)
		firing sync.WaitGroup
	)
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	for k, share := range shares {
		firing.Go(func() { r.Teams[k].fire(ctx, c, share, ended) })
	}
	go func() { // ends with the last claim; the reader of ended waits for it
		firing.Wait()
		cancel()
		close(ended)
	}()
	return ended
}

// shares divides the claims among the teams. One team lets its barrier fall when it
// stands; several agree on when, and so does a run that breaks something at a time.
func (r Run) shares(c Counter, now time.Time) []Share {
	shares := make([]Share, len(r.Teams))
	var lead time.Duration
	if c.Break != nil {
		lead = standing
	}
	for _, t := range r.Teams {
		lead = max(lead, t.Lead)
	}
	for k, t := range r.Teams {
		shares[k] = Share{Counter: c.Name, Region: t.Region}
		if lead > 0 {
			shares[k].Zero = now.Add(lead)
		}
	}
	for i := range r.N {
		s := &shares[i%len(shares)]
		s.Claims = append(s.Claims, Arrival{I: i, After: r.offset(i)})
	}
	return shares
}

// fire makes a share's claims. Those of which nothing was heard are unknown.
func (t Team) fire(ctx context.Context, c Counter, s Share, ended chan<- Attempted) {
	if len(s.Claims) == 0 {
		return
	}
	if t.Fire == nil {
		Fire(ctx, c, s, func(a Attempted) { ended <- a })
		return
	}
	waiting := make(map[int]Arrival, len(s.Claims))
	for _, claim := range s.Claims {
		waiting[claim.I] = claim
	}
	err := t.Fire(ctx, s, func(a Attempted) {
		if _, ours := waiting[a.I]; !ours {
			return // twice, or of somebody else
		}
		delete(waiting, a.I)
		a.Type, a.Counter, a.Region = "attempt", c.Name, t.Region
		ended <- a
	})
	if err == nil {
		err = errors.New("nothing was heard of it")
	}
	for _, claim := range waiting {
		lost := note(c.Name, claim.I, s.Zero, s.Zero.Add(claim.After), time.Now(), Answer{Err: fmt.Errorf("%s: %w", t.Region, err), Outcome: Unknown})
		lost.Region = t.Region
		ended <- lost
	}
}

// Fire makes the claims of a share from this process, and calls ended for each from
// this goroutine. It returns when all have ended.
func Fire(ctx context.Context, c Counter, s Share, ended func(Attempted)) {
	var (
		done    = make(chan Attempted, len(s.Claims))
		barrier = make(chan struct{}) // closed once all stand at it
		ready   sync.WaitGroup
		running sync.WaitGroup
	)
	for _, claim := range s.Claims {
		ready.Add(1)
		running.Go(func() {
			ready.Done()
			<-barrier
			done <- s.claim(ctx, c, claim)
		})
	}
	ready.Wait()
	if s.Zero.IsZero() {
		s.Zero = time.Now()
	}
	close(barrier)
	go func() { // ends with the last claim; the reader of done waits for it
		running.Wait()
		close(done)
	}()
	for a := range done {
		ended(a)
	}
}

// claim lets one claim arrive at its time and makes it.
func (s *Share) claim(ctx context.Context, c Counter, claim Arrival) Attempted {
	var a Attempted
	if err := arrive(ctx, s.Zero.Add(claim.After)); err != nil {
		now := time.Now()
		a = note(c.Name, claim.I, s.Zero, now, now, Answer{Err: fmt.Errorf("not sent: %w", err), Outcome: Unavailable})
	} else {
		sent := time.Now()
		answer := c.Claim(ctx)
		a = note(c.Name, claim.I, s.Zero, sent, time.Now(), answer)
	}
	a.Region = s.Region
	return a
}

// offset returns when claim i arrives after the barrier: evenly over the spread.
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
