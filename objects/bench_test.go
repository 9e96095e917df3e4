package objects_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

func seat(i int) objects.Key[string] { return objects.NewKey[string](fmt.Sprintf("seat/%04d", i)) }

func BenchmarkAppendJSON(b *testing.B) {
	for _, keys := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			data := &engine.Data{}
			for i := range keys {
				data.Apply([]engine.Write{{Key: fmt.Sprintf("seat/%04d", i), Value: []byte(`{"row":12,"taken":true}`)}})
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

// An event that reads and writes one key of an object with this many, and is applied.
func BenchmarkCall(b *testing.B) {
	for _, keys := range []int{1, 1000} {
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			h := newHarness(b)
			h.must(func(tx *objects.Tx) {
				for i := range keys {
					seat(i).Set(tx, "taken")
				}
			})
			b.ReportAllocs()
			for b.Loop() {
				h.must(func(tx *objects.Tx) { number.Set(tx, number.Get(tx)+1) })
			}
		})
	}
}

// An event that changes this many keys of an object with a hundred, values of 100
// bytes, as far as the store: it runs, is applied, and all keys are encoded, which is
// what a record is but for its head.
func BenchmarkCommit(b *testing.B) {
	const all = 100
	seats := make([]objects.Key[string], all)
	for i := range seats {
		seats[i] = seat(i)
	}
	values := []string{strings.Repeat("a", 98), strings.Repeat("b", 98)} // in turns: what stays is no change
	for _, keys := range []int{1, 10, all} {
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			h := newHarness(b)
			set := func(n int, value string) engine.Outcome {
				return h.must(func(tx *objects.Tx) {
					for _, k := range seats[:n] {
						k.Set(tx, value)
					}
				})
			}
			set(all, values[0])
			turn := 0
			b.ReportAllocs()
			for b.Loop() {
				turn++
				if out := set(keys, values[turn%2]); len(out.Writes) != keys {
					b.Fatalf("%d keys have changed, want %d", len(out.Writes), keys)
				}
				h.data.AppendJSON(nil)
			}
		})
	}
}

// An event that sends one message to all of an object's sockets.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint("sockets=", n), func(b *testing.B) {
			h := newHarness(b)
			for i := range n {
				h.sockets.Add(engine.SocketInfo{ID: fmt.Sprint("s", i), Gateway: "g", Region: "r"})
			}
			m := objects.Text(strings.Repeat("x", 100))
			h.work = func(tx *objects.Tx) error {
				for _, peer := range tx.Sockets() {
					peer.Send(m)
				}
				return nil
			}
			b.ReportAllocs()
			for b.Loop() {
				out := h.instance.Message(context.Background(), "s0", engine.Message(m))
				if out.Err != nil || len(out.Sends) != 1 || len(out.Sends[0].Sockets) != n {
					b.Fatalf("the event sent %+v, %v; want one message to %d", out.Sends, out.Err, n)
				}
			}
		})
	}
}

// sleeper is an object that reads what it remembers as it wakes.
type sleeper struct{ count int }

func (s *sleeper) peek(*objects.Tx, objects.None) (int, error) { return s.count, nil }

// The first event after hibernation: the host kept the storage, the instance is made
// anew and called.
func BenchmarkWake(b *testing.B) {
	const sleepers objects.Class = "sleeper"
	peek := objects.NewCall[objects.None, int](sleepers, "peek")
	class := objects.Implement(sleepers, func(tx *objects.Tx) *sleeper { return &sleeper{number.Get(tx)} },
		objects.On(peek, (*sleeper).peek))
	world := engine.World{
		Key: nameID(b, sleepers, "a").Key(), Name: "a", Data: &engine.Data{}, Sockets: &engine.Sockets{}, Now: time.Now,
		Object: engine.Alone{},
	}
	world.Data.(*engine.Data).Apply([]engine.Write{{Key: "number", Value: []byte("41")}})
	b.ReportAllocs()
	for b.Loop() {
		instance, out := class.Engine().Start(world)
		if out.Err != nil {
			b.Fatal(out.Err)
		}
		if out := instance.Call(context.Background(), "peek", []byte("null")); string(out.Output) != "41" {
			b.Fatalf("the object remembers %s, %v; want 41", out.Output, out.Err)
		}
	}
}
