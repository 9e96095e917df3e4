package host

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/embedded"
	"holdfast/internal/bucket"
	"holdfast/internal/wire"
	"holdfast/objects"
)

func bubble(t *testing.T, story func(t *testing.T, w *world), change ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, change...)
		story(t, w)
		if w.in.work.Err() == nil {
			if took, err := w.stop(); err != nil || took > w.in.timing.Drain+2*time.Second {
				t.Errorf("the host stopped after %v with %v", took, err)
			}
		}
		for _, gauge := range []string{"holdfast_host_objects", "holdfast_host_awake"} {
			if n := w.metric(gauge, ""); n != 0 {
				t.Errorf("%s = %v after everything was released, want 0", gauge, n)
			}
		}
	})
}

func TestIdleObjectsAreReachableAfterTheConnectionWasSlow(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const n = 30
		for i := range n {
			w.own(fmt.Sprint(i))
		}
		time.Sleep(w.in.timing.Evict - time.Second)
		w.bus.setFlush(time.Minute) // until the objects have become idle and a flush has failed
		time.Sleep(20 * time.Second)
		w.bus.setFlush(0)
		time.Sleep(20 * time.Second)
		for i := range n {
			if reply := <-w.claim(fmt.Sprint(i)); !reply.Owned {
				t.Fatalf("object %d cannot be claimed any more: %+v", i, reply)
			}
		}
	})
}

func TestAStopDuringAClaimTakesNoLongerThanTheClaim(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("other")
		o := w.in.object(wire.Address{ID: id("late"), Name: "late"}, w.in.classes[string(guestClass)]) // what a claim does first
		stopped := make(chan time.Duration, 1)
		go func() {
			took, _ := w.stop()
			stopped <- took
		}()
		synctest.Wait()
		answered := make(chan wire.ClaimReply, 1)
		if o.claim(func(r wire.ClaimReply) { answered <- r }) {
			if r := <-answered; r.Owned {
				t.Error("the object was claimed by a host that is stopping")
			}
		}
		if took := <-stopped; took > time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}

func TestAStopWhileAClaimAsksGatewaysReleasesTheObject(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.open("room", "s1", "g1")
		w.crash() // the record still names g1
		next := newWorld(t)
		next.store = w.store
		next.in.store = w.store
		next.bus.gateway("g1").silence()
		reply := next.claim("room") // g1 does not answer for a second
		synctest.Wait()
		if took, err := next.stop(); err != nil || took > 2*time.Second {
			t.Errorf("the stop took %v (%v)", took, err)
		}
		if r := <-reply; r.Owned {
			t.Error("the object was claimed by a host that is stopping")
		}
		if rec := w.store.record(id("room").Key()); rec == nil || rec.Owner != "" || len(rec.Gateways) != 1 {
			t.Errorf("the record is %+v, want it released, with its gateway", rec)
		}
	})
}

func TestAGatewaysGoodbyeDuringAClaimEndsItsSockets(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.open("room", "s1", "g1")
		w.crash()
		next := newWorld(t)
		next.store, next.in.store = w.store, w.store
		next.bus.gateway("g1").asked = func() { // it answers, and says goodbye before we listen
			next.beat(wire.Beat{Gateway: "g1", Bye: true})
		}
		next.own("room")
		synctest.Wait()
		time.Sleep(3*next.in.timing.Beat + time.Second)
		if n := next.room.told(sid("s1", "g1")); n != 1 || next.listed("room") != 0 {
			t.Errorf("the end of the socket was told %d times, %d sockets are listed; want 1 and 0", n, next.listed("room"))
		}
		if _, err := next.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A forged goodbye of a gateway ended all of the gateway's sockets.
func TestAForgedGoodbyeEndsNoSocketOfAGatewayThatLives(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.open("room", "s1", "g1")
		w.open("room", "s2", "g2")
		for i := range 40 {
			w.beat(wire.Beat{Gateway: "g1", Bye: true})
			w.beat(wire.Beat{Gateway: "g2", Bye: i == 0})
			time.Sleep(w.in.timing.Beat / 2)
			if i < 20 && i%2 == 1 {
				w.beat(wire.Beat{Gateway: "g1"})
			}
			if n := w.room.told(sid("s1", "g1")); i <= 20 && n != 0 {
				t.Fatalf("the end of the socket was told after %d half beats", i)
			}
		}
		if n, m := w.room.told(sid("s1", "g1")), w.room.told(sid("s2", "g2")); n != 1 || m != 0 {
			t.Errorf("the end of the socket of the gateway that is gone was told %d times, of the one that lives %d", n, m)
		}
	})
}

func TestTheEndsOfALostGatewayAreToldWhenTheConstructorWorksAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.open("room", "s1", "g1")
		w.open("room", "s2", "g2")
		w.beat(wire.Beat{Gateway: "g2"})
		asleep(w, "room")
		w.room.fails(errors.New("not now"))
		w.beat(wire.Beat{Gateway: "g1", Bye: true})
		time.Sleep(3*w.in.timing.Beat + time.Second)
		w.room.fails(nil)
		for range 30 {
			w.beat(wire.Beat{Gateway: "g2"})
			time.Sleep(2 * time.Second)
		}
		if n := w.room.told(sid("s1", "g1")); n != 1 || w.listed("room") != 1 {
			t.Errorf("the end of s1 was told %d times, %d sockets are listed; want 1 and 1", n, w.listed("room"))
		}
	})
}

// Idle sockets at both gateways went deaf when a host's own connection was cut for 25 s.
func TestAHostThatHearsNobodyGivesNoGatewayUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.open("room", "s1", "g1")
		w.beat(wire.Beat{Gateway: "g1"})
		w.bus.setDown(true)
		time.Sleep(25 * time.Second)
		w.bus.setDown(false)
		for range 10 {
			w.beat(wire.Beat{Gateway: "g1"})
			time.Sleep(2 * time.Second)
		}
		if n := w.room.told(sid("s1", "g1")); n != 0 || w.listed("room") != 1 {
			t.Errorf("the end of the socket was told %d times, %d are listed; want none and 1", n, w.listed("room"))
		}
	})
}

// asleep waits until the object's instance has been dropped.
func asleep(w *world, name string) {
	w.t.Helper()
	for range 40 {
		time.Sleep(time.Second)
		w.beat(wire.Beat{Gateway: "g1"})
		w.beat(wire.Beat{Gateway: "g2"})
		asleep := false
		w.look(name, func(o *object) { asleep = o.memory.instance == nil })
		if asleep {
			return
		}
	}
	w.t.Fatal("the instance is never dropped")
}

func TestAConstructorThatFailsOnAFrameLeavesNoGapAndNoGhost(t *testing.T) {
	for _, onClose := range []bool{false, true} {
		bubble(t, func(t *testing.T, w *world) {
			w.own("room")
			w.open("room", "s1", "g1")
			asleep(w, "room")
			w.room.fails(errors.New("not now"))
			seq := uint64(1)
			if !onClose {
				w.frame("room", "s1", "g1", 1, wire.Message)
				if acked, code := w.bus.gateway("g1").state(sid("s1", "g1")); acked != 1 || code != objects.Internal.CloseCode() {
					t.Fatalf("frame %d is acknowledged and the socket closed with %d, want 1 and internal", acked, code)
				}
				w.room.fails(nil)
				seq = 2
			}
			w.frame("room", "s1", "g1", seq, wire.Closed)
			w.room.fails(nil)
			time.Sleep(10 * time.Second)
			if !w.acknowledged("s1", "g1", seq) {
				t.Error("the close is not acknowledged")
			}
			if n := w.room.told(sid("s1", "g1")); n != 1 || w.listed("room") != 0 {
				t.Errorf("the end was told %d times, %d sockets are listed; want 1 and 0", n, w.listed("room"))
			}
			w.frame("room", "s1", "g1", seq, wire.Closed)
			if n := w.room.told(sid("s1", "g1")); n != 1 {
				t.Errorf("the end was told %d times", n)
			}
		})
	}
}

func TestACloseIsNeverRefusedByAFullQueue(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.open("room", "s1", "g1")
		held := w.ask("room", &wire.Request{Kind: wire.Call, Call: "hold", Body: []byte("{}")})
		synctest.Wait()
		var replies []chan *wire.Reply
		for range 5 {
			replies = append(replies, w.ask("room", &wire.Request{Kind: wire.Call, Call: "add", Body: []byte("{}")}))
			synctest.Wait()
		}
		if r := <-replies[4]; r == nil || r.Code != objects.Overloaded {
			t.Fatalf("the queue is not full: %+v", r)
		}
		w.tell("room", &wire.Request{Kind: wire.Closed, Socket: sid("s1", "g1"), Gateway: "g1", Seq: 1, Code: 1000})
		synctest.Wait()
		close(w.room.hold)
		<-held
		if !w.acknowledged("s1", "g1", 1) {
			t.Error("the close is not acknowledged")
		}
		if n := w.room.told(sid("s1", "g1")); n != 1 {
			t.Errorf("the end was told %d times", n)
		}
	}, func(c *Config) { c.Queue = 4 })
}

func TestABusyRoomDoesNotHoldUpOthers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("busy")
		w.own("other")
		w.open("busy", "s1", "g1")
		stuck := make(chan struct{})
		w.bus.mu.Lock()
		w.bus.block[wire.GatewaySubject("g1", wire.Pushes)] = stuck // its push does not get out
		w.bus.mu.Unlock()
		w.tell("busy", &wire.Request{Kind: wire.Message, Socket: sid("s1", "g1"), Gateway: "g1", Seq: 1, Body: []byte("x")})
		synctest.Wait()
		again := w.ask("busy", &wire.Request{Kind: wire.Call, Call: "add", Body: []byte("{}")}) // the dispatcher takes it
		other := w.ask("other", &wire.Request{Kind: wire.Call, Call: "add", Body: []byte("{}")})
		synctest.Wait()
		select {
		case r := <-other:
			if number(r) != 1 {
				t.Errorf("the other object answered %+v", r)
			}
		default:
			t.Error("the other object waits for the busy one")
		}
		if r := <-w.claim("busy"); !r.Owned {
			t.Errorf("claim of the busy one: %+v", r)
		}
		close(stuck)
		<-again
	})
}

func TestForgedMessagesEndNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.call("room", "add") // an object that keeps nothing is released
		for range 100 {
			w.send(wire.BeatSubject, "", nil)
			w.send(wire.BeatSubject, "", []byte("nonsense"))
			w.beat(wire.Beat{Bye: true})
			w.beat(wire.Beat{Gateway: string(make([]byte, 1000))})
			for _, subject := range []string{wire.ClaimSubject("local", "guest"), wire.ObjectSubject(id("room"))} {
				w.send(subject, "", nil)
				w.send(subject, "", []byte("nonsense"))
				w.send(subject, bucket.Records().Subject("x"), []byte("nonsense"))
			}
		}
		for _, req := range []*wire.Request{
			{Kind: wire.Fetch, Method: "GET", URL: "/", Socket: "s", Gateway: "a.b"},
			{Kind: wire.Fetch, Method: "GET", URL: "/", Socket: string(make([]byte, 300))},
			{Kind: 99},
			{Kind: wire.Call, Call: "add", Timeout: 1<<63 - 1, Body: []byte("{")},
		} {
			if r := <-w.ask("room", req); r == nil || r.Code == "" {
				t.Errorf("%+v was answered with %+v", req, r)
			}
		}
		for _, req := range []*wire.Request{
			{Kind: wire.Closed, Gateway: "g", Socket: "s", Seq: 1}, {Kind: wire.Message, Gateway: "g", Seq: 1 << 60},
			{Kind: wire.Closed, Gateway: "g", Socket: sid("s1", "g"), Seq: 1 << 60}, {Kind: wire.Message, Gateway: "g", Socket: "g-zzzzzzzzzz", Seq: 1},
		} {
			w.tell("room", req)
		}
		for _, kind := range []string{wire.Acks, wire.Hold, "nonsense"} {
			w.send(wire.LaneInbox("me")+kind, "", []byte("nonsense"))
			w.send(wire.LaneInbox("me")+kind, "", nil)
		}
		w.send(wire.LaneInbox("me")+wire.Acks, "", wire.Encode(&wire.LaneAcks{Gateway: "g", Acks: []wire.Reached{{Of: 1, Seq: 1 << 60}}, Resend: []wire.Reached{{Of: 1, Seq: 1 << 60}, {Of: 99}}}))
		w.send(wire.LaneInbox("me")+wire.Hold, "", wire.Encode(&wire.Held{Lane: 1, Gateway: "g", Token: 1 << 60}))
		time.Sleep(time.Minute) // five beats of silence are long over
		if r := w.call("room", "add"); number(r) != 2 {
			t.Errorf("the object answered %+v, want 2", r)
		}
		if n := w.log.count("beat dropped"); n != 1 {
			t.Errorf("%d lines about beats, want 1 a second", n)
		}
	})
}

func TestAPanicOfTheHostEndsOneObject(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("bad")
		w.own("good")
		w.call("bad", "add")
		w.look("bad", func(o *object) { o.memory.State = nil }) // the next event dereferences it
		if r := w.call("bad", "add"); r == nil || r.Code != objects.Internal || r.Ref == "" {
			t.Errorf("the caller got %+v, want internal with a reference", r)
		}
		if n := w.log.count("object dropped"); n > 1 {
			t.Errorf("%d log lines", n)
		}
		if r := w.call("good", "add"); number(r) != 1 {
			t.Errorf("the other object answered %+v", r)
		}
	})
}

func TestAPanicBesideTheAuthorsCodeIsToldAndTheObjectClaimedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("bad")
		w.call("bad", "add")
		w.look("bad", func(o *object) { o.counters = nil }) // finish dereferences it
		if r := w.call("bad", "add"); r == nil || r.Code != objects.Internal || r.Ref == "" {
			t.Errorf("the caller got %+v, want internal with a reference", r)
		}
		if n := w.log.count("object dropped"); n != 1 {
			t.Errorf("%d log lines, want 1", n)
		}
		synctest.Wait()
		w.own("bad")
		if r := w.call("bad", "add"); number(r) != 2 {
			t.Errorf("the object answered %+v after it was claimed again, want 2", r)
		}
	})
}

func TestAnAuthorsOwnCodeIsCountedAsOther(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		if r := w.call("room", "code"); r == nil || r.Code != "sold_out" {
			t.Errorf("reply = %+v", r)
		}
		if n := w.metric("holdfast_host_events_total", "other"); n != 1 {
			t.Errorf("%v events counted as other, want 1", n)
		}
	})
}

func TestAFailedAlarmIsCountedAndLogged(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.call("room", "wake")
		w.room.alarmErr = objects.Errorf(objects.Conflict, "no")
		<-w.ask("room", &wire.Request{Kind: wire.Alarm, Timeout: 15000})
		if n := w.metric("holdfast_host_events_total", "conflict"); n != 1 {
			t.Errorf("%v events counted as conflict, want 1", n)
		}
		if n := w.log.count("alarm failed"); n != 1 {
			t.Errorf("%d log lines, want 1", n)
		}
		if w.room.alarmLeft != 30*time.Second {
			t.Errorf("the alarm had %v, want 30 s", w.room.alarmLeft)
		}
	})
}

func TestAnswersOfALostGatewayAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.beat(wire.Beat{Gateway: "dead"})
		<-w.ask("room", &wire.Request{Kind: wire.Call, Gateway: "dead", Call: "add", Body: []byte("{}")})
		w.call("room", "add")
		rec := w.store.record(id("room").Key())
		if len(rec.Answers) != 2 {
			t.Fatalf("%d answers are kept, want 2", len(rec.Answers))
		}
		for range 320 { // the gateway is silent; the object is in use
			time.Sleep(2 * time.Second)
			<-w.ask("room", &wire.Request{Kind: wire.Call, Low: w.n + 1, Call: "add", Body: []byte("{}")})
		}
		for _, kept := range w.store.record(id("room").Key()).Answers {
			if kept.Gateway == "dead" {
				t.Error("an answer of the dead gateway is still kept")
			}
		}
		w.look("room", func(o *object) {
			if lows := o.memory.answers.lows; len(lows) != 1 {
				t.Errorf("%d gateways are remembered, want 1", len(lows))
			}
		})
	})
}

// Ctrl-C of a host without NATS took all of Drain, though there was nothing to release.
func TestAHostThatOwnsNothingStopsAtOnceWithoutNATS(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.bus.setDown(true)
		if took, err := w.stop(); err != nil || took != 0 {
			t.Errorf("the host stopped after %v with %v, want at once", took, err)
		}
	})
}

// No more objects use a store at once than the store can answer in time, though each request takes it a millisecond.
func TestAHostOfManyObjectsReleasesAllOfThemToABusyStore(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		const n = 1000
		for i := range n {
			w.own(fmt.Sprint(i))
			<-w.ask(fmt.Sprint(i), &wire.Request{Kind: wire.Call, Call: "add", Body: []byte("{}")})
		}
		w.store.takes = time.Millisecond
		if took, err := w.stop(); err != nil || took > w.in.timing.Drain {
			t.Errorf("the host stopped after %v with %v", took, err)
		}
		for i := range n {
			if rec := w.store.record(id(fmt.Sprint(i)).Key()); rec == nil || rec.Owner != "" {
				t.Fatalf("object %d was not released: %+v", i, rec)
			}
		}
		if doubts := w.log.count("put in doubt"); doubts > 0 {
			t.Errorf("%d puts were not waited for", doubts)
		}
	})
}

func TestForgedGatewaysAreNotRemembered(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		for n := range 2 * maxGateways {
			w.beat(wire.Beat{Gateway: fmt.Sprint("forged", n), Bye: n%2 == 0})
			if n%1000 == 0 {
				synctest.Wait() // nothing is dropped
			}
		}
		w.open("room", "s1", "silent") // of a gateway that never beats
		watched := func() int {
			synctest.Wait()
			w.in.mu.Lock()
			defer w.in.mu.Unlock()
			return len(w.in.gateways)
		}
		if n := watched(); n != 1 {
			t.Errorf("%d gateways are watched, want that which holds a socket", n)
		}
		if n := w.log.count("too many"); n > 0 {
			t.Error("forged gateways keep others from being watched")
		}
		time.Sleep(time.Minute)
		if n := watched(); n != 0 || w.room.told(sid("s1", "silent")) != 1 {
			t.Errorf("%d gateways are watched after a minute of silence, the end of the socket was told %d times; want 0 and 1", n, w.room.told(sid("s1", "silent")))
		}
	})
}

func TestAnEventThatDoesNotEndIsReportedAndDoesNotHoldTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own("stuck")
		w.own("other")
		w.ask("stuck", &wire.Request{Kind: wire.Call, Call: "hold", Body: []byte("{}")})
		time.Sleep(45 * time.Second)
		if n := w.log.count("does not end"); n != 1 {
			t.Errorf("%d log lines, want 1", n)
		}
		if age := w.metric("holdfast_host_longest_event_seconds", ""); age < 30 || age > 46 {
			t.Errorf("the longest event is %v s old", age)
		}
		if took, err := w.stop(); !errors.Is(err, errStuck) || took > w.in.timing.Drain+2*time.Second {
			t.Errorf("the host stopped after %v with %v", took, err)
		}
		if rec := w.store.record(id("other").Key()); rec != nil && rec.Owner != "" {
			t.Error("the other object was not released")
		}
		close(w.room.hold)
	})
}

const stuckOnes objects.Class = "stuck"

// stuckClass has a call that ends when the test does.
func stuckClass(release chan struct{}) *objects.Implementation {
	type stuck struct{ http.Handler }
	hang := objects.NewCall[objects.None, objects.None](stuckOnes, "hang")
	ping := objects.NewCall[objects.None, objects.None](stuckOnes, "ping")
	return objects.Implement(stuckOnes, objects.New[stuck],
		objects.On(hang, func(*stuck, *objects.Tx, objects.None) (objects.None, error) {
			<-release
			return nil, nil
		}),
		objects.On(ping, func(*stuck, *objects.Tx, objects.None) (objects.None, error) { return nil, nil }))
}

func TestAHostWithAStuckEventStopsAndItsObjectsGoElsewhere(t *testing.T) {
	t.Parallel()
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
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	class := stuckClass(release)
	timing := wire.Timing{Drain: 300 * time.Millisecond}
	run := func(name string) (stop func() error) {
		h, err := New(t.Context(), Config{Name: name, Objects: []*objects.Implementation{class}, Serve: dial(), State: dial(), Memory: true, Timing: timing})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		return func() error { cancel(); return <-done }
	}
	stopFirst := run("first")
	client, err := wire.NewClient(wire.ClientConfig{NATS: dial(), Name: "g", Region: "local"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	id, err := stuckOnes.ID("a")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(call string, within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		reply, err := client.Do(ctx, wire.Address{ID: id, Name: "a"}, &wire.Request{Kind: wire.Call, Call: call, Body: []byte("{}")})
		if err == nil {
			err = reply.Err()
		}
		return err
	}
	if err := ask("ping", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := ask("hang", 200*time.Millisecond); err == nil {
		t.Fatal("the event has ended")
	}
	began := time.Now()
	if err := stopFirst(); err == nil || time.Since(began) > timing.Drain+2*time.Second {
		t.Errorf("the host stopped after %v with %v, want an error", time.Since(began), err)
	}
	stopSecond := run("second")
	if err := ask("ping", 10*time.Second); err != nil {
		t.Errorf("the object is not reached at the second host: %v", err)
	}
	if err := stopSecond(); err != nil {
		t.Error(err)
	}
}

func TestNothingLeavesBeforeItsCommit(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("room")
		w.open("room", "s1", "g1")
		before := w.bus.gateway("g1").pushes
		w.store.fail(fault{Slow: time.Second, Refuse: true})
		written := w.ask("room", &wire.Request{Kind: wire.Call, Call: "add", Body: []byte("{}")})
		w.tell("room", &wire.Request{Kind: wire.Message, Socket: sid("s1", "g1"), Gateway: "g1", Seq: 1, Body: []byte("x")}) // after it
		synctest.Wait()
		w.in.find(id("room").Key()).lapse()
		if r := <-written; r == nil || !r.Moved {
			t.Errorf("the reply is %+v, want that the object has moved", r)
		}
		if w.bus.gateway("g1").pushes > before {
			t.Error("what a later event sent has left")
		}
	})
}

// A flood of names that nobody has used leaves nothing: 15 s after the last of them
// there is no record.
func TestAnObjectThatKeepsNothingIsReleasedWithItsInstance(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for n := range 200 {
			w.own(fmt.Sprint("flood-", n))
			w.call(fmt.Sprint("flood-", n), "read")
		}
		w.own("kept")
		w.call("kept", "add")
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if n := w.metric("holdfast_host_objects", ""); n != 1 {
			t.Errorf("%v objects are owned, want the one that keeps something", n)
		}
		w.store.mu.Lock()
		for key, entry := range w.store.entries {
			if entry.value != nil && key != id("kept").Key() {
				t.Errorf("%s has a record", key)
			}
		}
		w.store.mu.Unlock()
		if r := w.call("kept", "add"); number(r) != 2 {
			t.Errorf("the object that keeps something answered %+v, want 2", r)
		}
	})
}
