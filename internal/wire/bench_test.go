package wire

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/nats-io/nuid"

	"holdfast/objects"
)

// envelope is a message as it is usual, and where one of its kind is read into.
type envelope struct {
	name    string
	message message
	empty   func() message
}

func envelopes(b *testing.B) []envelope {
	id, err := objects.Class("ticket").ID("global")
	if err != nil {
		b.Fatal(err)
	}
	request, reply := func() message { return new(Request) }, func() message { return new(Reply) }
	all := []envelope{
		{"request=call", &Request{
			Kind: Call, Gateway: nuid.Next(), N: 123_456, Low: 123_440, Timeout: 15_000, Call: "claim", Body: []byte("{}"),
		}, request},
		{"request=fetch", &Request{
			Kind: Fetch, Gateway: nuid.Next(), N: 123_456, Low: 123_440, Timeout: 15_000,
			Method: "GET", URL: "/objects/room/lobby?name=anna", Host: "holdfast.example:8787", Remote: "203.0.113.7",
			Header: map[string][]string{ // eight, as a browser's
				"Accept": {"*/*"}, "Accept-Encoding": {"gzip, deflate, br"}, "Accept-Language": {"en-GB,en;q=0.9"},
				"Cache-Control": {"no-cache"}, "Cookie": {"session=6f1c8a7e0d6b4c52"}, "Origin": {"https://holdfast.example:8787"},
				"Referer": {"https://holdfast.example:8787/"}, "User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
			},
		}, request},
		{"reply", &Reply{
			Owner: Owner{Host: "box-4412", Region: "fra", Epoch: 3}, Token: 987_654, Body: []byte(`{"ticket":15}`),
		}, reply},
	}
	for _, n := range []int{1, 100, 1000} {
		op := SocketOp{Op: OpMessage, Data: bytes.Repeat([]byte("x"), 100)}
		for range n {
			op.Sockets.Add(nuid.Next())
		}
		push := &Push{Object: id.Key(), Token: 987_654, Ops: []SocketOp{op}}
		all = append(all, envelope{fmt.Sprint("push/sockets=", n), push, func() message { return new(Push) }})
	}
	return all
}

func BenchmarkEncode(b *testing.B) {
	for _, e := range envelopes(b) {
		b.Run(e.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Encode(e.message)
			}
		})
	}
}

// BenchmarkDecode does not go through the ids of a push: whoever looks the sockets
// up does.
func BenchmarkDecode(b *testing.B) {
	for _, e := range envelopes(b) {
		b.Run(e.name, func(b *testing.B) {
			data := Encode(e.message)
			b.ReportAllocs()
			for b.Loop() {
				if err := Decode(data, e.empty()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
