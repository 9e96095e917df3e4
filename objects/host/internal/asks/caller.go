package asks

import (
	"slices"
	"time"
)

// CopyLife is how long a copy of an ask may be on its way.
const CopyLife = time.Minute

// What a callee keeps goes by time if nobody says that it is settled.
const (
	KeepShort = 2 * time.Minute // for an event that a worker's request without a key began: it is not sent again for so long
	KeepLong  = 24 * time.Hour  // for one that comes again in other ways: it began with a key, an alarm, a message or a frame
)

const (
	sayAfter = 100 * time.Millisecond // settled asks are told together
	sayMany  = 32                     // or when there are so many
	maxOpen  = 1000                   // asks of one caller to one callee that are not settled
)

// Caller is what an owner knows of the asks of its object. The zero Caller has asked nothing.
type Caller struct {
	last uint64 // number of the newest ask
	to   map[string]*callee
}

// callee is one object that was asked.
type callee struct {
	open  []open // by number
	told  int    // settled asks that the callee has not been told of
	since time.Time
}

// open is an ask that its callee may keep the answer of.
type open struct {
	n     uint64
	id    ID
	line  uint64    // the connection that carried it
	until time.Time // then the callee has forgotten it
	ready time.Time // it is settled, which may be said from then on; zero: it is not settled
}

// Settled is what a caller's owner says to a callee: all asks to it with numbers below Low are settled, but for those in
// Open.
type Settled struct {
	Low  uint64
	Open []uint64
}

// Say is Settled with the object that it is for.
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

// Nothing notes that the ask with this number has certainly left nothing at its callee: it was answered, and the answer is
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
				o.ready = now.Add(CopyLife) // a copy of it may overtake what is said now
			}
			if one.told == 0 {
				one.since = now
			}
			one.told++
		}
	}
	r.made = nil
}

// Due is what is to be said now, and when to look again; zero: not before something is settled.
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

// say is what to say of one callee. What is said is not open any more.
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

// tidy forgets a callee of which nothing is open.
func (c *Caller) tidy(to string) {
	if one := c.to[to]; one != nil && len(one.open) == 0 {
		delete(c.to, to)
	}
}

// Idle reports whether nothing is open, or to be said.
func (c *Caller) Idle() bool { return len(c.to) == 0 }
