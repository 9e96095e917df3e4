package wire_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/embedded"
	"holdfast/internal/wire"
	"holdfast/objects"
)

var quick = wire.Timing{Request: 2 * time.Second, Silence: 100 * time.Millisecond, Claim: time.Second}

// script is an owner, and a host that takes claims, which do as a test says.
type script struct {
	t      *testing.T
	nc     *nats.Conn
	client *wire.Client
	id     wire.Address

	mu     sync.Mutex
	seen   []wire.Request
	claims int
}

func newScript(t *testing.T, near *wire.Nearby) *script {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	dial := func() *nats.Conn {
		nc, err := server.Dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	client, err := wire.NewClient(wire.ClientConfig{NATS: dial(), Nearby: near, Name: "gateway", Region: "fra", Timing: quick})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	id, err := objects.Class("ticket").ID("a")
	if err != nil {
		t.Fatal(err)
	}
	return &script{t: t, nc: dial(), client: client, id: wire.Address{ID: id}}
}

// own answers the i-th sending with what answer says; nil is silence.
func (s *script) own(answer func(i int, req wire.Request) *wire.Reply) {
	s.subscribe(wire.ObjectSubject(s.id.ID), func(msg *nats.Msg) {
		var req wire.Request
		if err := wire.Decode(msg.Data, &req); err != nil {
			s.t.Errorf("decode: %v", err)
		}
		s.mu.Lock()
		s.seen = append(s.seen, req)
		i := len(s.seen) - 1
		s.mu.Unlock()
		if reply := answer(i, req); reply != nil {
			s.respond(msg, wire.Encode(reply))
		}
	})
}

// takeClaims answers claims, and first does what then says.
func (s *script) takeClaims(then func() wire.ClaimReply) {
	s.subscribe(wire.ClaimSubject("fra", "ticket"), func(msg *nats.Msg) {
		s.mu.Lock()
		s.claims++
		s.mu.Unlock()
		reply := then()
		s.respond(msg, wire.Encode(&reply))
	})
}

func (s *script) subscribe(subject string, handler nats.MsgHandler) {
	s.t.Helper()
	if _, err := s.nc.Subscribe(subject, handler); err != nil {
		s.t.Error(err)
	}
	if err := s.nc.Flush(); err != nil {
		s.t.Error(err)
	}
}

func (s *script) respond(msg *nats.Msg, payload []byte) {
	if err := msg.Respond(payload); err != nil {
		s.t.Errorf("respond: %v", err)
	}
}

// heard returns what the owner and the host have got so far.
func (s *script) heard() (seen []wire.Request, claims int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen), s.claims
}

func (s *script) ask() (*wire.Reply, error) {
	return s.client.Do(s.t.Context(), s.id, &wire.Request{Kind: wire.Call, Call: "claim"})
}

func TestWithNoHostNothingHappened(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	if _, err := s.ask(); objects.CodeOf(err) != objects.Unavailable {
		t.Errorf("err = %v, want unavailable", err)
	}
}

func TestAnObjectThatNobodyOwnsIsClaimedFirst(t *testing.T) {
	s := newScript(t, nil)
	s.takeClaims(func() wire.ClaimReply {
		s.own(func(int, wire.Request) *wire.Reply { return &wire.Reply{Body: []byte("1"), Token: 1} })
		return wire.ClaimReply{Owned: true}
	})
	reply, err := s.ask()
	if err != nil || string(reply.Body) != "1" {
		t.Fatalf("reply = %+v, %v", reply, err)
	}
	if _, claims := s.heard(); claims != 1 {
		t.Errorf("%d claims, want 1", claims)
	}
}

func TestAMovedObjectIsAskedAgainUnderTheSameNumber(t *testing.T) {
	s := newScript(t, nil)
	s.takeClaims(func() wire.ClaimReply { return wire.ClaimReply{Owned: true} })
	s.own(func(i int, _ wire.Request) *wire.Reply {
		if i < 2 {
			return &wire.Reply{Moved: true, Unsure: true}
		}
		return &wire.Reply{Token: 9}
	})
	if _, err := s.ask(); err != nil {
		t.Fatal(err)
	}
	seen, _ := s.heard()
	for _, req := range seen {
		if req.N != seen[0].N || req.Gateway != "gateway" {
			t.Errorf("sent as %s/%d, first as %s/%d", req.Gateway, req.N, seen[0].Gateway, seen[0].N)
		}
	}
}

func TestSilenceIsUnknownAndNotAFailure(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	s.takeClaims(func() wire.ClaimReply { return wire.ClaimReply{Other: "somebody"} })
	s.own(func(int, wire.Request) *wire.Reply { return nil })
	if _, err := s.ask(); objects.CodeOf(err) != objects.Unknown {
		t.Errorf("err = %v, want unknown", err)
	}
	if seen, claims := s.heard(); claims == 0 || len(seen) < 2 {
		t.Errorf("%d claims and %d sendings, want the object asked for and the request sent again", claims, len(seen))
	}
}

func TestOnceInDoubtAlwaysInDoubt(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	s.takeClaims(func() wire.ClaimReply { return wire.ClaimReply{Other: "somebody"} })
	s.own(func(i int, _ wire.Request) *wire.Reply {
		return &wire.Reply{Moved: true, Unsure: i == 0}
	})
	if _, err := s.ask(); objects.CodeOf(err) != objects.Unknown {
		t.Errorf("err = %v, want unknown: the first owner was not sure", err)
	}
}

func TestAReplacedOwnersAnswerIsVoid(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	s.takeClaims(func() wire.ClaimReply { return wire.ClaimReply{Owned: true} })
	s.own(func(i int, _ wire.Request) *wire.Reply {
		return &wire.Reply{Token: []uint64{7, 3, 8}[i], Body: []byte{byte('0' + i)}}
	})
	for _, want := range []string{"0", "2"} {
		reply, err := s.ask()
		if err != nil || string(reply.Body) != want {
			t.Fatalf("reply = %+v, %v; want %s", reply, err, want)
		}
	}
}

// askLate makes the first request, which has arrived and is answered when release is closed. All later ones are answered at once.
func (s *script) askLate() (release chan struct{}, done <-chan error) {
	release = make(chan struct{})
	arrived, late := make(chan struct{}), make(chan error, 1)
	s.own(func(i int, _ wire.Request) *wire.Reply {
		if i > 0 {
			return &wire.Reply{Token: 1}
		}
		close(arrived)
		go func() {
			<-release
			data := wire.Encode(&wire.Reply{Token: 1})
			if err := s.nc.Publish(wire.InboxPrefix+"gateway.1.1", data); err != nil {
				s.t.Error(err)
			}
		}()
		return nil
	})
	go func() { _, err := s.ask(); late <- err }()
	<-arrived
	return release, late
}

func TestARequestTellsWhatTheGatewayStillWaitsFor(t *testing.T) {
	s := newScript(t, nil)
	s.takeClaims(func() wire.ClaimReply { return wire.ClaimReply{Owned: true} })
	release, slow := s.askLate()
	if _, err := s.ask(); err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := <-slow; err != nil {
		t.Fatal(err)
	}
	if _, err := s.ask(); err != nil {
		t.Fatal(err)
	}
	seen, _ := s.heard()
	if last := seen[2]; seen[0].Low != 1 || seen[1].Low != 1 || last.Low != last.N || last.N != 3 {
		t.Errorf("lows: %+v", seen)
	}
}

func TestARequestTellsWhichAreOpenWhenManyHaveOvertakenOne(t *testing.T) {
	s := newScript(t, nil)
	release, late := s.askLate()
	const all = 400
	for range all - 1 {
		if _, err := s.ask(); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	if err := <-late; err != nil {
		t.Fatal(err)
	}
	if _, err := s.ask(); err != nil {
		t.Fatal(err)
	}
	seen, _ := s.heard()
	for _, req := range seen {
		open, err := req.Open.Numbers(req.Low, req.N)
		want := req.N > 256 && req.N <= all && (req.N-257)%64 == 0 // none needs saying once the late one is answered
		if err != nil || want != (len(open) == 1) || want && open[0] != 1 {
			t.Fatalf("request %d, lowest %d: %v, %v are open; want said = %t", req.N, req.Low, open, err, want)
		}
	}
}

func TestAContextThatEndsEndsTheWait(t *testing.T) {
	s := newScript(t, nil)
	s.own(func(int, wire.Request) *wire.Reply { return nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.client.Do(ctx, s.id, &wire.Request{Kind: wire.Call}); objects.CodeOf(err) != objects.Unknown {
		t.Errorf("err = %v, want unknown", err)
	}
}

// The first refusal comes from the owner; those that follow at once do not trouble it.
func TestAnObjectThatIsTooBusyIsSpared(t *testing.T) {
	s := newScript(t, nil)
	s.own(func(i int, _ wire.Request) *wire.Reply {
		return &wire.Reply{Token: 1, Code: objects.Overloaded, Busy: i == 0}
	})
	for range 10 {
		if reply, err := s.ask(); err != nil || reply.Code != objects.Overloaded {
			t.Fatalf("reply %+v, %v, want overloaded", reply, err)
		}
	}
	if seen, _ := s.heard(); len(seen) == 10 {
		t.Error("the owner was asked every time")
	}
	until := time.Now().Add(time.Minute)
	for seen, _ := s.heard(); len(seen) < 3; seen, _ = s.heard() { // not for ever: nor after a refusal that does not say so
		if _, err := s.ask(); err != nil || time.Now().After(until) {
			t.Fatalf("the owner was asked %d times: %v", len(seen), err)
		}
	}
}

// An owner refused the first copy of a request, its gateway told the client that nothing
// had happened, and then the owner ran the second copy.
func TestARefusalOfAnEarlierCopyIsNotTheLastWord(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	s.takeClaims(func() wire.ClaimReply { return wire.ClaimReply{Owned: true, Token: 3} })
	s.own(func(i int, req wire.Request) *wire.Reply {
		if i == 0 {
			return nil
		}
		late := wire.Encode(&wire.Reply{Token: 3, Code: objects.Conflict})
		if err := s.nc.Publish(fmt.Sprintf("%sgateway.%d.1", wire.InboxPrefix, req.N), late); err != nil {
			t.Error(err)
		}
		return &wire.Reply{Token: 3, Kept: true, Body: []byte("ran")}
	})
	if reply, err := s.ask(); err != nil || string(reply.Body) != "ran" {
		t.Errorf("reply = %+v, %v, want the one to the second copy", reply, err)
	}
}

// An owner whose queue is full does not know whether the request ran before.
func TestAFullQueueProvesNothingOfAnEarlierCopy(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	s.takeClaims(func() wire.ClaimReply { return wire.ClaimReply{Owned: true, Token: 3} })
	s.own(func(i int, _ wire.Request) *wire.Reply {
		switch i {
		case 0:
			return nil
		case 1:
			return &wire.Reply{Token: 3, Code: objects.Overloaded, Busy: true}
		}
		return &wire.Reply{Token: 3, Kept: true}
	})
	if reply, err := s.ask(); err != nil || reply.Code != "" {
		t.Errorf("reply = %+v, %v, want the one from the record", reply, err)
	}
}

// A frozen owner that thaws says Moved to requests that its successor runs.
func TestADeposedOwnersMovedIsVoid(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	s.takeClaims(func() wire.ClaimReply { return wire.ClaimReply{Owned: true, Token: 7} })
	s.own(func(i int, req wire.Request) *wire.Reply {
		if i == 0 {
			return &wire.Reply{Token: 7}
		}
		void := wire.Encode(&wire.Reply{Token: 3, Moved: true})
		if err := s.nc.Publish(fmt.Sprintf("%sgateway.%d.%d", wire.InboxPrefix, req.N, i), void); err != nil {
			t.Error(err)
		}
		return nil // it is running the request
	})
	if _, err := s.ask(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ask(); objects.CodeOf(err) != objects.Unknown {
		t.Errorf("err = %v, want unknown: the owner has the request in hand", err)
	}
}

// A code that is not UTF-8 ended the gateway, as a metric's label.
func TestAReplyWithACodeThatIsNoWordIsDropped(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	s.takeClaims(func() wire.ClaimReply { return wire.ClaimReply{Owned: true, Token: 3} })
	s.own(func(i int, _ wire.Request) *wire.Reply {
		return &wire.Reply{Token: 3, Code: []objects.Code{"\xff", ""}[i]}
	})
	if reply, err := s.ask(); err != nil || reply.Code != "" {
		t.Errorf("reply = %+v, %v, want the second one", reply, err)
	}
}

// A host that stood still for longer than its lease said, late, that it had not run the request. It counted as lost
// under the request all the same, and so did the next one: a claim during two stalls of a machine was unknown.
func TestAnOwnerThatIsReplacedAndLivesIsNotLostUnderARequest(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	var stalled []*nats.Msg // what the owners got that stand still
	var mu sync.Mutex
	token := uint64(0)
	listen := sync.OnceFunc(func() {
		s.subscribe(wire.ObjectSubject(s.id.ID), func(msg *nats.Msg) {
			var req wire.Request
			if err := wire.Decode(msg.Data, &req); err != nil {
				t.Errorf("decode: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if req.For >= 3 {
				s.respond(msg, wire.Encode(&wire.Reply{Body: []byte("1"), Token: 3}))
				return
			}
			stalled = append(stalled, msg)
			if len(stalled) == 2 { // the first has learned that it was replaced
				s.respond(stalled[0], wire.Encode(&wire.Reply{Moved: true, Token: 1}))
			}
		})
	})
	s.takeClaims(func() wire.ClaimReply {
		listen()
		mu.Lock()
		defer mu.Unlock()
		token++
		return wire.ClaimReply{Owned: true, Token: token}
	})
	reply, err := s.ask()
	if err != nil || string(reply.Body) != "1" {
		t.Fatalf("reply = %+v, %v; want that of the third owner", reply, err)
	}
}
