package objectstest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/objectstest"
)

// Egg is a timer: it can be started over HTTP or by a call, and rings on every
// WebSocket that is open when the time has come.
type Egg struct{ state *objects.State }

var start = objects.NewCall[time.Duration, time.Time]("start")

var rung = objects.NewKey[int]("rung") // how often it rang

var eggClass = objects.Define("egg", func(s *objects.State) *Egg { return &Egg{s} },
	objects.On(start, (*Egg).start),
)

func (e *Egg) start(_ context.Context, d time.Duration) (time.Time, error) {
	if d <= 0 {
		return time.Time{}, objects.Errorf(objects.Invalid, "an egg takes longer than %v", d)
	}
	at := e.state.Now().Add(d)
	e.state.SetAlarm(at)
	return at, nil
}

func (e *Egg) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := e.state.Accept(r); err == nil {
		return
	}
	fmt.Fprintf(w, "rung %d times", rung.Get(e.state, 0))
}

func (e *Egg) Alarm(context.Context, objects.AlarmInfo) error {
	rung.Set(e.state, rung.Get(e.state, 0)+1)
	for _, s := range e.state.Sockets() {
		s.Send(objects.Text("ring"))
	}
	return nil
}

// In a test, t is the test's own. An example has none, so here is one that says nothing.
var t testing.TB = silent{}

type silent struct{ testing.TB }

func (silent) Helper()             {}
func (silent) Logf(string, ...any) {}

func ExampleNew() {
	w := objectstest.New(t, eggClass)
	at, err := start.Do(context.Background(), w.Ref("egg", "soft"), 4*time.Minute)
	fmt.Println(at.Sub(w.Now()), err)
	// Output: 4m0s <nil>
}

func ExampleWorld_Advance() {
	w := objectstest.New(t, eggClass)
	_, _ = start.Do(context.Background(), w.Ref("egg", "soft"), 4*time.Minute)
	w.Advance(3 * time.Minute)
	fmt.Println(w.Stored("egg", "soft", "rung"))
	w.Advance(time.Minute)
	fmt.Println(w.Stored("egg", "soft", "rung"))
	// Output:
	//  false
	// 1 true
}

func ExampleWorld_Connect() {
	w := objectstest.New(t, eggClass)
	cook, err := w.Connect("egg", "soft", "/")
	fmt.Println(err)
	_, _ = start.Do(context.Background(), w.Ref("egg", "soft"), 4*time.Minute)
	w.Evict("egg", "soft") // the socket outlives the instance
	w.Advance(4 * time.Minute)
	m, ok := cook.Next()
	fmt.Printf("%s %v\n", m.Data, ok)
	// Output:
	// <nil>
	// ring true
}

func ExampleWorld_RefuseCommit() {
	w := objectstest.New(t, eggClass)
	w.RefuseCommit("egg", "soft") // another host has the egg
	at, err := start.Do(context.Background(), w.Ref("egg", "soft"), 4*time.Minute)
	fmt.Println(at.Sub(w.Now()), err, w.Constructed("egg", "soft"))
	// Output: 4m0s <nil> 2
}

func ExampleWorld_Fetch() {
	w := objectstest.New(t, eggClass)
	response := w.Fetch("egg", "soft", httptest.NewRequest(http.MethodGet, "/", nil))
	body, err := io.ReadAll(response.Body)
	fmt.Printf("%s: %s %v\n", response.Status, body, err)
	// Output: 200 OK: rung 0 times <nil>
}
