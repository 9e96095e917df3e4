package asks

import (
	"slices"
	"time"
)

// Limits of the answers that a callee keeps.
const (
	MaxAnswer = 16 << 10 // bytes of one answer
	maxSize   = 64 << 10 // bytes of all; one more may go beyond it
	maxEntry  = 110      // bytes of an entry beside its answer

	maxFences = 1000
	keepFence = 2 * CopyLife
)

// Question is an ask as it reaches its callee.
type Question struct {
	ID     ID
	Caller string // the object that asks
	Token  uint64 // of its owner
	N      uint64 // of the ask, at that owner
	Long   bool   // the callee keeps the answer for KeepLong
	Fence  bool   // asks of older owners of the caller must not run any more
}

// Kept is an answered question.
type Kept struct {
	ID     ID
	Caller string
	Token  uint64
	N      uint64
	Until  time.Time // then it is forgotten
	Answer []byte
}

// Size returns the number of bytes that it takes, nearly.
func (k *Kept) Size() int { return maxEntry + len(k.Answer)*4/3 }

// Fence is the oldest token under which a caller's asks are run.
type Fence struct {
	Caller string
	Token  uint64
	Until  time.Time
}

// Callee is an object's memory of those that ask it. Its fields are in the object's record. The zero Callee remembers
// nothing.
type Callee struct {
	Kept   []Kept // as they were given
	Fences []Fence
}

// Verdict is the decision on a question.
type Verdict uint8

const (
	Fresh  Verdict = iota // it has not been answered
	Answer                // it has been answered, with the returned answer
	Moved                 // the asking owner of the caller was replaced by a newer one
	Full                  // too many answers are kept
)

func (v Verdict) String() string { return [...]string{"run", "answer", "moved", "full"}[v] }

// Receive decides on a question. fenced reports that a fence was noted, which must be durable before anything is
// answered.
func (c *Callee) Receive(q Question, now time.Time) (v Verdict, answer []byte, fenced bool) {
	c.expire(now)
	i := slices.IndexFunc(c.Fences, func(f Fence) bool { return f.Caller == q.Caller })
	if i >= 0 && q.Token < c.Fences[i].Token {
		return Moved, nil, false
	}
	if q.Fence {
		switch {
		case i < 0 && len(c.Fences) >= maxFences:
			return Full, nil, false
		case i < 0:
			c.Fences, fenced = append(c.Fences, Fence{q.Caller, q.Token, now.Add(keepFence)}), true
		case c.Fences[i].Token < q.Token:
			c.Fences[i], fenced = Fence{q.Caller, q.Token, now.Add(keepFence)}, true
		}
	}
	for i := range c.Kept {
		k := &c.Kept[i]
		if k.ID != q.ID {
			continue
		}
		if k.Token < q.Token || k.Token == q.Token && k.N < q.N { // the newest says when it is settled
			k.Token, k.N = q.Token, q.N
		}
		return Answer, k.Answer, fenced
	}
	if all, own := c.size(q.Caller); all >= maxSize || own >= maxSize/2 {
		return Full, nil, fenced
	}
	return Fresh, nil, fenced
}

// size returns the bytes of all answers, and of those to one caller.
func (c *Callee) size(caller string) (all, own int) {
	for i := range c.Kept {
		size := c.Kept[i].Size()
		all += size
		if c.Kept[i].Caller == caller {
			own += size
		}
	}
	return all, own
}

// Keep remembers the answer to a question.
func (c *Callee) Keep(q Question, answer []byte, now time.Time) {
	keep := KeepShort
	if q.Long {
		keep = KeepLong
	}
	c.Kept = append(c.Kept, Kept{q.ID, q.Caller, q.Token, q.N, now.Add(keep), answer})
}

// Settled forgets the answers that the caller's owner with this token reports as settled. It reports whether any were
// forgotten.
func (c *Callee) Settled(caller string, token uint64, s Settled) bool {
	before := len(c.Kept)
	c.Kept = slices.DeleteFunc(c.Kept, func(k Kept) bool {
		if k.Caller != caller || k.Token != token || k.N >= s.Low {
			return false
		}
		_, open := slices.BinarySearch(s.Open, k.N)
		return !open
	})
	return len(c.Kept) < before
}

// expire forgets expired answers and fences.
func (c *Callee) expire(now time.Time) {
	c.Kept = slices.DeleteFunc(c.Kept, func(k Kept) bool { return !now.Before(k.Until) })
	c.Fences = slices.DeleteFunc(c.Fences, func(f Fence) bool { return !now.Before(f.Until) })
}

// List returns the answers and fences for the record.
func (c *Callee) List(now time.Time) (kept []Kept, fences []Fence) {
	c.expire(now)
	return c.Kept, c.Fences
}
