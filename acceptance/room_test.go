package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
)

// guest is a person in a room.
type guest struct {
	t      testing.TB
	conn   *websocket.Conn
	frames chan roomFrame // what the room said; closed when the socket ends
	ended  chan error     // how it ended
	hello  roomFrame
}

type roomFrame struct {
	Type, UserID, Name, Color, Region, Owner, OwnerRegion string

	Epoch uint64
	X, Y  int
	Peers []struct{ UserID, Name, Color, Region string }
}

// enter opens a socket into a room and receives the hello.
func enter(t testing.TB, d *door, room string) *guest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, res, err := websocket.Dial(ctx, strings.Replace(d.url, "http", "ws", 1)+"/room/"+room, nil)
	if err != nil {
		t.Fatalf("enter %s: %v (%v)", room, err, res)
	}
	conn.SetReadLimit(1 << 20)
	g := &guest{t: t, conn: conn, frames: make(chan roomFrame, 4096), ended: make(chan error, 1)}
	go func() {
		defer close(g.frames)
		for {
			_, data, err := conn.Read(context.Background())
			if err != nil {
				g.ended <- err
				return
			}
			var f roomFrame
			if err := json.Unmarshal(data, &f); err != nil {
				g.ended <- err
				return
			}
			g.frames <- f
		}
	}()
	t.Cleanup(func() { conn.CloseNow() })
	g.hello = g.next("hello")
	return g
}

// next waits for a frame of this type, passing over others.
func (g *guest) next(kind string) roomFrame {
	g.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case f, open := <-g.frames:
			if !open {
				g.t.Fatalf("%s: the socket ended while waiting for %s: %v", g.hello.Name, kind, <-g.ended)
			}
			if f.Type == kind {
				return f
			}
		case <-deadline:
			g.t.Fatalf("%s: no %s within %v", g.hello.Name, kind, patience)
		}
	}
}

func (g *guest) say(format string, args ...any) {
	g.t.Helper()
	if err := g.conn.Write(g.t.Context(), websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
		g.t.Fatalf("%s: send: %v", g.hello.Name, err)
	}
}

// closed waits for the end and returns its code.
func (g *guest) closed() websocket.StatusCode {
	g.t.Helper()
	for range g.frames {
	}
	return websocket.CloseStatus(<-g.ended)
}

func TestPeopleInDifferentRegionsSeeEachOther(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		doors := on.world(t)
		amber := enter(t, doors[0], "lobby")
		jade := enter(t, doors[1], "lobby")
		if amber.hello.Name == jade.hello.Name || len(jade.hello.Peers) != 1 || jade.hello.Peers[0].UserID != amber.hello.UserID {
			t.Errorf("hellos: %+v and %+v", amber.hello, jade.hello)
		}
		if joined := amber.next("join"); joined.UserID != jade.hello.UserID || joined.Region != "iad" {
			t.Errorf("join = %+v, want %s from iad", joined, jade.hello.UserID)
		}
		for i := range 200 {
			amber.say(`{"type":"cursor","x":%d,"y":7}`, i)
		}
		for i := range 200 {
			if f := jade.next("cursor"); f.X != i || f.UserID != amber.hello.UserID {
				t.Fatalf("cursor %d = %+v", i, f)
			}
		}
		jade.say(`{"type":"ripple","x":1,"y":2}`)
		if f := amber.next("ripple"); f.UserID != jade.hello.UserID || f.Y != 2 {
			t.Errorf("ripple = %+v", f)
		}
		jade.conn.Close(websocket.StatusNormalClosure, "")
		if f := amber.next("leave"); f.UserID != jade.hello.UserID {
			t.Errorf("leave = %+v", f)
		}
	})
}

func TestARoomSleepsWithAHundredSocketsAndWakesWithEveryIdentity(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		metrics := prometheus.NewRegistry()
		timing := steady
		timing.Hibernate = 100 * time.Millisecond
		on.startHost(t, "a", "fra", timing, metrics)
		doors := []*door{on.startGateway(t, "fra", timing), on.startGateway(t, "syd", timing)}
		guests := make([]*guest, 100)
		names := make(map[string]string)
		for i := range guests {
			guests[i] = enter(t, doors[i%2], "dormitory")
			names[guests[i].hello.UserID] = guests[i].hello.Name
		}
		if len(names) != 100 {
			t.Fatalf("%d identities for 100 people", len(names))
		}
		constructed := func() float64 { return valueOf(t, metrics, "holdfast_host_constructions_total", "room") }
		for _, speaker := range []*guest{guests[3], guests[42]} {
			before := constructed()
			await(t, "the room sleeps", func() bool { return valueOf(t, metrics, "holdfast_host_awake", "room") == 0 })
			speaker.say(`{"type":"ripple","x":5,"y":5}`)
			for _, g := range guests {
				if g == speaker {
					continue
				}
				if f := g.next("ripple"); f.UserID != speaker.hello.UserID {
					t.Fatalf("ripple of %s, want %s", f.UserID, speaker.hello.UserID)
				}
			}
			if after := constructed(); after != before+1 {
				t.Errorf("constructed %v times, want %v: it did not sleep", after, before+1)
			}
		}
		late := enter(t, doors[0], "dormitory")
		if len(late.hello.Peers) != 100 {
			t.Fatalf("%d peers after two sleeps, want 100", len(late.hello.Peers))
		}
		for _, p := range late.hello.Peers {
			if names[p.UserID] != p.Name {
				t.Errorf("%s is called %s now, was %s", p.UserID, p.Name, names[p.UserID])
			}
		}
		for _, d := range doors {
			if d.Sockets() < 50 {
				t.Errorf("a gateway holds %d sockets, want at least 50", d.Sockets())
			}
		}
	})
}

func TestAnIdleRoomIsEvictedWithItsSocketsOpenAndComesBack(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		timing := steady
		timing.Hibernate, timing.Evict = 50*time.Millisecond, 150*time.Millisecond
		metrics := prometheus.NewRegistry()
		on.startHost(t, "a", "fra", timing, metrics)
		d := on.startGateway(t, "fra", timing)
		amber, jade := enter(t, d, "lobby"), enter(t, d, "lobby")
		await(t, "the room is released", func() bool { return valueOf(t, metrics, "holdfast_host_stops_total", "released") > 0 })
		jade.say(`{"type":"ripple","x":3,"y":4}`)
		if f := amber.next("ripple"); f.UserID != jade.hello.UserID {
			t.Errorf("ripple of %q, want %q", f.UserID, jade.hello.UserID)
		}
	})
}

func TestChaosARoomGoesOnWhenItsHostIsLost(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		first := on.startHost(t, "first", "fra", quick, nil)
		d := on.startGateway(t, "fra", quick)
		e := on.startGateway(t, "iad", quick)
		amber, jade := enter(t, d, "lobby"), enter(t, e, "lobby")
		amber.next("join")
		on.startHost(t, "second", "fra", steady, nil)
		first.cut()
		late := enter(t, d, "lobby")
		if len(late.hello.Peers) != 2 || late.hello.Epoch < 2 || late.hello.Owner != "second" {
			t.Errorf("hello = %+v, want two peers, and second at a later epoch", late.hello)
		}
		for _, g := range []*guest{amber, jade} {
			if f := g.next("owner"); f.Epoch < 2 || f.Owner != "second" {
				t.Errorf("owner = %+v, want second at a later epoch", f)
			}
		}
		amber.say(`{"type":"ripple","x":1,"y":1}`)
		if f := jade.next("ripple"); f.UserID != amber.hello.UserID {
			t.Errorf("ripple of %q, want %q", f.UserID, amber.hello.UserID)
		}
		jade.say(`{"type":"ripple","x":2,"y":2}`)
		if f := amber.next("ripple"); f.UserID != jade.hello.UserID {
			t.Errorf("ripple of %q, want %q", f.UserID, jade.hello.UserID)
		}
	})
}

func TestTheRoomHearsOfASocketThatWasClosedWhileNobodyOwnedIt(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	first := on.startHost(t, "first", "fra", steady, nil)
	impatient := steady
	impatient.Request = 4 * time.Second // a machine may stand still for two of them while the room is entered
	d, e := on.startGateway(t, "fra", impatient), on.startGateway(t, "iad", steady)
	amber, jade := enter(t, d, "lobby"), enter(t, e, "lobby")
	first.stop()
	amber.say(`{"type":"ripple","x":1,"y":1}`)
	if code := amber.closed(); code != websocket.StatusServiceRestart {
		t.Errorf("closed with %d, want 1012", code)
	}
	on.startHost(t, "second", "fra", steady, nil)
	if f := jade.next("leave"); f.UserID != amber.hello.UserID {
		t.Errorf("leave of %q, want %q", f.UserID, amber.hello.UserID)
	}
}

func TestTheRoomHearsOfAGatewayThatDies(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		on.startHost(t, "a", "fra", brief, nil)
		d, dying := on.startGateway(t, "fra", brief), on.startGateway(t, "iad", brief)
		amber := enter(t, d, "lobby")
		jade := enter(t, dying, "lobby")
		dying.cut()
		if f := amber.next("leave"); f.UserID != jade.hello.UserID {
			t.Errorf("leave of %q, want %q", f.UserID, jade.hello.UserID)
		}
	})
}

func TestAGatewayThatStopsSendsEverybodyAwayWith1012(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		on.startHost(t, "a", "fra", steady, nil)
		d, other := on.startGateway(t, "fra", steady), on.startGateway(t, "iad", steady)
		watcher := enter(t, other, "lobby")
		guests := make(map[string]*guest)
		for range 10 {
			g := enter(t, d, "lobby")
			guests[g.hello.UserID] = g
		}
		d.stop()
		for range 10 {
			delete(guests, watcher.next("leave").UserID)
		}
		if len(guests) != 0 {
			t.Errorf("the room was not told of %d who left", len(guests))
		}
	})
}

func TestThreeFramesThatAreNoObjectsAreForgiven(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		on.startHost(t, "a", "fra", steady, nil)
		d := on.startGateway(t, "fra", steady)
		g := enter(t, d, "lobby")
		for range 3 {
			g.say("[1,2")
			g.next("error")
		}
		g.say("once more")
		if code := g.closed(); code != 4400 {
			t.Errorf("closed with %d, want 4400", code)
		}
	})
}

// valueOf sums a counter or a gauge over the series that have this value in any label.
func valueOf(t testing.TB, from prometheus.Gatherer, name, label string) (sum float64) {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if family.GetName() == name && l.GetValue() == label {
					sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	return sum
}
