// Package lease decides how long a host may believe in itself, and when others
// may stop believing in it. It computes until when a host may act on its lease,
// and from when others may claim its objects.
//
// A host incarnation renews an entry in the bucket of leases. Both sides judge by their own monotonic clock, never by a
// time in an entry. The TTL is the holder's, and its entry says it:
//
//	the holder   trusts a renewal until   sent + TTL - Margin   (sent, not answered: a slow answer shortens the trust)
//	a claimer    believes it ended after  seen + TTL + Margin   (seen: when the claimer last saw the entry change)
//
// A renewal is seen no earlier than it was sent, so the claimer's end lies at
// least two margins after the holder's. The lease keeps two hosts from serving
// one object at the same time. The compare-and-set on the object's record, which needs no clock, keeps a late holder
// from writing.
//
// A renewal expects the entry's revision that the holder knows, and a claimer deletes
// the entry of an incarnation before it calls that dead. So a holder whose clock stood
// still, as that of a suspended machine does, learns from its next renewal that it has
// been declared dead.
//
// A lease that could not be renewed in time has lapsed, and is not lost yet: as long as no claimer has ended its entry,
// nobody has acted on its end. Meanwhile its holder sends nothing that relies on the lease. A renewal that lands makes
// the lease valid again, in a new generation: the holder must then prove by a put that what it knew before still holds.
//
// A lease says that its holder can be asked, not only that it lives: it is renewed while messages that the holder
// publishes on its State connection come back on its Serve connection (see Path). A holder that cannot be asked gives
// its lease back at once.
package lease

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Entry is the entry of an incarnation in the bucket of leases.
type Entry struct {
	Incarnation string
	State       State
	Revision    uint64
	Beat        uint64        // renewals so far; only of an entry that is Present
	TTL         time.Duration // how long a renewal lasts; 0 if the entry does not say; likewise
	Classes     []string      // classes that the incarnation runs; likewise
	Reads       int           // the newest version of records that the incarnation reads; likewise
}

// State is the state of an entry.
type State int

// The states of an entry.
const (
	Absent  State = iota // no entry: never made, expired, or lost with its bucket
	Present              // as its holder put it
	Ended                // deleted, by its holder or by a claimer
)

// Generation identifies one bucket among those that are made in place of one another.
type Generation struct {
	Created time.Time
	Last    uint64 // the latest revision
}

// Lost reports whether the bucket has been made anew, or has lost messages, since the revision was put in this
// generation of it.
func (g Generation) Lost(now Generation, revision uint64) bool {
	return !now.Created.Equal(g.Created) || now.Last < revision
}

// Next returns the revision that the next renewal of an incarnation expects, after a renewal that was refused or not
// answered. It reports false if there must be none: another host has ended the entry. Only the holder puts the entry.
// lost reports whether the bucket has lost entries.
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

// Path is what a holder knows of the way from its State connection to its Serve connection, on which requests come. The
// zero Path has not been tried.
type Path struct{ tried, missed int }

// misses is how many missed messages in a row end a lease.
const misses = 2

// After returns the path after one more renewal. The message was published before the
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

// Open reports whether the holder counts as one that can be asked.
func (p Path) Open() bool { return p.tried > 0 && p.missed < misses }

// Spare reports whether the path stays open if the next message does not come back.
func (p Path) Spare() bool { return p.Open() && p.missed+1 < misses }

// LongestTTL is the longest TTL that a host may have. A claimer believes in no longer one.
const LongestTTL = 10 * time.Minute

// Timing has the durations of a host's own lease. Entries say how long others' leases last.
type Timing struct {
	TTL    time.Duration // how long a renewal lasts
	Margin time.Duration // the most that clocks may differ by over one TTL
	Lapse  time.Duration // how long after its end a lease may become valid again
}

// Standing is the state of a lease, as its holder sees it.
type Standing uint8

// The standings.
const (
	Lapsed Standing = iota // not renewed in time, or not yet at all
	Valid                  // the holder may act on the lease
	Lost                   // for good
)

func (s Standing) String() string { return [...]string{"lapsed", "valid", "lost"}[s] }

// changes are the allowed changes of standing.
var changes = map[Standing][]Standing{
	Lapsed: {Valid, Lost},
	Valid:  {Lapsed, Lost},
}

// Trust is a holder's trust in its own lease, through all of its terms. The zero Trust has
// not been renewed.
type Trust struct {
	Standing
	Generation uint64 // how often the lease has become valid
	term       Term
}

// to returns the trust with another standing. It panics over a change that is not allowed.
func (t Trust) to(s Standing) Trust {
	if !slices.Contains(changes[t.Standing], s) {
		panic(fmt.Sprintf("a lease that is %s cannot become %s", t.Standing, s))
	}
	t.Standing = s
	return t
}

// At returns the trust at this moment, if there was no renewal.
func (t Trust) At(now time.Time, timing Timing) Trust {
	if t.Standing == Valid && !t.term.Valid(now) {
		t = t.to(Lapsed)
	}
	if t.Standing == Lapsed && t.Generation > 0 && !now.Before(t.term.Until().Add(timing.Lapse)) {
		t = t.to(Lost)
	}
	return t
}

// Renewed returns the trust after a renewal that was sent at sent and acknowledged now.
func (t Trust) Renewed(sent, now time.Time, timing Timing) Trust {
	t = t.At(now, timing)
	switch t.Standing {
	case Valid:
		t.term = t.term.Renewed(sent, now, timing)
	case Lapsed:
		if term := (Term{}).Renewed(sent, now, timing); term.Valid(now) {
			t = t.to(Valid)
			t.term = term
			t.Generation++
		}
	case Lost:
	}
	return t
}

// Ended returns the trust after the last possible renewal.
func (t Trust) Ended() Trust {
	if t.Standing == Lost {
		return t
	}
	return t.to(Lost)
}

// next returns when time alone changes the standing.
func (t Trust) next(timing Timing) time.Time {
	if t.Standing == Valid {
		return t.term.Until()
	}
	return t.term.Until().Add(timing.Lapse)
}

// Term is a holder's trust in its own lease. The zero Term trusts nothing.
type Term struct{ until time.Time }

// Renewed returns the term after a renewal that was sent at sent and acknowledged now. A term that has ended stays
// ended: another host may have acted on its end.
func (t Term) Renewed(sent, now time.Time, timing Timing) Term {
	if t != (Term{}) && !t.Valid(now) {
		return t
	}
	if until := sent.Add(timing.TTL - timing.Margin); until.After(t.until) {
		t.until = until
	}
	return t
}

// Valid reports whether the holder may act on the lease.
func (t Term) Valid(now time.Time) bool { return now.Before(t.until) }

// Until returns the moment at which Valid ends.
func (t Term) Until() time.Time { return t.until }

// Watch is what one claimer has seen of other hosts' leases.
type Watch struct {
	since    time.Time // when the watch began: incarnations that were never seen count from here
	seen     map[string]sighting
	complete bool // all entries that existed at some moment have been seen
}

type sighting struct {
	beat    uint64
	at      time.Time
	ttl     time.Duration // how long a renewal lasts; 0: not known
	classes []string
	reads   int
	ended   bool
}

// NewWatch begins to watch.
func NewWatch(now time.Time) *Watch { return &Watch{since: now, seen: make(map[string]sighting)} }

// Saw notes how often the incarnation's entry has been renewed. Only a new beat is a sign of life: an old one may be
// read again at any time. Revisions would not do, because a new bucket counts from the beginning. A bucket that was
// restored may have lost the end of an entry; then the holder may have renewed it.
func (w *Watch) Saw(incarnation string, beat uint64, now time.Time) {
	if s := w.seen[incarnation]; beat > s.beat {
		w.seen[incarnation] = sighting{beat: beat, at: now, ttl: s.ttl, classes: s.classes, reads: s.reads}
	}
}

// Lasts notes how long the renewals of an incarnation that has been seen last. Hosts need not agree.
func (w *Watch) Lasts(incarnation string, ttl time.Duration) {
	if s, known := w.seen[incarnation]; known && s.ttl == 0 {
		s.ttl = ttl
		w.seen[incarnation] = s
	}
}

// lasts returns how long a claimer believes in a renewal.
func (s sighting) lasts(timing Timing) time.Duration {
	return cmp.Or(s.ttl, timing.TTL) + timing.Margin
}

// Runs notes the classes of an incarnation that has been seen, and the version of records that it reads.
func (w *Watch) Runs(incarnation string, classes []string, reads int) {
	if s, known := w.seen[incarnation]; known && !s.ended && s.classes == nil {
		s.classes, s.reads = classes, reads
		w.seen[incarnation] = s
	}
}

// Complete notes that all entries have been seen that existed when the watch began.
func (w *Watch) Complete() { w.complete = true }

// AllRead reports whether every incarnation that is not Dead reads records of a version; false before Complete.
func (w *Watch) AllRead(version int, timing Timing, now time.Time) bool {
	if !w.complete {
		return false
	}
	for incarnation, s := range w.seen {
		if s.reads < version && !w.Dead(incarnation, timing, now) {
			return false
		}
	}
	return true
}

// Seen reports whether this beat of the incarnation, or a later one, has been seen.
func (w *Watch) Seen(incarnation string, beat uint64) bool { return w.seen[incarnation].beat >= beat }

// Ended notes that the incarnation's entry has ended, by its goodbye or by a claimer: it
// will never act again, unless a new beat of it is seen.
func (w *Watch) Ended(incarnation string) {
	s, known := w.seen[incarnation]
	if !known {
		s.at = w.since
	}
	s.ended, s.classes = true, nil
	w.seen[incarnation] = s
}

// Dead reports whether the incarnation can no longer trust its lease.
func (w *Watch) Dead(incarnation string, timing Timing, now time.Time) bool {
	return w.Left(incarnation, timing, now) <= 0
}

// Left returns how long a claimer has yet to wait before the incarnation is Dead.
func (w *Watch) Left(incarnation string, timing Timing, now time.Time) time.Duration {
	s, known := w.seen[incarnation]
	switch {
	case s.ended:
		return 0
	case !known:
		s.at = w.since
	}
	return s.at.Add(s.lasts(timing)).Sub(now)
}

// grown is the beat from which on an incarnation has watched the others for as long as a lease lasts. A younger one
// may have seen the last beat of a lost incarnation later than others did, and counts it as dead later. A lease is
// renewed every third of its TTL, and lasts for a TTL and a margin.
const grown = 5

// First returns the incarnation whose name is the lowest of those that are not Dead and run the class, of the grown
// ones if there are any; "" if there is none.
func (w *Watch) First(class string, timing Timing, now time.Time) (first string) {
	young := false // first is
	for incarnation, s := range w.seen {
		if !slices.Contains(s.classes, class) || w.Dead(incarnation, timing, now) {
			continue
		}
		is := s.beat < grown
		if first == "" || young && !is || young == is && incarnation < first {
			first, young = incarnation, is
		}
	}
	return first
}

// Ends returns how many incarnations that were seen alive have ended within the time before
// now; false if the watch is too young to tell.
func (w *Watch) Ends(within time.Duration, timing Timing, now time.Time) (n int, known bool) {
	for incarnation, s := range w.seen {
		late := s.lasts(timing) // an end may be noticed this late
		if s.beat > 0 && now.Sub(s.at) <= within+late && w.Dead(incarnation, timing, now) {
			n++
		}
	}
	return n, now.Sub(w.since) > within+timing.TTL+timing.Margin
}

// Gone is an incarnation that has ended, and how often it had been seen to renew its lease.
type Gone struct {
	Incarnation string
	Beat        uint64
}

// EndedWithin are the incarnations that have ended within the time before now, whether or not they were seen alive. A
// young watch that has seen one incarnation only names the one before it: if there was one, its entry has vanished.
func (w *Watch) EndedWithin(within time.Duration, timing Timing, now time.Time) (all []Gone) {
	for incarnation, s := range w.seen {
		late := s.lasts(timing) // an end may be noticed this late
		if now.Sub(s.at) <= within+late && w.Dead(incarnation, timing, now) {
			all = append(all, Gone{incarnation, s.beat})
		}
		if w.complete && len(w.seen) == 1 && len(all) == 0 && now.Sub(w.since) <= within {
			all = append(all, Gone{Incarnation: "before " + incarnation})
		}
	}
	return all
}

// Forget drops incarnations that have been dead for long, so that a watch does not grow without bound. They stay dead,
// because an incarnation that was never seen counts from the beginning of the watch.
func (w *Watch) Forget(timing Timing, now time.Time) {
	for incarnation, s := range w.seen {
		if now.Sub(s.at) > 100*s.lasts(timing) {
			delete(w.seen, incarnation)
		}
	}
}
