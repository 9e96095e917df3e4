package host

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
)

func TestThreeOwnersLostWithinAMinuteRestrictTheirClassForGrowingTimes(t *testing.T) {
	type loss struct {
		token uint64
		at    time.Duration
	}
	for _, c := range []struct {
		what   string
		losses []loss
		ends   int // incarnations that ended lately
		young  bool
		at     time.Duration
		want   time.Duration // for which the class is still restricted
	}{
		{"no loss", nil, 9, false, 0, 0},
		{"two", []loss{{1, 0}, {2, 0}}, 9, false, 0, 0},
		{"three at once", []loss{{1, 0}, {2, 0}, {3, 0}}, 3, false, 0, 10 * time.Second},
		{"later", []loss{{1, 0}, {2, 0}, {3, 0}}, 3, false, 4 * time.Second, 10 * time.Second}, // it begins with the first claim
		{"one that many clients tell of", []loss{{1, 0}, {1, 0}, {1, 1}, {2, 2}}, 9, false, 3, 0},
		{"three within a minute", []loss{{1, 0}, {2, 30 * time.Second}, {3, time.Minute}}, 3, false, time.Minute, 10 * time.Second},
		{"three over more than that", []loss{{1, 0}, {2, 30 * time.Second}, {3, time.Minute + 1}}, 3, false, time.Minute + 1, 0},
		{"the last three of many", []loss{{1, 0}, {2, time.Minute}, {3, 2 * time.Minute}, {4, 2 * time.Minute}, {5, 2 * time.Minute}}, 3, false, 2 * time.Minute, 10 * time.Second},
		{"forged: no host has ended", []loss{{1, 0}, {2, 0}, {3, 0}}, 0, false, 0, 0},
		{"forged: two hosts have ended", []loss{{1, 0}, {2, 0}, {3, 0}}, 2, false, 0, 0},
		{"nobody knows how many ended", []loss{{1, 0}, {2, 0}, {3, 0}}, 0, true, 0, 10 * time.Second},
	} {
		var r restriction
		for _, l := range c.losses {
			r.noteLoss(l.token, now.Add(l.at))
		}
		at := now.Add(c.at)
		active, begins := r.active(at, c.ends, !c.young)
		if left := max(0, r.until.Sub(at)); active != (c.want > 0) || begins != active || left != c.want {
			t.Errorf("%s: restricted %t, begins %t, for %v; want %v", c.what, active, begins, left, c.want)
		}
	}
}

func TestEveryFurtherLossDoublesTheTimeUpToFiveMinutes(t *testing.T) {
	var r restriction
	at, token := now, uint64(0)
	lose := func() {
		token++
		r.noteLoss(token, at)
	}
	lose()
	lose()
	for _, want := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		lose()
		if _, begins := r.active(at, 3, true); !begins || r.until.Sub(at) != want*time.Second {
			t.Fatalf("after %d losses restricted for %v, want %d s", token, r.until.Sub(at), want)
		}
		at = at.Add(time.Second)
		if active, begins := r.active(at, 3, true); !active || begins {
			t.Fatalf("a second after: restricted %t, begins %t", active, begins)
		}
	}
	if active, _ := r.active(r.until, 9, true); active {
		t.Error("it does not end")
	}
	at = r.until.Add(lossesTime + 1)
	lose()
	if active, _ := r.active(at, 9, true); active {
		t.Error("after a quiet minute a single loss restricts the class")
	}
}

// Somebody who may publish on the subjects of hosts could keep a class restricted.
func TestForgedLossesRestrictAClassForMinutesAtMost(t *testing.T) {
	t.Parallel()
	var r restriction
	end := now
	for i := range 4 * 3600 {
		at := now.Add(time.Duration(i) * time.Second)
		for j := range uint64(10) {
			r.noteLoss(uint64(i)*10+j+1, at)
		}
		ends := 0
		if i < 60 { // three hosts really have ended
			ends = 3
		}
		if active, _ := r.active(at, ends, true); active {
			end = at
		}
	}
	if long := end.Sub(now); long > lossesTime+maxRestriction {
		t.Errorf("restricted for %v by forged losses", long)
	}
	if len(r.tokens) > tokensKept || len(r.fresh) > lossesOfClass {
		t.Errorf("%d tokens and %d losses are remembered", len(r.tokens), len(r.fresh))
	}
}

func TestOfARestrictedClassOnlyTheFirstHostTakesNewObjects(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("here")
		w.call("here", "add") // an object that keeps nothing is released
		w.in.ends = func(time.Duration) (int, bool) { return 3, true }
		first := w.in.id
		w.in.first = func(string) string { return first }
		inbox := make(chan *nats.Msg, 8)
		if _, err := w.bus.Subscribe(wire.InboxPrefix+"g.claim.1", "", inbox); err != nil {
			t.Fatal(err)
		}
		answers := func(subject string, claim wire.Claim) int {
			w.send(subject, wire.InboxPrefix+"g.claim.1", wire.Encode(&claim))
			time.Sleep(time.Second)
			synctest.Wait()
			n := len(inbox)
			for range n {
				<-inbox
			}
			return n
		}
		for token := uint64(1); token <= 3; token++ {
			answers(wire.HostsSubject("guest"), wire.Claim{Class: "guest", Lost: token})
		}
		time.Sleep(3 * time.Second)
		if n := w.metric("holdfast_host_restricted_classes", ""); n != 1 {
			t.Errorf("the metric shows %v restricted classes, want 1", n)
		}
		if answers(wire.HostsSubject("guest"), wire.Claim{Class: "guest"}) != 1 || answers(wire.HostSubject("me"), claimOf("new")) != 1 {
			t.Error("the first host does not take new objects")
		}
		first = "a" // another one, which is lower
		if answers(wire.HostsSubject("guest"), wire.Claim{Class: "guest"}) != 0 {
			t.Error("another host than the first answers a roll call")
		}
		if answers(wire.HostsSubject(""), wire.Claim{}) != 1 {
			t.Error("the host does not say that it is there")
		}
		if r := w.askHost(claimOf("newer")); r.Owned || r.Owner != first || r.Failure == "" || r.Code != "" {
			t.Errorf("another host than the first answers a claim with %+v, want the first", r)
		}
		named := claimOf("dropped")
		if named.Named = true; answers(wire.HostSubject("me"), named) != 1 {
			t.Error("a claim of an object whose record names this host is not answered")
		}
		if answers(wire.HostSubject("me"), claimOf("here")) != 1 {
			t.Error("a claim of an object that is here is not answered")
		}
		if w.log.count("one host alone takes new claims") != 1 {
			t.Error("the log does not say once that the class is restricted")
		}
		time.Sleep(maxRestriction)
		if answers(wire.HostsSubject("guest"), wire.Claim{Class: "guest"}) != 1 {
			t.Error("the restriction does not end")
		}
	})
}
