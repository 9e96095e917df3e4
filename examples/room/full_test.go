package room

import (
	"fmt"
	"testing"

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
	if names := len(colors) * len(seen); names < maxPeople {
		t.Errorf("%d names for %d people", names, maxPeople)
	}
}

func TestAFullRoomHasANameForEverybody(t *testing.T) {
	people := make([]person, 0, maxPeople)
	taken := make(map[string]bool)
	for range maxPeople {
		name, color := pickName(people)
		if taken[name] || color == "" {
			t.Fatalf("name %d is %q in %q: want a new one with a colour", len(people)+1, name, color)
		}
		taken[name] = true
		people = append(people, person{UserID: fmt.Sprint("u", len(people)), Name: name, Color: color, Region: "fra"})
	}
}

func TestTheThousandthPersonComesInAndTheNextIsTurnedAway(t *testing.T) {
	w := objectstest.New(t, Objects)
	enter := func() *objectstest.Client {
		c, response := w.Connect(w.Object(Rooms, "lobby"), nil)
		if c == nil {
			t.Fatal(response.Status)
		}
		return c
	}
	first := enter()
	for range maxPeople - 2 {
		enter()
	}
	drain := func() (n int) {
		for _, ok := first.Next(); ok; _, ok = first.Next() {
			n++
		}
		return n
	}
	drain()
	last := enter()
	if _, ended := last.Closed(); ended || drain() != 1 {
		t.Error("the last who fits was not let in, or the others did not hear of it")
	}
	more := enter()
	if end, ended := more.Closed(); !ended || end.Code != 4429 || end.Reason != "room is full" || drain() != 0 {
		t.Errorf("one too many ended with %+v, want 4429 room is full and nobody told", end)
	}
	last.Close(1000, "")
	drain()
	after := enter()
	if _, ended := after.Closed(); ended || drain() != 1 {
		t.Error("after one has left nobody was let in")
	}
}
