package acceptance

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/internal/resume"
	"holdfast/objects"
)

// The class lasting is a room whose sockets come back.
const lastings objects.Class = "lasting"

var (
	lastingSay   = objects.NewCall[string, int](lastings, "say")              // to all sockets; how many there are
	lastingHeard = objects.NewCall[objects.None, []string](lastings, "heard") // what sockets have said
	lastingEnds  = objects.NewCall[objects.None, []string](lastings, "ends")  // ids of sockets whose ends were told
	lastingClose = objects.NewCall[objects.None, int](lastings, "close")      // all sockets
	lastingImpl  = objects.Implement(lastings, objects.New[lasting],
		objects.On(lastingSay, (*lasting).say), objects.On(lastingHeard, (*lasting).heard), objects.On(lastingEnds, (*lasting).ends),
		objects.On(lastingClose, (*lasting).close))
	lastingEndKey   = objects.NewKey[[]string]("ends")
	lastingHeardKey = objects.NewKey[[]string]("heard")
)

type lasting struct{}

func (*lasting) say(tx *objects.Tx, text string) (int, error) {
	tx.Broadcast(objects.Text(text))
	return len(tx.Sockets()), nil
}

func (*lasting) heard(tx *objects.Tx, _ objects.None) ([]string, error) {
	return lastingHeardKey.Get(tx), nil
}

func (*lasting) ends(tx *objects.Tx, _ objects.None) ([]string, error) {
	return lastingEndKey.Get(tx), nil
}

func (*lasting) close(tx *objects.Tx, _ objects.None) (int, error) {
	for _, s := range tx.Sockets() {
		s.Close(4001, "enough")
	}
	return 0, nil
}

func (*lasting) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	s, err := tx.Accept(objects.Tags("tag"), objects.Subprotocols("game.1"), objects.AutoResponse("ping", "pong"))
	if err != nil {
		tx.Refuse(err)
		return
	}
	s.Attach(len(tx.Sockets()))
}

func (*lasting) WebSocketMessage(tx *objects.Tx, from objects.Socket, m objects.Message) error {
	if string(m.Data) == "who" {
		var seat int
		from.Attachment(&seat)
		from.Send(objects.Text(fmt.Sprintln(from.ID(), from.Tags(), seat, from.Principal().ID, from.Subprotocol())))
		return nil
	}
	lastingHeardKey.Set(tx, append(lastingHeardKey.Get(tx), string(m.Data)))
	return nil
}

func (*lasting) WebSocketClose(tx *objects.Tx, s objects.Socket, _ objects.Close) error {
	lastingEndKey.Set(tx, append(lastingEndKey.Get(tx), s.ID()))
	return nil
}

// lastingWorld returns two gateways, which take the principal of each request from its query.
func lastingWorld(t *testing.T, on *substrate) []*lastingDoor {
	var doors []*lastingDoor
	for range 2 {
		d := new(lastingDoor)
		worker := func(r fiber.Router, env *gateway.Env) {
			d.env = env
			r.Get("/lasting/:name", func(c *fiber.Ctx) error {
				gateway.SetPrincipal(c, objects.Principal{ID: c.Query("as", "me")})
				return env.Forward(c, env.Object(lastings, c.Params("name")), "/")
			})
		}
		d.door = on.startWorker(t, "fra", steady, worker, string(lastings))
		doors = append(doors, d)
	}
	return doors
}

type lastingDoor struct {
	*door
	env *gateway.Env
}

func (d *lastingDoor) object() objects.Ref { return d.env.Object(lastings, "lobby") }

// comer is a client that comes back.
type comer struct {
	resume.Client
	t     *testing.T
	conn  *websocket.Conn
	hello resume.Hello
}

// dial connects, as the person, and receives the hello. It returns the gap, if there is one.
func (c *comer) dial(d *lastingDoor, as string) *resume.Gap {
	c.t.Helper()
	await(c.t, "connected as "+as, func() bool {
		res, err := c.try(d, as)
		if err != nil && (res == nil || res.StatusCode < 500) {
			c.t.Fatalf("dial: %v (%v)", err, res)
		}
		return err == nil // a busy machine's store answers late, and the gateway with 504
	})
	kind, data := c.read()
	if kind != resume.HelloKind {
		c.t.Fatalf("the first message is %q", data)
	}
	c.hello = resume.Hello{}
	decode(c.t, string(data), &c.hello)
	again, gap := c.Hello(c.hello)
	for _, m := range again {
		c.write(m.Data)
	}
	return gap
}

func (c *comer) try(d *lastingDoor, as string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	conn, res, err := websocket.Dial(ctx, strings.Replace(d.url, "http", "ws", 1)+"/lasting/lobby?as="+as, &websocket.DialOptions{
		Subprotocols: append(c.Subprotocols(), "game.1"),
	})
	if err != nil {
		return res, err
	}
	c.conn = conn
	c.t.Cleanup(func() { conn.CloseNow() })
	return res, nil
}

func (c *comer) read() (kind byte, data []byte) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	_, data, err := c.conn.Read(ctx)
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	kind, data = resume.Read(data)
	if kind == resume.Escaped {
		c.Message()
	}
	return kind, data
}

// hear reads messages until the last.
func (c *comer) hear(last string) (all []string) {
	c.t.Helper()
	for len(all) == 0 || all[len(all)-1] != last {
		if kind, data := c.read(); kind == resume.Escaped {
			all = append(all, string(data))
		}
	}
	return all
}

func (c *comer) send(text string) {
	c.Send(resume.Message{Data: []byte(text)})
	c.write([]byte(text))
}

func (c *comer) write(data []byte) {
	c.t.Helper()
	if err := c.conn.Write(c.t.Context(), websocket.MessageText, resume.Escape(data)); err != nil {
		c.t.Fatal(err)
	}
}

// who asks the object for the socket's id.
func (c *comer) who() string {
	c.t.Helper()
	c.send("who")
	_, data := c.read()
	return string(data)
}

// lose breaks the connection without a word.
func (c *comer) lose() { c.conn.CloseNow() }

// surely makes a call that counts once, however late a busy machine's store answers.
func surely[In, Out any](t *testing.T, object objects.Ref, call objects.Call[In, Out], in In) (out Out) {
	t.Helper()
	ctx := objects.WithIdempotencyKey(t.Context(), rand.Text())
	await(t, "a call is answered", func() bool {
		var err error
		out, err = call.Do(ctx, object, in)
		if code := objects.CodeOf(err); err != nil && code != objects.Unknown && !code.Retryable() {
			t.Fatal(err)
		}
		return err == nil
	})
	return out
}

// say makes the object send texts to all, and returns them.
func (d *lastingDoor) say(t *testing.T, texts ...string) []string {
	t.Helper()
	for _, text := range texts {
		surely(t, d.object(), lastingSay, text)
	}
	return texts
}

func (d *lastingDoor) ends(t *testing.T) []string {
	t.Helper()
	return surely(t, d.object(), lastingEnds, nil)
}

func TestASocketThatComesBackIsTheSameAndHasMissedNothing(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "one", "fra", steady, nil, lastingImpl.With(objects.Settings{Resume: time.Minute}))
	doors := lastingWorld(t, on)
	c := &comer{t: t}
	if gap := c.dial(doors[0], "me"); gap != nil || c.hello.Back || c.hello.Subprotocol != "game.1" || c.hello.Auto != "ping" {
		t.Fatalf("the first hello is %+v, gap %v", c.hello, gap)
	}
	other := &comer{t: t}
	other.dial(doors[1], "other")
	before := c.who()
	if !strings.Contains(before, " [tag] 1 me game.1") {
		t.Errorf("who = %q", before)
	}
	want := doors[1].say(t, "one", "\x00two", "three")
	if got := c.hear("three"); !slices.Equal(got, want) {
		t.Errorf("heard %q", got)
	}
	for i := range 4 { // the gateway may not know yet that the connection is gone
		c.lose()
		want = doors[1].say(t, fmt.Sprint("a", i), fmt.Sprint("\x00b", i), fmt.Sprint("c", i))
		if gap := c.dial(doors[i%2], "me"); gap != nil || !c.hello.Back {
			t.Fatalf("came back: %+v, gap %v", c.hello, gap)
		}
		if got := c.hear(want[2]); !slices.Equal(got, want) {
			t.Errorf("coming back %d heard %q, want %q", i, got, want)
		}
		if now := c.who(); now != before {
			t.Errorf("came back as %q, was %q", now, before)
		}
		if n := surely(t, doors[0].object(), lastingSay, "all"); n != 2 {
			t.Errorf("%d sockets, want 2", n)
		}
		c.hear("all")
	}
	if ends := doors[0].ends(t); len(ends) != 0 {
		t.Errorf("ends %q were told", ends)
	}
	if got := other.hear("c3"); len(got) != 3+4*4-1 {
		t.Errorf("the other heard %q", got)
	}
}

func TestWhatAClientSendsIsHandledOnceWhateverItsConnectionsDo(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "one", "fra", steady, nil, lastingImpl.With(objects.Settings{Resume: time.Minute}))
	doors := lastingWorld(t, on)
	c := &comer{t: t}
	c.dial(doors[0], "me")
	var want []string
	for i := range 20 {
		for k := range 3 {
			want = append(want, fmt.Sprint(i, ".", k))
			c.send(want[len(want)-1])
		}
		c.write([]byte("ping")) // which nobody counts
		c.lose()
		c.dial(doors[i%2], "me")
	}
	await(t, "all is heard", func() bool {
		heard := surely(t, doors[0].object(), lastingHeard, nil)
		if len(heard) > len(want) || !slices.Equal(heard, want[:len(heard)]) {
			t.Fatalf("heard %q", heard)
		}
		return len(heard) == len(want)
	})
	if err := c.conn.Write(t.Context(), websocket.MessageText, []byte{0, resume.PingKind}); err != nil {
		t.Fatal(err)
	}
	if kind, data := c.read(); kind != resume.TakenKind || string(data) != fmt.Sprint(len(want)) {
		t.Errorf("the gateway says %q %q, want that %d were taken", kind, data, len(want))
	}
}

func TestNothingIsMissedWhenHostsAndGatewaysAreRestarted(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	class := lastingImpl.With(objects.Settings{Resume: time.Minute})
	first := on.startHost(t, "one", "fra", steady, nil, class)
	doors := lastingWorld(t, on)
	away, here := &comer{t: t}, &comer{t: t}
	away.dial(doors[0], "me")
	here.dial(doors[1], "you")
	before := []string{away.who(), here.who()}
	away.lose()
	want := doors[1].say(t, "1", "2")
	second := on.startHost(t, "two", "fra", steady, nil, class)
	first.stop()
	want = append(want, doors[1].say(t, "3")...)
	doors[0].stop()
	if gap := away.dial(doors[1], "me"); gap != nil || !away.hello.Back {
		t.Fatalf("came back: %+v, gap %+v", away.hello, gap)
	}
	for _, c := range []*comer{away, here} {
		if got := c.hear("3"); !slices.Equal(got, want) {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
	third := lastingWorld(t, on)[0]
	on.startHost(t, "three", "fra", steady, nil, class)
	second.stop()
	doors[1].stop()
	third.say(t, "4")
	for i, c := range []*comer{away, here} {
		if gap := c.dial(third, []string{"me", "you"}[i]); gap != nil || !c.hello.Back {
			t.Fatalf("came back: %+v, gap %+v", c.hello, gap)
		}
		if got := c.hear("4"); !slices.Equal(got, []string{"4"}) {
			t.Errorf("heard %q", got)
		}
		if now := c.who(); now != before[i] {
			t.Errorf("came back as %q, was %q", now, before[i])
		}
	}
	if ends := third.ends(t); len(ends) != 0 {
		t.Errorf("ends %q were told", ends)
	}
}

// Messages are lost with their host: the client is told of the gap, and the socket is still the same.
func TestASocketThatWasAwayWhenItsHostDiedIsToldOfTheGap(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	class := lastingImpl.With(objects.Settings{Resume: time.Minute})
	first := on.startHost(t, "one", "fra", quick, nil, class)
	doors := lastingWorld(t, on)
	c := &comer{t: t}
	c.dial(doors[0], "me")
	before := c.who()
	c.lose()
	doors[1].say(t, "1", "2")
	on.startHost(t, "two", "fra", steady, nil, class)
	first.cut()
	doors[1].say(t, "3")
	gap := c.dial(doors[1], "me")
	if gap == nil || gap.New || !c.hello.Back {
		t.Fatalf("came back: %+v, gap %+v; want a gap", c.hello, gap)
	}
	if now := c.who(); now != "3" {
		t.Errorf("heard %q behind the gap, want what the new host has sent", now)
	}
	if _, now := c.read(); string(now) != before {
		t.Errorf("came back as %q, was %q", now, before)
	}
}

func TestTheEndOfASocketIsToldWhenTheTimeToComeBackIsOver(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "one", "fra", steady, nil, lastingImpl.With(objects.Settings{Resume: 500 * time.Millisecond}))
	doors := lastingWorld(t, on)
	c := &comer{t: t}
	c.dial(doors[0], "me")
	before := c.who()
	c.lose()
	await(t, "the end is told", func() bool { return len(doors[1].ends(t)) == 1 })
	gap := c.dial(doors[1], "me")
	if gap == nil || !gap.New || c.hello.Back || c.who() == before {
		t.Errorf("came back too late as %+v, gap %+v", c.hello, gap)
	}
	if ends := doors[1].ends(t); len(ends) != 1 || !strings.HasPrefix(before, ends[0]) {
		t.Errorf("ends %q were told, want that of %q", ends, before)
	}
}

// A client that closes its socket cannot come back.
func TestWhoLeavesDoesNotComeBack(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "one", "fra", steady, nil, lastingImpl.With(objects.Settings{Resume: time.Minute}))
	doors := lastingWorld(t, on)
	for i, leave := range []func(c *comer){
		func(c *comer) { c.conn.Close(1000, "bye") },
		func(c *comer) { c.conn.Close(4123, "") },
		func(c *comer) { // the object closes it
			surely(t, doors[0].object(), lastingClose, nil)
		},
		func(c *comer) { // while it is away
			c.lose()
			surely(t, doors[0].object(), lastingClose, nil)
		},
	} {
		c := &comer{t: t}
		c.dial(doors[0], "me")
		leave(c)
		await(t, fmt.Sprint("the end is told ", i), func() bool { return len(doors[1].ends(t)) == i+1 })
	}
}

func TestATokenThatIsNotOnesOwnIsRefused(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "one", "fra", steady, nil, lastingImpl.With(objects.Settings{Resume: time.Minute}))
	doors := lastingWorld(t, on)
	c := &comer{t: t}
	c.dial(doors[0], "me")
	token := c.Token
	refused := func(token, as string, want int) {
		t.Helper()
		thief := &comer{t: t, Client: resume.Client{Token: token}}
		var res *http.Response
		var err error
		await(t, "an answer that is not late", func() bool {
			res, err = thief.try(doors[1], as)
			return res != nil && res.StatusCode < 500
		})
		if err == nil || res == nil || res.StatusCode != want {
			t.Errorf("token %.40q as %s: %v, %v, want %d", token, as, res, err, want)
		}
	}
	refused(token, "thief", http.StatusForbidden)
	_, session, _ := strings.Cut(token, ".")
	refused(strings.Repeat("A", 22)+"."+session, "me", http.StatusForbidden)
	for _, bad := range []string{"x", ".", token[1:], token + strings.Repeat("x", 200), strings.Replace(token, ".", "", 1), "AAAA." + session, "*" + token} {
		refused(bad, "me", http.StatusBadRequest)
	}
	// The session of another object does not count here: the socket is a new one.
	stranger := &comer{t: t, Client: resume.Client{Token: strings.Repeat("A", 22) + ".gateway.abc-1"}}
	if gap := stranger.dial(doors[1], "me"); gap == nil || !gap.New {
		t.Errorf("gap %+v, want a new socket", gap)
	}
	if c.who(); len(doors[0].ends(t)) != 0 {
		t.Error("the socket has ended")
	}
}

func TestAClassThatDoesNotAskForItHasNoTokens(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "one", "fra", steady, nil, lastingImpl)
	doors := lastingWorld(t, on)
	c := &comer{t: t}
	if gap := c.dial(doors[0], "me"); gap != nil || c.Token != "" || c.hello.Subprotocol != "game.1" {
		t.Errorf("hello %+v, gap %v", c.hello, gap)
	}
	c.lose()
	await(t, "the end is told", func() bool { return len(doors[1].ends(t)) == 1 })
}

// A client that does not speak the protocol sees nothing of it.
func TestAPlainClientOfAClassWhoseSocketsComeBack(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "one", "fra", steady, nil, lastingImpl.With(objects.Settings{Resume: time.Minute}))
	doors := lastingWorld(t, on)
	c := &comer{t: t}
	await(t, "a plain client is connected", func() (ok bool) {
		conn, _, err := websocket.Dial(t.Context(), strings.Replace(doors[0].url, "http", "ws", 1)+"/lasting/lobby", nil)
		c.conn = conn
		return err == nil
	})
	for _, text := range []string{"\x00one", "two"} {
		doors[0].say(t, text)
		if _, data, err := c.conn.Read(t.Context()); err != nil || string(data) != text {
			t.Errorf("read %q, %v", data, err)
		}
	}
	c.lose()
	await(t, "the end is told", func() bool { return len(doors[1].ends(t)) == 1 })
}
