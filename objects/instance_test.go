package objects_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
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
			h := newHarness(t)
			out := h.fetch("", func(*objects.Tx) error {
				c.handler(h.w)
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
	h := newHarness(t)
	out := h.fetch("", func(*objects.Tx) error {
		fmt.Fprint(h.w, "half of")
		panic("on purpose")
	})
	nothingHappened(t, out)
}

func TestWhatAClassDoesNotDoIsNotFound(t *testing.T) {
	type plain struct{}
	class := objects.Implement("plain", objects.New[plain])
	sockets := &engine.Sockets{}
	sockets.Add(engine.SocketInfo{ID: "s1"})
	instance, out := class.Engine().Start(engine.World{
		Key: nameID(t, "plain", "a").Key(), Name: "a", Data: &engine.Data{}, Sockets: sockets, Now: time.Now,
		Object: engine.Alone{},
	})
	if out.Err != nil {
		t.Fatal(out.Err)
	}
	h := newHarness(t)
	h.instance = instance
	for name, out := range map[string]engine.Outcome{
		"call":  instance.Call(t.Context(), "none", []byte("null")),
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
	start := func(open func(*objects.Tx) thing) (*engine.Instance, engine.Outcome) {
		return objects.Implement("thing", open).Engine().Start(engine.World{
			Key: nameID(t, "thing", "a").Key(), Name: "a", Data: &engine.Data{}, Sockets: &engine.Sockets{}, Now: time.Now,
			Object: engine.Alone{},
			Owner:  engine.Owner{Host: "h", Region: "r", Epoch: 3},
		})
	}
	instance, out := start(func(tx *objects.Tx) thing {
		if tx.Name() != "a" || tx.ID() != nameID(t, "thing", "a") || tx.Owner() != (objects.Owner{Host: "h", Region: "r", Epoch: 3}) {
			t.Errorf("name %q, id %v, owner %v", tx.Name(), tx.ID(), tx.Owner())
		}
		number.Set(tx, 1)
		return thing{}
	})
	if instance == nil || out.Err != nil || len(out.Writes) != 1 {
		t.Errorf("instance %v, outcome %+v, want one write", instance, out)
	}
	instance, out = start(func(tx *objects.Tx) thing {
		number.Set(tx, 1)
		panic("on purpose")
	})
	nothingHappened(t, out)
	if instance != nil || len(out.Stack) == 0 {
		t.Errorf("instance %v with a stack of %d bytes, want none and where it was", instance, len(out.Stack))
	}
	instance, out = start(func(tx *objects.Tx) thing {
		objects.NewKey[int]("\xff").Set(tx, 1)
		return thing{}
	})
	nothingHappened(t, out)
	if instance != nil {
		t.Error("an instance came out of a constructor that failed")
	}
}

func TestImplementRefusesWhatTheFirstRunShows(t *testing.T) {
	type thing struct{}
	answer := func(*thing, *objects.Tx, objects.None) (n objects.None, err error) { return n, nil }
	on := func(class objects.Class, name string) objects.Handler[*thing] {
		return objects.On(objects.NewCall[objects.None, objects.None](class, name), answer)
	}
	open := objects.New[thing]
	for name, implement := range map[string]func(){
		"a bad class":             func() { objects.Implement("Thing", open) },
		"a call twice":            func() { objects.Implement("thing", open, on("thing", "a"), on("thing", "a")) },
		"an unnamed call":         func() { objects.Implement("thing", open, on("thing", "")) },
		"a call of a bad class":   func() { objects.Implement("thing", open, on("Thing", "a")) },
		"a call of another class": func() { objects.Implement("thing", open, on("other", "a")) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			implement()
		}()
	}
}

// ringer is what a constructor may return: what the instance can do is seen when it is there.
type ringer interface{ ring(tx *objects.Tx) }

type loud struct{ rang *int }

func (l loud) ring(*objects.Tx)                                { *l.rang++ }
func (l loud) Alarm(tx *objects.Tx, _ objects.AlarmInfo) error { l.ring(tx); return nil }

type quiet struct{}

func (quiet) ring(*objects.Tx) {}

func TestAConstructorMayReturnAnInterface(t *testing.T) {
	const bells objects.Class = "bell"
	set := objects.NewCall[objects.None, objects.None](bells, "set")
	rang := 0
	for name, is := range map[string]ringer{"loud": loud{&rang}, "quiet": quiet{}} {
		class := objects.Implement(bells, func(*objects.Tx) ringer { return is }, objects.On(set, func(_ ringer, tx *objects.Tx, _ objects.None) (objects.None, error) {
			tx.SetAlarm(tx.Now())
			return nil, nil
		}))
		instance, _ := class.Engine().Start(engine.World{
			Key: nameID(t, bells, "a").Key(), Data: &engine.Data{}, Sockets: &engine.Sockets{}, Now: time.Now,
			Object: engine.Alone{},
		})
		out := instance.Call(t.Context(), "set", []byte("null"))
		if !class.Engine().Alarms || (out.Alarm != nil) != (name == "loud") || (out.Err != nil) != (name == "quiet") {
			t.Errorf("%s: outcome %+v", name, out)
		}
		if out := instance.Alarm(t.Context(), engine.AlarmInfo{}); (out.Err == nil) != (name == "loud") {
			t.Errorf("%s: alarm = %v", name, out.Err)
		}
	}
	if rang != 1 {
		t.Errorf("rang %d times", rang)
	}
}

// transport answers every call with the same.
type transport struct {
	output string
	err    error
	input  *string
}

func (c transport) Call(_ context.Context, _ objects.Ref, _ string, input []byte) ([]byte, error) {
	if c.input != nil {
		*c.input = string(input)
	}
	return []byte(c.output), c.err
}

func (c transport) Fetch(objects.Ref, *http.Request) (*http.Response, error) { return nil, c.err }

func TestDoCarriesInputAndAnswerAsJSON(t *testing.T) {
	const as objects.Class = "a"
	double := objects.NewCall[int, string](as, "double")
	to := func(c transport) objects.Ref { return objects.NewCaller(c).Object(as, "a") }
	var input string
	out, err := double.Do(t.Context(), to(transport{`"42"`, nil, &input}), 21)
	if out != "42" || err != nil || input != "21" {
		t.Errorf("do = %q, %v with input %s", out, err, input)
	}
	refusal := objects.Errorf(objects.Conflict, "no")
	if _, err := double.Do(t.Context(), to(transport{err: refusal}), 21); !errors.Is(err, refusal) {
		t.Errorf("err = %v, want the caller's", err)
	}
	if _, err := double.Do(t.Context(), to(transport{output: "7"}), 21); err == nil {
		t.Error("a number was taken for a text")
	}
	raw := objects.NewCall[[]byte, []byte](as, "raw")
	if out, err := raw.Do(t.Context(), to(transport{"\xff\x00", nil, &input}), []byte("\xfe")); string(out) != "\xff\x00" || err != nil || input != "\xfe" {
		t.Errorf("raw = %q, %v with input %q, want bytes as they are", out, err, input)
	}
}

func TestWhatIsWrongWithARefOrACallIsAnErrorOfItsUse(t *testing.T) {
	const as objects.Class = "a"
	call := objects.NewCall[int, string](as, "call")
	by := objects.NewCaller(transport{})
	for name, err := range map[string]error{
		"an empty reference":     second(call.Do(t.Context(), objects.Ref{}, 1)),
		"no name":                second(call.Do(t.Context(), by.Object(as, ""), 1)),
		"a bad name":             second(call.Do(t.Context(), by.Object(as, "\xff"), 1)),
		"a bad class":            second(call.Do(t.Context(), by.Object("A", "a"), 1)),
		"another class":          second(call.Do(t.Context(), by.Object("b", "a"), 1)),
		"the zero id":            second(call.Do(t.Context(), by.ObjectByID(objects.ID{}), 1)),
		"a bad call":             second(objects.NewCall[int, string](as, "no call").Do(t.Context(), by.Object(as, "a"), 1)),
		"a call of a bad class":  second(objects.NewCall[int, string]("A", "call").Do(t.Context(), by.Object("A", "a"), 1)),
		"an input that is none":  second(objects.NewCall[func(), string](as, "odd").Do(t.Context(), by.Object(as, "a"), nil)),
		"a request to no name":   second(by.Object(as, "").Fetch(nil)),
		"a request to no object": second(objects.Ref{}.Fetch(nil)),
	} {
		if objects.CodeOf(err) != objects.Invalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	if err := by.Object(as, "a").Err(); err != nil {
		t.Errorf("a good reference: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestServeHTTPRefusesAndLeavesNothing(t *testing.T) {
	h := newHarness(t)
	for _, err := range []error{objects.Errorf(objects.Conflict, "no"), errOnPurpose} {
		out := h.fetch("", func(tx *objects.Tx) error {
			number.Set(tx, 1)
			fmt.Fprint(h.w, "half of")
			return err
		})
		nothingHappened(t, out)
		if _, refused := errors.AsType[*objects.Error](out.Err); !errors.Is(out.Err, err) || out.Drop == refused {
			t.Errorf("outcome = %+v, want %v", out, err)
		}
	}
}

func TestTxOfFindsTheEventOfARequestAndOfNoOther(t *testing.T) {
	h := newHarness(t)
	h.fetch("", func(tx *objects.Tx) error {
		type key struct{}
		r, err := http.NewRequestWithContext(context.WithValue(tx, key{}, 1), http.MethodGet, "/", nil)
		if err != nil || objects.TxOf(r) != tx {
			t.Errorf("of a derived request: %v, %v", objects.TxOf(r), err)
		}
		return nil
	})
	defer func() {
		if recover() == nil {
			t.Error("a request of nobody's has a transaction")
		}
	}()
	objects.TxOf(httptest.NewRequest(http.MethodGet, "/", nil))
}

func TestAnInputThatDoesNotFitIsRefusedAndTheInstanceKept(t *testing.T) {
	type thing struct{}
	const things objects.Class = "thing"
	add := objects.NewCall[int, int](things, "add")
	class := objects.Implement(things, objects.New[thing],
		objects.On(add, func(_ *thing, _ *objects.Tx, n int) (int, error) { return n + 1, nil }))
	instance, _ := class.Engine().Start(engine.World{
		Key: nameID(t, "thing", "a").Key(), Name: "a", Data: &engine.Data{}, Sockets: &engine.Sockets{}, Now: time.Now,
		Object: engine.Alone{},
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
	for code, want := range map[objects.Code]struct {
		http, closing    int
		retryable, known bool
	}{
		objects.Invalid:      {400, 4400, false, true},
		objects.Unauthorized: {401, 4401, false, true},
		objects.Forbidden:    {403, 4403, false, true},
		objects.NotFound:     {404, 4404, false, true},
		objects.Conflict:     {409, 4409, false, true},
		objects.Done:         {409, 4409, false, true},
		objects.TooLarge:     {413, 1009, false, true},
		objects.TooMany:      {429, 4429, true, true},
		objects.Overloaded:   {503, 1013, true, true},
		objects.Unavailable:  {503, 1012, true, true},
		objects.StorageFull:  {507, 1013, true, true},
		objects.Unknown:      {504, 1012, false, true},
		objects.Internal:     {500, 1011, false, true},
		"sold_out":           {409, 4409, false, false},
		"":                   {500, 1011, false, false},
		"No code":            {500, 1011, false, false},
	} {
		if code.HTTPStatus() != want.http || code.CloseCode() != want.closing || code.Retryable() != want.retryable || code.Known() != want.known {
			t.Errorf("%q: %d, %d, retryable %v, known %v, want %+v", code, code.HTTPStatus(), code.CloseCode(), code.Retryable(), code.Known(), want)
		}
	}
}

func TestAnErrorWrapsItsCauseAndCarriesDetails(t *testing.T) {
	err := objects.Errorf("sold_out", "row %d: %w", 3, errOnPurpose).With("row", 3).With("left", []string{"4a"})
	if !errors.Is(err, errOnPurpose) || err.Error() != "sold_out: row 3: on purpose" {
		t.Errorf("err = %v, want its cause to be found", err)
	}
	data, encoded := json.Marshal(err)
	if want := `{"code":"sold_out","message":"row 3: on purpose","details":{"left":["4a"],"row":3}}`; string(data) != want || encoded != nil {
		t.Errorf("travels as %s, %v, want %s", data, encoded, want)
	}
	for name, details := range map[string]any{"too large": strings.Repeat("x", objects.MaxDetails), "no JSON": func() {}} {
		data, encoded := json.Marshal(objects.Errorf(objects.Conflict, "no").With("d", details))
		if string(data) != `{"code":"conflict","message":"no"}` || encoded != nil {
			t.Errorf("details that are %s travel as %.100s, %v", name, data, encoded)
		}
	}
	if plain := objects.Errorf(objects.Conflict, "no"); plain.Unwrap() != nil {
		t.Errorf("a refusal without a cause has %v", plain.Unwrap())
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
	e := &objects.Error{Code: objects.Internal, Message: "the object failed", Reference: "x1"}
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
