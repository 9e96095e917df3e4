package asks

import (
	"slices"
	"time"
)

// CopyLife is how long a copy of an ask may be on its way.
const CopyLife = time.Minute

// How long a callee keeps an answer that is never settled.
const (
	KeepShort = 2 * time.Minute // for an event that began with a worker's request without a key: it is repeated only for a shorter time
	KeepLong  = 24 * time.Hour  // for an event that may be repeated later: it began with a key, an alarm, a message or a frame
)

const (
	sayAfter = 100 * time.Millisecond // settled asks are reported together
	sayMany  = 32                     // or when there are so many
	maxOpen  = 1000                   // asks of one caller to one callee that are not settled
)

// Caller is an owner's knowledge of its object's asks. The zero Caller has asked nothing.
type Caller struct {
	last uint64 // number of the newest ask
	to   map[string]*callee
}

// callee is one object that was asked.
type callee struct {
	open  []open // by number
	told  int    // settled asks that were not reported yet
	since time.Time
}

// open is an ask whose answer the callee may keep.
type open struct {
	n     uint64
	id    ID
	line  uint64    // the connection that carried it
	until time.Time // then the callee has forgotten it
	ready time.Time // the ask is settled, and may be reported from then on; zero: it is not settled
}

// Settled is a report of a caller's owner to a callee: all asks to it with numbers below Low are settled, except those in
// Open.
type Settled struct {
	Low  uint64
	Open []uint64
}

// Say is a Settled and its receiver.
type Say struct {
	Callee string
	Settled
}

// Ask numbers an ask of the run. line is the connection that carries it, and long says that the callee keeps the answer for
// KeepLong. It reports false if too many asks to this callee are open.
func (c *Caller) Ask(r *Run, to string, id ID, line uint64, long bool, now time.Time) (n uint64, ok bool) {
	one := c.to[to]
	if one == nil {
		one = new(callee)
		if c.to == nil {
			c.to = make(map[string]*callee)
		}
		c.to[to] = one
	}
	one.expire(now)
	if len(one.open) >= maxOpen {
		return 0, false
	}
	keep := KeepShort
	if long {
		keep = KeepLong
	}
	c.last++
	one.open = append(one.open, open{n: c.last, id: id, line: line, until: now.Add(keep + CopyLife)})
	r.made = append(r.made, made{to, id})
	return c.last, true
}

// Nothing notes that the callee keeps nothing of the ask with this number: it was answered, and the answer is
// not kept, or it was never sent.
func (c *Caller) Nothing(r *Run, to string, id ID, n uint64) {
	one := c.to[to]
	if one == nil {
		return
	}
	one.open = slices.DeleteFunc(one.open, func(o open) bool { return o.n == n })
	if !slices.ContainsFunc(one.open, func(o open) bool { return o.id == id }) { // of an earlier run of the event
		if i := slices.Index(r.made, made{to, id}); i >= 0 {
			r.made = slices.Delete(r.made, i, i+1)
		}
	}
	c.tidy(to)
}

// Settle notes that the event of the run is durable, and will not run again: its asks are settled, those of its earlier runs
// at this owner too. line is the present connection.
func (c *Caller) Settle(r *Run, line uint64, now time.Time) {
	for _, m := range r.made {
		one := c.to[m.callee]
		if one == nil {
			continue
		}
		for i := range one.open {
			o := &one.open[i]
			if o.id != m.id || !o.ready.IsZero() {
				continue
			}
			o.ready = now
			if o.line != line {
				o.ready = now.Add(CopyLife) // a copy of the ask may overtake a report
			}
			if one.told == 0 {
				one.since = now
			}
			one.told++
		}
	}
	r.made = nil
}

// Due returns the reports to send now, and when to call it again; zero: after the next Settle.
func (c *Caller) Due(now time.Time) (say []Say, again time.Time) {
	next := func(at time.Time) {
		if again.IsZero() || at.Before(again) {
			again = at
		}
	}
	for to, one := range c.to {
		one.expire(now)
		if one.told > 0 && one.told < sayMany && now.Before(one.since.Add(sayAfter)) {
			next(one.since.Add(sayAfter))
			continue
		}
		if one.told > 0 {
			say = append(say, Say{to, one.say(c.last+1, now)})
		}
		for _, o := range one.open {
			if !o.ready.IsZero() {
				next(o.ready)
			}
		}
		c.tidy(to)
	}
	return say, again
}

// say returns the report to one callee. Reported asks are not open any more.
func (one *callee) say(low uint64, now time.Time) Settled {
	s := Settled{Low: low}
	one.told = 0
	one.open = slices.DeleteFunc(one.open, func(o open) bool { return !o.ready.IsZero() && !now.Before(o.ready) })
	for _, o := range one.open {
		s.Open = append(s.Open, o.n)
		if !o.ready.IsZero() {
			one.told++
			one.since = o.ready
		}
	}
	return s
}

// expire forgets asks that the callee has forgotten.
func (one *callee) expire(now time.Time) {
	one.open = slices.DeleteFunc(one.open, func(o open) bool { return !now.Before(o.until) })
	if len(one.open) == 0 {
		one.told = 0
	}
}

// tidy forgets a callee without open asks.
func (c *Caller) tidy(to string) {
	if one := c.to[to]; one != nil && len(one.open) == 0 {
		delete(c.to, to)
	}
}

// Idle reports whether there are no open asks and no reports to send.
func (c *Caller) Idle() bool { return len(c.to) == 0 }
