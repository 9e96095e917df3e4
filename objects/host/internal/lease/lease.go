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
//
// A renewal expects the entry's revision that the holder knows, and a claimer deletes
// the entry of an incarnation before it calls that dead. So a holder whose clock stood
// still, as that of a suspended machine does, learns from its next renewal that it has
// been declared dead.
//
// A lease says that its holder can be asked, not only that it lives: it is renewed while
// what the holder publishes on its State connection comes back on its Serve connection
// (see Path). A holder that cannot be asked gives its lease back at once.
package lease

import "time"

// Entry is the entry of an incarnation in the bucket of leases.
type Entry struct {
	Incarnation string
	State       State
	Revision    uint64
	Beat        uint64 // how often it has been renewed; of one that is Present
}

// State is what there is of an entry.
type State int

// The states of an entry.
const (
	Absent  State = iota // nothing: never made, vanished after its time, or lost with its bucket
	Present              // as its holder put it
	Ended                // deleted, by its holder or by a claimer
)

// Generation tells one bucket from another that was made in its place.
type Generation struct {
	Created time.Time
	Last    uint64 // the latest revision
}

// Lost reports whether the bucket has been made anew, or has forgotten, since the
// revision was put in this generation of it.
func (g Generation) Lost(now Generation, revision uint64) bool {
	return !now.Created.Equal(g.Created) || now.Last < revision
}

// Next is the revision that the next renewal of an incarnation expects, after one that was
// refused or not answered; false if there is to be none: somebody has ended the entry.
// Nobody but the holder puts it. lost reports whether the bucket has lost what it had.
func (e Entry) Next(lost bool) (revision uint64, ok bool) {
	switch {
	case e.State == Present:
		return e.Revision, true
	case e.State == Absent && lost:
		return 0, true
	default:
		return 0, false
	}
}

// Path is what a holder knows of the way from its State to its Serve connection, on
// which it is asked. The zero Path has not been tried.
type Path struct{ tried, missed int }

// misses in a row end a lease.
const misses = 2

// After is the path after one more renewal. The message was published before the
// renewal, on the same connection, so only a renewal that was acknowledged proves that
// a message which has not come back is lost on the side of Serve.
func (p Path) After(acknowledged, heard bool) Path {
	switch {
	case heard:
		return Path{tried: 1}
	case acknowledged:
		return Path{tried: 1, missed: p.missed + 1}
	default:
		return p
	}
}

// Open reports whether the holder may count as one that can be asked.
func (p Path) Open() bool { return p.tried > 0 && p.missed < misses }

// Spare reports whether the path stays open if the next message does not come back.
func (p Path) Spare() bool { return p.Open() && p.missed+1 < misses }

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

// Holds reports whether the holder may act as one.
func (t Term) Holds(now time.Time) bool { return now.Before(t.until) }

// Until is the moment at which Holds ends.
func (t Term) Until() time.Time { return t.until }

// Watch is what one claimer has seen of the others' leases.
type Watch struct {
	since time.Time // when the watching began: what was never seen counts from here
	seen  map[string]sighting
}

type sighting struct {
	beat  uint64
	at    time.Time
	ended bool
}

// NewWatch begins to watch.
func NewWatch(now time.Time) *Watch { return &Watch{now, make(map[string]sighting)} }

// Saw notes that the incarnation's entry has been renewed so often. Only a new beat is
// a sign of life: an old one may be read again at any time. Revisions would not do, as
// those of a bucket that was made anew begin again.
func (w *Watch) Saw(incarnation string, beat uint64, now time.Time) {
	if s := w.seen[incarnation]; !s.ended && beat > s.beat {
		w.seen[incarnation] = sighting{beat: beat, at: now}
	}
}

// Seen reports whether this beat of the incarnation, or a later one, has been seen.
func (w *Watch) Seen(incarnation string, beat uint64) bool { return w.seen[incarnation].beat >= beat }

// Ended notes that the incarnation has said goodbye: it will never act again.
func (w *Watch) Ended(incarnation string) {
	at := w.since
	if s, known := w.seen[incarnation]; known {
		at = s.at
	}
	w.seen[incarnation] = sighting{at: at, ended: true}
}

// Dead reports whether the incarnation can no longer trust its lease.
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
