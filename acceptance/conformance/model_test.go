package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/objectstest"
)

// model is objectstest's world.
type model struct{ *objectstest.World }

// fetch turns a failure into a gateway's answer.
func (m model) fetch(to objects.Ref, r *http.Request) *http.Response {
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		r = r.WithContext(objects.WithIdempotencyKey(r.Context(), key))
	}
	response, err := to.Fetch(r)
	if err == nil {
		return response
	}
	e, ok := errors.AsType[*objects.Error](err)
	if !ok {
		panic(err)
	}
	body, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return &http.Response{StatusCode: e.Code.HTTPStatus(), Body: io.NopCloser(bytes.NewReader(body))}
}

func (m model) connect(t testing.TB, to objects.Ref, path string, subprotocols ...string) client {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/"+path, nil)
	if who := r.URL.Query().Get("who"); who != "" {
		r = r.WithContext(objects.WithPrincipal(r.Context(), objects.Principal{ID: who}))
	}
	for _, name := range subprotocols {
		r.Header.Add("Sec-WebSocket-Protocol", name)
	}
	c, response := m.Connect(to, r)
	if c == nil {
		t.Fatal(response.Status)
	}
	return modelClient{c, response.Header.Get("Sec-WebSocket-Protocol")}
}

func (m model) connectAgain(t testing.TB, to objects.Ref) returner {
	t.Helper()
	return modelReturner{m.connect(t, to, "").(modelClient)}
}

func (m model) sleep(_ testing.TB, o objects.Ref) { m.Evict(o) }
func (m model) evict(_ testing.TB, o objects.Ref) { m.Evict(o) }
func (m model) move(_ testing.TB, o objects.Ref)  { m.Move(o) }
func (m model) away(_ testing.TB, o objects.Ref, d time.Duration) {
	m.Move(o)
	m.Advance(d)
}
func (m model) second(testing.TB) objects.Caller   { return m.World }
func (m model) refuse(_ testing.TB, o objects.Ref) { m.Refuse(o) }
func (m model) pass(d time.Duration)               { m.Advance(d) }
func (m model) exhaust(testing.TB, objects.Ref)    { m.Advance(time.Hour) }

type modelClient struct {
	c      *objectstest.Client
	agreed string
}

func (m modelClient) subprotocol() string { return m.agreed }

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

type modelReturner struct{ modelClient }

func (m modelReturner) lose() { m.c.Lose() }

func (m modelReturner) comeBack(t testing.TB) int {
	t.Helper()
	missed, back := m.c.ComeBack()
	if !back {
		t.Fatal("it has not come back")
	}
	return missed
}
