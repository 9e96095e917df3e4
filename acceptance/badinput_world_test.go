package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"holdfast/examples/demo"
	"holdfast/examples/room"
	"holdfast/examples/ticket"
	"holdfast/gateway"
	"holdfast/objects"
)

// place is a host and a gateway to send bad input to. However bad it is, the
// gateway's connection to NATS must be the same one at the end.
type place struct {
	*door
	addr string
	nc   *nats.Conn // the gateway's
	raw  *nats.Conn // somebody else's, on the same NATS

	metrics *prometheus.Registry // the gateway's
	heard   *journal             // by the probes
}

func newPlace(t *testing.T, change func(*gateway.Config), further ...*objects.Implementation) *place {
	t.Helper()
	on, metrics, heard := single(t), prometheus.NewRegistry(), newJournal()
	classes := []*objects.Implementation{ticket.Objects, room.Objects, heard.probes(), heard.stillborn()}
	on.startHost(t, "a", "fra", steady, nil, append(further, classes...)...)
	cfg := gateway.Config{
		Region: "fra", NATS: on.dial(t), Timing: steady, Log: testLog(t), Metrics: metrics,
	}
	for _, class := range classes {
		cfg.Classes = append(cfg.Classes, string(class.Class()))
	}
	cfg.Worker = open(func(r fiber.Router, env *gateway.Env) { demo.Worker(r, env); faultyWorker(r, env) }, cfg.Classes...)
	if change != nil {
		change(&cfg)
	}
	g, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &place{addr: ln.Addr().String(), nc: cfg.NATS, raw: on.dial(t), metrics: metrics, heard: heard}
	p.door = &door{running(t, func(ctx context.Context) error { return g.Run(ctx, ln) }), g, "http://" + p.addr}
	t.Cleanup(func() {
		if !p.nc.IsConnected() || p.nc.Stats().Reconnects != 0 {
			t.Errorf("the gateway's NATS connection is %v after %d reconnects, want the first one still up",
				p.nc.Status(), p.nc.Stats().Reconnects)
		}
	})
	await(t, "the gateway is ready", func() bool {
		status, _, _, err := try("GET", p.url+"/readyz", "")
		return err == nil && status == http.StatusOK
	})
	return p
}

// secret is the text of a fault. No client may read it.
const secret = "hunter2-from-the-panic"

// faultyWorker is a worker whose routes fail in every way.
func faultyWorker(r fiber.Router, env *gateway.Env) {
	faults := map[string]func() error{
		"text":          func() error { panic(secret) },
		"error":         func() error { panic(errors.New(secret)) },
		"objects-error": func() error { panic(objects.Errorf(objects.Conflict, secret)) },
		"fiber-error":   func() error { panic(fiber.NewError(fiber.StatusTeapot, secret)) },
		"runtime":       func() error { return map[string]func() error{}[secret]() },
		"returned":      func() error { return fmt.Errorf("read the store: %s", secret) },
	}
	r.Get("/fault/:kind", func(c *fiber.Ctx) error { return faults[c.Params("kind")]() })
	r.Post("/boom/:class/:name", func(c *fiber.Ctx) error {
		n, err := boom.Do(c.UserContext(), env.Object(objects.Class(c.Params("class")), c.Params("name")), nil)
		if err != nil {
			return err
		}
		return c.JSON(n)
	})
}

// probe is an object that reports its requests, and does what its sockets tell it.
type probe struct {
	heard *journal
	last  int // of "count"
}

const probes objects.Class = "probe"

var (
	boom    = objects.NewCall[objects.None, int](probes, "boom")
	effects = objects.NewKey[int]("effects") // POSTs that were handled
)

// journal has the requests that the probes of one host have received, by the object's name.
type journal struct {
	sync.Mutex
	opened map[string]int
	closes map[string][]objects.Close
	gates  map[string]*gate

	upgrades map[string]http.Header // of the newest upgrade
	code     objects.Code           // with which boom fails; none: it panics

	doomed sync.Map // names of stillborn objects whose constructor panics
}

func newJournal() *journal {
	return &journal{
		opened: make(map[string]int), closes: make(map[string][]objects.Close), gates: make(map[string]*gate),
		upgrades: make(map[string]http.Header),
	}
}

// probes returns the class whose objects write into the journal.
func (j *journal) probes() *objects.Implementation {
	return objects.Implement(probes, func(*objects.Tx) *probe { return &probe{heard: j} }, objects.On(boom, (*probe).boom))
}

// stillborn are probes whose constructor panics while the name is in doomed.
func (j *journal) stillborn() *objects.Implementation {
	return objects.Implement("stillborn", func(tx *objects.Tx) *probe {
		if _, is := j.doomed.Load(tx.Name()); is {
			panic(secret)
		}
		return &probe{heard: j}
	})
}

// gate holds a request to /wait until open is closed.
type gate struct{ entered, open chan struct{} }

func (j *journal) newGate(object string) *gate {
	j.Lock()
	defer j.Unlock()
	j.gates[object] = &gate{make(chan struct{}), make(chan struct{})}
	return j.gates[object]
}

func (j *journal) openedAt(object string) int {
	j.Lock()
	defer j.Unlock()
	return j.opened[object]
}

func (j *journal) lastUpgrade(object string) http.Header {
	j.Lock()
	defer j.Unlock()
	return j.upgrades[object]
}

func (j *journal) closesAt(object string) []objects.Close {
	j.Lock()
	defer j.Unlock()
	return append([]objects.Close(nil), j.closes[object]...)
}

// echoed is a request as an object saw it.
type echoed struct {
	Method, Host, URL string
	Header            map[string][][]byte // of whatever bytes
	Body              []byte
	Effects           int
}

func echo(r *http.Request, body []byte, effects int) echoed {
	header := make(map[string][][]byte)
	for name, values := range r.Header {
		for _, v := range values {
			header[name] = append(header[name], []byte(v))
		}
	}
	return echoed{r.Method, r.Host, r.URL.String(), header, body, effects}
}

func (p *probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	tx := objects.TxOf(r)
	n := effects.Get(tx)
	if r.Method == http.MethodPost {
		n++
		effects.Set(tx, n)
	}
	switch r.URL.Path {
	case "/panic":
		panic(secret)
	case "/wait":
		p.wait(tx)
	case "/split": // a header made of what the client sent
		w.Header().Set("X-Given", string(body))
		w.Header()[string(body)] = []string{"X-Injected"}
	case "/refuse":
		http.Error(w, "not today", http.StatusForbidden)
		return
	}
	var how []objects.AcceptOption
	if r.URL.Path == "/graphql" {
		how = append(how, objects.Subprotocols("graphql-transport-ws"))
		w.Header()["sec-websocket-protocol"] = []string{"forged"}
		w.Header().Add("Set-Cookie", "session=1; HttpOnly")
		w.Header().Add("Set-Cookie", "seen=2")
		w.Header().Set("X-Mine", "yes")
		w.Header()["holdfast-owner"] = []string{"forged"}
		w.Header()["sec-websocket-accept"] = []string{"forged"}
	}
	if socket, err := tx.Accept(how...); err == nil {
		p.opened(tx, socket, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(echo(r, body, n)) // into memory
}

func (p *probe) wait(tx *objects.Tx) {
	p.heard.Lock()
	g := p.heard.gates[tx.Name()]
	p.heard.Unlock()
	close(g.entered)
	select {
	case <-g.open:
	case <-tx.Done():
	}
}

func (p *probe) opened(tx *objects.Tx, s objects.Socket, r *http.Request) {
	tag := r.URL.Query().Get("tag")
	s.Attach(tag)
	s.Send(objects.Text("to " + tag + " welcome"))
	p.heard.Lock()
	defer p.heard.Unlock()
	p.heard.opened[tx.Name()]++
	p.heard.upgrades[tx.Name()] = r.Header.Clone()
}

func (p *probe) boom(tx *objects.Tx, _ objects.None) (int, error) {
	effects.Set(tx, 1000)
	p.heard.Lock()
	code := p.heard.code
	p.heard.Unlock()
	if code != "" {
		return 0, objects.Errorf(code, "a code of the author's own")
	}
	panic(secret)
}

func (p *probe) WebSocketMessage(tx *objects.Tx, from objects.Socket, m objects.Message) error {
	command, rest, _ := strings.Cut(string(m.Data), " ")
	switch command {
	case "count":
		n, err := strconv.Atoi(rest)
		if err != nil || n != p.last+1 {
			from.Send(objects.Text(fmt.Sprintf("disorder: %s after %d", rest, p.last)))
		}
		p.last = n
	case "counted":
		from.Send(objects.Text("counted " + strconv.Itoa(p.last)))
	case "panic":
		panic(secret)
	case "refuse":
		return objects.Errorf(objects.Forbidden, "%s", rest)
	case "close":
		code, reason, _ := strings.Cut(rest, " ")
		n, _ := strconv.Atoi(code)
		from.Close(n, reason)
	case "all": // one message to everybody, of so many bytes
		n, _ := strconv.Atoi(rest)
		message := objects.Message{Data: []byte(strings.Repeat("x", n))}
		for _, s := range tx.Sockets() {
			s.Send(message)
		}
	case "each": // to everybody a message of their own
		for _, s := range tx.Sockets() {
			var tag string
			s.Attachment(&tag)
			s.Send(objects.Text("to " + tag + " " + rest))
		}
	default:
		from.Send(m)
	}
	return nil
}

func (p *probe) WebSocketClose(tx *objects.Tx, _ objects.Socket, end objects.Close) error {
	p.heard.Lock()
	defer p.heard.Unlock()
	p.heard.closes[tx.Name()] = append(p.heard.closes[tx.Name()], end)
	return nil
}
