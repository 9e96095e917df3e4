package host

import (
	"testing"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// An event's identity is the same at the next owner, which gets a copy of the request, or reads the alarm.
func TestAnEventHasOneNameAndOneTimeAtAllOwners(t *testing.T) {
	set := engine.Alarm{At: time.UnixMilli(5000), Number: 7}
	id, err := objects.Class("guest").ID("ada")
	if err != nil {
		t.Fatal(err)
	}
	owner := func(epoch uint64) *object {
		return &object{in: new(incarnation), id: identity{ID: id}, term: term{epoch: epoch, token: epoch}, memory: memory{alarm: &set}}
	}
	names := make(map[string]string)
	for what, req := range map[string]wire.Request{
		"a request":             {Kind: wire.Call, Gateway: "g", N: 40, Time: 1000},
		"the next":              {Kind: wire.Fetch, Gateway: "g", N: 41, Time: 1000},
		"another gateway's":     {Kind: wire.Call, Gateway: "h", N: 40, Time: 1000},
		"one under a key":       {Kind: wire.Call, Gateway: "g", N: 42, Key: "k", Time: 1000},
		"a frame":               {Kind: wire.Message, Gateway: "g", Socket: "g-1", Seq: 40, Time: 1000},
		"one of another socket": {Kind: wire.Message, Gateway: "g", Socket: "g-2", Seq: 40, Time: 1000},
		"an alarm":              {Kind: wire.Alarm, Gateway: "g", N: 43, Time: 9000},
	} {
		first := owner(1).newContext(&req, time.Time{}, time.Now())
		req.N++ // a carrier of alarms, or a client with its key, comes with another number
		if req.Kind != wire.Alarm && req.Key == "" {
			req.N--
		}
		again := owner(2).newContext(&req, time.Time{}, time.Now().Add(time.Hour))
		if first.ID() != again.ID() || !first.Time().Equal(again.Time()) || first.Time().UnixMilli() > 5000 {
			t.Errorf("%s: %s at %v, and %s at %v", what, first.ID(), first.Time(), again.ID(), again.Time())
		}
		if other, known := names[first.ID()]; known {
			t.Errorf("%s and %s are both %s", what, other, first.ID())
		}
		names[first.ID()] = what
	}
	again := set
	again = again.Failed(time.Now(), 0)
	if kept := numbered(again); kept.Number != 7 {
		t.Errorf("the retry of alarm 7 is %d", kept.Number)
	}
	if kept := numbered(engine.Alarm{At: set.At}); kept.Number == 0 || kept.Number == 7 {
		t.Errorf("an alarm that was set has the number %d", kept.Number)
	}
	if id := objects.EventID(t.Context()); id != "" || !objects.EventTime(t.Context()).IsZero() {
		t.Errorf("outside of events there is the event %q", id)
	}
}
