package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"holdfast/embedded"
	"holdfast/internal/link"
)

const (
	defaultStore = "./.holdfast"
	memoryStore  = "memory"
	syncDefault  = "default"
	syncAlways   = "always"
	nearbyOn     = "on"
	nearbyOff    = "off"

	mostHosts = 16 // per region of a dev run; they share one process
)

// devOptions are the flags of dev.
type devOptions struct {
	regions    []string
	port       int
	natsPort   int
	listenHost string
	store      string
	sync       string
	hosts      int
	rtt        string
	nearby     string
	door       doorOptions
	hosting    hostFlags
	ops        string
}

func (p *program) devCommand() *cobra.Command {
	var o devOptions
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run everything in one process: NATS, gateways and hosts in several regions",
		Long: "Run everything in one process: NATS with JetStream, and in each region a gateway\n" +
			"and owner hosts. NATS stands in the first region; what is elsewhere pays the\n" +
			"round trip on its NATS connection. The gateway of the first region listens on\n" +
			"--port, the next on the one after, and so on.\n\n" +
			"Where no distance is simulated, as in the first region, a gateway hands requests to\n" +
			"the hosts beside it without NATS. With --nearby=off all of them go through NATS, as\n" +
			"they do between processes.",
		Example: p.examples("dev\n" +
			"dev --regions fra,syd --store memory\n" +
			"dev --port 9000 --nats-port 0\n" +
			"dev --rtt 0"),
		Args: cobra.NoArgs,
		RunE: p.run(func(ctx context.Context, _ []string) error { return p.dev(ctx, o) }),
	}
	f := c.Flags()
	f.StringSliceVar(&o.regions, "regions", []string{"fra", "iad", "syd"}, "where gateways and hosts stand")
	f.IntVar(&o.port, "port", 8787, "of the first gateway; 0: free ports")
	f.IntVar(&o.natsPort, "nats-port", 4222, "where other processes join; 0: a free port")
	f.StringVar(&o.listenHost, "listen-host", "127.0.0.1", "address that gateways and NATS listen on; beyond loopback NATS has users, whose files are below the store")
	f.StringVar(&o.store, "store", defaultStore, "directory of the data, or memory")
	f.StringVar(&o.sync, "sync", syncDefault, "default: acknowledged survives the process; always: loss of power, too")
	f.IntVar(&o.hosts, "hosts", 1, "owner hosts in each region")
	f.StringVar(&o.rtt, "rtt", "real", "round trip between regions: real (a table), 0, or one for all, as 40ms")
	f.StringVar(&o.nearby, "nearby", nearbyOn, "on: a gateway hands requests to the hosts beside it without NATS; off: all go through NATS")
	o.door.add(p, c)
	o.hosting.add(p, c)
	opsFlag(c, &o.ops)
	return c
}

func (o *devOptions) check() (link.Setting, error) {
	setting, err := emulation(o.rtt, o.regions...)
	if err != nil {
		return setting, err
	}
	seen := make(map[string]bool)
	for _, region := range o.regions {
		if seen[region] {
			return setting, usage(fmt.Errorf("--regions names %s twice", region), "")
		}
		seen[region] = true
	}
	switch {
	case len(o.regions) == 0:
		err = errors.New("--regions is empty")
	case o.hosts < 1 || o.hosts > mostHosts:
		err = fmt.Errorf("--hosts %d: want 1 to %d", o.hosts, mostHosts)
	case o.port < 0 || o.port > 65535-len(o.regions)+1:
		err = fmt.Errorf("--port %d: %s do not fit below 65536", o.port, count(len(o.regions), "gateway"))
	}
	if err != nil {
		return setting, usage(err, "")
	}
	if o.nearby != nearbyOn && o.nearby != nearbyOff {
		return setting, usage(fmt.Errorf("--nearby %.80q: want %s or %s", o.nearby, nearbyOn, nearbyOff), "")
	}
	if err := cmp.Or(o.door.check(), o.hosting.check()); err != nil {
		return setting, err
	}
	return setting, checkServer(o.natsPort, o.sync)
}

// dev runs everything until ctx ends.
func (p *program) dev(ctx context.Context, o devOptions) error {
	began := time.Now()
	setting, err := o.check()
	if err != nil {
		return err
	}
	listeners, err := p.listenAll(o)
	if err != nil {
		return err
	}
	f, err := p.newFleet(ctx, o.ops)
	if err != nil {
		closeAll(listeners)
		return err
	}
	users, err := guestsOf(o.listenHost, o.store)
	var server *embedded.Server
	if err == nil {
		server, err = startServer(f.ctx, p.serverConfig(o.regions[0], o.listenHost, o.natsPort, o.store, o.sync), users)
	}
	if err != nil {
		err = f.close(err)
		closeAll(listeners)
		return serverFailed(err, fmt.Sprintf("use another port:   %s dev --nats-port 4333\nor any free one:    --nats-port 0", p.cfg.Name))
	}
	d := &devRun{devOptions: o, p: p, setting: setting, server: server, users: users, listeners: listeners, fleet: f}
	f.server(server)
	b, err := d.raise(began)
	if err == nil {
		err = p.announce(b)
	}
	if err != nil {
		err = d.fleet.close(err)
		closeAll(listeners) // those that no gateway has taken over
		return err
	}
	return d.fleet.stopInOrder()
}

func (p *program) announce(b *banner) error {
	if p.json {
		return p.print(b)
	}
	return b.write(p.stdout, isTerminal(p.stdout) && wantColor())
}

// listenAll listens on the ports of all gateways, or on none.
func (p *program) listenAll(o devOptions) ([]net.Listener, error) {
	var all []net.Listener
	for k := range o.regions {
		port := 0
		if o.port > 0 {
			port = o.port + k
		}
		hint := fmt.Sprintf("run on other ports:   %s dev --port %d\nor on any free ones:  %s dev --port 0", p.cfg.Name, 9000, p.cfg.Name)
		ln, err := listen(net.JoinHostPort(o.listenHost, strconv.Itoa(port)), hint)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, ln)
	}
	return all, nil
}

func closeAll(listeners []net.Listener) {
	for _, ln := range listeners {
		ln.Close() // an error says that it is closed
	}
}
