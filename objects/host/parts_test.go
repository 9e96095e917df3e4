package host

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
)

// chest is an object that stores as much as requested.
type chest struct{}

const chestClass objects.Class = "chest"

// load is a change of a chest: Keys keys from the first on get values of Size bytes that begin with Mark. Size 0 deletes.
type load struct {
	First, Keys, Size int
	Mark              string
}

var (
	things    = objects.NewMap[string, string]("thing")
	loadCall  = objects.NewCall[load, objects.None](chestClass, "load")
	tallyCall = objects.NewCall[string, int](chestClass, "count")
	thingCall = objects.NewCall[int, string](chestClass, "thing")
	chests    = objects.Implement(chestClass, objects.New[chest],
		objects.On(loadCall, (*chest).load), objects.On(tallyCall, (*chest).count), objects.On(thingCall, (*chest).thing))
)

func thing(n int) string { return fmt.Sprintf("%05d", n) }

func (c *chest) load(tx *objects.Tx, l load) (objects.None, error) {
	for n := l.First; n < l.First+l.Keys; n++ {
		if l.Size == 0 {
			things.Delete(tx, thing(n))
			continue
		}
		things.Set(tx, thing(n), l.Mark+incompressible(l.Size))
	}
	return nil, nil
}

// count returns how many values begin with a mark.
func (c *chest) count(tx *objects.Tx, mark string) (n int, _ error) {
	for _, v := range things.All(tx) {
		if strings.HasPrefix(v, mark) {
			n++
		}
	}
	return n, nil
}

// thing returns the first byte of one.
func (c *chest) thing(tx *objects.Tx, n int) (string, error) {
	if v := things.Get(tx, thing(n)); v != "" {
		return v[:1], nil
	}
	return "", nil
}

// chestWorld is a world with one chest.
type chestWorld struct {
	*world
	id objects.ID
}

func newChestWorld(t *testing.T, store *memoryStore, incarnation string) *chestWorld {
	id, err := chestClass.ID("c")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldOn(t, store, incarnation, func(c *Config) { c.Objects = append(c.Objects, chests) })
	w.n = 1000 * store.revision // requests of the gateway have had lower numbers
	return &chestWorld{w, id}
}

// end stops the world in order.
func (w *chestWorld) end() {
	w.t.Helper()
	if _, err := w.stop(); err != nil {
		w.t.Error(err)
	}
}

func (w *chestWorld) claim() wire.ClaimReply {
	answer := make(chan wire.ClaimReply, 1)
	for range 10 {
		o := w.in.object(wire.Address{ID: w.id, Name: "c"}, w.in.classes[string(chestClass)])
		if o.claim(func(r wire.ClaimReply) { answer <- r }) {
			return <-answer
		}
		synctest.Wait() // it is about to be gone, and its place is new then
	}
	return wire.ClaimReply{}
}

func (w *chestWorld) own() {
	w.t.Helper()
	if reply := w.claim(); !reply.Owned {
		w.t.Fatalf("claim: %+v", reply)
	}
}

func (w *chestWorld) do(call string, in any) *wire.Reply {
	body, err := json.Marshal(in)
	if err != nil {
		panic(err)
	}
	return <-w.askOf(w.id, &wire.Request{Kind: wire.Call, Call: call, Body: body, Low: w.n + 1})
}

// must is do for calls that have to succeed.
func (w *chestWorld) must(call string, in any) string {
	w.t.Helper()
	r := w.do(call, in)
	if r == nil || r.Err() != nil || r.Moved {
		w.end()
		w.t.Fatalf("%s %v: %+v\n%s", call, in, r, w.log.b.String())
	}
	synctest.Wait()
	return string(r.Body)
}

func (w *chestWorld) wants(mark string, n int) {
	w.t.Helper()
	if got := w.must("count", mark); got != fmt.Sprint(n) {
		w.t.Errorf("%s things begin with %q, want %d", got, mark, n)
	}
}

func (w *chestWorld) record() *record.Record { return w.store.record(w.id.Key()) }

func (w *chestWorld) parts() int {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return len(w.store.parts[w.id.Key()])
}

func (w *chestWorld) headSize() int {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return len(w.store.entries[w.id.Key()].value)
}

func (w *chestWorld) release() {
	w.in.evictNow(w.in.find(w.id.Key()))
	<-w.in.object(wire.Address{ID: w.id, Name: "c"}, w.in.classes[string(chestClass)]).awaitGoneIfClaimed()
}

// awaitGoneIfClaimed returns a channel that is closed already if nobody has claimed the object.
func (o *object) awaitGoneIfClaimed() <-chan struct{} {
	if stage, _, _ := o.mailbox.activity(); stage == claiming {
		done := make(chan struct{})
		close(done)
		return done
	}
	return o.awaitGone()
}

func TestAnObjectThatHasOutgrownItsRecordIsFoundByTheNextOwner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		w := newChestWorld(t, store, "first")
		w.own()
		for i := range 40 {
			w.must("load", load{First: 50 * i, Keys: 50, Size: 400, Mark: "a"})
		}
		w.must("load", load{First: 100, Keys: 10, Size: 100_000, Mark: "b"})
		for i := range 300 {
			w.must("load", load{First: 7 * i, Keys: 1, Size: 100, Mark: "c"})
		}
		w.must("load", load{First: 0, Keys: 7})
		time.Sleep(20 * time.Second) // merges are paced
		if size := w.headSize(); size > 12<<10 {
			t.Errorf("the record has %d bytes", size)
		}
		count := func(w *chestWorld) (n [3]string) {
			for i, mark := range []string{"a", "b", "c"} {
				n[i] = w.must("count", mark)
			}
			return n
		}
		before := count(w)
		w.crash()
		w = newChestWorld(t, store, "second")
		w.own()
		if after := count(w); after != before || after[2] == "0" || after[1] == "0" {
			t.Errorf("there are %v things after a crash, want %v", after, before)
		}
		w.must("load", load{First: 3000, Keys: 100, Size: 400, Mark: "d"})
		before = count(w)
		if _, err := w.stop(); err != nil {
			t.Fatal(err)
		}
		w = newChestWorld(t, store, "third")
		w.own()
		if after := count(w); after != before {
			t.Errorf("there are %v things after a release, want %v", after, before)
		}
		w.wants("d", 100)
		w.end()
	})
}

func TestASmallObjectIsNothingButItsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChestWorld(t, newMemoryStore(), "me")
		w.own()
		for i := range 100 {
			w.must("load", load{First: i % 10, Keys: 1, Size: 1400, Mark: "a"})
		}
		if rec := w.record(); rec.Parts != nil || w.parts() > 0 {
			t.Errorf("%d keys of 1.4 kB have %+v and %d parts", rec.Data.Len(), rec.Parts, w.parts())
		}
		w.end()
	})
}

// Whatever happens to the puts of parts, a commit happens or does not.
func TestACommitWhosePartsAreInDoubtHappensOnce(t *testing.T) {
	for name, faults := range map[string][]fault{
		"the part is not put":                        {{Refuse: true}},
		"its answer is lost":                         {{LoseAck: true}},
		"its answer is lost twice":                   {{LoseAck: true}, {}, {LoseAck: true}},
		"the record is not put":                      {{}, {Refuse: true}},
		"the answer of the record is lost":           {{}, {LoseAck: true}},
		"the part, then the answer of the record":    {{Refuse: true}, {}, {}, {LoseAck: true}},
		"the part, then the question for the record": {{Refuse: true}, {Refuse: true}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newChestWorld(t, newMemoryStore(), "me")
				w.own()
				w.must("load", load{First: 0, Keys: 30, Size: 100, Mark: "a"})
				w.store.fail(faults...)
				w.must("load", load{First: 10, Keys: 30, Size: 1000, Mark: "b"})
				w.wants("a", 10)
				w.wants("b", 30)
				w.crash()
				again := newChestWorld(t, w.store, "again")
				again.own()
				again.wants("a", 10)
				again.wants("b", 30)
				again.end()
			})
		})
	}
}

func TestAnEventWhosePartsTheStoreRefusesDidNotHappen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChestWorld(t, newMemoryStore(), "me")
		w.own()
		w.must("load", load{First: 0, Keys: 30, Size: 1000, Mark: "a"})
		w.store.fail(fault{Reject: record.ErrFull})
		if r := w.do("load", load{First: 0, Keys: 30, Size: 1000, Mark: "b"}); r == nil || r.Code != objects.StorageFull {
			t.Fatalf("answered %+v, want storage_full", r)
		}
		synctest.Wait()
		w.own()
		w.wants("a", 30)
		w.wants("b", 0)
		w.end()
	})
}

func TestAReadThatTheStoreDoesNotAnswerFailsItsEventAndNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		w := newChestWorld(t, store, "first")
		w.own()
		for i := range 30 {
			w.must("load", load{First: 50 * i, Keys: 50, Size: 1000, Mark: "a"})
		}
		time.Sleep(20 * time.Second) // merges are paced
		w.crash()
		w = newChestWorld(t, store, "second")
		w.own()
		store.fail(fault{Refuse: true}, fault{Refuse: true}, fault{Refuse: true}, fault{Refuse: true})
		if r := w.do("thing", 700); r == nil || r.Code != objects.Unavailable {
			t.Errorf("answered %+v, want unavailable", r)
		}
		store.mu.Lock()
		store.faults = nil
		store.mu.Unlock()
		if got := w.must("thing", 700); got != `"a"` {
			t.Errorf("thing = %s", got)
		}
		w.wants("a", 1500)
		w.end()
	})
}

func TestAnObjectWithAMissingPartIsNotServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		w := newChestWorld(t, store, "first")
		w.own()
		w.must("load", load{First: 0, Keys: 30, Size: 1000, Mark: "a"})
		w.crash()
		clear(store.parts[w.id.Key()])
		before := w.headSize()
		w = newChestWorld(t, store, "second")
		if reply := w.claim(); reply.Owned || reply.Code != objects.Internal || reply.Ref == "" {
			t.Errorf("the claim was answered %+v, want internal and a reference", reply)
		}
		if w.headSize() != before {
			t.Error("the record was put over")
		}
		w.end()
	})
}

// While a host cannot read records with parts, an object has to fit into one record.
func TestNoPartsAreWrittenUntilEveryHostReadsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChestWorld(t, newMemoryStore(), "me")
		wide := false
		w.in.wide = func() bool { return wide }
		w.own()
		w.must("load", load{First: 0, Keys: 100, Size: 4000, Mark: "a"})
		if w.record().Parts != nil || w.parts() > 0 {
			t.Error("there are parts")
		}
		if r := w.do("load", load{First: 100, Keys: 40, Size: 4000, Mark: "a"}); r == nil || r.Code != objects.TooLarge {
			t.Errorf("answered %+v, want too_large", r)
		}
		synctest.Wait()
		wide = true
		w.must("load", load{First: 100, Keys: 40, Size: 4000, Mark: "a"})
		w.wants("a", 140)
		if w.record().Parts == nil || w.headSize() > 12<<10 {
			t.Errorf("the record has %d bytes", w.headSize())
		}
		w.end()
	})
}

// An object that is small again becomes nothing but its record, and one that is empty leaves nothing at all.
func TestWhatWasLargeLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newChestWorld(t, newMemoryStore(), "me")
		w.own()
		w.must("load", load{First: 0, Keys: 200, Size: 1000, Mark: "a"})
		w.must("load", load{First: 5, Keys: 195})
		w.release()
		if rec := w.record(); rec.Data.Len() != 5 {
			t.Errorf("the record has %d keys, want 5", rec.Data.Len())
		}
		w.own()
		w.wants("a", 5)
		time.Sleep(purgeAfter + time.Second)
		w.must("load", load{First: 0, Keys: 5})
		time.Sleep(11 * time.Minute) // no answer is waited for any more
		w.own()
		w.release()
		if n := w.parts(); n > 0 {
			t.Errorf("%d parts are left", n)
		}
		if rec := w.record(); rec != nil {
			t.Errorf("a record is left: %+v", rec)
		}
		w.end()
	})
}

// What an object has replaced is kept for a while. When the store is full it goes at once, though the object does nothing.
func TestAFullStoreIsRidOfWhatIdleObjectsHaveReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		w := newChestWorld(t, store, "me")
		w.own()
		w.must("load", load{First: 0, Keys: 200, Size: 1000, Mark: "a"})
		w.must("load", load{First: 5, Keys: 195})
		time.Sleep(10 * time.Second)
		before := w.parts()
		store.setRoom(record.Full)
		time.Sleep(10 * time.Second)
		if after := w.parts(); before == 0 || after >= before {
			t.Errorf("%d parts before the store was full, and %d since", before, after)
		}
		w.wants("a", 5)
		w.end()
	})
}

// Many objects have a merge due at the same time. Their host merges two at a time, and all are merged in the end.
func TestAHostMergesTwoObjectsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 6
		store := newMemoryStore()
		var mu sync.Mutex // guards what follows
		working, most, ended := 0, 0, 0
		slow := make(chan struct{})
		store.putting = func(data []byte) {
			if data[0] != 'M' { // only merges put manifests
				return
			}
			mu.Lock()
			working++
			most = max(most, working)
			mu.Unlock()
			<-slow
			mu.Lock()
			working--
			ended++
			mu.Unlock()
		}
		w := newChestWorld(t, store, "me")
		for i := range many {
			id, err := chestClass.ID(fmt.Sprint("c", i))
			if err != nil {
				t.Fatal(err)
			}
			if !w.in.object(wire.Address{ID: id}, w.in.classes[string(chestClass)]).claim(func(wire.ClaimReply) {}) {
				t.Fatal("not claimed")
			}
			synctest.Wait()
			w.id = id
			w.must("load", load{First: 0, Keys: 600, Size: 1000, Mark: "a"}) // more than runs may have
		}
		mu.Lock()
		if working != merges || ended != 0 {
			t.Errorf("%d merges are under way and %d have ended, want %d and none", working, ended, merges)
		}
		mu.Unlock()
		close(slow)
		time.Sleep(time.Minute) // merges are paced
		mu.Lock()
		defer mu.Unlock()
		if most != merges || ended < many {
			t.Errorf("%d merges at a time and %d in all, want %d and at least %d", most, ended, merges, many)
		}
		w.end()
	})
}

// The host dies when it has put parts and not yet the record that names them.
func TestPartsThatNoRecordNamesAreCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		w := newChestWorld(t, store, "first")
		w.own()
		w.must("load", load{First: 0, Keys: 30, Size: 1000, Mark: "a"})
		store.mu.Lock()
		store.entries["table.other"] = memoryEntry{}
		store.parts[w.id.Key()][state.Name{Token: 1, Number: 900}] = []byte("what a dead owner has put")
		store.mu.Unlock()
		w.crash()
		w = newChestWorld(t, store, "second")
		w.own()
		before := w.parts()
		w.must("load", load{First: 0, Keys: 30, Size: 1000, Mark: "b"})
		if n := w.parts(); n > before {
			t.Errorf("%d parts, %d before another run was put: the orphan is still there", n, before)
		}
		w.wants("b", 30)
		w.end()
	})
}

// An object that remembers the answers to 256 clients' keys puts no more of them than what is new, and the next owner knows
// them all.
func TestAnswersToManyKeysAreNotPutWithEveryCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		w := newChestWorld(t, store, "first")
		ask := func(w *chestWorld, key string, first int) *wire.Reply {
			w.t.Helper()
			body, err := json.Marshal(load{First: first, Keys: 1, Size: 100, Mark: "a"})
			if err != nil {
				t.Fatal(err)
			}
			r := <-w.askOf(w.id, &wire.Request{Kind: wire.Call, Call: "load", Body: body, Key: key, Low: w.n + 1})
			if r == nil || r.Moved {
				w.end()
				t.Fatalf("%s: %+v", key, r)
			}
			synctest.Wait()
			return r
		}
		w.own()
		for i := range 250 {
			if r := ask(w, fmt.Sprintf("%032x.%032x", i%10, i), i); r.Err() != nil {
				t.Fatal(r.Err())
			}
		}
		if rec := w.record(); len(rec.Answers) > 1 || rec.Parts == nil || w.headSize() > 12<<10 {
			t.Errorf("the record has %d answers in %d bytes", len(rec.Answers), w.headSize())
		}
		w.crash()
		w = newChestWorld(t, store, "second")
		w.own()
		for _, i := range []int{0, 60, 150, 249} {
			if r := ask(w, fmt.Sprintf("%032x.%032x", i%10, i), i+1); r.Code != objects.Conflict {
				t.Errorf("key %d with another input is answered %+v, want conflict", i, r)
			}
			if r := ask(w, fmt.Sprintf("%032x.%032x", i%10, i), i); r.Err() != nil || !r.Kept {
				t.Errorf("key %d is answered %+v, want what it was told before", i, r)
			}
		}
		w.wants("a", 250)
		if _, err := w.stop(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour) // they are forgotten
		w = newChestWorld(t, store, "third")
		w.own()
		w.must("load", load{First: 0, Keys: 300})
		w.release()
		time.Sleep(purgeAfter + time.Second)
		w.own()
		w.release()
		if rec := w.record(); rec != nil && (len(rec.Answers) > 1 || rec.Data.Len() > 0) {
			t.Errorf("left are %d answers, %d keys", len(rec.Answers), rec.Data.Len())
		}
		w.end()
	})
}
