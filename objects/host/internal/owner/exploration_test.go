package owner_test

// What Step and the lease decide is explored in every order in which things can
// happen to one object and two hosts, within the bounds of a scenario.
//
// The world (world_test.go) is small and exact: a clock that both hosts share and
// that ticks at any moment; a store with one record, a revision and compare-and-set;
// a bucket with the hosts' leases; puts and their answers on their way; requests
// that a gateway sends, and sends again, to whoever serves.
//
// Two worlds that differ only in which host has which name are explored as one, and counted as two.
//
// At any step (moves_test.go): a put arrives late, after its sender has sent it a
// second time, has let go, or is dead, or finds the store full; an answer comes late
// or never; a host gives up waiting for one (Doubt) while the put is still under way;
// a read finds an earlier revision; a renewal is late, lost, or its answer is; a
// claimer learns of a renewal at once or only when it asks; a lease lapses and its
// holder notices now or much later; in one scenario it can be renewed then, unless a
// claimer has ended its entry, which the bucket may forget; a host crashes and, in one
// scenario, comes back as another incarnation; a host is told to let go; a record with
// nothing in it is removed, and its tombstone expires.
//
// What must hold in every world (explore_test.go, host_test.go):
//
//   - a request that was answered is in the record, once, at the place that the
//     answer told, and no two requests were told the same place;
//   - commits rise by one, epochs by one at most, and an epoch has one writer;
//   - a request that is said not to have happened is not in the record, now or later;
//   - a host that would answer a read now, in any world, would show all that any
//     answer or any read has shown before;
//   - a host serves what its claim has put, and not after it was told to let go;
//   - a request of which a copy comes late, however often its gateway has sent it and
//     whatever became of the others, is applied once;
//   - no duty is forgotten, and a host that is left alone in a calm world comes to
//     answer a request.
//
// Not modelled: clocks that differ (the margin is a tick, and lease_test.go plays
// with it), more than two copies of a put under way, a second renewal under way,
// a dead incarnation's renewal that is still to arrive (it delays a takeover and
// nothing else), answers to a term's puts that arrive in the next term of the same
// host (its calls have ended with the term), alarms and sockets. Large objects are in entries_test.go.
//
// Two scenarios send copies of requests that stay on their way while others are
// answered or refused, answers expire or are forgotten because nobody waits for them,
// owners follow each other, and a record is removed and made again. What a client makes
// of a request's copies, of which two owners may hear each, is explored in internal/wire.

import (
	"strings"
	"testing"
	"time"

	"holdfast/objects/host/internal/lease"
)

var (
	short = lease.Timing{TTL: 2 * time.Second, Margin: time.Second}
	long  = lease.Timing{TTL: 5 * time.Second, Margin: time.Second} // a renewal can be later than two margins
)

func TestEveryOrderOfEventsKeepsThePromises(t *testing.T) {
	scenarios := []scenario{
		{name: "commits in doubt", timing: short, calm: true, revisions: 4, requests: 2, tries: 2, doubts: 1, leaves: 1, stale: 4},
		{name: "letting go", timing: short, calm: true, revisions: 5, requests: 1, tries: 1, leaves: 2, stale: 5},
		{name: "requests sent again across a takeover", timing: short, calm: true, ticks: 3, revisions: 4, requests: 1, tries: 2, doubts: 1, crashes: 1, renewals: 1, stale: 1},
		{name: "commits that pile up", timing: short, calm: true, ticks: 3, revisions: 4, requests: 2, tries: 1, doubts: 1, stale: 1},
		{name: "an incarnation that comes back", timing: short, calm: true, restart: true, ticks: 3, revisions: 3, requests: 1, tries: 1, crashes: 1},
		{name: "a lease that was never seen", timing: short, calm: true, unseen: true, ticks: 3, revisions: 3, requests: 1, tries: 1, crashes: 1, renewals: 1},
		{name: "late renewals", timing: short, calm: true, fresh: true, ticks: 3, revisions: 3, requests: 1, tries: 1, renewals: 1},
		{name: "a store that is full", timing: short, calm: true, revisions: 3, requests: 2, tries: 1, doubts: 1, refusals: 1, leaves: 1},
		{name: "leases that lapse and resume", timing: short, lapse: true, calm: true, ticks: 3, revisions: 4, requests: 1, tries: 1, renewals: 1, forgets: 1},
		{name: "copies that come late", timing: short, empty: true, refuses: true, late: 1, revisions: 5, requests: 1, tries: 2, leaves: 1},
		{name: "copies that come late after a takeover", timing: short, late: 1, ticks: 3, revisions: 3, requests: 1, tries: 2, crashes: 1},
		{name: "a large object", timing: short, calm: true, large: true, ticks: 3, revisions: 4, requests: 2, tries: 1, doubts: 1},
		{name: "a large object that is let go of", timing: short, calm: true, large: true, ticks: 3, revisions: 4, requests: 2, tries: 1, crashes: 1, leaves: 1},
		{name: "a large object that is merged", timing: short, large: true, ticks: 3, revisions: 5, requests: 3, tries: 1, merges: 1},
		{name: "long leases", timing: long, calm: true, ticks: 6, revisions: 3, requests: 1, tries: 1, renewals: 1},
	}
	explored := make([]int, len(scenarios))
	counts := make([]map[string]int, len(scenarios))
	t.Run("scenarios", func(t *testing.T) { // returns when all have
		for i, sc := range scenarios {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				begin := time.Now()
				s, trace := explore(sc)
				t.Logf("%d states (%d explored), %d moves, %v: %v", s.states, s.worlds.len, s.moved, time.Since(begin).Round(time.Millisecond), s.count)
				if trace != nil {
					t.Errorf("a promise is broken:\n%s", strings.Join(trace, "\n"))
				}
				explored[i], counts[i] = s.states, s.count
			})
		}
	})
	states, happened := 0, make(map[string]int)
	for i := range scenarios {
		if counts[i] == nil {
			return // -run has chosen some of them
		}
		states += explored[i]
		for what, n := range counts[i] {
			happened[what] += n
		}
	}
	t.Logf("%d states in all", states)
	if want := 500_000; states < want {
		t.Errorf("%d states explored, want at least %d", states, want)
	}
	// Silence counts only if what may go wrong did.
	for _, what := range []string{
		"takeover", "crash", "lease lapsed", "claim refused", "claimed anew", "stale read recognised", "record removed",
		"doubt resolved: landed", "doubt resolved: sent again", "request recognised in the record", "answered", "denied", "unsure",
		"lease resumed", "proved after a lapse", "stopped: store refused",
		"stopped: released", "stopped: fenced", "stopped: lease lost", "stopped: claim given up",
		"refused by the object", "late copy handled", "late copy dropped", "late copy told to ask another owner",
		"low raised", "answer expired", "a minute passed",
		"owner lost", "orphan collected", "merged", "purged",
	} {
		if happened[what] == 0 {
			t.Errorf("%q has never happened", what)
		}
	}
}

func TestEveryBrokenVariantIsCaught(t *testing.T) {
	for _, c := range []struct {
		scenario
		caught string // what is wrong in the end
	}{
		{scenario{flaw: noFence, timing: short, ticks: 3, revisions: 5, requests: 1, tries: 1, stale: 1},
			"request 1 was answered with 1, and the record is []"},
		{scenario{flaw: fromReply, timing: short, fresh: true, ticks: 3, revisions: 3, requests: 1, tries: 1},
			"would now answer a read from [], and [1] has been shown already"},
		{scenario{flaw: replyFirst, timing: short, revisions: 4, requests: 1, tries: 1},
			"request 1 was answered with 1, and the record is []"},
		{scenario{flaw: timeoutIsFailure, timing: short, revisions: 4, requests: 1, tries: 1, doubts: 1},
			"request 1 is said not to have happened, and the record is [1]"},

		// Three more, each of which is easily built by accident.
		{scenario{flaw: noKeys, timing: short, revisions: 4, requests: 1, tries: 2, doubts: 1},
			"request 1 was applied twice: the record is [1 1]"},
		{scenario{flaw: noConfirm, timing: short, fresh: true, ticks: 3, revisions: 3, requests: 1, tries: 1, renewals: 1},
			"would now answer a read from [], and [1] has been shown already"},
		{scenario{flaw: comesBack, timing: short, ticks: 3, revisions: 3, requests: 1, tries: 1, renewals: 2},
			"would now answer a read from [], and [1] has been shown already"},
		{scenario{flaw: noProof, timing: short, lapse: true, ticks: 3, revisions: 3, requests: 1, tries: 1, renewals: 1, forgets: 1},
			"would now answer a read from [], and [1] has been shown already"},
		{scenario{flaw: oldProof, timing: short, lapse: true, ticks: 3, revisions: 4, requests: 2, tries: 1, renewals: 1, forgets: 1},
			"would now answer a read from"},
		{scenario{flaw: allCopies, timing: short, revisions: 4, requests: 1, tries: 1, doubts: 1, refusals: 1},
			"request 1 is said not to have happened, and the record is [1]"},

		// Of requests that are sent twice.
		{scenario{flaw: emptyForgets, timing: short, empty: true, late: 1, revisions: 5, requests: 1, tries: 2, leaves: 1},
			"request 1 was applied twice: the record is [1 1]"},
		{scenario{flaw: oneRefusal, timing: short, refuses: true, late: 1, revisions: 4, requests: 1, tries: 2},
			"request 1 is said not to have happened, and the record is [1]"},
		{scenario{flaw: anyOwner, timing: short, late: 1, revisions: 5, requests: 1, tries: 2, leaves: 1},
			"request 1 was applied twice: the record is [1 1]"},
		{scenario{flaw: youngTrusts, timing: short, late: 1, revisions: 5, requests: 1, tries: 2, leaves: 1},
			"request 1 was applied twice: the record is [1 1]"},
		{scenario{flaw: onlyAnswers, timing: short, late: 1, revisions: 4, requests: 1, tries: 2},
			"request 1 was applied twice: the record is [1 1]"},
		{scenario{flaw: ageless, timing: short, empty: true, late: 1, revisions: 5, requests: 1, tries: 2, leaves: 1},
			"request 1 was applied twice: the record is [1 1]"},
		// Of large objects.
		{scenario{flaw: headFirst, timing: short, large: true, revisions: 3, requests: 1, tries: 1},
			"which is not there"},
		{scenario{flaw: epochNames, timing: short, large: true, ticks: 3, revisions: 5, requests: 2, tries: 1, crashes: 1, leaves: 1},
			"which is not there"},
		{scenario{flaw: mergeNumber, timing: short, large: true, revisions: 4, requests: 3, tries: 1, merges: 1},
			"was given twice"},
		{scenario{flaw: ownNumbers, timing: short, large: true, ticks: 3, revisions: 5, requests: 2, tries: 1, crashes: 1},
			"which is not there"},
		{scenario{flaw: purgeFirst, timing: short, large: true, ticks: 3, revisions: 5, requests: 2, tries: 1, merges: 1},
			"which is not there"},
		{scenario{flaw: orphansAll, timing: short, large: true, ticks: 3, revisions: 5, requests: 2, tries: 1, crashes: 1},
			"which is not there"},
		{scenario{flaw: orphansEarly, timing: short, large: true, ticks: 3, revisions: 4, requests: 1, tries: 1},
			"which is not there"},
		{scenario{flaw: noJob, timing: short, large: true, revisions: 4, requests: 3, tries: 1, merges: 1, crashes: 1},
			"nobody will ever purge it"},
		{scenario{flaw: unserved, timing: short, large: true, ticks: 3, revisions: 4, requests: 2, tries: 1, leaves: 1},
			"nobody will ever purge it"},
		{scenario{flaw: lossForgotten, timing: short, large: true, ticks: 3, revisions: 4, requests: 2, tries: 1, crashes: 1},
			"nobody will ever purge it"},
	} {
		t.Run(string(c.flaw), func(t *testing.T) {
			s, trace := explore(c.scenario)
			if trace == nil {
				t.Fatalf("not caught in %d states: %v", s.worlds.len, s.count)
			}
			t.Logf("caught after %d states:\n%s", s.worlds.len, strings.Join(trace, "\n"))
			if last := trace[len(trace)-1]; !strings.Contains(last, c.caught) {
				t.Errorf("caught at %q, want %q", last, c.caught)
			}
		})
	}
}
