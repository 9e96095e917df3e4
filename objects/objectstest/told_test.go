package objectstest_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/objectstest"
)

const posts objects.Class = "post"

var (
	postNote = objects.NewCall[string, objects.None](posts, "note")
	postTell = objects.NewCall[post, objects.None](posts, "tell")
	postStop = objects.NewCall[string, bool](posts, "cancel")
	postWork = objects.NewCall[string, objects.None](posts, "work")
	postBook = objects.NewKey[[]string]("book")
)

// post is what an object of the test is to tell, and how.
type post struct {
	To   string // "": itself
	What []string
	In   time.Duration
	Key  string
	Fail bool
}

type postman struct{ fails map[string]error }

func (*postman) tell(tx *objects.Tx, p post) (objects.None, error) {
	to := tx.Self()
	if p.To != "" {
		to = tx.Object(posts, p.To)
	}
	for _, what := range p.What {
		var how []objects.TellOption
		if p.In > 0 {
			how = append(how, objects.After(p.In))
		}
		if p.Key != "" {
			how = append(how, objects.Keyed(p.Key))
		}
		postNote.Tell(tx, to, what, how...)
	}
	if p.Fail {
		return nil, objects.Errorf(objects.Conflict, "no")
	}
	return nil, nil
}

func (p *postman) note(tx *objects.Tx, what string) (objects.None, error) {
	if err := p.fails[what]; err != nil {
		return nil, err
	}
	if from, told := tx.Sender(); told && from.ID() != tx.ID() {
		what += " from " + map[bool]string{true: "a", false: "?"}[from.ID() == tx.Object(posts, "a").ID()]
	}
	postBook.Set(tx, append(postBook.Get(tx), what))
	return nil, nil
}

func (*postman) cancel(tx *objects.Tx, key string) (bool, error) { return tx.Cancel(key), nil }

func (*postman) work(tx *objects.Tx, what string) (objects.None, error) {
	tx.Go(func(t *objects.Task) error {
		_, err := postNote.Do(t, t.Self(), what)
		return err
	})
	return nil, nil
}

func (*postman) Undelivered(tx *objects.Tx, m objects.Told) error {
	postBook.Set(tx, append(postBook.Get(tx), fmt.Sprint("undelivered ", m.Call, ": ", m.Err.Code)))
	return nil
}

func postWorld(t *testing.T) (*objectstest.World, map[string]error) {
	fails := make(map[string]error)
	return objectstest.New(t, objects.Implement(posts, func(*objects.Tx) *postman { return &postman{fails} },
		objects.On(postTell, (*postman).tell), objects.On(postNote, (*postman).note), objects.On(postStop, (*postman).cancel), objects.On(postWork, (*postman).work))), fails
}

func book(t *testing.T, w *objectstest.World, name string) (got []string) {
	t.Helper()
	if err := objectstest.Inside(w, w.Object(posts, name), func(tx *objects.Tx, _ *postman) error { got = postBook.Get(tx); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func tell(t *testing.T, w *objectstest.World, p post) {
	t.Helper()
	if _, err := postTell.Do(t.Context(), w.Object(posts, "a"), p); err != nil {
		t.Fatal(err)
	}
}

func wantBook(t *testing.T, w *objectstest.World, name string, want ...string) {
	t.Helper()
	if got := book(t, w, name); !slices.Equal(got, want) {
		t.Errorf("%s has noted %q, want %q", name, got, want)
	}
}

func TestWhatIsToldIsThereWhenTheCallReturns(t *testing.T) {
	w, _ := postWorld(t)
	tell(t, w, post{To: "b", What: []string{"1", "2"}})
	tell(t, w, post{What: []string{"own"}})
	wantBook(t, w, "b", "1 from a", "2 from a")
	wantBook(t, w, "a", "own")
	if left := w.Told(w.Object(posts, "a")); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
}

func TestAFailedEventHasToldNothing(t *testing.T) {
	w, _ := postWorld(t)
	if _, err := postTell.Do(t.Context(), w.Object(posts, "a"), post{To: "b", What: []string{"1"}, Fail: true}); objects.CodeOf(err) != objects.Conflict {
		t.Fatal(err)
	}
	wantBook(t, w, "b")
}

func TestHeldMessagesAreOnTheirWayUntilReleased(t *testing.T) {
	w, _ := postWorld(t)
	b := w.Object(posts, "b")
	w.Hold(b)
	tell(t, w, post{To: "b", What: []string{"1", "2"}})
	wantBook(t, w, "b")
	if got := w.Told(w.Object(posts, "a")); len(got) != 2 || got[0].To != b.ID() || got[0].Call != "note" {
		t.Errorf("on their way: %+v", got)
	}
	w.Release(b)
	wantBook(t, w, "b", "1 from a", "2 from a")
}

func TestTimersRunInAdvanceAndAreReplacedAndCancelled(t *testing.T) {
	w, _ := postWorld(t)
	tell(t, w, post{What: []string{"late"}, In: time.Hour})
	tell(t, w, post{What: []string{"soon"}, In: time.Minute})
	tell(t, w, post{To: "b", What: []string{"old"}, In: time.Minute, Key: "k"})
	tell(t, w, post{To: "b", What: []string{"new"}, In: 2 * time.Minute, Key: "k"})
	tell(t, w, post{What: []string{"never"}, In: time.Minute, Key: "c"})
	if was, err := postStop.Do(t.Context(), w.Object(posts, "a"), "c"); !was || err != nil {
		t.Errorf("cancel: %v, %v", was, err)
	}
	w.Advance(time.Minute)
	wantBook(t, w, "a", "soon")
	w.Advance(time.Hour)
	wantBook(t, w, "a", "soon", "late")
	wantBook(t, w, "b", "new from a")
	if was, err := postStop.Do(t.Context(), w.Object(posts, "a"), "k"); was || err != nil {
		t.Errorf("cancel of what has left: %v, %v", was, err)
	}
}

func TestATellThatFailsIsTriedSevenTimesAndThenParked(t *testing.T) {
	w, fails := postWorld(t)
	fails["1"] = errors.New("no")
	w.Faults(7)
	tell(t, w, post{To: "b", What: []string{"1", "2"}})
	wantBook(t, w, "b")
	w.Advance(10 * time.Minute)
	wantBook(t, w, "b", "2 from a")
	wantBook(t, w, "a", "undelivered note: internal")
	if got := w.Told(w.Object(posts, "a")); len(got) != 1 || got[0].Tries != 7 || got[0].Err == nil {
		t.Errorf("parked: %+v", got)
	}
}

func TestATellIsHandledOnceThoughTheReceiversHostIsLost(t *testing.T) {
	w, _ := postWorld(t)
	b := w.Object(posts, "b")
	for _, fault := range []func(objects.Ref){w.Refuse, w.Lose, func(o objects.Ref) { w.Unknown(o, true) }, func(o objects.Ref) { w.Unknown(o, false) }} {
		fault(b)
		tell(t, w, post{To: "b", What: []string{"x"}})
		w.Advance(time.Second)
	}
	wantBook(t, w, "b", "x from a", "x from a", "x from a", "x from a")
}

func TestATaskReturnsByACall(t *testing.T) {
	w, _ := postWorld(t)
	if _, err := postWork.Do(t.Context(), w.Object(posts, "a"), "done"); err != nil {
		t.Fatal(err)
	}
	w.Wait()
	wantBook(t, w, "a", "done")
}
