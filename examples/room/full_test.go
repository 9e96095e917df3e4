package room

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"holdfast/objects"
)

// crowd is n people with different names; it fails the test if names run out.
func crowd(t *testing.T, n int) []person {
	t.Helper()
	people := make([]person, 0, n)
	taken := make(map[string]bool)
	for range n {
		name, color := pickName(people)
		if taken[name] || color == "" {
			t.Fatalf("name %d is %q in %q: want a new one with a colour", len(people)+1, name, color)
		}
		taken[name] = true
		people = append(people, person{UserID: fmt.Sprint("u", len(people)), Name: name, Color: color, Region: "fra"})
	}
	return people
}

func TestNoAnimalIsThereTwice(t *testing.T) {
	seen := make(map[string]bool)
	for _, a := range animals {
		if seen[a] {
			t.Errorf("%s is there twice", a)
		}
		seen[a] = true
	}
	if names := len(colors) * len(seen); names < maxPeople {
		t.Errorf("%d names for %d people", names, maxPeople)
	}
}

// The crowd is put in as a waking host would: letting a thousand people in one by
// one tells half a million joins.
func TestTheThousandthPersonComesInAndTheNextIsTurnedAway(t *testing.T) {
	sockets := &objects.Sockets{}
	for i, p := range crowd(t, maxPeople-1) {
		attachment := objects.JSON(seat{person: p, Epoch: 1}).Data
		sockets.Add(objects.SocketInfo{ID: fmt.Sprint("s", i), Attachment: attachment})
	}
	id, err := objects.NameID("room", "lobby")
	if err != nil {
		t.Fatal(err)
	}
	instance, out := Class.Start(objects.World{
		ID: id, Data: &objects.Data{}, Sockets: sockets, Now: time.Now,
		Alarm: func() objects.Alarm { return objects.Alarm{} }, Owner: objects.Owner{Epoch: 1},
	})
	if out.Err != nil {
		t.Fatal(out.Err)
	}
	enter := func(id string) []objects.Send {
		out := instance.Fetch(httptest.NewRequest("GET", "/", nil), &objects.SocketInfo{ID: id})
		if out.Err != nil || out.Response.Status != 101 {
			t.Fatalf("answer = %+v, %v, want 101", out.Response, out.Err)
		}
		return out.Sends
	}

	sends := enter("last")
	join := sends[len(sends)-1]
	if join.Op != objects.OpMessage || len(join.Sockets) != maxPeople-1 {
		t.Errorf("the last send = op %d to %d sockets, want one join to %d", join.Op, len(join.Sockets), maxPeople-1)
	}
	sends = enter("one too many")
	if len(sends) != 1 || sends[0].Op != objects.OpClose || sends[0].Close.Code != 4429 || sends[0].Close.Reason != "room is full" {
		t.Errorf("sends = %+v, want a close with 4429 room is full", sends)
	}
	instance.Closed(t.Context(), "one too many", objects.Close{Code: 4429})
	instance.Closed(t.Context(), "s0", objects.Close{Code: 1000})
	if sends := enter("after one left"); len(sends) != 3 {
		t.Errorf("%d sends, want 3: attachment, hello, join", len(sends))
	}
}
