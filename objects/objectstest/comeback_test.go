package objectstest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/objectstest"
)

const stations objects.Class = "station"

var (
	announce = objects.NewCall[string, int](stations, "announce") // how many sockets there are
	write    = objects.NewCall[objects.None, objects.None](stations, "write")
	leftKey  = objects.NewKey[[]string]("left")
	left     = objects.NewCall[objects.None, []string](stations, "left") // the ends that were told
)

// station says everything to all, in values to those who ask for them.
type station struct{}

func (*station) announce(tx *objects.Tx, text string) (int, error) {
	key, text, conflated := strings.Cut(text, "=")
	if !conflated {
		tx.Broadcast(objects.Text(key))
	} else {
		tx.Broadcast(objects.Message{Data: []byte(text), Conflate: key})
	}
	return len(tx.Sockets()), nil
}

func (*station) write(tx *objects.Tx, _ objects.None) (objects.None, error) {
	objects.NewKey[bool]("written").Set(tx, true)
	return nil, nil
}

func (*station) left(tx *objects.Tx, _ objects.None) ([]string, error) { return leftKey.Get(tx), nil }

func (*station) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	how := []objects.AcceptOption{objects.AutoResponse("ping", "pong")}
	if r.URL.Query().Has("conflated") {
		how = append(how, objects.Conflated())
	}
	if s, err := tx.Accept(how...); err == nil {
		s.Attach("seat of " + s.ID())
	}
}

func (*station) WebSocketMessage(_ *objects.Tx, from objects.Socket, _ objects.Message) error {
	var seat string
	from.Attachment(&seat)
	from.Send(objects.Text(seat))
	return nil
}

func (*station) WebSocketClose(tx *objects.Tx, s objects.Socket, how objects.Close) error {
	leftKey.Set(tx, append(leftKey.Get(tx), fmt.Sprint(s.ID(), " ", how.Code)))
	return nil
}

type stationWorld struct {
	*testing.T
	*objectstest.World
}

func newStation(t *testing.T, settings objects.Settings) *stationWorld {
	return &stationWorld{t, objectstest.New(t, objects.Implement(stations, objects.New[station], objects.On(announce, (*station).announce),
		objects.On(write, (*station).write), objects.On(left, (*station).left)).With(settings))}
}

func (s *stationWorld) station() objects.Ref { return s.Object(stations, "main") }

func (s *stationWorld) open(path string) *objectstest.Client {
	s.Helper()
	c, response := s.Connect(s.station(), httptest.NewRequest(http.MethodGet, path, nil))
	if c == nil {
		s.Fatal(response.Status)
	}
	return c
}

// says announces texts, to so many sockets.
func (s *stationWorld) says(sockets int, texts ...string) {
	s.Helper()
	for _, text := range texts {
		if n, err := announce.Do(s.Context(), s.station(), text); err != nil || n != sockets {
			s.Errorf("%q was said to %d sockets (%v), want %d", text, n, err, sockets)
		}
	}
}

func (s *stationWorld) heard(c *objectstest.Client, want ...string) {
	s.Helper()
	var got []string
	for m, ok := c.Next(); ok; m, ok = c.Next() {
		got = append(got, string(m.Data))
	}
	if !slices.Equal(got, want) {
		s.Errorf("heard %q, want %q", got, want)
	}
}

func (s *stationWorld) back(c *objectstest.Client, missed int) {
	s.Helper()
	if n, back := c.ComeBack(); !back || n != missed {
		s.Errorf("back: %v, and %d were missed, want %d", back, n, missed)
	}
}

func (s *stationWorld) ends(want ...string) {
	s.Helper()
	if got, err := left.Do(s.Context(), s.station(), nil); err != nil || !slices.Equal(got, want) {
		s.Errorf("told of the ends %q (%v), want %q", got, err, want)
	}
}

func TestASocketThatWasLostComesBackAndHasMissedNothing(t *testing.T) {
	s := newStation(t, objects.Settings{Resume: time.Minute})
	plain, c := s.open("/"), s.open("/")
	s.says(2, "one")
	s.heard(c, "one")
	c.Lose()
	s.says(2, "two", "three")
	c.Send(objects.Text("nobody hears this"))
	s.heard(c)
	s.Evict(s.station())
	s.says(2, "four")
	s.Move(s.station())
	s.says(2, "five")
	s.back(c, 0)
	s.heard(c, "two", "three", "four", "five")
	s.heard(plain, "one", "two", "three", "four", "five")
	s.says(2, "six")
	c.Send(objects.Text("who"))
	s.heard(c, "six", "seat of "+c.ID())
	if _, again := c.ComeBack(); again {
		t.Error("a socket that is there has come back")
	}
	s.ends()
}

func TestTheEndOfALostSocketIsToldWhenItsTimeIsOver(t *testing.T) {
	s := newStation(t, objects.Settings{Resume: time.Minute})
	c, other := s.open("/"), s.open("/")
	c.Lose()
	s.Advance(59 * time.Second)
	s.ends()
	other.Lose()
	c.Close(1000, "nobody hears this")
	s.Advance(time.Second)
	s.ends(c.ID() + " 1006")
	if _, back := c.ComeBack(); back {
		t.Error("it has come back after its end")
	}
	if how, ended := c.Closed(); !ended || how.Code != 1006 || how.Clean {
		t.Errorf("ended: %v with %+v", ended, how)
	}
	s.says(1, "one")
	s.back(other, 0)
	s.heard(other, "one")
}

func TestWhatALostSocketMissesIsCounted(t *testing.T) {
	s := newStation(t, objects.Settings{Resume: time.Minute, ResumeWindow: 700})
	c := s.open("/")
	c.Lose()
	long := strings.Repeat("x", 200)
	for i := range 9 {
		s.says(1, fmt.Sprint(i, long))
	}
	missed, back := c.ComeBack()
	first, ok := c.Next()
	if !back || missed == 0 || !ok || string(first.Data) != fmt.Sprint(missed, long) {
		t.Errorf("back: %v, missed %d, and then came %.10s", back, missed, first.Data)
	}
}

func TestALostSocketWhoseHostDiesHasAGapOfUnknownSize(t *testing.T) {
	s := newStation(t, objects.Settings{Resume: time.Minute})
	stays, c := s.open("/"), s.open("/")
	c.Lose()
	s.says(2, "one")
	s.Refuse(s.station())
	if _, err := write.Do(t.Context(), s.station(), nil); err != nil {
		t.Fatal(err)
	}
	s.says(2, "two")
	s.back(c, objectstest.Unknown)
	s.heard(c, "two")
	s.heard(stays, "one", "two")
	c.Lose()
	s.says(2, "three")
	s.back(c, 0)
	stays.Lose()
	s.back(stays, 0)
	s.heard(c, "three")
	s.heard(stays, "three")
}

func TestALostSocketGetsConflatedValuesAndNoAutomaticAnswers(t *testing.T) {
	s := newStation(t, objects.Settings{Resume: time.Minute})
	c := s.open("/?conflated")
	c.Send(objects.Text("ping"))
	s.heard(c, "pong")
	c.Lose()
	c.Send(objects.Text("ping"))
	s.says(1, "a=1", "a=2", "b=3")
	s.Advance(time.Second)
	s.back(c, 0)
	s.heard(c, "[1]", "[2,3]")
}

func TestASocketOfAnotherClassEndsWithItsConnection(t *testing.T) {
	s := newStation(t, objects.Settings{})
	c := s.open("/")
	c.Lose()
	s.ends(c.ID() + " 1006")
	if _, back := c.ComeBack(); back {
		t.Error("it has come back")
	}
}
