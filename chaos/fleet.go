package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdfast/chaos/proxy"
	"holdfast/internal/bucket"
)

const (
	hostCount    = 3
	gatewayCount = 2

	alarmStream = "HF_ALARMS"
)

var (
	objectStream = bucket.Records().Stream()
	leaseStream  = bucket.Leases().Stream()
)

// fleet is the processes of one world: NATS servers, hosts and gateways.
type fleet struct {
	kit      *kit
	dir      string // of logs and data
	nodes    []*node
	hosts    []*member
	gateways []*member
	nc       *nats.Conn // directly to the servers, to look and to cause failures
	js       jetstream.JetStream
}

// node is one nats-server.
type node struct {
	name    string
	port    int
	args    []string
	dir     string         // of its data
	routes  []*proxy.Proxy // to each other node, by index; nil for itself, and where there is one node
	process *process
}

// member is a host or a gateway.
type member struct {
	name    string
	serve   []*proxy.Proxy // one for each node, for requests of gateways
	state   []*proxy.Proxy // likewise, for a host's records and lease; nil for gateways
	listen  string         // a gateway's address; empty for hosts
	process *process
}

// ways returns all proxies of the member.
func (m *member) ways() []*proxy.Proxy { return slices.Concat(m.serve, m.state) }

func (m *member) url() string { return "http://" + m.listen }

// newFleet starts everything. Also after an error it returns what it has started.
func (k *kit) newFleet(ctx context.Context, dir string, nodes int) (*fleet, error) {
	f := &fleet{kit: k, dir: dir}
	if err := f.startNATS(ctx, nodes); err != nil {
		return f, err
	}
	for i := range hostCount {
		m := &member{name: fmt.Sprintf("host-%d", i+1)}
		f.hosts = append(f.hosts, m)
		if err := errors.Join(f.connectable(m, &m.serve), f.connectable(m, &m.state)); err != nil {
			return f, err
		}
	}
	for i := range gatewayCount {
		m := &member{name: fmt.Sprintf("gateway-%d", i+1)}
		f.gateways = append(f.gateways, m)
		if err := f.connectable(m, &m.serve); err != nil {
			return f, err
		}
	}
	for _, m := range f.hosts {
		if err := f.startMember(ctx, m); err != nil {
			return f, err
		}
	}
	for _, m := range f.gateways {
		if err := f.startGateway(ctx, m); err != nil {
			return f, err
		}
	}
	return f, nil
}

// startGateway starts a gateway at a free port. Another process may take the port before the gateway does; then there is
// another port.
func (f *fleet) startGateway(ctx context.Context, m *member) error {
	for try := 1; ; try++ {
		port, err := freePort()
		if err != nil {
			return err
		}
		m.listen = fmt.Sprintf("127.0.0.1:%d", port)
		if err = f.startMember(ctx, m); !errors.Is(err, errNotStarted) || try == 5 {
			return err
		}
	}
}

// close kills everything and returns when everything has ended.
func (f *fleet) close() {
	if f.nc != nil {
		f.nc.Close()
	}
	for _, m := range slices.Concat(f.gateways, f.hosts) {
		if m.process != nil {
			m.process.kill()
		}
		for _, way := range m.ways() {
			way.Close()
		}
	}
	for _, n := range f.nodes {
		if n.process != nil {
			n.process.kill()
		}
		for _, route := range n.routes {
			if route != nil {
				route.Close()
			}
		}
	}
}

func (f *fleet) log(name string) string { return filepath.Join(f.dir, name+".log") }

// connectable makes a proxy to each node.
func (f *fleet) connectable(m *member, ways *[]*proxy.Proxy) error {
	for _, n := range f.nodes {
		way, err := proxy.Listen(n.addr())
		if err != nil {
			return fmt.Errorf("make a way from %s to %s: %w", m.name, n.name, err)
		}
		*ways = append(*ways, way)
	}
	return nil
}

// urls returns the URLs with which a member connects to NATS.
func urls(ways []*proxy.Proxy) string {
	var all []string
	for _, way := range ways {
		all = append(all, "nats://"+way.Addr())
	}
	return strings.Join(all, ",")
}

var errNotStarted = errors.New("it did not start")

// startMember starts a host or a gateway, and returns when it is ready.
func (f *fleet) startMember(ctx context.Context, m *member) error {
	args := []string{"serve", "host", "--name", m.name, "--state-nats", urls(m.state)}
	if m.listen != "" {
		args = []string{"serve", "gateway", "--listen", m.listen}
		if f.kit.origin != "" {
			args = append(args, "--origin", f.kit.origin)
		}
	} else if len(f.nodes) > 1 {
		args = append(args, "--replicas", fmt.Sprint(len(f.nodes)))
	}
	args = append(args, "--region", "fra", "--rtt", "0", "--nats", urls(m.serve), "--ops-listen", "off", "--json")
	var err error
	m.process, err = start(ctx, m.name, f.log(m.name), f.kit.self, args...)
	if err != nil {
		return err
	}
	var said struct {
		OK    bool
		Error struct{ Message string }
	}
	if err := m.process.banner(ctx, &said); err != nil {
		return err
	}
	if !said.OK {
		return fmt.Errorf("%s: %w: %s", m.name, errNotStarted, said.Error.Message)
	}
	return nil
}

func (n *node) addr() string { return fmt.Sprintf("127.0.0.1:%d", n.port) }

// startNATS starts one server, or a cluster of them, with stock settings. The servers of a cluster
// must not tell clients or each other addresses that bypass the proxies.
func (f *fleet) startNATS(ctx context.Context, nodes int) error {
	var clusterPorts []int
	for i := range nodes {
		n := &node{name: fmt.Sprintf("nats-%d", i+1), dir: filepath.Join(f.dir, fmt.Sprintf("nats-%d", i+1))}
		port, err := freePort()
		if err != nil {
			return err
		}
		clusterPort, err := freePort()
		if err != nil {
			return err
		}
		n.port = port
		clusterPorts = append(clusterPorts, clusterPort)
		f.nodes = append(f.nodes, n)
	}
	var addresses []string
	for _, n := range f.nodes {
		n.args = []string{"-js", "-sd", n.dir, "-a", "127.0.0.1", "-p", fmt.Sprint(n.port)}
		if nodes > 1 {
			if err := f.configure(n, clusterPorts); err != nil {
				return err
			}
		}
		if err := f.startNode(ctx, n); err != nil {
			return err
		}
		addresses = append(addresses, "nats://"+n.addr())
	}
	return f.connect(ctx, strings.Join(addresses, ","))
}

// configure writes the file of a server in a cluster.
func (f *fleet) configure(n *node, clusterPorts []int) error {
	self := slices.Index(f.nodes, n)
	var routes []string
	for i, port := range clusterPorts {
		if i == self {
			n.routes = append(n.routes, nil)
			continue
		}
		route, err := proxy.Listen(fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return fmt.Errorf("make a route from %s: %w", n.name, err)
		}
		n.routes = append(n.routes, route)
		routes = append(routes, "nats://"+route.Addr())
	}
	// Nothing listens at the advertised address, so a server that learns it stays on its routes.
	config := fmt.Sprintf(`server_name: %q
listen: %q
jetstream { store_dir: %q }
cluster { name: chaos, listen: "127.0.0.1:%d", advertise: "127.0.0.1:1", no_advertise: true, routes: [%s] }
`, n.name, n.addr(), n.dir, clusterPorts[self], strings.Join(routes, ", "))
	file := filepath.Join(f.dir, n.name+".conf")
	n.args = []string{"-c", file}
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return fmt.Errorf("configure %s: %w", n.name, err)
	}
	return nil
}

// startNode starts a server and returns when the server accepts connections.
func (f *fleet) startNode(ctx context.Context, n *node) error {
	var err error
	n.process, err = start(ctx, n.name, f.log(n.name), f.kit.nats, n.args...)
	if err != nil {
		return err
	}
	return until(ctx, readyTime, n.name+" takes connections", func() bool {
		conn, err := net.DialTimeout("tcp", n.addr(), time.Second)
		if err == nil {
			conn.Close() // nothing was sent on it
		}
		return err == nil
	})
}

// connect connects this program to NATS, and returns when JetStream answers.
func (f *fleet) connect(ctx context.Context, addresses string) error {
	nc, err := nats.Connect(addresses, nats.Name("chaos"), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.PingInterval(time.Second), nats.Timeout(time.Second))
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	f.nc = nc
	if f.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(time.Second)); err != nil {
		return fmt.Errorf("connect to JetStream: %w", err)
	}
	return until(ctx, readyTime, "JetStream answers", func() bool {
		_, err := f.js.AccountInfo(ctx)
		return err == nil
	})
}

// leader returns the server that leads a stream, once there is one.
func (f *fleet) leader(ctx context.Context, stream string) (*node, error) {
	var leader *node
	err := until(ctx, readyTime, stream+" has a leader", func() bool {
		s, err := f.js.Stream(ctx, stream)
		if err != nil || s.CachedInfo().Cluster == nil {
			return false
		}
		for _, n := range f.nodes {
			if n.name == s.CachedInfo().Cluster.Leader {
				leader = n
			}
		}
		return leader != nil
	})
	return leader, err
}

func (f *fleet) info(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	var info *jetstream.StreamInfo
	err := until(ctx, readyTime, "NATS tells of "+stream, func() bool {
		s, err := f.js.Stream(ctx, stream)
		if err != nil {
			return false
		}
		info = s.CachedInfo()
		return true
	})
	return info, err
}

// current waits until all servers have everything that the streams hold.
func (f *fleet) current(ctx context.Context) error {
	return until(ctx, readyTime, "all NATS servers are current", func() bool {
		for _, name := range []string{objectStream, leaseStream, alarmStream} {
			s, err := f.js.Stream(ctx, name)
			if err != nil {
				return false
			}
			cluster := s.CachedInfo().Cluster
			if cluster == nil || cluster.Leader == "" || slices.ContainsFunc(cluster.Replicas, func(p *jetstream.PeerInfo) bool { return !p.Current }) {
				return false
			}
		}
		return true
	})
}

var errNotInTime = errors.New("not in time")

// until checks a condition repeatedly.
func until(ctx context.Context, most time.Duration, what string, holds func() bool) error {
	for end := time.Now().Add(most); ; {
		if holds() {
			return nil
		}
		if !time.Now().Before(end) {
			return fmt.Errorf("waited %v until %s: %w", most, what, errNotInTime)
		}
		if err := sleep(ctx, pollEvery); err != nil {
			return err
		}
	}
}

// sleep waits; its error is ctx's.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
