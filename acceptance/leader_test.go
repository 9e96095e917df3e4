package acceptance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdfast/internal/bucket"
	"holdfast/objects"
	"holdfast/objects/host"
)

// The environment of a process of this program that is one server of a cluster: its name,
// its directory, its two ports, and the route ports of all. A server that is killed hands no
// leadership over, as one that is stopped in order does.
const (
	nodeName   = "HOLDFAST_TEST_NODE"
	nodeDir    = "HOLDFAST_TEST_NODE_DIR"
	nodePort   = "HOLDFAST_TEST_NODE_PORT"
	nodeRoute  = "HOLDFAST_TEST_NODE_ROUTE"
	nodeRoutes = "HOLDFAST_TEST_NODE_ROUTES"
)

// runNode is the server's process. It ends with its standard input.
func runNode(name string) {
	port, _ := strconv.Atoi(os.Getenv(nodePort))
	route, _ := strconv.Atoi(os.Getenv(nodeRoute))
	var routes []*url.URL
	for r := range strings.SplitSeq(os.Getenv(nodeRoutes), ",") {
		routes = append(routes, &url.URL{Scheme: "nats", Host: "127.0.0.1:" + r})
	}
	s, err := server.NewServer(&server.Options{
		ServerName: name, Host: "127.0.0.1", Port: port, NoSigs: true, MaxPayload: 8 << 20, JetStream: true, StoreDir: os.Getenv(nodeDir),
		Cluster: server.ClusterOpts{Name: "holdfast", Host: "127.0.0.1", Port: route}, Routes: routes,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.Start()
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// node is one server of the cluster.
type node struct {
	name, url string
	kill      func() // -9; returns when it is dead
}

func startNodes(t *testing.T, n int) (nodes []node) {
	t.Helper()
	ports, dir := keptPorts(t, 2*n), t.TempDir()
	for i := range n {
		name := fmt.Sprintf("n%d", i)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), nodeName+"="+name, nodeDir+"="+filepath.Join(dir, name), nodePort+"="+ports[i],
			nodeRoute+"="+ports[n+i], nodeRoutes+"="+strings.Join(ports[n:], ","))
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe() // with us it ends, however we end
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := sync.OnceFunc(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = stdin.Close()
		})
		t.Cleanup(kill)
		nodes = append(nodes, node{name, "nats://127.0.0.1:" + ports[i], kill})
	}
	return nodes
}

// TestChaosEveryHostGoesOnAsItselfWhenTheLeaderOfRecordsAndLeasesIsLost kills the server
// that leads both buckets. No host can renew its lease until there is another leader, so
// all leases lapse. When they can be renewed, every object is answered by the incarnation
// that had it: nothing moves, and no ticket is given twice. `task chaos` measures the gap.
func TestChaosEveryHostGoesOnAsItselfWhenTheLeaderOfRecordsAndLeasesIsLost(t *testing.T) {
	beside(t, clusters)
	const n = 6
	nodes := startNodes(t, 3)
	var urls []string
	for _, n := range nodes {
		urls = append(urls, n.url)
	}
	on := &substrate{name: "R3 of processes", replicas: 3, dial: func(t testing.TB, opts ...nats.Option) *nats.Conn {
		opts = append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.RetryOnFailedConnect(true))
		return dialed(t)(nats.Connect(strings.Join(urls, ","), opts...))
	}}
	nc := on.dial(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	awaitLeader(t, js)
	timing := quick
	timing.TTL, timing.Margin, timing.Request = 3*time.Second, 300*time.Millisecond, 25*time.Second
	on.startHost(t, "h0", "fra", timing, nil)
	on.startHost(t, "h1", "fra", timing, nil)
	d := on.startGateway(t, "fra", timing)
	tickets := make([]int, n) // the last of each object; each belongs to one client
	claim := func(i int) bool {
		ticket, _, err := claim(d.url, fmt.Sprint("leader-", i))
		if err == nil && ticket <= tickets[i] {
			t.Errorf("object %d: ticket %d follows %d", i, ticket, tickets[i])
		}
		tickets[i] = max(tickets[i], ticket)
		return err == nil
	}
	for i := range n {
		await(t, "the object is claimed", func() bool { return claim(i) })
	}
	lost := leadBoth(t, nc, js, nodes)
	owners := ownersOf(t, nc, n)

	var clients sync.WaitGroup
	var stop atomic.Bool
	var answered [n]atomic.Int64
	for i := range n {
		clients.Go(func() {
			for !stop.Load() {
				if claim(i) {
					answered[i].Add(1)
				}
			}
		})
	}
	lost.kill()
	for _, name := range []bucket.Name{bucket.Records(), bucket.Leases()} {
		await(t, string(name)+" has a leader again", func() bool { // only a leader answers
			ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
			defer cancel()
			_, err := name.Last(ctx, nc, "nobody")
			return errors.Is(err, jetstream.ErrMsgNotFound)
		})
	}
	for i := range n {
		before := answered[i].Load()
		await(t, fmt.Sprintf("object %d is answered", i), func() bool { return answered[i].Load() >= before+2 }) // the first may have waited all along
	}
	stop.Store(true)
	clients.Wait()
	awaitLeader(t, js) // who looks at owners asks that one as well
	if now := ownersOf(t, nc, n); !slices.Equal(now, owners) {
		t.Errorf("objects have moved: %v, before %v", now, owners)
	}
}

// awaitLeader waits until the cluster has a leader.
func awaitLeader(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	await(t, "the cluster has a leader", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := js.AccountInfo(ctx)
		return err == nil
	})
}

// ownersOf returns the incarnations and epochs of the objects.
func ownersOf(t *testing.T, nc *nats.Conn, n int) (owners []string) {
	t.Helper()
	in, err := host.Inspect(t.Context(), nc)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		id, err := objects.Class("ticket").ID(fmt.Sprintf("leader-%d", i))
		if err != nil {
			t.Fatal(err)
		}
		info, err := in.Get(t.Context(), id, "")
		if err != nil {
			t.Fatal(err)
		}
		owners = append(owners, fmt.Sprintf("%s in epoch %d", info.Incarnation, info.Epoch))
	}
	return owners
}

// leadBoth makes one server lead records and leases, and returns the server.
func leadBoth(t *testing.T, nc *nats.Conn, js jetstream.JetStream, nodes []node) node {
	t.Helper()
	leader := func(stream string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := js.Stream(ctx, stream)
		if err != nil || s.CachedInfo().Cluster == nil {
			return ""
		}
		return s.CachedInfo().Cluster.Leader
	}
	both := ""
	await(t, "one server leads records and leases", func() bool {
		records, leases := leader(bucket.Records().Stream()), leader(bucket.Leases().Stream())
		if records != "" && records == leases {
			both = records
			return true
		}
		_, _ = nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+bucket.Leases().Stream(), nil, time.Second)
		return false
	})
	return nodes[slices.IndexFunc(nodes, func(n node) bool { return n.name == both })]
}
