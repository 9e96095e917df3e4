package lease

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	timing = Timing{TTL: 3 * time.Second, Margin: 500 * time.Millisecond}
	began  = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
)

func after(seconds float64) time.Time {
	return began.Add(time.Duration(seconds * float64(time.Second)))
}

func TestTrustCountsFromTheSending(t *testing.T) {
	for _, c := range []struct {
		name  string
		sent  []float64 // of the renewals, in the order of their acknowledgements
		until float64   // 0 is never
	}{
		{"never renewed", nil, 0},
		{"one renewal", []float64{1}, 3.5},
		{"the next one", []float64{1, 2}, 4.5},
		{"an earlier one is acknowledged late", []float64{2, 1}, 4.5},
		{"one twice", []float64{1, 1}, 3.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			var term Term
			for _, sent := range c.sent {
				term = term.Renewed(after(sent), after(sent), timing)
			}
			if c.until == 0 {
				if term.Valid(began) || !term.Until().IsZero() {
					t.Errorf("until = %v, want never", term.Until())
				}
				return
			}
			if got := term.Until().Sub(began).Seconds(); got != c.until {
				t.Errorf("until = %v, want %v", got, c.until)
			}
			if !term.Valid(after(c.until).Add(-1)) {
				t.Error("does not hold a moment before its end")
			}
			if term.Valid(after(c.until)) {
				t.Error("holds at its end")
			}
		})
	}
}

func TestAClaimerWaits(t *testing.T) {
	type saw struct {
		revision uint64
		at       float64
	}
	const ended = 0 // in place of a revision: the incarnation says goodbye
	for _, c := range []struct {
		name string
		saw  []saw
		dead float64 // the moment from which it is dead; the watch began at 1
	}{
		{"what was never seen counts from the beginning", nil, 4.5},
		{"seen once", []saw{{7, 2}}, 5.5},
		{"seen again with a new revision", []saw{{7, 2}, {9, 3}}, 6.5},
		{"the same revision is no sign of life", []saw{{7, 2}, {7, 3}}, 5.5},
		{"nor is an older one", []saw{{7, 2}, {6, 3}}, 5.5},
		{"goodbye", []saw{{7, 2}, {ended, 3}}, 3},
		{"goodbye from one never seen", []saw{{ended, 3}}, 3},
		{"an old renewal that comes after the end", []saw{{7, 2}, {ended, 3}, {7, 3.5}}, 3.5},
		{"a bucket that has forgotten the end", []saw{{7, 2}, {ended, 3}, {9, 3.5}}, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := NewWatch(after(1))
			for _, s := range c.saw {
				if s.revision == ended {
					w.Ended("a")
				} else {
					w.Saw("a", s.revision, after(s.at))
				}
			}
			if !w.Dead("a", timing, after(c.dead)) {
				t.Errorf("alive for another %v at %v, want dead", w.Left("a", timing, after(c.dead)), c.dead)
			}
			if len(c.saw) > 0 && w.seen["a"].ended {
				return // dead from the moment on which that was noted, whenever one asks
			}
			if at := after(c.dead).Add(-1); w.Dead("a", timing, at) || w.Left("a", timing, at) != 1 {
				t.Errorf("%v left a moment before %v, want that moment", w.Left("a", timing, at), c.dead)
			}
		})
	}
}

// Every sequence of renewals, against what the path's history says.
func TestAPathIsOpenUnlessTwoMessagesInARowWereLost(t *testing.T) {
	type renewal struct{ acknowledged, heard bool }
	renewals := []renewal{{false, false}, {false, true}, {true, false}, {true, true}}
	var try func(p Path, before []renewal)
	try = func(p Path, before []renewal) {
		lost, tried := 0, false // since the last that was heard
		for _, r := range before {
			switch {
			case r.heard:
				lost, tried = 0, true
			case r.acknowledged:
				lost, tried = lost+1, true
			}
		}
		if open := tried && lost < 2; p.Open() != open {
			t.Errorf("%v: open = %v, want %v", before, p.Open(), open)
		}
		if spare := tried && lost < 1; p.Spare() != spare {
			t.Errorf("%v: spare = %v, want %v", before, p.Spare(), spare)
		}
		if len(before) == 6 {
			return
		}
		for _, r := range renewals {
			try(p.After(r.acknowledged, r.heard), append(slices.Clone(before), r))
		}
	}
	try(Path{}, nil)
}

func TestWhatTheNextRenewalExpects(t *testing.T) {
	for _, c := range []struct {
		state State
		lost  bool
		want  uint64
		ok    bool
	}{
		{Present, false, 7, true},
		{Present, true, 7, true},
		{Absent, true, 0, true},
		{Absent, false, 0, false},
		{Ended, false, 0, false},
		{Ended, true, 0, false},
	} {
		got, ok := Entry{State: c.state, Revision: 7}.Next(c.lost)
		if got != c.want || ok != c.ok {
			t.Errorf("%v, lost = %v: %d, %v, want %d, %v", c.state, c.lost, got, ok, c.want, c.ok)
		}
	}
}

func TestABucketThatHasForgottenIsNoticed(t *testing.T) {
	was := Generation{Created: after(1), Last: 3}
	for _, c := range []struct {
		name     string
		now      Generation
		revision uint64
		lost     bool
	}{
		{"the same", Generation{after(1), 9}, 9, false},
		{"the same, and others have put since", Generation{after(1), 12}, 9, false},
		{"made anew", Generation{after(2), 1}, 9, true},
		{"made anew, and others have put much", Generation{after(2), 100}, 9, true},
		{"emptied by a restart of all servers", Generation{after(1), 0}, 9, true},
	} {
		if got := was.Lost(c.now, c.revision); got != c.lost {
			t.Errorf("%s: lost = %v, want %v", c.name, got, c.lost)
		}
	}
}

func TestWhatIsForgottenStaysDead(t *testing.T) {
	w := NewWatch(after(0))
	for i := range 100 {
		w.Saw(fmt.Sprint("lapsed ", i), uint64(i+1), after(1))
		w.Saw(fmt.Sprint("ended ", i), uint64(i+1), after(1))
		w.Ended(fmt.Sprint("ended ", i))
		w.Ended(fmt.Sprint("ended unseen ", i))
	}
	w.Saw("alive", 1000, after(399))
	if w.Forget(timing, after(250)); len(w.seen) != 301 {
		t.Errorf("%d remembered after 250 s, want all 301", len(w.seen))
	}
	if w.Forget(timing, after(400)); len(w.seen) != 1 {
		t.Errorf("%d remembered after 400 s, want only the one alive", len(w.seen))
	}
	if w.Dead("alive", timing, after(400)) {
		t.Error("the one alive is dead")
	}
	for _, name := range []string{"lapsed 1", "ended 1", "ended unseen 1"} {
		if !w.Dead(name, timing, after(400)) {
			t.Errorf("%q is alive again", name)
		}
	}
}

// span returns a whole number of seconds: on a coarse clock, things that hardly ever
// meet do.
func span(t *rapid.T, from, to time.Duration, name string) time.Duration {
	return time.Duration(rapid.IntRange(int(from/time.Second), int(to/time.Second)).Draw(t, name)) * time.Second
}

func someTiming(t *rapid.T) Timing {
	margin := span(t, time.Second, 3*time.Second, "margin")
	return Timing{TTL: span(t, 2*margin+time.Second, 15*time.Second, "TTL"), Margin: margin}
}

// A renewal is one put of the entry and what becomes of it, in true time.
type renewal struct {
	revision                    uint64
	sent, stored, answered, saw time.Time
	acknowledged, noticed       bool
}

func someRenewals(t *rapid.T, timing Timing) []renewal {
	renewals := make([]renewal, rapid.IntRange(1, 5).Draw(t, "renewals"))
	now := began
	for i := range renewals {
		r := &renewals[i]
		now = now.Add(span(t, 0, timing.TTL, "until the next"))
		r.revision, r.sent = uint64(i+1), now
		r.stored = r.sent.Add(span(t, 0, 2*timing.TTL, "until stored"))
		if i > 0 && r.stored.Before(renewals[i-1].stored) {
			r.stored = renewals[i-1].stored // one connection, one order
		}
		r.answered = r.stored.Add(span(t, 0, 2*timing.TTL, "until answered"))
		r.saw = r.stored.Add(span(t, 0, 2*timing.TTL, "until seen"))
		r.acknowledged = rapid.Bool().Draw(t, "acknowledged")
		r.noticed = rapid.Bool().Draw(t, "noticed")
	}
	return renewals
}

// Whoever has seen a renewal, whenever and however often, believes in it for two
// margins longer than the holder does.
func TestTheHolderStopsTwoMarginsBeforeAnyClaimer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		timing := someTiming(t)
		renewals := someRenewals(t, timing)
		var term Term
		watch := NewWatch(began.Add(span(t, 0, 20*time.Second, "until the watch begins")))
		for _, r := range rapid.Permutation(renewals).Draw(t, "order of acknowledgements") {
			if r.acknowledged {
				term = term.Renewed(r.sent, r.sent, timing)
			}
		}
		for _, r := range renewals {
			watch.Saw("holder", r.revision, r.saw)
			watch.Saw("holder", r.revision, r.saw.Add(span(t, 0, timing.TTL, "seen again")))
		}
		if term == (Term{}) {
			return
		}
		if left := watch.Left("holder", timing, term.Until()); left < 2*timing.Margin {
			t.Fatalf("the claimer's end is %v after the holder's, want at least %v", left, 2*timing.Margin)
		}
	})
}

// A claimer that asks for the entry before it says that its holder is dead is
// never wrong, whatever it has not been told, and although the clocks differ by
// the margin: as long as the holder does not renew what has ended.
func TestNobodyIsCalledDeadWhoStillHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		timing := someTiming(t)
		renewals := someRenewals(t, timing)
		drift := float64(timing.Margin) / float64(timing.TTL)
		own := timing // the claimer's own lease is another
		own.TTL = span(t, time.Second, 30*time.Second, "TTL of the claimer")
		share := rapid.Float64Range(0, 1).Draw(t, "share of the drift")
		holder := clock{1 - drift*share}      // slow
		claimer := clock{1 + drift*(1-share)} // fast
		first, term := lifetime(renewals, holder, timing)
		for asked := first; asked.Before(first.Add(6 * timing.TTL)); asked = asked.Add(time.Second) {
			watch := NewWatch(claimer.at(began))
			for _, r := range renewals {
				if r.noticed && !r.saw.After(asked) {
					watch.Saw("holder", r.revision, claimer.at(r.saw))
					watch.Lasts("holder", timing.TTL)
				}
			}
			for _, r := range renewals {
				if !r.stored.After(asked) {
					watch.Saw("holder", r.revision, claimer.at(asked)) // the entry, read again
					watch.Lasts("holder", timing.TTL)
				}
			}
			dead := watch.Dead("holder", own, claimer.at(asked))
			if dead && term.Valid(holder.at(asked).Add(time.Microsecond)) { // for rounding
				t.Fatalf("called dead at %v, and holds until %v on its own clock", asked.Sub(began), term.Until().Sub(began))
			}
		}
	})
}

// clock is one that runs at its own rate since all began.
type clock struct{ rate float64 }

func (c clock) at(t time.Time) time.Time {
	return began.Add(time.Duration(c.rate * float64(t.Sub(began))))
}

// lifetime returns a holder's first moment, in true time, before which it owned nothing,
// and its last term. It takes answers as they come, until its lease has ended.
func lifetime(renewals []renewal, c clock, timing Timing) (first time.Time, term Term) {
	var answers []renewal
	for _, r := range renewals {
		if r.acknowledged {
			answers = append(answers, r)
		}
	}
	slices.SortFunc(answers, func(a, b renewal) int { return a.answered.Compare(b.answered) })
	for _, r := range answers {
		switch {
		case term == Term{}:
			first = r.answered
		case !term.Valid(c.at(r.answered)):
			return first, term
		}
		term = term.Renewed(c.at(r.sent), c.at(r.answered), timing)
	}
	return first, term
}

func TestTheFirstHostOfAClassIsTheLowestThatLives(t *testing.T) {
	w := NewWatch(after(0))
	if got := w.First("room", timing, after(0)); got != "" {
		t.Errorf("the first of none is %q", got)
	}
	for _, name := range []string{"b", "c", "a", "d"} {
		w.Saw(name, 1, after(1))
		w.Runs(name, []string{"ticket", "room"}, 1)
	}
	w.Saw("0", 1, after(1))
	w.Runs("0", []string{"ticket"}, 1)
	if got := w.First("room", timing, after(1)); got != "a" {
		t.Errorf("the first is %q, want a: 0 does not run the class", got)
	}
	w.Ended("a")
	w.Saw("c", 2, after(3))
	w.Saw("d", 2, after(3))
	if got := w.First("room", timing, after(1).Add(timing.TTL+timing.Margin)); got != "c" {
		t.Errorf("the first is %q, want c: a has said goodbye and the lease of b has run out", got)
	}
}

// A host that had just begun was the first, and refused the objects of a lost one for a second and a half after all
// others knew that it was lost.
func TestAHostThatHasJustBegunIsNotTheFirst(t *testing.T) {
	w := NewWatch(after(0))
	saw := func(name string, beat uint64) {
		w.Saw(name, beat, after(1))
		w.Runs(name, []string{"room"}, 1)
	}
	for _, c := range []struct {
		name string
		beat uint64
		want string
	}{{"c", 1, "c"}, {"b", 4, "b"}, {"d", 5, "d"}, {"a", 1, "d"}, {"b", 5, "b"}, {"a", 4, "b"}, {"a", 5, "a"}} {
		saw(c.name, c.beat)
		if got := w.First("room", timing, after(1)); got != c.want {
			t.Errorf("after beat %d of %s the first is %q, want %q", c.beat, c.name, got, c.want)
		}
	}
	young := time.Duration(grown-1) * timing.TTL / 3
	if young < timing.TTL+timing.Margin {
		t.Errorf("a grown host has watched for %v, and a lease lasts for %v", young, timing.TTL+timing.Margin)
	}
}

func TestALeaseLastsAsLongAsItsEntrySays(t *testing.T) {
	w := NewWatch(after(0))
	for name, ttl := range map[string]time.Duration{"long": 10 * timing.TTL, "short": timing.TTL / 2, "silent": 0} {
		w.Saw(name, 1, after(1))
		w.Lasts(name, ttl)
		if ttl = cmp.Or(ttl, timing.TTL); w.Left(name, timing, after(1)) != ttl+timing.Margin {
			t.Errorf("%s: %v left, want %v", name, w.Left(name, timing, after(1)), ttl+timing.Margin)
		}
	}
	renewed := after(1).Add(9 * timing.TTL)
	w.Saw("long", 2, renewed)
	if got := w.Left("long", timing, renewed); got != 10*timing.TTL+timing.Margin {
		t.Errorf("renewed: %v left, want %v", got, 10*timing.TTL+timing.Margin)
	}
	if w.Forget(timing, after(1).Add(200*timing.TTL)); w.Dead("long", timing, renewed.Add(10*timing.TTL)) {
		t.Error("a lease is forgotten that holds")
	}
	for says, want := range map[int64]time.Duration{0: time.Second, -5: time.Second, 1500: 1500 * time.Millisecond, math.MaxInt64: LongestTTL} {
		if got := (Info{TTL: says}).Lasts(time.Second); got != want {
			t.Errorf("an entry that says %d lasts %v, want %v", says, got, want)
		}
	}
}

func TestEndsAreThoseOfIncarnationsThatWereSeenAlive(t *testing.T) {
	w := NewWatch(after(0))
	if _, known := w.Ends(time.Minute, timing, after(30)); known {
		t.Error("a young watch claims to know")
	}
	w.Saw("long dead", 1, after(1))
	w.Saw("killed", 1, after(500))
	w.Saw("gone", 1, after(500))
	w.Saw("alive", 1, after(530))
	w.Ended("gone")
	w.Ended("never seen")
	if n, known := w.Ends(time.Minute, timing, after(531)); n != 2 || !known {
		t.Errorf("%d have ended, known = %t; want 2, those that were killed and have gone", n, known)
	}
	if n, _ := w.Ends(time.Minute, timing, after(590)); n != 1 {
		t.Errorf("%d have ended lately, want 1: that which was thought alive", n)
	}
}

func TestEndsAreNamedWhetherOrNotTheirLivesWereSeen(t *testing.T) {
	w := NewWatch(after(0))
	w.Complete()
	w.Saw("killed", 7, after(0))
	if got := w.EndedWithin(10*time.Second, timing, after(1)); !slices.Equal(got, []Gone{{Incarnation: "before killed"}}) {
		t.Errorf("the first that was ever seen names %v", got)
	}
	w.Saw("gone", 3, after(1))
	w.Saw("alive", 1, after(1))
	w.Ended("gone")
	w.Ended("never seen")
	names := func(within time.Duration, at float64) (all []string) {
		for _, gone := range w.EndedWithin(within, timing, after(at)) {
			all = append(all, fmt.Sprint(gone.Incarnation, gone.Beat))
		}
		slices.Sort(all)
		return all
	}
	if got := names(10*time.Second, 2); !slices.Equal(got, []string{"gone3", "never seen0"}) {
		t.Errorf("after a second %v have ended", got)
	}
	w.Saw("alive", 2, after(4))
	w.Saw("killed", 7, after(4)) // which is no sign of life
	if got := names(10*time.Second, 5); !slices.Equal(got, []string{"gone3", "killed7", "never seen0"}) {
		t.Errorf("when a lease has run out %v have ended", got)
	}
	w.Saw("alive", 3, after(50))
	if got := names(10*time.Second, 51); got != nil {
		t.Errorf("long after, %v have ended lately", got)
	}
	w.Saw("killed", 8, after(60)) // it had only seemed to have ended
	w.Saw("alive", 4, after(60))
	if got := names(10*time.Second, 61); got != nil {
		t.Errorf("%v have ended, and the lease was renewed", got)
	}
	w.Saw("patient", 1, after(100))
	w.Lasts("patient", time.Minute)
	w.Saw("alive", 5, after(160))
	if got := names(10*time.Second, 163); !slices.Equal(got, []string{"patient1"}) {
		t.Errorf("when a long lease has run out %v have ended", got)
	}
}
