package objects_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

var (
	number = objects.NewKey[int]("number")
	text   = objects.NewKey[string]("text")
)

var errOnPurpose = errors.New("on purpose")

func TestAnEventSeesItsOwnWritesAndLandsThemTogether(t *testing.T) {
	h := newHarness(t)
	out := h.must(func(tx *objects.Tx) {
		if got, ok := number.Lookup(tx); got != 0 || ok {
			t.Errorf("before = %d, %v, want none", got, ok)
		}
		number.Set(tx, 1)
		number.Set(tx, 2)
		text.Set(tx, "<é>")
		if got, ok := number.Lookup(tx); got != 2 || !ok {
			t.Errorf("number = %d, %v, want 2", got, ok)
		}
		if !text.Delete(tx) || text.Delete(tx) {
			t.Error("want the first delete to find the entry and the second not")
		}
		text.Set(tx, "again")
	})
	if len(out.Writes) != 2 || h.stored() != `{"number":2,"text":"again"}` {
		t.Errorf("%d writes made %s", len(out.Writes), h.stored())
	}
}

func TestAnEventThatChangesNothingHasNothingToCommit(t *testing.T) {
	h := newHarness(t)
	h.must(func(tx *objects.Tx) { number.Set(tx, 1) })
	out := h.must(func(tx *objects.Tx) {
		number.Set(tx, 2)
		number.Set(tx, 1)
		text.Set(tx, "for a moment")
		text.Delete(tx)
		text.Delete(tx)
	})
	if out.Changed() {
		t.Errorf("outcome = %+v, want no change", out)
	}
}

func TestAnErrorOrAPanicRollsTheEventBack(t *testing.T) {
	for name, c := range map[string]struct {
		end  error
		drop bool
	}{
		"refusal":         {objects.Errorf(objects.Conflict, "sold out"), false},
		"wrapped refusal": {fmt.Errorf("claim: %w", objects.Errorf(objects.Conflict, "sold out")), false},
		"fault":           {errOnPurpose, true},
		"panic":           {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.must(func(tx *objects.Tx) { number.Set(tx, 1) })
			h.open("s1")
			out := h.call(func(tx *objects.Tx) error {
				number.Set(tx, 2)
				text.Set(tx, "new")
				tx.SetAlarm(h.now)
				tx.Sockets()[0].Send(objects.Text("hi"))
				if c.end == nil {
					panic("on purpose")
				}
				return c.end
			})
			nothingHappened(t, out)
			if out.Drop != c.drop {
				t.Errorf("drop = %v, want %v", out.Drop, c.drop)
			}
			if c.end != nil && !errors.Is(out.Err, c.end) {
				t.Errorf("err = %v, want %v", out.Err, c.end)
			}
			if _, told := errors.AsType[*objects.Error](out.Err); (c.end == nil) && (told || len(out.Stack) == 0) {
				t.Errorf("a panic gave %v with a stack of %d bytes, want a fault with its stack", out.Err, len(out.Stack))
			}
			h.must(func(tx *objects.Tx) {
				if got := number.Get(tx); got != 1 {
					t.Errorf("number = %d, want 1 as before", got)
				}
				if at, set := tx.Alarm(); set {
					t.Errorf("alarm = %v, want none", at)
				}
			})
		})
	}
}

func TestATransactionIsASavepoint(t *testing.T) {
	h := newHarness(t)
	out := h.call(func(tx *objects.Tx) error {
		number.Set(tx, 1)
		err := tx.Transact(func() error {
			number.Set(tx, 2)
			text.Set(tx, "new")
			tx.SetAlarm(h.now.Add(1))
			err := tx.Transact(func() error {
				number.Set(tx, 3)
				text.Delete(tx)
				return errOnPurpose
			})
			if !errors.Is(err, errOnPurpose) {
				t.Errorf("inner = %v, want what it returned", err)
			}
			if got := number.Get(tx); got != 2 {
				t.Errorf("after the inner = %d, want 2", got)
			}
			return nil
		})
		if err != nil {
			t.Errorf("outer = %v", err)
		}
		err = tx.Transact(func() error {
			number.Set(tx, 9)
			tx.DeleteAlarm()
			return errOnPurpose
		})
		if !errors.Is(err, errOnPurpose) {
			t.Errorf("failed transaction = %v, want its error", err)
		}
		return nil
	})
	if out.Err != nil || out.Alarm == nil || h.stored() != `{"number":2,"text":"new"}` {
		t.Errorf("stored %s with alarm %v, %v", h.stored(), out.Alarm, out.Err)
	}
}

func TestAPanicInATransactionUndoesItAndTheEventMayGoOn(t *testing.T) {
	h := newHarness(t)
	out := h.call(func(tx *objects.Tx) error {
		number.Set(tx, 1)
		func() {
			defer func() { _ = recover() }()
			_ = tx.Transact(func() error {
				number.Set(tx, 2)
				return tx.Transact(func() error {
					number.Set(tx, 3)
					panic("on purpose")
				})
			})
		}()
		text.Set(tx, "after")
		return nil
	})
	if out.Err != nil || h.stored() != `{"number":1,"text":"after"}` {
		t.Errorf("stored %s, %v", h.stored(), out.Err)
	}
}

func TestAFaultOfStorageAbortsTheEvent(t *testing.T) {
	h := newHarness(t)
	h.must(func(tx *objects.Tx) { text.Set(tx, "no number") })
	for name, c := range map[string]struct {
		fault func(tx *objects.Tx)
		code  objects.Code
	}{
		"encode": {func(tx *objects.Tx) { objects.NewKey[float64]("f").Set(tx, math.NaN()) }, objects.Internal},
		"decode": {func(tx *objects.Tx) { objects.NewKey[int]("text").Get(tx) }, objects.Internal},
		"big any": {func(tx *objects.Tx) {
			objects.NewKey[map[string]any]("a").Set(tx, map[string]any{"n": int64(9007199254740993)})
		}, objects.Internal},
		"broken text":         {func(tx *objects.Tx) { objects.NewKey[[]string]("t").Set(tx, []string{"\xff"}) }, objects.Internal},
		"map":                 {func(tx *objects.Tx) { _ = maps.Collect(objects.NewMap[string, int]("").All(tx)) }, objects.Internal},
		"long value of a map": {func(tx *objects.Tx) { objects.NewMap[string, int]("m").Set(tx, strings.Repeat("k", objects.MaxKey), 1) }, objects.TooLarge},
		"a time that is no key": {func(tx *objects.Tx) {
			objects.NewMap[time.Time, int]("m").Set(tx, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), 1)
		}, objects.Invalid},
		"a range from no key": {func(tx *objects.Tx) {
			objects.NewMap[time.Time, int]("m").From(time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)).Count(tx)
		}, objects.Invalid},
		"no key": {func(tx *objects.Tx) { objects.NewKey[int]("").Set(tx, 1) }, objects.Invalid},
		"bytes as a number": {func(tx *objects.Tx) {
			objects.NewKey[[]byte]("b").Set(tx, []byte("1"))
			objects.NewKey[int]("b").Get(tx)
		}, objects.Internal},
		"JSON for a codec": {func(tx *objects.Tx) { objects.NewKey("text", upper).Get(tx) }, objects.Internal},
		"codec that fails": {func(tx *objects.Tx) { objects.NewKey("c", upper).Set(tx, "fail") }, objects.Internal},
		"long key":         {func(tx *objects.Tx) { objects.NewKey[int](strings.Repeat("k", objects.MaxKey+1)).Set(tx, 1) }, objects.TooLarge},
		"broken key":       {func(tx *objects.Tx) { objects.NewKey[int]("\xff").Set(tx, 1) }, objects.Invalid},
		"in a transaction": {func(tx *objects.Tx) {
			_ = tx.Transact(func() error {
				objects.NewKey[int]("text").Get(tx)
				return errOnPurpose
			})
		}, objects.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			before := h.stored()
			out := h.call(func(tx *objects.Tx) error {
				number.Set(tx, 1)
				c.fault(tx)
				t.Error("the handler went on")
				return nil
			})
			nothingHappened(t, out)
			if code := objects.CodeOf(out.Err); code != c.code || !out.Drop {
				t.Errorf("%v: code %s, drop %v, want %s and the instance dropped", out.Err, code, out.Drop, c.code)
			}
			if h.stored() != before {
				t.Errorf("stored %s, want %s", h.stored(), before)
			}
		})
	}
}

func TestTheLongestKeyIsAKey(t *testing.T) {
	h := newHarness(t)
	key := objects.NewKey[int](strings.Repeat("é", objects.MaxKey/2))
	h.must(func(tx *objects.Tx) { key.Set(tx, 1) })
	h.must(func(tx *objects.Tx) {
		if got := key.Get(tx); got != 1 {
			t.Errorf("value = %d, want 1", got)
		}
	})
}

func TestAStateThatIsTooLargeIsRefusedAndLosesNothing(t *testing.T) {
	h := newHarness(t)
	overhead, most := len(`"text":"",`), 512<<10
	h.settings.State = most
	h.start()
	h.must(func(tx *objects.Tx) { text.Set(tx, strings.Repeat("x", most-overhead)) })
	if h.data.Size() != most {
		t.Fatalf("size = %d, want exactly the limit %d", h.data.Size(), most)
	}
	before := h.stored()
	for name, grow := range map[string]func(*objects.Tx){
		"a longer value": func(tx *objects.Tx) { text.Set(tx, strings.Repeat("x", most-overhead+1)) },
		"another key":    func(tx *objects.Tx) { number.Set(tx, 1) },
	} {
		out := h.call(func(tx *objects.Tx) error { grow(tx); return nil })
		nothingHappened(t, out)
		if objects.CodeOf(out.Err) != objects.TooLarge || !out.Drop {
			t.Errorf("%s: %v, drop %v, want too_large and the instance dropped", name, out.Err, out.Drop)
		}
		if h.stored() != before {
			t.Errorf("%s: the storage has changed", name)
		}
	}
	h.must(func(tx *objects.Tx) { tx.SetAlarm(h.now) }) // what does not grow still works
	h.must(func(tx *objects.Tx) { text.Delete(tx); number.Set(tx, 1) })
	if h.stored() != `{"number":1}` {
		t.Errorf("stored %s", h.stored())
	}
}

func TestAValueOrAnEventThatIsTooLargeIsRefusedAndLosesNothing(t *testing.T) {
	h := newHarness(t)
	h.settings.Value, h.settings.Writes = 1000, 3000
	h.start()
	key := func(n int) objects.Key[string] { return objects.NewKey[string](fmt.Sprint(n)) }
	most := strings.Repeat("x", 1000-len(`""`))
	h.must(func(tx *objects.Tx) { key(0).Set(tx, most) })
	before := h.stored()
	for name, c := range map[string]struct {
		write func(*objects.Tx)
		says  string
	}{
		"a value": {func(tx *objects.Tx) { key(1).Set(tx, most+"x") }, "the value of the storage key \"1\" has 1001 bytes, at most 1000"},
		"an event": {func(tx *objects.Tx) {
			for n := range 3 {
				key(n).Set(tx, "y"+most[1:]) // and three bytes of keys
			}
		}, "the event writes 3003 bytes, at most 3000"},
	} {
		out := h.call(func(tx *objects.Tx) error { c.write(tx); return nil })
		nothingHappened(t, out)
		if objects.CodeOf(out.Err) != objects.TooLarge || !strings.Contains(out.Err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, out.Err, c.says)
		}
		if h.stored() != before {
			t.Errorf("%s: the storage has changed", name)
		}
	}
}

func TestATransactionIsOfUseDuringItsEventOnly(t *testing.T) {
	h := newHarness(t)
	h.open("s1")
	var kept *objects.Tx
	var socket objects.Socket
	var list func(func(string, int) bool)
	everything := objects.NewMap[string, int]("")
	h.must(func(tx *objects.Tx) {
		number.Set(tx, 1)
		kept, socket, list = tx, tx.Sockets()[0], everything.All(tx)
	})
	for name, use := range map[string]func(){
		"get":     func() { number.Get(kept) },
		"set":     func() { number.Set(kept, 0) },
		"sockets": func() { kept.Sockets() },
		"alarm":   func() { kept.SetAlarm(h.now) },
		"send":    func() { socket.Send(objects.Text("late")) },
		"close":   func() { socket.Close(1000, "") },
		"attach":  func() { socket.Attach(1) },
		"list":    func() { list(func(string, int) bool { return true }) },
		"count":   func() { everything.Count(kept) },
		"clear":   func() { everything.Clear(kept) },
		"reset":   func() { kept.DeleteAll() },
	} {
		went := false
		ended := make(chan struct{})
		go func() { // which the misuse ends
			defer close(ended)
			use()
			went = true
		}()
		if <-ended; went {
			t.Errorf("%s after the event did what it says", name)
		}
	}
}

// TestStorageIsAMap compares the storage with a plain map through random events:
// sets, deletes, reads and lists in nested transactions, some of which fail, and
// instances that come and go.
func TestStorageIsAMap(t *testing.T) {
	keys := rapid.SampledFrom([]string{"\x01", "a", "ab", "a/", "a/b", "a/c", "b", "é", `"`, "\u2028", "z\x00", "<&>"})
	prefixes := rapid.SampledFrom([]string{"", "a", "a/", "b", "c", "é", "zz"})
	rapid.Check(t, func(t *rapid.T) {
		h := newHarness(t)
		landed := map[string]int{}
		for range rapid.IntRange(1, 8).Draw(t, "events") {
			model := maps.Clone(landed)
			fails := rapid.Bool().Draw(t, "fails")
			out := h.call(func(tx *objects.Tx) error {
				randomWork(t, tx, model, keys, prefixes, 0)
				if fails {
					return errOnPurpose
				}
				return nil
			})
			if fails != (out.Err != nil) {
				t.Fatalf("event failed with %v, on purpose: %v", out.Err, fails)
			}
			if !fails {
				landed = model
			}
			compare(t, h.data, landed)
			if rapid.Bool().Draw(t, "evict") {
				h.start()
			}
		}
	})
}

func randomWork(t *rapid.T, tx *objects.Tx, model map[string]int, keys, prefixes *rapid.Generator[string], depth int) {
	for range rapid.IntRange(0, 8).Draw(t, "steps") {
		name := keys.Draw(t, "key")
		key := objects.NewKey[int](name)
		old, had := model[name]
		switch step := rapid.IntRange(0, 4).Draw(t, "step"); {
		case step == 0:
			v := rapid.IntRange(0, 3).Draw(t, "value")
			key.Set(tx, v)
			model[name] = v
		case step == 1:
			if key.Delete(tx) != had {
				t.Fatalf("delete %q, want %v", name, had)
			}
			delete(model, name)
		case step == 2:
			if got, ok := key.Lookup(tx); got != old || ok != had {
				t.Fatalf("get %q = %d, %v, want %d, %v", name, got, ok, old, had)
			}
		case step == 3:
			compareList(t, tx, prefixes.Draw(t, "prefix"), model)
		case depth < 3:
			before := maps.Clone(model)
			fails := rapid.Bool().Draw(t, "transaction fails")
			err := tx.Transact(func() error {
				randomWork(t, tx, model, keys, prefixes, depth+1)
				if fails {
					return errOnPurpose
				}
				return nil
			})
			if fails != (err != nil) {
				t.Fatalf("transaction = %v", err)
			}
			if fails {
				clear(model)
				maps.Copy(model, before)
			}
		}
	}
}

func compareList(t *rapid.T, tx *objects.Tx, prefix string, model map[string]int) {
	var want []string
	for _, name := range slices.Sorted(maps.Keys(model)) {
		if strings.HasPrefix(name, prefix) {
			want = append(want, name)
		}
	}
	stretch := objects.NewMap[string, int]("").Prefix(prefix)
	var got []string
	for name, v := range stretch.All(tx) {
		got = append(got, name)
		if v != model[name] {
			t.Fatalf("%q = %d, want %d", name, v, model[name])
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("with %q begin %q, want %q", prefix, got, want)
	}
	if n := stretch.Count(tx); n != len(want) {
		t.Fatalf("with %q begin %d, want %d", prefix, n, len(want))
	}
	slices.Reverse(want)
	got = nil
	for name := range stretch.Backward(tx) {
		got = append(got, name)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("with %q begin %q from the end, want %q", prefix, got, want)
	}
}

// compare looks at Data from all its sides.
func compare(t *rapid.T, data *engine.Data, model map[string]int) {
	encoded := data.AppendJSON(nil)
	var decoded map[string]int
	if err := json.Unmarshal(encoded, &decoded); err != nil || !maps.Equal(decoded, model) {
		t.Fatalf("stored %s, %v, want %v", encoded, err, model)
	}
	if want := max(len(encoded)-1, 0); len(model) > 0 && data.Size() != want {
		t.Fatalf("size = %d, want %d", data.Size(), want) // braces are two, and the last entry has no comma
	}
	if len(model) == 0 && data.Size() != 0 {
		t.Fatalf("size of nothing = %d", data.Size())
	}
	if data.Len() != len(model) {
		t.Fatalf("len = %d, want %d", data.Len(), len(model))
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(encoded, &raw); err != nil {
		t.Fatal(err)
	}
	again := engine.DataOf(raw, nil)
	if !bytes.Equal(again.AppendJSON(nil), encoded) || again.Size() != data.Size() {
		t.Fatalf("read back: %s of %d bytes, want %s of %d", again.AppendJSON(nil), again.Size(), encoded, data.Size())
	}
	var names []string
	for name, value := range data.All() {
		names = append(names, name)
		if got, ok := data.Get(name); !ok || !bytes.Equal(got, value) {
			t.Fatalf("get %q = %s, %v, want %s", name, got, ok, value)
		}
	}
	if !slices.IsSorted(names) {
		t.Fatalf("names %q are not sorted", names)
	}
}

func TestSizeAfterIsTheSizeAfter(t *testing.T) {
	data := &engine.Data{}
	data.Apply([]engine.Write{{Key: "a", Value: []byte("1")}, {Key: "é", Value: []byte(`"x"`)}})
	for _, writes := range [][]engine.Write{
		nil,
		{{Key: "raw", Value: engine.Raw([]byte("12345"))}},
		{{Key: "a", Value: engine.Raw(nil)}},
		{{Key: "a"}},
		{{Key: "none"}},
		{{Key: "a", Value: []byte("22")}, {Key: "b", Value: []byte("3")}, {Key: "é"}},
	} {
		want := data.SizeAfter(writes)
		data.Apply(writes)
		if data.Size() != want {
			t.Errorf("size = %d, was announced as %d", data.Size(), want)
		}
	}
}

func TestNumbersComeBackAsTheyWere(t *testing.T) {
	type row struct {
		N    int64
		Any  any
		Raw  json.RawMessage
		More map[string]any
	}
	rows := objects.NewKey[row]("row")
	h := newHarness(t)
	want := row{math.MaxInt64, 9007199254740992.0, json.RawMessage(`9007199254740993`), map[string]any{"digits": "9007199254740993", "big": 1e300}}
	h.must(func(tx *objects.Tx) { rows.Set(tx, want) })
	h.must(func(tx *objects.Tx) {
		if got := rows.Get(tx); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("read back %+v, want %+v", got, want)
		}
	})
	h.data.Apply([]engine.Write{{Key: "row", Value: []byte(`{"Any":9007199254740993}`)}})
	nothingHappened(t, h.call(func(tx *objects.Tx) error { rows.Get(tx); t.Error("a number lost digits"); return nil }))
}
