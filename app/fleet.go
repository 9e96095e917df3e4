package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"holdfast/embedded"
	"holdfast/gateway"
	"holdfast/internal/ops"
	"holdfast/objects/host"
)

// fleet is the gateways and hosts of this process. They run until the context
// ends or one of them fails, and then stop in order.
type fleet struct {
	p *program

	ops       *ops.Server
	opsURL    string // URL of the operations listener; "": there is none
	operating context.Context
	stopOps   context.CancelFunc
	operation errgroup.Group

	ctx  context.Context // ends when everything must stop
	stop context.CancelCauseFunc

	serving      context.Context // the gateways'
	stopGateways context.CancelFunc
	gateways     errgroup.Group
	running      []*gateway.Gateway

	hosting   context.Context // the hosts'
	stopHosts context.CancelFunc
	hosts     errgroup.Group
	hosted    int

	conns []*nats.Conn // closed when nothing uses them any more
	last  func()       // called at the very end; may be nil
}

// newFleet makes an empty fleet, and serves operations at once.
func (p *program) newFleet(ctx context.Context, opsListen string) (*fleet, error) {
	ln, err := listenOps(opsListen)
	if err != nil {
		return nil, err
	}
	f := &fleet{p: p, ops: ops.New(p.log)}
	f.ctx, f.stop = context.WithCancelCause(ctx)
	f.serving, f.stopGateways = context.WithCancel(context.WithoutCancel(ctx))
	f.hosting, f.stopHosts = context.WithCancel(context.WithoutCancel(ctx))
	f.operating, f.stopOps = context.WithCancel(context.WithoutCancel(ctx))
	if ln != nil {
		f.opsURL = webURL(ln)
		f.operation.Go(func() error {
			if err := f.ops.Run(f.operating, ln); err != nil {
				f.stop(err)
			}
			return nil
		})
	}
	return f, nil
}

// opsPhrase names the operations listener for people.
func (f *fleet) opsPhrase() string {
	if f.opsURL == "" {
		return ""
	}
	return " · operations " + f.opsURL
}

// addOps adds the operations listener to facts for programs.
func (f *fleet) addOps(facts map[string]any) {
	if f.opsURL != "" {
		facts["ops"] = f.opsURL
	}
}

// keep registers a connection, to be closed when everything that uses it has stopped.
func (f *fleet) keep(nc *nats.Conn, err error) (*nats.Conn, error) {
	if err == nil {
		f.conns = append(f.conns, nc)
	}
	return nc, err
}

// gateway starts a gateway on a listener, which the gateway owns from then on.
func (f *fleet) gateway(cfg gateway.Config, ln net.Listener) error {
	for _, class := range f.p.cfg.Objects {
		cfg.Classes = append(cfg.Classes, string(class.Class()))
	}
	cfg.Version, cfg.Worker, cfg.Log, cfg.Metrics = f.p.cfg.Version, f.p.cfg.Worker, f.p.log, f.ops.Metrics
	if f.p.cfg.Demo != nil {
		cfg.Worker = f.p.cfg.Demo
	}
	g, err := gateway.New(cfg)
	if err != nil {
		ln.Close()
		return fmt.Errorf("start a gateway in %s: %w", cfg.Region, err)
	}
	f.running = append(f.running, g)
	f.ops.Add(func(ctx context.Context) ops.Part {
		classes, err := g.Ready(ctx)
		return part(ops.Part{Kind: "gateway", Region: cfg.Region, Classes: classes}, err)
	})
	f.gateways.Go(func() error {
		err := g.Run(f.serving, ln)
		if err != nil {
			f.stop(fmt.Errorf("gateway %s failed: %w", cfg.Region, err))
		}
		return nil
	})
	return nil
}

// host starts a host.
func (f *fleet) host(cfg host.Config) error {
	h, err := f.newHost(cfg)
	if err != nil {
		return err
	}
	f.addHost(cfg, func() *host.Host { return h })
	f.hosts.Go(func() error {
		err := h.Run(f.hosting)
		if err != nil {
			f.stop(fmt.Errorf("host %s failed: %w", cfg.Name, err))
		}
		return nil
	})
	return nil
}

func (f *fleet) newHost(cfg host.Config) (*host.Host, error) {
	cfg.Objects, cfg.Log, cfg.Metrics = f.p.cfg.Objects, f.p.log, f.ops.Metrics
	h, err := host.New(f.ctx, cfg)
	if err != nil {
		return nil, hostError(cfg, err)
	}
	return h, nil
}

// addHost counts a host, and makes the operations listener report about it. now returns its current life.
func (f *fleet) addHost(cfg host.Config, now func() *host.Host) {
	f.hosted++
	f.ops.Add(func(context.Context) ops.Part {
		return part(ops.Part{Kind: "host", Name: cfg.Name, Region: cfg.Region}, now().Ready())
	})
}

// server makes the operations listener report about the embedded server.
func (f *fleet) server(s *embedded.Server) {
	f.last = s.Close
	f.ops.Add(func(context.Context) ops.Part { return ops.Part{Kind: "nats", Name: s.Name(), Ready: true} })
}

// part returns p, ready if there is no error.
func part(p ops.Part, err error) ops.Part {
	if p.Ready = err == nil; !p.Ready {
		p.Why = err.Error()
	}
	return p
}

// stopInOrder waits until ctx has ended, stops everything and reports that. It returns nil if nothing failed.
func (f *fleet) stopInOrder() error {
	<-f.ctx.Done()
	began := time.Now()
	sockets := 0
	for _, g := range f.running {
		sockets += g.Sockets()
	}
	f.sayDraining(sockets)
	err := f.close(nil)
	took := time.Since(began).Milliseconds()
	if f.p.json {
		f.p.log.Info("drained", "ms", took)
	}
	f.p.say("done in %d ms", took)
	return err
}

func (f *fleet) sayDraining(sockets int) {
	if f.p.json {
		f.p.log.Info("draining", "sockets", sockets, "gateways", len(f.running), "hosts", f.hosted)
		return
	}
	var what []string
	if len(f.running) > 0 {
		what = append(what, count(sockets, "socket")+" told to reconnect (1012)")
	}
	if f.hosted > 0 {
		what = append(what, count(f.hosted, "host")+" to release what they own")
	}
	if len(what) == 0 {
		f.p.say("stopping NATS  (Ctrl-C again to quit now)")
		return
	}
	f.p.say("draining: %s  (Ctrl-C again to quit now)", strings.Join(what, ", then "))
}

// close stops everything in order, silently. It returns the reason why the fleet failed, err if it did not.
func (f *fleet) close(err error) error {
	f.stop(nil)
	f.ops.Stopping()
	f.stopGateways()
	_ = f.gateways.Wait() // f.stop has their errors
	f.stopHosts()
	_ = f.hosts.Wait() // likewise
	for _, nc := range f.conns {
		nc.Close()
	}
	if f.last != nil {
		f.last()
	}
	f.stopOps()
	_ = f.operation.Wait() // f.stop has its error
	if cause := context.Cause(f.ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// count returns a number with its noun: "1 socket", "2 sockets".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
