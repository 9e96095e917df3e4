package host

import (
	"cmp"
	"maps"
	"sync"
	"time"

	"holdfast/objects/internal/engine"
)

// New claims of a class go to one host only once lossesOfClass owners were lost within
// lossesTime with events of the class in hand: the events may be what ends them.
const (
	lossesOfClass    = 3
	lossesTime       = time.Minute
	firstRestriction = 10 * time.Second // doubled with every loss that follows
	maxRestriction   = 5 * time.Minute
	tokensKept       = 256 // of one class
)

// restriction is what a host knows of the losses of one class. It is pure.
//
// Whoever may publish on the subjects of hosts can forge a loss. A forged one counts only
// while as many incarnations have really ended within lossesTime, as the leases show. The
// worst is that one host takes the claims, instead of all, until maxRestriction after
// that: the class is never without a host.
type restriction struct {
	tokens map[uint64]time.Time // of owners that replaced lost ones: when each was reported
	fresh  []time.Time          // losses that led to no restriction
	inRow  int                  // restrictions, none of them followed by lossesTime of quiet
	until  time.Time            // when the last one ends
}

// noteLoss notes that an owner was lost. The token is that of its successor.
func (r *restriction) noteLoss(token uint64, now time.Time) {
	if _, known := r.tokens[token]; known {
		return
	}
	if len(r.tokens) >= tokensKept {
		maps.DeleteFunc(r.tokens, func(_ uint64, at time.Time) bool { return now.Sub(at) > 2*maxRestriction })
		if len(r.tokens) >= tokensKept {
			return // somebody forges them
		}
	}
	if r.tokens == nil {
		r.tokens = make(map[uint64]time.Time)
	}
	r.tokens[token] = now
	r.fresh = append(r.fresh, now)
	r.fresh = r.fresh[max(0, len(r.fresh)-lossesOfClass):]
}

// active reports whether one host takes the claims now, and whether a time of that begins
// now. ends is how many incarnations have ended within lossesTime; if it is not known, the
// losses are believed.
func (r *restriction) active(now time.Time, ends int, known bool) (active, begins bool) {
	for len(r.fresh) > 0 && now.Sub(r.fresh[0]) > lossesTime {
		r.fresh = r.fresh[1:]
	}
	if now.Sub(r.until) > lossesTime {
		r.inRow = 0
	}
	need := lossesOfClass
	if r.inRow > 0 {
		need = 1
	}
	if len(r.fresh) >= need && (!known || ends >= need) {
		r.until = now.Add(min(maxRestriction, firstRestriction<<min(r.inRow, 16)))
		r.inRow++
		r.fresh = nil
		begins = true
	}
	return now.Before(r.until), begins
}

// restrictions are those of all classes of a host.
type restrictions struct {
	mu sync.Mutex
	of map[string]*restriction // by class; those that the host runs
}

func newRestrictions(classes map[string]*engine.Class) restrictions {
	of := make(map[string]*restriction, len(classes))
	for class := range classes {
		of[class] = new(restriction)
	}
	return restrictions{of: of}
}

func (r *restrictions) noteLoss(class string, token uint64, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.of[class]; one != nil {
		one.noteLoss(token, now)
	}
}

// takerOf returns the incarnation that takes new claims of the class; this one's own if the class is not restricted. Of a
// restricted class it is the lowest that lives, of those that have not just begun.
func (in *incarnation) takerOf(class string) string {
	if !in.isRestricted(class) {
		return in.id
	}
	return cmp.Or(in.first(class), in.id)
}

// isRestricted reports whether one host alone takes the claims of the class.
func (in *incarnation) isRestricted(class string) bool {
	in.restrictions.mu.Lock()
	defer in.restrictions.mu.Unlock()
	r := in.restrictions.of[class]
	if r == nil || len(r.fresh) == 0 && r.until.IsZero() {
		return false
	}
	ends, known := in.ends(lossesTime)
	active, begins := r.active(time.Now(), ends, known)
	if begins {
		in.log.Warn("one host alone takes new claims of the class: owners were lost with its events in hand",
			"class", class, "for", time.Until(r.until).Round(time.Second), "times in a row", r.inRow, "host", in.first(class))
	}
	return active
}

// classesRestricted returns how many classes are restricted.
func (in *incarnation) classesRestricted() (n int) {
	for class := range in.classes {
		if in.isRestricted(class) {
			n++
		}
	}
	return n
}
