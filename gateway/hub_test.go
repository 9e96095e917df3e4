package gateway

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// A reading client got nothing and 1013 when its object sent 513 tiny messages at once.
func TestThreeThousandMessagesOfOneEventAllArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		early := w.accept() // its connection comes after the messages, as on connect
		s, c := w.open()
		var texts []string
		for i := range 3000 {
			texts = append(texts, fmt.Sprint(i))
		}
		w.owner.push(message(s, texts...)...)
		w.owner.push(message(early, texts...)...)
		time.Sleep(time.Second)
		late := w.connect(early)
		time.Sleep(time.Second)
		for _, c := range []*memoryClient{c, late} {
			if got, ends := c.messages(); !slices.Equal(got, texts) || ends != nil {
				t.Errorf("%d messages and closes %v, want 3000 in order and none", len(got), ends)
			}
		}
	})
}

// The push may come before the reply that the object has accepted the socket.
func TestAnObjectThatAcceptsAndClosesInOneEventIsUnderstood(t *testing.T) {
	for _, first := range []string{"push", "accept", "connect"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer w.end()
			s := newSocket(w.hub, w.id)
			w.hub.add(s)
			w.owner.change(func(o *owner) { o.last[s.id] = 0 })
			op := wire.SocketOp{Op: wire.OpClose, Code: 4001}
			op.Sockets.Add(s.id)
			push := func(at string) {
				if at == first {
					w.owner.push(append(message(s, "no room"), op)...)
					time.Sleep(time.Second)
				}
			}
			push("push")
			if !s.accept(nil, nil) {
				t.Fatal("the upgrade is refused, though the object has accepted it")
			}
			push("accept")
			c := w.connect(s)
			push("connect")
			time.Sleep(10 * time.Second)
			got, ends := c.messages()
			if _, told := w.owner.heard(s); !slices.Equal(got, []string{"no room"}) || !slices.Equal(ends, []int{4001}) || told != 1 {
				t.Errorf("pushed before %s: the client got %q and %v, the object was told %d times", first, got, ends, told)
			}
		})
	}
}

// A close that had been acknowledged was described to a new owner, which then waited
// for it for ever: a ghost in the room.
func TestASocketWhoseCloseWasAcknowledgedIsNotDescribedToANewOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		told, forgotten := w.accept(), w.accept()
		told.close(closeInfo{code: 1000})
		forgotten.close(closeInfo{code: 1000})
		if _, ok := told.handOver(); !ok {
			t.Error("a socket whose close is on its way is not described")
		}
		// Between the acknowledgement and the hub's forgetting it.
		told.uplink.acknowledge(1)
		forgotten.forget()
		for _, s := range []*socket{told, forgotten} {
			if described, ok := s.handOver(); ok {
				t.Errorf("described as %+v", described)
			}
		}
		told.acknowledge(1)
		if n := len(w.hub.all()); n != 0 {
			t.Errorf("%d sockets are left", n)
		}
	})
}

// The close was taken for told, and the object kept the socket for ever.
func TestACloseThatIsTurnedAwayIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, c := w.open()
		c.incoming <- []byte("one")
		time.Sleep(time.Second)
		w.owner.change(func(o *owner) { o.turn = 5 })
		c.incoming <- io.EOF
		time.Sleep(time.Minute)
		if frames, told := w.owner.heard(s); !slices.Equal(frames, []string{"one"}) || told != 1 || len(w.owner.members()) != 0 {
			t.Errorf("the object heard %q and %d closes, and has %v; want one of each and nobody", frames, told, w.owner.members())
		}
	})
}

// The client's frames are turned away: its socket closes with 1013, and the object
// hears of that, and of every frame before.
func TestAFloodedObjectHearsOfTheEndOfTheSocketsThatItRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, c := w.open()
		w.owner.change(func(o *owner) { o.turn = 3 })
		for i := range 5 {
			c.incoming <- []byte(fmt.Sprint(i))
		}
		time.Sleep(time.Minute)
		if _, ends := c.messages(); !slices.Equal(ends, []int{1013}) {
			t.Errorf("closes %v, want 1013", ends)
		}
		frames, told := w.owner.heard(s)
		if want := []string{"0", "1", "2", "3", "4"}; len(frames) > len(want) || !slices.Equal(frames, want[:len(frames)]) || told != 1 || len(w.owner.members()) != 0 {
			t.Errorf("the object heard %q and %d closes, and has %v", frames, told, w.owner.members())
		}
	})
}

// A host was sent 11,000 messages a second for a socket whose frame it waited for in vain.
func TestAnOwnerThatMissesAFrameForEverIsAskedSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s, c := w.open()
		c.incoming <- []byte("one")
		time.Sleep(time.Second)
		w.owner.change(func(o *owner) { o.last[s.id] = 0 }) // it has forgotten the frame that it acknowledged
		c.incoming <- io.EOF
		time.Sleep(10 * time.Second)
		before := w.bus.count()
		time.Sleep(time.Minute)
		if n := w.bus.count() - before; n > 300 {
			t.Errorf("%d messages in a minute", n)
		}
		w.owner.change(func(o *owner) { o.last[s.id] = 1 })
		w.end()
	})
}

// A well-behaved client's burst was refused: the gateway had more in flight than a host lets wait.
func TestABurstOfAClientIsNeverMoreThanAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, c := w.open()
		w.bus.set(func(b *memoryBus) { b.delay = time.Second / 3 })
		var want []string
		for i := range 1000 {
			want = append(want, fmt.Sprint(i))
			c.incoming <- []byte(want[i])
		}
		most := 0
		for range 10_000 {
			time.Sleep(10 * time.Millisecond)
			s.uplink.mu.Lock()
			most = max(most, len(s.uplink.pending))
			s.uplink.mu.Unlock()
		}
		if frames, _ := w.owner.heard(s); most != wire.FrameWindow || !slices.Equal(frames, want) {
			t.Errorf("at most %d frames were pending and %d arrived, want %d and all 1000 in order", most, len(frames), wire.FrameWindow)
		}
	})
}

// The answers had come before the question, and were looked at behind it: a planned
// restart closed busy sockets.
func TestANewOwnersQuestionIsAnsweredAfterTheOldOwnersAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		var all []*memoryClient
		for range 20 {
			_, c := w.open()
			all = append(all, c)
		}
		w.bus.work = time.Millisecond
		for _, c := range all {
			for i := range 10 {
				c.incoming <- []byte(fmt.Sprint(i))
			}
		}
		time.Sleep(10 * time.Millisecond) // the owner has answered, and most of the answers wait for the hub
		w.owner.die()
		if _, err := w.owner.activate(t.Context(), w.id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for i, c := range all {
			if _, ends := c.messages(); ends != nil {
				t.Errorf("socket %d was closed with %v", i, ends)
			}
		}
	})
}

func TestASocketWithAFrameInFlightIsClosedWhenItsOwnerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, c := w.open()
		w.bus.set(func(b *memoryBus) { b.muted = 1 })
		c.incoming <- []byte("did it count?")
		synctest.Wait()
		w.owner.die()
		time.Sleep(time.Minute)
		_, ends := c.messages()
		if frames, told := w.owner.heard(s); !slices.Equal(ends, []int{1012}) || len(frames) != 1 || told != 1 {
			t.Errorf("closes %v; the object heard %q and %d closes", ends, frames, told)
		}
	})
}

// What a replaced owner says late must not end or acknowledge anything.
func TestWhatAReplacedOwnerSaysIsVoid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, c := w.open()
		w.owner.die()
		if _, err := w.owner.activate(t.Context(), w.id); err != nil {
			t.Fatal(err)
		}
		w.bus.set(func(b *memoryBus) { b.lost = 1 })
		c.incoming <- []byte("one")
		synctest.Wait()
		push := wire.Push{Object: w.id.Key(), Token: 1, Ops: message(s, "from the grave")}
		w.bus.answer(&nats.Msg{Subject: wire.GatewaySubject(w.hub.name), Data: wire.Encode(&push)})
		for _, reply := range []wire.Reply{
			{Token: 1, Seq: 1}, {Token: 1, Seq: 1, Code: objects.Internal}, {Token: 1, Moved: true, Unsure: true}, {Seq: 1},
		} {
			w.bus.answer(&nats.Msg{Subject: wire.FrameSubject(w.hub.name, s.id, 1), Data: wire.Encode(&reply)})
		}
		time.Sleep(10 * time.Second)
		got, ends := c.messages()
		if frames, _ := w.owner.heard(s); got != nil || ends != nil || !slices.Equal(frames, []string{"one"}) {
			t.Errorf("the client got %q and closes %v, the new owner %q; want nothing, none and the frame", got, ends, frames)
		}
	})
}

func TestAFrameThatWasLostIsSentAgainAsSoonAsTheGapIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, c := w.open()
		w.bus.set(func(b *memoryBus) { b.lost = 1 })
		want := []string{"1", "2", "3"}
		for _, text := range want {
			c.incoming <- []byte(text)
		}
		time.Sleep(w.hub.timing.Silence / 10)
		if frames, _ := w.owner.heard(s); !slices.Equal(frames, want) {
			t.Errorf("the object has handled %q, want %q", frames, want)
		}
	})
}

// NATS may still deliver while the gateway stops.
func TestAMessageThatComesAsTheGatewayStopsStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s, c := w.open()
		w.owner.die()
		c.incoming <- []byte("one")
		synctest.Wait()
		nobody := &nats.Msg{Subject: wire.FrameSubject(w.hub.name, s.id, 1), Header: nats.Header{"Status": {"503"}}}
		var late sync.WaitGroup
		for range 50 {
			late.Go(func() { w.hub.receive(nobody) })
		}
		c.close()
		w.hub.close()
		late.Wait()
		if w.hub.spawn(func() { t.Error("a goroutine was started behind the end") }) {
			t.Error("a goroutine was started behind the end")
		}
		w.stop()
		w.work.Wait()
	})
}

func TestGarbageFromOwnersEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, c := w.open()
		inbox := wire.GatewayInbox(w.hub.name)
		for _, subject := range []string{
			"push", "which", "", "frame", "frame.", "frame.x", "frame." + s.id, "frame." + s.id + ".", "frame." + s.id + ".x",
			"frame." + s.id + ".18446744073709551615", "frame." + s.id + ".1", "frame..1", "else.1.2.3",
		} {
			for _, data := range [][]byte{nil, {0}, []byte("garbage"), wire.Encode(&wire.Reply{Token: 1, Seq: 1 << 63, Gap: true})} {
				w.hub.receive(&nats.Msg{Subject: inbox + subject, Data: data})
			}
		}
		c.incoming <- []byte("one")
		time.Sleep(time.Second)
		if frames, _ := w.owner.heard(s); !slices.Equal(frames, []string{"one"}) {
			t.Errorf("the object heard %q", frames)
		}
	})
}

// step is one thing that happens in a world of sockets.
type step struct {
	what   string
	socket int
	n      int
}

var happenings = []string{
	"frame", "frame", "frame", "frames", "message", "messages", "hang up", "leave", "object closes", "open", "accept", "connect",
	"owner dies", "turn away", "refuse", "lose", "mute", "slow", "fast", "down", "up", "slow object", "wait", "wait a moment", "new owner",
}

// Whatever happens to sockets, to their object's owners and to NATS, in the end the
// object has been told of every end, takes for open what is open, has handled frames
// once and in order, and nothing is sent any more.
func TestNoSocketIsForgottenAndNoneIsAGhost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{rapid.SampledFrom(happenings).Draw(rt, "what"), rapid.IntRange(0, 3).Draw(rt, "socket"), rapid.IntRange(1, 40).Draw(rt, "n")}
		}), 1, 40).Draw(rt, "steps")
		var faults []string
		synctest.Test(t, func(t *testing.T) { faults = play(t, steps) })
		for _, fault := range faults {
			rt.Error(fault)
		}
	})
}

// played is one socket and what was done with it.
type played struct {
	s        *socket
	c        *memoryClient // nil: the connection has not come
	sent     []string      // by the client
	messages []string      // by the object
}

// play plays the steps, has everything become calm, and returns what is wrong then.
func play(t *testing.T, steps []step) (faults []string) {
	w := newWorld(t)
	var all []*played
	add := func(connected bool) {
		if p := new(played); connected {
			p.s, p.c = w.open()
			all = append(all, p)
		} else {
			p.s = w.accept()
			all = append(all, p)
		}
	}
	for range 2 {
		add(true)
	}
	next := 0
	for _, step := range steps {
		p := all[step.socket%len(all)]
		w.do(step, p, &next, add)
	}
	// Calm.
	w.bus.set(func(b *memoryBus) { b.refuses, b.lost, b.muted, b.delay = false, 0, 0, time.Millisecond })
	w.owner.change(func(o *owner) { o.turn, o.fail, o.pace = 0, 0, 0 })
	time.Sleep(2 * time.Minute)
	before, beats := w.bus.count(), int(time.Minute/w.hub.timing.Beat)
	time.Sleep(time.Minute)
	if n := w.bus.count() - before; n > beats+1 {
		faults = append(faults, fmt.Sprintf("%d messages in a calm minute", n))
	}
	var open []string
	for i, p := range all {
		frames, told := w.owner.heard(p.s)
		if len(frames) > len(p.sent) || !slices.Equal(frames, p.sent[:len(frames)]) {
			faults = append(faults, fmt.Sprintf("socket %d: sent %q, handled %q", i, p.sent, frames))
		}
		if at := p.s.stageNow(); at.ended() && told == 0 || at == closed {
			faults = append(faults, fmt.Sprintf("socket %d is %s, its object was told of the end %d times", i, at, told))
		} else if !at.ended() {
			open = append(open, p.s.id)
			if len(frames) != len(p.sent) {
				faults = append(faults, fmt.Sprintf("socket %d is open: sent %q, handled %q", i, p.sent, frames))
			}
		}
		if p.c == nil {
			continue
		}
		got, ends := p.c.messages()
		if len(got) > len(p.messages) || !slices.Equal(got, p.messages[:len(got)]) || len(ends) > 1 || p.c.late > 0 {
			faults = append(faults, fmt.Sprintf("socket %d: was to get %q, got %q, closes %v, %d writes behind one", i, p.messages, got, ends, p.c.late))
		}
	}
	if slices.Sort(open); w.owner.isAlive() && !slices.Equal(w.owner.members(), open) {
		faults = append(faults, fmt.Sprintf("open are %v, the object has %v", open, w.owner.members()))
	}
	w.end()
	if n := len(w.hub.all()); n > 0 {
		faults = append(faults, fmt.Sprintf("%d sockets are left when the gateway has stopped", n))
	}
	return faults
}

func (o *owner) isAlive() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.alive
}

// do is one step of a play.
func (w *world) do(step step, p *played, next *int, add func(connected bool)) {
	number := func() string { *next++; return fmt.Sprint(*next) }
	switch step.what {
	case "frame", "frames":
		n := 1
		if step.what == "frames" {
			n = step.n
		}
		for range n {
			if p.c != nil {
				p.sent = append(p.sent, number())
				p.c.incoming <- []byte(p.sent[len(p.sent)-1])
			}
		}
	case "message", "messages":
		if w.owner.isAlive() && !w.bus.isDown() { // what is lost is the stream's matter
			for range step.n {
				p.messages = append(p.messages, number())
				w.owner.push(message(p.s, p.messages[len(p.messages)-1])...)
			}
		}
	case "hang up", "leave":
		if p.c != nil {
			p.c.incoming <- io.EOF
		}
	case "object closes":
		op := wire.SocketOp{Op: wire.OpClose, Code: 4000}
		op.Sockets.Add(p.s.id)
		if w.owner.isAlive() {
			w.owner.push(op)
		}
	case "open", "accept":
		if w.owner.isAlive() {
			add(step.what == "open")
		}
	case "connect":
		if p.c == nil {
			p.c = w.connect(p.s)
		}
	case "owner dies":
		w.owner.die()
	case "new owner":
		w.owner.die()
		w.work.Go(func() { _, _ = w.owner.activate(w.hub.life, w.id) }) // a recovery claims again
	case "turn away":
		w.owner.change(func(o *owner) { o.turn = step.n })
	case "refuse":
		w.owner.change(func(o *owner) { o.fail = 1 })
	case "lose":
		w.bus.set(func(b *memoryBus) { b.lost = step.n })
	case "mute":
		w.bus.set(func(b *memoryBus) { b.muted = step.n })
	case "slow":
		w.bus.set(func(b *memoryBus) { b.delay = time.Duration(step.n) * 20 * time.Millisecond })
	case "fast":
		w.bus.set(func(b *memoryBus) { b.delay = 0 })
	case "down":
		w.bus.set(func(b *memoryBus) { b.refuses = true })
	case "up":
		w.bus.set(func(b *memoryBus) { b.refuses = false })
	case "slow object":
		w.owner.change(func(o *owner) { o.pace = time.Duration(step.n) * time.Millisecond })
	case "wait":
		time.Sleep(time.Duration(step.n) * time.Second / 2)
	case "wait a moment":
		time.Sleep(time.Duration(step.n) * time.Millisecond)
	}
}

func (b *memoryBus) isDown() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refuses || b.muted > 0
}
