package host

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"holdfast/embedded"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// table is an object of a hundred seats, whose values have 100 bytes.
type table struct{}

const tableClass objects.Class = "table"

// change is a change of a table: the first Seats seats get a value made of Turn.
type change struct{ Seats, Turn int }

var (
	setSeats = objects.NewCall[change, objects.None](tableClass, "set")
	peek     = objects.NewCall[objects.None, objects.None](tableClass, "peek")

	tables = objects.Implement(tableClass, objects.New[table],
		objects.On(setSeats, (*table).set), objects.On(peek, (*table).peek))

	seats = func() (keys [100]objects.Key[string]) {
		for i := range keys {
			keys[i] = objects.NewKey[string](fmt.Sprintf("seat/%04d", i))
		}
		return keys
	}()
)

func (t *table) set(tx *objects.Tx, c change) (objects.None, error) {
	value := fmt.Sprintf("%098d", c.Turn)
	for _, seat := range seats[:c.Seats] {
		seat.Set(tx, value)
	}
	return nil, nil
}

func (t *table) peek(*objects.Tx, objects.None) (objects.None, error) { return nil, nil }

// asker runs a host on a NATS server in this process that keeps everything in
// memory, and asks its tables. What it allocates is that of all three.
func asker(b *testing.B) func(b *testing.B, name, call string, input any) {
	server, err := embedded.Start(b.Context(), embedded.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Close)
	dial := func() *nats.Conn {
		nc, err := server.Dial()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(nc.Close)
		return nc
	}
	h, err := New(b.Context(), Config{Name: "a", Objects: []*objects.Implementation{tables}, Serve: dial(), State: dial(), Memory: true})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	client, err := wire.NewClient(wire.ClientConfig{NATS: dial(), Name: nuid.Next(), Region: "local"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	return func(b *testing.B, name, call string, input any) {
		id, err := tableClass.ID(name)
		if err != nil {
			b.Fatal(err)
		}
		body, err := json.Marshal(input)
		if err != nil {
			b.Fatal(err)
		}
		reply, err := client.Do(b.Context(), wire.Address{ID: id, Name: name}, &wire.Request{Kind: wire.Call, Call: call, Body: body})
		if err == nil {
			err = reply.Err()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit measures a call that changes some keys of an object that has a hundred,
// from the request to the reply: one event at a time, one put each.
func BenchmarkCommit(b *testing.B) {
	ask := asker(b)
	for _, keys := range []int{1, 10, 100} {
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			turn := 0
			ask(b, "a", "set", change{len(seats), turn})
			b.ReportAllocs()
			for b.Loop() {
				turn++
				ask(b, "a", "set", change{keys, turn})
			}
		})
	}
}

// BenchmarkRead measures the same without a put.
func BenchmarkRead(b *testing.B) {
	ask := asker(b)
	ask(b, "a", "peek", nil)
	b.ReportAllocs()
	for b.Loop() {
		ask(b, "a", "peek", nil)
	}
}

// BenchmarkClaim measures the first request to an object that nobody has asked for yet:
// nobody listens, a host claims it, the request is sent again. The event writes
// nothing, so the claim is the only put.
func BenchmarkClaim(b *testing.B) {
	ask := asker(b)
	ask(b, "warm", "peek", nil)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		ask(b, fmt.Sprint("new-", n), "peek", nil)
	}
}

// BenchmarkFanOut measures the host's part of a message to many: what one event wants
// sent is made into the push for their gateway, and encoded.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint("sockets=", n), func(b *testing.B) {
			var opened engine.Sockets
			gateway := nuid.Next()
			for i := range n {
				opened.Add(engine.SocketInfo{ID: wire.SocketID(gateway, uint32(i+1)), Gateway: gateway, Slot: uint32(i + 1)})
			}
			message := engine.Message{Data: bytes.Repeat([]byte("x"), 100)}
			sends := []engine.Send{{Op: engine.OpMessage, Sockets: opened.All(), Message: message}}
			o := &object{sockets: new(sockets)}
			b.ReportAllocs()
			for b.Loop() {
				outs, _ := o.outs(event{}, engine.Outcome{Sends: sends}, nil, false)
				for _, out := range outs {
					wire.Encode(&wire.LanePush{Lane: 1, Seq: 1, Object: "room.5f3f", Token: 1, Encoded: out.Bodies[:1]})
				}
			}
		})
	}
}

// BenchmarkNote measures what a new socket costs the record, without the put.
func BenchmarkNote(b *testing.B) {
	for _, n := range []int{1, 100, 1000, 10_000} {
		b.Run(fmt.Sprint("sockets=", n), func(b *testing.B) {
			var s sockets
			gateway := nuid.Next()
			for i := range n {
				s.open.Add(engine.SocketInfo{ID: wire.SocketID(gateway, uint32(i+1)), Gateway: gateway, Tags: []string{"player"}, Order: uint64(i + 1)})
			}
			b.ReportAllocs()
			for b.Loop() {
				s.note()
			}
		})
	}
}
