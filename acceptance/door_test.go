package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cors"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"holdfast/examples/ticket"
	"holdfast/gateway"
	"holdfast/objects"
	"holdfast/objects/host"
)

const (
	friend   = "https://app.example"
	stranger = "https://stranger.example"
)

// A page of a listed origin may send any request and read every answer, errors too.
func TestAPageOfAListedOriginFetches(t *testing.T) {
	beside(t, places)
	p := newPlace(t, func(cfg *gateway.Config) {
		cfg.Origins = []string{friend}
		worker := cfg.Worker
		cfg.Worker = func(r fiber.Router, env *gateway.Env) {
			r.Use("/own", cors.New(cors.Config{AllowOrigins: friend, AllowHeaders: "X-Own", MaxAge: 7}))
			r.All("/own/:name", func(c *fiber.Ctx) error {
				n, err := ticket.Claim.Do(c.UserContext(), env.Object(ticket.Tickets, c.Params("name")), nil)
				if err != nil {
					return err
				}
				return c.JSON(n)
			})
			r.All("/all/:name", func(c *fiber.Ctx) error {
				n, err := ticket.Claim.Do(c.UserContext(), env.Object(ticket.Tickets, c.Params("name")), nil)
				if err != nil {
					return err
				}
				return c.JSON(n)
			})
			worker(r, env)
		}
	})
	preflight := func(path, origin string) answered {
		t.Helper()
		return p.once(t, "OPTIONS", path, "", "Origin", origin, "Access-Control-Request-Method", "DELETE", "Access-Control-Request-Headers", "idempotency-key, x-a")
	}
	for _, path := range []string{"/ticket/x", "/objects/probe/x/graphql", "/all/x", "/none"} {
		a := preflight(path, friend)
		if a.StatusCode != http.StatusNoContent || a.Header.Get("Access-Control-Allow-Origin") != friend || a.Header.Get("Access-Control-Allow-Methods") != "DELETE" ||
			a.Header.Get("Access-Control-Allow-Headers") != "idempotency-key, x-a" || a.Header.Get("Access-Control-Allow-Credentials") != "true" || !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), "Origin") {
			t.Errorf("preflight of %s = %d %v", path, a.StatusCode, a.Header)
		}
		if a.Header.Get("Holdfast-Object") != "" {
			t.Errorf("preflight of %s: an object has answered", path)
		}
		if a := preflight(path, stranger); a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "--origin") || a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("a stranger's preflight of %s = %d %s %v", path, a.StatusCode, a.body, a.Header)
		}
	}
	if a := preflight("/own/x", friend); a.Header.Get("Access-Control-Max-Age") != "7" || a.Header.Get("Access-Control-Allow-Headers") != "X-Own" {
		t.Errorf("the worker's own preflight: %d %v", a.StatusCode, a.Header)
	}
	if a := p.once(t, "GET", "/ticket/x", ""); a.StatusCode != http.StatusOK || a.body != `{"ticket":0}` {
		t.Errorf("after the preflights: %d %s, want a counter that nobody has touched", a.StatusCode, a.body)
	}
	for _, row := range []struct {
		method, path string
		status       int
	}{
		{"POST", "/ticket/y", 200}, {"GET", "/ticket/y", 200}, {"POST", "/none", 404}, {"POST", "/objects/probe/y/refuse", 403}, {"POST", "/fault/text", 405}, {"GET", "/fault/text", 500}, {"BREW", "/ticket/y", 501},
	} {
		a := p.once(t, row.method, row.path, "", "Origin", friend)
		if got := a.Header.Values("Access-Control-Allow-Origin"); a.StatusCode != row.status || len(got) != 1 || got[0] != friend {
			t.Errorf("%s %s = %d, allowed for %q, want %d for %s", row.method, row.path, a.StatusCode, got, row.status, friend)
		}
	}
	if a := p.once(t, "POST", "/ticket/y", "", "Origin", stranger); a.StatusCode != http.StatusForbidden || a.Header.Get("Access-Control-Allow-Origin") != "" || !strings.Contains(a.body, "--origin") {
		t.Errorf("a stranger's POST = %d %s %v", a.StatusCode, a.body, a.Header)
	}
	if a := p.once(t, "GET", "/ticket/y", "", "Origin", stranger); a.StatusCode != http.StatusOK || a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a stranger's GET = %d %v, want an answer that no page may read", a.StatusCode, a.Header)
	}
	if a := p.once(t, "POST", "/ticket/y", "", "Origin", "https://"+p.addr); a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "--trusted-proxy") {
		t.Errorf("own name, another scheme = %d %s, want 403 and what to do", a.StatusCode, a.body)
	}
}

func TestEveryResponseKeepsBrowsersInBounds(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	for _, path := range []string{"/", "/healthz", "/readyz", "/ticket/x", "/objects/probe/x/", "/none", "/fault/text", "/config.json", "/metrics"} {
		h := p.once(t, "GET", path, "").Header
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Frame-Options") == "" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Holdfast-Region") != "fra" {
			t.Errorf("GET %s: %v", path, h)
		}
	}
	policy := p.once(t, "GET", "/", "").Header.Get("Content-Security-Policy")
	for source := range strings.FieldsSeq(strings.ReplaceAll(policy, ";", " ")) {
		if source == "ws:" || source == "wss:" || source == "*" || source == "http:" || source == "https:" {
			t.Errorf("the page may talk to any host: %s", policy)
		}
	}
	for _, sent := range []string{"GET / HTTP/1.1\r\nHost: h\r\nX: a\n\r\n\r\n", "nonsense\r\n\r\n", "BREW / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"} {
		for _, a := range p.speak(t, sent) {
			if a.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%q: %d %v", sent, a.StatusCode, a.Header)
			}
		}
	}
}

func TestAWorkersMistakeIsTheAuthorsToHear(t *testing.T) {
	beside(t, places)
	p := newPlace(t, func(cfg *gateway.Config) {
		cfg.Worker = func(r fiber.Router, env *gateway.Env) {
			r.Get("/class", func(c *fiber.Ctx) error { return env.Forward(c, env.Object("nosuch", "x"), "/") })
			r.Get("/path", func(c *fiber.Ctx) error { return env.Forward(c, env.Object("probe", "x"), "x") })
		}
	})
	asked := make(chan *nats.Msg, 100)
	// Besides, a gateway asks the hosts of its classes who is there, to know whether it is ready.
	for _, subject := range []string{"hf.o.>", "hf.claim.>", "hf.hosts.nosuch"} {
		if _, err := p.raw.ChanSubscribe(subject, asked); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.raw.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/class", "/path"} {
		a := p.once(t, "GET", path, "")
		if a.StatusCode != http.StatusInternalServerError || strings.Contains(a.body, "nosuch") {
			t.Errorf("GET %s = %d %s, want 500 and no detail", path, a.StatusCode, a.body)
		}
	}
	if err := errors.Join(p.nc.Flush(), p.raw.Flush()); err != nil {
		t.Fatal(err)
	}
	if len(asked) > 0 {
		t.Errorf("%s has been asked for what no object can answer", (<-asked).Subject)
	}
	for what, worker := range map[string]gateway.Worker{
		"mount": func(r fiber.Router, env *gateway.Env) { env.Mount(r, "/x/:name", "nosuch") },
		"handle": func(r fiber.Router, env *gateway.Env) {
			r.Get("/", gateway.Handle(env, objects.NewCall[int, int]("nosuch", "add"), gateway.Fixed("x")))
		},
	} {
		func() {
			defer func() {
				if said := fmt.Sprint(recover()); !strings.Contains(said, "nosuch") || !strings.Contains(said, "ticket") {
					t.Errorf("%s a class that the program does not have: %s, want a panic that names it and those that it has", what, said)
				}
			}()
			_, err := gateway.New(gateway.Config{NATS: p.nc, Classes: []string{"ticket"}, Worker: worker})
			t.Errorf("%s: no panic, %v", what, err)
		}()
	}
}

// sum is a class with a typed call.
type sum struct{}

type addition struct {
	A int   `json:"a"`
	B []int `json:"b"`
}

const sums objects.Class = "sum"

var (
	add     = objects.NewCall[addition, int](sums, "add")
	forgets = objects.NewCall[objects.None, objects.None](sums, "forget")
	whose   = objects.NewCall[objects.None, objects.Principal](sums, "whose")
	longer  = objects.NewCall[int, []byte](sums, "longer")
	sumsOf  = objects.Implement(sums, objects.New[sum],
		objects.On(add, func(_ *sum, _ *objects.Tx, in addition) (int, error) {
			for _, b := range in.B {
				in.A += b
			}
			if in.A > 100 {
				return 0, objects.Errorf("over", "more than %d", 100)
			}
			return in.A, nil
		}),
		objects.On(forgets, func(*sum, *objects.Tx, objects.None) (objects.None, error) { return nil, nil }),
		objects.On(whose, func(_ *sum, tx *objects.Tx, _ objects.None) (objects.Principal, error) {
			return objects.PrincipalOf(tx), nil
		}),
		objects.On(longer, func(_ *sum, _ *objects.Tx, n int) ([]byte, error) { return bytes.Repeat([]byte("x"), n), nil }))
)

func TestARouteIsOneLine(t *testing.T) {
	beside(t, places)
	p := newPlace(t, func(cfg *gateway.Config) {
		cfg.Classes = append(cfg.Classes, "sum")
		cfg.Worker = func(r fiber.Router, env *gateway.Env) {
			r.Use(func(c *fiber.Ctx) error {
				if who := c.Get("Authorization"); who != "" {
					gateway.SetPrincipal(c, objects.Principal{ID: strings.Clone(who)})
				}
				return c.Next()
			})
			r.Post("/add/:name", gateway.Handle(env, add, gateway.Param("name")))
			r.Get("/add/:name", gateway.Handle(env, add, gateway.Param("name")))
			r.Delete("/one", gateway.Handle(env, forgets, gateway.Fixed("one")))
			r.Get("/me", gateway.Handle(env, whose, gateway.Me()))
		}
	}, sumsOf)
	for _, row := range []struct {
		method, path, body string
		status             int
		want               string
		header             []string
	}{
		{"POST", "/add/x", `{"a":1,"b":[2,3]}`, 200, "6", nil},
		{"POST", "/add/x", "", 200, "0", nil},
		{"GET", "/add/x?a=4&b=5&b=6", "", 200, "15", nil},
		{"GET", "/add/x?c=4", "", 400, `"code":"invalid"`, nil},
		{"POST", "/add/x", `{"c":1}`, 400, `"code":"invalid"`, nil},
		{"POST", "/add/x", `{"a":1}{}`, 400, `"code":"invalid"`, nil},
		{"POST", "/add/x", `{"a":`, 400, `"code":"invalid"`, nil},
		{"POST", "/add/x", `{"a":101}`, 409, `"code":"over"`, nil},
		{"POST", "/add/%ff", `{}`, 400, `"code":"invalid"`, nil},
		{"DELETE", "/one", "", 204, "", nil},
		{"DELETE", "/one?x=1", "", 400, `"code":"invalid"`, nil},
		{"GET", "/me", "", 401, `"code":"unauthorized"`, nil},
		{"GET", "/me", "", 200, `{"id":"ada"}`, []string{"Authorization", "ada"}},
	} {
		a := p.once(t, row.method, row.path, row.body, row.header...)
		if a.StatusCode != row.status || !strings.Contains(a.body, row.want) {
			t.Errorf("%s %s %s = %d %s, want %d %s", row.method, row.path, row.body, a.StatusCode, a.body, row.status, row.want)
		}
	}
}

// A client cannot choose its principal: no header, query or frame becomes one.
func TestAClientCannotNameItself(t *testing.T) {
	beside(t, places)
	p := newPlace(t, func(cfg *gateway.Config) {
		cfg.Classes = append(cfg.Classes, "sum")
		cfg.Worker = func(r fiber.Router, env *gateway.Env) {
			r.All("/whose", gateway.Handle(env, whose, gateway.Fixed("x")))
		}
	}, sumsOf)
	said, err := json.Marshal(objects.Principal{ID: "admin", Claims: map[string]string{"role": "root"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Principal", "Holdfast-Principal", "X-User", "X-Principal", "Authorization", "X-Forwarded-User", "Nats-Principal"} {
		if a := p.once(t, "POST", "/whose", "", name, string(said)); a.StatusCode != http.StatusOK || a.body != "{}" {
			t.Errorf("with %s the principal is %d %s", name, a.StatusCode, a.body)
		}
	}
	if a := p.once(t, "POST", "/whose?principal=admin&id=admin", ""); a.body != "{}" {
		t.Errorf("by the query: %s", a.body)
	}
	if a := p.once(t, "POST", "/whose", string(said)); a.StatusCode != http.StatusBadRequest && a.body != "{}" {
		t.Errorf("by the body: %d %s", a.StatusCode, a.body)
	}
}

// A request that is too large for NATS is refused at once, whether the object is near or far.
func TestWhatIsTooLargeForNATSIsRefusedAtOnce(t *testing.T) {
	beside(t, places)
	for _, near := range []bool{false, true} {
		on := single(t)
		if near {
			on = together(t)
		}
		on.startHost(t, "a", "fra", steady, nil, sumsOf)
		nc := on.dial(t)
		most := int(nc.MaxPayload())
		g, err := gateway.New(gateway.Config{
			Region: "fra", NATS: nc, Nearby: on.near, Classes: []string{"sum"}, Timing: steady, Log: testLog(t),
			Limits: gateway.Limits{Body: 2 * most},
			Worker: func(r fiber.Router, env *gateway.Env) {
				r.Post("/longer/:name", gateway.Handle(env, longer, gateway.Param("name")))
				env.Mount(r, "/sum/:name", sums)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		running(t, func(ctx context.Context) error { return g.Run(ctx, ln) })
		url := "http://" + ln.Addr().String()
		await(t, "the object answers", func() bool {
			status, _, _, err := try("POST", url+"/longer/x", "5")
			return err == nil && status == http.StatusOK
		})
		for what, row := range map[string]struct{ path, body string }{
			"the answer":  {"/longer/x", fmt.Sprint(most)},
			"the request": {"/sum/x/", strings.Repeat("x", most)},
		} {
			// A gateway that tries until the request's time is over answers unavailable or unknown.
			status, _, body := request(t, "POST", url+row.path, row.body)
			if status != http.StatusRequestEntityTooLarge || !strings.Contains(body, `"too_large"`) {
				t.Errorf("near %v, %s: %d %.200s", near, what, status, body)
			}
		}
	}
}

func TestAFrameTooLargeIsToldTheLimit(t *testing.T) {
	beside(t, places)
	p := newPlace(t, func(cfg *gateway.Config) { cfg.Limits.Frame = 1000 })
	for _, n := range []int{1001, 100_000} {
		w := p.probe(t, "frames", fmt.Sprint("f", n))
		w.say(t, strings.Repeat("x", n))
		if code, reason := w.closed(t); code != 1009 || !strings.Contains(reason, "1000") {
			t.Errorf("a frame of %d bytes: closed with %d %q, want 1009 and the limit", n, code, reason)
		}
	}
}

// Invented names leave nothing behind, and one address can make only a limited number of objects.
func TestAFloodOfNewNamesLeavesNothing(t *testing.T) {
	beside(t, places)
	on := single(t)
	timing := steady
	timing.Hibernate = 2 * time.Second
	on.startHost(t, "a", "fra", timing, nil, newJournal().probes())
	nc := on.dial(t)
	g, err := gateway.New(gateway.Config{
		Region: "fra", NATS: nc, Nearby: on.near, Classes: []string{"probe"}, Timing: timing, Log: testLog(t), Metrics: prometheus.NewRegistry(),
		Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Limits: gateway.Limits{NewPer: 5},
		Worker: func(r fiber.Router, env *gateway.Env) { env.Mount(r, "/probe/:name", "probe") },
	})
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
	began := time.Now()
	counts := map[int]int{}
	for n := range 1000 {
		status, _, _ := request(t, "GET", fmt.Sprint(url, "/probe/flood-", n, "/"), "", "X-Forwarded-For", fmt.Sprintf("2001:db8::%x", n+1))
		counts[status]++
	}
	most := 6 + int(5*time.Since(began).Seconds())
	if counts[200] > most || counts[429] == 0 || counts[200]+counts[429] != 1000 {
		t.Errorf("answers by status: %v in %v, want at most %d made and 429 for the rest", counts, time.Since(began), most)
	}
	if status, _, body := request(t, "GET", url+"/probe/another/", "", "X-Forwarded-For", "192.0.2.1"); status != http.StatusOK {
		t.Errorf("another address meanwhile: %d %s", status, body)
	}
	in, err := host.Inspect(t.Context(), nc)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "no record is left", func() bool {
		left := 0
		for _, err := range in.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			left++
		}
		return left == 0
	})
}

func TestAGatewayEndsWithItsContextWheneverThatIs(t *testing.T) {
	beside(t, places)
	on := single(t)
	for _, after := range []time.Duration{0, time.Microsecond, 100 * time.Microsecond, time.Millisecond, 20 * time.Millisecond} {
		g, err := gateway.New(gateway.Config{Region: "fra", NATS: on.dial(t), Timing: steady, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), after)
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx, ln) }()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("its context ended after %v: %v", after, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("its context ended after %v, and it runs on", after)
		}
		cancel()
		if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			c.Close()
			t.Errorf("its context ended after %v, and it still listens", after)
		}
	}
}
