package host

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
)

// read asks for the count, and returns where the reply will be.
func (w *world) read(name string) chan *wire.Reply {
	return w.ask(name, &wire.Request{Kind: wire.Call, Call: "read", Body: []byte("{}")})
}

// silent checks that a request is not answered for a time.
func (w *world) silent(what string, reply chan *wire.Reply, d time.Duration) {
	w.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case r := <-reply:
		w.t.Errorf("%s was answered %+v while the lease had lapsed", what, r)
	case <-timer.C:
	}
}

// takeOver makes another host claim the object and count once.
func (w *world) takeOver(name string) {
	w.t.Helper()
	key := id(name).Key()
	rec := w.store.record(key)
	rec.Owner, rec.Epoch, rec.Commit = "you", rec.Epoch+1, rec.Commit+2
	if _, ok := w.store.apply(key, rec.Encode(), w.store.entries[key].revision); !ok {
		w.t.Fatal("the other host's claim was refused")
	}
}

func TestAHostWhoseLeaseLapsedHoldsItsOutputsAndGoesOnAsItself(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("a")
		w.open("a", "s1", "g1")
		before := w.call("a", "add")
		pushed := func() bool {
			acked, _ := w.bus.gateway("g1").state(sid("s1", "g1"))
			return acked == 1
		}

		held := w.ask("a", &wire.Request{Kind: wire.Call, Call: "hold", Body: []byte("{}")})
		synctest.Wait()
		w.lease.lapse()
		close(w.room.hold) // an event that was running ends
		first, second, add := w.read("a"), w.read("a"), w.ask("a", &wire.Request{Kind: wire.Call, Call: "add", Body: []byte("{}")})
		w.tell("a", &wire.Request{Kind: wire.Message, Socket: sid("s1", "g1"), Gateway: "g1", Seq: 1, Body: []byte("x")})
		w.silent("an event that was running", held, 5*time.Second)
		w.silent("a read", first, time.Second)
		if pushed() {
			t.Error("a message was pushed while the lease had lapsed")
		}
		w.lease.resume()
		if r := <-held; r == nil || r.Code != "" || r.Moved {
			t.Errorf("the event that was running was answered %+v", r)
		}
		for _, reply := range []chan *wire.Reply{first, second} {
			if r := <-reply; number(r) != 1 || r.Token != before.Token || r.Owner.Epoch != before.Owner.Epoch {
				t.Errorf("a read was answered %+v, want 1 of the same owner", r)
			}
		}
		if r := <-add; number(r) != 2 {
			t.Errorf("an addition was answered %+v", r)
		}
		if !w.acknowledged("s1", "g1", 1) {
			t.Error("the frame was not acknowledged")
		}
		commits := w.store.record(id("a").Key()).Commit
		if r := <-w.read("a"); number(r) != 2 {
			t.Errorf("a read was answered %+v", r)
		}
		if now := w.store.record(id("a").Key()).Commit; now != commits {
			t.Errorf("the object was put %d times more, though it had been proved", now-commits)
		}
	})
}

func TestAnObjectThatWasTakenWhileTheLeaseHadLapsedIsNotAnsweredFromMemory(t *testing.T) {
	for _, c := range []struct {
		name string
		put  fault // of one that is under way when the lease lapses, and lands then
	}{
		{"idle", fault{}},
		{"with a put under way", fault{Slow: time.Second}},
		{"with a put whose answer comes after the lapse", fault{SlowAck: 6 * time.Second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.own("a")
				w.call("a", "add")
				var add chan *wire.Reply
				if c.put != (fault{}) {
					w.store.fail(c.put)
					add = w.ask("a", &wire.Request{Kind: wire.Call, Call: "add", Body: []byte("{}")})
					synctest.Wait()
				}
				w.lease.lapse()
				time.Sleep(999 * time.Millisecond)
				read := w.read("a")
				time.Sleep(4 * time.Second)
				w.takeOver("a")
				w.lease.resume()
				if r := <-read; r == nil || !r.Moved || r.Unsure {
					t.Errorf("the read was answered %+v, want Moved", r)
				}
				if add != nil {
					if r := <-add; number(r) != 2 {
						t.Errorf("the addition was answered %+v, want 2: it has landed", r)
					}
				}
				synctest.Wait()
				if w.in.find(id("a").Key()) != nil {
					t.Error("the object is still here")
				}
			})
		})
	}
}

// The put that proves an object and another host's claim expect the same revision.
func TestAClaimThatIsUnderWayLosesToTheProof(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("a")
		w.call("a", "add")
		key := id("a").Key()
		w.store.mu.Lock()
		late := w.store.entries[key].revision // which the other host has read
		w.store.mu.Unlock()
		w.lease.lapse()
		time.Sleep(time.Second)
		w.lease.resume()
		if r := <-w.read("a"); number(r) != 1 {
			t.Fatalf("the read was answered %+v", r)
		}
		if _, landed := w.store.apply(key, []byte("{}"), late); landed {
			t.Error("the other host's claim has landed after a read was answered")
		}
	})
}

func TestAHostWhoseLeaseHasLapsedTakesNoClaims(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.lease.lapse()
		answers := make(chan *nats.Msg, 8)
		inbox := wire.InboxPrefix + "g.1"
		if _, err := w.bus.Subscribe(inbox, "", answers); err != nil {
			t.Fatal(err)
		}
		w.send(wire.ClaimSubject(w.in.cfg.Region, "guest"), inbox, wire.Encode(&wire.Claim{Class: "guest", ID: id("a").String(), Name: "a"}))
		w.send(wire.HostsSubject("guest"), inbox, wire.Encode(&wire.Claim{Class: "guest"}))
		time.Sleep(time.Second)
		var reply wire.ClaimReply
		if len(answers) != 1 {
			t.Fatalf("%d answers, want one", len(answers))
		}
		if err := wire.Decode((<-answers).Data, &reply); err != nil || reply.Owned || reply.Failure == "" {
			t.Errorf("the claim was answered %+v (%v)", reply, err)
		}
	})
}

func TestALapsedHostTakesNothingFromAGatewayInItsProcess(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("a")
		msg := func() *nats.Msg {
			return &nats.Msg{Subject: wire.ObjectSubject(id("a")), Reply: wire.InboxPrefix + "g.1", Data: wire.Encode(&wire.Request{Kind: wire.Call, Gateway: "g"})}
		}
		w.lease.lapse()
		if w.in.deliverLocal(msg()) {
			t.Error("a lapsed host took a request that another owner does not hear")
		}
		w.lease.resume()
		if !w.in.deliverLocal(msg()) {
			t.Error("a host whose lease is valid again takes nothing")
		}
	})
}

func TestALeaseThatIsLostAfterALapseTellsWhoeverWaitsToAskTheNextOwner(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("a")
		held := w.ask("a", &wire.Request{Kind: wire.Call, Call: "hold", Body: []byte("{}")})
		synctest.Wait()
		w.lease.lapse()
		close(w.room.hold)
		reads := []chan *wire.Reply{held, w.read("a"), w.read("a"), w.read("a")}
		time.Sleep(10 * time.Second)
		w.crash()
		for _, read := range reads {
			if r := <-read; r == nil || !r.Moved || r.Unsure {
				t.Errorf("answered %+v, want Moved", r)
			}
		}
	})
}
