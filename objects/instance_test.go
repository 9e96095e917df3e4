package objects_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

func TestFetchGivesWhatTheHandlerWrote(t *testing.T) {
	for name, c := range map[string]struct {
		handler func(w http.ResponseWriter)
		status  int
		body    string
		header  http.Header
	}{
		"nothing":       {func(http.ResponseWriter) {}, 200, "", http.Header{}},
		"a body":        {func(w http.ResponseWriter) { fmt.Fprint(w, "hi") }, 200, "hi", http.Header{"Content-Type": {"text/plain; charset=utf-8"}}},
		"a status":      {func(w http.ResponseWriter) { w.WriteHeader(204) }, 204, "", http.Header{}},
		"the first":     {func(w http.ResponseWriter) { w.WriteHeader(404); w.WriteHeader(200) }, 404, "", http.Header{}},
		"hints are not": {func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(201) }, 201, "", http.Header{}},
		"written twice": {func(w http.ResponseWriter) { fmt.Fprint(w, "a"); fmt.Fprint(w, "b"); w.WriteHeader(500) }, 200, "ab",
			http.Header{"Content-Type": {"text/plain; charset=utf-8"}}},
		"its own type": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, "{}")
			w.Header().Set("Too", "late")
		}, 200, "{}", http.Header{"Content-Type": {"application/json"}}},
		"http.Error": {func(w http.ResponseWriter) { http.Error(w, "no", http.StatusTeapot) }, 418, "no\n",
			http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}}},
		"many values": {func(w http.ResponseWriter) {
			w.Header().Add("Set-Cookie", "a=1")
			w.Header().Add("Set-Cookie", "b=2")
		}, 200, "", http.Header{"Set-Cookie": {"a=1", "b=2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			out := newHarness(t).fetch("", func(ctx context.Context, _ *objects.State) error {
				c.handler(exchangeOf(ctx).w)
				return nil
			})
			if out.Err != nil {
				t.Fatal(out.Err)
			}
			got := out.Response
			if got.Status != c.status || string(got.Body) != c.body || fmt.Sprint(got.Header) != fmt.Sprint(c.header) {
				t.Errorf("answer = %d %q %v, want %d %q %v", got.Status, got.Body, got.Header, c.status, c.body, c.header)
			}
		})
	}
}

func TestAFetchThatPanicsAnswersNothing(t *testing.T) {
	out := newHarness(t).fetch("", func(ctx context.Context, _ *objects.State) error {
		fmt.Fprint(exchangeOf(ctx).w, "half of")
		return errOnPurpose
	})
	nothingHappened(t, out)
}

func TestWhatAClassDoesNotDoIsNotFound(t *testing.T) {
	type plain struct{}
	class := objects.Define("plain", func(*objects.State) plain { return plain{} })
	sockets := &engine.Sockets{}
	sockets.Add(engine.SocketInfo{ID: "s1"})
	instance, out := class.Engine().Start(engine.World{
		Key: nameID(t, "plain", "a").Key(), Name: "a", Data: &engine.Data{}, Sockets: sockets, Now: time.Now,
		Alarm: func() engine.Alarm { return engine.Alarm{} },
	})
	if out.Err != nil {
		t.Fatal(out.Err)
	}
	h := newHarness(t)
	h.instance = instance
	for name, out := range map[string]engine.Outcome{
		"call":  instance.Call(t.Context(), "none", []byte("{}")),
		"fetch": h.fetch("", nil),
		"alarm": instance.Alarm(t.Context(), engine.AlarmInfo{}),
	} {
		nothingHappened(t, out)
		if objects.CodeOf(out.Err) != objects.NotFound || out.Drop {
			t.Errorf("%s: %v, drop %v, want not_found and the instance kept", name, out.Err, out.Drop)
		}
	}
	if out := instance.Message(t.Context(), "s1", engine.Message{Data: []byte("hi")}); out.Err != nil {
		t.Errorf("a message to the deaf: %v", out.Err)
	}
	if out := instance.Closed(t.Context(), "s1", engine.Close{}); out.Err != nil || sockets.Len() != 0 {
		t.Errorf("a close to the deaf: %v, %d sockets left", out.Err, sockets.Len())
	}
}

func TestTheConstructorIsAnEventOfItsOwn(t *testing.T) {
	type thing struct{}
	start := func(open func(*objects.State) thing) (*engine.Instance, engine.Outcome) {
		return objects.Define("thing", open).Engine().Start(engine.World{
			Key: nameID(t, "thing", "a").Key(), Name: "a", Data: &engine.Data{}, Sockets: &engine.Sockets{}, Now: time.Now,
			Alarm: func() engine.Alarm { return engine.Alarm{} },
			Owner: engine.Owner{Host: "h", Region: "r", Epoch: 3},
		})
	}
	instance, out := start(func(s *objects.State) thing {
		if s.Name() != "a" || s.ID() != nameID(t, "thing", "a") || s.Owner() != (objects.Owner{Host: "h", Region: "r", Epoch: 3}) {
			t.Errorf("name %q, id %v, owner %v", s.Name(), s.ID(), s.Owner())
		}
		number.Set(s, 1)
		return thing{}
	})
	if instance == nil || out.Err != nil || len(out.Writes) != 1 {
		t.Errorf("instance %v, outcome %+v, want one write", instance, out)
	}
	instance, out = start(func(s *objects.State) thing {
		number.Set(s, 1)
		panic("on purpose")
	})
	nothingHappened(t, out)
	if instance != nil || len(out.Stack) == 0 {
		t.Errorf("instance %v with a stack of %d bytes, want none and where it was", instance, len(out.Stack))
	}
	instance, out = start(func(s *objects.State) thing {
		objects.NewKey[int]("\xff").Set(s, 1)
		return thing{}
	})
	nothingHappened(t, out)
	if instance != nil {
		t.Error("an instance came out of a constructor that failed")
	}
}

func TestDefineRefusesWhatTheFirstRunShows(t *testing.T) {
	type thing struct{}
	open := func(*objects.State) thing { return thing{} }
	answer := func(thing, context.Context, objects.None) (n objects.None, err error) { return n, nil }
	on := objects.On(objects.NewCall[objects.None, objects.None]("a"), answer)
	unnamed := objects.On(objects.NewCall[objects.None, objects.None](""), answer)
	for name, define := range map[string]func(){
		"a bad name":      func() { objects.Define("Thing", open) },
		"a call twice":    func() { objects.Define("thing", open, on, on) },
		"an unnamed call": func() { objects.Define("thing", open, unnamed) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			define()
		}()
	}
}

// caller answers every call with the same.
type caller struct {
	output string
	err    error
	input  *string
}

func (c caller) Call(_ context.Context, _ objects.ID, _ string, input []byte) ([]byte, error) {
	if c.input != nil {
		*c.input = string(input)
	}
	return []byte(c.output), c.err
}

func TestDoCarriesInputAndAnswerAsJSON(t *testing.T) {
	double := objects.NewCall[int, string]("double")
	id := nameID(t, "a", "a")
	var input string
	out, err := double.Do(t.Context(), objects.NewRef(id, caller{`"42"`, nil, &input}), 21)
	if out != "42" || err != nil || input != "21" {
		t.Errorf("do = %q, %v with input %s", out, err, input)
	}
	refusal := objects.Errorf(objects.Conflict, "no")
	if _, err := double.Do(t.Context(), objects.NewRef(id, caller{"", refusal, nil}), 21); !errors.Is(err, refusal) {
		t.Errorf("err = %v, want the caller's", err)
	}
	if _, err := double.Do(t.Context(), objects.NewRef(id, caller{"7", nil, nil}), 21); err == nil {
		t.Error("a number was taken for a text")
	}
	if _, err := double.Do(t.Context(), objects.Ref{}, 21); objects.CodeOf(err) != objects.Invalid {
		t.Errorf("an empty reference: %v, want invalid", err)
	}
	odd := objects.NewCall[func(), string]("odd")
	if _, err := odd.Do(t.Context(), objects.NewRef(id, caller{}), nil); objects.CodeOf(err) != objects.Invalid {
		t.Errorf("an input that is no JSON: %v, want invalid", err)
	}
}

func TestAnInputThatDoesNotFitIsRefusedAndTheInstanceKept(t *testing.T) {
	type thing struct{}
	add := objects.NewCall[int, int]("add")
	class := objects.Define("thing", func(*objects.State) thing { return thing{} },
		objects.On(add, func(_ thing, _ context.Context, n int) (int, error) { return n + 1, nil }))
	instance, _ := class.Engine().Start(engine.World{
		Key: nameID(t, "thing", "a").Key(), Name: "a", Data: &engine.Data{}, Sockets: &engine.Sockets{}, Now: time.Now,
		Alarm: func() engine.Alarm { return engine.Alarm{} },
	})
	for _, input := range []string{``, `"1"`, `{`, `1 2`, `1e99`} {
		out := instance.Call(t.Context(), "add", []byte(input))
		nothingHappened(t, out)
		if objects.CodeOf(out.Err) != objects.Invalid || out.Drop {
			t.Errorf("input %q: %v, drop %v, want invalid", input, out.Err, out.Drop)
		}
	}
	if out := instance.Call(t.Context(), "add", []byte(" 1 ")); string(out.Output) != "2" || out.Err != nil {
		t.Errorf("add = %s, %v, want 2", out.Output, out.Err)
	}
}

func TestEveryCodeHasItsPlaceInTheTable(t *testing.T) {
	for code, want := range map[objects.Code][3]int{ // HTTP status, close code, exit code
		objects.Invalid:      {400, 4400, 2},
		objects.Unauthorized: {401, 4401, 6},
		objects.Forbidden:    {403, 4403, 6},
		objects.NotFound:     {404, 4404, 4},
		objects.Conflict:     {409, 4409, 5},
		objects.TooLarge:     {413, 1009, 1},
		objects.TooMany:      {429, 4429, 1},
		objects.Overloaded:   {503, 1013, 1},
		objects.Unavailable:  {503, 1012, 7},
		objects.Unknown:      {504, 1012, 8},
		objects.Internal:     {500, 1011, 1},
		objects.Done:         {409, 4409, 5},
		objects.StorageFull:  {507, 1013, 1},
		"sold_out":           {409, 4409, 5},
		"":                   {500, 1011, 1},
		"No code":            {500, 1011, 1},
	} {
		if got := [3]int{code.HTTPStatus(), code.CloseCode(), code.ExitCode()}; got != want {
			t.Errorf("%s = %v, want %v", code, got, want)
		}
	}
}

func TestCodeOfTellsWhetherAnythingHappened(t *testing.T) {
	refusal := objects.Errorf(objects.Conflict, "%d seats", 3)
	for name, c := range map[string]struct {
		err  error
		want objects.Code
	}{
		"nil":       {nil, ""},
		"refusal":   {refusal, objects.Conflict},
		"wrapped":   {fmt.Errorf("claim: %w", refusal), objects.Conflict},
		"joined":    {errors.Join(errOnPurpose, refusal), objects.Conflict},
		"deadline":  {fmt.Errorf("claim: %w", context.DeadlineExceeded), objects.Unknown},
		"cancelled": {context.Canceled, objects.Unknown},
		"fault":     {errOnPurpose, objects.Internal},
	} {
		if got := objects.CodeOf(c.err); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := refusal.Error(); got != "conflict: 3 seats" {
		t.Errorf("refusal = %q", got)
	}
	e := &objects.Error{Code: objects.Internal, Message: "the object failed", Ref: "x1"}
	if !strings.Contains(e.Error(), "x1") {
		t.Errorf("error = %q, want the reference in it", e)
	}
}

func TestMessagesAreWhatTheySay(t *testing.T) {
	if m := objects.Text("a"); m.Binary || string(m.Data) != "a" {
		t.Errorf("text = %+v", m)
	}
	if m := objects.Binary([]byte{1}); !m.Binary || m.Data[0] != 1 {
		t.Errorf("binary = %+v", m)
	}
	if m := objects.JSON(map[string]int{"a": 1}); m.Binary || !json.Valid(m.Data) || string(m.Data) != `{"a":1}` {
		t.Errorf("JSON = %+v", m)
	}
	defer func() {
		if recover() == nil {
			t.Error("JSON of a function did not panic")
		}
	}()
	objects.JSON(func() {})
}
