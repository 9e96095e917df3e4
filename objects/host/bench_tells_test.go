package host

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"holdfast/embedded"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// hose is an object that sends many told messages.
type hose struct{}

const hoseClass objects.Class = "hose"

var (
	hoseOut  = objects.NewCall[[2]int, objects.None](hoseClass, "out") // so many messages, to so many others
	hoseIn   = objects.NewCall[int, objects.None](hoseClass, "in")
	hoseGot  = objects.NewCall[objects.None, int](hoseClass, "got")
	hoseSum  = objects.NewKey[int]("sum")
	hoseImpl = objects.Implement(hoseClass, objects.New[hose], objects.On(hoseOut, (*hose).out), objects.On(hoseIn, (*hose).in), objects.On(hoseGot, (*hose).got))
)

func (*hose) out(tx *objects.Tx, n [2]int) (objects.None, error) {
	for i := range n[0] {
		hoseIn.Tell(tx, tx.Object(hoseClass, fmt.Sprint("to", i%n[1])), i)
	}
	return nil, nil
}

func (*hose) in(tx *objects.Tx, _ int) (objects.None, error) {
	hoseSum.Set(tx, hoseSum.Get(tx)+1)
	return nil, nil
}

func (*hose) got(tx *objects.Tx, _ objects.None) (int, error) { return hoseSum.Get(tx), nil }

// BenchmarkTell measures messages of one object, each an event that writes, from the call that tells them until the last was handled
// durably: to one receiver, and to a thousand.
func BenchmarkTell(b *testing.B) {
	for _, to := range []int{1, 1000} {
		b.Run(fmt.Sprint("receivers=", to), func(b *testing.B) {
			server, err := embedded.Start(b.Context(), embedded.Config{Store: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer server.Close()
			dial := func() *nats.Conn {
				nc, err := server.Dial()
				if err != nil {
					b.Fatal(err)
				}
				return nc
			}
			near := new(wire.Nearby)
			h, err := New(b.Context(), Config{Name: "a", Objects: []*objects.Implementation{hoseImpl}, Serve: dial(), State: dial(), Nearby: near})
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- h.Run(ctx) }()
			client, err := wire.NewClient(wire.ClientConfig{NATS: dial(), Name: nuid.Next(), Region: "local", Nearby: near})
			if err != nil {
				b.Fatal(err)
			}
			ask := func(name, call string, in any) (out int) {
				id, err := hoseClass.ID(name)
				if err != nil {
					b.Fatal(err)
				}
				body, err := json.Marshal(in)
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
				_ = json.Unmarshal(reply.Body, &out)
				return out
			}
			const each = 1000
			sent := 0
			for b.Loop() {
				ask("from", "out", [2]int{each, to})
				sent += each
				for i := range to {
					for ask(fmt.Sprint("to", i), "got", nil) < sent/to {
						time.Sleep(200 * time.Microsecond)
					}
				}
			}
			b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "tells/s")
			client.Close()
			stop()
			if err := <-done; err != nil {
				b.Error(err)
			}
		})
	}
}
