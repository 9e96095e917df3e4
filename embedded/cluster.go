package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/internal/loopback"
)

// clusterTimeout bounds the wait for a meta leader and for all servers to have caught up. An
// election takes the server up to nine seconds.
const clusterTimeout = time.Minute

// Cluster is several servers in one process that form one JetStream cluster. It is meant for
// tests: the links between its servers are the loopback, and they die together. One goroutine
// at a time may call its methods.
type Cluster struct {
	Servers []*Server // a stopped one stays in its place until Restart replaces it

	peers   []peer
	stopped []bool
}

// peer is what has to stay the same over a restart.
type peer struct {
	cfg   Config
	route int // port of its route listener
}

// StartCluster starts n servers, at least two and sensibly three: n1 to n<n>, below dir, each
// with a TCP port of its own. It returns when they have a JetStream leader and everyone is up
// to date. With an empty dir each server is in memory, and a stopped one forgets everything.
func StartCluster(dir string, n int) (*Cluster, error) {
	ports, err := loopback.Ports(2 * n)
	if err != nil {
		return nil, fmt.Errorf("start cluster: %w", err)
	}
	c := &Cluster{Servers: make([]*Server, n), stopped: make([]bool, n)}
	for i := range n {
		cfg := Config{Name: "n" + strconv.Itoa(i+1), Port: ports[i]}
		if dir != "" {
			cfg.Store = filepath.Join(dir, cfg.Name)
		}
		c.peers = append(c.peers, peer{cfg: cfg, route: ports[n+i]})
		c.stopped[i] = true
	}
	for i := range n {
		if err := c.start(i); err != nil {
			c.Close()
			return nil, err
		}
	}
	if err := c.awaitCurrent(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(i int) error {
	p := c.peers[i]
	s, err := start(context.Background(), p.cfg, server.ClusterOpts{Name: "holdfast", Host: loopbackAddr, Port: p.route}, c.peers)
	if err != nil {
		return err
	}
	c.Servers[i], c.stopped[i] = s, false
	return nil
}

// URLs returns where clients connect, the stopped servers included.
func (c *Cluster) URLs() []string {
	urls := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		urls[i] = s.URL()
	}
	return urls
}

// Stop closes server i; its clients are cut off.
func (c *Cluster) Stop(i int) {
	c.stopped[i] = true
	c.Servers[i].Close()
}

// Restart starts server i again on its store and its ports, and returns when it has caught up
// with the others, its streams in memory included: until then it is no part of their majority.
// It is an error after a minute if that does not happen, for instance because with it there is
// still no majority.
func (c *Cluster) Restart(i int) error {
	if !c.stopped[i] {
		c.Stop(i)
	}
	if err := c.start(i); err != nil {
		return err
	}
	return c.awaitCurrent()
}

// RestartAll stops all servers, then starts them again on their stores and their ports.
func (c *Cluster) RestartAll() error {
	for i := range c.Servers {
		c.Stop(i)
	}
	for i := range c.Servers {
		if err := c.start(i); err != nil {
			return err
		}
	}
	return c.awaitCurrent()
}

// Close stops all servers.
func (c *Cluster) Close() {
	for _, s := range c.Servers {
		if s != nil {
			s.Close()
		}
	}
}

// awaitCurrent waits until the running servers agree on a leader and have caught up with it.
func (c *Cluster) awaitCurrent() error {
	deadline := time.NewTimer(clusterTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond) // the server offers nothing to wait on
	defer tick.Stop()
	for !c.current() {
		select {
		case <-deadline.C:
			return errors.New("start cluster: no JetStream leader with all servers up to date within " + clusterTimeout.String())
		case <-tick.C:
		}
	}
	return nil
}

func (c *Cluster) current() bool {
	running, leaders := 0, 0
	for i, s := range c.Servers {
		if c.stopped[i] {
			continue
		}
		running++
		if !s.ns.JetStreamIsCurrent() || s.ns.Healthz(new(server.HealthzOptions)).Status != "ok" {
			return false
		}
		if s.ns.JetStreamIsLeader() {
			leaders++
		}
	}
	if leaders != 1 {
		return false
	}
	for i, s := range c.Servers {
		if !c.stopped[i] && s.ns.JetStreamIsLeader() {
			return len(s.ns.JetStreamClusterPeers()) >= running
		}
	}
	return false
}

func routes(peers []peer) []*url.URL {
	var all []*url.URL
	for _, p := range peers {
		all = append(all, &url.URL{Scheme: "nats-route", Host: net.JoinHostPort(loopbackAddr, strconv.Itoa(p.route))})
	}
	return all
}
