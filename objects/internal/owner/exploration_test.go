package owner_test

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"holdfast/objects/internal/lease"
)

var short = lease.Timing{TTL: 2 * time.Second, Margin: time.Second}

func TestSmoke(t *testing.T) {
	t.Log(unsafe.Sizeof(world{}))
	for _, sc := range []scenario{
		{name: "commits in doubt", timing: short, ticks: 0, revisions: 4, requests: 2, tries: 2, doubts: 2, crashes: 0, leaves: 1, stale: 7},
		{name: "takeover", timing: short, ticks: 3, revisions: 4, requests: 1, tries: 2, doubts: 1, crashes: 1, stale: 7},
		{name: "leases", timing: short, fresh: true, ticks: 3, revisions: 3, requests: 1, tries: 1, renewals: 1, stale: 7},
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
