package host

import (
	"context"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// Told is what an object's record has of messages that are not delivered yet.
type Told struct {
	Sending int           `json:"sending"` // to others, due
	Timers  int           `json:"timers"`  // not due, or to the object itself
	Parked  int           `json:"parked"`  // given up, until an operator retries or drops them
	Marks   int           `json:"marks"`   // senders of whom the object remembers what it has handled
	First   []ToldMessage `json:"messages,omitempty"`
}

// maxToldShown is how many messages are shown of each kind.
const maxToldShown = 100

// ToldMessage is one message of them.
type ToldMessage struct {
	State     string    `json:"state"` // sending, timer, parked
	N         uint64    `json:"n"`
	To        string    `json:"to"` // class.id
	Name      string    `json:"name,omitempty"`
	Call      string    `json:"call"`
	Key       string    `json:"key,omitempty"`
	At        time.Time `json:"at,omitzero"` // when it is due, or tried next; zero: at once
	Tries     int       `json:"tries,omitempty"`
	Code      string    `json:"code,omitempty"` // of the last failure
	Message   string    `json:"message,omitempty"`
	Reference string    `json:"ref,omitempty"`
	Size      int       `json:"size"` // bytes of its input
}

// toldIn returns what the record of the object with this key and name has of told messages; nil: nothing.
func toldIn(data *engine.Data, key, name string) *Told {
	t := &Told{Marks: data.Between(engine.MarksAt, engine.After(engine.MarksAt)).Len()}
	for _, kind := range []struct {
		state, prefix string
		count         *int
	}{{"parked", engine.ParkedAt, &t.Parked}, {"sending", engine.OutboxAt, &t.Sending}, {"timer", engine.TimersAt, &t.Timers}} {
		entries := data.Between(kind.prefix, engine.After(kind.prefix))
		*kind.count = entries.Len()
		shown := 0
		for _, value := range entries.All() {
			if shown++; shown > maxToldShown {
				break
			}
			m, err := engine.DecodeTold(value)
			if err != nil {
				continue
			}
			one := ToldMessage{State: kind.state, N: m.N, To: m.To, Name: m.Name, Call: m.Call, Key: m.Key, At: m.When(), Tries: m.Tries, Size: len(m.Body)}
			if m.To == key {
				one.Name = name // tx.Self does not repeat it
			}
			if m.Err != nil {
				one.Code, one.Message, one.Reference = m.Err.Code, m.Err.Message, m.Err.Reference
			}
			t.First = append(t.First, one)
		}
	}
	if t.Sending+t.Timers+t.Parked+t.Marks == 0 {
		return nil
	}
	return t
}

// Parked has an object's owner retry or drop the parked message n; 0 means all of them. name is the object's name, if
// known. It returns how many messages there were. Errors are those of a call: NotFound if there is none.
func Parked(ctx context.Context, nc *nats.Conn, id objects.ID, name string, n uint64, drop bool) (int, error) {
	client, err := wire.NewClient(wire.ClientConfig{NATS: nc, Host: true, Name: nuid.Next(), Region: "local"})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	body := wire.Encode(&wire.ParkedBody{N: n, Drop: drop})
	reply, err := client.Do(ctx, wire.Address{ID: id, Name: name}, &wire.Request{Kind: wire.Parked, Body: body})
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		return 0, err
	}
	seen, err := strconv.Atoi(string(reply.Body))
	if err != nil {
		return 0, objects.Errorf(objects.Internal, "the owner's answer is not understood")
	}
	return seen, nil
}
