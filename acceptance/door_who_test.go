package acceptance

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gofiber/fiber/v2"

	"holdfast/examples/ticket"
	"holdfast/gateway"
	"holdfast/objects"
)

// onlooker is a class that reports the principals of requests and of its sockets.
type onlooker struct{}

const witnesses objects.Class = "witness"

var witnessesO = objects.Implement(witnesses, objects.New[onlooker])

func (*onlooker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := objects.TxOf(r).Accept(); err != nil {
		fmt.Fprint(w, objects.PrincipalOf(objects.TxOf(r)).ID)
	}
}

func (*onlooker) WebSocketMessage(tx *objects.Tx, from objects.Socket, m objects.Message) error {
	var all []string
	for _, s := range tx.Sockets() {
		all = append(all, s.Principal().ID)
	}
	slices.Sort(all)
	from.Send(objects.Text(fmt.Sprintf("%s %s %q", objects.PrincipalOf(tx).ID, from.Principal().ID, all)))
	return nil
}

// whoGateway returns a gateway whose worker believes a header about the principal, as a test may.
func whoGateway(t *testing.T, on *substrate, proxied bool) string {
	t.Helper()
	cfg := gateway.Config{
		Region: "fra", NATS: on.dial(t), Nearby: on.near, Classes: []string{"witness", "ticket"}, Timing: steady, Log: testLog(t),
		Worker: func(r fiber.Router, env *gateway.Env) {
			r.Use(func(c *fiber.Ctx) error {
				if who := c.Get("X-Test-Login"); who != "" {
					gateway.SetPrincipal(c, objects.Principal{ID: strings.Clone(who)})
				}
				return c.Next()
			})
			env.Mount(r, "/witness/:name", witnesses)
			r.Post("/claim/:name", gateway.Handle(env, ticket.Claim, gateway.Param("name")))
		},
	}
	if proxied {
		cfg.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	g, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	running(t, func(ctx context.Context) error { return g.Run(ctx, ln) })
	url := "http://" + ln.Addr().String()
	await(t, "the gateway is ready", func() bool {
		status, _, _, err := try("GET", url+"/readyz", "")
		return err == nil && status == http.StatusOK
	})
	return url
}

// The principal of a socket is known while the socket is open, and no message of the socket changes it.
func TestWhoOpenedASocketIsKnownAfterAMove(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		first := on.startHost(t, "a", "fra", steady, nil, witnessesO, ticket.Objects)
		url := whoGateway(t, on, false)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var sockets []*websocket.Conn
		for _, who := range []string{"ada", ""} {
			header := http.Header{"Principal": {"admin"}, "Holdfast-Principal": {`{"id":"admin"}`}}
			if who != "" {
				header.Set("X-Test-Login", who)
			}
			s, response, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"/witness/x/?principal=admin&id=admin", &websocket.DialOptions{HTTPHeader: header})
			if err != nil {
				t.Fatal(err)
			}
			if response.Body != nil {
				response.Body.Close()
			}
			defer s.CloseNow()
			sockets = append(sockets, s)
		}
		hear := func(when string) {
			t.Helper()
			for i, want := range []string{`ada ada ["" "ada"]`, `  ["" "ada"]`} {
				if err := sockets[i].Write(ctx, websocket.MessageText, []byte(`{"principal":"admin","Principal":{"id":"admin"}}`)); err != nil {
					t.Fatal(err)
				}
				_, said, err := sockets[i].Read(ctx)
				if err != nil || string(said) != want {
					t.Errorf("%s: %s, %v; want %s", when, said, err, want)
				}
			}
		}
		hear("at first")
		on.startHost(t, "b", "fra", steady, nil, witnessesO, ticket.Objects)
		first.stop()
		hear("at the next owner")
	})
}

// An Idempotency-Key belongs to the principal or address that has sent it.
func TestAKeyIsOfWhoHasSentIt(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "a", "fra", steady, nil, witnessesO, ticket.Objects)
	url := whoGateway(t, on, true)
	claim := func(who, from string) string {
		t.Helper()
		header := []string{"Idempotency-Key", "order-1", "X-Forwarded-For", from}
		if who != "" {
			header = append(header, "X-Test-Login", who)
		}
		status, _, body := request(t, "POST", url+"/claim/orders", "", header...)
		if status != http.StatusOK {
			t.Fatalf("claim of %q from %s = %d %s", who, from, status, body)
		}
		return body
	}
	const home, away = "192.0.2.1", "198.51.100.7"
	for _, row := range []struct{ who, from, want, why string }{
		{"alice", home, "1", "the first"},
		{"mallory", home, "2", "another principal is not told what alice was"},
		{"", home, "3", "nobody in particular neither"},
		{"", away, "4", "nor another address"},
		{"alice", away, "1", "a principal may move"},
		{"", home, "3", "an address that repeats itself is answered again"},
		{"", "2001:db8::1", "5", "an IPv6 address"},
		{"", "2001:db8::2", "5", "its neighbour counts as the same"},
	} {
		if got := claim(row.who, row.from); got != row.want {
			t.Errorf("claim of %q from %s = %s, want %s: %s", row.who, row.from, got, row.want, row.why)
		}
	}
	for n := range 300 {
		status, _, _ := request(t, "POST", url+"/claim/orders", "", "Idempotency-Key", fmt.Sprint("flood-", n), "X-Test-Login", "mallory", "X-Forwarded-For", home)
		if status != http.StatusOK {
			t.Fatalf("flood %d = %d", n, status)
		}
	}
	if got := claim("alice", home); got != "1" {
		t.Errorf("after a flood of mallory's keys alice is told %s, want 1", got)
	}
}
