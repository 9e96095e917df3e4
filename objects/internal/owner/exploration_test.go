package owner_test

import (
	"strings"
	"testing"
	"time"

	"holdfast/objects/internal/lease"
)

var short = lease.Timing{TTL: 2 * time.Second, Margin: time.Second}
var long = lease.Timing{TTL: 5 * time.Second, Margin: time.Second}

func TestSmoke(t *testing.T) {
	for _, sc := range []scenario{
		{name: "commits in doubt", timing: short, calm: true, revisions: 4, requests: 2, tries: 2, doubts: 1, leaves: 1, stale: 7},
		{name: "takeover", timing: short, calm: true, ticks: 3, revisions: 4, requests: 1, tries: 2, doubts: 1, crashes: 1, renewals: 1, stale: 2},
		{name: "takeover2", timing: short, calm: true, ticks: 3, revisions: 4, requests: 2, tries: 1, doubts: 1, renewals: 1, stale: 2},
		{name: "restart", timing: short, calm: true, restart: true, ticks: 3, revisions: 4, requests: 1, tries: 2, doubts: 1, crashes: 1, stale: 7},
		{name: "leases", timing: short, calm: true, fresh: true, ticks: 3, revisions: 4, requests: 1, tries: 1, renewals: 2, stale: 2},
		{name: "slow renewals", timing: long, calm: true, ticks: 6, revisions: 3, requests: 1, tries: 1, renewals: 2, stale: 0},
		{name: "no fence", flaw: noFence, timing: short, ticks: 3, revisions: 6, requests: 2, tries: 1, renewals: 1, doubts: 1, stale: 7},
		{name: "from reply", flaw: fromReply, timing: short, fresh: true, ticks: 3, revisions: 4, requests: 1, tries: 1, renewals: 2, stale: 7},
		{name: "reply first", flaw: replyFirst, timing: short, ticks: 0, revisions: 4, requests: 1, tries: 1, renewals: 2, stale: 7},
		{name: "timeout", flaw: timeoutIsFailure, timing: short, ticks: 0, revisions: 4, requests: 1, tries: 1, doubts: 1, stale: 7},
		{name: "no keys", flaw: noKeys, timing: short, ticks: 0, revisions: 4, requests: 1, tries: 2, doubts: 1, stale: 7},
		{name: "no confirm", flaw: noConfirm, timing: short, fresh: true, ticks: 4, revisions: 4, requests: 1, tries: 1, renewals: 2, stale: 0},
		{name: "comes back", flaw: comesBack, timing: short, ticks: 3, revisions: 4, requests: 1, tries: 1, renewals: 2, stale: 7},
		{name: "comes back long", flaw: comesBack, timing: long, ticks: 6, revisions: 3, requests: 1, tries: 1, renewals: 2, stale: 0},
	} {
		t.Run(sc.name, func(t *testing.T) {
			begin := time.Now()
			s, trace := explore(sc)
			t.Logf("%d states, %d moves, %v %v", len(s.worlds), s.moved, time.Since(begin), s.count)
			if trace != nil {
				t.Errorf("\n%s", strings.Join(trace, "\n"))
			}
		})
	}
}
