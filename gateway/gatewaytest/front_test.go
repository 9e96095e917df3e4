package gatewaytest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/sync/errgroup"

	"holdfast/gateway"
	"holdfast/gateway/gatewaytest"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

const rooms objects.Class = "room"

var (
	post    = objects.NewCall[string, int](rooms, "post")
	posts   = objects.NewMap[int, string]("post")
	another = objects.NewCall[objects.None, int]("nobody", "post")
	impl    = objects.Implement(rooms, objects.New[Room], objects.On(post, (*Room).post))
)

type Room struct{}

func (*Room) post(tx *objects.Tx, text string) (int, error) {
	switch text {
	case "":
		return 0, objects.Errorf(objects.Invalid, "say something")
	case "panic":
		panic("secret")
	}
	n := posts.Count(tx) + 1
	posts.Set(tx, n, objects.PrincipalOf(tx).ID+": "+text)
	tx.Broadcast(objects.Text(text))
	return n, nil
}

func (*Room) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	if r.URL.Path == "/ws" {
		s, err := tx.Accept()
		if err != nil {
			tx.Refuse(err)
			return
		}
		s.Send(objects.Text("hello " + objects.PrincipalOf(tx).ID))
		return
	}
	if r.URL.Path == "/status" {
		status, _ := strconv.Atoi(r.URL.Query().Get("is"))
		w.WriteHeader(status)
		return
	}
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL, r.Header.Get("X-Forwarded-Prefix"), body)
}

func (*Room) WebSocketMessage(_ *objects.Tx, s objects.Socket, m objects.Message) error {
	s.Send(m)
	return nil
}

func worker(r fiber.Router, env *gateway.Env) {
	r.Post("/login/:who", func(c *fiber.Ctx) error {
		c.Cookie(&fiber.Cookie{Name: "who", Value: c.Params("who"), Path: "/"})
		return c.SendStatus(http.StatusNoContent)
	})
	r.Use(func(c *fiber.Ctx) error {
		if who := c.Cookies("who"); who != "" {
			gateway.SetPrincipal(c, objects.Principal{ID: strings.Clone(who)})
		}
		return c.Next()
	})
	r.Post("/post/:room", func(c *fiber.Ctx) error {
		name, err := gateway.Param("room")(c)
		if err != nil {
			return err
		}
		n, err := post.Do(c.UserContext(), env.Object(rooms, name), string(c.BodyRaw()))
		if err != nil {
			return err
		}
		return c.JSON(n)
	})
	r.Get("/nobody", func(c *fiber.Ctx) error {
		_, err := another.Do(c.UserContext(), env.Object("nobody", "a"), nil)
		return err
	})
	env.Mount(r, "/rooms/:name", rooms)
}

func front(t *testing.T) (*objectstest.World, *gatewaytest.Front) {
	w := objectstest.New(t, impl)
	return w, gatewaytest.New(t, w, worker)
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func request(method, path, text string) *http.Request {
	return httptest.NewRequest(method, path, strings.NewReader(text))
}

func TestAWorkerAsksTheWorldsObjects(t *testing.T) {
	w, f := front(t)
	if r := f.Do(request("POST", "/login/ada", "")); r.StatusCode != http.StatusNoContent {
		t.Fatal(r.Status)
	}
	for want := 1; want <= 2; want++ {
		if r := f.Do(request("POST", "/post/lobby", "hi")); r.StatusCode != http.StatusOK || body(t, r) != fmt.Sprint(want) {
			t.Errorf("post %d: %s", want, r.Status)
		}
	}
	err := objectstest.Inside(w, w.Object(rooms, "lobby"), func(tx *objects.Tx, _ *Room) error {
		if _, last, _ := posts.Last(tx); last != "ada: hi" {
			t.Errorf("the last post is %q: the cookie was not kept", last)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if r := f.Do(request("PUT", "/rooms/lobby/a%2Fb?c=d", "text")); body(t, r) != "PUT /a%2Fb?c=d /rooms/lobby text" {
		t.Errorf("mounted: %s", r.Status)
	}
}

func TestErrorsLookAsTheGatewayMakesThem(t *testing.T) {
	w, f := front(t)
	w.Faults(1)
	for path, want := range map[string]struct {
		text   string
		status int
		code   objects.Code
	}{
		"/post/lobby":  {"", 400, objects.Invalid},
		"/post/lobby2": {"panic", 500, objects.Internal},
		"/post/lobby3": {strings.Repeat("x", objects.MaxBody+1), 413, objects.TooLarge},
		"/nowhere":     {"", 404, objects.NotFound},
	} {
		r := f.Do(request("POST", path, want.text))
		text := body(t, r)
		var e objects.Error
		if err := json.Unmarshal([]byte(text), &e); err != nil || r.StatusCode != want.status || e.Code != want.code || strings.Contains(text, "secret") {
			t.Errorf("%s: %s %s, want %d %s", path, r.Status, text, want.status, want.code)
		}
	}
	if r := f.Do(request("GET", "/nobody", "")); r.StatusCode != 404 {
		t.Errorf("a class that is not in the world: %s", r.Status)
	}
	stranger := request("POST", "/post/lobby", "hi")
	stranger.Header.Set("Origin", "https://elsewhere.example")
	if r := f.Do(stranger); r.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another site: %s", r.Status)
	}
}

func TestAnIdempotencyKeyHasOneEffect(t *testing.T) {
	_, f := front(t)
	for range 2 {
		r := request("POST", "/post/lobby", "hi")
		r.Header.Set("Idempotency-Key", "k")
		if got := body(t, f.Do(r)); got != "1" {
			t.Errorf("posted as %s, want 1 both times", got)
		}
	}
}

func TestAnEmptyIdempotencyKeyAndTwoOfThemAreRefused(t *testing.T) {
	_, f := front(t)
	for _, keys := range [][]string{{""}, {"a", "b"}, {"a", "a"}} {
		r := request("POST", "/post/lobby", "hi")
		r.Header["Idempotency-Key"] = keys
		if r := f.Do(r); r.StatusCode != http.StatusBadRequest {
			t.Errorf("keys %q: %s %s, want 400: the client believes that it may repeat the request", keys, r.Status, body(t, r))
		}
	}
}

func TestAPathThatIsNotThereIsShownAsItWasAsked(t *testing.T) {
	_, f := front(t)
	if text := body(t, f.Do(request("POST", "/Nowhere/Ada", ""))); !strings.Contains(text, "cannot POST /Nowhere/Ada") {
		t.Errorf("answered %s", text)
	}
	if text := body(t, f.Do(request("DELETE", "/nobody", ""))); !strings.Contains(text, `"method not allowed"`) {
		t.Errorf("answered %s", text)
	}
}

func TestAStatusThatNoClientCanReadIsAFaultOfTheObject(t *testing.T) {
	w, f := front(t)
	w.Faults(4)
	for _, status := range []string{"1000", "0", "99", "-1"} {
		if r := f.Do(request("GET", "/rooms/a/status?is="+status, "")); r.StatusCode != http.StatusInternalServerError {
			t.Errorf("WriteHeader(%s): %s, want 500", status, r.Status)
		}
	}
	if r := f.Do(request("GET", "/rooms/a/status?is=599", "")); r.StatusCode != 599 {
		t.Errorf("WriteHeader(599): %s", r.Status)
	}
}

func TestASocketIsOpenedThroughTheWorker(t *testing.T) {
	w, f := front(t)
	f.Do(request("POST", "/login/ada", ""))
	c, r := f.Connect(request("GET", "/rooms/lobby/ws", ""))
	if c == nil {
		t.Fatal(r.Status, body(t, r))
	}
	f.Do(request("POST", "/post/lobby", "news"))
	c.Send(objects.Text("echo"))
	for _, want := range []string{"hello ada", "news", "echo"} {
		if m, ok := c.Next(); !ok || string(m.Data) != want {
			t.Errorf("heard %q, %v, want %s", m.Data, ok, want)
		}
	}
	if c, r := f.Connect(request("GET", "/rooms/lobby/other", "")); c != nil || r.StatusCode != 200 {
		t.Errorf("what accepts no socket: %s", r.Status)
	}
	w.Refuse(w.Object(rooms, "lobby"))
	if c, _ := f.Connect(request("GET", "/rooms/lobby/ws", "")); c == nil {
		t.Error("the second socket was not opened")
	}
}

// drop answers with the size of a body that is too large for an event.
type drop struct{}

func (drop) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	objects.TxOf(r).Stream(func(_ *objects.Task, out io.Writer) error {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(out, n)
		return err
	})
}

func TestALargeBodyReachesTheClassThatTakesIt(t *testing.T) {
	takes := objects.Implement("takes", objects.New[drop]).With(objects.Settings{Upload: 1 << 20})
	refuses := objects.Implement("refuses", objects.New[drop])
	front := gatewaytest.New(t, objectstest.New(t, takes, refuses), func(r fiber.Router, env *gateway.Env) {
		env.Mount(r, "/takes/:name", "takes")
		env.Mount(r, "/refuses/:name", "refuses")
	})
	put := func(path string, size int, chunked bool) (status int, said string) {
		r := httptest.NewRequest(http.MethodPut, path, strings.NewReader(strings.Repeat("x", size)))
		if chunked {
			r.ContentLength = -1
		}
		response := front.Do(r)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	for _, size := range []int{10, objects.MaxBody, objects.MaxBody + 1, 1 << 20} {
		for _, chunked := range []bool{false, true} {
			if status, said := put("/takes/a", size, chunked); status != http.StatusOK || said != fmt.Sprint(size) {
				t.Errorf("%d bytes, in chunks %t: %d %s", size, chunked, status, said)
			}
		}
	}
	if status, _ := put("/refuses/a", 1<<20, false); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a class that takes no large body answers %d", status)
	}
	if status, _ := put("/takes/a", 1<<20+1, false); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body that is too large for the class is answered %d", status)
	}
}

// What asks belongs to the request and to no goroutine of it: the principal and the key pass along, and the response names who
// has answered last.
func TestAWorkerAsksManyAtOnceFromItsOwnGoroutines(t *testing.T) {
	worker := func(r fiber.Router, env *gateway.Env) {
		r.Post("/all", func(c *fiber.Ctx) error {
			gateway.SetPrincipal(c, objects.Principal{ID: "ada"})
			ctx := c.UserContext()
			var all errgroup.Group
			for i := range 16 {
				all.Go(func() error {
					n, err := post.Do(ctx, env.Object(rooms, fmt.Sprint("r", i)), "hello")
					if err == nil && n != 1 {
						err = fmt.Errorf("post %d of room %d", n, i)
					}
					return err
				})
			}
			if err := all.Wait(); err != nil {
				return err
			}
			return c.SendString("done")
		})
	}
	w := objectstest.New(t, impl)
	front := gatewaytest.New(t, w, worker)
	for range 2 { // under one key it has one effect at each
		r := httptest.NewRequest(http.MethodPost, "/all", nil)
		r.Header.Set("Idempotency-Key", "k")
		response := front.Do(r)
		if body, err := io.ReadAll(response.Body); err != nil || string(body) != "done" || response.Header.Get("Holdfast-Object") == "" {
			t.Errorf("%d %s, %v, headers %v", response.StatusCode, body, err, response.Header)
		}
	}
	for i := range 16 {
		err := objectstest.Inside(w, w.Object(rooms, fmt.Sprint("r", i)), func(tx *objects.Tx, _ *Room) error {
			if said := posts.Get(tx, 1); said != "ada: hello" || posts.Count(tx) != 1 {
				t.Errorf("room %d keeps %q, and %d in all", i, said, posts.Count(tx))
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
