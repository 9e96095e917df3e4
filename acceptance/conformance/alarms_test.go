package conformance

import (
	"sync/atomic"
	"time"

	"holdfast/objects"
)

// alarmCases are cases of docs/conformance.md about alarms, and about how long an instance lives.
var alarmCases = []aCase{
	{"54 an alarm runs once, never early", false, func(s *stage) {
		s.Parallel() // it waits
		ran := make(chan time.Duration, 10)
		s.alarm = func(tx *objects.Tx, info objects.AlarmInfo) error {
			if _, set := tx.Alarm(); set || info.Retry != 0 {
				s.Errorf("while it runs: set %v, retry %d", set, info.Retry)
			}
			ran <- tx.Now().Sub(info.Scheduled)
			return nil
		}
		for _, in := range []time.Duration{50 * time.Millisecond, 0, -time.Minute} {
			s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now().Add(in)) })
			s.eventually("the alarm has run", func() bool { return len(ran) > 0 })
			if late := <-ran; late < 0 {
				s.Errorf("in %v: it ran %v early", in, -late)
			}
			s.must(func(tx *objects.Tx) {
				if at, set := tx.Alarm(); set {
					s.Errorf("after it ran it is set for %v", at)
				}
			})
		}
		if len(ran) > 0 {
			s.Error("an alarm ran twice")
		}
	}},
	{"an alarm that fails runs again after 2 s and up to a quarter", false, func(s *stage) {
		s.Parallel() // it waits
		var at []time.Time
		retries := make(chan int, 10)
		s.alarm = func(tx *objects.Tx, info objects.AlarmInfo) error {
			at = append(at, tx.Now())
			retries <- info.Retry
			if info.Retry == 0 {
				note.Set(tx, "lost")
				return errOnPurpose
			}
			return nil
		}
		s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now()) })
		s.eventually("it ran twice", func() bool { return len(retries) == 2 })
		if a, b := <-retries, <-retries; a != 0 || b != 1 {
			s.Errorf("retries %d, %d", a, b)
		}
		_, exact := s.world.(model) // a live world is as late as its machine
		if waited := at[1].Sub(at[0]); waited < 2*time.Second || exact && waited > 4*time.Second {
			s.Errorf("tried again after %v", waited)
		}
		if s.stored() != "" {
			s.Errorf("stored %q", s.stored())
		}
	}},
	{"58 an alarm that was parked reads as none and can be set anew", true, func(s *stage) {
		var fail atomic.Bool
		fail.Store(true)
		tries := make(chan int, 100)
		s.alarm = func(_ *objects.Tx, info objects.AlarmInfo) error {
			tries <- info.Retry
			if fail.Load() {
				return errOnPurpose
			}
			return nil
		}
		s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now()) })
		s.eventually("it has failed", func() bool { return len(tries) > 0 })
		s.exhaust(s, s.self)
		last := func() (n int) {
			for n = -1; len(tries) > 0; {
				n = <-tries
			}
			return n
		}
		var n int
		s.eventually("it has failed for the last time", func() bool { n = max(n, last()); return n == 6 })
		fail.Store(false)
		s.must(func(tx *objects.Tx) {
			if at, set := tx.Alarm(); set {
				s.Errorf("a parked alarm is set for %v", at)
			}
			tx.SetAlarm(tx.Now())
		})
		s.eventually("the new one has run", func() bool { return len(tries) > 0 })
		if n := last(); n != 0 {
			s.Errorf("the new one is retry %d", n)
		}
	}},
	{"59 a refused commit is not the alarm's fault", false, func(s *stage) {
		s.Parallel() // it waits
		retries := make(chan int, 10)
		s.alarm = func(tx *objects.Tx, info objects.AlarmInfo) error {
			note.Set(tx, note.Get(tx)+"x")
			retries <- info.Retry
			return nil
		}
		s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now().Add(2 * time.Second)) }) // a machine may stand still for less
		s.refuse(s, s.self)
		s.pass(2 * time.Second)
		s.eventually("it has run twice", func() bool { return len(retries) == 2 })
		if a, b := <-retries, <-retries; a != 0 || b != 0 {
			s.Errorf("retries %d, %d, want none", a, b)
		}
		s.eventually("it has committed", func() bool { return s.stored() == "x" })
	}},
	{"55 the alarm that is set last wins", false, func(s *stage) {
		var first, last time.Time
		s.must(func(tx *objects.Tx) {
			first, last = tx.Now().Add(time.Hour).Truncate(time.Millisecond), tx.Now().Add(2*time.Hour).Truncate(time.Millisecond)
			tx.SetAlarm(last)
			tx.SetAlarm(first)
			if at, set := tx.Alarm(); !set || !at.Equal(first) {
				s.Errorf("in its event: %v, %t, want %v", at, set, first)
			}
		})
		for _, want := range []time.Time{first, last} {
			s.must(func(tx *objects.Tx) {
				if at, set := tx.Alarm(); !set || !at.Equal(want) {
					s.Errorf("%v, %t, want %v", at, set, want)
				}
				tx.SetAlarm(last)
			})
		}
	}},
	{"57 an alarm is cleared by success, and kept if it is set anew", false, func(s *stage) {
		ran := make(chan bool, 10)
		s.alarm = func(tx *objects.Tx, _ objects.AlarmInfo) error {
			if len(ran) == 0 {
				tx.SetAlarm(tx.Now())
			}
			ran <- true
			return nil
		}
		s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now()) })
		s.eventually("it has run twice", func() bool { return len(ran) == 2 })
		s.eventually("it is cleared", func() bool {
			cleared := false
			s.must(func(tx *objects.Tx) { _, set := tx.Alarm(); cleared = !set })
			return cleared
		})
		if len(ran) != 2 {
			s.Errorf("it ran %d times, want twice", len(ran))
		}
	}},
	{"61 an alarm that fell due while nobody ran the object runs at once", false, func(s *stage) {
		ran := make(chan time.Duration, 10)
		s.alarm = func(tx *objects.Tx, info objects.AlarmInfo) error { ran <- tx.Now().Sub(info.Scheduled); return nil }
		s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now().Add(200 * time.Millisecond)) })
		s.away(s, s.self, 500*time.Millisecond)
		s.eventually("it has run", func() bool { return len(ran) > 0 })
		if late := <-ran; late < 0 {
			s.Errorf("it ran %v early", -late)
		}
	}},
	{"62 a wake-up that comes before the alarm is due runs nothing", false, func(s *stage) {
		ran := make(chan bool, 10)
		s.alarm = func(*objects.Tx, objects.AlarmInfo) error { ran <- true; return nil }
		before := 0
		s.eventually("an alarm is moved before it is due", func() bool {
			s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now().Add(100 * time.Millisecond)) })
			was := before
			s.must(func(tx *objects.Tx) { before = len(ran); tx.SetAlarm(tx.Now().Add(time.Hour)) })
			return before == was
		})
		s.pass(400 * time.Millisecond)
		if s.must(func(*objects.Tx) {}); len(ran) != before {
			s.Errorf("it ran %d times, %d of them before it was moved", len(ran), before)
		}
	}},
	{"63 an alarm that is moved runs at its new time", false, func(s *stage) {
		s.Parallel() // it waits
		ran := make(chan time.Duration, 10)
		var at time.Time
		s.alarm = func(tx *objects.Tx, _ objects.AlarmInfo) error { ran <- tx.Now().Sub(at); return nil }
		s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now().Add(time.Hour)) })
		s.must(func(tx *objects.Tx) { at = tx.Now().Add(100 * time.Millisecond); tx.SetAlarm(at) })
		s.eventually("the earlier one has run", func() bool { return len(ran) == 1 })
		s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now().Add(100 * time.Millisecond)) })
		s.must(func(tx *objects.Tx) { at = tx.Now().Add(500 * time.Millisecond); tx.SetAlarm(at) })
		s.eventually("the later one has run", func() bool { return len(ran) == 2 })
		for range 2 {
			if late := <-ran; late < 0 {
				s.Errorf("it ran %v early", -late)
			}
		}
	}},
	{"66 a transaction that is rolled back leaves the alarm as it was", false, func(s *stage) {
		var was time.Time
		s.must(func(tx *objects.Tx) { was = tx.Now().Add(time.Hour).Truncate(time.Millisecond); tx.SetAlarm(was) })
		s.must(func(tx *objects.Tx) {
			for _, change := range []func(){func() { tx.SetAlarm(tx.Now()) }, tx.DeleteAlarm} {
				_ = tx.Transact(func() error { change(); return errOnPurpose })
				if at, set := tx.Alarm(); !set || !at.Equal(was) {
					s.Errorf("it is %v, %t, want %v", at, set, was)
				}
			}
		})
	}},
	{"67 a class without an alarm cannot set one", false, func(s *stage) {
		s.self = s.Object(mutes, s.self.Name())
		s.fails(objects.Internal, func(tx *objects.Tx) error {
			note.Set(tx, "lost")
			tx.SetAlarm(tx.Now())
			return nil
		})
		if got := s.stored(); got != "" {
			s.Errorf("stored %q", got)
		}
	}},
	{"69 an instance can be kept for ever", false, func(s *stage) {
		s.Parallel() // it waits
		s.self = s.Object(wakefuls, s.self.Name())
		s.must(func(*objects.Tx) {})
		s.pass(700 * time.Millisecond) // longer than its host lets any other object of its own sleep
		if s.must(func(*objects.Tx) {}); s.constructed() != 1 {
			s.Errorf("%d instances, want one", s.constructed())
		}
	}},
	{"70 what runs beside events keeps the instance, and comes back by a call", true, func(s *stage) {
		s.must(func(*objects.Tx) {})
		made, end := s.constructed(), make(chan bool)
		s.must(func(tx *objects.Tx) {
			note.Set(tx, "begun ")
			tx.Go(func(t *objects.Task) error {
				<-end
				_, err := calls[sleepers].hear.Do(t, t.Self(), "ended")
				return err
			})
		})
		s.pass(300 * time.Millisecond) // longer than a live sleeper stays awake
		end <- true
		s.eventually("it has come back", func() bool { return s.stored() == "begun ended" })
		if _, real := s.world.(*live); real && s.constructed() > made+1 {
			s.Errorf("%d instances more, want the one that waited", s.constructed()-made)
		}
	}},
	{"72 an eviction waits for the event that runs", false, func(s *stage) {
		s.must(func(*objects.Tx) {})
		runs, entered, end := 0, make(chan bool), make(chan bool)
		answered := make(chan error, 1)
		go func() {
			_, err := s.do(func(tx *objects.Tx) (string, error) {
				runs++
				note.Set(tx, note.Get(tx)+"x")
				entered <- true
				<-end
				return "", nil
			})
			answered <- err
		}()
		<-entered
		moved := make(chan bool)
		go func() {
			defer close(moved)
			s.move(s, s.self)
		}()
		end <- true
		if err := <-answered; err != nil {
			s.Error(err)
		}
		<-moved
		if got := s.stored(); got != "x" || runs != 1 {
			s.Errorf("stored %q after %d runs", got, runs)
		}
	}},
}
