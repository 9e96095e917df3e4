package sockets

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

	"holdfast/internal/stream"
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

// autoOpen opens a socket of which the gateway answers "ping" by itself.
func (w *world) autoOpen() (*Socket, *memoryClient) {
	s := w.ask()
	w.owner.change(func(o *owner) {
		op := wire.LaneOp{Op: wire.OpOpen, Slots: wire.SlotsOf([]stream.Slot{s.slot}), AutoRequest: "ping", AutoResponse: "pong"}
		o.event(stream.Out{Opens: []stream.Slot{s.slot}}, &wire.LaneBody{Ops: []wire.LaneOp{op}})
	})
	<-s.opened
	return s, w.connect(s)
}

func TestTheGatewayAnswersForAnObjectThatSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, c := w.autoOpen()
		other, _ := w.autoOpen()
		if s.auto != other.auto {
			t.Error("two sockets of one object keep the same response twice")
		}
		for range 100 {
			c.incoming <- []byte("ping")
		}
		c.incoming <- []byte("ping!")
		synctest.Wait()
		asked := time.Now()
		got, ends := c.messages()
		if handled, _ := w.owner.heard(s); len(got) != 100 || got[0] != "pong" || ends != nil || !slices.Equal(handled, []string{"ping!"}) {
			t.Errorf("%d responses, ends %v; the object has handled %q", len(got), ends, handled)
		}
		time.Sleep(time.Second)
		w.owner.change(func(o *owner) {
			if at := o.auto[uint32(s.slot)]; len(o.auto) != 1 || asked.Sub(at).Abs() > time.Second {
				t.Errorf("the owner was told %v", o.auto)
			}
		})
	})
}

func TestSocketsOfAGatewayThatDrainsEndOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const n = 100
		sockets, clients := make([]*Socket, n), make([]*memoryClient, n)
		for i := range n {
			sockets[i], clients[i] = w.open()
		}
		var drained sync.WaitGroup
		defer drained.Wait()
		drained.Go(w.end)
		time.Sleep(n / 2 * closeStep)
		open := 0
		for i, c := range clients {
			if _, ends := c.messages(); ends != nil {
				continue
			}
			open++
			w.owner.push(message(sockets[i], "on")...)
		}
		if open < n/2-5 || open > n/2+5 {
			t.Errorf("%d of %d sockets are open in the middle of draining", open, n)
		}
		drained.Wait()
		heard := 0
		for _, c := range clients {
			got, ends := c.messages()
			if heard += len(got); !slices.Equal(ends, []int{closeRestart}) {
				t.Errorf("a socket ended with %v", ends)
			}
		}
		if heard < open-1 { // one may end while it is told
			t.Errorf("%d of %d open sockets have heard what was said while the gateway drained", heard, open)
		}
	})
}

func TestDrainingManySocketsTakesHalfOfItsTimeAtMost(t *testing.T) {
	for n, want := range map[int]time.Duration{0: closeStep, 1: closeStep, 200: closeStep, 1000: 5 * time.Millisecond, 10_000: 500 * time.Microsecond} {
		if got := closeStepOf(n, 10*time.Second); got != want {
			t.Errorf("%d sockets end every %v, want %v", n, got, want)
		}
	}
}

func TestAClosedHubTakesNoSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.hub.Close()
		if _, ok := w.hub.Add(w.id, nil, false); ok {
			t.Error("a socket was added, whose goroutines nobody waits for")
		}
	})
}

func TestWhoAsksAndDoesNotReadIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, c := w.autoOpen()
		c.mu.Lock()
		c.pace = time.Minute
		c.mu.Unlock()
		go func() {
			for range 40_000 {
				select {
				case c.incoming <- []byte("ping"):
				case <-c.gone:
					return
				}
			}
		}()
		time.Sleep(time.Minute)
		w.owner.change(func(o *owner) {
			if o.told[s.id] != 1 || o.faults[s.id] != objects.TooMany {
				t.Errorf("the object was told %d ends and %q", o.told[s.id], o.faults[s.id])
			}
		})
	})
}

func TestWhatWasOnItsWayIsSentAgainAtOnceWhenTheConnectionIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, c := w.open()
		time.Sleep(time.Second)
		w.bus.set(func(b *memoryBus) { b.lost = 1 })
		c.incoming <- []byte("lost")
		synctest.Wait()
		if frames, _ := w.owner.heard(s); frames != nil {
			t.Fatalf("the object has heard %q", frames)
		}
		beats := w.hub.pulse.last()
		time.Sleep(10 * time.Millisecond)
		w.bus.remake()
		synctest.Wait()
		if frames, _ := w.owner.heard(s); !slices.Equal(frames, []string{"lost"}) || !w.hub.pulse.last().After(beats) {
			t.Errorf("the object has heard %q; the last beat was at %v, want one now", frames, w.hub.pulse.last())
		}
	})
}

func TestAnObjectThatAcceptsAndClosesInOneEventIsUnderstood(t *testing.T) {
	for _, first := range []string{"push", "connect"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer w.end()
			s := w.ask()
			farewell := append(message(s, "no room"), closeOp(s, 4001))
			if first == "push" {
				w.owner.change(func(o *owner) { o.accept(s, farewell...) })
			} else {
				w.owner.change(func(o *owner) { o.accept(s) })
			}
			time.Sleep(time.Second)
			if !isOpen(s) {
				t.Fatal("the upgrade is refused, though the object has accepted it")
			}
			c := w.connect(s)
			if first == "connect" {
				w.owner.push(farewell...)
			}
			time.Sleep(10 * time.Second)
			got, ends := c.messages()
			if _, told := w.owner.heard(s); !slices.Equal(got, []string{"no room"}) || !slices.Equal(ends, []int{4001}) || told != 1 {
				t.Errorf("pushed before %s: the client got %q and %v, the object was told %d times", first, got, ends, told)
			}
		})
	}
}

// The end of a socket that its client never got was told to an object that had not
// heard of it, or not told to one that had.
func TestASocketThatIsAcceptedTooLateEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s := w.ask()
		s.Close(End{Code: 1006, Discard: true}) // its client has gone
		time.Sleep(time.Second)
		w.owner.change(func(o *owner) { o.accept(s) })
		time.Sleep(10 * time.Second)
		if _, told := w.owner.heard(s); told != 1 || len(w.owner.members()) != 0 || len(w.hub.all()) != 0 {
			t.Errorf("the object was told %d times and has %v, the gateway %d sockets; want 1, none and none", told, w.owner.members(), len(w.hub.all()))
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
		_, c := w.open()
		c.incoming <- []byte("one")
		time.Sleep(time.Second)
		w.owner.change(func(o *owner) { o.gap = true })
		c.incoming <- io.EOF
		time.Sleep(10 * time.Second)
		before := w.bus.count()
		time.Sleep(time.Minute)
		if n := w.bus.count() - before; n > 300 {
			t.Errorf("%d messages in a minute", n)
		}
		w.owner.change(func(o *owner) { o.gap = false })
		w.end()
	})
}

// Somebody owned the object and did not serve it: its sockets stayed open, and their frames were never answered.
func TestASocketWhoseObjectNobodyCanClaimIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		_, c := w.open()
		w.owner.die()
		w.owner.change(func(o *owner) { o.barred = true })
		c.incoming <- []byte("is anybody there?")
		time.Sleep(w.hub.Timing.Silence + w.hub.Timing.Request + 5*time.Second)
		if _, ends := c.messages(); !slices.Equal(ends, []int{objects.Unavailable.CloseCode()}) {
			t.Errorf("closes %v, want %d", ends, objects.Unavailable.CloseCode())
		}
		w.owner.change(func(o *owner) { o.barred = false })
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
		if _, err := w.owner.Activate(t.Context(), w.id); err != nil {
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

func TestAFrameInFlightWhenItsOwnerIsLostRunsAtTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, c := w.open()
		w.bus.set(func(b *memoryBus) { b.lost = 1 })
		c.incoming <- []byte("once")
		synctest.Wait()
		w.owner.die()
		time.Sleep(time.Minute)
		_, ends := c.messages()
		if frames, told := w.owner.heard(s); ends != nil || !slices.Equal(frames, []string{"once"}) || told != 0 {
			t.Errorf("closes %v; the object heard %q and %d closes", ends, frames, told)
		}
	})
}

// The sender was told that its frame had been handled, and nobody got what came of it.
func TestASocketMissesNothingThatItsOwnerSentBeforeItWasLost(t *testing.T) {
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

// Forty resets of 20 ms cost 4,980 messages on sockets that stayed open.
func TestWhatIsLostOnItsWayIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, c := w.open()
		var want []string
		for i := range 40 {
			w.bus.set(func(b *memoryBus) { b.muted = 5 })
			for k := range 10 {
				want = append(want, fmt.Sprint(i, ".", k))
				w.owner.push(message(s, want[len(want)-1])...)
			}
			time.Sleep(100 * time.Millisecond)
		}
		w.bus.set(func(b *memoryBus) { b.muted = 1 })
		want = append(want, "the last, after which there is silence")
		w.owner.push(message(s, want[len(want)-1])...)
		time.Sleep(5 * time.Second)
		if got, ends := c.messages(); !slices.Equal(got, want) || ends != nil {
			t.Errorf("%d messages and closes %v, want %d in order and none", len(got), ends, len(want))
		}
		before := w.bus.count()
		time.Sleep(time.Hour)
		if n := w.bus.count() - before; n > int(time.Hour/w.hub.Timing.Beat)+1 {
			t.Errorf("%d messages in a quiet hour, want the beats", n)
		}
	})
}

func TestNumbersThatComeInOneMessageAreEachTakenOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, c := w.open() // number 1
		say := func(first uint64, texts ...string) {
			push := wire.LanePush{Lane: 1, Object: w.id.Key(), Token: 1, Seq: first, LaneBody: wire.LaneBody{Ops: message(s, texts[0])}}
			for _, text := range texts[1:] {
				push.Next = append(push.Next, wire.LaneBody{Ops: message(s, text)})
			}
			w.owner.say(wire.Pushes, wire.Encode(&push))
		}
		for _, one := range []struct {
			first uint64
			texts []string
			want  []string // so far
		}{
			{3, []string{"two", "three"}, nil}, // number 2 is missing
			{2, []string{"one", "two"}, []string{"one", "two"}},
			{2, []string{"one", "two"}, []string{"one", "two"}}, // sent again
			{3, []string{"two", "three", "four"}, []string{"one", "two", "three", "four"}},
			{7, []string{"six"}, []string{"one", "two", "three", "four"}},
		} {
			say(one.first, one.texts...)
			synctest.Wait()
			if got, ends := c.messages(); !slices.Equal(got, one.want) || ends != nil {
				t.Fatalf("after %q from number %d on the client has %q and closes %v, want %q", one.texts, one.first, got, ends, one.want)
			}
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
		if _, err := w.owner.Activate(t.Context(), w.id); err != nil {
			t.Fatal(err)
		}
		w.bus.set(func(b *memoryBus) { b.lost = 1 })
		c.incoming <- []byte("one")
		synctest.Wait()
		for seq := range uint64(5) {
			push := wire.LanePush{Lane: 1, Host: "host", Object: w.id.Key(), Token: 1, Seq: seq, LaneBody: wire.LaneBody{Ops: message(s, "from the grave")}}
			w.bus.answer(&nats.Msg{Subject: wire.GatewaySubject(w.hub.Name, wire.Pushes), Data: wire.Encode(&push)})
			push.Kind = uint8(stream.CloseAll)
			w.bus.answer(&nats.Msg{Subject: wire.GatewaySubject(w.hub.Name, wire.Pushes), Data: wire.Encode(&push)})
		}
		for _, reply := range []wire.Reply{{Token: 1}, {Token: 1, Code: objects.Internal}, {Token: 1, Moved: true, Unsure: true}} {
			w.bus.answer(&nats.Msg{Subject: wire.FrameSubject(w.hub.Name, s.id, 1), Data: wire.Encode(&reply)})
		}
		time.Sleep(10 * time.Second)
		got, ends := c.messages()
		if frames, _ := w.owner.heard(s); got != nil || ends != nil || !slices.Equal(frames, []string{"one"}) {
			t.Errorf("the client got %q and closes %v, the new owner %q; want nothing, none and the frame", got, ends, frames)
		}
	})
}

// Whoever could publish to a gateway made all void that the true owner sent, for as long as the object had sockets there.
func TestAForgedTokenSilencesNobody(t *testing.T) {
	for _, token := range []uint64{1000, 1 << 40, 1 << 62, 1<<64 - 1} {
		for _, kind := range []string{"which", "more", "adopt", "heads"} {
			t.Run(fmt.Sprint(kind, token), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { forge(t, kind, token) }) })
		}
	}
}

func forge(t *testing.T, kind string, token uint64) {
	w := newWorld(t)
	defer w.end()
	first, c := w.open()
	second, quiet := w.open()
	time.Sleep(time.Minute) // the owner has said quiet
	push := wire.LanePush{Lane: 9, Host: "forger", Object: w.id.Key(), Token: token, Seq: 1}
	subject, message := wire.Pushes, wire.Encode(&push)
	switch kind {
	case "which":
		subject, message = wire.Whichs, wire.Encode(&wire.Which{Lane: 9, Object: w.id.Key(), Token: token, Host: "forger"})
	case "adopt":
		push.Kind = uint8(stream.Adopt)
		message = wire.Encode(&push)
	case "heads":
		w.owner.say(wire.Pushes, message)
		subject, message = wire.Heads, wire.Encode(&wire.LaneHeads{Host: "forger", Heads: []wire.Reached{{Of: 9, Seq: 7}}})
	}
	w.owner.say(subject, message)
	var said []string
	for i := range 20 {
		text := fmt.Sprint(i)
		said = append(said, text)
		w.owner.push(wire.LaneOp{Op: wire.OpMessage, Slots: wire.SlotsOf([]stream.Slot{first.slot, second.slot}), Data: []byte(text)})
		c.incoming <- []byte(text)
		time.Sleep(time.Second)
		if got, _ := c.messages(); len(got) == 0 && token >= 1<<32 {
			t.Error("a token that no owner can have was believed")
		}
	}
	time.Sleep(10 * time.Second)
	for _, c := range []*memoryClient{c, quiet} {
		got, ends := c.messages()
		if ends == nil && !slices.Equal(got, said) {
			t.Errorf("a socket is open and has heard %q", got)
		}
		if ends != nil && (kind != "adopt" || token > 1<<41) {
			t.Errorf("a socket was closed with %v, having heard %q", ends, got)
		}
	}
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
		time.Sleep(w.hub.Timing.Silence / 10)
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
		nobody := &nats.Msg{Subject: wire.FrameSubject(w.hub.Name, s.id, 1), Header: nats.Header{"Status": {"503"}}}
		var late sync.WaitGroup
		for range 50 {
			late.Go(func() { w.hub.receive(nobody) })
		}
		c.Close()
		w.hub.Close()
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
		inbox := wire.GatewayInbox(w.hub.Name)
		for _, subject := range []string{
			"push", "heads", "which", "", "frame", "frame.", "frame.x", "frame." + s.id, "frame." + s.id + ".", "frame." + s.id + ".x",
			"frame." + s.id + ".18446744073709551615", "frame." + s.id + ".1", "frame..1", "else.1.2.3",
		} {
			for _, data := range [][]byte{nil, {0}, []byte("garbage"), wire.Encode(&wire.Reply{Token: 1, Gap: true})} {
				w.hub.receive(&nats.Msg{Subject: inbox + subject, Data: data})
			}
		}
		w.log.mu.Lock()
		n := w.log.n
		w.log.mu.Unlock()
		if n == 0 || n > 4 {
			t.Errorf("%d lines were logged, want one of each kind", n)
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
	"owner dies", "turn away", "refuse", "lose", "mute", "slow", "fast", "down", "up", "slow object", "wait", "wait a moment", "new owner", "remade",
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

// A message left on a quiet lane and was lost, its owner died before it could send it again, and the socket stayed open
// without the message for as long as nothing came for the object.
func TestASocketIsClosedWhoseLastMessageWasLostWithItsOwner(t *testing.T) {
	for _, steps := range [][]step{
		{{what: "wait", n: 1}, {what: "down"}, {what: "message", n: 1}, {what: "owner dies"}},
		{{what: "wait", n: 9}, {what: "mute", n: 1}, {what: "message", n: 1}, {what: "owner dies"}},
		{{what: "wait", n: 9}, {what: "mute", n: 40}, {what: "message", n: 1}, {what: "wait", n: 4}, {what: "owner dies"}},
		{{what: "wait", n: 9}, {what: "message", n: 1}, {what: "mute", n: 1}, {what: "message", n: 1}, {what: "owner dies"}, {what: "new owner"}, {what: "owner dies"}},
		{{what: "wait", n: 9}, {what: "owner dies"}, {what: "down"}, {what: "new owner"}, {what: "wait", n: 4}, {what: "message", n: 1}, {what: "owner dies"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			for _, fault := range play(t, steps) {
				t.Errorf("%v: %s", steps, fault)
			}
		})
	}
}

// The new owner could not be heard, so the gateway did not know that there had been one.
func TestAGatewayThatWasCutOffAsksForItselfWhatItHasMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		lacks, lacking := w.open()
		time.Sleep(time.Minute)
		w.owner.die()
		w.bus.set(func(b *memoryBus) { b.refuses = true })
		w.work.Go(func() { _, _ = w.owner.Activate(w.hub.life, w.id) })
		time.Sleep(2 * time.Second) // without the gateway the object is served after one
		w.owner.push(message(lacks, "is anybody there?")...)
		w.owner.die()
		w.owner.change(func(o *owner) { o.ended = nil }) // no host tells
		w.bus.remake()
		time.Sleep(5 * time.Second)
		if _, ends := lacking.messages(); !slices.Equal(ends, []int{closeRestart}) {
			t.Errorf("closes %v, want 1012", ends)
		}
	})
}

// A room that sleeps costs a read, not a claim, when a host has died.
func TestQuietRoomsThatLackNothingStayUnclaimedWhenAHostDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, c := w.open()
		w.owner.push(message(s, "heard")...)
		time.Sleep(time.Minute)
		w.owner.die()
		time.Sleep(time.Minute)
		w.owner.change(func(o *owner) {
			if o.checks != 1 || o.token != 1 {
				t.Errorf("the record was read %d times and the object has had %d owners, want once and 1", o.checks, o.token)
			}
		})
		for range 3 {
			w.bus.remake()
			time.Sleep(time.Minute)
		}
		before := w.bus.count()
		time.Sleep(time.Minute)
		w.owner.change(func(o *owner) {
			if n := w.bus.count() - before; o.checks != 4 || o.token != 1 || n > int(time.Minute/w.hub.Timing.Beat)+1 {
				t.Errorf("the record was read %d times, the object has had %d owners, and %d messages were sent in the last minute", o.checks, o.token, n)
			}
		})
		if got, ends := c.messages(); !slices.Equal(got, []string{"heard"}) || ends != nil {
			t.Errorf("the client has heard %q and closes %v", got, ends)
		}
	})
}

func TestAnOwnerThatLivesIsAskedOnceWhetherAnythingIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		_, c := w.open()
		for beat := range uint64(3) { // the other had only seemed to have ended, twice
			time.Sleep(time.Minute)
			w.owner.change(func(o *owner) {
				o.acked = 0
				o.ended = []wire.Ended{{Incarnation: "other", Beat: beat}}
			})
			time.Sleep(time.Minute)
			w.owner.change(func(o *owner) {
				if o.acked != 1 || o.checks != 0 || o.token != 1 {
					t.Errorf("%d acknowledgements, %d questions for the record and %d owners, want 1, 0 and 1", o.acked, o.checks, o.token)
				}
			})
		}
		if _, ends := c.messages(); ends != nil {
			t.Errorf("closes %v", ends)
		}
	})
}

// Ten thousand rooms were claimed at one moment.
func TestManyQuietRoomsAreDoubtedOneAfterTheOther(t *testing.T) {
	h := New(Config{Name: "gateway", Timing: wire.Timing{}.WithDefaults()})
	const rooms = 10_000
	for i := range rooms {
		h.groups[fmt.Sprint("room.", i)] = &group{}
	}
	ended := make([]wire.Ended, 0, 2*maxEnded)
	for i := range 2 * maxEnded {
		ended = append(ended, wire.Ended{Incarnation: fmt.Sprint(i), Beat: 1})
	}
	h.noteEnded(ended)
	h.noteEnded(ended[:1])
	seen := make(map[string]bool)
	for range rooms/doubtStep + 1 {
		some := h.pending.takeDoubts(doubtStep)
		if len(some) > doubtStep {
			t.Fatalf("%d at a time", len(some))
		}
		for _, d := range some {
			seen[d.key] = true
		}
	}
	if len(seen) != rooms || h.pending.doubts != nil || len(h.ended) > maxEnded {
		t.Errorf("%d rooms were doubted, %d are left; %d ends are remembered", len(seen), len(h.pending.doubts), len(h.ended))
	}
}

// played is one socket and what was done with it.
type played struct {
	s        *Socket
	c        *memoryClient // nil: the connection has not come
	sent     []string      // by the client
	messages []string      // by the object
}

// play plays the steps, has everything become calm, and returns what is wrong then.
func play(t *testing.T, steps []step) (faults []string) {
	w := newWorld(t)
	var all []*played
	add := func(connected bool) {
		p := &played{s: w.accept()}
		if connected && isOpen(p.s) {
			p.c = w.connect(p.s)
		}
		all = append(all, p)
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
	before, beats := w.bus.count(), int(time.Minute/w.hub.Timing.Beat)
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
		if !p.s.stageNow().ended() && len(got) != len(p.messages) {
			faults = append(faults, fmt.Sprintf("socket %d is open: was to get %q, got %q", i, p.messages, got))
		}
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
		if w.owner.isAlive() {
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
		if w.owner.isAlive() {
			w.owner.push(closeOp(p.s, 4000))
		}
	case "open", "accept":
		if w.owner.isAlive() {
			add(step.what == "open")
		}
	case "connect":
		if p.c == nil && isOpen(p.s) {
			p.c = w.connect(p.s)
		}
	case "owner dies":
		w.owner.die()
	case "new owner":
		w.owner.die()
		w.work.Go(func() { _, _ = w.owner.Activate(w.hub.life, w.id) }) // a recovery claims again
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
	case "remade":
		w.bus.remake()
	case "slow object":
		w.owner.change(func(o *owner) { o.pace = time.Duration(step.n) * time.Millisecond })
	case "wait":
		time.Sleep(time.Duration(step.n) * time.Second / 2)
	case "wait a moment":
		time.Sleep(time.Duration(step.n) * time.Millisecond)
	}
}
