package host

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// saver counts its events in memory, and saves the count when it sleeps.
type saver struct{ n int }

const saverClass objects.Class = "saver"

var (
	saved     = objects.NewKey[int]("saved")
	countCall = objects.NewCall[objects.None, int](saverClass, "count")
	sleepErr  atomic.Pointer[error] // what Sleep returns
	savers    = objects.Implement(saverClass, func(tx *objects.Tx) *saver { return &saver{saved.Get(tx)} }, objects.On(countCall, (*saver).count))
)

func (s *saver) count(*objects.Tx, objects.None) (int, error) {
	s.n++
	return s.n, nil
}

func (s *saver) Sleep(tx *objects.Tx) error {
	saved.Set(tx, s.n)
	if err := sleepErr.Load(); err != nil {
		return *err
	}
	return nil
}

// saverWorld is a world with an object of this class, which has counted to 1.
func saverWorld(t *testing.T, s objects.Settings, fn func(w *world, o *object, count func() int)) {
	synctest.Test(t, func(t *testing.T) {
		sleepErr.Store(nil)
		w := newWorld(t, func(cfg *Config) { cfg.Objects = []*objects.Implementation{savers.With(s)} })
		id, err := saverClass.ID("a")
		if err != nil {
			t.Fatal(err)
		}
		answer := make(chan wire.ClaimReply, 1)
		o := w.in.object(wire.Address{ID: id, Name: "a"}, w.in.classes[string(saverClass)])
		if o.claim(func(r wire.ClaimReply) { answer <- r }); !(<-answer).Owned {
			t.Fatal("not claimed")
		}
		count := func() int {
			return number(<-w.askOf(id, &wire.Request{Kind: wire.Call, Call: "count", Body: []byte("{}")}))
		}
		if n := count(); n != 1 {
			t.Fatalf("counted %d, want 1", n)
		}
		fn(w, o, count)
		if _, err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func (o *object) isAwake() bool {
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.memory.instance != nil
}

func TestAnIdleInstanceSavesWhatItHasBeforeItIsDropped(t *testing.T) {
	saverWorld(t, objects.Settings{}, func(w *world, o *object, count func() int) {
		time.Sleep(9 * time.Second)
		if !o.isAwake() {
			t.Error("it sleeps after 9 s")
		}
		time.Sleep(6 * time.Second)
		if o.isAwake() {
			t.Error("it is awake after 15 s")
		}
		if n := count(); n != 2 {
			t.Errorf("counted %d, want it to go on from 1", n)
		}
	})
}

// A host has many objects that sleep. The allocator adds 8 bytes; its next size is 64 more.
func TestASleepingObjectTakesNoMoreThan640BytesItself(t *testing.T) {
	if size := unsafe.Sizeof(object{}); size > 640-8 {
		t.Errorf("an object takes %d bytes", size)
	}
	saverWorld(t, objects.Settings{}, func(_ *world, o *object, _ func() int) {
		time.Sleep(time.Minute)
		if o.isAwake() {
			t.Error("it is awake after a minute")
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.waiters != nil {
			t.Errorf("it keeps %+v, though nobody waits", *o.waiters)
		}
		if o.sockets != nil {
			t.Errorf("it keeps %+v, though it never had a socket", *o.sockets)
		}
	})
}

// An answer is kept as long as a copy of its request may arrive. A sleeping object kept its last answers until the next put.
func TestASleepingObjectForgetsAnswersThatNobodyAsksForAnyMore(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("counter")
		add := func() int {
			return number(<-w.ask("counter", &wire.Request{Kind: wire.Call, Call: "add", Body: []byte("{}")}))
		}
		o := w.in.find(id("counter").Key())
		kept := func() int {
			synctest.Wait()
			o.mu.Lock()
			defer o.mu.Unlock()
			return cap(o.memory.answers.kept)
		}
		if n := add(); n != 1 {
			t.Fatalf("counted %d, want 1", n)
		}
		time.Sleep(w.in.keepAnswers() - time.Second)
		if n := kept(); n == 0 || o.isAwake() {
			t.Errorf("%d answers are kept, awake %v; want the last one to be kept, asleep", n, o.isAwake())
		}
		time.Sleep(10 * time.Second)
		if n := kept(); n != 0 || w.in.find(o.id.Key()) != o {
			t.Errorf("%d answers are kept that are older than any copy", n)
		}
		if n := add(); n != 2 {
			t.Errorf("counted %d, want it to go on from 1", n)
		}
	})
}

func TestAnInstanceSavesWhatItHasWhenItsHostStops(t *testing.T) {
	saverWorld(t, objects.Settings{Hibernate: -1}, func(w *world, o *object, count func() int) {
		count()
		w.lose(nil)
		err := <-w.done
		w.done <- err
		rec := w.store.record(o.id.Key())
		if value, _ := rec.Data.Get("saved"); string(value) != "2" || rec.Owner != "" {
			t.Errorf("the record has %s, owner %q, want 2 and none", value, rec.Owner)
		}
	})
}

func TestAnInstanceThatCannotSaveIsDroppedAllTheSame(t *testing.T) {
	saverWorld(t, objects.Settings{}, func(w *world, o *object, count func() int) {
		err := errors.New("on purpose")
		sleepErr.Store(&err)
		time.Sleep(15 * time.Second)
		if o.isAwake() || w.log.count("on purpose") == 0 {
			t.Error("it is awake, or nobody was told")
		}
		if n := count(); n != 1 {
			t.Errorf("counted %d, want it to begin anew", n)
		}
	})
}

func TestAClassHasTimesOfItsOwn(t *testing.T) {
	saverWorld(t, objects.Settings{Hibernate: time.Second, Evict: 20 * time.Second}, func(w *world, o *object, count func() int) {
		time.Sleep(2500 * time.Millisecond)
		if o.isAwake() {
			t.Error("it is awake after 2.5 s, want it to sleep after one")
		}
		count()
		time.Sleep(30 * time.Second)
		if w.in.find(o.id.Key()) != nil {
			t.Error("it is here after 30 s, want it released after 20")
		}
	})
	saverWorld(t, objects.Settings{Hibernate: -1, Evict: time.Hour}, func(w *world, o *object, count func() int) {
		time.Sleep(50 * time.Minute)
		if !o.isAwake() {
			t.Error("it sleeps, want it never to")
		}
		time.Sleep(20 * time.Minute)
		if w.in.find(o.id.Key()) != nil {
			t.Error("it is here after 70 min, want it released after an hour")
		}
	})
}
