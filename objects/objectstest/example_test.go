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

const eggs objects.Class = "egg"

var start = objects.NewCall[time.Duration, time.Time](eggs, "start")

var rung = objects.NewKey[int]("rung") // how often it rang

var implemented = objects.Implement(eggs, objects.New[Egg], objects.On(start, (*Egg).start))

// Egg is a timer: it can be started by a call, and rings on every WebSocket that is
// open when the time has come.
type Egg struct{}

func (*Egg) start(tx *objects.Tx, d time.Duration) (time.Time, error) {
	if d <= 0 {
		return time.Time{}, objects.Errorf(objects.Invalid, "an egg takes longer than %v", d)
	}
	at := tx.Now().Add(d)
	tx.SetAlarm(at)
	return at, nil
}

func (*Egg) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	if _, err := tx.Accept(); err == nil {
		return
	}
	fmt.Fprintf(w, "rung %d times", rung.Get(tx))
}

func (*Egg) Alarm(tx *objects.Tx, _ objects.AlarmInfo) error {
	rung.Set(tx, rung.Get(tx)+1)
	tx.Broadcast(objects.Text("ring"))
	return nil
}

// In a test, t is the test's own. An example has none, so here is one that says nothing.
var t testing.TB = silent{}

type silent struct{ testing.TB }

func (silent) Helper()             {}
func (silent) Cleanup(func())      {}
func (silent) Logf(string, ...any) {}

func ExampleNew() {
	w := objectstest.New(t, implemented)
	at, err := start.Do(context.Background(), w.Object(eggs, "soft"), 4*time.Minute)
	fmt.Println(at.Sub(w.Now()), err)
	// Output: 4m0s <nil>
}

func ExampleWorld_Advance() {
	w := objectstest.New(t, implemented)
	soft := w.Object(eggs, "soft")
	_, _ = start.Do(context.Background(), soft, 4*time.Minute)
	for range 2 {
		w.Advance(2 * time.Minute)
		fmt.Println(w.Alarm(soft).At.IsZero())
	}
	// Output:
	// false
	// true
}

func ExampleInside() {
	w := objectstest.New(t, implemented)
	soft := w.Object(eggs, "soft")
	_, _ = start.Do(context.Background(), soft, 4*time.Minute)
	w.Advance(4 * time.Minute)
	err := objectstest.Inside(w, soft, func(tx *objects.Tx, egg *Egg) error {
		fmt.Println(rung.Get(tx))
		return nil
	})
	fmt.Println(err)
	// Output:
	// 1
	// <nil>
}

func ExampleWorld_Connect() {
	w := objectstest.New(t, implemented)
	soft := w.Object(eggs, "soft")
	cook, response := w.Connect(soft, nil)
	fmt.Println(response.Status)
	_, _ = start.Do(context.Background(), soft, 4*time.Minute)
	w.Evict(soft) // the socket outlives the instance
	w.Advance(4 * time.Minute)
	m, ok := cook.Next()
	fmt.Printf("%s %v\n", m.Data, ok)
	// Output:
	// 101 Switching Protocols
	// ring true
}

func ExampleClient_Lose() {
	w := objectstest.New(t, implemented.With(objects.Settings{Resume: time.Minute}))
	soft := w.Object(eggs, "soft")
	cook, _ := w.Connect(soft, nil)
	_, _ = start.Do(context.Background(), soft, 30*time.Second)
	cook.Lose()
	w.Advance(30 * time.Second) // it rings, and the cook is in the cellar
	missed, back := cook.ComeBack()
	m, _ := cook.Next()
	fmt.Printf("%d %v %s\n", missed, back, m.Data)
	// Output: 0 true ring
}

func ExampleWorld_Refuse() {
	w := objectstest.New(t, implemented)
	soft := w.Object(eggs, "soft")
	w.Refuse(soft) // another host has the egg
	at, err := start.Do(context.Background(), soft, 4*time.Minute)
	fmt.Println(at.Sub(w.Now()), err, w.Constructed(soft))
	// Output: 4m0s <nil> 2
}

func ExampleWorld_Object() {
	w := objectstest.New(t, implemented)
	response, err := w.Object(eggs, "soft").Fetch(httptest.NewRequest(http.MethodGet, "/", nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := io.ReadAll(response.Body)
	fmt.Printf("%s: %s %v\n", response.Status, body, err)
	// Output: 200 OK: rung 0 times <nil>
}
