package objects_test

import (
	"fmt"
	"testing"

	"holdfast/objects"
)

func BenchmarkAppendJSON(b *testing.B) {
	for _, keys := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			data := &objects.Data{}
			for i := range keys {
				data.Apply([]objects.Write{{Key: fmt.Sprintf("seat/%04d", i), Value: []byte(`{"row":12,"taken":true}`)}})
			}
			var buffer []byte
			b.SetBytes(int64(data.Size()))
			b.ReportAllocs()
			for b.Loop() {
				buffer = data.AppendJSON(buffer[:0])
			}
		})
	}
}

// An event that reads and writes one key, and is applied.
func BenchmarkCall(b *testing.B) {
	for _, keys := range []int{1, 1000} {
		b.Run(fmt.Sprint(keys, "-keys"), func(b *testing.B) {
			h := newHarness(b)
			h.must(func(s *objects.State) {
				for i := range keys {
					objects.NewKey[int](fmt.Sprintf("seat/%04d", i)).Set(s, i)
				}
			})
			b.ReportAllocs()
			for b.Loop() {
				h.must(func(s *objects.State) { number.Set(s, number.Get(s, 0)+1) })
			}
		})
	}
}
