package chat_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"

	"holdfast/examples/chat"
	"holdfast/gateway/gatewaytest"
	"holdfast/objects/objectstest"
)

func TestARoomTellsWhatWasSaidAndWhoIsThere(t *testing.T) {
	w := objectstest.New(t, chat.Objects)
	front := gatewaytest.New(t, w, chat.Worker)
	join := func(name string) *objectstest.Client {
		c, r := front.Connect(httptest.NewRequest("GET", "/chat/lobby/live?name="+name, nil))
		if c == nil {
			t.Fatal(r.Status)
		}
		return c
	}
	next := func(c *objectstest.Client) (e chat.Event) {
		t.Helper()
		if !c.NextJSON(&e) {
			t.Error("nothing was told")
		}
		return e
	}
	ada := join("ada")
	next(ada)
	if got := next(ada).Here; !slices.Equal(got, []string{"ada"}) {
		t.Errorf("here are %q", got)
	}
	for i := range 60 {
		ada.SendJSON(map[string]any{"text": fmt.Sprint("post ", i+1)})
		if p := next(ada).Post; p == nil || p.N != uint64(i+1) || p.From != "ada" {
			t.Fatalf("post %d was told as %+v", i+1, p)
		}
	}
	w.Evict(w.Object(chat.Rooms, "lobby")) // nobody notices
	bob := join("bob")
	if latest := next(bob).Latest; len(latest) != 50 || latest[0].N != 11 || latest[49].Text != "post 60" {
		t.Errorf("bob was told %d posts, from %+v", len(latest), latest[0])
	}
	for _, c := range []*objectstest.Client{ada, bob} {
		if got := next(c).Here; !slices.Equal(got, []string{"ada", "bob"}) {
			t.Errorf("here are %q", got)
		}
	}
	bob.SendJSON(map[string]any{"typing": true})
	if got := next(ada).Typing; got != "bob" {
		t.Errorf("%q is typing", got)
	}
	bob.Close(1000, "")
	if got := next(ada).Here; !slices.Equal(got, []string{"ada"}) {
		t.Errorf("here are %q after bob has left", got)
	}
	r := front.Do(httptest.NewRequest("GET", "/chat/lobby/history?before=11", nil))
	var older []chat.Post
	if err := json.NewDecoder(r.Body).Decode(&older); err != nil || len(older) != 10 || older[0].N != 10 {
		t.Errorf("before post 11 were %+v, %v", older, err)
	}
	if c, r := front.Connect(httptest.NewRequest("GET", "/chat/lobby/live", nil)); c != nil || r.StatusCode != 400 {
		t.Errorf("without a name: %s", r.Status)
	}
}
