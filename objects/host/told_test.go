package host

import (
	"testing"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects/internal/engine"
	"holdfast/objects/internal/tells"
)

// toldStore returns the storage of an object that has told message 1 to another object, and its told.
func toldStore(t *testing.T) (*told, *engine.Data) {
	t.Helper()
	m := engine.Told{N: 1, To: "guest.02", Call: "add"}
	writes := []engine.Write{
		{Key: engine.OutboxKey(1), Value: m.Encode()},
		{Key: engine.ToldCount, Value: engine.Count{Born: 7, Last: 1}.Encode()},
	}
	if !tellsAnything(writes) || tellsAnything(writes[1:]) || tellsAnything([]engine.Write{{Key: "a"}}) {
		t.Fatal("told messages among writes are not seen")
	}
	data := new(engine.Data)
	data.Apply(writes)
	one := newTold("guest.01", 0)
	if err := one.note(writes, 1); err != nil {
		t.Fatal(err)
	}
	return one, data
}

func TestAToldMessageLeavesAfterItsCommitAndIsRemovedAfterItsAnswer(t *testing.T) {
	now := time.Unix(1000, 0)
	late := func(time.Time) time.Time { return now.Add(time.Minute) }
	never := func(time.Time) time.Time { return now }
	one, data := toldStore(t)
	if m := one.move(data, now, never); m.take {
		t.Error("a message leaves before its commit")
	}
	one.landed(1)
	if m := one.move(data, now, never); !m.take {
		t.Error("a message does not leave after its commit")
	}
	if m := one.move(data, now, never); m.take {
		t.Error("two goroutines take batches")
	}
	b, ok := one.take(now)
	if !ok || b.To != "guest.02" {
		t.Fatalf("the batch is %+v", b)
	}
	if _, ok := one.take(now); ok {
		t.Error("a receiver gets two batches at once")
	}
	if due := one.answered(b, tells.Answer{Handled: 1}, now, 0.5, false); due || !one.hasChores() || !one.busy() {
		t.Errorf("after the answer the event loop is due: %t, chores: %t, busy: %t", due, one.hasChores(), one.busy())
	}
	if m := one.move(data, now, never); !m.timed || !m.at.Equal(now.Add(tells.RemoveAfter)) {
		t.Errorf("what was handled is removed at %v", m.at)
	}
	if one.writesNext(now) || !one.writesNext(now.Add(tells.RemoveAfter)) || one.writesNext(now.Add(time.Hour)) {
		t.Error("chores are not written once, at their time")
	}
	if next, ok, err := one.next(data, now); !ok || !next.chores || err != nil {
		t.Errorf("the event loop does %+v, %t, %v, want the chores", next, ok, err)
	}
	writes := one.chores(data, 2)
	data.Apply(writes)
	if err := one.note(writes, 2); err != nil || one.len() > 0 {
		t.Errorf("%d messages are left, %v", one.len(), err)
	}
	one.landed(2)
	if m := one.move(data, now, late); len(m.forgets) > 0 || !m.timed {
		t.Errorf("a receiver forgets while copies may come: %+v", m)
	}
	if m := one.move(data, now, never); len(m.forgets) != 1 || m.forgets[0] != (forget{"guest.02", 7, 1}) {
		t.Errorf("the receiver is told %+v, want that it may forget message 1", m.forgets)
	}
	if one.busy() {
		t.Error("nothing is under way, and the object is kept")
	}
}

func TestAnAnswerThatMakesRoomScarceHasChoresWrittenAtOnce(t *testing.T) {
	now := time.Unix(1000, 0)
	one, data := toldStore(t)
	one.landed(1)
	b, _ := one.take(now)
	if !one.answered(b, tells.Answer{Handled: 1, Soon: true}, now, 0.5, false) {
		t.Error("the event loop is not due")
	}
	if next, ok, _ := one.next(data, now); !ok || !next.chores {
		t.Errorf("the event loop does %+v, %t, want the chores", next, ok)
	}
}

func TestMarksAreAskedForInTurn(t *testing.T) {
	data := new(engine.Data)
	senders := []string{"guest.0a", "guest.0b", "guest.0c"}
	for _, s := range senders {
		data.Apply([]engine.Write{{Key: tells.MarkKey(s), Value: tells.Mark{Born: 1, Last: 2}.Encode()}})
	}
	one, now := newTold("guest.01", 0), time.Unix(1000, 0)
	if s, _, ok := one.nextMark(data, now, false); ok {
		t.Errorf("%s is asked at once, though there is room", s)
	}
	asked := make(map[string]int)
	for range 10 * len(senders) {
		now = now.Add(askEvery)
		s, _, ok := one.nextMark(data, now, true)
		if ok {
			asked[s]++
		}
		if _, _, again := one.nextMark(data, now, true); again {
			t.Error("two are asked within a second")
		}
	}
	for _, s := range senders {
		if asked[s] < 7 {
			t.Errorf("%s is asked %d times of %d, want all in turn", s, asked[s], 10*len(senders))
		}
	}
}

func TestOfThoseWhoAskWhetherTheyMayForgetAtMostSoManyAreNoted(t *testing.T) {
	one := newTold("guest.01", 0)
	for i := range maxAskers {
		if !one.noteAsker(wire.ForgetBody{From: string(rune('a' + i))}) {
			t.Fatalf("asker %d is not noted", i)
		}
	}
	if one.noteAsker(wire.ForgetBody{From: "guest.02"}) {
		t.Error("one more is noted")
	}
	var nobody *told
	if nobody.busy() || nobody.hasChores() || nobody.len() != 0 || nobody.writesNext(time.Now()) {
		t.Error("an object that has told nothing is busy with that")
	}
}

func TestWhoWaitsIsToldOnce(t *testing.T) {
	var nobody *waiters
	nobody.come(untilGone)
	if !nobody.nobody() || nobody.awaits(untilRoom) != nil || nobody.takeClaim() != nil {
		t.Error("somebody waits")
	}
	w := new(waiters)
	for what := range awaitables {
		came := w.await(what)
		if w.await(what) != came || w.awaits(what) == nil || w.nobody() {
			t.Errorf("two who wait for %d wait for different things, or do not count", what)
		}
		w.come(what)
		select {
		case <-came:
		default:
			t.Errorf("who waits for %d is not told", what)
		}
		w.come(what)
		if !w.nobody() {
			t.Errorf("somebody waits for %d after it came", what)
		}
	}
	w.awaitClaim(func(wire.ClaimReply) {})
	if w.nobody() || len(w.takeClaim()) != 1 || !w.nobody() {
		t.Error("who waits for the claim does not count, or is told twice")
	}
}

func TestTasksAndStreamsAreCountedApart(t *testing.T) {
	var none *tasks
	all, streams := none.free()
	if none.run() || none.end() != nil {
		t.Error("a task runs")
	}
	one := newTasks(t.Context())
	one.began(false)
	ctx := one.began(true)
	if a, s := one.free(); a != all-1 || s != streams-1 || !one.run() {
		t.Errorf("%d tasks and %d streams are free, want %d and %d", a, s, all-1, streams-1)
	}
	ended := one.end()
	if ctx.Err() == nil || ended == nil {
		t.Error("the context of a task does not end, or nobody can wait for the task")
	}
	one.ended(true)
	select {
	case <-ended:
		t.Error("all have ended, and one runs")
	default:
	}
	one.ended(false)
	<-ended
	if a, s := one.free(); a != all || s != streams || one.run() {
		t.Errorf("%d tasks and %d streams are free, want all", a, s)
	}
}

func TestAnObjectsOwnTimerIsListedUnderItsName(t *testing.T) {
	data := new(engine.Data)
	data.Apply([]engine.Write{
		{Key: engine.TimerKey(1, ""), Value: engine.Told{N: 1, To: "guest.01", Call: "sweep"}.Encode()},
		{Key: engine.OutboxKey(2), Value: engine.Told{N: 2, To: "guest.02", Call: "add", Name: "bob"}.Encode()},
	})
	for _, m := range toldIn(data, "guest.01", "ada").First {
		if want := map[string]string{"guest.01": "ada", "guest.02": "bob"}[m.To]; m.Name != want {
			t.Errorf("a message to %s is listed under %q, want %q", m.To, m.Name, want)
		}
	}
}
