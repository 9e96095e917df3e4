package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	hfclient "holdfast/client"
	"holdfast/embedded"
	"holdfast/gateway"
	"holdfast/internal/bucket"
	"holdfast/internal/resume"
	"holdfast/internal/underrace"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if !underrace.On { // the cases of all worlds beside each other: they wait
		if err := flag.Set("test.parallel", "6"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}

// live is hosts and a gateway on an embedded server, or on three. One host runs the sleepers, and another all other classes.
type live struct {
	t        *testing.T // of all cases
	dials    func(...nats.Option) (*nats.Conn, error)
	replicas int
	cast     *cast
	*gateway.Env
	url    string
	nc     *nats.Conn
	asleep *prometheus.Registry // of the host of sleepers

	mu   sync.Mutex // guards what follows
	stop func()     // the host of puppets
	n    int        // hosts of puppets so far
}

// A lease outlasts whatever stalls the machine: no case is about one that ends.
var (
	steady   = wire.Timing{TTL: 10 * time.Second, Beat: time.Second, Drain: 2 * time.Second}
	restless = wire.Timing{TTL: 10 * time.Second, Hibernate: 100 * time.Millisecond, Evict: 400 * time.Millisecond, Drain: 2 * time.Second}
)

// one returns one server, and three a cluster of as many.
func one(t *testing.T, c *cast) *live {
	s, err := embedded.Start(t.Context(), embedded.Config{Store: t.TempDir(), Log: logTo(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return newLive(t, &live{t: t, dials: s.Dial, replicas: 1, cast: c})
}

func three(t *testing.T, c *cast) *live {
	cluster, err := embedded.StartCluster(t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	var next atomic.Int32
	dial := func(opts ...nats.Option) (*nats.Conn, error) {
		return nats.Connect(cluster.URLs()[next.Add(1)%3], opts...)
	}
	return newLive(t, &live{t: t, dials: dial, replicas: 3, cast: c})
}

func newLive(t *testing.T, l *live) *live {
	l.asleep = prometheus.NewRegistry()
	l.nc = l.dial(t)
	all := l.cast.objects()
	l.run(t, "sleepers", restless, l.asleep, all[sleepers], all[wakefuls])
	l.stop = l.run(t, "puppets-0", steady, nil, all[puppets], all[hasties], all[keepers], all[mutes], all[returners])

	names := make(map[string]bool)
	for class := range all {
		names[string(class)] = true
	}
	g, err := gateway.New(gateway.Config{
		Region: "fra", NATS: l.dial(t), Classes: slices.Collect(maps.Keys(names)), Log: logTo(t), Timing: steady,
		Worker: func(r fiber.Router, env *gateway.Env) {
			l.Env = env
			r.Use(func(c *fiber.Ctx) error {
				if who := c.Query("who"); who != "" {
					gateway.SetPrincipal(c, objects.Principal{ID: strings.Clone(who)})
				}
				return c.Next()
			})
			for class := range all {
				env.Mount(r, "/objects/"+string(class)+"/:name", class)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error { return g.Run(ctx, ln) })
	l.url = ln.Addr().String()
	l.until(t, "the gateway has heard of every class, so that it asks again when a class has no host for a moment", func() bool {
		classes, err := g.Ready(t.Context())
		return err == nil && len(classes) == len(all) && !slices.ContainsFunc(slices.Collect(maps.Values(classes)), func(is string) bool { return is != "ok" })
	})
	return l
}

func logTo(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError + 1}))
}

func (l *live) dial(t testing.TB) *nats.Conn {
	t.Helper()
	nc, err := l.dials(nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// background runs something until the test ends, or until stop is called, which waits for it.
func background(t testing.TB, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			t.Errorf("stopped with: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (l *live) run(t testing.TB, name string, timing wire.Timing, metrics prometheus.Registerer, classes ...*objects.Implementation) (stop func()) {
	t.Helper()
	h, err := host.New(t.Context(), host.Config{
		Name: name, Region: "fra", Objects: classes, Serve: l.dial(t), State: l.dial(t), Replicas: l.replicas, Timing: timing, Log: logTo(t), Metrics: metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	stop = background(t, h.Run)
	l.until(t, "host "+name+" takes claims", func() bool { return h.Ready() == nil })
	return stop
}

// path returns the gateway's path of an object.
func path(o objects.Ref) string { return "/objects/" + string(o.ID().Class()) + "/" + o.Name() }

func (l *live) fetch(to objects.Ref, r *http.Request) *http.Response {
	out, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+l.url+path(to)+r.URL.Path, r.Body)
	if err != nil {
		panic(err)
	}
	out.Header = r.Header
	response, err := http.DefaultClient.Do(out)
	if err != nil {
		panic(err)
	}
	return response
}

func (l *live) connect(t testing.TB, to objects.Ref, query string, subprotocols ...string) client {
	t.Helper()
	conn, response, err := websocket.Dial(t.Context(), "ws://"+l.url+path(to)+"/"+query, &websocket.DialOptions{Subprotocols: subprotocols})
	if err != nil {
		t.Fatalf("connect: %v (%+v)", err, response)
	}
	conn.SetReadLimit(4 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &liveClient{conn: conn}
}

type liveClient struct {
	conn *websocket.Conn
}

func (c *liveClient) send(m objects.Message) {
	kind := websocket.MessageText
	if m.Binary {
		kind = websocket.MessageBinary
	}
	_ = c.conn.Write(context.Background(), kind, m.Data) // a socket that has ended shows when it is read
}

func (c *liveClient) next(t testing.TB) objects.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	kind, data, err := c.conn.Read(ctx)
	if err != nil {
		t.Fatalf("nothing has arrived: %v", err)
	}
	return objects.Message{Binary: kind == websocket.MessageBinary, Data: data}
}

func (c *liveClient) subprotocol() string { return c.conn.Subprotocol() }

func (c *liveClient) close(code int, reason string) {
	if code == 1006 {
		_ = c.conn.CloseNow()
		return
	}
	_ = c.conn.Close(websocket.StatusCode(code), reason)
}

func (c *liveClient) ended(t testing.TB) objects.Close {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		_, _, err := c.conn.Read(ctx)
		if end, ok := errors.AsType[websocket.CloseError](err); ok {
			return objects.Close{Code: int(end.Code), Reason: end.Reason, Clean: true}
		}
		if err != nil {
			t.Fatalf("the socket did not end with a close frame: %v", err)
		}
	}
}

// connectAgain opens a socket that can come back, as clients/js does.
func (l *live) connectAgain(t testing.TB, to objects.Ref) returner {
	t.Helper()
	c := &liveReturner{url: "ws://" + l.url + path(to) + "/"}
	c.open(t)
	return c
}

type liveReturner struct {
	resume.Client
	url  string
	conn *websocket.Conn
}

// open connects, and hears the hello. It returns how many messages were missed.
func (c *liveReturner) open(t testing.TB) (missed int) {
	t.Helper()
	conn, response, err := websocket.Dial(t.Context(), c.url, &websocket.DialOptions{Subprotocols: c.Subprotocols()})
	if err != nil {
		t.Fatalf("connect: %v (%+v)", err, response)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	c.conn = conn
	kind, data := c.read(t)
	var hello resume.Hello
	if err := json.Unmarshal(data, &hello); kind != resume.HelloKind || err != nil {
		t.Fatalf("the first message is %q (%v)", data, err)
	}
	if _, gap := c.Hello(hello); gap != nil {
		return max(1, int(gap.Missed)) // 0: nobody knows
	}
	return 0
}

func (c *liveReturner) read(t testing.TB) (kind byte, data []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, data, err := c.conn.Read(ctx)
	if err != nil {
		t.Fatalf("nothing has arrived: %v", err)
	}
	return resume.Read(data)
}

func (c *liveReturner) next(t testing.TB) objects.Message {
	t.Helper()
	for {
		if kind, data := c.read(t); kind == resume.Escaped {
			c.Message()
			return objects.Message{Data: data}
		}
	}
}

func (c *liveReturner) send(m objects.Message) {
	c.Send(resume.Message{Data: m.Data})
	_ = c.conn.Write(context.Background(), websocket.MessageText, resume.Escape(m.Data)) // a socket that has ended shows when it is read
}

func (c *liveReturner) lose() { _ = c.conn.CloseNow() }

func (c *liveReturner) comeBack(t testing.TB) int {
	t.Helper()
	return c.open(t)
}

// gauge returns a metric of sleepers.
func (l *live) gauge(t testing.TB, name string) (sum float64) {
	t.Helper()
	families, err := l.asleep.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasSuffix(f.GetName(), name) {
			for _, m := range f.GetMetric() {
				if slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == string(sleepers) }) {
					sum += m.GetGauge().GetValue()
				}
			}
		}
	}
	return sum
}

func (l *live) until(t testing.TB, what string, so func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !so() {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %v: %s", patience, what)
		}
		l.pass(5 * time.Millisecond)
	}
}

func (l *live) sleep(t testing.TB, _ objects.Ref) {
	l.until(t, "no instance is in memory", func() bool { return l.gauge(t, "_awake") == 0 })
}

func (l *live) evict(t testing.TB, _ objects.Ref) {
	l.until(t, "no sleeper is owned", func() bool { return l.gauge(t, "_objects") == 0 })
}

func (l *live) move(testing.TB, objects.Ref) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.stop
	l.stop = l.runPuppets()
	before()
}

// runPuppets starts the next host of puppets. With mu held.
func (l *live) runPuppets() (stop func()) {
	l.n++
	all := l.cast.objects()
	return l.run(l.t, fmt.Sprint("puppets-", l.n), steady, nil, all[puppets], all[hasties], all[keepers], all[mutes], all[returners])
}

func (l *live) away(_ testing.TB, _ objects.Ref, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop()
	l.pass(d)
	l.stop = l.runPuppets()
}

// second returns a program on the same NATS.
func (l *live) second(t testing.TB) objects.Caller {
	t.Helper()
	c, err := hfclient.New(l.dial(t), hfclient.Config{Region: "iad"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refuse writes the object's record, so that the owner's next put is refused.
func (l *live) refuse(t testing.TB, o objects.Ref) {
	t.Helper()
	l.forge(t, o, func(record map[string]any) { record["owner"] = ""; record["epoch"] = record["epoch"].(float64) + 1 })
}

func (l *live) forge(t testing.TB, o objects.Ref, change func(record map[string]any)) {
	t.Helper()
	key := o.ID().Key()
	entry, err := bucket.Records().Last(t.Context(), l.nc, key)
	if err != nil {
		t.Fatal(err)
	}
	value := entry.Data
	var record map[string]any
	if err := json.NewDecoder(bytes.NewReader(value[bytes.IndexByte(value, '{'):])).Decode(&record); err != nil {
		t.Fatalf("record %s: %v", value, err)
	}
	delete(record, "sum") // a record without one is read
	change(record)
	changed, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.nc.RequestWithContext(t.Context(), bucket.Records().Subject(key), changed); err != nil {
		t.Fatal(err)
	}
}

func (l *live) pass(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// exhaust makes the alarm fail for the last time: it writes to the record of the unowned object that all tries before have failed.
func (l *live) exhaust(t testing.TB, o objects.Ref) {
	t.Helper()
	l.evict(t, o)
	l.forge(t, o, func(record map[string]any) { record["alarm"].(map[string]any)["retry"] = 6 })
}
