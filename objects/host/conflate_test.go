package host

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/stream"
	"holdfast/internal/wire"
)

// enter opens a socket that asks for conflated values.
func (w *world) enter(socket, gateway string) {
	w.t.Helper()
	w.openAt("room", socket, gateway, "/?conflated")
}

// say sends a frame with the gateway's next number.
func (w *world) say(socket, gateway, text string) uint64 {
	g := w.bus.gateway(gateway)
	g.mu.Lock()
	seq, ok := g.stream(id("room").Key()).Frame(stream.Slot(slotOf(socket)))
	g.mu.Unlock()
	if !ok {
		w.t.Fatalf("socket %s of %s is not open", socket, gateway)
	}
	w.tell("room", &wire.Request{Kind: wire.Message, Socket: sid(socket, gateway), Gateway: gateway, Seq: seq, Body: []byte(text)})
	synctest.Wait()
	return seq
}

// heard returns the messages of a socket so far.
func (w *world) heard(socket, gateway string) []string {
	synctest.Wait()
	g := w.bus.gateway(gateway)
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.got[sid(socket, gateway)])
}

func (w *world) hears(socket, gateway string, want ...string) {
	w.t.Helper()
	if got := w.heard(socket, gateway); !slices.Equal(got, want) {
		w.t.Errorf("socket %s of %s has got %q, want %q", socket, gateway, got, want)
	}
}

// next returns the owner after this one, which has crashed. Gateways are as they were.
func (w *world) next() *world {
	w.crash()
	next := newWorldOn(w.t, w.store, "next")
	next.bus.mu.Lock()
	for name, g := range w.bus.gates {
		g.mu.Lock()
		g.bus = next.bus
		g.mu.Unlock()
		next.bus.gates[name] = g
	}
	next.bus.mu.Unlock()
	next.own("room")
	time.Sleep(time.Second)
	return next
}

func (w *world) cut(socket, gateway string) bool {
	synctest.Wait()
	g := w.bus.gateway(gateway)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cut[slotOf(socket)]
}

const tick = 33 * time.Millisecond

// Fifty people move their pointers thirty times a second.
func TestARoomOfFiftyPointersSends1700FramesASecondAtMost(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		const people, seconds = 50, 2
		name := func(i int) string { return fmt.Sprint("s", i) }
		for i := range people {
			w.enter(name(i), "g1")
		}
		pushes := w.bus.gateway("g1").pushes
		for i := range people * 30 * seconds {
			w.say(name(i%people), "g1", fmt.Sprintf("value %d", i))
			time.Sleep(time.Second / (people * 30))
		}
		time.Sleep(tick)
		frames := 0
		for i := range people {
			got := w.heard(name(i), "g1")
			frames += len(got)
			if last := got[len(got)-1]; !strings.Contains(last, fmt.Sprint(people*30*seconds-1)) {
				t.Errorf("%s ends with %s, want the newest", name(i), last)
			}
		}
		if rate := frames / seconds; rate > 1700 || rate < 1400 {
			t.Errorf("%d frames a second to all, want 50 × 30", rate)
		}
		if n := (w.bus.gateway("g1").pushes - pushes) / seconds; n > 40 {
			t.Errorf("%d pushes a second, want one for all sockets each tick", n)
		}
		if acked, _ := w.bus.gateway("g1").state(sid("s1", "g1")); acked != 30*seconds {
			t.Errorf("%d frames of a socket are acknowledged, want all of them", acked)
		}
	})
}

func TestWhoDidNotAskGetsEachValueAndTheOrderIsThatOfSending(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.enter("s1", "g1")
		w.open("room", "s2", "g1")
		w.enter("s3", "g2")
		for i := range 4 {
			w.say("s1", "g1", fmt.Sprint("value ", i))
		}
		w.hears("s2", "g1", "0", "1", "2", "3") // the others wait for the next tick
		w.hears("s3", "g2", "[0]")
		w.say("s3", "g2", "hello")
		w.hears("s3", "g2", "[0]", "[3]", "hello")
		w.hears("s1", "g1", "[0]")
		w.say("s2", "g1", "value 4")
		time.Sleep(tick)
		w.hears("s1", "g1", "[0]", "[3,4]")
		w.hears("s3", "g2", "[0]", "[3]", "hello", "[4]")
	})
}

// The owner dies while a value waits that nobody has seen: the frame is not acknowledged, and the next owner
// gets it again.
func TestAValueThatWaitsAtTheDeathOfItsOwnerIsSentByTheNext(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.enter("s1", "g1")
		w.enter("s2", "g2")
		w.say("s1", "g1", "value 1")
		seq := w.say("s1", "g1", "value 2")
		if acked, _ := w.bus.gateway("g1").state(sid("s1", "g1")); acked >= seq {
			t.Error("the frame is acknowledged though what it sent waits")
		}
		next := w.next()
		if next.cut("s1", "g1") || next.cut("s2", "g2") {
			t.Error("a socket was closed that lacks nothing")
		}
		next.tell("room", &wire.Request{Kind: wire.Message, Socket: sid("s1", "g1"), Gateway: "g1", Seq: seq, Body: []byte("value 2")}) // again
		time.Sleep(tick)
		next.hears("s2", "g2", "[1]", "[2]")
		if _, err := next.stop(); err != nil {
			t.Error(err)
		}
	})
}

// The owner dies while an owed value waits: other effects of its event are durable, or were seen. The sockets that lack the
// value close.
func TestASocketThatLacksAValueOfADeadOwnerIsClosed(t *testing.T) {
	for name, sends := range map[string]func(w *world){
		"that was stored": func(w *world) { w.say("s1", "g1", "stored 2") },
		"that another saw": func(w *world) { // the one who did not ask, at once
			w.say("s1", "g1", "value 2")
		},
		"whose sender was answered": func(w *world) {
			w.say("s1", "g1", "value 2")
			w.say("s1", "g1", "hello")
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.own("room")
				w.enter("s1", "g1")
				w.enter("s2", "g2")
				if name == "that another saw" {
					w.open("room", "s3", "g3")
				}
				w.say("s1", "g1", "value 1")
				w.hears("s2", "g2", "[1]")
				sends(w)
				time.Sleep(tick / 3)
				w.hears("s2", "g2", "[1]")
				next := w.next()
				if !next.cut("s2", "g2") {
					t.Error("a socket is open that lacks a value")
				}
				if name == "that another saw" && next.cut("s3", "g3") {
					t.Error("a socket was closed that lacks nothing")
				}
				if _, err := next.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAMoveTakesNoValueAlongThatWaits(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.enter("s1", "g1")
		w.say("s1", "g1", "value 1")
		w.say("s1", "g1", "value 2")
		if _, err := w.stop(); err != nil {
			t.Error(err)
		}
		w.hears("s1", "g1", "[1]", "[2]")
	})
}

func TestACrowdThatHasLeftKeepsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.enter("s1", "g1")
		w.say("s1", "g1", "value 1")
		seq := w.say("s1", "g1", "value 2")
		if !w.frame("room", "s1", "g1", seq+1, wire.Closed) {
			t.Error("the end is not acknowledged")
		}
		w.look("room", func(o *object) {
			if o.sockets.conflation != nil || !o.sockets.Quiet() {
				t.Errorf("%+v is kept of it, quiet %v", o.sockets.conflation, o.sockets.Quiet())
			}
		})
	})
}
