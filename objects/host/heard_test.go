package host

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects/host/internal/lease"
)

// heardOf is how far a gateway is in the streams of an object.
func (w *world) heardOf(name, gateway string) *wire.Heard {
	g := w.bus.gateway(gateway)
	g.mu.Lock()
	defer g.mu.Unlock()
	heard := &wire.Heard{Gateway: gateway}
	for _, p := range g.stream(id(name).Key()).Positions() {
		heard.Positions = append(heard.Positions, wire.LanePosition{Token: p.Token, Received: p.Received})
	}
	return heard
}

func TestAnObjectIsClaimedForAGatewayOnlyIfTheGatewayLacksSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own("a")
		w.open("a", "s1", "g")
		w.tell("a", &wire.Request{Kind: wire.Message, Socket: sid("s1", "g"), Gateway: "g", Seq: 1, Body: []byte("stored 2")})
		time.Sleep(time.Second)
		claim := claimOf("a")
		claim.Heard = w.heardOf("a", "g")
		if reply := w.askHost(claim); !reply.Owned || reply.Whole {
			t.Errorf("the owner answers %+v", reply)
		}
		w = w.successor(1)
		defer w.end()
		key := id("a").Key()
		w.in.live = func(context.Context, string) bool { return true }
		if reply := w.askHost(claim); reply.Owned || reply.Whole || reply.Other == "" {
			t.Errorf("while the owner may live, the answer is %+v", reply)
		}
		w.in.live = func(context.Context, string) bool { return false }
		if reply := w.askHost(claim); !reply.Whole || reply.Owned || w.in.find(key) != nil {
			t.Errorf("a gateway that has everything is answered %+v", reply)
		}
		if rec := w.store.record(key); rec.Owner != "me" {
			t.Errorf("the record was changed: its owner is %q", rec.Owner)
		}
		for name, change := range map[string]func(h *wire.Heard){
			"lacks a push":             func(h *wire.Heard) { h.Positions[0].Received-- },
			"knows no owner":           func(h *wire.Heard) { h.Positions = nil },
			"knows only an older one":  func(h *wire.Heard) { h.Positions[0].Token-- },
			"is not in the record":     func(h *wire.Heard) { h.Gateway = "other" },
			"knows only a forged one":  func(h *wire.Heard) { h.Positions[0].Token++ },
			"has a name that none has": func(h *wire.Heard) { h.Gateway = "a b.*" },
		} {
			h := *claim.Heard
			h.Positions = slices.Clone(h.Positions)
			change(&h)
			if lacks, err := w.in.lacks(t.Context(), key, &h); !lacks || err != nil {
				t.Errorf("a gateway that %s lacks something: %t, %v", name, lacks, err)
			}
		}
		reads := 0
		w.in.live = func(context.Context, string) bool { // what the owner has put last was not there yet
			if reads++; reads == 1 {
				rec := w.store.record(key)
				rec.Gateways[0].Head++
				_, revision, _ := w.store.Read(t.Context(), key)
				w.store.apply(key, rec.Encode(), revision)
			}
			return false
		}
		if lacks, err := w.in.lacks(t.Context(), key, claim.Heard); !lacks || err != nil {
			t.Errorf("what the owner put just before its lease ended is overlooked: %t, %v", lacks, err)
		}
		if reply := w.askHost(claim); !reply.Owned || reply.Whole {
			t.Errorf("a gateway that lacks a push is answered %+v", reply)
		}
	})
}

func TestARecordThatCannotBeReadIsNotTakenForWhole(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		claim := claimOf("a")
		claim.Heard = &wire.Heard{Gateway: "g"}
		w.store.fail(fault{Refuse: true})
		if reply := w.askHost(claim); reply.Whole || reply.Owned || reply.Failure == "" {
			t.Errorf("the answer is %+v", reply)
		}
		for range checks {
			w.in.checking <- struct{}{}
		}
		if reply := w.askHost(claim); reply.Whole || reply.Owned || reply.Failure == "" {
			t.Errorf("when too many ask, the answer is %+v", reply)
		}
	})
}

func TestAGatewayIsToldWhichHostsHaveEnded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		heard := make(chan *nats.Msg, 8)
		if _, err := w.bus.Subscribe(wire.GatewaySubject("g", wire.Heads), "", heard); err != nil {
			t.Fatal(err)
		}
		told := func() []wire.Ended {
			w.beat(wire.Beat{Gateway: "g"})
			synctest.Wait()
			if len(heard) == 0 {
				return nil
			}
			var heads wire.LaneHeads
			if err := wire.Decode((<-heard).Data, &heads); err != nil {
				t.Fatal(err)
			}
			return heads.Ended
		}
		if ended := told(); ended != nil {
			t.Errorf("nobody has ended, and the gateway is told %v", ended)
		}
		all := []lease.Gone{{Incarnation: "me", Beat: 7}, {Incarnation: "dead", Beat: 3}}
		w.in.ended = func(time.Duration) []lease.Gone { return all }
		if ended := told(); !slices.Equal(ended, []wire.Ended{{Incarnation: "dead", Beat: 3}}) {
			t.Errorf("the gateway is told %v", ended)
		}
		w.lease.lapse()
		if ended := told(); ended != nil {
			t.Errorf("a host whose own lease has lapsed tells %v", ended)
		}
		w.lease.resume()
		all = make([]lease.Gone, 10*wire.MaxEnded)
		if ended := told(); len(ended) != wire.MaxEnded {
			t.Errorf("%d ends are told, want %d", len(ended), wire.MaxEnded)
		}
		w.beat(wire.Beat{Gateway: "g", Bye: true})
		synctest.Wait()
		if len(heard) != 0 {
			t.Error("a gateway that has said goodbye is told of ends")
		}
	})
}
