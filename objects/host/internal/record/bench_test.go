package record

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// eachRecord runs measure for records of more and more keys, with values of 100 bytes.
func eachRecord(b *testing.B, measure func(*testing.B, string, *Record)) {
	id, err := objects.Class("ticket").ID("global")
	if err != nil {
		b.Fatal(err)
	}
	for _, keys := range []int{1, 10, 100, 1000} {
		values := make(map[string]json.RawMessage, keys)
		for i := range keys {
			values[fmt.Sprintf("seat/%04d", i)] = json.RawMessage(`"` + strings.Repeat("x", 98) + `"`)
		}
		r := &Record{
			Name: "global", Epoch: 3, Owner: "4bCQBzWJjQAoQ8bZVh2yUt", Host: "box-4412", Region: "fra", Commit: 41,
			Data: engine.DataOf(values, nil),
		}
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			b.SetBytes(int64(len(r.Encode())))
			b.ReportAllocs()
			measure(b, id.Key(), r)
		})
	}
}

func BenchmarkEncodeRecord(b *testing.B) {
	eachRecord(b, func(b *testing.B, _ string, r *Record) {
		for b.Loop() {
			r.Encode()
		}
	})
}

func BenchmarkDecodeRecord(b *testing.B) {
	eachRecord(b, func(b *testing.B, key string, r *Record) {
		data := r.Encode()
		for b.Loop() {
			if _, err := Decode(key, data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
