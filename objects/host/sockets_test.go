package host

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// enterAs opens a socket of a principal.
func (w *world) enterAs(who, socket, gateway string) {
	w.t.Helper()
	g := w.bus.gateway(gateway)
	g.mu.Lock()
	g.stream(id("room").Key()).Opening(stream.Slot(slotOf(socket)))
	g.mu.Unlock()
	r := <-w.ask("room", &wire.Request{
		Kind: wire.Fetch, Method: "GET", URL: "/", Socket: sid(socket, gateway), Gateway: gateway, Principal: fmt.Appendf(nil, `{"id":%q}`, who),
	})
	if r == nil || r.Status != http.StatusSwitchingProtocols {
		w.t.Fatalf("socket not opened: %+v", r)
	}
}

// The end of a socket whose gateway has died is told as all that comes of the socket, also if the owner has died with the
// gateway.
func TestTheEndOfALostGatewaysSocketsHasTheirPrincipalAndSaysWhatWentWrong(t *testing.T) {
	for name, lose := range map[string]func(w *world) *world{
		"gateway": func(w *world) *world { return w },
		"gateway and owner": func(w *world) *world {
			w.bus.gateway("g1").silence()
			return w.next()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.own("room")
				w.enterAs("ada", "s1", "g1")
				time.Sleep(time.Second)
				now := lose(w)
				now.beat(wire.Beat{Gateway: "g1", Bye: true})
				time.Sleep(3*now.in.timing.Beat + time.Second)
				now.room.mu.Lock()
				end, opener := now.room.ends[sid("s1", "g1")], now.room.openers[sid("s1", "g1")]
				now.room.mu.Unlock()
				if opener != "ada ada" || end.Code != 1006 || end.Err == nil || end.Err.Code != objects.Unavailable {
					t.Errorf("told of %+v (%v) as %q", end, end.Err, opener)
				}
				if now != w {
					if _, err := now.stop(); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

func TestWhatIsMissingIsProbedForAtOnceWhenTheConnectionIsMadeAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.open("room", "s1", "g1")
		w.bus.gateway("g1").setMute(true)
		w.say("s1", "g1", "lost")
		time.Sleep(1300 * time.Millisecond) // the next probe is a while off
		w.bus.gateway("g1").setMute(false)
		w.hears("s1", "g1")
		w.bus.setDown(false)
		time.Sleep(time.Millisecond)
		w.hears("s1", "g1", "lost")
	})
}

// Every socket is in the record before its client hears of it. Those that one put covers are opened by one message.
func TestSocketsThatOneCommitOpensLeaveInOneMessage(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.open("room", "s1", "g1")
		g := w.bus.gateway("g1")
		before, puts := g.pushes, w.store.revision
		w.store.fail(fault{Slow: time.Second})
		var asked []chan *wire.Reply
		for i := range 17 {
			asked = append(asked, w.upgrade("room", fmt.Sprint("s", 2+i), "g1"))
			synctest.Wait()
		}
		for i, answer := range asked {
			if r := <-answer; r == nil || r.Status != http.StatusSwitchingProtocols {
				t.Fatalf("socket %d: %+v", i, r)
			}
		}
		synctest.Wait()
		if n := len(g.accepted); n != 18 {
			t.Errorf("%d sockets are open, want 18", n)
		}
		if puts, pushes := w.store.revision-puts, g.pushes-before; puts != 2 || pushes != 2 {
			t.Errorf("%d puts and %d messages opened a socket and 16, want two and two", puts, pushes)
		}
	})
}

func TestASlowCommitClosesNoSocketOfABusyRoom(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.open("room", "s1", "g1")
		w.store.fail(fault{Slow: 3 * time.Second})
		add := w.ask("room", &wire.Request{Kind: wire.Call, Call: "add", Body: []byte("{}")})
		synctest.Wait()
		long := strings.Repeat("x", 50<<10) // 50 of them are far more than a window
		for range 50 {
			w.say("s1", "g1", long)
		}
		if got := len(w.heard("s1", "g1")); got != 0 {
			t.Fatalf("%d messages have come before the commit", got)
		}
		if r := <-add; number(r) != 1 {
			t.Errorf("the addition was answered %+v", r)
		}
		time.Sleep(time.Second)
		if got := len(w.heard("s1", "g1")); got != 50 || w.cut("s1", "g1") {
			t.Errorf("%d of 50 messages have come, closed: %v", got, w.cut("s1", "g1"))
		}
	}, func(c *Config) { c.Window = 256 << 10 })
}

// After a lapse of the lease, outputs that waited for the proving put filled a window, and no event ran any more.
func TestABusyRoomGoesOnAfterALapseOfTheLease(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.open("room", "s1", "g1")
		w.lease.lapse()
		long := strings.Repeat("x", 50<<10)
		for range 50 {
			w.say("s1", "g1", long)
		}
		w.lease.resume()
		time.Sleep(10 * time.Second)
		if got := len(w.heard("s1", "g1")); got != 50 || w.cut("s1", "g1") {
			t.Errorf("%d of 50 messages have come, closed: %v", got, w.cut("s1", "g1"))
		}
	}, func(c *Config) { c.Window = 256 << 10 })
}

// The event loop may find out that there is no room only after the object has ended, when nobody makes room any more.
func TestNoEventWaitsForRoomAtAnObjectThatHasEnded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.open("room", "s1", "g1")
		w.store.fail(fault{Slow: 3 * time.Second})
		w.ask("room", &wire.Request{Kind: wire.Call, Call: "add", Body: []byte("{}")})
		synctest.Wait()
		for range 10 {
			w.say("s1", "g1", strings.Repeat("x", 50<<10))
		}
		o := w.in.find(id("room").Key())
		waits := func() (waits bool) {
			w.look("room", func(o *object) { waits = o.waiters.awaits(untilRoom) != nil })
			return waits
		}
		if !waits() {
			t.Fatal("the object waits for no room")
		}
		o.lapse()
		ended := make(chan struct{})
		go func() {
			o.awaitRoom()
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Error("an event waits for room")
			o.mu.Lock()
			o.waiters.come(untilRoom)
			o.mu.Unlock()
		}
	}, func(c *Config) { c.Window = 256 << 10 })
}

func TestTheWindowsOfLanesAreSettings(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*Config)
		closes bool
	}{
		"default":    {func(*Config) {}, false},
		"one lane's": {func(c *Config) { c.Window = 4 << 10 }, true},
		"the host's": {func(c *Config) { c.Windows = 4 << 10 }, true},
		"in time":    {func(c *Config) { c.Timing.Keep = time.Second }, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.own("room")
				w.open("room", "s1", "g1")
				w.bus.gateway("g1").setMute(true)
				for range 100 {
					w.say("s1", "g1", string(bytes.Repeat([]byte("x"), 100)))
				}
				time.Sleep(4 * time.Second)
				w.bus.gateway("g1").setMute(false)
				time.Sleep(2 * time.Second)
				if got := len(w.heard("s1", "g1")); w.cut("s1", "g1") != row.closes || !row.closes && got != 100 {
					t.Errorf("%d messages arrived, closed: %v", got, !row.closes)
				}
			}, row.change)
		})
	}
}

func TestAnAnswerSaysThatTheObjectWasWoken(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		for i, want := range []bool{true, false, true} {
			if i == 2 {
				time.Sleep(w.in.timing.Hibernate + 3*time.Second)
			}
			if r := w.call("room", "add"); r == nil || r.Woke != want {
				t.Errorf("call %d: %+v, want woken %v", i, r, want)
			}
		}
		if n := w.metric("holdfast_host_hibernations_total", ""); n != 1 {
			t.Errorf("%v hibernations, want 1", n)
		}
	})
}

// Values that no gateway sends are left out: the record has to stay readable.
func TestForgedDetailsOfASocketAreLeftOut(t *testing.T) {
	for _, data := range []string{"", "{", "\xff", string(bytes.Repeat([]byte("1"), 20<<10))} {
		if cleanPrincipal([]byte(data)) != nil || cleanAttachment([]byte(data)) != nil {
			t.Errorf("%.20q is taken", data)
		}
	}
	if string(cleanPrincipal([]byte(`{"id":"ada"}`))) != `{"id":"ada"}` || string(cleanAttachment([]byte(`7`))) != `7` {
		t.Error("what a gateway says is left out")
	}
}

func TestAnObjectThatSleptWithoutSocketsTakesOne(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.call("room", "add") // an object that keeps nothing is released
		time.Sleep(time.Minute)
		w.look("room", func(o *object) {
			if o.sockets != nil {
				t.Errorf("it keeps %+v", o.sockets)
			}
		})
		w.open("room", "s1", "g1")
		for seq := range uint64(2) {
			if !w.frame("room", "s1", "g1", seq+1, wire.Message) {
				t.Errorf("frame %d is not acknowledged", seq+1)
			}
		}
		if n := w.listed("room"); n != 1 {
			t.Errorf("it has %d sockets", n)
		}
	})
}
