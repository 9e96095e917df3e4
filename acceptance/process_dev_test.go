//go:build unix

package acceptance

import (
	"bufio"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
)

// everything is a run of holdfast dev.
type everything struct {
	*process
	doors  []*door
	banner struct {
		Open, WebSocket, NATS, Join string
		Regions                     []struct {
			Region, URL string
			RTTMS       float64
		}
		Data struct {
			Kept bool
			Sync string
		}
	}
}

func dev(t testing.TB, args ...string) *everything {
	t.Helper()
	e := &everything{}
	if !slices.Contains(args, "--rtt") {
		args = append(args, "--rtt", "0")
	}
	e.process = run(t, &e.banner, append([]string{"dev", "--port", "0", "--nats-port", "0"}, args...)...)
	for _, r := range e.banner.Regions {
		e.doors = append(e.doors, &door{url: r.URL})
	}
	return e
}

func TestChaosARestartOfEverythingLosesNothing(t *testing.T) {
	beside(t, waiters)
	store := t.TempDir()
	counters := []string{"a", "b", "c"}
	ends := []struct {
		how string
		end func(*everything, *load)
	}{
		{"kill -9", func(e *everything, l *load) { e.kill(); l.finish() }},
		{"Ctrl-C", func(e *everything, l *load) { e.stopsInOrder(syscall.SIGINT); l.finish(); l.nothingInDoubt() }},
		{"kill -9, once more", func(e *everything, l *load) { e.kill(); l.finish() }},
		{"Ctrl-C, when nothing happens", func(e *everything, l *load) { l.finish(); e.stopsInOrder(syscall.SIGINT); l.neverFailed() }},
	}
	before := newLoad(t)
	for _, life := range ends {
		e := dev(t, "--regions", "fra,iad", "--store", store)
		before.addsUp(e.doors[0])
		l := newLoad(t, counters...)
		for _, counter := range counters {
			l.stood[counter] = peek(t, e.doors[1], counter)
			if err := l.claim(e.doors[1].url, counter); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range l.all() {
			if c.ticket != l.stood[c.counter]+1 {
				t.Fatalf("%s gave %d first, want one more than %d", c.counter, c.ticket, l.stood[c.counter])
			}
		}
		l.start(8, e.doors...)
		l.goesOn(300)
		life.end(e, l)
		t.Logf("%s: %d claims were answered, %d are in doubt", life.how, l.count(), l.inDoubt())
		before = l
	}
	before.addsUp(dev(t, "--regions", "fra,iad", "--store", store).doors[0])
}

func TestASecondCtrlCQuitsAtOnce(t *testing.T) {
	beside(t, waiters)
	e := dev(t, "--regions", "fra", "--store", "memory")
	held, err := http.Post(e.doors[0].url+"/race/held", "application/json", strings.NewReader(`{"n":1,"gap":"5s"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Body.Close()
	if line, err := bufio.NewReader(held.Body).ReadString('\n'); err != nil || !strings.Contains(line, `"start"`) {
		t.Fatalf("the race began with %q, %v", line, err)
	}
	e.signal(syscall.SIGINT)
	await(t, "it drains", func() bool { return e.logged("draining") })
	e.signal(syscall.SIGINT)
	if how := e.wait(); how.ExitStatus() != 130 {
		t.Errorf("ended with %v, want exit code 130", e.cmd.ProcessState)
	}
	if e.logged("drained") {
		t.Error("it has drained before it quit")
	}
}

func TestOnceMoreWithOtherStores(t *testing.T) {
	beside(t, waiters)
	for _, tt := range []struct {
		name string
		args []string
		kept bool
		sync string
	}{
		{"memory", []string{"--store", "memory"}, false, "default"},
		{"sync always", []string{"--store", t.TempDir(), "--sync", "always", "--hosts", "2"}, true, "always"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := dev(t, append(tt.args, "--regions", "fra,iad")...)
			if d := e.banner.Data; d.Kept != tt.kept || d.Sync != tt.sync {
				t.Errorf("data = %+v, want kept %v, sync %s", d, tt.kept, tt.sync)
			}
			l := newLoad(t, "a", "b")
			l.start(4, e.doors...)
			l.goesOn(100)
			l.finish()
			l.neverFailed()
			l.addsUp(e.doors[1])
			amber, jade := enter(t, e.doors[0], "lobby"), enter(t, e.doors[1], "lobby")
			amber.say(`{"type":"ripple","x":1,"y":2}`)
			if f := jade.next("ripple"); f.UserID != amber.hello.UserID {
				t.Errorf("ripple of %q, want %q", f.UserID, amber.hello.UserID)
			}
			e.stopsInOrder(syscall.SIGTERM)
			if code := amber.closed(); code != 1012 {
				t.Errorf("the socket was closed with %d, want 1012", code)
			}
		})
	}
}

// In one process, and without a distance, requests bypass NATS; a region that is
// some way off pays the way, as if it were a process of its own.
func TestOnlyWhatIsFarOffIsAskedOverNATS(t *testing.T) {
	beside(t, waiters)
	for rtt, want := range map[string]int{"0": 0, "4ms": 20} {
		t.Run(rtt, func(t *testing.T) {
			e := dev(t, "--regions", "fra,syd", "--store", "memory", "--rtt", rtt)
			far := e.doors[1]
			if _, header, err := claim(far.url, "a"); err != nil || !strings.HasPrefix(header.Get("Holdfast-Owner"), "syd") {
				t.Fatalf("owned by %q, %v; want a host in syd", header.Get("Holdfast-Owner"), err)
			}
			spy := dialed(t)(nats.Connect(e.banner.NATS))
			passed, err := spy.SubscribeSync(wire.ObjectPrefix + ">")
			if err == nil {
				err = spy.Flush()
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				if n, _, err := claim(far.url, "a"); n != i+2 || err != nil {
					t.Fatalf("claim = %d, %v, want %d", n, err, i+2)
				}
			}
			if err := spy.Flush(); err != nil { // what passed before this has come
				t.Fatal(err)
			}
			if n, _, err := passed.Pending(); n != want || err != nil {
				t.Errorf("%d requests passed NATS, %v, want %d", n, err, want)
			}
		})
	}
}
