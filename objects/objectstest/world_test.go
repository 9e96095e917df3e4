package objectstest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/objectstest"
)

// script is what the objects of one test do. A nil part does nothing.
type script struct {
	construct func(*objects.Tx)
	call      func(*objects.Tx) error
	serve     func(*objects.Tx, http.ResponseWriter, *http.Request)
	message   func(*objects.Tx, objects.Socket, objects.Message) error
	closed    func(*objects.Tx, objects.Socket, objects.Close) error
	alarm     func(*objects.Tx, objects.AlarmInfo) error
}

// puppet is an object that follows its script. Its sockets are accepted.
type puppet struct{ script *script }

const puppets objects.Class = "puppet"

var (
	act  = objects.NewCall[objects.None, objects.None](puppets, "act")
	note = objects.NewKey[string]("note")
	runs = objects.NewKey[[]string]("runs")
)

func (s *script) class() *objects.Implementation {
	open := func(tx *objects.Tx) *puppet {
		if s.construct != nil {
			s.construct(tx)
		}
		return &puppet{s}
	}
	return objects.Implement(puppets, open, objects.On(act, (*puppet).act))
}

func (p *puppet) act(tx *objects.Tx, _ objects.None) (objects.None, error) {
	return nil, p.script.call(tx)
}

func (p *puppet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	if p.script.serve != nil {
		p.script.serve(tx, w, r)
		return
	}
	if _, err := tx.Accept(); err != nil {
		tx.Refuse(err)
	}
}

func (p *puppet) WebSocketMessage(tx *objects.Tx, from objects.Socket, m objects.Message) error {
	return p.script.message(tx, from, m)
}

func (p *puppet) WebSocketClose(tx *objects.Tx, s objects.Socket, end objects.Close) error {
	if p.script.closed == nil {
		return nil
	}
	return p.script.closed(tx, s, end)
}

func (p *puppet) Alarm(tx *objects.Tx, info objects.AlarmInfo) error { return p.script.alarm(tx, info) }

func world(t testing.TB, s *script) *objectstest.World { return objectstest.New(t, s.class()) }

// at returns the object of this name.
func at(w *objectstest.World, name string) objects.Ref { return w.Object(puppets, name) }

// do has the object called name act.
func do(w *objectstest.World, name string) error {
	_, err := act.Do(context.Background(), at(w, name), nil)
	return err
}

// stored returns what an object called a keeps under a key, and whether there is something.
func stored[V any](t *testing.T, w *objectstest.World, key objects.Key[V], name string) (v V, ok bool) {
	t.Helper()
	err := objectstest.Inside(w, at(w, name), func(tx *objects.Tx, _ *puppet) error { v, ok = key.Lookup(tx); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return v, ok
}

func connect(t *testing.T, w *objectstest.World) *objectstest.Client {
	t.Helper()
	c, response := w.Connect(at(w, "a"), nil)
	if c == nil {
		t.Fatal(response.Status)
	}
	return c
}

func heard(c *objectstest.Client) (all []string) {
	for m, ok := c.Next(); ok; m, ok = c.Next() {
		all = append(all, string(m.Data))
	}
	return all
}

func TestObjectsAreApartAndEachIsConstructedOnce(t *testing.T) {
	s := &script{call: func(tx *objects.Tx) error {
		runs.Set(tx, append(runs.Get(tx), tx.Name()))
		return nil
	}}
	w := world(t, s)
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			if err := do(w, fmt.Sprint("o", i%3)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 3 {
		name := fmt.Sprint("o", i)
		got, _ := stored(t, w, runs, name)
		if len(got) != 20 || slices.Max(got) != name || slices.Min(got) != name {
			t.Errorf("%s ran %v, want itself 20 times", name, got)
		}
		if n := w.Constructed(at(w, name)); n != 1 {
			t.Errorf("%s was constructed %d times", name, n)
		}
	}
}

func TestARefusalKeepsTheInstanceAndAFaultDropsItAndHidesItsText(t *testing.T) {
	var end func() error
	s := &script{call: func(tx *objects.Tx) error {
		note.Set(tx, "lost")
		return end()
	}}
	for name, c := range map[string]struct {
		end         func() error
		code        objects.Code
		constructed int
	}{
		"refusal": {func() error { return fmt.Errorf("secret: %w", objects.Errorf(objects.Conflict, "sold out")) }, objects.Conflict, 1},
		"fault":   {func() error { return errors.New("secret") }, objects.Internal, 2},
		"panic":   {func() error { panic("secret") }, objects.Internal, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := world(t, s)
			if c.code == objects.Internal {
				w.Faults(1)
			}
			end = c.end
			err := do(w, "a")
			e, ok := errors.AsType[*objects.Error](err)
			if !ok || e.Code != c.code || strings.Contains(err.Error(), "secret") || (c.code == objects.Internal) != (e.Reference != "") {
				t.Errorf("err = %v, want %s, a reference if it is a fault, and no secret", err, c.code)
			}
			end = func() error { return objects.Errorf(objects.Conflict, "no") }
			_ = do(w, "a")
			if n := w.Constructed(at(w, "a")); n != c.constructed {
				t.Errorf("constructed %d times, want %d", n, c.constructed)
			}
			if v, ok := stored(t, w, note, "a"); ok {
				t.Errorf("stored %s, want nothing", v)
			}
		})
	}
}

func TestAConstructorThatPanicsFailsTheEventAndTheNextTriesAgain(t *testing.T) {
	broken := true
	s := &script{
		construct: func(tx *objects.Tx) {
			if note.Set(tx, "made"); broken {
				panic("secret")
			}
		},
		call: func(tx *objects.Tx) error { return nil },
	}
	w := world(t, s)
	w.Faults(2)
	if err := do(w, "a"); objects.CodeOf(err) != objects.Internal {
		t.Errorf("err = %v, want internal", err)
	}
	if c, response := w.Connect(at(w, "a"), nil); c != nil || response.StatusCode != http.StatusInternalServerError {
		t.Errorf("connect = %v, want 500", response.Status)
	}
	broken = false
	if err := do(w, "a"); err != nil {
		t.Error(err)
	}
	if v, _ := stored(t, w, note, "a"); v != "made" || w.Constructed(at(w, "a")) != 3 {
		t.Errorf("stored %s after %d constructions, want the constructor's write after 3", v, w.Constructed(at(w, "a")))
	}
}

func TestWhatCannotBeReachedIsNotFound(t *testing.T) {
	w := world(t, &script{})
	missing := objects.NewCall[objects.None, objects.None](puppets, "missing")
	if _, err := missing.Do(t.Context(), at(w, "a"), nil); objects.CodeOf(err) != objects.NotFound {
		t.Errorf("no such call: %v", err)
	}
	nobody := objects.NewCall[objects.None, objects.None]("nobody", "act")
	if _, err := nobody.Do(t.Context(), w.Object("nobody", "a"), nil); objects.CodeOf(err) != objects.NotFound {
		t.Errorf("no such class: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := act.Do(ctx, at(w, "a"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who has gone: %v", err)
	}
}

func TestFetchAnswersOrFailsWithACode(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(*objects.Tx, http.ResponseWriter, *http.Request)
		code  objects.Code
	}{
		"answer": {func(_ *objects.Tx, w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
		}, ""},
		"panic": {func(*objects.Tx, http.ResponseWriter, *http.Request) { panic("secret") }, objects.Internal},
		"too much": {func(tx *objects.Tx, _ http.ResponseWriter, _ *http.Request) {
			note.Set(tx, strings.Repeat("x", objects.MaxValue))
		}, objects.TooLarge},
		"refusal": {func(tx *objects.Tx, w http.ResponseWriter, _ *http.Request) {
			note.Set(tx, "lost")
			tx.Refuse(objects.Errorf("sold_out", "no"))
			w.WriteHeader(http.StatusOK)
		}, "sold_out"},
		"no upgrade": {nil, objects.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			w := world(t, &script{serve: c.serve})
			if c.code == objects.Internal {
				w.Faults(1)
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://test/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := at(w, "a").Fetch(r)
			if code := objects.CodeOf(err); code != c.code {
				t.Errorf("fetch = %v, want %q", err, c.code)
			}
			if err != nil {
				return
			}
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != 201 || string(body) != "POST /x " {
				t.Errorf("answer = %s %s, %v", response.Status, body, err)
			}
		})
	}
}

func TestAnEventWhoseCommitIsRefusedRunsAgainAtTheNextOwner(t *testing.T) {
	var epochs []uint64
	s := &script{
		call: func(tx *objects.Tx) error {
			epochs = append(epochs, tx.Owner().Epoch)
			note.Set(tx, fmt.Sprint(note.Get(tx), "x"))
			tx.SetAlarm(tx.Now())
			for _, socket := range tx.Sockets() {
				var before string
				if socket.Attachment(&before) {
					t.Errorf("attached %q before", before)
				}
				socket.Attach("new")
				socket.Send(objects.Text("new"))
			}
			return nil
		},
	}
	w := world(t, s)
	c := connect(t, w)
	w.Refuse(at(w, "a"))
	if err := do(w, "a"); err != nil || !slices.Equal(epochs, []uint64{1, 2}) || w.Constructed(at(w, "a")) != 2 {
		t.Errorf("err = %v, ran at epochs %v with %d instances, want it at 1 and 2", err, epochs, w.Constructed(at(w, "a")))
	}
	if v, _ := stored(t, w, note, "a"); v != "x" {
		t.Errorf("stored %s, want one write", v)
	}
	if got := heard(c); !slices.Equal(got, []string{"new"}) {
		t.Errorf("heard %q, want one frame", got)
	}
}

func TestAlarmsRunAtTheirTimeInOrder(t *testing.T) {
	var order []string
	s := &script{call: func(tx *objects.Tx) error {
		d, err := time.ParseDuration(tx.Name())
		tx.SetAlarm(tx.Now().Add(d))
		return err
	}}
	w := world(t, s)
	began := w.Now()
	s.alarm = func(tx *objects.Tx, info objects.AlarmInfo) error {
		order = append(order, fmt.Sprint(tx.Name(), " at ", w.Now().Sub(began)))
		if late := tx.Now().Sub(info.Scheduled); late != 0 && tx.Name() != "-1s" || info.Retry != 0 {
			t.Errorf("info of %s = %+v, %v late", tx.Name(), info, late)
		}
		if tx.Name() == "1s" {
			tx.SetAlarm(tx.Now().Add(1500 * time.Millisecond))
		}
		return nil
	}
	for _, name := range []string{"3s", "1s", "2s", "0s", "-1s", "1h"} {
		if err := do(w, name); err != nil {
			t.Fatal(err)
		}
	}
	if len(order) > 0 {
		t.Errorf("%q ran before time passed", order)
	}
	w.Advance(0)
	if want := []string{"-1s at 0s", "0s at 0s"}; !slices.Equal(order, want) {
		t.Errorf("after no time %q ran, want %q", order, want)
	}
	order = nil
	w.Advance(3 * time.Second)
	want := []string{"1s at 1s", "2s at 2s", "1s at 2.5s", "3s at 3s"}
	if !slices.Equal(order, want) {
		t.Errorf("ran %q, want %q", order, want)
	}
	if got := w.Now().Sub(began); got != 3*time.Second {
		t.Errorf("the clock has moved %v, want 3s", got)
	}
	if a := w.Alarm(at(w, "1h")); !a.At.Equal(began.Add(time.Hour)) {
		t.Errorf("alarm of 1h = %+v", a)
	}
}

func TestAnAlarmThatFailsIsTriedSixTimesMoreAndParked(t *testing.T) {
	var tries []time.Duration
	s := &script{call: func(tx *objects.Tx) error { tx.SetAlarm(tx.Now()); return nil }}
	w := world(t, s)
	w.Faults(7)
	began := w.Now()
	s.alarm = func(tx *objects.Tx, info objects.AlarmInfo) error {
		tries = append(tries, tx.Now().Sub(began))
		if info.Retry != len(tries)-1 {
			t.Errorf("retry %d is run %d", info.Retry, len(tries))
		}
		note.Set(tx, "lost")
		if !info.Scheduled.Equal(began) {
			t.Errorf("scheduled = %v, want %v every time", info.Scheduled, began)
		}
		return errors.New("on purpose")
	}
	if err := do(w, "a"); err != nil {
		t.Fatal(err)
	}
	w.Advance(time.Hour)
	for i, wait := range []time.Duration{2, 4, 8, 16, 32, 64} { // and up to a quarter more, as for real
		if len(tries) != 7 || tries[i+1]-tries[i] < wait*time.Second || tries[i+1]-tries[i] > wait*time.Second*5/4 {
			t.Fatalf("tried after %v, want it after 2 tx, and double from there, six times", tries)
		}
	}
	if a := w.Alarm(at(w, "a")); !a.Parked || !a.At.Equal(began) || a.Retry != 6 {
		t.Errorf("alarm = %+v, want it parked", a)
	}
	if v, ok := stored(t, w, note, "a"); ok {
		t.Errorf("stored %s", v)
	}
	s.alarm = func(*objects.Tx, objects.AlarmInfo) error { return nil }
	if err := do(w, "a"); err != nil { // a parked alarm gives way to a new one
		t.Fatal(err)
	}
	w.Advance(0)
	if a := w.Alarm(at(w, "a")); a != (objectstest.Alarm{}) {
		t.Errorf("alarm = %+v, want none", a)
	}
}

func TestARefusedCommitOfAnAlarmIsNotItsFault(t *testing.T) {
	tries := 0
	s := &script{
		call: func(tx *objects.Tx) error { tx.SetAlarm(tx.Now().Add(time.Minute)); return nil },
		alarm: func(tx *objects.Tx, info objects.AlarmInfo) error {
			if tries++; info.Retry != 0 {
				t.Errorf("retry = %d, want 0", info.Retry)
			}
			return nil
		},
	}
	w := world(t, s)
	if err := do(w, "a"); err != nil {
		t.Fatal(err)
	}
	w.Refuse(at(w, "a"))
	w.Advance(time.Minute)
	if a := w.Alarm(at(w, "a")); tries != 2 || a != (objectstest.Alarm{}) {
		t.Errorf("%d tries, alarm %+v, want 2 and none", tries, a)
	}
}

func TestAConstructorThatSetsTheAlarmAnewPutsItOff(t *testing.T) {
	ran := 0
	s := &script{
		construct: func(tx *objects.Tx) { tx.SetAlarm(tx.Now().Add(time.Minute)) },
		call:      func(*objects.Tx) error { return nil },
		alarm:     func(*objects.Tx, objects.AlarmInfo) error { ran++; return nil },
	}
	w := world(t, s)
	if err := do(w, "a"); err != nil {
		t.Fatal(err)
	}
	w.Evict(at(w, "a"))
	w.Advance(time.Minute)
	if a := w.Alarm(at(w, "a")); ran != 0 || !a.At.Equal(w.Now().Add(time.Minute)) {
		t.Errorf("ran %d times, alarm %+v, want it in another minute", ran, a)
	}
	w.Advance(time.Minute)
	if ran != 1 {
		t.Errorf("ran %d times, want once: it was awake", ran)
	}
}

// strict is a testing.TB whose Fatal can be seen.
type strict struct{ testing.TB }

type fatal string

func (strict) Fatalf(format string, args ...any) { panic(fatal(fmt.Sprintf(format, args...))) }
func (strict) Fatal(args ...any)                 { panic(fatal(fmt.Sprint(args...))) }

func TestMisuseEndsTheTestWithAWord(t *testing.T) {
	s := &script{
		call:  func(tx *objects.Tx) error { tx.SetAlarm(tx.Now()); return nil },
		alarm: func(tx *objects.Tx, _ objects.AlarmInfo) error { tx.SetAlarm(tx.Now()); return nil },
	}
	w := objectstest.New(strict{t}, s.class())
	if err := do(w, "a"); err != nil {
		t.Fatal(err)
	}
	for want, misuse := range map[string]func(){
		"time does not go back": func() { w.Advance(-1) },
		"is due again":          func() { w.Advance(0) },
		"no class":              func() { w.Evict(w.Object("nobody", "a")) },
		"must not be empty":     func() { w.Evict(at(w, "")) },
	} {
		func() {
			defer func() {
				if got, ok := recover().(fatal); !ok || !strings.Contains(string(got), want) {
					t.Errorf("ended with %q, want %q", got, want)
				}
			}()
			misuse()
		}()
	}
}

func TestFetchKeepsTheBodyOfTheRequest(t *testing.T) {
	w := world(t, &script{serve: func(_ *objects.Tx, w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }})
	response, err := at(w, "a").Fetch(httptest.NewRequest(http.MethodPost, "/", strings.NewReader("hello")))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(response.Body); string(body) != "hello" || err != nil || response.ContentLength != 5 {
		t.Errorf("echo = %q of %d bytes, %v", body, response.ContentLength, err)
	}
}

func TestATransactionThatIsMisusedFailsTheTest(t *testing.T) {
	var kept *objects.Tx
	s := &script{call: func(tx *objects.Tx) error {
		kept = tx
		done := make(chan struct{})
		go func() {
			defer close(done)
			note.Set(tx, "from elsewhere")
			t.Error("another goroutine went on")
		}()
		<-done
		return nil
	}}
	found := &findings{TB: t}
	w := objectstest.New(found, s.class())
	w.Faults(1) // of the event that uses another's
	if err := do(w, "a"); err != nil {
		t.Fatal(err)
	}
	s.call = func(*objects.Tx) error { note.Set(kept, "late"); return nil }
	if err := do(w, "a"); objects.CodeOf(err) != objects.Internal {
		t.Errorf("with a kept transaction: %v, want internal", err)
	}
	if v, ok := stored(t, w, note, "a"); ok {
		t.Errorf("stored %q", v)
	}
	if len(found.errors) != 2 || !strings.Contains(found.errors[0], "goroutine that does not run") || !strings.Contains(found.errors[1], "after its event") {
		t.Errorf("the test was told %q", found.errors)
	}
}

// findings is a testing.TB whose errors can be seen.
type findings struct {
	testing.TB
	errors []string
}

func (f *findings) Errorf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

func TestACommitThatIsLostWithItsHostHappenedOnce(t *testing.T) {
	s := &script{
		call: func(tx *objects.Tx) error {
			note.Set(tx, fmt.Sprint(note.Get(tx), "x"))
			tx.SetAlarm(tx.Now().Add(time.Minute))
			for _, socket := range tx.Sockets() {
				socket.Attach("new")
				socket.Send(objects.Text("new"))
			}
			return nil
		},
		alarm: func(tx *objects.Tx, _ objects.AlarmInfo) error {
			note.Set(tx, fmt.Sprint(note.Get(tx), "a"))
			return nil
		},
	}
	w := world(t, s)
	c := connect(t, w)
	w.Lose(at(w, "a"))
	if err := do(w, "a"); err != nil {
		t.Errorf("the answer, which the next owner knows, is %v", err)
	}
	w.Lose(at(w, "a"))
	w.Advance(time.Hour)
	if v, _ := stored(t, w, note, "a"); v != "xa" {
		t.Errorf("stored %s, want one write of the call and one of the alarm", v)
	}
	if got := heard(c); got != nil {
		t.Errorf("heard %q, want what had not left to be lost", got)
	}
	s.call = func(tx *objects.Tx) error {
		var kept string
		if tx.Sockets()[0].Attachment(&kept); kept != "new" || tx.Owner().Epoch != 3 {
			t.Errorf("attached is %q at epoch %d, want it kept, and two hosts lost", kept, tx.Owner().Epoch)
		}
		return nil
	}
	if err := do(w, "a"); err != nil {
		t.Error(err)
	}
}

func TestASocketThatOpensAsItsHostDiesDoesNot(t *testing.T) {
	w := world(t, &script{
		serve: func(tx *objects.Tx, _ http.ResponseWriter, _ *http.Request) {
			note.Set(tx, "x")
			if _, err := tx.Accept(); err != nil {
				t.Error(err)
			}
		},
		call: func(tx *objects.Tx) error {
			if n := len(tx.Sockets()); n > 0 {
				t.Errorf("%d sockets are open", n)
			}
			return nil
		},
	})
	w.Lose(at(w, "a"))
	if c, response := w.Connect(at(w, "a"), nil); c != nil || response.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("connect = %v, want 504: it is not known", response.Status)
	}
	if err := do(w, "a"); err != nil {
		t.Error(err)
	}
}

func TestAnAnswerThatIsTooLargeToKeepIsOnlyKnownToHaveBeenGiven(t *testing.T) {
	w := world(t, &script{serve: func(tx *objects.Tx, w http.ResponseWriter, _ *http.Request) {
		note.Set(tx, "x")
		fmt.Fprint(w, strings.Repeat("x", 2000))
	}})
	w.Lose(at(w, "a"))
	if _, err := at(w, "a").Fetch(httptest.NewRequest(http.MethodPost, "/", nil)); objects.CodeOf(err) != objects.Done {
		t.Errorf("fetch = %v, want done", err)
	}
}

func TestACommitOfUnknownFateHasLandedOrNot(t *testing.T) {
	for _, landed := range []bool{true, false} {
		w := world(t, &script{call: func(tx *objects.Tx) error { note.Set(tx, "x"); return nil }})
		w.Unknown(at(w, "a"), landed)
		if err := do(w, "a"); objects.CodeOf(err) != objects.Unknown {
			t.Errorf("landed %v: %v, want unknown", landed, err)
		}
		if _, ok := stored(t, w, note, "a"); ok != landed || w.Constructed(at(w, "a")) != 2 {
			t.Errorf("landed %v: stored %v, constructed %d times", landed, ok, w.Constructed(at(w, "a")))
		}
	}
}

func TestRunAlarmDoesNotWaitForItsTime(t *testing.T) {
	ran := 0
	s := &script{
		call: func(tx *objects.Tx) error { tx.SetAlarm(tx.Now().Add(24 * time.Hour)); return nil },
		alarm: func(tx *objects.Tx, info objects.AlarmInfo) error {
			if ran++; info.Retry == 0 {
				return objects.Errorf(objects.Unavailable, "later")
			}
			return nil
		},
	}
	w := world(t, s)
	if w.RunAlarm(at(w, "a")) {
		t.Error("an alarm ran that nobody has set")
	}
	if err := do(w, "a"); err != nil {
		t.Fatal(err)
	}
	before := w.Now()
	for range 2 { // it fails once
		if !w.RunAlarm(at(w, "a")) {
			t.Error("there was no alarm")
		}
	}
	if w.RunAlarm(at(w, "a")) || ran != 2 || !w.Now().Equal(before) {
		t.Errorf("ran %d times, want twice and then no more, in no time", ran)
	}
}

func TestAFaultThatNobodyWantsFailsTheTest(t *testing.T) {
	found := &findings{TB: t}
	w := objectstest.New(found, (&script{call: func(*objects.Tx) error { return errors.New("on purpose") }}).class())
	w.Faults(1)
	for range 2 {
		if err := do(w, "a"); objects.CodeOf(err) != objects.Internal {
			t.Error(err)
		}
	}
	if len(found.errors) != 1 || !strings.Contains(found.errors[0], "on purpose") {
		t.Errorf("the test was told %q, want of the second", found.errors)
	}
}

// diary writes in memory, and keeps it when it sleeps.
type diary struct{ lines []string }

var page = objects.NewKey[[]string]("page")

func (d *diary) Sleep(tx *objects.Tx) error {
	page.Set(tx, append(d.lines, fmt.Sprint("slept at ", tx.Owner().Epoch)))
	return nil
}

func TestAnInstanceSleepsBeforeItIsDropped(t *testing.T) {
	w := objectstest.New(t, objects.Implement("diary", func(tx *objects.Tx) *diary { return &diary{page.Get(tx)} }))
	a := w.Object("diary", "a")
	lines := func() (got []string) {
		err := objectstest.Inside(w, a, func(_ *objects.Tx, d *diary) error { got = d.lines; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, drop := range []func(objects.Ref){w.Evict, w.Move, w.Evict} {
		lines()
		drop(a)
	}
	if got, want := lines(), []string{"slept at 1", "slept at 1", "slept at 2"}; !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	w.Refuse(a)
	w.Move(a) // another host was quicker: there is nobody to run Sleep for
	if got := lines(); len(got) != 3 {
		t.Errorf("kept %q after a refused commit", got)
	}
}

func TestAPrincipalThatNoRequestCarriesIsRefused(t *testing.T) {
	w := world(t, &script{call: func(*objects.Tx) error { return nil }})
	ctx := objects.WithPrincipal(t.Context(), objects.Principal{ID: strings.Repeat("x", objects.MaxPrincipal)})
	if _, err := act.Do(ctx, at(w, "a"), nil); objects.CodeOf(err) != objects.TooLarge {
		t.Errorf("call = %v, want too_large", err)
	}
	if _, err := at(w, "a").Fetch(httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)); objects.CodeOf(err) != objects.TooLarge {
		t.Errorf("fetch = %v, want too_large", err)
	}
}

func TestAnEventHasTheTimeThatItsClassGivesIt(t *testing.T) {
	left := time.Duration(0)
	class := (&script{call: func(tx *objects.Tx) error {
		deadline, _ := tx.Deadline()
		left = time.Until(deadline)
		return nil
	}}).class()
	w := objectstest.New(t, class.With(objects.Settings{EventTime: 3 * time.Second}))
	if err := do(w, "a"); err != nil || left > 3*time.Second || left < time.Second {
		t.Errorf("%v left of three seconds, %v", left, err)
	}
}

func TestEvictWaitsForTheEventThatRuns(t *testing.T) {
	running, goOn := make(chan struct{}), make(chan struct{})
	w := world(t, &script{call: func(tx *objects.Tx) error {
		close(running)
		<-goOn
		note.Set(tx, "whole")
		return nil
	}})
	var both sync.WaitGroup
	both.Go(func() {
		if err := do(w, "a"); err != nil {
			t.Error(err)
		}
	})
	<-running
	both.Go(func() { w.Evict(at(w, "a")) })
	both.Go(func() { w.Evict(at(w, "a")) })
	close(goOn)
	both.Wait()
	if v, _ := stored(t, w, note, "a"); v != "whole" || w.Constructed(at(w, "a")) != 2 {
		t.Errorf("stored %q, constructed %d times", v, w.Constructed(at(w, "a")))
	}
}
