package acceptance

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// loud reports the size of its input, and answers with the requested size.
type loud struct{}

const louds objects.Class = "loud"

func (loud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	if r.Header.Get("Upgrade") != "" {
		if _, err := tx.Accept(); err != nil {
			tx.Refuse(err)
		}
		return
	}
	body, _ := io.ReadAll(r.Body)
	fmt.Fprint(w, strings.Repeat("x", 10*len(body)))
}

func (loud) WebSocketMessage(_ *objects.Tx, from objects.Socket, m objects.Message) error {
	from.Send(objects.Text(fmt.Sprint(len(m.Data))))
	return nil
}

// Hosts keep a class's settings, and gateways know nothing of them: what a new release raises, or lowers, holds from the moment
// on at which its host owns the object, for gateways that go on running and for sockets that stay open.
func TestSettingsThatANewHostBringsHoldAtAGatewayThatGoesOn(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	class := objects.Implement(louds, func(*objects.Tx) loud { return loud{} })
	first := on.startHost(t, "first", "fra", steady, nil, class.With(objects.Settings{Frame: 100, Body: 200, Response: 1000}))
	d := on.startWorker(t, "fra", steady, func(r fiber.Router, env *gateway.Env) { env.Mount(r, "/loud/:name", louds) }, string(louds))
	url := d.url + "/loud/a/"
	post := func(n int) (status int, length int) {
		status, _, said := request(t, http.MethodPost, url, strings.Repeat("b", n))
		return status, len(said)
	}
	dial := func() *websocket.Conn {
		ws, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(url, "http"), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.CloseNow() })
		return ws
	}
	send := func(ws *websocket.Conn, n int) string {
		if err := ws.Write(t.Context(), websocket.MessageText, []byte(strings.Repeat("f", n))); err != nil {
			t.Fatal(err)
		}
		_, said, err := ws.Read(t.Context())
		if end, is := errors.AsType[websocket.CloseError](err); is {
			return fmt.Sprint("closed with ", int(end.Code))
		}
		if err != nil {
			t.Fatal(err)
		}
		return string(said)
	}
	stays := dial()
	if said := send(stays, 100); said != "100" {
		t.Errorf("a message of the limit: %s", said)
	}
	if said := send(dial(), 101); said != "closed with 1009" {
		t.Errorf("a message beyond the limit: %s", said)
	}
	for n, want := range map[int]int{100: http.StatusOK, 101: http.StatusRequestEntityTooLarge, 201: http.StatusRequestEntityTooLarge} {
		if status, _ := post(n); status != want {
			t.Errorf("a body of %d, and a response of ten times that: %d, want %d", n, status, want)
		}
	}

	on.startHost(t, "second", "fra", steady, nil, class)
	first.stop()
	if said := send(stays, 50_000); said != "50000" {
		t.Errorf("the limit is raised, and a socket that has stayed open hears %s", said)
	}
	if status, n := post(50_000); status != http.StatusOK || n != 500_000 {
		t.Errorf("the limits are raised: %d, %d bytes", status, n)
	}
	if status, _ := post(objects.MaxBody + 1); status != http.StatusRequestEntityTooLarge {
		t.Errorf("the gateway's own limit stays: %d", status)
	}
}
