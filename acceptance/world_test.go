package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdfast/embedded"
	"holdfast/examples/demo"
	"holdfast/examples/room"
	"holdfast/examples/ticket"
	"holdfast/gateway"
	"holdfast/internal/bucket"
	"holdfast/internal/loopback"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host"

	"github.com/prometheus/client_golang/prometheus"
)

// substrate is a NATS to test on: one server, or a cluster of three.
type substrate struct {
	name     string
	replicas int
	dial     func(t testing.TB, opts ...nats.Option) *nats.Conn
	servers  []*embedded.Server
	cluster  *embedded.Cluster
	near     *wire.Nearby // of all hosts and gateways; nil: they are apart
	env      *gateway.Env // of the last caller
}

// onAll runs a test on one server, on a cluster of three, and on one server whose
// hosts and gateways reach each other without it. They run beside each other and beside other tests.
func onAll(t *testing.T, test func(t *testing.T, on *substrate)) {
	t.Helper()
	t.Parallel()
	t.Run("R1", func(t *testing.T) { beside(t, waiters); test(t, single(t)) })
	t.Run("R3", func(t *testing.T) { beside(t, clusters); test(t, clustered(t)) })
	t.Run("nearby", func(t *testing.T) { beside(t, waiters); test(t, together(t)) })
}

// together returns one server, whose gateways and hosts bypass NATS.
func together(t testing.TB) *substrate {
	t.Helper()
	on := single(t)
	on.name, on.near = "nearby", new(wire.Nearby)
	return on
}

func single(t testing.TB) *substrate {
	t.Helper()
	return served(t, embedded.Config{Store: t.TempDir(), Log: testLog(t)})
}

// served returns one server.
func served(t testing.TB, cfg embedded.Config) *substrate {
	t.Helper()
	s, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &substrate{name: "R1", replicas: 1, servers: []*embedded.Server{s}, dial: func(t testing.TB, opts ...nats.Option) *nats.Conn {
		return dialed(t)(s.Dial(opts...))
	}}
}

// shared are the clusters of tests that stop none of their servers, while no test has them: a start takes longer than most of
// these tests, as servers wait for seconds before they elect. One test at a time has a cluster, on a seat of clusters.
var shared = make(chan sharedCluster, cap(clusters))

// sharedCluster is a cluster and where it stores.
type sharedCluster struct {
	*embedded.Cluster
	dir string
}

// clustered returns a cluster in which nothing is stored.
func clustered(t testing.TB) *substrate {
	t.Helper()
	c := takeCluster(t)
	t.Cleanup(func() {
		if err := c.empty(); t.Failed() || err != nil { // whatever it is that the test has done to it
			t.Log("the cluster is given up: ", err)
			c.end()
			return
		}
		shared <- c
	})
	return ofCluster(c.Cluster)
}

// takeCluster returns a cluster that no test has. If there is none, it starts one.
func takeCluster(t testing.TB) sharedCluster {
	t.Helper()
	select {
	case c := <-shared:
		return c
	default:
	}
	c, err := startSharedCluster()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// startSharedCluster starts a cluster that outlives the test that it is started for.
func startSharedCluster() (c sharedCluster, err error) {
	if c.dir, err = os.MkdirTemp("", "cluster"); err != nil {
		return c, err
	}
	c.Cluster, err = embedded.StartCluster(c.dir, 3)
	return c, err
}

// empty deletes everything that the cluster stores, and waits until its servers have removed it: one that still does cannot
// make the same stream anew.
func (c sharedCluster) empty() error {
	nc, err := nats.Connect(c.URLs()[0])
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		err = errors.Join(err, js.DeleteStream(ctx, name))
	}
	if err = errors.Join(err, names.Err()); err != nil {
		return err
	}
	for {
		left, err := filepath.Glob(filepath.Join(c.dir, "*", "jetstream", "*", "streams", "*"))
		switch {
		case err != nil || len(left) == 0:
			return err
		case !wire.Pause(ctx, 10*time.Millisecond):
			return fmt.Errorf("the servers do not remove %q", left)
		}
	}
}

func (c sharedCluster) end() {
	c.Close()
	_ = os.RemoveAll(c.dir) // it is of no use
}

// closeClusters ends the clusters that tests share. No test runs any more.
func closeClusters() {
	for len(shared) > 0 {
		(<-shared).end()
	}
}

// clusteredAlone returns a cluster of the test's own, whose servers it may stop.
func clusteredAlone(t testing.TB) *substrate {
	t.Helper()
	c, err := embedded.StartCluster(t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return ofCluster(c)
}

func ofCluster(c *embedded.Cluster) *substrate {
	var next int
	var mu sync.Mutex
	return &substrate{name: "R3", replicas: 3, servers: c.Servers, cluster: c, dial: func(t testing.TB, opts ...nats.Option) *nats.Conn {
		mu.Lock()
		url := c.URLs()[next%3]
		next++
		mu.Unlock()
		return dialed(t)(nats.Connect(url, opts...))
	}}
}

func dialed(t testing.TB) func(*nats.Conn, error) *nats.Conn {
	return func(nc *nats.Conn, err error) *nats.Conn {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
}

// Timing of tests. A machine may stand still for a second or two, so no lease and no beat is
// shorter than the test needs.
var (
	// steady is for tests in which nobody may be taken for lost, and everything is answered, however late.
	steady = wire.Timing{TTL: 20 * time.Second, Silence: 10 * time.Second, Commit: 10 * time.Second, Request: time.Minute, Drain: 5 * time.Second}
	// quick is for tests in which the owner is lost, as short as real time allows.
	quick = wire.Timing{TTL: 2 * time.Second, Margin: 200 * time.Millisecond, Drain: 2 * time.Second}
	// brief is for tests in which a gateway is lost, and no owner.
	brief = wire.Timing{TTL: 10 * time.Second, Beat: 800 * time.Millisecond, Drain: 5 * time.Second}
)

// member is a host or a gateway that runs until it is stopped.
type member struct {
	stop func() // in good order; returns when it has stopped
	cut  func() // of NATS, for good, in the middle of whatever it does
}

func running(t testing.TB, run func(context.Context) error) member {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
				t.Errorf("stopped with: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return member{stop: stop}
}

// startHost runs a host until the test ends or it is stopped.
func (on *substrate) startHost(t testing.TB, name, region string, timing wire.Timing, metrics prometheus.Registerer, classes ...*objects.Implementation) member {
	t.Helper()
	if len(classes) == 0 {
		classes = []*objects.Implementation{ticket.Objects, room.Objects}
	}
	all := make([]*objects.Implementation, len(classes))
	for i, class := range classes {
		all[i] = class.With(objects.Settings{Queue: time.Minute}) // what a slow machine does not get to is late, and not refused
	}
	serve, state := on.dial(t, nats.ReconnectBufSize(-1)), on.dial(t, nats.ReconnectBufSize(-1))
	h, err := host.New(t.Context(), host.Config{
		Name: name, Region: region, Objects: all, Serve: serve, State: state, Nearby: on.near,
		Replicas: on.replicas, Timing: timing, Log: testLog(t), Metrics: metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	m := runningHost(t, h)
	m.cut = func() { serve.Close(); state.Close() }
	return m
}

// runningHost is running for a host. It returns when the host takes claims.
func runningHost(t testing.TB, h *host.Host) member {
	t.Helper()
	m := running(t, h.Run)
	await(t, "the host takes claims", func() bool { return h.Ready() == nil })
	return m
}

// listenToStay listens at a port of the loopback that can be had again after its listener has been closed.
func listenToStay(t testing.TB) net.Listener {
	t.Helper()
	return listen(t, "127.0.0.1:"+keptPorts(t, 1)[0])
}

func listen(t testing.TB, at string) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// keptPorts are free ports for servers that stop and start again.
func keptPorts(t testing.TB, n int) (ports []string) {
	t.Helper()
	free, err := loopback.Ports(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range free {
		ports = append(ports, strconv.Itoa(port))
	}
	return ports
}

// door is a gateway and where to find it.
type door struct {
	member
	*gateway.Gateway
	url string
}

func (on *substrate) startGateway(t testing.TB, region string, timing wire.Timing, classes ...string) *door {
	t.Helper()
	if len(classes) == 0 {
		classes = []string{"ticket", "room"}
	}
	return on.startWorker(t, region, timing, open(demo.Worker, classes...), classes...)
}

// startWorker starts a gateway with a worker.
func (on *substrate) startWorker(t testing.TB, region string, timing wire.Timing, worker gateway.Worker, classes ...string) *door {
	t.Helper()
	nc := on.dial(t, nats.ReconnectBufSize(-1))
	g, err := gateway.New(gateway.Config{
		Region: region, NATS: nc, Nearby: on.near, Classes: classes, Worker: worker, Timing: timing, Log: testLog(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{running(t, func(ctx context.Context) error { return g.Run(ctx, ln) }), g, "http://" + ln.Addr().String()}
	d.cut = nc.Close
	await(t, "the gateway is ready", func() bool {
		res, err := http.Get(d.url + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return d
}

// open adds to a worker that HTTP reaches the objects of classes, at /objects/{class}/{name}.
func open(worker gateway.Worker, classes ...string) gateway.Worker {
	return func(r fiber.Router, env *gateway.Env) {
		for _, class := range classes {
			env.Mount(r, "/objects/"+class+"/:name", objects.Class(class))
		}
		worker(r, env)
	}
}

// patience bounds everything that a test waits for. Machines stand still for seconds, and some do so often.
const patience = 2 * time.Minute

// await asks until it is so.
func await(t testing.TB, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}

// request sends one and returns status, headers and body.
func request(t testing.TB, method, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	status, h, text, err := try(method, url, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return status, h, text
}

var client = &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

func try(method, url, body string, header ...string) (int, http.Header, string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, string(data), err
}

func testLog(t testing.TB) *slog.Logger {
	level := slog.LevelWarn
	if os.Getenv("HOLDFAST_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
}

// claim takes one ticket through a gateway.
func claim(url, counter string) (int, http.Header, error) {
	status, header, body, err := try("POST", url+"/ticket/"+counter, "")
	if err != nil {
		return 0, nil, err
	}
	var n int
	if _, err := fmt.Sscanf(body, `{"ticket":%d}`, &n); err != nil || status != http.StatusOK {
		return 0, header, fmt.Errorf("claim: status %d, body %s", status, body)
	}
	return n, header, nil
}

func decode(t testing.TB, body string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatalf("decode %q: %v", body, err)
	}
}

// recordKeys returns the objects that have an entry.
func recordKeys(t testing.TB, nc *nats.Conn) []string {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), string(bucket.Records()))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := kv.Keys(t.Context())
	if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
		t.Fatal(err)
	}
	return keys
}

// caller makes references to probes, called without HTTP.
func (on *substrate) caller(t testing.TB) func(name string) objects.Ref {
	t.Helper()
	g, err := gateway.New(gateway.Config{
		Region: "fra", NATS: on.dial(t), Nearby: on.near, Classes: []string{"probe"}, Timing: steady, Log: testLog(t),
		Worker: func(_ fiber.Router, env *gateway.Env) { on.env = env },
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	running(t, func(ctx context.Context) error { return g.Run(ctx, ln) })
	return func(name string) objects.Ref {
		return on.env.Object("probe", name)
	}
}

// missing ends a test that needs a program which this machine has not. With Go
// alone the other tests still pass; where everything must be shown, it fails.
func missing(t testing.TB, what, how string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is needed: %s", what, how)
	}
	t.Skipf("%s is needed: %s", what, how)
}
