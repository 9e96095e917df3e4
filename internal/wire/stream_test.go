package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"holdfast/objects"
)

var freshLanes = []func() message{
	func() message { return new(LanePush) }, func() message { return new(LaneOp) }, func() message { return new(LaneHeads) },
	func() message { return new(LaneAcks) }, func() message { return new(Which) }, func() message { return new(Held) },
	func() message { return new(LanePosition) }, func() message { return new(LaneSocket) },
	func() message { return new(LaneAnswered) },
}

// lanes draws what owners and gateways say to each other.
func lanes(t *rapid.T) []message {
	reached := func() []Reached {
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Reached {
			return Reached{rapid.Uint32().Draw(t, "of"), rapid.Uint64().Draw(t, "seq")}
		}), -1, 3).Draw(t, "reached")
	}
	slots := func() Slots {
		if s := SlotsOf(rapid.SliceOfN(rapid.Uint32(), -1, 4).Draw(t, "slots")); len(s) > 0 {
			return s
		}
		return nil
	}
	text := func() string { return rapid.StringN(-1, 8, -1).Draw(t, "text") }
	number := func() uint64 { return rapid.Uint64().Draw(t, "number") }
	small := func() uint32 { return rapid.Uint32().Draw(t, "small") }
	accepted := func() Accepted {
		return Accepted{Tags: []string{"", text()}, Order: number(), Conflated: rapid.Bool().Draw(t, "conflated"), Subprotocol: text(), Session: text(), Secret: []byte(text())}
	}
	counts := func() Counts { return Counts{Sent: number(), Taken: number()} }
	push := &LanePush{
		Lane: small(), Seq: number(), Kind: uint8(small()), Object: text(), Token: number(), Host: text(), Slots: slots(),
		Heads: reached(), LaneBody: LaneBody{Acks: reached()},
	}
	for range rapid.IntRange(0, 2).Draw(t, "operations") {
		push.Ops = append(push.Ops, LaneOp{Op: Op(small()), Slots: slots(), Data: []byte("data"), Code: 1000, Reason: text(), Fault: "invalid", Accepted: accepted(), AutoRequest: text(), AutoResponse: text(), Counts: counts(), Back: rapid.Bool().Draw(t, "back"), Return: number()})
		push.Next = append(push.Next, LaneBody{Acks: reached(), Ops: push.Ops})
	}
	return []message{
		push, &LaneHeads{Host: text(), Heads: reached(), Quiet: reached(), Ended: []Ended{{text(), number()}}}, &LaneAcks{Gateway: text(), Acks: reached(), Resend: reached(), Answered: []LaneAnswered{{small(), reached()}}},
		&Claim{Class: text(), ID: text(), Heard: &Heard{Gateway: text(), Positions: []LanePosition{{Token: number(), Received: number()}}}},
		&Which{Lane: small(), Object: text(), Token: number(), Host: text()},
		&Held{
			Lane: small(), Gateway: text(), Object: text(), Token: number(), Region: text(),
			Positions: []LanePosition{{number(), number(), reached()}},
			Sockets:   []LaneSocket{{small(), number(), []byte("{}"), []byte("who"), int64(small()), accepted(), text(), text(), counts(), rapid.Bool().Draw(t, "lost")}},
		},
	}
}

// same is equality that does not tell an empty list from none.
func same(a, b message) bool { return bytes.Equal(Encode(a), Encode(b)) }

func TestLaneMessagesAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, want := range lanes(t) {
			got := reflect.New(reflect.TypeOf(want).Elem()).Interface().(message)
			if err := Decode(Encode(want), got); err != nil || !same(got, want) {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		}
	})
}

func TestSlotsAreReadSortedAndOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.SliceOf(rapid.Uint32()).Draw(t, "slots")
		want := slices.Compact(slices.Sorted(slices.Values(slots)))
		if got := slices.Collect(SlotsOf(slots).All()); !slices.Equal(got, want) {
			t.Errorf("read %v, want %v", got, want)
		}
	})
}

// A room's sockets are mostly neighbours: its record and every message to all of it name
// them in a few bytes.
func TestNeighboursTakeAFewBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var slots []uint32
		runs := rapid.IntRange(1, 5).Draw(t, "runs")
		for range runs {
			first := rapid.Uint32Range(1, 1<<20).Draw(t, "first")
			for i := range rapid.Uint32Range(1, 10_000).Draw(t, "neighbours") {
				slots = append(slots, first+i)
			}
		}
		packed := SlotsOf(slots)
		want := slices.Compact(slices.Sorted(slices.Values(slots)))
		if got := slices.Collect(packed.All()); !slices.Equal(got, want) || packed.Len() != len(want) {
			t.Errorf("read %d slots of %d, want %d", len(got), packed.Len(), len(want))
		}
		if len(packed) > 6*runs {
			t.Errorf("%d runs take %d bytes", runs, len(packed))
		}
	})
}

func TestBodiesThatWereEncodedBeforeAreReadInTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := lanes(t)[0].(*LanePush)
		encoded := *want
		encoded.Encoded = [][]byte{Encode(&want.LaneBody)}
		for i := range want.Next {
			encoded.Encoded = append(encoded.Encoded, Encode(&want.Next[i]))
		}
		encoded.LaneBody, encoded.Next = LaneBody{}, nil
		var got LanePush
		if err := Decode(Encode(&encoded), &got); err != nil || !same(&got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

// A message of several numbers that a gateway refuses would be sent again, as it is, for ever.
func TestBodiesThatMayBeOfOneMessageAreNeverRefused(t *testing.T) {
	all := Slots(binary.AppendUvarint([]byte{1, 0}, objects.MaxSockets-1))
	most := Encode(&LaneBody{Ops: []LaneOp{{Op: OpMessage, Slots: all}}})
	few := Encode(&LaneBody{Ops: []LaneOp{{Op: OpMessage, Slots: SlotsOf([]uint32{1, 2, 3})}}})
	for name, body := range map[string][]byte{"that name all": most, "that name few": few} {
		var push LanePush
		for size := len(body); MayJoin(size); size += len(body) {
			push.Encoded = append(push.Encoded, body)
		}
		if err := Decode(Encode(&push), new(LanePush)); err != nil {
			t.Errorf("%d bodies %s: %v", len(push.Encoded), name, err)
		}
		if len(push.Encoded) < 16 {
			t.Errorf("only %d bodies %s are of one message", len(push.Encoded), name)
		}
	}
}

func TestAMessageThatNamesMoreSlotsThanAPushMayIsRefused(t *testing.T) {
	all := Slots(binary.AppendUvarint([]byte{1, 0}, objects.MaxSockets-1))
	message := func(ops int) []byte {
		var b LaneBody
		for range ops {
			b.Ops = append(b.Ops, LaneOp{Op: OpMessage, Slots: all})
		}
		return Encode(&LanePush{LaneBody: b})
	}
	const most = MaxNamed / objects.MaxSockets
	if err := Decode(message(most), new(LanePush)); err != nil {
		t.Errorf("as many as a message may name: %v", err)
	}
	if err := Decode(message(most+1), new(LanePush)); err == nil {
		t.Error("a message that names more was read")
	}
}

func TestSlotsThatNoPeerWritesAreRefused(t *testing.T) {
	many := make([]byte, objects.MaxSockets+1)
	for i := range many {
		many[i] = 1
	}
	beyond := binary.AppendUvarint(binary.AppendUvarint(nil, math.MaxUint32), 1)
	for _, tt := range []struct {
		name  string
		slots []byte
		fine  bool
	}{
		{"none", nil, true},
		{"slot 0", []byte{0, 1}, true},
		{"as many as there may be", many[1:], true},
		{"one more", many, false},
		{"neighbours", []byte{5, 0, 3}, true},
		{"as many neighbours as there may be", binary.AppendUvarint([]byte{1, 0}, objects.MaxSockets-1), true},
		{"one neighbour more", binary.AppendUvarint([]byte{1, 0}, objects.MaxSockets), false},
		{"neighbours that are not counted", []byte{5, 0}, false},
		{"no neighbours", []byte{5, 0, 0}, false},
		{"a neighbour of the last but one", append(binary.AppendUvarint(nil, math.MaxUint32-1), 0, 1), true},
		{"two neighbours of the last but one", append(binary.AppendUvarint(nil, math.MaxUint32-1), 0, 2), false},
		{"more neighbours than can be counted", append([]byte{5, 0}, bytes.Repeat([]byte{0xff}, 11)...), false},
		{"beyond the largest", beyond, false},
		{"cut off", []byte{1, 0x80}, false},
		{"longer than a number", bytes.Repeat([]byte{0xff}, 11), false},
	} {
		data := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), tt.slots)
		if err := Decode(data, new(LaneOp)); (err == nil) != tt.fine {
			t.Errorf("%s: err = %v, want fine = %t", tt.name, err, tt.fine)
		}
	}
}

func TestListsThatNoPeerWritesAreRefused(t *testing.T) {
	list := func(numbers ...uint64) (out []byte) {
		for _, n := range numbers {
			out = protowire.AppendVarint(out, n)
		}
		return out
	}
	for _, tt := range []struct {
		name string
		list []byte
		fine bool
	}{
		{"two", list(1, 2, 3, 4), true},
		{"half a pair", list(1, 2, 3), false},
		{"beyond the largest", list(1<<32, 1), false},
		{"more than an object has sockets", list(make([]uint64, 2*(objects.MaxSockets+1))...), false},
	} {
		data := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), tt.list)
		if err := Decode(data, new(LaneAcks)); (err == nil) != tt.fine {
			t.Errorf("%s: err = %v, want fine = %t", tt.name, err, tt.fine)
		}
	}
}

func FuzzDecodeLanes(f *testing.F) {
	f.Add(Encode(roomPush(f, 3)))
	f.Add(Encode(&LaneAcks{Gateway: "g", Acks: []Reached{{1, 2}}, Resend: []Reached{{3, 0}}}))
	f.Add(Encode(&Held{Positions: []LanePosition{{1, 2, []Reached{{3, 4}}}}, Sockets: []LaneSocket{{Slot: 1}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, make := range freshLanes {
			m, again := make(), make()
			if Decode(data, m) != nil {
				continue
			}
			if err := Decode(Encode(m), again); err != nil || !same(m, again) {
				t.Errorf("%T: read %+v, and what it is written as is read as %+v, %v", m, m, again, err)
			}
		}
	})
}

// roomPush returns a message of 60 bytes for a room of so many sockets at one gateway, after
// the first of the lane.
func roomPush(tb testing.TB, sockets int) *LanePush {
	tb.Helper()
	id, err := objects.Class("room").ID("lobby")
	if err != nil {
		tb.Fatal(err)
	}
	slots := make([]uint32, sockets)
	for i := range slots {
		slots[i] = uint32(40_000 + i)
	}
	return &LanePush{
		Lane: 1_234, Seq: 56_789, Object: id.Key(), Token: 987_654, LaneBody: LaneBody{
			Acks: []Reached{{40_007, 91}},
			Ops:  []LaneOp{{Op: OpMessage, Slots: SlotsOf(slots), Data: []byte(strings.Repeat("x", 60))}},
		},
	}
}

func BenchmarkLanePush(b *testing.B) {
	for _, n := range []int{1, 100, 1_000, 10_000} {
		push := roomPush(b, n)
		data := Encode(push)
		b.Run(fmt.Sprint("encode/sockets=", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Encode(push)
			}
			b.ReportMetric(float64(len(data)), "B/push")
		})
		b.Run(fmt.Sprint("decode/sockets=", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var got LanePush
				if err := Decode(data, &got); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(data)), "B/push")
		})
	}
}
