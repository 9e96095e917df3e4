package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/internal/bucket"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// keyOf returns the key of the ticket of that name; "" is one made without a name.
func keyOf(t interface{ Fatal(...any) }, name string) string {
	id, err := objects.Class("ticket").NewID(), error(nil)
	if name != "" {
		id, err = objects.Class("ticket").ID(name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id.Key()
}

func someRecord(t *rapid.T) (string, *Record) {
	text := rapid.String()
	values := make(map[string]json.RawMessage)
	for i := range rapid.IntRange(0, 5).Draw(t, "keys") {
		value, err := json.Marshal(text.Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		values[fmt.Sprint(i, text.Draw(t, "key"))] = value
	}
	raw := make(map[string][]byte)
	for i := range rapid.IntRange(0, 2).Draw(t, "raw keys") {
		raw[fmt.Sprint("raw", i, text.Draw(t, "key"))] = rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
	}
	number := rapid.Uint64Range(0, math.MaxUint64-1)
	r := &Record{
		Name: rapid.StringN(0, -1, objects.MaxName).Draw(t, "name"), Epoch: number.Draw(t, "epoch"), Owner: text.Draw(t, "owner"),
		Host: text.Draw(t, "host"), Region: text.Draw(t, "region"), Commit: number.Draw(t, "commit"),
		Data: engine.DataOf(values, raw),
	}
	if rapid.Bool().Draw(t, "has an alarm") {
		r.Alarm = engine.Alarm{At: time.UnixMilli(rapid.Int64Range(0, 1<<40).Draw(t, "at")).UTC(), Retry: rapid.IntRange(0, engine.MaxAlarmRetries).Draw(t, "retry")}
	}
	for range rapid.IntRange(0, 3).Draw(t, "answers") {
		r.Answers = append(r.Answers, Answer{Gateway: text.Draw(t, "gateway"), N: rapid.Uint64().Draw(t, "n"), Reply: rapid.SliceOf(rapid.Byte()).Draw(t, "reply")}.Keep())
	}
	if rapid.Bool().Draw(t, "has gateways") {
		r.Gateways = []Gateway{{Name: rapid.StringMatching(`([a-z0-9-]{2,32}\.)?[A-Za-z0-9]{1,22}`).Draw(t, "gateway"), Token: rapid.Uint64().Draw(t, "token"), Head: 3, Slots: rapid.SliceOf(rapid.Byte()).Draw(t, "slots")}}
	}
	return keyOf(t, r.Name), r
}

func TestAGatewaysEntryIsWrittenAsPackageJSONWouldWriteIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := Gateway{
			Name: rapid.String().Draw(t, "name"), Token: rapid.Uint64().Draw(t, "token"), Head: rapid.Uint64().Draw(t, "head"),
			Slots: rapid.SliceOf(rapid.Byte()).Draw(t, "slots"),
		}
		if rapid.Bool().Draw(t, "given up") {
			g.Tombstone = time.Unix(0, rapid.Int64Range(0, 1<<62).Draw(t, "tombstone")).UTC()
		}
		if want, err := json.Marshal(g); err != nil || string(g.append(nil)) != string(want) {
			t.Errorf("wrote %s, want %s (%v)", g.append(nil), want, err)
		}
	})
}

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, r := someRecord(t)
		data := r.Encode()
		if !json.Valid(data) {
			t.Fatalf("not JSON: %s", data)
		}
		got, err := Decode(key, data)
		if err != nil {
			t.Fatal(err)
		}
		if again := got.Encode(); string(again) != string(data) {
			t.Fatalf("read and written again:\n%s\nwant\n%s", again, data)
		}
		if got.Data.Size() != r.Data.Size() || got.Epoch != r.Epoch || !got.Alarm.Equal(r.Alarm) || len(got.Answers) != len(r.Answers) {
			t.Fatalf("got %+v, want %+v", got, r)
		}
	})
}

// A byte that has changed is noticed, wherever it is and whatever it says now.
func TestOneChangedByteIsNoticed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, r := someRecord(t)
		data := r.Encode()
		at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
		was := data[at]
		data[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "flipped"))
		if got, err := Decode(key, data); err == nil {
			t.Fatalf("byte %d was %q and is %q: read as %+v", at, was, data[at], got)
		}
	})
}

func TestARecordOfANewerFormatIsRefused(t *testing.T) {
	for _, data := range []string{
		`{"v":3,"epoch":1,"commit":1,"keys":{}}`,
		`{"v":3,"epoch":1,"commit":1,"head":["what this program does not know"]}`,
	} {
		_, err := Decode(keyOf(t, ""), []byte(data))
		if !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), "newer release") {
			t.Errorf("%s: err = %v, want one that says to run the newer release", data, err)
		}
	}
}

func TestWhatIsWorthKeeping(t *testing.T) {
	full := engine.DataOf(map[string]json.RawMessage{"n": json.RawMessage("1")}, nil)
	for _, c := range []struct {
		name  string
		r     Record
		empty bool
	}{
		{"nothing", Record{Name: "a", Epoch: 3, Data: new(engine.Data)}, true},
		{"a key", Record{Data: full}, false},
		{"an alarm", Record{Data: new(engine.Data), Alarm: engine.Alarm{At: time.Unix(1, 0)}}, false},
		{"sockets", Record{Data: new(engine.Data), Gateways: []Gateway{{Name: "g"}}}, false},
		{"a gateway's answer", Record{Data: new(engine.Data), Answers: []Kept{{Gateway: "g", N: 1}}}, false},
		{"a client's answer", Record{Data: new(engine.Data), Answers: []Kept{{Key: "k"}}}, false},
	} {
		if got := c.r.Empty(); got != c.empty {
			t.Errorf("%s: empty = %v, want %v", c.name, got, c.empty)
		}
	}
}

func TestVersionsCompareByNumber(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"2.14.4", "2.14.4", true},
		{"2.15.2", "2.14.4", true},
		{"2.14.10", "2.14.4", true},
		{"2.14.3", "2.14.4", false},
		{"2.9.99", "2.14.4", false},
		{"v2.14.4-RC.1", "2.14.4", true},
		{"3.0.0", "2.14.4", true},
		{"", "2.14.4", false},
	} {
		if got := AtLeast(c.a, c.b); got != c.want {
			t.Errorf("AtLeast(%q, %q) = %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	key := keyOf(f, "global")
	f.Add([]byte(`{"v":1,"name":"global","epoch":1,"commit":2,"keys":{"n":1}}`))
	f.Add([]byte(`{"v":1,"answers":[{"g":"x","n":1,"r":"AA=="}],"keys":{}}`))
	f.Add((&Record{Name: "global", Data: new(engine.Data)}).Encode())
	for _, c := range damaged {
		if len(c.record) < 4<<10 {
			f.Add([]byte(c.record))
			f.Add(sealed(c.record))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decode(key, data)
		if err != nil {
			if !errors.Is(err, ErrUnreadable) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if _, err := Decode(key, r.Encode()); err != nil {
			t.Errorf("what was decoded encodes to what is not: %v", err)
		}
	})
}

func TestAnAcknowledgementIsReadOrRefused(t *testing.T) {
	stream := bucket.Records().Stream()
	for _, c := range []struct {
		answer string
		want   uint64
		fails  bool
	}{
		{`{"stream":"` + stream + `","seq":42}`, 42, false},
		{`{"stream":"` + stream + `","domain":"leaf","seq":42}`, 42, false},
		{`{"stream":"` + stream + `","seq":42,"duplicate":true}`, 42, false},
		{`{"stream":"` + stream + `","seq":0,"error":{"code":400,"err_code":10071,"description":"wrong last sequence"}}`, 0, true},
		{`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence"},"stream":"` + stream + `","seq":7}`, 0, true},
		{`{"stream":"","seq":1}`, 0, true},
		{`{}`, 0, true},
		{``, 0, true},
	} {
		if got, err := acknowledged([]byte(c.answer), stream); got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %d, %v, want %d", c.answer, got, err, c.want)
		}
	}
}
