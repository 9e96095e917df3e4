package conformance

import (
	"net/http"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/objectstest"
)

// model is objectstest's world.
type model struct{ w *objectstest.World }

func (m model) ref(class, name string) objects.Ref { return m.w.Ref(class, name) }

func (m model) fetch(class, name string, r *http.Request) *http.Response {
	return m.w.Fetch(class, name, r)
}

func (m model) connect(t testing.TB, class, name, path string) client {
	t.Helper()
	c, err := m.w.Connect(class, name, path)
	if err != nil {
		t.Fatal(err)
	}
	return modelClient{c}
}

func (m model) sleep(_ testing.TB, name string)         { m.w.Evict("sleeper", name) }
func (m model) evict(_ testing.TB, name string)         { m.w.Evict("sleeper", name) }
func (m model) move(_ testing.TB, name string)          { m.w.Move("puppet", name) }
func (m model) refuse(_ testing.TB, class, name string) { m.w.RefuseCommit(class, name) }
func (m model) pass(d time.Duration)                    { m.w.Advance(d) }
func (m model) exhaust(testing.TB, string)              { m.w.Advance(time.Hour) }

type modelClient struct{ c *objectstest.Client }

func (m modelClient) send(message objects.Message) { m.c.Send(message) }

func (m modelClient) next(t testing.TB) objects.Message {
	t.Helper()
	message, ok := m.c.Next()
	if !ok {
		t.Fatal("nothing has arrived")
	}
	return message
}

func (m modelClient) close(code int, reason string) { m.c.Close(code, reason) }

func (m modelClient) ended(t testing.TB) objects.Close {
	t.Helper()
	end, ended := m.c.Closed()
	if !ended {
		t.Fatal("the socket is open")
	}
	return end
}
