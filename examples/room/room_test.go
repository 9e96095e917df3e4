package room_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"holdfast/examples/room"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

type frame map[string]any

func lobby(w *objectstest.World) objects.Ref { return w.Object(room.Rooms, "lobby") }

// visitor is a client and what it was told at the door.
type visitor struct {
	*objectstest.Client
	hello frame
	id    string
}

func enter(tb testing.TB, w *objectstest.World) visitor {
	tb.Helper()
	return enterAt(tb, w, "/")
}

// enterAt is enter with a request for this URL.
func enterAt(tb testing.TB, w *objectstest.World, url string) visitor {
	tb.Helper()
	c, response := w.Connect(lobby(w), httptest.NewRequest(http.MethodGet, url, nil))
	if c == nil {
		tb.Fatal(response.Status)
	}
	v := visitor{Client: c}
	if !c.NextJSON(&v.hello) || v.hello["type"] != "hello" {
		tb.Fatalf("the first frame = %v, want hello", v.hello)
	}
	v.id = v.hello["userId"].(string)
	return v
}

// hears takes the next frame, which must be of this type.
func (v visitor) hears(tb testing.TB, kind string) frame {
	tb.Helper()
	var f frame
	if !v.NextJSON(&f) || f["type"] != kind {
		tb.Fatalf("%s heard %v, want a %s", v.hello["name"], f, kind)
	}
	return f
}

func (v visitor) hearsNothing(tb testing.TB) {
	tb.Helper()
	if m, ok := v.Next(); ok {
		tb.Fatalf("%s heard %s, want silence", v.hello["name"], m.Data)
	}
}

func TestANewcomerIsToldWhoIsThereAndTheOthersAreToldOfThem(t *testing.T) {
	w := objectstest.New(t, room.Objects)
	anna := enter(t, w)
	if peers := anna.hello["peers"].([]any); len(peers) != 0 {
		t.Errorf("peers of the first = %v, want none", peers)
	}
	if name := anna.hello["name"].(string); !regexp.MustCompile(`^[a-z]+-[a-z]+$`).MatchString(name) {
		t.Errorf("name = %q, want color-animal", name)
	}
	if color := anna.hello["color"].(string); !regexp.MustCompile(`^#[0-9a-f]{6}$`).MatchString(color) {
		t.Errorf("color = %q, want #rrggbb", color)
	}
	for field, want := range (frame{"region": "test", "owner": "test", "ownerRegion": "test", "epoch": 1.0}) {
		if got := anna.hello[field]; got != want {
			t.Errorf("hello's %s = %v, want %v", field, got, want)
		}
	}

	ben := enter(t, w)
	join := anna.hears(t, "join")
	for _, field := range []string{"userId", "name", "color", "region"} {
		if join[field] == nil || join[field] != ben.hello[field] {
			t.Errorf("join's %s = %v, want %v", field, join[field], ben.hello[field])
		}
	}
	peers := ben.hello["peers"].([]any)
	want := frame{"userId": anna.id, "name": anna.hello["name"], "color": anna.hello["color"], "region": "test"}
	if len(peers) != 1 || !maps.Equal(peers[0].(map[string]any), want) {
		t.Errorf("peers of the second = %v, want [%v]", peers, want)
	}

	anna.Close(1001, "going away")
	if left := ben.hears(t, "leave"); left["userId"] != anna.id {
		t.Errorf("leave's userId = %v, want %v", left["userId"], anna.id)
	}
	ben.hearsNothing(t)
}

func TestWhatOneSendsAllOthersGetSigned(t *testing.T) {
	cases := []struct{ name, sent, want string }{
		{"a cursor, byte for byte", `{"type":"cursor","x":1.50,"y":2e1}`, `{"type":"cursor","x":1.50,"y":2e1,"userId":"ID"}`},
		{"an empty object", `{}`, `{"userId":"ID"}`},
		{"space around", " { \"a\" : 1 } \n", ` { "a" : 1,"userId":"ID"}`},
		{"space within nothing", ` { } `, ` {"userId":"ID"}`},
		{"somebody else's userId", `{"userId":"you","a":[1,{"userId":"kept"}]}`, `{"a":[1,{"userId":"kept"}],"userId":"ID"}`},
		{"a disguised userId", `{"user\u0049d":"you","a":"\u00e9"}`, `{"a":"\u00e9","userId":"ID"}`},
		{"a userId many times", `{"userId":1,"userId":2}`, `{"userId":"ID"}`},
		{"the word in a text", `{"say":"my userId"}`, `{"say":"my userId","userId":"ID"}`},
		{"ping in a text", `{"type":"chat","say":"ping","also":"\"ping\""}`, `{"type":"chat","say":"ping","also":"\"ping\"","userId":"ID"}`},
		{"a field that is ping", `{"type":"chat","say":"ping"}`, `{"type":"chat","say":"ping","userId":"ID"}`},
		{"no type", `{"ping":"ping"}`, `{"ping":"ping","userId":"ID"}`},
	}
	w := objectstest.New(t, room.Objects)
	anna, ben, cleo := enter(t, w), enter(t, w), enter(t, w)
	anna.hears(t, "join")
	anna.hears(t, "join")
	ben.hears(t, "join")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			anna.Send(objects.Text(c.sent))
			want := strings.ReplaceAll(c.want, "ID", anna.id)
			for _, peer := range []visitor{ben, cleo} {
				if m, ok := peer.Next(); !ok || m.Binary || string(m.Data) != want {
					t.Errorf("heard %q, want %q", m.Data, want)
				}
			}
			anna.hearsNothing(t)
		})
	}
}

func TestAPingIsAnsweredToItsSenderOnly(t *testing.T) {
	w := objectstest.New(t, room.Objects)
	anna, ben := enter(t, w), enter(t, w)
	anna.hears(t, "join")
	anna.Send(objects.Text(`{"type":"ping","t":1764000000000}`))
	if m, _ := anna.Next(); string(m.Data) != `{"type":"pong","t":1764000000000,"owner":"test","ownerRegion":"test","epoch":1}` {
		t.Errorf("answer = %s", m.Data)
	}
	anna.Send(objects.Text(`{"type":"ping"}`))
	if pong := anna.hears(t, "pong"); pong["t"] != nil {
		t.Errorf("t = %v, want none as none was sent", pong["t"])
	}
	ben.hearsNothing(t)
}

func TestWhoAsksForItGetsTheNewestCursorsInOneFrame(t *testing.T) {
	w := objectstest.New(t, room.Objects)
	anna, ben := enterAt(t, w, "/?conflated"), enterAt(t, w, "/?conflated")
	cleo := enter(t, w)
	w.Advance(time.Second)
	for _, v := range []visitor{anna, ben, cleo} { // joins come many in a frame, too
		for _, ok := v.Next(); ok; _, ok = v.Next() {
		}
	}
	at := func(v visitor, x int) string { return fmt.Sprintf(`{"type":"cursor","x":%d,"userId":"%s"}`, x, v.id) }
	for i := range 5 {
		anna.SendJSON(frame{"type": "cursor", "x": i})
		ben.SendJSON(frame{"type": "cursor", "x": 10 + i})
	}
	for i := range 5 { // who did not ask gets each
		for _, want := range []string{at(anna, i), at(ben, 10+i)} {
			if m, _ := cleo.Next(); string(m.Data) != want {
				t.Errorf("heard %s, want %s", m.Data, want)
			}
		}
	}
	cleo.SendJSON(frame{"type": "ripple"}) // what waits comes before it
	for _, v := range []visitor{anna, ben} {
		for _, want := range []string{"[" + at(anna, 0) + "]", "[" + at(ben, 14) + "," + at(anna, 4) + "]"} {
			if m, _ := v.Next(); string(m.Data) != want {
				t.Errorf("heard %s, want %s", m.Data, want)
			}
		}
		v.hears(t, "ripple")
	}
	anna.SendJSON(frame{"type": "cursor", "x": 5})
	ben.hearsNothing(t)
	w.Advance(33 * time.Millisecond)
	if m, _ := ben.Next(); string(m.Data) != "["+at(anna, 5)+"]" {
		t.Errorf("heard %s", m.Data)
	}
}

func TestTheFourthFrameThatIsNoObjectClosesTheSocket(t *testing.T) {
	w := objectstest.New(t, room.Objects)
	anna, ben := enter(t, w), enter(t, w)
	anna.hears(t, "join")
	for _, bad := range []objects.Message{
		objects.Text("hello?"), objects.Text(`[1]`), objects.Binary([]byte(`{"a":1}`)),
	} {
		anna.Send(bad)
		if e := anna.hears(t, "error"); e["code"] != "invalid" || e["message"] == "" {
			t.Errorf("error = %v, want code invalid and a message", e)
		}
		w.Evict(lobby(w)) // the count survives sleep
		if end, closed := anna.Closed(); closed {
			t.Fatalf("closed with %v after a forgiven frame", end)
		}
	}
	anna.SendJSON(frame{"type": "cursor"}) // a good one forgives nothing
	ben.hears(t, "cursor")
	anna.Send(objects.Text("{]"))
	if end, closed := anna.Closed(); !closed || end.Code != 4400 || end.Reason == "" {
		t.Errorf("closed = %v, %+v, want 4400 with a reason", closed, end)
	}
	if left := ben.hears(t, "leave"); left["userId"] != anna.id {
		t.Errorf("leave's userId = %v, want %v", left["userId"], anna.id)
	}
	ben.hearsNothing(t)
}

func TestNothingElseIsAnObject(t *testing.T) {
	for _, bad := range []string{"", " ", "{", "}", "{}{}", "null", "1", `"{}"`, "[{}]", `{"a":}`, "\u00a0{}"} {
		w := objectstest.New(t, room.Objects)
		anna, ben := enter(t, w), enter(t, w)
		anna.hears(t, "join")
		anna.Send(objects.Text(bad))
		anna.hears(t, "error")
		ben.hearsNothing(t)
	}
}

func TestTheRoomSleepsBetweenTwoMovesAndNobodyNotices(t *testing.T) {
	w := objectstest.New(t, room.Objects)
	people := make([]visitor, 100)
	for i := range people {
		people[i] = enter(t, w)
		for _, earlier := range people[:i] {
			earlier.hears(t, "join")
		}
	}
	w.Evict(lobby(w))
	people[7].SendJSON(frame{"type": "cursor", "x": 1})
	if n := w.Constructed(lobby(w)); n != 2 {
		t.Errorf("constructed %d times, want 2", n)
	}
	for i, p := range people {
		if i != 7 {
			if f := p.hears(t, "cursor"); f["userId"] != people[7].id {
				t.Errorf("userId = %v, want %v", f["userId"], people[7].id)
			}
		}
		p.hearsNothing(t)
	}
	last := enter(t, w)
	known := make(map[any]any)
	for _, p := range last.hello["peers"].([]any) {
		known[p.(map[string]any)["userId"]] = p.(map[string]any)["name"]
	}
	for _, p := range people {
		if known[p.id] != p.hello["name"] {
			t.Errorf("after the sleep %v is %v, want %v", p.id, known[p.id], p.hello["name"])
		}
	}
}

func TestEverybodyIsToldOnceThatTheOwnerHasMoved(t *testing.T) {
	w := objectstest.New(t, room.Objects)
	anna, ben := enter(t, w), enter(t, w)
	anna.hears(t, "join")
	w.Move(lobby(w))
	anna.SendJSON(frame{"type": "cursor"})
	for _, v := range []visitor{anna, ben} {
		if f := v.hears(t, "owner"); f["epoch"] != 2.0 || f["owner"] != "test" || f["ownerRegion"] != "test" {
			t.Errorf("owner = %v, want test in test at epoch 2", f)
		}
	}
	ben.hears(t, "cursor")
	w.Evict(lobby(w))
	ben.SendJSON(frame{"type": "cursor"})
	anna.hears(t, "cursor")
	anna.hearsNothing(t)
	ben.hearsNothing(t)
	if cleo := enter(t, w); cleo.hello["epoch"] != 2.0 {
		t.Errorf("a newcomer's epoch = %v, want 2", cleo.hello["epoch"])
	}
}

func TestWithoutAnUpgradeTheAnswerSaysHowToComeIn(t *testing.T) {
	w := objectstest.New(t, room.Objects)
	forwarded := httptest.NewRequest(http.MethodGet, "http://example.org:8787/room/caf%C3%A9%20bar?x=1", nil)
	wayIn(t, w, forwarded, "wscat -c ws://example.org:8787/room/caf%C3%A9%20bar")
	mounted := httptest.NewRequest(http.MethodGet, "http://example.org:8787/", nil)
	mounted.Header.Set("X-Forwarded-Prefix", "/objects/room/caf%C3%A9%20bar")
	wayIn(t, w, mounted, "wscat -c ws://example.org:8787/objects/room/caf%C3%A9%20bar/")
}

func wayIn(t *testing.T, w *objectstest.World, r *http.Request, want string) {
	t.Helper()
	response, err := lobby(w).Fetch(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusUpgradeRequired || response.Header.Get("Upgrade") != "websocket" {
		t.Errorf("answer = %s with Upgrade %q, want 426 with websocket", response.Status, response.Header.Get("Upgrade"))
	}
	if !strings.Contains(string(body)+"\n", want+"\n") {
		t.Errorf("body = %q, want it to contain %q", body, want)
	}
}

func FuzzWhatIsRelayedIsAnObjectOfTheSender(f *testing.F) {
	for _, seed := range []string{`{}`, ` {"a":1} `, `{"userId":1}`, `{"user\u0049d":[]}`, `{"type":"ping"}`, "\v{}", `{"a":"\ud800"}`, "\xa6"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		w := objectstest.New(t, room.Objects)
		anna, ben := enter(t, w), enter(t, w)
		anna.Send(objects.Message{Data: sent})
		m, ok := ben.Next()
		if !ok {
			return
		}
		if !utf8.Valid(sent) { // who sends that is closed, and has left
			if want := `{"type":"leave","userId":"` + anna.id + `"}`; string(m.Data) != want {
				t.Errorf("sent %q, relayed %q, want %s", sent, m.Data, want)
			}
			return
		}
		var before, after map[string]json.RawMessage
		if err := json.Unmarshal(sent, &before); err != nil {
			t.Fatalf("relayed %q, which is no object, as %q: %v", sent, m.Data, err)
		}
		if err := json.Unmarshal(m.Data, &after); err != nil {
			t.Fatalf("relayed %q as %q: %v", sent, m.Data, err)
		}
		if got, want := string(after["userId"]), `"`+anna.id+`"`; got != want {
			t.Errorf("userId = %s, want %s", got, want)
		}
		delete(before, "userId")
		delete(after, "userId")
		if len(before) != len(after) {
			t.Errorf("sent %q, relayed %q", sent, m.Data)
		}
	})
}

// A relayed cursor in a room of a hundred; the clients' side is in it, too.
func BenchmarkRelay(b *testing.B) {
	w := objectstest.New(b, room.Objects)
	people := make([]visitor, 100)
	for i := range people {
		people[i] = enter(b, w)
	}
	cursor := objects.Text(`{"type":"cursor","x":1234,"y":5678}`)
	b.ReportAllocs()
	for b.Loop() {
		people[0].Send(cursor)
		for _, p := range people {
			for _, ok := p.Next(); ok; _, ok = p.Next() {
			}
		}
	}
}

// A person whose connection was lost comes back as who they were; nobody else notices, and who has missed something can ask
// for everything anew.
func TestWhoWasLostComesBackAsTheSamePerson(t *testing.T) {
	w := objectstest.New(t, room.Objects)
	anna, ben := enterAt(t, w, "/?conflated"), enter(t, w)
	anna.Next() // ben's coming
	anna.Lose()
	ben.SendJSON(frame{"type": "cursor", "x": 1})
	cleo := enter(t, w)
	if peers := cleo.hello["peers"].([]any); len(peers) != 2 {
		t.Errorf("peers of a newcomer = %v, want who is away among them", peers)
	}
	w.Move(lobby(w))
	w.Advance(time.Second)
	if missed, back := anna.ComeBack(); missed != 0 || !back {
		t.Fatalf("back: %v, and %d were missed", back, missed)
	}
	news := ""
	for m, ok := anna.Next(); ok; m, ok = anna.Next() {
		news += string(m.Data)
	}
	for _, want := range []string{`"type":"cursor"`, `"type":"join"`, cleo.id} {
		if !strings.Contains(news, want) {
			t.Errorf("who came back heard %s, want %s in it", news, want)
		}
	}
	anna.SendJSON(frame{"type": "cursor", "x": 2})
	ben.hears(t, "join")
	ben.hears(t, "owner")
	if f := ben.hears(t, "cursor"); f["userId"] != anna.id {
		t.Errorf("who came back is %v, want %s", f["userId"], anna.id)
	}

	anna.SendJSON(frame{"type": "hello"})
	w.Advance(time.Second)
	var again frame
	for again["type"] != "hello" {
		m, ok := anna.Next()
		if !ok {
			t.Fatal("there is no hello")
		}
		again = nil
		_ = json.Unmarshal(m.Data, &again) // an array of values is none
	}
	if again["userId"] != anna.id || again["people"] != 3.0 || len(again["peers"].([]any)) != 2 || again["epoch"] != 2.0 {
		t.Errorf("hello = %v, want %s, two others and the second owner", again, anna.id)
	}
	ben.hearsNothing(t)

	anna.Lose()
	w.Advance(time.Minute)
	if f := ben.hears(t, "leave"); f["userId"] != anna.id {
		t.Errorf("who left is %v, want %s", f["userId"], anna.id)
	}
}
