package test

import (
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// guestbook says to whoever writes who they are, and notes who has left.
type guestbook struct{ left *leavers }

type leavers struct {
	mu  sync.Mutex
	all []string
}

func (n *leavers) list() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.all)
}

func (g *guestbook) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	if _, err := tx.Accept(); err != nil {
		tx.Refuse(err)
	}
}

func (g *guestbook) WebSocketMessage(tx *objects.Tx, from objects.Socket, _ objects.Message) error {
	from.Send(objects.Text(objects.PrincipalOf(tx).ID))
	return nil
}

func (g *guestbook) WebSocketClose(tx *objects.Tx, _ objects.Socket, _ objects.Close) error {
	g.left.mu.Lock()
	defer g.left.mu.Unlock()
	g.left.all = append(g.left.all, objects.PrincipalOf(tx).ID)
	return nil
}

func TestAnObjectKnowsWhoOpenedTheSocketOfAMessageAndOfAnEnd(t *testing.T) {
	left := new(leavers)
	class := objects.Implement("guestbook", func(*objects.Tx) *guestbook { return &guestbook{left} })
	p := newPlace(t, func(cfg *gateway.Config) {
		cfg.Classes = append(cfg.Classes, "guestbook")
		inner := cfg.Worker
		cfg.Worker = func(r fiber.Router, env *gateway.Env) {
			r.Use("/guestbooks", func(c *fiber.Ctx) error {
				gateway.SetPrincipal(c, objects.Principal{ID: c.Get("X-Test-User")})
				return c.Next()
			})
			env.Mount(r, "/guestbooks/:name", "guestbook")
			inner(r, env)
		}
	}, class)
	for i, who := range []string{"ada", "bob", ""} {
		conn, _, err := websocket.Dial(t.Context(), p.url+"/guestbooks/g", &websocket.DialOptions{HTTPHeader: http.Header{"X-Test-User": {who}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.CloseNow() })
		for range 2 {
			if err := conn.Write(t.Context(), websocket.MessageText, []byte("who am I?")); err != nil {
				t.Fatal(err)
			}
			if _, data, err := conn.Read(t.Context()); err != nil || string(data) != who {
				t.Errorf("the object took %q for %q (%v)", who, data, err)
			}
		}
		conn.CloseNow()
		await(t, "the object hears of the end", func() bool { return len(left.list()) > i })
	}
	if all := left.list(); !slices.Equal(all, []string{"ada", "bob", ""}) {
		t.Errorf("those who left were %q", all)
	}
}
