package objects_test

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// shout keeps a text in upper case, and will not keep "fail".
type shout struct{}

func (shout) Encode(s string) ([]byte, error) {
	if s == "fail" {
		return nil, errOnPurpose
	}
	return []byte(strings.ToUpper(s)), nil
}
func (shout) Decode(data []byte) (string, error) { return string(data) + "!", nil }

var upper objects.Codec[string] = shout{}

var everything = objects.NewMap[string, any]("")

func keysOf[K, V any](seq iter.Seq2[K, V]) (keys []K) {
	for k := range seq {
		keys = append(keys, k)
	}
	return keys
}

func TestARangeIsASnapshotInTheOrderOfBytes(t *testing.T) {
	h := newHarness(t)
	seats := objects.NewMap[string, int]("seat")
	h.must(func(tx *objects.Tx) {
		for i, key := range []string{"seat/b", "seat/B", "seat/", "seat", "seat/é", "seat/a", "seat0", "z"} {
			objects.NewKey[int](key).Set(tx, i)
		}
	})
	h.must(func(tx *objects.Tx) {
		seats.Delete(tx, "a")
		seats.Set(tx, "aa", 10)
		var seen []string
		for key := range seats.All(tx) {
			seen = append(seen, key)
			seats.Delete(tx, key)
			seats.Set(tx, key+"+", 0)
		}
		if want := []string{"", "B", "aa", "b", "é"}; !slices.Equal(seen, want) {
			t.Errorf("read %q, want %q", seen, want)
		}
		if first, _, ok := everything.First(tx); first != "seat" || !ok {
			t.Errorf("first of all = %q, %v, want seat", first, ok)
		}
		if last, v, ok := everything.Last(tx); last != "z" || v != 7.0 || !ok {
			t.Errorf("last of all = %q, %v, %v, want z", last, v, ok)
		}
	})
}

func TestARangeIsNarrowedFromBothEnds(t *testing.T) {
	h := newHarness(t)
	m := objects.NewMap[int, string]("m")
	h.must(func(tx *objects.Tx) {
		for n := range 10 {
			m.Set(tx, n, fmt.Sprint(n))
		}
		objects.NewKey[int]("m").Set(tx, 1) // neither is the map's
		objects.NewKey[int]("m0").Set(tx, 1)
	})
	all := func(r objects.Range[int, string]) (n objects.Range[int, string]) { return r }
	h.must(func(tx *objects.Tx) {
		m.Delete(tx, 5)
		m.Set(tx, 10, "10")
		for name, c := range map[string]struct {
			r    objects.Range[int, string]
			want []int
		}{
			"all":               {all(m.Range), []int{0, 1, 2, 3, 4, 6, 7, 8, 9, 10}},
			"from":              {m.From(8), []int{8, 9, 10}},
			"after":             {m.After(8), []int{9, 10}},
			"before":            {m.Before(2), []int{0, 1}},
			"to":                {m.To(2), []int{0, 1, 2}},
			"from and to":       {m.From(4).To(6), []int{4, 6}},
			"the narrower":      {m.From(4).From(2).Before(7).To(9), []int{4, 6}},
			"one":               {m.From(4).To(4), []int{4}},
			"none":              {m.After(4).Before(6), nil},
			"backwards":         {m.From(6).To(4), nil},
			"limit":             {m.From(4).Limit(2), []int{4, 6}},
			"the lesser limit":  {m.Limit(1).Limit(3), []int{0}},
			"no entries at all": {m.Limit(0), nil},
			"a negative limit":  {m.Limit(-1), nil},
		} {
			got := keysOf(c.r.All(tx))
			if !slices.Equal(got, c.want) || c.r.Count(tx) != len(c.want) {
				t.Errorf("%s: %v, counted %d, want %v", name, got, c.r.Count(tx), c.want)
			}
			k, v, ok := c.r.First(tx)
			if ok != (len(c.want) > 0) || ok && (k != c.want[0] || v != fmt.Sprint(k)) {
				t.Errorf("%s: the first is %d, %q, %v", name, k, v, ok)
			}
		}
		if got := keysOf(m.Limit(3).Backward(tx)); !slices.Equal(got, []int{10, 9, 8}) {
			t.Errorf("the last three are %v", got)
		}
		if n := m.From(3).To(7).Clear(tx); n != 4 || m.Count(tx) != 6 {
			t.Errorf("cleared %d, left %d, want 4 and 6", n, m.Count(tx))
		}
	})
	if want := []string{"m", "m/a0", "m/a1", "m/a2", "m/a8", "m/a9", "m/b10", "m0"}; !slices.Equal(keysOf(h.data.All()), want) {
		t.Errorf("stored %q, want %q", keysOf(h.data.All()), want)
	}
}

func TestARangeMayBePulled(t *testing.T) {
	h := newHarness(t)
	m := objects.NewMap[int, int]("m")
	h.must(func(tx *objects.Tx) {
		m.Set(tx, 1, 1)
		m.Set(tx, 2, 2)
		next, stop := iter.Pull2(m.All(tx))
		defer stop()
		for _, want := range []int{1, 2} {
			if k, _, ok := next(); k != want || !ok {
				t.Errorf("pulled %d, %v, want %d", k, ok, want)
			}
		}
	})
	var late func() (int, int, bool)
	h.must(func(tx *objects.Tx) {
		next, stop := iter.Pull2(m.All(tx))
		t.Cleanup(stop)
		if k, _, _ := next(); k != 1 {
			t.Errorf("pulled %d, want 1", k)
		}
		late = next
	})
	ended := make(chan struct{})
	go func() { // which the misuse ends
		defer close(ended)
		k, v, ok := late()
		t.Errorf("after the event it gave %d, %d, %v", k, v, ok)
	}()
	<-ended
}

func TestReservedKeysAreNobodys(t *testing.T) {
	h := newHarness(t)
	reserved := []engine.Write{
		{Key: "\x00o/1", Value: []byte(`1`)}, {Key: "\x00p00000001", Value: engine.Raw([]byte{1})}, {Key: "\x00t/1", Value: []byte(`2`)},
	}
	h.data.Apply(reserved)
	for name, reach := range map[string]func(tx *objects.Tx){
		"get":           func(tx *objects.Tx) { objects.NewKey[int]("\x00o/1").Get(tx) },
		"set":           func(tx *objects.Tx) { objects.NewKey[int]("\x00o/1").Set(tx, 1) },
		"delete":        func(tx *objects.Tx) { objects.NewKey[int]("\x00o/1").Delete(tx) },
		"map":           func(tx *objects.Tx) { objects.NewMap[string, int]("\x00o").Get(tx, "1") },
		"map of all":    func(tx *objects.Tx) { everything.Set(tx, "\x00", 1) },
		"map of all, 2": func(tx *objects.Tx) { everything.GetAll(tx, "a", "\x00o/1") },
	} {
		out := h.call(func(tx *objects.Tx) error { reach(tx); t.Errorf("%s: it was reached", name); return nil })
		if objects.CodeOf(out.Err) != objects.Invalid {
			t.Errorf("%s: %v, want invalid", name, out.Err)
		}
	}
	h.must(func(tx *objects.Tx) {
		number.Set(tx, 1)
		for name, keys := range map[string][]string{
			"all":    keysOf(everything.All(tx)),
			"from":   keysOf(everything.From("\x00o").All(tx)),
			"prefix": keysOf(everything.Prefix("").All(tx)),
		} {
			if !slices.Equal(keys, []string{"number"}) {
				t.Errorf("%s: listed %q", name, keys)
			}
		}
		inside := objects.NewMap[string, any]("\x00o")
		if keys, n := keysOf(inside.All(tx)), inside.Count(tx)+everything.Prefix("\x00").Count(tx); len(keys) > 0 || n > 0 {
			t.Errorf("a map listed %q, counted %d", keys, n)
		}
		if n := inside.Clear(tx) + everything.Clear(tx); n != 1 {
			t.Errorf("cleared %d, want 1", n)
		}
	})
	if got := keysOf(h.data.All()); len(got) != 3 {
		t.Errorf("left are %q, want the reserved three", got)
	}
}

func TestDeleteAllLeavesWhatTheObjectOwesOthers(t *testing.T) {
	h := newHarness(t)
	h.data.Apply([]engine.Write{{Key: "\x00o/1", Value: []byte(`1`)}, {Key: "\x00p00000001", Value: engine.Raw([]byte{1})}})
	h.must(func(tx *objects.Tx) {
		number.Set(tx, 1)
		tx.SetAlarm(tx.Now().Add(time.Hour))
	})
	before := h.stored()
	out := h.call(func(tx *objects.Tx) error { tx.DeleteAll(); return errOnPurpose })
	if nothingHappened(t, out); h.stored() != before {
		t.Errorf("a failed event left %s", h.stored())
	}
	h.must(func(tx *objects.Tx) {
		text.Set(tx, "of this event")
		tx.DeleteAll()
		if _, set := tx.Alarm(); set || everything.Count(tx) != 0 {
			t.Errorf("left are %q, and an alarm: %v", keysOf(everything.All(tx)), set)
		}
		text.Set(tx, "after")
	})
	if h.stored() != `{"\u0000o/1":1,"text":"after"}` || !h.alarm.At.IsZero() {
		t.Errorf("stored %s, alarm %v", h.stored(), h.alarm)
	}
}

func TestBytesAreKeptAsTheyAre(t *testing.T) {
	h := newHarness(t)
	photo := objects.NewKey[[]byte]("photo")
	parts := objects.NewMap[int, []byte]("part")
	want := []byte{0, 1, 0xff, '"'}
	h.must(func(tx *objects.Tx) {
		given := slices.Clone(want)
		photo.Set(tx, given)
		parts.Set(tx, 1, nil)
		given[0] = 9 // it was encoded
		number.Set(tx, 1)
	})
	if value, _ := h.data.Get("photo"); len(value) != len(want)+1 {
		t.Errorf("%d bytes are kept as %d", len(want), len(value))
	}
	if h.stored() != `{"number":1},"raw":{"part/a1":"","photo":"AAH/Ig=="}` {
		t.Errorf("stored %s", h.stored())
	}
	for range 2 {
		h.must(func(tx *objects.Tx) {
			got := photo.Get(tx)
			if !bytes.Equal(got, want) {
				t.Errorf("read %v, want %v", got, want)
			}
			got[0] = 9 // it is the reader's own
			if v, ok := parts.Lookup(tx, 1); len(v) > 0 || !ok {
				t.Errorf("nothing was read as %v, %v", v, ok)
			}
		})
	}
	h.data.Apply([]engine.Write{{Key: "photo", Value: []byte(`"` + base64.StdEncoding.EncodeToString(want) + `"`)}})
	h.must(func(tx *objects.Tx) { // as earlier releases have kept them
		if got := photo.Get(tx); !bytes.Equal(got, want) {
			t.Errorf("read %v from base64, want %v", got, want)
		}
	})
}

func TestACodecEncodesTheValuesOfKeysAndMaps(t *testing.T) {
	h := newHarness(t)
	key, m := objects.NewKey("k", upper), objects.NewMap[string]("m", upper)
	h.must(func(tx *objects.Tx) {
		key.Set(tx, "a")
		m.Set(tx, "x", "b")
		if got := key.Get(tx) + m.Get(tx, "x") + fmt.Sprint(maps.Collect(m.All(tx)), m.GetAll(tx, "x", "y")); got != "A!B!map[x:B!] map[x:B!]" {
			t.Errorf("read %s", got)
		}
	})
	if value, _ := h.data.Get("m/x"); string(value) != "\x00B" {
		t.Errorf("kept %q", value)
	}
}

type (
	player string
	stamp  struct {
		Where struct {
			Floor int8
			Room  player
		}
		At     time.Time
		Tag    [2]byte
		Urgent bool
		Rest   string
	}
)

// The order of the keys is that of their encodings, which are UTF-8 and read back.
func TestKeysOfMapsAreKeptInOrder(t *testing.T) {
	h := newHarness(t)
	texts := rapid.OneOf(rapid.SampledFrom([]string{"", "\x00", "\x01", "a", "a\x00", "a\x00b", "a\x01", "ab", "é"}), rapid.String())
	times := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(-62167219200, 253402300799).Draw(t, "s"), rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 999999999)).Draw(t, "ns")).UTC()
	})
	t.Run("string", func(t *testing.T) { ordered(t, h, texts, strings.Compare) })
	t.Run("named string", func(t *testing.T) {
		ordered(t, h, rapid.Map(texts, func(s string) player { return player(s) }), cmp.Compare)
	})
	t.Run("int", func(t *testing.T) {
		ordered(t, h, rapid.OneOf(rapid.SampledFrom([]int{0, -1, 1, 9, 10, -9, -10, math.MinInt, math.MaxInt}), rapid.Int()), cmp.Compare)
	})
	t.Run("int8", func(t *testing.T) { ordered(t, h, rapid.Int8(), cmp.Compare) })
	t.Run("uint64", func(t *testing.T) {
		ordered(t, h, rapid.OneOf(rapid.SampledFrom([]uint64{0, math.MaxUint64}), rapid.Uint64()), cmp.Compare)
	})
	t.Run("bool", func(t *testing.T) {
		ordered(t, h, rapid.Bool(), func(a, b bool) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	})
	t.Run("time", func(t *testing.T) { ordered(t, h, times, time.Time.Compare) })
	t.Run("bytes", func(t *testing.T) {
		ordered(t, h, rapid.Custom(func(t *rapid.T) [3]byte { return [3]byte(rapid.SliceOfN(rapid.Byte(), 3, 3).Draw(t, "b")) }),
			func(a, b [3]byte) int { return bytes.Compare(a[:], b[:]) })
	})
	t.Run("id", func(t *testing.T) {
		ordered(t, h, rapid.Map(rapid.StringMatching("[a-z]{1,3}"), func(name string) objects.ID { return nameID(h.t, "thing", name) }),
			func(a, b objects.ID) int { return strings.Compare(a.Key(), b.Key()) })
	})
	t.Run("struct", func(t *testing.T) {
		ordered(t, h, rapid.Custom(func(t *rapid.T) (s stamp) {
			s.Where.Floor, s.Where.Room = rapid.Int8Range(-1, 1).Draw(t, "floor"), player(texts.Draw(t, "room"))
			s.At, s.Tag = rapid.OneOf(rapid.Just(time.Unix(0, 0).UTC()), times).Draw(t, "at"), [2]byte{rapid.Byte().Draw(t, "tag")}
			s.Urgent, s.Rest = rapid.Bool().Draw(t, "urgent"), texts.Draw(t, "rest")
			return s
		}), func(a, b stamp) int {
			return cmp.Or(cmp.Compare(a.Where.Floor, b.Where.Floor), cmp.Compare(a.Where.Room, b.Where.Room), a.At.Compare(b.At),
				bytes.Compare(a.Tag[:], b.Tag[:]), strings.Compare(fmt.Sprint(a.Urgent), fmt.Sprint(b.Urgent)), cmp.Compare(a.Rest, b.Rest))
		})
	})
}

func ordered[K comparable](t *testing.T, h *harness, keys *rapid.Generator[K], compare func(a, b K) int) {
	m := objects.NewMap[K, int]("m")
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SliceOfN(keys, 2, 12).Draw(t, "keys")
		middle := keys.Draw(t, "middle")
		h.start()
		h.must(func(tx *objects.Tx) {
			m.Clear(tx)
			for i, k := range some {
				m.Set(tx, k, i)
			}
		})
		slices.SortFunc(some, compare)
		some = slices.Compact(some)
		h.must(func(tx *objects.Tx) {
			if got := keysOf(m.All(tx)); !slices.Equal(got, some) {
				t.Fatalf("read %v, want %v", got, some)
			}
			for name, c := range map[string]struct {
				r  objects.Range[K, int]
				in func(order int) bool
			}{
				"from":   {m.From(middle), func(order int) bool { return order >= 0 }},
				"after":  {m.After(middle), func(order int) bool { return order > 0 }},
				"before": {m.Before(middle), func(order int) bool { return order < 0 }},
				"to":     {m.To(middle), func(order int) bool { return order <= 0 }},
			} {
				want := slices.DeleteFunc(slices.Clone(some), func(k K) bool { return !c.in(compare(k, middle)) })
				if got := keysOf(c.r.All(tx)); !slices.Equal(got, want) {
					t.Fatalf("%s %v are %v, want %v", name, middle, got, want)
				}
			}
		})
		for key := range h.data.All() {
			if !utf8.ValidString(key) {
				t.Fatalf("key %q is not UTF-8", key)
			}
		}
	})
}

func TestAKeyThatTheMapHasNotWrittenAbortsTheLoop(t *testing.T) {
	for _, damaged := range []string{"", "a", "b07", "a7x", "A", "Z9", "Z9x", "k99999999999", "7", "\u00e9", "a-", "b+1"} {
		h := newHarness(t)
		h.must(func(tx *objects.Tx) { objects.NewKey[int]("m/"+damaged).Set(tx, 1) })
		out := h.call(func(tx *objects.Tx) error {
			t.Errorf("%q was read as %v", damaged, keysOf(objects.NewMap[int32, int]("m").All(tx)))
			return nil
		})
		if objects.CodeOf(out.Err) != objects.Internal {
			t.Errorf("%q: %v", damaged, out.Err)
		}
	}
	for _, damaged := range []string{"2030-01-01", "2030-01-01T00:00:00.50", "2030-01-01T00:00:00Z"} {
		h := newHarness(t)
		h.must(func(tx *objects.Tx) { objects.NewKey[int]("m/"+damaged).Set(tx, 1) })
		out := h.call(func(tx *objects.Tx) error {
			t.Errorf("%q was read as %v", damaged, keysOf(objects.NewMap[time.Time, int]("m").All(tx)))
			return nil
		})
		if objects.CodeOf(out.Err) != objects.Internal {
			t.Errorf("%q: %v", damaged, out.Err)
		}
	}
}

func FuzzReadKey(f *testing.F) {
	for _, seed := range []string{"", "a0", "a0\x00", "a1x\x002030-01-01T00:00:00\x000000" + "1y\x00", "Z8\x01\x01\x00"} {
		f.Add(seed)
	}
	m := objects.NewMap[stamp, int]("m")
	f.Fuzz(func(t *testing.T, key string) {
		if !utf8.ValidString(key) || len(key) > 1000 {
			return
		}
		h := newHarness(t)
		h.must(func(tx *objects.Tx) { objects.NewKey[int]("m/"+key).Set(tx, 1) })
		h.call(func(tx *objects.Tx) error {
			for k := range m.All(tx) { // what is read is what would be written
				if m.Get(tx, k) != 1 {
					t.Errorf("%q is read as %+v, which is kept elsewhere", key, k)
				}
			}
			return nil
		})
	})
}

func TestWhatCannotBeAKeyPanics(t *testing.T) {
	type hidden struct{ n int }
	_ = hidden{1}.n
	for name, declare := range map[string]func(){
		"float":             func() { objects.NewMap[float64, int]("m") },
		"interface":         func() { objects.NewMap[any, int]("m") },
		"hidden field":      func() { objects.NewMap[hidden, int]("m") },
		"no field":          func() { objects.NewMap[struct{}, int]("m") },
		"array":             func() { objects.NewMap[[2]int, int]("m") },
		"numbers":           func() { objects.NewMap[int, int]("") },
		"prefix of numbers": func() { objects.NewMap[int, int]("m").Prefix(1) },
		"another prefix":    func() { objects.NewMap[stamp, int]("m").Prefix("a") },
		"nil":               func() { objects.NewMap[string, int]("m").Prefix(nil) },
		"number for a text": func() { objects.NewMap[string, int]("m").Prefix(1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: it was taken", name)
				}
			}()
			declare()
		}()
	}
}

// Many writes are made in one pass, few one by one: both make the same.
func TestManyWritesMakeWhatEachAloneMakes(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	var one, many engine.Data
	for round := range 12 {
		made := make(map[string][]byte)
		for range 700 {
			key := fmt.Sprint(chance.IntN(1000))
			made[key] = [][]byte{nil, []byte("1"), []byte(`"x"`), engine.Raw([]byte("raw"))}[chance.IntN(4)]
		}
		var writes []engine.Write
		for _, key := range slices.Sorted(maps.Keys(made)) {
			w := engine.Write{Key: key, Value: made[key]}
			writes = append(writes, w)
			one.Apply([]engine.Write{w})
		}
		if many.SizeAfter(writes) != one.Size() {
			t.Fatalf("round %d: announced are %d bytes, want %d", round, many.SizeAfter(writes), one.Size())
		}
		many.Apply(writes)
		a, b := one.AppendJSON(nil), many.AppendJSON(nil)
		if !bytes.Equal(a, b) || one.Size() != many.Size() || many.Len() < 100 {
			t.Fatalf("round %d: made %d bytes, want %d", round, many.Size(), one.Size())
		}
		var read struct {
			Keys map[string]json.RawMessage `json:"keys"`
			Raw  map[string][]byte          `json:"raw"`
		}
		if err := json.Unmarshal([]byte(`{"keys":`+string(b)+`}`), &read); err != nil {
			t.Fatal(err)
		}
		if c := engine.DataOf(read.Keys, read.Raw); !bytes.Equal(c.AppendJSON(nil), b) || c.Size() != many.Size() {
			t.Fatalf("round %d: read back %d bytes, want %d", round, c.Size(), many.Size())
		}
	}
}
