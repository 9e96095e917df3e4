package objectstest_test

import (
	"context"
	"encoding/json"
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
	construct func(*objects.State)
	call      func(context.Context, *objects.State) error
	serve     func(*objects.State, http.ResponseWriter, *http.Request)
	message   func(*objects.State, *objects.Socket, objects.Message) error
	closed    func(*objects.State, *objects.Socket, objects.Close) error
	alarm     func(*objects.State, objects.AlarmInfo) error
}

// puppet is an object that follows its script. Its sockets are accepted.
type puppet struct {
	state  *objects.State
	script *script
}

var (
	act  = objects.NewCall[objects.None, objects.None]("act")
	note = objects.NewKey[string]("note")
	runs = objects.NewKey[[]string]("runs")
)

func (s *script) class() *objects.Class {
	open := func(state *objects.State) *puppet {
		if s.construct != nil {
			s.construct(state)
		}
		return &puppet{state, s}
	}
	return objects.Define("puppet", open, objects.On(act, (*puppet).act))
}

func (p *puppet) act(ctx context.Context, n objects.None) (objects.None, error) {
	return n, p.script.call(ctx, p.state)
}

func (p *puppet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.script.serve != nil {
		p.script.serve(p.state, w, r)
		return
	}
	if _, err := p.state.Accept(r); err != nil {
		http.Error(w, err.Error(), http.StatusUpgradeRequired)
	}
}

func (p *puppet) WebSocketMessage(_ context.Context, from *objects.Socket, m objects.Message) error {
	return p.script.message(p.state, from, m)
}

func (p *puppet) WebSocketClose(_ context.Context, s *objects.Socket, end objects.Close) error {
	if p.script.closed == nil {
		return nil
	}
	return p.script.closed(p.state, s, end)
}

func (p *puppet) Alarm(_ context.Context, info objects.AlarmInfo) error {
	return p.script.alarm(p.state, info)
}

func world(t testing.TB, s *script) *objectstest.World { return objectstest.New(t, s.class()) }

// do has the object called name act.
func do(w *objectstest.World, name string) error {
	_, err := act.Do(context.Background(), w.Ref("puppet", name), objects.None{})
	return err
}

func connect(t *testing.T, w *objectstest.World) *objectstest.Client {
	t.Helper()
	c, err := w.Connect("puppet", "a", "/")
	if err != nil {
		t.Fatal(err)
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
	s := &script{call: func(_ context.Context, s *objects.State) error {
		runs.Set(s, append(runs.Get(s, nil), s.Name()))
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
		var got []string
		value, _ := w.Stored("puppet", name, "runs")
		if err := json.Unmarshal([]byte(value), &got); err != nil || len(got) != 20 || slices.Max(got) != name || slices.Min(got) != name {
			t.Errorf("%s ran %v, %v, want itself 20 times", name, got, err)
		}
		if n := w.Constructed("puppet", name); n != 1 {
			t.Errorf("%s was constructed %d times", name, n)
		}
	}
}

func TestARefusalKeepsTheInstanceAndAFaultDropsItAndHidesItsText(t *testing.T) {
	var end func() error
	s := &script{call: func(_ context.Context, s *objects.State) error {
		note.Set(s, "lost")
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
			end = c.end
			err := do(w, "a")
			e, ok := objects.AsError(err)
			if !ok || e.Code != c.code || strings.Contains(err.Error(), "secret") || (c.code == objects.Internal) != (e.Ref != "") {
				t.Errorf("err = %v, want %s, a reference if it is a fault, and no secret", err, c.code)
			}
			end = func() error { return objects.Errorf(objects.Conflict, "no") }
			_ = do(w, "a")
			if n := w.Constructed("puppet", "a"); n != c.constructed {
				t.Errorf("constructed %d times, want %d", n, c.constructed)
			}
			if v, ok := w.Stored("puppet", "a", "note"); ok {
				t.Errorf("stored %s, want nothing", v)
			}
		})
	}
}

func TestAConstructorThatPanicsFailsTheEventAndTheNextTriesAgain(t *testing.T) {
	broken := true
	s := &script{
		construct: func(s *objects.State) {
			if note.Set(s, "made"); broken {
				panic("secret")
			}
		},
		call: func(_ context.Context, s *objects.State) error { return nil },
	}
	w := world(t, s)
	if err := do(w, "a"); objects.CodeOf(err) != objects.Internal {
		t.Errorf("err = %v, want internal", err)
	}
	if _, err := w.Connect("puppet", "a", "/"); objects.CodeOf(err) != objects.Internal {
		t.Errorf("connect = %v, want internal", err)
	}
	broken = false
	if err := do(w, "a"); err != nil {
		t.Error(err)
	}
	if v, _ := w.Stored("puppet", "a", "note"); v != `"made"` || w.Constructed("puppet", "a") != 3 {
		t.Errorf("stored %s after %d constructions, want the constructor's write after 3", v, w.Constructed("puppet", "a"))
	}
}

func TestWhatCannotBeReachedIsNotFound(t *testing.T) {
	w := world(t, &script{})
	missing := objects.NewCall[objects.None, objects.None]("missing")
	if _, err := missing.Do(t.Context(), w.Ref("puppet", "a"), objects.None{}); objects.CodeOf(err) != objects.NotFound {
		t.Errorf("no such call: %v", err)
	}
	if _, err := act.Do(t.Context(), w.Ref("nobody", "a"), objects.None{}); objects.CodeOf(err) != objects.NotFound {
		t.Errorf("no such class: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := act.Do(ctx, w.Ref("puppet", "a"), objects.None{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who has gone: %v", err)
	}
}

func TestFetchAnswersAsAGatewayWould(t *testing.T) {
	for name, c := range map[string]struct {
		serve  func(*objects.State, http.ResponseWriter, *http.Request)
		status int
		body   string
	}{
		"answer": {func(_ *objects.State, w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
		}, 201, "POST /x "},
		"panic": {func(*objects.State, http.ResponseWriter, *http.Request) { panic("secret") }, 500, `"code":"internal"`},
		"too much": {func(s *objects.State, _ http.ResponseWriter, _ *http.Request) {
			note.Set(s, strings.Repeat("x", objects.MaxState))
		}, 413, `"code":"too_large"`},
		"upgrade": {nil, 426, "not a WebSocket upgrade"},
	} {
		t.Run(name, func(t *testing.T) {
			w := world(t, &script{serve: c.serve})
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://test/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			response := w.Fetch("puppet", "a", r)
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != c.status || !strings.Contains(string(body), c.body) || strings.Contains(string(body), "secret") {
				t.Errorf("answer = %s %s, %v, want %d with %s", response.Status, body, err, c.status, c.body)
			}
		})
	}
}

func TestAnEventWhoseCommitIsRefusedRunsAgainAtTheNextOwner(t *testing.T) {
	var epochs []uint64
	s := &script{
		call: func(_ context.Context, s *objects.State) error {
			epochs = append(epochs, s.Owner().Epoch)
			note.Set(s, fmt.Sprint(note.Get(s, ""), "x"))
			s.SetAlarm(s.Now())
			for _, socket := range s.Sockets() {
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
	w.RefuseCommit("puppet", "a")
	if err := do(w, "a"); err != nil || !slices.Equal(epochs, []uint64{1, 2}) || w.Constructed("puppet", "a") != 2 {
		t.Errorf("err = %v, ran at epochs %v with %d instances, want it at 1 and 2", err, epochs, w.Constructed("puppet", "a"))
	}
	if v, _ := w.Stored("puppet", "a", "note"); v != `"x"` {
		t.Errorf("stored %s, want one write", v)
	}
	if got := heard(c); !slices.Equal(got, []string{"new"}) {
		t.Errorf("heard %q, want one frame", got)
	}
}

func TestAlarmsRunAtTheirTimeInOrder(t *testing.T) {
	var order []string
	s := &script{call: func(_ context.Context, s *objects.State) error {
		d, err := time.ParseDuration(s.Name())
		s.SetAlarm(s.Now().Add(d))
		return err
	}}
	w := world(t, s)
	began := w.Now()
	s.alarm = func(s *objects.State, info objects.AlarmInfo) error {
		order = append(order, fmt.Sprint(s.Name(), " at ", w.Now().Sub(began)))
		if late := s.Now().Sub(info.Scheduled); late != 0 && s.Name() != "-1s" || info.Retry != 0 {
			t.Errorf("info of %s = %+v, %v late", s.Name(), info, late)
		}
		if s.Name() == "1s" {
			s.SetAlarm(s.Now().Add(1500 * time.Millisecond))
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
	if a := w.Alarm("puppet", "1h"); !a.At.Equal(began.Add(time.Hour)) {
		t.Errorf("alarm of 1h = %+v", a)
	}
}

func TestAnAlarmThatFailsIsTriedSixTimesMoreAndParked(t *testing.T) {
	var tries []time.Duration
	s := &script{call: func(_ context.Context, s *objects.State) error { s.SetAlarm(s.Now()); return nil }}
	w := world(t, s)
	began := w.Now()
	s.alarm = func(s *objects.State, info objects.AlarmInfo) error {
		tries = append(tries, s.Now().Sub(began))
		if info.Retry != len(tries)-1 {
			t.Errorf("retry %d is run %d", info.Retry, len(tries))
		}
		note.Set(s, "lost")
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
			t.Fatalf("tried after %v, want it after 2 s, and double from there, six times", tries)
		}
	}
	if a := w.Alarm("puppet", "a"); !a.Parked || !a.At.Equal(began) || a.Retry != 6 {
		t.Errorf("alarm = %+v, want it parked", a)
	}
	if v, ok := w.Stored("puppet", "a", "note"); ok {
		t.Errorf("stored %s", v)
	}
	s.alarm = func(*objects.State, objects.AlarmInfo) error { return nil }
	if err := do(w, "a"); err != nil { // a parked alarm gives way to a new one
		t.Fatal(err)
	}
	w.Advance(0)
	if a := w.Alarm("puppet", "a"); a != (objectstest.Alarm{}) {
		t.Errorf("alarm = %+v, want none", a)
	}
}

func TestARefusedCommitOfAnAlarmIsNotItsFault(t *testing.T) {
	tries := 0
	s := &script{
		call: func(_ context.Context, s *objects.State) error { s.SetAlarm(s.Now().Add(time.Minute)); return nil },
		alarm: func(s *objects.State, info objects.AlarmInfo) error {
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
	w.RefuseCommit("puppet", "a")
	w.Advance(time.Minute)
	if a := w.Alarm("puppet", "a"); tries != 2 || a != (objectstest.Alarm{}) {
		t.Errorf("%d tries, alarm %+v, want 2 and none", tries, a)
	}
}

func TestAConstructorThatSetsTheAlarmAnewPutsItOff(t *testing.T) {
	ran := 0
	s := &script{
		construct: func(s *objects.State) { s.SetAlarm(s.Now().Add(time.Minute)) },
		call:      func(context.Context, *objects.State) error { return nil },
		alarm:     func(*objects.State, objects.AlarmInfo) error { ran++; return nil },
	}
	w := world(t, s)
	if err := do(w, "a"); err != nil {
		t.Fatal(err)
	}
	w.Evict("puppet", "a")
	w.Advance(time.Minute)
	if a := w.Alarm("puppet", "a"); ran != 0 || !a.At.Equal(w.Now().Add(time.Minute)) {
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
		call:  func(_ context.Context, s *objects.State) error { s.SetAlarm(s.Now()); return nil },
		alarm: func(s *objects.State, _ objects.AlarmInfo) error { s.SetAlarm(s.Now()); return nil },
	}
	w := objectstest.New(strict{t}, s.class())
	if err := do(w, "a"); err != nil {
		t.Fatal(err)
	}
	for want, misuse := range map[string]func(){
		"time does not go back": func() { w.Advance(-1) },
		"is due again":          func() { w.Advance(0) },
		"no class":              func() { w.Evict("nobody", "a") },
		"must not be empty":     func() { w.Ref("puppet", "") },
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
	w := world(t, &script{serve: func(_ *objects.State, w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }})
	response := w.Fetch("puppet", "a", httptest.NewRequest(http.MethodPost, "/", strings.NewReader("hello")))
	if body, err := io.ReadAll(response.Body); string(body) != "hello" || err != nil || response.ContentLength != 5 {
		t.Errorf("echo = %q of %d bytes, %v", body, response.ContentLength, err)
	}
}
