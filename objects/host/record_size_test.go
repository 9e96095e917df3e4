package host

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nuid"

	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// A record names a socket by its slot at its gateway, as what the slot is more than the
// one before: one byte if the room's sockets are neighbours, two if up to 16,383 sockets of
// other rooms were opened between them.
func TestTheRecordOfARoomOfTenThousandSocketsTakesLessThan32KiB(t *testing.T) {
	const sockets, most = 10_000, 32 << 10
	for _, rooms := range []int{1, 10, 1000} {
		t.Run(fmt.Sprintf("rooms=%d", rooms), func(t *testing.T) {
			o, key := crowdedRoom(t, sockets, rooms)
			value := o.encode(owner.Put{Head: owner.Head{Epoch: 3, Owner: nuid.Next(), Commit: sockets}}).value
			t.Logf("%d sockets at two gateways with %d rooms: %d bytes", sockets, rooms, len(value))
			if len(value) >= most {
				t.Errorf("the record has %d bytes, want less than %d", len(value), most)
			}
			rec, err := record.Decode(key, value)
			if err != nil {
				t.Fatal(err)
			}
			named := 0
			for _, e := range entriesOf(rec.Gateways) {
				named += len(e.Slots)
			}
			if named != sockets {
				t.Errorf("the record names %d sockets, want %d", named, sockets)
			}
		})
	}
}

// crowdedRoom returns an object whose sockets, each with a tag and an attachment, are at two
// gateways. Each gateway's sockets are spread evenly over so many rooms.
func crowdedRoom(t *testing.T, size, rooms int) (o *object, key string) {
	t.Helper()
	const class objects.Class = "room"
	id, err := class.ID("lobby")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	o = &object{
		in: &incarnation{id: nuid.Next(), cfg: &Config{Name: "box-4412", Region: "fra"}}, id: identity{ID: id, Name: "lobby"},
		sockets: &sockets{Sender: stream.NewSender(1<<48|1_000_000, nil, new(stream.Defaults()), now)},
	}
	o.memory.State = state.New(new(engine.Data))
	gateways, slots := [2]string{nuid.Next(), nuid.Next()}, [2]uint32{}
	random := rand.New(rand.NewPCG(1, 2))
	for n := range size {
		at := n % len(gateways)
		slots[at] += 1 + random.Uint32N(uint32(2*rooms-1))
		o.sockets.Event(now, uint64(n+1), []stream.Out{{Gateway: gateways[at], Opens: []stream.Slot{stream.Slot(slots[at])}}})
		o.sockets.open.Add(engine.SocketInfo{
			ID: wire.SocketID(gateways[at], slots[at]), Gateway: gateways[at], Region: "fra", Order: uint64(n + 1),
			Tags: []string{"player"}, Attachment: []byte(`{"name":"Ada"}`),
		})
	}
	o.sockets.note()
	return o, o.id.Key()
}
