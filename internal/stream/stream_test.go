package stream

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// told sends n pushes of a size to a gateway that acknowledges nothing.
func told(s *Sender, n, size int, from time.Time, every time.Duration) {
	s.Event(from, 0, []Out{{Gateway: "a", Opens: []Slot{1}, Bodies: [][]byte{{1}}}})
	for i := range n {
		s.Event(from.Add(time.Duration(i)*every), 0, []Out{{Gateway: "a", Bodies: [][]byte{make([]byte, size)}}})
	}
}

func kinds(do []Do) (kinds []string) {
	for _, d := range do {
		switch d.Kind {
		case Send:
			kinds = append(kinds, fmt.Sprintf("send %d/%d", d.Push.Seq, d.Push.Kind))
		case Probe:
			kinds = append(kinds, fmt.Sprintf("probe %d %t", d.Head, d.Quiet))
		case Ask:
			kinds = append(kinds, "ask "+d.Gateway)
		}
	}
	return kinds
}

func expect(t *testing.T, what string, do []Do, want ...string) {
	t.Helper()
	if got := kinds(do); !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestALaneKeepsAMebibyteAndClosesOnlyWhoAsksForMore(t *testing.T) {
	s := NewSender(1, nil, new(Defaults()), noon)
	told(s, 2000, 1000, noon, 0)
	if n := s.Kept("a"); n > 1<<20 || n < 1<<20-1100 {
		t.Errorf("%d bytes are kept, want a mebibyte", n)
	}
	expect(t, "what is kept", s.Resend(noon, "a", 2001), "send 2001/0")
	expect(t, "what is not", s.Resend(noon, "a", 5), "send 2002/2")
	if n := s.Kept("a"); n > 100 {
		t.Errorf("%d bytes are kept for a gateway that is to close its sockets", n)
	}
}

func TestAnEventLargerThanAWindowIsKeptWhole(t *testing.T) {
	s := NewSender(1, nil, new(Defaults()), noon)
	s.Event(noon, 0, []Out{{Gateway: "a", Opens: []Slot{1}, Bodies: [][]byte{make([]byte, 800<<10), make([]byte, 800<<10)}}})
	expect(t, "both parts", s.Resend(noon, "a", 0), "send 1/1", "send 2/0")
	s.Event(noon, 0, []Out{{Gateway: "a", Bodies: [][]byte{{1}}}})
	expect(t, "the first part", s.Resend(noon, "a", 1), "send 4/2")
}

// A room that fifteen joined at once sent each of them a list of all: more than a window
// waited for one commit, the oldest of it was dropped unsent, and every socket was closed.
func TestWhatWaitsForACommitIsNeverDropped(t *testing.T) {
	s := NewSender(1, nil, new(Defaults()), noon)
	s.Event(noon, 1, []Out{{Gateway: "a", Opens: []Slot{1}, Bodies: [][]byte{make([]byte, 800<<10)}}})
	if s.Full() {
		t.Error("800 KiB wait: there is room")
	}
	for range 2 {
		s.Event(noon, 1, []Out{{Gateway: "a", Bodies: [][]byte{make([]byte, 800<<10)}}})
	}
	if !s.Full() {
		t.Error("2.4 MB wait: there is no room")
	}
	late := noon.Add(20 * time.Second)
	s.Tick(late)
	expect(t, "the commit has landed", s.Landed(late, 1), "send 1/1", "send 2/0", "send 3/0")
	if s.Full() {
		t.Error("nothing waits to be sent")
	}
}

func TestWhatIsOlderThanTwelveSecondsIsNotKept(t *testing.T) {
	s := NewSender(1, nil, new(Defaults()), noon)
	told(s, 100, 10, noon, 200*time.Millisecond)
	s.Tick(noon.Add(20 * time.Second))
	expect(t, "eleven seconds ago", s.Resend(noon.Add(20*time.Second), "a", 101), "send 101/0")
	if n := len(s.lanes[0].window); n > 61 {
		t.Errorf("%d pushes are kept, want those of twelve seconds", n)
	}
}

func TestASheddedLaneClosesOnlyIfSomethingIsAskedFor(t *testing.T) {
	s := NewSender(1, nil, new(Defaults()), noon)
	told(s, 10, 10, noon, 0)
	s.Shed("a")
	if n := s.Kept("a"); n != 0 {
		t.Errorf("%d bytes are kept", n)
	}
	expect(t, "acknowledged all the same", s.Acked("a", 11), "probe 11 true")
	told(s, 1, 10, noon, 0)
	s.Shed("a")
	expect(t, "asked for", s.Resend(noon, "a", 12), "send 14/2")
}

func TestALaneThatDoesNotAcknowledgeIsProbedLessAndLess(t *testing.T) {
	s := NewSender(1, nil, new(Defaults()), noon)
	told(s, 1, 10, noon, 0)
	var at []time.Duration
	for range 5 {
		wake := s.Wake()
		at = append(at, wake.Sub(noon))
		expect(t, "a probe", s.Tick(wake), "probe 2 false")
	}
	if want := []time.Duration{400, 1200, 2200, 3200, 4200}; !slices.EqualFunc(at, want, func(a, b time.Duration) bool { return a == b*time.Millisecond }) {
		t.Errorf("probed after %v, want %v ms", at, want)
	}
	s.Acked("a", 2)
	if wake := s.Wake(); !wake.IsZero() {
		t.Errorf("a quiet object wakes at %v", wake)
	}
}

func TestANewOwnerWaitsASecondAndGoesOnAsking(t *testing.T) {
	s := NewSender(2, []Entry{{Gateway: "a", Token: 1, Head: 3, Slots: []Slot{1}}}, new(Defaults()), noon)
	now, asked := noon, 0
	for s.Taking() {
		now = s.Wake()
		asked += len(s.Tick(now))
	}
	if d := now.Sub(noon); d != time.Second || asked < 4 {
		t.Errorf("served after %v and %d questions, want a second and four", d, asked)
	}
	if wake := s.Wake(); wake.After(now.Add(time.Second)) {
		t.Errorf("asked again at %v", wake)
	}
	expect(t, "the late answer", s.Held(now, "a", Answer{Positions: []Position{{Token: 1, Received: 3}}}), "send 1/2")
}

func TestAGatewayThatWasGivenUpIsForgottenAfterTenMinutes(t *testing.T) {
	s := NewSender(2, []Entry{{Gateway: "a", Token: 1, Head: 3, Tombstone: noon}}, new(Defaults()), noon)
	if s.Taking() {
		t.Error("a gateway that was given up is waited for")
	}
	now, asked := noon, 0
	for wake := s.Wake(); !wake.IsZero(); wake = s.Wake() {
		now = wake
		asked += len(s.Tick(now))
	}
	if d := now.Sub(noon); d < 10*time.Minute || d > 11*time.Minute || asked != 60 {
		t.Errorf("asked %d times in %v, want 60 times in ten minutes", asked, d)
	}
	if n := len(s.Entries()); n != 0 {
		t.Errorf("the record still has %d gateways", n)
	}
}

func TestAcknowledgementsWaitForATenthOfASecond(t *testing.T) {
	r := NewReceiver(new(Defaults()))
	r.Opening(1)
	r.Push(noon, 1, Push{Seq: 1, Kind: Adopt})
	r.Accept(1)
	r.Push(noon.Add(50*time.Millisecond), 1, Push{Seq: 2})
	if wake := r.Wake(); wake.Sub(noon) != 100*time.Millisecond {
		t.Errorf("due after %v", wake.Sub(noon))
	}
	acts := r.Tick(r.Wake())
	if len(acts) != 1 || acts[0].Kind != AckAll || acts[0].Seq != 2 {
		t.Errorf("%+v, want one acknowledgement of both", acts)
	}
	if wake := r.Wake(); wake.Sub(noon) != 2050*time.Millisecond {
		t.Errorf("the object is claimed after %v, want two seconds of silence", wake.Sub(noon))
	}
	r.Probe(noon.Add(time.Second), 1, 2, true)
	if wake := r.Wake(); !wake.IsZero() {
		t.Errorf("a quiet gateway wakes at %v", wake)
	}
}

func TestAGatewayThatTellsTooMuchIsCutShort(t *testing.T) {
	s := NewSender(9, []Entry{{Gateway: "a", Token: 1, Head: 1, Slots: []Slot{1}}, {Gateway: "b", Token: 1, Head: 1, Slots: []Slot{2}}}, new(Defaults()), noon)
	var forged Answer
	for i := range 1000 {
		p := Position{Token: uint64(i)}
		for k := range 100 {
			p.Heads = append(p.Heads, Head{Mark(k), 1 << 60})
		}
		forged.Positions = append(forged.Positions, p)
	}
	s.Held(noon, "a", forged)
	if n := len(s.needs); n > 10 {
		t.Errorf("%d heads are remembered of two gateways", n)
	}
	if do := s.Acked("a", 1<<60); do != nil || s.lanes[0].acked > 1 {
		t.Error("what was never sent is acknowledged")
	}
	if do := s.Resend(noon, "a", 1<<60); do != nil {
		t.Error("what was never sent is sent again")
	}
}

// owing is an owner that owes something to gateway b: the record says so, and so does what
// leaves to gateway a. The object is not quiet.
func owing() *Sender {
	s := NewSender(1, nil, new(Defaults()), noon)
	s.Event(noon, 0, []Out{{Gateway: "a", Opens: []Slot{1}, Bodies: [][]byte{{1}}}, {Gateway: "b", Opens: []Slot{1}, Bodies: [][]byte{{1}}}})
	s.Owe("b")
	return s
}

func TestWhatIsOwedKeepsAnObjectFromBeingQuiet(t *testing.T) {
	s := owing()
	s.Acked("a", 1)
	expect(t, "all has arrived but what is owed", s.Acked("b", 1))
	if s.Quiet() {
		t.Error("the object is quiet")
	}
	s.Owe()
	expect(t, "what was owed", s.Event(noon, 0, []Out{{Gateway: "b", Bodies: [][]byte{{1}}}}), "send 2/0")
	expect(t, "it has arrived", s.Acked("b", 2), "probe 1 true", "probe 2 true")
}

// An owner dies before it has sent what an event that was put, or acknowledged, had to say: the next owner closes the
// sockets that lack it, and no others.
func TestANewOwnerClosesTheSocketsThatLackWhatWasOwed(t *testing.T) {
	told := func(do []Do) (heads []Head) {
		for _, d := range do {
			heads = append(heads, d.Push.Heads...)
		}
		return heads
	}
	for name, entries := range map[string]func(s *Sender) ([]Entry, []Head){
		"by the record": func(s *Sender) ([]Entry, []Head) { return slices.Clone(s.Entries()), nil },
		"by the heads": func(s *Sender) ([]Entry, []Head) {
			entries := slices.Clone(s.Entries())
			entries[1].Head = 1 // as of the put before
			return entries, slices.Clone(told(s.Event(noon, 0, []Out{{Gateway: "a", Bodies: [][]byte{{1}}}})))
		},
	} {
		s := owing()
		entries, heads := entries(s)
		next := NewSender(2, entries, new(Defaults()), noon)
		next.Held(noon, "a", Answer{Positions: []Position{{Token: 1, Received: 2, Heads: heads}}, Sockets: []HeldSocket{{Slot: 1}}})
		do := next.Held(noon, "b", Answer{Positions: []Position{{Token: 1, Received: 1}}, Sockets: []HeldSocket{{Slot: 1}}})
		var kinds []string
		for _, d := range do {
			kinds = append(kinds, fmt.Sprint(d.Gateway, " ", d.Push.Kind))
		}
		if want := []string{"a 1", "b 2"}; !slices.Equal(kinds, want) {
			t.Errorf("%s: %q, want %q", name, kinds, want)
		}
	}
}

// BenchmarkEvent measures a message to a room, acknowledged by each gateway now and then.
func BenchmarkEvent(b *testing.B) {
	for _, gateways := range []int{1, 3} {
		b.Run(fmt.Sprint("gateways=", gateways), func(b *testing.B) {
			s := NewSender(1, nil, new(Defaults()), noon)
			var outs []Out
			for i := range gateways {
				name := string(rune('a' + i))
				s.Event(noon, 0, []Out{{Gateway: name, Opens: []Slot{1}, Bodies: [][]byte{{1}}}})
				outs = append(outs, Out{Gateway: name, Bodies: [][]byte{make([]byte, 200)}})
			}
			b.ReportAllocs()
			n := uint64(1)
			for b.Loop() {
				s.Event(noon, 0, outs)
				if n++; n%50 == 0 {
					for i := range outs {
						s.Acked(outs[i].Gateway, n)
					}
				}
			}
		})
	}
}
