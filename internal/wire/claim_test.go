package wire_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// join adds a host that says it is there after its distance, and takes claims with claim.
// In queue it also takes claims for its region.
func (s *script) join(incarnation, region string, distance time.Duration, queue bool, claim func(reply func(wire.ClaimReply))) {
	take := func(msg *nats.Msg) {
		claim(func(r wire.ClaimReply) { s.respond(msg, wire.Encode(&r)) })
	}
	s.subscribe(wire.HostSubject(incarnation), take)
	for _, class := range []string{"ticket", ""} {
		s.subscribe(wire.HostsSubject(class), func(msg *nats.Msg) {
			time.AfterFunc(distance, func() {
				if !s.nc.IsClosed() {
					s.respond(msg, wire.Encode(&wire.ClaimReply{Host: incarnation, Where: region}))
				}
			})
		})
	}
	if queue {
		s.subscribe(wire.ClaimSubject(region, "ticket"), take)
	}
}

// owned answers with a claim, and the object with it.
func (s *script) owned(token uint64, claimed *int) func(func(wire.ClaimReply)) {
	return func(reply func(wire.ClaimReply)) {
		s.mu.Lock()
		*claimed++
		first := *claimed == 1
		s.mu.Unlock()
		if first {
			s.own(func(int, wire.Request) *wire.Reply { return &wire.Reply{Token: token} })
		}
		reply(wire.ClaimReply{Owned: true, Token: token})
	}
}

func TestAFrozenHostCostsNoClaimItsTime(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	claimed := 0
	var frozen atomic.Int64
	s.subscribe(wire.ClaimSubject("fra", "ticket"), func(*nats.Msg) { frozen.Add(1) })
	s.join("living", "fra", 0, false, s.owned(3, &claimed))
	if _, err := s.ask(); err != nil {
		t.Fatal(err)
	}
	if n := frozen.Load(); n != 1 { // a claim that waits to its end is asked again
		t.Errorf("the frozen host was asked %d times, want once", n)
	}
}

// A region without hosts had its objects placed at random in the world.
func TestARegionWithoutHostsClaimsAtTheNearest(t *testing.T) {
	s := newScript(t, nil)
	near, far := 0, 0
	s.join("far", "syd", 150*time.Millisecond, true, s.owned(1, &far))
	s.join("near", "lhr", 10*time.Millisecond, true, s.owned(3, &near))
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		id, err := objects.Class("ticket").ID(name)
		if err != nil {
			t.Fatal(err)
		}
		if token, err := s.client.Activate(t.Context(), wire.Address{ID: id}); err != nil || token == 0 {
			t.Fatalf("token = %d, %v", token, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if near != 6 || far != 0 {
		t.Errorf("%d objects near and %d far, want all 6 near", near, far)
	}
}

func TestAClaimAsksInTheNamedRegionFirst(t *testing.T) {
	for where, want := range map[string]string{"": "fra", "fra": "fra", "syd": "syd", "mars": "fra"} {
		s := newScript(t, nil)
		asked := map[string]*int{"fra": new(int), "syd": new(int)}
		s.join("here", "fra", 0, true, s.owned(3, asked["fra"]))
		s.join("there", "syd", 50*time.Millisecond, true, s.owned(3, asked["syd"]))
		id, err := objects.Class("ticket").ID("a")
		if err != nil {
			t.Fatal(err)
		}
		if token, err := s.client.Activate(t.Context(), wire.Address{ID: id, Near: where}); err != nil || token == 0 {
			t.Fatalf("near %q: token = %d, %v", where, token, err)
		}
		s.mu.Lock()
		if *asked[want] != 1 || *asked["fra"]+*asked["syd"] != 1 {
			t.Errorf("near %q: claimed %d times in fra and %d in syd, want once in %s", where, *asked["fra"], *asked["syd"], want)
		}
		s.mu.Unlock()
	}
}

func TestAClaimThatTakesLongIsLeftToItsHost(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	slow, other := 0, 0
	s.join("other", "fra", 0, false, s.owned(1, &other))
	s.subscribe(wire.ClaimSubject("fra", "ticket"), func(msg *nats.Msg) {
		s.respond(msg, wire.Encode(&wire.ClaimReply{Busy: true}))
		time.AfterFunc(250*time.Millisecond, func() { // longer than for a frozen host, shorter than a silence
			s.owned(3, &slow)(func(r wire.ClaimReply) { s.respond(msg, wire.Encode(&r)) })
		})
	})
	timing := quick
	timing.Silence = time.Second
	client, err := wire.NewClient(wire.ClientConfig{NATS: s.nc, Name: "patient", Region: "fra", Timing: timing})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if token, err := client.Activate(t.Context(), s.id); err != nil || token == 0 {
		t.Fatalf("token = %d, %v", token, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slow != 1 || other != 0 {
		t.Errorf("claimed %d times by the first host and %d times by another", slow, other)
	}
}

func TestAClassThatNobodyRunsIsNotFoundAtOnce(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	s.join("host", "fra", 0, true, func(reply func(wire.ClaimReply)) { reply(wire.ClaimReply{Owned: true}) })
	id, err := objects.Class("nosuch").ID("a")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err = s.client.Do(t.Context(), wire.Address{ID: id}, &wire.Request{Kind: wire.Call})
	if objects.CodeOf(err) != objects.NotFound || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("err = %v, want not_found", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestWhyAnObjectIsNotClaimedIsSaid(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	s.takeClaims(func() wire.ClaimReply {
		return wire.ClaimReply{Other: "host a in region fra, whose lease has not run out"}
	})
	if _, err := s.ask(); err == nil || !strings.Contains(err.Error(), "owned by host a in region fra, whose lease has not run out") {
		t.Errorf("err = %v, want it to say who owns the object", err)
	}
}

// Only the owner may claim an object that it has dropped. The other hosts were asked again and again, for as long as the
// owner lived.
func TestAnObjectThatItsOwnerHasDroppedIsClaimedThere(t *testing.T) {
	t.Parallel()
	for _, lives := range []bool{true, false} {
		s := newScript(t, nil)
		s.takeClaims(func() wire.ClaimReply {
			return wire.ClaimReply{Other: "host b in region fra, whose lease has not run out", Owner: "ownerB", Where: "fra"}
		})
		var asked atomic.Int64
		s.subscribe(wire.HostSubject("ownerB"), func(msg *nats.Msg) {
			var claim wire.Claim
			if err := wire.Decode(msg.Data, &claim); err != nil || !claim.Named || claim.ID != s.id.String() {
				t.Errorf("asked with %+v, %v", claim, err)
			}
			if asked.Add(1); lives {
				s.own(func(int, wire.Request) *wire.Reply { return &wire.Reply{Token: 5} })
				s.respond(msg, wire.Encode(&wire.ClaimReply{Owned: true, Token: 5}))
			}
		})
		_, err := s.ask()
		if lives && (err != nil || asked.Load() != 1) {
			t.Errorf("the owner was asked %d times: %v", asked.Load(), err)
		}
		if !lives && (err == nil || !strings.Contains(err.Error(), "owned by host b") || asked.Load() == 0) {
			t.Errorf("a silent owner was asked %d times: %v", asked.Load(), err)
		}
	}
}

// Of a restricted class only one host answers. If that was lost, nobody does until its lease has ended: claims waited a
// second longer.
func TestAClaimThatNobodyAnswersIsAskedAgainSoon(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	timing := quick
	timing.Silence, timing.Claim = time.Minute, 20*time.Second
	client, err := wire.NewClient(wire.ClientConfig{NATS: s.nc, Name: "patient", Region: "fra", Timing: timing})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	var asked atomic.Int64
	s.subscribe(wire.ClaimSubject("fra", "ticket"), func(*nats.Msg) {})
	s.subscribe(wire.HostsSubject("ticket"), func(msg *nats.Msg) {
		if asked.Add(1) > 3 {
			s.respond(msg, wire.Encode(&wire.ClaimReply{Host: "first", Where: "fra"}))
		}
	})
	s.subscribe(wire.HostSubject("first"), func(msg *nats.Msg) {
		s.respond(msg, wire.Encode(&wire.ClaimReply{Owned: true, Token: 3}))
	})
	if token, err := client.Activate(t.Context(), s.id); err != nil || token != 3 {
		t.Errorf("token %d, %v, after %d questions", token, err, asked.Load())
	}
}

func TestAForgedOwnerIsNotAsked(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	s.subscribe(wire.HostSubject("*"), func(*nats.Msg) { t.Error("asked") })
	s.takeClaims(func() wire.ClaimReply { return wire.ClaimReply{Other: "all", Owner: "*"} })
	if _, err := s.ask(); err == nil {
		t.Error("no error")
	}
}

func TestARequestThatFitsInNoMessageIsTooLargeAtOnce(t *testing.T) {
	s := newScript(t, nil)
	began := time.Now()
	_, err := s.client.Do(t.Context(), s.id, &wire.Request{Kind: wire.Call, Body: make([]byte, 5<<20)})
	if objects.CodeOf(err) != objects.TooLarge {
		t.Errorf("err = %v, want too_large", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A forged reply with the highest token made an object unreachable for as long as its
// gateway lived; one that could be true does so until the next claim.
func TestAForgedTokenDoesNotMakeAnObjectUnreachable(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	s.takeClaims(func() wire.ClaimReply { return wire.ClaimReply{Owned: true, Token: 8} })
	s.own(func(i int, _ wire.Request) *wire.Reply {
		return &wire.Reply{Token: []uint64{7, 1<<48 - 1, 8, 1 << 30, 8, 8, 8}[i]}
	})
	for range 5 {
		if _, err := s.ask(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHostsAreToldOnceOfAnOwnerThatIsLostWithARequestInHand(t *testing.T) {
	t.Parallel()
	s := newScript(t, nil)
	told := make(chan wire.Claim, 16)
	s.subscribe(wire.HostsSubject("ticket"), func(msg *nats.Msg) {
		var claim wire.Claim
		if err := wire.Decode(msg.Data, &claim); err != nil {
			t.Error(err)
		}
		if claim.Lost > 0 && msg.Reply == "" {
			told <- claim
		}
	})
	// The owners with the tokens 1 and 2 are lost; that with 3 answers.
	s.own(func(_ int, req wire.Request) *wire.Reply {
		if req.For < 3 {
			return nil
		}
		return &wire.Reply{Token: req.For}
	})
	token := uint64(0)
	s.takeClaims(func() wire.ClaimReply {
		s.mu.Lock()
		defer s.mu.Unlock()
		token = min(3, token+1)
		return wire.ClaimReply{Owned: true, Token: token}
	})
	if _, err := s.client.Activate(t.Context(), s.id); err != nil {
		t.Fatal(err)
	}
	for range 3 { // the first gives up after two lost owners
		_, _ = s.ask()
	}
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint64{2, 3} { // the successors
		select {
		case claim := <-told:
			if claim.Lost != want || claim.Class != "ticket" || claim.ID != "" {
				t.Errorf("hosts were told %+v, want the successor %d", claim, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("hosts were not told of the successor %d", want)
		}
	}
	if len(told) > 0 {
		t.Errorf("hosts were told %+v besides", <-told)
	}
}
