package host

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"holdfast/internal/wire"
	"holdfast/objects/host/internal/record"
)

// step is one move of a schedule.
type step struct {
	Do     string
	Object int
	Fault  fault
	Wait   time.Duration
}

var moves = []string{"add", "add", "add", "claim", "drain", "fault", "slow flush", "fast flush", "bye", "open", "send", "close", "lapse", "lease lapses", "lease resumes", "lost add", "wait", "idle"}

// TestWhateverHappensEveryObjectIsReachableAfterwardsAndCountsOnce draws what happens
// to a host, lets it happen in a bubble, and judges what has come of it outside.
func TestWhateverHappensEveryObjectIsReachableAfterwardsAndCountsOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		schedule := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{
				Do:     rapid.SampledFrom(moves).Draw(rt, "do"),
				Object: rapid.IntRange(0, 2).Draw(rt, "object"),
				Fault: fault{
					Slow:   time.Duration(rapid.IntRange(0, 3000).Draw(rt, "slow")) * time.Millisecond,
					Refuse: rapid.Bool().Draw(rt, "refuse"), LoseAck: rapid.Bool().Draw(rt, "lose"), Late: rapid.Bool().Draw(rt, "late"),
					Reject: rapid.SampledFrom([]error{nil, nil, record.ErrFull, record.ErrRefused}).Draw(rt, "reject"),
				},
				Wait: time.Duration(rapid.IntRange(0, 5000).Draw(rt, "wait")) * time.Millisecond,
			}
		}), 1, 25).Draw(rt, "schedule")
		for _, complaint := range play(t, schedule) {
			rt.Error(complaint)
		}
	})
}

// play runs a schedule, and returns what is wrong with the result.
func play(t *testing.T, schedule []step) (wrong []string) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var adds []chan *wire.Reply
		frames := make(map[int]uint64)
		opened := make(map[int]bool)
		for i := range 3 {
			w.own(fmt.Sprint(i))
		}
		for _, s := range schedule {
			name := fmt.Sprint(s.Object)
			socket := "s" + name
			switch s.Do {
			case "add":
				if s.Object == 0 {
					adds = append(adds, w.ask(name, &wire.Request{Kind: wire.Call, Call: "add", Body: []byte("{}")}))
				}
			case "claim":
				w.claim(name)
			case "drain":
				if o := w.in.find(id(name).Key()); o != nil {
					w.in.tasks.Go(func() { w.in.evictNow(o) })
				}
			case "fault":
				w.store.fail(s.Fault)
			case "slow flush":
				w.bus.setFlush(s.Wait)
			case "fast flush":
				w.bus.setFlush(0)
			case "bye":
				w.beat(wire.Beat{Gateway: "g1", Bye: true})
			case "open":
				if !opened[s.Object] {
					opened[s.Object] = true
					w.upgrade(name, socket, "g1")
				}
			case "send", "close":
				kind := wire.Message
				if s.Do == "close" {
					kind = wire.Closed
				}
				frames[s.Object]++
				w.tell(name, &wire.Request{Kind: kind, Socket: sid(socket, "g1"), Gateway: "g1", Seq: frames[s.Object]})
			case "lapse":
				if o := w.in.find(id(name).Key()); o != nil {
					o.lapse()
				}
			case "lease lapses":
				w.lease.lapse()
			case "lease resumes":
				w.lease.resume()
			case "lost add": // its put does not land, and the lease is lost
				w.store.fail(fault{Slow: time.Second, Refuse: true})
				adds = append(adds, w.ask("0", &wire.Request{Kind: wire.Call, Call: "add", Body: []byte("{}")}))
				synctest.Wait()
				if o := w.in.find(id("0").Key()); o != nil {
					o.lapse()
				}
			case "wait":
				time.Sleep(s.Wait)
			case "idle":
				time.Sleep(w.in.timing.Evict)
			}
			if s.Wait%2 == 0 {
				synctest.Wait()
			}
		}
		// From here on nothing fails.
		w.lease.resume()
		w.bus.setFlush(0)
		w.store.mu.Lock()
		w.store.faults = nil
		w.store.mu.Unlock()
		time.Sleep(time.Minute)
		acknowledged := 0
		highest := 0
		for _, add := range adds {
			if r := <-add; r != nil && !r.Moved && r.Code == "" {
				acknowledged++
				highest = max(highest, number(r))
			}
		}
		if highest > len(adds) || highest < acknowledged {
			wrong = append(wrong, fmt.Sprintf("%d additions were asked for and %d acknowledged, the highest number is %d", len(adds), acknowledged, highest))
		}
		for i := range 3 {
			if r := <-w.claim(fmt.Sprint(i)); !r.Owned {
				wrong = append(wrong, fmt.Sprintf("object %d cannot be claimed: %+v", i, r))
				continue
			}
			r := w.call(fmt.Sprint(i), "add")
			if n := number(r); n < 1 || i == 0 && n <= highest {
				wrong = append(wrong, fmt.Sprintf("object %d answered %+v (%d), and %d before", i, r, n, highest))
			}
		}
		if n := w.metric("holdfast_host_objects", ""); n != 3 {
			wrong = append(wrong, fmt.Sprintf("the gauge says %v objects, want 3", n))
		}
		if w.log.count("object dropped") > 0 {
			wrong = append(wrong, "the host panicked")
		}
		// An event whose put did not land had no effect: its handler runs again.
		again := 0
		for _, s := range schedule {
			if s.Do == "fault" || s.Do == "lapse" || s.Do == "lost add" {
				again++
			}
		}
		if n := w.room.told(sid("s0", "g1")); n > 1+again {
			wrong = append(wrong, fmt.Sprintf("the end of a socket was told %d times, and %d puts may not have landed", n, again))
		}
		if took, err := w.stop(); err != nil || took > time.Second {
			wrong = append(wrong, fmt.Sprintf("the stop took %v: %v", took, err))
		}
		for _, gauge := range []string{"holdfast_host_objects", "holdfast_host_awake"} {
			if n := w.metric(gauge, ""); n != 0 {
				wrong = append(wrong, fmt.Sprintf("%s = %v at the end, want 0", gauge, n))
			}
		}
	})
	return wrong
}
