package host

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// successor crashes the world's host and returns another one over the same store.
func (w *world) successor(n int) *world {
	w.t.Helper()
	w.crash()
	return newWorldOn(w.t, w.store, fmt.Sprint("host", n))
}

func (w *world) end() {
	w.t.Helper()
	if _, err := w.stop(); err != nil {
		w.t.Error(err)
	}
}

// askHost sends a request to the host, and returns the subject of its answers.
func (w *world) askHost(claim wire.Claim) wire.ClaimReply {
	w.t.Helper()
	w.n++
	inbox := fmt.Sprintf("%sg.claim.%d", wire.InboxPrefix, w.n)
	raw := make(chan *nats.Msg, 8)
	sub, err := w.bus.Subscribe(inbox, "", raw)
	if err != nil {
		w.t.Fatal(err)
	}
	defer sub.Unsubscribe()
	w.send(wire.HostSubject(w.in.id), inbox, wire.Encode(&claim))
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	for {
		select {
		case msg := <-raw:
			var reply wire.ClaimReply
			if err := wire.Decode(msg.Data, &reply); err != nil {
				w.t.Fatal(err)
			}
			if !reply.Busy {
				return reply
			}
		case <-timer.C:
			w.t.Fatal("the host does not answer")
		}
	}
}

func claimOf(name string) wire.Claim {
	return wire.Claim{Class: "guest", ID: id(name).String(), Name: name}
}

func (r *room) alarms() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.alarmRuns
}

func TestAnAlarmThatKillsItsHostIsParkedAfterSixAndRunsWhenAnOperatorWantsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own("bomb")
		w.call("bomb", "wake") // its alarm is due
		for n := 1; n <= 6; n++ {
			if rec := w.store.record(id("bomb").Key()); rec.Alarm.Parked {
				t.Fatalf("parked after %d lost hosts", n-1)
			}
			w = w.successor(n)
			time.Sleep(time.Minute) // a quarantine is over
			w.own("bomb")
		}
		rec := w.store.record(id("bomb").Key())
		if !rec.Alarm.Parked || rec.Alarm.Lost != 6 {
			t.Fatalf("the alarm is %+v after six lost hosts, want it parked", rec.Alarm)
		}
		if w.log.count("alarm parked") != 1 {
			t.Error("the log does not say that the alarm was parked")
		}
		if r := <-w.ask("bomb", &wire.Request{Kind: wire.Alarm}); r == nil || r.Code != "" || w.room.alarms() != 0 {
			t.Errorf("a wake-up of a parked alarm: %+v, %d runs; want it acknowledged and not run", r, w.room.alarms())
		}
		if r := w.call("bomb", "add"); number(r) != 1 {
			t.Errorf("the object with a parked alarm answers %+v", r)
		}
		if r := <-w.ask("bomb", &wire.Request{Kind: wire.Resume}); r == nil || r.Code != "" {
			t.Fatalf("resume: %+v", r)
		}
		if rec := w.store.record(id("bomb").Key()); rec.Alarm.Parked || rec.Alarm.Lost != 0 || rec.Alarm.At.IsZero() {
			t.Errorf("after resume the alarm is %+v, want it due", rec.Alarm)
		}
		if r := <-w.ask("bomb", &wire.Request{Kind: wire.Alarm}); r == nil || r.Code != "" || w.room.alarms() != 1 {
			t.Errorf("the wake-up after resume: %+v, %d runs; want one", r, w.room.alarms())
		}
		if rec := w.store.record(id("bomb").Key()); rec.Alarm != (Alarm{}) {
			t.Errorf("after its run the alarm is %+v, want none", rec.Alarm)
		}
		w.end()
	})
}

func TestASlowAlarmWhoseWakeUpComesAgainIsNotParked(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.room.alarmTime = 29 * time.Second
		w.own("slow")
		w.call("slow", "wake")
		for range 7 {
			w.ask("slow", &wire.Request{Kind: wire.Alarm})
			time.Sleep(4 * time.Second)
		}
		time.Sleep(time.Minute)
		if rec := w.store.record(id("slow").Key()); rec.Alarm != (Alarm{}) || w.room.alarms() != 1 {
			t.Errorf("the alarm is %+v after %d runs, want none after one", rec.Alarm, w.room.alarms())
		}
	})
}

func TestANewAlarmDoesNotInheritTheLossesOfTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own("bomb")
		w.call("bomb", "wake")
		w = w.successor(1)
		w.own("bomb")
		w.ask("bomb", &wire.Request{Kind: wire.Alarm})
		synctest.Wait()
		w.call("bomb", "wake") // a new alarm
		synctest.Wait()
		if rec := w.store.record(id("bomb").Key()); rec.Alarm.Lost != 0 || rec.Alarm.At.IsZero() {
			t.Errorf("the alarm after that which was lost once is %+v", rec.Alarm)
		}
		w.end()
	})
}

func TestResumeClaimsAnObjectInQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.own("bomb")
		for n := 1; n <= 3; n++ {
			if n == 3 {
				rec := w.store.record(id("bomb").Key())
				rec.Claims = 12 // as after many more
				w.store.apply(id("bomb").Key(), rec.Encode(), w.store.entries[id("bomb").Key()].revision)
			}
			w = w.successor(n)
			if n < 3 {
				w.own("bomb")
			}
		}
		if r := w.askHost(claimOf("bomb")); r.Owned || r.Code != objects.Unavailable {
			t.Fatalf("a claim in quarantine: %+v", r)
		}
		lifting := claimOf("bomb")
		lifting.Resume = true
		if r := w.askHost(lifting); !r.Owned {
			t.Fatalf("a claim that lifts the quarantine: %+v", r)
		}
		if rec := w.store.record(id("bomb").Key()); rec.Claims != 1 {
			t.Errorf("the record counts %d claims, want 1: the count begins anew", rec.Claims)
		}
		w.end()
	})
}
