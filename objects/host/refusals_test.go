package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/alarm"
	"holdfast/objects/host/internal/record"
)

func TestAPutThatTheStoreRefusesIsToldAtOnceAndTheObjectIsServedAgain(t *testing.T) {
	for _, c := range []struct {
		err  error
		code objects.Code
	}{
		{record.ErrFull, objects.StorageFull},
		{record.ErrTooLarge, objects.TooLarge},
		{record.ErrRefused, objects.Internal},
	} {
		t.Run(string(c.code), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.own("a")
				if n := number(w.call("a", "add")); n != 1 {
					t.Fatalf("the first count is %d", n)
				}
				w.store.fail(fault{Reject: c.err})
				began := time.Now()
				r := w.call("a", "add")
				if r == nil || r.Code != c.code || r.Moved || (r.Ref != "") != (c.code == objects.Internal) || time.Since(began) > 100*time.Millisecond {
					t.Errorf("answered %+v after %v, want %s at once", r, time.Since(began), c.code)
				}
				synctest.Wait()
				if r := w.call("a", "read"); number(r) != 1 {
					t.Errorf("a read shows %+v, want 1: what was refused did not happen", r)
				}
				if n := number(w.call("a", "add")); n != 2 {
					t.Errorf("the next count is %d, want 2", n)
				}
			})
		})
	}
}

func TestAClaimOrAReleaseThatTheStoreRefusesEndsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.store.fail(fault{}, fault{Reject: record.ErrFull}) // the reading, and the claim
		began := time.Now()
		if r := <-w.claim("a"); r.Owned || r.Code != objects.StorageFull || time.Since(began) > 100*time.Millisecond {
			t.Errorf("the claim was answered %+v after %v, want storage_full at once", r, time.Since(began))
		}
		w.own("a")
		w.call("a", "add")
		w.store.fail(fault{Reject: record.ErrFull})
		began = time.Now()
		w.in.evictNow(w.in.find(id("a").Key()))
		synctest.Wait()
		if w.in.find(id("a").Key()) != nil || time.Since(began) > time.Second {
			t.Errorf("the object is still being released after %v", time.Since(began))
		}
		w.own("a")
		if n := number(w.call("a", "add")); n != 2 {
			t.Errorf("the next count is %d, want 2", n)
		}
	})
}

// Another copy of the put may be under way: whether it lands is for the next claim to say.
func TestNobodyIsToldThatNothingHappenedWhenOnlyTheSecondCopyWasRefused(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("a")
		w.store.fail(fault{Refuse: true}, fault{}, fault{Reject: record.ErrFull})
		if r := w.call("a", "add"); r == nil || !r.Moved || !r.Unsure {
			t.Errorf("answered %+v, want Moved and Unsure", r)
		}
		synctest.Wait()
		if n := number(w.call("a", "add")); n != 1 {
			t.Errorf("the next count is %d, want 1", n)
		}
	})
}

func TestWhileTheStoreIsFullOnlyWhatWritesIsRefused(t *testing.T) {
	for _, room := range []record.Room{record.Full, record.Stuck} {
		t.Run(room.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.own("a")
				w.call("a", "add")
				w.open("a", "s1", "g1")
				w.store.setRoom(room)
				for _, call := range []string{"add", "soon"} {
					if r := w.call("a", call); r == nil || r.Code != objects.StorageFull {
						t.Errorf("%s was answered %+v, want storage_full", call, r)
					}
				}
				if r := <-w.upgradeAt("a", "s2", "g1", "/?stored"); r == nil || r.Code != objects.StorageFull || number(w.call("a", "here")) != 1 {
					t.Errorf("a socket whose event writes was answered %+v, want storage_full, and the object sees it", r)
				}
				if r := w.call("a", "read"); number(r) != 1 {
					t.Errorf("a read shows %+v, want 1", r)
				}
				w.own("b") // claims go on
				if !w.frame("a", "s1", "g1", 1, wire.Closed) || w.room.told(sid("s1", "g1")) != 1 {
					t.Errorf("the end of a socket is not acknowledged, or was told %d times", w.room.told(sid("s1", "g1")))
				}
				if r := w.call("a", "wipe"); r == nil || r.Code != "" {
					t.Errorf("a delete was answered %+v", r)
				}
				if r := w.call("a", "read"); number(r) != 0 {
					t.Errorf("a read after the delete shows %+v, want 0", r)
				}
				w.store.setRoom(record.Free)
				if n := number(w.call("a", "add")); n != 1 {
					t.Errorf("with room again the count is %d, want 1", n)
				}
			})
		})
	}
}

// Each end of a socket and each socket that opened was part of a put, and each refused put ended the object: it was
// claimed fifteen times a second, and its sockets were closed.
func TestWhileTheStoreTakesNothingSocketsStayAndWhatNobodyRepeatsWaits(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("a")
		w.call("a", "add")
		w.open("a", "s1", "g1")
		w.open("a", "s2", "g1")
		w.open("a", "s3", "g2")
		w.beat(wire.Beat{Gateway: "g1", Region: "local"})
		w.beat(wire.Beat{Gateway: "g2", Region: "local"})
		w.call("a", "wake")
		token := w.in.find(id("a").Key()).mailbox.claimToken()
		w.store.setRoom(record.Exhausted)
		for what, r := range map[string]*wire.Reply{
			"a write": w.call("a", "add"), "a socket": <-w.upgrade("a", "s4", "g1"), "a wake-up": <-w.ask("a", &wire.Request{Kind: wire.Alarm}),
		} {
			if r == nil || r.Code != objects.StorageFull {
				t.Errorf("%s was answered %+v, want storage_full", what, r)
			}
		}
		if w.frame("a", "s1", "g1", 1, wire.Closed) || w.room.told(sid("s1", "g1")) != 0 || w.room.alarms() != 0 {
			t.Error("an end or an alarm was handled, and cannot be put")
		}
		if n := number(w.call("a", "here")); n != 3 {
			t.Errorf("the object sees %d sockets, want 3: one was refused", n)
		}
		w.beat(wire.Beat{Gateway: "g2", Region: "local", Bye: true})
		if !w.frame("a", "s2", "g1", 1, wire.Message) || number(w.call("a", "read")) != 1 {
			t.Error("what puts nothing does not go on")
		}
		for range 10 {
			w.beat(wire.Beat{Gateway: "g1", Region: "local"})
			time.Sleep(time.Second)
		}
		w.store.setRoom(record.Free)
		if !w.frame("a", "s1", "g1", 1, wire.Closed) || w.room.told(sid("s1", "g1")) != 1 {
			t.Errorf("with room again, the end that is sent again was told %d times", w.room.told(sid("s1", "g1")))
		}
		if r := <-w.ask("a", &wire.Request{Kind: wire.Alarm}); r == nil || r.Code != "" || w.room.alarms() != 1 {
			t.Errorf("with room again, the wake-up is answered %+v, after %d runs", r, w.room.alarms())
		}
		time.Sleep(2 * postponed)
		if n := w.room.told(sid("s3", "g2")); n != 1 {
			t.Errorf("with room again, the end with its gateway was told %d times", n)
		}
		if o := w.in.find(id("a").Key()); o == nil || o.mailbox.claimToken() != token {
			t.Error("the object was claimed anew")
		} else if n := w.listed("a"); n != 1 {
			t.Errorf("%d sockets are left, want one", n)
		}
	})
}

func TestWhatComesBeforeAReadWaitsWhileTheStoreTakesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("a")
		w.call("a", "add")
		w.open("a", "s1", "g1")
		token := w.in.find(id("a").Key()).mailbox.claimToken()
		w.room.fails(errors.New("not now"))
		for range 7 {
			w.beat(wire.Beat{Gateway: "g1", Region: "local"})
			time.Sleep(2 * time.Second) // the instance is dropped
		}
		w.beat(wire.Beat{Gateway: "g1", Region: "local", Bye: true}) // nobody can be told of the end
		time.Sleep(time.Second)
		w.store.setRoom(record.Exhausted)
		w.room.fails(nil)
		w.room.set(func(r *room) { r.writes = true })
		if r := w.call("a", "read"); r == nil || r.Code != objects.StorageFull {
			t.Errorf("a read whose constructor writes was answered %+v, want storage_full", r)
		}
		w.room.set(func(r *room) { r.writes = false })
		if r := w.call("a", "read"); number(r) != 1 || w.room.told(sid("s1", "g1")) != 0 {
			t.Errorf("a read was answered %+v, after %d ends", r, w.room.told(sid("s1", "g1")))
		}
		w.store.setRoom(record.Free)
		time.Sleep(time.Minute)
		if n := w.room.told(sid("s1", "g1")); n != 1 {
			t.Errorf("with room again, the end was told %d times", n)
		}
		if o := w.in.find(id("a").Key()); o == nil || o.mailbox.claimToken() != token {
			t.Error("the object was claimed anew")
		}
	})
}

// The claim of an object whose put was refused is a put, too: the object could not be read until there was room.
func TestAnObjectWhosePutWasRefusedIsReadWhileTheStoreTakesNothing(t *testing.T) {
	for adds := 1; adds <= 12; adds++ { // the claim's numbers have a digit more at some
		bubble(t, func(t *testing.T, w *world) {
			w.own("a")
			for range adds {
				w.call("a", "add")
			}
			w.store.setRoom(record.Exhausted)
			w.store.fail(fault{Reject: record.ErrFull})
			if r := w.call("a", "wipe"); r == nil || r.Code != objects.StorageFull {
				t.Errorf("after %d commits: %+v, want storage_full", adds, r)
			}
			w.own("a")
			if r := w.call("a", "read"); r == nil || r.Code != "" || number(r) != adds {
				t.Errorf("after %d commits: %+v", adds, r)
			}
			w.store.setRoom(record.Free)
			w.call("a", "add")
			if rec := w.store.record(id("a").Key()); rec.Host != "a" || rec.Region != w.in.cfg.Region {
				t.Errorf("the record names host %q in region %q", rec.Host, rec.Region)
			}
		})
	}
}

// Its sender waited two seconds in vain, and told all hosts that the owner was lost.
func TestWhoAsksAnOwnerWhosePutWasRefusedIsSentOnAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("a")
		w.call("a", "add")
		token := w.in.find(id("a").Key()).mailbox.claimToken()
		w.store.fail(fault{Reject: record.ErrFull}, fault{Slow: time.Second}) // the put, and the reading of the next claim
		if r := w.call("a", "add"); r == nil || r.Code != objects.StorageFull {
			t.Fatalf("answered %+v, want storage_full", r)
		}
		synctest.Wait() // the object is being claimed anew
		inbox := make(chan *nats.Msg, 1)
		if _, err := w.bus.Subscribe(wire.InboxPrefix+"g.77", "", inbox); err != nil {
			t.Fatal(err)
		}
		late := wire.Request{Kind: wire.Call, Call: "read", Body: []byte("{}"), Gateway: "g", N: 77, For: token}
		w.in.deliver(&nats.Msg{Subject: wire.ObjectSubject(id("a")), Reply: wire.InboxPrefix + "g.77", Data: wire.Encode(&late)}) // NATS had sent it already
		var r wire.Reply
		if err := wire.Decode((<-inbox).Data, &r); err != nil || !r.Moved || r.Unsure || r.Token != token {
			t.Errorf("before the next claim it is answered %+v, %v, want that the owner %d has not run it", r, err, token)
		}
	})
}

// A host that may not claim an object because its owner lives says whom to ask: the owner may have dropped the object.
func TestAHostThatRefusesAClaimNamesTheOwner(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("a")
		w.call("a", "add")
		other := newWorldOn(t, w.store, "other")
		defer other.end()
		other.in.live = func(_ context.Context, incarnation string) bool { return incarnation == "me" }
		if r := other.askHost(claimOf("a")); r.Owned || r.Owner != "me" || r.Where != w.in.cfg.Region || r.Other == "" {
			t.Errorf("answered %+v, want the owner me", r)
		}
	})
}

func TestADamagedRecordIsToldAtOnceReadOnceAndLeftAlone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		key := id("a").Key()
		w.store.entries[key] = memoryEntry{[]byte("no record"), 7}
		var refs []string
		for range 50 {
			r := <-w.claim("a")
			if r.Owned || r.Code != objects.Internal || r.Ref == "" {
				t.Fatalf("the claim was answered %+v, want internal with a reference", r)
			}
			refs = append(refs, r.Ref)
		}
		if w.store.reads != 1 || refs[49] != refs[0] || w.log.count(refs[0]) != 1 {
			t.Errorf("%d readings, %d lines of log; want one of each", w.store.reads, w.log.count(refs[0]))
		}
		time.Sleep(unreadableFor + time.Second)
		if r := <-w.claim("a"); r.Code != objects.Internal || r.Ref == refs[0] {
			t.Errorf("after a while it was answered %+v", r)
		}
		if e := w.store.entries[key]; string(e.value) != "no record" || e.revision != 7 {
			t.Errorf("the record is %s", e.value)
		}
		now := time.Now()
		for i := range 3 * maxUnreadable {
			_ = w.in.unreadable.add(fmt.Sprint(i), now)
		}
		if n := len(w.in.unreadable.last); n > maxUnreadable {
			t.Errorf("%d records are remembered", n)
		}
	})
}

// serverClock is a clock of a server that is ahead of the host. It wakes.
type serverClock struct {
	*memoryClock
	w     *world
	ahead time.Duration
	woken atomic.Int64
}

func (c *serverClock) Set(_ context.Context, _ string, at time.Time) error {
	time.AfterFunc(max(0, at.Sub(time.Now().Add(c.ahead))), func() {
		c.woken.Add(1)
		c.w.ask("a", &wire.Request{Kind: wire.Alarm})
	})
	return nil
}

func (c *serverClock) SetAgain(ctx context.Context, key string, at time.Time) error {
	return c.Set(ctx, key, alarm.Again(at, time.Now().Add(c.ahead)))
}

func TestAnAlarmThatFiresEarlyIsSetAgainAtMostOnceASecond(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		clock := &serverClock{memoryClock: newMemoryClock(), w: w, ahead: time.Hour}
		w.in.clock = clock
		w.own("a")
		w.call("a", "soon") // in 15 seconds, which by the server's clock is an hour ago
		time.Sleep(14 * time.Second)
		if n := clock.woken.Load(); n < 10 || n > 15 {
			t.Errorf("woken %d times in 14 s", n)
		}
		time.Sleep(3 * time.Second)
		w.room.mu.Lock()
		defer w.room.mu.Unlock()
		if w.room.alarmLeft == 0 {
			t.Error("the alarm has not run two seconds after it was due")
		}
	})
}

func TestTheLogSaysWhichRecordTheStoreRefused(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("a")
		w.store.fail(fault{Reject: record.ErrRefused})
		if r := w.call("a", "add"); r == nil || w.log.count(r.Ref) != 1 || !strings.Contains(w.log.b.String(), id("a").Key()) {
			t.Errorf("answered %+v, and the log has no word of it", r)
		}
	})
}
