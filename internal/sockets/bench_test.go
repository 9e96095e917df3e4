package sockets

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// BenchmarkFanOut measures the gateway's part of a message to many: from the owner's push
// until it waits in the queue of every socket. Nobody writes: the sockets have no
// connections, and the benchmark empties their queues.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint("sockets=", n), func(b *testing.B) {
			id, err := objects.Class("room").ID("lobby")
			if err != nil {
				b.Fatal(err)
			}
			h := New(Config{Queue: 1 << 20, Metrics: NewMetrics(prometheus.NewRegistry())})
			h.owners = new(owner)
			op := wire.LaneOp{Op: wire.OpMessage, Data: bytes.Repeat([]byte("x"), 100)}
			var slots []stream.Slot
			sockets := make([]*Socket, n)
			for i := range sockets {
				sockets[i], _ = h.Add(wire.Address{ID: id}, nil, false)
				slots = append(slots, sockets[i].slot)
			}
			op.Slots = wire.SlotsOf(slots)
			push := wire.LanePush{Lane: 1, Object: id.Key(), Token: 7, LaneBody: wire.LaneBody{Ops: []wire.LaneOp{op}}}
			b.ReportAllocs()
			for b.Loop() {
				push.Seq, push.Kind = push.Seq+1, uint8(min(push.Seq, 1)^1) // the first begins the lane
				h.push(&nats.Msg{Data: wire.Encode(&push)})
				for _, s := range sockets {
					s.outbox.empty(b)
				}
			}
		})
	}
}

// empty takes the one message that waits.
func (b *outbox) empty(t *testing.B) {
	if len(b.waiting) != 1 {
		t.Fatalf("%d messages wait for a socket, want the one that was sent", len(b.waiting))
	}
	b.waiting, b.bytes = b.waiting[:0], 0
}
