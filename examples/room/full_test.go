package room

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/objectstest"
)

func TestNoAnimalIsThereTwice(t *testing.T) {
	seen := make(map[string]bool)
	for _, a := range animals {
		if seen[a] {
			t.Errorf("%s is there twice", a)
		}
		seen[a] = true
	}
}

func TestThereIsANameForEverybody(t *testing.T) {
	all := newNames()
	const people = 3000 // more than there are animals in all colours
	for k := range people {
		name, color := all.pick()
		if all.taken[name] || color == "" {
			t.Fatalf("name %d is %q in %q: want a new one with a colour", k+1, name, color)
		}
		all.take(name, color)
	}
	for hex, n := range all.wearing {
		if n != people/len(colors) {
			t.Errorf("%d people wear %s, want all colours alike", n, hex)
		}
	}
	all.free("amber-otter", "#c47d04")
	if name, _ := all.pick(); name != "amber-otter" && all.taken[name] {
		t.Errorf("after one has left the next is called %s", name)
	}
}

// said is any frame of the room.
type said struct {
	Type, UserID, Name string
	People             int
	Peers              []person
}

// next returns the frames that a client has got, those that came in one array each for itself.
func next(t *testing.T, c *objectstest.Client) (all []said) {
	t.Helper()
	for m, ok := c.Next(); ok; m, ok = c.Next() {
		many := []said{{}}
		err := json.Unmarshal(m.Data, &many[0])
		if m.Data[0] == '[' {
			err = json.Unmarshal(m.Data, &many)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, many...)
	}
	return all
}

// A room has no limit of its own, and a newcomer among many costs each of them little.
func TestThousandsOfPeopleAreInOneRoom(t *testing.T) {
	w := objectstest.New(t, Objects)
	lobby := w.Object(Rooms, "lobby")
	enter := func() *objectstest.Client {
		t.Helper()
		c, response := w.Connect(lobby, httptest.NewRequest(http.MethodGet, "/?conflated", nil))
		if c == nil {
			t.Fatal(response.Status)
		}
		return c
	}
	first := enter()
	me := next(t, first)[0]
	if me.People != 1 || len(me.Peers) != 0 {
		t.Errorf("the first is told of %d people", me.People)
	}
	for range maxListed - 1 {
		enter()
	}
	w.Advance(time.Second)
	if told := next(t, first); len(told) != maxListed-1 || told[0].Type != "join" {
		t.Errorf("of %d people who came at once the first heard %d joins", maxListed-1, len(told))
	}
	var last *objectstest.Client
	for range 1000 {
		last = enter()
	}
	w.Advance(time.Second)
	if told := next(t, first); len(told) > 3 || told[len(told)-1].Type != "people" || told[len(told)-1].People != maxListed+1000 {
		t.Errorf("of 1000 people who came to %d at once the first heard %+v", maxListed, told)
	}
	hello := next(t, last)[0]
	if hello.Type != "hello" || hello.People != maxListed+1000 || len(hello.Peers) != maxListed {
		t.Errorf("the last is told of %d people and who %d are, want %d and %d", hello.People, len(hello.Peers), maxListed+1000, maxListed)
	}
	for _, p := range hello.Peers {
		if p.UserID == me.UserID {
			t.Error("among those who came last is the first")
		}
	}

	// Who was not told asks, also after a sleep.
	w.Evict(lobby)
	last.Send(objects.Text(fmt.Sprintf(`{"type":"who","userId":%q}`, me.UserID)))
	last.Send(objects.Text(`{"type":"who","userId":"nobody"}`))
	if told := next(t, last); len(told) != 1 || told[0].Type != "person" || told[0].Name != me.Name {
		t.Errorf("who asks for %s is told %+v", me.Name, told)
	}
	if told := next(t, first); len(told) != 0 {
		t.Errorf("others hear of that: %+v", told)
	}

	last.Close(1000, "")
	w.Advance(time.Second)
	if told := next(t, first); len(told) != 2 || told[0].Type != "leave" || told[0].UserID != hello.UserID || told[1].People != maxListed+999 {
		t.Errorf("when the last leaves the first hears %+v", told)
	}
}

// A gateway can die with the room's owner: the next owner is told of its sockets' ends, and has not found them among those
// that it was told of. In a World an object finds them, so the test has the room forget one.
func TestOneWhoIsLostWithTheOwnerIsSeenToLeave(t *testing.T) {
	w := objectstest.New(t, Objects)
	lobby := w.Object(Rooms, "lobby")
	anna, _ := w.Connect(lobby, nil)
	ben, _ := w.Connect(lobby, nil)
	hello := next(t, ben)[0]
	next(t, anna)
	err := objectstest.Inside(w, lobby, func(_ *objects.Tx, r *Room) error {
		delete(r.seats, ben.ID())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ben.Close(1006, "")
	if told := next(t, anna); len(told) != 1 || told[0].Type != "leave" || told[0].UserID != hello.UserID {
		t.Errorf("when one is lost the other hears %+v, want that %s has left", told, hello.UserID)
	}
}

// A page that only wants to know whether the line is alive does not keep the room awake.
func TestAPingWithoutATimeDoesNotWakeTheRoom(t *testing.T) {
	w := objectstest.New(t, Objects)
	lobby := w.Object(Rooms, "lobby")
	c, _ := w.Connect(lobby, nil)
	next(t, c)
	w.Evict(lobby)
	c.Send(objects.Text(anyoneThere))
	if m, _ := c.Next(); string(m.Data) != stillHere || w.Constructed(lobby) != 1 {
		t.Errorf("answered with %s, and the room was constructed %d times", m.Data, w.Constructed(lobby))
	}
	c.Send(objects.Text(`{"type":"ping","t":1}`))
	if m, _ := c.Next(); len(m.Data) < len(stillHere) || w.Constructed(lobby) != 2 {
		t.Errorf("with a time answered with %s, and the room was constructed %d times", m.Data, w.Constructed(lobby))
	}
}
