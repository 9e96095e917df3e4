//go:build unix

package acceptance

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

func TestChaosNothingIsLostWhenTheOwnerIsKilled(t *testing.T) {
	beside(t, waiters)
	f := newFleet(t)
	one := f.host("one")
	doors := []*door{f.gateway("fra"), f.gateway("iad")}
	idle := []*guest{enter(t, doors[0], "lobby"), enter(t, doors[1], "lobby"), enter(t, doors[0], "lobby")}
	l := newLoad(t, "a", "b", "c")
	l.start(8, doors...)
	l.reaches("one (fra)", doors...) // nobody else is there yet
	f.host("two")
	l.goesOn(300)

	killed := time.Now()
	one.kill()
	late := enter(t, doors[0], "lobby")
	lobby := time.Since(killed)
	l.reaches("two (fra)", doors...)
	l.goesOn(300)
	l.finish()

	l.neverFailed()
	l.addsUp(doors[1])
	l.hasOwners("one (fra)", "two (fra)")
	t.Logf("%d claims; after kill -9 the last counter answered in %v, the room in %v", l.count(), l.gap(killed, "two (fra)"), lobby) // go run ./chaos judges them
	roomGoesOn(t, idle, late, "two")
}

// roomGoesOn wants everybody who was there before to have kept their socket, to
// know the new owner, and to hear and be heard.
func roomGoesOn(t *testing.T, idle []*guest, late *guest, owner string) {
	t.Helper()
	if len(late.hello.Peers) != len(idle) || late.hello.Epoch < 2 || late.hello.Owner != owner {
		t.Errorf("hello = %+v, want %d peers, and %s in a later epoch", late.hello, len(idle), owner)
	}
	late.say(`{"type":"cursor","x":1,"y":2}`)
	for _, g := range idle {
		if moved := g.next("owner"); moved.Epoch < 2 || moved.Owner != owner {
			t.Errorf("owner = %+v, want %s in a later epoch", moved, owner)
		}
		if heard := g.next("cursor"); heard.UserID != late.hello.UserID {
			t.Errorf("cursor of %q, want %q", heard.UserID, late.hello.UserID)
		}
		g.say(`{"type":"ripple","x":3,"y":4}`)
		if heard := late.next("ripple"); heard.UserID != g.hello.UserID {
			t.Errorf("ripple of %q, want %q", heard.UserID, g.hello.UserID)
		}
	}
}

func TestChaosAnOwnerThatFreezesComesBackToNothing(t *testing.T) {
	beside(t, waiters)
	f := newFleet(t)
	one := f.host("one")
	doors := []*door{f.gateway("fra"), f.gateway("iad")}
	idle := []*guest{enter(t, doors[0], "lobby"), enter(t, doors[1], "lobby")}
	l := newLoad(t, "a", "b", "c")
	l.start(8, doors...)
	l.reaches("one (fra)", doors...)
	two := f.host("two")
	l.goesOn(300)

	frozen := time.Now()
	one.signal(syscall.SIGSTOP)
	l.reaches("two (fra)", doors...) // its lease has run out: two could claim
	late := enter(t, doors[1], "lobby")
	l.goesOn(50)
	if one.logged("incarnation ended; starting over") {
		t.Fatal("one knows already: it was not frozen")
	}
	thawed := time.Now()
	one.signal(syscall.SIGCONT)
	await(t, "one sees that its time is over", func() bool { return one.logged("incarnation ended; starting over") })
	l.goesOn(300)
	for _, c := range l.all() {
		if c.at.After(thawed) && c.owner != "two (fra)" {
			t.Fatalf("%s: ticket %d was given by %s after it came back", c.counter, c.ticket, c.owner)
		}
	}
	t.Logf("frozen for %v; the last counter answered after %v", thawed.Sub(frozen), l.gap(frozen, "two (fra)"))
	roomGoesOn(t, idle, late, "two")

	two.stopsInOrder(syscall.SIGTERM) // one is a host like any other again
	l.reaches("one (fra)", doors...)
	l.finish()
	l.neverFailed()
	l.addsUp(doors[0])
	l.hasOwners("one (fra)", "two (fra)", "one (fra)")
}

func TestChaosHostsThatStopOnPurposeFailNoRequest(t *testing.T) {
	beside(t, waiters)
	f := newFleet(t)
	owner := f.host("host-1")
	doors := []*door{f.gateway("fra"), f.gateway("iad")}
	l := newLoad(t, "a", "b", "c")
	l.start(8, doors...)
	owners := []string{"host-1 (fra)"}
	l.reaches(owners[0], doors...)
	for i := 2; i <= 4; i++ {
		next := f.host(fmt.Sprint("host-", i))
		l.goesOn(300)
		told := time.Now()
		owner.stopsInOrder(syscall.SIGTERM)
		owners = append(owners, fmt.Sprintf("host-%d (fra)", i))
		l.reaches(owners[i-1], doors...)
		t.Logf("%s: the last counter answered %v after the signal", next.name, l.gap(told, owners[i-1]))
		owner = next
	}
	l.finish()
	l.neverFailed()
	l.addsUp(doors[0])
	l.hasOwners(owners...)
	t.Logf("%d claims over %d hosts", l.count(), len(owners))
}

// Without the only server nobody can answer. No client has to fail either: who
// asked waits, and goes on when it is back with its store.
func TestChaosNATSIsKilledAndComesBack(t *testing.T) {
	beside(t, waiters)
	f := newFleet(t)
	f.host("one")
	doors := []*door{f.gateway("fra"), f.gateway("iad")}
	l := newLoad(t, "a", "b")
	l.start(6, doors...)
	l.goesOn(200)
	for range 2 {
		f.server.kill()
		f.startNATS()
		l.goesOn(200)
	}
	l.finish()
	l.neverFailed()
	l.addsUp(doors[0])
}
