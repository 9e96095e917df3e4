package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/lease"
	"holdfast/objects/host/internal/state"
)

// ledger is an object with a history.
type ledger struct{ lines int }

const ledgerClass objects.Class = "ledger"

// entry of a ledger: what to write under a name, n bytes that begin with it.
type line struct {
	Name, Text string
	Bytes      int
}

var (
	lines      = objects.NewMap[string, string]("line")
	heard      = objects.NewKey[[]string]("heard")
	writeCall  = objects.NewCall[line, objects.Bookmark](ledgerClass, "write")
	readsCall  = objects.NewCall[objects.None, string](ledgerClass, "reads")
	markCall   = objects.NewCall[objects.None, objects.Bookmark](ledgerClass, "mark")
	backCall   = objects.NewCall[objects.Bookmark, objects.Bookmark](ledgerClass, "back")
	sendCall   = objects.NewCall[string, objects.None](ledgerClass, "send")
	hearCall   = objects.NewCall[string, objects.None](ledgerClass, "hear")
	ringCall   = objects.NewCall[time.Duration, objects.None](ledgerClass, "ring")
	ledgerImpl = objects.Implement(ledgerClass, newLedger,
		objects.On(writeCall, (*ledger).write), objects.On(readsCall, (*ledger).reads), objects.On(markCall, (*ledger).mark), objects.On(ringCall, (*ledger).ring),
		objects.On(backCall, (*ledger).back), objects.On(sendCall, (*ledger).send), objects.On(hearCall, (*ledger).hear),
	).With(objects.Settings{History: objects.MaxHistory})
)

func newLedger(tx *objects.Tx) *ledger {
	l := new(ledger)
	for range lines.All(tx) {
		l.lines++
	}
	return l
}

// write returns the bookmark of the state before.
func (l *ledger) write(tx *objects.Tx, in line) (objects.Bookmark, error) {
	l.set(tx, in.Name, in.Text+incompressible(in.Bytes))
	return tx.Bookmark(), nil
}

func (l *ledger) set(tx *objects.Tx, name, text string) {
	if lines.Get(tx, name) == "" {
		l.lines++
	}
	lines.Set(tx, name, text)
}

func (l *ledger) reads(tx *objects.Tx, _ objects.None) (string, error) {
	var all []string
	for name, text := range lines.All(tx) {
		all = append(all, fmt.Sprintf("%s=%.1s/%d", name, text, len(text)))
	}
	if len(all) != l.lines {
		return "", objects.Errorf(objects.Conflict, "the instance has %d lines, the storage %d", l.lines, len(all))
	}
	return fmt.Sprint(all, heard.Get(tx)), nil
}

func (l *ledger) mark(tx *objects.Tx, _ objects.None) (objects.Bookmark, error) {
	return tx.Bookmark(), nil
}

func (l *ledger) back(tx *objects.Tx, to objects.Bookmark) (objects.Bookmark, error) {
	l.set(tx, "dropped", "x")
	sendTo(tx, "restored")
	return tx.Restore(to), nil
}

func (l *ledger) send(tx *objects.Tx, text string) (objects.None, error) {
	l.set(tx, "sent", text)
	sendTo(tx, text)
	return nil, nil
}

// sendTo tells the ledger "ear".
func sendTo(tx *objects.Tx, text string) { hearCall.Tell(tx, tx.Object(ledgerClass, "ear"), text) }

func (l *ledger) hear(tx *objects.Tx, text string) (objects.None, error) {
	heard.Set(tx, append(heard.Get(tx), text))
	return nil, nil
}

func (l *ledger) ring(tx *objects.Tx, after time.Duration) (objects.None, error) {
	l.set(tx, "rings", "x")
	tx.SetAlarm(tx.Now().Add(after))
	return nil, nil
}

// Alarm writes that it has run.
func (l *ledger) Alarm(tx *objects.Tx, _ objects.AlarmInfo) error {
	_, err := l.write(tx, line{Name: "rang", Text: "x"})
	return err
}

// ledgerWorld is a world of ledgers whose told messages arrive.
type ledgerWorld struct {
	*tellWorld
	t *testing.T
}

func newLedgerWorld(t *testing.T, store *memoryStore, incarnation string, clock *memoryClock) *ledgerWorld {
	w := newTellWorldOf(t, store, incarnation, clock, ledgerImpl)
	w.n = 1000 * store.revision
	return &ledgerWorld{w, t}
}

func ledgerID(name string) objects.ID {
	id, err := ledgerClass.ID(name)
	if err != nil {
		panic(err)
	}
	return id
}

// ask runs a request, and returns the answer.
func (w *ledgerWorld) request(name string, req *wire.Request) *wire.Reply {
	w.t.Helper()
	reply, err := w.client.Do(w.t.Context(), wire.Address{ID: ledgerID(name), Name: name}, req)
	if err != nil {
		w.end()
		w.t.Fatalf("%s: %v\n%s", name, err, w.log.b.String())
	}
	return reply
}

// call returns a call to a ledger that has to succeed.
func call[In, Out any](w *ledgerWorld, name string, c objects.Call[In, Out], called string, in In) (out Out) {
	w.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		w.t.Fatal(err)
	}
	reply := w.request(name, &wire.Request{Kind: wire.Call, Call: called, Body: body})
	if err := reply.Err(); err != nil {
		w.end()
		w.t.Fatalf("%s of %s: %v\n%s", called, name, err, w.log.b.String())
	}
	if err := json.Unmarshal(reply.Body, &out); len(reply.Body) > 0 && err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *ledgerWorld) write(name string, in line) objects.Bookmark {
	w.t.Helper()
	return call(w, name, writeCall, "write", in)
}

func (w *ledgerWorld) reads(name string) string {
	w.t.Helper()
	return call(w, name, readsCall, "reads", objects.None(nil))
}

func (w *ledgerWorld) wants(name, want string) {
	w.t.Helper()
	if got := w.reads(name); got != want {
		w.t.Errorf("%s has %.200s, want %.200s", name, got, want)
	}
}

func (w *ledgerWorld) end() {
	w.t.Helper()
	if _, err := w.stop(); err != nil {
		w.t.Error(err)
	}
}

func TestAnObjectIsPutBackToABookmarkAndTheRestoreIsTakenBack(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 3_000, 90_000} { // in the record, in chunks, and values apart
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, clock := newMemoryStore(), newMemoryClock()
				w := newLedgerWorld(t, store, "first", clock)
				empty := call(w, "a", markCall, "mark", objects.None(nil))
				var marks []objects.Bookmark
				var states []string
				for i := range 12 {
					w.write("a", line{fmt.Sprint("l", i%5), fmt.Sprint(i), size})
					marks = append(marks, call(w, "a", markCall, "mark", objects.None(nil)))
					states = append(states, w.reads("a"))
				}
				undo := call(w, "a", backCall, "back", marks[3])
				w.wants("a", states[3])
				w.write("a", line{"after", "y", size})
				w.crash()

				w = newLedgerWorld(t, store, "second", clock)
				if got := w.reads("a"); got == states[3] || !strings.Contains(got, "after=y") {
					t.Errorf("the next owner finds %s", got)
				}
				call(w, "a", backCall, "back", undo)
				w.wants("a", states[11])
				for i := range marks {
					call(w, "a", backCall, "back", marks[i])
					w.wants("a", states[i])
				}
				call(w, "a", backCall, "back", empty)
				w.wants("a", "[] []")
				w.end()

				w = newLedgerWorld(t, store, "third", clock)
				w.wants("a", "[] []")
				call(w, "a", backCall, "back", undo)
				w.wants("a", states[11])
				w.end()
			})
		})
	}
}

// Told messages, remembered answers and alarms do not go back, and later messages have new numbers; the next owner finds the same.
func TestARestoreLeavesMessagesAnswersAndTheAlarmAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, clock := newMemoryStore(), newMemoryClock()
		w := newLedgerWorld(t, store, "first", clock)
		w.write("a", line{"l", "1", 1})
		before := call(w, "a", markCall, "mark", objects.None(nil))
		call(w, "a", sendCall, "send", "one")
		call(w, "a", sendCall, "send", "two")
		call(w, "a", ringCall, "ring", time.Hour)
		keyed := &wire.Request{Kind: wire.Call, Call: "write", Body: []byte(`{"Name":"k","Text":"k"}`), Key: "somebody.once"}
		if reply := w.request("a", keyed); reply.Err() != nil {
			t.Fatal(reply.Err())
		}
		time.Sleep(time.Second)
		w.wants("ear", "[] [one two]")

		call(w, "a", backCall, "back", before)
		w.wants("a", "[l=1/2] []")
		call(w, "a", sendCall, "send", "three")
		time.Sleep(time.Second)
		w.wants("ear", "[] [one two restored three]")
		at, err := moment(before)
		if err == nil {
			_, err = w.restore("a", at) // which writes nothing else
		}
		if err != nil {
			t.Fatal(err)
		}
		w.wants("a", "[l=1/2] []")
		w.crash()
		w = newLedgerWorld(t, store, "second", clock)
		w.wants("a", "[l=1/2] []")
		call(w, "a", sendCall, "send", "tenth")
		time.Sleep(time.Second)
		w.wants("ear", "[] [one two restored three tenth]")
		if reply := w.request("a", &wire.Request{Kind: wire.Call, Call: "write", Body: []byte(`{"Name":"k","Text":"k"}`), Key: "somebody.once"}); reply.Err() != nil || !reply.Kept {
			t.Errorf("a request that ran before the restore was answered %+v; its answer is to be known", reply)
		}
		w.wants("a", "[l=1/2 sent=t/5] []")
		if at := w.store.record(ledgerID("a").Key()).Alarm.At; at.IsZero() {
			t.Error("the alarm is gone")
		}
		time.Sleep(time.Hour)
		if got := w.reads("a"); !strings.Contains(got, "rang=x") {
			t.Errorf("the alarm has not run: %s", got)
		}
		call(w, "a", backCall, "back", before)
		time.Sleep(time.Hour)
		w.wants("a", "[l=1/2] []") // the alarm that has run does not run again
		w.end()
	})
}

// restore requests a restore as an operator does.
func (w *ledgerWorld) restore(name string, at state.Moment) (wire.Restored, error) {
	reply := w.request(name, &wire.Request{Kind: wire.Restore, Body: wire.Encode(&wire.RestoreBody{At: int64(at)})})
	var done wire.Restored
	if err := reply.Err(); err != nil {
		return done, err
	}
	return done, wire.Decode(reply.Body, &done)
}

func TestAnOperatorRestoresAnObjectWhileClientsWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newLedgerWorld(t, newMemoryStore(), "first", newMemoryClock())
		for i := range 200 {
			w.write("a", line{fmt.Sprintf("%03d", i), "old", 5_000})
		}
		time.Sleep(time.Minute) // merges are paced
		then, states := state.MomentOf(time.Now()), w.reads("a")
		time.Sleep(time.Millisecond)
		written := make(chan int)
		go func() {
			n := 0
			for i := range 300 {
				w.write("a", line{fmt.Sprintf("new%03d", i), "new", 500})
				time.Sleep(time.Millisecond)
				n++
			}
			written <- n
		}()
		time.Sleep(100 * time.Millisecond)
		done, err := w.restore("a", then)
		if err != nil || !done.Changed {
			t.Fatalf("restored: %+v, %v", done, err)
		}
		if n := <-written; n != 300 {
			t.Errorf("%d lines were written", n)
		}
		got := w.reads("a")
		if n := strings.Count(got, "new"); n == 0 || n == 300 {
			t.Errorf("%d of 300 new lines are there, want those after the restore", n)
		}
		if n := strings.Count(got, "=o/"); n != 200 {
			t.Errorf("%d of 200 old lines are there", n)
		}
		if again, err := w.restore("a", state.MomentOf(time.Now())); err != nil || again.Changed {
			t.Errorf("a restore to now: %+v, %v", again, err)
		}
		if _, err := w.restore("a", then); err != nil {
			t.Fatal(err)
		}
		w.wants("a", states)
		w.end()
	})
}

// A slow store had an operator's request sent again: the object was restored twice, and the undo that was printed led nowhere.
func TestALateCopyOfARestoreDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newLedgerWorld(t, newMemoryStore(), "first", newMemoryClock())
		w.write("a", line{"l", "1", 1})
		first := state.MomentOf(time.Now())
		time.Sleep(time.Second)
		w.write("a", line{"l", "22", 2})
		now := state.MomentOf(time.Now())
		for _, at := range []state.Moment{first, now} {
			req := &wire.Request{Kind: wire.Restore, Body: wire.Encode(&wire.RestoreBody{At: int64(at)})}
			before := w.request("a", req)
			if before.Err() != nil {
				t.Fatal(before.Err())
			}
			time.Sleep(time.Second)
			w.write("a", line{"later", "x", 1})
			states := w.reads("a")
			copied := *req
			w.tell("a", &copied)
			synctest.Wait()
			w.wants("a", states)
		}
		w.end()
	})
}

// The copy names the owner to which the request was sent. No newer request has told the owner meanwhile that the gateway has
// its answer.
func TestACopyOfARestoreOrAForkThatComesRightAfterItGetsTheAnswerOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, clock := newMemoryStore(), newMemoryClock()
		w := newLedgerWorld(t, store, "first", clock)
		call(w, "empty", backCall, "back", w.write("empty", line{"l", "1", 1}))
		w.write("a", line{"l", "1", 1})
		time.Sleep(time.Second)
		at := state.MomentOf(time.Now())
		time.Sleep(time.Second)
		w.write("a", line{"l", "22", 2})
		then := w.reads("a")
		copies := []struct {
			name string
			req  *wire.Request
			last *wire.Reply
		}{
			{"a", &wire.Request{Kind: wire.Restore, Body: wire.Encode(&wire.RestoreBody{At: int64(at)})}, nil},
			{"b", &wire.Request{Kind: wire.Fork, Body: wire.Encode(&wire.ForkBody{From: ledgerID("a").Key()})}, nil},
			{"c", &wire.Request{Kind: wire.Fork, Body: wire.Encode(&wire.ForkBody{From: ledgerID("empty").Key()})}, nil}, // of nothing
		}
		wants := func(n int) {
			t.Helper()
			req := *copies[n].req
			reply := w.copyOf(ledgerID(copies[n].name), &req)
			if last := copies[n].last; reply == nil || !reply.Kept || reply.Moved || reply.Code != last.Code || !bytes.Equal(reply.Body, last.Body) {
				t.Errorf("a copy to %s was answered %+v, want %+v", copies[n].name, reply, last)
			}
		}
		for i := range copies {
			c := &copies[i]
			if c.last = w.request(c.name, c.req); c.last.Err() != nil {
				t.Fatal(c.last.Err())
			}
			wants(i)
		}
		w.crash()

		w = newLedgerWorld(t, store, "second", clock)
		for i := range copies {
			w.own(copies[i].name)
			wants(i)
		}
		undo := new(wire.Restored)
		if err := wire.Decode(copies[0].last.Body, undo); err != nil {
			t.Fatal(err)
		}
		if _, err := w.restore("a", state.Moment(undo.Undo)); err != nil {
			t.Error(err)
		}
		w.wants("a", then) // the undo that was printed leads to where the one restore began
		w.end()
	})
}

// copyOf sends a copy of a request to the object's owner, and returns the reply, nil if none comes.
func (w *ledgerWorld) copyOf(id objects.ID, req *wire.Request) *wire.Reply {
	w.t.Helper()
	req.For = w.in.find(id.Key()).mailbox.claimToken()
	w.n++
	inbox := fmt.Sprintf("%sg.%d", wire.InboxPrefix, w.n)
	raw := make(chan *nats.Msg, 1)
	sub, err := w.bus.Subscribe(inbox, "", raw)
	if err == nil {
		err = wire.Ask(w.bus, wire.ObjectHostSubject(id.Key()), inbox, req)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	defer sub.Unsubscribe()
	select {
	case msg := <-raw:
		r := new(wire.Reply)
		if err := wire.Decode(msg.Data, r); err != nil {
			w.t.Fatal(err)
		}
		return r
	case <-timer.C:
		return nil
	}
}

// own makes the host claim the ledger.
func (w *ledgerWorld) own(name string) {
	w.t.Helper()
	claimed := make(chan wire.ClaimReply, 1)
	o := w.in.object(wire.Address{ID: ledgerID(name), Name: name}, w.in.classes[string(ledgerClass)])
	if o == nil || !o.claim(func(r wire.ClaimReply) { claimed <- r }) || !(<-claimed).Owned {
		w.t.Fatalf("%s is not claimed", name)
	}
}

func TestARestoreOfWhatIsNotKnownSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, clock := newMemoryStore(), newMemoryClock()
		w := newTellWorldOf(t, store, "plain", clock, ledgerImpl.With(objects.Settings{History: -1}))
		plain := &ledgerWorld{w, t}
		plain.write("a", line{"l", "1", 1})
		if _, err := plain.restore("a", state.MomentOf(time.Now())); objects.CodeOf(err) != objects.NotFound || !strings.Contains(err.Error(), "Settings.History") {
			t.Errorf("without a history: %v", err)
		}
		if rec := store.record(ledgerID("a").Key()); rec.Parts != nil {
			t.Error("a class without history has a head")
		}
		plain.end()

		time.Sleep(time.Hour)
		then := state.MomentOf(time.Now())
		time.Sleep(time.Hour)
		kept := newLedgerWorld(t, store, "kept", clock)
		kept.write("a", line{"l", "2", 1})
		if _, err := kept.restore("a", then); objects.CodeOf(err) != objects.NotFound || !strings.Contains(err.Error(), "begins at") {
			t.Errorf("before the history: %v", err)
		}
		body, _ := json.Marshal("yesterday")
		if reply := kept.request("a", &wire.Request{Kind: wire.Call, Call: "back", Body: body}); reply.Code != objects.Invalid {
			t.Errorf("a bookmark that is none: %+v", reply)
		}
		if reply := kept.request("a", &wire.Request{Kind: wire.Restore, Body: []byte{0xff}}); reply.Code != objects.Invalid {
			t.Errorf("a body that is none: %+v", reply)
		}
		kept.wants("a", "[l=2/2] []")
		kept.end()
	})
}

// States that are older than the history is kept are removed, with the entries that only they named.
func TestHistoryExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, clock := newMemoryStore(), newMemoryClock()
		began := state.MomentOf(time.Now())
		most := 0
		for month := range 6 {
			w := newLedgerWorld(t, store, fmt.Sprint("host", month), clock)
			for i := range 150 {
				w.write("a", line{fmt.Sprint("l", i%40), "x", 2_000})
			}
			time.Sleep(time.Minute)
			w.write("a", line{"l", "x", 1})
			time.Sleep(3 * time.Minute) // what was dropped is purged later
			w.write("a", line{"l", "x", 1})
			time.Sleep(time.Minute)
			if month == 3 {
				if _, err := w.restore("a", began); objects.CodeOf(err) != objects.NotFound {
					t.Errorf("a restore to what has expired: %v", err)
				}
			}
			if month == 1 {
				most = store.bytes(ledgerID("a").Key())
			}
			w.end()
			time.Sleep(31 * 24 * time.Hour)
		}
		if now := store.bytes(ledgerID("a").Key()); now > most*3/2 {
			t.Errorf("%d bytes are stored after six months, %d after two", now, most)
		}
	})
}

// bytes returns what all entries of an object have.
func (s *memoryStore) bytes(object string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, data := range s.parts[object] {
		n += len(data)
	}
	return n
}

func TestAForkBeginsWithWhatTheOtherHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newLedgerWorld(t, newMemoryStore(), "first", newMemoryClock())
		w.write("a", line{"l", "1", 90_000})
		call(w, "a", sendCall, "send", "one")
		time.Sleep(time.Second)
		then, states := state.MomentOf(time.Now()), w.reads("a")
		time.Sleep(time.Second)
		w.write("a", line{"l", "2", 10})
		fork := func(to string, at state.Moment) *wire.Reply {
			return w.request(to, &wire.Request{Kind: wire.Fork, Body: wire.Encode(&wire.ForkBody{From: ledgerID("a").Key(), At: int64(at)})})
		}
		if reply := fork("b", then); reply.Err() != nil {
			t.Fatal(reply.Err())
		}
		w.wants("b", states)
		if reply := fork("c", 0); reply.Err() != nil {
			t.Fatal(reply.Err())
		}
		w.wants("c", w.reads("a"))
		if reply := fork("b", then); reply.Code != objects.Conflict {
			t.Errorf("a fork over an object that has something: %+v", reply)
		}
		if reply := fork("d", 1); reply.Code != objects.NotFound && reply.Err() != nil {
			t.Errorf("a fork of what never was: %+v", reply)
		}
		call(w, "b", sendCall, "send", "two")
		time.Sleep(time.Second)
		w.wants("ear", "[] [one two]")
		w.end()
	})
}

// A host dies at any of its puts, which lands or not, as it writes and restores. The next one finds the object as it was
// before the event in hand, or after it, and every bookmark leads where it led.
func TestWhateverPutAHostDiesAtARestoreHappensOnceOrNotAtAll(t *testing.T) {
	for puts := 1; puts <= 14; puts++ {
		synctest.Test(t, func(t *testing.T) {
			store, clock := newMemoryStore(), newMemoryClock()
			w := newLedgerWorld(t, store, "first", clock)
			for i := range 6 {
				w.write("a", line{fmt.Sprint("l", i), "a", 4_000})
			}
			mark, marked := call(w, "a", markCall, "mark", objects.None(nil)), w.reads("a")
			for i := range 6 {
				w.write("a", line{fmt.Sprint("m", i), "b", 4_000})
			}
			full := w.reads("a")
			store.stopAfter(puts, func() { w.lose(lease.ErrLost) })
			finished := make(chan struct{})
			go func() {
				defer close(finished)
				for range 4 {
					body, _ := json.Marshal(mark)
					reply, err := w.client.Do(t.Context(), wire.Address{ID: ledgerID("a"), Name: "a"}, &wire.Request{Kind: wire.Call, Call: "back", Body: body})
					if err != nil || reply.Err() != nil {
						return
					}
				}
			}()
			<-finished
			store.stopAfter(0, nil)
			w.lose(lease.ErrLost)
			if err := <-w.done; !errors.Is(err, lease.ErrLost) {
				t.Errorf("the incarnation ended with %v", err)
			}

			w = newLedgerWorld(t, store, "second", clock)
			if got := w.reads("a"); got != marked && got != full {
				t.Errorf("after put %d: %.300s", puts, got)
			}
			w.write("a", line{"z", "z", 20_000})
			call(w, "a", backCall, "back", mark)
			w.wants("a", marked)
			w.end()
		})
	}
}

// A database goes back as a whole, to the same moment as the keys beside it, at every owner.
func TestADatabaseAndItsKeysGoBackTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, clock := newMemoryStore(), newMemoryClock()
		id, err := booksClass.ID("c")
		if err != nil {
			t.Fatal(err)
		}
		world := func(incarnation string) *tellWorld {
			return newTellWorldOf(t, store, incarnation, clock, bookObjects.With(objects.Settings{History: objects.MaxHistory}))
		}
		w := world("first")
		ask := func(req *wire.Request) string {
			t.Helper()
			reply, err := w.client.Do(t.Context(), wire.Address{ID: id, Name: "c"}, req)
			if err == nil {
				err = reply.Err()
			}
			if err != nil {
				t.Errorf("%v\n%s", err, w.log.b.String())
				return ""
			}
			return string(reply.Body)
		}
		enter := func(some int) {
			ask(&wire.Request{Kind: wire.Call, Call: "enter", Body: fmt.Appendf(nil, `{"Entries":%d,"Size":60}`, some)})
		}
		balance := func(want int) {
			t.Helper()
			if got := ask(&wire.Request{Kind: wire.Call, Call: "balance", Body: []byte("null")}); got != fmt.Sprint(want) {
				t.Errorf("the balance is %s, want %d", got, want)
			}
		}
		var moments []state.Moment
		sums := []int{}
		n := 0
		for i := range 40 {
			enter(1 + i%7)
			n += 1 + i%7
			sums = append(sums, n)
			moments = append(moments, state.MomentOf(time.Now()))
			time.Sleep(time.Second)
		}
		w.crash()
		w = world("second")
		for _, i := range []int{39, 3, 38, 0, 20, 12} {
			ask(&wire.Request{Kind: wire.Restore, Body: wire.Encode(&wire.RestoreBody{At: int64(moments[i])})})
			balance(sums[i])
		}
		enter(5)
		balance(sums[12] + 5)
		if _, err := w.stop(); err != nil {
			t.Error(err)
		}
		w = world("third")
		balance(sums[12] + 5)
		if _, err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}
