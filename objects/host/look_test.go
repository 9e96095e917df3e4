package host

import (
	"testing"
	"time"

	"holdfast/internal/wire"
)

// looked returns the state that an object reports, and for how long it has lasted.
func (w *world) looked(name string) (wire.Life, time.Duration) {
	w.t.Helper()
	r := <-w.ask(name, &wire.Request{Kind: wire.Look})
	if r == nil || r.Life == nil || r.Code != "" || r.Owner.Host == "" || r.Token == 0 {
		w.t.Fatalf("a look at %s: %+v", name, r)
	}
	life := *r.Life
	since := time.Duration(life.Since) * time.Millisecond
	life.Since = 0
	return life, since
}

func TestALookSaysWhetherAnObjectSleepsAndWakesItNot(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("a")
		if life, _ := w.looked("a"); life != (wire.Life{}) {
			t.Errorf("an object of which nothing was asked: %+v", life)
		}
		w.open("a", "s1", "g")
		lives := func(seconds int) {
			for range seconds {
				w.beat(wire.Beat{Gateway: "g", Region: "fra"})
				time.Sleep(time.Second)
			}
		}
		lives(2)
		if life, since := w.looked("a"); life != (wire.Life{Awake: true, Woken: "fetch", Constructed: 1, Sockets: 1}) || since != 2*time.Second {
			t.Errorf("2 s after a socket was opened: %+v for %v", life, since)
		}
		for range 20 { // for longer than an idle instance is kept
			lives(1)
			w.looked("a")
		}
		asleep, since := w.looked("a")
		if asleep != (wire.Life{Woken: "fetch", Constructed: 1, Sockets: 1}) || since < 7*time.Second || since > 13*time.Second {
			t.Errorf("22 s after a socket was opened: %+v for %v", asleep, since)
		}
		if !w.frame("a", "s1", "g", 1, wire.Message) {
			t.Fatal("the message was not taken")
		}
		if life, since := w.looked("a"); life != (wire.Life{Awake: true, Woken: "message", Constructed: 2, Sockets: 1}) || since != time.Second {
			t.Errorf("a second after a message: %+v for %v", life, since)
		}
		if !w.frame("a", "s1", "g", 2, wire.Closed) {
			t.Fatal("the end of the socket was not taken")
		}
		if life, _ := w.looked("a"); life.Sockets != 0 {
			t.Errorf("after the only socket has ended there are %d", life.Sockets)
		}
		w.open("a", "s2", "g")
		lives(20)
		time.Sleep(30 * time.Second) // the gateway is given up while the object sleeps
		if life, _ := w.looked("a"); life.Woken != "closed" || life.Constructed != 3 || life.Sockets != 0 {
			t.Errorf("after the gateway was given up: %+v", life)
		}
	})
}

func TestALookSaysHowLongAnEventHasRun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("busy")
		held := w.ask("busy", &wire.Request{Kind: wire.Call, Call: "hold", Body: []byte("{}")})
		time.Sleep(40 * time.Second)
		if life, _ := w.looked("busy"); life.Running != 40_000 {
			t.Errorf("a look at an object whose event has run for 40 s: %+v", life)
		}
		close(w.room.hold)
		<-held
		if life, _ := w.looked("busy"); life.Running != 0 {
			t.Errorf("a look at an object whose event has ended: %+v", life)
		}
	})
}
