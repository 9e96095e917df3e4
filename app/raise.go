package app

import (
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/embedded"
	"holdfast/gateway"
	"holdfast/internal/link"
	"holdfast/internal/wire"
)

// devRun is one run of dev.
type devRun struct {
	devOptions
	p         *program
	setting   link.Setting
	server    *embedded.Server
	users     *guests // nil: NATS has no users
	listeners []net.Listener
	fleet     *fleet
	rtts      []time.Duration // by region
	links     []*link.Delay   // by region
	here      wire.Nearby     // of everything without a distance to NATS
	names     []string        // of the hosts
	faults    *faults
}

// raise starts all hosts and gateways and returns when all can answer. The distances begin after that, so that the
// start is fast.
func (d *devRun) raise(began time.Time) (*banner, error) {
	d.faults = newFaults(d)
	peers := make([]gateway.Peer, len(d.regions))
	for k, region := range d.regions {
		peers[k] = gateway.Peer{Region: region, City: link.City(region), URL: webURL(d.listeners[k])}
		rtt, err := d.setting.Between(region, d.regions[0])
		if err != nil {
			return nil, err
		}
		d.rtts, d.links = append(d.rtts, rtt), append(d.links, link.New(0))
		if err := d.hostsIn(k); err != nil {
			return nil, err
		}
	}
	for k := range d.regions {
		if err := d.gatewayIn(k, peers); err != nil {
			return nil, err
		}
	}
	own, err := d.fleet.keep(d.server.Dial(connection("holdfast dev", adminUser, d.p.log)...))
	if err != nil {
		return nil, err
	}
	d.faults.own = own
	if err := awaitHosts(d.fleet.ctx, own, d.names, began); err != nil {
		return nil, err
	}
	b := &banner{OK: true, Name: d.p.cfg.Name, Version: d.p.cfg.Version, RTT: d.setting.String(), NATS: d.server.URL(), Data: d.data(), Ops: d.fleet.opsURL}
	for k, region := range d.regions {
		d.links[k].Set(d.rtts[k])
		d.faults.spread(k)
		b.Regions = append(b.Regions, place{region, peers[k].URL, float64(d.rtts[k]) / float64(time.Millisecond), d.hosts, d.nearby(k) != nil})
	}
	for k, ln := range d.listeners {
		if err := awaitReady(d.fleet.ctx, d.fleet.running[k], ln); err != nil {
			return nil, err
		}
	}
	b.discover(d.fleet.ctx, d.listeners[0], d.p.cfg.Objects, d.fleet.running[0].Mounts())
	b.Join = d.join()
	b.ReadyMS = time.Since(began).Milliseconds()
	return b, nil
}

// nearby returns the Nearby of a region's gateway and hosts; nil for a region with a distance, whose parts stand for
// separate processes.
func (d *devRun) nearby(k int) *wire.Nearby {
	if d.rtts[k] > 0 || d.devOptions.nearby == nearbyOff {
		return nil
	}
	return &d.here
}

func (d *devRun) hostsIn(k int) error {
	for i := range d.hosts {
		name := fmt.Sprintf("%s-%d", d.regions[k], i+1)
		d.names = append(d.names, name)
		if err := d.faults.raise(k, name); err != nil {
			return err
		}
	}
	return nil
}

func (d *devRun) gatewayIn(k int, peers []gateway.Peer) error {
	nc, err := d.connect(k, connection("gateway "+d.regions[k], gateway.DefaultInbox, d.p.log))
	if err != nil {
		return err
	}
	cfg := gateway.Config{Region: d.regions[k], NATS: nc, Nearby: d.nearby(k), Peers: peers, Timing: wire.Timing{TTL: devTTL}, Faults: d.faults}
	d.door.configure(&cfg)
	return d.fleet.gateway(cfg, d.listeners[k])
}

// connect opens a connection from a region.
func (d *devRun) connect(k int, opts []nats.Option) (*nats.Conn, error) {
	return d.fleet.keep(d.server.Dial(append(opts, d.links[k].InProcess(d.server))...))
}

// join returns the command that adds a region to this run.
func (d *devRun) join() string {
	listen := ":0"
	if d.port > 0 {
		listen = fmt.Sprintf(":%d", d.port+len(d.regions))
	}
	way := "--nats " + d.server.URL()
	if d.users != nil {
		way = "--context " + d.users.file(gateway.DefaultInbox)
	}
	line := fmt.Sprintf("%s gateway --region %s %s --listen %s", d.p.cfg.Name, freeRegion(d.regions), way, listen)
	if rtt := d.setting.String(); rtt != "real" {
		line += " --rtt " + rtt
	}
	if d.p.cfg.Demo != nil {
		line += " --demo"
	}
	return line
}

func (d *devRun) data() data {
	if d.server.Memory() {
		return data{Sync: d.sync}
	}
	return data{Dir: d.store, Kept: true, Sync: d.sync}
}
