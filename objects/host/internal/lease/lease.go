// Package lease decides how long a host may believe in itself, and when others
// may stop believing in it.
//
// A host incarnation renews an entry in the bucket of leases. Both sides judge
// by their own monotonic clock, never by a time that somebody wrote:
//
//	the holder   trusts a renewal until   sent + TTL - Margin   (sent, not answered: a slow answer shortens the reign)
//	a claimer    believes it ended after  seen + TTL + Margin   (seen: when the claimer last saw the entry change)
//
// A renewal is seen no earlier than it was sent, so the claimer's end lies at
// least two margins after the holder's. The lease keeps two hosts from serving
// one object at the same time; what keeps a late one from writing is the
// compare-and-set on the object's record, which needs no clock.
package lease

import "time"

// Timing is the two durations of a lease.
type Timing struct {
	TTL    time.Duration // how long a renewal lasts
	Margin time.Duration // what clocks may differ by over one TTL
}

// Term is a holder's trust in its own lease. The zero Term trusts nothing.
type Term struct{ until time.Time }

// Renewed is the term after a renewal that was sent then has been acknowledged
// now. A term that has ended stays ended: somebody may have acted on its end.
func (t Term) Renewed(sent, now time.Time, timing Timing) Term {
	if t != (Term{}) && !t.Holds(now) {
		return t
	}
	if until := sent.Add(timing.TTL - timing.Margin); until.After(t.until) {
		t.until = until
	}
	return t
}

// Holds tells whether the holder may act as one.
func (t Term) Holds(now time.Time) bool { return now.Before(t.until) }

// Until is the moment at which Holds ends.
func (t Term) Until() time.Time { return t.until }

// Watch is what one claimer has seen of the others' leases.
type Watch struct {
	since time.Time // when the watching began: what was never seen counts from here
	seen  map[string]sighting
}

type sighting struct {
	revision uint64
	at       time.Time
	ended    bool
}

// NewWatch begins to watch.
func NewWatch(now time.Time) *Watch { return &Watch{now, make(map[string]sighting)} }

// Saw notes that the incarnation's entry has this revision. Only a new revision
// is a sign of life: an old one may be read again at any time.
func (w *Watch) Saw(incarnation string, revision uint64, now time.Time) {
	if s := w.seen[incarnation]; !s.ended && revision > s.revision {
		w.seen[incarnation] = sighting{revision: revision, at: now}
	}
}

// Ended notes that the incarnation has said goodbye: it will never act again.
func (w *Watch) Ended(incarnation string) {
	at := w.since
	if s, known := w.seen[incarnation]; known {
		at = s.at
	}
	w.seen[incarnation] = sighting{at: at, ended: true}
}

// Dead tells whether the incarnation can no longer trust its lease.
func (w *Watch) Dead(incarnation string, timing Timing, now time.Time) bool {
	return w.Left(incarnation, timing, now) <= 0
}

// Left is how long a claimer has yet to wait before the incarnation is Dead.
func (w *Watch) Left(incarnation string, timing Timing, now time.Time) time.Duration {
	s, known := w.seen[incarnation]
	switch {
	case s.ended:
		return 0
	case !known:
		s.at = w.since
	}
	return s.at.Add(timing.TTL + timing.Margin).Sub(now)
}

// Forget drops what was seen of incarnations that have been dead for long, so
// that a watch does not grow for ever. They stay dead: nothing newer is known
// of them, and they count from the beginning of the watch.
func (w *Watch) Forget(timing Timing, now time.Time) {
	for incarnation, s := range w.seen {
		if now.Sub(s.at) > 100*timing.TTL+timing.Margin {
			delete(w.seen, incarnation)
		}
	}
}
