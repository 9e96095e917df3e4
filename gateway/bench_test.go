package gateway

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// BenchmarkFanOut is the gateway's part of a message to many: from the owner's push
// until it waits in the queue of every socket. Nobody writes: the sockets have no
// connections, and the benchmark empties their queues.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint("sockets=", n), func(b *testing.B) {
			id, err := objects.Class("room").ID("lobby")
			if err != nil {
				b.Fatal(err)
			}
			h := newHub(&Gateway{cfg: Config{Limits: Limits{}.withDefaults()}, metrics: newMetrics(prometheus.NewRegistry(), "local")})
			op := wire.SocketOp{Op: wire.OpMessage, Data: bytes.Repeat([]byte("x"), 100)}
			sockets := make([]*socket, n)
			for i := range sockets {
				sockets[i] = newSocket(h, wire.Address{ID: id})
				h.add(sockets[i])
				op.Sockets.Add(sockets[i].id)
			}
			msg := &nats.Msg{Data: wire.Encode(&wire.Push{Object: id.Key(), Token: 7, Ops: []wire.SocketOp{op}})}
			b.ReportAllocs()
			for b.Loop() {
				h.push(msg)
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
