package wire

import (
	"fmt"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"holdfast/objects"
)

// fresh makes an empty message of each kind.
var fresh = []func() message{
	func() message { return new(Request) }, func() message { return new(Reply) }, func() message { return new(Owner) },
	func() message { return new(Claim) }, func() message { return new(ClaimReply) }, func() message { return new(Beat) },
}

// fill gives a value something that is not zero.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(rapid.StringN(1, 8, -1).Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64Range(1, 1<<62).Draw(t, "number"))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.Uint64Range(1, 1<<(8*v.Type().Size()-1)).Draw(t, "number"))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rapid.IntRange(1, 3).Draw(t, "length"), 3))
		for i := range v.Len() {
			fill(t, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string][]string{"": {"", "é"}, "A": {"b"}, "Empty": nil}))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(t, field)
		}
	default:
		panic(v.Kind())
	}
}

func TestEveryFieldIsReadAsItWasWritten(t *testing.T) {
	for _, make := range fresh {
		t.Run(fmt.Sprintf("%T", make()), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				want := make()
				fields := reflect.ValueOf(want).Elem()
				for _, field := range fields.Fields() {
					if field.Kind() == reflect.Interface { // it is not sent
						continue
					}
					if rapid.Bool().Draw(t, "is set") {
						fill(t, field)
					}
				}
				got := make()
				if err := Decode(Encode(want), got); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("got %+v, %v, want %+v", got, err, want)
				}
			})
		})
	}
}

// in writes fields that hold the number 1.
func in(numbers ...protowire.Number) (out []byte) {
	for _, n := range numbers {
		out = protowire.AppendVarint(protowire.AppendTag(out, n, protowire.VarintType), 1)
	}
	return out
}

func TestWhatNoPeerSendsIsRefused(t *testing.T) {
	text := func(n protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), s)
	}
	many := make([]byte, 0, 8*objects.MaxSockets)
	for range objects.MaxSockets + 1 {
		many = append(many, text(21, "")...)
	}
	tests := []struct {
		name string
		data []byte
		fine bool
	}{
		{"in order", in(4, 11, 31), true},
		{"a field of a newer peer", in(4, 9, 11, 99), true},
		{"nothing", nil, true},
		{"out of order", in(11, 4), false},
		{"doubled", in(4, 4), false},
		{"a number for a text", in(1), false},
		{"a text for a number", text(11, "x"), false},
		{"too large a number", protowire.AppendVarint(protowire.AppendTag(nil, 4, protowire.VarintType), 2), false},
		{"text that is not UTF-8", text(2, "\xff"), true},
		{"cut off", text(2, "long")[:3], false},
		{"a part that is no message", text(10, "nonsense"), false},
		{"too many", many, false},
		{"nonsense", []byte("nonsense"), false},
	}
	for _, tt := range tests {
		if err := Decode(tt.data, new(Reply)); (err == nil) != tt.fine {
			t.Errorf("%s: err = %v, want fine = %t", tt.name, err, tt.fine)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(&Request{Kind: Fetch, Header: map[string][]string{"A": {"b"}}, Body: []byte("x")}))
	f.Add(Encode(&Reply{Code: objects.Invalid, Token: 4}))
	f.Fuzz(func(_ *testing.T, data []byte) {
		for _, make := range fresh {
			Decode(data, make()) //nolint:errcheck // it must not panic; that is all
		}
	})
}
