package wire_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"holdfast/internal/bucket"
	"holdfast/internal/wire"
)

// box returns a host nearby, which answers the i-th message with what answer says; false
// is an object that is not served there.
func (s *script) box(near *wire.Nearby, answer func(i int) (*wire.Reply, bool)) (leave func()) {
	return near.Join(func(msg *nats.Msg) bool {
		var req wire.Request
		if err := wire.Decode(msg.Data, &req); err != nil || msg.Subject != wire.ObjectSubject(s.id.ID) {
			s.t.Errorf("message to %s: %v", msg.Subject, err)
		}
		s.mu.Lock()
		i := len(s.seen)
		s.seen = append(s.seen, req)
		s.mu.Unlock()
		reply, served := answer(i)
		if reply != nil && !near.Answer(msg.Reply, reply) {
			s.t.Errorf("%s is not known nearby", msg.Reply)
		}
		return served
	})
}

func TestNearbyAnObjectIsAskedWithoutNATS(t *testing.T) {
	near := new(wire.Nearby)
	s := newScript(t, near)
	s.box(near, func(int) (*wire.Reply, bool) { return &wire.Reply{Token: 1, Body: []byte("near")}, true })
	if reply, err := s.ask(); err != nil || string(reply.Body) != "near" { // nobody listens on NATS
		t.Errorf("reply = %+v, %v, want the one from nearby", reply, err)
	}
}

func TestWhatIsNotServedNearbyIsAskedOverNATS(t *testing.T) {
	near := new(wire.Nearby)
	s := newScript(t, near)
	s.takeClaims(func() wire.ClaimReply { return wire.ClaimReply{Owned: true} })
	s.own(func(int, wire.Request) *wire.Reply { return &wire.Reply{Token: 1, Body: []byte("far")} })
	declined := func(int) (*wire.Reply, bool) { return nil, false }
	leave := s.box(near, declined)
	s.box(near, declined)
	for _, want := range []int{3, 2, 2} { // two nearby and the one far off; then one of them has left
		before, _ := s.heard()
		reply, err := s.ask()
		if err != nil || string(reply.Body) != "far" {
			t.Errorf("reply = %+v, %v, want the one from far", reply, err)
		}
		if seen, _ := s.heard(); len(seen)-len(before) != want {
			t.Errorf("%d were asked, want %d", len(seen)-len(before), want)
		}
		leave()
	}
}

// An owner nearby that says nothing is asked again, as one far off is, and the
// object is claimed if it can be.
func TestSilenceNearbyIsSilence(t *testing.T) {
	t.Parallel()
	near := new(wire.Nearby)
	s := newScript(t, near)
	s.takeClaims(func() wire.ClaimReply { return wire.ClaimReply{Other: "somebody"} })
	s.box(near, func(i int) (*wire.Reply, bool) {
		if i == 0 {
			return nil, true
		}
		return &wire.Reply{Token: 1}, true
	})
	if _, err := s.ask(); err != nil {
		t.Fatal(err)
	}
	seen, claims := s.heard()
	if len(seen) != 2 || claims != 1 || seen[0].N != seen[1].N {
		t.Errorf("%d claims and %d sendings, %+v; want it claimed once and sent twice under one number", claims, len(seen), seen)
	}
}

func TestNearbyAnswersNobodyElse(t *testing.T) {
	near := new(wire.Nearby)
	s := newScript(t, near)
	for _, subject := range []string{"", "_HF.", "_HF.gateway", "_HF.gateway.frame.a.1", "_HF.other.1.1", "_HF.gateway.1", "_HF.gateway.claim.1", "gateway.1", "_INBOX.gateway.1", bucket.Records().Subject("x")} {
		if near.Answer(subject, &wire.Reply{}) {
			t.Errorf("%q was answered", subject)
		}
	}
	s.client.Close()
	if near.Answer("_HF.gateway.1.1", &wire.Reply{}) {
		t.Error("a client that is closed was answered")
	}
	var nobody *wire.Nearby
	nobody.Join(nil)()
	if nobody.Answer("_HF.gateway.1", &wire.Reply{}) {
		t.Error("nobody was answered")
	}
}
